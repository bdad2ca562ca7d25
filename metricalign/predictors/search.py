"""Search of nearest neighbours: exact, or by a transformer that may miss some."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import clone

from metricalign._arrays import batches
from metricalign.neighbors import FaissTransformer, import_faiss
from metricalign.pairs.products import SampleBlocks, nearest_by_differences
from metricalign.pairs.search import middle_of, own_neighbors, search_neighbors

__all__ = ["ApproximateSearch", "NeighborSearch", "own_transformer", "search_among"]

# Entries of a block of distances.
_BLOCK_SIZE = 4_000_000
# Up to so many distances, all of them by differences take less time than a proof: 100 queries among
# 1,000 samples of 40 columns take 3.2 ms and 2.6, one among 20,000 0.9 and 1.2.
_FEW_DISTANCES = 2**16
# Samples whose neighbours are also searched exactly. With 100 neighbours each, the recall of an
# approximate search is then known to a few thousandths.
_N_RECALLED = 200
# At so many times the distance of the farthest sample, searches in single precision see the samples
# at one place, and that of faiss refuses to look.
_FAR = 1e6


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

    def added(self, samples: NDArray) -> NeighborSearch:
        """Return the search among these samples too, whose rows follow those of the others."""
        return NeighborSearch(np.concatenate([self.samples, samples]))

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


class ApproximateSearch:
    """Search of nearest neighbours by a transformer, such as that of faiss, which may miss some.

    What it finds is compared anew, by differences in double precision. Neighbours of queries for
    which it finds too few, or that are far from all samples, are searched exactly.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples among which neighbours are searched.
    neighbors : transformer
        In the manner of `sklearn.neighbors.KNeighborsTransformer`, and fitted to the samples.

    Attributes
    ----------
    samples : ndarray of shape (n_samples, n_features)
        The samples.
    """

    def __init__(self, samples: NDArray, neighbors: Any):
        self.samples = samples
        self._neighbors = neighbors
        self._middle = middle_of(samples)
        ends = samples.max(axis=0) - self._middle, self._middle - samples.min(axis=0)
        self._extent = float(np.max(ends))

    def _are_far(self, samples) -> NDArray:
        return np.abs(samples - self._middle).max(axis=1) > _FAR * self._extent

    def added(self, samples: NDArray) -> NeighborSearch | ApproximateSearch:
        """Return the search among these samples too, whose rows follow those of the others.

        A transformer with a `partial_fit` is given these, another one all. If some are far from the
        others, the search becomes exact.
        """
        together = np.concatenate([self.samples, samples])
        if self._are_far(samples).any():
            return NeighborSearch(together)
        if hasattr(self._neighbors, "partial_fit"):
            return ApproximateSearch(together, deepcopy(self._neighbors).partial_fit(samples))
        return ApproximateSearch(together, clone(self._neighbors).fit(together))

    def recall(self, n_neighbors: int) -> float:
        """Share of the neighbours of some of the samples that are found, others as near counting.

        Parameters
        ----------
        n_neighbors : int
            Number of neighbours; the sample itself is none.

        Returns
        -------
        recall : float
        """
        some = self.samples[:: -(-len(self.samples) // _N_RECALLED)]
        exact, _ = NeighborSearch(self.samples, n_queries=len(some)).nearest(some, n_neighbors + 1)
        found, _ = self.nearest(some, n_neighbors + 1)
        # The last digits of distances depend on the way in which they are computed.
        is_found = found[:, 1:] <= exact[:, -1:] * (1 + 1e-9)
        return float(is_found.mean()) if is_found.size else 1.0

    def nearest(self, queries: NDArray, n_neighbors: int) -> tuple[NDArray, NDArray]:
        """Find the nearest samples, or others that are nearly as near.

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
        if n_neighbors >= len(samples):
            return NeighborSearch(samples, n_queries=len(queries)).nearest(queries, n_neighbors)
        # A copy, as several threads may search for different numbers.
        neighbors = copy(self._neighbors).set_params(n_neighbors=n_neighbors)
        near = np.flatnonzero(~self._are_far(queries))
        row = column = np.empty(0, dtype=np.intp)
        if len(near):
            row, column, _ = search_neighbors(neighbors, queries[near], len(samples))
        row = near[row]
        n_found = np.bincount(row, minlength=len(queries))
        # Searches return as many as asked for, or one more.
        width = max(n_neighbors, n_found.max())
        is_full = n_found == width
        found = column[is_full[row]].reshape(-1, width)
        distances = np.empty((len(queries), n_neighbors))
        indices = np.empty(distances.shape, dtype=np.intp)
        distances[is_full], indices[is_full] = nearest_by_differences(
            samples, queries[is_full], found, n_neighbors
        )
        if not is_full.all():
            others = queries[~is_full]
            exact = NeighborSearch(samples, n_queries=len(others))
            distances[~is_full], indices[~is_full] = exact.nearest(others, n_neighbors)
        return distances, indices


def own_transformer(neighbors: Any, random_state: int) -> Any:
    """Return an unfitted copy of a transformer that can search neighbours, seeded if it is random.

    Raises
    ------
    ImportError
        If it needs faiss, which is not installed.
    ValueError
        If it has no number of neighbours, or gives no distances.
    """
    if isinstance(neighbors, FaissTransformer):
        import_faiss()
    return None if neighbors is None else own_neighbors(neighbors, random_state)


def search_among(
    samples: NDArray, neighbors: Any, n_neighbors: int, title: str | None
) -> tuple[NeighborSearch | ApproximateSearch, float]:
    """Prepare the search of neighbours, and measure what share of them it finds.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples among which neighbours are searched.
    neighbors : transformer or None
        An approximate search, which is fitted to the samples. None: the search is exact.
    n_neighbors : int
        The number of neighbours for which the share is measured.
    title : str or None
        Beginning of a printed line about the search. None prints nothing.

    Returns
    -------
    search : NeighborSearch or ApproximateSearch
        The search among the samples.
    recall : float
        Share of the nearest samples that it finds.
    """
    search: NeighborSearch | ApproximateSearch
    if neighbors is None:
        search, recall, way = NeighborSearch(samples), 1.0, "exactly"
    else:
        search = ApproximateSearch(samples, neighbors.fit(samples))
        recall = search.recall(n_neighbors)
        way = f"by {neighbors!r}, which finds {recall:.1%} of them"
    if title is not None:
        print(f"[{title}] neighbours among {len(samples):,} samples: {way}", flush=True)
    return search, recall


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
