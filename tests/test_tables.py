"""Tables as they are: each is read right or refused with a reason, never wrong."""

import gzip
import io
import re
import sys
import warnings
import zipfile
from argparse import Namespace

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from messy_tables import TABLES, drawn, outcome, written  # noqa: E402
from typed_tables import read_table  # noqa: E402

from metricalign.command_line.columns import (  # noqa: E402
    read_column,
    read_columns,
    sort_features,
)
from metricalign.command_line.dates import Date, Duration, Time  # noqa: E402
from metricalign.command_line.formats import Reading, Text  # noqa: E402
from metricalign.command_line.numbers import Number  # noqa: E402
from metricalign.command_line.reading import InputError, Layout, read_contents  # noqa: E402
from metricalign.command_line.table_columns import TableColumns  # noqa: E402
from metricalign.command_line.targets import read_target  # noqa: E402
from metricalign.command_line.task_reading import reading_of, scale_of  # noqa: E402
from metricalign.features.identifiers import identifier_of  # noqa: E402
from metricalign.features.sets import separator_of_sets  # noqa: E402


@pytest.mark.parametrize("name", TABLES)
def test_messy_tables(name, tmp_path):
    expected = "refused" if name.endswith("refused") else "right"
    assert outcome(TABLES[name](), tmp_path)[0] == expected


def test_drawn_tables_are_never_read_wrong(tmp_path):
    outcomes = [outcome(drawn(seed), tmp_path) for seed in range(60)]
    assert {"wrong"}.isdisjoint(kind for kind, _ in outcomes), outcomes
    # What is refused has two readings, and the message says how to choose.
    refused = [reason for kind, reason in outcomes if kind == "refused"]
    assert 0 < len(refused) < 20
    assert all("Say which: --" in reason for reason in refused)


def column(*texts, reading=None):
    return read_column(pd.Series(texts, dtype=object), "x", reading or Reading())


@pytest.mark.parametrize(
    ("texts", "values", "form"),
    [
        (["1.234,56", "7"], [1234.56, 7], Number(",", ".")),
        (["$1,082.79", "$3"], [1082.79, 3], Number(".", ",", "$")),
        (["12,3%", "4,56%"], [12.3, 4.56], Number(",", "", "%")),
        (["(1,200.5)", "3"], [-1200.5, 3], Number(".", ",")),
        (["1 234", "12\u00a0345"], [1234, 12345], Number(".", " ")),
        (["12,34,567", "1,000"], [1234567, 1000], Number(".", ",")),
        (["0,123", "1,234"], [0.123, 1.234], Number(",")),
        (["1e5", "2.5E-3"], [1e5, 2.5e-3], Number()),
        (["7.3/10", "8/10"], [7.3, 8], Number(unit="/10")),
        (["4,5 / 5", "3/5"], [4.5, 3], Number(",", unit="/5")),
        (["7 out of 12", "12 of 12"], [7, 12], Number(unit="/12")),
        (["1 star", "3 stars"], [1, 3], Number(unit="star")),
        (["1.5k", "2.31M", "850"], [1500, 2_310_000, 850], Number(has_magnitudes=True)),
        (["$20M", "$7M"], [2e7, 7e6], Number(unit="$", has_magnitudes=True)),
        (["1,2 Mio. €", "3 Mrd. €"], [1.2e6, 3e9], Number(",", "", "€", True)),
        (["0.3M", "1.1M"], [3e5, 1.1e6], Number(has_magnitudes=True)),
        (["5.5 km", "3 km"], [5.5, 3], Number(unit="km")),
        (["14:30", "08:15"], [14.5, 8.25], Time()),
        (["2:30 PM", "8:15 am"], [14.5, 8.25], Time("%I:%M %p")),
        (["1h 30min", "45 min", "2h"], [1.5, 0.75, 2], Duration()),
        (["26:30:00", "1:15:00"], [26.5, 1.25], Duration()),
        (["1 days 02:30:00", "0 days 00:15:00"], [26.5, 0.25], Duration()),
        (["45 min", "30 min"], [45, 30], Number(unit="min")),
        (["１２", "３．５"], [12, 3.5], Number()),
    ],
)
def test_values(texts, values, form):
    read = column(*texts)
    np.testing.assert_array_equal(read.values, values)
    assert read.format == form


