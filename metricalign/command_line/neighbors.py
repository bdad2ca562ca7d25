"""Predictors in which the neighbours under one distance vote with equal weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from metricalign.learners.columns import column_map
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor
from metricalign.predictors.base import MetricNeighbors
from metricalign.predictors.explanation import Rows
from metricalign.predictors.search import NeighborSearch
from metricalign.predictors.votes import Neighborhood

__all__ = ["PlainNeighbors", "PlainNeighborsClassifier", "PlainNeighborsRegressor"]


class PlainNeighbors(MetricNeighbors):
    """Base of both predictors. No regression corrects the vote, and no rows are held out.

    Parameters
    ----------
    metric : Pipeline
        Maps rows of a table to images. The distance is Euclid's of the images.
    n_neighbors : int
        Number of neighbours that vote.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted metric.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each column in the squared distances of the training rows.
    """

    def __init__(self, metric: Pipeline, *, n_neighbors: int):
        self.metric = metric
        self.n_neighbors = n_neighbors

    def __sklearn_is_fitted__(self):
        return hasattr(self, "feature_importances_")

    def fit(self, X: Any, y: Any) -> Self:  # type: ignore[override]
        """Learn the metric, and keep the rows.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_features)
            Rows of a table.
        y : ndarray of shape (n_rows,) or (n_rows, n_targets)
            Their targets.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        self.pipeline_ = clone(self.metric)
        self._search = NeighborSearch(self.pipeline_.fit_transform(X, y))
        self._weight, self.samples_ = np.ones(len(y)), np.arange(len(y))
        self._targets = self._set_targets(y, self._weight, None)[1]
        self._predicted = np.zeros_like(self._targets)
        self._values = Rows(X).columns
        self.feature_importances_ = column_map(self.pipeline_).importances(X)
        return self

    def neighborhood(self, X: Any) -> Neighborhood:
        """Neighbours, and the mean of their targets.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_rows, n_features)
            Rows of a table.

        Returns
        -------
        neighborhood : Neighborhood
        """
        distances, rows = self._search.nearest(self._images_of(X)[0], self.n_neighbors)
        mean = self._targets[rows].mean(axis=1)
        weights, nothing = np.full(rows.shape, 1 / rows.shape[1]), np.zeros_like(mean)
        return Neighborhood(rows, distances, weights, mean, nothing, nothing, rows)

    def _bounded(self, targets):
        """The targets as they are: their mean is in their range."""
        return targets

    def _images_of(self, X):
        return self.pipeline_.transform(X), X, None


class PlainNeighborsClassifier(PlainNeighbors, MetricNeighborsClassifier):
    """Classes or label sets by the vote of the nearest rows."""

    def _probabilities(self, coordinates: NDArray) -> NDArray:
        """The votes as they are, as in scikit-learn's neighbours."""
        return coordinates


class PlainNeighborsRegressor(PlainNeighbors, MetricNeighborsRegressor):
    """Numbers or distributions by the mean of the nearest rows."""
