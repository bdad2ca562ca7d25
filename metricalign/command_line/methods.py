"""The methods: neighbours under Euclid's and under learned distances, and boosted trees."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline

import metricalign
from metricalign.command_line.boosted import BoostedTrees
from metricalign.command_line.neighbors import (
    PlainNeighbors,
    PlainNeighborsClassifier,
    PlainNeighborsRegressor,
)
from metricalign.command_line.reading import InputError
from metricalign.command_line.tasks import Task, splits, take
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import EmbeddingLearner
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

__all__ = [
    "DEFAULT_METHODS",
    "LEARNERS",
    "LEARNERS_OF_CLASSES",
    "METHODS",
    "TREES",
    "check_methods",
    "fit_method",
    "learner_of",
    "plain_neighbors",
]

TREES = "BoostedTrees"
# Cross-validation with so many folds of the training rows chooses from these numbers of neighbours.
NEIGHBORS = (3, 5, 10, 20)
INNER_FOLDS = 3


def _is_learner(item):
    if not (isinstance(item, type) and issubclass(item, EmbeddingLearner)):
        return False
    parameters = inspect.signature(item).parameters
    has_defaults = all(each.default is not each.empty for each in parameters.values())
    return has_defaults and "relation" in parameters


#: The public metric learners by the name of their class. Neighbours under their distance vote.
LEARNERS: dict[str, BaseEstimator] = {
    name: getattr(metricalign, name)()
    for name in metricalign.__all__
    if _is_learner(getattr(metricalign, name))
}
#: Learners for classes only, as their loss tells same from different.
LEARNERS_OF_CLASSES = ("DoubletSVM", "PCML", "NCML")
#: The methods that are compared with Euclid's distance by default.
DEFAULT_METHODS = (
    "MetricNeighbors",
    "MetricNeighbors-no-trees",
    "DiscriminantAlignment",
    "PSDSVR",
    TREES,
)
#: All methods.
METHODS = ("MetricNeighbors", "MetricNeighbors-no-trees", *LEARNERS, TREES, "Euclid")


def check_methods(task: Task, methods: Iterable[str]) -> None:
    """Raise `InputError` if a method cannot learn from the kind of the targets."""
    if task.kind == "class":
        return
    unsuited = [name for name in methods if name in LEARNERS_OF_CLASSES]
    if unsuited:
        others = ", ".join(name for name in METHODS if name not in LEARNERS_OF_CLASSES)
        raise InputError(
            f"--methods {' '.join(unsuited)}: learns from classes only, and the target is of "
            f"--kind {task.kind}. The methods for it are {others}."
        )


def learner_of(task: Task, learner: BaseEstimator | None, seed: int) -> Pipeline:
    """Make the unfitted pipeline that maps rows to the space in which neighbours are searched.

    None for the learner is Euclid's distance of the standardised columns.
    """
    # The ensemble standardises and encodes columns by itself.
    steps: list[tuple[str, Any]] = [("texts", DateTextEncoder())]
    if not isinstance(learner, MetricEnsemble):
        steps.append(("columns", PiecewiseLinearEncoder(n_bins=1)))
    if learner is not None:
        learner = clone(learner).set_params(relation=task.rules.relation)
        if "random_state" in learner.get_params():
            learner.set_params(random_state=seed)
        steps.append(("metric", learner))
    return Pipeline(steps)


def fit_method(task: Task, method: str, seed: int) -> Any:
    """Fit a method to all rows of a task."""
    if method == TREES:
        return BoostedTrees(task.kind, random_state=seed).fit(task.X, task.y)
    if method.startswith("MetricNeighbors"):
        is_class = task.kind in ("class", "labels")
        predictor = MetricNeighborsClassifier if is_class else MetricNeighborsRegressor
        return predictor(trees=not method.endswith("no-trees"), random_state=seed).fit(
            task.X, task.y, groups=task.groups
        )
    learner = learner_of(task, None if method == "Euclid" else LEARNERS[method], seed)
    # The encoding of texts takes long and does not use targets, so it is made once for all folds.
    encoded = replace(task, X=learner[0].fit_transform(task.X))
    n_neighbors = _choose_neighbors(encoded, learner[1:], seed)
    return plain_neighbors(task, learner, n_neighbors)


def plain_neighbors(task: Task, learner: Pipeline, n_neighbors: int) -> PlainNeighbors:
    """Learn a distance from all rows of a task. Its nearest neighbours vote with equal weights."""
    is_class = task.kind in ("class", "labels")
    plain = PlainNeighborsClassifier if is_class else PlainNeighborsRegressor
    return plain(learner, n_neighbors=n_neighbors).fit(task.X, task.y)


def _choose_neighbors(task, learner, seed):
    """Choose the number of neighbours. The metric is learned once in each fold."""
    scorer = check_scoring(scoring=task.measures[0].scorer)
    scores: dict[int, float] = {}
    for train, test in splits(task, INNER_FOLDS, seed):
        inner = clone(learner)
        near = inner.fit_transform(take(task.X, train), task.y[train])
        far = inner.transform(take(task.X, test))
        for number in NEIGHBORS:
            if number <= max(len(train) // 2, min(NEIGHBORS)):
                model = task.rules.neighbors(number).fit(near, task.y[train])
                scores[number] = scores.get(number, 0) + scorer(model, far, task.y[test])
    return max(scores, key=lambda number: scores[number])
