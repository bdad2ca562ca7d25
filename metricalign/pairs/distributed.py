"""Samples that are spread over the workers of a Dask cluster.

The rows of a Dask array are taken in blocks of whole chunks, as many blocks as the workers have
threads. The process that calls `fit` holds the targets, the pairs, and a few numbers for each
sample. A worker holds its blocks and copies of rows of other blocks, at most one for each pair.
While neighbours are sought it also holds some samples of other workers at a time.

When a worker dies, Dask computes its blocks again from the graph of the array. Without a
`distributed.Client` Dask's own scheduler does the work, in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_array

from metricalign._arrays import batches, dtype_of
from metricalign.pairs import EuclideanSearch
from metricalign.pairs.distinct import largest_entry
from metricalign.pairs.identical import RemoteSamples, order_keys
from metricalign.pairs.search import can_be_moved, middle_of, rank_within, search_neighbors

if TYPE_CHECKING:
    from dask.array import Array
    from dask.delayed import Delayed

__all__ = ["DistributedSamples"]

# Rows that are hashed at a time: this bounds the memory.
_ROWS_AT_A_TIME = 4096
# Entries of the samples that are sent to the blocks together, to search for their neighbours. A
# search must be prepared for each of these batches and block.
_ENTRIES_OF_QUERIES = 2**22


class DistributedSamples(RemoteSamples):
    """Rows of a Dask array that stay with the workers.

    Every row is read, and checked as scikit-learn checks arrays. The workers return two numbers for
    each row: a hash of 128 bits, by which identical rows are found, and a key to sort by.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
        Dense samples, chunked in any way.
    estimator_name : str or None, default=None
        Name of the estimator, for error messages.

    Attributes
    ----------
    dtype : dtype
        float32 if X is, else float64.
    largest : float
        Largest absolute value of an entry.

    Raises
    ------
    ValueError
        If an entry is NaN or infinite.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> X = np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])
    >>> from metricalign.operators import DistributedPairOperator
    >>> from metricalign.pairs.distributed import DistributedSamples
    >>> samples = DistributedSamples(da.from_array(X, chunks=2))
    >>> samples.first_identical()
    array([0, 1, 0])
    >>> operator = DistributedPairOperator(samples, np.array([[0, 1], [0, 2]]))
    >>> operator.distances(np.eye(2))
    array([5., 0.])
    """

    def __init__(self, X: Array, *, estimator_name: str | None = None):
        import dask

        self.dtype = dtype_of(X)
        self._n_features = X.shape[1]
        X = _joined(X)
        self._starts = np.cumsum([0, *X.chunks[0]])
        check = dask.delayed(_checked)
        self._blocks = dask.persist(
            *(check(block, self.dtype, estimator_name) for block in X.to_delayed().flat)
        )
        described = dask.compute(*map(dask.delayed(_described), self._blocks))
        largest, digests, keys = zip(*described, strict=True)
        self.largest = max(largest)
        self._digests, self._order_keys = np.concatenate(digests), np.concatenate(keys)
        self._rows = np.arange(X.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of samples and of features."""
        return len(self._rows), self._n_features

    def __getitem__(self, rows: NDArray) -> Self:
        selected = copy(self)
        selected._rows = self._rows[rows]
        return selected

    def compute(self) -> NDArray:
        order, parts = self.parts()
        X = np.empty(self.shape, dtype=self.dtype)
        X[order] = np.concatenate(computed(rows for _, rows in parts))
        return X

    def map_blocks(self, function: Callable[..., Any], arguments: Callable[..., Any]) -> list[Any]:
        from dask import delayed

        order, parts = self.parts()
        starts = [start for start, _ in parts]
        members = np.split(order, starts[1:])
        apply = delayed(function)
        tasks = (
            apply(rows, *arguments(of_block))
            for (_, rows), of_block in zip(parts, members, strict=True)
        )
        return list(computed(tasks))

    def first_identical(self) -> NDArray:
        digests = self._digests[self._rows]
        order = np.lexsort(digests.T)  # stable, so the first of equal rows stays first
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = np.any(digests[order[1:]] != digests[order[:-1]], axis=1)
        first = np.empty_like(order)
        first[order] = order[is_first][np.cumsum(is_first) - 1]
        return first

    def order_keys(self) -> NDArray:
        return self._order_keys[self._rows]

    def neighbor_search(self, neighbors: Any) -> _BlockwiseSearch:
        return _BlockwiseSearch(neighbors)

    def parts(self) -> tuple[NDArray, list[tuple[int, Delayed]]]:
        """Group the samples by the blocks that hold them.

        Returns
        -------
        order : ndarray of int of shape (n_samples,)
            The samples in the order of the blocks.
        parts : list of (start, rows)
            For each block that holds some of them: the number of samples in earlier blocks, and the
            array of the samples in this block.
        """
        from dask import delayed

        take = delayed(taken)
        order = np.argsort(self._rows, kind="stable")
        in_blocks = self._in_blocks(self._rows[order])
        return order, [(start, take(self._blocks[b], kept)) for b, start, kept in in_blocks]

    def _in_blocks(self, rows):
        """Split ascending rows of X by block: yield the block, the start, and rows of the block."""
        ends = np.searchsorted(rows, self._starts)
        for b, (start, end) in enumerate(pairwise(ends.tolist())):
            if end > start:
                yield b, start, rows[start:end] - self._starts[b]

    def blocks_of(self, pairs: NDArray) -> list[tuple[NDArray, list[Any], NDArray]]:
        """Distribute the pairs. Each pair goes to the block of one of its samples.

        Parameters
        ----------
        pairs : ndarray of int of shape (n_pairs, 2)
            The two samples of each pair.

        Returns
        -------
        blocks : list of (members, rows, local)
            An entry for each block that gets pairs. `members` are the numbers of these pairs.
            `rows` are arrays of all samples of these pairs. The array of the block itself is given
            as (array, rows to take from it). `local` are the two samples of each pair, as rows of
            the concatenation of `rows`.
        """
        from dask import delayed

        take = delayed(taken)
        pairs = self._rows[pairs]
        n_rows = self._starts[-1]
        # A pair goes to the block of the sample with fewer pairs. The copy of the other sample is
        # then used by many pairs.
        order = np.argsort(np.bincount(pairs.ravel(), minlength=n_rows), kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(n_rows)
        stays = order[rank[pairs].min(axis=1)]
        homes = np.searchsorted(self._starts, stays, side="right") - 1
        # Small integers are sorted in linear time.
        order = np.argsort(homes.astype(np.min_scalar_type(len(self._blocks))), kind="stable")
        blocks = []
        for members in np.split(order, np.flatnonzero(np.diff(homes[order])) + 1):
            is_used = np.zeros(n_rows, dtype=bool)
            is_used[pairs[members]] = True
            place = np.cumsum(is_used, dtype=np.int32) - 1
            home = homes[members[0]]
            rows = [
                (self._blocks[b], kept) if b == home else take(self._blocks[b], kept)
                for b, _, kept in self._in_blocks(np.flatnonzero(is_used))
            ]
            blocks.append((members, rows, place[pairs[members]]))
        return blocks


class _BlockwiseSearch(BaseEstimator):
    """Search every block for the neighbours of all samples, and keep the nearest.

    It has the methods of the transformer that searches one block. Batches of samples are sent to
    the blocks, so that a worker holds few samples of other blocks.
    """

    def __init__(self, neighbors, n_neighbors=5):
        self.neighbors = neighbors
        self.n_neighbors = n_neighbors

    def fit(self, X):
        self.order_, parts = X.parts()
        starts, rows = zip(*parts, strict=True)
        self.parts_ = list(zip(starts, persisted(rows), strict=True))
        return self

    def transform(self, X):
        from dask import delayed

        join, search, merge = delayed(np.concatenate), delayed(_nearest), delayed(_merged)
        order, found = X.parts()[0], []
        for batch in batches(len(order), max(1, _ENTRIES_OF_QUERIES // X.shape[1])):
            # They are in the order of the blocks, so that a batch comes from few blocks.
            queries = join([rows for _, rows in X[order[batch]].parts()[1]])
            nearest = [
                search(batch.start, queries, *part, self.neighbors, self.n_neighbors)
                for part in self.parts_
            ]
            while len(nearest) > 1:
                pairs = batches(len(nearest), 2)
                nearest = [merge(nearest[pair], self.n_neighbors) for pair in pairs]
            found += nearest
        row, column, distance = map(np.concatenate, zip(*computed(found), strict=True))
        shape = (X.shape[0], len(self.order_))
        return sparse.coo_array((distance, (order[row], self.order_[column])), shape=shape)


def _joined(X):
    """Chunk along the rows only, into as many chunks as there are threads."""
    ends = np.cumsum(X.chunks[0])
    wanted = np.linspace(0, ends[-1], _n_threads() + 1)[1:]
    ends = np.unique(ends[np.searchsorted(ends, wanted - 0.5)])
    return X.rechunk({0: tuple(np.diff(ends, prepend=0).tolist()), 1: -1})


def _n_threads():
    """Count the threads of all workers, or of this machine if there is no cluster."""
    from dask.system import CPU_COUNT

    try:
        from distributed import get_client

        return sum(get_client().nthreads().values()) or CPU_COUNT
    except (ImportError, ValueError):
        return CPU_COUNT


def persisted(tasks: Iterable[Delayed]) -> tuple[Delayed, ...]:
    """Compute tasks, and leave the results with the workers."""
    import dask

    with _sends_pairs():
        return dask.persist(*tasks)


def computed(tasks: Iterable[Delayed]) -> tuple[Any, ...]:
    """Compute tasks, and return the results."""
    import dask

    with _sends_pairs():
        return dask.compute(*tasks)


def _sends_pairs():
    """Suppress Dask's warning about large graphs.

    The pairs are part of the graph. They are not scattered, so that Dask can send them again when
    a worker dies.
    """
    import dask

    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"})


def _checked(rows, dtype, estimator_name):
    return check_array(rows, dtype=dtype, input_name="X", estimator=estimator_name)


def _described(rows):
    """Return the largest absolute entry, and the hash and the sort key of each row."""
    digests, keys = [], []
    for batch in batches(len(rows), _ROWS_AT_A_TIME):
        unsigned = np.ascontiguousarray(rows[batch] + 0.0)  # the sum turns -0.0 into 0.0
        digests += [blake2b(row, digest_size=16).digest() for row in unsigned]
        keys.append(order_keys(rows[batch]))
    digests = np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)
    return largest_entry(rows), digests, np.concatenate(keys)


def taken(rows: NDArray, kept: NDArray) -> NDArray:
    """Select rows of a block, without a copy if all rows are selected."""
    return rows if len(kept) == len(rows) else rows[kept]


def _nearest(first_query, queries, first_candidate, candidates, neighbors, n_neighbors):
    """Search one block of candidates. Return queries, candidates and distances."""
    n_candidates = len(candidates)
    if can_be_moved(neighbors):
        middle = middle_of(candidates)
        queries, candidates = queries - middle, candidates - middle
    if neighbors is None or n_candidates == 1:
        neighbors = EuclideanSearch()
    neighbors = clone(neighbors).set_params(n_neighbors=min(n_neighbors, n_candidates - 1))
    row, column, distance = search_neighbors(neighbors.fit(candidates), queries, n_candidates)
    return row + first_query, column + first_candidate, distance


def _merged(found, n_neighbors):
    """Select the nearest of the candidates that were found in several blocks."""
    row, column, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((column, distance, row))
    # This is one more than `n_neighbors`, as the sample itself may be among them.
    order = order[rank_within(row[order]) <= n_neighbors]
    return row[order], column[order], distance[order]
