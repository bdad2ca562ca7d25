"""The problem that every solver solves.

    min over M, b   1/2 norm(M - M0)^2 + R(M) + sum_p weight_p loss(<M, T_p> + b, t_p)

    max over beta   1/2 norm(P - M0)^2 + R(P) - <D, P> - sum_p phi_p*(-beta_p)

with D = sum_p beta_p T_p and P the proximal step of R at M0 + D, and sum beta = 0 if there is an
intercept b. At the optimum M = P. Where R is a cone, the first terms of the dual are
1/2 norm(M0)^2 - 1/2 norm(P)^2, in a form that does not subtract the squares of a large prior.
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
    """Numbers have left the range of the type that was computed in."""


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
        b less the offset of the problem.
    value : float
        Objective.
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
        Projection of `stationary`.
    value : float
        Dual objective, or a lower bound of it where the projection is inexact.
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
        Which M are allowed, and at what price.
    fit_intercept : bool
        Whether b is free; otherwise it is 0.
    prior : ndarray of shape (n_features, n_features) or None, default=None
        M0; zero if None. Its diagonal for an operator of diagonal matrices.
    basis : ndarray of shape (n_original_features, n_features) or None, default=None
        Orthonormal columns Q whose coordinates the samples are in, if not in those of the
        features: Q M Q^T is the metric of these.

    Raises
    ------
    ValueError
        If an intercept is asked for with a loss that pushes distances to one side only: the
        optimum would be M = 0.
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
        # A matrix is small beside the samples, and kept in double precision.
        prior = np.zeros(self.operator.matrix_shape) if self.prior is None else self.prior
        prior = np.asarray(prior, dtype=np.float64)
        object.__setattr__(self, "prior", prior)
        object.__setattr__(self, "regularizer", self.regularizer.for_problem(self.operator, prior))
        object.__setattr__(self, "_n_passes_before", self.operator.n_passes)
        lower, upper = self.conjugate.bounds
        if self.fit_intercept and not (np.any(lower < 0) and np.any(upper > 0)):
            raise ValueError(
                f"fit_intercept=True does not go with loss={self.loss!r} here: all pairs push "
                "their distances to the same side, which the intercept does alone, and M would be "
                "zero. Use fit_intercept=False, or pairs of both kinds."
            )

    @cached_property
    def offset(self) -> float:
        """Mean of the relations, which the intercept takes at once, so that digits are saved."""
        takes_shift = self.fit_intercept and self.loss.is_shift_invariant
        return float(np.mean(self.relations)) if takes_shift else 0.0

    @cached_property
    def targets(self) -> NDArray:
        """Relations less the offset, which the solvers fit."""
        return self.relations - self.offset

    @cached_property
    def conjugate(self) -> Conjugate:
        """Conjugate of the weighted losses."""
        return self.loss.conjugate(self.targets, self.weights)

    @cached_property
    def spread(self) -> float:
        """Size of the relations, up to the offset."""
        return float(np.std(self.targets) or np.abs(self.targets).max() or 1.0)

    @cached_property
    def size(self) -> float:
        """Size of the terms of the objective at a metric of zero."""
        return self._weighted_loss(np.zeros_like(self.targets)) + _half_squared_norm(self.prior)

    @cached_property
    def floor(self) -> float:
        """Objective that is lost in rounding: of 1/2 norm(M0)^2, or of a hundred of the relations.

        If relations differ by their rounding only, the best metric is zero but for rounding too.
        """
        of_relations = self._loss_rounding(self.targets, 100 * _EPS * np.abs(self.relations))
        smallest = float(np.finfo(float).tiny)
        return max(_EPS * _half_squared_norm(self.prior), of_relations, smallest)

    @cached_property
    def projected_prior(self) -> Projection:
        """Proximal step at the prior, where most solvers start."""
        return self.regularizer.project(self.prior)

    @cached_property
    def dual_value_at_zero(self) -> float:
        """Dual objective of coefficients that are all zero."""
        value = self.smooth_dual(np.zeros_like(self.prior), self.projected_prior)
        return value - self.conjugate.value(np.zeros_like(self.targets))

    @property
    def n_passes(self) -> float:
        """Operator applications for this problem."""
        return self.operator.n_passes - self._n_passes_before

    @property
    def is_double(self) -> bool:
        """Whether the operator works in double precision."""
        return self.operator.dtype == np.float64

    def reweighted(self, factor: float) -> Self:
        """Problem with all weights, that is C, times a factor; operator passes count anew."""
        return replace(self, weights=factor * self.weights)

    def for_steps(self) -> Self:
        """The same problem with projections as inexact as steps can bear; passes count together."""
        problem = copy(self)
        object.__setattr__(problem, "regularizer", self.regularizer.for_steps())
        vars(problem).pop("projected_prior", None)
        return problem

    def in_double_precision(self) -> Self:
        """Problem of the samples as they were given, in double precision."""
        return self if self.is_double else replace(self, operator=self.operator.astype(np.float64))

    def stationary_matrix(self, dual_coef: NDArray) -> NDArray:
        """M0 + sum_p beta_p T_p, at which the proximal step minimises the Lagrangian."""
        return self.prior + self.combination(dual_coef)

    def combination(self, dual_coef: NDArray) -> NDArray:
        """Sum of beta_p T_p, as float64 whatever the operator works in.

        Raises
        ------
        OutOfRangeError
            If a number of it is not finite, so that no projection exists.
        """
        return self._in_range(self.operator.adjoint(dual_coef))

    def distances(self, matrix: NDArray) -> NDArray:
        """Squared distances of the pairs, as float64 whatever the operator works in.

        Raises
        ------
        OutOfRangeError
            If they leave the range of single precision. In double precision they are infinite, so
            that a step to this matrix does not help.
        """
        distances = self.operator.distances(matrix)
        return distances if self.is_double else self._in_range(distances)

    def _in_range(self, numbers):
        if not np.all(np.isfinite(numbers)):
            raise OutOfRangeError(OUT_OF_RANGE.format(self.operator.dtype))
        return numbers.astype(np.float64, copy=False)

    def penalty(self, matrix: NDArray) -> float:
        """Half the squared distance of a matrix to the prior."""
        return _half_squared_norm(matrix - self.prior)

    def tells_from_prior(self, point: PrimalPoint, gap: float) -> bool:
        """Whether a metric is further from the prior, in the objective, than the gap."""
        return gap < self.penalty(point.matrix)

    def primal_point(self, projection: Projection, distances: NDArray, shift: float) -> PrimalPoint:
        """Primal point of an allowed matrix whose distances are known, and of b - offset."""
        intercept = shift + self.offset
        # The same as the intercept that is returned, which has been rounded.
        shift = intercept - self.offset
        value = self.penalty(projection.matrix) + projection.value
        value += self._weighted_loss(distances + shift)
        return PrimalPoint(projection, distances, intercept, shift, value)

    def prior_point(self) -> PrimalPoint:
        """The projected prior with its best intercept: what it is like to learn nothing."""
        projection = self.projected_prior
        distances = self.distances(projection.matrix)
        # Without a pull, the best coefficients of a loss with corners would not be unique.
        pull = 0.0 if self.conjugate.is_strongly_convex else _EPS * self.spread / self.weights.max()
        shift = self.balanced(distances, 0.0, pull, 0.0)[0]
        return self.primal_point(projection, distances, shift)

    def dual_point(self, dual_coef: NDArray) -> DualPoint:
        """Dual point of feasible coefficients."""
        combination = self.combination(dual_coef)
        stationary = self.prior + combination
        projection = self.regularizer.project(stationary)
        value = self.smooth_dual(combination, projection) - self.conjugate.value(dual_coef)
        return DualPoint(dual_coef, combination, stationary, projection, value)

    def smooth_dual(self, combination: NDArray, projection: Projection) -> float:
        """1/2 norm(P - M0)^2 + R(P) - <D, P>, less what an inexact projection may lack."""
        product = float(np.vdot(combination, projection.matrix))
        return self.penalty(projection.matrix) + projection.value - product - projection.slack

    def _weighted_loss(self, predictions) -> float:
        return float(self.weights @ self.loss.value(predictions, self.targets))

    def _loss_rounding(self, predictions, errors) -> float:
        """Change of the weighted loss, at most, if each prediction is off by its error."""
        at, above, below = (
            self.loss.value(predictions + shift, self.targets) for shift in (0.0, errors, -errors)
        )
        return float(self.weights @ np.maximum(np.abs(above - at), np.abs(below - at)))

    def rounding(self, primal: PrimalPoint, dual: DualPoint) -> float:
        """Bound on the rounding error of the difference of two values.

        It is made of the rounding of the distances, which the operator knows; of that of sums, in
        proportion to the root of the number of terms; and of that of the eigenvalues, with its
        square. Else it is of first order.
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
        """Points of a result in double precision, for the samples as they were given.

        The distances are computed anew in any case: a solver may have updated them step by step.
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
        """Dual coefficients near the given ones that are in the box and have sum zero."""
        # So strong that all other terms are negligible. Coefficients are about as large as the
        # weights, times the errors if the loss is quadratic.
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
        """Proximal step of the dual coefficients that keeps the sum of all at zero.

        Parameters
        ----------
        distances : ndarray of shape (n_pairs,)
            Predicted distances without the intercept.
        center, penalty : ndarray of shape (n_pairs,) or float
            As in `proximal` of `Conjugate`.
        intercept : float
            Where the search for the intercept starts.
        conjugate : Conjugate or None, default=None
            That of the pairs in question, if these are some of all.
        others : float, default=0
            Sum of the dual coefficients of the other pairs.
        tolerance : float, default=1e-14
            Share of the sum of their sizes that may be left. Above the default, the free ones
            then move to where a linear step would balance all, inside their bounds.

        Returns
        -------
        intercept : float
            The b at which the sum is zero; 0 where no intercept is fitted.
        dual_coef, response : ndarray of shape (n_pairs,)
            As in `proximal` of `Conjugate`.
        """
        if conjugate is None:
            conjugate = self.conjugate
        if not self.fit_intercept:
            return 0.0, *conjugate.proximal(distances, center, penalty)
        # The sum falls as the intercept grows: intercept, sum and step on both sides of the root.
        below, above = None, None
        reach = self.spread
        for trial in range(200):
            dual_coef, response = conjugate.proximal(distances + intercept, center, penalty)
            excess = float(dual_coef.sum()) + others
            slope = float(response.sum())
            if abs(excess) <= tolerance * (np.abs(dual_coef).sum() + abs(others)):
                if tolerance > 1e-14 and slope > 0:
                    # Where the slope is nearly zero a linear step would be far too long.
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
            # A step must be long enough to cross the root, which is bracketed from both sides.
            step = math.copysign(max(step, resolution), excess)
            if below is None or above is None:
                # In the tail of a smooth loss Newton's steps are too short to cross the root.
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
        # The root is between two neighbouring numbers: mix the coefficients of both.
        share = below[1] / (below[1] - above[1])
        return intercept, (1 - share) * below[2] + share * above[2], response


def _half_squared_norm(matrix) -> float:
    """Half the squared Frobenius norm, summed in float64 whatever the matrix is in."""
    entries = matrix.ravel()
    return 0.5 * float(np.einsum("i,i->", entries, entries, dtype=np.float64))
