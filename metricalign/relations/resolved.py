"""The choice of the relation of targets, and the scale that it learns from them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metricalign.relations import table
from metricalign.relations.kinds import (
    DOMAINS,
    TARGETS,
    check_targets,
    check_training_targets,
    count_outputs,
    is_ordered,
    kind_in_domain,
    kind_of_targets,
    warn_of_doubt,
)
from metricalign.relations.precomputed import SYMMETRY_TOLERANCE, resolve_precomputed
from metricalign.relations.table import (
    AUTOMATIC,
    RELATIONS,
    Relation,
    check_domain,
    checked_relation,
)
from metricalign.relations.target import TargetRelation

__all__ = ["is_automatic", "resolve_relation"]


def is_automatic(relation: TargetRelation) -> bool:
    """Whether a relation is the one that ``relation="auto"`` chooses for targets of its kind.

    Parameters
    ----------
    relation : TargetRelation
        The relation.

    Returns
    -------
    is_automatic : bool
        Whether it is that relation.

    Examples
    --------
    >>> from metricalign.relations import is_automatic, resolve_relation
    >>> is_automatic(resolve_relation("class", ["cat", "dog"]))
    True
    >>> is_automatic(resolve_relation("zero_one", ["cat", "dog"]))
    False
    """
    return relation.function is None and relation.name == AUTOMATIC.get(relation.kind)


def resolve_relation(
    relation: str | Relation | Callable[[Any, Any], float], y: ArrayLike
) -> TargetRelation:
    """Choose the relation of targets, and learn its scale from them.

    `metricalign.relations` has the tables of the kinds of targets and of the relations.

    Parameters
    ----------
    relation : str, Relation or callable
        - ``"auto"`` chooses by the kind of `y`.
        - A name of `RELATIONS`, or one given by `register_relation`.
        - An instance of a subclass of `Relation`.
        - Any other callable: ``relation(u, v)`` gets two targets and returns one number. The
          targets are numbers or strings if `y` has one column, and 1-D rows if it has several. The
          function must be symmetric. It is much slower than a name or a `Relation`.
        - ``"precomputed"`` says that `y` is the matrix of relations, see `PrecomputedRelation`.
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
        Training targets, at least two different ones.

    Returns
    -------
    relation : TargetRelation
        The relation. It encodes targets, and is called on pairs of them.

    Raises
    ------
    TypeError
        If `relation` is not a string or a callable.
    ValueError
        If `relation` is not known, is not defined for `y` or is not symmetric, or if `y` is None,
        not valid or constant.

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
        name, relation = relation, table.registered.get(relation, relation)
        if isinstance(relation, str) and name not in ("auto", "precomputed", *RELATIONS):
            raise ValueError(f"relation={name!r} is not known. {_accepted_relations()}")
    elif isinstance(relation, Relation):
        name, relation = type(relation).__name__, checked_relation(relation)
    if y is None:
        raise ValueError("A relation of targets requires y to be passed, but the target y is None.")
    if relation == "precomputed":
        return resolve_precomputed(y)

    has_order = is_ordered(y)
    y = check_targets(y)
    check_training_targets(y)
    if relation == "auto":
        kind = "continuous" if has_order else kind_of_targets(y)
        warn_of_doubt(y, kind)
        name = AUTOMATIC[kind]
    elif isinstance(relation, str):
        name = relation
        domain = RELATIONS[name].domain
        check_domain(name, domain, y)
        kind = kind_in_domain(domain, y)
    else:
        domain = DOMAINS[relation.targets] if isinstance(relation, Relation) else TARGETS
        check_domain(name, domain, y)
        kind = kind_in_domain(domain, y)
        resolved = TargetRelation(name, kind, count_outputs(y), relation)
        _check_symmetric(resolved, y)
        return resolved
    offset, scale = _learn_scale(y, kind, RELATIONS[name].order)
    return TargetRelation(name, kind, count_outputs(y), None, offset, scale)


def _accepted_relations():
    names = ", ".join(f'"{name}"' for name in (*RELATIONS, *table.registered))
    return (
        'It may be "auto", "precomputed", an instance of Relation, a function of two targets, '
        f"or one of {names}."
    )


def _learn_scale(y, kind, order):
    """Return the offset and the scale of the columns. Both are None if y is taken as it is."""
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
    # The deviation of values in [0, 1] is computed, so that squares stay in range.
    varies = spread > 0
    deviation = spread * ((y - offset) / np.where(varies, spread, 1.0)).std(axis=0)
    return offset, np.where(varies, deviation, np.inf) * varies.sum() ** (1 / order)


def _check_symmetric(relation, y):
    """Check that a relation has the same value in both orders, on pairs of a few targets."""
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
