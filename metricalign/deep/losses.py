"""Losses of the embedding distances of pairs, given their relations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from numbers import Real
from typing import Any, ClassVar, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from metricalign.relations import TargetRelation, is_automatic

__all__ = [
    "LOSSES",
    "AlignmentLoss",
    "ApproxNDCGLoss",
    "DeepLoss",
    "LayeredLoss",
    "PairwiseCrossEntropyLoss",
    "RankNContrastLoss",
    "SmoothAPLoss",
    "SoftNeighborsLoss",
    "squared_distances",
]

# Added to probabilities in logarithms, and to squared distances in roots, which have no derivative
# at zero.
_SMALLEST_PROBABILITY, _SMALLEST_SQUARE = 1e-7, 1e-12


class DeepLoss(BaseEstimator, ABC):
    """What a loss of a network's distances has to offer.

    A new loss is a subclass that is called with distances and relations, and returns one number
    that can be differentiated. Its parameters are those of its ``__init__``, which only stores
    them; a grid search reaches them as ``loss__name``. HRAML takes an instance in place of a
    name.
    """

    needs_all_pairs: ClassVar[bool] = False
    """Whether it compares pairs with each other, and needs all pairs inside a batch."""

    takes_candidates: ClassVar[bool] = False
    """Whether a batch has more columns than rows: samples that all rows are compared with."""

    _parameter_constraints: ClassVar[dict] = {}

    def for_relation(self, relation: TargetRelation) -> Self:
        """Copy of this loss for targets of a relation; itself if they do not matter to it.

        Parameters
        ----------
        relation : TargetRelation
            The relation of the targets.

        Returns
        -------
        loss : DeepLoss

        Raises
        ------
        ValueError
            If the loss is not defined for these targets.
        """
        return self

    @property
    def needs_targets(self) -> bool:
        """Whether it is called with coordinates of the targets too."""
        return False

    @abstractmethod
    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        """Loss of the pairs.

        Parameters
        ----------
        squared_distances : Tensor of shape (n_samples, n_samples) or (n_pairs,)
            Of all pairs inside a batch, with zeros on the diagonal, or of a list of pairs. A loss
            with `takes_candidates` gets the shape (n_rows, n_samples): the rows are the first of
            the samples.
        relations : Tensor of the same shape
            From 0, for targets that are the same, to 1, for the most different ones.

        Returns
        -------
        loss : Tensor of shape ()
        """


class AlignmentLoss(DeepLoss):
    """Squared distances are to be proportional to the relations.

    The mean over the pairs of

        1/4 (||f_i - f_j||^2 - g_ij)^2,   g_ij = largest_distance * relation_ij

    Parameters
    ----------
    largest_distance : float, default=4.0
        Squared distance that the most different targets are to have. The images of a normalised
        embedding are at most 4 apart.

    References
    ----------
    L. Gu. "Hierarchical Relationship Alignment Metric Learning". arXiv 2103.15107, 2021.

    Examples
    --------
    >>> import torch
    >>> loss = AlignmentLoss(largest_distance=4.0)
    >>> loss(torch.tensor([3.0, 1.0]), torch.tensor([0.5, 0.0]))
    tensor(0.2500)
    """

    _parameter_constraints: ClassVar[dict] = {
        "largest_distance": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, largest_distance: float = 4.0):
        self.largest_distance = largest_distance

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        """Loss of the pairs; see `DeepLoss`."""
        n_pairs = squared_distances.numel()
        if squared_distances.ndim == 2:
            n_pairs -= len(squared_distances)
        residuals = squared_distances - self.largest_distance * relations
        return residuals.square().sum() / (4 * n_pairs)


class ApproxNDCGLoss(DeepLoss):
    """Neighbours are to be ranked by their relations.

    Each sample i of a batch is a query for which the others are ranked by their similarity
    s_ij = -||f_i - f_j||^2, which for normalised images is twice their cosine, up to a constant.
    The position of j is smooth,

        pi_ij = 1 + sum over k not in {i, j} of sigmoid((s_ik - s_ij) / temperature)

    and the loss is the mean over the queries of 1 - DCG_i / ideal DCG_i, where

        DCG_i = sum over j of gain_ij / log2(1 + pi_ij)
        gain_ij = 2^(grade * (1 - relation_ij)) - 1

    It tends to 1 - NDCG as the temperature tends to 0. A query for which nothing has a gain has
    loss 0. All pairs of a batch are compared with each other: time and memory grow with the cube
    of the batch size.

    Parameters
    ----------
    temperature : float, default=0.1
        Differences of squared distances well above it count as order, those below as ties.
    grade : float, default=4.0
        How fast gains fall with the relation: 4 is the highest grade in web search.

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
        """Loss of the queries; see `DeepLoss`."""
        n_samples = len(relations)
        itself = torch.eye(n_samples, dtype=torch.bool, device=relations.device)
        gains = torch.exp2(self.grade * (1 - relations)) - 1
        gains = gains.masked_fill(itself, 0)
        scaled = squared_distances / self.temperature
        # Of all samples k, less j itself and the query i, whose distance is zero.
        before = torch.sigmoid(scaled[:, :, None] - scaled[:, None, :]).sum(dim=2)
        positions = 1 + before - 0.5 - torch.sigmoid(scaled)
        ranks = torch.arange(2, n_samples + 2, dtype=gains.dtype, device=gains.device)
        ideal = (gains.sort(dim=1, descending=True).values / torch.log2(ranks)).sum(dim=1)
        has_gain = ideal > 0
        ratio = (gains / torch.log2(1 + positions)).sum(dim=1) / ideal.where(has_gain, 1)
        return torch.where(has_gain, 1 - ratio, 0).mean()


