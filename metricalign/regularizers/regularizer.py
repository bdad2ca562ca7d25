"""Base classes of regularizers and of their proximal steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["FactoredProjection", "Projection", "Regularizer"]


class Projection:
    """Result of the proximal step of a regularizer at one matrix S.

    If the regularizer is a cone, the result is the projection of S onto it. The solvers
    "projected_gradient" and "quasi_newton" use `matrix` only. The solver "newton" also uses the
    derivative of the step at S, which is a symmetric linear map of symmetric matrices. In
    addition it uses a factor B of the matrix with entries <T_p, derivative(T_q)>, for all pairs p
    and q, where T_p = z_p z_p^T.

    Attributes
    ----------
    matrix : ndarray of shape (n_features, n_features)
        The M that minimises 1/2 norm(M - S)^2 + R(M). Diagonal matrices are given by their
        diagonal, of shape (n_features,).
    value : float
        R(M).
    slack : float
        Bound on the error of an inexact step: how much the maximum over all M of
        <M, S> - 1/2 norm(M)^2 - R(M) is larger than its value at `matrix`. It is 0 if the step is
        exact.

    Methods
    -------
    derivative(direction)
        Change of M for a small change of S.
    n_products(n_features)
        Number of columns of B, which is the rank of the derivative.
    products(differences)
        B, of shape (n_pairs, n_products), from the differences z_p.
    coordinates(matrix)
        The sum of beta_p B_p over the pairs, given the sum of beta_p T_p.
    from_coordinates(coordinates)
        The adjoint of `coordinates`. Applied after `coordinates` it is the derivative.
    gram(differences)
        B B^T.
    """

    def __init__(self, matrix: NDArray, value: float = 0.0, slack: float = 0.0):
        self.matrix = matrix
        self.value = value
        self.slack = slack

    if TYPE_CHECKING:
        derivative: Callable[[NDArray], NDArray]
        n_products: Callable[[int], int]
        products: Callable[[NDArray], NDArray]
        coordinates: Callable[[NDArray], NDArray]
        from_coordinates: Callable[[NDArray], NDArray]
        gram: Callable[[NDArray], NDArray]


class FactoredProjection(Projection):
    """A projection whose derivative and Gram matrix are computed from its factor B."""

    def derivative(self, direction: NDArray) -> NDArray:
        """Change of M for a small change of S.

        Parameters
        ----------
        direction : ndarray of shape (n_features, n_features)
            Symmetric change of S.

        Returns
        -------
        change : ndarray of shape (n_features, n_features)
            Change of M.
        """
        return self.from_coordinates(self.coordinates(direction))

    def gram(self, differences: NDArray) -> NDArray:
        """Matrix B B^T of all <T_p, derivative(T_q)>.

        Parameters
        ----------
        differences : ndarray of shape (n_pairs, n_features)
            Differences z_p of the pairs.

        Returns
        -------
        gram : ndarray of shape (n_pairs, n_pairs)
            The matrix.
        """
        products = self.products(differences)
        return products @ products.T


class Regularizer(BaseEstimator):
    """A closed convex function R of symmetric matrices that is added to 1/2 norm(M - M0)^2.

    A subclass implements `project`, which returns a `Projection`. The reference solver also needs
    `expression`. A regularizer that depends only on the eigenvalues can be a subclass of
    `SpectralRegularizer`, which needs less.
    """

    is_constraint: ClassVar[bool] = False
    """Whether R is zero on a set and infinite elsewhere. Then `project` ignores the step size."""

    is_subspace: ClassVar[bool] = False
    """Whether `project` is linear."""

    is_diagonal: ClassVar[bool] = False
    """Whether all matrices are diagonal. Then they are represented by their diagonals."""

    keeps_span: ClassVar[bool] = False
    """Whether a problem without a prior can be solved in the span of the pairs' differences.

    This is so if the step at Q S Q^T is Q M Q^T, for the step M at S and every matrix Q with
    orthonormal columns."""

    keeps_span_of_identity: ClassVar[bool] = False
    """Whether this also holds with a prior that is a multiple of the identity."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # If a subclass has another step, it must declare again that the step keeps the span.
        has_step = not vars(cls).keys().isdisjoint(("project", "shrink"))
        for name in ("keeps_span", "keeps_span_of_identity"):
            if has_step and name not in vars(cls):
                setattr(cls, name, False)

    def for_problem(self, operator: PairOperator, prior: NDArray) -> Self:
        """Return the regularizer for one problem.

        Parameters
        ----------
        operator : PairOperator
            The pairs.
        prior : ndarray of shape (n_features, n_features)
            M0.

        Returns
        -------
        regularizer : Regularizer
            This object, or a changed copy if the regularizer depends on the pairs or the prior.
        """
        return self

    def for_steps(self) -> Self:
        """Return the regularizer for the steps of a solver, which allow inexact projections.

        Returns
        -------
        regularizer : Regularizer
            This object, or a copy whose projections are inexact and bound their error by `slack`.
        """
        return self

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        """Proximal step: minimise 1/2 norm(M - S)^2 + step R(M).

        Parameters
        ----------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix S.
        step : float, default=1.0
            Weight of R. With 0 the result is the nearest allowed matrix.

        Returns
        -------
        projection : Projection
            The minimiser M, and what the solvers need besides.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method project, as a regularizer must."
        )

    def expression(self, matrix: Any) -> tuple[Any, list]:
        """Write R and its constraints in cvxpy, for the reference solver.

        Parameters
        ----------
        matrix : cvxpy.Variable of shape (n_features, n_features)
            Symmetric variable.

        Returns
        -------
        value : cvxpy expression or float
            R(M).
        constraints : list of cvxpy constraints
            Constraints of M.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method expression, which solver='cvxpy' needs."
        )
