import cvxpy
import numpy as np
import pytest
from formulas import CONES, pair_coefficients
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from priced_regularizers import BoundedTrace, TraceNorm
from scipy import linalg, sparse

from metricalign import RelationAlignment
from metricalign.operators import PairOperator
from metricalign.regularizers import (
    REGULARIZERS,
    PairMatrices,
    PositiveSemidefinite,
    Projection,
    Regularizer,
    Shrinkage,
    SpectralRegularizer,
)
from metricalign.regularizers.pair_matrices import _block_pivoting, _PairProjection

SUBSPACES = {"symmetric"}
DIAGONAL = {"diagonal"}  # whose matrices are vectors
SHIFTED = {"above_prior"}  # the apex is the prior
# Regularizers from outside of the package, which are no cones.
PRICED = {"trace_norm": TraceNorm(0.4), "bounded_trace": BoundedTrace(1.5)}
each_regularizer = pytest.mark.parametrize("name", REGULARIZERS)
each_with_a_derivative = pytest.mark.parametrize("name", [*REGULARIZERS, *PRICED])


def symmetric(n_features, seed, scale=1.0):
    matrix = np.random.default_rng(seed).normal(size=(n_features, n_features))
    return scale * (matrix + matrix.T) / 2


def conjugate(projection, S):
    """Bound on the largest <M, S> - norm(M)^2 / 2 over the cone."""
    M = projection.matrix.astype(np.float64)
    return np.vdot(M, S) - 0.5 * np.sum(M * M) + projection.slack


def stored(name, matrix):
    """A matrix as the cone takes it."""
    return np.diag(matrix).copy() if name in DIAGONAL else matrix


def full(matrix):
    """A matrix as it is, whatever the cone writes for it."""
    return np.diag(matrix) if matrix.ndim == 1 else matrix


def differences_of(n_features):
    """More pairs than products of features, some twice, some without length."""
    Z = np.random.default_rng(17).normal(size=(n_features * (n_features + 1), n_features))
    return np.concatenate([Z, -Z[:2], np.zeros((1, n_features))])


def prior_of(n_features):
    return symmetric(n_features, 18)


def pair_operator(Z, dtype=np.float64, **options):
    """Pair p joins the origin and sample p + 1."""
    Z = np.atleast_2d(np.asarray(Z, dtype=dtype))
    X = np.concatenate([np.zeros((1, Z.shape[1]), dtype=dtype), Z])
    pairs = np.column_stack([np.zeros(len(Z), dtype=int), np.arange(1, len(Z) + 1)])
    return PairOperator(X, pairs, **options)


def make_regularizer(name, n_features, dtype=np.float64):
    """Regularizer of the problem that the two functions above describe."""
    if name in PRICED:
        return PRICED[name]
    operator = pair_operator(differences_of(n_features), dtype, is_diagonal=name in DIAGONAL)
    return REGULARIZERS[name]().for_problem(
        operator, stored(name, prior_of(n_features).astype(dtype))
    )


def apex_of(name, n_features):
    return prior_of(n_features) * (name in SHIFTED)


def nearest_combination(S, Z):
    """Coefficients of the nearest nonnegative combination of z z^T, and the combination."""
    coef = pair_coefficients(S, Z)
    return coef, np.einsum("p,pi,pj->ij", coef, Z, Z)


def special_matrices():
    """Where a projection has to choose: ties, zeros, both signs, one sign only."""
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    spectra = [[0, 0, 0, 0], [2, 2, -1, -1], [3, 0, 0, -2], [4, 3, 2, 1], [-1, -2, -2, -4]]
    return [(Q * eigenvalues) @ Q.T for eigenvalues in np.array(spectra, dtype=float)]


GENERIC = [symmetric(d, seed) for seed, d in enumerate([1, 2, 3, 4, 5, 6])]
SPECIAL = [(S + S.T) / 2 for S in special_matrices()]
each_matrix = pytest.mark.parametrize(
    "S",
    GENERIC + SPECIAL,
    ids=[f"random{len(S)}" for S in GENERIC]
    + ["zero", "double", "singular", "positive", "negative"],
)
each_generic = pytest.mark.parametrize("S", GENERIC, ids=lambda S: f"random{len(S)}")
square = arrays(np.float64, (4, 4), elements=st.floats(-10, 10, width=32))


