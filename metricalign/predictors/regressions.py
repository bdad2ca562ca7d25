"""Kernel ridge regressions of the coordinates of targets: they correct the votes of neighbours."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from metricalign._arrays import batches
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
from metricalign.predictors.encoded import EncodedRows, encoded_batches

__all__ = [
    "EncodedRidge",
    "GaussianKernelRidge",
    "KernelRidge",
    "SmoothKernelRidge",
    "mean_distance",
    "mean_of_distances",
    "predict_together",
]

# Kernel ridge regression: penalties, and largest number of landmarks.
_PENALTIES = (0.003, 0.03, 0.3)
_N_LANDMARKS = 1000
# Of more samples, so many stand for all in the sums of the regressions.
_MOST_OF_RIDGE = 50_000


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
        for batch in batches(len(images), max(1, ENTRIES_OF_PART // len(self.landmarks_))):
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


class GaussianKernelRidge(KernelRidge):
    """Kernel ridge regressions with the Gaussian kernel, for each of a few penalties.

    The kernel is exp(-(distance / width)²). On the columns of classes it is better than that of
    `SmoothKernelRidge` (docs/tried.md).
    """

    _width = 1.0

    def _of_distances(self, distances):
        ratios = distances / self.width_
        return np.exp(-ratios * ratios)


class EncodedRidge:
    """Kernel ridge regressions on the columns or their encoding, whatever the metric is.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder or None
        The fitted encoder; None if samples to predict come encoded.
    ridge : type of KernelRidge
        The regressions.

    Attributes
    ----------
    held_out_ : ndarray of shape (n_samples, n_penalties, n_outputs)
        Predictions of the training samples by regressions that have not seen them.
    ridge_ : KernelRidge
        The regressions fitted to all samples.
    """

    n_predictions = KernelRidge.n_predictions

    def __init__(self, encoder: PiecewiseLinearEncoder | None, ridge: type[KernelRidge]):
        self.encoder = encoder
        self.ridge = ridge

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
                of_fold = self.ridge()
                of_fold.fit(encoding[train], targets[train], weight[train], random_state)
                self.held_out_[test] = of_fold.predict(encoding[test])
            self.ridge_ = self.ridge().fit(encoding[:], targets, weight, random_state)
            return self
        # The encoding is the same in all folds, and so may be the landmarks: one pass is enough.
        rows, weight = systematic_sample(weight, _MOST_OF_RIDGE)
        images, targets = encoding[rows], targets[rows]
        ridge = self.ridge()
        kernel = ridge._prepare(images, targets, weight, random_state)
        parts = [np.flatnonzero(np.isin(rows, test, assume_unique=True)) for _, test in folds]
        sums = [ridge._sums(images[part], targets[part], weight[part]) for part in parts]
        for number, (_, test) in enumerate(folds):
            of_others = _total(sums[:number] + sums[number + 1 :])
            of_fold = copy(ridge)._solve_sums(of_others, kernel)
            for batch in encoded_batches(len(test), images.shape[1]):
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
