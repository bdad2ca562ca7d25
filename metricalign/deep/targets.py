"""Targets some of which are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import find_missing
from metricalign.relations import TargetRelation, resolve_relation
from metricalign.relations.kinds import check_n_samples

__all__ = ["KnownTargets", "known_targets"]

# What scikit-learn's semi-supervised learners have in place of an integer class.
_NO_CLASS = -1


class KnownTargets(NamedTuple):
    """Targets of samples, as far as they are known.

    Attributes
    ----------
    relation : TargetRelation or None
        Their relation; None if no target is known.
    encoded : array of shape (n_samples, ...) or None
        Targets of all samples as the relation encodes them, those that are not known any ones.
    given : array-like or sparse matrix of shape (n_known, ...) or None
        The known ones as they came.
    is_known : ndarray of bool of shape (n_samples,)
        Which samples have them.
    """

    relation: TargetRelation | None
    encoded: Any
    given: Any
    is_known: NDArray


def known_targets(relation: Any, y: Any, n_samples: int, may_miss: bool) -> KnownTargets:
    """Targets as far as they are known, and their relation.

    Missing are NaN, None and what pandas calls so, a row of several targets with any of them, and
    -1 among integers that are classes.

    Parameters
    ----------
    relation : str, Relation or callable
        As `metricalign.relations.resolve_relation` takes it.
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs), or None
        Targets; None if no sample has any.
    n_samples : int
        How many there must be.
    may_miss : bool
        Whether some may be missing. None of those that are precomputed are.

    Returns
    -------
    targets : KnownTargets

    Raises
    ------
    ValueError
        If the known ones are not valid, or fewer than 2.
    """
    if y is None:
        return KnownTargets(None, None, None, np.zeros(n_samples, dtype=bool))
    check_n_samples(y, n_samples)
    if not may_miss or (isinstance(relation, str) and relation == "precomputed"):
        resolved = resolve_relation(relation, y)
        return KnownTargets(resolved, resolved.encode(y, n_samples), y, np.ones(n_samples, bool))
    is_known = ~_is_missing(y)
    is_known[is_known] = _is_class(relation, _take(y, is_known))
    if is_known.sum() < 2:
        raise ValueError(
            f"y has {is_known.sum()} known targets, but a pair needs 2. To learn from the views "
            "alone, give y=None."
        )
    known = _take(y, is_known)
    resolved = resolve_relation(relation, known)
    # Of samples without a target the first one stands for it.
    positions = np.where(is_known, np.cumsum(is_known) - 1, 0)
    return KnownTargets(resolved, resolved.encode(known)[positions], known, is_known)


def _is_missing(y) -> NDArray:
    """Which targets, or targets of a row, have no value."""
    if sparse.issparse(y):
        return np.zeros(y.shape[0], dtype=bool)
    # pandas says so itself: its NA is neither equal nor unequal to anything.
    missing: Any = np.asarray(y.isna()) if hasattr(y, "isna") else find_missing(_as_array(y))
    return missing.reshape(len(missing), -1).any(axis=1)


def _as_array(y) -> NDArray:
    # Lists as objects: NaN among strings would become a string.
    return np.asarray(y) if hasattr(y, "__array__") else np.array(y, dtype=object)


def _is_class(relation, known) -> NDArray:
    """Which targets are not the -1 of classes that are missing."""
    everything = np.ones(known.shape[0], dtype=bool)
    if sparse.issparse(known) or known.size != len(known) or known.dtype.kind not in "if":
        return everything
    is_class: NDArray = known.ravel() != _NO_CLASS
    if is_class.all():
        return everything
    others = known[is_class]
    if len(np.unique(others)) > 1:
        return is_class if resolve_relation(relation, others).is_of_classes else everything
    if resolve_relation(relation, known).is_of_classes:
        raise ValueError(
            f"y has fewer than 2 classes beside {_NO_CLASS}, which is a missing target where "
            f"augment is given. If {_NO_CLASS} is a class, give it another name."
        )
    return everything


def _take(y, is_taken):
    """Some of the targets, as an array of their own type where they were objects."""
    if sparse.issparse(y):
        return sparse.csr_array(y)[is_taken]
    taken = _as_array(y)[is_taken]
    return np.array(taken.tolist()) if taken.dtype.kind == "O" else taken
