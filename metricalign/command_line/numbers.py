"""Numbers with the marks of any country: those that can be read in one way only."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.dates import as_dates
from metricalign.command_line.formats import Column, Format, Reading, decode, unit_of
from metricalign.command_line.reading import InputError, TwoReadingsError
from metricalign.features.numerals import (
    CURRENCY,
    FEWEST_NUMBERS,
    LEADING_ZERO,
    SCALE,
    match_number,
)

__all__ = ["as_numbers"]

# Decimal and thousands marks of the world; the plain ones first.
MARKS = [
    (decimal, thousands)
    for thousands in ("", ",", ".", " ", "'")
    for decimal in ".,"
    if decimal != thousands
]
# Of ratings; on two of them a number has two meanings, on others the texts are fractions.
USUAL_SCALES = {"/5", "/10", "/20", "/100"}
# Larger integers are not exact in float64.
LARGEST_INTEGER = 2**53


def as_numbers(texts: NDArray, name: str, reading: Reading) -> Column | None:
    """Read different texts, none missing, as numbers; as texts if only most of them are some.

    None if they are no numbers. Raises `InputError` if they can be other numbers as well.
    """
    if any(LEADING_ZERO.fullmatch(text) for text in texts):
        return None
    if _given_marks(name, reading) == [None, None]:
        plain = _plain_numbers(texts)
        if plain is not None:
            return plain
    matches: list[Any] = [match_number(text) for text in texts]
    is_number = np.array([match is not None for match in matches])
    if not is_number.any():
        return None
    if not is_number.all():
        if is_number.mean() > 0.5 and len(texts) > FEWEST_NUMBERS:
            return Column(texts, Format("text"), odd=texts[~is_number][0])
        return None
    units = [unit_of(match) for match in matches]
    named = sorted({unit for unit in units if unit})
    scales = {unit for unit in named if SCALE.fullmatch(unit)}
    if not _are_magnitudes(matches, named) or (len(scales) > 1 and not scales <= USUAL_SCALES):
        return None
    if len(named) > 1:
        return Column(texts, Format("text"), odd=texts[units.index(named[-1])])
    unit = named[0] if named else ""
    if unit in ("%", "‰") and "" in units:
        raise InputError(
            f"column {name!r} has numbers with and without {unit}, such as "
            f"{texts[units.index(unit)]!r} and {texts[units.index('')]!r}: they may be of the same "
            "scale or not. Write them alike, or leave the column out with --drop."
        )
    return _with_marks(texts, matches, name, reading, unit)


def _given_marks(name, reading):
    return [reading.mark(which, name) for which in ("decimal", "thousands")]


def _with_marks(texts, matches, name, reading, unit):
    """Numbers by the only marks with which all of them are some."""
    given = _given_marks(name, reading)
    found: dict[bytes, tuple[NDArray, str, str]] = {}
    for decimal, thousands in MARKS:
        if given[0] not in (None, decimal) or given[1] not in (None, thousands):
            continue
        values = []
        for match in matches:
            value = decode(match, decimal, thousands)
            if value is None:
                break
            values.append(value)
        else:
            numbers = np.array(values)
            found.setdefault(numbers.tobytes(), (numbers, decimal, thousands))
    if len(found) > 1:
        raise _two_readings(texts, name, list(found.values()))
    if not found:
        if given != [None, None] and as_dates(texts, name, reading) is None:
            raise InputError(
                f"column {name!r}: not all values are numbers with the marks given, such as "
                f"{_longest(texts)!r}. Give its marks as --decimal {name}=. or --thousands {name}=,"
            )
        return Column(texts, Format("text"), odd=_longest(texts))
    ((numbers, decimal, thousands),) = found.values()
    if _are_inexact(texts, numbers):
        return None
    has_magnitudes = any(match["magnitude"] for match in matches)
    return Column(
        numbers, Format("number", decimal, thousands, unit, has_magnitudes=has_magnitudes)
    )


def _are_magnitudes(matches, units):
    """Whether the letters after numbers, if any, can only stand for powers of ten.

    12B may be a house and 1.5K a temperature, where no currency, no other letter tells.
    """
    magnitudes = {match["magnitude"] for match in matches}
    named = [magnitude for magnitude in magnitudes if magnitude is not None]
    has_one_letter = len(named) == 1 and len(named[0]) == 1
    if not has_one_letter or any(map(CURRENCY.fullmatch, units)):
        return True
    has_decimals = any(match["magnitude"] and {*".,"} & {*match["digits"]} for match in matches)
    return has_decimals and magnitudes != {"K"}


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


def _longest(texts):
    return max(texts, key=len)


def _two_readings(texts, name, readings):
    place = int(np.argmax(readings[0][0] != readings[1][0]))
    (first, decimal, _), (second, _, thousands) = sorted(readings, key=lambda each: each[2])[:2]
    return TwoReadingsError(
        f"column {name!r}: {texts[place]!r} can be {first[place]:.15g} or {second[place]:.15g}. "
        f'Say which: --decimal "{name}={decimal}" or --thousands "{name}={thousands}"; without '
        f'"{name}=" it holds for all columns.'
    )
