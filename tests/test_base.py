import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import (
    PSDSVR,
    RAMLSVR,
    IteratedMetricLearner,
    NeighborhoodAlignment,
    RelationAlignment,
)
from metricalign.learners.base import concordance, with_relation
from metricalign.learners.components import components_of


@pytest.fixture(scope="module")
def learner():
    return RAMLSVR().fit(*load_iris(return_X_y=True))


def test_score_of_classes_is_the_area_under_the_roc_curve(learner):
    X, y = load_iris(return_X_y=True)
    i, j = np.triu_indices(len(X), 1)
    # Samples that are the same in all are one of greater weight, and no pair.
    is_pair = np.any(X[i] != X[j], axis=1) | (y[i] != y[j])
    i, j = i[is_pair], j[is_pair]
    distances = learner.pair_distance(np.stack([X[i], X[j]], axis=1))
    assert learner.score(X, y) == pytest.approx(roc_auc_score(y[i] != y[j], distances))


def test_score_of_numbers_is_the_share_of_pairs_in_order():
    X, y = load_diabetes(return_X_y=True)
    learner = RAMLSVR().fit(X, y)
    X, y = X[:12], y[:12]
    i, j = np.triu_indices(len(X), 1)
    distances = np.linalg.norm(learner.transform(X)[i] - learner.transform(X)[j], axis=1)
    relations = np.abs(y[i] - y[j])
    right = total = 0.0
    for p in range(len(i)):
        for q in range(p):
            if relations[p] != relations[q]:
                total += 1
                order = np.sign(distances[p] - distances[q]) * np.sign(relations[p] - relations[q])
                right += 0.5 + 0.5 * order
    assert learner.score(X, y) == pytest.approx(right / total)


def test_distances_agree_with_each_other_and_with_scipy(learner):
    X, _ = load_iris(return_X_y=True)
    pairs = np.stack([X[:50], X[50:100]], axis=1)
    images = learner.transform(X)
    expected = np.linalg.norm(images[:50] - images[50:100], axis=1)
    distance = learner.get_metric()
    M = learner.get_mahalanobis_matrix()
    assert np.allclose(learner.pair_distance(pairs), expected)
    assert np.array_equal(learner.pair_score(pairs), -learner.pair_distance(pairs))
    assert np.allclose([distance(u, v) for u, v in pairs], expected)
    assert np.allclose([distance(u, v, squared=True) for u, v in pairs], expected**2)
    assert np.allclose([mahalanobis(u, v, M) for u, v in pairs], expected)


def test_metric_is_the_positive_part_of_the_matrix(learner):
    eigenvalues, vectors = np.linalg.eigh(learner.matrix_)
    positive = (vectors * np.maximum(eigenvalues, 0)) @ vectors.T
    assert np.allclose(learner.get_mahalanobis_matrix(), positive)


@pytest.mark.parametrize(
    ("n_components", "n_kept"), [(None, 3), (2, 2), (9, 3), (0.5, 1), (0.6, 1), (0.7, 2), (0.95, 3)]
)
def test_components_keep_the_largest_eigenvalues(n_components, n_kept):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    M = rotation @ np.diag([6.0, 3.0, 1.0, 0.0, -2.0]) @ rotation.T
    components = components_of(M, n_components)
    assert components.shape == (n_kept, 5)
    assert np.allclose(components @ components.T, np.diag([6.0, 3.0, 1.0][:n_kept]))


def test_no_positive_eigenvalue_leaves_one_row_of_zeros():
    assert np.array_equal(components_of(-np.eye(3)), np.zeros((1, 3)))


def test_pairs_of_wrong_shape_are_refused(learner):
    with pytest.raises(ValueError, match=r"pairs must have shape \(n_pairs, 2, 4\)"):
        learner.pair_distance(np.zeros((3, 2, 5)))


# Weights of the score


