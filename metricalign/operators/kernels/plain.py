"""The kernels in NumPy and SciPy, for dense and for sparse samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import batches
from metricalign.operators.kernels.graph import PairGraph

__all__ = ["pair_batches", "row_dots", "squared_distances", "squared_lengths", "weighted_rows"]

# Number of bytes that are gathered at once. So few stay in the cache.
_BATCH_BYTES = 2**18


def squared_distances(X: NDArray | sparse.csr_array, mapped: NDArray, graph: PairGraph) -> NDArray:
    """Squared distances x_i . m_i + x_j . m_j - 2 x_i . m_j of the pairs (i, j).

    Parameters
    ----------
    X, mapped : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples x_i, and their images m_i = M x_i.
    graph : PairGraph
        The pairs.

    Returns
    -------
    distances : ndarray of shape (n_pairs,)
    """
    distances = np.empty(len(graph.pairs), dtype=X.dtype)
    own = row_dots(X, mapped)
    for batch in pair_batches(X, len(distances)):
        left, right = graph.pairs[batch].T
        distances[batch] = own[left] + own[right] - 2 * row_dots(X[left], mapped[right])
    return distances


def squared_lengths(X: NDArray | sparse.csr_array, graph: PairGraph) -> NDArray:
    """Squared lengths of the differences of the pairs.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    graph : PairGraph
        The pairs.

    Returns
    -------
    lengths : ndarray of shape (n_pairs,)
    """
    lengths = np.empty(len(graph.pairs), dtype=X.dtype)
    for batch in pair_batches(X, len(lengths)):
        left, right = graph.pairs[batch].T
        difference = X[left] - X[right]
        lengths[batch] = row_dots(difference, difference)
    return lengths


def weighted_rows(
    X: NDArray | sparse.csr_array,
    degrees: NDArray,
    weights: NDArray,
    graph: PairGraph,
    rows: NDArray | None,
) -> NDArray | sparse.csr_array:
    """Rows degree_i x_i - sum over the pairs (i, j) of weight_ij x_j.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    degrees : ndarray of shape (n_samples,)
        Weights of the samples.
    weights : ndarray of shape (n_pairs,)
        Weights of the pairs.
    graph : PairGraph
        The pairs.
    rows : ndarray of shape (n_samples, n_features)
        Memory for the result, which may be used or not.

    Returns
    -------
    rows : {ndarray, csr_array} of shape (n_samples, n_features)
    """
    n_samples = X.shape[0]
    edges = sparse.csr_array(
        (weights[graph.order], graph.second, graph.first), shape=(n_samples, n_samples)
    )
    return sparse.diags_array(degrees) @ X - edges @ X


def row_dots(left: Any, right: NDArray | sparse.csr_array) -> NDArray:
    """Inner products of the rows of two matrices.

    Parameters
    ----------
    left, right : {ndarray, csr_array} of shape (n_rows, n_features)
        The matrices. The right one may be sparse only if the left one is.

    Returns
    -------
    dots : ndarray of shape (n_rows,)
    """
    if sparse.issparse(left):
        return np.asarray(left.multiply(right).sum(axis=1)).ravel()
    return np.einsum("ij,ij->i", left, right)


def pair_batches(X: Any, n_pairs: int) -> Iterator[slice]:
    """Slices of so many pairs that their samples fit into the cache.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    n_pairs : int
        Number of pairs.

    Returns
    -------
    batches : iterator of slice
    """
    width = 1 + X.nnz // X.shape[0] if sparse.issparse(X) else X.shape[1]
    size = max(1, _BATCH_BYTES // (width * X.dtype.itemsize))
    return batches(n_pairs, size)
