"""Errors of networks on samples that they were not trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from metricalign._arrays import batches
from metricalign.deep.data import AlignmentData, Batch
from metricalign.deep.losses import SoftNeighborsLoss, squared_distances
from metricalign.deep.selection import Split
from metricalign.learners.base import concordance
from metricalign.pairs import RandomPairs
from metricalign.relations import PrecomputedRelation, TargetRelation

__all__ = ["held_out_batch", "held_out_distances", "pairs_among", "validation_error"]

# So many samples go through the network at a time, which limits the memory.
_ROWS_AT_A_TIME = 4096

# Largest number of validation samples, and of samples to train on that they are compared with.
# The largest number of pairs, where the device cannot compute relations.
_N_VALIDATION, _N_COMPARED, _N_PAIRS = 1000, 10_000, 100_000

# The error of losses other than soft neighbours is the mean relation of so many neighbours.
_N_NEIGHBORS = 5


def validation_error(data: AlignmentData, loss: Any, split: Split) -> Callable[[nn.Module], float]:
    """Return the function for the error of a network on the samples to validate on.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        The loss that the network is trained with.
    split : Split
        The samples to train on and to validate on.

    Returns
    -------
    error : callable
        Takes a network and returns its error. If the loss is one of soft neighbours, this is the
        loss, with the share of wrong neighbours in place of the log loss. If only some pairs have a
        relation, it is the share of pairs of them in the wrong order. Else it is the mean relation
        to the 5 nearest samples.
    """
    if data.relation.kind == "precomputed" and sparse.issparse(data.targets):
        pairs = pairs_among(split.validation, data.relation, data.targets, _N_PAIRS)
        return partial(_disorder, data=data, pairs=pairs)
    batch, n_rows = held_out_batch(data, split)
    loss = loss.for_validation() if isinstance(loss, SoftNeighborsLoss) else None
    return partial(_held_out_error, batch=batch, n_rows=n_rows, loss=loss)


def held_out_batch(data: AlignmentData, split: Split) -> tuple[Batch, int]:
    """Return samples to validate on, followed by samples that the network was trained on.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    split : Split
        The samples to train on and to validate on.

    Returns
    -------
    batch : Batch
        At most 1,000 samples to validate on and 10,000 others, or fewer if relations are slow.
    n_rows : int
        Number of samples to validate on, which come first.
    """
    n_rows = min(len(split.validation), _N_VALIDATION)
    n_compared = min(len(split.training), _N_COMPARED)
    if data.is_slow:
        n_rows = min(n_rows, int(_N_PAIRS**0.5))
        n_compared = min(n_compared, _N_PAIRS // n_rows)
    rows = np.concatenate([split.validation[:n_rows], split.training[:n_compared]])
    return data.batch(rows, n_rows), n_rows


@torch.no_grad()
def held_out_distances(network: nn.Module, batch: Batch, n_rows: int) -> Tensor:
    """Return the squared distances of the first samples of a batch from all.

    Parameters
    ----------
    network : torch.nn.Module
        Returns a list of the outputs of layers, the images last.
    batch : Batch
        Samples.
    n_rows : int
        Number of first samples.

    Returns
    -------
    distances : Tensor of shape (n_rows, n_samples)
        Squared distances.
    """
    parts = batch.samples.split(_ROWS_AT_A_TIME)
    return squared_distances(torch.cat([network(X)[-1] for X in parts]), n_rows=n_rows)


def _held_out_error(network, batch, n_rows, loss) -> float:
    """Loss of the first samples, or their mean relation to their nearest neighbours."""
    distances = held_out_distances(network, batch, n_rows)
    if loss is not None:
        targets = () if batch.targets is None else (batch.targets,)
        return float(loss(distances, batch.relations, *targets))
    distances.fill_diagonal_(torch.inf)
    n_neighbors = min(_N_NEIGHBORS, distances.shape[1] - 1)
    nearest = distances.topk(n_neighbors, largest=False).indices
    return float(batch.relations.gather(1, nearest).mean())


@torch.no_grad()
def _disorder(network, data, pairs) -> float:
    """Share of pairs of pairs whose distances are not in the order of their relations."""
    samples, positions = np.unique(pairs, return_inverse=True)
    images = [
        network(data.data.samples(samples[rows]))[-1]
        for rows in batches(len(samples), _ROWS_AT_A_TIME)
    ]
    left, right = torch.cat(images)[positions.reshape(-1, 2)].unbind(1)
    distances = (left - right).norm(dim=1).cpu().numpy()
    relations = data.pair_relations(pairs).round(12)
    return 1 - concordance(distances, relations, np.ones(len(distances)))


def pairs_among(rows: NDArray, relation: TargetRelation, targets: Any, n_pairs: int) -> NDArray:
    """Return random pairs of samples whose relation is known.

    Parameters
    ----------
    rows : ndarray of int
        Rows of the samples to pair.
    relation : TargetRelation
        The relation of the targets.
    targets : array
        Targets of all samples, encoded by the relation.
    n_pairs : int
        Largest number of pairs.

    Returns
    -------
    pairs : ndarray of int of shape (n_pairs, 2)
        Rows of the two samples of each pair.

    Raises
    ------
    ValueError
        If no pair of these samples has a known relation.
    """
    if isinstance(relation, PrecomputedRelation):
        pairs = relation.stored_pairs(targets)
        pairs = pairs[np.isin(pairs, rows).all(axis=1)]
        if len(pairs) == 0:
            raise ValueError(
                "y stores no relation of two samples of the same part of the data. Set "
                "early_stopping=False, or change validation_fraction."
            )
        return np.random.RandomState(0).permutation(pairs)[:n_pairs]
    positions = np.arange(len(rows), dtype=np.float64)[:, None]
    return rows[RandomPairs(n_pairs).select(positions, random_state=0).indices]
