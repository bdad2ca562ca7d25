"""Nonnegative diagonal matrices: a weight for each feature."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from metricalign.cones.cone import Cone, Projection

__all__ = ["Diagonal"]


class Diagonal(Cone):
    """Diagonal matrices without negative entries: the metric weighs the features.

    A matrix is its diagonal here, so that time and memory grow with the number of features
    and not with its square. A weight of zero leaves the feature out.

    Examples
    --------
    >>> import numpy as np
    >>> Diagonal().project(np.array([1.0, -2.0])).matrix
    array([1., 0.])
    """

    is_diagonal = True

    def project(self, matrix):
        """Project a diagonal on the nonnegative ones; see `Cone.project`."""
        return _ClippedDiagonal(matrix)

    def constraints(self, matrix):
        """Nonnegativity in cvxpy; see `Cone.constraints`."""
        return [matrix >= 0]


class _ClippedDiagonal(Projection):
    """Weights clipped at zero; the derivative drops the negative ones."""

    def __init__(self, diagonal):
        # Zero counts as positive: from M = 0 a Newton step must be able to leave.
        self._is_kept = diagonal >= 0
        super().__init__(np.maximum(diagonal, 0))

    def derivative(self, direction):
        return np.where(self._is_kept, direction, 0)

    def n_products(self, n_features):
        return int(np.count_nonzero(self._is_kept))

    def products(self, differences):
        squares = self._squares(differences)
        return squares.toarray() if sparse.issparse(squares) else squares

    def gram(self, differences):
        squares = self._squares(differences)
        gram = squares @ squares.T
        return gram.toarray() if sparse.issparse(gram) else gram

    def _squares(self, differences):
        return differences[:, np.flatnonzero(self._is_kept)] ** 2
