"""Semismooth Newton steps inside a proximal-point method on the dual: the default solver.

The dual is piecewise smooth, and near the optimum only the coefficients between their bounds
change; their pairs are called free. A quadratic penalty, the pull of beta to a center,

    min over beta  -dual(beta) + rho / 2 norm(beta - center)^2,

makes the primal function Psi(M) = 1/2 norm(M - M0)^2 + (Moreau envelope of the loss)
differentiable. A Newton step on it is a linear system over the free pairs only. When the penalty is
less than a share of the duality gap, the center moves to beta, and rho shrinks. This is a proximal
point method, so the limit is exact though rho > 0. If the conjugate of the loss is strongly convex,
rho is 0.

Over a cone M = P(S), where P is the projection. The larger C, the more P changes S. With a large C,
the Newton step of S leaves the region in which the derivative of P describes it. Therefore M is
pulled to a center as well. In Psi

    1/2 norm(M - M0)^2 + (stiffness - 1) / 2 norm(M - center)^2

is stiffness / 2 norm(M - prior)^2 but for a constant. The prior is the weighted mean of M0 and the
center, and M = P(prior + 1 / stiffness sum_p beta_p T_p). Both centers move at the same time.

Sources: Li, Sun, Toh, A highly efficient semismooth Newton augmented Lagrangian method for
solving Lasso problems, SIAM J. Optim. 28 (2018), here with the proximal step of R inside; Zhao,
Sun, Toh, A Newton-CG augmented Lagrangian method for semidefinite programming, SIAM J. Optim. 20
(2010); Rockafellar, Augmented Lagrangians and applications of the proximal point algorithm in
convex programming, Math. Oper. Res. 1 (1976).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metricalign.solvers.newton_system import precision_of, solve_free
from metricalign.solvers.problem import OUT_OF_RANGE, AlignmentProblem, OutOfRangeError
from metricalign.solvers.result import SolverResult, needs

__all__ = ["newton"]

# `python benchmarks/speed/constants.py` prints the operator passes to relative gaps of 1e-3 and
# 1e-6, and the CPU time, with other values of the numbers below. "No effect" means that values
# several times as small and as large change the passes by less than one per cent: such a number is
# a safeguard.

# If neither the gap nor the objective falls by a hundredth in so many steps, rounding has stopped
# both. The objective counts too, as with a large C the dual value, and so the gap, may be far off
# for many steps.
_PATIENCE = 100

# With the first rho, pairs are free whose errors are within a width of the kinks of the loss. The
# width is the spread of the relations times the first number, or times the second over the number
# of pairs if that is less, so that systems stay small. With 50 in place of the second number it
# takes 8 % more passes to 1e-3, with 800 it takes 3 % more and 10 % more time.
_WIDTH, _N_WIDE = 0.3, 200
# Smallest rho, in units of the mean of norm(z_p)^4. It keeps rho above zero. No effect.
_SMALLEST_PULL = 1e-12
# rho is divided by the first number once the penalty is less than the second times the gap. With a
# factor of 1.5 it takes 13 % more passes to 1e-6, with 4 it takes 6 % more to 1e-3. With a share of
# 0.2 it takes 7 % more, and with a share of 1 five of thirteen problems do not reach their gap.
_PULL_FACTOR, _PULL_SHARE = 2.0, 0.5
# Over a cone, M is pulled if the weight of all pairs (c in the formula of C="scale") is above the
# first number. The stiffness then makes Psi like that of the second weight. If there are also at
# most as many products as the third number, the width of the first rho is the fourth number times
# the spread. With values several times as small and as large of these numbers and those below it
# takes 4 % less to 19 % more passes.
_LARGE_WEIGHT, _LIGHT_WEIGHT, _FEW_PRODUCTS, _WIDE = 1e4, 250.0, 1000, 1.0
# If M is pulled, both pulls shrink when at most the first number of steps has minimised Psi, and
# rho also when no step was short. When the second number of steps has not been enough, they grow by
# the third and the fourth: rho if steps were short, as kinks of Psi are close together, and the
# stiffness if steps were halved, as P is not linear.
_FEW_STEPS, _MANY_STEPS, _PULL_GROWTH, _STIFFNESS_FACTOR = 2, 5, 3.0, 2.0

# Number of gradient steps at the start. Far from the optimum nearly all pairs are free, and
# gradient steps do as well as Newton steps, whose systems are largest there. With 6 gradient steps
# it takes 6 % more passes, with none as many.
_N_GRADIENT_STEPS = 3
# The line search first tries the size of the last step times the second number. At the start the
# last size is the first number, and it never counts as less than the third. No effect.
_FIRST_STEP_SIZE, _STEP_GROWTH, _SMALLEST_STEP_SIZE = 0.25, 2, 1e-6
# How often a Newton step and a gradient step are tried, and the factor by which each trial is
# shorter. If all Newton steps fail, there is still the gradient step. No effect.
_NEWTON_TRIALS, _GRADIENT_TRIALS = (7, 0.5), (30, 0.25)
# The line search widens its interval by the first number, stops at the relative accuracy of the
# second, and takes at most the third number of steps. No effect.
_LINE_GROWTH, _LINE_ACCURACY, _MOST_LINE_STEPS = 4, 1e-6, 60
# `tolerance` of `AlignmentProblem.balanced` in the line search. It halves the time of balancing.
# With 0.1 it takes 7 % more passes to 1e-3.
_IMBALANCE = 1e-3


@needs(
    conjugate=["value", "proximal", "restricted", "bounds"],
    projection=[
        "derivative",
        "n_products",
        "products",
        "coordinates",
        "from_coordinates",
        "gram",
    ],
)
def newton(
    problem: AlignmentProblem,
    *,
    tol: float,
    max_iter: int,
    dual_coef: NDArray | None = None,
    callback: Callable[[SolverResult], bool] | None = None,
) -> SolverResult:
    """Solve a relation alignment problem by semismooth Newton steps.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem to solve.
    tol : float
        Relative duality gap to reach; see `SolverResult.is_solved`.
    max_iter : int
        Largest number of Newton steps.
    dual_coef : ndarray of shape (n_pairs,) or None, default=None
        Dual coefficients to start from. None: zeros.
    callback : callable or None, default=None
        Called with the result so far after each iteration. The solver stops if it returns true.

    Returns
    -------
    result : SolverResult
        The best metric and the best dual coefficients that were found.
    """
    problem = problem.for_steps()
    state = _State(problem, dual_coef)
    result = SolverResult(state.primal_point())
    bounds: list[tuple[float, float]] = []
    for _ in range(max_iter):
        dual = problem.dual_point(state.dual_coef)
        result.improve_dual(dual)
        result.improve_primal(state.primal_point())
        bounds.append((result.gap, result.primal))
        is_stuck = len(bounds) > _PATIENCE and all(
            now > 0.99 * before for now, before in zip(bounds[-1], bounds[-_PATIENCE], strict=True)
        )
        if result.record(problem, tol, callback) or is_stuck:
            break
        if state.is_large and state.n_steps >= _MANY_STEPS:
            state.pull_more()
        if not state.is_solved(dual, result.gap) and state.step(state.target(dual.stationary)):
            continue
        if not state.loosen():
            break
        state.step(state.target(problem.stationary_matrix(state.dual_coef)))
    return result


class _State:
    """A matrix S, its projection M, and the dual coefficients, under the current pulls."""

    def __init__(self, problem, dual_coef):
        self.problem = problem
        is_smooth = problem.conjugate.is_strongly_convex
        start = None if dual_coef is None else problem.dual_point(problem.feasible(dual_coef))
        # A start from the solution for another C or scale of X may be far worse than zeros.
        if start is None or start.value <= problem.dual_value_at_zero:
            self.n_gradient_steps = 0 if is_smooth else _N_GRADIENT_STEPS
            self.center = np.zeros(problem.operator.n_pairs)
            self.stationary = problem.stationary_matrix(self.center)
            self.projection = problem.projected_prior
        else:
            self.n_gradient_steps = 0
            self.center, self.stationary = start.dual_coef, start.stationary
            self.projection = start.projection
        self.metric_center = self.projection.matrix
        # The c in the formula of C="scale": C summed over the pairs, free of units.
        squared_length = np.mean(problem.operator.squared_lengths, dtype=np.float64)
        weight = squared_length**2 * problem.weights.sum()
        weight /= problem.spread ** (2 - problem.loss.degree)
        regularizer = problem.regularizer
        is_cone = regularizer.is_constraint and not regularizer.is_subspace
        self.is_large = is_cone and _LARGE_WEIGHT < weight < math.inf
        # A power of two does not round, so that units do not matter.
        exponent = math.floor(math.log2(weight / _LIGHT_WEIGHT)) if self.is_large else 0
        self.stiffness = self.largest_stiffness = 2.0**exponent
        if is_smooth:
            self.rho = self.smallest_rho = self.largest_rho = 0.0
        else:
            width = min(_WIDTH, _N_WIDE / problem.operator.n_pairs)
            n_products = self.projection.n_products(problem.operator.n_features)
            if self.is_large and n_products <= _FEW_PRODUCTS:
                width = _WIDE
            self.rho = width * problem.spread / problem.weights.mean()
            self.smallest_rho = _SMALLEST_PULL * np.mean(problem.operator.squared_lengths**2.0)
            self.rho = self.largest_rho = max(self.rho, self.smallest_rho)
        # Numbers of steps since the pulls changed: of all, of those with a size below 1/2, and of
        # those that were halved at least twice.
        self.n_steps = self.n_short = self.n_halved = 0
        self.intercept = 0.0
        self.step_size = _FIRST_STEP_SIZE
        self.distances = problem.distances(self.projection.matrix)
        self.stationary = self.target(self.stationary)
        self.update()

    def update(self):
        """Compute dual coefficients, intercept and value of Psi at the current distances."""
        self.intercept, self.dual_coef, self.response = self.problem.balanced(
            self.distances, self.center, self.rho, self.intercept
        )
        self.value = (
            self._penalty(self.projection.matrix)
            + self.projection.value
            - self.problem.conjugate.value(self.dual_coef)
            - self.dual_coef @ (self.distances + self.intercept)
            - self.pull()
        )

    def primal_point(self):
        """Return the primal point of the current metric."""
        return self.problem.primal_point(self.projection, self.distances, self.intercept)

    @property
    def prior(self):
        """The weighted mean of M0 and the center of M, to which M is pulled."""
        share = 1 - 1 / self.stiffness
        return self.problem.prior + share * (self.metric_center - self.problem.prior)

    def target(self, stationary):
        """Return the S at which beta is stationary, given that S without the pull of M."""
        return self.prior + (stationary - self.problem.prior) / self.stiffness

    def is_solved(self, dual, gap):
        """Whether Psi is above its minimum by at most a share of the gap and of the pulls' cost."""
        minimum, cost = dual.value, gap
        if self.stiffness > 1:
            projection = self.problem.regularizer.project(self.target(dual.stationary))
            minimum = self._penalty(projection.matrix)
            minimum -= float(np.vdot(dual.combination, projection.matrix))
            minimum -= self.stiffness * projection.slack
            minimum -= self.problem.conjugate.value(self.dual_coef)
            moved = np.sum((self.projection.matrix - self.metric_center) ** 2)
            cost = min(gap, self.pull() + 0.5 * (self.stiffness - 1) * moved)
        return self.value - (minimum - self.pull()) <= _PULL_SHARE * cost

    def pull(self):
        """Return the penalty rho / 2 norm(beta - center)^2."""
        if self.rho == 0:
            return 0.0
        return 0.5 * self.rho * np.sum((self.dual_coef - self.center) ** 2)

    def _penalty(self, matrix):
        """Return stiffness / 2 norm(M - prior)^2."""
        return 0.5 * self.stiffness * np.sum((matrix - self.prior) ** 2)

    def loosen(self):
        """Move the centers to the current beta and M, and change the pulls.

        Return False if the pulls are at their limits and beta is at its center.
        """
        is_at_limit = self.rho <= self.smallest_rho and self.stiffness == 1
        if is_at_limit and self.pull() <= np.finfo(float).eps * abs(self.value):
            return False
        self.center, self.metric_center = self.dual_coef, self.projection.matrix
        is_easy = self.n_steps <= _FEW_STEPS
        pull = 1 / _PULL_FACTOR if is_easy or not self.n_short or not self.is_large else 1.0
        stiffness = 1 / _STIFFNESS_FACTOR if is_easy and not self.n_halved else 1.0
        self._change_pulls(pull, _STIFFNESS_FACTOR if self.n_halved > 1 else stiffness)
        return True

    def pull_more(self):
        """Increase rho if steps were short, and the stiffness if steps were halved."""
        pull = _PULL_GROWTH if self.n_short > 1 else 1.0
        self._change_pulls(pull, _STIFFNESS_FACTOR if self.n_halved > 1 else 1.0)

    def _change_pulls(self, pull, stiffness):
        self.n_steps = self.n_short = self.n_halved = 0
        self.rho = min(max(pull * self.rho, self.smallest_rho), self.largest_rho)
        before = self.stiffness
        self.stiffness = min(max(stiffness * before, 1.0), self.largest_stiffness)
        if self.stiffness != before:
            # M stays, and the part of S that the projection removes is scaled.
            matrix = self.projection.matrix
            self.stationary = matrix + before / self.stiffness * (self.stationary - matrix)
            self.projection = self.problem.regularizer.project(self.stationary)
        self.update()

    def step(self, target):
        """Step towards the minimum of Psi, given S(beta) of the current beta.

        The step is a Newton step of S. If no such step makes Psi smaller, as even a short one
        leaves the face of the cone for which it was computed, it is a proximal gradient step of M,
        which finds the next face. Return False if that does not make Psi smaller either.
        """
        self.n_steps += 1
        self.n_gradient_steps -= 1
        start = copy(self)
        if self._newton_step(start, target):
            return True
        if self.problem.regularizer.is_subspace:
            return False
        return self._gradient_step(start, target)

    def _newton_step(self, start, target):
        residual = start.projection.derivative(start.stationary - target)
        direction = self._direction(target, residual)
        line = _Line(start, direction)
        size = line.minimum(min(1.0, _STEP_GROWTH * start.step_size))
        if size == 0:
            return False
        # A step that is short only because of rounding must not make the next one short.
        self.step_size = max(size, _SMALLEST_STEP_SIZE)
        self.n_short += size < 0.5
        if self.problem.regularizer.is_subspace:
            self.stationary = start.stationary + size * direction
            self.projection = self.problem.regularizer.project(self.stationary)
            self.distances = start.distances + size * line.along
            self.intercept = line.intercept
            self.update()
            return self.value < start.value
        return self._backtrack(start, start.stationary, direction, size, *_NEWTON_TRIALS)

    def _gradient_step(self, start, target):
        matrix, regularizer = start.projection.matrix, self.problem.regularizer
        if regularizer.is_constraint:
            return self._backtrack(start, matrix, target - matrix, 1.0, *_GRADIENT_TRIALS)
        size = 1.0
        n_trials, factor = _GRADIENT_TRIALS
        for _ in range(n_trials):
            stationary = matrix + size * (target - matrix)
            moved = regularizer.project(stationary, size).matrix
            # This S is one whose proximal step of size 1 has the same result.
            if self._move(start, moved + (stationary - moved) / size):
                return True
            size *= factor
        return False

    def _backtrack(self, start, stationary, direction, size, n_trials, factor):
        """Shorten a step until Psi falls. Return whether it does."""
        for trial in range(n_trials):
            if self._move(start, stationary + size * direction):
                return True
            self.n_halved += trial == 1
            size *= factor
        return False

    def _move(self, start, stationary):
        """Move to S, and return whether Psi falls. It does not if numbers leave their range."""
        try:
            if not np.all(np.isfinite(stationary)):
                raise OutOfRangeError(OUT_OF_RANGE.format(self.problem.operator.dtype))
            self.stationary = stationary
            self.projection = self.problem.regularizer.project(stationary)
            self.distances = self.problem.distances(self.projection.matrix)
            self.intercept = start.intercept
            self.update()
        except OutOfRangeError:
            # In single precision, `solve` goes on in double, which is better than shorter steps.
            if not self.problem.is_double:
                raise
            vars(self).update(vars(start))
            return False
        return self.value < start.value

    def _direction(self, target, residual):
        """Return the Newton direction of S, or the gradient direction if no pair is free."""
        direction = target - self.stationary
        # A pair is free if its coefficient responds. Inverses of smaller numbers would overflow.
        free = np.flatnonzero(self.response >= np.finfo(float).tiny)
        if len(free) == 0 or self.n_gradient_steps >= 0:
            return direction
        operator = self.problem.operator.restricted(free)
        curvature = self.stiffness / self.response[free]
        change = solve_free(
            operator,
            self.projection,
            curvature,
            -operator.distances(residual),
            self.problem.fit_intercept,
            # Without rho the step may be exact, and single precision would spoil that.
            np.float64 if self.rho == 0 else precision_of(operator, curvature),
        )
        return direction - operator.adjoint(change)


