"""A comparison as one page of HTML, that needs no network."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.evaluation import Result
from metricalign.command_line.messages import gains_of, means, verdict
from metricalign.command_line.methods import fit_method
from metricalign.command_line.models import TableModel, explained
from metricalign.command_line.tasks import Task
from metricalign.plotting.drawing import COLORS
from metricalign.predictors.explanation import _number

__all__ = ["Report", "write_report"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { background: #eef4fb; border-left: 4px solid #2f6db3; padding: .8rem 1rem; }
.warning { background: #fdf3e1; border-left: 4px solid #c47f00; padding: .5rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
.best td { font-weight: 600; }
.bar { background: #2f6db3; height: .8rem; display: inline-block;
  width: calc(var(--share) * min(14rem, 30vw)); }
pre { font-size: .8rem; background: #f6f6f6; padding: .7rem; overflow-x: auto; }
img { width: 100%; min-width: 42rem; height: auto; }
svg circle:hover { stroke: #000; stroke-width: 2; }
"""
# Rows that are drawn and explained, by so many neighbours; columns whose importance is shown.
N_DRAWN, N_EXPLAINED, N_NEIGHBORS, N_IMPORTANCES, N_CURVES = 400, 3, 4, 15, 6
OTHERS = "#cccccc"


@dataclass
class Report:
    """What a page shows.

    Attributes
    ----------
    task : Task
        What was compared.
    targets : list of str
        Columns of the table that are predicted.
    results : list of Result
        Euclid first.
    model : TableModel or None
        The best method, if it has neighbours.
    learned : Task
        The task that the model was learned from.
    made : list of str
        Lines that say what was made of the table.
    warnings : list of str
        Warnings and notes.
    seed : int
        Of what is drawn at random.
    """

    task: Task
    targets: list[str]
    results: list[Result]
    model: TableModel | None
    learned: Task
    made: list[str]
    warnings: list[str]
    seed: int


def write_report(report: Report, file: IO[bytes]) -> None:
    """Write the page into a binary file."""
    file.write("\n".join(_page(report)).encode())


def _page(report: Report) -> Iterable[str]:
    task = report.task
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(task.name)}</title><style>{STYLE}</style></head><body>"
    target = ", ".join(report.targets[:3]) + (" ..." if len(report.targets) > 3 else "")
    yield f"<h1>{escape(task.name)}: what to predict {escape(target)} by</h1>"
    yield f'<p class="verdict">{escape(verdict(task, report.results))}</p>'
    for text in report.warnings:
        yield f'<p class="warning">{escape(text)}</p>'
    yield "<h2>Compared</h2>"
    yield from _results(task, report.results)
    if report.model is not None:
        yield from _of_model(report, report.model)
    yield "<h2>What was made of the table</h2>"
    yield f"<pre>{escape(chr(10).join(report.made))}</pre>"
    yield "</body></html>"


def _results(task, results):
    main, *_ = task.measures
    best = max(results, key=lambda each: main.sign * np.nanmean(each.values[main.name]))
    head = ["method", "gain on Euclid", "better in", *(measure.name for measure in task.measures)]
    rows = []
    columns = [means(measure, results) for measure in task.measures]
    for place, result in enumerate(results):
        gains = gains_of(main, results, result)
        gain = ["", ""]
        if place:
            gain = [f"{np.nanmean(gains):+.3g}", f"{(gains > 0).sum()} of {len(gains)} folds"]
        cells = [result.label, *gain, *(column[place] for column in columns)]
        rows.append((cells, result is best))
    yield from _table(head, rows)
    losses = ", ".join(measure.name for measure in task.measures if measure.is_loss)
    if losses:
        yield f"<p>Lower is better: {escape(losses)}.</p>"


def _table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]]):
    yield '<div class="wide"><table><tr>'
    yield "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    for cells, is_best in rows:
        mark = ' class="best"' if is_best else ""
        yield f"<tr{mark}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
    yield "</table></div>"


def _of_model(report, model):
    predictor, task = model.predictor, report.learned
    yield "<h2>Columns that make the distance</h2>"
    yield from _importances(task.X.columns, predictor.feature_importances_)
    picture = _curves(predictor, task)
    if picture:
        yield "<p>How fast the distance grows along the columns that matter most:</p>"
        yield picture
    yield "<h2>The rows, as the distance sees them</h2>"
    yield "<p>Near rows are alike. Point at one to see its number and its target.</p>"
    yield from _embedding(model, task)
    yield "<h2>Some rows and their neighbours</h2>"
    yield from _explanations(report.task, model.method, report.seed)


