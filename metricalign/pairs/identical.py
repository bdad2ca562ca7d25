"""Search for identical samples, in this process or on other machines."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from metricalign._arrays import as_dense, batches

__all__ = [
    "RemoteSamples",
    "first_identical",
    "map_blocks",
    "merge_identical_samples",
    "order_keys",
    "order_of_values",
]

Samples: TypeAlias = np.ndarray | sparse.spmatrix | sparse.sparray

# Number of rows that are hashed or compared at a time. It bounds the memory.
_ROWS_AT_A_TIME = 4096


class RemoteSamples(ABC):
    """Base class of samples that are not in this process.

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
        """Select samples by number."""

    @abstractmethod
    def compute(self) -> np.ndarray:
        """Bring the samples into memory. This is for few samples."""

    @abstractmethod
    def map_blocks(self, function: Any, arguments: Any) -> list[Any]:
        """Call a function on each block of samples, on its worker. See :func:`map_blocks`."""

    @abstractmethod
    def first_identical(self) -> np.ndarray:
        """Find the first equal sample of each sample. See :func:`first_identical`."""

    @abstractmethod
    def order_keys(self) -> np.ndarray:
        """Compute a number for each sample, by which samples are sorted."""

    @abstractmethod
    def neighbor_search(self, neighbors: Any) -> Any:
        """Turn a search of neighbours in arrays, or None, into one for samples of this kind."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "The samples are not in memory, but spread over workers. Choose the pairs by an "
            "object of metricalign.pairs other than TransformedPairs, or give an array of pairs."
        )


def map_blocks(
    X: Any, function: Callable[..., Any], arguments: Callable[[np.ndarray], tuple[Any, ...]]
) -> list[Any]:
    """Call a function on each block of samples. An array is one block.

    Parameters
    ----------
    X : {ndarray, csr_array, RemoteSamples} of shape (n_samples, n_features)
        Samples.
    function : callable
        It is called on the worker of a block, with the samples of the block and further arguments.
    arguments : callable
        It is called with the numbers of the samples of a block, and returns the further arguments.

    Returns
    -------
    results : list
        Result for each block.
    """
    if isinstance(X, RemoteSamples):
        return X.map_blocks(function, arguments)
    return [function(X, *arguments(np.arange(X.shape[0])))]


def first_identical(X: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Find for each row the first row that equals it.

    Rows with the same value of `order_keys` are grouped by a hash and then compared, so the result
    is exact. This needs no copy of X, and much less time than sorting the rows.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features), or ndarray of shape (n_samples,)
        The rows. A single column may contain strings. 0.0 and -0.0 are equal. Sparse X must be
        sorted, without duplicates and stored zeros.

    Returns
    -------
    first : ndarray of int of shape (n_samples,)
        Index of the first row that is equal to it. This is its own index if no row before is.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.identical import first_identical
    >>> first_identical(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]]))
    array([0, 1, 0])
    """
    if isinstance(X, RemoteSamples):
        return X.first_identical()
    if X.ndim == 1:
        _, first, inverse = np.unique(X, return_index=True, return_inverse=True)
        return first[inverse]
    first = np.arange(X.shape[0])
    # Most samples have a unique key, which takes a fraction of the time of a hash.
    with np.errstate(over="ignore", invalid="ignore"):
        sums = order_keys(X)
    _, key, counts = np.unique(sums, return_inverse=True, return_counts=True)
    pending = np.flatnonzero(counts[key] > 1)
    keys = np.empty(len(first), dtype=np.int64)
    if pending.size:
        keys[pending] = _hash_rows(X[pending])
    while pending.size:  # a second round is only for different rows with the same hash
        _, leaders, inverse = np.unique(keys[pending], return_index=True, return_inverse=True)
        leaders = pending[leaders][inverse]
        equal = leaders == pending
        others = np.flatnonzero(~equal)
        for batch in batches(others.size, _ROWS_AT_A_TIME):
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
    dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    n_words = X.shape[1] * dtype.itemsize // 4
    # Odd factors, so that different numbers have different products.
    factors = np.random.default_rng(0).integers(2**63, size=n_words, dtype=np.uint64) * 2 + 1
    for batch in batches(X.shape[0], _ROWS_AT_A_TIME):
        block = np.ascontiguousarray(X[batch], dtype=dtype) + dtype.type(0)  # -0.0 becomes 0.0
        words = block.view(np.uint32) * factors
        # The low bits of a product do not depend on the high bits of a number, which hold its
        # exponent: shift them down and multiply again.
        keys[batch] = ((words ^ words >> 32) * factors).sum(axis=1).view(np.int64)
    return keys


