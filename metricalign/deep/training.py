"""The training of a network: steps, learning rates, averaged weights and early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from metricalign.deep.data import Batch

__all__ = ["OPTIMIZERS", "Training", "TrainingRecord"]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
"""The optimizers by name."""


class TrainingRecord(NamedTuple):
    """The result of a training.

    Attributes
    ----------
    network : torch.nn.Module
        The network with its best weights.
    losses : list of float
        Mean loss of each epoch.
    errors : list of float
        Validation error after each epoch. Empty without validation.
    n_best : int
        Number of epochs after which the weights were best. Without validation, all epochs.
    is_interrupted : bool
        Whether the user stopped the training.
    """

    network: nn.Module
    losses: list[float]
    errors: list[float]
    n_best: int
    is_interrupted: bool


class Training(NamedTuple):
    """Settings of the training of a network.

    Attributes
    ----------
    optimizer : str
        A name of `OPTIMIZERS`.
    learning_rate, momentum, weight_decay : float
        Parameters of the optimizer. Only "sgd" has momentum.
    schedule : {"cosine", "plateau"} or None
        "cosine" lowers the learning rate along a cosine that is zero after `n_epochs` epochs.
        "plateau" lowers it to a tenth when the loss has not improved for a quarter of `patience`
        epochs. None keeps it.
    averaging : float
        The result is a running mean of the weights, with this decay in each step. 0: the result is
        the weights themselves.
    n_epochs : int
        Largest number of epochs.
    patience : int
        The training stops after so many epochs without a smaller validation error.
    device : torch.device
        The device on which to compute.
    mixed_precision : bool
        Whether the network computes in bfloat16, in the operations in which that is safe.
    """

    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str | None
    averaging: float
    n_epochs: int
    patience: int
    device: torch.device
    mixed_precision: bool

    def run(
        self,
        network: nn.Module,
        criteria: nn.ModuleList,
        batches: Iterable[tuple[Batch, ...]],
        validation_error: Callable[[nn.Module], float] | None = None,
        n_epochs: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> TrainingRecord:
        """Train a network in place.

        Parameters
        ----------
        network : torch.nn.Module
            A module that returns a list of the outputs of layers.
        criteria : torch.nn.ModuleList
            Losses that take the layers, relations and targets of a batch. Their sum is minimised,
            and their own weights are trained too.
        batches : iterable of tuple of Batch
            The batches of an epoch, on the device. Each step has one batch for each loss.
        validation_error : callable or None, default=None
            Takes a network and returns its error. None: all epochs are trained.
        n_epochs : int or None, default=None
            Number of epochs after which to stop. The schedule is still that of all epochs. None:
            all epochs.
        report : callable or None, default=None
            Called with a line of text after each epoch.

        Returns
        -------
        record : TrainingRecord
            The network with its best weights, and the losses of the epochs.

        Raises
        ------
        ValueError
            If the loss becomes infinite or NaN.
        KeyboardInterrupt
            If the user stops the training in the first epoch.
        """
        network, criteria = network.to(self.device), criteria.to(self.device)
        optimizer, scheduler = self._optimizer(network, criteria)
        averaged: Any = network
        if self.averaging:
            averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.averaging))
        losses: list[float] = []
        errors: list[float] = []
        n_best, is_interrupted, best = 0, False, {}
        try:
            for epoch in range(1, (n_epochs or self.n_epochs) + 1):
                loss = self._epoch(network, criteria, batches, optimizer, averaged)
                if not np.isfinite(loss):
                    raise ValueError(
                        f"The loss is {loss} after {epoch} epochs. Decrease learning_rate, or "
                        "scale X."
                    )
                line = f"epoch {epoch}: loss {loss:.6g}"
                if validation_error is not None:
                    error = validation_error(averaged.eval())
                    line += f", validation error {error:.6g}"
                    errors.append(error)
                losses.append(loss)
                if validation_error is None or error < min(errors[:-1], default=np.inf):
                    n_best = epoch
                if n_best == epoch and validation_error is not None:
                    best = deepcopy(averaged.state_dict())
                if report is not None:
                    report(line)
                if epoch - n_best >= self.patience:
                    break
                if scheduler is not None:
                    scheduler.step(*([loss] if self.schedule == "plateau" else []))
        except KeyboardInterrupt:
            if not losses:
                raise
            is_interrupted = True
        if best:
            averaged.load_state_dict(best)
        network = averaged.module if self.averaging else network
        return TrainingRecord(network.eval(), losses, errors, n_best, is_interrupted)

    def _optimizer(self, network, criteria):
        options = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            options["momentum"] = self.momentum
        optimizer: Any = OPTIMIZERS[self.optimizer]
        optimizer = optimizer([*network.parameters(), *criteria.parameters()], **options)
        if self.schedule == "cosine":
            return optimizer, CosineAnnealingLR(optimizer, T_max=self.n_epochs)
        if self.schedule == "plateau":
            return optimizer, ReduceLROnPlateau(optimizer, patience=self.patience // 4)
        return optimizer, None

    @torch.enable_grad()  # also where the caller, or an interrupt, has turned gradients off
    def _epoch(self, network, criteria, batches, optimizer, averaged) -> float:
        """Train one epoch, and return the mean loss of the batches."""
        network.train()
        # The sum stays on the device, so that no step waits for the result of the one before.
        total, n_batches = torch.zeros((), device=self.device), 0
        precision: Any = nullcontext()
        if self.mixed_precision:
            precision = torch.autocast(self.device.type, torch.bfloat16)
        for parts in batches:
            loss = torch.zeros((), device=self.device)
            for criterion, batch in zip(criteria, parts, strict=True):
                with precision:
                    layers = network(batch.samples)
                layers = [layer.float() for layer in layers]
                loss = loss + criterion(layers, batch.relations, batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if averaged is not network:
                averaged.update_parameters(network)
            total += loss.detach()
            n_batches += 1
        return float(total) / max(n_batches, 1)
