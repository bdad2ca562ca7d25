"""Explanations: why rows are neighbours, and what would have to change for another prediction."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime
from html import escape
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from metricalign._arrays import is_frame, is_missing
from metricalign.features.contents import is_date
from metricalign.learners.columns import column_map

__all__ = ["Change", "Explanation"]

# The sample is compared with so many nearest rows of another target, and the row that takes the
# fewest changes counts: the nearest alone may be an exception among its neighbours.
_N_OTHERS = 5
_LINE_LENGTH = 80
# Most labels or numbers whose parts are printed: the most probable labels, or the first numbers.
_N_OUTPUTS = 6


@dataclass(frozen=True)
class Change:
    """What would have to change for another prediction.

    If the sample had the values of a training row in these columns, and kept its own in all
    others, the prediction would be another one. No column can be left out.

    Attributes
    ----------
    row : int
        The training row. Of the five nearest rows with another class or set of labels, or with a
        number that is more than a standard deviation away, it takes the fewest columns.
    columns : list of str
        The columns, the ones with the largest part in the distance first.
    before, after : list
        Values of the sample and of the training row.
    prediction : object
        The prediction after the change. A number counts as changed if it went more than half of
        the way to the prediction for the row, and this way is longer than half a standard
        deviation.
    """

    row: int
    columns: list[str]
    before: list[Any]
    after: list[Any]
    prediction: Any


@dataclass(frozen=True, repr=False)
class Explanation:
    """Nearest training rows of a sample, and why they are near.

    It prints as a text and shows as a table in a notebook.
    `metricalign.plotting.ExplanationDisplay` draws it.

    Attributes
    ----------
    prediction : object
        Class, number, numbers, or labels of the sample.
    is_class : bool
        Whether it is a class, or labels.
    neighbors_part : float or ndarray of shape (n_outputs,)
        What the neighbours' votes say: of a class its probability, of label sets those of all
        labels.
    correction : float or ndarray of shape (n_outputs,)
        What the regressions add, so that the sum is the prediction: of a class its probability.
    rows : ndarray of int of shape (n_neighbors,)
        Nearest training rows.
    targets : ndarray of shape (n_neighbors,) or (n_neighbors, n_outputs), or list of tuple
        Their targets.
    distances : ndarray of shape (n_neighbors,)
        Their distances.
    weights : ndarray of shape (n_neighbors,)
        Weights of their votes. Those of all neighbours that vote sum to 1.
    n_others : int
        How many more neighbours vote.
    others_weight : float
        The sum of their weights.
    others_mean : float, ndarray of shape (n_outputs,) or None
        What they say, by their weights, in the unit of `neighbors_part`. That is the sum of
        ``weights`` times what the nearest rows say, and of ``others_weight * others_mean``. None if
        there are no others.
    predicted_differences : ndarray of shape (n_neighbors,)
        How differently the regressions, trees among them, predict the targets of the sample and of
        the neighbour: the norm, for numbers in standard deviations.
    columns : ndarray of str of shape (n_columns,)
        Columns of the table.
    values : list of length n_columns
        Values of the sample.
    neighbor_values : list of ndarray of shape (n_neighbors,)
        Values of the neighbours, for each column.
    contributions : ndarray of shape (n_neighbors, n_columns)
        Part of each column in the squared distance, see
        `metricalign.learners.columns.ColumnMap.contributions`; the row sums are ``distances**2``. A
        negative one brings the two nearer, as it makes up for other columns.
    change : Change or None
        What would have to change for another prediction; None if there is no other target, or if
        the prediction stays the same whatever is changed.
    outputs : list of str or None, default=None
        Names of the labels, or of several numbers, if they have names.
    """

    prediction: Any
    is_class: bool
    neighbors_part: Any
    correction: Any
    rows: NDArray
    targets: Any
    distances: NDArray
    weights: NDArray
    n_others: int
    others_weight: float
    others_mean: Any
    predicted_differences: NDArray
    columns: NDArray
    values: list[Any]
    neighbor_values: list[NDArray]
    contributions: NDArray
    change: Change | None
    outputs: list[str] | None = None

    def shares(self) -> NDArray:
        """Contributions as shares of the squared distance; zeros at distance zero.

        Returns
        -------
        shares : ndarray of shape (n_neighbors, n_columns)
        """
        squared = self.contributions.sum(axis=1, keepdims=True)
        return np.divide(
            self.contributions, squared, out=np.zeros_like(self.contributions), where=squared > 0
        )

    def order(self) -> NDArray:
        """Columns by their mean absolute share, the largest first.

        Returns
        -------
        columns : ndarray of int of shape (n_columns,)
        """
        return np.argsort(-np.abs(self.shares()).mean(axis=0), kind="stable")

    def text_of_prediction(self) -> str:
        """The prediction in short.

        Returns
        -------
        text : str
        """
        return self._text_of(self.prediction)

    def text_of_target(self, place: int) -> str:
        """The target of one of the nearest rows in short.

        Parameters
        ----------
        place : int
            Its place in `rows`.

        Returns
        -------
        text : str
        """
        return _cut(self._text_of(self.targets[place]), 30)

    def _text_of(self, target):
        """A target by the names of its columns, if they have names."""
        if not isinstance(target, np.ndarray) or self.outputs is None:
            return _text(target)
        named = zip(self.outputs, target, strict=True)
        if self.is_class:
            return _text(tuple(name for name, has in named if has))
        return ", ".join(f"{name} {_text(value)}" for name, value in named)

    def __str__(self) -> str:
        lines = [f"Prediction: {self.text_of_prediction()}", *self._parts(), ""]
        lines = [_cut(line, _LINE_LENGTH) for line in lines]
        lines.append(f"{'row':>8} {'distance':>9} {'vote':>5}  target")
        for place, row in enumerate(self.rows):
            vote = f"{self.weights[place]:.0%}"
            target = self.text_of_target(place)
            lines.append(f"{row:>8} {self.distances[place]:>9.3g} {vote:>5}  {target}")
            lines.append(f"{'':>8} {self._because(place)}")
        if self.n_others:
            vote = f"{self.others_weight:.0%}"
            others = f"{f'{self.n_others} more':>8} {'':>9} {vote:>5}  {self._text_of_others()}"
            lines.append(_cut(others, _LINE_LENGTH))
        lines += ["", *self._change_lines()]
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def _text_of_others(self):
        """What the neighbours say that are not shown, so that votes add up."""
        mean = self.others_mean
        if not self.is_class:
            return f"{self._text_of(mean)} on average"
        if np.ndim(mean) == 0:
            return f"{mean:.0%} of it for {self.text_of_prediction()}"
        names = self.outputs or range(len(mean))
        shown = self._order_of_outputs()[:_N_OUTPUTS]
        return ", ".join(f"{names[n]} {mean[n]:.0%}" for n in shown)

    def _order_of_outputs(self):
        """The most probable labels first, numbers in their order."""
        total = np.ravel(self.neighbors_part) + np.ravel(self.correction)
        return np.argsort(-total, kind="stable") if self.is_class else np.arange(len(total))

    def _parts(self):
        form = _probability if self.is_class else text_of_number
        parts, corrections = np.ravel(self.neighbors_part), np.ravel(self.correction)
        names = [f"{name}: " for name in self.outputs or range(len(parts))]
        lines = []
        for n in self._order_of_outputs()[:_N_OUTPUTS]:
            line = f"  {names[n] if len(parts) > 1 else ''}"
            if self.is_class:
                line += f"probability {form(parts[n] + corrections[n])}: "
            line += f"{form(parts[n])} by votes"
            added = f", {form(corrections[n], '+')} by correction" if corrections.any() else ""
            lines.append(line + added)
        return lines

    def _because(self, place):
        """The columns with the largest shares as far as they fit, and the share of the others."""
        shares = self.shares()[place]
        order = [n for n in np.argsort(-np.abs(shares), kind="stable") if round(shares[n], 2)]
        parts = [f"{name_of_column(self.columns[n])} {shares[n]:.0%}" for n in order]
        for n_shown in range(len(parts), -1, -1):
            rest = shares[order[n_shown:]].sum()
            others = [f"others {rest:.0%}"] if n_shown < len(parts) else []
            text = f"apart by {', '.join(parts[:n_shown] + others)}"
            if len(text) <= _LINE_LENGTH - 9:
                break
        return text if parts else "no column makes a difference"

    def _change_lines(self):
        if self.change is None:
            return ["No change of columns to those of a row with another target changes it."]
        change = self.change
        ending = f" with these values of row {change.row}:"
        prediction = f"The prediction would be {self._text_of(change.prediction)}"
        lines = [_cut(prediction, _LINE_LENGTH - len(ending)) + ending]
        for column, before, after in zip(change.columns, change.before, change.after, strict=True):
            lines.append(f"  {name_of_column(column)}: {_text(after)} in place of {_text(before)}")
        return [_cut(line, _LINE_LENGTH) for line in lines]

    def _repr_html_(self) -> str:
        shown = self.order()[:6]
        shares = self.shares()
        head = ["row", "distance", "vote", "target", *self.columns[shown]]
        own = ["this one", "", "", self.text_of_prediction()]
        own += [_text(self.values[column]) for column in shown]
        rows = [own]
        for place, row in enumerate(self.rows):
            cells = [str(row), f"{self.distances[place]:.3g}", f"{self.weights[place]:.0%}"]
            cells.append(self.text_of_target(place))
            for column in shown:
                value = _text(self.neighbor_values[column][place])
                cells.append(f"{value} ({shares[place, column]:.0%})")
            rows.append(cells)
        if self.n_others:
            others = [f"{self.n_others} more", "", f"{self.others_weight:.0%}"]
            rows.append([*others, self._text_of_others()])
        lines = ["".join(f"<th>{escape(str(name))}</th>" for name in head)]
        lines += ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in rows]
        table = "".join(f"<tr>{line}</tr>" for line in lines)
        change = "<br>".join(escape(line) for line in self._change_lines())
        note = "In brackets: share of the squared distance."
        return f"<table>{table}</table><p>{note}</p><p>{change}</p>"


def explanation_of(predictor: Any, X: Any, n_neighbors: int) -> Explanation:
    """Explain the prediction of one sample by a fitted predictor."""
    neighborhood = predictor.neighborhood(X)
    shown = slice(min(n_neighbors, neighborhood.indices.shape[1]))
    places = neighborhood.places[0, shown]
    table = Rows(X)
    metric = column_map(predictor.pipeline_)
    neighbors = [column[places] for column in predictor._values]
    contributions = metric.contributions(X, table.like(neighbors))
    part, total = predictor._in_units(neighborhood)
    weights = neighborhood.weights[0]
    n_shown, others_weight = shown.stop, weights[shown.stop :].sum()
    others_mean = None
    if others_weight > 0:
        of_others = predictor._targets[neighborhood.places[0, n_shown:]]
        mean = weights[None, n_shown:] @ of_others / others_weight
        # The prediction, of whose class a probability is, stays the same.
        correction = neighborhood.neighbors_part + neighborhood.correction - mean
        of_others = neighborhood._replace(neighbors_part=mean, correction=correction)
        others_mean = predictor._in_units(of_others)[0]
    with warnings.catch_warnings():
        # What is unusual about the sample has been said, and it has many copies here.
        warnings.simplefilter("ignore", UserWarning)
        change = _change(predictor, X, metric, table)
    # From the contributions, so that they agree: images are kept in single precision only.
    distances = np.sqrt(np.maximum(contributions.sum(axis=1), 0))
    expected = predictor._predicted[places] - neighborhood.predicted[0]
    return Explanation(
        prediction=predictor.predict(X)[0],
        is_class=is_classifier(predictor),
        neighbors_part=part,
        correction=total - part,
        rows=predictor.samples_[places],
        targets=predictor._decoded(predictor._targets[places]),
        distances=distances,
        weights=weights[shown],
        n_others=int(np.count_nonzero(weights[n_shown:])),
        others_weight=float(others_weight),
        others_mean=others_mean,
        predicted_differences=np.linalg.norm(expected, axis=1),
        columns=metric.names,
        values=[column[0] for column in table.columns],
        neighbor_values=neighbors,
        contributions=contributions,
        change=change,
        outputs=predictor._names_of_outputs(),
    )


class Rows:
    """Columns of a table as arrays, and tables of the same kind made from such columns."""

    def __init__(self, X: Any):
        self.X = X
        self.is_frame = is_frame(X)
        if self.is_frame:
            columns = [_as_array(X[name]) for name in X.columns]
        else:
            columns = list(np.asarray(X).T)
        self.columns = [_plain(column) for column in columns]

    def like(self, columns: list[NDArray]) -> Any:
        """Make a table of the same kind from columns with other rows."""
        if not self.is_frame:
            return np.stack(columns, axis=1)
        return type(self.X)(
            {
                name: column.tolist() if column.dtype == object else column
                for name, column in zip(self.X.columns, columns, strict=True)
            }
        )


def _as_array(column):
    # With polars 1.0 and NumPy 2, np.asarray of dates crashes the interpreter.
    if is_date(column) and not hasattr(column, "iloc"):
        return np.array([*column.to_list(), None], dtype=object)[:-1]
    return np.asarray(column)


def _plain(column):
    """Replace a library's own missing values, such as pandas.NA, by None, and lists by tuples."""
    if column.dtype != object:
        return column
    values = np.empty(len(column), dtype=object)
    for place, value in enumerate(column):
        if isinstance(value, set | frozenset):
            value = sorted(value, key=str)
        is_list = isinstance(value, list | np.ndarray)
        values[place] = tuple(value) if is_list else None if is_missing(value) else value
    return values


