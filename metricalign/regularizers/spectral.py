"""Regularizers of the eigenvalues, such as the cone of positive semidefinite matrices."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from metricalign.regularizers.regularizer import Projection, Regularizer

if TYPE_CHECKING:
    from metricalign.operators import PairOperator

__all__ = ["AbovePrior", "PositiveSemidefinite", "Shrinkage", "SpectralRegularizer"]

# Divided differences that are this near to one are set to one: they differ by rounding only.
_ROUNDING = 1e-12


class Shrinkage(NamedTuple):
    """The proximal step of eigenvalues, and its derivative diag(slope) - coupling coupling^T.

    Attributes
    ----------
    eigenvalues : ndarray of shape (n_features,)
        Eigenvalues of the result.
    slope : ndarray of shape (n_features,)
        Derivative of each eigenvalue of the result by the same eigenvalue of the argument.
    coupling : ndarray of shape (n_features,) or None
        Dependence of all eigenvalues on each other, for example because their sum is fixed. None
        if they are independent.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.regularizers import PositiveSemidefinite
    >>> PositiveSemidefinite().shrink(np.array([-1.0, 2.0]), step=1.0).eigenvalues
    array([0., 2.])
    """

    eigenvalues: NDArray
    slope: NDArray
    coupling: NDArray | None = None


class SpectralRegularizer(Regularizer):
    """A regularizer that depends only on the eigenvalues of M.

    A subclass implements `shrink`, the proximal step of the eigenvalues, and `price`, their cost.
    The steps of matrices and their derivatives (by Loewner's formula) follow from these.

    A subclass should set ``keeps_span = True`` if `shrink` keeps zero eigenvalues at zero, and if
    they do not influence the others. Then problems with fewer samples than features are solved
    in the span of the samples.

    References
    ----------
    A. S. Lewis. "The convex analysis of unitarily invariant matrix functions". Journal of Convex
    Analysis 2 (1995).

    Examples
    --------
    The trace norm, which is the sum of the absolute eigenvalues:

    >>> import numpy as np
    >>> from metricalign.regularizers import Shrinkage, SpectralRegularizer
    >>> class TraceNorm(SpectralRegularizer):
    ...     keeps_span = True
    ...     def shrink(self, eigenvalues, step):
    ...         size = np.maximum(np.abs(eigenvalues) - step, 0)
    ...         return Shrinkage(np.sign(eigenvalues) * size, np.where(size > 0, 1.0, 0.0))
    ...     def price(self, eigenvalues):
    ...         return np.abs(eigenvalues).sum()
    >>> TraceNorm().project(np.diag([3.0, -0.5])).matrix
    array([[2., 0.],
           [0., 0.]])
    """

    def shrink(self, eigenvalues: NDArray, step: float) -> Shrinkage:
        """Proximal step of the eigenvalues. It must not depend on their order.

        Parameters
        ----------
        eigenvalues : ndarray of shape (n_features,)
            In increasing order.
        step : float
            Weight of the price.

        Returns
        -------
        shrinkage : Shrinkage
            The new eigenvalues, and the derivative of the step.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method shrink, as a spectral regularizer must."
        )

    def price(self, eigenvalues: NDArray) -> float:
        """R(M) of an allowed matrix M, given its eigenvalues. It is 0 by default.

        Parameters
        ----------
        eigenvalues : ndarray of shape (n_features,)
            In increasing order.

        Returns
        -------
        price : float
            R(M).
        """
        return 0.0

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        eigenvalues, eigenvectors = linalg.eigh(matrix, check_finite=False, driver="evd")
        shrinkage = self.shrink(eigenvalues, step)
        price = float(self.price(shrinkage.eigenvalues))
        return _SpectralProjection(eigenvalues, eigenvectors, shrinkage, price)


class PositiveSemidefinite(SpectralRegularizer):
    """Positive semidefinite matrices: each of them defines a (pseudo-)metric.

    Examples
    --------
    >>> import numpy as np
    >>> PositiveSemidefinite().project(np.diag([1.0, -2.0])).matrix
    array([[1., 0.],
           [0., 0.]])
    """

    is_constraint = True
    keeps_span = True
    keeps_span_of_identity = True

    def shrink(self, eigenvalues: NDArray, step: float) -> Shrinkage:
        # Zero counts as positive, so that a Newton step can leave M = 0.
        slope = (eigenvalues >= 0).astype(eigenvalues.dtype)
        return Shrinkage(np.maximum(eigenvalues, 0), slope)

    def expression(self, matrix: Any) -> tuple[Any, list]:
        return 0.0, [matrix >> 0]


class AbovePrior(PositiveSemidefinite):
    """Matrices M for which M - M0 is positive semidefinite, where M0 is the prior.

    No learned distance is smaller than that of the prior. With ``prior="identity"`` the metric can
    increase Euclid's distance, but cannot ignore a feature. Without a prior this is the cone of
    positive semidefinite matrices.

    Examples
    --------
    >>> import numpy as np
    >>> regularizer = AbovePrior().for_problem(None, prior=np.eye(2))
    >>> regularizer.project(np.diag([3.0, -2.0])).matrix
    array([[3., 0.],
           [0., 1.]])
    """

    keeps_span = True
    keeps_span_of_identity = True

    def for_problem(self, operator: PairOperator, prior: NDArray) -> Self:
        regularizer = copy(self)
        regularizer._prior = prior
        return regularizer

    def project(self, matrix: NDArray, step: float = 1.0) -> Projection:
        projection = super().project(matrix - self._prior, step)
        projection.matrix = self._prior + projection.matrix
        return projection

    def expression(self, matrix: Any) -> tuple[Any, list]:
        return 0.0, [matrix - self._prior >> 0]