def cvxpy_projection(S, constraints):
    M = cvxpy.Variable(S.shape, **({"symmetric": True} if S.ndim == 2 else {}))
    task = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(M - S)), constraints(M))
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return M.value


@each_regularizer
@each_matrix
def test_projection_is_the_nearest_matrix_by_cvxpy(name, S):
    d = len(S)
    projected = make_regularizer(name, d).project(stored(name, S)).matrix
    expected = cvxpy_projection(
        S, lambda matrix: CONES[name].in_cvxpy(matrix, differences_of(d), prior_of(d))
    )
    assert_allclose(full(projected), expected, atol=1e-5)


@pytest.mark.parametrize("name", PRICED)
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
@each_matrix
def test_proximal_step_is_the_minimiser_by_cvxpy(name, step, S):
    """1/2 norm(M - S)^2 + step R(M), with R written down a second time."""
    projection = PRICED[name].project(S, step)
    M = cvxpy.Variable(S.shape, symmetric=True)
    if name == "trace_norm":
        price, constraints = step * 0.4 * cvxpy.trace(M), [M >> 0]
    else:
        price, constraints = 0.0, [M >> 0, cvxpy.trace(M) <= 1.5]
    task = cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(M - S) + price), constraints)
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert_allclose(projection.matrix, M.value, atol=1e-5)
    expected = 0.4 * np.trace(projection.matrix) if name == "trace_norm" else 0.0
    assert projection.value == pytest.approx(expected, abs=1e-12)
    assert projection.slack == 0


@pytest.mark.parametrize("name", PRICED)
@each_matrix
def test_allowed_matrix_stays_at_a_step_of_zero(name, S):
    allowed = PRICED[name].project(S).matrix
    assert_allclose(PRICED[name].project(allowed, 0.0).matrix, allowed, atol=1e-12)


@each_regularizer
@each_generic
def test_cvxpy_constraints_are_the_cone(name, S):
    regularizer, S = make_regularizer(name, len(S)), stored(name, S)
    prices = []

    def constraints(matrix):
        price, found = regularizer.expression(matrix)
        prices.append(price)
        return found

    assert_allclose(cvxpy_projection(S, constraints), regularizer.project(S).matrix, atol=1e-5)
    assert prices == [0]


@each_regularizer
@settings(max_examples=60)
@given(A=square, B=square)
def test_projection_laws(name, A, B):
    """Moreau: P(S) and S - P(S) are orthogonal, one in the cone, one in its polar cone."""
    A, B = stored(name, (A + A.T) / 2), stored(name, (B + B.T) / 2)
    regularizer, apex = make_regularizer(name, 4), stored(name, apex_of(name, 4))
    projection = regularizer.project(A)
    P, Q = projection.matrix, regularizer.project(B).matrix
    size = 1 + np.linalg.norm(A) + np.linalg.norm(B) + np.linalg.norm(apex)
    rounding = 1e-10 if name == "pair_matrices" else 1e-12
    assert_allclose(P, P.T, atol=1e-13 * size)
    assert_allclose(regularizer.project(P).matrix, P, atol=rounding * size)
    assert abs(np.vdot(P - apex, A - P)) <= rounding * size**2
    assert np.vdot(Q - apex, A - P) <= rounding * size**2
    assert np.linalg.norm(P - Q) <= np.linalg.norm(A - B) + rounding * size
    assert_allclose(
        regularizer.project(apex + 3 * (A - apex)).matrix,
        apex + 3 * (P - apex),
        atol=3 * rounding * size,
    )
    # No matrix of the cone has a larger value than the conjugate, and the projection has it.
    for M in (P, Q, apex, apex + 2 * (P - apex), (P + Q) / 2):
        assert conjugate(projection, A) >= np.vdot(M, A) - 0.5 * np.sum(M * M) - 1e-12 * size**2
    assert projection.slack == pytest.approx(0, abs=1e-10 + 1e-9 * abs(conjugate(projection, A)))


@each_regularizer
@each_matrix
def test_projection_lies_in_the_cone(name, S):
    d = len(S)
    P = full(make_regularizer(name, d).project(stored(name, S)).matrix)
    if name == "pair_matrices":
        assert_allclose(nearest_combination(P, differences_of(d))[1], P, atol=1e-10)
        assert np.linalg.eigvalsh(P)[0] >= -1e-13
        return
    M = cvxpy.Variable(S.shape, symmetric=True)
    M.value = P
    for constraint in CONES[name].in_cvxpy(M, None, prior_of(d)):
        assert np.max(constraint.violation()) <= 1e-12


