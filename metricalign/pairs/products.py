"""Nearest samples by blocked products in single precision, with a proof of what is found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import batches

__all__ = ["SampleBlocks", "nearest_by_differences"]

# Queries and samples multiplied at a time: their products fit the cache of a core.
_QUERIES_OF_BLOCK, _SAMPLES_OF_BLOCK = 1024, 256
# Queries that go through all blocks together; fewer if each has many neighbours.
_QUERIES_AT_A_TIME = 4096
_MOST_FOUND_AT_A_TIME = 2**22
# One sample in so many, but at least so many samples, tells about how far the neighbours are.
_SAMPLES_OF_ONE_PROBE = 32
_FEWEST_PROBES = 2048
# Rows of a group of probes, of which only the smallest product is looked at.
_PROBES_OF_GROUP = 32
# Boxes are drawn in the leading axes of the samples, and in the distance from these. With more axes
# not one block in a hundred more is skipped (100,000 images of 67 columns).
_AXES_OF_BOXES = 5
# If these axes have less of the squared distances, few blocks are skipped.
_SHARE_OF_AXES = 0.5
# Boxes take about the time of so many queries.
_QUERIES_WORTH_BOXES = 2000
# A query keeps this many candidates for each neighbour asked for; then only the nearest remain.
_MOST_CANDIDATES = 4
# Samples that are found beyond those asked for; their distances bound those of all others.
_SURPLUS = 8
# Differences computed at a time: they fit the cache of a core.
_DIFFERENCES_AT_A_TIME = 2**16
# Entries of a table of candidates.
_VALUES_AT_A_TIME = 2**17


class SampleBlocks:
    r"""Samples in blocks, prepared for searches by products.

    Products in float32 order the samples s by :math:`\frac12\|s\|^2 - q \cdot s`. The first few are
    compared by differences in float64. The answer is proven where the products that were not
    compared exceed that of the last neighbour by more than the rounding of a product.

    Near samples may be put into the same block. Then each block has a box, and queries skip the
    blocks whose boxes are farther than their neighbours.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples among which neighbours are sought.
    n_queries : int or None, default=None
        How many queries will come, None for many. Many are worth boxes, where a few axes have most
        of the variance.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.products import SampleBlocks
    >>> blocks = SampleBlocks(np.array([[0.0], [1.0], [3.0], [7.0]]), n_queries=1)
    >>> blocks.nearest(np.array([[2.5]]), 2)
    (array([[0.5, 1.5]]), array([[2, 1]]), array([ True]))
    """

    def __init__(self, samples: NDArray, *, n_queries: int | None = None):
        self.samples = samples
        self._unit = max(abs(samples.min()), abs(samples.max())) or 1.0
        self._boxes = None
        are_many = n_queries is None or n_queries >= _QUERIES_WORTH_BOXES
        if are_many and len(samples) > 2 * _SAMPLES_OF_BLOCK:
            self._boxes = _Boxes.around(samples, self._unit)
        ordered = samples if self._boxes is None else samples[self._boxes.order]
        self._rows = _with_half_squares(ordered / self._unit)

    def nearest(self, queries: NDArray, n_neighbors: int) -> tuple[NDArray, NDArray, NDArray]:
        """Find the nearest samples, and say for which queries they are proven to be.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Samples whose neighbours are sought. More is proven for those near the origin.
        n_neighbors : int
            Number of neighbours, at most n_samples.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Euclid's distances, ascending, in float64.
        indices : ndarray of int of shape (n_queries, n_neighbors)
            Rows of the samples; of those that are equally near the first.
        is_proven : ndarray of bool of shape (n_queries,)
            Whether no other sample can be nearer.
        """
        number = min(n_neighbors + _SURPLUS, len(self.samples))
        shape = len(queries), n_neighbors
        distances, indices = np.empty(shape), np.empty(shape, dtype=np.intp)
        is_proven = np.empty(len(queries), dtype=bool)
        most = max(1, min(_QUERIES_AT_A_TIME, _MOST_FOUND_AT_A_TIME // number))
        # All batches of about the same size.
        at_a_time = -(-len(queries) // -(-len(queries) // most))
        for batch in batches(len(queries), at_a_time):
            found, bounds = self._smallest_products(queries[batch], number)
            if self._boxes is not None:
                found = self._boxes.order[found]
            distances[batch], indices[batch] = nearest_by_differences(
                self.samples, queries[batch], found, n_neighbors
            )
            if number < len(self.samples):
                is_proven[batch] = self._exclude_others(queries[batch], distances[batch], bounds)
            else:
                # All samples are found, unless products have overflowed.
                is_proven[batch] = np.isfinite(bounds)
        return distances, indices, is_proven

    def _exclude_others(self, queries, distances, bounds) -> NDArray:
        """Whether no sample whose product is at least `bounds` can be nearer than these."""
        length = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64)) / self._unit
        farthest = distances[:, -1] / self._unit
        # A nearer sample s has a length of at most that of q plus the distance. Its product is
        # rounded by less than (d + 4) u |q| |s|, and half its square by no more. Nor is half the
        # squared distance of a box, whose coordinates are rounded once.
        rounding = (queries.shape[1] + 4) * 2.0**-24 * 1.5 * (length + farthest) ** 2
        smallest = np.finfo(np.float32).tiny * queries.shape[1]
        return bounds - 0.5 * farthest**2 + 0.5 * length**2 > rounding + smallest

    def _smallest_products(self, queries, number) -> tuple[NDArray, NDArray]:
        """For each query the rows of the smallest products, and a lower bound of all others."""
        factors = np.ones((len(queries), queries.shape[1] + 1), dtype=np.float32)
        factors[:, :-1] = queries / self._unit
        bounds = self._bounds(factors, number, is_certain=False)
        is_near = None
        if self._boxes is not None:
            half_squares = 0.5 * np.vecdot(factors[:, :-1], factors[:, :-1])
            is_near = self._boxes.are_near(queries / self._unit, 2 * (bounds + half_squares))
        is_found, found, bounds = self._below(factors, bounds, number, is_near)
        misled = np.flatnonzero(~is_found)
        if len(misled):
            # Of so few queries all products take less time than boxes.
            factors = factors[misled]
            certain = self._bounds(factors, number, is_certain=True)
            _, found[misled], bounds[misled] = self._below(factors, certain, number)
        return found, bounds

    def _bounds(self, factors, number, is_certain) -> NDArray:
        """A value for each query that its smallest ones are probably, or certainly, below."""
        n_samples = len(self._rows)
        step = max(1, min(_SAMPLES_OF_ONE_PROBE, n_samples // _FEWEST_PROBES))
        probes = np.ascontiguousarray(self._rows[::step])
        expected = number * len(probes) / n_samples
        # The probe of this rank is beyond the neighbours, with two standard deviations to spare.
        rank = int(expected + 2 * np.sqrt(expected) + 2)
        if is_certain or step == 1:
            rank = number
        bounds = np.full(len(factors), np.float32(np.inf))
        # Where all samples are sought, no rounding may leave one out.
        if rank >= len(probes):
            return bounds
        # Two of the smallest values are seldom in one group.
        n_groups = len(probes) // _PROBES_OF_GROUP
        is_grouped = not is_certain and rank <= n_groups // 2
        for batch in batches(len(factors), _QUERIES_OF_BLOCK // 4):
            values = probes @ factors[batch].T
            if is_grouped:
                groups = values[: n_groups * _PROBES_OF_GROUP].reshape(
                    _PROBES_OF_GROUP, n_groups, -1
                )
                values = groups.min(axis=0)
            bounds[batch] = np.partition(values.T, rank - 1, axis=1)[:, rank - 1]
        return bounds

    def _below(self, factors, bounds, number, is_near=None) -> tuple[NDArray, NDArray, NDArray]:
        """For each query: are `number` values within its bound; their rows, and the largest."""
        smallest = _SmallestValues(bounds, number)
        everyone = np.arange(len(factors), dtype=np.uint16)
        n_rows = _SAMPLES_OF_BLOCK
        if is_near is None:
            n_rows = max(n_rows, _QUERIES_OF_BLOCK * _SAMPLES_OF_BLOCK // len(factors))
        # Arrays that are used again: Dask's workers give memory back to the system each time
        # (MALLOC_TRIM_THRESHOLD_), and new arrays took nearly twice the time of the products.
        n_queries = min(len(factors), _QUERIES_OF_BLOCK)
        asked = np.empty((n_queries, factors.shape[1]), dtype=np.float32)
        products = np.empty(n_queries * n_rows, dtype=np.float32)
        for block, rows in enumerate(batches(len(self._rows), n_rows)):
            asking = everyone if is_near is None else everyone[is_near[block]]
            samples = self._rows[rows].T
            for batch in batches(len(asking), _QUERIES_OF_BLOCK):
                some = asking[batch]
                shape = len(some), samples.shape[1]
                values = products[: shape[0] * shape[1]].reshape(shape)
                # With "raise" it would be made in another array first.
                factors.take(some, axis=0, out=asked[: len(some)], mode="clip")
                smallest.add(rows.start, some, np.matmul(asked[: len(some)], samples, out=values))
        return smallest.rows()


def nearest_by_differences(
    samples: NDArray, queries: NDArray, found: NDArray, n_neighbors: int
) -> tuple[NDArray, NDArray]:
    """The nearest of the samples that were found for each query, compared in double precision.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        All samples.
    queries : ndarray of shape (n_queries, n_features)
        Samples whose neighbours are sought.
    found : ndarray of int of shape (n_queries, n_found)
        Rows of some samples for each of them, in any order.
    n_neighbors : int
        How many of these to return, at most n_found.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors)
        Euclid's distances, ascending, in float64.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Rows of the samples; of those that are equally near the first.
    """
    # In the order of the samples, for those that are equally near.
    found = np.sort(found, axis=1)
    exact = np.empty(found.shape)
    at_a_time = max(1, _DIFFERENCES_AT_A_TIME // (found.shape[1] * queries.shape[1]))
    for batch in batches(len(queries), at_a_time):
        differences = samples.take(found[batch], axis=0).astype(np.float64)
        differences -= queries[batch, None]
        np.vecdot(differences, differences, out=exact[batch])
    # A stable order takes four times as long, and is needed for those that are equally near.
    order = np.argsort(exact, axis=1)
    ascending = np.take_along_axis(exact, order, axis=1)
    is_tied = (ascending[:, 1:] == ascending[:, :-1]).any(axis=1)
    order[is_tied] = np.argsort(exact[is_tied], axis=1, kind="stable")
    indices = np.take_along_axis(found, order[:, :n_neighbors], axis=1)
    return np.sqrt(ascending[:, :n_neighbors]), indices


class _Boxes(NamedTuple):
    """Samples in an order of near ones, and a box around each block of them."""

    order: NDArray
    axes: NDArray
    low: NDArray
    high: NDArray

    @classmethod
    def around(cls, samples, unit) -> _Boxes | None:
        """Halve the samples along their longest axis until each part is a block.

        None if boxes would be of little use.
        """
        some = samples[:: -(-len(samples) // 10_000)].astype(np.float64) / unit
        some -= some.mean(axis=0)
        squares, axes = np.linalg.eigh(some.T @ some)
        squares, axes = squares[-_AXES_OF_BOXES:], axes[:, -_AXES_OF_BOXES:]
        if squares.sum() <= _SHARE_OF_AXES * np.vdot(some, some):
            return None
        places = _coordinates(samples / unit, axes)
        order = np.arange(len(samples))
        parts = [(0, len(samples))]
        while parts:
            start, end = parts.pop()
            n_blocks = -(-(end - start) // _SAMPLES_OF_BLOCK)
            if n_blocks > 1:
                rows = order[start:end]
                axis = places[rows].var(axis=0).argmax()
                half = n_blocks // 2 * _SAMPLES_OF_BLOCK
                order[start:end] = rows[np.argpartition(places[rows, axis], half)]
                parts += [(start, start + half), (start + half, end)]
        starts = np.arange(0, len(samples), _SAMPLES_OF_BLOCK)
        ordered = places[order]
        low, high = np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)
        return cls(order, axes, low, high)

    def are_near(self, queries, squares) -> NDArray:
        """Whether boxes are within these squared distances, shape (n_boxes, n_queries)."""
        places = _coordinates(queries, self.axes)
        is_near = np.empty((len(self.low), len(queries)), dtype=bool)
        for batch in batches(len(queries), _QUERIES_OF_BLOCK // 4):
            along = places[batch].T
            distances = np.zeros((len(self.low), along.shape[1]), dtype=np.float32)
            for low, high, place in zip(self.low.T, self.high.T, along, strict=True):
                outside = np.maximum(low[:, None], place)
                np.minimum(outside, high[:, None], out=outside)
                outside -= place
                outside *= outside
                distances += outside
            is_near[:, batch] = distances <= squares[batch]
        return is_near


def _coordinates(samples, axes) -> NDArray:
    """Coordinates along axes, and the distance from their span: no two samples get farther."""
    places = np.empty((len(samples), axes.shape[1] + 1), dtype=np.float32)
    for batch in batches(len(samples), _QUERIES_AT_A_TIME):
        some = samples[batch].astype(np.float64)
        along = some @ axes
        places[batch, :-1] = along
        places[batch, -1] = np.sqrt(np.maximum(np.vecdot(some, some) - np.vecdot(along, along), 0))
    return places


def _with_half_squares(samples) -> NDArray:
    """Rows whose products with (q, 1) are half the squared distances, less half that of q."""
    rows = np.empty((len(samples), samples.shape[1] + 1), dtype=np.float32)
    rows[:, :-1] = -samples
    rows[:, -1] = 0.5 * np.einsum("ij,ij->i", samples, samples, dtype=np.float64)
    return rows


class _SmallestValues:
    """The smallest values of each query, of which blocks come one after another, and their rows."""

    def __init__(self, bounds, number):
        self.bounds = bounds.copy()
        self.number = number
        self._queries = [np.empty(0, dtype=np.uint16)]
        self._values = [np.empty(0, dtype=np.float32)]
        self._rows = [np.empty(0, dtype=np.intp)]
        self._is_small = np.empty(0, dtype=bool)
        self._size = 0

    def add(self, first_row, queries, values) -> None:
        """Take the values of consecutive rows, one column each, for some of the queries."""
        if values.size > len(self._is_small):
            self._is_small = np.empty(values.size, dtype=bool)
        is_small = self._is_small[: values.size].reshape(values.shape)
        places = np.flatnonzero(np.less_equal(values, self.bounds[queries, None], out=is_small))
        query, row = np.divmod(places, values.shape[1])
        self._queries.append(queries[query])
        self._values.append(values.ravel()[places])
        self._rows.append(first_row + row)
        self._size += len(places)
        if self._size > _MOST_CANDIDATES * self.number * len(self.bounds):
            kept, n_kept, largest = self._smallest()
            parts = self._queries, self._values, self._rows
            for part in parts:
                part[:] = [np.concatenate(part)[kept]]
            self._size = len(kept)
            is_full = n_kept == self.number
            # Not another one as large, of which there may be any number.
            self.bounds[is_full] = np.nextafter(largest[is_full], np.float32(-np.inf))

    def _smallest(self) -> tuple[NDArray, NDArray, NDArray]:
        """Places of the smallest values by query, their numbers, and the largest for each query."""
        queries, values = np.concatenate(self._queries), np.concatenate(self._values)
        # Numbers of 16 bits are sorted by their digits.
        order = np.argsort(queries, kind="stable")
        values = values[order]
        counts = np.bincount(queries, minlength=len(self.bounds))
        starts = np.cumsum(counts) - counts
        width = max(self.number, counts.max())
        largest, kept = np.empty(len(counts), dtype=np.float32), []
        for batch in batches(len(counts), max(1, _VALUES_AT_A_TIME // width)):
            first, n_values = starts[batch, None], counts[batch, None]
            is_value = np.arange(max(self.number, n_values.max())) < n_values
            table = np.full(is_value.shape, np.inf, dtype=np.float32)
            table[is_value] = values[first[0, 0] : first[-1, 0] + n_values[-1, 0]]
            columns = np.argpartition(table, self.number - 1, axis=1)[:, : self.number]
            largest[batch] = np.take_along_axis(table, columns[:, -1:], axis=1)[:, 0]
            kept.append((first + columns)[columns < n_values])
        return order[np.concatenate(kept)], np.minimum(counts, self.number), largest

    def rows(self) -> tuple[NDArray, NDArray, NDArray]:
        """Which queries have enough values, rows of the smallest, and the largest of these."""
        kept, n_kept, largest = self._smallest()
        is_full = n_kept == self.number
        found = np.zeros((len(n_kept), self.number), dtype=np.intp)
        found[np.arange(self.number) < n_kept[:, None]] = np.concatenate(self._rows)[kept]
        return is_full, found, np.where(is_full, largest, -np.inf)
