"""The command predict: predictions for a table by a saved model."""

from __future__ import annotations

import re
import sys
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from metricalign.command_line.messages import wrap
from metricalign.command_line.models import TableModel, load_model
from metricalign.command_line.outputs import check_output, write_file
from metricalign.command_line.reading import InputError, counted
from metricalign.command_line.task_reading import layout_of, reading_of

__all__ = ["predict"]

# Number of rows that are explained.
N_EXPLAINED = 5
# Control characters of terminals. Names and texts of a table may have them.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def predict(options: Namespace) -> None:
    """Predict the target of each row of a table."""
    if options.out:
        check_output(
            options.out, f"--out {options.out}", [Path(options.table), Path(options.model)]
        )
    model = load_model(options.model)
    if (options.neighbors or options.explain) and not model.has_neighbors:
        raise InputError(f"{model.method} predicts without neighbours; see evaluate --methods.")
    X, differences = model.columns.read_file(options.table, layout_of(options), reading_of(options))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = _predictions(model, X, options.neighbors or 0)
    differences += dict.fromkeys(str(each.message) for each in caught)
    for text in differences:
        print(wrap(f"Note: {text}", "  ", ""), file=sys.stderr)
    if options.out:
        write_file(options.out, lambda file: result.to_csv(file, index=False))
        print(f"{counted(len(result), 'prediction')} of {model.method}: {options.out}")
    elif not options.explain:
        result.to_csv(sys.stdout, index=False)
    if options.explain:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are those of the predictions
            text = _explanations(model, X, options.neighbors or 3)
        print(CONTROL.sub(lambda found: repr(found[0])[1:-1], text))


def _predictions(model: TableModel, X, n_neighbors) -> Any:
    """Table of the number, prediction, probabilities and neighbours of each row."""
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
    """Text that explains, for the first rows, which columns make the distances to the nearest."""
    texts = []
    for row in range(min(N_EXPLAINED, len(X))):
        explanation = model.explanation_of(X.iloc[[row]], n_neighbors)
        texts.append(f"Row {row + 1}\n{explanation}")
    more = len(X) - N_EXPLAINED
    if more > 0:
        texts.append(f"and {counted(more, 'row')} more; rows are those of the training table")
    return "\n\n".join(texts)
