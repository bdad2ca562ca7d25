"""Predictors by neighbours: against scikit-learn's neighbours, formulas and known answers."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metricalign import PSDSVR, DiscriminantAlignment, GradientAlignment, MetricEnsemble
from metricalign.features import PiecewiseLinearEncoder
from metricalign.pairs import NearestPairs, RandomPairs, UnionPairs
from metricalign.pairs.anchors import systematic_sample
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor
from metricalign.predictors.pool import LogarithmicPool, fit_pool
from metricalign.predictors.regressions import (
    EncodedRidge,
    GaussianKernelRidge,
    KernelRidge,
    SmoothKernelRidge,
    mean_distance,
)
from metricalign.predictors.search import NeighborSearch
from metricalign.predictors.trees import Boosting, RandomizedTrees
from metricalign.predictors.votes import (
    Vote,
    mean_of_copies,
    mean_vote,
    share_of_copies,
    simplex_weights,
)


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return X[:200, :6], y[:200]


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    return X[::2, :6], y[::2]


def euclid(predictor, **options):
    return predictor("euclidean", trees=False, random_state=0, **options)


# Search


@pytest.mark.parametrize("n_samples", [1, 7, 50, 1000, 5001])
@pytest.mark.parametrize("n_neighbors", [1, 5, 60])
def test_search_is_exact(n_samples, n_neighbors):
    rng = np.random.default_rng(n_samples)
    # Far from the origin, as float32 squares would lose the differences.
    samples = (100 + rng.normal(size=(n_samples, 4))).astype(np.float32)
    queries = (100 + rng.normal(size=(30, 4))).astype(np.float32)
    number = min(n_neighbors, n_samples)
    search = NearestNeighbors(n_neighbors=number, algorithm="kd_tree").fit(samples)
    expected, rows = search.kneighbors(queries)
    distances, indices = NeighborSearch(samples, n_queries=len(queries)).nearest(
        queries, n_neighbors
    )
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    assert np.mean(indices == rows) > 0.99


def test_images_of_a_metric_of_ones_own_may_be_far_from_the_origin(classes):
    """As those of unix seconds are, where single precision cannot tell them apart."""
    X, y = classes
    X = np.round(X * 2.0**8) / 2.0**8  # which the offset leaves exact
    near, far = (
        MetricNeighborsClassifier(GradientAlignment(), trees=False, random_state=0)
        .fit(X + offset, y)
        .predict_proba(X + offset)
        for offset in (0.0, 2.0**30)
    )
    np.testing.assert_allclose(far, near, atol=1e-4)


def test_search_is_exact_beside_a_sample_that_is_far_out():
    """Its square takes all digits of single precision, and moves the mean."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    X[0] = 1e8
    queries = rng.normal(size=(50, 3))
    model = MetricNeighborsRegressor(FunctionTransformer(), trees=False, random_state=0)
    distances, indices = model.fit(X, X[:, 1]).kneighbors(queries)
    expected, rows = NearestNeighbors(algorithm="kd_tree").fit(X).kneighbors(queries)
    np.testing.assert_array_equal(indices, rows)
    np.testing.assert_allclose(distances, expected, rtol=1e-4)


@pytest.mark.parametrize("n_samples", [40, 900])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_images_that_are_not_finite_are_refused(n_samples, value):
    """In single precision too; the search for their neighbours would not end."""

    def with_value(X):
        return np.where(X.max() == X, value, X)

    X = np.random.default_rng(0).normal(size=(n_samples, 2))
    model = MetricNeighborsRegressor(FunctionTransformer(with_value), trees=False)
    with pytest.raises(ValueError, match="metric gives images with NaN, infinity or a value too"):
        model.fit(X, X[:, 0])
    plain = MetricNeighborsRegressor(FunctionTransformer(), trees=False).fit(X, X[:, 0])
    plain.metric_.set_params(func=with_value)
    with pytest.raises(ValueError, match="metric gives images with NaN, infinity or a value too"):
        plain.predict(X)


def test_search_finds_the_sample_itself():
    samples = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32)
    distances, indices = NeighborSearch(samples).nearest(samples, 2)
    np.testing.assert_array_equal(indices[:, 0], np.arange(3000))
    np.testing.assert_array_equal(distances[:, 0], 0)


def test_search_among_identical_samples():
    search = NeighborSearch(np.ones((500, 3), np.float32), n_queries=2)
    distances, indices = search.nearest(np.ones((2, 3), np.float32), 4)
    np.testing.assert_array_equal(distances, 0)
    assert all(len(set(row)) == 4 for row in indices)


def test_nothing_is_left_of_the_last_fit(classes):
    """Importances of columns are not there for a metric that is no sum over columns."""
    X, y = classes
    model = euclid(MetricNeighborsClassifier).fit(X, y)
    assert model.feature_importances_.sum() == pytest.approx(1)
    model.set_params(metric=PCA(2)).fit(X, y)
    assert not hasattr(model, "feature_importances_")


def test_the_last_step_of_a_pipeline_has_the_weights(classes):
    X, y = classes
    weight = np.where(X[:, 1] > np.median(X[:, 1]), 5.0, 1.0)
    alone, last = (
        MetricNeighborsClassifier(metric, trees=False, random_state=0)
        .fit(X, y, weight)
        .predict_proba(X)
        for metric in (
            DiscriminantAlignment(),
            make_pipeline(FunctionTransformer(), DiscriminantAlignment()),
        )
    )
    np.testing.assert_allclose(last, alone)


@pytest.mark.parametrize(
    ("predictor", "y", "message"),
    [
        (MetricNeighborsClassifier, ["a", "b", None] * 10, "10 of 30 samples, the first in row 2"),
        (MetricNeighborsClassifier, [[0, 1], [1, np.nan]] * 15, "15 of 30 .* the first in row 1"),
        (MetricNeighborsRegressor, [1.0, 2.0, np.nan] * 10, "10 of 30 samples, the first in row 2"),
        (MetricNeighborsRegressor, ["1.5", "2", "x"] * 10, "such as 'x' in row 2; expected num"),
        (MetricNeighborsRegressor, [datetime.date(2024, 1, 1)] * 30, "y has dates or durations"),
        (MetricNeighborsRegressor, pd.date_range("2024-01-01", periods=30), "y has dates"),
        (MetricNeighborsClassifier, pd.Series(pd.to_timedelta(range(30))), "y has dates"),
        (MetricNeighborsClassifier, pd.period_range("2024-01", periods=30, freq="M"), "has dates"),
        (MetricNeighborsRegressor, [{"a", "b"}, {"b"}] * 15, "Classifier predicts sets of labels"),
        (MetricNeighborsRegressor, pd.Series([["a"], []] * 15), "Classifier predicts sets of lab"),
        (MetricNeighborsRegressor, [[1, 2], [3]] * 15, "a set of labels for each .* as many for"),
    ],
    ids=[
        *("no class", "no label", "no number", "strings", "dates", "times", "durations", "periods"),
        *("sets", "series of lists", "ragged"),
    ],
)
def test_targets_that_cannot_be_predicted_are_named(predictor, y, message):
    if isinstance(y, list) and not isinstance(y[0], datetime.date | list | set):
        y = np.array(y, dtype=object if None in y else None)
    with pytest.raises(ValueError, match=message):
        predictor().fit(np.arange(30.0)[:, None], y)


DAYS = pd.date_range("2024-01-30", periods=30)


def in_polars(values):
    return pytest.importorskip("polars").Series(values.to_numpy())


FORMS_OF_DAYS = {
    "index": lambda: DAYS,
    "series": lambda: pd.Series(DAYS),
    "dates": lambda: [day.date() for day in DAYS],
    "periods": lambda: DAYS.to_period("D"),
    "durations": lambda: pd.Series(DAYS - DAYS[0]),
    "polars": lambda: in_polars(DAYS),
    "durations of polars": lambda: in_polars(DAYS - DAYS[0]),
}


@pytest.mark.parametrize("form", FORMS_OF_DAYS)
def test_the_advice_for_dates_makes_numbers_of_them(form):
    y = FORMS_OF_DAYS[form]()
    with pytest.raises(ValueError, match="y has dates or durations") as caught:
        MetricNeighborsRegressor().fit(np.arange(30.0)[:, None], y)
    advice = str(caught.value).removesuffix(".").rpartition("first: ")[2]
    np.testing.assert_array_equal(eval(advice, {"pandas": pd, "y": y}), np.arange(30))


