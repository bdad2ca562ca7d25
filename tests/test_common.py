"""What every public estimator must do, whatever its method."""

import importlib
import pickle
import pkgutil
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed, parallel_config
from public_estimators import EVERY, LINEAR, SEARCHES, data_of, is_special_case, output
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_info

import metricalign
from metricalign import (
    RAMLKRR,
    RAMLSVR,
    RelationAlignment,
)
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import EmbeddingLearner, MetricLearner
from metricalign.losses import LOSSES, EpsilonInsensitive, Hinge, Logistic
from metricalign.multilabel import MLkNN
from metricalign.operators import PairOperator
from metricalign.pair_classification import PairClassifier
from metricalign.pairs import NearestPairs
from metricalign.predictors.base import MetricNeighbors
from metricalign.predictors.fold_metric import FoldMetric
from metricalign.regularizers import REGULARIZERS
from metricalign.relations import resolve_relation
from metricalign.solvers import SOLVERS

LOSS_OPTIONS = {"one_sided": {"fit_intercept": False}}
DEFAULTS = LINEAR
CONFIGURATIONS = [
    *DEFAULTS,
    RAMLSVR(nu=0.5),
    RAMLKRR(penalty="coefficients"),
    *(
        RelationAlignment(cone=regularizer)
        for regularizer in REGULARIZERS
        if regularizer != RelationAlignment().cone
    ),
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
    return re.sub(r"\s+", " ", str(value)) if isinstance(value, BaseEstimator | str) else None


# The diagonal metric of these numbers is next to none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* cannot tell the learned metric from none"),
]


def has(estimator, *parameters):
    return set(parameters) <= set(estimator.get_params(deep=False))


def has_folds(estimator):
    """Whether the order and number of the samples decide on folds."""
    return has(estimator, "cv")


def fits_many_times(estimator):
    return any(has(estimator, name) for name in ("cv", "n_folds", "n_rounds", "candidates"))


def is_variant(estimator):
    """Whether it is RelationAlignment with another loss or cone."""
    return type(estimator) is RelationAlignment and str(estimator) != "RelationAlignment()"


def takes_classes_only(estimator):
    """Whether its loss has relations of +1 and -1."""
    return hasattr(estimator, "_loss") and isinstance(estimator._loss(), Hinge | Logistic)


def is_nu(estimator):
    return getattr(estimator, "nu", None) is not None


def suits(estimator, data):
    if data == "numbers":
        return not takes_classes_only(estimator)
    # Two classes make relations of -1 and 1, and half the range as epsilon the best choice.
    return not is_nu(estimator)


def each(estimators, condition=lambda estimator: True, is_slow=lambda estimator: False):
    """Parametrise a test by the estimators that meet a condition."""
    cases = [
        pytest.param(one, marks=[pytest.mark.slow] if is_slow(one) or is_special_case(one) else [])
        for one in estimators
        if condition(one)
    ]
    return pytest.mark.parametrize("estimator", cases, ids=_name)


def each_with_data(estimators):
    """The same by the estimators and the data that suit each."""
    cases = [(one, data) for one in estimators for data in ("numbers", "classes")]

    def is_slow(estimator, data):
        needs_one = fits_many_times(estimator) or is_variant(estimator)
        return is_special_case(estimator) or (
            data == "classes" and needs_one and suits(estimator, "numbers")
        )

    cases = [
        pytest.param(
            *case,
            id="-".join(map(_name, case)),
            marks=[pytest.mark.slow] if is_slow(*case) else [],
        )
        for case in cases
        if suits(*case)
    ]
    return pytest.mark.parametrize(("estimator", "data"), cases, indirect=["data"])


every_estimator = each(EVERY)
every_default = each(DEFAULTS)
every_configuration = each(CONFIGURATIONS)
every_certified_default = each(DEFAULTS, has_certificate)
every_certified_without_folds = each(
    DEFAULTS, lambda one: has_certificate(one) and not has_folds(one)
)
every_certified = each(CONFIGURATIONS, has_certificate)


def precise(estimator):
    """A copy that is solved well enough to compare matrices."""
    if has(estimator, "candidates"):
        candidates = [c if c == "passthrough" else precise(c) for c in estimator.candidates]
        return clone(estimator).set_params(candidates=candidates)
    if not has(estimator, "tol"):
        return clone(estimator)
    precision = {"tol": 1e-10} if has_certificate(estimator) else {"tol": 1e-12, "max_iter": 3000}
    return clone(estimator).set_params(**precision)


def assert_same_metric(learner, expected, factor=1.0, rotation=None):
    """Compare two fits, which found the optimum (of X in other units) to a known precision."""
    matrix = factor * matrix_of(learner)
    if rotation is not None:
        matrix = rotation @ matrix @ rotation.T
    difference = np.linalg.norm(matrix - matrix_of(expected))
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


