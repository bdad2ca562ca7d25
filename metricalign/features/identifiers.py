"""Columns that identify rows or groups of rows. They say nothing about other rows."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from metricalign.features.numerals import LEADING_ZERO, UNREAD_NUMBER

__all__ = ["GROUPS", "identifier_of"]

# Names of identifiers of rows, where each row has another integer, and of groups of rows.
_OF_ROWS = re.compile(
    r"((.*[\s_.-])?((?i:id|uuid|guid|(nr|no)\.?|number|nummer)|index|key)|.*[a-z](Id|ID))"
)
_OF_GROUPS = re.compile(
    r"((.*[\s_.-])?(?i:id|uuid|guid)|.*[a-z](Id|ID)|"
    r"(?i:patient|subject|person|user|customer|client|participant|household|session)"
    r"([\s_.-](?i:no|nr))?)"
)
# A column with fewer values has categories, whatever its name is.
_FEWEST_GROUPS = 10
# Texts with more words on average are free texts and no identifiers.
_FEWEST_WORDS = 3
#: The reason why a column seems to identify groups of rows.
GROUPS = "like an identifier, by its name"


def identifier_of(values: NDArray, name: str, n_missing: int = 0) -> str | None:
    """The reason why a column seems to identify rows or groups of rows. None if it does not.

    `values` are the present numbers or texts, and `n_missing` values are missing. Texts may differ
    because they are numbers in a form that is not read. The reason then says so.
    """
    if len(values) < 3:
        return None
    if values.dtype == object:
        n_distinct = len(set(values.tolist()))
        if _is_name(_OF_GROUPS, name) and n_distinct > _FEWEST_GROUPS:
            return GROUPS
        if n_distinct > max(len(values) / 2, 3):
            n_words = np.mean([len(text.split()) for text in values])
            unread = [text for text in values if UNREAD_NUMBER.fullmatch(text.strip())]
            if len(unread) > len(values) / 2 and not any(map(LEADING_ZERO.fullmatch, values)):
                return f"numbers in a form that is not read, such as {unread[0]!r}"
            if n_words < _FEWEST_WORDS:
                return "like an identifier, text with another value in most rows"
        return None
    if not (values == np.floor(values)).all():
        return None
    steps = np.diff(values)
    is_counter = abs(steps[0]) == 1 and np.ptp(steps) == 0
    of_rows, of_groups = (_is_name(pattern, name) for pattern in (_OF_ROWS, _OF_GROUPS))
    if n_missing == 0 and (is_counter or (of_rows and len(np.unique(values)) == len(values))):
        return "like an identifier, another value in each row"
    if of_groups and len(np.unique(values)) > _FEWEST_GROUPS:
        return GROUPS
    return None


def _is_name(pattern, name):
    lower = name.lower() if name in (name.upper(), name.capitalize()) else name
    return pattern.fullmatch(lower) is not None
