"""The formulas of the relations, over rows of targets."""

from __future__ import annotations

import numpy as np

__all__ = []

PROBABILITY_FLOOR = 1e-6


def _class(left, right):
    return np.where(left != right, 1.0, -1.0)


def _zero_one(left, right):
    return np.where(left != right, 1.0, 0.0)


def _absolute_difference(left, right):
    return abs(left - right)


def _manhattan(left, right):
    return abs(left - right).sum(axis=1)


def _euclidean(left, right):
    return np.sqrt(((left - right) ** 2).sum(axis=1))


def _chebyshev(left, right):
    return abs(left - right).max(axis=1)


def _hamming(left, right):
    return (left != right).mean(axis=1)


def _jaccard(left, right):
    intersection = (left * right).sum(axis=1)
    union = left.sum(axis=1) + right.sum(axis=1) - intersection
    return _ratio(union - intersection, union)


def _canberra(left, right):
    return _ratio(abs(left - right), left + right).sum(axis=1)


def _clark(left, right):
    return np.sqrt((_ratio(abs(left - right), left + right) ** 2).sum(axis=1))


def _cosine(left, right):
    # Half the squared chord between the unit vectors is 1 - cos, without its cancellation.
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    return ((left - right) ** 2).sum(axis=1) / 2


def _intersection(left, right):
    # The same as 1 - sum min(left, right) for rows with sum 1, and exactly 0 for equal rows.
    return abs(left - right).sum(axis=1) / 2


def _kullback_leibler(left, right):
    left = np.maximum(left, PROBABILITY_FLOOR)
    right = np.maximum(right, PROBABILITY_FLOOR)
    return ((left - right) * (np.log(left) - np.log(right))).sum(axis=1) / 2


def _one_by_one(function, left, right):
    """Call a user's function on each pair of targets, as scikit-learn calls a metric."""
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


def _all_at_once(relation, left, right):
    """Call a user's relation on all pairs, and check what it returns."""
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
    """Divide, with 0 / 0 = 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
