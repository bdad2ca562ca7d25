"""The choice whether columns are standardised for a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from metricalign.deep.samples import read_batch
from metricalign.relations import TargetRelation

__all__ = ["share_a_unit"]

# Number of samples whose neighbours are compared, and number of neighbours of each.
_N_SAMPLES, _N_NEIGHBORS = 1000, 5


def share_a_unit(
    X: Any, scale: NDArray, relation: TargetRelation, targets: Any, rows: NDArray
) -> bool:
    """Whether columns share a unit, as pixels do, so that they are not standardised.

    They do if the nearest neighbours of samples have nearer targets without standardisation, by
    more than a standard error.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    scale : ndarray of shape (n_features,)
        Standard deviations of the columns, or 1 for constant columns.
    relation : TargetRelation
        Relation of the targets. It must be known for any two samples.
    targets : array of shape (n_samples, ...)
        Targets, encoded by the relation.
    rows : ndarray of int
        Rows of samples, in random order. The first 1,000 are compared.

    Returns
    -------
    share : bool
    """
    rows = np.sort(rows[:_N_SAMPLES])
    samples = read_batch(X, rows).astype(np.float64)
    # Squared distances lose digits far from the origin, so samples are centred.
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
