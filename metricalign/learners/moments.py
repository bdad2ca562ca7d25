"""Sums over samples from which a linear metric follows, in parts that can be added."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import gen_batches

__all__ = ["Moments", "SeenSamples", "group_members", "moments_of"]

# Entries that are in double precision at a time.
_ENTRIES_OF_BATCH = 2**20


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted sums over samples, and over those of each group.

    The moments of two sets of samples, with the same groups, add up to those of both sets.

    Attributes
    ----------
    weight : float
        Sum of the weights w_i.
    squared_weight : float
        Sum of their squares.
    mean : ndarray of shape (n_features,)
        Mean m of the samples.
    scatter : ndarray of shape (n_features, n_features)
        Sum of w_i (x_i - m)(x_i - m)^T.
    smallest, largest : ndarray of shape (n_features,)
        Extreme values of the features.
    group_weights : ndarray of shape (n_groups,)
        Sums of the weights of each group.
    group_sums : ndarray of shape (n_groups, n_features)
        Sums of w_i (x_i - m) over each group.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.learners.moments import moments_of
    >>> X, group = np.array([[0.0], [2.0], [4.0]]), np.array([0, 1, 1])
    >>> first = moments_of(X[:2], np.ones(2), group[:2], n_groups=2)
    >>> both = first + moments_of(X[2:], np.ones(1), group[2:], n_groups=2)
    >>> both.mean, both.scatter, both.group_sums.ravel()
    (array([2.]), array([[8.]]), array([-2.,  2.]))
    """

    weight: float
    squared_weight: float
    mean: NDArray
    scatter: NDArray
    smallest: NDArray
    largest: NDArray
    group_weights: NDArray
    group_sums: NDArray

    @property
    def effective_size(self) -> float:
        """Number of samples with equal weights whose mean varies as much."""
        return self.weight**2 / self.squared_weight

    def __add__(self, other: Moments) -> Moments:
        weight = self.weight + other.weight
        # Differences of the means, so that samples far from the origin keep their digits.
        mean = self.mean + other.weight / weight * (other.mean - self.mean)
        scatter = self.scatter + other.scatter
        group_sums = self.group_sums + other.group_sums
        for part in (self, other):
            move = part.mean - mean
            scatter += part.weight * np.multiply.outer(move, move)
            group_sums += np.multiply.outer(part.group_weights, move)
        return Moments(
            weight,
            self.squared_weight + other.squared_weight,
            mean,
            scatter,
            np.minimum(self.smallest, other.smallest),
            np.maximum(self.largest, other.largest),
            self.group_weights + other.group_weights,
            group_sums,
        )

    def regrouped(self, groups: NDArray, n_groups: int) -> Moments:
        """The same sums with other numbers of the groups.

        Parameters
        ----------
        groups : ndarray of int of shape (n_groups_before,)
            The new number of each group.
        n_groups : int
            How many there are now.

        Returns
        -------
        moments : Moments
        """
        place = group_members(groups, np.ones(len(groups)), n_groups)
        return Moments(
            self.weight,
            self.squared_weight,
            self.mean,
            self.scatter,
            self.smallest,
            self.largest,
            place @ self.group_weights,
            place @ self.group_sums,
        )


class SeenSamples(NamedTuple):
    """What is kept of samples, to go on with others later.

    Attributes
    ----------
    y : {ndarray, csr_array} of shape (n_groups,) or (n_groups, n_outputs)
        Their different targets.
    sizes : ndarray of int of shape (n_groups,)
        How many samples have each of these.
    moments : Moments
        Sums over all samples, and over those of each target.
    unit : float
        Unit of the weights in these sums.
    """

    y: Any
    sizes: NDArray
    moments: Moments
    unit: float


def moments_of(X: Any, weight: NDArray, group: NDArray, n_groups: int) -> Moments:
    """Moments of samples, in double precision.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    weight : ndarray of shape (n_samples,)
        Their positive weights.
    group : ndarray of int of shape (n_samples,)
        Group of each sample; -1 for none.
    n_groups : int
        How many groups there are, here or elsewhere.

    Returns
    -------
    moments : Moments
    """
    n_samples, n_features = X.shape
    step = n_samples if sparse.issparse(X) else max(1, _ENTRIES_OF_BATCH // n_features)
    batches = gen_batches(n_samples, step)
    return reduce(add, (_of_batch(X, weight, group, n_groups, batch) for batch in batches))


def group_members(group: NDArray, weight: NDArray, n_groups: int) -> sparse.csr_array:
    """Matrix whose product with samples is their weighted sum over each group.

    Parameters
    ----------
    group : ndarray of int of shape (n_samples,)
        Group of each sample; -1 for none.
    weight : ndarray of shape (n_samples,)
        Their weights.
    n_groups : int
        How many groups there are.

    Returns
    -------
    members : csr_array of shape (n_groups, n_samples)
    """
    grouped = np.flatnonzero(group >= 0)
    places = group[grouped], grouped
    return sparse.csr_array((weight[grouped], places), shape=(n_groups, len(group)))


def _of_batch(X, weight, group, n_groups, batch):
    X, weight, group = X[batch].astype(np.float64), weight[batch], group[batch]
    total = weight.sum()
    members = group_members(group, weight, n_groups)
    group_weights = members.sum(axis=1)
    smallest, largest = X.min(axis=0), X.max(axis=0)
    if sparse.issparse(X):
        # Subtracting the mean would make it dense.
        mean = X.T @ weight / total
        scatter = (X.T @ X.multiply(weight[:, None])).toarray()
        scatter -= total * np.multiply.outer(mean, mean)
        group_sums = (members @ X).toarray() - np.multiply.outer(group_weights, mean)
        smallest, largest = smallest.toarray().ravel(), largest.toarray().ravel()
    else:
        # From one of the samples, as the sum of numbers far from the origin has no digits left.
        mean = X[0] + weight @ (X - X[0]) / total
        X -= mean
        scatter = X.T @ (weight[:, None] * X)
        group_sums = members @ X
    squared = float(weight @ weight)
    return Moments(total, squared, mean, scatter, smallest, largest, group_weights, group_sums)
