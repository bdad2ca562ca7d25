"""Votes of neighbours, with weights that decrease with distance, chosen by held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from metricalign.pairs.identical import first_identical

__all__ = [
    "NEAREST",
    "Neighborhood",
    "Vote",
    "best_votes",
    "mean_of_copies",
    "mean_vote",
    "share_of_copies",
    "simplex_weights",
    "weighted_means",
]

# The votes that are compared: widths in mean distances of the samples, powers of the distance, and
# shares of the correction and of the regressions. The mean of the best few votes predicts better
# than the best one.
_WIDTHS = tuple(np.geomspace(0.03, 1.2, 10))
_POWERS = (1, 2)
_CORRECTIONS = (0.0, 1 / 3, 2 / 3, 1.0)
_REGRESSIONS = (0.0, 1 / 3, 2 / 3, 1.0)
_N_VOTES = 3
# In mean distances. In single precision, samples that are farther from each other are different.
_NO_DISTANCE = 1e-5


class Neighborhood(NamedTuple):
    """Neighbours of samples, and their parts in the predictions.

    The prediction is ``neighbors_part + correction``, in the coordinates of the targets. There is
    one column for each class, label or number.

    Attributes
    ----------
    indices : ndarray of int of shape (n_samples, n_neighbors)
        The neighbours, as rows of the training samples. The nearest are first.
    distances : ndarray of shape (n_samples, n_neighbors)
        Distances of the neighbours.
    weights : ndarray of shape (n_samples, n_neighbors)
        Weights of the votes of the neighbours. The sum of each row is 1.
    neighbors_part : ndarray of shape (n_samples, n_columns)
        Weighted mean of the targets of the neighbours.
    correction : ndarray of shape (n_samples, n_columns)
        What is added to `neighbors_part`. The regressions can predict other targets for the sample
        than for its neighbours, and votes for classes are pooled with regressions.
    predicted : ndarray of shape (n_samples, n_columns)
        Predictions of the regressions for the sample.
    places : ndarray of int of shape (n_samples, n_neighbors)
        The neighbours, as positions in `samples_`, the distinct training samples.
    """

    indices: NDArray
    distances: NDArray
    weights: NDArray
    neighbors_part: NDArray
    correction: NDArray
    predicted: NDArray
    places: NDArray


class Vote(NamedTuple):
    """Parameters of the weights of neighbours, and of the correction by regressions.

    Attributes
    ----------
    width : float
        Unit of the distances in the weights exp(-(distance / width)^power).
    power : int
        Power in the weights.
    correction : float
        Regressions predict a target for the sample, and a mean target for its neighbours. This
        share of the difference is added to the mean target of the neighbours.
    regression : float, default=0.0
        Share of the regressions in the prediction. The rest is the corrected mean.
    """

    width: float
    power: int
    correction: float
    regression: float = 0.0

    def weights(self, distances: NDArray, sample_weight: NDArray) -> NDArray:
        """Compute the weights of neighbours.

        Parameters
        ----------
        distances, sample_weight : ndarray of shape (n_samples, n_neighbors)
            Distances of the neighbours in the unit of the width, and their sample weights.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_neighbors)
            The weights. The sum of each row is 1.
        """
        exponents = (distances / self.width) ** self.power
        # They are relative to the nearest. Otherwise all weights would vanish far from all samples.
        weights = np.exp(exponents.min(axis=1, keepdims=True) - exponents) * sample_weight
        return weights / weights.sum(axis=1, keepdims=True)

    def added(self, mean: NDArray, expected: NDArray, predicted: NDArray) -> NDArray:
        """Compute what is added to the mean target of the neighbours.

        Parameters
        ----------
        mean, expected : ndarray of shape (n_samples, n_outputs)
            Means over the neighbours, of their targets and of the predictions of regressions.
        predicted : ndarray of shape (n_samples, n_outputs)
            Predictions of the regressions for the samples.

        Returns
        -------
        added : ndarray of shape (n_samples, n_outputs)
            Difference of the prediction from `mean`.
        """
        corrected = self.correction * (predicted - expected)
        return (1 - self.regression) * corrected + self.regression * (predicted - mean)


# The vote if there are too few samples to hold some out.
NEAREST = Vote(_WIDTHS[0], _POWERS[0], 0.0)


def best_votes(
    distances: NDArray,
    indices: NDArray,
    rows: NDArray,
    targets: NDArray,
    predicted: NDArray,
    weight: NDArray,
    bounded: Callable[[NDArray], NDArray],
    with_regressions: bool = True,
) -> list[Vote]:
    """The votes with the least squared error on held-out samples, the best first.

    Parameters
    ----------
    distances, indices : ndarray of shape (n_rows, n_neighbors)
        Neighbours of the held-out samples: distances in mean distances, and rows of the targets.
    rows : ndarray of int of shape (n_rows,)
        The held-out samples, as rows of the targets.
    targets, predicted : ndarray of shape (n_samples, n_outputs)
        Coordinates of all targets, and what the regressions predict for held-out samples.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    bounded : callable
        Gives the nearest possible targets, which are along the last axis.
    with_regressions : bool, default=True
        Whether regressions may have a share beside that in the correction.

    Returns
    -------
    votes : list of Vote
    """
    shares = _REGRESSIONS if with_regressions else _REGRESSIONS[:1]
    values = np.hstack([targets, predicted])
    regressions: Any = np.reshape(shares, (-1, 1, 1))
    weight_of_neighbors, errors = weight[indices], {}
    graph = _neighbor_graph(weight_of_neighbors, indices, len(values))
    # The widest first: it is taken where regressions alone predict as well.
    for width, power in product(reversed(_WIDTHS), _POWERS):
        weights = Vote(width, power, 0.0).weights(distances, weight_of_neighbors)
        graph.data = weights.ravel()
        mean, expected = np.hsplit(graph @ values, 2)
        for correction in _CORRECTIONS:
            votes = Vote(width, power, correction, regressions)
            guess = bounded(mean + votes.added(mean, expected, predicted[rows]))
            of_samples = np.sum((guess - targets[rows]) ** 2, axis=-1)
            for regression, error in zip(shares, of_samples @ weight[rows], strict=True):
                errors[Vote(float(width), power, correction, regression)] = error
    return sorted(errors, key=errors.__getitem__)[:_N_VOTES]


def mean_vote(
    votes: list[Vote],
    distances: NDArray,
    indices: NDArray,
    targets: NDArray,
    predicted: NDArray,
    weight: NDArray,
    of_samples: NDArray,
    share_of_copies: float = 0.0,
) -> tuple[NDArray, NDArray, NDArray]:
    """Compute the mean of several votes, and of the targets of copies of a sample if it has any.

    Parameters
    ----------
    votes : list of Vote
        The votes.
    distances, indices : ndarray of shape (n_samples, n_neighbors)
        Distances of the neighbours of the samples, in mean distances, and the neighbours as rows of
        the targets.
    targets, predicted : ndarray of shape (n_targets, n_outputs)
        Coordinates of all targets, and predictions by regressions that have not seen them.
    weight : ndarray of shape (n_targets,)
        Weights of the training samples.
    of_samples : ndarray of shape (n_samples, n_outputs)
        Predictions of the regressions for the samples.
    share_of_copies : float, default=0.0
        Share of neighbours at distance zero, for the samples that have such neighbours.

    Returns
    -------
    weights : ndarray of shape (n_samples, n_neighbors)
        Weights of the neighbours. The sum of each row is 1.
    mean, added : ndarray of shape (n_samples, n_outputs)
        Mean target of the neighbours, and what is added to it.
    """
    values, weight_of_neighbors = np.hstack([targets, predicted]), weight[indices]
    weights = np.zeros(distances.shape)
    mean, added = np.zeros((2, *of_samples.shape))
    for vote in votes:
        of_vote = vote.weights(distances, weight_of_neighbors)
        own, expected = np.hsplit(weighted_means(of_vote, indices, values), 2)
        weights += of_vote / len(votes)
        mean += own / len(votes)
        added += vote.added(own, expected, of_samples) / len(votes)
    if share_of_copies == 0:
        return weights, mean, added
    copies = np.where(distances < _NO_DISTANCE, weight_of_neighbors, 0)
    total = copies.sum(axis=1, keepdims=True)
    share = np.where(total > 0, share_of_copies, 0)
    copies *= share / np.where(total > 0, total, 1)
    weights = (1 - share) * weights + copies
    mean = (1 - share) * mean + weighted_means(copies, indices, targets)
    return weights, mean, (1 - share) * added


def mean_of_copies(
    table: NDArray, targets: NDArray, weight: NDArray, groups: NDArray | None
) -> tuple[NDArray, NDArray]:
    """Compute the mean target of all other samples with the same row of the table.

    A sample of weight 2 represents two samples that are copies of each other.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_columns)
        Samples.
    targets : ndarray of shape (n_samples, n_outputs)
        Coordinates of the targets.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    groups : ndarray of int of shape (n_samples,) or None
        Groups. Only samples of other groups are copies.

    Returns
    -------
    rows : ndarray of int of shape (n_with_copies,)
        The samples that have copies.
    means : ndarray of shape (n_with_copies, n_outputs)
        Mean targets of these copies.
    """
    sums = np.column_stack([weight, weight[:, None] * targets])
    identity = first_identical(table)
    own = sums * np.minimum(1, 1 / weight)[:, None]
    if groups is not None:
        of_group = identity * (groups.max() + 1) + groups
        own = _sums_over(np.unique(of_group, return_inverse=True)[1], sums)
    others = _sums_over(identity, sums) - own
    rows = np.flatnonzero(others[:, 0] > 1e-9 * weight)
    return rows, others[rows, 1:] / others[rows, :1]


def _sums_over(identity, values):
    """Sum the values of all samples with the same identity, for each sample."""
    sums = np.zeros((identity.max() + 1, values.shape[1]))
    np.add.at(sums, identity, values)
    return sums[identity]


def share_of_copies(
    copies: NDArray, predicted: NDArray, targets: NDArray, weight: NDArray
) -> float:
    """Choose the share of the copies in the prediction that has the least squared error.

    Parameters
    ----------
    copies, predicted, targets : ndarray of shape (n_samples, n_outputs)
        Mean targets of the copies of samples, predictions without copies, and the targets.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    share : float
        Share of the mean target of the copies, between 0 and 1. It is computed from these samples
        and one more sample, whose copies do not improve its prediction.
    """
    if not len(copies):
        return 0.0
    change = copies - predicted
    of_samples = np.sum(change**2, axis=1)
    total = weight @ of_samples + of_samples.mean()
    agreement = weight @ np.sum(change * (targets - predicted), axis=1)
    return float(np.clip(agreement / total, 0, 1)) if total > 0 else 0.0


def simplex_weights(
    predicted: NDArray, targets: NDArray, mean: NDArray, weight: NDArray
) -> NDArray:
    """Choose nonnegative weights of predictions with nearly the least squared error.

    The mean target has the rest of the weight, up to 1. So predictions that tell little have small
    weights.

    Parameters
    ----------
    predicted : ndarray of shape (n_samples, n_predictions, n_outputs)
        Predictions.
    targets : ndarray of shape (n_samples, n_outputs)
        The targets to be predicted.
    mean : ndarray of shape (n_outputs,)
        The mean target.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    weights : ndarray of shape (n_predictions,)
        Weights with a sum of at most 1.
    """
    root = np.sqrt(weight)[:, None]
    n_predictions = predicted.shape[1]
    columns = [(root * (predicted[:, k] - mean)).ravel() for k in range(n_predictions)]
    weights, _ = optimize.nnls(np.stack(columns, axis=1), (root * (targets - mean)).ravel())
    return weights / max(1, weights.sum())


def weighted_means(weights: NDArray, indices: NDArray, values: NDArray) -> NDArray:
    """Compute weighted means over neighbours, without an array of the values of all neighbours.

    Parameters
    ----------
    weights, indices : ndarray of shape (n_samples, n_neighbors)
        Weights of the neighbours, and their rows in `values`.
    values : ndarray of shape (n_values, n_columns)
        Values.

    Returns
    -------
    means : ndarray of shape (n_samples, n_columns)
        The means.
    """
    return _neighbor_graph(weights, indices, len(values)) @ values


def _neighbor_graph(weights, indices, n_values):
    """Make a sparse matrix of the weights. Using it again is cheaper than making another one."""
    ends = np.arange(0, weights.size + 1, weights.shape[1])
    shape = len(weights), n_values
    return sparse.csr_array((weights.ravel(), indices.ravel(), ends), shape=shape)
