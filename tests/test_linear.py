import tracemalloc
from functools import cache, partial
from itertools import pairwise

import cvxpy
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, NuSVR

from metricalign import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DoubletSVM,
    RelationAlignment,
)
from metricalign.losses import EpsilonInsensitive, Hinge, OneSided
from metricalign.pairs import NearestClassPairs, NearestPairs, RandomPairs
from metricalign.regularizers import Projection, Regularizer
from metricalign.solvers import cvxpy_reference


def standardised(load, n_samples=None):
    X, y = load(return_X_y=True)
    step = 1 if n_samples is None else max(1, len(X) // n_samples)
    X, y = X[::step], y[::step]
    return StandardScaler().fit_transform(X) / np.sqrt(X.shape[1]), y


def pair_kernel(X, pairs):
    Z = X[pairs[:, 0]] - X[pairs[:, 1]]
    return Z, (Z @ Z.T) ** 2


DATA = [load_wine, load_breast_cancer, load_diabetes]
REAL = pytest.mark.parametrize("load", DATA, ids=lambda load: load.__name__)


@REAL
def test_epsilon_svr_on_real_data_is_that_of_libsvm(load):
    X, y = standardised(load, 150)
    learner = RAMLSVR(C=0.5, epsilon=0.1, tol=1e-9).fit(X, y)
    # Mutual neighbours are one pair of weight two.
    strategy = NearestPairs() if load is load_diabetes else NearestClassPairs()
    pairs, weights = strategy.select(X, y)
    relations = learner.relation_(learner.relation_.encode(y), pairs)
    Z, K = pair_kernel(X, pairs)
    model = SVR(kernel="precomputed", C=0.5, epsilon=0.1, tol=1e-8)
    model.fit(K, relations, sample_weight=weights)
    support = Z[model.support_]
    M = (support * model.dual_coef_[0][:, None]).T @ support
    errors = np.abs(np.einsum("pi,ij,pj->p", Z, M, Z) + model.intercept_ - relations)
    objective = 0.5 * np.sum(M**2) + 0.5 * weights @ np.maximum(errors - 0.1, 0)
    assert learner.objective_ == pytest.approx(objective, rel=1e-6)
    assert np.linalg.norm(learner.matrix_ - M) <= 1e-3 * np.linalg.norm(M)


def test_nu_svr_on_real_data_is_that_of_libsvm():
    X, y = standardised(load_diabetes, 150)
    pairs = NearestPairs().select(X, y).indices
    learner = RAMLSVR(C=10.0, nu=0.4, pairs=pairs, tol=1e-7).fit(X, y)
    Z, K = pair_kernel(X, pairs)
    model = NuSVR(kernel="precomputed", C=10.0, nu=0.4, tol=1e-8).fit(K, learner.relations_)
    support = Z[model.support_]
    M = (support * model.dual_coef_[0][:, None]).T @ support
    assert np.linalg.norm(learner.matrix_ - M) <= 2e-3 * np.linalg.norm(M)
    errors = np.abs(np.einsum("pi,ij,pj->p", Z, M, Z) + model.intercept_ - learner.relations_)
    assert (
        np.mean(errors > learner.epsilon_ + 1e-4)
        <= 0.4
        <= np.mean(errors >= learner.epsilon_ - 1e-4)
    )


@REAL
@pytest.mark.parametrize("penalty", ["metric", "coefficients"])
def test_ridge_on_real_data_is_the_closed_form(load, penalty):
    X, y = standardised(load, 150)
    pairs = NearestPairs().select(X, y).indices
    learner = RAMLKRR(C=2.0, penalty=penalty, pairs=pairs, tol=1e-8).fit(X, y)
    Z, K = pair_kernel(X, pairs)
    identity, t = np.eye(len(K)), learner.relations_
    if penalty == "metric":
        a = np.linalg.solve(K + identity / 2, t)
    else:
        a = np.linalg.solve(K @ K + identity / 2, K @ t)
    M = (Z * a[:, None]).T @ Z
    assert np.linalg.norm(learner.matrix_ - M) <= 1e-6 * np.linalg.norm(M)


def test_default_weight_is_the_documented_formula():
    X, y = standardised(load_wine)
    pairs, weights = NearestClassPairs().select(X, y)
    learner = RAMLSVR(prior=None, tol=1e-2).fit(X, y)
    relations = np.where(y[pairs[:, 0]] == y[pairs[:, 1]], -1.0, 1.0)
    lengths = np.sum((X[pairs[:, 0]] - X[pairs[:, 1]]) ** 2, axis=1)
    m = np.average(lengths, weights=weights)
    s = np.sqrt(np.cov(relations, aweights=weights, ddof=0))
    assert pytest.approx(300 * s / (weights.sum() * m**2)) == learner.C_
    assert learner.epsilon_ == pytest.approx(0.1 * s)


def test_value_and_conjugate_that_do_not_belong_together_are_found_out():
    class HalfValue(EpsilonInsensitive):
        def value(self, prediction, target):
            return 0.5 * super().value(prediction, target)

    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match=r"dual value .* is above the primal value"):
        RelationAlignment(loss=HalfValue(0.1)).fit(X, y)


def test_cone_without_derivative_says_which_solver_can_use_it():
    class Diagonal(Regularizer):
        is_constraint = True

        def project(self, matrix, step=1.0):
            return Projection(np.diag(np.diag(matrix)))

    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match=r"the method derivative .*solver='projected_gradient'"):
        RelationAlignment(cone=Diagonal()).fit(X, y)
    learner = RelationAlignment(cone=Diagonal(), solver="projected_gradient", C=0.01).fit(X, y)
    assert learner.converged_
    assert np.array_equal(learner.matrix_, np.diag(np.diag(learner.matrix_)))


def test_subclass_of_a_loss_keeps_its_parameters():
    class Named(EpsilonInsensitive):
        def __init__(self, epsilon="scale", name=None):
            super().__init__(epsilon)
            self.name = name

    X, y = standardised(load_iris)
    assert RelationAlignment(loss=Named(name="mine")).fit(X, y).loss_.name == "mine"


