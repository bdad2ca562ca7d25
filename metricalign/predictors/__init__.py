"""Predictors: the neighbours under a learned metric vote for the target."""

from metricalign.predictors.classifier import MetricNeighborsClassifier
from metricalign.predictors.regressor import MetricNeighborsRegressor

__all__ = ["MetricNeighborsClassifier", "MetricNeighborsRegressor"]
