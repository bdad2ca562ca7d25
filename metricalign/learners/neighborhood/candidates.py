"""Candidates for the random neighbours of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import batches
from metricalign.relations import TargetRelation

__all__ = ["Neighborhoods"]

# Pairs whose relations are computed at a time.
_LARGEST_BATCH = 4_000_000


class Neighborhoods:
    """Some samples, and the candidates that can be their neighbours.

    A sample is not its own neighbour. Arrays over neighbours have shape (n_rows, n_candidates),
    with a row for each of the samples. For an array ``values`` with one value for each sample of
    the whole set, ``values[neighborhoods.samples]`` are those of the rows, and
    ``values[neighborhoods.candidates]`` those of the columns.

    Parameters
    ----------
    samples : ndarray of int of shape (n_rows,)
        The samples whose neighbours are looked at.
    candidates : ndarray of int of shape (n_candidates,)
        The samples that can be their neighbours.
    """

    def __init__(self, samples: NDArray, candidates: NDArray):
        self.samples, self.candidates = samples, candidates
        order = np.argsort(candidates)
        place = np.searchsorted(candidates, samples, sorter=order)
        place = order[np.minimum(place, len(candidates) - 1)]
        is_candidate = candidates[place] == samples
        self._itself = np.flatnonzero(is_candidate), place[is_candidate]

    def squared_distances(self, images: NDArray, images_of_candidates: NDArray) -> NDArray:
        """Squared distances of the images. A sample has an infinite distance to itself."""
        squares = np.einsum("ij,ij->i", images, images)[:, None]
        squares_of_candidates = np.einsum("ij,ij->i", images_of_candidates, images_of_candidates)
        distances = images @ images_of_candidates.T
        distances *= -2
        distances += squares
        distances += squares_of_candidates
        # Rounding of the products of images leaves errors up to this size.
        rounding = 10 * np.finfo(distances.dtype).eps * squares_of_candidates.max()
        np.maximum(distances, rounding, out=distances)
        distances[self._itself] = np.inf
        return distances

    def relations(self, relation: TargetRelation, targets: Any) -> NDArray:
        """Relation of each sample to each candidate, of shape (n_rows, n_candidates)."""
        n_candidates = len(self.candidates)
        values = np.empty((len(self.samples), n_candidates))
        for batch in batches(len(values), max(1, _LARGEST_BATCH // n_candidates)):
            rows = self.samples[batch]
            pairs = np.column_stack(
                [np.repeat(rows, n_candidates), np.tile(self.candidates, len(rows))]
            )
            values[batch] = relation(targets, pairs).reshape(len(rows), -1)
        return values