@pytest.fixture
def data(request):
    return request.getfixturevalue(request.param)


def read_only(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.fixture
def suited(estimator, numbers, classes):
    """Numbers, but classes where the relations are signs."""
    return classes if takes_classes_only(estimator) else numbers


def with_folds_of(estimator, rows):
    """Give it folds on which only the samples decide: these rows of the data."""
    if not has_folds(estimator):
        return estimator
    is_odd = rows % 2 == 1
    folds = [np.flatnonzero(is_odd), np.flatnonzero(~is_odd)]
    return clone(estimator).set_params(cv=[folds, folds[::-1]])


# scikit-learn's conventions


def test_every_public_estimator_is_in_the_list():
    public = set()
    for module in pkgutil.walk_packages(metricalign.__path__, "metricalign."):
        # Encoders and the search inside learn nothing from targets, and have tests of their own, as
        # have the parts of the command line. The lists have a class only where what it needs is
        # installed.
        rooms = ("metricalign.features", "metricalign.pairs", "metricalign.command_line")
        if module.name.startswith(rooms):
            continue
        if module.name == "metricalign.neighbors" and not SEARCHES:
            continue
        if module.name == "metricalign.__main__" or ".deep" in module.name:
            continue
        module = importlib.import_module(module.name)
        items = [getattr(module, name) for name in getattr(module, "__all__", [])]
        classes = [item for item in items if isinstance(item, type)]
        public |= {item for item in classes if issubclass(item, BaseEstimator)}
    # The metric of a fold takes a table that the predictor makes.
    bases = {EmbeddingLearner, MetricLearner, LinearMetricLearner, MetricNeighbors, FoldMetric}
    listed = {type(item) for item in [*EVERY, *SEARCHES] if ".deep" not in type(item).__module__}
    assert {item for item in public if hasattr(item, "fit")} - bases == listed


def each_check(estimators):
    """scikit-learn's checks, those of an estimator that takes long or the way of another slow."""

    def is_slow(estimator):
        return fits_many_times(estimator) or is_nu(estimator) or is_special_case(estimator)

    mark = parametrize_with_checks(estimators)
    cases = [
        pytest.param(*case, marks=[pytest.mark.slow] if is_slow(case[0]) else [])
        for case in mark.args[1]
    ]
    return pytest.mark.parametrize(mark.args[0], cases, ids=mark.kwargs["ids"])


# Other losses and cones take the same way through the conventions.
CONVENTIONS = [
    *DEFAULTS,
    RAMLSVR(nu=0.5),
    RAMLKRR(penalty="coefficients"),
    RelationAlignment(cone="diagonal"),
]


# Its data are tiny, random or both: few samples of a class, and nothing to learn.
@pytest.mark.filterwarnings(
    "ignore:n_same=",
    "ignore:n_neighbors=",
    # Several checks have targets of noise, for which no metric is the right answer.
    "ignore:.* learned (the zero metric|only the distance)",
    "ignore:.* cannot tell the learned metric from none",
    # Folds of a few samples have one class, one pair, or one sample of each class.
    "ignore:.* failed to fit in",
    "ignore:No two different samples",
    # float32, in which projections on the pair matrices are good to a relative gap of 1e-3.
    "ignore:RAMLNCSVR could make no further progress in float32",
)
@each_check(CONVENTIONS)
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


@each_with_data(CONFIGURATIONS)
def test_pickle_and_clone(estimator, data):
    learner = clone(estimator).fit(*data)
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(data[0]), learner.transform(data[0]))
    assert copy.score(*data) == learner.score(*data)
    unfitted = clone(learner)
    assert repr(unfitted) == repr(estimator)
    with pytest.raises(NotFittedError):
        unfitted.transform(data[0])
    with pytest.raises(NotFittedError):
        unfitted.get_mahalanobis_matrix()


@every_estimator
def test_fit_again_is_the_same_fit(estimator):
    X, y = data_of(estimator)
    learner = clone(estimator).fit(X, y)
    expected, attributes = output(learner, X), vars(learner).keys()
    learner.fit(X[3:, ..., :3], y[3:]).fit(X, y)
    np.testing.assert_array_equal(output(learner, X), expected)
    assert vars(learner).keys() == attributes


