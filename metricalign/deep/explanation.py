"""The explanation of a representation: maps of the information, with their errors and limits."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from numpy.typing import NDArray

__all__ = ["InformationExplanation"]


@dataclass(frozen=True)
class InformationExplanation:
    """What a representation knows of the parts of samples, in nats.

    All maps have a number for each sample and location: the shape is (n_samples, height, width),
    (n_samples, length) or (n_samples, n_columns), as the layer's output was.

    Parameters
    ----------
    total : ndarray of shape (n_samples, ...)
        What the representation knows of the location, at least 0.
    decision : ndarray of shape (n_samples, ...)
        The part of it that decides, between 0 and `total`.
    redundant : ndarray of shape (n_samples, ...)
        The rest, ``total - decision``, at least 0.
    total_error, decision_error, redundant_error : ndarray of shape (n_samples, ...)
        Their standard errors over the reference samples and, for the mean over the noise, of the
        line that foretells it, for the modules as they were trained. What another training would
        change is not in them.
    lower_bound, lower_bound_error : ndarray of shape (...)
        A lower bound of the mutual information of the representation and the location, over
        the explained samples, and its standard error. It may come out below 0.
    passed : ndarray of shape (n_samples, ...)
        What the bottleneck lets through at most.
    decision_kept, decision_kept_error : float
        Share of the decision that survives when only the decision-related part of all locations is
        kept: the sum over decisions of the smaller of the two probabilities, with and without the
        rest, in the mean of at most 32 samples; and its standard error.
    ceiling : float
        Largest value of `total` that could be found, the logarithm of the number of samples that
        are compared.
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
        """Upper bound of the information in what the bottleneck keeps, of shape (...).

        The mean of `passed` over the explained samples.
        """
        return self.passed.mean(axis=0)

    @property
    def is_at_ceiling(self) -> NDArray:
        """Where `total` is within log 2 of its ceiling, so that the truth may be far above it."""
        return self.total > self.ceiling - log(2)
