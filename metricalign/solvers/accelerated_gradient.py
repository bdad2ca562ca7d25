"""Accelerated proximal gradient on the dual: the simple solver.

The gradient of the smooth part of the dual at beta is minus the distances under the metric
P_K(S(beta)). The proximal step clips each coefficient. If there is an intercept, it is the root of
a scalar equation.

Source: Beck, Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2
(2009), with the restart of O'Donoghue, Candes, Adaptive restart for accelerated gradient
schemes, Found. Comput. Math. 15 (2015).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metricalign.solvers.problem import AlignmentProblem
from metricalign.solvers.result import SolverResult, needs

__all__ = ["projected_gradient"]


@needs(conjugate=["value", "proximal", "bounds"])
def projected_gradient(
    problem: AlignmentProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve a relation alignment problem by accelerated proximal gradient steps.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem to solve.
    tol : float
        Relative duality gap to reach; see `SolverResult.is_solved`.
    max_iter : int
        Largest number of steps.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Dual coefficients to start from. None: zeros.
    callback : callable or None, default=None
        Called with the result so far after each iteration. The solver stops if it returns true.

    Returns
    -------
    result : SolverResult
        The best metric and the best dual coefficients that were found.
    """
    operator, regularizer = problem.operator, problem.regularizer
    lipschitz = _largest_eigenvalue(operator, problem.fit_intercept)
    intercept, momentum = 0.0, 1.0
    latest = problem.dual_point(
        problem.feasible(np.zeros(operator.n_pairs) if dual_coef is None else dual_coef)
    )
    point, projection = latest.dual_coef, latest.projection
    distances = problem.distances(projection.matrix)
    result = SolverResult(problem.primal_point(projection, distances, intercept))
    for _ in range(max_iter):
        intercept, candidate, _ = problem.balanced(distances, point, lipschitz, intercept)
        result.improve_primal(problem.primal_point(projection, distances, intercept))
        previous, latest = latest, problem.dual_point(candidate)
        result.improve_dual(latest)
        if result.record(problem, tol, callback):
            break
        change = latest.dual_coef - previous.dual_coef
        if (point - latest.dual_coef) @ change > 0:
            momentum = 1.0
        next_momentum = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        weight = float((momentum - 1) / next_momentum)
        momentum = next_momentum
        point = latest.dual_coef + weight * change
        stationary = latest.stationary + weight * (latest.stationary - previous.stationary)
        projection = regularizer.project(stationary)
        distances = problem.distances(projection.matrix)
    return result


def _largest_eigenvalue(operator, is_centered):
    """Bound on the largest eigenvalue of the kernel of the pairs, by power iteration.

    With an intercept, the kernel is centred.
    """
    vector = operator.squared_lengths.astype(np.float64)
    # Lengths that are all equal would be constant, and vanish when they are centred.
    vector = vector * (1 + 0.1 * np.cos(np.arange(len(vector))))
    largest = 0.0
    for _ in range(50):
        if is_centered:
            vector = vector - vector.mean()
        norm = np.linalg.norm(vector)
        if norm == 0:
            break
        vector = operator.distances(operator.adjoint(vector / norm)).astype(np.float64)
        if is_centered:
            vector = vector - vector.mean()
        estimate = float(np.linalg.norm(vector))
        if estimate <= 1.0003 * largest:
            break
        largest = max(largest, estimate)
    # Power iteration approaches the eigenvalue from below, so the bound gets a margin of 5 %.
    return 1.05 * largest if largest > 0 else 1.0
