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
from metricalign.learners.selection import MetricLearnerCV

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
    "MetricLearnerCV",
    "NeighborhoodAlignment",
    "RelationAlignment",
    "RelationAlignmentCV",
]
