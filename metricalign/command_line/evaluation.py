"""Learned metrics against Euclid's and against boosted trees, by cross-validation."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring, make_scorer, r2_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

import metricalign
from metricalign.command_line.boosted import BoostedTrees
from metricalign.command_line.columns import TableColumns
from metricalign.command_line.reading import InputError
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import EmbeddingLearner
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.metrics import SCORERS
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

__all__ = [
    "DEFAULT_METHODS",
    "LEARNERS",
    "LEARNERS_OF_CLASSES",
    "METHODS",
    "RULES",
    "Measure",
    "Note",
    "Result",
    "Task",
    "check_folds",
    "check_methods",
    "check_rows",
    "compare",
    "compare_tasks",
    "estimated_seconds",
    "fit_method",
    "learner_of",
    "one_thread_if_small",
    "sample",
    "take",
]

NEIGHBORS = (3, 5, 10, 20)
INNER_FOLDS = 3
FEWEST_ROWS = 10
# Below so many entries several threads gain little, and cost much where others use the machine.
SMALL = 1_000_000
# A comparison of fewer seconds is not worth the start of other processes.
WORTH_PROCESSES = 10.0
# One class with a larger share: accuracy then says little.
LARGEST_SHARE = 0.9


def _is_learner(item):
    if not (isinstance(item, type) and issubclass(item, EmbeddingLearner)):
        return False
    parameters = inspect.signature(item).parameters
    has_defaults = all(each.default is not each.empty for each in parameters.values())
    return has_defaults and "relation" in parameters


#: The public metric learners by the name of their class: neighbours under them vote.
LEARNERS: dict[str, BaseEstimator] = {
    name: getattr(metricalign, name)()
    for name in metricalign.__all__
    if _is_learner(getattr(metricalign, name))
}
#: Those whose loss knows same and different only.
LEARNERS_OF_CLASSES = ("DoubletSVM", "PCML", "NCML")
#: What is compared by default, besides Euclid's distance.
DEFAULT_METHODS = (
    "MetricNeighbors",
    "MetricNeighbors-no-trees",
    "DiscriminantAlignment",
    "PSDSVR",
    "BoostedTrees",
)
#: Everything that can be compared.
METHODS = ("MetricNeighbors", "MetricNeighbors-no-trees", *LEARNERS, "BoostedTrees", "Euclid")


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
class Rules:
    """What follows from a kind of target: relation, neighbours and measures, the main one first."""

    relation: str
    neighbors: type
    measures: tuple[Measure, ...]


RULES = {
    "class": Rules(
        "class",
        KNeighborsClassifier,
        (
            Measure("accuracy", "accuracy"),
            Measure("balanced accuracy", "balanced_accuracy"),
            Measure("macro F1", "f1_macro"),
        ),
    ),
    "number": Rules(
        "absolute_difference",
        KNeighborsRegressor,
        (
            Measure("R2", "r2"),
            Measure("RMSE", "neg_root_mean_squared_error", is_loss=True),
            Measure("mean absolute error", "neg_mean_absolute_error", is_loss=True),
        ),
    ),
    "labels": Rules(
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
    "distribution": Rules(
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
    "numbers": Rules(
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

# Tasks


@dataclass
class Task:
    """Something to predict: a table of numbers and categories, and targets of a kind.

    Attributes
    ----------
    name : str
        What it is called.
    X : DataFrame or ndarray of shape (n_rows, n_features)
        Numbers and categories.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Targets.
    kind : str
        A name of `RULES`.
    names : list of str
        Names of the columns of y.
    groups : ndarray of shape (n_rows,) or None
        Rows of a group are never in both parts of a fold.
    time : ndarray of shape (n_rows,) or None
        Folds are learned from rows before those that they predict.
    rows : ndarray of int of shape (n_rows,) or None
        Numbers of the rows in the table, from 1.
    columns : TableColumns or None
        What made X of the table.
    candidates : dict from str to ndarray of shape (n_rows,)
        Columns that may identify groups of rows.
    """

    name: str
    X: Any
    y: NDArray
    kind: str
    names: list[str] = field(default_factory=list)
    groups: NDArray | None = None
    time: NDArray | None = None
    rows: NDArray | None = None
    columns: TableColumns | None = None
    candidates: dict[str, NDArray] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """What follows from the kind of the targets."""
        return RULES[self.kind]

    @property
    def is_imbalanced(self) -> bool:
        """Whether nearly all rows are of one class."""
        return self.kind == "class" and largest_share(self.y) > LARGEST_SHARE

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Measures, the main one first: of a rare class, accuracy says nothing."""
        first, *others = self.rules.measures
        return (others[0], first, *others[1:]) if self.is_imbalanced else self.rules.measures

    def part(self, rows: NDArray) -> Task:
        """The task of some of the rows."""
        parts: dict[str, Any] = {
            name: None if value is None else value[rows]
            for name in ("groups", "time", "rows")
            for value in [getattr(self, name)]
        }
        return replace(self, X=take(self.X, rows), y=self.y[rows], **parts)


