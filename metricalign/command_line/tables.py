"""A person's own table: read it, and sort out its targets and features."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import io
import os
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from metricalign._files import read_regular

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "Features",
    "InputError",
    "check_decimal",
    "counted",
    "match_columns",
    "preparation_of",
    "read_table",
    "sort_features",
]

DELIMITERS = ",;\t|"
PARQUET_SUFFIXES = (".parquet", ".pq")
MISSING = ("?",)  # besides what pandas takes as missing: empty, NA, N/A, NaN, null, None, ...
IDENTIFIER_NAME = re.compile(r"((.*[\s_.-])?(id|uuid|guid|index|key)|.*[a-z](Id|ID))")
NUMBER_WITH_COMMA = r"\s*[+-]?\d+(,\d+)?([eE][+-]?\d+)?\s*"
MAX_CATEGORIES = 20


class InputError(ValueError):
    """What a person gave cannot be used; the message says why and what to do."""


# Reading


def read_table(
    path: str | Path,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    missing: Sequence[str] = (),
) -> DataFrame:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str or Path
        The file; a name that ends in .parquet or .pq is Parquet, any other is CSV.
    delimiter : str or None, default=None
        What separates the fields of a CSV file; None finds out.
    encoding : str or None, default=None
        Encoding of a CSV file; None is UTF-8.
    decimal : str, default="."
        Decimal point of the numbers in a CSV file.
    missing : sequence of str, default=()
        Further texts that stand for a missing value in a CSV file.

    Returns
    -------
    table : DataFrame
        Columns with unique names, at least one row.

    Raises
    ------
    InputError
        If it is not such a table, or pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise InputError('reading a table needs pandas: pip install "metricalign[table]"') from None
    path = Path(path)
    data = _read_bytes(path)
    if path.suffix.lower() in PARQUET_SUFFIXES or data[:4] == b"PAR1":
        table = _read_parquet(pd, path, data)
    else:
        text = _decode(path, data, encoding)
        delimiter = delimiter or _find_delimiter(text)
        _check_rows(path, text, delimiter)
        try:
            table = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                decimal=decimal,
                na_values=[*MISSING, *missing],
                low_memory=False,
            )
        except ValueError as error:
            raise InputError(f"{path} is not a CSV file: {_one_line(error)}") from error
    if len(table) == 0:
        raise InputError(f"{path} has column names but no rows.")
    return table


def _read_bytes(path):
    try:
        # A pipe of the shell, such as /dev/stdin, has a table in it too.
        return _read_pipe(path) if path.is_fifo() else read_regular(path)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.{_similar_file(path)}") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is larger than the memory"
        raise InputError(f"{path} cannot be read: {reason}.") from error


def _read_pipe(path):
    """Read what somebody writes to a pipe, but do not wait for somebody to come."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        start = file.read(1)
        if start == b"":
            raise OSError("this is a pipe that nobody writes to")
        os.set_blocking(file.fileno(), True)
        return (start or b"") + file.readall()


def _similar_file(path):
    try:
        folder = path.parent if path.parent.is_dir() else Path()
        names = [file.name for file in folder.iterdir() if file.is_file()]
    except OSError:
        names = []
    return _suggestion(path.name, names) or " Check the name and the folder."


def _read_parquet(pd, path, data):
    try:
        from pyarrow.parquet import read_schema

        _check_names(path, read_schema(io.BytesIO(data)).names)
        table = pd.read_parquet(io.BytesIO(data))
    except InputError:
        raise
    except ImportError:
        raise InputError(
            'reading Parquet needs pyarrow: pip install "metricalign[table]"'
        ) from None
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path} is not a Parquet file: {_one_line(error)}") from error
    table = table.rename(columns=str).reset_index(drop=True)
    return table.apply(_as_numpy)


