"""Pictures by column of a table: explanations and curves."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from metricalign import PSDSVR, DiscriminantAlignment, MetricEnsemble
from metricalign.learners.columns import column_map
from metricalign.plotting import CurvesDisplay, ExplanationDisplay
from metricalign.plotting.curves import ColumnCurve, _curve, _draw_numbers, _durations
from metricalign.plotting.drawing import shortened
from metricalign.predictors import MetricNeighborsClassifier

pytestmark = pytest.mark.usefixtures("agg", "closed_figures")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.normal(size=120),
            "colour": rng.choice(["red", "blue", "green"], 120),
            "open": rng.random(120) < 0.5,
            "noise": rng.normal(size=120),
            "name": pd.Categorical([f"name {number}" for number in range(120)]),
        }
    )
    X.loc[::7, ["size", "colour"]] = None
    return X, (X["size"].fillna(0) > 0) ^ (X["colour"] == "red")


@pytest.fixture(scope="module")
def model(table):
    X, y = table
    learner = MetricEnsemble([DiscriminantAlignment()], random_state=0)
    options = {"trees": False, "n_folds": 2, "random_state": 0}
    return MetricNeighborsClassifier(learner, **options).fit(X[10:], y[10:])


# Explanations


def test_bars_end_at_the_squared_distance(table, model):
    X, _ = table
    display = ExplanationDisplay.from_estimator(model, X[:1], n_neighbors=4, max_columns=2)
    distances, rows = model.kneighbors(X[:1], n_neighbors=4)
    widths = np.array([[bar.get_width() for bar in bars] for bars in display.bars_])
    assert_allclose(widths.sum(axis=0), distances[0] ** 2, rtol=1e-3)
    assert len(display.columns_) == 2
    texts = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert [int(text.split()[1].rstrip(":")) for text in texts] == list(rows[0])
    found = display.explanation
    more = f"\n{found.n_others} more rows have {found.others_weight:.0%} of the votes"
    assert display.ax_.get_title().endswith(more)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend[:2] == list(display.explanation.columns[display.columns_])
    assert legend[2] == "3 others"


def test_underscores_and_dollar_signs_of_a_table_are_drawn():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.iloc[:, :3].set_axis(["_left", "$5-$6", "size"], axis=1)
    model = MetricNeighborsClassifier(trees=False, random_state=0).fit(X, y.map("${}$".format))
    display = ExplanationDisplay.from_estimator(model, X[:1])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(legend) == [r"\$5-\$6", "_left", "size"]
    assert r"\$" in display.ax_.get_title()
    assert all(r": \$" in text.get_text() for text in display.ax_.get_yticklabels())
    with pytest.raises(ValueError, match="max_columns must be an integer of at least 1"):
        display.plot(max_columns=0)


def test_numbers_that_are_names_are_told_from_others():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.iloc[:, :2].set_axis(["14", "size"], axis=1)
    metric = DiscriminantAlignment().fit(X, y)
    titles = [axis.get_title() for axis in CurvesDisplay.from_estimator(metric, X).axes_]
    assert sorted(title.split(": ")[0] for title in titles) == ["column 14", "size"]
    model = MetricNeighborsClassifier(trees=False, random_state=0).fit(X, y)
    display = ExplanationDisplay.from_estimator(model, X[:1])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(legend) == ["column 14", "size"]


def test_legend_of_an_explanation_covers_no_bar(table, model):
    display = ExplanationDisplay.from_estimator(model, table[0][:1])
    display.figure_.canvas.draw()
    frame = display.ax_.get_legend().get_window_extent()
    assert frame.x0 >= display.ax_.get_window_extent().x1


def test_bars_do_not_overlap(table, model):
    display = ExplanationDisplay.from_estimator(model, table[0][3:4])
    for place in range(5):
        bars = [bars[place] for bars in display.bars_]
        ends = sorted((min(b.get_x(), b.get_x() + b.get_width()), abs(b.get_width())) for b in bars)
        for (start, width), (following, _) in pairwise(ends):
            assert start + width <= following + 1e-9


def test_explanation_is_drawn_again_elsewhere(table, model):
    display = ExplanationDisplay.from_estimator(model, table[0].iloc[0])
    axis = Figure().subplots()
    assert display.plot(ax=axis) is display
    assert display.ax_ is axis
    assert display.figure_ is axis.figure


# Curves


def test_heights_are_distances_along_the_axes(table, model):
    X, _ = table
    display = CurvesDisplay.from_estimator(model, X, columns=["size", "colour"])
    metric = column_map(model.pipeline_)
    for curve in display.curves:
        column = list(X.columns).index(curve.name)
        present = X[X[curve.name].notna()]
        (images,) = metric.curves(present, [column])
        heights = {str(v): h for v, h in zip(curve.values, curve.heights, strict=True)}
        found = np.stack([heights[str(value)] for value in present[curve.name]])
        expected, along = pdist(images), pdist(found)
        assert np.all(along <= expected + 1e-9)
        if curve.name == "colour":  # three categories and what is missing: three axes at most
            assert curve.shares.sum() > 0.7
        covered = np.sum(along**2) / np.sum(expected**2)
        assert covered > 0.5
        assert curve.importance == pytest.approx(metric.importances(X)[column])


def test_curve_of_a_linear_metric_is_a_line_with_its_slope():
    X, y = load_wine(return_X_y=True, as_frame=True)
    learner = PSDSVR().fit(X / X.std(), y)
    display = CurvesDisplay.from_estimator(learner, X / X.std(), columns=[3])
    (curve,) = display.curves
    slope = np.linalg.norm(learner.components_[:, 3])
    assert_allclose(
        curve.heights[:, 0] - curve.heights[0, 0], slope * (curve.values - curve.values[0])
    )
    assert_allclose(curve.shares, [1, 0], atol=1e-12)


def test_the_most_important_columns_are_drawn(table, model):
    X, _ = table
    display = CurvesDisplay.from_estimator(model, X, max_columns=2)
    importances = dict(zip(X.columns, column_map(model.pipeline_).importances(X), strict=True))
    del importances["name"]  # texts have no order
    expected = sorted(importances, key=importances.get, reverse=True)[:2]
    assert [curve.name for curve in display.curves] == expected
    assert len(display.axes_) == 2


def test_missing_values_have_a_height_of_their_own(table, model):
    X, _ = table
    display = CurvesDisplay.from_estimator(model, X, columns=["size", "colour", "open"])
    metric = column_map(model.pipeline_)
    for curve, name in zip(display.curves, ["size", "colour", "open"], strict=True):
        assert (curve.heights_of_missing is None) == (not X[name].isna().any())
        assert curve.counts.sum() == X[name].notna().sum()
    texts = [t.get_text() for axis in display.axes_ for t in axis.texts]
    assert texts == ["missing"]
    assert [t.get_text() for t in display.axes_[1].get_xticklabels()][-1] == "missing"
    size = display.curves[0]
    to_missing = np.abs(size.heights - size.heights_of_missing)
    (images,) = metric.curves(X[[True, True] + [False] * 118], [0])
    assert to_missing[np.argmin(np.abs(size.values - X["size"][1])), 0] <= np.linalg.norm(
        images[0] - images[1]
    )


def test_all_panels_have_the_same_scale_and_the_values_are_inside(table, model):
    X, _ = table
    display = CurvesDisplay.from_estimator(model, X, columns=["size", "noise"])
    limits = {axis.get_ylim() for axis in display.axes_}
    assert len(limits) == 1
    low, high = limits.pop()
    for curve in display.curves:
        assert low < curve.heights[:, 0].min()
        assert curve.heights[:, 0].max() < high


def test_legend_of_one_curve_is_inside_the_figure(table, model):
    X, _ = table
    display = CurvesDisplay.from_estimator(model, X, columns=["size"])
    display.plot()
    if not display.figure_.legends:  # its second axis has too little to be drawn
        display.curves[0] = display.curves[0]._replace(shares=np.array([0.8, 0.2]))
        display.plot()
    display.figure_.canvas.draw()
    (legend,) = display.figure_.legends
    frame, figure = legend.get_window_extent(), display.figure_.bbox
    assert figure.x0 <= frame.x0
    assert frame.x1 <= figure.x1
    for axis in display.axes_:
        assert frame.y1 <= axis.get_window_extent().y0


def test_dates_are_points_over_time(table):
    pytest.importorskip("skrub")
    X, y = table
    X = X[["size"]].assign(
        sold=pd.date_range("2024-01-01", periods=120, freq="3D", tz="UTC"),
        late=pd.to_timedelta(np.arange(120), unit="h"),
    )
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(X, y)
    display = CurvesDisplay.from_estimator(model, X, columns=["sold", "late"])
    sold, late = display.curves
    assert sold.values.dtype.kind == "M"
    assert_allclose(late.values / np.timedelta64(1, "h"), np.arange(120))
    display.figure_.canvas.draw()
    points, means = display.axes_[0].lines[:2]
    assert points.get_linestyle() == "None"
    # 120 days, evenly spaced, in 40 parts.
    assert_allclose(means.get_ydata(), points.get_ydata().reshape(40, 3).mean(axis=1))
    assert_allclose(means.get_xdata(), points.get_xdata().reshape(40, 3).mean(axis=1))
    # 119 hours are drawn in days.
    assert display.axes_[1].get_xlabel() == "days"
    assert_allclose(display.axes_[1].lines[0].get_xdata(), np.arange(120) / 24)


@pytest.mark.parametrize(
    ("longest", "unit"), [(90, "seconds"), (7200, "hours"), (7100, "minutes"), (1, "seconds")]
)
def test_durations_are_in_the_largest_unit_of_which_there_are_two(longest, unit):
    numbers, found = _durations(np.array([0, longest]).astype("m8[s]"))
    assert found == unit
    assert numbers[1] * {"seconds": 1, "minutes": 60, "hours": 3600}[unit] == longest


@pytest.mark.parametrize("values", ["numbers", "dates", "categories", "booleans"])
def test_heights_do_not_depend_on_the_sign_of_the_images(values):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 5, 60)
    column = {
        "numbers": numbers.astype(float),
        "dates": np.datetime64("2024-01-01") + numbers,
        "categories": np.array(list("abcde"), dtype=object)[numbers],
        "booleans": numbers > 1,
    }[values]
    images = rng.normal(size=(5, 3))[numbers]
    if values == "booleans":
        images = rng.normal(size=(2, 3))[(numbers > 1).astype(int)]
    one, other = (_curve("x", 1.0, column, sign * images) for sign in (1, -1))
    assert_allclose(one.heights, other.heights, atol=1e-12)
    assert list(one.values) == list(other.values)
    if values in ("numbers", "dates"):
        heights = dict(zip(one.values, one.heights, strict=True))
        rises = np.array([heights[value] for value in column])
        assert np.corrcoef(np.argsort(np.argsort(column, kind="stable")), rises[:, 0])[0, 1] > 0
    else:
        assert one.heights[np.argmax(one.counts), 0] < 0


def test_a_missing_value_is_on_the_side_of_its_curve():
    # A missing value is like the largest one, wherever up is.
    images = np.array([[0.0], [1.0], [2.0], [2.0]])
    for sign in (1, -1):
        curve = _curve("x", 1.0, np.array([1.0, 2.0, 3.0, np.nan]), sign * images)
        assert_allclose(curve.heights_of_missing, curve.heights[-1])


@pytest.mark.parametrize(
    ("names", "cut"),
    [
        (["short", "just as long as this one"], ["short", "just as long as this one"]),
        (["Department of Electronics, North"], ["Depart… North"]),
        (
            ["Department of Food, North", "Department of Toys, North"],
            ["Departme…d, North", "Departme…s, North"],
        ),
        (["the same name, twice", "the same name, twice"], ["the sa… twice"] * 2),
    ],
)
def test_different_names_stay_different_when_they_are_cut(names, cut):
    longest = 24 if names[0] == "short" else 14
    found = shortened(np.array(names, dtype=object), longest)
    assert len(set(found)) == len(set(names))
    assert found == cut


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("days", [0, 0.01, 1, 3, 40, 100, 700, 1000, 1500, 1800, 4000, 40000])
def test_dates_of_any_range_have_few_ticks(days):
    start = np.datetime64("2019-01-31", "s")
    values = start + np.linspace(0, days * 86400, 9).astype("timedelta64[s]")
    curve = ColumnCurve("sold", 1.0, values, np.zeros((9, 2)), np.ones(9), None, np.array([1, 0]))
    figure = Figure()
    axis = figure.subplots()
    _draw_numbers(axis, curve)
    figure.canvas.draw()
    low, high = axis.get_xlim()
    ticks = axis.get_xticks()
    assert 1 <= np.sum((ticks >= low) & (ticks <= high)) <= 7


def test_curves_are_drawn_in_given_axes(table, model):
    X, _ = table
    axes = Figure().subplots(1, 2)
    display = CurvesDisplay.from_estimator(model, X, columns=[0, 3], ax=axes)
    assert list(display.axes_) == list(axes)
    with pytest.raises(ValueError, match="2 axes, one for each panel; got 1"):
        display.plot(ax=axes[0])


def test_what_has_no_curve_is_refused(table, model):
    X, _ = table
    with pytest.raises(ValueError, match="no column 'weight'"):
        CurvesDisplay.from_estimator(model, X, columns=["weight"])
    with pytest.raises(ValueError, match="columns 0 to 4; got 7"):
        CurvesDisplay.from_estimator(model, X, columns=[7])
    with pytest.raises(ValueError, match="'name' has more than 40 texts"):
        CurvesDisplay.from_estimator(model, X, columns=["name"])
    with pytest.raises(ValueError, match="no column to draw a curve along"):
        CurvesDisplay.from_estimator(model, X, columns=[])
    for max_columns in (0, -1, 2.5):
        with pytest.raises(ValueError, match="max_columns must be an integer of at least 1"):
            CurvesDisplay.from_estimator(model, X, max_columns=max_columns)
    numbers, y = load_wine(return_X_y=True)
    with pytest.raises(TypeError, match="sum over columns"):
        CurvesDisplay.from_estimator(make_pipeline(PCA(2), PSDSVR()).fit(numbers, y), numbers)


def test_ordered_categories_keep_their_order_and_an_empty_set_has_a_name():
    rng = np.random.default_rng(0)
    order = ["poor", "fair", "good", "excellent"]
    rank = rng.choice(4, 240, p=[0.2, 0.2, 0.2, 0.4])
    rating = pd.Categorical(np.array(order)[rank], order, ordered=True)
    tags = [[[], ["new"], ["new", "sale"]][n] for n in rng.integers(3, size=240)]
    X = pd.DataFrame({"rating": rating, "tags": tags})
    y = rank + np.array([len(members) for members in tags])
    model = MetricNeighborsClassifier(trees=False, n_folds=2, random_state=0).fit(X, y > 2)
    curves = CurvesDisplay.from_estimator(model, X, columns=["rating", "tags"]).curves
    assert list(curves[0].values) == order
    assert np.all(np.diff(curves[0].heights[:, 0]) > 0)
    assert set(curves[1].values) == {"{}", "new", "new, sale"}


def test_many_categories_and_long_tails_are_shortened():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"city": rng.choice([f"city of {n}" for n in range(30)], 600), "gain": rng.pareto(1, 600)}
    )
    y = X["gain"] > 1
    learner = MetricEnsemble([DiscriminantAlignment()]).fit(X, y)
    display = CurvesDisplay.from_estimator(learner, X, columns=["city", "gain"])
    assert len(display.axes_[0].get_xticklabels()) == 10
    assert display.axes_[1].get_xlim()[1] < X["gain"].max()
    assert len(display.curves[0].values) == 30
