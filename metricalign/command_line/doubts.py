"""Warnings of scores that are too good to be true, of copied rows, and of groups of rows."""

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
# Fewer copies hardly change a score.
FEWEST_COPIES = 0.01
# Rows agree by chance in columns of fewer values: samples of few categories are often the same.
MANY_VALUES = 20


def warnings_of(everything: Task, task: Task, results: list[Result]) -> Iterator[str]:
    """Say what may be wrong with scores: copied rows, columns that tell the target, split groups.

    `everything` has all rows, and `task` the rows that were compared. The first result is Euclid's.
    """
    measure, *_ = task.measures
    best = best_of(task, results)
    value = np.nanmean(best.values[measure.name])
    is_copy = _copies(task)
    if is_copy.any() and task.groups is None and task.time is None:
        yield (
            f"{np.count_nonzero(is_copy):,} of {len(is_copy):,} rows repeat another row, with its "
            "target. A row is easy to predict from its copy, so the scores are too good. Leave "
            "the copies out of the table, or keep them together by --groups"
        )
    if telling := _telling_columns(task.part(~is_copy)):
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


def _copies(task):
    """Find rows that repeat an earlier row and its target; none if chance makes such rows."""
    import pandas as pd

    is_copy = pd.concat([task.X.reset_index(drop=True), pd.DataFrame(task.y)], axis=1).duplicated()
    is_copy = is_copy.to_numpy()
    n_distinct = np.count_nonzero(~is_copy)
    # So many pairs would agree by chance if the columns were independent, and if all rows had
    # values as common as those of this row. A row of missing values is no copy of another one.
    n_expected = np.full(len(is_copy), n_distinct * (n_distinct - 1) / 2)
    for _, column in task.X.items():
        codes, values = pd.factorize(column, use_na_sentinel=False)
        if len(values) > MANY_VALUES:
            n_expected *= (np.bincount(codes[~is_copy])[codes] - 1) / (n_distinct - 1)
    is_copy = is_copy & (n_expected < 1)
    return is_copy & (is_copy.mean() >= FEWEST_COPIES)


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