@pytest.mark.parametrize(
    "texts",
    [
        ["007", "12"],
        ["1_000", "2"],
        ["1,2,3", "4"],
        ["1.2.3", "4"],
        ["1e", "2"],
        ["120/80", "95/60"],
        ["120/80", "95/80"],
        [*(f"{n}/80" for n in range(70, 130))],
        ["1/2", "3/4"],
        ["12B", "13"],
        ["12B", "13B"],
        ["280.5K", "300K"],
        ["1.5k", "2e3k"],
        ["+41 791 400 400", "+41 791 400 500"],
        ["1h", "2h 90"],
        ["3:2", "1:0"],
    ],
)
def test_texts_that_are_no_numbers(texts):
    read = column(*texts)
    assert read.format.kind == "text"
    assert list(read.values) == texts


def test_formats_are_described_in_words():
    assert Number(",", unit="/10").describe() == "decimal mark ',', out of 10"
    assert Number(unit="€").describe() == "in €"


def test_a_rating_above_its_scale_is_no_number_in_rows_to_predict():
    read = column("7/10", "8/10")
    values = read.format.parse(np.array(["9/10", "12/10"], dtype=object))
    np.testing.assert_array_equal(values, [9, np.nan])


@pytest.mark.parametrize("text", ["52,345", "-1.234", "$1,200", "(1,200)", "+9.999"])
def test_two_readings_are_refused(text):
    with pytest.raises(InputError, match=r'Say which: --decimal "x=[.,]" or --thousands "x=[.,]"'):
        column(text, "7")


def test_the_mark_of_swiss_thousands_is_given_as_it_stands_in_the_file():
    given = Namespace(decimal=["."], thousands=["’", "width=space"], dates=None, missing=[])
    marks = reading_of(given).thousands
    assert marks == {"": "'", "width": " "}
    read = column("1’234.5", "2’000.25", reading=Reading(thousands=marks))
    assert list(read.values) == [1234.5, 2000.25]


def test_a_mark_that_is_given_does_not_make_other_numbers_of_a_column():
    with pytest.raises(InputError, match="not all values are numbers with the marks given"):
        column("1.5", "2.25", reading=Reading(decimal={"": ","}))


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["2021-02-03", "2020-12-31"], "2021-02-03"),
        (["3.2.2021", "31.12.2020"], "2021-02-03"),
        (["02/03/2021", "12/31/2020"], "2021-02-03"),
        (["20210203", "20201231"], "2021-02-03"),
        (["2.2021", "12.2020", "1.2019"], "2021-02-01"),
        (["02.2021", "12.2020"], "2021-02-01"),
        (["2021年2月3日", "2020年12月31日"], "2021-02-03"),
        (["2021-02-03T04:05:06+02:00", "2020-12-31T00:00:00+01:00"], "2021-02-03T02:05:06"),
    ],
)
def test_dates(texts, first):
    read = column(*texts, "")
    assert read.values[0] == np.datetime64(first)
    assert np.isnat(read.values[-1])


@pytest.mark.parametrize(
    ("texts", "odd"),
    [
        (["28.02.2020", "01.03.2020", "31.02.2020"], "31.02.2020"),
        (["31.02.2020", "28.02.2020", "01.03.2020"], "31.02.2020"),
        (["28.02.2020", "01.03.2020", "3/17/20", "3/18/20"], "3/17/20"),
        (["12 Main Street", "28.02.2020", "3 Park Lane"], None),
        (["10-19", "20-29", "30-39"], None),
    ],
)
def test_what_is_no_date_among_dates_is_named(texts, odd):
    read = column(*texts)
    assert (read.format.kind, read.odd) == ("text", odd)
    if odd is not None:
        table = pd.DataFrame({"day": texts, "size": range(len(texts))}, dtype=object)
        table["size"] = [f"{size}.5" for size in table["size"]]
        features = sort_features(read_columns(table, list(table), Reading()))
        assert features.left_out.keys() == {
            f"dates, but for texts such as {odd!r}; give --missing {odd!r} if it stands for a "
            "missing value"
        }
        with pytest.raises(InputError, match=f"has dates, but for texts such as '{odd}'"):
            read_target(table, ["day"], None, None, Reading())


