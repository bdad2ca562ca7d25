"""The same problem written down in cvxpy: the reference, for small problems.

An interior-point answer from any installed conic solver, and an independent check of the
others: it shares the definition of the losses and cones with them, not a line of algorithm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metricalign.solvers.problem import AlignmentProblem, SolverResult

__all__ = ["cvxpy_reference"]

# Entries of the constraint matrix; beyond, interior-point solvers do not finish.
_LARGEST_MAP = 2e7


def cvxpy_reference(
    problem: AlignmentProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve a relation alignment problem with cvxpy and Clarabel.

    Parameters
    ----------
    problem : AlignmentProblem
        What to solve.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Iterations of the conic solver at most.
    dual_coef : ndarray or None, default=None
        Not used: an interior-point method has no warm start.
    callback : callable or None, default=None
        Called once, with the result.

    Returns
    -------
    result : SolverResult

    Raises
    ------
    ValueError
        If the problem is so large that the conic solver would not finish.
    """
    import cvxpy

    operator, n_features = problem.operator, problem.operator.n_features
    n_entries = operator.n_pairs * n_features * (n_features + 1) // 2
    if n_entries > _LARGEST_MAP:
        raise ValueError(
            f"solver='cvxpy' writes down {operator.n_pairs} pairs x "
            f"{n_features * (n_features + 1) // 2} products of features = {n_entries:.1e} numbers "
            f"and does not finish above {_LARGEST_MAP:.0e}. Use solver='auto'."
        )
    # In units in which the squared lengths and the objective are about 1.
    size = float(operator.squared_lengths.mean()) or 1.0
    value = float(problem.weights @ problem.loss.value(0 * problem.relations, problem.relations))
    value = value or 1.0
    differences = operator.differences().astype(np.float64) / np.sqrt(size)
    products = np.einsum("pi,pj->pij", differences, differences).reshape(operator.n_pairs, -1)
    matrix = cvxpy.Variable((n_features, n_features), symmetric=True)
    intercept = cvxpy.Variable() if problem.fit_intercept else cvxpy.Constant(0.0)
    prediction = cvxpy.Variable(operator.n_pairs)
    fit = prediction == products @ cvxpy.vec(matrix, order="C") + intercept
    objective = 0.5 / size**2 * cvxpy.sum_squares(matrix - size * problem.prior)
    objective += problem.loss.expression(prediction, problem.relations, problem.weights)
    task = cvxpy.Problem(
        cvxpy.Minimize(objective / value), [fit, *problem.cone.constraints(matrix)]
    )
    task.solve(
        solver=cvxpy.CLARABEL,
        max_iter=max_iter,
        tol_gap_rel=1e-3 * tol,
        tol_gap_abs=1e-3 * tol,
        tol_feas=1e-3 * tol,
    )
    solution = problem.cone.project(matrix.value / size).matrix.astype(operator.dtype)
    distances = problem.distances(solution)
    result = SolverResult(solution)
    b = float(intercept.value)
    result.improve_primal(problem.primal(solution, distances, b), solution, b)
    dual_coef = problem.feasible(value * fit.dual_value)
    projection = problem.cone.project(problem.stationary_matrix(dual_coef))
    result.improve_dual(problem.dual(dual_coef, projection), dual_coef)
    result.record(problem, callback)
    result.n_iter = task.solver_stats.num_iters
    return result
