"""The relations by name, and the base class of new ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from metricalign.relations.formulas import (
    _absolute_difference,
    _canberra,
    _chebyshev,
    _clark,
    _class,
    _cosine,
    _euclidean,
    _hamming,
    _intersection,
    _jaccard,
    _kullback_leibler,
    _manhattan,
    _zero_one,
)
from metricalign.relations.kinds import (
    _DOMAINS,
    CLASSES,
    COLUMNS,
    DISTRIBUTIONS,
    INTEGER_COLUMNS,
    LABEL_SETS,
    NON_NEGATIVE_COLUMNS,
    NUMBERS,
    _describe,
    _Domain,
)

__all__ = ["RELATIONS", "Relation", "register_relation"]


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
    """Base class of new relations, which say how different two targets are.

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


def _check_domain(name, domain, y):
    if not domain.contains(y):
        fitting = ", ".join(
            f'"{other}"' for other, entry in RELATIONS.items() if entry.domain.contains(y)
        )
        raise ValueError(
            f"relation={name!r} needs a y of {domain.description}, but y has {_describe(y)}. "
            f"For this y, relation may be {fitting} or a callable."
        )
