"""The kernel exp(-distance / width) and its ridge regression, without copies of large matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

__all__ = ["euclidean", "exponential_kernel", "solve_positive"]


def euclidean(samples: NDArray, centres: NDArray) -> NDArray:
    """Euclid's distances, by one product, in an array of which no copies are made.

    It takes half the time of scikit-learn's, most of which goes into checks of few samples and
    into copies for many.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples, in float64.
    centres : ndarray of shape (n_centres, n_features)
        What they are compared with. If it is the same object, each is at distance 0 from itself.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_centres)
    """
    distances: NDArray = samples @ centres.T
    distances *= -2
    distances += np.einsum("ij,ij->i", samples, samples)[:, None]
    distances += np.einsum("ij,ij->i", centres, centres)
    np.maximum(distances, 0, out=distances)
    if samples is centres:
        np.fill_diagonal(distances, 0)
    return np.sqrt(distances, out=distances)


def exponential_kernel(distances: NDArray, width: float) -> NDArray:
    """Turn distances into exp(-distance / width), in their place.

    Parameters
    ----------
    distances : ndarray
        Distances; they are overwritten.
    width : float
        Their unit.

    Returns
    -------
    kernel : ndarray
        The array that was given.
    """
    distances /= -width
    return np.exp(distances, out=distances)


def solve_positive(matrix: NDArray, right: NDArray) -> NDArray:
    """Solve linear equations of a positive definite matrix, which is overwritten.

    In half the time of `scipy.linalg.solve`, which estimates the condition of the matrix as well.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        The matrix.
    right : ndarray of shape (n, n_columns)
        Right-hand sides.

    Returns
    -------
    solution : ndarray of shape (n, n_columns)

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """
    # The transpose is in the order of LAPACK, and is the same.
    factor = linalg.cho_factor(matrix.T, overwrite_a=True, check_finite=False)
    return linalg.cho_solve(factor, right, check_finite=False)
