"""Batches of samples to train critics on, and the error if the training diverges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from skorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Batches", "FiniteLoss", "Samples"]


class Samples(Dataset):
    """Tensors with a row for each sample."""

    def __init__(self, *tensors: Tensor):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, rows):
        return [tensor[rows] for tensor in self.tensors]


class Batches:
    """Batches of at least two samples, in one or several passes, shuffled for training."""

    def __init__(self, samples: Any, batch_size: int, is_shuffled: bool = False, n_passes: int = 1):
        self.samples = samples
        self.batch_size = batch_size
        self.is_shuffled = is_shuffled
        self.n_passes = n_passes

    def __iter__(self) -> Iterator[tuple[list[Tensor], Tensor]]:
        n_samples = len(self.samples)
        for _ in range(self.n_passes):
            order = torch.randperm(n_samples) if self.is_shuffled else torch.arange(n_samples)
            for rows in gen_batches(n_samples, self.batch_size, min_batch_size=2):
                # skorch needs a target, which the loss does not use.
                yield self.samples[order[rows]], torch.empty(0)


class FiniteLoss(Callback):
    """Raise an error if training diverges."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Check the loss of the epoch."""
        if not np.isfinite(net.history[-1, "train_loss"]):
            raise ValueError(
                f"The loss is {net.history[-1, 'train_loss']} after {len(net.history)} epochs. "
                "Decrease learning_rate, or scale X."
            )
