"""Names of columns."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["free_name"]


def free_name(number: int, names: Sequence[str]) -> str:
    """A name for a column that has none, which no other has."""
    name = f"column {number}"
    while name in names:
        name += " without a name"
    return name
