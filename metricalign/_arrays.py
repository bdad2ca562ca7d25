"""Functions for Dask arrays, sparse arrays and DataFrames, which every room uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils._missing import is_pandas_na

if TYPE_CHECKING:
    from dask.array import Array

__all__ = [
    "as_dask_array",
    "as_dense",
    "batches",
    "dtype_of",
    "exponent_of_extent",
    "find_missing",
    "in_memory",
    "is_dask_array",
    "is_dask_frame",
    "is_frame",
    "is_missing",
    "is_of_dask",
    "map_rows",
    "map_samples",
    "named_columns",
    "stand_in",
    "sum_duplicates",
]

# Squares of numbers up to 2**400 may be added, and 2**-400 has squares of all digits.
_LARGEST_EXPONENT = 400


def is_dask_array(X: Any) -> TypeGuard[Array]:
    """Whether X is a Dask array. Dask is not imported to find out.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    is_dask_array : bool

    Raises
    ------
    TypeError
        If X is a Dask DataFrame.
    """
    if is_dask_frame(X):
        raise TypeError(
            "X is a Dask DataFrame, whose partitions have unknown sizes. Give "
            "X.to_dask_array(lengths=True)."
        )
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(X, dask_array.Array)


def is_dask_frame(X: Any) -> bool:
    """Whether X is a Dask DataFrame. Dask is not imported to find out."""
    return hasattr(X, "to_dask_array")


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame of pandas, polars or Dask. None of them is imported to find out."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def is_of_dask(X: Any) -> bool:
    """Whether X is a Dask array or DataFrame. Dask is not imported to find out."""
    return is_dask_frame(X) or is_dask_array(X)


def as_dask_array(X: Any, *, lengths: bool = True) -> Array:
    """Dask array of a Dask DataFrame of numbers; a Dask array is returned as it is.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame
        Samples.
    lengths : bool, default=True
        Whether to count the rows of the partitions, which computes the DataFrame once.

    Returns
    -------
    X : dask.array.Array

    Raises
    ------
    TypeError
        If a column does not have numbers.
    """
    if not is_dask_frame(X):
        return X
    others = [str(name) for name, dtype in X.dtypes.items() if dtype.kind not in "biuf"]
    if others:
        raise TypeError(
            f"X is a Dask DataFrame with columns that are not numbers: {', '.join(others[:5])}. "
            "Leave them out, or give X.compute()."
        )
    return X.to_dask_array(lengths=lengths or None)


def named_columns(X: Any) -> Any:
    """The object in which scikit-learn finds the number and the names of the columns of X."""
    return X._meta if is_dask_frame(X) else X


def in_memory(values: Any) -> Any:
    """Compute Dask objects, and return all others as they are.

    Parameters
    ----------
    values : object
        A Dask array, series or DataFrame, samples that are on workers, or anything else.

    Returns
    -------
    values : object
        The values in memory.
    """
    return values.compute() if hasattr(values, "compute") else values


def map_rows(
    function: Callable[[NDArray], NDArray],
    X: Array,
    n_columns: int,
    *,
    ensure_all_finite: bool | str = True,
) -> Any:
    """Apply a function to the rows of a Dask array, lazily.

    Parameters
    ----------
    function : callable
        Maps arrays of shape (n_rows, n_features) to arrays of shape (n_rows, n_columns).
    X : dask.array.Array of shape (n_samples, n_features)
        Rows, chunked in any way. They are checked as scikit-learn checks arrays when they are
        computed.
    n_columns : int
        Width of the result.
    ensure_all_finite : bool or "allow-nan", default=True
        Whether the rows may have NaN or infinity, as in `sklearn.utils.check_array`.

    Returns
    -------
    mapped : dask.array.Array of shape (n_samples, n_columns)
        It has the chunks of rows that X has. float32 if X is, else float64.
    """
    return X.rechunk({1: -1}).map_blocks(
        partial(_mapped, function=function, ensure_all_finite=ensure_all_finite),
        chunks=(X.chunks[0], (n_columns,)),
        meta=np.empty((0, n_columns), dtype_of(X)),
    )


def map_samples(function: Callable[[Any], Any], X: Any, example: NDArray) -> Any:
    """Apply a function to samples, lazily.

    Parameters
    ----------
    function : callable
        Maps arrays, or DataFrames, of samples to arrays with one row for each.
    X : dask.array.Array or dask.dataframe.DataFrame
        Samples, chunked in any way.
    example : ndarray of shape (0,) or (0, n_columns)
        An empty array of the type of the results.

    Returns
    -------
    mapped : dask.array.Array of shape (n_samples,) or (n_samples, n_columns)
        It has the chunks of rows that X has. Their sizes are unknown if X is a DataFrame.
    """
    import dask
    import dask.array as da

    # The function is one task, so that a large model is not sent with each chunk.
    sent = dask.delayed(function, traverse=False)
    if is_dask_frame(X):
        apply, shape = dask.delayed(_of_rows), (np.nan, *example.shape[1:])
        parts = [apply(part, sent, example) for part in X.to_delayed()]
        return da.concatenate([da.from_delayed(part, shape, meta=example) for part in parts])
    X, options = X.rechunk({1: -1}), {"function": sent, "example": example, "meta": example}
    if example.ndim == 1:
        return X.map_blocks(_of_rows, drop_axis=1, **options)
    return X.map_blocks(_of_rows, chunks=(X.chunks[0], example.shape[1:]), **options)


def stand_in(X: Array) -> NDArray:
    """Array of zeros of the shape and type of a Dask array. It takes no memory.

    Parameters
    ----------
    X : dask.array.Array
        Chunked in any way.

    Returns
    -------
    stand_in : ndarray of the shape of X

    Raises
    ------
    ValueError
        If the sizes of the chunks are unknown.
    """
    if np.isnan(sum(X.shape)):
        raise ValueError(
            f"X has chunks of unknown sizes, shape {X.shape}. Call X.compute_chunk_sizes() first."
        )
    return np.broadcast_to(np.zeros((), X.dtype), X.shape)


def as_dense(matrix: Any) -> Any:
    """Turn a sparse matrix into an array. Return anything else as it is."""
    return matrix.toarray() if sparse.issparse(matrix) else matrix


def sum_duplicates(X: sparse.csr_array) -> sparse.csr_array:
    """A sparse array that stores each entry once.

    SciPy may store an entry in several parts. Statistics of the stored numbers, also those of
    scikit-learn, would take each part for an entry.
    """
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def dtype_of(X: Any) -> np.dtype:
    """Type of the computations with samples: float32 if X is, else float64."""
    return np.dtype(np.float32 if X.dtype == np.float32 else np.float64)


def exponent_of_extent(X: Any) -> int:
    """Exponent of a power of two by which samples are divided where squares of them are computed.

    It is 0 unless squares of their differences would leave the range of float64. The quotients have
    the same distances but for their unit, to the last digit.

    Parameters
    ----------
    X : {ndarray, sparse array} of shape (n_samples, n_features)
        Finite numbers.

    Returns
    -------
    exponent : int
        The largest difference of two samples in a feature becomes about 2**400, or as large as the
        samples allow.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign._arrays import exponent_of_extent
    >>> exponent_of_extent(np.array([[0.0], [5.0]]))
    0
    >>> exponent_of_extent(np.array([[0.0], [2.0**1000]]))
    601
    """
    # Half of the numbers, as the difference may leave the range.
    extents = X.max(axis=0) / 2 - X.min(axis=0) / 2
    exponent = int(np.frexp(extents.max())[1]) + 1
    if abs(exponent) <= _LARGEST_EXPONENT:
        return 0
    # A common offset may be so much larger that the quotients would leave the range.
    most = int(np.frexp(abs(X).max())[1]) - np.finfo(np.float64).maxexp + 1
    # Features with smaller differences than others keep most digits if the quotients are large.
    return max(exponent - _LARGEST_EXPONENT, most)


def _mapped(rows, function, ensure_all_finite):
    rows = check_array(
        rows,
        dtype=dtype_of(rows),
        input_name="X",
        ensure_min_samples=0,
        ensure_all_finite=ensure_all_finite,
    )
    return function(rows)


def _of_rows(rows, function, example):
    return function(rows) if len(rows) else example


def one_sample(sample: Any, which: str) -> Any:
    """Return a sample as a table of one row."""
    if len(np.shape(sample)) == 1:
        # A row of a pandas table keeps its names.
        return (
            sample.to_frame().T.infer_objects()
            if hasattr(sample, "to_frame")
            else np.reshape(sample, (1, -1))
        )
    if len(np.shape(sample)) != 2 or np.shape(sample)[0] != 1:
        raise ValueError(
            f"{which} must be one sample, of shape (n_features,) or (1, n_features); got shape "
            f"{np.shape(sample)}."
        )
    return sample


def batches(size: int, step: int) -> Iterator[slice]:
    """Consecutive slices of at most `step` elements, which together are `size` elements.

    scikit-learn's `gen_batches` checks its arguments each time, which takes a fifth of a small fit.

    Parameters
    ----------
    size : int
        Number of elements of all slices together.
    step : int
        Number of elements of each slice. Only the last one may have fewer.

    Returns
    -------
    batches : iterator of slice
        None if `size` is 0.

    Examples
    --------
    >>> from metricalign._arrays import batches
    >>> list(batches(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def find_missing(values: NDArray) -> NDArray:
    """Whether each value is missing: None, NaN or NA."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    missing = [is_missing(value) for value in values.flat]
    return np.array(missing, dtype=bool).reshape(values.shape)


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN or NA. Lists and arrays are not missing."""
    if value is None or is_pandas_na(value):
        return True
    return not hasattr(value, "__len__") and bool(value != value)
