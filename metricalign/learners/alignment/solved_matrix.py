"""The matrix of a metric in the form of the solved problem: full, diagonal, or in a span."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from metricalign.learners.components import (
    components_of,
    leading_eigenvalues,
    scaled_eigenvectors,
)

__all__ = ["DiagonalMatrix", "FullMatrix", "MatrixInSpan", "SolvedMatrix"]


class FullMatrix(NamedTuple):
    """A symmetric matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_features, n_features)
        Its entries.
    """

    matrix: NDArray

    def in_features(self) -> NDArray:
        """Return the matrix in the coordinates of the features."""
        return self.matrix

    def eigenvalues(self) -> NDArray:
        """Return all eigenvalues, in any order."""
        return np.linalg.eigvalsh(self.matrix)

    def components(self, n_components: int | float | None, dtype: Any) -> NDArray:
        """Return the linear map of the positive part; see `components_of`."""
        return components_of(self.matrix.astype(dtype), n_components)


class DiagonalMatrix(NamedTuple):
    """A diagonal matrix. Its components are sparse.

    Parameters
    ----------
    diagonal : ndarray of shape (n_features,)
        Its diagonal.
    """

    diagonal: NDArray

    def in_features(self) -> sparse.sparray:
        """Return the matrix in the coordinates of the features."""
        return sparse.diags_array(self.diagonal)

    def eigenvalues(self) -> NDArray:
        """Return all eigenvalues, in any order."""
        return self.diagonal

    def components(self, n_components: int | float | None, dtype: Any) -> sparse.csr_array:
        """Return the linear map of the positive part; see `components_of`."""
        diagonal = self.diagonal.astype(dtype)
        order = np.argsort(-diagonal, kind="stable")
        leading = leading_eigenvalues(diagonal[order], len(diagonal), n_components)
        rows, columns = np.arange(len(leading)), order[: len(leading)]
        shape = (len(leading), len(diagonal))
        return sparse.csr_array((np.sqrt(leading), (rows, columns)), shape=shape)


class MatrixInSpan(NamedTuple):
    """A matrix in the span of the samples, plus a multiple of the identity outside of the span.

    Parameters
    ----------
    matrix : ndarray of shape (n_coordinates, n_coordinates)
        The matrix in the coordinates of the span.
    basis : ndarray of shape (n_features, n_coordinates)
        Orthonormal columns that span the span of the samples.
    outside : float
        Eigenvalue of all directions that are orthogonal to the basis, at least 0.
    """

    matrix: NDArray
    basis: NDArray
    outside: float

    def in_features(self) -> NDArray:
        """Return the matrix in the coordinates of the features."""
        dtype = self.matrix.dtype
        inside = self.matrix - dtype.type(self.outside) * np.eye(len(self.matrix), dtype=dtype)
        metric = self.basis @ inside @ self.basis.T
        metric = metric + metric.T
        metric *= 0.5
        metric[np.diag_indices_from(metric)] += self.outside
        return metric

    def eigenvalues(self) -> NDArray:
        """Return all eigenvalues, in any order."""
        others = np.full(len(self.basis) - len(self.matrix), self.outside)
        return np.concatenate([np.linalg.eigvalsh(self.matrix), others])

    def components(self, n_components: int | float | None, dtype: Any) -> NDArray:
        """Return the linear map of the positive part; see `components_of`."""
        matrix, basis = self.matrix.astype(dtype), self.basis.astype(dtype, copy=False)
        eigenvalues, eigenvectors = np.linalg.eigh(matrix)
        eigenvalues, eigenvectors = eigenvalues[::-1], basis @ eigenvectors[:, ::-1]
        if self.outside > 0:
            complement = linalg.qr(basis, check_finite=False)[0][:, len(matrix) :]
            others = np.full(complement.shape[1], self.outside, dtype=dtype)
            place = np.searchsorted(-eigenvalues, -others[0])
            eigenvalues = np.insert(eigenvalues, place, others)
            eigenvectors = np.hstack([eigenvectors[:, :place], complement, eigenvectors[:, place:]])
        leading = leading_eigenvalues(eigenvalues, len(matrix), n_components)
        return scaled_eigenvectors(leading, eigenvectors)


#: A solved matrix in any of the forms.
SolvedMatrix = FullMatrix | DiagonalMatrix | MatrixInSpan
