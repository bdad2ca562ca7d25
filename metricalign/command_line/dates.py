"""Dates, times and durations as people write them, if they can be read in one way only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.formats import Column, Format, Reading, Text, only_reading

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["Date", "Duration", "Time", "as_dates", "as_digits", "as_durations", "as_odd_dates"]

PATTERNS = {
    "year-first": ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日"),
    "day-first": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    # No country writes the month first with points.
    "month-first": ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y"),
    "named": (
        *("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d. %B %Y", "%d-%b-%y"),
        *("%b %Y", "%B %Y"),
    ),
    "month": ("%Y-%m", "%m/%Y"),
}
# Dates that look like numbers. One in 1,000 random numbers of eight digits is a day.
DAY = re.compile("(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
MONTH = re.compile(r"(0?[1-9]|1[0-2])\.(19|20)[0-9]{2}")
# If most texts have one form, at least one of so many texts has it.
N_FORMS = 5
# Rates such as 1.1987 and 2.0012 have at most two different numbers before the point. Months have
# more.
FEWEST_MONTHS = 3
ORDERS = ("day-first", "month-first")
TIMES = (" %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
ISO_TIMES = ("T%H:%M", "T%H:%M:%S", "T%H:%M:%S.%f", "T%H:%M:%S%z", "T%H:%M:%S.%f%z", " %H:%M:%S%z")
LIKE_A_CLOCK = re.compile("[0-9]{1,2}:[0-9]{2}")
CLOCK = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_PART = "[0-9]+ ?(?:d|days?|h|hr|hours?|min|minutes?|m|s|sec|seconds?)"
LIKE_A_DURATION = re.compile(
    rf"([0-9]+ days? )?[0-9]+:[0-5][0-9]:[0-5][0-9](\.[0-9]+)?|{_PART}( ?{_PART})*"
)
# A text such as 45 min may be a number with a unit.
SURELY_A_DURATION = re.compile(rf".*(:|{_PART} ?{_PART}).*")
LIKE_A_DATE = re.compile(r"[0-9]{1,4}[-/.: 年][0-9A-Za-z].*|[A-Z][a-z]{2,8}\.? [0-9].*")
WORDS = {
    **{"%Y": "year", "%y": "year", "%m": "month", "%d": "day", "%b": "month", "%B": "month"},
    **{"%H": "hours", "%I": "hours", "%M": "minutes", "%S": "seconds", "T": " ", ".%f": ""},
    **{"%z": " zone", "%p": "am or pm"},
}


@dataclass(frozen=True)
class Date(Format):
    """Dates, with or without a time, in a pattern of ``strptime``."""

    kind = "date"
    empty: ClassVar[Any] = np.datetime64("NaT")

    pattern: str = "%Y-%m-%d"

    def parse(self, texts: NDArray) -> NDArray:
        """Dates. A text of another format becomes NaT."""
        import pandas as pd

        options = {"utc": True} if "%z" in self.pattern else {}
        # If a text has nanoseconds, pandas reads no date after the year 2262.
        dates = pd.to_datetime(
            pd.Series(texts, dtype=object), format=self.pattern, errors="coerce", **options
        )
        return dates.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")

    def take(self, column: Series) -> NDArray:
        """Dates without a zone, in UTC."""
        import pandas as pd

        if any(isinstance(value, Real) for value in column.dropna()):
            # pandas would read 8102020 as nanoseconds after 1970.
            raise TypeError("a number is no date")
        return pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")

    def describe(self) -> str:
        """The pattern in words."""
        text = self.pattern
        for code, word in WORDS.items():
            text = text.replace(code, word)
        century = ", years from 1969 to 2068" if "%y" in self.pattern else ""
        return f"{self.kind}s {text}{century}"

    def option(self, text: str, name: str = "") -> str:
        """The option for the order of day and month, if both are numbers."""
        orders = (each for each in ORDERS if self.pattern.startswith(PATTERNS[each]))
        return "".join(f"--dates {order}" for order in orders)


@dataclass(frozen=True)
class Time(Date):
    """Times of the day, as hours."""

    kind = "time"
    empty = np.nan

    pattern: str = "%H:%M"

    def parse(self, texts: NDArray) -> NDArray:
        """Hours. A text of another format, such as the score 3:2, becomes NaN."""
        times = [text if LIKE_A_CLOCK.match(text) else None for text in texts]
        dates = super().parse(np.array(times, dtype=object))
        return (dates - dates.astype("datetime64[D]")) / np.timedelta64(1, "h")

    take = Format.take


@dataclass(frozen=True)
class Duration(Format):
    """Durations such as 1h 20min and 26:10:00, as hours."""

    kind = "duration"

    def parse(self, texts: NDArray) -> NDArray:
        """Hours. A text that is no duration becomes NaN."""
        import pandas as pd

        is_one = [LIKE_A_DURATION.fullmatch(text) is not None for text in texts]
        durations = pd.to_timedelta(pd.Series(texts, dtype=object).where(is_one), errors="coerce")
        return (durations / pd.Timedelta(hours=1)).to_numpy(dtype=np.float64)

    def describe(self) -> str:
        """The unit, in words."""
        return "durations in hours"


def as_digits(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read distinct texts as dates such as 20240131 or 1.2024. None if one is no such date."""
    if len(texts) < 2 or reading.marks(name) != [None, None]:
        return None
    if all(map(DAY.fullmatch, texts)):
        return only_reading(texts, name, [Date("%Y%m%d")])
    if all(map(MONTH.fullmatch, texts)):
        months = {text.partition(".")[0] for text in texts}
        if len(months) >= FEWEST_MONTHS or any(month[0] == "0" for month in months):
            return only_reading(texts, name, [Date("%m.%Y")])
    return None


def as_dates(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read distinct texts as dates or times of the day. None if one is neither.

    Raises `TwoReadingsError` if they can be other dates as well.
    """
    if not all(LIKE_A_DATE.fullmatch(text) for text in texts):
        return None
    return only_reading(texts, name, _formats(texts[0]), f"--dates {reading.dates}")


def as_odd_dates(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Keep texts if most but not all are dates of one form, and name one of the others as odd."""
    import pandas as pd

    likely = [text for text in texts if LIKE_A_DATE.fullmatch(text)]
    if 2 * len(likely) < len(texts):
        return None
    for form in chain(*map(_formats, likely[:N_FORMS])):
        unread = texts[pd.isna(form.parse(texts))]
        if form.kind == "date" and 0 < 2 * len(unread) <= len(texts):
            return Column(texts, Text(), odd=unread[0], but_for="dates")
    return None


def as_durations(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read distinct texts as durations. None if one is none, or all may be numbers with a unit."""
    if not all(map(LIKE_A_DURATION.fullmatch, texts)) or not any(
        map(SURELY_A_DURATION.fullmatch, texts)
    ):
        return None
    return only_reading(texts, name, [Duration()])


def _formats(text: str) -> Iterator[Format]:
    """Formats in which a text can be read. They have a time if the text has a colon."""
    for order, patterns in PATTERNS.items():
        times = (*TIMES, *ISO_TIMES) if order == "year-first" else TIMES
        for pattern in patterns:
            for time in times if ":" in text else ("",):
                # pandas would take ten times as long.
                with suppress(ValueError):
                    datetime.strptime(text, pattern + time)
                    yield Date(pattern + time)
    if ":" in text:
        yield from map(Time, CLOCK)
