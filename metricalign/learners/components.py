"""From a metric to the linear map whose Euclidean distance it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

__all__ = []


def _dense(matrix: Any) -> NDArray:
    return matrix.toarray() if sparse.issparse(matrix) else matrix


def _with_outside(eigenvalues, eigenvectors, basis, outside):
    """Eigenvalues in descending order and eigenvectors, with those orthogonal to the basis."""
    n_features, n_inside = basis.shape
    complement = linalg.qr(basis, check_finite=False)[0][:, n_inside:]
    values = np.full(n_features - n_inside, outside, dtype=eigenvalues.dtype)
    place = np.searchsorted(-eigenvalues, -values[0])
    vectors = basis @ eigenvectors
    return (
        np.concatenate([eigenvalues[:place], values, eigenvalues[place:]]),
        np.concatenate([vectors[:, :place], complement, vectors[:, place:]], axis=1),
    )


def components_of(
    matrix: NDArray,
    n_components: int | float | None = None,
    basis: NDArray | None = None,
    outside: float = 0.0,
) -> NDArray | sparse.csr_array:
    """Linear map whose Euclidean distance is that of the positive part of a matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_features, n_features) or (n_features,)
        Symmetric matrix M, or the diagonal of a diagonal one.
    n_components : int, float or None, default=None
        How many of the largest eigenvalues to keep: a number, the share of the sum of the
        positive ones (between 0 and 1), or all positive ones.
    basis : ndarray of shape (n_original_features, n_features) or None, default=None
        Orthonormal columns in whose coordinates the matrix is, if not in those of the features.
    outside : float, default=0
        Eigenvalue of all that is orthogonal to the basis, at least 0.

    Returns
    -------
    components : {ndarray, csr_array} of shape (n_components, n_features)
        Rows sqrt(eigenvalue) eigenvector, by decreasing eigenvalue, the largest entry of
        each positive; sparse for a diagonal matrix. A single row of zeros if no eigenvalue is
        positive.
    """
    if matrix.ndim == 1:
        order = np.argsort(-matrix, kind="stable")
        eigenvalues = matrix[order]
    else:
        eigenvalues, eigenvectors = np.linalg.eigh(matrix)
        eigenvalues, eigenvectors = eigenvalues[::-1], eigenvectors[:, ::-1]
        if outside > 0 and basis is not None:
            eigenvalues, eigenvectors = _with_outside(eigenvalues, eigenvectors, basis, outside)
            basis = None
    size = np.abs(eigenvalues).max()
    # Rounding of the eigenvalues, and of the sums over pairs that the matrix is made of.
    rounding = 10 * len(matrix) * np.finfo(matrix.dtype).eps * size
    eigenvalues = np.where(eigenvalues > rounding, eigenvalues, 0)
    n_kept = max(int(np.count_nonzero(eigenvalues)), 1)
    if isinstance(n_components, (int, np.integer)):
        n_kept = min(n_kept, int(n_components))
    elif n_components is not None:
        share = np.cumsum(eigenvalues[:n_kept])
        n_kept = int(np.searchsorted(share, n_components * share[-1] * (1 - 1e-12))) + 1
        n_kept = min(n_kept, len(share))
    scales = np.sqrt(eigenvalues[:n_kept])
    if matrix.ndim == 1:
        rows, shape = np.arange(n_kept), (n_kept, len(matrix))
        return sparse.csr_array((scales, (rows, order[:n_kept])), shape=shape)
    components = (eigenvectors[:, :n_kept] * scales).T
    if basis is not None:
        components = components @ basis.T.astype(matrix.dtype, copy=False)
    largest = components[np.arange(n_kept), np.abs(components).argmax(axis=1)]
    return components * np.where(largest < 0, -1, 1).astype(matrix.dtype)[:, None]
