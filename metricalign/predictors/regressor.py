"""Numbers and distributions, predicted by neighbours."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from metricalign._decorators import _fit_context
from metricalign._estimator import level_of_call
from metricalign.predictors.base import MetricNeighbors
from metricalign.predictors.targets import check_predictable
from metricalign.relations import sums_to_one
from metricalign.relations.kinds import doubt_of_shares

__all__ = ["MetricNeighborsRegressor"]


class MetricNeighborsRegressor(RegressorMixin, MetricNeighbors):
    r"""Numbers or distributions, predicted by the neighbours under a learned metric.

    Every neighbour votes with its target, corrected by the difference of what regressions predict
    for the sample and for the neighbour:

    .. math::
        f(x) = (1 - \beta) \sum_j w_j \left(y_j + \lambda (c(x) - c(x_j))\right) + \beta c(x),
        \qquad w_j \propto \exp\left(-(d(x, x_j) / s)^p\right).

    c is a weighted mean of kernel ridge regression under the metric, of a smoother one on the
    encoded columns (both are smooth with more than 2,000 samples) and, with ``trees=True``, of
    extremely randomised trees and gradient boosting (of one number). For a training sample it is
    the mean of models that have not seen the sample.
    The weights in c, and s, p, λ and β, are those with the least squared error in held-out folds,
    for which the metric is learned again. :math:`\lambda = \beta = 0` is the plain vote. Training
    samples with the same values as x have a further share in f(x). It is the larger, the more
    training samples with the same values agree. `explain` says which rows and columns made a
    prediction.

    If y has several columns that are not negative and have row sums of 1, but for the rounding to
    three decimals, its rows are distributions, and so are the predictions. Row sums that are nearly
    the same, such as 1.01 or 100, are warned of: such columns are several numbers.

    Tables go in as they are, see `MetricNeighborsClassifier`.

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
        Weights in c of kernel ridge regression under the metric and of that on the encoded columns,
        each with three penalties, small to large, of the trees and of boosting. What is left of 1
        is the weight of the mean target. Empty if there are too few samples for folds.
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
        varies = columns.min(axis=0) < columns.max(axis=0)
        # Of values in [-1, 1], so that no sum overflows, and no square does or underflows.
        size = np.abs(columns).max(axis=0)
        size = np.where(size > 0, size, 1.0)
        mean = np.average(columns / size, axis=0, weights=weight)
        squares = np.average((columns / size - mean) ** 2, axis=0, weights=weight)
        self._offset = mean * size
        self._unit = np.where(varies, np.sqrt(squares) * size, 1.0)
        if not varies.any():
            warnings.warn(
                "y has the same value in all samples, so there is nothing to learn: it is what "
                "every sample will get.",
                UserWarning,
                stacklevel=level_of_call(),
            )
        elif columns.shape[1] > 1 and (doubt := doubt_of_shares(columns)):
            warnings.warn(doubt, UserWarning, stacklevel=level_of_call())
        targets = (columns - self._offset) / self._unit
        if columns.shape[1] == 1:
            return columns[:, 0], targets, "absolute_difference", False
        return columns, targets, "euclidean", False

    def _further_targets(self, y):
        check_predictable(y, wants_numbers=True)
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

        Predictions use them at once. The metric, the regressions and the votes stay those of `fit`,
        or of the first call, which is a `fit` to its samples. A sample that equals an earlier one
        becomes another neighbour; it does not add to the weight of that one.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. In `samples_` their row numbers follow those of earlier samples.
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
        return targets / np.maximum(targets.sum(axis=-1, keepdims=True), 1e-12)

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
        """Return the root of the mean squared distance of the targets from their mean."""
        mean = np.average(self._targets, axis=0, weights=self._weight)
        squares = np.sum((self._targets - mean) ** 2, axis=1)
        return np.sqrt(np.average(squares, weights=self._weight))

    def _is_other(self, coordinates, before):
        return np.linalg.norm(coordinates - before, axis=1) > self._spread()

    def _is_changed(self, after, before, goal):
        way = goal - before[0]
        is_far = np.linalg.norm(way) > self._spread() / 2
        return ((after - before) @ way > way @ way / 2) & is_far
