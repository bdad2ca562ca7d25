"""Pairs of samples as the edges of a graph."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairGraph"]


class PairGraph:
    """Pairs, and the same grouped by their first samples, so that memory is read in order.

    Parameters
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        The two samples of each pair.
    n_samples : int
        Number of samples.

    Attributes
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        As given.
    """

    def __init__(self, pairs: NDArray, n_samples: int):
        self.pairs = pairs
        self._n_samples = n_samples

    # The pairs are grouped at the first use: an operator of few pairs takes the differences.

    @property
    def _index(self):
        # Half the memory to read, where that is enough.
        is_small = max(self._n_samples, len(self.pairs)) <= np.iinfo(np.int32).max
        return np.int32 if is_small else np.int64

    @cached_property
    def order(self) -> NDArray:
        """Pairs by their first sample, then by their second."""
        # Sorting one number a pair is several times faster than two. Equal pairs may swap.
        number = self.pairs[:, 0].astype(np.int64) * self._n_samples + self.pairs[:, 1]
        return np.argsort(number).astype(self._index)

    @cached_property
    def first(self) -> NDArray:
        """Where in `order` the pairs of each first sample begin."""
        n_pairs_of_sample = np.bincount(self.pairs[:, 0], minlength=self._n_samples)
        return np.concatenate([[0], np.cumsum(n_pairs_of_sample)]).astype(self._index)

    @cached_property
    def second(self) -> NDArray:
        """Second samples, in this order."""
        return self.pairs[self.order, 1].astype(self._index)

    def degrees(self, weights: NDArray) -> NDArray:
        """Sums of the weights of the pairs of each sample.

        Parameters
        ----------
        weights : ndarray of shape (n_pairs,)
            Weights of the pairs.

        Returns
        -------
        degrees : ndarray of shape (n_samples,)
        """
        degrees = np.bincount(self.pairs[:, 0], weights, self._n_samples)
        degrees += np.bincount(self.pairs[:, 1], weights, self._n_samples)
        return degrees
