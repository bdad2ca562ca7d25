"""Ridge regression of the relations with the penalty on the coefficients of the pairs.

    min over a   1/2 sum_p a_p^2 / w_p + C/2 sum_p w_p ((K a)_p - t_p)^2,   M = sum_p a_p T_p

with K_pq = <T_p, T_q>. In h_p = a_p / sqrt(c_p), with c_p = C w_p, this is

    min over h   1/2 norm(G h - u)^2 + C/2 norm(h)^2

with G_pq = sqrt(c_p c_q) K_pq and u_p = sqrt(c_p) t_p. Its dual is

    max over v   u^T v - 1/2 norm(v)^2 - norm(G v)^2 / (2 C).

A small problem is solved by the eigenvalues of G, and a large one by conjugate gradients for least
squares. Their gradient G v - C h at v = u - G h gives the duality gap.

Source: Hestenes, Stiefel, Methods of conjugate gradients for solving linear systems, J. Res. Nat.
Bur. Standards 49 (1952).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from metricalign.solvers.newton_system import LARGEST_SYSTEM
from metricalign.solvers.problem import AlignmentProblem, DualPoint, PrimalPoint
from metricalign.solvers.result import SolverResult

__all__ = ["CoefficientRidgeProblem", "coefficient_ridge"]


@dataclass(frozen=True, eq=False)
class CoefficientRidgeProblem(AlignmentProblem):
    """The ridge problem above. The `dual_coef` of its points is a.

    Parameters
    ----------
    operator, relations, weights, loss, regularizer, fit_intercept, prior, basis
        See `AlignmentProblem`. The loss must be squared, and there must be no intercept and no
        prior.
    C : float, default=1.0
        The factor C, which `weights` contain.
    """

    C: float = 1.0

    @property
    def scale(self) -> NDArray:
        """The sqrt(c_p)."""
        return np.sqrt(self.weights)

    def tells_from_prior(self, point: PrimalPoint, gap: float) -> bool:
        """Return True, since the objective does not measure the distance to a prior."""
        return True

    def points(self, coefficients: NDArray) -> tuple[PrimalPoint, DualPoint]:
        """Return the primal point of the coefficients a and the dual point of v = u - G h.

        The two values differ by norm(G v - C h)^2 / (2 C), which is computed without cancellation.
        """
        matrix = self.combination(coefficients)
        distances = self.distances(matrix)
        residual = self.scale * (self.targets - distances)
        penalty = float(np.sum(coefficients**2 / self.weights))
        value = 0.5 * float(residual @ residual) + 0.5 * self.C * penalty
        primal = PrimalPoint(self.regularizer.project(matrix), distances, 0.0, 0.0, value)
        combination = self.combination(self.scale * residual)
        excess = self.scale * self.distances(combination) - self.C * coefficients / self.scale
        value -= float(excess @ excess) / (2 * self.C)
        projection = self.regularizer.project(combination)
        return primal, DualPoint(coefficients, combination, combination, projection, value)

    def reweighted(self, factor: float) -> Self:
        """Return the problem with another C; see `AlignmentProblem.reweighted`."""
        return replace(self, weights=factor * self.weights, C=factor * self.C)

    def reevaluated(self, result: SolverResult) -> tuple[PrimalPoint, DualPoint]:
        """Return the points of a result in double precision; see `AlignmentProblem.reevaluated`."""
        assert result.dual_coef is not None
        return self.in_double_precision().points(result.dual_coef)

    def rounding(self, primal: PrimalPoint, dual: DualPoint) -> float:
        """Return a bound on the rounding error of the gap; see `AlignmentProblem.rounding`."""
        unit = np.finfo(np.float64).eps * (8 + np.sqrt(self.operator.n_pairs))
        scale, resolution = self.scale, self.operator.resolution
        residual = np.abs(scale * (self.targets - primal.distances))
        error = scale * np.linalg.norm(primal.matrix) * resolution
        error += unit * np.abs(scale * self.targets)
        of_primal = float(residual @ error + error @ error) + unit * primal.value
        error = scale * np.linalg.norm(dual.combination) * resolution
        error += unit * self.C * np.abs(dual.dual_coef) / scale
        # The gap gives the norm of G v - C h, of which it is the square but for a factor.
        size = np.sqrt(2 * self.C * (primal.value - dual.value))
        return of_primal + float((size + np.linalg.norm(error)) * np.linalg.norm(error)) / self.C


def coefficient_ridge(
    problem: CoefficientRidgeProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve the ridge problem above: directly if it is small, else by conjugate gradients.

    Parameters
    ----------
    problem : CoefficientRidgeProblem
        The problem to solve.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Largest number of steps of conjugate gradients.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Not used, as neither method starts from given coefficients.
    callback : callable or None, default=None
        Called once, with the result.

    Returns
    -------
    result : SolverResult
        The metric. Its `dual_coef` is a.
    """
    operator, projection = problem.operator, problem.projected_prior
    n_products = projection.n_products(operator.n_features)
    if min(operator.n_pairs, n_products) <= LARGEST_SYSTEM:
        solution, n_iter = _solve_directly(problem, n_products), 1
    else:
        solution, n_iter = _solve_iteratively(problem, tol, max_iter)
    primal, dual = problem.points(problem.scale * solution)
    result = SolverResult(primal, dual)
    result.record(problem, tol, callback)
    result.n_iter = n_iter
    return result


def _solve_iteratively(problem, tol, max_iter):
    """Return the solution h by conjugate gradients, and the number of steps."""
    operator, scale, C = problem.operator, problem.scale, problem.C

    def kernel(vector):
        return scale * operator.distances(operator.adjoint(scale * vector)).astype(np.float64)

    residual = scale * problem.targets
    solution = np.zeros_like(residual)
    direction = gradient = kernel(residual)
    for n_iter in range(max_iter):
        value = 0.5 * (residual @ residual + C * (solution @ solution))
        gap = gradient @ gradient / (2 * C)
        if gap <= tol * value:
            return solution, n_iter
        image = kernel(direction)
        step = gradient @ gradient / (image @ image + C * (direction @ direction))
        solution = solution + step * direction
        residual = residual - step * image
        previous, gradient = gradient, kernel(residual) - C * solution
        direction = gradient + gradient @ gradient / (previous @ previous) * direction
    return solution, max_iter


def _solve_directly(problem, n_products):
    """Return h = G (G^2 + C I)^-1 u, by the smaller of the two Gram matrices."""
    scale, projection, C = problem.scale, problem.projected_prior, problem.C
    target = scale * problem.targets
    differences = problem.operator.differences().astype(np.float64)
    if len(target) <= n_products:
        eigenvalues, vectors = _eigh(scale[:, None] * projection.gram(differences) * scale)
        return vectors @ (eigenvalues / (eigenvalues**2 + C) * (vectors.T @ target))
    products = scale[:, None] * projection.products(differences)
    eigenvalues, vectors = _eigh(products.T @ products)
    return products @ (vectors @ ((vectors.T @ (products.T @ target)) / (eigenvalues**2 + C)))


def _eigh(gram):
    """Eigenvalues and eigenvectors of a Gram matrix, without those that are zero but for rounding.

    The solution divides by the eigenvalues. With a small C it would consist of rounding errors.
    """
    eigenvalues, vectors = linalg.eigh(gram)
    is_kept = eigenvalues > len(gram) * np.finfo(float).eps * eigenvalues[-1]
    return eigenvalues[is_kept], vectors[:, is_kept]