def _as_numpy(column):
    """Turn pandas' own types, whose missing value is pd.NA, into those of NumPy."""
    from pandas.api import types

    if column.dtype == object and all(isinstance(value, Decimal) for value in column.dropna()):
        return column.astype(np.float64)
    if not types.is_extension_array_dtype(column) or types.is_string_dtype(column):
        return column
    if types.is_bool_dtype(column) and not column.hasnans:
        return column.astype(bool)
    if types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
        return column.astype(np.float64)
    return column.astype(object).where(column.notna(), np.nan)


def _decode(path, data, encoding):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and encoding is None:
        encoding = "utf-16"
    try:
        text = data.decode(encoding or "utf-8-sig")
    except LookupError:
        raise InputError(
            f"--encoding {encoding} is not known; utf-8, latin-1, cp1252 and utf-16 are common."
        ) from None
    except UnicodeError as error:
        if b"\0" in data[:4096]:
            raise _not_text(path) from None
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise InputError(
            f"{path} is not valid {encoding or 'UTF-8'}, first in line {line}. Give its encoding, "
            "for example --encoding cp1252 or --encoding latin-1."
        ) from None
    if "\0" in text:
        raise _not_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty; expected a line of column names, then rows.")
    return text


def _not_text(path):
    return InputError(
        f"{path} is not a text file; expected CSV or Parquet. A spreadsheet can be saved as CSV, "
        "a compressed file must be unpacked first."
    )


def _find_delimiter(text):
    """Take the delimiter that gives the first lines the same number of fields, above one."""
    lines = text[:65536].splitlines()[:50]

    def n_alike(delimiter):
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    return max(DELIMITERS, key=n_alike)


def _check_rows(path, text, delimiter):
    """Say which line is broken: pandas fills short rows and may take long ones as an index."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(row for row in rows if row)
        _check_header(path, header)
        for row in rows:
            line = rows.line_num
            if row and len(row) != len(header):
                raise InputError(
                    f"{path}, line {line}: {counted(len(row), 'field')}, but "
                    f"{len(header)} column names. Mend the line, or give --delimiter (used here: "
                    f"{delimiter!r})."
                )
    except csv.Error as error:
        if "field limit" in str(error):
            raise InputError(
                f"{path}, after line {line}: a field of more than {csv.field_size_limit():,} "
                "characters, which is not read. Leave out its column, or close the quote that "
                "makes one field of many lines."
            ) from None
        raise InputError(
            f"{path}, after line {line}: {error}. Most often a quote is opened and never closed."
        ) from None


def _check_header(path, header):
    names = [name.strip() for name in header]
    if all(_is_number(name) for name in names):
        raise InputError(
            f"{path} starts with numbers ({', '.join(names[:4])}); expected column names. "
            "Add a first line with names."
        )
    _check_names(path, names)


def _check_names(path, names):
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(
            f"{path} has several columns of the name {twice[0]!r}; names must be unique."
        )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _one_line(error):
    return " ".join(str(error).split())


# Columns


def match_columns(wanted: Sequence[str], columns: Sequence[str], option: str) -> list[str]:
    """Find the columns that are asked for, by name or with the wildcards ``*`` and ``?``.

    Parameters
    ----------
    wanted : sequence of str
        Names or patterns.
    columns : sequence of str
        Names of all columns.
    option : str
        Option that asks for them, for the error.

    Returns
    -------
    names : list of str
        Each once, in the order asked for.

    Raises
    ------
    InputError
        If there is no such column; close ones are suggested.
    """
    found = []
    for name in wanted:
        matches = [name] if name in columns else fnmatch.filter(columns, name)
        if not matches:
            hint = _suggestion(name, columns) or f" The columns are {shorten(columns)}."
            raise InputError(f"{option}: the table has no column {name!r}.{hint}")
        found += matches
    return list(dict.fromkeys(found))


def _suggestion(name, names):
    lower = {other.lower(): other for other in names}
    close = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def shorten(names: Sequence[str], n_shown: int = 8) -> str:
    """Join names, and say how many are not shown."""
    shown = ", ".join(repr(str(name)) for name in names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown} and {len(names) - n_shown} more"


def counted(number: int, noun: str) -> str:
    """Write a number of things, one or several."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def check_decimal(table: DataFrame, decimal: str = ".") -> None:
    """Raise `InputError` if columns have numbers with a decimal comma that were read as text."""
    names = [name for name in table if decimal != "," and _has_decimal_commas(table[name])]
    if names:
        raise InputError(
            f"numbers with a decimal comma in column{'s' if len(names) > 1 else ''} "
            f"{shorten(names)}; give --decimal , or leave such columns out with --drop."
        )


