"""Kinds of targets, and checks of targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from metricalign._arrays import as_dense, find_missing
from metricalign._estimator import refuse_masked

__all__ = []

# Numbers that are rounded to so many decimals have an error of at most half of the last one.
_DECIMALS_OF_SHARES = (3, 4, 5)

# Shares that are not rounded sum to 1 but for this error.
_ERROR_OF_SUM = 1e-3


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
    """Whether each row sums to 1, up to .001 and the rounding of its entries.

    Entries may be rounded to three decimals or more. Rows of many entries that are not rounded
    have no larger error.

    Parameters
    ----------
    y : {ndarray, sparse array} of shape (n_samples, n_outputs)
        Numbers.

    Returns
    -------
    sums_to_one : ndarray of bool of shape (n_samples,)
        Whether each row has the sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.relations import sums_to_one
    >>> sums_to_one(np.array([[0.333, 0.667], [0.3, 0.6]]))
    array([ True, False])
    """
    y = sparse.csr_array(y) if sparse.issparse(y) else y
    sums = np.asarray(y.sum(axis=1, dtype=np.float64)).ravel()
    # The factor allows for the rounding of float32.
    errors = abs(sums - 1) / 1.001
    is_one = errors <= _ERROR_OF_SUM
    for decimals in _DECIMALS_OF_SHARES:
        of_rounding = 0.5 * 10.0**-decimals * y.shape[1]
        rows = np.flatnonzero(~is_one & (errors <= of_rounding))
        is_one[rows] = _have_decimals(y[rows], decimals)
    return is_one


def _have_decimals(y, decimals):
    """Whether all entries of each row have no further decimals."""
    units = stored_entries(y).astype(np.float64) * 10.0**decimals
    # The entries may have been float32.
    has_more = abs(units - units.round()) > np.finfo(np.float32).eps * units
    if sparse.issparse(y):
        y.data = has_more
        has_more = y
    return np.asarray(has_more.sum(axis=1)).ravel() == 0


def _are_distributions(y):
    return _are_non_negative_columns(y) and bool(np.all(sums_to_one(y)))


def _are_targets(y):
    return True


def stored_entries(y: Any) -> NDArray:
    """All entries of dense targets, or the stored entries of sparse ones."""
    return y.data if sparse.issparse(y) else y


class Domain(NamedTuple):
    """The targets for which a relation is defined."""

    contains: Callable[[Any], bool]
    description: str
    kinds: tuple[str, ...]  # if the targets look like another kind, the last one is taken


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

# The domains by their name in `Relation.targets`.
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

_ADVICE_FOR_LABEL_SETS = (
    "y is not valid: {}. MetricNeighborsClassifier takes lists and sets of labels as they are; for "
    "others sklearn.preprocessing.MultiLabelBinarizer makes columns of 0 and 1 of them."
)


def check_target_array(y: Any, **options: Any) -> Any:
    """Check an array by scikit-learn. Errors name y."""
    refuse_masked(y, "y")
    try:
        # scikit-learn computes the sum of all entries, which may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            return check_array(y, input_name="y", **options)
    except (TypeError, ValueError) as error:
        _refuse_lists_of_labels(error)
        cause = str(error).rstrip(".")
        cause += _place_of_missing(y) if "NaN" in cause else ""
        raise ValueError(f"y is not valid: {cause}. {_ACCEPTED_TARGETS}") from error


def _refuse_lists_of_labels(error):
    """Say what to do with rows of different lengths, about which NumPy only says what they are."""
    if "inhomogeneous" in str(error):
        found = "its rows have different lengths, as label sets have"
        raise ValueError(_ADVICE_FOR_LABEL_SETS.format(found)) from error


def _place_of_missing(y):
    """Words that say where a dense y has missing values."""
    if sparse.issparse(y):
        return ""
    is_missing = find_missing(np.asarray(y)).reshape(len(y), -1)
    rows = np.flatnonzero(is_missing.any(axis=1))
    return f", the first in row {rows[0]} ({len(rows)} of {len(y)} samples)"


def _is_array_of_numbers(y):
    """Whether y is an array of finite numbers, which needs no further check.

    The check would take a twentieth of a small fit.
    """
    is_array = type(y) is np.ndarray and y.ndim in (1, 2) and y.size > 0
    return is_array and y.dtype.kind in "biuf" and bool(np.isfinite(y).all())


def is_ordered(y: Any) -> bool:
    """Whether y is an ordered categorical of pandas."""
    return bool(getattr(getattr(y, "dtype", None), "ordered", False))


def check_targets(y: Any) -> Any:
    """Check targets, and return an array of strings or real numbers.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    Returns
    -------
    targets : {ndarray, csr_array} of shape (n_samples,) or (n_samples, n_outputs)
        The targets. A single column has shape (n_samples,). Ordered categories of pandas become
        their ranks. The array is sparse only if y is a sparse array of 0 and 1 with several
        columns.

    Raises
    ------
    ValueError
        If y has missing or infinite values, or neither strings nor real numbers.

    Examples
    --------
    >>> from metricalign.relations import check_targets
    >>> check_targets([["cat"], ["dog"]])
    array(['cat', 'dog'], dtype='<U3')
    """
    if is_ordered(y):
        ranks = np.asarray(getattr(y, "cat", y).codes, dtype=np.float64)
        y = np.where(ranks < 0, np.nan, ranks)
    if not _is_array_of_numbers(y):
        y = without_string_dtype(y)
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
    if not (_is_numeric(y) or (y.dtype.kind == "U" and y.ndim == 1)):
        found = "objects that are not strings" if y.dtype.kind == "O" else f"{y.dtype} entries"
        raise ValueError(
            f"Unknown label type: y has {found} and the shape {y.shape}.{_advice_for_objects(y)} "
            f"{_ACCEPTED_TARGETS}"
        )
    return y


def without_string_dtype(y: Any) -> Any:
    """Strings of NumPy's StringDType as objects, since scikit-learn cannot check that type."""
    return y.astype(object) if getattr(getattr(y, "dtype", None), "kind", "") == "T" else y


