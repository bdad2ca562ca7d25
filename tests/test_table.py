"""Tables as people have them: dates and texts, and targets as sets, tables and distributions."""

import datetime
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from metricalign import PSDSVR
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.features.contents import is_free_text
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

N_SAMPLES = 160
WORDS = {"coffee": ["roast", "bean", "espresso"], "tea": ["leaf", "green", "oolong"]}


def simple_table(n_samples=N_SAMPLES):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.normal(10, 3, n_samples),
            "colour": rng.choice(["red", "blue", "green"], n_samples),
            "grade": pd.Categorical(rng.choice(["low", "high"], n_samples), ["low", "high"]),
            "open": rng.random(n_samples) < 0.5,
            "rooms": pd.array(rng.integers(1, 5, n_samples), dtype="Int64"),
        }
    )
    for place, name in enumerate(table.columns):
        if name != "open":
            table.loc[place::17, name] = None
    return table


def messy_table(n_samples=N_SAMPLES):
    """With dates in three forms, a duration and a text, of which the text and a date matter."""
    rng = np.random.default_rng(1)
    table = simple_table(n_samples)
    subjects = rng.choice(list(WORDS), n_samples)
    days = rng.integers(0, 700, n_samples)
    start = datetime.datetime(2024, 1, 1)
    table["sold"] = [start + datetime.timedelta(days=int(day), hours=3) for day in days]
    table["review"] = [
        " ".join(rng.choice(WORDS[subject], 4)) + f" {number}"
        for number, subject in enumerate(subjects)
    ]
    table["delivery"] = pd.to_timedelta(rng.integers(1, 90, n_samples), unit="h")
    table["built"] = [datetime.date(2000, 1, 1) + datetime.timedelta(int(d)) for d in days[::-1]]
    table["seen"] = table["sold"].dt.strftime("%Y-%m-%d")
    table.loc[::13, ["sold", "review", "delivery", "built", "seen"]] = None
    return table, subjects, table["sold"].fillna(start).dt.month.to_numpy()


def in_library(table, library):
    if library == "pandas":
        return table
    return pytest.importorskip("polars").from_pandas(table)


def test_the_other_library_than_in_fit_is_refused_in_plain_words():
    pytest.importorskip("skrub")
    table = messy_table(60)[0]
    table = table.drop(columns=["delivery", "built"])
    encoder = DateTextEncoder().fit(table)
    with pytest.raises(TypeError, match=r"a DataFrame of pandas, as in fit.*of polars"):
        encoder.transform(in_library(table, "polars"))
    encoder.transform(in_library(table, "polars").to_pandas())


# Dates and texts


