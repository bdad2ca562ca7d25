"""Regularizers: which matrices are allowed, and how much each of them costs.

A regularizer is defined by its proximal step, see `Regularizer`. Most regularizers are cones of
matrices. A matrix inside the cone costs nothing, and the proximal step is the projection onto it.
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
