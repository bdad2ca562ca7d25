import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine, make_classification
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, RAMLSVR, IteratedMetricLearner, NeighborhoodAlignment
from metricalign.pairs import NearestClassPairs, NearestPairs, TransformedPairs


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_one_round_is_the_learner(iris):
    np.testing.assert_array_equal(
        IteratedMetricLearner(n_rounds=1).fit(*iris).components_,
        PSDSVR().fit(*iris).components_,
    )


def test_rounds_of_numbers_have_no_prior(iris):
    X = iris[0]
    y = X[:, 0] + X[:, 1] ** 2
    fitted = IteratedMetricLearner(n_rounds=2).fit(X, y)
    expected = IteratedMetricLearner(PSDSVR(prior=None), n_rounds=2).fit(X, y)
    np.testing.assert_array_equal(fitted.components_, expected.components_)


def test_each_round_of_classes_starts_from_the_metric_of_the_one_before(iris):
    X, y = iris
    first, second, third = (
        IteratedMetricLearner(n_rounds=n_rounds).fit(X, y).learner_ for n_rounds in (1, 2, 3)
    )
    for before, after in ((first, second), (second, third)):
        # The size of the prior and C are those of the default with these pairs.
        default = clone(after).set_params(C="scale", prior="auto").fit(X, y)
        left, right = after.pairs_.T
        differences, weights = X[left] - X[right], after.pair_weights_
        euclidean, learned = (
            np.average(np.sum(differences @ matrix * differences, axis=1), weights=weights)
            for matrix in (default.prior_, before.matrix_)
        )
        np.testing.assert_allclose(after.prior_, before.matrix_ * euclidean / learned, rtol=1e-6)
        assert pytest.approx(default.C_) == after.C_
        # And it is the fit that its parameters say.
        again = clone(after).fit(X, y)
        np.testing.assert_allclose(again.matrix_, after.matrix_, rtol=1e-6, atol=1e-9)


