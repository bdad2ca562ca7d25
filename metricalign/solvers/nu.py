"""nu-SVR: epsilon is part of the problem, and its weight is nu.

    min over M in K, b, epsilon >= 0   1/2 norm(M - M0)^2 + nu W epsilon
                                       + sum_p c_p max(0, abs(<M, T_p> + b - t_p) - epsilon)

with W = sum_p c_p. Its dual is that of epsilon-SVR at epsilon = 0 with the further constraint
sum_p abs(beta_p) <= nu W. The optimal value as a function of epsilon is convex, with the slope
nu W - sum_p abs(beta_p(epsilon)). The best epsilon is a root of the slope. It is searched by
solving epsilon-SVRs, each of which starts from the solution of the one before.

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
        See `AlignmentProblem`. The loss must be epsilon-insensitive. Its epsilon is not used.
    nu : float, default=0.5
        Price of epsilon, between 0 and 1: an upper bound of the share of the weight of the pairs
        whose errors are larger than epsilon.
    """

    nu: float = 0.5

    def __post_init__(self):
        # In the dual epsilon is 0, and the sum of abs(beta) is bounded by `budget` instead.
        object.__setattr__(self, "loss", EpsilonInsensitive(0.0))
        super().__post_init__()

    @property
    def budget(self) -> float:
        """Weight of epsilon in the objective, which is also the largest sum of abs(beta)."""
        return float(self.nu * self.weights.sum())

    def at(self, epsilon: float) -> AlignmentProblem:
        """Return the epsilon-SVR problem for one epsilon."""
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
        """Return the best epsilon for a metric and an intercept, a quantile of the errors."""
        return self._epsilon(point.distances + point.shift)

    def within_budget(self, dual_coef: NDArray) -> NDArray:
        """Return dual coefficients that are scaled down, if needed, to keep to the budget."""
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
        # The loss grows with each error, so the largest loss is that of the largest errors.
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
        The problem to solve.
    solver : callable
        Solver of the epsilon-SVRs, such as `newton`.
    tol : float
        Relative duality gap to reach, of the nu-SVR problem; see `SolverResult.is_solved`.
    max_iter : int
        Largest number of iterations, of all epsilon-SVRs together.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Dual coefficients to start from. None: zeros.
    callback : callable or None, default=None
        Called with the result so far after each epsilon-SVR. The search stops if it returns true.

    Returns
    -------
    result : SolverResult
        The best metric and the best dual coefficients that were found, of the nu-SVR problem.
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
    """An interval that has the best epsilon, and the best points of the nu-SVR problem so far."""

    def __init__(self, problem):
        self.problem = problem
        # Each end of the interval has epsilon, the sum of abs(beta) less the budget, and beta.
        self.low = None
        projection = problem.projected_prior
        distances = problem.distances(projection.matrix)
        # If epsilon is at least the largest error of the prior, beta = 0 is the solution.
        errors = problem.targets - distances
        center = 0.5 * (errors.max() + errors.min()) if problem.fit_intercept else 0.0
        largest = float(np.abs(errors - center).max())
        self.high = (largest, -problem.budget, np.zeros_like(errors))
        self.result = SolverResult(problem.primal_point(projection, distances, center))

    def update(self, epsilon, step):
        """Narrow the interval, and improve the bounds, by the solution for one epsilon."""
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
        """Improve the dual bound by dual coefficients, scaled down to the budget."""
        self.result.improve_dual(self.problem.dual_point(self.problem.within_budget(dual_coef)))

    def next_epsilon(self):
        """Return the secant step inside the interval, kept away from its ends."""
        low, above = (0.0, None) if self.low is None else self.low[:2]
        high, below = self.high[:2]
        if above is None:
            return 0.1 * high if high > 1e-12 * self.problem.spread else 0.0
        share = np.clip(above / (above - below), 0.1, 0.9)
        return low + share * (high - low)