def _change(predictor, X, metric, table) -> Change | None:
    """Find the fewest columns to change, towards one of the nearest rows with another target."""
    before = predictor._coordinates(X)
    found, fewest = None, len(table.columns) + 1
    for place in _nearest_others(predictor, X, before):
        row = [column[[place]] for column in predictor._values]
        parts = metric.contributions(X, table.like(row))[0]
        differs = [not _same(*pair) for pair in zip(table.columns, row, strict=True)]
        order = [column for column in np.argsort(-parts, kind="stable") if differs[column]]
        mixture = _Mixture(predictor, table, row, before)
        chosen = mixture.fewest_columns(order, fewest - 1)
        if chosen:
            found, fewest = (place, row, mixture, chosen), len(chosen)
    if found is None:
        return None
    place, row, mixture, chosen = found
    after = predictor.predict(mixture.of(np.isin(np.arange(len(row)), chosen)[None]))[0]
    return Change(
        row=int(predictor.samples_[place]),
        columns=[str(metric.names[column]) for column in chosen],
        before=[table.columns[column][0] for column in chosen],
        after=[row[column][0] for column in chosen],
        prediction=after,
    )


def _nearest_others(predictor, X, before):
    """Find the nearest training rows with another target, the nearest first."""
    places = np.flatnonzero(predictor._is_other(predictor._targets, before))
    images = predictor._images_of(X)[0]
    distances = np.linalg.norm(predictor._search.samples[places] - images[0], axis=1)
    return places[np.argsort(distances, kind="stable")][:_N_OTHERS]