def test_few_samples_keep_the_first_prior():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((24, 50)), np.arange(24) % 3
    second = IteratedMetricLearner(n_rounds=2).fit(X, y).learner_
    assert second.get_params()["prior"] == "auto"
    assert np.linalg.matrix_rank(second.matrix_) <= 23
    # Nor does it depend on how often each is repeated.
    twice = IteratedMetricLearner(n_rounds=2).fit(np.tile(X, (3, 1)), np.tile(y, 3)).learner_
    np.testing.assert_allclose(twice.matrix_, second.matrix_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_metric_that_is_zero_but_for_rounding_is_no_prior(seed):
    rng = np.random.default_rng(seed)
    # One direction, which says nothing about the classes.
    X, y = np.outer(rng.standard_normal(60), np.arange(1.0, 6.0)), rng.integers(2, size=60)
    with pytest.warns(UserWarning, match="zero metric"):
        first, last = PSDSVR().fit(X, y), IteratedMetricLearner().fit(X, y)
    size = np.linalg.norm(first.matrix_)
    assert np.linalg.norm(last.learner_.matrix_) == pytest.approx(size, rel=0.5)


def test_pairs_of_a_round_are_those_before_and_the_nearest_under_the_last_metric(iris):
    X, y = iris
    X, y = np.unique(np.column_stack([X, y]), axis=0)[:, :4], None
    y = X[:, 0] + X[:, 1] ** 2
    pairs = NearestPairs(n_neighbors=2)
    learner = RAMLSVR(pairs=pairs)
    chosen = []
    for n_rounds in (1, 2, 3):
        fitted = IteratedMetricLearner(learner, n_rounds=n_rounds).fit(X, y).learner_
        chosen.append((fitted, {tuple(sorted(pair)) for pair in fitted.pairs_.tolist()}))
    for (before, old), (_, new) in itertools.pairwise(chosen):
        images = before.transform(X)
        distances = np.linalg.norm(images[:, None] - images, axis=2)
        np.fill_diagonal(distances, np.inf)
        nearest = np.argsort(distances, axis=1)[:, :2]
        added = {tuple(sorted((i, j))) for i, row in enumerate(nearest.tolist()) for j in row}
        assert new == old | added
    assert len(chosen[0][1]) < len(chosen[2][1])


def test_the_certificate_is_that_of_the_last_round(iris):
    iterated = IteratedMetricLearner(PSDSVR(tol=1e-6), n_rounds=3).fit(*iris)
    assert iterated.learner_.converged_
    again = clone(iterated.learner_).fit(*iris)
    np.testing.assert_allclose(again.matrix_, iterated.learner_.matrix_, rtol=1e-6, atol=1e-9)


def test_rounds_help_where_features_are_noise():
    X, y = make_classification(
        1500,
        80,
        n_informative=15,
        n_redundant=0,
        n_classes=8,
        n_clusters_per_class=2,
        class_sep=1.5,
        random_state=0,
    )
    X = StandardScaler().fit_transform(X)
    accuracy = []
    for n_rounds in (1, 4):
        images = IteratedMetricLearner(n_rounds=n_rounds).fit(X[::2], y[::2]).transform(X)
        neighbors = KNeighborsClassifier().fit(images[::2], y[::2])
        accuracy.append(neighbors.score(images[1::2], y[1::2]))
    assert accuracy[1] > accuracy[0] + 0.04


def test_default_is_not_the_zero_metric_where_classes_overlap():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = np.digitize(X[:, 0] + 0.5 * rng.standard_normal(200), np.linspace(-2, 2, 12))
    with pytest.warns(UserWarning, match="PSDSVR learned the zero metric"):
        IteratedMetricLearner(PSDSVR(prior=None), n_rounds=2, relation="class").fit(X, y)
    iterated = IteratedMetricLearner(n_rounds=2, relation="class").fit(X, y)
    assert np.any(iterated.components_)
    assert iterated.learner_.prior_ is not None


def test_rounds_of_repeated_measurements_keep_the_random_pairs_of_the_first():
    rng = np.random.default_rng(0)
    things = rng.normal(size=(12, 3))
    X = np.repeat(things, 20, axis=0) + 0.01 * rng.normal(size=(240, 3))
    y = np.repeat(things[:, 0], 20)
    first, last = (
        IteratedMetricLearner(PSDSVR(random_state=0), n_rounds=n).fit(X, y).learner_ for n in (1, 3)
    )
    pairs = [{tuple(sorted(pair)) for pair in each.pairs_.tolist()} for each in (first, last)]
    assert pairs[0] < pairs[1]
    matrix = last.get_mahalanobis_matrix()
    assert matrix[0, 0] > 1.5 * max(matrix[1, 1], matrix[2, 2])


def test_what_cannot_be_iterated_is_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="nothing to choose again"):
        IteratedMetricLearner(PSDSVR(pairs=[[0, 1], [0, 100]])).fit(X, y)
    relations = np.abs(np.subtract.outer(y, y)).astype(float)
    with pytest.raises(ValueError, match="nothing to choose again"):
        IteratedMetricLearner(relation="precomputed").fit(X, relations)
    with pytest.raises(ValueError, match="'learner' parameter"):
        IteratedMetricLearner(NeighborhoodAlignment()).fit(X, y)


def test_nearest_pairs_of_precomputed_relations(iris):
    X = iris[0]
    relations = np.abs(np.subtract.outer(X[:, 0], X[:, 0]))
    learner = PSDSVR(pairs="nearest")
    iterated = IteratedMetricLearner(learner, n_rounds=2, relation="precomputed")
    one_round = clone(learner).set_params(relation="precomputed").fit(X, relations)
    assert len(iterated.fit(X, relations).learner_.pairs_) > len(one_round.pairs_)


def test_transformed_pairs_are_those_of_the_images(iris):
    X, y = iris
    scaler = StandardScaler().fit(X * [1, 10, 100, 1000])
    strategy = NearestClassPairs(2, 2)
    indices, weights = TransformedPairs(strategy, scaler).select(X, y)
    expected_indices, expected_weights = strategy.select(scaler.transform(X), y)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(weights, expected_weights)
    with pytest.raises(ValueError, match="'transformer' parameter"):
        TransformedPairs(strategy, None).select(X, y)


def test_relation_of_the_learner_is_kept():
    X, y = load_wine(return_X_y=True)
    y = y.astype(float)
    learner = PSDSVR(relation="zero_one")
    assert IteratedMetricLearner(learner, n_rounds=1).fit(X, y).relation_.name == "zero_one"
    assert IteratedMetricLearner(n_rounds=1, relation="zero_one").fit(X, y).relation_.name == (
        "zero_one"
    )
