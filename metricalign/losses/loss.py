"""The base class of losses."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from metricalign.losses.conjugates import Conjugate

__all__ = ["Loss"]


class Loss(BaseEstimator):
    """Base class of losses.

    A new loss is a subclass with `value`, `conjugate` and `degree`. For the reference solver it has
    `expression` too.

    Examples
    --------
    The absolute error, with the conjugate -t beta for abs(beta) <= weight:

    >>> import numpy as np
    >>> from metricalign.losses import Loss, PiecewiseQuadraticConjugate
    >>> from metricalign.testing import check_loss
    >>> class AbsoluteError(Loss):
    ...     degree = 1
    ...     is_shift_invariant = True
    ...
    ...     def value(self, prediction, target):
    ...         return np.abs(prediction - target)
    ...
    ...     def conjugate(self, target, weight):
    ...         return PiecewiseQuadraticConjugate(target, 0.0, 0.0, -weight, weight)
    >>> check_loss(AbsoluteError())
    """

    degree: ClassVar[int]
    """Degree of homogeneity. If distance, relation and epsilon are multiplied by s, the loss is
    multiplied by s**degree. It is 1 for losses that grow linearly, and 2 for quadratic ones."""

    is_shift_invariant: ClassVar[bool] = False
    """Whether the loss stays the same if a number is added to both prediction and target."""

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
            Loss of each pair, at least 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method value, as a loss must.")

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
            Conjugate over all pairs.

        Raises
        ------
        ValueError
            If the loss is not defined for these relations, or if no metric could be learned from
            them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method conjugate, as a loss must.")

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
            Sum over the pairs of weight times loss.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method expression, which solver='cvxpy' needs."
        )

    def resolved(self, spread: float) -> Loss:
        """Loss with every parameter a number.

        Parameters
        ----------
        spread : float
            Standard deviation of the relations, the unit of parameters that are "scale".

        Returns
        -------
        loss : Loss
            A copy of this loss in which "scale" is replaced by a number, or the loss itself.
        """
        return self
