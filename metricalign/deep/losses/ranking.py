"""Losses of the ranking of neighbours, with smooth positions in the order."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from metricalign.deep.losses.loss import DeepLoss

__all__ = ["ApproxNDCGLoss", "SmoothAPLoss"]


class ApproxNDCGLoss(DeepLoss):
    """Loss of neighbours that are not ranked by their relations: 1 less a smooth NDCG.

    Each sample i of a batch is a query, for which the others are ranked by their similarity
    s_ij = -||f_i - f_j||^2. For normalised images this is twice their cosine, up to a constant. The
    position of j is smooth,

        pi_ij = 1 + sum over k not in {i, j} of sigmoid((s_ik - s_ij) / temperature)

    and the loss is the mean over the queries of 1 - DCG_i / ideal DCG_i, where

        DCG_i = sum over j of gain_ij / log2(1 + pi_ij)
        gain_ij = 2^(grade * (1 - relation_ij)) - 1

    The loss tends to 1 - NDCG as the temperature tends to 0. A query for which no sample has a gain
    has the loss 0. All pairs of a batch are compared with each other, so time and memory grow with
    the cube of the batch size.

    Parameters
    ----------
    temperature : float, default=0.1
        Squared distances are in order if they differ by much more than this, and tied if they
        differ by much less.
    grade : float, default=4.0
        How fast gains fall with the relation. 4 is the highest grade in web search.

    References
    ----------
    L. Gu. "Representation Learning by Ranking across multiple tasks". arXiv 2103.15093, 2021.

    T. Qin, T.-Y. Liu, H. Li. "A general approximation framework for direct optimization of
    information retrieval measures". Information Retrieval 13, 2010.
    """

    needs_all_pairs = True

    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "grade": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, temperature: float = 0.1, grade: float = 4.0):
        self.temperature = temperature
        self.grade = grade

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        n_samples = len(relations)
        itself = torch.eye(n_samples, dtype=torch.bool, device=relations.device)
        gains = torch.exp2(self.grade * (1 - relations)) - 1
        gains = gains.masked_fill(itself, 0)
        scaled = squared_distances / self.temperature
        # The sum goes over all samples k. Then the terms of j itself, 1/2, and of the query i,
        # whose distance is zero, are subtracted.
        before = torch.sigmoid(scaled[:, :, None] - scaled[:, None, :]).sum(dim=2)
        positions = 1 + before - 0.5 - torch.sigmoid(scaled)
        ranks = torch.arange(2, n_samples + 2, dtype=gains.dtype, device=gains.device)
        ideal = (gains.sort(dim=1, descending=True).values / torch.log2(ranks)).sum(dim=1)
        has_gain = ideal > 0
        ratio = (gains / torch.log2(1 + positions)).sum(dim=1) / ideal.where(has_gain, 1)
        return torch.where(has_gain, 1 - ratio, 0).mean()


class SmoothAPLoss(DeepLoss):
    r"""Loss of samples of the same class that are not ranked first: 1 less a smooth AP.

    Each sample i of a batch is a query. Its average precision (AP) is made smooth by sigmoids of
    differences of similarities. With the relevances w = 1 - relation, which are 1 for the same
    class and 0 for others,

    .. math::
        AP_i = \frac{1}{\sum_j w_{ij}} \sum_{j \ne i} w_{ij}
        \frac{w_{ij} + \sum_{k \ne i, j} w_{ik} \sigma_{ijk}}{1 + \sum_{k \ne i, j} \sigma_{ijk}},
        \qquad \sigma_{ijk} = \frac{1}{1 + \exp((s_{ij} - s_{ik}) / \tau)},

    where s are the negative squared distances. For normalised images they are twice their cosines,
    up to a constant. The loss tends to 1 - AP as the temperature tends to 0. A query without
    relevant samples has the loss 0. Relevances may be graded. Time and memory grow with the cube of
    the batch size.

    Parameters
    ----------
    temperature : float, default=0.1
        :math:`\tau`. Squared distances are in order if they differ by much more than this, and tied
        if they differ by much less. The paper has .01 for cosines.

    References
    ----------
    A. Brown, W. Xie, V. Kalogeiton, A. Zisserman. "Smooth-AP: Smoothing the Path Towards
    Large-Scale Image Retrieval". ECCV 2020.
    """

    needs_all_pairs = True

    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, temperature: float = 0.1):
        self.temperature = temperature

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        relevances = (1 - relations).fill_diagonal_(0)
        scaled = squared_distances / self.temperature
        # Axis 1 is j and axis 2 is k. The value is near 1 if k is ranked before j. It is 0 if k is
        # j or the query.
        before = torch.sigmoid(scaled[:, :, None] - scaled[:, None, :])
        itself = torch.eye(len(relations), dtype=torch.bool, device=relations.device)
        before = before.masked_fill(itself[None] | itself[:, None, :], 0)
        relevant = relevances + torch.einsum("ijk,ik->ij", before, relevances)
        precisions = relevant / (1 + before.sum(dim=2))
        total = relevances.sum(dim=1)
        is_query = total > 0
        mean = (relevances * precisions).sum(dim=1) / total.where(is_query, 1)
        return torch.where(is_query, 1 - mean, 0).mean()
