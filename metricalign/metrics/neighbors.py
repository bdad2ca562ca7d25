"""Measures of the neighbours that a learned metric finds."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics import ndcg_score

from metricalign._arrays import as_dense, exponent_of_extent
from metricalign._estimator import check_sample_weight
from metricalign.metrics.checks import check_matrix, weighted_mean
from metricalign.relations import TargetRelation, resolve_relation

__all__ = [
    "mean_average_precision_score",
    "neighbors_ndcg_score",
    "pairwise_relations",
    "precision_at_k_score",
]


def pairwise_relations(y: Any, relation: str | Callable | TargetRelation = "auto") -> NDArray:
    """Matrix of the relations of all pairs of samples, for the measures of a metric.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    relation : str, callable or TargetRelation, default="auto"
        A relation of `metricalign.relations`, or the ``relation_`` of a learner, which was fitted
        to other targets.

    Returns
    -------
    relations : ndarray of shape (n_samples, n_samples)
        Relation of each pair. The matrix is symmetric.

    Examples
    --------
    >>> from metricalign.metrics import pairwise_relations
    >>> pairwise_relations(["cat", "dog", "cat"])
    array([[-1.,  1., -1.],
           [ 1., -1.,  1.],
           [-1.,  1., -1.]])
    """
    if not isinstance(relation, TargetRelation):
        relation = resolve_relation(relation, y)
    targets = relation.encode(y)
    if sparse.issparse(targets) and relation.kind == "precomputed":
        # This looks up every pair, and names one that is not stored.
        relation(targets, np.column_stack(np.triu_indices(targets.shape[0], k=1)))
        return as_dense(targets)
    others = np.arange(targets.shape[0])
    return np.array(
        [relation(targets, np.column_stack([np.full_like(others, i), others])) for i in others]
    )


def precision_at_k_score(
    X: ArrayLike,
    relations: ArrayLike,
    *,
    k: int = 5,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the k nearest neighbours of a sample that are related to it.

    Each sample is a query to all others, by Euclid's distance. If several samples tie for the last
    place among the k, the expected number of a random choice counts.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples.
    relations : array-like of shape (n_samples, n_samples)
        Relation of each pair. The diagonal is ignored.
    k : int, default=5
        Number of neighbours, less than n_samples.
    threshold : float, default=0.0
        Two samples are related if their relation is at most this number. With 0 they are those of
        the same class, or with equal targets.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        From 0 to 1, which is best.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schuetze. "Introduction to Information Retrieval".
    Cambridge University Press, 2008, section 8.4.

    Examples
    --------
    >>> from metricalign.metrics import pairwise_relations, precision_at_k_score
    >>> relations = pairwise_relations(["a", "a", "b", "b"])
    >>> precision_at_k_score([[0.0], [1.0], [2.5], [3.6]], relations, k=1)
    1.0
    """
    distances, relations = _check_retrieval(X, relations)
    if not isinstance(k, Integral) or not 1 <= k <= distances.shape[1]:
        raise ValueError(
            f"k must be an integer from 1 to n_samples - 1 = {distances.shape[1]}, got {k!r}."
        )
    related = relations <= _check_threshold(threshold)
    last = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    nearer, tied = distances < last, distances == last
    share = (tied & related).sum(axis=1) / tied.sum(axis=1)
    found = (nearer & related).sum(axis=1) + (k - nearer.sum(axis=1)) * share
    return weighted_mean(found / k, sample_weight)


