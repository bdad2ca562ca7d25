"""Base class of the strategies that look at the samples themselves."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from metricalign.pairs.identical import Samples, canonical, check_weight
from metricalign.pairs.search import RandomState
from metricalign.pairs.selection import PairSelection

__all__ = ["PairStrategy"]


class PairStrategy(BaseEstimator):
    """Base class of strategies. It checks the input, and a subclass chooses pairs in `_select`."""

    # Whether the user chose the parameters. Only then a message may refer to them.
    is_asked_for = True

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,), default=None
            The class labels. Only `NearestClassPairs` uses them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Seed of random pairs. It is also the seed of a random search of neighbours that has no
            seed of its own.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        MemoryError
            If the machine has too little memory for the pairs.
        ValueError
            If a parameter or `y` is not valid, if no two samples have different features, or if
            there are no pairs of the wanted kind.
        """
        self._validate_params()
        X = canonical(X)
        return self._select(X, y, check_weight(sample_weight, X.shape[0]), random_state)

    def _select(
        self, X: Samples, y: ArrayLike | None, weight: np.ndarray, random_state: RandomState
    ) -> PairSelection:
        """Choose the pairs of checked samples."""
        raise NotImplementedError