@parametrize_with_checks([DateTextEncoder()])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_without_dates_and_texts_needs_nothing(library, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skrub", None)
    table = in_library(simple_table(), library)
    encoder = DateTextEncoder().fit(table)
    assert encoder.transform(table) is table
    assert encoder.vectorizer_ is None
    assert list(encoder.get_feature_names_out()) == list(table.columns)
    y = np.where(simple_table()["size"].fillna(10) > 10, "large", "small")
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(table, y)
    assert model.score(table, y) > 0.9


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pd.date_range("2024-01-01", periods=60), "dates"),
        ([datetime.date(2024, 1, 1)] * 30 + [None] * 30, "dates"),
        (pd.to_timedelta(np.arange(60), unit="h"), "dates"),
        (pd.period_range("2020-01", periods=60, freq="M"), "dates"),
        ([f"thought {number}" for number in range(60)], "free text"),
    ],
    ids=["datetime", "date", "duration", "period", "text"],
)
def test_what_needs_skrub_says_so(column, what, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skrub", None)
    table = pd.DataFrame({"size": np.arange(60.0), "note": column})
    with pytest.raises(ImportError, match=rf"'note' of X has {what}.*table.*\(.*skrub"):
        MetricNeighborsClassifier().fit(table, np.arange(60) % 2)


@pytest.mark.parametrize(
    "column",
    [
        [f"value {number % 40}" for number in range(80)],  # few values
        [f"a town named {number % 40}" for number in range(80)],  # each shared by two rows
        [f"a town named {number}" for number in range(10)],  # too few
        pd.arrays.IntervalArray.from_breaks(range(81)),
        ["usual"] * 41 + [f"rare {number}" for number in range(39)],  # most have one
        [f"city {number % 50}" for number in range(250)],  # each shared by five rows
        pd.Categorical([f"thought {number}" for number in range(80)]),  # a category by its type
        [number % 7 if number % 2 else None for number in range(80)],  # objects, but numbers
    ],
    ids=[
        *("few", "pairs", "too few", "intervals"),
        *("mostly one", "shared", "category", "numbers"),
    ],
)
def test_what_is_no_free_text_stays(column):
    table = pd.DataFrame({"size": np.resize([3.0, 1.0], len(column)), "city": column})
    assert DateTextEncoder().fit(table).encoded_columns_ == []


@pytest.mark.parametrize("n_texts", [11, 40])
def test_sentences_that_all_differ_are_free_texts_in_small_tables_too(n_texts):
    assert is_free_text([f"it was {number} bad" for number in range(n_texts)] + [None] * 50)
    assert not is_free_text([f"name {number}" for number in range(n_texts)])


def test_a_period_is_encoded_as_its_start():
    pytest.importorskip("skrub")
    months = pd.period_range("2023-11", periods=30, freq="M")
    table = pd.DataFrame({"size": np.arange(30.0) % 7, "month": months})
    table.loc[2, "month"] = pd.NaT
    starts = table.assign(month=months.to_timestamp())
    starts.loc[2, "month"] = pd.NaT
    encoder = DateTextEncoder()
    pd.testing.assert_frame_equal(encoder.fit_transform(table), encoder.fit_transform(starts))
    y = table["size"]
    model = MetricNeighborsRegressor(trees=False, n_folds=2, random_state=0).fit(table, y)
    same = clone(model).fit(starts, y)
    # With a period and with NaT, as a table of one row and as a row of a table.
    for row in (table.iloc[[0]], table.iloc[[2]], table.iloc[5]):
        start = starts.loc[row.index] if row.ndim == 2 else starts.iloc[5]
        assert str(model.explain(row)).count("month") == str(same.explain(start)).count("month") > 0


@pytest.mark.parametrize("time", ["timestamp", "timestamp of a zone", "duration", "date"])
def test_dates_that_pandas_keeps_by_arrow(time):
    pytest.importorskip("skrub")
    arrow = pytest.importorskip("pyarrow")
    kind = {
        "timestamp": arrow.timestamp("us"),
        "timestamp of a zone": arrow.timestamp("us", "Europe/Berlin"),
        "duration": arrow.duration("us"),
        "date": arrow.date32(),
    }[time]
    seconds = 86_400 * np.arange(30) * (1 if time == "date" else 1.3)
    moments = pd.Series(pd.to_datetime(seconds, unit="s").round("us"), index=np.arange(30)[::-1])
    moments = moments - moments.iloc[3] if time == "duration" else moments
    if time == "timestamp of a zone":
        moments = moments.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin").copy()
    moments.iloc[2] = pd.NaT
    table = pd.DataFrame({"size": np.arange(30.0) % 7, "when": moments}, index=moments.index)
    encoder = DateTextEncoder()
    expected = encoder.fit_transform(table)
    found = encoder.fit_transform(table.assign(when=moments.astype(pd.ArrowDtype(kind))))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("of_text", "of_list"), [("string", "list_"), ("large_string", "large_list")]
)
def test_numbers_texts_and_lists_that_pandas_keeps_by_arrow(of_text, of_list):
    pytest.importorskip("skrub")
    arrow = pytest.importorskip("pyarrow")
    text = getattr(arrow, of_text)()
    rng = np.random.default_rng(0)
    words = ["bean", "leaf", "oolong", "roast"]
    table = pd.DataFrame(
        {
            "size": rng.normal(size=60),
            "width": rng.normal(size=60).astype(np.float32),
            "text": [" ".join(rng.choice(words, 6)) for _ in range(60)],
            "set": [", ".join(rng.permutation(words)[: 1 + row % 3]) for row in range(60)],
            "list": [rng.permutation(words)[: 1 + row % 2].tolist() for row in range(60)],
        }
    )
    table.loc[3, ["size", "text", "set"]] = None
    types = {
        "size": arrow.float64(),
        "width": arrow.float32(),
        "text": text,
        "set": text,
        "list": getattr(arrow, of_list)(text),
    }
    by_arrow = table.astype({name: pd.ArrowDtype(kind) for name, kind in types.items()})
    expected, found = DateTextEncoder().fit(table), DateTextEncoder().fit(by_arrow)
    assert found.encoded_columns_ == ["text", "set", "list"]
    assert found.ranges_ == expected.ranges_
    assert list(found.ranges_) == ["size", "width"]
    np.testing.assert_allclose(
        found.transform(by_arrow).astype(float), expected.transform(table).astype(float)
    )


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_output_that_is_configured_for_all_transformers_changes_no_encoding(output):
    pytest.importorskip("skrub")
    pytest.importorskip("polars")
    table = messy_table()[0]
    expected = DateTextEncoder().set_output(transform="default").fit_transform(table)
    with config_context(transform_output=output):
        found = DateTextEncoder().set_output(transform="default").fit_transform(table)
    pd.testing.assert_frame_equal(found, expected)


