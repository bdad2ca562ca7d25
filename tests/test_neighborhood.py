"""Neighbourhood alignment against direct loops, and what must not matter."""

import warnings
from itertools import combinations
from numbers import Real
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval

from metricalign import PSDSVR, NeighborhoodAlignment, RelationAlignment
from metricalign.learners.base import MetricLearner
from metricalign.learners.neighborhood import (
    NEIGHBORHOOD_LOSSES,
    ExpectedRelation,
    KernelRegression,
    LogLoss,
    NeighborhoodLoss,
    candidates,
    losses,
    search,
)
from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.learners.neighborhood.objective import NeighborhoodObjective
from metricalign.pairs import distinct
from metricalign.pairs.distinct import check_magnitude, distinct_samples
from metricalign.relations import resolve_relation
from metricalign.testing import check_neighborhood_loss

every_loss = pytest.mark.parametrize("loss", NEIGHBORHOOD_LOSSES)
loss_of_numbers = pytest.mark.parametrize("loss", ["kernel_regression", "expected_relation"])


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


def seeded(loss="auto", **parameters):
    """A short search that is the same each time."""
    return NeighborhoodAlignment(loss, **{"random_state": 0, "n_starts": 2} | parameters)


@pytest.fixture
def order_given(monkeypatch):
    """Draw the same samples whatever their values, which set the order that they are drawn from."""
    monkeypatch.setattr(distinct, "order_of_values", lambda X, y: np.arange(X.shape[0]))


def targets_for(loss, y):
    """Numbers as two classes, if the loss is one of classes."""
    return (y > np.median(y)).astype(int) if loss == "log" and y.dtype.kind == "f" else y


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
    distances = np.array([np.linalg.norm(components @ (X[i] - X[j])) for j in others])
    mass = weight[others] * np.exp(distances.min() - distances)
    return mass / mass.sum()


def objective_by_loops(loss_of, components, X, weight, samples, candidates):
    total = 0.0
    for i in samples:
        others = np.array([j for j in candidates if j != i])
        total += weight[i] * loss_of(i, others, probabilities_of(components, X, weight, others, i))
    return total / weight[samples].sum()


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


def log_loss(y, weight):
    shares = np.array([weight[y == name].sum() for name in np.unique(y)]) / weight.sum()
    entropy = -np.sum(shares * np.log(shares))
    return lambda i, others, p: -np.log(p[y[others] == y[i]].sum() + 1e-7) / entropy


