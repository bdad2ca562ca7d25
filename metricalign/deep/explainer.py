"""The information of a representation about parts of a sample, and its part in the decision."""

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

# Number of samples from which means and variances of features, prototypes and neighbours are
# learned; and number of those from which the allowed loss and the factors of the scores are
# learned.
_N_OF_STATISTICS, _N_OF_CALIBRATION = 4096, 512

# `decision_kept` is estimated from so many explained samples, as it takes two more passes.
_N_OF_SURVIVAL = 32

# Number of steps of the bottleneck. In an earlier version, with twice the learning rate, the loss
# on digits and fashion was within a fifth of the allowed loss after 50 steps, and the information
# that passed hardly fell after 120.
_N_STEPS = 120

# If samples and outputs have at most so many numbers, half a gigabyte, they are kept. Otherwise
# they are computed anew in each epoch.
_N_KEPT_NUMBERS = 2**27

# Weight decay of the critic. With one network, .2 in place of .1 lowered a bound of 2.25 nats on
# fashion by .05, and the redundant maps of two seeds agreed by .81 in place of .79.
_WEIGHT_DECAY = 0.2

# Number of steps of an epoch of the critic, which 6,000 samples make. Fewer samples are passed
# several times. On fashion, 8 epochs of 1,500 samples found 1.4 nats with 21 steps each and 1.9
# with 84, as 6,000 samples did.
_N_STEPS_OF_EPOCH = 84