def test_intervals_are_categories():
    bins = pd.arrays.IntervalArray.from_breaks([0, 1, 5])[np.arange(60) % 2]
    table = pd.DataFrame({"bin": bins, "noise": np.arange(60.0) % 7})
    y = np.arange(60) % 2
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(table, y)
    assert model.score(table, y) == 1


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dates_and_texts_become_numbers_beside_the_other_columns(library):
    pytest.importorskip("skrub")
    table, *_ = messy_table()
    given = in_library(table, library)
    encoder = DateTextEncoder().fit(given)
    assert encoder.encoded_columns_ == ["sold", "review", "delivery", "built", "seen"]
    encoded = encoder.transform(given)
    assert type(encoded) is type(given)
    names = list(encoder.get_feature_names_out())
    assert names == list(encoded.columns)
    assert sorted(np.concatenate(encoder.blocks_)) == list(range(encoded.shape[1]))
    blocks = dict(zip(table.columns, encoder.blocks_, strict=True))
    for name, block in blocks.items():
        assert all(names[place].split(": ")[0] == name for place in block)
    assert len(blocks["review"]) == 30
    year, weekday = np.asarray(encoded["sold: year"]), np.asarray(encoded["sold: weekday"])
    known = table["sold"].notna().to_numpy()
    np.testing.assert_array_equal(year[known], table["sold"].dt.year[known])
    np.testing.assert_array_equal(weekday[known], table["sold"].dt.day_of_week[known] + 1)
    assert np.isnan(year[~known].astype(float)).all()
    lengths = np.asarray(encoded["delivery"], dtype=float)[known]
    units = lengths / table["delivery"][known].dt.total_seconds()  # which differ by skrub's release
    np.testing.assert_allclose(units, units.iloc[0], rtol=1e-6)
    months = [None if pd.isna(day) else day.month for day in table["built"]]
    np.testing.assert_array_equal(
        np.asarray(encoded["built: month"])[known], np.array(months, dtype=object)[known]
    )
    for name in ("size", "colour", "grade", "open", "rooms"):
        assert list(encoded[name]) == list(given[name]) or encoded[name].equals(given[name])
    assert PiecewiseLinearEncoder().fit_transform(encoded).shape[0] == N_SAMPLES


