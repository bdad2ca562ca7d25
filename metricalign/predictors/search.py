"""Exact search of nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from metricalign._arrays import batches
from metricalign.pairs.products import SampleBlocks

__all__ = ["NeighborSearch"]

# Entries of a block of distances.
_BLOCK_SIZE = 4_000_000
# Up to so many distances, all of them by differences take less time than a proof: 100 queries among
# 1,000 samples of 40 columns take 3.2 ms and 2.6, one among 20,000 0.9 and 1.2.
_FEW_DISTANCES = 2**16


class NeighborSearch:
    """Exact search of nearest neighbours.

    Products in single precision are used where they are proven to find the neighbours. Differences
    are used elsewhere: if samples are equally far, or some so far that products lose their digits.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples among which neighbours are searched: fastest if most are near the origin.
    n_queries : int or None, default=None
        How many queries will come, None for many. Many are worth some preparation.

    Attributes
    ----------
    samples : ndarray of shape (n_samples, n_features)
        The samples.
    """

    def __init__(self, samples: NDArray, *, n_queries: int | None = None):
        self.samples = samples
        self._blocks = SampleBlocks(samples, n_queries=n_queries)

    # A file has the samples only.

    def __getstate__(self) -> dict[str, Any]:
        return {"samples": self.samples}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = NeighborSearch(**state).__dict__

    def nearest(self, queries: NDArray, n_neighbors: int) -> tuple[NDArray, NDArray]:
        """Find the nearest samples.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Samples whose neighbours are searched.
        n_neighbors : int
            Number of neighbours; all samples if there are fewer.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Euclid's distances, ascending, in float64.
        indices : ndarray of int of shape (n_queries, n_neighbors)
            Rows of the samples; of those that are equally near the first.
        """
        samples = self.samples
        n_neighbors = min(n_neighbors, len(samples))
        if len(queries) * len(samples) <= _FEW_DISTANCES:
            return _by_differences(queries, samples, n_neighbors)
        distances, indices, is_proven = self._blocks.nearest(queries, n_neighbors)
        others = np.flatnonzero(~is_proven)
        for batch in batches(len(others), max(1, _BLOCK_SIZE // len(samples))):
            rows = others[batch]
            distances[rows], indices[rows] = _by_differences(queries[rows], samples, n_neighbors)
        return distances, indices


def _by_differences(queries, samples, n_neighbors):
    exact = cdist(queries, samples)
    farthest = np.partition(exact, n_neighbors - 1, axis=1)[:, n_neighbors - 1 : n_neighbors]
    is_nearer, is_last = exact < farthest, exact == farthest
    # Of those that are equally near the first.
    n_last = n_neighbors - np.count_nonzero(is_nearer, axis=1, keepdims=True)
    is_found = is_nearer | (is_last & (np.cumsum(is_last, axis=1) <= n_last))
    found = np.nonzero(is_found)[1].reshape(len(queries), n_neighbors)
    exact = np.take_along_axis(exact, found, axis=1)
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(exact, order, axis=1), np.take_along_axis(found, order, axis=1)
