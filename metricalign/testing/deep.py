"""Check a loss of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metricalign.testing._requirement import require

if TYPE_CHECKING:
    from torch import nn

    from metricalign.deep import DeepLoss

__all__ = ["check_deep_loss"]


def check_deep_loss(loss: DeepLoss | nn.Module) -> None:
    """Check a loss of a network against the description of `metricalign.deep.DeepLoss`.

    The check needs PyTorch.

    Parameters
    ----------
    loss : DeepLoss or torch.nn.Module
        An instance.

    Raises
    ------
    AssertionError
        If the loss does not return one finite number, if its derivative is wrong, or if it depends
        on the order of the samples.
    """
    import torch

    from metricalign.deep.losses import squared_distances

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    target = torch.rand(8, generator=generator, dtype=torch.float64)
    target[1] = target[0]
    relations = (target[:, None] - target).abs() / (target.max() - target.min())

    def loss_of(images, relations):
        return loss(squared_distances(images, is_paired=relations.ndim == 1), relations)

    left, right = torch.triu_indices(8, 8, offset=1)
    order = torch.arange(7, -1, -1)
    pair_order = torch.arange(len(left) - 1, -1, -1)
    cases = {
        "all pairs": (images, relations, images[order], relations[order][:, order]),
        "a list of pairs": (
            images[torch.cat([left, right])],
            relations[left, right],
            images[torch.cat([right[pair_order], left[pair_order]])],
            relations[left, right][pair_order],
        ),
    }
    if getattr(loss, "needs_all_pairs", False):
        del cases["a list of pairs"]
    for case, (points, t, other_points, other_t) in cases.items():
        given = t.clone()
        value = loss_of(points, t)
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        require(
            shape == (),
            f"{loss!r}: of {case} it must return one number, a tensor of shape (); got {shape}.",
        )
        require(bool(torch.isfinite(value)), f"{loss!r}: of {case} it returns {value:g}.")
        require(torch.equal(t, given), f"{loss!r}: of {case} it changes the relations.")
        require(
            torch.allclose(loss_of(other_points, other_t), value),
            f"{loss!r}: of {case} it depends on the order of the samples.",
        )
        points = points.clone().requires_grad_()
        require(
            torch.autograd.gradcheck(lambda x, t=t: loss_of(x, t), points, raise_exception=False),
            f"{loss!r}: of {case} the derivative is not what finite differences are.",
        )
        # An untrained network may map all samples to one point.
        together = torch.zeros_like(points, requires_grad=True)
        loss_of(together, t).backward()
        require(
            together.grad is None or bool(torch.isfinite(together.grad).all()),
            f"{loss!r}: of {case} the derivative is not finite where distances are zero.",
        )
