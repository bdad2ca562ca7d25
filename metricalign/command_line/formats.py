"""Formats: how the texts of a column are read, by default and by the user's options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metricalign.features.numerals import MAGNITUDES, SCALE, match_number

__all__ = ["Column", "Format", "Reading", "decode", "unit_of"]


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
    has_magnitudes : bool
        Whether letters and words stand for powers of ten: 1.5M is 1,500,000.
    """

    kind: str
    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    pattern: str = ""
    has_magnitudes: bool = False

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
        match = match_number(text)
        if match is None:
            return np.nan
        unit = unit_of(match)
        # 12 may be meant as 12 €, but 0.12 is not 0.12 %.
        if unit != self.unit and (unit or self.unit in ("%", "‰")):
            return np.nan
        if match["magnitude"] and not self.has_magnitudes:
            return np.nan
        value = decode(match, self.decimal, self.thousands)
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
        if self.unit:
            parts.append(f"out of {self.unit[1:]}" if self.unit[0] == "/" else f"in {self.unit}")
        parts += ["with magnitudes: k is a thousand, M a million"] if self.has_magnitudes else []
        return ", ".join(parts)


def unit_of(match: re.Match[str]) -> str:
    """The unit in a match of `NUMBER`, in one spelling, or an empty text."""
    unit = match["before"] or match["after"] or ""
    scale = SCALE.fullmatch(unit)
    return f"/{scale[1]}" if scale else unit.removesuffix("s") if len(unit) > 2 else unit


def decode(match: re.Match[str], decimal: str, thousands: str) -> float | None:
    """The number that a match of `NUMBER` is under these marks, or None if it is none."""
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
    if match["magnitude"] and match["exponent"]:
        return None
    power = MAGNITUDES[match["magnitude"]] if match["magnitude"] else 0
    number = float(f"{whole or 0}.{fraction or 0}{match['exponent'] or f'e{power}'}")
    negative = (match["bracket"] is not None) + sum(
        match[sign] in ("-", "−") for sign in ("sign", "sign2", "sign3")
    )
    return None if negative > 1 else -number if negative else number


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
