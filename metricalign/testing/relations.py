"""Check a relation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metricalign.relations import Relation, resolve_relation
from metricalign.testing._requirement import require

__all__ = ["check_relation"]


def check_relation(relation: str | Relation | Callable[[Any, Any], float], y: ArrayLike) -> None:
    """Check that a relation has the properties of one, on given targets.

    Parameters
    ----------
    relation : str, Relation or callable
        A relation in any form that estimators take, see `metricalign.relations.resolve_relation`.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        At least ten targets for which the relation is made. At least two must be different.

    Raises
    ------
    AssertionError
        If the relation is not finite or not symmetric, if it changes `y`, if the relation of a pair
        depends on other pairs, or if two equal targets have a larger relation than two others.

    Examples
    --------
    >>> from metricalign.testing import check_relation
    >>> y = [0.0, 1.5, 2.0, 3.5, 4.0, 0.5, 2.5, 3.0, 1.0, 4.5]
    >>> check_relation(lambda u, v: abs(u - v) ** 0.5, y)
    >>> check_relation(lambda u, v: -abs(u - v), y)
    Traceback (most recent call last):
    AssertionError: The relation of two equal targets, 0, is above another one, -4.5; ...
    """
    given = np.array(y)
    y = given.copy()
    resolved = resolve_relation(relation, y)
    encoded = resolved.encode(y)
    n_samples = len(y)
    pairs = np.indices((n_samples, n_samples)).reshape(2, -1).T
    values = resolved(encoded, pairs)
    matrix = values.reshape(n_samples, n_samples)
    require(np.array_equal(y, given), "The relation changes the targets that it is given.")
    require(np.isfinite(values), "The relation of some targets is not finite.")
    require(
        np.allclose(matrix, matrix.T, rtol=1e-9),
        "The relation of two targets changes with their order.",
    )
    at_equality = np.diag(matrix).max() + 0.0
    require(
        at_equality <= matrix.min() + 1e-9,
        f"The relation of two equal targets, {at_equality:g}, is above another one, "
        f"{matrix.min():g}; it must say how different two targets are.",
    )
    order = np.random.default_rng(0).permutation(len(pairs))
    require(
        np.array_equal(resolved(encoded, pairs[order]), values[order]),
        "The relation of a pair depends on the other pairs.",
    )
    some = np.arange(0, n_samples, 2)
    inner = np.indices((len(some), len(some))).reshape(2, -1).T
    require(
        np.allclose(resolved(resolved.encode(y[some]), inner), matrix[np.ix_(some, some)].ravel()),
        "The relation of a pair depends on which other targets are encoded.",
    )
