"""Losses of the embedding distances of pairs, given their relations."""

from __future__ import annotations

from metricalign.deep.losses.alignment import AlignmentLoss
from metricalign.deep.losses.contrast import PairwiseCrossEntropyLoss, RankNContrastLoss
from metricalign.deep.losses.distances import squared_distances
from metricalign.deep.losses.layers import LayeredLoss, ProjectedLoss
from metricalign.deep.losses.loss import DeepLoss
from metricalign.deep.losses.ranking import ApproxNDCGLoss, SmoothAPLoss
from metricalign.deep.losses.soft_neighbors import SoftNeighborsLoss

__all__ = [
    "LOSSES",
    "AlignmentLoss",
    "ApproxNDCGLoss",
    "DeepLoss",
    "LayeredLoss",
    "PairwiseCrossEntropyLoss",
    "ProjectedLoss",
    "RankNContrastLoss",
    "SmoothAPLoss",
    "SoftNeighborsLoss",
    "squared_distances",
]

LOSSES: dict[str, type[DeepLoss]] = {
    "alignment": AlignmentLoss,
    "approx_ndcg": ApproxNDCGLoss,
    "pairwise_cross_entropy": PairwiseCrossEntropyLoss,
    "rank_n_contrast": RankNContrastLoss,
    "smooth_ap": SmoothAPLoss,
    "soft_neighbors": SoftNeighborsLoss,
}
"""The losses by name."""