@pytest.mark.parametrize(("factor", "is_named"), [(1, False), (1.01, True), (100, True)])
def test_shares_that_do_not_sum_to_one_are_named(factor, is_named):
    X = np.random.default_rng(0).uniform(size=(60, 3))
    y = factor * X / X.sum(axis=1, keepdims=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MetricNeighborsRegressor("euclidean", trees=False).fit(X, y)
    texts = [str(each.message) for each in caught]
    assert len(texts) == is_named
    assert all(f"sum to between {factor:g} and {factor:g}" in text for text in texts)
    assert all("Divide each row by its sum if they are the shares" in text for text in texts)


@pytest.mark.parametrize("n_samples", [0, 1])
@pytest.mark.parametrize("is_frame", [False, True])
def test_too_few_samples_are_refused_by_the_name_that_was_called(n_samples, is_frame):
    X = np.zeros((n_samples, 2))
    X = pd.DataFrame(X, columns=["a", "b"]) if is_frame else X
    for estimator in (MetricNeighborsClassifier, MetricNeighborsRegressor, MetricEnsemble):
        name = estimator.__name__
        with pytest.raises(ValueError, match=rf"{n_samples} sample\(s\).* 2 is required by {name}"):
            estimator().fit(X, np.zeros(n_samples))


@pytest.mark.parametrize("estimator", [MetricNeighborsRegressor(trees=False), MetricEnsemble()])
def test_names_that_are_missing_are_said_once_and_by_the_name_that_was_called(estimator):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    estimator = clone(estimator).fit(X, X["a"])
    with pytest.warns(UserWarning, match="feature names") as caught:
        getattr(estimator, "predict", getattr(estimator, "transform", None))(X.to_numpy())
    (text,) = (str(warning.message) for warning in caught)
    assert f"but {type(estimator).__name__} was fitted with feature names" in text


def test_no_rows_are_refused():
    X = np.arange(30.0)[:, None]
    model = MetricNeighborsRegressor("euclidean", trees=False).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="X has no rows"):
        model.predict(X[:0])


def test_metric_of_ones_own_knows_whether_integers_are_classes_or_numbers():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(25), 4)
    X = np.column_stack([y / 25, rng.normal(size=(100, 2))])
    classifier = MetricNeighborsClassifier(GradientAlignment(n_rounds=1), trees=False).fit(X, y)
    assert classifier.metric_.relation_.name == "class"
    ratings = y // 5
    learner = make_pipeline(StandardScaler(), GradientAlignment(n_rounds=1))
    regressor = MetricNeighborsRegressor(learner, trees=False).fit(X, ratings)
    assert regressor.metric_[-1].relation_.name == "absolute_difference"
    assert learner[-1].relation == "auto"
    said = GradientAlignment(n_rounds=1, relation="class")
    regressor = MetricNeighborsRegressor(said, trees=False).fit(X, ratings)
    assert regressor.metric_.relation_.name == "class"


# The vote


@pytest.mark.parametrize("power", [1, 2])
def test_plain_vote_is_that_of_weighted_neighbors(numbers, power):
    X, y = numbers
    model = euclid(MetricNeighborsRegressor, n_neighbors=20).fit(X[:150], y[:150])
    model.votes_ = [Vote(0.3, power, 0.0)]
    weights = lambda d: np.exp(-((d / (0.3 * model.scale_)) ** power))  # noqa: E731
    expected = make_pipeline(StandardScaler(), KNeighborsRegressor(20, weights=weights))
    expected.fit(X[:150], y[:150])
    np.testing.assert_allclose(model.predict(X[150:]), expected.predict(X[150:]), rtol=1e-4)


def test_plain_vote_for_classes(classes):
    X, y = classes
    model = euclid(MetricNeighborsClassifier, n_neighbors=10).fit(X[::2], y[::2])
    model.votes_, model.pool_ = [Vote(1.0, 1, 0.0)], None
    weights = lambda d: np.exp(-d / model.scale_)  # noqa: E731
    expected = make_pipeline(StandardScaler(), KNeighborsClassifier(10, weights=weights))
    expected.fit(X[::2], y[::2])
    n_samples = len(X[::2])
    frequencies = np.bincount(y[::2]) / n_samples
    mixed = (n_samples * expected.predict_proba(X) + frequencies) / (n_samples + 1)
    np.testing.assert_allclose(model.predict_proba(X), mixed, atol=1e-4)


def test_width_is_in_mean_distances(numbers):
    X, y = numbers
    model = euclid(MetricNeighborsRegressor).fit(X, y)
    Z = StandardScaler().fit_transform(X)
    distances = np.linalg.norm(Z[:, None] - Z, axis=2)
    assert model.scale_ == pytest.approx(distances.sum() / (200 * 199), rel=1e-5)


def test_few_samples_far_from_all_others_hardly_change_the_width():
    images = np.random.default_rng(0).normal(size=(100, 3))
    far = np.vstack([images, [[1e9, 0, 0], [0, -1e9, 0]]])
    assert mean_distance(far) == pytest.approx(mean_distance(images), rel=0.15)


def test_width_is_positive_where_most_samples_are_the_same():
    images = np.zeros((10, 2))
    assert mean_distance(images) == 1
    images[0] = 3, 4
    assert mean_distance(images) == pytest.approx(5 * 9 / 45)


def test_explanation_adds_up(numbers):
    X, y = numbers
    model = MetricNeighborsRegressor(random_state=0, n_neighbors=15).fit(X[:150], y[:150])
    found = model.neighborhood(X[150:])
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    standardized = (y[:150] - y[:150].mean()) / y[:150].std()
    votes = np.sum(found.weights * standardized[found.indices], axis=1)
    np.testing.assert_allclose(found.neighbors_part[:, 0], votes)
    predicted = (found.neighbors_part + found.correction)[:, 0] * y[:150].std() + y[:150].mean()
    np.testing.assert_allclose(model.predict(X[150:]), predicted)
    distances, indices = model.kneighbors(X[150:], n_neighbors=15)
    np.testing.assert_array_equal(indices, found.indices)
    np.testing.assert_array_equal(distances, found.distances)
    images = model.metric_.transform(X)
    expected = np.linalg.norm(images[150:, None] - images[indices], axis=2)
    np.testing.assert_allclose(distances, expected, rtol=1e-3)


def test_whole_correction_of_a_perfect_regression_is_perfect(numbers):
    X, y = numbers
    model = euclid(MetricNeighborsRegressor).fit(X[:150], y[:150])

    class Perfect:
        n_predictions = 1

        def predict(self, images):
            return ((y[150:] - y[:150].mean()) / y[:150].std())[:, None, None]

    model._ridge, model._encoded, model.regression_weights_ = Perfect(), [], np.ones(1)
    model._predicted = model._targets
    plain, half, whole = [], [], []
    for correction, predictions in ((0.0, plain), (0.5, half), (1.0, whole)):
        model.votes_ = [Vote(0.3, 1, correction)]
        predictions.append(model.predict(X[150:]))
    np.testing.assert_allclose(whole[0], y[150:])
    np.testing.assert_allclose(half[0], (plain[0] + whole[0]) / 2)
    # The regressions themselves are right, whatever is said of the neighbours.
    model._predicted = 0 * model._targets
    model.votes_ = [Vote(0.3, 1, 0.5, regression=1.0)]
    np.testing.assert_allclose(model.predict(X[150:]), y[150:])
    model.votes_ = [Vote(0.3, 1, 0.0, regression=0.25)]
    np.testing.assert_allclose(model.predict(X[150:]), 0.75 * plain[0] + 0.25 * y[150:])


# The regressions


