"""Strategies that choose the pairs of samples to which a metric is fitted.

A strategy has the parameters of a scikit-learn estimator, and one method: ``select`` takes samples
and targets, and returns a :class:`PairSelection`. The distance of two samples with identical
features is zero under every metric, so no strategy returns them as a pair.
"""

from metricalign.pairs.combined import TransformedPairs, UnionPairs
from metricalign.pairs.drawn import AllPairs, RandomPairs
from metricalign.pairs.named import check_pairs, resolve_pairs
from metricalign.pairs.nearest import NearestClassPairs, NearestPairs
from metricalign.pairs.search import EuclideanSearch
from metricalign.pairs.selection import PairSelection

__all__ = [
    "AllPairs",
    "EuclideanSearch",
    "NearestClassPairs",
    "NearestPairs",
    "PairSelection",
    "RandomPairs",
    "TransformedPairs",
    "UnionPairs",
    "check_pairs",
    "resolve_pairs",
]
