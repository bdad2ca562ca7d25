"""Pairs of samples and their nearest neighbours."""

import warnings
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from metricalign.pairs.anchors import choose_anchors
from metricalign.pairs.identical import first_identical
from metricalign.pairs.search import (
    NEIGHBORS_CONSTRAINT,
    EuclideanSearch,
    can_be_moved,
    centred,
    first_of_each_row,
    nearest_eligible,
    nearest_other,
    nearest_same,
    own_neighbors,
)
from metricalign.pairs.selection import PairSelection, merge_directions, no_pairs
from metricalign.pairs.strategy import PairStrategy

__all__ = ["NearestClassPairs", "NearestPairs"]

# With `verbose`, the neighbours of so many samples are also sought exactly. This estimates the
# recall of an approximate search to about a hundredth.
_N_ANCHORS_OF_RECALL = 200


def _describe_shortage(parameter, wanted, n_found, available):
    """Say how many neighbours are missing, or return None if every sample has all."""
    short = n_found[n_found < wanted]
    if short.size == 0:
        return None
    fewest, most = short.min(), short.max()
    counts = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    affected = f"{short.size} of {n_found.size} samples"
    return f"{parameter}={wanted} but only {counts} {available} for {affected}"


def _warn_of_shortages(shortages, neighbors):
    shortages = [shortage for shortage in shortages if shortage is not None]
    if shortages:
        advice = "All that were found are used. Ask for fewer neighbours, or give more samples."
        if not isinstance(neighbors, EuclideanSearch):
            advice += " An approximate search can also miss samples that exist."
        warnings.warn(f"{'; '.join(shortages)}. {advice}", UserWarning, stacklevel=4)


