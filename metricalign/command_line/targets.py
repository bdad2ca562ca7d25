"""Reading the target: its kind, which is given or found out, and its values."""

from __future__ import annotations

import re
import reprlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from metricalign.command_line.columns import read_column, read_columns
from metricalign.command_line.dates import Date
from metricalign.command_line.formats import Ordered, Reading, Text
from metricalign.command_line.numbers import LARGEST_INTEGER, Number
from metricalign.command_line.reading import InputError, shorten
from metricalign.features.sets import find_separator, sets_of
from metricalign.relations import resolve_relation, sums_to_one

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["KINDS", "Target", "read_target"]

#: The kinds of targets.
KINDS = ("class", "number", "labels", "distribution", "numbers")
SMALL_SET = re.compile("[0-9]{1,2}(,[0-9]{1,2})*")
# Integers of more distinct values are a number by default.
MOST_CLASSES = 20
# Integers of more values than MANY_CLASSES are a number too, if one of the values has fewer rows
# than FEWEST_OF_MANY. The extreme values of counts, such as days, are rare. Classes hardly are.
MANY_CLASSES, FEWEST_OF_MANY = 10, 5
# Separators of texts that are sets by the option --kind.
SEPARATORS = (",", ";", "|", "/", " ")
BOOLEANS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
# The library's names of the kinds of several columns.
_DETECTED = {"multilabel": "labels", "distribution": "distribution", "multioutput": "numbers"}


@dataclass
class Target:
    """The targets of the rows that have one."""

    y: NDArray  # classes as integers or texts, numbers, or columns of them
    kind: str  # one of KINDS, or empty until it is found out
    names: list[str]  # names of the columns of y, or of the labels
    is_present: NDArray  # whether each row of the table has a target
    doubt: str = ""  # the option for another possible reading, in words


