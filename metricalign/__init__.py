"""metricalign: learn a distance from any kind of target."""

from metricalign._version import __version__ as __version__
from metricalign.learners import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DiscriminantAlignment,
    DoubletSVM,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    MetricLearnerCV,
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)

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