def test_kernel_ridge_is_the_minimum_of_its_objective():
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    weight = rng.uniform(0.5, 2, size=40)
    ridge = KernelRidge().fit(images, targets, weight, 0)
    distances = np.linalg.norm(images[:, None] - images, axis=2)
    kernel = np.exp(-distances / (2 * distances.sum() / (40 * 39)))
    centred = targets - np.average(targets, axis=0, weights=weight)
    np.testing.assert_allclose(
        ridge.predict(images)[:, 0] - ridge.mean_, kernel @ ridge.coef_[:, 0], atol=1e-5
    )
    for number, penalty in enumerate((0.003, 0.03, 0.3)):
        coef = ridge.coef_[:, number]
        gradient = kernel @ (weight[:, None] * (kernel @ coef - centred)) + penalty * kernel @ coef
        np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_kernel_ridge_of_landmarks_is_the_minimum_of_its_objective(monkeypatch):
    monkeypatch.setattr("metricalign.predictors.regressions._N_LANDMARKS", 10)
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(80, 3)), rng.normal(size=(80, 2))
    weight = rng.uniform(0.5, 2, size=80)
    ridge = KernelRidge().fit(images, targets, weight, 0)
    distances = [
        np.linalg.norm(z[:, None] - ridge.landmarks_, axis=2) for z in (images, ridge.landmarks_)
    ]
    rows, square = (np.exp(-d / ridge.width_) for d in distances)
    assert square.shape == (10, 10)
    centred = targets - np.average(targets, axis=0, weights=weight)
    for number, penalty in enumerate((0.003, 0.03, 0.3)):
        coef = ridge.coef_[:, number]
        gradient = rows.T @ (weight[:, None] * (rows @ coef - centred)) + penalty * square @ coef
        np.testing.assert_allclose(gradient, 0, atol=1e-7)


@pytest.mark.parametrize("n_folds", [2, 3])
def test_one_pass_gives_the_regressions_of_all_folds(n_folds, monkeypatch):
    monkeypatch.setattr("metricalign.predictors.regressions._N_LANDMARKS", 10)
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(90, 3)), rng.normal(size=(90, 2))
    weight = rng.uniform(0.5, 2, size=90)
    encoder = PiecewiseLinearEncoder().fit(X)
    encoding = encoder.transform(X)
    folds = list(KFold(n_folds, shuffle=True, random_state=0).split(X))
    fitted = EncodedRidge(encoder, SmoothKernelRidge).fit(encoding, targets, weight, folds, 0)
    landmarks, width = fitted.ridge_.landmarks_, fitted.ridge_.width_

    def kernel(samples):
        scaled = np.linalg.norm(samples[:, None] - landmarks, axis=2) / width
        return (1 + scaled) * np.exp(-scaled)

    def predicted(train, test):
        mean = np.average(targets[train], axis=0, weights=weight[train])
        rows, square = kernel(encoding[train]), kernel(landmarks)
        left, right = rows.T @ (weight[train, None] * rows), weight[train, None] * rows
        coef = [
            np.linalg.solve(left + p * square, right.T @ (targets[train] - mean))
            for p in (0.003, 0.03, 0.3)
        ]
        return mean + np.stack([kernel(encoding[test]) @ c for c in coef], axis=1)

    assert len(landmarks) == 10
    for train, test in folds:
        np.testing.assert_allclose(fitted.held_out_[test], predicted(train, test), atol=1e-7)
    everyone = np.arange(90)
    np.testing.assert_allclose(fitted.predict(X), predicted(everyone, everyone), atol=1e-7)


@pytest.mark.parametrize("regression", [RandomizedTrees(1.0), Boosting()])
def test_held_out_predictions_are_of_models_that_have_not_seen_the_sample(regression):
    rng = np.random.default_rng(0)
    table, targets, weight = rng.normal(size=(60, 2)), rng.normal(size=(60, 1)), np.ones(60)
    folds = [
        (np.r_[20:60], np.r_[:20]),
        (np.r_[:20, 40:60], np.r_[20:40]),
        (np.r_[:40], np.r_[40:60]),
    ]
    first = regression.fit(table, targets, weight, folds, 0)
    held_out, predicted = first.held_out_[:20], first.predict(table)
    mean = np.mean([model.predict(table) for model in first.models_], axis=0)
    np.testing.assert_allclose(predicted[:, 0, 0], mean)
    targets[:20] += 100
    np.testing.assert_array_equal(
        regression.fit(table, targets, weight, folds, 0).held_out_[:20], held_out
    )
    assert regression.predict(table)[:20].mean() > 50


def test_boosting_of_classes_is_one_of_each_indicator():
    rng = np.random.default_rng(0)
    table, weight = rng.normal(size=(80, 2)), rng.uniform(0.5, 2, size=80)
    targets = np.eye(3)[np.digitize(table[:, 0], [-0.5, 0.5])]
    folds = [(np.r_[40:80], np.r_[:40]), (np.r_[:40], np.r_[40:80])]
    with config_context(enable_metadata_routing=True):
        fitted = Boosting(3).fit(table, targets, weight, folds, 0)
    options = {"max_leaf_nodes": 8, "min_samples_leaf": 5, "max_iter": 25, "learning_rate": 0.4}
    for train, test in folds:
        for number in range(3):
            model = HistGradientBoostingRegressor(**options, random_state=0)
            model.fit(table[train], targets[train, number], weight[train])
            expected = model.predict(table[test])
            np.testing.assert_array_equal(fitted.held_out_[test, 0, number], expected)


@pytest.mark.parametrize(("n_classes", "n_samples"), [(2, 80), (3, 80), (3, 120), (6, 120)])
def test_few_classes_of_many_samples_are_boosted(n_classes, n_samples, monkeypatch):
    for module in ("base", "trees"):
        monkeypatch.setattr(f"metricalign.predictors.{module}.MANY_SAMPLES", 100)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_samples, 3)), np.arange(n_samples) % n_classes
    model = MetricNeighborsClassifier(random_state=0).fit(X, y)
    is_boosted = n_classes == 2 or (n_classes == 3 and n_samples == 120)
    assert len(model.regression_weights_) == 3 + 3 + 1 + is_boosted
    assert len(model.pool_.weights) == 1 + 1 + 1 + is_boosted
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("ridge", "kernel"),
    [
        # The square root of 3 is in scikit-learn's width of this kernel, and 1 / 2 in the other.
        (SmoothKernelRidge, lambda width: Matern(np.sqrt(3) * width, nu=1.5)),
        (GaussianKernelRidge, lambda width: RBF(width / np.sqrt(2))),
    ],
)
def test_ridge_of_the_encoding_is_that_of_gaussian_processes(ridge, kernel):
    rng = np.random.default_rng(0)
    X, targets = rng.normal(size=(45, 3)), rng.normal(size=(45, 2))
    weight = rng.uniform(0.5, 2, size=45)
    encoder = PiecewiseLinearEncoder().fit(X[:40])
    encoding = encoder.transform(X)
    arguments = targets[:40], weight[:40], [(np.r_[10:40], np.r_[:10])], 0
    ridge = EncodedRidge(encoder, ridge).fit(encoding[:40], *arguments)
    mean = np.average(targets[:40], axis=0, weights=weight[:40])
    kernel = kernel(mean_distance(encoding[:40]))
    for number, penalty in enumerate((0.003, 0.03, 0.3)):
        process = GaussianProcessRegressor(kernel, alpha=penalty / weight[:40], optimizer=None)
        expected = process.fit(encoding[:40], targets[:40] - mean).predict(encoding)
        predicted = ridge.predict(X)[:, number]
        np.testing.assert_allclose(predicted - mean, expected, atol=1e-8)


def test_ridge_of_the_columns_predicts_samples_of_a_fold_without_their_targets():
    rng = np.random.default_rng(0)
    encoding, targets, weight = rng.normal(size=(30, 2)), rng.normal(size=(30, 1)), np.ones(30)
    folds = [(np.r_[15:30], np.r_[:15]), (np.r_[:15], np.r_[15:30])]
    ridge = EncodedRidge(None, SmoothKernelRidge).fit(encoding, targets, weight, folds, 0)
    held_out = ridge.held_out_.copy()
    targets[:15] += 100
    ridge.fit(encoding, targets, weight, folds, 0)
    np.testing.assert_array_equal(ridge.held_out_[:15], held_out[:15])
    assert ridge.held_out_[15:].mean() > 50


