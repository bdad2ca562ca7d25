"""The samples of the fit of a predictor: those that were given, and the distinct ones of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length

from metricalign._arrays import as_dense, in_memory
from metricalign._estimator import check_sample_weight, require_samples
from metricalign.predictors.labels import has_label_sets
from metricalign.predictors.targets import check_predictable
from metricalign.predictors.training import dense_table, group_numbers

__all__ = ["DistinctSamples", "GivenSamples", "present_samples"]


class GivenSamples(NamedTuple):
    """Samples of positive weight, as they were given.

    Attributes
    ----------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The table.
    y : array-like, DataFrame or iterable
        Targets.
    weight : ndarray of shape (n_samples,) or None
        Weights. None if all are 1.
    groups : ndarray of int of shape (n_samples,) or None
        Number of the group of each sample.
    rows : ndarray of int of shape (n_samples,)
        Rows of the samples among all, with those of weight 0.
    n_rows : int
        Number of all of them.
    """

    X: Any
    y: Any
    weight: NDArray | None
    groups: NDArray | None
    rows: NDArray
    n_rows: int


class DistinctSamples(NamedTuple):
    """Distinct samples, sorted by their values.

    Attributes
    ----------
    places : ndarray of int of shape (n_samples,)
        Places of the samples among those that were given.
    X : ndarray or DataFrame of shape (n_samples, n_columns)
        The table, with dates and texts encoded.
    table : ndarray of shape (n_samples, n_standardized)
        Standardised columns.
    y : array-like or DataFrame
        Targets, in the form that a metric takes.
    targets : ndarray of shape (n_samples, n_outputs)
        Coordinates of the targets.
    weight : ndarray of shape (n_samples,)
        Weights, with mean 1.
    groups : ndarray of int of shape (n_samples,) or None
        Number of the group of each sample.
    relation : str
        Name of the relation of the targets.
    is_class : bool
        Whether the targets are classes.
    """

    places: NDArray
    X: Any
    table: NDArray
    y: Any
    targets: NDArray
    weight: NDArray
    groups: NDArray | None
    relation: str
    is_class: bool


def present_samples(
    predictor: Any, X: Any, y: Any, sample_weight: Any, groups: Any
) -> GivenSamples:
    """Load samples into memory, and leave out those of weight 0.

    Parameters
    ----------
    predictor : MetricNeighbors
        The predictor that is fitted.
    X, y, sample_weight, groups
        Arguments of its `fit`.

    Returns
    -------
    given : GivenSamples
        The samples of positive weight.

    Raises
    ------
    ValueError
        If an argument is not valid, or fewer than two samples are left.
    """
    X, y, weight = dense_table(X), in_memory(y), in_memory(sample_weight)
    require_samples(predictor, X, 2)
    groups = None if groups is None else group_numbers(in_memory(groups))
    check_consistent_length(X, y, groups)
    rows, n_rows = np.arange(len(X)), len(X)
    if weight is not None:
        weight = check_sample_weight(weight, X)
    if weight is not None and not weight.all():
        # Samples of weight 0 must decide nothing: what is free text, a class or a distribution.
        if not has_label_sets(y):
            check_predictable(y, is_regressor(predictor))  # whose messages name rows of all
        rows = np.flatnonzero(weight)
        X, y, weight = (_safe_indexing(values, rows) for values in (X, as_dense(y), weight))
        groups = None if groups is None else groups[rows]
        require_samples(predictor, X, 2)
    return GivenSamples(X, y, weight, groups, rows, n_rows)
