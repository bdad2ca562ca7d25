"""Explanations of predictions: why rows are neighbours, and which changes matter."""

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

# The sample is compared with this many nearest rows of another target. The row with the fewest
# changes is chosen, because the nearest row may be an exception among its neighbours.
_N_OTHERS = 5
_LINE_LENGTH = 80
# Largest number of labels or numbers whose parts are printed. These are the most probable labels,
# or the first numbers.
_N_OUTPUTS = 6


@dataclass(frozen=True)
class Change:
    """Columns that would have to change for another prediction.

    If the sample had the values of a training row in these columns, and its own values in all
    others, the prediction would be another one. This is not so if any of these columns stays.

    Attributes
    ----------
    row : int
        The training row, by its position. It is one of the five nearest rows with another class or
        set of labels, or with a number that is more than a standard deviation away. It needs the
        fewest columns.
    columns : list of str
        The columns. Those with the largest part in the distance are first.
    before, after : list
        Values of the sample and of the training row.
    prediction : object
        The prediction after the change. A number counts as changed if it moves more than half of
        the way to the prediction for the row, and if this way is longer than half a standard
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

    `print` shows it as a text, and a notebook as a table.
    `metricalign.plotting.ExplanationDisplay` draws it.

    Attributes
    ----------
    prediction : object
        Class, number, numbers, or labels of the sample.
    is_class : bool
        Whether the prediction is a class, or labels.
    neighbors_part : float or ndarray of shape (n_outputs,)
        Part of the neighbours' votes in the prediction. For a class it is in the probability of
        this class, and for label sets in the probabilities of all labels.
    correction : float or ndarray of shape (n_outputs,)
        Part of the regressions. The sum with `neighbors_part` is the prediction, or the
        probability of the predicted class.
    rows : ndarray of int of shape (n_neighbors,)
        Nearest training rows: their positions in the X of `fit`, as of ``X.iloc``, not its index.
    targets : ndarray of shape (n_neighbors,) or (n_neighbors, n_outputs), or list of tuple
        Targets of these rows.
    distances : ndarray of shape (n_neighbors,)
        Distances of these rows.
    weights : ndarray of shape (n_neighbors,)
        Weights of their votes. The weights of all neighbours that vote have the sum 1.
    n_others : int
        Number of further neighbours that vote.
    others_weight : float
        Sum of the weights of the further neighbours.
    others_mean : float, ndarray of shape (n_outputs,) or None
        Weighted mean of the votes of the further neighbours, in the unit of `neighbors_part`. The
        latter is the weighted sum of the votes of the nearest rows, plus
        ``others_weight * others_mean``. None if there are no further neighbours.
    predicted_differences : ndarray of shape (n_neighbors,)
        Norm of the difference of two predictions by the regressions and trees: that for the
        sample, and that for the neighbour. For numbers it is in standard deviations.
    columns : ndarray of str of shape (n_columns,)
        Columns of the table.
    values : list of length n_columns
        Values of the sample.
    neighbor_values : list of ndarray of shape (n_neighbors,)
        Values of the neighbours, for each column.
    contributions : ndarray of shape (n_neighbors, n_columns)
        Part of each column in the squared distance, see
        `metricalign.learners.columns.ColumnMap.contributions`. The sum of each row is
        ``distances**2``. A negative part compensates for other columns, so the rows are nearer.
    change : Change or None
        Columns that would have to change for another prediction. None if there is no other target,
        or if no change of columns changes the prediction.
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
        """Compute the share of each column in the squared distances.

        Returns
        -------
        shares : ndarray of shape (n_neighbors, n_columns)
            The contributions, divided by the squared distance. Zeros for a distance of zero.
        """
        squared = self.contributions.sum(axis=1, keepdims=True)
        return np.divide(
            self.contributions, squared, out=np.zeros_like(self.contributions), where=squared > 0
        )

    def order(self) -> NDArray:
        """Sort the columns by their mean absolute share.

        Returns
        -------
        columns : ndarray of int of shape (n_columns,)
            Places of the columns. The column with the largest share is first.
        """
        return np.argsort(-np.abs(self.shares()).mean(axis=0), kind="stable")

    def text_of_prediction(self) -> str:
        """Write the prediction as a short text.

        Returns
        -------
        text : str
            The prediction.
        """
        return self._text_of(self.prediction)

    def text_of_target(self, place: int) -> str:
        """Write the target of one of the nearest rows as a short text.

        Parameters
        ----------
        place : int
            Place of the row in `rows`.

        Returns
        -------
        text : str
            The target, in at most 30 characters.
        """
        return _cut(self._text_of(self.targets[place]), 30)

    def _text_of(self, target):
        """Write a target with the names of its columns, if they have names."""
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
            target = self._text_of(self.targets[place])
            line = f"{row:>8} {self.distances[place]:>9.3g} {vote:>5}  {target}"
            lines.append(_cut(line, _LINE_LENGTH))
            lines.append(f"{'':>8} {self._because(place)}")
        if self.n_others:
            vote = f"{self.others_weight:.0%}"
            others = f"{f'{self.n_others} more':>8} {'':>9} {vote:>5}  {self._text_of_others()}"
            lines.append(_cut(others, _LINE_LENGTH))
        lines += ["", *self._change_lines()]
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def _text_of_others(self):
        """Write the votes of the neighbours that are not shown, so that the votes add up."""
        mean = self.others_mean
        if not self.is_class:
            return f"{self._text_of(mean)} on average"
        if np.ndim(mean) == 0:
            return f"{mean:.0%} of it for {self.text_of_prediction()}"
        names = self.outputs or range(len(mean))
        shown = self._order_of_outputs()[:_N_OUTPUTS]
        return ", ".join(f"{names[n]} {mean[n]:.0%}" for n in shown)

    def _order_of_outputs(self):
        """Return the places of labels by probability, or of numbers in their order."""
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
        """Write the columns with the largest shares that fit, and the share of the others."""
        shares = self.shares()[place]
        order = [n for n in np.argsort(-np.abs(shares), kind="stable") if round(shares[n], 2)]
        parts = [f"{name_of_column(self.columns[n])} {shares[n]:.0%}" for n in order]
        for n_shown in range(len(parts), -1, -1):
            rest = shares[order[n_shown:]].sum()
            # Adding zero leaves no "-0%".
            others = [f"others {round(rest, 2) + 0.0:.0%}"] if n_shown < len(parts) else []
            text = f"apart by {', '.join(parts[:n_shown] + others)}"
            if len(text) <= _LINE_LENGTH - 9:
                break
        return text if parts else "no column makes a difference"

    def _change_lines(self):
        if self.change is None:
            return ["No change of columns to those of a row with another target changes it."]
        change = self.change
        ending = f"with these values of row {change.row}:"
        prediction = f"The prediction would be {self._text_of(change.prediction)}"
        is_long = len(prediction) + 1 + len(ending) > _LINE_LENGTH
        lines = [prediction, ending] if is_long else [f"{prediction} {ending}"]
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
        # The predicted class, whose probability is shown, stays the same.
        correction = neighborhood.neighbors_part + neighborhood.correction - mean
        of_others = neighborhood._replace(neighbors_part=mean, correction=correction)
        others_mean = predictor._in_units(of_others)[0]
    with warnings.catch_warnings():
        # Warnings about the sample have been given. Here it has many copies, with as many warnings.
        warnings.simplefilter("ignore", UserWarning)
        change = _change(predictor, X, metric, table)
    # Images are in single precision only, so distances are computed from the contributions.
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
        """Make a sample for each mask. The mask selects the values of the other row."""
        pairs = zip(self.table.columns, self.row, masks.T, strict=True)
        return self.table.like([np.concatenate([a, b])[mask.astype(int)] for a, b, mask in pairs])

    def is_changed(self, masks):
        """Return for each mask whether its sample has another prediction."""
        after = self.predictor._coordinates(self.of(masks))
        return self.predictor._is_changed(after, self.before, self.goal)

    def fewest_columns(self, order, most):
        """Find at most `most` columns that suffice, where none can be left out."""
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
    """Return the name of a column. A number, as in a file without names, becomes "column 3"."""
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
    """Format a number with four digits, or with all digits before the point if it is large."""
    return f"{value:{sign}.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:{sign}.4g}"


def _probability(value, sign=""):
    return f"{round(float(value), 3) + 0.0:{sign}.3f}"  # adding zero leaves no "-0.000"


def _cut(line, length):
    return line if len(line) <= length else line[: length - 1] + "…"