def test_rows_that_fit_has_not_seen_are_encoded_by_themselves():
    pytest.importorskip("skrub")
    table, *_ = messy_table()
    encoder = DateTextEncoder().fit(table[:120])
    rest = encoder.transform(table[120:])
    pd.testing.assert_frame_equal(rest[5:6], encoder.transform(table[125:126]))
    loaded = pickle.loads(pickle.dumps(encoder))
    pd.testing.assert_frame_equal(loaded.transform(table[120:]), rest)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("row", range(60), "another value in each row"),
        ("key", [f"k{number}" for number in range(30)] * 2, None),
        ("key", [f"k{number}" for number in range(35)] + ["k1"] * 25, "another value in most"),
        ("customer_id", [number * 7 % 20 for number in range(60)], "by its name"),
        ("age", [number * 7 % 20 for number in range(60)], None),
        ("size", [number * 7 % 59 / 8 for number in range(60)], None),
        ("rating", [f"{number * 7 % 30 / 10}/10" for number in range(60)], "written as texts"),
        (
            "price",
            [f"${n * 7 % 30},{500 + n % 30}" for n in range(60)],
            "written as",
        ),
        ("size", [*(f"{n * 7 % 30}" for n in range(55)), *["many"] * 5], "such as 'many'"),
        ("code", [f"{number * 7 % 30:03d}" for number in range(60)], None),
        ("grade", [f"{number % 5}" for number in range(60)], None),
        ("pressure", [f"{110 + number % 11}/{70 + number % 2}" for number in range(60)], None),
    ],
)
def test_columns_that_a_person_may_not_mean_are_named(library, name, column, message):
    table = in_library(pd.DataFrame({"width": np.resize([3.0, 1.0], 60), name: column}), library)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = DateTextEncoder().fit(table)
    texts = [str(each.message) for each in caught]
    if message is None:
        assert texts == []
    else:
        assert len(texts) == 1
        verb = "has" if "texts" in texts[0] else "is"
        assert texts[0].startswith(f"Column {name!r} of X {verb} ")
        assert message in texts[0]
    assert len(encoder.blocks_[1]) >= 1  # it is used


# Sets and orders


FILMS = [{"drama", "crime"}, {"comedy"}, set(), None, {"comedy", "drama"}, {"western"}]