def _has_decimal_commas(column):
    from pandas.api import types

    values = column.dropna()
    if types.is_numeric_dtype(column) or not _is_plain(values):
        return False
    texts = values.astype(str)
    numbers = texts[texts.str.fullmatch(NUMBER_WITH_COMMA)]
    return len(numbers) > len(texts) / 2 and numbers.str.contains(",").any()


@dataclass
class Features:
    """The features of a table by their type, and what is left out of it.

    Attributes
    ----------
    numbers, categories, flags : list of str
        Columns of numbers, of text, and of true or false.
    left_out : dict of list of str
        Columns that are not used, by the reason.
    n_missing : int
        Missing values in the columns that are used.
    """

    numbers: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    n_missing: int = 0

    @property
    def names(self) -> list[str]:
        """Columns that are used."""
        return self.numbers + self.categories + self.flags


def sort_features(
    table: DataFrame, keeps_identifiers: bool = False, decimal: str = "."
) -> Features:
    """Sort the columns of a table into numbers, categories and those that are of no use.

    Parameters
    ----------
    table : DataFrame
        Features only.
    keeps_identifiers : bool, default=False
        Whether columns that look like identifiers are used all the same.
    decimal : str, default="."
        Decimal point of the numbers, by which a column of them is told that a text has spoilt.

    Returns
    -------
    features : Features
        The columns by their type.

    Raises
    ------
    InputError
        If a column has infinite values, or none is of use.
    """
    features = Features()
    for name in table:
        kind, reason = _sort_column(table[name], keeps_identifiers, decimal)
        if reason:
            features.left_out.setdefault(reason, []).append(name)
        else:
            getattr(features, kind).append(name)
    if not features.names:
        reasons = "; ".join(f"{shorten(names)}: {why}" for why, names in features.left_out.items())
        raise InputError(
            "no usable feature is left besides the target"
            + (f" ({reasons})." if reasons else ": the table has no other column.")
            + " Expected at least one column of numbers or categories; --features COLUMN takes one "
            "whatever it looks like."
        )
    _check_finite(table[features.numbers])
    features.n_missing = int(table[features.names].isna().to_numpy().sum())
    return features


def _sort_column(column, keeps_identifiers, decimal):
    """Return the type of a column, or the reason to leave it out."""
    from pandas.api import types

    values = column.dropna()
    if len(values) == 0:
        return None, "no values"
    if types.is_bool_dtype(column):
        kind = "flags"
    elif types.is_numeric_dtype(column) and not types.is_complex_dtype(column):
        kind = "numbers"
    elif _is_plain(values):
        kind = "categories"
    else:
        return None, "neither numbers nor text; turn dates and times into numbers to use them"
    n_distinct = values.nunique()
    if n_distinct == 1:
        return None, "constant"
    if keeps_identifiers:
        return kind, None
    if kind == "categories" and n_distinct > max(len(values) / 2, 3):
        return None, _reason_for_text(values, decimal)
    if kind == "numbers" and n_distinct == len(column) and _is_identifier(column):
        return None, "like an identifier, another value in each row"
    return kind, None


def _is_plain(values):
    """Whether all are text or numbers, not bytes, lists, dates or what else Parquet has."""
    return all(isinstance(value, str | bool | int | float) for value in values)


