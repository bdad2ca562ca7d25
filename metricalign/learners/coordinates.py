"""Targets of every kind as coordinates, for learners that predict targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import batches, sum_duplicates
from metricalign.pairs.identical import first_identical
from metricalign.relations import TargetRelation, is_automatic

__all__ = [
    "relations_to_landmarks",
    "standard_coordinates",
    "target_coordinates",
    "target_groups",
    "target_vectors",
]

# Number of pairs whose relations are computed at a time. So few stay in the cache.
_LARGEST_BATCH = 200_000


def target_vectors(relation: TargetRelation, targets: Any) -> NDArray | sparse.csr_array:
    """Columns of the targets. For classes, a column of 0 and 1 for each class.

    Parameters
    ----------
    relation : TargetRelation
        Relation of the targets. It must not be precomputed.
    targets : {ndarray, csr_array} of shape (n_samples,) or (n_samples, n_outputs)
        Targets as encoded by the relation.

    Returns
    -------
    vectors : {ndarray, csr_array} of shape (n_samples, n_columns)
        A sparse array for classes and for sparse targets.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> y = ["a", "b", "a"]
    >>> relation = resolve_relation("auto", y)
    >>> target_vectors(relation, relation.encode(y)).toarray()
    array([[1., 0.],
           [0., 1.],
           [1., 0.]])
    """
    if sparse.issparse(targets):
        return targets.astype(np.float64)
    targets = np.asarray(targets)
    if relation.is_of_classes:
        # Classes are numbered in the order of the samples, so that names do not change the
        # rounding.
        _, first, group = np.unique(targets.ravel(), return_index=True, return_inverse=True)
        columns = np.argsort(np.argsort(first))[group]
        return sparse.csr_array((np.ones(len(group)), (np.arange(len(group)), columns)))
    return targets.reshape(len(targets), -1).astype(np.float64)


def target_groups(relation: TargetRelation, targets: Any) -> tuple[NDArray, NDArray]:
    """Groups of samples with equal targets.

    Parameters
    ----------
    relation : TargetRelation
        Relation of the targets. If it is precomputed, each sample is a group.
    targets : {ndarray, csr_array}
        Targets as encoded by the relation.

    Returns
    -------
    representatives : ndarray of int of shape (n_groups,)
        The first sample of each group.
    group : ndarray of int of shape (n_samples,)
        The group of each sample.
    """
    if relation.kind == "precomputed":
        return np.arange(targets.shape[0]), np.arange(targets.shape[0])
    targets = sum_duplicates(targets) if sparse.issparse(targets) else targets
    return np.unique(first_identical(targets), return_inverse=True)


def relations_to_landmarks(
    relation: TargetRelation, targets: Any, samples: NDArray, landmarks: NDArray
) -> Iterator[tuple[NDArray, NDArray]]:
    """Relations of samples to landmarks, in batches of samples.

    Parameters
    ----------
    relation : TargetRelation
        The relation.
    targets : {ndarray, csr_array}
        Targets as encoded by the relation.
    samples, landmarks : ndarray of int
        Indices of the samples and of the landmarks.

    Yields
    ------
    places : ndarray of int
        Places in `samples` of a batch.
    relations : ndarray of shape (n_places, n_landmarks)
        Relations of the batch to the landmarks.
    """
    for batch in batches(len(samples), max(1, _LARGEST_BATCH // len(landmarks))):
        places = np.arange(len(samples))[batch]
        pairs = np.empty((len(places), len(landmarks), 2), dtype=np.intp)
        pairs[..., 0] = samples[places, None]
        pairs[..., 1] = landmarks
        yield places, relation(targets, pairs.reshape(-1, 2)).reshape(len(places), -1)


def target_coordinates(
    relation: TargetRelation,
    targets: Any,
    weight: NDArray,
    landmarks: NDArray,
    n_coordinates: int,
    random_state: np.random.RandomState,
) -> NDArray:
    r"""Coordinates whose squared distances approximate the relations.

    For the relation that ``relation="auto"`` chooses, the coordinates are the targets themselves,
    where classes are indicators. If they have too many columns, they are projected at random, which
    keeps distances in the mean. For other relations the coordinates come from classical scaling.
    They follow from the leading positive eigenvalues and eigenvectors of :math:`-\frac12 J g J^T`,
    where g are the relations of the landmarks, and J centres rows and columns.

    Parameters
    ----------
    relation : TargetRelation
        The relation.
    targets : {ndarray, csr_array}
        Targets as encoded by the relation.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    landmarks : ndarray of int
        Indices of the samples with which classical scaling compares all others.
    n_coordinates : int
        Largest number of coordinates.
    random_state : RandomState
        Draws the projections.

    Returns
    -------
    coordinates : ndarray of shape (n_samples, n_kept)
        They are centred and have a total variance of 1. There is no column if the relation does not
        grow with the difference of targets.

    Raises
    ------
    ValueError
        If all relations are equal, or if they leave the range of float64.

    References
    ----------
    Torgerson, Multidimensional Scaling, Psychometrika 17 (1952).
    de Silva, Tenenbaum, Sparse Multidimensional Scaling Using Landmark Points, 2004: the
    coordinates of the samples that are no landmarks.
    """
    if is_automatic(relation):
        vectors = target_vectors(relation, targets)
    else:
        share = weight / weight.sum()
        vectors = _classical_scaling(relation, targets, share, landmarks, n_coordinates)
    return standard_coordinates(vectors, weight, n_coordinates, random_state)


def standard_coordinates(
    vectors: Any, weight: NDArray, n_coordinates: int, random_state: np.random.RandomState
) -> NDArray:
    """Vectors, centred and with a total variance of 1. Many columns are projected at random.

    Parameters
    ----------
    vectors : {ndarray, csr_array} of shape (n_samples, n_columns)
        Targets as vectors.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_coordinates : int
        Largest number of columns of the result.
    random_state : RandomState
        Draws the projections.

    Returns
    -------
    coordinates : ndarray of shape (n_samples, n_kept)
        Their total variance is 1, or 0 if all vectors are equal.
    """
    coordinates: Any = vectors
    if coordinates.shape[1] > n_coordinates:
        shape = (coordinates.shape[1], n_coordinates)
        coordinates = coordinates @ random_state.normal(size=shape)
    if sparse.issparse(coordinates):
        coordinates = coordinates.toarray()
    share = weight / weight.sum()
    coordinates = coordinates - share @ coordinates
    coordinates = coordinates / (np.abs(coordinates).max(initial=0) or 1)
    variance = share @ (coordinates**2).sum(axis=1)
    return coordinates / np.sqrt(variance or 1)


def _classical_scaling(relation, targets, share, landmarks, n_coordinates):
    representatives, group = target_groups(relation, targets)
    drawn, group_of_drawn = np.unique(group[landmarks], return_inverse=True)
    shares = np.bincount(group_of_drawn, share[landmarks])
    shares = shares / shares.sum()
    relations = np.empty((len(representatives), len(drawn)))
    for places, values in relations_to_landmarks(
        relation, targets, representatives, representatives[drawn]
    ):
        relations[places] = values
    smallest, largest = relations.min(), relations.max()
    magnitude = max(abs(smallest), abs(largest))
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(largest - smallest)
    if not is_finite:
        raise ValueError(
            f"The relations, from {smallest:.1e} to {largest:.1e}, leave the range of numbers. "
            "Scale them."
        )
    relations = relations / (magnitude or 1)
    means = shares @ relations[drawn]
    centred = -0.5 * (relations - means - (relations @ shares)[:, None] + means @ shares)
    is_other = np.arange(len(relations))[:, None] != drawn
    if np.abs(centred).max() < 1e-12 or (
        len(relations) == len(group) and np.ptp(relations[is_other]) < 1e-12
    ):
        raise ValueError(
            "All relations are equal, so no metric can be learned from them. Check y and relation."
        )
    roots = np.sqrt(shares)
    values, vectors = np.linalg.eigh(roots[:, None] * centred[drawn] * roots)
    is_kept = values > 1e-10 * np.abs(values).max()
    is_kept[:-n_coordinates] = False
    coordinates = centred @ (roots[:, None] * vectors[:, is_kept] / np.sqrt(values[is_kept]))
    return coordinates[group]
