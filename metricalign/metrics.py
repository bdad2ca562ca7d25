"""How good are predicted label distributions, label sets, and a learned metric?

Label distributions, d the true and p the predicted row, mean over the samples. Both must be
rows of non-negative numbers with sum 1, which may be rounded to three decimals:

==========================  ==========================================  ==========  =======
function                    of one sample                               range       better
==========================  ==========================================  ==========  =======
`chebyshev_loss`            max abs(d - p)                              [0, 1]      lower
`clark_loss`                sqrt(sum (d - p)^2 / (d + p)^2)             [0, √q]     lower
`canberra_loss`             sum abs(d - p) / (d + p)                    [0, q]      lower
`kullback_leibler_loss`     sum d ln(d / p)                             [0, 36.1]   lower
`cosine_score`              d.p / (norm(d) norm(p))                     [0, 1]      higher
`intersection_score`        sum min(d, p)                               [0, 1]      higher
==========================  ==========================================  ==========  =======

Terms 0 / 0 of Clark and Canberra count 0, and terms with d = 0 of Kullback and Leibler. p is
clipped there at the machine epsilon of its dtype, as in :func:`sklearn.metrics.log_loss`.

Label sets are judged by scikit-learn's :func:`~sklearn.metrics.hamming_loss`,
:func:`~sklearn.metrics.label_ranking_loss` and
:func:`~sklearn.metrics.label_ranking_average_precision_score`, and here by `one_error` and
`coverage_loss`. Ties of scores count as errors in all but `one_error`, which has its
expectation under a random choice. A sample without labels counts 0 in the losses of rankings
and 1 in average precision, since no ranking could do better.

A metric is judged by the neighbours that it finds: `precision_at_k_score`,
`mean_average_precision_score` and `neighbors_ndcg_score` take transformed samples and the
matrix of the relations of all pairs (see `pairwise_relations`), so they need memory for the
square of the number of samples.

`SCORERS` has them all for ``scoring`` of scikit-learn's searches. As in scikit-learn, scorers
of losses return the negative loss. Give one, ``SCORERS["ndcg"]``, or a dict of those that suit the
estimator, as in the example, and then `refit` of a search names one of them: no estimator suits
all. The names are no strings for ``scoring``: ``scoring="average_precision"`` is scikit-learn's
mean over the labels, and ``SCORERS["average_precision"]`` is a mean over the samples.

============================  ====================================  ========================
name                          function                              needs of the estimator
============================  ====================================  ========================
``"chebyshev"``               `chebyshev_loss`                      ``predict``
``"clark"``                   `clark_loss`                          ``predict``
``"canberra"``                `canberra_loss`                       ``predict``
``"kullback_leibler"``        `kullback_leibler_loss`               ``predict``
``"cosine"``                  `cosine_score`                        ``predict``
``"intersection"``            `intersection_score`                  ``predict``
``"hamming"``                 scikit-learn's ``hamming_loss``       ``predict``
``"ranking"``                 ``label_ranking_loss``                scores of the labels
``"one_error"``               `one_error`                           scores of the labels
``"coverage"``                `coverage_loss`                       scores of the labels
``"average_precision"``       ``label_ranking_average_precision_``  scores of the labels
                              ``score``
``"precision_at_k"``          `precision_at_k_score`                ``transform``
``"mean_average_precision"``  `mean_average_precision_score`        ``transform``
``"ndcg"``                    `neighbors_ndcg_score`                ``transform``
============================  ====================================  ========================

Scores of the labels are ``predict_proba``, as one array or as a list of one array per label,
else ``decision_function``, else ``predict`` (a regressor's, of label indicators). Relations
are those that the estimator, or the last step of a pipeline, was fitted to (its
``relation_``), else ``relation="auto"`` of the targets.

Examples
--------
>>> from sklearn.datasets import make_multilabel_classification
>>> from sklearn.model_selection import cross_validate
>>> from sklearn.neighbors import KNeighborsClassifier
>>> from metricalign.metrics import SCORERS
>>> X, y = make_multilabel_classification(random_state=0)
>>> scoring = {name: SCORERS[name] for name in ("hamming", "one_error")}
>>> sorted(cross_validate(KNeighborsClassifier(), X, y, scoring=scoring))
['fit_time', 'score_time', 'test_hamming', 'test_one_error']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    hamming_loss,
    label_ranking_average_precision_score,
    label_ranking_loss,
    make_scorer,
    ndcg_score,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import _check_sample_weight

from metricalign.learners.base import EmbeddingLearner
from metricalign.relations import RELATIONS, TargetRelation, resolve_relation, sums_to_one

__all__ = [
    "SCORERS",
    "LabelRankingScorer",
    "RetrievalScorer",
    "canberra_loss",
    "chebyshev_loss",
    "clark_loss",
    "cosine_score",
    "coverage_loss",
    "intersection_score",
    "kullback_leibler_loss",
    "mean_average_precision_score",
    "neighbors_ndcg_score",
    "one_error",
    "pairwise_relations",
    "precision_at_k_score",
]


# Label distributions


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
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, the best, to 1.

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
    return _mean(RELATIONS["chebyshev"].function(true, predicted), sample_weight)


def clark_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Clark's distance, sqrt(sum (d - p)^2 / (d + p)^2), mean over the samples.

    Terms 0 / 0 count 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, the best, to the square root of n_labels.

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
    return _mean(RELATIONS["clark"].function(true, predicted), sample_weight)


def canberra_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Canberra distance, sum abs(d - p) / (d + p), mean over the samples.

    Terms 0 / 0 count 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, the best, to n_labels.

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
    return _mean(RELATIONS["canberra"].function(true, predicted), sample_weight)


def kullback_leibler_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Kullback-Leibler divergence, sum d ln(d / p), mean over the samples.

    Terms with d = 0 count 0. Both d and p are clipped from below, in the logarithm only, at
    the machine epsilon of the dtype of `y_pred`, as p is in :func:`sklearn.metrics.log_loss`:
    a predicted 0 costs at most 36 per unit of d (16 in float32), and equal rows have
    exactly 0.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        True distributions d, rows of non-negative numbers with sum 1.
    y_pred : array-like of shape (n_samples, n_labels)
        Predicted distributions p.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        0 is best. Not symmetric.

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
    return _mean((true * logarithms).sum(axis=1), sample_weight)


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
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    score : float
        From 0 to 1, the best.

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
    # Rounding puts orthogonal rows a little below 0.
    cosines = np.maximum(1 - RELATIONS["cosine"].function(true, predicted), 0.0)
    return _mean(cosines, sample_weight)


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
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    score : float
        From 0 to 1, the best.

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
    return _mean(np.minimum(true, predicted).sum(axis=1), sample_weight)


# Label sets


def one_error(
    y_true: ArrayLike | sparse.spmatrix | sparse.sparray,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the samples whose label of the highest score is not one of theirs.

    Of several labels with the highest score one is drawn: the share of them that are not the
    sample's counts, the expected error. A sample without labels counts 0, as in
    :func:`sklearn.metrics.label_ranking_loss`.

    Parameters
    ----------
    y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Label sets, as 0 and 1.
    y_score : array-like of shape (n_samples, n_labels)
        Scores of the labels: probabilities or any other numbers.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From 0, the best, to 1.

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
    true, scores = _check_label_scores(y_true, y_score)
    is_best = scores == scores.max(axis=1, keepdims=True)
    errors = (is_best & ~true).sum(axis=1) / is_best.sum(axis=1)
    return _mean(np.where(true.any(axis=1), errors, 0.0), sample_weight)


def coverage_loss(
    y_true: ArrayLike | sparse.spmatrix | sparse.sparray,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Steps down the ranking of the labels until all labels of the sample are covered.

    The worst rank of a label of the sample, minus one. :func:`sklearn.metrics.coverage_error`
    is the rank itself, whose best value depends on the data as well. Tied labels have the
    rank of the last of them. A sample without labels counts 0.

    Parameters
    ----------
    y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Label sets, as 0 and 1.
    y_score : array-like of shape (n_samples, n_labels)
        Scores of the labels: probabilities or any other numbers.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples in the mean.

    Returns
    -------
    loss : float
        From the mean number of labels minus one, the best, to n_labels - 1.

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
    true, scores = _check_label_scores(y_true, y_score)
    worst = np.where(true, scores, np.inf).min(axis=1, keepdims=True)
    n_steps = np.where(true.any(axis=1), (scores >= worst).sum(axis=1) - 1.0, 0.0)
    return _mean(n_steps, sample_weight)


# A learned metric


def pairwise_relations(y: Any, relation: str | Callable | TargetRelation = "auto") -> NDArray:
    """Relations of all pairs of samples, as the measures of a metric take them.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    relation : str, callable or TargetRelation, default="auto"
        A relation of `metricalign.relations`, or one fitted to other targets: the
        ``relation_`` of a learner.

    Returns
    -------
    relations : ndarray of shape (n_samples, n_samples)
        How different two targets are, symmetric.

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

    Each sample is a query to all others, by Euclid's distance. Of neighbours at the same
    distance, of which only some are among the k, the expected number counts that a random
    choice has.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples.
    relations : array-like of shape (n_samples, n_samples)
        How different the targets of two samples are; the diagonal is ignored.
    k : int, default=5
        Number of neighbours, less than n_samples.
    threshold : float, default=0.0
        Samples are related when their relation is at most this: the same class, or equal
        targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        From 0 to 1, the best.

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
    return _mean(found / k, sample_weight)


