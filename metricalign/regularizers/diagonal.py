"""Nonnegative diagonal matrices: a weight for each feature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import as_dense
from metricalign.regularizers.regularizer import Projection, Regularizer

__all__ = ["Diagonal"]


class Diagonal(Regularizer):
    """Diagonal matrices without negative entries: the metric weighs the features.

    A matrix is represented by its diagonal, so time and memory grow with the number of features,
    not with its square. A feature of weight zero has no influence.

    Examples
    --------
    >>> import numpy as np
    >>> Diagonal().project(np.array([1.0, -2.0])).matrix
    array([1., 0.])
    """

    is_constraint = True
    is_diagonal = True

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        return _ClippedDiagonal(matrix)

    def expression(self, matrix: Any) -> tuple[Any, list]:
        return 0.0, [matrix >= 0]


class _ClippedDiagonal(Projection):
    """Weights clipped at zero. The derivative is zero for negative ones."""

    def __init__(self, diagonal):
        # Zero counts as positive, so that a Newton step can leave M = 0.
        self._is_kept = diagonal >= 0
        super().__init__(np.maximum(diagonal, 0))

    def derivative(self, direction: NDArray) -> NDArray:
        return np.where(self._is_kept, direction, 0)

    def n_products(self, n_features: int) -> int:
        return int(np.count_nonzero(self._is_kept))

    def products(self, differences: NDArray) -> NDArray:
        return as_dense(self._squares(differences))

    def coordinates(self, matrix: NDArray) -> NDArray:
        return matrix[self._is_kept]

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        matrix = np.zeros(len(self._is_kept), dtype=coordinates.dtype)
        matrix[self._is_kept] = coordinates
        return matrix

    def gram(self, differences: NDArray) -> NDArray:
        squares = self._squares(differences)
        return as_dense(squares @ squares.T)

    def _squares(self, differences):
        return differences[:, np.flatnonzero(self._is_kept)] ** 2
