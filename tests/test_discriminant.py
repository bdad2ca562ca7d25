import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_wine, make_regression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from metricalign import DiscriminantAlignment


def samples(n_samples=60, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    return X + 3, rng.normal(size=(n_samples, 3)) + X[:, :3]


def squared_distances(Y):
    return ((Y[:, None] - Y[None]) ** 2).sum(axis=-1)


def normed(matrix):
    return matrix / np.linalg.norm(matrix)


def matrix_of(X, y, sample_weight=None, **parameters):
    learner = DiscriminantAlignment(**parameters).fit(X, y, sample_weight)
    return normed(learner.get_mahalanobis_matrix())


def ridge_matrix(X, Y, shrinkage):
    n_samples, n_features = X.shape
    total = X.var(axis=0).sum()
    alpha = n_samples * shrinkage / (1 - shrinkage) * total / n_features
    coef = Ridge(alpha=alpha).fit(X, Y).coef_
    return normed(coef.T @ coef)


@pytest.mark.parametrize("shrinkage", [1e-6, 0.3, 0.9])
def test_distance_is_that_of_ridge_predictions_of_the_targets(shrinkage):
    X, Y = samples()
    matrix = matrix_of(X, squared_distances(Y), relation="precomputed", shrinkage=shrinkage)
    assert_allclose(matrix, ridge_matrix(X, Y, shrinkage), atol=1e-9)


def test_classes_are_predicted_as_indicators():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    expected = ridge_matrix(X, LabelBinarizer().fit_transform(y), 0.5)
    assert_allclose(matrix_of(X, y, whitening=0, euclidean=0), expected, atol=1e-9)


def test_of_classes_it_spans_the_discriminants():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    learner = DiscriminantAlignment(shrinkage=1e-9, whitening=0, euclidean=0).fit(X, y)
    scalings = LinearDiscriminantAnalysis(solver="eigen").fit(X, y).scalings_[:, :2]
    basis = np.linalg.qr(scalings)[0]
    components = learner.components_[:2]
    assert_allclose(components @ basis @ basis.T, components, atol=1e-6 * abs(components).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_whitened_and_euclidean_parts_are_shares_of_the_mean_squared_distance(weighted):
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    weight = np.random.default_rng(0).integers(1, 3, len(X)) if weighted else np.ones(len(X), int)
    repeated = np.repeat(np.arange(len(X)), weight)
    covariance = np.cov(X[repeated].T, bias=True)
    d = len(covariance)
    S = 0.7 * covariance + 0.3 * np.trace(covariance) / d * np.eye(d)
    parts = [
        matrix_of(X[repeated], y[repeated], shrinkage=0.3, whitening=0, euclidean=0),
        np.linalg.inv(S),
    ]
    learned, whitened = (part / np.trace(part @ covariance) for part in parts)
    euclidean = np.eye(d) / np.trace(covariance)
    for given, share in ((0.5, 0.5), (1.0, 1.0), ("auto", 0.2)):
        mixed = (1 - share) * learned + share * whitened
        for whole, part in ((0.0, 0.0), (0.4, 0.4), (1.0, 1.0), ("auto", 0.1)):
            matrix = matrix_of(X, y, weight, shrinkage=0.3, whitening=given, euclidean=whole)
            expected = (1 - part) * mixed + part * euclidean
            # The norm is 1 where the samples are whitened.
            assert_allclose(normed(matrix), normed(expected), atol=1e-9)


@pytest.mark.parametrize("n_components", [None, 6, 0.95])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_and_noise_do_not_turn_the_whitened_metric(n_components, dtype):
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    expected = matrix_of(X.astype(dtype), y, n_components=n_components)
    noise = np.random.default_rng(0).normal(size=X.shape)
    atol = 1e-4 if dtype == np.float32 else 1e-8
    for other in (3 * X, X + 1e-12 * noise, np.hstack([X, np.full((len(X), 1), 5.0)])):
        # A constant feature counts in the mean variance alone, toward which S is shrunk.
        shrinkage = 0.5 if other.shape == X.shape else 14 / 27
        matrix = matrix_of(other.astype(dtype), y, n_components=n_components, shrinkage=shrinkage)
        if other.shape == X.shape:
            assert_allclose(matrix, expected, atol=atol)
        else:
            assert_allclose(matrix[:, 13], 0, atol=atol)
            assert_allclose(normed(matrix[:13, :13]), expected, atol=atol)


def test_other_parts_where_nothing_is_learned():
    X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    y = np.logical_xor(X[:, 0], X[:, 1])
    with pytest.warns(UserWarning, match="only the part without targets: .*no linear"):
        matrix = matrix_of(X, y)
    assert_allclose(matrix, normed(np.eye(2)), atol=1e-12)
    assert_allclose(matrix_of(X, y, whitening=1), normed(np.eye(2)), atol=1e-12)


def test_tiny_shares_are_none():
    X, y = load_wine(return_X_y=True)
    learned = matrix_of(X, y, whitening=0, euclidean=0)
    assert_allclose(matrix_of(X, y, whitening=1e-16, euclidean=1e-16), learned, atol=1e-9)


@pytest.mark.parametrize("part", ["whitening", "euclidean"])
def test_numbers_have_the_learned_part_only_unless_asked_for(part):
    X, Y = samples()
    plain = matrix_of(X, Y[:, 0], whitening=0, euclidean=0)
    assert_allclose(matrix_of(X, Y[:, 0]), plain, atol=1e-15)
    assert np.abs(matrix_of(X, Y[:, 0], **{part: 0.1}) - plain).max() > 0.01


def test_without_the_covariance_it_is_the_positive_part_of_the_aligned_matrix():
    X, _ = samples()
    y = np.random.default_rng(1).normal(size=len(X))
    relations = np.abs(np.subtract.outer(y, y))
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(-centred.T @ relations @ centred)
    expected = (vectors * np.maximum(values, 0)) @ vectors.T
    matrix = matrix_of(X, y, relation="absolute_difference", shrinkage=1.0)
    assert_allclose(matrix, normed(expected), atol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.5, 1.0])
@pytest.mark.parametrize("classes", [False, True])
def test_sparse_samples_far_from_zero(shrinkage, classes):
    X, Y = samples()
    y = Y[:, 0] > 3 if classes else Y[:, 0]
    dense = matrix_of(X, y, shrinkage=shrinkage)
    assert_allclose(matrix_of(sparse.csr_array(X), y, shrinkage=shrinkage), dense, atol=1e-9)


def test_weights_count_as_repetitions_among_landmarks_too():
    X, Y = samples()
    weight = np.random.default_rng(2).integers(0, 4, len(X))
    repeated = np.repeat(np.arange(len(X)), weight)
    expected = ridge_matrix(X[repeated], Y[repeated], 0.5)
    relations = squared_distances(Y)
    options = {"relation": "precomputed", "shrinkage": 0.5}
    assert_allclose(matrix_of(X, relations, weight, **options), expected, atol=1e-9)


def least_error_of_ridge(X, Y, weight):
    """By generalised cross-validation with the matrix that maps targets to predictions."""
    n_features = min(len(X) - 1, X.shape[1])
    mean = weight @ X / weight.sum()
    root = np.sqrt(weight / weight.sum())[:, None]
    scaled = root * (X - mean)
    variance = np.sum(scaled**2) / n_features
    n_samples = weight.sum() ** 2 / np.sum(weight**2)
    errors = {}
    for penalty in np.logspace(-3, 2, 21):
        ridge = scaled.T @ scaled + penalty * variance * np.eye(X.shape[1])
        hat = scaled @ np.linalg.solve(ridge, scaled.T) + root @ root.T
        residuals = root * Y - hat @ (root * Y)
        freedom = np.trace(hat)
        if freedom < n_samples:
            errors[penalty] = np.sum(residuals**2) / (1 - freedom / n_samples) ** 2
    penalty = min(errors, key=errors.get)
    return penalty / (1 + penalty)


@pytest.mark.parametrize(("n_samples", "n_features"), [(60, 5), (30, 20), (15, 40)])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_shrinkage_has_the_least_error_by_generalised_cross_validation(
    n_samples, n_features, is_weighted
):
    chosen = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n_samples, n_features)) * np.linspace(0.1, 2, n_features) + 3
        Y = X[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(n_samples, 2))
        weight = rng.integers(1, 4, n_samples) if is_weighted else np.ones(n_samples)
        learner = DiscriminantAlignment(relation="precomputed")
        learner.fit(X, squared_distances(Y), weight)
        assert learner.shrinkage_ == pytest.approx(least_error_of_ridge(X, Y, weight))
        matrix = normed(learner.get_mahalanobis_matrix())
        learner.set_params(shrinkage=learner.shrinkage_).fit(X, squared_distances(Y), weight)
        assert_allclose(normed(learner.get_mahalanobis_matrix()), matrix, atol=1e-12)
        chosen.add(learner.shrinkage_)
    assert len(chosen) > 1


