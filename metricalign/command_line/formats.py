"""Formats of columns, a class for each, and the reading that the options ask for."""

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

# The first so many texts are enough to rule out most formats.
N_TRIED = 20


class Format:
    """How the values of a column are written.

    A new format is a subclass, and a function in `columns.READERS` that finds it.
    """

    #: One word for the values.
    kind: ClassVar[str]
    #: The value that stands for a missing one.
    empty: ClassVar[Any] = np.nan

    def parse(self, texts: NDArray) -> NDArray:
        """Values of texts, none of which is missing. A text of another format becomes `empty`."""
        return texts

    def take(self, column: Series) -> NDArray:
        """Values of a typed column. TypeError or ValueError if they are of another format."""
        return column.astype(np.float64).to_numpy()

    def describe(self) -> str:
        """The unusual properties of the format, in a few words."""
        return ""

    def option(self, text: str, name: str = "") -> str:
        """The option that makes a text be read in this format, in the column of this name."""
        return ""


@dataclass(frozen=True)
class Text(Format):
    """Texts as they are: categories or free text."""

    kind = "text"
    empty = None

    def take(self, column: Series) -> NDArray:
        """Stripped texts. A missing one becomes None."""
        import pandas as pd

        texts = column.astype(object).map(_text_of, na_action="ignore")
        values = texts.to_numpy(dtype=object, copy=True)
        # A string type of pandas has NaN in place of None.
        values[pd.isna(values)] = None
        return values


@dataclass(frozen=True)
class Sets(Format):
    """Sets of texts, which are lists in Parquet. Texts with a separator stay texts."""

    kind = "set"
    empty = None

    def parse(self, texts: NDArray) -> NDArray:
        """None for each text, as a set is no text."""
        return np.full(len(texts), None)

    def take(self, column: Series) -> NDArray:
        """Sorted tuples of the members. A missing set becomes None."""
        sets = np.full(len(column), None)
        for place, members in enumerate(sets_of(column.tolist(), None)):
            sets[place] = None if members is None else tuple(sorted(members))
        return sets


@dataclass(frozen=True)
class Ordered(Format):
    """Ordered categories of Parquet or pandas, as ranks from 0."""

    kind = "rank"

    categories: tuple[str, ...] = ()

    def parse(self, texts: NDArray) -> NDArray:
        """Ranks. A text that is no category becomes NaN."""
        ranks = {category: rank for rank, category in enumerate(self.categories)}
        return np.array([ranks.get(text, np.nan) for text in texts], dtype=np.float64)

    def take(self, column: Series) -> NDArray:
        """Ranks of categories. ValueError if a value is no category."""
        texts = Text().take(column)
        ranks = self.parse(texts)
        if (np.isnan(ranks) & (texts != None)).any():  # noqa: E711, of each text
            raise ValueError("not all are categories")
        return ranks

    def describe(self) -> str:
        """The order of the categories, in words."""
        return f"ranks from 0: {' < '.join(self.categories)}"


@dataclass(frozen=True)
class Other(Format):
    """Values that are neither numbers, dates nor text."""

    kind = "other"

    def take(self, column: Series) -> NDArray:
        """The values as they are."""
        return column.to_numpy(dtype=object)


def _text_of(value):
    """A category as it was written. pandas makes floats of integers if one is missing."""
    is_integer = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_integer else value).strip()


@dataclass
class Column:
    """A column as it was read."""

    values: NDArray  # floats, dates, or texts with None where they are missing
    format: Format
    odd: str | None = None  # a text that keeps a column from being numbers or dates
    but_for: str = "numbers"  # what the column has besides the odd text
    example: str = ""
    no_answers: list[str] = field(default_factory=list)  # words for a missing value, such as k.A.


@dataclass(frozen=True)
class Reading:
    """The options that say how values are read."""

    # Marks by the name of a column. The name "" stands for all other columns.
    decimal: Mapping[str, str] = field(default_factory=dict)
    thousands: Mapping[str, str] = field(default_factory=dict)
    dates: str | None = None  # "day-first" or "month-first" where both are possible
    missing: Iterable[str] = ()  # further texts of a missing value

    def marks(self, name: str) -> list[str | None]:
        """The decimal and the thousands mark that were given for a column, None if not given."""
        return [given.get(name, given.get("")) for given in (self.decimal, self.thousands)]

    def is_missing(self, text: str) -> bool:
        """Whether a text stands for a missing value in any column."""
        return text in MISSING or text in self.missing


def only_reading(
    texts: NDArray, name: str, formats: Iterable[Format], preferred: str = ""
) -> Column | None:
    """Read distinct texts in the only format that fits all of them. None if no format does.

    If two formats give different values, take the one of the preferred option. Without it, raise
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
