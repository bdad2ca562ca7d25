"""Weights of the kinds of networks, if several kinds are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import nn

from metricalign.deep.data import AlignmentData
from metricalign.deep.losses import SoftNeighborsLoss
from metricalign.deep.selection import Split
from metricalign.deep.validation import held_out_batch, held_out_distances

__all__ = ["weights_of_kinds"]

# Penalty of the squared logarithms of the weights. Without it, weights grow without bound if no
# held-out sample is wrong. Ten times as much halves the gain on 16 development sets.
_PENALTY = 1e-3

# Largest number of L-BFGS iterations.
_N_ITERATIONS = 50


def weights_of_kinds(
    kinds: Sequence[Sequence[nn.Module]],
    splits: Sequence[Split],
    data: AlignmentData,
    loss: SoftNeighborsLoss,
) -> NDArray:
    r"""Return the weights of kinds of networks that minimise the loss of held-out samples.

    The networks of a split together have the distance :math:`\sqrt{\sum_k w_k d_k^2}`, where
    :math:`d_k` is the distance of the network of kind k. The weights minimise the mean loss of the
    samples that none of the networks of their split was trained on. The sum of the weights decides
    how fast the vote of a neighbour falls with its distance.

    Parameters
    ----------
    kinds : sequence of sequence of torch.nn.Module
        One network per split, for each kind.
    splits : sequence of Split
        The samples that the networks were trained and validated on.
    data : AlignmentData
        Samples and relations.
    loss : SoftNeighborsLoss
        The loss of the networks.

    Returns
    -------
    weights : ndarray of shape (n_kinds,)
        Positive weights of the squared distances.
    """
    start = torch.tensor(1 / len(kinds), dtype=torch.float64).log()
    logarithms = torch.zeros(len(kinds), dtype=torch.float64, requires_grad=True)
    held_out = [
        _distances([networks[k] for networks in kinds], data, split)
        for k, split in enumerate(splits)
    ]
    optimizer = torch.optim.LBFGS(
        [logarithms], max_iter=_N_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def objective():
        optimizer.zero_grad()
        weights = (start + logarithms).exp()
        losses = [
            loss(torch.einsum("k,kij->ij", weights, distances), *targets)
            for distances, targets in held_out
        ]
        value = torch.stack(losses).mean() + _PENALTY * logarithms.square().mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(objective)
    weights: NDArray = (start + logarithms).exp().detach().numpy()
    return weights


def _distances(networks, data, split):
    """Squared distances of held-out samples under each network, and the arguments of the loss."""
    batch, n_rows = held_out_batch(data, split)
    distances = [held_out_distances(network, batch, n_rows).double() for network in networks]
    relations, targets = batch.relations, batch.targets
    if relations is not None:
        relations = relations.double().cpu()
    if targets is not None:
        targets = tuple(coordinates.double().cpu() for coordinates in targets)
    return torch.stack(distances).cpu(), (relations, targets)
