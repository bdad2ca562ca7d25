"""Nonnegative combinations of the pairs' rank-one matrices."""

from __future__ import annotations

from collections import deque
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.optimize import nnls

from metricalign.regularizers.regularizer import FactoredProjection, Projection, Regularizer
from metricalign.regularizers.symmetric import Identity

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["PairMatrices"]

# Largest inner product of the residual with a pair's matrix, both of norm 1. The error that this
# allows is in `slack`.
_ACCURACY = 1e-11
# Share of the trace that is added to a Gram matrix: pairs that are multiples of others make it
# singular.
_JITTER = 1e-14
# Number of projections that are remembered. 2 need as many passes over the pairs, and 1 needs a
# tenth (wine) to a third (digits) more.
_N_RECENT = 3
# Number of exchanges in a row that may decrease neither the number of wrong pairs nor the bound of
# the error.
_N_CHANCES = 6
# In the steps of a solver the squared error of a projection may be a share of the squared distance
# to the last projection. The bound of the error is some hundred times too large. The share is 1 in
# the first projections, as many as this number. Later it is this number divided by the number of
# projections, so that a long fit becomes exact. With a share of .3 throughout, the fit of RAMLNCSVR
# to digits takes twice the time. With 1 throughout, NCML takes 101 steps for wine at 10,000 times
# the weight. This rule takes 89.
_N_COARSE = 30


