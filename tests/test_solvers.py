from copy import copy
from dataclasses import fields, replace
from functools import cache, partial
from itertools import product
from typing import NamedTuple

import cvxpy
import numpy as np
import pytest
from formulas import CONES, project_on_pairs, project_semidefinite
from formulas import LOSSES as FORMULAS
from numpy.testing import assert_allclose, assert_array_equal
from priced_regularizers import BoundedTrace, TraceNorm
from scipy.linalg import null_space
from scipy.optimize import brentq, minimize_scalar
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, NuSVR

from conftest import make_small_problem
from metricalign import NCML, PCML, PSDSVR, RAMLNCSVR, DoubletSVM
from metricalign.losses import (
    LOSSES,
    EpsilonInsensitive,
    Hinge,
    Logistic,
    Loss,
    OneSided,
    PiecewiseQuadraticConjugate,
    Squared,
    SquaredEpsilonInsensitive,
)
from metricalign.operators import PairOperator
from metricalign.regularizers import REGULARIZERS, PositiveSemidefinite, Symmetric
from metricalign.solvers import SOLVERS as ALL_SOLVERS
from metricalign.solvers import (
    AlignmentProblem,
    CoefficientRidgeProblem,
    NuAlignmentProblem,
    OutOfRangeError,
    PrimalPoint,
    SolverResult,
    accelerated_gradient,
    certify,
    coefficient_ridge,
    cvxpy_reference,
    newton,
    newton_system,
    nu_svr,
    projected_gradient,
    quasi_newton,
    ridge,
    semismooth_newton,
    solve,
)
from metricalign.solvers import nu as nu_module

EPSILON = 0.1
# "auto" is one of the others, and cvxpy has tests of its own.
SOLVERS = {name: solve for name, solve in ALL_SOLVERS.items() if name not in ("auto", "cvxpy")}
# Relative gap that each is asked for, and the iterations that it may take.
GAPS = {"newton": 1e-9, "projected_gradient": 1e-7, "quasi_newton": 1e-7}
LIMITS = {"newton": 200, "projected_gradient": 20000, "quasi_newton": 600}
# Relative error of M that the tolerances below, and those of cvxpy, allow.
MATRIX_ERROR = {"newton": 2e-4, "projected_gradient": 2e-3, "quasi_newton": 2e-3}
# Its augmented Lagrangian may stall with an intercept.
STALLED_GAP = {"quasi_newton": 3e-3}
ONE_SIDED = {"one_sided"}  # no intercept with these
CLASSES = {"hinge", "logistic"}  # relations are +1 and -1
# The loss has no kink, and a Newton step needs no pull.
SMOOTH = {"squared", "squared_epsilon_insensitive", "logistic"}
# Its conjugate has no derivative at the bounds.
WITHOUT_GRADIENT = {"logistic"}
DATA = ["wine", "iris", "breast_cancer", "diabetes"]

DIAGONAL = {"diagonal"}  # whose matrices are vectors


def project(regularizer, S, differences, prior):
    return CONES[regularizer].project(S, differences, prior)


def stored(regularizer, matrix):
    """A matrix as the cone takes it."""
    return np.diag(matrix).copy() if regularizer in DIAGONAL else matrix


def full(matrix):
    """A matrix as it is, whatever the cone writes for it."""
    return np.diag(matrix) if matrix.ndim == 1 else matrix


def gap_of(solver, fit_intercept):
    return max(GAPS[solver], fit_intercept * STALLED_GAP.get(solver, 0))


def matrix_error_of(solver, fit_intercept, result, M):
    """How far M may be off, by the gap that the solver has to reach."""
    allowed = MATRIX_ERROR[solver] * np.linalg.norm(M)
    if solver in STALLED_GAP and fit_intercept:
        allowed += np.sqrt(2 * STALLED_GAP[solver] * result.primal)
    return allowed


class Case(NamedTuple):
    loss: str
    regularizer: str
    fit_intercept: bool
    has_prior: bool
    is_weighted: bool
    data: str
    C: float

    def __str__(self):
        return "-".join(
            [
                self.loss,
                self.regularizer,
                "intercept" if self.fit_intercept else "origin",
                "prior" if self.has_prior else "noprior",
                "weighted" if self.is_weighted else "unit",
                self.data,
                f"C{self.C:g}",
            ]
        )


