"""The critic: what local features, whole or with noise, tell about Z."""

from __future__ import annotations

from copy import deepcopy

import torch
from sklearn.utils import gen_batches
from torch import Tensor, nn

from metricalign.deep.bottleneck import Bottleneck, standardized
from metricalign.deep.frozen import FeatureStatistics, FrozenNetwork
from metricalign.deep.information import InfoNCE
from metricalign.deep.local_networks import ALL, LocalNetworks, perceptrons

__all__ = ["Critic"]

# Locations whose scores are trained in a step. Those of an image are much alike: with five rather
# than eight, and eight epochs rather than ten, the bound fell from 1.9 to 1.7 nats on fashion, and
# two seeds agreed as before.
_LOCATIONS_PER_STEP = 6

# Networks whose mean score is taken. The redundant maps of two seeds agreed by .77 with one of 128
# hidden units, .82 with two of 64, .85 with three of 48 and .86 with four of 32, on fashion at
# 7 x 7 places; the bound was 2.2, 1.9, 1.9 and 1.7 nats.
_N_NETWORKS = 3

# Of what is compared with the likeliest: e^-60 of it is lost in single precision anyway.
_SMALLEST_LOG = -60

# Numbers that an array of scores may have, to stay in the cache.
_N_SCORES = 2**20

# Largest factor of the scores, and halvings of the interval: to within a five-hundredth. Columns
# of tables need up to 2.8; at 8, a place of rare patches came out three times too high.
_LARGEST_FACTOR, _N_BISECTIONS = 3.0, 11

# Parts of the reference samples in the jackknife.
N_BLOCKS = 8


