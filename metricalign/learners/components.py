"""From a metric to the linear map whose Euclidean distance it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = []


def components_of(matrix: NDArray, n_components: int | float | None = None) -> NDArray:
    """Linear map whose Euclidean distance is that of the positive part of a matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_features, n_features)
        Symmetric matrix M.
    n_components : int, float or None, default=None
        Number of the largest eigenvalues to keep, or their share in the sum of the positive ones
        (between 0 and 1). None keeps all positive ones.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Rows sqrt(eigenvalue) eigenvector, by decreasing eigenvalue. The largest entry of each row
        is positive. If no eigenvalue is positive, there is a single row of zeros.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    eigenvalues = leading_eigenvalues(eigenvalues[::-1], len(matrix), n_components)
    return scaled_eigenvectors(eigenvalues, eigenvectors[:, ::-1])


def leading_eigenvalues(
    eigenvalues: NDArray, n_features: int, n_components: int | float | None
) -> NDArray:
    """The positive eigenvalues, or the largest of them.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_eigenvalues,)
        Eigenvalues in descending order.
    n_features : int
        Number of rows of the matrix.
    n_components : int, float or None
        See `components_of`.

    Returns
    -------
    leading : ndarray of shape (n_components,)
        At least one eigenvalue. It is zero if none is positive.
    """
    size = np.abs(eigenvalues).max()
    # The factor 10 allows for the rounding of the sums over pairs that make the matrix.
    rounding = 10 * n_features * np.finfo(eigenvalues.dtype).eps * size
    eigenvalues = np.where(eigenvalues > rounding, eigenvalues, 0)
    n_kept = max(int(np.count_nonzero(eigenvalues)), 1)
    if isinstance(n_components, (int, np.integer)):
        n_kept = min(n_kept, int(n_components))
    elif n_components is not None:
        share = np.cumsum(eigenvalues[:n_kept])
        n_kept = int(np.searchsorted(share, n_components * share[-1] * (1 - 1e-12))) + 1
        n_kept = min(n_kept, len(share))
    return eigenvalues[:n_kept]


def scaled_eigenvectors(eigenvalues: NDArray, eigenvectors: NDArray) -> NDArray:
    """Rows sqrt(eigenvalue) eigenvector. The largest entry of each is positive.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_components,)
        The leading eigenvalues.
    eigenvectors : ndarray of shape (n_features, n_eigenvalues)
        Eigenvectors of the leading eigenvalues, followed by those of others.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
    """
    return fixed_signs((eigenvectors[:, : len(eigenvalues)] * np.sqrt(eigenvalues)).T)


def fixed_signs(components: NDArray) -> NDArray:
    """Components with signs that make the largest entry of each row positive.

    Distances do not depend on the signs.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
    """
    largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
    return components * np.where(largest < 0, -1, 1).astype(components.dtype)[:, None]


def mixture(parts: list[tuple[float, NDArray]], covariance: NDArray) -> NDArray:
    """Sum of the matrices of several distances, of norm 1.

    Parameters
    ----------
    parts : list of tuple (share, matrix)
        Share of each distance in the mean squared distance of the samples, and its matrix. A
        distance that is zero for all samples is left out.
    covariance : ndarray of shape (n_features, n_features)
        Covariance of the samples.

    Returns
    -------
    matrix : ndarray of shape (n_features, n_features)
    """
    total = np.zeros_like(covariance)
    for share, matrix in parts:
        size = np.sum(matrix * covariance)
        if size > 0:
            total += share / size * matrix
    return total / np.linalg.norm(total)