def _explanations(task: Task, method: str, seed: int):
    """Explain a few rows by a predictor that has not seen them: each would be its own nearest."""
    rows = np.arange(len(task.y))
    if task.kind == "class":
        # No class is held out as a whole.
        _, codes, counts = np.unique(task.y, return_inverse=True, return_counts=True)
        is_frequent = counts[codes] > N_EXPLAINED
        rows = rows[is_frequent] if is_frequent.any() else rows
    explained_rows = rows[np.linspace(0, len(rows) - 1, N_EXPLAINED).astype(int)]
    others = task.part(np.setdiff1d(np.arange(len(task.y)), explained_rows))
    with warnings.catch_warnings():
        # The fit to all rows has said them.
        warnings.simplefilter("ignore")
        predictor = fit_method(others, method, seed)
    numbers = _number_of(others, np.arange(len(others.y)))
    yield "<p>These rows were held out: the distance was learned again without them.</p>"
    for row in explained_rows:
        yield f"<p>Row {_number_of(task, row)}, target {escape(_target_of(task, row))}:</p>"
        found = explained(predictor, task.X.iloc[[row]], N_NEIGHBORS, numbers, task.names)
        yield f"<pre>{escape(str(found))}</pre>"


def _number_of(task, row):
    """Number of a row in the table."""
    return row + 1 if task.rows is None else task.rows[row]


def _target_of(task, row):
    y = task.y[row]
    if task.kind == "labels":
        return ", ".join(name for name, has in zip(task.names, y, strict=True) if has) or "none"
    return str(y) if np.ndim(y) == 0 else ", ".join(_number(value) for value in y)


def _importances(names, importances):
    order = np.argsort(-importances)[:N_IMPORTANCES]
    largest = importances[order[0]] or 1.0
    yield '<div class="wide"><table>'
    for place in order:
        width = importances[place] / largest
        yield (
            f"<tr><td>{escape(str(names[place]))}</td><td>{importances[place]:.0%}</td>"
            f'<td><span class="bar" style="--share:{max(width, 0):.2f}"></span></td></tr>'
        )
    yield "</table></div>"


def _curves(predictor, task) -> str:
    """The curves of the most important columns, as a picture, where matplotlib is installed."""
    try:
        from metricalign.plotting.curves import CurvesDisplay
        from metricalign.plotting.drawing import check_matplotlib

        check_matplotlib("--report")
    except ImportError:
        return ""
    from matplotlib import pyplot

    figure = CurvesDisplay.from_estimator(predictor, task.X, max_columns=N_CURVES).figure_
    image = io.BytesIO()
    figure.savefig(image, dpi=110, format="png")
    pyplot.close(figure)
    code = base64.b64encode(image.getvalue()).decode()
    image_tag = f'<img alt="curves of the learned distance" src="data:image/png;base64,{code}">'
    return f'<div class="wide">{image_tag}</div>'


def _embedding(model: TableModel, task: Task):
    """The two directions in which the images of the rows vary most, as points with titles."""
    rows = np.sort(np.random.default_rng(0).permutation(len(task.y))[:N_DRAWN])
    images = np.asarray(model.images_of(task.X.iloc[rows]), dtype=np.float64)
    images = images - images.mean(axis=0)
    left, sizes, _ = np.linalg.svd(images, full_matrices=False)
    points = (left * sizes)[:, :2]
    if points.shape[1] < 2:
        points = np.column_stack([points[:, 0], np.zeros(len(points))])
    # One scale for both directions, as distances have.
    points = 300 * points / (np.abs(points).max() or 1.0)
    (left_end, top), (right_end, bottom) = points.min(axis=0) - 10, points.max(axis=0) + 10
    box = f"{left_end:.0f} {top:.0f} {right_end - left_end:.0f} {bottom - top:.0f}"
    yield f'<svg viewBox="{box}" width="100%" role="img" aria-label="rows under the distance">'
    for (x, y), colour, row in zip(points, _colours(task, rows), rows, strict=True):
        title = f"row {_number_of(task, row)}: {_target_of(task, row)}"
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.75">'
            f"<title>{escape(title)}</title></circle>"
        )
    yield "</svg>"
    if task.kind == "class":
        colours = _colours_of_classes(task.y)
        legend = [(str(label), colour) for label, colour in colours.items()]
        if len(np.unique(task.y)) > len(colours):
            legend.append(("others", OTHERS))
        marks = [
            f'<span style="color:{colour}">&#9679;</span>&nbsp;{escape(label)}'
            for label, colour in legend
        ]
        yield "<p>" + " &ensp; ".join(marks) + "</p>"
    elif task.kind == "number":
        yield f"<p>From {_number(task.y.min())} (light) to {_number(task.y.max())} (dark).</p>"


def _colours_of_classes(y: NDArray) -> dict[Any, str]:
    """A colour for each of the most frequent classes, in the order of the classes."""
    classes, counts = np.unique(y, return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[: len(COLORS)])
    return dict(zip(classes[most].tolist(), COLORS, strict=False))


def _colours(task: Task, rows: NDArray) -> list[str]:
    y: Any = task.y
    if task.kind == "class":
        colours = _colours_of_classes(y)
        return [colours.get(label, OTHERS) for label in y[rows].tolist()]
    values = y if y.ndim == 1 else y.sum(axis=1) if task.kind == "labels" else y[:, 0]
    ranks = np.argsort(np.argsort(values))[rows] / max(len(values) - 1, 1)
    return [f"hsl(212, 60%, {88 - 62 * rank:.0f}%)" for rank in ranks]
