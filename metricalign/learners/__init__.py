"""Every estimator that learns a metric."""

from metricalign.learners.alignment import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DoubletSVM,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.learners.discriminant import DiscriminantAlignment
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.learners.gradient import GradientAlignment
from metricalign.learners.iterated import IteratedMetricLearner
from metricalign.learners.neighborhood import NeighborhoodAlignment

__all__ = [
    "NCML",
    "PCML",
    "PSDSVR",
    "RAMLKRR",
    "RAMLNCSVR",
    "RAMLPCSVR",
    "RAMLSVR",
    "DiscriminantAlignment",
    "DoubletSVM",
    "GradientAlignment",
    "IteratedMetricLearner",
    "MetricEnsemble",
    "NeighborhoodAlignment",
    "RelationAlignment",
    "RelationAlignmentCV",
]