def read_target(
    table: DataFrame,
    columns: list[str],
    kind: str | None,
    separator: str | None,
    reading: Reading,
) -> Target:
    """Read the target. Its kind is given or found out.

    `separator` separates the labels of a set that is written as a text. Raises `InputError` if the
    values are of no kind, or not of the kind that is given.
    """
    if len(columns) == 1:
        sets = _read_sets(table[columns[0]], columns[0], kind, separator, reading)
        target = sets or _read_one(table, columns[0], kind, reading)
    elif separator is not None:
        raise InputError("--separator is for one column of --target, with a set in each row.")
    else:
        target = _read_several(table, columns, kind, reading)
    y = target.y
    if len(y) == 0:
        raise InputError(
            f"no row has a value in all columns of --target ({shorten(columns)}); choose others."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise InputError(
            f"--target ({shorten(columns)}) has infinite values; replace them, or choose another."
        )
    if (y == y[0]).all():
        raise InputError(
            f"the target has the same value in all {len(y)} rows ({y[0].tolist()!r}); at least 2 "
            "different ones are needed. Choose another --target."
        )
    if not target.kind:
        target.kind, target.doubt = _kind_of_several(y)
    _check(target)
    return target


def _read_sets(column, name, kind, separator, reading) -> Target | None:
    """Read label sets, which are lists of Parquet or texts with a separator. None of others."""
    is_missing = column.isna().to_numpy(copy=True)
    values = column[~is_missing]
    are_lists = len(values) > 0 and all(
        isinstance(value, list | tuple | set | np.ndarray) for value in values
    )
    if kind not in (None, "labels"):
        if are_lists:
            raise InputError(f"--kind {kind}: target column {name!r} has lists, which are labels.")
        if separator is not None:
            raise InputError(f"--separator is for --kind labels, not --kind {kind}.")
        return None
    doubt = ""
    if are_lists:
        sets = sets_of(values.tolist(), None)
    elif all(isinstance(value, str) for value in values):
        texts = values.astype(object).str.strip()
        is_set = np.array([text == "" or not reading.is_missing(text) for text in texts], bool)
        is_missing[~is_missing] = ~is_set
        texts = texts[is_set]
        if separator is None:
            used = (each for each in SEPARATORS if texts.str.contains(each, regex=False).any())
            separator = next(used, None) if kind == "labels" else find_separator(texts.tolist())
            # The comma of 12,5 and the slash of 31/12/2024 are no separators of labels.
            if separator is None or (kind is None and _is_read(texts, name, reading)):
                return None
            doubt = f"for a class of each text give --kind class (separator: {separator!r})"
        sets = sets_of(texts.tolist(), separator)
    else:
        return None
    binarizer = MultiLabelBinarizer()
    y = binarizer.fit_transform(sets)
    names = binarizer.classes_.tolist()
    if len(names) < 2:
        raise InputError(f"target column {name!r} has {len(names)} different labels; 2 are needed.")
    return Target(y, "labels", names, ~is_missing, doubt=doubt)


def _is_read(texts, name, reading):
    """Whether texts are dates or times, or all or most of them numbers."""
    column = read_column(texts, name, reading)
    return column.format.kind != "text" or column.odd is not None


def _read_one(table, name, kind, reading) -> Target:
    import pandas as pd

    column = read_columns(table, [name], reading)[name]
    values, form = column.values, column.format
    is_present = ~pd.isna(values)
    if isinstance(form, Number):
        y = values[is_present]
        is_integer = len(y) > 0 and (y == np.floor(y)).all() and abs(y).max() < LARGEST_INTEGER
        y = y.astype(np.int64) if is_integer else y
        counts = np.unique(y, return_counts=True)[1]
        n_distinct = len(counts)
        doubt = ""
        if kind is None:
            few = n_distinct <= min(MOST_CLASSES, len(y) / 2)
            few = few and (n_distinct <= MANY_CLASSES or counts.min() >= FEWEST_OF_MANY)
            kind = "number"
            if is_integer and few and not (form.unit or form.has_magnitudes):
                kind = "class"
                doubt = "for a number give --kind number" if n_distinct > 2 else ""
            elif is_integer and n_distinct <= len(y) / 2:
                doubt = f"for {n_distinct} classes give --kind class"
            elif _may_be_sets(table[name][is_present]):
                doubt = "for label sets give --kind labels"
        return Target(y, kind, [name], is_present, doubt=doubt)
    if isinstance(form, Ordered):
        ranks = values[is_present].astype(np.int64)
        if kind == "number":
            return Target(ranks, kind, [name], is_present)
        doubt = "for their ranks, from 0, give --kind number"
        classes = np.array(form.categories)[ranks]
        return Target(classes, kind or "class", [name], is_present, doubt=doubt)
    if isinstance(form, Text):
        if column.odd is not None and kind in (None, "number"):
            raise InputError(
                f"target column {name!r} has {column.but_for}, but for texts such as "
                f"{column.odd!r}. Give --missing {column.odd!r} if it stands for a missing value, "
                "--kind class if not."
            )
        return Target(values[is_present].astype(str), kind or "class", [name], is_present)
    first = values[is_present][0]
    what = f"neither numbers nor text (it has {reprlib.repr(first)}); choose another --target."
    if isinstance(form, Date):
        what = (
            f"{form.kind}s, such as {column.example or first}. Turn them into numbers, such as "
            "days since the first, or choose another --target."
        )
    raise InputError(f"target column {name!r} has {what}")


def _may_be_sets(texts):
    """Whether texts such as 1,2 and 3 may be sets of numbered labels, in ascending order."""
    if not all(isinstance(text, str) and SMALL_SET.fullmatch(text) for text in texts):
        return False
    sets = [[int(part) for part in text.split(",")] for text in texts]
    return max(map(len, sets), default=0) > 1 and all(
        labels == sorted({*labels}) for labels in sets
    )


def _read_several(table, names, kind, reading) -> Target:
    import pandas as pd

    columns = []
    for name, column in read_columns(table, names, reading).items():
        values: Any = column.values
        if isinstance(column.format, Text):
            lower = ["" if value is None else value.lower() for value in values]
            if {*lower} - {""} <= BOOLEANS.keys():
                values = np.array([BOOLEANS.get(value, np.nan) for value in lower])
        if values.dtype.kind != "f":
            raise InputError(
                f"target column {name!r} is not numeric (it has "
                f"{reprlib.repr(values[~pd.isna(values)][0])}); several columns of --target must "
                "all be numbers, for label sets 0 and 1."
            )
        columns.append(values)
    y = np.column_stack(columns)
    is_present = ~np.isnan(y).any(axis=1)
    y = y[is_present]
    if len(y) and (y == np.floor(y)).all() and not np.isinf(y).any():
        y = y.astype(np.intp)
    return Target(y, kind or "", names, is_present)


def _kind_of_several(y):
    """The kind of several columns, as the library finds it out, and what may be meant besides."""
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            kind = _DETECTED[resolve_relation("auto", y).kind]
    except ValueError as error:
        raise InputError(str(error)) from error
    if kind != "numbers":
        return kind, "for plain numbers give --kind numbers"
    return kind, "if they are shares, divide each row by its sum" if doubts else ""


# Checks


def _check(target: Target) -> None:
    """Check that targets fit their kind, and convert them to its type."""
    kind, y, names = target.kind, target.y, target.names
    wants_several = kind not in ("class", "number")
    if wants_several != (y.ndim == 2):
        needs = "two or more columns in --target" if wants_several else "one column in --target"
        or_sets = ", or one with a set in each row (see --separator)" if kind == "labels" else ""
        raise InputError(f"--kind {kind} needs {needs}{or_sets}; got {shorten(names)}.")
    if kind == "class":
        _check_classes(y, names[0])
        # Floats that are classes become texts.
        target.y = y.astype(str) if y.dtype.kind == "f" else y
        return
    if y.dtype.kind not in "iuf":
        raise InputError(
            f"--kind {kind}: target column {names[0]!r} is not numeric (it has {str(y[0])!r}). "
            "Use --kind class, or see --missing and --decimal."
        )
    rules: list[tuple[Any, str]] = []
    if kind == "labels":
        rules = [(~np.isin(y, (0, 1)).all(axis=1), "be 0 or 1")]
    elif kind == "distribution":
        rules = [((y < 0).any(axis=1), "be at least 0"), (~sums_to_one(y), "sum to 1")]
    elif kind == "numbers" and not np.ptp(y, axis=0).all():
        constant = names[np.argmin(np.ptp(y, axis=0))]
        raise InputError(f"target column {constant!r} is constant; leave it out of --target.")
    for is_wrong, rule in rules:
        if is_wrong.any():
            place = int(np.argmax(is_wrong))
            raise InputError(
                f"--kind {kind}: the columns of --target must {rule}; row "
                f"{np.flatnonzero(target.is_present)[place] + 1} has "
                f"{np.array2string(y[place], precision=4, threshold=8)}, sum {y[place].sum():g}. "
                "For plain numbers give --kind numbers."
            )
    target.y = y.astype(np.intp if kind == "labels" else np.float64)


def _check_classes(y, name):
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) > len(y) / 2:
        advice = "Is it an identifier? Choose another --target."
        if y.dtype.kind in "iuf":
            advice += " Numbers can be predicted with --kind number."
        raise InputError(
            f"target column {name!r} has {len(classes)} different values in {len(y)} rows, too "
            f"many to be classes. {advice}"
        )
    if (counts > 1).sum() < 2:
        raise InputError(
            f"fewer than 2 classes of the target column {name!r} have more than one row; "
            "nothing can be learned. Choose another --target."
        )
