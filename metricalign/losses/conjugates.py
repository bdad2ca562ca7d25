"""Convex conjugates of the losses over all pairs. They make up the dual problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Conjugate", "LogisticConjugate", "PiecewiseQuadraticConjugate"]


class Conjugate:
    """The conjugate of a loss over all pairs, phi_p*(-beta_p).

    This class describes the interface of the objects that a loss returns. It holds no code. Each
    solver names the methods that it needs: all solvers need `value`, `proximal` and `bounds`,
    "newton" needs `restricted`, and "quasi_newton" needs `gradient` and `kink`.

    Attributes
    ----------
    bounds : tuple of ndarray of shape (n_pairs,)
        Smallest and largest beta at which the conjugate is finite. Infinite if there is no bound.
    is_strongly_convex : bool
        Whether the conjugate is curved everywhere, that is, whether the loss is smooth. Then
        `proximal` also takes a penalty of 0.
    kink : float
        Half the jump of the derivative at beta = 0. The derivative may jump nowhere else.

    Methods
    -------
    value(dual_coef)
        Sum over the pairs, for a beta inside its bounds.
    gradient(dual_coef)
        Derivative in each beta. Where the derivative jumps, the mean of both sides.
    proximal(prediction, center, penalty)
        The beta_p that minimise phi_p*(-beta) + beta prediction_p + penalty / 2
        (beta - center_p)^2, and the response of each: the speed at which beta_p falls as its
        prediction grows, a generalised derivative that is at least 0.
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
    """The conjugate of a loss that is piecewise linear or quadratic.

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
        Smallest and largest beta. Infinite if there is no bound.

    Examples
    --------
    The conjugate of (a - t)^2 / 2 at beta is beta^2 / 2 - t beta:

    >>> import numpy as np
    >>> from metricalign.losses import Squared
    >>> conjugate = Squared().conjugate(target=np.array([1.0]), weight=np.array([1.0]))
    >>> conjugate.value(np.array([3.0]))
    1.5
    """

    target: NDArray
    kink: float
    curvature: NDArray | float
    lower: NDArray
    upper: NDArray

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """Smallest and largest beta."""
        return self.lower, self.upper

    @property
    def is_strongly_convex(self) -> bool:
        """Whether the loss is smooth, that is, whether the conjugate is curved everywhere."""
        return bool(np.all(np.asarray(self.curvature) > 0))

    def restricted(self, subset: NDArray) -> PiecewiseQuadraticConjugate:
        """Conjugate over some of the pairs.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Indices of the pairs.

        Returns
        -------
        conjugate : PiecewiseQuadraticConjugate
            The conjugate over these pairs.
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
        """Sum over pairs of phi_p*(-beta_p), for a beta inside its bounds.

        Parameters
        ----------
        dual_coef : ndarray of shape (n_pairs,)
            Dual coefficients beta.

        Returns
        -------
        value : float
            The sum.
        """
        total = -(dual_coef @ self.target)
        if self.kink:
            total += self.kink * np.abs(dual_coef).sum()
        if np.any(self.curvature):
            total += 0.5 * np.sum(self.curvature * dual_coef**2)
        return float(total)

    def gradient(self, dual_coef: NDArray) -> NDArray:
        """Derivative in each beta. Where the derivative jumps, the mean of both sides.

        Parameters
        ----------
        dual_coef : ndarray of shape (n_pairs,)
            Dual coefficients beta.

        Returns
        -------
        gradient : ndarray of shape (n_pairs,)
            The derivatives.
        """
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
            The beta to which the penalty pulls.
        penalty : ndarray of shape (n_pairs,) or float
            Weight of the penalty. It may be 0 if the conjugate is curved. The minimiser is then
            minus the derivative of the loss.

        Returns
        -------
        dual_coef : ndarray of shape (n_pairs,)
            The minimiser.
        response : ndarray of shape (n_pairs,)
            The speed at which the minimiser falls as the prediction grows: 0 if it lies at a bound
            or at the kink at zero, and 1 / (curvature + penalty) otherwise.
        """
        pull = penalty * center
        pull += self.target
        pull -= prediction
        if self.kink:
            # Soft thresholding makes all values inside the tube 0.
            inside = np.minimum(pull, self.kink)
            pull -= np.maximum(inside, -self.kink, out=inside)
        softness = self.curvature + penalty
        pull /= softness
        # This is faster than np.clip, whose checks take longer than the work for few pairs.
        dual_coef = np.minimum(pull, self.upper)
        dual_coef = np.maximum(dual_coef, self.lower, out=dual_coef)
        is_free = dual_coef == pull
        if self.kink:
            is_free &= dual_coef != 0
        return dual_coef, is_free / softness


@dataclass
class LogisticConjugate(Conjugate):
    """The conjugate of the logistic loss: c (u log u + (1 - u) log(1 - u)) with u = t beta / c.

    It has no `gradient`, as that would be infinite at the bounds.

    Parameters
    ----------
    target : ndarray of shape (n_pairs,)
        Signs t of the pairs.
    weight : ndarray of shape (n_pairs,)
        Weights c of the pairs.

    Examples
    --------
    At half of its bound, a pair has u = 1/2 and the value -log(2):

    >>> import numpy as np
    >>> from metricalign.losses import Logistic
    >>> conjugate = Logistic().conjugate(target=np.array([1.0]), weight=np.array([1.0]))
    >>> round(conjugate.value(np.array([0.5])), 4)
    -0.6931
    """

    target: NDArray
    weight: NDArray
    is_strongly_convex = True

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """Smallest and largest beta."""
        end = self.target * self.weight
        return np.minimum(end, 0), np.maximum(end, 0)

    def restricted(self, subset: NDArray) -> LogisticConjugate:
        """Conjugate over some of the pairs.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Indices of the pairs.

        Returns
        -------
        conjugate : LogisticConjugate
            The conjugate over these pairs.
        """
        return LogisticConjugate(self.target[subset], self.weight[subset])

    def value(self, dual_coef: NDArray) -> float:
        """Sum over pairs of phi_p*(-beta_p), for a beta inside its bounds.

        Parameters
        ----------
        dual_coef : ndarray of shape (n_pairs,)
            Dual coefficients beta.

        Returns
        -------
        value : float
            The sum.
        """
        # Rounding may leave beta a little outside of its bounds.
        share = np.clip(self.target * dual_coef / self.weight, 0, 1)
        return -float(self.weight @ (special.entr(share) + special.entr(1 - share)))

    def proximal(
        self, prediction: NDArray, center: NDArray | float, penalty: NDArray | float
    ) -> tuple[NDArray, NDArray]:
        """Minimise phi_p*(-beta) + beta prediction_p + penalty / 2 (beta - center_p)^2.

        Newton's method finds the logit v of u. It solves v + s sigmoid(v) = w, with s = penalty c
        and w = penalty t center - t prediction. The left side increases with a slope from 1 to
        1 + s/4.

        Parameters
        ----------
        prediction : ndarray of shape (n_pairs,)
            Predicted distances, the intercept included.
        center : ndarray of shape (n_pairs,) or float
            The beta to which the penalty pulls.
        penalty : ndarray of shape (n_pairs,) or float
            Weight of the penalty, at least 0.

        Returns
        -------
        dual_coef : ndarray of shape (n_pairs,)
            The minimiser.
        response : ndarray of shape (n_pairs,)
            The speed at which the minimiser falls as the prediction grows.
        """
        pull = self.target * (penalty * center - prediction)
        stiffness = penalty * self.weight
        # The root lies between these, since the sigmoid is between 0 and 1.
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
