"""Batches of an epoch: the samples, and the pairs whose distances are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import gen_batches

from metricalign._arrays import batches
from metricalign.deep.data import AlignmentData, Batch, ViewData
from metricalign.deep.samples import read_batch
from metricalign.pairs import check_pairs
from metricalign.relations import PrecomputedRelation

__all__ = ["AllPairsOfBatch", "GivenPairs", "JointBatches", "StrongPairs", "choose_batches"]

# `StrongPairs` chooses the partners of a sample among so many random samples.
_N_CANDIDATES = 64

# The samples of so many pairs are compared at a time, which limits the memory.
_PAIRS_AT_A_TIME = 4096


class AllPairsOfBatch:
    """Batches with every sample once an epoch, and all pairs of a batch.

    A batch may also have candidates: samples that are compared with all samples of the batch, but
    not with each other. They are drawn anew for each batch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on.
    batch_size : int
        Number of samples in a batch.
    random_state : RandomState
        Draws the order of the samples, and the candidates.
    n_candidates : int, default=0
        Number of candidates. If there are fewer other samples, all of them are candidates.
    n_views : int, default=1
        How often each sample is in its batch.
    """

    def __init__(
        self,
        data: AlignmentData | ViewData,
        rows: NDArray,
        batch_size: int,
        random_state: np.random.RandomState,
        n_candidates: int = 0,
        n_views: int = 1,
    ):
        self.data = data
        self.rows = rows
        self.batch_size = batch_size
        self.random_state = random_state
        self.n_candidates = n_candidates
        self.n_views = n_views

    def __iter__(self) -> Iterator[Batch]:
        order = self.random_state.permutation(self.rows)
        # A single sample is no pair.
        for batch in gen_batches(len(order), self.batch_size, min_batch_size=2):
            # Disks and chunks are read fastest in order.
            rows = np.tile(np.sort(order[batch]), self.n_views)
            n_rows = len(rows)
            if self.n_candidates:
                # The order is random, so consecutive samples are random ones.
                others = np.concatenate([order[batch.stop :], order[: batch.start]])
                start = self.random_state.randint(max(len(others), 1))
                candidates = np.roll(others, -start)[: self.n_candidates]
                rows = np.concatenate([rows, np.sort(candidates)])
            yield self.data.batch(rows, n_rows)


class StrongPairs:
    """Batches with every sample twice an epoch, paired with a similar and a different target.

    The partners are drawn anew in each epoch among random samples: the one of similar target with a
    probability in proportion to 1 - relation, the one of different target in proportion to the
    relation.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on.
    batch_size : int
        Number of pairs in a batch.
    random_state : RandomState
        Draws the order of the samples, and their partners.
    """

    def __init__(
        self,
        data: AlignmentData,
        rows: NDArray,
        batch_size: int,
        random_state: np.random.RandomState,
    ):
        self.data = data
        self.rows = rows
        self.batch_size = batch_size
        self.random_state = random_state

    def __iter__(self) -> Iterator[Batch]:
        order = self.random_state.permutation(self.rows)
        for batch in batches(len(order), max(1, self.batch_size // 2)):
            anchors = order[batch]
            shape = (len(anchors), _N_CANDIDATES)
            candidates = self.random_state.choice(self.rows, shape)
            pairs = np.stack(np.broadcast_arrays(anchors[:, None], candidates), axis=2)
            relations = self.data.pair_relations(pairs)
            is_pair = candidates != anchors[:, None]
            chosen = []
            for strength in (1 - relations, relations):
                # The smallest of exponential variables is drawn in proportion to their rates.
                with np.errstate(divide="ignore"):
                    waiting = self.random_state.exponential(size=shape) / (strength * is_pair)
                first = waiting.argmin(axis=1)
                anchor = np.flatnonzero(np.isfinite(waiting.min(axis=1)))
                chosen.append((pairs[anchor, first[anchor]], relations[anchor, first[anchor]]))
            pairs, relations = map(np.concatenate, zip(*chosen, strict=True))
            if len(pairs):
                yield self.data.batch_of_pairs(pairs, relations)


class GivenPairs:
    """Batches with every pair of a list once an epoch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on. Pairs with other samples are left out.
    batch_size : int
        Number of pairs in a batch.
    random_state : RandomState
        Draws the order of the pairs.
    pairs : ndarray of int of shape (n_pairs, 2)
        The pairs.
    """

    def __init__(
        self,
        data: AlignmentData,
        rows: NDArray,
        batch_size: int,
        random_state: np.random.RandomState,
        pairs: NDArray,
    ):
        self.data = data
        self.batch_size = batch_size
        self.random_state = random_state
        self.pairs = pairs[np.isin(pairs, rows).all(axis=1)]

    def __iter__(self) -> Iterator[Batch]:
        order = self.random_state.permutation(len(self.pairs))
        for batch in batches(len(order), self.batch_size):
            pairs = self.pairs[order[batch]]
            yield self.data.batch_of_pairs(pairs, self.data.pair_relations(pairs))


class JointBatches:
    """Batches of several kinds, of which each step of training gets one each.

    An epoch has all batches of the last kind. Of the other kinds it has as many, which begin again
    if there are fewer.

    Parameters
    ----------
    kinds : sequence of iterable of Batch
        The batches of an epoch of each kind.
    """

    def __init__(self, kinds: Sequence[Iterable[Batch]]):
        self.kinds = kinds

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        *others, last = self.kinds
        others = [_endless(batches) for batches in others]
        for batch in last:
            yield (*map(next, others), batch)


def _endless(batches) -> Iterator[Batch]:
    while True:
        yield from batches


def choose_batches(
    data: AlignmentData,
    loss: Any,
    pairs: str | ArrayLike,
    batch_size: int,
    n_candidates: int,
    training_rows: Sequence[NDArray],
) -> Callable[..., Iterable[Batch]]:
    """Choose the class that makes the batches of an epoch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        The loss that takes the batches.
    pairs : {"auto", "batch", "strength"} or array-like of shape (n_pairs, 2)
        See `HRAML`.
    batch_size : int
        Number of samples, or of pairs, in a batch.
    n_candidates : int
        Number of candidates, if the loss takes any.
    training_rows : sequence of ndarray of int
        The samples that each network is trained on.

    Returns
    -------
    make_batches : callable
        Takes data, rows and a random_state, and returns an iterable of the batches of an epoch.

    Raises
    ------
    ValueError
        If loss, targets and pairs cannot be combined, or nothing can be learned from the pairs.
    """
    relation = data.relation
    stored_pairs = None
    if isinstance(relation, PrecomputedRelation) and sparse.issparse(data.targets):
        stored_pairs = relation.stored_pairs(data.targets)
    needs_all_pairs = getattr(loss, "needs_all_pairs", False)
    if isinstance(pairs, str) and pairs == "auto":
        if stored_pairs is not None:
            pairs = stored_pairs
        elif relation.is_of_classes and not needs_all_pairs:
            pairs = "strength"
        else:
            pairs = "batch"
    if needs_all_pairs and not (isinstance(pairs, str) and pairs == "batch"):
        raise ValueError(
            f"loss={loss!r} compares all samples of a batch with each other, which needs "
            "pairs='batch' and the relation of every pair."
        )
    if isinstance(pairs, str):
        if stored_pairs is not None:
            raise ValueError(
                f"pairs={pairs!r} needs the relation of every pair, but the sparse y has only "
                "those that it stores. Use pairs='auto'."
            )
        if pairs == "strength":
            return partial(StrongPairs, batch_size=batch_size)
        if not getattr(loss, "takes_candidates", False):
            n_candidates = 0
        return partial(AllPairsOfBatch, batch_size=batch_size, n_candidates=n_candidates)
    pairs = check_pairs(pairs, data.data.X.shape[0])
    is_known = data.known[pairs].all(axis=1)
    if not is_known.all():
        raise ValueError(
            f"pairs: {np.sum(~is_known)} of the {len(pairs)} pairs have a sample whose target is "
            f"missing, such as {pairs[~is_known][0].tolist()}, so their relation is not known. "
            "Leave them out."
        )
    for rows in training_rows:
        _check_pairs_to_train_on(data.data.X, pairs[np.isin(pairs, rows).all(axis=1)])
    return partial(GivenPairs, batch_size=batch_size, pairs=pairs)


def _check_pairs_to_train_on(X, pairs):
    if len(pairs) == 0:
        raise ValueError(
            "No pair has both samples in the part of the data to train on. Decrease "
            "validation_fraction, or set early_stopping=False."
        )
    parts = (pairs[some] for some in batches(len(pairs), _PAIRS_AT_A_TIME))
    if not any(np.any(read_batch(X, part[:, 0]) != read_batch(X, part[:, 1])) for part in parts):
        raise ValueError(
            "pairs: both samples of every pair have the same features, so no distance can be "
            "learned. Give pairs of samples that differ."
        )
