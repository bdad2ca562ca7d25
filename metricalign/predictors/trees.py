"""Trees that predict the coordinates of targets, each sample by trees that have not seen it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

from metricalign.pairs.anchors import systematic_sample

__all__ = [
    "MANY_SAMPLES",
    "MOST_OF_TREES",
    "Boosting",
    "CrossFitted",
    "RandomizedTrees",
    "tree_regressions",
]

# Fewer samples get smaller trees. On 15 data sets of numbers, these have .83 of the error of
# scikit-learn's default (31 leaves of at least 20 samples) with 300 samples, and the same error
# with 1,000. A quarter of the rounds at four times the rate, and a third of the forest, are as good
# (docs/tried.md).
MANY_SAMPLES = 2000
# Of more samples, so many stand for all: for each tree, and for boosting.
MOST_OF_TREES = 200_000
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
