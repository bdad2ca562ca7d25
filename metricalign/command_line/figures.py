"""The figure of the command line: the held-out half of the rows, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from metricalign.command_line.evaluation import METHODS, Task, learner_of, take
from metricalign.command_line.tables import InputError

__all__ = ["draw", "figure_format", "figure_formats"]

INSTALL = 'drawing needs matplotlib: pip install "metricalign[plot]"'
MOST_POINTS = 2000
MOST_COLOURS = 10


def figure_formats() -> set[str]:
    """Tell the file formats that matplotlib writes.

    Returns
    -------
    formats : set of str
        Such as "png"; empty if matplotlib is not installed.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        return set()
    return set(FigureCanvasBase.get_supported_filetypes())


def draw(tasks: list[Task], method: str, seed: int = 0) -> Any:
    """Draw rows that the metric has not seen, in the plane of their largest variance.

    Parameters
    ----------
    tasks : list of Task
        One row of the figure each.
    method : str
        A name of `METHODS`, fitted to a random half of the rows; the others are drawn.
    seed : int, default=0
        Seed of the halves and of the method.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Euclid on the left, the learned distance on the right.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 0.4 + 3.8 * len(tasks)), layout="constrained")
    figure.suptitle("Rows that were held out while the distance was learned", fontsize="medium")
    parts = figure.subfigures(len(tasks), 1, squeeze=False)[:, 0]
    for part, task in zip(parts, tasks, strict=True):
        _draw_task(part, task, method, seed)
    return figure


def _draw_task(figure, task, method, seed):
    train, shown = _halves(task, seed)
    colours, label = _colours_of(task, shown)
    axes = figure.subplots(1, 2)
    for axis, name in zip(axes, ("Euclid", method), strict=True):
        learner = learner_of(task, METHODS.get(name), seed)
        near = learner.fit_transform(take(task.X, train), task.y[train])
        points = _plane(near, learner.transform(take(task.X, shown)))
        if task.kind == "class":
            _scatter_classes(axis, points, colours, label)
        else:
            drawn = axis.scatter(*points.T, c=colours, s=14, cmap="viridis")
        axis.set_title(f"{task.name}: {name}", fontsize="medium")
        axis.set(xticks=[], yticks=[])
        axis.set_aspect("equal", adjustable="datalim")
    if task.kind != "class":
        figure.colorbar(drawn, ax=list(axes), label=label)
    elif label:
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right center", frameon=False)


def _halves(task, seed):
    rows = np.arange(len(task.y))
    classes = task.y if task.kind == "class" else None
    if classes is not None and np.unique(classes, return_counts=True)[1].min() < 2:
        classes = None
    train, shown = train_test_split(rows, test_size=0.5, random_state=seed, stratify=classes)
    return train, shown[:MOST_POINTS]


def _plane(train, shown) -> NDArray:
    """Project on the two directions of largest variance of the training rows."""
    n_components = min(2, *train.shape)
    points = PCA(n_components, random_state=0).fit(train).transform(shown)
    return np.column_stack([points, np.zeros((len(points), 2 - n_components))])


def _colours_of(task, shown):
    """Return a number for the colour of each row, and what it means."""
    if task.kind == "class":
        classes, codes = np.unique(task.y, return_inverse=True)
        return codes[shown], [str(name) for name in classes] if len(classes) <= 10 else []
    if task.kind == "number":
        return task.y[shown], "target"
    spread = StandardScaler().fit_transform(task.y) if task.kind == "numbers" else task.y
    return PCA(1, random_state=0).fit_transform(spread)[shown, 0], "targets (first component)"


def _scatter_classes(axis, points, codes, names):
    from matplotlib import colormaps

    for code in np.unique(codes):
        axis.scatter(
            *points[codes == code].T,
            s=14,
            color=colormaps["tab10"](code % MOST_COLOURS),
            label=names[code] if names else None,
        )


def figure_format(path: Path) -> str:
    """Get the format that a figure's name asks for, or raise `InputError`."""
    formats = figure_formats()
    if not formats:
        raise InputError(INSTALL)
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in formats:
        raise InputError(
            f"--figure {path}: expected a name that ends in .png, .pdf or .svg"
            + (f", not .{suffix}." if suffix else ".")
        )
    return suffix
