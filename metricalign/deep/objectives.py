"""What networks are trained for: relations of the targets, and views of samples."""

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
    """Distances are to align with the relations of the targets.

    Attributes
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        How badly they align.
    make_batches : callable
        What `choose_batches` returns.
    """

    data: AlignmentData
    loss: Any
    make_batches: Callable[..., Iterable[Batch]]

    def criterion(self, layer_weights: Sequence[float] | None, n_components: int) -> nn.Module:
        """Loss of the layers of a network, with weights of its own."""
        return LayeredLoss(deepcopy(self.loss), layer_weights)

    def batches(self, split: Split, random_state: np.random.RandomState) -> Iterable[Batch]:
        """Batches of an epoch of the samples to train on whose targets are known."""
        return self.make_batches(self.data, split.training, random_state=random_state)

    def error(self, split: Split) -> Callable[[nn.Module], float]:
        """Error of a network on the samples to validate on, see `validation_error`."""
        return validation_error(self.data, self.loss, split)


class ViewObjective(NamedTuple):
    """Views of a sample are to be nearer to each other than to all others.

    Attributes
    ----------
    data : ViewData
        Samples and their views.
    loss : DeepLoss or torch.nn.Module
        How badly they are, of relations that are 0 or 1.
    batch_size : int
        Samples in a batch, each with two views.
    n_candidates : int
        Other samples that these are compared with.
    has_head : bool
        Whether this is asked of what a head makes of the images.
    """

    data: ViewData
    loss: Any
    batch_size: int
    n_candidates: int
    has_head: bool

    def criterion(self, layer_weights: Sequence[float] | None, n_components: int) -> nn.Module:
        """Loss of the layers of a network, with weights of its own."""
        loss = LayeredLoss(deepcopy(self.loss), layer_weights)
        return ProjectedLoss(loss, n_components) if self.has_head else loss

    def batches(self, split: Split, random_state: np.random.RandomState) -> Iterable[Batch]:
        """Batches of an epoch of all samples to train on."""
        rows = np.concatenate([split.training, split.unlabelled])
        return AllPairsOfBatch(
            self.data, rows, self.batch_size, random_state, self.n_candidates, n_views=2
        )