def test_rates_are_no_months():
    given = Reading(decimal={"x": "."})
    assert list(column("03.2021", "12.2020", reading=given).values) == [3.2021, 12.202]
    assert list(column("1.1987", "1.2015", "2.0012").values) == [1.1987, 1.2015, 2.0012]
    assert list(column("20210203", "20210299").values) == [20210203, 20210299]


def test_frames_of_pandas_and_polars_are_the_same():
    polars = pytest.importorskip("polars")
    formats = {
        "size": Number(",", "."),
        "town": Text(),
        "day": Date("%Y-%m-%d"),
    }
    texts = pd.DataFrame(
        {
            "size": ["1.234,5", "", "3"],
            "town": ["Ulm", None, "Bonn"],
            "day": ["2021-02-03", "2021-03-04", None],
        }
    )
    arrays = texts.assign(
        size=pd.array([1234.5, None, 3], dtype="Float64"),
        town=pd.array(["Ulm", None, "Bonn"], dtype="string"),
        day=pd.to_datetime(texts["day"]),
    )
    frame = polars.DataFrame(
        {
            "day": polars.Series(["2021-02-03", "2021-03-04", None]).str.to_date(),
            "size": [1234.5, None, 3.0],
            "town": ["Ulm", None, "Bonn"],
        }
    )
    columns = TableColumns(formats).fit(texts)
    expected = columns.transform(texts)
    assert expected["size"].tolist()[::2] == [1234.5, 3]
    for other in (arrays, frame):
        pd.testing.assert_frame_equal(columns.transform(other), expected)


def test_what_the_model_does_not_know_is_refused():
    columns = TableColumns({"size": Number()})
    with pytest.raises(InputError, match="has numbers in the table"):
        columns.fit(pd.DataFrame({"size": ["1", "2"]})).transform(pd.DataFrame({"size": ["many"]}))
    with pytest.raises(InputError, match="now it has 'many'"):
        columns.transform(pd.DataFrame({"size": ["1", "many", "2"]}))
    with pytest.raises(InputError, match="no column 'size'"):
        columns.transform(pd.DataFrame({"length": [1.0]}))


@pytest.mark.parametrize("values", [[8102020, 9102020], [8102020.0, None], [True, False]])
@pytest.mark.parametrize("dtype", [None, object])
def test_numbers_are_no_dates(values, dtype):
    columns = TableColumns({"day": Date("%d.%m.%Y")})
    columns.fit(pd.DataFrame({"day": ["08.10.2020", "09.10.2020"]}))
    with pytest.raises(InputError, match=f"has dates in the table .* now it has '{values[0]}"):
        columns.transform(pd.DataFrame({"day": pd.Series(values, dtype=dtype)}))
    given = columns.transform(pd.DataFrame({"day": [np.nan, np.nan]}))
    assert given["day"].isna().all()


def test_missing_codes_of_the_training_table_are_missing_later(tmp_path):
    formats = {"size": Number(), "town": Text()}
    columns = TableColumns(formats, ["-9", "nowhere"])
    texts = pd.DataFrame({"size": ["1.5", "-9"], "town": ["Ulm", "nowhere"]})
    typed_columns = pd.DataFrame({"size": [1.5, -9], "town": ["Ulm", "nowhere"]})
    for table in (texts, typed_columns):
        given = columns.fit(table).transform(table)
        np.testing.assert_array_equal(given["size"], [1.5, np.nan])
        assert given["town"].notna().tolist() == [True, False]
    path = tmp_path / "table.parquet"
    typed_columns.to_parquet(path)
    table = read_table(path, reading=Reading(missing=["-9", "nowhere"]))
    np.testing.assert_array_equal(table["size"], [1.5, np.nan])


# Which columns are used


def features_of(**columns):
    frame = pd.DataFrame({name: list(values) for name, values in columns.items()})
    return sort_features(read_columns(frame.astype(str).astype(object), list(frame), Reading()))


