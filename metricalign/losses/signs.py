"""Losses for relations that are +1 (different) or -1 (similar)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metricalign.losses.conjugates import (
    Conjugate,
    LogisticConjugate,
    PiecewiseQuadraticConjugate,
)
from metricalign.losses.loss import Loss

__all__ = ["Hinge", "Logistic"]


def _check_signs(target, name):
    """Refuse relations that are neither +1 nor -1."""
    if not np.all(np.abs(target) == 1):
        raise ValueError(
            f"The {name} loss needs relations that are +1 (different) or -1 (similar); got "
            f"relations from {target.min():.6g} to {target.max():.6g}. Use relation='class' "
            "if the targets are class labels; for graded relations use another loss, such as "
            "'epsilon_insensitive', as RAMLSVR and PSDSVR do."
        )


class Hinge(Loss):
    """Hinge loss max(0, 1 - t a), for relations that are +1 (different) or -1 (similar).

    Examples
    --------
    >>> import numpy as np
    >>> Hinge().value(np.array([0.5, 2.0]), np.array([1.0, -1.0]))
    array([0.5, 3. ])
    """

    degree = 1
    _parameter_constraints: ClassVar[dict] = {}

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        return np.maximum(1 - target * prediction, 0)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        _check_signs(target, "hinge")
        bound = target * weight
        return PiecewiseQuadraticConjugate(
            target, 0.0, 0.0, np.minimum(bound, 0), np.maximum(bound, 0)
        )

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        import cvxpy

        return weight @ cvxpy.pos(1 - cvxpy.multiply(target, prediction))


class Logistic(Loss):
    """Logistic loss log(1 + exp(-t a)), for relations that are +1 (different) or -1 (similar).

    It is minus the log-likelihood if exp(a) are the odds of a pair being different.

    Examples
    --------
    >>> import numpy as np
    >>> Logistic().value(np.array([0.0, 2.0]), np.array([1.0, -1.0])).round(4)
    array([0.6931, 2.1269])
    """

    degree = 1
    _parameter_constraints: ClassVar[dict] = {}

    def value(self, prediction: NDArray, target: NDArray) -> NDArray:
        return np.logaddexp(0, -target * prediction)

    def conjugate(self, target: NDArray, weight: NDArray) -> Conjugate:
        _check_signs(target, "logistic")
        return LogisticConjugate(target, weight)

    def expression(self, prediction: Any, target: NDArray, weight: NDArray) -> Any:
        import cvxpy

        return weight @ cvxpy.logistic(cvxpy.multiply(-target, prediction))
