"""Whether a network gets columns as they are, or each in its own standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from metricalign.deep.samples import read_batch
from metricalign.relations import TargetRelation

__all__ = ["share_a_unit"]

# Samples whose neighbours are compared, and how many neighbours each has.
_N_SAMPLES, _N_NEIGHBORS = 1000, 5


def share_a_unit(
    X: Any, scale: NDArray, relation: TargetRelation, targets: Any, rows: NDArray
) -> bool:
    """Whether columns are best compared as they are, as pixels are, not standardised.

    They are if the nearest neighbours of samples have nearer targets then, by more than a standard
    error.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    scale : ndarray of shape (n_features,)
        Standard deviations of the columns; 1 for those that are constant.
    relation : TargetRelation
        Relation of targets, of any two samples.
    targets : array of shape (n_samples, ...)
        Targets as the relation has encoded them.
    rows : ndarray of int
        The samples to look at, in random order: the first 1,000 of them.

    Returns
    -------
    share : bool
    """
    rows = np.sort(rows[:_N_SAMPLES])
    samples = read_batch(X, rows).astype(np.float64)
    # Far from the origin squared distances lose their digits.
    samples -= samples.mean(axis=0)
    n_neighbors = min(_N_NEIGHBORS, len(rows) - 1)
    errors = []
    for units in (1.0, scale):
        finder = NearestNeighbors(n_neighbors=n_neighbors).fit(samples / units)
        nearest = finder.kneighbors(return_distance=False)
        pairs = np.stack([np.repeat(rows, n_neighbors), rows[nearest].ravel()], axis=1)
        errors.append(relation(targets, pairs).reshape(nearest.shape).mean(axis=1))
    gains = errors[1] - errors[0]
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))
