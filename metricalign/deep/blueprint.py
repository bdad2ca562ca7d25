"""What a network is made of, apart from its weights."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray
from torch import nn

from metricalign.deep.embeddings import EMBEDDINGS
from metricalign.deep.networks import EmbeddingNetwork, MultilayerPerceptron, TableNetwork

__all__ = ["Blueprint"]

# Hidden units of a residual block.
_N_UNITS_OF_BLOCK = 256


@dataclass
class Blueprint:
    """What a network of a table is made of, in plain values, which files keep without pickle.

    Attributes
    ----------
    n_inputs : int
        Columns that the network gets.
    embedding : str or None
        A name of `EMBEDDINGS`.
    edges, shares : list of length n_inputs, or empty without an embedding
        Array of the edges of the pieces of each column of numbers, and of the shares of the samples
        that are smaller; None for other columns.
    hidden_layer_sizes : tuple of int
        Units of the hidden layers.
    n_components : int
        Dimension of the images.
    activation : str
        A name of `ACTIVATIONS`.
    n_blocks : int
        Residual blocks.
    dropout : float
        Share of the hidden units of the blocks that are dropped in training.
    normalize : bool
        Whether images are brought to length 1.
    is_refined : bool
        Whether a linear layer comes first, which has a start of its own.
    """

    n_inputs: int
    embedding: str | None
    edges: list[NDArray | None]
    shares: list[NDArray | None]
    hidden_layer_sizes: tuple[int, ...]
    n_components: int
    activation: str
    n_blocks: int
    dropout: float
    normalize: bool
    is_refined: bool

    def build(self) -> EmbeddingNetwork:
        """A network with random weights."""
        embedding: nn.Module = nn.Identity()
        n_inputs = self.n_inputs
        if self.embedding is not None:
            embedding, n_inputs = EMBEDDINGS[self.embedding].build(self.edges, self.shares)
        sizes = (n_inputs, *self.hidden_layer_sizes, self.n_components)
        network: nn.Module = TableNetwork(
            embedding,
            MultilayerPerceptron(sizes, self.activation),
            self.n_components,
            self.n_blocks,
            _N_UNITS_OF_BLOCK,
            self.dropout,
        )
        if self.is_refined:
            first = nn.Linear(self.n_inputs, self.n_inputs, bias=False)
            network = nn.Sequential(first, network)
        return EmbeddingNetwork(network, self.normalize)
