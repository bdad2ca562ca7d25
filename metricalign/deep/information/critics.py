"""Small networks that score how well two samples go together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["GaussianConditional", "SeparableCritic", "perceptron"]


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these sizes, with a ReLU between them."""
    layers: list[nn.Module] = []
    for ends in pairwise(sizes):
        layers += [nn.Linear(*ends), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class SeparableCritic(nn.Module):
    """Scores that are products of images: s_ij = <f(x_j), g(y_i)>.

    Parameters
    ----------
    n_features, n_targets : int
        Number of columns of x and of y.
    sizes : sequence of int
        Numbers of units of the hidden layers of f and of g, and the size of their images, last.
    """

    def __init__(self, n_features: int, n_targets: int, sizes: Sequence[int]):
        super().__init__()
        self.of_features = perceptron([n_features, *sizes])
        self.of_targets = perceptron([n_targets, *sizes])

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Return the scores of all pairs, with a row for each y and a column for each x."""
        return self.of_targets(Y) @ self.of_features(X).T


class GaussianConditional(nn.Module):
    """Scores that are log densities, up to a constant, of independent Gaussians of y given x.

    Parameters
    ----------
    n_features, n_targets : int
        Number of columns of x and of y.
    sizes : sequence of int
        Numbers of units of the hidden layers of two networks: that of the variance, and that of the
        difference of the mean from a linear map.
    """

    def __init__(self, n_features: int, n_targets: int, sizes: Sequence[int]):
        super().__init__()
        self.linear_mean = nn.Linear(n_features, n_targets)
        self.network = perceptron([n_features, *sizes, 2 * n_targets])

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Return the log densities of all pairs, with a row for each y and a column for each x."""
        mean, log_variance = self.network(X).chunk(2, dim=1)
        mean = mean + self.linear_mean(X)
        precision = (-log_variance).exp()
        of_features = (mean.square() * precision + log_variance).sum(dim=1)
        return Y @ (mean * precision).T - (Y.square() @ precision.T + of_features) / 2