@each_regularizer
def test_is_subspace_iff_the_projection_is_linear(name):
    regularizer = make_regularizer(name, 5)
    A, B = stored(name, symmetric(5, 1)), stored(name, symmetric(5, 2))
    together = regularizer.project(A - 2 * B).matrix
    apart = regularizer.project(A).matrix - 2 * regularizer.project(B).matrix
    assert regularizer.is_subspace == np.allclose(together, apart)
    assert regularizer.is_subspace == (name in SUBSPACES)
    assert regularizer.is_diagonal == (name in DIAGONAL)


@each_with_a_derivative
@each_generic
def test_derivative_is_that_of_the_projection(name, S):
    regularizer, D = make_regularizer(name, len(S)), stored(name, symmetric(len(S), 99))
    S, h = stored(name, S), 1e-5
    change = (regularizer.project(S + h * D).matrix - regularizer.project(S - h * D).matrix) / (
        2 * h
    )
    assert_allclose(regularizer.project(S).derivative(D), change, atol=1e-7)


@each_with_a_derivative
@each_matrix
def test_derivative_is_self_adjoint_between_zero_and_identity(name, S):
    projection = make_regularizer(name, len(S)).project(stored(name, S))
    D, E = stored(name, symmetric(len(S), 98)), stored(name, symmetric(len(S), 99))
    changed = projection.derivative(D)
    assert_allclose(changed, changed.T, atol=1e-12)
    assert np.vdot(changed, E) == pytest.approx(np.vdot(D, projection.derivative(E)), abs=1e-10)
    assert -1e-10 <= np.vdot(changed, D) <= np.vdot(D, D) + 1e-10


@each_with_a_derivative
@each_matrix
def test_gram_is_that_of_the_derivative_on_rank_one_matrices(name, S):
    projection = make_regularizer(name, len(S)).project(stored(name, S))
    Z = np.random.default_rng(3).normal(size=(7, len(S)))
    Z[2] = 0
    Z[5] = -Z[1]
    T = [stored(name, np.outer(z, z)) for z in Z]
    expected = np.array([[np.vdot(p, projection.derivative(q)) for q in T] for p in T])
    assert_allclose(projection.gram(Z), expected, atol=1e-9)
    products = projection.products(Z)
    assert products.shape == (7, projection.n_products(len(S)))
    assert_allclose(products @ products.T, expected, atol=1e-9)


def test_another_projection_has_to_claim_the_span_itself():
    class Bounded(PositiveSemidefinite):
        def project(self, matrix, step=1.0):
            return super().project(np.minimum(matrix, 1), step)

    class Renamed(PositiveSemidefinite):
        pass

    assert PositiveSemidefinite.keeps_span
    assert PositiveSemidefinite.keeps_span_of_identity
    assert Renamed.keeps_span
    assert not Bounded.keeps_span
    assert not Bounded.keeps_span_of_identity
    # A multiple of the identity is no sum of pairs.
    assert PairMatrices.keeps_span
    assert not PairMatrices.keeps_span_of_identity


class MinusLogDeterminant(SpectralRegularizer):
    """-log det M, which moves eigenvalues away from zero."""

    def shrink(self, eigenvalues, step):
        root = np.sqrt(eigenvalues**2 + 4 * step)
        positive = 0.5 * (eigenvalues + root)
        return Shrinkage(positive, positive / root)

    def price(self, eigenvalues):
        return -np.log(eigenvalues).sum()


def test_a_step_that_moves_zero_eigenvalues_sees_all_features():
    """With fewer samples than features: no difference leads out of the span, but the price does."""
    X = np.random.default_rng(0).normal(size=(6, 9))
    learner = RelationAlignment(cone=MinusLogDeterminant(), C=1.0, tol=1e-8)
    matrix = learner.fit(X, np.arange(6) % 2).matrix_
    # There the objective is 1/2 mu^2 - log mu, of which the best is 1.
    outside = linalg.null_space(X - X.mean(axis=0))
    assert outside.shape[1] == 4
    assert_allclose(outside.T @ matrix @ outside, np.eye(4), atol=1e-6)


