import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, roc_auc_score, roc_curve
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from metricalign import (
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DoubletSVM,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.pair_classification import PairClassifier
from metricalign.pair_classification.distances import distance_of_pairs
from metricalign.solvers import semismooth_newton

STRATEGIES = ["accuracy", "f_beta", "max_tpr", "max_tnr"]


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def judged(wine):
    """400 pairs of wines, judged by their class; no pair twice, none of a wine with itself."""
    X, y = wine
    left, right = np.triu_indices(len(X), k=1)
    chosen = np.random.default_rng(0).choice(len(left), 400, replace=False)
    indices = np.column_stack([left, right])[chosen]
    return X[indices], np.where(np.equal(*y[indices].T), 1, -1), indices


@pytest.fixture(scope="module")
def fitted(judged):
    pairs, y, _ = judged
    return PairClassifier().fit(pairs[:200], y[:200])


def pairs_at(distances, dtype=float):
    """Pairs of numbers that are so far apart."""
    distances = np.asarray(distances, dtype=dtype)
    return np.stack([np.zeros_like(distances), distances], axis=1)[:, :, None]


def calibrated(distances, y, dtype=float, sample_weight=None, **settings):
    """A classifier whose metric is Euclid's, its threshold calibrated for these distances."""
    classifier = PairClassifier(FunctionTransformer(), **settings)
    return classifier.fit(pairs_at(distances, dtype), y, sample_weight)


# The threshold


def objective(y, predicted, weights, strategy, min_rate, beta):
    """What a strategy maximises, counted; -1 where its condition is not met."""
    count = {
        (truth, answer): float(sum(weights[(y == truth) & (predicted == answer)]))
        for truth in (1, -1)
        for answer in (1, -1)
    }
    recall = {truth: count[truth, truth] / sum(weights[y == truth]) for truth in (1, -1)}
    if strategy == "accuracy":
        return (count[1, 1] + count[-1, -1]) / sum(weights)
    if strategy == "f_beta":
        if not count[1, 1]:
            return 0.0
        precision = count[1, 1] / (count[1, 1] + count[-1, 1])
        return (1 + beta**2) * precision * recall[1] / (beta**2 * precision + recall[1])
    truth = 1 if strategy == "max_tpr" else -1
    return recall[truth] if recall[-truth] >= min_rate else -1


@st.composite
def judged_distances(draw):
    size = draw(st.integers(2, 12))
    of_size = {"min_size": size, "max_size": size}
    # Few values, so that there are ties; above 0, so that no pair is one of identical samples.
    distances = draw(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 7.0, 1e6]), **of_size))
    y = draw(st.lists(st.sampled_from([-1, 1]), **of_size).filter(lambda y: len(set(y)) == 2))
    weights = draw(st.lists(st.integers(1, 3), **of_size))
    return np.array(distances), np.array(y), np.array(weights)


