"""Targets of which some are missing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from metricalign._arrays import find_missing
from metricalign.relations import TargetRelation, resolve_relation
from metricalign.relations.kinds import check_n_samples

__all__ = ["KnownTargets", "known_targets"]

# It stands for a missing class among integers, as in scikit-learn's semi-supervised learners.
_NO_CLASS = -1


class KnownTargets(NamedTuple):
    """Targets of samples, of which some may be missing.

    Attributes
    ----------
    relation : TargetRelation or None
        Relation of the targets. None if no target is known.
    encoded : array of shape (n_samples, ...) or None
        Targets of all samples, encoded by the relation. Missing targets have an arbitrary value.
    given : array-like or sparse matrix of shape (n_known, ...) or None
        The known targets, as they were given.
    is_known : ndarray of bool of shape (n_samples,)
        Whether the target of each sample is known.
    """

    relation: TargetRelation | None
    encoded: Any
    given: Any
    is_known: NDArray


def known_targets(relation: Any, y: Any, n_samples: int, may_miss: bool) -> KnownTargets:
    """Find the known targets, and their relation.

    NaN, None and missing values of pandas are missing targets. So is a row of several targets with
    one of these, and -1 among integers that are classes.

    Parameters
    ----------
    relation : str, Relation or callable
        See `metricalign.relations.resolve_relation`.
    y : array-like or sparse matrix of shape (n_samples,) or (n_samples, n_outputs), or None
        Targets. None: no sample has a target.
    n_samples : int
        Number of samples, for which there must be as many targets.
    may_miss : bool
        Whether targets may be missing. Precomputed relations are never missing.

    Returns
    -------
    targets : KnownTargets
        The known targets, and their relation.

    Raises
    ------
    ValueError
        If the known targets are not valid, or there are fewer than 2.
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
    # Samples without a target get the first known one.
    positions = np.where(is_known, np.cumsum(is_known) - 1, 0)
    return KnownTargets(resolved, resolved.encode(known)[positions], known, is_known)


def _is_missing(y) -> NDArray:
    """Whether each target, or one of the targets of a row, is missing."""
    if sparse.issparse(y):
        return np.zeros(y.shape[0], dtype=bool)
    # pandas finds them itself, as its NA is neither equal nor unequal to anything.
    missing: Any = np.asarray(y.isna()) if hasattr(y, "isna") else find_missing(_as_array(y))
    return missing.reshape(len(missing), -1).any(axis=1)


def _as_array(y) -> NDArray:
    # Lists become objects, as NaN among strings would become a string.
    return np.asarray(y) if hasattr(y, "__array__") else np.array(y, dtype=object)


def _is_class(relation, known) -> NDArray:
    """Whether each target is not the -1 that stands for a missing class."""
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
    """Return some of the targets. Objects become an array of the type of their values."""
    if sparse.issparse(y):
        return sparse.csr_array(y)[is_taken]
    taken = _as_array(y)[is_taken]
    return np.array(taken.tolist()) if taken.dtype.kind == "O" else taken
