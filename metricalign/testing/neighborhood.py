"""Check a loss of random neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from metricalign.learners.neighborhood import NeighborhoodLoss
from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.relations import resolve_relation
from metricalign.testing._requirement import DIFFERENCE_ERROR, STEP, require

__all__ = ["check_neighborhood_loss"]


def check_neighborhood_loss(loss: NeighborhoodLoss, y: ArrayLike) -> None:
    """Check a loss of random neighbours against the description of `NeighborhoodLoss`.

    Parameters
    ----------
    loss : NeighborhoodLoss
        An instance.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        At least ten targets for which the loss is made. At least two must be different.

    Raises
    ------
    AssertionError
        If a method is wrong. The message says which one.

    Examples
    --------
    >>> from metricalign.learners.neighborhood import KernelRegression
    >>> from metricalign.testing import check_neighborhood_loss
    >>> y = [0.0, 1.5, 2.0, 3.5, 4.0, 0.5, 2.5, 3.0, 1.0, 4.5]
    >>> check_neighborhood_loss(KernelRegression(), y)
    >>> class Wrong(KernelRegression):
    ...     def value_and_derivative(self, probabilities, neighborhoods):
    ...         value, derivative = super().value_and_derivative(probabilities, neighborhoods)
    ...         return value, -derivative
    >>> check_neighborhood_loss(Wrong(), y)
    Traceback (most recent call last):
    AssertionError: Wrong(): the derivative is not that of the value. ...
    """
    relation = resolve_relation("auto", y)
    targets = relation.encode(y)
    n_samples = targets.shape[0]
    rng = np.random.default_rng(0)
    weight = np.linspace(0.5, 1.0, n_samples)
    name, known = repr(loss), dict(vars(loss))
    made = clone(loss).for_samples(relation, targets, weight)
    loss.for_samples(relation, targets, weight)
    require(
        vars(loss).keys() == known.keys() and repr(loss) == name,
        f"{name}: for_samples must return a copy and leave the loss as it is; it changes it.",
    )
    everyone, some = np.arange(n_samples), rng.permutation(n_samples)[: n_samples // 2]
    among_all = rng.dirichlet(np.ones(n_samples), n_samples)
    np.fill_diagonal(among_all, 0)
    among_all /= among_all.sum(axis=1, keepdims=True)
    order = rng.permutation(n_samples)
    values = []
    for neighborhoods, p in (
        (Neighborhoods(everyone, everyone), among_all),
        (Neighborhoods(some, order), among_all[np.ix_(some, order)]),
    ):
        given = p.copy()
        value, derivative = made.value_and_derivative(p, neighborhoods)
        require(
            np.array_equal(p, given),
            f"{name}: value_and_derivative changes the probabilities that it is given.",
        )
        require(
            np.shape(value) == p.shape[:1] and np.shape(derivative) == p.shape,
            f"{name}: value_and_derivative must return arrays of shape {p.shape[:1]} and "
            f"{p.shape}; the shapes are {np.shape(value)} and {np.shape(derivative)}.",
        )
        require(
            np.isfinite(value).all() and np.isfinite(derivative).all(),
            f"{name}: the value or the derivative is not finite.",
        )
        # The step goes toward other probabilities, so that all stay positive and rows sum to 1.
        step = STEP * (rng.permuted(p, axis=1) - p) * (p > 0)
        above, below = (
            made.value_and_derivative(p + sign * step, neighborhoods)[0] for sign in (1, -1)
        )
        slope, expected = np.sum(derivative * step, axis=1) / STEP, (above - below) / (2 * STEP)
        require(
            np.allclose(slope, expected, atol=DIFFERENCE_ERROR * (1 + np.abs(expected).max())),
            f"{name}: the derivative is not that of the value. Along a direction it is "
            f"{slope[0]:.6g} for the first sample, and finite differences are {expected[0]:.6g}.",
        )
        values.append(value)
    require(
        np.allclose(values[0][some], values[1]),
        f"{name}: the value of the same neighbours differs between all samples and some of them; "
        "take the targets of neighborhoods.samples and of neighborhoods.candidates.",
    )
