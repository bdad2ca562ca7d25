"""Numbers with the marks of any country, if they can be read in one way only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.formats import Column, Format, Reading, Text, only_reading
from metricalign.command_line.reading import InputError
from metricalign.features.numerals import (
    CURRENCY,
    FEWEST_NUMBERS,
    LEADING_ZERO,
    MAGNITUDES,
    SCALE,
    USUAL,
    match_number,
)

__all__ = ["Number", "as_numbers", "as_plain_numbers"]

# Decimal and thousands marks of the world. The plain ones come first.
MARKS = [
    (decimal, thousands)
    for thousands in ("", ",", ".", " ", "'")
    for decimal in ".,"
    if decimal != thousands
]
# Scales of ratings. On two of them a number has two meanings. Texts on other scales are fractions.
USUAL_SCALES = {"/5", "/10", "/20", "/100"}
LIKE_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})*")
# Larger integers are not exact in float64.
LARGEST_INTEGER = 2**53


@dataclass(frozen=True)
class Number(Format):
    """Numbers with their marks."""

    kind = "number"

    decimal: str = "."
    thousands: str = ""
    unit: str = ""  # a currency or another unit of all numbers, which is dropped
    has_magnitudes: bool = False  # whether letters are powers of ten: 1.5M is 1,500,000

    def parse(self, texts: NDArray) -> NDArray:
        """Floats. A text of another format becomes NaN."""
        return np.array([self._value(text) for text in texts], dtype=np.float64)

    def _value(self, text):
        match = match_number(text)
        if match is None:
            return np.nan
        unit = unit_of(match)
        # A number without a unit may be 12 €, but 0.12 need not be 0.12 %.
        if unit != self.unit and (unit or self.unit in ("%", "‰")):
            return np.nan
        if match["magnitude"] and (match["exponent"] or not self.has_magnitudes):
            return np.nan
        whole, mark, fraction = match["digits"].rstrip().partition(self.decimal)
        if self.thousands and self.thousands in whole:
            # Groups have three digits, or two before the last group, as in India.
            group = re.escape(self.thousands)
            if not re.fullmatch(
                rf"[1-9]\d{{0,2}}({group}\d{{3}})+|[1-9]\d?({group}\d{{2}})+{group}\d{{3}}", whole
            ):
                return np.nan
            whole = whole.replace(self.thousands, "")
        if not re.fullmatch("[0-9]+", whole + fraction) or (LEADING_ZERO.match(whole) and not mark):
            return np.nan
        power = match["exponent"] or f"e{MAGNITUDES.get(match['magnitude'], 0)}"
        number = float(f"{whole or 0}.{fraction or 0}{power}")
        n_minus = sum(match[sign] in ("-", "(") for sign in ("bracket", "sign", "sign2", "sign3"))
        return np.nan if n_minus > 1 else -number if n_minus else number

    def describe(self) -> str:
        """Marks, unit and magnitudes in words, if they are not the plain ones."""
        parts = [f"decimal mark {self.decimal!r}"] if self.decimal != "." else []
        parts += [f"thousands mark {self.thousands!r}"] if self.thousands else []
        if self.unit:
            parts.append(f"out of {self.unit[1:]}" if self.unit[0] == "/" else f"in {self.unit}")
        parts += ["with magnitudes: k is a thousand, M a million"] if self.has_magnitudes else []
        return ", ".join(parts)

    def option(self, text: str, name: str = "") -> str:
        """The option for the mark that occurs in a text."""
        which = "decimal" if self.decimal in text.translate(USUAL) else "thousands"
        mark = getattr(self, which)
        return f'--{which} "{name}={mark}"' if name else f"--{which} {mark}"


def as_plain_numbers(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read distinct texts as programs write numbers. None if a mark may be for thousands."""
    if reading.marks(name) != [None, None]:
        return None
    if not all(text.isascii() and "_" not in text for text in texts):
        return None
    if any("." in text for text in texts) and all(map(LIKE_THOUSANDS.fullmatch, texts)):
        return None
    try:
        numbers = texts.astype(np.float64)
    except ValueError:
        return None
    return Column(texts, Text()) if _are_inexact(texts, numbers) else Column(numbers, Number())


def as_numbers(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read distinct texts as numbers. If only most of them are numbers, keep them as texts.

    None if they are no numbers. Raises `InputError` if they can be other numbers as well.
    """
    matches: list[Any] = [match_number(text) for text in texts]
    if all(text.startswith("+") and " " in text for text in texts):
        return None  # +41 791 400 400 is a telephone number.
    odd = [text for text, match in zip(texts, matches, strict=True) if match is None]
    if odd:
        is_most = len(odd) < len(texts) / 2 and len(texts) > FEWEST_NUMBERS
        return Column(texts, Text(), odd=odd[0]) if is_most else None
    units = [unit_of(match) for match in matches]
    named = sorted({*units} - {""})
    scales = {unit for unit in named if SCALE.fullmatch(unit)}
    if not _are_magnitudes(matches, named) or (len(scales) > 1 and not scales <= USUAL_SCALES):
        return None
    if len(named) > 1:
        odd_unit = texts[units.index(named[-1])]
        return Column(texts, Text(), odd=odd_unit, but_for=f"numbers in {named[0]}")
    unit = named[0] if named else ""
    if unit in ("%", "‰") and "" in units:
        raise InputError(
            f"column {name!r} has numbers with and without {unit}, such as "
            f"{texts[units.index(unit)]!r} and {texts[units.index('')]!r}: they may be of the same "
            "scale or not. Write them alike, or leave the column out."
        )
    has_magnitudes = any(match["magnitude"] for match in matches)
    given = reading.marks(name)
    formats = [
        Number(*marks, unit, has_magnitudes)
        for marks in MARKS
        if all(said in (None, mark) for said, mark in zip(given, marks, strict=True))
    ]
    found = only_reading(texts, name, formats)
    if found is None:
        longest = max(texts, key=len)
        if given == [None, None]:
            return Column(texts, Text(), odd=longest)
        raise InputError(
            f"column {name!r}: not all values are numbers with the marks given, such as "
            f"{longest!r}. Give its marks as --decimal {name}=. or --thousands {name}=,"
        )
    return None if _are_inexact(texts, found.values) else found


def unit_of(match: re.Match[str]) -> str:
    """The unit in a match of `NUMBER`, in a single spelling. An empty text if there is none."""
    unit = match["before"] or match["after"] or ""
    scale = SCALE.fullmatch(unit)
    return f"/{scale[1]}" if scale else unit.removesuffix("s") if len(unit) > 2 else unit


def _are_magnitudes(matches, units):
    """Whether the letters after numbers, if any, must be powers of ten.

    Without a currency or another letter in the column, 12B may be a house, and 1.5K a temperature.
    """
    magnitudes = {match["magnitude"] for match in matches}
    named = [magnitude for magnitude in magnitudes if magnitude is not None]
    has_one_letter = len(named) == 1 and len(named[0]) == 1
    if not has_one_letter or any(map(CURRENCY.fullmatch, units)):
        return True
    has_decimals = any(match["magnitude"] and {*".,"} & {*match["digits"]} for match in matches)
    return has_decimals and magnitudes != {"K"}


def _are_inexact(texts, numbers):
    """Whether integers have more digits than a float. Such integers are codes."""
    large = np.abs(numbers) > LARGEST_INTEGER
    return large.any() and any(text.lstrip("+-").isdigit() for text in texts[large])
