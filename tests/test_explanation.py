"""Explanations of predictions: sums, changes that are tried, and text that is readable."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import KernelPCA

from metricalign.learners.columns import column_map
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor
from metricalign.predictors.explanation import _probability, _text

OPTIONS = {"n_folds": 2, "random_state": 0}


def frame(n_samples=150):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.normal(10, 3, n_samples),
            "colour": rng.choice(["red", "blue", "green"], n_samples),
            "noise": rng.normal(size=n_samples),
            "rooms": pd.array(rng.integers(1, 6, n_samples), dtype="Int64"),
        }
    )
    X.loc[::11, ["noise", "rooms"]] = None
    return X


def tables():
    X = frame()
    large = (X["size"] > 10).to_numpy()
    red = (X["colour"] == "red").to_numpy()
    classes = np.where(large & ~red, "dear", "cheap")
    yield "classes", MetricNeighborsClassifier(trees=False, **OPTIONS), X, classes
    price = X["size"].to_numpy() + 4 * red
    yield "number", MetricNeighborsRegressor(trees=False, **OPTIONS), X, price
    pairs = zip(large, red, strict=True)
    sets = [{n for n, has in zip(("large", "red"), pair, strict=True) if has} for pair in pairs]
    yield "label sets", MetricNeighborsClassifier(trees=False, **OPTIONS), X, sets
    numbers, target = load_diabetes(return_X_y=True)
    both = np.column_stack([target, target**2])
    yield "several numbers", MetricNeighborsRegressor(**OPTIONS), numbers[:150, :6], both[:150]
    shares = np.stack([large, red, np.ones(len(X))], axis=1) + 0.2
    shares /= shares.sum(axis=1, keepdims=True)
    yield "distribution", MetricNeighborsRegressor(trees=False, **OPTIONS), X, shares
    yield "Euclid", MetricNeighborsClassifier("euclidean", trees=False, **OPTIONS), X, classes


@pytest.fixture(scope="module", params=list(tables()), ids=lambda case: case[0])
def case(request):
    """A fitted predictor, samples that it has not seen, and those that it has."""
    _, model, X, y = request.param
    train = slice(20, None)
    model = clone(model).fit(X[train], y[train])
    return model, X[:20], X[train], y[train]


def test_contributions_add_up_to_the_distances(case):
    model, X_new, X, y = case
    for row in (0, 7):
        found = model.explain(X_new[row : row + 1], n_neighbors=4)
        distances, indices = model.kneighbors(X_new[row : row + 1], n_neighbors=4)
        np.testing.assert_array_equal(found.rows, indices[0])
        assert_allclose(found.distances, distances[0], rtol=1e-4, atol=1e-4)
        assert_allclose(found.contributions.sum(axis=1), found.distances**2, atol=1e-12)
        columns = column_map(model.pipeline_)
        rows = X.iloc[indices[0]] if hasattr(X, "iloc") else X[indices[0]]
        expected = columns.contributions(X_new[row : row + 1], rows)
        assert_allclose(found.contributions, expected, atol=1e-10)
        assert_allclose(found.shares().sum(axis=1), 1)
        for place, target in zip(found.rows, found.targets, strict=True):
            given = y[place]
            assert set(target) == given if isinstance(given, set) else np.all(target == given)


def test_votes_and_correction_add_up_to_the_prediction(case):
    model, X_new, *_ = case
    for row in range(4):
        found = model.explain(X_new[row : row + 1])
        total = found.neighbors_part + found.correction
        if not found.is_class:
            assert_allclose(total, found.prediction)
            continue
        probabilities = model.predict_proba(X_new[row : row + 1])[0]
        if np.ndim(total) == 0:
            probabilities = probabilities[model.classes_ == found.prediction][0]
        assert_allclose(total, probabilities)


def test_shown_and_other_rows_add_up_to_the_votes(case):
    model, X_new, _, y = case
    for n_neighbors in (1, 3, 1000):
        found = model.explain(X_new[:1], n_neighbors)
        given = [y[row] for row in found.rows]
        if isinstance(given[0], set):
            labels = model.labels_
            says = np.array([[label in each for label in labels] for each in given])
        elif found.is_class:
            says = np.array(given) == found.prediction
        else:
            says = np.array(given)
        total = np.tensordot(found.weights, says, 1)
        if found.n_others:
            total = total + found.others_weight * found.others_mean
        assert_allclose(total, found.neighbors_part, rtol=1e-9, atol=1e-9)
        assert_allclose(found.weights.sum() + found.others_weight, 1)
        text = str(found)
        assert (f"{found.n_others} more" in text) == (found.n_others > 0)
        assert "more" not in text if n_neighbors == 1000 else "% " in text
        assert (f"<td>{found.n_others} more</td>" in found._repr_html_()) == (found.n_others > 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("2024-02-03T00:00", "us"), "2024-02-03"),
        (np.datetime64("2024-02-03T04:05:06.7", "ns"), "2024-02-03 04:05:06"),
        (pd.Timestamp("2024-02-03 04:05", tz="UTC"), "2024-02-03 04:05:00+00:00"),
        (np.datetime64("NaT", "us"), "missing"),
        (np.nan, "missing"),
        (1234.5, "1234"),
        ("Köln", "Köln"),
    ],
)
def test_values_are_written_in_short(value, text):
    assert _text(value) == text


def test_labels_are_called_by_their_names():
    X = frame()
    labels = pd.DataFrame({"large": X["size"] > 10, "dear": X["size"] > 12})
    model = MetricNeighborsClassifier(trees=False, **OPTIONS).fit(X, labels)
    largest = X.iloc[[np.argmax(X["size"])]]
    found = model.explain(largest, n_neighbors=2)
    assert found.text_of_prediction() == "{large, dear}"
    text = str(found)
    assert text.startswith("Prediction: {large, dear}\n")
    assert "dear: probability" in text
    assert "  {large, dear}\n" in text  # the targets of the neighbours
    assert "The prediction would be {}" in text or "The prediction would be {large}" in text
    numbers = pd.DataFrame({"one": X["size"], "two": X["size"] ** 2})
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X, numbers)
    text = model.explain(largest).text_of_prediction()
    one, two = model.predict(largest)[0]
    assert text == f"one {one:.4g}, two {two:.4g}"


@pytest.mark.parametrize(("unit", "rounding"), [(1, 0.1), (1e3, 1), (1e6, 1)])
def test_numbers_are_written_without_exponents(unit, rounding):
    X = frame()
    price = unit * (X["size"].to_numpy() + 4 * (X["colour"] == "red") + 100)
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X[1:], price[1:])
    text = str(model.explain(X[:1]))
    assert "e+" not in text
    prediction, votes, correction = re.match(
        r"Prediction: (\S+)\n  (\S+) by votes, (\S+) by correction\n", text
    ).groups()
    assert correction[0] in "+-"
    assert_allclose(float(votes) + float(correction), float(prediction), atol=2 * rounding)


def test_probabilities_are_written_without_exponents():
    texts = [_probability(value, "+") for value in (1e-7, -1e-7, 0.25, -0.5, 1)]
    assert texts == ["+0.000", "+0.000", "+0.250", "-0.500", "+1.000"]


def test_values_are_those_of_the_table(case):
    model, X_new, X, _ = case
    found = model.explain(X_new[3:4])
    for j, name in enumerate(found.columns):
        column = X[name].iloc if hasattr(X, "iloc") else X[:, j]
        for place, row in enumerate(found.rows):
            value, given = found.neighbor_values[j][place], column[row]
            assert (pd.isna(value) and pd.isna(given)) or value == given


def test_change_is_enough_and_no_column_of_it_is_needless(case):
    model, X_new, X, _ = case
    n_found = 0
    for row in range(6):
        sample = X_new[row : row + 1]
        change = model.explain(sample).change
        if change is None:
            continue
        n_found += 1
        before = model._coordinates(sample)

        def predicted(columns, sample=sample, change=change):
            values = dict(zip(change.columns, change.after, strict=True))
            if isinstance(sample, pd.DataFrame):
                return sample.assign(**{name: [values[name]] for name in columns})
            mixed = sample.copy()
            for name in columns:
                mixed[0, int(name[1:])] = values[name]
            return mixed

        other = X.iloc[[change.row]] if hasattr(X, "iloc") else X[[change.row]]
        goal = model._coordinates(other)[0]

        def is_changed(columns, before=before, goal=goal, predicted=predicted):
            after = model._coordinates(predicted(columns))
            return bool(np.all(model._is_changed(after, before, goal)))

        assert is_changed(change.columns)
        after = model.predict(predicted(change.columns))[0]
        assert np.all(after == change.prediction)
        for column in change.columns:
            rest = [name for name in change.columns if name != column]
            assert not rest or not is_changed(rest)
    assert n_found


def test_text_is_readable_and_fits_eighty_columns(case):
    model, X_new, *_ = case
    found = model.explain(X_new[1:2])
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80
    for row in found.rows:
        assert f" {row} " in text
    assert text == repr(found)
    for line in re.findall("apart by (.*)", text):
        shares = [int(share) for share in re.findall(r" (-?\d+)%(?:,|$)", line)]
        assert sum(shares) == pytest.approx(100, abs=1 + len(shares) / 2)
    html = found._repr_html_()
    assert html.count("<tr>") == 2 + len(found.rows) + (found.n_others > 0)


def test_several_numbers_are_written_in_full():
    X = frame()
    price = X["size"] * 3
    numbers = pd.DataFrame({"strength": price, "yield": -2 * price, "duration": price + X["size"]})
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X, numbers)
    found = model.explain(X.iloc[[0]], 2)
    lines = str(found).splitlines()
    by_row = {int(line.split()[0]): line for line in lines if re.match(" +[0-9]+ .*%", line)}
    for row in found.rows:
        named = zip(numbers.columns, numbers.iloc[row], strict=True)
        assert by_row[row].endswith(", ".join(f"{name} {_text(value)}" for name, value in named))
    named = zip(numbers.columns, found.change.prediction, strict=True)
    prediction = ", ".join(f"{name} {_text(value)}" for name, value in named)
    n = lines.index(f"The prediction would be {prediction}")
    assert lines[n + 1] == f"with these values of row {found.change.row}:"


def test_numbers_that_are_names_are_told_from_others():
    X = frame().set_axis(["1", "2", "3", "4"], axis=1)
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X[1:], X["1"][1:])
    lines = str(model.explain(X[:1])).splitlines()
    assert any(re.match(" +apart by column [1-4] ", line) for line in lines)
    assert any(re.match("  column [1-4]: .* in place of ", line) for line in lines)


def test_others_that_cancel_have_no_minus_sign():
    X = np.arange(20.0)[:, None]
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X, X[:, 0])
    found = model.explain([[30.5]], n_neighbors=1)
    names = np.array([letter * 18 for letter in "abcd"])
    # The third and the fourth column do not fit into the line. Together they have -0.1 %.
    found = replace(found, columns=names, contributions=np.array([[0.501, 0.5, 0.0124, -0.0134]]))
    assert "50%, others 0%" in str(found)


def test_one_class_by_one_column():
    """Only the size makes a class, so it is all of the distance that counts and of the change."""
    X = frame(200)
    y = np.where(X["size"] > 10, "large", "small")
    model = MetricNeighborsClassifier(trees=False, **OPTIONS).fit(X, y)
    assert model.feature_importances_[0] > 0.8
    assert model.feature_importances_.sum() == pytest.approx(1)
    sample = X.iloc[[np.argmax(X["size"])]]
    change = model.explain(sample).change
    assert change.columns == ["size"]
    assert change.before == [sample["size"].iloc[0]]
    assert change.after[0] <= 10
    assert change.prediction == "small"
    assert "size" in str(model.explain(sample)).splitlines()[-1]


def test_importances_are_those_of_the_pipeline_and_the_weights():
    X = frame()
    y, weight = X["size"].to_numpy(), np.arange(len(X)) % 3
    model = MetricNeighborsRegressor(trees=False, **OPTIONS).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(len(X)), weight)
    expected = column_map(model.pipeline_).importances(X.iloc[rows])
    assert_allclose(model.feature_importances_, expected, atol=1e-10)


def test_a_sample_in_every_form_and_a_saved_model():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:150, :5]
    model = MetricNeighborsClassifier("euclidean", trees=False, **OPTIONS).fit(X[1:], y[1:150])
    text = str(model.explain(X.iloc[[0]]))
    assert str(model.explain(X.iloc[0])) == text
    assert str(pickle.loads(pickle.dumps(model)).explain(X.iloc[0])) == text
    polars = pytest.importorskip("polars")
    assert str(model.explain(polars.from_pandas(X[:1]))) == text
    from_array = clone(model).fit(X[1:].to_numpy(), y[1:150])
    renamed = str(from_array.explain(X.iloc[0].to_numpy()))
    for number, name in enumerate(X.columns):
        renamed = renamed.replace(f"x{number} ", f"{name} ").replace(f"x{number}:", f"{name}:")
    assert renamed.splitlines()[:4] == text.splitlines()[:4]
    with pytest.raises(ValueError, match="one sample"):
        model.explain(X[:2])


def test_dates_and_texts_are_explained():
    pytest.importorskip("skrub")
    X = frame()
    X["sold"] = pd.date_range("2024-01-01", periods=len(X), freq="5D", tz="Europe/Berlin")
    X["note"] = [f"a thought and {number} more of them" for number in range(len(X))]
    X.loc[3, ["sold", "note"]] = None
    y = X["sold"].dt.month.fillna(1).to_numpy() > 6
    model = MetricNeighborsClassifier(trees=False, **OPTIONS).fit(X[10:], y[10:])
    for row in (3, 5):
        found = model.explain(X.iloc[[row]])
        assert list(found.columns) == list(X.columns)
        distances = model.kneighbors(X.iloc[[row]])[0][0]
        assert_allclose(found.distances, distances, rtol=1e-3, atol=1e-3)


def test_a_metric_that_is_no_sum_over_columns_has_no_explanation():
    X, y = load_diabetes(return_X_y=True)
    model = MetricNeighborsRegressor(KernelPCA(2), trees=False, **OPTIONS).fit(X[:80], y[:80])
    assert not hasattr(model, "feature_importances_")
    with pytest.raises(TypeError, match="sum over columns"):
        model.explain(X[:1])