def _print_search(strategy, neighbors, search, anchors, found, n_samples, n_given) -> None:
    """Print how neighbours were sought, and what share of them an approximate search found."""
    if isinstance(neighbors, EuclideanSearch):
        ways = getattr(neighbors, "n_queries_", {}).items()
        way = "exact, "
        way += "; ".join(f"{n:,} by {way}" for way, n in ways) or "by blocks on the workers"
    else:
        few = anchors[:: -(-len(anchors) // _N_ANCHORS_OF_RECALL)]
        exact = _keys_of(search(EuclideanSearch(), few), n_samples)
        share = np.isin(exact, _keys_of(found, n_samples)).mean() if len(exact) else 1.0
        way = f"by {strategy.neighbors!r}, which found {share:.1%} of those of {len(few)} samples"
    of_all = f", which stand for {n_given:,}" if n_samples < n_given else ""
    print(
        f"[{type(strategy).__name__}] neighbours of {len(anchors):,} of {n_samples:,} samples"
        f"{of_all}: {way}",
        flush=True,
    )


def _keys_of(found, n_samples):
    """Return one number for each pair of anchor and neighbour."""
    anchor, neighbor = found
    return anchor.astype(np.int64) * n_samples + neighbor


class _AnchoredPairs(PairStrategy):
    """Base class of strategies that pair anchors with their neighbours.

    Anchors and neighbours are chosen among candidates, by `choose_anchors`. A subclass searches for
    the neighbours in `_search`.
    """

    _parameter_constraints: ClassVar[dict] = {
        "neighbors": NEIGHBORS_CONSTRAINT,
        "max_anchors": [Interval(Integral, 1, None, closed="left"), None],
        "max_candidates": [Interval(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
    }

    def _select(self, X, y, weight, random_state) -> PairSelection:
        n_given = X.shape[0]
        classes = self._classes_of(y, n_given)
        considered, weight = choose_anchors(X, weight, self.max_candidates, classes)
        n_samples = len(considered)
        if n_samples < n_given:
            X, classes = X[considered], None if classes is None else classes[considered]
        neighbors = own_neighbors(self.neighbors, random_state)
        rows = first_identical(X)
        anchors, weight = choose_anchors(X, weight, self.max_anchors, classes)
        X = centred(X) if can_be_moved(neighbors) else X

        def search(neighbors, anchors):
            return self._search(X, classes, neighbors, rows, anchors)

        anchor, neighbor = search(neighbors, anchors)
        if self.verbose:
            found = anchor, neighbor
            _print_search(self, neighbors, search, anchors, found, n_samples, n_given)
        if anchor.size == 0:
            raise no_pairs(n_samples, self._reason_of_none(classes))
        if self.is_asked_for:
            shortages = self._shortages(classes, anchor, neighbor, anchors)
            _warn_of_shortages(shortages, neighbors)
        weight = weight[np.searchsorted(anchors, anchor)]
        indices, weight = merge_directions(anchor, neighbor, weight, n_samples)
        return PairSelection(considered[indices], weight)


class NearestPairs(_AnchoredPairs):
    """Pair samples with their nearest neighbours, whatever their targets.

    The choice for label sets, label distributions and numbers [1]_. Samples with identical
    features are never neighbours of each other, and do not count in `n_neighbors`.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours of each sample.
    neighbors : transformer, default=None
        How neighbours are searched: a transformer in the manner of
        :class:`~sklearn.neighbors.KNeighborsTransformer`, with a parameter ``n_neighbors``
        and ``mode="distance"``, exact or approximate such as
        :class:`~metricalign.neighbors.FaissTransformer`. It may return a sample as its own
        neighbour or not. A clone of it is fitted to some of the samples and searches them for
        neighbours of others. None: the exact Euclidean search of
        :class:`~metricalign.pairs.EuclideanSearch`.
    max_anchors : int or None, default=10000
        The largest number of samples whose neighbours are sought, among all that are considered.
        If there are more samples, this many stand for all, spread evenly over the order of their
        values, each with the weight of those that it stands for. None: no limit.
    max_candidates : int or None, default=200000
        The largest number of samples that are considered at all. If there are more, this many
        stand for all, spread in the same way, and the anchors and their neighbours come from
        them. None: no limit.
    verbose : bool, default=False
        Whether to print how neighbours were sought, and what share of them an approximate search
        found. A learner with ``verbose`` passes it on to its strategy.

    Notes
    -----
    The pair of a sample and its neighbour has the weight of the sample. Two samples that are
    neighbours of each other are one pair with the sum of both weights, which leaves the
    objective as it would be with two pairs. If several samples are equally distant, the
    search decides which are neighbours, and decides the same each time.

    Learners first take samples with the same features and target as one of greater weight. `select`
    does not: a neighbour that is there twice is two of `n_neighbors`, and one of weight 2 is one.

    References
    ----------
    .. [1] P. Zhu et al., "Beyond Similar and Dissimilar Relations: A Kernel Regression
       Formulation for Metric Learning", IJCAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import NearestPairs
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> indices, weights = NearestPairs(n_neighbors=1).select(X)
    >>> indices
    array([[0, 1],
           [1, 2]])
    >>> weights
    array([2., 1.])
    """

    _parameter_constraints: ClassVar[dict] = {
        **_AnchoredPairs._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        neighbors: Any = None,
        max_anchors: int | None = 10_000,
        max_candidates: int | None = 200_000,
        verbose: bool = False,
    ):
        self.n_neighbors = n_neighbors
        self.neighbors = neighbors
        self.max_anchors = max_anchors
        self.max_candidates = max_candidates
        self.verbose = verbose

    def _classes_of(self, y, n_samples) -> None:
        return None

    def _search(self, X, classes, neighbors, rows, anchors):
        candidates = first_of_each_row(np.arange(X.shape[0]), rows, self.n_neighbors)
        return nearest_eligible(X, anchors, candidates, self.n_neighbors, neighbors, rows)

    def _reason_of_none(self, classes):
        return ""

    def _shortages(self, classes, anchor, neighbor, anchors):
        n_found = _count_of_each(anchors, anchor)
        available = "other distinct samples"
        return [_describe_shortage("n_neighbors", self.n_neighbors, n_found, available)]


class NearestClassPairs(_AnchoredPairs):
    """Pair samples with the nearest of their own class and of the other classes.

    The choice for class labels [1]_ [2]_. Samples with identical features are never
    neighbours of each other, and do not count in `n_same` and `n_other`.

    Parameters
    ----------
    n_same : int, default=6
        The number of neighbours of each sample within its class. May be 0 if `n_other` is
        not.
    n_other : int, default=6
        The number of neighbours of each sample in all other classes together. May be 0 if
        `n_same` is not.
    neighbors : transformer, default=None
        How neighbours are searched: a transformer in the manner of
        :class:`~sklearn.neighbors.KNeighborsTransformer`, with a parameter ``n_neighbors``
        and ``mode="distance"``, exact or approximate such as
        :class:`~metricalign.neighbors.FaissTransformer`. It may return a sample as its own
        neighbour or not. A clone of it is fitted to some of the samples and searches them for
        neighbours of others. None: the exact Euclidean search of
        :class:`~metricalign.pairs.EuclideanSearch`.
    max_anchors : int or None, default=10000
        The largest number of samples whose neighbours are sought, among all that are considered.
        If there are more samples, this many stand for all, spread evenly over the classes and,
        within a class, over the order of their values, each with the weight of those that it
        stands for. None: no limit.
    max_candidates : int or None, default=200000
        The largest number of samples that are considered at all. If there are more, this many
        stand for all, spread in the same way, and the anchors and their neighbours come from
        them. None: no limit.
    verbose : bool, default=False
        Whether to print how neighbours were sought, and what share of them an approximate search
        found. A learner with ``verbose`` passes it on to its strategy.

    Notes
    -----
    The pair of a sample and its neighbour has the weight of the sample. Two samples that are
    neighbours of each other are one pair with the sum of both weights, which leaves the
    objective as it would be with two pairs. If several samples are equally distant, the
    search decides which are neighbours, and decides the same each time.

    Learners first take samples with the same features and target as one of greater weight. `select`
    does not: a neighbour that is there twice is two of `n_same` or `n_other`, and one of weight 2
    is one.

    References
    ----------
    .. [1] P. Zhu et al., "Beyond Similar and Dissimilar Relations: A Kernel Regression
       Formulation for Metric Learning", IJCAI 2018.
    .. [2] W. Zuo et al., "Distance Metric Learning via Iterated Support Vector Machines",
       arXiv:1502.00363.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import NearestClassPairs
    >>> X = np.array([[0.0], [1.0], [3.0], [9.0]])
    >>> y = np.array([0, 0, 1, 1])
    >>> indices, weights = NearestClassPairs(n_same=1, n_other=1).select(X, y)
    >>> indices
    array([[0, 1],
           [0, 2],
           [1, 2],
           [1, 3],
           [2, 3]])
    >>> weights
    array([2., 1., 2., 1., 2.])
    """

    _parameter_constraints: ClassVar[dict] = {
        **_AnchoredPairs._parameter_constraints,
        "n_same": [Interval(Integral, 0, None, closed="left")],
        "n_other": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_same: int = 6,
        n_other: int = 6,
        neighbors: Any = None,
        max_anchors: int | None = 10_000,
        max_candidates: int | None = 200_000,
        verbose: bool = False,
    ):
        self.n_same = n_same
        self.n_other = n_other
        self.neighbors = neighbors
        self.max_anchors = max_anchors
        self.max_candidates = max_candidates
        self.verbose = verbose

    def _classes_of(self, y, n_samples):
        if self.n_same == 0 and self.n_other == 0:
            raise ValueError(
                "The 'n_same' and 'n_other' parameters of NearestClassPairs are both 0, which "
                "leaves no pairs: at least one must be positive."
            )
        return _encode_classes(y, n_samples)

    def _search(self, X, classes, neighbors, rows, anchors):
        kinds = (nearest_same, self.n_same), (nearest_other, self.n_other)
        found = [
            nearest(X, classes, wanted, neighbors, rows, anchors)
            for nearest, wanted in kinds
            if wanted > 0
        ]
        return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))

    def _reason_of_none(self, classes):
        sought = "of one class" if self.n_other == 0 else "of different classes"
        if self.n_same and self.n_other:
            sought = "at all"
        return (
            f"with n_same={self.n_same} and n_other={self.n_other} there are no two distinct "
            f"samples {sought} among n_classes={classes.max(initial=-1) + 1}; "
        )

    def _shortages(self, classes, anchor, neighbor, anchors):
        is_same = classes[anchor] == classes[neighbor]
        return [
            _describe_shortage(parameter, wanted, _count_of_each(anchors, anchor[kept]), available)
            for parameter, wanted, kept, available in (
                ("n_same", self.n_same, is_same, "other distinct samples of the same class"),
                ("n_other", self.n_other, ~is_same, "distinct samples of other classes"),
            )
        ]


def _count_of_each(anchors, anchor):
    """Return how often each of the anchors is in a list of anchors."""
    return np.bincount(anchor, minlength=anchors.max() + 1)[anchors]


def _encode_classes(y, n_samples) -> np.ndarray:
    advice = (
        "Label sets, label distributions and numbers fit pairs='nearest' with a relation of "
        "their own; class labels have shape (n_samples,)."
    )
    shape = np.shape(y)
    if y is None or len(shape) != 1:
        given = "is None" if y is None else f"has shape {shape}"
        raise ValueError(
            f"NearestClassPairs needs one class label per sample, but y {given}. {advice}"
        )
    if shape != (n_samples,):
        raise ValueError(
            f"y must have one class label for each of {n_samples} samples; got {shape[0]} labels."
        )
    labels, classes = np.unique(y, return_inverse=True)
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise ValueError(f"NearestClassPairs needs class labels, but y is continuous. {advice}")
    return classes
