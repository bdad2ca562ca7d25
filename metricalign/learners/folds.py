"""Folds of the samples that have a positive weight."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

__all__ = ["folds_among"]

# Number of folds if `cv` is None and there are enough samples.
_N_FOLDS = 5


def folds_among(
    rows: NDArray, n_samples: int, cv: Any, classes: NDArray | None
) -> list[tuple[NDArray, NDArray]]:
    """Folds of some of the samples. The other samples do not influence them.

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows,)
        Indices of these samples, which have a positive weight.
    n_samples : int
        Number of all samples.
    cv : int, splitter, iterable or None
        As in `sklearn.model_selection.check_cv`. The indices of an iterable are those of all
        samples. None is five folds, or fewer if a class has fewer samples, or if there are fewer
        than ten samples.
    classes : ndarray of shape (n_samples,) or None
        Classes of all samples. Each fold has the same shares of them, unless no class has a sample
        for each fold.

    Returns
    -------
    folds : list of (train, test)
        Indices of the samples to fit, and of those that are held out.

    Raises
    ------
    ValueError
        If `cv` does not fit the samples.
    """
    if cv is not None and not isinstance(cv, Integral) and not hasattr(cv, "split"):
        is_present = np.zeros(n_samples, dtype=bool)
        is_present[rows] = True
        # The parts may also be lists or masks.
        parts = ([np.arange(n_samples)[part] for part in split] for split in cv)
        return [(train[is_present[train]], test[is_present[test]]) for train, test in parts]
    classes = None if classes is None else classes[rows]
    if hasattr(cv, "split"):
        splits = list(cv.split(np.empty((len(rows), 1)), classes))
    else:
        splits = _splits(len(rows), cv, classes)
    return [(rows[train], rows[test]) for train, test in splits]


def _splits(n_rows, n_folds, classes):
    """Folds with the same shares of the classes, if a class has a sample for each fold."""
    counts = np.array([n_rows]) if classes is None else np.unique(classes, return_counts=True)[1]
    is_default = n_folds is None
    if is_default:
        # Each fold has at least two samples. A class of one sample does not limit the number of
        # folds, since it is in one fold only, whatever their number is.
        limit = min(counts[counts > 1].min(initial=n_rows), n_rows // 2)
        n_folds = int(np.clip(limit, 2, _N_FOLDS))
    is_stratified = classes is not None and counts.max() >= n_folds
    splitter = (StratifiedKFold if is_stratified else KFold)(n_folds)
    with warnings.catch_warnings():
        if is_default:
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(np.empty((n_rows, 1)), classes))
