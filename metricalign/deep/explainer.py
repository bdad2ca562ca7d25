"""What a representation knows of the parts of a sample, and how much of that decides."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import log
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch.utils.data import Dataset, Subset

from metricalign._decorators import _fit_context
from metricalign.deep.hraml import HRAML, _seeded
from metricalign.deep.information import (
    InfoNCE,
    _Batches,
    _FiniteLoss,
    _Samples,
    computing_device,
    perceptron,
)

__all__ = ["InformationExplainer", "InformationExplanation"]

# Samples of which means and variances of features, prototypes and neighbours are learned, and those
# of which the loss that is allowed and the factors of the scores are.
_N_OF_STATISTICS, _N_OF_CALIBRATION = 4096, 256

# Samples that are the possible neighbours in a relation, and how many of them are near.
_N_REFERENCES, _N_NEIGHBORS = 256, 10

# Explained samples of which is asked what remains of the decision: it takes another forward pass.
_N_OF_SURVIVAL = 256

# Of a bottleneck, on digits and fashion: after 50 steps the loss is within a fifth of what is
# allowed, after 120 what passes hardly falls any more. The price starts low, since a bottleneck
# that has closed opens slowly, and changes by at most a tenth in a step.
_N_STEPS, _FIRST_PRICE, _PRICE_RATE = 120, 0.1, 0.1

# What passes grows without bound as the share of the noise falls to zero.
_LARGEST_SHARE = 0.999

# Locations whose scores are trained in a step.
_LOCATIONS_PER_STEP = 32

# Largest factor of the scores, and halvings of the interval: to within a five-hundredth.
_LARGEST_FACTOR, _N_BISECTIONS = 2.0, 10

# Noises of which information is averaged, and parts of the reference samples in the jackknife.
_N_DRAWS, _N_BLOCKS = 2, 8

# Numbers that an array of scores may have, to stay in the cache, and numbers of features that are
# kept rather than computed in each epoch, half a gigabyte.
_N_SCORES, _N_KEPT_FEATURES = 2**20, 2**27


@dataclass(frozen=True)
class InformationExplanation:
    """What a representation knows of the parts of samples, in nats.

    All maps have a number for each sample and location: the shape is (n_samples, height, width),
    (n_samples, length) or (n_samples, n_columns), as the layer's output was.

    Parameters
    ----------
    total : ndarray of shape (n_samples, ...)
        What the representation knows of the location, at least 0.
    decision : ndarray of shape (n_samples, ...)
        The part of it that decides, between 0 and `total`.
    redundant : ndarray of shape (n_samples, ...)
        The rest, ``total - decision``, at least 0.
    total_error, decision_error, redundant_error : ndarray of shape (n_samples, ...)
        Their standard errors over the reference samples and the noise, for the modules as they
        were trained. What another training would change is not in them.
    lower_bound, lower_bound_error : ndarray of shape (...)
        A lower bound of the mutual information of the representation and the location, over
        the explained samples, and its standard error. It may come out below 0.
    passed : ndarray of shape (n_samples, ...)
        What the bottleneck lets through at most.
    decision_kept, decision_kept_error : float
        Share of the decision that survives when only the decision-related part of all locations is
        kept: the sum over decisions of the smaller of the two probabilities, with and without the
        rest, in the mean of at most 256 samples; and its standard error.
    ceiling : float
        Largest value of `total` that could be found, the logarithm of the number of samples that
        are compared.
    """

    total: NDArray
    decision: NDArray
    redundant: NDArray
    total_error: NDArray
    decision_error: NDArray
    redundant_error: NDArray
    lower_bound: NDArray
    lower_bound_error: NDArray
    passed: NDArray
    decision_kept: float
    decision_kept_error: float
    ceiling: float

    @property
    def upper_bound(self) -> NDArray:
        """Upper bound of the information in what the bottleneck keeps, of shape (...).

        The mean of `passed` over the explained samples.
        """
        return self.passed.mean(axis=0)

    @property
    def is_at_ceiling(self) -> NDArray:
        """Where `total` is within log 2 of its ceiling, so that the truth may be far above it."""
        return self.total > self.ceiling - log(2)


class InformationExplainer(BaseEstimator):
    """What a trained network knows of the parts of its input, and how much of that decides.

    The local features l_i are the output of a layer at location i (a pixel, a patch, a token, a
    column of a table), Z is a representation that the network makes of the whole sample. The
    information of Z and l_i is split into what the decision needs and a redundant rest. Two small
    modules are trained; the network is copied, and the copy is frozen.

    **Total.** A critic s is trained by InfoNCE to tell the Z of a sample from those of others by
    l_i. What l_i says about Z is the specific information

        total = KL(p(Z | l_i) || p(Z)) = sum_m v_m log(n v_m),   v = softmax_m(c_i s(l_i, z_m))

    over n samples: itself and ``batch_size`` references. It is at least 0 and at most
    log n. The factor c_i of each location maximises InfoNCE on held-out samples. There the mean of
    the totals and InfoNCE, a lower bound of the mutual information, are the same number: both
    conditions say that the mean of s(l_i, z) is that of sum_m v_m s(l_i, z_m).

    **Decision-related.** A bottleneck replaces the standardised l_i by

        m_i = a_i l_i + (1 - a_i) e,   e ~ N(0, 1),

    with a share a_i in [0, 1] of each channel that a small network makes of l_i alone. (Tokens are
    turned to their principal components before.) It is
    trained so that the frozen network decides from the m_i as it did from the l_i:

        KL(decision || decision from m) + price * sum_i KL(p(m_i | l_i) || N(0, 1)).

    The price is raised while more of the decision is left than `keep` asks for, and lowered while
    less is. The same critic, trained on both, says how much m_i tells about Z. The decision-related
    part is the smaller of this, in the mean over noises, and the total.

    **Redundant.** The rest, total - decision. It cannot be negative, since the decision-related
    part is at most the total. For the true information this holds by itself: m_i is made of l_i
    alone, so it tells no more about Z (the data processing inequality). Taking the smaller repairs
    what the estimates miss of it.

    Parameters
    ----------
    model : torch.nn.Module or HRAML
        Trained network, or a fitted HRAML. It is left as it is.
    layer : str, callable or None, default=None
        The module whose output is local, by its name in ``model.named_modules()`` or as a
        function that takes the model and returns the module. Its output has the shape
        (n_samples, n_channels, height, width), (n_samples, length, n_channels) or
        (n_samples, n_columns). None: the samples themselves, such as the columns of a table.
    representation : str, callable or None, default=None
        The module whose output is Z, likewise. None: the output of the model.
    head : {"auto", "classifier", "prototype", "relation"} or callable, default="auto"
        What the decision is.

        - ``"classifier"``: the output of the model are logits of classes.
        - ``"prototype"``: a class is likely as exp(-(distance of Z to the mean Z of the class)^2).
          The means are those of X and y in `fit`, whose classes need not be those that the network
          was trained for.
        - ``"relation"``: the distances of Z to 256 samples of X in `fit`, as probabilities
          exp(-distance^2 / h) that one is the neighbour, where h is the median of the squared
          distance to the tenth nearest.
        - a function of Z and of the output of the model that returns logits.
        - ``"auto"``: ``"relation"`` for HRAML, ``"classifier"`` otherwise.
    keep : float, default=0.9
        How much of what the decision knows must survive the bottleneck: 1 - keep is the share of
        the loss that a constant decision would have (or, if it is smaller, the decision from
        noise). The larger, the more is called decision-related.
    n_hidden : int, default=64
        Units of the hidden layers of both modules.
    learning_rate : float, default=0.01
        Step length of Adam.
    batch_size : int, default=128
        Samples in a batch; they are compared with each other, and the ceiling of the information
        is the logarithm of one more.
    max_iter : int, default=10
        Largest number of epochs of the critic. The bottleneck takes 120 steps of a quarter of a
        batch.
    validation_fraction : float, default=0.1
        Part of the samples on which training of the critic stops early and its scores are
        calibrated.
    n_iter_no_change : int, default=3
        Epochs without improvement after which to stop.
    device : str or torch.device, default="auto"
        Where to compute; ``"auto"`` is a GPU if there is one. What is fitted is kept on the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches, noise and the validation part.
    verbose : int, default=0
        Whether to print the loss of each epoch.

    Attributes
    ----------
    model_ : torch.nn.Module
        The frozen copy of the network.
    bottleneck_, critic_ : torch.nn.Module
        The two modules.
    price_ : float
        The price that was found: nats of the decision for a nat that passes. Infinite if there is
        no decision, and nothing passes.
    location_shape_ : tuple of int
        (height, width), (length,) or (n_columns,).
    loss_curve_, validation_loss_curve_ : ndarray of shape (n_iter,)
        Minus InfoNCE of l_i and of m_i in each epoch of the critic, mean over the locations.
    n_iter_ : int
        Number of epochs of the critic.
    n_features_in_ : int
        Size of the second axis of X.

    References
    ----------
    L. Gu. "Explaining Representation by Mutual Information". arXiv 2103.15114, 2021.

    K. Schulz, L. Sixt, F. Tombari, T. Landgraf. "Restricting the Flow: Information Bottlenecks for
    Attribution". ICLR 2020.

    M. R. DeWeese, M. Meister. "How to measure the information gained from one symbol". Network:
    Computation in Neural Systems 10, 1999.

    Examples
    --------
    The network is given: its output is three times the first of three columns.

    >>> import numpy as np
    >>> import torch
    >>> from metricalign.deep import InformationExplainer
    >>> model = torch.nn.Linear(3, 1, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, 0.0, 0.0]])
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> explanation = InformationExplainer(model, random_state=0).fit(X).explain(X)
    >>> int(explanation.decision.mean(axis=0).argmax())
    0
    >>> bool(explanation.total.mean(axis=0)[1:].max() < 0.1)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "model": [nn.Module, HRAML],
        "layer": [None, str, callable],
        "representation": [None, str, callable],
        "head": [StrOptions({"auto", "classifier", "prototype", "relation"}), callable],
        "keep": [Interval(Real, 0, 1, closed="neither")],
        "n_hidden": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, _N_BLOCKS, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: nn.Module | HRAML,
        *,
        layer: str | Callable[[nn.Module], nn.Module] | None = None,
        representation: str | Callable[[nn.Module], nn.Module] | None = None,
        head: str | Callable[[Tensor, Tensor], Tensor] = "auto",
        keep: float = 0.9,
        n_hidden: int = 64,
        learning_rate: float = 0.01,
        batch_size: int = 128,
        max_iter: int = 10,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.model = model
        self.layer = layer
        self.representation = representation
        self.head = head
        self.keep = keep
        self.n_hidden = n_hidden
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train the critic and the bottleneck.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples as the network takes them: numbers in float32, integers such as tokens as they
            are. They need not be those that the network was trained on.
        y : array-like of shape (n_samples,) or None, default=None
            Classes that are to be decided: the numbers of the logits for a classifier, any classes
            for prototypes, which need them. None: what the network itself decides. A relation is
            always the network's own.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, or the loss becomes infinite or NaN.
        """
        device = computing_device(self.device)
        X = self._samples(X, reset=True)
        head = self.head
        if head == "auto":
            head = "relation" if isinstance(self.model, HRAML) else "classifier"
        targets = None if head == "relation" else _class_numbers(y, len(X), head)
        # Nothing can be compared with less than two.
        n_validation = max(2, int(np.ceil(self.validation_fraction * len(X))))
        if len(X) - n_validation < 2:
            raise ValueError(
                f"n_samples={len(X)} leaves too few samples to train on: {n_validation} are set "
                "aside. Use more samples, or decrease validation_fraction."
            )
        random_state = check_random_state(self.random_state)
        order = random_state.permutation(len(X))
        validation, training = order[:n_validation], order[n_validation:]
        network = _Network(self.model, self.layer, self.representation)
        with _seeded(random_state, device):
            network.to(device)
            rows = order[::-1][:_N_OF_STATISTICS].copy()
            statistics = _Statistics(network, X[rows], device)
            network.head = _head(head, statistics, None if targets is None else targets[rows])
            if targets is not None:
                _check_targets(targets, network.head(statistics.Z, statistics.output).shape[1])
            train = partial(self._train, device=device)

            samples = _Samples(X, *([] if targets is None else [targets]))
            bottleneck = _Bottleneck(network, statistics, self.n_hidden).to(device)
            first = samples[training[:_N_OF_CALIBRATION]]
            bottleneck.weigh([part.to(device) for part in first], self.keep)
            if bottleneck.price < np.inf:
                batch_size = self.batch_size // 4
                some = training[: _N_STEPS * batch_size]
                max_iter = -(-_N_STEPS * batch_size // len(some))
                train(bottleneck, Subset(samples, some), None, batch_size, max_iter)
            bottleneck.eval().requires_grad_(False)

            features: Dataset = _Features(bottleneck, X, device)
            if len(X) * statistics.mean.numel() <= _N_KEPT_FEATURES:
                batches = zip(*(part for part, _ in _Batches(features, 256)), strict=True)
                features = _Samples(*(torch.cat(parts) for parts in batches))
            critic = _Critic(network, statistics, bottleneck, self.n_hidden)
            history = train(
                critic,
                Subset(features, training),
                Subset(features, validation),
                self.batch_size,
                self.max_iter,
            )
            critic.eval().requires_grad_(False)
            critic.calibrate(*features[validation[:_N_OF_CALIBRATION]])
            critic.remember(features[order[: self.batch_size]][1])
        # On the CPU, so that a pickle opens on every machine.
        network.to("cpu")
        self.model_ = network.model
        self.bottleneck_, self.critic_ = bottleneck.to("cpu"), critic.to("cpu")
        self.price_ = bottleneck.price
        self.location_shape_ = statistics.location_shape
        self.loss_curve_ = np.array(history[:, "train_loss"])
        self.validation_loss_curve_ = np.array(history[:, "valid_loss"])
        self.n_iter_ = len(history)
        self._sample_shape = X.shape[1:]
        self._seed = random_state.randint(2**31 - 1)
        return self

    def _train(self, module, training, validation, batch_size, max_iter, device):
        """Train a module, and stop early if there are samples to stop on."""
        callbacks = [_FiniteLoss()]
        if validation is not None:
            callbacks.append(EarlyStopping(patience=self.n_iter_no_change, load_best=True))
        net = NeuralNet(
            module,
            criterion=_ReturnedLoss,
            optimizer=torch.optim.AdamW,
            lr=self.learning_rate,
            batch_size=batch_size,
            iterator_train=partial(_Batches, is_shuffled=True),
            iterator_valid=_Batches,
            max_epochs=max_iter,
            train_split=None if validation is None else predefined_split(validation),
            callbacks=callbacks,
            device=device,
            verbose=self.verbose,
        )
        return net.fit(training).history

    def explain(self, X: ArrayLike) -> InformationExplanation:
        """Map what the representation knows of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples. The bound holds for those that `fit` has not seen.

        Returns
        -------
        explanation : InformationExplanation
            The maps, their standard errors and bounds.

        Raises
        ------
        ValueError
            If the samples are not of the shape of those in `fit`.
        """
        check_is_fitted(self)
        X = self._samples(X, reset=False)
        if X.shape[1:] != self._sample_shape:
            raise ValueError(
                f"X must have the shape (n_samples, {', '.join(map(str, self._sample_shape))}), as "
                f"in fit; got {tuple(X.shape)}."
            )
        device = computing_device(self.device)
        n_scores = self.critic_.n_locations * (len(self.critic_.references) + 1)
        n_rows = int(np.clip(_N_SCORES // n_scores, 1, 256))
        every = -(-len(X) // _N_OF_SURVIVAL)
        critic = self.critic_.on(device)
        random_state = np.random.RandomState(self._seed)
        parts = []
        with _seeded(random_state, device), torch.no_grad():
            for rows in gen_batches(len(X), n_rows):
                survivors = slice(-rows.start % every, None, every)
                parts.append(critic.explain(X[rows].to(device), survivors))
        columns = {
            name: torch.cat([part[name] for part in parts]).cpu().double().numpy()
            for name in parts[0]
        }
        maps = {
            name: column.reshape(len(X), *self.location_shape_)
            for name, column in columns.items()
            if name != "kept"
        }
        lower_bound, lower_bound_error = _mean_and_error(maps.pop("contribution"))
        kept, kept_error = _mean_and_error(columns["kept"])
        return InformationExplanation(
            **maps,
            lower_bound=lower_bound,
            lower_bound_error=lower_bound_error,
            decision_kept=float(kept),
            decision_kept_error=float(kept_error),
            ceiling=log(len(self.critic_.references) + 1),
        )

    def _samples(self, X, reset) -> Tensor:
        X = validate_data(self, X, reset=reset, allow_nd=True, dtype="numeric")
        is_integer = np.issubdtype(X.dtype, np.integer) and self.layer is not None
        return torch.from_numpy(np.array(X, dtype=np.int64 if is_integer else np.float32))


class _Network:
    """A frozen copy of a model whose local features can be read and replaced, and its decision.

    It is no module, so that it is no part of the modules that use it.
    """

    head: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, model, layer, representation):
        if isinstance(model, HRAML):
            check_is_fitted(model)
            model = _Embedding(model)
        self.layer_name = _name_of(model, layer, "layer")
        self.representation_name = _name_of(model, representation, "representation")
        self.model = deepcopy(model).eval().requires_grad_(False)

    def to(self, device):
        """Compute on this device from now on."""
        self.model.to(device)
        head: Any = getattr(self, "head", None)
        if isinstance(head, nn.Module):
            head.to(device)

    def __call__(self, X, local=None):
        """Return the local features, Z and the output, from these local features if any."""
        read: dict[str, list[Any]] = {"layer": [], "representation": []}

        def read_layer(module, inputs, output):
            read["layer"].append(output)
            return local

        def read_representation(module, inputs, output):
            read["representation"].append(output)

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
            output = self.model(X)
        finally:
            for hook in hooks:
                hook.remove()
        if self.representation_name is None:
            read["representation"].append(output)
        features, Z = (_only_output(name, outputs) for name, outputs in read.items())
        if features.ndim not in (2, 3, 4):
            raise ValueError(
                "layer must return an array of shape (n_samples, n_channels, height, width), "
                "(n_samples, length, n_channels) or (n_samples, n_columns); got "
                f"{tuple(features.shape)}."
            )
        return features, Z.flatten(1), output

    def log_decision(self, Z, output):
        """Log probabilities of the decisions."""
        return log_softmax(self.head(Z, output), dim=1)


class _Embedding(nn.Module):
    """The images of a fitted HRAML, as a network of samples as they are."""

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
    names = {module: name for name, module in model.named_modules()}
    if callable(place):
        module = place if isinstance(place, nn.Module) else place(model)
        if module not in names:
            raise ValueError(f"{parameter} must be a module of the model; got {module!r}.")
        return names[module]
    if place not in names.values():
        raise ValueError(
            f"{parameter}={place!r} is no module of the model, which has "
            f"{', '.join(repr(name) for name in names.values() if name)}."
        )
    return place


def _only_output(name, outputs) -> Tensor:
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        found = f"runs {len(outputs)} times" if len(outputs) != 1 else f"returns {type(outputs[0])}"
        raise ValueError(
            f"{name} must be a module that runs once in a forward pass and returns one array; this "
            f"one {found}. Name another one, such as one inside it."
        )
    return outputs[0]


def _to_locations(local) -> Tensor:
    """Local features as an array of shape (n_samples, n_locations, n_channels)."""
    if local.ndim == 4:
        return local.flatten(2).transpose(1, 2)
    return local if local.ndim == 3 else local[:, :, None]


def _from_locations(locations, like) -> Tensor:
    """Inverse of `_to_locations`."""
    return (locations.transpose(1, 2) if like.ndim == 4 else locations).reshape(like.shape)


class _Statistics:
    """Basis, means and deviations of local features, and Z and output of samples.

    Channels of maps are features by themselves. Those of tokens are not, and a token in which each
    is drawn by itself is like no token: there the basis is that of the principal components inside
    a location, the same for all, and the noise, independent in it, stays where tokens are.
    """

    def __init__(self, network, X, device):
        sums: Any = 0
        squares: Any = 0
        found: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for rows in gen_batches(len(X), 256):
                local, Z, output = network(X[rows].to(device))
                features = _to_locations(local).double()
                if not found:
                    # Any orthogonal basis is allowed, so the first batch is enough for it.
                    self.basis = torch.eye(features.shape[2]).to(features)
                    if local.ndim == 3:
                        self.basis = _principal_components(features)
                features = features @ self.basis
                sums = sums + features.sum(dim=0)
                squares = squares + features.square().sum(dim=0)
                found.append((Z, output))
        self.Z, self.output = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.mean = (sums / len(X)).float()
        variance = squares / len(X) - (sums / len(X)).square()
        # What is constant up to rounding carries nothing.
        is_constant = variance < 1e-10 * (squares / len(X)).amax(dim=1, keepdim=True)
        self.deviation = variance.masked_fill(is_constant, 0).sqrt().float()
        self.basis = self.basis.float()
        self.location_shape = tuple(local.shape[2:] if local.ndim == 4 else local.shape[1:2])


def _principal_components(features):
    """Orthogonal basis of the covariance inside the locations."""
    centred = (features - features.mean(dim=0)).flatten(0, 1)
    return torch.linalg.eigh(centred.T @ centred).eigenvectors


def _class_numbers(y, n_samples, head) -> Tensor | None:
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


def _check_targets(targets, n_classes):
    if targets.min() < 0 or targets.max() >= n_classes:
        raise ValueError(
            f"y must have the numbers of the {n_classes} logits, 0 to {n_classes - 1}; got "
            f"{targets.min()} to {targets.max()}."
        )


def _head(head, statistics, targets):
    """Function of Z and of the output of the network that returns logits of decisions."""
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
    """Logits of a classifier; of a single one, those of no and yes."""

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


class _ReturnedLoss(nn.Module):
    """The loss that a module has returned."""

    def forward(self, loss, _):
        return loss


class _LocalNetwork(nn.Module):
    """The same small network at all locations, which it tells apart."""

    def __init__(self, n_locations, n_channels, n_hidden, n_outputs):
        super().__init__()
        self.first = nn.Linear(n_channels, n_hidden, bias=False)
        self.place = nn.Parameter(torch.randn(n_locations, n_hidden) / 2)
        self.rest = nn.Sequential(nn.ReLU(), perceptron([n_hidden, n_hidden, n_outputs]))

    def forward(self, features, places):
        return self.rest(self.first(features[:, places]) + self.place[places])


class _Bottleneck(nn.Module):
    """Noise in place of what the decision does not need.

    Arrays of features have the shape (n_samples, n_locations, n_channels), standardised.
    """

    basis: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, network, statistics, n_hidden):
        super().__init__()
        self.network = network
        self.register_buffer("basis", statistics.basis)
        self.register_buffer("mean", statistics.mean)
        self.register_buffer("deviation", statistics.deviation)
        n_locations, n_channels = statistics.mean.shape
        self.shares = _LocalNetwork(n_locations, n_channels, n_hidden, n_channels)
        self.price = 1.0

    @torch.no_grad()
    def weigh(self, batch, keep):
        """Set how much may be lost of the decision, and the first price.

        Without a decision that is better than a constant one, nothing is to pass.
        """
        X, *targets = batch
        local, Z, output = self.network(X)
        features = self.standardized(local)
        noise = self.lost(X, local, torch.randn_like(features), Z, output, *targets)
        log_p = self.network.log_decision(Z, output)
        constant = log_p.logsumexp(dim=0) - log(len(X))
        if targets:
            own = -log_p.gather(1, targets[0][:, None])[:, 0]
            shares = torch.bincount(targets[0], minlength=log_p.shape[1]) / len(X)
            constant = -shares[targets[0]].log()
        else:
            own = torch.zeros_like(noise)
            constant = (log_p.exp() * (log_p - constant)).sum(dim=1)
        known = min(noise, constant, key=torch.mean) - own
        error = known.std() / len(X) ** 0.5
        if known.mean() <= 2 * error:
            self.price = np.inf
            return
        self.allowed = float(own.mean() + (1 - keep) * known.mean())
        passed = self.passed(features, self.share(features)).sum(dim=1).mean()
        self.price = float(_FIRST_PRICE * known.mean() / passed)

    def forward(self, batch):
        """Loss of a batch of samples, with their classes if these are to be decided."""
        X, *targets = batch
        with torch.no_grad():
            local, Z, output = self.network(X)
            features = self.standardized(local)
        share = self.share(features)
        lost = self.lost(X, local, self.noised(features, share), Z, output, *targets).mean()
        loss = lost + self.price * self.passed(features, share).sum(dim=1).mean()
        excess = 1 - lost.item() / self.allowed
        self.price *= np.exp(_PRICE_RATE * np.clip(excess, -1, 1))
        return loss

    def standardized(self, local):
        return _standardized(_to_locations(local) @ self.basis, self.mean, self.deviation)

    def share(self, features):
        """Share of the features in what is made of them."""
        if self.price == np.inf:
            return torch.zeros_like(features)
        # Nearly open at first: the decision is there to be kept.
        return _LARGEST_SHARE * (self.shares(features, slice(None)) + 2).sigmoid()

    def noised(self, features, share):
        return share * features + (1 - share) * torch.randn_like(features)

    def passed(self, features, share):
        """KL(N(share * features, (1 - share)^2) || N(0, 1)) of each location."""
        noise = 1 - share
        divergence = (noise.square() + (share * features).square() - 1) / 2 - noise.log()
        return torch.where(self.deviation > 0, divergence, 0).sum(dim=2)

    def decision(self, X, local, features):
        """Log probabilities of the decisions from other features."""
        features = (self.mean + self.deviation * features) @ self.basis.T
        replacement = _from_locations(features, local)
        _, Z, output = self.network(X, replacement)
        return self.network.log_decision(Z, output)

    def lost(self, X, local, features, Z, output, targets=None):
        """What other features lose of the decision of each sample."""
        log_p = self.decision(X, local, features)
        if targets is not None:
            return -log_p.gather(1, targets[:, None])[:, 0]
        own = self.network.log_decision(Z, output)
        return (own.exp() * (own - log_p)).sum(dim=1)


class _Features(Dataset):
    """Features and Z of samples, computed when they are needed."""

    def __init__(self, bottleneck, X, device):
        self.bottleneck = bottleneck
        self.X = X
        self.device = device

    def __len__(self):
        return len(self.X)

    @torch.no_grad()
    def __getitem__(self, rows):
        local, Z, _ = self.bottleneck.network(self.X[rows].to(self.device))
        return [self.bottleneck.standardized(local), Z]


class _Critic(nn.Module):
    """Scores of local features and Z, and the information that they tell of each other."""

    Z_mean: Tensor
    Z_deviation: Tensor
    factors: Tensor
    references: Tensor
    summands: Tensor

    def __init__(self, network, statistics, bottleneck, n_hidden):
        super().__init__()
        self.network = network
        # In a tuple, since it is no part to be trained.
        self._bottleneck = (bottleneck,)
        for name in ("factors", "references", "summands"):
            self.register_buffer(name, None)
        self.register_buffer("Z_mean", statistics.Z.mean(dim=0))
        self.register_buffer("Z_deviation", statistics.Z.std(dim=0))
        self.n_locations, n_channels = statistics.mean.shape
        n_images = max(1, n_hidden // 2)
        self.of_local = _LocalNetwork(self.n_locations, n_channels, n_hidden, n_images)
        self.of_Z = perceptron([statistics.Z.shape[1], n_hidden, n_images])

    @property
    def bottleneck(self):
        """The trained bottleneck."""
        return self._bottleneck[0]

    def on(self, device):
        """Copy of this on another device."""
        if device.type == "cpu":
            return self
        copy = deepcopy(self).to(device)
        copy.network.to(device)
        copy.bottleneck.to(device)
        return copy

    def forward(self, batch):
        """Loss of a batch of features and Z."""
        both, images = self.both(batch[0]), self.images(batch[1])
        # Random locations are enough to train the same critic for all.
        places = torch.randperm(self.n_locations, device=images.device)[:_LOCATIONS_PER_STEP]
        return sum(InfoNCE().loss(self.scores(features, images, places)) for features in both)

    def both(self, features):
        """The features, and these with noise."""
        return features, self.bottleneck.noised(features, self.bottleneck.share(features))

    def images(self, Z):
        """Images of Z, of which scores are products."""
        return self.of_Z(_standardized(Z, self.Z_mean, self.Z_deviation))

    def scores(self, features, images, places):
        """Scores of all pairs, of shape (n_locations, n_samples, n_samples), columns for Z."""
        return torch.einsum("ilk,jk->lij", self.of_local(features, places), images)

    @torch.no_grad()
    def calibrate(self, features, Z):
        """Find the factors of the scores, without and with noise, that maximise InfoNCE."""
        images = self.images(Z)
        places = torch.arange(self.n_locations, device=Z.device).split(_LOCATIONS_PER_STEP)
        factors = [
            torch.cat([_best_factor(self.scores(part, images, some)) for some in places])
            for part in self.both(features)
        ]
        self.factors = torch.stack(factors)[:, :, None]

    @torch.no_grad()
    def remember(self, Z):
        """Keep the images of the reference samples."""
        self.references = self.images(Z)
        # A column for all, and one for all without each block.
        places = torch.arange(len(Z), device=Z.device)[:, None] * _N_BLOCKS // len(Z)
        blocks = torch.arange(-1, _N_BLOCKS, device=Z.device)
        self.summands = (places != blocks).to(self.references)

    def explain(self, X, survivors):
        """Maps of a batch, of shape (n_samples, n_locations)."""
        local, Z, output = self.network(X)
        features = self.bottleneck.standardized(local)
        share = self.bottleneck.share(features)
        draws = [self.bottleneck.noised(features, share) for _ in range(_N_DRAWS)]
        images = self.images(Z)
        total, contribution = self.information(features, images, self.factors[0])
        noised = [self.information(draw, images, self.factors[1])[0] for draw in draws]
        kept = torch.stack(noised)
        decision = torch.minimum(total, kept.mean(dim=0))
        own = self.network.log_decision(Z, output)[survivors].exp()
        # Networks may refuse a batch without samples.
        left = own
        if len(own):
            left = self.bottleneck.decision(
                X[survivors], local[survivors], draws[0][survivors]
            ).exp()
        # The noise of draws counts where it is not cut off.
        is_cut = decision[..., 0] == total[..., 0]
        noise = (kept[..., 0].var(dim=0) / _N_DRAWS).masked_fill(is_cut, 0)
        return {
            "total": total[..., 0],
            "decision": decision[..., 0],
            "redundant": total[..., 0] - decision[..., 0],
            "total_error": _jackknife_variance(total).sqrt(),
            "decision_error": (_jackknife_variance(decision) + noise).sqrt(),
            "redundant_error": (_jackknife_variance(total - decision) + noise).sqrt(),
            "passed": self.bottleneck.passed(features, share),
            "contribution": contribution,
            "kept": torch.minimum(own, left).sum(dim=1),
        }

    def information(self, features, images, factor):
        """Specific information about Z, and InfoNCE.

        Returns
        -------
        information : Tensor of shape (n_samples, n_locations, 1 + n_blocks)
            From all references, and from those without each block.
        contribution : Tensor of shape (n_samples, n_locations)
            Contribution to InfoNCE.
        """
        found = factor * self.of_local(features, slice(None))
        own = (found * images[:, None]).sum(dim=2, keepdim=True)
        scores = found @ self.references.T
        largest = torch.maximum(scores.amax(dim=2, keepdim=True), own)
        scores, own = scores.sub_(largest), own - largest
        weights = scores.exp()
        sums = weights @ self.summands + own.exp()
        products = scores.mul_(weights) @ self.summands + own.exp() * own
        n_compared = self.summands.sum(dim=0) + 1
        log_mean = sums.log() - n_compared.log()
        # Negative by rounding only.
        information = (products / sums - log_mean).clamp_min(0)
        return information, (own - log_mean)[..., 0]


def _standardized(values, mean, deviation):
    return torch.where(deviation > 0, (values - mean) / deviation, 0)


def _jackknife_variance(values):
    """Variance over the reference samples, from the values without each block of them."""
    return (_N_BLOCKS - 1) * values[..., 1:].var(dim=-1, correction=0)


def _best_factor(scores):
    """Factor of the scores of each location that maximises InfoNCE, by bisection.

    InfoNCE is concave in the factor, and its slope is the mean over the rows of the own score less
    the expected one.
    """
    own = scores.diagonal(dim1=1, dim2=2).mean(dim=1)
    smallest, largest = torch.zeros_like(own), torch.full_like(own, _LARGEST_FACTOR)
    for _ in range(_N_BISECTIONS):
        factor = (smallest + largest) / 2
        likely = (factor[:, None, None] * scores).softmax(dim=2)
        is_rising = own > (likely * scores).sum(dim=2).mean(dim=1)
        smallest, largest = smallest.where(~is_rising, factor), largest.where(is_rising, factor)
    return smallest


def _mean_and_error(values):
    """Mean over samples and its standard error, which one sample does not tell."""
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))
