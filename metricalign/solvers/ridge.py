"""Ridge regression of the relations with the penalty on the coefficients of the pairs.

    min over a   1/2 sum_p a_p^2 / w_p + C/2 sum_p w_p ((K a)_p - t_p)^2,   M = sum_p a_p T_p

with K_pq = <T_p, T_q>. In h_p = a_p / sqrt(c_p), with c_p = C w_p, this is

    min over h   1/2 norm(G h - u)^2 + C/2 norm(h)^2

with G_pq = sqrt(c_p c_q) K_pq and u_p = sqrt(c_p) t_p. Its dual is

    max over v   u^T v - 1/2 norm(v)^2 - norm(G v)^2 / (2 C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsmr

from metricalign.solvers.problem import AlignmentProblem, DualPoint, PrimalPoint
from metricalign.solvers.result import SolverResult
from metricalign.solvers.semismooth_newton import LARGEST_SYSTEM

__all__ = ["CoefficientRidgeProblem", "coefficient_ridge"]


@dataclass(frozen=True, eq=False)
class CoefficientRidgeProblem(AlignmentProblem):
    """The ridge problem above; `dual_coef` of its points holds a.

    Parameters
    ----------
    operator, relations, weights, loss, regularizer, fit_intercept, prior, basis
        See `AlignmentProblem`; the loss must be squared, without intercept and prior.
    C : float, default=1.0
        Weight of one pair, part of `weights`.
    """

    C: float = 1.0

    @property
    def scale(self) -> NDArray:
        """The sqrt(c_p), with which pairs are multiplied."""
        return np.sqrt(self.weights)

    def tells_from_prior(self, point: PrimalPoint, gap: float) -> bool:
        """True, since the objective does not measure the distance to a prior."""
        return True

    def points(self, coefficients: NDArray) -> tuple[PrimalPoint, DualPoint]:
        """Points of the coefficients a: as they stand, and of their residual."""
        primal_matrix = self.combination(coefficients)
        projection = self.regularizer.project(primal_matrix)
        distances = self.distances(primal_matrix)
        residual = self.scale * (self.targets - distances)
        penalty = float(np.sum(coefficients**2 / self.weights))
        value = 0.5 * float(residual @ residual) + 0.5 * self.C * penalty
        primal = PrimalPoint(projection, distances, 0.0, 0.0, value)
        combination = self.combination(self.scale * residual)
        image = self.scale * self.distances(combination)
        value = float(self.scale * self.targets @ residual) - 0.5 * float(residual @ residual)
        value -= float(image @ image) / (2 * self.C)
        return primal, DualPoint(
            coefficients, combination, combination, self.regularizer.project(combination), value
        )

    def reweighted(self, factor: float) -> Self:
        """Problem with another C; see `AlignmentProblem.reweighted`."""
        return replace(self, weights=factor * self.weights, C=factor * self.C)

    def reevaluated(self, result: SolverResult) -> tuple[PrimalPoint, DualPoint]:
        """Points of a result in double precision; see `AlignmentProblem.reevaluated`."""
        assert result.dual_coef is not None
        return self.in_double_precision().points(result.dual_coef)

    def rounding(self, primal: PrimalPoint, dual: DualPoint) -> float:
        """Bound on the rounding error of the gap; see `AlignmentProblem.rounding`."""
        unit = np.finfo(np.float64).eps * (8 + np.sqrt(self.operator.n_pairs))
        scale, resolution = self.scale, self.operator.resolution
        residual = np.abs(scale * (self.targets - primal.distances))
        target = np.abs(scale * self.targets)
        error = scale * np.linalg.norm(primal.matrix) * resolution + unit * target
        of_primal = float(residual @ error + error @ error) + unit * abs(primal.value)
        # norm(image)^2 / 2 C is the difference of the other terms and the value.
        image = float(target @ residual) + 0.5 * float(residual @ residual) + abs(dual.value)
        error = scale * np.linalg.norm(dual.combination) * resolution
        of_dual = 2 * unit * image + np.sqrt(2 * image / self.C) * np.linalg.norm(error)
        return float(of_primal + of_dual + error @ error / self.C)


def coefficient_ridge(
    problem: CoefficientRidgeProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve the ridge problem above: directly if it is small, else by LSMR.

    Parameters
    ----------
    problem : CoefficientRidgeProblem
        What to solve.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Iterations at most.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Not used: neither method starts from a solution nearby.
    callback : callable or None, default=None
        Called once, with the result.

    Returns
    -------
    result : SolverResult
        Its `dual_coef` holds a.
    """
    operator, scale = problem.operator, problem.scale
    target = scale * problem.targets
    n_products = operator.n_features * (operator.n_features + 1) // 2
    if min(operator.n_pairs, n_products) <= LARGEST_SYSTEM:
        solution, n_iter = _solve_directly(problem, scale, target, problem.C, n_products), 1
    else:

        def kernel(vector):
            return scale * operator.distances(operator.adjoint(scale * vector))

        solution, n_iter = _solve_iteratively(kernel, target, problem.C, tol, max_iter)
    primal, dual = problem.points(scale * solution)
    result = SolverResult(primal, dual)
    result.record(problem, tol, callback)
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
    """Solution by LSMR, ever more accurate until the gap is small, and its iterations."""
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
            return solution, n_iter
        accuracy *= 0.1


def _solve_directly(problem, scale, target, C, n_products):
    """Solution G (G^2 + C I)^-1 u by the smaller Gram matrix."""
    operator = problem.operator
    differences = operator.differences().astype(np.float64)
    projection = problem.regularizer.project(problem.prior)
    if operator.n_pairs <= n_products:
        eigenvalues, vectors = _eigh(scale[:, None] * projection.gram(differences) * scale)
        return vectors @ (eigenvalues / (eigenvalues**2 + C) * (vectors.T @ target))
    products = scale[:, None] * projection.products(differences)
    eigenvalues, vectors = _eigh(products.T @ products)
    return products @ (vectors @ ((vectors.T @ (products.T @ target)) / (eigenvalues**2 + C)))


def _eigh(gram):
    """Eigenvalues of a Gram matrix and their vectors, without those that are rounding of zero.

    If C is small, the solution would be made of these: it divides by them.
    """
    eigenvalues, vectors = linalg.eigh(gram)
    is_kept = eigenvalues > len(gram) * np.finfo(float).eps * eigenvalues[-1]
    return eigenvalues[is_kept], vectors[:, is_kept]