class SoftNeighborsLoss(DeepLoss):
    r"""Neighbours that are drawn at random, near ones more often, are to have the target.

    Sample j is the neighbour of i with the probability

    .. math::
        p_{ij} = \frac{\exp(-\|f_i - f_j\| / \tau)}{\sum_{k \ne i} \exp(-\|f_i - f_k\| / \tau)},

    in which distances are not squared. The loss is the mean over the samples i of

    - :math:`-\log(\sum_j p_{ij} (1 - g_{ij}) + 10^{-7})` with ``error="log"``: for classes, whose
      relation g is 0 or 1, the log loss of the vote of the neighbours;
    - :math:`\|\sum_j p_{ij} y_j - y_i\|^2` with ``error="squared"``, where the targets are scaled
      so that their mean has the loss 1;
    - :math:`\sum_j p_{ij} g_{ij}` with ``error="relation"``, the expected relation.

    As the temperature tends to 0 it is the error of the nearest neighbour. HRAML compares the
    samples of a batch with each other and with candidates, other samples drawn in each step.

    Parameters
    ----------
    temperature : float, default=1.0
        The larger, the more neighbours have a say. The network finds its own length, so it is more
        the size at the start than a choice of how many.
    error : {"auto", "log", "squared", "relation"}, default="auto"
        ``"auto"`` is the log loss for classes, the squared error for targets that can be averaged
        (numbers, several numbers, label sets, distributions) under the relation that is theirs by
        default, and the expected relation for all others.

    References
    ----------
    H.-J. Ye, H.-H. Yin, D.-C. Zhan, W.-L. Chao. "Revisiting Nearest Neighbor for Tabular Data: A
    Deep Tabular Baseline Two Decades Later". ICLR 2025: ModernNCA.

    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov. "Neighbourhood Components Analysis".
    NIPS 2004.

    Examples
    --------
    Of two neighbours the nearer one has the same target:

    >>> import torch
    >>> squared_distances = torch.tensor([[0.0, 1.0, 9.0]])
    >>> SoftNeighborsLoss()(squared_distances, torch.tensor([[0.0, 0.0, 1.0]]))
    tensor(0.1192)
    """

    needs_all_pairs = True
    takes_candidates = True

    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "error": [StrOptions({"auto", "log", "squared", "relation"})],
    }

    def __init__(self, temperature: float = 1.0, error: str = "auto"):
        self.temperature = temperature
        self.error = error

    def for_relation(self, relation: TargetRelation) -> Self:
        """Copy whose error is that of the targets; see `DeepLoss.for_relation`."""
        loss = copy(self)
        if loss.error == "auto":
            loss.error = "relation"
            if relation.is_of_classes and relation.function is None:
                loss.error = "log"
            elif is_automatic(relation):
                loss.error = "squared"
        if loss.error == "squared" and relation.kind == "precomputed":
            raise ValueError(
                "error='squared' of SoftNeighborsLoss averages targets, and relation='precomputed' "
                "has none. Use error='relation'."
            )
        return loss

    @property
    def needs_targets(self) -> bool:
        """Whether it averages targets."""
        return self.error == "squared"

    def for_validation(self) -> Self:
        """Copy whose value on held-out samples says when to stop training.

        For classes the expected relation, which is the share of wrong neighbours: the log loss
        grows with how sure the neighbours are long before more of them are wrong.
        """
        loss = copy(self)
        loss.error = "relation" if self.error == "log" else self.error
        return loss

    def __call__(
        self,
        squared_distances: Tensor,
        relations: Any,
        targets: Any = None,
    ) -> Tensor:
        """Loss of the rows; see `DeepLoss`.

        Parameters
        ----------
        squared_distances : Tensor of shape (n_rows, n_samples)
            Distances of the first samples from all.
        relations : Tensor of shape (n_rows, n_samples) or None
            Their relations; may be None if the error is ``"squared"``.
        targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
            Targets of the rows and of all samples, for the error ``"squared"``.

        Returns
        -------
        loss : Tensor of shape ()
        """
        distances = (squared_distances + _SMALLEST_SQUARE).sqrt()
        logits = (-1 / self.temperature) * distances
        # Nobody is its own neighbour.
        probabilities = logits.fill_diagonal_(-torch.inf).softmax(dim=1)
        if self.error == "squared":
            of_rows, of_samples = targets
            return (probabilities @ of_samples - of_rows).square().sum(dim=1).mean()
        if self.error == "log":
            likelihoods = (probabilities * (1 - relations)).sum(dim=1)
            return -(likelihoods + _SMALLEST_PROBABILITY).log().mean()
        return (probabilities * relations).sum(dim=1).mean()


