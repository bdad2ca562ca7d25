"""The two operators over samples that are spread over the workers of a Dask cluster.

Each pair belongs to one block of samples. The block gets copies of the rows of other blocks that
its pairs need, once. With the pairs P_b of block b and z_p = x_i - x_j,

    distances(M)  = z_p^T M z_p for p in P_1, for p in P_2, ...
    adjoint(beta) = sum_b sum_{p in P_b} beta_p z_p z_p^T

An application moves matrices of shape (n_features, n_features) and one number for each pair. It
moves no sample. `differences` does, so it is for few pairs.
"""

from __future__ import annotations

from copy import copy
from operator import attrgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import batches
from metricalign.operators.dense import PairOperator
from metricalign.pairs.distributed import DistributedSamples, computed, persisted, taken

__all__ = ["DistributedPairOperator"]

# A worker adds at most so many matrices at a time, so that it does not hold those of all blocks.
_MATRICES_OF_SUM = 8


class DistributedPairOperator:
    """A `metricalign.operators.PairOperator` for samples that stay with the workers.

    Parameters
    ----------
    samples : DistributedSamples of shape (n_samples, n_features)
        Samples.
    pairs : ndarray of int of shape (n_pairs, 2)
        The two samples of each pair.
    is_diagonal : bool, default=False
        Whether to map diagonal matrices only, which are then written as their diagonals.

    Attributes
    ----------
    pairs : ndarray of int of shape (n_pairs, 2)
        The two samples of each pair.
    squared_lengths : ndarray of shape (n_pairs,)
        Squared Euclidean lengths of the differences z_p.

    Examples
    --------
    See `DistributedSamples`.
    """

    def __init__(self, samples: DistributedSamples, pairs: NDArray, *, is_diagonal: bool = False):
        from dask import delayed

        self.n_features = samples.shape[1]
        self.dtype = samples.dtype
        self.is_diagonal = is_diagonal
        self.pairs = pairs
        # A list, so that copies of the operator count together.
        self._n_passes, self._share = [0.0], 1.0
        self._members, rows, local = zip(*samples.blocks_of(pairs), strict=True)
        make = delayed(_block)
        self._blocks = persisted(
            make(*arguments, is_diagonal) for arguments in zip(rows, local, strict=True)
        )
        self.squared_lengths = np.empty(len(pairs), dtype=self.dtype)
        self._fill(self.squared_lengths, attrgetter("squared_lengths"))

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def n_passes(self) -> float:
        """Applications so far; one over a part of the pairs counts as that part."""
        return self._n_passes[0]

    @property
    def matrix_shape(self) -> tuple[int, ...]:
        """Shape of the matrices that are mapped."""
        return (self.n_features,) * (1 if self.is_diagonal else 2)

    @property
    def resolution(self) -> NDArray:
        """Rounding error of the distances of a matrix; see `PairOperator.resolution`."""
        return self._fill(np.empty(self.n_pairs), attrgetter("resolution"))

    def astype(self, dtype: type) -> Self:
        """Operator in another precision; see `PairOperator.astype`."""
        from dask import delayed

        operator = copy(self)
        if operator.dtype != dtype:
            operator.dtype = np.dtype(dtype)
            convert = delayed(PairOperator.astype)
            operator._blocks = persisted(convert(block, dtype) for block in self._blocks)
            operator.squared_lengths = np.empty(self.n_pairs, dtype=dtype)
            operator._fill(operator.squared_lengths, attrgetter("squared_lengths"))
        return operator

    def restricted(self, subset: NDArray) -> Self:
        """Operator over some of the pairs, each once; see `PairOperator.restricted`."""
        from dask import delayed

        operator = copy(self)
        operator._share = self._share * len(subset) / self.n_pairs
        operator.pairs = self.pairs[subset]
        operator.squared_lengths = self.squared_lengths[subset]
        place = np.full(self.n_pairs, -1)
        place[subset] = np.arange(len(subset))
        restrict, blocks, operator._members = delayed(PairOperator.restricted), [], []
        for block, members in zip(self._blocks, self._members, strict=True):
            kept = np.flatnonzero(place[members] >= 0)
            if len(kept):
                operator._members.append(place[members[kept]])
                blocks.append(restrict(block, kept))
        operator._blocks = persisted(blocks)
        return operator

    def differences(self) -> NDArray:
        """Differences z_p of the pairs as one array: for few pairs only.

        Returns
        -------
        differences : ndarray of shape (n_pairs, n_features)
        """
        differences = np.empty((self.n_pairs, self.n_features), dtype=self.dtype)
        return self._fill(differences, PairOperator.differences)

    def distances(self, matrix: NDArray) -> NDArray:
        """Squared distances z_p^T M z_p; see `PairOperator.distances`."""
        from dask import delayed

        self._n_passes[0] += self._share
        distances = np.empty(self.n_pairs, dtype=self.dtype)
        return self._fill(distances, PairOperator.distances, delayed(matrix))

    def adjoint(self, dual_coef: NDArray) -> NDArray:
        """Weighted sum of rank-one matrices; see `PairOperator.adjoint`."""
        from dask import delayed

        self._n_passes[0] += self._share
        dual_coef = np.asarray(dual_coef, dtype=self.dtype)
        apply, add = delayed(PairOperator.adjoint), delayed(sum)
        matrices = [
            apply(block, dual_coef[members])
            for block, members in zip(self._blocks, self._members, strict=True)
        ]
        while len(matrices) > 1:
            matrices = [add(matrices[b]) for b in batches(len(matrices), _MATRICES_OF_SUM)]
        return sum(computed(matrices), np.zeros(self.matrix_shape, dtype=self.dtype))

    def _fill(self, values, function, *arguments):
        """Fill an array with the values that a function returns for the pairs of each block."""
        from dask import delayed

        function = delayed(function)
        parts = computed(function(block, *arguments) for block in self._blocks)
        for members, part in zip(self._members, parts, strict=True):
            values[members] = part
        return values


class _PairsOfBlock(PairOperator):
    """The operator over the pairs of one block, which tells Dask its size."""

    def __sizeof__(self):
        values = (*vars(self).values(), *vars(self._graph).values())
        return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def _block(rows, pairs, is_diagonal):
    X = np.concatenate([taken(*part) if isinstance(part, tuple) else part for part in rows])
    return _PairsOfBlock(X, pairs, is_diagonal=is_diagonal)