def make_cases():
    """Every loss, regularizer, intercept, prior and weighting; data and C go round."""
    options = product(LOSSES, REGULARIZERS, (False, True), (False, True), (False, True))
    options = [option for option in options if not (option[0] in ONE_SIDED and option[2])]
    C = [0.1, 1.0, 5.0]
    return [
        Case(*option, DATA[(5 * i + i // 4) % 4], C[(i + i // 3) % 3])
        for i, option in enumerate(options)
    ]


CASES = make_cases()
each_solver = pytest.mark.parametrize("solver", SOLVERS)
# Those that reach any gap.
each_accurate_solver = pytest.mark.parametrize(
    "solver", [solver for solver in SOLVERS if solver not in STALLED_GAP]
)


def of_cases(cases):
    """Parametrise a test by cases: all of wine and a ninth of the others, the rest slow."""
    return pytest.mark.parametrize("case", [_parameters(case) for case in cases])


def _parameters(case, *solver):
    # Nine goes round all losses, cones, intercepts, priors and weightings.
    is_slow = case.data != "wine" and CASES.index(case) % 9 > 0
    marks = [pytest.mark.slow] if is_slow else []
    return pytest.param(case, *solver, id="-".join([str(case), *solver]), marks=marks)


def make_runs():
    """The default solver meets every case, the others some of every loss and of every cone."""
    runs = [_parameters(case, "newton") for case in CASES]
    runs += [
        _parameters(case, solver)
        for solver in SOLVERS
        if solver != "newton"
        for case in CASES[::9]
        if not (solver == "quasi_newton" and case.loss in WITHOUT_GRADIENT)
    ]
    return runs


RUNS = make_runs()
each_case = of_cases(CASES)
each_run = pytest.mark.parametrize(("case", "solver"), RUNS)
some_runs = pytest.mark.parametrize(
    ("case", "solver"), RUNS[: len(CASES) : 5] + RUNS[len(CASES) :: 3]
)
each_regularizer = pytest.mark.parametrize("regularizer", REGULARIZERS)
# Where each solve is long: the projections on pairs take most, and another shift of the
# semidefinite cone differs little from it.
SLOW_REGULARIZERS = {"pair_matrices", "above_prior"}
each_quick_regularizer = pytest.mark.parametrize(
    "regularizer",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_REGULARIZERS else [])
        for name in REGULARIZERS
    ],
)


class Parts(NamedTuple):
    """A problem as plain arrays."""

    X: np.ndarray
    pairs: np.ndarray
    differences: np.ndarray
    relations: np.ndarray
    weights: np.ndarray
    prior: np.ndarray

    def distances(self, M):
        return np.einsum("pi,ij,pj->p", self.differences, M, self.differences)

    def adjoint(self, beta):
        return np.einsum("p,pi,pj->ij", beta, self.differences, self.differences)

    def kernel(self):
        return (self.differences @ self.differences.T) ** 2


@cache
def parts_of(case, dtype=np.float64):
    data = make_small_problem(case.data, dtype)
    n_pairs, d = data.differences.shape
    rng = np.random.default_rng(7)
    relations = data.relations
    if case.loss in CLASSES:
        relations = np.where(relations > np.median(relations), 1.0, -1.0)
    weights = rng.uniform(0.2, 2, n_pairs) if case.is_weighted else np.ones(n_pairs)
    prior = np.zeros((d, d))
    if case.has_prior:
        A = rng.normal(size=(d, d))
        prior = 0.3 * np.eye(d) + 0.1 * (A + A.T)
        if case.regularizer in DIAGONAL:
            prior = np.diag(np.diag(prior))
    parts = Parts(
        data.X,
        data.pairs,
        data.differences,
        relations,
        case.C * weights,
        prior.astype(dtype),
    )
    for array in parts:
        array.flags.writeable = False
    return parts


def parts_in_double(case):
    """The samples in single precision, and all that follows from them in double."""
    parts = parts_of(case, np.float32)
    return parts._replace(
        differences=np.subtract(*(parts.X[side].astype(np.float64) for side in parts.pairs.T)),
        prior=parts.prior.astype(np.float64),
    )


def loss_named(name):
    loss = LOSSES[name]
    return loss(epsilon=EPSILON) if "epsilon" in loss().get_params() else loss()


def loss_of(case):
    return loss_named(case.loss)


def problem_of(case, dtype=np.float64):
    parts = parts_of(case, dtype)
    return AlignmentProblem(
        PairOperator(parts.X, parts.pairs, is_diagonal=case.regularizer in DIAGONAL),
        parts.relations,
        parts.weights,
        loss_of(case),
        REGULARIZERS[case.regularizer](),
        case.fit_intercept,
        stored(case.regularizer, parts.prior) if case.has_prior else None,
    )


def primal_of(case, parts, M, b):
    M = full(M)
    losses = FORMULAS[case.loss].value(parts.distances(M) + b, parts.relations, EPSILON)
    return 0.5 * np.sum((M - parts.prior) ** 2) + parts.weights @ losses


def dual_of(case, parts, beta):
    S = parts.prior + parts.adjoint(beta)
    M = project(case.regularizer, S, parts.differences, parts.prior)
    conjugate = FORMULAS[case.loss].conjugate(beta, parts.relations, parts.weights, EPSILON).sum()
    return 0.5 * np.sum((M - parts.prior) ** 2) - np.vdot(parts.adjoint(beta), M) - conjugate


@cache
def optimum(case):
    """M, b and objective by cvxpy."""
    parts = parts_of(case)
    d = parts.prior.shape[0]
    M = cvxpy.Variable((d, d), symmetric=True)
    b = cvxpy.Variable()
    distances = cvxpy.Variable(len(parts.relations))
    Z = parts.differences
    rank_one = np.array([np.outer(z, z).ravel() for z in Z])
    constraints = [distances == rank_one @ cvxpy.vec(M, order="C") + b]
    constraints += CONES[case.regularizer].in_cvxpy(M, Z, parts.prior)
    if not case.fit_intercept:
        constraints.append(b == 0)
    losses = FORMULAS[case.loss].in_cvxpy(distances, parts.relations, EPSILON)
    objective = 0.5 * cvxpy.sum_squares(M - parts.prior) + parts.weights @ losses
    task = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return M.value, float(b.value), float(task.value)


class Snapshot(NamedTuple):
    primal: float
    dual: float
    matrix: np.ndarray
    intercept: float
    dual_coef: np.ndarray


@cache
def solution(case, solver):
    """Result and what the callback saw on the way."""
    snapshots = []

    def callback(result):
        snapshots.append(
            Snapshot(
                result.primal,
                result.dual,
                full(result.matrix).copy(),
                result.intercept,
                result.dual_coef.copy(),
            )
        )

    result = SOLVERS[solver](
        problem_of(case), tol=GAPS[solver], max_iter=LIMITS[solver], callback=callback
    )
    return result, snapshots


def assert_dual(case, solver, parts, result, abs=None):
    """The value is that of the dual coefficients."""
    dual = pytest.approx(dual_of(case, parts, result.dual_coef), rel=1e-8, abs=abs)
    if case.regularizer == "pair_matrices" and solver == "newton":
        # Or less: projections stop early, and what they may lack is taken from the value.
        assert result.dual <= dual.expected or result.dual == dual
    else:
        assert result.dual == dual


def assert_feasible(case, parts, beta):
    lower, upper = FORMULAS[case.loss].box(parts.relations, parts.weights)
    rounding = 1e-14 * parts.weights
    assert np.all(lower - rounding <= beta)
    assert np.all(beta <= upper + rounding)
    if case.fit_intercept:
        assert abs(beta.sum()) <= 1e-8 * np.abs(beta).sum()


@each_run
def test_optimum_is_that_of_cvxpy(case, solver):
    M, _b, value = optimum(case)
    result, _ = solution(case, solver)
    gap = gap_of(solver, case.fit_intercept)
    assert result.relative_gap <= gap
    assert result.primal == pytest.approx(value, rel=max(1e-6, gap))
    error = np.linalg.norm(full(result.matrix) - M)
    assert error <= matrix_error_of(solver, case.fit_intercept, result, M)


@pytest.mark.parametrize(
    ("loss", "regularizer", "data"),
    [
        ("epsilon_insensitive", "diagonal", "breast_cancer"),
        ("squared_epsilon_insensitive", "symmetric", "breast_cancer"),
    ],
)
def test_quasi_newton_does_not_stall_without_intercept(loss, regularizer, data):
    case = Case(loss, regularizer, False, False, False, data, 5.0)
    result = quasi_newton(problem_of(case), tol=1e-6, max_iter=1000)
    assert result.relative_gap <= 1e-6
    assert result.primal == pytest.approx(optimum(case)[2], rel=2e-6)


def test_quasi_newton_ends_where_rounding_allows_no_progress():
    """A gap below zero is out of reach."""
    case = Case("epsilon_insensitive", "symmetric", False, False, False, "wine", 1.0)
    result = quasi_newton(problem_of(case), tol=-1.0, max_iter=1000)
    assert result.n_iter < 300
    assert result.relative_gap <= 1e-8


INTERCEPT = Case("epsilon_insensitive", "symmetric", True, False, True, "wine", 0.1)


def test_quasi_newton_moves_its_intercept_within_max_iter():
    assert quasi_newton(problem_of(INTERCEPT), tol=0.0, max_iter=60).n_iter == 60


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_quasi_newton_finds_the_intercept_in_any_units(size):
    """Within few steps: how fast it moves goes with the fourth power of the samples."""
    parts, problem = parts_of(INTERCEPT), problem_of(INTERCEPT)
    in_units = AlignmentProblem(
        PairOperator(size * parts.X, parts.pairs),
        parts.relations,
        parts.weights / size**4,
        problem.loss,
        problem.regularizer,
        fit_intercept=True,
    )
    result = quasi_newton(in_units, tol=1e-3, max_iter=180)
    assert result.relative_gap <= 1e-3
    assert size**4 * result.primal == pytest.approx(optimum(INTERCEPT)[2], rel=2e-3)


@each_run
def test_gap_is_what_the_returned_point_has(case, solver):
    """Primal and dual value from matrix, intercept and dual_coef by the explicit formulas."""
    parts = parts_of(case)
    result, _ = solution(case, solver)
    assert_feasible(case, parts, result.dual_coef)
    primal = primal_of(case, parts, result.matrix, result.intercept)
    assert result.primal == pytest.approx(primal, rel=1e-11)
    assert result.dual == pytest.approx(dual_of(case, parts, result.dual_coef), rel=1e-9)
    # How far M is from optimal, at most.
    M, _, _ = optimum(case)
    bound = np.sqrt(2 * result.gap) + 2e-4 * np.linalg.norm(M)
    assert np.linalg.norm(full(result.matrix) - M) <= bound
    S = parts.prior + parts.adjoint(result.dual_coef)
    stationary = project(case.regularizer, S, parts.differences, parts.prior)
    assert np.linalg.norm(full(result.matrix) - stationary) <= 2 * bound


@each_run
def test_every_iteration_brackets_the_optimum(case, solver):
    parts = parts_of(case)
    _, _, value = optimum(case)
    result, snapshots = solution(case, solver)
    assert len(snapshots) == len(result.history) == result.n_iter
    slack = 1e-7 * abs(value)
    every = max(1, len(snapshots) // 20)
    for snapshot in snapshots[::every]:
        assert snapshot.dual <= value + slack
        assert value <= snapshot.primal + slack
        assert_feasible(case, parts, snapshot.dual_coef)
        assert_dual(case, solver, parts, snapshot)
        primal = primal_of(case, parts, snapshot.matrix, snapshot.intercept)
        assert snapshot.primal == pytest.approx(primal, rel=1e-10)
        bound = np.sqrt(2 * (snapshot.primal - snapshot.dual + slack))
        assert np.linalg.norm(snapshot.matrix - optimum(case)[0]) <= bound
    passes, primals, duals = np.array(result.history).T
    assert np.all(np.diff(passes) > 0)
    assert np.all(np.diff(primals) <= 0)
    assert np.all(np.diff(duals) >= 0)


@of_cases(CASES[::2])
def test_wrong_metric_shows_a_gap(case):
    """Primal of any metric in the cone, minus a dual value, is at least 1/2 ||M - M*||^2."""
    parts = parts_of(case)
    M, b, _ = optimum(case)
    dual = solution(case, "newton")[0].dual
    rng = np.random.default_rng(3)
    for size in [0.01, 0.1, 1.0]:
        D = rng.normal(size=M.shape)
        wrong = project(case.regularizer, M + size * (D + D.T), parts.differences, parts.prior)
        primal = primal_of(case, parts, wrong, b + case.fit_intercept * size * rng.normal())
        distance = np.linalg.norm(wrong - M)
        assert distance > 1e-3
        assert primal - dual >= 0.5 * distance**2 * (1 - 1e-3)


@each_case
def test_complementary_slackness(case):
    """Each coefficient is minus a slope of its loss at the distance of its pair."""
    parts = parts_of(case)
    result, _ = solution(case, "newton")
    a = parts.distances(full(result.matrix)) + result.intercept
    h = 1e-3
    c, t, loss = parts.weights, parts.relations, partial(FORMULAS[case.loss].value, e=EPSILON)
    left = c * (loss(a, t) - loss(a - h, t)) / h
    right = c * (loss(a + h, t) - loss(a, t)) / h
    smallest, largest = np.minimum(left, right), np.maximum(left, right)
    slack = 2 * h * c
    assert np.all(smallest - slack <= -result.dual_coef)
    assert np.all(-result.dual_coef <= largest + slack)


# The Karush-Kuhn-Tucker conditions


TIGHT = CASES[::2]


@cache
def tight_solution(case):
    return newton(problem_of(case), tol=1e-13, max_iter=300)


@of_cases(TIGHT)
def test_metric_is_in_the_cone_and_its_excess_in_the_dual_cone(case):
    """M - M0 of above_prior, M of the others: at right angles to M - S, which is dual."""
    parts, result = parts_of(case), tight_solution(case)
    M, S = full(result.matrix), parts.prior + parts.adjoint(result.dual_coef)
    Z, excess = parts.differences, M - S
    size = 1 + np.linalg.norm(S) + np.linalg.norm(M)
    slack = 2e-5 * size
    apex = parts.prior if case.regularizer == "above_prior" else np.zeros_like(M)
    assert abs(np.vdot(M - apex, excess)) <= slack * size
    rounding = 1e-13 * size
    if case.regularizer == "symmetric":
        assert_allclose(excess, 0, atol=slack)
    elif case.regularizer == "diagonal":
        assert_array_equal(M, np.diag(np.diag(M)))
        assert np.all(np.diag(M) >= 0)
        assert np.diag(excess).min() >= -slack
    elif case.regularizer == "pair_matrices":
        assert np.linalg.eigvalsh(M)[0] >= -rounding
        assert_allclose(project_on_pairs(M, Z), M, atol=1e-9 * size)
        assert np.min(parts.distances(excess) / np.sum(Z * Z, axis=1)) >= -slack
    else:
        assert np.linalg.eigvalsh(M - apex)[0] >= -rounding
        assert np.linalg.eigvalsh(excess)[0] >= -slack


@of_cases([c for c in CASES if c.regularizer == "pair_matrices" and not c.has_prior])
def test_pair_coefficients_and_dual_coefficients_are_complementary(case):
    parts, result = parts_of(case), tight_solution(case)
    mu, beta, K = result.projection.coef, result.dual_coef, parts.kernel()
    assert np.all(mu >= 0)
    assert_allclose(full(result.matrix), parts.adjoint(mu), atol=1e-10 * (1 + mu.sum()))
    size = 1 + np.sqrt(beta @ K @ beta)
    slope = K @ (mu - beta)
    assert np.min(slope) >= -1e-4 * size
    assert abs(mu @ slope) <= 1e-4 * size**2
    if case.fit_intercept:
        assert abs(beta.sum()) <= 1e-10 * np.abs(beta).sum()


@of_cases([case for case in CASES if case.regularizer == "positive_semidefinite"])
def test_smaller_cones_have_larger_optima(case):
    values = {
        regularizer: newton(
            problem_of(case._replace(regularizer=regularizer)), tol=1e-9, max_iter=200
        ).primal
        for regularizer in REGULARIZERS
        if not (case.has_prior and regularizer == "diagonal")  # whose prior is another
    }
    best = values["positive_semidefinite"]
    assert values["symmetric"] <= best * (1 + 1e-8)
    assert best <= values["pair_matrices"] * (1 + 1e-8)
    if not case.has_prior:
        assert best <= values["diagonal"] * (1 + 1e-8)
        assert values["above_prior"] == pytest.approx(best, rel=1e-8)


@of_cases([c for c in CASES if c.regularizer == "above_prior" and not c.has_prior][::2])
def test_above_no_prior_is_positive_semidefinite(case):
    M, _, value = optimum(case._replace(regularizer="positive_semidefinite"))
    result = solution(case, "newton")[0]
    assert result.primal == pytest.approx(value, rel=1e-6)
    assert np.linalg.norm(result.matrix - M) <= 1e-4 * np.linalg.norm(M)


@pytest.mark.parametrize("C", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("data", DATA)
def test_one_sided_is_support_vector_regression_with_nonnegative_coefficients(data, C):
    """Its dual by cvxpy; the metric is positive semidefinite by itself."""
    case = Case("one_sided", "symmetric", False, False, True, data, C)
    parts = parts_of(case)
    t, Z = parts.relations - EPSILON, parts.differences
    products = np.array([np.outer(z, z).ravel() for z in Z])
    beta = cvxpy.Variable(len(t))
    value = t @ beta - 0.5 * cvxpy.sum_squares(products.T @ beta)
    task = cvxpy.Problem(cvxpy.Maximize(value), [beta >= 0, beta <= parts.weights])
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    M = parts.adjoint(beta.value)
    for regularizer in ("symmetric", "positive_semidefinite", "pair_matrices"):
        result = newton(problem_of(case._replace(regularizer=regularizer)), tol=1e-11, max_iter=300)
        assert np.linalg.norm(result.matrix - M) <= 1e-4 * np.linalg.norm(M)
        assert result.primal == pytest.approx(task.value, rel=1e-6)
        assert np.linalg.eigvalsh(result.matrix)[0] >= -1e-7 * np.linalg.norm(M)
    assert np.all(result.dual_coef[t <= 0] == 0)


@each_regularizer
def test_one_sided_with_intercept_is_refused(regularizer):
    Z, t, c = random_differences()
    with pytest.raises(ValueError, match=r"OneSided.*fit_intercept=False"):
        simple_problem(Z, t, c, loss=OneSided(EPSILON), regularizer=regularizer, fit_intercept=True)


@each_solver
@each_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_gap_of_a_solve_cut_short_is_no_smaller_than_the_truth(
    regularizer, solver, fit_intercept, max_iter
):
    for loss, data in [("epsilon_insensitive", "wine"), ("hinge", "breast_cancer")]:
        case = Case(loss, regularizer, fit_intercept, False, True, data, 5.0)
        parts = parts_of(case)
        M, _, value = optimum(case)
        result = SOLVERS[solver](problem_of(case), tol=0, max_iter=max_iter)
        assert result.n_iter <= max_iter
        primal = primal_of(case, parts, result.matrix, result.intercept)
        slack = 1e-7 * value
        assert primal - value <= result.gap + slack
        assert np.linalg.norm(full(result.matrix) - M) <= np.sqrt(2 * (result.gap + slack))
        assert result.gap > 1e-6 * value or primal <= value * (1 + 1e-6)


def test_cases_have_coefficients_free_and_at_bounds():
    """The zoo is not trivial: metrics are inside and outside of the semidefinite cone."""
    n_free, n_bound, n_zero, n_indefinite = 0, 0, 0, 0
    for case in CASES[::3]:
        parts, result = parts_of(case), solution(case, "newton")[0]
        size = np.abs(result.dual_coef)
        n_zero += np.sum(size < 1e-9)
        n_bound += np.sum(size > parts.weights * (1 - 1e-9))
        n_free += np.sum((size >= 1e-9) & (size <= parts.weights * (1 - 1e-9)))
        S = parts.prior + parts.adjoint(result.dual_coef)
        n_indefinite += np.linalg.eigvalsh(S)[0] < -1e-3
    assert min(n_free, n_bound, n_zero) > 100
    assert n_indefinite > 10


@of_cases(CASES[::3])
def test_cvxpy_reference_agrees(case):
    parts = parts_of(case)
    M, _b, value = optimum(case)
    seen = []
    result = cvxpy_reference(problem_of(case), tol=1e-6, max_iter=200, callback=seen.append)
    assert seen == [result]
    assert result.primal == pytest.approx(value, rel=1e-6)
    assert np.linalg.norm(full(result.matrix) - M) <= 1e-3 * np.linalg.norm(M)
    assert result.relative_gap <= 1e-5
    assert_feasible(case, parts, result.dual_coef)
    assert result.primal == pytest.approx(
        primal_of(case, parts, result.matrix, result.intercept), rel=1e-9
    )
    assert result.dual == pytest.approx(dual_of(case, parts, result.dual_coef), rel=1e-8)
    assert result.dual <= value * (1 + 1e-7)


@of_cases(CASES[2::29])
def test_another_conic_solver_agrees(case):
    M, _b, value = optimum(case)
    result = cvxpy_reference(problem_of(case), tol=1e-3, max_iter=1000, conic_solver="SCS")
    assert result.primal == pytest.approx(value, rel=1e-3)
    assert np.linalg.norm(full(result.matrix) - M) <= np.sqrt(2 * result.gap) + 1e-4
    assert result.dual <= value * (1 + 1e-7) <= result.primal * (1 + 2e-7)
    assert result.relative_gap <= 1e-2


def test_unknown_conic_solver_is_refused():
    with pytest.raises(ValueError, match=r"CLARABEL.*got 'GUROBY'"):
        cvxpy_reference(problem_of(CASES[0]), tol=1e-3, max_iter=10, conic_solver="GUROBY")


def test_cvxpy_reference_refuses_large_problems():
    X = np.random.default_rng(0).normal(size=(200, 20))
    pairs = np.random.default_rng(1).integers(200, size=(100_000, 2))
    ones = np.ones(100_000)
    problem = AlignmentProblem(PairOperator(X, pairs), ones, ones, Squared(), Symmetric(), False)
    with pytest.raises(ValueError, match=r"100000 pairs x 400 products .* = 4.0e\+07") as error:
        cvxpy_reference(problem, tol=1e-3, max_iter=10)
    assert "2e+07" in str(error.value)
    assert "solver='auto'" in str(error.value)


# A regularizer that is no cone


def trace_of(case):
    """Of the metric that a trace norm or a bound on the trace has to shrink."""
    return np.trace(optimum(case)[0])


# The regularizer, its value and its constraints in cvxpy, written down a second time.
PRICED = {
    "trace_norm": lambda trace: (TraceNorm(trace / 5), lambda M: trace / 5 * cvxpy.trace(M), []),
    "bounded_trace": lambda trace: (
        BoundedTrace(trace / 2),
        lambda M: 0.0,
        [lambda M: cvxpy.trace(M) <= trace / 2],
    ),
}


@cache
def priced_optimum(case, name):
    """M and objective by cvxpy."""
    parts = parts_of(case)
    _, price, constraints = PRICED[name](trace_of(case))
    M = cvxpy.Variable(parts.prior.shape, symmetric=True)
    b = cvxpy.Variable() if case.fit_intercept else 0.0
    distances = cvxpy.Variable(len(parts.relations))
    rank_one = np.array([np.outer(z, z).ravel() for z in parts.differences])
    losses = FORMULAS[case.loss].in_cvxpy(distances, parts.relations, EPSILON)
    task = cvxpy.Problem(
        cvxpy.Minimize(
            0.5 * cvxpy.sum_squares(M - parts.prior) + price(M) + parts.weights @ losses
        ),
        [
            distances == rank_one @ cvxpy.vec(M, order="C") + b,
            M >> 0,
            *(constraint(M) for constraint in constraints),
        ],
    )
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return M.value, float(task.value)


PRICED_CASES = [
    Case(loss, "positive_semidefinite", loss not in ONE_SIDED, has_prior, True, data, 1.0)
    for loss, has_prior, data in zip(
        LOSSES, 3 * [False, True], ["wine", "iris", "breast_cancer"] * 2, strict=True
    )
]


def priced_problem(case, name):
    return replace(problem_of(case), regularizer=PRICED[name](trace_of(case))[0])


@pytest.mark.parametrize("name", PRICED)
@pytest.mark.parametrize(
    ("case", "solver"),
    [
        pytest.param(case, solver, id=f"{case}-{solver}")
        for case in PRICED_CASES
        for solver in [*SOLVERS, "cvxpy"]
        if not (solver == "quasi_newton" and case.loss in WITHOUT_GRADIENT)
    ],
)
def test_optimum_with_a_price_is_that_of_cvxpy(case, name, solver):
    """Regularizers from outside of the package, by every solver that the loss allows."""
    problem, parts = priced_problem(case, name), parts_of(case)
    M, value = priced_optimum(case, name)
    gap = 1e-3 if solver == "quasi_newton" and case.fit_intercept else 1e-6
    result = solve(problem, ALL_SOLVERS[solver], tol=gap, max_iter=5000)
    assert result.relative_gap <= gap
    assert result.primal == pytest.approx(value, rel=max(gap, 3e-6))
    error = np.linalg.norm(result.matrix - M)
    assert error <= np.sqrt(2 * result.gap) + 1e-4 * np.linalg.norm(M)
    # The price and the bound do something, and are in the objective.
    semidefinite, _, _ = optimum(case)
    assert np.linalg.norm(M - semidefinite) > 0.05 * np.linalg.norm(M)
    primal = primal_of(case, parts, result.matrix, result.intercept)
    if name == "trace_norm":
        primal += np.trace(result.matrix) * trace_of(case) / 5
    else:
        assert np.trace(result.matrix) <= trace_of(case) / 2 * (1 + 1e-12)
    assert result.primal == pytest.approx(primal, rel=1e-9)


@pytest.mark.parametrize(
    "case", [case for case in PRICED_CASES if case.loss in WITHOUT_GRADIENT], ids=str
)
def test_solver_refuses_a_problem_that_lacks_a_method_by_its_name(case):
    problem = problem_of(case)
    with pytest.raises(ValueError, match=r"'quasi_newton' needs the method gradient .*Logistic"):
        solve(problem, quasi_newton, tol=1e-3, max_iter=10)
    assert problem.n_passes == 0


# Limits and closed forms


def simple_problem(
    Z,
    t,
    c,
    *,
    loss=None,
    regularizer="symmetric",
    fit_intercept=False,
    prior=None,
    dtype=np.float64,
):
    """Problem over given differences: pair p joins sample 0, the origin, and sample p + 1."""
    Z = np.atleast_2d(np.asarray(Z, dtype=dtype))
    X = np.concatenate([np.zeros((1, Z.shape[1]), dtype=dtype), Z])
    pairs = np.column_stack([np.zeros(len(Z), dtype=int), np.arange(1, len(Z) + 1)])
    return AlignmentProblem(
        PairOperator(X, pairs, is_diagonal=regularizer in DIAGONAL),
        np.asarray(t, dtype=np.float64),
        np.broadcast_to(np.asarray(c, dtype=np.float64), (len(Z),)).copy(),
        EpsilonInsensitive(EPSILON) if loss is None else loss,
        REGULARIZERS[regularizer](),
        fit_intercept,
        None if prior is None else stored(regularizer, prior.astype(dtype)),
    )


def random_differences(n_pairs=30, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_pairs, d)), rng.uniform(-1, 2, n_pairs), rng.uniform(0.5, 2, n_pairs)


@each_solver
@each_regularizer
@pytest.mark.parametrize("has_prior", [False, True], ids=["noprior", "prior"])
def test_small_weights_put_every_coefficient_at_its_bound(regularizer, solver, has_prior):
    Z, t, w = random_differences()
    prior = has_prior * np.diag([0.5, 0.2, -0.3])
    c = 1e-7 * w
    start = project(regularizer, prior, Z, prior)
    errors = t - np.einsum("pi,ij,pj->p", Z, start, Z)
    assert np.min(np.abs(np.abs(errors) - EPSILON)) > 1e-3
    beta = c * np.sign(errors) * (np.abs(errors) > EPSILON)
    expected = project(regularizer, prior + np.einsum("p,pi,pj->ij", beta, Z, Z), Z, prior)
    # The metric is a tiny part of the objective.
    result = SOLVERS[solver](
        simple_problem(Z, t, c, regularizer=regularizer, prior=prior), tol=1e-15, max_iter=100
    )
    assert_allclose(result.dual_coef, beta, rtol=1e-6, atol=1e-16)
    # Beside a prior smaller gaps are lost in rounding.
    atol = np.sqrt(2 * result.rounding) if has_prior else 1e-12
    assert_allclose(full(result.matrix), expected, rtol=1e-6, atol=atol)


@each_accurate_solver
@pytest.mark.parametrize("loss", LOSSES)
@each_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_one_feature_is_a_scalar_problem(loss, regularizer, solver, fit_intercept):
    fit_intercept = fit_intercept and loss not in ONE_SIDED
    case = Case(loss, regularizer, fit_intercept, False, False, "", 1.0)
    rng = np.random.default_rng(5)
    Z = rng.normal(size=(15, 1))
    # Falling with the distance: at the boundary of the cone where there is an intercept.
    t = 2 - 1.5 * Z[:, 0] ** 2 + rng.normal(size=15)
    t = np.sign(t - np.median(t) + 1e-9) if loss in CLASSES else t
    parts = Parts(None, None, Z, t, np.ones(15), np.zeros((1, 1)))
    exact = {"options": {"xatol": 1e-11}}

    def best_intercept(m):
        if not fit_intercept:
            return 0.0
        return minimize_scalar(
            lambda b: primal_of(case, parts, np.array([[m]]), b), bounds=(-20, 20), **exact
        ).x

    def value(m):
        return primal_of(case, parts, np.array([[m]]), best_intercept(m))

    low = -20 if np.any(project(regularizer, -np.eye(1), Z, np.zeros((1, 1)))) else 0
    best = min((minimize_scalar(value, bounds=(low, 20), **exact).x, low), key=value)
    problem = simple_problem(
        Z, t, 1.0, loss=loss_of(case), regularizer=regularizer, fit_intercept=fit_intercept
    )
    result = SOLVERS[solver](problem, tol=GAPS[solver], max_iter=LIMITS[solver])
    assert result.primal == pytest.approx(value(best), rel=gap_of(solver, fit_intercept))
    assert full(result.matrix)[0, 0] == pytest.approx(best, abs=np.sqrt(2 * result.gap) + 2e-4)


@each_solver
@pytest.mark.parametrize("has_prior", [False, True], ids=["noprior", "prior"])
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_squared_loss_is_kernel_ridge_regression(solver, has_prior, fit_intercept):
    Z, t, c = random_differences()
    prior = has_prior * np.diag([0.5, 0.2, -0.3])
    K = (Z @ Z.T) ** 2 + np.diag(1 / c)
    right = t - np.einsum("pi,ij,pj->p", Z, prior, Z)
    b = 0.0
    if fit_intercept:
        ones = np.ones((len(t), 1))
        bordered = np.block([[K, ones], [ones.T, np.zeros((1, 1))]])
        *beta, b = np.linalg.solve(bordered, np.append(right, 0))
    else:
        beta = np.linalg.solve(K, right)
    problem = simple_problem(Z, t, c, loss=Squared(), fit_intercept=fit_intercept, prior=prior)
    result = SOLVERS[solver](problem, tol=1e-13, max_iter=LIMITS[solver])
    assert_allclose(result.dual_coef, beta, atol=1e-5)
    assert_allclose(result.matrix, prior + np.einsum("p,pi,pj->ij", beta, Z, Z), atol=1e-5)
    assert result.intercept == pytest.approx(b, abs=1e-5)


def test_squared_loss_needs_one_newton_step_on_a_subspace():
    Z, t, c = random_differences()
    result = newton(simple_problem(Z, t, c, loss=Squared()), tol=1e-10, max_iter=10)
    assert result.relative_gap <= 1e-10
    assert result.n_iter <= 2


@each_accurate_solver
@pytest.mark.parametrize("loss", LOSSES)
def test_inactive_cone_is_no_cone(loss, solver):
    """Far inside of the semidefinite cone the constraint does not matter."""
    case = Case(loss, "symmetric", loss not in ONE_SIDED, True, True, "wine", 0.02)
    parts = parts_of(case)
    results = [
        SOLVERS[solver](
            AlignmentProblem(
                PairOperator(parts.X, parts.pairs),
                parts.relations,
                parts.weights,
                loss_of(case),
                REGULARIZERS[regularizer](),
                case.fit_intercept,
                np.eye(len(parts.prior)),
            ),
            tol=1e-12,
            max_iter=3000,
        )
        for regularizer in ("symmetric", "positive_semidefinite")
    ]
    assert np.linalg.eigvalsh(results[0].matrix)[0] > 0.1
    assert np.linalg.norm(results[0].matrix - np.eye(len(parts.prior))) > 1e-3
    assert_allclose(results[0].matrix, results[1].matrix, atol=1e-5)
    assert results[0].primal == pytest.approx(results[1].primal, rel=1e-9)


@some_runs
def test_pairs_given_twice_weigh_double(case, solver):
    parts, problem = parts_of(case), problem_of(case)
    twice = AlignmentProblem(
        PairOperator(
            parts.X,
            np.concatenate([parts.pairs, parts.pairs[:, ::-1]]),
            is_diagonal=case.regularizer in DIAGONAL,
        ),
        np.tile(parts.relations, 2),
        np.tile(parts.weights, 2) / 2,
        problem.loss,
        problem.regularizer,
        problem.fit_intercept,
        problem.prior,
    )
    result = SOLVERS[solver](twice, tol=GAPS[solver], max_iter=LIMITS[solver])
    M, _, value = optimum(case)
    gap = max(1e-6, gap_of(solver, case.fit_intercept))
    assert result.primal == pytest.approx(value, rel=gap)
    error = np.linalg.norm(full(result.matrix) - M)
    assert error <= matrix_error_of(solver, case.fit_intercept, result, M)
    single = result.dual_coef.reshape(2, -1).sum(axis=0)
    assert_feasible(case, parts, single)
    assert dual_of(case, parts, single) == pytest.approx(value, rel=gap)


@each_accurate_solver
@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in ONE_SIDED | CLASSES])
@each_regularizer
@pytest.mark.parametrize("level", [1.0, -3.0, 0.0])
def test_equal_relations_are_met_by_the_intercept_alone(loss, regularizer, solver, level):
    case = Case(loss, regularizer, True, False, False, "", 1.0)
    Z, _, c = random_differences()
    problem = simple_problem(
        Z, np.full(30, level), c, loss=loss_of(case), regularizer=regularizer, fit_intercept=True
    )
    result = SOLVERS[solver](problem, tol=1e-8, max_iter=50)
    parts = Parts(None, None, Z, np.full(30, level), c, np.zeros((3, 3)))
    assert result.primal <= 1e-10
    assert primal_of(case, parts, result.matrix, result.intercept) <= 1e-10
    assert_allclose(result.matrix, 0, atol=1e-5)
    assert abs(result.dual_coef.sum()) <= 1e-9
    assert result.dual <= 1e-12
    assert result.relative_gap <= 1e-8


