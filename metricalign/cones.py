"""Cones: the set of matrices that a metric may be chosen from.

A cone is known by the projection on it. What a solver needs besides the projected matrix is
an upper bound of half its squared norm (exact unless the projection is inexact, so that the
duality gap stays a true bound) and the derivative of the projection, for Newton steps.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.base import BaseEstimator

__all__ = ["CONES", "Cone", "PositiveSemidefinite", "Projection", "Symmetric"]


class Projection:
    """The projection of one matrix on a cone.

    Attributes
    ----------
    matrix : ndarray of shape (n_features, n_features)
        The projection P(S).
    half_squared_norm : float
        Upper bound of norm(P(S))^2 / 2.
    """

    def __init__(self, matrix: NDArray, half_squared_norm: float | None = None):
        self.matrix = matrix
        if half_squared_norm is None:
            half_squared_norm = 0.5 * float(np.vdot(matrix, matrix))
        self.half_squared_norm = half_squared_norm

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
        raise NotImplementedError(self._lacks("derivative"))

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


class _IdentityProjection(Projection):
    """A matrix that is in the cone already, with all its neighbours."""

    def derivative(self, direction):
        return direction

    def n_products(self, n_features):
        return n_features * (n_features + 1) // 2

    def products(self, differences):
        row, column = np.triu_indices(differences.shape[1])
        weight = np.where(row == column, 1.0, np.sqrt(2.0)).astype(differences.dtype)
        return differences[:, row] * (weight * differences[:, column])

    def gram(self, differences):
        gram = differences @ differences.T
        gram *= gram
        return gram


class Cone(BaseEstimator):
    """What a cone has to offer: the projection on it.

    A new cone is a subclass with `project`, which returns a `Projection`: the matrix is enough
    for the accelerated gradient, Newton steps need its derivative.
    """

    is_subspace: ClassVar[bool] = False
    """Whether the projection is linear."""

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


class Symmetric(Cone):
    """All symmetric matrices: no constraint.

    Examples
    --------
    >>> import numpy as np
    >>> Symmetric().project(np.diag([1.0, -2.0])).matrix
    array([[ 1.,  0.],
           [ 0., -2.]])
    """

    is_subspace = True

    def project(self, matrix):
        """Project a symmetric matrix on the cone; see `Cone.project`."""
        return _IdentityProjection(matrix)

    def constraints(self, matrix):
        """No constraint; see `Cone.constraints`."""
        return []


class PositiveSemidefinite(Cone):
    """Positive semidefinite matrices: every one is a (pseudo-)metric.

    Examples
    --------
    >>> import numpy as np
    >>> PositiveSemidefinite().project(np.diag([1.0, -2.0])).matrix
    array([[1., 0.],
           [0., 0.]])
    """

    def project(self, matrix):
        """Project a symmetric matrix on the cone; see `Cone.project`."""
        return _SpectralProjection(*linalg.eigh(matrix, check_finite=False, driver="evd"))

    def constraints(self, matrix):
        """Positive semidefiniteness in cvxpy; see `Cone.constraints`."""
        return [matrix >> 0]


class _SpectralProjection(Projection):
    """Eigenvalues clipped at zero; the derivative is Loewner's formula."""

    def __init__(self, eigenvalues, eigenvectors):
        is_positive = eigenvalues > 0
        positive = eigenvectors[:, is_positive]
        self._eigenvalues, self._eigenvectors = eigenvalues, eigenvectors
        super().__init__(
            (positive * eigenvalues[is_positive]) @ positive.T,
            0.5 * float(eigenvalues[is_positive] @ eigenvalues[is_positive]),
        )

    @property
    def _divided_differences(self):
        """(max(l_i, 0) - max(l_j, 0)) / (l_i - l_j), its limit where they are equal."""
        positive = np.maximum(self._eigenvalues, 0)
        size = np.abs(self._eigenvalues)
        total = size[:, None] + size
        # Zero counts as positive: from M = 0 a Newton step must be able to leave.
        is_positive = self._eigenvalues >= 0
        divided = np.where(is_positive[:, None] & is_positive, 1.0, 0.0)
        mixed = is_positive[:, None] != is_positive
        divided[mixed] = ((positive[:, None] + positive)[mixed]) / total[mixed]
        return divided.astype(self._eigenvalues.dtype)

    def derivative(self, direction):
        Q = self._eigenvectors
        return Q @ (self._divided_differences * (Q.T @ direction @ Q)) @ Q.T

    def n_products(self, n_features):
        return int(np.count_nonzero(np.triu(self._divided_differences)))

    def products(self, differences):
        weight = np.triu(self._divided_differences)
        row, column = np.nonzero(weight)
        weight = np.sqrt(weight[row, column] * np.where(row == column, 1, 2))
        rotated = differences @ self._eigenvectors
        return rotated[:, row] * (weight.astype(rotated.dtype) * rotated[:, column])


CONES = {"symmetric": Symmetric, "positive_semidefinite": PositiveSemidefinite}
"""The cones by name."""
