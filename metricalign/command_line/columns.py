"""The columns of a table: how each is read, and which are of use to predict a target."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from metricalign.command_line.dates import Date, as_dates, as_digits, as_durations, as_odd_dates
from metricalign.command_line.formats import Column, Format, Ordered, Other, Reading, Sets, Text
from metricalign.command_line.numbers import Number, as_numbers, as_plain_numbers
from metricalign.command_line.reading import (
    NO_NUMBER,
    InputError,
    TwoReadingsError,
    counted,
    shorten,
)
from metricalign.features.contents import is_free_text
from metricalign.features.identifiers import identifier_of
from metricalign.features.numerals import LEADING_ZERO
from metricalign.features.sets import are_sets, separator_of_sets

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Features", "read_column", "read_columns", "refuse_infinite", "sort_features"]

# These readers are tried in this order. Most columns have numbers without marks.
READERS = (as_digits, as_plain_numbers, as_dates, as_durations, as_odd_dates, as_numbers)
# Formats of typed columns, by the type that pandas infers.
TYPED = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal", "empty"), Number()),
    **dict.fromkeys(("date", "datetime", "datetime64"), Date()),
    **dict.fromkeys(("boolean", "categorical", "interval"), Text()),
}


def read_column(column: Any, name: str, reading: Reading, expected: Format | None = None) -> Column:
    """Read a column of pandas or polars, which has texts or is typed.

    Texts may have another format than the expected one, but not another kind. Raises `InputError`
    if they have, or if two readings are possible and give different values.
    """
    import pandas as pd

    if not isinstance(column, pd.Series):
        column = pd.Series(column.to_list())  # to_numpy crashes in old releases of polars
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    elif column.dtype.kind == "m":
        column = column.dt.total_seconds()
    found = pd.api.types.infer_dtype(column, skipna=True)
    form = expected or _typed_format(column, found)
    has_texts = found == "string" or (
        found.startswith("mixed") and any(isinstance(value, str) for value in column)
    )
    if has_texts or isinstance(form, Text):
        read = _read_texts(Text().take(column), name, reading, expected if has_texts else Text())
    elif found == "empty":
        read = Column(np.full(len(column), form.empty), form)
    else:
        try:
            read = Column(form.take(column), form)
        except (TypeError, ValueError, AttributeError):
            read = Column(Other().take(column), Other(), odd=str(column.dropna().iloc[0]))
    if expected is not None and read.format.kind != expected.kind:
        odd = read.odd or read.example
        raise InputError(
            f"column {name!r} has {expected.kind}s in the table that was learned from; now it has "
            f"{odd!r}. Correct it, or leave it empty. At the command line, --missing {odd!r} takes "
            "it for missing."
        )
    if reading.missing and not isinstance(read.format, Sets | Other):
        # The code is parsed, since -9 may be written as -9.0.
        codes = read.format.parse(np.array(sorted(reading.missing), dtype=object))
        read.values = np.where(np.isin(read.values, codes), read.format.empty, read.values)
    return read


def _typed_format(column, found):
    """Format of a column without texts, by the type that pandas infers."""
    if found == "categorical" and column.dtype.ordered:
        return Ordered(tuple(Text().take(column.dtype.categories.to_series())))
    if found.startswith("mixed") and are_sets(column.dropna()):
        return Sets()
    return TYPED.get(found, Other())


def _read_texts(texts, name, reading, expected):
    """Read stripped texts, in the expected format if all texts have it."""
    import pandas as pd

    codes, unique = pd.factorize(texts)
    is_answer = np.array([not reading.is_missing(text) for text in unique], dtype=bool)
    is_value = is_answer & [NO_NUMBER.fullmatch(text) is None for text in unique]
    plain = unique[is_value]
    found = odd = None
    form = expected or (None if is_answer.any() else Number())
    if form is not None:
        values = form.parse(plain)
        unread = plain[pd.isna(values)]
        if len(unread):
            odd = unread[0]
        else:
            found = Column(values, form)
    if found is None and not any(map(LEADING_ZERO.fullmatch, plain)):
        found = next((c for read in READERS if (c := read(plain, name, reading))), None)
    if found is None or isinstance(found.format, Text):
        but_for = found.but_for if found else "numbers"
        odd = odd or (found.odd if found else None)
        found, is_value = Column(unique[is_answer], Text(), odd, but_for), is_answer
    # A missing text has the code -1, so the last value is the missing one.
    values = np.full(len(unique) + 1, found.format.empty, dtype=found.values.dtype)
    values[:-1][is_value] = found.values
    found.values = values[codes]
    found.example = str(plain[0]) if len(plain) else ""
    found.no_answers = sorted({*unique[~is_value]} - {"", *reading.missing})
    return found


def read_columns(table: DataFrame, names: Sequence[str], reading: Reading) -> dict[str, Column]:
    """Read columns, and find out their formats.

    Raises `InputError` if some columns can be read in two ways. The error names all of them.
    """
    columns, errors = {}, {}
    for name in names:
        try:
            columns[name] = read_column(table[name], name, reading)
        except TwoReadingsError as error:
            errors[name] = error
    if errors:
        first, *others = errors
        more = f" So it is with {shorten(others)}." if others else ""
        raise InputError(f"{errors[first]}{more}{_hint(table, reading, errors[first])}")
    return columns


def _hint(table, reading, error):
    """The marks or the order of dates in the other columns, in words, if these agree."""
    found = {}
    for name in table.columns:
        try:
            column = read_column(table[name], name, reading)
        except InputError:
            continue
        option = column.format.option(column.example)
        if option.split()[:1] == error.options[0].split()[:1]:
            found[option] = f"{column.example!r} in {name!r}"
    if len(found) != 1:
        return ""
    ((option, example),) = found.items()
    return f" Elsewhere it is {option} as in {example}."


# Which columns are used


@dataclass
class Features:
    """The columns of a table that are used, and, by reason, those that are left out."""

    columns: dict[str, Column] = field(default_factory=dict)
    left_out: dict[str, dict[str, Column]] = field(default_factory=dict)

    @property
    def frame(self) -> DataFrame:
        """The columns that are used, as a table."""
        import pandas as pd

        return pd.DataFrame({name: column.values for name, column in self.columns.items()})


def sort_features(columns: dict[str, Column], keeps_all: bool = False) -> Features:
    """Leave out the columns that are of no use.

    With `keeps_all`, only columns that cannot be used are left out. Raises `InputError` if a column
    has infinite values, or no column is left.
    """
    features = Features()
    seen: dict[Any, str] = {}
    for name, column in columns.items():
        reason = _reason_against(column, name, keeps_all)
        if reason is None and not keeps_all:
            values = column.values
            is_object = values.dtype == object
            key = tuple(values) if is_object else (values.dtype.str, values.tobytes())
            if seen.setdefault(key, name) != name:
                reason = f"the same as {seen[key]!r}"
        if reason is None:
            features.columns[name] = column
        else:
            features.left_out.setdefault(reason, {})[name] = column
    if not features.columns:
        reasons = "; ".join(
            f"{shorten([*names])}: {why}" for why, names in features.left_out.items()
        )
        raise InputError(
            "no usable feature is left besides the target"
            + (f" ({reasons})." if reasons else ": the table has no other column.")
            + " Expected at least one column of numbers or categories; --features COLUMN takes one "
            "whatever it looks like."
        )
    refuse_infinite(features.columns, "Replace them, or leave the column out with --drop.")
    return features


def refuse_infinite(columns: dict[str, Column], advice: str) -> None:
    """Raise `InputError` if a column has infinite values."""
    for name, column in columns.items():
        is_number = isinstance(column.format, Number)
        infinite = np.flatnonzero(is_number and np.isinf(column.values))
        if len(infinite):
            raise InputError(
                f"column {name!r} has {counted(len(infinite), 'infinite value')}, the first in row "
                f"{infinite[0] + 1}. {advice}"
            )


def _reason_against(column, name, keeps_all):
    """The reason to leave a column out. None if there is none."""
    import pandas as pd

    kind = column.format.kind
    if isinstance(column.format, Other):
        return "neither numbers, dates nor text"
    present = column.values[~pd.isna(column.values)]
    if len(present) == 0:
        return "no values"
    if len(set(present.tolist())) == 1:
        return "constant"
    if column.odd is not None:
        return (
            f"{column.but_for}, but for texts such as {column.odd!r}; give --missing "
            f"{column.odd!r} if it stands for a missing value"
        )
    is_set = kind == "text" and separator_of_sets(present.tolist()) is not None
    if not keeps_all and kind in ("number", "text") and not is_set:
        reason = identifier_of(present, name, len(column.values) - len(present))
        if reason is not None:
            return reason
    if importlib.util.find_spec("skrub") is None:
        is_free = kind == "text" and not is_set and is_free_text(column.values)
        what = "dates" if kind == "date" else "free text" if is_free else None
        return f'{what}, for which pip install "metricalign[table]" is needed' if what else None
    return None
