"""The search for the nearest samples, which is exact also far from the origin."""

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

# Neighbours are sought for so many anchors at a time that about so many are found, which limits the
# memory.
_ENTRIES_AT_A_TIME = 2**22

# Up to so many distances, computing all of them takes less time than to prepare a search of
# scikit-learn.
_SMALL_SEARCH = 2**18

# Up to so many features, a tree is not slower than products. With 10,000 queries among 200,000
# normal samples, a tree takes 0.5 CPU seconds for 5 features, 1.0 for 6 and 4.1 for 8. Products
# take 1.0.
_FEATURES_OF_TREE = 6

# A distance that is computed from products of samples has four correct digits if it is at least
# this share of the norm of the samples.
_COARSE_DISTANCE = 1.5e-6

# The median of about so many rows is taken for that of all: any point in the middle will do.
_ROWS_OF_MIDDLE = 1000

# Metrics of scikit-learn's searches that depend on differences of samples only.
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


def centred(X: ArrayLike | sparse.spmatrix | sparse.sparray) -> Any:
    """Subtract the median from samples, so that their differences lose no digits to an offset.

    A search computes distances from products of samples, and a linear map sums products of
    features. The rounding error of both grows with the norm of the samples. The median is in the
    middle of the samples even if a few are far away.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples. Sparse samples and those of Dask are returned as they are.

    Returns
    -------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples less their median, as float32 if they are float32, and else as float64.

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
    return X - middle_of(X)


def middle_of(X: Any) -> Any:
    """Return the median of dense samples, and 0 for sparse samples and those of Dask."""
    if sparse.issparse(X) or isinstance(X, RemoteSamples):
        return 0
    return np.median(X[:: max(1, len(X) // _ROWS_OF_MIDDLE)], axis=0)


def sees_only_differences(metric: Any) -> bool:
    """Whether a metric of scikit-learn's searches stays the same if all samples are shifted."""
    return isinstance(metric, str) and metric in _METRICS_OF_DIFFERENCES


def can_be_moved(neighbors: Any) -> bool:
    """Whether a search finds the same neighbours if all samples are shifted.

    None stands for `EuclideanSearch`.
    """
    is_own = neighbors is None or isinstance(neighbors, EuclideanSearch)
    return is_own or sees_only_differences(neighbors.get_params().get("metric"))


def rank_within(groups: np.ndarray) -> np.ndarray:
    """Return for each element how many elements before it are of the same group."""
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

    A candidate is eligible if its features differ from those of the anchor and, if classes are
    given, its class differs too. An anchor gets `n_neighbors` of them, or all if there are fewer.
    The search also returns ineligible samples, such as the anchor itself. It is repeated, for more
    neighbours, for the anchors that still lack some.

    Parameters
    ----------
    X : {ndarray, csr_array, RemoteSamples} of shape (n_samples, n_features)
        Samples.
    anchors, candidates : ndarray of int of shape (n_anchors,) and (n_candidates,)
        Indices of samples.
    n_neighbors : int
        Number of neighbours of each anchor.
    neighbors : transformer
        The search. Its parameter `n_neighbors` is changed, and it is fitted here.
    rows : ndarray of int of shape (n_samples,)
        Numbers that are equal for samples with identical features.
    classes : ndarray of int of shape (n_samples,), default=None
        Class of each sample. None: neighbours may be of any class.

    Returns
    -------
    anchor, neighbor : ndarray of int of shape (n_found,)
        Indices of the samples of each pair.
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
    n_asked = n_neighbors + 1  # The anchor itself is often among those that are returned.
    while pending.size:
        # All candidates but one are enough: a pending anchor has more eligible ones than it takes.
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
        n_asked *= 4  # A repeated search takes more time than a longer answer.
    return tuple(np.concatenate(ends) for ends in zip(*found, strict=True))


def search_neighbors(neighbors: Any, X: Samples, n_candidates: int) -> tuple[np.ndarray, ...]:
    """Return the entries of the graph of neighbours.

    Parameters
    ----------
    neighbors : transformer
        The fitted search.
    X : {ndarray, csr_array, RemoteSamples} of shape (n_samples, n_features)
        Samples whose neighbours are sought.
    n_candidates : int
        Number of samples that the search was fitted to.

    Returns
    -------
    row, candidate : ndarray of int of shape (n_found,)
        Row of X, and index of the candidate.
    distance : ndarray of shape (n_found,)
        Their distance.

    Raises
    ------
    ValueError
        If the search does not return such a graph.
    """
    graph = neighbors.transform(X)
    if not sparse.issparse(graph) or graph.shape != (X.shape[0], n_candidates):
        raise ValueError(
            f"The 'neighbors' parameter must transform samples to a sparse matrix of distances "
            f"of shape {(X.shape[0], n_candidates)}, one column per fitted sample; "
            f"{type(neighbors).__name__} returned {type(graph).__name__} of shape "
            f"{np.shape(graph)}."
        )
    graph = graph.tocoo()
    return graph.row, graph.col, graph.data


