"""The pictures of the command line. They show rows that were held out of the fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from metricalign.command_line.methods import LEARNERS, fit_method, learner_of, plain_neighbors
from metricalign.command_line.models import explained
from metricalign.command_line.tasks import Task, take
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import MetricLearner
from metricalign.plotting import (
    ConvergenceDisplay,
    CurvesDisplay,
    DistanceDecompositionDisplay,
    DistanceRelationDisplay,
    EmbeddingDisplay,
    ExplanationDisplay,
    MetricHeatmapDisplay,
    MetricSpectrumDisplay,
)
from metricalign.plotting.curves import column_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NEEDS", "PICTURES", "draw", "draw_embeddings"]

# Width and height in inches of a figure of two panels side by side.
TWO_PANELS = (9.6, 4.4)
#: What a learner must have for a picture, where not all learners have it.
NEEDS = {
    "decomposition": "matrix",
    "heatmap": "matrix",
    "spectrum": "matrix",
    "convergence": "duality gap",
}
#: The names of all pictures.
PICTURES = ("embedding", "distance_relation", "curves", "explanation", *NEEDS)
# Nearest rows that are explained.
N_EXPLAINED = 5
HELD_OUT = "Rows that were held out while the distance was learned"


def draw(task: Task, method: str, seed: int = 0) -> Iterator[tuple[str, Figure]]:
    """Draw a learned distance: how it maps and orders new rows, and which columns make it.

    The method is fitted to a random half of the rows, and the pictures show the other half. Yields
    names and figures. A picture in `NEEDS` is drawn only if the learner has what it needs.
    """
    from matplotlib import pyplot

    train, held_out = _halves(task, seed)
    X, y = take(task.X, held_out), task.y[held_out]
    predictor = _fitted(task.part(train), method, seed)
    learner = predictor.pipeline_

    for name, display in (
        ("embedding", EmbeddingDisplay),
        ("distance_relation", DistanceRelationDisplay),
    ):
        figure, axes = _figure(1, 2, TWO_PANELS)
        display.from_estimator(learner, X, y, random_state=seed, name=method, ax=axes)
        figure.suptitle(HELD_OUT)
        yield name, figure

    if curves := column_curves(predictor, take(task.X, train)):
        figure = CurvesDisplay(curves=curves).plot().figure_
        pyplot.close(figure)
        yield "curves", figure
    numbers = task.row_numbers
    sample, rows = take(task.X, held_out[:1]), numbers[train]
    figure, ax = _figure(1, 1, (8.0, 4.4))
    explanation = explained(predictor, sample, N_EXPLAINED, rows, task.names)
    ExplanationDisplay(explanation=explanation).plot(ax=ax)
    figure.suptitle(f"Row {numbers[held_out[0]]}, which was held out")
    yield "explanation", figure
    if isinstance(learner[-1], MetricLearner):
        yield "decomposition", _decomposition(task, predictor, train, held_out[0])
        side = 0.16 * min(learner[-1].n_features_in_, 25)
        figure, ax = _figure(1, 1, (4.2 + side, 3.4 + side))
        MetricHeatmapDisplay.from_estimator(learner, ax=ax)
        yield "heatmap", figure
        figure, ax = _figure(1, 1, (6.4, 4.8))
        MetricSpectrumDisplay.from_estimator(learner, ax=ax)
        yield "spectrum", figure
    if isinstance(learner[-1], LinearMetricLearner):
        figure, ax = _figure(1, 1, (6.4, 4.8))
        ConvergenceDisplay.from_estimator(learner, ax=ax)
        yield "convergence", figure


def draw_embeddings(tasks: list[Task], method: str) -> Figure:
    """Draw held-out rows of several tasks, under Euclid's and a learned distance side by side."""
    width, height = TWO_PANELS
    figure, axes = _figure(len(tasks), 2, (width, height * len(tasks)))
    for (left, right), task in zip(np.reshape(axes, (-1, 2)), tasks, strict=True):
        train, held_out = _halves(task, 0)
        learner = _fitted(task.part(train), method, 0).pipeline_
        X, y = take(task.X, held_out), task.y[held_out]
        EmbeddingDisplay.from_estimator(learner, X, y, random_state=0, ax=(left, right))
        for axis in (left, right):
            axis.set_title(f"{task.name}: {axis.get_title()}")
    figure.suptitle(HELD_OUT)
    return figure


def _figure(n_rows, n_columns, size) -> tuple[Figure, Any]:
    """Make a figure and its axes, without a window of pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(n_rows, n_columns)


def _halves(task, seed) -> tuple[NDArray, NDArray]:
    rows = np.arange(len(task.y))
    classes = task.y if task.kind == "class" else None
    if classes is not None and np.unique(classes, return_counts=True)[1].min() < 2:
        classes = None
    return tuple(train_test_split(rows, test_size=0.5, random_state=seed, stratify=classes))


def _fitted(task, method, seed) -> Any:
    if method not in LEARNERS:
        return fit_method(task, method, seed)
    # The pictures do not show the number of neighbours, and the search for it takes folds.
    return plain_neighbors(task, learner_of(task, LEARNERS[method], seed), N_EXPLAINED)


def _decomposition(task, predictor, train, row):
    """Draw which columns make the distance of a held-out row to its nearest training row."""
    sample, learner = take(task.X, [row]), predictor.pipeline_
    nearest = train[predictor.kneighbors(sample, 1, return_distance=False)[0]]
    numbers = task.row_numbers
    name = f"row {numbers[row]} and its nearest, {numbers[nearest[0]]}"
    n_bars = min(learner[-1].n_features_in_, 11)
    figure, axes = _figure(1, 2, (11.0, 4.4 + 0.16 * n_bars))
    DistanceDecompositionDisplay.from_estimator(
        learner, sample, take(task.X, nearest), name=name, ax=axes
    )
    return figure
