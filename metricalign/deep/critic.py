"""The critic: it estimates the information of local features, with and without noise, about Z."""

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

# Number of locations whose scores are trained in a step. Locations of an image are much alike: with
# five in place of eight, and eight epochs in place of ten, the bound fell from 1.9 to 1.7 nats on
# fashion, and two seeds agreed as before.
_LOCATIONS_PER_STEP = 6

# Number of networks whose mean score is taken. On fashion at 7 x 7 places, the redundant maps of
# two seeds agreed by .77 with one network of 128 hidden units, .82 with two of 64, .85 with three
# of 48 and .86 with four of 32. The bound was 2.2, 1.9, 1.9 and 1.7 nats.
_N_NETWORKS = 3

# Smallest weight relative to the largest one, as a power of two. Smaller weights are lost in sums
# of single precision anyway.
_SMALLEST_LOG2 = -87

# Largest number of scores in an array, and of samples at a time. On fashion at 7 x 7 places
# `explain` took 10 % longer with 64 samples, and a few per cent longer with 250.
_N_SCORES, _N_ROWS = 2**20, 128

# Largest factor of the scores, and number of bisections, which find it to within .006. Columns of
# tables need up to 2.8. With 8, the information of a place of rare patches was three times too
# high.
_LARGEST_FACTOR, _N_BISECTIONS = 3.0, 9

# Number of blocks of the reference samples in the jackknife.
N_BLOCKS = 8


