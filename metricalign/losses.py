"""Losses: how badly a predicted distance misses the relation of its pair.

With phi_p(a) = c_p loss(a, t_p), c_p the weight of pair p times C, a solver needs phi_p and its
convex conjugate, as a function of the dual coefficient: phi_p*(-beta) = sup over a of
-beta a - phi_p(a).

Sources: the dual of relation alignment, Zhu et al., Beyond Similar and Dissimilar Relations, IJCAI
2018; logistic regression, Yu, Huang, Lin, Dual coordinate descent methods for logistic regression
and maximum entropy models, Machine Learning 85 (2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions

__all__ = [
    "LOSSES",
    "Conjugate",
    "EpsilonInsensitive",
    "Hinge",
    "Logistic",
    "Loss",
    "OneSided",
    "PiecewiseQuadraticConjugate",
    "Squared",
    "SquaredEpsilonInsensitive",
]


class Conjugate:
    """The conjugate of a loss over all pairs, phi_p*(-beta_p).

    A loss returns an object of this interface; the base class holds no code. Which of the methods
    are needed is for the solver to say: `value`, `proximal` and `bounds` are needed by all,
    `restricted` by "newton", `gradient` and `kink` by "quasi_newton".

    Attributes
    ----------
    bounds : tuple of ndarray of shape (n_pairs,)
        Smallest and largest beta at which it is finite; infinite where there is no bound.
    is_strongly_convex : bool
        Whether it is curved everywhere, that is, the loss is smooth; then `proximal` takes a
        penalty of 0.
    kink : float
        Half the jump of its derivative at beta = 0, the only place where it may have one.

    Methods
    -------
    value(dual_coef)
        Sum over the pairs, for a beta inside its bounds.
    gradient(dual_coef)
        Derivative in each beta; where it jumps, the mean of both sides.
    proximal(prediction, center, penalty)
        The beta_p that minimise phi_p*(-beta) + beta prediction_p + penalty / 2
        (beta - center_p)^2, and their response: how much each falls as its prediction grows, a
        generalised derivative that is at least 0.
    restricted(subset)
        The conjugate over some of the pairs.
    """

    if TYPE_CHECKING:
        bounds: Any
        is_strongly_convex: Any = None
        kink: float
        value: Callable[[NDArray], float]
        gradient: Callable[[NDArray], NDArray]
        proximal: Callable[..., tuple[NDArray, NDArray]]
        restricted: Callable[[NDArray], Conjugate]


@dataclass
class PiecewiseQuadraticConjugate(Conjugate):
    """The conjugate of a loss that is piecewise linear or quadratic, as five arrays.

        phi_p*(-beta) = -target beta + kink abs(beta) + curvature / 2 beta^2
        for lower <= beta <= upper, and infinity elsewhere.

    Parameters
    ----------
    target : ndarray of shape (n_pairs,)
        Slope of -phi_p*(-beta) at zero.
    kink : float
        Weight of abs(beta), at least 0.
    curvature : ndarray of shape (n_pairs,) or float
        Weight of beta^2 / 2, at least 0.
    lower, upper : ndarray of shape (n_pairs,)
        The box that beta lies in; infinite where there is no bound.
    """

    target: NDArray
    kink: float
    curvature: NDArray | float
    lower: NDArray
    upper: NDArray

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """The box that beta lies in."""
        return self.lower, self.upper

    @property
    def is_strongly_convex(self) -> bool:
        """Whether the loss is smooth, that is, the conjugate curved everywhere."""
        return bool(np.all(np.asarray(self.curvature) > 0))

    def restricted(self, subset: NDArray) -> PiecewiseQuadraticConjugate:
        """Conjugate over some of the pairs.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Which pairs.

        Returns
        -------
        conjugate : PiecewiseQuadraticConjugate
        """
        curvature = np.asarray(self.curvature)
        return PiecewiseQuadraticConjugate(
            self.target[subset],
            self.kink,
            curvature[subset] if curvature.ndim else self.curvature,
            self.lower[subset],
            self.upper[subset],
        )

    def value(self, dual_coef: NDArray) -> float:
        """Sum over pairs of phi_p*(-beta_p), for a beta inside its box."""
        total = -(dual_coef @ self.target)
        if self.kink:
            total += self.kink * np.abs(dual_coef).sum()
        if np.any(self.curvature):
            total += 0.5 * np.sum(self.curvature * dual_coef**2)
        return float(total)

    def gradient(self, dual_coef: NDArray) -> NDArray:
        """Derivative in each beta; where it jumps, the mean of both sides."""
        return self.curvature * dual_coef - self.target + self.kink * np.sign(dual_coef)

    def proximal(
        self, prediction: NDArray, center: NDArray | float, penalty: NDArray | float
    ) -> tuple[NDArray, NDArray]:
        """Minimise phi_p*(-beta) + beta prediction_p + penalty / 2 (beta - center_p)^2.

        Parameters
        ----------
        prediction : ndarray of shape (n_pairs,)
            Predicted distances, the intercept included.
        center : ndarray of shape (n_pairs,) or float
            Where beta is pulled to.
        penalty : ndarray of shape (n_pairs,) or float
            How strongly; 0 is allowed where the conjugate is curved, and the minimiser is
            then minus the derivative of the loss.

        Returns
        -------
        dual_coef : ndarray of shape (n_pairs,)
            The minimiser.
        response : ndarray of shape (n_pairs,)
            How much it falls as the prediction grows: 1 / (curvature + penalty) where it lies
            neither at a bound nor at the kink at zero, 0 elsewhere.
        """
        pull = penalty * center
        pull += self.target
        pull -= prediction
        if self.kink:
            # soft thresholding, as the distance to the tube
            inside = np.minimum(pull, self.kink)
            pull -= np.maximum(inside, -self.kink, out=inside)
        softness = self.curvature + penalty
        pull /= softness
        # Two calls where np.clip would take longer for its arguments than for the pairs.
        dual_coef = np.minimum(pull, self.upper)
        dual_coef = np.maximum(dual_coef, self.lower, out=dual_coef)
        is_free = dual_coef == pull
        if self.kink:
            is_free &= dual_coef != 0
        return dual_coef, is_free / softness


class Loss(BaseEstimator):
    """What a loss has to offer: its value and its conjugate.

    A new loss is a subclass with `value`, `conjugate` and `degree`; for the reference solver
    also `expression`.
    """

    degree: ClassVar[int]
    """Homogeneity: scaling distance, relation and epsilon by s scales the loss by s**degree."""

    is_shift_invariant: ClassVar[bool] = False
    """Whether a number added to both prediction and target leaves the loss as it is."""

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair.

        Parameters
        ----------
        prediction : ndarray of shape (n_pairs,)
            Predicted distances, the intercept included.
        target : ndarray of shape (n_pairs,)
            Relations.

        Returns
        -------
        loss : ndarray of shape (n_pairs,)
        """
        raise NotImplementedError

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss.

        Parameters
        ----------
        target : ndarray of shape (n_pairs,)
            Relations.
        weight : ndarray of shape (n_pairs,)
            Positive weights c_p of the pairs, C included.

        Returns
        -------
        conjugate : Conjugate
        """
        raise NotImplementedError

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum of the loss as a cvxpy expression, for the reference solver.

        Parameters
        ----------
        prediction : cvxpy expression of shape (n_pairs,)
            Predicted distances, the intercept included.
        target, weight : ndarray of shape (n_pairs,)
            Relations and weights.

        Returns
        -------
        loss : cvxpy expression
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method expression, which solver='cvxpy' needs."
        )

    def resolved(self, spread: float) -> Loss:
        """Loss with every parameter a number.

        Parameters
        ----------
        spread : float
            Standard deviation of the relations, for parameters that are in units of it.

        Returns
        -------
        loss : Loss
        """
        return self


class EpsilonInsensitive(Loss):
    """Absolute error beyond a tube: max(0, abs(a - t) - epsilon).

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Half width of the tube, in units of the relation; "scale" is a tenth of the standard
        deviation of the relations.

    Examples
    --------
    >>> import numpy as np
    >>> EpsilonInsensitive(epsilon=0.5).value(np.array([0.2, 2.0]), np.array([0.0, 0.0]))
    array([0. , 1.5])
    """

    degree = 1
    is_shift_invariant = True
    _parameter_constraints: ClassVar[dict] = {
        "epsilon": [Interval(Real, 0, None, closed="left"), StrOptions({"scale"})]
    }

    def __init__(self, epsilon: float | Literal["scale"] = "scale"):
        self.epsilon = epsilon

    def resolved(self, spread: float) -> Self:
        """Loss with epsilon a number; see `Loss.resolved`."""
        self._validate_params()
        epsilon = 0.1 * spread if self.epsilon == "scale" else self.epsilon
        return clone(self).set_params(epsilon=epsilon)

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return np.maximum(np.abs(prediction - target) - self.epsilon, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        return PiecewiseQuadraticConjugate(target, float(self.epsilon), 0.0, -weight, weight)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.pos(cvxpy.abs(prediction - target) - self.epsilon)


class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """Half the square of the error beyond a tube: max(0, abs(a - t) - epsilon)^2 / 2.

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Half width of the tube, in units of the relation; "scale" is a tenth of the standard
        deviation of the relations.

    Examples
    --------
    >>> import numpy as np
    >>> SquaredEpsilonInsensitive(epsilon=0.5).value(np.array([0.2, 2.5]), np.array([0.0, 0.0]))
    array([0., 2.])
    """

    degree = 2

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return 0.5 * super().value(prediction, target) ** 2

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        unbounded = np.full_like(weight, np.inf)
        return PiecewiseQuadraticConjugate(
            target, float(self.epsilon), 1 / weight, -unbounded, unbounded
        )

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.square(cvxpy.pos(cvxpy.abs(prediction - target) - self.epsilon)) / 2


class Squared(Loss):
    """Half the squared error: (a - t)^2 / 2.

    Examples
    --------
    >>> import numpy as np
    >>> Squared().value(np.array([0.0, 2.0]), np.array([0.0, 0.0]))
    array([0., 2.])
    """

    degree = 2
    is_shift_invariant = True
    _parameter_constraints: ClassVar[dict] = {}

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return 0.5 * (prediction - target) ** 2

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        unbounded = np.full_like(weight, np.inf)
        return PiecewiseQuadraticConjugate(target, 0.0, 1 / weight, -unbounded, unbounded)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.square(prediction - target) / 2


class OneSided(EpsilonInsensitive):
    """Shortfall of a distance below its relation: max(0, t - epsilon - a).

    The loss of support vector regression with nonnegative dual coefficients. A pair whose
    relation is at most epsilon has no part in it.

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Shortfall that costs nothing, in units of the relation; "scale" is a tenth of the
        standard deviation of the relations.

    Examples
    --------
    >>> import numpy as np
    >>> OneSided(epsilon=0.5).value(np.array([0.2, 2.0]), np.array([1.0, 1.0]))
    array([0.3, 0. ])
    """

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return np.maximum(target - self.epsilon - prediction, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`.

        Raises
        ------
        ValueError
            If epsilon is not below the largest relation.
        """
        if self.epsilon >= target.max():
            advice = "Decrease epsilon, or choose" if target.max() > 0 else "Choose"
            raise ValueError(
                f"epsilon={self.epsilon:.6g} is not below the largest relation, "
                f"{target.max():.6g}: the one-sided loss then asks no distance to be large, and M "
                f"would be zero. {advice} pairs with larger relations."
            )
        return PiecewiseQuadraticConjugate(
            target - self.epsilon, 0.0, 0.0, np.zeros_like(weight), weight
        )

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.pos(target - self.epsilon - prediction)