def mean_average_precision_score(
    X: ArrayLike,
    relations: ArrayLike,
    *,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean over the samples of the average precision of all others, in order of their distance.

    Each sample is a query to all others, by Euclid's distance. For each related sample, take the
    share of related samples among those that are not farther away. The average precision of the
    query is the mean of these shares. Ties count together, as in
    :func:`sklearn.metrics.label_ranking_average_precision_score`. Queries without a related sample
    are left out.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples.
    relations : array-like of shape (n_samples, n_samples)
        Relation of each pair. The diagonal is ignored.
    threshold : float, default=0.0
        Two samples are related if their relation is at most this number. With 0 they are those of
        the same class, or with equal targets.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        Above 0, and at most 1, which is best.

    References
    ----------
    C. D. Manning, P. Raghavan, H. Schuetze. "Introduction to Information Retrieval".
    Cambridge University Press, 2008, section 8.4.

    Examples
    --------
    >>> from metricalign.metrics import mean_average_precision_score, pairwise_relations
    >>> relations = pairwise_relations(["a", "b", "a"])
    >>> mean_average_precision_score([[0.0], [1.0], [3.0]], relations)
    0.5
    """
    distances, relations = _check_retrieval(X, relations)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, distances)
        asked = sample_weight > 0
        distances, relations = distances[asked], relations[asked]
        sample_weight = sample_weight[asked]
    related = relations <= _check_threshold(threshold)
    asked = related.any(axis=1)
    if not asked.any():
        none = "No two samples are related"
        if sample_weight is not None:
            none = "No sample with a weight is related to another"
        raise ValueError(
            f"{none}: all relations are above {threshold=:g}. Give a threshold of at least "
            f"{relations.min():g}, the smallest relation."
        )
    if sample_weight is not None:
        sample_weight = sample_weight[asked]
    precisions = np.empty(asked.sum())
    for row, (distance, is_related) in enumerate(
        zip(distances[asked], related[asked], strict=True)
    ):
        everyone, hits = np.sort(distance), np.sort(distance[is_related])
        precisions[row] = np.mean(
            np.searchsorted(hits, hits, side="right")
            / np.searchsorted(everyone, hits, side="right")
        )
    return weighted_mean(precisions, sample_weight)


def neighbors_ndcg_score(
    X: ArrayLike,
    relations: ArrayLike,
    *,
    k: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Normalized discounted cumulative gain of the neighbours under graded relations.

    Each sample is a query to all others, by Euclid's distance. Another sample at rank r has the
    gain (largest relation - relation) / log2(r + 1). The score is the sum of the gains of the k
    nearest samples, divided by that of the best order. Ties share the mean of their gains. The
    score is computed by :func:`sklearn.metrics.ndcg_score`. A query whose relations are all the
    largest has nothing to gain, and counts as 0.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples, at least three.
    relations : array-like of shape (n_samples, n_samples)
        Relation of each pair. The diagonal is ignored.
    k : int or None, default=None
        Number of neighbours. None takes all.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        From 0 to 1, which is best.

    References
    ----------
    K. Jaervelin, J. Kekaelaeinen. "Cumulated Gain-based Evaluation of IR Techniques". ACM
    Transactions on Information Systems 20(4), 2002.

    Examples
    --------
    >>> from metricalign.metrics import neighbors_ndcg_score, pairwise_relations
    >>> relations = pairwise_relations([0.0, 0.1, 0.5, 2.5])
    >>> neighbors_ndcg_score([[0.0], [1.0], [5.0], [25.0]], relations)
    1.0
    """
    distances, differences = _check_retrieval(X, relations)
    if len(distances) < 3:
        raise ValueError(f"A ranking needs at least 3 samples, got {len(distances)}.")
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, distances)
    # Half of the numbers, as their differences may leave the range. The unit of gains is free.
    gains = differences.max() / 2 - differences / 2
    gains /= gains.max() or 1.0
    return float(ndcg_score(gains, -distances, k=k, sample_weight=sample_weight))


def _check_retrieval(X, relations):
    """Return distances and relations of each sample to the others, without the diagonal."""
    X = check_matrix(X, "X", dtype=np.float64, ensure_min_samples=2)
    relations = check_matrix(relations, "relations", dtype=np.float64, ensure_all_finite=False)
    n_samples = len(X)
    if relations.shape != (n_samples, n_samples):
        raise ValueError(
            f"relations must be of shape (n_samples, n_samples) = {(n_samples, n_samples)}, got "
            f"{relations.shape}."
        )
    others = ~np.eye(n_samples, dtype=bool)
    relations = relations[others].reshape(n_samples, n_samples - 1)
    if not np.isfinite(relations).all():
        raise ValueError("relations must be finite off the diagonal; got NaN or infinity.")
    X = np.ldexp(X, -exponent_of_extent(X))
    return cdist(X, X)[others].reshape(n_samples, n_samples - 1), relations


def _check_threshold(threshold):
    if not isinstance(threshold, Real) or np.isnan(float(threshold)):
        raise ValueError(f"threshold must be a number, got {threshold!r}.")
    return threshold