def share_in_order(distances, relations, weights):
    """The weighted share by a loop over pairs of pairs."""
    right = total = 0.0
    for p in range(len(distances)):
        for q in range(p):
            if relations[p] != relations[q]:
                weight = weights[p] * weights[q]
                order = np.sign(distances[p] - distances[q]) * np.sign(relations[p] - relations[q])
                total += weight
                right += weight * (0.5 + 0.5 * order)
    return right / total if total else 0.5


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize("n_places", [1, 3, 1000])
def test_concordance_is_that_of_a_loop(n_ranks, n_places):
    rng = np.random.default_rng(n_ranks)
    relations = rng.integers(n_ranks, size=60) - 2.5
    distances = rng.integers(n_places, size=60) / 7
    weights = rng.integers(0, 4, size=60) * rng.random(60)
    expected = share_in_order(distances, relations, weights)
    assert concordance(distances, relations, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("load", [load_iris, load_diabetes])
def test_weight_in_the_score_is_repetition(load):
    X, y = load(return_X_y=True)
    learner = RAMLSVR().fit(X, y)
    step = 5 if load is load_iris else 14
    X, y = X[::step], y[::step]
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    # Samples that are repeated count as one of greater weight.
    score = learner.score(X, y, sample_weight=weight)
    assert score == pytest.approx(learner.score(np.repeat(X, weight, 0), np.repeat(y, weight)))
    assert score == pytest.approx(learner.score(X, y, sample_weight=0.3 * weight))
    assert score != pytest.approx(learner.score(X, y), abs=1e-6)
    ones = np.ones(len(y))
    assert learner.score(X, y, sample_weight=ones) == pytest.approx(learner.score(X, y))
    i, j = np.triu_indices(len(X), 1)
    images = learner.transform(X)
    distances = np.linalg.norm(images[i] - images[j], axis=1)
    if load is load_iris:
        expected = roc_auc_score(y[i] != y[j], distances, sample_weight=weight[i] * weight[j])
    else:
        relations = np.abs(y[i] - y[j])
        expected = share_in_order(distances, relations, weight[i] * weight[j])
    assert score == pytest.approx(expected)


def test_weight_in_the_score_of_precomputed_relations():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[::10], y[::10]
    relations = np.abs(y[:, None] - y)
    learner = RAMLSVR(relation="precomputed").fit(X, relations)
    weight = np.arange(len(y)) % 3
    kept = np.flatnonzero(weight == 1)
    score = learner.score(X, relations, sample_weight=weight == 1)
    assert score == pytest.approx(learner.score(X[kept], relations[np.ix_(kept, kept)]))


def test_score_of_no_weight_is_a_half(learner):
    X, y = load_iris(return_X_y=True)
    weight = np.zeros(len(y))
    weight[:2] = 1
    assert learner.score(X, y, sample_weight=weight) == 0.5


@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_bad_weights_in_the_score_are_named(weight, learner):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"[Ss]ample[_ ]weight"):
        learner.score(X, y, sample_weight=np.where(y == 1, weight, 1.0))
    with pytest.raises(ValueError, match=r"[Ss]ample[_ ]weight"):
        learner.score(X, y, sample_weight=np.ones(3))


def test_score_of_one_distinct_sample_is_one_half():
    X, y = load_iris(return_X_y=True)
    learner = PSDSVR().fit(X, y)
    assert learner.score(X[[0, 0, 0]], y[[0, 0, 0]]) == 0.5
    assert learner.score(X[:3], y[:3], sample_weight=[0, 1, 0]) == 0.5


def test_score_of_many_features_takes_little_memory():
    """The differences of all pairs would be many times the size of the images."""
    X = np.random.default_rng(0).normal(size=(200, 1000))
    learner = RelationAlignment(cone="diagonal", prior="identity", max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit(X, np.arange(200) % 2)
    tracemalloc.start()
    learner.score(X, np.arange(200) % 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_pairs = 200 * 199 // 2
    assert peak < n_pairs * 1000 * 8 / 2


def relations_in(estimator):
    parameters = estimator.get_params()
    return {name: parameters[name] for name in parameters if name.split("__")[-1] == "relation"}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (PSDSVR(), {"relation": "class"}),
        (PSDSVR(relation="zero_one"), {"relation": "zero_one"}),
        (make_pipeline(StandardScaler(), PSDSVR()), {"psdsvr__relation": "class"}),
        (GridSearchCV(PSDSVR(), {"C": [1.0]}), {"estimator__relation": "class"}),
        # A learner passes its own relation on to the one inside of it.
        (
            IteratedMetricLearner(PSDSVR(), relation="zero_one"),
            {"relation": "zero_one", "learner__relation": "auto"},
        ),
        (
            make_pipeline(NeighborhoodAlignment(refine=PSDSVR(relation="zero_one"))),
            {
                "neighborhoodalignment__relation": "class",
                "neighborhoodalignment__refine__relation": "zero_one",
            },
        ),
        (StandardScaler(), {}),
    ],
)
def test_an_automatic_relation_is_that_of_the_estimator_around_it(estimator, expected):
    before = relations_in(estimator)
    assert relations_in(with_relation(estimator, "class")) == expected
    assert relations_in(estimator) == before


def test_a_frozen_learner_keeps_its_relation():
    learner = FrozenEstimator(PSDSVR().fit(*load_iris(return_X_y=True)))
    assert with_relation(learner, "absolute_difference").estimator is learner.estimator
    assert learner.estimator.relation == "auto"
