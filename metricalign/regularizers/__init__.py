"""Regularizers: which metrics are allowed, and at what price.

A regularizer is defined by its proximal step; see `Regularizer`. Most are cones of matrices: their
price is zero inside and infinite outside, and the step is the projection.
"""

from metricalign.regularizers.diagonal import Diagonal
from metricalign.regularizers.pair_matrices import PairMatrices
from metricalign.regularizers.regularizer import FactoredProjection, Projection, Regularizer
from metricalign.regularizers.spectral import (
    AbovePrior,
    PositiveSemidefinite,
    Shrinkage,
    SpectralRegularizer,
)
from metricalign.regularizers.symmetric import Symmetric

REGULARIZERS = {
    "symmetric": Symmetric,
    "positive_semidefinite": PositiveSemidefinite,
    "pair_matrices": PairMatrices,
    "diagonal": Diagonal,
    "above_prior": AbovePrior,
}
"""The regularizers by name."""

__all__ = [
    "REGULARIZERS",
    "AbovePrior",
    "Diagonal",
    "FactoredProjection",
    "PairMatrices",
    "PositiveSemidefinite",
    "Projection",
    "Regularizer",
    "Shrinkage",
    "SpectralRegularizer",
    "Symmetric",
]
