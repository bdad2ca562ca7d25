"""Messy tables, each made from a known clean one: what a reader should make of them is known."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typed_tables import read_table

from metricalign.command_line.formats import Reading
from metricalign.command_line.reading import InputError, Layout

N_ROWS = 60


def clean(seed: int = 0) -> pd.DataFrame:
    """Numbers of several sizes, a date, a category and a code."""
    rng = np.random.default_rng(seed)
    day = np.datetime64("1998-03-14", "us")
    return pd.DataFrame(
        {
            "size": np.round(rng.normal(size=N_ROWS), 2),
            "price": np.round(np.exp(rng.normal(7, 3, N_ROWS)), 2),
            "people": rng.integers(3, 4_000_000, N_ROWS).astype(float),
            "share": np.round(rng.uniform(0, 100, N_ROWS), 1),
            "day": day + rng.integers(0, 9000, N_ROWS) * np.timedelta64(1, "D"),
            "town": rng.choice(["Ulm", "Bad Homburg", "O'Fallon", "Köln"], N_ROWS),
            "code": [f"{number:05d}" for number in rng.integers(1, 99_999, N_ROWS)],
        }
    )


# How values are written


def number(decimal=".", thousands="", n_decimals=2, before="", after="", brackets=False):
    """A writer of numbers: with marks, a unit, and brackets for negative ones."""

    def write(value: float) -> str:
        text = f"{abs(value):,.{n_decimals}f}"
        text = text.translate({ord(","): thousands, ord("."): decimal})
        text = f"{before}{text}{after}"
        if value < 0:
            return f"({text})" if brackets else f"-{text}"
        return text

    return write


def date(pattern: str):
    """A writer of dates."""
    return lambda value: pd.Timestamp(value).strftime(pattern)


def indian(value: float) -> str:
    """A number with groups of two, as in 12,34,567.89."""
    whole, fraction = f"{abs(value):.2f}".split(".")
    head, tail = whole[:-3], whole[-3:]
    groups = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ("-" if value < 0 else "") + ",".join([*groups, tail]) + "." + fraction


PLAIN: dict[str, Callable[[Any], str]] = {
    "size": repr,
    "price": repr,
    "people": lambda value: str(int(value)),
    "share": repr,
    "day": date("%Y-%m-%d"),
    "town": str,
    "code": str,
}


@dataclass
class Messy:
    """A messy table.

    Attributes
    ----------
    content : bytes
        The file.
    truth : DataFrame
        What it was made from; texts with None where they are missing.
    reading : Reading
        What the person says.
    layout : Layout
        What the person says of the file.
    suffix : str
        Of the name of the file.
    """

    content: bytes
    truth: pd.DataFrame
    reading: Reading = field(default_factory=Reading)
    layout: Layout = field(default_factory=Layout)
    suffix: str = ".csv"


def written(
    truth: pd.DataFrame,
    writers: dict[str, Callable[[Any], str]] | None = None,
    *,
    delimiter: str = ",",
    quote: str = '"',
    quotes_all: bool = False,
    names: bool = True,
    end: str = "\n",
    encoding: str = "utf-8",
    missing: str = "",
    change: Callable[[list[str]], list[str]] = lambda lines: lines,
    reading: Reading | None = None,
    layout: Layout | None = None,
) -> Messy:
    """Write a clean table in a messy way."""
    writers = PLAIN | (writers or {})
    text = io.StringIO(newline="")
    style = csv.QUOTE_ALL if quotes_all else csv.QUOTE_MINIMAL
    out = csv.writer(text, delimiter=delimiter, quotechar=quote, quoting=style, lineterminator="\n")
    if names:
        out.writerow(truth.columns)
    for row in truth.itertuples(index=False):
        out.writerow(
            [
                missing if pd.isna(value) else writers.get(str(name), str)(value)
                for name, value in zip(truth.columns, row, strict=True)
            ]
        )
    lines = change(text.getvalue().split("\n")[:-1])
    if not names:
        truth = truth.set_axis([str(i) for i in range(1, truth.shape[1] + 1)], axis=1)
    content = (end.join(lines) + end).encode(encoding)
    return Messy(content, truth, reading or Reading(), layout or Layout())


def outcome(
    messy: Messy,
    folder: Path,
    read: Callable[[Path, Messy], pd.DataFrame] = lambda path, messy: read_table(
        path, messy.layout, messy.reading
    ),
    refusal: type[Exception] = InputError,
) -> tuple[str, str]:
    """Read a messy table: "right", "refused" or "wrong", and why."""
    path = Path(folder) / f"messy{messy.suffix}"
    path.write_bytes(messy.content)
    try:
        table = read(path, messy)
    except refusal as error:
        return "refused", str(error)
    for name, expected in messy.truth.items():
        if name not in table:
            return "wrong", f"no column {name!r} in {list(table.columns)}"
        values = table[name]
        if len(values) != len(expected):
            return "wrong", f"{len(values)} rows for {len(expected)}"
        for value, true in zip(values, expected, strict=True):
            if not _is_same(value, true):
                return "wrong", f"{name!r}: {value!r} for {true!r}"
    return "right", ""


def _is_same(value, true):
    if pd.isna(value) or pd.isna(true):
        return bool(pd.isna(value)) and bool(pd.isna(true))
    if isinstance(true, pd.Timestamp):
        return isinstance(value, pd.Timestamp) and value == true
    if isinstance(true, str):
        return isinstance(value, str) and value == true
    return not isinstance(value, str | pd.Timestamp) and float(value) == float(true)


# Tables


def _of_fixed_width(table) -> Messy:
    messy = written(table, delimiter="\t")
    fields = [line.split("\t") for line in messy.content.decode().splitlines()]
    widths = [max(map(len, column)) + 2 for column in zip(*fields, strict=True)]
    lines = ["".join(map(str.rjust, line, widths)) for line in fields]
    return replace(messy, content="\n".join(lines).encode())


def _with(writers=None, *, table=None, **options):
    return lambda: written(clean() if table is None else table(), writers, **options)


def _only(**columns):
    """A clean table in which columns are of these values, over and over."""

    def table():
        frame = clean()
        return frame.assign(
            **{
                name: np.resize(np.array(values), N_ROWS).astype(float)
                for name, values in columns.items()
            }
        )

    return table


def _empty_some(*names):
    def table():
        frame = clean().astype({"town": object})
        for place, name in enumerate(names):
            empty = pd.NaT if name == "day" else None if name in ("town", "code") else np.nan
            frame.loc[3 + place :: 7, name] = empty
        return frame

    return table


def _before(*more):
    return lambda lines: [*more, *lines]


def _each(transform):
    return lambda lines: [transform(line) for line in lines]


def _body(transform):
    return lambda lines: [lines[0], *(transform(line) for line in lines[1:])]


DECIMALS = {"size": 2, "price": 2, "people": 0, "share": 1}
GERMAN = {
    name: number(",", ".", n)
    for name, n in (("size", 2), ("price", 2), ("people", 0), ("share", 1))
}
ENGLISH = {
    name: number(".", ",", n)
    for name, n in (("size", 2), ("price", 2), ("people", 0), ("share", 1))
}
FRENCH = {
    name: number(",", "\u202f", n)
    for name, n in (("size", 2), ("price", 2), ("people", 0), ("share", 1))
}
SWISS = {
    name: number(".", "’", n)
    for name, n in (("size", 2), ("price", 2), ("people", 0), ("share", 1))
}
THOUSANDS = (1234.0, 52345.0, 987654.0, 20100.0)
THREE_DECIMALS = (1.234, 52.345, 987.654, 20.125)
EARLY_DAYS = [
    np.datetime64(f"2021-{month:02d}-{day:02d}", "us")
    for month, day in ((1, 2), (3, 4), (5, 11), (12, 6))
]


def _early():
    return clean().assign(day=np.resize(np.array(EARLY_DAYS), N_ROWS))


def _moments():
    frame = clean()
    hours = np.random.default_rng(1).integers(0, 86400, N_ROWS) * np.timedelta64(1, "s")
    return frame.assign(day=frame["day"] + hours)


def _long_codes():
    numbers = np.random.default_rng(1).integers(10**17, 10**18, N_ROWS)
    return clean().assign(code=[str(each) for each in numbers])


def _times():
    return clean().assign(share=np.random.default_rng(1).integers(0, 1440, N_ROWS) / 60)


def _hours(value):
    minutes = round(value * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _millions():
    return clean().assign(people=clean()["people"] + 1_000_000)


def _japanese(value):
    moment = pd.Timestamp(value)
    return f"{moment.year}年{moment.month}月{moment.day}日"


def _wide(value):
    """Digits and marks as wide as a letter of East Asia."""
    text = value if isinstance(value, str) else repr(value).removesuffix(".0")
    return "".join(chr(ord(sign) + 0xFEE0) for sign in text)


def _of_the_clock(value):
    moment = pd.Timestamp(2000, 1, 1) + pd.Timedelta(minutes=round(60 * value))
    return moment.strftime("%I:%M %p")


def _months():
    frame = clean()
    return frame.assign(day=frame["day"].astype("datetime64[us]").dt.to_period("M").dt.start_time)


def _parquet(**changes):
    def make():
        truth = clean().assign(**changes)
        file = io.BytesIO()
        truth.to_parquet(file)
        return Messy(file.getvalue(), truth, suffix=".parquet")

    return make


#: How each table is made. Those that end in "refused" cannot be read in one way only, or at all.
TABLES: dict[str, Callable[[], Messy]] = {
    # Marks
    "plain": _with(),
    "German marks": _with(GERMAN, delimiter=";"),
    "German marks, commas between fields": _with(GERMAN),
    "English marks": _with(ENGLISH),
    "English marks, tabs": _with(ENGLISH, delimiter="\t"),
    "French marks": _with(FRENCH, delimiter=";"),
    "Swiss marks": _with(SWISS),
    "Indian groups": _with({"price": indian, "people": lambda v: indian(v)[:-3]}),
    "decimal commas": _with(
        {n: number(",", n_decimals=d) for n, d in (("size", 2), ("price", 2), ("share", 1))},
        delimiter=";",
    ),
    "marks by column": _with(GERMAN | {"size": repr, "people": ENGLISH["people"]}),
    "other marks by column": _with(
        ENGLISH | {"size": number(","), "share": number(",", n_decimals=1)}
    ),
    "dollars": _with(ENGLISH | {"price": number(".", ",", 2, before="$")}),
    "euros behind": _with(GERMAN | {"price": number(",", ".", 2, after=" €")}, delimiter=";"),
    "currency code": _with(ENGLISH | {"price": number(".", ",", 2, before="USD ")}),
    "per cent": _with({"share": number(n_decimals=1, after="%")}),
    "per cent, decimal commas": _with({"share": number(",", n_decimals=1, after=" %")}),
    "per cent in some rows, refused": _with({"share": lambda v: f"{v}%" if v < 50 else repr(v)}),
    "negative in brackets": _with({"size": number(brackets=True)}),
    "negative in brackets, thousands": _with(
        {"price": number(".", ",", brackets=True)}, table=_only(price=(-1082.79, 1200.5, -3.25))
    ),
    "minus behind": _with({"size": lambda v: f"{abs(v)}-" if v < 0 else repr(v)}),
    "true minus sign": _with({"size": lambda v: repr(v).replace("-", "−")}),
    "plus signs": _with({"size": lambda v: f"{v:+.2f}"}),
    "exponents": _with({"price": lambda v: f"{v:.17e}"}),
    "exponents, decimal commas": _with({"price": lambda v: f"{v:.17E}".replace(".", ",")}),
    "points behind": _with({"people": lambda v: f"{int(v)}."}),
    "no zero before the point": _with({"share": lambda v: repr(v).removeprefix("0")}),
    "kilograms": _with({"size": number(after=" kg")}),
    "out of five": _with({"share": lambda v: f"{v} out of 5"}, table=_only(share=(4.5, 2, 0.5))),
    "thousands by k, millions by M": _with(
        {
            "people": lambda v: (
                f"{v / 1e6:.1f}M" if v >= 1e6 else f"{v / 1e3:g}k" if v >= 1e3 else f"{v:g}"
            )
        },
        table=_only(people=(1_500_000, 23_400_000, 8_250, 640)),
    ),
    "dollars by millions": _with(
        {"price": lambda v: f"${v / 1e6:g}M"}, table=_only(price=(2e6, 17e6, 350e6))
    ),
    "houses with a letter": _with(
        table=lambda: clean().assign(code=np.resize(["12B", "7", "13B", "4"], N_ROWS))
    ),
    "blood pressures": _with(
        table=lambda: clean().assign(code=np.resize(["120/80", "95/60", "140/95"], N_ROWS))
    ),
    "commas for what?, refused": _with(
        {"people": number(".", ",", 0)}, table=_only(people=THOUSANDS)
    ),
    "commas for what? with --thousands": _with(
        {"people": number(".", ",", 0)},
        table=_only(people=THOUSANDS),
        reading=Reading(thousands={"": ","}),
    ),
    "commas for what? with --decimal of the column": _with(
        {"people": number(",", n_decimals=3)},
        table=_only(people=THREE_DECIMALS),
        reading=Reading(decimal={"people": ","}),
    ),
    "points for what?, refused": _with(
        {"people": number(".", "", 3)}, table=_only(people=THREE_DECIMALS)
    ),
    "points for what? with --decimal": _with(
        {"people": number(".", "", 3)},
        table=_only(people=THREE_DECIMALS),
        reading=Reading(decimal={"": "."}),
    ),
    "points for what? with --thousands": _with(
        {"people": number(",", ".", 0)},
        table=_only(people=THOUSANDS),
        reading=Reading(thousands={"people": "."}),
    ),
    "dollars without cents, refused": _with(
        {"people": number(".", ",", 0, before="$")}, table=_only(people=THOUSANDS)
    ),
    "three decimals below one": _with(
        {"people": number(".", "", 3)}, table=_only(people=(0.125, *THREE_DECIMALS))
    ),
    "millions": _with({"people": number(".", ",", 0)}, table=_only(people=(1234567.0, *THOUSANDS))),
    # Dates
    "days with points": _with({"day": date("%d.%m.%Y")}),
    "days with slashes": _with({"day": date("%d/%m/%Y")}),
    "months first": _with({"day": date("%m/%d/%Y")}),
    "years with slashes": _with({"day": date("%Y/%m/%d")}),
    "months by name": _with({"day": date("%d %b %Y")}),
    "months by name first": _with({"day": date("%B %d, %Y")}),
    "years of two digits": _with({"day": date("%d.%m.%y")}),
    "moments": _with({"day": date("%Y-%m-%d %H:%M:%S")}, table=_moments),
    "moments with a T": _with({"day": date("%Y-%m-%dT%H:%M:%S")}, table=_moments),
    "moments with a zone": _with({"day": date("%Y-%m-%dT%H:%M:%SZ")}, table=_moments),
    "moments of the afternoon": _with({"day": date("%m/%d/%Y %I:%M:%S %p")}, table=_moments),
    "times of the day": _with({"share": _hours}, table=_times),
    "day or month?, refused": _with({"day": date("%d/%m/%Y")}, table=_early),
    "day or month? with day-first": _with(
        {"day": date("%d/%m/%Y")}, table=_early, reading=Reading(dates="day-first")
    ),
    "day or month? with month-first": _with(
        {"day": date("%m/%d/%Y")}, table=_early, reading=Reading(dates="month-first")
    ),
    # Missing values and codes
    "empty fields": _with(table=_empty_some("size", "day", "town")),
    "NA": _with(table=_empty_some("size", "people", "day"), missing="NA"),
    "question marks": _with(table=_empty_some("size", "town", "day"), missing="?"),
    "three dashes": _with(table=_empty_some("size", "people", "day"), missing="---"),
    "#DIV/0!": _with(table=_empty_some("size", "share"), missing="#DIV/0!"),
    "dashes among numbers": _with(table=_empty_some("size", "people", "day"), missing="-"),
    "n.a. among decimal commas": _with(GERMAN, table=_empty_some("price", "share"), missing="n.a."),
    "a text of their own, --missing": _with(
        table=_empty_some("size", "town"), missing="keine", reading=Reading(missing=("keine",))
    ),
    "codes of 18 digits": _with(table=_long_codes),
    # Files
    "semicolons": _with(delimiter=";"),
    "tabs": _with(delimiter="\t"),
    "bars": _with(delimiter="|"),
    "blanks": _with(delimiter=" "),
    "runs of blanks": _with(
        delimiter=" ",
        change=_each(lambda line: "  " + line.replace(" ", "   ") if '"' not in line else line),
    ),
    "columns of a fixed width": lambda: _of_fixed_width(clean()),
    "blanks after commas": _with(change=_each(lambda line: line.replace(",", ", "))),
    "all in quotes": _with(quotes_all=True),
    "single quotes": _with(
        quote="'", quotes_all=True, table=lambda: clean().replace({"town": {"O'Fallon": "Trier"}})
    ),
    "German marks, all in quotes": _with(GERMAN, quotes_all=True),
    "line ends of Windows": _with(end="\r\n"),
    "line ends of old Macs": _with(end="\r"),
    "byte order mark": _with(encoding="utf-8-sig"),
    "UTF-16": _with(encoding="utf-16"),
    "Western Europe": _with(encoding="cp1252"),
    "Western Europe with --encoding": _with(encoding="cp1252", layout=Layout(encoding="cp1252")),
    "Western Europe, French marks": _with(
        {
            name: number(",", "\u00a0", n, after=" €" if name == "price" else "")
            for name, n in (("price", 2), ("people", 0))
        },
        encoding="cp1252",
        delimiter=";",
    ),
    "UTF-8, damaged, refused": lambda: replace(
        _with()(), content=written(clean()).content.replace(b"K\xc3\xb6ln", b"K\xc3ln", 1)
    ),
    "no line of names": _with(names=False),
    "no line of names, German marks": _with(GERMAN, names=False, delimiter=";"),
    "texts only, no line of names": lambda: written(
        clean()[["town"]].assign(other=np.resize(["a", "b", "c"], N_ROWS)), names=False
    ),
    "texts only": lambda: written(
        clean()[["town"]].assign(other=np.resize(["a", "b", "c"], N_ROWS))
    ),
    "years for names, refused": lambda: written(
        clean()[["town", "size", "share"]]
        .set_axis(["town", "1999", "2000"], axis=1)
        .assign(what="rain in mm")
    ),
    "names or values?, refused": lambda: written(
        clean()[["town", "size"]].set_axis(["town", "7"], axis=1)[["7", "town"]].assign(more=1.5)
    ),
    "delimiter at the end of each line": _with(change=_body(lambda line: line + ",")),
    "row names as R writes them": _with(
        change=lambda lines: [lines[0], *(f'"{i}",{line}' for i, line in enumerate(lines[1:], 1))]
    ),
    "names again within": _with(change=lambda lines: [*lines[:30], lines[0], *lines[30:]]),
    "empty lines": _with(change=lambda lines: [lines[0], "", *lines[1:], "", ""]),
    "a line within a field": _with(
        quotes_all=True,
        table=lambda: clean().replace({"town": {"Ulm": "Ulm,\nBavaria"}}),
        change=lambda lines: lines,
    ),
    "a title above": _with(change=_before("Towns in 2021", "")),
    "a line for Excel": _with(delimiter=";", change=_before("sep=;")),
    "a short row, refused": _with(change=lambda lines: [*lines[:5], "1,2", *lines[5:]]),
    "a total below, refused": _with(change=lambda lines: [*lines, "Total,12345"]),
    "a name twice, refused": _with(
        change=lambda lines: [lines[0].replace("price", "size"), *lines[1:]]
    ),
    "an open quote, refused": _with(
        change=lambda lines: [*lines[:5], lines[5].replace(",", ',"', 1), *lines[6:]]
    ),
    # Exports of other programs and countries
    "Swiss francs": _with({"price": number(".", "'", 2, before="CHF ")}),
    "Polish zlotys": _with({"price": number(",", "\u00a0", 2, after=" zł")}, delimiter=";"),
    "Brazilian reals": _with(GERMAN | {"price": number(",", ".", 2, before="R$ ")}, delimiter=";"),
    "Japanese yen and dates": _with(
        {"people": number(".", ",", 0, after="円"), "day": _japanese}, table=_millions
    ),
    "wide digits": _with({"size": _wide, "people": _wide}),
    "wide digits and marks": _with(
        {"people": lambda v: _wide(f"{v:,.0f}"), "price": lambda v: _wide(f"{v:,.2f}")},
        table=_millions,
    ),
    "wide digits for what?, refused": _with(
        {"people": lambda v: _wide(f"{v:.3f}")}, table=_only(people=THREE_DECIMALS)
    ),
    "kilograms with and without a blank": _with(
        {"size": lambda v: f"{v} kg" if v > 0 else f"{v}kg"}
    ),
    "minus behind, German marks, as of SAP": _with(
        GERMAN | {"size": lambda v: GERMAN["size"](abs(v)) + "-" * (v < 0), "day": date("%Y%m%d")},
        delimiter="\t",
    ),
    "write.csv2 of R": _with(
        GERMAN | {name: number(",", "", n) for name, n in DECIMALS.items()},
        delimiter=";",
        quotes_all=True,
        change=lambda lines: [lines[0], *(f'"{i}";{line}' for i, line in enumerate(lines[1:], 1))],
    ),
    "points of SPSS and SAS": _with(table=_empty_some("size", "people", "day"), missing="."),
    "a blank of SPSS": _with(table=_empty_some("size", "people", "day"), missing=" "),
    "a dump of a database": _with(
        table=_empty_some("size", "town", "day"), delimiter="\t", missing="\\N"
    ),
    "errors of a German spreadsheet": _with(
        GERMAN, table=_empty_some("size", "share", "town"), delimiter=";", missing="#NV"
    ),
    "text of Excel": _with(delimiter="\t", end="\r\n", encoding="utf-16"),
    "two kinds of line ends": lambda: replace(
        _with()(), content=written(clean()).content.replace(b"\n", b"\r\n", 30)
    ),
    "empty rows below": _with(change=lambda lines: [*lines, *[",,,,,,"] * 3]),
    "totals below": _with(change=lambda lines: [*lines, "1.5,9999.5,1234,50.0,,Total,"]),
    "totals below, German": _with(
        table=lambda: clean()[["town", "size", "people"]],
        change=lambda lines: [*lines, "Summe:,,8"],
    ),
    "invisible signs": _with(
        {"town": lambda text: f"\u200b{text}", "size": lambda v: f"\u200e{v}\u200e"}
    ),
    "blanks of no break around numbers": _with({"size": lambda v: f"\u00a0{v}\u00a0"}),
    "decimal commas between commas, refused": _with(
        change=_body(lambda line: re.sub(r"(\d)\.(\d)", r"\1,\2", line))
    ),
    "a comment above": _with(delimiter=";", change=_before("# made by a program")),
    "a comment with commas above, refused": _with(change=_before("# size in m, price in euros")),
    "a line of units below the names": _with(
        change=lambda lines: [lines[0], "m,EUR,,%,,,", *lines[1:]]
    ),
    "durations": _with(
        {"share": lambda v: f"{int(v)}h {round(v % 1 * 60)}min" if v >= 1 else f"{v * 60:.0f}min"},
        table=_times,
    ),
    "durations of more than a day": _with(
        {"share": lambda v: f"{int(v)}:{round(v % 1 * 60):02d}:00"},
        table=lambda: clean().assign(share=np.arange(1200, 1200 + 20 * N_ROWS, 20) / 60),
    ),
    "durations of pandas": _with(
        {"share": lambda v: str(pd.Timedelta(minutes=round(60 * v)))}, table=_times
    ),
    "times of the afternoon": _with({"share": _of_the_clock}, table=_times),
    "days without marks": _with({"day": date("%Y%m%d")}),
    "months with a point": _with({"day": date("%m.%Y")}, table=_months),
    "weeks": _with(
        table=lambda: clean().assign(code=[f"2020-W{number % 52 + 1:02d}" for number in range(60)])
    ),
    "two forms of a date": _with(
        table=lambda: clean().assign(
            code=np.resize(["03.04.2020", "3/4/20", "17.05.2021", "5/17/21"], N_ROWS)
        )
    ),
    "yes and no": _with(
        table=lambda: clean().assign(
            code=np.resize(["ja", "nein"], N_ROWS), town=np.resize(["WAHR", "FALSCH"], N_ROWS)
        )
    ),
    "telephone numbers": _with(
        table=lambda: clean().assign(code=[f"+41 791 {n:03d} {n:03d}" for n in range(400, 460)])
    ),
    "an apostrophe before numbers": _with(
        table=lambda: clean().assign(code=[f"'{number}.5" for number in range(60)])
    ),
    "Parquet": _parquet(),
    "Parquet with missing numbers": _parquet(
        people=pd.array([1, None] * (N_ROWS // 2), dtype="Int64")
    ),
}


# Tables drawn at random

_WRITERS = {
    "size": [
        repr,
        number(","),
        number(brackets=True),
        number(after=" kg"),
        number(",", after=" kg"),
    ],
    "price": [
        repr,
        *(marks["price"] for marks in (GERMAN, ENGLISH, FRENCH, SWISS)),
        indian,
        number(".", ",", before="$"),
        number(",", ".", after=" €"),
    ],
    "people": [
        PLAIN["people"],
        *(marks["people"] for marks in (GERMAN, ENGLISH, FRENCH, SWISS)),
        number(".", ",", 0, before="$"),
    ],
    "share": [
        repr,
        number(",", n_decimals=1),
        number(n_decimals=1, after="%"),
        number(",", n_decimals=1, after="%"),
        number(".", ",", 3),
    ],
    "day": [
        date(p)
        for p in (
            "%Y-%m-%d",
            "%d.%m.%Y",
            "%d/%m/%Y",
            "%m/%d/%Y",
            "%m-%d-%Y",
            "%d %b %Y",
            "%Y/%m/%d",
            "%b %d, %Y",
        )
    ],
}


def drawn(seed: int) -> Messy:
    """A table with marks, dates, missing values, delimiter and quotes drawn at random."""
    rng = np.random.default_rng(seed)
    truth = clean(seed).sample(int(rng.integers(12, N_ROWS)), random_state=seed, ignore_index=True)
    truth = truth.astype({"town": object, "code": object})
    # Only a zero tells codes from numbers.
    truth.loc[truth.index[-1], "code"] = "00731"
    writers = {name: choices[rng.integers(len(choices))] for name, choices in _WRITERS.items()}
    if rng.integers(2):
        for name in truth.columns[: int(rng.integers(1, 5))]:
            truth.loc[rng.random(len(truth)) < 0.1, name] = pd.NaT if name == "day" else np.nan
    return written(
        truth,
        writers,
        delimiter=str(rng.choice([",", ";", "\t", "|"])),
        quotes_all=bool(rng.integers(2)),
        names=bool(rng.integers(4)),
        missing=str(rng.choice(["", "NA", "?", "-"])) if rng.integers(2) else "",
    )
