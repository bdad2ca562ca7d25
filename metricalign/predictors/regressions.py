"""Regressions on the coordinates of targets: they correct the votes of the neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.utils import gen_batches

from metricalign.features import PiecewiseLinearEncoder
from metricalign.learners.exponential_kernel import (
    ENTRIES_OF_PART,
    euclidean,
    exponential_kernel,
    kernel_matrix,
    kernel_products,
    solve_positive,
)
from metricalign.pairs.anchors import systematic_sample
from metricalign.predictors.encoded import ENTRIES_OF_BATCH, EncodedRows

__all__ = [
    "MANY_SAMPLES",
    "MOST_OF_TREES",
    "Boosting",
    "CrossFitted",
    "EncodedRidge",
    "KernelRidge",
    "RandomizedTrees",
    "SmoothKernelRidge",
    "mean_distance",
    "mean_of_distances",
    "predict_together",
    "tree_regressions",
]

# Kernel ridge regression: penalties, and largest number of landmarks.
_PENALTIES = (0.003, 0.03, 0.3)
_N_LANDMARKS = 1000
# Of more samples, so many stand for all: in the sums of a kernel ridge regression, and for each
# tree or boosting.
_MOST_OF_RIDGE, MOST_OF_TREES = 50_000, 200_000
# Fewer samples get smaller trees. On 15 data sets of numbers, these have .83 of the error of
# scikit-learn's default (31 leaves of at least 20 samples) with 300 samples, and the same error
# with 1,000. A quarter of the rounds at four times the rate, and a third of the forest, are as good
# (docs/tried.md).
MANY_SAMPLES = 2000
_SMALL_TREES = {"max_leaf_nodes": 8, "min_samples_leaf": 5, "max_iter": 25, "learning_rate": 0.4}
# Three times the sum of the rates of scikit-learn's default: many samples can bear it.
_LARGE_TREES = {"max_iter": 150, "learning_rate": 0.2}
# Classes of which boosting is worth its time, which grows with their number, for few and many
# samples (docs/tried.md).
_BOOSTED_CLASSES = 2, 5
# Trees of a forest, in all folds together or of each that is refitted, for few and many samples.
_N_TREES = 36, 100
# Samples of all trees of a forest: more than 80,000 samples have fewer trees, for their time and
# memory. With 40 in place of 100 trees, 16,000 rows of protein have 1.007 of the error.
_SAMPLES_OF_FOREST = 8_000_000


class _Sums(NamedTuple):
    """Weighted sums over samples, of which normal equations are made.

    Products of kernels with each other, and with the values: deviations of the targets, and one.
    """

    products: NDArray
    of_values: NDArray
    values: NDArray


class KernelRidge:
    """Kernel ridge regressions on images, one for each of a few penalties.

    The kernel is exp(-distance / width).

    Attributes
    ----------
    scale_ : float
        Mean distance of the images.
    """

    n_predictions = len(_PENALTIES)
    # In mean distances.
    _width = 2.0

    def fit(self, images: NDArray, targets: NDArray, weight: NDArray, random_state: int) -> Self:
        """Fit the regressions to distinct samples.

        Parameters
        ----------
        images : ndarray of shape (n_samples, n_components)
            Images under the metric, of samples that are in the order of their values.
        targets : ndarray of shape (n_samples, n_outputs)
            Coordinates of the targets.
        weight : ndarray of shape (n_samples,)
            Weights, with mean 1 over all samples.
        random_state : int
            Draws the landmarks.

        Returns
        -------
        self : object
        """
        if len(images) > _MOST_OF_RIDGE:
            rows, weight = systematic_sample(weight, _MOST_OF_RIDGE)
            images, targets = images[rows], targets[rows]
        kernel = self._prepare(images, targets, weight, random_state)
        if len(kernel) < len(images):
            return self._solve_sums(self._sums(images, targets, weight), kernel)
        # Both sides of the normal equations have the factor kernel * weight, which is left out.
        self._solve(kernel, targets - self.mean_, np.diag(1 / weight))
        return self

    def _prepare(self, images, targets, weight, random_state) -> NDArray:
        """Set all but the coefficients, and return the kernels of the landmarks."""
        order = np.random.RandomState(random_state).permutation(len(images))[:_N_LANDMARKS]
        self.landmarks_ = images[np.sort(order)].astype(np.float64)
        distances = euclidean(self.landmarks_, self.landmarks_)
        is_all = len(distances) == len(images)
        self.scale_ = mean_of_distances(distances) if is_all else mean_distance(images)
        self.width_ = self._width * self.scale_
        self.mean_ = np.average(targets, axis=0, weights=weight)
        return self._of_distances(distances)

    def _sums(self, images, targets, weight) -> _Sums:
        values = np.column_stack([targets - self.mean_, np.ones(len(targets))])
        products, of_values = kernel_products(
            images, self.landmarks_, self._of_distances, values, weight
        )
        return _Sums(products, of_values, weight @ values)

    def _solve_sums(self, sums, kernel) -> Self:
        # Nearly identical landmarks would make it singular.
        products = sums.products + 1e-12 * np.trace(sums.products) * np.eye(len(sums.products))
        # The mean of some samples is not that of all. Nothing stands for samples of little weight:
        # without any sample, the mean of all is left.
        mean = sums.values[:-1] / (sums.values[-1] or 1.0)
        self.mean_ = self.mean_ + mean
        targets = sums.of_values[:, :-1] - sums.of_values[:, -1:] * mean
        self._solve(products, targets, kernel)
        return self

    def _solve(self, products, targets, ridge) -> None:
        coef = [solve_positive(products + p * ridge, targets) for p in _PENALTIES]
        self.coef_ = np.stack(coef, axis=1)

    def _kernel(self, images):
        return kernel_matrix(images, self.landmarks_, self._of_distances)

    def _of_distances(self, distances):
        return exponential_kernel(distances, self.width_)

    def predict(self, images: NDArray) -> NDArray:
        """Predict coordinates of targets.

        Parameters
        ----------
        images : ndarray of shape (n_samples, n_components)
            Images under the metric.

        Returns
        -------
        predicted : ndarray of shape (n_samples, n_penalties, n_outputs)
        """
        predicted = np.empty((len(images), *self.coef_.shape[1:]))
        # By parts that fit the cache of a core.
        for batch in gen_batches(len(images), max(1, ENTRIES_OF_PART // len(self.landmarks_))):
            kernel = self._kernel(images[batch].astype(np.float64))
            predicted[batch] = np.tensordot(kernel, self.coef_, axes=1)
        return self.mean_ + predicted


class SmoothKernelRidge(KernelRidge):
    """Kernel ridge regressions with Matérn's kernel, for each of a few penalties.

    The kernel is (1 + distance / width) exp(-distance / width). It predicts smooth functions better
    than that of `KernelRidge`, because it has no kink at the landmarks.
    """

    _width = 1.0

    def _of_distances(self, distances):
        factor = 1 + distances / self.width_
        factor *= exponential_kernel(distances, self.width_)
        return factor


class EncodedRidge:
    """Smooth kernel ridge regressions on the encoded columns, whatever the metric is.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder or None
        The fitted encoder; None if samples to predict come encoded.

    Attributes
    ----------
    held_out_ : ndarray of shape (n_samples, n_penalties, n_outputs)
        Predictions of the training samples by regressions that have not seen them.
    ridge_ : SmoothKernelRidge
        The regressions fitted to all samples.
    """

    n_predictions = SmoothKernelRidge.n_predictions

    def __init__(self, encoder: PiecewiseLinearEncoder | None):
        self.encoder = encoder

    def fit(
        self,
        encoding: NDArray | EncodedRows,
        targets: NDArray,
        weight: NDArray,
        folds: list,
        random_state: int,
    ) -> Self:
        """Fit the regressions to all samples, and to those outside each fold.

        Parameters
        ----------
        encoding : {ndarray, EncodedRows} of shape (n_samples, n_columns)
            Encoded columns of distinct samples, which are in the order of their values.
        targets : ndarray of shape (n_samples, n_outputs)
            Coordinates of the targets.
        weight : ndarray of shape (n_samples,)
            Weights, with mean 1 over all samples.
        folds : list of tuple (train, test)
            Rows to fit, and those held out.
        random_state : int
            Draws the landmarks.

        Returns
        -------
        self : object
        """
        self.held_out_ = np.empty((len(targets), self.n_predictions, targets.shape[1]))
        if len(targets) <= _N_LANDMARKS:
            for train, test in folds:
                of_fold = SmoothKernelRidge()
                of_fold.fit(encoding[train], targets[train], weight[train], random_state)
                self.held_out_[test] = of_fold.predict(encoding[test])
            self.ridge_ = SmoothKernelRidge().fit(encoding[:], targets, weight, random_state)
            return self
        # The encoding is the same in all folds, and so may be the landmarks: one pass is enough.
        rows, weight = systematic_sample(weight, _MOST_OF_RIDGE)
        images, targets = encoding[rows], targets[rows]
        ridge = SmoothKernelRidge()
        kernel = ridge._prepare(images, targets, weight, random_state)
        parts = [np.flatnonzero(np.isin(rows, test, assume_unique=True)) for _, test in folds]
        sums = [ridge._sums(images[part], targets[part], weight[part]) for part in parts]
        for number, (_, test) in enumerate(folds):
            of_others = _total(sums[:number] + sums[number + 1 :])
            of_fold = copy(ridge)._solve_sums(of_others, kernel)
            for batch in gen_batches(len(test), max(1, ENTRIES_OF_BATCH // images.shape[1])):
                self.held_out_[test[batch]] = of_fold.predict(encoding[test[batch]])
        self.ridge_ = ridge._solve_sums(_total(sums), kernel)
        return self

    def predict(self, X: Any) -> NDArray:
        """Predict coordinates of targets.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Samples, encoded only if there is no encoder.

        Returns
        -------
        predicted : ndarray of shape (n_samples, n_penalties, n_outputs)
        """
        return self.ridge_.predict(X if self.encoder is None else self.encoder.transform(X))


def _total(sums) -> _Sums:
    return _Sums(*(sum(parts) for parts in zip(*sums, strict=True)))


class CrossFitted(ABC):
    """Mean of several regressions, one for each fold and fitted to the samples outside it.

    So every sample has a prediction by a regression that has not seen it.

    Parameters
    ----------
    refit : bool, default=False
        Whether other samples are predicted by one regression that is fitted to all samples, in
        place of those of the folds.

    Attributes
    ----------
    held_out_ : ndarray of shape (n_samples, 1, n_outputs)
        Predictions of the training samples, each by the regression that has not seen it.
    """

    n_predictions = 1

    def __init__(self, refit: bool = False):
        self.refit = refit

    def fit(
        self, table: NDArray, targets: NDArray, weight: NDArray, folds: list, random_state: int
    ) -> Self:
        """Fit a regression for each fold, and one to all samples if wanted.

        Parameters
        ----------
        table : ndarray of shape (n_samples, n_columns)
            Standardised columns of distinct samples, which are in the order of their values.
        targets : ndarray of shape (n_samples, n_outputs)
            Coordinates of the targets.
        weight : ndarray of shape (n_samples,)
            Weights, with mean 1 over all samples.
        folds : list of tuple (train, test)
            Rows to fit, and those held out.
        random_state : int
            Given to the regressions.

        Returns
        -------
        self : object
        """
        self.held_out_ = np.zeros((len(targets), 1, targets.shape[1]))
        self.models_ = []
        # The order of the samples, and samples of weight 0, change how coordinates are rounded.
        # This must not decide between two splits that are equally good.
        targets = targets.astype(np.float32).astype(np.float64)
        # Bins of weighted samples take scikit-learn 1.9 seven times as long as the trees.
        is_weighted = np.ptp(weight) > 0

        def fitted(rows):
            model = self._model(len(folds), len(targets), random_state)
            taken, of_taken = systematic_sample(weight[rows], MOST_OF_TREES)
            rows, of_taken = rows[taken], of_taken if is_weighted else None
            return model.fit(table[rows], self._as_learned(targets[rows]), sample_weight=of_taken)

        for train, test in folds:
            model = fitted(train)
            self.models_.append(model)
            self.held_out_[test, 0] = self._as_targets(model.predict(table[test]))
        if self.refit:
            self.models_ = [fitted(np.arange(len(targets)))]
        return self

    def predict(self, table: NDArray) -> NDArray:
        """Predict coordinates of targets.

        Parameters
        ----------
        table : ndarray of shape (n_samples, n_columns)
            Standardised columns.

        Returns
        -------
        predicted : ndarray of shape (n_samples, 1, n_outputs)
        """
        predicted = sum(model.predict(table) for model in self.models_) / len(self.models_)
        return self._as_targets(predicted)[:, None]

    @abstractmethod
    def _model(self, n_folds, n_samples, random_state) -> Any:
        """Return an unfitted regressor in the manner of scikit-learn."""

    @abstractmethod
    def _as_learned(self, targets) -> NDArray:
        """Turn coordinates into what the regressor is fitted to."""

    @abstractmethod
    def _as_targets(self, predicted) -> NDArray:
        """Turn predictions of the regressor into coordinates of the targets."""


class RandomizedTrees(CrossFitted):
    """Extremely randomised trees.

    More folds mean fewer trees in each, not more trees, unless they are refitted: probabilities
    that are to be pooled must not be zero just because few trees were asked.
    """

    def __init__(self, max_features: Any, refit: bool = False):
        super().__init__(refit)
        # scikit-learn's defaults are "sqrt" for classes and 1.0 for numbers.
        self.max_features = max_features

    def _model(self, n_folds, n_samples, random_state):
        n_trees = _N_TREES[n_samples > MANY_SAMPLES]
        n_trees = min(n_trees, _SAMPLES_OF_FOREST // min(n_samples, MOST_OF_TREES))
        n_trees = -(-n_trees // (1 if self.refit else n_folds))
        return ExtraTreesRegressor(
            n_trees, max_features=self.max_features, random_state=random_state
        )

    def _as_learned(self, targets):
        return targets[:, 0] if targets.shape[1] == 1 else targets

    def _as_targets(self, predicted):
        return predicted.reshape(len(predicted), -1)


class Boosting(CrossFitted):
    """Gradient boosting of one number, or of the indicators of classes.

    Parameters
    ----------
    n_classes : int, default=0
        Number of classes; 0 for a number. Of two classes the indicator of the first is enough.
    """

    def __init__(self, n_classes: int = 0):
        super().__init__()
        self.n_classes = n_classes

    def _model(self, n_folds, n_samples, random_state):
        options = _LARGE_TREES if n_samples > MANY_SAMPLES else _SMALL_TREES
        model = HistGradientBoostingRegressor(**options, random_state=random_state)
        return _OneForEach(model) if self.n_classes > 2 else model

    def _as_learned(self, targets):
        return targets if self.n_classes > 2 else targets[:, 0]

    def _as_targets(self, predicted):
        if self.n_classes > 2:
            return predicted
        return np.column_stack([predicted, 1 - predicted] if self.n_classes else [predicted])


class _OneForEach:
    """One model for each column of the targets.

    scikit-learn's MultiOutputRegressor refuses sample weights with metadata routing.
    """

    def __init__(self, model):
        self.model = model

    def fit(self, table, targets, sample_weight):
        self.models = [clone(self.model).fit(table, y, sample_weight) for y in targets.T]
        return self

    def predict(self, table):
        return np.column_stack([model.predict(table) for model in self.models])


def predict_together(
    regressions: list[tuple[Any, Any, bool]], weights: NDArray, mean: NDArray
) -> tuple[NDArray, list[NDArray]]:
    """Weighted mean of the predictions of regressions, and the own predictions of some.

    Parameters
    ----------
    regressions : list of tuple (regression, samples, bool)
        Fitted regressions, the samples as each takes them, and whether its own are wanted.
    weights : ndarray of shape (n_weights,)
        Weights of all that they predict, in their order. One without any is not asked.
    mean : ndarray of shape (n_outputs,)
        The mean target, which has the rest of the weight.

    Returns
    -------
    predicted : ndarray of shape (n_samples, n_outputs)
        The weighted mean.
    own : list of ndarray of shape (n_samples, n_outputs)
        The mean over its penalties of each regression whose own predictions are wanted.
    """
    n_samples, own = len(regressions[0][1]), []
    predicted = np.tile((1 - weights.sum()) * mean, (n_samples, 1))
    for regression, samples, is_wanted in regressions:
        of_regression, weights = np.split(weights, [regression.n_predictions])
        if of_regression.any() or is_wanted:
            predictions = regression.predict(samples)
            predicted += np.einsum("ijk,j->ik", predictions, of_regression)
            if is_wanted:
                own.append(predictions.mean(axis=1))
    return predicted, own


def tree_regressions(targets: NDArray, is_class: bool) -> list[CrossFitted]:
    """Return the unfitted forest, and boosting if it can predict these targets."""
    is_indicator = bool(np.isin(targets, (0, 1)).all())
    max_features = "sqrt" if is_indicator else 1.0
    # Forests of two thirds of few samples are worse; five folds of many leave four fifths.
    refit = is_class and len(targets) <= MANY_SAMPLES
    regressions: list[CrossFitted] = [RandomizedTrees(max_features, refit)]
    n_outputs = targets.shape[1]
    most_classes = _BOOSTED_CLASSES[len(targets) > MANY_SAMPLES]
    if n_outputs == 1 or (is_class and n_outputs <= most_classes):
        regressions.append(Boosting(n_outputs if is_class else 0))
    return regressions


def mean_distance(images: NDArray) -> float:
    """Mean distance of two samples, among at most a thousand of them, see `mean_of_distances`."""
    some = images[:: -(-len(images) // 1000)].astype(np.float64)
    return mean_of_distances(euclidean(some, some))


def mean_of_distances(distances: NDArray) -> float:
    """Mean distance of two samples, of the matrix of all distances; 1 if it is zero.

    No distance counts as more than three times the median. Otherwise a few samples that are far
    from all others would decide the mean.
    """
    distances = distances[np.tri(len(distances), k=-1, dtype=bool)]
    if not distances.any():
        return 1.0
    median = np.median(distances)
    # The median is zero where most samples are the same.
    return float(np.minimum(distances, 3 * median if median > 0 else np.inf).mean())