@pytest.mark.parametrize("learner", [RAMLKRR(), RAMLSVR(tol=1e-8)], ids=repr)
@pytest.mark.parametrize("pairs", ["all", "nearest", "auto"])
def test_weight_zero_is_absence_for_precomputed_relations(learner, pairs):
    X, y = standardised(load_diabetes, 40)
    relations = np.abs(y[:, None] - y) / np.ptp(y)
    weight = np.ones(len(y))
    weight[::5] = 0
    rows = np.flatnonzero(weight)
    learner.set_params(relation="precomputed", pairs=pairs, C=1e-2)
    M = learner.fit(X, relations, sample_weight=weight).matrix_.copy()
    assert 0 not in learner.pairs_
    expected = learner.fit(X[rows], relations[np.ix_(rows, rows)]).matrix_
    assert np.linalg.norm(M - expected) <= 1e-3 * np.linalg.norm(expected)


def test_stored_entries_of_a_sparse_relation_are_the_pairs():
    X, _ = standardised(load_iris)
    stored = np.array([[0, 60], [1, 2], [3, 120], [60, 120], [4, 80]])
    values = np.array([1.0, 0.0, 2.0, 1.0, 1.0])
    relations = sparse.coo_array((values, tuple(stored.T)), shape=(len(X), len(X)))
    learner = RAMLSVR(relation="precomputed", C=1.0).fit(X, relations)
    found = dict(zip(map(tuple, learner.pairs_), learner.relations_, strict=True))
    assert found == dict(zip(map(tuple, stored), values, strict=True))


def test_repeated_rows_do_not_change_which_targets_are_accepted():
    X, y = standardised(load_iris)
    labels = pd.DataFrame({"a": (y > 0).astype(int), "b": y > 1, "c": pd.array(y == 0, "boolean")})
    repeated = np.r_[np.arange(len(X)), [0, 1, 2]]
    learner = RAMLSVR().fit(X[repeated], labels.iloc[repeated])
    assert learner.relation_.name == "manhattan"
    sets = sparse.coo_matrix(labels.astype(int).to_numpy())
    again = RAMLSVR().fit(X[repeated], sparse.vstack([sets, sets.tocsr()[:3]]).tocoo())
    assert np.allclose(again.matrix_, learner.matrix_)


def test_prior_far_from_symmetric_in_small_units_is_refused():
    X, y = standardised(load_iris)
    prior = np.zeros((4, 4))
    prior[0, 1] = 1e-9
    with pytest.raises(ValueError, match="prior must be symmetric"):
        RelationAlignment(prior=prior).fit(X, y)


def test_masked_prior_is_refused():
    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match="prior is a masked array with 4 masked entries"):
        RelationAlignment(prior=np.ma.masked_equal(np.eye(4), 1)).fit(X, y)


def test_no_metric_as_optimum_is_said():
    X, y = standardised(load_breast_cancer)
    relations = np.where(y[:, None] == y, -1.0, 1.0)
    pairs = np.array([[i, j] for i in range(12) for j in range(i)])
    with pytest.warns(UserWarning, match="zero metric|cannot tell"):
        RAMLSVR(relation="precomputed", pairs=pairs, C=1e-3, epsilon=1.0).fit(X, relations)


# The named methods


def distance_matrix(learner, expected):
    """Distance of two metrics, and how far the certificates let them be apart."""
    difference = np.linalg.norm(dense(learner.matrix_ - expected.matrix_))
    return difference, learner.metric_error_bound_ + expected.metric_error_bound_


def assert_same_optimum(learner, expected):
    difference, bound = distance_matrix(learner, expected)
    assert difference <= bound + 1e-9 * np.linalg.norm(dense(expected.matrix_))


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else matrix


@pytest.mark.parametrize(
    "learner",
    [
        *(RelationAlignment(cone=cone) for cone in ("symmetric", "pair_matrices", "diagonal")),
        RelationAlignment("squared", fit_intercept=False),
        PSDSVR(prior=None),
        PSDSVR(prior="identity"),
        RAMLPCSVR(),
        RAMLKRR(),
        PCML(),
    ],
    ids=str,
)
@REAL
def test_the_objective_follows_from_public_attributes(load, learner):
    X, y = standardised(load, 100)
    y = (y > np.mean(y)).astype(int) if isinstance(learner, PCML) else y
    sample_weight = np.random.default_rng(0).integers(0, 3, len(X))
    learner = clone(learner).set_params(tol=1e-2).fit(X, y, sample_weight)
    left, right = learner.pairs_.T
    differences, matrix = X[left] - X[right], dense(learner.matrix_)
    distances = np.einsum("pi,ij,pj->p", differences, matrix, differences)
    weights, relations = learner.pair_weights_, learner.relations_
    prior = 0.0
    if getattr(learner, "prior", None) == "identity":
        # A pair of mean length has the distance of a standard deviation of the relations.
        mean_length = np.average(np.sum(differences**2, axis=1), weights=weights)
        mean = np.average(relations, weights=weights)
        deviation = np.sqrt(np.average((relations - mean) ** 2, weights=weights))
        prior = deviation / mean_length * np.eye(len(matrix))
    losses = learner.loss_.value(distances + learner.intercept_, relations)
    objective = np.sum((matrix - prior) ** 2) / 2 + learner.C_ * weights @ losses
    assert learner.objective_ == pytest.approx(objective, rel=1e-9)
    # Heavier samples have heavier pairs, and without a weight a sample has none.
    assert sample_weight[learner.pairs_].min() > 0
    assert weights[sample_weight[learner.pairs_].min(axis=1) == 2].min() >= 2 * weights.min()


