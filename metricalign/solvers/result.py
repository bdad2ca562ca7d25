"""What a solver returns, what it needs of a problem, and how a result is certified."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.regularizers import Projection
from metricalign.solvers.problem import (
    OUT_OF_RANGE,
    AlignmentProblem,
    DualPoint,
    OutOfRangeError,
    PrimalPoint,
)

__all__ = ["SolverResult", "certify", "needs", "solve"]

# The rounding error is only computed once the gap is below this share of the objective at zero.
# Before, it is negligible, and computing it takes time.
_NEAR_ROUNDING = 1e-6


@dataclass
class SolverResult:
    """What a solver returns: the best metric and the best dual coefficients that it has seen.

    Attributes
    ----------
    primal_point : PrimalPoint
        The metric of the smallest objective.
    dual_point : DualPoint or None
        The dual coefficients of the largest dual objective.
    n_iter : int
        Number of iterations.
    n_passes : float
        Number of applications of the operator.
    history : list of tuple (float, float, float)
        `n_passes`, `primal` and `dual` after each iteration.
    is_interrupted : bool
        Whether a callback has stopped the solver.
    rounding : float
        Bound on the rounding error of the gap. No smaller gap is reported. It is 0 until the gap is
        small.
    floor : float
        Smallest number that the gap is divided by. An objective below it is lost in rounding.
    """

    primal_point: PrimalPoint
    dual_point: DualPoint | None = None
    n_iter: int = 0
    n_passes: float = 0.0
    history: list[tuple[float, float, float]] = field(default_factory=list)
    is_interrupted: bool = False
    rounding: float = 0.0
    floor: float = np.finfo(float).tiny

    @property
    def projection(self) -> Projection:
        """The projection whose matrix is `matrix`."""
        return self.primal_point.projection

    @property
    def matrix(self) -> NDArray:
        """The M of the best primal value."""
        return self.primal_point.matrix

    @property
    def intercept(self) -> float:
        """The b of the best primal value."""
        return self.primal_point.intercept

    @property
    def dual_coef(self) -> NDArray | None:
        """The feasible beta of the best dual value. None before there is one."""
        return None if self.dual_point is None else self.dual_point.dual_coef

    @property
    def primal(self) -> float:
        """Best primal value, an upper bound of the optimum."""
        return self.primal_point.value

    @property
    def dual(self) -> float:
        """Best dual value, a lower bound of the optimum."""
        return -math.inf if self.dual_point is None else self.dual_point.value

    @property
    def gap(self) -> float:
        """Duality gap, or its rounding error if larger, a bound on primal value less optimum."""
        return max(self.primal - self.dual, self.rounding)

    @property
    def relative_gap(self) -> float:
        """Duality gap over the absolute primal value, at least over `floor`."""
        return self.gap / max(abs(self.primal), self.floor)

    def is_solved(self, problem: AlignmentProblem, tol: float) -> bool:
        """Whether the relative gap is at most `tol`, or a hundredth of it if M is near the prior.

        M is near the prior if half the squared distance between them is at most the gap. The gap
        then does not exclude that the prior is the optimum.
        """
        if not self.relative_gap <= tol:
            return False
        is_told = problem.tells_from_prior(self.primal_point, self.gap)
        return is_told or self.relative_gap <= tol / 100

    def improve_primal(self, point: PrimalPoint) -> None:
        """Keep a metric if its objective is the smallest so far."""
        if point.value < self.primal:
            self.primal_point = point

    def improve_dual(self, point: DualPoint) -> None:
        """Keep dual coefficients if their dual value is the largest so far."""
        if point.value > self.dual:
            self.dual_point = point

    def record(
        self, problem: AlignmentProblem, tol: float, callback: Callable | None = None
    ) -> bool:
        """End an iteration: count it, add it to the history and call the callback.

        Parameters
        ----------
        problem : AlignmentProblem
            The problem that is solved.
        tol : float
            Relative duality gap to reach; see `is_solved`.
        callback : callable or None, default=None
            Called with this result.

        Returns
        -------
        stops : bool
            Whether the solver shall stop: the problem is solved, the gap is no larger than its
            rounding error, or the callback returned true.
        """
        self.n_iter += 1
        self.n_passes = problem.n_passes
        self.history.append((self.n_passes, self.primal, self.dual))
        self.floor = problem.floor
        self.rounding = 0.0
        if self.dual_point is not None and self.gap <= _NEAR_ROUNDING * problem.size:
            self.rounding = problem.rounding(self.primal_point, self.dual_point)
        self.is_interrupted = bool(callback is not None and callback(self))
        is_at_rounding = self.gap <= self.rounding
        return self.is_interrupted or is_at_rounding or self.is_solved(problem, tol)


def needs(*, conjugate: Sequence[str] = (), projection: Sequence[str] = ()) -> Callable:
    """Declare which methods of a conjugate and of a projection a solver calls.

    Parameters
    ----------
    conjugate, projection : sequence of str
        Names of methods; see `metricalign.losses.Conjugate` and
        `metricalign.regularizers.Projection`.

    Returns
    -------
    decorator : callable
        Stores the names as the attribute `needs` of the solver. `solve` refuses a problem that
        lacks one of these methods.
    """

    def mark(solver):
        solver.needs = {"conjugate": conjugate, "projection": projection}
        return solver

    return mark


def _check_needs(problem, solver):
    """Raise an error if a problem lacks a method that the solver needs."""
    wanted = getattr(solver, "needs", {})
    parts = {
        "conjugate": (problem.conjugate, problem.loss),
        "projection": (problem.projected_prior, problem.regularizer),
    }
    for name, (part, given) in parts.items():
        for method in wanted.get(name, ()):
            if not hasattr(part, method):
                raise ValueError(
                    f"solver={solver.__name__!r} needs the method {method} of the {name} of "
                    f"{given!r}, but {type(part).__name__} does not have it. Add the method, or "
                    "use solver='projected_gradient', which needs the fewest methods."
                )


def solve(
    problem: AlignmentProblem,
    solver: Callable[..., SolverResult],
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve a problem and certify the result.

    If the rounding of single precision keeps a solver from its goal, it goes on in double
    precision. If numbers leave the range of single precision, it starts again in double precision.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem to solve.
    solver : callable
        A function like those of `metricalign.solvers`.
    tol : float
        Relative duality gap to reach; see `SolverResult.is_solved`.
    max_iter : int
        Largest number of iterations.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Dual coefficients to start from. None: zeros.
    callback : callable or None, default=None
        Called with the result so far after each iteration. The solver stops if it returns true.

    Returns
    -------
    result : SolverResult
        The result of the solver, certified by `certify`.

    Raises
    ------
    ValueError
        If the problem lacks a method that the solver needs, or `certify` raises it.
    """
    _check_needs(problem, solver)

    def certified(problem, max_iter, dual_coef):
        options: dict[str, Any] = {"tol": tol, "callback": callback}
        result = solver(problem, max_iter=max_iter, dual_coef=dual_coef, **options)
        certify(problem, result)
        return result

    if problem.is_double:
        return certified(problem, max_iter, dual_coef)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            result = certified(problem, max_iter, dual_coef)
    except OutOfRangeError:
        return certified(problem.in_double_precision(), max_iter, dual_coef)
    is_finished = result.is_interrupted or result.n_iter >= max_iter
    if is_finished or result.is_solved(problem, tol):
        return result
    double = problem.in_double_precision()
    further = certified(double, max_iter - result.n_iter, result.dual_coef)
    further.improve_primal(result.primal_point)
    further.n_iter += result.n_iter
    further.n_passes += result.n_passes
    further.history = result.history + [
        (result.n_passes + passes, primal, dual) for passes, primal, dual in further.history
    ]
    return further


