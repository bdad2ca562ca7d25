"""Reading a file as a table of texts: its encoding, delimiter, quotes and line of names."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from metricalign._files import read_regular
from metricalign.command_line.names import free_name
from metricalign.features.numerals import match_number

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "MISSING",
    "NO_NUMBER",
    "Contents",
    "InputError",
    "Layout",
    "TwoReadingsError",
    "counted",
    "read_contents",
    "shorten",
    "suggestion",
]

# The delimiter of columns with a fixed width. Their texts may have single blanks.
BLANKS = "  "
# Delimiters, the surest first. A comma or a blank may also be part of a number or a text.
DELIMITERS = ("\t", ";", "|", ",", BLANKS, " ")
# The encoding that is tried if a file is not UTF-8. Digits and marks of numbers are the same in
# both.
GUESS = "cp1252"
PARQUET_SUFFIXES = (".parquet", ".pq")
#: Texts of a missing value in any column: those of pandas, the question mark of many public
#: tables, "no answer" in English and German, the errors of spreadsheets in English, German and
#: French, and those of databases.
MISSING = frozenset(
    (
        *("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null", "None"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
        *("n.a.", "n. a.", "N.A.", "n.a", "k.A.", "k. A.", "K.A.", "k.a."),
        *("#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "#NV", "#WERT!", "#BEZUG!"),
        *("#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE!", "\\N", "(null)", "(blank)"),
    )
)
#: Further texts for a missing number or date. In a column of texts they are categories.
NO_NUMBER = re.compile(r"[-–—.*_ ]+|na|none|nil|missing|unknown|unbekannt", re.IGNORECASE)
# Bytes that no text has. A file with such bytes is no text file.
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")
NUMERIC = re.compile(r"[(+\-−$€£¥]*[0-9][-0-9.,:/'’ ]*([eE][+-]?[0-9]+)?\s?[%$€£¥)]*")
# Beginnings of text files that are no tables.
OTHER_TEXTS = {
    "JSON": re.compile(r"""\s*(\{|\[\s*[\[{])\s*["\]}0-9-]"""),
    "HTML or XML": re.compile(r"\s*<(!doctype|html|\?xml)", re.IGNORECASE),
}
# Delimiter and quote are found in so many lines, names and units by comparison with so many rows.
N_SAMPLED_LINES, N_SAMPLED_ROWS = 50, 1000
# A table may have so many titles above it at most, if its rows have so many fields at least.
MOST_TITLES, FEWEST_FIELDS = 10, 3
# One text above numbers may be an odd value. Texts above so many columns of numbers are units.
FEWEST_UNITS = 2
# A different text above so many equal texts is a name.
FEWEST_ALIKE = 10
# Invisible characters: blanks of no width and marks of the direction of writing.
INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad]")
# Words in the last row that say that it has the sums of the others.
TOTAL = re.compile(
    "(grand |column )?totals?|sum|summe|gesamt(summe)?|insgesamt|total général|totale|totaal|合計",
    re.IGNORECASE,
)


class InputError(ValueError):
    """The input cannot be used. The message says why and what to do."""


class TwoReadingsError(InputError):
    """The texts of a column can be read as two different numbers or dates.

    The message has the question, and the two options that answer it.
    """

    def __init__(self, name: str, question: str, options: Sequence[str]):
        self.name, self.question, self.options = name, question, options
        for_all = f'; without "{name}=" it holds for all columns' if "=" in options[0] else ""
        super().__init__(f"column {name!r}: {question} Say which: {' or '.join(options)}{for_all}.")


@dataclass(frozen=True)
class Layout:
    """How a table is written in a file. None is to be found out."""

    delimiter: str | None = None  # between the fields of a CSV file, empty for Parquet
    encoding: str | None = None  # of a CSV file
    has_names: bool | None = None  # in the first line, otherwise names are 1, 2 and so on


@dataclass
class Contents:
    """The table of a file, its layout, and notes on how it was read."""

    table: DataFrame  # stripped texts of a CSV file, or the typed columns of Parquet
    layout: Layout
    notes: list[str] = field(default_factory=list)


def read_contents(
    path: str | Path,
    layout: Layout | None = None,
    wanted: Sequence[str] = (),
    expected: Layout | None = None,
) -> Contents:
    """Read a CSV or a Parquet file, and find out its layout.

    Parquet is told by the name of the file or by its first bytes. The file may be compressed with
    gzip, or be the only file of a zip archive.

    `layout` has the properties that are known. A first line with one of the `wanted` names has
    names. `expected` decides the encoding if the file is not UTF-8, and whether the first line has
    names if both are possible.
    """
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise InputError('reading a table needs pandas: pip install "metricalign[table]"') from None
    path, layout, expected = Path(path), layout or Layout(), expected or Layout()
    data = _unpacked(path, _read_bytes(path))
    if path.suffix.lower() in PARQUET_SUFFIXES or data[:4] == b"PAR1":
        contents = Contents(_read_parquet(path, data), Layout("", None, True))
    else:
        text, encoding = _decode(path, data, layout.encoding, expected.encoding)
        contents = _read_csv(path, text, layout, wanted, expected.has_names)
        contents.layout = replace(contents.layout, encoding=encoding)
        if encoding == GUESS and GUESS not in (layout.encoding, expected.encoding):
            contents.notes.append(
                f"not UTF-8, so read as {GUESS} of Western Europe (--encoding if letters are wrong)"
            )
    if len(contents.table) == 0:
        raise InputError(f"{path} has column names but no rows.")
    return contents


def counted(number: int, noun: str) -> str:
    """A number and a noun, in the plural if necessary."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shorten(names: Sequence[str], n_shown: int = 8) -> str:
    """Join the first names, and say how many others there are."""
    shown = ", ".join(repr(str(name)) for name in names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown} and {len(names) - n_shown} more"


def suggestion(name: str, names: Iterable[str]) -> str:
    """A question with the most similar names. An empty text if no name is similar."""
    lower = {other.lower(): other for other in names}
    close = [lower[other] for other in difflib.get_close_matches(name.lower(), lower, n=3)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


# Files


def _read_bytes(path):
    try:
        # A pipe of the shell, such as /dev/stdin, may hold a table too.
        return _read_pipe(path) if path.is_fifo() else read_regular(path)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}.{_similar_file(path)}") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is larger than the memory"
        raise InputError(f"{path} cannot be read: {reason}.") from error


def _unpacked(path, data):
    """The contents of a compressed file, told by its first bytes. Other data as they are."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:4] != b"PK\x03\x04":
            return data
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if "[Content_Types].xml" in names or "mimetype" in names:
                raise InputError(
                    f"{path} is a spreadsheet; expected CSV or Parquet. Save it as CSV."
                )
            if len(names) != 1:
                raise InputError(
                    f"{path} has {counted(len(names), 'file')}: {shorten(names, 3)}; expected one "
                    "table. Unpack it and give the file of the table."
                )
            return archive.read(names[0])
    except (EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}.") from error


def _read_pipe(path):
    """Read a pipe, but do not wait for somebody to open it for writing."""
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
    return suggestion(path.name, names) or " Check the name and the folder."


def _read_parquet(path, data):
    import pandas as pd

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
        raise InputError(f"{path} is not a Parquet file: {' '.join(str(error).split())}") from error
    return table.rename(columns=str).reset_index(drop=True)


def _decode(path, data, given, expected):
    """The text of a file and its encoding: UTF-8 if valid, then the expected one, then a guess."""
    is_utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    encodings = [given or ("utf-16" if is_utf16 else "utf-8-sig")]
    if not given and not is_utf16:
        encodings += [expected or GUESS, GUESS]
    invalid = None
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except LookupError:
            raise InputError(
                f"--encoding {encoding} is not known; utf-8, latin-1, cp1252 and utf-16 are common."
            ) from None
        except UnicodeError as error:
            invalid = invalid or error
            continue
        is_known = encoding != GUESS or GUESS in (given, expected)
        if "\0" not in text and (is_known or _is_text(data, invalid)):
            return text, encoding
    if invalid is None or CONTROL.search(data[:4096]):
        raise InputError(
            f"{path} is not a text file; expected CSV or Parquet, which may be compressed as .gz "
            "or .zip. A spreadsheet can be saved as CSV."
        )
    line = data.count(b"\n", 0, getattr(invalid, "start", 0)) + 1
    raise InputError(
        f"{path} is not valid {given or 'UTF-8'}, first in line {line}. Give its encoding, for "
        "example --encoding cp1252 or --encoding latin-1."
    )


def _is_text(data, error):
    """Whether data that are not UTF-8 are a text of another encoding, and not damaged UTF-8."""
    text = data.decode("utf-8", "replace")
    n_invalid = text.count("\ufffd")
    # Letters of other encodings are hardly ever valid UTF-8.
    n_valid = len(text) - len(text.encode("ascii", "ignore")) - n_invalid
    is_cut_off = error is not None and error.reason == "unexpected end of data"
    return n_valid < n_invalid and not is_cut_off and not CONTROL.search(data)


# CSV


def _read_csv(path, text, layout, wanted, expects_names):
    import pandas as pd

    text = INVISIBLE.sub("", re.sub(r"\Asep=.(?=\r?\n)", "", text))  # the line is for Excel
    for kind, begins in OTHER_TEXTS.items():
        if begins.match(text):
            reader = "read_json" if kind == "JSON" else "read_html or read_xml"
            raise InputError(
                f"{path} looks like {kind}; expected CSV or Parquet. pandas may turn it into a "
                f"table: see pandas.{reader}, and to_csv."
            )
    delimiter, quote = _find_marks(text, layout.delimiter)
    rows = _split(path, text, delimiter, quote)
    if not rows:
        raise InputError(f"{path} is empty; expected a line of column names, then rows.")
    notes = []
    widths = [len(row) for _, row in rows]
    n_titles = _count_titles(widths)
    if not n_titles and layout.has_names is not False:
        n_titles = _count_padded_titles([row for _, row in rows], set(wanted))
    if n_titles:
        titles = [" ".join(filter(None, row)) for _, row in rows[:n_titles]]
        above = shorten([title for title in titles if title], 2)
        notes.append(f"{counted(n_titles, 'line')} above the table left out: {above}")
        rows = rows[n_titles:]
    if quote == "'":
        notes.append("single quotes are taken for quotes")
    has_names = layout.has_names
    if has_names is None:
        has_names = _has_names(path, [row for _, row in rows], wanted, expects_names)
    if has_names:
        names, rows = rows[0][1], rows[1:]
        _check_names(path, names)
        if rows and all(len(row) == len(names) + 1 for _, row in rows):
            # A delimiter at the end of each line, or as R writes tables: the first has no name.
            is_empty = all(row[-1] == "" for _, row in rows)
            names = [*names, ""] if is_empty else ["", *names]
        names = [name or free_name(number, names) for number, name in enumerate(names, 1)]
        n_rows = len(rows)
        rows = [(line, row) for line, row in rows if row != names]
        if len(rows) < n_rows:
            notes.append(f"{counted(n_rows - len(rows), 'repeated line')} of names left out")
    else:
        names = [str(number) for number in range(1, len(rows[0][1]) + 1)]
    for line, row in rows:
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {line}: {counted(len(row), 'field')}, but {len(names)} "
                f"{'column names' if has_names else 'in the first line'}. Mend the line, or give "
                f"--delimiter (used here: {delimiter!r})."
            )
    while rows and not any(rows[-1][1]):
        rows.pop()
    for place, what, is_such in ((0, "units", _are_units), (-1, "totals", _are_totals)):
        if len(rows) > 1 and is_such([row for _, row in rows]):
            line, row = rows.pop(place)
            texts = shorten([text for text in row if text], 4)
            notes.append(f"line {line} left out, since it has {what}: {texts}")
    table = pd.DataFrame([row for _, row in rows], columns=names, dtype=object)
    return Contents(table, Layout(delimiter, None, has_names), notes)


def _count_titles(widths):
    """Number of lines with one field above a table, if all rows of the table have more fields."""
    n_titles = next((place for place, width in enumerate(widths) if width > 1), 0)
    below = set(widths[n_titles:])
    is_table = len(below) == 1 and max(below) >= FEWEST_FIELDS and n_titles <= MOST_TITLES
    return n_titles if is_table else 0


def _count_padded_titles(rows, wanted):
    """Number of lines above the names that are at least half empty: titles of spreadsheets."""
    begin = rows[: MOST_TITLES + 1]
    is_title = [2 * sum(map(bool, row)) <= len(row) and not wanted & {*row} for row in begin]
    n_titles = is_title.index(False) if False in is_title else 0
    names = rows[n_titles]
    are_names = all(name and not NUMERIC.fullmatch(name) for name in names)
    is_table = are_names and len(names) >= FEWEST_FIELDS and any(map(any, rows[:n_titles]))
    return n_titles if is_table else 0


def _find_marks(text, delimiter):
    """Delimiter and quote that give the first lines the same number of fields, more than one."""
    lines = [line for line in text[:65536].splitlines()[: 2 * N_SAMPLED_LINES] if line.strip()]
    sampled = "\n".join(lines[:N_SAMPLED_LINES])
    has_single_quotes = re.search(r"(?m)(^|[,;\t| ])'[^'\n]*'([,;\t| ]|$)", sampled)

    def quality(layout):
        mark, quote = layout
        try:
            widths = [len(row) for row in _reader(sampled, mark, quote, quote == "'") if row]
        except csv.Error:
            return (0, 0)
        if not widths or max(widths) == 1:
            return (0, 0)
        widths = widths[_count_titles(widths) :]
        # The first line may have one field less than the others, see _read_csv.
        alike = widths.count(widths[-1]) + (widths[0] != widths[-1] and widths[0] == widths[-1] - 1)
        # Blanks come last, as texts have blanks too.
        n_alike = alike if alike == len(widths) else widths.count(widths[0])
        return (alike == len(widths), {" ": 0, BLANKS: -1}.get(mark, n_alike))

    marks = (delimiter,) if delimiter else DELIMITERS
    quotes = "'\"" if has_single_quotes else '"'
    return max(((mark, quote) for quote in quotes for mark in marks), key=quality)


def _reader(text, delimiter, quote, strict):
    """Reader of rows of fields. A run of blanks counts as one delimiter."""
    if delimiter in (" ", BLANKS):
        lines = (line.strip() for line in text.splitlines())
        blanks, mark = (r"\s{2,}", "\t") if delimiter == BLANKS else ("\t", " ")
        text, delimiter = "\n".join(re.sub(blanks, mark, line) for line in lines), mark
    lines = io.StringIO(text, newline="")
    return csv.reader(
        lines, delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=strict
    )


def _split(path, text, delimiter, quote):
    """The number of the line at which each row ends, and the stripped fields of the row."""
    reader = _reader(text, delimiter, quote, strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            line = reader.line_num
            fields = [value.strip() for value in row]
            if any(fields) or len(fields) > 1:
                rows.append((line, fields))
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
    return rows


def _has_names(path, rows, wanted, expected):
    """Whether the first row has names, by its difference from the values below it."""
    first = rows[0]
    if set(first) & set(wanted):
        return True
    # In files that were joined, the line of names is repeated.
    sampled = [row for row in islice(rows, 1, N_SAMPLED_ROWS) if row != first]
    for_names: list[int] = []
    against: list[int] = []
    for number, name in enumerate(first):
        below = [row[number] for row in sampled if number < len(row)]
        below = [value for value in below if value not in MISSING]
        if not below or name in MISSING:
            continue
        if all(NUMERIC.fullmatch(value) for value in below):
            (against if NUMERIC.fullmatch(name) else for_names).append(number)
        elif name in below:
            against.append(number)
        elif len(below) >= FEWEST_ALIKE and len(set(below)) == 1:
            for_names.append(number)
    if bool(for_names) == bool(against) and expected is not None:
        return expected
    if for_names and against:
        raise InputError(
            f"{path}: the first line ({', '.join(first[:6])}) may be names (column "
            f"{for_names[0] + 1} has others below it) or values (column {against[0] + 1} has the "
            "like below it). Say which: --header or --no-header."
        )
    return not against


def _are_units(rows):
    """Whether the first row has units: texts above numbers, in at least two columns."""
    first, *others = rows
    n_units = 0
    for name, *below in zip(first, *others[:N_SAMPLED_ROWS], strict=True):
        below = [value for value in below if not _is_no_answer(value)]
        if below and all(NUMERIC.fullmatch(value) or match_number(value) for value in below):
            if NUMERIC.fullmatch(name) or match_number(name):
                return False
            n_units += not _is_no_answer(name)
    return n_units >= FEWEST_UNITS


def _is_no_answer(text):
    return text in MISSING or NO_NUMBER.fullmatch(text) is not None


def _are_totals(rows):
    """Whether the last row has totals: it has a word for them that no other row has there."""
    *others, last = rows
    return any(
        TOTAL.fullmatch(value.rstrip(":")) and all(row[place] != value for row in others)
        for place, value in enumerate(last)
    )


def _check_names(path, names):
    twice = [name for name, number in Counter(names).items() if name and number > 1]
    if twice:
        raise InputError(
            f"{path} has several columns of the name {twice[0]!r}; names must be unique."
        )
