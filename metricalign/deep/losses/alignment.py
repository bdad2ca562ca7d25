"""The loss of distances that are not proportional to the relations."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

from sklearn.utils._param_validation import Interval
from torch import Tensor

from metricalign.deep.losses.loss import DeepLoss

__all__ = ["AlignmentLoss"]


class AlignmentLoss(DeepLoss):
    """Loss of squared distances that are not proportional to the relations.

    It is the mean over the pairs of

        1/4 (||f_i - f_j||^2 - g_ij)^2,   g_ij = largest_distance * relation_ij

    Parameters
    ----------
    largest_distance : float, default=4.0
        Squared distance that samples with the most different targets shall have. Squared distances
        in a normalised embedding are at most 4.

    References
    ----------
    L. Gu. "Hierarchical Relationship Alignment Metric Learning". arXiv 2103.15107, 2021.

    Examples
    --------
    >>> import torch
    >>> loss = AlignmentLoss(largest_distance=4.0)
    >>> loss(torch.tensor([3.0, 1.0]), torch.tensor([0.5, 0.0]))
    tensor(0.2500)
    """

    _parameter_constraints: ClassVar[dict] = {
        "largest_distance": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, largest_distance: float = 4.0):
        self.largest_distance = largest_distance

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        n_pairs = squared_distances.numel()
        if squared_distances.ndim == 2:
            n_pairs -= len(squared_distances)
        residuals = squared_distances - self.largest_distance * relations
        return residuals.square().sum() / (4 * n_pairs)
