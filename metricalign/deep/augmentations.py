"""Random views of samples, from which a network learns without targets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from metricalign.deep.losses.distances import squared_distances

__all__ = [
    "Augmentation",
    "FeatureMasking",
    "GaussianNoise",
    "NearNeighbor",
    "PixelNoise",
    "RandomCrop",
    "RandomShift",
    "SwapNoise",
    "check_augmentations",
    "view_of",
]

# Samples with a smaller squared distance, in total variances of the batch, are the same but for
# rounding.
_SAME = 1e-6


class Augmentation(BaseEstimator, ABC):
    """Base class of augmentations, which make a random view of each sample.

    A subclass implements ``__call__``, which takes a batch of samples, and returns a batch of the
    same shape. It draws from the global generator of torch, which HRAML seeds. Its parameters are
    those of ``__init__``, which only stores them. HRAML also takes any other callable.
    """

    # Whether images contain the samples too, as the views only depend on distances of samples.
    keeps_samples: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict] = {}

    def for_columns(self, columns: Tensor) -> Self:
        """Adapt the augmentation to an encoded table.

        Parameters
        ----------
        columns : Tensor of int of shape (n_features,)
            Column of the table from which each feature was encoded. A column can have several.

        Returns
        -------
        augmentation : Augmentation
            A copy, or this object itself if it does not depend on the columns.
        """
        return self

    def for_scale(self, scale: Tensor) -> Self:
        """Adapt the augmentation to the units of the network.

        Parameters
        ----------
        scale : Tensor of shape (n_features,) or ()
            Scale by which the network divides the features.

        Returns
        -------
        augmentation : Augmentation
            A copy, or this object itself if it does not depend on the units.
        """
        return self

    @abstractmethod
    def __call__(self, samples: Tensor) -> Tensor:
        """Make a random view of each sample.

        Parameters
        ----------
        samples : Tensor of shape (n_samples, n_features)
            Random samples in the units of X. A table with categories or missing values is encoded
            by `metricalign.PiecewiseLinearEncoder`. The samples must not be changed in place.

        Returns
        -------
        views : Tensor of the same shape
            The views.
        """


class GaussianNoise(Augmentation):
    """Add normal noise to each feature.

    Parameters
    ----------
    scale : float, default=0.3
        Standard deviation of the noise, in standard deviations of the feature in the batch.

    Examples
    --------
    >>> import torch
    >>> samples = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    >>> GaussianNoise(0.1)(samples).shape
    torch.Size([2, 2])
    """

    _parameter_constraints: ClassVar[dict] = {"scale": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, scale: float = 0.3):
        self.scale = scale

    def __call__(self, samples: Tensor) -> Tensor:
        return samples + self.scale * samples.std(dim=0) * torch.randn_like(samples)


class NearNeighbor(Augmentation):
    """Replace some samples by one of their nearest neighbours in the batch.

    Near samples become nearer to each other, and groups of samples become denser. This helps if
    targets are alike inside groups, as classes often are. Of several augmentations it should be the
    first. Neighbours are found by Euclid's distance of the input of the network. By default the
    network then has two blocks, and the samples are kept beside its images.

    Parameters
    ----------
    n_neighbors : int, default=3
        Number of neighbours, one of which is drawn.
    share : float, default=0.8
        Probability that a sample is replaced.

    References
    ----------
    D. Dwibedi, Y. Aytar, J. Tompson, P. Sermanet, A. Zisserman. "With a Little Help from My
    Friends: Nearest-Neighbor Contrastive Learning of Visual Representations". ICCV 2021. There the
    neighbours are those of the images.

    Examples
    --------
    >>> import torch
    >>> NearNeighbor(1, share=1.0)(torch.tensor([[0.0], [1.0], [5.0]]))
    tensor([[1.],
            [0.],
            [1.]])
    """

    keeps_samples: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "share": [Interval(Real, 0, 1, closed="right")],
    }

    _scale: Tensor | None = None

    def __init__(self, n_neighbors: int = 3, share: float = 0.8):
        self.n_neighbors = n_neighbors
        self.share = share

    def for_scale(self, scale: Tensor) -> Self:
        """Return a copy that compares samples in the units of the network, see `Augmentation`."""
        augmentation = type(self)(**self.get_params())
        augmentation._scale = scale
        return augmentation

    def __call__(self, samples: Tensor) -> Tensor:
        scaled = samples if self._scale is None else samples / self._scale
        distances = squared_distances(scaled)
        # A batch has each sample once for each view, and these copies differ by rounding.
        is_same = distances <= _SAME * scaled.var(dim=0).sum()
        distances = distances.masked_fill(is_same, torch.inf)
        n_neighbors = min(self.n_neighbors, len(samples) - 1)
        nearest = distances.topk(n_neighbors, largest=False)
        drawn = torch.randint(n_neighbors, (len(samples), 1), device=samples.device)
        neighbors = samples[nearest.indices.gather(1, drawn)[:, 0]]
        is_replaced = torch.rand(len(samples), 1, device=samples.device) < self.share
        # If too few samples of the batch differ from a sample, the drawn one may be no neighbour.
        is_replaced &= nearest.values.gather(1, drawn).isfinite()
        return neighbors.where(is_replaced, samples)


class PixelNoise(Augmentation):
    """Add normal noise of the same standard deviation to all pixels.

    Parameters
    ----------
    scale : float, default=1.0
        Standard deviation of the noise, in roots of the mean variance of the pixels in the batch.

    Examples
    --------
    >>> import torch
    >>> PixelNoise()(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).shape
    torch.Size([2, 2])
    """

    _parameter_constraints: ClassVar[dict] = {"scale": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def __call__(self, samples: Tensor) -> Tensor:
        return samples + self.scale * samples.var(dim=0).mean().sqrt() * torch.randn_like(samples)


class _ColumnAugmentation(Augmentation):
    """Base class of augmentations that change a random share of the columns of each sample.

    Parameters
    ----------
    share : float
        Probability that a column is changed.
    """

    _parameter_constraints: ClassVar[dict] = {"share": [Interval(Real, 0, 1, closed="right")]}

    _columns: Tensor | None = None

    def __init__(self, share: float):
        self.share = share

    def for_columns(self, columns: Tensor) -> Self:
        """Return a copy that changes all features of a column or none, see `Augmentation`."""
        augmentation = type(self)(**self.get_params())
        augmentation._columns = columns
        return augmentation

    def _of_columns(self, draw: Callable[[int], Tensor], samples: Tensor) -> Tensor:
        """Return for each feature the value that was drawn for its column."""
        if self._columns is None:
            return draw(samples.shape[1])
        return draw(int(self._columns.max()) + 1)[:, self._columns]

    def _is_changed(self, samples: Tensor) -> Tensor:
        n_samples, device = len(samples), samples.device
        return self._of_columns(
            lambda n_columns: torch.rand(n_samples, n_columns, device=device) < self.share, samples
        )


class FeatureMasking(_ColumnAugmentation):
    """Replace some columns of each sample by their means in the batch.

    Parameters
    ----------
    share : float, default=0.3
        Probability that a column is replaced.

    Examples
    --------
    >>> import torch
    >>> FeatureMasking(1.0)(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    tensor([[1., 1.],
            [1., 1.]])
    """

    def __init__(self, share: float = 0.3):
        super().__init__(share)

    def __call__(self, samples: Tensor) -> Tensor:
        return samples.mean(dim=0).where(self._is_changed(samples), samples)


class SwapNoise(_ColumnAugmentation):
    """Replace some columns of each sample by those of other samples.

    Each column is taken from another sample. Columns keep their distributions, and lose their
    dependence on each other.

    Parameters
    ----------
    share : float, default=0.3
        Probability that a column is replaced.

    References
    ----------
    D. Bahri, H. Jiang, Y. Tay, D. Metzler. "SCARF: Self-Supervised Contrastive Learning using
    Random Feature Corruption". ICLR 2022.

    Examples
    --------
    >>> import torch
    >>> samples = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    >>> SwapNoise(0.5)(samples)[:, 1]
    tensor([1., 1.])
    """

    def __init__(self, share: float = 0.3):
        super().__init__(share)

    def __call__(self, samples: Tensor) -> Tensor:
        n_samples, device = len(samples), samples.device
        others = self._of_columns(
            lambda n_columns: torch.randint(n_samples, (n_samples, n_columns), device=device),
            samples,
        )
        return samples.gather(0, others).where(self._is_changed(samples), samples)


class _ImageAugmentation(Augmentation):
    """Base class of augmentations of images, whose pixels are the features.

    Parameters
    ----------
    image_shape : sequence of int
        (height, width) or (channels, height, width).
    """

    def __init__(self, image_shape: Sequence[int]):
        self.image_shape = image_shape

    def _images(self, samples: Tensor) -> Tensor:
        """Reshape samples to images, of shape (n_samples, n_channels, height, width)."""
        shape = tuple(self.image_shape)
        is_shape = len(shape) in (2, 3) and min(shape) > 0
        if not is_shape or samples.shape[1] != math.prod(shape):
            raise ValueError(
                f"image_shape={self.image_shape!r} of {type(self).__name__} must be (height, "
                "width) or (channels, height, width), and have as many pixels as a sample has "
                f"features, {samples.shape[1]}."
            )
        return samples.reshape(len(samples), -1, *shape[-2:])


class RandomShift(_ImageAugmentation):
    """Shift images by whole pixels. Pixels at an edge are repeated where the image has moved away.

    Parameters
    ----------
    image_shape : sequence of int
        (height, width) or (channels, height, width) of the image that a sample is.
    n_pixels : int, default=2
        Largest shift in each direction.

    Examples
    --------
    >>> import torch
    >>> RandomShift((2, 2), n_pixels=1)(torch.ones(3, 4)).shape
    torch.Size([3, 4])
    """

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": ["array-like"],
        "n_pixels": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, image_shape: Sequence[int], n_pixels: int = 2):
        super().__init__(image_shape)
        self.n_pixels = n_pixels

    def __call__(self, samples: Tensor) -> Tensor:
        images = self._images(samples)
        n_samples, n_channels, height, width = images.shape
        shifts = torch.randint(
            -self.n_pixels, self.n_pixels + 1, (2, n_samples, 1), device=samples.device
        )
        rows = (torch.arange(height, device=samples.device) + shifts[0]).clamp(0, height - 1)
        columns = (torch.arange(width, device=samples.device) + shifts[1]).clamp(0, width - 1)
        pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(n_samples, 1, -1)
        shifted = images.flatten(start_dim=2).gather(2, pixels.expand(-1, n_channels, -1))
        return shifted.reshape(samples.shape)


class RandomCrop(_ImageAugmentation):
    """Cut a random part out of each image, and enlarge it to the size of the image.

    Parameters
    ----------
    image_shape : sequence of int
        (height, width) or (channels, height, width) of the image that a sample is.
    smallest : float, default=0.6
        Smallest height and width of the part, as shares of those of the image.

    Examples
    --------
    >>> import torch
    >>> RandomCrop((2, 2))(torch.ones(3, 4)).shape
    torch.Size([3, 4])
    """

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": ["array-like"],
        "smallest": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(self, image_shape: Sequence[int], smallest: float = 0.6):
        super().__init__(image_shape)
        self.smallest = smallest

    def __call__(self, samples: Tensor) -> Tensor:
        images = self._images(samples)
        size = 1 - (1 - self.smallest) * torch.rand(len(samples), device=samples.device)
        middle = (1 - size)[:, None] * (2 * torch.rand(len(samples), 2, device=samples.device) - 1)
        maps = torch.cat([torch.diag_embed(size[:, None].expand(-1, 2)), middle[..., None]], dim=2)
        grid = affine_grid(maps.to(images.dtype), list(images.shape), align_corners=False)
        crops = grid_sample(images, grid, padding_mode="border", align_corners=False)
        return crops.reshape(samples.shape)


def check_augmentations(augment: Any) -> list[Callable[[Tensor], Tensor]]:
    """Check augmentations, and return them as a list.

    Parameters
    ----------
    augment : callable or sequence of callable
        One augmentation, or several that are applied one after the other.

    Returns
    -------
    augmentations : list of callable

    Raises
    ------
    ValueError
        If there is none, or one of them cannot be called or has a parameter that is not valid.
    """
    augmentations = [augment] if callable(augment) else list(augment)
    if not augmentations:
        raise ValueError("augment is empty; give at least one augmentation, such as SwapNoise().")
    for augmentation in augmentations:
        if isinstance(augmentation, type) or not callable(augmentation):
            raise ValueError(
                "augment must be a callable, such as SwapNoise(), or a sequence of them; got "
                f"{augmentation!r}."
            )
        if isinstance(augmentation, Augmentation):
            augmentation._validate_params()
    return augmentations


def view_of(samples: Tensor, augmentations: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Make a random view of each sample by several augmentations.

    Parameters
    ----------
    samples : Tensor of shape (n_samples, n_features)
        The samples.
    augmentations : sequence of callable
        Augmentations that are applied one after the other.

    Returns
    -------
    views : Tensor of the same shape

    Raises
    ------
    ValueError
        If an augmentation does not return a tensor of the shape and type of the samples.
    """
    expected = _described(samples)
    views = samples
    for augmentation in augmentations:
        views = augmentation(views)
        if _described(views) != expected:
            raise ValueError(
                f"augment: {augmentation!r} must return a tensor of the shape and type of the "
                f"samples, {expected}; got {_described(views)}."
            )
    return views


def _described(views) -> str:
    if not isinstance(views, Tensor):
        return type(views).__name__
    return f"{tuple(views.shape)} of {views.dtype}"
