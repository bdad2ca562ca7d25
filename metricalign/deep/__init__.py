"""Metric learning with networks, and what networks know: an extra over the linear metrics.

Needs PyTorch and skorch: ``pip install "metricalign[deep]"``.
"""

try:
    import skorch  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'metricalign.deep needs PyTorch and skorch ({error}): pip install "metricalign[deep]"'
    ) from error

from metricalign.deep.augmentations import (
    Augmentation,
    FeatureMasking,
    GaussianNoise,
    NearNeighbor,
    PixelNoise,
    RandomCrop,
    RandomShift,
    SwapNoise,
)
from metricalign.deep.explainer import InformationExplainer
from metricalign.deep.explanation import InformationExplanation
from metricalign.deep.hraml import HRAML
from metricalign.deep.information import (
    NWJ,
    SMILE,
    InfoNCE,
    MutualInformation,
    VariationalUpperBound,
)
from metricalign.deep.losses import (
    AlignmentLoss,
    ApproxNDCGLoss,
    DeepLoss,
    PairwiseCrossEntropyLoss,
    RankNContrastLoss,
    SmoothAPLoss,
    SoftNeighborsLoss,
)

__all__ = [
    "HRAML",
    "NWJ",
    "SMILE",
    "AlignmentLoss",
    "ApproxNDCGLoss",
    "Augmentation",
    "DeepLoss",
    "FeatureMasking",
    "GaussianNoise",
    "InfoNCE",
    "InformationExplainer",
    "InformationExplanation",
    "MutualInformation",
    "NearNeighbor",
    "PairwiseCrossEntropyLoss",
    "PixelNoise",
    "RandomCrop",
    "RandomShift",
    "RankNContrastLoss",
    "SmoothAPLoss",
    "SoftNeighborsLoss",
    "SwapNoise",
    "VariationalUpperBound",
]
