"""Losses for graded relations: costs of the difference of a distance and its relation."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions

from metricalign.losses.conjugates import Conjugate, PiecewiseQuadraticConjugate
from metricalign.losses.loss import Loss

__all__ = ["EpsilonInsensitive", "OneSided", "Squared", "SquaredEpsilonInsensitive"]


class EpsilonInsensitive(Loss):
    """Absolute error beyond a tube: max(0, abs(a - t) - epsilon).

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Half width of the tube, in units of the relation. "scale" is a tenth of the standard
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
        self._validate_params()
        epsilon = 0.1 * spread if self.epsilon == "scale" else self.epsilon
        return clone(self).set_params(epsilon=epsilon)

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        return np.maximum(np.abs(prediction - target) - self.epsilon, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        return PiecewiseQuadraticConjugate(target, float(self.epsilon), 0.0, -weight, weight)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        import cvxpy

        return weight @ cvxpy.pos(cvxpy.abs(prediction - target) - self.epsilon)


class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """Half the square of the error beyond a tube: max(0, abs(a - t) - epsilon)^2 / 2.

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Half width of the tube, in units of the relation. "scale" is a tenth of the standard
        deviation of the relations.

    Examples
    --------
    >>> import numpy as np
    >>> SquaredEpsilonInsensitive(epsilon=0.5).value(np.array([0.2, 2.5]), np.array([0.0, 0.0]))
    array([0., 2.])
    """

    degree = 2

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        return 0.5 * super().value(prediction, target) ** 2

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        unbounded = np.full_like(weight, np.inf, dtype=np.float64)
        return PiecewiseQuadraticConjugate(
            target, float(self.epsilon), 1 / weight, -unbounded, unbounded
        )

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
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
        return 0.5 * (prediction - target) ** 2

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        unbounded = np.full_like(weight, np.inf, dtype=np.float64)
        return PiecewiseQuadraticConjugate(target, 0.0, 1 / weight, -unbounded, unbounded)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        import cvxpy

        return weight @ cvxpy.square(prediction - target) / 2


class OneSided(EpsilonInsensitive):
    """Shortfall of a distance below its relation: max(0, t - epsilon - a).

    This is the loss of support vector regression with nonnegative dual coefficients. A pair whose
    relation is at most epsilon costs nothing, whatever its distance is.

    Parameters
    ----------
    epsilon : float or "scale", default="scale"
        Shortfall that costs nothing, in units of the relation. "scale" is a tenth of the
        standard deviation of the relations.

    Examples
    --------
    >>> import numpy as np
    >>> OneSided(epsilon=0.5).value(np.array([0.2, 2.0]), np.array([1.0, 1.0]))
    array([0.3, 0. ])
    """

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        return np.maximum(target - self.epsilon - prediction, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
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
        import cvxpy

        return weight @ cvxpy.pos(target - self.epsilon - prediction)
