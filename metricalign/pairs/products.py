"""Nearest samples by blocked products in single precision, with a proof of what is found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

__all__ = ["nearest_by_products"]

# Queries and samples multiplied at a time: their products fit the cache of a core. There a product
# over 20 features takes 0.5 ns, and its part in the search for minima 0.1 ns. With queries as rows,
# in place of samples, it was 0.9 and 0.3 ns.
_QUERIES_OF_BLOCK, _SAMPLES_OF_BLOCK = 256, 4096
# Queries for which the samples are prepared once.
_QUERIES_AT_A_TIME = 8192
# Above two blocks of samples, one sample in so many, but at least half a block, tells about how far
# the neighbours are.
_SAMPLES_OF_ONE_PROBE = 12
# A query keeps this many candidates for each neighbour asked for; then only the nearest remain.
_MOST_CANDIDATES = 16
# Rows of a group: at first only the smallest product of each group is looked at.
_GROUP_SIZE = 32
# Samples that are found beyond those asked for; their distances bound those of all others.
_SURPLUS = 8
# No sample is as far as this, in units of the largest feature; rows that fill up a block are
# farther.
_FAR, _FARTHER = np.float32(1e30), np.float32(1e31)


def nearest_by_products(
    queries: NDArray, samples: NDArray, n_neighbors: int
) -> tuple[NDArray, NDArray, NDArray]:
    r"""Find the nearest samples, and say for which queries they are proven to be.

    Products in float32 order the samples s by :math:`\frac12\|s\|^2 - q \cdot s`. The first few are
    compared by differences in float64. The answer is proven where the products that were not
    compared exceed that of the last neighbour by more than the rounding of a product.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)
        Samples whose neighbours are sought. More is proven for those near the origin.
    samples : ndarray of shape (n_samples, n_features)
        Samples among which they are sought.
    n_neighbors : int
        Number of neighbours, at most n_samples.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors)
        Euclid's distances, ascending, in float64.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Rows of the samples.
    is_proven : ndarray of bool of shape (n_queries,)
        Whether no other sample can be nearer.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.products import nearest_by_products
    >>> samples = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> nearest_by_products(np.array([[2.5]]), samples, 2)
    (array([[0.5, 1.5]]), array([[2, 1]]), array([ True]))
    """
    number = min(n_neighbors + _SURPLUS, len(samples))
    unit = max(abs(bound) for X in (queries, samples) for bound in (X.min(), X.max())) or 1.0
    shape = len(queries), n_neighbors
    distances, indices = np.empty(shape), np.empty(shape, dtype=np.intp)
    is_proven = np.full(len(queries), number == len(samples))
    for batch in gen_batches(len(queries), _QUERIES_AT_A_TIME):
        found, bounds = _smallest_products(queries[batch], samples, number, unit)
        _sort_by_differences(queries[batch], samples, found, distances[batch], indices[batch])
        is_proven[batch] |= _exclude_others(queries[batch], distances[batch], bounds, unit)
    return distances, indices, is_proven


def _exclude_others(queries, distances, bounds, unit) -> NDArray:
    """Whether no sample whose product is at least `bounds` can be nearer than these distances."""
    length = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64)) / unit
    farthest = distances[:, -1] / unit
    # A nearer sample s has a length of at most that of q plus the distance. Its product is rounded
    # by less than (d + 4) u |q| |s|, and half its square by no more.
    rounding = (queries.shape[1] + 4) * 2.0**-24 * 1.5 * (length + farthest) ** 2
    smallest = np.finfo(np.float32).tiny * queries.shape[1]
    return bounds - 0.5 * farthest**2 + 0.5 * length**2 > rounding + smallest


def _sort_by_differences(queries, samples, found, distances, indices) -> None:
    n_neighbors = distances.shape[1]
    for batch in gen_batches(len(queries), _QUERIES_OF_BLOCK):
        # In the order of the samples, for those that are equally near.
        found[batch].sort(axis=1)
        differences = samples[found[batch]].astype(np.float64)
        differences -= queries[batch, None]
        exact = np.sqrt(np.einsum("ijk,ijk->ij", differences, differences))
        order = np.argsort(exact, axis=1, kind="stable")[:, :n_neighbors]
        indices[batch] = np.take_along_axis(found[batch], order, axis=1)
        distances[batch] = np.take_along_axis(exact, order, axis=1)


def _smallest_products(queries, samples, number, unit) -> tuple[NDArray, NDArray]:
    """For each query the samples with the smallest products, and a lower bound of all others."""
    factors = np.ones((queries.shape[1] + 1, len(queries)), dtype=np.float32)
    factors[:-1] = queries.T / unit
    bounds = _probable_bounds(factors, samples, number, unit)
    is_found, found, bounds = _below(factors, samples, number, unit, bounds)
    misled = np.flatnonzero(~is_found)
    if len(misled):
        # Probes mislead a few queries: for these, all samples are candidates.
        everywhere = np.full(len(misled), _FAR)
        _, found[misled], bounds[misled] = _below(
            factors[:, misled], samples, number, unit, everywhere
        )
    return found, bounds


def _probable_bounds(factors, samples, number, unit) -> NDArray:
    """A value for each query that its smallest ones are probably below, from some samples."""
    n_samples, n_queries = len(samples), factors.shape[1]
    bounds = np.full(n_queries, _FAR)
    n_probes = max(n_samples // _SAMPLES_OF_ONE_PROBE, _SAMPLES_OF_BLOCK // 2)
    expected = number * n_probes / n_samples
    # The probe of this rank is beyond the neighbours, with two standard deviations to spare.
    rank = int(expected + 2 * np.sqrt(expected) + 2)
    if n_samples <= 2 * _SAMPLES_OF_BLOCK or rank > n_probes // _GROUP_SIZE // 2:
        return bounds
    probes = np.random.default_rng(0).choice(n_samples, n_probes, replace=False)
    rows = _with_half_squares(samples[np.sort(probes)] / unit)
    for batch in gen_batches(n_queries, _QUERIES_OF_BLOCK):
        values = rows @ factors[:, batch]
        # Two of the smallest values are seldom in one group.
        minima = values.reshape(_GROUP_SIZE, -1, values.shape[1]).min(axis=0)
        bounds[batch] = np.partition(minima.T, rank)[:, rank]
    return bounds


def _below(factors, samples, number, unit, bounds) -> tuple[NDArray, NDArray, NDArray]:
    """For each column: are `number` values within its bound; their rows, and the largest."""
    n_queries = factors.shape[1]
    batches = list(gen_batches(n_queries, _QUERIES_OF_BLOCK))
    smallest = [_SmallestValues(bounds[batch], number) for batch in batches]
    for block in gen_batches(len(samples), _SAMPLES_OF_BLOCK):
        rows = _with_half_squares(samples[block] / unit)
        for batch, of_batch in zip(batches, smallest, strict=True):
            of_batch.add(block.start, rows @ factors[:, batch])
    parts = zip(*(of_batch.rows() for of_batch in smallest), strict=True)
    is_found, found, bounds = map(np.concatenate, parts)
    return is_found, found, bounds


def _with_half_squares(samples) -> NDArray:
    """Rows whose products with (q, 1) are half the squared distances, less half that of q."""
    n_rows = -(-len(samples) // _GROUP_SIZE) * _GROUP_SIZE
    rows = np.zeros((n_rows, samples.shape[1] + 1), dtype=np.float32)
    rows[: len(samples), :-1] = -samples
    rows[:, -1] = _FARTHER
    rows[: len(samples), -1] = 0.5 * np.einsum("ij,ij->i", samples, samples, dtype=np.float64)
    return rows


class _SmallestValues:
    """The smallest values of each column of a matrix that comes in blocks, and their rows."""

    def __init__(self, bounds, number):
        self.bounds = bounds.copy()
        self.number = number
        self._keys = [np.empty(0, dtype=np.int64)]
        self._rows = [np.empty(0, dtype=np.intp)]
        self._size = 0

    def add(self, first_row, values) -> None:
        """Take a block of values: groups whose smallest is too large are skipped."""
        n_columns = values.shape[1]
        values = values.reshape(_GROUP_SIZE, -1, n_columns)
        minima = values.min(axis=0)
        if self.bounds.max() == _FAR and len(minima) >= self.number:
            # At least `number` groups have a value that is no larger.
            smallest = np.partition(minima, self.number - 1, axis=0)[self.number - 1]
            np.minimum(self.bounds, smallest, out=self.bounds)
        # NumPy searches one dimension five times as fast as two.
        small = np.flatnonzero(minima <= self.bounds)
        group, column = np.divmod(small, n_columns)
        candidates = values.reshape(_GROUP_SIZE, -1).take(small, axis=1)
        member, place = np.divmod(np.flatnonzero(candidates <= self.bounds[column]), len(small))
        self._keys.append(_keys(column[place], candidates[member, place]))
        self._rows.append(first_row + member * len(minima) + group[place])
        self._size += len(place)
        if self._size > _MOST_CANDIDATES * self.number * n_columns:
            self._drop_larger()

    def _drop_larger(self) -> tuple[NDArray, NDArray]:
        """Keep the smallest values of each column; return their number and the largest of them."""
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        order = np.argsort(keys)
        keys = keys[order]
        starts = np.searchsorted(keys, (np.arange(len(self.bounds)) << 32) - 2**31)
        n_kept = np.diff(starts, append=len(keys)).clip(max=self.number)
        kept = np.arange(n_kept.sum())
        kept += np.repeat(starts - (np.cumsum(n_kept) - n_kept), n_kept)
        self._keys, self._rows, self._size = [keys[kept]], [rows[order[kept]]], len(kept)
        is_full = n_kept == self.number
        largest = _values(keys[starts[is_full] + self.number - 1])
        # Not another one as large, of which there may be any number.
        self.bounds[is_full] = np.nextafter(largest, -_FAR)
        return n_kept, largest

    def rows(self) -> tuple[NDArray, NDArray, NDArray]:
        """Which columns have enough values, rows of the smallest, and the largest of these."""
        n_kept, largest = self._drop_larger()
        is_full = n_kept == self.number
        found = np.zeros((len(n_kept), self.number), dtype=np.intp)
        found[np.arange(self.number) < n_kept[:, None]] = self._rows[0]
        self.bounds[is_full] = largest
        return is_full, found, self.bounds


def _keys(column, value) -> NDArray:
    """Integers that sort by column, and within a column by float32 value."""
    bits = value.view(np.int32)
    bits = np.where(bits < 0, bits ^ np.int32(2**31 - 1), bits)
    return (column.astype(np.int64) << 32) + bits


def _values(keys) -> NDArray:
    """The values of which the keys were made."""
    bits = keys.astype(np.int32)  # the lower half
    return np.where(bits < 0, bits ^ np.int32(2**31 - 1), bits).view(np.float32)
