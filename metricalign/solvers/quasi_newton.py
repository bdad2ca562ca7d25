"""Limited-memory quasi-Newton with bounds on the dual: SciPy's L-BFGS-B.

The dual is smooth if beta is written as the difference of two nonnegative parts. Both have bounds.
With an intercept, sum beta = 0 is one more constraint. An augmented Lagrangian takes care of it:
its multiplier is the intercept, and L-BFGS-B starts anew whenever the multiplier changes.

Source: Byrd, Lu, Nocedal, Zhu, A limited memory algorithm for bound constrained optimization,
SIAM J. Sci. Comput. 16 (1995).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

from metricalign.solvers.problem import AlignmentProblem
from metricalign.solvers.result import SolverResult, needs

__all__ = ["quasi_newton"]

# Earlier steps from which L-BFGS-B estimates the curvature. SciPy's default is 10.
_N_CORRECTIONS = 20
# Number of L-BFGS-B steps between two changes of the intercept.
_STEPS_PER_INTERCEPT = 50


@needs(conjugate=["value", "gradient", "kink", "proximal", "bounds"])
def quasi_newton(
    problem: AlignmentProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve a relation alignment problem by L-BFGS-B on its dual.

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
        Called with the result so far after each step. The solver stops if it returns true.

    Returns
    -------
    result : SolverResult
        The best metric and the best dual coefficients that were found.
    """
    n_pairs, conjugate = problem.operator.n_pairs, problem.conjugate
    dual_coef = np.zeros(n_pairs) if dual_coef is None else dual_coef
    parts = np.concatenate([np.maximum(dual_coef, 0), np.maximum(-dual_coef, 0)])
    lower, upper = conjugate.bounds
    bounds = Bounds(
        np.concatenate([np.maximum(lower, 0), np.maximum(-upper, 0)]),
        np.concatenate([np.maximum(upper, 0), np.maximum(-lower, 0)]),
    )
    # The penalty of the augmented Lagrangian is about the curvature of the dual along the sum.
    stiffness = np.mean(problem.operator.squared_lengths**2.0) if problem.fit_intercept else 0.0
    start = problem.projected_prior
    result = SolverResult(problem.primal_point(start, problem.distances(start.matrix), 0.0))
    intercept, latest, is_finished = 0.0, {}, False

    def lagrangian(parts):
        dual_coef = parts[:n_pairs] - parts[n_pairs:]
        point = problem.dual_point(dual_coef)
        distances = problem.distances(point.projection.matrix)
        excess = dual_coef.sum()
        latest[parts.tobytes()] = (point, distances, excess)
        value = -point.value
        # abs(beta) is the sum of the two parts only where one of them is zero.
        value += conjugate.kink * (parts.sum() - np.abs(dual_coef).sum())
        value += intercept * excess + 0.5 * stiffness * excess**2
        slope = distances + intercept + stiffness * excess + conjugate.gradient(dual_coef)
        slope -= conjugate.kink * np.sign(dual_coef)
        slope = np.concatenate([slope, -slope]) + conjugate.kink
        return value, slope.astype(np.float64)

    def step(intermediate_result):
        record(intermediate_result.x)

    def record(parts):
        nonlocal is_finished
        point, distances, excess = latest[parts.tobytes()]
        latest.clear()
        shifted = intercept + stiffness * excess
        result.improve_primal(problem.primal_point(point.projection, distances, shifted))
        if problem.fit_intercept:
            point = problem.dual_point(problem.feasible(point.dual_coef))
        result.improve_dual(point)
        is_finished = result.record(problem, tol, callback)
        if is_finished:
            raise StopIteration

    while result.n_iter < max_iter:
        before, steps = result.n_iter, max_iter - result.n_iter
        outcome = minimize(
            lagrangian,
            parts,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=step,
            options={
                "maxcor": _N_CORRECTIONS,
                "maxiter": min(steps, _STEPS_PER_INTERCEPT) if problem.fit_intercept else steps,
                "maxfun": np.inf,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        parts = outcome.x
        if result.n_iter == before:
            # L-BFGS-B does not call back where it makes no step.
            lagrangian(parts)
            with suppress(StopIteration):
                record(parts)
        if is_finished:
            break
        shift = stiffness * (parts[:n_pairs] - parts[n_pairs:]).sum()
        if result.n_iter == before + 1 and intercept + shift == intercept:
            break
        intercept += shift
    return result