@given(
    judged_distances(),
    st.sampled_from(STRATEGIES),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_threshold_is_the_best_of_all(judged, strategy, min_rate, beta):
    distances, y, weights = judged
    settings = {"strategy": strategy, "min_rate": min_rate, "beta": beta}
    # Judgments of pairs of the same two numbers may cancel, so not calibrated in fit.
    classifier = PairClassifier(FunctionTransformer()).fit(pairs_at([1.0, 2.0]), [1, -1])
    classifier.calibrate_threshold(pairs_at(distances), y, sample_weight=weights, **settings)
    cuts = [np.where(distances <= cut, 1, -1) for cut in [-1.0, *np.unique(distances)]]
    values = np.array([objective(y, cut, weights, **settings) for cut in cuts])
    predicted = classifier.predict(pairs_at(distances))
    value = objective(y, predicted, weights, **settings)
    assert value == pytest.approx(values.max(), abs=1e-12)
    best = np.flatnonzero(np.isclose(values, values.max(), rtol=0, atol=1e-12))
    expected = cuts[best[-1 if strategy == "max_tnr" else 0]]
    np.testing.assert_array_equal(predicted, expected)
    # Weights are repetitions.
    repeated = np.repeat(np.arange(len(y)), weights)
    threshold = classifier.threshold_
    classifier.calibrate_threshold(pairs_at(distances[repeated]), y[repeated], **settings)
    assert classifier.threshold_ == threshold


def test_threshold_lies_halfway():
    assert calibrated([1.0, 2.0, 5.0], [1, 1, -1]).threshold_ == 3.5
    # A pair of weight 0 is not there.
    assert calibrated([1.0, 2.0, 5.0], [1, -1, -1], sample_weight=[1, 0, 1]).threshold_ == 3.0
    # Best is to call none the same, or all.
    assert calibrated([1.0, 2.0, 3.0], [-1, -1, 1]).threshold_ == -np.inf
    assert calibrated([1.0, 2.0, 3.0], [-1, 1, 1]).threshold_ == np.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("start", [1.0, np.nextafter(1.0, 2.0)])
def test_neighbouring_floats_are_told_apart(dtype, start):
    near = dtype(start)
    pairs = pairs_at([near, np.nextafter(near, dtype(2))], dtype)
    assert PairClassifier(FunctionTransformer()).fit(pairs, [1, -1]).predict(pairs).tolist() == [
        1,
        -1,
    ]


def test_ties_of_the_rates():
    distances, y = [1.0, 2.0, 3.0, 4.0], [1, -1, 1, -1]
    # At least half of the -1 right: one of them may be called the same, so both +1 can be.
    assert calibrated(distances, y, strategy="max_tpr", min_rate=0.5).threshold_ == 3.5
    # At least half of the +1 right: the first is enough, and more would cost a -1.
    assert calibrated(distances, y, strategy="max_tnr", min_rate=0.5).threshold_ == 1.5
    # With the true negative rate at its best, no more is asked for; the true positive rate is
    # made as large as it can be.
    y = [1, 1, -1, -1]
    assert calibrated(distances, y, strategy="max_tnr", min_rate=0.5).threshold_ == 2.5
    assert calibrated(distances, y, strategy="max_tpr", min_rate=0.5).threshold_ == 2.5


@pytest.mark.parametrize("strategy", [*STRATEGIES, "equal_error_rate"])
@pytest.mark.parametrize("unit", [0.1, 1 / 7, 1e-30])
def test_unit_of_the_weights_does_not_matter(strategy, unit):
    # Sums of tenths are rounded, and shares of them that are equal differ in their last digit.
    rng = np.random.default_rng(0)
    distances, y = rng.integers(0, 30, 100), rng.choice([-1, 1], 100)
    for min_rate in (0.3, 0.7, 0.8, 0.9):
        settings = {"strategy": strategy, "min_rate": min_rate}
        expected = calibrated(distances, y, **settings).threshold_
        weights = np.full(len(y), unit)
        assert calibrated(distances, y, sample_weight=weights, **settings).threshold_ == expected


def test_false_accept_rate_that_is_given_as_the_rest_of_one():
    distances, y = np.arange(20) + 1.0, np.tile([-1, 1], 10)
    for n_accepted in range(1, 10):
        # 1 - .7 is a little more than .3
        classifier = calibrated(distances, y, strategy="max_tpr", min_rate=1 - n_accepted / 10)
        predicted = classifier.predict(pairs_at(distances))
        assert np.sum(predicted[y < 0] > 0) == n_accepted


def test_calibration_of_a_fitted_classifier(fitted, judged):
    pairs, y, _ = judged
    classifier = PairClassifier().fit(pairs[:200], y[:200])
    matrix = classifier.get_mahalanobis_matrix()
    for strategy in STRATEGIES:
        assert (
            classifier.calibrate_threshold(pairs[200:], y[200:], strategy, 0.9, 2.0) is classifier
        )
        as_parameters = PairClassifier(
            FrozenEstimator(fitted.metric_), strategy=strategy, min_rate=0.9, beta=2.0
        )
        as_parameters.fit(pairs[200:], y[200:])
        assert classifier.threshold_ == as_parameters.threshold_
    np.testing.assert_array_equal(classifier.get_mahalanobis_matrix(), matrix)
    assert classifier.strategy == "accuracy"
    assert classifier.set_threshold(0).threshold_ == 0
    assert set(classifier.predict(pairs)) == {-1}
    assert classifier.predict(pairs[:5, [0, 0]]).tolist() == [1] * 5


# The metric


def test_metric_is_that_of_the_classes_of_these_pairs(judged, wine):
    pairs, y, indices = judged
    expected = PSDSVR(pairs=indices, C=1e-3, tol=1e-8).fit(*wine)
    classifier = PairClassifier(PSDSVR(C=1e-3, tol=1e-8)).fit(pairs, y)
    np.testing.assert_allclose(
        classifier.get_mahalanobis_matrix(), expected.get_mahalanobis_matrix(), atol=1e-5
    )
    assert classifier.metric_.intercept_ == pytest.approx(expected.intercept_, abs=1e-5)


def test_distances_are_those_of_the_matrix(fitted, judged):
    pairs, _, _ = judged
    z = pairs[:, 0] - pairs[:, 1]
    M = fitted.get_mahalanobis_matrix()
    np.testing.assert_allclose(fitted.components_.T @ fitted.components_, M, atol=1e-12)
    distances = np.sqrt(np.einsum("pi,ij,pj->p", z, M, z))
    np.testing.assert_allclose(fitted.pair_distance(pairs), distances, rtol=1e-10)
    np.testing.assert_allclose(fitted.decision_function(pairs), -distances, rtol=1e-10)
    np.testing.assert_allclose(fitted.pair_score(pairs), -distances, rtol=1e-10)
    metric = fitted.get_metric()
    np.testing.assert_allclose([metric(u, v) for u, v in pairs], distances, rtol=1e-10)
    images = fitted.transform(pairs[:, 0]) - fitted.transform(pairs[:, 1])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), distances, rtol=1e-10)
    expected = np.where(distances <= fitted.threshold_, 1, -1)
    np.testing.assert_array_equal(fitted.predict(pairs), expected)


def test_learned_distance_verifies_better_than_euclid(fitted, judged):
    pairs, y, _ = judged
    euclid = PairClassifier(StandardScaler()).fit(pairs[:200], y[:200])
    held_out = pairs[200:], y[200:]
    assert fitted.score(*held_out) > 0.95 > 0.92 > euclid.score(*held_out)
    learned, plain = (accuracy_score(y[200:], c.predict(pairs[200:])) for c in (fitted, euclid))
    assert learned > plain + 0.03


