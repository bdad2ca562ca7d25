"""Regressions of targets in coordinates, which correct the votes of neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import gen_batches

__all__ = [
    "Boosting",
    "KernelRidge",
    "RandomizedTrees",
    "Regression",
    "mean_distance",
    "regressions_of",
]

# Kernel ridge regression: width in mean distances, penalties, and centres at most.
_KERNEL_WIDTH = 2.0
_PENALTIES = (0.003, 0.03, 0.3)
_N_LANDMARKS = 1500
# Entries of a part of the kernel matrix.
_BLOCK_SIZE = 4_000_000


class Regression(ABC):
    """Base of the regressions: predicts coordinates of targets from images or columns."""

    def fit(
        self, images: NDArray, table: NDArray, targets: NDArray, weight: NDArray, random_state: int
    ) -> Self:
        """Fit it to distinct samples.

        Parameters
        ----------
        images : ndarray of shape (n_samples, n_components)
            Images under the metric.
        table : ndarray of shape (n_samples, n_columns)
            Standardised columns.
        targets : ndarray of shape (n_samples, n_outputs)
            Coordinates of the targets.
        weight : ndarray of shape (n_samples,)
            Weights, with mean 1 over all samples.
        random_state : int
            Where something is drawn at random.

        Returns
        -------
        self : object
        """
        self._fit(images, table, targets, weight, random_state)
        return self

    def predict(self, images: NDArray, table: NDArray) -> NDArray:
        """Coordinates of the targets, of shape (n_samples, n_outputs)."""
        return self._predict(images, table)

    @abstractmethod
    def _fit(self, images, table, targets, weight, random_state) -> None: ...

    @abstractmethod
    def _predict(self, images, table) -> NDArray: ...


class KernelRidge(Regression):
    """Kernel ridge regression on images, with one penalty."""

    def __init__(self, penalty: float):
        self.penalty = penalty

    def _fit(self, images, table, targets, weight, random_state):
        order = np.random.RandomState(random_state).permutation(len(images))[:_N_LANDMARKS]
        self.landmarks_ = images[np.sort(order)].astype(np.float64)
        self.width_ = _KERNEL_WIDTH * mean_distance(self.landmarks_)
        self.mean_ = np.average(targets, axis=0, weights=weight)
        kernel = self._kernel(self.landmarks_)
        if len(kernel) == len(images):
            matrix, sums = kernel + np.diag(self.penalty / weight), targets - self.mean_
        else:
            matrix, sums = self.penalty * kernel, np.zeros((len(kernel), targets.shape[1]))
            for batch in gen_batches(len(images), max(1, _BLOCK_SIZE // len(kernel))):
                rows = self._kernel(images[batch])
                weighted = weight[batch, None] * rows
                matrix += rows.T @ weighted
                sums += weighted.T @ (targets[batch] - self.mean_)
            # Landmarks that are nearly the same make it singular.
            matrix[np.diag_indices(len(matrix))] += 1e-12 * np.trace(matrix)
        self.coef_ = linalg.solve(matrix, sums, assume_a="pos")

    def _kernel(self, images):
        return np.exp(-euclidean_distances(images, self.landmarks_) / self.width_)

    def _predict(self, images, table):
        return self.mean_ + self._kernel(images.astype(np.float64)) @ self.coef_


class RandomizedTrees(Regression):
    """Extremely randomised trees on the standardised columns."""

    def __init__(self, max_features: Any):
        self.max_features = max_features

    def _fit(self, images, table, targets, weight, random_state):
        trees = ExtraTreesRegressor(max_features=self.max_features, random_state=random_state)
        self.trees_ = trees.fit(table, _as_column(targets), sample_weight=weight)

    def _predict(self, images, table):
        return self.trees_.predict(table).reshape(len(table), -1)


class Boosting(Regression):
    """Gradient boosting of one number, or of the first of two indicators."""

    def _fit(self, images, table, targets, weight, random_state):
        self.is_indicator_ = targets.shape[1] == 2
        boosting = HistGradientBoostingRegressor(random_state=random_state)
        self.boosting_ = boosting.fit(table, targets[:, 0], sample_weight=weight)

    def _predict(self, images, table):
        predicted = self.boosting_.predict(table)[:, None]
        return np.hstack([predicted, 1 - predicted]) if self.is_indicator_ else predicted


def regressions_of(targets: NDArray, is_class: bool, trees: Any) -> list[Any]:
    """Regressions that correct the votes, not fitted."""
    regressions: list[Any] = [KernelRidge(penalty) for penalty in _PENALTIES]
    if trees:
        is_indicator = np.isin(targets, (0, 1)).all()
        # What scikit-learn has by default for classes and for numbers.
        regressions.append(RandomizedTrees("sqrt" if is_indicator else 1.0))
        if targets.shape[1] == 1 or (is_class and targets.shape[1] == 2):
            regressions.append(Boosting())
    return regressions


def mean_distance(images: NDArray) -> float:
    """Mean distance of two samples, of a thousand of them if there are more; 1 if it is zero."""
    some = images[:: -(-len(images) // 1000)].astype(np.float64)
    total = euclidean_distances(some).sum()
    return float(total / (len(some) * (len(some) - 1))) if total > 0 else 1.0


def _as_column(targets) -> NDArray:
    return targets[:, 0] if targets.shape[1] == 1 else targets