class EuclideanSearch(BaseEstimator):
    """The exact search, as a transformer in the manner of KNeighborsTransformer.

    Samples of few features are searched by a tree, samples of more by matrix products. The products
    are in single precision if that is proven to find the right neighbours, and else in double
    precision. If this is too coarse as well, as for two groups that are far apart, distances are
    computed from differences.

    Parameters
    ----------
    n_neighbors : int, default=5
        The number of neighbours. One more is found, as a sample may be its own neighbour.

    Attributes
    ----------
    samples_ : {ndarray, csr_array} of shape (n_samples_fit, n_features)
        The samples among which neighbours are sought.
    n_queries_ : Counter
        How many samples were searched in each way, in all searches since the first fit.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs import EuclideanSearch
    >>> search = EuclideanSearch(n_neighbors=1).fit(np.array([[0.0], [1.0], [3.0]]))
    >>> search.transform(np.array([[2.5]])).toarray()
    array([[0. , 1.5, 0.5]])
    """

    def __init__(self, n_neighbors: int = 5):
        self.n_neighbors = n_neighbors

    def fit(self, X: Samples) -> Self:
        """Keep the samples among which neighbours are sought.

        Parameters
        ----------
        X : {ndarray, csr_array} of shape (n_samples_fit, n_features)
            The samples.

        Returns
        -------
        self : object
            The search.
        """
        self.samples_ = X
        self.n_queries_ = getattr(self, "n_queries_", Counter())
        return self

    def transform(self, X: Samples) -> sparse.csr_array:
        """Find the nearest samples.

        Parameters
        ----------
        X : {ndarray, csr_array} of shape (n_samples, n_features)
            Samples whose neighbours are sought.

        Returns
        -------
        graph : csr_array of shape (n_samples, n_samples_fit)
            Distances to the `n_neighbors` + 1 nearest samples.
        """
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
    """Return at most `limit` of the candidates with identical features: no anchor can use more.

    Parameters
    ----------
    candidates : ndarray of int of shape (n_candidates,)
        Indices of samples.
    rows : ndarray of int of shape (n_samples,)
        Numbers that are equal for samples with identical features.
    limit : int
        Largest number of candidates with identical features.

    Returns
    -------
    candidates : ndarray of int of shape (n_kept,)
        The first candidates of each group of identical features, in their order.
    """
    return candidates[rank_within(rows[candidates]) < limit]


def own_neighbors(neighbors: Any, random_state: RandomState) -> Any:
    """Return a search whose parameters may be changed.

    Parameters
    ----------
    neighbors : transformer or None
        The parameter of that name. None: `EuclideanSearch`.
    random_state : int, RandomState instance or None
        Gives the seed of a transformer whose own `random_state` is None.

    Returns
    -------
    neighbors : transformer
        A clone.

    Raises
    ------
    ValueError
        If the transformer has no parameter `n_neighbors`, or does not return distances.
    """
    if neighbors is None:
        return EuclideanSearch()
    neighbors = clone(neighbors)
    if hasattr(neighbors, "set_output"):
        # scikit-learn may be configured to return DataFrames, which cannot hold the graph.
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
    """Find for each anchor the nearest samples of its class. Each class is searched by itself.

    Parameters
    ----------
    X, n_neighbors, neighbors, rows
        See `nearest_eligible`.
    classes : ndarray of int of shape (n_samples,)
        Class of each sample.
    anchors : ndarray of int of shape (n_anchors,)
        Indices of the samples whose neighbours are sought.

    Returns
    -------
    anchor, neighbor : ndarray of int of shape (n_found,)
        Indices of the samples of each pair.
    """
    found = []
    order = np.argsort(classes, kind="stable")
    is_anchor = np.zeros(classes.size, dtype=bool)
    is_anchor[anchors] = True
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
    """Find for each anchor the nearest samples of other classes.

    Members of a large class are searched among the other classes only, members of small classes
    among all samples. A search among the other classes finds the neighbours at once, but must be
    prepared for each class. A search among all samples is prepared once, but may return many
    members of the anchor's own class. A class is large if it has more than the square root of
    n_samples members. So at most so many searches are prepared, and at most so many members of the
    own class are skipped.

    Parameters
    ----------
    X, classes, n_neighbors, neighbors, rows, anchors
        See `nearest_same`.

    Returns
    -------
    anchor, neighbor : ndarray of int of shape (n_found,)
        Indices of the samples of each pair.
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
