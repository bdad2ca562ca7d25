"""All symmetric matrices."""

from __future__ import annotations

import numpy as np

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

    def project(self, matrix):
        """Project a symmetric matrix on the cone; see `Cone.project`."""
        return IdentityProjection(matrix)

    def constraints(self, matrix):
        """No constraint; see `Cone.constraints`."""
        return []


class IdentityProjection(Projection):
    """A matrix that is in the cone already, with all its neighbours."""

    def derivative(self, direction):
        """Change of the projection; see `Projection.derivative`."""
        return direction

    def n_products(self, n_features):
        """Width of the products; see `Projection.n_products`."""
        return n_features * (n_features + 1) // 2

    def products(self, differences):
        """Products of features; see `Projection.products`."""
        row, column = np.triu_indices(differences.shape[1])
        weight = np.where(row == column, 1.0, np.sqrt(2.0)).astype(differences.dtype)
        return differences[:, row] * (weight * differences[:, column])

    def gram(self, differences):
        """Gram matrix; see `Projection.gram`."""
        gram = differences @ differences.T
        gram *= gram
        return gram