def films(make, n_samples=240):
    """A column of sets, of which many have a member that no other has."""
    column = [None if film is None else make(film) for film in FILMS * (n_samples // 6)]
    for place in range(23, n_samples, 6):
        column[place] = make({"western", f"rare {place}"})
    return column


@pytest.mark.parametrize(
    ("library", "form"),
    [
        *(("pandas", form) for form in ("texts", "lists", "sets", "arrays")),
        *(("polars", form) for form in ("texts", "lists")),
    ],
)
def test_sets_become_indicators_of_their_members(library, form):
    makes = {"texts": lambda film: "; ".join(sorted(film)), "lists": sorted, "sets": set}
    column = films(makes.get(form, lambda film: np.array(sorted(film), dtype=object)))
    table = pd.DataFrame({"genres": pd.Series(column, dtype=object), "size": np.arange(240) % 7})
    if library == "polars":
        table = pytest.importorskip("polars").DataFrame(
            {"genres": column, "size": table["size"].to_numpy()}
        )
    encoder = DateTextEncoder().fit(table)
    assert encoder.members_ == {"genres": ["comedy", "crime", "drama", "western"]}
    assert encoder.separators_ == {"genres": ";" if form == "texts" else None}
    names = ["size", *(f"genres: {member}" for member in encoder.members_["genres"])]
    encoded = encoder.transform(table)
    assert list(encoder.get_feature_names_out()) == list(encoded.columns) == names
    expected = [[0, 1, 1, 0], [1, 0, 0, 0], [0] * 4, [np.nan] * 4, [1, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(np.asarray(encoded)[:6, 1:].astype(float), expected)
    assert [list(block) for block in encoder.blocks_] == [[1, 2, 3, 4], [0]]


def test_predictions_and_explanations_of_sets():
    column = films(sorted)
    table = pd.DataFrame({"genres": column, "noise": np.arange(240) * 7 % 11})
    y = np.array(["drama" in (film or ()) for film in column])
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(table, y)
    assert model.score(table, y) > 0.95
    assert model.feature_importances_[0] > 0.8
    explanation = model.explain(table.iloc[[0]])
    assert explanation.change.columns == ["genres"]
    assert "{crime, drama}" in str(explanation)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    with pytest.raises(ValueError, match=r"'genres' of X had sets in fit.* and has 3 now"):
        model.predict(table.assign(genres=3))


@pytest.mark.parametrize("lists", [[[0.5, 1.0]] * 40, [np.zeros(2)] * 40])
def test_lists_of_numbers_are_refused_with_the_way_to_have_columns(lists):
    table = pd.DataFrame({"size": np.arange(40.0) % 7, "vector": lists})
    with pytest.raises(TypeError, match=r"'vector' of X has lists") as caught:
        MetricNeighborsRegressor().fit(table, table["size"])
    advice = str(caught.value).rpartition(". ")[2].partition(" makes")[0]
    assert eval(advice, {"numpy": np, "X": table}).shape == (40, 2)


LIKERT = ["strongly disagree", "disagree", "agree", "strongly agree"]


def test_ordered_categories_are_ranks_and_others_are_not():
    answers = np.resize(np.array([*LIKERT, None, "agree"], dtype=object), 120)
    table = pd.DataFrame(
        {
            "size": np.arange(120.0) % 7,
            "answer": pd.Categorical(answers, LIKERT, ordered=True),
            "colour": pd.Categorical(np.resize(["red", "blue"], 120)),
        }
    )
    encoder = DateTextEncoder().fit(table)
    assert encoder.orders_ == {"answer": LIKERT}
    encoded = encoder.transform(table)
    assert list(encoded.columns) == list(table.columns)
    np.testing.assert_array_equal(encoded["answer"][:6], [0, 1, 2, 3, np.nan, 2])
    assert list(encoded["colour"]) == list(table["colour"])
    # The order is that of fit, however the categories come later.
    for column in (answers, pd.Categorical(answers)):
        again = encoder.transform(table.assign(answer=column))
        pd.testing.assert_frame_equal(again, encoded)
    with pytest.raises(ValueError, match="'answer' of X has 'maybe', which is not among its order"):
        encoder.transform(table.assign(answer="maybe"))
    # Euclid's distance is that of the ranks.
    model = MetricNeighborsRegressor("euclidean", trees=False).fit(table, np.arange(120) % 5)
    ranks = model.pipeline_.transform(table)[:4, 1]
    np.testing.assert_allclose(np.diff(ranks), ranks[1] - ranks[0])


def test_a_target_that_is_ordered():
    X = np.random.default_rng(0).normal(size=(80, 3))
    y = pd.Series(pd.cut(X[:, 0], [-9, -1, 0, 1, 9], labels=LIKERT))
    assert y.dtype.ordered
    learner = PSDSVR().fit(X, y)
    assert learner.relation_.kind == "continuous"
    np.testing.assert_allclose(learner.matrix_, PSDSVR().fit(X, y.cat.codes + 0.5).matrix_)
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(X, y)
    assert set(model.predict(X)) <= set(LIKERT)
    with pytest.raises(ValueError, match=r"y has ordered categories.*y\.cat\.codes"):
        MetricNeighborsRegressor().fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        PSDSVR().fit(X, y.where(X[:, 1] > 0))


# Another unit


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("factor", "n_rows", "is_named"),
    [(1, 60, False), (1000, 60, True), (-1, 60, True), (1.2, 1, False), (5, 1, True)],
)
def test_numbers_of_another_unit_are_named(factor, n_rows, is_named, library):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"length": rng.uniform(1, 2, 60), "colour": ["red", "blue"] * 30})
    y = table["length"].to_numpy()
    later = table.assign(length=factor * table["length"]).nlargest(n_rows, "length")
    table, later = in_library(table, library), in_library(later, library)
    for model in (
        MetricNeighborsRegressor(trees=False, n_folds=2, random_state=0),
        make_pipeline(DateTextEncoder(), PiecewiseLinearEncoder(), PSDSVR(), KNeighborsRegressor()),
    ):
        model.fit(table, y)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.predict(later)
        texts = [str(each.message) for each in caught]
        if is_named:
            assert texts == [
                f"Most numbers of column 'length' are outside {y.min():g} to {y.max():g}, the "
                "range that was learned from. Is the unit the same?"
            ]
        else:
            assert texts == []


def test_two_columns_of_one_name_are_refused():
    table = pd.DataFrame(np.zeros((5, 2)), columns=["a", "a"])
    with pytest.raises(ValueError, match="two columns named 'a'"):
        DateTextEncoder().fit(table)


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["low", "high"] * 30, ["low", "high"], ordered=True),
        ["drama, comedy", "drama", "comedy"] * 20,
        pd.date_range("2024-01-01", periods=60),
    ],
    ids=["order", "sets", "dates"],
)
def test_numbers_as_names_are_refused_where_columns_are_encoded(column):
    table = pd.DataFrame({0: np.arange(60) % 7, 1: column})
    with pytest.raises(ValueError, match=r"such as 1, and names .* such as 0\. Make them strings"):
        DateTextEncoder().fit(table)
    plain = table[[0]].assign(**{"1": np.arange(60) % 5}).set_axis([0, 1], axis=1)
    assert DateTextEncoder().fit_transform(plain) is plain


