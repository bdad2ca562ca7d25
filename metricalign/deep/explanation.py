"""The explanation of a representation: maps of information, with their errors and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from numpy.typing import NDArray

__all__ = ["InformationExplanation"]


@dataclass(frozen=True)
class InformationExplanation:
    """The information of a representation about the parts of samples, in nats.

    All maps have a number for each sample and location: the shape is (n_samples, height, width),
    (n_samples, length) or (n_samples, n_columns), as the layer's output was.

    Parameters
    ----------
    total : ndarray of shape (n_samples, ...)
        Information of the representation about the location, at least 0.
    decision : ndarray of shape (n_samples, ...)
        The part of it that the decision needs, between 0 and `total`.
    redundant : ndarray of shape (n_samples, ...)
        The rest, ``total - decision``, at least 0.
    total_error, decision_error, redundant_error : ndarray of shape (n_samples, ...)
        Their standard errors over the reference samples. They include the error of the line that
        predicts the mean over the noise. They are those of the trained modules, and do not include
        how much another training would differ.
    lower_bound, lower_bound_error : ndarray of shape (...)
        A lower bound of the mutual information of the representation and the location, over the
        explained samples, and its standard error. The estimate may be below 0.
    passed : ndarray of shape (n_samples, ...)
        Upper bound of the information that the bottleneck lets pass.
    decision_kept, decision_kept_error : float
        Share of the decision that survives if only the decision-related part of all locations is
        kept, and its standard error. It is the sum over decisions of the smaller of the two
        probabilities with and without the rest, averaged over at most 32 samples.
    ceiling : float
        Largest possible value of `total`, the logarithm of the number of samples that are compared.
    """

    total: NDArray
    decision: NDArray
    redundant: NDArray
    total_error: NDArray
    decision_error: NDArray
    redundant_error: NDArray
    lower_bound: NDArray
    lower_bound_error: NDArray
    passed: NDArray
    decision_kept: float
    decision_kept_error: float
    ceiling: float

    @property
    def upper_bound(self) -> NDArray:
        """Upper bound of the information that the bottleneck keeps, of shape (...).

        It is the mean of `passed` over the explained samples.
        """
        return self.passed.mean(axis=0)

    @property
    def is_at_ceiling(self) -> NDArray:
        """Whether `total` is within log 2 of its ceiling, so that the truth may be far higher."""
        return self.total > self.ceiling - log(2)
