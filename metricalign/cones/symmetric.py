"""All symmetric matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.cones.cone import Cone, Projection

__all__ = ["IdentityProjection", "Symmetric"]


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
    keeps_span = True
    keeps_span_of_identity = True

    def project(self, matrix: NDArray) -> Projection:
        """Project a symmetric matrix on the cone; see `Cone.project`."""
        return IdentityProjection(matrix)

    def constraints(self, matrix: Any) -> list:
        """No constraint; see `Cone.constraints`."""
        return []


class IdentityProjection(Projection):
    """A matrix that is in the cone already, with all its neighbours."""

    def derivative(self, direction: NDArray) -> NDArray:
        """Change of the projection; see `Projection.derivative`."""
        return direction

    def n_products(self, n_features: int) -> int:
        """Width of the products; see `Projection.n_products`."""
        return n_features * (n_features + 1) // 2

    def products(self, differences: NDArray) -> NDArray:
        """Products of features; see `Projection.products`."""
        row, column, weight = _upper_triangle(differences.shape[1], differences.dtype)
        return differences[:, row] * (weight * differences[:, column])

    def coordinates(self, matrix: NDArray) -> NDArray:
        """Sums of the products; see `Projection.coordinates`."""
        row, column, weight = _upper_triangle(len(matrix), matrix.dtype)
        return weight * matrix[row, column]

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        """Adjoint of the coordinates; see `Projection.from_coordinates`."""
        matrix = np.zeros_like(self.matrix, dtype=coordinates.dtype)
        row, column, weight = _upper_triangle(len(matrix), matrix.dtype)
        matrix[row, column] = 0.5 * weight * coordinates
        return matrix + matrix.T

    def gram(self, differences: NDArray) -> NDArray:
        """Gram matrix; see `Projection.gram`."""
        gram = differences @ differences.T
        gram *= gram
        return gram


def _upper_triangle(n_features, dtype):
    """Rows, columns and weights of the entries that stand for a symmetric matrix."""
    row, column = np.triu_indices(n_features)
    return row, column, np.where(row == column, 1.0, np.sqrt(2.0)).astype(dtype)
