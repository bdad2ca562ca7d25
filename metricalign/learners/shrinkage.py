"""The shrunk covariance of samples, and the shrinkage with which ridge regression predicts best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_error", "shrunk_root", "spectrum_of"]

# Penalties of ridge regression to choose from, in mean variances.
_PENALTIES = np.logspace(-3, 2, 21)


def spectrum_of(covariance: NDArray, is_in_span: bool) -> tuple[NDArray, NDArray]:
    """Eigenvalues and eigenvectors of a covariance matrix.

    Parameters
    ----------
    covariance : ndarray of shape (n_features, n_features)
        The matrix.
    is_in_span : bool
        Whether there are fewer samples than features. Only what is in the span of their
        differences is returned then.

    Returns
    -------
    values : ndarray of shape (n_values,)
        Eigenvalues, none of which is negative.
    vectors : ndarray of shape (n_features, n_values)
        Their eigenvectors.
    """
    values, vectors = np.linalg.eigh(covariance)
    if is_in_span:
        is_kept = values > 10 * len(values) * np.finfo(np.float64).eps * values[-1]
        values, vectors = values[is_kept], vectors[:, is_kept]
    return np.maximum(values, 0), vectors


def shrunk_root(values: NDArray, vectors: NDArray, shrinkage: float) -> NDArray:
    """Map to coordinates of total variance 1, in which the shrunk covariance is the identity.

    Parameters
    ----------
    values, vectors : ndarray of shape (n_values,) and (n_features, n_values)
        Spectrum of the covariance.
    shrinkage : float
        Share of the multiple of the identity with the same trace.

    Returns
    -------
    whitening_map : ndarray of shape (n_features, n_features)
    """
    shrunk = (1 - shrinkage) * values + shrinkage * values.mean()
    scales = 1 / np.sqrt(shrunk * np.sum(values / shrunk))
    return (vectors * scales) @ vectors.T


def least_error(
    values: NDArray, vectors: NDArray, between: NDArray, scatter: float, n_samples: float
) -> float | None:
    r"""Shrinkage of the ridge regression with the least error by generalised cross-validation.

    With eigenvalues :math:`\lambda_k` of the covariance, b_k of B along their eigenvectors, and a
    penalty :math:`\alpha`, the mean squared residual is

    .. math::
        t - \sum_k \frac{b_k}{\lambda_k + \alpha}
        \left(2 - \frac{\lambda_k}{\lambda_k + \alpha}\right),

    where t is the scatter of the targets, which need not be vectors. It is divided by the square of
    the share of the samples that is not used up by the mean and the coefficients.

    Parameters
    ----------
    values, vectors : ndarray of shape (n_values,) and (n_features, n_values)
        Spectrum of the covariance of the samples.
    between : ndarray of shape (n_features, n_features)
        The matrix B: products of the covariances of the samples with the coordinates of the
        targets.
    scatter : float
        Half of the mean relation of two targets: the sum of the variances of these coordinates.
    n_samples : float
        Number of samples.

    Returns
    -------
    shrinkage : float or None
        None if there are too few samples, or the relations are not those of a distance.

    References
    ----------
    Golub, Heath, Wahba, Generalized Cross-Validation as a Method for Choosing a Good Ridge
    Parameter, Technometrics 21 (1979).
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        explained = np.einsum("ij,ij->j", vectors, between @ vectors)
        penalties = _PENALTIES * values.mean()
        inverse = 1 / (values + penalties[:, None])
        residual = scatter - np.sum(explained * inverse * (2 - values * inverse), axis=1)
        freedom = 1 + np.sum(values * inverse, axis=1)
        error = np.maximum(residual, 0) / (1 - freedom / n_samples) ** 2
    is_possible = (freedom < n_samples) & np.isfinite(error)
    if not (scatter > 0 and is_possible.any()):
        return None
    penalty = _PENALTIES[np.argmin(np.where(is_possible, error, np.inf))]
    return float(penalty / (1 + penalty))
