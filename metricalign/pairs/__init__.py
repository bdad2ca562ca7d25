"""Which pairs of samples a metric is fitted to.

A strategy is a small scikit-learn estimator with one method, ``select``, that turns
samples and targets into a :class:`PairSelection`. Two samples with identical features are
at distance zero under every metric, so no strategy ever returns them as a pair.
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
