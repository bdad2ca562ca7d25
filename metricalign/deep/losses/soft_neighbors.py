"""The loss of neighbours that are drawn at random, near ones more often."""

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


# It is added to probabilities before a logarithm, which is not finite at zero.
_SMALLEST_PROBABILITY = 1e-7


class SoftNeighborsLoss(DeepLoss):
    r"""Error of the prediction by neighbours that are drawn at random, near ones more often.

    Sample j is drawn as the neighbour of i with the probability

    .. math::
        p_{ij} = \frac{\exp(-\|f_i - f_j\| / \tau)}{\sum_{k \ne i} \exp(-\|f_i - f_k\| / \tau)},

    in which distances are not squared. The loss is the mean over the samples i of

    - :math:`-\log(\sum_j p_{ij} (1 - g_{ij}) + 10^{-7})` with ``error="log"``. For classes, whose
      relation g is 0 or 1, this is the log loss of the vote of the neighbours;
    - :math:`\|\sum_j p_{ij} y_j - y_i\|^2` with ``error="squared"``. The targets y are scaled so
      that a prediction of their mean has the loss 1;
    - :math:`\sum_j p_{ij} g_{ij}`, the expected relation, with ``error="relation"``.

    As the temperature tends to 0, the loss tends to the error of the nearest neighbour. HRAML
    compares the samples of a batch with each other and with candidates, which are other samples
    that are drawn in each step.

    Parameters
    ----------
    temperature : float, default=1.0
        :math:`\tau`, the unit of the distances. The larger it is, the more neighbours count. The
        network adapts the length of its images, so this matters at the start of the training more
        than for the number of neighbours that count at its end.
    error : {"auto", "log", "squared", "relation"}, default="auto"
        The error of the neighbours, see above. ``"auto"`` is ``"log"`` for classes, ``"squared"``
        for targets that can be averaged (numbers, several numbers, label sets, distributions) with
        their default relation, and ``"relation"`` for all others.

    References
    ----------
    H.-J. Ye, H.-H. Yin, D.-C. Zhan, W.-L. Chao. "Revisiting Nearest Neighbor for Tabular Data: A
    Deep Tabular Baseline Two Decades Later". ICLR 2025: ModernNCA.

    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov. "Neighbourhood Components Analysis".
    NIPS 2004.

    Examples
    --------
    The nearer one of two neighbours has the same target:

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
        """Return a copy whose error is that of the targets; see `DeepLoss.for_relation`."""
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
        """Whether the loss averages targets."""
        return self.error == "squared"

    def for_validation(self) -> Self:
        """Return a copy whose value on held-out samples decides when training stops.

        For classes its error is the expected relation, which is the share of wrong neighbours. The
        log loss grows with the confidence of the neighbours long before more of them are wrong.
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
            Squared distances of the first samples from all.
        relations : Tensor of shape (n_rows, n_samples) or None
            Their relations. They are not used if the error is ``"squared"``.
        targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
            Targets of the first samples and of all, used only if the error is ``"squared"``.

        Returns
        -------
        loss : Tensor of shape ()
            The mean error of the first samples.
        """
        distances = (squared_distances + SMALLEST_SQUARE).sqrt()
        logits = (-1 / self.temperature) * distances
        # No sample is its own neighbour.
        probabilities = logits.fill_diagonal_(-torch.inf).softmax(dim=1)
        if self.error == "squared":
            of_rows, of_samples = targets
            return (probabilities @ of_samples - of_rows).square().sum(dim=1).mean()
        if self.error == "log":
            likelihoods = (probabilities * (1 - relations)).sum(dim=1)
            return -(likelihoods + _SMALLEST_PROBABILITY).log().mean()
        return (probabilities * relations).sum(dim=1).mean()
