"""The bottleneck: it replaces by noise what a decision does not need of the local features."""

from __future__ import annotations

from math import log

import numpy as np
import torch
from torch import Tensor, nn

from metricalign.deep.frozen import (
    FeatureStatistics,
    FrozenNetwork,
    from_locations,
    to_locations,
)
from metricalign.deep.local_networks import ALL, LocalNetworks

__all__ = ["Bottleneck"]

# The price of what passes. It starts low, since a bottleneck that has closed opens slowly. It
# changes by at most a tenth in a step.
_FIRST_PRICE, _PRICE_RATE = 0.1, 0.1

# The information that passes grows without bound as the share of the noise falls to zero.
_LARGEST_SHARE = 0.999


class Bottleneck(nn.Module):
    """Replaces by noise what the decision does not need of the local features.

    Arrays of features have the shape (n_channels, n_samples, n_locations). They are standardised.
    """

    basis: Tensor | None
    mean: Tensor
    deviation: Tensor
    largest_share: Tensor

    def __init__(self, network: FrozenNetwork, statistics: FeatureStatistics, n_hidden: int):
        super().__init__()
        self.network = network
        self.register_buffer("basis", statistics.basis)
        self.register_buffer("mean", statistics.mean)
        self.register_buffer("deviation", statistics.deviation)
        # Constant features have no information to pass.
        self.register_buffer("largest_share", _LARGEST_SHARE * (statistics.deviation > 0))
        n_channels, _, n_locations = statistics.mean.shape
        self.shares = LocalNetworks(1, n_locations, [n_channels, n_hidden, n_channels])
        self.price = 1.0

    @torch.no_grad()
    def weigh(self, batch: list[Tensor], keep: float) -> None:
        """Set how much of the decision may be lost, and the first price.

        If the decision is not better than a constant one, nothing passes.
        """
        X, local, Z, output, *targets = batch
        features = self.standardized(local)
        share = self.share(features)
        noise = self.lost(X, local, torch.randn_like(features), Z, output, *targets)
        log_p = self.network.log_decision(Z, output)
        constant = log_p.logsumexp(dim=0) - log(len(X))
        if targets:
            own = -log_p.gather(1, targets[0][:, None])[:, 0]
            shares = torch.bincount(targets[0], minlength=log_p.shape[1]) / len(X)
            constant = -shares[targets[0]].log()
        else:
            own = torch.zeros_like(noise)
            constant = (log_p.exp() * (log_p - constant)).sum(dim=1)
        known = min(noise, constant, key=torch.mean) - own
        error = known.std() / len(X) ** 0.5
        if known.mean() <= 2 * error:
            self.price = np.inf
            return
        self.allowed = float(own.mean() + (1 - keep) * known.mean())
        passed = self.passed(share * features, share).sum(dim=1).mean()
        self.price = float(_FIRST_PRICE * known.mean() / passed)

    @property
    def is_shut(self) -> bool:
        """Whether there is no decision to keep, so that nothing passes."""
        return self.price == np.inf

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Return the loss for samples, the outputs of the network and the classes, if given."""
        X, local, Z, output, *targets = batch
        features = self.standardized(local)
        share = self.share(features)
        lost = self.lost(X, local, self.noised(features, share), Z, output, *targets).mean()
        loss = lost + self.price * self.passed(share * features, share).sum(dim=1).mean()
        excess = 1 - lost.item() / self.allowed
        self.price *= np.exp(_PRICE_RATE * np.clip(excess, -1, 1))
        return loss

    def standardized(self, local: Tensor, places: Tensor | slice = ALL) -> Tensor:
        """Return local features of these places in the basis, with mean 0 and variance 1."""
        features = to_locations(local)[..., places]
        if self.basis is not None:
            features = torch.tensordot(self.basis, features, 1)
        return standardized(features, self.mean[..., places], self.deviation[..., places])

    def share(self, features: Tensor, places: Tensor | slice = ALL) -> Tensor:
        """Return the share of the features of these places that is kept. The rest is noise."""
        if self.is_shut:
            return torch.zeros_like(features)
        # With the added 2, nearly all passes at the start, so that the decision is kept.
        return self.largest_share[..., places] * (self.shares(features, places)[0] + 2).sigmoid()

    def noised(self, features: Tensor, share: Tensor) -> Tensor:
        """Return features of which this share is kept, and the rest is noise."""
        return torch.lerp(torch.randn_like(features), features, share)

    def passed(self, kept: Tensor, share: Tensor) -> Tensor:
        """Return KL(N(kept, (1 - share)^2) || N(0, 1)) of each sample and location."""
        noise = 1 - share
        squares = (noise.square() + kept.square()).sum(dim=0)
        return (squares - len(noise)) / 2 - noise.log().sum(dim=0)

    def decision(self, X: Tensor, local: Tensor, features: Tensor) -> Tensor:
        """Return the log probabilities of the decisions with other features."""
        features = self.mean + self.deviation * features
        if self.basis is not None:
            features = torch.tensordot(self.basis.T, features, 1)
        replacement = from_locations(features, local)
        _, Z, output = self.network(X, replacement)
        return self.network.log_decision(Z, output)

    def survival(self, X: Tensor) -> Tensor:
        """Return the overlap of the decisions of each sample without and with noise."""
        local, Z, output = self.network(X)
        features = self.standardized(local)
        noised = self.noised(features, self.share(features))
        own, left = self.network.log_decision(Z, output), self.decision(X, local, noised)
        return torch.minimum(own, left).exp().sum(dim=1)

    def lost(
        self,
        X: Tensor,
        local: Tensor,
        features: Tensor,
        Z: Tensor,
        output: Tensor,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of the decision of each sample with other features.

        It is the log loss of the classes if these are given, and else the KL divergence from the
        decision of the network.
        """
        log_p = self.decision(X, local, features)
        if targets is not None:
            return -log_p.gather(1, targets[:, None])[:, 0]
        own = self.network.log_decision(Z, output)
        return (own.exp() * (own - log_p)).sum(dim=1)


def standardized(values, mean, deviation):
    """Scale values to mean 0 and variance 1. Constant values become 0."""
    return (values - mean).div_(deviation.masked_fill(deviation == 0, torch.inf))
