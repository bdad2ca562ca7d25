"""Check a regularizer and its projections."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from metricalign.operators import PairOperator
from metricalign.regularizers import Regularizer
from metricalign.testing._requirement import DIFFERENCE_ERROR, STEP, require

__all__ = ["check_regularizer"]


def check_regularizer(regularizer: Regularizer) -> None:
    """Check a regularizer and its projections against `Regularizer` and `Projection`.

    Optional methods that it lacks, such as `expression` or the derivative of its projection, are
    not checked.

    Parameters
    ----------
    regularizer : Regularizer
        An instance.

    Raises
    ------
    AssertionError
        If a method or a class attribute is wrong. The message says which one, and where.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.regularizers import Projection, Regularizer, Symmetric
    >>> from metricalign.testing import check_regularizer
    >>> check_regularizer(Symmetric())
    >>> class Rounded(Regularizer):
    ...     is_constraint = True
    ...     def project(self, matrix, step=1.0):
    ...         return Projection(np.round(matrix))
    >>> check_regularizer(Rounded())
    Traceback (most recent call last):
    AssertionError: Rounded(): project is not the proximal step. ...
    """
    small = _Setting(regularizer, 4)
    for seed in range(4):
        _check_step(small, seed)
        _check_derivative(small, seed)
    _check_flags(small)
    _check_regularizer_expression(small)


class _Setting:
    """A regularizer of a few pairs around a prior, and matrices to project."""

    def __init__(self, regularizer, n_features, basis=None, prior=None):
        rng = np.random.default_rng(1)
        X = rng.normal(size=(8, n_features))
        pairs = np.array(list(combinations(range(8), 2)))
        self.n_features, self.is_diagonal = n_features, regularizer.is_diagonal
        if prior is None:
            prior = self.matrix(9)
        if basis is not None:
            X = X @ basis.T
        self.operator = PairOperator(X, pairs, is_diagonal=self.is_diagonal)
        self.regularizer = regularizer.for_problem(self.operator, prior)
        self.differences = self.operator.differences()
        self.name = repr(regularizer)

    def matrix(self, seed, size=1.0):
        """A symmetric matrix in the form that the regularizer takes."""
        matrix = size * np.random.default_rng(seed).normal(size=2 * (self.n_features,))
        return np.diag(matrix).copy() if self.is_diagonal else (matrix + matrix.T) / 2

    def products(self, differences):
        """The matrices T_p in the form that the regularizer takes."""
        return [z * z if self.is_diagonal else np.outer(z, z) for z in differences]


def _check_step(small, seed):
    S = small.matrix(seed, size=[0.3, 1.0, 3.0, 10.0][seed])
    size = 1 + np.linalg.norm(S)
    given = S.copy()
    for step in (0.5, 1.0, 2.0):
        projection = small.regularizer.project(S, step)
        M = projection.matrix
        require(np.array_equal(S, given), f"{small.name}: project changes its argument.")
        require(
            M.shape == S.shape and np.allclose(M, M.T, atol=1e-12 * size),
            f"{small.name}: project must return a symmetric matrix of the same shape.",
        )
        nearby = small.regularizer.project(M + 1e-2 * small.matrix(seed + 50))
        others = [small.regularizer.project(small.matrix(20 + k, 2.0)) for k in range(8)]
        for other in (nearby, *others):
            # An optimum meets this condition for every allowed matrix.
            excess = np.vdot(S - M, other.matrix - M) - step * (other.value - projection.value)
            require(
                excess <= projection.slack + 1e-8 * size**2,
                f"{small.name}: project is not the proximal step. With step={step}, a matrix that "
                "project returned elsewhere is nearer to S, or has a smaller value, than the "
                f"result (by {excess:.2g}).",
            )
        moved = small.regularizer.project(S + small.matrix(seed + 70), step).matrix
        require(
            np.sum((moved - M) ** 2)
            <= np.vdot(moved - M, small.matrix(seed + 70)) + 1e-8 * size**2,
            f"{small.name}: project must not carry two matrices further apart.",
        )
        require(
            np.allclose(small.regularizer.project(M, 0.0).matrix, M, atol=1e-8 * size),
            f"{small.name}: project with a step of 0 must leave an allowed matrix as it is.",
        )
        require(projection.slack >= 0, f"{small.name}: slack of a projection is negative.")
        if small.regularizer.is_constraint:
            require(
                projection.value == 0
                and np.allclose(M, small.regularizer.project(S).matrix, atol=1e-9 * size),
                f"{small.name}: is_constraint is true, but the value of a projection is not 0 or "
                "its step matters.",
            )


def _check_derivative(small, seed):
    S, D = small.matrix(seed, 2.0), small.matrix(seed + 30)
    projection = small.regularizer.project(S)
    h = STEP
    if hasattr(projection, "derivative"):
        above, below = (small.regularizer.project(S + step * D).matrix for step in (h, -h))
        expected = (above - below) / (2 * h)
        found = projection.derivative(D)
        require(
            np.allclose(found, expected, atol=DIFFERENCE_ERROR * (1 + np.linalg.norm(D))),
            f"{small.name}: derivative of the projection is not what finite differences are; they "
            f"differ by {np.abs(found - expected).max():.2g}.",
        )
    parts = ("n_products", "products", "coordinates", "from_coordinates", "gram", "derivative")
    if all(hasattr(projection, part) for part in parts):
        _check_factor(small, projection)


def _check_factor(small, projection):
    Z = small.differences[:9]
    T = small.products(Z)
    expected = np.array(
        [[np.vdot(left, projection.derivative(right)) for right in T] for left in T]
    )
    size = 1 + np.abs(expected).max()
    B = projection.products(Z)
    require(
        B.shape == (len(Z), projection.n_products(small.n_features)),
        f"{small.name}: products has {B.shape[1]} columns, but n_products is "
        f"{projection.n_products(small.n_features)}.",
    )
    for name, found in {"products": B @ B.T, "gram": projection.gram(Z)}.items():
        require(
            np.allclose(found, expected, atol=1e-8 * size),
            f"{small.name}: {name} of the projection does not belong to its derivative: all "
            "<T_p, derivative(T_q)> of the pairs are others.",
        )
    beta = np.cos(np.arange(len(Z)))
    total = sum(b * product for b, product in zip(beta, T, strict=True))
    coordinates = projection.coordinates(total)
    require(
        np.allclose(coordinates, beta @ B, atol=1e-8 * size),
        f"{small.name}: coordinates of a sum of pairs are not the sum of their products.",
    )
    require(
        np.allclose(
            projection.from_coordinates(coordinates),
            projection.derivative(total),
            atol=1e-7 * size,
        ),
        f"{small.name}: from_coordinates after coordinates is not the derivative.",
    )


def _check_flags(small):
    regularizer, d = small.regularizer, small.n_features
    A, B = small.matrix(1), small.matrix(2)
    if regularizer.is_subspace:
        together = regularizer.project(A - 2 * B).matrix
        apart = regularizer.project(A).matrix - 2 * regularizer.project(B).matrix
        require(
            np.allclose(together, apart),
            f"{small.name}: is_subspace is true, but project is not linear.",
        )
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(d + 2, d)))[0]
    for flag, size in (("keeps_span", 0.0), ("keeps_span_of_identity", 0.4)):
        if not getattr(regularizer, flag):
            continue
        inside = _Setting(regularizer, d, prior=size * np.eye(d))
        outside = _Setting(regularizer, d, basis=basis, prior=size * np.eye(d + 2))
        for seed in range(4):
            D = small.matrix(seed, 2.0)
            found = outside.regularizer.project(size * np.eye(d + 2) + basis @ D @ basis.T).matrix
            change = inside.regularizer.project(size * np.eye(d) + D).matrix - size * np.eye(d)
            require(
                np.allclose(found, size * np.eye(d + 2) + basis @ change @ basis.T, atol=1e-8),
                f"{small.name}: {flag} is true, but the projection of the turned matrix "
                "Q S Q^T is not the turned projection of S.",
            )


def _check_regularizer_expression(small):
    import cvxpy

    for seed in range(3):
        S = small.matrix(seed, 2.0)
        M = cvxpy.Variable(S.shape, **({} if small.is_diagonal else {"symmetric": True}))
        try:
            price, constraints = small.regularizer.expression(M)
        except NotImplementedError:
            return
        task = cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(M - S) + price), constraints)
        require(task.is_dcp(), f"{small.name}: expression is not convex by the rules of cvxpy.")
        task.solve(solver=cvxpy.CLARABEL)
        found = small.regularizer.project(S).matrix
        require(
            np.linalg.norm(found - M.value) <= 1e-3 * (1 + np.linalg.norm(S)),
            f"{small.name}: expression is not what project solves; cvxpy finds another matrix.",
        )
