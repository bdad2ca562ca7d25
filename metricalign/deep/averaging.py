"""A module whose weights, averaged over training, are used for validation and in the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call

__all__ = ["Averaged"]

# The average weighs step t as t^3, so the first ones are soon forgotten, however many follow.
_POWER = 3


class Averaged(nn.Module):
    """A module in training, and its average, which takes its place in evaluation.

    Steps of stochastic gradients at a constant rate end at random around where they lead to; the
    average is nearer to it. It weighs later steps more, which needs no knowledge of how many there
    will be.

    Parameters
    ----------
    module : torch.nn.Module
        It is called with one argument.

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
        """What the module makes of a batch of training, or its average of another."""
        if self.training:
            self._average()
            return self.module(batch)
        names = [name for name, _ in self.module.named_parameters()]
        averages = dict(zip(names, self.averages, strict=True))
        return functional_call(self.module, averages, (batch,))

    @torch.no_grad()
    def _average(self) -> None:
        """Take the weights of the step before into the average."""
        self.n_steps += 1
        rate = (_POWER + 1) / (_POWER + self.n_steps)
        for average, parameter in zip(self.averages, self.module.parameters(), strict=True):
            average.lerp_(parameter, rate)

    @torch.no_grad()
    def average(self) -> None:
        """Give the module its average weights."""
        for average, parameter in zip(self.averages, self.module.parameters(), strict=True):
            parameter.copy_(average)
