"""A comparison as one page of HTML. It needs no network."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.evaluation import Result
from metricalign.command_line.messages import LEGEND, columns_of, verdict
from metricalign.command_line.methods import fit_method
from metricalign.command_line.models import TableModel, explained
from metricalign.command_line.tasks import Task
from metricalign.plotting.curves import CurvesDisplay, column_curves
from metricalign.plotting.drawing import COLORS, check_matplotlib
from metricalign.predictors.explanation import name_of_column, text_of_number

__all__ = ["Report", "write_report"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0;
  padding: 1rem; }
body > * { max-width: 60rem; margin-left: auto; margin-right: auto; box-sizing: border-box; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { background: #eef4fb; border-left: 4px solid #2f6db3; padding: .8rem 1rem; }
.warning { background: #fdf3e1; border-left: 4px solid #c47f00; padding: .5rem 1rem; }
body > .wide { overflow-x: auto; width: fit-content; min-width: min(60rem, 100%);
  max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
.chosen td { font-weight: 600; }
.bar { background: #2f6db3; height: .8rem; display: inline-block;
  width: calc(var(--share) * min(14rem, 30vw)); }
pre { font-size: .8rem; background: #f6f6f6; padding: .7rem; overflow-x: auto; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
img { width: 100%; height: auto; }
@media (max-width: 40rem) {
  .compared, .compared tbody { display: block; }
  .compared tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr));
    border-bottom: 1px solid #ddd; padding: .4rem 0; }
  .compared tr:first-child, .compared td:empty { display: none; }
  .compared td { border: 0; padding: .1rem .5rem .1rem 0; }
  .compared td:first-child { grid-column: 1 / -1; }
  .compared td + td::before { content: attr(data-name); display: block; color: #666;
    font: .75rem system-ui, sans-serif; }
}
.scale { background: linear-gradient(to right, hsl(212, 60%, 88%), hsl(212, 60%, 26%));
  height: .8rem; width: 8rem; display: inline-block; }
svg { display: block; }
svg circle:hover { stroke: #000; stroke-width: 2; }
"""
# Numbers of rows that are drawn and explained, of neighbours that explain a row, and of columns
# whose importance and whose curve are shown.
N_DRAWN, N_EXPLAINED, N_NEIGHBORS, N_IMPORTANCES, N_CURVES = 400, 3, 4, 15, 6
OTHERS = "#cccccc"
CURVES = (
    "How fast the distance grows along the columns that matter most; in grey, where the rows are. "
    "A steep curve has a small share where another column makes up for it."
)


@dataclass
class Report:
    """The contents of a page.

    Attributes
    ----------
    task : Task
        The task on which methods were compared.
    targets : list of str
        Names of the columns of the table that are predicted.
    results : list of Result
        Results of the methods. The first one is Euclid's.
    chosen : str
        The recommended method.
    model : TableModel or None
        The recommended method, fitted. None if it has no neighbours.
    learned : Task
        The task that the model was learned from.
    made : list of str
        Lines that say how the table was read.
    warnings : list of str
        Warnings and notes.
    seed : int
        Seed of all random numbers.
    """

    task: Task
    targets: list[str]
    results: list[Result]
    chosen: str
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
    target = ", ".join(map(name_of_column, report.targets[:3])) + (
        " ..." if len(report.targets) > 3 else ""
    )
    yield f"<h1>{escape(task.name)}: what to predict {escape(target)} by</h1>"
    yield f'<p class="verdict">{escape(verdict(task, report.results))}</p>'
    for text in report.warnings:
        yield f'<p class="warning">{escape(text)}</p>'
    yield "<h2>Compared</h2>"
    yield from _results(report)
    if report.model is not None:
        yield from _of_model(report, report.model)
    yield "<h2>What was made of the table</h2>"
    yield f"<pre>{escape(chr(10).join(report.made))}</pre>"
    yield "</body></html>"


def _results(report):
    columns = columns_of(report.task, report.results, report.chosen)
    names, ways, *rows = zip(*columns, strict=True)
    yield '<div class="wide"><table class="compared"><tr>'
    for name, way in zip(names, ways, strict=True):
        yield f"<th>{escape(name)}<br><small>{escape(way)}</small></th>"
    yield "</tr>"
    for result, (label, *cells) in zip(report.results, rows, strict=True):
        mark = ' class="chosen"' if result.label == report.chosen else ""
        yield f"<tr{mark}><td>{escape(label)}</td>"
        for name, cell in zip(names[1:], cells, strict=True):
            # On a phone a method is a block, with the name of each number above it.
            yield f'<td data-name="{escape(name)}">{escape(cell)}</td>'
        yield "</tr>"
    yield f"</table></div><p><small>{escape(LEGEND)}</small></p>"


def _of_model(report, model):
    predictor, task = model.predictor, report.learned
    yield "<h2>Columns that make the distance</h2>"
    yield from _importances(task.X.columns, predictor.feature_importances_)
    yield from _curves(predictor, task)
    yield "<h2>The rows, as the distance sees them</h2>"
    yield "<p>Near rows are alike. Point at one to see its number and its target.</p>"
    yield from _embedding(model, task)
    yield "<h2>Some rows and their neighbours</h2>"
    yield from _explanations(report.task, model.method, report.seed)


