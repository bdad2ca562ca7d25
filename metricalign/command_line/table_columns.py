"""The columns of a training table, by which another table is read in the same way."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator, TransformerMixin

from metricalign._estimator import level_of_call
from metricalign.command_line.columns import read_column, refuse_infinite
from metricalign.command_line.formats import Format, Reading, Sets, Text
from metricalign.command_line.reading import (
    InputError,
    Layout,
    TwoReadingsError,
    read_contents,
    shorten,
    suggestion,
)
from metricalign.features.contents import is_free_text
from metricalign.features.sets import separator_of_sets, sets_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TableColumns"]


class TableColumns(TransformerMixin, BaseEstimator):
    """Transformer of a table of texts or typed columns into numbers, dates and texts.

    A missing value of pandas or polars becomes NaN, NaT or None.

    Parameters
    ----------
    formats : dict from str to Format
        The columns that are used, and their formats.
    missing : list of str, default=()
        Further texts that stand for a missing value.
    names, targets : list of str, default=()
        All columns of the training table, and the columns of its target.
    layout : Layout or None, default=None
        Layout of the file of the training table.

    Attributes
    ----------
    categories_ : dict from str to set of str
        The values of each column of categories, and the members of each column of sets.
    separators_ : dict from str to str or None
        The separator of the members, for each column of sets. None if it has lists.
    free_texts_ : list of str
        The columns of free texts.
    """

    def __init__(
        self,
        formats: dict[str, Format],
        missing: Sequence[str] = (),
        names: Sequence[str] = (),
        targets: Sequence[str] = (),
        layout: Layout | None = None,
    ):
        self.formats = formats
        self.missing = missing
        self.names = names
        self.targets = targets
        self.layout = layout

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out the categories of a DataFrame of pandas or polars."""
        self.categories_, self.separators_, self.free_texts_ = {}, {}, []
        for name, column in self._read(X, Reading(), (Text, Sets))[0].items():
            values = column.dropna().tolist()
            are_texts = isinstance(self.formats[name], Text)
            separator = separator_of_sets(values) if are_texts else None
            if separator is not None or not are_texts:
                self.separators_[name] = separator
            elif is_free_text(values):
                self.free_texts_.append(name)
                continue
            self.categories_[name] = self._categories(name, values)
        return self

    def _categories(self, name, values):
        """The distinct values of a column, or the members if it has sets."""
        if name not in self.separators_:
            return {*values}
        sets = sets_of(values, self.separators_[name])
        return {member for members in sets for member in members or ()}

    def transform(self, X: Any) -> DataFrame:
        """Turn a DataFrame of pandas or polars into one of floats, datetime64 and objects.

        Raises `InputError` if X is no DataFrame, has no rows or lacks a column, or if a column has
        values of another kind, infinite values, or texts that can be two numbers or dates.
        """
        if not hasattr(X, "columns"):
            raise InputError(
                "expected a DataFrame of pandas or polars with the columns "
                f"{shorten(list(self.formats))}; got {type(X).__name__}."
            )
        if len(X) == 0:
            raise InputError("the table has no rows.")
        try:
            table, differences = self._read(X, Reading())
        except TwoReadingsError as error:
            raise InputError(
                f"column {error.name!r}: {error.question} Turn its texts into "
                f"{self.formats[error.name].kind}s before, so that there is one reading."
            ) from error
        for difference in differences:
            warnings.warn(f"Column {difference}", stacklevel=level_of_call())
        return table

    def read_file(
        self, path: str | Path, layout: Layout, reading: Reading
    ) -> tuple[DataFrame, list[str]]:
        """Read the file of another table, and say in sentences how it differs.

        Properties that `layout` and `reading` leave open are those of the training table, if
        possible.
        """
        was = self.layout or Layout()
        contents = read_contents(path, layout, self.names if was.has_names else (), was)
        table, layout, differences = contents.table, contents.layout, contents.notes
        if layout.delimiter != was.delimiter and layout.delimiter and was.delimiter:
            differences.append(
                f"the delimiter is {layout.delimiter!r}; it was {was.delimiter!r} in the training "
                "table."
            )
        if layout.has_names != was.has_names:
            has = "has a line of names" if layout.has_names else "has no line of names"
            differences.append(f"the table {has}, unlike the training table.")
        if not layout.has_names:
            table = self._named(table, path)
        if more := [name for name in table.columns if name not in self.names]:
            differences.append(f"{shorten(more)}: not in the training table, not used.")
        table, others = self._read(table, reading)
        for name, known in self.categories_.items():
            if new := sorted(self._categories(name, table[name].dropna().tolist()) - known):
                others.append(f"{name!r} has {shorten(new, 3)}, not in the training table.")
        return table, differences + others

    def _named(self, table, path):
        """The table, with the names of the columns of the training table."""
        without = [name for name in self.names if name not in self.targets]
        for names in (self.names, without):
            if len(names) == table.shape[1]:
                return table.set_axis(names, axis=1)
        raise InputError(
            f"{path} has no line of names and {table.shape[1]} columns; expected {len(without)}, "
            f"or {len(self.names)} with the target."
        )

    def _read(self, table, reading, kinds=Format):
        """The used columns of these kinds of format, and sentences on how their formats differ."""
        import pandas as pd

        absent = [name for name in self.formats if name not in table.columns]
        if absent:
            raise InputError(
                f"the table has no column {shorten(absent)}, which the model needs. It has "
                f"{shorten(list(table.columns))}.{suggestion(absent[0], map(str, table.columns))} "
                "Values that are not known may be an empty column of this name."
            )
        reading = replace(reading, missing={*reading.missing, *self.missing})
        columns, differences = {}, []
        for name, form in self.formats.items():
            if not isinstance(form, kinds):
                continue
            column = read_column(table[name], name, reading, form)
            columns[name] = column
            if column.format != form and column.example:
                how, was = (each.describe() or "plain numbers" for each in (column.format, form))
                differences.append(f"{name!r} is read as {how} ({column.example!r}); it was {was}.")
        refuse_infinite(columns, "Replace them, or leave them empty.")
        index = table.index if isinstance(table, pd.DataFrame) else None
        values = {name: column.values for name, column in columns.items()}
        return pd.DataFrame(values, index=index), differences