def test_of_many_samples_some_stand_for_all_in_the_regressions(monkeypatch):
    for name, number in {"_N_LANDMARKS": 10, "_MOST_OF_RIDGE": 30}.items():
        monkeypatch.setattr(f"metricalign.predictors.regressions.{name}", number)
    monkeypatch.setattr("metricalign.predictors.trees.MOST_OF_TREES", 30)
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(90, 3)), rng.normal(size=(90, 1))
    third = np.r_[1:90:3]
    everyone = KernelRidge().fit(images, targets, np.ones(90), 0)
    some = KernelRidge().fit(images[third], targets[third], np.full(30, 3.0), 0)
    np.testing.assert_array_equal(everyone.coef_, some.coef_)
    folds = [(np.r_[45:90], np.r_[:45]), (np.r_[:45], np.r_[45:90])]
    encoded = EncodedRidge(None, SmoothKernelRidge).fit(images, targets, np.ones(90), folds, 0)
    folds_of_third = [(np.r_[15:30], np.r_[:15]), (np.r_[:15], np.r_[15:30])]
    arguments = targets[third], np.full(30, 3.0), folds_of_third, 0
    of_third = EncodedRidge(None, SmoothKernelRidge).fit(images[third], *arguments)
    np.testing.assert_allclose(encoded.held_out_[third], of_third.held_out_)
    np.testing.assert_allclose(encoded.predict(images), of_third.predict(images))
    trees = RandomizedTrees(1.0).fit(images, targets, np.ones(90), folds, 0)
    samples = trees.models_[0].estimators_[0].tree_.n_node_samples[0]
    assert samples == 30


def test_samples_that_stand_for_all_have_the_weight_of_all(monkeypatch):
    monkeypatch.setattr("metricalign.predictors.trees.MOST_OF_TREES", 30)
    monkeypatch.setattr("metricalign.predictors.base._MOST_OF_IMPORTANCES", 60)
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(300, 2)) + 0.01 * rng.normal(size=(300, 2))
    # Of the heavy samples only the second column varies, of the others only the first.
    is_heavy = np.arange(300) < 20
    X[is_heavy, 0] /= 100
    X[~is_heavy, 1] /= 100
    weight = np.where(is_heavy, 100.0, 1.0)
    folds = [(np.r_[50:300], np.r_[:50]), (np.r_[:50], np.r_[50:300])]
    trees = RandomizedTrees(1.0).fit(X, X[:, :1], weight, folds, 0)
    for model, (train, _) in zip(trees.models_, folds, strict=True):
        root = model.estimators_[0].tree_.weighted_n_node_samples[0]
        assert root == pytest.approx(weight[train].sum())
    # Standardised columns have equal weighted variances, and so equal shares.
    model = MetricNeighborsRegressor("euclidean", trees=False).fit(X, X[:, 1], weight)
    np.testing.assert_allclose(model.feature_importances_, 0.5, atol=0.05)


def test_a_fold_whose_samples_have_hardly_any_weight(monkeypatch):
    for name, number in {"_N_LANDMARKS": 10, "_MOST_OF_RIDGE": 30}.items():
        monkeypatch.setattr(f"metricalign.predictors.regressions.{name}", number)
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(90, 3)), rng.normal(size=(90, 1))
    weight = np.where(np.arange(90) < 45, 1.0, 1e-9)
    folds = [(np.r_[45:90], np.r_[:45]), (np.r_[:45], np.r_[45:90])]
    encoded = EncodedRidge(None, SmoothKernelRidge).fit(images, targets, weight, folds, 0)
    # No sample stands for those of the second half.
    of_half = SmoothKernelRidge().fit(images[:45], targets[:45], weight[:45], 0)
    np.testing.assert_allclose(encoded.held_out_[45:], of_half.predict(images[45:]), rtol=1e-6)
    rows, of_rows = systematic_sample(weight, 30)
    mean = np.average(targets[rows], axis=0, weights=of_rows)
    np.testing.assert_allclose(encoded.held_out_[:45], np.broadcast_to(mean, (45, 3, 1)))


@pytest.mark.parametrize("predictor", [MetricNeighborsClassifier, MetricNeighborsRegressor])
def test_encoding_by_parts_changes_rounding_only(predictor, monkeypatch):
    monkeypatch.setattr("metricalign.predictors.regressions._N_LANDMARKS", 50)
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    X["e"] = pd.Categorical(np.array(["x", "y", "z"])[rng.integers(3, size=300)])
    y = np.floor(np.abs(X["a"]) + (X["e"] == "x")).clip(upper=2).to_numpy()
    expected = predictor(trees=False, random_state=0).fit(X[:200], y[:200])
    for name in (
        "metricalign.predictors.encoded._ENTRIES_KEPT",
        "metricalign.predictors.encoded.ENTRIES_OF_BATCH",
        "metricalign.learners.ensemble.ENTRIES_OF_BATCH",
    ):
        monkeypatch.setattr(name, 1000)
    model = predictor(trees=False, random_state=0).fit(X[:200], y[:200])
    np.testing.assert_allclose(model._coordinates(X), expected._coordinates(X), atol=1e-5)
    images = model.metric_.transform(X)
    np.testing.assert_allclose(images, expected.metric_.transform(X), atol=1e-9)


def test_weights_of_regressions_find_the_mixture():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(500, 3, 2))
    targets = np.einsum("ijk,j->ik", predicted, [0.3, 0.0, 0.7])
    weight = rng.uniform(1, 2, size=500)
    weights = simplex_weights(predicted, targets, np.zeros(2), weight)
    np.testing.assert_allclose(weights, [0.3, 0.0, 0.7], atol=1e-9)
    # What they leave is for the mean, and they never have more than all.
    mean = np.array([3.0, -2.0])
    weights = simplex_weights(mean + predicted, mean + targets / 2, mean, weight)
    np.testing.assert_allclose(weights, [0.15, 0.0, 0.35], atol=1e-9)
    weights = simplex_weights(predicted, 3 * targets, np.zeros(2), weight)
    np.testing.assert_allclose(weights, [0.3, 0.0, 0.7], atol=1e-9)


def test_regressions_that_do_not_hold_for_new_groups_give_way_to_the_mean():
    """Targets of the groups are noise, which the columns only tell by telling the groups apart."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 20)
    X = rng.normal(size=(20, 4))[groups] + 0.1 * rng.normal(size=(400, 4))
    y = rng.normal(size=20)[groups]
    model = euclid(MetricNeighborsRegressor).fit(X, y, groups=groups)
    assert model.regression_weights_.sum() < 0.1
    of_new_groups = model.predict(rng.normal(size=(200, 4)))
    assert np.abs(of_new_groups - y.mean()).max() < 0.1 * y.std()


# The pool of the vote for classes and the regressions


def probabilities_of(logits):
    shares = np.exp(logits)
    return shares / shares.sum(axis=-1, keepdims=True)


def test_pool_has_the_least_penalised_loss():
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    targets = np.eye(3)[rng.choice(3, size=60, p=[0.6, 0.3, 0.1])]
    signs = np.array([1.5, 1.5, -1.0])[:, None, None]
    probabilities = probabilities_of(signs * targets + rng.normal(size=(3, 60, 3)))
    weight = rng.uniform(0.5, 2, size=60)
    pool = fit_pool(probabilities, targets, weight)
    a, b = cvxpy.Variable(3, nonneg=True), cvxpy.Variable(3)
    logits = sum(a[k] * np.log(probabilities[k]) for k in range(3)) + np.ones((60, 1)) @ b[None]
    losses = cvxpy.log_sum_exp(logits, axis=1) - cvxpy.sum(cvxpy.multiply(targets, logits), axis=1)
    penalty = cvxpy.sum_squares(a - 1 / 3) + cvxpy.sum_squares(b)
    cvxpy.Problem(cvxpy.Minimize(weight @ losses + penalty)).solve(solver="CLARABEL")
    np.testing.assert_allclose(pool.weights, a.value, atol=1e-4)
    np.testing.assert_allclose(pool.offsets, b.value, atol=1e-4)
    # The last prediction says the opposite of what is so.
    assert pool.weights[2] == 0 < min(pool.weights[:2])
    assert pool.offsets.argmin() == targets.sum(axis=0).argmin()


def test_pool_of_independent_predictions_is_their_product_with_the_frequencies():
    """By Bayes' theorem, if each assumes that all classes are equally frequent."""
    rng = np.random.default_rng(0)
    codes = rng.choice(2, size=20_000, p=[0.8, 0.2])
    columns = codes[:, None] + rng.normal(size=(20_000, 2))
    logits = np.stack([np.zeros(columns.T.shape), columns.T - 0.5], axis=-1)
    pool = fit_pool(probabilities_of(logits), np.eye(2)[codes], np.ones(20_000))
    np.testing.assert_allclose(pool.weights, 1, atol=0.06)
    assert pool.offsets[0] - pool.offsets[1] == pytest.approx(np.log(4), abs=0.06)
    expected = probabilities_of(logits.sum(axis=0) + np.log([0.8, 0.2]))
    np.testing.assert_allclose(pool.pooled(probabilities_of(logits)), expected, atol=0.06)


