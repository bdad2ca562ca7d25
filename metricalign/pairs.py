"""Which pairs of samples a metric is fitted to.

A strategy is a small scikit-learn estimator with one method, ``select``, that turns
samples and targets into a :class:`PairSelection`. Two samples with identical features are
at distance zero under every metric, so no strategy ever returns them as a pair.
"""

import os
import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from metricalign.relations import CLASSES

__all__ = [
    "AllPairs",
    "EuclideanSearch",
    "NearestClassPairs",
    "NearestPairs",
    "PairSelection",
    "RandomPairs",
    "RemoteSamples",
    "TransformedPairs",
    "UnionPairs",
    "centred",
    "check_pairs",
    "first_identical",
    "machine_memory",
    "merge_identical_samples",
    "resolve_pairs",
]

Samples: TypeAlias = np.ndarray | sparse.spmatrix | sparse.sparray
RandomState: TypeAlias = int | np.random.RandomState | None

# Rows compared, and entries of a neighbour graph sorted, at a time: they bound the memory.
_ROWS_AT_A_TIME = 4096
_ENTRIES_AT_A_TIME = 2**22

# Up to so many distances, all of them cost less than setting up scikit-learn's search.
_SMALL_SEARCH = 2**18

# Products of samples tell a distance, of this share of their length, to four digits.
_COARSE_DISTANCE = 1.5e-6

# The peak while all pairs are listed, sorted and weighted, as tracemalloc measured it.
_BYTES_PER_PAIR = 48

# Rows whose median is the middle of all: more would not make it better.
_ROWS_OF_MIDDLE = 1000

# Metrics of scikit-learn's searches that only see differences of samples.
_METRICS_OF_DIFFERENCES = (
    "chebyshev",
    "cityblock",
    "euclidean",
    "l1",
    "l2",
    "manhattan",
    "minkowski",
    "p",
    "sqeuclidean",
)

# Random pairs per sample: as many as the default nearest neighbours.
_RANDOM_PAIRS_PER_SAMPLE = 5

_NEIGHBORS_CONSTRAINT = [HasMethods(["fit", "transform", "get_params", "set_params"]), None]


class PairSelection(NamedTuple):
    """Pairs of samples and how much each counts.

    Parameters
    ----------
    indices : ndarray of shape (n_pairs, 2), dtype intp
        The two samples of each pair, the smaller index first. The rows are unique and in
        lexicographic order.
    weights : ndarray of shape (n_pairs,), dtype float64
        The weight of each pair.
    """

    indices: np.ndarray
    weights: np.ndarray


class RemoteSamples(ABC):
    """Samples that are not in this process, and what strategies ask of them.

    Attributes
    ----------
    dtype : dtype
        float32 or float64.
    largest : float
        Largest absolute value of an entry.
    """

    dtype: np.dtype
    largest: float

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of samples and of features."""

    @abstractmethod
    def __getitem__(self, rows: np.ndarray) -> "RemoteSamples":
        """Some of the samples, by number."""

    @abstractmethod
    def first_identical(self) -> np.ndarray:
        """Find for each sample the first that equals it, as :func:`first_identical` does."""

    @abstractmethod
    def order_keys(self) -> np.ndarray:
        """Compute the number that samples are sorted by, one for each."""

    @abstractmethod
    def neighbor_search(self, neighbors: Any) -> Any:
        """Make a transformer of such samples to their neighbours from one of arrays, or None."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "The samples are not in memory, but spread over workers. Choose the pairs by an "
            "object of metricalign.pairs other than TransformedPairs, or give an array of pairs."
        )


def _batches(size: int, step: int):
    return (slice(start, start + step) for start in range(0, size, step))


# Identical samples


