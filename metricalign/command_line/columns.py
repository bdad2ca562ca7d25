"""The columns of a table, from texts or typed: no reading changes a value in silence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from metricalign._estimator import level_of_call
from metricalign.command_line.dates import as_dates
from metricalign.command_line.formats import Column, Format, Reading
from metricalign.command_line.numbers import as_numbers
from metricalign.command_line.reading import MISSING, InputError, as_numpy, shorten
from metricalign.features.table import is_free_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["TableColumns", "format_difference", "read_column", "typed_column"]

#: What people write for a missing number or date, where all other values of a column are such.
NO_NUMBER = re.compile(
    r"[-–—.*_ ]+|n\.? ?a\.?|k\. ?a\.?|none|nil|missing|unknown|unbekannt|#(div/0|value|ref|n/a)!?",
    re.IGNORECASE,
)


def read_column(texts: Series, name: str, reading: Reading, format: Format | None = None) -> Column:
    """Find out what stripped texts stand for, in the expected format if all of them have it.

    Raises `InputError` if two readings are possible that give other values.
    """
    import pandas as pd

    missing = MISSING.union(reading.missing)
    codes, unique = pd.factorize(texts.where(~texts.isin(missing)))
    unique = np.asarray(unique, dtype=object)
    if len(unique) == 0:
        return Column(np.full(len(texts), np.nan), format or Format("number"))
    is_plain = np.array([NO_NUMBER.fullmatch(text) is None for text in unique])
    plain = unique[is_plain]
    found = odd = None
    if format is not None:
        values = format.parse(plain)
        unread = plain[pd.isna(values)]
        if len(unread):
            odd = str(unread[0])
        else:
            found = Column(values, format)
    if found is None and len(plain):
        numbers = as_numbers(plain, name, reading)
        # What looks like numbers of no marks may be dates, as in 24.12.2024.
        is_number = numbers is not None and numbers.odd is None
        found = numbers if is_number else as_dates(plain, name, reading) or numbers
    example = str(plain[0]) if len(plain) else ""
    # The last value is that of the code -1, of what is missing.
    if found is None or found.format.kind == "text":
        values = np.array([*unique, None], dtype=object)[codes]
        return Column(values, Format("text"), odd or (found.odd if found else None), example)
    empty = np.nan if found.values.dtype.kind == "f" else np.datetime64("NaT")
    values = np.full(len(unique) + 1, empty, dtype=found.values.dtype)
    values[:-1][is_plain] = found.values
    return Column(
        _without_codes(values[codes], found.format, reading), found.format, example=example
    )


def _without_codes(values, form, reading):
    """Values, NaN where they are the number of a text of a missing one: -9 is -9.0 too."""
    codes = form.parse(np.array(sorted(reading.missing), dtype=object))
    return np.where(np.isin(values, codes), np.nan, values) if form.kind == "number" else values


def typed_column(column: Any, name: str, form: Format, reading: Reading | None = None) -> Column:
    """Values of a column of texts, or of one that is typed already, in the kind of a format.

    Texts may be of another format of the same kind. Raises `InputError` for values of another kind.
    """
    import pandas as pd

    # NumPy's arrays of old releases of polars crash.
    column = as_numpy(column) if isinstance(column, pd.Series) else pd.Series(column.to_list())
    column = column.reset_index(drop=True)
    if form.kind == "text":
        column = column.astype(object)
        values = column.where(column.notna(), None).map(_text_of, na_action="ignore")
        if reading is not None:
            values = values.where(~values.isin(MISSING.union(reading.missing)), None)
        values = values.to_numpy(dtype=object)
        # pandas has NaN again where strings have a type of their own.
        values[pd.isna(values)] = None
        return Column(values, form)
    is_text = column.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
    if is_text.any():
        texts = column.map(str, na_action="ignore").fillna("").astype(object).str.strip()
        read = read_column(texts, name, reading or Reading(), form)
        if read.format.kind == form.kind:
            return read
        example = read.odd or read.example
    else:
        try:
            if form.kind == "date":
                if any(isinstance(value, Real) for value in column.dropna()):
                    # pandas would take 8102020 for nanoseconds after 1970.
                    raise TypeError("a number is no date")
                dates = pd.to_datetime(column)
                dates = (
                    dates.dt.tz_localize(None) if dates.dt.tz is None else dates.dt.tz_convert(None)
                )
                return Column(dates.to_numpy(dtype="datetime64[us]"), form)
            values = column.astype(np.float64).to_numpy()
            return Column(_without_codes(values, form, reading or Reading()), form)
        except (TypeError, ValueError, AttributeError):
            example = column.dropna().iloc[0]
    raise InputError(
        f"column {name!r} has a {form.kind} in each row of the table that was learned from; now "
        f"it has {str(example)!r}."
    )


def format_difference(column: Column, name: str, form: Format) -> str | None:
    """How a column was read, where that is in another format than expected."""
    if column.format == form or not column.example:
        return None
    how, was = (each.describe() or "plain numbers" for each in (column.format, form))
    return f"{name!r} is read as {how} ({column.example!r}); it was {was}."


def _text_of(value):
    """A category as it was written: pandas makes floats of integers with a missing value."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class TableColumns(TransformerMixin, BaseEstimator):
    """Columns of a table, from texts or typed, as numbers, dates and texts.

    What pandas and polars have for a missing value becomes NaN, NaT or None.

    Parameters
    ----------
    formats : dict from str to Format
        The columns that are used, and how their texts are read.
    missing : list of str, default=()
        Further texts of a missing value.

    Attributes
    ----------
    categories_ : dict from str to set of str
        The values of each column of categories.
    free_texts_ : list of str
        The columns of free texts.
    """

    def __init__(self, formats: dict[str, Format], missing: Sequence[str] = ()):
        self.formats = formats
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out the categories.

        Parameters
        ----------
        X : DataFrame of pandas or polars
            The columns.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        self.categories_, self.free_texts_ = {}, []
        for name, form in self.formats.items():
            if form.kind == "text":
                values = self._column(X, name)
                if is_free_text(values):
                    self.free_texts_.append(name)
                else:
                    self.categories_[name] = {*values} - {None}
        return self

    def transform(self, X: Any) -> DataFrame:
        """Turn a table into numbers, dates and texts.

        Parameters
        ----------
        X : DataFrame of pandas or polars
            A table with these columns, and others which are not used.

        Returns
        -------
        table : DataFrame
            Columns of floats, of datetime64 and of objects.

        Raises
        ------
        InputError
            If it is no DataFrame, has no rows, or a column is missing or has values of another
            kind.
        """
        import pandas as pd

        if not hasattr(X, "columns"):
            raise InputError(
                "expected a DataFrame of pandas or polars with the columns "
                f"{shorten(list(self.formats))}; got {type(X).__name__}."
            )
        if len(X) == 0:
            raise InputError("the table has no rows.")
        absent = [name for name in self.formats if name not in X.columns]
        if absent:
            raise InputError(
                f"the table has no column {', '.join(map(repr, absent))}, which the model was "
                "fitted to."
            )
        columns = {name: self._column(X, name) for name in self.formats}
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(columns, index=index)

    def _column(self, X, name):
        reading = Reading(missing=self.missing)
        column = typed_column(X[name], name, self.formats[name], reading)
        difference = format_difference(column, name, self.formats[name])
        if difference is not None:
            warnings.warn(f"Column {difference}", stacklevel=level_of_call())
        return column.values
