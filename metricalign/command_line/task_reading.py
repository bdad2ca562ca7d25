"""Reading a task from a table and the options, and describing how the table was read."""

from __future__ import annotations

import fnmatch
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.columns import read_columns, sort_features
from metricalign.command_line.dates import Date
from metricalign.command_line.doubts import group_candidates
from metricalign.command_line.formats import Ordered, Reading
from metricalign.command_line.messages import wrap
from metricalign.command_line.numbers import Number
from metricalign.command_line.reading import (
    InputError,
    Layout,
    counted,
    read_contents,
    shorten,
    suggestion,
)
from metricalign.command_line.table_columns import TableColumns
from metricalign.command_line.targets import read_target
from metricalign.command_line.tasks import Task, check_rows
from metricalign.features.identifiers import identifier_of

__all__ = ["layout_of", "match_columns", "read_task", "reading_of"]


def layout_of(options: Namespace) -> Layout:
    """The layout that the options give."""
    return Layout(options.delimiter, options.encoding, options.header)


def reading_of(options: Namespace) -> Reading:
    """The reading of values that the options give."""
    return Reading(
        _marks(options.decimal, "--decimal"),
        _marks(options.thousands, "--thousands"),
        options.dates,
        frozenset(options.missing),
    )


def _marks(given, option):
    """Marks by the name of the column. The name "" stands for all other columns."""
    marks = {}
    for text in given:
        name, equals, mark = text.rpartition("=")
        mark = {"space": " ", "none": "", "’": "'"}.get(mark, mark)
        if len(mark) > 1 or (mark and mark not in ".,' "):
            raise InputError(f"{option} {text}: expected one of . , ' space or COLUMN=MARK.")
        marks[name if equals else ""] = mark
    return marks


def read_task(options: Namespace, n_folds: int) -> tuple[Task, list[str]]:
    """Read the task, and describe in lines how the table was read."""
    contents = read_contents(options.table, layout_of(options), options.target)
    table, reading = contents.table, reading_of(options)
    columns = list(table.columns)
    targets = _match_targets(options, contents)
    dropped = match_columns(options.drop, columns, "--drop")
    asked = match_columns(options.features, columns, "--features")
    given = {option: getattr(options, option) for option in ("groups", "time")}
    roles = {
        option: match_columns([name], columns, f"--{option}")[0]
        for option, name in given.items()
        if name is not None
    }
    if len(roles) == 2:
        raise InputError("--groups and --time cannot be had together; choose one.")
    unused = {*targets, *dropped, *roles.values()}
    names = [name for name in asked or columns if name not in unused]
    target = read_target(table, targets, options.kind, options.separator, reading)
    check_rows(len(target.y), n_folds)
    # All rows, with or without a target, tell whether a column is an identifier.
    features = sort_features(read_columns(table, names, reading), bool(asked))
    table, X = (each[target.is_present].reset_index(drop=True) for each in (table, features.frame))
    formats = {name: column.format for name, column in features.columns.items()}
    transformer = TableColumns(formats, sorted(reading.missing), columns, targets, contents.layout)
    task = Task(
        Path(options.table).stem,
        X,
        target.y,
        target.kind,
        target.names,
        rows=np.flatnonzero(target.is_present) + 1,
        columns=transformer.fit(X),
        candidates={} if roles or asked else group_candidates(features, target),
        **{option: _role(table, name, option, reading) for option, name in roles.items()},
    )
    doubt = None if options.kind else target.doubt
    return task, list(_lines(Path(options.table).name, contents, features, task, doubt))


def match_columns(wanted: Sequence[str], columns: Sequence[str], option: str) -> list[str]:
    """Find columns by name, or with the wildcards ``*`` and ``?``. Return each once, in order.

    Raises `InputError` with similar names if there is no such column. `option` is the option that
    asks for the columns.
    """
    found = []
    for name in wanted:
        matches = [name] if name in columns else fnmatch.filter(columns, name)
        if not matches:
            hint = suggestion(name, columns) or f" The columns are {shorten(columns)}."
            raise InputError(f"{option}: the table has no column {name!r}.{hint}")
        found += matches
    return list(dict.fromkeys(found))


