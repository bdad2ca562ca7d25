"""Networks that map samples to images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import normalize

__all__ = ["ACTIVATIONS", "EmbeddingNetwork", "MultilayerPerceptron"]

#: The activations known by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MultilayerPerceptron(nn.Module):
    """Linear layers with an activation between them.

    Parameters
    ----------
    sizes : sequence of int
        Number of features, of units in each hidden layer, and of components.
    activation : str
        A name of `ACTIVATIONS`.
    """

    def __init__(self, sizes: Sequence[int], activation: str):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*ends) for ends in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, X: Tensor) -> list[Tensor]:
        """Outputs of the hidden layers and, last, the embedding."""
        outputs = []
        for layer in self.layers[:-1]:
            X = self.activation(layer(X))
            outputs.append(X)
        return [*outputs, self.layers[-1](X)]


class EmbeddingNetwork(nn.Module):
    """A network as a list of layers, the embedding last, each normalised if wanted.

    Parameters
    ----------
    module : torch.nn.Module
        Returns the embedding of a batch, or a list of the outputs of layers, the embedding last.
    normalize : bool
        Whether images are brought to length 1.
    """

    def __init__(self, module: nn.Module, normalize: bool):
        super().__init__()
        self.module = module
        self.normalize = normalize

    def forward(self, X: Tensor) -> list[Tensor]:
        """Outputs of the layers, the embedding last."""
        layers = self.module(X)
        layers = [layers] if isinstance(layers, Tensor) else list(layers)
        return [normalize(layer) for layer in layers] if self.normalize else layers