def _explanations(task: Task, method: str, seed: int):
    """Explain a few rows by a predictor that has not seen them.

    Otherwise the nearest row of each would be itself.
    """
    rows = np.arange(len(task.y))
    if task.kind == "class":
        # So no class loses all of its rows.
        _, codes, counts = np.unique(task.y, return_inverse=True, return_counts=True)
        is_frequent = counts[codes] > N_EXPLAINED
        rows = rows[is_frequent] if is_frequent.any() else rows
    explained_rows = rows[np.linspace(0, len(rows) - 1, N_EXPLAINED).astype(int)]
    others = task.part(np.setdiff1d(np.arange(len(task.y)), explained_rows))
    with warnings.catch_warnings():
        # The fit to all rows has warned already.
        warnings.simplefilter("ignore")
        predictor = fit_method(others, method, seed)
    yield "<p>These rows were held out: the distance was learned again without them.</p>"
    for row in explained_rows:
        yield f"<p>Row {task.row_numbers[row]}, target {escape(_target_of(task, row))}:</p>"
        sample = task.X.iloc[[row]]
        found = explained(predictor, sample, N_NEIGHBORS, others.row_numbers, task.names)
        yield f"<pre>{escape(str(found))}</pre>"


def _target_of(task, row):
    y = task.y[row]
    if task.kind == "labels":
        return ", ".join(name for name, has in zip(task.names, y, strict=True) if has) or "none"
    if task.kind == "class":
        return str(y)
    return ", ".join(text_of_number(value) for value in np.ravel(y))


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


def _curves(predictor, task) -> Iterator[str]:
    """Pictures of the curves of the most important columns, if matplotlib is installed."""
    try:
        check_matplotlib("--report")
    except ImportError:
        return
    from matplotlib.figure import Figure

    curves = column_curves(predictor, task.X, max_columns=N_CURVES)
    if not curves:
        return
    figures = [Figure((4.2, 3.0), layout="constrained") for _ in curves]
    display = CurvesDisplay(curves=curves).plot(ax=[figure.subplots() for figure in figures])
    yield f"<p>{CURVES}</p>"
    yield f"<p>{_marks(display.lines_.items())}</p>"
    yield '<div class="curves">'
    for figure, curve in zip(figures, curves, strict=True):
        image = io.BytesIO()
        figure.savefig(image, dpi=110, format="png")
        code = base64.b64encode(image.getvalue()).decode()
        yield f'<img alt="curve of {escape(curve.name)}" src="data:image/png;base64,{code}">'
    yield "</div>"


def _marks(colours: Iterable[tuple[Any, str]]) -> str:
    """A legend of colours."""
    marks = [
        f'<span style="color:{colour}">&#9679;</span>&nbsp;{escape(str(label))}'
        for label, colour in colours
    ]
    return " &ensp; ".join(marks)


def _embedding(model: TableModel, task: Task):
    """The rows as points along the two directions in which their images vary most."""
    rows = np.sort(np.random.default_rng(0).permutation(len(task.y))[:N_DRAWN])
    images = np.asarray(model.images_of(task.X.iloc[rows]), dtype=np.float64)
    images = images - images.mean(axis=0)
    left, sizes, _ = np.linalg.svd(images, full_matrices=False)
    points = (left * sizes)[:, :2]
    if points.shape[1] < 2:
        points = np.column_stack([points[:, 0], np.zeros(len(points))])
    # Both directions have one scale, so that distances are right.
    points = 300 * points / (np.abs(points).max() or 1.0)
    (left_end, top), (right_end, bottom) = points.min(axis=0) - 10, points.max(axis=0) + 10
    box = f"{left_end:.0f} {top:.0f} {right_end - left_end:.0f} {bottom - top:.0f}"
    yield f'<svg viewBox="{box}" width="100%" role="img" aria-label="rows under the distance">'
    for (x, y), colour, row in zip(points, _colours(task, rows), rows, strict=True):
        title = f"row {task.row_numbers[row]}: {_target_of(task, row)}"
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.75">'
            f"<title>{escape(title)}</title></circle>"
        )
    yield "</svg>"
    yield f"<p>{_legend(task)}</p>"


def _legend(task):
    """The legend of the points."""
    if task.kind == "class":
        colours: dict[Any, str] = _colours_of_classes(task.y)
        if len(np.unique(task.y)) > len(colours):
            colours["others"] = OTHERS
        return _marks(colours.items())
    values, name = _shaded(task)
    ends = (
        f'{text_of_number(values.min())} <span class="scale"></span> {text_of_number(values.max())}'
    )
    return f"{escape(name)}: {ends}"


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
    values, _ = _shaded(task)
    codes = np.unique(values, return_inverse=True)[1].reshape(-1)
    ranks = codes[rows] / max(codes.max(), 1)
    # The lightest and the darkest colour are those of the style "scale".
    return [f"hsl(212, 60%, {88 - 62 * rank:.0f}%)" for rank in ranks]


def _shaded(task: Task) -> tuple[NDArray, str]:
    """The number that the shade of each row shows, and its name."""
    if task.kind == "number":
        return task.y, "target"
    if task.kind == "labels":
        return task.y.sum(axis=1), "number of labels"
    return task.y[:, 0], task.names[0] if task.names else "first column of the target"
