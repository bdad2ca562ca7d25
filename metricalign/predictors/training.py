"""A metric and regressions, fitted to all samples and to those outside each fold."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, column_or_1d
from sklearn.utils.validation import has_fit_parameter

from metricalign._arrays import as_dense, find_missing, in_memory
from metricalign._estimator import refuse_masked
from metricalign.features import PiecewiseLinearEncoder
from metricalign.pairs.search import middle_of
from metricalign.predictors.regressions import KernelRidge
from metricalign.predictors.search import NeighborSearch

__all__ = [
    "Fitted",
    "HeldOut",
    "MetricToFit",
    "Training",
    "dense_table",
    "folds_of",
    "group_numbers",
    "held_out",
    "images_near_origin",
]

# Largest number of held-out samples whose neighbours are searched to choose the votes.
_MOST_JUDGED = 2000


class Fitted(NamedTuple):
    """A fitted metric, the transformed training samples, and their regressions.

    Attributes
    ----------
    metric : object
        The fitted metric, or the table of standardised columns.
    origin : ndarray of shape (n_components,)
        Subtracted from all images, so that they are near the origin.
    images : ndarray of float32 of shape (n_samples, n_components)
        Images of the training samples.
    scale : float
        Mean distance of the images.
    ridge : KernelRidge
        Regressions of the targets on the images.
    """

    metric: Any
    origin: NDArray
    images: NDArray
    scale: float
    ridge: KernelRidge


class MetricToFit(NamedTuple):
    """A metric that is not fitted yet, and all samples in the form that it takes.

    Attributes
    ----------
    metric : object
        The unfitted estimator. For Euclid's distance it is the encoder of the table.
    X, y : array-like or DataFrame
        Samples and targets.
    """

    metric: Any
    X: Any
    y: Any


class Training(NamedTuple):
    """Distinct samples, sorted by their values, and the metrics that are fitted to them.

    Attributes
    ----------
    of_all, of_folds : MetricToFit
        Metrics that are fitted to all samples, and to those outside a fold.
    table : ndarray of shape (n_samples, n_columns)
        Standardised columns.
    targets : ndarray of shape (n_samples, n_outputs)
        Coordinates of the targets.
    weight : ndarray of shape (n_samples,)
        Weights, with mean 1.
    euclid : PiecewiseLinearEncoder
        The encoder that made the table.
    ridge : type of KernelRidge
        The regressions under the metric.
    random_state : int
        Seed of the landmarks, and of the held-out samples whose neighbours are searched.
    """

    of_all: MetricToFit
    of_folds: MetricToFit
    table: NDArray
    targets: NDArray
    weight: NDArray
    euclid: PiecewiseLinearEncoder
    ridge: type[KernelRidge]
    random_state: int

    def fit(self, wanted: MetricToFit, rows: NDArray) -> Fitted:
        """Fit a metric and the regressions to some of the samples.

        Parameters
        ----------
        wanted : MetricToFit
            `of_all` or `of_folds`.
        rows : ndarray of int of shape (n_rows,)
            The samples to fit to.

        Returns
        -------
        fitted : Fitted
            The fitted metric and regressions.
        """
        metric, images = wanted.metric, self.table[rows]
        # With few samples, all targets outside a fold may be the same. Then nothing can be learned.
        if not np.ptp(self.targets[rows], axis=0).any():
            metric = self.euclid
        if metric is not self.euclid:
            metric = clone(metric)
            X, y = _safe_indexing(wanted.X, rows), _safe_indexing(wanted.y, rows)
            images = metric.fit(X, y, **_weight_for(metric, self.weight[rows])).transform(X)
        images = np.asarray(as_dense(images))
        origin = middle_of(images)
        images = images_near_origin(images, origin)
        ridge = self.ridge()
        ridge.fit(images, self.targets[rows], self.weight[rows], self.random_state)
        return Fitted(metric, origin, images, ridge.scale_, ridge)


def group_numbers(groups: Any) -> NDArray:
    """Number the groups in the order of their names.

    Parameters
    ----------
    groups : array-like of shape (n_samples,)
        Group of each sample.

    Returns
    -------
    numbers : ndarray of int of shape (n_samples,)
        Number of the group of each sample.

    Raises
    ------
    ValueError
        If `groups` is not one column, if a group is missing or masked, or if there are numbers and
        strings.
    """
    refuse_masked(groups, "groups")
    groups = np.asarray(column_or_1d(groups))
    if find_missing(groups).any():
        raise ValueError(
            "groups has missing values. Give every sample a group, those of no group one each."
        )
    try:
        numbers: NDArray = np.unique(groups, return_inverse=True)[1]
    except TypeError:
        raise ValueError("groups must be all numbers or all strings.") from None
    return numbers


def folds_of(training: Training, n_folds: int, is_class: bool, groups: NDArray | None) -> list:
    """Split the samples into the folds by which regressions are weighed and votes are chosen.

    Parameters
    ----------
    training : Training
        The samples.
    n_folds : int
        The largest number of folds.
    is_class : bool
        Whether targets are classes. Then all folds have about the same share of each class.
    groups : ndarray of int of shape (n_samples,) or None
        Groups. All samples of a group are in the same fold.

    Returns
    -------
    folds : list of tuple (train, test)
        Rows of the samples outside each fold, and in it. Without folds, there are too few samples.
    """
    n_units = len(training.weight) // 2 if groups is None else len(np.unique(groups))
    n_folds = min(n_folds, n_units)
    if n_folds < 2:
        return []
    options: Any = {"n_splits": n_folds, "shuffle": True, "random_state": 0}
    classes = training.targets.argmax(axis=1)
    is_stratified = is_class and np.bincount(classes).max() >= n_folds
    if groups is not None:
        splitter = (StratifiedGroupKFold if is_stratified else GroupKFold)(**options)
    else:
        splitter = (StratifiedKFold if is_stratified else KFold)(**options)
    if is_stratified:
        # Classes of fewer samples than folds cannot be in all of them.
        few = np.bincount(classes)[classes] < n_folds
        classes = np.where(few, -1, classes)
        if 0 < few.sum() < n_folds:
            classes[few] = np.bincount(classes[~few]).argmax()
    return list(splitter.split(training.table, classes, groups))


class HeldOut(NamedTuple):
    """Neighbours and predictions of the samples of a fold, found among those outside it.

    Attributes
    ----------
    judged : ndarray of int of shape (n_judged,)
        Samples of the fold whose neighbours were searched, as rows of all samples.
    indices, distances : ndarray of shape (n_judged, n_neighbors)
        Their neighbours outside the fold, as rows of all samples, and the distances of these, in
        mean distances.
    predicted : ndarray of shape (n_test, n_penalties, n_outputs)
        Predictions of all samples of the fold by kernel ridge regressions.
    """

    judged: NDArray
    indices: NDArray
    distances: NDArray
    predicted: NDArray


def held_out(training: Training, fold: tuple[NDArray, NDArray], n_neighbors: int) -> HeldOut:
    """Fit to the samples outside a fold, and find neighbours and predictions of those inside.

    Parameters
    ----------
    training : Training
        All samples.
    fold : tuple (train, test) of ndarrays of int
        Rows of the samples outside the fold, and of those in it.
    n_neighbors : int
        Largest number of neighbours.

    Returns
    -------
    held_out : HeldOut
        The neighbours and predictions.
    """
    train, test = fold
    with warnings.catch_warnings():
        # The user need not know what is missing in a part of the samples.
        for category in (UserWarning, FitFailedWarning):
            warnings.simplefilter("ignore", category)
        fitted = training.fit(training.of_folds, train)
        images = training.table[test]
        if fitted.metric is not training.euclid:
            images = fitted.metric.transform(_safe_indexing(training.of_folds.X, test))
    images = images_near_origin(images, fitted.origin)
    judged = np.random.RandomState(training.random_state).permutation(len(test))[:_MOST_JUDGED]
    search = NeighborSearch(fitted.images, n_queries=len(judged))
    distances, indices = search.nearest(images[judged], n_neighbors)
    predicted = fitted.ridge.predict(images)
    return HeldOut(test[judged], train[indices], distances / fitted.scale, predicted)


def _weight_for(metric, weight) -> dict[str, NDArray]:
    """Return sample weights as an argument of fit, if the metric or its last step takes them."""
    name, last = metric.steps[-1] if isinstance(metric, Pipeline) else ("", metric)
    if not has_fit_parameter(last, "sample_weight"):
        return {}
    if not name:
        return {"sample_weight": weight}
    # With metadata routing, a pipeline refuses arguments in this form.
    return {} if get_config()["enable_metadata_routing"] else {f"{name}__sample_weight": weight}


def dense_table(X: Any) -> Any:
    """Turn samples into a dense table in memory whose rows can be indexed.

    Parameters
    ----------
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Samples. X may be a Dask array.

    Returns
    -------
    table : ndarray or DataFrame of shape (n_samples, n_features)
        The samples in memory.

    Raises
    ------
    ValueError
        If X has one dimension.
    """
    X = as_dense(in_memory(X))
    if getattr(X, "ndim", 2) == 1:
        raise ValueError(
            "Expected 2D array, got 1D array instead: X must have a row for each sample. "
            "Reshape your data: X.reshape(1, -1) if it is a single sample."
        )
    return X if hasattr(X, "__getitem__") else np.asarray(X)


def images_near_origin(images: Any, origin: NDArray) -> NDArray:
    """Move images near the origin, where single precision is enough for the search.

    Parameters
    ----------
    images : {array-like, sparse matrix} of shape (n_samples, n_components)
        Images of a metric.
    origin : ndarray of shape (n_components,)
        What is subtracted from each image.

    Returns
    -------
    images : ndarray of float32 of shape (n_samples, n_components)
        The moved images.

    Raises
    ------
    ValueError
        If a value is not finite in single precision.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        images = np.ascontiguousarray(np.asarray(as_dense(images)) - origin, dtype=np.float32)
    if not np.isfinite(images).all():
        raise ValueError(
            "The metric gives images with NaN, infinity or a value too large for dtype('float32'). "
            "Fill missing values before it, or scale its images."
        )
    return images