def test_an_array_in_place_of_a_table_with_dates_is_refused():
    pytest.importorskip("skrub")
    table, *_ = messy_table()
    encoder = DateTextEncoder().fit(table)
    with (
        pytest.warns(UserWarning, match="feature names"),
        pytest.raises(TypeError, match="DataFrame of pandas, as in fit"),
    ):
        encoder.transform(table.to_numpy())


FORMS = {
    "dates": pd.date_range("2024-01-01", periods=60),
    "texts": [f"some words here {number} and {number * 7 % 13}" for number in range(60)],
    "durations": pd.to_timedelta(range(60), unit="h"),
    "sets": ["bus; bike", "bike", "car; bus"] * 20,
    "lists": [["bus", "bike"], ["bike"], []] * 20,
    "ordered": pd.Categorical(["low", "high"] * 30, ["low", "high"], ordered=True),
    "numbers": np.arange(60) / 7,
}


@pytest.mark.parametrize("was", [form for form in FORMS if form != "numbers"])
@pytest.mark.parametrize("now", FORMS)
def test_columns_of_another_form_than_in_fit_are_refused(was, now):
    pytest.importorskip("skrub")
    table = pd.DataFrame({"size": np.arange(60) % 5, "column": FORMS[was]})
    encoder = DateTextEncoder().fit(table)
    later = table.assign(column=FORMS[now])
    if now == was or (now == "lists" and was == "sets"):
        encoder.transform(later)
    elif {was, now} <= {"sets", "texts", "ordered"} and was != "ordered":
        # All are texts; of sets a member is to be known.
        if was == "sets":
            with pytest.warns(UserWarning, match="'column' of X has none of its members in fit"):
                encoder.transform(later)
    else:
        with pytest.raises(ValueError, match=r"Column 'column' of X ha[ds] .*Turn"):
            encoder.transform(later)
    encoder.transform(table.assign(column=None))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("mark", ["/", "."])
def test_texts_of_which_day_and_month_cannot_be_told_apart_are_refused(mark, library):
    pytest.importorskip("skrub")
    days = [f"{n % 12 + 1:02d}{mark}{n % 11 + 1:02d}{mark}2024" for n in range(132)]
    table = in_library(pd.DataFrame({"size": np.arange(132) % 5, "day": days}), library)
    with pytest.raises(ValueError, match=r"'day' of X has dates such as '01.01.2024', whose day"):
        DateTextEncoder().fit(table)
    later = [f"{n % 28 + 1:02d}{mark}{n % 11 + 1:02d}{mark}2024" for n in range(132)]
    table = in_library(pd.DataFrame({"size": np.arange(132) % 5, "day": later}), library)
    encoded = DateTextEncoder().fit_transform(table)
    assert list(encoded["day: day"][:28]) == list(range(1, 29))


def test_dates_as_texts_keep_their_form():
    pytest.importorskip("skrub")
    days = pd.Series(pd.date_range("2024-01-01", periods=60))
    table = pd.DataFrame({"size": np.arange(60) % 5, "day": days.dt.strftime("%Y-%m-%d")})
    encoder = DateTextEncoder().fit(table)
    table.loc[3, "day"] = None
    assert encoder.transform(table)["day: month"].isna().sum() == 1
    with pytest.raises(
        ValueError, match=r"'day' of X has '01\.02\.2024', which is not of the form"
    ):
        encoder.transform(table.assign(day="01.02.2024"))