@each_accurate_solver
@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in CLASSES])
@each_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_relations_that_the_projected_prior_meets_leave_it(
    loss, regularizer, solver, fit_intercept
):
    fit_intercept = fit_intercept and loss not in ONE_SIDED
    case = Case(loss, regularizer, fit_intercept, True, False, "", 1.0)
    Z, _, c = random_differences()
    prior = np.diag([1.0, 0.5, -0.5])
    expected = project(regularizer, prior, Z, prior)
    t = np.einsum("pi,ij,pj->p", Z, expected, Z) + 2.0 * fit_intercept
    problem = simple_problem(
        Z,
        t,
        c,
        loss=loss_of(case),
        regularizer=regularizer,
        fit_intercept=fit_intercept,
        prior=prior,
    )
    result = SOLVERS[solver](problem, tol=1e-10, max_iter=2000)
    assert_allclose(full(result.matrix), expected, atol=2e-4)
    value = 0.5 * np.sum((expected - prior) ** 2)
    assert result.primal == pytest.approx(value, abs=1e-7)
    assert result.dual <= value + 1e-10


class Shortfall(Loss):
    """max(0, t - a): no loss for distances that are too large."""

    degree = 1

    def value(self, prediction, target):
        return np.maximum(target - prediction, 0)

    def conjugate(self, target, weight):
        return PiecewiseQuadraticConjugate(target, 0.0, 0.0, 0 * weight, weight)


def test_one_sided_loss_with_intercept_is_refused():
    Z, t, c = random_differences()
    with pytest.raises(ValueError, match="fit_intercept=False"):
        simple_problem(Z, t, c, loss=Shortfall(), fit_intercept=True)


@each_solver
@each_regularizer
def test_one_sided_loss_of_a_single_pair(solver, regularizer):
    """A loss from outside of the package needs its conjugate and nothing else."""
    z = np.array([1.0, 2.0])
    T = project(regularizer, np.outer(z, z), z[None], np.zeros((2, 2)))
    for t, c, beta in [(2.0, 10.0, 2 / np.sum(T * T)), (2.0, 0.01, 0.01), (-2.0, 10.0, 0.0)]:
        problem = simple_problem(z[None], [t], c, loss=Shortfall(), regularizer=regularizer)
        result = SOLVERS[solver](problem, tol=1e-8, max_iter=500)
        assert_allclose(full(result.matrix), beta * T, atol=1e-5)


# Running


@each_solver
def test_callback_stops(solver):
    case = CASES[2]
    seen = []

    def callback(result):
        seen.append(result.relative_gap)
        return len(seen) == 3

    result = SOLVERS[solver](problem_of(case), tol=0, max_iter=100, callback=callback)
    assert len(seen) == result.n_iter == 3
    assert result.is_interrupted
    assert seen[-1] == result.relative_gap > 0


@pytest.mark.parametrize(
    ("case", "solver"),
    # Of an intercept quasi-Newton has no warm start.
    [run for run in RUNS if not (run.values[1] in STALLED_GAP and run.values[0].fit_intercept)],
)
def test_warm_start_from_the_solution_is_immediate(case, solver):
    solved = solution(case, solver)[0]
    start = solved.dual_coef.copy()
    start.flags.writeable = False
    again = SOLVERS[solver](problem_of(case), tol=1e-4, max_iter=100, dual_coef=start)
    assert again.relative_gap <= 1e-4
    assert again.n_iter <= 5


@each_run
def test_one_iteration_gives_valid_bounds(case, solver):
    parts = parts_of(case)
    M, _, value = optimum(case)
    result = SOLVERS[solver](problem_of(case), tol=0, max_iter=1)
    assert result.n_iter == 1
    assert np.isfinite(result.gap)
    assert result.dual <= value * (1 + 1e-7) <= result.primal * (1 + 2e-7)
    assert_feasible(case, parts, result.dual_coef)
    assert_dual(case, solver, parts, result, abs=1e-9)
    assert result.primal == pytest.approx(
        primal_of(case, parts, result.matrix, result.intercept), rel=1e-10
    )
    bound = np.sqrt(2 * result.gap) + 1e-6 * np.linalg.norm(M)
    assert np.linalg.norm(full(result.matrix) - M) <= bound


@some_runs
def test_warm_start_from_another_problem_reaches_the_same_metric(case, solver):
    parts = parts_of(case)
    start = 0.5 * parts.weights * np.random.default_rng(0).uniform(-1, 1, len(parts.weights))
    start.flags.writeable = False
    result = SOLVERS[solver](
        problem_of(case), tol=GAPS[solver], max_iter=LIMITS[solver], dual_coef=start
    )
    gap = gap_of(solver, case.fit_intercept)
    assert result.relative_gap <= gap
    assert result.primal == pytest.approx(optimum(case)[2], rel=max(1e-6, gap))
    assert_feasible(case, parts, result.dual_coef)


@pytest.mark.parametrize("C", [1e-8, 1e6])
@pytest.mark.parametrize("loss", LOSSES)
@each_quick_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_extreme_weight_converges_or_reports_its_gap(loss, regularizer, C, fit_intercept):
    case = Case(loss, regularizer, fit_intercept and loss not in ONE_SIDED, False, True, "iris", C)
    parts = parts_of(case)
    result = newton(problem_of(case), tol=1e-6, max_iter=60)
    assert_feasible(case, parts, result.dual_coef)
    primal = primal_of(case, parts, result.matrix, result.intercept)
    dual = dual_of(case, parts, result.dual_coef)
    assert result.primal == pytest.approx(primal, rel=1e-9)
    assert result.dual == pytest.approx(dual, rel=1e-7, abs=1e-9 * primal)
    if C < 1:
        assert result.relative_gap <= 1e-6
    # The metric at zero costs this much, and no dual value may exceed it.
    b = case.fit_intercept * np.median(parts.relations)
    assert result.dual <= primal_of(case, parts, np.zeros_like(parts.prior), b)


@pytest.mark.parametrize("C", [1e-8, 1e6])
@each_quick_regularizer
def test_extreme_weight_gap_of_the_gradient_method_is_true(regularizer, C):
    case = Case("epsilon_insensitive", regularizer, True, False, True, "iris", C)
    parts = parts_of(case)
    result = projected_gradient(problem_of(case), tol=1e-6, max_iter=200)
    assert_feasible(case, parts, result.dual_coef)
    primal = primal_of(case, parts, result.matrix, result.intercept)
    dual = dual_of(case, parts, result.dual_coef)
    assert result.primal == pytest.approx(primal, rel=1e-9)
    assert result.dual == pytest.approx(dual, rel=1e-7)
    exact = newton(problem_of(case), tol=1e-9, max_iter=60)
    assert result.dual <= exact.primal * (1 + 1e-9)
    assert exact.dual <= result.primal * (1 + 1e-9)


@some_runs
def test_float32_certificate_is_valid_to_its_rounding(case, solver):
    parts = parts_of(case)
    _, _, value = optimum(case)
    result = SOLVERS[solver](problem_of(case, np.float32), tol=1e-3, max_iter=LIMITS[solver])
    # A problem in single precision is itself a rounded one.
    assert result.dual <= value + 1e-4 * abs(value)
    assert value <= result.primal + 1e-4 * abs(value)
    assert result.relative_gap <= 1e-3
    primal = primal_of(case, parts, result.matrix.astype(np.float64), result.intercept)
    assert result.primal == pytest.approx(primal, rel=1e-4)
    dual = dual_of(case, parts, result.dual_coef.astype(np.float64))
    assert result.dual == pytest.approx(dual, rel=1e-3, abs=1e-3)


# Awkward pairs


@each_solver
@each_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_pairs_without_length_only_move_the_intercept(solver, regularizer, fit_intercept):
    Z, t, c = random_differences()
    Z[::5] = 0
    case = Case("epsilon_insensitive", regularizer, fit_intercept, False, True, "", 1.0)
    problem = simple_problem(Z, t, c, regularizer=regularizer, fit_intercept=fit_intercept)
    result = SOLVERS[solver](problem, tol=GAPS[solver], max_iter=LIMITS[solver])
    parts = Parts(None, None, Z, t, c, np.zeros((3, 3)))
    assert np.all(np.isfinite(result.matrix))
    gap = gap_of(solver, fit_intercept)
    assert result.relative_gap <= gap
    assert_feasible(case, parts, result.dual_coef)
    assert result.primal == pytest.approx(primal_of(case, parts, result.matrix, result.intercept))
    assert result.dual == pytest.approx(dual_of(case, parts, result.dual_coef))
    if not fit_intercept:
        # Their loss is constant.
        other = Z.any(axis=1)
        apart = SOLVERS[solver](
            simple_problem(Z[other], t[other], c[other], regularizer=regularizer),
            tol=1e-9,
            max_iter=LIMITS[solver],
        )
        constant = c[~other] @ FORMULAS[case.loss].value(0.0, t[~other], EPSILON)
        assert_allclose(result.matrix, apart.matrix, atol=2 * np.sqrt(2 * result.gap) + 1e-4)
        assert result.primal == pytest.approx(apart.primal + constant, rel=2 * gap)


@each_solver
@each_regularizer
def test_only_pairs_without_length(solver, regularizer):
    t = np.array([1.0, -2.0])
    result = SOLVERS[solver](
        simple_problem(np.zeros((2, 3)), t, 1.0, regularizer=regularizer), tol=1e-9, max_iter=100
    )
    assert_array_equal(result.matrix, 0)
    assert result.primal == pytest.approx(np.abs(t).sum() - 2 * EPSILON)
    assert result.relative_gap <= 1e-9


