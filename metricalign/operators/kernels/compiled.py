"""The kernels compiled by numba. They run at the speed of the memory and make no copies.

Large problems run in as many threads as OpenMP would take, which threadpoolctl and the workers of
joblib limit.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from metricalign.operators.kernels.graph import PairGraph

__all__ = ["squared_distances", "squared_lengths", "weighted_rows"]

# With fewer multiplications, threads cost more time than they save.
_WORK_OF_A_THREAD = 2**25

# The compiler may reorder sums for vector registers. NaN and infinity keep their meaning.
_jit = partial(numba.njit, nogil=True, fastmath={"reassoc", "contract", "nsz"})


def _compile(function):
    try:
        return _jit(cache=True)(function)
    except RuntimeError:  # there is no folder that numba may write to
        return _jit()(function)


def squared_distances(X: NDArray, mapped: NDArray, graph: PairGraph) -> NDArray:
    """As `metricalign.operators.kernels.plain.squared_distances`, of dense samples."""
    distances = np.empty(len(graph.pairs), dtype=X.dtype)
    own = np.empty(X.shape[0], dtype=X.dtype)
    _row_dots(X, mapped, own)
    _over_rows(_squared_distances, graph, X, mapped, own, distances)
    return distances


def squared_lengths(X: NDArray, graph: PairGraph) -> NDArray:
    """As `metricalign.operators.kernels.plain.squared_lengths`, of dense samples."""
    lengths = np.empty(len(graph.pairs), dtype=X.dtype)
    _over_rows(_squared_lengths, graph, X, lengths)
    return lengths


def weighted_rows(
    X: NDArray, degrees: NDArray, weights: NDArray, graph: PairGraph, rows: NDArray
) -> NDArray:
    """As `weighted_rows` of the plain kernels, of dense samples; overwrites `rows`."""
    _over_rows(_weighted_rows, graph, X, degrees, weights, rows)
    return rows


def _over_rows(kernel, graph, X, *arrays):
    """Run a kernel over parts of the rows that have equally many pairs."""
    n_samples, n_features = X.shape
    n_pairs = len(graph.order)
    n_threads = min(
        _openmp_effective_n_threads(), 1 + (n_samples + n_pairs) * n_features // _WORK_OF_A_THREAD
    )
    if threading.current_thread() is not threading.main_thread():
        # Dask or joblib started this thread, and has divided the cores among its threads.
        n_threads = 1
    arguments = (graph.first, graph.second, graph.order, X, *arrays)
    if n_threads == 1:
        kernel(0, n_samples, *arguments)
        return
    work = graph.first + np.arange(n_samples + 1)
    ends = np.searchsorted(work, np.linspace(0, work[-1], n_threads + 1)[1:-1])
    ends = [0, *ends.tolist(), n_samples]
    with ThreadPoolExecutor(n_threads) as threads:
        tasks = [threads.submit(kernel, start, stop, *arguments) for start, stop in pairwise(ends)]
        for task in tasks:
            task.result()


@_compile
def _row_dots(X, mapped, own):
    for i in range(X.shape[0]):
        own[i] = _dot(X, i, mapped, i)


@_compile
def _dot(X, i, mapped, j):
    product = X.dtype.type(0)
    for feature in range(X.shape[1]):
        product += X[i, feature] * mapped[j, feature]
    return product


@_compile
def _squared_distances(start, stop, first, second, order, X, mapped, own, distances):
    for i in range(start, stop):
        # Two pairs at a time take a tenth less time, as a row of X is read once for both.
        paired = first[i + 1] - (first[i + 1] - first[i]) % 2
        for position in range(first[i], paired, 2):
            j, k = second[position], second[position + 1]
            to_j, to_k = X.dtype.type(0), X.dtype.type(0)
            for feature in range(X.shape[1]):
                to_j += X[i, feature] * mapped[j, feature]
                to_k += X[i, feature] * mapped[k, feature]
            distances[order[position]] = own[i] + own[j] - 2 * to_j
            distances[order[position + 1]] = own[i] + own[k] - 2 * to_k
        for position in range(paired, first[i + 1]):
            j = second[position]
            distances[order[position]] = own[i] + own[j] - 2 * _dot(X, i, mapped, j)


@_compile
def _squared_lengths(start, stop, first, second, order, X, lengths):
    for i in range(start, stop):
        for position in range(first[i], first[i + 1]):
            j = second[position]
            length = X.dtype.type(0)
            for feature in range(X.shape[1]):
                difference = X[i, feature] - X[j, feature]
                length += difference * difference
            lengths[order[position]] = length


@_compile
def _weighted_rows(start, stop, first, second, order, X, degrees, weights, rows):
    for i in range(start, stop):
        degree = degrees[i]
        for feature in range(X.shape[1]):
            rows[i, feature] = degree * X[i, feature]
        # Two pairs at a time take a fourth less time, as the row is written half as often.
        paired = first[i + 1] - (first[i + 1] - first[i]) % 2
        for position in range(first[i], paired, 2):
            j, k = second[position], second[position + 1]
            of_j, of_k = weights[order[position]], weights[order[position + 1]]
            for feature in range(X.shape[1]):
                rows[i, feature] -= of_j * X[j, feature] + of_k * X[k, feature]
        for position in range(paired, first[i + 1]):
            j = second[position]
            weight = weights[order[position]]
            for feature in range(X.shape[1]):
                rows[i, feature] -= weight * X[j, feature]