def _advice_for_objects(y):
    """What to do with numbers that are kept as objects, as a table of several types has them."""
    if y.dtype.kind != "O" or not all(isinstance(value, Real | np.bool_) for value in y.flat):
        return ""
    as_type = "int" if all(isinstance(value, Integral | np.bool_) for value in y.flat) else "float"
    return f" They are numbers: give y.astype({as_type})."


def check_classes(y: Any) -> NDArray:
    """Check the targets of a classifier: classes, or label sets as columns of 0 and 1.

    Parameters
    ----------
    y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_labels)
        Targets. A single column has classes.

    Returns
    -------
    targets : ndarray of shape (n_samples,), or of int of shape (n_samples, n_labels)
        Classes, or 1 for the labels of each sample and 0 for the others.

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
    try:
        y = without_string_dtype(y)
        y = check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False, input_name="y")
    except ValueError as error:
        _refuse_lists_of_labels(error)
        raise
    y = as_dense(y)
    if y.ndim == 1 or y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O" and isinstance(y[0], set | frozenset | list | tuple):
            raise ValueError(_ADVICE_FOR_LABEL_SETS.format("its samples are lists or sets"))
        try:
            check_classification_targets(y)
        except ValueError as error:
            raise ValueError(f"{error}{_advice_for_objects(y)}") from error
        return y
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            "Unknown label type: y has several columns, which must be labels, 0 or 1. "
            "sklearn.preprocessing.MultiLabelBinarizer makes them of label sets; "
            "MetricNeighborsRegressor predicts distributions and numbers."
        )
    return y.astype(int)


def check_n_samples(y: Any, n_samples: int | None) -> None:
    """Refuse targets of another number of samples than X. Accept a y without a length."""
    shape = (len(y),) if isinstance(y, list | tuple) else getattr(y, "shape", ())
    if n_samples is not None and shape and shape[0] != n_samples:
        raise ValueError(f"X and y must have as many samples; got {n_samples} and {shape[0]}.")


def select_targets(y: Any, rows: NDArray, *, is_precomputed: bool) -> Any:
    """Select the targets of some of the samples, or the relations among them.

    Parameters
    ----------
    y : array-like or sparse matrix
        Targets, encoded or not, or the matrix of precomputed relations.
    rows : ndarray of int
        Indices of the samples.
    is_precomputed : bool
        Whether `y` is the matrix of relations.

    Returns
    -------
    targets : array-like or sparse matrix
        The selected targets or relations, in the form of `y`.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.relations import select_targets
    >>> relations = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> select_targets(relations, np.array([0, 2]), is_precomputed=True)
    array([[0, 2],
           [2, 0]])
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
        # The first few of many labels are enough to recognise the target.
        target = repr(target.tolist()) if target.size <= 20 else str(target[:3])[:-1] + " ...]"
        raise ValueError(
            f"y is constant, it has {what}, {target}: every pair would have the same "
            "relation. It must have at least two different targets."
        )


def describe(y: Any) -> str:
    """Words for targets: their type, range and shape."""
    if not _is_numeric(y):
        return f"strings and the shape {y.shape}"
    numbers = "integers" if _all_integers(y) else "numbers"
    return f"{numbers} from {float(y.min()):g} to {float(y.max()):g} and the shape {y.shape}"


def subtractable(y: NDArray) -> NDArray:
    """Convert numbers to a type in which differences do not wrap around.

    Differences of unsigned integers would.
    """
    if y.dtype.kind in "bi" or (y.dtype.kind == "u" and y.dtype.itemsize < 8):
        return y.astype(np.int64)
    return y.astype(np.float64) if _is_numeric(y) else y


def count_outputs(y: Any) -> int:
    """Number of columns of targets."""
    return 1 if y.ndim == 1 else y.shape[1]


def kind_of_targets(y: Any) -> str:
    """Tell the kind of targets from their values, by the table in `metricalign.relations`."""
    if y.ndim == 2:
        if _are_label_sets(y):
            return "multilabel"
        return "distribution" if _are_distributions(y) else "multioutput"
    if _are_numbers(y):
        n_distinct = len(np.unique(y))
        # type_of_target would take counts, grades and rounded measurements for classes.
        if n_distinct > 20 and len(y) < 5 * n_distinct:
            return "continuous"
    with np.errstate(invalid="ignore"):  # type_of_target casts large floats to integers
        return type_of_target(y, input_name="y")


def warn_of_doubt(y: Any, kind: str) -> None:
    """Warn if the targets may be of another kind."""
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
    """A warning for columns that may be meant as distributions but are none. Otherwise empty."""
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
    """Tell the kind of targets among the kinds of the domain of a given relation."""
    if len(domain.kinds) == 1:
        return domain.kinds[0]
    kind = kind_of_targets(y)
    return kind if kind in domain.kinds else domain.kinds[-1]