def _reason_for_text(values, decimal):
    """Tell text from numbers that a few other texts have spoilt."""
    texts = values.astype(str)
    numbers = texts.str.replace(decimal, ".", regex=False).map(_is_number)
    # All may be numbers to Python that are none to pandas, such as 1_000.
    if 0.5 < numbers.mean() < 1:
        odd = texts[~numbers].iloc[0]
        return f"numbers, but for texts such as {odd!r}; give --missing {odd!r}"
    return "like an identifier, text with another value in most rows"


def _is_identifier(column):
    values = np.asarray(column, dtype=np.float64)
    if not (values == np.floor(values)).all():
        return False
    is_counter = len(values) > 2 and set(np.unique(np.diff(values))) in ({1.0}, {-1.0})
    return is_counter or IDENTIFIER_NAME.fullmatch(_lower_if_upper(column.name)) is not None


def _lower_if_upper(name):
    return name.lower() if name == name.upper() or name == name.capitalize() else name


def _check_finite(numbers):
    for name in numbers:
        infinite = np.flatnonzero(np.isinf(np.asarray(numbers[name], dtype=np.float64)))
        if len(infinite):
            raise InputError(
                f"column {name!r} has {counted(len(infinite), 'infinite value')}, the first in row "
                f"{infinite[0] + 1}. Replace them, or leave the column out with --drop."
            )


def preparation_of(features: Features) -> ColumnTransformer:
    """Make the transformer that imputes, scales and encodes the features of a table.

    Parameters
    ----------
    features : Features
        The columns by their type.

    Returns
    -------
    preparation : ColumnTransformer
        Numbers get the median where they are missing and are standardised; categories get
        the most frequent one and become columns of 0 and 1. Those are not standardised: two
        categories are as far apart as two typical numbers.
    """
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False
    )
    impute_median = SimpleImputer(strategy="median", keep_empty_features=True)
    impute_frequent = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(impute_median, StandardScaler()), features.numbers),
            ("categories", make_pipeline(impute_frequent, one_hot), features.categories),
            ("flags", one_hot, features.flags),
        ]
    )


def target_values(table: DataFrame, names: list[str]) -> NDArray:
    """Get the targets of rows that all have one, one column as a vector.

    Parameters
    ----------
    table : DataFrame
        Rows without a missing target.
    names : list of str
        Target columns.

    Returns
    -------
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Strings or numbers; several columns are numbers.

    Raises
    ------
    InputError
        If a column is neither numbers nor text, several are not all numbers, or a number is
        infinite.
    """
    from pandas.api import types

    is_number = {name: types.is_numeric_dtype(table[name]) for name in names}
    for name in names:
        if is_number[name] and not np.isfinite(table[name].to_numpy(dtype=np.float64)).all():
            raise InputError(
                f"target column {name!r} has infinite values; replace them, or choose another "
                "--target."
            )
        if len(names) > 1 and not is_number[name]:
            first = reprlib.repr(str(table[name].iloc[0]))
            raise InputError(
                f"target column {name!r} is not numeric (it has {first}); "
                "several columns of --target must all be numbers, for label sets 0 and 1."
            )
    if len(names) > 1:
        y = table[names].to_numpy(dtype=np.float64)
        return y.astype(np.intp) if (y == np.floor(y)).all() else y
    column = table[names[0]]
    if not is_number[names[0]]:
        if not _is_plain(column):
            first = reprlib.repr(column.iloc[0])
            raise InputError(
                f"target column {names[0]!r} has neither numbers nor text (it has {first}); turn "
                "dates and times into numbers, or choose another --target."
            )
        return column.astype(str).to_numpy(dtype=str)
    if types.is_bool_dtype(column):
        return column.to_numpy(dtype=bool)
    y = column.to_numpy(dtype=np.float64)
    return y.astype(np.int64) if (y == np.floor(y)).all() and abs(y).max() < 2**53 else y
