"""Small networks that are computed together, and at all locations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["ALL", "LocalNetworks", "perceptrons"]

#: All locations.
ALL = slice(None)


class GroupedLinear(nn.Module):
    """Linear layers of several networks, each of which has its own inputs.

    Parameters
    ----------
    n_networks, n_inputs, n_outputs : int
        Number of networks, and numbers of inputs and outputs of each.
    """

    def __init__(self, n_networks: int, n_inputs: int, n_outputs: int):
        super().__init__()
        self.weight = _uniform((n_networks, n_outputs, n_inputs), n_inputs)
        self.bias = _uniform((n_networks, n_outputs, 1), n_inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n_networks, n_inputs, n_samples) to outputs (n_networks, n_outputs, n_samples)."""
        # The bias is added in place, as torch.baddbmm would first copy it to each sample.
        return torch.bmm(self.weight, inputs).add_(self.bias)


def _uniform(shape, n_inputs):
    """Return parameters of a layer with so many inputs, initialised as in nn.Linear."""
    largest = n_inputs**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-largest, largest))


def perceptrons(n_networks: int, sizes: Sequence[int]) -> nn.Sequential:
    """Return grouped linear layers of these sizes, with a ReLU between them."""
    layers: list[nn.Module] = []
    for ends in pairwise(sizes):
        layers += [GroupedLinear(n_networks, *ends), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class LocalNetworks(nn.Module):
    """Small networks that are the same at all locations but for a bias of each location.

    Channels are the first axis. The product of a small matrix and a wide one is faster than that of
    a tall one and a small one, above all for several networks.

    Parameters
    ----------
    n_networks, n_locations : int
        Number of networks and of locations.
    sizes : sequence of int
        Number of channels, numbers of units of the hidden layers, and number of outputs of each
        network. There must be at least one hidden layer.
    """

    def __init__(self, n_networks: int, n_locations: int, sizes: Sequence[int]):
        super().__init__()
        # All networks have the same inputs, so their first layers are one. Its bias depends on the
        # location.
        self.first = _uniform((n_networks * sizes[1], sizes[0]), sizes[0])
        self.place = nn.Parameter(torch.randn(n_networks * sizes[1], 1, n_locations) / 2)
        self.rest = perceptrons(n_networks, sizes[1:])
        self.n_networks = n_networks

    def forward(self, features: Tensor, places: Tensor | slice = ALL) -> Tensor:
        """Return the outputs for features at some places, which are locations.

        Parameters
        ----------
        features : Tensor of shape (n_channels, n_samples, n_places)
            Features at these places.
        places : Tensor of int of shape (n_places,) or slice
            Indices of the locations.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_outputs, n_samples, n_places)
        """
        samples_and_places = features.shape[1:]
        hidden = (self.first @ features.flatten(1)).unflatten(1, samples_and_places)
        hidden = hidden.add_(self.place[..., places]).relu_().flatten(1)
        found = self.rest(hidden.unflatten(0, (self.n_networks, -1)))
        return found.unflatten(2, samples_and_places)
