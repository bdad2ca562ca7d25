"""Learned metrics against Euclid's, by cross-validation of nearest neighbours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring, make_scorer, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

import metricalign
from metricalign.command_line.tables import InputError
from metricalign.learners.base import EmbeddingLearner
from metricalign.metrics import SCORERS
from metricalign.relations import resolve_relation, sums_to_one

__all__ = [
    "KINDS",
    "METHODS",
    "METHODS_OF_CLASSES",
    "Measure",
    "Result",
    "Task",
    "check_folds",
    "check_kind",
    "check_methods",
    "check_rows",
    "compare",
    "kind_of",
    "learner_of",
    "refit",
]

NEIGHBORS = (3, 5, 10, 20)
INNER_FOLDS = 3
FEWEST_ROWS = 10
# Below so many entries several threads gain little, and cost much where others use the machine.
SMALL = 1_000_000


def _is_method(item):
    if not (isinstance(item, type) and issubclass(item, EmbeddingLearner)):
        return False
    parameters = inspect.signature(item).parameters
    has_defaults = all(each.default is not each.empty for each in parameters.values())
    return has_defaults and "relation" in parameters


#: The public metric learners by the name of their class.
METHODS: dict[str, BaseEstimator] = {
    name: getattr(metricalign, name)()
    for name in metricalign.__all__
    if _is_method(getattr(metricalign, name))
}
#: Those whose loss knows same and different only.
METHODS_OF_CLASSES = ("DoubletSVM", "PCML", "NCML")


# Kinds of targets


@dataclass(frozen=True)
class Measure:
    """How good predictions are; the scorer of a loss is its negative."""

    name: str
    scorer: str | Callable[[Any, Any, NDArray], float]
    is_loss: bool = False

    @property
    def sign(self) -> int:
        """What turns values of the scorer into those of the measure, and back."""
        return -1 if self.is_loss else 1


def _relative_error(y_true, y_pred):
    """Root mean squared error over the standard deviation, mean of the columns."""
    return np.sqrt(1 - r2_score(y_true, y_pred, multioutput="raw_values")).mean()


@dataclass(frozen=True)
class Kind:
    """A kind of target: its relation, its neighbours and its measures, the main one first."""

    relation: str
    neighbors: type
    measures: tuple[Measure, ...]


KINDS = {
    "class": Kind(
        "class",
        KNeighborsClassifier,
        (
            Measure("accuracy", "accuracy"),
            Measure("balanced accuracy", "balanced_accuracy"),
            Measure("macro F1", "f1_macro"),
        ),
    ),
    "number": Kind(
        "absolute_difference",
        KNeighborsRegressor,
        (
            Measure("R2", "r2"),
            Measure("RMSE", "neg_root_mean_squared_error", is_loss=True),
            Measure("mean absolute error", "neg_mean_absolute_error", is_loss=True),
        ),
    ),
    "labels": Kind(
        "manhattan",
        KNeighborsClassifier,
        (
            Measure("average precision", SCORERS["average_precision"]),
            Measure("ranking loss", SCORERS["ranking"], is_loss=True),
            Measure("one-error", SCORERS["one_error"], is_loss=True),
            Measure("coverage", SCORERS["coverage"], is_loss=True),
            Measure("Hamming loss", SCORERS["hamming"], is_loss=True),
        ),
    ),
    "distribution": Kind(
        "chebyshev",
        KNeighborsRegressor,
        (
            Measure("Chebyshev", SCORERS["chebyshev"], is_loss=True),
            Measure("Clark", SCORERS["clark"], is_loss=True),
            Measure("Canberra", SCORERS["canberra"], is_loss=True),
            Measure("Kullback-Leibler", SCORERS["kullback_leibler"], is_loss=True),
            Measure("cosine", SCORERS["cosine"]),
            Measure("intersection", SCORERS["intersection"]),
        ),
    ),
    "numbers": Kind(
        "euclidean",
        KNeighborsRegressor,
        (
            Measure("mean R2", "r2"),
            Measure(
                "RMSE / deviation",
                make_scorer(_relative_error, greater_is_better=False),
                is_loss=True,
            ),
        ),
    ),
}

# The library's names of the kinds, and the shorter ones of the command line.
_DETECTED = {
    "binary": "class",
    "multiclass": "class",
    "continuous": "number",
    "multilabel": "labels",
    "distribution": "distribution",
    "multioutput": "numbers",
}


def kind_of(y: NDArray) -> str:
    """Tell the kind of targets as the estimators do.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Targets.

    Returns
    -------
    kind : str
        A name of `KINDS`.
    """
    try:
        return _DETECTED[resolve_relation("auto", y).kind]
    except ValueError as error:
        raise InputError(_of_constant_target(y) or str(error)) from error


def _of_constant_target(y):
    if (y == y[0]).all():
        return (
            f"the target has the same value in all {len(y)} rows ({y[0].tolist()!r}); at least 2 "
            "different ones are needed. Choose another --target."
        )
    return None


def check_kind(kind: str, y: NDArray, names: list[str]) -> NDArray:
    """Check that targets are of a kind, and bring them to its form.

    Parameters
    ----------
    kind : str
        A name of `KINDS`.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Targets.
    names : list of str
        Their columns.

    Returns
    -------
    y : ndarray
        Targets; numbers that are taken as classes but are not integers become strings.

    Raises
    ------
    InputError
        If they are not of the kind.
    """
    if constant := _of_constant_target(y):
        raise InputError(constant)
    wants_several = kind not in ("class", "number")
    if wants_several != (y.ndim == 2):
        raise InputError(
            f"--kind {kind} needs {'two or more columns' if wants_several else 'one column'} in "
            f"--target; got {len(names)} ({', '.join(names)})."
        )
    return _CHECKS[kind](y, names)


def _check_classes(y, names):
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > len(y) / 2:
        advice = "Is it an identifier? Choose another --target."
        if y.dtype.kind in "iuf":
            advice += " Numbers can be predicted with --kind number."
        raise InputError(
            f"target column {names[0]!r} has {len(classes)} different values in {len(y)} rows, too "
            f"many to be classes. {advice}"
        )
    if counts.max() < 2 or (counts > 1).sum() < 2:
        raise InputError(
            f"fewer than 2 classes of the target column {names[0]!r} have more than one row; "
            "nothing can be learned. Choose another --target."
        )
    return y.astype(str) if y.dtype.kind == "f" else y


def _check_number(y, names):
    if y.dtype.kind not in "iuf":
        raise InputError(
            f"--kind number: target column {names[0]!r} is not numeric (it has "
            f"{str(y[0])!r}). Use --kind class, or see --missing and --decimal."
        )
    return y.astype(np.float64)


def _check_labels(y, names):
    for name, column in zip(names, y.T, strict=True):
        if not np.isin(column, (0, 1)).all():
            odd = column[~np.isin(column, (0, 1))][0]
            raise InputError(
                f"--kind labels: column {name!r} must be 0 or 1, it has {odd:g}. For plain numbers "
                "give --kind numbers."
            )
    return y.astype(np.intp)


def _check_distribution(y, names):
    sums = y.sum(axis=1)
    wrong = np.flatnonzero(~sums_to_one(y) | (y < 0).any(axis=1))
    if len(wrong):
        raise InputError(
            f"--kind distribution: the {len(names)} targets of a row must be at least 0 and sum to "
            f"1; those of row {wrong[0] + 1} are {np.array2string(y[wrong[0]], precision=4)}, with "
            f"sum {sums[wrong[0]]:g}. For plain numbers give --kind numbers."
        )
    return y.astype(np.float64)


def _check_numbers(y, names):
    for name, column in zip(names, y.T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(f"target column {name!r} is constant; leave it out of --target.")
    return y.astype(np.float64)


_CHECKS = {
    "class": _check_classes,
    "number": _check_number,
    "labels": _check_labels,
    "distribution": _check_distribution,
    "numbers": _check_numbers,
}


# Comparing


@dataclass
class Task:
    """Something to predict: features, targets of a kind, and what prepares the features."""

    name: str
    X: Any
    y: NDArray
    kind: str
    preparation: BaseEstimator

    @property
    def rules(self) -> Kind:
        """What follows from the kind of the targets."""
        return KINDS[self.kind]


@dataclass
class Result:
    """Measures of one distance by name and in each fold, seconds to learn it, and neighbours."""

    label: str
    values: dict[str, NDArray]
    seconds: NDArray
    n_neighbors: list[int]


def check_rows(n_rows: int, n_folds: int) -> None:
    """Raise `InputError` if there are too few rows for so many folds."""
    needed = max(2 * n_folds, FEWEST_ROWS)
    if n_rows < needed:
        raise InputError(
            f"too few rows with a target for {n_folds} folds: {n_rows}, and at least {needed} are "
            "needed. Give more rows" + (" or fewer --folds." if n_rows >= FEWEST_ROWS else ".")
        )


def check_folds(task: Task, n_folds: int) -> None:
    """Raise `InputError` if all classes are too small for so many folds."""
    if task.kind == "class":
        largest = np.unique(task.y, return_counts=True)[1].max()
        if largest < n_folds:
            raise InputError(
                f"no class has as many rows as there are folds ({n_folds}); the largest has "
                f"{largest}. Give fewer --folds."
            )


def check_methods(task: Task, methods: Iterable[str]) -> None:
    """Raise `InputError` if a method cannot learn from the kind of the targets."""
    if task.kind == "class":
        return
    unsuited = [name for name in methods if name in METHODS_OF_CLASSES]
    if unsuited:
        others = ", ".join(name for name in METHODS if name not in METHODS_OF_CLASSES)
        raise InputError(
            f"--method {' '.join(unsuited)}: learns from classes only, and the target is of "
            f"--kind {task.kind}. The methods for it are {others}."
        )


def learner_of(task: Task, method: BaseEstimator | None, seed: int) -> Pipeline:
    """Make the pipeline from a row of the table to the space in which neighbours are sought.

    Parameters
    ----------
    task : Task
        What to predict.
    method : estimator or None
        A metric learner; None is Euclid's distance of the prepared features.
    seed : int
        Seed of the pairs, where a method chooses them at random.

    Returns
    -------
    learner : Pipeline
        Not fitted.
    """
    steps = [("features", clone(task.preparation))]
    if method is not None:
        method = clone(method).set_params(relation=task.rules.relation)
        if "random_state" in method.get_params():
            method.set_params(random_state=seed)
        steps.append(("metric", method))
    return Pipeline(steps)


def compare(
    task: Task,
    methods: Iterable[str],
    n_folds: int = 5,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Cross-validate nearest neighbours under Euclid's distance and under learned ones.

    Everything is learned from the training rows of a fold, and so is the number of
    neighbours: by an inner cross-validation of the main measure, alike for every metric.

    Parameters
    ----------
    task : Task
        What to predict.
    methods : iterable of str
        Names of `METHODS`.
    n_folds : int, default=5
        Number of folds.
    seed : int, default=0
        Seed of the folds and of the methods.
    progress : callable
        Called with a line of text before each fit.

    Returns
    -------
    results : list of Result
        Euclid first, then the methods, all on the same folds.
    """
    metrics = [("Euclid", None), *((name, METHODS[name]) for name in methods)]
    measures = task.rules.measures
    evaluated = check_scoring(scoring={measure.name: measure.scorer for measure in measures})
    results = [
        Result(label, {each.name: np.zeros(n_folds) for each in measures}, np.zeros(n_folds), [])
        for label, _ in metrics
    ]
    for index, (train, test) in enumerate(_splits(task, task.y, n_folds, seed)):
        for result, (label, method) in zip(results, metrics, strict=True):
            progress(f"{task.name}: {label}, fold {index + 1} of {n_folds}")
            model, result.seconds[index] = refit(task, method, seed, train)
            scores = evaluated(model, take(task.X, test), task.y[test])
            for measure in measures:
                result.values[measure.name][index] = measure.sign * scores[measure.name]
            result.n_neighbors.append(model[-1].n_neighbors)
    return results


