"""Folds of the samples that count."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

__all__ = ["folds_among"]

# Where nobody says how many, and the samples suffice.
_N_FOLDS = 5


def folds_among(
    rows: NDArray, n_samples: int, cv: Any, classes: NDArray | None, *, is_shuffled: bool = False
) -> list[tuple[NDArray, NDArray]]:
    """Folds of some of the samples, as if there were no others.

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows,)
        The samples, those of positive weight.
    n_samples : int
        How many there are in all.
    cv : int, splitter, iterable or None
        As in `sklearn.model_selection.check_cv`; an iterable names samples among all. None is
        five, or fewer where a class, or all together, has not so many samples.
    classes : ndarray of shape (n_samples,) or None
        Classes of all samples, which each fold is to have in the same shares.
    is_shuffled : bool, default=False
        Whether the folds of ``cv=None`` are random, always the same ones.

    Returns
    -------
    folds : list of (train, test)
        Samples to fit and those held out.

    Raises
    ------
    ValueError
        If `cv` does not suit the samples.
    """
    if cv is not None and not isinstance(cv, Integral) and not hasattr(cv, "split"):
        is_present = np.zeros(n_samples, dtype=bool)
        is_present[rows] = True
        # Lists and masks are indices too.
        parts = ([np.arange(n_samples)[part] for part in split] for split in cv)
        return [(train[is_present[train]], test[is_present[test]]) for train, test in parts]
    classes = None if classes is None else classes[rows]
    if cv is None:
        splitter = _default_splitter(len(rows), classes, is_shuffled)
    else:
        splitter = check_cv(cv, classes, classifier=classes is not None)
    with warnings.catch_warnings():
        if cv is None:
            # A class of one sample is in no two folds, however many there are.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(splitter.split(np.empty((len(rows), 1)), classes))
    return [(rows[train], rows[test]) for train, test in splits]


def _default_splitter(n_rows, classes, is_shuffled):
    options = {"shuffle": True, "random_state": 0} if is_shuffled else {}
    if classes is not None:
        counts = np.unique(classes, return_counts=True)[1]
        if counts.max() > 1:
            return StratifiedKFold(int(np.clip(counts[counts > 1].min(), 2, _N_FOLDS)), **options)
    # Two samples in each at least, if there are so many.
    return KFold(int(np.clip(n_rows // 2, 2, _N_FOLDS)), **options)
