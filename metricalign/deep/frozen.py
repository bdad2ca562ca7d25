"""A trained network for the explainer: its local features, its representation Z, its decision."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch.utils.data import Dataset

from metricalign._arrays import batches
from metricalign.deep.hraml import HRAML
from metricalign.deep.information.training import Samples

__all__ = ["FeatureStatistics", "FrozenNetwork", "OutputsOfSamples"]

# With head="relation": number of samples among which neighbours are, and number of near ones.
_N_REFERENCES, _N_NEIGHBORS = 256, 10


class FrozenNetwork:
    """A frozen copy of a model, whose local features can be read and replaced.

    It is not a module, so that its weights are not among those of the modules that use it.
    """

    head: Callable[[Tensor, Tensor], Tensor]

    def __init__(
        self,
        model: nn.Module | HRAML,
        layer: str | Callable[[nn.Module], nn.Module] | None,
        representation: str | Callable[[nn.Module], nn.Module] | None,
    ):
        if isinstance(model, HRAML):
            check_is_fitted(model)
            model = _Embedding(model)
        self.layer_name = _name_of(model, layer, "layer")
        self.representation_name = _name_of(model, representation, "representation")
        # Samples are in single precision.
        self.model = deepcopy(model).eval().requires_grad_(False).float()

    def to(self, device: torch.device | str) -> None:
        """Move the model, and its head, to a device."""
        self.model.to(device)
        head: Any = getattr(self, "head", None)
        if isinstance(head, nn.Module):
            head.to(device)

    def __call__(self, X, local=None):
        """Return the local features, Z and the output.

        If `local` is given, Z and the output are computed from it in place of the local features.
        """
        read: dict[str, list[Any]] = {"layer": [], "representation": []}

        # Outputs are copied, since the next module may compute in place.
        def read_layer(module, inputs, output):
            read["layer"].append(_copied(output))
            return local

        def read_representation(module, inputs, output):
            read["representation"].append(_copied(output))

        hooks = []
        if self.layer_name is None:
            read["layer"].append(X)
            X = X if local is None else local
        else:
            layer = self.model.get_submodule(self.layer_name)
            hooks.append(layer.register_forward_hook(read_layer))
        if self.representation_name is not None:
            module = self.model.get_submodule(self.representation_name)
            hooks.append(module.register_forward_hook(read_representation))
        try:
            output = self.model(X.clone())
        finally:
            for hook in hooks:
                hook.remove()
        if not isinstance(output, Tensor):
            raise ValueError(
                f"model must return one array; this one returns {type(output)}. Put it in a module "
                "that returns one of them."
            )
        if self.representation_name is None:
            read["representation"].append(output)
        features, Z = (_only_output(name, outputs) for name, outputs in read.items())
        if features.ndim not in (2, 3, 4):
            raise ValueError(
                "layer must return an array of shape (n_samples, n_channels, height, width), "
                "(n_samples, length, n_channels) or (n_samples, n_columns); got "
                f"{tuple(features.shape)}."
            )
        return features, Z.reshape(len(Z), -1), output

    def log_decision(self, Z: Tensor, output: Tensor) -> Tensor:
        """Return the log probabilities of the decisions."""
        logits = self.head(Z, output)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(Z):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)
            raise ValueError(
                f"head must return logits of shape (n_samples, n_decisions); got {found} for "
                f"{len(Z)} samples."
            )
        return log_softmax(logits, dim=1)


class _Embedding(nn.Module):
    """A network that maps unscaled samples to the images of a fitted HRAML."""

    def __init__(self, learner):
        super().__init__()
        self.embedding = learner.module_
        self.register_buffer("offset", torch.as_tensor(learner.offset_, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(learner.scale_, dtype=torch.float32))

    def forward(self, X):
        return self.embedding((X - self.offset) / self.scale)[-1]


def _name_of(model, place, parameter) -> str | None:
    if place is None:
        return None
    # A module may have several names, and users may give any of them.
    modules = dict(model.named_modules(remove_duplicate=False))
    if callable(place):
        found = place if isinstance(place, nn.Module) else place(model)
        names = [name for name, module in modules.items() if module is found]
        if not names:
            raise ValueError(f"{parameter} must be a module of the model; got {found!r}.")
        return names[0]
    if place not in modules:
        raise ValueError(
            f"{parameter}={place!r} is no module of the model, which has "
            f"{', '.join(repr(name) for name in modules if name)}."
        )
    return place


def _copied(output):
    return output.clone() if isinstance(output, Tensor) else output


def _only_output(name, outputs) -> Tensor:
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        found = f"runs {len(outputs)} times" if len(outputs) != 1 else f"returns {type(outputs[0])}"
        raise ValueError(
            f"{name} must be a module that runs once in a forward pass and returns one array; this "
            f"one {found}. Name another one, such as one inside it."
        )
    return outputs[0]


def to_locations(local) -> Tensor:
    """Return local features as an array of shape (n_channels, n_samples, n_locations)."""
    if local.ndim == 4:
        return local.flatten(2).transpose(0, 1).contiguous()
    return local.movedim(2, 0).contiguous() if local.ndim == 3 else local[None]


def from_locations(locations, like) -> Tensor:
    """Inverse of `to_locations`."""
    return locations.movedim(0, 1 if like.ndim == 4 else 2).reshape(like.shape)


class OutputsOfSamples(Dataset):
    """Samples, and their local features, Z and output, which are computed when they are needed."""

    def __init__(
        self, network: FrozenNetwork, X: Tensor, targets: Tensor | None, device: torch.device
    ):
        self.network = network
        self.X = X
        self.targets = [] if targets is None else [targets]
        self.device = device

    def __len__(self):
        return len(self.X)

    @torch.no_grad()
    def __getitem__(self, rows):
        X = self.X[rows].to(self.device)
        return [X, *self.network(X), *(part[rows].to(self.device) for part in self.targets)]

    def kept(self, n_numbers: int) -> OutputsOfSamples | Samples:
        """Compute all of them once, unless they have more than `n_numbers` numbers."""
        first = self[: min(2, len(self))]
        if len(self) * sum(part[0].numel() for part in first) > n_numbers:
            return self
        found = (self[rows][1:4] for rows in batches(len(self), 256))
        outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]
        return Samples(*(part.to(self.device) for part in (self.X, *outputs, *self.targets)))


class FeatureStatistics:
    """Basis, means and standard deviations of local features, and Z and output of samples.

    Means and deviations have the shape (n_channels, 1, n_locations).

    Channels of maps are features by themselves. Channels of tokens are not: if each were drawn
    independently, the result would be like no token. So the basis for tokens is that of the
    principal components inside a location, the same for all locations. Noise that is independent
    in this basis is distributed like tokens.
    """

    def __init__(self, samples: OutputsOfSamples | Samples, rows: NDArray):
        self.basis: Tensor | None = None
        sums: Any = 0
        squares: Any = 0
        found: list[tuple[Tensor, Tensor]] = []
        for part in batches(len(rows), 256):
            _, local, Z, output, *_ = samples[rows[part]]
            features = to_locations(local).double()
            if local.ndim == 3:
                # Any orthogonal basis is allowed, so that of the first batch is good enough.
                if self.basis is None:
                    self.basis = _principal_components(features)
                features = torch.tensordot(self.basis.double(), features, 1)
            sums = sums + features.sum(dim=1, keepdim=True)
            squares = squares + features.square().sum(dim=1, keepdim=True)
            found.append((Z, output))
        self.Z, self.output = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.mean = (sums / len(rows)).float()
        variance = squares / len(rows) - (sums / len(rows)).square()
        # Features that are constant up to rounding carry no information.
        is_constant = variance < 1e-10 * (squares / len(rows)).amax(dim=0)
        self.deviation = variance.masked_fill(is_constant, 0).sqrt().float()
        self.location_shape = tuple(local.shape[2:] if local.ndim == 4 else local.shape[1:2])


def _principal_components(features):
    """Return the eigenvectors of the covariance inside the locations, in rows."""
    centred = (features - features.mean(dim=1, keepdim=True)).flatten(1)
    return torch.linalg.eigh(centred @ centred.T).eigenvectors.T.float()


def class_numbers(y, n_samples, head) -> Tensor | None:
    """Return the classes to decide on as numbers, or None if the network itself decides.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        Classes: indices of logits, or any classes with ``head="prototype"``.
    n_samples : int
        Number of samples, for which there must be as many classes.
    head : str or callable
        The decision, see `InformationExplainer`.

    Returns
    -------
    targets : Tensor of int of shape (n_samples,) or None

    Raises
    ------
    ValueError
        If there are no classes for prototypes, not one for each sample, or they are not integers.
    """
    if y is None:
        if head == "prototype":
            raise ValueError("head='prototype' needs y, the classes whose means are prototypes.")
        return None
    y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    if y.shape != (n_samples,):
        raise ValueError(f"y must have a class for each of the {n_samples} samples; got {y.shape}.")
    if head == "prototype":
        y = np.unique(y, return_inverse=True)[1]
    elif not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y must have the numbers of logits, which are integers; got {y.dtype}.")
    return torch.from_numpy(np.array(y, dtype=np.int64))


def check_class_numbers(targets, n_classes):
    """Raise a ValueError if classes are not numbers from 0 to n_classes - 1."""
    if targets.min() < 0 or targets.max() >= n_classes:
        raise ValueError(
            f"y must have the numbers of the {n_classes} logits, 0 to {n_classes - 1}; got "
            f"{targets.min()} to {targets.max()}."
        )


def decision_head(head, statistics, targets):
    """Return the function of Z and the output of the network that returns logits of decisions.

    Parameters
    ----------
    head : {"classifier", "prototype", "relation"} or callable
        The decision, see `InformationExplainer`.
    statistics : FeatureStatistics
        Its Z are those of the prototypes and of the possible neighbours.
    targets : Tensor of int of shape (n_samples,) or None
        Classes of these Z, for prototypes.

    Returns
    -------
    head : callable
        Takes Z and output, and returns logits of shape (n_samples, n_decisions).

    Raises
    ------
    ValueError
        If a class has no sample for its prototype.
    """
    Z = statistics.Z
    if head == "classifier":
        return _Logits()
    if head == "prototype":
        of_class = [Z[targets == number] for number in range(int(targets.max()) + 1)]
        if min(map(len, of_class)) == 0:
            raise ValueError(
                f"Prototypes are the means of {len(Z)} random samples, of which a class has none. "
                "Give fewer samples of the other classes."
            )
        return _Distances(torch.stack([part.mean(dim=0) for part in of_class]), 1.0)
    if head == "relation":
        points = Z[:_N_REFERENCES]
        squared = torch.cdist(points, points).square()
        near = squared.kthvalue(min(_N_NEIGHBORS + 1, len(points)), dim=1).values.median()
        return _Distances(points, float(near) or 1.0)
    return deepcopy(head).requires_grad_(False) if isinstance(head, nn.Module) else head


class _Logits(nn.Module):
    """Logits of a classifier. A single logit becomes those of no and yes."""

    def forward(self, Z, output):
        if output.ndim != 2:
            raise ValueError(
                "head='classifier' needs a model that returns logits of shape (n_samples, "
                f"n_classes); got {tuple(output.shape)}."
            )
        return output if output.shape[1] > 1 else torch.cat([torch.zeros_like(output), output], 1)


class _Distances(nn.Module):
    """Logits that are negative squared distances of Z to points."""

    points: Tensor

    def __init__(self, points, scale):
        super().__init__()
        self.register_buffer("points", points)
        self.scale = scale

    def forward(self, Z, output):
        return -torch.cdist(Z, self.points).square() / self.scale
