import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import roc_auc_score

from metricalign import RAMLSVR
from metricalign.base import components_of


@pytest.fixture(scope="module")
def learner():
    return RAMLSVR().fit(*load_iris(return_X_y=True))


def test_score_of_classes_is_the_area_under_the_roc_curve(learner):
    X, y = load_iris(return_X_y=True)
    i, j = np.triu_indices(len(X), 1)
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
