"""Neighbours that vote."""

from metricalign.predictors.classifier import MetricNeighborsClassifier
from metricalign.predictors.regressor import MetricNeighborsRegressor

__all__ = ["MetricNeighborsClassifier", "MetricNeighborsRegressor"]
