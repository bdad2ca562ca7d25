"""The choice of anchors, the samples whose neighbours a strategy searches for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metricalign.pairs.identical import Samples, order_of_values

__all__ = ["choose_anchors", "systematic_sample"]

# Relative rounding error that is allowed for in sums of the weights of a million samples.
_ROUNDING = 1e-6
# Number of anchors of a rare class with `keeps_rare`. By its share it would have fewer: none, so
# that the class was lost, or a single one to learn from.
_FEWEST_OF_CLASS = 10


def choose_anchors(
    X: Samples,
    weight: NDArray,
    max_anchors: int | None,
    classes: NDArray | None = None,
    *,
    keeps_rare: bool = False,
) -> tuple[NDArray, NDArray]:
    """Choose at most `max_anchors` samples to stand for all, in proportion to their weights.

    The samples are sorted by their values, class by class if classes are given. Then
    `systematic_sample` takes every k-th unit of weight. Nothing is drawn at random. So the order of
    the samples does not matter, each class gets its share, and a sample of weight 2 counts as two
    samples.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    weight : ndarray of shape (n_samples,)
        Their positive weights.
    max_anchors : int or None
        The largest number of anchors. None: no limit.
    classes : ndarray of int of shape (n_samples,), default=None
        The class of each sample.
    keeps_rare : bool, default=False
        Whether each class whose share is less than 10 anchors gets 10 anchors, of smaller weights,
        or all its samples if it has fewer. This is not done if these classes together would take
        more than half of the anchors.

    Returns
    -------
    anchors : ndarray of int of shape (n_anchors,)
        Indices of different samples, ascending: all samples if there are at most `max_anchors`.
    weight : ndarray of shape (n_anchors,)
        Weights of the anchors, with the same sum as those of all samples.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.anchors import choose_anchors
    >>> X = np.array([[3.0], [0.0], [4.0], [1.0], [2.0], [5.0]])
    >>> choose_anchors(X, np.ones(6), max_anchors=3)
    (array([1, 2, 4]), array([2., 2., 2.]))
    """
    n_samples = len(weight)
    if max_anchors is None or n_samples <= max_anchors:
        return np.arange(n_samples), weight
    if keeps_rare and classes is not None:
        is_rare = _are_of_rare_classes(weight, max_anchors, classes)
        if is_rare.any():
            return _with_rare_classes(X, weight, max_anchors, classes, is_rare)
    return _every_unit(X, weight, max_anchors, classes)


def _are_of_rare_classes(weight, max_anchors, classes) -> NDArray:
    """Whether each sample is of a rare class, and none if these would take too many anchors."""
    _, members = np.unique(classes, return_inverse=True)
    sizes, mass = np.bincount(members), np.bincount(members, weight)
    wanted = np.minimum(sizes, _FEWEST_OF_CLASS)
    is_rare = max_anchors * mass < wanted * mass.sum() * (1 - _ROUNDING)
    if 2 * wanted[is_rare].sum() > max_anchors:
        is_rare[:] = False
    return is_rare[members]


def _with_rare_classes(X, weight, max_anchors, classes, is_rare) -> tuple[NDArray, NDArray]:
    """Choose a few anchors of each rare class, and the rest from all other classes."""
    rest = np.flatnonzero(~is_rare)
    groups = [np.flatnonzero(classes == each) for each in np.unique(classes[is_rare])]
    found = [(rows, choose_anchors(X[rows], weight[rows], _FEWEST_OF_CLASS)) for rows in groups]
    n_left = max_anchors - sum(len(anchors) for _, (anchors, _) in found)
    found.append((rest, choose_anchors(X[rest], weight[rest], n_left, classes[rest])))
    anchors = np.concatenate([rows[places] for rows, (places, _) in found])
    order = np.argsort(anchors)
    return anchors[order], np.concatenate([mass for _, (_, mass) in found])[order]


def _every_unit(X, weight, max_anchors, classes) -> tuple[NDArray, NDArray]:
    """Take every k-th unit of the weight of the sorted samples."""
    order = order_of_values(X)
    if classes is not None:
        # Classes are in the order of their first samples, so that their names do not matter.
        _, first, members = np.unique(classes[order], return_index=True, return_inverse=True)
        order = order[np.argsort(first[members], kind="stable")]
    chosen, weight = systematic_sample(weight[order], max_anchors)
    anchors = order[chosen]
    ascending = np.argsort(anchors)
    return anchors[ascending], weight[ascending]


def systematic_sample(weight: NDArray, max_samples: int | None) -> tuple[NDArray, NDArray]:
    """Take every k-th unit of the weight of samples that are sorted.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of the samples, in their order.
    max_samples : int or None
        The largest number of samples to take. None: no limit.

    Returns
    -------
    rows : ndarray of int of shape (n_taken,)
        Indices of different samples, ascending: all samples if there are at most `max_samples`.
    weight : ndarray of shape (n_taken,)
        Weights of the samples that were taken, with the same sum as those of all samples.

    References
    ----------
    Madow, On the Theory of Systematic Sampling II, Annals of Mathematical Statistics 20 (1949).

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.pairs.anchors import systematic_sample
    >>> systematic_sample(np.array([1.0, 1.0, 1.0, 1.0, 4.0]), max_samples=4)
    (array([0, 2, 4]), array([2., 2., 4.]))
    """
    if max_samples is None or len(weight) <= max_samples:
        return np.arange(len(weight)), weight
    mass = np.cumsum(weight)
    unit = mass[-1] / max_samples
    # A step often ends exactly where the weight of a sample ends. The small shift keeps rounding
    # from taking the next sample then.
    steps = (np.arange(max_samples) + 0.5 - _ROUNDING) * unit
    counts = np.bincount(np.searchsorted(mass, steps), minlength=len(weight))
    rows = np.flatnonzero(counts)
    return rows, counts[rows] * unit
