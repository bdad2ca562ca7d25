"""The search of the nearest samples, exact far from the origin too."""

from collections import Counter
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods

from metricalign._arrays import batches
from metricalign.pairs.identical import RemoteSamples, Samples
from metricalign.pairs.products import SampleBlocks

__all__ = ["EuclideanSearch", "centred"]

RandomState: TypeAlias = int | np.random.RandomState | None

_ENTRIES_AT_A_TIME = 2**22

# Up to so many distances, computing all of them costs less than preparing scikit-learn's search.
_SMALL_SEARCH = 2**18

# Up to so many features a tree is not slower than products: of 10,000 queries among 200,000 normal
# samples of 5 features it takes 0.5 CPU seconds, of 6 features 1.0, of 8 4.1; products take 1.0.
_FEATURES_OF_TREE = 6

# A distance computed from products of samples has four correct digits if it is at least this share
# of the samples' length.
_COARSE_DISTANCE = 1.5e-6

# Rows whose median stands for that of all rows: any point in the middle will do.
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

#: Constraint of a parameter that is a search.
NEIGHBORS_CONSTRAINT = [HasMethods(["fit", "transform", "get_params", "set_params"]), None]


def centred(
    X: ArrayLike | sparse.spmatrix | sparse.sparray, sample_weight: ArrayLike | None = None
) -> Any:
    """Move samples to the origin, so that no common offset costs their differences digits.

    A search computes distances from products of samples, and a linear map sums products of
    features. The rounding of both grows with the size of the samples. The median is in the middle
    of the samples even where a few lie far out.

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
    >>> from metricalign.pairs.search import centred
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
    """Whether moving all samples leaves the neighbours as they are; None is our own search."""
    is_own = neighbors is None or isinstance(neighbors, EuclideanSearch)
    return is_own or sees_only_differences(neighbors.get_params().get("metric"))


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


def nearest_eligible(
    X: Any,
    anchors: np.ndarray,
    candidates: np.ndarray,
    n_neighbors: int,
    neighbors: Any,
    rows: np.ndarray,
    classes: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
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
    neighbors : transformer
        The search. Its parameters are changed and it is fitted here.
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
    pending = anchors[~needs_no_search]
    n_asked = n_neighbors + 1  # the anchor itself is often returned and counted
    while pending.size:
        # All candidates but one suffice: a pending anchor has more eligible ones than it takes.
        n_asked = min(n_asked, candidates.size - 1)
        neighbors.set_params(n_neighbors=n_asked).fit(X[candidates])
        lacking = []
        for batch in batches(pending.size, max(1, _ENTRIES_AT_A_TIME // n_asked)):
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
        n_asked *= 4  # a repeated search costs more than a longer answer
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

    Few features are searched by a tree, more by matrix products of samples. The products are in
    single precision where that is proven to tell the neighbours apart, else in double precision.
    Where this is too coarse as well, as for two groups far apart, differences are computed.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours; one more is found, as a sample may be its own.

    Attributes
    ----------
    n_queries_ : Counter
        How many samples were searched in each way, in all searches since the first fit.
    """

    def __init__(self, n_neighbors: int = 5):
        self.n_neighbors = n_neighbors

    def fit(self, X: Samples) -> Self:
        """Keep the samples among which neighbours are sought."""
        self.samples_ = X
        self.n_queries_ = getattr(self, "n_queries_", Counter())
        return self

    def transform(self, X: Samples) -> sparse.csr_array:
        """Graph of the distances to the nearest samples."""
        shape = X.shape[0], self.samples_.shape[0]
        if sparse.issparse(X):
            self.n_queries_["products of sparse samples"] += shape[0]
            distances, columns = self._by_double_products(X)
        elif shape[0] * shape[1] <= _SMALL_SEARCH:
            self.n_queries_["all distances, as they are few"] += shape[0]
            distances, columns = self._by_differences_where_coarse(X)
        elif X.shape[1] <= _FEATURES_OF_TREE:
            self.n_queries_[f"a tree, for up to {_FEATURES_OF_TREE} features"] += shape[0]
            distances, columns = self._by_tree(X)
        else:
            blocks = SampleBlocks(self.samples_, n_queries=shape[0])
            distances, columns, is_proven = blocks.nearest(X, self.n_neighbors + 1)
            way = f"products in float32, for more than {_FEATURES_OF_TREE} features"
            self.n_queries_[way] += int(is_proven.sum())
            if not is_proven.all():
                self.n_queries_["products in float64, where float32 may err"] += int(
                    (~is_proven).sum()
                )
                others = self._by_differences_where_coarse(X[~is_proven])
                distances[~is_proven], columns[~is_proven] = others
        ends = np.arange(0, distances.size + 1, distances.shape[1])
        return sparse.csr_array((distances.ravel(), columns.ravel(), ends), shape=shape)

    def _by_differences_where_coarse(self, X):
        distances, columns = self._by_double_products(X)
        is_coarse = distances.max(axis=1) < _COARSE_DISTANCE * np.linalg.norm(X, axis=1)
        if is_coarse.any():
            distances[is_coarse], columns[is_coarse] = self._by_tree(X[is_coarse])
        return distances, columns

    def _by_tree(self, X):
        search = NearestNeighbors(n_neighbors=self.n_neighbors + 1, algorithm="kd_tree")
        return search.fit(self.samples_).kneighbors(X)

    def _by_double_products(self, X):
        if X.shape[0] * self.samples_.shape[0] > _SMALL_SEARCH:
            search = NearestNeighbors(n_neighbors=self.n_neighbors + 1, algorithm="brute")
            return search.fit(self.samples_).kneighbors(X)
        distances = euclidean_distances(X, self.samples_)
        columns = np.argpartition(distances, self.n_neighbors, axis=1)[:, : self.n_neighbors + 1]
        return np.take_along_axis(distances, columns, axis=1), columns