@each_with_a_derivative
@each_matrix
def test_coordinates_are_sums_of_products(name, S):
    """From the sum of matrices; their adjoint after them is the derivative."""
    d = len(S)
    projection = make_regularizer(name, d).project(stored(name, S))
    rng = np.random.default_rng(4)
    Z, weight = rng.normal(size=(7, d)), rng.normal(size=7)
    total = stored(name, np.einsum("p,pi,pj->ij", weight, Z, Z))
    coordinates = projection.coordinates(total)
    assert coordinates.shape == (projection.n_products(d),)
    assert_allclose(coordinates, weight @ projection.products(Z), atol=1e-9)
    assert_allclose(
        projection.from_coordinates(coordinates), projection.derivative(total), atol=1e-8
    )
    other = rng.normal(size=len(coordinates))
    back = projection.from_coordinates(other)
    assert_allclose(back, back.T, atol=1e-12)
    assert np.vdot(back, total) == pytest.approx(other @ coordinates, abs=1e-8)
    single = projection.from_coordinates(other.astype(np.float32))
    assert_allclose(single, back, atol=1e-4)


@each_with_a_derivative
def test_coordinates_keep_their_digits_where_the_projection_is_in_single_precision(name):
    """The systems of Newton are solved in double precision, and their two maps are adjoint."""
    projection = make_regularizer(name, 5, np.float32).project(
        stored(name, symmetric(5, 0, 3.0)).astype("f")
    )
    total = stored(name, symmetric(5, 1))
    coordinates = projection.coordinates(total)
    other = np.cos(np.arange(len(coordinates)))
    back = projection.from_coordinates(other)
    assert coordinates.dtype == back.dtype == np.float64
    assert np.vdot(back, total) == pytest.approx(other @ coordinates, rel=1e-12)


@pytest.mark.parametrize("n_positive", [0, 1, 3, 6])
def test_semidefinite_n_products_is_the_rank_of_the_derivative(n_positive):
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    eigenvalues = np.where(np.arange(6) < n_positive, 1.0, -1.0) * np.arange(1, 7)
    projection = make_regularizer("positive_semidefinite", 6).project((Q * eigenvalues) @ Q.T)
    basis = []
    for i in range(6):
        for j in range(i, 6):
            unit = np.zeros((6, 6))
            unit[i, j] = unit[j, i] = 1
            basis.append(projection.derivative(unit).ravel())
    assert projection.n_products(6) == np.linalg.matrix_rank(np.array(basis), tol=1e-9)


@each_regularizer
def test_derivative_at_the_apex_lets_a_metric_grow(name):
    """At S = 0 a Newton step must not be frozen in the cone's corner."""
    D = stored(name, np.diag([1.0, 2.0, 0.0]))
    projection = make_regularizer(name, 3).project(stored(name, apex_of(name, 3)))
    assert_array_equal(projection.matrix, stored(name, apex_of(name, 3)))
    assert_allclose(projection.derivative(D), D, atol=1e-10)


@each_regularizer
def test_float32_stays_float32(name):
    # A sum of pairs is found in double precision.
    precision = np.float64 if name == "pair_matrices" else np.float32
    S, D = stored(name, symmetric(5, 0)), stored(name, symmetric(5, 1))
    Z = np.random.default_rng(3).normal(size=(7, 5))
    double = make_regularizer(name, 5).project(S)
    projection = make_regularizer(name, 5, np.float32).project(S.astype(np.float32))
    single = Z.astype(np.float32)
    changed = projection.derivative(D.astype(np.float32))
    assert projection.matrix.dtype == changed.dtype == precision
    assert_allclose(projection.matrix, double.matrix, atol=1e-4)
    assert_allclose(changed, double.derivative(D), atol=1e-3)
    assert_allclose(projection.gram(single), double.gram(Z), atol=1e-3)
    # The upper bound of an inexact projection may be wider in single precision.
    assert conjugate(projection, S) == pytest.approx(conjugate(double, S), rel=1e-4)
    assert projection.gram(single).dtype == projection.products(single).dtype == precision


@each_with_a_derivative
def test_input_is_read_only(name):
    S = stored(name, symmetric(4, 0))
    before = S.copy()
    S.flags.writeable = False
    projection = make_regularizer(name, 4).project(S)
    Z = np.random.default_rng(3).normal(size=(5, 4))
    Z.flags.writeable = False
    assert projection.gram(Z).shape == (5, 5)
    assert projection.products(Z).shape[0] == 5
    assert projection.derivative(S).shape == S.shape
    assert_array_equal(S, before)


