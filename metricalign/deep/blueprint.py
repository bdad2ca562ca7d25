"""Blueprints of networks: their architecture, without their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import nn

from metricalign.deep.device import own_generator
from metricalign.deep.embeddings import EMBEDDINGS
from metricalign.deep.networks import (
    EmbeddingNetwork,
    MultilayerPerceptron,
    NetworkEnsemble,
    TableNetwork,
)

__all__ = ["N_BLOCKS", "Blueprint", "architectures", "load_networks"]

# Number of hidden units of a residual block.
_N_UNITS_OF_BLOCK = 256

# Number of residual blocks for n_blocks="auto".
N_BLOCKS = 2

# embedding="auto" embeds at most so many columns of numbers.
_MOST_EMBEDDED = 100


def architectures(
    embedding: str | None, n_blocks: int | str, n_numbers: int, can_embed: bool, is_few: bool
) -> list[tuple[str | None, int]]:
    """Return the embeddings and numbers of blocks to choose from.

    Parameters
    ----------
    embedding : str or None
        A name of `EMBEDDINGS`, or "auto".
    n_blocks : int or "auto"
        Number of residual blocks.
    n_numbers : int
        Number of columns of numbers.
    can_embed : bool
        Whether these columns can be embedded.
    is_few : bool
        Whether there are few samples. A linear map is tried then as well.

    Returns
    -------
    architectures : list of tuple (str or None, int)
        Embedding and number of blocks. The first one is taken if there is no validation.

    Raises
    ------
    ValueError
        If `embedding` names an embedding, but the columns cannot be embedded.
    """
    can_embed &= n_numbers > 0
    if embedding not in ("auto", None) and not can_embed:
        raise ValueError(
            f"embedding={embedding!r} needs dense samples with columns of numbers, as they are "
            "without refine. Use embedding=None."
        )
    if embedding == "auto" and (not can_embed or n_numbers > _MOST_EMBEDDED):
        embedding = None
    if embedding == "auto" and isinstance(n_blocks, str):
        return [("plr_lite", 0), (None, N_BLOCKS), (None, 0)][: 3 if is_few else 2]
    if embedding == "auto":
        return [(None if n_blocks else "plr_lite", int(n_blocks))]
    if isinstance(n_blocks, str):
        return [(embedding, 0), (embedding, N_BLOCKS)]
    return [(embedding, n_blocks)]


@dataclass
class Blueprint:
    """Architecture of a network of a table, in plain values, which files keep without pickle.

    Attributes
    ----------
    n_inputs : int
        Number of columns of the input.
    embedding : str or None
        A name of `EMBEDDINGS`.
    edges, shares : list of length n_inputs, or empty without an embedding
        For each column of numbers, the edges of its pieces, and the shares of the samples that are
        smaller than each edge. None for other columns.
    hidden_layer_sizes : tuple of int
        Numbers of units of the hidden layers.
    n_components : int or None
        Number of components of the images. None: the images are the samples, and the other
        attributes do not count.
    activation : str
        A name of `ACTIVATIONS`.
    n_blocks : int
        Residual blocks.
    dropout : float
        Share of the hidden units of the blocks that are dropped in training.
    normalize : bool
        Whether images are scaled to norm 1.
    is_refined : bool
        Whether the first layer is a linear layer that starts from a learned metric.
    """

    n_inputs: int
    embedding: str | None
    edges: list[NDArray | None]
    shares: list[NDArray | None]
    hidden_layer_sizes: tuple[int, ...]
    n_components: int | None
    activation: str
    n_blocks: int
    dropout: float
    normalize: bool
    is_refined: bool

    def build(self) -> EmbeddingNetwork:
        """Return a network with random weights. A linear map starts from Euclid's distance."""
        if self.n_components is None:
            return EmbeddingNetwork(nn.Identity(), self.normalize)
        embedding: nn.Module = nn.Identity()
        n_inputs = self.n_inputs
        if self.embedding is not None:
            embedding, n_inputs = EMBEDDINGS[self.embedding].build(self.edges, self.shares)
        sizes = (n_inputs, *self.hidden_layer_sizes, self.n_components)
        perceptron = MultilayerPerceptron(sizes, self.activation)
        if self.embedding is None and not (self.n_blocks or self.hidden_layer_sizes):
            perceptron.start_from_euclid()
        network: nn.Module = TableNetwork(
            embedding,
            perceptron,
            self.n_components,
            self.n_blocks,
            _N_UNITS_OF_BLOCK,
            self.dropout,
        )
        if self.is_refined:
            first = nn.Linear(self.n_inputs, self.n_inputs, bias=False)
            network = nn.Sequential(first, network)
        return EmbeddingNetwork(network, self.normalize)


def load_networks(blueprints: Sequence[Blueprint], arrays: Mapping[str, NDArray]) -> nn.Module:
    """Return the network, or the ensemble of networks, with the given weights.

    Parameters
    ----------
    blueprints : sequence of Blueprint
        Blueprint of each network.
    arrays : dict of str to ndarray
        The weights by name, as in `torch.nn.Module.state_dict`.

    Returns
    -------
    network : EmbeddingNetwork or NetworkEnsemble
    """
    # The network is made with random weights, which are replaced. The generator is restored.
    with own_generator():
        networks = [blueprint.build() for blueprint in blueprints]
    network: nn.Module = NetworkEnsemble(networks) if len(networks) > 1 else networks[0]
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return network.eval()
