"""The two operators over samples in memory."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import as_dense
from metricalign.operators.kernels import PairGraph, fastest_kernels, plain

__all__ = ["PairOperator"]

# The Laplacian adds products of samples. These cancel where samples are larger than their
# differences. If the ratio of their squares is above this limit, the operator takes products of the
# differences, which is slower. At the limit of float32 more than half of the digits are lost, but a
# lower limit would slow down ordinary data.
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
        Whether to map diagonal matrices only. All methods then take and return diagonals, of
        shape (n_features,), in place of matrices.
    dtype : type or None, default=None
        Type of the computation, float32 or float64. None takes the type of X. `astype` starts from
        X as it was given, so that no digits are lost.

    Attributes
    ----------
    n_passes : float
        Number of applications so far. One over a part of the pairs counts as that part.
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
        # This is a list, so that copies of the operator count together.
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
        # A module cannot be pickled, and another machine may lack numba.
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
        """The two samples of each pair, as indices of the samples that are in a pair."""
        return self._graph.pairs

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self._graph.pairs)

    @property
    def n_passes(self) -> float:
        """Number of applications so far. One over a part of the pairs counts as that part."""
        return self._n_passes[0]

    @property
    def resolution(self) -> NDArray:
        """Rounding error of each distance, divided by the Frobenius norm of the matrix.

        In `adjoint` each pair adds the same error, times its coefficient.

        Returns
        -------
        resolution : ndarray of shape (n_pairs,)
            Relative rounding error of each distance.
        """
        norms = np.sqrt(plain.row_dots(self._X, self._X).astype(np.float64))
        left, right = self.pairs.T
        reach = norms[left] + norms[right]
        # The Laplacian adds products of samples. The slower way adds products of differences.
        lengths = reach if self._uses_laplacian else np.sqrt(self.squared_lengths)
        unit = float(np.finfo(self.dtype).eps) * (4 + np.sqrt(self.n_features))
        return unit * reach * lengths

    def _centred(self, dtype):
        """Samples minus their mean, which is subtracted in double precision.

        Distances stay the same, and the Laplacian loses fewer digits.
        """
        if np.ndim(self._mean) == 0:
            return self._given.astype(dtype, copy=False)
        centred = np.empty(self._given.shape, dtype=dtype)
        return np.subtract(self._given, self._mean, out=centred, casting="same_kind")

    @property
    def _uses_laplacian(self):
        return not self._cancels and self.n_pairs >= self._X.shape[0]

    def astype(self, dtype: type) -> Self:
        """Operator in another precision. Its applications count in `n_passes` of this one.

        Parameters
        ----------
        dtype : type
            float32 or float64.

        Returns
        -------
        operator : PairOperator
            The operator in this precision.
        """
        operator = copy(self)
        operator.dtype = np.dtype(dtype)
        if operator.dtype != self.dtype:
            operator._X = self._centred(operator.dtype)
            operator._rows = None
            operator.squared_lengths = self._kernels.squared_lengths(operator._X, self._graph)
        return operator

    def restricted(self, subset: NDArray) -> Self:
        """Operator over some of the pairs.

        Each of its applications counts in `n_passes` of this operator, as the share of its pairs.

        Parameters
        ----------
        subset : ndarray of int of shape (n_subset,)
            Indices of the pairs.

        Returns
        -------
        operator : PairOperator
            The operator over these pairs.
        """
        operator = copy(self)
        operator._share = self._share * len(subset) / self.n_pairs
        operator.squared_lengths = self.squared_lengths[subset]
        operator._graph = PairGraph(self.pairs[subset], self._X.shape[0])
        return operator

    def differences(self) -> NDArray:
        """Differences z_p of the pairs as one array, for few pairs only.

        Returns
        -------
        differences : {ndarray, csr_array} of shape (n_pairs, n_features)
            A sparse array if X is sparse and matrices are diagonal.
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
            Squared distance of each pair.
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
            The symmetric sum.
        """
        self._n_passes[0] += self._share
        dual_coef = np.asarray(dual_coef, dtype=self.dtype)
        if self._uses_laplacian:
            # This is half of L(beta) X, plus a part whose product with X^T is antisymmetric.
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
        """Array of the size of the samples. It is allocated once."""
        if self._rows is None and not sparse.issparse(self._X):
            self._rows = np.empty_like(self._X)
        return self._rows

    def _transposed_times(self, left, right):
        """Product left.T @ right, or its diagonal."""
        if self.is_diagonal:
            if not sparse.issparse(left):
                return np.einsum("ij,ij->j", left, right)
            return np.asarray(left.multiply(right).sum(axis=0)).ravel()
        return as_dense(left.T @ right)

    def _times(self, rows, matrix, out=None):
        """Product rows @ matrix. A vector stands for a diagonal matrix."""
        if sparse.issparse(rows):
            return rows @ matrix if matrix.ndim == 2 else rows.multiply(matrix).tocsr()
        return (np.matmul if matrix.ndim == 2 else np.multiply)(rows, matrix, out=out)

    def _differences(self, batch):
        left, right = self.pairs[batch].T
        return self._X[left] - self._X[right]


def _scaled(rows, factors):
    """Multiply each row by its factor."""
    if sparse.issparse(rows):
        return sparse.diags_array(factors) @ rows
    return rows * factors[:, None]
