"""A loss of several layers of a network, and of what a head makes of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from metricalign.deep.losses.distances import squared_distances

__all__ = ["LayeredLoss", "ProjectedLoss"]

# Units of the two layers of a head.
_HEAD_SIZES = (256, 64)


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


class ProjectedLoss(nn.Module):
    """A loss of what a small network of its own, the head, makes of the images.

    The head is trained with the network and then dropped. It forgets what views of one sample do
    not share, so that the images need not: neighbours may need it.

    Parameters
    ----------
    loss : LayeredLoss
        The loss.
    n_components : int
        Dimension of the images.

    References
    ----------
    T. Chen, S. Kornblith, M. Norouzi, G. Hinton. "A Simple Framework for Contrastive Learning of
    Visual Representations". ICML 2020.
    """

    def __init__(self, loss: LayeredLoss, n_components: int):
        super().__init__()
        self.loss = loss
        n_hidden, n_outputs = _HEAD_SIZES
        self.head = nn.Sequential(
            nn.Linear(n_components, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_outputs)
        )

    def forward(
        self, layers: list[Tensor], relations: Tensor | None, targets: Any = None
    ) -> Tensor:
        """Loss of a batch; see `LayeredLoss`."""
        return self.loss([*layers[:-1], self.head(layers[-1])], relations, targets)
