"""The same problem written down in cvxpy: the reference, for small problems.

An interior-point answer from any installed conic solver, and an independent check of the
others: it shares the definition of the losses and regularizers with them, not a line of algorithm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metricalign.solvers.problem import AlignmentProblem
from metricalign.solvers.result import SolverResult

__all__ = ["cvxpy_reference"]

# Entries of the constraint matrix; beyond, interior-point solvers do not finish.
_LARGEST_MAP = 2e7


def _accuracy(conic_solver: str, tol: float, max_iter: int) -> dict[str, float]:
    """Options that ask a conic solver for an accuracy; others go to their own default."""
    if conic_solver == "CLARABEL":
        return {"tol_gap_rel": tol, "tol_gap_abs": tol, "tol_feas": tol, "max_iter": max_iter}
    if conic_solver == "SCS":
        # A first-order method: its iterations are short and many.
        return {"eps_rel": tol, "eps_abs": tol, "max_iters": 100 * max_iter}
    return {}


def cvxpy_reference(
    problem: AlignmentProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
    conic_solver: str = "CLARABEL",
) -> SolverResult:
    """Solve a relation alignment problem with cvxpy and a conic solver.

    Parameters
    ----------
    problem : AlignmentProblem
        What to solve.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Iterations of an interior-point solver at most; SCS may take a hundred times as many.
    dual_coef : ndarray or None, default=None
        Not used: an interior-point method has no warm start.
    callback : callable or None, default=None
        Called once, with the result.
    conic_solver : str, default="CLARABEL"
        One of ``cvxpy.installed_solvers()`` that knows semidefinite matrices. An estimator
        takes ``solver=functools.partial(cvxpy_reference, conic_solver="SCS")``.

    Returns
    -------
    result : SolverResult

    Raises
    ------
    ValueError
        If the problem is so large that the conic solver would not finish, the conic solver is
        not installed, or it fails.
    """
    import cvxpy

    operator = problem.operator
    if conic_solver not in cvxpy.installed_solvers():
        raise ValueError(
            f"conic_solver must be one of {cvxpy.installed_solvers()}, which are installed, and "
            f"know semidefinite matrices, as CLARABEL and SCS do; got {conic_solver!r}."
        )
    n_entries = operator.n_pairs * int(np.prod(operator.matrix_shape))
    if n_entries > _LARGEST_MAP:
        raise ValueError(
            f"solver='cvxpy' writes down {operator.n_pairs} pairs x "
            f"{n_entries // operator.n_pairs} products of features = {n_entries:.1e} numbers "
            f"and does not finish above {_LARGEST_MAP:.0e}. Use solver='auto'."
        )
    # In units in which the squared lengths and the objective are about 1.
    size = float(operator.squared_lengths.mean()) or 1.0
    value = float(problem.weights @ problem.loss.value(0 * problem.targets, problem.targets))
    value = value or 1.0
    differences = operator.differences().astype(np.float64) / np.sqrt(size)
    if operator.is_diagonal:
        matrix = cvxpy.Variable(operator.n_features)
        products, entries = differences**2, matrix
    else:
        matrix = cvxpy.Variable(operator.matrix_shape, symmetric=True)
        products = np.einsum("pi,pj->pij", differences, differences).reshape(len(differences), -1)
        entries = cvxpy.vec(matrix, order="C")
    intercept = cvxpy.Variable() if problem.fit_intercept else cvxpy.Constant(0.0)
    prediction = cvxpy.Variable(operator.n_pairs)
    fit = prediction == products @ entries + intercept
    objective = 0.5 / size**2 * cvxpy.sum_squares(matrix - size * problem.prior)
    objective += problem.loss.expression(prediction, problem.targets, problem.weights)
    price, constraints = problem.regularizer.expression(matrix / size)
    task = cvxpy.Problem(cvxpy.Minimize((objective + price) / value), [fit, *constraints])
    try:
        task.solve(solver=conic_solver, **_accuracy(conic_solver, 1e-3 * tol, max_iter))
    except cvxpy.SolverError as error:
        raise ValueError(f"{conic_solver} could not solve the problem: {error}") from error
    if matrix.value is None:
        raise ValueError(
            f"{conic_solver} found no solution (status {task.status!r}). Use another conic "
            "solver, or solver='auto'."
        )
    solution = problem.regularizer.project(matrix.value / size, 0.0)
    distances = problem.distances(solution.matrix)
    result = SolverResult(problem.primal_point(solution, distances, float(intercept.value)))
    result.improve_dual(problem.dual_point(problem.feasible(value * fit.dual_value)))
    result.record(problem, tol, callback)
    result.n_iter = task.solver_stats.num_iters or 1
    return result
