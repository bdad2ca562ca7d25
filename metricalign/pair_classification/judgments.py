"""Judgments of pairs as the targets of a metric learner."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_consistent_length

from metricalign._estimator import check_sample_weight, level_of_call, refuse_masked
from metricalign.pairs import PairSelection
from metricalign.pairs.identical import first_identical

__all__ = [
    "JudgedPairs",
    "check_judgments",
    "precomputed_relations",
    "set_pairs",
    "warn_of_scales",
]

# The largest standard deviation of a feature is 390 times the median in wine, and 7,800 times in
# breast_cancer. Scaling makes these .27 and .09 more accurate. In digits, which needs no scaling,
# it is 1.5 times the median.
_UNUSUAL_SCALE = 100


class JudgedPairs(BaseEstimator):
    """Strategy of a metric learner that returns given pairs with weights."""

    def __init__(self, indices: NDArray, weights: NDArray, n_samples: int):
        self.indices = indices
        self.weights = weights
        self.n_samples = n_samples

    def select(
        self, X: Any, y: Any, sample_weight: Any = None, random_state: Any = None
    ) -> PairSelection:
        """Return the pairs."""
        if X.shape[0] != self.n_samples:
            raise ValueError(
                "Judged pairs with weights, or judged several times, must be fitted to all at "
                "once, not to some of their samples. Cross-validate the PairClassifier: a grid "
                "search has metric__C."
            )
        return PairSelection(self.indices, self.weights)


def check_judgments(pairs: NDArray, y: Any, sample_weight: Any) -> tuple[NDArray, NDArray, NDArray]:
    """The two judgments, the judgment of each pair as -1 or +1, and the weights of the pairs."""
    if y is None:
        raise ValueError("A PairClassifier requires y to be passed, but the target y is None.")
    refuse_masked(y, "y")
    is_boolean = _are_booleans(np.asarray(y))
    y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
    check_consistent_length(pairs, y)
    different = -1 if np.isin(y, (-1, 1)).all() else 0
    is_valid = np.isin(y, (different, 1))
    if not is_valid.all():
        raise ValueError(
            "y must hold the judgments +1, the same, and -1, different, or 1 and 0, or True and "
            f"False; got {np.unique(y)[:5].tolist()}. Grades are learned from with "
            'relation="precomputed", see metricalign.pair_classification.'
        )
    classes = np.array([False, True]) if is_boolean else np.array([different, 1])
    y = np.where(y == 1, 1, -1)
    weights = check_sample_weight(sample_weight, pairs)
    found = np.unique(y[weights > 0])
    if len(found) < 2:
        raise ValueError(
            f"y must hold both judgments, +1 and -1, with positive weight; got one class only, "
            f"{found.tolist()}."
        )
    return classes, y, weights


def _are_booleans(y):
    """Whether all values are True or False, which pandas may store as objects."""
    is_boolean = y.dtype == object and all(isinstance(each, bool | np.bool_) for each in y.flat)
    return is_boolean or y.dtype == bool


def precomputed_relations(
    pairs: NDArray, y: NDArray, weights: NDArray
) -> tuple[NDArray, sparse.csr_array, JudgedPairs]:
    """Distinct samples, the sparse matrix of their relations, and the pairs with their weights."""
    kept = weights > 0
    rows = pairs[kept].reshape(-1, pairs.shape[2])
    distinct, numbers = np.unique(first_identical(rows), return_inverse=True)
    samples = rows[distinct]
    left, right = np.sort(numbers.reshape(-1, 2), axis=1).T
    # The matrix adds up the judgments of a pair. A sample with itself is no pair.
    sums = sparse.coo_array(
        ((y * weights)[kept], (left, right)), shape=(len(samples), len(samples))
    ).tocsr()
    left, right = sums.tocoo().coords
    is_pair = (left < right) & (sums.data != 0)
    indices = np.stack([left, right], axis=1, dtype=np.intp)[is_pair]
    sums = sums.data[is_pair]
    relations = -np.sign(sums)
    if len(np.unique(relations)) < 2:
        raise ValueError(
            "Pairs of both judgments, +1 and -1, must be left to learn from, without pairs of "
            "identical samples and those whose judgments cancel; got "
            f"{np.sum(relations < 0)} of +1 and {np.sum(relations > 0)} of -1."
        )
    matrix = sparse.coo_array((relations, tuple(indices.T)), shape=(len(samples), len(samples)))
    return samples, matrix.tocsr(), JudgedPairs(indices, np.abs(sums), len(samples))


def set_pairs(learner: Any, judged: JudgedPairs) -> None:
    """Set the relation of a metric learner, and its pairs, so that it learns from judged pairs.

    If all weights are 1, the learner finds the pairs in the sparse `y`, and they are not set.
    """
    name = type(learner).__name__
    if "pairs" not in learner.get_params(deep=False):
        raise ValueError(
            f"{name} learns from the relations of all samples, and judged pairs have only some of "
            "them. Give a learner of given pairs, such as PSDSVR(), or, if it is fitted, "
            f"FrozenEstimator({name}(...))."
        )
    learner.set_params(relation="precomputed", pairs="auto")
    if np.all(judged.weights == 1):
        return
    learner.set_params(pairs=judged)
    constraints = {"pairs": learner._parameter_constraints["pairs"]}
    try:
        validate_parameter_constraints(constraints, {"pairs": judged}, name)
    except InvalidParameterError:
        raise ValueError(
            f"{name} does not take pairs with weights, which those have that are judged several "
            "times or come with sample_weight. Give each pair once and no weights, or another "
            "metric, such as PSDSVR()."
        ) from None


def warn_of_scales(samples: NDArray, name: str) -> None:
    """Warn if few features make up all distances, so that the others are not learned from."""
    # Of values in [-1, 1], so that no square leaves the range of floats.
    largest = np.abs(samples).max(axis=0)
    deviations = largest * (samples / np.where(largest > 0, largest, 1)).std(axis=0)
    usual = np.median(deviations[deviations > 0])
    if deviations.max() > _UNUSUAL_SCALE * usual:
        warnings.warn(
            f"The features of the pairs have standard deviations of {usual:.1e} as a rule, and of "
            f"{deviations.max():.1e} at most, so that few of them make all distances. If that is "
            f"only their unit, scale them: make_pipeline(StandardScaler(), {name}()) as metric.",
            stacklevel=level_of_call(),
        )