def mean_average_precision_score(
    X: ArrayLike,
    relations: ArrayLike,
    *,
    threshold: float = 0.0,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean over the samples of the average precision of all others, nearest first.

    Average precision is the mean, over the samples related to the query, of the share of
    related samples among those that are not farther: ties count together, as in
    :func:`sklearn.metrics.label_ranking_average_precision_score`. Queries to which none is
    related are left out.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples.
    relations : array-like of shape (n_samples, n_samples)
        How different the targets of two samples are; the diagonal is ignored.
    threshold : float, default=0.0
        Samples are related when their relation is at most this: the same class, or equal
        targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        From above 0 to 1, the best.

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
    related = relations <= _check_threshold(threshold)
    asked = related.any(axis=1)
    if not asked.any():
        raise ValueError(
            f"No two samples are related: every relation is above threshold={threshold:g}."
        )
    precisions = np.empty(asked.sum())
    for row, (distance, is_related) in enumerate(
        zip(distances[asked], related[asked], strict=True)
    ):
        everyone, hits = np.sort(distance), np.sort(distance[is_related])
        precisions[row] = np.mean(
            np.searchsorted(hits, hits, side="right")
            / np.searchsorted(everyone, hits, side="right")
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, distances)[asked]
    return _mean(precisions, sample_weight)


def neighbors_ndcg_score(
    X: ArrayLike,
    relations: ArrayLike,
    *,
    k: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Normalized discounted cumulative gain of the neighbours under graded relations.

    Each sample is a query to all others, by Euclid's distance. The gain of finding another at
    rank r is (largest relation - relation) / log2(r + 1), summed over the k nearest, as a
    share of that of the best order. Ties share the mean of their gains, as in
    :func:`sklearn.metrics.ndcg_score`, which this is. A query whose relations are all the
    largest has nothing to gain and counts 0.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)
        Transformed samples, at least three.
    relations : array-like of shape (n_samples, n_samples)
        How different the targets of two samples are; the diagonal is ignored.
    k : int, default=None
        Number of neighbours; all if None.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the queries in the mean.

    Returns
    -------
    score : float
        From 0 to 1, the best.

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
        sample_weight = _check_weights(sample_weight, distances)
    gains = differences.max() - differences
    return float(ndcg_score(gains, -distances, k=k, sample_weight=sample_weight))


# Scorers


class _EstimatorScorer(BaseEstimator):
    """A scorer of whole estimators, which sample weights can be routed to."""

    # The method that scikit-learn's metadata routing asks; `estimator` is not metadata.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        raise NotImplementedError

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        """Judge a fitted estimator, as `score` does."""
        return self.score(estimator, X, y, sample_weight=sample_weight)


class LabelRankingScorer(_EstimatorScorer):
    """A measure of scores of labels, for ``scoring`` of scikit-learn's searches.

    scikit-learn's own scorers take the last column of each label's ``predict_proba``, which is
    the probability of having the label only if the training samples had both: a label that
    none of them had gets 1. Here it gets 0.

    Parameters
    ----------
    score_function : callable
        Called as ``score_function(y_true, y_score, sample_weight=...)``.
    greater_is_better : bool, default=True
        Whether the measure is a score; if not, the scorer returns its negative.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from metricalign.metrics import LabelRankingScorer, one_error
    >>> X, y = make_multilabel_classification(random_state=0)
    >>> scorer = LabelRankingScorer(one_error, greater_is_better=False)
    >>> round(scorer(KNeighborsClassifier().fit(X, y), X, y), 2)
    -0.05
    """

    def __init__(self, score_function: Callable[..., float], greater_is_better: bool = True):
        self.score_function = score_function
        self.greater_is_better = greater_is_better

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        """Judge a fitted estimator; calling the scorer is the same.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels)
            Label sets, as 0 and 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the mean.

        Returns
        -------
        score : float
            The greater the better.
        """
        true, scores = _check_label_scores(y, _label_scores(estimator, X))
        value = self.score_function(true.astype(int), scores, sample_weight=sample_weight)
        return float(value) if self.greater_is_better else -float(value)


class RetrievalScorer(_EstimatorScorer):
    """A measure of neighbours on a learned metric, for ``scoring`` of scikit-learn's searches.

    Parameters
    ----------
    score_function : callable
        Called as ``score_function(X, relations, sample_weight=..., **options)``.
    options : dict, default=None
        Further arguments of the function, such as ``{"k": 10}``.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metricalign.metrics import RetrievalScorer, precision_at_k_score
    >>> X, y = load_wine(return_X_y=True)
    >>> scorer = RetrievalScorer(precision_at_k_score, {"k": 3})
    >>> scores = cross_val_score(StandardScaler(), X, y, cv=2, scoring=scorer)
    >>> round(float(scores.mean()), 1)
    1.0
    """

    def __init__(self, score_function: Callable[..., float], options: dict[str, Any] | None = None):
        self.score_function = score_function
        self.options = options

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        """Judge a fitted estimator; calling the scorer is the same.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the mean.

        Returns
        -------
        score : float
            The greater the better.
        """
        if not hasattr(estimator, "transform"):
            raise TypeError(
                f"{type(estimator).__name__} has no transform: measures of neighbours are for "
                "metric learners, and for pipelines that end with one."
            )
        is_learner = isinstance(estimator, EmbeddingLearner)
        images = (estimator._images_to_compare if is_learner else estimator.transform)(X)
        relations = pairwise_relations(y, _relation_of(estimator))
        options = self.options or {}
        return float(self.score_function(images, relations, sample_weight=sample_weight, **options))


def _label_scores(estimator, X):
    """Return scores of shape (n_samples, n_labels) of whatever the estimator has."""
    if not hasattr(estimator, "predict_proba"):
        name = "decision_function" if hasattr(estimator, "decision_function") else "predict"
        scores = getattr(estimator, name)(X)
        return scores.toarray() if sparse.issparse(scores) else scores
    probabilities = estimator.predict_proba(X)
    if not isinstance(probabilities, list):
        if sparse.issparse(probabilities):
            probabilities = probabilities.toarray()
        return probabilities
    classes = getattr(estimator, "classes_", [[0, 1]] * len(probabilities))
    scores = np.zeros((len(probabilities[0]), len(probabilities)))
    for label, (probability, values) in enumerate(zip(probabilities, classes, strict=True)):
        if probability.shape[1] != len(values):
            raise ValueError(
                f"predict_proba has {probability.shape[1]} column(s) for label {label}, which "
                f"has the classes {list(values)!r}."
            )
        scores[:, label] = probability[:, np.asarray(values) == 1].sum(axis=1)
    return scores


def _relation_of(estimator):
    if hasattr(estimator, "best_estimator_"):
        return _relation_of(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return _relation_of(estimator[-1])
    return getattr(estimator, "relation_", "auto")


def _loss_scorer(function):
    return make_scorer(function, greater_is_better=False)


class _Scorers(Mapping):
    """Scorers by name. Each look-up is a copy, as `set_score_request` changes a scorer."""

    def __init__(self, scorers: dict[str, Callable[..., float]]):
        self._scorers = scorers

    def __getitem__(self, name: str) -> Any:
        return deepcopy(self._scorers[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._scorers)

    def __len__(self) -> int:
        return len(self._scorers)

    def __repr__(self) -> str:
        return repr(self._scorers)


_SCORERS: dict[str, Callable[..., float]] = {
    "chebyshev": _loss_scorer(chebyshev_loss),
    "clark": _loss_scorer(clark_loss),
    "canberra": _loss_scorer(canberra_loss),
    "kullback_leibler": _loss_scorer(kullback_leibler_loss),
    "cosine": make_scorer(cosine_score),
    "intersection": make_scorer(intersection_score),
    "hamming": _loss_scorer(hamming_loss),
    "ranking": LabelRankingScorer(label_ranking_loss, greater_is_better=False),
    "one_error": LabelRankingScorer(one_error, greater_is_better=False),
    "coverage": LabelRankingScorer(coverage_loss, greater_is_better=False),
    "average_precision": LabelRankingScorer(label_ranking_average_precision_score),
    "precision_at_k": RetrievalScorer(precision_at_k_score),
    "mean_average_precision": RetrievalScorer(mean_average_precision_score),
    "ndcg": RetrievalScorer(neighbors_ndcg_score),
}

#: Scorers by name; those of losses are negated. ``scoring`` of scikit-learn's searches takes one of
#: them, or a dict of some.
SCORERS: Mapping[str, Any] = _Scorers(_SCORERS)


# Checks


def _check_distributions(y_true, y_pred):
    true, predicted = (
        check_array(y, input_name=name, dtype=np.float64, ensure_min_features=2)
        for name, y in (("y_true", y_true), ("y_pred", y_pred))
    )
    _check_same_shape(true, predicted, "y_pred")
    for name, rows in (("y_true", true), ("y_pred", predicted)):
        if rows.min() < 0:
            row = int(np.flatnonzero(rows.min(axis=1) < 0)[0])
            raise ValueError(f"{name} has a negative entry, {rows[row].min():g}, in row {row}.")
        if not sums_to_one(rows).all():
            sums = rows.sum(axis=1)
            row = int(abs(sums - 1).argmax())
            raise ValueError(
                f"{name} must have rows that sum to 1, but row {row} has the sum {sums[row]:g}."
            )
    return true, predicted


def _check_label_scores(y_true, y_score):
    true = check_array(y_true, input_name="y_true", accept_sparse="csr", ensure_min_features=2)
    if sparse.issparse(true):
        true = true.toarray()
    if not np.isin(true, (0, 1)).all():
        raise ValueError("y_true must be label sets, columns of 0 and 1.")
    scores = check_array(y_score, input_name="y_score", dtype=[np.float64, np.float32])
    _check_same_shape(true, scores, "y_score")
    return true.astype(bool), scores


def _check_same_shape(true, predicted, name):
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_true and {name} must have the same shape, got {true.shape} and {predicted.shape}."
        )


def _check_retrieval(X, relations):
    """Return distances and relations of each sample to the others, the diagonal left out."""
    X = check_array(X, input_name="X", dtype=np.float64, ensure_min_samples=2)
    relations = check_array(
        relations, input_name="relations", dtype=np.float64, ensure_all_finite=False
    )
    n_samples = len(X)
    if relations.shape != (n_samples, n_samples):
        raise ValueError(
            f"relations must be of shape (n_samples, n_samples) = {(n_samples, n_samples)}, got "
            f"{relations.shape}."
        )
    others = ~np.eye(n_samples, dtype=bool)
    relations = relations[others].reshape(n_samples, n_samples - 1)
    if not np.isfinite(relations).all():
        raise ValueError("relations has a NaN or infinite entry off its diagonal.")
    return cdist(X, X)[others].reshape(n_samples, n_samples - 1), relations


def _check_threshold(threshold):
    if not isinstance(threshold, Real) or np.isnan(float(threshold)):
        raise ValueError(f"threshold must be a number, got {threshold!r}.")
    return threshold


def _check_weights(sample_weight, values):
    weights = _check_sample_weight(sample_weight, values, dtype=np.float64)
    if weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("sample_weight must be non-negative, and not all 0.")
    return weights


def _mean(values, sample_weight) -> float:
    if sample_weight is None:
        return float(values.mean())
    return float(np.average(values, weights=_check_weights(sample_weight, values)))
