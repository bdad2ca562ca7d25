"""The linear system of a Newton step, over the pairs whose coefficients are free.

    (diag(curvature) + T P' T^*) u = right

T maps a matrix to the distances of the free pairs and P' is the derivative of the projection. Few
pairs make a dense system of their own, more pairs one of the size of the metric; what is too large
for both is solved by conjugate gradients.
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
# Largest dense system that is factorised; beyond, conjugate gradients. Factorising takes about
# 0.1 s at this size, and its time grows with the third power.
LARGEST_SYSTEM = 2000
# Conjugate gradients: relative residual, and steps at most.
_RESIDUAL, _MOST_RESIDUAL_STEPS = 1e-6, 200
# Corrections of a solution at most. On standardised wine and breast_cancer the squared loss needs 2
# at C = 1, 3 or 4 at 1e4, 5 to 8 at 1e6 and 10 at 1e8. At 1e10 each leaves all of the error, as the
# normal equations have lost all digits: the fit then says that it has not converged.
_MOST_CORRECTIONS = 10
# Most products of pairs that are stored, in 160 MB: a sample of more pairs tells nearly the same.
_MOST_PRODUCTS = 20_000_000


def solve_free(
    operator: PairOperator,
    projection: Projection,
    curvature: NDArray,
    right: NDArray,
    fit_intercept: bool,
    precision: type = np.float64,
) -> NDArray:
    """Solve (diag(curvature) + T P' T^*) u = right, up to a constant b with sum u = 0 if fitted.

    The precision is that of the system of few pairs; all else is in double.
    """
    right, curvature = right.astype(np.float64), curvature.astype(np.float64)
    n_free, n_products = operator.n_pairs, projection.n_products(operator.n_features)
    # Twice, since the products take time as well.
    if n_free > min(2 * n_products, LARGEST_SYSTEM):
        return _solve_by_products(operator, projection, curvature, right, fit_intercept)
    # In units in which single precision does not leave its range; a power of two rounds nothing.
    length_exponent = math.frexp(operator.squared_lengths.max())[1]
    exponent = max(2 * length_exponent, math.frexp(curvature.max())[1]) // 4
    right_exponent = math.frexp(np.abs(right).max())[1]
    right = np.ldexp(right, -right_exponent).astype(precision)
    differences = operator.differences() * 2.0**-exponent
    gram = projection.gram(differences.astype(precision, copy=False))
    gram[np.diag_indices(n_free)] += np.ldexp(curvature, -4 * exponent)
    # Everything in the precision of the factor, which would be converted otherwise.
    solve = partial(linalg.cho_solve, factorise(gram), check_finite=False)
    if fit_intercept:
        solution, ones = solve(np.column_stack([right, np.ones_like(right)])).astype(np.float64).T
        solution -= solution.sum() / ones.sum() * ones
    else:
        solution = solve(right).astype(np.float64)
    return np.ldexp(solution, right_exponent - 4 * exponent)


def precision_of(operator: PairOperator, curvature: NDArray) -> type:
    """Single where the error that it makes in the system is about a hundredth at most.

    That cost no further steps on wine, breast_cancer and digits.
    """
    with np.errstate(over="ignore"):
        trace = np.sum(operator.squared_lengths.astype(np.float64) ** 2)
    error = np.finfo(np.float32).eps * max(trace, np.max(curvature)) / np.min(curvature)
    return np.float32 if error < 1e-2 else np.float64


def factorise(matrix: NDArray) -> tuple[NDArray, bool]:
    """Cholesky factor of a matrix that rounding may have made slightly indefinite."""
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
                    "A Newton system has left the range of numbers. Scale X, or choose a smaller C."
                ) from None
            matrix[diagonal] += increase
            jitter += increase


def _solve_by_products(operator, projection, curvature, right, fit_intercept):
    """The same by a system of the size of the metric.

    With T P' T^* = B B^T (the `products` of the pairs are the rows of B) the solution is
    u = E (right - B w), where (I + B^T E B) w = B^T E right and E is 1 / diag(curvature),
    centered for the intercept.
    """
    inverse = 1 / curvature
    n_products = projection.n_products(operator.n_features)
    if n_products > LARGEST_SYSTEM or operator.n_pairs * n_products > _MOST_PRODUCTS:
        predicted = _predict_iteratively(operator, projection, inverse, right, fit_intercept)
        return _weighted(right - predicted, inverse, fit_intercept)
    products = _products(operator, projection)
    factor = factorise(_system(products, inverse, fit_intercept))
    # Where E is large, right - B w has lost digits. Each correction leaves this share of the error,
    # which is at first larger than the change of M by as much as E makes the right side.
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
    """B w by conjugate gradients; a sample of the pairs has nearly the same system."""
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
    """I + B^T E B, from a square: rounding does not make it indefinite."""
    half = products - (inverse @ products / inverse.sum() if fit_intercept else 0.0)
    half *= np.sqrt(inverse)[:, None]
    system = half.T @ half
    system[np.diag_indices(len(system))] += 1
    return system


def _weighted(vector, inverse, fit_intercept):
    """E times a vector."""
    weighted = inverse * vector
    return weighted - inverse * (weighted.sum() / inverse.sum()) if fit_intercept else weighted
