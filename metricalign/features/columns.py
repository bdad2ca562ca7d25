"""Reading a column of a table as numbers or categories."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import find_missing

__all__ = ["is_categorical", "read_column"]


def is_categorical(dtype: Any) -> bool:
    """Whether the type of a column of pandas or polars is one of categories or intervals."""
    return str(dtype).lower().startswith(("category", "categorical", "enum", "interval"))


_NUMBERS = (Real, Decimal, np.bool_)


def read_column(values: NDArray, name: Any, is_category: bool) -> NDArray:
    """A column of numbers as floats, or of categories as objects."""
    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: column {name!r} of X. Make it two columns, of its real "
            "and its imaginary parts."
        )
    if kind not in "OSTUbiuf":
        raise TypeError(
            f"Column {name!r} of X has the type {values.dtype}. Turn it into numbers or strings."
        )
    if kind in "OSTU" or is_category:
        values = values.astype(object)
        present = values[~find_missing(values)]
        if any(isinstance(value, list | tuple | np.ndarray) for value in present):
            raise TypeError(
                f"Column {name!r} of X has lists. numpy.stack(X[{name!r}]) makes columns of lists "
                "of as many numbers each; lists of texts are for DateTextEncoder, which comes "
                "before this."
            )
        if is_category or (len(present) and all(isinstance(value, str) for value in present)):
            return values
        if not all(isinstance(value, _NUMBERS) for value in present):
            odd = next(value for value in present if not isinstance(value, _NUMBERS))
            others = [value for value in present if isinstance(value, str) != isinstance(odd, str)]
            such_as = f"{odd!r} and {others[0]}" if others else repr(odd)
            raise TypeError(
                f"Column {name!r} of X has values of several kinds, such as {such_as}: the "
                "argument must be a string in every row, for categories, or a number in every row. "
                f'pandas.to_numeric(X[{name!r}], errors="coerce") makes NaN of all that are no '
                "numbers. Missing values are NaN or None."
            )
        numbers = np.full(len(values), np.nan)
        numbers[~find_missing(values)] = present.astype(np.float64)
        values = numbers
    values = values if values.dtype == np.float32 else values.astype(np.float64)
    if np.isinf(values).any():
        raise ValueError(
            f"Input X contains infinity in column {name!r}. Replace it by a number, or by NaN for "
            "a missing value."
        )
    return values
