"""The objective of neighbourhood alignment and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.learners.neighborhood.losses import NeighborhoodLoss

__all__ = ["NeighborhoodObjective"]


class NeighborhoodObjective:
    """Mean loss of random neighbours under a linear map L.

    It is sum_i v_i loss_i(p_i) / sum_i v_i, where v are the weights of the samples. The probability
    p_ij is proportional to v_j exp(-norm(L (x_i - x_j))) over the candidates j of sample i.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        Samples.
    loss : NeighborhoodLoss
        Loss that knows the targets of these samples.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    """

    def __init__(self, X: Any, loss: NeighborhoodLoss, weight: NDArray):
        self.X, self.loss = X, loss
        self.weight = weight.astype(X.dtype)
        self._log_weight = np.log(weight).astype(X.dtype)
        self._mean = np.asarray(X.T @ (weight / weight.sum()).astype(X.dtype))

    def images(self, components: NDArray, samples: Any = slice(None)) -> NDArray:
        """Centred images L x of samples, as a common offset would cost their distances digits."""
        return self.X[samples] @ components.T - self._mean @ components.T

    def values(
        self, components: NDArray, factors: NDArray, neighborhoods: Neighborhoods
    ) -> list[float]:
        """Objective at multiples of a linear map of shape (n_components, n_features)."""
        distances = np.sqrt(self._squared_distances(components, neighborhoods)[0])
        values = []
        for factor in factors.tolist():
            probabilities = self._probabilities(factor * distances, neighborhoods)
            losses, _ = self.loss.value_and_derivative(probabilities, neighborhoods)
            values.append(self._mean_of(losses, neighborhoods))
        return values

    def value_and_gradient(
        self, components: NDArray, neighborhoods: Neighborhoods
    ) -> tuple[float, NDArray]:
        """Objective at a linear map, and its gradient of the same shape."""
        distances, left, right = self._squared_distances(components, neighborhoods)
        np.sqrt(distances, out=distances)
        probabilities = self._probabilities(distances, neighborhoods)
        losses, derivative = self.loss.value_and_derivative(probabilities, neighborhoods)
        mean = np.einsum("ij,ij->i", probabilities, derivative)
        share = self.weight[neighborhoods.samples]
        share = share / share.sum()
        # The weights are minus the derivatives in the distances, divided by the distances.
        weights = derivative - mean[:, None]
        weights *= probabilities
        weights *= share[:, None]
        weights /= distances
        of_samples = weights.sum(axis=1)[:, None] * left - weights @ right
        of_candidates = weights.sum(axis=0)[:, None] * right - weights.T @ left
        gradient = self.X[neighborhoods.samples].T @ of_samples
        gradient += self.X[neighborhoods.candidates].T @ of_candidates
        return self._mean_of(losses, neighborhoods), -gradient.T

    def _squared_distances(self, components, neighborhoods):
        left = self.images(components, neighborhoods.samples)
        right = self.images(components, neighborhoods.candidates)
        return neighborhoods.squared_distances(left, right), left, right

    def _probabilities(self, distances, neighborhoods):
        """Probabilities of the neighbours of each sample, given their distances."""
        scores = self._log_weight[neighborhoods.candidates] - distances
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def _mean_of(self, losses, neighborhoods):
        return float(np.average(losses, weights=self.weight[neighborhoods.samples]))
