"""Neighbourhood alignment: random neighbours whose targets are related, by a linear map.

The convex methods fit distances to relations; here the neighbours themselves are what is
optimised, as in neighbourhood components analysis, for every kind of target. The problem is not
convex, so there is no certificate; it can start from a convex solution.
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
