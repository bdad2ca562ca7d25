"""Sets of labels in the forms in which people have them: lists, sets, or a table of labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from metricalign._arrays import is_frame
from metricalign._estimator import level_of_call

__all__ = ["has_label_sets", "label_indicators", "predictions_as_array"]


def label_indicators(y: Any) -> tuple[Any, NDArray | None, bool]:
    """Turn sets of labels into columns of 0 and 1; leave other targets as they are.

    Parameters
    ----------
    y : iterable of iterables, DataFrame, array-like
        Lists or sets of labels, one for each sample, or a DataFrame with a column for each label.

    Returns
    -------
    y : ndarray of int of shape (n_samples, n_labels), or as given
        Whether a sample has a label.
    labels : ndarray of shape (n_labels,) or None
        The labels; None if they have no names.
    are_sets : bool
        Whether y had a set for each sample, and not a column for each label.

    Raises
    ------
    ValueError
        If labels of y cannot be put in order, such as numbers and strings.
    """
    if is_frame(y):
        if len(y.columns) > 1:
            return y, np.asarray(y.columns, dtype=object), False
        return np.asarray(y)[:, 0], None, False
    if not has_label_sets(y):
        return y, None, False
    binarizer = MultiLabelBinarizer()
    try:
        indicators = binarizer.fit_transform([list(labels) for labels in y])
    except TypeError as error:
        raise ValueError(
            "The labels of y must be all strings or all numbers, and no set may be missing: a "
            "sample without labels has an empty one."
        ) from error
    if len(binarizer.classes_) < 2:
        raise ValueError(
            f"y has {len(binarizer.classes_)} different labels in its sets; two are needed."
        )
    if "" in binarizer.classes_.tolist():
        warnings.warn(
            "y has the empty text '' as a label, which is what ''.split(',') makes of no labels. "
            "[[label for label in labels if label] for labels in y] leaves it out.",
            stacklevel=level_of_call(),
        )
    return indicators, binarizer.classes_, True


def has_label_sets(y: Any) -> bool:
    """Whether y has a set of labels for each sample, and is not a table of numbers."""
    if not isinstance(y, Iterable) or getattr(y, "ndim", 1) != 1:
        return False
    if getattr(getattr(y, "dtype", None), "kind", "O") != "O":
        return False
    samples = list(y)
    if not any(isinstance(sample, (set, frozenset, list, tuple)) for sample in samples):
        # polars returns the lists of a column as series; torch the numbers of a tensor as tensors.
        is_alike = len(samples) > 0 and type(samples[0]) is type(y) and not isinstance(y, str)
        return is_alike and np.ndim(samples[0]) == 1
    if hasattr(y, "dtype") or any(isinstance(sample, (set, frozenset)) for sample in samples):
        return True
    # A list of lists is a table of numbers, unless they hold strings or differ in length.
    lengths = {len(sample) for sample in samples if hasattr(sample, "__len__")}
    has_strings = any(isinstance(label, str) for sample in samples for label in sample)
    return has_strings or len(lengths) > 1


def predictions_as_array(predicted: NDArray | list) -> NDArray:
    """Return predictions as an array; label sets as an array of objects.

    Parameters
    ----------
    predicted : ndarray, or list of tuple
        Predictions.

    Returns
    -------
    predictions : ndarray
    """
    if not isinstance(predicted, list):
        return predicted
    label_sets = np.empty(len(predicted), dtype=object)
    label_sets[:] = predicted
    return label_sets
