"""Pairs of several strategies, and pairs of transformed samples."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods

from metricalign.pairs.identical import Samples
from metricalign.pairs.search import RandomState
from metricalign.pairs.selection import PairSelection, merge_directions

__all__ = ["TransformedPairs", "UnionPairs"]


class UnionPairs(BaseEstimator):
    """Choose the pairs of several strategies.

    If several strategies choose the same pair, its weight is the sum of their weights.

    Parameters
    ----------
    pairs : list of strategies
        Objects with a method ``select``, such as ``[NearestPairs(), RandomPairs()]``.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import AllPairs, NearestPairs, UnionPairs
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> indices, weights = UnionPairs([NearestPairs(n_neighbors=1), AllPairs()]).select(X)
    >>> indices
    array([[0, 1],
           [0, 2],
           [1, 2]])
    >>> weights
    array([3., 1., 2.])
    """

    _parameter_constraints: ClassVar[dict] = {"pairs": [list, tuple]}

    def __init__(self, pairs: list):
        self.pairs = pairs

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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets, as the strategies need them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            All strategies draw from the same generator, so that two random ones differ.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        ValueError
            If a parameter is not valid, or a strategy finds no pairs.
        """
        self._validate_params()
        if not self.pairs or not all(hasattr(strategy, "select") for strategy in self.pairs):
            raise ValueError(
                "The 'pairs' parameter of UnionPairs must be a list of at least one strategy "
                f"with a method select, such as NearestPairs(). Got {self.pairs!r}."
            )
        random_state = check_random_state(random_state)
        selections = [
            strategy.select(X, y, sample_weight=sample_weight, random_state=random_state)
            for strategy in self.pairs
        ]
        indices = np.concatenate([selection.indices for selection in selections])
        weights = np.concatenate([selection.weights for selection in selections])
        return merge_directions(indices[:, 0], indices[:, 1], weights, X.shape[0])


class TransformedPairs(BaseEstimator):
    """Choose the pairs that a strategy chooses for transformed samples.

    If the transformer is a learned metric, the nearest pairs are those under this metric.

    Parameters
    ----------
    pairs : object
        A strategy, with a method ``select``, such as ``NearestPairs()``.
    transformer : object
        A fitted transformer of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from metricalign.pairs import NearestPairs, TransformedPairs
    >>> X = np.array([[0.0], [1.0], [-1.5]])
    >>> NearestPairs(n_neighbors=1).select(X).indices
    array([[0, 1],
           [0, 2]])
    >>> TransformedPairs(NearestPairs(n_neighbors=1), FunctionTransformer(np.abs)).select(X).indices
    array([[0, 1],
           [1, 2]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "pairs": [HasMethods("select")],
        "transformer": [HasMethods("transform")],
    }

    def __init__(self, pairs: Any, transformer: Any):
        self.pairs = pairs
        self.transformer = transformer

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
            The samples before they are transformed.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets, as the strategy needs them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Passed to the strategy.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        ValueError
            If a parameter is not valid, or the strategy finds no pairs.
        """
        self._validate_params()
        # A learner's images to compare keep all digits of their differences far from the origin.
        transform = getattr(self.transformer, "_images_to_compare", self.transformer.transform)
        images = transform(X)
        return self.pairs.select(images, y, sample_weight, random_state)
