"""Names of strategies, and checks of given pairs."""

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metricalign._estimator import refuse_masked
from metricalign.pairs.drawn import AllPairs, RandomPairs
from metricalign.pairs.nearest import NearestClassPairs, NearestPairs
from metricalign.pairs.strategy import PairStrategy
from metricalign.relations.kinds import CLASSES

__all__ = ["check_pairs", "resolve_pairs"]

_STRATEGIES = {
    "nearest": NearestPairs,
    "nearest_class": NearestClassPairs,
    "random": RandomPairs,
    "all": AllPairs,
}

_CLASS_KINDS = (*CLASSES.kinds, "class", "zero_one")


def resolve_pairs(pairs: Any, kind: str, *, verbose: bool = False) -> Any:
    """Turn the `pairs` parameter of an estimator into a strategy.

    Parameters
    ----------
    pairs : {"auto", "nearest", "nearest_class", "random", "all"} or object
        The name of a strategy, or an object with a method ``select``, which is returned
        unchanged. ``"auto"`` is "nearest_class" for class labels and "nearest" otherwise. If all
        nearest samples have the same target, a learner uses "random" in place of "auto".
    kind : str
        The kind of the targets or the name of their relation. Class labels are
        ``"binary"`` and ``"multiclass"``, or ``"class"`` and ``"zero_one"``.
    verbose : bool, default=False
        Whether the strategy prints how it searches, if it has the parameter `verbose`.

    Returns
    -------
    strategy : object
        An object with a method ``select``. With `verbose` it can be a copy of the given one.

    Raises
    ------
    ValueError
        If `pairs` is neither a known name nor an object with ``select``.

    Examples
    --------
    >>> from metricalign.pairs import resolve_pairs
    >>> resolve_pairs("auto", "multiclass")
    NearestClassPairs()
    >>> resolve_pairs("auto", "distribution")
    NearestPairs()
    """
    if hasattr(pairs, "select") and not isinstance(pairs, type):
        return _verbose(pairs) if verbose else pairs
    if isinstance(pairs, str) and pairs == "auto":
        pairs = "nearest_class" if kind in _CLASS_KINDS else "nearest"
    if isinstance(pairs, str) and pairs in _STRATEGIES:
        strategy = _STRATEGIES[pairs]()
        # Too few neighbours are worth a warning only if the user chose their number.
        strategy.is_asked_for = False
        return _verbose(strategy) if verbose else strategy
    raise ValueError(
        f"The 'pairs' parameter must be 'auto', one of {sorted(_STRATEGIES)}, an object with a "
        f"method select such as NearestPairs(), or an integer array of shape (n_pairs, 2). "
        f"Got {pairs!r}."
    )


def _verbose(strategy):
    is_possible = isinstance(strategy, PairStrategy) and "verbose" in strategy.get_params()
    return copy(strategy).set_params(verbose=True) if is_possible else strategy


def check_pairs(pairs: ArrayLike, n_samples: int) -> np.ndarray:
    """Check pairs that the user chose.

    The pairs stay as they are: in their order, with repeated pairs, and with both (i, j) and (j,
    i).

    Parameters
    ----------
    pairs : array-like of int of shape (n_pairs, 2)
        The two samples of each pair.
    n_samples : int
        The number of samples.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2), dtype intp
        The same pairs.

    Raises
    ------
    ValueError
        If there are no pairs, if some are masked, or the shape, the type or an index is not valid.

    Examples
    --------
    >>> from metricalign.pairs import check_pairs
    >>> check_pairs([[2, 0], [0, 2]], n_samples=3)
    array([[2, 0],
           [0, 2]])
    """
    refuse_masked(pairs, "pairs")
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.shape[0] == 0:
        raise ValueError(
            "The 'pairs' array must have shape (n_pairs, 2) with at least one pair, the two "
            f"sample indices of each pair in a row. Got shape {pairs.shape}."
        )
    if not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(
            "The 'pairs' array must hold integers, the indices of samples. "
            f"Got dtype {pairs.dtype}."
        )
    outside = ((pairs < 0) | (pairs >= n_samples)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"The 'pairs' array must hold indices from 0 to {n_samples - 1} "
            f"(n_samples={n_samples}). Got {_first_pair(pairs, outside)}."
        )
    alike = pairs[:, 0] == pairs[:, 1]
    if alike.any():
        raise ValueError(
            "The 'pairs' array must pair two different samples in each row. "
            f"Got {_first_pair(pairs, alike)}."
        )
    return pairs.astype(np.intp, copy=False)


def _first_pair(pairs, mask) -> str:
    row = np.flatnonzero(mask)[0]
    return f"{tuple(pairs[row].tolist())} in row {row} ({mask.sum()} such rows)"
