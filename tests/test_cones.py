import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from metricalign.cones import CONES

# Each cone in cvxpy, written down apart from the package.
CONSTRAINTS = {
    "symmetric": lambda matrix: [],
    "positive_semidefinite": lambda matrix: [matrix >> 0],
}
SUBSPACES = {"symmetric"}
each_cone = pytest.mark.parametrize("name", CONES)


def symmetric(n_features, seed, scale=1.0):
    matrix = np.random.default_rng(seed).normal(size=(n_features, n_features))
    return scale * (matrix + matrix.T) / 2


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
    M = cvxpy.Variable(S.shape, symmetric=True)
    task = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(M - S)), constraints(M))
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return M.value


@each_cone
@each_matrix
def test_projection_is_the_nearest_matrix_by_cvxpy(name, S):
    projected = CONES[name]().project(S).matrix
    assert_allclose(projected, cvxpy_projection(S, CONSTRAINTS[name]), atol=1e-5)


@each_cone
@each_generic
def test_cvxpy_constraints_are_the_cone(name, S):
    cone = CONES[name]()
    assert_allclose(cvxpy_projection(S, cone.constraints), cone.project(S).matrix, atol=1e-5)


@each_cone
@settings(max_examples=60, deadline=None)
@given(A=square, B=square)
def test_projection_laws(name, A, B):
    """Moreau: P(S) and S - P(S) are orthogonal, one in the cone, one in its polar cone."""
    A, B = (A + A.T) / 2, (B + B.T) / 2
    cone = CONES[name]()
    P, Q = cone.project(A).matrix, cone.project(B).matrix
    size = 1 + np.linalg.norm(A) + np.linalg.norm(B)
    assert_allclose(P, P.T, atol=1e-13 * size)
    assert_allclose(cone.project(P).matrix, P, atol=1e-12 * size)
    assert abs(np.vdot(P, A - P)) <= 1e-12 * size**2
    assert np.vdot(Q, A - P) <= 1e-12 * size**2
    assert np.linalg.norm(P - Q) <= np.linalg.norm(A - B) + 1e-12 * size
    assert_allclose(cone.project(3 * A).matrix, 3 * P, atol=1e-12 * size)
    half_squared_norm = cone.project(A).half_squared_norm
    assert half_squared_norm >= 0.5 * np.sum(P * P) - 1e-12 * size**2
    # Exact where the projection is.
    assert half_squared_norm == pytest.approx(0.5 * np.sum(P * P), rel=1e-10, abs=1e-12)


@each_cone
@each_matrix
def test_projection_lies_in_the_cone(name, S):
    P = CONES[name]().project(S).matrix
    M = cvxpy.Variable(S.shape, symmetric=True)
    M.value = P
    for constraint in CONSTRAINTS[name](M):
        assert np.max(constraint.violation()) <= 1e-12


@each_cone
def test_is_subspace_iff_the_projection_is_linear(name):
    cone = CONES[name]()
    A, B = symmetric(5, 1), symmetric(5, 2)
    together = cone.project(A - 2 * B).matrix
    apart = cone.project(A).matrix - 2 * cone.project(B).matrix
    assert cone.is_subspace == np.allclose(together, apart)
    assert cone.is_subspace == (name in SUBSPACES)


@each_cone
@each_generic
def test_derivative_is_that_of_the_projection(name, S):
    cone, D = CONES[name](), symmetric(len(S), 99)
    h = 1e-6
    change = (cone.project(S + h * D).matrix - cone.project(S - h * D).matrix) / (2 * h)
    assert_allclose(cone.project(S).derivative(D), change, atol=1e-7)


@each_cone
@each_matrix
def test_derivative_is_self_adjoint_between_zero_and_identity(name, S):
    projection = CONES[name]().project(S)
    D, E = symmetric(len(S), 98), symmetric(len(S), 99)
    changed = projection.derivative(D)
    assert_allclose(changed, changed.T, atol=1e-13)
    assert np.vdot(changed, E) == pytest.approx(np.vdot(D, projection.derivative(E)), abs=1e-12)
    assert -1e-12 <= np.vdot(changed, D) <= np.vdot(D, D) + 1e-12


@each_cone
@each_matrix
def test_gram_is_that_of_the_derivative_on_rank_one_matrices(name, S):
    projection = CONES[name]().project(S)
    Z = np.random.default_rng(3).normal(size=(7, len(S)))
    Z[2] = 0
    Z[5] = -Z[1]
    expected = np.array([[p @ projection.derivative(np.outer(q, q)) @ p for q in Z] for p in Z])
    assert_allclose(projection.gram(Z), expected, atol=1e-11)
    products = projection.products(Z)
    assert products.shape == (7, projection.n_products(len(S)))
    assert_allclose(products @ products.T, expected, atol=1e-11)


@pytest.mark.parametrize("n_positive", [0, 1, 3, 6])
def test_semidefinite_n_products_is_the_rank_of_the_derivative(n_positive):
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    eigenvalues = np.where(np.arange(6) < n_positive, 1.0, -1.0) * np.arange(1, 7)
    projection = CONES["positive_semidefinite"]().project((Q * eigenvalues) @ Q.T)
    basis = []
    for i in range(6):
        for j in range(i, 6):
            unit = np.zeros((6, 6))
            unit[i, j] = unit[j, i] = 1
            basis.append(projection.derivative(unit).ravel())
    assert projection.n_products(6) == np.linalg.matrix_rank(np.array(basis), tol=1e-9)


@each_cone
def test_derivative_at_zero_lets_a_metric_grow(name):
    """At S = 0 a Newton step must not be frozen in the cone's corner."""
    D = np.diag([1.0, 2.0, 0.0])
    assert_allclose(CONES[name]().project(np.zeros((3, 3))).derivative(D), D, atol=1e-15)


@each_cone
def test_float32_stays_float32(name):
    S = symmetric(5, 0)
    Z = np.random.default_rng(3).normal(size=(7, 5))
    double = CONES[name]().project(S)
    projection = CONES[name]().project(S.astype(np.float32))
    single = Z.astype(np.float32)
    for result, expected in [
        (projection.matrix, double.matrix),
        (
            projection.derivative(symmetric(5, 1).astype(np.float32)),
            double.derivative(symmetric(5, 1)),
        ),
        (projection.gram(single), double.gram(Z)),
    ]:
        assert result.dtype == np.float32
        assert_allclose(result, expected, atol=1e-4)
    assert projection.products(single).dtype == np.float32
    assert projection.half_squared_norm == pytest.approx(double.half_squared_norm, rel=1e-5)


@each_cone
def test_input_is_read_only(name):
    S = symmetric(4, 0)
    before = S.copy()
    S.flags.writeable = False
    projection = CONES[name]().project(S)
    Z = np.random.default_rng(3).normal(size=(5, 4))
    Z.flags.writeable = False
    assert projection.gram(Z).shape == (5, 5)
    assert projection.products(Z).shape[0] == 5
    assert projection.derivative(S).shape == (4, 4)
    assert_array_equal(S, before)


@each_cone
@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_scale_of_the_matrix_does_not_matter(name, scale):
    S = symmetric(4, 0)
    expected = CONES[name]().project(S).matrix
    assert_allclose(CONES[name]().project(scale * S).matrix, scale * expected, atol=1e-13 * scale)
