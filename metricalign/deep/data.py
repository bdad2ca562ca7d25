"""Samples and their relations, on the device on which a network is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor

from metricalign._arrays import as_dense, batches
from metricalign.deep.augmentations import Augmentation, view_of
from metricalign.deep.samples import read_batch
from metricalign.learners.coordinates import target_vectors
from metricalign.relations import TargetRelation

__all__ = ["AlignmentData", "Batch", "SampleData", "ViewData"]

# So many rows are read at a time, which limits the memory.
_ROWS_AT_A_TIME = 4096

# Relations that are norms of the differences of encoded targets, with the exponent of the norm.
_MINKOWSKI = {"absolute_difference": 1, "manhattan": 1, "euclidean": 2, "chebyshev": float("inf")}


class Batch(NamedTuple):
    """The data of one step of training.

    Attributes
    ----------
    samples : Tensor of shape (n_samples, n_features)
        Samples, scaled for the network.
    relations : Tensor of shape (n_rows, n_samples) or (n_samples / 2,) or None
        Relations of the first `n_rows` samples to all, or of each sample of the first half to that
        of the second half. None: the loss needs targets instead.
    targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
        Coordinates of the targets of the first samples and of all, for a loss that needs them.
    """

    samples: Tensor
    relations: Tensor | None
    targets: tuple[Tensor, Tensor] | None = None


class SampleData:
    """Samples on the device on which the network is trained.

    Samples that are in memory are copied to the device once. Others are read when they are needed.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    offset, scale : ndarray of shape (n_features,) or float
        The network gets (X - offset) / scale.
    device : torch.device or str, default="cpu"
        The device.
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
        """Return an array on the device, in single precision."""
        return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(self.device)

    def _read(self, rows) -> Tensor:
        return self.to_device((read_batch(self.X, rows) - self.offset) / self.scale)

    def samples(self, rows: NDArray) -> Tensor:
        """Return the samples of a batch, scaled for the network."""
        if self._samples is None:
            parts = batches(len(rows), _ROWS_AT_A_TIME)
            return torch.cat([self._read(rows[part]) for part in parts])
        return self._samples[torch.from_numpy(rows).to(self.device)]


class ViewData:
    """Random views of samples. The relation of two views is 0 if they are of one sample, else 1.

    Parameters
    ----------
    data : SampleData
        The samples.
    augmentations : sequence of callable
        Functions that are applied to samples in the units of X, one after the other, and make a
        view of them.
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
        """Return a view of each sample, and the relations of the first views to all.

        Parameters
        ----------
        rows : ndarray of int of shape (n_samples,)
            The samples. A sample that occurs several times has several views.
        n_rows : int
            Number of views that are compared with all.

        Returns
        -------
        batch : Batch
            Views and relations.
        """
        samples = self.data.samples(rows) * self._scale + self._offset
        views = (view_of(samples, self.augmentations) - self._offset) / self._scale
        number = torch.from_numpy(rows).to(self.data.device)
        return Batch(views, (number[:n_rows, None] != number).float())


class AlignmentData:
    """Samples and relations scaled to [0, 1], on the device on which the network is trained.

    A relation becomes (relation - smallest) / (largest - smallest), so that it is 0 for equal
    targets and 1 for the most different ones.

    Parameters
    ----------
    data : SampleData
        The samples.
    relation : TargetRelation
        Relation of targets.
    targets : array of shape (n_samples, ...)
        Targets, encoded by the relation.
    smallest, largest : float
        Relation of equal targets, and of the most different ones.
    loss : DeepLoss or torch.nn.Module or None, default=None
        If its `needs_targets` is true, batches have coordinates of the targets. Else they have
        relations.
    known : ndarray of bool of shape (n_samples,) or None, default=None
        Whether the target of each sample is known, so that batches may have it. None: all are.
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
        # Relations are computed on the CPU, so that those of many pairs take long.
        self.is_slow = self._coordinates is None and self._on_device is None

    def pair_relations(self, pairs: NDArray) -> NDArray:
        """Return the relations of pairs, of shape (..., 2), between 0 and 1."""
        return self._scaled(self.relation(self.targets, pairs.reshape(-1, 2))).reshape(
            pairs.shape[:-1]
        )

    def batch(self, rows: NDArray, n_rows: int) -> Batch:
        """Return samples, and the relations of the first of them to all or their targets.

        Parameters
        ----------
        rows : ndarray of int of shape (n_samples,)
            The samples.
        n_rows : int
            Number of samples that are compared with all.

        Returns
        -------
        batch : Batch
            Samples, and relations or targets.
        """
        samples = self.data.samples(rows)
        if self._coordinates is not None:
            targets = self._coordinates[torch.from_numpy(rows).to(self.data.device)]
            return Batch(samples, None, (targets[:n_rows], targets))
        return Batch(samples, self._relations(rows, n_rows).fill_diagonal_(0))

    def batch_of_pairs(self, pairs: NDArray, relations: NDArray) -> Batch:
        """Return the samples of pairs, of shape (n_pairs, 2), and their relations."""
        return Batch(self.data.samples(pairs.T.ravel()), self.data.to_device(relations))

    def _scaled(self, relations) -> NDArray:
        """Scale relations to values between 0 and 1."""
        return np.clip((relations - self.smallest) / (self.largest - self.smallest), 0, 1)

    def _targets_on_device(self) -> Tensor | None:
        """Return targets whose relations the device can compute, or None if it cannot."""
        relation, targets = self.relation, self.targets
        if relation.function is not None or sparse.issparse(targets):
            return None
        if relation.name in ("class", "zero_one"):
            codes = np.unique(targets, return_inverse=True)[1]
            return torch.from_numpy(codes).to(self.data.device)
        if relation.name == "precomputed":
            # Relations may be far from zero and differ little. Scaling them first keeps digits.
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
        # Products of matrices would lose the digits of small differences.
        mode = "donot_use_mm_for_euclid_dist"
        relations = torch.cdist(targets[:n_rows], targets, p, mode)
        return ((relations - self.smallest) / (self.largest - self.smallest)).clamp(0, 1)


def _coordinates(relation, targets, known) -> NDArray:
    """Coordinates of targets, scaled so that a prediction of their mean has the squared error 1."""
    vectors: Any = target_vectors(relation, targets)
    vectors = as_dense(vectors)
    vectors = vectors - vectors[known].mean(axis=0)
    return vectors / np.sqrt(np.mean(np.sum(vectors[known] ** 2, axis=1)))
