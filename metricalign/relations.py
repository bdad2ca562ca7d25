"""The relation of a pair of samples: how different are their two targets?

A relation t = g(y_i, y_j) is a number for each pair of samples, and the learned
distances are fitted to it. Targets of every kind have one; `resolve_relation` picks it
with ``relation="auto"``:

==================  ================================================  =======================
kind                what y looks like                                 relation
==================  ================================================  =======================
``"binary"``,       one column of strings, booleans or integers       ``"class"``
``"multiclass"``
``"continuous"``    one column of other numbers; also of integers     ``"absolute_difference"``
                    with more than 20 distinct values and on
                    average fewer than 5 samples a value
``"multilabel"``    two or more columns, dense or sparse, all 0 or 1  ``"manhattan"``
``"distribution"``  two or more columns of nonnegative numbers, each  ``"chebyshev"``
                    row with sum 1, not all 0 or 1; the numbers may be
                    rounded to three decimals
``"multioutput"``   two or more columns of any other numbers          ``"euclidean"``
==================  ================================================  =======================

A single column may have the shape (n_samples,) or (n_samples, 1). The relations, with u
and v the two targets of a pair and q the number of columns:

=======================  ===================================================================
name                     relation
=======================  ===================================================================
``class``                -1 for the same class, +1 for different ones
``zero_one``             0 for the same class, 1 for different ones
``absolute_difference``  abs(u - v) over the range of the training targets
``manhattan``            sum abs(u - v)
``euclidean``            sqrt(sum (u - v)^2)
``chebyshev``            max abs(u - v)
``hamming``              share of the entries that differ
``jaccard``              1 - abs(u and v) / abs(u or v), for two empty label sets 0
``canberra``             sum abs(u - v) / (u + v)
``clark``                sqrt(sum (u - v)^2 / (u + v)^2)
``cosine``               1 - u.v / (norm(u) norm(v))
``intersection``         1 - sum min(u, v)
``kullback_leibler``     (KL(u, v) + KL(v, u)) / 2 with probabilities of at least 1e-6
=======================  ===================================================================

All are symmetric, and all but ``class`` are zero for equal targets; terms 0 / 0 count as 0.

Label sets and distributions enter ``manhattan``, ``euclidean`` and ``chebyshev`` as they are,
since their columns share one unit. The columns of multioutput targets do not: these are
standardised first, divided by their standard deviation in the training targets (a column
that is constant there contributes nothing), and ``manhattan`` is divided by q and
``euclidean`` by sqrt(q), q now the number of columns that vary, so the size of a relation
does not depend on how many outputs there are.

A relation of your own is a subclass of `Relation`. Its instances stand wherever a name does, and
`register_relation` gives one a name.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.multiclass import type_of_target

__all__ = [
    "RELATIONS",
    "PrecomputedRelation",
    "Relation",
    "TargetRelation",
    "is_automatic",
    "register_relation",
    "resolve_relation",
]

PROBABILITY_FLOOR = 1e-6
# Half of the last of three printed decimals, for each entry of a row that sums to 1.
ROUNDING_OF_SHARES = 5e-4
SYMMETRY_TOLERANCE = 1e-6
CHUNK_ENTRIES = 2**18


# Relations: functions of the rows `left` and `right`, which return one value per row. Those
# marked `keeps_sparse` in the table are written to work on CSR arrays as well.


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


# Domains: the targets that a relation is defined for.


def _is_numeric(y):
    return y.dtype.kind in "biuf"


def _all_integers(y):
    return _is_numeric(y) and bool(np.all(_entries(y) == np.floor(_entries(y))))


def _are_classes(y):
    return y.ndim == 1 and (not _is_numeric(y) or _all_integers(y))


def _are_numbers(y):
    return y.ndim == 1 and _is_numeric(y)


def _are_columns(y):
    return y.ndim == 2


def _are_integer_columns(y):
    return y.ndim == 2 and _all_integers(y)


def _are_label_sets(y):
    return y.ndim == 2 and bool(np.isin(_entries(y), (0, 1)).all())


def _are_non_negative_columns(y):
    return y.ndim == 2 and bool(np.all(_entries(y) >= 0))


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
    # A thousandth more, for decimals as float32 has them.
    return abs(sums - 1) <= 1.001 * ROUNDING_OF_SHARES * y.shape[1]


def _are_distributions(y):
    return _are_non_negative_columns(y) and bool(np.all(sums_to_one(y)))


def _are_targets(y):
    return True


def _entries(y):
    return y.data if sparse.issparse(y) else y


class _Domain(NamedTuple):
    contains: Callable[[Any], bool]
    description: str
    kinds: tuple[str, ...]  # the last one is for targets that look like another kind


_MATRICES = ("multilabel", "distribution", "multioutput")
CLASSES = _Domain(
    _are_classes, "one column of classes (strings, booleans or integers)", ("binary", "multiclass")
)
NUMBERS = _Domain(_are_numbers, "one column of numbers", ("continuous",))
COLUMNS = _Domain(_are_columns, "two or more columns of numbers", _MATRICES)
INTEGER_COLUMNS = _Domain(_are_integer_columns, "two or more columns of integers", _MATRICES)
NON_NEGATIVE_COLUMNS = _Domain(
    _are_non_negative_columns, "two or more columns of non-negative numbers", _MATRICES
)
LABEL_SETS = _Domain(_are_label_sets, "two or more columns of 0 and 1", ("multilabel",))
DISTRIBUTIONS = _Domain(
    _are_distributions,
    "two or more columns of non-negative numbers with row sums of 1",
    ("distribution",),
)
TARGETS = _Domain(
    _are_targets,
    "one column of classes or numbers, or two or more columns of numbers",
    ("binary", "multiclass", "continuous", *_MATRICES),
)


# What `Relation.targets` may be.
_DOMAINS = {
    "any": TARGETS,
    "classes": CLASSES,
    "numbers": NUMBERS,
    "columns": COLUMNS,
    "integer_columns": INTEGER_COLUMNS,
    "non_negative_columns": NON_NEGATIVE_COLUMNS,
    "label_sets": LABEL_SETS,
    "distributions": DISTRIBUTIONS,
}


class _Definition(NamedTuple):
    function: Callable[[Any, Any], NDArray]
    domain: _Domain
    order: float | None = None  # of a Minkowski distance, whose scale is learned from y
    keeps_sparse: bool = False


#: The relations of this package by name.
RELATIONS: dict[str, _Definition] = {
    "class": _Definition(_class, CLASSES),
    "zero_one": _Definition(_zero_one, CLASSES),
    "absolute_difference": _Definition(_absolute_difference, NUMBERS, order=1),
    "manhattan": _Definition(_manhattan, COLUMNS, order=1, keeps_sparse=True),
    "euclidean": _Definition(_euclidean, COLUMNS, order=2, keeps_sparse=True),
    "chebyshev": _Definition(_chebyshev, COLUMNS, order=np.inf),
    "hamming": _Definition(_hamming, INTEGER_COLUMNS, keeps_sparse=True),
    "jaccard": _Definition(_jaccard, LABEL_SETS, keeps_sparse=True),
    "canberra": _Definition(_canberra, NON_NEGATIVE_COLUMNS),
    "clark": _Definition(_clark, NON_NEGATIVE_COLUMNS),
    "cosine": _Definition(_cosine, DISTRIBUTIONS),
    "intersection": _Definition(_intersection, DISTRIBUTIONS),
    "kullback_leibler": _Definition(_kullback_leibler, DISTRIBUTIONS),
}

_AUTOMATIC = {
    "binary": "class",
    "multiclass": "class",
    "continuous": "absolute_difference",
    "multilabel": "manhattan",
    "distribution": "chebyshev",
    "multioutput": "euclidean",
}


class Relation(BaseEstimator, ABC):
    """What a relation of one's own has to offer: how different two targets are.

    A new relation is a subclass that is called with the targets of many pairs at once. Its
    instances stand wherever the name of a relation does, in every estimator; `register_relation`
    gives one a name. Its parameters are those of its ``__init__``, which only stores them; a grid
    search reaches them as ``relation__name``.

    Examples
    --------
    How many steps apart the hours of two events are, around the clock:

    >>> import numpy as np
    >>> from metricalign.relations import Relation, resolve_relation
    >>> class AroundTheClock(Relation):
    ...     targets = "numbers"
    ...
    ...     def __init__(self, period=24):
    ...         self.period = period
    ...
    ...     def __call__(self, left, right):
    ...         apart = np.abs(left - right) % self.period
    ...         return np.minimum(apart, self.period - apart)
    >>> y = [23, 1, 12]
    >>> relation = resolve_relation(AroundTheClock(), y)
    >>> relation(relation.encode(y), [[0, 1], [0, 2]])
    array([ 2., 11.])
    """

    targets: ClassVar[str] = "any"
    """The targets that it is defined for, others are refused: ``"classes"``, ``"numbers"``,
    ``"columns"`` of numbers, ``"integer_columns"``, ``"non_negative_columns"``,
    ``"label_sets"`` of 0 and 1, ``"distributions"``, or ``"any"`` of these. It gets classes as
    they are in y, ``"any"`` as integers, floats or strings, and all others as float64."""

    _parameter_constraints: ClassVar[dict] = {}

    @abstractmethod
    def __call__(self, left: NDArray, right: NDArray) -> NDArray:
        """Relation of each pair. It must be symmetric.

        Parameters
        ----------
        left, right : ndarray of shape (n_pairs,) or (n_pairs, n_outputs)
            The two targets of each pair, of the shape that y has.

        Returns
        -------
        relations : ndarray of shape (n_pairs,)
            Finite numbers, the larger the more different.
        """


_registered: dict[str, Relation] = {}


def register_relation(name: str, relation: Relation) -> None:
    """Give a relation a name, by which every estimator of this process knows it.

    Processes that are started anew, such as the workers of joblib, know the name if the module
    that registers it is imported there, and an instance in any case. A fitted model keeps the
    relation itself.

    Parameters
    ----------
    name : str
        The name. One that was registered before gets the new relation.
    relation : Relation
        The relation, an instance.

    Raises
    ------
    TypeError
        If `name` is not a string, or `relation` is not an instance of `Relation`.
    ValueError
        If the name is one of this package, or the relation is not valid.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.relations import Relation, register_relation, resolve_relation
    >>> class Hellinger(Relation):
    ...     targets = "distributions"
    ...
    ...     def __call__(self, left, right):
    ...         return np.linalg.norm(np.sqrt(left) - np.sqrt(right), axis=1) / np.sqrt(2)
    >>> register_relation("hellinger", Hellinger())
    >>> y = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    >>> relation = resolve_relation("hellinger", y)
    >>> relation(relation.encode(y), [[0, 1]])
    array([1.])
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}.")
    if name in ("", "auto", "precomputed", *RELATIONS):
        raise ValueError(f"name={name!r} has a meaning already. Choose another one.")
    _registered[name] = _checked_relation(relation)