@REAL
def test_positively_constrained_svr_is_one_sided_and_comes_out_semidefinite(load):
    X, y = standardised(load, 100)
    learner = RAMLPCSVR(C=0.1, tol=1e-8).fit(X, y)
    general = RelationAlignment("one_sided", C=0.1, fit_intercept=False, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(learner.matrix_, general.matrix_)
    assert np.linalg.eigvalsh(learner.matrix_).min() >= -1e-12 * np.abs(learner.matrix_).max()
    Z, K = pair_kernel(X, learner.pairs_)
    assert learner.dual_coef_.min() >= 0
    assert not np.any(learner.dual_coef_[learner.relations_ <= learner.epsilon_])
    # The dual of the paper, by projected coordinate ascent.
    t, (_, weights) = learner.relations_ - learner.epsilon_, pairs_of(X, y, learner)
    alpha = np.zeros(len(t))
    for _ in range(100):
        for p in np.flatnonzero(t > 0):
            alpha[p] = np.clip(alpha[p] + (t[p] - K[p] @ alpha) / K[p, p], 0, 0.1 * weights[p])
    M = (alpha * Z.T) @ Z
    assert np.linalg.norm(learner.matrix_ - M) <= 1e-3 * np.linalg.norm(M)


def pairs_of(X, y, learner):
    """Pairs and weights that were chosen, in the order of the fit."""
    strategy = NearestPairs() if learner.relation_.kind == "continuous" else NearestClassPairs()
    pairs, weights = strategy.select(X, y)
    weight = {frozenset(pair): w for pair, w in zip(pairs.tolist(), weights, strict=True)}
    return learner.pairs_, np.array([weight[frozenset(p)] for p in learner.pairs_.tolist()])


def test_positively_constrained_svr_says_what_it_cannot_do():
    X, y = standardised(load_wine)
    with pytest.raises(ValueError, match=r"fit_intercept=True .* Use fit_intercept=False"):
        RAMLPCSVR(fit_intercept=True).fit(X, y)
    with pytest.raises(ValueError, match=r"fit_intercept=True .* Use fit_intercept=False"):
        RelationAlignment("one_sided").fit(X, y)
    for epsilon in (1.0, 3.0):
        with pytest.raises(ValueError, match=r"epsilon=\d .*largest relation, 1.*Decrease epsilon"):
            RAMLPCSVR(epsilon=epsilon).fit(X, y)


def relation_of_signs(a, b):
    return -1.0 if a == b else 1.0


OTHER_PARAMETERS = {
    "C": 0.02,
    "relation": relation_of_signs,
    "pairs": "random",
    "n_components": 2,
    "solver": "quasi_newton",
    "tol": 1e-4,
    "max_iter": 4,
    "warm_start": True,
    "random_state": 3,
    "verbose": 1,
}


# Much of test_common.py rests on this, as SPECIAL_CASES in public_estimators.py has it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, OTHER_PARAMETERS], ids=["as it is", "all parameters"])
@pytest.mark.parametrize(
    ("method", "loss", "cone"),
    [
        (RAMLSVR, EpsilonInsensitive, "symmetric"),
        (RAMLPCSVR, OneSided, "symmetric"),
        (RAMLNCSVR, EpsilonInsensitive, "pair_matrices"),
        (PSDSVR, EpsilonInsensitive, "positive_semidefinite"),
        (DoubletSVM, Hinge, "symmetric"),
        (PCML, Hinge, "positive_semidefinite"),
        (NCML, Hinge, "pair_matrices"),
    ],
)
def test_method_is_relation_alignment_with_its_loss_and_cone(method, loss, cone, options, capsys):
    X, y = standardised(load_wine, 60)
    learner, loss = method(**options), loss()
    has_prior = method in (RAMLSVR, PSDSVR)
    if has_prior:
        learner.prior = None
    general = RelationAlignment(cone=cone, fit_intercept=learner.fit_intercept, **options)
    if options:
        if loss.get_params():
            learner.epsilon = loss.epsilon = 0.03
        if method is not RAMLPCSVR:
            learner.fit_intercept = general.fit_intercept = False
        if has_prior:
            learner.prior = general.prior = "identity"
    general.set_params(loss=loss)
    assert set(options) <= set(learner.get_params())
    printed = []
    for one in (learner, general):
        one.fit(X, y).fit(X, y)  # the second from the first, if so asked
        printed.append(capsys.readouterr().out.replace(f"[{type(one).__name__}]", ""))
    assert bool(printed[0]) == bool(options)
    assert printed[0] == printed[1]
    expected = vars(general)
    objects = {"loss_", "relation_", "pair_strategy_"}
    compared = {name for name in expected if name.endswith("_")} - objects
    assert compared >= {"pairs_", "relations_", "dual_coef_", "components_", "intercept_", "C_"}
    for name in compared:
        np.testing.assert_array_equal(getattr(learner, name), expected[name], err_msg=name)
    np.testing.assert_array_equal(learner.matrix_, general.matrix_)
    assert learner.loss_.get_params() == general.loss_.get_params()
    assert type(learner.loss_) is type(general.loss_)
    assert repr(learner.pair_strategy_) == repr(general.pair_strategy_)


@pytest.mark.parametrize("learner", [RAMLNCSVR(C=0.1), NCML(C=0.1)], ids=repr)
def test_nonnegative_coefficients_make_the_matrix(learner):
    X, y = standardised(load_wine, 60)
    learner.set_params(tol=1e-8).fit(X, y)
    Z, _ = pair_kernel(X, learner.pairs_)
    assert learner.coef_.shape == (len(learner.pairs_),)
    assert learner.coef_.min() >= 0
    M = (learner.coef_ * Z.T) @ Z
    assert np.linalg.norm(learner.matrix_ - M) <= 1e-12 * np.linalg.norm(M)
    assert learner.converged_


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive", "squared"])
def test_semidefinite_svr_has_three_losses(loss):
    X, y = standardised(load_diabetes, 80)
    learner = PSDSVR(C=0.3, loss=loss, tol=1e-8).fit(X, y)
    regularizer = "positive_semidefinite"
    expected = RelationAlignment(loss, cone=regularizer, C=0.3, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(learner.matrix_, expected.matrix_)
    assert hasattr(learner, "epsilon_") == (loss != "squared")
    assert np.linalg.eigvalsh(learner.matrix_).min() >= -1e-12 * np.abs(learner.matrix_).max()
    if loss != "squared":
        narrow = PSDSVR(C=0.3, loss=loss, epsilon=0.0, tol=1e-8).fit(X, y)
        assert narrow.epsilon_ == 0
        assert narrow.objective_ > learner.objective_
    near = PSDSVR(C=0.3, loss=loss, prior="identity", tol=1e-8).fit(X, y)
    assert near.objective_ != pytest.approx(learner.objective_)


methods_with_a_prior = pytest.mark.parametrize("method", [RAMLSVR, PSDSVR])


@methods_with_a_prior
@pytest.mark.parametrize(
    ("targets", "prior", "share_of_weight"),
    [("classes", 0.3, 1.5 * 13 / 300), ("numbers", 0.03, 1.0)],
)
def test_default_prior_is_a_share_of_the_identity(method, targets, prior, share_of_weight):
    X, y = standardised(load_wine if targets == "classes" else load_diabetes, 80)
    learner = method(tol=1e-8).fit(X, y)
    strategy = NearestClassPairs() if targets == "classes" else NearestPairs()
    chosen = strategy.select(X, y)
    indices, weights = chosen.indices, chosen.weights
    differences = X[indices[:, 0]] - X[indices[:, 1]]
    left, right = y[indices].T
    relations = np.where(left == right, -1, 1) if targets == "classes" else np.abs(left - right)
    relations = relations * (learner.relations_.max() / relations.max())  # over their range
    mean = np.average(np.sum(differences**2, axis=1), weights=weights)
    spread = np.sqrt(np.cov(relations, aweights=weights, ddof=0))
    M0 = prior * spread / mean * np.eye(X.shape[1])
    np.testing.assert_allclose(learner.prior_, M0, rtol=1e-12)
    weight = share_of_weight * method(prior=None).fit(X, y).C_
    np.testing.assert_allclose(learner.C_, weight, rtol=1e-12)
    expected = method(weight, prior=M0, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(learner.matrix_, expected.matrix_, rtol=1e-4, atol=1e-6)


@methods_with_a_prior
def test_default_prior_of_classes_gets_smaller_with_the_number_of_samples(method):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 3))
    y = np.digitize(X[:, 0] + 0.3 * rng.standard_normal(1500), [-0.5, 0.5])
    learner = method(tol=1e-4).fit(X, y)
    differences = X[learner.pairs_[:, 0]] - X[learner.pairs_[:, 1]]
    weights = learner.pair_weights_
    mean = np.average(np.sum(differences**2, axis=1), weights=weights)
    spread = np.sqrt(np.cov(learner.relations_, aweights=weights, ddof=0))
    M0 = 0.2 * spread / mean * np.eye(3)
    np.testing.assert_allclose(learner.prior_, M0, rtol=1e-9)
    # Copies are no further samples.
    twice = method(tol=1e-4).fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    np.testing.assert_allclose(twice.prior_, M0, rtol=1e-9)


@methods_with_a_prior
def test_default_prior_of_few_samples_is_in_their_span(method):
    X, y = np.random.default_rng(0).standard_normal((24, 50)), np.arange(24) % 3
    learner = method(tol=1e-8).fit(X, y)
    span = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:-1]
    assert learner.components_.shape[0] <= 23
    np.testing.assert_allclose(learner.matrix_ @ span.T @ span, learner.matrix_, atol=1e-12)
    # In the coordinates of the span it is the fit with as many features as dimensions.
    chosen = NearestClassPairs().select(X, y)
    left, right = chosen.indices.T
    lengths = np.sum((X[left] - X[right]) ** 2, axis=1)
    relations = np.where(y[left] == y[right], -1, 1)
    spread = np.sqrt(np.cov(relations, aweights=chosen.weights, ddof=0))
    M0 = 0.3 * spread / np.average(lengths, weights=chosen.weights) * np.eye(23)
    np.testing.assert_allclose(learner.prior_, span.T @ M0 @ span, atol=1e-12)
    inside = method(learner.C_, prior=M0, tol=1e-8).fit(X @ span.T, y)
    np.testing.assert_allclose(span @ learner.matrix_ @ span.T, inside.matrix_, atol=1e-6)