class RankNContrastLoss(DeepLoss):
    r"""Neighbours are to be in the order of their relations, by contrast with those beyond.

    Each sample j is to be told from all that are at least as different from i as j is:

    .. math::
        -\frac{1}{n (n - 1)} \sum_i \sum_{j \ne i} \log
        \frac{\exp(s_{ij})}{\sum_{k \ne i,\, g_{ik} \ge g_{ij}} \exp(s_{ik})},
        \qquad s_{ij} = -\|f_i - f_j\| / \tau,

    with the relations g of any kind of target. By sorting it takes n^2 log n operations.

    Parameters
    ----------
    temperature : float, default=2.0
        Unit of the distances.

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
        """Loss of the samples; see `DeepLoss`."""
        similarities = -(squared_distances + _SMALLEST_SQUARE).sqrt() / self.temperature
        # The sample itself comes last, and is left out.
        masked = relations.clone().fill_diagonal_(-1)
        ordered, order = masked.sort(dim=1, descending=True)
        ordered, similarities = ordered[:, :-1], similarities.gather(1, order[:, :-1])
        beyond = similarities.logcumsumexp(dim=1)
        # Of equal relations all count, up to the last one.
        last = torch.searchsorted(-ordered, -ordered, right=True) - 1
        return (beyond.gather(1, last) - similarities).mean()


class SmoothAPLoss(DeepLoss):
    r"""Those of the same class are to be ranked first: one minus a smooth average precision.

    Each sample i of a batch is a query. With the relevances w = 1 - relation, 1 for the same class
    and 0 for others, and the sigmoid of differences of similarities in place of the order,

    .. math::
        AP_i = \frac{1}{\sum_j w_{ij}} \sum_{j \ne i} w_{ij}
        \frac{w_{ij} + \sum_{k \ne i, j} w_{ik} \sigma_{ijk}}{1 + \sum_{k \ne i, j} \sigma_{ijk}},
        \qquad \sigma_{ijk} = \frac{1}{1 + \exp((s_{ij} - s_{ik}) / \tau)},

    where s are minus the squared distances, for normalised images twice their cosines but for a
    constant. It tends to 1 - AP as the temperature tends to 0. A query without relevant samples has
    loss 0. Relevances may be graded. Time and memory grow with the cube of the batch size.

    Parameters
    ----------
    temperature : float, default=0.1
        Differences of squared distances well above it count as order, those below as ties. The
        paper has .01 for cosines.

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
        """Loss of the queries; see `DeepLoss`."""
        relevances = (1 - relations).fill_diagonal_(0)
        scaled = squared_distances / self.temperature
        # Whether k comes before j, in axes 2 and 1; never j itself, nor the query.
        before = torch.sigmoid(scaled[:, :, None] - scaled[:, None, :])
        itself = torch.eye(len(relations), dtype=torch.bool, device=relations.device)
        before = before.masked_fill(itself[None] | itself[:, None, :], 0)
        relevant = relevances + torch.einsum("ijk,ik->ij", before, relevances)
        precisions = relevant / (1 + before.sum(dim=2))
        total = relevances.sum(dim=1)
        is_query = total > 0
        mean = (relevances * precisions).sum(dim=1) / total.where(is_query, 1)
        return torch.where(is_query, 1 - mean, 0).mean()


