"""How much each kind of network counts where several are kept."""

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

# Penalty of the squared logarithms of the weights: without it they grow without bound where no
# held-out sample is wrong. Ten times as much leaves half of the gain, on 16 development sets.
_PENALTY = 1e-3

_N_ITERATIONS = 50


def weights_of_kinds(
    kinds: Sequence[Sequence[nn.Module]],
    splits: Sequence[Split],
    data: AlignmentData,
    loss: SoftNeighborsLoss,
) -> NDArray:
    r"""Weights of the squared distances of kinds of networks, by the loss of held-out samples.

    The networks of a split have the distances :math:`\sqrt{\sum_k w_k d_k^2}`, and the weights are
    those of the smallest mean loss of the samples that none of these networks was trained on.
    Their sum says how fast the vote of neighbours falls with the distance.

    Parameters
    ----------
    kinds : sequence of sequence of torch.nn.Module
        For each kind one network per split.
    splits : sequence of Split
        What they were trained and validated on.
    data : AlignmentData
        Samples and relations.
    loss : SoftNeighborsLoss
        What they were trained by.

    Returns
    -------
    weights : ndarray of shape (n_kinds,)
        Positive.
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
    """Squared distances of each network from held-out samples, and what the loss compares."""
    batch, n_rows = held_out_batch(data, split)
    distances = [held_out_distances(network, batch, n_rows).double() for network in networks]
    relations, targets = batch.relations, batch.targets
    if relations is not None:
        relations = relations.double().cpu()
    if targets is not None:
        targets = tuple(coordinates.double().cpu() for coordinates in targets)
    return torch.stack(distances).cpu(), (relations, targets)
