"""Sums over samples that determine a linear metric. The sums of two sets can be added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import batches

__all__ = ["Moments", "SeenSamples", "group_members", "moments_of"]

# Number of entries that are converted to double precision at a time.
_ENTRIES_OF_BATCH = 2**20


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted sums over samples, and over those of each group.

    The moments of two sets of samples with the same groups add up to those of their union.

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
        # The difference of the means is used, so that samples far from the origin keep their
        # digits.
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
        """The same sums, with other indices of the groups.

        Parameters
        ----------
        groups : ndarray of int of shape (n_groups_before,)
            The new index of each group.
        n_groups : int
            The new number of groups.

        Returns
        -------
        moments : Moments
        """
        place = group_members(groups, np.ones(len(groups)), n_groups)
        return replace(
            self,
            group_weights=place @ self.group_weights,
            group_sums=place @ self.group_sums,
        )


class SeenSamples(NamedTuple):
    """Summary of the samples so far, by which a fit goes on with further samples.

    Attributes
    ----------
    y : {ndarray, csr_array} of shape (n_groups,) or (n_groups, n_outputs)
        Distinct targets.
    sizes : ndarray of int of shape (n_groups,)
        Number of samples with each target.
    moments : Moments
        Sums over all samples, and over those with each target.
    unit : float
        Unit of the weights in these sums.
    """

    y: Any
    sizes: NDArray
    moments: Moments
    unit: float

    def targets_with(self, y: Any) -> Any:
        """Join the distinct targets so far and those of further samples.

        Parameters
        ----------
        y : {ndarray, csr_array} of shape (n_samples,) or (n_samples, n_outputs)
            Targets of the further samples.

        Returns
        -------
        targets : {ndarray, csr_array}
            All of them, those so far first.

        Raises
        ------
        ValueError
            If some are strings and others numbers.
        """
        if sparse.issparse(self.y) or sparse.issparse(y):
            return sparse.csr_array(sparse.vstack([self.y, y]))
        had, has = ("strings" if part.dtype.kind in "UT" else "numbers" for part in (self.y, y))
        if had != has:
            # NumPy would turn the numbers into strings.
            raise ValueError(f"y had {had} before, and has {has} now. Turn them into {had}.")
        return np.concatenate([self.y, y])


def moments_of(X: Any, weight: NDArray, group: NDArray, n_groups: int) -> Moments:
    """Moments of samples, in double precision.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    weight : ndarray of shape (n_samples,)
        Positive weights of the samples.
    group : ndarray of int of shape (n_samples,)
        Group of each sample. -1 is no group.
    n_groups : int
        Number of groups. Some may have no samples here.

    Returns
    -------
    moments : Moments
    """
    n_samples, n_features = X.shape
    step = n_samples if sparse.issparse(X) else max(1, _ENTRIES_OF_BATCH // n_features)
    parts = (_of_batch(X, weight, group, n_groups, batch) for batch in batches(n_samples, step))
    return reduce(add, parts)


def group_members(group: NDArray, weight: NDArray, n_groups: int) -> sparse.csr_array:
    """Matrix whose product with samples has their weighted sums over each group.

    Parameters
    ----------
    group : ndarray of int of shape (n_samples,)
        Group of each sample. -1 is no group.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_groups : int
        Number of groups.

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
        # X minus its mean would be dense.
        mean = X.T @ weight / total
        scatter = (X.T @ X.multiply(weight[:, None])).toarray()
        scatter -= total * np.multiply.outer(mean, mean)
        group_sums = (members @ X).toarray() - np.multiply.outer(group_weights, mean)
        smallest, largest = smallest.toarray().ravel(), largest.toarray().ravel()
    else:
        # Differences from one sample are summed, as sums of numbers far from the origin lose
        # digits.
        mean = X[0] + weight @ (X - X[0]) / total
        X -= mean
        scatter = X.T @ (weight[:, None] * X)
        group_sums = members @ X
    squared = float(weight @ weight)
    return Moments(total, squared, mean, scatter, smallest, largest, group_weights, group_sums)
