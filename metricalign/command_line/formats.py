"""Formats: how the texts of a column are read, a class for each; and what a person says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.reading import MISSING, TwoReadingsError
from metricalign.features.sets import sets_of

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["Column", "Format", "Ordered", "Other", "Reading", "Sets", "Text", "only_reading"]

# So many texts tell most formats that they are not of.
N_TRIED = 20


class Format:
    """How the values of a column are written.

    Another format is a class of its own, and a function that finds it among `columns.READERS`.
    """

    #: What the values are, in one word.
    kind: ClassVar[str]
    #: What stands for a missing value.
    empty: ClassVar[Any] = np.nan

    def parse(self, texts: NDArray) -> NDArray:
        """Values of texts without missing ones; `empty` where a text is of another format."""
        return texts

    def take(self, column: Series) -> NDArray:
        """Values of a column that has no texts; TypeError or ValueError if it has others."""
        return column.astype(np.float64).to_numpy()

    def describe(self) -> str:
        """What is unusual about the format, in a few words."""
        return ""

    def option(self, text: str, name: str = "") -> str:
        """The option by which a text, in a column of this name, is read in this format."""
        return ""


@dataclass(frozen=True)
class Text(Format):
    """Texts as they are: categories or free text."""

    kind = "text"
    empty = None

    def take(self, column: Series) -> NDArray:
        """Stripped texts; None where they are missing."""
        import pandas as pd

        texts = column.astype(object).map(_text_of, na_action="ignore")
        values = texts.to_numpy(dtype=object, copy=True)
        # pandas has NaN again where strings have a type of their own.
        values[pd.isna(values)] = None
        return values


@dataclass(frozen=True)
class Sets(Format):
    """Sets of texts, as lists of Parquet; texts with a separator stay texts."""

    kind = "set"
    empty = None

    def parse(self, texts: NDArray) -> NDArray:
        """None for each text."""
        return np.full(len(texts), None)

    def take(self, column: Series) -> NDArray:
        """Tuples of the members in order; None where they are missing."""
        sets = np.full(len(column), None)
        for place, members in enumerate(sets_of(column.tolist(), None)):
            sets[place] = None if members is None else tuple(sorted(members))
        return sets


@dataclass(frozen=True)
class Ordered(Format):
    """Ordered categories of Parquet or pandas, as their ranks from 0."""

    kind = "rank"

    categories: tuple[str, ...] = ()

    def parse(self, texts: NDArray) -> NDArray:
        """Ranks; NaN where a text is no category."""
        ranks = {category: rank for rank, category in enumerate(self.categories)}
        return np.array([ranks.get(text, np.nan) for text in texts], dtype=np.float64)

    def take(self, column: Series) -> NDArray:
        """Ranks of categories; ValueError if there are others."""
        texts = Text().take(column)
        ranks = self.parse(texts)
        if (np.isnan(ranks) & (texts != None)).any():  # noqa: E711, of each text
            raise ValueError("not all are categories")
        return ranks

    def describe(self) -> str:
        """The order."""
        return f"ranks from 0: {' < '.join(self.categories)}"


@dataclass(frozen=True)
class Other(Format):
    """Values that are neither numbers, dates nor text."""

    kind = "other"

    def take(self, column: Series) -> NDArray:
        """Values as they are."""
        return column.to_numpy(dtype=object)


def _text_of(value):
    """A category as it was written: pandas makes floats of integers with a missing value."""
    is_integer = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_integer else value).strip()


@dataclass
class Column:
    """A column as it was read."""

    values: NDArray  # floats, dates, or texts with None where they are missing
    format: Format
    odd: str | None = None  # a text because of which a column is none of numbers or dates
    but_for: str = "numbers"  # what it is but for the odd one
    example: str = ""
    no_answers: list[str] = field(default_factory=list)  # words for a missing value, such as k.A.


@dataclass(frozen=True)
class Reading:
    """What a person says of the values."""

    # Marks by the name of a column, and of "" for all others.
    decimal: Mapping[str, str] = field(default_factory=dict)
    thousands: Mapping[str, str] = field(default_factory=dict)
    dates: str | None = None  # "day-first" or "month-first" where both are possible
    missing: Iterable[str] = ()  # further texts of a missing value

    def marks(self, name: str) -> list[str | None]:
        """The decimal and the thousands mark of a column that were given, if any."""
        return [given.get(name, given.get("")) for given in (self.decimal, self.thousands)]

    def is_missing(self, text: str) -> bool:
        """Whether a text stands for a missing value in any column."""
        return text in MISSING or text in self.missing


def only_reading(
    texts: NDArray, name: str, formats: Iterable[Format], preferred: str = ""
) -> Column | None:
    """Read different texts in the only format that all of them have; None if they have none.

    If they are other values in another format too, take that of the preferred option, or raise
    `TwoReadingsError`.
    """
    import pandas as pd

    found: dict[bytes, Column] = {}
    for form in formats:
        if not pd.isna(form.parse(texts[:N_TRIED])).any():
            values = form.parse(texts)
            if not pd.isna(values).any():
                found.setdefault(values.tobytes(), Column(values, form))
    if len(found) < 2:
        return next(iter(found.values()), None)
    two = list(found.values())[:2]
    place = int(np.argmax(two[0].values != two[1].values))
    text, values = texts[place], [column.values[place] for column in two]
    for column in two:
        if preferred and column.format.option(text) == preferred:
            return column
    shown = [f"{each:.15g}" if isinstance(each, float) else str(each)[:10] for each in values]
    options = [column.format.option(text, name) for column in two]
    raise TwoReadingsError(name, f"{text!r} can be {' or '.join(shown)}.", options)
