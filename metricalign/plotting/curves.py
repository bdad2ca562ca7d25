"""Picture of the curves of a metric: where along each column distances grow."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metricalign.learners.columns import column_map
from metricalign.plotting.drawing import (
    COLORS,
    axes_of_panels,
    check_count,
    check_matplotlib,
    shortened,
)
from metricalign.predictors.explanation import Rows, name_of_column

__all__ = ["ColumnCurve", "CurvesDisplay", "column_curves"]

# A panel shows at most so many categories, as their names need the space.
_MOST_CATEGORIES = 10
_DENSITY, _MISSING = "#d9dde2", COLORS[2]
_LINES = ((COLORS[0], 2.5), (COLORS[1], 1.5))
_LINE_NAMES = ("along the first axis of the curve", "along the second")
# A second axis with a smaller share of the variance is left out.
_LEAST_SHARE = 0.1
# So large a share of the samples is left out at both ends of a column of numbers, as tails are
# long.
_TAIL = 0.005
_LONGEST_CATEGORY = 14
# Heights are averaged over so many parts of the range of a date.
_N_MEANS = 40
_SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


class ColumnCurve(NamedTuple):
    """Curve of one column.

    Attributes
    ----------
    name : str
        Name of the column.
    importance : float
        Share of the column in the squared distances, see
        `metricalign.learners.columns.ColumnMap.importances`.
    values : ndarray of shape (n_values,)
        Distinct values. Numbers, dates and durations are in ascending order. Categories are in the
        order of pandas if they are ordered, and otherwise in the order of their heights.
    heights : ndarray of shape (n_values, 2)
        Height of each value along the first two principal axes of the curve. The sign of an axis
        makes the heights of numbers, dates, durations and ordered categories rise on the whole. For
        other categories, it makes the height of the most frequent one negative.
    counts : ndarray of int of shape (n_values,)
        Number of samples with each value.
    heights_of_missing : ndarray of shape (2,) or None
        Heights of a missing value. None if no value is missing.
    shares : ndarray of shape (2,)
        Share of each axis in the variance of the curve.
    """

    name: str
    importance: float
    values: NDArray
    heights: NDArray
    counts: NDArray
    heights_of_missing: NDArray | None
    shares: NDArray


class CurvesDisplay:
    """Curve of each column, which shows where along the column distances grow.

    A metric over encoded columns is a sum of curves :math:`f_j(x_j)`, one for each column. A panel
    shows the height of a curve along its first principal axis. It shows the height along the second
    axis too if that has more than a tenth of the variance of the curve.

    If two samples differ in this column only, their distance is at least the difference of their
    heights. The squares of the differences along both axes add up. Distances grow fast where a
    curve is steep. All values are alike where it is flat. All panels have the same unit, that of
    the distance.

    Grey bars show the number of samples with each value. The title has the share of the column in
    all squared distances. The direction of an axis has no meaning for distances. It is the
    direction of larger values, or, for categories, the one away from the most frequent category. A
    date has a point for each sample, as its month or weekday may matter, and a line of their mean.

    Use `from_estimator` to make a display. The parameter is stored as an attribute.

    Parameters
    ----------
    curves : list of ColumnCurve
        Curves to draw. Each has a panel.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_curves,)
        Axes of the panels.
    figure_ : matplotlib Figure
        The figure of `axes_`.
    lines_ : dict from str to str
        Meaning and colour of the lines. Empty if every panel has one line.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from metricalign import MetricEnsemble
    >>> from metricalign.plotting import CurvesDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> learner = MetricEnsemble(random_state=0).fit(X, y)
    >>> display = CurvesDisplay.from_estimator(learner, X, columns=["alcohol", "proline"])
    >>> [curve.name for curve in display.curves]
    ['alcohol', 'proline']
    """

    def __init__(self, *, curves: list[ColumnCurve]):
        self.curves = curves

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, array-like of them or None, default=None
            Axes to draw in, one for each curve. None makes a new figure.

        Returns
        -------
        display : CurvesDisplay
            This display.

        Raises
        ------
        ValueError
            If the number of axes is not that of the curves.
        """
        check_matplotlib(f"{type(self).__name__}.plot")
        self.axes_ = axes = self._axes(ax)
        self.figure_ = axes[0].figure
        heights = np.concatenate([_drawn_heights(curve).ravel() for curve in self.curves])
        low, extent = heights.min(), np.ptp(heights) or 1.0
        for curve, axis in zip(self.curves, axes, strict=True):
            # This leaves room for the density below the curve.
            axis.set_ylim(low - 0.35 * extent, low + 1.06 * extent)
            if curve.values.dtype.kind in "OSU":
                _draw_categories(axis, curve)
            else:
                _draw_numbers(axis, curve)
            title = f"{shortened([name_of_column(curve.name)])[0]}: {curve.importance:.0%}"
            axis.set_title(title, fontsize=11)
            axis.spines[["top", "right"]].set_visible(False)
        has_second = any(curve.shares[1] >= _LEAST_SHARE for curve in self.curves)
        colors = [color for color, _ in _LINES]
        self.lines_ = dict(zip(_LINE_NAMES, colors, strict=True)) if has_second else {}
        if ax is None and has_second:
            handles = [
                axes[0].plot([], [], color=color, linewidth=width)[0] for color, width in _LINES
            ]
            n_columns = min(2, len(axes))
            place = {"loc": "outside lower center", "ncols": n_columns, "frameon": False}
            self.figure_.legend(handles, _LINE_NAMES, **place)
        return self

    def _axes(self, ax):
        n_curves = len(self.curves)
        if ax is None:
            import matplotlib.pyplot as plt

            n_columns = min(3, n_curves)
            n_rows = -(-n_curves // n_columns)
            size = (3.4 * n_columns + 0.4, 2.7 * n_rows + 0.2)
            figure = plt.figure(figsize=size, layout="constrained")
            axes = figure.subplots(n_rows, n_columns, squeeze=False)
            for axis in axes.ravel()[n_curves:]:
                axis.remove()
            for row in axes:
                row[0].set_ylabel("height, in distances")
            return axes.ravel()[:n_curves]
        return axes_of_panels(ax, n_curves)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        columns: ArrayLike | None = None,
        max_columns: int = 6,
        ax: Any = None,
    ) -> Self:
        """Draw the curves of a fitted metric along the values of samples.

        Parameters
        ----------
        estimator : MetricNeighbors predictor, MetricEnsemble, linear metric learner or Pipeline
            Fitted estimator, see `metricalign.learners.columns.column_map`.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Samples, preferably those of the fit, as the curves bend at some of their values.
        columns : array-like of str or int, or None, default=None
            Names or indices of the columns to draw. None takes the most important ones.
        max_columns : int, default=6
            Largest number of columns if `columns` is None.
        ax : matplotlib Axes, array-like of them or None, default=None
            Axes to draw in, one for each curve. None makes a new figure.

        Returns
        -------
        display : CurvesDisplay
            The display, which is drawn.

        Raises
        ------
        TypeError
            If the metric is not a sum over columns.
        ValueError
            If there is no such column, if `max_columns` is not an integer of at least 1, if no
            column can be drawn, since all have free texts, or if the number of axes is not that of
            the curves.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        curves = column_curves(estimator, X, columns=columns, max_columns=max_columns)
        if not curves:
            raise ValueError(
                "X has no column to draw a curve along: numbers, dates, or categories of at most "
                f"{_MOST_CATEGORIES * 4} texts."
            )
        return cls(curves=curves).plot(ax=ax)


def column_curves(
    estimator: Any, X: Any, *, columns: ArrayLike | None = None, max_columns: int = 6
) -> list[ColumnCurve]:
    """Compute the curves of a fitted metric along the values of samples.

    Parameters
    ----------
    estimator : MetricNeighbors predictor, MetricEnsemble, linear metric learner or Pipeline
        Fitted estimator, see `metricalign.learners.columns.column_map`.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Samples.
    columns : array-like of str or int, or None, default=None
        Names or indices of the columns. None takes the most important ones that can be drawn.
    max_columns : int, default=6
        Largest number of columns if `columns` is None.

    Returns
    -------
    curves : list of ColumnCurve

    Raises
    ------
    TypeError
        If the metric is not a sum over columns.
    ValueError
        If there is no such column, if it has free texts, or if `max_columns` is not an integer of
        at least 1.
    """
    check_count("max_columns", max_columns)
    metric = column_map(getattr(estimator, "pipeline_", estimator))
    importances = metric.importances(X)
    values = Rows(X).columns
    has_curve = [_has_order(column) for column in values]
    if columns is None:
        order = np.argsort(-importances, kind="stable")
        chosen = [j for j in order if has_curve[j] and len(metric.blocks[j])][:max_columns]
    else:
        chosen = [_place(column, metric.names) for column in np.atleast_1d(columns)]
        for j in chosen:
            if not has_curve[j]:
                raise ValueError(
                    f"Column {metric.names[j]!r} has more than {_MOST_CATEGORIES * 4} texts, "
                    "which have no order to draw a curve along."
                )
    return [
        _curve(str(metric.names[j]), importances[j], values[j], points, _order_of_categories(X, j))
        for j, points in zip(chosen, metric.curves(X, chosen), strict=True)
    ]


def _has_order(values):
    """Whether a column has numbers, dates, or few categories."""
    if values.dtype != object:
        return True
    present = [value for value in values if value is not None]
    is_text = any(isinstance(value, str) for value in present)
    return not is_text or len(set(present)) <= 4 * _MOST_CATEGORIES


def _place(column, names):
    if isinstance(column, str | np.str_):
        if column not in list(names):
            raise ValueError(f"X has no column {str(column)!r}; its columns are {list(names)}.")
        return list(names).index(column)
    if not 0 <= column < len(names):
        raise ValueError(f"X has columns 0 to {len(names) - 1}; got {column}.")
    return int(column)


def _order_of_categories(X, place):
    """The categories of an ordered column of pandas, as texts. Empty for other columns."""
    dtype: Any = X.dtypes.iloc[place] if hasattr(X, "iloc") else None
    return list(map(str, dtype.categories)) if getattr(dtype, "ordered", False) else []


def _curve(name, importance, values, images, categories=()) -> ColumnCurve:
    centred = images - images.mean(axis=0)
    # A metric of one component has one axis only.
    centred = np.pad(centred, [(0, 0), (0, max(0, 2 - centred.shape[1]))])
    eigenvalues, axes = np.linalg.eigh(centred.T @ centred)
    heights = centred @ axes[:, :-3:-1]
    shares = eigenvalues[:-3:-1] / max(eigenvalues.sum(), np.finfo(float).tiny)
    if values.dtype == object:
        missing = np.array([value is None or value != value for value in values])
    else:
        missing = values != values
    present, heights_present = values[~missing], heights[~missing]
    if any(isinstance(value, tuple) for value in present):
        texts = [", ".join(map(str, members)) or "{}" for members in present]
        present = np.array(texts, dtype=object)
    is_category = present.dtype == object and any(isinstance(v, str) for v in present)
    if present.dtype == object and not is_category:
        present = _typed(present)
    if is_category or present.dtype.kind == "b":
        counts = Counter(present.tolist())
        distinct = np.array([str(value) for value in counts], dtype=object)
        first = {str(v): h for v, h in zip(present, heights_present, strict=True)}
        found = np.array([first[value] for value in distinct])
        numbers = np.array(list(counts.values()))
        if categories:
            order = np.argsort([categories.index(value) for value in distinct])
            signs = _signs(_rises(found[order], numbers[order]))
        else:
            signs = _signs(-found[np.lexsort([distinct, -numbers])[0]])
            order = np.argsort(found[:, 0] * signs[0], kind="stable")
        distinct, found, numbers = distinct[order], found[order], numbers[order]
    else:
        distinct, place, numbers = np.unique(present, return_index=True, return_counts=True)
        found = heights_present[place]
        signs = _signs(_rises(found, numbers))
    of_missing = heights[missing][0] * signs if missing.any() else None
    return ColumnCurve(
        name, float(importance), distinct, found * signs, numbers, of_missing, shares
    )


def _rises(heights, counts):
    """How much the heights rise along sorted values. Ranks are used, as tails are long."""
    ranks = np.cumsum(counts) - counts / 2 - counts.sum() / 2
    return (counts * ranks) @ heights


def _signs(rises):
    """The sign of each axis that makes it rise."""
    return np.where(rises < 0, -1.0, 1.0)


def _typed(values):
    """Convert an array of objects to numbers, dates or durations."""
    if isinstance(values[0], datetime.date):
        return np.array([np.datetime64(_without_zone(value), "us") for value in values])
    if isinstance(values[0], datetime.timedelta):
        return values.astype("timedelta64[us]")
    return values.astype(np.float64)


def _without_zone(date):
    return date.replace(tzinfo=None) if isinstance(date, datetime.datetime) else date


def _shown(curve):
    """Indices of the drawn values: the most frequent categories, or numbers without tails."""
    if curve.values.dtype.kind in "OSU":
        return np.sort(np.argsort(-curve.counts, kind="stable")[:_MOST_CATEGORIES])
    total = np.cumsum(curve.counts) / curve.counts.sum()
    first, last = np.searchsorted(total, [_TAIL, 1 - _TAIL])
    return np.arange(first, min(last, len(total) - 1) + 1)


def _drawn_lines(curve):
    """Heights along the drawn axes, and the style of each line."""
    has_second = curve.shares[1] >= _LEAST_SHARE
    return list(zip(curve.heights.T, _LINES[: 1 + has_second], strict=False))


def _drawn_heights(curve):
    shown = _shown(curve)
    heights = [line[shown] for line, _ in _drawn_lines(curve)]
    if curve.heights_of_missing is not None:
        heights.append(curve.heights_of_missing[:1])
    return np.concatenate(heights)


def _draw_numbers(axis, curve):
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    is_date = curve.values.dtype.kind == "M"
    values = date2num(curve.values) if is_date else curve.values
    if values.dtype.kind == "m":
        values, unit = _durations(values)
        axis.set_xlabel(unit)
    values, shown = values.astype(float), _shown(curve)
    low, high = values[shown][[0, -1]]
    width = high - low or 1.0
    axis.set_xlim(low - 0.03 * width, high + 0.03 * width)
    density = axis.twinx()
    heights = density.hist(values[shown], 30, weights=curve.counts[shown], color=_DENSITY)[0]
    _below(axis, density, heights)
    marker = "o" if len(values) <= _MOST_CATEGORIES else ""
    for heights, (color, line_width) in _drawn_lines(curve):
        style = {"color": color, "linewidth": line_width}
        if is_date:
            axis.plot(
                values, heights, linestyle="", marker=".", markersize=3, color=color, alpha=0.3
            )
            axis.plot(*_means(values[shown], heights[shown], curve.counts[shown]), **style)
        else:
            axis.plot(values, heights, marker=marker, **style)
    if is_date:
        # By default, fewer than five years have a mark for each month, which may be too many.
        locator = AutoDateLocator(minticks=2, maxticks=6)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if curve.heights_of_missing is not None:
        # It is drawn beside the values, as it has no place among them.
        place, height = high + 0.14 * width, curve.heights_of_missing[0]
        axis.plot([place], [height], "x", color=_MISSING, markeredgewidth=2)
        position = {"textcoords": "offset points", "xytext": (0, 7), "ha": "center"}
        axis.annotate("missing", (place, height), **position, color=_MISSING, fontsize=9)
        axis.set_xlim(right=high + 0.3 * width)


def _durations(values):
    """Durations as numbers, in the largest unit of which the longest has at least two."""
    seconds = values / np.timedelta64(1, "s")
    longest = np.abs(seconds).max()
    unit = next((name for name in _SECONDS if longest >= 2 * _SECONDS[name]), "seconds")
    return seconds / _SECONDS[unit], unit


def _means(values, heights, counts):
    """Mean values and heights in equal parts of the range that have samples."""
    edges = np.linspace(values[0], values[-1], _N_MEANS + 1)[1:-1]
    part = np.searchsorted(edges, values, side="right")
    sums = [np.bincount(part, weights) for weights in (counts, counts * values, counts * heights)]
    present = sums[0] > 0
    return [total[present] / sums[0][present] for total in sums[1:]]


def _draw_categories(axis, curve):
    shown = _shown(curve)
    names, counts = list(curve.values[shown]), curve.counts[shown]
    places = np.arange(len(names))
    density = axis.twinx()
    density.bar(places, counts, 0.7, color=_DENSITY)
    _below(axis, density, counts)
    for heights, (color, width) in reversed(_drawn_lines(curve)):
        axis.hlines(heights[shown], places - 0.35, places + 0.35, color=color, linewidth=width)
    if curve.heights_of_missing is not None:
        place = len(names)
        axis.plot([place], [curve.heights_of_missing[0]], "x", color=_MISSING, markeredgewidth=2)
        names, places = [*names, "missing"], np.append(places, place)
    axis.set_xlim(-0.6, len(names) - 0.4)
    labels = shortened(names, _LONGEST_CATEGORY)
    rotation = 0 if sum(map(len, labels)) <= 26 else 40
    alignment = "center" if rotation == 0 else "right"
    axis.set_xticks(places, labels, rotation=rotation, ha=alignment, fontsize=9)


def _below(axis, density, heights):
    """Put the density behind the curve, in the lowest quarter of the panel."""
    density.set_ylim(0, 4.4 * max(np.max(heights), 1))
    density.set_yticks([])
    density.spines[["top", "right", "left"]].set_visible(False)
    axis.set_zorder(density.get_zorder() + 1)
    axis.patch.set_visible(False)
