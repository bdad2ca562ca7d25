"""Neighbourhood alignment against direct loops, scikit-learn, and what must not matter."""

import warnings
from itertools import combinations
from numbers import Real
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestNeighbors,
    NeighborhoodComponentsAnalysis,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval

from metricalign import PSDSVR, NeighborhoodAlignment, RelationAlignment
from metricalign.learners.base import MetricLearner
from metricalign.learners.neighborhood import (
    NEIGHBORHOOD_LOSSES,
    ExpectedRelation,
    KernelRegression,
    NeighborhoodLoss,
    alignment,
    candidates,
)
from metricalign.learners.neighborhood.candidates import AllSamples, NeighborLists
from metricalign.learners.neighborhood.objective import NeighborhoodObjective
from metricalign.pairs.distinct import check_magnitude, distinct_samples
from metricalign.relations import resolve_relation
from metricalign.testing import check_neighborhood_loss

every_loss = pytest.mark.parametrize("loss", NEIGHBORHOOD_LOSSES)


class LogOfRelation(NeighborhoodLoss):
    """A loss as a person would write one: log(1 + temper sum_j p_ij g_ij)."""

    _parameter_constraints: ClassVar[dict] = {"temper": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, temper=1.0):
        self.temper = temper

    def for_samples(self, relation, targets, weight):
        loss = clone(self)
        loss.expected = ExpectedRelation().for_samples(relation, targets, weight)
        return loss

    def value_and_derivative(self, probabilities, neighborhoods):
        value, derivative = self.expected.value_and_derivative(probabilities, neighborhoods)
        inside = 1 + self.temper * value
        return np.log(inside), self.temper * derivative / inside[:, None]


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X[::4, :5]), y[::4]


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X[::9, :5]), y[::9]


@pytest.fixture(scope="module", params=["classes", "numbers"])
def data(request):
    return request.getfixturevalue(request.param)


def precise(**parameters):
    """So far that two searches on the same problem can be compared."""
    return NeighborhoodAlignment(**{"tol": 1e-11, "max_iter": 3000} | parameters)


def assert_same_distances(learner, X, expected, other, rtol=1e-4):
    distances = pairwise_distances(expected.transform(other))
    np.testing.assert_allclose(
        pairwise_distances(learner.transform(X)), distances, rtol=rtol, atol=rtol * distances.max()
    )


# The objective, by loops

KINDS = ["number", "classes", "label sets", "sparse label sets", "distributions", "several numbers"]


def targets_of(kind, rng, n_samples):
    """Targets, and the columns that kernel regression predicts."""
    if kind == "number":
        y = rng.normal(size=n_samples)
        return y, y[:, None]
    if kind == "classes":
        y = np.array(["wet", "dry", "sour"])[np.arange(n_samples) % 3]
        return y, np.column_stack([y == name for name in ("wet", "dry", "sour")]).astype(float)
    if "label sets" in kind:
        y = rng.integers(0, 2, size=(n_samples, 4))
        return (sparse.csr_array(y) if "sparse" in kind else y), y.astype(float)
    if kind == "distributions":
        y = rng.dirichlet(np.ones(3), size=n_samples)
        return y, y
    y = rng.normal(size=(n_samples, 3)) * [1.0, 100.0, 0.01] + 5
    return y, y / y.std(axis=0)


def relations_of(kind, y):
    """The relation of each two targets, as the README has it."""
    if kind == "classes":
        return np.where(y[:, None] != y, 1.0, -1.0)
    if kind == "number":
        return np.abs(y[:, None] - y) / np.ptp(y)
    y = y.toarray() if sparse.issparse(y) else y
    difference = np.abs(y[:, None] - y)
    if kind == "distributions":
        return difference.max(axis=2)
    if kind == "several numbers":
        return np.sqrt(np.mean((difference / y.std(axis=0)) ** 2, axis=2))
    return difference.sum(axis=2).astype(float)


def probabilities_of(components, X, weight, others, i):
    """Of the possible neighbours of one sample."""
    squared = np.array([np.sum((components @ (X[i] - X[j])) ** 2) for j in others])
    mass = weight[others] * np.exp(squared.min() - squared)
    return mass / mass.sum()


def objective_by_loops(loss_of, components, X, weight, alpha, lists):
    total = 0.0
    for i, others in enumerate(lists):
        total += weight[i] * loss_of(i, others, probabilities_of(components, X, weight, others, i))
    return total / weight.sum() + alpha * np.sum(components**2) / len(X)


def expected_relation(relations, weight):
    pairs = np.array(list(combinations(range(len(weight)), 2)))
    values = relations[tuple(pairs.T)]
    smallest = values.min()
    mean = np.average(values, weights=weight[pairs[:, 0]] * weight[pairs[:, 1]])
    relations = (relations - smallest) / (mean - smallest)
    return lambda i, others, p: sum(
        share * relations[i, j] for share, j in zip(p, others, strict=True)
    )


def kernel_regression(columns, weight):
    mean = np.average(columns, axis=0, weights=weight)
    variance = np.average(np.sum((columns - mean) ** 2, axis=1), weights=weight)

    def error(i, others, p):
        prediction = sum(share * columns[j] for share, j in zip(p, others, strict=True))
        return np.sum((columns[i] - prediction) ** 2) / variance

    return error


