"""Squared distances of images."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SMALLEST_SQUARE", "squared_distances"]


# It is added to squared distances before a square root, which has no derivative at zero.
SMALLEST_SQUARE = 1e-12


def squared_distances(images: Tensor, is_paired: bool = False, n_rows: int | None = None) -> Tensor:
    """Squared distances of all pairs, or of the first half of the images from the second.

    Parameters
    ----------
    images : Tensor of shape (n_samples, n_components)
        Images of samples.
    is_paired : bool, default=False
        Whether the pairs are row i of the first half and row i of the second half, for all i.
    n_rows : int or None, default=None
        If pairs are not given in halves, only those with one of the first `n_rows` samples are
        computed. None: all pairs.

    Returns
    -------
    distances : Tensor of shape (n_rows, n_samples) or (n_samples / 2,)
        Squared distances. Those of samples from themselves are exactly 0.
    """
    if is_paired:
        left, right = images.chunk(2)
        return (left - right).square().sum(dim=1)
    # Products are fast. The nearer the images are to the origin, the fewer digits they lose.
    images = images - images.mean(dim=0).detach()
    lengths = images.square().sum(dim=1)
    sums = lengths[:n_rows, None] + lengths
    distances = torch.addmm(sums, images[:n_rows], images.T, alpha=-2)
    return distances.clamp_min(0).fill_diagonal_(0)
