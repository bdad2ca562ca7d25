"""A person's own table: read it, and sort out its targets and features."""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from metricalign.command_line.columns import read_column, typed_column
from metricalign.command_line.formats import Column, Format, Reading
from metricalign.command_line.reading import (
    InputError,
    TwoReadingsError,
    as_numpy,
    counted,
    shorten,
    suggestion,
)
from metricalign.features.identifiers import identifier_of
from metricalign.features.table import is_free_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Features", "match_columns", "sort_features", "typed"]


def typed(table: DataFrame, names: Sequence[str], reading: Reading) -> dict[str, Column]:
    """Find out what columns of texts stand for; columns of Parquet have their type.

    Raises `InputError` if some can be read in two ways, and names all of them.
    """
    columns, errors = {}, {}
    for name in names:
        try:
            columns[name] = _typed(table[name], name, reading)
        except TwoReadingsError as error:
            errors[name] = error
    if errors:
        first, *others = errors
        more = f" So it is with {shorten(others)}." if others else ""
        raise InputError(f"{errors[first]}{more}{_hint(table, reading)}")
    return columns


def _hint(table, reading):
    """What the other columns of a table say of its decimal mark, if they agree."""
    found: dict[str, str] = {}
    for name in table.columns:
        try:
            column = _typed(table[name], name, reading)
        except InputError:
            continue
        if column.format.kind == "number" and column.format.decimal in column.example:
            found[column.format.decimal] = f"{column.example!r} in {name!r}"
    if len(found) != 1:
        return ""
    ((mark, example),) = found.items()
    return f" Elsewhere it is --decimal {mark} as in {example}."


def _typed(column: Series, name: str, reading: Reading) -> Column:
    from pandas.api import types

    is_category = str(column.dtype) == "category"
    column = as_numpy(column)
    values = column.dropna()
    if is_category or types.is_bool_dtype(column):
        return Column(_texts(column), Format("text"))
    if types.is_numeric_dtype(column) and not types.is_complex_dtype(column):
        return typed_column(column, name, Format("number"), reading)
    if types.is_datetime64_any_dtype(column):
        return typed_column(column, name, Format("date"))
    if all(isinstance(value, str) for value in values):
        return read_column(column.fillna("").astype(object).str.strip(), name, reading)
    if all(isinstance(value, str | bool | int | float) for value in values):
        return Column(_texts(column), Format("text"))
    if all(isinstance(value, date) for value in values):
        return typed_column(column, name, Format("date"))
    return Column(column.to_numpy(dtype=object), Format("other"))


def _texts(column):
    return typed_column(column, str(column.name), Format("text")).values


def match_columns(wanted: Sequence[str], columns: Sequence[str], option: str) -> list[str]:
    """Find columns by name, or with the wildcards ``*`` and ``?``; each once, in this order.

    Raises `InputError` with close names if there is none; `option` is what asks for them.
    """
    found = []
    for name in wanted:
        matches = [name] if name in columns else fnmatch.filter(columns, name)
        if not matches:
            hint = suggestion(name, columns) or f" The columns are {shorten(columns)}."
            raise InputError(f"{option}: the table has no column {name!r}.{hint}")
        found += matches
    return list(dict.fromkeys(found))


# Features


@dataclass
class Features:
    """The features of a table, and what is left out of it.

    Attributes
    ----------
    columns : dict from str to Column
        Those that are used.
    left_out : dict of list of str
        Columns that are not used, by the reason.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def formats(self) -> dict[str, Format]:
        """How the columns that are used are read."""
        return {name: column.format for name, column in self.columns.items()}

    @property
    def n_missing(self) -> int:
        """Missing values in the columns that are used."""
        import pandas as pd

        return sum(int(pd.isna(column.values).sum()) for column in self.columns.values())


def sort_features(columns: dict[str, Column], keeps_all: bool = False) -> Features:
    """Sort out the columns that are of no use; with `keeps_all` only those without any value.

    Raises `InputError` if a column has infinite values, or none is of use.
    """
    features = Features()
    seen: dict[str, str] = {}
    for name, column in columns.items():
        reason = _reason_against(column, name, keeps_all)
        if reason is None and not keeps_all:
            key = _key_of(column.values)
            if key in seen:
                reason = f"the same as {seen[key]!r}"
            seen.setdefault(key, name)
        if reason is None:
            features.columns[name] = column
        else:
            features.left_out.setdefault(reason, []).append(name)
    if not features.columns:
        reasons = "; ".join(f"{shorten(names)}: {why}" for why, names in features.left_out.items())
        raise InputError(
            "no usable feature is left besides the target"
            + (f" ({reasons})." if reasons else ": the table has no other column.")
            + " Expected at least one column of numbers or categories; --features COLUMN takes one "
            "whatever it looks like."
        )
    for name, column in features.columns.items():
        if column.format.kind == "number":
            _check_finite(name, column.values)
    return features


def _key_of(values):
    """What columns of the same values have in common."""
    if values.dtype == object:
        return repr(values.tolist())
    return f"{values.dtype} {values.tobytes()!r}"


def _reason_against(column, name, keeps_all):
    """Why a column is not used, if it is not."""
    import pandas as pd

    kind = column.format.kind
    if kind == "other":
        return "neither numbers, dates nor text"
    present = column.values[~pd.isna(column.values)]
    if len(present) == 0:
        return "no values"
    n_distinct = len(set(present.tolist()))
    if n_distinct == 1:
        return "constant"
    if column.odd is not None:
        return (
            f"numbers, but for texts such as {column.odd!r}; give --missing {column.odd!r} if it "
            "stands for a missing value"
        )
    reason = None
    if not keeps_all and kind in ("number", "text"):
        reason = identifier_of(present, name, len(column.values) - len(present))
    if reason is None and importlib.util.find_spec("skrub") is None:
        what = "free text" if kind == "text" and is_free_text(column.values) else None
        what = "dates" if kind == "date" else what
        reason = f'{what}, for which pip install "metricalign[table]" is needed' if what else None
    return reason


def _check_finite(name, values):
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise InputError(
            f"column {name!r} has {counted(len(infinite), 'infinite value')}, the first in row "
            f"{infinite[0] + 1}. Replace them, or leave the column out with --drop."
        )
