"""What a cone has to offer: the projection on it, and what follows from that.

What a solver needs besides the projected matrix is how inexact it is, so that the duality gap
stays a true bound, and the derivative of the projection, for Newton steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["Cone", "Projection"]


class Projection:
    """The projection of one matrix on a cone.

    Attributes
    ----------
    matrix : ndarray of shape (n_features, n_features)
        The projection P(S); its diagonal, of shape (n_features,), for diagonal matrices.
    slack : float
        Bound on how much the largest <M, S> - norm(M)^2 / 2 over all M of the cone is above that
        of `matrix`: 0 where the projection is exact.
    """

    def __init__(self, matrix: NDArray, slack: float = 0.0):
        self.matrix = matrix
        self.slack = slack

    def derivative(self, direction: NDArray) -> NDArray:
        """Change of the projection for a small change of S, a symmetric linear map.

        Parameters
        ----------
        direction : ndarray of shape (n_features, n_features)
            Symmetric matrix.

        Returns
        -------
        change : ndarray of shape (n_features, n_features)
        """
        change = self.from_coordinates(self.coordinates(direction))
        return change.astype(direction.dtype, copy=False)

    def n_products(self, n_features: int) -> int:
        """Rank of the derivative, the width of `products`."""
        raise NotImplementedError(self._lacks("n_products"))

    def products(self, differences: NDArray) -> NDArray:
        """Weighted products of features, whose Gram matrix is that of `gram`.

        Parameters
        ----------
        differences : ndarray of shape (n_pairs, n_features)
            Differences z_p.

        Returns
        -------
        products : ndarray of shape (n_pairs, n_products)
        """
        raise NotImplementedError(self._lacks("products"))

    def coordinates(self, matrix: NDArray) -> NDArray:
        """Weighted sum of the `products` of pairs, from the same sum of their z_p z_p^T.

        Parameters
        ----------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix.

        Returns
        -------
        coordinates : ndarray of shape (n_products,)
        """
        raise NotImplementedError(self._lacks("coordinates"))

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        """Adjoint of `coordinates`; the one after the other is the derivative.

        Parameters
        ----------
        coordinates : ndarray of shape (n_products,)

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix.
        """
        raise NotImplementedError(self._lacks("from_coordinates"))

    def gram(self, differences: NDArray) -> NDArray:
        """Matrix of <T_p, derivative(T_q)> for rank-one matrices T_p = z_p z_p^T.

        Parameters
        ----------
        differences : ndarray of shape (n_pairs, n_features)
            Differences z_p.

        Returns
        -------
        gram : ndarray of shape (n_pairs, n_pairs)
        """
        products = self.products(differences)
        return products @ products.T

    def _lacks(self, method):
        return (
            f"{type(self).__name__} has no {method}, which solver='newton' needs. Add it, or use "
            "solver='projected_gradient'."
        )


class Cone(BaseEstimator):
    """What a cone has to offer: the projection on it.

    A new cone is a subclass with `project`, which returns a `Projection`: the matrix is enough
    for the accelerated gradient, Newton steps need its derivative. Any closed convex set will
    do.
    """

    is_subspace: ClassVar[bool] = False
    """Whether the projection is linear."""

    is_diagonal: ClassVar[bool] = False
    """Whether all matrices are diagonal; then their diagonals stand for them everywhere."""

    keeps_span: ClassVar[bool] = False
    """Whether, without a prior, a problem may be solved in the span of the pairs' differences:
    rotating the samples rotates projections, and those of Q S Q^T are Q P(S) Q^T for
    orthonormal columns Q."""

    keeps_span_of_identity: ClassVar[bool] = False
    """Whether the same holds around a prior that is a multiple of the identity."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # Of another projection it has to be said anew.
        for name in ("keeps_span", "keeps_span_of_identity"):
            if "project" in vars(cls) and name not in vars(cls):
                setattr(cls, name, False)

    def bound(self, operator: PairOperator, prior: NDArray) -> Self:
        """Cone for one problem: itself, unless it depends on the pairs or on the prior.

        Parameters
        ----------
        operator : PairOperator
            The pairs.
        prior : ndarray of shape (n_features, n_features)
            M0.

        Returns
        -------
        cone : Cone
        """
        return self

    def project(self, matrix: NDArray) -> Projection:
        """Project a symmetric matrix on the cone.

        Parameters
        ----------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix.

        Returns
        -------
        projection : Projection
        """
        raise NotImplementedError

    def constraints(self, matrix: Any) -> list:
        """Cone as cvxpy constraints on a symmetric variable, for the reference solver.

        Parameters
        ----------
        matrix : cvxpy.Variable of shape (n_features, n_features)
            Symmetric variable.

        Returns
        -------
        constraints : list of cvxpy constraints
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method constraints, which solver='cvxpy' needs."
        )