def first_identical(X: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Find for each row the first row that equals it.

    Rows are grouped by hash and then compared, so the answer is exact and needs no second
    copy of X, and much less time than sorting the rows.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features), or ndarray of shape (n_samples,)
        The rows; one column may be of strings. 0.0 and -0.0 are equal. Sparse X must be sorted
        and store neither duplicates nor zeros.

    Returns
    -------
    first : ndarray of int of shape (n_samples,)
        Index of the first row that equals it, its own if there is none before.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import first_identical
    >>> first_identical(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]]))
    array([0, 1, 0])
    """
    if isinstance(X, RemoteSamples):
        return X.first_identical()
    if X.ndim == 1:
        _, first, inverse = np.unique(X, return_index=True, return_inverse=True)
        return first[inverse]
    keys = _hash_rows(X)
    first = np.arange(X.shape[0])
    pending = first.copy()
    while pending.size:  # a second round only for rows that differ and share a hash
        _, leaders, inverse = np.unique(keys[pending], return_index=True, return_inverse=True)
        leaders = pending[leaders][inverse]
        equal = leaders == pending
        others = np.flatnonzero(~equal)
        for batch in _batches(others.size, _ROWS_AT_A_TIME):
            rows = others[batch]
            differs = X[pending[rows]] != X[leaders[rows]]
            equal[rows] = np.asarray(differs.sum(axis=1)).ravel() == 0
        first[pending[equal]] = leaders[equal]
        pending = pending[~equal]
    return first


def _hash_rows(X) -> np.ndarray:
    keys = np.empty(X.shape[0], dtype=np.int64)
    if sparse.issparse(X):
        for row, (start, stop) in enumerate(zip(X.indptr[:-1], X.indptr[1:], strict=True)):
            keys[row] = hash((X.indices[start:stop].tobytes(), X.data[start:stop].tobytes()))
        return keys
    for batch in _batches(X.shape[0], _ROWS_AT_A_TIME):
        block = np.ascontiguousarray(X[batch] + 0.0)  # the sum turns -0.0 into 0.0
        row_bytes = block.view(np.dtype((np.void, block.itemsize * block.shape[1])))
        keys[batch] = [hash(row) for row in row_bytes.ravel().tolist()]
    return keys


def _canonical(X):
    """Return dense X as an array, sparse X as sorted CSR without duplicates or zeros."""
    if isinstance(X, RemoteSamples):
        return X
    if not sparse.issparse(X):
        return np.asarray(X)
    X = X.tocsr(copy=True)
    X.sum_duplicates()
    X.eliminate_zeros()
    return X


def merge_identical_samples(
    X: ArrayLike | sparse.spmatrix | sparse.sparray,
    y: ArrayLike | sparse.spmatrix | sparse.sparray | None,
    sample_weight: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Take samples with identical features and targets as one sample of greater weight.

    Repeating a sample is then exactly the same as giving it an integer weight, and leaving
    it out the same as weight zero.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The features. ``0.0`` equals ``-0.0``, and in sparse data an entry that is not
        stored.
    y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_outputs), or None
        The targets: one column of labels or numbers, or several of numbers. None: the
        features alone decide.
    sample_weight : array-like of shape (n_samples,), default=None
        Nonnegative weights. None: each sample has weight 1.

    Returns
    -------
    representatives : ndarray of shape (n_distinct,), dtype intp
        For each distinct sample of positive weight its first occurrence, in ascending order.
    weight : ndarray of shape (n_distinct,), dtype float64
        The sum of the weights of the samples that each representative stands for.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or if none is positive.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import merge_identical_samples
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    >>> representatives, weight = merge_identical_samples(X, [0, 0, 0, 1])
    >>> representatives
    array([0, 1, 3])
    >>> weight
    array([2., 1., 1.])
    """
    X = _canonical(X)
    n_samples = X.shape[0]
    weight = _check_weight(sample_weight, n_samples)
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative.")
    kept = np.flatnonzero(weight)
    if kept.size == 0:
        raise ValueError(
            "No sample has a positive sample_weight, so there is nothing to fit. "
            "Give at least two samples a positive weight."
        )
    identity = first_identical(X).astype(np.int64)
    if y is not None:
        identity = identity * n_samples + first_identical(_canonical(y))
    _, first, inverse = np.unique(identity[kept], return_index=True, return_inverse=True)
    order = np.argsort(first)
    return kept[first[order]], np.bincount(inverse, weights=weight[kept])[order]


# Nearest samples


def centred(
    X: ArrayLike | sparse.spmatrix | sparse.sparray, sample_weight: ArrayLike | None = None
) -> Any:
    """Move samples to the origin, so that no common offset costs their differences digits.

    A search takes distances from products of samples, and a linear map products of features:
    both are rounded as coarsely as the samples are large. The median is in the middle of the
    samples even where a few lie far out.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples. Sparse ones and those of Dask stay as they are.
    sample_weight : array-like of shape (n_samples,), default=None
        Samples of weight 0 have no part in the median.

    Returns
    -------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples less one number for each feature, as floats.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import centred
    >>> centred(np.array([[7, 1000], [8, 1001], [9, 1003]], dtype=np.uint16))
    array([[-1., -1.],
           [ 0.,  0.],
           [ 1.,  2.]])
    """
    if sparse.issparse(X) or isinstance(X, RemoteSamples):
        return X
    X = np.asarray(X)
    X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    return X - middle_of(X if sample_weight is None else X[np.asarray(sample_weight) > 0])