def test_columns_that_are_left_out():
    pytest.importorskip("skrub")
    rng = np.random.default_rng(0)
    size = rng.normal(size=60)
    features = features_of(
        size=size,
        again=size,
        patient_id=np.arange(60) // 3 * 7,
        row=np.arange(60),
        constant=[5] * 60,
        name=[f"x{i}" for i in range(60)],
        heat=[f"{i}.3K" for i in range(60)],
        about=[f"~{i}" for i in range(60)],
        between=[f"{i} - {i + 5} km" for i in range(60)],
        code=[f"{i % 5:03d}" for i in range(60)],
        speech=[f"some free text of {i} words" for i in range(60)],
    )
    left_out = {name: why for why, names in features.left_out.items() for name in names}
    assert left_out == {
        "again": "the same as 'size'",
        "patient_id": "like an identifier, by its name",
        "row": "like an identifier, another value in each row",
        "constant": "constant",
        "name": "like an identifier, text with another value in most rows",
        "heat": "numbers in a form that is not read, such as '0.3K'",
        "about": "numbers in a form that is not read, such as '~0'",
        "between": "numbers in a form that is not read, such as '0 - 5 km'",
    }
    assert "speech" in features.columns
    assert features.columns["code"].format.kind == "text"


@pytest.mark.parametrize(
    ("name", "is_identifier"),
    [
        *[(name, True) for name in ("id", "ID", "Customer ID", "order-Id", "userId", "Patient No")],
        *[(name, True) for name in ("Fall-Nr.", "invoice number")],
        *[(name, False) for name in ("valid", "Covid", "GRID", "size")],
    ],
)
def test_identifiers_are_told_by_their_names(name, is_identifier):
    numbers = 7.0 * np.random.default_rng(0).permutation(60)
    assert (identifier_of(numbers, name) is not None) == is_identifier


def test_without_skrub_dates_and_free_texts_are_left_out_and_how_to_have_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "skrub", None)
    features = features_of(
        size=np.random.default_rng(0).normal(size=60),
        day=pd.date_range("2024-01-31", periods=60),
        speech=[f"some free text of {i} words" for i in range(60)],
    )
    assert list(features.columns) == ["size"]
    assert [list(names) for names in features.left_out.values()] == [["day"], ["speech"]]
    assert all('pip install "metricalign[table]"' in reason for reason in features.left_out)


def test_a_column_of_two_units_is_left_out_with_both_named():
    weights = [f"{n} g" for n in range(59)] + ["1.31 kg"]
    features = features_of(weight=weights, size=np.arange(60) % 7)
    (reason,) = features.left_out
    assert reason.startswith("numbers in g, but for texts such as '1.31 kg'")


@pytest.mark.parametrize(
    ("unit", "text", "read"),
    [
        ("€", "12 €", "€"),
        ("€", "12", "€"),
        ("€", "12 $", "$"),
        ("kg", "12 lbs", "lb"),
        ("", "12 kg", "kg"),
        ("%", "12 %", "%"),
        ("%", "0.12", ""),
    ],
)
def test_another_unit_than_expected_is_another_format(unit, text, read):
    expected = Number(unit=unit)
    column = read_column(pd.Series([text], dtype=object), "x", Reading(), expected)
    assert column.format == Number(unit=read)
    np.testing.assert_array_equal(column.values, [float(text.split()[0])])


