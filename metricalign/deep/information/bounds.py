"""Estimators of information from scores, and which side of it they bound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf, log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from metricalign.deep.information.critics import GaussianConditional, SeparableCritic

__all__ = ["BOUNDS", "NWJ", "SMILE", "InfoNCE", "InformationBound", "VariationalUpperBound"]


class InformationBound(ABC):
    """Base class of the estimators. They compute contributions from a matrix of scores."""

    side: ClassVar[str]
    #: Whether the side holds for a trained critic too, or only for the true density.
    holds_for_any_critic: ClassVar[bool] = True

    @abstractmethod
    def contributions(self, scores: Tensor) -> Tensor:
        """Return the contribution of each pair. Their mean is the estimate.

        Parameters
        ----------
        scores : Tensor of shape (..., n_pairs, n_pairs)
            Entry (i, j) is the score of x_j and y_i.

        Returns
        -------
        contributions : Tensor of shape (..., n_pairs)
            Contributions in nats.
        """

    def loss(self, scores: Tensor) -> Tensor:
        """Return the loss of the critic, which is the negative estimate of a lower bound."""
        return -self.contributions(scores).mean()

    def ceiling(self, n_pairs: int) -> float:
        """Return the largest value that the estimate can take."""
        return inf

    def critic(self, n_features: int, n_targets: int, sizes: Sequence[int]) -> nn.Module:
        """Make an untrained critic."""
        return SeparableCritic(n_features, n_targets, sizes)


class InfoNCE(InformationBound):
    """Lower bound that compares each pair with all others of the batch.

    It is the mean of s_ii - log(mean over j of exp(s_ij)), where the j include i. Without i it
    would not be a bound. It has a small variance, but cannot exceed log(n_pairs).

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals. "Representation Learning with Contrastive Predictive
    Coding". arXiv 1807.03748, 2018.

    Examples
    --------
    >>> import torch
    >>> from metricalign.deep.information import InfoNCE
    >>> InfoNCE().contributions(100 * torch.eye(4)).exp()
    tensor([4., 4., 4., 4.])
    """

    side = "lower"

    def contributions(self, scores: Tensor) -> Tensor:
        """Return the contribution of each pair."""
        n_pairs = scores.shape[-1]
        return _diagonal(scores) - scores.logsumexp(dim=-1) + log(n_pairs)

    def ceiling(self, n_pairs: int) -> float:
        """Return the largest value that the estimate can take, log(n_pairs)."""
        return log(n_pairs)


class NWJ(InformationBound):
    """Lower bound without a ceiling, that of Nguyen, Wainwright and Jordan.

    It is the mean of s_ii minus the mean of exp(s_ij - 1) over j other than i. Its standard error
    grows exponentially with the information.

    References
    ----------
    X. Nguyen, M. J. Wainwright, M. I. Jordan. "Estimating divergence functionals and the likelihood
    ratio by convex risk minimization". IEEE Transactions on Information Theory 56, 2010.
    """

    side = "lower"

    def contributions(self, scores: Tensor) -> Tensor:
        """Return the contribution of each pair."""
        return _diagonal(scores) - _log_mean_of_others(scores - 1).exp()


class SMILE(InformationBound):
    """Estimate with clipped scores. It has less variance, and is not a bound.

    It is the mean of s_ii minus the logarithm of the mean of exp(clip(s_ij, -clip, clip)) over all
    i and j that differ. The critic is trained for the Jensen-Shannon divergence of pairs and
    others.

    Parameters
    ----------
    clip : float, default=5.0
        Largest size of a score in the second term. The larger, the less bias and the more variance.

    References
    ----------
    J. Song, S. Ermon. "Understanding the Limitations of Variational Mutual Information Estimators".
    ICLR 2020.
    """

    side = "neither"

    def __init__(self, clip: float = 5.0):
        self.clip = clip

    def contributions(self, scores: Tensor) -> Tensor:
        """Return the contribution of each pair."""
        others = _log_mean_of_others(scores.clamp(-self.clip, self.clip))
        log_mean = others.logsumexp(dim=-1, keepdim=True) - log(scores.shape[-1])
        # The logarithm of the mean is linearised at the mean, which keeps its value and its spread.
        return _diagonal(scores) - log_mean - (others - log_mean).exp() + 1

    def loss(self, scores: Tensor) -> Tensor:
        """Return the negative Jensen-Shannon divergence, up to constants."""
        n_pairs = scores.shape[-1]
        own = _diagonal(scores)
        others = softplus(scores).sum(dim=-1) - softplus(own)
        return (softplus(-own) + others / (n_pairs - 1)).mean()


class VariationalUpperBound(InformationBound):
    """Upper bound by a conditional density of y given x.

    It is the mean of s_ii - log(mean over j other than i of exp(s_ij)), where
    s_ij = log q(y_i | x_j). It is an upper bound if q is the true density. So if the density is
    known, as that of noise that you add yourself, give it as the critic. By default the density is
    learned. The estimate is then lower, by as much as the learned density fits the samples worse
    than the true one, and its side is "neither". No upper bound is known that needs only samples.

    References
    ----------
    B. Poole, S. Ozair, A. van den Oord, A. A. Alemi, G. Tucker. "On Variational Bounds of Mutual
    Information". ICML 2019.
    """

    side = "upper"
    holds_for_any_critic = False

    def contributions(self, scores: Tensor) -> Tensor:
        """Return the contribution of each pair."""
        return _diagonal(scores) - _log_mean_of_others(scores)

    def loss(self, scores: Tensor) -> Tensor:
        """Return the negative log likelihood of the density."""
        return -_diagonal(scores).mean()

    def critic(self, n_features: int, n_targets: int, sizes: Sequence[int]) -> nn.Module:
        """Make an untrained conditional density."""
        return GaussianConditional(n_features, n_targets, sizes)


#: The estimators by name. A new one is a class above and a line here.
BOUNDS: dict[str, type[InformationBound]] = {
    "infonce": InfoNCE,
    "nwj": NWJ,
    "smile": SMILE,
    "upper": VariationalUpperBound,
}


def _diagonal(scores):
    return scores.diagonal(dim1=-2, dim2=-1)


def _log_mean_of_others(scores):
    n_pairs = scores.shape[-1]
    itself = torch.eye(n_pairs, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(itself, -inf).logsumexp(dim=-1) - log(n_pairs - 1)
