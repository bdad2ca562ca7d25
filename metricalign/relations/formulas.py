"""The formulas of the relations. Each takes the two targets of many pairs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = []

# Smaller probabilities count as this in logarithms, which are not finite at 0.
PROBABILITY_FLOOR = 1e-6


def plus_minus_one(left: Any, right: Any) -> Any:
    """1 for different classes, -1 for the same."""
    return np.where(left != right, 1.0, -1.0)


def zero_one(left: Any, right: Any) -> Any:
    """1 for different classes, 0 for the same."""
    return np.where(left != right, 1.0, 0.0)


def absolute_difference(left: Any, right: Any) -> Any:
    """abs(a - b)."""
    return abs(left - right)


def manhattan(left: Any, right: Any) -> Any:
    """Sum abs(a - b)."""
    return abs(left - right).sum(axis=1)


def euclidean(left: Any, right: Any) -> Any:
    """sqrt(sum (a - b)^2)."""
    return np.sqrt(((left - right) ** 2).sum(axis=1))


def chebyshev(left: Any, right: Any) -> Any:
    """Max abs(a - b)."""
    return abs(left - right).max(axis=1)


def hamming(left: Any, right: Any) -> Any:
    """Share of the columns that differ."""
    return (left != right).mean(axis=1)


def jaccard(left: Any, right: Any) -> Any:
    """Number of labels in exactly one of the sets, over the number in at least one."""
    intersection = (left * right).sum(axis=1)
    union = left.sum(axis=1) + right.sum(axis=1) - intersection
    return _ratio(union - intersection, union)


def canberra(left: Any, right: Any) -> Any:
    """Sum abs(a - b) / (a + b), with 0 / 0 = 0."""
    return _ratio(abs(left - right), left + right).sum(axis=1)


def clark(left: Any, right: Any) -> Any:
    """sqrt(sum (a - b)^2 / (a + b)^2), with 0 / 0 = 0."""
    return np.sqrt((_ratio(abs(left - right), left + right) ** 2).sum(axis=1))


def cosine(left: Any, right: Any) -> Any:
    """1 - <a, b> / (norm(a) norm(b))."""
    # 1 - cos is half the squared distance of the unit vectors, which has no cancellation.
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    return ((left - right) ** 2).sum(axis=1) / 2


def intersection(left: Any, right: Any) -> Any:
    """1 - sum min(a, b)."""
    # For rows with sum 1, this equals 1 - sum min(left, right). It is exactly 0 for equal rows.
    return abs(left - right).sum(axis=1) / 2


def kullback_leibler(left: Any, right: Any) -> Any:
    """Mean of the two divergences, sum (a - b) (log a - log b) / 2."""
    left = np.maximum(left, PROBABILITY_FLOOR)
    right = np.maximum(right, PROBABILITY_FLOOR)
    return ((left - right) * (np.log(left) - np.log(right))).sum(axis=1) / 2


def one_by_one(function: Callable[[Any, Any], float], left: Any, right: Any) -> NDArray:
    """Call a user's function on each pair of targets, and check the numbers that it returns."""
    values = np.empty(len(left))
    for index, targets in enumerate(zip(left, right, strict=True)):
        value = np.asarray(function(*targets))
        if value.ndim or value.dtype.kind not in "biuf" or not np.isfinite(value):
            raise ValueError(
                "relation, when callable, must return one finite real number for two targets; "
                f"it returned {value.tolist()!r} for {targets[0]!r} and {targets[1]!r}."
            )
        values[index] = value
    return values


def all_at_once(relation: Callable[[Any, Any], Any], left: Any, right: Any) -> NDArray:
    """Call a user's relation on all pairs at once, and check the array that it returns."""
    values = np.asarray(relation(left, right))
    if values.shape != (len(left),) or values.dtype.kind not in "biuf":
        found = f"{values.dtype} of shape {values.shape}"
    elif not np.isfinite(values).all():
        found = f"{values[~np.isfinite(values)][0]} among them"
    else:
        return values
    raise ValueError(
        f"relation={relation!r} must return one finite real number a pair, an array of shape "
        f"({len(left)},) here; it returned {found}."
    )


def _ratio(numerator, denominator):
    """Quotient, with 0 / 0 = 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
