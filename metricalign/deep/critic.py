"""The critic: what local features, whole or with noise, tell about Z."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from metricalign.deep.bottleneck import Bottleneck, LocalNetwork, standardized
from metricalign.deep.frozen import FeatureStatistics, FrozenNetwork
from metricalign.deep.information import InfoNCE, perceptron

__all__ = ["Critic", "FeaturesOfSamples"]

# Locations whose scores are trained in a step.
_LOCATIONS_PER_STEP = 32

# Largest factor of the scores, and halvings of the interval: to within a five-hundredth.
_LARGEST_FACTOR, _N_BISECTIONS = 2.0, 10

# Noises of which information is averaged, and parts of the reference samples in the jackknife.
_N_DRAWS, N_BLOCKS = 2, 8


class FeaturesOfSamples(Dataset):
    """Features and Z of samples, computed when they are needed."""

    def __init__(self, bottleneck: Bottleneck, X: Tensor, device: torch.device):
        self.bottleneck = bottleneck
        self.X = X
        self.device = device

    def __len__(self):
        return len(self.X)

    @torch.no_grad()
    def __getitem__(self, rows):
        local, Z, _ = self.bottleneck.network(self.X[rows].to(self.device))
        return [self.bottleneck.standardized(local), Z]


class Critic(nn.Module):
    """Scores of local features and Z, and the information that they tell of each other."""

    Z_mean: Tensor
    Z_deviation: Tensor
    factors: Tensor
    references: Tensor
    summands: Tensor

    def __init__(
        self,
        network: FrozenNetwork,
        statistics: FeatureStatistics,
        bottleneck: Bottleneck,
        n_hidden: int,
    ):
        super().__init__()
        self.network = network
        # In a tuple, since it is no part to be trained.
        self._bottleneck = (bottleneck,)
        for name in ("factors", "references", "summands"):
            self.register_buffer(name, None)
        self.register_buffer("Z_mean", statistics.Z.mean(dim=0))
        self.register_buffer("Z_deviation", statistics.Z.std(dim=0))
        self.n_locations, n_channels = statistics.mean.shape
        n_images = max(1, n_hidden // 2)
        self.of_local = LocalNetwork(self.n_locations, n_channels, n_hidden, n_images)
        self.of_Z = perceptron([statistics.Z.shape[1], n_hidden, n_images])

    @property
    def bottleneck(self) -> Bottleneck:
        """The trained bottleneck."""
        return self._bottleneck[0]

    def on(self, device: torch.device) -> Critic:
        """Copy of this on another device."""
        if device.type == "cpu":
            return self
        copy = deepcopy(self).to(device)
        copy.network.to(device)
        copy.bottleneck.to(device)
        return copy

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Loss of a batch of features and Z."""
        both, images = self.both(batch[0]), self.images(batch[1])
        # Random locations are enough to train the same critic for all.
        places = torch.randperm(self.n_locations, device=images.device)[:_LOCATIONS_PER_STEP]
        losses = [InfoNCE().loss(self.scores(part, images, places)) for part in both]
        return torch.stack(losses).sum()

    def both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and these with noise."""
        return features, self.bottleneck.noised(features, self.bottleneck.share(features))

    def images(self, Z: Tensor) -> Tensor:
        """Images of Z, of which scores are products."""
        return self.of_Z(standardized(Z, self.Z_mean, self.Z_deviation))

    def scores(self, features: Tensor, images: Tensor, places: Tensor | slice) -> Tensor:
        """Scores of all pairs, of shape (n_locations, n_samples, n_samples), columns for Z."""
        return torch.einsum("ilk,jk->lij", self.of_local(features, places), images)

    @torch.no_grad()
    def calibrate(self, features: Tensor, Z: Tensor) -> None:
        """Find the factors of the scores, without and with noise, that maximise InfoNCE."""
        images = self.images(Z)
        places = torch.arange(self.n_locations, device=Z.device).split(_LOCATIONS_PER_STEP)
        factors = [
            torch.cat([_best_factor(self.scores(part, images, some)) for some in places])
            for part in self.both(features)
        ]
        self.factors = torch.stack(factors)[:, :, None]

    @torch.no_grad()
    def remember(self, Z: Tensor) -> None:
        """Keep the images of the reference samples."""
        self.references = self.images(Z)
        # A column for all, and one for all without each block.
        places = torch.arange(len(Z), device=Z.device)[:, None] * N_BLOCKS // len(Z)
        blocks = torch.arange(-1, N_BLOCKS, device=Z.device)
        self.summands = (places != blocks).to(self.references)

    def explain(self, X: Tensor, survivors: slice) -> dict[str, Tensor]:
        """Maps of a batch, of shape (n_samples, n_locations)."""
        local, Z, output = self.network(X)
        features = self.bottleneck.standardized(local)
        share = self.bottleneck.share(features)
        draws = [self.bottleneck.noised(features, share) for _ in range(_N_DRAWS)]
        images = self.images(Z)
        total, contribution = self.information(features, images, self.factors[0])
        noised = [self.information(draw, images, self.factors[1])[0] for draw in draws]
        kept = torch.stack(noised)
        decision = torch.minimum(total, kept.mean(dim=0))
        own = self.network.log_decision(Z, output)[survivors].exp()
        # Networks may refuse a batch without samples.
        left = own
        if len(own):
            left = self.bottleneck.decision(
                X[survivors], local[survivors], draws[0][survivors]
            ).exp()
        # The noise of draws counts where it is not cut off.
        is_cut = decision[..., 0] == total[..., 0]
        noise = (kept[..., 0].var(dim=0) / _N_DRAWS).masked_fill(is_cut, 0)
        return {
            "total": total[..., 0],
            "decision": decision[..., 0],
            "redundant": total[..., 0] - decision[..., 0],
            "total_error": _jackknife_variance(total).sqrt(),
            "decision_error": (_jackknife_variance(decision) + noise).sqrt(),
            "redundant_error": (_jackknife_variance(total - decision) + noise).sqrt(),
            "passed": self.bottleneck.passed(features, share),
            "contribution": contribution,
            "kept": torch.minimum(own, left).sum(dim=1),
        }

    def information(
        self, features: Tensor, images: Tensor, factor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Specific information about Z, and InfoNCE.

        Returns
        -------
        information : Tensor of shape (n_samples, n_locations, 1 + n_blocks)
            From all references, and from those without each block.
        contribution : Tensor of shape (n_samples, n_locations)
            Contribution to InfoNCE.
        """
        found = factor * self.of_local(features, slice(None))
        own = (found * images[:, None]).sum(dim=2, keepdim=True)
        scores = found @ self.references.T
        largest = torch.maximum(scores.amax(dim=2, keepdim=True), own)
        scores, own = scores.sub_(largest), own - largest
        weights = scores.exp()
        sums = weights @ self.summands + own.exp()
        products = scores.mul_(weights) @ self.summands + own.exp() * own
        n_compared = self.summands.sum(dim=0) + 1
        log_mean = sums.log() - n_compared.log()
        # Negative by rounding only.
        information = (products / sums - log_mean).clamp_min(0)
        return information, (own - log_mean)[..., 0]


def _jackknife_variance(values):
    """Variance over the reference samples, from the values without each block of them."""
    return (N_BLOCKS - 1) * values[..., 1:].var(dim=-1, correction=0)


def _best_factor(scores):
    """Factor of the scores of each location that maximises InfoNCE, by bisection.

    InfoNCE is concave in the factor, and its slope is the mean over the rows of the own score less
    the expected one.
    """
    own = scores.diagonal(dim1=1, dim2=2).mean(dim=1)
    smallest, largest = torch.zeros_like(own), torch.full_like(own, _LARGEST_FACTOR)
    for _ in range(_N_BISECTIONS):
        factor = (smallest + largest) / 2
        likely = (factor[:, None, None] * scores).softmax(dim=2)
        is_rising = own > (likely * scores).sum(dim=2).mean(dim=1)
        smallest, largest = smallest.where(~is_rising, factor), largest.where(is_rising, factor)
    return smallest