def _match_targets(options, contents):
    columns = list(contents.table.columns)
    try:
        return match_columns(options.target, columns, "--target")
    except InputError as error:
        if contents.layout.has_names:
            raise
        first = [str(value) for value in contents.table.iloc[0]]
        raise InputError(
            f"{options.table} has no line of names (it starts with {', '.join(first[:4])}, ...); "
            f"its columns are called 1 to {len(columns)}. The last one is --target {columns[-1]} "
            f"(it starts with {first[-1]!r}). {error}"
        ) from None


def _role(table, name, option, reading):
    """Values of the column of groups or of times."""
    import pandas as pd

    column = read_columns(table, [name], reading)[name]
    values = column.values
    if n_missing := int(pd.isna(values).sum()):
        what = "group; give each of them one of its own" if option == "groups" else "time"
        raise InputError(f"--{option} {name}: {counted(n_missing, 'row')} have no {what}.")
    if option == "groups":
        return values.astype(str)
    if not isinstance(column.format, Number | Date):
        raise InputError(
            f"--time {name}: expected numbers or dates in order of time; it has {column.example!r}."
        )
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


# Scales of answers, in order. A column of categories does not know the order.
SCALES = (
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("very low", "low", "medium", "high", "very high"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("very poor", "poor", "fair", "good", "very good", "excellent"),
    ("small", "medium", "large"),
)
MISSING_CODES = {sign * (10.0**n - 1) for sign in (-1, 1) for n in range(1, 7)}
KIND_NAMES = {
    "number": "of numbers",
    "text": "of categories",
    "rank": "of ordered categories",
    "set": "of sets",
    "free": "of free text",
    "date": "of dates",
    "time": "of times",
    "duration": "of durations",
}


def _lines(name, contents, features, task, doubt):
    """Describe how the table was read. The doubt is None if the kind of the target was given."""
    columns = features.columns
    told = dict.fromkeys(task.columns.free_texts_, "free")
    told |= dict.fromkeys(task.columns.separators_, "set")
    kinds = [told.get(name, column.format.kind) for name, column in columns.items()]
    types = [f"{kinds.count(kind)} {words}" for kind, words in KIND_NAMES.items() if kind in kinds]
    n_features = counted(len(kinds), "feature")
    yield wrap(f"{name}: {counted(len(task.y), 'row')}, {n_features}: {', '.join(types)}", "  ", "")
    notes = [*contents.notes, *_read_as(columns)]
    used = [*columns, *task.columns.targets]
    if durations := [name for name in used if contents.table[name].dtype.kind == "m"]:
        notes.append(f"{shorten(durations)} as durations in seconds")
    for name, separator in task.columns.separators_.items():
        if separator is not None:
            example = next(text for text in task.X[name].dropna() if separator in text)
            members = counted(len(task.columns.categories_[name]), "member")
            notes.append(f"{name!r} as sets of {members}, such as {example!r}")
    if not contents.layout.has_names:
        numbers = f"1 to {contents.table.shape[1]}"
        notes.append(
            f"no line of names: the columns are called {numbers} (--header if the first line has "
            "names)"
        )
    for note in notes:
        yield wrap(note, "    ", "  read: ")
    for reason, names in features.left_out.items():
        yield wrap(f"{shorten([*names])} ({reason})", "    ", "  left out: ")
    if features.left_out:
        yield "    --features COLUMN ... chooses the features yourself"
    if n_dropped := len(contents.table) - len(task.y):
        yield f"  dropped: {counted(n_dropped, 'row')} without a target"
    for name, column in columns.items():
        if isinstance(column.format, Number) and (code := missing_code(task.X[name].to_numpy())):
            yield wrap(
                f"{name!r} has {code:.0f} far from its other values; --missing {code:.0f} if it "
                "stands for a missing value",
                "    ",
                "  is it a number? ",
            )
    for name, categories in task.columns.categories_.items():
        if scale := scale_of(categories):
            yield wrap(
                f"{name!r} has {', '.join(scale)}, a category each. Ordered categories of pandas "
                "are ranks, and stay so in Parquet",
                "    ",
                "  in what order? ",
            )
    for name, categories in task.columns.categories_.items():
        if alike := alike_in_lower_case(categories):
            yield _ask_about_case(f"{name!r} has {shorten(alike)}, a category each.")
    if n_missing := int(task.X.isna().sum().sum()):
        yield f"  missing: {counted(n_missing, 'value')}, a kind of value of their own"
    yield wrap(f"Target: {shorten(task.columns.targets)}, {describe_target(task)}", "  ", "")
    if reason := _identifies(task):
        yield wrap(f"is it what you mean? It looks {reason}", "    ", "  ")
    names = task.y.tolist() if task.kind == "class" else task.names
    if alike := alike_in_lower_case(str(name) for name in names):
        noun = {"class": "class", "labels": "label"}.get(task.kind, "column")
        yield _ask_about_case(f"{shorten(alike)} are a {noun} each.")
    if doubt is not None:
        doubt = f"; {doubt}" if doubt else ""
        yield wrap(f"found out: the same as --kind {task.kind}{doubt}", "    ", "  ")


def scale_of(categories: Iterable[str]) -> list[str]:
    """The order of categories that are three or more words of a scale. No order of others."""
    words = {category.lower(): category for category in categories}
    for scale in SCALES:
        if len(words) > 2 and words.keys() <= {*scale}:
            return [words[word] for word in scale if word in words]
    return []


def alike_in_lower_case(names: Iterable[str]) -> list[str]:
    """The names that differ from another one in nothing but upper and lower case."""
    forms: dict[str, list[str]] = {}
    for name in sorted({*names}):
        forms.setdefault(name.casefold(), []).append(name)
    return [name for alike in forms.values() if len(alike) > 1 for name in alike]


def _ask_about_case(text):
    text += " If they mean the same, write them alike"
    return wrap(text, "    ", "  upper or lower case? ")


def missing_code(values: NDArray) -> float | None:
    """A number of nines that may stand for a missing value. None if there is none.

    It is farther from the other values than these are from each other.
    """
    values = values[~np.isnan(values)]
    for code in {values.min(), values.max()} & MISSING_CODES:
        others = values[values != code]
        gap = np.abs(others - code).min() if len(others) else 0.0
        if len(others) < len(values) - 1 and gap > np.ptp(others) > 0:
            return float(code)
    return None


def _identifies(task):
    """The reason why the target seems to be an identifier of rows. None if it does not."""
    if task.y.ndim > 1:
        return None
    values = task.y if task.y.dtype.kind in "iuf" else task.y.astype(object)
    return identifier_of(values, task.names[0])


def _read_as(columns):
    """Describe unusual formats. Columns of the same format are named together."""
    found: dict[str, list[str]] = {}
    for name, column in columns.items():
        if isinstance(column.format, Ordered):
            yield f"{name!r} as {column.format.describe()}"
        # Typed values were not read from texts, and have no example.
        if column.example and (text := column.format.describe()):
            found.setdefault(text, []).append(name)
    for text, names in found.items():
        # The longest example shows the most.
        example = max((columns[name].example for name in names), key=len)
        yield f"{shorten(names)} as {text}, such as {example!r}"
    # A dash is missing among numbers, but a category among texts, so words differ by column.
    words_in: dict[tuple[str, ...], list[str]] = {}
    for word in sorted({word for column in columns.values() for word in column.no_answers}):
        names = tuple(name for name, column in columns.items() if word in column.no_answers)
        words_in.setdefault(names, []).append(word)
    for names, words in words_in.items():
        yield f"{shorten(words)} as missing values, in {shorten(names)}"


def describe_target(task: Task) -> str:
    """The target in a few words."""
    if task.kind == "number":
        return "a number"
    if task.kind == "class":
        counts = np.unique(task.y, return_counts=True)[1]
        smallest = f", the smallest has {counted(counts.min(), 'row')}" if counts.min() < 10 else ""
        return f"{len(counts)} classes, the largest has {counts.max() / len(task.y):.0%}{smallest}"
    noun = {"labels": "labels", "distribution": "shares", "numbers": "numbers"}[task.kind]
    text = f"{task.y.shape[1]} {noun}"
    if task.kind == "labels":
        n_empty = int((task.y.sum(axis=1) == 0).sum())
        text += f", {task.y.sum(axis=1).mean():.1f} in a row"
        text += f", none in {counted(n_empty, 'row')}" if n_empty else ""
    return text
