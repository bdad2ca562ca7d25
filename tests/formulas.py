"""Losses and cones, written down a second time: what the package is compared with."""

from collections.abc import Callable
from typing import NamedTuple

import cvxpy
import numpy as np
from scipy.optimize import nnls
from scipy.special import entr


class LossFormula(NamedTuple):
    """A loss of distance a and relation t; its weight is c, its tube e, its coefficient b."""

    value: Callable  # of a, t, e
    conjugate: Callable  # phi*(-b) of b, t, c, e
    box: Callable  # where b may be, of t, c
    in_cvxpy: Callable  # of a, t, e


def _tube(a, t, e):
    return np.maximum(np.abs(a - t) - e, 0)


def _tube_in_cvxpy(a, t, e):
    return cvxpy.pos(cvxpy.abs(a - t) - e)


def _side(t, c):
    return np.minimum(0, t * c), np.maximum(0, t * c)


def _everywhere(t, c):
    return -np.inf * c, np.inf * c


LOSSES = {
    "epsilon_insensitive": LossFormula(
        _tube,
        lambda b, t, c, e: -b * t + e * np.abs(b),
        lambda t, c: (-c, c),
        _tube_in_cvxpy,
    ),
    "squared_epsilon_insensitive": LossFormula(
        lambda a, t, e: _tube(a, t, e) ** 2 / 2,
        lambda b, t, c, e: -b * t + e * np.abs(b) + b**2 / (2 * c),
        _everywhere,
        lambda a, t, e: 0.5 * cvxpy.square(_tube_in_cvxpy(a, t, e)),
    ),
    "squared": LossFormula(
        lambda a, t, e: (a - t) ** 2 / 2,
        lambda b, t, c, e: -b * t + b**2 / (2 * c),
        _everywhere,
        lambda a, t, e: 0.5 * cvxpy.square(a - t),
    ),
    "one_sided": LossFormula(
        lambda a, t, e: np.maximum(t - e - a, 0),
        lambda b, t, c, e: -b * (t - e),
        lambda t, c: (0 * c, c),
        lambda a, t, e: cvxpy.pos(t - e - a),
    ),
    "hinge": LossFormula(
        lambda a, t, e: np.maximum(1 - t * a, 0),
        lambda b, t, c, e: -t * b,
        _side,
        lambda a, t, e: cvxpy.pos(1 - cvxpy.multiply(t, a)),
    ),
    "logistic": LossFormula(
        lambda a, t, e: np.log1p(np.exp(-np.abs(t * a))) + np.maximum(-t * a, 0),
        lambda b, t, c, e: -c * (entr(t * b / c) + entr(1 - t * b / c)),
        _side,
        lambda a, t, e: cvxpy.logistic(-cvxpy.multiply(t, a)),
    ),
}


def project_semidefinite(S):
    eigenvalues, Q = np.linalg.eigh(S)
    return (Q * np.maximum(eigenvalues, 0)) @ Q.T


def pair_coefficients(S, Z):
    """Of the nonnegative combination of all z z^T that is nearest to S, by SciPy."""
    coef = np.zeros(len(Z))
    size = np.sum(Z**2, axis=1)
    has_length = size > 0
    if has_length.any():
        products = np.array([np.outer(z, z).ravel() / (z @ z) for z in Z[has_length]]).T
        coef[has_length] = nnls(products, S.ravel(), maxiter=10_000)[0] / size[has_length]
    return coef


def project_on_pairs(S, Z):
    return np.einsum("p,pi,pj->ij", pair_coefficients(S, Z), Z, Z)


def _combination(Z):
    coef = cvxpy.Variable(len(Z), nonneg=True)
    products = np.array([np.outer(z, z).ravel() for z in Z])
    return cvxpy.reshape(products.T @ coef, 2 * Z.shape[1:], order="C")


class ConeFormula(NamedTuple):
    """A cone, which may depend on the differences Z of the pairs and on the prior M0."""

    project: Callable  # of S, Z, M0
    in_cvxpy: Callable  # constraints on M, of M, Z, M0


CONES = {
    "symmetric": ConeFormula(lambda S, Z, M0: S, lambda M, Z, M0: []),
    "positive_semidefinite": ConeFormula(
        lambda S, Z, M0: project_semidefinite(S), lambda M, Z, M0: [M >> 0]
    ),
    "pair_matrices": ConeFormula(
        lambda S, Z, M0: project_on_pairs(S, Z), lambda M, Z, M0: [_combination(Z) == M]
    ),
    "diagonal": ConeFormula(
        lambda S, Z, M0: np.diag(np.maximum(np.diag(S), 0)),
        lambda M, Z, M0: [cvxpy.diag(cvxpy.diag(M)) == M, cvxpy.diag(M) >= 0],
    ),
    "above_prior": ConeFormula(
        lambda S, Z, M0: M0 + project_semidefinite(S - M0), lambda M, Z, M0: [M - M0 >> 0]
    ),
}
