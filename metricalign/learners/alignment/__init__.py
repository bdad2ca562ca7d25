"""Relation alignment: a convex problem, and a thin class for each method of the papers."""

from metricalign.learners.alignment.cross_validation import RelationAlignmentCV
from metricalign.learners.alignment.docstrings import complete_docstring
from metricalign.learners.alignment.general import RelationAlignment
from metricalign.learners.alignment.hinge import NCML, PCML, DoubletSVM
from metricalign.learners.alignment.regression import PSDSVR, RAMLNCSVR, RAMLPCSVR, RAMLSVR
from metricalign.learners.alignment.ridge import RAMLKRR

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

for _method in (NCML, PCML, PSDSVR, RAMLKRR, RAMLNCSVR, RAMLPCSVR, RAMLSVR, DoubletSVM):
    complete_docstring(_method, RelationAlignment)
