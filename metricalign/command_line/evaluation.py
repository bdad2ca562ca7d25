"""Cross-validation of learned metrics, of Euclid's distance and of boosted trees."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from threadpoolctl import threadpool_limits

from metricalign.command_line.methods import INNER_FOLDS, LEARNERS, TREES, fit_method
from metricalign.command_line.tasks import FEWEST_ROWS, Task, splits
from metricalign.predictors.trees import MANY_SAMPLES

__all__ = [
    "Note",
    "Result",
    "compare",
    "compare_tasks",
    "estimated_seconds",
    "expected_duration",
    "one_thread_if_small",
]

# With fewer entries, several threads gain little, and cost much on a machine that others use.
SMALL = 1_000_000
# A comparison of fewer seconds runs in one process, as others take time to start.
WORTH_PROCESSES = 10.0


@dataclass
class Result:
    """The results of a method.

    Attributes
    ----------
    label : str
        Name of the method.
    values : dict from str to ndarray of shape (n_folds,)
        Values of each measure, by its name.
    seconds : ndarray of shape (n_folds,)
        Duration of the fits.
    predicted : set
        The classes that the method predicted at least once.
    """

    label: str
    values: dict[str, NDArray]
    seconds: NDArray
    predicted: set[Any] = field(default_factory=set)


@dataclass
class Note:
    """A warning or an error of one fit of a method, of `n_fits` in all."""

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

    Everything is learned from the training rows of a fold. The number of neighbours is chosen there
    too, by an inner cross-validation of the main measure, for every distance in the same way.
    `progress` is called with a line of text now and then. The first result is Euclid's.
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
    """Compare methods on several tasks, on all cores if it takes long."""
    labels = ["Euclid", *(name for name in methods if name != "Euclid")]
    folds = [
        (task, fold, f"{task.name}: fold {number} of {n_folds}")
        for task in tasks
        for number, fold in enumerate(splits(task, n_folds, seed), 1)
    ]
    seconds = sum(estimated_seconds(task, labels, n_folds) for task in tasks)
    n_jobs = _n_jobs(seconds, len(folds))
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
    # One scorer of all measures predicts the rows only once.
    scorer = check_scoring(scoring={each.name: each.scorer for each in task.measures})
    outcomes = []
    for label in labels:
        progress(label)
        failure = None
        values = {measure.name: np.nan for measure in task.measures}
        predicted: set[Any] = set()
        start = perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model = fit_method(train, label, seed)
            except ValueError as error:
                if label == "Euclid":
                    raise
                failure = f"error: {error}"
            seconds = perf_counter() - start
            if failure is None:
                scores = scorer(model, test.X, test.y)
                values = {each.name: each.sign * scores[each.name] for each in task.measures}
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
    """Limit BLAS and OpenMP to one thread if the task is small."""
    return threadpool_limits(1) if task.X.size < SMALL else nullcontext()


# Seconds of one core for each training row of 30 columns of numbers, measured on tables of 1,000 to
# 3,000 rows. A column that comes from a category or a text takes a quarter of that of a number.
ENSEMBLE_SECONDS, REGRESSION_SECONDS, TREE_SECONDS = 0.45e-3, 0.1e-3, 0.06e-3
SHARE_OF_ENCODED, COLUMNS_OF_TEXT, COLUMNS_OF_DATE = 0.25, 30, 7
# With many rows, trees are larger and fitted in five folds, and trees of one number or of two
# classes are boosted. Fits to 2,400 rows of 8 columns took 1.2 to 1.5 s longer with trees than
# without.
BOOSTING_SECONDS = 1.0
# A few learners take much longer with several hundred columns.
OTHER_SECONDS = 0.03e-3
# Trees of more outputs take as long as all other methods together. Their time is estimated from
# that of one output.
FEW_OUTPUTS = 20
# Seconds for each row of a free text, which skrub encodes.
TEXT_SECONDS = 0.12e-3
# Seconds until other processes have imported their modules.
PROCESS_SECONDS = 3.0


def estimated_seconds(task: Task, methods: Iterable[str], n_folds: int) -> float:
    """Seconds of one core that a comparison takes, up to a factor of about two."""
    n_rows = task.X.shape[0] * (1 - 1 / n_folds)
    n_outputs = task.y.shape[1] if task.y.ndim == 2 else 1
    if task.kind == "class" and len(np.unique(task.y)) > 2:
        n_outputs = len(np.unique(task.y))
    n_columns, n_texts = task.X.shape[1], 0
    if task.columns is not None:
        n_texts = len(task.columns.free_texts_)
        kinds = [form.kind for form in task.columns.formats.values()]
        encoded = sum(map(len, task.columns.categories_.values()))
        encoded += COLUMNS_OF_TEXT * n_texts + COLUMNS_OF_DATE * kinds.count("date")
        n_columns = kinds.count("number") + SHARE_OF_ENCODED * encoded
    width = 0.25 + 0.75 * (n_columns / 30) ** 0.7
    # A predictor fits to all rows and in folds, of which there are three for few rows and two for
    # many. Together that is the work of three or two fits to all rows.
    is_many = n_rows > MANY_SAMPLES
    n_fits = 2 if is_many else 3
    seconds = 0.0
    names = set(methods)
    ensembles = {name for name in names if name.startswith("MetricNeighbors")}
    seconds += len(ensembles) * n_fits * (ENSEMBLE_SECONDS * n_rows * width + 0.05)
    if "MetricNeighbors" in ensembles:
        seconds += n_fits * (REGRESSION_SECONDS * n_rows * width + 0.1)
        if is_many and n_outputs == 1:
            seconds += BOOSTING_SECONDS
    if TREES in names:
        of_output = TREE_SECONDS * n_rows * width + 0.08
        if task.y.ndim == 2 and n_outputs > FEW_OUTPUTS:
            of_output = _seconds_of_one_output(task, round(n_rows))
        seconds += n_outputs * of_output
    n_others = len(names - ensembles - {TREES})
    seconds += n_others * (INNER_FOLDS + 1) * (OTHER_SECONDS * n_rows * width + 0.02)
    seconds += (len(names) + n_others) * n_texts * (TEXT_SECONDS * n_rows + 0.08)
    return n_folds * seconds


def _seconds_of_one_output(task, n_rows):
    """Measure a fit of trees to one label, as columns of few values take much less time."""
    one = replace(task, y=task.y[:, :1])
    with threadpool_limits(1):
        fit_method(one.part(np.arange(FEWEST_ROWS)), TREES, 0)  # the first fit takes longer
        start = process_time()
        fit_method(one.part(np.arange(n_rows)), TREES, 0)
        return process_time() - start


def expected_duration(task: Task, methods: Iterable[str], n_folds: int) -> float:
    """Expected seconds of a comparison, on the cores that it uses."""
    seconds = estimated_seconds(task, methods, n_folds)
    n_jobs = _n_jobs(seconds, n_folds)
    return seconds if n_jobs == 1 else seconds / n_jobs + PROCESS_SECONDS


def _n_jobs(seconds, n_fits):
    return min(joblib.cpu_count(), n_fits) if seconds > WORTH_PROCESSES else 1