def test_pool_does_not_know_classes_that_no_sample_had():
    rng = np.random.default_rng(0)
    probabilities = probabilities_of(rng.normal(size=(2, 50, 4)))
    targets = np.eye(4)[rng.choice([0, 1, 3], size=50)]
    pool = fit_pool(probabilities, targets, np.ones(50))
    pooled = pool.pooled(probabilities)
    np.testing.assert_array_equal(pooled[:, 2], probabilities[0, :, 2])
    np.testing.assert_allclose(pooled.sum(axis=1), 1)
    # The others are as if there were no such class.
    known = probabilities[..., [0, 1, 3]]
    same = LogarithmicPool(pool.weights, pool.offsets[[0, 1, 3]]).pooled(known)
    others = pooled[:, [0, 1, 3]] / (1 - pooled[:, [2]])
    np.testing.assert_allclose(others, same / same.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("trees", [False, True])
def test_vote_for_classes_is_pooled_with_regressions_on_the_columns(classes, trees):
    X, y = classes
    model = MetricNeighborsClassifier("euclidean", trees=trees, random_state=0).fit(X[::2], y[::2])
    assert not hasattr(MetricNeighborsClassifier(), "pool_")
    assert not hasattr(MetricNeighborsRegressor(), "pool_")
    assert len(model.pool_.weights) == 2 + trees
    assert len(model.pool_.offsets) == 3
    found, pooled = model.neighborhood(X[1::2]), model.predict_proba(X[1::2])
    total = found.neighbors_part + found.correction
    np.testing.assert_allclose(model._probabilities(total), pooled)
    # The prediction of the last regression alone, and the vote alone.
    last = (model._trees or model._encoded)[-1]
    of_last = last.predict(model.table_.transform(X[1::2])).mean(axis=1)
    alone = np.eye(2 + trees)
    model.pool_ = LogarithmicPool(alone[-1], np.zeros(3))
    share = 1 / (1 + len(model.samples_))
    expected = model._probabilities(model._bounded(of_last))
    np.testing.assert_allclose(model.predict_proba(X[1::2]), expected, atol=share)
    model.pool_ = LogarithmicPool(alone[0], np.zeros(3))
    pooled = model.predict_proba(X[1::2])
    model.pool_ = None
    np.testing.assert_allclose(pooled, model.predict_proba(X[1::2]), atol=share)


def test_weights_count_in_the_pool(classes, monkeypatch):
    X, y = classes
    weight = np.random.default_rng(0).integers(1, 4, size=len(y))
    given = []

    def recorded(probabilities, targets, of_samples):
        given.append(of_samples @ targets)
        return fit_pool(probabilities, targets, of_samples)

    monkeypatch.setattr("metricalign.predictors.classifier.fit_pool", recorded)
    model = MetricNeighborsClassifier("euclidean", trees=False, random_state=0)
    model.fit(X, y, sample_weight=weight)
    (of_classes,) = given
    expected = np.bincount(y, weight)
    np.testing.assert_allclose(of_classes / of_classes.sum(), expected / expected.sum())


def test_pool_believes_no_noise():
    """Of samples that the models have seen it would learn to trust them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.integers(2, size=300)
    model = MetricNeighborsClassifier("euclidean", random_state=0).fit(X, y)
    assert model.pool_.weights.sum() < 0.6
    losses = -np.log(model.predict_proba(rng.normal(size=(500, 3))))
    assert losses.mean() == pytest.approx(np.log(2), abs=0.02)


def test_classes_that_come_later_are_predicted(classes):
    X, y = classes
    few = y != 2
    model = MetricNeighborsClassifier(random_state=0)
    model.partial_fit(X[few], y[few], classes=[0, 1, 2]).partial_fit(X[~few], y[~few])
    assert np.isnan(model.pool_.offsets[2])
    pooled = model.predict_proba(X)
    model.pool_ = None
    share = 1 / (1 + len(model.samples_))
    np.testing.assert_allclose(pooled[:, 2], model.predict_proba(X)[:, 2], atol=share)
    assert pooled[few, 2].mean() < 0.3 < 0.6 < pooled[~few, 2].mean()


def test_forest_of_few_samples_and_classes_is_refitted_to_all(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    model = MetricNeighborsClassifier("euclidean", random_state=0)
    forest = model.fit(X, y)._trees[0]
    assert [len(trees.estimators_) for trees in forest.models_] == [36]
    table = StandardScaler().fit_transform(X)
    assert np.mean(forest.predict(table)[:, 0].argmax(axis=1) == y) == 1
    # What is noise cannot be predicted by those that have not seen it.
    held_out = forest.held_out_[:, 0].argmax(axis=1)
    assert np.mean(held_out == y[model.samples_]) < 0.7
    monkeypatch.setattr("metricalign.predictors.trees.MANY_SAMPLES", 50)
    forest = model.fit(X, y)._trees[0]
    assert [len(trees.estimators_) for trees in forest.models_] == [34] * 3


# Results


def test_beats_neighbors_and_trees_where_columns_bend_and_add_up():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(500, 6))
    y = np.cos(4 * X[:, 0]) + X[:, 1] ** 2 + X[:, 2]
    model = MetricNeighborsRegressor(trees=False, random_state=0).fit(X[:250], y[:250])
    plain = KNeighborsRegressor().fit(X[:250], y[:250])
    assert 1 - model.score(X[250:], y[250:]) < 0.15 * (1 - plain.score(X[250:], y[250:]))


def test_noise_is_not_learned():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 5)), rng.normal(size=400)
    model = MetricNeighborsRegressor(random_state=0).fit(X[:200], y[:200])
    # The mean of five neighbours has -0.2.
    assert model.score(X[200:], y[200:]) > -0.15


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 2))
    y = (rng.uniform(size=1500) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    model = MetricNeighborsClassifier(random_state=0).fit(X[:500], y[:500])
    best = LogisticRegression().fit(X[:500], y[:500])
    losses = [log_loss(y[500:], m.predict_proba(X[500:])) for m in (model, best)]
    assert losses[0] < losses[1] + 0.05


def test_boosting_of_two_classes_is_the_same_for_either_order():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    y = X[:, 0] * X[:, 1] > 0
    model = clone(MetricNeighborsClassifier(random_state=0))
    direct, swapped = (clone(model).fit(X, labels).predict_proba(X) for labels in (y, ~y))
    np.testing.assert_allclose(direct, swapped[:, ::-1], atol=1e-6)


# Targets


def test_label_sets():
    X, y = make_multilabel_classification(200, n_features=6, n_classes=4, random_state=0)
    model = MetricNeighborsClassifier(random_state=0).fit(X[:120], y[:120])
    probabilities = model.predict_proba(X[120:])
    assert probabilities.shape == (80, 4)
    np.testing.assert_array_equal(model.predict(X[120:]), probabilities > 0.5)
    most_frequent = y[:120].mean(axis=0) > 0.5
    assert np.mean(model.predict(X[120:]) != y[120:]) < np.mean(most_frequent != y[120:])


def test_distributions_stay_distributions(classes):
    X, _ = classes
    scores = np.exp(StandardScaler().fit_transform(X)[:, :3])
    y = scores / scores.sum(axis=1, keepdims=True)
    model = MetricNeighborsRegressor(random_state=0).fit(X[::2], y[::2])
    predicted = model.predict(X[1::2])
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    assert predicted.min() >= 0
    mean = np.abs(y[1::2] - y[::2].mean(axis=0)).mean()
    assert np.abs(predicted - y[1::2]).mean() < 0.5 * mean


def test_targets_in_a_tensor_are_no_sets(numbers):
    torch = pytest.importorskip("torch")
    X, y = numbers
    classes = torch.tensor(y > np.median(y)).long()
    model = euclid(MetricNeighborsClassifier)
    expected = clone(model).fit(X, classes.numpy()).predict(X)
    np.testing.assert_array_equal(clone(model).fit(torch.tensor(X), classes).predict(X), expected)


def test_several_numbers_have_their_units(numbers):
    X, y = numbers
    both = np.column_stack([y, 1000 * X[:, 0] + 7])
    model = MetricNeighborsRegressor(trees=False, random_state=0).fit(X, both)
    other = MetricNeighborsRegressor(trees=False, random_state=0).fit(X, both * [0.01, 10] - 3)
    expected = model.predict(X) * [0.01, 10] - 3
    np.testing.assert_allclose(other.predict(X), expected, rtol=1e-3, atol=1e-3)


def test_one_column_stays_a_column(numbers):
    X, y = numbers
    model = euclid(MetricNeighborsRegressor)
    flat = clone(model).fit(X, y).predict(X)
    np.testing.assert_array_equal(clone(model).fit(X, y[:, None]).predict(X), flat[:, None])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e300])
def test_units_whose_squares_are_no_numbers(numbers, unit):
    X, y = numbers
    weight = np.r_[0.0, np.ones(len(y) - 1)]
    model = euclid(MetricNeighborsRegressor)
    expected = clone(model).fit(X, y, weight).predict(X)
    np.testing.assert_allclose(clone(model).fit(X, y * unit, weight).predict(X) / unit, expected)


def test_constant_target_is_predicted():
    X = np.random.default_rng(0).normal(size=(20, 2))
    for y in (np.full(20, 3.0), np.full((20, 2), 3.0)):
        with pytest.warns(UserWarning, match="same value in all samples, so there is nothing to"):
            model = MetricNeighborsRegressor().fit(X, y)
        np.testing.assert_allclose(model.predict(X), 3)


@pytest.mark.parametrize("trees", [False, True])
def test_samples_that_are_there_hundreds_of_times_predict_their_mean(trees):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(1500, 2)).astype(float)
    means = 1 + X @ [1.0, 2.0]
    y = rng.exponential(means)  # so that the smallest targets are far from the mean
    model = MetricNeighborsRegressor(trees=trees, random_state=0).fit(X, y)
    found = model.predict([[0, 0], [1, 0], [0, 1], [1, 1]])
    expected = [y[(sample == X).all(axis=1)].mean() for sample in ([0, 0], [1, 0], [0, 1], [1, 1])]
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_rare_classes_can_be_predicted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = np.array(["common"] * 55 + ["rare"] * 3 + ["single", "other"])
    X[55:58] += 20
    model = MetricNeighborsClassifier(random_state=0).fit(X, y)
    assert model.predict([[20.0, 20.0]]) == ["rare"]
    assert set(model.classes_) == {"common", "rare", "single", "other"}


# Tables, weights, conventions


def test_table_with_categories_and_missing_values(numbers):
    X, y = numbers
    frame = pd.DataFrame(X.copy(), columns=list("abcdef"))
    frame["group"] = np.where(frame["c"] > 0, "high", "low")
    frame.loc[::5, "c"] = np.nan
    model = MetricNeighborsRegressor(random_state=0).fit(frame[:150], y[:150])
    assert model.score(frame[150:], y[150:]) > 0
    assert list(model.feature_names_in_) == [*"abcdef", "group"]


def test_weight_two_is_the_sample_twice_and_order_does_not_matter(classes):
    X, y = classes
    weight = np.arange(len(X)) % 3
    order = np.random.default_rng(0).permutation(len(X))
    weighted = MetricNeighborsClassifier(random_state=0).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(len(X))[order], weight[order])
    repeated = MetricNeighborsClassifier(random_state=0).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_any_metric_goes(numbers):
    X, y = numbers
    learner = make_pipeline(PiecewiseLinearEncoder(), GradientAlignment())
    model = MetricNeighborsRegressor(learner, trees=False, random_state=0).fit(X, y)
    images = clone(learner).fit(X, y).transform(X)
    distances = model.kneighbors(X[:5], n_neighbors=3)[0]
    expected = NearestNeighbors(n_neighbors=3).fit(images).kneighbors(images[:5])[0]
    np.testing.assert_allclose(distances, expected, atol=1e-4)


def test_parameters_of_the_metric_can_be_searched(numbers):
    X, y = numbers
    model = MetricNeighborsRegressor(MetricEnsemble([GradientAlignment()]), trees=False, n_folds=2)
    search = GridSearchCV(model, {"metric__n_components": [1, 3]}, cv=2).fit(X, y)
    chosen = search.best_params_["metric__n_components"]
    assert search.best_estimator_.metric_.components_.shape[0] == chosen


def test_sample_weight_is_routed(numbers):
    X, y = numbers
    weight = np.where(y > np.median(y), 1.0, 0.0)
    with config_context(enable_metadata_routing=True):
        model = euclid(MetricNeighborsRegressor).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, y, sample_weight=weight)
    scaled = pipeline[0].transform(X)
    expected = euclid(MetricNeighborsRegressor).fit(scaled, y, sample_weight=weight)
    np.testing.assert_array_equal(pipeline.predict(X), expected.predict(scaled))


def test_a_sample_that_two_groups_have_is_one_of_each():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(60, 3))] * 2)
    y, groups = X[:, 0] > 0, np.repeat(["a", "b"], 60)
    model = MetricNeighborsClassifier("euclidean", trees=False)
    assert len(model.fit(X, y, groups=groups).samples_) == 120
    assert len(model.fit(X, y).samples_) == 60
    order = rng.permutation(120)
    expected = model.fit(X, y, groups=groups).predict_proba(X)
    moved = model.fit(X[order], y[order], groups=groups[order]).predict_proba(X)
    np.testing.assert_allclose(moved, expected, rtol=1e-9, atol=1e-12)


def test_folds_do_not_part_groups():
    # Targets of the groups are noise, which nothing but the other samples of a group tell.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    X = rng.normal(size=(20, 3))[groups] + 0.01 * rng.normal(size=(200, 3))
    y = rng.normal(size=20)[groups]
    model = euclid(MetricNeighborsRegressor)
    widths = [np.mean([v.width for v in model.fit(X, y, groups=g).votes_]) for g in (None, groups)]
    assert widths[0] < 0.1 < 0.5 < widths[1]
    with config_context(enable_metadata_routing=True):
        routed = make_pipeline(model.set_fit_request(groups=True)).fit(X, y, groups=groups)
    assert routed[-1].votes_ == model.votes_


def repeated_rows(agree):
    """Rows of noise, half of them twice, and whether a second row has the target of the first."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 3)), rng.normal(size=120)
    again = y[:60] if agree else rng.normal(size=60)
    return np.vstack([X, X[:60]]), np.r_[y, again]


def test_repeated_rows_tell_each_others_targets():
    X, y = repeated_rows(agree=True)
    model = euclid(MetricNeighborsRegressor).fit(X, y)
    assert model.share_of_copies_ > 0.98
    np.testing.assert_allclose(model.predict(X), y, atol=0.05)
    # Not those of other rows, however near.
    near = model.predict(X + 1e-3)
    assert np.std(near) < 0.5 * np.std(y)
    weighted = euclid(MetricNeighborsRegressor)
    weighted.fit(X[:120], y[:120], sample_weight=np.repeat([2, 1], 60))
    assert weighted.share_of_copies_ == pytest.approx(model.share_of_copies_)
    # Weights are counts: one of 1 is a single sample, whatever the others are.
    weighted.fit(X[:120], y[:120], sample_weight=np.repeat([1, 0.5], 60))
    assert weighted.share_of_copies_ == 0
    neighborhood = model.neighborhood(X[:5])
    np.testing.assert_allclose(neighborhood.weights.sum(axis=1), 1)
    total = neighborhood.neighbors_part + neighborhood.correction
    np.testing.assert_allclose(model._decoded(total), model.predict(X[:5]))


def test_repeated_rows_that_do_not_agree_are_not_believed():
    model = euclid(MetricNeighborsRegressor).fit(*repeated_rows(agree=False))
    assert model.share_of_copies_ < 0.2


def test_copies_of_the_same_group_tell_nothing_of_new_groups():
    X, y = repeated_rows(agree=True)
    groups = np.r_[:120, :60]
    assert euclid(MetricNeighborsRegressor).fit(X, y, groups=groups).share_of_copies_ == 0
    others = euclid(MetricNeighborsRegressor).fit(X, y, groups=np.arange(180))
    assert others.share_of_copies_ > 0.98


def test_copies_of_a_sample_are_all_others_with_its_row():
    table, targets = np.array([[0.0], [1.0], [0.0], [0.0]]), np.array([[1.0], [2.0], [4.0], [9.0]])
    rows, means = mean_of_copies(table, targets, np.array([1.0, 1.0, 2.0, 0.5]), None)
    np.testing.assert_array_equal(rows, [0, 2, 3])
    np.testing.assert_allclose(means[:, 0], [12.5 / 2.5, 9.5 / 2.5, 9 / 3])
    # Rounding makes no copy of a sample.
    assert len(mean_of_copies(table[:2], targets[:2], np.array([1.0, 1 + 1e-15]), None)[0]) == 0


def test_all_of_a_vote_gives_way_to_copies():
    vote = Vote(1.0, 1, 1.0, 0.5)
    targets, predicted = np.array([[1.0], [3.0], [8.0]]), np.array([[2.0], [2.0], [5.0]])
    known = targets, predicted, np.array([1.0, 3.0, 1.0])
    distances, indices = np.array([[0.0, 0.0, 1.0], [0.1, 0.2, 1.0]]), np.array([[0, 1, 2]] * 2)
    of_samples = np.array([[4.0], [4.0]])
    of_votes, *parts = mean_vote([vote], distances, indices, *known, of_samples)
    weights, *mixed = mean_vote([vote], distances, indices, *known, of_samples, 0.75)
    # The second sample has no copies, the first two: one stands for three.
    np.testing.assert_array_equal(weights[1], of_votes[1])
    np.testing.assert_allclose(weights[0], 0.25 * of_votes[0] + 0.75 * np.array([0.25, 0.75, 0]))
    total, of_vote = np.sum(mixed, axis=0), np.sum(parts, axis=0)
    np.testing.assert_allclose(total[1], of_vote[1])
    np.testing.assert_allclose(total[0], 0.25 * of_vote[0] + 0.75 * 2.5)


def test_shares_of_noise_sum_to_one():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.choice(3, size=90, p=[0.6, 0.3, 0.1])
    model = euclid(MetricNeighborsClassifier).fit(X, y)
    assert model.regression_weights_.sum() < 0.9
    predicted = model.neighborhood(X + 0.1).predicted
    for shares in (predicted, model._predicted):
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_share_of_copies_has_the_least_squared_error():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(5000, 2))
    copies, predicted = targets + 0.5 * rng.normal(size=(2, 5000, 2))
    weight = rng.uniform(size=5000)
    shares = np.linspace(0, 1, 1001)
    errors = [
        weight @ np.sum((s * copies + (1 - s) * predicted - targets) ** 2, axis=1) for s in shares
    ]
    share = share_of_copies(copies, predicted, targets, weight)
    assert share == pytest.approx(shares[np.argmin(errors)], abs=0.002)
    # One sample that agrees is as much as the one whose copies tell nothing.
    one = np.ones((1, 2))
    assert share_of_copies(one, 0 * one, one, np.ones(1)) == pytest.approx(0.5)


