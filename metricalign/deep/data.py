"""Samples and their relations, on the device where a network is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor

from metricalign._arrays import batches
from metricalign.deep.augmentations import Augmentation, view_of
from metricalign.deep.samples import read_batch
from metricalign.learners.coordinates import target_vectors
from metricalign.relations import TargetRelation

__all__ = ["AlignmentData", "Batch", "SampleData", "ViewData"]

# Rows that are read at a time.
_ROWS_AT_A_TIME = 4096

# Relations that are norms of the differences of encoded targets, by the exponent.
_MINKOWSKI = {"absolute_difference": 1, "manhattan": 1, "euclidean": 2, "chebyshev": float("inf")}


class Batch(NamedTuple):
    """What a step of training gets.

    Attributes
    ----------
    samples : Tensor of shape (n_samples, n_features)
        Samples, as the network gets them.
    relations : Tensor of shape (n_rows, n_samples) or (n_samples / 2,) or None
        Relations of the first samples with all, or of each sample of the first half with that of
        the second. None where the loss only needs targets.
    targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
        Coordinates of the targets of the rows and of all samples, for a loss that needs them.
    """

    samples: Tensor
    relations: Tensor | None
    targets: tuple[Tensor, Tensor] | None = None


class SampleData:
    """Samples on the device where the network is trained.

    Samples that are in memory are brought to the device once; others are read when they are
    needed.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    offset, scale : ndarray of shape (n_features,) or float
        The network gets (X - offset) / scale.
    device : torch.device or str, default="cpu"
        Where to.
    """

    def __init__(
        self,
        X: Any,
        offset: NDArray | float,
        scale: NDArray | float,
        device: torch.device | str = "cpu",
    ):
        self.X = X
        self.offset = offset
        self.scale = scale
        self.device = device
        is_in_memory = isinstance(X, np.ndarray) and not isinstance(X, np.memmap)
        self._samples = self._read(slice(None)) if is_in_memory else None

    def to_device(self, array: ArrayLike) -> Tensor:
        """An array, in single precision."""
        return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(self.device)

    def _read(self, rows) -> Tensor:
        return self.to_device((read_batch(self.X, rows) - self.offset) / self.scale)

    def samples(self, rows: NDArray) -> Tensor:
        """Samples of a batch, as the network gets them."""
        if self._samples is None:
            parts = batches(len(rows), _ROWS_AT_A_TIME)
            return torch.cat([self._read(rows[part]) for part in parts])
        return self._samples[torch.from_numpy(rows).to(self.device)]


class ViewData:
    """Random views of samples: the relation of those of one sample is 0, of all others 1.

    Parameters
    ----------
    data : SampleData
        The samples.
    augmentations : sequence of callable
        What makes a view of samples in the units of X, one after the other.
    """

    def __init__(self, data: SampleData, augmentations: Sequence[Callable[[Tensor], Tensor]]):
        self.data = data
        self._offset, self._scale = data.to_device(data.offset), data.to_device(data.scale)
        self.augmentations = [
            augmentation.for_scale(self._scale)
            if isinstance(augmentation, Augmentation)
            else augmentation
            for augmentation in augmentations
        ]

    def batch(self, rows: NDArray, n_rows: int) -> Batch:
        """A view of each sample, and which of the first ones are of the same sample as others.

        Parameters
        ----------
        rows : ndarray of int of shape (n_samples,)
            The samples, each as often as it is to have views.
        n_rows : int
            How many of them are compared with all.

        Returns
        -------
        batch : Batch
        """
        samples = self.data.samples(rows) * self._scale + self._offset
        views = (view_of(samples, self.augmentations) - self._offset) / self._scale
        number = torch.from_numpy(rows).to(self.data.device)
        return Batch(views, (number[:n_rows, None] != number).float())


class AlignmentData:
    """Samples and relations scaled to [0, 1], on the device where the network is trained.

    The relation of equal targets becomes 0 and the largest one 1:
    (relation - smallest) / (largest - smallest).

    Parameters
    ----------
    data : SampleData
        The samples.
    relation : TargetRelation
        Relation of targets.
    targets : array of shape (n_samples, ...)
        Targets as the relation has encoded them.
    smallest, largest : float
        Relation of targets that are the same, and of those that differ most.
    loss : DeepLoss or torch.nn.Module or None, default=None
        Loss that says whether relations or coordinates of the targets are needed.
    known : ndarray of bool of shape (n_samples,) or None, default=None
        Samples whose targets are known, and of which batches may be made; None for all.
    """

    def __init__(
        self,
        data: SampleData,
        relation: TargetRelation,
        targets: Any,
        smallest: float,
        largest: float,
        loss: Any = None,
        known: NDArray | None = None,
    ):
        self.data = data
        self.relation = relation
        self.targets = targets
        self.smallest = smallest
        self.largest = largest
        self.known = np.ones(data.X.shape[0], dtype=bool) if known is None else known
        self._coordinates = self._on_device = None
        if getattr(loss, "needs_targets", False):
            self._coordinates = self.data.to_device(_coordinates(relation, targets, self.known))
        else:
            self._on_device = self._targets_on_device()
        # Whether relations of many pairs take long.
        self.is_slow = self._coordinates is None and self._on_device is None

    def pair_relations(self, pairs: NDArray) -> NDArray:
        """Relations of pairs of shape (..., 2), between 0 and 1."""
        return self._scaled(self.relation(self.targets, pairs.reshape(-1, 2))).reshape(
            pairs.shape[:-1]
        )

    def batch(self, rows: NDArray, n_rows: int) -> Batch:
        """Samples, and what the first of them have to do with all.

        Parameters
        ----------
        rows : ndarray of int of shape (n_samples,)
            The samples.
        n_rows : int
            How many of them are compared with all.

        Returns
        -------
        batch : Batch
        """
        samples = self.data.samples(rows)
        if self._coordinates is not None:
            targets = self._coordinates[torch.from_numpy(rows).to(self.data.device)]
            return Batch(samples, None, (targets[:n_rows], targets))
        return Batch(samples, self._relations(rows, n_rows).fill_diagonal_(0))

    def batch_of_pairs(self, pairs: NDArray, relations: NDArray) -> Batch:
        """The samples of pairs of shape (n_pairs, 2), and their relations."""
        return Batch(self.data.samples(pairs.T.ravel()), self.data.to_device(relations))

    def _scaled(self, relations) -> NDArray:
        """Relations between 0 and 1."""
        return np.clip((relations - self.smallest) / (self.largest - self.smallest), 0, 1)

    def _targets_on_device(self) -> Tensor | None:
        """Targets whose relations are computed on the device; None where they cannot be."""
        relation, targets = self.relation, self.targets
        if relation.function is not None or sparse.issparse(targets):
            return None
        if relation.name in ("class", "zero_one"):
            codes = np.unique(targets, return_inverse=True)[1]
            return torch.from_numpy(codes).to(self.data.device)
        if relation.name == "precomputed":
            # Scaled before they lose digits: they may be far from zero, and differ little.
            return self.data.to_device(self._scaled(targets))
        if relation.name in _MINKOWSKI:
            return torch.from_numpy(targets.reshape(len(targets), -1)).float().to(self.data.device)
        return None

    def _relations(self, rows, n_rows) -> Tensor:
        if self._on_device is None:
            pairs = np.stack(np.meshgrid(rows[:n_rows], rows, indexing="ij"), axis=2)
            return self.data.to_device(self.pair_relations(pairs))
        index = torch.from_numpy(rows).to(self.data.device)
        if self.relation.name in ("class", "zero_one"):
            codes = self._on_device[index]
            return (codes[:n_rows, None] != codes).float()
        if self.relation.name == "precomputed":
            return self._on_device[index[:n_rows, None], index]
        targets, p = self._on_device[index], _MINKOWSKI[self.relation.name]
        # Not by products of matrices, which lose the digits of small differences.
        mode = "donot_use_mm_for_euclid_dist"
        relations = torch.cdist(targets[:n_rows], targets, p, mode)
        return ((relations - self.smallest) / (self.largest - self.smallest)).clamp(0, 1)


def _coordinates(relation, targets, known) -> NDArray:
    """Targets that can be averaged, scaled so that the mean of the known has the error 1."""
    vectors: Any = target_vectors(relation, targets)
    vectors = vectors.toarray() if sparse.issparse(vectors) else vectors
    vectors = vectors - vectors[known].mean(axis=0)
    return vectors / np.sqrt(np.mean(np.sum(vectors[known] ** 2, axis=1)))
