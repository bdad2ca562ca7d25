import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, NuSVR

from metricalign import RAMLKRR, RAMLSVR, RelationAlignment
from metricalign.cones import Cone, Projection
from metricalign.losses import EpsilonInsensitive
from metricalign.pairs import NearestClassPairs, NearestPairs


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
    learner = RAMLSVR(tol=1e-2).fit(X, y)
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
    class Diagonal(Cone):
        def project(self, matrix):
            return Projection(np.diag(np.diag(matrix)))

    X, y = standardised(load_iris)
    with pytest.raises(NotImplementedError, match="solver='projected_gradient'"):
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


def test_no_metric_as_optimum_is_said():
    X, y = standardised(load_breast_cancer)
    relations = np.where(y[:, None] == y, -1.0, 1.0)
    pairs = np.array([[i, j] for i in range(12) for j in range(i)])
    with pytest.warns(UserWarning, match="zero metric|cannot tell"):
        RAMLSVR(relation="precomputed", pairs=pairs, C=1e-3, epsilon=1.0).fit(X, relations)
