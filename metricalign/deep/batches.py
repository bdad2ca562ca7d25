"""Batches of samples with the relations of their pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import gen_batches
from torch import Tensor
from torch.utils.data import Dataset

from metricalign.relations import TargetRelation

__all__ = ["AlignmentData", "AllPairsOfBatch", "GivenPairs", "StrongPairs", "read_batch"]

# Partners among which `StrongPairs` chooses.
_N_CANDIDATES = 64


def read_batch(X: Any, rows: NDArray | slice) -> NDArray:
    """Rows of an array, in memory and dense.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        In memory, memory-mapped, in chunks or sparse.
    rows : ndarray of int or slice
        Which rows.

    Returns
    -------
    batch : ndarray of shape (n_rows, n_features)
        The rows, float32 and float64 as they are, other numbers as float64.

    Raises
    ------
    ValueError
        If the numbers are complex.
    """
    batch = X[rows]
    batch = batch.toarray() if sparse.issparse(batch) else np.asarray(batch)
    if np.iscomplexobj(batch):
        raise ValueError(f"X has complex numbers, of type {batch.dtype}; expected real ones.")
    return batch if batch.dtype == np.float32 else batch.astype(np.float64, copy=False)


class AlignmentData(Dataset):
    """Samples, read when they are needed, and relations scaled to [0, 1].

    The relation of equal targets becomes 0 and the largest one 1:
    (relation - smallest) / (largest - smallest).

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Samples, see `read_batch`.
    rows : ndarray of int
        The samples to train on.
    offset, scale : ndarray of shape (n_features,), float
        The network gets (X - offset) / scale.
    relation : TargetRelation
        Relation of targets.
    targets : array of shape (n_samples, ...)
        Targets as the relation has encoded them.
    smallest, largest : float
        Relation of targets that are the same, and of those that differ most.
    """

    def __init__(
        self,
        X: Any,
        rows: NDArray,
        offset: NDArray | float,
        scale: float,
        relation: TargetRelation,
        targets: Any,
        smallest: float,
        largest: float,
    ):
        self.X = X
        self.rows = rows
        self.offset = offset
        self.scale = scale
        self.relation = relation
        self.targets = targets
        self.smallest = smallest
        self.largest = largest

    def __len__(self):
        return len(self.rows)

    def samples(self, rows: NDArray) -> Tensor:
        """Samples of a batch, as the network gets them."""
        batch = (read_batch(self.X, rows) - self.offset) / self.scale
        return torch.from_numpy(batch.astype(np.float32))

    def relations(self, pairs: NDArray) -> NDArray:
        """Relations of pairs of shape (..., 2), between 0 and 1."""
        relations = self.relation(self.targets, pairs.reshape(-1, 2)).reshape(pairs.shape[:-1])
        return np.clip((relations - self.smallest) / (self.largest - self.smallest), 0, 1)


class AllPairsOfBatch:
    """Every sample once an epoch, and all pairs inside a batch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    batch_size : int
        Number of samples in a batch.
    random_state : RandomState
        Determines the order.
    """

    def __init__(self, data: AlignmentData, batch_size: int, random_state: np.random.RandomState):
        self.data = data
        self.batch_size = batch_size
        self.random_state = random_state

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.random_state.permutation(self.data.rows)
        # A single sample is no pair.
        for batch in gen_batches(len(order), self.batch_size, min_batch_size=2):
            # Sorted, since disks and chunks are read in order.
            rows = np.sort(order[batch])
            n = len(rows)
            left, right = np.triu_indices(n, k=1)
            relations = np.zeros((n, n), dtype=np.float32)
            relations[left, right] = self.data.relations(
                np.stack([rows[left], rows[right]], axis=1)
            )
            yield self.data.samples(rows), torch.from_numpy(relations + relations.T)


class StrongPairs:
    """Every sample twice an epoch, with a partner of similar and one of different target.

    The partners are drawn anew in each epoch among random samples: the similar one with a
    probability proportional to 1 - relation, the different one proportional to the relation.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    batch_size : int
        Number of pairs in a batch.
    random_state : RandomState
        Determines order and partners.
    """

    def __init__(self, data: AlignmentData, batch_size: int, random_state: np.random.RandomState):
        self.data = data
        self.batch_size = batch_size
        self.random_state = random_state

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.random_state.permutation(self.data.rows)
        for batch in gen_batches(len(order), max(1, self.batch_size // 2)):
            anchors = order[batch]
            shape = (len(anchors), _N_CANDIDATES)
            candidates = self.random_state.choice(self.data.rows, shape)
            pairs = np.stack(np.broadcast_arrays(anchors[:, None], candidates), axis=2)
            relations = self.data.relations(pairs)
            is_pair = candidates != anchors[:, None]
            chosen = []
            for strength in (1 - relations, relations):
                # The first of exponential waiting times is drawn in proportion to the rates.
                with np.errstate(divide="ignore"):
                    waiting = self.random_state.exponential(size=shape) / (strength * is_pair)
                first = waiting.argmin(axis=1)
                anchor = np.flatnonzero(np.isfinite(waiting.min(axis=1)))
                chosen.append((pairs[anchor, first[anchor]], relations[anchor, first[anchor]]))
            pairs, relations = map(np.concatenate, zip(*chosen, strict=True))
            if len(pairs):
                yield (
                    self.data.samples(pairs.T.ravel()),
                    torch.from_numpy(relations.astype(np.float32)),
                )


class GivenPairs:
    """Every pair of a list once an epoch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    batch_size : int
        Number of pairs in a batch.
    random_state : RandomState
        Determines the order.
    pairs : ndarray of int of shape (n_pairs, 2)
        The pairs.
    """

    def __init__(
        self,
        data: AlignmentData,
        batch_size: int,
        random_state: np.random.RandomState,
        pairs: NDArray,
    ):
        self.data = data
        self.batch_size = batch_size
        self.random_state = random_state
        self.pairs = pairs

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.random_state.permutation(len(self.pairs))
        for batch in gen_batches(len(order), self.batch_size):
            pairs = self.pairs[order[batch]]
            relations = self.data.relations(pairs).astype(np.float32)
            yield self.data.samples(pairs.T.ravel()), torch.from_numpy(relations)
