"""A linear layer that starts from a learned metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metricalign.relations import check_targets, select_targets

__all__ = ["refined_start"]

# Weight of Euclid's distance beside the learned one that a network starts from: what the learner
# drops must not be lost.
_WEIGHT_OF_EUCLID = 0.1


def refined_start(
    learner: Any, X: Any, y: Any, rows: NDArray, is_precomputed: bool, scale: float
) -> Tensor:
    """Weights of a linear layer, from a metric that is learned from some of the samples.

    Parameters
    ----------
    learner : MetricLearner
        Is fitted.
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like
        Their targets; relations as they are encoded, if `is_precomputed`.
    rows : ndarray of int
        The samples to learn from.
    is_precomputed : bool
        Whether y has relations.
    scale : float
        What the layer gets is divided by it.

    Returns
    -------
    weights : Tensor of shape (n_features, n_features)
        The symmetric root of c M + I / 10, where c brings the total variance of the images of the
        learned matrix M to the number of features.
    """
    y = y if is_precomputed else check_targets(y)
    y = select_targets(y, rows, is_precomputed=is_precomputed)
    X = X[rows]
    variance = learner.fit(X, y).transform(X).var(axis=0).sum()
    matrix = _WEIGHT_OF_EUCLID * np.eye(X.shape[1])
    if variance > 0:
        matrix += learner.get_mahalanobis_matrix() * (len(matrix) * scale**2 / variance)
    # The symmetric root, the only one that does not turn with rounding.
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    start = (eigenvectors * np.sqrt(eigenvalues)) @ eigenvectors.T
    return torch.from_numpy(start.astype(np.float32))
