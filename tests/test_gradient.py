"""GradientAlignment against loops, finite differences, and problems whose answer is known."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.linalg import subspace_angles
from sklearn.datasets import load_wine, make_regression
from sklearn.gaussian_process.kernels import Matern
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from metricalign import GradientAlignment
from metricalign.learners.coordinates import target_coordinates
from metricalign.learners.gradient import _BANDWIDTH, _POWER, _gradients, _kernel_ridge
from metricalign.relations import RELATIONS, resolve_relation


def samples(n_samples=60, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    return X + 3, rng.normal(size=(n_samples, 3)) + X[:, :3] ** 2


def squared_distances(Y):
    return ((Y[:, None] - Y[None]) ** 2).sum(axis=-1)


def matrix_of(X, y, sample_weight=None, **parameters):
    learner = GradientAlignment(random_state=0, **parameters).fit(X, y, sample_weight)
    matrix = learner.get_mahalanobis_matrix()
    return matrix / np.linalg.norm(matrix)


def power_of(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix.astype(float))
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T


def matrix_by_loops(X, Y, n_rounds, alpha):
    """The formula of the class in extended precision, one pair of samples at a time."""
    n_samples, n_features = X.shape
    X, Y = (np.array(A - A.mean(axis=0), dtype=np.longdouble) for A in (X, Y))
    X = X / np.sqrt((X**2).sum() / n_samples)
    Y = Y / np.sqrt((Y**2).sum() / n_samples)
    root = np.eye(n_features, dtype=np.longdouble)
    for _ in range(n_rounds):
        Z = X @ root
        distances = np.sqrt(squared_distances(Z))
        width = _BANDWIDTH * distances.mean()
        kernel = np.exp(-distances / width)
        coef = np.linalg.solve((kernel + alpha * np.eye(n_samples)).astype(float), Y.astype(float))
        matrix = np.zeros((n_features, n_features), dtype=np.longdouble)
        for i in range(n_samples):
            for c in range(Y.shape[1]):
                gradient = np.zeros(n_features, dtype=np.longdouble)
                for j in range(n_samples):
                    if j != i:
                        slope = kernel[i, j] * coef[j, c] / (width * distances[i, j])
                        gradient -= slope * (root @ (Z[i] - Z[j]))
                matrix += np.outer(gradient, gradient)
        root = power_of(matrix, 0.5).astype(np.longdouble)
    matrix = power_of(matrix, _POWER)
    return matrix / np.linalg.norm(matrix)


@pytest.mark.parametrize("n_rounds", [1, 3])
def test_matrix_is_that_of_the_formula(n_rounds):
    X, Y = samples(30)
    expected = matrix_by_loops(X, Y, n_rounds, 0.2)
    relation = {"relation": "precomputed"}
    matrix = matrix_of(
        X, squared_distances(Y), n_rounds=n_rounds, alpha=0.2, shrinkage=1.0, **relation
    )
    assert_allclose(matrix, expected, atol=1e-7)


def test_gradients_against_finite_differences():
    rng = np.random.default_rng(0)
    points, landmarks, coef = (rng.normal(size=shape) for shape in [(6, 3), (20, 3), (20, 2)])

    def predict(x):
        distances = np.sqrt(((x[:, None] - landmarks) ** 2).sum(axis=-1))
        return np.exp(-distances / 0.7) @ coef

    distances = np.sqrt(((points[:, None] - landmarks) ** 2).sum(axis=-1))
    kernel = np.exp(-distances / 0.7)
    gradients = _gradients(points, landmarks, distances, kernel, coef, 0.7)
    gradients = np.stack(list(gradients), axis=-1)
    for feature, step in enumerate(1e-6 * np.eye(3)):
        slopes = (predict(points + step) - predict(points - step)) / 2e-6
        assert_allclose(-gradients[:, feature], slopes, atol=1e-7)


def test_own_kernel_is_left_out():
    landmarks = np.array([[0.0, 0.0], [3.0, 4.0]])
    distances = np.array([[0.0, 5.0], [5.0, 0.0]])
    kernel, coef = np.exp(-distances / 5), np.array([[2.0], [1.0]])
    (gradients,) = _gradients(landmarks, landmarks, distances, kernel, coef, 5.0)
    slope = np.exp(-1) / 5
    assert_allclose(-gradients[0], slope * np.array([0.6, 0.8]))
    assert_allclose(-gradients[1], -2 * slope * np.array([0.6, 0.8]))


def test_regression_is_kernel_ridge_regression():
    X, Y = samples()
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    kernel = Matern(length_scale=2.0, nu=0.5)  # exp(-distance / length_scale)
    expected = KernelRidge(alpha=0.3, kernel="precomputed")
    expected.fit(kernel(X), Y, sample_weight=weight)
    coef = _kernel_ridge(X, Y, weight, X, kernel(X), 2.0, 0.3)
    assert_allclose(coef, expected.dual_coef_, atol=1e-8)


def test_regression_with_landmarks_minimises_its_objective():
    X, Y = samples(100)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    kernel = Matern(length_scale=2.0, nu=0.5)
    rows, among = kernel(X, X[:20]), kernel(X[:20])
    coef = _kernel_ridge(X, Y, weight, X[:20], among, 2.0, 0.3)
    residuals = rows @ coef - Y
    gradient = rows.T @ (weight[:, None] * residuals) + 0.3 * among @ coef
    assert_allclose(gradient, 0, atol=1e-6 * np.abs(rows.T @ Y).max())


@pytest.mark.parametrize("shrinkage", [0.5, 1.0])
@pytest.mark.parametrize("n_samples", [178, 9])
def test_euclidean_part_is_a_share_of_the_mean_squared_distance(n_samples, shrinkage):
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X, y = X[:: 178 // n_samples], y[:: 178 // n_samples]
    weight = np.random.default_rng(0).integers(1, 3, len(X))
    covariance = np.cov(X.T, bias=True, fweights=weight)
    # Of few samples the distance in their span: there are no others.
    values, vectors = np.linalg.eigh(covariance)
    span = vectors[:, values > 1e-12]
    parts = matrix_of(X, y, weight, shrinkage=shrinkage, euclidean=0), span @ span.T
    learned, euclidean = (part / np.trace(part @ covariance) for part in parts)
    for given, share in ((0.5, 0.5), (1.0, 1.0), ("auto", 0.2)):
        matrix = matrix_of(X, y, weight, shrinkage=shrinkage, euclidean=given)
        expected = (1 - share) * learned + share * euclidean
        assert_allclose(matrix, expected / np.linalg.norm(expected), atol=1e-9)


def test_numbers_have_no_euclidean_part_unless_asked_for():
    X, Y = samples()
    plain = matrix_of(X, Y[:, 0], euclidean=0)
    assert_allclose(matrix_of(X, Y[:, 0]), plain, atol=1e-15)
    assert np.abs(matrix_of(X, Y[:, 0], euclidean=0.1) - plain).max() > 0.01


@pytest.mark.parametrize("n_landmarks", [100, None])
def test_finds_the_two_directions_that_matter(n_landmarks):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 10))
    directions = np.linalg.qr(rng.normal(size=(10, 2)))[0]
    left, right = (X @ directions).T
    y = np.cos(2 * left) + right**2 + 0.05 * rng.normal(size=800)  # even: nothing is linear
    learner = GradientAlignment(n_components=2, n_landmarks=n_landmarks, random_state=0)
    learner.fit(X, y)
    angles = subspace_angles(learner.components_.T, directions)
    assert np.rad2deg(angles.max()) < 15
    share = np.trace(directions.T @ matrix_of(X, y, n_landmarks=n_landmarks) @ directions)
    assert share > 0.8 * np.trace(matrix_of(X, y, n_landmarks=n_landmarks))


def test_useless_features_count_less_with_every_round():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6))
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.normal(size=400)
    shares = []
    for n_rounds in (1, 2, 3):
        matrix = matrix_of(X, y, n_rounds=n_rounds)
        shares.append(1 - matrix[0, 0] / np.trace(matrix))
    assert shares[0] > 1.5 * shares[1] > 2 * shares[2]


def test_classes_are_predicted_as_indicators():
    X, y = load_wine(return_X_y=True)
    X, indicators = StandardScaler().fit_transform(X), LabelBinarizer().fit_transform(y)
    relations = squared_distances(indicators.astype(float))
    expected = matrix_of(X, relations, relation="precomputed")
    assert_allclose(matrix_of(X, y, euclidean=0), expected, atol=1e-7)
    assert_allclose(matrix_of(X, indicators, euclidean=0), expected, atol=1e-7)
    assert_allclose(matrix_of(X, y, relation="zero_one", euclidean=0), expected, atol=1e-7)


def test_numbers_in_other_units_and_samples_in_others():
    X, Y = samples()
    expected = matrix_of(X, Y[:, 0])
    assert_allclose(matrix_of(X, 1e6 * Y[:, 0] - 5), expected, atol=1e-7)
    assert_allclose(matrix_of(1000 * X, Y[:, 0]), expected, atol=1e-7)
    assert_allclose(matrix_of(X + 100, Y[:, 0]), expected, atol=1e-7)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(matrix_of(X[order], Y[order, 0]), expected, atol=1e-7)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    rotated = rotation @ matrix_of(X @ rotation, Y[:, 0]) @ rotation.T
    assert_allclose(rotated, expected, atol=1e-7)


def test_weights_that_leave_no_slope_are_told():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5))
    weight = np.where(np.arange(150) == 0, 1e9, 1.0)
    with pytest.raises(ValueError, match="nearly all weight is on few samples"):
        matrix_of(X, X[:, 0], weight)


@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize("n_landmarks", [None, 30])
def test_weights_count_as_repetitions(precomputed, n_landmarks):
    X, Y = samples()
    weight = np.random.default_rng(2).integers(0, 4, len(X))
    repeated = np.repeat(np.arange(len(X)), weight)
    if precomputed:
        relations = squared_distances(Y)
        parameters = {"relation": "precomputed"}
        actual = matrix_of(X, relations, weight, **parameters)
        expected = matrix_of(X[repeated], relations[repeated][:, repeated], **parameters)
    else:
        actual = matrix_of(X, Y, weight, n_landmarks=n_landmarks)
        expected = matrix_of(X[repeated], Y[repeated], n_landmarks=n_landmarks)
    assert_allclose(actual, expected, atol=1e-6)


def test_landmarks_estimate_the_matrix_of_all_samples():
    X, y = make_regression(1500, 4, noise=1.0, random_state=0)
    complete = matrix_of(X, y, n_landmarks=None)
    assert_allclose(matrix_of(X, y, n_landmarks=1500), complete, atol=1e-12)
    estimate = matrix_of(X, y, n_landmarks=300)
    assert 1e-6 < np.abs(estimate - complete).max() < 0.1


@pytest.mark.parametrize("n_samples", [40, 300])
def test_near_and_equal_landmarks_make_no_trouble(n_samples):
    X, Y = samples(n_samples)
    X = np.repeat(X, 2, axis=0)
    X[1::2] += 1e-13
    X[3] = X[2]
    y = np.repeat(Y[:, 0], 2) + np.tile([0, 0.1], n_samples)
    plain = matrix_of(X[::2], Y[:, 0])
    assert_allclose(matrix_of(X, y, n_landmarks=60), plain, atol=0.2)


def test_sparse_and_float32_samples():
    X, Y = samples()
    expected = matrix_of(X, Y)
    assert_allclose(matrix_of(sparse.csr_array(X), Y), expected, atol=1e-9)
    assert_allclose(
        matrix_of(sparse.csr_array(X), Y, shrinkage=1.0), matrix_of(X, Y, shrinkage=1.0), atol=1e-9
    )
    learner = GradientAlignment().fit(X.astype(np.float32), Y)
    assert learner.components_.dtype == np.float32
    assert_allclose(matrix_of(X.astype(np.float32), Y), expected, atol=1e-3)


def test_fewer_samples_than_features():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 50)), rng.normal(size=20)
    components = GradientAlignment().fit(X, y).components_
    assert len(components) < 20
    centred = X - X.mean(axis=0)
    projection = np.linalg.pinv(centred) @ centred
    assert_allclose(components @ projection, components, atol=1e-10 * np.abs(components).max())


@pytest.mark.parametrize(("n_components", "n_rows"), [(1, 1), (2, 2), (1.0, 4), (1e-6, 1)])
def test_number_of_components(n_components, n_rows):
    X, Y = samples()
    assert GradientAlignment(n_components=n_components).fit(X, Y).components_.shape == (n_rows, 4)


@pytest.mark.parametrize("relation", ["manhattan", "hamming", "jaccard"])
def test_classical_scaling_has_the_relations_as_squared_distances(relation):
    """These relations of label sets are squared Euclid's distances, so the scaling is exact."""
    y = np.random.default_rng(0).integers(0, 2, (50, 6))
    weight = np.random.default_rng(1).uniform(0.5, 2, 50)
    resolved = resolve_relation(relation, y)
    targets = resolved.encode(y)
    coordinates = target_coordinates(resolved, targets, weight, np.arange(50), 50, None)
    rows, columns = np.triu_indices(50, 1)
    relations = resolved(targets, np.column_stack([rows, columns]))
    distances = squared_distances(coordinates)[rows, columns]
    factor = distances.sum() / relations.sum()
    assert_allclose(distances, factor * relations, atol=1e-9)
    assert_allclose(weight @ coordinates, 0, atol=1e-9)
    assert weight @ (coordinates**2).sum(axis=1) == pytest.approx(weight.sum())


