"""The two operators between matrices and pairs that do all the heavy work.

With z_p = x_i - x_j the difference of pair p = (i, j) and L(beta) the graph Laplacian of the
pairs weighted by beta,

    distances(M)_p = z_p^T M z_p
    adjoint(beta)  = sum_p beta_p z_p z_p^T = X^T L(beta) X

take O(n d^2 + P d) time and O(n d + P) memory.
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["PairOperator"]

# Bytes gathered at once: few enough to stay in the cache.
_BATCH_BYTES = 2**18
# Digits that the Laplacian may lose beside the differences themselves.
_TOLERATED_CANCELLATION = 1e6


class PairOperator:
    """Squared distances of pairs as a linear map of the metric, and its adjoint.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples, float32 or float64.
    pairs : ndarray of int of shape (n_pairs, 2)
        The two samples of each pair.
    is_diagonal : bool, default=False
        Whether to map diagonal matrices only, which are then written as their diagonals, of
        shape (n_features,), here and in all methods.

    Attributes
    ----------
    n_passes : float
        Applications so far; one over a part of the pairs counts as that part.
    squared_lengths : ndarray of shape (n_pairs,)
        Squared Euclidean lengths of the differences z_p.

    Examples
    --------
    >>> import numpy as np
    >>> operator = PairOperator(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([[0, 1]]))
    >>> operator.distances(np.eye(2))
    array([5.])
    >>> operator.adjoint(np.array([2.0]))
    array([[2., 4.],
           [4., 8.]])
    """

    def __init__(self, X: NDArray | sparse.csr_array, pairs: NDArray, *, is_diagonal: bool = False):
        used, pairs = np.unique(pairs, return_inverse=True)
        X = X[used]
        if not sparse.issparse(X):
            # Distances do not change, and the Laplacian loses fewer digits.
            X = np.ascontiguousarray(X - X.mean(axis=0))
        self._X = X
        self.n_features = X.shape[1]
        self.dtype = X.dtype
        self.is_diagonal = is_diagonal
        self.n_passes = 0.0
        self._whole, self._share = self, 1.0
        self._set_pairs(pairs.reshape(-1, 2))
        self.squared_lengths = np.empty(self.n_pairs, dtype=self.dtype)
        for batch in self._batches():
            difference = self._differences(batch)
            self.squared_lengths[batch] = _row_dots(difference, difference)
        positive = self.squared_lengths[self.squared_lengths > 0]
        self._cancels = bool(
            len(positive)
            and _row_dots(X, X).max() > _TOLERATED_CANCELLATION * np.quantile(positive, 0.01)
        )

    @property
    def matrix_shape(self) -> tuple[int, ...]:
        """Shape of the matrices that are mapped."""
        return (self.n_features,) * (1 if self.is_diagonal else 2)

    def _set_pairs(self, pairs):
        self.pairs = pairs
        self.n_pairs = len(pairs)
        # The pairs as a sparse matrix, built once: only its data change with beta.
        self._order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        self._first = np.searchsorted(pairs[self._order, 0], np.arange(self._X.shape[0] + 1))

    @property
    def _uses_laplacian(self):
        return not self._cancels and self.n_pairs >= self._X.shape[0]

    def astype(self, dtype: type) -> Self:
        """Operator in another precision, whose applications count here.

        Parameters
        ----------
        dtype : type
            float32 or float64.

        Returns
        -------
        operator : PairOperator
        """
        operator = copy(self)
        operator.dtype = np.dtype(dtype)
        operator._X = self._X.astype(dtype, copy=False)
        operator.squared_lengths = self.squared_lengths.astype(dtype, copy=False)
        return operator

    def restricted(self, subset: NDArray) -> Self:
        """Operator over some of the pairs, whose applications count here in their share.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Which pairs.

        Returns
        -------
        operator : PairOperator
        """
        operator = copy(self)
        operator._share = self._share * len(subset) / self.n_pairs
        operator.squared_lengths = self.squared_lengths[subset]
        operator._set_pairs(self.pairs[subset])
        return operator

    def differences(self) -> NDArray:
        """Differences z_p of the pairs as one array: for few pairs only.

        Returns
        -------
        differences : {ndarray, csr_array} of shape (n_pairs, n_features)
            Sparse where X is and matrices are diagonal.
        """
        difference = self._differences(slice(None))
        if sparse.issparse(difference) and not self.is_diagonal:
            return difference.toarray()
        return difference

    def distances(self, matrix: NDArray) -> NDArray:
        """Squared distances z_p^T M z_p.

        Parameters
        ----------
        matrix : ndarray of shape (n_features, n_features)
            Symmetric matrix M.

        Returns
        -------
        distances : ndarray of shape (n_pairs,)
        """
        self._whole.n_passes += self._share
        distances = np.empty(self.n_pairs, dtype=self.dtype)
        if self._uses_laplacian:
            mapped = _times(self._X, matrix)
            own = _row_dots(self._X, mapped)
        for batch in self._batches():
            if self._uses_laplacian:
                left, right = self.pairs[batch].T
                shared = _row_dots(self._X[left], mapped[right])
                distances[batch] = own[left] + own[right] - 2 * shared
            else:
                difference = self._differences(batch)
                distances[batch] = _row_dots(difference, _times(difference, matrix))
        return distances

    def adjoint(self, dual_coef: NDArray) -> NDArray:
        """Weighted sum of rank-one matrices, sum_p beta_p z_p z_p^T.

        Parameters
        ----------
        dual_coef : ndarray of shape (n_pairs,)
            Coefficients beta of the pairs.

        Returns
        -------
        matrix : ndarray of shape (n_features, n_features)
        """
        self._whole.n_passes += self._share
        dual_coef = np.asarray(dual_coef, dtype=self.dtype)
        if self._uses_laplacian:
            half = self._transposed_times(self._X, self._half_laplacian(dual_coef))
            return half + half.T
        matrix = np.zeros(self.matrix_shape, dtype=self.dtype)
        for batch in self._batches():
            difference = self._differences(batch)
            weighted = sparse.diags_array(dual_coef[batch]) @ difference
            matrix += self._transposed_times(difference, weighted)
        return 0.5 * (matrix + matrix.T)

    def _transposed_times(self, left, right):
        """left.T @ right, or the diagonal of it."""
        if self.is_diagonal:
            product = left.multiply(right) if sparse.issparse(left) else left * right
            return np.asarray(product.sum(axis=0)).ravel()
        product = left.T @ right
        return product.toarray() if sparse.issparse(product) else product

    def _half_laplacian(self, dual_coef):
        """Half of L(beta) X, up to a part that is antisymmetric in the end."""
        left, right = self.pairs.T
        n_samples = self._X.shape[0]
        degree = np.bincount(left, dual_coef, n_samples)
        degree += np.bincount(right, dual_coef, n_samples)
        degree = sparse.diags_array((0.5 * degree).astype(self.dtype))
        edges = sparse.csr_array(
            (dual_coef[self._order], right[self._order], self._first), shape=(n_samples, n_samples)
        )
        return degree @ self._X - edges @ self._X

    def _differences(self, batch):
        left, right = self.pairs[batch].T
        return self._X[left] - self._X[right]

    def _batches(self):
        width = self.n_features
        if sparse.issparse(self._X):
            width = 1 + self._X.nnz // self._X.shape[0]
        size = max(1, _BATCH_BYTES // (width * self.dtype.itemsize))
        # gen_batches would validate its arguments each time: a fifth of a small fit.
        return (slice(start, start + size) for start in range(0, self.n_pairs, size))


def _times(rows, matrix):
    """Rows @ matrix, where a vector stands for a diagonal matrix."""
    if matrix.ndim == 2:
        return rows @ matrix
    return rows.multiply(matrix).tocsr() if sparse.issparse(rows) else rows * matrix


def _row_dots(left, right):
    """Inner products of the rows of two matrices, the first of which may be sparse."""
    if sparse.issparse(left):
        return np.asarray(left.multiply(right).sum(axis=1)).ravel()
    return np.einsum("ij,ij->i", left, right)
