"""What a regularizer has to offer: its proximal step, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["FactoredProjection", "Projection", "Regularizer"]


class Projection:
    """The proximal step of a regularizer at one matrix S: the projection, where it is a cone.

    Its `matrix` is all that "projected_gradient" and "quasi_newton" need. The Newton steps of
    "newton" need the derivative of the step at S, a symmetric linear map of symmetric matrices,
    and a factor B of the matrix of all <T_p, derivative(T_q)> of the pairs, T_p = z_p z_p^T.

    Attributes
    ----------
    matrix : ndarray of shape (n_features, n_features)
        The M that minimises 1/2 norm(M - S)^2 + R(M); its diagonal, of shape (n_features,), for
        diagonal matrices.
    value : float
        R(M).
    slack : float
        Bound on how much the largest <M, S> - 1/2 norm(M)^2 - R(M) is above that of `matrix`: 0
        where the step is exact.

    Methods
    -------
    derivative(direction)
        Change of M for a small change of S.
    n_products(n_features)
        Number of columns of B, which is the rank of the derivative.
    products(differences)
        B, of shape (n_pairs, n_products), from the differences z_p.
    coordinates(matrix)
        sum_p beta_p B_p, from the sum of beta_p T_p.
    from_coordinates(coordinates)
        The adjoint of that; the one after the other is the derivative.
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
    """A projection that offers the factor B; the derivative and the Gram matrix follow."""

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

    A new regularizer is a subclass with `project`, which returns a `Projection`, and for the
    reference solver also `expression`. One that depends on the eigenvalues only is easier still:
    see `SpectralRegularizer`.
    """

    is_constraint: ClassVar[bool] = False
    """Whether R is zero on a set and infinite elsewhere; then no step size matters."""

    is_subspace: ClassVar[bool] = False
    """Whether `project` is linear."""

    is_diagonal: ClassVar[bool] = False
    """Whether all matrices are diagonal; then their diagonals stand for them everywhere."""

    keeps_span: ClassVar[bool] = False
    """Whether, without a prior, a problem may be solved in the span of the pairs' differences:
    rotating the samples rotates the result, and that of Q S Q^T is Q M Q^T for orthonormal
    columns Q."""

    keeps_span_of_identity: ClassVar[bool] = False
    """Whether the same holds around a prior that is a multiple of the identity."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # A subclass with its own step has to declare itself that its step keeps the span.
        has_step = not vars(cls).keys().isdisjoint(("project", "shrink"))
        for name in ("keeps_span", "keeps_span_of_identity"):
            if has_step and name not in vars(cls):
                setattr(cls, name, False)

    def for_problem(self, operator: PairOperator, prior: NDArray) -> Self:
        """Regularizer of one problem: itself, unless it depends on the pairs or on the prior.

        Parameters
        ----------
        operator : PairOperator
            The pairs.
        prior : ndarray of shape (n_features, n_features)
            M0.

        Returns
        -------
        regularizer : Regularizer
        """
        return self

    def for_steps(self) -> Self:
        """Regularizer for the steps of a solver, whose projections may be inexact.

        Itself, unless `project` iterates and can say in the `slack` how far it has come.

        Returns
        -------
        regularizer : Regularizer
        """
        return self

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        """Proximal step: minimise 1/2 norm(M - S)^2 + step R(M).

        Parameters
        ----------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix S.
        step : float, default=1.0
            Weight of R; 0 gives the nearest matrix that is allowed.

        Returns
        -------
        projection : Projection
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method project, as a regularizer must."
        )

    def expression(self, matrix: Any) -> tuple[Any, list]:
        """R and its constraints in cvxpy, for the reference solver.

        Parameters
        ----------
        matrix : cvxpy.Variable of shape (n_features, n_features)
            Symmetric variable.

        Returns
        -------
        value : cvxpy expression or float
        constraints : list of cvxpy constraints
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method expression, which solver='cvxpy' needs."
        )