class Critic(nn.Module):
    """Scores of local features and Z, and the information that they tell of each other."""

    Z_mean: Tensor
    Z_deviation: Tensor
    factors: Tensor
    references: Tensor
    summands: Tensor
    n_compared: Tensor
    slope: Tensor
    offset: Tensor
    miss: Tensor

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
        for name in ("factors", "references", "summands", "n_compared", "slope", "offset", "miss"):
            self.register_buffer(name, None)
        self.register_buffer("Z_mean", statistics.Z.mean(dim=0))
        self.register_buffer("Z_deviation", statistics.Z.std(dim=0))
        self.n_locations, n_channels = statistics.mean.shape
        n_images = max(1, n_hidden // 4)
        # In an earlier version a single hidden layer found half a nat of a planted patch under
        # noise. Two find .61 to .67.
        sizes = [n_channels, n_hidden, 2 * n_images, n_images]
        self.of_local = LocalNetworks(_N_NETWORKS, self.n_locations, sizes)
        self.of_Z = perceptrons(_N_NETWORKS, [statistics.Z.shape[1], n_hidden, n_images])

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
        """Loss of samples and what the network makes of them."""
        _, local, Z, *_ = batch
        # Random locations are enough to train the same critic for all, and the same ones in each
        # epoch to tell when to stop.
        if self.training:
            places = torch.randperm(self.n_locations, device=Z.device)[:_LOCATIONS_PER_STEP]
        else:
            step = -(-self.n_locations // (2 * _LOCATIONS_PER_STEP))
            places = torch.arange(0, self.n_locations, step, device=Z.device)
        with torch.no_grad():
            both = self.both(self.bottleneck.standardized(local, places), places)
        found = self.of_local(torch.cat(both), places).unflatten(1, (2, -1))
        scores = torch.einsum("gpilk,gjk->gplij", found, self.images(Z))
        return 2 * InfoNCE().loss(scores)

    def both(self, features: Tensor, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The features of these places, and these with noise."""
        share = self.bottleneck.share(features, places)
        return features, self.bottleneck.noised(features, share)

    @property
    def n_rows(self) -> int:
        """Samples that are explained at a time."""
        return max(1, min(256, _N_SCORES // (self.n_locations * len(self.references))))

    def images(self, Z: Tensor) -> Tensor:
        """Images of Z by each network, of which scores are products."""
        Z = standardized(Z, self.Z_mean, self.Z_deviation)
        return self.of_Z(Z.expand(_N_NETWORKS, -1, -1))

    def own_and_others(
        self,
        features: Tensor,
        images: Tensor,
        places: Tensor | slice = ALL,
        factor: Tensor | float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Mean scores of the networks times a factor.

        Returns
        -------
        own : Tensor of shape (n_samples * n_places,)
            Of the true pairs.
        others : Tensor of shape (n_references, n_samples * n_places)
            Of the features with the references.
        """
        found = factor / _N_NETWORKS * _together(self.of_local(features, places))
        own = (found * _together(images)[:, None]).sum(dim=2).flatten()
        return own, self.references @ found.flatten(0, 1).T

    @torch.no_grad()
    def calibrate(self, local: Tensor, Z: Tensor) -> None:
        """Find the factors of the scores, without and with noise, that maximise InfoNCE."""
        images = self.images(Z)
        factors = []
        for places in torch.arange(self.n_locations, device=Z.device).split(_LOCATIONS_PER_STEP):
            both = self.both(self.bottleneck.standardized(local, places), places)
            found = [self.own_and_others(part, images, places) for part in both]
            scores = torch.stack([torch.cat([own[None], others]) for own, others in found])
            factors.append(_best_factors(scores.unflatten(2, (len(Z), -1))))
        self.factors = torch.cat(factors, dim=1)[:, :, None]

    @torch.no_grad()
    def remember(self, Z: Tensor) -> None:
        """Keep the images of the reference samples, in blocks of the same size."""
        n_blocks = min(N_BLOCKS, len(Z))
        block_size = len(Z) // n_blocks
        self.references = _together(self.images(Z[: n_blocks * block_size]))
        # A row for all blocks, and one for all without each of them.
        blocks = torch.cat([torch.ones(1, n_blocks), 1 - torch.eye(n_blocks)])
        self.summands = blocks.to(Z.device)
        self.n_compared = 1 + block_size * self.summands.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def foresee(self, local: Tensor, Z: Tensor) -> None:
        """Fit what noised features tell in the mean over the noise to what their mean tells.

        By a line with the same slope at all locations. Two pairs of opposite noises give what is
        to be foreseen; their difference tells how much of what the line misses is noise.
        """
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for rows in gen_batches(len(Z), self.n_rows):
            features, images = self.bottleneck.standardized(local[rows]), self.images(Z[rows])
            share = self.bottleneck.share(features)
            kept = share * features
            of_mean = self.of_noised(kept, images)[0]
            pairs = []
            for _ in range(2):
                noise = (1 - share) * torch.randn_like(features)
                both = self.of_noised(kept + noise, images), self.of_noised(kept - noise, images)
                pairs.append((both[0][0] + both[1][0]) / 2)
            difference = pairs[0] - pairs[1]
            found.append((of_mean, (pairs[0] + pairs[1]) / 2, difference.square() / 4))
        of_mean, truth, noise = (torch.cat(parts) for parts in zip(*found, strict=True))
        centre, mean = of_mean.mean(dim=0), truth.mean(dim=0)
        inputs = of_mean - centre
        # Without a decision nothing passes, and there is nothing to foresee.
        self.slope = (inputs * (truth - mean)).sum() / inputs.square().sum().clamp_min(1e-6)
        self.offset = mean - self.slope * centre
        missed = (truth - mean - self.slope * inputs).square()
        self.miss = (missed - noise).mean(dim=0).clamp_min(0)

    def of_noised(self, features: Tensor, images: Tensor) -> Tensor:
        """Specific information of features as the bottleneck makes them."""
        return self.information(features, images, self.factors[1])[0]

    def explain(self, X: Tensor, survivors: slice) -> dict[str, Tensor]:
        """Maps of a batch, of shape (n_samples, n_locations)."""
        local, Z, output = self.network(X)
        images = self.images(Z)
        features = self.bottleneck.standardized(local)
        share = self.bottleneck.share(features)
        total, contribution = self.information(features, images, self.factors[0])
        foreseen = self.slope * self.of_noised(share * features, images) + self.offset
        decision = torch.minimum(total, foreseen.clamp_min(0))
        own = self.network.log_decision(Z, output)[survivors].exp()
        # Networks may refuse a batch without samples.
        left = own
        if len(own):
            noised = self.bottleneck.noised(features[survivors], share[survivors])
            left = self.bottleneck.decision(X[survivors], local[survivors], noised).exp()
        # What the line misses counts where the decision-related part is not cut off.
        is_cut = decision[0] == total[0]
        miss = self.miss.expand_as(is_cut).masked_fill(is_cut, 0)
        return {
            "total": total[0],
            "decision": decision[0],
            "redundant": total[0] - decision[0],
            "total_error": _jackknife_variance(total).sqrt(),
            "decision_error": (_jackknife_variance(decision) + miss).sqrt(),
            "redundant_error": (_jackknife_variance(total - decision) + miss).sqrt(),
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
        information : Tensor of shape (1 + n_blocks, n_samples, n_locations)
            From all references, and from those without each block.
        contribution : Tensor of shape (n_samples, n_locations)
            Contribution to InfoNCE.
        """
        own, scores = self.own_and_others(features, images, factor=factor)
        largest = torch.maximum(scores.amax(dim=0), own)
        # No weight is rounded to 0, so that none of the sums is.
        scores = scores.sub_(largest).clamp_min_(_SMALLEST_LOG)
        own = own - largest
        weights, own_weight = scores.exp(), own.exp()
        sums = self._without_blocks(weights) + own_weight
        products = self._without_blocks(scores.mul_(weights)) + own_weight * own
        log_mean = sums.log() - self.n_compared.log()
        # Negative by rounding only.
        information = (products / sums - log_mean).clamp_min(0)
        shape = features.shape[:2]
        return information.unflatten(1, shape), (own - log_mean[0]).unflatten(0, shape)

    def _without_blocks(self, values: Tensor) -> Tensor:
        """Sums over the reference samples: over all, and without each block."""
        n_blocks = self.summands.shape[1]
        return self.summands @ values.unflatten(0, (n_blocks, -1)).sum(dim=1)


def _together(images):
    """Images of all networks, one after the other."""
    return images.movedim(0, -2).flatten(-2)


def _jackknife_variance(values):
    """Variance over the reference samples, from the values without each block of them."""
    without = values[1:]
    return (len(without) - 1) * (without - without.mean(dim=0)).square().mean(dim=0)


def _best_factors(scores):
    """Factors of the scores of each location that maximise InfoNCE, by bisection.

    The scores have the shape (..., n_compared, n_samples, n_locations), first those of the true
    pairs. InfoNCE is concave in the factor, and its slope is the mean over the samples of the own
    score less the expected one.
    """
    own = scores.select(-3, 0).mean(dim=-2)
    smallest, largest = torch.zeros_like(own), torch.full_like(own, _LARGEST_FACTOR)
    for _ in range(_N_BISECTIONS):
        factors = (smallest + largest) / 2
        likely = (factors[..., None, None, :] * scores).softmax(dim=-3)
        is_rising = own > (likely * scores).sum(dim=-3).mean(dim=-2)
        smallest, largest = smallest.where(~is_rising, factors), largest.where(is_rising, factors)
    return smallest
