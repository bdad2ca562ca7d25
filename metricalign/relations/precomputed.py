"""Relations that are given as a matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metricalign.relations.kinds import check_n_samples, check_target_array
from metricalign.relations.target import TargetRelation

__all__ = ["PrecomputedRelation"]

# Two relations of a pair count as equal if they differ by at most this share: single precision has
# rounding errors of 1e-7, and sums of many terms larger ones.
SYMMETRY_TOLERANCE = 1e-6


class PrecomputedRelation(TargetRelation):
    """The relation of a pair is an entry of a matrix that is given in place of the targets.

    ``resolve_relation("precomputed", y)`` makes this object. `y` is a symmetric matrix of shape
    (n_samples, n_samples). Its diagonal is ignored. In a dense matrix every pair has a relation. In
    a sparse matrix only the stored pairs have one. An explicit zero counts as stored. A pair may be
    stored once, in either triangle.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> from scipy.sparse import coo_array
    >>> ratings = coo_array(([0.5, 0.0], ([0, 1], [1, 2])), shape=(3, 3))
    >>> relation = resolve_relation("precomputed", ratings)
    >>> targets = relation.encode(ratings)
    >>> relation.stored_pairs(targets)
    array([[0, 1],
           [1, 2]])
    >>> relation(targets, [[1, 0], [1, 2]])
    array([0.5, 0. ])
    """

    def __init__(self):
        super().__init__(name="precomputed", kind="precomputed")

    def encode(self, y: ArrayLike, n_samples: int | None = None) -> NDArray | sparse.csr_array:
        """Validate a relation matrix.

        Parameters
        ----------
        y : array-like or sparse matrix of shape (n_samples, n_samples)
            Relations of the pairs of any samples, in training or not.
        n_samples : int or None, default=None
            Required number of samples. None allows any number.

        Returns
        -------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            The relations in float64. The matrix is exactly symmetric. Its diagonal is zero if it is
            dense, and not stored if it is sparse.

        Raises
        ------
        ValueError
            If `y` is not square, has another number of samples, is not symmetric, or has an entry
            off its diagonal that is not finite.
        """
        matrix = check_target_array(
            y, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False
        )
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                'y must be a square matrix with relation="precomputed", one row and one '
                f"column a sample, but it has shape {matrix.shape}."
            )
        check_n_samples(matrix, n_samples)
        encode = _symmetric_sparse if sparse.issparse(matrix) else _symmetric_dense
        return encode(matrix)

    def stored_pairs(self, targets: NDArray | sparse.csr_array) -> NDArray:
        """List the pairs that have a relation.

        Parameters
        ----------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            A relation matrix as returned by `encode`.

        Returns
        -------
        pairs : ndarray of int of shape (n_pairs, 2)
            All pairs of a dense matrix, or the stored pairs of a sparse one. Each pair i < j comes
            once, and the pairs are sorted.
        """
        if sparse.issparse(targets):
            rows, columns = sparse.coo_array(targets).coords
            upper = rows < columns
            return np.column_stack([rows[upper], columns[upper]]).astype(np.intp)
        return np.column_stack(np.triu_indices(len(targets), k=1))

    def __call__(self, targets: NDArray | sparse.csr_array, pairs: ArrayLike) -> NDArray:
        """Look up the relation of each pair.

        Parameters
        ----------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            A relation matrix as returned by `encode`.
        pairs : array-like of int of shape (n_pairs, 2)
            Indices of the two samples of each pair.

        Returns
        -------
        relations : ndarray of float64 of shape (n_pairs,)
            The entries of the matrix.

        Raises
        ------
        ValueError
            If a pair is not stored in a sparse matrix.
        """
        pairs = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
        left, right = pairs.T
        if not sparse.issparse(targets):
            return targets[left, right]
        # An indexed sparse matrix has zeros for missing relations too.
        rows, columns = sparse.coo_array(targets).coords
        stored = _pair_keys(rows, columns, targets.shape[0])
        wanted = _pair_keys(left, right, targets.shape[0])
        place = np.searchsorted(stored, wanted)
        is_stored = place < len(stored)
        is_stored[is_stored] = stored[place[is_stored]] == wanted[is_stored]
        if not is_stored.all():
            i, j = pairs[~is_stored][0].tolist()
            raise ValueError(
                f"pairs must be among those stored in the sparse y, but y[{i}, {j}] is not "
                "stored. Store a relation of zero as an explicit zero."
            )
        return targets.data[place]


def resolve_precomputed(y: ArrayLike) -> PrecomputedRelation:
    """The relation of a matrix, which must store two different relations, or one pair only."""
    relation = PrecomputedRelation()
    targets = relation.encode(y)
    if targets.shape[0] < 2:
        raise ValueError("y has 1 sample, but a pair needs at least 2 samples.")
    values = relation(targets, relation.stored_pairs(targets))
    if len(values) == 0:
        raise ValueError(
            "y stores no relation off its diagonal. It must store those of the known pairs; a "
            "relation of zero is stored as an explicit zero."
        )
    if len(values) > 1 and values.min() == values.max():
        raise ValueError(
            f"y is constant, all its relations are {values[0]:g}: every pair would have the same "
            "relation. It must have at least two different relations."
        )
    return relation


def _symmetric_dense(matrix):
    matrix = matrix.copy()
    np.fill_diagonal(matrix, 0.0)
    _check_finite_relations(matrix)
    rows, columns = np.nonzero(_disagree(matrix, matrix.T))
    if len(rows):
        i, j = rows[0], columns[0]
        _raise_asymmetric(i, j, matrix[i, j], matrix[j, i])
    return matrix / 2 + matrix.T / 2  # the sum of both may overflow


def _symmetric_sparse(matrix):
    matrix = sparse.csr_array(matrix, copy=True)
    matrix.sum_duplicates()
    rows, columns = matrix.tocoo().coords
    off_diagonal = rows != columns
    rows, columns, values = rows[off_diagonal], columns[off_diagonal], matrix.data[off_diagonal]
    _check_finite_relations(values)

    first, second = np.minimum(rows, columns), np.maximum(rows, columns)
    keys = _pair_keys(first, second, matrix.shape[0])
    _, once, pair = np.unique(keys, return_index=True, return_inverse=True)
    disagree = _disagree(values, values[once][pair])
    if disagree.any():
        here = np.flatnonzero(disagree)[0]
        i, j = first[here], second[here]
        _raise_asymmetric(i, j, matrix[i, j], matrix[j, i])
    first, second, values = first[once], second[once], values[once]
    coordinates = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_array((np.tile(values, 2), coordinates), shape=matrix.shape)


def _pair_keys(rows, columns, n_samples):
    return np.asarray(rows, dtype=np.int64) * n_samples + columns


def _check_finite_relations(values):
    if not np.isfinite(values).all():
        raise ValueError(
            "y has a relation that is NaN or infinite. It must be finite; leave unknown "
            "relations out, in a sparse matrix."
        )


def _disagree(values, mirrored):
    with np.errstate(over="ignore"):
        return abs(values - mirrored) > SYMMETRY_TOLERANCE * abs(values).max(initial=0.0)


def _raise_asymmetric(i, j, value, mirrored):
    raise ValueError(
        f"y must be symmetric, but y[{i}, {j}] is {value:g} and y[{j}, {i}] is {mirrored:g}. "
        "A pair may be stored once only in a sparse matrix."
    )