def largest_share(y: NDArray) -> float:
    """Share of the most frequent class."""
    return float(np.unique(y, return_counts=True)[1].max() / len(y))


def take(X: Any, rows: ArrayLike) -> Any:
    """Select rows of a table or an array."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def sample(task: Task, n_rows: int, seed: int) -> Task:
    """A task of so many rows, drawn at random and in their order."""
    if len(task.y) <= n_rows:
        return task
    rows = np.random.default_rng(seed).permutation(len(task.y))[:n_rows]
    return task.part(np.sort(rows))


def check_rows(n_rows: int, n_folds: int) -> None:
    """Raise `InputError` if there are too few rows for so many folds."""
    needed = max(2 * n_folds, FEWEST_ROWS)
    if n_rows < needed:
        raise InputError(
            f"too few rows with a target for {n_folds} folds: {n_rows}, and at least {needed} are "
            "needed. Give more rows" + (" or fewer --folds." if n_rows >= FEWEST_ROWS else ".")
        )


def check_folds(task: Task, n_folds: int) -> None:
    """Raise `InputError` if there are too few rows of a class, or groups, for so many folds."""
    if task.kind == "class":
        largest = np.unique(task.y, return_counts=True)[1].max()
        if largest < n_folds:
            raise InputError(
                f"no class has as many rows as there are folds ({n_folds}); the largest has "
                f"{largest}. Give fewer --folds."
            )
    if task.groups is not None and len(np.unique(task.groups)) < n_folds:
        raise InputError(
            f"--groups: {len(np.unique(task.groups))} groups are too few for {n_folds} folds. Give "
            "fewer --folds."
        )


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


# Fitting


class _SharedEnsemble(MetricEnsemble):
    """An ensemble that is fitted once to the same samples, for the predictors of one fold."""

    fitted: dict[str, tuple[dict[str, Any], float]] = {}  # noqa: RUF012, shared on purpose
    spared: float = 0.0

    def fit(self, X, y, sample_weight=None):
        key = joblib.hash((self.get_params(), X, y, sample_weight))
        if key in self.fitted:
            attributes, seconds = self.fitted[key]
            self.__dict__.update(attributes)
            _SharedEnsemble.spared += seconds
            return self
        start = perf_counter()
        super().fit(X, y, sample_weight)
        self.fitted[key] = dict(self.__dict__), perf_counter() - start
        return self


def learner_of(task: Task, learner: BaseEstimator | None, seed: int) -> Pipeline:
    """Make the pipeline from a row of a task to the space in which neighbours are sought.

    Parameters
    ----------
    task : Task
        What to predict.
    learner : estimator or None
        A metric learner; None is Euclid's distance of the standardised columns.
    seed : int
        Seed of what is drawn at random.

    Returns
    -------
    learner : Pipeline
        Not fitted.
    """
    # The ensemble standardises by itself, and encodes.
    steps: list[tuple[str, Any]] = [("texts", DateTextEncoder())]
    if not isinstance(learner, MetricEnsemble):
        steps.append(("columns", PiecewiseLinearEncoder(n_bins=1)))
    if learner is not None:
        learner = clone(learner).set_params(relation=task.rules.relation)
        if "random_state" in learner.get_params():
            learner.set_params(random_state=seed)
        steps.append(("metric", learner))
    return Pipeline(steps)


def fit_method(task: Task, method: str, seed: int, shares: bool = False) -> Any:
    """Fit a method to all rows of a task.

    Parameters
    ----------
    task : Task
        What to predict.
    method : str
        One of `METHODS`.
    seed : int
        Seed of what is drawn at random.
    shares : bool, default=False
        Whether an ensemble that was fitted to the same rows is taken once more.

    Returns
    -------
    model : estimator
        The fitted predictor.
    """
    if method == "BoostedTrees":
        return BoostedTrees(task.kind, random_state=seed).fit(task.X, task.y)
    if method.startswith("MetricNeighbors"):
        is_class = task.kind in ("class", "labels")
        predictor = MetricNeighborsClassifier if is_class else MetricNeighborsRegressor
        # What "ensemble" is, but for the sharing.
        ensemble = Pipeline(
            [
                ("texts", DateTextEncoder()),
                ("metric", _SharedEnsemble(relation=task.rules.relation, random_state=seed)),
            ]
        )
        return predictor(
            ensemble if shares else "ensemble",
            trees=not method.endswith("no-trees"),
            random_state=seed,
        ).fit(task.X, task.y, groups=task.groups)
    learner = learner_of(task, None if method == "Euclid" else LEARNERS[method], seed)
    n_neighbors = _choose_neighbors(task, learner, seed)
    images = learner.fit_transform(task.X, task.y)
    neighbors = task.rules.neighbors(n_neighbors).fit(images, task.y)
    return Pipeline([*learner.steps, ("neighbors", neighbors)])


def _choose_neighbors(task, learner, seed):
    """Choose the number of neighbours; the metric is learned once a fold, not once a number."""
    scorer = check_scoring(scoring=task.measures[0].scorer)
    scores: dict[int, float] = {}
    for train, test in _splits(task, INNER_FOLDS, seed):
        inner = clone(learner)
        near = inner.fit_transform(take(task.X, train), task.y[train])
        far = inner.transform(take(task.X, test))
        for number in NEIGHBORS:
            if number <= max(len(train) // 2, min(NEIGHBORS)):
                model = task.rules.neighbors(number).fit(near, task.y[train])
                scores[number] = scores.get(number, 0) + scorer(model, far, task.y[test])
    return max(scores, key=lambda number: scores[number])


def _splits(task, n_folds, seed) -> Iterator[tuple[NDArray, NDArray]]:
    """Rows to learn from and rows to predict, so that nothing leaks."""
    rows = np.zeros(len(task.y))
    if task.time is not None:
        order = np.argsort(task.time, kind="stable")
        for train, test in TimeSeriesSplit(n_folds).split(rows):
            yield order[train], order[test]
    elif task.groups is not None and len(np.unique(task.groups)) >= n_folds:
        splitter: Any = StratifiedGroupKFold if task.kind == "class" else GroupKFold
        yield from splitter(n_folds, shuffle=True, random_state=seed).split(
            rows, task.y, task.groups
        )
    else:
        # Of training rows no class may be left with a row for each inner fold.
        is_stratified = task.kind == "class" and largest_share(task.y) * len(task.y) >= n_folds
        splitter = StratifiedKFold if is_stratified else KFold
        with warnings.catch_warnings():
            # Said already, by the size of the smallest class.
            warnings.filterwarnings("ignore", message="The least populated class")
            folds = list(splitter(n_folds, shuffle=True, random_state=seed).split(rows, task.y))
        yield from folds


# Comparing


@dataclass
class Result:
    """What a method achieved.

    Attributes
    ----------
    label : str
        The method.
    values : dict from str to ndarray of shape (n_folds,)
        Measures by name.
    seconds : ndarray of shape (n_folds,)
        Time to fit it.
    predicted : set
        The classes that it predicted for some row.
    """

    label: str
    values: dict[str, NDArray]
    seconds: NDArray
    predicted: set[Any] = field(default_factory=set)


@dataclass
class Note:
    """A warning or an error of one of so many fits of a method."""

    method: str
    text: str
    n_fits: int


def compare(
    task: Task,
    methods: Sequence[str],
    n_folds: int = 5,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[list[Result], list[Note]]:
    """Cross-validate Euclid's neighbours and other methods on the same folds.

    Everything is learned from the training rows of a fold. So is the number of neighbours, by an
    inner cross-validation of the main measure, alike for every distance.

    Parameters
    ----------
    task : Task
        What to predict.
    methods : sequence of str
        Names of `METHODS`.
    n_folds : int, default=5
        Number of folds.
    seed : int, default=0
        Seed of the folds and of the methods.
    progress : callable
        Called with a line of text now and then.

    Returns
    -------
    results : list of Result
        Euclid first, then the methods.
    notes : list of Note
        Warnings and errors of their fits.
    """
    ((results, notes),) = compare_tasks([task], methods, n_folds, seed, progress)
    return results, notes


def compare_tasks(
    tasks: Sequence[Task],
    methods: Sequence[str],
    n_folds: int = 5,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> list[tuple[list[Result], list[Note]]]:
    """Compare methods on several tasks, on all cores where it takes long.

    Parameters
    ----------
    tasks : sequence of Task
        What to predict.
    methods, n_folds, seed, progress
        See `compare`.

    Returns
    -------
    outcomes : list of tuple (list of Result, list of Note)
        What `compare` returns of each task.
    """
    labels = ["Euclid", *(name for name in methods if name != "Euclid")]
    folds = [
        (task, fold, f"{task.name}: fold {number} of {n_folds}")
        for task in tasks
        for number, fold in enumerate(_splits(task, n_folds, seed), 1)
    ]
    seconds = sum(estimated_seconds(task, labels, n_folds) for task in tasks)
    n_jobs = min(joblib.cpu_count(), len(folds)) if seconds > WORTH_PROCESSES else 1
    if n_jobs == 1:
        outcomes = [
            _fold(
                task,
                labels,
                fold,
                n_folds,
                seed,
                lambda text, name=name: progress(f"{name}, {text}"),
            )
            for task, fold, name in folds
        ]
    else:
        progress(f"{len(folds)} folds on {n_jobs} cores")
        work = joblib.delayed(_fold_of_process)
        outcomes = [[]] * len(folds)
        done = joblib.Parallel(n_jobs, return_as="generator_unordered")(
            work(place, task, labels, fold, n_folds, seed)
            for place, (task, fold, _) in enumerate(folds)
        )
        for number, (place, outcome) in enumerate(done, 1):
            outcomes[place] = outcome
            progress(f"{number} of {len(folds)} folds done")
    return [
        _collect(task, labels, outcomes[place * n_folds : (place + 1) * n_folds])
        for place, task in enumerate(tasks)
    ]


def _fold_of_process(place, *arguments):
    with threadpool_limits(1):
        return place, _fold(*arguments)


def _fold(task, labels, fold, n_folds, seed, progress=lambda text: None) -> list[tuple]:
    """Measures, seconds, predicted classes and notes of every method in a fold."""
    train, test = (task.part(rows) for rows in fold)
    scorers = {measure.name: check_scoring(scoring=measure.scorer) for measure in task.measures}
    outcomes = []
    _SharedEnsemble.fitted.clear()
    for label in labels:
        progress(label)
        failure = None
        values = dict.fromkeys(scorers, np.nan)
        predicted: set[Any] = set()
        _SharedEnsemble.spared = 0.0
        start = perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model = fit_method(train, label, seed, shares=True)
            except ValueError as error:
                if label == "Euclid":
                    raise
                failure = f"error: {error}"
            # What the fits take that were taken over is a part of it.
            seconds = perf_counter() - start + _SharedEnsemble.spared
            if failure is None:
                for measure in task.measures:
                    score = scorers[measure.name](model, test.X, test.y)
                    values[measure.name] = measure.sign * score
                if task.kind == "class":
                    predicted = set(np.unique(model.predict(test.X)).tolist())
        texts = [
            " ".join(str(each.message).split())
            for each in caught
            if not issubclass(each.category, DeprecationWarning | FutureWarning)
        ]
        n_fits = n_folds * (INNER_FOLDS + 1 if label in LEARNERS and failure is None else 1)
        notes = [Note(label, text, n_fits) for text in [*texts, failure] if text is not None]
        outcomes.append((values, seconds, predicted, notes))
    _SharedEnsemble.fitted.clear()
    return outcomes


def _collect(task, labels, outcomes):
    results, notes = [], []
    for label, of_method in zip(labels, zip(*outcomes, strict=True), strict=True):
        values, seconds, predicted, of_folds = zip(*of_method, strict=True)
        results.append(
            Result(
                label,
                {m.name: np.array([each[m.name] for each in values]) for m in task.measures},
                np.array(seconds),
                set().union(*predicted),
            )
        )
        notes += [note for fold in of_folds for note in fold]
    return results, notes


def one_thread_if_small(task: Task) -> AbstractContextManager:
    """Limit the threads of BLAS and OpenMP, unless the task is large enough to need them."""
    return threadpool_limits(1) if task.X.size < SMALL else nullcontext()


# Time

# Seconds of one core for a row to learn from and 30 columns, measured on tables of 1,000 to 8,000.
ENSEMBLE_SECONDS, REGRESSION_SECONDS = 0.9e-3, 1.0e-3
TREE_SECONDS = 0.3e-3
# Several hundred columns take much longer in a few learners.
OTHER_SECONDS = 0.1e-3


def estimated_seconds(task: Task, methods: Iterable[str], n_folds: int) -> float:
    """Seconds of one core that a comparison takes, to a factor of two or so.

    Parameters
    ----------
    task : Task
        What to predict.
    methods : iterable of str
        Names of `METHODS`.
    n_folds : int
        Number of folds.

    Returns
    -------
    seconds : float
    """
    n_rows, n_columns = task.X.shape[0] * (1 - 1 / n_folds), task.X.shape[1]
    n_outputs = task.y.shape[1] if task.y.ndim == 2 else 1
    width = (n_columns / 30) ** 0.7
    # A predictor fits in five inner folds of few rows and in two of many, and once to all.
    n_fits = 5 if n_rows <= 2000 else 2
    seconds = 0.0
    names = set(methods)
    ensembles = {name for name in names if name.startswith("MetricNeighbors")}
    if ensembles:
        seconds += n_fits * (ENSEMBLE_SECONDS * n_rows * width + 0.1)
    if "MetricNeighbors" in ensembles:
        seconds += n_fits * (REGRESSION_SECONDS * n_rows * width + 0.15)
    if "BoostedTrees" in names:
        seconds += n_outputs * (TREE_SECONDS * n_rows * width + 0.1)
    n_others = len(names - ensembles - {"BoostedTrees"})
    seconds += n_others * (INNER_FOLDS + 1) * (OTHER_SECONDS * n_rows * width + 0.01)
    return n_folds * seconds
