"""The problem that every solver solves, and what it returns.

    min over M in K, b in B   1/2 norm(M - M0)^2 + sum_p weight_p loss(<M, T_p> + b, t_p)

    max over beta   -1/2 norm(P_K(S(beta)))^2 + 1/2 norm(M0)^2 - sum_p phi_p*(-beta_p)

with S(beta) = M0 + sum_p beta_p T_p, and sum beta = 0 if there is an intercept b. At the
optimum M = P_K(S(beta)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metricalign.cones import Cone, Projection
from metricalign.losses import ConjugateForm, Loss
from metricalign.operators import PairOperator

__all__ = ["AlignmentProblem", "SolverResult"]


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
    cone : Cone
        Where M may lie.
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

    def __init__(
        self,
        operator: PairOperator,
        relations: NDArray,
        weights: NDArray,
        loss: Loss,
        cone: Cone,
        fit_intercept: bool,
        prior: NDArray | None = None,
        basis: NDArray | None = None,
    ):
        self.basis = basis
        self.operator = operator
        self._n_passes_before = operator.n_passes
        self.relations = relations
        self.weights = weights
        self.loss = loss
        self.fit_intercept = fit_intercept
        if prior is None:
            prior = np.zeros(operator.matrix_shape, dtype=operator.dtype)
        self.prior = prior
        self.cone = cone.bound(operator, prior)
        self._half_squared_norm_of_prior = _half_squared_norm(prior)
        self.conjugate = loss.conjugate(relations, weights)
        self.spread = float(np.std(relations) or np.abs(relations).max() or 1.0)
        # The size of the terms of the objective, below whose rounding no gap can be told from zero.
        at_zero = float(weights @ loss.value(np.zeros_like(relations), relations))
        self.rounding = 1e-14 * (at_zero + self._half_squared_norm_of_prior)
        if fit_intercept and not (
            np.any(self.conjugate.lower < 0) and np.any(self.conjugate.upper > 0)
        ):
            raise ValueError(
                f"fit_intercept=True does not go with loss={loss!r} here: all pairs push their "
                "distances to the same side, which the intercept does alone, and M would be zero. "
                "Use fit_intercept=False, or pairs of both kinds."
            )

    def reweighted(self, factor: float) -> AlignmentProblem:
        """Problem with all weights, that is C, times a factor; operator passes count anew."""
        return self._over(self.operator, factor * self.weights, self.prior)

    @property
    def n_passes(self) -> float:
        """Operator applications for this problem."""
        return self.operator.n_passes - self._n_passes_before

    def in_double_precision(self) -> AlignmentProblem:
        """Problem of the same data whose bounds are free of single-precision rounding."""
        operator = self.operator.astype(np.float64)
        return self._over(operator, self.weights, self.prior.astype(np.float64))

    def _over(self, operator, weights, prior) -> AlignmentProblem:
        return AlignmentProblem(
            operator,
            self.relations,
            weights,
            self.loss,
            self.cone,
            self.fit_intercept,
            prior,
            self.basis,
        )

    def certify(self, result: SolverResult) -> None:
        """Evaluate the bounds of a result in double precision, if it was found in single."""
        if self.operator.dtype == np.float64 or result.dual_coef is None:
            return
        double = self.in_double_precision()
        matrix = result.matrix.astype(np.float64)
        result.primal = double.primal(matrix, double.distances(matrix), result.intercept)
        stationary = double.stationary_matrix(result.dual_coef)
        result.dual = double.dual(result.dual_coef, double.cone.project(stationary))

    def stationary_matrix(self, dual_coef: NDArray) -> NDArray:
        """S(beta), whose projection on the cone minimises the Lagrangian."""
        return self.prior + self.operator.adjoint(dual_coef)

    def distances(self, matrix: NDArray) -> NDArray:
        """Squared distances of the pairs, as float64 whatever the operator works in."""
        return self.operator.distances(matrix).astype(np.float64, copy=False)

    def primal(self, matrix: NDArray, distances: NDArray, intercept: float) -> float:
        """Primal objective of a matrix in the cone whose distances are known."""
        losses = self.loss.value(distances + intercept, self.relations)
        return self.penalty(matrix) + float(self.weights @ losses)

    def penalty(self, matrix: NDArray) -> float:
        """Half the squared distance of a matrix to the prior."""
        return _half_squared_norm(matrix - self.prior)

    def dual(self, dual_coef: NDArray, projection: Projection) -> float:
        """Dual objective of a feasible beta, or less, with the projection of S(beta)."""
        loss = self.conjugate.value(dual_coef)
        return self._half_squared_norm_of_prior - projection.conjugate - loss

    def feasible(self, dual_coef: NDArray) -> NDArray:
        """Dual coefficients near the given ones that are in the box and have sum zero."""
        # A pull so strong that nothing else counts: beta is of the size of the weights, times
        # that of the errors if the loss is quadratic.
        unit = 1.0 if self.conjugate.is_strongly_convex else self.spread
        stiffness = 1e10 * unit / self.weights.mean()
        return self.balanced(np.zeros_like(self.relations), dual_coef, stiffness, 0.0)[1]

    def balanced(
        self,
        distances: NDArray,
        center: NDArray | float,
        penalty: NDArray | float,
        intercept: float,
        conjugate: ConjugateForm | None = None,
        others: float = 0.0,
        tolerance: float = 1e-14,
    ) -> tuple[float, NDArray, NDArray]:
        """Proximal step of the dual coefficients that keeps the sum of all at zero.

        Parameters
        ----------
        distances : ndarray of shape (n_pairs,)
            Predicted distances without the intercept.
        center, penalty : ndarray of shape (n_pairs,) or float
            As in `ConjugateForm.proximal`.
        intercept : float
            Where the search for the intercept starts.
        conjugate : ConjugateForm or None, default=None
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
        dual_coef, is_free : ndarray of shape (n_pairs,)
            As in `ConjugateForm.proximal`.
        """
        if conjugate is None:
            conjugate = self.conjugate
        if not self.fit_intercept:
            return 0.0, *conjugate.proximal(distances, center, penalty)
        softness = conjugate.curvature + penalty
        # The sum falls as the intercept grows: intercept, sum and step on both sides of the root.
        below, above = None, None
        reach = self.spread
        for _ in range(200):
            dual_coef, is_free = conjugate.proximal(distances + intercept, center, penalty)
            excess = float(dual_coef.sum()) + others
            slope = float((is_free / softness).sum())
            if abs(excess) <= tolerance * (np.abs(dual_coef).sum() + abs(others)):
                if tolerance > 1e-14 and slope > 0:
                    dual_coef -= is_free * (excess / slope / softness)
                    dual_coef = conjugate.clipped(dual_coef)
                    intercept += excess / slope
                return intercept, dual_coef, is_free
            if excess > 0:
                below = (intercept, excess, dual_coef)
            else:
                above = (intercept, excess, dual_coef)
            resolution = 4 * math.ulp(max(abs(intercept), self.spread))
            step = abs(excess) / slope if slope > 0 else math.inf
            # A root is known from both sides: a step that rounding swallows would not cross it.
            step = math.copysign(max(step, resolution), excess)
            if below is None or above is None:
                intercept += min(max(step, -reach), reach)
                reach *= 2
                continue
            if above[0] - below[0] <= 2 * resolution:
                break
            inside = below[0] < intercept + step < above[0]
            intercept = float(intercept + step if inside else 0.5 * (below[0] + above[0]))
        if below is None or above is None:
            raise ValueError(
                f"No intercept balances the dual coefficients (it reached {intercept:.1e}, their "
                f"sum {excess:.1e}): distances or weights have left the range of numbers. Scale X, "
                "or choose a smaller C."
            )
        # Between neighbouring numbers: the mixture of both sides has sum zero to rounding.
        share = below[1] / (below[1] - above[1])
        return intercept, (1 - share) * below[2] + share * above[2], is_free


def _half_squared_norm(matrix) -> float:
    """Half the squared Frobenius norm, summed in float64 whatever the matrix is in."""
    entries = matrix.ravel()
    return 0.5 * float(np.einsum("i,i->", entries, entries, dtype=np.float64))


@dataclass
class SolverResult:
    """What a solve returns: the best metric and the best bound seen.

    Attributes
    ----------
    projection : Projection
        The one that found M of the best primal value.
    intercept : float
        b of the best primal value.
    dual_coef : ndarray of shape (n_pairs,)
        Feasible beta of the best dual value.
    primal, dual : float
        These values; the optimum lies between them.
    n_iter : int
        Iterations.
    n_passes : float
        Operator applications.
    history : list of (n_passes, primal, dual)
        After each iteration.
    stopped_by_callback : bool
        Whether a callback asked to stop.
    rounding : float
        Gaps up to here count as zero.
    """

    projection: Projection
    intercept: float = 0.0
    dual_coef: NDArray | None = None
    primal: float = np.inf
    dual: float = -np.inf
    n_iter: int = 0
    n_passes: float = 0.0
    history: list[tuple[float, float, float]] = field(default_factory=list)
    stopped_by_callback: bool = False
    rounding: float = np.finfo(float).tiny

    @property
    def matrix(self) -> NDArray:
        """M of the best primal value."""
        return self.projection.matrix

    @property
    def gap(self) -> float:
        """Absolute duality gap: a bound on primal minus optimum, at least 0."""
        return max(self.primal - self.dual, 0.0)

    @property
    def relative_gap(self) -> float:
        """Duality gap over the primal value."""
        return self.gap / max(abs(self.primal), self.rounding) if self.gap > self.rounding else 0.0

    def is_solved(self, problem: AlignmentProblem, tol: float) -> bool:
        """Whether the relative gap is `tol` or less, and tells M from the prior.

        Where M is so near to the prior that the gap does not, a hundredth of `tol` is asked for.
        """
        if not self.relative_gap <= tol:
            return False
        return self.gap < problem.penalty(self.matrix) or self.relative_gap <= tol / 100

    def improve_primal(self, primal: float, projection: Projection, intercept: float) -> None:
        """Keep a metric if it is the best so far."""
        if primal < self.primal:
            self.primal, self.projection, self.intercept = primal, projection, intercept

    def improve_dual(self, dual: float, dual_coef: NDArray) -> None:
        """Keep dual coefficients if their bound is the best so far."""
        if dual > self.dual:
            self.dual, self.dual_coef = dual, dual_coef

    def record(self, problem: AlignmentProblem, callback: Callable | None) -> None:
        """Close an iteration: count, remember the gap and tell the callback.

        Raises
        ------
        ValueError
            If the dual value is above the primal value, so that one of them is wrong.
        """
        self.n_iter += 1
        self.n_passes = problem.n_passes
        self.rounding = max(problem.rounding, np.finfo(float).tiny)
        if self.dual - self.primal > max(self.rounding, 1e-3 * abs(self.primal)):
            raise ValueError(
                f"The dual value {self.dual:.6g} is above the primal value {self.primal:.6g}, "
                f"which cannot be: the value and the conjugate of {problem.loss!r}, or the "
                f"projection of {problem.cone!r}, do not belong together."
            )
        self.history.append((self.n_passes, self.primal, self.dual))
        self.stopped_by_callback = bool(callback is not None and callback(self))
