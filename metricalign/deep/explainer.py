"""What a representation knows of the parts of a sample, and how much of that decides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log
from numbers import Integral, Real
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import Subset

from metricalign._arrays import batches
from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, validate_data
from metricalign.deep.averaging import Averaged
from metricalign.deep.bottleneck import Bottleneck
from metricalign.deep.critic import N_BLOCKS, Critic
from metricalign.deep.device import computing_device, seeded
from metricalign.deep.explanation import InformationExplanation
from metricalign.deep.frozen import (
    FeatureStatistics,
    FrozenNetwork,
    OutputsOfSamples,
    check_class_numbers,
    class_numbers,
    decision_head,
)
from metricalign.deep.hraml import HRAML
from metricalign.deep.information.training import Batches, FiniteLoss

__all__ = ["InformationExplainer"]

# Samples of which means and variances of features, prototypes and neighbours are learned, and those
# of which the loss that is allowed and the factors of the scores are.
_N_OF_STATISTICS, _N_OF_CALIBRATION = 4096, 512

# Explained samples of which is asked what remains of the decision, which takes two more passes.
_N_OF_SURVIVAL = 32

# Of a bottleneck. In an earlier version, with twice the learning rate, the loss on digits and
# fashion was within a fifth of what is allowed after 50 steps, and what passed hardly fell after
# 120.
_N_STEPS = 120

# Numbers of samples and outputs that are kept rather than computed in each epoch, half a gigabyte.
_N_KEPT_NUMBERS = 2**27

# Of the critic. With one network, .2 rather than .1 took .05 off a bound of 2.25 nats on fashion,
# and the redundant maps of two seeds agreed by .81 rather than .79.
_WEIGHT_DECAY = 0.2

# Of the critic. Few samples are passed more often, to take as many steps as in an epoch of 6,000:
# on fashion, 8 epochs of 1,500 samples found 1.4 nats with 21 steps each and 1.9 with 84, as 6,000
# samples did.
_N_STEPS_OF_EPOCH = 84


class InformationExplainer(BaseEstimator):
    """What a trained network knows of the parts of its input, and how much of that decides.

    The local features l_i are the output of a layer at location i (a pixel, a patch, a token, a
    column of a table), Z is a representation that the network makes of the whole sample. The
    information of Z and l_i is split into what the decision needs and a redundant rest. Two small
    modules are trained; the network is copied, and the copy is frozen.

    **Total.** A critic s, the mean of three networks, is trained by InfoNCE to tell the Z of a
    sample from those of others by l_i. What l_i says about Z is the specific information

        total = KL(p(Z | l_i) || p(Z)) = sum_m v_m log(n v_m),   v = softmax_m(c_i s(l_i, z_m))

    over n samples: itself and ``batch_size`` references from all parts of X. It is at least 0 and
    at most log n. The factor c_i of each location maximises InfoNCE on held-out samples. There the
    mean of the totals and InfoNCE, a lower bound of the mutual information, are the same number:
    both conditions say that the mean of s(l_i, z) is that of sum_m v_m s(l_i, z_m).

    **Decision-related.** A bottleneck replaces the standardised l_i by

        m_i = a_i l_i + (1 - a_i) e,   e ~ N(0, 1),

    with a share a_i in [0, 1] of each channel that a small network makes of l_i alone. (Tokens are
    turned to their principal components before.) It is
    trained so that the frozen network decides from the m_i as it did from the l_i:

        KL(decision || decision from m) + price * sum_i KL(p(m_i | l_i) || N(0, 1)).

    The price is raised while more of the decision is left than `keep` asks for, and lowered while
    less is. The same critic, trained on both, says how much m_i tells about Z. The decision-related
    part is the smaller of this, in the mean over noises, and the total. That mean is foretold from
    what a_i l_i tells, the m_i without its noise, by a line that is fitted on held-out samples.

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
    n_hidden : int, default=48
        Units of the first hidden layer of the bottleneck and of each of the three networks of
        the critic, which have a second one of half as many.
    learning_rate : float, default=0.005
        Step length of Adam.
    batch_size : int, default=128
        Reference samples; the ceiling of the information is the logarithm of one more. The critic
        is trained on batches of half as many, which are compared with each other.
    max_iter : int, default=8
        Largest number of epochs of the critic. Fewer than 6,000 samples are passed more than once
        in an epoch, so that it has about 84 steps. The bottleneck takes 120 steps of a quarter of
        ``batch_size`` samples.
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
        "batch_size": [Interval(Integral, N_BLOCKS, None, closed="left")],
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
        n_hidden: int = 48,
        learning_rate: float = 0.005,
        batch_size: int = 128,
        max_iter: int = 8,
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
    @keeps_last_fit
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
        targets = None if head == "relation" else class_numbers(y, len(X), head)
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
        network = FrozenNetwork(self.model, self.layer, self.representation)
        with seeded(random_state, device):
            network.to(device)
            samples = OutputsOfSamples(network, X, targets, device).kept(_N_KEPT_NUMBERS)
            rows = order[::-1][:_N_OF_STATISTICS].copy()
            statistics = FeatureStatistics(samples, rows)
            network.head = decision_head(
                head, statistics, None if targets is None else targets[rows]
            )
            if targets is not None:
                check_class_numbers(targets, network.head(statistics.Z, statistics.output).shape[1])
            train = partial(self._train, device=device)

            bottleneck = Bottleneck(network, statistics, self.n_hidden).to(device)
            bottleneck.weigh(samples[training[:_N_OF_CALIBRATION]], self.keep)
            if not bottleneck.is_shut:
                batch_size = self.batch_size // 4
                some = training[: _N_STEPS * batch_size]
                max_iter = -(-_N_STEPS * batch_size // len(some))
                train(bottleneck, Subset(samples, some), None, batch_size, max_iter)
            bottleneck.eval().requires_grad_(False)

            critic = Critic(network, statistics, bottleneck, self.n_hidden)
            averaged = Averaged(critic)
            # Half a batch: twice the steps teach more than twice the comparisons.
            batch_size = self.batch_size // 2
            history = train(
                averaged,
                Subset(samples, training),
                Subset(samples, validation),
                batch_size,
                self.max_iter,
                weight_decay=_WEIGHT_DECAY,
                n_passes=max(1, round(_N_STEPS_OF_EPOCH * batch_size / len(training))),
            )
            averaged.average()
            critic.eval().requires_grad_(False)
            _, local, Z, *_ = samples[validation[:_N_OF_CALIBRATION]]
            # The same ones whatever the random state, from all parts of X.
            rows = np.linspace(0, len(X) - 1, min(self.batch_size, len(X))).astype(int)
            critic.remember(samples[rows][2])
            critic.calibrate(local, Z)
            critic.foresee(local, Z)
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

    def _train(
        self,
        module,
        training,
        validation,
        batch_size,
        max_iter,
        *,
        device,
        weight_decay=0.01,
        n_passes=1,
    ):
        """Train a module, and stop early if there are samples to stop on."""
        callbacks = [FiniteLoss()]
        if validation is not None:
            callbacks.append(EarlyStopping(patience=self.n_iter_no_change, load_best=True))
        net = NeuralNet(
            module,
            criterion=_ReturnedLoss,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=weight_decay,
            optimizer__fused=True,
            lr=self.learning_rate,
            batch_size=batch_size,
            iterator_train=partial(Batches, is_shuffled=True, n_passes=n_passes),
            iterator_valid=Batches,
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
        critic = self.critic_.on(device)
        random_state = np.random.RandomState(self._seed)
        with seeded(random_state, device), torch.inference_mode():
            parts = [
                critic.explain(X[rows].to(device)) for rows in batches(len(X), self.critic_.n_rows)
            ]
            asked = X[:: -(-len(X) // _N_OF_SURVIVAL)].to(device)
            survival = critic.bottleneck.survival(asked).cpu().double().numpy()
        maps = {
            name: torch.cat([part[name] for part in parts])
            .cpu()
            .double()
            .numpy()
            .reshape(len(X), *self.location_shape_)
            for name in parts[0]
        }
        lower_bound, lower_bound_error = _mean_and_error(maps.pop("contribution"))
        kept, kept_error = _mean_and_error(survival)
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


class _ReturnedLoss(nn.Module):
    """The loss that a module has returned."""

    def forward(self, loss, _):
        return loss


def _mean_and_error(values):
    """Mean over samples and its standard error, which one sample does not tell."""
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))