def test_trees_of_many_samples_see_four_fifths_of_them(monkeypatch):
    monkeypatch.setattr("metricalign.predictors.base.MANY_SAMPLES", 50)
    X = np.random.default_rng(0).normal(size=(60, 1))
    model = MetricNeighborsRegressor("euclidean", random_state=0).fit(X, X[:, 0])
    assert [len(trees.models_) for trees in model._trees] == [5, 5]


def test_groups_may_come_in_any_form_and_none_may_be_missing(classes):
    X, y = classes
    model = euclid(MetricNeighborsClassifier)
    groups = np.arange(len(y)) // 4
    names = np.array([f"{group:03d}" for group in groups], dtype=object)
    expected = model.fit(X, y, groups=groups).predict_proba(X)
    for same in (groups[:, None], pd.DataFrame({"group": names}), pd.Categorical(names)):
        np.testing.assert_array_equal(model.fit(X, y, groups=same).predict_proba(X), expected)
    for missing in (None, np.nan, pd.NA):
        names[0] = missing
        with pytest.raises(ValueError, match="groups has missing values"):
            model.fit(X, y, groups=names)
    names[0] = 3
    with pytest.raises(ValueError, match="all numbers or all strings"):
        model.fit(X, y, groups=names)
    with pytest.raises(ValueError, match="groups is a masked array with 4 masked entries"):
        model.fit(X, y, groups=np.ma.masked_equal(groups, 1))