def test_shrinkage_where_cross_validation_has_no_answer():
    X, Y = samples()
    nearly_one = np.where(np.arange(len(X)) == 3, 1e9, 1)
    # Classes, nearly all weight on one sample, and relations that grow with similarity.
    for y, weight, relation in (
        (Y.argmax(axis=1), None, "auto"),
        (Y[:, 0], nearly_one, "auto"),
        (-squared_distances(Y), None, "precomputed"),
    ):
        learner = DiscriminantAlignment(relation=relation)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            learner.fit(X, y, weight)
        assert learner.shrinkage_ == 0.5


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_shrinkage_from_landmarks(make):
    """The scatter of the targets among landmarks is nearly that of all."""
    X, Y = samples(2000)
    y = Y[:, 0] + 5 * np.random.default_rng(1).normal(size=len(Y))
    expected = DiscriminantAlignment().fit(X, y).shrinkage_
    assert 0.01 < expected < 0.9
    for seed in range(3):
        learner = DiscriminantAlignment(n_landmarks=1000, random_state=seed).fit(make(X), y)
        ratio = learner.shrinkage_ / (1 - learner.shrinkage_) / (expected / (1 - expected))
        assert 0.3 < ratio < 3.3


def test_landmarks_estimate_the_matrix_of_all_samples():
    X, y = make_regression(3000, 4, noise=1.0, random_state=0)
    complete = matrix_of(X, y, n_landmarks=None)
    assert_allclose(matrix_of(X, y, n_landmarks=3000, random_state=0), complete, atol=1e-12)
    estimates = [matrix_of(X, y, n_landmarks=300, random_state=seed) for seed in range(5)]
    assert max(np.abs(estimate - complete).max() for estimate in estimates) < 0.1
    assert np.abs(estimates[0] - estimates[1]).max() > 1e-6


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_repeated_targets_of_several_columns(make):
    """Against all pairs of samples, one by one."""
    X, Y = samples()
    Y = (Y > 0).astype(int)
    X, Y = np.repeat(X, 2, axis=0) + np.arange(2 * len(X))[:, None] % 3, np.tile(Y, (2, 1))
    assert len(np.unique(Y, axis=0)) < len(Y) / 3
    centred = X - X.mean(axis=0)
    relations = np.abs(Y[:, None] - Y).sum(axis=2)
    values, vectors = np.linalg.eigh(-centred.T @ relations @ centred)
    expected = (vectors * np.maximum(values, 0)) @ vectors.T
    matrix = matrix_of(X, make(Y), relation="manhattan", shrinkage=1.0)
    assert_allclose(matrix, normed(expected), atol=1e-9)