@pytest.fixture
def in_double_precision(monkeypatch):
    """Newton systems whose rounding depends less on the order of the pairs."""
    monkeypatch.setattr(semismooth_newton, "precision_of", lambda *_: np.float64)


def same_metric(left, right):
    """Whether two classifiers were fitted to the same problem, up to rounding."""
    np.testing.assert_allclose(
        left.get_mahalanobis_matrix(), right.get_mahalanobis_matrix(), atol=1e-12
    )
    assert left.threshold_ == pytest.approx(right.threshold_)


def test_order_does_not_matter(judged, in_double_precision):
    pairs, y = judged[0][:200], judged[1][:200]
    order = np.random.default_rng(1).permutation(200)
    fitted = PairClassifier().fit(pairs, y)
    same_metric(PairClassifier().fit(pairs[order][:, ::-1], y[order]), fitted)


def test_weights_are_repetitions(judged, wine):
    pairs, y, indices = (part[:100] for part in judged)
    weights = np.random.default_rng(0).integers(0, 3, size=100)
    repeated = np.repeat(np.arange(100), weights)
    for metric in (PSDSVR(C=1e-3, tol=1e-8), make_pipeline(StandardScaler(), PSDSVR())):
        expected = PairClassifier(metric).fit(pairs[repeated], y[repeated])
        weighted = PairClassifier(metric).fit(pairs, y, sample_weight=weights)
        np.testing.assert_allclose(weighted.pair_score(pairs), expected.pair_score(pairs))
        assert weighted.threshold_ == pytest.approx(expected.threshold_)
    # Pairs that are given count as often as they are.
    direct = PSDSVR(pairs=indices[repeated], C=1e-3, tol=1e-8).fit(*wine)
    plain = PairClassifier(PSDSVR(C=1e-3, tol=1e-8))
    weighted = clone(plain).fit(pairs, y, weights)
    np.testing.assert_allclose(weighted.metric_.matrix_, direct.matrix_, atol=1e-5)
    plain.fit(pairs[weights > 0], y[weights > 0])
    assert not np.allclose(plain.metric_.matrix_, direct.matrix_, atol=1e-3)
    test = judged[0][100:], judged[1][100:]
    weights = np.resize(weights, 300)
    scores = plain.decision_function(test[0])
    assert plain.score(*test, weights) == roc_auc_score(test[1], scores, sample_weight=weights)


def test_judgments_that_contradict_each_other_cancel(judged, in_double_precision):
    pairs, y = judged[0][:100], judged[1][:100]
    expected = PairClassifier().fit(pairs[1:], y[1:])
    # Once so and once so, seen from the other side.
    contradicting = np.concatenate([pairs, pairs[:1, ::-1]]), np.append(y, -y[0])
    same_metric(PairClassifier().fit(*contradicting), expected)
    # Two to one.
    outvoted = np.concatenate([pairs, pairs[:1], pairs[:1]]), np.append(y, [y[0], -y[0]])
    same_metric(PairClassifier().fit(*outvoted), PairClassifier().fit(pairs, y))


@pytest.mark.parametrize(
    ("metric", "margin"),
    [(PSDSVR(C=1e-3, epsilon=0.1, tol=1e-8), 0.9), (PCML(C=1e-4, tol=1e-8), 1)],
)
def test_cancelling_is_what_the_losses_do(judged, metric, margin):
    pairs, y = judged[0][:60], judged[1][:60]
    twice = np.concatenate([pairs, pairs[:10]]), np.append(y, -y[:10])
    classifier = PairClassifier(metric).fit(*twice)
    # Every judgment a term of its own: the samples of each pair are rows of their own.
    n_pairs = len(twice[1])
    rows = np.arange(2 * n_pairs).reshape(-1, 2)
    relations = sparse.coo_array((-twice[1], tuple(rows.T)), shape=(2 * n_pairs,) * 2)
    expected = clone(metric).set_params(relation="precomputed")
    expected.fit(twice[0].reshape(2 * n_pairs, -1), relations)
    z = pairs[:10, 0] - pairs[:10, 1]
    fitted = np.einsum("pi,ij,pj->p", z, expected.matrix_, z) + expected.intercept_
    assert np.all(np.abs(fitted) < margin)  # where the sum of both losses is constant
    np.testing.assert_allclose(classifier.metric_.matrix_, expected.matrix_, atol=1e-4)


def test_pairs_of_identical_samples_tell_the_threshold_only(judged):
    pairs, y = judged[0][:100], judged[1][:100]
    expected = PairClassifier().fit(pairs, y)
    identical = np.repeat(pairs[:50, :1], 2, axis=1)
    classifier = PairClassifier().fit(
        np.concatenate([pairs, identical]), np.append(y, np.full(50, -1))
    )
    np.testing.assert_allclose(
        classifier.get_mahalanobis_matrix(), expected.get_mahalanobis_matrix(), atol=1e-12
    )
    assert classifier.threshold_ == -np.inf  # to call these different, all must be


