"""Calibration of distances: the threshold of decisions, and the probability of the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

__all__ = ["best_threshold", "log_odds"]

# Equal shares may differ by rounding, since ten weights of .1 are not quite 1.
_ROUNDING = 1e-12


def best_threshold(
    distances: NDArray, y: NDArray, weights: NDArray, strategy: str, min_rate: Any, beta: float
) -> float:
    """Return the threshold that maximises the strategy, as described in `PairClassifier`."""
    kept = weights > 0
    levels, places = np.unique(distances[kept], return_inverse=True)
    below = np.zeros((2, len(levels) + 1))
    for row, judgment in enumerate((1, -1)):
        mass = weights[kept] * (y[kept] == judgment)
        below[row, 1:] = np.cumsum(np.bincount(places, mass))
    true_positive, false_positive = below
    false_negative = true_positive[-1] - true_positive
    true_negative = false_positive[-1] - false_positive
    if strategy == "accuracy":
        values = (true_positive + true_negative) / weights[kept].sum()
    elif strategy == "f_beta":
        right = (1 + beta**2) * true_positive
        values = right / (right + beta**2 * false_negative + false_positive)
    elif strategy == "equal_error_rate":
        rates = false_negative / true_positive[-1], false_positive / true_negative[0]
        values = -np.maximum(*rates)
    else:
        rates = true_positive / true_positive[-1], true_negative / true_negative[0]
        value, other = rates if strategy == "max_tpr" else rates[::-1]
        values = np.where(other >= min_rate - _ROUNDING, value, -1)
    is_best = values >= values.max() - _ROUNDING
    best = np.flatnonzero(is_best)[-1 if strategy == "max_tnr" else 0]
    lower, upper = np.pad(levels, 1, constant_values=(-np.inf, np.inf))[[best, best + 1]]
    middle = lower / 2 + upper / 2
    # There is no float halfway between two neighbouring floats.
    return float(lower if middle == upper < np.inf else middle)


def log_odds(distances: NDArray, y: NDArray, weights: NDArray) -> tuple[float, float]:
    """Slope and intercept of the log-odds of the same, by Platt's logistic regression.

    Its targets are slightly above 0 and below 1. So no pair has the probability 0 or 1, even if the
    distance separates the judgments.
    """
    is_same = y > 0
    n_same, n_different = weights[is_same].sum(), weights[~is_same].sum()
    targets = np.where(is_same, (n_same + 1) / (n_same + 2), 1 / (n_different + 2))
    center = np.average(distances, weights=weights)
    scale = center or 1.0
    scaled = (distances - center) / scale

    def loss(parameters):
        odds = parameters[0] * scaled + parameters[1]
        errors = weights * (special.expit(odds) - targets)
        value = weights @ (np.logaddexp(0, odds) - targets * odds)
        return value, np.array([errors @ scaled, errors.sum()])

    start = [0.0, np.log((n_same + 1) / (n_different + 1))]
    # A larger distance must not be more probable to be the same, so the slope is at most zero.
    bounds = [(None, 0.0), (None, None)]
    slope, intercept = optimize.minimize(loss, start, jac=True, bounds=bounds, tol=1e-12).x
    return float(slope / scale), float(intercept - slope * center / scale)
