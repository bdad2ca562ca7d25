"""Objectives of the training of networks: relations of targets, and views of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from metricalign.deep.batches import AllPairsOfBatch
from metricalign.deep.data import AlignmentData, Batch, ViewData
from metricalign.deep.losses import LayeredLoss, ProjectedLoss
from metricalign.deep.selection import Split
from metricalign.deep.validation import validation_error

__all__ = ["TargetObjective", "ViewObjective"]


class TargetObjective(NamedTuple):
    """The objective that distances align with the relations of the targets.

    Attributes
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        Loss of distances that do not align with the relations.
    make_batches : callable
        The callable that `choose_batches` returned.
    """

    data: AlignmentData
    loss: Any
    make_batches: Callable[..., Iterable[Batch]]

    def criterion(self, layer_weights: Sequence[float] | None, n_components: int) -> nn.Module:
        """Return the loss of the layers of a network. It may have weights of its own."""
        return LayeredLoss(deepcopy(self.loss), layer_weights)

    def batches(self, split: Split, random_state: np.random.RandomState) -> Iterable[Batch]:
        """Return the batches of an epoch, of the samples to train on whose targets are known."""
        return self.make_batches(self.data, split.training, random_state=random_state)

    def error(self, split: Split) -> Callable[[nn.Module], float]:
        """Return the function for the error of a network, see `validation_error`."""
        return validation_error(self.data, self.loss, split)


class ViewObjective(NamedTuple):
    """The objective that views of a sample are nearer to each other than to all other views.

    Attributes
    ----------
    data : ViewData
        Samples and their views.
    loss : DeepLoss or torch.nn.Module
        Loss for relations that are 0 or 1.
    batch_size : int
        Number of samples in a batch. Each has two views.
    n_candidates : int
        Number of other samples that they are compared with.
    has_head : bool
        Whether the loss is that of the outputs of a head, see `ProjectedLoss`.
    """

    data: ViewData
    loss: Any
    batch_size: int
    n_candidates: int
    has_head: bool

    def criterion(self, layer_weights: Sequence[float] | None, n_components: int) -> nn.Module:
        """Return the loss of the layers of a network. It may have weights of its own."""
        loss = LayeredLoss(deepcopy(self.loss), layer_weights)
        return ProjectedLoss(loss, n_components) if self.has_head else loss

    def batches(self, split: Split, random_state: np.random.RandomState) -> Iterable[Batch]:
        """Return the batches of an epoch, of all samples to train on."""
        rows = np.concatenate([split.training, split.unlabelled])
        return AllPairsOfBatch(
            self.data, rows, self.batch_size, random_state, self.n_candidates, n_views=2
        )
