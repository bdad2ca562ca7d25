"""The contents of a column of pandas or polars, by its type and its values."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import is_missing

__all__ = [
    "are_texts",
    "finite_numbers",
    "first_present",
    "form_of",
    "has_numbers",
    "is_date",
    "is_free_text",
    "present_objects",
]

# Texts of more values, the limit of skrub, are free if most rows have a rare value. A value is rare
# if PiecewiseLinearEncoder would give it no column, or if fewer rows share it than a neighbourhood
# has.
_MOST_CATEGORIES, _RARE_SHARE, _RARE_COUNT = 40, 0.01, 5
_DATES = ("date", "timestamp", "timedelta", "duration", "period")
# In a small table, texts that mostly differ are free if they have so many values, and so many words
# on average.
_FEWEST_TEXTS, _FEWEST_WORDS = 10, 3


def is_date(column: Any) -> bool:
    """Whether the type of a column is one of dates, periods or durations."""
    return str(column.dtype).lower().startswith(_DATES)


def form_of(column: Any) -> str | None:
    """A word for the contents of a column. None if all values are missing."""
    if str(column.dtype).lower().startswith(("timedelta", "duration")):
        return "durations"
    if is_date(column):
        return "dates"
    value = first_present(column)
    if value is None or isinstance(value, datetime.date | str):
        return None if value is None else "texts" if isinstance(value, str) else "dates"
    return "numbers" if isinstance(value, Real | np.bool_) else "other values"


def first_present(column: Any) -> Any:
    """The first value that is not missing. None if all are missing."""
    return next((value for value in column.to_list() if not is_missing(value)), None)


def has_numbers(column: Any) -> bool:
    """Whether the type of a column is one of integers or floats."""
    return re.match(r"u?int\d|float|double", str(column.dtype).lower()) is not None


def finite_numbers(column: Any) -> NDArray:
    """The numbers of a column that are neither missing nor infinite."""
    values = np.asarray(column, dtype=np.float64)
    return values[np.isfinite(values)]


def present_objects(column: Any) -> NDArray:
    """The present values of a column of objects, strings or lists. Empty for other types."""
    if not str(column.dtype).lower().removeprefix("large_").startswith(("object", "str", "list")):
        return np.array([], dtype=object)
    # With None at the end, NumPy makes no matrix of lists of equal length.
    values = np.array([*column.to_list(), None], dtype=object)[:-1]
    return values[[not is_missing(value) for value in values]]


def are_texts(values: NDArray) -> bool:
    """Whether all values are strings, and there is at least one."""
    return len(values) > 0 and all(isinstance(value, str) for value in values)


def is_free_text(values: Iterable[str | None]) -> bool:
    """Whether texts are free texts and not categories. None is a missing text."""
    counts = Counter(value for value in values if value is not None)
    n_texts = counts.total()
    if _FEWEST_TEXTS < len(counts) <= _MOST_CATEGORIES:
        n_words = sum(len(value.split()) for value in counts)
        return 2 * len(counts) > n_texts and n_words >= _FEWEST_WORDS * len(counts)
    rare = max(_RARE_SHARE * n_texts, _RARE_COUNT)
    n_rare = sum(number for number in counts.values() if number < rare)
    return len(counts) > _MOST_CATEGORIES and 2 * n_rare > n_texts