@each_regularizer
@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_scale_of_the_matrix_does_not_matter(name, scale):
    S, operator = stored(name, symmetric(4, 0)), pair_operator(differences_of(4))
    prior = stored(name, apex_of(name, 4))
    expected = REGULARIZERS[name]().for_problem(operator, prior).project(S).matrix
    scaled = REGULARIZERS[name]().for_problem(operator, scale * prior).project(scale * S).matrix
    assert_allclose(scaled, scale * expected, atol=1e-12 * scale)


@each_regularizer
def test_bound_leaves_the_cone_as_it_was(name):
    """One object serves several problems."""
    regularizer = REGULARIZERS[name]()
    S = stored(name, symmetric(3, 0))
    bound = [
        regularizer.for_problem(
            pair_operator(Z, is_diagonal=name in DIAGONAL), stored(name, symmetric(3, seed))
        )
        for seed, Z in enumerate([differences_of(3), np.eye(3)])
    ]
    matrices = [each.project(S).matrix for each in bound]
    assert_allclose(bound[0].project(S).matrix, matrices[0], atol=1e-12)
    assert np.allclose(*matrices) == (name not in {"pair_matrices", "above_prior"})


@pytest.mark.parametrize("n_features", [1, 3, 6])
def test_above_a_prior_of_zero_is_positive_semidefinite(n_features):
    S = symmetric(n_features, 5)
    regularizer = REGULARIZERS["above_prior"]().for_problem(None, np.zeros_like(S))
    above, semidefinite = (
        regularizer.project(S),
        REGULARIZERS["positive_semidefinite"]().project(S),
    )
    assert_allclose(above.matrix, semidefinite.matrix, atol=1e-14)
    assert above.slack == semidefinite.slack == 0


# Pair matrices


def random_pairs(n_pairs, n_features, seed=0):
    return np.random.default_rng(seed).normal(size=(n_pairs, n_features))


def project_on_pairs(S, Z, dtype=np.float64):
    regularizer = REGULARIZERS["pair_matrices"]().for_problem(pair_operator(Z, dtype), None)
    return regularizer.project(S.astype(dtype))