def test_as_many_landmarks_as_classes_are_all():
    X, y = make_regression(300, 4, random_state=0)
    y = np.digitize(y, [-50, 50])
    complete = matrix_of(X, y, n_landmarks=None)
    assert_allclose(matrix_of(X, y, n_landmarks=3), complete, atol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_a_target_of_many_samples_is_among_the_landmarks(make):
    """Drawn as one of 2,000 targets, it would be missed by half of the seeds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5))
    y = np.where(X[:, 0] + 0.3 * rng.normal(size=4000) > 0, 0.0, np.exp(X[:, 1]) + 0.5)
    X = make(X + 3)
    for shrinkage in (0.5, 1.0):
        complete = matrix_of(X, y, n_landmarks=None, shrinkage=shrinkage)
        for seed in range(4):
            estimate = matrix_of(X, y, n_landmarks=1000, random_state=seed, shrinkage=shrinkage)
            assert np.linalg.norm(estimate - complete) < 0.15


def test_landmarks_may_miss_all_classes_of_several_samples():
    X = np.random.default_rng(0).normal(size=(41, 3))
    y = np.array([f"class {number % 40}" for number in range(41)])
    for seed in range(10):
        assert np.isfinite(matrix_of(X, y, n_landmarks=4, random_state=seed)).all()
    with pytest.raises(ValueError, match="All relations are equal"):
        DiscriminantAlignment(n_landmarks=4).fit(X[:40], y[:40])


@pytest.mark.parametrize(("n_components", "n_rows"), [(1, 1), (2, 2), (1.0, 3), (1e-6, 1)])
def test_number_of_components(n_components, n_rows):
    X, Y = samples()
    learner = DiscriminantAlignment(relation="precomputed", n_components=n_components)
    assert learner.fit(X, squared_distances(Y)).components_.shape == (n_rows, 5)


def test_even_targets_have_no_linear_part():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X = np.concatenate([X, -X])
    with pytest.warns(UserWarning, match="zero metric: the targets have no linear"):
        learner = DiscriminantAlignment().fit(X, np.abs(X[:, 0]))
    assert not learner.components_.any()


def test_similarities_are_no_relation():
    X, Y = samples()
    similarities = -squared_distances(Y)
    with pytest.warns(UserWarning, match="zero metric: .*larger for similar samples"):
        learner = DiscriminantAlignment(relation="precomputed").fit(X, similarities)
    assert not learner.components_.any()


def test_what_cannot_be_learned_from_is_refused():
    X, Y = samples()
    learner = DiscriminantAlignment(relation="precomputed")
    with pytest.raises(ValueError, match="All relations are equal"):
        DiscriminantAlignment(relation="class").fit(X, np.arange(len(X)))
    with pytest.raises(ValueError, match="leave the range of numbers"):
        learner.fit(X, 1e308 * np.sign(np.subtract.outer(Y[:, 0], Y[:, 0]) ** 2 - 1))
    with pytest.raises(ValueError, match="needs the relations of all pairs"):
        learner.fit(X, sparse.csr_array(squared_distances(Y)))


@pytest.mark.parametrize("kind", ["classes", "label_sets", "ratings"])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("shrinkage", ["auto", 0.5, 1.0])
def test_partial_fit_is_one_fit_of_all_rows(kind, make, shrinkage):
    X, Y = samples(90)
    X = X + 1e3 if make is np.asarray else X
    y = {
        "classes": np.array(["a", "bc", "d"])[Y.argmax(axis=1)],
        "label_sets": (Y > 3).astype(int),
        "ratings": np.digitize(Y[:, 0], [0, 2, 4, 6]),
    }[kind]
    relation = "absolute_difference" if kind == "ratings" else "auto"
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    options = {"relation": relation, "shrinkage": shrinkage}
    whole = matrix_of(make(X), y, weight, **options)
    grown = DiscriminantAlignment(**options)
    for rows in np.split(np.arange(len(X)), [40, 70, 89]):
        grown.partial_fit(make(X[rows]), y[rows], weight[rows])
    assert_allclose(normed(grown.get_mahalanobis_matrix()), whole, atol=1e-8)
    # A fit is a first call.
    further = DiscriminantAlignment(**options).fit(make(X[:40]), y[:40], weight[:40])
    further.partial_fit(make(X[40:]), y[40:], weight[40:])
    assert_allclose(normed(further.get_mahalanobis_matrix()), whole, atol=1e-8)
    again = further.fit(make(X[:40]), y[:40]).get_mahalanobis_matrix()
    assert_allclose(normed(again), matrix_of(make(X[:40]), y[:40], **options), atol=1e-12)


def test_repeated_samples_of_a_call_are_weights_in_the_shrinkage():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, (60, 4)).astype(float)
    y = np.round(X[:, 0] + rng.normal(size=60)).clip(0, 5)
    weight = rng.integers(1, 4, 60)
    repeated = np.repeat(np.arange(60), weight)
    learner = DiscriminantAlignment(relation="absolute_difference")
    expected = learner.fit(X, y, weight).shrinkage_
    assert 0.01 < expected < 0.9
    for rows, given in ((np.arange(60), weight), (repeated, None)):
        grown = clone(learner).partial_fit(X[rows], y[rows], given)
        assert grown.shrinkage_ == expected


def test_partial_fit_takes_new_classes_and_fewer_rows_than_features():
    X = np.random.default_rng(0).normal(size=(30, 8))
    y = np.array(["a", "b", "a", "b", "c", "c", *"abcd" * 6])
    grown = DiscriminantAlignment()
    for start, stop in ((0, 4), (4, 6), (6, 7), (7, 30)):
        grown.partial_fit(X[start:stop], y[start:stop])
        expected = matrix_of(X[:stop], y[:stop])
        assert_allclose(normed(grown.get_mahalanobis_matrix()), expected, atol=1e-7)


def test_partial_fit_refuses_what_sums_do_not_tell():
    X, Y = samples()
    y = np.arange(len(X)) % 3
    with pytest.raises(ValueError, match="there are 60 of them, more than n_landmarks=50"):
        DiscriminantAlignment(n_landmarks=50).partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="of the kind 'multioutput'"):
        DiscriminantAlignment().partial_fit(X, Y)
    for learner in (
        DiscriminantAlignment(n_landmarks=50).fit(X, Y[:, 0]),
        DiscriminantAlignment().fit(X[:4], y[:4]),
    ):
        with pytest.raises(ValueError, match="Begin with partial_fit"):
            learner.partial_fit(X, y)
    learner = DiscriminantAlignment().partial_fit(X, y)
    before = learner.components_
    with pytest.raises(ValueError, match="X has 4 features"):
        learner.partial_fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        learner.partial_fit(X, y[1:])
    assert learner.components_ is before
    assert_allclose(learner.partial_fit(X, y).components_, before, atol=1e-12)


def test_a_first_part_of_one_class_is_refused_by_what_it_lacks():
    with pytest.raises(ValueError, match="same target in all samples so far"):
        DiscriminantAlignment().partial_fit(np.eye(4), ["a"] * 4)


@pytest.mark.parametrize(("first", "second"), [([0, 1], ["0", "a"]), (["0", "1"], [0, 1])])
def test_numbers_and_strings_are_not_mixed(first, second):
    """NumPy makes strings of both, of which 1 and "1" are the same."""
    learner = DiscriminantAlignment().partial_fit(np.eye(4), first * 2)
    before = learner.get_mahalanobis_matrix()
    with pytest.raises(ValueError, match=r"y had \w+ before, and has \w+ now"):
        learner.partial_fit(np.eye(4), second * 2)
    assert_allclose(learner.get_mahalanobis_matrix(), before)
