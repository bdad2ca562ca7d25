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
from copy import copy

import numpy as np
from numpy.typing import NDArray

from metricalign.losses import EpsilonInsensitive
from metricalign.solvers.problem import AlignmentProblem, SolverResult

__all__ = ["nu_svr"]


def nu_svr(
    problem: AlignmentProblem,
    nu: float,
    *,
    solver: Callable,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve the nu-SVR form of a problem with epsilon-insensitive loss.

    Parameters
    ----------
    problem : AlignmentProblem
        Its loss must be `EpsilonInsensitive`; on return it has the epsilon that was found.
    nu : float
        Between 0 and 1.
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
    search = _Search(problem, nu)
    result = search.result
    epsilon = 0.1 * search.high[0]
    while result.n_iter < max_iter:
        n_iter = result.n_iter
        step = solver(
            search.at(epsilon), tol=0.1 * tol, max_iter=max_iter - n_iter, dual_coef=dual_coef
        )
        dual_coef = step.dual_coef
        search.update(epsilon, step)
        problem.loss = EpsilonInsensitive(search.epsilon)
        result.record(problem, callback)
        result.n_iter = n_iter + step.n_iter
        if result.is_solved(problem, tol) or result.stopped_by_callback:
            break
        next_epsilon = search.next_epsilon()
        if next_epsilon == epsilon:
            break
        epsilon = next_epsilon
    if problem.operator.dtype != np.float64:
        double = _Search(problem.in_double_precision(), nu)
        double.improve_primal(result.projection, result.intercept)
        double.improve_dual(result.dual_coef)
        result.primal, result.dual = double.result.primal, double.result.dual
    return result


class _Search:
    """Bracket of epsilon, and the best primal and dual points of the nu-SVR problem."""

    def __init__(self, problem, nu):
        self.problem = problem
        self.budget = nu * problem.weights.sum()
        # Ends of the bracket: epsilon, sum of abs(beta) beyond the budget, beta.
        self.low = None
        self.epsilon = 0.0
        projection = problem.cone.project(problem.prior)
        self.result = SolverResult(projection)
        # With beta = 0, the largest error is the epsilon from which on nothing is learned.
        errors = problem.relations - problem.distances(projection.matrix)
        center = 0.5 * (errors.max() + errors.min()) if problem.fit_intercept else 0.0
        self.high = (np.abs(errors - center).max(), -self.budget, np.zeros_like(errors))
        self.improve_primal(projection, center)

    def at(self, epsilon):
        """The epsilon-SVR problem for one epsilon."""
        problem = copy(self.problem)
        problem.loss = EpsilonInsensitive(epsilon)
        problem.conjugate = problem.loss.conjugate(problem.relations, problem.weights)
        return problem

    def update(self, epsilon, step):
        """Take the solution for one epsilon into the bracket and the bounds."""
        excess = np.abs(step.dual_coef).sum() - self.budget
        if excess > 0:
            self.low = (epsilon, excess, step.dual_coef)
        else:
            self.high = (epsilon, excess, step.dual_coef)
        self.improve_primal(step.projection, step.intercept)
        self.improve_dual(step.dual_coef)
        if self.low is not None:
            _, above, low_coef = self.low
            _, below, high_coef = self.high
            share = above / (above - below)
            self.improve_dual((1 - share) * low_coef + share * high_coef)

    def improve_primal(self, projection, intercept):
        """Take a metric into the bounds, with the epsilon that is best for it."""
        problem, matrix = self.problem, projection.matrix
        distances = problem.distances(matrix)
        errors = np.abs(distances + intercept - problem.relations)
        # Given M and b, epsilon is a quantile of the errors.
        order = np.argsort(errors)[::-1]
        outside = np.cumsum(problem.weights[order])
        position = np.searchsorted(outside, self.budget)
        epsilon = errors[order[min(position, len(order) - 1)]]
        losses = np.maximum(errors - epsilon, 0)
        primal = problem.penalty(matrix) + self.budget * epsilon + problem.weights @ losses
        if primal < self.result.primal:
            self.epsilon = float(epsilon)
        self.result.improve_primal(float(primal), projection, intercept)

    def improve_dual(self, dual_coef):
        """Take dual coefficients into the bounds, within the budget."""
        problem = self.at(0.0)
        size = np.abs(dual_coef).sum()
        if size > self.budget:
            dual_coef = dual_coef * (self.budget / size)
        projection = problem.cone.project(problem.stationary_matrix(dual_coef))
        self.result.improve_dual(problem.dual(dual_coef, projection), dual_coef)

    def next_epsilon(self):
        """Inside the bracket: the secant step, kept away from its ends."""
        low, above = (0.0, None) if self.low is None else self.low[:2]
        high, below = self.high[:2]
        if above is None:
            return 0.1 * high if high > 1e-12 * self.problem.spread else 0.0
        share = np.clip(above / (above - below), 0.1, 0.9)
        return low + share * (high - low)
