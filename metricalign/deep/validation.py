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

# Samples that go through the network at a time.
_ROWS_AT_A_TIME = 4096

# Validation samples at most, and samples to train on that they are compared with; pairs at most
# where relations cannot be computed on the device.
_N_VALIDATION, _N_COMPARED, _N_PAIRS = 1000, 10_000, 100_000

# Nearest neighbours whose relation is the error of other losses than soft neighbours.
_N_NEIGHBORS = 5


def validation_error(data: AlignmentData, loss: Any, split: Split) -> Callable[[nn.Module], float]:
    """Error of a network on samples that it was not trained on.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        What the network is trained by.
    split : Split
        Which samples are which.

    Returns
    -------
    error : callable
        Maps a network to the loss, if it is one of soft neighbours (the share of wrong neighbours
        in place of the log loss); else to the mean relation of the 5 nearest samples; and where
        only some pairs have a relation, to the share of pairs of these in the wrong order.
    """
    if data.relation.kind == "precomputed" and sparse.issparse(data.targets):
        pairs = pairs_among(split.validation, data.relation, data.targets, _N_PAIRS)
        return partial(_disorder, data=data, pairs=pairs)
    batch, n_rows = held_out_batch(data, split)
    loss = loss.for_validation() if isinstance(loss, SoftNeighborsLoss) else None
    return partial(_held_out_error, batch=batch, n_rows=n_rows, loss=loss)


def held_out_batch(data: AlignmentData, split: Split) -> tuple[Batch, int]:
    """Samples that a network was not trained on, followed by those that it was trained on.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    split : Split
        Which samples are which.

    Returns
    -------
    batch : Batch
        At most 1,000 and 10,000 of them, fewer where relations are slow.
    n_rows : int
        How many of them come first.
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
    """Squared distances of the first samples of a batch from all, of shape (n_rows, n_samples)."""
    parts = batch.samples.split(_ROWS_AT_A_TIME)
    return squared_distances(torch.cat([network(X)[-1] for X in parts]), n_rows=n_rows)


def _held_out_error(network, batch, n_rows, loss) -> float:
    """The loss, or the mean relation to the nearest neighbours, of the first samples."""
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
    """Share of pairs of pairs whose distances are in the wrong order."""
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
    """At most so many random pairs of samples whose relation is known.

    Parameters
    ----------
    rows : ndarray of int
        The samples.
    relation : TargetRelation
        The relation.
    targets : array
        Targets of all samples, as encoded by the relation.
    n_pairs : int
        How many.

    Returns
    -------
    pairs : ndarray of int of shape (n_pairs, 2)

    Raises
    ------
    ValueError
        If no pair has a relation.
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