def test_another_unit_in_a_dataframe_is_warned_of():
    columns = TableColumns({"price": Number(unit="$")})
    with pytest.warns(UserWarning, match=r"Column 'price' is read as in € \('4 €'\); it was in \$"):
        read = columns.transform(pd.DataFrame({"price": ["4 €", "5 €"]}))
    assert list(read["price"]) == [4, 5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns.transform(pd.DataFrame({"price": ["$4", "5"]}))
        columns.transform(pd.DataFrame({"price": [4.0, np.nan]}))


def test_two_readings_in_a_dataframe_are_refused_in_words_of_python():
    columns = TableColumns({"size": Number(), "day": Date()})
    days = ["2024-01-02", "2024-01-03"]
    doubt = r"column 'size': '1,234' can be 1\.234 or 1234\. Turn its texts into numbers before"
    with pytest.raises(InputError, match=doubt) as caught:
        columns.transform(pd.DataFrame({"size": ["1,234", "7"], "day": days}))
    assert "--" not in str(caught.value)
    with pytest.raises(InputError, match=r"'01/02/2024' can be .* Turn its texts into dates"):
        columns.transform(pd.DataFrame({"size": [1, 2], "day": ["01/02/2024", "03/04/2024"]}))


def test_no_answer_is_missing_in_every_column_and_a_dash_among_numbers_only():
    texts = ["k.A.", "#N/A", "-", "unknown", "7"]
    numbers, words = column(*texts), column(*texts, "many", "few", "none")
    np.testing.assert_array_equal(numbers.values, [np.nan] * 4 + [7])
    assert list(words.values) == [None, None, *texts[2:], "many", "few", "none"]
    assert numbers.no_answers == ["#N/A", "-", "k.A.", "unknown"]
    assert words.no_answers == ["#N/A", "k.A."]
    # Targets too: that of these rows is missing. "-" and "none" are classes.
    target = target_of(["k.A.", "-", "none", "+"] * 10)
    assert set(target.y) == {"-", "none", "+"}
    assert target.is_present.sum() == 30


def test_two_dates_in_several_columns_are_named_together_with_what_other_columns_say():
    frame = pd.DataFrame(
        {
            "born": ["01/02/2024", "03/04/2024"],
            "died": ["05/06/2024", "07/08/2024"],
            "seen": ["31/12/2023", "30/11/2023"],
        },
        dtype=object,
    )
    with pytest.raises(InputError) as caught:
        read_columns(frame, list(frame), Reading())
    assert str(caught.value) == (
        "column 'born': '01/02/2024' can be 2024-02-01 or 2024-01-02. Say which: --dates day-first "
        "or --dates month-first. So it is with 'died'. Elsewhere it is --dates day-first as in "
        "'31/12/2023' in 'seen'."
    )


def test_a_format_is_kept_where_numbers_are_missing():
    german = Number(",")
    read = read_column(pd.Series(["159", "k.A.", "---"], dtype=object), "x", Reading(), german)
    assert read.format == german
    np.testing.assert_array_equal(read.values, [159, np.nan, np.nan])


# Targets


def target_of(values, kind=None, separator=None):
    frame = pd.DataFrame({"y": pd.Series(values, dtype=object)})
    return read_target(frame, ["y"], kind, separator, Reading())


@pytest.mark.parametrize(
    ("values", "kind", "doubt"),
    [
        ([str(i % 3) for i in range(60)], "class", "--kind number"),
        ([str(i % 2) for i in range(60)], "class", ""),
        ([str(i % 28) for i in range(90)], "number", "--kind class"),
        ([str(i % 15) for i in range(75)], "class", "--kind number"),
        ([str(i % 15) for i in range(74)], "number", "--kind class"),  # one has four rows
        ([str(i % 10) for i in range(39)], "class", "--kind number"),
        ([str(i / 8) for i in range(60)], "number", ""),
        (["a", "b"] * 30, "class", ""),
        ([f"{i % 10 + 1}/10" for i in range(60)], "number", "--kind class"),
        ([f"${i % 10 + 1}M" for i in range(60)], "number", "--kind class"),
        ([f"{120 + 10 * (i % 5)}/{70 + 10 * (i % 3)}" for i in range(60)], "class", ""),
        ([f"{i % 60},{i % 7}5" for i in range(60)], "number", ""),
        (["1,2", "3", "2,4", "1"] * 15, "number", "--kind labels"),
    ],
)
def test_kinds_and_doubts(values, kind, doubt):
    target = target_of(values)
    assert target.kind == kind
    assert doubt in target.doubt
    assert bool(doubt) == bool(target.doubt)


def test_label_sets():
    texts = ["drama, comedy", "comedy", "", "NA", "drama,crime"] * 10
    target = target_of(texts)
    assert (target.kind, target.names) == ("labels", ["comedy", "crime", "drama"])
    np.testing.assert_array_equal(target.y[:4], [[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(target.is_present[:5], [True, True, True, False, True])
    lists = [["drama", "comedy"], ["comedy"], [], None, ["drama", "crime"]] * 10
    np.testing.assert_array_equal(target_of(lists).y, target.y)
    given = target_of([text.replace(",", " and") for text in texts], "labels", " and")
    np.testing.assert_array_equal(given.y, target.y)
    in_python = target_of([str(each) for each in lists if each is not None])
    np.testing.assert_array_equal(in_python.y, target.y)
    # Names with a comma are no sets.
    names = [f"Smith{i % 20}, John" for i in range(60)]
    assert target_of(names).kind == "class"


@pytest.mark.parametrize(
    "write",
    [
        lambda number: f"{number / 10:.1f}".replace(".", ","),
        lambda number: f"${number * 10_000:,}",
        lambda number: f"{number * 10_000:,}",
    ],
)
def test_marks_of_numbers_separate_no_labels(write):
    numbers = np.random.default_rng(0).integers(101, 900, 200)
    texts = [write(number) for number in numbers] + ["unknown", "NA"]
    target = target_of(texts)
    assert target.kind == "number"
    np.testing.assert_array_equal(target.is_present, [True] * 200 + [False] * 2)
    np.testing.assert_allclose(target.y / target.y[0], numbers / numbers[0])


def test_small_sets_of_numbers_are_labels_if_asked_for():
    texts = ["1,2", "3", "2,4", "1"] * 10
    assert (target_of(texts).kind, target_of(texts).doubt) == (
        "number",
        "for label sets give --kind labels",
    )
    assert target_of(texts, "labels").names == ["1", "2", "3", "4"]


def test_slashes_of_dates_separate_no_labels():
    with pytest.raises(InputError, match="has dates, such as 1/1/2000"):
        target_of([f"{i % 28 + 1}/{i % 12 + 1}/{2000 + i % 5}" for i in range(100)])


def test_a_stray_text_among_prices_makes_no_label_sets():
    prices = [f"{100 + 7 * n},{n % 5}5 €" for n in range(60)]
    with pytest.raises(InputError, match="has numbers, but for texts such as 'on request'"):
        target_of(["on request", *prices])


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ((0.6, 0.6, -0.2), r"must be at least 0; row 5 has \[ 0.6  0.6 -0.2\], sum 1\."),
        ((0.6, 0.4, 0.01), r"must sum to 1; row 5 has \[0.6  0.4  0.01\], sum 1.01\."),
    ],
)
def test_what_is_wrong_with_shares(last, message):
    rows = [(0.5, 0.5, 0.0), (np.nan, 0.5, 0.5), (0.2, 0.3, 0.5), (0.1, 0.1, 0.8), last]
    frame = pd.DataFrame(rows, columns=list("abc"))
    with pytest.raises(InputError, match=message):
        read_target(frame, list("abc"), "distribution", None, Reading())
    if min(last) >= 0:  # found out, they are numbers, and that is doubted
        target = read_target(frame, list("abc"), None, None, Reading())
        assert target.kind == "numbers"
        assert target.doubt == "if they are shares, divide each row by its sum"


def test_missing_texts_of_label_sets():
    frame = pd.DataFrame({"y": pd.Series(["a, b", "a", "b", "k.A."] * 10, dtype=object)})
    target = read_target(frame, ["y"], None, None, Reading(missing=["k.A."]))
    assert target.names == ["a", "b"]
    assert target.is_present.sum() == 30


def test_targets_of_strings_as_parquet_has_them():
    frame = pd.DataFrame({"y": pd.Series(["a", "b", None] * 10, dtype="string")})
    target = read_target(frame, ["y"], None, None, Reading())
    assert (target.kind, target.is_present.sum()) == ("class", 20)
    frame = pd.DataFrame({"y": pd.Series(["a, b", "b, c", None, "a"] * 10, dtype="string")})
    assert read_target(frame, ["y"], None, None, Reading()).names == ["a", "b", "c"]


def test_names_of_a_file_that_has_none(tmp_path):
    frame = pd.DataFrame({"a": ["x", *["y", "x"] * 10], "b": ["s", *["u", "v", "w", "u"] * 5]})
    path = tmp_path / "table.csv"
    path.write_bytes(written(frame, names=False).content)
    contents = read_contents(path)
    assert not contents.layout.has_names
    assert len(contents.table) == 21
    assert read_contents(path, Layout(has_names=True)).table.shape == (20, 2)
    # A name that is asked for is one.
    assert read_contents(path, wanted=["s"]).layout.has_names


def test_categories_of_parquet_are_no_numbers(tmp_path):
    file = io.BytesIO()
    pd.DataFrame({"kind": pd.Categorical(["1", "2", "1"]), "size": [1, 2, 3]}).to_parquet(file)
    path = tmp_path / "table.parquet"
    path.write_bytes(file.getvalue())
    table = read_table(path)
    assert table["kind"].tolist() == ["1", "2", "1"]
    assert table["size"].tolist() == [1.0, 2.0, 3.0]


def test_bytes_that_are_no_utf8_are_read_as_of_western_europe_and_that_is_said(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("town,price\nKöln,1 €\nUlm,2 €\n".encode("cp1252"))
    contents = read_contents(path)
    assert contents.table["town"].tolist() == ["Köln", "Ulm"]
    assert contents.layout.encoding == "cp1252"
    assert contents.notes == [
        "not UTF-8, so read as cp1252 of Western Europe (--encoding if letters are wrong)"
    ]
    assert read_contents(path, Layout(encoding="latin-1")).notes == []
    # A file like one that was read so already is no news, nor is UTF-8 after it.
    assert read_contents(path, expected=Layout(encoding="cp1252")).notes == []
    path.write_bytes("town,price\nKöln,1 €\n".encode())
    assert read_contents(path, expected=Layout(encoding="cp1252")).layout.encoding == "utf-8-sig"


def _zipped(files):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return written.getvalue()


TEXT = "town;price\nUlm;1,5\nBonn;2,5\n"
# Without a time, nor is there one in what is zipped: workers that collect tests at other seconds
# would give them other names.
GZIPPED = gzip.compress(TEXT.encode(), mtime=0)


@pytest.mark.parametrize("data", [GZIPPED, _zipped({"table.csv": TEXT})], ids=["gzip", "zip"])
def test_compressed_files_are_read_by_their_first_bytes(data, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TEXT)
    expected = read_contents(path)
    path.write_bytes(data)
    found = read_contents(path)
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert (found.layout, found.notes) == (expected.layout, expected.notes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            _zipped({"a.csv": TEXT, "b.csv": TEXT}),
            "has 2 files: 'a.csv', 'b.csv'; expected one table",
        ),
        (_zipped({"[Content_Types].xml": "", "xl/workbook.xml": ""}), "is a spreadsheet; expected"),
        (GZIPPED[:-9], "cannot be unpacked"),
        (_zipped({"table.csv": TEXT})[:40], "cannot be unpacked"),
        (b'[{"town": "Ulm"},\n {"town": "Bonn"}]', "looks like JSON; expected CSV or Parquet"),
        (b'{"town": "Ulm", "price": 1}\n{"town": "Bonn", "price": 2}\n', "looks like JSON"),
        (b'{\n  "town": ["Ulm", "Bonn"]\n}', "looks like JSON"),
        (b"[[1, 2], [3, 4]]", "looks like JSON"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "looks like HTML or XML"),
    ],
)
def test_files_of_other_kinds_are_named(data, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(message)):
        read_contents(path)


def test_brackets_in_names_are_no_json(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("[town],{price}\nUlm,1\nBonn,2\n")
    assert list(read_contents(path).table) == ["[town]", "{price}"]


def test_periods_of_a_dataframe_are_dates():
    months = pd.period_range("2023-11", periods=3, freq="M").to_series().reset_index(drop=True)
    column = read_column(months, "month", Reading())
    assert column.format.kind == "date"
    np.testing.assert_array_equal(column.values, months.dt.to_timestamp().to_numpy())


def test_a_name_that_is_nearly_right_is_named(tmp_path):
    frame = pd.DataFrame({"length": [1.5, 2.0, 4.25, np.nan], "town": ["Ulm"] * 4})
    columns = TableColumns({"length": Number(), "town": Text()}, names=["length", "town"])
    columns.fit(frame)
    path = tmp_path / "new.csv"
    frame.rename(columns={"length": "lenght"}).to_csv(path, index=False)
    with pytest.raises(InputError, match="Did you mean 'lenght'"):
        columns.read_file(path, Layout(), Reading())


def test_durations_are_seconds_and_intervals_categories():
    waits = pd.Series(pd.to_timedelta([90, None, 5400], unit="s"))
    column = read_column(waits, "wait", Reading())
    assert column.format.kind == "number"
    np.testing.assert_array_equal(column.values, [90, np.nan, 5400])
    bins = pd.Series(pd.arrays.IntervalArray.from_breaks([0, 1, 5]))
    column = read_column(bins, "bin", Reading())
    assert column.format.kind == "text"
    assert column.values.tolist() == ["(0, 1]", "(1, 5]"]


@pytest.mark.parametrize(
    ("texts", "separator"),
    [
        (["bus; bike", "bike", "car; bus", "car"] * 10, ";"),
        (["red/blue", "blue", "red/green/blue", ""] * 10, "/"),
        (["1,5", "2,5", "2", "1"] * 10, None),  # decimal commas
        (["12/3/2024", "3/3/2023", "4/12/2023"] * 10, None),
        (["120/80", "95/80", "120/95", "unknown"] * 10, None),
        (["Albany, NY", "Buffalo, NY", "Austin, TX", "Dallas, TX"] * 10, None),  # two in each
        (["one, or more", "never", "always", "once"] * 10 + ["a, b"] * 2, None),
        (["Ulm", "Bonn"] * 20, None),
        ([], None),
    ],
)
def test_sets_among_the_features_are_told(texts, separator):
    assert separator_of_sets(texts) == separator


def test_words_of_a_scale_are_told():
    assert scale_of({"Low", "high", "medium"}) == ["Low", "medium", "high"]
    assert scale_of({"low", "high"}) == scale_of({"low", "high", "green"}) == []


MOODS = ["low", "middle", "high"]


def test_lists_and_ordered_categories_of_parquet(tmp_path):
    frame = pd.DataFrame(
        {
            "genres": [["drama", "crime"], ["comedy"], None, []] * 15,
            "mood": pd.Categorical(["low", "high", None, "middle"] * 15, MOODS, ordered=True),
            "size": np.arange(60) / 7,
        }
    )
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    columns = read_columns(read_contents(path).table, list(frame), Reading())
    assert [column.format.kind for column in columns.values()] == ["set", "rank", "number"]
    assert columns["genres"].values[:4].tolist() == [("crime", "drama"), ("comedy",), None, ()]
    np.testing.assert_array_equal(columns["mood"].values[:4], [0, 2, np.nan, 1])
    features = sort_features(columns)
    assert list(features.columns) == list(frame)
    formats = {name: column.format for name, column in columns.items()}
    table = TableColumns(formats).fit(features.frame)
    assert table.categories_ == {"genres": {"comedy", "crime", "drama"}}
    # Categories may come as texts later, in the order of the training table.
    later = table.transform(frame.assign(mood=frame["mood"].astype(object)))
    np.testing.assert_array_equal(later["mood"], columns["mood"].values)
    for name, value in (("mood", "enormous"), ("genres", "drama, crime")):
        with pytest.raises(InputError, match=f"has (rank|set)s in the table .* it has '{value}'"):
            table.transform(frame.assign(**{name: value}))
    # As targets, ordered categories are classes, or ranks if a number is asked for.
    target = read_target(frame, ["mood"], None, None, Reading())
    assert (target.kind, set(target.y)) == ("class", {"low", "middle", "high"})
    assert "--kind number" in target.doubt
    target = read_target(frame, ["mood"], "number", None, Reading())
    assert target.y[:3].tolist() == [0, 2, 1]