@each_solver
@each_regularizer
@pytest.mark.parametrize("t", [2.0, 0.05, -1.0])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("c", [0.01, 10.0])
def test_single_pair_has_a_closed_form(solver, regularizer, t, d, c):
    """M = beta z z^T, beta the clipped excess over the tube; n = 2 samples, P = 1."""
    z = np.arange(1.0, d + 1)
    length = z @ z
    excess = np.sign(t) * max(abs(t) - EPSILON, 0)
    # The length of its matrix, of which a cone may keep a part.
    T = np.diag(z**2) if regularizer in DIAGONAL else np.outer(z, z)
    beta = np.clip(excess / np.sum(T * T), -c, c)
    result = SOLVERS[solver](
        simple_problem(z[None], [t], c, regularizer=regularizer), tol=1e-10, max_iter=2000
    )
    expected = project(regularizer, beta * T, z[None], np.zeros((d, d)))
    assert_allclose(full(result.matrix), expected, atol=1e-5 / length)
    assert result.relative_gap <= 1e-6


@each_solver
@each_regularizer
def test_single_pair_with_intercept_learns_nothing(solver, regularizer):
    result = SOLVERS[solver](
        simple_problem([[1.0, 2.0]], [3.0], 1.0, regularizer=regularizer, fit_intercept=True),
        tol=1e-9,
        max_iter=200,
    )
    assert_allclose(result.matrix, 0, atol=1e-6)
    assert abs(result.intercept - 3) <= EPSILON + 1e-6
    assert result.primal <= 1e-9
    assert abs(result.dual_coef.sum()) <= 1e-12


# Support vector regression and ridge against others


def svr_parts(case):
    """Kernel over the pairs; only the first of a pair that comes twice."""
    parts = parts_of(case)
    return parts, parts.kernel()


@each_accurate_solver
@pytest.mark.parametrize("data", DATA)
def test_epsilon_svr_is_that_of_libsvm(data, solver):
    case = Case("epsilon_insensitive", "symmetric", True, False, True, data, 1.0)
    parts, K = svr_parts(case)
    svr = SVR(kernel="precomputed", C=1.0, epsilon=EPSILON, tol=1e-7, max_iter=10**6)
    svr.fit(K, parts.relations, sample_weight=parts.weights)
    M = np.einsum("p,pi,pj->ij", svr.dual_coef_[0], *2 * [parts.differences[svr.support_]])
    result = SOLVERS[solver](problem_of(case), tol=GAPS[solver], max_iter=LIMITS[solver])
    error = np.linalg.norm(result.matrix - M)
    assert error <= matrix_error_of(solver, True, result, M)
    b = float(svr.intercept_[0])
    gap = max(1e-6, gap_of(solver, True))
    assert result.primal == pytest.approx(primal_of(case, parts, M, b), rel=gap)


NU_CASES = [
    Case("epsilon_insensitive", "symmetric", True, False, False, "diabetes", 1.0),
    Case("epsilon_insensitive", "symmetric", True, False, False, "diabetes", 5.0),
    Case("epsilon_insensitive", "symmetric", True, False, False, "wine", 5.0),
    Case("epsilon_insensitive", "symmetric", True, False, True, "breast_cancer", 1.0),
]


def nu_value(parts, M, b, epsilon, nu):
    errors = np.abs(parts.distances(M) + b - parts.relations)
    fit = parts.weights @ np.maximum(errors - epsilon, 0)
    return 0.5 * np.sum((M - parts.prior) ** 2) + nu * parts.weights.sum() * epsilon + fit


def nu_problem(problem, nu):
    given = {
        field.name: getattr(problem, field.name) for field in fields(AlignmentProblem) if field.init
    }
    return NuAlignmentProblem(**given, nu=nu)


def ridge_problem(problem, C):
    given = {
        field.name: getattr(problem, field.name) for field in fields(AlignmentProblem) if field.init
    }
    return CoefficientRidgeProblem(**given, C=C)


def solve_nu(case, nu, **options):
    problem = nu_problem(problem_of(case), nu)
    options = {"solver": newton, "tol": 1e-5, "max_iter": 1000} | options
    result = nu_svr(problem, **options)
    return result, problem.epsilon_of(result.primal_point)


@pytest.mark.parametrize("nu", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("case", NU_CASES[:2], ids=str)
def test_nu_svr_is_that_of_libsvm(case, nu):
    parts, K = svr_parts(case)
    svr = NuSVR(kernel="precomputed", C=case.C, nu=nu, tol=1e-6, max_iter=10**6).fit(
        K, parts.relations
    )
    M = np.einsum("p,pi,pj->ij", svr.dual_coef_[0], *2 * [parts.differences[svr.support_]])
    b = float(svr.intercept_[0])
    # libsvm keeps its epsilon: it is the error of the free support vectors.
    is_free = np.zeros(len(K), dtype=bool)
    is_free[svr.support_] = np.abs(svr.dual_coef_[0]) < case.C * (1 - 1e-6)
    errors = np.abs(parts.distances(M) + b - parts.relations)
    epsilon_libsvm = np.median(errors[is_free])
    result, epsilon = solve_nu(case, nu)
    assert result.relative_gap <= 1e-5
    bound = np.sqrt(2 * result.gap) + 1e-3 * np.linalg.norm(M)
    assert np.linalg.norm(result.matrix - M) <= bound <= 0.1 * np.linalg.norm(M)
    assert epsilon == pytest.approx(epsilon_libsvm, abs=1e-2)
    value = nu_value(parts, M, b, epsilon_libsvm, nu)
    assert result.primal == pytest.approx(value, rel=3e-5)


@pytest.mark.parametrize(
    ("fit_intercept", "has_prior"),
    [(True, False), (True, True), (False, False)],
    ids=["intercept", "intercept_prior", "origin"],
)
@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite"])
@pytest.mark.parametrize("nu", [0.05, 0.5, pytest.param(0.9, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "case", [NU_CASES[0], pytest.param(NU_CASES[3], marks=pytest.mark.slow)], ids=str
)
def test_nu_svr_is_that_of_cvxpy(case, nu, regularizer, fit_intercept, has_prior):
    case = case._replace(regularizer=regularizer, has_prior=has_prior, fit_intercept=fit_intercept)
    parts = parts_of(case)
    d = len(parts.prior)
    M, b, epsilon = cvxpy.Variable((d, d), symmetric=True), cvxpy.Variable(), cvxpy.Variable()
    rank_one = np.array([np.outer(z, z).ravel() for z in parts.differences])
    errors = cvxpy.abs(rank_one @ cvxpy.vec(M, order="C") + b - parts.relations)
    objective = 0.5 * cvxpy.sum_squares(M - parts.prior) + nu * parts.weights.sum() * epsilon
    objective += parts.weights @ cvxpy.pos(errors - epsilon)
    constraints = [epsilon >= 0, *CONES[regularizer].in_cvxpy(M, parts.differences, parts.prior)]
    if not fit_intercept:
        constraints.append(b == 0)
    task = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    result, found = solve_nu(case, nu)
    assert result.relative_gap <= 1e-5
    assert result.primal == pytest.approx(task.value, rel=2e-5)
    bound = np.sqrt(2 * result.gap) + 1e-3 * np.linalg.norm(M.value)
    assert np.linalg.norm(result.matrix - M.value) <= bound
    # The certificate, by the formulas of the nu form.
    primal = nu_value(parts, result.matrix, result.intercept, found, nu)
    assert result.primal == pytest.approx(primal, rel=1e-9)
    assert_feasible(case, parts, result.dual_coef)
    assert np.abs(result.dual_coef).sum() <= nu * parts.weights.sum() * (1 + 1e-12)
    S = parts.prior + parts.adjoint(result.dual_coef)
    projected = project(regularizer, S, parts.differences, parts.prior)
    dual = 0.5 * np.sum(parts.prior**2) - 0.5 * np.sum(projected**2)
    dual += result.dual_coef @ parts.relations
    assert result.dual == pytest.approx(dual, rel=1e-8)


@pytest.mark.parametrize("nu", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("case", NU_CASES, ids=str)
def test_nu_is_the_share_outside_the_tube(case, nu):
    """At most nu of the weight lies outside, at least nu outside or on the tube."""
    parts = parts_of(case)
    result, epsilon = solve_nu(case, nu)
    errors = np.abs(parts.distances(result.matrix) + result.intercept - parts.relations)
    share = parts.weights / parts.weights.sum()
    assert share @ (errors > epsilon + 1e-3) <= nu + 1e-9
    assert share @ (errors >= epsilon - 1e-3) >= nu - 1e-9


def test_nu_svr_keeps_the_basis_of_its_problem():
    basis = np.eye(5)[:, :3]
    problem = replace(simple_problem(*random_differences()), basis=basis)
    assert nu_problem(problem, 0.5).at(0.1).basis is basis


def test_nu_svr_stops_by_callback_and_by_max_iter():
    seen = []

    def callback(result):
        seen.append(result)
        return len(seen) == 2

    result, _ = solve_nu(NU_CASES[0], 0.3, callback=callback, tol=0)
    assert len(seen) == 2
    assert result.is_interrupted
    result, _ = solve_nu(NU_CASES[0], 0.3, max_iter=2, tol=0)
    assert result.n_iter <= 2
    assert np.isfinite(result.gap)
    assert result.dual <= solve_nu(NU_CASES[0], 0.3)[0].primal <= result.primal


def test_nu_svr_solves_each_problem_from_the_last_one_within_max_iter():
    calls, steps = [], []

    def solver(problem, **options):
        calls.append(options)
        steps.append(newton(problem, **options))
        return steps[-1]

    start = 0.5 * solve_nu(NU_CASES[0], 0.3)[0].dual_coef
    result, _ = solve_nu(NU_CASES[0], 0.3, solver=solver, max_iter=500, dual_coef=start)
    assert len(steps) > 2
    assert calls[0]["dual_coef"] is start
    for call, last in zip(calls[1:], steps, strict=False):
        assert call["dual_coef"] is last.dual_coef
    n_iter = np.cumsum([0] + [step.n_iter for step in steps])
    assert [call["max_iter"] for call in calls] == list(500 - n_iter[:-1])
    assert result.n_iter == n_iter[-1]
    # The solves have to be closer to their optima than all of them to theirs.
    assert max(call["tol"] for call in calls) < 1e-5


def test_nu_svr_with_a_tube_of_half_the_range_learns_the_zero_metric():
    """Balanced classes and nu at the limit: the trap of the source, M = 0 for every C."""
    Z, _, _ = random_differences(n_pairs=20)
    t = np.tile([-1.0, 1.0], 10)
    for C in (1.0, 100.0):
        problem = simple_problem(1e-2 * Z, t, C, fit_intercept=True)
        result = nu_svr(nu_problem(problem, 0.5), solver=newton, tol=1e-8, max_iter=500)
        # Every coefficient would be at most C / 2 at the optimum: the value is that of M = 0.
        assert result.primal <= 0.5 * C * 20 * (1 + 1e-7)
        assert result.relative_gap <= 1e-6


@pytest.mark.parametrize("is_weighted", [False, True], ids=["unit", "weighted"])
@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize(("n_pairs", "d"), [(4, 4), (40, 3), (1, 2)])
def test_coefficient_ridge_has_a_closed_form(n_pairs, d, C, is_weighted):
    Z, t, w = random_differences(n_pairs, d)
    w = w if is_weighted else np.ones(n_pairs)
    K = (Z @ Z.T) ** 2
    a = np.linalg.solve(np.diag(1 / (C * w)) + K @ np.diag(w) @ K, K @ (w * t))
    if not is_weighted:
        textbook = np.linalg.solve(K @ K + np.eye(n_pairs) / C, K @ t)
        assert_allclose(a, textbook, rtol=1e-9)
    problem = simple_problem(Z, t, C * w, loss=Squared())
    result = coefficient_ridge(ridge_problem(problem, C), tol=1e-10, max_iter=100)
    assert_allclose(result.dual_coef, a, rtol=1e-6, atol=1e-8)
    assert_allclose(result.matrix, np.einsum("p,pi,pj->ij", a, Z, Z), atol=1e-8)
    value = 0.5 * np.sum(a**2 / w) + 0.5 * C * w @ (K @ a - t) ** 2
    assert result.primal == pytest.approx(value, rel=1e-8)
    assert result.dual <= value * (1 + 1e-9)
    assert result.relative_gap <= 1e-8


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-12])
@pytest.mark.parametrize("C", [0.1, 10.0])
def test_large_coefficient_ridge_is_solved_by_steps(monkeypatch, C, tol):
    """To the gap that was asked for, not further, and to the end in as many steps as G has ranks.

    The six products of three features are the rank of G.
    """
    monkeypatch.setattr(ridge, "LARGEST_SYSTEM", 5)
    Z, t, w = random_differences(40, 3)
    problem = ridge_problem(simple_problem(Z, t, C * w, loss=Squared()), C)
    result = coefficient_ridge(problem, tol=tol, max_iter=1000)
    K = (Z @ Z.T) ** 2
    a = np.linalg.solve(np.diag(1 / (C * w)) + K @ np.diag(w) @ K, K @ (w * t))
    value = 0.5 * np.sum(a**2 / w) + 0.5 * C * w @ (K @ a - t) ** 2
    assert result.dual <= value * (1 + 1e-12)
    assert value <= result.primal * (1 + 1e-12)
    assert result.relative_gap <= tol
    # The problem is strongly convex in h, which is a in units of its weights.
    error = np.sum((result.dual_coef - a) ** 2 / (C * w))
    assert 0.5 * C * error <= result.gap
    assert 1 <= result.n_iter <= 6
    assert result.n_passes == problem.operator.n_passes == 2 * (1 + 2 * result.n_iter + 2)
    before = coefficient_ridge(problem, tol=tol, max_iter=result.n_iter - 1)
    assert before.n_iter == result.n_iter - 1
    assert before.relative_gap > tol


def test_large_coefficient_ridge_of_no_relations_takes_no_step(monkeypatch):
    monkeypatch.setattr(ridge, "LARGEST_SYSTEM", 5)
    Z, _, w = random_differences(40, 3)
    problem = ridge_problem(simple_problem(Z, np.zeros(40), w, loss=Squared()), 1.0)
    result = coefficient_ridge(problem, tol=1e-6, max_iter=10)
    assert result.n_iter == 0
    assert_array_equal(result.dual_coef, 0)


@pytest.mark.parametrize("n_pairs", [5, 6, 7, 40])
def test_coefficient_ridge_takes_the_smaller_side(monkeypatch, n_pairs):
    """d (d + 1) / 2 = 6 products of features."""
    sizes = []
    eigh = ridge.linalg.eigh

    def recorded(matrix):
        sizes.append(len(matrix))
        return eigh(matrix)

    monkeypatch.setattr(ridge.linalg, "eigh", recorded)
    Z, t, w = random_differences(n_pairs, 3)
    problem = simple_problem(Z, t, w, loss=Squared())
    assert coefficient_ridge(ridge_problem(problem, 1.0), tol=1e-6, max_iter=10).n_iter == 1
    assert sizes == [min(n_pairs, 6)]


@pytest.mark.parametrize("n_pairs", [20, 54], ids=["pairs", "products"])
@pytest.mark.parametrize("C", [1e-4, 1e-10])
def test_coefficient_ridge_of_pairs_that_are_the_same_is_not_made_of_rounding(n_pairs, C):
    """K has one eigenvalue, beside which the rounding of the others is larger than sqrt(C)."""
    rng = np.random.default_rng(0)
    z, w = 300 * rng.normal(size=8), rng.uniform(0.1, 3, n_pairs)
    t = 1 + 0.1 * rng.normal(size=n_pairs)
    problem = simple_problem(np.tile(z, (n_pairs, 1)), t, C * w, loss=Squared())
    result = coefficient_ridge(ridge_problem(problem, C), tol=1e-6, max_iter=100)
    # Of the sum s of the coefficients, which are as large as the weights.
    K = (z @ z) ** 2
    s = C * K * (w @ t) / (1 / w.sum() + C * w.sum() * K**2)
    value = 0.5 * s**2 / w.sum() + 0.5 * C * w @ (K * s - t) ** 2
    assert result.primal == pytest.approx(value, rel=1e-9)
    assert_allclose(result.dual_coef, s * w / w.sum(), rtol=1e-6)


def ridge_formulas(Z, t, c, C, a, distances):
    """Values of a, and of the residual of given distances, in long double; size of the terms."""
    Z, t, c, a, distances = (
        np.asarray(values, dtype=np.longdouble) for values in (Z, t, c, a, distances)
    )
    G = np.sqrt(c)[:, None] * (Z @ Z.T) ** 2 * np.sqrt(c)
    u, h, v = np.sqrt(c) * t, a / np.sqrt(c), np.sqrt(c) * (t - distances)
    primal = (np.sum((u - G @ h) ** 2) + C * (h @ h)) / 2
    image = np.sum((G @ v) ** 2) / (2 * C)
    return primal, u @ v - v @ v / 2 - image, primal + np.abs(u) @ np.abs(v) + image


@pytest.mark.parametrize("kind", ["any", "without_matrix", "optimal"])
@pytest.mark.parametrize("C", [1e-3, 10.0, 1e6, 1e10])
def test_values_of_coefficient_ridge_and_their_rounding(kind, C):
    """The bound on the rounding is one, and a hundred roundings of the largest term at most."""
    Z, t, w = random_differences(40, 3)
    K = (Z @ Z.T) ** 2
    problem = ridge_problem(simple_problem(Z, t, C * w, loss=Squared()), C)
    for size in (1e-3, 1.0, 1e6):
        a = size * np.random.default_rng(5).normal(size=40)
        if kind == "without_matrix":  # the matrices of the pairs cancel
            kernel = null_space(K)
            a = kernel @ (kernel.T @ a)
        elif kind == "optimal":
            a = np.linalg.solve(np.diag(1 / (C * w)) + K @ np.diag(w) @ K, K @ (w * t))
        primal, dual = problem.points(a)
        formulas = ridge_formulas(Z, t, C * w, C, a, primal.distances)
        exact_primal, exact_dual, largest = formulas
        rounding = problem.rounding(primal, dual)
        assert abs(primal.value - exact_primal) + abs(dual.value - exact_dual) <= rounding
        assert rounding <= 100 * np.finfo(float).eps * largest
        assert primal.intercept == 0
        combination = np.einsum("p,pi,pj->ij", C * w * (t - primal.distances), Z, Z)
        for matrix in (dual.combination, dual.stationary, dual.projection.matrix):
            assert_allclose(matrix, combination, atol=1e-9 * np.linalg.norm(C * w * t))


@pytest.mark.parametrize("length", [1.0, 2.0**-14])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ridge_is_certified_in_double_precision_in_any_units(length, dtype):
    """The squared norm of M is in other units than the gap, and not compared with it."""
    Z, t, w = random_differences(40, 3)
    # Powers of two, so that single precision has the same samples.
    Z, C = length * np.round(64 * Z) / 64, 8 / length**8
    problem = ridge_problem(simple_problem(Z, t, C * w, loss=Squared(), dtype=dtype), C)
    seen = []
    result = solve(problem, coefficient_ridge, tol=1e-3, max_iter=10, callback=seen.append)
    assert seen[0].n_iter == 1
    assert result.intercept == 0
    a = result.dual_coef
    distances = (Z @ Z.T) ** 2 @ a
    primal, dual, _ = ridge_formulas(Z, t, C * w, C, a, distances)
    assert result.primal == pytest.approx(float(primal), rel=1e-11)
    assert result.dual == pytest.approx(float(dual), rel=1e-4)
    assert result.relative_gap <= 1e-3
    expected = np.einsum("p,pi,pj->ij", a, Z, Z)
    assert_allclose(result.matrix, expected, rtol=1e-5, atol=1e-9 * np.abs(expected).max())
    assert np.any(result.matrix)


@pytest.mark.parametrize(("nearly", "n_iter"), [(1.01, 2), (0.99, 3)])
def test_large_coefficient_ridge_stops_at_its_gap(monkeypatch, nearly, n_iter):
    monkeypatch.setattr(ridge, "LARGEST_SYSTEM", 3)
    Z, t, w = random_differences(5, 3)
    # So short differences that the penalty is some per cent of the value.
    problem = ridge_problem(simple_problem(Z / 2, t, w, loss=Squared()), 1.0)
    cut = coefficient_ridge(problem, tol=0.0, max_iter=2)
    assert 0.5 * np.sum(cut.dual_coef**2 / w) > 0.03 * cut.primal
    tol = nearly * cut.relative_gap
    assert coefficient_ridge(problem, tol=tol, max_iter=10).n_iter == n_iter


def test_reweighted_coefficient_ridge_is_that_of_other_weights():
    Z, t, w = random_differences(20, 3)
    found = ridge_problem(simple_problem(Z, t, 2.0 * w, loss=Squared()), 2.0).reweighted(5.0)
    expected = ridge_problem(simple_problem(Z, t, 10.0 * w, loss=Squared()), 10.0)
    results = (coefficient_ridge(each, tol=1e-9, max_iter=9) for each in (found, expected))
    first, second = (result.dual_coef for result in results)
    assert_allclose(first, second, rtol=1e-9)


def test_coefficient_ridge_stops_at_max_iter(monkeypatch):
    """Cut short, it is still certified. At 6 products the direct solve ends."""
    Z, t, w = random_differences(40, 3)
    problem = simple_problem(Z, t, w, loss=Squared())
    monkeypatch.setattr(ridge, "LARGEST_SYSTEM", 6)
    exact = coefficient_ridge(ridge_problem(problem, 1.0), tol=1e-6, max_iter=2)
    assert exact.relative_gap <= 1e-9
    monkeypatch.setattr(ridge, "LARGEST_SYSTEM", 5)
    result = coefficient_ridge(ridge_problem(problem, 1.0), tol=1e-9, max_iter=2)
    assert result.n_iter == 2
    assert result.dual <= exact.primal * (1 + 1e-9) <= result.primal * (1 + 2e-9)
    assert result.relative_gap > 1e-6


@of_cases(CASES[::5])
def test_iterative_newton_systems_reach_the_same_optimum(monkeypatch, case):
    """Beyond the largest dense system: conjugate gradients inside."""
    monkeypatch.setattr("metricalign.solvers.newton_system.LARGEST_SYSTEM", 2)
    result = newton(problem_of(case), tol=1e-6, max_iter=500)
    assert result.relative_gap <= 1e-6
    assert result.primal == pytest.approx(optimum(case)[2], rel=2e-6)


@of_cases([case for case in CASES if case.regularizer not in DIAGONAL][::5])
def test_rotated_samples_give_the_rotated_metric(case):
    parts, problem = parts_of(case), problem_of(case)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=parts.prior.shape))[0]
    rotated = AlignmentProblem(
        PairOperator(parts.X @ Q, parts.pairs),
        parts.relations,
        parts.weights,
        problem.loss,
        problem.regularizer,
        problem.fit_intercept,
        Q.T @ parts.prior @ Q,
    )
    result = newton(rotated, tol=1e-10, max_iter=300)
    M, _, value = optimum(case)
    assert result.primal == pytest.approx(value, rel=1e-6)
    assert np.linalg.norm(Q @ result.matrix @ Q.T - M) <= 2e-4 * np.linalg.norm(M)


