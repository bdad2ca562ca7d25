"""What every public estimator must do, whatever its method."""

import pickle
import re
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import metricalign
from metricalign import (
    PSDSVR,
    RAMLKRR,
    RAMLSVR,
    IteratedMetricLearner,
    MetricLearnerCV,
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.cones import CONES
from metricalign.linear_base import LinearMetricLearner
from metricalign.losses import LOSSES, EpsilonInsensitive, Hinge
from metricalign.operators import PairOperator
from metricalign.pairs import NearestPairs
from metricalign.solvers import SOLVERS

PUBLIC = [getattr(metricalign, name) for name in metricalign.__all__]
PUBLIC = [item for item in PUBLIC if isinstance(item, type) and issubclass(item, BaseEstimator)]
# Few fits where one estimator fits many times.
OPTIONS = {
    RelationAlignmentCV: {"Cs": 2, "cv": 2},
    IteratedMetricLearner: {"n_rounds": 2},
    MetricLearnerCV: {"candidates": ["passthrough", PSDSVR(), NeighborhoodAlignment()], "cv": 2},
}
LOSS_OPTIONS = {"one_sided": {"fit_intercept": False}}
DEFAULTS = [estimator_class(**OPTIONS.get(estimator_class, {})) for estimator_class in PUBLIC]
CONFIGURATIONS = [
    *DEFAULTS,
    RAMLSVR(nu=0.5),
    RAMLKRR(penalty="coefficients"),
    # RAMLNCSVR has the pair matrices, which take longest.
    *(RelationAlignment(cone=cone) for cone in CONES if cone not in ("symmetric", "pair_matrices")),
    RelationAlignment(cone="above_prior", prior="identity"),
    *(
        RelationAlignment(loss=loss, **LOSS_OPTIONS.get(loss, {}))
        for loss in LOSSES
        if loss != RelationAlignment().loss
    ),
]


def has_certificate(estimator):
    """Whether the fit is a convex problem over pairs: one solution, and a bound on the error."""
    return isinstance(estimator, LinearMetricLearner)


def _name(value):
    return re.sub(r"\s+", " ", str(value)) if isinstance(value, BaseEstimator) else None


# The diagonal metric of these numbers is next to none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* cannot tell the learned metric from none"),
    pytest.mark.filterwarnings("ignore:MetricLearnerCV keeps Euclid's distance"),
]
every_default = pytest.mark.parametrize("estimator", DEFAULTS, ids=_name)
every_configuration = pytest.mark.parametrize("estimator", CONFIGURATIONS, ids=_name)
every_certified_default = pytest.mark.parametrize(
    "estimator", list(filter(has_certificate, DEFAULTS)), ids=_name
)
every_certified = pytest.mark.parametrize(
    "estimator", list(filter(has_certificate, CONFIGURATIONS)), ids=_name
)


def precise(estimator):
    """A copy that is solved well enough to compare matrices."""
    if not has(estimator, "tol"):
        return clone(estimator)
    precision = {"tol": 1e-10} if has_certificate(estimator) else {"tol": 1e-12, "max_iter": 3000}
    return clone(estimator).set_params(**precision)


def has(estimator, *parameters):
    return set(parameters) <= set(estimator.get_params(deep=False))


def assert_same_metric(learner, expected, factor=1.0):
    """Compare two fits, which found the optimum (of X in other units) to a known precision."""
    difference = np.linalg.norm(factor * matrix_of(learner) - matrix_of(expected))
    size = np.linalg.norm(matrix_of(expected))
    if has_certificate(learner):
        bounds = factor * learner.metric_error_bound_ + expected.metric_error_bound_
        assert difference <= bounds + 1e-6 * size
    assert difference <= 1e-3 * size


def assert_same_pairs(learner, expected):
    if has_certificate(learner):
        np.testing.assert_array_equal(learner.pairs_, expected.pairs_)