# Three lines


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_three_lines_on_a_messy_table(library):
    pytest.importorskip("skrub")
    table, subjects, months = messy_table()
    table = in_library(table, library)
    train, test = np.arange(N_SAMPLES) % 4 != 0, np.arange(N_SAMPLES) % 4 == 0
    known = test & (np.arange(N_SAMPLES) % 13 != 0)
    rows = table.filter if library == "polars" else table.__getitem__
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0)
    model.fit(rows(train), subjects[train])
    assert model.score(rows(known), subjects[known]) > 0.9
    regressor = MetricNeighborsRegressor(trees=False, n_folds=2, random_state=0)
    regressor.fit(rows(train), months[train])
    assert regressor.score(rows(known), months[known]) > 0.9
    # One pipeline from the table to what neighbours are searched among.
    images = model.pipeline_.transform(table)
    distances, indices = model.kneighbors(rows(known), n_neighbors=3)
    places = np.flatnonzero(train)[indices]
    expected = np.linalg.norm(images[known][:, None] - images[places], axis=2)
    np.testing.assert_allclose(distances, expected, rtol=1e-3, atol=1e-4)
    loaded = pickle.loads(pickle.dumps(model.pipeline_))
    np.testing.assert_array_equal(loaded.transform(table), images)


def test_a_metric_of_ones_own_gets_the_table_as_it_is():
    table = simple_table()

    class Sizes(PiecewiseLinearEncoder):
        def fit(self, X, y=None, sample_weight=None):
            assert list(X.columns) == list(table.columns)
            return super().fit(X[["size"]], sample_weight=sample_weight)

        def transform(self, X):
            return super().transform(X[["size"]])

    y = table["size"].fillna(10) > 10
    model = MetricNeighborsClassifier(Sizes(), trees=False, n_folds=2).fit(table, y)
    assert len(model.pipeline_) == 1
    assert model.score(table, y) > 0.9


# Targets


@pytest.fixture(scope="module")
def labelled():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    return X, X > 0.3


LABELS = np.array(["action", "comedy", "drama"], dtype=object)


def sets_of(indicators, make):
    return [make(LABELS[row].tolist()) for row in indicators]


@pytest.mark.parametrize("kind", ["sets", "lists", "series", "array", "polars"])
def test_sets_of_labels_are_the_columns_of_labels(kind, labelled):
    X, indicators = labelled
    y = sets_of(indicators, set if kind == "sets" else list)
    if kind == "series":
        y = pd.Series(y, index=range(7, 127))
    elif kind == "array":
        y = np.array([*y, None], dtype=object)[:-1]
    elif kind == "polars":
        y = pytest.importorskip("polars").Series(y)
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0)
    expected = clone(model).fit(X, indicators.astype(int))
    found = clone(model).fit(X, y)
    assert list(found.labels_) == list(LABELS)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.predict(X) == sets_of(expected.predict(X).astype(bool), tuple)
    assert found.score(X, y) == expected.score(X, indicators.astype(int))
    assert () in found.predict(X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("dtype", [bool, int])
def test_a_table_of_labels(library, dtype, labelled):
    X, indicators = labelled
    y = in_library(pd.DataFrame(indicators.astype(dtype), columns=list(LABELS)), library)
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(X, y)
    assert list(model.labels_) == list(LABELS)
    expected = clone(model).fit(X, indicators.astype(int)).predict(X)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.score(X, y) == np.mean((expected == indicators).all(axis=1))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_of_one_column_is_the_column(library, labelled):
    X, indicators = labelled
    y = np.where(indicators[:, 0], "yes", "no")
    frame = in_library(pd.DataFrame({"answer": y}), library)
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    for given in (frame, frame["answer"]):
        np.testing.assert_array_equal(clone(model).fit(X, given).predict(X), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_of_distributions(library, labelled):
    X, _ = labelled
    shares = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    y = in_library(pd.DataFrame(shares, columns=list(LABELS)), library)
    model = MetricNeighborsRegressor(trees=False, n_folds=2, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X).sum(axis=1), 1)


def test_lists_of_numbers_are_a_table_and_sets_of_numbers_are_sets(labelled):
    X, indicators = labelled
    model = MetricNeighborsClassifier("euclidean", trees=False, n_folds=2)
    table = indicators.astype(int).tolist()
    assert clone(model).fit(X, table).predict(X).shape == (120, 3)
    years = [{1990 + place for place in np.flatnonzero(row)} for row in indicators]
    assert list(clone(model).fit(X, years).labels_) == [1990, 1991, 1992]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([{"a", 1}, {"b"}], "all strings or all numbers"),
        ([{"a"}, None], "no set may be missing"),
        ([{"a"}, set()], "two are needed"),
    ],
)
def test_sets_that_cannot_be_used_are_refused(y, message, labelled):
    with pytest.raises(ValueError, match=message):
        MetricNeighborsClassifier().fit(labelled[0], y * 60)


