"""Samples are checked, merged if they are identical, and sorted before any metric is learned."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from metricalign._arrays import as_dense
from metricalign._estimator import level_of_call
from metricalign.pairs.anchors import choose_anchors
from metricalign.pairs.identical import RemoteSamples, merge_identical_samples, order_of_values
from metricalign.pairs.search import centred
from metricalign.relations import TargetRelation, check_targets, resolve_relation, select_targets

__all__ = [
    "DistinctSamples",
    "check_extent",
    "check_magnitude",
    "distinct_samples",
    "in_span",
    "representative_samples",
    "shrunk_coordinates",
    "warn_of_single_samples",
]


class DistinctSamples(NamedTuple):
    """Samples with different features or targets.

    Attributes
    ----------
    rows : ndarray of int of shape (n_distinct,)
        Their rows in X.
    weight : ndarray of shape (n_distinct,)
        Sum of the weights of the identical samples.
    relation : TargetRelation
        The relation. It is learned from these samples, so that it does not depend on repetitions.
    targets : ndarray or csr_array
        Their targets, as encoded by the relation.
    """

    rows: NDArray
    weight: NDArray
    relation: TargetRelation
    targets: Any

    def select(self, y: Any) -> Any:
        """Select the targets of these samples.

        Parameters
        ----------
        y : array-like or sparse matrix
            Targets of all samples, or their matrix of relations.

        Returns
        -------
        targets : ndarray or csr_array
            Targets of these samples, or the relations of their pairs.
        """
        is_precomputed = self.relation.kind == "precomputed"
        y = y if is_precomputed else check_targets(y)
        return select_targets(y, self.rows, is_precomputed=is_precomputed)


def distinct_samples(
    X: Any,
    y: Any,
    relation: TargetRelation,
    targets: Any,
    sample_weight: NDArray | None,
    definition: Any,
) -> DistinctSamples:
    """Merge identical samples into one of greater weight, and sort the samples by their values.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    y : array-like
        Their targets.
    relation : TargetRelation
        The relation, learned from all samples. A precomputed relation can differ between identical
        samples, so with it no samples are merged.
    targets : ndarray or csr_array
        Targets, as encoded by the relation.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights. Samples of weight 0 are left out.
    definition : str or callable
        The relation as the user gave it.

    Returns
    -------
    samples : DistinctSamples
        The distinct samples.
    """
    n_samples = X.shape[0]
    if relation.kind == "precomputed":
        weight = np.ones(n_samples) if sample_weight is None else sample_weight
        rows = np.flatnonzero(weight)
        targets = select_targets(targets, rows, is_precomputed=True)
        return DistinctSamples(rows, weight[rows], relation, targets)
    rows, weight = merge_identical_samples(X, targets, sample_weight)
    targets = targets[rows]
    if len(rows) < n_samples:
        kept = check_targets(y)[rows]
        relation = resolve_relation(definition, kept)
        targets = relation.encode(kept)
    # The metric must not depend on the order of the rows.
    order = order_of_values(X[rows], targets)
    return DistinctSamples(rows[order], weight[order], relation, targets[order])


def representative_samples(
    samples: DistinctSamples, X: Any, max_samples: int | None
) -> DistinctSamples:
    """Choose at most `max_samples` representatives, spread over classes and values.

    Parameters
    ----------
    samples : DistinctSamples
        The samples.
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        The samples to which their rows refer.
    max_samples : int or None
        The largest number of samples. None: no limit.

    Returns
    -------
    samples : DistinctSamples
        Some of them, in the same order. Their weights have the same sum.
    """
    if max_samples is None or len(samples.rows) <= max_samples:
        return samples
    relation, targets = samples.relation, samples.targets
    classes = np.ravel(targets) if relation.is_of_classes else None
    chosen, weight = choose_anchors(
        X[samples.rows], samples.weight, max_samples, classes, keeps_rare=True
    )
    targets = select_targets(targets, chosen, is_precomputed=relation.kind == "precomputed")
    return DistinctSamples(samples.rows[chosen], weight, relation, targets)


def check_magnitude(X: NDArray | sparse.csr_array | RemoteSamples) -> None:
    """Refuse entries whose fourth powers overflow, because fits multiply squared distances.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.

    Raises
    ------
    ValueError
        If an entry is too large.
    """
    largest = X.largest if isinstance(X, RemoteSamples) else largest_entry(X)
    limit = 0.5 * float(np.finfo(X.dtype).max) ** 0.25 / X.shape[1] ** 0.5
    if largest > limit:
        raise ValueError(
            f"X has entries as large as {largest:.1e}; above {limit:.1e} products of features "
            f"leave the range of {X.dtype}. Scale X, for example with StandardScaler."
        )


def largest_entry(X: NDArray | sparse.csr_array) -> float:
    """Largest absolute value of an entry."""
    return float(np.abs(X.data if sparse.issparse(X) else X).max(initial=0))


def check_extent(extent: float, dtype: np.dtype) -> None:
    """Refuse samples that are identical, or too close for their type.

    Parameters
    ----------
    extent : float
        Largest difference of two values of a feature. A variance could not be used, as rounding
        keeps it above 0.
    dtype : dtype
        Type of the samples.

    Raises
    ------
    ValueError
        If no metric can be learned from them.
    """
    if extent == 0:
        raise ValueError("All samples are identical in X, so no distance can be learned. Check X.")
    if extent < float(np.finfo(dtype).max) ** -0.45:
        raise ValueError(
            f"The samples in X differ by {extent:.1e} at most: the metric leaves the range of "
            f"{dtype}. Scale X, for example with StandardScaler."
        )


def in_span(X: Any, mean: NDArray) -> tuple[Any, NDArray]:
    """Compute coordinates of fewer samples than features in the span of their differences.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    mean : ndarray of shape (n_features,)
        Their mean.

    Returns
    -------
    coordinates : ndarray of shape (n_samples, n_dimensions)
        Coordinates of the samples less their mean.
    basis : ndarray of shape (n_dimensions, n_features)
        Orthonormal rows that span the differences.
    """
    X = as_dense(X) - mean
    _, lengths, basis = linalg.svd(X, full_matrices=False)
    basis = basis[lengths > len(X) * np.finfo(X.dtype).eps * lengths[0]]
    return X @ basis.T, basis


def shrunk_coordinates(X: Any, weight: NDArray, shrinkage: float) -> tuple[Any, NDArray, NDArray]:
    """Transform samples so that their shrunk covariance is a multiple of the identity.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    weight : ndarray of shape (n_samples,)
        Their weights.
    shrinkage : float
        Weight, from 0 to 1, of the multiple of the identity with the same trace in the shrunk
        covariance. With 1 the coordinates are only scaled.

    Returns
    -------
    coordinates : {ndarray, csr_array} of shape (n_samples, n_coordinates)
        Coordinates with a total variance of 1. There are at most as many as samples. Sparse samples
        are not centred.
    basis : ndarray of shape (n_coordinates, n_features)
        Matrix of the transformation: components that were learned in these coordinates, times
        `basis`, are components in the features.
    inverse : ndarray of shape (n_features, n_coordinates)
        Matrix of the inverse transformation.

    Raises
    ------
    ValueError
        If all samples are identical, or too close for their type.
    """
    check_extent(float((X.max(axis=0) - X.min(axis=0)).max()), X.dtype)
    if not sparse.issparse(X):
        # Far from the origin the mean would be rounded as coarsely as X.
        X = centred(X)
    weight = (weight / weight.sum()).astype(X.dtype)
    mean = np.asarray(X.T @ weight)
    if X.shape[0] < X.shape[1]:
        X, basis = in_span(X, mean)
    else:
        basis = np.eye(X.shape[1], dtype=X.dtype)
        X = X if sparse.issparse(X) else X - mean
    inverse = basis.T
    if shrinkage < 1:
        X = X.toarray() - mean if sparse.issparse(X) else X
        is_constant = np.ptp(X, axis=0) == 0
        values, vectors = np.linalg.eigh(X.T @ (weight[:, None] * X))
        values = (1 - shrinkage) * np.maximum(values, 0) + shrinkage * values.mean()
        basis = (vectors / np.sqrt(values)) @ (vectors.T @ basis)
        inverse = (inverse @ vectors * np.sqrt(values)) @ vectors.T
        X = X @ (vectors / np.sqrt(values)) @ vectors.T
        # Rounding must not make a constant feature vary.
        X[:, is_constant] = 0
    if sparse.issparse(X):
        total = mean_variance_axis(X, axis=0, weights=weight)[1].sum()
    else:
        total = weight @ np.sum(X**2, axis=1)
    if not total > 0:
        raise ValueError("All samples are identical in X, so no distance can be learned. Check X.")
    scale = X.dtype.type(np.sqrt(total))
    return X / scale, basis / scale, inverse * scale


def warn_of_single_samples(relation: Any, targets: NDArray) -> None:
    """Warn if targets are classes, and each class has only one distinct sample.

    Parameters
    ----------
    relation : TargetRelation
        Relation of the targets.
    targets : ndarray of shape (n_samples,)
        Targets of distinct samples, as encoded by the relation.

    Warns
    -----
    UserWarning
        If there are several samples, each of another class.
    """
    if relation.name == "class" and len(np.unique(targets)) == len(targets) > 1:
        warnings.warn(
            "No two different samples are of the same class, so all pairs have the same relation "
            "and say nothing about a metric. Check y; for numbers give "
            "relation='absolute_difference'.",
            UserWarning,
            stacklevel=level_of_call(),
        )
