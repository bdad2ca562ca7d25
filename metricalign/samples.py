"""Samples as every metric learner takes them: checked, distinct, in an order of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign.pairs import RemoteSamples, merge_identical_samples
from metricalign.relations import TargetRelation, check_targets, resolve_relation

__all__ = ["DistinctSamples", "check_magnitude", "distinct_samples"]


class DistinctSamples(NamedTuple):
    """Samples of which no two have the same features and target.

    Attributes
    ----------
    rows : ndarray of int of shape (n_distinct,)
        Rows of X that they are.
    weight : ndarray of shape (n_distinct,)
        Sum of the weights of the samples that each stands for.
    relation : TargetRelation
        The relation, which must not depend on repetition either.
    targets : ndarray or csr_array
        Their targets, as encoded by the relation.
    """

    rows: NDArray
    weight: NDArray
    relation: TargetRelation
    targets: Any


def distinct_samples(
    X: Any,
    y: Any,
    relation: TargetRelation,
    targets: Any,
    sample_weight: NDArray | None,
    definition: Any,
) -> DistinctSamples:
    """Take identical samples as one of greater weight, in an order that is that of their values.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    y : array-like
        Their targets.
    relation : TargetRelation
        The relation, as learned from all of them. Precomputed ones tell all samples apart.
    targets : ndarray or csr_array
        Targets, as encoded by the relation.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights; samples of weight 0 are left out.
    definition : str or callable
        What the relation was made from.

    Returns
    -------
    samples : DistinctSamples
    """
    n_samples = X.shape[0]
    if relation.kind == "precomputed":
        weight = np.ones(n_samples) if sample_weight is None else sample_weight
        rows = np.flatnonzero(weight)
        return DistinctSamples(rows, weight[rows], relation, targets[rows][:, rows])
    rows, weight = merge_identical_samples(X, targets, sample_weight)
    targets = targets[rows]
    if len(rows) < n_samples:
        kept = check_targets(y)[rows]
        relation = resolve_relation(definition, kept)
        targets = relation.encode(kept)
    # M must not depend on the order in which they came.
    X = X[rows]
    keys = X.order_keys() if isinstance(X, RemoteSamples) else order_keys(X)
    order = np.argsort(keys, kind="stable")
    return DistinctSamples(rows[order], weight[order], relation, targets[order])


def check_magnitude(X: NDArray | sparse.csr_array | RemoteSamples) -> None:
    """Refuse samples whose fourth powers, which distances are made of, leave their range.

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


def order_keys(X: NDArray | sparse.csr_array) -> NDArray:
    """Number of each distinct sample that puts them in an order of their own."""
    weights = np.sqrt(np.arange(2, X.shape[1] + 2))
    weighted = sparse.csr_array(X).multiply(weights) if sparse.issparse(X) else X * weights
    return np.asarray(weighted.sum(axis=1)).ravel()
