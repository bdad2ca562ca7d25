"""A module whose weights are averaged over the training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call

__all__ = ["Averaged"]

# Step t has the weight t^3 in the average, so that the first steps soon count little.
_POWER = 3


class Averaged(nn.Module):
    """A module in training, and the average of its weights, which is used in evaluation.

    Stochastic gradient descent with a constant rate ends at a random point around the optimum. The
    average of its steps is nearer to the optimum. It weighs later steps more, and does not need to
    know how many steps there will be.

    Parameters
    ----------
    module : torch.nn.Module
        A module that takes one argument.

    References
    ----------
    O. Shamir, T. Zhang. "Stochastic Gradient Descent for Non-smooth Optimization: Convergence
    Results and Optimal Averaging Schemes". ICML 2013.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        copies = [parameter.detach().clone() for parameter in module.parameters()]
        self.averages = nn.ParameterList(copies).requires_grad_(False)
        self.n_steps = 0

    def forward(self, batch: Any) -> Any:
        """Return the output of the module in training, and that of its average in evaluation."""
        if self.training:
            self._average()
            return self.module(batch)
        names = [name for name, _ in self.module.named_parameters()]
        averages = dict(zip(names, self.averages, strict=True))
        return functional_call(self.module, averages, (batch,))

    @torch.no_grad()
    def _average(self) -> None:
        """Add the weights after the last step to the average."""
        self.n_steps += 1
        rate = (_POWER + 1) / (_POWER + self.n_steps)
        for average, parameter in zip(self.averages, self.module.parameters(), strict=True):
            average.lerp_(parameter, rate)

    @torch.no_grad()
    def average(self) -> None:
        """Set the weights of the module to their average."""
        for average, parameter in zip(self.averages, self.module.parameters(), strict=True):
            parameter.copy_(average)
