"""The critic: what local features, whole or with noise, tell about Z."""

from __future__ import annotations

from copy import deepcopy
from math import log

import torch
from torch import Tensor, nn

from metricalign._arrays import batches
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

# Of what is compared with the likeliest, in bits: less of it is lost in single precision anyway.
_SMALLEST_LOG2 = -87

# Numbers that an array of scores may have, and samples at a time. On fashion at 7 x 7 places
# `explain` took a tenth longer with 64 samples, and a few hundredths with 250.
_N_SCORES, _N_ROWS = 2**20, 128

# Largest factor of the scores, and halvings of the interval: to within .006. Columns
# of tables need up to 2.8; at 8, a place of rare patches came out three times too high.
_LARGEST_FACTOR, _N_BISECTIONS = 3.0, 9

# Parts of the reference samples in the jackknife.
N_BLOCKS = 8


class Critic(nn.Module):
    """Scores of local features and Z, and the information that they tell of each other."""

    Z_mean: Tensor
    Z_deviation: Tensor
    factors: Tensor
    references: Tensor
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
        for name in ("factors", "references", "slope", "offset", "miss"):
            self.register_buffer(name, None)
        self.register_buffer("Z_mean", statistics.Z.mean(dim=0))
        self.register_buffer("Z_deviation", statistics.Z.std(dim=0))
        n_channels, _, self.n_locations = statistics.mean.shape
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
        found = self.of_local(torch.cat(both, dim=1), places).unflatten(2, (2, -1))
        scores = torch.einsum("gkpil,gkj->gplij", found, self.images(Z))
        return 2 * InfoNCE().loss(scores)

    def both(self, features: Tensor, places: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The features of these places, and these with noise."""
        share = self.bottleneck.share(features, places)
        return features, self.bottleneck.noised(features, share)

    @property
    def n_rows(self) -> int:
        """Samples that are explained at a time."""
        return max(1, min(_N_ROWS, _N_SCORES // (self.n_locations * len(self.references))))

    def images(self, Z: Tensor) -> Tensor:
        """Images of Z by each network, of which scores are products.

        They have the shape (n_networks, n_images, n_samples).
        """
        Z = standardized(Z, self.Z_mean, self.Z_deviation).T
        return self.of_Z(Z.expand(_N_NETWORKS, -1, -1))

    def scores(
        self,
        features: Tensor,
        images: Tensor,
        references: Tensor,
        factor: Tensor | float = 1.0,
        places: Tensor | slice = ALL,
    ) -> Tensor:
        """Mean scores of the networks times a factor.

        Returns
        -------
        scores : Tensor of shape (1 + n_references, n_samples, n_places)
            Of the true pairs, and of the features with the references.
        """
        found = self.of_local(features, places).flatten(0, 1).mul_(factor / _N_NETWORKS)
        # A product with zeros leaves room for the scores of the true pairs.
        room = torch.zeros_like(references[:1])
        scores = torch.cat([room, references]) @ found.flatten(1)
        scores = scores.unflatten(1, found.shape[1:])
        torch.sum(found.mul_(images.flatten(0, 1)[:, :, None]), dim=0, out=scores[0])
        return scores

    @torch.no_grad()
    def calibrate(self, local: Tensor, Z: Tensor) -> None:
        """Find the factors of the scores, without and with noise, that maximise InfoNCE."""
        images = self.images(Z)
        factors = []
        for places in torch.arange(self.n_locations, device=Z.device).split(_LOCATIONS_PER_STEP):
            both = self.both(self.bottleneck.standardized(local, places), places)
            scores = [self.scores(part, images, self.references, places=places) for part in both]
            factors.append(_best_factors(torch.stack(scores)))
        self.factors = torch.cat(factors, dim=1)
        if self.bottleneck.is_shut:
            # What held-out samples seem to tell by mere noise is chance.
            self.factors[1] = 0

    @torch.no_grad()
    def remember(self, Z: Tensor) -> None:
        """Keep the images of the reference samples, in blocks of the same size."""
        n_kept = len(Z) - len(Z) % min(N_BLOCKS, len(Z))
        self.references = self.images(Z[:n_kept]).flatten(0, 1).T.contiguous()

    @torch.no_grad()
    def foresee(self, local: Tensor, Z: Tensor) -> None:
        """Fit what noised features tell in the mean over the noise to what their mean tells.

        By a line with the same slope at all locations. Two pairs of opposite noises give what is
        to be foreseen; their difference tells how much of what the line misses is noise.
        """
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for rows in batches(len(Z), self.n_rows):
            features, images = self.bottleneck.standardized(local[rows]), self.images(Z[rows])
            share = self.bottleneck.share(features)
            kept = share * features
            of_mean = self.of_kept(kept, images)[0]
            pairs = []
            for _ in range(2):
                noise = (1 - share) * torch.randn_like(features)
                both = [
                    self.of_noised(features, images, self.references)[0]
                    for features in (kept + noise, kept - noise)
                ]
                pairs.append((both[0] + both[1]) / 2)
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

    def of_kept(self, kept: Tensor, images: Tensor) -> Tensor:
        """Specific information of noised features without their noise.

        It is used in a line only, for which every second reference of each block is enough.
        """
        references = self.references.unflatten(0, (self.n_blocks, -1))[:, ::2].flatten(0, 1)
        return self.of_noised(kept, images, references)

    def of_noised(self, features: Tensor, images: Tensor, references: Tensor) -> Tensor:
        """Specific information of features as the bottleneck makes them."""
        return self.information(features, images, self.factors[1], references)[0]

    def explain(self, X: Tensor) -> dict[str, Tensor]:
        """Maps of a batch, of shape (n_samples, n_locations)."""
        local, Z, _ = self.network(X)
        images = self.images(Z)
        features = self.bottleneck.standardized(local)
        share = self.bottleneck.share(features)
        kept = share * features
        total, contribution = self.information(features, images, self.factors[0], self.references)
        foreseen = self.slope * self.of_kept(kept, images) + self.offset
        decision = torch.minimum(total, foreseen.clamp_min(0))
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
            "passed": self.bottleneck.passed(kept, share),
            "contribution": contribution,
        }

    @property
    def n_blocks(self) -> int:
        """Blocks of the references in the jackknife."""
        return min(N_BLOCKS, len(self.references))

    def information(
        self, features: Tensor, images: Tensor, factor: Tensor, references: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Specific information about Z, and InfoNCE.

        Returns
        -------
        information : Tensor of shape (1 + n_blocks, n_samples, n_locations)
            From all references, and from those without each block.
        contribution : Tensor of shape (n_samples, n_locations)
            Contribution to InfoNCE.
        """
        # In bits: a power of two takes a third of the time of one of e. No weight is rounded to 0,
        # so that none of the sums is.
        scores = self.scores(features, images, references, factor / log(2))
        scores.sub_(scores.amax(dim=0)).clamp_min_(_SMALLEST_LOG2)
        own = log(2) * scores[0]
        weights = scores.exp2()
        sums = self._without_blocks(weights)
        means = log(2) * self._without_blocks(scores.mul_(weights)) / sums
        log_means = sums.log() - self._without_blocks(torch.ones_like(scores[:, :1, :1])).log()
        # Negative by rounding only.
        return (means - log_means).clamp_min(0), own - log_means[0]

    def _without_blocks(self, values: Tensor) -> Tensor:
        """Sums over all that are compared, and over these without each block of references."""
        of_blocks = values[1:].unflatten(0, (self.n_blocks, -1)).sum(dim=1)
        # A difference would lose what is small beside the block.
        others = torch.tensordot(1 - torch.eye(self.n_blocks).to(values), of_blocks, 1)
        return values[0] + torch.cat([of_blocks.sum(dim=0, keepdim=True), others])


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
    # No weight below is more than 1.
    scores = scores - scores.amax(dim=-3, keepdim=True)
    own = scores.select(-3, 0).mean(dim=-2)
    smallest, largest = torch.zeros_like(own), torch.full_like(own, _LARGEST_FACTOR)
    for _ in range(_N_BISECTIONS):
        factors = (smallest + largest) / 2
        # In place and by a power of two, in less than half the time of torch.softmax.
        weights = (factors[..., None, None, :] / log(2) * scores).exp2_()
        sums = weights.sum(dim=-3)
        is_rising = own > (weights.mul_(scores).sum(dim=-3) / sums).mean(dim=-2)
        smallest, largest = smallest.where(~is_rising, factors), largest.where(is_rising, factors)
    return smallest