class PairwiseCrossEntropyLoss(DeepLoss):
    r"""Samples of a class are to be pulled together, and all classes pushed apart.

    With the images z, centred in the batch, of n samples and K classes

    .. math::
        -\frac{1}{\lambda n^2} \sum_i \sum_{j: y_j = y_i} z_i^T z_j
        + \frac{1}{n} \sum_i \log \sum_k \exp\Bigl(
        \frac{1}{\lambda n} \sum_{j: y_j = k} z_i^T z_j \Bigr).

    It is the cross-entropy of the linear classifier whose weights of a class are
    :math:`\frac{1}{\lambda n} \sum_{j: y_j = k} z_j`, those for which the first part of any
    cross-entropy, with a penalty of :math:`\lambda / 2` times the squared weights, is least. So
    the least cross-entropy of any linear classifier is a lower bound of it.

    Parameters
    ----------
    penalty : float, default=0.1
        :math:`\lambda`. The smaller, the larger the weights of the classes.

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
        """Itself, for classes; see `DeepLoss.for_relation`."""
        if not relation.is_of_classes:
            raise ValueError(
                "PairwiseCrossEntropyLoss needs classes, which y does not have: its targets are "
                f"{relation.kind}. Use another loss, such as SoftNeighborsLoss()."
            )
        return self

    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        """Loss of the samples; see `DeepLoss`."""
        # Scalar products of centred images, from their distances.
        products = squared_distances - squared_distances.mean(dim=0)
        products = -0.5 * (products - products.mean(dim=1, keepdim=True))
        is_same = (1 - relations).fill_diagonal_(1)
        # Column j is the class of sample j, which occurs as often as it has samples.
        logits = products @ is_same / (self.penalty * len(relations))
        own = logits.diagonal()
        return (torch.logsumexp(logits - is_same.sum(dim=0).log(), dim=1) - own).mean()


LOSSES: dict[str, type[DeepLoss]] = {
    "alignment": AlignmentLoss,
    "approx_ndcg": ApproxNDCGLoss,
    "pairwise_cross_entropy": PairwiseCrossEntropyLoss,
    "rank_n_contrast": RankNContrastLoss,
    "smooth_ap": SmoothAPLoss,
    "soft_neighbors": SoftNeighborsLoss,
}
"""The losses by name."""


class LayeredLoss(nn.Module):
    """A loss of several layers of a network: the weighted sum of their losses.

    Parameters
    ----------
    loss : DeepLoss or torch.nn.Module
        Loss of one layer.
    layer_weights : sequence of float or None, default=None
        Weight of each layer, the embedding last. None: 1 for the embedding, 0 for the others.
    """

    def __init__(self, loss: Any, layer_weights: Sequence[float] | None = None):
        super().__init__()
        self.loss = loss
        self.layer_weights = layer_weights

    def forward(
        self,
        layers: list[Tensor],
        relations: Tensor | None,
        targets: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Parameters
        ----------
        layers : list of Tensor of shape (n_samples, n_units)
            What the layers made of a batch.
        relations : Tensor of shape (n_rows, n_samples) or (n_samples / 2,) or None
            Relations of the first samples with all, or of each sample of the first half with that
            of the second. None where the loss only needs targets.
        targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
            Coordinates of the targets, for a loss that needs them.
        """
        weights = self.layer_weights
        if weights is None:
            layers, weights = layers[-1:], (1.0,)
        if len(weights) != len(layers):
            raise ValueError(
                f"layer_weights must have one weight for each of the {len(layers)} layers that the "
                f"network returns, the embedding last; got {len(weights)}."
            )
        return sum(
            weight * self._loss_of(layer, relations, targets)
            for layer, weight in zip(layers, weights, strict=True)
            if weight
        )

    def _loss_of(self, layer, relations, targets):
        is_paired = relations is not None and relations.ndim == 1
        n_rows = len(relations if targets is None else targets[0])
        distances = squared_distances(layer, is_paired, n_rows)
        arguments = (relations,) if targets is None else (relations, targets)
        loss = self.loss(distances, *arguments)
        if not isinstance(loss, Tensor) or loss.ndim:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(
                f"loss={self.loss!r} must return one number, a tensor of shape (); got {got}."
            )
        return loss


def squared_distances(images: Tensor, is_paired: bool = False, n_rows: int | None = None) -> Tensor:
    """Squared distances of all pairs, or of the first half of the images from the second.

    Parameters
    ----------
    images : Tensor of shape (n_samples, n_components)
        Images of samples.
    is_paired : bool, default=False
        Whether row i of the first half and row i of the second half are the pairs.
    n_rows : int or None, default=None
        Of all pairs, those with one of the first so many samples; None for all of them.

    Returns
    -------
    distances : Tensor of shape (n_rows, n_samples) or (n_samples / 2,)
        Squared distances.
    """
    if is_paired:
        left, right = images.chunk(2)
        return (left - right).square().sum(dim=1)
    # Products are fast, and lose the fewer digits the nearer the images are to the origin.
    images = images - images.mean(dim=0).detach()
    lengths = images.square().sum(dim=1)
    sums = lengths[:n_rows, None] + lengths
    distances = torch.addmm(sums, images[:n_rows], images.T, alpha=-2)
    return distances.clamp_min(0).fill_diagonal_(0)
