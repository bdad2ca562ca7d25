"""Neighbourhood alignment: a linear map under which random neighbours have similar targets.

The convex methods fit distances to relations. This method optimises the neighbours themselves, as
neighbourhood components analysis does, for every kind of target. The problem is not convex, so
there is no certificate. The search can start from a convex solution.
"""

from metricalign.learners.neighborhood.alignment import NeighborhoodAlignment
from metricalign.learners.neighborhood.losses import (
    NEIGHBORHOOD_LOSSES,
    ExpectedRelation,
    KernelRegression,
    LogLoss,
    NeighborhoodLoss,
)

__all__ = [
    "NEIGHBORHOOD_LOSSES",
    "ExpectedRelation",
    "KernelRegression",
    "LogLoss",
    "NeighborhoodAlignment",
    "NeighborhoodLoss",
]
