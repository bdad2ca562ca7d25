"""Positive semidefinite matrices, and those that exceed the prior by one."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from metricalign.cones.cone import Cone, Projection
from metricalign.cones.symmetric import IdentityProjection

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["AbovePrior", "PositiveSemidefinite"]


class PositiveSemidefinite(Cone):
    """Positive semidefinite matrices: every one is a (pseudo-)metric.

    Examples
    --------
    >>> import numpy as np
    >>> PositiveSemidefinite().project(np.diag([1.0, -2.0])).matrix
    array([[1., 0.],
           [0., 0.]])
    """

    keeps_span = True
    keeps_span_of_identity = True

    def project(self, matrix: NDArray) -> Projection:
        """Project a symmetric matrix on the cone; see `Cone.project`."""
        return _SpectralProjection(*linalg.eigh(matrix, check_finite=False, driver="evd"))

    def constraints(self, matrix: Any) -> list:
        """Positive semidefiniteness in cvxpy; see `Cone.constraints`."""
        return [matrix >> 0]


class AbovePrior(Cone):
    """Matrices that exceed the prior M0 by a positive semidefinite one.

    No distance falls below that of the prior: with ``prior="identity"`` the metric can add to
    Euclid's, but not forget a feature. Without a prior it is the positive semidefinite cone.

    Examples
    --------
    >>> import numpy as np
    >>> cone = AbovePrior().bound(None, prior=np.eye(2))
    >>> cone.project(np.diag([3.0, -2.0])).matrix
    array([[3., 0.],
           [0., 1.]])
    """

    keeps_span = True
    keeps_span_of_identity = True

    def bound(self, operator: PairOperator, prior: NDArray) -> Self:
        """Cone for one problem; see `Cone.bound`."""
        bound = copy(self)
        bound._prior = prior
        return bound

    def project(self, matrix: NDArray) -> Projection:
        """Project a symmetric matrix on the set; see `Cone.project`."""
        prior = self._prior
        excess = linalg.eigh(matrix - prior, check_finite=False, driver="evd")
        projection = _SpectralProjection(*excess)
        projection.matrix = prior + projection.matrix
        return projection

    def constraints(self, matrix: Any) -> list:
        """Semidefiniteness of the excess in cvxpy; see `Cone.constraints`."""
        return [matrix - self._prior >> 0]


class _SpectralProjection(Projection):
    """Eigenvalues clipped at zero; the derivative is Loewner's formula.

    In the basis of the eigenvectors it keeps the entries of two eigenvalues l_i, l_j >= 0, drops
    those of two negative ones, and multiplies those of l_i >= 0 > l_j by l_i / (l_i - l_j).
    """

    def __init__(self, eigenvalues, eigenvectors):
        # Zero counts as positive: from M = 0 a Newton step must be able to leave.
        n_negative = int(np.searchsorted(eigenvalues, 0))
        self._negative, self._positive = slice(n_negative), slice(n_negative, None)
        self._eigenvalues, self._eigenvectors = eigenvalues, eigenvectors
        kept = eigenvalues[self._positive]
        vectors = eigenvectors[:, self._positive]
        super().__init__((vectors * kept) @ vectors.T)

    @cached_property
    def _mixed_weight(self):
        """Factor of the entries of a negative and a nonnegative eigenvalue."""
        positive = self._eigenvalues[self._positive]
        return positive / (positive - self._eigenvalues[self._negative, None])

    def derivative(self, direction: NDArray) -> NDArray:
        Q = self._eigenvectors
        rotated = Q.T @ direction @ Q
        rotated[self._negative, self._negative] = 0
        rotated[self._negative, self._positive] *= self._mixed_weight
        rotated[self._positive, self._negative] *= self._mixed_weight.T
        return Q @ rotated @ Q.T

    def n_products(self, n_features: int) -> int:
        n_positive = n_features - self._negative.stop
        return n_positive * (n_positive + 1) // 2 + self._negative.stop * n_positive

    def products(self, differences: NDArray) -> NDArray:
        positive, mixed = self._rotate(differences)
        return np.hstack([IdentityProjection(self.matrix).products(positive), mixed])

    def coordinates(self, matrix: NDArray) -> NDArray:
        rotated = self._eigenvectors.T @ matrix @ self._eigenvectors
        positive = rotated[self._positive, self._positive]
        mixed = rotated[self._negative, self._positive] * np.sqrt(2 * self._mixed_weight)
        return np.concatenate([IdentityProjection(positive).coordinates(positive), mixed.ravel()])

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        rotated = np.zeros_like(self._eigenvectors, dtype=coordinates.dtype)
        n_mixed = self._mixed_weight.size
        positive, mixed = np.split(coordinates, [len(coordinates) - n_mixed])
        mixed = mixed.reshape(self._mixed_weight.shape) * np.sqrt(0.5 * self._mixed_weight)
        block = IdentityProjection(rotated[self._positive, self._positive])
        rotated[self._positive, self._positive] = block.from_coordinates(positive)
        rotated[self._negative, self._positive] = mixed
        rotated[self._positive, self._negative] = mixed.T
        return self._eigenvectors @ rotated @ self._eigenvectors.T

    def gram(self, differences: NDArray) -> NDArray:
        positive, mixed = self._rotate(differences)
        gram = IdentityProjection(self.matrix).gram(positive)
        gram += mixed @ mixed.T
        return gram

    def _rotate(self, differences):
        """Positive part in the basis of eigenvectors, and weighted products with the negative."""
        rotated = differences @ self._eigenvectors.astype(differences.dtype, copy=False)
        positive = rotated[:, self._positive]
        weight = np.sqrt(2 * self._mixed_weight).astype(differences.dtype, copy=False)
        mixed = rotated[:, self._negative, None] * positive[:, None, :]
        mixed *= weight
        return positive, mixed.reshape(len(differences), -1)