class Critic(nn.Module):
    """Scores of pairs of local features and Z, and the information that they have of each other."""

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
        # The tuple keeps the bottleneck from being trained as a part of this module.
        self._bottleneck = (bottleneck,)
        for name in ("factors", "references", "slope", "offset", "miss"):
            self.register_buffer(name, None)
        self.register_buffer("Z_mean", statistics.Z.mean(dim=0))
        self.register_buffer("Z_deviation", statistics.Z.std(dim=0))
        n_channels, _, self.n_locations = statistics.mean.shape
        n_images = max(1, n_hidden // 4)
        # In an earlier version a single hidden layer found .5 nats of a planted patch under noise.
        # Two hidden layers find .61 to .67.
        sizes = [n_channels, n_hidden, 2 * n_images, n_images]
        self.of_local = LocalNetworks(_N_NETWORKS, self.n_locations, sizes)
        self.of_Z = perceptrons(_N_NETWORKS, [statistics.Z.shape[1], n_hidden, n_images])

    @property
    def bottleneck(self) -> Bottleneck:
        """The trained bottleneck."""
        return self._bottleneck[0]

    def on(self, device: torch.device) -> Critic:
        """Return a copy on another device."""
        if device.type == "cpu":
            return self
        copy = deepcopy(self).to(device)
        copy.network.to(device)
        copy.bottleneck.to(device)
        return copy

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Return the loss for samples and the outputs of the network."""
        _, local, Z, *_ = batch
        # Random locations are enough to train a critic that is the same for all. To decide when to
        # stop, the same locations are taken in each epoch.
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
        """Return the features of these places without and with noise."""
        share = self.bottleneck.share(features, places)
        return features, self.bottleneck.noised(features, share)

    @property
    def n_rows(self) -> int:
        """Number of samples that are explained at a time."""
        return max(1, min(_N_ROWS, _N_SCORES // (self.n_locations * len(self.references))))

    def images(self, Z: Tensor) -> Tensor:
        """Return the images of Z by each network. Scores are products with them.

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
        """Return the mean scores of the networks, times a factor.

        Returns
        -------
        scores : Tensor of shape (1 + n_references, n_samples, n_places)
            The scores of the true pairs, followed by those of the features with each reference.
        """
        found = self.of_local(features, places).flatten(0, 1).mul_(factor / _N_NETWORKS)
        # The product with zeros makes room for the scores of the true pairs.
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
            # There is only noise, so what held-out samples seem to tell is chance.
            self.factors[1] = 0

    @torch.no_grad()
    def remember(self, Z: Tensor) -> None:
        """Keep the images of the reference samples, in blocks of the same size."""
        n_kept = len(Z) - len(Z) % min(N_BLOCKS, len(Z))
        self.references = self.images(Z[:n_kept]).flatten(0, 1).T.contiguous()

    @torch.no_grad()
    def foresee(self, local: Tensor, Z: Tensor) -> None:
        """Fit a line that predicts the information of noised features from that of their mean.

        The information of noised features is the mean over the noise. The slope is the same at all
        locations. Two pairs of opposite noises give the values to be predicted. Their difference
        estimates how much of the residuals is noise.
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
        # Without a decision nothing passes, and there is nothing to predict.
        self.slope = (inputs * (truth - mean)).sum() / inputs.square().sum().clamp_min(1e-6)
        self.offset = mean - self.slope * centre
        missed = (truth - mean - self.slope * inputs).square()
        self.miss = (missed - noise).mean(dim=0).clamp_min(0)

    def of_kept(self, kept: Tensor, images: Tensor) -> Tensor:
        """Return the specific information of noised features without their noise.

        It is only the input of a line, for which every second reference of each block is enough.
        """
        references = self.references.unflatten(0, (self.n_blocks, -1))[:, ::2].flatten(0, 1)
        return self.of_noised(kept, images, references)

    def of_noised(self, features: Tensor, images: Tensor, references: Tensor) -> Tensor:
        """Return the specific information of features with noise."""
        return self.information(features, images, self.factors[1], references)[0]

    def explain(self, X: Tensor) -> dict[str, Tensor]:
        """Return the maps of a batch, of shape (n_samples, n_locations)."""
        local, Z, _ = self.network(X)
        images = self.images(Z)
        features = self.bottleneck.standardized(local)
        share = self.bottleneck.share(features)
        kept = share * features
        total, contribution = self.information(features, images, self.factors[0], self.references)
        foreseen = self.slope * self.of_kept(kept, images) + self.offset
        decision = torch.minimum(total, foreseen.clamp_min(0))
        # The error of the line counts only where the decision-related part is not cut off.
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
        """Number of blocks of the references in the jackknife."""
        return min(N_BLOCKS, len(self.references))

    def information(
        self, features: Tensor, images: Tensor, factor: Tensor, references: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the specific information about Z, and the contributions to InfoNCE.

        Returns
        -------
        information : Tensor of shape (1 + n_blocks, n_samples, n_locations)
            The information from all references, followed by that without each block.
        contribution : Tensor of shape (n_samples, n_locations)
            Contributions to InfoNCE.
        """
        # Scores are in bits, as powers of two take a third of the time of powers of e. No weight is
        # rounded to 0, so that no sum is 0.
        scores = self.scores(features, images, references, factor / log(2))
        scores.sub_(scores.amax(dim=0)).clamp_min_(_SMALLEST_LOG2)
        own = log(2) * scores[0]
        weights = scores.exp2()
        sums = self._without_blocks(weights)
        means = log(2) * self._without_blocks(scores.mul_(weights)) / sums
        log_means = sums.log() - self._without_blocks(torch.ones_like(scores[:, :1, :1])).log()
        # The information is negative by rounding only.
        return (means - log_means).clamp_min(0), own - log_means[0]

    def _without_blocks(self, values: Tensor) -> Tensor:
        """Return the sums over all references, and over those without each block."""
        of_blocks = values[1:].unflatten(0, (self.n_blocks, -1)).sum(dim=1)
        # Subtracting a block from the sum of all would lose the digits of smaller blocks.
        others = torch.tensordot(1 - torch.eye(self.n_blocks).to(values), of_blocks, 1)
        return values[0] + torch.cat([of_blocks.sum(dim=0, keepdim=True), others])


def _jackknife_variance(values):
    """Jackknife variance over the reference samples, from the values without each block."""
    without = values[1:]
    return (len(without) - 1) * (without - without.mean(dim=0)).square().mean(dim=0)


def _best_factors(scores):
    """Return the factors of the scores of each location that maximise InfoNCE, by bisection.

    The scores have the shape (..., n_compared, n_samples, n_locations). Those of the true pairs are
    the first. InfoNCE is concave in the factor. Its slope is the mean over the samples of the score
    of the true pair less the expected score.
    """
    # With these scores, no weight is more than 1.
    scores = scores - scores.amax(dim=-3, keepdim=True)
    own = scores.select(-3, 0).mean(dim=-2)
    smallest, largest = torch.zeros_like(own), torch.full_like(own, _LARGEST_FACTOR)
    for _ in range(_N_BISECTIONS):
        factors = (smallest + largest) / 2
        # Powers of two in place take less than half the time of torch.softmax.
        weights = (factors[..., None, None, :] / log(2) * scores).exp2_()
        sums = weights.sum(dim=-3)
        is_rising = own > (weights.mul_(scores).sum(dim=-3) / sums).mean(dim=-2)
        smallest, largest = smallest.where(~is_rising, factors), largest.where(is_rising, factors)
    return smallest
