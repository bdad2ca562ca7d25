"""Distances by column: against sums over pairs of columns, Shapley's formula and closed forms."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler, TargetEncoder

from metricalign import (
    PSDSVR,
    DiscriminantAlignment,
    MetricEnsemble,
    MetricNeighborsClassifier,
    RelationAlignment,
)
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.base import MetricLearner
from metricalign.learners.columns import column_map


def table(n_samples=80):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n_samples),
            "job": rng.choice(["clerk", "cook", "pilot"], n_samples),
            "constant": np.ones(n_samples),
            "height": rng.normal(size=n_samples),
        }
    )
    X.loc[::9, ["age", "job"]] = None
    return X, np.where(X["age"].fillna(40) > 40, "old", "young")


def metrics():
    X, y = table()
    numbers, target = load_diabetes(return_X_y=True, as_frame=True)
    numbers, target = numbers[:80], target[:80]
    yield "ensemble", MetricEnsemble([DiscriminantAlignment()], random_state=0).fit(X, y), X
    yield "Euclid", PiecewiseLinearEncoder(n_bins=1).fit(X), X
    pipeline = make_pipeline(DateTextEncoder(), MetricEnsemble([PSDSVR()], random_state=0))
    yield "pipeline", pipeline.fit(X, y), X
    yield "scaler", make_pipeline(StandardScaler(), PSDSVR()).fit(numbers, target), numbers
    encoded = make_pipeline(PiecewiseLinearEncoder(n_bins=3), "passthrough", PSDSVR())
    yield "encoder", encoded.fit(numbers.to_numpy(), target), numbers.to_numpy()
    diagonal = RelationAlignment(cone="diagonal").fit(numbers, target)
    yield "diagonal", diagonal, numbers


METRICS = list(metrics())
every_metric = pytest.mark.parametrize(
    ("metric", "X"), [m[1:] for m in METRICS], ids=[m[0] for m in METRICS]
)


@every_metric
def test_contributions_add_up_to_the_squared_distance(metric, X):
    columns = column_map(metric)
    images = metric.transform(X)
    images = np.asarray(images.toarray() if hasattr(images, "toarray") else images)
    parts = columns.contributions(X[:20], X[20:40])
    expected = np.sum((images[:20] - images[20:40]) ** 2, axis=1)
    assert_allclose(parts.sum(axis=1), expected, atol=1e-10 * expected.max())
    assert parts.shape == (20, X.shape[1])
    assert_allclose(columns.contributions(X[:1], X[20:40]).sum(axis=1).shape, 20)


@every_metric
def test_curves_add_up_to_the_images(metric, X):
    columns = column_map(metric)
    curves = columns.curves(X, range(X.shape[1]))
    images = metric.transform(X)
    images = np.asarray(images.toarray() if hasattr(images, "toarray") else images)
    difference = sum(curves) - images
    assert_allclose(difference, np.broadcast_to(difference[0], difference.shape), atol=1e-8)


def test_contribution_is_shapleys_value_of_the_squared_distance():
    X, y = table()
    metric = MetricEnsemble([DiscriminantAlignment()], random_state=0).fit(X, y)
    columns = column_map(metric)
    moves = np.stack(columns.curves(X[:2], range(4)))
    moves = moves[:, 0] - moves[:, 1]

    def worth(members):
        return np.sum(moves[list(members)].sum(axis=0) ** 2)

    values = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        for place, column in enumerate(order):
            values[column] += worth(order[: place + 1]) - worth(order[:place])
    found = columns.contributions(X[:1], X[1:2])[0]
    assert_allclose(found, values / len(orders), atol=1e-12)


@every_metric
def test_importances_are_shares_of_all_pairs(metric, X):
    columns = column_map(metric)
    left, right = np.array(list(combinations(range(len(X)), 2))).T
    rows = X.iloc if hasattr(X, "iloc") else X
    sums = columns.contributions(rows[left], rows[right]).sum(axis=0)
    assert_allclose(columns.importances(X), sums / sums.sum(), atol=1e-10)


def test_importances_of_uncorrelated_columns_are_their_weights():
    X = np.array(np.meshgrid([-1.0, 1.0], [-2.0, 2.0], [0.0, 1.0])).reshape(3, -1).T
    metric = MetricLearner()
    metric.components_, metric.n_features_in_ = np.diag([3.0, 0.5, 0.0]), 3
    assert_allclose(column_map(metric).importances(X), [0.9, 0.1, 0.0])


def test_a_column_that_makes_up_for_others_is_negative():
    # The metric sees x0 - x1 only, and x1 is half of x0: what x1 adds is subtracted.
    X = np.outer(np.arange(5.0), [1.0, 0.5])
    metric = MetricLearner()
    metric.components_, metric.n_features_in_ = np.array([[1.0, -1.0]]), 2
    columns = column_map(metric)
    assert_allclose(columns.importances(X), [2.0, -1.0])
    assert_allclose(columns.contributions(X[:1], X[4:]), [[8.0, -4.0]])


def test_weight_two_is_the_sample_twice():
    X, y = table()
    columns = column_map(MetricEnsemble([DiscriminantAlignment()], random_state=0).fit(X, y))
    weight = np.arange(len(X)) % 3
    expected = columns.importances(X.iloc[np.repeat(np.arange(len(X)), weight)])
    assert_allclose(columns.importances(X, weight), expected)


def test_a_date_is_one_column():
    pytest.importorskip("skrub")
    X, y = table()
    X["born"] = pd.date_range("1990-01-01", periods=len(X), freq="9D")
    model = make_pipeline(DateTextEncoder(), MetricEnsemble([DiscriminantAlignment()])).fit(X, y)
    columns = column_map(model)
    assert list(columns.names) == list(X.columns)
    parts = columns.contributions(X[:1], X[1:])
    images = model.transform(X)
    assert_allclose(parts.sum(axis=1), np.sum((images[0] - images[1:]) ** 2, axis=1), atol=1e-10)


def test_a_pipeline_in_a_pipeline():
    X, y = load_wine(return_X_y=True)
    flat = make_pipeline(StandardScaler(), PSDSVR()).fit(X, y)
    nested = make_pipeline("passthrough", flat)
    expected = column_map(flat).contributions(X[:1], X[1:])
    np.testing.assert_array_equal(column_map(nested).contributions(X[:1], X[1:]), expected)
    model = MetricNeighborsClassifier(flat, trees=False).fit(X, y)
    assert "x12" in str(model.explain(X[0]))
    assert_allclose(model.feature_importances_, column_map(flat).importances(X), rtol=1e-6)


def test_names():
    X, y = load_wine(return_X_y=True)
    assert list(column_map(PSDSVR().fit(X, y)).names) == [f"x{number}" for number in range(13)]


def test_other_metrics_are_refused():
    X, y = load_wine(return_X_y=True)
    with pytest.raises(TypeError, match=r"sum over columns.*PCA is none"):
        column_map(make_pipeline(PCA(2), PSDSVR()).fit(X, y))
    # It keeps the names of columns, but a value depends on those of the other columns.
    with pytest.raises(TypeError, match="Normalizer is none"):
        column_map(make_pipeline(Normalizer(), PSDSVR()).fit(X, y))
    # It makes a column for each of the three classes.
    with pytest.raises(TypeError, match="TargetEncoder is none"):
        column_map(make_pipeline(TargetEncoder(), PSDSVR()).fit(X, y))
    with pytest.raises(NotFittedError):
        column_map(PSDSVR())
