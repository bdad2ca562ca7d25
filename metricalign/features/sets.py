"""Columns of sets, which are lists or texts with a separator, as indicators of the members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import is_missing
from metricalign.features.numerals import match_number

__all__ = [
    "are_sets",
    "find_separator",
    "frequent_members",
    "indicators_of_members",
    "separator_of_sets",
    "sets_of",
]

_SEPARATORS = (",", ";", "|", "/")
# Characters around members and lists that Python has written into a file: ['drama', 'comedy'].
_AROUND = "[]{}'\" "
_COLLECTIONS = list, tuple, set, frozenset, np.ndarray
# A smaller share of the texts may have a comma by chance.
_LEAST_SHARE_OF_SEVERAL = 0.2
# A category that is rarer gets no column from PiecewiseLinearEncoder.
_LEAST_FREQUENCY = 0.01


def find_separator(texts: Sequence[str]) -> str | None:
    """The separator of texts whose parts occur again in other texts. None if there is none."""
    for separator in _SEPARATORS:
        n_several = sum(separator in text for text in texts)
        if n_several <= _LEAST_SHARE_OF_SEVERAL * len(texts):
            continue
        parts = Counter(part for text in set(texts) for part in _parts(text, separator))
        if separator == "/" and 2 * sum(map(str.isdigit, parts)) > len(parts):
            continue  # such as 120/80, with a few other texts
        # Most parts of names with a comma, such as "Smith, John", are in one text only.
        if 2 * sum(number for number in parts.values() if number > 1) > parts.total():
            return separator
    return None


def separator_of_sets(texts: Sequence[str]) -> str | None:
    """The separator of texts that seem to be sets of different sizes. None for other texts."""
    separator = find_separator(texts)
    # A town with its state is no set, and a comma may be a decimal mark.
    if separator is None or len({text.count(separator) for text in texts}) < 2:
        return None
    n_numbers = sum(match_number(text.strip()) is not None for text in texts)
    return None if 2 * n_numbers > len(texts) else separator


def are_sets(values: Iterable[Any]) -> bool:
    """Whether all values are lists of texts, or sets. None of them may be missing."""
    return all(
        isinstance(value, set | frozenset)
        or (isinstance(value, _COLLECTIONS) and all(isinstance(each, str) for each in value))
        for value in values
    )


def sets_of(values: Sequence[Any], separator: str | None) -> list[set[str] | None]:
    """The members of each set, list or text with a separator. None for a missing one.

    Raises `TypeError` with the first value that is none of these.
    """
    return [_set_of(value, separator) for value in values]


def _set_of(value, separator):
    if isinstance(value, _COLLECTIONS):
        return {str(member).strip() for member in value}
    if isinstance(value, str) and separator is not None:
        return _parts(value, separator)
    if is_missing(value):
        return None
    raise TypeError(repr(value))


def _parts(text, separator):
    return {part.strip().strip(_AROUND) for part in text.split(separator)} - {""}


def frequent_members(sets: Iterable[set[str] | None]) -> list[str]:
    """The members of at least 1 % of the sets, sorted."""
    present = [members for members in sets if members is not None]
    counts = Counter(member for members in present for member in members)
    return sorted(
        member for member, number in counts.items() if number >= _LEAST_FREQUENCY * len(present)
    )


def indicators_of_members(sets: Sequence[set[str] | None], members: Sequence[str]) -> NDArray:
    """Whether each set has each member, as an array of shape (n_sets, n_members).

    The row of a missing set is NaN.
    """
    indicators = np.full((len(sets), len(members)), np.nan)
    for row, present in zip(indicators, sets, strict=True):
        if present is not None:
            row[:] = [member in present for member in members]
    return indicators