def middle_of(X: Any) -> Any:
    """Median of dense samples, as float32 or float64, and 0 for all others."""
    if sparse.issparse(X) or isinstance(X, RemoteSamples):
        return 0
    return np.median(X[:: max(1, len(X) // _ROWS_OF_MIDDLE)], axis=0)


def sees_only_differences(metric: Any) -> bool:
    """Whether a metric of scikit-learn's searches does not change when all samples are moved."""
    return isinstance(metric, str) and metric in _METRICS_OF_DIFFERENCES


def can_be_moved(neighbors: Any) -> bool:
    """Whether a search, ours if it is None, finds the same neighbours when all samples move."""
    return neighbors is None or sees_only_differences(neighbors.get_params().get("metric"))


def rank_within(groups: np.ndarray) -> np.ndarray:
    """Return for each element how many earlier elements belong to the same group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    ranks = np.empty(groups.size, dtype=np.intp)
    ranks[order] = np.arange(groups.size) - np.searchsorted(ordered, ordered)
    return ranks


def _count_equal(labels: np.ndarray, anchors: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return for each anchor the number of candidates that have its label."""
    ordered = np.sort(labels[candidates])
    wanted = labels[anchors]
    first = np.searchsorted(ordered, wanted, "left")
    return np.asarray(np.searchsorted(ordered, wanted, "right") - first)


def _nearest_eligible(X, anchors, candidates, n_neighbors, neighbors, rows, classes=None):
    """Find for each anchor the nearest candidates that are eligible for it.

    A candidate is eligible when its features differ from the anchor's and, where classes
    are given, its class differs too. An anchor gets `n_neighbors` of them, or all if there
    are no more. The search returns ineligible samples too, the anchor itself among them,
    so those anchors that still lack neighbours are searched again for more.

    Parameters
    ----------
    X : {ndarray, CSR} of shape (n_samples, n_features)
    anchors, candidates : ndarray of int
        Indices of samples.
    n_neighbors : int
    neighbors : transformer or None
        Ours to change.
    rows : ndarray of shape (n_samples,)
        Equal for samples with identical features.
    classes : ndarray of shape (n_samples,), default=None

    Returns
    -------
    anchor, neighbor : ndarray of shape (n_found,)
        Indices of samples.
    """

    def eligible(anchor, candidate):
        allowed = rows[anchor] != rows[candidate]
        if classes is not None:
            allowed &= classes[anchor] != classes[candidate]
        return allowed

    n_eligible = candidates.size - _count_equal(rows, anchors, candidates)
    if classes is not None:
        n_eligible -= _count_equal(classes, anchors, candidates)
        n_eligible += _count_equal(rows * (classes.max() + 1) + classes, anchors, candidates)

    needs_no_search = n_eligible <= n_neighbors
    takes_all = anchors[needs_no_search]
    anchor, candidate = np.nonzero(eligible(takes_all[:, None], candidates))
    found = [(takes_all[anchor], candidates[candidate])]

    if isinstance(X, RemoteSamples):
        neighbors = X.neighbor_search(neighbors)
    elif neighbors is None:
        neighbors = EuclideanSearch()
    pending = anchors[~needs_no_search]
    n_asked = n_neighbors + 1  # the anchor itself is often returned and counted
    while pending.size:
        # More is not needed: a pending anchor has more eligible candidates than it takes.
        n_asked = min(n_asked, candidates.size - 1)
        neighbors.set_params(n_neighbors=n_asked).fit(X[candidates])
        lacking = []
        for batch in _batches(pending.size, max(1, _ENTRIES_AT_A_TIME // n_asked)):
            asked = pending[batch]
            query, candidate, distance = search_neighbors(neighbors, X[asked], candidates.size)
            keep = eligible(asked[query], candidates[candidate])
            query, candidate, distance = query[keep], candidate[keep], distance[keep]
            order = np.lexsort((candidate, distance, query))
            query, candidate = query[order], candidate[order]
            done = np.bincount(query, minlength=asked.size) >= n_neighbors
            done |= n_asked == candidates.size - 1
            take = done[query] & (rank_within(query) < n_neighbors)
            found.append((asked[query[take]], candidates[candidate[take]]))
            lacking.append(asked[~done])
        pending = np.concatenate(lacking)
        n_asked *= 4  # a search costs more for being repeated than for a longer answer
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


def search_neighbors(neighbors: Any, X: Samples, n_candidates: int) -> tuple[np.ndarray, ...]:
    """Return the entries of the neighbour graph: row of X, candidate and distance."""
    graph = neighbors.transform(X)
    if not sparse.issparse(graph) or graph.shape != (X.shape[0], n_candidates):
        raise ValueError(
            f"The 'neighbors' parameter must transform samples to a sparse graph of distances "
            f"of shape {(X.shape[0], n_candidates)}, one column per fitted sample; "
            f"{type(neighbors).__name__} returned {type(graph).__name__} of shape "
            f"{np.shape(graph)}."
        )
    graph = graph.tocoo()
    return graph.row, graph.col, graph.data


class EuclideanSearch(BaseEstimator):
    """The exact search, as a transformer in the manner of KNeighborsTransformer.

    It goes by products of samples, which is fast. Where these are too coarse to tell the
    neighbours apart, as those of two far groups are, it goes by differences.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours; one more is found, as a sample may be its own.
    """

    def __init__(self, n_neighbors: int = 5):
        self.n_neighbors = n_neighbors

    def fit(self, X):
        """Keep the samples among which neighbours are sought."""
        self.samples_ = X
        return self

    def transform(self, X) -> sparse.csr_array:
        """Graph of the distances to the nearest samples."""
        shape = X.shape[0], self.samples_.shape[0]
        distances, columns = self._by_products(X)
        if not sparse.issparse(X):
            lengths = np.linalg.norm(X, axis=1)
            is_coarse = distances.max(axis=1) < _COARSE_DISTANCE * lengths
            if is_coarse.any():
                search = NearestNeighbors(n_neighbors=self.n_neighbors + 1, algorithm="kd_tree")
                found = search.fit(self.samples_).kneighbors(X[is_coarse])
                distances[is_coarse], columns[is_coarse] = found
        ends = np.arange(0, distances.size + 1, distances.shape[1])
        return sparse.csr_array((distances.ravel(), columns.ravel(), ends), shape=shape)

    def _by_products(self, X):
        if X.shape[0] * self.samples_.shape[0] > _SMALL_SEARCH:
            search = NearestNeighbors(n_neighbors=self.n_neighbors + 1).fit(self.samples_)
            return search.kneighbors(X)
        distances = euclidean_distances(X, self.samples_)
        columns = np.argpartition(distances, self.n_neighbors, axis=1)[:, : self.n_neighbors + 1]
        return np.take_along_axis(distances, columns, axis=1), columns


def _first_of_each_row(candidates, rows, limit):
    """Keep at most `limit` candidates with identical features: no anchor can use more."""
    return candidates[rank_within(rows[candidates]) < limit]


def _own_neighbors(neighbors, random_state):
    """Return a copy of the transformer that is ours to fit, seeded if it is random."""
    if neighbors is None:
        return None
    neighbors = clone(neighbors)
    parameters = neighbors.get_params()
    name = type(neighbors).__name__
    if "n_neighbors" not in parameters:
        raise ValueError(
            f"The 'neighbors' parameter must be a transformer with a parameter n_neighbors, "
            f"such as KNeighborsTransformer(); {name} has none."
        )
    if parameters.get("mode", "distance") != "distance":
        raise ValueError(
            f"The 'neighbors' parameter must give distances: set mode='distance'. "
            f"Got {name} with mode={parameters['mode']!r}."
        )
    if parameters.get("random_state", 0) is None:
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        neighbors.set_params(random_state=seed)
    return neighbors


def _describe_shortage(parameter, wanted, n_found, available):
    """Return what is missing in words, or None if every sample has what was asked for."""
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
        advice = "All that were found are used; ask for fewer or give more samples."
        if neighbors is not None:
            advice += " An approximate search can also miss samples that exist."
        warnings.warn(f"{'; '.join(shortages)}. {advice}", UserWarning, stacklevel=3)


# Pairs and weights


def _check_weight(sample_weight, n_samples: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n_samples)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one weight per sample; "
            f"it has shape {weight.shape}."
        )
    return weight


def _merge_directions(anchor, neighbor, weight, n_samples) -> PairSelection:
    """Merge (i, j) and (j, i) into one pair whose weight is their sum."""
    key = np.minimum(anchor, neighbor).astype(np.int64) * n_samples + np.maximum(anchor, neighbor)
    key, inverse = np.unique(key, return_inverse=True)
    return PairSelection(_split_key(key, n_samples), np.bincount(inverse, weights=weight))


def _split_key(key, n_samples):
    return np.column_stack(np.divmod(key, n_samples)).astype(np.intp, copy=False)


def _no_pairs(n_samples, reason="") -> ValueError:
    return ValueError(
        f"No pairs can be formed from n_samples={n_samples}: {reason}a pair needs two samples "
        "with different features. Give more samples, or check that the features vary."
    )


class NearestPairs(BaseEstimator):
    """Pair each sample with its nearest neighbours, whatever their targets.

    The choice for label sets, label distributions and numbers [1]_. Samples with features
    identical to a sample's own are never its neighbours and do not use up its places.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours of each sample.
    neighbors : transformer, default=None
        How neighbours are searched: a transformer in the manner of
        :class:`~sklearn.neighbors.KNeighborsTransformer`, with a parameter ``n_neighbors``
        and ``mode="distance"``, exact or approximate such as
        :class:`~metricalign.neighbors.FaissTransformer`. It may return a sample as its own
        neighbour or not. It is cloned, fitted to some of the samples and asked for the
        neighbours of others. None: scikit-learn's exact Euclidean search.

    Notes
    -----
    A sample passes its weight to the pair with each of its neighbours. Mutual neighbours
    make one pair whose weight is the sum of both, which leaves the objective what it would
    be with both directions present. Which of several equally distant samples becomes a
    neighbour is up to the search, and the same each time.

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

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's own form
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "neighbors": _NEIGHBORS_CONSTRAINT,
    }

    def __init__(self, n_neighbors: int = 5, neighbors: Any = None):
        self.n_neighbors = n_neighbors
        self.neighbors = neighbors

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : Ignored
            The targets do not matter here.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Seeds `neighbors` if it is random and not seeded itself.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        MemoryError
            If the machine does not have the memory that the pairs need.
        ValueError
            If a parameter is not valid, or no two samples have different features.
        """
        self._validate_params()
        X = _canonical(X)
        n_samples = X.shape[0]
        weight = _check_weight(sample_weight, n_samples)
        neighbors = _own_neighbors(self.neighbors, random_state)
        rows = first_identical(X)
        X = centred(X) if can_be_moved(neighbors) else X
        samples = np.arange(n_samples)
        candidates = _first_of_each_row(samples, rows, self.n_neighbors)
        anchor, neighbor = _nearest_eligible(
            X, samples, candidates, self.n_neighbors, neighbors, rows
        )
        if anchor.size == 0:
            raise _no_pairs(n_samples)
        n_found = np.bincount(anchor, minlength=n_samples)
        shortage = _describe_shortage(
            "n_neighbors", self.n_neighbors, n_found, "other distinct samples"
        )
        if getattr(self, "_is_asked_for", True):
            _warn_of_shortages([shortage], neighbors)
        return _merge_directions(anchor, neighbor, weight[anchor], n_samples)


class NearestClassPairs(BaseEstimator):
    """Pair each sample with the nearest of its own class and of the other classes.

    The choice for class labels [1]_ [2]_. Samples with features identical to a sample's
    own are never its neighbours and do not use up its places.

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
        neighbour or not. It is cloned, fitted to some of the samples and asked for the
        neighbours of others. None: scikit-learn's exact Euclidean search.

    Notes
    -----
    A sample passes its weight to the pair with each of its neighbours. Mutual neighbours
    make one pair whose weight is the sum of both, which leaves the objective what it would
    be with both directions present. Which of several equally distant samples becomes a
    neighbour is up to the search, and the same each time.

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

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's own form
        "n_same": [Interval(Integral, 0, None, closed="left")],
        "n_other": [Interval(Integral, 0, None, closed="left")],
        "neighbors": _NEIGHBORS_CONSTRAINT,
    }

    def __init__(self, n_same: int = 6, n_other: int = 6, neighbors: Any = None):
        self.n_same = n_same
        self.n_other = n_other
        self.neighbors = neighbors

    def select(
        self,
        X: Samples,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,)
            The class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Seeds `neighbors` if it is random and not seeded itself.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        ValueError
            If a parameter is not valid, `y` does not hold one class label per sample, or no
            pair fits.
        """
        self._validate_params()
        if self.n_same == 0 and self.n_other == 0:
            raise ValueError(
                "The 'n_same' and 'n_other' parameters of NearestClassPairs are both 0, which "
                "leaves no pairs: at least one must be positive."
            )
        X = _canonical(X)
        n_samples = X.shape[0]
        weight = _check_weight(sample_weight, n_samples)
        classes = _encode_classes(y, n_samples)
        neighbors = _own_neighbors(self.neighbors, random_state)
        rows = first_identical(X)
        X = centred(X) if can_be_moved(neighbors) else X
        found, shortages = [], []
        for parameter, wanted, search, available in (
            ("n_same", self.n_same, _nearest_same, "other distinct samples of the same class"),
            ("n_other", self.n_other, _nearest_other, "distinct samples of other classes"),
        ):
            if wanted == 0:
                continue
            anchor, neighbor = search(X, classes, wanted, neighbors, rows)
            n_found = np.bincount(anchor, minlength=n_samples)
            shortages.append(_describe_shortage(parameter, wanted, n_found, available))
            found.append((anchor, neighbor))
        anchor, neighbor = (np.concatenate(ends) for ends in zip(*found, strict=True))
        if anchor.size == 0:
            sought = "of one class" if self.n_other == 0 else "of different classes"
            if self.n_same and self.n_other:
                sought = "at all"
            raise _no_pairs(
                n_samples,
                f"with n_same={self.n_same} and n_other={self.n_other} there are no two distinct "
                f"samples {sought} among n_classes={classes.max(initial=-1) + 1}; ",
            )
        if getattr(self, "_is_asked_for", True):
            _warn_of_shortages(shortages, neighbors)
        return _merge_directions(anchor, neighbor, weight[anchor], n_samples)


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
        raise ValueError(f"y has {shape[0]} labels for {n_samples} samples.")
    labels, classes = np.unique(y, return_inverse=True)
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise ValueError(f"NearestClassPairs needs class labels, but y is continuous. {advice}")
    return classes


def _nearest_same(X, classes, n_neighbors, neighbors, rows):
    """Search each class by itself."""
    found = []
    order = np.argsort(classes, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(classes))[:-1]):
        candidates = _first_of_each_row(members, rows, n_neighbors)
        found.append(_nearest_eligible(X, members, candidates, n_neighbors, neighbors, rows))
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


def _nearest_other(X, classes, n_neighbors, neighbors, rows):
    """Search the samples outside each large class, and all samples for the small classes.

    A search among the other classes alone finds the neighbours at once but must be set up
    for each class; one among all samples is set up once, but its answers may be full of the
    sample's own class. With the square root of n_samples as the border there are at most so
    many searches to set up, and at most so many members of the own class to step over.
    """
    n_samples = classes.size
    sizes = np.bincount(classes)
    large = sizes > np.sqrt(n_samples)
    found = []
    for label in np.flatnonzero(large):
        members = np.flatnonzero(classes == label)
        candidates = _first_of_each_row(np.flatnonzero(classes != label), rows, n_neighbors)
        found.append(_nearest_eligible(X, members, candidates, n_neighbors, neighbors, rows))
    if not large.all():
        members = np.flatnonzero(~large[classes])
        limit = n_neighbors + sizes[~large].max()
        candidates = _first_of_each_row(np.arange(n_samples), rows, limit)
        found.append(
            _nearest_eligible(X, members, candidates, n_neighbors, neighbors, rows, classes)
        )
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


class _DistinctPairs:
    """All pairs of samples with different features, numbered from 0 and never listed.

    In an order of the samples that puts identical ones together, a sample is paired with
    every sample after its own group.
    """

    def __init__(self, X):
        rows = first_identical(X)
        self.order = np.argsort(rows, kind="stable")
        ordered = rows[self.order]
        n_partners = rows.size - np.searchsorted(ordered, ordered, side="right")
        self.ends = np.cumsum(n_partners, dtype=np.int64)
        self.n_pairs = int(self.ends[-1])
        if self.n_pairs == 0:
            raise _no_pairs(rows.size)

    def select(self, numbers, weight) -> PairSelection:
        """Return the pairs with these numbers, each with the product of two weights."""
        n_samples = weight.size
        first = np.searchsorted(self.ends, numbers, side="right")
        second = self.order[n_samples - (self.ends[first] - numbers)]
        first = self.order[first]
        key = np.minimum(first, second).astype(np.int64) * n_samples + np.maximum(first, second)
        del first, second
        key.sort()
        indices = _split_key(key, n_samples)
        return PairSelection(indices, weight[indices[:, 0]] * weight[indices[:, 1]])


class RandomPairs(BaseEstimator):
    """Pick different pairs of samples at random, all equally likely.

    Samples with identical features are not a pair. The memory goes with the number of
    pairs that are picked, not with the number that exist.

    Parameters
    ----------
    n_pairs : int, default=None
        The number of pairs. None: five times the number of samples. If there are not so
        many, all pairs are taken.

    Notes
    -----
    The weight of a pair is the product of the weights of its two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import RandomPairs
    >>> X = np.arange(1000.0).reshape(-1, 1)
    >>> indices, weights = RandomPairs(n_pairs=3).select(X, random_state=0)
    >>> indices.shape, weights
    ((3, 2), array([1., 1., 1.]))
    """

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's own form
        "n_pairs": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, n_pairs: int | None = None):
        self.n_pairs = n_pairs

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : Ignored
            The targets do not matter here.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Determines the pairs.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        MemoryError
            If the machine does not have the memory that the pairs need.
        ValueError
            If a parameter is not valid, or no two samples have different features.
        """
        self._validate_params()
        X = _canonical(X)
        n_samples = X.shape[0]
        weight = _check_weight(sample_weight, n_samples)
        pairs = _DistinctPairs(X)
        wanted = _RANDOM_PAIRS_PER_SAMPLE * n_samples if self.n_pairs is None else self.n_pairs
        _check_memory(min(wanted, pairs.n_pairs), n_samples)
        numbers = _distinct_integers(pairs.n_pairs, wanted, check_random_state(random_state))
        return pairs.select(np.sort(numbers), weight)


def _distinct_integers(
    n_available: int, n_wanted: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Pick `n_wanted` integers below `n_available`, every such set being equally likely."""
    if n_wanted >= n_available:
        return np.arange(n_available)
    if 2 * n_wanted > n_available:
        return random_state.permutation(n_available)[:n_wanted]
    numbers = np.empty(0, dtype=np.int64)
    while numbers.size < n_wanted:
        n_more = int(1.1 * (n_wanted - numbers.size)) + 10
        more = random_state.randint(n_available, size=n_more, dtype=np.int64)
        numbers = np.sort(np.concatenate([numbers, more]))  # np.unique hashes, which is slower
        numbers = numbers[np.diff(numbers, prepend=-1) > 0]
    # The surplus is dropped at random: dropping the end would favour small numbers.
    return random_state.permutation(numbers)[:n_wanted]


class AllPairs(BaseEstimator):
    """Take every pair of samples.

    Samples with identical features are not a pair. For small data only: n samples have
    n (n - 1) / 2 pairs.

    Notes
    -----
    The weight of a pair is the product of the weights of its two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import AllPairs
    >>> indices, weights = AllPairs().select(np.array([[0.0], [1.0], [3.0]]))
    >>> indices
    array([[0, 1],
           [0, 2],
           [1, 2]])
    >>> weights
    array([1., 1., 1.])
    """

    _parameter_constraints: dict = {}  # noqa: RUF012, scikit-learn's own form

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """List the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : Ignored
            The targets do not matter here.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : Ignored
            Nothing is random here.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        MemoryError
            If the machine does not have the memory that the pairs need.
        ValueError
            If no two samples have different features.
        """
        self._validate_params()
        X = _canonical(X)
        weight = _check_weight(sample_weight, X.shape[0])
        pairs = _DistinctPairs(X)
        _check_memory(pairs.n_pairs, X.shape[0])
        return pairs.select(np.arange(pairs.n_pairs), weight)


def _check_memory(n_pairs: int, n_samples: int) -> None:
    """Refuse to list more pairs than the machine has memory for."""
    needed, available = n_pairs * _BYTES_PER_PAIR, machine_memory()
    if needed > available:
        raise MemoryError(
            f"The {n_pairs:,} pairs of n_samples={n_samples} need about "
            f"{needed / 2**30:,.1f} GiB and this machine has {available / 2**30:,.1f} GiB. "
            "Use RandomPairs(n_pairs=...) with a smaller number, or NearestPairs() instead."
        )


def machine_memory() -> float:
    """Find out how much main memory this machine has.

    Returns
    -------
    n_bytes : float
        Infinity where the system does not say.
    """
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return np.inf


class UnionPairs(BaseEstimator):
    """Take the pairs of several strategies together.

    A pair that several strategies choose is one pair whose weight is the sum of the weights
    that they give it.

    Parameters
    ----------
    pairs : list of strategies
        Objects with a method ``select``, such as ``[NearestPairs(), RandomPairs()]``.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import AllPairs, NearestPairs, UnionPairs
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> indices, weights = UnionPairs([NearestPairs(n_neighbors=1), AllPairs()]).select(X)
    >>> indices
    array([[0, 1],
           [0, 2],
           [1, 2]])
    >>> weights
    array([3., 1., 2.])
    """

    _parameter_constraints: dict = {"pairs": [list, tuple]}  # noqa: RUF012, scikit-learn's form

    def __init__(self, pairs: list):
        self.pairs = pairs

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets, as the strategies need them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Handed from one strategy to the next, so that two random ones differ.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        ValueError
            If a parameter is not valid, or a strategy finds no pairs.
        """
        self._validate_params()
        if not self.pairs or not all(hasattr(strategy, "select") for strategy in self.pairs):
            raise ValueError(
                "The 'pairs' parameter of UnionPairs must be a list of at least one strategy "
                f"with a method select, such as NearestPairs(). Got {self.pairs!r}."
            )
        random_state = check_random_state(random_state)
        selections = [
            strategy.select(X, y, sample_weight=sample_weight, random_state=random_state)
            for strategy in self.pairs
        ]
        indices = np.concatenate([selection.indices for selection in selections])
        weights = np.concatenate([selection.weights for selection in selections])
        return _merge_directions(indices[:, 0], indices[:, 1], weights, X.shape[0])


class TransformedPairs(BaseEstimator):
    """Take the pairs that a strategy chooses among images of the samples.

    With a learned metric as the transformer the nearest pairs are those of that metric.

    Parameters
    ----------
    pairs : object
        A strategy, with a method ``select``, such as ``NearestPairs()``.
    transformer : object
        A fitted transformer of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from metricalign.pairs import NearestPairs, TransformedPairs
    >>> X = np.array([[0.0], [1.0], [-1.5]])
    >>> NearestPairs(n_neighbors=1).select(X).indices
    array([[0, 1],
           [0, 2]])
    >>> TransformedPairs(NearestPairs(n_neighbors=1), FunctionTransformer(np.abs)).select(X).indices
    array([[0, 1],
           [1, 2]])
    """

    _parameter_constraints: dict = {  # noqa: RUF012, scikit-learn's form
        "pairs": [HasMethods("select")],
        "transformer": [HasMethods("transform")],
    }

    def __init__(self, pairs: Any, transformer: Any):
        self.pairs = pairs
        self.transformer = transformer

    def select(
        self,
        X: Samples,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> PairSelection:
        """Choose the pairs.

        Parameters
        ----------
        X : {ndarray, CSR} of shape (n_samples, n_features)
            The samples, as the transformer takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets, as the strategy needs them.
        sample_weight : array-like of shape (n_samples,), default=None
            Positive weights. None: each sample has weight 1.
        random_state : int, RandomState instance or None, default=None
            Handed to the strategy.

        Returns
        -------
        selection : PairSelection
            The pairs ``indices`` and their ``weights``.

        Raises
        ------
        ValueError
            If a parameter is not valid, or the strategy finds no pairs.
        """
        self._validate_params()
        # Learners have images that keep the digits of their differences far from the origin.
        transform = getattr(self.transformer, "_images_to_compare", self.transformer.transform)
        images = transform(X)
        return self.pairs.select(images, y, sample_weight, random_state)


# What the estimators' parameter `pairs` may be

_STRATEGIES = {
    "nearest": NearestPairs,
    "nearest_class": NearestClassPairs,
    "random": RandomPairs,
    "all": AllPairs,
}


_CLASS_KINDS = (*CLASSES.kinds, "class", "zero_one")


def resolve_pairs(pairs: Any, kind: str) -> Any:
    """Turn the `pairs` parameter of an estimator into a strategy.

    Parameters
    ----------
    pairs : {"auto", "nearest", "nearest_class", "random", "all"} or object
        The name of a strategy, or an object with a method ``select``, which is returned as
        it is. ``"auto"`` is "nearest_class" for class labels and "nearest" otherwise.
    kind : str
        The kind of the targets or the name of their relation. Class labels are
        ``"binary"`` and ``"multiclass"``, or ``"class"`` and ``"zero_one"``.

    Returns
    -------
    strategy : object
        An object with a method ``select``.

    Raises
    ------
    ValueError
        If `pairs` is neither a known name nor an object with ``select``.

    Examples
    --------
    >>> from metricalign.pairs import resolve_pairs
    >>> resolve_pairs("auto", "multiclass")
    NearestClassPairs()
    >>> resolve_pairs("auto", "distribution")
    NearestPairs()
    """
    if hasattr(pairs, "select") and not isinstance(pairs, type):
        return pairs
    if isinstance(pairs, str) and pairs == "auto":
        pairs = "nearest_class" if kind in _CLASS_KINDS else "nearest"
    if isinstance(pairs, str) and pairs in _STRATEGIES:
        strategy = _STRATEGIES[pairs]()
        # Nobody asked for its numbers, so none is missed.
        strategy._is_asked_for = False
        return strategy
    raise ValueError(
        f"The 'pairs' parameter must be 'auto', one of {sorted(_STRATEGIES)}, an object with a "
        f"method select such as NearestPairs(), or an integer array of shape (n_pairs, 2). "
        f"Got {pairs!r}."
    )


def check_pairs(pairs: ArrayLike, n_samples: int) -> np.ndarray:
    """Check pairs that a person chose, and keep them exactly as they are.

    Their order, repeated pairs and both (i, j) and (j, i) stay.

    Parameters
    ----------
    pairs : array-like of int of shape (n_pairs, 2)
        The two samples of each pair.
    n_samples : int
        The number of samples that the indices refer to.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2), dtype intp
        The same pairs.

    Raises
    ------
    ValueError
        If there are no pairs, or the shape, the type or an index is not valid.

    Examples
    --------
    >>> from metricalign.pairs import check_pairs
    >>> check_pairs([[2, 0], [0, 2]], n_samples=3)
    array([[2, 0],
           [0, 2]])
    """
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.shape[0] == 0:
        raise ValueError(
            "The 'pairs' array must have shape (n_pairs, 2) with at least one pair, the two "
            f"sample indices of each pair in a row. Got shape {pairs.shape}."
        )
    if not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            "The 'pairs' array must hold integers, the indices of samples. "
            f"Got dtype {pairs.dtype}."
        )
    outside = ((pairs < 0) | (pairs >= n_samples)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"The 'pairs' array must hold indices from 0 to {n_samples - 1} "
            f"(n_samples={n_samples}). Got {_first_pair(pairs, outside)}."
        )
    alike = pairs[:, 0] == pairs[:, 1]
    if alike.any():
        raise ValueError(
            "The 'pairs' array must pair two different samples in each row. "
            f"Got {_first_pair(pairs, alike)}."
        )
    return pairs.astype(np.intp, copy=False)


def _first_pair(pairs, mask) -> str:
    row = np.flatnonzero(mask)[0]
    return f"{tuple(pairs[row].tolist())} in row {row} ({mask.sum()} such rows)"
