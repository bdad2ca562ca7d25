"""The distinct values of columns and their weights, of dense, sparse and Dask arrays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

from metricalign._arrays import dtype_of, find_missing

__all__ = ["ObservedColumn", "observe", "observe_chunks", "observe_sparse"]

# A chunk of a Dask array describes a column by at most so many values.
_SKETCH_SIZE = 1024


class ObservedColumn(NamedTuple):
    """Distinct values of a column in ascending order, their weights, and that of missing values."""

    values: NDArray
    weights: NDArray
    missing: float


def observe(column: NDArray, weight: NDArray) -> ObservedColumn:
    """Observe a column of samples that have these weights."""
    if column.dtype == object:
        is_missing = find_missing(column)
        numbers: dict[Any, int] = {}
        group = [numbers.setdefault(value, len(numbers)) for value in column[~is_missing]]
        values = np.empty(len(numbers), dtype=object)
        values[:] = list(numbers)
        order = sorted(range(len(values)), key=lambda i: (type(values[i]).__name__, values[i]))
        weights = np.bincount(group, weight[~is_missing], minlength=len(values))
        return ObservedColumn(values[order], weights[order], weight[is_missing].sum())
    is_missing = np.isnan(column)
    values, group = np.unique(column[~is_missing], return_inverse=True)
    weights = np.bincount(group, weight[~is_missing], minlength=len(values))
    return ObservedColumn(values, weights, weight[is_missing].sum())


def observe_sparse(X: sparse.csc_array, weight: NDArray) -> list[ObservedColumn]:
    """Observe each column of a sparse array, without a look at every zero."""
    columns, total = [], weight.sum()
    for start, end in pairwise(X.indptr):
        stored = weight[X.indices[start:end]]
        n_zeros = np.count_nonzero(weight) - np.count_nonzero(stored)
        column, weights = X.data[start:end][stored > 0], stored[stored > 0]
        if n_zeros:
            column = np.append(column, X.dtype.type(0))
            weights = np.append(weights, max(total - weights.sum(), 0))
        columns.append(observe(column, weights))
    return columns


def observe_chunks(X: Any, weight: NDArray, estimator_name: str) -> list[ObservedColumn]:
    """Observe each column of a Dask array. Chunks with many values are summarised by few."""
    import dask

    X = X.rechunk({1: -1})
    starts = np.cumsum([0, *X.chunks[0]])
    describe = dask.delayed(_sketches)
    chunks = dask.compute(
        *(
            describe(rows, weight[start:end], dtype_of(X), estimator_name)
            for rows, (start, end) in zip(X.to_delayed().flat, pairwise(starts), strict=True)
        )
    )
    return [_joined(sketches) for sketches in zip(*chunks, strict=True)]


def _sketches(rows, weight, dtype, estimator_name):
    """Summary of each column of a chunk."""
    rows = check_array(
        rows,
        dtype=dtype,
        ensure_all_finite="allow-nan",
        ensure_min_samples=0,
        input_name="X",
        estimator=estimator_name,
    )
    kept = np.flatnonzero(weight)
    return [_shortened(observe(column[kept], weight[kept])) for column in rows.T]


def _shortened(column):
    """Summary of a column by few values, if it has many.

    The extreme values stay. The values between them are divided into groups of about equal weight,
    and two values stand for each group. The smaller one is the smallest of the group, and both
    together have the mean and the variance of the group.
    """
    values, weights, missing = column
    if len(values) <= _SKETCH_SIZE:
        return column
    inner, inner_weights = values[1:-1].astype(np.float64), weights[1:-1]
    share = (np.cumsum(inner_weights) - inner_weights / 2) / inner_weights.sum()
    places = (share * (_SKETCH_SIZE // 2 - 1)).astype(int)
    _, first, group = np.unique(places, return_index=True, return_inverse=True)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is refused later
        extent = inner[-1] - inner[0]
        offsets = (inner - inner[first][group]) / extent
    sums, firsts, seconds = (np.bincount(group, inner_weights * offsets**k) for k in range(3))
    varies = np.flatnonzero(seconds > 0)
    higher = inner[first[varies]] + extent * seconds[varies] / firsts[varies]
    higher_weights = firsts[varies] ** 2 / seconds[varies]
    lower_weights = sums - np.bincount(varies, higher_weights, minlength=len(sums))
    # The values are in double precision, so that no float32 is rounded.
    return ObservedColumn(
        np.concatenate([values[:1], inner[first], higher, values[-1:]]),
        np.concatenate([weights[:1], lower_weights, higher_weights, weights[-1:]]),
        missing,
    )


def _joined(sketches):
    values, weights, missing = zip(*sketches, strict=True)
    joined = observe(np.concatenate(values), np.concatenate(weights))
    return joined._replace(missing=sum(missing))