def test_classical_scaling_by_landmarks():
    """Of coordinates in the plane any three landmarks in general position tell all."""
    Y = np.random.default_rng(0).normal(size=(40, 2))
    relations = squared_distances(Y)
    resolved = resolve_relation("precomputed", relations)
    coordinates = target_coordinates(
        resolved, resolved.encode(relations), np.ones(40), np.array([3, 8, 20]), 10, None
    )
    assert coordinates.shape == (40, 2)
    distances = squared_distances(coordinates)
    assert_allclose(distances * relations.sum() / distances.sum(), relations, atol=1e-8)


def test_many_columns_are_projected():
    Y = np.random.default_rng(0).normal(size=(60, 400))
    resolved = resolve_relation("auto", Y)
    targets = resolved.encode(Y)
    rng = np.random.RandomState(0)
    coordinates = target_coordinates(resolved, targets, np.ones(60), np.arange(60), 200, rng)
    assert coordinates.shape == (60, 200)
    rows = np.triu_indices(60, 1)
    ratios = squared_distances(coordinates)[rows] / squared_distances(targets)[rows]
    ratios /= ratios.mean()
    assert ratios.std() < 1.3 * np.sqrt(2 / 200)  # of a mean of 200 squares of normal numbers


def test_projected_classes_have_nearly_the_metric_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 10)
    X = rng.normal(size=(len(y), 5))
    X[:, :2] += 4 * rng.normal(size=(40, 2))[y]
    projected = matrix_of(X, y, relation="class")
    monkeypatch.setattr("metricalign.learners.gradient.N_OUTPUTS", 40)
    complete = matrix_of(X, y, relation="class")
    assert 1e-6 < np.linalg.norm(projected - complete) < 0.2
    assert np.trace(complete[:2, :2]) > 0.5 * np.trace(complete)