def certify(problem: AlignmentProblem, result: SolverResult) -> None:
    """Compute the values of a result anew, with a bound on their rounding error.

    They are computed in double precision and for the samples as they were given, also if the solver
    worked in single precision. If the gap does not exclude that the prior is the optimum, and the
    prior has a smaller objective, the metric is replaced by the prior, unless a callback has
    stopped the solver.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem that was solved.
    result : SolverResult
        What the solver returned. Its points and its rounding error are set here.

    Raises
    ------
    OutOfRangeError
        If the primal or the dual value is not finite.
    ValueError
        If the dual value is above the primal value by more than the rounding error, so that one of
        them is wrong.
    """
    if result.dual_point is None or not math.isfinite(result.primal - result.dual):
        raise OutOfRangeError(OUT_OF_RANGE.format(problem.operator.dtype))
    primal, dual = problem.reevaluated(result)
    problem = problem.in_double_precision()
    rounding = problem.rounding(primal, dual)
    is_told = problem.tells_from_prior(primal, primal.value - dual.value + rounding)
    if not (is_told or result.is_interrupted):
        prior = problem.prior_point()
        if prior.value < primal.value:
            primal, rounding = prior, problem.rounding(prior, dual)
    excess = dual.value - primal.value
    # The bound on the rounding error is an estimate, so it gets a margin.
    if excess > max(100 * rounding, 1e-3 * abs(primal.value)):
        raise ValueError(
            f"The dual value {dual.value:.6g} is above the primal value {primal.value:.6g}, "
            f"which cannot be: the value and the conjugate of {problem.loss!r}, or the "
            f"projection of {problem.regularizer!r}, do not belong together. Check them with "
            "check_loss and check_regularizer of metricalign.testing."
        )
    result.primal_point, result.dual_point = primal, dual
    result.rounding = max(rounding, excess)
