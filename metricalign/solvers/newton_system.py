"""The linear system of a Newton step, over the pairs whose coefficients are free.

    (diag(curvature) + T P' T^*) u = right

T maps a matrix to the distances of the free pairs, and P' is the derivative of the projection. If
there are few pairs, the system has one row for each of them. If there are more, an equivalent
system of the size of the metric is solved. If both are too large to factorise, conjugate gradients
solve the latter.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

from metricalign._arrays import batches
from metricalign.operators import PairOperator
from metricalign.regularizers import Projection
from metricalign.solvers.problem import OutOfRangeError

__all__ = ["LARGEST_SYSTEM", "factorise", "precision_of", "solve_free"]

_EPS = float(np.finfo(np.float64).eps)
# Number of rows of the largest dense system that is factorised. Factorising takes about 0.1 s at
# this size, and its time grows with the third power. Larger systems take conjugate gradients.
LARGEST_SYSTEM = 2000
# Conjugate gradients stop at this relative residual, or after so many steps.
_RESIDUAL, _MOST_RESIDUAL_STEPS = 1e-6, 200
# Largest number of corrections of a solution. On standardised wine and breast_cancer the squared
# loss needs 2 at C = 1, 3 or 4 at 1e4, 5 to 8 at 1e6 and 10 at 1e8. At 1e10 a correction removes
# nothing of the error, as the normal equations have lost all digits. The fit then warns that it has
# not converged.
_MOST_CORRECTIONS = 10
# Largest number of products of pairs that are stored; they take 160 MB. If there are more, a sample
# of the pairs has nearly the same system.
_MOST_PRODUCTS = 20_000_000


def solve_free(
    operator: PairOperator,
    projection: Projection,
    curvature: NDArray,
    right: NDArray,
    fit_intercept: bool,
    precision: type = np.float64,
) -> NDArray:
    """Solve (diag(curvature) + T P' T^*) u = right.

    With an intercept, solve (diag(curvature) + T P' T^*) u = right - b and sum u = 0 for u and b.

    Parameters
    ----------
    operator : PairOperator
        T, the operator of the free pairs.
    projection : Projection
        The projection whose derivative is P'.
    curvature : ndarray of shape (n_free,)
        Positive curvatures.
    right : ndarray of shape (n_free,)
        The right side.
    fit_intercept : bool
        Whether the problem has an intercept.
    precision : type, default=numpy.float64
        In which type a system with one row for each pair is solved. All else is in double
        precision.

    Returns
    -------
    solution : ndarray of shape (n_free,)
        u, in double precision.
    """
    right, curvature = right.astype(np.float64), curvature.astype(np.float64)
    n_free, n_products = operator.n_pairs, projection.n_products(operator.n_features)
    # The factor 2 is there because computing the products takes time as well.
    if n_free > min(2 * n_products, LARGEST_SYSTEM):
        return _solve_by_products(operator, projection, curvature, right, fit_intercept)
    # Choose units in which single precision does not leave its range. Powers of two do not round.
    length_exponent = math.frexp(operator.squared_lengths.max())[1]
    exponent = max(2 * length_exponent, math.frexp(curvature.max())[1]) // 4
    right_exponent = math.frexp(np.abs(right).max())[1]
    right = np.ldexp(right, -right_exponent).astype(precision)
    differences = operator.differences() * 2.0**-exponent
    gram = projection.gram(differences.astype(precision, copy=False))
    gram[np.diag_indices(n_free)] += np.ldexp(curvature, -4 * exponent)
    # The right side has the type of the factor; otherwise SciPy would convert the factor.
    solve = partial(linalg.cho_solve, factorise(gram), check_finite=False)
    if fit_intercept:
        solution, ones = solve(np.column_stack([right, np.ones_like(right)])).astype(np.float64).T
        solution -= solution.sum() / ones.sum() * ones
    else:
        solution = solve(right).astype(np.float64)
    return np.ldexp(solution, right_exponent - 4 * exponent)


def precision_of(operator: PairOperator, curvature: NDArray) -> type:
    """Type in which to solve the system of a Newton step.

    It is single precision where the error that this makes in the system is at most about a
    hundredth, which cost no further steps on wine, breast_cancer and digits. Otherwise it is double
    precision.
    """
    with np.errstate(over="ignore"):
        trace = np.sum(operator.squared_lengths.astype(np.float64) ** 2)
    error = np.finfo(np.float32).eps * max(trace, np.max(curvature)) / np.min(curvature)
    return np.float32 if error < 1e-2 else np.float64


def factorise(matrix: NDArray) -> tuple[NDArray, bool]:
    """Cholesky factor of a matrix that rounding may have made slightly indefinite.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        A symmetric matrix. Its diagonal is increased until it has a factor.

    Returns
    -------
    factor : tuple (ndarray, bool)
        As `scipy.linalg.cho_factor` returns it.

    Raises
    ------
    OutOfRangeError
        If the matrix has numbers that are not finite.
    """
    jitter = 0.0
    diagonal = np.diag_indices(len(matrix))
    while True:
        try:
            # The transpose has LAPACK's order of entries.
            return linalg.cho_factor(matrix.T, lower=True, check_finite=False)
        except linalg.LinAlgError:
            increase = max(9 * jitter, 50 * np.finfo(matrix.dtype).eps * matrix[diagonal].max())
            if not 0 < increase < np.inf:
                raise OutOfRangeError(
                    "The linear system of a Newton step has left the range of numbers. Scale X, or "
                    "choose a smaller C."
                ) from None
            matrix[diagonal] += increase
            jitter += increase


def _solve_by_products(operator, projection, curvature, right, fit_intercept):
    """Solve the same system by one of the size of the metric.

    With T P' T^* = B B^T, where the rows of B are the `products` of the pairs, the solution is
    u = E (right - B w) with (I + B^T E B) w = B^T E right. E is 1 / diag(curvature), centred if
    there is an intercept.
    """
    inverse = 1 / curvature
    n_products = projection.n_products(operator.n_features)
    if n_products > LARGEST_SYSTEM or operator.n_pairs * n_products > _MOST_PRODUCTS:
        predicted = _predict_iteratively(operator, projection, inverse, right, fit_intercept)
        return _weighted(right - predicted, inverse, fit_intercept)
    products = _products(operator, projection)
    factor = factorise(_system(products, inverse, fit_intercept))
    # Where E is large, right - B w has lost digits, and the solution is corrected. Each correction
    # leaves `share` of the error. `error` estimates the error relative to the change of M.
    with np.errstate(over="ignore"):
        trace = np.sum(operator.squared_lengths.astype(np.float64) ** 2)
        share = _EPS * inverse.max() * trace
    error = share / _EPS
    solution, residual = np.zeros_like(right), right
    for _ in range(_MOST_CORRECTIONS):
        summed = products.T @ _weighted(residual, inverse, fit_intercept)
        residual = residual - products @ linalg.cho_solve(factor, summed, check_finite=False)
        solution += _weighted(residual, inverse, fit_intercept)
        error *= share
        if error < _RESIDUAL:
            break
        residual = right - curvature * solution - products @ (products.T @ solution)
    return solution


def _predict_iteratively(operator, projection, inverse, right, fit_intercept):
    """B w by conjugate gradients, preconditioned by the system of a sample of the pairs."""
    n_pairs, n_products = operator.n_pairs, projection.n_products(operator.n_features)

    def predicted(coordinates):
        return operator.distances(projection.from_coordinates(coordinates)).astype(np.float64)

    def summed(vector):
        matrix = operator.adjoint(_weighted(vector, inverse, fit_intercept))
        return projection.coordinates(matrix).astype(np.float64)

    preconditioner = None
    if n_products <= LARGEST_SYSTEM:
        n_sampled = _MOST_PRODUCTS // n_products
        sample = np.sort(np.random.default_rng(0).choice(n_pairs, n_sampled, replace=False))
        products = _products(operator.restricted(sample), projection)
        estimate = _system(products, inverse[sample] * (n_pairs / n_sampled), fit_intercept)
        factor = factorise(estimate)
        preconditioner = LinearOperator(
            estimate.shape,
            lambda vector: linalg.cho_solve(factor, vector, check_finite=False),
            dtype=np.float64,
        )
    system = LinearOperator(
        (n_products, n_products),
        lambda vector: vector + summed(predicted(vector)),
        dtype=np.float64,
    )
    solution, _ = cg(
        system, summed(right), M=preconditioner, rtol=_RESIDUAL, maxiter=_MOST_RESIDUAL_STEPS
    )
    return predicted(solution)


def _products(operator, projection):
    """The matrix B."""
    differences = operator.differences()
    products = np.empty((operator.n_pairs, projection.n_products(operator.n_features)))
    for batch in batches(operator.n_pairs, 1000):
        products[batch] = projection.products(differences[batch])
    return products


def _system(products, inverse, fit_intercept):
    """I + B^T E B, computed as a square, which rounding does not make indefinite."""
    half = products - (inverse @ products / inverse.sum() if fit_intercept else 0.0)
    half *= np.sqrt(inverse)[:, None]
    system = half.T @ half
    system[np.diag_indices(len(system))] += 1
    return system


def _weighted(vector, inverse, fit_intercept):
    """E times a vector."""
    weighted = inverse * vector
    return weighted - inverse * (weighted.sum() / inverse.sum()) if fit_intercept else weighted
