"""The samples on which each network is trained and validated, and the choice of its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from metricalign.deep.blueprint import Blueprint
from metricalign.deep.training import TrainingRecord

__all__ = ["Split", "Trained", "split_samples", "train_all"]


class Split(NamedTuple):
    """The samples of a network: to train on, and to validate on.

    Attributes
    ----------
    training, validation : ndarray of int
        Rows of the samples.
    unlabelled : ndarray of int
        Rows of further samples to train on, whose targets are not known.
    """

    training: NDArray
    validation: NDArray
    unlabelled: NDArray


def split_samples(
    order: NDArray, validation_fraction: float | None, n_networks: int, unlabelled: NDArray
) -> list[Split]:
    """Split the samples, for each network, into those to train on and those to validate on.

    Parameters
    ----------
    order : ndarray of int of shape (n_samples,)
        Rows of the samples, in random order.
    validation_fraction : float or None
        Share of the samples to validate on, at least 2 samples. None: no validation.
    n_networks : int
        Number of networks.
    unlabelled : ndarray of int
        Rows of further samples to train on, whose targets are not known.

    Returns
    -------
    splits : list of Split
        One for each network. The samples to validate on differ from network to network, as far as
        there are enough.

    Raises
    ------
    ValueError
        If too few samples are left to train on.
    """
    n_samples = len(order)
    if validation_fraction is None:
        return [Split(order, order[:0], unlabelled)] * n_networks
    n_validation = max(2, int(np.ceil(validation_fraction * n_samples)))
    if n_samples - n_validation < 2:
        raise ValueError(
            f"validation_fraction={validation_fraction} of {n_samples} samples with a target "
            "leaves fewer than 2 to train on. Decrease it, or set early_stopping=False."
        )
    turned = (np.roll(order, -k * n_validation) for k in range(n_networks))
    return [Split(order[n_validation:], order[:n_validation], unlabelled) for order in turned]


class Trained(NamedTuple):
    """Trained networks, of one kind or of several.

    Attributes
    ----------
    blueprints : list of Blueprint or None
        Blueprint of the networks of each kind.
    records : list of list of TrainingRecord
        The networks of each kind, with the records of their training.
    weights : ndarray of shape (n_kinds,)
        Weights of the squared distances of each kind.
    interrupted : int or None
        The epoch in which the user stopped the training. None: the user did not.
    """

    blueprints: list[Blueprint | None]
    records: list[list[TrainingRecord]]
    weights: NDArray
    interrupted: int | None = None


def train_all(
    train: Callable[..., TrainingRecord],
    blueprints: Sequence[Blueprint | None],
    splits: Sequence[Split],
    refit: bool,
    n_compared: int = 1,
    weigh: Callable[[list[list[nn.Module]]], NDArray] | None = None,
) -> Trained:
    """Train networks of the blueprint with the smallest validation error, or of all blueprints.

    Parameters
    ----------
    train : callable
        Takes a blueprint, a split and the number of epochs, or None for early stopping, and returns
        a `TrainingRecord`.
    blueprints : sequence of Blueprint or None
        The blueprints to choose from. Without validation, the first one is taken.
    splits : sequence of Split
        One split for each network.
    refit : bool
        Whether to train the networks again on all samples, for the best number of epochs.
    n_compared : int, default=1
        Number of networks of each blueprint whose mean error is compared.
    weigh : callable or None, default=None
        Takes one network per split for each blueprint, and returns the weights of the blueprints.
        All blueprints are kept then. None: the one with the smallest error is kept.

    Returns
    -------
    trained : Trained
        If the user stopped the training, the networks so far, of one kind. If that was in the
        training on all samples, the networks before it.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped the training in the first epoch of the first network.
    """
    validates = len(splits[0].validation) > 0
    tried = blueprints if validates else blueprints[:1]
    if len(tried) == 1:
        n_compared, weigh = 1, None
    n_compared = len(splits) if weigh is not None else min(n_compared, len(splits))
    found: list[list[TrainingRecord]] = []
    interrupted = None
    for blueprint in tried:
        records, interrupted = _train_each(train, blueprint, splits[:n_compared])
        if records:
            found.append(records)
        if interrupted is not None:
            break
    if not found:
        raise KeyboardInterrupt
    kept = list(range(len(found)))
    weights = np.ones(1)
    if weigh is None or interrupted is not None:
        kept = [min(kept, key=lambda k: _mean_error(found[k], n_compared))]
    else:
        weights = weigh([[record.network for record in records] for records in found])
    trained = Trained([tried[k] for k in kept], [found[k] for k in kept], weights, interrupted)
    if interrupted is not None:
        return trained
    if refit and validates:
        return _train_again(train, trained, splits)
    if weigh is None:
        more, interrupted = _train_each(train, trained.blueprints[0], splits[n_compared:])
        trained.records[0].extend(more)
    return trained._replace(interrupted=interrupted)


def _train_each(train, blueprint, splits, n_epochs=None):
    """Train a network for each split, until the user stops; return that epoch too, or None."""
    records: list[TrainingRecord] = []
    for split in splits:
        try:
            records.append(train(blueprint, split, n_epochs))
        except KeyboardInterrupt:
            return records, 1
        if records[-1].is_interrupted:
            return records, len(records[-1].losses) + 1
    return records, None


def _train_again(train, trained, splits) -> Trained:
    """Train the networks anew on all samples, for the mean of their best numbers of epochs."""
    training, validation, unlabelled = splits[0]
    everyone = np.concatenate([training, validation])
    splits = [Split(everyone, everyone[:0], unlabelled)] * len(splits)
    again = []
    for blueprint, before in zip(trained.blueprints, trained.records, strict=True):
        n_epochs = round(float(np.mean([record.n_best for record in before])))
        records, interrupted = _train_each(train, blueprint, splits, n_epochs)
        if interrupted is not None:
            return trained._replace(interrupted=interrupted)
        # A training on all samples has no validation errors, so those from before are kept.
        records[0] = records[0]._replace(errors=before[0].errors)
        again.append(records)
    return trained._replace(records=again)


def _mean_error(records, n_compared) -> float:
    """Mean of the smallest validation errors, or infinity if there are too few networks."""
    if len(records) < n_compared:
        return np.inf
    return float(np.mean([min(record.errors, default=np.inf) for record in records]))
