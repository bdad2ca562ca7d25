"""Predictors by the neighbours of a learned metric, whose targets are corrected and vote."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import _safe_indexing, check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from metricalign._arrays import in_memory, is_of_dask, map_samples, named_columns, one_sample
from metricalign._decorators import _fit_context
from metricalign._estimator import SavedWithVersion, check_sample_weight, keeps_last_fit
from metricalign.features import DateTextEncoder, PiecewiseLinearEncoder
from metricalign.learners.columns import column_map
from metricalign.learners.components import _dense
from metricalign.learners.ensemble import MetricEnsemble
from metricalign.pairs.identical import merge_identical_samples, order_keys
from metricalign.pairs.search import middle_of
from metricalign.predictors.explanation import Explanation, Rows, explanation_of
from metricalign.predictors.labels import label_indicators
from metricalign.predictors.regressions import KernelRidge, mean_distance, tree_regressions
from metricalign.predictors.search import nearest
from metricalign.predictors.targets import check_predictable
from metricalign.predictors.votes import NEAREST, best_votes, simplex_weights, weighted_means
from metricalign.relations import sums_to_one

__all__ = ["MetricNeighborsClassifier", "MetricNeighborsRegressor", "Neighborhood"]

# Of so many distinct samples on, two folds in place of `n_folds`: they say as much, in less time.
_FEW_SAMPLES = 2000
# Held-out samples, at most, whose neighbours are looked at to choose the votes.
_MOST_JUDGED = 4000


class Neighborhood(NamedTuple):
    """Neighbours of samples, and what each has to do with the prediction.

    The prediction is ``neighbors_part + correction``, in the coordinates of the targets: one column
    per class or label, or the numbers.

    Attributes
    ----------
    indices : ndarray of int of shape (n_samples, n_neighbors)
        Neighbours, as rows of the training samples, the nearest first.
    distances : ndarray of shape (n_samples, n_neighbors)
        Their distances.
    weights : ndarray of shape (n_samples, n_neighbors)
        Weights of their votes, with sum 1.
    neighbors_part : ndarray of shape (n_samples, n_columns)
        Weighted mean of the targets of the neighbours.
    correction : ndarray of shape (n_samples, n_columns)
        What is added, because regressions predict other targets for the sample than for its
        neighbours.
    predicted : ndarray of shape (n_samples, n_columns)
        What the regressions predict for the sample.
    places : ndarray of int of shape (n_samples, n_neighbors)
        The neighbours among the distinct training samples, `samples_`.
    """

    indices: NDArray
    distances: NDArray
    weights: NDArray
    neighbors_part: NDArray
    correction: NDArray
    predicted: NDArray
    places: NDArray


class _MetricNeighbors(SavedWithVersion):
    """What both predictors have in common; a subclass says what targets are in coordinates."""

    _parameter_constraints: ClassVar[dict] = {
        "metric": [StrOptions({"ensemble", "euclidean"}), HasMethods(["fit", "transform"])],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "trees": ["boolean"],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        metric: Any = "ensemble",
        *,
        n_neighbors: int = 100,
        trees: bool = True,
        n_folds: int = 3,
        n_jobs: int | None = None,
        random_state: Any = None,
    ):
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.trees = trees
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "votes_")

    def _set_targets(self, y, weight, classes) -> tuple[Any, NDArray, str, bool]:
        """Targets, their coordinates, the name of their relation, and whether they are classes."""
        raise NotImplementedError

    def _further_targets(self, y) -> NDArray:
        """Coordinates of targets that come after those of the fit."""
        raise NotImplementedError

    def _decoded(self, coordinates) -> Any:
        """Targets of coordinates."""
        raise NotImplementedError

    def _in_units(self, neighborhood) -> tuple[Any, Any]:
        """Votes and prediction of the first sample: probabilities, or numbers in their units."""
        raise NotImplementedError

    def _names_of_outputs(self) -> list[str] | None:
        """Names of the columns of the targets, if they have names."""
        raise NotImplementedError

    def _is_other(self, coordinates, before) -> NDArray:
        """Whether targets clearly differ from the prediction of one sample."""
        raise NotImplementedError

    def _is_changed(self, after, before, goal) -> NDArray:
        """Whether predictions have changed from that of a sample towards another one."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn the metric, and how the neighbours vote.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. Values may be missing. Those of Dask come into memory.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or iterable of iterables
            Their targets. Classifier: classes, a column for each label, or the set of labels of
            each sample. Regressor: numbers, or the shares of a distribution.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight 2 is the same as having the sample twice, weight 0 as not having it.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups, such as the person that a sample is of, which folds do not part: for
            predictions of samples of other groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid.
        ImportError
            If X has dates or free texts, and skrub is not installed.
        """
        return self._fit(X, y, sample_weight, groups)

    @keeps_last_fit
    def _fit(self, X, y, sample_weight=None, groups=None, classes=None) -> Self:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        given, y = _table(X), in_memory(y)
        sample_weight, groups = in_memory(sample_weight), in_memory(groups)
        columns, table = DateTextEncoder(), PiecewiseLinearEncoder(n_bins=1)
        present = given
        if sample_weight is not None:
            # What a free text is must not depend on samples that are as good as absent.
            sample_weight = check_sample_weight(sample_weight, given)
            present = _safe_indexing(given, np.flatnonzero(sample_weight))
        X = columns.fit(present).transform(given)
        Z = table.fit(X, sample_weight=sample_weight).transform(X)
        validate_data(self, given, skip_check_array=True)
        check_consistent_length(Z, y, groups)
        weight = check_sample_weight(sample_weight, Z)
        y, targets, relation, is_class = self._set_targets(y, weight, classes)
        # The result must not depend on the order of the samples, nor on whether they are repeated.
        rows, weight = merge_identical_samples(Z, targets, weight)
        order = np.lexsort([order_keys(targets[rows]), order_keys(Z[rows])])
        self._n_given, self._weight_unit = len(Z), weight.mean()
        rows, weight = rows[order], weight[order] / self._weight_unit
        # A metric of one's own prepares the columns itself.
        X = X if isinstance(self.metric, str) else given
        random_state = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        training = _Training(
            _safe_indexing(X, rows),
            _safe_indexing(y, rows),
            Z[rows],
            targets[rows],
            weight,
            self._resolve_metric(table, relation),
            table,
            random_state,
        )
        groups = None if groups is None else np.asarray(groups)[rows]
        folds = self._folds(training, is_class, groups)
        trees = tree_regressions(targets, is_class) if self.trees and folds else []
        arguments = training.table, training.targets, weight, folds, random_state
        fitted, *others = Parallel(n_jobs=self.n_jobs)(
            [
                delayed(training.fit)(np.arange(len(rows))),
                *(delayed(tree.fit)(*arguments) for tree in trees),
                *(delayed(_held_out)(training, fold, self.n_neighbors) for fold in folds),
            ]
        )
        self.columns_, self.table_, self.metric_ = columns, table, fitted.metric
        steps = [("columns", columns)] if isinstance(self.metric, str) else []
        self.pipeline_ = Pipeline([*steps, ("metric", fitted.metric)])
        self.scale_, self._ridge, self._trees = fitted.scale, fitted.ridge, others[: len(trees)]
        self._images, self._origin, self.samples_ = fitted.images, fitted.origin, rows
        self._weight, self._targets = weight, training.targets
        self._values = [column[rows] for column in Rows(given).columns]
        try:
            of_columns = column_map(self.pipeline_)
        except TypeError:
            pass  # The metric is no sum over columns.
        else:
            self.feature_importances_ = of_columns.importances(given, sample_weight)
        self._choose_votes(folds, others[len(trees) :])
        return self

    def _add(self, X, y, sample_weight) -> None:
        """Take further samples among those that neighbours are searched in."""
        given, y = _table(X), in_memory(y)
        images, table = self._images_of(given)
        targets = self._further_targets(y)
        check_consistent_length(table, targets)
        weight = check_sample_weight(in_memory(sample_weight), table)
        rows, weight = merge_identical_samples(table, targets, weight)
        images, targets = images[rows], targets[rows]
        columns = Rows(given).columns
        # All in one step, so that an interruption leaves no mixture.
        self.__dict__ |= {
            "_images": np.concatenate([self._images, images]),
            "_targets": np.concatenate([self._targets, targets]),
            # By regressions that have not seen these samples, as is the case for all others.
            "_predicted": np.concatenate([self._predicted, self._regression(images, table[rows])]),
            "_weight": np.concatenate([self._weight, weight / self._weight_unit]),
            "_values": [
                np.concatenate([values, column[rows]])
                for values, column in zip(self._values, columns, strict=True)
            ],
            "samples_": np.concatenate([self.samples_, self._n_given + rows]),
            "_n_given": self._n_given + len(table),
        }

    def _resolve_metric(self, table, relation):
        """An estimator to fit, or the table of standardised columns, which is fitted."""
        if isinstance(self.metric, str) and self.metric == "euclidean":
            return table
        if isinstance(self.metric, str):
            return MetricEnsemble(relation=relation, random_state=self.random_state)
        return self.metric

    def _folds(self, training, is_class, groups) -> list:
        n_units = len(training.weight) // 2 if groups is None else len(np.unique(groups))
        n_folds = min(self.n_folds, n_units)
        if len(training.weight) > _FEW_SAMPLES:
            n_folds = min(2, n_folds)
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

    def _choose_votes(self, folds, parts) -> None:
        """Weights of the regressions, and the votes, by the squared error in held-out folds."""
        n_samples, n_outputs = self._targets.shape
        self._predicted = np.zeros((n_samples, n_outputs))
        self.votes_, self.regression_weights_ = [NEAREST], np.zeros(0)
        if not parts:
            return
        of_ridge = np.empty((n_samples, parts[0].predicted.shape[1], n_outputs))
        for (_, test), part in zip(folds, parts, strict=True):
            of_ridge[test] = part.predicted
        predicted = np.stack(
            [*np.moveaxis(of_ridge, 1, 0), *(tree.held_out_ for tree in self._trees)], axis=1
        )
        self.regression_weights_ = simplex_weights(predicted, self._targets, self._weight)
        self._predicted = np.einsum("ijk,j->ik", predicted, self.regression_weights_)
        n_neighbors = min(part.indices.shape[1] for part in parts)
        self.votes_ = best_votes(
            np.concatenate([part.distances[:, :n_neighbors] for part in parts]),
            np.concatenate([part.indices[:, :n_neighbors] for part in parts]),
            np.concatenate([part.judged for part in parts]),
            self._targets,
            self._predicted,
            self._weight,
            self._bounded,
        )

    def _regression(self, images, table) -> NDArray:
        """The mean of the regressions, in coordinates of the targets."""
        weights = self.regression_weights_
        predicted = np.zeros((len(images), self._targets.shape[1]))
        if not len(weights):
            return predicted
        n_ridges = len(weights) - len(self._trees)
        if weights[:n_ridges].any():
            predicted += np.einsum("ijk,j->ik", self._ridge.predict(images), weights[:n_ridges])
        for tree, weight in zip(self._trees, weights[n_ridges:], strict=True):
            if weight > 0:
                predicted += weight * tree.predict(table)
        return predicted

    def _bounded(self, targets):
        """The nearest possible targets, in coordinates."""
        return targets

    def _predict(self, X, predict) -> Any:
        """What `predict` makes of coordinates of the targets, lazily if X is of Dask."""
        check_is_fitted(self)
        if not is_of_dask(X):
            return predict(self._coordinates(X))
        validate_data(self, named_columns(X), reset=False, skip_check_array=True)
        example = _as_array(predict(np.empty((0, self._targets.shape[1]))))
        return map_samples(partial(_predictions, predictor=self, predict=predict), X, example)

    def _coordinates(self, X) -> NDArray:
        """Prediction in coordinates of the targets."""
        neighborhood = self.neighborhood(X)
        return self._bounded(neighborhood.neighbors_part + neighborhood.correction)

    def explain(self, X: ArrayLike, n_neighbors: int = 5) -> Explanation:
        """Why these neighbours: the nearest training rows of a sample, and whose distance it is.

        For each of them the part of every column of the table in the squared distance; and the
        fewest columns that would have to change for another prediction. Print it, or draw it with
        `metricalign.plotting.ExplanationDisplay`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_features,) or (1, n_features)
            One sample.
        n_neighbors : int, default=5
            How many of the nearest rows to explain.

        Returns
        -------
        explanation : Explanation

        Raises
        ------
        TypeError
            If the metric is not a sum over columns, see `metricalign.learners.columns.column_map`.
        ValueError
            If X is not one sample.
        """
        check_is_fitted(self)
        return explanation_of(self, _table(one_sample(X, "X")), n_neighbors)

    def neighborhood(self, X: ArrayLike) -> Neighborhood:
        """Neighbours, their weights, and the two parts of the prediction.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        neighborhood : Neighborhood
        """
        check_is_fitted(self)
        images, table = self._images_of(X)
        distances, indices = nearest(images, self._images, self.n_neighbors)
        scaled = distances / self.scale_
        predicted = self._regression(images, table)
        weights = np.zeros_like(scaled)
        neighbors_part, correction = np.zeros((2, *predicted.shape))
        values = np.hstack([self._targets, self._predicted])
        for vote in self.votes_:
            of_vote = vote.weights(scaled, self._weight[indices])
            mean, expected = np.hsplit(weighted_means(of_vote, indices, values), 2)
            weights += of_vote / len(self.votes_)
            neighbors_part += mean / len(self.votes_)
            correction += vote.added(mean, expected, predicted) / len(self.votes_)
        rows = self.samples_[indices]
        return Neighborhood(
            rows, distances, weights, neighbors_part, correction, predicted, indices
        )

    def kneighbors(
        self, X: ArrayLike, n_neighbors: int = 5, return_distance: bool = True
    ) -> tuple[NDArray, NDArray] | NDArray:
        """Nearest training samples under the metric.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.
        n_neighbors : int, default=5
            How many neighbours. Samples that were repeated in fit count once.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_neighbors)
            Distances, ascending; only if `return_distance`.
        indices : ndarray of int of shape (n_samples, n_neighbors)
            Rows of the training samples.

        Raises
        ------
        ValueError
            If there are not so many distinct training samples.
        """
        check_is_fitted(self)
        if not 1 <= n_neighbors <= len(self.samples_):
            raise ValueError(
                f"n_neighbors must be from 1 to {len(self.samples_)}, the number of distinct "
                f"training samples; got {n_neighbors}."
            )
        distances, indices = nearest(self._images_of(X)[0], self._images, n_neighbors)
        indices = self.samples_[indices]
        return (distances, indices) if return_distance else indices

    def _images_of(self, X):
        """Images under the metric, and standardised columns."""
        given = _table(X)
        validate_data(self, given, reset=False, skip_check_array=True)
        if len(given) == 0:
            raise ValueError("X has no rows (0 samples), so there is nothing to predict.")
        X = self.columns_.transform(given)
        table = self.table_.transform(X)
        if self.metric_ is self.table_:
            return _images(table, self._origin), table
        X = X if len(self.pipeline_) > 1 else given
        return _images(self.metric_.transform(X), self._origin), table


class MetricNeighborsClassifier(ClassifierMixin, _MetricNeighbors):
    r"""Classes or label sets, predicted by the neighbours under a learned metric.

    Every neighbour votes with its class, corrected by what regressions predict differently for the
    sample and for the neighbour:

    .. math::
        p(x) = (1 - \beta) \sum_j w_j \left(y_j + \lambda (c(x) - c(x_j))\right) + \beta c(x),
        \qquad w_j \propto \exp\left(-(d(x, x_j) / s)^p\right),

    with the indicators y_j of the classes. c is a mean of kernel ridge regression under the metric
    and, with ``trees=True``, of extremely randomised trees and gradient boosting (of two classes);
    for a training sample it is that of models which have not seen it. Its weights, s, p, λ and β
    have the least squared error in held-out folds, for which the metric is learned again.
    :math:`\lambda = \beta = 0` is the plain vote. `explain` says which rows and columns made a
    prediction.

    Tables go in as they are, as a DataFrame of pandas or polars: with columns of any unit,
    categories, booleans and missing values; with dates and free texts if skrub is installed
    (``pip install "metricalign[table]"``), see `metricalign.features.DateTextEncoder`.

    Parameters
    ----------
    metric : "ensemble", "euclidean" or transformer, default="ensemble"
        "ensemble" is `MetricEnsemble`, "euclidean" the distance of the standardised columns. Any
        transformer, a metric learner or a pipeline with one, is fitted to X and y as they are, and
        neighbours are those of its images. Weights of samples go to it, or to the last step of a
        pipeline, if it takes them.
    n_neighbors : int, default=100
        Neighbours that vote at most. How many count is up to the weights.
    trees : bool, default=True
        Whether trees take part in the correction.
    n_folds : int, default=3
        Folds in which the vote is chosen; two if there are more than 2,000 samples.
    n_jobs : int or None, default=None
        Folds to work on at the same time, as in joblib.
    random_state : int, RandomState instance or None, default=None
        Given to the ensemble and to the trees.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of arrays
        The classes; for label sets the values 0 and 1 of each label.
    labels_ : ndarray of shape (n_labels,) or None
        The labels, if y was sets of them or a DataFrame with a column for each.
    pipeline_ : Pipeline
        From samples to images, with Euclid's distance of these as the distance: the encoder of
        dates and texts, and the metric. It can be saved, and used without this predictor.
    metric_ : object
        The fitted metric, the last step of the pipeline.
    columns_ : DateTextEncoder
        Encoder of dates and free texts.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each column of the table in the squared distances of the training samples, with
        sum 1, see `metricalign.learners.columns.ColumnMap.importances`. Not there for a metric of
        one's own that is no sum over columns.
    table_ : PiecewiseLinearEncoder
        Encoder of the standardised columns that the trees see.
    scale_ : float
        Mean distance of the training samples, the unit of the widths.
    votes_ : list of tuple (width, power, correction, regression)
        The votes that are averaged: s in units of `scale_`, p, λ and β.
    regression_weights_ : ndarray of shape (n_regressions,)
        Weights in c of kernel ridge regression with three penalties, small to large, of the trees
        and of boosting. Empty if there are too few samples for folds.
    samples_ : ndarray of int
        Rows of the training samples among which neighbours are searched: those that are distinct.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names that are all strings.

    References
    ----------
    Gorishniy, Rubachev, Kartashev, Shlenskii, Kotelnikov, Babenko, TabR: Tabular Deep Learning
    Meets Nearest Neighbors, ICLR 2024: the label of a neighbour, corrected by the difference.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from metricalign import MetricNeighborsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    >>> model = MetricNeighborsClassifier(random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    """

    classes_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        return tags

    def _set_targets(self, y, weight, classes):
        y, self.labels_, self._has_sets = label_indicators(y)
        check_predictable(y, wants_numbers=False)
        y = check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False, input_name="y")
        self._is_multilabel = y.ndim == 2 and y.shape[1] > 1
        if not self._is_multilabel:
            y = column_or_1d(_dense(y), warn=True)
            check_classification_targets(y)
            self.classes_ = np.unique(y if classes is None else classes)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y has one class only, {self.classes_.tolist()[0]!r}; two are needed."
                )
            return y, self._indicators(y), "class", True
        y = _dense(y)
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                "Unknown label type: y has several columns, which must be labels, 0 or 1. "
                "sklearn.preprocessing.MultiLabelBinarizer makes them of label sets."
            )
        self.classes_ = [np.array([0, 1]) for _ in range(y.shape[1])]
        return y.astype(int), y.astype(np.float64), "manhattan", False

    def _indicators(self, y):
        """Columns of 0 and 1 of the classes."""
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if (self.classes_[codes] != y).any():
            unknown = np.setdiff1d(y, self.classes_)[:5].tolist()
            raise ValueError(
                f"y has classes that are not among `classes`, such as {unknown}. Classes must all "
                "be known to the first call: fit again, or begin with partial_fit(classes=...)."
            )
        return np.eye(len(self.classes_))[codes]

    def _further_targets(self, y):
        if self._has_sets:
            labels = [set(sample) for sample in y]
            unknown = set().union(*labels).difference(np.asarray(self.labels_).tolist())
            if unknown:
                raise ValueError(f"y has labels that fit has not seen: {sorted(unknown)[:5]}.")
            return MultiLabelBinarizer(classes=self.labels_).fit_transform(labels).astype(float)
        y = check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False, input_name="y")
        if not self._is_multilabel:
            return self._indicators(column_or_1d(_dense(y), warn=True))
        y = _dense(y)
        if y.shape[1:] != self._targets.shape[1:] or not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"y must have {self._targets.shape[1]} columns of 0 and 1, one for each label."
            )
        return y.astype(np.float64)

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: ArrayLike,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Take further samples among the neighbours, without learning a metric.

        They are found at once. The metric, the regressions and the votes stay those of `fit`, or of
        the first call, which is a `fit` to its samples. A sample that equals an earlier one is one
        more neighbour, not a heavier one.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. They continue the numbers of the rows in `samples_`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), or iterable of iterables
            Their targets, of the kind used in fit.
        classes : array-like of shape (n_classes,) or None, default=None
            All classes that may come. Needed in the first call, unless there was a `fit`; not for
            label sets, whose labels are those of the first call.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples, in the unit of those of `fit`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, a class or a label is new, or classes are missing.
        """
        known = getattr(self, "classes_", None)
        if known is None:
            is_single = np.ndim(label_indicators(in_memory(y))[0]) == 1
            if classes is None and is_single:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return self._fit(X, y, sample_weight, classes=classes)
        if classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to partial_fit, "
                f"which was {known!r}."
            )
        self._add(X, y, sample_weight)
        return self

    def _bounded(self, targets):
        targets = np.clip(targets, 0, 1)
        if self._is_multilabel:
            return targets
        return targets / np.maximum(targets.sum(axis=1, keepdims=True), 1e-12)

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Probability of each class, or of each label.

        No probability is zero: the frequency of the class counts as much as one more sample among
        all of them.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Of the classes, with row sums of 1; for label sets of having each label.
        """
        return self._predict(X, self._probabilities)

    def _probabilities(self, coordinates):
        share = 1 / (len(self._weight) + 1)
        frequencies = np.average(self._targets, axis=0, weights=self._weight)
        return (1 - share) * coordinates + share * frequencies

    def predict(self, X: ArrayLike) -> Any:
        """The most probable class, or the labels that are more probable than not.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels), or list of tuple
            Classes; of equally probable ones the first. For label sets 0 and 1; the labels of each
            sample if fit was given these.
        """
        return self._predict(X, self._decoded)

    def _decoded(self, coordinates):
        codes = self._codes(coordinates)
        if not self._is_multilabel:
            return self.classes_[codes]
        if self._has_sets:
            labels = np.asarray(self.labels_)
            return [tuple(labels[row > 0]) for row in codes]
        return codes

    def _codes(self, coordinates):
        probabilities = self._probabilities(coordinates)
        if self._is_multilabel:
            return (probabilities > 0.5).astype(int)
        return probabilities.argmax(axis=1)

    def _in_units(self, neighborhood):
        part = neighborhood.neighbors_part[:1]
        coordinates = self._bounded(part + neighborhood.correction[:1])
        probabilities = self._probabilities(coordinates)[0]
        if self._is_multilabel:
            return part[0], probabilities
        code = self._codes(coordinates)[0]
        return float(part[0, code]), float(probabilities[code])

    def _names_of_outputs(self):
        return None if self.labels_ is None else [str(label) for label in self.labels_]

    def _is_other(self, coordinates, before):
        differs = self._codes(coordinates) != self._codes(before)
        return differs.any(axis=1) if self._is_multilabel else differs

    def _is_changed(self, after, before, goal):
        return self._is_other(after, before)

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy: share of the samples whose class, or whole set of labels, is predicted.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), or iterable of iterables
            Their targets, of the kind used in fit.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        predicted, y = in_memory(self.predict(X)), in_memory(y)
        sample_weight = in_memory(sample_weight)
        if self._has_sets:
            pairs = zip(predicted, y, strict=True)
            is_right = np.array([set(found) == set(labels) for found, labels in pairs])
            weight = None if sample_weight is None else np.asarray(sample_weight)
            return float(np.average(is_right, weights=weight))
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))


class MetricNeighborsRegressor(RegressorMixin, _MetricNeighbors):
    r"""Numbers or distributions, predicted by the neighbours under a learned metric.

    Every neighbour votes with its target, corrected by what regressions predict differently for the
    sample and for the neighbour:

    .. math::
        f(x) = (1 - \beta) \sum_j w_j \left(y_j + \lambda (c(x) - c(x_j))\right) + \beta c(x),
        \qquad w_j \propto \exp\left(-(d(x, x_j) / s)^p\right).

    c is a mean of kernel ridge regression under the metric and, with ``trees=True``, of extremely
    randomised trees and gradient boosting (of one number); for a training sample it is that of
    models which have not seen it. Its weights, s, p, λ and β have the least squared error in
    held-out folds, for which the metric is learned again. :math:`\lambda = \beta = 0` is the plain
    vote. `explain` says which rows and columns made a prediction.

    Several columns that are not negative and have row sums of 1 are distributions, and so are the
    predictions.

    Tables go in as they are, see `MetricNeighborsClassifier`.

    Parameters
    ----------
    metric : "ensemble", "euclidean" or transformer, default="ensemble"
        "ensemble" is `MetricEnsemble`, "euclidean" the distance of the standardised columns. Any
        transformer, a metric learner or a pipeline with one, is fitted to X and y as they are, and
        neighbours are those of its images. Weights of samples go to it, or to the last step of a
        pipeline, if it takes them.
    n_neighbors : int, default=100
        Neighbours that vote at most. How many count is up to the weights.
    trees : bool, default=True
        Whether trees take part in the correction.
    n_folds : int, default=3
        Folds in which the vote is chosen; two if there are more than 2,000 samples.
    n_jobs : int or None, default=None
        Folds to work on at the same time, as in joblib.
    random_state : int, RandomState instance or None, default=None
        Given to the ensemble and to the trees.

    Attributes
    ----------
    pipeline_ : Pipeline
        From samples to images, with Euclid's distance of these as the distance: the encoder of
        dates and texts, and the metric. It can be saved, and used without this predictor.
    metric_ : object
        The fitted metric, the last step of the pipeline.
    columns_ : DateTextEncoder
        Encoder of dates and free texts.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each column of the table in the squared distances of the training samples, with
        sum 1, see `metricalign.learners.columns.ColumnMap.importances`. Not there for a metric of
        one's own that is no sum over columns.
    table_ : PiecewiseLinearEncoder
        Encoder of the standardised columns that the trees see.
    scale_ : float
        Mean distance of the training samples, the unit of the widths.
    votes_ : list of tuple (width, power, correction, regression)
        The votes that are averaged: s in units of `scale_`, p, λ and β.
    regression_weights_ : ndarray of shape (n_regressions,)
        Weights in c of kernel ridge regression with three penalties, small to large, of the trees
        and of boosting. Empty if there are too few samples for folds.
    samples_ : ndarray of int
        Rows of the training samples among which neighbours are searched: those that are distinct.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names that are all strings.

    References
    ----------
    See `MetricNeighborsClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign import MetricNeighborsRegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 4))
    >>> y = np.cos(3 * X[:, 0])
    >>> model = MetricNeighborsRegressor(trees=False, random_state=0).fit(X[:200], y[:200])
    >>> bool(model.score(X[200:], y[200:]) > 0.9)
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _set_targets(self, y, weight, classes):
        check_predictable(y, wants_numbers=True)
        has_names = hasattr(y, "columns") and len(y.columns) > 1
        self._names = [str(name) for name in y.columns] if has_names else None
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        columns = y.reshape(len(y), -1)
        self._is_column = y.ndim == 2
        self._offset: Any = 0.0
        self._unit: Any = 1.0
        self._is_distribution = (
            columns.shape[1] > 1 and columns.min() >= 0 and bool(sums_to_one(columns).all())
        )
        if self._is_distribution:
            return y, columns, "chebyshev", False
        self._offset = np.average(columns, axis=0, weights=weight)
        variances = np.average((columns - self._offset) ** 2, axis=0, weights=weight)
        self._unit = np.where(variances > 0, np.sqrt(variances), 1.0)
        targets = (columns - self._offset) / self._unit
        if columns.shape[1] == 1:
            return columns[:, 0], targets, "absolute_difference", False
        return columns, targets, "euclidean", False

    def _further_targets(self, y):
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self._targets.shape[1]:
            raise ValueError(
                f"y must have {self._targets.shape[1]} columns as in fit; got {columns.shape[1]}."
            )
        if self._is_distribution and not (columns.min() >= 0 and sums_to_one(columns).all()):
            raise ValueError("y must have rows that are not negative and sum to 1, as in fit.")
        return (columns - self._offset) / self._unit

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Take further samples among the neighbours, without learning a metric.

        They are found at once. The metric, the regressions and the votes stay those of `fit`, or of
        the first call, which is a `fit` to its samples. A sample that equals an earlier one is one
        more neighbour, not a heavier one.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. They continue the numbers of the rows in `samples_`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets, of the kind used in fit.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples, in the unit of those of `fit`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid.
        """
        if not hasattr(self, "votes_"):
            return self._fit(X, y, sample_weight)
        self._add(X, y, sample_weight)
        return self

    def _bounded(self, targets):
        if not self._is_distribution:
            return targets
        targets = np.maximum(targets, 0)
        return targets / np.maximum(targets.sum(axis=1, keepdims=True), 1e-12)

    def predict(self, X: ArrayLike) -> NDArray:
        """Predicted numbers or distributions.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._predict(X, self._decoded)

    def _decoded(self, coordinates):
        numbers = coordinates * self._unit + self._offset
        return numbers if self._is_column else numbers[:, 0]

    def _in_units(self, neighborhood):
        part = neighborhood.neighbors_part[:1]
        total = self._bounded(part + neighborhood.correction[:1])
        return self._decoded(part)[0], self._decoded(total)[0]

    def _names_of_outputs(self):
        return self._names

    def _spread(self):
        """Root of the mean squared distance of the targets from their mean."""
        mean = np.average(self._targets, axis=0, weights=self._weight)
        squares = np.sum((self._targets - mean) ** 2, axis=1)
        return np.sqrt(np.average(squares, weights=self._weight))

    def _is_other(self, coordinates, before):
        return np.linalg.norm(coordinates - before, axis=1) > self._spread()

    def _is_changed(self, after, before, goal):
        way = goal - before[0]
        is_far = np.linalg.norm(way) > self._spread() / 2
        return ((after - before) @ way > way @ way / 2) & is_far


def _predictions(X, predictor, predict) -> NDArray:
    """Predictions for a chunk of samples."""
    return _as_array(predict(predictor._coordinates(X)))


def _as_array(predicted) -> NDArray:
    """Predictions as an array, of objects if they are label sets."""
    if not isinstance(predicted, list):
        return predicted
    label_sets = np.empty(len(predicted), dtype=object)
    label_sets[:] = predicted
    return label_sets


class _Fitted(NamedTuple):
    """A metric, the images of the samples that it was fitted to, and their regressions."""

    metric: Any
    origin: NDArray
    images: NDArray
    scale: float
    ridge: KernelRidge


class _Training(NamedTuple):
    """Distinct samples in an order of their own, and the metric that is fitted to them."""

    X: Any
    y: Any
    table: NDArray
    targets: NDArray
    weight: NDArray
    metric: Any
    euclid: PiecewiseLinearEncoder
    random_state: int

    def fit(self, rows) -> _Fitted:
        metric, images = self.euclid, self.table[rows]
        # Where there is nothing to learn, in a fold of few samples, Euclid's distance is left.
        if self.metric is not self.euclid and np.ptp(self.targets[rows], axis=0).any():
            metric = clone(self.metric)
            X, y = _safe_indexing(self.X, rows), _safe_indexing(self.y, rows)
            images = metric.fit(X, y, **_weight_for(metric, self.weight[rows])).transform(X)
        images = np.asarray(_dense(images))
        origin = middle_of(images)
        images = _images(images, origin)
        ridge = KernelRidge()
        ridge.fit(images, self.targets[rows], self.weight[rows], self.random_state)
        return _Fitted(metric, origin, images, mean_distance(images), ridge)


def _weight_for(metric, weight) -> dict[str, NDArray]:
    """Argument of fit that takes sample weights, if there is one: of a pipeline the last step's."""
    name, last = metric.steps[-1] if isinstance(metric, Pipeline) else ("", metric)
    if not has_fit_parameter(last, "sample_weight"):
        return {}
    if not name:
        return {"sample_weight": weight}
    # With metadata routing, a pipeline takes what its steps ask for, by other names.
    return {} if get_config()["enable_metadata_routing"] else {f"{name}__sample_weight": weight}


class _HeldOut(NamedTuple):
    """What the samples of a fold see of those outside it.

    Predictions are those of all samples of the fold, neighbours those of the judged ones.
    """

    judged: NDArray
    indices: NDArray
    distances: NDArray
    predicted: NDArray


def _held_out(training, fold, n_neighbors) -> _HeldOut:
    train, test = fold
    with warnings.catch_warnings():
        # What cannot be learned from a part of the samples, or is not in it, is no news.
        for category in (UserWarning, FitFailedWarning):
            warnings.simplefilter("ignore", category)
        fitted = training.fit(train)
        images = training.table[test]
        if fitted.metric is not training.euclid:
            images = fitted.metric.transform(_safe_indexing(training.X, test))
    images = _images(images, fitted.origin)
    judged = np.random.RandomState(training.random_state).permutation(len(test))[:_MOST_JUDGED]
    distances, indices = nearest(images[judged], fitted.images, n_neighbors)
    predicted = fitted.ridge.predict(images)
    return _HeldOut(test[judged], train[indices], distances / fitted.scale, predicted)


def _table(X) -> Any:
    """A dense table in memory of which rows can be taken."""
    X = _dense(in_memory(X))
    if getattr(X, "ndim", 2) == 1:
        raise ValueError(
            "Expected 2D array, got 1D array instead: X must have a row for each sample. "
            "Reshape your data: X.reshape(1, -1) if it is a single sample."
        )
    return X if hasattr(X, "__getitem__") else np.asarray(X)


def _images(images, origin) -> NDArray:
    """Images as the search takes them: near the origin, where single precision is enough."""
    return np.ascontiguousarray(np.asarray(_dense(images)) - origin, dtype=np.float32)