@pytest.mark.parametrize(
    "metric",
    [
        RAMLSVR(),
        RAMLKRR(),
        DoubletSVM(),
        RelationAlignment(cone="diagonal", loss="hinge"),
        make_pipeline(StandardScaler(), RAMLNCSVR()),
        RelationAlignmentCV(Cs=2, cv=3),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_any_metric_learner(judged, metric):
    pairs, y, _ = judged
    parameters = repr(metric.get_params())
    classifier = PairClassifier(metric).fit(pairs[:200], y[:200])
    euclid = PairClassifier(FunctionTransformer()).fit(pairs[:200], y[:200])
    held_out = pairs[200:], y[200:]
    assert classifier.score(*held_out) > euclid.score(*held_out) + 0.01
    assert repr(metric.get_params()) == parameters
    for name in ("get_metric", "get_mahalanobis_matrix", "components_"):
        assert hasattr(classifier, name) == hasattr(classifier.metric_, name)


def test_scale_is_learned_in_the_pipeline(judged, fitted):
    pairs, y = judged[0][:200], judged[1][:200]
    units = 10.0 ** np.arange(pairs.shape[2])
    scaled = PairClassifier(make_pipeline(StandardScaler(), PSDSVR(tol=1e-8))).fit(pairs, y)
    other = clone(scaled).fit(pairs * units + units, y)
    np.testing.assert_allclose(
        other.pair_distance(pairs * units + units), scaled.pair_distance(pairs), rtol=1e-5
    )


def test_single_precision(judged, fitted):
    pairs, y = judged[0][:200].astype(np.float32), judged[1][:200]
    classifier = PairClassifier().fit(pairs, y)
    assert classifier.pair_distance(pairs).dtype == np.float32
    assert classifier.metric_.components_.dtype == np.float32
    np.testing.assert_allclose(
        classifier.pair_distance(pairs), fitted.pair_distance(pairs), rtol=0.02, atol=0.02
    )


# scikit-learn's conventions


@pytest.mark.filterwarnings(
    "ignore:Can't test estimator:sklearn.exceptions.SkipTestWarning",  # for arrays of pairs
)
def test_scikit_learn_conventions():
    check_estimator(PairClassifier())
    classifier = PairClassifier(PSDSVR(C=2.0), strategy="f_beta")
    assert is_classifier(classifier)
    assert classifier.get_params()["metric__C"] == 2.0
    assert clone(classifier).set_params(metric__C=3.0).metric.C == 3.0
    assert classifier.__sklearn_tags__().input_tags.three_d_array


def test_copies_and_refits(fitted, judged):
    pairs, y, _ = judged
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.predict(pairs), fitted.predict(pairs))
    again = clone(fitted)
    assert not hasattr(again, "threshold_")
    assert not hasattr(again, "components_")
    assert again.fit(pairs[:200].tolist(), y[:200].tolist()) is again
    np.testing.assert_array_equal(again.decision_function(pairs), fitted.decision_function(pairs))
    assert again.n_features_in_ == pairs.shape[2]
    assert again.classes_.tolist() == [-1, 1]


def test_grid_search_over_the_metric(judged):
    pairs, y, _ = judged
    grid = {"metric__C": [1e-5, 1e-3], "strategy": ["accuracy", "f_beta"]}
    search = GridSearchCV(
        PairClassifier(PSDSVR()), grid, cv=3, scoring=["roc_auc", "f1"], refit="f1"
    ).fit(pairs[:200], y[:200])
    # Both parameters reach the fit: C changes the order of the pairs, the strategy the threshold.
    areas, f1 = (
        search.cv_results_[f"mean_test_{name}"].reshape(2, 2) for name in ("roc_auc", "f1")
    )
    assert np.all(areas[0] != areas[1])
    np.testing.assert_array_equal(areas[:, 0], areas[:, 1])
    assert np.any(f1[:, 0] != f1[:, 1])
    assert search.best_score_ == f1.max()
    np.testing.assert_array_equal(search.classes_, [-1, 1])
    assert search.score(pairs[200:], y[200:]) > 0.8


def test_scorers_understand_it(fitted, judged):
    pairs, y, _ = judged
    assert get_scorer("roc_auc")(fitted, pairs, y) == fitted.score(pairs, y)
    distances = fitted.pair_distance(pairs)
    assert fitted.score(pairs, y) == pytest.approx(
        np.mean(distances[y == 1][:, None] < distances[y == -1])
    )


def test_thresholds_of_scikit_learn(fitted, judged):
    pairs, y, _ = judged
    tuned = TunedThresholdClassifierCV(
        PairClassifier(), scoring="accuracy", response_method="decision_function", cv=3
    ).fit(pairs[:200], y[:200])
    np.testing.assert_array_equal(
        tuned.predict(pairs), np.where(fitted.pair_distance(pairs) <= -tuned.best_threshold_, 1, -1)
    )
    fixed = FixedThresholdClassifier(
        FrozenEstimator(fitted),
        threshold=-fitted.threshold_,
        response_method="decision_function",
    ).fit(pairs, y)
    np.testing.assert_array_equal(fixed.predict(pairs), fitted.predict(pairs))


def test_probabilities_by_scikit_learn(fitted, judged):
    pairs, y, _ = judged
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(pairs[200:], y[200:])
    probabilities = calibrated.predict_proba(pairs[200:])[:, 1]
    order = np.argsort(fitted.pair_distance(pairs[200:]))
    assert np.all(np.diff(probabilities[order]) <= 0)
    observed, predicted = calibration_curve(y[200:], probabilities, pos_label=1, n_bins=3)
    np.testing.assert_allclose(observed, predicted, atol=0.2)


def test_metadata_routing(judged):
    pairs, y = judged[0][:100], judged[1][:100]
    weights = np.resize([1.0, 0.0], 100)
    with config_context(enable_metadata_routing=True):
        classifier = PairClassifier().set_fit_request(sample_weight=True)
        classifier.set_score_request(sample_weight=True)
        assert set(classifier.get_metadata_routing().fit.requests) == {"sample_weight"}
        assert set(classifier.get_metadata_routing().predict.requests) == set()
        folds = [(np.arange(50), np.arange(50, 100)), (np.arange(50, 100), np.arange(50))]
        weighted = cross_validate(classifier, pairs, y, params={"sample_weight": weights}, cv=folds)
    half = [(train[weights[train] > 0], test[weights[test] > 0]) for train, test in folds]
    expected = [
        PairClassifier().fit(pairs[train], y[train]).score(pairs[test], y[test])
        for train, test in half
    ]
    np.testing.assert_allclose(weighted["test_score"], expected)


# What is refused


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda pairs, y: (pairs[:, 0], y), r"shape \(n_pairs, 2, n_features\).*got \(20, 13\)"),
        (lambda pairs, y: (pairs[:, [0, 1, 1]], y), r"got \(20, 3, 13\)"),
        (lambda pairs, y: (pairs[None], y), "shape"),
        (lambda pairs, y: (np.where(pairs == pairs[3, 0, 2], np.nan, pairs), y), "pairs.*NaN"),
        (lambda pairs, y: (pairs[:0], y[:0]), "0 sample"),
        (lambda pairs, y: (pairs, None), "requires y"),
        (lambda pairs, y: (pairs, y[1:]), "inconsistent numbers of samples"),
        (lambda pairs, y: (pairs, y + 1), r"or True and False; got \[0, 2\]"),
        (lambda pairs, y: (pairs, y * 0.5), "Grades.*precomputed"),
        (
            lambda pairs, y: (pairs, np.where(y > 0, "same", "different")),
            r"got \['different', 'same'\]",
        ),
        (lambda pairs, y: (pairs, np.where(y > 0, np.nan, -1.0)), "y contains NaN"),
        (lambda pairs, y: (pairs, np.ones(20)), "one class only"),
        (lambda pairs, y: (pairs, y, y > 0), "one class only"),
        (lambda pairs, y: (pairs, y, -np.ones(20)), "[Nn]egative"),
        (lambda pairs, y: (pairs, y, np.full(20, 1e308)), "by their maximum"),
        (lambda pairs, y: (np.ma.masked_greater(pairs, 1), y), "pairs is a masked array"),
        (lambda pairs, y: (pairs, np.ma.masked_greater(y, 0)), "y is a masked array"),
        (lambda pairs, y: (pairs[[0, 0, 1]], [1, -1, 1]), "1 of .1 and 0 of -1"),
        (lambda pairs, y: (pairs[:2, [0, 0]], [1, -1]), "identical samples"),
    ],
)
def test_errors(judged, fitted, change, match):
    classifier = clone(fitted).fit(judged[0][:200], judged[1][:200])
    pairs, y = judged[0][:20], judged[1][:20]
    expected = classifier.decision_function(pairs)
    with pytest.raises(ValueError, match=match):
        classifier.fit(*change(pairs, y))
    # What is refused leaves the last fit as it was.
    np.testing.assert_array_equal(classifier.decision_function(pairs), expected)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"metric": "euclidean"}, "metric"),
        ({"strategy": "roc_auc"}, "strategy"),
        ({"strategy": "max_tpr"}, "needs min_rate"),
        ({"strategy": "max_tnr", "min_rate": 1.5}, "min_rate"),
        ({"strategy": "f_beta", "beta": 0.0}, "beta"),
    ],
)
def test_errors_of_parameters(judged, fitted, parameters, match):
    pairs, y, _ = judged
    with pytest.raises(ValueError, match=match):
        PairClassifier(**parameters).fit(pairs[:100], y[:100])
    if "metric" not in parameters:
        with pytest.raises(ValueError, match=match):
            fitted.calibrate_threshold(pairs, y, **parameters)


