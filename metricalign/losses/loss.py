"""What a loss has to offer."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from metricalign.losses.conjugates import Conjugate

__all__ = ["Loss"]


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
