"""Distance of the two samples of each pair, whatever learns it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from metricalign._arrays import as_dense

__all__ = ["distance_of_pairs"]


def distance_of_pairs(metric: Any, pairs: NDArray) -> NDArray:
    """Distance of each pair after any transformer, by the metric learner itself if there is one.

    Parameters
    ----------
    metric : transformer
        A fitted metric learner, a pipeline, or another transformer.
    pairs : ndarray of shape (n_pairs, 2, n_features)
        Pairs of samples.

    Returns
    -------
    distances : ndarray of shape (n_pairs,)
        Distances of the images.
    """
    if isinstance(metric, FrozenEstimator):
        return distance_of_pairs(metric.estimator, pairs)
    samples = pairs.reshape(-1, pairs.shape[2])
    if isinstance(metric, Pipeline) and len(metric) > 1 and hasattr(metric[-1], "pair_distance"):
        samples = np.asarray(as_dense(metric[:-1].transform(samples)))
        return metric[-1].pair_distance(samples.reshape(*pairs.shape[:2], -1))
    if hasattr(metric, "pair_distance"):
        return metric.pair_distance(pairs)
    images = metric.transform(samples)
    images = images.tocsr() if sparse.issparse(images) else np.asarray(images)
    # Booleans cannot be subtracted, and unsigned integers have no negative differences.
    images = images.astype(np.result_type(images.dtype, np.float32))
    differences = as_dense(images[::2] - images[1::2])
    # A power of two changes no digit, and keeps squares in the range of floats.
    exponents = np.frexp(np.abs(differences).max(axis=1, initial=0))[1]
    scaled = np.ldexp(differences, -exponents[:, None])
    return np.ldexp(np.linalg.norm(scaled, axis=1), exponents)
