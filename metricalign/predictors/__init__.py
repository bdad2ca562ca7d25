"""Neighbours that vote."""

from metricalign.predictors.metric_neighbors import (
    MetricNeighborsClassifier,
    MetricNeighborsRegressor,
)

__all__ = ["MetricNeighborsClassifier", "MetricNeighborsRegressor"]
