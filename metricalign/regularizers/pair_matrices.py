"""Nonnegative combinations of the pairs' rank-one matrices."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.optimize import nnls

from metricalign.regularizers.regularizer import FactoredProjection, Projection, Regularizer

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["PairMatrices"]

# Largest inner product of the residual with a pair's matrix, both of norm 1. The error that this
# allows is in `slack`.
_ACCURACY = 1e-11


class PairMatrices(Regularizer):
    """Sums mu_p T_p of the pairs' matrices T_p = z_p z_p^T with mu_p >= 0.

    All of them are positive semidefinite. The projection of S is nonnegative least squares,
    min over mu >= 0 of norm(S - sum_p mu_p T_p)^2, by an active-set method: few mu_p are
    positive, and the last projection tells which.

    Source: the cone of Gu, Positive semidefinite support vector regression metric learning,
    arXiv 2008.07739, and of NCML in Zuo et al., Distance Metric Learning via Iterated SVMs, arXiv
    1502.00363.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.operators import PairOperator
    >>> operator = PairOperator(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0, 1]]))
    >>> cone = PairMatrices().for_problem(operator, prior=None)
    >>> cone.project(np.diag([3.0, 2.0])).matrix.round(6)
    array([[3., 0.],
           [0., 0.]])
    """

    is_constraint = True
    keeps_span = True
    # Coefficients of the last projection, from which the next one starts.
    _coef: NDArray | None = None

    def for_problem(self, operator: PairOperator, prior: NDArray) -> Self:
        """Cone of the pairs of a problem; see `Regularizer.for_problem`."""
        regularizer = copy(self)
        regularizer._coef = None
        # In single precision the residual of a projection would be mostly rounding.
        regularizer._operator = operator.astype(np.float64)
        lengths = regularizer._operator.squared_lengths
        # In units in which every pair has length 1; a pair of identical samples adds nothing.
        regularizer._scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return regularizer

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        """Project a symmetric matrix on the cone; see `Regularizer.project`."""
        # The next matrix to project is usually near this one.
        projection, self._coef = _nonnegative_least_squares(
            self._operator, matrix, self._scale, self._coef
        )
        return projection

    def expression(self, matrix: Any) -> tuple[Any, list]:
        """Membership in cvxpy; see `Regularizer.expression`."""
        import cvxpy

        differences = self._operator.differences()
        products = np.einsum("pi,pj->pij", differences, differences)
        coef = cvxpy.Variable(len(products), nonneg=True)
        return 0.0, [cvxpy.vec(matrix, order="C") == products.reshape(len(products), -1).T @ coef]


class _PairProjection(FactoredProjection):
    """A sum of the pairs' matrices; near it only the positive coefficients move.

    Attributes
    ----------
    coef : ndarray of shape (n_pairs,)
        The coefficients mu.
    violation : ndarray of shape (n_pairs,)
        Inner products of the residual with the pairs' matrices of norm 1: none is positive at the
        projection.
    """

    def __init__(self, operator, projected, scale, coef):
        self.coef = scale * coef
        self._operator = operator
        super().__init__(operator.adjoint(self.coef))
        # The residual less this multiple of the identity has no positive distance left, so it
        # is in the polar cone.
        residual = projected - self.matrix
        self.violation = scale * operator.distances(residual)
        excess = max(float(self.violation.max()), 0.0)
        self.slack = excess * float(np.trace(self.matrix)) - float(np.vdot(self.matrix, residual))
        self.slack += 0.5 * excess * excess * operator.n_features
        # Zero counts as positive, so that a Newton step can leave M = 0.
        self._may_move = (coef > 0) | ((scale > 0) & (self.violation >= 0))

    @cached_property
    def _face(self):
        """Independent differences that span the face, and the factor of their Gram matrix."""
        movable = np.flatnonzero(self._may_move)
        # More than enough to span all symmetric matrices.
        n_most = self._operator.n_features * (self._operator.n_features + 1)
        active = movable[np.argsort(-self.coef[movable], kind="stable")[:n_most]]
        differences = self._operator.restricted(np.sort(active)).differences()
        gram = (differences @ differences.T) ** 2
        if len(active) == 0:
            return differences, gram
        # Dependent pairs come last, and the face has no need of them.
        factor, order, rank, _ = linalg.lapack.dpstrf(gram, tol=1e-10 * gram.max(), lower=1)
        return differences[order[:rank] - 1], factor[:rank, :rank]

    def n_products(self, n_features: int) -> int:
        return len(self._face[0])

    def products(self, differences: NDArray) -> NDArray:
        face, factor = self._face
        products = (face @ differences.T) ** 2
        return linalg.solve_triangular(factor, products, lower=True, check_finite=False).T

    def coordinates(self, matrix: NDArray) -> NDArray:
        face, factor = self._face
        along = np.einsum("pi,ij,pj->p", face, matrix, face, optimize=True)
        return linalg.solve_triangular(factor, along, lower=True, check_finite=False)

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        face, factor = self._face
        coef = linalg.solve_triangular(factor, coordinates, lower=True, trans=1, check_finite=False)
        return (face.T * coef) @ face


def _nonnegative_least_squares(operator, matrix, scale, start=None):
    """The sum_p c_p scale_p T_p with c >= 0 that is nearest to a matrix, and c.

    The least squares over a working set of pairs, to which those that violate the optimality
    conditions most are added until none does.
    """
    nearest, coef = None, np.zeros(operator.n_pairs) if start is None else start
    working = np.flatnonzero(coef)
    size = np.linalg.norm(matrix)
    distances = scale * operator.distances(matrix)
    tolerance = _ACCURACY * size
    smallest = np.inf
    while True:
        candidate = np.zeros(operator.n_pairs)
        if len(working):
            differences = operator.restricted(working).differences()
            differences *= np.sqrt(scale[working])[:, None]
            gram = (differences @ differences.T) ** 2
            candidate[working] = _block_pivoting(gram, distances[working], coef[working] > 0)
        found = _PairProjection(operator, matrix, scale, candidate)
        distance = np.linalg.norm(matrix - found.matrix)
        if not distance < smallest * (1 - 1e-12):
            # Nothing is nearer than the start: it is the projection, or numbers have overflowed.
            return nearest or _PairProjection(operator, matrix, scale, coef), coef
        nearest, coef, smallest = found, candidate, distance
        slope = found.violation.copy()
        slope[working] = 0
        working = np.flatnonzero(coef)
        n_entering = min(max(operator.n_features, len(working) // 4), len(slope))
        entering = np.argpartition(-slope, n_entering - 1)[:n_entering]
        entering = entering[slope[entering] > tolerance]
        if len(entering) == 0:
            return nearest, coef
        working = np.union1d(working, entering)


def _block_pivoting(gram, target, is_free):
    """Solution x >= 0 of min 1/2 x^T gram x - target^T x, from a guess of its support.

    Kim, Park, Fast nonnegative matrix factorization: an active-set-like method and comparisons,
    SIAM J. Sci. Comput. 33 (2011), section 3. Where exchanges come to no end, which rounding can
    bring about, the method of Lawson and Hanson.
    """
    # Pairs that are multiples of others make it singular.
    gram[np.diag_indices(len(gram))] += 1e-14 * np.trace(gram)
    slack = 1e-13 * np.abs(target).max()
    fewest, n_chances = len(gram) + 1, 3
    while n_chances:
        solution = np.zeros(len(gram))
        free = np.flatnonzero(is_free)
        if len(free):
            factor = linalg.cho_factor(gram[np.ix_(free, free)], lower=True, check_finite=False)
            solution[free] = linalg.cho_solve(factor, target[free], check_finite=False)
        slope = target - gram @ solution
        is_wrong = np.where(is_free, solution < 0, slope > slack)
        n_wrong = int(np.count_nonzero(is_wrong))
        if n_wrong == 0:
            return solution
        n_chances = 3 if n_wrong < fewest else n_chances - 1
        fewest = min(fewest, n_wrong)
        is_free = is_free ^ is_wrong
    factor = linalg.cholesky(gram, check_finite=False)
    right = linalg.solve_triangular(factor, target, trans="T", check_finite=False)
    return nnls(factor, right, maxiter=100 * len(gram))[0]
