"""Scorers of the measures, for ``scoring`` of scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    hamming_loss,
    label_ranking_average_precision_score,
    label_ranking_loss,
    make_scorer,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import UNUSED

from metricalign._arrays import as_dense
from metricalign.learners.base import EmbeddingLearner
from metricalign.metrics.checks import check_label_scores
from metricalign.metrics.distributions import (
    canberra_loss,
    chebyshev_loss,
    clark_loss,
    cosine_score,
    intersection_score,
    kullback_leibler_loss,
)
from metricalign.metrics.label_sets import coverage_loss, one_error
from metricalign.metrics.neighbors import (
    mean_average_precision_score,
    neighbors_ndcg_score,
    pairwise_relations,
    precision_at_k_score,
)

__all__ = ["SCORERS", "LabelRankingScorer", "RetrievalScorer"]


class _EstimatorScorer(BaseEstimator):
    """Base class of scorers of fitted estimators. Sample weights can be routed to them."""

    # scikit-learn's metadata routing looks at this method. `estimator` is no metadata.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        raise NotImplementedError

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
    ) -> float:
        """Score a fitted estimator, as `score` does."""
        return self.score(estimator, X, y, sample_weight=sample_weight)


class LabelRankingScorer(_EstimatorScorer):
    """Scorer of a measure of the scores of labels.

    scikit-learn's own scorers take the last column of ``predict_proba`` of each label. If no
    training sample had the label, this is the probability of not having it, which is 1. This scorer
    takes 0 instead.

    Parameters
    ----------
    score_function : callable
        Called as ``score_function(y_true, y_score, sample_weight=...)``.
    greater_is_better : bool, default=True
        Whether a greater value is better. If not, the scorer returns the negative value.

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
        """Score a fitted estimator. A call of the scorer does the same.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels)
            Label sets as 0 and 1.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean.

        Returns
        -------
        score : float
            A greater score is better.
        """
        true, scores = check_label_scores(y, label_scores(estimator, X))
        value = self.score_function(true.astype(int), scores, sample_weight=sample_weight)
        return float(value) if self.greater_is_better else -float(value)


class RetrievalScorer(_EstimatorScorer):
    """Scorer of a measure of the neighbours that a learned metric finds.

    Parameters
    ----------
    score_function : callable
        Called as ``score_function(X, relations, sample_weight=..., **options)``.
    options : dict or None, default=None
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
        """Score a fitted estimator. A call of the scorer does the same.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean.

        Returns
        -------
        score : float
            A greater score is better.
        """
        if not hasattr(estimator, "transform"):
            raise TypeError(
                f"{type(estimator).__name__} has no transform: measures of neighbours are for "
                "metric learners, and for pipelines that end with one."
            )
        images = _images_to_compare(estimator, X)
        relations = pairwise_relations(y, _relation_of(estimator))
        options = self.options or {}
        return float(self.score_function(images, relations, sample_weight=sample_weight, **options))


def label_scores(estimator: Any, X: Any) -> Any:
    """Return scores of the labels, of shape (n_samples, n_labels), by the best available method."""
    if not hasattr(estimator, "predict_proba"):
        name = "decision_function" if hasattr(estimator, "decision_function") else "predict"
        return as_dense(getattr(estimator, name)(X))
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


def _images_to_compare(estimator, X):
    """Images of samples. A metric learner moves them to the origin, to keep their digits."""
    if hasattr(estimator, "best_estimator_"):
        return _images_to_compare(estimator.best_estimator_, X)
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return _images_to_compare(estimator[-1:], estimator[:-1].transform(X))
    learner = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    is_learner = isinstance(learner, EmbeddingLearner)
    return (learner._images_to_compare if is_learner else estimator.transform)(X)


def _relation_of(estimator):
    if hasattr(estimator, "best_estimator_"):
        return _relation_of(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return _relation_of(estimator[-1])
    return getattr(estimator, "relation_", "auto")


def _loss_scorer(function):
    return make_scorer(function, greater_is_better=False)


class _Scorers(Mapping):
    """Scorers by name. Each look-up returns a copy, since `set_score_request` changes a scorer."""

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

#: Scorers by name. Those of losses return the negative loss. ``scoring`` of scikit-learn's searches
#: takes one of them, or a dict of some.
SCORERS: Mapping[str, Any] = _Scorers(_SCORERS)
