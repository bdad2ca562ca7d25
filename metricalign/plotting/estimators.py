"""The metric learner of an estimator, which may be a pipeline, and the names of its features."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from metricalign._arrays import as_dense
from metricalign.learners.base import EmbeddingLearner, MetricLearner
from metricalign.learners.ensemble import MetricEnsemble

__all__ = [
    "euclidean_learner",
    "feature_names_of",
    "matrix_of_distance",
    "metric_learner_of",
    "prepared",
]


def metric_learner_of(
    estimator: Any, kind: type[EmbeddingLearner] = EmbeddingLearner
) -> EmbeddingLearner:
    """Find the metric learner of an estimator.

    Parameters
    ----------
    estimator : EmbeddingLearner or Pipeline
        Fitted metric learner, or a pipeline that ends in one.
    kind : type, default=EmbeddingLearner
        Required class of the metric learner: `MetricLearner` for a linear map, or
        `LinearMetricLearner` for a certificate.

    Returns
    -------
    learner : EmbeddingLearner
        The estimator itself, or its last step.

    Raises
    ------
    TypeError
        If the estimator is anything else.
    NotFittedError
        If the metric learner is not fitted.
    """
    is_pipeline = isinstance(estimator, Pipeline)
    steps = [step for _, step in estimator.steps] if is_pipeline else [estimator]
    learner = steps[-1]
    if not isinstance(learner, kind):
        found = type(estimator).__name__
        if is_pipeline:
            found += f" that ends in {learner!r}"
        places = [place for place, step in enumerate(steps) if isinstance(step, kind)]
        advice = f" Pass pipeline[:{places[-1] + 1}], which ends in one." if places else ""
        wanted = {
            EmbeddingLearner: "metric learner",
            MetricLearner: "linear metric learner",
        }.get(kind, "convex metric learner, with a duality gap,")
        raise TypeError(
            f"estimator must be a {wanted} of metricalign, or a Pipeline whose last step is one; "
            f"got {found}.{advice}"
        )
    check_is_fitted(learner)
    return learner


def prepared(estimator: Any, X: Any) -> Any:
    """Transform samples by the steps before the metric learner."""
    earlier = _earlier_steps(estimator)
    return X if earlier is None else earlier.transform(X)


def feature_names_of(estimator: Any, feature_names: ArrayLike | None = None) -> NDArray:
    """Names of the features of the metric learner of an estimator.

    Parameters
    ----------
    estimator : EmbeddingLearner or Pipeline
        See `metric_learner_of`.
    feature_names : array-like of str of shape (n_features,) or None, default=None
        Names that replace the names that the estimator knows.

    Returns
    -------
    feature_names : ndarray of str of shape (n_features,)

    Raises
    ------
    ValueError
        If there is not one name for each feature.
    """
    learner = metric_learner_of(estimator)
    n_features = learner.n_features_in_
    if feature_names is not None:
        names = np.asarray(feature_names, dtype=str)
        if names.shape != (n_features,):
            raise ValueError(
                f"feature_names must be {n_features} names, one for each feature that the metric "
                f"learner gets; got an array of shape {names.shape}."
            )
        return names
    if hasattr(learner, "feature_names_in_"):
        return np.asarray(learner.feature_names_in_, dtype=str)
    earlier = _earlier_steps(estimator)
    if earlier is not None and _knows_names(earlier):
        return np.asarray(earlier.get_feature_names_out(), dtype=str)
    return np.array([f"x{feature}" for feature in range(n_features)])


def euclidean_learner(learner: EmbeddingLearner) -> EmbeddingLearner:
    """Make a metric learner with Euclid's distance, to compare the learned distance with."""
    if isinstance(learner, MetricEnsemble):
        # Its Euclid's distance is that of the standardised columns, and not of their encoding.
        ensemble = copy(learner)
        ensemble.components_ = as_dense(learner.encoder_.linear_map_)
        return ensemble
    euclid = MetricLearner()
    for name in ("relation_", "n_features_in_", "feature_names_in_"):
        if hasattr(learner, name):
            setattr(euclid, name, getattr(learner, name))
    euclid.components_ = sparse.eye_array(learner.n_features_in_, format="csr")
    return euclid


def matrix_of_distance(learner: MetricLearner) -> NDArray | sparse.sparray:
    """Matrix of a learned distance. Unlike `get_mahalanobis_matrix`, it is sparse if diagonal."""
    return learner.components_.T @ learner.components_


def _earlier_steps(estimator):
    return estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator) > 1 else None


def _knows_names(pipeline):
    return all(
        step is None or isinstance(step, str) or hasattr(step, "get_feature_names_out")
        for _, step in pipeline.steps
    )
