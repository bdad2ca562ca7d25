"""Predictions for a table, by a model that has been kept."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from metricalign.command_line.columns import format_difference, typed_column
from metricalign.command_line.messages import wrap
from metricalign.command_line.models import TableModel, load_model
from metricalign.command_line.outputs import check_output, write_file
from metricalign.command_line.reading import (
    Contents,
    InputError,
    counted,
    read_contents,
    shorten,
)
from metricalign.command_line.task_reading import layout_of, reading_of

__all__ = ["predict"]

# Rows that are explained.
N_EXPLAINED = 5


def predict(options: Namespace) -> None:
    """Predict the target of each row of a table."""
    if options.out:
        check_output(
            options.out, f"--out {options.out}", [Path(options.table), Path(options.model)]
        )
    model = load_model(options.model)
    if (options.neighbors or options.explain) and not model.has_neighbors:
        raise InputError(f"{model.method} predicts without neighbours; see evaluate --methods.")
    wanted = model.table_columns if model.layout.has_names else ()
    contents = read_contents(options.table, layout_of(options), wanted, model.layout)
    table = _named(contents, model, options.table)
    reading = reading_of(options)
    frame, differences = _typed_like(table, model, reading)
    for text in [*_differences_of_the_file(contents, model, table), *differences]:
        print(wrap(f"Note: {text}", "  ", ""), file=sys.stderr)
    X = model.columns.transform(frame)
    result = _predictions(model, X, options.neighbors or 0)
    if options.out:
        write_file(options.out, lambda file: result.to_csv(file, index=False))
        print(f"{counted(len(result), 'prediction')} of {model.method}: {options.out}")
    elif not options.explain:
        result.to_csv(sys.stdout, index=False)
    if options.explain:
        print(_explanations(model, X, options.neighbors or 3))


def _named(contents: Contents, model: TableModel, path) -> Any:
    """The table with the names of the training table, also where the file has none."""
    table = contents.table
    if contents.layout.has_names:
        return table
    without = [name for name in model.table_columns if name not in model.targets]
    for names in (model.table_columns, without):
        if len(names) == table.shape[1]:
            return table.set_axis(names, axis=1)
    raise InputError(
        f"{path} has no line of names and {table.shape[1]} columns; expected {len(without)}, or "
        f"{len(model.table_columns)} with the target."
    )


def _differences_of_the_file(contents, model, table):
    layout, training = contents.layout, model.layout
    if layout.delimiter != training.delimiter and layout.delimiter and training.delimiter:
        yield (
            f"the delimiter is {layout.delimiter!r}; it was {training.delimiter!r} in the training "
            "table."
        )
    if layout.has_names != training.has_names:
        has = "has a line of names" if layout.has_names else "has no line of names"
        yield f"the table {has}, unlike the training table."
    more = [name for name in table.columns if name not in model.table_columns]
    if more:
        yield f"{shorten(more)}: not in the training table, not used."


def _typed_like(table, model: TableModel, reading) -> tuple[Any, list[str]]:
    """Columns of the model, in its formats where they have them, and what differs."""
    import pandas as pd

    columns, differences = {}, []
    absent = [name for name in model.columns.formats if name not in table.columns]
    if absent:
        raise InputError(
            f"the table has no column {shorten(absent)}, which the model needs. It has "
            f"{shorten(list(table.columns))}."
        )
    for name, form in model.columns.formats.items():
        column = typed_column(table[name], name, form, reading)
        columns[name] = column.values
        difference = format_difference(column, name, form)
        differences += [] if difference is None else [difference]
        known = model.columns.categories_.get(name)
        new = [] if known is None else sorted({*column.values} - known - {None})
        if new:
            differences.append(f"{name!r} has {shorten(new, 3)}, not in the training table.")
    return pd.DataFrame(columns), differences


def _predictions(model: TableModel, X, n_neighbors) -> Any:
    """Row, prediction, probabilities and neighbours of each row, as a table."""
    import pandas as pd

    predicted = model.predictor.predict(X)
    columns: dict[str, Any] = {"row": np.arange(1, len(predicted) + 1)}
    if predicted.ndim == 1:
        columns["prediction"] = predicted
    elif model.kind == "labels":
        columns["prediction"] = _label_sets(predicted, model.names)
    else:
        columns |= {
            f"prediction {name}": values
            for name, values in zip(model.names, predicted.T, strict=True)
        }
    if model.kind in ("class", "labels"):
        probabilities = model.probabilities_of(X)
        for name, values in zip(model.classes, probabilities.T, strict=True):
            columns[f"probability {name}"] = np.round(values, 4)
    if n_neighbors:
        distances, places = model.neighbors_of(X, n_neighbors)
        for number in range(places.shape[1]):
            columns[f"neighbor {number + 1}"] = model.rows[places[:, number]]
            columns[f"distance {number + 1}"] = np.round(distances[:, number], 6)
            columns[f"target {number + 1}"] = _targets_of(model, places[:, number])
    return pd.DataFrame(columns)


def _label_sets(indicators, names):
    return [
        ", ".join(name for name, has in zip(names, row, strict=True) if has) for row in indicators
    ]


def _targets_of(model, places):
    y = model.y[places]
    if y.ndim == 1:
        return y
    if model.kind == "labels":
        return _label_sets(y, model.names)
    return [" ".join(f"{value:.15g}" for value in row) for row in y]


def _explanations(model: TableModel, X, n_neighbors) -> str:
    """Why the nearest rows of the first rows are near: the columns that make the distance."""
    texts = []
    for row in range(min(N_EXPLAINED, len(X))):
        explanation = model.explanation_of(X.iloc[[row]], n_neighbors)
        texts.append(f"Row {row + 1}\n{explanation}")
    more = len(X) - N_EXPLAINED
    if more > 0:
        texts.append(f"and {counted(more, 'row')} more; rows are those of the training table")
    return "\n\n".join(texts)
