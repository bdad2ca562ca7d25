"""Who can be a neighbour of whom: all samples, or those of a list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign.operators.kernels import PairGraph, fastest_kernels
from metricalign.relations import TargetRelation

__all__ = ["AllSamples", "NeighborLists", "Neighborhoods"]

# Entries of the largest temporary array: neighbours times dimensions, or pairs.
_BATCH_ENTRIES = 4_000_000


class Neighborhoods:
    """Base of what says which samples can be the neighbour of each.

    Arrays over neighbours have shape (n_samples, n_neighbors).
    """

    def squared_distances(self, images: NDArray) -> NDArray:
        """Squared Euclidean distances to the neighbours; infinite where there is none.

        Only their differences within a row count: a constant may be missing in each.
        """
        raise NotImplementedError

    def relations(self, relation: TargetRelation, targets: Any) -> NDArray:
        """Relation of each sample and its neighbours."""
        raise NotImplementedError

    def of_neighbors(self, values: NDArray) -> NDArray:
        """Value of each neighbour, for one value a sample."""
        raise NotImplementedError

    def average(self, probabilities: NDArray, targets: NDArray) -> NDArray:
        """Weighted sum of the neighbours' targets, sum_j p_ij y_j."""
        raise NotImplementedError

    def products(self, left: NDArray, right: NDArray) -> NDArray:
        """Scalar products of a row of `left` and the neighbours' rows of `right`."""
        raise NotImplementedError

    def laplacian(self, weights: NDArray, images: NDArray) -> NDArray:
        """Product of the graph Laplacian of the symmetrised weights with the images.

        Row i is sum_j (w_ij + w_ji) (z_i - z_j).
        """
        raise NotImplementedError


class AllSamples(Neighborhoods):
    """Every other sample is a neighbour.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    """

    def __init__(self, n_samples: int):
        self.n_samples = n_samples

    def squared_distances(self, images: NDArray) -> NDArray:
        """Squared distances; see `Neighborhoods.squared_distances`."""
        distances = images @ images.T
        distances *= -2
        distances += np.einsum("ij,ij->i", images, images)
        np.fill_diagonal(distances, np.inf)
        return distances

    def relations(self, relation: TargetRelation, targets: Any) -> NDArray:
        """Relations; see `Neighborhoods.relations`."""
        values = np.empty((self.n_samples, self.n_samples))
        everyone = np.arange(self.n_samples)
        step = max(1, _BATCH_ENTRIES // self.n_samples)
        for start in range(0, self.n_samples, step):
            rows = everyone[start : start + step]
            pairs = np.column_stack([np.repeat(rows, self.n_samples), np.tile(everyone, len(rows))])
            values[rows] = relation(targets, pairs).reshape(len(rows), -1)
        return values

    def of_neighbors(self, values: NDArray) -> NDArray:
        """Values of the neighbours; see `Neighborhoods.of_neighbors`."""
        return values

    def average(self, probabilities: NDArray, targets: NDArray) -> NDArray:
        """Weighted sums of targets; see `Neighborhoods.average`."""
        return probabilities @ targets

    def products(self, left: NDArray, right: NDArray) -> NDArray:
        """Scalar products; see `Neighborhoods.products`."""
        return left @ right.T

    def laplacian(self, weights: NDArray, images: NDArray) -> NDArray:
        """Product with the graph Laplacian; see `Neighborhoods.laplacian`."""
        degrees = weights.sum(axis=0) + weights.sum(axis=1)
        return degrees[:, None] * images - weights @ images - weights.T @ images


class NeighborLists(Neighborhoods):
    """Some samples are the neighbours of each.

    Parameters
    ----------
    indices : ndarray of int of shape (n_samples, n_neighbors)
        The neighbours of each sample, itself not among them. One that is listed again counts once.
    """

    def __init__(self, indices: NDArray):
        # Beside each other those that are listed again are seen.
        self.indices = np.sort(indices, axis=1)
        self._is_repeated = np.zeros(indices.shape, dtype=bool)
        self._is_repeated[:, 1:] = self.indices[:, 1:] == self.indices[:, :-1]
        samples = np.repeat(np.arange(len(indices)), indices.shape[1])
        self._graph = PairGraph(np.column_stack([samples, self.indices.ravel()]), len(indices))

    def squared_distances(self, images: NDArray) -> NDArray:
        """Squared distances; see `Neighborhoods.squared_distances`."""
        distances = fastest_kernels().squared_distances(images, images, self._graph)
        distances = distances.reshape(self.indices.shape)
        distances[self._is_repeated] = np.inf
        return distances

    def relations(self, relation: TargetRelation, targets: Any) -> NDArray:
        """Relations; see `Neighborhoods.relations`."""
        return relation(targets, self._graph.pairs).reshape(self.indices.shape)

    def of_neighbors(self, values: NDArray) -> NDArray:
        """Values of the neighbours; see `Neighborhoods.of_neighbors`."""
        return values[self.indices]

    def average(self, probabilities: NDArray, targets: NDArray) -> NDArray:
        """Weighted sums of targets; see `Neighborhoods.average`."""
        return self._matrix(probabilities) @ targets

    def products(self, left: NDArray, right: NDArray) -> NDArray:
        """Scalar products; see `Neighborhoods.products`."""
        products = np.empty(self.indices.shape, dtype=np.result_type(left, right))
        step = max(1, _BATCH_ENTRIES // (self.indices.shape[1] * right.shape[1]))
        for start in range(0, len(products), step):
            batch = slice(start, start + step)
            np.matmul(
                right[self.indices[batch]], left[batch, :, None], out=products[batch, :, None]
            )
        return products

    def laplacian(self, weights: NDArray, images: NDArray) -> NDArray:
        """Product with the graph Laplacian; see `Neighborhoods.laplacian`."""
        matrix = self._matrix(weights)
        degrees = weights.sum(axis=1) + np.bincount(
            self.indices.ravel(), weights=weights.ravel(), minlength=len(weights)
        ).astype(weights.dtype)
        return degrees[:, None] * images - matrix @ images - matrix.T @ images

    def _matrix(self, values):
        n_samples, n_neighbors = self.indices.shape
        ends = np.arange(0, self.indices.size + 1, n_neighbors)
        return sparse.csr_array(
            (values.ravel(), self.indices.ravel(), ends), shape=(n_samples, n_samples)
        )