def test_a_metric_may_be_frozen(classes):
    X, y = classes
    frozen = FrozenEstimator(PCA(2).fit(X))
    model = MetricNeighborsClassifier(frozen, trees=False, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.metric_.transform(X), frozen.transform(X))


def test_neighbors_of_training_samples_are_rows_of_the_fit(classes):
    X, y = classes
    model = euclid(MetricNeighborsClassifier).fit(X, y)
    distances, indices = model.kneighbors(X, n_neighbors=2)
    np.testing.assert_array_equal(indices[:, 0], np.arange(len(X)))
    np.testing.assert_array_equal(distances[:, 0], 0)
    np.testing.assert_array_equal(model.kneighbors(X, 2, return_distance=False), indices)


def test_errors_say_what_is_wrong(numbers):
    X, y = numbers
    with pytest.raises(ValueError, match="one class only"):
        MetricNeighborsClassifier().fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="one class only, 'a';"):
        MetricNeighborsClassifier().fit(X, ["a"] * len(X))
    with pytest.raises(ValueError, match="labels, 0 or 1"):
        MetricNeighborsClassifier().fit(X, np.full((len(X), 2), 2))
    with pytest.raises(ValueError, match="y to be passed"):
        MetricNeighborsRegressor().fit(X, None)
    with pytest.raises(ValueError, match="from 1 to 200"):
        euclid(MetricNeighborsRegressor).fit(X, y).kneighbors(X, n_neighbors=201)


@pytest.mark.parametrize("largest", [1e6, 1e12])
def test_one_sample_may_have_nearly_all_weight(largest):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5))
    weight = np.where(np.arange(150) == 0, largest, 1.0)
    model = MetricNeighborsRegressor(trees=False, random_state=0)
    with pytest.warns(FitFailedWarning, match="nearly all weight is on few samples"):
        model.fit(X, X[:, 0], sample_weight=weight)
    predicted = model.predict(X)
    assert np.corrcoef(predicted, X[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_samples_of_weight_zero_and_the_order_do_not_change_the_trees(seed):
    # Rounding of standardised targets must not decide between splits that are equally good.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(80, 4))
    y = X[:, 0] ** 2 + X[:, 1] + 0.1 * rng.normal(size=80)
    new, weight = rng.normal(size=(50, 4)), np.ones(80)
    absent = rng.choice(80, 15, replace=False)
    weight[absent], y[absent] = 0, y[absent] + 100
    present = rng.permutation(np.flatnonzero(weight))
    model = MetricNeighborsRegressor(random_state=0)
    found = clone(model).fit(X, y, sample_weight=weight).predict(new)
    expected = clone(model).fit(X[present], y[present]).predict(new)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_texts_of_samples_of_weight_zero_make_no_free_text():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.normal(size=160), "note": rng.choice(["a", "b"], 160)})
    X.loc[80:, "note"] = [f"text number {number}" for number in range(80)]
    y, weight = X["size"] + (X["note"] == "a"), np.repeat([1.0, 0.0], 80)
    found = MetricNeighborsRegressor(random_state=0).fit(X, y, sample_weight=weight)
    expected = MetricNeighborsRegressor(random_state=0).fit(X[:80], y[:80])
    assert found.columns_.encoded_columns_ == []
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-9, atol=1e-9)


def shares_of(rng):
    X = rng.normal(size=(60, 2))
    y = np.exp(np.column_stack([X[:, 0], -X[:, 0], np.zeros(60)]))
    y /= y.sum(axis=1, keepdims=True)
    y[50:] = [3.0, -2.0, 7.0]
    return X, y


def classes_of(rng):
    X = rng.normal(size=(60, 2))
    return X, np.r_[np.where(X[:50, 0] > 0, "a", "b"), np.repeat("absent", 10)]


def labels_of(rng):
    X = rng.normal(size=(60, 2))
    return X, [{"a"}, {"b"}, {"a", "b"}] * 10 + [{"a"}, {"b"}] * 10 + [{"absent"}] * 10


@pytest.mark.parametrize("make", [shares_of, classes_of, labels_of])
def test_targets_of_samples_of_weight_zero_decide_nothing(make):
    """Nor do they say whether targets are distributions, or which classes and labels there are."""
    X, y = make(np.random.default_rng(0))
    predictor = MetricNeighborsRegressor if make is shares_of else MetricNeighborsClassifier
    model = euclid(predictor)
    found = clone(model).fit(X, y, sample_weight=np.arange(60) < 50, groups=np.arange(60))
    expected = clone(model).fit(X[:50], y[:50], groups=np.arange(50))
    of = "predict" if make is shares_of else "predict_proba"
    np.testing.assert_allclose(getattr(found, of)(X), getattr(expected, of)(X), atol=1e-9)
    np.testing.assert_array_equal(found.samples_, expected.samples_)


