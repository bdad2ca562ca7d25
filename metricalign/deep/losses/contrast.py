"""Losses that contrast samples: with those of farther targets, or of other classes."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar, Self

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from metricalign.deep.losses.distances import SMALLEST_SQUARE
from metricalign.deep.losses.loss import DeepLoss
from metricalign.relations import TargetRelation

__all__ = ["PairwiseCrossEntropyLoss", "RankNContrastLoss"]


class RankNContrastLoss(DeepLoss):
    r"""Loss of neighbours that are not in the order of their relations.

    It contrasts each sample j with all samples whose targets are at least as different from that of
    i as the target of j is:

    .. math::
        -\frac{1}{n (n - 1)} \sum_i \sum_{j \ne i} \log
        \frac{\exp(s_{ij})}{\sum_{k \ne i,\, g_{ik} \ge g_{ij}} \exp(s_{ik})},
        \qquad s_{ij} = -\|f_i - f_j\| / \tau,

    where g are the relations of any kind of target. Sorting computes it in n^2 log n operations.

    Parameters
    ----------
    temperature : float, default=2.0
        :math:`\tau`, the unit of the distances.

    References
    ----------
    K. Zha, P. Cao, J. Son, Y. Yang, D. Katabi. "Rank-N-Contrast: Learning Continuous
    Representations for Regression". NeurIPS 2023.
    """

    needs_all_pairs = True

    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, temperature: float = 2.0):
        self.temperature = temperature

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        similarities = -(squared_distances + SMALLEST_SQUARE).sqrt() / self.temperature
        # The sample itself is sorted to the end, and left out.
        masked = relations.clone().fill_diagonal_(-1)
        ordered, order = masked.sort(dim=1, descending=True)
        ordered, similarities = ordered[:, :-1], similarities.gather(1, order[:, :-1])
        beyond = similarities.logcumsumexp(dim=1)
        # All samples of equal relations count, so the sum goes up to the last of them.
        last = torch.searchsorted(-ordered, -ordered, right=True) - 1
        return (beyond.gather(1, last) - similarities).mean()


class PairwiseCrossEntropyLoss(DeepLoss):
    r"""Loss that pulls samples of a class together, and pushes all classes apart.

    With the images z of n samples of K classes, centred in the batch, it is

    .. math::
        -\frac{1}{\lambda n^2} \sum_i \sum_{j: y_j = y_i} z_i^T z_j
        + \frac{1}{n} \sum_i \log \sum_k \exp\Bigl(
        \frac{1}{\lambda n} \sum_{j: y_j = k} z_i^T z_j \Bigr).

    This is the cross-entropy of the linear classifier whose weights of class k are
    :math:`\frac{1}{\lambda n} \sum_{j: y_j = k} z_j`. These weights minimise the first part of the
    cross-entropy of linear classifiers with a penalty of :math:`\lambda / 2` times the squared
    weights. So the least cross-entropy of all linear classifiers is a lower bound of this loss.

    Parameters
    ----------
    penalty : float, default=0.1
        :math:`\lambda`. The smaller it is, the larger are the weights of the classes.

    References
    ----------
    M. Boudiaf, J. Rony, I. M. Ziko, E. Granger, M. Pedersoli, P. Piantanida, I. Ben Ayed. "A
    Unifying Mutual Information View of Metric Learning: Cross-Entropy vs. Pairwise Losses". ECCV
    2020.
    """

    needs_all_pairs = True

    _parameter_constraints: ClassVar[dict] = {
        "penalty": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, penalty: float = 0.1):
        self.penalty = penalty

    def for_relation(self, relation: TargetRelation) -> Self:
        """Return this loss if the targets are classes; see `DeepLoss.for_relation`."""
        if not relation.is_of_classes:
            raise ValueError(
                f"PairwiseCrossEntropyLoss needs targets that are classes; those of y are of the "
                f"kind {relation.kind!r}. Use another loss, such as SoftNeighborsLoss()."
            )
        return self

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        # The products of centred images follow from their distances.
        products = squared_distances - squared_distances.mean(dim=0)
        products = -0.5 * (products - products.mean(dim=1, keepdim=True))
        is_same = (1 - relations).fill_diagonal_(1)
        # Column j stands for the class of sample j, so each class occurs as often as it has
        # samples. Its logit is reduced by the logarithm of that number.
        logits = products @ is_same / (self.penalty * len(relations))
        own = logits.diagonal()
        return (torch.logsumexp(logits - is_same.sum(dim=0).log(), dim=1) - own).mean()
