"""Which samples a strategy finds neighbours for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metricalign.pairs.identical import Samples, order_of_values

__all__ = ["choose_anchors", "systematic_sample"]

# Share of a step; sums of the weights of a million samples are that exact.
_ROUNDING = 1e-6


def choose_anchors(
    X: Samples, weight: NDArray, max_anchors: int | None, classes: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Choose at most `max_anchors` samples to stand for all, in proportion to their weights.

    The samples are sorted by their values, class by class if classes are given. Then every k-th
    unit of weight is taken, see `systematic_sample`. Nothing is drawn at random, so the order of
    the samples does not matter, each class gets its share, and a sample of weight 2 is the same as
    two samples.

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

    Returns
    -------
    anchors : ndarray of int of shape (n_anchors,)
        Different samples, in ascending order; all if there are at most `max_anchors`.
    weight : ndarray of shape (n_anchors,)
        Their weights, with the same sum as those of all samples.

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
    order = order_of_values(X)
    if classes is not None:
        # By the first sample of each class, so that the names of the classes do not matter.
        _, first, members = np.unique(classes[order], return_index=True, return_inverse=True)
        order = order[np.argsort(first[members], kind="stable")]
    chosen, weight = systematic_sample(weight[order], max_anchors)
    anchors = order[chosen]
    ascending = np.argsort(anchors)
    return anchors[ascending], weight[ascending]


def systematic_sample(weight: NDArray, max_samples: int | None) -> tuple[NDArray, NDArray]:
    """Take every k-th unit of the weight of samples that are in the order of their values.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of the samples, in their order.
    max_samples : int or None
        The largest number of samples to take. None: no limit.

    Returns
    -------
    rows : ndarray of int of shape (n_taken,)
        Different samples, in ascending order; all if there are at most `max_samples`.
    weight : ndarray of shape (n_taken,)
        Their weights, with the same sum as those of all samples.

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
    # Steps among samples that stand for others often end where a sample does, but for rounding.
    steps = (np.arange(max_samples) + 0.5 - _ROUNDING) * unit
    counts = np.bincount(np.searchsorted(mass, steps), minlength=len(weight))
    rows = np.flatnonzero(counts)
    return rows, counts[rows] * unit
