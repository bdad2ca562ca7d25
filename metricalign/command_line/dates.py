"""Dates and times in the orders of the world: those that can be read in one way only."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.formats import Column, Format, Reading
from metricalign.command_line.reading import InputError

__all__ = ["as_dates"]

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


def as_dates(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read different texts, none missing, as dates or times of the day; None if some are neither.

    Raises `InputError` if they can be other dates as well.
    """
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