def test_semidefinite_optimum_beats_the_projected_unconstrained_one():
    """Cutting negative eigenvalues afterwards is not the constrained optimum."""
    symmetric = Case("epsilon_insensitive", "symmetric", True, False, False, "wine", 10.0)
    constrained = symmetric._replace(regularizer="positive_semidefinite")
    parts = parts_of(symmetric)
    plain = newton(problem_of(symmetric), tol=1e-8, max_iter=300)
    best = newton(problem_of(constrained), tol=1e-8, max_iter=300)
    cut = project_semidefinite(plain.matrix)
    value = minimize_scalar(lambda b: primal_of(symmetric, parts, cut, b), bounds=(-10, 10)).fun
    assert plain.primal < best.primal < 0.99 * value
    assert isinstance(problem_of(constrained).regularizer, PositiveSemidefinite)


# The parts


def dense_derivative(projection, d, is_diagonal):
    """The derivative as a matrix that maps the entries of a direction."""
    shape = (d,) if is_diagonal else (d, d)
    columns = []
    for k in range(np.prod(shape)):
        unit = np.zeros(np.prod(shape))
        unit[k] = 1
        unit = unit.reshape(shape)
        unit = unit if is_diagonal else (unit + unit.T) / 2
        columns.append(projection.derivative(unit).ravel())
    return np.array(columns).T


