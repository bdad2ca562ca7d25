"""Scores that are too good to be true, and columns that may identify groups of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from metricalign.command_line.columns import Features, read_columns
from metricalign.command_line.evaluation import Result
from metricalign.command_line.formats import Reading
from metricalign.command_line.messages import best_of, never_predicted
from metricalign.command_line.reading import shorten
from metricalign.command_line.targets import Target
from metricalign.command_line.tasks import Task
from metricalign.features.identifiers import GROUPS

__all__ = ["group_candidates", "warnings_of"]

# Scores that are too good to be true.
PERFECT = 0.9995
# Words of a measure whose largest value is 1.
BOUNDED = ("accuracy", "balanced accuracy", "R2", "mean R2", "average precision")


def warnings_of(everything: Task, task: Task, results: list[Result]) -> Iterator[str]:
    """What may be wrong with scores: a column that tells the target, groups in both parts of folds.

    Of all rows and of those that were compared, with the results, Euclid first.
    """
    measure, *_ = task.measures
    best = best_of(task, results)
    value = np.nanmean(best.values[measure.name])
    if telling := _telling_columns(task):
        tells = "tells" if len(telling) == 1 else "each tell"
        yield (
            f"{shorten(telling)} {tells} the target alone. If it is not known before the target "
            "is, try --drop"
        )
    elif measure.name in BOUNDED and value > PERFECT:
        yield (
            f"{measure.name} {value:.3f} is too good to be true. Do columns tell the target? "
            "See what was used"
        )
    if task.groups is None and task.time is None:
        yield from _groups_of(everything)
    if never := never_predicted(task, best):
        yield never


def _telling_columns(task):
    """Columns of which each value goes with one target, or each class with one range."""
    y = task.y
    if y.ndim == 2:
        # In a column of its own in NumPy 2.0.
        y = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
    telling = []
    for name in task.X.columns:
        values = task.X[name].astype(object).where(task.X[name].notna(), None)
        pairs = set(zip(values.tolist(), y.tolist(), strict=True))
        n_values = len({value for value, _ in pairs})
        is_alone = len(pairs) == n_values < len(y) / 2
        if task.kind == "class" and task.X[name].dtype.kind == "f":
            classes = y[np.argsort(task.X[name].to_numpy(), kind="stable")]
            n_ranges = 1 + np.sum(classes[1:] != classes[:-1])
            is_alone = is_alone or n_ranges == len(np.unique(y))
        if is_alone:
            telling.append(name)
    return telling


# Groups are many, of about the same size, and of a like target.
FEWEST_GROUPS, MOST_UNEQUAL, MOST_UNLIKE = 10, 0.5, 0.3


def group_candidates(
    table: Any, X: Any, features: Features, target: Target, reading: Reading
) -> dict[str, Any]:
    """Columns that may identify groups of rows, by their name or by their values in X."""
    named = [name for name in features.left_out.get(GROUPS, []) if name in table.columns]
    found = {name: column.values for name, column in read_columns(table, named, reading).items()}
    for name, column in features.columns.items():
        values = X[name].to_numpy()
        if column.format.kind in ("text", "number") and _are_groups(values, target):
            found[name] = values
    return {name: np.array([str(value) for value in values]) for name, values in found.items()}


def _are_groups(values, target):
    import pandas as pd

    codes, unique = pd.factorize(values)
    counts = np.bincount(codes[codes >= 0])
    n_rows = len(codes)
    if not FEWEST_GROUPS <= len(unique) <= n_rows / 3 or (codes < 0).any():
        return False
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return False
    if counts.std() > MOST_UNEQUAL * counts.mean():
        return False
    y = target.y if target.kind != "class" else np.unique(target.y, return_inverse=True)[1]
    y = y.reshape(n_rows, -1).astype(np.float64)
    if target.kind == "class":
        y = np.eye(int(y.max()) + 1)[y[:, 0].astype(int)]
    means = np.array([np.bincount(codes, column) for column in y.T]).T / counts[:, None]
    # Of groups of unrelated targets, a share of one over their size of the variance is between.
    within = ((y - means[codes]) ** 2).sum() / (1 - len(unique) / n_rows)
    return within < MOST_UNLIKE * ((y - y.mean(axis=0)) ** 2).sum()


def _groups_of(task: Task) -> Iterator[str]:
    """Say which columns seem to identify groups, whose rows should be kept together."""
    for name, values in task.candidates.items():
        n_groups = len(np.unique(values))
        if n_groups <= len(values) / 2:
            yield (
                f"{name!r} looks like the identifier of groups of about "
                f"{len(values) / n_groups:.0f} rows. Rows of one group are in both parts of a "
                f"fold, so the scores may be too good: --groups {name} keeps them together"
            )