def first_of_each_row(candidates: np.ndarray, rows: np.ndarray, limit: int) -> np.ndarray:
    """Keep at most `limit` candidates with identical features: no anchor can use more."""
    return candidates[rank_within(rows[candidates]) < limit]


def own_neighbors(neighbors: Any, random_state: RandomState) -> Any:
    """Return a copy of the transformer that may be changed, seeded if it is random."""
    if neighbors is None:
        return EuclideanSearch()
    neighbors = clone(neighbors)
    if hasattr(neighbors, "set_output"):
        # Frames, which scikit-learn may be configured to make, have no graph.
        neighbors.set_output(transform="default")
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


def nearest_same(
    X: Any,
    classes: np.ndarray,
    n_neighbors: int,
    neighbors: Any,
    rows: np.ndarray,
    anchors: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Search each class by itself; see `nearest_eligible`."""
    found = []
    order = np.argsort(classes, kind="stable")
    is_anchor = _is_among(anchors, classes.size)
    for members in np.split(order, np.cumsum(np.bincount(classes))[:-1]):
        asked = members[is_anchor[members]]
        candidates = first_of_each_row(members, rows, n_neighbors)
        found.append(nearest_eligible(X, asked, candidates, n_neighbors, neighbors, rows))
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


def nearest_other(
    X: Any,
    classes: np.ndarray,
    n_neighbors: int,
    neighbors: Any,
    rows: np.ndarray,
    anchors: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Search the samples outside each large class, and all samples for the small classes.

    See `nearest_eligible`.

    A search among the other classes alone finds the neighbours at once, but must be prepared for
    each class. One among all samples is prepared once, but its answers may be full of the sample's
    own class. A class is large if it has more than the square root of n_samples members. So at
    most that many searches are prepared, and at most that many members of the own class skipped.
    """
    n_samples = classes.size
    sizes = np.bincount(classes)
    large = sizes > np.sqrt(n_samples)
    found = []
    for label in np.flatnonzero(large):
        asked = anchors[classes[anchors] == label]
        candidates = first_of_each_row(np.flatnonzero(classes != label), rows, n_neighbors)
        found.append(nearest_eligible(X, asked, candidates, n_neighbors, neighbors, rows))
    if not large.all():
        asked = anchors[~large[classes[anchors]]]
        limit = n_neighbors + sizes[~large].max()
        candidates = first_of_each_row(np.arange(n_samples), rows, limit)
        found.append(nearest_eligible(X, asked, candidates, n_neighbors, neighbors, rows, classes))
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


def _is_among(samples, n_samples):
    mask = np.zeros(n_samples, dtype=bool)
    mask[samples] = True
    return mask
