"""metricalign: learn a distance from any kind of target."""

from metricalign.cross_validation import RelationAlignmentCV
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

__version__ = "0.1.0.dev0"

__all__ = [
    "NCML",
    "PCML",
    "PSDSVR",
    "RAMLKRR",
    "RAMLNCSVR",
    "RAMLPCSVR",
    "RAMLSVR",
    "DoubletSVM",
    "RelationAlignment",
    "RelationAlignmentCV",
]
