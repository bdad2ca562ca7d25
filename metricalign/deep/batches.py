"""Batches of an epoch: which samples, and which pairs of them."""

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

# Partners among which `StrongPairs` chooses.
_N_CANDIDATES = 64

# Pairs whose samples are compared at a time.
_PAIRS_AT_A_TIME = 4096


class AllPairsOfBatch:
    """Every sample once an epoch, and all pairs inside a batch, with candidates if wanted.

    Candidates are samples that are no rows of the batch but have distances to all of them. They
    are drawn anew for each batch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on.
    batch_size : int
        Number of samples in a batch.
    random_state : RandomState
        Determines the order.
    n_candidates : int, default=0
        Number of candidates, at most all that are not in the batch.
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
            # Sorted, since disks and chunks are read in order.
            rows = np.tile(np.sort(order[batch]), self.n_views)
            n_rows = len(rows)
            if self.n_candidates:
                # The order is random already: some that follow each other are random ones.
                others = np.concatenate([order[batch.stop :], order[: batch.start]])
                start = self.random_state.randint(max(len(others), 1))
                candidates = np.roll(others, -start)[: self.n_candidates]
                rows = np.concatenate([rows, np.sort(candidates)])
            yield self.data.batch(rows, n_rows)


class StrongPairs:
    """Every sample twice an epoch, with a partner of similar and one of different target.

    The partners are drawn anew in each epoch among random samples: the similar one with a
    probability proportional to 1 - relation, the different one proportional to the relation.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on.
    batch_size : int
        Number of pairs in a batch.
    random_state : RandomState
        Determines order and partners.
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
                # The first of exponential waiting times is drawn in proportion to the rates.
                with np.errstate(divide="ignore"):
                    waiting = self.random_state.exponential(size=shape) / (strength * is_pair)
                first = waiting.argmin(axis=1)
                anchor = np.flatnonzero(np.isfinite(waiting.min(axis=1)))
                chosen.append((pairs[anchor, first[anchor]], relations[anchor, first[anchor]]))
            pairs, relations = map(np.concatenate, zip(*chosen, strict=True))
            if len(pairs):
                yield self.data.batch_of_pairs(pairs, relations)


class GivenPairs:
    """Every pair of a list once an epoch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    rows : ndarray of int
        The samples to train on; pairs of others are left out.
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
    """Batches of several kinds beside each other: all of the last kind, and as many of each other.

    Parameters
    ----------
    kinds : sequence of iterable of Batch
        The batches of an epoch of each kind. Those that are fewer begin again.
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
    """What makes the batches of an epoch.

    Parameters
    ----------
    data : AlignmentData
        Samples and relations.
    loss : DeepLoss or torch.nn.Module
        What the batches are for.
    pairs : {"auto", "batch", "strength"} or array-like of shape (n_pairs, 2)
        Which pairs, see `HRAML`.
    batch_size : int
        Samples, or pairs, in a batch.
    n_candidates : int
        Other samples that a loss which takes them compares a batch with.
    training_rows : sequence of ndarray of int
        The samples that each network is trained on.

    Returns
    -------
    batches : callable
        Takes data, rows and a random_state.

    Raises
    ------
    ValueError
        If the loss, the targets and the pairs do not go together, or nothing can be learned from
        the pairs.
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
