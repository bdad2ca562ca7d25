"""Nearest samples by products of blocks in single precision, with a proof that they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import batches

__all__ = ["SampleBlocks", "nearest_by_differences"]

# So many queries and samples are multiplied at a time. Their products fit the cache of a core.
_QUERIES_OF_BLOCK, _SAMPLES_OF_BLOCK = 1024, 256
# So many queries go through all blocks together, or fewer if they have more neighbours than the
# second number, which limits the memory.
_QUERIES_AT_A_TIME = 4096
_MOST_FOUND_AT_A_TIME = 2**22
# One sample in so many is a probe, or more samples if these were fewer than the second number. The
# probes tell about how far the neighbours of a query are.
_SAMPLES_OF_ONE_PROBE = 32
_FEWEST_PROBES = 2048
# Only the smallest product of so many probes is sorted.
_PROBES_OF_GROUP = 32
# The coordinates of boxes are so many leading axes of the samples, and the distance from these.
# With more axes less than one block in a hundred more is skipped (100,000 images of 67 columns).
_AXES_OF_BOXES = 5
# If these axes have at most this share of the squared distances, few blocks would be skipped.
_SHARE_OF_AXES = 0.5
# To make the boxes takes about the time of so many queries.
_QUERIES_WORTH_BOXES = 2000
# Candidates are collected up to so many per neighbour asked for. Then only the nearest are kept.
_MOST_CANDIDATES = 4
# So many more samples are found than asked for. Their distances bound those of all others.
_SURPLUS = 8
# So many differences are computed at a time. They fit the cache of a core.
_DIFFERENCES_AT_A_TIME = 2**16
# A table of candidates has at most so many entries.
_VALUES_AT_A_TIME = 2**17


class SampleBlocks:
    r"""Samples in blocks, prepared for searches by products.

    For a query q, products in float32 order the samples s by :math:`\frac12\|s\|^2 - q \cdot s`.
    The distances of the first few are then computed from differences in float64. The neighbours of
    q are proven if the products of all other samples exceed that of the last neighbour by more than
    the rounding error of a product.

    Samples that are near each other may be put into the same block. Then each block has a box
    around it, and queries skip the blocks whose boxes are farther than their neighbours.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        Samples among which neighbours are sought.
    n_queries : int or None, default=None
        How many queries will come. None: many. Boxes are made if there are many queries, and a few
        axes have most of the variance.

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
        """Find the nearest samples, and say for which queries this is proven.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Samples whose neighbours are sought. The nearer to the origin they are, the less is
            rounded, and the more is proven.
        n_neighbors : int
            Number of neighbours, at most n_samples.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Euclid's distances, ascending, in float64.
        indices : ndarray of int of shape (n_queries, n_neighbors)
            Rows of the samples. Of samples that are equally near, the first are taken.
        is_proven : ndarray of bool of shape (n_queries,)
            Whether it is certain that no other sample is nearer.
        """
        number = min(n_neighbors + _SURPLUS, len(self.samples))
        shape = len(queries), n_neighbors
        distances, indices = np.empty(shape), np.empty(shape, dtype=np.intp)
        is_proven = np.empty(len(queries), dtype=bool)
        most = max(1, min(_QUERIES_AT_A_TIME, _MOST_FOUND_AT_A_TIME // number))
        # All batches have about the same size.
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
        """Whether no sample whose product is at least its bound can be nearer than `distances`."""
        length = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64)) / self._unit
        farthest = distances[:, -1] / self._unit
        # A nearer sample s has a norm of at most |q| plus the distance. With d features and the
        # unit roundoff u, the rounding error of its product is less than (d + 4) u |q| |s|. Those
        # of half its square, and of half the squared distance of a box, whose coordinates are
        # rounded once, are no larger.
        rounding = (queries.shape[1] + 4) * 2.0**-24 * 1.5 * (length + farthest) ** 2
        smallest = np.finfo(np.float32).tiny * queries.shape[1]
        return bounds - 0.5 * farthest**2 + 0.5 * length**2 > rounding + smallest

    def _smallest_products(self, queries, number) -> tuple[NDArray, NDArray]:
        """Rows of the smallest products of each query, and a lower bound of all other products."""
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
            # There are so few of these that all products take less time than boxes.
            factors = factors[misled]
            certain = self._bounds(factors, number, is_certain=True)
            _, found[misled], bounds[misled] = self._below(factors, certain, number)
        return found, bounds

    def _bounds(self, factors, number, is_certain) -> NDArray:
        """Bounds that the smallest products of each query are probably, or certainly, not above."""
        n_samples = len(self._rows)
        step = max(1, min(_SAMPLES_OF_ONE_PROBE, n_samples // _FEWEST_PROBES))
        probes = np.ascontiguousarray(self._rows[::step])
        expected = number * len(probes) / n_samples
        # The probe of this rank is probably farther than the neighbours: about as many probes as
        # expected, with a margin of two standard deviations, are nearer.
        rank = int(expected + 2 * np.sqrt(expected) + 2)
        if is_certain or step == 1:
            rank = number
        bounds = np.full(len(factors), np.float32(np.inf))
        # If all samples are sought, no rounding error may exclude one.
        if rank >= len(probes):
            return bounds
        # Two of the smallest values are rarely in the same group.
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
        """Whether each query has `number` values within its bound, their rows, and the largest."""
        smallest = _SmallestValues(bounds, number)
        everyone = np.arange(len(factors), dtype=np.uint16)
        n_rows = _SAMPLES_OF_BLOCK
        if is_near is None:
            n_rows = max(n_rows, _QUERIES_OF_BLOCK * _SAMPLES_OF_BLOCK // len(factors))
        # These arrays are used again in each step. Dask's workers return memory to the system each
        # time (MALLOC_TRIM_THRESHOLD_), and new arrays took nearly twice the time of the products.
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
                # With the default mode, "raise", NumPy would fill another array first.
                factors.take(some, axis=0, out=asked[: len(some)], mode="clip")
                smallest.add(rows.start, some, np.matmul(asked[: len(some)], samples, out=values))
        return smallest.rows()


def nearest_by_differences(
    samples: NDArray, queries: NDArray, found: NDArray, n_neighbors: int
) -> tuple[NDArray, NDArray]:
    """Return the nearest of the samples that were found for each query, by exact distances.

    Distances are computed from differences in double precision.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        All samples.
    queries : ndarray of shape (n_queries, n_features)
        Samples whose neighbours are sought.
    found : ndarray of int of shape (n_queries, n_found)
        Rows of some samples for each query, in any order.
    n_neighbors : int
        Number of samples to return for each query, at most n_found.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors)
        Euclid's distances, ascending, in float64.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Rows of the samples. Of samples that are equally near, the first are taken.
    """
    # In this order, a stable sort takes the first of samples that are equally near.
    found = np.sort(found, axis=1)
    exact = np.empty(found.shape)
    at_a_time = max(1, _DIFFERENCES_AT_A_TIME // (found.shape[1] * queries.shape[1]))
    for batch in batches(len(queries), at_a_time):
        differences = samples.take(found[batch], axis=0).astype(np.float64)
        differences -= queries[batch, None]
        np.vecdot(differences, differences, out=exact[batch])
    # A stable sort takes four times as long, and only matters where samples are equally near.
    order = np.argsort(exact, axis=1)
    ascending = np.take_along_axis(exact, order, axis=1)
    is_tied = (ascending[:, 1:] == ascending[:, :-1]).any(axis=1)
    order[is_tied] = np.argsort(exact[is_tied], axis=1, kind="stable")
    indices = np.take_along_axis(found, order[:, :n_neighbors], axis=1)
    return np.sqrt(ascending[:, :n_neighbors]), indices


class _Boxes(NamedTuple):
    """An order of samples in which near ones are in the same block, and a box around each block.

    Attributes
    ----------
    order : ndarray of int of shape (n_samples,)
        Rows of the samples.
    axes : ndarray of shape (n_features, n_axes)
        Orthonormal axes of the boxes.
    low, high : ndarray of shape (n_boxes, n_axes + 1)
        Smallest and largest coordinates along the axes, and distance from their span.
    """

    order: NDArray
    axes: NDArray
    low: NDArray
    high: NDArray

    @classmethod
    def around(cls, samples, unit) -> _Boxes | None:
        """Halve the samples along the axis of largest variance until each part is a block.

        Return None if boxes would be of little use.
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
        """Whether boxes are within the squared distances, of shape (n_boxes, n_queries)."""
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
    """Coordinates along axes, and the distance from their span.

    No two samples are farther from each other in these coordinates than they are.
    """
    places = np.empty((len(samples), axes.shape[1] + 1), dtype=np.float32)
    for batch in batches(len(samples), _QUERIES_AT_A_TIME):
        some = samples[batch].astype(np.float64)
        along = some @ axes
        places[batch, :-1] = along
        places[batch, -1] = np.sqrt(np.maximum(np.vecdot(some, some) - np.vecdot(along, along), 0))
    return places


def _with_half_squares(samples) -> NDArray:
    """Rows whose products with (q, 1) are half of the squared distances from q less norm(q)^2."""
    rows = np.empty((len(samples), samples.shape[1] + 1), dtype=np.float32)
    rows[:, :-1] = -samples
    rows[:, -1] = 0.5 * np.einsum("ij,ij->i", samples, samples, dtype=np.float64)
    return rows


class _SmallestValues:
    """The smallest values of each query and their rows, from values that come block by block."""

    def __init__(self, bounds, number):
        self.bounds = bounds.copy()
        self.number = number
        self._queries = [np.empty(0, dtype=np.uint16)]
        self._values = [np.empty(0, dtype=np.float32)]
        self._rows = [np.empty(0, dtype=np.intp)]
        self._is_small = np.empty(0, dtype=bool)
        self._size = 0

    def add(self, first_row, queries, values) -> None:
        """Add the values of consecutive rows for some of the queries, one column for each row."""
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
            # No more values that are equal to the largest, of which there may be any number.
            self.bounds[is_full] = np.nextafter(largest[is_full], np.float32(-np.inf))

    def _smallest(self) -> tuple[NDArray, NDArray, NDArray]:
        """Places of the smallest values by query, their number, and the largest of each query."""
        queries, values = np.concatenate(self._queries), np.concatenate(self._values)
        # NumPy sorts numbers of 16 bits by their digits, which is fast.
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
        """Whether each query has enough values, the rows of the smallest, and their largest."""
        kept, n_kept, largest = self._smallest()
        is_full = n_kept == self.number
        found = np.zeros((len(n_kept), self.number), dtype=np.intp)
        found[np.arange(self.number) < n_kept[:, None]] = np.concatenate(self._rows)[kept]
        return is_full, found, np.where(is_full, largest, -np.inf)
