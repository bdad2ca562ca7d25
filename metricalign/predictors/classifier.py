"""Classes and label sets, predicted by neighbours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import check_array, column_or_1d

from metricalign._arrays import as_dense, in_memory
from metricalign._decorators import _fit_context
from metricalign.predictors.base import MetricNeighbors
from metricalign.predictors.labels import label_indicators
from metricalign.predictors.pool import fit_pool
from metricalign.predictors.targets import check_predictable
from metricalign.relations.kinds import check_classes

__all__ = ["MetricNeighborsClassifier"]


class MetricNeighborsClassifier(ClassifierMixin, MetricNeighbors):
    r"""Classes or label sets, predicted by the neighbours under a learned metric.

    Every neighbour votes with its class, corrected by the difference of what regressions predict
    for the sample and for the neighbour:

    .. math::
        v(x) = (1 - \beta) \sum_j w_j \left(y_j + \lambda (c(x) - c(x_j))\right) + \beta c(x),
        \qquad w_j \propto \exp\left(-(d(x, x_j) / s)^p\right),

    with the indicators y_j of the classes. c is a weighted mean of regressions: by ridge with an
    exponential kernel under the metric; by ridge with a Gaussian kernel on the columns; and, with
    ``trees=True``, by extremely randomised trees and by gradient boosting (of two classes, or of up
    to five with more than 2,000 samples). For label sets the second kernel is Matérn's, on the
    encoded columns; with more than 2,000 samples, the first one is Matérn's too. For a training
    sample c is the mean of models that have not seen the sample. The weights in c, and s, p, λ and
    β, are those with the least squared error in held-out folds, for which the metric is learned
    again.
    :math:`\lambda = \beta = 0` is the plain vote. Training samples with the same values as x have
    a further share in v(x). It is the larger, the more training samples with the same values agree.

    The probabilities of label sets are v. Those of classes pool it with the regressions
    :math:`r_k` on the columns, all of c but that under the metric:

    .. math::
        p_c(x) \propto e^{b_c} v_c(x)^{a_0} \prod_k r_{kc}(x)^{a_k},

    where a and b have the largest penalised likelihood in the same folds, which also calibrates
    the probabilities. `explain` says which rows and columns made a prediction.

    X may be a DataFrame of pandas or polars as it is, with columns of any unit, categories,
    booleans and missing values. With skrub (``pip install "metricalign[table]"``) it may also have
    dates and free texts, see `metricalign.features.DateTextEncoder`.

    Parameters
    ----------
    metric : "ensemble", "euclidean" or transformer, default="ensemble"
        "ensemble" is `MetricEnsemble`, "euclidean" the distance of the standardised columns. A
        transformer, such as a metric learner or a pipeline with one, is fitted to X and y as they
        are, and neighbours are searched among its images. It, or the last step of a pipeline, gets
        the sample weights if it takes them. If its relation is "auto", it gets that of the targets.
    n_neighbors : int, default=100
        Largest number of neighbours that vote. Far ones may have hardly any weight.
    neighbors : transformer or None, default=None
        How neighbours are searched: a transformer in the manner of
        :class:`~sklearn.neighbors.KNeighborsTransformer`, with a parameter ``n_neighbors``, exact
        or approximate such as :class:`~metricalign.neighbors.FaissTransformer`. A clone of it is
        fitted to the images of the training samples. None: exactly.
    trees : bool, default=True
        Whether the correction uses trees.
    n_folds : int, default=3
        Folds in which the vote is chosen, and of the trees. More than 2,000 samples have two folds
        for the vote and five of the trees, 400,000 or more two of the trees. In a fold, "ensemble"
        has one round of `GradientAlignment` as its only learner.
    n_jobs : int or None, default=None
        Folds to work on at the same time, as in joblib.
    verbose : bool, default=False
        Whether to print how neighbours are searched, and what share of them is found.
    random_state : int, RandomState instance or None, default=None
        Given to the ensemble and to the trees.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        The classes; for label sets the values 0 and 1 of each label.
    labels_ : ndarray of shape (n_labels,) or None
        The labels, if y was sets of them or a DataFrame with a column for each.
    pipeline_ : Pipeline
        It turns samples into images whose Euclidean distance is the learned distance: the encoder
        of dates and texts, then the metric. It can be saved, and used without this predictor.
    metric_ : object
        The fitted metric, the last step of the pipeline.
    columns_ : DateTextEncoder
        Encoder of dates and free texts.
    feature_importances_ : ndarray of shape (n_features,)
        Share of each column of the table in the squared distances of the training samples, with
        sum 1, see `metricalign.learners.columns.ColumnMap.importances`. At most 20,000 samples
        stand for all. It is missing if the metric was given and is not a sum over columns.
    table_ : PiecewiseLinearEncoder
        Encoder of the standardised columns that the trees see.
    scale_ : float
        Mean distance of the training samples, the unit of the widths. In this mean no distance
        counts as more than three times the median.
    search_recall_ : float
        Share of the nearest `n_neighbors` that the search finds, measured in fit with at most 200
        training samples; 1 for the exact search.
    votes_ : list of tuple (width, power, correction, regression)
        The votes that are averaged: s in units of `scale_`, p, λ and β.
    share_of_copies_ : float
        Share that training samples with the same values have in the prediction of a sample. Zero
        if no two training samples are the same; one of weight 2 counts as two that are.
    regression_weights_ : ndarray of shape (n_regressions,)
        Weights in c of kernel ridge regression under the metric and of that on the standardised
        columns, for label sets on the encoded ones, each with three penalties, small to large, of
        the trees and of boosting. What is left of 1 is the weight of the mean target. Empty if
        there are too few samples for folds.
    pool_ : LogarithmicPool or None
        How classes are pooled: `weights`, a of the vote and of each regression on the columns, and
        `offsets`, b of each class. None for label sets, and if there are too few samples for folds.
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
    Heskes, Selecting Weighting Factors in Logarithmic Opinion Pools, NIPS 1997.

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
    pool_: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        return tags

    def _set_targets(self, y, weight, classes):
        y, self.labels_, self._has_sets = label_indicators(y)
        check_predictable(y, wants_numbers=False)
        y = check_classes(y)
        self._is_multilabel, self.pool_ = y.ndim == 2, None
        if not self._is_multilabel:
            self.classes_ = np.unique(y if classes is None else classes)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y has one class only, {self.classes_.tolist()[0]!r}; two are needed."
                )
            return y, self._indicators(y), "class", True
        # cross_val_predict asks for an array with a row for each column of probabilities.
        self.classes_ = np.tile([0, 1], (y.shape[1], 1))
        return y, y.astype(np.float64), "manhattan", False

    def _indicators(self, y):
        """Return a column of 0 and 1 for each class."""
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
        check_predictable(y, wants_numbers=False)
        y = check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False, input_name="y")
        if not self._is_multilabel:
            return self._indicators(column_or_1d(as_dense(y), warn=True))
        y = as_dense(y)
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

        Predictions use them at once. The metric, the regressions and the votes stay those of `fit`,
        or of the first call, which is a `fit` to its samples. Where `classes` has some that none of
        these have, no vote leaves the neighbours for the regressions, which cannot know them. A
        sample that equals an earlier one becomes another neighbour; it does not add to the weight
        of that one.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. In `samples_` their row numbers follow those of earlier samples.
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

    def _has_later_classes(self):
        return not self._is_multilabel and not self._targets.any(axis=0).all()

    def _fit_pool(self, predictions, rows):
        if not self._is_multilabel:
            targets, weight = self._targets[rows], self._weight[rows]
            self.pool_ = fit_pool(self._to_pool(predictions), targets, weight)

    def _is_pooled(self):
        return self.pool_ is not None

    def _pooled(self, predictions):
        return self.pool_.pooled(self._to_pool(predictions))

    def _to_pool(self, predictions):
        return np.stack([self._probabilities(self._bounded(part)) for part in predictions])

    def _bounded(self, targets):
        targets = np.clip(targets, 0, 1)
        if self._is_multilabel:
            return targets
        return targets / np.maximum(targets.sum(axis=-1, keepdims=True), 1e-12)

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Probability of each class, or of each label.

        No class of the training samples has probability zero: the frequencies of the classes are
        mixed in, with the share of one sample more.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities of the classes, with row sums of 1; or of having each label.
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
            Classes; the first one if several are equally probable. For label sets, columns of 0
            and 1, or a tuple of labels for each sample if fit was given sets.
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
