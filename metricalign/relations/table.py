"""The relations by name, and the base class of new relations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from metricalign.relations import formulas
from metricalign.relations.kinds import (
    CLASSES,
    COLUMNS,
    DISTRIBUTIONS,
    DOMAINS,
    INTEGER_COLUMNS,
    LABEL_SETS,
    NON_NEGATIVE_COLUMNS,
    NUMBERS,
    Domain,
    describe,
)

__all__ = ["RELATIONS", "Relation", "register_relation"]


class Definition(NamedTuple):
    """A relation of this package: its function, and the targets for which it is defined."""

    function: Callable[[Any, Any], NDArray]
    domain: Domain
    order: float | None = None  # of a Minkowski distance, which learns its scale from y
    keeps_sparse: bool = False


#: The relations of this package by name.
RELATIONS: dict[str, Definition] = {
    "class": Definition(formulas.plus_minus_one, CLASSES),
    "zero_one": Definition(formulas.zero_one, CLASSES),
    "absolute_difference": Definition(formulas.absolute_difference, NUMBERS, order=1),
    "manhattan": Definition(formulas.manhattan, COLUMNS, order=1, keeps_sparse=True),
    "euclidean": Definition(formulas.euclidean, COLUMNS, order=2, keeps_sparse=True),
    "chebyshev": Definition(formulas.chebyshev, COLUMNS, order=np.inf),
    "hamming": Definition(formulas.hamming, INTEGER_COLUMNS, keeps_sparse=True),
    "jaccard": Definition(formulas.jaccard, LABEL_SETS, keeps_sparse=True),
    "canberra": Definition(formulas.canberra, NON_NEGATIVE_COLUMNS),
    "clark": Definition(formulas.clark, NON_NEGATIVE_COLUMNS),
    "cosine": Definition(formulas.cosine, DISTRIBUTIONS),
    "intersection": Definition(formulas.intersection, DISTRIBUTIONS),
    "kullback_leibler": Definition(formulas.kullback_leibler, DISTRIBUTIONS),
}

#: The relation that "auto" chooses for each kind of targets.
AUTOMATIC = {
    "binary": "class",
    "multiclass": "class",
    "continuous": "absolute_difference",
    "multilabel": "manhattan",
    "distribution": "chebyshev",
    "multioutput": "euclidean",
}


class Relation(BaseEstimator, ABC):
    """Base class of new relations. A relation says how different two targets are.

    A new relation is a subclass. It is called with the targets of many pairs at once. Every
    estimator takes an instance in place of the name of a relation. `register_relation` gives a name
    to an instance. The parameters are those of ``__init__``, which only stores them. A grid search
    reaches them as ``relation__name``.

    Examples
    --------
    The difference of the hours of two events, around the clock:

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
    """The targets for which the relation is defined: ``"classes"``, ``"numbers"``, ``"columns"``
    of numbers, ``"integer_columns"``, ``"non_negative_columns"``, ``"label_sets"`` of 0 and 1,
    ``"distributions"``, or ``"any"`` of these. Other targets are refused. The relation gets classes
    as they are in y, targets of ``"any"`` as integers, floats or strings, and all others as
    float64."""

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
            Finite numbers. A larger number means more different targets.
        """


#: Relations of users by name.
registered: dict[str, Relation] = {}


def register_relation(name: str, relation: Relation) -> None:
    """Give a relation a name, which every estimator of this process then knows.

    A new process, such as a worker of joblib, knows the name only if it imports the module that
    registers it. Instances can be used there in any case. A fitted model keeps the relation itself.

    Parameters
    ----------
    name : str
        The name. If it was registered before, it now names the new relation.
    relation : Relation
        An instance.

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
    registered[name] = checked_relation(relation)


def checked_relation(relation: Relation) -> Relation:
    """A checked copy of a user's relation."""
    if not isinstance(relation, Relation):
        raise TypeError(
            "relation must be an instance of a subclass of metricalign.relations.Relation, got "
            f"{relation!r}."
        )
    if relation.targets not in DOMAINS:
        raise ValueError(
            f"{type(relation).__name__}.targets must be one of {', '.join(DOMAINS)}; it is "
            f"{relation.targets!r}."
        )
    relation._validate_params()
    return clone(relation)


def check_domain(name: str, domain: Domain, y: Any) -> None:
    """Refuse targets for which a relation is not defined."""
    if not domain.contains(y):
        fitting = ", ".join(
            f'"{other}"' for other, entry in RELATIONS.items() if entry.domain.contains(y)
        )
        raise ValueError(
            f"relation={name!r} needs a y of {domain.description}, but y has {describe(y)}. "
            f"For this y, relation may be {fitting} or a callable."
        )
