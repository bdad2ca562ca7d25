"""An estimate of mutual information by a trained critic."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from math import log
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted
from sklearn.utils.validation import validate_data as validate
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn

from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit
from metricalign.deep.device import computing_device, seeded
from metricalign.deep.information.bounds import BOUNDS, InformationBound
from metricalign.deep.information.training import Batches, FiniteLoss, Samples

__all__ = ["InformationEstimate", "MutualInformation"]

# Outside training, so many pairs are compared with each other. The more, the higher is the ceiling
# of InfoNCE.
_PAIRS_AT_A_TIME = 1024


class InformationEstimate(NamedTuple):
    """An estimate of mutual information, in nats.

    Parameters
    ----------
    value : float
        The estimate.
    standard_error : float
        Standard error over the samples, for the trained critic.
    side : {"lower", "upper", "neither"}
        Which side of the information the estimate bounds.
    ceiling : float
        Largest value that the estimate can take. Infinite if there is none.
    """

    value: float
    standard_error: float
    side: str
    ceiling: float

    @property
    def is_at_ceiling(self) -> bool:
        """Whether the value is within log 2 of the ceiling.

        The information may then be far larger than the value.
        """
        return self.value > self.ceiling - log(2)


class MutualInformation(BaseEstimator):
    """Mutual information I(X; y) of two continuous or one-hot variables, by a trained critic.

    `fit` trains the critic on a part of the samples, and stops by the rest. Give `estimate` samples
    that the critic has not seen. Otherwise it is too high.

    Parameters
    ----------
    bound : {"infonce", "nwj", "smile", "upper"} or InformationBound, default="infonce"
        The estimator: `InfoNCE`, `NWJ`, `SMILE`, `VariationalUpperBound`, or an object such as
        ``SMILE(clip=2.0)``.
    critic : torch.nn.Module or None, default=None
        A module that takes standardised x and y of n_pairs samples, and returns their scores, of
        shape (n_pairs, n_pairs), with a row for each y. A copy of it is trained. A module without
        parameters is not trained, and gets x and y without standardisation. None: the default of
        the estimator.
    hidden_layer_sizes : sequence of int, default=(64, 32)
        Numbers of units of the layers of the default critic. Scores are products of the outputs of
        the last layer.
    batch_size : int, default=128
        Number of pairs in a batch, which are compared with each other.
    learning_rate : float, default=0.002
        Learning rate of Adam.
    weight_decay : float, default=1e-4
        Weight of the squared weights of the critic.
    max_iter : int, default=100
        Largest number of epochs.
    validation_fraction : float, default=0.2
        Share of the samples that are set aside for early stopping.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops.
    device : str or torch.device, default="auto"
        The device on which to compute. ``"auto"`` is a GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches and the validation part.
    verbose : int, default=0
        Whether to print the loss of each epoch.

    Attributes
    ----------
    critic_ : torch.nn.Module
        The trained critic, on the CPU.
    bound_ : InformationBound
        The estimator.
    side_ : {"lower", "upper", "neither"}
        Which side of the information the estimate bounds with this critic.
    n_iter_ : int
        Number of epochs.
    n_features_in_ : int
        Number of columns of X.

    Examples
    --------
    >>> import numpy as np
    >>> from metricalign.deep.information import MutualInformation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(3000, 1))
    >>> y = 0.8 * x + 0.6 * rng.normal(size=(3000, 1))
    >>> information = MutualInformation(max_iter=20, random_state=0).fit(x[:2000], y[:2000])
    >>> estimate = information.estimate(x[2000:], y[2000:])
    >>> truth = -0.5 * np.log(1 - 0.8**2)
    >>> bool(abs(estimate.value - truth) < 0.1)
    True
    >>> estimate.side
    'lower'
    """

    _parameter_constraints: ClassVar[dict] = {
        "bound": [StrOptions(set(BOUNDS)), InformationBound],
        "critic": [None, nn.Module],
        "hidden_layer_sizes": ["array-like"],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        bound: str | InformationBound = "infonce",
        *,
        critic: nn.Module | None = None,
        hidden_layer_sizes: Sequence[int] = (64, 32),
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        max_iter: int = 100,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 10,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.bound = bound
        self.critic = critic
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the critic.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of one variable.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Samples of the other variable. Row i belongs to row i of X.

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
        X, Y = self._pairs(X, y, reset=True)
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
        self.bound_ = BOUNDS[self.bound]() if isinstance(self.bound, str) else self.bound
        self.side_ = self.bound_.side
        self._scales = [_location_and_scale(data[training]) for data in (X, Y)]
        with seeded(random_state, device):
            critic = deepcopy(self.critic)
            if critic is None:
                critic = self.bound_.critic(X.shape[1], Y.shape[1], self.hidden_layer_sizes)
            if not any(parameter.requires_grad for parameter in critic.parameters()):
                self._scales = [(0.0, 1.0), (0.0, 1.0)]
                self.critic_, self.n_iter_ = critic, 0
                return self
            if not self.bound_.holds_for_any_critic:
                self.side_ = "neither"
            X, Y = self._scaled(X, Y)
            net = NeuralNet(
                _Pairs(critic),
                criterion=_BoundLoss(self.bound_),
                optimizer=torch.optim.AdamW,
                optimizer__weight_decay=self.weight_decay,
                lr=self.learning_rate,
                batch_size=self.batch_size,
                iterator_train=partial(Batches, is_shuffled=True),
                iterator_valid=Batches,
                max_epochs=self.max_iter,
                train_split=predefined_split(Samples(X[validation], Y[validation])),
                callbacks=[
                    FiniteLoss(),
                    EarlyStopping(patience=self.n_iter_no_change, load_best=True),
                ],
                device=device,
                verbose=self.verbose,
            ).fit(Samples(X[training], Y[training]))
        self.critic_ = net.module_.critic.to("cpu").eval()
        self.n_iter_ = len(net.history)
        return self

    def estimate(self, X: ArrayLike, y: ArrayLike) -> InformationEstimate:
        """Estimate the information from samples that the critic has not seen.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of one variable.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Samples of the other variable.

        Returns
        -------
        estimate : InformationEstimate
            Value, standard error, side and ceiling, in nats. At most 1,024 pairs are compared with
            each other, which sets the ceiling.
        """
        check_is_fitted(self)
        X, Y = self._scaled(*self._pairs(X, y, reset=False))
        contributions = []
        n_pairs = -(-len(X) // -(-len(X) // _PAIRS_AT_A_TIME))
        with torch.no_grad():
            for rows in gen_batches(len(X), n_pairs, min_batch_size=2):
                scores = self.critic_(X[rows], Y[rows])
                contributions.append(self.bound_.contributions(scores.double()))
        values = torch.cat(contributions).numpy()
        return InformationEstimate(
            float(values.mean()),
            float(values.std(ddof=1) / np.sqrt(len(values))),
            self.side_,
            self.bound_.ceiling(n_pairs),
        )

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return the value of `estimate`, for the choice of the critic of a lower bound.

        Parameters
        ----------
        X, y : array-like
            As for `estimate`.

        Returns
        -------
        score : float
            The value in nats.
        """
        return self.estimate(X, y).value

    def _pairs(self, X, y, reset) -> tuple[NDArray, NDArray]:
        X = validate(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        Y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        Y = Y.reshape(len(Y), -1)
        check_consistent_length(X, Y)
        return X, Y

    def _scaled(self, X, Y) -> tuple[Tensor, Tensor]:
        X, Y = (
            torch.from_numpy(((data - offset) / scale).astype(np.float32))
            for data, (offset, scale) in zip((X, Y), self._scales, strict=True)
        )
        return X, Y


class _Pairs(nn.Module):
    """A critic that is called with pairs of samples."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic

    def forward(self, pairs):
        return self.critic(*pairs)


class _BoundLoss(nn.Module):
    """The loss of an estimator."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, scores, _):
        return self.bound.loss(scores)


def _location_and_scale(data) -> tuple[Any, Any]:
    scale = data.std(axis=0)
    return data.mean(axis=0), np.where(scale > 0, scale, 1.0)
