"""Which samples each network is trained and validated on, and which kind of network is taken."""

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
    """Samples to train a network on, and those to validate it on.

    Attributes
    ----------
    training, validation : ndarray of int
        Rows of the samples.
    unlabelled : ndarray of int
        Rows of other samples to train on, whose targets are not known.
    """

    training: NDArray
    validation: NDArray
    unlabelled: NDArray


def split_samples(
    order: NDArray, validation_fraction: float | None, n_networks: int, unlabelled: NDArray
) -> list[Split]:
    """For each network the samples to train on, and those to validate it on.

    Parameters
    ----------
    order : ndarray of int of shape (n_samples,)
        The samples, in random order.
    validation_fraction : float or None
        Share to validate on, at least 2 samples; None for no validation.
    n_networks : int
        How many networks.
    unlabelled : ndarray of int
        Samples beside them whose targets are not known.

    Returns
    -------
    splits : list of Split
        In which the samples to validate on follow each other, as far as there are enough.

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
    """Networks that were trained, of one kind or several.

    Attributes
    ----------
    blueprints : list of Blueprint or None
        What the networks of each kind are made of.
    records : list of list of TrainingRecord
        The networks of each kind.
    weights : ndarray of shape (n_kinds,)
        How much the squared distances of each kind count.
    interrupted : int or None
        Epoch of a network in which the user stopped.
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
    """Train networks of the blueprint of the least validation error, or of all of them.

    Parameters
    ----------
    train : callable
        Takes a blueprint, a split and, if it is known, the number of epochs.
    blueprints : sequence of Blueprint or None
        Those to choose from: the first one without validation.
    splits : sequence of Split
        One for each network.
    refit : bool
        Whether to train again on all samples, for the number of epochs that was best.
    n_compared : int, default=1
        Networks of each blueprint whose mean error decides.
    weigh : callable or None, default=None
        Takes for each blueprint a network per split, and returns the weights of the blueprints, all
        of which are kept then. None: that of the least error is taken.

    Returns
    -------
    trained : Trained
        If the user stopped, what there was: of one kind, and fewer networks. If that was in the
        training on all samples, the networks from before.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped in the first epoch of the first network.
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
    """A network for each split, until the user stops, and the epoch of that."""
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
    """The same networks, trained on all samples for the number of epochs that was best."""
    training, validation, unlabelled = splits[0]
    everyone = np.concatenate([training, validation])
    splits = [Split(everyone, everyone[:0], unlabelled)] * len(splits)
    again = []
    for blueprint, before in zip(trained.blueprints, trained.records, strict=True):
        n_epochs = round(float(np.mean([record.n_best for record in before])))
        records, interrupted = _train_each(train, blueprint, splits, n_epochs)
        if interrupted is not None:
            return trained._replace(interrupted=interrupted)
        # Those of all samples have no errors.
        records[0] = records[0]._replace(errors=before[0].errors)
        again.append(records)
    return trained._replace(records=again)


def _mean_error(records, n_compared) -> float:
    """Mean of the least validation errors; infinite if there are too few."""
    if len(records) < n_compared:
        return np.inf
    return float(np.mean([min(record.errors, default=np.inf) for record in records]))
