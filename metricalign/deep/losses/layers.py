"""Losses of several layers of a network, and of the outputs of a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from metricalign.deep.losses.distances import squared_distances

__all__ = ["LayeredLoss", "ProjectedLoss"]

# Numbers of units of the two layers of a head.
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
            Outputs of the layers for a batch.
        relations : Tensor of shape (n_rows, n_samples) or (n_samples / 2,) or None
            Relations of the first `n_rows` samples to all, or of each sample of the first half to
            that of the second half. None: the loss needs targets instead.
        targets : tuple of Tensor of shape (n_rows, n_outputs) and (n_samples, n_outputs) or None
            Coordinates of the targets of the first samples and of all, for a loss that needs them.

        Returns
        -------
        loss : Tensor of shape ()
            The weighted sum of the losses of the layers.

        Raises
        ------
        ValueError
            If there is not one weight for each layer, or the loss does not return one number.
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
    """A loss of the outputs of a head, a small network that is applied to the images.

    The head is trained together with the network and then dropped. It removes what the views of a
    sample do not have in common. So the images can keep it, as neighbours may need it.

    Parameters
    ----------
    loss : LayeredLoss
        The loss of the layers, of which the last is replaced by the outputs of the head.
    n_components : int
        Number of components of the images.

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
