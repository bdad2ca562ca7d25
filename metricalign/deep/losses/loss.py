"""Base class of the losses of the distances of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from sklearn.base import BaseEstimator
from torch import Tensor

from metricalign.relations import TargetRelation

__all__ = ["DeepLoss"]


class DeepLoss(BaseEstimator, ABC):
    """Base class of the losses of the distances of a network.

    A subclass implements ``__call__``, which takes distances and relations, and returns one number
    that can be differentiated. Its parameters are those of ``__init__``, which only stores them.
    A grid search sets them as ``loss__name``. HRAML takes an instance of the subclass in place of
    a name.
    """

    needs_all_pairs: ClassVar[bool] = False
    """Whether the loss compares pairs with each other, so that it needs all pairs in a batch."""

    takes_candidates: ClassVar[bool] = False
    """Whether the rows of a batch are also compared with samples that are not among them."""

    _parameter_constraints: ClassVar[dict] = {}

    def for_relation(self, relation: TargetRelation) -> Self:
        """Adapt the loss to the targets of a relation.

        Parameters
        ----------
        relation : TargetRelation
            The relation of the targets.

        Returns
        -------
        loss : DeepLoss
            A copy of this loss, or this loss itself if it does not depend on the relation.

        Raises
        ------
        ValueError
            If the loss is not defined for these targets.
        """
        return self

    @property
    def needs_targets(self) -> bool:
        """Whether ``__call__`` takes coordinates of the targets as a third argument."""
        return False

    @abstractmethod
    def __call__(self, squared_distances: Tensor, relations: Tensor) -> Tensor:
        """Loss of the pairs.

        Parameters
        ----------
        squared_distances : Tensor of shape (n_samples, n_samples) or (n_pairs,)
            Squared distances of all pairs in a batch, with zeros on the diagonal, or of a list of
            pairs. A loss with `takes_candidates` gets the shape (n_rows, n_samples). The rows are
            the first of the samples.
        relations : Tensor of the same shape
            Relations, from 0 for equal targets to 1 for the most different ones.

        Returns
        -------
        loss : Tensor of shape ()
            The loss, usually a mean over the pairs.
        """