@each_with_data(DEFAULTS)
@pytest.mark.filterwarnings("ignore:n_same=")
def test_search_over_a_pipeline(estimator, data):
    X, y = data
    neighbors = KNeighborsClassifier() if y.dtype.kind == "i" else KNeighborsRegressor()
    steps = [("scale", StandardScaler()), ("metric", clone(estimator)), ("neighbors", neighbors)]
    values = {"Cs": [[1e-3], 2], "C": ["scale", 1e-3], "alpha": [0.1, 1.0]}
    grid = {f"metric__{name}": values[name] for name in values if has(estimator, name)}
    grid["neighbors__n_neighbors"] = [3, 5]
    search = GridSearchCV(Pipeline(steps), grid, cv=3, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == y.shape


@each(EVERY, is_slow=fits_many_times)
@pytest.mark.filterwarnings("ignore:n_same=")
def test_nested_cross_validation(estimator):
    X, y = data_of(estimator)
    if isinstance(estimator, PairClassifier):
        model = Pipeline([("verify", clone(estimator))])
        grid = {"verify__strategy": ["accuracy", "f_beta"]}
    elif isinstance(estimator, MLkNN):
        model = Pipeline([("scale", StandardScaler()), ("vote", clone(estimator))])
        grid = {"vote__n_neighbors": [1, 5]}
    elif hasattr(estimator, "n_folds"):
        model = Pipeline([("vote", clone(estimator))])
        grid = {"vote__n_neighbors": [5, 20]}
    else:
        steps = [("scale", StandardScaler()), ("metric", clone(estimator))]
        model = Pipeline([*steps, ("neighbors", KNeighborsClassifier())])
        grid = {"neighbors__n_neighbors": [1, 5]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise")
    train, test = next(StratifiedKFold(2).split(X, y))
    fold = [(train, test)]
    nested = cross_validate(search, X, y, cv=fold, return_estimator=True, error_score="raise")
    # The coefficient of determination, which few samples leave near 0, is another score.
    assert nested["test_score"][0] > 0.5 or is_regressor(estimator)
    # Nothing of a fit is in the next one, nor in what was given.
    found = nested["estimator"][0]
    alone = clone(model).set_params(**found.best_params_).fit(X[train], y[train])
    np.testing.assert_array_equal(alone.predict(X[test]), found.predict(X[test]))
    assert repr(search) == repr(GridSearchCV(model, grid, cv=2, error_score="raise"))


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


@each(EVERY, lambda one: hasattr(one, "transform"), lambda one: has(one, "n_ensemble"))
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "bool", "int64", "float16", "float32", "float64"]
)
@pytest.mark.filterwarnings("ignore:.* learned (the zero metric|only the distance)")
def test_distance_is_the_same_everywhere(estimator, dtype):
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (40, 5))
    y = (values[:, 0] + values[:, 1] > np.median(values[:, 0] + values[:, 1])).astype(int)
    X = values.astype(dtype)
    if isinstance(estimator, PairClassifier):
        indices = np.random.default_rng(1).choice(len(X), (60, 2))
        learner = clone(estimator).fit(X[indices], np.where(np.equal(*y[indices].T), 1, -1))
    else:
        learner = clone(estimator).fit(X, y)
    images = np.asarray(learner.transform(X), dtype=np.float64)
    expected = np.linalg.norm(images[:, None] - images, axis=2)
    tolerance = {"rtol": 2e-4, "atol": 2e-4 * expected.max()}
    left, right = np.indices(expected.shape)
    pairs = np.stack([X[left.ravel()], X[right.ravel()]], axis=1)
    np.testing.assert_allclose(learner.pair_distance(pairs), expected.ravel(), **tolerance)
    distance = learner.get_metric()
    for i, j in [(0, 1), (1, 0), (2, 3), (3, 2)]:
        assert distance(X[i], X[j]) == pytest.approx(expected[i, j], rel=2e-4)
    few = X[:8]
    np.testing.assert_allclose(
        pairwise_distances(few, metric=distance), expected[:8, :8], **tolerance
    )
    # The matrix of an ensemble is over the encoding.
    is_of_features = hasattr(learner, "get_mahalanobis_matrix") and not hasattr(learner, "encoder_")
    if is_of_features and expected.any():
        found = cdist(X, X, "mahalanobis", VI=learner.get_mahalanobis_matrix())
        np.testing.assert_allclose(np.nan_to_num(found), expected, **tolerance)


@every_default
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin_nothing_is_lost(estimator, dtype):
    # In sixteenths for float32, which are exact at a million.
    scale = 1 if dtype == np.float64 else 1000
    near = np.random.default_rng(0).normal(size=(60, 4), scale=1e-3 * scale)
    near = (near + 1e6).astype(dtype) - dtype(1e6) if scale == 1 else np.round(near * 256) / 16
    near = near.astype(dtype)
    far = near + dtype(1e6)
    np.testing.assert_array_equal(far - dtype(1e6), near)
    y = near[:, 0] + 0.1 * near[:, 1] ** 2 / np.abs(near).max()
    y = (y > np.median(y)).astype(int) if takes_classes_only(estimator) else y
    copy = precise if has_certificate(estimator) else clone
    learner, moved = copy(estimator).fit(near, y), copy(estimator).fit(far, y)
    expected = learner.get_mahalanobis_matrix()
    difference = np.linalg.norm(moved.get_mahalanobis_matrix() - expected)
    assert difference <= 1e-3 * np.linalg.norm(expected)
    assert moved.score(far, y) == pytest.approx(learner.score(near, y), abs=1e-3)
    assert_same_pairs(moved, learner)