def _check_signs(target, name):
    """Refuse relations that do not say which of two kinds a pair is of."""
    if not np.all(np.abs(target) == 1):
        raise ValueError(
            f"The {name} loss needs relations that are +1 (different) or -1 (similar); got "
            f"relations from {target.min():.6g} to {target.max():.6g}. Use relation='class' "
            "if the targets are class labels; for graded relations use another loss, such as "
            "'epsilon_insensitive', as RAMLSVR and PSDSVR do."
        )


class Hinge(Loss):
    """Hinge loss max(0, 1 - t a) of relations that are +1 (different) or -1 (similar).

    Examples
    --------
    >>> import numpy as np
    >>> Hinge().value(np.array([0.5, 2.0]), np.array([1.0, -1.0]))
    array([0.5, 3. ])
    """

    degree = 1
    _parameter_constraints: ClassVar[dict] = {}

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return np.maximum(1 - target * prediction, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`.

        Raises
        ------
        ValueError
            If a relation is neither +1 nor -1.
        """
        _check_signs(target, "hinge")
        bound = target * weight
        return PiecewiseQuadraticConjugate(
            target, 0.0, 0.0, np.minimum(bound, 0), np.maximum(bound, 0)
        )

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.pos(1 - cvxpy.multiply(target, prediction))


class Logistic(Loss):
    """Logistic loss log(1 + exp(-t a)) of relations that are +1 (different) or -1 (similar).

    Minus the log-likelihood of the judgments where a pair is different with the odds exp(a).

    Examples
    --------
    >>> import numpy as np
    >>> Logistic().value(np.array([0.0, 2.0]), np.array([1.0, -1.0])).round(4)
    array([0.6931, 2.1269])
    """

    degree = 1
    _parameter_constraints: ClassVar[dict] = {}

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        """Loss of each pair; see `Loss.value`."""
        return np.logaddexp(0, -target * prediction)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        """Conjugate of weight times the loss; see `Loss.conjugate`.

        Raises
        ------
        ValueError
            If a relation is neither +1 nor -1.
        """
        _check_signs(target, "logistic")
        return LogisticConjugate(target, weight)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.logistic(cvxpy.multiply(-target, prediction))


@dataclass
class LogisticConjugate(Conjugate):
    """The conjugate of the logistic loss: c (u log u + (1 - u) log(1 - u)) with u = t beta / c.

    It has no `gradient`, which is infinite at the bounds.

    Parameters
    ----------
    target : ndarray of shape (n_pairs,)
        Signs t of the pairs.
    weight : ndarray of shape (n_pairs,)
        Weights c of the pairs.
    """

    target: NDArray
    weight: NDArray
    is_strongly_convex = True

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """The box that beta lies in."""
        end = self.target * self.weight
        return np.minimum(end, 0), np.maximum(end, 0)

    def restricted(self, subset: NDArray) -> LogisticConjugate:
        """Conjugate over some of the pairs; see `Conjugate`."""
        return LogisticConjugate(self.target[subset], self.weight[subset])

    def value(self, dual_coef: NDArray) -> float:
        """Sum over pairs of phi_p*(-beta_p); see `Conjugate`."""
        # Rounding may leave beta a little outside of its bounds.
        share = np.clip(self.target * dual_coef / self.weight, 0, 1)
        return -float(self.weight @ (special.entr(share) + special.entr(1 - share)))

    def proximal(
        self, prediction: NDArray, center: NDArray | float, penalty: NDArray | float
    ) -> tuple[NDArray, NDArray]:
        """Minimiser and response, see `Conjugate`: Newton's method on the logit of u.

        The logit v solves v + s sigmoid(v) = w, with s = penalty c and
        w = penalty t center - t prediction: an increasing function with a slope from 1 to 1 + s/4.
        """
        pull = self.target * (penalty * center - prediction)
        stiffness = penalty * self.weight
        # The root lies between these, as the sigmoid is between 0 and 1.
        low, high = pull - stiffness, pull + 0 * stiffness
        logit = 0.5 * (low + high)
        for _ in range(100):
            share = special.expit(logit)
            excess = logit + stiffness * share - pull
            low, high = np.where(excess < 0, logit, low), np.where(excess < 0, high, logit)
            step = logit - excess / (1 + stiffness * share * (1 - share))
            following = np.where((step > low) & (step < high), step, 0.5 * (low + high))
            is_done = np.abs(following - logit) <= 4e-16 * np.abs(logit)
            logit = following
            if np.all(is_done):
                break
        share = special.expit(logit)
        curved = share * special.expit(-logit)
        return self.target * self.weight * share, self.weight * curved / (1 + stiffness * curved)


LOSSES = {
    "epsilon_insensitive": EpsilonInsensitive,
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive,
    "squared": Squared,
    "one_sided": OneSided,
    "hinge": Hinge,
    "logistic": Logistic,
}
"""The losses by name."""
