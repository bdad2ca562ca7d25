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
        self.weight = _uniform((n_networks, n_outputs, n_inputs), n_inputs)
        self.bias = _uniform((n_networks, n_outputs, 1), n_inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of inputs, of shapes (n_networks, n_outputs or n_inputs, n_samples)."""
        # Added in place: torch.baddbmm would copy the bias to each sample before.
        return torch.bmm(self.weight, inputs).add_(self.bias)


def _uniform(shape, n_inputs):
    """Parameters of a layer of so many inputs, as nn.Linear starts."""
    largest = n_inputs**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-largest, largest))


def perceptrons(n_networks: int, sizes: Sequence[int]) -> nn.Sequential:
    """Grouped linear layers of these sizes with a ReLU between them."""
    layers: list[nn.Module] = []
    for ends in pairwise(sizes):
        layers += [GroupedLinear(n_networks, *ends), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class LocalNetworks(nn.Module):
    """Small networks, the same ones at all locations, which they tell apart.

    Channels come first: a product of a small matrix and a wide one is faster than that of a tall
    one and a small one, above all in several networks side by side.

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
        # They have the same inputs, so that their first layers are one. Its bias is of the place.
        self.first = _uniform((n_networks * sizes[1], sizes[0]), sizes[0])
        self.place = nn.Parameter(torch.randn(n_networks * sizes[1], 1, n_locations) / 2)
        self.rest = perceptrons(n_networks, sizes[1:])
        self.n_networks = n_networks

    def forward(self, features: Tensor, places: Tensor | slice = ALL) -> Tensor:
        """Outputs of features of these places, of shape (n_channels, n_samples, n_places).

        They have the shape (n_networks, n_outputs, n_samples, n_places).
        """
        samples_and_places = features.shape[1:]
        hidden = (self.first @ features.flatten(1)).unflatten(1, samples_and_places)
        hidden = hidden.add_(self.place[..., places]).relu_().flatten(1)
        found = self.rest(hidden.unflatten(0, (self.n_networks, -1)))
        return found.unflatten(2, samples_and_places)
