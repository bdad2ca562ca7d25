"""Checks of the arguments of measures, and their mean over samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

from metricalign._estimator import check_sample_weight, refuse_masked

__all__: list[str] = []


def check_matrix(array: Any, name: str, **options: Any) -> Any:
    """Check an array by scikit-learn, and refuse masked entries. Errors have its name."""
    refuse_masked(array, name)
    return check_array(array, input_name=name, **options)


def check_label_scores(y_true: Any, y_score: Any) -> tuple[NDArray, NDArray]:
    """Check label sets and scores of the labels. Return the label sets as booleans."""
    true = check_matrix(y_true, "y_true", accept_sparse="csr", ensure_min_features=2)
    if sparse.issparse(true):
        true = true.toarray()
    if not np.isin(true, (0, 1)).all():
        raise ValueError("y_true must be label sets, columns of 0 and 1.")
    scores = check_matrix(y_score, "y_score", dtype=[np.float64, np.float32])
    check_same_shape(true, scores, "y_score")
    return true.astype(bool), scores


def check_same_shape(true: NDArray, predicted: NDArray, name: str) -> None:
    """Refuse targets and predictions of different shapes."""
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_true and {name} must have the same shape, got {true.shape} and {predicted.shape}."
        )


def weighted_mean(values: NDArray, sample_weight: Any) -> float:
    """Mean of values, weighted if weights are given."""
    if sample_weight is None:
        return float(values.mean())
    return float(np.average(values, weights=check_sample_weight(sample_weight, values)))