class _Point(NamedTuple):
    """A point of a line: step size, intercept, dual coefficients and two derivatives of Psi."""

    size: float
    intercept: float
    dual_coef: NDArray
    response: NDArray
    slope: float
    curvature: float

    def newton_size(self):
        """Return the size at which the slope would be zero if it were linear."""
        return self.size - self.slope / self.curvature if self.curvature > 0 else math.nan


class _Line:
    """Psi along a change of M, taken as linear, with the best intercept at each point."""

    def __init__(self, state, direction):
        self.problem, self.rho = state.problem, state.rho
        moved = state.projection.derivative(direction)
        self.along = self.problem.distances(moved)
        # Derivatives of 1/2 norm(M - M0)^2 + R(M). If R is a constraint, its part is zero.
        is_constraint = self.problem.regularizer.is_constraint
        gradient = state.projection.matrix if is_constraint else state.stationary
        self.linear = state.stiffness * float(np.vdot(gradient - state.prior, moved))
        self.quadratic = float(np.vdot(moved, moved if is_constraint else direction))
        self.quadratic *= state.stiffness
        self.moving = self.problem.conjugate, state.distances, self.along, state.center
        self.rest = 0.0
        self.start = self._point(0.0, state.intercept, state.dual_coef, state.response)

    def minimum(self, first):
        """Return the size of the step to the minimum, from 0 to 1, after trying `first`."""
        low = self.start
        if not low.slope < 0:
            return 0.0
        high = self._at(first, low.intercept)
        steepest = abs(low.slope)
        while high.slope < 0 and high.size < 1:
            low, high = high, self._at(min(1.0, _LINE_GROWTH * high.size), high.intercept)
        self.intercept = high.intercept
        # An exact step ends where the slope is zero but for rounding.
        if high.slope <= 1e-9 * steepest:
            return high.size
        self._leave_out_fixed(low, high)
        last, other = high, low
        for _ in range(_MOST_LINE_STEPS):
            # Psi' is linear between its kinks, so Newton's method is tried before bisection.
            sizes = last.newton_size(), other.newton_size(), 0.5 * (low.size + high.size)
            size = next((size for size in sizes if low.size < size < high.size), None)
            if size is None:
                break
            share = (size - low.size) / (high.size - low.size)
            last = self._at(size, low.intercept + share * (high.intercept - low.intercept))
            low, high = (last, high) if last.slope <= 0 else (low, last)
            other = low if last is high else high
            # A coarser search costs more Newton steps than it saves.
            if (
                high.size - low.size <= _LINE_ACCURACY * low.size
                or abs(last.slope) <= _LINE_ACCURACY * steepest
            ):
                break
        self.intercept = last.intercept
        return last.size

    def _at(self, size, intercept):
        conjugate, distances, along, center = self.moving
        balanced = self.problem.balanced(
            distances + size * along, center, self.rho, intercept, conjugate, self.rest, _IMBALANCE
        )
        return self._point(size, *balanced)

    def _point(self, size, intercept, dual_coef, response):
        along = self.moving[2]
        # If the curvature overflows, there is still bisection. A slope that is NaN is not negative,
        # so that the search goes on nearer to the start.
        with np.errstate(over="ignore", invalid="ignore"):
            slope = self.linear + size * self.quadratic - float(dual_coef @ along)
            moved = response * along
            curvature = self.quadratic + moved @ along
            if self.problem.fit_intercept and (total := response.sum()) > 0:
                curvature -= moved.sum() ** 2 / total
        return _Point(size, intercept, dual_coef, response, slope, float(curvature))

    def _leave_out_fixed(self, low, high):
        """Leave out pairs that are at the same bound at both ends, as they are there in between."""
        conjugate, distances, along, center = self.moving
        moves = (low.response > 0) | (high.response > 0) | (low.dual_coef != high.dual_coef)
        self.linear -= float(low.dual_coef[~moves] @ along[~moves])
        moving = np.flatnonzero(moves)
        # With an intercept, the sum of all coefficients is zero. Here it is nearly so, and the rest
        # of the search takes it as exact.
        self.rest = -float(low.dual_coef[moving].sum())
        self.moving = (
            conjugate.restricted(moving),
            distances[moving],
            along[moving],
            center[moving],
        )