@each(
    CONFIGURATIONS,
    lambda one: has_certificate(one) and one.get_params().get("prior") in (None, "auto"),
)
def test_matrix_is_the_sum_over_the_pairs(estimator, suited):
    X, y = suited
    learner = precise(estimator).fit(X, y)
    regularizer = estimator._regularizer()
    operator = PairOperator(X, learner.pairs_, is_diagonal=regularizer.is_diagonal)
    prior = getattr(learner, "prior_", None)
    prior = np.zeros(operator.matrix_shape) if prior is None else prior
    regularizer = regularizer.for_problem(operator, prior)
    matrix = regularizer.project(prior + operator.adjoint(learner.dual_coef_)).matrix
    found = learner.matrix_.diagonal() if regularizer.is_diagonal else learner.matrix_
    assert np.linalg.norm(found - matrix) <= 2 * learner.metric_error_bound_ + 1e-9
    assert learner.converged_
    assert 0 <= learner.dual_gap_ <= learner.tol


@pytest.mark.filterwarnings("ignore:.* learned the zero metric", "ignore:The least populated class")
@each(CONFIGURATIONS, lambda one: suits(one, "classes"))
def test_classes_of_one_sample_each_are_told(estimator, classes):
    X, _ = classes
    # The first sample twice is still one.
    X, y = X[[0, *range(30)]], np.array([0, *range(30)])
    if "relation" in estimator.get_params():
        estimator = clone(estimator).set_params(relation="class")
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            clone(estimator).fit(X, y)
        except ValueError as error:
            told.append(str(error))
    told += [str(warning.message) for warning in caught]
    assert any("same class" in message or "relations are equal" in message for message in told)


@each(CONFIGURATIONS, lambda one: suits(one, "classes"))
def test_score_tells_a_metric_from_noise(estimator, classes):
    X, y = classes
    score = clone(estimator).fit(X, y).score(X, y)
    shuffled = clone(estimator).fit(X, y).score(X, np.random.default_rng(0).permutation(y))
    assert score > 0.7
    assert abs(shuffled - 0.5) < 0.05


# Folds may choose another C for two dimensions.
@every_certified_without_folds
def test_n_components_keeps_the_largest(estimator, suited):
    X, y = suited
    full = clone(estimator).fit(X, y)
    two = clone(estimator).set_params(n_components=2).fit(X, y)
    np.testing.assert_array_equal(dense(two.components_), dense(full.components_)[:2])
    share = clone(estimator).set_params(n_components=1e-9).fit(X, y)
    np.testing.assert_array_equal(dense(share.components_), dense(full.components_)[:1])


# What the input is stored as


@each_with_data(CONFIGURATIONS)
def test_float32_stays_float32(estimator, data):
    X, y = data
    if has(estimator, "tol"):
        estimator = clone(estimator).set_params(tol=1e-5)
    single = clone(estimator).fit(X.astype(np.float32), y)
    double = clone(estimator).fit(X, y)
    assert single.components_.dtype == np.float32
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert single.transform(X).dtype == double.transform(X).dtype == np.float64
    difference = np.linalg.norm(matrix_of(single) - matrix_of(double))
    assert difference <= 0.05 * np.linalg.norm(matrix_of(double))
    pairs = np.stack([X[:-1], X[1:]], axis=1)
    np.testing.assert_allclose(single.pair_distance(pairs), double.pair_distance(pairs), rtol=0.05)


@each(CONFIGURATIONS, is_slow=fits_many_times)
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