class InformationExplainer(BaseEstimator):
    """The information of a network about the parts of its input, and its part in the decision.

    The local features l_i are the output of a layer at location i, which may be a pixel, a patch, a
    token or a column of a table. Z is a representation of the whole sample by the network. The
    information of Z and l_i is split into the part that the decision needs and a redundant rest.
    Two small modules are trained. The network itself is copied, and the copy is frozen.

    **Total.** A critic s, the mean of three networks, is trained by InfoNCE to tell the Z of a
    sample from those of others by l_i. The information of l_i about Z is the specific information

        total = KL(p(Z | l_i) || p(Z)) = sum_m v_m log(n v_m),   v = softmax_m(c_i s(l_i, z_m))

    over n samples: the sample itself and ``batch_size`` references from all parts of X. It is at
    least 0 and at most log n. The factor c_i of each location maximises InfoNCE on held-out
    samples. For these samples the mean of the totals equals InfoNCE, a lower bound of the mutual
    information: both conditions say that the mean of s(l_i, z) is that of sum_m v_m s(l_i, z_m).

    **Decision-related.** A bottleneck replaces the standardised l_i by

        m_i = a_i l_i + (1 - a_i) e,   e ~ N(0, 1),

    where a small network computes the share a_i in [0, 1] of each channel from l_i alone. (Tokens
    are rotated to their principal components before.) It is trained so that the frozen network
    decides from the m_i as it did from the l_i, and minimises

        KL(decision || decision from m) + price * sum_i KL(p(m_i | l_i) || N(0, 1)).

    The price rises while more of the decision is kept than `keep` asks for, and falls while less is
    kept. The same critic, trained on both l_i and m_i, gives the information of m_i about Z. The
    decision-related part is its mean over the noise, or the total if that is smaller. A line
    predicts this mean from the information of a_i l_i, which is m_i without noise. It is fitted on
    held-out samples.

    **Redundant.** The rest, total - decision. It is not negative, since the decision-related part
    is at most the total. For the true information this holds anyway: m_i is a function of l_i and
    noise, so it has no more information about Z (the data processing inequality). Taking the
    smaller number corrects estimates for which it does not hold.

    Parameters
    ----------
    model : torch.nn.Module or HRAML
        Trained network, or a fitted HRAML. It is not changed.
    layer : str, callable or None, default=None
        The module whose output is local, by its name in ``model.named_modules()`` or as a
        function that takes the model and returns the module. Its output has the shape
        (n_samples, n_channels, height, width), (n_samples, length, n_channels) or
        (n_samples, n_columns). None: the samples themselves, such as the columns of a table.
    representation : str, callable or None, default=None
        The module whose output is Z, given in the same way. None: the output of the model.
    head : {"auto", "classifier", "prototype", "relation"} or callable, default="auto"
        The decision of the network.

        - ``"classifier"``: the outputs of the model are logits of classes.
        - ``"prototype"``: the probability of a class is in proportion to
          exp(-(distance of Z to the mean Z of the class)^2). The means are those of X and y in
          `fit`, whose classes need not be those that the network was trained for.
        - ``"relation"``: the distances of Z to 256 samples of X in `fit`, as probabilities
          exp(-distance^2 / h) that one is the neighbour, where h is the median of the squared
          distance to the tenth nearest.
        - a function of Z and of the output of the model that returns logits.
        - ``"auto"``: ``"relation"`` for HRAML, ``"classifier"`` otherwise.
    keep : float, default=0.9
        Share of the information of the decision that must pass the bottleneck. The allowed loss is
        1 - keep of the way from the loss of the network to that of a constant decision, or of a
        decision from noise if that is smaller. The larger it is, the more is decision-related.
    n_hidden : int, default=48
        Number of units of the first hidden layer of the bottleneck and of each of the three
        networks of the critic. These have a second hidden layer of half as many units.
    learning_rate : float, default=0.005
        Learning rate of Adam.
    batch_size : int, default=128
        Number of reference samples. The ceiling of the information is the logarithm of this number
        plus 1. The critic is trained on batches of half as many samples, which are compared with
        each other.
    max_iter : int, default=8
        Largest number of epochs of the critic. Fewer than 6,000 samples are passed several times in
        an epoch, so that it has about 84 steps. The bottleneck is trained in 120 steps of a quarter
        of ``batch_size`` samples.
    validation_fraction : float, default=0.1
        Share of the samples that are set aside for early stopping of the critic and for the
        calibration of its scores.
    n_iter_no_change : int, default=3
        Number of epochs without improvement after which training stops.
    device : str or torch.device, default="auto"
        The device on which to compute. ``"auto"`` is a GPU if there is one. Fitted modules are kept
        on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches, noise and the validation part.
    verbose : int, default=0
        Whether to print the loss of each epoch.

    Attributes
    ----------
    model_ : torch.nn.Module
        The frozen copy of the network.
    bottleneck_, critic_ : torch.nn.Module
        The trained bottleneck and critic.
    price_ : float
        The price at the end of the training: nats of the decision for each nat that passes. It is
        infinite if there is no decision, so that nothing passes.
    location_shape_ : tuple of int
        (height, width), (length,) or (n_columns,).
    loss_curve_, validation_loss_curve_ : ndarray of shape (n_iter,)
        Negative InfoNCE of l_i and of m_i in each epoch of the critic, averaged over the locations.
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
    The output of this network is three times the first of three columns.

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
            Samples for the network. Numbers become float32. Integers, such as tokens, stay as they
            are. The network need not have been trained on them.
        y : array-like of shape (n_samples,) or None, default=None
            Classes to decide on: the indices of the logits for a classifier, and any classes for
            prototypes, which need them. None: the decisions of the network. With
            ``head="relation"`` y is not used.

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
        # A comparison needs at least two samples.
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
            # Batches are halved, as twice the steps teach more than twice the comparisons.
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
            # The references are from all parts of X, and do not depend on the random state.
            rows = np.linspace(0, len(X) - 1, min(self.batch_size, len(X))).astype(int)
            critic.remember(samples[rows][2])
            critic.calibrate(local, Z)
            critic.foresee(local, Z)
        # The modules are moved to the CPU, so that a pickle can be opened on every machine.
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
        """Compute maps of the information of the representation about samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples. The lower bound holds only for samples that `fit` has not seen.

        Returns
        -------
        explanation : InformationExplanation
            The maps, their standard errors and bounds.

        Raises
        ------
        ValueError
            If the shape of the samples is not that of the samples in `fit`.
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
    """Mean over samples and its standard error, which is not known for a single sample."""
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))
