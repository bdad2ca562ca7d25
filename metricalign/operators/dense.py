"""The two operators between matrices and pairs that do all the heavy work.

With z_p = x_i - x_j the difference of pair p = (i, j) and L(beta) the graph Laplacian of the
pairs weighted by beta,

    distances(M)_p = z_p^T M z_p
    adjoint(beta)  = sum_p beta_p z_p z_p^T = X^T L(beta) X

take O(n d^2 + P d) time and O(n d + P) memory.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign.operators.kernels import PairGraph, fastest_kernels, plain

__all__ = ["PairOperator"]

# The Laplacian adds products of samples, which cancel where samples are larger than their
# differences. If their squares are more times larger than this, the slower way is taken: products
# of the differences. At the limit of float32 more than half of the digits are lost, but a lower one
# would slow down ordinary data.
_TOLERATED_CANCELLATION = {np.dtype(np.float32): 1e4, np.dtype(np.float64): 1e6}


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
    dtype : type or None, default=None
        Type in which it works, float32 or float64; that of X if None. `astype` starts from X as
        given, so that no digits are lost.

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

    def __init__(
        self,
        X: NDArray | sparse.csr_array,
        pairs: NDArray,
        *,
        is_diagonal: bool = False,
        dtype: type | None = None,
    ):
        is_used = np.zeros(X.shape[0], dtype=bool)
        is_used[pairs] = True
        pairs = (np.cumsum(is_used) - 1)[pairs]
        X = X[is_used]
        self._given, self._mean = X, 0.0
        if not sparse.issparse(X):
            self._mean = X.mean(axis=0, dtype=np.float64)
        self.dtype = np.dtype(X.dtype if dtype is None else dtype)
        self._X = X = self._centred(self.dtype)
        if self.dtype == np.float64:
            self._given, self._mean = X, 0.0
        self.n_features = X.shape[1]
        self.is_diagonal = is_diagonal
        # A list, so that copies of the operator count together.
        self._n_passes, self._share = [0.0], 1.0
        self._kernels = plain if sparse.issparse(X) else fastest_kernels()
        self._graph = PairGraph(pairs, X.shape[0])
        self.squared_lengths = self._kernels.squared_lengths(X, self._graph)
        positive = self.squared_lengths[self.squared_lengths > 0]
        self._cancels = bool(
            len(positive)
            and plain.row_dots(X, X).max()
            > _TOLERATED_CANCELLATION[X.dtype] * np.quantile(positive, 0.01)
        )
        self._rows: NDArray | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A module cannot be pickled, and another machine may have another one.
        return {name: value for name, value in vars(self).items() if name != "_kernels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._kernels = plain if sparse.issparse(self._X) else fastest_kernels()

    @property
    def matrix_shape(self) -> tuple[int, ...]:
        """Shape of the matrices that are mapped."""
        return (self.n_features,) * (1 if self.is_diagonal else 2)

    @property
    def pairs(self) -> NDArray:
        """The two samples of each pair, among the samples that are in any."""
        return self._graph.pairs

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self._graph.pairs)

    @property
    def n_passes(self) -> float:
        """Applications so far; one over a part of the pairs counts as that part."""
        return self._n_passes[0]

    @property
    def resolution(self) -> NDArray:
        """Rounding error of each distance, divided by the Frobenius norm of the matrix.

        In `adjoint` each coefficient adds the same error, times its size.

        Returns
        -------
        resolution : ndarray of shape (n_pairs,)
        """
        norms = np.sqrt(plain.row_dots(self._X, self._X).astype(np.float64))
        left, right = self.pairs.T
        reach = norms[left] + norms[right]
        # The Laplacian adds products of samples; the slower way adds those of their differences.
        lengths = reach if self._uses_laplacian else np.sqrt(self.squared_lengths)
        unit = float(np.finfo(self.dtype).eps) * (4 + np.sqrt(self.n_features))
        return unit * reach * lengths

    def _centred(self, dtype):
        """Samples less their mean: distances do not change, and the Laplacian loses fewer digits.

        The mean is subtracted in double precision from the samples as they were given.
        """
        if np.ndim(self._mean) == 0:
            return self._given.astype(dtype, copy=False)
        centred = np.empty(self._given.shape, dtype=dtype)
        return np.subtract(self._given, self._mean, out=centred, casting="same_kind")

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
        if operator.dtype != self.dtype:
            operator._X = self._centred(operator.dtype)
            operator._rows = None
            operator.squared_lengths = self._kernels.squared_lengths(operator._X, self._graph)
        return operator

    def restricted(self, subset: NDArray) -> Self:
        """Operator over some of the pairs, whose applications count here as their share of all.

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
        operator._graph = PairGraph(self.pairs[subset], self._X.shape[0])
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
        self._n_passes[0] += self._share
        matrix = matrix.astype(self.dtype, copy=False)
        if self._uses_laplacian:
            mapped = self._times(self._X, matrix, self._scratch())
            return self._kernels.squared_distances(self._X, mapped, self._graph)
        distances = np.empty(self.n_pairs, dtype=self.dtype)
        for batch in plain.pair_batches(self._X, self.n_pairs):
            difference = self._differences(batch)
            distances[batch] = plain.row_dots(difference, self._times(difference, matrix))
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
        self._n_passes[0] += self._share
        dual_coef = np.asarray(dual_coef, dtype=self.dtype)
        if self._uses_laplacian:
            # Half of L(beta) X, up to a part whose product with X^T is antisymmetric.
            degrees = (0.5 * self._graph.degrees(dual_coef)).astype(self.dtype)
            rows = self._kernels.weighted_rows(
                self._X, degrees, dual_coef, self._graph, self._scratch()
            )
            half = self._transposed_times(self._X, rows)
            return half + half.T
        matrix = np.zeros(self.matrix_shape, dtype=self.dtype)
        for batch in plain.pair_batches(self._X, self.n_pairs):
            difference = self._differences(batch)
            matrix += self._transposed_times(difference, _scaled(difference, dual_coef[batch]))
        return 0.5 * (matrix + matrix.T)

    def _scratch(self):
        """An array of the size of the samples that is allocated once."""
        if self._rows is None and not sparse.issparse(self._X):
            self._rows = np.empty_like(self._X)
        return self._rows

    def _transposed_times(self, left, right):
        """left.T @ right, or the diagonal of it."""
        if self.is_diagonal:
            if not sparse.issparse(left):
                return np.einsum("ij,ij->j", left, right)
            return np.asarray(left.multiply(right).sum(axis=0)).ravel()
        product = left.T @ right
        return product.toarray() if sparse.issparse(product) else product

    def _times(self, rows, matrix, out=None):
        """Rows @ matrix, where a vector stands for a diagonal matrix."""
        if sparse.issparse(rows):
            return rows @ matrix if matrix.ndim == 2 else rows.multiply(matrix).tocsr()
        return (np.matmul if matrix.ndim == 2 else np.multiply)(rows, matrix, out=out)

    def _differences(self, batch):
        left, right = self.pairs[batch].T
        return self._X[left] - self._X[right]


def _scaled(rows, factors):
    """Rows times a factor each."""
    if sparse.issparse(rows):
        return sparse.diags_array(factors) @ rows
    return rows * factors[:, None]
