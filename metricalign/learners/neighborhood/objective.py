"""The objective of neighbourhood alignment and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.learners.neighborhood.losses import NeighborhoodLoss

__all__ = ["NeighborhoodObjective"]


class NeighborhoodObjective:
    """Mean loss of random neighbours under a linear map, and a penalty on the map.

    With p_ij proportional to v_j exp(-norm(L (x_i - x_j))^2) over the possible neighbours j of
    i, v the weights of the samples,

        sum_i v_i loss_i(p_i) / sum_i v_i + alpha norm(L)^2 / n_samples.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    loss : NeighborhoodLoss
        Loss of the probabilities of neighbours, made for the targets of these samples.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    alpha : float
        Weight of the penalty.

    Attributes
    ----------
    neighborhoods : Neighborhoods
        Who can be a neighbour; to be set before the objective is used, and at any time anew.
    """

    neighborhoods: Neighborhoods

    def __init__(self, X: Any, loss: NeighborhoodLoss, weight: NDArray, alpha: float):
        self.X, self.loss = X, loss
        self.share = (weight / weight.sum()).astype(X.dtype)
        self.log_weight = np.log(weight).astype(X.dtype)
        self.penalty = alpha / X.shape[0]

    def images(self, components: NDArray) -> NDArray:
        """Images L x of the samples, centred: a common offset would cost their distances digits."""
        images = self.X @ components.T
        return images - self.share @ images

    def probabilities(self, squared_distances: NDArray) -> NDArray:
        """Probabilities of the neighbours of each sample, given their distances under L."""
        scores = self.neighborhoods.of_neighbors(self.log_weight) - squared_distances
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def values(self, components: NDArray, factors: NDArray) -> list[float]:
        """Objective at multiples of a linear map of shape (n_components, n_features)."""
        squared_distances = self.neighborhoods.squared_distances(self.images(components))
        penalty = self.penalty * float(np.sum(components**2))
        values = []
        for squared in (factors**2).tolist():
            probabilities = self.probabilities(squared * squared_distances)
            losses, _ = self.loss.value_and_derivative(probabilities, self.neighborhoods)
            values.append(float(self.share @ losses) + squared * penalty)
        return values

    def value_and_gradient(self, components: NDArray) -> tuple[float, NDArray]:
        """Objective at a linear map, and its gradient of the same shape."""
        images = self.images(components)
        probabilities = self.probabilities(self.neighborhoods.squared_distances(images))
        losses, derivative = self.loss.value_and_derivative(probabilities, self.neighborhoods)
        mean = np.einsum("ij,ij->i", probabilities, derivative)
        # Minus the derivative with respect to the squared distances.
        weights = derivative - mean[:, None]
        weights *= probabilities
        weights *= self.share[:, None]
        gradient = -2 * (self.X.T @ self.neighborhoods.laplacian(weights, images)).T
        value = float(self.share @ losses) + self.penalty * float(np.sum(components**2))
        return value, gradient + 2 * self.penalty * components
