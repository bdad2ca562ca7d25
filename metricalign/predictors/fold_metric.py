"""The metric of a fold, by which the vote is chosen: simpler than the ensemble, and much faster."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.base import BaseEstimator

from metricalign._arrays import as_dense
from metricalign.features import PiecewiseLinearEncoder
from metricalign.learners.coordinates import standard_coordinates
from metricalign.learners.ensemble import (
    MetricEnsemble,
    principal_components,
    scaled_deviations,
    views_of,
)
from metricalign.learners.gradient import N_OUTPUTS, GradientAlignment, gradient_components
from metricalign.pairs.anchors import choose_anchors, systematic_sample
from metricalign.predictors.encoded import EncodedRows, encoded_batches

__all__ = ["FoldMetric", "table_of_views"]

# In place of the learners of the ensemble: how neighbours vote is told as well by this one alone,
# in half the time (docs/tried.md).
_LEARNER = GradientAlignment(shrinkage=1.0, n_rounds=1, n_landmarks=500)
_ENSEMBLE = MetricEnsemble()


def table_of_views(
    encoder: PiecewiseLinearEncoder, encoding: EncodedRows, weight: NDArray
) -> tuple[NDArray, list[slice]]:
    """The columns of a table and their encoding, side by side, as `MetricEnsemble` sees them.

    No target has a part in them, so that one table serves all folds.

    Parameters
    ----------
    encoder : PiecewiseLinearEncoder
        The fitted encoder.
    encoding : EncodedRows of shape (n_samples, n_columns)
        Encoded samples, which are in the order of their values.
    weight : ndarray of shape (n_samples,)
        Their weights.

    Returns
    -------
    views : ndarray of shape (n_samples, n_columns)
    blocks : list of slice
        The columns of each view.
    """
    rows, of_rows = systematic_sample(weight, _ENSEMBLE.max_samples)
    scaled = scaled_deviations(encoding[rows], of_rows)
    maps = [as_dense(view).T for view in views_of(encoder, scaled).values()]
    ends = np.cumsum([0, *(columns.shape[1] for columns in maps)])
    views = np.empty((len(weight), ends[-1]), dtype=scaled.dtype)
    for batch in encoded_batches(len(views), scaled.shape[1]):
        encoded = encoding[batch]
        np.concatenate([encoded @ columns for columns in maps], axis=1, out=views[batch])
    return views, [slice(*block) for block in pairwise(ends)]


class FoldMetric(BaseEstimator):
    """Average of the metrics that one round of gradient alignment learns from each view.

    Parameters
    ----------
    blocks : list of slice
        Columns of the views.
    random_state : int
        Draws the landmarks.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns)
        Linear map of the metric.
    """

    def __init__(self, blocks: list[slice], random_state: int):
        self.blocks = blocks
        self.random_state = random_state

    def fit(self, X: NDArray, y: NDArray, sample_weight: NDArray) -> Self:
        """Learn the metric.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_columns)
            Samples of a table of views.
        y : ndarray of shape (n_samples, n_outputs)
            Coordinates of their targets.
        sample_weight : ndarray of shape (n_samples,)
            Weights of the samples.

        Returns
        -------
        self : object
            The fitted metric.
        """
        rows, weight = choose_anchors(X, sample_weight, _ENSEMBLE.max_samples)
        X, weight = X[rows], weight / weight.mean()
        random_state = np.random.RandomState(self.random_state)
        order = random_state.permutation(len(X))
        targets = standard_coordinates(y[rows], weight, N_OUTPUTS, random_state)
        scaled = scaled_deviations(X, weight)
        maps = []
        for block in self.blocks:
            try:
                components = gradient_components(_LEARNER, X[:, block], targets, weight, order)
            except ValueError:  # Few samples may all be the same, or nearly.
                components = np.eye(X.shape[1])[block, block]
            size = np.linalg.norm(scaled[:, block] @ components.T)
            maps.append(components / (size or 1))
        linear_map = linalg.block_diag(*maps)
        self.components_ = principal_components(linear_map, scaled, _ENSEMBLE.n_components)
        return self

    def transform(self, X: NDArray) -> NDArray:
        """Images of samples.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_columns)
            Samples of the table of views.

        Returns
        -------
        images : ndarray of shape (n_samples, n_components)
        """
        return X @ self.components_.T
