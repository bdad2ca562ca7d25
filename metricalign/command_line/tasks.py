"""Tasks: a table and targets of a kind, with their measures and folds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from metricalign.command_line.reading import InputError
from metricalign.command_line.table_columns import TableColumns
from metricalign.metrics import SCORERS

__all__ = [
    "RULES",
    "Measure",
    "Task",
    "check_folds",
    "check_rows",
    "largest_share",
    "sample",
    "splits",
    "take",
]

# With fewer rows, scores of held-out rows are chance.
FEWEST_ROWS = 10
# If one class has a larger share, accuracy says little.
LARGEST_SHARE = 0.9


@dataclass(frozen=True)
class Measure:
    """A measure of predictions. The scorer of a loss returns its negative."""

    name: str
    scorer: str | Callable[[Any, Any, NDArray], float]
    is_loss: bool = False

    @property
    def sign(self) -> int:
        """Factor between values of the scorer and of the measure."""
        return -1 if self.is_loss else 1


def _relative_error(y_true, y_pred):
    """Root mean squared error over the standard deviation, mean of the columns."""
    return np.sqrt(1 - r2_score(y_true, y_pred, multioutput="raw_values")).mean()


@dataclass(frozen=True)
class Rules:
    """Relation, neighbours and measures of a kind of target, the main measure first."""

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


@dataclass
class Task:
    """A table of numbers and categories, and the targets to predict from it."""

    name: str
    X: Any  # DataFrame, or array of shape (n_rows, n_features)
    y: NDArray  # of shape (n_rows,) or (n_rows, n_targets)
    kind: str  # a name of RULES
    names: list[str] = field(default_factory=list)  # of the columns of y
    groups: NDArray | None = None  # rows of one group are never in both parts of a fold
    time: NDArray | None = None  # a fold predicts later rows from earlier ones
    rows: NDArray | None = None  # numbers of the rows in the table, None for 1, 2 and so on
    columns: TableColumns | None = None  # the transformer that made X from the table
    # Columns that may identify groups of rows, by name.
    candidates: dict[str, NDArray] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """The rules of the kind of the targets."""
        return RULES[self.kind]

    @property
    def row_numbers(self) -> NDArray:
        """Numbers of the rows in the table, from 1."""
        return np.arange(1, len(self.y) + 1) if self.rows is None else self.rows

    @property
    def is_imbalanced(self) -> bool:
        """Whether nearly all rows are of one class."""
        return self.kind == "class" and largest_share(self.y) > LARGEST_SHARE

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Measures, the main one first: balanced accuracy if one class has nearly all rows."""
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
    """The task of so many random rows, in their order. The task itself if it has no more."""
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
    if task.time is not None and len(_time_splits(task.time, n_folds)) < n_folds:
        raise InputError(
            f"--time: too many rows have the same time for {n_folds} folds, each with rows of "
            "earlier times to learn from. Give fewer --folds, or a column with finer times."
        )


def _time_splits(time, n_folds):
    """Folds whose training rows are of earlier times than all others, but for empty ones."""
    order = np.argsort(time, kind="stable")
    starts = [test[0] for _, test in TimeSeriesSplit(n_folds).split(order)]
    # From the first row of its time on, so that rows of one time are on one side.
    starts = np.searchsorted(time[order], time[order[starts]])
    parts = zip(starts, [*starts[1:], len(order)], strict=True)
    return [(order[:start], order[start:end]) for start, end in parts if 0 < start < end]


def splits(task: Task, n_folds: int, seed: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Rows to learn from and rows to predict, for each fold."""
    if task.time is not None:
        # Most training rows of an outer fold may be of one time, which inner folds then cut.
        ranks = np.argsort(np.argsort(task.time, kind="stable"))
        yield from _time_splits(task.time, n_folds) or _time_splits(ranks, n_folds)
        return
    # The training rows of an outer fold may have too few groups or rows of a class for inner folds.
    has_groups = task.groups is not None and len(np.unique(task.groups)) >= n_folds
    is_stratified = task.kind == "class" and largest_share(task.y) * len(task.y) >= n_folds
    splitter: Any = StratifiedKFold if is_stratified else KFold
    if has_groups:
        splitter = StratifiedGroupKFold if is_stratified else GroupKFold
    with warnings.catch_warnings():
        # The description of the target has said it already, by the size of the smallest class.
        warnings.filterwarnings("ignore", message="The least populated class")
        folds = splitter(n_folds, shuffle=True, random_state=seed)
        rows = np.zeros(len(task.y))
        yield from list(folds.split(rows, task.y, task.groups if has_groups else None))
