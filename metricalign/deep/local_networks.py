"""Small networks that run beside each other, and at all locations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["ALL", "LocalNetworks", "perceptrons"]

#: All places.
ALL = slice(None)


class GroupedLinear(nn.Module):
    """Linear maps of several networks, each of its own inputs.

    Parameters
    ----------
    n_networks, n_inputs, n_outputs : int
        Number of networks, and of columns of inputs and outputs of each.
    """

    def __init__(self, n_networks: int, n_inputs: int, n_outputs: int):
        super().__init__()
        # As nn.Linear starts.
        largest = n_inputs**-0.5
        self.weight = nn.Parameter(torch.empty(n_networks, n_inputs, n_outputs))
        self.bias = nn.Parameter(torch.empty(n_networks, 1, n_outputs))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -largest, largest)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of inputs, both of shape (n_networks, n_samples, ...)."""
        return torch.baddbmm(self.bias, inputs, self.weight)


def perceptrons(n_networks: int, sizes: Sequence[int]) -> nn.Sequential:
    """Grouped linear layers of these sizes with a ReLU between them."""
    layers: list[nn.Module] = []
    for ends in pairwise(sizes):
        layers += [GroupedLinear(n_networks, *ends), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class LocalNetworks(nn.Module):
    """Small networks, the same ones at all locations, which they tell apart.

    Parameters
    ----------
    n_networks, n_locations : int
        Number of networks and of locations.
    sizes : sequence of int
        Number of channels, units of the hidden layers, of which there is at least one, and number
        of outputs, of each network.
    """

    def __init__(self, n_networks: int, n_locations: int, sizes: Sequence[int]):
        super().__init__()
        self.first = nn.Linear(sizes[0], n_networks * sizes[1])
        self.place = nn.Parameter(torch.randn(n_locations, n_networks * sizes[1]) / 2)
        self.rest = perceptrons(n_networks, sizes[1:])
        self.n_networks = n_networks

    def forward(self, features: Tensor, places: Tensor | slice = ALL) -> Tensor:
        """Outputs of shape (n_networks, n_samples, n_places, n_outputs) of these places."""
        hidden = self.first(features).add_(self.place[places]).relu_()
        of_networks = hidden.flatten(0, 1).unflatten(1, (self.n_networks, -1)).transpose(0, 1)
        return self.rest(of_networks).unflatten(1, features.shape[:2])
