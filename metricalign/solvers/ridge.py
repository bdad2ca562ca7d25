"""Ridge regression of the relations with the penalty on the coefficients of the pairs.

    min over a   1/2 sum_p a_p^2 / w_p + C/2 sum_p w_p ((K a)_p - t_p)^2,   M = sum_p a_p T_p

with K_pq = <T_p, T_q>. In h_p = a_p / sqrt(c_p), with c_p = C w_p, this is

    min over h   1/2 norm(G h - u)^2 + C/2 norm(h)^2

with G_pq = sqrt(c_p c_q) K_pq and u_p = sqrt(c_p) t_p. Its dual is

    max over v   u^T v - 1/2 norm(v)^2 - norm(G v)^2 / (2 C).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsmr

from metricalign.solvers.problem import AlignmentProblem, SolverResult
from metricalign.solvers.semismooth_newton import LARGEST_SYSTEM

__all__ = ["coefficient_ridge"]


def coefficient_ridge(
    problem: AlignmentProblem,
    C: float,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve the ridge problem above: directly if it is small, else by LSMR.

    Parameters
    ----------
    problem : AlignmentProblem
        Operator, relations and weights c_p; the loss must be squared, without intercept.
    C : float
        Weight of one pair, part of c_p.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Iterations at most.
    callback : callable or None, default=None
        Called once, with the result.

    Returns
    -------
    result : SolverResult
        Its `dual_coef` holds a.
    """
    operator = problem.operator
    scale = np.sqrt(problem.weights)
    target = scale * problem.relations
    n_products = operator.n_features * (operator.n_features + 1) // 2
    if min(operator.n_pairs, n_products) <= LARGEST_SYSTEM:
        solution, kernel = _solve_directly(problem, scale, target, C, n_products)
        n_iter, bounds = 1, _bounds(kernel, target, C, solution)
    else:

        def kernel(vector):
            return scale * operator.distances(operator.adjoint(scale * vector))

        solution, n_iter, bounds = _solve_iteratively(kernel, target, C, tol, max_iter)
    coefficients = scale * solution
    projection = problem.cone.project(operator.adjoint(coefficients))
    result = SolverResult(projection, dual_coef=coefficients)
    result.primal, result.dual = bounds
    result.record(problem, callback)
    result.n_iter = n_iter
    return result


def _bounds(kernel, target, C, solution):
    """Primal value of a solution, and the dual value of its residual."""
    residual = target - kernel(solution)
    primal = 0.5 * residual @ residual + 0.5 * C * solution @ solution
    image = kernel(residual)
    dual = target @ residual - 0.5 * residual @ residual - image @ image / (2 * C)
    return float(primal), float(dual)


def _solve_iteratively(kernel, target, C, tol, max_iter):
    """Solution by LSMR, ever more accurate until the gap is small, its iterations and bounds."""
    system = LinearOperator((len(target),) * 2, matvec=kernel, rmatvec=kernel, dtype=float)
    # The gap falls with the square of the residual that LSMR looks at.
    accuracy = 1e-3 * np.sqrt(tol)
    n_iter = 0
    while True:
        # From zero each time: LSMR would shrink towards another start.
        solution, _, n_steps, *_ = lsmr(
            system, target, damp=np.sqrt(C), atol=accuracy, btol=0, maxiter=max_iter - n_iter
        )
        n_iter += n_steps
        primal, dual = _bounds(kernel, target, C, solution)
        is_exact = accuracy <= np.finfo(float).eps
        if primal - dual <= tol * primal or n_iter >= max_iter or is_exact:
            return solution, n_iter, (primal, dual)
        accuracy *= 0.1


def _solve_directly(problem, scale, target, C, n_products):
    """Solution G (G^2 + C I)^-1 u by the smaller Gram matrix, and the product with G."""
    operator = problem.operator
    differences = operator.differences().astype(np.float64)
    projection = problem.cone.project(problem.prior)
    if operator.n_pairs <= n_products:
        gram = scale[:, None] * projection.gram(differences) * scale
        eigenvalues, vectors = linalg.eigh(gram)
        solution = vectors @ (eigenvalues / (eigenvalues**2 + C) * (vectors.T @ target))
        return solution, lambda vector: gram @ vector
    products = scale[:, None] * projection.products(differences)
    eigenvalues, vectors = linalg.eigh(products.T @ products)
    solution = products @ (vectors @ ((vectors.T @ (products.T @ target)) / (eigenvalues**2 + C)))
    return solution, lambda vector: products @ (products.T @ vector)