def order_keys(X: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Compute a number for each sample, by which samples are sorted.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    keys : ndarray of shape (n_samples,)
        Equal rows have the same number. It does not depend on the order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.identical import order_keys
    >>> order_keys(np.array([[0.0, 1.0], [0.0, 0.0]])).round(2)
    array([1.73, 0.  ])
    """
    if isinstance(X, RemoteSamples):
        return X.order_keys()
    weights = np.sqrt(np.arange(2, X.shape[1] + 2))
    if sparse.issparse(X):
        return np.asarray(sparse.csr_array(X).multiply(weights).sum(axis=1)).ravel()
    keys = np.empty(X.shape[0])
    for batch in batches(X.shape[0], _ROWS_AT_A_TIME):
        keys[batch] = (X[batch] * weights).sum(axis=1)
    return keys


def order_of_values(X: Samples | RemoteSamples, *ties: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Sort samples by their values, so that the result does not depend on their order.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples. They are sorted by :func:`order_keys`. Samples with the same key are sorted by
        their features.
    *ties : {ndarray, csr_array} of shape (n_samples,) or (n_samples, n_outputs)
        Values by which identical samples are sorted, such as their targets. If the first values
        are equal too, the next ones decide. Then identical samples are rearranged, beginning in
        the middle, so that the first few of them have values from the whole range. A search of
        neighbours finds the first few.

    Returns
    -------
    order : ndarray of int of shape (n_samples,)
        Rows in this order. Samples that are equal in everything keep their order.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.identical import order_of_values
    >>> X = np.array([[3.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    >>> order_of_values(X, np.array(["b", "c", "a"]))
    array([2, 1, 0])
    """
    order = np.arange(X.shape[0])
    for values in reversed(ties):
        some = values[order]
        is_column = len(values.shape) == 1
        order = order[np.argsort(some, kind="stable") if is_column else _order_of(some)[0]]
    of_samples, first = _order_of(X[order])
    order = order[of_samples]
    return _spread_identical(order, first) if ties else order


def _spread_identical(order, first) -> np.ndarray:
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    sizes = np.diff(starts, append=len(first))
    group = np.repeat(np.arange(len(starts)), sizes)
    from_middle = np.arange(len(first)) - np.repeat(starts + (sizes - 1) // 2, sizes)
    # The integers whose product with the golden ratio has a small fraction are evenly spread.
    return order[np.lexsort((from_middle * (np.sqrt(5) - 1) / 2 % 1, group))]


def _order_of(values) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of the rows, and for each row in this order the first equal row."""
    keys = order_keys(values)
    order = np.argsort(keys, kind="stable")
    first = order.copy()
    is_tied = np.r_[False, np.diff(keys[order]) == 0]
    is_tied[:-1] |= is_tied[1:]
    tied = order[is_tied]
    if tied.size == 0:
        return order, first
    # Nearly all samples with the same key are identical: only one of each is compared.
    first[is_tied] = first_identical(values)[tied]
    distinct, place = np.unique(first[is_tied], return_inverse=True)
    if len(np.unique(keys[distinct])) < len(distinct):
        rows: Any = values[distinct]
        rows = rows.compute() if isinstance(rows, RemoteSamples) else rows
        rows = as_dense(rows)
        rank = np.argsort(np.lexsort(rows.T))
        moved = np.lexsort([rank[place], keys[tied]])
        order[is_tied], first[is_tied] = tied[moved], first[is_tied][moved]
    return order, first


def canonical(X: Any) -> Any:
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
    groups: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge samples with identical features and targets into one sample with their weight.

    Then a repeated sample is exactly the same as a sample with an integer weight, and a sample of
    weight zero is the same as no sample.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The features. ``0.0`` is equal to ``-0.0``, and to an entry of sparse data that is not
        stored.
    y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_outputs), or None
        The targets: one column of labels or numbers, or several columns of numbers. None: only the
        features are compared.
    sample_weight : array-like of shape (n_samples,), default=None
        Nonnegative weights. None: each sample has weight 1.
    groups : array-like of shape (n_samples,), default=None
        Samples of different groups are not merged. None: all samples are in one group.

    Returns
    -------
    representatives : ndarray of shape (n_distinct,), dtype intp
        First row of each distinct sample of positive weight, in ascending order.
    weight : ndarray of shape (n_distinct,), dtype float64
        The sum of the weights of the samples that were merged into each representative.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or if none is positive.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.identical import merge_identical_samples
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    >>> representatives, weight = merge_identical_samples(X, [0, 0, 0, 1])
    >>> representatives
    array([0, 1, 3])
    >>> weight
    array([2., 1., 1.])
    """
    X = canonical(X)
    n_samples = X.shape[0]
    weight = check_weight(sample_weight, n_samples)
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
        identity = identity * n_samples + first_identical(canonical(y))
    if groups is not None:
        identity = np.unique(identity, return_inverse=True)[1] * n_samples
        identity += first_identical(np.asarray(groups))
    _, first, inverse = np.unique(identity[kept], return_index=True, return_inverse=True)
    order = np.argsort(first)
    return kept[first[order]], np.bincount(inverse, weights=weight[kept])[order]


def check_weight(sample_weight: ArrayLike | None, n_samples: int) -> np.ndarray:
    """Return weights of samples as float64. They are 1 if none are given."""
    if sample_weight is None:
        return np.ones(n_samples)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one weight per sample; "
            f"it has shape {weight.shape}."
        )
    return weight
