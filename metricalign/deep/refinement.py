"""A linear layer that starts from a learned metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metricalign.relations import check_targets, select_targets

__all__ = ["refined_start"]

# Weight of Euclid's distance beside the learned one from which a network starts. Without it, the
# directions that the learner drops would be lost to the network.
_WEIGHT_OF_EUCLID = 0.1


def refined_start(
    learner: Any, X: Any, y: Any, rows: NDArray, is_precomputed: bool, scale: float
) -> Tensor:
    """Return the weights of a linear layer that has a metric learned from some of the samples.

    Parameters
    ----------
    learner : MetricLearner
        The learner of the metric. It is fitted here.
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like
        Their targets, or their encoded relations if `is_precomputed`.
    rows : ndarray of int
        Rows of the samples to learn from.
    is_precomputed : bool
        Whether y has relations in place of targets.
    scale : float
        The input of the layer is divided by it.

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
    # The symmetric root is the only one that does not depend on rounding by a rotation.
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    start = (eigenvectors * np.sqrt(eigenvalues)) @ eigenvectors.T
    return torch.from_numpy(start.astype(np.float32))