class PairMatrices(Regularizer):
    """Sums mu_p T_p of the pairs' matrices T_p = z_p z_p^T with mu_p >= 0.

    All these matrices are positive semidefinite. The projection of S is a problem of nonnegative
    least squares: minimise norm(S - sum_p mu_p T_p)^2 over mu >= 0. It is solved by an active-set
    method that starts at one of the last projections, as few mu_p are positive.

    References
    ----------
    Gu. "Positive semidefinite support vector regression metric learning". arXiv 2008.07739.

    Zuo et al. "Distance Metric Learning via Iterated SVMs". arXiv 1502.00363 (NCML).

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
    _is_exact = True
    _n_inexact = 0
    _operator: Any = None

    def for_problem(self, operator: PairOperator, prior: NDArray) -> Self:
        regularizer = copy(self)
        # In single precision the residual of a projection would be mostly rounding.
        regularizer._operator = operator.astype(np.float64)
        lengths = regularizer._operator.squared_lengths
        # The next projections start at the last ones. These can be of the same problem in another
        # precision. Copies share them.
        if not self._is_for(regularizer._operator):
            regularizer._recent = deque(maxlen=_N_RECENT)
        # Coefficients are in units in which every pair has length 1. A pair of identical samples
        # adds nothing.
        regularizer._scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return regularizer

    def _is_for(self, operator) -> bool:
        """Whether this is the cone of the same pairs and samples, up to single precision."""
        own = self._operator
        return (
            own is not None
            and own.n_features == operator.n_features
            and np.array_equal(own.pairs, operator.pairs)
            and np.allclose(own.squared_lengths, operator.squared_lengths, rtol=1e-3, atol=0)
        )

    def for_steps(self) -> Self:
        regularizer = copy(self)
        regularizer._is_exact = False
        return regularizer

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        zero = _Recent(matrix, np.zeros(self._operator.n_pairs), np.zeros_like(matrix))
        if not np.any(matrix):
            self._recent.append(zero)
            return _AtZero(matrix, self._operator.n_pairs)
        # The next matrix to project is usually near one of the last ones, as solvers alternate
        # between a matrix and the matrix of its dual coefficients.
        direction = matrix / np.abs(matrix).max()
        direction /= np.linalg.norm(direction)
        start = max(self._recent, key=lambda last: np.vdot(last.direction, direction), default=zero)
        # The first matrix can be the solution of another fit, so its projection is exact.
        share = 0.0
        if not self._is_exact and self._recent:
            self._n_inexact += 1
            share = min(1.0, _N_COARSE / self._n_inexact)
        projection, coef = _nonnegative_least_squares(
            self._operator, matrix, self._scale, start, share
        )
        self._recent.append(_Recent(direction, coef, projection.matrix))
        return projection

    def expression(self, matrix: Any) -> tuple[Any, list]:
        import cvxpy

        differences = self._operator.differences()
        products = np.einsum("pi,pj->pij", differences, differences)
        coef = cvxpy.Variable(len(products), nonneg=True)
        return 0.0, [cvxpy.vec(matrix, order="C") == products.reshape(len(products), -1).T @ coef]


class _Recent(NamedTuple):
    """A projected direction, the coefficients for pairs of length 1, and the projection."""

    direction: NDArray
    coef: NDArray
    matrix: NDArray


class _AtZero(Identity):
    """The projection of zero. There all pairs can move, and many pairs span all matrices."""

    def __init__(self, matrix, n_pairs):
        super().__init__(matrix)
        self.coef = np.zeros(n_pairs)


class _PairProjection(FactoredProjection):
    """A sum of the pairs' matrices. Near it only the positive coefficients change.

    Attributes
    ----------
    coef : ndarray of shape (n_pairs,)
        The coefficients mu.
    violation : ndarray of shape (n_pairs,)
        Inner products of the residual with the pairs' matrices of norm 1. None of them is positive
        at the exact projection.
    """

    def __init__(self, operator, projected, scale, coef, matrix=None):
        self.coef = scale * coef
        self._operator = operator
        super().__init__(operator.adjoint(self.coef) if matrix is None else matrix)
        # If this multiple of the identity is subtracted from the residual, no distance is positive,
        # so the difference is in the polar cone.
        residual = projected - self.matrix
        self.violation = scale * operator.distances(residual)
        excess = max(float(self.violation.max()), 0.0)
        self.slack = excess * float(np.trace(self.matrix)) - float(np.vdot(self.matrix, residual))
        self.slack += 0.5 * excess * excess * operator.n_features
        # Pairs with a violation of zero may move too, so that a Newton step can leave M = 0. Pairs
        # with a positive violation may not, as there can be thousands of them.
        self._may_move = (coef > 0) | ((scale > 0) & (self.violation == 0))

    @cached_property
    def _face(self):
        """Independent pairs that span the face, and the factor of their Gram matrix."""
        movable = np.flatnonzero(self._may_move)
        # This is more than enough to span all symmetric matrices.
        n_most = self._operator.n_features * (self._operator.n_features + 1)
        active = movable[np.argsort(-self.coef[movable], kind="stable")[:n_most]]
        differences = self._operator.restricted(np.sort(active)).differences()
        gram = (differences @ differences.T) ** 2
        if len(active) == 0:
            return differences, gram
        # Dependent pairs come last. They are not needed.
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


def _nonnegative_least_squares(operator, matrix, scale, start, share):
    """Find the sum_p c_p scale_p T_p with c >= 0 that is nearest to a matrix, and c.

    With a share above 0 the result may be inexact, see `_is_near_enough`.
    """
    problem = operator, matrix, scale, start, share
    return _by_exchanges(*problem) or _by_working_sets(*problem)


def _by_exchanges(operator, matrix, scale, start, share):
    """Solve by least squares over a working set of pairs. Return None if this does not converge.

    At the same time pairs with negative coefficients leave the set, and those pairs enter it that
    violate the optimality conditions most.
    """
    working = np.flatnonzero(start.coef)
    tolerance = _ACCURACY * np.linalg.norm(matrix)
    fewest, least, n_chances = operator.n_pairs + 1, np.inf, _N_CHANCES
    while n_chances:
        coef, combination = np.zeros(operator.n_pairs), np.zeros_like(matrix)
        if len(working):
            gram, along, differences = _normal_equations(operator, matrix, scale, working)
            gram[np.diag_indices(len(gram))] += _JITTER * np.trace(gram)
            _, solution, info = linalg.lapack.dposv(gram, along, lower=True, overwrite_a=True)
            if info:
                return None
            # An inexact result must be in the cone.
            coef[working] = np.maximum(solution, 0) if share else solution
            combination = (differences.T * coef[working]) @ differences
            combination = (combination + combination.T) / 2
        found = _PairProjection(operator, matrix, scale, coef, combination)
        if not np.all(np.isfinite(found.violation)):
            return None
        is_wrong = found.violation > tolerance
        is_wrong[working] = coef[working] <= 0
        n_wrong = int(np.count_nonzero(is_wrong))
        if n_wrong == 0 or _is_near_enough(found, start, share):
            return found, coef
        is_better = n_wrong < fewest or found.slack < least
        n_chances = _N_CHANCES if is_better else n_chances - 1
        fewest, least = min(fewest, n_wrong), min(least, found.slack)
        n_entering = max(operator.n_features // 2, len(working) // 3, 1)
        is_wrong[working] = False
        entering = _largest(np.where(is_wrong, found.violation, 0), n_entering)
        working = np.union1d(np.flatnonzero(coef > 0), entering)
    return None


def _by_working_sets(operator, matrix, scale, start, share):
    """Solve by nonnegative least squares over a growing working set. This always ends."""
    nearest, coef = None, start.coef
    working = np.flatnonzero(coef)
    tolerance = _ACCURACY * np.linalg.norm(matrix)
    smallest = np.inf
    while True:
        candidate = np.zeros(operator.n_pairs)
        if len(working):
            gram, along, _ = _normal_equations(operator, matrix, scale, working)
            candidate[working] = _block_pivoting(gram, along, coef[working] > 0)
        found = _PairProjection(operator, matrix, scale, candidate)
        distance = np.linalg.norm(matrix - found.matrix)
        if not distance < smallest * (1 - 1e-12):
            # Nothing is nearer. So the last is the projection, or numbers have overflowed.
            return nearest or _PairProjection(operator, matrix, scale, coef), coef
        nearest, coef, smallest = found, candidate, distance
        slope = np.where(found.violation > tolerance, found.violation, 0)
        slope[working] = 0
        working = np.flatnonzero(coef)
        entering = _largest(slope, max(operator.n_features, len(working) // 4))
        if len(entering) == 0 or _is_near_enough(found, start, share):
            return nearest, coef
        working = np.union1d(working, entering)


def _is_near_enough(found, start, share):
    """Whether the squared error is below this share of the squared distance from the start."""
    # If the share is 0, coefficients may be negative, and then the bound may be negative too.
    return share > 0 and found.slack < 0.5 * share * np.sum((found.matrix - start.matrix) ** 2)


def _normal_equations(operator, matrix, scale, working):
    """Inner products of some pairs' matrices with each other and with a matrix, and differences.

    The differences are scaled to matrices of norm 1.
    """
    differences = operator.restricted(working).differences()
    differences *= np.sqrt(scale[working])[:, None]
    along = np.einsum("pi,pi->p", differences @ matrix, differences)
    gram = differences @ differences.T
    return np.square(gram, out=gram), along, differences


def _largest(numbers, n_most):
    """Return the positions of the positive numbers, at most `n_most`, of the largest."""
    found = np.argpartition(-numbers, min(n_most, len(numbers)) - 1)[:n_most]
    return found[numbers[found] > 0]


def _block_pivoting(gram, target, is_free):
    """Minimise 1/2 x^T gram x - target^T x over x >= 0, from a guess of the support of x.

    The method is that of Kim, Park, Fast nonnegative matrix factorization: an active-set-like
    method and comparisons, SIAM J. Sci. Comput. 33 (2011), section 3. If rounding keeps it from
    converging, the method of Lawson and Hanson is used.
    """
    gram[np.diag_indices(len(gram))] += _JITTER * np.trace(gram)
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
