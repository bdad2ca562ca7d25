"""metricalign: learn a distance from any kind of target."""

from metricalign._version import __version__ as __version__
from metricalign.features import PiecewiseLinearEncoder
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
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

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
    "MetricNeighborsClassifier",
    "MetricNeighborsRegressor",
    "NeighborhoodAlignment",
    "PiecewiseLinearEncoder",
    "RelationAlignment",
    "RelationAlignmentCV",
]
