"""The logarithmic opinion pool: probabilities of several predictions of classes as one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

__all__ = ["LogarithmicPool", "fit_pool"]

# Of classes without any probability.
_LEAST = np.finfo(np.float64).tiny


class LogarithmicPool(NamedTuple):
    r"""Probabilities that are products of powers of those of several predictions.

    .. math::
        p_c \propto e^{b_c} \prod_k p_{kc}^{a_k}

    Attributes
    ----------
    weights : ndarray of shape (n_predictions,)
        Nonnegative weights a of the predictions. A sum above 1 makes them surer, one below less so.
    offsets : ndarray of shape (n_classes,)
        Offsets b of the classes; NaN of those that no sample had.
    """

    weights: NDArray
    offsets: NDArray

    def pooled(self, probabilities: NDArray) -> NDArray:
        """Pool predictions.

        Parameters
        ----------
        probabilities : ndarray of shape (n_predictions, n_samples, n_classes)
            Probabilities of each prediction.

        Returns
        -------
        pooled : ndarray of shape (n_samples, n_classes)
            Those of the pool. A class that no sample had keeps what the first prediction says, as
            the others cannot know it.
        """
        is_known = np.isfinite(self.offsets)
        logarithms = _logarithms(probabilities[..., is_known])
        logits = np.tensordot(self.weights, logarithms, 1) + self.offsets[is_known]
        pooled = probabilities[0].copy()
        total = pooled[:, is_known].sum(axis=1, keepdims=True)
        pooled[:, is_known] = total * _softmax(logits)[0]
        return pooled


def fit_pool(probabilities: NDArray, targets: NDArray, weight: NDArray) -> LogarithmicPool:
    r"""Weights and offsets of the largest penalised likelihood of held-out samples.

    The sum of the log losses, :math:`\|a - 1/K\|^2` for the weights of K predictions and
    :math:`\|b\|^2` for the offsets is least, which is a convex problem.

    Parameters
    ----------
    probabilities : ndarray of shape (n_predictions, n_samples, n_classes)
        Probabilities of each prediction, by models that have not seen the sample.
    targets : ndarray of shape (n_samples, n_classes)
        Indicators of the classes of the samples.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    pool : LogarithmicPool

    References
    ----------
    Heskes, Selecting Weighting Factors in Logarithmic Opinion Pools, NIPS 1997: the weights.
    Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017: the offsets.
    """
    is_known = targets.any(axis=0)
    logarithms, targets = _logarithms(probabilities[..., is_known]), targets[:, is_known]
    n_predictions, n_classes = len(logarithms), targets.shape[1]
    equal = np.full(n_predictions, 1 / n_predictions)

    def loss(parameters):
        weights, offsets = np.split(parameters, [n_predictions])
        logits = np.tensordot(weights, logarithms, 1) + offsets
        pooled, logarithm_of_sum = _softmax(logits)
        of_samples = logarithm_of_sum - np.sum(targets * logits, axis=1)
        residuals = weight[:, None] * (pooled - targets)
        gradient = np.tensordot(logarithms, residuals, 2) + 2 * (weights - equal)
        value = weight @ of_samples + np.sum((weights - equal) ** 2) + offsets @ offsets
        return value, np.r_[gradient, residuals.sum(axis=0) + 2 * offsets]

    found = optimize.minimize(
        loss,
        np.r_[equal, np.zeros(n_classes)],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * n_predictions + [(None, None)] * n_classes,
        options={"ftol": 1e-12, "gtol": 1e-8, "maxiter": 1000},
    )
    weights, known_offsets = np.split(found.x, [n_predictions])
    offsets = np.full(probabilities.shape[2], np.nan)
    offsets[is_known] = known_offsets
    return LogarithmicPool(weights, offsets)


def _logarithms(probabilities):
    return np.log(np.maximum(probabilities, _LEAST))


def _softmax(logits):
    """Return the probabilities, and the logarithms of the sums of the exponentials."""
    largest = logits.max(axis=1, keepdims=True)
    shares = np.exp(logits - largest)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, (largest + np.log(total))[:, 0]