@pytest.mark.parametrize(
    "metric",
    [
        GradientAlignment(),
        NeighborhoodAlignment(),
        IteratedMetricLearner(PSDSVR()),
        make_pipeline(StandardScaler(), MetricEnsemble()),
    ],
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_learner_of_the_relations_of_all_samples_is_refused(judged, metric, is_weighted):
    pairs, y = judged[:2]
    weight = np.arange(len(y)) if is_weighted else None
    with pytest.raises(ValueError, match=r"judged pairs have only some of them.*PSDSVR"):
        PairClassifier(metric).fit(pairs, y, sample_weight=weight)


@pytest.mark.parametrize("pairs", ["nearest", "all", [(0, 1), (2, 3)]])
def test_pairs_of_the_metric_are_the_judged_ones(judged, pairs):
    """Others have no judgment, which an error told to store as zeros in a matrix of no one."""
    found = PairClassifier(PSDSVR(pairs=pairs)).fit(*judged[:2])
    expected = PairClassifier(PSDSVR()).fit(*judged[:2])
    np.testing.assert_array_equal(found.components_, expected.components_)


def test_a_network_takes_no_weights_of_pairs(judged):
    pytest.importorskip("skorch")
    from metricalign.deep import HRAML

    pairs, y = judged[:2]
    network = HRAML(early_stopping=False, max_iter=1)
    with pytest.raises(ValueError, match=r"HRAML does not take pairs with weights.*each pair once"):
        PairClassifier(network).fit(pairs, y, sample_weight=np.arange(len(y)))
    assert PairClassifier(network).fit(pairs, y).predict(pairs).shape == y.shape


def test_weights_of_pairs_are_not_cross_validated_inside(judged):
    pairs, y, _ = judged
    with pytest.raises(ValueError, match="metric__C"):
        PairClassifier(RelationAlignmentCV(Cs=2)).fit(pairs, y, np.full(len(y), 2))


def test_errors_after_fit(fitted, judged):
    pairs, y, _ = judged
    with pytest.raises(ValueError, match=r"\(n_pairs, 2, 13\).*got \(400, 2, 12\)"):
        fitted.predict(pairs[:, :, 1:])
    with pytest.raises(ValueError, match="one class only"):
        fitted.score(pairs, np.ones(len(y)))
    for threshold in ("0.5", None, np.nan):
        with pytest.raises(ValueError, match="threshold must be a number"):
            fitted.set_threshold(threshold)
    for call in (
        lambda new: new.predict(pairs),
        lambda new: new.predict_proba(pairs),
        lambda new: new.transform(pairs[:, 0]),
        lambda new: new.set_threshold(1.0),
        lambda new: new.calibrate_threshold(pairs, y),
        lambda new: new.get_metric(),
    ):
        with pytest.raises(NotFittedError):
            call(PairClassifier())


# Graded judgments, the only supervision of existing estimators


GRADED = [
    PSDSVR(),
    RAMLSVR(),
    RAMLKRR(),
    RAMLPCSVR(),
    RAMLNCSVR(),
    RelationAlignment(loss="squared", cone="positive_semidefinite"),
]


@pytest.fixture(scope="module")
def grades():
    """Samples, and grades from 0 to 4 of their pairs by a distance that a person may have."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    A = np.array([[2.0, 1.0, 0.0, 0.0], [0.0, 1.0, -1.0, 0.0]])  # the last feature is noise
    squared = ((X[:, None] - X) @ A.T) ** 2
    return X, np.clip(np.round(squared.sum(axis=2) / 8), 0, 4)


@pytest.mark.parametrize("learner", GRADED, ids=lambda learner: type(learner).__name__)
def test_grades_of_some_pairs_order_the_others(grades, learner):
    X, matrix = grades
    left, right = np.triu_indices(len(X), k=1)
    is_judged = np.random.default_rng(1).random(len(left)) < 0.2
    judged = matrix[left, right][is_judged], (left[is_judged], right[is_judged])
    learner = clone(learner).set_params(relation="precomputed")
    learner.fit(X, sparse.coo_array(judged, shape=matrix.shape))
    np.testing.assert_array_equal(
        learner.pairs_, np.column_stack([left[is_judged], right[is_judged]])
    )
    np.testing.assert_array_equal(learner.relations_, judged[0])  # zeros that are stored, too
    others = np.column_stack([left, right])[~is_judged]
    held_out = sparse.coo_array((matrix[tuple(others.T)], tuple(others.T)), shape=matrix.shape)
    euclid = clone(learner).fit(X, sparse.coo_array(judged, shape=matrix.shape))
    euclid.components_ = np.eye(4)
    assert learner.score(X, held_out) > 0.9 > 0.85 > euclid.score(X, held_out)


@pytest.mark.parametrize("learner", GRADED[:3], ids=lambda learner: type(learner).__name__)
def test_dense_and_sparse_grades_are_the_same(grades, learner):
    X, matrix = grades
    learner = clone(learner).set_params(relation="precomputed", tol=1e-8)
    dense = clone(learner).fit(X, matrix)
    rows, columns = np.indices(matrix.shape).reshape(2, -1)
    stored = sparse.coo_array((matrix.ravel(), (rows, columns)), shape=matrix.shape)
    np.testing.assert_allclose(learner.fit(X, stored).matrix_, dense.matrix_, atol=1e-6)
    upper = rows < columns
    stored = (matrix.ravel()[upper], (rows[upper], columns[upper]))
    stored = sparse.csr_matrix(stored, shape=matrix.shape)
    np.testing.assert_allclose(learner.fit(X, stored).matrix_, dense.matrix_, atol=1e-6)


def test_grades_may_start_anywhere(grades):
    # Only with an intercept; a scale from 1 to 5 is one from 0 to 4.
    X, matrix = grades
    learner = PSDSVR(relation="precomputed", tol=1e-8).fit(X, matrix)
    shifted = PSDSVR(relation="precomputed", tol=1e-8).fit(X, matrix + 1)
    np.testing.assert_allclose(shifted.matrix_, learner.matrix_, atol=1e-5)
    assert shifted.intercept_ == pytest.approx(learner.intercept_ + 1, abs=1e-5)


def test_grades_learn_the_metric_and_judgments_the_threshold(grades):
    X, matrix = grades
    metric = PSDSVR(relation="precomputed").fit(X, matrix)
    left, right = np.triu_indices(len(X), k=1)
    pairs, y = X[np.column_stack([left, right])], np.where(matrix[left, right] <= 1, 1, -1)
    classifier = PairClassifier(FrozenEstimator(metric)).fit(pairs, y)
    assert classifier.metric_.components_ is metric.components_
    assert accuracy_score(y, classifier.predict(pairs)) > 0.9


@pytest.mark.parametrize(
    "metric", [PSDSVR(), make_pipeline(FunctionTransformer(), PSDSVR()), None], ids=repr
)
def test_far_from_the_origin_the_verdicts_are_the_same(metric):
    rng = np.random.default_rng(0)
    near = (np.round(200 * rng.normal(size=(60, 3))) / 16).astype(np.float32)
    far = near + np.float32(1e6)
    indices = rng.integers(0, 60, (150, 2))
    judgments = np.where((near[indices, 0] > 0).sum(axis=1) == 1, -1, 1)
    expected = PairClassifier(metric).fit(near[indices], judgments)
    found = PairClassifier(metric).fit(far[indices], judgments)
    pairs = far[indices]
    np.testing.assert_array_equal(found.predict(pairs), expected.predict(near[indices]))
    last = found.metric_ if metric is None or isinstance(metric, PSDSVR) else found.metric_[-1]
    np.testing.assert_array_equal(found.pair_distance(pairs), last.pair_distance(pairs))
    frozen = PairClassifier(FrozenEstimator(found.metric_)).fit(pairs, judgments)
    np.testing.assert_array_equal(frozen.pair_distance(pairs), last.pair_distance(pairs))


# Judgments in every form, probabilities and the equal error rate


@pytest.mark.parametrize("different", [-1, 0, False], ids=["signs", "0 and 1", "booleans"])
def test_judgments_in_every_form(different, judged):
    pairs, y, _ = judged
    same = type(different)(1)
    given = np.where(y > 0, same, different)
    expected = PairClassifier().fit(pairs, y)
    found = PairClassifier().fit(pairs, given)
    assert found.threshold_ == expected.threshold_
    assert found.classes_.tolist() == [different, same]
    np.testing.assert_array_equal(
        found.predict(pairs), np.where(expected.predict(pairs) > 0, same, different)
    )
    assert found.predict(pairs).dtype == given.dtype
    assert found.score(pairs, given) == expected.score(pairs, y) == found.score(pairs, y)


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]", object, "category", list])
def test_booleans_in_any_column_are_answered_by_booleans(dtype, judged):
    pairs, y, _ = judged
    given = (y > 0).tolist() if dtype is list else pd.Series(y > 0).astype(dtype)
    found = PairClassifier().fit(pairs, given)
    expected = PairClassifier().fit(pairs, y).predict(pairs) > 0
    np.testing.assert_array_equal(found.predict(pairs), expected)
    assert found.predict(pairs).dtype == bool


def test_equal_error_rate_is_where_both_curves_cross():
    rng = np.random.default_rng(0)
    distances = np.concatenate([rng.normal(1, 0.3, 400), rng.normal(2, 0.5, 300)])
    pairs = np.zeros((700, 2, 1))
    pairs[:, 1, 0] = distances
    y = np.repeat([1, -1], [400, 300])
    model = PairClassifier(StandardScaler(with_mean=False, with_std=False))
    model.set_params(strategy="equal_error_rate").fit(pairs, y)
    answers = model.predict(pairs)
    false_reject, false_accept = np.mean(answers[:400] < 0), np.mean(answers[400:] > 0)
    false_accepts, true_accepts, _ = roc_curve(y, -distances)
    expected = np.maximum(false_accepts, 1 - true_accepts).min()
    assert max(false_reject, false_accept) == pytest.approx(expected)
    assert abs(false_reject - false_accept) < 1 / 300 + 1 / 400


def test_probabilities_are_those_of_a_logistic_regression_and_calibrated():
    rng = np.random.default_rng(0)
    distances = rng.uniform(0, 4, 4000)
    truth = 1 / (1 + np.exp(3 * distances - 5))
    y = np.where(rng.uniform(size=4000) < truth, 1, -1)
    pairs = np.zeros((4000, 2, 1))
    pairs[:, 1, 0] = distances
    model = PairClassifier(StandardScaler(with_mean=False, with_std=False)).fit(pairs, y)
    probabilities = model.predict_proba(pairs)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[:, 1], truth, atol=0.05)
    logistic = LogisticRegression(C=1e6).fit(distances[:, None], y)
    expected = logistic.predict_proba(distances[:, None])
    # Platt's targets are inside 0 and 1 by one in the number of pairs.
    np.testing.assert_allclose(probabilities, expected, atol=2e-3)
    assert model.calibration_ == pytest.approx((-3, 5), rel=0.1)


def test_separated_pairs_have_no_certain_probability():
    pairs = np.zeros((40, 2, 1))
    pairs[:, 1, 0] = np.repeat([1.0, 2.0], 20) + np.tile(np.linspace(0, 0.1, 20), 2)
    y = np.repeat([True, False], 20)
    model = PairClassifier(StandardScaler(with_mean=False, with_std=False)).fit(pairs, y)
    same = model.predict_proba(pairs)[:, 1]
    assert 0.9 < same[:20].min() <= same[:20].max() < 1
    assert 0 < same[20:].min() <= same[20:].max() < 0.1


def test_a_distance_the_wrong_way_round_says_nothing():
    pairs = np.zeros((60, 2, 1))
    pairs[:, 1, 0] = np.linspace(1, 2, 60)
    y = np.where(np.arange(60) < 20, -1, 1)
    model = PairClassifier(StandardScaler(with_mean=False, with_std=False)).fit(pairs, y)
    assert model.calibration_[0] == 0
    np.testing.assert_allclose(model.predict_proba(pairs)[:, 1], 2 / 3, atol=0.02)


def test_weight_two_is_the_pair_twice_in_probabilities(judged):
    pairs, y, _ = judged
    weights = np.arange(len(y)) % 3
    weighted = PairClassifier(StandardScaler()).fit(pairs, y)
    repeated = clone(weighted).fit(pairs, y)
    weighted.calibrate_threshold(pairs, y, sample_weight=weights)
    repeated.calibrate_threshold(np.repeat(pairs, weights, axis=0), np.repeat(y, weights))
    assert weighted.calibration_ == pytest.approx(repeated.calibration_, rel=1e-4)


def test_pairs_of_a_feature_in_small_units_are_warned_of_and_how_to_scale_them():
    X, y = load_wine(return_X_y=True)
    indices = np.random.default_rng(0).choice(len(X), (300, 2))
    pairs, judgments = X[indices], np.where(np.equal(*y[indices].T), 1, -1)
    with pytest.warns(UserWarning, match=r"make_pipeline\(StandardScaler\(\), PSDSVR\(\)\)"):
        raw = PairClassifier().fit(pairs[:150], judgments[:150])
    # As it says, and then in silence; so is a frozen metric, which no scaling would change.
    scaled = PairClassifier(make_pipeline(StandardScaler(), PSDSVR()))
    scaled.fit(pairs[:150], judgments[:150])
    scores = [each.score(pairs[150:], judgments[150:]) for each in (raw, scaled)]
    assert scores[1] > scores[0] + 0.1
    PairClassifier(FrozenEstimator(PSDSVR().fit(X[::9], y[::9]))).fit(pairs, judgments)


@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e160, 1e300])
def test_unit_of_the_images_does_not_matter(unit, judged):
    pairs, y, _ = judged
    expected = PairClassifier(FunctionTransformer()).fit(pairs, y)
    found = PairClassifier(FunctionTransformer(_times, kw_args={"unit": unit})).fit(pairs, y)
    np.testing.assert_allclose(
        found.pair_distance(pairs), unit * np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1)
    )
    np.testing.assert_array_equal(found.predict(pairs), expected.predict(pairs))
    np.testing.assert_allclose(found.predict_proba(pairs), expected.predict_proba(pairs), atol=1e-6)


def test_sparse_images_are_compared(judged):
    pairs, y, _ = judged
    dense = PairClassifier(KBinsDiscretizer(encode="onehot-dense")).fit(pairs, y)
    found = PairClassifier(make_pipeline(KBinsDiscretizer(encode="onehot"))).fit(pairs, y)
    np.testing.assert_allclose(found.pair_distance(pairs), dense.pair_distance(pairs))


def test_pairs_of_very_different_distances_are_compared():
    pairs = np.array([[[0.0, 0.0], [3e-20, 4e-20]], [[0.0, 0.0], [3e200, 4e200]]])
    distances = distance_of_pairs(FunctionTransformer(), pairs)
    np.testing.assert_allclose(distances, [5e-20, 5e200])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_images_of_other_types_than_floats_are_compared(dtype, container, judged):
    pairs = np.maximum(judged[0], 0).round()
    images = pairs.astype(dtype).astype(float)
    expected = np.linalg.norm(images[:, 0] - images[:, 1], axis=1)
    transformer = FunctionTransformer(lambda X: container(X.astype(dtype)))
    np.testing.assert_allclose(distance_of_pairs(transformer, pairs), expected)


def test_pairs_may_have_a_feature_of_zeros(judged):
    pairs, y, _ = judged
    padded = np.concatenate([pairs, np.zeros_like(pairs[..., :1])], axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = PairClassifier().fit(padded, y).pair_distance(padded)
    expected = PairClassifier().fit(pairs, y).pair_distance(pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_pairs_in_tiny_units_are_refused_in_words(judged):
    pairs, y, _ = judged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="scale X"):
            PairClassifier().fit(1e-200 * pairs, y)


def _times(X, unit):
    return unit * X