def degenerate_pairs():
    Z = random_pairs(6, 3)
    return {
        "twice": np.repeat(Z, 2, axis=0),
        "reversed": np.concatenate([Z, -Z]),
        "multiples": np.concatenate([Z, 3 * Z, 1e-3 * Z, -0.5 * Z]),
        "no_length": np.concatenate([Z, np.zeros((2, 3))]),
        "only_no_length": np.zeros((2, 3)),
        "nearly_twice": np.concatenate([Z, Z + 1e-9]),
        "single": Z[:1],
        "collinear": np.outer([1.0, -2.0, 0.5], [1.0, 2.0, 3.0]),
        "plane": Z * [1, 1, 0],
        "unequal_lengths": Z * 10.0 ** np.arange(-3, 3)[:, None],
        "many": random_pairs(300, 3),
        "one_feature": random_pairs(5, 1),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", degenerate_pairs())
def test_pair_projection_of_degenerate_pairs_is_that_of_scipy(kind, seed):
    Z = degenerate_pairs()[kind]
    S = symmetric(Z.shape[1], seed, scale=3.0)
    projection = project_on_pairs(S, Z)
    _, expected = nearest_combination(S, Z)
    assert_allclose(projection.matrix, expected, atol=1e-8)
    assert np.all(projection.coef >= 0)
    assert np.all(projection.coef[~Z.any(axis=1)] == 0)
    combined = np.einsum("p,pi,pj->ij", projection.coef, Z, Z)
    assert_allclose(projection.matrix, combined, atol=1e-12)
    value = 0.5 * np.sum(expected**2)
    assert value * (1 - 1e-12) <= conjugate(projection, S) <= value * (1 + 1e-8) + 1e-9
    # Optimality: no pair's matrix makes an acute angle with the residual.
    residual = S - projection.matrix
    lengths = np.maximum(np.sum(Z * Z, axis=1), 1e-300)
    slopes = np.einsum("pi,ij,pj->p", Z, residual, Z) / lengths
    assert np.all(slopes <= 1e-9)
    assert_allclose(slopes[projection.coef > 0], 0, atol=1e-8)
    # The derivative is a projection on the span of some pairs.
    D = symmetric(Z.shape[1], 50)
    changed = projection.derivative(D)
    assert_allclose(projection.derivative(changed), changed, atol=1e-6)


@pytest.mark.parametrize("kind", degenerate_pairs())
def test_pair_projection_where_exchanges_come_to_no_end(monkeypatch, kind):
    """The other way, which always ends, from nothing and from another support."""
    monkeypatch.setattr("metricalign.regularizers.pair_matrices._N_CHANCES", 0)
    Z = degenerate_pairs()[kind]
    regularizer = REGULARIZERS["pair_matrices"]().for_problem(pair_operator(Z), None)
    for seed in range(3):
        S = symmetric(Z.shape[1], seed, scale=3.0)
        _, expected = nearest_combination(S, Z)
        assert_allclose(regularizer.project(S).matrix, expected, atol=1e-8)


def test_pair_projection_inside_in_the_polar_cone_and_at_zero():
    Z = random_pairs(12, 3)
    inside = np.einsum("p,pi,pj->ij", np.random.default_rng(1).uniform(1, 2, 12), Z, Z)
    assert_allclose(project_on_pairs(inside, Z).matrix, inside, atol=1e-10)
    assert_allclose(project_on_pairs(inside, Z).derivative(np.eye(3)), np.eye(3), atol=1e-8)
    for S in (-inside, -np.eye(3)):
        projection = project_on_pairs(S, Z)
        assert_array_equal(projection.matrix, 0)
        assert_array_equal(projection.coef, 0)
        assert projection.slack == 0
    at_zero = project_on_pairs(np.zeros((3, 3)), Z)
    assert_array_equal(at_zero.matrix, 0)
    assert at_zero.slack == 0
    assert_array_equal(at_zero.derivative(inside), inside)
    assert_array_equal(project_on_pairs(-inside, Z).derivative(np.eye(3)), 0)
    assert project_on_pairs(-inside, Z).products(Z).shape == (12, 0)


@pytest.mark.parametrize("n_features", [1, 4])
def test_pair_projection_in_single_precision(n_features):
    Z, S = random_pairs(30, n_features), symmetric(n_features, 3)
    projection = project_on_pairs(S, Z, np.float32)
    _, expected = nearest_combination(S, Z)
    assert_allclose(projection.matrix, expected, atol=1e-4)
    assert conjugate(projection, S) >= 0.5 * np.sum(expected**2) * (1 - 1e-5)


def test_pair_projection_follows_a_moving_matrix():
    """The last support is only where the search starts."""
    Z = random_pairs(60, 4)
    regularizer = REGULARIZERS["pair_matrices"]().for_problem(pair_operator(Z), None)
    for seed in range(12):
        S = symmetric(4, seed, scale=10.0 ** (seed % 3 - 1)) + (seed % 2) * np.eye(4)
        _, expected = nearest_combination(S, Z)
        size = np.linalg.norm(S)
        assert_allclose(regularizer.project(S).matrix, expected, atol=1e-9 * size)
        # and nothing of it is lost at a matrix that projects to zero
        if seed % 4 == 3:
            assert_array_equal(regularizer.project(-np.eye(4)).matrix, 0)


def test_pair_projections_for_steps_are_as_near_as_they_say():
    """They stop early, at a matrix of the cone whose distance from the nearest one is bounded."""
    Z = random_pairs(400, 8)
    regularizer = REGULARIZERS["pair_matrices"]().for_problem(pair_operator(Z), None).for_steps()
    last = regularizer.project(np.zeros((8, 8)))  # as at the start of a fit
    S, slacks = symmetric(8, 0) + np.eye(8), []
    for seed in range(6):
        S = S + symmetric(8, seed, scale=0.3**seed)
        found = regularizer.project(S)
        _, expected = nearest_combination(S, Z)
        assert np.all(found.coef >= 0)
        assert_allclose(found.matrix, (Z.T * found.coef) @ Z, atol=1e-12)
        error = 0.5 * np.sum((found.matrix - expected) ** 2)
        assert error <= found.slack + 1e-12
        assert found.slack <= 0.5 * np.sum((found.matrix - last.matrix) ** 2) + 1e-12
        slacks.append(found.slack)
        last = found
    assert max(slacks) > 1e-3
    # The same matrix again is projected exactly, as nothing has moved.
    assert_allclose(regularizer.project(S).matrix, expected, atol=1e-8)


def test_pair_projections_for_steps_get_more_exact_in_a_long_fit():
    """Errors as large as at the start would keep a fit of many steps from its end."""
    Z = random_pairs(400, 8)
    cone = REGULARIZERS["pair_matrices"]().for_problem(pair_operator(Z), None)
    for _ in range(2):  # A further fit may be as inexact at its start as the first.
        regularizer = cone.for_steps()
        last, shares = [regularizer.project(symmetric(8, 0)).matrix] * 3, []
        for seed in range(1, 301):
            found = regularizer.project(symmetric(8, seed) + 2 * np.eye(8))
            moved = max(np.sum((found.matrix - before) ** 2) for before in last)
            shares.append(found.slack / (0.5 * moved))
            last = [*last[1:], found.matrix]
        assert max(shares[:30]) > 0.5
        assert max(shares[:30]) <= 1
        assert max(shares[240:]) <= 0.125


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(6))
def test_conjugate_of_an_inexact_pair_projection_is_an_upper_bound(size, seed):
    """Without it the reported gap would be too small, and the certificate false."""
    Z = random_pairs(20, 4, seed)
    S = symmetric(4, seed, scale=2.0)
    exact, expected = nearest_combination(S, Z)
    value = 0.5 * np.sum(expected**2)
    lengths = np.sum(Z * Z, axis=1)
    rng = np.random.default_rng(seed)
    for coef in (
        np.maximum(exact + size * rng.normal(size=20), 0),
        np.maximum(exact - size * rng.uniform(size=20), 0),
        exact * (1 + size * rng.uniform(-1, 1, 20).clip(-1 / size)),
        exact * (np.arange(20) % 2),  # some pairs forgotten
        np.zeros(20),
    ):
        projection = _PairProjection(pair_operator(Z), S, 1 / lengths, lengths * coef)
        assert_allclose(projection.coef, coef, rtol=1e-12)
        # The bound of any multiple of the identity, by hand.
        residual = S - np.einsum("p,pi,pj->ij", coef, Z, Z)
        excess = max(0, np.max(np.einsum("pi,ij,pj->p", Z, residual, Z) / lengths))
        bound = 0.5 * np.sum((S - residual + excess * np.eye(4)) ** 2)
        assert conjugate(projection, S) == pytest.approx(bound, rel=1e-10, abs=1e-12)
        assert conjugate(projection, S) >= value * (1 - 1e-10)