def matrix_of(learner):
    """The matrix as it was solved for, which may have negative eigenvalues, if there is one."""
    if has_certificate(learner):
        return dense(learner.matrix_)
    return learner.get_mahalanobis_matrix()


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else matrix


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return read_only(StandardScaler().fit_transform(X[::7, :6]), y[::7])


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    return read_only(StandardScaler().fit_transform(X[::3, :6]), y[::3])


@pytest.fixture(scope="module", params=["numbers", "classes"])
def data(request):
    return request.getfixturevalue(request.param)


def read_only(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.fixture
def suited(estimator, numbers, classes):
    """Numbers, but classes for the hinge loss."""
    return classes if has_hinge(estimator) else numbers


def has_hinge(estimator):
    return isinstance(estimator._loss(), Hinge) if hasattr(estimator, "_loss") else False


def is_suited(estimator, y):
    if y.dtype.kind != "i":
        return not has_hinge(estimator)
    # Two classes make relations of -1 and 1, and half the range as epsilon the best choice.
    return getattr(estimator, "nu", None) is None


def has_folds(estimator):
    """Whether the order and number of the samples decide on folds."""
    return has(estimator, "cv")


# scikit-learn's conventions


# Its data are tiny, random or both: few samples of a class, and nothing to learn.
@pytest.mark.filterwarnings(
    "ignore:n_same=",
    "ignore:n_neighbors=",
    # Several checks have targets of noise, for which no metric is the right answer.
    "ignore:.* learned the zero metric",
    "ignore:.* cannot tell the learned metric from none",
    # Folds of a few samples have one class, or one pair.
    "ignore:.* failed to fit in",
    # float32, in which projections on the pair matrices are good to a relative gap of 1e-3.
    "ignore:RAMLNCSVR could make no further progress in float32",
)
@parametrize_with_checks(CONFIGURATIONS)
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


@every_default
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_names_the_components(estimator, library, suited):
    pytest.importorskip(library)
    learner = clone(estimator).set_output(transform=library)
    frame = learner.fit_transform(*suited)
    names = [f"{type(estimator).__name__.lower()}{i}" for i in range(learner.components_.shape[0])]
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == list(learner.get_feature_names_out()) == names


@every_default
def test_other_feature_names_are_refused(estimator, suited):
    pandas = pytest.importorskip("pandas")
    X, y = suited
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    learner = clone(estimator).fit(frame, y)
    assert list(learner.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names should match"):
        learner.transform(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="feature names should match"):
        learner.score(frame[list("bacdef")], y)


@every_configuration
def test_pickle_and_clone(estimator, data):
    learner = clone(estimator).fit(*data) if is_suited(estimator, data[1]) else None
    if learner is None:
        return
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(data[0]), learner.transform(data[0]))
    assert copy.score(*data) == learner.score(*data)
    unfitted = clone(learner)
    assert repr(unfitted) == repr(estimator)
    with pytest.raises(NotFittedError):
        unfitted.transform(data[0])
    with pytest.raises(NotFittedError):
        unfitted.get_mahalanobis_matrix()


@every_default
@pytest.mark.filterwarnings("ignore:n_same=")
def test_search_over_a_pipeline(estimator, data):
    X, y = data
    neighbors = KNeighborsClassifier() if y.dtype.kind == "i" else KNeighborsRegressor()
    steps = [("scale", StandardScaler()), ("metric", clone(estimator)), ("neighbors", neighbors)]
    if not is_suited(estimator, y):
        return
    values = {"Cs": [[1e-3], 2], "C": ["scale", 1e-3], "alpha": [0.1, 1.0]}
    grid = {f"metric__{name}": values[name] for name in values if has(estimator, name)}
    grid["neighbors__n_neighbors"] = [3, 5]
    search = GridSearchCV(Pipeline(steps), grid, cv=3, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == y.shape


def test_search_over_nested_parameters(numbers):
    X, y = numbers
    learner = RelationAlignment(loss=EpsilonInsensitive(), pairs=NearestPairs())
    grid = {"loss__epsilon": [0.0, "scale", 0.1], "pairs__n_neighbors": [3, 8]}
    search = GridSearchCV(learner, grid, cv=3, error_score="raise").fit(X, y)
    best = search.best_estimator_
    assert best.loss.epsilon == search.best_params_["loss__epsilon"]
    assert best.pairs.n_neighbors == search.best_params_["pairs__n_neighbors"]
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    # nothing was written into the objects that were passed
    assert vars(learner.loss) == vars(EpsilonInsensitive())
    assert vars(learner.pairs) == vars(NearestPairs())


@every_default
@pytest.mark.filterwarnings("ignore:n_same=")
def test_sample_weight_is_routed(estimator, suited):
    X, y = suited
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    with config_context(enable_metadata_routing=True):
        learner = clone(estimator).set_fit_request(sample_weight=True)
        learner.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        neighbors = KNeighborsRegressor().set_score_request(sample_weight=True)
        pipeline = make_pipeline(scaler, learner, neighbors)
        pipeline.fit(X, y, sample_weight=weight)
        assert np.isfinite(pipeline.score(X, y, sample_weight=weight))
        grid = {f"{pipeline.steps[1][0]}__relation": ["auto"]}
        search = GridSearchCV(pipeline[:2], grid, cv=3, error_score="raise")
        search.fit(X, y, sample_weight=weight)
        score = search.score(X, y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(X)
    expected = matrix_of(clone(estimator).fit(scaled, y, sample_weight=weight))
    assert np.abs(matrix_of(clone(estimator).fit(scaled, y)) - expected).max() > 0
    for model in (pipeline, search.best_estimator_):
        np.testing.assert_array_equal(matrix_of(model[1]), expected)
    repeated = np.repeat(np.arange(len(y)), weight.astype(int))
    assert score == pytest.approx(pipeline[:2].score(X[repeated], y[repeated]))


# The distance


@every_configuration
def test_neighbors_of_the_images_are_those_of_the_matrix(estimator, suited):
    X, y = suited
    learner = clone(estimator).fit(X, y)
    matrix = learner.get_mahalanobis_matrix()
    assert np.linalg.eigvalsh(matrix).min() >= -1e-12 * np.abs(matrix).max()
    by_matrix = NearestNeighbors(
        n_neighbors=4, algorithm="brute", metric="mahalanobis", metric_params={"VI": matrix}
    ).fit(X)
    by_function = NearestNeighbors(n_neighbors=4, metric=learner.get_metric()).fit(X)
    by_images = NearestNeighbors(n_neighbors=4).fit(learner.transform(X))
    expected, neighbors = by_matrix.kneighbors()
    for search in (by_function, by_images):
        distances, found = search.kneighbors()
        np.testing.assert_array_equal(found, neighbors)
        np.testing.assert_allclose(distances, expected, rtol=1e-6)
    pairs = np.stack([X, X[neighbors[:, 0]]], axis=1)
    np.testing.assert_allclose(learner.pair_distance(pairs), expected[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(learner.pair_score(pairs), -learner.pair_distance(pairs))


@every_certified
def test_matrix_is_the_sum_over_the_pairs(estimator, suited):
    X, y = suited
    if has(estimator, "prior") and estimator.prior is not None:
        return
    learner = precise(estimator).fit(X, y)
    cone = estimator._cone()
    operator = PairOperator(X, learner.pairs_, is_diagonal=cone.is_diagonal)
    cone = cone.bound(operator, np.zeros(operator.matrix_shape))
    matrix = cone.project(operator.adjoint(learner.dual_coef_)).matrix
    found = learner.matrix_.diagonal() if cone.is_diagonal else learner.matrix_
    assert np.linalg.norm(found - matrix) <= 2 * learner.metric_error_bound_ + 1e-9
    assert learner.converged_
    assert 0 <= learner.dual_gap_ <= learner.tol


@every_configuration
def test_score_tells_a_metric_from_noise(estimator, classes):
    X, y = classes
    if not is_suited(estimator, y):
        return
    score = clone(estimator).fit(X, y).score(X, y)
    shuffled = clone(estimator).fit(X, y).score(X, np.random.default_rng(0).permutation(y))
    assert score > 0.7
    assert abs(shuffled - 0.5) < 0.05


@every_certified_default
def test_n_components_keeps_the_largest(estimator, suited):
    if has_folds(estimator):  # which may choose another C for two dimensions
        return
    X, y = suited
    full = clone(estimator).fit(X, y)
    two = clone(estimator).set_params(n_components=2).fit(X, y)
    np.testing.assert_array_equal(dense(two.components_), dense(full.components_)[:2])
    share = clone(estimator).set_params(n_components=1e-9).fit(X, y)
    np.testing.assert_array_equal(dense(share.components_), dense(full.components_)[:1])


# What the input is stored as


@every_configuration
def test_float32_stays_float32(estimator, data):
    X, y = data
    if not is_suited(estimator, y):
        return
    if has(estimator, "tol"):
        estimator = clone(estimator).set_params(tol=1e-5)
    single = clone(estimator).fit(X.astype(np.float32), y)
    double = clone(estimator).fit(X, y)
    assert matrix_of(single).dtype == single.components_.dtype == np.float32
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert single.transform(X).dtype == double.transform(X).dtype == np.float64
    difference = np.linalg.norm(matrix_of(single) - matrix_of(double))
    assert difference <= 0.05 * np.linalg.norm(matrix_of(double))
    pairs = np.stack([X[:-1], X[1:]], axis=1)
    np.testing.assert_allclose(single.pair_distance(pairs), double.pair_distance(pairs), rtol=0.05)


@every_configuration
@pytest.mark.parametrize(
    "stored",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        sparse.csr_array,
        sparse.csc_matrix,
        lambda X: X.tolist(),
    ],
    ids=["fortran", "strided", "csr_array", "csc_matrix", "list"],
)
def test_storage_does_not_matter(estimator, stored, suited):
    X, y = suited
    X = np.where(np.abs(X) < 0.3, 0, X)
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(stored(X), y)
    assert_same_metric(learner, expected)
    np.testing.assert_allclose(
        pairwise_distances(learner.transform(stored(X))),
        pairwise_distances(expected.transform(X)),
        atol=1e-3,
    )
    assert_same_pairs(learner, expected)
    assert learner.score(stored(X), y) == pytest.approx(learner.score(X, y))


@every_default
def test_arguments_are_not_changed(estimator, classes):
    X, y = (array.copy() for array in classes)
    weight = np.linspace(0, 2, len(y))
    parameters = repr(estimator)
    learner = clone(estimator).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(X, classes[0])
    np.testing.assert_array_equal(y, classes[1])
    np.testing.assert_array_equal(weight, np.linspace(0, 2, len(y)))
    assert repr(learner) == parameters


# Invariances


@every_configuration
def test_order_of_the_samples_does_not_matter(estimator, data):
    X, y = data
    if not is_suited(estimator, y) or has_folds(estimator):
        return
    order = np.random.default_rng(1).permutation(len(y))
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(X[order], y[order])
    assert_same_metric(learner, expected)
    if not has_certificate(learner):  # nor pairs
        return
    found = {frozenset(pair) for pair in order[learner.pairs_].tolist()}
    assert found == {frozenset(pair) for pair in expected.pairs_.tolist()}


@every_configuration
def test_weight_is_repetition(estimator, data):
    X, y = data
    if not is_suited(estimator, y) or has_folds(estimator):
        return
    weight = np.random.default_rng(2).integers(0, 4, len(y))
    repeated = precise(estimator).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    weighted = precise(estimator).fit(X, y, sample_weight=weight)
    assert_same_metric(weighted, repeated)


@every_configuration
def test_weight_zero_is_absence(estimator, data):
    X, y = data
    if not is_suited(estimator, y) or has_folds(estimator):
        return
    weight = np.where(np.arange(len(y)) % 4 == 1, 0.0, 1.0)
    absent = precise(estimator).fit(X[weight > 0], y[weight > 0])
    weighted = precise(estimator).fit(X, y, sample_weight=weight)
    assert_same_metric(weighted, absent)
    if has_certificate(weighted):
        assert set(weighted.pairs_.ravel()) <= set(np.flatnonzero(weight))


@every_configuration
@pytest.mark.parametrize("factor", [1000.0, 1e-4])
def test_unit_of_a_feature_does_not_matter(estimator, factor, data):
    X, y = data
    if not is_suited(estimator, y):
        return
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(factor * X, y)
    assert_same_metric(learner, expected, factor**2)
    np.testing.assert_allclose(
        pairwise_distances(learner.transform(factor * X)),
        pairwise_distances(expected.transform(X)),
        atol=1e-3,
    )
    assert not has(estimator, "tol") or learner.converged_


@every_configuration
def test_origin_of_the_features_does_not_matter(estimator, data):
    X, y = data
    if not is_suited(estimator, y):
        return
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(X + 100, y)
    assert_same_metric(learner, expected)
    assert_same_pairs(learner, expected)


@every_configuration
@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (1e-3, 7.0), (-2.0, -300.0)])
def test_unit_of_a_number_does_not_matter(estimator, factor, offset, numbers):
    X, y = numbers
    if not is_suited(estimator, y):
        return
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(X, factor * y + offset)
    assert_same_metric(learner, expected)


@every_configuration
@pytest.mark.parametrize("repeat", [np.repeat, lambda a, n, axis: np.concatenate([a] * n)])
def test_number_of_equal_samples_does_not_matter(estimator, repeat, data):
    X, y = data
    if not is_suited(estimator, y) or has_folds(estimator):
        return
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(repeat(X, 3, axis=0), repeat(y, 3, axis=0))
    assert_same_metric(learner, expected)


@every_default
def test_names_of_the_classes_do_not_matter(estimator, classes):
    X, y = classes
    expected = matrix_of(clone(estimator).fit(X, y))
    for names in (np.array(["wet", "dry", "sour"]), np.array([7, -3, 1000]), list("bca")):
        named = np.asarray(names, dtype=object if isinstance(names, list) else None)[y]
        learner = clone(estimator).fit(X, named)
        np.testing.assert_array_equal(matrix_of(learner), expected)


# Stopping, going on, being watched


@every_configuration
def test_warning_unless_converged(estimator, suited):
    if not has(estimator, "max_iter", "tol"):
        return
    X, y = suited
    learner = clone(estimator).set_params(max_iter=1, tol=1e-9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner.fit(X, y)
    messages = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    if has_certificate(learner):
        assert learner.converged_ == (learner.dual_gap_ <= learner.tol)
    messages = [m for m in messages if m.startswith(f"{type(estimator).__name__} ")]
    assert len(messages) == (0 if learner.converged_ else 1)
    assert all("max_iter" in message and "tol" in message for message in messages)
    if not isinstance(estimator, RAMLKRR):  # which has a direct solver
        assert messages
        assert learner.n_iter_ == 1


@every_default
def test_warm_start_goes_on(estimator, suited):
    if not has(estimator, "warm_start"):
        return
    X, y = suited
    cold = clone(estimator).fit(X, y)
    learner = clone(estimator).set_params(warm_start=True).fit(X, y)
    np.testing.assert_array_equal(learner.matrix_, cold.matrix_)
    learner.fit(X, y)
    assert learner.n_iter_ < cold.n_iter_
    assert learner.converged_
    difference = np.linalg.norm(learner.matrix_ - cold.matrix_)
    assert difference <= learner.metric_error_bound_ + cold.metric_error_bound_
    # along a path over C
    cold = clone(estimator).set_params(C=1.1 * learner.C_).fit(X, y)
    learner.set_params(C=1.1 * learner.C_).fit(X, y)
    assert learner.n_iter_ <= cold.n_iter_
    assert learner.objective_ == pytest.approx(cold.objective_, rel=2 * learner.tol)
    # other data: from zero
    other = learner.fit(X[:40], y[:40])
    expected = clone(estimator).set_params(C=other.C_).fit(X[:40], y[:40])
    np.testing.assert_array_equal(other.matrix_, expected.matrix_)


class Watcher:
    """A callback: counts iterations, and stops or raises after some of them."""

    def __init__(self, stop_after=None, error=None):
        self.stop_after = stop_after
        self.error = error
        self.scores = []
        self.torn_down = 0

    def setup(self, estimator, context):
        self.scores.clear()

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        if context.parent is None or not context.task_name.startswith("iteration"):
            return False
        self.scores.append(fitted_estimator.score(X, y))
        if self.stop_after is None or len(self.scores) < self.stop_after:
            return False
        if self.error is not None:
            raise self.error
        return True


@every_certified
@pytest.mark.filterwarnings("ignore:.* learned the zero metric", "ignore:.* cannot tell the")
def test_callback_stops(estimator, suited):
    pytest.importorskip("sklearn.callback")
    X, y = suited
    watcher = Watcher(stop_after=1)
    learner = clone(estimator).set_callbacks(watcher).fit(X, y)
    assert learner.n_iter_ <= 1 or getattr(estimator, "nu", None) is not None
    assert watcher.torn_down == len(watcher.scores) == 1
    assert learner.score(X, y) == watcher.scores[-1]


@pytest.mark.filterwarnings("ignore:.* learned the zero metric", "ignore:.* cannot tell the")
def test_callback_stops_after_two_iterations_of_a_clone(numbers):
    pytest.importorskip("sklearn.callback")
    X, y = numbers
    watcher = Watcher(stop_after=2)
    learner = clone(RAMLSVR(C=1.0, tol=1e-6).set_callbacks(watcher)).fit(X, y)
    assert learner.n_iter_ == len(watcher.scores) == 2
    assert not learner.converged_
    pipeline = make_pipeline(StandardScaler(), learner, KNeighborsRegressor())
    assert pipeline.fit(X, y)[1].n_iter_ == 2


def test_every_step_of_a_path_is_watched(numbers):
    pytest.importorskip("sklearn.callback")
    X, y = numbers
    watcher = Watcher()
    learner = RAMLSVR().set_callbacks(watcher)
    path = learner.fit_path(X, y, [0.01, 0.1, 1.0])
    assert watcher.torn_down == 3
    assert len(watcher.scores) == path[-1].n_iter_
    assert vars(path[-1]).keys() == vars(learner.fit(X, y)).keys()


@every_certified
def test_interrupt_leaves_a_fitted_estimator(estimator, suited):
    pytest.importorskip("sklearn.callback")
    X, y = suited
    watcher = Watcher(stop_after=1, error=KeyboardInterrupt())
    learner = clone(estimator).set_callbacks(watcher)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    assert watcher.torn_down == 1
    assert np.isfinite(learner.transform(X)).all()
    assert learner.score(X, y) == watcher.scores[-1]
    assert learner.dual_gap_ >= 0


@pytest.mark.parametrize("solver", sorted(set(SOLVERS) - {"cvxpy"}))
def test_interrupt_of_a_solver(solver, numbers):
    X, y = numbers

    def interrupted(problem, *, callback, **options):
        def report(result):
            callback(result)
            if result.n_iter == 3:
                raise KeyboardInterrupt

        return SOLVERS[solver](problem, callback=report, **options)

    learner = RAMLSVR(C=1.0, solver=interrupted, tol=1e-6)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    assert learner.n_iter_ == 3
    assert len(learner.gap_history_) == 3
    assert np.isfinite(learner.score(X, y))


def test_scoring_monitor_and_progress_bar(numbers, capsys):
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    X, y = numbers
    monitor = callback.ScoringMonitor(scoring={"order": lambda learner, X, y: learner.score(X, y)})
    learner = RAMLSVR().set_callbacks(monitor, callback.ProgressBar()).fit(X, y)
    log = monitor.get_logs()
    rows = (log[-1] if isinstance(log, list) else log).data
    assert len(rows) >= learner.n_iter_
    assert "RAMLSVR" in capsys.readouterr().out


@every_certified_default
def test_verbose_prints_each_iteration(estimator, suited, capsys):
    learner = clone(estimator).set_params(verbose=1).fit(*suited)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if type(estimator).__name__ + "]" in line]) == len(
        learner.gap_history_
    )
    assert all("duality gap" in line for line in lines)
    clone(estimator).fit(*suited)
    assert capsys.readouterr().out == ""


# Bad input: the error names the argument

BAD_PARAMETERS = [
    ("C", -1.0),
    ("C", 0.0),
    ("C", float("nan")),
    ("C", "large"),
    ("epsilon", -0.1),
    ("epsilon", "small"),
    ("nu", 0.0),
    ("nu", 1.5),
    ("nu", -0.5),
    ("penalty", "none"),
    ("loss", "hinged"),
    ("loss", 3),
    ("cone", "ice"),
    ("cone", None),
    ("relation", "unrelated"),
    ("relation", 3),
    ("relation", "jaccard"),
    ("pairs", "couples"),
    ("pairs", 3),
    ("pairs", [[0, 10_000]]),
    ("pairs", [[0, -1]]),
    ("pairs", [[0.0, 1.0]]),
    ("pairs", [[0, 0]]),
    ("pairs", [0, 1]),
    ("pairs", [[0, 1, 2]]),
    ("pairs", np.empty((0, 2), dtype=int)),
    ("fit_intercept", "yes"),
    ("prior", "euclid"),
    ("prior", np.eye(3)),
    ("prior", np.triu(np.ones((6, 6)))),
    ("prior", np.full((6, 6), np.nan)),
    ("prior", np.ones(6)),
    ("n_components", 0),
    ("n_components", -2),
    ("n_components", 1.5),
    ("n_components", "all"),
    ("solver", "magic"),
    ("tol", -1e-3),
    ("tol", None),
    ("max_iter", 0),
    ("max_iter", 2.5),
    ("warm_start", "yes"),
    ("random_state", "seed"),
    ("verbose", "very"),
]


@every_default
@pytest.mark.parametrize(("parameter", "value"), BAD_PARAMETERS)
def test_bad_parameter_is_named(estimator, parameter, value, numbers):
    if not has(estimator, parameter):
        return
    learner = clone(estimator).set_params(**{parameter: value})
    with pytest.raises((ValueError, TypeError), match=rf"\b{parameter}\b"):
        learner.fit(*numbers)


def test_bad_parameter_of_a_part_is_named(numbers):
    for part, parameter in [
        ({"loss": EpsilonInsensitive(-1.0)}, "epsilon"),
        ({"pairs": NearestPairs(n_neighbors=0)}, "n_neighbors"),
    ]:
        with pytest.raises(ValueError, match=parameter):
            RelationAlignment(**part).fit(*numbers)


def _with(array, value):
    array = np.array(array, dtype=float)
    array[3] = value
    return array


BAD_DATA = {
    "X is one column": (lambda X, y: (X[:, 0], y), "Expected 2D array"),
    "X has three dimensions": (lambda X, y: (X[None], y), "dim 3"),
    "X has no feature": (lambda X, y: (X[:, :0], y), "0 feature"),
    "X has NaN": (lambda X, y: (_with(X, np.nan), y), r"\bX\b contains NaN"),
    "X is infinite": (lambda X, y: (_with(X, np.inf), y), r"\bX\b contains infinity"),
    "X is complex": (lambda X, y: (X + 1j, y), "Complex data"),
    "X has strings": (lambda X, y: (np.full(X.shape, "a"), y), "could not convert string"),
    "X is constant": (lambda X, y: (np.ones_like(X), y), r"\bX\b|features"),
    "X is huge": (lambda X, y: (1e200 * X, y), r"\bX\b"),
    "X is tiny": (lambda X, y: (1e-200 * X, y), r"\bX\b"),
    "one sample": (lambda X, y: (X[:1], y[:1]), "minimum of 2"),
    "y is None": (lambda X, y: (X, None), r"\by\b"),
    "y is short": (lambda X, y: (X, y[:-1]), r"\bX\b.*\by\b"),
    "y is long": (lambda X, y: (X[:-1], y), r"\bX\b.*\by\b"),
    "y is a scalar": (lambda X, y: (X, 3.0), r"\by\b"),
    "y has three dimensions": (lambda X, y: (X, y[:, None, None]), r"\by\b"),
    "y has NaN": (lambda X, y: (X, _with(y, np.nan)), r"\by\b.*NaN"),
    "y is infinite": (lambda X, y: (X, _with(y, np.inf)), r"\by\b.*infinity"),
    "y is constant": (lambda X, y: (X, np.full(len(y), 1.5)), r"\by\b.*constant"),
    "y has one class": (lambda X, y: (X, np.full(len(y), "a")), r"\by\b.*one class"),
    "y is complex": (lambda X, y: (X, y + 1j), r"\by\b|[Cc]omplex"),
}
BAD_WEIGHTS = {
    "short": lambda y: np.ones(len(y) - 1),
    "a matrix": lambda y: np.ones((len(y), 2)),
    "negative": lambda y: np.where(y == y[3], -1.0, 1.0),
    "NaN": lambda y: np.where(y == y[3], np.nan, 1.0),
    "zero": lambda y: np.zeros(len(y)),
}
BAD_RELATIONS = {
    "not square": lambda matrix: matrix[:, :-1],
    "not symmetric": lambda matrix: np.triu(matrix),
    "NaN": lambda matrix: _with(matrix, np.nan),
    "infinite": lambda matrix: _with(matrix, np.inf),
    "constant": np.ones_like,
    "too few": lambda matrix: matrix[:-1, :-1],
    "a column": lambda matrix: matrix[:, 0],
    "no pair": lambda matrix: sparse.csr_array(matrix.shape),
    "sparse, not symmetric": lambda matrix: sparse.csr_array(
        matrix * np.arange(1, len(matrix) + 1)
    ),
}


@every_default
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_named(estimator, case, numbers):
    change, message = BAD_DATA[case]
    X, y = change(*numbers)
    with pytest.raises((ValueError, TypeError), match=message):
        clone(estimator).fit(X, y)


@every_default
@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_named(estimator, case, suited):
    X, y = suited
    with pytest.raises(ValueError, match=r"[Ss]ample[_ ]weight"):
        clone(estimator).fit(X, y, sample_weight=BAD_WEIGHTS[case](y))


@every_default
@pytest.mark.parametrize("case", BAD_RELATIONS)
def test_bad_relations_are_named(estimator, case, numbers):
    X, y = numbers
    matrix = BAD_RELATIONS[case](np.abs(y[:, None] - y))
    with pytest.raises(ValueError, match=r"\by\b"):
        clone(estimator).set_params(relation="precomputed").fit(X, matrix)


@every_default
def test_bad_samples_are_named_after_fit(estimator, suited):
    X, y = suited
    learner = clone(estimator).fit(X, y)
    with pytest.raises(ValueError, match="expecting 6 features"):
        learner.transform(X[:, :5])
    with pytest.raises(ValueError, match=r"\bX\b contains NaN"):
        learner.transform(_with(X, np.nan))
    with pytest.raises(ValueError, match=r"\bX\b.*\by\b"):
        learner.score(X, y[:-1])
    with pytest.raises(ValueError, match=r"\bpairs\b"):
        learner.pair_distance(X)
    with pytest.raises(ValueError, match=r"\bpairs\b"):
        learner.pair_distance(np.zeros((5, 2, 5)))
    with pytest.raises(ValueError, match=r"\bpairs\b"):
        learner.pair_distance(np.full((5, 2, 6), np.nan))