def test_numbers_of_samples_of_weight_zero_are_no_other_unit():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    X.iloc[:40] += 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = euclid(MetricNeighborsRegressor).fit(X, X["a"], sample_weight=np.arange(60) >= 40)
    assert set(model.samples_) == set(range(40, 60))
    assert model.kneighbors(X[50:51], 1)[1] == 50
    assert 50 in model.explain(X[50:51]).rows


def test_a_missing_target_is_named_by_its_row_beside_samples_of_weight_zero():
    y = np.r_[np.zeros(5), np.nan, np.ones(4)]
    with pytest.raises(ValueError, match="the first in row 5"):
        euclid(MetricNeighborsRegressor).fit(np.eye(10), y, sample_weight=np.arange(10) > 3)


# Further samples


@pytest.mark.parametrize("seed", [0, 1])
def test_classes_that_come_later_are_predicted_where_regressions_predict_best(seed):
    """They know nothing of these classes, and had all of the vote."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    scores = X[:, 0] + 0.5 * X[:, 1] + 0.2 * rng.normal(size=120)
    y = np.digitize(scores, np.quantile(scores, [1 / 3, 2 / 3]))
    model = MetricNeighborsClassifier(random_state=seed)
    assert clone(model).fit(X[y < 2], y[y < 2]).votes_[0].regression > 0
    model.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2]).partial_fit(X[y == 2], y[y == 2])
    assert {vote.regression for vote in model.votes_} == {0.0}
    assert (model.predict(X[y == 2]) == 2).mean() > 0.5
    assert (model.predict(X) == y).mean() > 0.8


@pytest.mark.parametrize(
    "y", [pd.date_range("2024", periods=3), [datetime.date(2024, 1, day) for day in (1, 2, 3)]]
)
def test_further_targets_that_are_dates_are_refused(y, classes, numbers):
    """NumPy makes nanoseconds since 1970 of them."""
    for predictor, (X, first) in (
        (MetricNeighborsClassifier, classes),
        (MetricNeighborsRegressor, numbers),
    ):
        model = euclid(predictor).fit(X, first)
        with pytest.raises(ValueError, match="dates or durations"):
            model.partial_fit(X[:3], y)


GIVEN = [(0, 30), (1, 2), (3, 40)]


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (PSDSVR(pairs=GIVEN), "pairs"),
        (make_pipeline(StandardScaler(), PSDSVR(pairs=np.array(GIVEN))), "psdsvr__pairs"),
    ],
)
def test_pairs_by_rows_of_x_are_refused_as_others_are_fitted_to(metric, name, numbers):
    """They were taken for the same places among sorted rows, and among those of a fold."""
    with pytest.raises(ValueError, match=rf"^{name} is an array of rows of X.*metricalign.pairs"):
        euclid_of(metric).fit(*numbers)
    frozen = FrozenEstimator(clone(metric).fit(*numbers))
    assert euclid_of(frozen).fit(*numbers).score(*numbers) > 0


def test_pairs_of_several_strategies_are_no_array(numbers):
    metric = PSDSVR(pairs=UnionPairs([NearestPairs(), RandomPairs()]), random_state=0)
    assert euclid_of(metric).fit(*numbers).score(*numbers) > 0


def euclid_of(metric):
    return MetricNeighborsRegressor(metric, trees=False, random_state=0)


def test_further_samples_are_found_at_once(classes):
    X, y = classes
    X, y = (values[np.arange(len(values)) * 7 % len(values)] for values in (X, y))
    model = euclid(MetricNeighborsClassifier).fit(X[:60], y[:60])
    fitted = {name: getattr(model, name) for name in ("votes_", "scale_", "regression_weights_")}
    further = model.partial_fit(X[60:75], y[60:75]).partial_fit(X[75:], y[75:])
    assert further is model
    distances, rows = model.kneighbors(X, 1)
    # The metric stays that of the first samples.
    images = model.pipeline_.transform(X)
    expected = NearestNeighbors(n_neighbors=1).fit(images).kneighbors(images)[1]
    assert np.array_equal(rows, expected)
    assert np.allclose(distances, 0, atol=1e-5)
    for name, value in fitted.items():
        assert getattr(model, name) is value
    # They vote like those that were there from the beginning, with the same vote.
    neighborhood = model.neighborhood(X[:5])
    votes = np.zeros((5, 3))
    for code, name in enumerate(model.classes_):
        votes[:, code] = np.sum(neighborhood.weights * (y[neighborhood.indices] == name), axis=1)
    assert np.allclose(votes, neighborhood.neighbors_part)
    assert len(model.explain(X[80]).rows) == 5


def test_further_samples_have_weights_in_the_unit_of_the_first(numbers):
    X, y = numbers
    weight = np.arange(len(X)) % 3 + 1.0
    model = euclid(MetricNeighborsRegressor).fit(X[:100], y[:100], weight[:100])
    model.partial_fit(X[100:], y[100:], weight[100:])
    expected = weight[model.samples_] / weight[:100].mean()
    assert np.allclose(model._weight, expected)
    assert np.allclose(model._decoded(model._targets), y[model.samples_])
    unseen, _ = model._regressions(*model._images_of(X[100:]))
    assert np.allclose(model._predicted[len(np.unique(X[:100], axis=0)) :], unseen)


def test_first_call_with_further_samples_names_the_classes(classes):
    X, y = classes
    y = y.astype(str)
    model = euclid(MetricNeighborsClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    few = y != "2"
    model.partial_fit(X[few], y[few], classes=["2", "0", "1"])
    assert model.classes_.tolist() == ["0", "1", "2"]
    assert model.predict_proba(X).shape == (len(X), 3)
    with pytest.raises(ValueError, match="not the same as on the last call"):
        model.partial_fit(X, y, classes=["0", "1"])
    with pytest.raises(ValueError, match=r"not among `classes`, such as \['new'\]"):
        model.partial_fit(X[:1], ["new"])
    model.partial_fit(X[~few], y[~few])
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"not among `classes`, such as \['2'\]"):
        euclid(MetricNeighborsClassifier).partial_fit(X, y, classes=["0", "1"])


def test_further_samples_of_label_sets_and_distributions():
    X, Y = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    sets = [{"abc"[code] for code in np.flatnonzero(row)} for row in Y]
    model = euclid(MetricNeighborsClassifier).partial_fit(X[:80], sets[:80])
    model.partial_fit(X[80:], sets[80:])
    assert np.allclose(model._targets, Y[model.samples_])
    with pytest.raises(ValueError, match=r"labels that fit has not seen: \['z'\]"):
        model.partial_fit(X[:1], [{"a", "z"}])
    columns = euclid(MetricNeighborsClassifier).fit(X[:80], Y[:80]).partial_fit(X[80:], Y[80:])
    assert np.allclose(columns._targets, Y[columns.samples_])
    with pytest.raises(ValueError, match="3 columns of 0 and 1"):
        columns.partial_fit(X[:1], [[0, 2, 1]])
    shares = (Y + 0.1) / (Y + 0.1).sum(axis=1, keepdims=True)
    regressor = euclid(MetricNeighborsRegressor).fit(X[:80], shares[:80])
    regressor.partial_fit(X[80:], shares[80:])
    assert np.allclose(regressor._targets, shares[regressor.samples_])
    with pytest.raises(ValueError, match="sum to 1"):
        regressor.partial_fit(X[:1], [[0.2, 0.2, 0.2]])
    with pytest.raises(ValueError, match="must have 3 columns"):
        regressor.partial_fit(X[:1], [[0.2, 0.2]])


@pytest.mark.parametrize("metric", ["euclidean", DiscriminantAlignment()], ids=["euclidean", "own"])
def test_one_sample_without_its_row_is_refused_with_the_remedy(metric):
    X = np.random.default_rng(0).normal(size=(30, 3))
    model = MetricNeighborsClassifier(metric, trees=False, random_state=0).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=r"Reshape your data: X.reshape\(1, -1\)"):
        model.predict(X[0])
    assert model.predict(X[0].reshape(1, -1)) == [X[0, 0] > 0]
