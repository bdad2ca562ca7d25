"""Measures of label sets that scikit-learn does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from metricalign.metrics.checks import check_label_scores, weighted_mean

__all__ = ["coverage_loss", "one_error"]


def one_error(
    y_true: ArrayLike | sparse.spmatrix | sparse.sparray,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the samples that do not have the label with the highest score.

    If several labels have the highest score, the sample counts with the share of them that it does
    not have, which is the expected error of a random choice. A sample without labels counts as 0,
    as in :func:`sklearn.metrics.label_ranking_loss`.

    Parameters
    ----------
    y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Label sets as 0 and 1.
    y_score : array-like of shape (n_samples, n_labels)
        Scores of the labels: probabilities or any other numbers.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, which is best, to 1.

    References
    ----------
    R. E. Schapire, Y. Singer. "BoosTexter: A Boosting-based System for Text Categorization".
    Machine Learning 39, 2000.

    Examples
    --------
    >>> from metricalign.metrics import one_error
    >>> one_error([[1, 0, 0], [0, 1, 1]], [[0.6, 0.3, 0.1], [0.7, 0.6, 0.5]])
    0.5
    >>> one_error([[1, 0, 0]], [[0.4, 0.4, 0.2]])
    0.5
    """
    true, scores = check_label_scores(y_true, y_score)
    is_best = scores == scores.max(axis=1, keepdims=True)
    errors = (is_best & ~true).sum(axis=1) / is_best.sum(axis=1)
    return weighted_mean(np.where(true.any(axis=1), errors, 0.0), sample_weight)


def coverage_loss(
    y_true: ArrayLike | sparse.spmatrix | sparse.sparray,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Number of steps down the ranking of the labels until all labels of a sample are covered.

    This is the worst rank of a label of the sample minus one, mean over the samples.
    :func:`sklearn.metrics.coverage_error` is the rank itself. Tied labels have the rank of the last
    of them. A sample without labels counts as 0.

    Parameters
    ----------
    y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Label sets as 0 and 1.
    y_score : array-like of shape (n_samples, n_labels)
        Scores of the labels: probabilities or any other numbers.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From the mean number of labels minus one, which is best, to n_labels - 1.

    References
    ----------
    R. E. Schapire, Y. Singer. "BoosTexter: A Boosting-based System for Text Categorization".
    Machine Learning 39, 2000.

    Examples
    --------
    >>> from metricalign.metrics import coverage_loss
    >>> coverage_loss([[1, 0, 0], [0, 1, 1]], [[0.6, 0.3, 0.1], [0.7, 0.6, 0.5]])
    1.0
    """
    true, scores = check_label_scores(y_true, y_score)
    worst = np.where(true, scores, np.inf).min(axis=1, keepdims=True)
    n_steps = np.where(true.any(axis=1), (scores >= worst).sum(axis=1) - 1.0, 0.0)
    return weighted_mean(n_steps, sample_weight)
