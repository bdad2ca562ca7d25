"""How neighbours vote: weights that fall with distance, chosen by held-out samples."""

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

# Votes that are compared: widths in mean distances of the samples, powers of the distance, shares
# of the correction and of the regressions. The mean of the best few predicts better than the best.
_WIDTHS = tuple(np.geomspace(0.03, 1.2, 10))
_POWERS = (1, 2)
_CORRECTIONS = (0.0, 1 / 3, 2 / 3, 1.0)
_REGRESSIONS = (0.0, 1 / 3, 2 / 3, 1.0)
_N_VOTES = 3
# In mean distances: single precision tells samples apart that are farther from each other.
_NO_DISTANCE = 1e-5


class Neighborhood(NamedTuple):
    """Neighbours of samples, and the part of each in the prediction.

    The prediction is ``neighbors_part + correction``, in the coordinates of the targets: one column
    per class, label or number.

    Attributes
    ----------
    indices : ndarray of int of shape (n_samples, n_neighbors)
        Neighbours, as rows of the training samples, the nearest first.
    distances : ndarray of shape (n_samples, n_neighbors)
        Their distances.
    weights : ndarray of shape (n_samples, n_neighbors)
        Weights of their votes, with sum 1.
    neighbors_part : ndarray of shape (n_samples, n_columns)
        Weighted mean of the targets of the neighbours.
    correction : ndarray of shape (n_samples, n_columns)
        Added to it, as the regressions predict other targets for the sample than for its
        neighbours, and as the vote for classes is pooled with them.
    predicted : ndarray of shape (n_samples, n_columns)
        What the regressions predict for the sample.
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
    """How neighbours vote, and how regressions correct the vote.

    Attributes
    ----------
    width : float
        Unit of the distances in the weights exp(-(distance / width)^power).
    power : int
        Their power.
    correction : float
        Share of the difference of what regressions predict for the sample and for its neighbours,
        which is added to the mean of the neighbours.
    regression : float, default=0.0
        Share of the regressions themselves in the prediction; the rest is the corrected mean.
    """

    width: float
    power: int
    correction: float
    regression: float = 0.0

    def weights(self, distances: NDArray, sample_weight: NDArray) -> NDArray:
        """Weights of neighbours, with row sums of 1.

        Parameters
        ----------
        distances, sample_weight : ndarray of shape (n_samples, n_neighbors)
            Distances of the neighbours in the unit of the width, and how often each counts.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_neighbors)
        """
        exponents = (distances / self.width) ** self.power
        # Relative to the nearest: otherwise all weights vanish far from all samples.
        weights = np.exp(exponents.min(axis=1, keepdims=True) - exponents) * sample_weight
        return weights / weights.sum(axis=1, keepdims=True)

    def added(self, mean: NDArray, expected: NDArray, predicted: NDArray) -> NDArray:
        """Compute what is added to the mean of the neighbours.

        Parameters
        ----------
        mean, expected : ndarray of shape (n_samples, n_outputs)
            Means over the neighbours of their targets, and of what regressions predict for them.
        predicted : ndarray of shape (n_samples, n_outputs)
            What the regressions predict for the samples.

        Returns
        -------
        added : ndarray of shape (n_samples, n_outputs)
        """
        corrected = self.correction * (predicted - expected)
        return (1 - self.regression) * corrected + self.regression * (predicted - mean)


# The vote if there are too few samples to hold any out.
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
    """The mean of several votes, and of the targets of copies of a sample where it has some.

    Parameters
    ----------
    votes : list of Vote
        The votes.
    distances, indices : ndarray of shape (n_samples, n_neighbors)
        Neighbours of the samples: distances in mean distances, and rows of the targets.
    targets, predicted : ndarray of shape (n_targets, n_outputs)
        Coordinates of all targets, and what the regressions predict for held-out samples.
    weight : ndarray of shape (n_targets,)
        Their weights.
    of_samples : ndarray of shape (n_samples, n_outputs)
        What the regressions predict for the samples.
    share_of_copies : float, default=0.0
        Share of neighbours without any distance, where there are some.

    Returns
    -------
    weights : ndarray of shape (n_samples, n_neighbors)
        Weights of the neighbours, with row sums of 1.
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
    """Mean target of the other samples with the same row of the table.

    A sample of weight 2 stands for two samples, each of which is a copy of the other.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_columns)
        Samples.
    targets : ndarray of shape (n_samples, n_outputs)
        Coordinates of their targets.
    weight : ndarray of shape (n_samples,)
        How many samples each stands for.
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
    """Sums over all samples of the same number, for each sample."""
    sums = np.zeros((identity.max() + 1, values.shape[1]))
    np.add.at(sums, identity, values)
    return sums[identity]


def share_of_copies(
    copies: NDArray, predicted: NDArray, targets: NDArray, weight: NDArray
) -> float:
    """Share of the mean target of copies in the prediction that has the least squared error.

    Parameters
    ----------
    copies, predicted, targets : ndarray of shape (n_samples, n_outputs)
        Mean targets of the copies of samples, predictions without copies, and the targets.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    share : float
        Between 0 and 1. It is that of all samples and of one more, whose copies tell nothing.
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
    """Nonnegative weights of predictions, and what is left of 1 for the mean target.

    Their mean nearly has the least squared error. So predictions that tell little count little.

    Parameters
    ----------
    predicted : ndarray of shape (n_samples, n_predictions, n_outputs)
        Predictions.
    targets : ndarray of shape (n_samples, n_outputs)
        The targets to be predicted.
    mean : ndarray of shape (n_outputs,)
        Their mean.
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
    """Weighted means over neighbours, without an array of the values of all neighbours.

    Parameters
    ----------
    weights, indices : ndarray of shape (n_samples, n_neighbors)
        Weights of the neighbours, and their rows in `values`.
    values : ndarray of shape (n_values, n_columns)
        Values.

    Returns
    -------
    means : ndarray of shape (n_samples, n_columns)
    """
    return _neighbor_graph(weights, indices, len(values)) @ values


def _neighbor_graph(weights, indices, n_values):
    """Sparse matrix of the weights, which is cheaper to use again than to make."""
    ends = np.arange(0, weights.size + 1, weights.shape[1])
    shape = len(weights), n_values
    return sparse.csr_array((weights.ravel(), indices.ravel(), ends), shape=shape)