class _Mixture:
    """Samples with some values of one row and the other values of another row."""

    def __init__(self, predictor, table, row, before):
        self.predictor, self.table, self.row, self.before = predictor, table, row, before
        self.goal = predictor._coordinates(self.of(np.ones((1, len(row)), dtype=bool)))[0]

    def of(self, masks):
        """Make a sample for each mask, which says what values it takes from the other row."""
        pairs = zip(self.table.columns, self.row, masks.T, strict=True)
        return self.table.like([np.concatenate([a, b])[mask.astype(int)] for a, b, mask in pairs])

    def is_changed(self, masks):
        """Return for each mask whether its sample has another prediction."""
        after = self.predictor._coordinates(self.of(masks))
        return self.predictor._is_changed(after, self.before, self.goal)

    def fewest_columns(self, order, most):
        """Find at most `most` columns that suffice and of which none can be left out."""
        masks = np.zeros((min(most, len(order)), len(self.row)), dtype=bool)
        for number, column in enumerate(order[:most]):
            masks[number:, column] = True
        if len(masks) == 0:
            return []
        enough = np.flatnonzero(self.is_changed(masks))
        if len(enough) == 0:
            return []
        chosen = order[: enough[0] + 1]
        while len(chosen) > 1:
            masks = np.zeros((len(chosen), len(self.row)), dtype=bool)
            masks[:, chosen] = ~np.eye(len(chosen), dtype=bool)
            needless = np.flatnonzero(self.is_changed(masks))
            if len(needless) == 0:
                break
            del chosen[needless[-1]]
        return chosen


def _same(left, right):
    """Whether two arrays of one value hold the same value, or both a missing one."""
    left, right = left[0], right[0]
    return bool(left == right) or (left != left and right != right)


def name_of_column(name: Any) -> str:
    """The name of a column: a number, as of a file without names, is none beside others."""
    return f"column {name}" if str(name).isdigit() else str(name)


def _text(value):
    if value is None or (isinstance(value, Real) and value != value):
        return "missing"
    if isinstance(value, np.ndarray):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, tuple):
        return "{" + ", ".join(map(_text, value)) + "}"
    if isinstance(value, float | np.floating):
        return text_of_number(value)
    if isinstance(value, np.datetime64):
        return _text(value.astype("datetime64[s]").item())  # None for what is missing
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds").removesuffix(" 00:00:00")
    return str(value)


def text_of_number(value: Any, sign: str = "") -> str:
    """Format a number with four digits, or all digits before the point: no exponent for a price."""
    return f"{value:{sign}.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:{sign}.4g}"


def _probability(value, sign=""):
    return f"{round(float(value), 3) + 0.0:{sign}.3f}"  # adding zero leaves no "-0.000"


def _cut(line, length):
    return line if len(line) <= length else line[: length - 1] + "…"
