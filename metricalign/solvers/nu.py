"""nu-SVR: epsilon is part of the problem, and its weight is nu.

    min over M in K, b, epsilon >= 0   1/2 norm(M - M0)^2 + nu W epsilon
                                       + sum_p c_p max(0, abs(<M, T_p> + b - t_p) - epsilon)

with W = sum_p c_p. Its dual is that of epsilon-SVR at epsilon = 0 with the further constraint
sum_p abs(beta_p) <= nu W. The optimal value as a function of epsilon is convex with slope
nu W - sum_p abs(beta_p(epsilon)), so epsilon is a scalar root over warm-started epsilon-SVRs.

Source: Schoelkopf, Smola, Williamson, Bartlett, New support vector algorithms, Neural
Computation 12 (2000); Chang, Lin, Training nu-support vector regression, Neural Computation 14
(2002).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metricalign.losses import EpsilonInsensitive
from metricalign.solvers.problem import AlignmentProblem, PrimalPoint
from metricalign.solvers.result import SolverResult

__all__ = ["NuAlignmentProblem", "nu_svr"]


@dataclass(frozen=True, eq=False)
class NuAlignmentProblem(AlignmentProblem):
    """Relation alignment in which epsilon is found, at the price nu.

    Parameters
    ----------
    operator, relations, weights, loss, regularizer, fit_intercept, prior, basis
        See `AlignmentProblem`; the loss must be epsilon-insensitive, and its epsilon is not used.
    nu : float, default=0.5
        Between 0 and 1.
    """

    nu: float = 0.5

    def __post_init__(self):
        # In the dual, epsilon is 0 and the coefficients have a budget.
        object.__setattr__(self, "loss", EpsilonInsensitive(0.0))
        super().__post_init__()

    @property
    def budget(self) -> float:
        """Weight of epsilon, and largest sum of abs(beta)."""
        return float(self.nu * self.weights.sum())

    def at(self, epsilon: float) -> AlignmentProblem:
        """The epsilon-SVR problem for one epsilon."""
        return AlignmentProblem(
            self.operator,
            self.relations,
            self.weights,
            EpsilonInsensitive(epsilon),
            self.regularizer,
            self.fit_intercept,
            self.prior,
            self.basis,
        )

    def epsilon_of(self, point: PrimalPoint) -> float:
        """The epsilon that is best for a metric and an intercept: a quantile of the errors."""
        return self._epsilon(point.distances + point.shift)

    def within_budget(self, dual_coef: NDArray) -> NDArray:
        """Dual coefficients made small enough to be feasible."""
        size = np.abs(dual_coef).sum()
        return dual_coef * (self.budget / size) if size > self.budget else dual_coef

    def _epsilon(self, predictions):
        errors = np.abs(predictions - self.targets)
        order = np.argsort(errors)[::-1]
        outside = np.cumsum(self.weights[order])
        position = int(np.searchsorted(outside, self.budget))
        return float(errors[order[min(position, len(order) - 1)]])

    def _weighted_loss(self, predictions) -> float:
        epsilon = self._epsilon(predictions)
        losses = np.maximum(np.abs(predictions - self.targets) - epsilon, 0)
        return self.budget * epsilon + float(self.weights @ losses)

    def _loss_rounding(self, predictions, errors) -> float:
        # The loss grows with each error, so it is largest where all grow.
        worse = predictions + np.copysign(errors, predictions - self.targets)
        return self._weighted_loss(worse) - self._weighted_loss(predictions)


def nu_svr(
    problem: NuAlignmentProblem,
    *,
    solver: Callable[..., SolverResult],
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve the nu-SVR form of a problem with epsilon-insensitive loss.

    Parameters
    ----------
    problem : NuAlignmentProblem
        What to solve.
    solver : callable
        Solver of the epsilon-SVRs.
    tol : float
        Relative duality gap to reach, of the nu-SVR problem; see `SolverResult.is_solved`.
    max_iter : int
        Iterations of all the epsilon-SVRs at most.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Where to start; zero if None.
    callback : callable or None, default=None
        Called with the result so far after each epsilon-SVR; a true answer stops.

    Returns
    -------
    result : SolverResult
    """
    search = _Search(problem)
    result = search.result
    epsilon = 0.1 * search.high[0]
    while result.n_iter < max_iter:
        n_iter = result.n_iter
        step = solver(
            problem.at(epsilon), tol=0.1 * tol, max_iter=max_iter - n_iter, dual_coef=dual_coef
        )
        dual_coef = step.dual_coef
        search.update(epsilon, step)
        stops = result.record(problem, tol, callback)
        result.n_iter = n_iter + step.n_iter
        if stops:
            break
        next_epsilon = search.next_epsilon()
        if next_epsilon == epsilon:
            break
        epsilon = next_epsilon
    return result


class _Search:
    """Bracket of epsilon, and the best primal and dual points of the nu-SVR problem."""

    def __init__(self, problem):
        self.problem = problem
        # Ends of the bracket: epsilon, sum of abs(beta) beyond the budget, beta.
        self.low = None
        projection = problem.projected_prior
        distances = problem.distances(projection.matrix)
        # With beta = 0, the largest error is the epsilon from which on nothing is learned.
        errors = problem.targets - distances
        center = 0.5 * (errors.max() + errors.min()) if problem.fit_intercept else 0.0
        largest = float(np.abs(errors - center).max())
        self.high = (largest, -problem.budget, np.zeros_like(errors))
        self.result = SolverResult(problem.primal_point(projection, distances, center))

    def update(self, epsilon, step):
        """Take the solution for one epsilon into the bracket and the bounds."""
        excess = np.abs(step.dual_coef).sum() - self.problem.budget
        if excess > 0:
            self.low = (epsilon, excess, step.dual_coef)
        else:
            self.high = (epsilon, excess, step.dual_coef)
        point = step.primal_point
        self.result.improve_primal(
            self.problem.primal_point(point.projection, point.distances, point.shift)
        )
        self.improve_dual(step.dual_coef)
        if self.low is not None:
            _, above, low_coef = self.low
            _, below, high_coef = self.high
            share = above / (above - below)
            self.improve_dual((1 - share) * low_coef + share * high_coef)

    def improve_dual(self, dual_coef):
        """Take dual coefficients into the bounds, within the budget."""
        self.result.improve_dual(self.problem.dual_point(self.problem.within_budget(dual_coef)))

    def next_epsilon(self):
        """Inside the bracket: the secant step, kept away from its ends."""
        low, above = (0.0, None) if self.low is None else self.low[:2]
        high, below = self.high[:2]
        if above is None:
            return 0.1 * high if high > 1e-12 * self.problem.spread else 0.0
        share = np.clip(above / (above - below), 0.1, 0.9)
        return low + share * (high - low)