def make_problem(loss, kind, some, seed=0, n_samples=21):
    """An objective, its neighbourhoods, and the same by loops as a function of the map."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    weight = rng.uniform(0.2, 3.0, n_samples)
    y, columns = targets_of(kind, rng, n_samples)
    relation = resolve_relation("auto", y)
    made = NEIGHBORHOOD_LOSSES[loss]().for_samples(relation, relation.encode(y), weight)
    objective = NeighborhoodObjective(X, made, weight)
    samples = candidates = np.arange(n_samples)
    if some:
        samples, candidates = rng.permutation(n_samples)[:8], rng.permutation(n_samples)[:11]
    if loss == "expected_relation":
        loss_of = expected_relation(relations_of(kind, y), weight)
    elif loss == "log":
        loss_of = log_loss(y, weight)
    else:
        loss_of = kernel_regression(columns, weight)
    return (
        objective,
        Neighborhoods(samples, candidates),
        lambda components: objective_by_loops(loss_of, components, X, weight, samples, candidates),
    )


LOSSES_OF_KINDS = [
    (loss, kind)
    for loss in NEIGHBORHOOD_LOSSES
    for kind in KINDS
    if loss != "log" or kind == "classes"
]
every_problem = pytest.mark.parametrize(("loss", "kind"), LOSSES_OF_KINDS)
among = pytest.mark.parametrize("some", [False, True], ids=["all", "some"])


@every_problem
@among
def test_objective_is_that_of_the_loops(loss, kind, some):
    objective, neighborhoods, by_loops = make_problem(loss, kind, some)
    rng = np.random.default_rng(1)
    for components in (rng.normal(size=(2, 3)), 1e-3 * np.ones((1, 3)), 30 * np.eye(3)):
        factors = np.array([1.0, 0.3, 2.0])
        multiples = [by_loops(factor * components) for factor in factors]
        found = objective.values(components, factors, neighborhoods)
        assert found == pytest.approx(multiples, rel=1e-8)
        value, gradient = objective.value_and_gradient(components, neighborhoods)
        assert value == pytest.approx(multiples[0], rel=1e-8)
        assert gradient.shape == components.shape


@every_problem
@among
def test_gradient_is_that_of_finite_differences(loss, kind, some):
    objective, neighborhoods, _ = make_problem(loss, kind, some)
    components = np.random.default_rng(2).normal(size=(2, 3))

    def value(vector):
        return objective.values(vector.reshape(2, 3), np.ones(1), neighborhoods)[0]

    # Central differences.
    step = 1e-5
    forward = approx_fprime(components.ravel(), value, step)
    backward = -approx_fprime(components.ravel(), value, -step)
    _, gradient = objective.value_and_gradient(components, neighborhoods)
    np.testing.assert_allclose(gradient.ravel(), (forward - backward) / 2, rtol=1e-5, atol=1e-7)


@loss_of_numbers
@among
def test_batches_do_not_matter(loss, some, monkeypatch):
    components = np.random.default_rng(4).normal(size=(2, 3))

    def found():
        objective, neighborhoods, _ = make_problem(loss, "number", some)
        return objective.value_and_gradient(components, neighborhoods)

    expected = found()
    monkeypatch.setattr(candidates, "_LARGEST_BATCH", 50)
    monkeypatch.setattr(losses, "_SAMPLES_OF_MATRIX", 5)
    value, gradient = found()
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-10, atol=1e-12)


@settings(max_examples=30)
@given(st.integers(3, 12), st.integers(0, 10_000), st.sampled_from(KINDS))
def test_objective_is_between_its_bounds(n_samples, seed, kind):
    rng = np.random.default_rng(seed)
    y, _ = targets_of(kind, rng, n_samples)
    relations = relations_of(kind, y)[~np.eye(n_samples, dtype=bool)]
    assume(np.ptp(relations) >= 1e-6)
    relation = resolve_relation("auto", y)
    weight = np.ones(n_samples)
    loss = ExpectedRelation().for_samples(relation, relation.encode(y), weight)
    objective = NeighborhoodObjective(rng.normal(size=(n_samples, 3)), loss, weight)
    everyone = Neighborhoods(np.arange(n_samples), np.arange(n_samples))
    # Equal distances: neighbours drawn at random.
    assert objective.values(np.zeros((1, 3)), np.ones(1), everyone)[0] == pytest.approx(1.0)
    value = objective.values(rng.normal(size=(2, 3)), np.ones(1), everyone)[0]
    largest = (relations.max() - relations.min()) / (relations.mean() - relations.min())
    assert -1e-12 <= value <= largest * (1 + 1e-12)


def test_random_neighbors_have_a_log_loss_of_one():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 4000)
    relation = resolve_relation("auto", y)
    loss = NEIGHBORHOOD_LOSSES["log"]().for_samples(relation, relation.encode(y), np.ones(len(y)))
    objective = NeighborhoodObjective(rng.normal(size=(len(y), 2)), loss, np.ones(len(y)))
    neighborhoods = Neighborhoods(np.arange(300), np.arange(len(y)))
    found = objective.values(np.zeros((1, 2)), np.ones(1), neighborhoods)[0]
    assert found == pytest.approx(1.0, abs=0.02)


# The fit


def scale_of(X, weight=None):
    """Square root of the total variance."""
    X = X.astype(float)
    mean = np.average(X, axis=0, weights=weight)
    return np.sqrt(np.average(np.sum((X - mean) ** 2, axis=1), weights=weight))


def held_out(monkeypatch):
    """The searches that a fit makes."""
    searches = []

    class Recorded(search.NeighborhoodSearch):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.first = self.value
            searches.append(self)

    monkeypatch.setattr("metricalign.learners.neighborhood.alignment.NeighborhoodSearch", Recorded)
    return searches


@every_loss
def test_the_map_kept_is_the_best_for_held_out_samples(loss, data, monkeypatch):
    X, y = data
    y = targets_for(loss, y)
    searches = held_out(monkeypatch)
    learner = seeded(loss, n_starts=3).fit(X, y)
    assert len(searches) == 3
    assert learner.objective_ == pytest.approx(np.mean([s.value for s in searches]))
    assert learner.n_iter_ == max(s.n_iter for s in searches)
    parts = []
    for found in searches:
        neighborhoods, objective = found._held_out, found._objective
        assert not np.isin(neighborhoods.samples, found._train).any()
        assert len(neighborhoods.samples) == len(X) // 5
        value = objective.values(found.components, np.ones(1), neighborhoods)[0]
        assert value == pytest.approx(found.value)
        assert value <= found.first
        parts.append(neighborhoods.samples)
    assert len(np.unique(np.concatenate(parts))) > len(X) // 5


def test_metrics_of_equal_mean_squared_distance_are_averaged(data, monkeypatch):
    X, y = data
    searches = held_out(monkeypatch)
    learner = seeded(n_starts=3).fit(X, y)
    scale = scale_of(X)
    expected = 0
    for found in searches:
        components = found.components / scale
        expected += components.T @ components / scale_of(X @ components.T) ** 2 / 3
    np.testing.assert_allclose(learner.get_mahalanobis_matrix(), expected, rtol=1e-8)


def test_auto_is_the_loss_of_the_targets(classes, numbers):
    for (X, y), relation, name in (
        (classes, "auto", "log"),
        (numbers, "auto", "kernel_regression"),
        (numbers, lambda a, b: abs(a - b), "expected_relation"),
    ):
        found = seeded(relation=relation, max_iter=3, n_iter_no_change=1, tol=1).fit(X, y)
        expected = clone(found).set_params(loss=name).fit(X, y)
        np.testing.assert_array_equal(found.components_, expected.components_)


# What must not matter


@every_loss
def test_translation_and_rotation_do_not_matter(loss, data, order_given):
    X, y = data
    y = targets_for(loss, y)
    expected = seeded(loss).fit(X, y)
    rotation = np.linalg.qr(np.random.default_rng(8).normal(size=(5, 5)))[0]
    for moved in (X + np.arange(5) * 30, X @ rotation):
        learner = seeded(loss).fit(moved, y)
        assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)
        assert_same_distances(learner, moved, expected, X)


@every_loss
@pytest.mark.parametrize("factor", [1e-5, 3e4])
def test_unit_of_the_features_does_not_matter(loss, factor, data):
    X, y = data
    y = targets_for(loss, y)
    learner = seeded(loss)
    expected = clone(learner).fit(X, y)
    learner.fit(factor * X, y)
    np.testing.assert_allclose(
        factor * learner.components_, expected.components_, rtol=1e-4, atol=1e-4
    )
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)


@loss_of_numbers
@pytest.mark.parametrize(("factor", "offset"), [(1e6, 0.0), (-1e-4, 3.0)])
def test_unit_of_the_target_does_not_matter(loss, factor, offset, numbers):
    X, y = numbers
    expected = seeded(loss).fit(X, y)
    learner = seeded(loss).fit(X, factor * y + offset)
    np.testing.assert_allclose(learner.components_, expected.components_, atol=1e-4)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)


@every_loss
def test_weight_is_repetition_and_zero_is_absence(loss, data):
    X, y = data
    y = targets_for(loss, y)
    weight = np.random.default_rng(9).integers(0, 4, len(y))
    learner = seeded(loss)
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
    learner = seeded(relation="precomputed")
    weighted = clone(learner).fit(X, relations, sample_weight=kept)
    absent = clone(learner).fit(X[kept], relations[kept][:, kept])
    np.testing.assert_array_equal(weighted.components_, absent.components_)


def test_precomputed_relations_are_those_of_the_targets(numbers, order_given):
    X, y = numbers
    expected = seeded("expected_relation").fit(X, y)
    learner = seeded("expected_relation", relation="precomputed").fit(X, np.abs(y[:, None] - y))
    assert_same_distances(learner, X, expected, X)


@every_loss
def test_order_of_the_samples_does_not_matter(loss, data):
    X, y = data
    y = targets_for(loss, y)
    order = np.random.default_rng(10).permutation(len(y))
    learner = seeded(loss)
    expected = clone(learner).fit(X, y)
    learner.fit(X[order], y[order])
    np.testing.assert_array_equal(learner.components_, expected.components_)


@every_loss
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_sparse_is_dense(loss, offset, data):
    X, y = data
    y = targets_for(loss, y)
    X = np.where(np.abs(X) < 0.5, 0, X) + offset
    weight = np.random.default_rng(19).uniform(0.1, 3.0, len(y))
    learner = seeded(loss)
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
    expected = seeded().fit(X, y)
    learner = seeded().fit(sparse.csr_array(X), y)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-2)


@loss_of_numbers
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_more_features_than_samples(loss, stored, order_given):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(15, 40))
    X[:, 7] = 0
    y = X[:, 0] + X[:, 1]
    learner = seeded(loss).fit(stored(X), y)
    # The same samples in the span of their differences.
    span = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:14]
    reduced = seeded(loss).fit(X @ span.T, y)
    assert learner.components_.shape == (14, 40)
    np.testing.assert_allclose(learner.components_[:, 7], 0, atol=1e-12)
    np.testing.assert_allclose(learner.components_, learner.components_ @ span.T @ span, atol=1e-8)
    assert learner.objective_ == pytest.approx(reduced.objective_, rel=1e-6)
    assert_same_distances(learner, X, reduced, X @ span.T, rtol=1e-3)


@every_loss
@pytest.mark.parametrize("shrinkage", [0.05, 0.5])
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_shrinkage_is_that_of_features_made_equal(loss, shrinkage, stored, data, order_given):
    X, y = data
    y = targets_for(loss, y)
    X = X * [1, 3, 1, 0.5, 1]
    weight = np.random.default_rng(20).uniform(0.2, 2.0, len(y))
    covariance = np.cov(X, rowvar=False, aweights=weight, bias=True)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 5 * np.eye(5)
    learner = seeded(loss, shrinkage=shrinkage).fit(stored(X), y, sample_weight=weight)
    # A linear map of which only the distances matter.
    equal = np.linalg.solve(np.linalg.cholesky(shrunk), X.T).T
    expected = seeded(loss).fit(equal, y, sample_weight=weight)
    assert learner.objective_ == pytest.approx(expected.objective_, rel=1e-6)
    assert_same_distances(learner, X, expected, equal)


@pytest.mark.parametrize("n_components", [1, 2, 4, 9])
def test_n_components_is_the_rank(n_components, data):
    X, y = data
    learner = seeded(n_components=n_components).fit(X, y)
    rank = min(n_components, 5)
    assert learner.components_.shape == (rank, 5)
    assert np.linalg.matrix_rank(learner.components_) == rank
    assert learner.transform(X).shape == (len(X), rank)


def test_n_components_start_from_the_largest_variance(classes, monkeypatch):
    X, y = classes
    X = X * [1, 10, 1, 5, 1]

    def interrupted(self, components, neighborhoods):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeighborhoodObjective, "value_and_gradient", interrupted)
    learner = seeded(n_components=2)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    found = np.abs(PCA(2).fit(X).components_ @ learner.components_.T)
    np.testing.assert_allclose(found, found[0, 0] * np.eye(2), atol=1e-8 * found[0, 0])


@every_loss
def test_float32(loss, data):
    X, y = data
    y = targets_for(loss, y)
    learner = seeded(loss)
    double = clone(learner).fit(X, y)
    single = clone(learner).fit(X.astype(np.float32), y)
    assert single.components_.dtype == single.transform(X.astype(np.float32)).dtype == np.float32
    assert double.components_.dtype == np.float64
    assert single.objective_ == pytest.approx(double.objective_, rel=1e-2)
    assert isinstance(single.objective_, float)
    assert_same_distances(single, X, double, X, rtol=0.05)
    few = clone(learner).set_params(n_components=2, refine=PSDSVR()).fit(X.astype(np.float32), y)
    assert few.components_.dtype == np.float32


def test_random_state_makes_a_fit_reproducible(classes):
    X, y = classes

    def fit(random_state):
        return NeighborhoodAlignment(random_state=random_state).fit(X, y).components_

    np.testing.assert_array_equal(fit(0), fit(0))
    np.testing.assert_array_equal(fit(0), fit(np.random.RandomState(0)))
    assert np.abs(fit(0) - fit(1)).max() > 1e-3


def test_many_samples_are_represented_by_some(monkeypatch):
    X, y = make_classification(600, 6, n_informative=4, random_state=0)
    searches = held_out(monkeypatch)
    weight = np.random.default_rng(0).integers(1, 3, len(y))
    learner = seeded(max_samples=200, max_iter=5, n_iter_no_change=1, tol=0.5)
    learner.fit(X, y, sample_weight=weight)
    objective = searches[0]._objective
    assert objective.X.shape == (200, 6)
    order = np.random.default_rng(1).permutation(len(y))
    again = clone(learner).fit(X[order], y[order], sample_weight=weight[order])
    np.testing.assert_allclose(again.components_, learner.components_)
    repeated = clone(learner).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(repeated.components_, learner.components_)
    everyone = clone(learner).set_params(max_samples=None).fit(X, y)
    assert searches[-1]._objective.X.shape == (600, 6)
    assert everyone.score(X, y) == pytest.approx(learner.score(X, y), abs=0.05)


def test_steps_of_many_samples_are_of_some_of_them(monkeypatch):
    monkeypatch.setattr(search, "_SAMPLES_OF_STEP", 16)
    monkeypatch.setattr(search, "_LARGEST_NUMBER_OF_CANDIDATES", 40)
    monkeypatch.setattr(search, "_STEPS_OF_ITERATION", 4)
    shapes = []
    evaluate = NeighborhoodObjective.value_and_gradient

    def recorded(self, components, neighborhoods):
        shapes.append((len(neighborhoods.samples), len(neighborhoods.candidates)))
        return evaluate(self, components, neighborhoods)

    monkeypatch.setattr(NeighborhoodObjective, "value_and_gradient", recorded)
    X, y = make_classification(300, 6, n_informative=4, random_state=0)
    learner = seeded(n_starts=1).fit(X, y)
    assert {*shapes} == {(16, 40)}
    assert len(shapes) == 4 * learner.n_iter_
    assert learner.objective_ < 0.9


# Starting from another learner


def test_refine_starts_from_the_fitted_learner(classes, monkeypatch):
    X, y = classes
    weight = np.random.default_rng(12).uniform(0.5, 2.0, len(y))
    start = PSDSVR(relation="zero_one", n_components=2)
    searches = held_out(monkeypatch)
    learner = seeded(refine=start).fit(X, y, sample_weight=weight)
    expected = clone(start).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(learner.refined_.matrix_, expected.matrix_)
    assert learner.refined_.dual_gap_ <= start.tol
    assert not hasattr(start, "components_")
    assert learner.refined_.relation_.name == "zero_one"
    assert learner.relation_.name == "class"
    assert learner.components_.shape == (2, 5)
    assert all(found.value <= found.first for found in searches)
    # One that must not go on stays where it began.
    near = clone(learner).set_params(tol=1.0, n_iter_no_change=1)
    near.fit(X, y, sample_weight=weight)
    cosine = np.sum(near.get_mahalanobis_matrix() * expected.get_mahalanobis_matrix()) / (
        np.linalg.norm(near.get_mahalanobis_matrix())
        * np.linalg.norm(expected.get_mahalanobis_matrix())
    )
    assert cosine == pytest.approx(1.0)


@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("wide", [False, True])
def test_refine_a_diagonal_metric(stored, wide):
    rng = np.random.default_rng(13)
    X = rng.normal(size=(20, 30 if wide else 4))
    y = X[:, 0] + 0.1 * rng.normal(size=20)
    refine = RelationAlignment(cone="diagonal")
    learner = seeded(refine=refine).fit(stored(X), y)
    assert isinstance(learner.components_, np.ndarray)
    assert sparse.issparse(learner.refined_.components_)
    assert np.isfinite(learner.components_).all()
    assert np.argmax(np.diag(learner.get_mahalanobis_matrix())) == 0


class ZeroMetric(MetricLearner):
    def fit(self, X, y, sample_weight=None):
        self.components_ = np.zeros((1, X.shape[1]))
        return self


def test_refine_a_zero_metric_starts_from_euclid(classes):
    X, y = classes
    expected = seeded().fit(X, y)
    learner = seeded(refine=ZeroMetric()).fit(X, y)
    np.testing.assert_array_equal(learner.components_, expected.components_)
    assert isinstance(learner.refined_, ZeroMetric)
    assert expected.refined_ is None


def test_refine_after_a_fit_without(classes):
    X, y = classes
    learner = seeded(refine=PSDSVR()).fit(X, y)
    assert learner.set_params(refine=None).fit(X, y).refined_ is None


# Stopping


def test_warning_when_max_iter_is_reached(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 iterations"):
        learner = seeded(max_iter=2).fit(X, y)
    assert not learner.converged_
    assert learner.n_iter_ == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = seeded().fit(X, y)
    assert learner.converged_
    assert learner.n_iter_ < learner.max_iter


def test_search_stops_after_iterations_without_change(classes):
    X, y = classes
    learner = seeded(tol=1.0, n_iter_no_change=7).fit(X, y)
    assert learner.n_iter_ == 7
    assert learner.converged_
    longer = seeded(n_starts=1, n_iter_no_change=60).fit(X, y)
    assert longer.objective_ <= seeded(n_starts=1, n_iter_no_change=5).fit(X, y).objective_


def test_verbose_prints_each_iteration(classes, capsys):
    learner = seeded(verbose=1, n_starts=1).fit(*classes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == learner.n_iter_
    assert lines[-1].endswith(f"loss of held-out samples {learner.objective_:.6g}")


@pytest.mark.parametrize("n_calls", [1, 5, 40, 90])
def test_interrupt_leaves_what_was_reached(n_calls, classes, monkeypatch):
    X, y = classes
    evaluate = NeighborhoodObjective.value_and_gradient
    calls = []

    def interrupted(self, components, neighborhoods):
        calls.append(components)
        if len(calls) > n_calls:
            raise KeyboardInterrupt
        return evaluate(self, components, neighborhoods)

    monkeypatch.setattr(NeighborhoodObjective, "value_and_gradient", interrupted)
    searches = held_out(monkeypatch)
    learner = seeded(n_starts=3, n_iter_no_change=20)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    assert not learner.converged_
    assert np.isfinite(learner.transform(X)).all()
    assert learner.objective_ == pytest.approx(np.mean([found.value for found in searches]))


# A loss of one's own


def test_instance_is_its_name(data):
    X, y = data
    for name, loss in NEIGHBORHOOD_LOSSES.items():
        instance = loss()
        y = targets_for(name, y)
        learner = seeded(instance, max_iter=30, n_iter_no_change=1).fit(X, y)
        named = seeded(name, max_iter=30, n_iter_no_change=1).fit(X, y)
        np.testing.assert_array_equal(learner.components_, named.components_)
        assert vars(instance) == {}


def test_parameters_of_a_loss_are_searched(classes):
    learner = seeded(LogOfRelation())
    assert learner.get_params()["loss__temper"] == 1.0
    search = GridSearchCV(learner, {"loss__temper": [1e-6, 30.0]}, cv=2, error_score="raise")
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
    for y in (rng.normal(size=12), rng.integers(0, 2, (12, 3))):
        if not isinstance(loss, LogLoss):
            check_neighborhood_loss(loss, y)
    check_neighborhood_loss(loss, rng.integers(0, 3, 12))


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
        (Positional(), "differs between all samples and some"),
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
        ({"n_starts": 0}, "n_starts"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": np.nan}, "learning_rate"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"max_samples": 2}, "max_samples"),
        ({"refine": PCA()}, "refine"),
        ({"refine": "psdsvr"}, "refine"),
        ({"relation": "unrelated"}, "relation"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 0.5}, "n_components"),
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
    "every sample its own class": (
        X4,
        list("abcd"),
        {"loss": "expected_relation"},
        "All relations are equal",
    ),
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
    "logarithm of numbers": (X4, [0.5, 1, 2, 4], {"loss": "log"}, "loss='log' needs .* classes"),
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
def test_constant_columns_do_not_change_the_distances(loss, data, order_given):
    X, y = data
    y = targets_for(loss, y)
    expected = seeded(loss).fit(X, y)
    wider = np.column_stack([X, np.full(len(X), 0.1), np.zeros(len(X))])
    learner = seeded(loss).fit(wider, y)
    assert_same_distances(learner, wider, expected, X, rtol=1e-3)


@loss_of_numbers
def test_duplicates_of_different_targets(loss):
    rng = np.random.default_rng(15)
    X = np.repeat(rng.normal(size=(8, 3)), 5, axis=0)
    y = rng.normal(size=40)
    learner = seeded(loss).fit(X, y)
    assert_sound(learner, X)
    two_points = np.repeat([[0.0, 0.0], [1.0, 0.0]], 20, axis=0)
    learner.fit(two_points, y)
    assert_sound(learner, two_points)


@every_loss
@pytest.mark.parametrize("size", [1e-130, 1e-70, 1e70])
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_size_of_the_features(loss, size, stored, data):
    X, y = data
    y = targets_for(loss, y)
    expected = seeded(loss).fit(X, y)
    learner = seeded(loss).fit(stored(size * X), y)
    np.testing.assert_allclose(
        size * learner.components_, expected.components_, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e80, 1e150, 1e300])
def test_impossible_size_of_the_features_is_refused(size, data):
    X, y = data
    with pytest.raises(ValueError, match=r"\bX\b"):
        NeighborhoodAlignment().fit(size * X, y)


@loss_of_numbers
@pytest.mark.parametrize("outlier", [1e6, 1e150, 1e300])
def test_outlier_among_the_targets(loss, outlier, numbers):
    X, y = numbers
    y = y.copy()
    y[3] = outlier
    assert_sound(seeded(loss).fit(X, y), X)


@every_loss
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outlier_among_the_samples(loss, dtype, data):
    X, y = data
    y = targets_for(loss, y)
    X = X.astype(dtype)
    X[3] = 1e7
    assert_sound(seeded(loss).fit(X, y), X)


@every_loss
def test_many_classes_of_few_samples(loss):
    rng = np.random.default_rng(16)
    y = np.repeat(np.arange(100), 1 + np.arange(100) % 2)
    centres = rng.normal(size=(100, 3))
    X = np.column_stack([centres[y] + 0.01 * rng.normal(size=(150, 3)), rng.normal(size=150)])
    names = y.astype(str)
    learner = seeded(loss).fit(X, names)
    assert learner.relation_.kind == "multiclass"
    assert_sound(learner, X)
    noise = np.linalg.norm(learner.components_[:, 3])
    assert noise < 0.2 * np.linalg.norm(learner.components_, axis=0)[:3].min()


def test_few_samples_and_one_feature():
    # Each would predict the other, whatever the map.
    with pytest.raises(ValueError, match=r"2\. At least 3 are needed"):
        NeighborhoodAlignment().fit([[0.0], [1.0]], [1.0, 3.0])
    for loss in ("kernel_regression", "expected_relation"):
        X = np.array([[0.0], [1.0], [5.0]])
        learner = seeded(loss).fit(X, [1.0, 1.1, 3.0])
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
def test_noise_is_forgotten(loss):
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
    learner = seeded(loss)
    learner.fit(X, y)
    euclid = KNeighborsClassifier().fit(X, y).score(X_test, y_test)
    learned = KNeighborsClassifier().fit(learner.transform(X), y)
    assert learned.score(learner.transform(X_test), y_test) > euclid + 0.08


@loss_of_numbers
def test_noise_is_forgotten_for_numbers(loss):
    rng = np.random.default_rng(18)
    X = rng.normal(size=(300, 15))
    y = np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.05 * rng.normal(size=300)
    learner = seeded(loss).fit(X[:200], y[:200])
    euclid = KNeighborsRegressor().fit(X[:200], y[:200]).score(X[200:], y[200:])
    learned = KNeighborsRegressor().fit(learner.transform(X[:200]), y[:200])
    assert learned.score(learner.transform(X[200:]), y[200:]) > euclid + 0.2


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
def test_a_constant_feature_does_not_count_for_new_samples(shrinkage):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(60, 3)), np.full(60, 0.1)])
    y = (X[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
    learner = seeded(shrinkage=shrinkage).fit(X, y)
    assert np.abs(learner.components_[:, 3]).max() < 1e-12 * np.abs(learner.components_).max()


def test_zero_of_the_expected_relation_is_known_though_no_random_pair_has_it():
    # 2,000 classes of two samples: of 100,000 random pairs hardly any are of one class.
    y = np.repeat(np.arange(2000), 2)
    relation = resolve_relation("class", y)
    loss = ExpectedRelation().for_samples(relation, relation.encode(y), np.ones(len(y)))
    assert loss._smallest == -1.0


@pytest.mark.parametrize("loss", ["auto", "log", "expected_relation"])
def test_classes_of_one_sample_are_refused(loss):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match="relations are equal"):
        NeighborhoodAlignment(loss, relation="class").fit(X, np.arange(20))


def test_fits_are_the_same_by_default():
    X, y = load_wine(return_X_y=True)
    matrices = [NeighborhoodAlignment().fit(X, y).get_mahalanobis_matrix() for _ in range(2)]
    np.testing.assert_array_equal(*matrices)
