"""All symmetric matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.regularizers.regularizer import Projection, Regularizer

__all__ = ["Symmetric"]


class Symmetric(Regularizer):
    """All symmetric matrices: no constraint.

    Examples
    --------
    >>> import numpy as np
    >>> Symmetric().project(np.diag([1.0, -2.0])).matrix
    array([[ 1.,  0.],
           [ 0., -2.]])
    """

    is_constraint = True
    is_subspace = True
    keeps_span = True
    keeps_span_of_identity = True

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        return Identity(matrix)

    def expression(self, matrix: Any) -> tuple[Any, list]:
        return 0.0, []


class Identity(Projection):
    """The projection that changes nothing."""

    def derivative(self, direction: NDArray) -> NDArray:
        return direction

    def n_products(self, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def products(self, differences: NDArray) -> NDArray:
        row, column, weight = _upper_triangle(differences.shape[1], differences.dtype)
        return differences[:, row] * (weight * differences[:, column])

    def coordinates(self, matrix: NDArray) -> NDArray:
        row, column, weight = _upper_triangle(len(matrix), matrix.dtype)
        return weight * matrix[row, column]

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        matrix = np.zeros_like(self.matrix, dtype=coordinates.dtype)
        row, column, weight = _upper_triangle(len(matrix), matrix.dtype)
        matrix[row, column] = 0.5 * weight * coordinates
        return matrix + matrix.T

    def gram(self, differences: NDArray) -> NDArray:
        gram = differences @ differences.T
        gram *= gram
        return gram


def _upper_triangle(n_features, dtype):
    """Rows, columns and weights of the entries on and above the diagonal."""
    row, column = np.triu_indices(n_features)
    return row, column, np.where(row == column, 1.0, np.sqrt(2.0)).astype(dtype)
