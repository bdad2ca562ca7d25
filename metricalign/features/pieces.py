"""The encoding of a column by the pieces of its range, or by indicators of its categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign.features.observed import ObservedColumn

__all__ = [
    "edges_of",
    "frequent_categories",
    "indicators_of",
    "pieces_of",
    "statistics_of",
    "varies",
]


def varies(column: ObservedColumn) -> bool:
    """Whether values of a column differ by more than rounding errors."""
    if len(column.values) < 2:
        return False
    if column.values.dtype == object:
        return True
    smallest, largest = column.values[[0, -1]].astype(np.float64)
    noise = 4 * np.finfo(column.values.dtype).eps * max(abs(smallest), abs(largest))
    with np.errstate(over="ignore"):
        return largest - smallest > noise


def edges_of(column: ObservedColumn, n_bins: int) -> NDArray:
    """Distinct quantiles of the values of a column. None or one if the column does not vary."""
    values = column.values.astype(np.float64)
    if not varies(column):
        return values[:1]
    with np.errstate(over="ignore"):
        extent = values[-1] - values[0]
    if not np.isfinite(extent):
        raise ValueError(
            f"X has a column from {values[0]:.1e} to {values[-1]:.1e}, whose differences leave the "
            "range of numbers. Scale it."
        )
    if len(values) <= n_bins + 1:
        return values
    weights = _evened(column.weights, n_bins)
    # The small number makes shares equal that differ by rounding only.
    levels = (np.arange(1, n_bins) / n_bins - 1e-12) * weights.sum()
    quantiles = np.searchsorted(np.cumsum(weights), levels)
    return values[np.unique([0, *quantiles, len(values) - 1])]


def _evened(weights, n_bins):
    """Weights, cut so that none has a larger share than 1 / n_bins of the sum.

    Otherwise a value that most samples have would take the bins of the other values.
    """
    largest = np.sort(weights)[::-1][:n_bins]
    rest = weights.sum() - np.append(0, np.cumsum(largest)[:-1])
    limits = rest / np.arange(n_bins, 0, -1)
    return np.minimum(weights, limits[np.argmax(largest <= limits)])


def pieces_of(values: NDArray, edges: NDArray) -> NDArray:
    """The z_b of `PiecewiseLinearEncoder`: positions of values between the edges of each bin."""
    values = values.astype(np.float64)[:, None]
    with np.errstate(over="ignore"):
        pieces = (values - edges[:-1]) / np.diff(edges)
    pieces[:, 1:] = np.maximum(pieces[:, 1:], 0)
    pieces[:, :-1] = np.minimum(pieces[:, :-1], 1)
    return pieces


def frequent_categories(
    column: ObservedColumn, min_frequency: float
) -> tuple[NDArray, NDArray, bool]:
    """The categories with a column of their own, the rare ones, and whether these have one."""
    share = column.weights / (column.weights.sum() or 1)
    is_frequent = share >= min_frequency - 1e-12
    categories, has_rare = column.values[is_frequent], not is_frequent.all()
    if len(categories) + has_rare < 2:
        return categories[:0], column.values, False
    return categories, column.values[~is_frequent], has_rare


def indicators_of(values: NDArray, categories: NDArray, has_rare: bool) -> tuple[NDArray, NDArray]:
    """Indicators of categories, and whether each value has one."""
    numbers = {category: number for number, category in enumerate(categories)}
    n_columns = len(categories) + has_rare
    found = np.array([numbers.get(value, len(categories)) for value in values], dtype=int)
    indicators = np.zeros((len(values), n_columns))
    is_known = found < n_columns
    indicators[np.flatnonzero(is_known), found[is_known]] = 1
    return indicators, is_known


def statistics_of(
    pieces: NDArray, weights: NDArray, missing: float, edges: NDArray | None
) -> tuple[NDArray, NDArray, Any]:
    """Means and scales of the columns of a block, and the linear map to the standardised column."""
    weights = weights / (weights.sum() or 1)
    mean = weights @ pieces
    centred = pieces - mean
    covariance = centred.T @ (weights[:, None] * centred)
    variance = np.trace(covariance)
    n_pieces = len(mean)
    linear_map = np.eye(n_pieces)
    if edges is not None and n_pieces:
        widths = np.diff(edges) / (edges[-1] - edges[0])
        linear_map = widths[None] * np.sqrt(variance / (widths @ covariance @ widths))
    # This scale makes a missing value as far from the others as these are from each other on
    # average.
    total = (1 - missing) * (n_pieces > 0) + missing * (1 - missing)
    scale = np.full(n_pieces, 1 / np.sqrt(variance * total)) if n_pieces else np.zeros(0)
    if 0 < missing < 1:
        mean, scale = np.append(mean, missing), np.append(scale, 1 / np.sqrt(total))
        linear_map = sparse.block_diag([linear_map, [[1.0]]]) if n_pieces else np.eye(1)
    return mean, scale, linear_map