@each_regularizer
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
@pytest.mark.parametrize(
    ("n_pairs", "largest", "most", "tolerance"),
    [(4, 2000, 1e9, 1e-9), (40, 2000, 1e9, 1e-9), (40, 2000, 150, 1e-4), (40, 2, 1e9, 1e-4)],
    ids=["gram", "products", "sample", "conjugate_gradients"],
)
def test_newton_system_is_solved(
    monkeypatch, regularizer, fit_intercept, n_pairs, largest, most, tolerance
):
    """(diag(curvature) + T P' T^*) u - b = right and sum u = 0, all four ways."""
    monkeypatch.setattr(newton_system, "LARGEST_SYSTEM", largest)
    monkeypatch.setattr(newton_system, "_MOST_PRODUCTS", int(most))
    Z, t, c = random_differences(n_pairs)
    problem = simple_problem(Z, t, c, regularizer=regularizer, prior=np.diag([0.5, 0.2, -0.3]))
    S = np.diag([1.0, 0.5, -0.7]) + 0.1
    projection = problem.regularizer.project(stored(regularizer, S))
    curvature, right = c + 0.1, t + 1
    solution = newton_system.solve_free(
        problem.operator, projection, curvature, right, fit_intercept
    )
    T = np.array([stored(regularizer, np.outer(z, z)).ravel() for z in Z])
    derivative = dense_derivative(projection, 3, regularizer in DIAGONAL)
    matrix = np.diag(curvature) + T @ derivative @ T.T
    assert np.linalg.norm(T @ derivative @ T.T) > 0.1
    if fit_intercept:
        bordered = np.block([[matrix, -np.ones((n_pairs, 1))], [np.ones((1, n_pairs)), 0]])
        expected = np.linalg.solve(bordered, np.append(right, 0))[:-1]
        assert abs(solution.sum()) <= 1e-10 * np.abs(solution).sum()
    else:
        expected = np.linalg.solve(matrix, right)
    assert_allclose(solution, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite"])
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("ratio", [1e-4, 1e4])
def test_newton_system_in_single_precision(regularizer, fit_intercept, unit, ratio):
    """In all units, where the rule says that it is accurate; by far where pairs hardly meet."""
    Z, t, c = random_differences(30, 8)
    problem = simple_problem(unit * Z, t, c, regularizer=regularizer)
    projection = problem.regularizer.project(
        stored(regularizer, np.diag(np.linspace(-1.0, 2.0, 8)))
    )
    trace = np.sum(problem.operator.squared_lengths**2)
    curvature = ratio * trace * (1 + c)
    assert newton_system.precision_of(problem.operator, curvature) == np.float32
    single, double = (
        newton_system.solve_free(
            problem.operator, projection, curvature, t + 1, fit_intercept, precision
        )
        for precision in (np.float32, np.float64)
    )
    assert 0 < np.abs(single - double).max() <= 1e-2 * np.abs(double).max()


@pytest.mark.parametrize("size", [1e-75, 0.3, 3.0, 3e75])
def test_newton_system_in_a_unit_that_rounds_nothing(size):
    """At the ends of the range as well: the squares of the lengths still are numbers."""
    Z, t, c = random_differences(6)
    unit = 2.0 ** np.round(np.log2(size))

    def solution(unit):
        problem = simple_problem(unit * Z, t, c)
        projection = problem.regularizer.project(np.eye(3))
        curvature, right = unit**2 * c * unit**2, unit**2 * t * unit**2
        return newton_system.solve_free(
            problem.operator, projection, curvature, right, fit_intercept=True
        )

    assert_array_equal(solution(unit), solution(1.0))


def test_newton_system_that_single_precision_would_spoil():
    Z, t, c = random_differences(30)
    operator = simple_problem(Z, t, c).operator
    trace = np.sum(operator.squared_lengths**2)
    assert newton_system.precision_of(operator, 1e-6 * trace) == np.float64
    assert newton_system.precision_of(operator, np.append(trace, 1e30)) == np.float64


@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_newton_system_is_preconditioned_by_a_sample_of_the_pairs(monkeypatch, fit_intercept):
    """Of the right size, since the products of features reach from 1 to 2^-10: without it, or with
    a multiple of it, conjugate gradients take at least 28 passes."""
    n_pairs, d = 2000, 6
    n_products = d * (d + 1) // 2
    monkeypatch.setattr(newton_system, "_MOST_PRODUCTS", 300 * n_products)
    Z, t, _ = random_differences(n_pairs, d)
    problem = simple_problem(Z * 2.0 ** -np.arange(d), t, 1.0)
    projection = problem.regularizer.project(np.eye(d))
    arguments = (problem.operator, projection, np.ones(n_pairs), t, fit_intercept)
    solution = newton_system.solve_free(*arguments)
    assert problem.n_passes <= 24
    # The same sample every time.
    assert_array_equal(newton_system.solve_free(*arguments), solution)


@pytest.mark.parametrize("n_free", [3, 12, 13, 40])
def test_newton_system_takes_the_smaller_side(monkeypatch, n_free):
    """d (d + 1) / 2 = 6 products: up to twice as many pairs go by their own Gram matrix."""
    sizes = []
    factorise = newton_system.factorise

    def recorded(matrix):
        sizes.append(len(matrix))
        return factorise(matrix)

    monkeypatch.setattr(newton_system, "factorise", recorded)
    Z, t, c = random_differences(n_free)
    problem = simple_problem(Z, t, c)
    projection = problem.regularizer.project(np.eye(3))
    newton_system.solve_free(problem.operator, projection, c, t, False)
    assert sizes == [n_free if n_free <= 12 else 6]


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize(("defect", "tolerance"), [(1e-15, 1e-11), (1e-6, 2e-5)])
def test_factor_of_a_singular_matrix(scale, defect, tolerance):
    """What is added to an indefinite matrix is of the size of what it lacks, and found soon."""
    V = np.random.default_rng(0).normal(size=(6, 2))
    matrix = scale * (V @ V.T - defect * np.eye(6))
    factor, is_lower = newton_system.factorise(matrix.copy())
    assert is_lower
    factor = np.tril(factor / np.sqrt(scale))
    assert_allclose(factor @ factor.T, matrix / scale, atol=tolerance)
    regular = V.T @ V
    assert_allclose(
        np.tril(newton_system.factorise(regular.copy())[0]),
        np.linalg.cholesky(regular),
        rtol=1e-12,
    )


@pytest.mark.parametrize("largest", [0.0, np.inf])
def test_factor_beyond_the_range_of_numbers_is_refused(largest):
    with pytest.raises(ValueError, match=r"left the range of numbers.*smaller C"):
        newton_system.factorise(np.diag([largest, -1.0]))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite", "diagonal"])
@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_newton_objective_is_the_penalty_and_the_envelope_of_the_loss(
    loss, regularizer, fit_intercept
):
    """And no step lets it grow."""
    case = Case(loss, regularizer, fit_intercept and loss not in ONE_SIDED, True, True, "wine", 1.0)
    parts, problem = parts_of(case), problem_of(case)
    state = semismooth_newton._State(problem, None)
    lower, upper = FORMULAS[loss].box(parts.relations, parts.weights)
    # The solver's intercept and relations are both less the offset.
    b = state.intercept + problem.offset
    a = parts.distances(full(state.projection.matrix)) + b
    assert_allclose(state.distances + b, a, rtol=1e-9, atol=1e-9)
    # The envelope of each loss, by a fine grid of its dual.
    grid = np.linspace(np.maximum(lower, -9), np.minimum(upper, 9), 20001)
    pull = 0.5 * state.rho * grid**2
    conjugate = FORMULAS[loss].conjugate(grid, parts.relations, parts.weights, EPSILON)
    envelope = np.max(-conjugate - grid * a - pull, axis=0)
    M = full(state.projection.matrix)
    expected = 0.5 * np.sum((M - parts.prior) ** 2) + envelope.sum()
    assert state.value == pytest.approx(expected, rel=1e-4)
    assert state.pull() == pytest.approx(0.5 * state.rho * np.sum(state.dual_coef**2))
    if case.fit_intercept:
        assert abs(state.dual_coef.sum()) <= 1e-12 * np.abs(state.dual_coef).sum()
    for _ in range(4):
        before = state.value
        state.step(problem.stationary_matrix(state.dual_coef))
        assert state.value <= before + 1e-12 * abs(before)


def shifted_to_trace(S, trace):
    """The nearest semidefinite matrix of this trace, or of less."""

    def excess(shift):
        return np.trace(project_semidefinite(S - shift * np.eye(len(S)))) - trace

    shift = brentq(excess, 0, np.abs(S).sum(), xtol=1e-15) if excess(0) > 0 else 0.0
    return project_semidefinite(S - shift * np.eye(len(S)))


# Each regularizer with its price and its proximal step, written down a second time.
PROXIMAL_STEPS = {
    "cone": (PositiveSemidefinite(), lambda M: 0.0, lambda S, size: project_semidefinite(S)),
    "trace_norm": (
        TraceNorm(0.1),
        lambda M: 0.1 * np.trace(M),
        lambda S, size: project_semidefinite(S - 0.1 * size * np.eye(len(S))),
    ),
    "bounded_trace": (BoundedTrace(0.5), lambda M: 0.0, lambda S, size: shifted_to_trace(S, 0.5)),
}


def newton_state(name, C):
    """A problem, the state after a step, and S(beta) there: M - S(beta) is a gradient."""
    case = Case("epsilon_insensitive", "positive_semidefinite", False, False, True, "wine", C)
    problem = replace(problem_of(case), regularizer=PROXIMAL_STEPS[name][0])
    state = semismooth_newton._State(problem, None)
    assert state.step(problem.stationary_matrix(state.dual_coef))
    return problem, state, problem.stationary_matrix(state.dual_coef)


@pytest.mark.parametrize("name", PROXIMAL_STEPS)
def test_step_of_newton_that_only_rises_is_none(monkeypatch, name):
    # The shorter steps would end in rounding.
    monkeypatch.setattr(semismooth_newton, "_GRADIENT_TRIALS", (10, 0.25))
    _, state, target = newton_state(name, 1.0)
    before, M = state.value, state.projection.matrix
    assert not state.step(M + 100 * (M - target))
    assert state.value >= before


@pytest.mark.parametrize("C", [0.1, 1.0])
@pytest.mark.parametrize("name", PROXIMAL_STEPS)
def test_gradient_step_is_the_longest_proximal_step_that_helps(name, C):
    """Of the sizes 1, 1/4, 1/16 and so on."""
    problem, state, target = newton_state(name, C)
    _, price, proximal = PROXIMAL_STEPS[name]
    M, differences = state.projection.matrix, parts_of(CASES[0]).differences

    def value(M):
        a = np.einsum("pi,ij,pj->p", differences, M, differences)
        beta, _ = problem.conjugate.proximal(a, 0.0, state.rho)
        fit = -problem.conjugate.value(beta) - beta @ a - 0.5 * state.rho * np.sum(beta**2)
        return 0.5 * np.sum(M**2) + price(M) + fit

    assert state.value == pytest.approx(value(M))
    steps = [proximal(M + size * (target - M), size) for size in 0.25 ** np.arange(9)]
    expected = next(moved for moved in steps if value(moved) < value(M))
    assert state._gradient_step(copy(state), target)
    assert_allclose(state.projection.matrix, expected, atol=1e-10)
    assert state.value == pytest.approx(value(expected))


def heavy_state(weight, regularizer="positive_semidefinite", loss="epsilon_insensitive"):
    """The state of a problem of this C summed over the pairs, in units that do not matter."""
    case = Case(loss, regularizer, True, True, True, "wine", 1.0)
    parts, problem = parts_of(case), problem_of(case)
    lengths = np.sum(parts.differences**2, axis=1)
    spread = np.std(parts.relations) if loss == "epsilon_insensitive" else 1.0
    total = weight * spread / np.mean(lengths) ** 2
    problem = problem.reweighted(total / parts.weights.sum())
    return parts, problem, semismooth_newton._State(problem, None)


def width_of(state):
    """The errors within which the pull leaves pairs free, in spreads of the relations."""
    return state.rho * state.problem.weights.mean() / state.problem.spread


@pytest.mark.parametrize(
    ("weight", "regularizer", "loss", "stiffness", "width"),
    [
        (0.9e4, "positive_semidefinite", "epsilon_insensitive", 1, 0.3),
        (1.1e4, "positive_semidefinite", "epsilon_insensitive", 32, 1.0),
        (1.1e4, "pair_matrices", "epsilon_insensitive", 32, 1.0),
        (1.1e4, "positive_semidefinite", "squared", 32, 0.0),
        (1e6, "positive_semidefinite", "epsilon_insensitive", 2048, 1.0),
        (1.1e4, "symmetric", "epsilon_insensitive", 1, 0.3),
        (1.1e4, "diagonal", "epsilon_insensitive", 32, 1.0),
    ],
)
def test_large_weight_over_a_cone_pulls_the_metric(weight, regularizer, loss, stiffness, width):
    """By the power of two that leaves a weight of 250 to 500."""
    _, _, state = heavy_state(weight, regularizer, loss)
    assert state.stiffness == stiffness
    assert width_of(state) == pytest.approx(width)


@pytest.mark.parametrize(("excess", "width"), [(0, 1.0), (1, 0.3)])
def test_first_pull_is_not_wide_where_systems_are_large(monkeypatch, excess, width):
    _, problem, state = heavy_state(1e6)
    n_products = state.projection.n_products(problem.operator.n_features)
    monkeypatch.setattr(semismooth_newton, "_FEW_PRODUCTS", n_products - excess)
    assert width_of(semismooth_newton._State(problem, None)) == pytest.approx(width)


@pytest.mark.parametrize(
    ("n_short", "n_halved", "wider", "stiffer"),
    [(1, 1, 1, 1), (2, 1, 3, 1), (1, 2, 1, 2), (5, 5, 3, 2)],
)
def test_pulls_grow_by_what_shortens_the_steps(n_short, n_halved, wider, stiffer):
    _, _, state = heavy_state(1e6)
    state.n_steps = 1
    for _ in range(6):
        assert state.loosen()
    assert state.stiffness == 2048 / 2**6
    assert width_of(state) == pytest.approx(1 / 2**6)
    state.n_steps, state.n_short, state.n_halved = 5, n_short, n_halved
    state.pull_more()
    assert state.stiffness == stiffer * 2048 / 2**6
    assert width_of(state) == pytest.approx(wider / 2**6)
    assert (state.n_steps, state.n_short, state.n_halved) == (0, 0, 0)


@pytest.mark.parametrize(
    ("n_steps", "n_short", "n_halved", "narrower", "stiffness"),
    [
        (2, 2, 0, 2, 512),
        (2, 0, 1, 2, 1024),
        (3, 0, 0, 2, 1024),
        (3, 1, 0, 1, 1024),
        (3, 1, 2, 1, 2048),
    ],
)
def test_pulls_shrink_where_few_steps_were_enough(n_steps, n_short, n_halved, narrower, stiffness):
    _, _, state = heavy_state(1e6)
    state.n_steps = 1
    state.loosen()
    before = width_of(state)
    state.n_steps, state.n_short, state.n_halved = n_steps, n_short, n_halved
    state.loosen()
    assert width_of(state) == pytest.approx(before / narrower)
    assert state.stiffness == stiffness


@pytest.mark.parametrize("regularizer", ["positive_semidefinite", "pair_matrices"])
def test_objective_with_a_pulled_metric(regularizer):
    """The pull is to the center, and the least value over M is what the steps come to."""
    parts, problem, state = heavy_state(1e5, regularizer)
    prior, center = parts.prior, full(state.projection.matrix)
    for _ in range(3):
        s = state.stiffness

        def penalty(M, s=s, center=center):
            return 0.5 * np.sum((M - prior) ** 2) + 0.5 * (s - 1) * np.sum((M - center) ** 2)

        # The pull of M is known up to a constant.
        constant = penalty(center) - state._penalty(center)
        for _ in range(30):
            M = full(state.projection.matrix)
            assert state._penalty(M) + constant == pytest.approx(penalty(M), rel=1e-9)
            a = parts.distances(M) + state.intercept + problem.offset
            assert_allclose(state.distances + state.intercept + problem.offset, a, atol=1e-8)
            dual = problem.dual_point(state.dual_coef)
            if state.is_solved(dual, 1e-6 * problem.size):
                break
            before = state.value
            assert state.step(state.target(dual.stationary))
            assert state.value < before
        # At the minimum M is the projection of the stationary matrix of the pulled problem.
        D = np.einsum("p,pi,pj->ij", state.dual_coef, parts.differences, parts.differences)
        gradient = M - prior + (s - 1) * (M - center) - D
        if regularizer == "positive_semidefinite":
            M_there = project_semidefinite((prior + (s - 1) * center + D) / s)
            assert_allclose(M, M_there, atol=1e-3 * np.abs(M).max())
        assert abs(np.vdot(gradient, M)) <= 1e-2 * s * np.sum(M**2)
        center = M
        assert state.loosen()
        assert_allclose(full(state.projection.matrix), M, atol=1e-9 * np.abs(M).max())


@pytest.mark.parametrize(("fall", "n_iter"), [(0.0, 101), (0.008, 101), (0.012, 150)])
def test_newton_stops_where_its_gap_does_not_fall(monkeypatch, fall, n_iter):
    """By a hundredth in a hundred steps, each of which here moves nothing."""

    class Falling(SolverResult):
        @property
        def gap(self):
            return 1e-8 * (1 - fall) ** (self.n_iter / 99)

    monkeypatch.setattr(semismooth_newton, "SolverResult", Falling)
    monkeypatch.setattr(semismooth_newton._State, "step", lambda state, target: True)
    case = Case("epsilon_insensitive", "positive_semidefinite", False, False, False, "wine", 1.0)
    assert newton(problem_of(case), tol=0.0, max_iter=150).n_iter == n_iter


@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
@pytest.mark.parametrize("first", [1e-3, 1.0])
def test_step_along_a_line_minimises(fit_intercept, first):
    """Against SciPy, over the intercept too, from a first size that is too short or too long."""
    case = Case("epsilon_insensitive", "symmetric", fit_intercept, False, True, "wine", 1.0)
    parts, problem = parts_of(case), problem_of(case)
    rng = np.random.default_rng(0)
    n_inside = 0
    for size in (0.3, 1.0, 3.0, 30.0):
        state = semismooth_newton._State(problem, None)
        noise = rng.normal(size=parts.prior.shape)
        target = problem.stationary_matrix(state.dual_coef)
        moved = size * (target - state.stationary + 1e-3 * (noise + noise.T))
        change = parts.distances(moved)

        def value(step, b, state=state, moved=moved, change=change):
            a = state.distances + step * change + b
            beta, _ = problem.conjugate.proximal(a, state.center, state.rho)
            fit = -problem.conjugate.value(beta) - beta @ a
            M = state.projection.matrix + step * moved
            return 0.5 * np.sum(M**2) + fit - 0.5 * state.rho * np.sum(beta**2)

        def balanced(step, value=value):
            if not fit_intercept:
                return value(step, 0.0), 0.0
            found = minimize_scalar(partial(value, step), bracket=(-1, 1), options={"xtol": 1e-12})
            return found.fun, found.x

        exact = minimize_scalar(
            lambda step, balanced=balanced: balanced(step)[0],
            bounds=(0, 1),
            options={"xatol": 1e-10},
        )
        line = semismooth_newton._Line(state, moved)
        found = line.minimum(first)
        assert_allclose(line.along, change, atol=1e-12 * np.abs(change).max())
        if balanced(1.0)[0] <= exact.fun:
            assert found == 1
        else:
            n_inside += 1
            assert found == pytest.approx(exact.x, rel=0.02)
            fall = balanced(0.0)[0] - exact.fun
            assert value(found, line.intercept) <= exact.fun + 1e-3 * fall
        assert 0 < found <= 1
    assert n_inside > 1


def test_step_along_a_line_that_is_exact_is_taken_whole():
    """1/2 m^2 + 1/2 (m - 2)^2 from 0 to its minimum at 1."""
    state = semismooth_newton._State(simple_problem([[1.0]], [2.0], 1.0, loss=Squared()), None)
    assert semismooth_newton._Line(state, np.ones((1, 1))).minimum(0.1) == 1


def test_step_along_a_line_that_is_far_too_long_is_not_zero():
    state = semismooth_newton._State(simple_problem([[1.0]], [2.0], 1.0, loss=Squared()), None)
    assert 0 < semismooth_newton._Line(state, np.full((1, 1), 1e60)).minimum(1.0) < 1e-30


def test_step_along_a_line_that_rises_is_none():
    state = semismooth_newton._State(simple_problem([[1.0]], [2.0], 1.0, loss=Squared()), None)
    assert semismooth_newton._Line(state, -np.ones((1, 1))).minimum(1.0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("regularizer", ["positive_semidefinite", "symmetric"])
def test_single_precision_ends_where_rounding_does(regularizer):
    """Newton's direction may then rise, and the next one shall not be lost."""
    case = Case("epsilon_insensitive", regularizer, True, False, False, "wine", 1000.0)
    result = newton(problem_of(case, np.float32), tol=1e-12, max_iter=300)
    exact = newton(problem_of(case), tol=1e-6, max_iter=1000)
    assert result.primal <= 1.05 * exact.primal


def test_newton_needs_few_passes():
    """The price of a fit is operator passes; what a faulty step costs shows here first."""
    passes = {}
    for case in CASES:
        if case.data == "wine" and case.regularizer != "pair_matrices":
            result = newton(problem_of(case), tol=1e-9, max_iter=300)
            assert result.relative_gap <= 1e-9
            passes[case] = result.n_passes
    smooth = [n for case, n in passes.items() if case.loss in SMOOTH]
    others = [n for case, n in passes.items() if case.loss not in SMOOTH]
    assert np.median(smooth) <= 30
    assert np.mean(smooth) <= 45
    assert np.median(others) <= 85
    assert np.mean(others) <= 115


def assert_units_do_not_matter(case, what, solve):
    """Powers of two leave all digits as they are: each step is the same, in other units."""
    parts = parts_of(case)
    results = []
    for s in (1.0, 2.0**40, 2.0**-40):
        unit = s if what == "relations" else 1.0
        size = unit if what == "relations" else s**-2  # of M
        scale = unit ** LOSSES[case.loss].degree  # of the loss
        loss_in_units = loss_of(case)
        if "epsilon" in loss_in_units.get_params():
            loss_in_units.set_params(epsilon=unit * EPSILON)
        problem = AlignmentProblem(
            PairOperator(
                parts.X * (s if what == "samples" else 1.0),
                parts.pairs,
                is_diagonal=case.regularizer in DIAGONAL,
            ),
            unit * parts.relations,
            parts.weights * size**2 / scale,
            loss_in_units,
            REGULARIZERS[case.regularizer](),
            case.fit_intercept,
            size * stored(case.regularizer, parts.prior) if case.has_prior else None,
        )
        result = solve(problem)
        results.append((result.n_iter, result.matrix / size, result.intercept / unit))
    for n_iter, matrix, intercept in results[1:]:
        assert n_iter == results[0][0]
        assert_array_equal(matrix, results[0][1])
        assert intercept == results[0][2]


@pytest.mark.parametrize(("solver", "max_iter"), [("newton", 25), ("projected_gradient", 8)])
@each_quick_regularizer
@pytest.mark.parametrize(
    ("what", "loss"),
    # The margins of hinge and logistic are given.
    [("samples", loss) for loss in LOSSES]
    + [("relations", loss) for loss in LOSSES if loss not in CLASSES],
)
def test_units_do_not_matter(solver, max_iter, regularizer, loss, what):
    case = Case(loss, regularizer, loss not in ONE_SIDED, loss != "hinge", True, "wine", 1.0)
    assert_units_do_not_matter(case, what, partial(SOLVERS[solver], tol=1e-4, max_iter=max_iter))


@pytest.mark.parametrize("what", ["samples", "relations"])
def test_units_do_not_matter_to_a_large_weight(what):
    """Over a cone, where the pull grows."""
    case = Case("epsilon_insensitive", "positive_semidefinite", True, True, True, "wine", 1e4)
    assert_units_do_not_matter(case, what, partial(newton, tol=1e-4, max_iter=30))


@pytest.mark.parametrize("what", ["samples", "relations"])
@pytest.mark.parametrize("case", [NU_CASES[1], NU_CASES[3]], ids=str)
def test_units_do_not_matter_to_nu_svr(case, what):
    def solve(problem):
        return nu_svr(nu_problem(problem, 0.3), solver=newton, tol=1e-4, max_iter=1000)

    assert_units_do_not_matter(case, what, solve)


@pytest.mark.parametrize("loss", ["squared", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("regularizer", ["positive_semidefinite", "diagonal"])
def test_newton_ends_where_rounding_allows_no_progress(loss, regularizer):
    """A gap below zero is out of reach: it has to see that by itself, close to the optimum."""
    case = Case(loss, regularizer, False, False, True, "wine", 1.0)
    result = newton(problem_of(case), tol=-1.0, max_iter=2000)
    assert result.n_iter < 100
    assert result.relative_gap <= 1e-12


@of_cases(CASES[::7])
def test_balanced_step_has_sum_zero_at_its_intercept(case):
    """Any proximal step, from any start; the intercept is a root of a falling sum."""
    problem, parts = problem_of(case), parts_of(case)
    rng = np.random.default_rng(1)
    for trial in range(12):
        distances = 10.0 ** rng.integers(-2, 3) * rng.uniform(-1, 1, len(parts.weights))
        center = parts.weights * rng.uniform(-1, 1, len(parts.weights))
        penalty = 10.0 ** rng.integers(-3, 3)
        start = (0.0, 1.0, -50.0, 1e6)[trial % 4]
        b, beta, response = problem.balanced(distances, center, penalty, start)
        step, free = problem.conjugate.proximal(distances + b, center, penalty)
        size = parts.weights.mean()
        if case.fit_intercept:
            assert abs(beta.sum()) <= 1e-14 * np.abs(beta).sum() + 1e-300
        else:
            assert b == 0
            assert_array_equal(response, free)
        # Rounding of b moves a stiff step, else it is that of b.
        moved = 16 * np.spacing(max(abs(b), 100.0)) / penalty
        assert_allclose(beta, step, atol=1e-12 * size + moved)
        assert_feasible(case, parts, beta)
        h = 1e-3
        above, below = (
            problem.conjugate.proximal(distances + b + s, center, penalty)[0].sum() for s in (h, -h)
        )
        if case.fit_intercept:
            assert above <= 1e-9 * size <= below + 2e-9 * size


@of_cases(CASES[::7])
def test_balanced_step_of_some_of_the_pairs(case):
    """With the others held where they are at the root, it is the same as that of all."""
    problem, parts = problem_of(case), parts_of(case)
    rng = np.random.default_rng(3)
    distances = rng.uniform(-1, 1, len(parts.weights))
    center = parts.weights * rng.uniform(-1, 1, len(parts.weights))
    b, beta, _ = problem.balanced(distances, center, 0.5, 0.0)
    some, others = np.split(rng.permutation(len(beta)), [len(beta) // 2])
    found = problem.balanced(
        distances[some],
        center[some],
        0.5,
        b + 0.3 * case.fit_intercept,
        problem.conjugate.restricted(some),
        beta[others].sum(),
    )
    assert_allclose(found[1], beta[some], atol=1e-9 * np.abs(beta).max())
    if case.fit_intercept:
        assert abs(found[1].sum() + beta[others].sum()) <= 1e-13 * np.abs(beta).sum()


def test_balance_beyond_the_range_of_numbers_is_refused():
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c, fit_intercept=True)
    with pytest.raises(ValueError, match=r"No intercept balances.*Scale X.*smaller C"):
        problem.balanced(np.full(30, np.inf), 0.0, 1.0, 0.0)


@pytest.mark.parametrize("start", [0.0, 1e3])
@pytest.mark.parametrize("distance", [1e20, 1e70, 1e120])
def test_balance_of_the_distances_of_a_bad_step(distance, start):
    """The search does not stop before their size, beside which the relations are nothing."""
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c, loss=Squared(), fit_intercept=True)
    spread = np.linspace(1, 2, 30)
    b, beta, _ = problem.balanced(distance * spread, 0.0, 0.0, start * distance)
    assert b == pytest.approx(-distance * (c @ spread) / c.sum(), rel=1e-12)
    assert abs(beta.sum()) <= 1e-13 * np.abs(beta).sum()


def test_balance_takes_few_steps(monkeypatch):
    """The sum is piecewise linear: Newton steps find the root of a few hundred pairs fast."""
    Z, t, c = random_differences(300)
    problem = simple_problem(Z, t, c, fit_intercept=True)
    n_steps = []
    proximal = problem.conjugate.proximal

    def counted(*arguments):
        n_steps[-1] += 1
        return proximal(*arguments)

    monkeypatch.setattr(problem.conjugate, "proximal", counted)
    rng = np.random.default_rng(0)
    for start in (0.0, 3.0, -100.0):
        for penalty in (1e-2, 1.0, 10.0):
            n_steps.append(0)
            problem.balanced(3 * rng.uniform(size=300), 0.0, penalty, start)
    assert max(n_steps) <= 20
    assert np.median(n_steps) <= 10


@of_cases(CASES[::7])
def test_feasible_coefficients_are_the_nearest(case):
    problem, parts = problem_of(case), parts_of(case)
    rng = np.random.default_rng(2)
    lower, upper = FORMULAS[case.loss].box(parts.relations, parts.weights)
    wild = parts.weights * rng.uniform(-3, 3, len(parts.weights))
    found = problem.feasible(wild)
    assert_feasible(case, parts, found)
    if case.fit_intercept:
        # The projection on the box and the plane: a clip after a shift.
        def total(shift):
            return np.clip(wild - shift, lower, upper).sum()

        shift = brentq(total, -1e3, 1e3, xtol=1e-15)
        expected = np.clip(wild - shift, lower, upper)
    else:
        expected = np.clip(wild, lower, upper)
    assert_allclose(found, expected, atol=1e-6 * parts.weights.mean())


def test_problem_keeps_what_it_was_given():
    Z, t, c = random_differences()
    prior = np.diag([1.0, 2.0, 3.0])
    problem = simple_problem(Z, t, c, loss=Squared(), prior=prior)
    assert problem.spread == pytest.approx(np.std(t))
    assert problem.size == pytest.approx(c @ (t**2 / 2) + 7)
    assert simple_problem(Z, np.full(30, -3.0), c).spread == 3
    assert simple_problem(Z, np.zeros(30), c).spread == 1
    assert_array_equal(simple_problem(Z, t, c).prior, np.zeros((3, 3)))
    single = simple_problem(Z, t, c, dtype=np.float32)
    assert single.prior.dtype == np.float64
    assert single.distances(np.eye(3, dtype=np.float32)).dtype == np.float64


def test_basis_goes_with_the_problem():
    Z, t, c = random_differences()
    basis = np.eye(5)[:, :3]
    operator = PairOperator(Z, np.column_stack([np.arange(30), np.roll(np.arange(30), 1)]))
    problem = AlignmentProblem(operator, t, c, Squared(), Symmetric(), False, None, basis)
    for each in (problem, problem.reweighted(2.0), problem.in_double_precision()):
        assert each.basis is basis


def test_reweighted_problem_has_the_other_weights_and_counts_anew():
    Z, t, c = random_differences()
    problem = simple_problem(
        Z, t, c, regularizer="positive_semidefinite", prior=np.diag([1.0, 2.0, 0.0])
    )
    problem.distances(np.eye(3))
    assert problem.n_passes == 1
    other = problem.reweighted(3.0)
    assert other.n_passes == 0
    assert_allclose(other.weights, 3 * c)
    assert_array_equal(other.relations, t)
    assert_array_equal(other.prior, problem.prior)
    assert other.loss is problem.loss
    assert other.fit_intercept == problem.fit_intercept
    other.distances(np.eye(3))
    assert (other.n_passes, problem.n_passes) == (1, 2)
    expected = newton(
        simple_problem(Z, t, 3 * c, regularizer="positive_semidefinite", prior=problem.prior),
        tol=1e-9,
        max_iter=100,
    )
    assert newton(other, tol=1e-9, max_iter=100).primal == pytest.approx(expected.primal, rel=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_certificate_of_a_single_precision_solve_is_in_double_precision(fit_intercept):
    case = Case(
        "epsilon_insensitive", "positive_semidefinite", fit_intercept, True, True, "wine", 1.0
    )
    exact, problem = parts_in_double(case), problem_of(case, np.float32)
    result = newton(problem, tol=1e-3, max_iter=100)
    single = result.primal, result.dual
    certify(problem, result)
    assert (result.primal, result.dual) != single
    M = result.matrix
    assert M.dtype == np.float64
    assert result.primal == pytest.approx(primal_of(case, exact, M, result.intercept), rel=1e-12)
    assert result.dual == pytest.approx(dual_of(case, exact, result.dual_coef), rel=1e-12)
    assert 0 < result.rounding < 1e-10 * result.primal
    # In double precision the bounds stay, to rounding.
    double = problem_of(case)
    result = newton(double, tol=1e-3, max_iter=100)
    bounds = result.primal, result.dual
    certify(double, result)
    assert (result.primal, result.dual) == pytest.approx(bounds, rel=1e-12)


def test_single_precision_goes_on_in_double_where_rounding_stops_it():
    case = Case("epsilon_insensitive", "positive_semidefinite", True, False, False, "wine", 1.0)
    problem = problem_of(case, np.float32)
    seen = []

    def solver(problem, **options):
        seen.append(problem.operator.dtype)
        return newton(problem, **options)

    result = solve(problem, solver, tol=1e-10, max_iter=500)
    assert seen == [np.float32, np.float64]
    assert result.is_solved(problem, 1e-10)
    assert result.n_iter == len(result.history) > 1
    passes = [entry[0] for entry in result.history]
    assert passes == sorted(passes)
    exact = newton(problem_of(case), tol=1e-10, max_iter=500)
    assert np.linalg.norm(result.matrix - exact.matrix) < 1e-4 * np.linalg.norm(exact.matrix)


@each_solver
def test_single_precision_gives_way_to_double_where_numbers_leave_its_range(solver):
    Z, t, c = random_differences()
    # Beyond the largest float32, but not its square beyond the largest float64.
    prior = np.diag([1e39, 2e40, 0.0])
    single, double = (
        solve(
            replace(simple_problem(Z, t, c, dtype=dtype), prior=prior),
            SOLVERS[solver],
            tol=1e-3,
            max_iter=20,
        )
        for dtype in (np.float32, np.float64)
    )
    assert np.all(np.isfinite(single.matrix))
    assert single.primal == pytest.approx(double.primal, rel=1e-5)


@pytest.mark.parametrize("n_iter", [1, 3])
def test_single_precision_goes_on_in_double_with_what_is_left(n_iter):
    """Further steps start from what was reached, within `max_iter` steps of both."""
    Z, t, c = random_differences()
    problem, start = simple_problem(Z, t, c, dtype=np.float32), 0.1 * c
    seen = []

    def solver(problem, *, tol, max_iter, dual_coef, callback):
        seen.append((problem.operator.dtype, max_iter, dual_coef))
        if problem.is_double:
            raise KeyboardInterrupt
        result = newton(problem, tol=tol, max_iter=n_iter, dual_coef=dual_coef, callback=callback)
        found.append(result)
        return result

    found = []
    with pytest.raises(KeyboardInterrupt):
        solve(problem, solver, tol=1e-12, max_iter=9, dual_coef=start)
    assert [entry[:2] for entry in seen] == [(np.float32, 9), (np.float64, 9 - n_iter)]
    assert seen[0][2] is start
    assert_array_equal(seen[1][2], found[0].dual_coef)
    # Where all steps are taken, what was reached is the answer.
    assert solve(problem, solver, tol=1e-12, max_iter=n_iter, dual_coef=start) is found[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solve_keeps_the_start_and_the_steps_of_a_solve_that_is_made_anew(dtype):
    problem, start = simple_problem(*random_differences(), dtype=dtype), np.zeros(30)
    seen = []

    def solver(problem, **options):
        seen.append((problem.operator.dtype, options))
        if not problem.is_double:
            raise OutOfRangeError("Scale X.")
        return newton(problem, **options)

    def callback(result):
        return result.n_iter == 2

    result = solve(problem, solver, tol=1e-9, max_iter=7, dual_coef=start, callback=callback)
    options = {"tol": 1e-9, "max_iter": 7, "dual_coef": start, "callback": callback}
    types = [np.float32, np.float64] if dtype == np.float32 else [np.float64]
    assert seen == [(each, options) for each in types]
    assert result.n_iter == 2


@pytest.mark.parametrize(
    ("distance", "gap", "is_solved"),
    [
        (0.0, 0.009, True),
        (0.0, 0.011, False),
        (0.0, 0.99, False),
        (1.0, 0.99, True),
        (1.0, 1.01, False),
    ],
)
def test_gap_near_the_prior_is_a_hundredth(distance, gap, is_solved):
    """The gap is in units of `tol` times the objective."""
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c, regularizer="symmetric", prior=np.eye(3))
    projection = problem.regularizer.project(np.eye(3) * (1 + distance))
    point = problem.primal_point(projection, problem.distances(projection.matrix), 0.0)
    dual = problem.dual_point(problem.feasible(np.zeros(30)))
    tol = 1e-4
    result = SolverResult(point, replace(dual, value=point.value * (1 - gap * tol)))
    assert result.is_solved(problem, tol) is is_solved


def test_range_that_double_precision_leaves_too_is_told():
    problem = simple_problem(*random_differences(), dtype=np.float32)
    seen = []

    def solver(problem, **options):
        seen.append(problem.operator.dtype)
        raise OutOfRangeError("Scale X.")

    with pytest.raises(ValueError, match="Scale X"):
        solve(problem, solver, tol=1e-3, max_iter=9)
    assert seen == [np.float32, np.float64]


@pytest.mark.parametrize("loss", LOSSES)
def test_prior_point_has_the_best_intercept(loss):
    """By a search of the sum of the losses, which is convex in the intercept."""
    Z, t, c = random_differences()
    t = np.sign(t) if loss in CLASSES else t
    prior, has_intercept = np.diag([1.0, 0.3, -0.2]), loss not in ONE_SIDED
    parts = LOSSES[loss]().resolved(1.0), "positive_semidefinite", has_intercept, prior
    point = simple_problem(
        Z, t, c, **dict(zip(("loss", "regularizer", "fit_intercept", "prior"), parts, strict=True))
    ).prior_point()
    allowed = np.diag([1.0, 0.3, 0.0])
    assert_array_equal(point.matrix, allowed)
    distances = np.einsum("pi,ij,pj->p", Z, allowed, Z)

    def value(b):
        return 0.5 * 0.2**2 + c @ FORMULAS[loss].value(distances + b, t, 0.1)

    low, high = (-100.0, 100.0) if has_intercept else (0.0, 0.0)
    for _ in range(100):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if value(left) < value(right) else (left, high)
    assert point.value == pytest.approx(value(low), rel=1e-12)
    assert point.value == pytest.approx(value(point.intercept), rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metric_that_no_bound_tells_from_the_prior_gives_way_to_a_better_prior(dtype):
    """Both kinds of pairs are along one direction and equally long: no metric tells them apart."""
    Z = np.outer(np.array([1.0, 1.0, -1.0]), np.array([2600.0, 1300.0]))
    parts = {"loss": Hinge(), "regularizer": "positive_semidefinite", "fit_intercept": True}
    problem = simple_problem(Z, [1.0, 1.0, -1.0], 1e-6, dtype=dtype, **parts)
    # The one pair of the other kind costs its whole weight, twice.
    assert problem.prior_point().value == pytest.approx(2e-6, rel=1e-12)
    projection = problem.regularizer.project(1e-9 * np.eye(2))
    near = problem.primal_point(projection, problem.distances(projection.matrix), 0.999)
    dual = replace(problem.dual_point(np.array([5e-7, 5e-7, -1e-6])), value=2e-6 - 1e-18)
    result = SolverResult(near, dual)
    certify(problem, result)
    assert not np.any(result.matrix)
    assert result.gap < 1e-17
    # It stays where somebody chose to stop at it.
    result = SolverResult(near, dual)
    result.is_interrupted = True
    certify(problem, result)
    assert_array_equal(result.matrix, near.matrix)
    # One that is better than the prior stays, though the gap is larger than its part.
    t = np.array([1.0, 1.0, 2.0])
    problem = simple_problem(Z, t, 1e-15, regularizer="symmetric", loss=Squared())
    result = newton(problem, tol=1e-3, max_iter=100)
    result.dual_point = replace(result.dual_point, value=-1.0)
    certify(problem, result)
    assert np.any(result.matrix)


def test_result_keeps_the_best():
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c)

    def primal(value, size, b):
        projection = problem.regularizer.project(size * np.eye(3))
        return PrimalPoint(projection, problem.distances(projection.matrix), b, b, value)

    def dual(value, coef):
        return replace(problem.dual_point(coef), value=value)

    result = SolverResult(primal(7.0, 1.0, 0.5))
    assert (result.primal, result.dual, result.gap) == (7.0, -np.inf, np.inf)
    assert result.dual_coef is None
    result.improve_primal(primal(5.0, 2.0, 1.5))
    result.improve_primal(primal(6.0, 1.0, 2.5))
    assert (result.primal, result.intercept) == (5.0, 1.5)
    assert_array_equal(result.matrix, 2 * np.eye(3))
    result.improve_dual(dual(4.0, t))
    result.improve_dual(dual(3.0, c))
    assert result.dual == 4
    assert result.dual_coef is t
    before = problem.n_passes
    assert not result.record(problem, 0.1)
    assert (result.gap, result.relative_gap) == (1.0, 0.2)
    assert (result.n_iter, result.n_passes, result.is_interrupted) == (1, before, False)
    problem.distances(np.eye(3))
    assert result.record(problem, 0.1, lambda seen: seen is result)
    assert result.is_interrupted is True
    assert result.history == [(before, 5.0, 4.0), (before + 1, 5.0, 4.0)]
    assert result.n_iter == 2
    assert result.record(problem, 0.2)
    # No gap is below the rounding of the two values, and there is no point in going on.
    result.improve_dual(dual(np.nextafter(5.0, 0), t))
    assert result.record(problem, 0.0)
    assert result.gap == result.rounding > 5.0 - result.dual
    assert result.relative_gap > 0


@pytest.mark.parametrize(("dual", "is_refused"), [(1.00049, False), (1.0051, True), (2.0, True)])
def test_dual_value_above_the_primal_value_is_refused(dual, is_refused):
    """Up to a thousandth it is taken for rounding, and then is the gap."""
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c)
    result = newton(problem, tol=1e-9, max_iter=100)
    result.dual_point = replace(result.dual_point, value=dual * result.primal)
    if is_refused:
        with pytest.raises(ValueError, match=r"dual value .* above the primal value.*cannot be"):
            certify(problem, result)
    else:
        certify(problem, result)
        assert result.relative_gap == pytest.approx(dual - 1, rel=1e-6)


def test_result_without_bounds_is_refused():
    Z, t, c = random_differences()
    problem = simple_problem(Z, t, c)
    result = newton(problem, tol=1e-9, max_iter=100)
    for point in (None, replace(result.dual_point, value=np.nan)):
        result.dual_point = point
        with pytest.raises(ValueError, match=r"range of numbers. Scale X"):
            certify(problem, result)


@pytest.mark.parametrize("offset", [1e3, 1e7, 1e11])
@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared", "squared_epsilon_insensitive"])
def test_offset_that_the_intercept_takes_changes_nothing(loss, offset):
    Z, t, c = random_differences()
    # Multiples of a power of two: adding the offset rounds nothing.
    t = np.round(t * 2**8) / 2**8
    near, far = (
        newton(
            simple_problem(
                Z,
                t + shift,
                c,
                loss=loss_named(loss),
                fit_intercept=True,
                regularizer="positive_semidefinite",
            ),
            tol=1e-8,
            max_iter=200,
        )
        for shift in (0.0, offset)
    )
    # Beside a large offset the intercept has fewer digits.
    rounding = np.spacing(offset)
    assert_allclose(far.matrix, near.matrix, rtol=1e-6, atol=1e-9 + rounding)
    assert far.intercept - offset == pytest.approx(near.intercept, abs=1e-6 + 100 * rounding)
    assert far.gap <= 1e-8 * far.primal + c.sum() * rounding


@pytest.mark.parametrize(
    "regularizer", [regularizer for regularizer in REGULARIZERS if regularizer not in DIAGONAL]
)
def test_rounding_of_the_bounds_is_known(regularizer):
    """Against values in extended precision, where the terms are far larger than the objective."""
    rng = np.random.default_rng(0)
    wide = np.longdouble
    for size in (1e-3, 1.0, 1e4):
        Z, t, c = random_differences()
        A = rng.normal(size=(3, 3))
        prior = size * (A @ A.T)
        problem = simple_problem(
            Z, t, 1e-4 * c, loss=Squared(), regularizer=regularizer, prior=prior
        )
        result = newton(problem, tol=1e-6, max_iter=200)
        certify(problem, result)
        M = result.matrix.astype(wide)
        a = np.einsum("pi,ij,pj->p", Z.astype(wide), M, Z.astype(wide))
        value = ((M - prior) ** 2).sum() / 2 + (1e-4 * c) @ (a - t) ** 2 / 2
        assert abs(value - result.primal) <= result.rounding
        assert result.rounding <= 1e-6 * max(result.primal, problem.floor)


@pytest.mark.parametrize("loss", [Squared(), SquaredEpsilonInsensitive(1e-30)])
@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite", "diagonal"])
@pytest.mark.parametrize("solver", [newton, quasi_newton])
def test_relations_that_differ_by_rounding_only_are_fitted_by_no_metric(loss, regularizer, solver):
    Z, t, c = random_differences()
    for relations in (np.full_like(t, 0.3), np.where(t > np.median(t), 0.3, 0.1 + 0.2)):
        problem = simple_problem(
            Z, relations, c, loss=loss, fit_intercept=True, regularizer=regularizer
        )
        result = solve(problem, solver, tol=1e-3, max_iter=100)
        assert result.relative_gap <= 1e-3
        assert np.linalg.norm(result.matrix) < 1e-15
        assert result.intercept == pytest.approx(0.3, rel=1e-15)
        # Where the objective is not of rounding, the gap is divided by it.
        assert problem.floor < 1e-28 * c.sum()


@pytest.mark.parametrize("side", [-1, 1])
def test_intercept_needs_pairs_of_both_kinds(side):
    Z, _, c = random_differences()
    with pytest.raises(ValueError, match=r"Hinge.*same side.*fit_intercept=False"):
        simple_problem(Z, np.full(30, side), c, loss=Hinge(), fit_intercept=True)
    assert not simple_problem(Z, np.full(30, side), c, loss=Hinge()).fit_intercept
    both = np.where(np.arange(30) > 0, side, -side)
    assert simple_problem(Z, both, c, loss=Hinge(), fit_intercept=True).fit_intercept


@pytest.mark.parametrize("is_centered", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_step_of_the_gradient_method_is_bounded_by_the_pair_kernel(seed, is_centered):
    Z, t, c = random_differences(30, 3, seed)
    K = (Z @ Z.T) ** 2
    if is_centered:
        K = K - K.mean(axis=0)
        K = K - K.mean(axis=1, keepdims=True)
    largest = np.linalg.eigvalsh(K)[-1]
    found = accelerated_gradient._largest_eigenvalue(simple_problem(Z, t, c).operator, is_centered)
    assert largest <= found <= 1.0501 * largest


def test_gradient_method_takes_the_longer_steps_that_an_intercept_allows():
    """The centred kernel is less than a third of the kernel here, which asks for 932 steps."""
    Z, t, _ = random_differences()
    problem = simple_problem(np.column_stack([np.full(30, 3.0), Z]), t, 1.0, fit_intercept=True)
    result = projected_gradient(problem, tol=1e-4, max_iter=600)
    assert result.relative_gap <= 1e-4


def test_step_of_the_gradient_method_without_any_length():
    for Z, is_centered in [(np.zeros((2, 3)), False), (np.ones((1, 3)), True)]:
        operator = simple_problem(Z, np.ones(len(Z)), 1.0).operator
        assert accelerated_gradient._largest_eigenvalue(operator, is_centered) == 1


# To a relative gap of 1e-4; more steps show that one is too short or not accelerated.
@pytest.mark.parametrize(
    ("solver", "median", "largest"), [("projected_gradient", 35, 450), ("quasi_newton", 45, 200)]
)
def test_first_order_solvers_need_no_more_steps_than_they_should(solver, median, largest):
    steps = []
    for case, _ in (run.values for run in RUNS if run.values[1] == solver):
        result = SOLVERS[solver](problem_of(case), tol=1e-4, max_iter=3000)
        assert result.relative_gap <= 1e-4
        steps.append(result.n_iter)
    assert np.median(steps) <= median
    assert max(steps) <= largest


@pytest.mark.parametrize("nu", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("case", NU_CASES[1:3], ids=str)
def test_nu_svr_solves_few_epsilon_svrs(case, nu):
    seen = []
    result, _ = solve_nu(case, nu, callback=seen.append)
    assert result.relative_gap <= 1e-5
    assert len(seen) <= 25


@pytest.mark.parametrize("fit_intercept", [False, True], ids=["origin", "intercept"])
def test_nu_svr_bounds_of_any_point(fit_intercept):
    """Given M and b the best epsilon; given beta its part within the budget."""
    case = NU_CASES[3]._replace(
        fit_intercept=fit_intercept, regularizer="positive_semidefinite", has_prior=True
    )
    parts, problem = parts_of(case), problem_of(case)
    rng = np.random.default_rng(0)
    budget = 0.3 * parts.weights.sum()
    for size in (0.1, 1.0, 10.0):
        search = nu_module._Search(nu_problem(problem, 0.3))
        assert search.problem.budget == pytest.approx(budget)
        # At first: beta = 0, and the tube that holds every error.
        prior = project_semidefinite(parts.prior)
        errors = parts.relations - parts.distances(prior)
        reach = np.ptp(errors) / 2 if fit_intercept else np.abs(errors).max()
        assert search.high[:2] == pytest.approx((reach, -budget))
        assert search.high[2].tolist() == [0] * len(errors)
        assert search.low is None
        start = search.result.primal
        b = 0.5 * (errors.max() + errors.min()) if fit_intercept else 0.0
        exact = minimize_scalar(
            lambda e, M=prior, b=b: nu_value(parts, M, b, e, 0.3), bounds=(0, reach)
        )
        assert start == pytest.approx(exact.fun, rel=1e-5)
        epsilon = search.problem.epsilon_of(search.result.primal_point)
        assert epsilon == pytest.approx(exact.x, abs=1e-3)
        M = project_semidefinite(prior + 0.01 * size * np.diag(rng.normal(size=len(prior))))
        M = problem.regularizer.project(M)
        distances, shift = problem.distances(M.matrix), b - problem.offset
        search.result = SolverResult(search.problem.primal_point(M, distances, shift))
        M, epsilon = M.matrix, search.problem.epsilon_of(search.result.primal_point)
        exact = minimize_scalar(lambda e, M=M, b=b: nu_value(parts, M, b, e, 0.3), bounds=(0, 9))
        assert search.result.primal == pytest.approx(exact.fun, rel=1e-5)
        assert search.result.primal == pytest.approx(nu_value(parts, M, b, epsilon, 0.3))
        beta = size * parts.weights * rng.uniform(-0.5, 0.5, len(parts.weights))
        beta = problem.feasible(np.clip(beta, -parts.weights, parts.weights))
        search.improve_dual(beta)
        kept = beta * min(1, budget / np.abs(beta).sum())
        S = parts.prior + parts.adjoint(kept)
        value = 0.5 * np.sum(parts.prior**2) - 0.5 * np.sum(project_semidefinite(S) ** 2)
        assert_allclose(search.result.dual_coef, kept, rtol=1e-12)
        assert search.result.dual == pytest.approx(value + kept @ parts.relations, rel=1e-9)


def test_nu_of_one_needs_no_tube():
    """The sum of all weights, taken in another order, may be below W by rounding."""
    parts, problem = parts_of(NU_CASES[3]), problem_of(NU_CASES[3])
    problem = nu_problem(problem, 1.0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        projection = problem.regularizer.project(np.diag(rng.normal(size=len(parts.prior))))
        distances = problem.distances(projection.matrix)
        point = problem.primal_point(projection, distances, 0.1 - problem.offset)
        value = nu_value(parts, projection.matrix, 0.1, 0.0, 1.0)
        assert point.value == pytest.approx(value, rel=1e-12)


def test_nu_svr_in_single_precision_is_certified_in_double():
    case = NU_CASES[1]
    parts = parts_in_double(case)
    problem = nu_problem(problem_of(case, np.float32), 0.3)
    result = solve(problem, partial(nu_svr, solver=newton), tol=1e-3, max_iter=500)
    epsilon = problem.epsilon_of(result.primal_point)
    exact, _ = solve_nu(case, 0.3)
    assert result.relative_gap <= 1e-3
    assert result.primal == pytest.approx(exact.primal, rel=1e-3)
    assert result.dual <= exact.primal * (1 + 1e-9)
    primal = nu_value(parts, result.matrix, result.intercept, epsilon, 0.3)
    assert result.primal == pytest.approx(primal, rel=1e-9)


@each_solver
@pytest.mark.parametrize("regularizer", ["symmetric", "positive_semidefinite"])
def test_gap_tells_the_metric_from_none(solver, regularizer):
    """Where 1/2 norm(M)^2 is below the gap that was asked for, M would be as good as zero."""
    case = Case("epsilon_insensitive", regularizer, True, False, False, "wine", 1.0)
    problem = problem_of(case).reweighted(1e-4)
    exact = newton(problem, tol=1e-9, max_iter=1000)
    penalty = problem.penalty(exact.matrix)
    assert penalty < 1e-2 * exact.primal
    result = SOLVERS[solver](problem, tol=1e-2, max_iter=1000)
    assert result.relative_gap <= 1e-2
    assert result.gap < problem.penalty(result.matrix)
    # Both are in the same ball around the optimum, which zero is not in.
    assert np.linalg.norm(result.matrix - exact.matrix) < np.linalg.norm(exact.matrix)


def test_loosely_balanced_coefficients_stay_in_the_box():
    """Otherwise pairs that are said to balance the others would not be able to."""
    problem = problem_of(Case("epsilon_insensitive", "symmetric", True, False, False, "wine", 1.0))
    lower, upper = problem.conjugate.lower, problem.conjugate.upper
    rng = np.random.default_rng(0)
    for penalty in (0.3, 1.0, 3.0):
        for _ in range(20):
            distances = problem.relations + rng.normal(size=len(lower)) * rng.uniform(0.1, 3)
            center = rng.uniform(lower, upper)
            exact, *_ = problem.balanced(distances, center, penalty, 0.0)
            start = exact + rng.normal()
            _, dual_coef, _ = problem.balanced(distances, center, penalty, start, tolerance=0.5)
            assert np.all((lower <= dual_coef) & (dual_coef <= upper))
            assert abs(dual_coef.sum()) <= 0.5 * np.abs(dual_coef).sum()
            some = np.flatnonzero(rng.random(len(lower)) < 0.1)
            others = -dual_coef[some].sum()
            conjugate = problem.conjugate.restricted(some)
            _, found, _ = problem.balanced(
                distances[some], center[some], penalty, start, conjugate, others
            )
            assert found.sum() + others == pytest.approx(0, abs=1e-12 * np.abs(found).sum())


@pytest.mark.parametrize("far", [1e2, 5e3, 1e6])
def test_intercept_is_found_far_in_the_tail_of_a_smooth_loss(far):
    """Where all coefficients are at their bounds to the last digit, and no slope is left."""
    Z, t, c = random_differences()
    t = np.where(t > np.median(t), 1.0, -1.0)
    problem = simple_problem(Z, t, c, loss=Logistic(), fit_intercept=True)
    distances = far + np.linspace(0, 1, len(t))
    for start in (0.0, far, -3 * far):
        b, beta, _ = problem.balanced(distances, 0.0, 0.0, start)
        assert abs(beta.sum()) <= 1e-12 * np.abs(beta).sum()
        assert -far - 60 < b < -far + 60


# A large weight hides the share that the metric itself has of the objective.
ignore_share = pytest.mark.filterwarnings("ignore:.*cannot tell the learned metric:UserWarning")


def large_weight_data(name):
    if name == "generated":
        X, y = make_classification(
            2000, n_features=30, n_informative=8, n_classes=4, random_state=0
        )
    else:
        X, y = {"wine": load_wine, "breast_cancer": load_breast_cancer}[name](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return (X[::2], y[::2]) if name == "wine" else (X, y)


@ignore_share
@pytest.mark.parametrize("ratio", [1e2, pytest.param(1e3, marks=pytest.mark.slow), 1e4])
@pytest.mark.parametrize("method", [PSDSVR, RAMLNCSVR, PCML, NCML])
@pytest.mark.parametrize("data", ["wine", "breast_cancer", "generated"])
def test_a_large_weight_takes_tens_of_steps(data, method, ratio):
    X, y = large_weight_data(data)
    scale = method().fit(X, y).C_
    learner = method(C=ratio * scale, max_iter=100).fit(X, y)
    assert learner.converged_
    assert learner.dual_gap_ <= learner.tol


@ignore_share
def test_a_dual_value_that_is_far_off_for_long_does_not_end_a_fit():
    """The objective falls all the while; the dual value gets better after some 200 steps only."""
    X, y = large_weight_data("breast_cancer")
    learner = DoubletSVM(C=1e4).fit(X, y)
    assert learner.converged_
    assert learner.dual_gap_ <= learner.tol


@ignore_share
@pytest.mark.parametrize("method", [PSDSVR, RAMLNCSVR, PCML, NCML])
def test_a_very_large_weight_converges(method):
    X, y = large_weight_data("breast_cancer")
    learner = method(C=7e5, tol=1e-6, max_iter=300).fit(X[:200, :8], y[:200])
    assert learner.dual_gap_ <= 1e-6