def test_default_is_not_the_zero_metric_where_classes_overlap():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = np.digitize(X[:, 0] + 0.5 * rng.standard_normal(200), np.linspace(-2, 2, 12))
    with pytest.warns(UserWarning, match="learned the zero metric"):
        PSDSVR(prior=None, relation="class").fit(X, y)
    learner = PSDSVR(relation="class").fit(X, y)
    assert learner.converged_
    assert np.any(learner.components_)


@methods_with_a_prior
@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({"C": 0.01}, lambda y: y),
        ({"pairs": [[0, 1], [0, 70], [5, 40], [10, 79]]}, lambda y: y),
        ({"relation": "precomputed"}, lambda y: np.subtract.outer(y, y) != 0.0),
        ({"relation": lambda left, right: float(left != right)}, lambda y: y),
        ({}, lambda y: np.c_[y == 0, y == 1].astype(int)),
        ({}, lambda y: np.c_[y + 0.5, -y]),
    ],
    ids=["C", "pairs", "precomputed", "callable", "label sets", "several numbers"],
)
def test_default_is_the_problem_of_the_paper_where_it_is_stated(method, options, targets):
    X, y = standardised(load_wine, 80)
    y = targets(y)
    learner = method(**options).fit(X, y)
    assert learner.prior_ is None
    cone = "symmetric" if method is RAMLSVR else "positive_semidefinite"
    expected = RelationAlignment(cone=cone, **options).fit(X, y)
    np.testing.assert_array_equal(learner.matrix_, expected.matrix_)
    assert (learner.C_, learner.objective_) == (expected.C_, expected.objective_)


def test_nu_states_the_problem_of_the_paper():
    X, y = standardised(load_wine, 80)
    assert RAMLSVR(nu=0.3).fit(X, y).prior_ is None


@methods_with_a_prior
def test_path_of_the_default_has_no_prior(method):
    X, y = standardised(load_wine, 80)
    learner = method(tol=1e-8)
    for step, C in zip(learner.fit_path(X, y, [1e-3, 1e-2]), [1e-3, 1e-2], strict=True):
        alone = method(C, tol=1e-8).fit(X, y)
        assert step.prior_ is None
        bound = step.metric_error_bound_ + alone.metric_error_bound_
        assert np.linalg.norm(step.matrix_ - alone.matrix_) <= bound
    assert vars(learner) == vars(method(tol=1e-8))


