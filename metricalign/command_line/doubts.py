"""Warnings of scores that are too good to be true, and of columns that may identify groups."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.columns import Features
from metricalign.command_line.evaluation import Result
from metricalign.command_line.messages import best_of, never_predicted, quoted, recommended
from metricalign.command_line.reading import shorten
from metricalign.command_line.targets import Target
from metricalign.command_line.tasks import Task
from metricalign.features.identifiers import GROUPS

__all__ = ["group_candidates", "warnings_of"]

# A higher score is too good to be true.
PERFECT = 0.9995
# Measures whose largest value is 1.
BOUNDED = ("accuracy", "balanced accuracy", "R2", "mean R2", "average precision")


def warnings_of(everything: Task, task: Task, results: list[Result]) -> Iterator[str]:
    """Say what may be wrong with scores: a column tells the target, or groups are split by folds.

    `everything` has all rows, and `task` the rows that were compared. The first result is Euclid's.
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
    if never := never_predicted(task, recommended(task, results)):
        yield never


def _telling_columns(task):
    """Columns in which each value has one target only, or each class one range of values."""
    import pandas as pd

    y = pd.DataFrame(task.y)
    y = y.groupby(list(y.columns)).ngroup()
    telling = []
    for name, column in task.X.items():
        n_targets = y.groupby(column.to_numpy(), dropna=False).nunique()
        is_alone = (n_targets == 1).all() and len(n_targets) < len(y) / 2
        if task.kind == "class" and column.dtype.kind == "f":
            order = np.argsort(column.to_numpy(), kind="stable")
            n_ranges = 1 + np.count_nonzero(np.diff(y[order]))
            is_alone = is_alone or n_ranges == y.nunique()
        if is_alone:
            telling.append(name)
    return telling


# Groups are numerous and of about equal size, and their rows have similar targets.
FEWEST_GROUPS, MOST_UNEQUAL, MOST_UNLIKE = 10, 0.5, 0.3


def group_candidates(features: Features, target: Target) -> dict[str, NDArray]:
    """Columns that may identify groups of rows, by their name or by their values."""
    found = {**features.left_out.get(GROUPS, {})}
    for name, column in features.columns.items():
        values = column.values[target.is_present]
        if column.format.kind in ("text", "number") and _are_groups(values, target):
            found[name] = column
    return {name: column.values[target.is_present].astype(str) for name, column in found.items()}


def _are_groups(values, target):
    import pandas as pd

    if pd.isna(values).any():
        return False
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return False
    y = pd.get_dummies(target.y) if target.kind == "class" else pd.DataFrame(target.y)
    y = y.astype(np.float64)
    groups = y.groupby(values)
    sizes = groups.size()
    if not FEWEST_GROUPS <= len(sizes) <= len(y) / 3:
        return False
    if sizes.std(ddof=0) > MOST_UNEQUAL * sizes.mean():
        return False
    # If targets were independent of groups, a share 1 / size of the variance would be between
    # groups.
    within = ((y - groups.transform("mean")) ** 2).to_numpy().sum() / (1 - len(sizes) / len(y))
    return within < MOST_UNLIKE * ((y - y.mean()) ** 2).to_numpy().sum()


def _groups_of(task: Task) -> Iterator[str]:
    """Say which columns seem to identify groups, whose rows should be kept together."""
    for name, values in task.candidates.items():
        sizes = np.unique(values, return_counts=True)[1]
        # Most rows must share their group with another row.
        if sizes[sizes > 1].sum() > len(values) / 2:
            yield (
                f"{name!r} looks like the identifier of groups of about "
                f"{sizes[sizes > 1].mean():.0f} rows. Rows of one group are in both parts of a "
                f"fold, so the scores may be too good: --groups {quoted(name)} keeps them together"
            )
