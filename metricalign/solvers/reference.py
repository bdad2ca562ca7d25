"""The same problem written in cvxpy: the reference for small problems.

Any installed conic solver can solve it. This checks the other solvers independently: it shares the
definitions of losses and regularizers with them, but no algorithm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metricalign.solvers.problem import AlignmentProblem
from metricalign.solvers.result import SolverResult

__all__ = ["cvxpy_reference"]

# Largest number of entries of the constraint matrix. With more, interior-point solvers do not
# finish.
_LARGEST_MAP = 2e7


def _accuracy(conic_solver: str, tol: float, max_iter: int) -> dict[str, float]:
    """Options of a conic solver for an accuracy. Those of other solvers are not known: none."""
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
        The problem to solve.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Largest number of iterations of an interior-point solver. SCS may take a hundred times as
        many.
    dual_coef : ndarray or None, default=None
        Not used, as an interior-point method has no warm start.
    callback : callable or None, default=None
        Called once, with the result.
    conic_solver : str, default="CLARABEL"
        One of ``cvxpy.installed_solvers()`` that can solve problems with semidefinite matrices. To
        choose it in an estimator, give
        ``solver=functools.partial(cvxpy_reference, conic_solver="SCS")``.

    Returns
    -------
    result : SolverResult
        The metric and the dual coefficients that the conic solver found.

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
            f"conic_solver must be one of the installed solvers, {cvxpy.installed_solvers()}, and "
            f"take semidefinite matrices, as CLARABEL and SCS do; got {conic_solver!r}."
        )
    n_entries = operator.n_pairs * int(np.prod(operator.matrix_shape))
    if n_entries > _LARGEST_MAP:
        raise ValueError(
            f"solver='cvxpy' is for small problems. This one needs {operator.n_pairs} pairs x "
            f"{n_entries // operator.n_pairs} products of features = {n_entries:.1e} numbers, and "
            f"cvxpy does not finish above {_LARGEST_MAP:.0e}. Use solver='auto', or fewer pairs."
        )
    # Conic solvers expect numbers of about 1, so the squared lengths and the objective are scaled.
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
        raise ValueError(
            f"{conic_solver} could not solve the problem: {error}. Use another conic solver, or "
            "solver='auto'."
        ) from error
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