class _SpectralProjection(Projection):
    """A matrix whose eigenvalues l have been replaced by f(l).

    Loewner's formula gives the derivative. In the basis of the eigenvectors it multiplies the entry
    (i, j) by (f(l_i) - f(l_j)) / (l_i - l_j), and the diagonal changes as the eigenvalues do.
    """

    def __init__(self, eigenvalues, eigenvectors, shrinkage, price):
        self._eigenvalues, self._eigenvectors = eigenvalues, eigenvectors
        self._shrinkage = shrinkage
        used = np.flatnonzero(shrinkage.eigenvalues)
        used = slice(used[0], used[-1] + 1) if len(used) else slice(0)
        vectors = eigenvectors[:, used]
        super().__init__((vectors * shrinkage.eigenvalues[used]) @ vectors.T, price)

    @cached_property
    def _factors(self):
        """Loewner's factors of all entries, of shape (n_features, n_features)."""
        shrunk, slope, _ = self._shrinkage
        apart = self._eigenvalues[:, None] - self._eigenvalues
        change = shrunk[:, None] - shrunk
        equal = np.broadcast_to(slope, apart.shape)
        factors = np.divide(change, apart, out=equal.copy(), where=apart != 0)
        factors[np.abs(factors - 1) < _ROUNDING] = 1
        # A proximal step is monotone and nonexpansive.
        return np.clip(factors, 0, 1, out=factors)

    @cached_property
    def _kept(self):
        """Eigenvectors for whose span the derivative is the identity, if there are any."""
        kept = np.flatnonzero(self._shrinkage.slope == 1)
        if len(kept) and np.all(self._factors[np.ix_(kept, kept)] == 1):
            return kept
        return kept[:0]

    @cached_property
    def _entries(self):
        """Rows, columns and weights of the entries in which the derivative is not zero.

        The entries of kept eigenvectors come first. The last value returned is their number. If
        there is a coupling, the diagonal is left out.
        """
        is_kept = np.zeros(len(self._eigenvalues), dtype=bool)
        is_kept[self._kept] = True
        both = is_kept[:, None] & is_kept
        start = 0 if self._shrinkage.coupling is None else 1
        inside = np.nonzero(np.triu(both, start))
        mixed = np.nonzero(np.triu((self._factors > 0) & ~both, start))
        row, column = (np.concatenate(parts) for parts in zip(inside, mixed, strict=True))
        twice = np.where(row == column, 1.0, 2.0)
        return row, column, np.sqrt(twice * self._factors[row, column]), len(inside[0])

    @cached_property
    def _root(self):
        """R with R R^T = diag(slope) - coupling coupling^T. It is empty without a coupling."""
        _, slope, coupling = self._shrinkage
        if coupling is None:
            return np.empty((len(slope), 0))
        values, vectors = np.linalg.eigh(np.diag(slope) - np.outer(coupling, coupling))
        return (vectors * np.sqrt(np.maximum(values, 0)))[:, values > _ROUNDING]

    def derivative(self, direction: NDArray) -> NDArray:
        Q, coupling = self._eigenvectors, self._shrinkage.coupling
        rotated = Q.T @ direction @ Q
        diagonal = np.diag(rotated)
        common = 0.0 if coupling is None else coupling * (coupling @ diagonal)
        rotated *= self._factors
        rotated[np.diag_indices_from(rotated)] -= common
        return Q @ rotated @ Q.T

    def n_products(self, n_features: int) -> int:
        return len(self._entries[0]) + self._root.shape[1]

    def products(self, differences: NDArray) -> NDArray:
        row, column, weight, _ = self._entries
        rotated = self._rotated(differences)
        products = rotated[:, row] * (weight.astype(rotated.dtype) * rotated[:, column])
        if self._root.shape[1]:
            return np.hstack([products, rotated**2 @ self._root.astype(rotated.dtype)])
        return products

    def coordinates(self, matrix: NDArray) -> NDArray:
        row, column, weight, _ = self._entries
        rotated = self._eigenvectors.T @ matrix @ self._eigenvectors
        return np.concatenate([weight * rotated[row, column], np.diag(rotated) @ self._root])

    def from_coordinates(self, coordinates: NDArray) -> NDArray:
        row, column, weight, _ = self._entries
        rotated = np.zeros_like(self._eigenvectors, dtype=coordinates.dtype)
        rotated[row, column] = 0.5 * weight * coordinates[: len(row)]
        rotated += rotated.T
        rotated[np.diag_indices_from(rotated)] += self._root @ coordinates[len(row) :]
        return self._eigenvectors @ rotated @ self._eigenvectors.T

    def gram(self, differences: NDArray) -> NDArray:
        row, column, weight, n_kept = self._entries
        rotated = self._rotated(differences)
        kept = rotated[:, self._kept]
        gram = kept @ kept.T
        gram *= gram
        row, column, weight = (part[n_kept:] for part in (row, column, weight))
        mixed = rotated[:, row] * (weight.astype(rotated.dtype) * rotated[:, column])
        gram += mixed @ mixed.T
        coupling = self._shrinkage.coupling
        if coupling is not None:
            # The diagonal is diag(slope) less the coupling. Above only its kept part is counted.
            squares = rotated**2
            others = self._shrinkage.slope.copy()
            others[self._kept] = 0
            gram += (squares * others) @ squares.T
            common = squares @ coupling.astype(rotated.dtype)
            gram -= np.multiply.outer(common, common)
        return gram

    def _rotated(self, differences):
        """Differences in the basis of the eigenvectors."""
        return differences @ self._eigenvectors.astype(differences.dtype, copy=False)
