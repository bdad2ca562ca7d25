"""The problem that every solver solves.

    min over M, b   1/2 norm(M - M0)^2 + R(M) + sum_p weight_p loss(<M, T_p> + b, t_p)

    max over beta   1/2 norm(P - M0)^2 + R(P) - <D, P> - sum_p phi_p*(-beta_p)

Here D = sum_p beta_p T_p, and P is the proximal step of R at M0 + D. If there is an intercept b,
sum beta = 0. At the optimum M = P. If R is a cone, the first terms of the dual are equal to
1/2 norm(M0)^2 - 1/2 norm(P)^2. The form above loses fewer digits if the prior M0 is large.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from metricalign.losses import Conjugate, Loss
from metricalign.operators import PairOperator
from metricalign.regularizers import Projection, Regularizer

if TYPE_CHECKING:
    from metricalign.solvers.result import SolverResult

__all__ = [
    "AlignmentProblem",
    "DualPoint",
    "OutOfRangeError",
    "PrimalPoint",
]

_EPS = float(np.finfo(np.float64).eps)
OUT_OF_RANGE = (
    "No bounds of the optimum could be computed in {}: weights or distances have left the range of "
    "numbers. Scale X, or choose a smaller C."
)


class OutOfRangeError(ValueError):
    """Numbers are out of the range of the type in which they are computed."""


@dataclass(frozen=True)
class PrimalPoint:
    """A metric and an intercept, with their distances and objective.

    Attributes
    ----------
    projection : Projection
        The projection whose matrix is M.
    distances : ndarray of shape (n_pairs,)
        <M, T_p> of the pairs.
    intercept : float
        b.
    shift : float
        b less `AlignmentProblem.offset`.
    value : float
        Value of the objective.
    """

    projection: Projection
    distances: NDArray
    intercept: float
    shift: float
    value: float

    @property
    def matrix(self) -> NDArray:
        """M."""
        return self.projection.matrix


@dataclass(frozen=True)
class DualPoint:
    """Feasible dual coefficients, with their matrices and dual objective.

    Attributes
    ----------
    dual_coef : ndarray of shape (n_pairs,)
        beta.
    combination : ndarray of shape (n_features, n_features)
        D = sum_p beta_p T_p.
    stationary : ndarray of shape (n_features, n_features)
        M0 + D.
    projection : Projection
        Projection of `stationary`; its matrix is P.
    value : float
        Value of the dual objective, or a lower bound of it if the projection is inexact.
    """

    dual_coef: NDArray
    combination: NDArray
    stationary: NDArray
    projection: Projection
    value: float


@dataclass(frozen=True, eq=False)
class AlignmentProblem:
    """Relation alignment over given pairs.

    Parameters
    ----------
    operator : PairOperator
        Maps metrics to the distances of the pairs.
    relations : ndarray of shape (n_pairs,)
        Relations t_p.
    weights : ndarray of shape (n_pairs,)
        Positive weights of the pairs, C included.
    loss : Loss
        Loss of a distance against its relation.
    regularizer : Regularizer
        R, which says which M are allowed, and at what price.
    fit_intercept : bool
        Whether b is free; otherwise it is 0.
    prior : ndarray of shape (n_features, n_features) or None, default=None
        M0, or its diagonal if the operator is of diagonal matrices. None: zeros.
    basis : ndarray of shape (n_original_features, n_features) or None, default=None
        Q, whose orthonormal columns are the axes of the coordinates of the samples. The metric of
        the original features is Q M Q^T. None: the samples have the coordinates of the features.

    Raises
    ------
    ValueError
        If `fit_intercept` is true, but the loss pushes all distances to the same side. The optimum
        would be M = 0.
    """

    operator: PairOperator
    relations: NDArray
    weights: NDArray
    loss: Loss
    regularizer: Regularizer
    fit_intercept: bool
    prior: Any = None
    basis: NDArray | None = None
    _n_passes_before: float = field(init=False, default=0.0)

    def __post_init__(self):
        # A matrix takes little memory beside the samples, so it is always in double precision.
        prior = np.zeros(self.operator.matrix_shape) if self.prior is None else self.prior
        prior = np.asarray(prior, dtype=np.float64)
        object.__setattr__(self, "prior", prior)
        object.__setattr__(self, "regularizer", self.regularizer.for_problem(self.operator, prior))
        object.__setattr__(self, "_n_passes_before", self.operator.n_passes)
        lower, upper = self.conjugate.bounds
        if self.fit_intercept and not (np.any(lower < 0) and np.any(upper > 0)):
            raise ValueError(
                f"fit_intercept=True does not go with loss={self.loss!r} here: all pairs push "
                "their distances to the same side. The intercept alone does that, and M would be "
                "zero. Use fit_intercept=False, or pairs of both kinds."
            )

    @cached_property
    def offset(self) -> float:
        """Mean of the relations, a part of the intercept that needs no search.

        The solvers compute with `targets`, which are smaller, and so lose fewer digits. It is 0
        without an intercept, and for a loss that depends on more than the difference of distance
        and relation.
        """
        takes_shift = self.fit_intercept and self.loss.is_shift_invariant
        return float(np.mean(self.relations)) if takes_shift else 0.0

    @cached_property
    def targets(self) -> NDArray:
        """Relations less the offset. The solvers fit the distances to these."""
        return self.relations - self.offset

    @cached_property
    def conjugate(self) -> Conjugate:
        """Conjugate of the weighted losses."""
        return self.loss.conjugate(self.targets, self.weights)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the targets, or their largest size if all are equal, or 1."""
        return float(np.std(self.targets) or np.abs(self.targets).max() or 1.0)

    @cached_property
    def size(self) -> float:
        """Objective of a metric of zero, the scale of what is negligible."""
        return self._weighted_loss(np.zeros_like(self.targets)) + _half_squared_norm(self.prior)

    @cached_property
    def floor(self) -> float:
        """Objective that may be lost in rounding. Gaps are compared with no smaller one.

        It is the rounding error of 1/2 norm(M0)^2, or what the loss makes of a hundred times the
        rounding errors of the relations. If relations differ by their rounding only, the best
        objective is no larger.
        """
        of_relations = self._loss_rounding(self.targets, 100 * _EPS * np.abs(self.relations))
        smallest = float(np.finfo(float).tiny)
        return max(_EPS * _half_squared_norm(self.prior), of_relations, smallest)

    @cached_property
    def projected_prior(self) -> Projection:
        """Proximal step at the prior. Most solvers start from it."""
        return self.regularizer.project(self.prior)

    @cached_property
    def dual_value_at_zero(self) -> float:
        """Dual objective of dual coefficients that are all zero."""
        value = self.smooth_dual(np.zeros_like(self.prior), self.projected_prior)
        return value - self.conjugate.value(np.zeros_like(self.targets))

    @property
    def n_passes(self) -> float:
        """Number of applications of the operator for this problem."""
        return self.operator.n_passes - self._n_passes_before

    @property
    def is_double(self) -> bool:
        """Whether the operator works in double precision."""
        return self.operator.dtype == np.float64

    def reweighted(self, factor: float) -> Self:
        """Return the problem with all weights, that is C, times a factor.

        Its count of operator passes begins at 0.
        """
        return replace(self, weights=factor * self.weights)

    def for_steps(self) -> Self:
        """Return the problem with projections that are exact enough for steps of a solver.

        Both problems share their count of operator passes.
        """
        problem = copy(self)
        object.__setattr__(problem, "regularizer", self.regularizer.for_steps())
        vars(problem).pop("projected_prior", None)
        return problem

    def in_double_precision(self) -> Self:
        """Return the problem in double precision, of the samples as they were given."""
        return self if self.is_double else replace(self, operator=self.operator.astype(np.float64))

    def stationary_matrix(self, dual_coef: NDArray) -> NDArray:
        """Return M0 + sum_p beta_p T_p, whose proximal step minimises the Lagrangian."""
        return self.prior + self.combination(dual_coef)

    def combination(self, dual_coef: NDArray) -> NDArray:
        """Return the sum of beta_p T_p, as float64 whatever the type of the operator.

        Raises
        ------
        OutOfRangeError
            If one of its entries is not finite, so that no projection exists.
        """
        return self._in_range(self.operator.adjoint(dual_coef))

    def distances(self, matrix: NDArray) -> NDArray:
        """Return the squared distances of the pairs, as float64 whatever the type of the operator.

        Raises
        ------
        OutOfRangeError
            If the operator is in single precision, and they leave its range. In double precision
            they become infinite, and the solvers refuse a step to such a matrix.
        """
        distances = self.operator.distances(matrix)
        return distances if self.is_double else self._in_range(distances)

    def _in_range(self, numbers):
        if not np.all(np.isfinite(numbers)):
            raise OutOfRangeError(OUT_OF_RANGE.format(self.operator.dtype))
        return numbers.astype(np.float64, copy=False)

    def penalty(self, matrix: NDArray) -> float:
        """Return half the squared distance of a matrix from the prior."""
        return _half_squared_norm(matrix - self.prior)

    def tells_from_prior(self, point: PrimalPoint, gap: float) -> bool:
        """Whether half the squared distance of a metric from the prior is above the gap.

        If so, the prior is not the optimum: half the squared distance from the optimum is at most
        the gap.
        """
        return gap < self.penalty(point.matrix)

    def primal_point(self, projection: Projection, distances: NDArray, shift: float) -> PrimalPoint:
        """Return the primal point of an allowed matrix, of its distances, and of b - offset."""
        intercept = shift + self.offset
        # The sum was rounded. The value shall be that of the intercept that is returned.
        shift = intercept - self.offset
        value = self.penalty(projection.matrix) + projection.value
        value += self._weighted_loss(distances + shift)
        return PrimalPoint(projection, distances, intercept, shift, value)

    def prior_point(self) -> PrimalPoint:
        """Return the point at which nothing is learned: the projected prior, its best intercept."""
        projection = self.projected_prior
        distances = self.distances(projection.matrix)
        # Without this penalty, the best coefficients of a loss with kinks would not be unique.
        pull = 0.0 if self.conjugate.is_strongly_convex else _EPS * self.spread / self.weights.max()
        shift = self.balanced(distances, 0.0, pull, 0.0)[0]
        return self.primal_point(projection, distances, shift)

    def dual_point(self, dual_coef: NDArray) -> DualPoint:
        """Return the dual point of feasible dual coefficients."""
        combination = self.combination(dual_coef)
        stationary = self.prior + combination
        projection = self.regularizer.project(stationary)
        value = self.smooth_dual(combination, projection) - self.conjugate.value(dual_coef)
        return DualPoint(dual_coef, combination, stationary, projection, value)

    def smooth_dual(self, combination: NDArray, projection: Projection) -> float:
        """Return 1/2 norm(P - M0)^2 + R(P) - <D, P>, less the `slack` of an inexact projection."""
        product = float(np.vdot(combination, projection.matrix))
        return self.penalty(projection.matrix) + projection.value - product - projection.slack

    def _weighted_loss(self, predictions) -> float:
        return float(self.weights @ self.loss.value(predictions, self.targets))

    def _loss_rounding(self, predictions, errors) -> float:
        """Largest change of the weighted loss if each prediction is off by at most its error."""
        at, above, below = (
            self.loss.value(predictions + shift, self.targets) for shift in (0.0, errors, -errors)
        )
        return float(self.weights @ np.maximum(np.abs(above - at), np.abs(below - at)))

    def rounding(self, primal: PrimalPoint, dual: DualPoint) -> float:
        """Return a bound on the rounding error of the primal value less the dual value.

        It is the sum of three parts: the rounding of the distances, which the operator knows; the
        rounding of sums, which grows with the square root of the number of terms; and the rounding
        of the eigenvalues. Terms of second order count for the last part only.
        """
        unit = _EPS * (8 + math.sqrt(self.operator.n_pairs))
        matrix_unit = _EPS * (8 + math.sqrt(self.operator.n_features))
        prior, resolution = np.linalg.norm(self.prior), self.operator.resolution
        metric = np.linalg.norm(primal.matrix)
        errors = metric * resolution + _EPS * (np.abs(self.targets) + abs(primal.shift))
        change = math.sqrt(2 * self.penalty(primal.matrix))
        of_primal = self._loss_rounding(primal.distances + primal.shift, errors)
        of_primal += unit * abs(primal.value) + matrix_unit * (metric + prior) * change

        projection = np.linalg.norm(dual.projection.matrix)
        combination = np.linalg.norm(dual.combination)
        change = math.sqrt(2 * self.penalty(dual.projection.matrix))
        sizes = np.abs(dual.dual_coef)
        of_combination = float(sizes @ resolution)
        of_dual = projection * of_combination
        of_dual += matrix_unit * (projection * combination + (projection + prior) * change)
        of_dual += (of_combination + matrix_unit * (combination + prior)) ** 2
        of_dual += unit * (2 * float(sizes @ np.abs(self.targets)) + abs(dual.value))
        if self.fit_intercept:
            imbalance = abs(dual.dual_coef.sum()) + _EPS * sizes.sum()
            of_dual += imbalance * (abs(primal.shift) + self.spread)
        return float(of_primal + of_dual)

    def reevaluated(self, result: SolverResult) -> tuple[PrimalPoint, DualPoint]:
        """Return the points of a result in double precision, for the samples as they were given.

        The distances are always computed anew, as a solver may have updated them step by step.
        """
        primal, dual = result.primal_point, result.dual_point
        assert dual is not None
        double, projection = self.in_double_precision(), primal.projection
        if not self.is_double:
            projection = double.regularizer.project(projection.matrix, 0.0)
            dual = double.dual_point(dual.dual_coef)
        distances = double.distances(projection.matrix)
        return double.primal_point(projection, distances, primal.shift), dual

    def feasible(self, dual_coef: NDArray) -> NDArray:
        """Return feasible dual coefficients near the given ones.

        They are within their bounds, and if there is an intercept, their sum is zero.
        """
        # The penalty is so large that all other terms are negligible. Coefficients are about as
        # large as the weights, times the errors if the loss is quadratic.
        unit = 1.0 if self.conjugate.is_strongly_convex else self.spread
        stiffness = 1e10 * unit / self.weights.mean()
        return self.balanced(np.zeros_like(self.targets), dual_coef, stiffness, 0.0)[1]

    def balanced(
        self,
        distances: NDArray,
        center: NDArray | float,
        penalty: NDArray | float,
        intercept: float,
        conjugate: Conjugate | None = None,
        others: float = 0.0,
        tolerance: float = 1e-14,
    ) -> tuple[float, NDArray, NDArray]:
        """Return the proximal step of the dual coefficients, with an intercept that balances them.

        The intercept is searched at which the sum of the dual coefficients is zero.

        Parameters
        ----------
        distances : ndarray of shape (n_pairs,)
            Predicted distances without the intercept.
        center, penalty : ndarray of shape (n_pairs,) or float
            As in `proximal` of `Conjugate`.
        intercept : float
            The search for the intercept starts here.
        conjugate : Conjugate or None, default=None
            Conjugate of the loss of these pairs. None: that of all pairs.
        others : float, default=0
            Sum of the dual coefficients of all other pairs.
        tolerance : float, default=1e-14
            Largest sum that counts as zero, relative to the sum of the absolute coefficients. If it
            is above the default, one linear step, clipped to the bounds, reduces the sum further.

        Returns
        -------
        intercept : float
            The b at which the sum is zero, or 0 if the problem has no intercept.
        dual_coef, response : ndarray of shape (n_pairs,)
            As in `proximal` of `Conjugate`.

        Raises
        ------
        OutOfRangeError
            If the search finds no such intercept.
        """
        if conjugate is None:
            conjugate = self.conjugate
        if not self.fit_intercept:
            return 0.0, *conjugate.proximal(distances, center, penalty)
        # The sum falls as the intercept grows. These are intercept, sum and coefficients at the
        # nearest points on both sides of the root.
        below, above = None, None
        reach = self.spread
        for trial in range(200):
            dual_coef, response = conjugate.proximal(distances + intercept, center, penalty)
            excess = float(dual_coef.sum()) + others
            slope = float(response.sum())
            if abs(excess) <= tolerance * (np.abs(dual_coef).sum() + abs(others)):
                if tolerance > 1e-14 and slope > 0:
                    # If the slope is nearly zero, the linear step would be far too long.
                    shift = math.copysign(min(abs(excess) / slope, self.spread), excess)
                    dual_coef = np.clip(dual_coef - response * shift, *conjugate.bounds)
                    intercept += shift
                return intercept, dual_coef, response
            if excess > 0:
                below = (intercept, excess, dual_coef)
            else:
                above = (intercept, excess, dual_coef)
            resolution = 4 * math.ulp(max(abs(intercept), self.spread))
            step = abs(excess) / slope if slope > 0 else math.inf
            # A step must be long enough to cross the root, so that there are points on both sides.
            step = math.copysign(max(step, resolution), excess)
            if below is None or above is None:
                # In the tail of a smooth loss, Newton's steps are too short to cross the root.
                if trial >= 20:
                    step = math.copysign(reach, excess)
                intercept += min(max(step, -reach), reach)
                reach *= 2
                if trial == 19:
                    # After a bad step the distances, and so the intercept, may be very large.
                    largest = np.abs(distances + intercept).max()
                    reach = float(np.clip(largest, self.spread, 1e150))
                continue
            if above[0] - below[0] <= 2 * resolution:
                break
            inside = below[0] < intercept + step < above[0]
            intercept = float(intercept + step if inside else 0.5 * (below[0] + above[0]))
        if below is None or above is None:
            raise OutOfRangeError(
                f"No intercept balances the dual coefficients (it reached {intercept:.1e}, their "
                f"sum {excess:.1e}): distances or weights have left the range of numbers. Scale X, "
                "or choose a smaller C."
            )
        # The root is between two neighbouring numbers, so the coefficients of both are mixed.
        share = below[1] / (below[1] - above[1])
        return intercept, (1 - share) * below[2] + share * above[2], response


def _half_squared_norm(matrix) -> float:
    """Half the squared Frobenius norm, summed in float64 whatever the type of the matrix."""
    entries = matrix.ravel()
    return 0.5 * float(np.einsum("i,i->", entries, entries, dtype=np.float64))