def _checked_relation(relation):
    """A copy of a user's relation, which does not change with it."""
    if not isinstance(relation, Relation):
        raise TypeError(
            "relation must be an instance of a subclass of metricalign.relations.Relation, got "
            f"{relation!r}."
        )
    if relation.targets not in _DOMAINS:
        raise ValueError(
            f"{type(relation).__name__}.targets must be one of {', '.join(_DOMAINS)}; it is "
            f"{relation.targets!r}."
        )
    relation._validate_params()
    return clone(relation)


@dataclass(frozen=True, eq=False, repr=False)
class TargetRelation:
    """A relation of targets, with what it learned from the training targets.

    Made by `resolve_relation`. It encodes targets once, and is then called on pairs of them.

    Attributes
    ----------
    name : str
        A name of `RELATIONS`, one that was registered, that of the class of a `Relation`,
        ``"callable"`` or ``"precomputed"``.
    kind : str
        The kind of targets: ``"binary"``, ``"multiclass"``, ``"continuous"``,
        ``"multilabel"``, ``"distribution"``, ``"multioutput"`` or ``"precomputed"``.
    n_outputs : int or None
        Number of columns of the targets, None when precomputed.
    function : Relation, callable or None
        The user's relation, or function of two targets; None for those of this package.
    offset, scale : float or ndarray of shape (n_outputs,) or None
        Targets are encoded as ``(y - offset) / scale``; None if taken as they are.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> y = [10.0, 12.5, 20.0]
    >>> relation = resolve_relation("absolute_difference", y)
    >>> relation
    TargetRelation(name='absolute_difference', kind='continuous', n_outputs=1)
    >>> relation(relation.encode(y), [[0, 1], [0, 2]])
    array([0.25, 1.  ])
    """

    name: str
    kind: str
    n_outputs: int | None = None
    function: Relation | Callable[[Any, Any], float] | None = None
    offset: Any = None
    scale: Any = None

    @property
    def _definition(self) -> _Definition:
        # Looked up, not kept, so that a saved model holds no function of this module.
        if self.function is None:
            return RELATIONS[self.name]
        if isinstance(self.function, Relation):
            return _Definition(
                partial(_all_at_once, self.function), _DOMAINS[self.function.targets]
            )
        return _Definition(partial(_one_by_one, self.function), TARGETS)

    @property
    def is_of_classes(self) -> bool:
        """Whether the targets are classes."""
        return self.kind in CLASSES.kinds

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, kind={self.kind!r}, "
            f"n_outputs={self.n_outputs})"
        )

    def encode(self, y: ArrayLike, n_samples: int | None = None) -> NDArray | sparse.csr_array:
        """Validate targets and bring them to the form that the relation works on.

        Parameters
        ----------
        y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
            Targets of any samples, in training or not. Classes may be new, and one sample
            is enough.
        n_samples : int or None, default=None
            How many samples there must be; None for any number.

        Returns
        -------
        targets : ndarray of shape (n_samples,) or (n_samples, n_outputs), or csr_array
            Classes are kept, numbers become float64, scaled as in training; for a callable
            integers and booleans become int64. Sparse label sets stay sparse where the
            relation can work on them.

        Raises
        ------
        ValueError
            If `y` is not valid, has another number of samples, or of columns than in training,
            or has values for which the relation is not defined.
        """
        y = check_targets(y)
        _check_n_samples(y, n_samples)
        if _n_outputs(y) != self.n_outputs:
            raise ValueError(
                f"y must have {self.n_outputs} column(s) as in training, but it has shape "
                f"{y.shape}."
            )
        definition = self._definition
        _check_domain(self.name, definition.domain, y)
        keeps_sparse = definition.keeps_sparse and self.scale is None
        if sparse.issparse(y) and not keeps_sparse:
            y = y.toarray()
        if definition.domain is CLASSES:
            return y
        if definition.domain is TARGETS:
            return _subtractable(y)
        y = y.astype(np.float64) if sparse.issparse(y) else y.astype(np.float64, order="C")
        return y if self.scale is None else (y - self.offset) / self.scale

    def __call__(self, targets: NDArray | sparse.csr_array, pairs: ArrayLike) -> NDArray:
        """Compute the relation of each pair.

        Works in chunks: the memory needed beyond the result does not grow with the number
        of pairs.

        Parameters
        ----------
        targets : ndarray or csr_array
            Targets as returned by `encode`.
        pairs : array-like of int of shape (n_pairs, 2)
            Indices of the two samples of each pair.

        Returns
        -------
        relations : ndarray of float64 of shape (n_pairs,)
            How different the two targets of each pair are.
        """
        function = self._definition.function
        pairs = np.asarray(pairs)
        relations = np.empty(len(pairs))
        entries_per_row = 1 + _entries(targets).size // targets.shape[0]
        step = max(1, CHUNK_ENTRIES // entries_per_row)
        for start in range(0, len(pairs), step):
            left, right = pairs[start : start + step].T
            relations[start : start + step] = function(targets[left], targets[right])
        return relations


class PrecomputedRelation(TargetRelation):
    """The relation of a pair is an entry of a matrix that stands in for the targets.

    Made by ``resolve_relation("precomputed", y)``, where `y` is symmetric, of shape
    (n_samples, n_samples), and its diagonal is ignored. The pairs that have a relation are
    all of a dense matrix, and of a sparse one those that it stores, zeros included. A sparse
    matrix may store a pair once, in either triangle.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> from scipy.sparse import coo_array
    >>> ratings = coo_array(([0.5, 0.0], ([0, 1], [1, 2])), shape=(3, 3))
    >>> relation = resolve_relation("precomputed", ratings)
    >>> targets = relation.encode(ratings)
    >>> relation.stored_pairs(targets)
    array([[0, 1],
           [1, 2]])
    >>> relation(targets, [[1, 0], [1, 2]])
    array([0.5, 0. ])
    """

    def __init__(self):
        super().__init__(name="precomputed", kind="precomputed")

    def encode(self, y: ArrayLike, n_samples: int | None = None) -> NDArray | sparse.csr_array:
        """Validate a relation matrix.

        Parameters
        ----------
        y : array-like or sparse matrix of shape (n_samples, n_samples)
            Relations of all pairs of any samples, in training or not.
        n_samples : int or None, default=None
            How many samples there must be; None for any number.

        Returns
        -------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            The relations in float64, exactly symmetric. The diagonal is zero in a dense
            matrix and not stored in a sparse one.

        Raises
        ------
        ValueError
            If `y` is not square, of another number of samples, or not symmetric and, off its
            diagonal, finite.
        """
        matrix = _check_array(y, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                'y must be a square matrix with relation="precomputed", one row and one '
                f"column a sample, but it has shape {matrix.shape}."
            )
        _check_n_samples(matrix, n_samples)
        encode = _symmetric_sparse if sparse.issparse(matrix) else _symmetric_dense
        return encode(matrix)

    def stored_pairs(self, targets: NDArray | sparse.csr_array) -> NDArray:
        """List the pairs that have a relation.

        Parameters
        ----------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            A relation matrix as returned by `encode`.

        Returns
        -------
        pairs : ndarray of int of shape (n_pairs, 2)
            Each pair i < j once, sorted: all pairs of a dense matrix, the stored ones of a
            sparse one.
        """
        if sparse.issparse(targets):
            rows, columns = sparse.coo_array(targets).coords
            upper = rows < columns
            return np.column_stack([rows[upper], columns[upper]]).astype(np.intp)
        return np.column_stack(np.triu_indices(len(targets), k=1))

    def __call__(self, targets: NDArray | sparse.csr_array, pairs: ArrayLike) -> NDArray:
        """Look up the relation of each pair.

        Parameters
        ----------
        targets : ndarray or csr_array of shape (n_samples, n_samples)
            A relation matrix as returned by `encode`.
        pairs : array-like of int of shape (n_pairs, 2)
            Indices of the two samples of each pair.

        Returns
        -------
        relations : ndarray of float64 of shape (n_pairs,)
            The entries of the matrix.

        Raises
        ------
        ValueError
            If a pair is not stored in a sparse matrix.
        """
        pairs = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
        left, right = pairs.T
        if not sparse.issparse(targets):
            return targets[left, right]
        # Indexing a sparse matrix cannot tell a relation of zero from a missing one.
        rows, columns = sparse.coo_array(targets).coords
        stored = _pair_keys(rows, columns, targets.shape[0])
        wanted = _pair_keys(left, right, targets.shape[0])
        place = np.searchsorted(stored, wanted)
        is_stored = place < len(stored)
        is_stored[is_stored] = stored[place[is_stored]] == wanted[is_stored]
        if not is_stored.all():
            i, j = pairs[~is_stored][0].tolist()
            raise ValueError(
                f"pairs must be among those stored in the sparse y, but y[{i}, {j}] is not "
                "stored. Store a relation of zero as an explicit zero."
            )
        return targets.data[place]


def is_automatic(relation: TargetRelation) -> bool:
    """Whether a relation is the one that ``relation="auto"`` takes for targets of its kind.

    Parameters
    ----------
    relation : TargetRelation
        The relation.

    Returns
    -------
    is_automatic : bool
    """
    return relation.function is None and relation.name == _AUTOMATIC.get(relation.kind)


def resolve_relation(
    relation: str | Relation | Callable[[Any, Any], float], y: ArrayLike
) -> TargetRelation:
    """Decide on the relation of targets and learn its scale from them.

    The tables of kinds, relations and their formulas are at the top of this module
    (`metricalign.relations`).

    Parameters
    ----------
    relation : str, Relation or callable
        - ``"auto"``: by the kind of `y`.
        - a name of `RELATIONS`, or one given by `register_relation`.
        - an instance of a subclass of `Relation`.
        - any other callable: ``relation(u, v)`` gets two targets, numbers or strings for one column
          and 1-D rows for several, and returns one number. It must be symmetric. Much
          slower than a name or a `Relation`.
        - ``"precomputed"``: `y` is the matrix of relations, see `PrecomputedRelation`.
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Training targets, at least two different ones.

    Returns
    -------
    relation : TargetRelation
        The relation, which encodes targets and is called on pairs of them.

    Raises
    ------
    TypeError
        If `relation` is not a string or a callable.
    ValueError
        If `relation` is not known, does not fit `y` or is not symmetric, or `y` is None, not
        valid or constant.

    References
    ----------
    P. Zhu, R. Qi, Q. Hu, Q. Wang, C. Zhang, L. Yang. "Beyond Similar and Dissimilar
    Relations: A Kernel Regression Formulation for Metric Learning". IJCAI 2018, for
    ``class``, ``manhattan``, ``chebyshev`` and ``absolute_difference``.

    X. Geng. "Label Distribution Learning". IEEE Transactions on Knowledge and Data
    Engineering 28(7), 2016, for the distances of distributions.

    H. Jeffreys. "An Invariant Form for the Prior Probability in Estimation Problems".
    Proceedings of the Royal Society A 186, 1946, for the symmetric Kullback-Leibler
    divergence.

    Examples
    --------
    >>> from metricalign.relations import resolve_relation
    >>> y = ["cat", "dog", "cat"]
    >>> relation = resolve_relation("auto", y)
    >>> relation
    TargetRelation(name='class', kind='binary', n_outputs=1)
    >>> relation(relation.encode(y), [[0, 1], [0, 2]])
    array([ 1., -1.])

    >>> y = [[0.7, 0.3, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]
    >>> relation = resolve_relation("auto", y)
    >>> relation.name
    'chebyshev'
    >>> relation(relation.encode(y), [[0, 1], [1, 2]])
    array([0.5, 0.5])
    """
    if isinstance(relation, type) or not (isinstance(relation, str) or callable(relation)):
        raise TypeError(
            "relation must be a string, an instance of Relation or another callable, got "
            f"{relation!r}. {_accepted_relations()}"
        )
    name = "callable"
    if isinstance(relation, str):
        name, relation = relation, _registered.get(relation, relation)
        if isinstance(relation, str) and name not in ("auto", "precomputed", *RELATIONS):
            raise ValueError(f"relation={name!r} is not known. {_accepted_relations()}")
    elif isinstance(relation, Relation):
        name, relation = type(relation).__name__, _checked_relation(relation)
    if y is None:
        raise ValueError("A relation of targets requires y to be passed, but the target y is None.")
    if relation == "precomputed":
        return _resolve_precomputed(y)

    y = check_targets(y)
    _check_training_targets(y)
    if relation == "auto":
        kind = _kind_of_targets(y)
        _warn_of_doubt(y, kind)
        name = _AUTOMATIC[kind]
    elif isinstance(relation, str):
        name = relation
        domain = RELATIONS[name].domain
        _check_domain(name, domain, y)
        kind = _kind_in_domain(domain, y)
    else:
        domain = _DOMAINS[relation.targets] if isinstance(relation, Relation) else TARGETS
        _check_domain(name, domain, y)
        kind = _kind_in_domain(domain, y)
        resolved = TargetRelation(name, kind, _n_outputs(y), relation)
        _check_symmetric(resolved, y)
        return resolved
    offset, scale = _learn_scale(y, kind, RELATIONS[name].order)
    return TargetRelation(name, kind, _n_outputs(y), None, offset, scale)


def _accepted_relations():
    names = ", ".join(f'"{name}"' for name in (*RELATIONS, *_registered))
    return (
        'It may be "auto", "precomputed", an instance of Relation, a function of two targets, '
        f"or one of {names}."
    )


_ACCEPTED_TARGETS = (
    "y may be one column of strings or numbers, several columns of numbers (label sets as 0 "
    "and 1: see sklearn.preprocessing.MultiLabelBinarizer), dense or sparse, without missing or "
    "infinite values."
)


def _check_array(y, **options):
    """Let scikit-learn check an array, and name y in its errors."""
    try:
        # Whether all are finite is told from their sum first, which may overflow.
        with np.errstate(over="ignore", invalid="ignore"):
            return check_array(y, input_name="y", **options)
    except (TypeError, ValueError) as error:
        cause = str(error).rstrip(".")
        raise ValueError(f"y is not valid: {cause}. {_ACCEPTED_TARGETS}") from error


def check_targets(y):
    """Return the targets as an array of strings or real numbers, sparse only if all 0 or 1."""
    y = _check_array(y, accept_sparse="csr", dtype=None, ensure_2d=False)
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


def _check_n_samples(y, n_samples):
    if n_samples is not None and y.shape[0] != n_samples:
        raise ValueError(f"X and y must have as many samples; got {n_samples} and {y.shape[0]}.")


def select_targets(y: Any, rows: NDArray, *, is_precomputed: bool) -> Any:
    """Targets of some of the samples, or the relations among them.

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


def _check_training_targets(y):
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
        # Of many labels a few say what it is.
        target = repr(target.tolist()) if target.size <= 20 else str(target[:3])[:-1] + " ...]"
        raise ValueError(
            f"y is constant, it has {what}, {target}: every pair would have the same "
            "relation. It must have at least two different targets."
        )


def _check_domain(name, domain, y):
    if not domain.contains(y):
        fitting = ", ".join(
            f'"{other}"' for other, entry in RELATIONS.items() if entry.domain.contains(y)
        )
        raise ValueError(
            f"relation={name!r} needs a y of {domain.description}, but y has {_describe(y)}. "
            f"For this y, relation may be {fitting} or a callable."
        )


def _describe(y):
    if not _is_numeric(y):
        return f"strings and the shape {y.shape}"
    numbers = "integers" if _all_integers(y) else "numbers"
    return f"{numbers} from {float(y.min()):g} to {float(y.max()):g} and the shape {y.shape}"


def _subtractable(y):
    """Numbers whose differences do not wrap around, as those of unsigned integers do."""
    if y.dtype.kind in "bi" or (y.dtype.kind == "u" and y.dtype.itemsize < 8):
        return y.astype(np.int64)
    return y.astype(np.float64) if _is_numeric(y) else y


def _n_outputs(y):
    return 1 if y.ndim == 1 else y.shape[1]


def _kind_of_targets(y):
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


def _warn_of_doubt(y, kind):
    """Say so where targets of another kind look the same."""
    if kind in ("binary", "multiclass") and _are_numbers(y) and len(np.unique(y)) > 20:
        warnings.warn(
            f"y has {len(np.unique(y))} different integers and is taken as classes. Say "
            'relation="class" if it is, relation="absolute_difference" if they are numbers.',
            UserWarning,
            stacklevel=2,
        )
    elif kind == "multioutput" and _are_non_negative_columns(y):
        sums = np.asarray(y.sum(axis=1), dtype=np.float64).ravel()
        if sums.min() > 0 and np.ptp(sums) <= 0.03 * sums.mean():
            warnings.warn(
                f"The rows of y are nonnegative and sum to between {sums.min():g} and "
                f"{sums.max():g}, and are taken as several numbers. Divide them by their sums if "
                'they are label distributions; say relation="euclidean" if they are not.',
                UserWarning,
                stacklevel=2,
            )


def _kind_in_domain(domain, y):
    """Tell the kind of targets when the relation is given and leaves a choice."""
    if len(domain.kinds) == 1:
        return domain.kinds[0]
    kind = _kind_of_targets(y)
    return kind if kind in domain.kinds else domain.kinds[-1]


def _learn_scale(y, kind, order):
    """Return the offset and the scale of the columns, or None twice to take y as it is."""
    if order is None or kind not in ("continuous", "multioutput"):
        return None, None
    y = y.astype(np.float64, order="C")
    offset = y.min(axis=0)
    with np.errstate(over="ignore"):
        spread = np.ptp(y, axis=0)
    if not np.isfinite(spread).all():
        raise ValueError("y is not valid: its range overflows float64. Rescale it.")
    if kind == "continuous":
        return offset, spread
    # Of values in [0, 1], so that no square overflows or underflows.
    varies = spread > 0
    deviation = spread * ((y - offset) / np.where(varies, spread, 1.0)).std(axis=0)
    return offset, np.where(varies, deviation, np.inf) * varies.sum() ** (1 / order)


def _check_symmetric(relation, y):
    """Compare both orders on the pairs of a few different targets."""
    targets = relation.encode(y)
    _, distinct = np.unique(targets, axis=0, return_index=True)
    few = distinct[np.linspace(0, len(distinct) - 1, min(5, len(distinct)), dtype=int)]
    pairs = np.array(list(combinations(few.tolist(), 2)))
    forward, backward = relation(targets, pairs), relation(targets, pairs[:, ::-1])
    differs = ~np.isclose(forward, backward, rtol=SYMMETRY_TOLERANCE, atol=1e-12)
    if differs.any():
        i, j = pairs[differs][0]
        raise ValueError(
            f"relation={relation.function!r} must be symmetric; it returned "
            f"{forward[differs][0]:g} for {targets[i].tolist()!r} and {targets[j].tolist()!r}, "
            f"but {backward[differs][0]:g} in the other order."
        )


def _resolve_precomputed(y) -> PrecomputedRelation:
    relation = PrecomputedRelation()
    targets = relation.encode(y)
    if targets.shape[0] < 2:
        raise ValueError("y has 1 sample, but a pair needs at least 2 samples.")
    values = relation(targets, relation.stored_pairs(targets))
    if len(values) == 0:
        raise ValueError(
            "y stores no relation off its diagonal. It must store those of the known pairs; a "
            "relation of zero is stored as an explicit zero."
        )
    if len(values) > 1 and values.min() == values.max():
        raise ValueError(
            f"y is constant, all its relations are {values[0]:g}: every pair would have the same "
            "relation. It must have at least two different relations."
        )
    return relation


def _symmetric_dense(matrix):
    matrix = matrix.copy()
    np.fill_diagonal(matrix, 0.0)
    _check_finite_relations(matrix)
    rows, columns = np.nonzero(_disagree(matrix, matrix.T))
    if len(rows):
        i, j = rows[0], columns[0]
        _raise_asymmetric(i, j, matrix[i, j], matrix[j, i])
    return matrix / 2 + matrix.T / 2  # the sum may overflow


def _symmetric_sparse(matrix):
    matrix = sparse.csr_array(matrix, copy=True)
    matrix.sum_duplicates()
    rows, columns = matrix.tocoo().coords
    off_diagonal = rows != columns
    rows, columns, values = rows[off_diagonal], columns[off_diagonal], matrix.data[off_diagonal]
    _check_finite_relations(values)

    first, second = np.minimum(rows, columns), np.maximum(rows, columns)
    keys = _pair_keys(first, second, matrix.shape[0])
    _, once, pair = np.unique(keys, return_index=True, return_inverse=True)
    disagree = _disagree(values, values[once][pair])
    if disagree.any():
        here = np.flatnonzero(disagree)[0]
        i, j = first[here], second[here]
        _raise_asymmetric(i, j, matrix[i, j], matrix[j, i])
    first, second, values = first[once], second[once], values[once]
    coordinates = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_array((np.tile(values, 2), coordinates), shape=matrix.shape)


def _pair_keys(rows, columns, n_samples):
    return np.asarray(rows, dtype=np.int64) * n_samples + columns


def _check_finite_relations(values):
    if not np.isfinite(values).all():
        raise ValueError(
            "y has a relation that is NaN or infinite. It must be finite; leave unknown "
            "relations out, in a sparse matrix."
        )


def _disagree(values, mirrored):
    with np.errstate(over="ignore"):
        return abs(values - mirrored) > SYMMETRY_TOLERANCE * abs(values).max(initial=0.0)


def _raise_asymmetric(i, j, value, mirrored):
    raise ValueError(
        f"y must be symmetric, but y[{i}, {j}] is {value:g} and y[{j}, {i}] is {mirrored:g}. "
        "A pair may be stored once only in a sparse matrix."
    )