def _indices_of_64_bits(X):
    X = sparse.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def _entries_in_two_parts(X):
    """CSR as SciPy allows it: each entry is the sum of two, and the columns are in no order."""
    X = sparse.csr_array(X)
    parts = np.repeat(X.data, 2)
    parts[::2] -= 1e3
    parts[1::2] = 1e3
    parts = sparse.csr_array((parts, np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    for start, stop in zip(parts.indptr[:-1], parts.indptr[1:], strict=True):
        parts.indices[start:stop] = parts.indices[start:stop][::-1]
        parts.data[start:stop] = parts.data[start:stop][::-1]
    return parts


SPARSE_FORMS = {
    "csc_array": sparse.csc_array,
    "csr_matrix of int64": _indices_of_64_bits,
    "coo_matrix": sparse.coo_matrix,
    "entries in two parts": _entries_in_two_parts,
}


@each(EVERY, lambda one: one.__sklearn_tags__().input_tags.sparse, fits_many_times)
def test_form_of_sparse_samples_does_not_matter(estimator):
    X, y = data_of(estimator)
    X = np.where(np.abs(X) < 0.5, 0, X)
    expected = clone(estimator).fit(sparse.csr_array(X), y)
    score = expected.score(sparse.csr_array(X), y)
    for name, form in SPARSE_FORMS.items():
        samples = form(X)
        learner = clone(estimator).fit(samples, y)
        images = output(learner, samples)
        np.testing.assert_allclose(images, output(expected, X), atol=1e-6, err_msg=name)
        assert expected.score(samples, y) == pytest.approx(score), name


# No frame has three dimensions.
@each(EVERY, lambda one: not isinstance(one, PairClassifier))
def test_frames_are_arrays(estimator):
    X, y = data_of(estimator)
    expected = clone(estimator).fit(X, y)
    for library in map(pytest.importorskip, ("pandas", "polars")):
        frame = library.DataFrame(dict(zip("abcd", X.T, strict=True)))
        learner = clone(estimator).fit(frame, library.Series(y))
        np.testing.assert_allclose(output(learner, frame), output(expected, X), atol=1e-12)
        assert learner.feature_names_in_.tolist() == list("abcd")
        assert learner.score(frame, library.Series(y)) == pytest.approx(expected.score(X, y))


@every_estimator
def test_memory_mapped_input(estimator, tmp_path):
    X, y = data_of(estimator)
    weights = {"sample_weight": np.linspace(1, 2, len(y))}
    weights = weights if has_fit_parameter(estimator, "sample_weight") else {}
    mapped = {}
    for name, array in {"X": X, "y": y, **weights}.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    X_mapped, y_mapped = mapped.pop("X"), mapped.pop("y")
    learner = clone(estimator).fit(X_mapped, y_mapped, **mapped)
    expected = clone(estimator).fit(X, y, **weights)
    np.testing.assert_array_equal(output(learner, X_mapped), output(expected, X))
    assert learner.score(X_mapped, y_mapped, **mapped) == expected.score(X, y, **weights)


@pytest.mark.slow
@each(EVERY)
def test_jobs_do_not_change_a_bit(estimator):
    X, y = data_of(estimator)
    forms = [X]
    if estimator.__sklearn_tags__().input_tags.sparse:
        forms.append(sparse.csr_array(X))
    expected = [output(clone(estimator).fit(form, y), X) for form in forms]
    fits = [delayed(clone(estimator).fit)(form, y) for form in forms]
    for backend in ("threading", "loky"):
        # Processes get all arrays mapped to memory, read-only.
        with warnings.catch_warnings(), parallel_config(backend, max_nbytes=1):
            # They do not know the filters of the tests.
            warnings.simplefilter("ignore")
            learners = Parallel(n_jobs=2)(fits)
            if has(estimator, "n_jobs"):
                learners += [clone(estimator).set_params(n_jobs=2).fit(form, y) for form in forms]
        for learner, images in zip(learners, 2 * expected, strict=False):
            np.testing.assert_array_equal(output(learner, X), images)


def test_fits_that_overlap_leave_the_threads_of_blas_as_they_were():
    X, y = data_of(RAMLSVR())
    first_began, second_began, first_ended = Event(), Event(), Event()

    def first(problem, **options):
        first_began.set()
        assert second_began.wait(60)
        return SOLVERS["newton"](problem, **options)

    def second(problem, **options):
        second_began.set()
        assert first_ended.wait(60)
        return SOLVERS["newton"](problem, **options)

    before = threadpool_info()
    with ThreadPoolExecutor() as threads:
        earlier = threads.submit(RAMLSVR(solver=first).fit, X, y)
        assert first_began.wait(60)
        later = threads.submit(RAMLSVR(solver=second).fit, X, y)
        earlier.result()
        first_ended.set()
        later.result()
    assert threadpool_info() == before


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


@each_with_data(CONFIGURATIONS)
def test_order_of_the_samples_does_not_matter(estimator, data):
    X, y = data
    order = np.random.default_rng(1).permutation(len(y))
    expected = precise(with_folds_of(estimator, np.arange(len(y)))).fit(X, y)
    learner = precise(with_folds_of(estimator, order)).fit(X[order], y[order])
    assert_same_metric(learner, expected)
    if has_certificate(learner):
        found = {frozenset(pair) for pair in order[learner.pairs_].tolist()}
        assert found == {frozenset(pair) for pair in expected.pairs_.tolist()}


@every_certified_without_folds
def test_order_of_the_pairs_does_not_matter(estimator):
    X, y = data_of(estimator)
    pairs = clone(estimator).fit(X, y).pairs_
    rng = np.random.default_rng(0)
    other = rng.permuted(rng.permutation(pairs), axis=1)
    expected = precise(estimator).set_params(pairs=pairs).fit(X, y)
    learner = precise(estimator).set_params(pairs=other).fit(X, y)
    assert_same_metric(learner, expected)
    # Of relations that are given, the stored ones are the pairs.
    relations = sparse.coo_array((expected.relations_, tuple(pairs.T)), shape=(len(y), len(y)))
    order = rng.permutation(len(pairs))
    stored = (expected.relations_[order], tuple(pairs[order, ::-1].T))
    rated = precise(estimator).set_params(relation="precomputed")
    expected = clone(rated).fit(X, relations)
    learner = clone(rated).fit(X, sparse.coo_array(stored, shape=relations.shape))
    assert_same_metric(learner, expected)


@each_with_data(CONFIGURATIONS)
def test_weight_is_repetition(estimator, data):
    X, y = data
    weight = np.random.default_rng(2).integers(0, 4, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    repeated = precise(with_folds_of(estimator, rows)).fit(X[rows], y[rows])
    weighted = precise(with_folds_of(estimator, np.arange(len(y))))
    weighted.fit(X, y, sample_weight=weight)
    assert_same_metric(weighted, repeated)


@each_with_data(CONFIGURATIONS)
def test_weight_zero_is_absence(estimator, data):
    X, y = data
    weight = np.where(np.arange(len(y)) % 4 == 1, 0.0, 1.0)
    rows = np.flatnonzero(weight)
    absent = precise(estimator).fit(X[rows], y[rows])
    # Far away, and of targets that no other sample has.
    X, y = X.copy(), y.copy()
    X[weight == 0] *= 30
    y[weight == 0] = y.max() + 1 + np.arange(np.sum(weight == 0))
    weighted = precise(estimator).fit(X, y, sample_weight=weight)
    assert_same_metric(weighted, absent)
    if has_certificate(weighted):
        assert set(weighted.pairs_.ravel()) <= set(np.flatnonzero(weight))


@each_with_data(CONFIGURATIONS)
@pytest.mark.parametrize("factor", [1000.0, 1e-4])
def test_unit_of_a_feature_does_not_matter(estimator, factor, data):
    X, y = data
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(factor * X, y)
    assert_same_metric(learner, expected, factor**2)
    np.testing.assert_allclose(
        pairwise_distances(learner.transform(factor * X)),
        pairwise_distances(expected.transform(X)),
        atol=1e-3,
    )
    assert not has(estimator, "tol") or learner.converged_


@each_with_data(CONFIGURATIONS)
def test_origin_of_the_features_does_not_matter(estimator, data):
    X, y = data
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(X + 100, y)
    assert_same_metric(learner, expected)
    assert_same_pairs(learner, expected)


@each(CONFIGURATIONS, lambda one: suits(one, "numbers"))
@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (1e-3, 7.0), (-2.0, -300.0)])
def test_unit_of_a_number_does_not_matter(estimator, factor, offset, numbers):
    X, y = numbers
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(X, factor * y + offset)
    assert_same_metric(learner, expected)


@each_with_data(CONFIGURATIONS)
@pytest.mark.parametrize("repeat", [np.repeat, lambda a, n, axis: np.concatenate([a] * n)])
def test_number_of_equal_samples_does_not_matter(estimator, repeat, data):
    X, y = data
    rows = np.arange(len(y))
    expected = precise(with_folds_of(estimator, rows)).fit(X, y)
    rows = repeat(rows, 3, axis=0)
    learner = precise(with_folds_of(estimator, rows)).fit(X[rows], y[rows])
    assert_same_metric(learner, expected)


@every_default
def test_names_of_the_classes_do_not_matter(estimator, classes):
    X, y = classes
    expected = matrix_of(clone(estimator).fit(X, y))
    for names in (np.array(["wet", "dry", "sour"]), np.array([7, -3, 1000]), list("bca")):
        named = np.asarray(names, dtype=object if isinstance(names, list) else None)[y]
        learner = clone(estimator).fit(X, named)
        np.testing.assert_array_equal(matrix_of(learner), expected)


# Whatever the numbers are


seeds = st.integers(0, 2**32 - 1)


def drawn(estimator, seed):
    """Few samples, and numbers as targets, but classes where the relations are signs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rng.integers(10, 17), rng.integers(2, 5)))
    y = X[:, 0] + X[:, 1] ** 2
    return X, (y > np.median(y)).astype(int) if takes_classes_only(estimator) else y


@every_default
@pytest.mark.filterwarnings("ignore:.* learned (the zero metric|only the distance)")
@settings(max_examples=2)
@given(seed=seeds, step=st.sampled_from([1e-9, 0.5, 1.0]))
def test_learned_distance_is_one(estimator, seed, step):
    X, y = drawn(estimator, seed)
    X = step * np.round(X / step)  # samples and distances that are equal
    learner = clone(estimator).fit(X, y)
    matrix = learner.get_mahalanobis_matrix()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() >= -1e-12 * np.abs(matrix).max()
    distance = learner.get_metric()
    distances = np.array([[distance(left, right) for right in X[:8]] for left in X[:8]])
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(distances.diagonal(), 0)
    assert distances.min() >= 0
    through = (distances[:, :, None] + distances).min(axis=1)
    assert (distances <= through + 1e-12 * distances.max()).all()


@each(DEFAULTS, is_slow=fits_many_times)
@pytest.mark.filterwarnings("ignore:.* learned (the zero metric|only the distance)")
@settings(max_examples=2)
@given(seed=seeds, offset=st.floats(-100, 100), exponent=st.floats(-4, 4))
def test_rotation_translation_and_scale_do_not_matter(estimator, seed, offset, exponent):
    X, y = drawn(estimator, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(X.shape[1],) * 2))[0]
    factor = 10.0**exponent
    expected = precise(estimator).fit(X, y)
    learner = precise(estimator).fit(factor * (X @ rotation + offset), y)
    assert_same_metric(learner, expected, factor**2, rotation)


@every_certified_default
@pytest.mark.filterwarnings(
    "ignore:.* learned (the zero metric|only the distance)",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)
@settings(max_examples=2)
@given(seed=seeds, max_iter=st.integers(1, 6))
def test_gap_is_a_true_bound(estimator, seed, max_iter):
    X, y = drawn(estimator, seed)
    best = precise(estimator).fit(X, y)
    learner = clone(estimator).set_params(tol=1e-10, max_iter=max_iter)
    if has_folds(estimator):
        learner.set_params(Cs=[best.C_])
        best.set_params(Cs=[best.C_]).fit(X, y)
    learner.fit(X, y)
    assert learner.dual_gap_ >= 0
    rounding = 1e-9 * best.objective_
    assert learner.objective_ * (1 - learner.dual_gap_) <= best.objective_ + rounding
    assert best.objective_ * (1 - best.dual_gap_) <= learner.objective_ + rounding
    difference = np.linalg.norm(matrix_of(learner) - matrix_of(best))
    assert difference <= learner.metric_error_bound_ + best.metric_error_bound_ + 1e-12


@every_certified_without_folds
@pytest.mark.filterwarnings("ignore:.* learned (the zero metric|only the distance)")
@settings(max_examples=2)
@given(seed=seeds, exponents=st.lists(st.floats(-4, 0), min_size=3, max_size=3))
def test_path_of_regularisation_is_monotone(estimator, seed, exponents):
    X, y = drawn(estimator, seed)
    Cs = 10 ** np.sort(exponents)
    path = clone(estimator).set_params(tol=1e-8).fit_path(X, y, Cs)
    for weaker, stronger in pairwise(path):
        # The more the pairs count, the larger is the metric, and the smaller the mean loss.
        size, next_size = (np.linalg.norm(matrix_of(learner)) for learner in (weaker, stronger))
        bound = weaker.metric_error_bound_ + stronger.metric_error_bound_
        assert size <= next_size + bound + 1e-12
        loss = (weaker.objective_ - size**2 / 2) / weaker.C_
        next_loss = (stronger.objective_ - next_size**2 / 2) / stronger.C_
        assert next_loss <= loss + bound * (size + next_size + bound) / weaker.C_ + 1e-9
        assert weaker.objective_ * (1 - weaker.dual_gap_) <= stronger.objective_


TARGETS = {
    "classes": lambda rng: rng.integers(0, 3, 9),
    "numbers": lambda rng: rng.integers(-4, 5, 9) / 7,
    "several numbers": lambda rng: rng.integers(-4, 5, (9, 3)) / 7,
    "label sets": lambda rng: rng.integers(0, 2, (9, 3)),
    "distributions": lambda rng: rng.dirichlet(np.ones(3), 4)[rng.integers(0, 4, 9)],
}


@pytest.mark.parametrize("kind", TARGETS)
@settings(max_examples=20)
@given(seed=seeds)
def test_relations_are_symmetric_and_smallest_at_equality(kind, seed):
    y = TARGETS[kind](np.random.default_rng(seed))
    assume(len(np.unique(y, axis=0)) > 1)
    relation = resolve_relation("auto", y)
    pairs = np.indices((9, 9)).reshape(2, -1).T
    values = relation(relation.encode(y), pairs).reshape(9, 9)
    np.testing.assert_array_equal(values, values.T)
    at_equality = -1 if kind == "classes" else 0
    rows = y.reshape(9, -1)
    is_equal = (rows[:, None] == rows).all(axis=2)
    np.testing.assert_array_equal(values == at_equality, is_equal)
    assert values.min() == at_equality


# Stopping, going on, being watched


@each(CONFIGURATIONS, lambda one: has(one, "max_iter", "tol"))
def test_warning_unless_converged(estimator, suited):
    X, y = suited
    learner = clone(estimator).set_params(max_iter=1, tol=1e-9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner.fit(X, y)
    messages = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    if has_certificate(learner):
        assert learner.converged_ == (learner.dual_gap_ <= learner.tol)
    messages = [m for m in messages if m.startswith(f"{type(estimator).__name__} ")]
    # After one iteration the metric may still be zero, of which there is another warning.
    messages = [m for m in messages if "learned the zero metric" not in m]
    assert len(messages) == (0 if learner.converged_ else 1)
    assert all("max_iter" in message and "tol" in message for message in messages)
    if not isinstance(estimator, RAMLKRR):  # which has a direct solver
        assert messages
        assert learner.n_iter_ == 1


@each(DEFAULTS, lambda one: has(one, "warm_start"))
def test_warm_start_goes_on(estimator, suited):
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
@pytest.mark.filterwarnings(
    "ignore:.* learned (the zero metric|only the distance)", "ignore:.* cannot tell the"
)
def test_callback_stops(estimator, suited):
    pytest.importorskip("sklearn.callback")
    X, y = suited
    watcher = Watcher(stop_after=1)
    learner = clone(estimator).set_callbacks(watcher).fit(X, y)
    assert learner.n_iter_ <= 1 or getattr(estimator, "nu", None) is not None
    assert watcher.torn_down == len(watcher.scores) == 1
    assert learner.score(X, y) == watcher.scores[-1]


@pytest.mark.filterwarnings(
    "ignore:.* learned (the zero metric|only the distance)", "ignore:.* cannot tell the"
)
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
    of_learner = [line for line in lines if type(estimator).__name__ + "]" in line]
    assert len(of_learner) == len(learner.gap_history_)
    assert all("duality gap" in line for line in lines if "Pairs] neighbours" not in line)
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


@pytest.mark.parametrize(
    ("estimator", "parameter", "value"),
    [
        (estimator, *bad)
        for estimator in DEFAULTS
        for bad in BAD_PARAMETERS
        if has(estimator, bad[0])
    ],
    ids=_name,
)
def test_bad_parameter_is_named(estimator, parameter, value, numbers):
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
    "y is short and constant": (lambda X, y: (X, y[:1].repeat(3)), r"\bX\b.*\by\b.*3"),
    "y is a scalar": (lambda X, y: (X, 3.0), r"\by\b"),
    "y has three dimensions": (lambda X, y: (X, y[:, None, None]), r"\by\b"),
    "y has NaN": (lambda X, y: (X, _with(y, np.nan)), r"\by\b.*NaN"),
    "y is infinite": (lambda X, y: (X, _with(y, np.inf)), r"\by\b.*infinity"),
    "y is constant": (lambda X, y: (X, np.full(len(y), 1.5)), r"\by\b.*constant"),
    "y has one class": (lambda X, y: (X, np.full(len(y), "a")), r"\by\b.*one class"),
    "y is complex": (lambda X, y: (X, y + 1j), r"\by\b|[Cc]omplex"),
    "X is masked": (
        lambda X, y: (np.ma.masked_greater(X, X[0, 0] - 1e-9), y),
        "^X is a masked array with .* would count as given",
    ),
    "y is masked": (
        lambda X, y: (X, np.ma.masked_greater(y, y[0] - 1e-9)),
        "^y is a masked array with .* would count as given",
    ),
}
BAD_WEIGHTS = {
    "short": lambda y: np.ones(len(y) - 1),
    "a matrix": lambda y: np.ones((len(y), 2)),
    "negative": lambda y: np.where(y == y[3], -1.0, 1.0),
    "NaN": lambda y: np.where(y == y[3], np.nan, 1.0),
    "zero": lambda y: np.zeros(len(y)),
    "masked": lambda y: np.ma.masked_equal(np.arange(len(y)), 3),
    "of an infinite sum": lambda y: np.full(len(y), 1e308),
    "of few digits": lambda y: np.full(len(y), 1e-310),
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
    with pytest.raises(ValueError, match=r"pairs is a masked array with 10 masked"):
        learner.pair_distance(np.ma.masked_equal(np.resize(np.arange(6.0), (5, 2, 6)), 1))
