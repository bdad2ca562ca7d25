"""Base class of the strategies that look at the samples themselves."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from metricalign.pairs.identical import Samples, canonical, check_weight
from metricalign.pairs.search import RandomState
from metricalign.pairs.selection import PairSelection

__all__ = ["PairStrategy"]


class PairStrategy(BaseEstimator):
    """Base of the strategies: it checks the input; a subclass chooses the pairs in `_select`."""

    # Whether somebody chose its parameters, and may be told that they ask for too much.
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
            The class labels. Only `NearestClassPairs` looks at them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Determines random pairs, and seeds a random search of neighbours that is not seeded
            itself.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        MemoryError
            If the machine does not have the memory that the pairs need.
        ValueError
            If a parameter or `y` is not valid, no two samples have different features, or there
            are no pairs of the kind that is wanted.
        """
        self._validate_params()
        X = canonical(X)
        return self._select(X, y, check_weight(sample_weight, X.shape[0]), random_state)

    def _select(
        self, X: Samples, y: ArrayLike | None, weight: np.ndarray, random_state: RandomState
    ) -> PairSelection:
        """Choose the pairs of checked samples."""
        raise NotImplementedError
