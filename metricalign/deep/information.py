"""Mutual information of two variables, estimated from samples of their pairs.

An estimator of information looks at a matrix of scores: entry (i, j) says how well x_j goes with
y_i, and the true pairs stand on the diagonal. The scores come from a critic, a small network that
is trained for the estimator. Each estimator says in `side` what it promises: ``"lower"`` if it is
at most the information, whatever the critic; ``"upper"`` if it is at least the information, for the
true density; and ``"neither"`` if it promises nothing. A bound is one in expectation: an estimate
also varies with the samples, by its standard error.

A new estimator is a subclass of `InformationBound` and a line in `BOUNDS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise
from math import inf, log
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
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.data import Dataset

from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit
from metricalign.deep.device import computing_device, seeded

__all__ = [
    "BOUNDS",
    "NWJ",
    "SMILE",
    "GaussianConditional",
    "InfoNCE",
    "InformationBound",
    "InformationEstimate",
    "MutualInformation",
    "SeparableCritic",
    "VariationalUpperBound",
    "perceptron",
]

# Pairs that are compared with each other at a time outside training: the more, the higher the
# ceiling of InfoNCE.
_PAIRS_AT_A_TIME = 1024


class InformationEstimate(NamedTuple):
    """An estimate of mutual information, in nats.

    Parameters
    ----------
    value : float
        The estimate.
    standard_error : float
        Its standard error over the samples, for the critic as it was trained.
    side : {"lower", "upper", "neither"}
        Which side of the information it bounds.
    ceiling : float
        The largest value that the estimate could have taken; infinite if there is none.
    """

    value: float
    standard_error: float
    side: str
    ceiling: float

    @property
    def is_at_ceiling(self) -> bool:
        """Whether the information may be far larger than the value.

        So it is within log 2 of the ceiling: less than one sample in two is told from the others
        by more than what the estimate can express.
        """
        return self.value > self.ceiling - log(2)


class InformationBound(ABC):
    """Base class of the estimators: what they make of a matrix of scores."""

    side: ClassVar[str]
    #: Whether the side is promised for a trained critic too, or only for the true one.
    holds_for_any_critic: ClassVar[bool] = True

    @abstractmethod
    def contributions(self, scores: Tensor) -> Tensor:
        """Contribution of each pair, whose mean is the estimate.

        Parameters
        ----------
        scores : Tensor of shape (..., n_pairs, n_pairs)
            Entry (i, j) of x_j and y_i.

        Returns
        -------
        contributions : Tensor of shape (..., n_pairs)
            In nats.
        """

    def loss(self, scores: Tensor) -> Tensor:
        """What the critic is trained to make small: minus the estimate, if it is a lower bound."""
        return -self.contributions(scores).mean()

    def ceiling(self, n_pairs: int) -> float:
        """Largest value that the estimate can take."""
        return inf

    def critic(self, n_features: int, n_targets: int, sizes: Sequence[int]) -> nn.Module:
        """Make an untrained critic."""
        return SeparableCritic(n_features, n_targets, sizes)


class InfoNCE(InformationBound):
    """Lower bound that compares each pair with all others of the batch.

    The mean of s_ii - log(mean over j of exp(s_ij)), with the pair itself among the j: without it
    this is no bound. It varies little, but cannot exceed log(n_pairs).

    References
    ----------
    A. van den Oord, Y. Li, O. Vinyals. "Representation Learning with Contrastive Predictive
    Coding". arXiv 1807.03748, 2018.

    Examples
    --------
    >>> import torch
    >>> from metricalign.deep.information import InfoNCE
    >>> InfoNCE().contributions(100 * torch.eye(4)).exp()
    tensor([4., 4., 4., 4.])
    """

    side = "lower"

    def contributions(self, scores: Tensor) -> Tensor:
        """Contribution of each pair."""
        n_pairs = scores.shape[-1]
        return _diagonal(scores) - scores.logsumexp(dim=-1) + log(n_pairs)

    def ceiling(self, n_pairs: int) -> float:
        """Largest value that the estimate can take, log(n_pairs)."""
        return log(n_pairs)


class NWJ(InformationBound):
    """Lower bound without a ceiling, that of Nguyen, Wainwright and Jordan.

    The mean of s_ii minus that of exp(s_ij - 1) over j other than i. Its standard error grows
    with the exponential of the information.

    References
    ----------
    X. Nguyen, M. J. Wainwright, M. I. Jordan. "Estimating divergence functionals and the likelihood
    ratio by convex risk minimization". IEEE Transactions on Information Theory 56, 2010.
    """

    side = "lower"

    def contributions(self, scores: Tensor) -> Tensor:
        """Contribution of each pair."""
        return _diagonal(scores) - _log_mean_of_others(scores - 1).exp()


class SMILE(InformationBound):
    """Estimate with clipped scores: less variance, and no bound.

    The mean of s_ii minus the logarithm of the mean of exp(clip(s_ij, -clip, clip)) over all i and
    j that differ. The critic is trained for the Jensen-Shannon divergence of pairs and others.

    Parameters
    ----------
    clip : float, default=5.0
        Largest size of a score in the second term. The larger, the less bias and the more variance.

    References
    ----------
    J. Song, S. Ermon. "Understanding the Limitations of Variational Mutual Information Estimators".
    ICLR 2020.
    """

    side = "neither"

    def __init__(self, clip: float = 5.0):
        self.clip = clip

    def contributions(self, scores: Tensor) -> Tensor:
        """Contribution of each pair."""
        others = _log_mean_of_others(scores.clamp(-self.clip, self.clip))
        log_mean = others.logsumexp(dim=-1, keepdim=True) - log(scores.shape[-1])
        # The logarithm of the mean, made linear there: its mean is the same, and so its spread.
        return _diagonal(scores) - log_mean - (others - log_mean).exp() + 1

    def loss(self, scores: Tensor) -> Tensor:
        """Minus the Jensen-Shannon divergence, up to constants."""
        n_pairs = scores.shape[-1]
        own = _diagonal(scores)
        others = softplus(scores).sum(dim=-1) - softplus(own)
        return (softplus(-own) + others / (n_pairs - 1)).mean()


class VariationalUpperBound(InformationBound):
    """Upper bound by a conditional density of y given x.

    The mean of s_ii - log(mean over j other than i of exp(s_ij)), where s_ij = log q(y_i | x_j),
    without the pair itself in the mean. It is an upper bound if q is the true density, such as that
    of a noise that one adds oneself: give it as the critic then. With a density that is learned, as
    it is by default, it falls short by as much as that fits the samples worse than the true one,
    and is said to bound neither side. No upper bound is known that needs samples only.

    References
    ----------
    B. Poole, S. Ozair, A. van den Oord, A. A. Alemi, G. Tucker. "On Variational Bounds of Mutual
    Information". ICML 2019.
    """

    side = "upper"
    holds_for_any_critic = False

    def contributions(self, scores: Tensor) -> Tensor:
        """Contribution of each pair."""
        return _diagonal(scores) - _log_mean_of_others(scores)

    def loss(self, scores: Tensor) -> Tensor:
        """Minus the log likelihood of the density."""
        return -_diagonal(scores).mean()

    def critic(self, n_features: int, n_targets: int, sizes: Sequence[int]) -> nn.Module:
        """Make an untrained conditional density."""
        return GaussianConditional(n_features, n_targets, sizes)


#: The estimators known by name. A new one is a class above and a line here.
BOUNDS: dict[str, type[InformationBound]] = {
    "infonce": InfoNCE,
    "nwj": NWJ,
    "smile": SMILE,
    "upper": VariationalUpperBound,
}


def _diagonal(scores):
    return scores.diagonal(dim1=-2, dim2=-1)


def _log_mean_of_others(scores):
    n_pairs = scores.shape[-1]
    itself = torch.eye(n_pairs, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(itself, -inf).logsumexp(dim=-1) - log(n_pairs - 1)


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes with a ReLU between them."""
    layers: list[nn.Module] = []
    for ends in pairwise(sizes):
        layers += [nn.Linear(*ends), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class SeparableCritic(nn.Module):
    """Scores that are products of images: s_ij = <f(x_j), g(y_i)>.

    Parameters
    ----------
    n_features, n_targets : int
        Number of columns of x and of y.
    sizes : sequence of int
        Number of units of the hidden layers of f and of g, and of their images, last.
    """

    def __init__(self, n_features: int, n_targets: int, sizes: Sequence[int]):
        super().__init__()
        self.of_features = perceptron([n_features, *sizes])
        self.of_targets = perceptron([n_targets, *sizes])

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Scores of all pairs, with a row for each y and a column for each x."""
        return self.of_targets(Y) @ self.of_features(X).T


class GaussianConditional(nn.Module):
    """Scores that are log densities of y given x, independent Gaussians up to constants.

    Parameters
    ----------
    n_features, n_targets : int
        Number of columns of x and of y.
    sizes : sequence of int
        Number of units of the hidden layers of the mean's deviation from a linear map, and of
        those of the variance.
    """

    def __init__(self, n_features: int, n_targets: int, sizes: Sequence[int]):
        super().__init__()
        self.linear_mean = nn.Linear(n_features, n_targets)
        self.network = perceptron([n_features, *sizes, 2 * n_targets])

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Log densities of all pairs, with a row for each y and a column for each x."""
        mean, log_variance = self.network(X).chunk(2, dim=1)
        mean = mean + self.linear_mean(X)
        precision = (-log_variance).exp()
        of_features = (mean.square() * precision + log_variance).sum(dim=1)
        return Y @ (mean * precision).T - (Y.square() @ precision.T + of_features) / 2


class MutualInformation(BaseEstimator):
    """Mutual information I(X; y) of two continuous or one-hot variables, by a trained critic.

    `fit` trains the critic on one part of the samples and stops on another; `estimate` is to be
    given samples that the critic has not seen, or it is too high.

    Parameters
    ----------
    bound : {"infonce", "nwj", "smile", "upper"} or InformationBound, default="infonce"
        The estimator: `InfoNCE`, `NWJ`, `SMILE`, `VariationalUpperBound`, or an object such as
        ``SMILE(clip=2.0)``.
    critic : torch.nn.Module or None, default=None
        Called with standardised x and y of n_pairs samples, returns their n_pairs x n_pairs
        scores, a row for each y. A copy of it is trained; one without parameters is used as it is,
        and gets x and y as they are. None: the default of the estimator.
    hidden_layer_sizes : sequence of int, default=(64, 32)
        Units of the layers of the default critic; the last ones are the images of which
        scores are products.
    batch_size : int, default=128
        Pairs in a batch, which are compared with each other.
    learning_rate : float, default=0.002
        Step length of Adam.
    weight_decay : float, default=1e-4
        Weight of the squared weights of the critic.
    max_iter : int, default=100
        Largest number of epochs.
    validation_fraction : float, default=0.2
        Part of the samples on which training stops early.
    n_iter_no_change : int, default=10
        Epochs without improvement after which to stop.
    device : str or torch.device, default="auto"
        Where to compute; ``"auto"`` is a GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches and the validation part.
    verbose : int, default=0
        Whether to print the loss of each epoch.

    Attributes
    ----------
    critic_ : torch.nn.Module
        The trained critic, on the CPU.
    bound_ : InformationBound
        The estimator.
    side_ : {"lower", "upper", "neither"}
        Which side of the information it bounds with this critic.
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
            Samples of the other: row i goes with row i of X.

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
                iterator_train=partial(_Batches, is_shuffled=True),
                iterator_valid=_Batches,
                max_epochs=self.max_iter,
                train_split=predefined_split(_Samples(X[validation], Y[validation])),
                callbacks=[
                    _FiniteLoss(),
                    EarlyStopping(patience=self.n_iter_no_change, load_best=True),
                ],
                device=device,
                verbose=self.verbose,
            ).fit(_Samples(X[training], Y[training]))
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
            Samples of the other.

        Returns
        -------
        estimate : InformationEstimate
            Value, standard error, side and ceiling, in nats. The ceiling is that of the at most
            1,024 pairs that are compared with each other.
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
        """Value of `estimate`, to choose the critic of a lower bound by.

        Parameters
        ----------
        X, y : array-like
            As for `estimate`.

        Returns
        -------
        score : float
            In nats.
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
    """A critic, called with pairs of samples."""

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


class _Samples(Dataset):
    """Tensors with a row for each sample."""

    def __init__(self, *tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, rows):
        return [tensor[rows] for tensor in self.tensors]


class _Batches:
    """Batches of at least two samples, shuffled to train on."""

    def __init__(self, samples, batch_size, is_shuffled=False):
        self.samples = samples
        self.batch_size = batch_size
        self.is_shuffled = is_shuffled

    def __iter__(self) -> Iterator[tuple[list[Tensor], Tensor]]:
        n_samples = len(self.samples)
        order = torch.randperm(n_samples) if self.is_shuffled else torch.arange(n_samples)
        for rows in gen_batches(n_samples, self.batch_size, min_batch_size=2):
            # skorch wants a target, and the loss needs none.
            yield self.samples[order[rows]], torch.empty(0)


def _location_and_scale(data) -> tuple[Any, Any]:
    scale = data.std(axis=0)
    return data.mean(axis=0), np.where(scale > 0, scale, 1.0)


class _FiniteLoss(Callback):
    """Stop with an error when training diverges."""

    def on_epoch_end(self, net, **kwargs):
        if not np.isfinite(net.history[-1, "train_loss"]):
            raise ValueError(
                f"The loss is {net.history[-1, 'train_loss']} after {len(net.history)} epochs. "
                "Decrease learning_rate, or scale X."
            )