@pytest.mark.parametrize("dataset", [load_wine, load_diabetes])
def test_objective_at_the_default_is_that_of_its_prior(dataset):
    X, y = standardised(dataset, 30)
    learner = PSDSVR(pairs="all", tol=1e-8).fit(X, y)
    Z = X[learner.pairs_[:, 0]] - X[learner.pairs_[:, 1]]
    M, b = cvxpy.Variable((X.shape[1],) * 2, PSD=True), cvxpy.Variable()
    distances = cvxpy.sum(cvxpy.multiply(Z @ M, Z), axis=1)
    losses = cvxpy.pos(cvxpy.abs(distances + b - learner.relations_) - learner.epsilon_)
    objective = 0.5 * cvxpy.sum_squares(M - learner.prior_)
    objective += learner.C_ * cvxpy.sum(losses)
    optimum = cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver="CLARABEL")
    assert learner.objective_ == pytest.approx(optimum, rel=1e-6)
    assert np.linalg.norm(learner.matrix_ - M.value) <= 1e-3 * np.linalg.norm(M.value)


@pytest.mark.parametrize(
    ("methods", "load"),
    [
        ((RAMLSVR, PSDSVR, RAMLNCSVR), load_wine),
        ((RAMLSVR, PSDSVR, RAMLNCSVR), load_diabetes),
        ((DoubletSVM, PCML, NCML), load_wine),
        ((DoubletSVM, PCML, NCML), load_breast_cancer),
    ],
)
def test_smaller_cones_have_larger_optima(methods, load):
    X, y = standardised(load, 50)
    learners = [method(C=1.0, tol=1e-6).fit(X, y) for method in methods]
    for larger, smaller in pairwise(learners):
        np.testing.assert_array_equal(larger.pairs_, smaller.pairs_)
        assert larger.objective_ * (1 - larger.dual_gap_) < smaller.objective_
    assert learners[0].objective_ < learners[1].objective_ * (1 - 1e-3)
    assert learners[1].objective_ < learners[2].objective_ * (1 - 1e-6)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_doublet_svm_is_that_of_libsvm(load):
    X, y = standardised(load, 100)
    pairs = NearestClassPairs().select(X, y).indices
    learner = DoubletSVM(C=0.5, pairs=pairs, tol=1e-9).fit(X, y)
    Z, K = pair_kernel(X, pairs)
    assert set(learner.relations_) == {-1.0, 1.0}
    model = SVC(kernel="precomputed", C=0.5, tol=1e-8).fit(K, learner.relations_)
    support = Z[model.support_]
    M = (support * model.dual_coef_[0][:, None]).T @ support
    assert np.linalg.norm(learner.matrix_ - M) <= 1e-3 * np.linalg.norm(M)
    assert learner.intercept_ == pytest.approx(model.intercept_[0], abs=1e-3)


@pytest.mark.parametrize("learner", [DoubletSVM(), PCML(), NCML()], ids=repr)
@pytest.mark.filterwarnings("ignore:.* cannot tell")
def test_hinge_of_graded_relations_says_what_to_use(learner):
    X, y = standardised(load_diabetes, 60)
    with pytest.raises(ValueError, match=r"\+1 .* or -1 .*relation='class'.*epsilon_insensitive"):
        learner.fit(X, y)
    relations = np.where(np.abs(y[:, None] - y) > 50, 1.0, -1.0)
    learner.set_params(relation="precomputed", pairs="random", random_state=0)
    learner.fit(X, relations)
    assert set(learner.relations_) == {-1.0, 1.0}


# The bound on the error of the metric

LEARNERS = [
    RAMLSVR(C=0.5),
    RAMLSVR(C=0.5, nu=0.3),
    RAMLKRR(C=0.5),
    RAMLKRR(C=0.5, penalty="coefficients"),
    RAMLPCSVR(C=0.5),
    RAMLNCSVR(C=0.5),
    PSDSVR(C=0.5),
    PSDSVR(C=0.5, loss="squared"),
    DoubletSVM(C=0.5),
    PCML(C=0.5),
    NCML(C=0.5),
    RelationAlignment(C=0.5, cone="diagonal"),
    RelationAlignment(C=0.5, cone="above_prior", prior="identity"),
]
every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=repr)


def data_of(learner, n_samples=60):
    is_hinge = isinstance(learner, (DoubletSVM, PCML, NCML))
    return standardised(load_wine if is_hinge else load_diabetes, n_samples)


@every_learner
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.* learned the zero", "ignore:.* cannot tell")
def test_optimal_metric_is_within_the_bound(learner):
    X, y = data_of(learner)
    best = clone(learner).set_params(tol=1e-11).fit(X, y)
    for max_iter in (1, 2, 4, 1000):
        loose = clone(learner).set_params(tol=1e-3, max_iter=max_iter).fit(X, y)
        difference, bound = distance_matrix(loose, best)
        assert difference <= bound + 1e-12
        if not isinstance(learner, RAMLKRR):
            gap = loose.dual_gap_ * loose.objective_
            assert loose.metric_error_bound_ == pytest.approx(np.sqrt(2 * gap), abs=1e-6)


def test_bound_of_ridge_on_coefficients_is_not_void():
    X, y = standardised(load_breast_cancer)
    pairs = RandomPairs(3000).select(X, y, random_state=0).indices
    options = {"penalty": "coefficients", "pairs": pairs, "C": 1.0}
    best = RAMLKRR(**options, tol=1e-12, max_iter=10_000).fit(X, y)
    for tol in (1e-1, 1e-3, 1e-6):
        learner = RAMLKRR(**options, tol=tol).fit(X, y)
        assert np.linalg.norm(learner.matrix_ - best.matrix_) <= distance_matrix(learner, best)[1]
    assert learner.metric_error_bound_ < np.linalg.norm(learner.matrix_)


def test_ridge_on_coefficients_that_is_solved_iteratively_reaches_tol():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 70))
    for tol in (1e-2, 1e-6):
        learner = RAMLKRR(penalty="coefficients", tol=tol).fit(X, X[:, 0] > 0)
        assert learner.n_iter_ > 1
        assert learner.converged_


