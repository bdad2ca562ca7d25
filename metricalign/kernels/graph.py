"""Pairs of samples as the edges of a graph."""

from __future__ import annotations

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
    order : ndarray of int of shape (n_pairs,)
        Pairs by their first sample, then by their second.
    first : ndarray of int of shape (n_samples + 1,)
        Where in `order` the pairs of each first sample begin.
    second : ndarray of int of shape (n_pairs,)
        Second samples, in this order.
    """

    def __init__(self, pairs: NDArray, n_samples: int):
        # Half the memory to read, where that is enough.
        small = max(n_samples, len(pairs)) <= np.iinfo(np.int32).max
        index = np.int32 if small else np.int64
        n_pairs_of_sample = np.bincount(pairs[:, 0], minlength=n_samples)
        self.pairs = pairs
        self.order = np.lexsort((pairs[:, 1], pairs[:, 0])).astype(index)
        self.first = np.concatenate([[0], np.cumsum(n_pairs_of_sample)]).astype(index)
        self.second = pairs[self.order, 1].astype(index)

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
        n_samples = len(self.first) - 1
        degrees = np.bincount(self.pairs[:, 0], weights, n_samples)
        degrees += np.bincount(self.pairs[:, 1], weights, n_samples)
        return degrees
