"""Pairs of samples as the edges of a graph."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairGraph"]


class PairGraph:
    """Pairs of samples, and the same pairs grouped by their first sample.

    The kernels go through the groups, so that they read the memory in order. The groups are made at
    the first use, since an operator of few pairs does without them.

    Parameters
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        The two samples of each pair.
    n_samples : int
        Number of samples.

    Attributes
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        The pairs as they were given.
    """

    def __init__(self, pairs: NDArray, n_samples: int):
        self.pairs = pairs
        self._n_samples = n_samples

    @property
    def _index(self):
        # Where int32 is enough, there is half the memory to read.
        is_small = max(self._n_samples, len(self.pairs)) <= np.iinfo(np.int32).max
        return np.int32 if is_small else np.int64

    @cached_property
    def order(self) -> NDArray:
        """Indices that sort the pairs by their first sample, then by their second."""
        # It is several times faster to sort by one number than by two. Equal pairs may swap.
        number = self.pairs[:, 0].astype(np.int64) * self._n_samples + self.pairs[:, 1]
        return np.argsort(number).astype(self._index)

    @cached_property
    def first(self) -> NDArray:
        """Places in `order` at which the pairs of each first sample begin."""
        n_pairs_of_sample = np.bincount(self.pairs[:, 0], minlength=self._n_samples)
        return np.concatenate([[0], np.cumsum(n_pairs_of_sample)]).astype(self._index)

    @cached_property
    def second(self) -> NDArray:
        """Second samples of the pairs, in this order."""
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
            Sum of the weights of the pairs of each sample.
        """
        degrees = np.bincount(self.pairs[:, 0], weights, self._n_samples)
        degrees += np.bincount(self.pairs[:, 1], weights, self._n_samples)
        return degrees