def sums_of_squares(n, seed):
    """A positive definite matrix, a right side and a guess of the support."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    gram = A.T @ A if seed % 2 else (A @ A.T) ** 2
    return gram, rng.normal(size=n), rng.random(n) < 0.5


# In the last five the exchanges come to no end.
@pytest.mark.parametrize(
    ("n", "seed"),
    [(n, n) for n in range(1, 21)] + [(5, 487), (5, 577), (5, 759), (8, 493), (12, 607)],
)
def test_block_pivoting_meets_the_optimality_conditions(n, seed):
    gram, target, is_free = sums_of_squares(n, seed)
    solution = _block_pivoting(gram.copy(), target, is_free)
    slope = target - gram @ solution
    size = np.abs(target).max() * np.linalg.cond(gram)
    assert np.all(solution >= 0)
    assert np.all(slope <= 1e-12 * size)
    assert_allclose(slope[solution > 0], 0, atol=1e-12 * size)
    # Whatever the guess is.
    for guess in (np.zeros(n, bool), np.ones(n, bool), solution > 0):
        again = _block_pivoting(gram.copy(), target, guess)
        assert_allclose(again, solution, atol=1e-10 * (1 + np.abs(solution).max()) * size)


def test_block_pivoting_of_multiples():
    """A singular matrix: the two halves share what the single one would have."""
    gram, target, is_free = sums_of_squares(6, 3)
    twice = np.tile(gram, (2, 2))
    solution = _block_pivoting(twice, np.tile(target, 2), np.tile(is_free, 2))
    single = _block_pivoting(gram, target, is_free)
    assert np.all(solution >= 0)
    assert_allclose(solution.reshape(2, -1).sum(axis=0), single, atol=1e-6)


@pytest.mark.parametrize(("n_pairs", "n_features"), [(300, 3), (300, 6), (2000, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_pair_projection_needs_few_passes(n_pairs, n_features, seed):
    """A working set that grows by more than one pair, and starts from the last support."""
    operator = pair_operator(random_pairs(n_pairs, n_features, seed))
    regularizer = REGULARIZERS["pair_matrices"]().for_problem(operator, None)
    S = symmetric(n_features, seed, scale=3.0)
    regularizer.project(S)
    first = operator.n_passes
    assert first <= 16
    # Each start is the support of the nearest of the last matrices, not of the last one.
    regularizer.project(symmetric(n_features, 8, scale=3.0))
    second = operator.n_passes
    regularizer.project(2 * S + 1e-6 * symmetric(n_features, 9))
    assert operator.n_passes - second <= 2


def test_pair_projection_of_a_sum_of_many_pairs_is_the_sum():
    """In 12 (12 + 1) / 2 = 78 dimensions: the working set grows by shares of itself at last."""
    Z = random_pairs(300, 12)
    projection = project_on_pairs(Z.T @ Z, Z)
    assert_allclose(projection.matrix, Z.T @ Z, atol=1e-7)
    assert np.count_nonzero(projection.coef) >= 78


def test_pair_projection_of_a_matrix_that_is_hardly_there():
    """Tolerances are relative to the matrix."""
    Z = random_pairs(40, 4)
    S = symmetric(4, 1)
    for scale in (1e-30, 1e30):
        projection = project_on_pairs(scale * S, Z)
        _, expected = nearest_combination(S, Z)
        assert_allclose(projection.matrix / scale, expected, atol=1e-9)


def test_projection_of_a_regularizer_from_outside_is_its_matrix_only():
    """What a Newton step needs more, `solve` asks for by name."""
    projection = Projection(symmetric(3, 0))
    assert projection.value == projection.slack == 0
    assert Projection(symmetric(3, 0), 3.0, 7.0).value == 3
    assert Projection(symmetric(3, 0), 3.0, 7.0).slack == 7
    for method in ("derivative", "n_products", "products", "coordinates", "gram"):
        assert not hasattr(projection, method)
    with pytest.raises(NotImplementedError, match=r"Regularizer has no method expression.*'cvxpy'"):
        Regularizer().expression(None)


@pytest.mark.parametrize("n", range(1, 21))
def test_block_pivoting_needs_no_other_method(monkeypatch, n):
    """Exchanges alone find the support of nearly every problem."""
    monkeypatch.setattr("metricalign.regularizers.pair_matrices.nnls", None)
    gram, target, is_free = sums_of_squares(n, n)
    assert np.all(_block_pivoting(gram, target, is_free) >= 0)


def test_derivative_of_an_inexact_pair_projection_keeps_its_pairs():
    """A small coefficient that is too large, so that the residual is against it."""
    Z = np.eye(3)[:2]
    projection = _PairProjection(
        pair_operator(Z), np.diag([0.2, 0.0, 0.0]), np.ones(2), np.array([0.5, 0.0])
    )
    D = np.diag([1.0, 2.0, 3.0])
    # The second pair is at zero, where it may grow.
    assert_allclose(projection.derivative(D), np.diag([1.0, 2.0, 0.0]), atol=1e-12)
    away = _PairProjection(
        pair_operator(Z), np.diag([0.2, -1.0, 0.0]), np.ones(2), np.array([0.5, 0.0])
    )
    assert_allclose(away.derivative(D), np.diag([1.0, 0.0, 0.0]), atol=1e-12)


def test_diagonal_projection_takes_sparse_differences():
    Z = sparse.random_array((7, 5), density=0.4, format="csr", rng=np.random.default_rng(0))
    projection = REGULARIZERS["diagonal"]().project(np.array([1.0, -1.0, 0.0, 2.0, -3.0]))
    kept = Z.toarray()[:, [0, 2, 3]] ** 2
    for found, expected in [(projection.products(Z), kept), (projection.gram(Z), kept @ kept.T)]:
        assert isinstance(found, np.ndarray)
        assert_allclose(found, expected, atol=1e-14)


def test_pair_matrices_of_one_problem_serve_another():
    X, S = np.random.default_rng(0).normal(size=(6, 3)), np.diag([1.0, 2.0, 3.0])
    first, second = (PairOperator(X, np.array(p)) for p in ([[0, 1], [2, 3], [4, 5]], [[1, 2]]))
    used = PairMatrices().for_problem(first, None)
    used.project(S)
    expected = PairMatrices().for_problem(second, None).project(S).matrix
    assert_allclose(used.for_problem(second, None).project(S).matrix, expected)