def refit(
    task: Task, method: BaseEstimator | None, seed: int, rows: NDArray | None = None
) -> tuple[Pipeline, float]:
    """Fit preparation, metric and nearest neighbours.

    Parameters
    ----------
    task : Task
        What to predict.
    method : estimator or None
        A metric learner; None is Euclid's distance.
    seed : int
        Seed of the inner folds and of the method.
    rows : ndarray of int or None, default=None
        Rows to learn from, None for all.

    Returns
    -------
    model : Pipeline
        The fitted pipeline.
    seconds : float
        Time to learn the metric, the preparation of the features included.
    """
    X = task.X if rows is None else take(task.X, rows)
    y = task.y if rows is None else task.y[rows]
    learner = learner_of(task, method, seed)
    n_neighbors = _choose_neighbors(task, learner, X, y, seed)
    start = perf_counter()
    images = learner.fit_transform(X, y)
    seconds = perf_counter() - start
    neighbors = task.rules.neighbors(n_neighbors).fit(images, y)
    return Pipeline([*learner.steps, ("neighbors", neighbors)]), seconds


def _choose_neighbors(task, learner, X, y, seed):
    """Choose the number of neighbours; the metric is learned once a fold, not once a number."""
    scorer = check_scoring(scoring=task.rules.measures[0].scorer)
    scores: dict[int, float] = {}
    for train, test in _splits(task, y, INNER_FOLDS, seed):
        inner = clone(learner)
        near = inner.fit_transform(take(X, train), y[train])
        far = inner.transform(take(X, test))
        for number in NEIGHBORS:
            if number <= max(len(y) // 2, min(NEIGHBORS)):
                model = task.rules.neighbors(number).fit(near, y[train])
                scores[number] = scores.get(number, 0) + scorer(model, far, y[test])
    return max(scores, key=lambda number: scores[number])


def _splits(task, y, n_folds, seed):
    splitter = StratifiedKFold if task.kind == "class" else KFold
    return splitter(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y)


def take(X: Any, rows: ArrayLike) -> Any:
    """Select rows of a table or an array."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def one_thread_if_small(task: Task) -> AbstractContextManager:
    """Limit the threads of BLAS and OpenMP, unless the task is large enough to need them."""
    return threadpool_limits(1) if task.X.size < SMALL else nullcontext()