def test_an_empty_text_as_a_label_is_named_with_the_remedy(labelled):
    X, _ = labelled
    y = [text.split(",") for text in ["a,b", "b", "", "a"] * 30]
    model = MetricNeighborsClassifier("euclidean", trees=False, n_folds=2)
    with pytest.warns(UserWarning, match="y has the empty text '' as a label") as caught:
        assert list(clone(model).fit(X, y).labels_) == ["", "a", "b"]
    remedy = re.search(r"\[\[.*\]", str(caught[0].message))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert list(clone(model).fit(X, eval(remedy, {"y": y})).labels_) == ["a", "b"]


@pytest.mark.parametrize(
    ("library", "drop"), [("pandas", "X.drop(columns=['no'])"), ("polars", "X.drop('no')")]
)
def test_what_identifies_rows_is_named_with_the_remedy(library, drop):
    frames = pytest.importorskip(library)
    X = frames.DataFrame({"no": list(range(30)), "size": [1.5, 2.5, 3.0] * 10})
    with pytest.warns(UserWarning, match="'no' of X is like an identifier") as caught:
        DateTextEncoder().fit(X)
    assert str(caught[0].message).endswith(f"; {drop} leaves it out.")
    assert list(eval(drop).columns) == ["size"]
    texts = [f"{number},5" for number in range(30)]
    with pytest.warns(UserWarning, match="'price' of X has numbers written as texts. They"):
        DateTextEncoder().fit(frames.DataFrame({"price": texts}))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_of_nothing_but_texts_is_encoded(library):
    pytest.importorskip("skrub")
    frames = pytest.importorskip(library)
    words = [f"about number {number} of them" for number in range(60)]
    alone = DateTextEncoder().fit_transform(frames.DataFrame({"note": words}))
    beside = frames.DataFrame({"note": words, "x": [0.5, 1.5] * 30})
    beside = DateTextEncoder().fit_transform(beside)
    np.testing.assert_allclose(alone.to_numpy(), beside.to_numpy()[:, 1:])
    assert len(alone) == 60


@pytest.mark.parametrize("form", ["{:02}.{:02}.2024", "2024-{1:02}-{0:02}"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_texts_among_dates_are_named_with_the_remedy(library, form):
    pytest.importorskip("skrub")
    frames = pytest.importorskip(library)
    texts = [form.format(day, month) for month in (1, 2, 3) for day in range(1, 29)]
    X = frames.DataFrame({"since": ["-", *texts, "-"]})
    with pytest.warns(UserWarning, match="'since' of X has dates, but for texts such as '-'") as w:
        as_texts = DateTextEncoder().fit_transform(X)
    assert as_texts.shape[1] > 10
    # The remedy works: the column is read, without a warning, as dates.
    remedy = re.search(r"X\['since'\]\.replace\(.*\)", str(w[0].message))[0]
    X = frames.DataFrame({"since": eval(remedy)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        dates = DateTextEncoder().fit(X)
    assert "since: weekday" in dates.get_feature_names_out()
    assert frames.DataFrame(dates.transform(X))["since: day"][1] == 1