@pytest.mark.parametrize("C", [1e60, 1e100, 1e160])
@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite", "pair_matrices"])
@pytest.mark.parametrize("loss", ["squared", "epsilon_insensitive", "squared_epsilon_insensitive"])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.filterwarnings("ignore:RelationAlignment")
def test_absurd_weights_are_fitted_or_refused(loss, regularizer, C):
    X, y = standardised(load_wine)
    learner = RelationAlignment(loss=loss, cone=regularizer, C=C, max_iter=15)
    refusal = None
    try:
        learner.fit(X[::2], y[::2])
    except ValueError as error:
        refusal = str(error)
    # It says what to do, or it fits; no other error, such as OverflowError.
    assert "smaller C" in refusal if refusal else np.isfinite(learner.matrix_).all()


# Cones


def test_diagonal_metric_makes_no_array_of_squared_features():
    rng = np.random.default_rng(0)
    n_samples, n_features = 60, 20_000
    y = np.arange(n_samples) % 2
    X = sparse.random_array((n_samples, n_features), density=1e-3, random_state=rng)
    X = sparse.hstack([3.0 * y[:, None], X], format="csr")[:, :n_features]
    pairs = RandomPairs(40).select(X, y, random_state=0).indices
    tracemalloc.start()
    learner = RelationAlignment(cone="diagonal", pairs=pairs, tol=1e-2).fit(X, y)
    images = learner.transform(X[:5])
    names = learner.get_feature_names_out()
    score = learner.score(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.05 * 8 * n_features**2
    assert sparse.issparse(learner.matrix_)
    assert sparse.issparse(learner.components_)
    assert learner.matrix_.shape == (n_features, n_features)
    assert images.shape == (5, len(names)) == (5, learner.components_.shape[0])
    assert score > 0.99
    assert learner.matrix_.diagonal().argmax() == 0


def test_diagonal_metric_is_the_closed_form():
    X, y = standardised(load_diabetes, 100)
    pairs = NearestPairs().select(X, y).indices
    learner = RelationAlignment(
        "squared", cone="diagonal", C=0.7, pairs=pairs, fit_intercept=False, tol=1e-10
    ).fit(X, y)
    squares = (X[pairs[:, 0]] - X[pairs[:, 1]]) ** 2
    # Nonnegative least squares with the ridge as further rows.
    rows = np.vstack([np.sqrt(0.7) * squares, np.eye(X.shape[1])])
    right = np.concatenate([np.sqrt(0.7) * learner.relations_, np.zeros(X.shape[1])])
    np.testing.assert_allclose(learner.matrix_.diagonal(), nnls(rows, right)[0], atol=1e-4)
    weights = learner.matrix_.diagonal()
    kept = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)]
    np.testing.assert_allclose(learner.transform(X), X[:, kept] * np.sqrt(weights[kept]))


def test_metric_above_the_prior_never_shortens_its_distances():
    X, y = standardised(load_wine)
    learner = RelationAlignment(cone="above_prior", prior="identity").fit(X, y)
    lengths = np.sum((X[learner.pairs_[:, 0]] - X[learner.pairs_[:, 1]]) ** 2, axis=1)
    _, weights = pairs_of(X, y, learner)
    size = np.std(np.repeat(learner.relations_, weights.astype(int)))
    prior = size / np.average(lengths, weights=weights) * np.eye(X.shape[1])
    assert np.linalg.eigvalsh(learner.matrix_ - prior).min() >= -1e-10 * prior.max()
    assert np.linalg.norm(learner.matrix_ - prior) > 0.1 * np.linalg.norm(prior)
    pairs = np.stack([X[:-1], X[1:]], axis=1)
    before = np.linalg.norm(X[:-1] - X[1:], axis=1) * np.sqrt(prior[0, 0])
    assert np.all(learner.pair_distance(pairs) >= before * (1 - 1e-8))


# Solvers


def fitted_by(learner, tol, solver):
    X, y = data_of(learner, 24)
    learner = clone(learner).set_params(pairs=NearestPairs(3), tol=tol, max_iter=20_000)
    return learner.set_params(solver=solver).fit(X[:, :5], y)


@cache
def by_newton(learner):
    return fitted_by(learner, 1e-9, "newton")


@pytest.mark.parametrize(
    "learner", [learner for learner in LEARNERS if "solver" in learner.get_params()], ids=repr
)
@pytest.mark.filterwarnings("ignore:.* learned the zero", "ignore:.* cannot tell")
@pytest.mark.parametrize("solver", ["quasi_newton", "projected_gradient", "cvxpy", "SCS"])
def test_solvers_agree_within_their_bounds(learner, solver):
    if solver == "SCS":
        solver = partial(cvxpy_reference, conic_solver="SCS")
    found, expected = fitted_by(learner, 1e-3, solver), by_newton(learner)
    assert_same_optimum(found, expected)
    assert found.objective_ == pytest.approx(expected.objective_, rel=2e-3)
    assert found.converged_


# Paths


@every_learner
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1, id="increasing"),
        pytest.param(-1, id="decreasing", marks=pytest.mark.slow),
    ],
)
def test_path_is_separate_fits(learner, step):
    X, y = data_of(learner)
    learner = clone(learner).set_params(tol=1e-5)
    Cs = np.geomspace(0.05, 5, 4)[::step]
    path = learner.fit_path(X, y, Cs)
    assert [found.C_ for found in path] == [found.C for found in path] == Cs.tolist()
    assert not hasattr(learner, "matrix_")
    assert learner.C == 0.5
    for C, found in zip(Cs, path, strict=True):
        expected = clone(learner).set_params(C=C).fit(X, y)
        assert_same_optimum(found, expected)
        assert found.converged_
        assert found.objective_ == pytest.approx(expected.objective_, rel=2e-5)
        assert found.get_params() == expected.get_params()
        np.testing.assert_array_equal(found.pairs_, expected.pairs_)
        assert vars(found).keys() == vars(expected).keys()


