"""What a loss of a network's distances has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from sklearn.base import BaseEstimator
from torch import Tensor

from metricalign.relations import TargetRelation

__all__ = ["DeepLoss"]


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
