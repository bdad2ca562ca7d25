"""Which samples each network is trained and validated on, and which kind of network is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metricalign.deep.blueprint import Blueprint
from metricalign.deep.training import TrainingRecord

__all__ = ["Split", "split_samples", "train_all"]


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
            f"validation_fraction={validation_fraction} of {n_samples} samples with a target leaves "
            "fewer than 2 to train on. Decrease it, or set early_stopping=False."
        )
    turned = (np.roll(order, -k * n_validation) for k in range(n_networks))
    return [Split(order[n_validation:], order[:n_validation], unlabelled) for order in turned]


def train_all(
    train: Callable[..., TrainingRecord],
    blueprints: Sequence[Blueprint | None],
    splits: Sequence[Split],
    refit: bool,
    n_compared: int = 1,
) -> tuple[Blueprint | None, list[TrainingRecord]]:
    """Train networks of the blueprint of the least validation error.

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

    Returns
    -------
    blueprint : Blueprint or None
        The one that was taken.
    records : list of TrainingRecord
        Its networks; fewer if the user stopped.
    """
    validates = len(splits[0].validation) > 0
    tried = blueprints if validates else blueprints[:1]
    n_compared = min(n_compared, len(splits)) if len(tried) > 1 else 1
    found: list[list[TrainingRecord]] = []
    for blueprint in tried:
        found.append([])
        for split in splits[:n_compared]:
            found[-1].append(train(blueprint, split))
            if found[-1][-1].is_interrupted:
                break
        if found[-1][-1].is_interrupted:
            break
    best = min(range(len(found)), key=lambda k: _mean_error(found[k], n_compared))
    blueprint, records = tried[best], found[best]
    if found[-1][-1].is_interrupted:
        return blueprint, records
    errors, n_epochs = records[0].errors, None
    if refit and validates:
        n_epochs, records = round(float(np.mean([record.n_best for record in records]))), []
        training, validation, unlabelled = splits[0]
        everyone = np.concatenate([training, validation])
        splits = [Split(everyone, everyone[:0], unlabelled)] * len(splits)
    for split in splits[len(records) :]:
        records.append(train(blueprint, split, n_epochs))
        if records[-1].is_interrupted:
            break
    # Those of all samples have no errors.
    records[0] = records[0]._replace(errors=errors)
    return blueprint, records


def _mean_error(records, n_compared) -> float:
    """Mean of the least validation errors; infinite if there are too few."""
    if len(records) < n_compared:
        return np.inf
    return float(np.mean([min(record.errors, default=np.inf) for record in records]))