@pytest.mark.parametrize("learner", [RAMLSVR(), PSDSVR(), DoubletSVM()], ids=repr)
def test_path_saves_operator_passes(learner):
    X, y = standardised(load_wine)
    scale = clone(learner).fit(X, y).C_
    Cs = scale * np.geomspace(1e-2, 10, 17)
    path = learner.fit_path(X, y, Cs)
    separate = [clone(learner).set_params(C=C).fit(X, y).n_passes_ for C in Cs]
    assert sum(found.n_passes_ for found in path) < 0.8 * sum(separate)


def test_path_takes_weights():
    X, y = standardised(load_diabetes, 60)
    weight = np.arange(len(y)) % 3
    (found,) = RAMLSVR(tol=1e-8).fit_path(X, y, [0.3], sample_weight=weight)
    expected = RAMLSVR(C=0.3, tol=1e-8).fit(X, y, sample_weight=weight)
    assert_same_optimum(found, expected)


@pytest.mark.parametrize("Cs", [[], [0.0], [1.0, -1.0], [np.nan], [np.inf], [[1.0, 2.0]]], ids=repr)
def test_path_of_bad_weights_is_refused(Cs):
    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match="Cs must be an array of positive numbers"):
        RAMLSVR().fit_path(X, y, Cs)


def test_path_validates_the_parameters():
    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match="'epsilon' parameter"):
        RAMLSVR(epsilon=-1.0).fit_path(X, y, [1.0])


def test_warnings_point_at_the_call():
    X, y = standardised(load_wine)
    learner = RAMLSVR(max_iter=1, tol=1e-9)
    for fit in (lambda: learner.fit(X, y), lambda: learner.fit_path(X, y, [1.0])):
        with pytest.warns(UserWarning, match=r"used max_iter|zero metric") as caught:
            fit()
        if hasattr(learner, "set_callbacks"):
            assert {warning.filename for warning in caught} == {__file__}


def test_one_exact_step_for_the_squared_loss():
    X, y = standardised(load_wine)
    learner = RAMLKRR(penalty="metric", tol=1e-10).fit(X, y)
    assert learner.n_iter_ == 2  # the start, and the optimum
    assert learner.dual_gap_ <= 1e-10


def test_score_of_a_learner_that_puts_out_frames():
    pytest.importorskip("pandas")
    X, y = standardised(load_wine)
    learner = RAMLSVR().fit(X, y)
    expected = learner.score(X, y)
    assert learner.set_output(transform="pandas").score(X, y) == expected


ALL = [
    RAMLSVR(),
    RAMLSVR(nu=0.3),
    RAMLKRR(),
    RAMLKRR(penalty="coefficients"),
    RAMLPCSVR(),
    RAMLNCSVR(),
    PSDSVR(),
    DoubletSVM(),
    PCML(),
    NCML(),
    RelationAlignment(cone="diagonal"),
    RelationAlignment(cone="above_prior", prior="identity"),
]
each_learner = pytest.mark.parametrize("learner", ALL, ids=repr)


@pytest.mark.filterwarnings("ignore:.* could make no further progress in float32")
@pytest.mark.filterwarnings("ignore:.* used max_iter", "ignore:.* cannot tell")
@each_learner
def test_certificate_of_single_precision_is_true(learner):
    # Balanced classes have no metric by nu-SVR.
    is_nu = getattr(learner, "nu", None) is not None
    X, y = standardised(load_diabetes if is_nu else load_wine, 60)
    X = X.astype(np.float32)
    single = clone(learner).set_params(tol=1e-9, max_iter=200).fit(X, y)
    double = clone(learner).set_params(tol=1e-10, C=single.C_)
    if hasattr(single, "prior_"):
        double.set_params(prior=single.prior_)
    double.fit(X.astype(np.float64), y)
    difference = np.linalg.norm(dense(single.matrix_) - dense(double.matrix_))
    assert difference <= single.metric_error_bound_ + double.metric_error_bound_
    # Centring X in single precision moves the problem itself by this much.
    assert single.objective_ * (1 - single.dual_gap_) <= double.objective_ * (1 + 1e-7)


@each_learner
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e-11, "float32"), (1e-80, "float64"), (1e-60, "float64"), (1e70, "float64")],
)
def test_units_beyond_the_range_of_numbers_are_refused(learner, scale, dtype):
    X, y = standardised(load_wine, 60)
    with pytest.raises(ValueError, match="Scale X"):
        clone(learner).fit((scale * X).astype(dtype), y)


def test_zero_metric_is_said_beside_a_prior():
    X, y = standardised(load_wine, 60)
    for regularizer in ("pair_matrices", "positive_semidefinite"):
        with pytest.warns(UserWarning, match="learned the zero metric"):
            RelationAlignment(cone=regularizer, prior=-np.eye(13), C=1e-6).fit(X, y)


def test_zero_metric_that_tol_allows_is_called_that():
    X, y = standardised(load_wine, 60)
    with pytest.warns(UserWarning, match="decrease tol or increase C"):
        NCML(C=1e-9).fit(X, y)
    assert np.any(NCML(C=1e-9, tol=1e-10).fit(X, y).matrix_)


def test_attributes_of_another_setting_do_not_stay():
    X, y = standardised(load_wine, 60)
    learner = RelationAlignment(cone="pair_matrices").fit(X, y)
    assert not hasattr(learner.set_params(cone="symmetric").fit(X, y), "coef_")
    learner = PSDSVR().fit(X, y)
    assert not hasattr(learner.set_params(loss="squared").fit(X, y), "epsilon_")


@pytest.mark.filterwarnings("ignore:No two different samples")
# Balanced classes have no metric by nu-SVR.
@pytest.mark.parametrize(
    "learner", [learner for learner in ALL if getattr(learner, "nu", None) is None], ids=repr
)
def test_refused_fit_leaves_the_last_one_whole(learner):
    X, y = standardised(load_wine, 60)
    learner = clone(learner).fit(X, y)
    before = dict(vars(learner))
    for bad_X, bad_y in [(X[:5], y), (0 * X[:, :4], y), (X[:, :4], np.zeros(len(y)))]:
        with pytest.raises(ValueError, match=r"X|y|class|relation"):
            learner.fit(bad_X, bad_y)
        assert vars(learner).keys() == before.keys()
        assert all(vars(learner)[name] is before[name] for name in before)


