"""Cones: the set of matrices that a metric may be chosen from.

A cone is known by the projection on it; see `Cone` for what else a solver may ask.
"""

from metricalign.cones.cone import Cone, Projection
from metricalign.cones.diagonal import Diagonal
from metricalign.cones.pair_matrices import PairMatrices
from metricalign.cones.positive_semidefinite import AbovePrior, PositiveSemidefinite
from metricalign.cones.symmetric import Symmetric

CONES = {
    "symmetric": Symmetric,
    "positive_semidefinite": PositiveSemidefinite,
    "pair_matrices": PairMatrices,
    "diagonal": Diagonal,
    "above_prior": AbovePrior,
}
"""The cones by name."""

__all__ = [
    "CONES",
    "AbovePrior",
    "Cone",
    "Diagonal",
    "PairMatrices",
    "PositiveSemidefinite",
    "Projection",
    "Symmetric",
]
