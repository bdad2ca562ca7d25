"""Random near neighbours that have the target."""

from __future__ import annotations

from copy import copy
from numbers import Real
from typing import Any, ClassVar, Self

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from metricalign.deep.losses.distances import SMALLEST_SQUARE
from metricalign.deep.losses.loss import DeepLoss
from metricalign.relations import TargetRelation, is_automatic

__all__ = ["SoftNeighborsLoss"]


# Added to probabilities in logarithms, which have no derivative at zero.
_SMALLEST_PROBABILITY = 1e-7


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
        distances = (squared_distances + SMALLEST_SQUARE).sqrt()
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
