"""Losses: how badly a predicted distance misses the relation of its pair.

With phi_p(a) = c_p loss(a, t_p), c_p the weight of pair p times C, a solver needs phi_p and
its convex conjugate. Every loss here is piecewise linear or quadratic, so the conjugate has
one form,

    phi_p*(-beta) = -target beta + insensitivity abs(beta) + curvature / 2 beta^2
    for lower <= beta <= upper, and infinity elsewhere,

and a loss is its value, its subgradient's opposite (through that form) and five numbers a
pair. See section 2 of the dual: Zhu et al., Beyond Similar and Dissimilar Relations, IJCAI 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions

__all__ = [
    "LOSSES",
    "ConjugateForm",
    "EpsilonInsensitive",
    "Hinge",
    "Loss",
    "OneSided",
    "Squared",
    "SquaredEpsilonInsensitive",
]


@dataclass
class ConjugateForm:
    """The conjugate of a loss over all pairs, phi_p*(-beta_p), as five arrays.

    Parameters
    ----------
    target : ndarray of shape (n_pairs,)
        Slope of -phi_p*(-beta) at zero.
    insensitivity : float
        Weight of abs(beta), at least 0.
    curvature : ndarray of shape (n_pairs,) or float
        Weight of beta^2 / 2, at least 0.
    lower, upper : ndarray of shape (n_pairs,)
        The box that beta lies in; infinite where there is no bound.
    """

    target: NDArray
    insensitivity: float
    curvature: NDArray | float
    lower: NDArray
    upper: NDArray

    @property
    def is_strongly_convex(self) -> bool:
        """Whether the loss is smooth, that is, the conjugate curved everywhere."""
        return bool(np.all(np.asarray(self.curvature) > 0))

    def restricted(self, subset: NDArray) -> ConjugateForm:
        """Conjugate over some of the pairs.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Which pairs.

        Returns
        -------
        conjugate : ConjugateForm
        """
        curvature = np.asarray(self.curvature)
        return ConjugateForm(
            self.target[subset],
            self.insensitivity,
            curvature[subset] if curvature.ndim else self.curvature,
            self.lower[subset],
            self.upper[subset],
        )

    def value(self, dual_coef: NDArray) -> float:
        """Sum over pairs of phi_p*(-beta_p), for a beta inside its box."""
        total = -(dual_coef @ self.target)
        if self.insensitivity:
            total += self.insensitivity * np.abs(dual_coef).sum()
        if np.any(self.curvature):
            total += 0.5 * np.sum(self.curvature * dual_coef**2)
        return float(total)

    def clipped(self, dual_coef: NDArray) -> NDArray:
        """Nearest coefficients inside the box."""
        # Two calls where np.clip would take longer for its arguments than for the pairs.
        clipped = np.minimum(dual_coef, self.upper)
        return np.maximum(clipped, self.lower, out=clipped)

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
        is_free : ndarray of bool of shape (n_pairs,)
            Where it lies neither at a bound nor at the kink at zero; there its derivative
            in the prediction is -1 / (curvature + penalty), elsewhere it is 0.
        """
        pull = penalty * center
        pull += self.target
        pull -= prediction
        if self.insensitivity:
            # soft thresholding, as the distance to the tube
            inside = np.minimum(pull, self.insensitivity)
            pull -= np.maximum(inside, -self.insensitivity, out=inside)
        pull /= self.curvature + penalty
        dual_coef = self.clipped(pull)
        is_free = dual_coef == pull
        if self.insensitivity:
            is_free &= dual_coef != 0
        return dual_coef, is_free


class Loss(BaseEstimator):
    """What a loss has to offer: its value, and the numbers of its conjugate.

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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
        """Conjugate of weight times the loss.

        Parameters
        ----------
        target : ndarray of shape (n_pairs,)
            Relations.
        weight : ndarray of shape (n_pairs,)
            Positive weights c_p of the pairs, C included.

        Returns
        -------
        conjugate : ConjugateForm
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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        return ConjugateForm(target, float(self.epsilon), 0.0, -weight, weight)

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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        unbounded = np.full_like(weight, np.inf)
        return ConjugateForm(target, float(self.epsilon), 1 / weight, -unbounded, unbounded)

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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
        """Conjugate of weight times the loss; see `Loss.conjugate`."""
        unbounded = np.full_like(weight, np.inf)
        return ConjugateForm(target, 0.0, 1 / weight, -unbounded, unbounded)

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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
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
        return ConjugateForm(target - self.epsilon, 0.0, 0.0, np.zeros_like(weight), weight)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.pos(target - self.epsilon - prediction)


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

    def conjugate(self, target: NDArray, weight: NDArray) -> ConjugateForm:
        """Conjugate of weight times the loss; see `Loss.conjugate`.

        Raises
        ------
        ValueError
            If a relation is neither +1 nor -1.
        """
        if not np.all(np.abs(target) == 1):
            raise ValueError(
                "The hinge loss needs relations that are +1 (different) or -1 (similar); got "
                f"relations from {target.min():.6g} to {target.max():.6g}. Use relation='class' "
                "if the targets are class labels; for graded relations use another loss, such as "
                "'epsilon_insensitive', as RAMLSVR and PSDSVR do."
            )
        bound = target * weight
        return ConjugateForm(target, 0.0, 0.0, np.minimum(bound, 0), np.maximum(bound, 0))

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        """Weighted sum in cvxpy; see `Loss.expression`."""
        import cvxpy

        return weight @ cvxpy.pos(1 - cvxpy.multiply(target, prediction))


LOSSES = {
    "epsilon_insensitive": EpsilonInsensitive,
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive,
    "squared": Squared,
    "one_sided": OneSided,
    "hinge": Hinge,
}
"""The losses by name."""
