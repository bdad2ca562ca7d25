"""Networks that map samples to images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

__all__ = [
    "ACTIVATIONS",
    "EmbeddingNetwork",
    "MultilayerPerceptron",
    "NetworkEnsemble",
    "ResidualBlock",
    "TableNetwork",
]

#: The activations by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class ResidualBlock(nn.Module):
    """The sum of a batch and the output of a hidden layer, with batch normalisation.

    Parameters
    ----------
    n_units : int
        Number of columns of the batch.
    n_hidden : int
        Number of hidden units.
    dropout : float
        Share of the hidden units that are dropped in training.
    """

    def __init__(self, n_units: int, n_hidden: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(n_units),
            nn.Linear(n_units, n_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_units),
        )

    def forward(self, X: Tensor) -> Tensor:
        """Return the output, which has the shape of the input."""
        return X + self.layers(X)


class MultilayerPerceptron(nn.Module):
    """Linear layers with an activation between them.

    Parameters
    ----------
    sizes : sequence of int
        Number of features, numbers of units of the hidden layers, and number of components.
    activation : str
        A name of `ACTIVATIONS`.
    """

    def __init__(self, sizes: Sequence[int], activation: str):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*ends) for ends in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()

    def start_from_euclid(self) -> None:
        """Let the first layer keep all distances, if it has as many units as there are features."""
        first: Any = self.layers[0]
        nn.init.orthogonal_(first.weight)

    def forward(self, X: Tensor) -> list[Tensor]:
        """Return the outputs of the hidden layers and, last, the embedding."""
        outputs = []
        for layer in self.layers[:-1]:
            X = self.activation(layer(X))
            outputs.append(X)
        return [*outputs, self.layers[-1](X)]


class TableNetwork(nn.Module):
    """An embedding of the columns, a multilayer perceptron and residual blocks.

    Parameters
    ----------
    embedding : torch.nn.Module
        Maps the columns to the input of the perceptron.
    perceptron : MultilayerPerceptron
        Maps the embedded columns to outputs.
    n_components : int
        Number of outputs of the perceptron.
    n_blocks : int
        Number of residual blocks. If there are any, batch normalisation follows them.
    n_hidden : int
        Number of hidden units of a block.
    dropout : float
        Share of the hidden units that are dropped in training.
    """

    def __init__(
        self,
        embedding: nn.Module,
        perceptron: MultilayerPerceptron,
        n_components: int,
        n_blocks: int,
        n_hidden: int,
        dropout: float,
    ):
        super().__init__()
        self.embedding = embedding
        self.perceptron = perceptron
        blocks: list[nn.Module] = [
            ResidualBlock(n_components, n_hidden, dropout) for _ in range(n_blocks)
        ]
        if blocks:
            blocks.append(nn.BatchNorm1d(n_components))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, X: Tensor) -> list[Tensor]:
        """Return the outputs of the hidden layers of the perceptron and, last, the images."""
        *hidden, X = self.perceptron(self.embedding(X))
        return [*hidden, self.blocks(X)]


class EmbeddingNetwork(nn.Module):
    """A network that returns a list of layers, the embedding last.

    Parameters
    ----------
    module : torch.nn.Module
        Returns the embedding of a batch, or a list of the outputs of layers with the embedding
        last.
    normalize : bool
        Whether the outputs of all layers are scaled to norm 1.
    """

    def __init__(self, module: nn.Module, normalize: bool):
        super().__init__()
        self.module = module
        self.normalize = normalize

    def forward(self, X: Tensor) -> list[Tensor]:
        """Return the outputs of the layers, the embedding last."""
        layers = self.module(X)
        layers = [layers] if isinstance(layers, Tensor) else list(layers)
        return [normalize(layer) for layer in layers] if self.normalize else layers


class NetworkEnsemble(nn.Module):
    """Several networks whose squared distances are averaged. Their outputs are concatenated.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Each returns a list of layers, the embedding last.
    weights : array-like of shape (n_networks,) or None, default=None
        Weights of the squared distances. None: 1 / n_networks.
    """

    scales: Tensor

    def __init__(self, networks: Sequence[nn.Module], weights: Any = None):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        if weights is None:
            weights = np.full(len(networks), 1 / len(networks))
        scales = torch.from_numpy(np.sqrt(np.asarray(weights, dtype=np.float32)))
        self.register_buffer("scales", scales)

    def forward(self, X: Tensor) -> list[Tensor]:
        """Return the outputs of the layers that all networks have, the embedding last."""
        layers = zip(*(network(X)[::-1] for network in self.networks), strict=False)
        outputs = [
            torch.cat([scale * part for scale, part in zip(self.scales, layer, strict=True)], dim=1)
            for layer in layers
        ]
        return outputs[::-1]
