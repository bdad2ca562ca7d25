"""Arrays of Dask and sparse arrays: what every room asks of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

if TYPE_CHECKING:
    from dask.array import Array

__all__ = ["in_memory", "is_dask_array", "map_rows", "stand_in", "sum_duplicates"]


def is_dask_array(X: Any) -> TypeGuard[Array]:
    """Whether X is a Dask array, found out without importing Dask.

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
    if hasattr(X, "to_dask_array"):
        raise TypeError(
            "X is a Dask DataFrame, whose partitions have unknown sizes. Give "
            "X.to_dask_array(lengths=True)."
        )
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(X, dask_array.Array)


def in_memory(values: Any) -> Any:
    """Compute what is of Dask, and leave all else as it is.

    Parameters
    ----------
    values : object
        A Dask array or series, or anything else.

    Returns
    -------
    values : object
        The same without Dask.
    """
    return values.compute() if hasattr(values, "__dask_graph__") else values


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
        What the rows may be, as `sklearn.utils.check_array` takes it.

    Returns
    -------
    mapped : dask.array.Array of shape (n_samples, n_columns)
        Chunked along the rows as X is, float32 if X is, else float64.
    """
    return X.rechunk({1: -1}).map_blocks(
        partial(_mapped, function=function, ensure_all_finite=ensure_all_finite),
        chunks=(X.chunks[0], (n_columns,)),
        meta=np.empty((0, n_columns), _dtype_of(X)),
    )


def stand_in(X: Array) -> NDArray:
    """Array of zeros of the shape and type of a Dask array, that takes no memory.

    Parameters
    ----------
    X : dask.array.Array
        Chunked in any way.

    Returns
    -------
    stand_in : ndarray
        Of the same shape.

    Raises
    ------
    ValueError
        If the sizes of chunks are not known.
    """
    if np.isnan(sum(X.shape)):
        raise ValueError(
            f"X has chunks of unknown sizes, shape {X.shape}. Call X.compute_chunk_sizes() first."
        )
    return np.broadcast_to(np.zeros((), X.dtype), X.shape)


def sum_duplicates(X: sparse.csr_array) -> sparse.csr_array:
    """A sparse array in which no entry is stored in several parts, as SciPy allows it.

    Statistics of the stored numbers, scikit-learn's too, take the parts for entries.
    """
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def _dtype_of(X):
    return np.dtype(np.float32 if X.dtype == np.float32 else np.float64)


def _mapped(rows, function, ensure_all_finite):
    rows = check_array(
        rows,
        dtype=_dtype_of(rows),
        input_name="X",
        ensure_min_samples=0,
        ensure_all_finite=ensure_all_finite,
    )
    return function(rows)


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
