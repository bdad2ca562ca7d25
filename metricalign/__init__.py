"""metricalign: learn a distance from any kind of target."""

from metricalign.cross_validation import RelationAlignmentCV
from metricalign.discriminant import DiscriminantAlignment
from metricalign.ensemble import MetricEnsemble
from metricalign.gradient import GradientAlignment
from metricalign.iteration import IteratedMetricLearner
from metricalign.linear import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DoubletSVM,
    RelationAlignment,
)
from metricalign.neighborhood import NeighborhoodAlignment
from metricalign.selection import MetricLearnerCV

__version__ = "0.1.0.dev0"

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