def test_one_sided_loss_without_positive_relations_says_what_to_do():
    X, y = standardised(load_wine)
    same = np.array([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match=r"Choose pairs with larger relations"):
        RAMLPCSVR(epsilon=0.1, pairs=same).fit(X, y)
    with pytest.raises(ValueError, match=r"Decrease epsilon, or choose pairs"):
        RAMLPCSVR(epsilon=1.0).fit(X, y)


def test_path_of_one_number_is_refused():
    X, y = standardised(load_wine, 60)
    with pytest.raises(ValueError, match="Cs must be an array of positive numbers"):
        RAMLSVR().fit_path(X, y, 1e-3)
    with pytest.raises(ValueError, match="C"):
        RAMLSVR(C=-1).fit_path(X, y, [1e-3])


def test_prior_of_the_diagonal_cone_is_diagonal():
    X, y = standardised(load_iris)
    weights = np.array([1.0, 2.0, 0.5, 3.0])
    learner = RelationAlignment(cone="diagonal", prior=np.diag(weights), C=1e-12).fit(X, y)
    np.testing.assert_allclose(learner.matrix_.diagonal(), weights, rtol=1e-6)
    with pytest.raises(ValueError, match="prior must be diagonal"):
        RelationAlignment(cone="diagonal", prior=np.diag(weights) + 0.1).fit(X, y)


def test_weights_of_many_features_keep_those_that_no_pair_speaks_of():
    # Word counts of five topics: most words are rare, and in few pairs.
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(10, 3010)
    topics = rng.integers(0, 5, 400)
    special = rng.choice(np.arange(50, 3000), (5, 200))
    counts = np.array([rng.multinomial(80, frequency / frequency.sum()) for _ in topics])
    for row, topic in zip(counts, topics, strict=True):
        np.add.at(row, rng.choice(special[topic], 16), 1)
    X = sparse.csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
    training, held_out = np.arange(250), np.arange(250, 400)

    def accuracy(images):
        model = KNeighborsClassifier().fit(images[training], topics[training])
        return model.score(images[held_out], topics[held_out])

    advised = RelationAlignment(cone="diagonal", prior="identity").fit(
        X[training], topics[training]
    )
    assert advised.components_.shape == (3000, 3000)
    assert accuracy(advised.transform(X)) >= accuracy(X) - 0.01
    reduced = TruncatedSVD(50, random_state=0).fit(X[training]).transform(X)
    metric = PSDSVR().fit(reduced[training], topics[training])
    assert accuracy(metric.transform(reduced)) >= accuracy(X) + 0.05


@pytest.mark.parametrize(
    "estimator", [RAMLSVR(), RAMLKRR(), RAMLNCSVR(), PSDSVR(), RelationAlignment()], ids=repr
)
def test_repeated_measurements_are_compared_with_others(estimator):
    """All nearest samples are of the same thing, so their targets are the same."""
    rng = np.random.default_rng(0)
    things = rng.normal(size=(12, 3))
    X = np.repeat(things, 20, axis=0) + 0.01 * rng.normal(size=(240, 3))
    y = np.repeat(things[:, 0], 20)
    learner = clone(estimator).set_params(random_state=0).fit(X, y)
    assert len(np.unique(learner.relations_)) > 12
    matrix = learner.get_mahalanobis_matrix()
    assert matrix[0, 0] > 2 * max(matrix[1, 1], matrix[2, 2])
    with pytest.raises(ValueError, match=r"repeated measurements.*pairs='random'"):
        clone(estimator).set_params(pairs="nearest").fit(X, y)
    advised = clone(estimator).set_params(pairs="random", random_state=0).fit(X, y)
    np.testing.assert_array_equal(advised.pairs_, learner.pairs_)


@pytest.mark.parametrize("estimator", [PSDSVR(prior=None), RAMLNCSVR()], ids=repr)
def test_a_start_that_is_worse_than_none_is_not_taken(estimator):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    learner = clone(estimator).set_params(C=10.0, warm_start=True, tol=1e-7).fit(X, y)
    learner.set_params(C=1e-12).fit(1e4 * X, y)
    expected = clone(learner).fit(1e4 * X, y)
    assert learner.converged_
    difference = np.linalg.norm(learner.matrix_ - expected.matrix_)
    assert difference <= learner.metric_error_bound_ + expected.metric_error_bound_


@pytest.mark.parametrize("C", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("n_features", [3, 10])
def test_ridge_regression_with_hardly_any_penalty(C, n_features):
    """Residuals times C are large, and the metric is what is left of their sum."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, n_features)), rng.normal(size=60)
    learner = RAMLKRR(C=C, pairs="random", tol=1e-8, random_state=0).fit(X, y)
    assert learner.converged_
    left, right = learner.pairs_.T
    T = np.einsum("pi,pj->pij", X[left] - X[right], X[left] - X[right]).reshape(len(left), -1)
    regularised = np.vstack([T, np.eye(n_features**2) / np.sqrt(C)])
    targets = np.r_[learner.relations_, np.zeros(n_features**2)]
    expected = np.linalg.lstsq(regularised, targets)[0].reshape(n_features, n_features)
    np.testing.assert_allclose(learner.matrix_, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("estimator", [RAMLSVR(), RAMLKRR(), PSDSVR()], ids=repr)
def test_a_single_relation_of_zero_tells_nothing(estimator):
    X = np.random.default_rng(0).normal(size=(4, 2))
    relations = sparse.coo_array(([0.0], ([1], [3])), shape=(4, 4))
    with pytest.raises(ValueError, match=r"all relations are 0, and no distance can be learned"):
        estimator.set_params(relation="precomputed").fit(X, relations)


@pytest.mark.filterwarnings("ignore:RAMLNCSVR learned the zero metric")
def test_the_zero_metric_is_a_sum_of_no_pairs():
    X, y = standardised(load_diabetes, 60)
    learner = RAMLNCSVR(epsilon=1e6).fit(X, y)
    assert not learner.matrix_.any()
    np.testing.assert_array_equal(learner.coef_, np.zeros(len(learner.pairs_)))
