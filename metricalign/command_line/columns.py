"""The texts of a column as numbers, dates or categories: no reading changes a value in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from metricalign.command_line.reading import MISSING, InputError, as_numpy
from metricalign.features.numerals import FEWEST_NUMBERS, LEADING_ZERO, NUMBER
from metricalign.features.table import is_free_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Column", "Format", "Reading", "TableColumns", "read_column", "typed_column"]

#: What people write for a missing number or date, where all other values of a column are such.
NO_NUMBER = frozenset(("-", "--", "–", "—", ".", "..", "...", "*", "n.a.", "none", "missing"))
NO_NUMBER |= {"unknown", "#div/0!", "#value!", "#ref!"}
# Decimal and thousands marks of the world; the plain ones first.
MARKS = [
    (decimal, thousands)
    for thousands in ("", ",", ".", " ", "'")
    for decimal in ".,"
    if decimal != thousands
]
# Larger integers are not exact in float64.
LARGEST_INTEGER = 2**53
DATES = {
    "year-first": ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    "day-first": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    # Nowhere is the month first where points separate.
    "month-first": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y"),
    "named": (
        *("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d. %B %Y", "%d-%b-%y"),
        *("%b %Y", "%B %Y"),
    ),
    "month": ("%Y-%m", "%m/%Y"),
}
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
ISO_TIMES = ("T%H:%M", "T%H:%M:%S", "T%H:%M:%S.%f", "T%H:%M:%S%z", "T%H:%M:%S.%f%z", " %H:%M:%S%z")
CLOCK = ("%H:%M", "%H:%M:%S")
LIKE_A_DATE = re.compile(r"[0-9]{1,4}[-/.: ][0-9A-Za-z].*|[A-Z][a-z]{2,8}\.? [0-9].*")


@dataclass(frozen=True)
class Format:
    """How the texts of a column are read.

    Attributes
    ----------
    kind : {"number", "date", "time", "text"}
        What they stand for; times are hours of the day.
    decimal, thousands : str
        Marks of numbers.
    unit : str
        A currency or another unit of all numbers, which is left away.
    pattern : str
        Format of dates and times, as in ``strptime``.
    """

    kind: str
    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    pattern: str = ""

    def parse(self, texts: NDArray) -> NDArray:
        """Values of texts; NaN, NaT or None where a text is of another format.

        Parameters
        ----------
        texts : ndarray of object of shape (n_values,)
            Texts that are not missing.

        Returns
        -------
        values : ndarray of shape (n_values,)
            Floats, datetime64 or texts.
        """
        if self.kind == "text":
            return texts
        if self.kind == "number":
            return np.array([self._number(text) for text in texts], dtype=np.float64)
        import pandas as pd

        options = {"utc": True} if "%z" in self.pattern else {}
        # pandas stops at the year 2262 where a text has nanoseconds only.
        dates = pd.to_datetime(
            pd.Series(texts, dtype=object), format=self.pattern, errors="coerce", **options
        )
        dates = dates.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
        if self.kind == "date":
            return dates
        return (dates - dates.astype("datetime64[D]")) / np.timedelta64(1, "h")

    def _number(self, text):
        match: Any = NUMBER.fullmatch(text)
        if match is None:
            return np.nan
        unit = match["before"] or match["after"] or ""
        # 12 may be meant as 12 €, but 0.12 is not 0.12 %.
        if unit != self.unit and (unit or self.unit in ("%", "‰")):
            return np.nan
        value = _decode(match, self.decimal, self.thousands)
        return np.nan if value is None else value

    def describe(self) -> str:
        """What is unusual about the format, in a few words."""
        if self.kind in ("date", "time"):
            names = {"%Y": "year", "%y": "year", "%m": "month", "%d": "day", "%b": "month"}
            names |= {"%B": "month", "%H": "hours", "%I": "hours", "%M": "minutes"}
            names |= {"%S": "seconds", "T": " ", ".%f": "", "%z": " zone", "%p": "am or pm"}
            text = self.pattern
            for code, name in names.items():
                text = text.replace(code, name)
            century = ", years from 1969 to 2068" if "%y" in self.pattern else ""
            return f"{'dates' if self.kind == 'date' else 'times'} {text}{century}"
        parts = [f"decimal mark {self.decimal!r}"] if self.decimal != "." else []
        parts += [f"thousands mark {self.thousands!r}"] if self.thousands else []
        parts += [f"in {self.unit}"] if self.unit else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Reading:
    """What a person says of the values; a column may have a mark of its own.

    Attributes
    ----------
    decimal, thousands : mapping from str to str
        Marks by the name of a column, and of "" for all others.
    dates : str or None
        "day-first" or "month-first" where both are possible.
    missing : collection of str
        Further texts of a missing value.
    """

    decimal: Mapping[str, str] = field(default_factory=dict)
    thousands: Mapping[str, str] = field(default_factory=dict)
    dates: str | None = None
    missing: Iterable[str] = ()

    def mark(self, which: str, name: str) -> str | None:
        """The mark of a column that was given, if any."""
        given: Mapping[str, str] = getattr(self, which)
        return given.get(name, given.get(""))


@dataclass
class Column:
    """A column as it was read.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        Floats, dates, or texts with None where they are missing.
    format : Format
        How the texts were read.
    odd : str or None
        A text among numbers, because of which the column is none of numbers.
    example : str
        A text of the format.
    """

    values: NDArray
    format: Format
    odd: str | None = None
    example: str = ""


def read_column(texts: Series, name: str, reading: Reading, format: Format | None = None) -> Column:
    """Find out what the texts of a column stand for.

    Parameters
    ----------
    texts : Series of str
        Stripped texts.
    name : str
        Name of the column.
    reading : Reading
        What the person says.
    format : Format or None, default=None
        The format that is expected; it is kept if all texts have it.

    Returns
    -------
    column : Column

    Raises
    ------
    InputError
        If two readings are possible that give other values.
    """
    import pandas as pd

    missing = MISSING.union(reading.missing)
    codes, unique = pd.factorize(texts.where(~texts.isin(missing)))
    unique = np.asarray(unique, dtype=object)
    is_missing = codes < 0
    if len(unique) == 0:
        return Column(np.full(len(texts), np.nan), Format("number"))
    found = None
    if format is not None:
        values = format.parse(unique)
        if not _is_null(values).any():
            found = Column(values, format)
    no_number = np.array([text.lower() in NO_NUMBER for text in unique])
    plain = unique[~no_number]
    if found is None and len(plain):
        numbers = _as_numbers(plain, name, reading)
        # What looks like numbers of no marks may be dates, as in 24.12.2024.
        is_number = numbers is not None and numbers.odd is None
        found = numbers if is_number else _as_dates(plain, name, reading) or numbers
        if found is not None and found.format.kind != "text" and no_number.any():
            empty = np.nan if found.values.dtype.kind == "f" else np.datetime64("NaT")
            values = np.full(len(unique), empty, dtype=found.values.dtype)
            values[~no_number] = found.values
            found.values = values
        elif found is not None and found.format.kind == "text":
            found.values = unique
    if found is None:
        found = Column(unique, Format("text"))
    if found.values.dtype == object:
        values = np.array([*found.values, None], dtype=object)[codes]
    else:
        values = found.values[codes]
        values[is_missing] = np.nan if values.dtype.kind == "f" else np.datetime64("NaT")
    return Column(values, found.format, found.odd, str(plain[0]) if len(plain) else "")


def _is_null(values):
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.isnat(values) if values.dtype.kind == "M" else np.zeros(len(values), dtype=bool)


# Numbers


def _as_numbers(texts, name, reading):
    """A column of numbers, of texts that are none although they look like it, or None."""
    if any(LEADING_ZERO.fullmatch(text) for text in texts):
        return None
    marks = [reading.mark(which, name) for which in ("decimal", "thousands")]
    if marks == [None, None]:
        plain = _plain_numbers(texts)
        if plain is not None:
            return plain
    matches: list[Any] = [NUMBER.fullmatch(text) for text in texts]
    is_number = np.array([match is not None for match in matches])
    if not is_number.any():
        return None
    if not is_number.all():
        if is_number.mean() > 0.5 and len(texts) > FEWEST_NUMBERS:
            return Column(texts, Format("text"), odd=texts[~is_number][0])
        return None
    units = [match["before"] or match["after"] or "" for match in matches]
    named = sorted({unit for unit in units if unit})
    if len(named) > 1:
        return Column(texts, Format("text"), odd=texts[units.index(named[-1])])
    unit = named[0] if named else ""
    if unit in ("%", "‰") and "" in units:
        raise InputError(
            f"column {name!r} has numbers with and without {unit}, such as "
            f"{texts[units.index(unit)]!r} and {texts[units.index('')]!r}: they may be of the same "
            "scale or not. Write them alike, or leave the column out with --drop."
        )
    return _with_marks(texts, matches, name, marks, unit)


def _with_marks(texts, matches, name, given, unit):
    """Numbers by the only marks with which all of them are some."""
    found: dict[bytes, tuple[NDArray, str, str]] = {}
    for decimal, thousands in MARKS:
        if given[0] not in (None, decimal) or given[1] not in (None, thousands):
            continue
        values = []
        for match in matches:
            value = _decode(match, decimal, thousands)
            if value is None:
                break
            values.append(value)
        else:
            numbers = np.array(values)
            found.setdefault(numbers.tobytes(), (numbers, decimal, thousands))
    if len(found) > 1:
        raise _two_readings(texts, name, list(found.values()))
    if not found:
        if given != [None, None]:
            raise InputError(
                f"column {name!r}: not all values are numbers with the marks given, such as "
                f"{_longest(texts)!r}. Give its marks as --decimal {name}=. or --thousands {name}=,"
            )
        return Column(texts, Format("text"), odd=_longest(texts))
    ((numbers, decimal, thousands),) = found.values()
    if _are_inexact(texts, numbers):
        return None
    return Column(numbers, Format("number", decimal, thousands, unit))


def _plain_numbers(texts):
    """Numbers as programs write them, if no thousands are possible."""
    if any("_" in text for text in texts):
        return None
    try:
        numbers = texts.astype(np.float64)
    except ValueError:
        return None
    if any("." in text for text in texts) and all(
        re.fullmatch(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})*", text) for text in texts
    ):
        return None
    return (
        Column(texts, Format("text"))
        if _are_inexact(texts, numbers)
        else Column(numbers, Format("number"))
    )


def _are_inexact(texts, numbers):
    """Whether integers have more digits than a float: these are codes."""
    large = np.abs(numbers) > LARGEST_INTEGER
    return large.any() and any(text.lstrip("+-").isdigit() for text in texts[large])


def _decode(match, decimal, thousands):
    """The number under these marks, or None if it is none."""
    digits = re.sub("[\u00a0\u2009\u202f]", " ", match["digits"]).replace("’", "'").rstrip()
    whole, mark, fraction = digits.partition(decimal)
    if thousands and thousands in whole:
        # Groups of three, or of two before the last as in India.
        group = re.escape(thousands)
        if not re.fullmatch(
            rf"[1-9][0-9]{{0,2}}({group}[0-9]{{3}})+|[1-9][0-9]?({group}[0-9]{{2}})+{group}[0-9]{{3}}",
            whole,
        ):
            return None
        whole = whole.replace(thousands, "")
    if not re.fullmatch("[0-9]*", whole + fraction) or not (whole or fraction):
        return None
    if len(whole) > 1 and whole[0] == "0" and not mark:
        return None
    number = float(f"{whole or 0}.{fraction or 0}{match['exponent'] or ''}")
    negative = (match["bracket"] is not None) + sum(
        match[sign] in ("-", "−") for sign in ("sign", "sign2", "sign3")
    )
    return None if negative > 1 else -number if negative else number


def _longest(texts):
    return max(texts, key=len)


def _two_readings(texts, name, readings):
    place = int(np.argmax(readings[0][0] != readings[1][0]))
    (first, decimal, _), (second, _, thousands) = sorted(readings, key=lambda each: each[2])[:2]
    return InputError(
        f"column {name!r}: {texts[place]!r} can be {first[place]:.15g} or {second[place]:.15g}. "
        f'Say which: --decimal "{name}={decimal}" or --thousands "{name}={thousands}"; without '
        f'"{name}=" it holds for all columns.'
    )


# Dates


def _as_dates(texts, name, reading):
    """A column of dates or of times of the day, or None."""
    if not all(LIKE_A_DATE.fullmatch(text) for text in texts):
        return None
    found: dict[str, tuple[NDArray, str]] = {}
    for order, pattern in _patterns(texts[0]):
        if _fits(texts[:20], pattern):
            values = Format("date", pattern=pattern).parse(texts)
            if not np.isnat(values).any():
                found.setdefault(order, (values, pattern))
    if {"day-first", "month-first"} <= found.keys():
        return _ordered(found, texts, name, reading.dates)
    for values, pattern in found.values():
        return Column(values, Format("date", pattern=pattern))
    for pattern in CLOCK:
        if _fits(texts[:20], pattern):
            values = Format("time", pattern=pattern).parse(texts)
            if not np.isnan(values).any():
                return Column(values, Format("time", pattern=pattern))
    return None


def _ordered(found, texts, name, order):
    (day, day_pattern), (month, month_pattern) = found["day-first"], found["month-first"]
    differ = np.flatnonzero(day != month)
    if len(differ) and order is None:
        place = differ[0]
        raise InputError(
            f"column {name!r}: {texts[place]!r} can be {str(day[place])[:10]} or "
            f"{str(month[place])[:10]}. Say which: --dates day-first or --dates month-first."
        )
    if order == "month-first":
        return Column(month, Format("date", pattern=month_pattern))
    return Column(day, Format("date", pattern=day_pattern))


def _patterns(text):
    """Orders and patterns of dates, those that can be of the length of a text."""
    for order, patterns in DATES.items():
        for pattern in patterns:
            times = (*TIMES, *ISO_TIMES) if order == "year-first" else TIMES
            for each in times:
                if (":" in each) == (":" in text):
                    yield order, pattern + each


def _fits(texts, pattern):
    try:
        for text in texts:
            datetime.strptime(text, pattern)
    except ValueError:
        return False
    return True


# Columns of a table as a learner takes them


class TableColumns(TransformerMixin, BaseEstimator):
    """Columns of a table, from texts or typed, as numbers and categories.

    A date becomes its year, as a number with a fraction, and its month, day, day of the week and
    hour, where these vary. What pandas and polars have for a missing value becomes NaN or None.

    Parameters
    ----------
    formats : dict from str to Format
        The columns that are used, and how their texts are read.
    missing : list of str, default=()
        Further texts of a missing value.

    Attributes
    ----------
    parts_ : dict from str to list of str
        The parts of each date that vary.
    categories_ : dict from str to set of str
        The values of each column of categories; free texts have none.
    """

    def __init__(self, formats: dict[str, Format], missing: Sequence[str] = ()):
        self.formats = formats
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out which parts of dates vary.

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
        self.parts_, self.categories_ = {}, {}
        for name, form in self.formats.items():
            if form.kind == "text":
                values = self._column(X, name)
                if not is_free_text(values):
                    self.categories_[name] = {*values} - {None}
            if form.kind == "date":
                parts = {part: of(self._column(X, name)) for part, of in DATE_PARTS.items()}
                varying = [part for part, values in parts.items() if _varies(values)]
                self.parts_[name] = varying or ["year"]
        return self

    def transform(self, X: Any) -> DataFrame:
        """Turn a table into numbers and categories.

        Parameters
        ----------
        X : DataFrame of pandas or polars
            A table with these columns, and others which are not used.

        Returns
        -------
        table : DataFrame
            Columns of floats and of texts.

        Raises
        ------
        InputError
            If a column is missing, or has values of another kind.
        """
        import pandas as pd

        absent = [name for name in self.formats if name not in X.columns]
        if absent:
            raise InputError(
                f"the table has no column {', '.join(map(repr, absent))}, which the model was "
                "fitted to."
            )
        columns: dict[str, NDArray] = {}
        for name, form in self.formats.items():
            values = self._column(X, name)
            if form.kind == "date":
                columns |= {
                    f"{name}: {part}": DATE_PARTS[part](values) for part in self.parts_[name]
                }
            else:
                columns[name] = values
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(columns, index=index)

    def sources(self) -> list[str]:
        """For each column of the result the column of the table that it is made of."""
        return [
            name
            for name, form in self.formats.items()
            for _ in (self.parts_[name] if form.kind == "date" else [""])
        ]

    def _column(self, X, name):
        reading = Reading(missing=self.missing)
        return typed_column(X[name], name, self.formats[name], reading).values


def typed_column(column: Any, name: str, form: Format, reading: Reading | None = None) -> Column:
    """Values of a column that may be of texts or typed already, in the kind of a format.

    Parameters
    ----------
    column : Series of pandas or polars
        Values.
    name : str
        Its name.
    form : Format
        The kind that is expected, and how texts are read; texts may be of another format of the
        same kind.
    reading : Reading or None, default=None
        What the person says of texts.

    Returns
    -------
    column : Column

    Raises
    ------
    InputError
        If the values are of another kind.
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
                dates = pd.to_datetime(column)
                dates = (
                    dates.dt.tz_localize(None) if dates.dt.tz is None else dates.dt.tz_convert(None)
                )
                return Column(dates.to_numpy(dtype="datetime64[us]"), form)
            values = column.astype(np.float64).to_numpy()
            missing = sorted((reading or Reading()).missing)
            codes = form.parse(np.array(missing, dtype=object))
            return Column(np.where(np.isin(values, codes), np.nan, values), form)
        except (TypeError, ValueError, AttributeError):
            example = column.dropna().iloc[0]
    raise InputError(
        f"column {name!r} has a {form.kind} in each row of the table that was learned from; now "
        f"it has {str(example)!r}."
    )


def _text_of(value):
    """A category as it was written: pandas makes floats of integers with a missing value."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _year(dates):
    years = dates.astype("datetime64[Y]")
    length = (years + 1).astype(dates.dtype) - years.astype(dates.dtype)
    return _float(
        dates, years.astype(np.int64) + 1970 + (dates - years.astype(dates.dtype)) / length
    )


def _float(dates, values):
    return np.where(np.isnat(dates), np.nan, values)


DATE_PARTS: dict[str, Callable[[NDArray], NDArray]] = {
    "year": _year,
    "month": lambda dates: _float(dates, dates.astype("datetime64[M]").astype(np.int64) % 12 + 1),
    "day": lambda dates: _float(
        dates,
        (dates.astype("datetime64[D]") - dates.astype("datetime64[M]")).astype(np.int64) + 1,
    ),
    "weekday": lambda dates: _float(
        dates, (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    ),
    "hour": lambda dates: _float(
        dates, (dates - dates.astype("datetime64[D]")) / np.timedelta64(1, "h")
    ),
}


def _varies(values):
    present = values[~np.isnan(values)]
    return len(present) > 0 and present.min() < present.max()