@pytest.mark.parametrize("relation", ["euclidean", "chebyshev", "canberra", "clark", "cosine"])
def test_relations_of_distributions(relation):
    assert relation in RELATIONS
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5))
    Y = np.exp(np.column_stack([2 * X[:, 0], 2 * X[:, 1], np.zeros(150)]))
    Y /= Y.sum(axis=1, keepdims=True)
    matrix = matrix_of(X, Y, relation=relation)
    assert np.trace(matrix[:2, :2]) > 0.8 * np.trace(matrix)


def test_similarities_are_no_relation():
    X, Y = samples()
    learner = GradientAlignment(relation="precomputed")
    with pytest.warns(UserWarning, match="zero metric: the relations of similar targets are large"):
        learner.fit(X, -squared_distances(Y[:, :1]))
    assert not learner.components_.any()


@pytest.mark.parametrize("euclidean", [0.5, 1.0])
def test_euclidean_part_is_all_where_nothing_is_learned(euclidean):
    X, Y = samples()
    relations = -squared_distances(Y[:, :1])
    learner = GradientAlignment(relation="precomputed", euclidean=euclidean)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix = learner.fit(X, relations).get_mahalanobis_matrix()
    # A part of 1 is all that was asked for.
    assert len(caught) == (euclidean < 1)
    assert all("learned only Euclid's distance" in str(each.message) for each in caught)
    assert_allclose(matrix / matrix[0, 0], np.eye(X.shape[1]), atol=1e-9)


def test_what_cannot_be_learned_from_is_refused():
    X, Y = samples()
    learner = GradientAlignment(relation="precomputed")
    with pytest.raises(ValueError, match="All relations are equal"):
        GradientAlignment(relation="zero_one").fit(X, np.arange(len(X)))
    with pytest.raises(ValueError, match="leave the range of numbers"):
        learner.fit(X, 1e308 * np.sign(np.subtract.outer(Y[:, 0], Y[:, 0]) ** 2 - 1))
    with pytest.raises(ValueError, match="needs the relations of all pairs"):
        learner.fit(X, sparse.csr_array(squared_distances(Y)))
