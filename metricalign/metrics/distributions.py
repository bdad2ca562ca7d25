"""Measures of predicted label distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metricalign.metrics.checks import check_matrix, check_same_shape, weighted_mean
from metricalign.relations import RELATIONS, sums_to_one

__all__ = [
    "canberra_loss",
    "chebyshev_loss",
    "clark_loss",
    "cosine_score",
    "intersection_score",
    "kullback_leibler_loss",
]


def chebyshev_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Largest difference of two label distributions, max abs(d - p), mean over the samples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, which is best, to 1.

    References
    ----------
    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, table 1.

    Examples
    --------
    >>> from metricalign.metrics import chebyshev_loss
    >>> round(chebyshev_loss([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    0.3
    """
    true, predicted = _check_distributions(y_true, y_pred)
    return weighted_mean(RELATIONS["chebyshev"].function(true, predicted), sample_weight)


def clark_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Clark's distance, sqrt(sum (d - p)^2 / (d + p)^2), mean over the samples.

    Terms 0 / 0 count as 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, which is best, to the square root of n_labels.

    References
    ----------
    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, table 1.

    Examples
    --------
    >>> from metricalign.metrics import clark_loss
    >>> round(clark_loss([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    1.0918
    """
    true, predicted = _check_distributions(y_true, y_pred)
    return weighted_mean(RELATIONS["clark"].function(true, predicted), sample_weight)


def canberra_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Canberra distance, sum abs(d - p) / (d + p), mean over the samples.

    Terms 0 / 0 count as 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, which is best, to n_labels.

    References
    ----------
    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, table 1.

    Examples
    --------
    >>> from metricalign.metrics import canberra_loss
    >>> round(canberra_loss([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    1.5195
    """
    true, predicted = _check_distributions(y_true, y_pred)
    return weighted_mean(RELATIONS["canberra"].function(true, predicted), sample_weight)


def kullback_leibler_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Kullback-Leibler divergence, sum d ln(d / p), mean over the samples.

    Terms with d = 0 count as 0. In the logarithm, d and p are raised to at least the machine
    epsilon of the dtype of `y_pred`, which is the rule for p in :func:`sklearn.metrics.log_loss`.
    So a predicted 0 costs at most 36 for each unit of d (16 in float32), and equal rows cost
    exactly 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        At least 0, which is best. It is not symmetric in d and p.

    References
    ----------
    S. Kullback, R. A. Leibler. "On Information and Sufficiency". Annals of Mathematical
    Statistics 22(1), 1951.

    Examples
    --------
    >>> from metricalign.metrics import kullback_leibler_loss
    >>> round(kullback_leibler_loss([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    0.367
    """
    floor = np.finfo(np.float32 if getattr(y_pred, "dtype", None) == np.float32 else float).eps
    true, predicted = _check_distributions(y_true, y_pred)
    logarithms = np.log(np.maximum(true, floor)) - np.log(np.maximum(predicted, floor))
    return weighted_mean((true * logarithms).sum(axis=1), sample_weight)


def cosine_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Cosine of the angle of d and p, d.p / (norm(d) norm(p)), mean over the samples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    score : float
        From 0 to 1, which is best.

    References
    ----------
    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, table 1.

    Examples
    --------
    >>> from metricalign.metrics import cosine_score
    >>> round(cosine_score([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    0.8528
    """
    true, predicted = _check_distributions(y_true, y_pred)
    # Rounding may put the cosine of orthogonal rows slightly below 0.
    cosines = np.maximum(1 - RELATIONS["cosine"].function(true, predicted), 0.0)
    return weighted_mean(cosines, sample_weight)


def intersection_score(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Mass that two label distributions share, sum min(d, p), mean over the samples.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    score : float
        From 0 to 1, which is best.

    References
    ----------
    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, table 1.

    Examples
    --------
    >>> from metricalign.metrics import intersection_score
    >>> round(intersection_score([[0.5, 0.5, 0.0]], [[0.2, 0.6, 0.2]]), 4)
    0.7
    """
    true, predicted = _check_distributions(y_true, y_pred)
    return weighted_mean(np.minimum(true, predicted).sum(axis=1), sample_weight)


def _check_distributions(y_true, y_pred):
    true, predicted = (
        check_matrix(y, name, dtype=np.float64, ensure_min_features=2)
        for name, y in (("y_true", y_true), ("y_pred", y_pred))
    )
    check_same_shape(true, predicted, "y_pred")
    for name, rows in (("y_true", true), ("y_pred", predicted)):
        if rows.min() < 0:
            row = int(np.flatnonzero(rows.min(axis=1) < 0)[0])
            raise ValueError(
                f"{name} must have no negative entries, but row {row} has {rows[row].min():g}."
            )
        if not sums_to_one(rows).all():
            sums = rows.sum(axis=1)
            row = int(abs(sums - 1).argmax())
            raise ValueError(
                f"{name} must have rows that sum to 1, but row {row} has the sum {sums[row]:g}."
            )
    return true, predicted
