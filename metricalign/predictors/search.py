"""Exact search of nearest neighbours by blocked matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

__all__ = ["nearest"]

# Entries of a block of distances.
_BLOCK_SIZE = 4_000_000


def nearest(queries: NDArray, samples: NDArray, n_neighbors: int) -> tuple[NDArray, NDArray]:
    """Exact search of nearest neighbours by blocked matrix products.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)
        What neighbours are searched of.
    samples : ndarray of shape (n_samples, n_features)
        Where they are searched.
    n_neighbors : int
        How many; all samples if these are fewer.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors)
        Euclid's distances, ascending, in float64.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Rows of the samples.
    """
    n_neighbors = min(n_neighbors, len(samples))
    # Whole groups, filled with samples that are far from all.
    group_size = max(1, int(np.sqrt(len(samples) / n_neighbors)))
    n_groups = -(-len(samples) // group_size)
    center = samples.mean(axis=0)
    centred = samples - center
    # One product then gives half the squared distances, but for what all samples of a query share.
    factors = np.zeros((samples.shape[1] + 1, n_groups * group_size), dtype=samples.dtype)
    factors[:-1, : len(samples)] = -centred.T
    factors[-1] = np.finfo(samples.dtype).max / 4
    factors[-1, : len(samples)] = 0.5 * np.sum(centred**2, axis=1)
    distances = np.empty((len(queries), n_neighbors))
    indices = np.empty(distances.shape, dtype=np.intp)
    for batch in gen_batches(len(queries), max(1, _BLOCK_SIZE // factors.shape[1])):
        left = np.pad(queries[batch] - center, [(0, 0), (0, 1)], constant_values=1)
        found = _smallest(left @ factors, n_neighbors, n_groups)
        # As differences, which near ones need: from products few digits would be left.
        differences = (queries[batch, None] - samples[found]).astype(np.float64)
        exact = np.sqrt(np.einsum("ijk,ijk->ij", differences, differences))
        order = np.argsort(exact, axis=1, kind="stable")
        indices[batch] = np.take_along_axis(found, order, axis=1)
        distances[batch] = np.take_along_axis(exact, order, axis=1)
    return distances, indices


def _smallest(values, number, n_groups) -> NDArray:
    """Columns of the smallest values of each row.

    They are in the groups with the smallest minima, of which there are no more than numbers: so
    most values are only looked at for the minimum of their group, every n_groups-th column.
    """
    if number >= n_groups:
        return _partition(values, number)
    grouped = values.reshape(len(values), -1, n_groups)
    groups = _partition(grouped.min(axis=1), number)
    columns = np.arange(grouped.shape[1])[:, None] * n_groups + groups[:, None, :]
    columns = columns.reshape(len(values), -1)
    chosen = _partition(np.take_along_axis(values, columns, axis=1), number)
    return np.take_along_axis(columns, chosen, axis=1)


def _partition(values, number) -> NDArray:
    if number >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, number - 1, axis=1)[:, :number]
