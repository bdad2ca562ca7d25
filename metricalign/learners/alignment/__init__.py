"""Relation alignment: one convex problem, and one thin class for each method of the papers."""

from metricalign.learners.alignment.cross_validation import RelationAlignmentCV
from metricalign.learners.alignment.methods import (
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
