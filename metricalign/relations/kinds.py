"""Kinds of targets, and which are accepted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from metricalign._arrays import find_missing
from metricalign._estimator import refuse_masked

__all__ = []

# Numbers printed with three decimals are off by half of the last one at most.
ROUNDING_OF_SHARES = 5e-4


def _is_numeric(y):
    return y.dtype.kind in "biuf"


def _all_integers(y):
    return _is_numeric(y) and bool(np.all(stored_entries(y) == np.floor(stored_entries(y))))


def _are_classes(y):
    return y.ndim == 1 and (not _is_numeric(y) or _all_integers(y))


def _are_numbers(y):
    return y.ndim == 1 and _is_numeric(y)


def _are_columns(y):
    return y.ndim == 2


def _are_integer_columns(y):
    return y.ndim == 2 and _all_integers(y)


def _are_label_sets(y):
    return y.ndim == 2 and bool(np.isin(stored_entries(y), (0, 1)).all())


def _are_non_negative_columns(y):
    return y.ndim == 2 and bool(np.all(stored_entries(y) >= 0))


def sums_to_one(y: NDArray | sparse.sparray) -> NDArray:
    """Whether each row sums to 1, but for the rounding of its entries to three decimals.

    Parameters
    ----------
    y : {ndarray, sparse array} of shape (n_samples, n_outputs)
        Numbers.

    Returns
    -------
    sums_to_one : ndarray of bool of shape (n_samples,)
    """
    sums = np.asarray(y.sum(axis=1, dtype=np.float64)).ravel()
    # A thousandth more, since float32 rounds the decimals too.
    return abs(sums - 1) <= 1.001 * ROUNDING_OF_SHARES * y.shape[1]


def _are_distributions(y):
    return _are_non_negative_columns(y) and bool(np.all(sums_to_one(y)))


def _are_targets(y):
    return True


def stored_entries(y: Any) -> NDArray:
    """All entries of targets, or the stored ones of sparse targets."""
    return y.data if sparse.issparse(y) else y


class Domain(NamedTuple):
    """Targets that a relation is defined for."""

    contains: Callable[[Any], bool]
    description: str
    kinds: tuple[str, ...]  # the last one is taken if the targets look like another kind


_MATRICES = ("multilabel", "distribution", "multioutput")

CLASSES = Domain(
    _are_classes, "one column of classes (strings, booleans or integers)", ("binary", "multiclass")
)

NUMBERS = Domain(_are_numbers, "one column of numbers", ("continuous",))

COLUMNS = Domain(_are_columns, "two or more columns of numbers", _MATRICES)

INTEGER_COLUMNS = Domain(_are_integer_columns, "two or more columns of integers", _MATRICES)

NON_NEGATIVE_COLUMNS = Domain(
    _are_non_negative_columns, "two or more columns of non-negative numbers", _MATRICES
)

LABEL_SETS = Domain(_are_label_sets, "two or more columns of 0 and 1", ("multilabel",))

DISTRIBUTIONS = Domain(
    _are_distributions,
    "two or more columns of non-negative numbers with row sums of 1",
    ("distribution",),
)

TARGETS = Domain(
    _are_targets,
    "one column of classes or numbers, or two or more columns of numbers",
    ("binary", "multiclass", "continuous", *_MATRICES),
)

# What `Relation.targets` may be.
DOMAINS = {
    "any": TARGETS,
    "classes": CLASSES,
    "numbers": NUMBERS,
    "columns": COLUMNS,
    "integer_columns": INTEGER_COLUMNS,
    "non_negative_columns": NON_NEGATIVE_COLUMNS,
    "label_sets": LABEL_SETS,
    "distributions": DISTRIBUTIONS,
}

_ACCEPTED_TARGETS = (
    "y may be one column of strings or numbers, several columns of numbers (label sets as 0 "
    "and 1: see sklearn.preprocessing.MultiLabelBinarizer), dense or sparse, without missing or "
    "infinite values."
)


def check_target_array(y: Any, **options: Any) -> Any:
    """Let scikit-learn check an array, and name y in its errors."""
    refuse_masked(y, "y")
    try:
        # scikit-learn looks at the sum of all entries first, which may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            return check_array(y, input_name="y", **options)
    except (TypeError, ValueError) as error:
        cause = str(error).rstrip(".")
        cause += _place_of_missing(y) if "NaN" in cause else ""
        raise ValueError(f"y is not valid: {cause}. {_ACCEPTED_TARGETS}") from error


def _place_of_missing(y):
    """Where a dense y has missing values, in words."""
    if sparse.issparse(y):
        return ""
    is_missing = find_missing(np.asarray(y)).reshape(len(y), -1)
    rows = np.flatnonzero(is_missing.any(axis=1))
    return f", the first in row {rows[0]} ({len(rows)} of {len(y)} samples)"


def _is_array_of_numbers(y):
    """Whether y needs no check: in a small fit the check takes a twentieth of the time."""
    is_array = type(y) is np.ndarray and y.ndim in (1, 2) and y.size > 0
    return is_array and y.dtype.kind in "biuf" and bool(np.isfinite(y).all())


def is_ordered(y: Any) -> bool:
    """Whether y is a categorical of pandas whose categories have an order."""
    return bool(getattr(getattr(y, "dtype", None), "ordered", False))


def check_targets(y: Any) -> Any:
    """Return the targets as an array of strings or real numbers, sparse only if all 0 or 1.

    Ordered categories become their ranks.
    """
    if is_ordered(y):
        ranks = np.asarray(getattr(y, "cat", y).codes, dtype=np.float64)
        y = np.where(ranks < 0, np.nan, ranks)
    if not _is_array_of_numbers(y):
        y = check_target_array(y, accept_sparse="csr", dtype=None, ensure_2d=False)
    if sparse.issparse(y):
        y = sparse.csr_array(y, copy=True)
        y.eliminate_zeros()
        if y.shape[1] == 1 or not _are_label_sets(y):
            y = y.toarray()
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    if y.dtype.kind == "O" and all(isinstance(target, str) for target in y.flat):
        y = y.astype(str)
    if not (_is_numeric(y) or (y.dtype.kind in "UT" and y.ndim == 1)):
        found = "objects that are not strings" if y.dtype.kind == "O" else f"{y.dtype} entries"
        raise ValueError(
            f"Unknown label type: y has {found} and the shape {y.shape}. {_ACCEPTED_TARGETS}"
        )
    return y


def check_classes(y: Any) -> NDArray:
    """Check targets of a classifier: classes, or label sets as columns of 0 and 1.

    Parameters
    ----------
    y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)
        Targets. Those of one column are classes.

    Returns
    -------
    targets : ndarray of shape (n_samples,), or of int of shape (n_samples, n_labels)
        Classes, or whether a sample has each label.

    Raises
    ------
    ValueError
        If they are neither.

    Examples
    --------
    >>> from metricalign.relations.kinds import check_classes
    >>> check_classes(["b", "a"])
    array(['b', 'a'], dtype='<U1')
    >>> check_classes([[True, False], [True, True]])
    array([[1, 0],
           [1, 1]])
    """
    refuse_masked(y, "y")
    y = check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False, input_name="y")
    y = y.toarray() if sparse.issparse(y) else y
    if y.ndim == 1 or y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return y
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            "Unknown label type: y has several columns, which must be labels, 0 or 1. "
            "sklearn.preprocessing.MultiLabelBinarizer makes them of label sets; "
            "MetricNeighborsRegressor predicts distributions and numbers."
        )
    return y.astype(int)


def check_n_samples(y: Any, n_samples: int | None) -> None:
    """Refuse targets of fewer or more samples than X has; what has no length is left to others."""
    shape = (len(y),) if isinstance(y, list | tuple) else getattr(y, "shape", ())
    if n_samples is not None and shape and shape[0] != n_samples:
        raise ValueError(f"X and y must have as many samples; got {n_samples} and {shape[0]}.")


def select_targets(y: Any, rows: NDArray, *, is_precomputed: bool) -> Any:
    """Select the targets of some of the samples, or the relations among them.

    Parameters
    ----------
    y : array-like or sparse matrix
        Targets, encoded or not; the matrix of relations if these are precomputed.
    rows : ndarray of int
        Which samples.
    is_precomputed : bool
        Whether `y` is the matrix of relations.

    Returns
    -------
    targets : array-like or sparse matrix
        Of the kind of `y`.
    """
    if is_precomputed:
        matrix = sparse.csr_array(y) if sparse.issparse(y) else np.asarray(y)
        return matrix[rows][:, rows]
    return _safe_indexing(y, rows)


def check_training_targets(y: Any) -> None:
    """Refuse fewer than two targets, and targets that are all the same."""
    n_samples = y.shape[0]
    if n_samples < 2:
        raise ValueError(f"y has {n_samples} sample, but a pair needs at least 2 samples.")
    if sparse.issparse(y):
        constant = bool(np.isin(y.sum(axis=0), (0, n_samples)).all())
    else:
        constant = bool((y == y[0]).all())
    if constant:
        target = y[[0]].toarray()[0] if sparse.issparse(y) else y[0]
        what = "one class only" if y.ndim == 1 else "one target only"
        # Of many labels the first few are enough to recognise the target.
        target = repr(target.tolist()) if target.size <= 20 else str(target[:3])[:-1] + " ...]"
        raise ValueError(
            f"y is constant, it has {what}, {target}: every pair would have the same "
            "relation. It must have at least two different targets."
        )


def describe(y: Any) -> str:
    """What targets are, in words."""
    if not _is_numeric(y):
        return f"strings and the shape {y.shape}"
    numbers = "integers" if _all_integers(y) else "numbers"
    return f"{numbers} from {float(y.min()):g} to {float(y.max()):g} and the shape {y.shape}"


def subtractable(y: NDArray) -> NDArray:
    """Numbers whose differences do not wrap around, as those of unsigned integers do."""
    if y.dtype.kind in "bi" or (y.dtype.kind == "u" and y.dtype.itemsize < 8):
        return y.astype(np.int64)
    return y.astype(np.float64) if _is_numeric(y) else y


def count_outputs(y: Any) -> int:
    """Number of columns of targets."""
    return 1 if y.ndim == 1 else y.shape[1]


def kind_of_targets(y: Any) -> str:
    """Tell the kind of targets from their values, as the table of this module says."""
    if y.ndim == 2:
        if _are_label_sets(y):
            return "multilabel"
        return "distribution" if _are_distributions(y) else "multioutput"
    if _are_numbers(y):
        n_distinct = len(np.unique(y))
        # Counts, grades and rounded measurements, which type_of_target takes for classes.
        if n_distinct > 20 and len(y) < 5 * n_distinct:
            return "continuous"
    with np.errstate(invalid="ignore"):  # it casts large floats to integers
        return type_of_target(y, input_name="y")


def warn_of_doubt(y: Any, kind: str) -> None:
    """Warn where the targets may as well be of another kind."""
    if kind in ("binary", "multiclass") and _are_numbers(y) and len(np.unique(y)) > 20:
        warnings.warn(
            f"y has {len(np.unique(y))} different integers and is taken as classes. Say "
            'relation="class" if it is, relation="absolute_difference" if they are numbers.',
            UserWarning,
            stacklevel=2,
        )
    elif kind == "multioutput" and (doubt := doubt_of_shares(y)):
        warnings.warn(
            f'{doubt} Say relation="euclidean" if they are not.', UserWarning, stacklevel=2
        )


def doubt_of_shares(y: NDArray | sparse.sparray) -> str:
    """What to say of columns that are no distributions, but may be meant as such; or nothing."""
    if not _are_non_negative_columns(y):
        return ""
    sums = np.asarray(y.sum(axis=1), dtype=np.float64).ravel()
    if sums.min() <= 0 or np.ptp(sums) > 0.03 * sums.mean():
        return ""
    return (
        f"The rows of y are nonnegative and sum to between {sums.min():g} and {sums.max():g}, and "
        "are taken as several numbers. Divide each row by its sum if they are the shares of a "
        "distribution."
    )


def kind_in_domain(domain: Domain, y: Any) -> str:
    """Tell the kind of targets when the relation is given and leaves a choice."""
    if len(domain.kinds) == 1:
        return domain.kinds[0]
    kind = kind_of_targets(y)
    return kind if kind in domain.kinds else domain.kinds[-1]