def make_problem(loss, kind, lists, seed=0, alpha=0.3, n_samples=21):
    """An objective, and the same by loops, both as functions of the map."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    weight = rng.uniform(0.2, 3.0, n_samples)
    y, columns = targets_of(kind, rng, n_samples)
    relation = resolve_relation("auto", y)
    made = NEIGHBORHOOD_LOSSES[loss]().for_samples(relation, relation.encode(y), weight)
    objective = NeighborhoodObjective(X, made, weight, alpha)
    others = np.array([np.delete(np.arange(n_samples), i) for i in range(n_samples)])
    if lists:
        others = np.array([rng.choice(row, 6, replace=False) for row in others])
        objective.neighborhoods = NeighborLists(others)
    else:
        objective.neighborhoods = AllSamples(n_samples)
    if loss == "expected_relation":
        loss_of = expected_relation(relations_of(kind, y), weight)
    else:
        loss_of = kernel_regression(columns, weight)
    return objective, lambda components: objective_by_loops(
        loss_of, components, X, weight, alpha, others
    )


@every_loss
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lists", [False, True], ids=["all", "lists"])
def test_objective_is_that_of_the_loops(loss, kind, lists):
    objective, by_loops = make_problem(loss, kind, lists)
    rng = np.random.default_rng(1)
    for components in (rng.normal(size=(2, 3)), np.zeros((1, 3)), 30 * np.eye(3)):
        expected = by_loops(components)
        factors = np.array([1.0, 0.3, 2.0])
        multiples = [by_loops(factor * components) for factor in factors]
        assert objective.values(components, factors) == pytest.approx(multiples, rel=1e-10)
        value, gradient = objective.value_and_gradient(components)
        assert value == pytest.approx(expected, rel=1e-10)
        assert gradient.shape == components.shape


@every_loss
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lists", [False, True], ids=["all", "lists"])
def test_gradient_is_that_of_finite_differences(loss, kind, lists):
    objective, _ = make_problem(loss, kind, lists)
    components = np.random.default_rng(2).normal(size=(2, 3))

    def value(vector):
        return objective.values(vector.reshape(2, 3), np.ones(1))[0]

    # Central differences.
    step = 1e-5
    forward = approx_fprime(components.ravel(), value, step)
    backward = -approx_fprime(components.ravel(), value, -step)
    _, gradient = objective.value_and_gradient(components)
    np.testing.assert_allclose(gradient.ravel(), (forward - backward) / 2, rtol=1e-6, atol=1e-8)


@every_loss
def test_lists_of_all_others_are_all_samples(loss):
    complete, _ = make_problem(loss, "number", lists=False)
    objective, _ = make_problem(loss, "number", lists=False)
    rng = np.random.default_rng(3)
    lists = [rng.permutation(np.delete(np.arange(21), i)) for i in range(21)]
    objective.neighborhoods = NeighborLists(np.array(lists))
    components = rng.normal(size=(3, 3))
    found, expected = (o.value_and_gradient(components) for o in (objective, complete))
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-12)


@every_loss
@pytest.mark.parametrize("lists", [False, True], ids=["all", "lists"])
def test_batches_do_not_matter(loss, lists, monkeypatch):
    components = np.random.default_rng(4).normal(size=(2, 3))
    expected = make_problem(loss, "number", lists)[0].value_and_gradient(components)
    monkeypatch.setattr(candidates, "_BATCH_ENTRIES", 50)
    found = make_problem(loss, "number", lists)[0].value_and_gradient(components)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-10, atol=1e-12)


def test_neighborhoods_set_anew_are_used():
    objective, by_loops = make_problem("expected_relation", "number", lists=True)
    components = np.eye(3)
    assert objective.values(components, np.ones(1))[0] == pytest.approx(by_loops(components))
    objective.neighborhoods = AllSamples(21)
    expected = make_problem("expected_relation", "number", lists=False)[1](components)
    # Of the same samples and targets: these are drawn before the lists.
    assert objective.values(components, np.ones(1))[0] == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 12),
    st.integers(1, 4),
    st.integers(0, 10_000),
    st.sampled_from([1e-6, 1.0, 1e3]),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_probabilities(n_samples, n_features, seed, size, lists, dtype):
    rng = np.random.default_rng(seed)
    X = (size * rng.normal(size=(n_samples, n_features))).astype(dtype)
    weight = 10.0 ** rng.uniform(-3, 3, n_samples)
    objective = NeighborhoodObjective(X, None, weight, 0.0)
    objective.neighborhoods = AllSamples(n_samples)
    if lists:
        steps = rng.integers(1, n_samples, size=(n_samples, 3))
        indices = (np.arange(n_samples)[:, None] + steps) % n_samples
        objective.neighborhoods = NeighborLists(indices)
    images = objective.images(np.eye(n_features, dtype=dtype))
    distances = objective.neighborhoods.squared_distances(images)
    probabilities = objective.probabilities(distances)
    assert probabilities.dtype == dtype
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    if not lists:
        np.testing.assert_array_equal(probabilities.diagonal(), 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(0, 10_000), st.sampled_from(KINDS), st.booleans())
def test_objective_is_between_its_bounds(n_samples, seed, kind, lists):
    rng = np.random.default_rng(seed)
    y, _ = targets_of(kind, rng, n_samples)
    relations = relations_of(kind, y)[~np.eye(n_samples, dtype=bool)]
    if np.ptp(relations) < 1e-6:
        return
    relation = resolve_relation("auto", y)
    weight = np.ones(n_samples)
    loss = ExpectedRelation().for_samples(relation, relation.encode(y), weight)
    X = rng.normal(size=(n_samples, 3))
    objective = NeighborhoodObjective(X, loss, weight, 0.0)
    objective.neighborhoods = AllSamples(n_samples)
    # Equal distances: neighbours drawn at random.
    assert objective.values(np.zeros((1, 3)), np.ones(1))[0] == pytest.approx(1.0)
    if lists:
        steps = rng.integers(1, n_samples, size=(n_samples, 3))
        indices = (np.arange(n_samples)[:, None] + steps) % n_samples
        objective.neighborhoods = NeighborLists(indices)
    value = objective.values(rng.normal(size=(2, 3)), np.ones(1))[0]
    largest = (relations.max() - relations.min()) / (relations.mean() - relations.min())
    assert -1e-12 <= value <= largest * (1 + 1e-12)


# The fit, against the loops and scikit-learn


def scale_of(X, weight=None):
    """Square root of the total variance."""
    X = X.astype(float)
    mean = np.average(X, axis=0, weights=weight)
    return np.sqrt(np.average(np.sum((X - mean) ** 2, axis=1), weights=weight))


def fitted_objective(learner, X, y, weight=None, components=None):
    """By loops, at the learned map or another one."""
    weight = np.ones(len(X)) if weight is None else weight
    if learner.loss == "expected_relation":
        kind = "number" if y.dtype.kind == "f" else "classes"
        loss_of = expected_relation(relations_of(kind, y), weight)
    else:
        columns = y[:, None] if y.dtype.kind == "f" else y[:, None] == np.unique(y)
        loss_of = kernel_regression(columns.astype(float), weight)
    scale = scale_of(X, weight)
    components = learner.components_ if components is None else components
    others = [np.delete(np.arange(len(X)), i) for i in range(len(X))]
    return objective_by_loops(loss_of, components * scale, X / scale, weight, learner.alpha, others)


@every_loss
def test_objective_of_the_fit(loss, data):
    X, y = data
    weight = np.random.default_rng(5).uniform(0.1, 2.0, len(y))
    learner = NeighborhoodAlignment(loss).fit(X, y, sample_weight=weight)
    assert learner.objective_ == pytest.approx(fitted_objective(learner, X, y, weight))
    euclid = [
        fitted_objective(learner, X, y, weight, length / scale_of(X, weight) * np.eye(5))
        for length in (0.1, 0.5, 1.0, 2.0, 4.0)
    ]
    assert learner.objective_ < 0.97 * min(euclid)


def test_objective_is_that_of_scikit_learn(classes):
    X, y = classes
    relation = resolve_relation("auto", y)
    loss = ExpectedRelation().for_samples(relation, relation.encode(y), np.ones(len(y)))
    objective = NeighborhoodObjective(X, loss, np.ones(len(y)), 0.0)
    objective.neighborhoods = AllSamples(len(y))
    components = 0.5 * np.random.default_rng(6).normal(size=(2, X.shape[1]))
    analysis = NeighborhoodComponentsAnalysis()
    analysis.n_iter_ = 0
    # It is minus the sum of the probabilities of neighbours of the same class.
    theirs, gradient = analysis._loss_grad_lbfgs(
        components.ravel(), X, (y[:, None] == y).astype(float), -1.0
    )
    value, ours = objective.value_and_gradient(components)
    # The relation of different classes is 2 above that of the same.
    assert value == pytest.approx((1 + theirs / len(y)) * 2 / loss._scale)
    np.testing.assert_allclose(ours.ravel(), gradient / len(y) * 2 / loss._scale, atol=1e-12)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_fit_is_as_good_as_that_of_scikit_learn(load):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)[::2]
    X, rows = np.unique(X, axis=0, return_index=True)
    y = y[::2][rows]
    learner = NeighborhoodAlignment(alpha=0.0, tol=1e-6, max_iter=300).fit(X, y)
    scale = scale_of(X)
    share_of_different = (y[:, None] != y).sum() / (len(y) * (len(y) - 1))

    def objective(components):
        distances = pairwise_distances(X @ components.T, metric="sqeuclidean")
        np.fill_diagonal(distances, np.inf)
        p = np.exp(distances.min(axis=1, keepdims=True) - distances)
        p /= p.sum(axis=1, keepdims=True)
        return np.mean(np.sum(p, axis=1, where=y[:, None] != y)) / share_of_different

    assert learner.objective_ == pytest.approx(objective(learner.components_), abs=1e-9)
    starts = [length / scale * np.eye(X.shape[1]) for length in np.geomspace(0.1, 30.0, 12)]
    start = min(starts, key=objective)
    analysis = NeighborhoodComponentsAnalysis(init=start, max_iter=300).fit(X, y)
    assert learner.objective_ <= objective(analysis.components_) + 1e-3
    assert learner.objective_ < 0.9 * objective(start)


@pytest.mark.parametrize("kind", KINDS)
def test_kernel_regression_is_its_leave_one_out_error(kind):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(30, 3))
    y, columns = targets_of(kind, rng, 30)
    learner = NeighborhoodAlignment("kernel_regression", alpha=0.0).fit(X, y)
    images = learner.transform(X)
    error = 0.0
    for i in range(30):
        others = np.delete(np.arange(30), i)
        kernel = np.exp(-np.sum((images[others] - images[i]) ** 2, axis=1))
        error += np.sum((columns[i] - kernel @ columns[others] / kernel.sum()) ** 2)
    assert learner.objective_ == pytest.approx(error / np.sum((columns - columns.mean(0)) ** 2))


# What must not matter


@every_loss
def test_translation_and_rotation_do_not_matter(loss, data):
    X, y = data
    expected = precise(loss=loss).fit(X, y)
    rotation = np.linalg.qr(np.random.default_rng(8).normal(size=(5, 5)))[0]
    for moved in (X + np.arange(5) * 30, X @ rotation):
        learner = precise(loss=loss).fit(moved, y)
        assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)
        assert_same_distances(learner, moved, expected, X)


@every_loss
@pytest.mark.parametrize("factor", [1e-5, 3e4])
@pytest.mark.parametrize("n_neighbors", [None, 8])
def test_unit_of_the_features_does_not_matter(loss, factor, n_neighbors, data):
    X, y = data
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0)
    expected = clone(learner).fit(X, y)
    learner.fit(factor * X, y)
    np.testing.assert_allclose(
        factor * learner.components_, expected.components_, rtol=1e-4, atol=1e-4
    )
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)


@every_loss
@pytest.mark.parametrize(("factor", "offset"), [(1e6, 0.0), (-1e-4, 3.0)])
def test_unit_of_the_target_does_not_matter(loss, factor, offset, numbers):
    X, y = numbers
    expected = precise(loss=loss).fit(X, y)
    learner = precise(loss=loss).fit(X, factor * y + offset)
    np.testing.assert_allclose(learner.components_, expected.components_, atol=1e-4)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)


@every_loss
@pytest.mark.parametrize("n_neighbors", [None, 8])
def test_weight_is_repetition_and_zero_is_absence(loss, n_neighbors, data):
    X, y = data
    weight = np.random.default_rng(9).integers(0, 4, len(y))
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0)
    weighted = clone(learner).fit(X, y, sample_weight=weight)
    repeated = clone(learner).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_array_equal(weighted.components_, repeated.components_)
    once = clone(learner).fit(X, y, sample_weight=weight > 0)
    present = clone(learner).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(once.components_, present.components_)
    assert np.abs(once.components_ - weighted.components_).max() > 1e-3
    scaled = clone(learner).fit(X, y, sample_weight=8.0 * weight)
    np.testing.assert_allclose(scaled.components_, weighted.components_, rtol=1e-6, atol=1e-8)


def test_weights_of_precomputed_relations(numbers):
    X, y = numbers
    relations = np.abs(y[:, None] - y)
    kept = np.arange(len(y)) % 3 > 0
    learner = NeighborhoodAlignment(relation="precomputed")
    weighted = clone(learner).fit(X, relations, sample_weight=kept)
    absent = clone(learner).fit(X[kept], relations[kept][:, kept])
    np.testing.assert_array_equal(weighted.components_, absent.components_)


def test_precomputed_relations_are_those_of_the_targets(numbers):
    X, y = numbers
    expected = precise().fit(X, y)
    learner = precise(relation="precomputed").fit(X, np.abs(y[:, None] - y))
    assert_same_distances(learner, X, expected, X)


@every_loss
@pytest.mark.parametrize("n_neighbors", [None, 8])
def test_order_of_the_samples_does_not_matter(loss, n_neighbors, data):
    X, y = data
    order = np.random.default_rng(10).permutation(len(y))
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0)
    expected = clone(learner).fit(X, y)
    learner.fit(X[order], y[order])
    np.testing.assert_array_equal(learner.components_, expected.components_)


@every_loss
@pytest.mark.parametrize("offset", [0.0, 20.0])
@pytest.mark.parametrize("n_neighbors", [None, 8])
def test_sparse_is_dense(loss, offset, n_neighbors, data):
    X, y = data
    X = np.where(np.abs(X) < 0.5, 0, X) + offset
    weight = np.random.default_rng(19).uniform(0.1, 3.0, len(y))
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0)
    expected = clone(learner).fit(X, y, sample_weight=weight)
    for stored in (sparse.csr_array, sparse.coo_matrix):
        learner.fit(stored(X), y, sample_weight=weight)
        assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)
        np.testing.assert_allclose(learner.components_, expected.components_, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            learner.transform(stored(X)), expected.transform(X), rtol=1e-3, atol=1e-3
        )


def test_far_origin_of_sparse_float32(classes):
    X, y = classes
    X = (X + 1e4).astype(np.float32)
    expected = NeighborhoodAlignment().fit(X, y)
    learner = NeighborhoodAlignment().fit(sparse.csr_array(X), y)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-2)


@every_loss
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_more_features_than_samples(loss, stored):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(15, 40))
    X[:, 7] = 0
    y = X[:, 0] + X[:, 1]
    learner = precise(loss=loss, alpha=0.5).fit(stored(X), y)
    # The same samples in the span of their differences.
    span = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:14]
    reduced = precise(loss=loss, alpha=0.5).fit(X @ span.T, y)
    assert learner.components_.shape == (14, 40)
    np.testing.assert_allclose(learner.components_[:, 7], 0, atol=1e-12)
    np.testing.assert_allclose(learner.components_, learner.components_ @ span.T @ span, atol=1e-8)
    assert learner.objective_ == pytest.approx(reduced.objective_, rel=1e-6)
    assert_same_distances(learner, X, reduced, X @ span.T, rtol=1e-3)


@every_loss
@pytest.mark.parametrize("shrinkage", [0.05, 0.5])
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_shrinkage_is_that_of_features_made_equal(loss, shrinkage, stored, data):
    X, y = data
    X = X * [1, 3, 1, 0.5, 1]
    weight = np.random.default_rng(20).uniform(0.2, 2.0, len(y))
    covariance = np.cov(X, rowvar=False, aweights=weight, bias=True)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 5 * np.eye(5)
    learner = precise(loss=loss, shrinkage=shrinkage).fit(stored(X), y, sample_weight=weight)
    # A linear map of which only the distances matter.
    equal = np.linalg.solve(np.linalg.cholesky(shrunk), X.T).T
    expected = precise(loss=loss).fit(equal, y, sample_weight=weight)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)
    assert_same_distances(learner, X, expected, equal)


@pytest.mark.parametrize("n_components", [1, 2, 4, 9])
def test_n_components_is_the_rank(n_components, data):
    X, y = data
    learner = NeighborhoodAlignment(n_components=n_components).fit(X, y)
    rank = min(n_components, 5)
    assert learner.components_.shape == (rank, 5)
    assert np.linalg.matrix_rank(learner.components_) == rank
    assert learner.transform(X).shape == (len(X), rank)


def test_n_components_start_from_the_largest_variance(classes, monkeypatch):
    X, y = classes
    X = X * [1, 10, 1, 5, 1]

    def interrupted(self, components):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeighborhoodObjective, "value_and_gradient", interrupted)
    learner = NeighborhoodAlignment(n_components=2)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    found = np.abs(PCA(2).fit(X).components_ @ learner.components_.T)
    np.testing.assert_allclose(found, found[0, 0] * np.eye(2), atol=1e-8 * found[0, 0])


def test_lists_are_of_the_nearest_and_random_samples_and_made_anew(numbers, monkeypatch):
    X, y = numbers
    lists, searched = [], []

    class Recorded(NeighborLists):
        def __init__(self, indices):
            lists.append(indices)
            super().__init__(indices)

    class RecordedSearch(NearestNeighbors):
        def fit(self, X):
            searched.append(X)
            return super().fit(X)

    monkeypatch.setattr(alignment, "NeighborLists", Recorded)
    monkeypatch.setattr(alignment, "NearestNeighbors", RecordedSearch)
    learner = NeighborhoodAlignment(n_neighbors=7, tol=0, max_iter=50, random_state=0)
    with pytest.warns(ConvergenceWarning):
        learner.fit(X, y)
    assert learner.n_iter_ == 50
    assert len(lists) == 3
    samples = np.arange(len(X))
    for indices, images in zip(lists, searched, strict=True):
        assert indices.shape == (len(X), 7)
        assert (indices != samples[:, None]).all()
        distances = pairwise_distances(images)
        np.fill_diagonal(distances, np.inf)
        np.testing.assert_allclose(
            np.take_along_axis(distances, indices[:, :4], axis=1), np.sort(distances)[:, :4]
        )
        # Three random ones: of 50 samples' every distance from each other.
        assert len(np.unique((indices[:, 4:] - samples[:, None]) % len(X))) > 30
    assert np.abs(pairwise_distances(searched[0]) - pairwise_distances(searched[1])).max() > 0.1


@every_loss
@pytest.mark.parametrize("n_neighbors", [None, 10])
def test_float32(loss, n_neighbors, data):
    X, y = data
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0)
    double = clone(learner).fit(X, y)
    single = clone(learner).fit(X.astype(np.float32), y)
    assert single.components_.dtype == single.transform(X.astype(np.float32)).dtype == np.float32
    assert double.components_.dtype == np.float64
    assert single.objective_ == pytest.approx(double.objective_, rel=1e-2)
    assert isinstance(single.objective_, float)
    assert_same_distances(single, X, double, X, rtol=0.05)
    few = clone(learner).set_params(n_components=2, refine=PSDSVR()).fit(X.astype(np.float32), y)
    assert few.components_.dtype == np.float32


def test_random_state_makes_lists_reproducible(classes):
    X, y = classes

    def fit(random_state):
        learner = NeighborhoodAlignment(n_neighbors=6, random_state=random_state)
        return learner.fit(X, y).components_

    np.testing.assert_array_equal(fit(0), fit(0))
    np.testing.assert_array_equal(fit(0), fit(np.random.RandomState(0)))
    assert np.abs(fit(0) - fit(1)).max() > 1e-3


def test_lists_of_enough_neighbors_are_complete(classes):
    X, y = classes
    expected = NeighborhoodAlignment().fit(X, y)
    learner = NeighborhoodAlignment(n_neighbors=len(X) - 1).fit(X, y)
    np.testing.assert_array_equal(learner.components_, expected.components_)


@every_loss
def test_lists_are_nearly_as_good_as_all(loss, numbers):
    X, y = numbers
    complete = NeighborhoodAlignment(loss).fit(X, y)
    lists = NeighborhoodAlignment(loss, n_neighbors=20, random_state=0, max_iter=300).fit(X, y)
    weight = np.ones(len(y))
    euclid = fitted_objective(complete, X, y, weight, 2 / scale_of(X) * np.eye(5))
    found = fitted_objective(lists, X, y, weight)
    assert found - complete.objective_ < 0.5 * (euclid - complete.objective_)


# Starting from another learner


def test_refine_starts_from_the_fitted_learner(classes):
    X, y = classes
    weight = np.random.default_rng(12).uniform(0.5, 2.0, len(y))
    start = PSDSVR(relation="zero_one")
    learner = NeighborhoodAlignment(refine=start).fit(X, y, sample_weight=weight)
    expected = clone(start).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(learner.refined_.matrix_, expected.matrix_)
    assert learner.refined_.dual_gap_ <= start.tol
    assert not hasattr(start, "components_")
    assert learner.refined_.relation_.name == "zero_one"
    assert learner.relation_.name == "class"
    lengths = scale_of(expected.transform(X), weight)
    starts = [
        fitted_objective(learner, X, y, weight, length / lengths * expected.components_)
        for length in np.geomspace(0.1, 30.0, 12)
    ]
    assert learner.objective_ < min(starts)
    # One that can hardly go on stays where it began.
    near = clone(learner).set_params(tol=1e9).fit(X, y, sample_weight=weight)
    assert near.n_iter_ == 1
    assert learner.objective_ < near.objective_ <= min(starts)


@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("wide", [False, True])
def test_refine_a_diagonal_metric(stored, wide):
    rng = np.random.default_rng(13)
    X = rng.normal(size=(20, 30 if wide else 4))
    y = X[:, 0] + 0.1 * rng.normal(size=20)
    refine = RelationAlignment(cone="diagonal")
    learner = NeighborhoodAlignment(refine=refine).fit(stored(X), y)
    assert isinstance(learner.components_, np.ndarray)
    assert sparse.issparse(learner.refined_.components_)
    weight = np.ones(20)
    start = learner.refined_.components_.toarray()
    for length in (0.3, 1.0, 3.0):
        factor = length / scale_of(X @ start.T)
        assert learner.objective_ < fitted_objective(learner, X, y, weight, factor * start)


class ZeroMetric(MetricLearner):
    def fit(self, X, y, sample_weight=None):
        self.components_ = np.zeros((1, X.shape[1]))
        return self


def test_refine_a_zero_metric_starts_from_euclid(classes):
    X, y = classes
    expected = NeighborhoodAlignment().fit(X, y)
    learner = NeighborhoodAlignment(refine=ZeroMetric()).fit(X, y)
    np.testing.assert_array_equal(learner.components_, expected.components_)
    assert isinstance(learner.refined_, ZeroMetric)
    assert expected.refined_ is None


def test_refine_after_a_fit_without(classes):
    X, y = classes
    learner = NeighborhoodAlignment(refine=PSDSVR()).fit(X, y)
    assert learner.set_params(refine=None).fit(X, y).refined_ is None


# Stopping


def test_warning_when_max_iter_is_reached(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match=r"after 2 iterations .* tol"):
        learner = NeighborhoodAlignment(max_iter=2).fit(X, y)
    assert not learner.converged_
    assert learner.n_iter_ == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = NeighborhoodAlignment().fit(X, y)
    assert learner.converged_
    assert learner.n_iter_ < learner.max_iter
    with pytest.warns(ConvergenceWarning):
        lists = NeighborhoodAlignment(n_neighbors=5, max_iter=30, tol=0).fit(X, y)
    assert lists.n_iter_ == 30


def test_more_iterations_lower_the_objective(data):
    X, y = data
    objectives = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for max_iter in (1, 3, 10):
            learner = NeighborhoodAlignment(max_iter=max_iter, tol=0).fit(X, y)
            assert learner.n_iter_ == max_iter
            objectives.append(learner.objective_)
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] < objectives[0] - 1e-3


@pytest.mark.parametrize("n_neighbors", [None, 6])
def test_verbose_prints_each_iteration(n_neighbors, classes, capsys):
    learner = NeighborhoodAlignment(n_neighbors=n_neighbors, random_state=0, verbose=1)
    learner.fit(*classes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == learner.n_iter_
    assert lines[-1].endswith(f"objective {learner.objective_:.6g}")


@pytest.mark.parametrize("n_calls", range(1, 12))
def test_interrupt_leaves_what_was_reached(n_calls, classes, monkeypatch):
    X, y = classes
    evaluate = NeighborhoodObjective.value_and_gradient
    calls = []

    def interrupted(self, components):
        calls.append(components)
        if len(calls) > n_calls:
            raise KeyboardInterrupt
        return evaluate(self, components)

    monkeypatch.setattr(NeighborhoodObjective, "value_and_gradient", interrupted)
    learner = NeighborhoodAlignment(tol=1e-12)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    assert not learner.converged_
    assert learner.n_iter_ < n_calls
    assert np.isfinite(learner.transform(X)).all()
    # The last iteration, not a point that the line search tried.
    assert learner.objective_ == pytest.approx(fitted_objective(learner, X, y))


# A loss of one's own


def test_instance_is_its_name(data):
    X, y = data
    for name, loss in NEIGHBORHOOD_LOSSES.items():
        instance = loss()
        learner = NeighborhoodAlignment(instance).fit(X, y)
        named = NeighborhoodAlignment(name).fit(X, y)
        np.testing.assert_array_equal(learner.components_, named.components_)
        assert vars(instance) == {}


def test_loss_of_ones_own_tends_to_the_expected_relation(data):
    X, y = data
    expected = precise().fit(X, y)
    temper = 1e-4
    learner = precise(loss=LogOfRelation(temper), alpha=0.1 * temper, tol=1e-14).fit(X, y)
    assert learner.objective_ / temper == pytest.approx(expected.objective_, rel=1e-3)


def test_parameters_of_a_loss_are_searched(classes):
    learner = NeighborhoodAlignment(LogOfRelation())
    assert learner.get_params()["loss__temper"] == 1.0
    search = GridSearchCV(learner, {"loss__temper": [1e-6, 1.0]}, cv=2, error_score="raise")
    search.fit(*classes)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    assert learner.loss.temper == 1.0


def test_loss_says_what_it_lacks():
    class Half(NeighborhoodLoss):
        def for_samples(self, relation, targets, weight):
            return self

    with pytest.raises(TypeError, match=r"Half.*value_and_derivative"):
        Half()


@pytest.mark.parametrize(
    "loss", [LogOfRelation(0.7), *(loss() for loss in NEIGHBORHOOD_LOSSES.values())]
)
def test_losses_pass_their_check(loss):
    rng = np.random.default_rng(0)
    for y in (rng.integers(0, 3, 12), rng.normal(size=12), rng.integers(0, 2, (12, 3))):
        check_neighborhood_loss(loss, y)


class Careless(KernelRegression):
    """Keeps the targets itself."""

    def for_samples(self, relation, targets, weight):
        self.made = super().for_samples(relation, targets, weight)
        return self

    def value_and_derivative(self, probabilities, neighborhoods):
        return self.made.value_and_derivative(probabilities, neighborhoods)


class Changing(KernelRegression):
    def value_and_derivative(self, probabilities, neighborhoods):
        probabilities *= 0.5
        return super().value_and_derivative(probabilities, neighborhoods)


class Total(KernelRegression):
    def value_and_derivative(self, probabilities, neighborhoods):
        value, derivative = super().value_and_derivative(probabilities, neighborhoods)
        return value.sum(), derivative


class Infinite(KernelRegression):
    def value_and_derivative(self, probabilities, neighborhoods):
        value, derivative = super().value_and_derivative(probabilities, neighborhoods)
        return value, derivative / 0.0


class Doubled(KernelRegression):
    def value_and_derivative(self, probabilities, neighborhoods):
        value, derivative = super().value_and_derivative(probabilities, neighborhoods)
        return value, 2 * derivative


class Positional(NeighborhoodLoss):
    """Takes the place of a neighbour for the sample."""

    def for_samples(self, relation, targets, weight):
        return self

    def value_and_derivative(self, probabilities, neighborhoods):
        places = np.arange(probabilities.shape[1]) + np.zeros(probabilities.shape)
        return np.sum(places * probabilities, axis=1), places


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (Careless(), "for_samples must return a copy"),
        (Changing(), "changes the probabilities"),
        (Total(), "must return arrays of shape"),
        (Infinite(), "is not finite"),
        (Doubled(), "the derivative is not that of the value"),
        (Positional(), "differs between all samples and lists"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_wrong_loss_is_named(loss, sentence):
    with pytest.raises(AssertionError, match=rf"{type(loss).__name__}\(\): .*{sentence}"):
        check_neighborhood_loss(loss, np.random.default_rng(0).normal(size=12))


# Bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "hinge"}, "loss"),
        ({"loss": ExpectedRelation}, "loss"),
        ({"loss": lambda relation, targets, weight: None}, "loss.*NeighborhoodLoss"),
        ({"loss": LogOfRelation(-1.0)}, "temper.*LogOfRelation"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"refine": PCA()}, "refine"),
        ({"refine": "psdsvr"}, "refine"),
        ({"relation": "unrelated"}, "relation"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 0.5}, "n_components"),
        ({"n_neighbors": 1}, "n_neighbors"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1.0}, "tol"),
        ({"random_state": "seed"}, "random_state"),
        ({"verbose": -1}, "verbose"),
    ],
)
def test_bad_parameter_is_named(parameters, message, classes):
    with pytest.raises((ValueError, TypeError), match=message):
        NeighborhoodAlignment(**parameters).fit(*classes)


X4 = np.arange(8.0).reshape(4, 2) ** 2
BAD_DATA = {
    "no targets": (X4, None, {}, "y"),
    "equal numbers": (X4, np.full(4, 0.5), {}, "y is constant"),
    "equal classes": (X4, ["a"] * 4, {}, "one class"),
    "equal targets with a weight": (X4, [0, 0, 0, 1], {}, "y is constant"),
    "every sample its own class": (X4, list("abcd"), {}, "All relations are equal"),
    "identical samples": (np.full((4, 2), 0.1), [0, 1, 2, 2], {}, "identical in X"),
    "identical wide samples": (np.full((3, 9), 0.1), [0.0, 0.3, 1.5], {}, "identical in X"),
    "one sample": (X4[:1], [0], {}, "minimum of 2"),
    "one distinct sample": (X4[[0, 0]], [1, 1], {}, r"\by\b|sample"),
    "one sample of positive weight": (
        X4,
        1.0 - np.eye(4),
        {"relation": "precomputed"},
        "y is constant",
    ),
    "sparse relations": (
        X4,
        sparse.csr_array(np.abs(np.subtract.outer(np.arange(4.0), np.arange(4)))),
        {"relation": "precomputed"},
        "dense",
    ),
    "relations as targets to predict": (
        X4,
        np.abs(np.subtract.outer(np.arange(4.0), np.arange(4))),
        {"relation": "precomputed", "loss": "kernel_regression"},
        "precomputed.*Use loss='expected_relation'",
    ),
    "too large": (1e150 * (1 + X4), [0, 0, 1, 1], {}, r"X has entries as large.*Scale X"),
    "NaN": (np.where(X4 == 4, np.nan, X4), [0, 0, 1, 1], {}, "NaN"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_named(case):
    X, y, parameters, message = BAD_DATA[case]
    weight = [1, 1, 1, 0] if "weight" in case else None
    with pytest.raises(ValueError, match=message):
        NeighborhoodAlignment(**parameters).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identical_samples_are_refused_whatever_their_rounding(stored, dtype):
    rng = np.random.default_rng(14)
    for _ in range(20):
        n_samples = rng.integers(3, 20)
        X = np.tile(100 * rng.normal(size=3), (n_samples, 1)).astype(dtype)
        weight = rng.uniform(0.1, 2.0, n_samples)
        with pytest.raises(ValueError, match="identical in X"):
            NeighborhoodAlignment().fit(stored(X), np.arange(n_samples) + 0.5, sample_weight=weight)


def test_precomputed_relations_with_one_sample_left():
    relations = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4)))
    learner = NeighborhoodAlignment(relation="precomputed")
    with pytest.raises(ValueError, match=r"weight 0: 1. At least 3"):
        learner.fit(X4, relations, sample_weight=[0, 1, 0, 0])


# Hostile numbers


def assert_sound(learner, X):
    assert np.isfinite(learner.components_).all()
    assert np.isfinite(learner.objective_)
    assert np.isfinite(learner.transform(X)).all()


@every_loss
def test_constant_columns_do_not_change_the_distances(loss, data):
    X, y = data
    expected = NeighborhoodAlignment(loss, alpha=0.0, max_iter=300).fit(X, y)
    wider = np.column_stack([X, np.full(len(X), 0.1), np.zeros(len(X))])
    learner = NeighborhoodAlignment(loss, alpha=0.0, max_iter=300).fit(wider, y)
    assert_same_distances(learner, wider, expected, X, rtol=1e-3)


@every_loss
@pytest.mark.parametrize("n_neighbors", [None, 5])
def test_duplicates_of_different_targets(loss, n_neighbors):
    rng = np.random.default_rng(15)
    X = np.repeat(rng.normal(size=(8, 3)), 5, axis=0)
    y = rng.normal(size=40)
    learner = NeighborhoodAlignment(loss, n_neighbors=n_neighbors, random_state=0).fit(X, y)
    assert_sound(learner, X)
    two_points = np.repeat([[0.0, 0.0], [1.0, 0.0]], 20, axis=0)
    learner.fit(two_points, y)
    assert_sound(learner, two_points)


@every_loss
@pytest.mark.parametrize("size", [1e-130, 1e-70, 1e70])
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_size_of_the_features(loss, size, stored, data):
    X, y = data
    expected = NeighborhoodAlignment(loss).fit(X, y)
    learner = NeighborhoodAlignment(loss).fit(stored(size * X), y)
    np.testing.assert_allclose(
        size * learner.components_, expected.components_, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e80, 1e150, 1e300])
def test_impossible_size_of_the_features_is_refused(size, data):
    X, y = data
    with pytest.raises(ValueError, match=r"\bX\b"):
        NeighborhoodAlignment().fit(size * X, y)


@every_loss
@pytest.mark.parametrize("outlier", [1e6, 1e150, 1e300])
def test_outlier_among_the_targets(loss, outlier, numbers):
    X, y = numbers
    y = y.copy()
    y[3] = outlier
    assert_sound(NeighborhoodAlignment(loss).fit(X, y), X)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outlier_among_the_samples(loss, dtype, data):
    X, y = data
    X = X.astype(dtype)
    X[3] = 1e7
    assert_sound(NeighborhoodAlignment(loss).fit(X, y), X)


@every_loss
def test_many_classes_of_few_samples(loss):
    rng = np.random.default_rng(16)
    y = np.repeat(np.arange(200), 1 + np.arange(200) % 2)
    centres = rng.normal(size=(200, 3))
    X = np.column_stack([centres[y] + 0.01 * rng.normal(size=(300, 3)), rng.normal(size=300)])
    names = y.astype(str)
    learner = NeighborhoodAlignment(loss, alpha=0.01).fit(X, names)
    assert learner.relation_.kind == "multiclass"
    assert_sound(learner, X)
    noise = np.linalg.norm(learner.components_[:, 3])
    assert noise < 0.2 * np.linalg.norm(learner.components_, axis=0)[:3].min()


def test_few_samples_and_one_feature():
    # Each would predict the other, whatever the map.
    with pytest.raises(ValueError, match=r"2\. At least 3 are needed"):
        NeighborhoodAlignment().fit([[0.0], [1.0]], [1.0, 3.0])
    for loss in NEIGHBORHOOD_LOSSES:
        X = np.array([[0.0], [1.0], [5.0]])
        learner = NeighborhoodAlignment(loss, alpha=0.0).fit(X, [1.0, 1.1, 3.0])
        assert_sound(learner, X)
        assert learner.components_.shape == (1, 1)


# The samples


@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_distinct_samples(stored):
    rng = np.random.default_rng(17)
    X = rng.normal(size=(6, 2))
    y = rng.normal(size=(6, 3)) * [1.0, 10.0, 0.1]
    repeats = np.array([1, 3, 2, 1, 0, 4])
    rows = rng.permutation(np.repeat(np.arange(6), repeats))
    relation = resolve_relation("auto", y[rows])
    samples = distinct_samples(
        stored(X[rows]), y[rows], relation, relation.encode(y[rows]), None, "auto"
    )
    found = rows[samples.rows]
    assert sorted(found) == [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(samples.weight, repeats[found])
    # The deviations of the columns are those of the distinct targets.
    expected = resolve_relation("auto", y[found])
    pairs = [[0, 1], [2, 4]]
    np.testing.assert_allclose(
        samples.relation(samples.targets, pairs), expected(expected.encode(y[found]), pairs)
    )
    assert not np.allclose(
        samples.relation(samples.targets, pairs), relation(relation.encode(y[found]), pairs)
    )
    order = rng.permutation(len(rows))
    again = distinct_samples(
        stored(X[rows][order]),
        y[rows][order],
        relation,
        relation.encode(y[rows][order]),
        None,
        "auto",
    )
    np.testing.assert_array_equal(rows[order][again.rows], found)


def test_distinct_samples_of_precomputed_relations():
    y = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4)))
    relation = resolve_relation("precomputed", y)
    weight = np.array([1.0, 0.0, 2.0, 0.5])
    samples = distinct_samples(
        np.zeros((4, 2)), y, relation, relation.encode(y), weight, "precomputed"
    )
    np.testing.assert_array_equal(samples.rows, [0, 2, 3])
    np.testing.assert_array_equal(samples.weight, [1.0, 2.0, 0.5])
    np.testing.assert_array_equal(samples.targets, y[samples.rows][:, samples.rows])


@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_magnitude(stored, dtype):
    limit = float(np.finfo(dtype).max) ** 0.25
    check_magnitude(stored(np.full((2, 4), 0.2 * limit, dtype)))
    check_magnitude(stored(np.zeros((2, 4), dtype)))
    for sign in (-1, 1):
        with pytest.raises(ValueError, match=r"X has entries as large as .* Scale X"):
            check_magnitude(stored(np.full((2, 4), sign * 0.3 * limit, dtype)))


# Whether it learned


@every_loss
@pytest.mark.parametrize("n_neighbors", [None, 30])
def test_noise_is_forgotten(loss, n_neighbors):
    X, y = make_classification(
        n_samples=400,
        n_features=40,
        n_informative=4,
        n_redundant=0,
        n_classes=3,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=0,
    )
    X = StandardScaler().fit_transform(X)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    learner = NeighborhoodAlignment(loss, alpha=1.0, n_neighbors=n_neighbors, random_state=0)
    learner.fit(X, y)
    euclid = KNeighborsClassifier().fit(X, y).score(X_test, y_test)
    learned = KNeighborsClassifier().fit(learner.transform(X), y)
    assert learned.score(learner.transform(X_test), y_test) > euclid + 0.08


@every_loss
def test_noise_is_forgotten_for_numbers(loss):
    rng = np.random.default_rng(18)
    X = rng.normal(size=(300, 15))
    y = np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.05 * rng.normal(size=300)
    learner = NeighborhoodAlignment(loss).fit(X[:200], y[:200])
    euclid = KNeighborsRegressor().fit(X[:200], y[:200]).score(X[200:], y[200:])
    learned = KNeighborsRegressor().fit(learner.transform(X[:200]), y[:200])
    assert learned.score(learner.transform(X[200:]), y[200:]) > euclid + 0.2


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
def test_a_constant_feature_does_not_count_for_new_samples(shrinkage):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(60, 3)), np.full(60, 0.1)])
    y = (X[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
    learner = NeighborhoodAlignment(shrinkage=shrinkage).fit(X, y)
    assert np.abs(learner.components_[:, 3]).max() < 1e-12 * np.abs(learner.components_).max()


@every_loss
def test_a_neighbor_that_is_listed_twice_counts_once(loss, data):
    X, y = data
    n = len(X)
    others = np.array([np.delete(np.arange(n), i) for i in range(n)])
    relation = resolve_relation("auto", y)
    found = []
    for neighborhoods in (AllSamples(n), NeighborLists(np.hstack([others, others[:, ::3]]))):
        targets, weight = relation.encode(y), np.ones(n)
        objective = NeighborhoodObjective(
            X, NEIGHBORHOOD_LOSSES[loss]().for_samples(relation, targets, weight), weight, 0.1
        )
        objective.neighborhoods = neighborhoods
        found.append(objective.value_and_gradient(np.eye(X.shape[1])))
    (value, gradient), (value_of_lists, gradient_of_lists) = found
    assert value_of_lists == pytest.approx(value)
    np.testing.assert_allclose(gradient_of_lists, gradient, atol=1e-10)


def test_zero_of_the_expected_relation_is_known_though_no_random_pair_has_it():
    # 2,000 classes of two samples: of 100,000 random pairs hardly any are of one class.
    y = np.repeat(np.arange(2000), 2)
    relation = resolve_relation("class", y)
    loss = ExpectedRelation().for_samples(relation, relation.encode(y), np.ones(len(y)))
    assert loss._smallest == -1.0
