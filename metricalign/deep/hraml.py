"""HRAML: a network whose embedding distances align with the relations of the targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from tempfile import TemporaryFile
from threading import RLock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from metricalign._arrays import in_memory, is_dask_array, map_rows, stand_in
from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, level_of_call
from metricalign.deep.batches import (
    AlignmentData,
    AllPairsOfBatch,
    GivenPairs,
    StrongPairs,
    read_batch,
)
from metricalign.deep.losses import LOSSES, DeepLoss, LayeredLoss
from metricalign.deep.networks import ACTIVATIONS, EmbeddingNetwork, MultilayerPerceptron
from metricalign.learners.base import EmbeddingLearner, _concordance
from metricalign.pairs import RandomPairs, check_pairs
from metricalign.relations import (
    PrecomputedRelation,
    Relation,
    TargetRelation,
    check_targets,
    resolve_relation,
    select_targets,
)

__all__ = ["HRAML"]

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

# torch has one generator for all threads: a network is made and trained by one of them at a time.
_GENERATOR_LOCK = RLock()

# Weight of Euclid's distance beside the learned one that a network starts from: what the learner
# drops must not be lost.
_WEIGHT_OF_EUCLID = 0.1

# Rows that are read and mapped at a time outside training.
_ROWS_AT_A_TIME = 4096

# Pairs from which the range of the relations is learned, and whose order is the validation score.
_N_PAIRS_OF_RANGE, _N_PAIRS_OF_VALIDATION = 100_000, 10_000


class HRAML(EmbeddingLearner):
    """Hierarchical relationship alignment metric learning: a network in place of a linear map.

    Trains a network f so that the squared distances of the images of two samples align with the
    relation of their targets: the mean over the pairs of

        1/4 (||f(x_i) - f(x_j)||^2 - g_ij)^2,   g_ij = 4 (t_ij - smallest) / (largest - smallest)

    where t is the relation, `smallest` its value for targets that are the same, and `largest` the
    largest one of the training targets (of 100,000 pairs of them). Relations of -1 and 1 for
    classes so become 0 and 4. Squared distances from 0 to 4 are those of points on the unit
    sphere, where the images of a normalised embedding are; any other embedding reaches them too.

    It has the interface of the linear metrics, so that one is swapped for the other in a
    pipeline. Scale the features, for example with StandardScaler: the network itself only centres
    them and divides all by one number, the root of their mean variance. It trains in float32.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(100, 100)
        Number of units of each hidden layer; () for a linear map.
    n_components : int, default=32
        Dimension of the embedding.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        Activation of the hidden layers. The paper has tanh.
    normalize : bool, default=False
        Whether images, and the outputs of the hidden layers that are aligned, have length 1.
    module : torch.nn.Module or None, default=None
        A network of your own in place of `hidden_layer_sizes`, `n_components` and `activation`.
        It gets samples as they are, in float32, and returns their images, or a list of the
        outputs of several layers, the images last. A copy of it is trained, from its weights.
    refine : metric learner or None, default=None
        Linear metric learner that the network starts from, such as ``PSDSVR()``. It is fitted to
        the samples to train on, which must fit into memory, with the relation of this estimator
        if its own is "auto". The network, or `module`, then gets one more layer, which comes
        first, is linear and is trained with the others. It starts from the symmetric root of
        c M + I / 10, where M is the learned matrix, and c brings the total variance of its images
        to the number of features. With `warm_start` it is only fitted the first time.
    loss : {"alignment", "approx_ndcg"}, DeepLoss or torch.nn.Module, default="alignment"
        The loss above; the ranking loss ``metricalign.deep.ApproxNDCGLoss``; an instance such as
        ``AlignmentLoss(largest_distance=2.0)``, or one of your own, see
        ``metricalign.deep.DeepLoss``. A module that is called like one may have weights, which
        are trained with those of the network.
    layer_weights : sequence of float or None, default=None
        Weights of the loss of each layer, the embedding last: relations are aligned in all layers
        with a positive weight. None: only in the embedding. Best with `normalize`, since outputs
        of wide hidden layers start far apart.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`.
    pairs : {"auto", "batch", "strength"} or array-like of shape (n_pairs, 2), default="auto"
        - ``"batch"``: all pairs inside a batch.
        - ``"strength"``: each sample with a similar and a different partner, drawn in each epoch
          with probabilities proportional to 4 - g and to g. The paper samples by the strength of
          the relation too; this is our reading of how.
        - an array: these pairs of samples, as far as both are in the training part.
        - ``"auto"``: ``"strength"`` for classes, since few pairs of many classes are of the same
          one, and ``"batch"`` otherwise and for losses that rank; for a sparse matrix of relations
          the pairs that it stores.
    optimizer : {"adam", "adamw", "sgd"}, default="adam"
        Optimizer.
    learning_rate : float, default=0.001
        Initial step length.
    momentum : float, default=0.9
        Momentum of ``"sgd"``.
    weight_decay : float, default=1e-4
        Weight of the squared weights of the network, as the optimizer understands it.
    schedule : {"cosine", "plateau"} or None, default="cosine"
        Lower the learning rate along a cosine that is zero after `max_iter` epochs, or to a tenth
        when the training loss has not improved for `n_iter_no_change` // 4 epochs, or never.
    batch_size : int, default=64
        Samples, or pairs, in a batch.
    max_iter : int, default=200
        Largest number of epochs.
    early_stopping : bool, default=True
        Whether to set a part of the training data aside, to stop when the `score` on it no longer
        improves, and to restore the weights that were best.
    validation_fraction : float, default=0.1
        Size of that part, at least 2 samples.
    n_iter_no_change : int, default=20
        Epochs without improvement after which to stop.
    device : str or torch.device, default="auto"
        Where to compute; ``"auto"`` is a GPU if there is one. The fitted network is kept on the
        CPU, so that a pickle opens on every machine.
    warm_start : bool, default=False
        Whether `fit` goes on from the network of the last fit, whose shape it keeps.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches and the validation part. The global generators of
        PyTorch are left as they are.
    verbose : int, default=0
        Whether to print the loss and the validation score of each epoch.

    Attributes
    ----------
    module_ : EmbeddingNetwork
        The network, on the CPU.
    offset_, scale_ : ndarray of shape (n_features,), float
        The network gets ``(X - offset_) / scale_``.
    refined_ : estimator or None
        The fitted learner that the network started from.
    relation_ : TargetRelation
        Relation of the targets.
    relation_range_ : tuple of float
        `smallest` and `largest` above.
    loss_curve_ : ndarray of shape (n_iter,)
        Mean loss in each epoch.
    validation_scores_ : ndarray of shape (n_iter,)
        `score` on the validation part (of at most 10,000 pairs) after each epoch. Only with
        `early_stopping`.
    n_iter_ : int
        Number of epochs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    References
    ----------
    L. Gu. "Hierarchical Relationship Alignment Metric Learning". arXiv 2103.15107, 2021.

    L. Gu. "Representation Learning by Ranking across multiple tasks". arXiv 2103.15093, 2021.

    Examples
    --------
    Two classes that no linear map can bring apart:

    >>> import numpy as np
    >>> from metricalign.deep import HRAML
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(500, 4))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> learner = HRAML(max_iter=60, random_state=0).fit(X[:400], y[:400])
    >>> bool(learner.score(X[400:], y[400:]) > 0.8)
    True
    >>> learner.transform(X).shape
    (500, 32)
    """

    offset_: NDArray | float
    scale_: float

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "normalize": ["boolean"],
        "module": [None, nn.Module],
        "refine": [None, HasMethods(["fit", "get_mahalanobis_matrix"])],
        "loss": [StrOptions(set(LOSSES)), DeepLoss, nn.Module],
        "layer_weights": [None, "array-like"],
        "relation": [str, callable],
        "pairs": [StrOptions({"auto", "batch", "strength"}), "array-like"],
        "optimizer": [StrOptions(set(_OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [None, StrOptions({"cosine", "plateau"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100, 100),
        n_components: int = 32,
        *,
        activation: str = "relu",
        normalize: bool = False,
        module: nn.Module | None = None,
        refine: Any = None,
        loss: str | DeepLoss | nn.Module = "alignment",
        layer_weights: Sequence[float] | None = None,
        relation: str | Relation | Callable[[Any, Any], float] = "auto",
        pairs: str | ArrayLike = "auto",
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: str | None = "cosine",
        batch_size: int = 64,
        max_iter: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        device: str | torch.device = "auto",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_components = n_components
        self.activation = activation
        self.normalize = normalize
        self.module = module
        self.refine = refine
        self.loss = loss
        self.layer_weights = layer_weights
        self.relation = relation
        self.pairs = pairs
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Memory-mapped arrays are read in batches. A Dask array is computed once, chunk
            by chunk, into a temporary file that is read in batches.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples)
            Their targets: classes, label sets, distributions or numbers; or the matrix of
            relations, if ``relation="precomputed"``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument is not valid, nothing can be learned from the data, or the loss
            becomes infinite or NaN.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        starts_warm = self.warm_start and hasattr(self, "module_")
        device, loss = self._device(), self._loss()
        X = self._validate_samples(X, reset=not starts_warm, ensure_min_samples=2)
        y = in_memory(y)
        relation = resolve_relation(self.relation, y)
        targets = relation.encode(y, X.shape[0])
        random_state = check_random_state(self.random_state)
        training, validation = self._split(X.shape[0], random_state)
        if starts_warm:
            offset, scale = self.offset_, self.scale_
        else:
            offset, scale = (0.0, 1.0) if self.module is not None else _location_and_scale(X)
        range_ = _range(relation, targets, training)
        data = AlignmentData(X, training, offset, scale, relation, targets, *range_)
        batches = partial(self._batches(data, loss), random_state=random_state)
        callbacks = self._callbacks(data, validation)
        optimizer_options = {"optimizer__weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            optimizer_options["optimizer__momentum"] = self.momentum
        refined = start = None
        if starts_warm:
            refined = self.refined_
        elif self.refine is not None:
            refined, start = self._start(X, y, targets, np.sort(training), scale)
        with _seeded(random_state, device):
            net = NeuralNet(
                deepcopy(self.module_) if starts_warm else self._network(X.shape[1], start),
                criterion=LayeredLoss(loss, self.layer_weights),
                optimizer=_OPTIMIZERS[self.optimizer],
                lr=self.learning_rate,
                **optimizer_options,
                iterator_train=batches,
                batch_size=self.batch_size,
                max_epochs=self.max_iter,
                train_split=None,
                callbacks=callbacks,
                device=device,
                verbose=self.verbose,
            ).fit(data)
        self.offset_, self.scale_ = offset, scale
        self.refined_: Any = refined
        self.relation_, self.relation_range_ = relation, range_
        self._store(net)
        return self

    def _callbacks(self, data, validation):
        """What is done after each epoch."""
        callbacks = [_WholeEpoch(self._whole_epochs), _FiniteLoss()]
        patience = self.n_iter_no_change
        if self.early_stopping:
            pairs = _pairs_among(validation, data.relation, data.targets, _N_PAIRS_OF_VALIDATION)
            callbacks += [
                _ValidationScore(data, pairs),
                EarlyStopping(
                    "valid_score", patience=patience, lower_is_better=False, load_best=True
                ),
            ]
        if self.schedule == "cosine":
            callbacks.append(LRScheduler("CosineAnnealingLR", T_max=self.max_iter))
        elif self.schedule == "plateau":
            callbacks.append(
                LRScheduler("ReduceLROnPlateau", monitor="train_loss", patience=patience // 4)
            )
        return callbacks

    def _store(self, net):
        """Set the attributes that training sets."""
        # On the CPU, so that a pickle opens on every machine.
        self.module_ = net.module_.to("cpu").eval()
        with torch.no_grad():
            self._n_features_out = self.module_(torch.zeros(1, self.n_features_in_))[-1].shape[1]
        epochs = self._whole_epochs(net)
        self.n_iter_ = len(epochs)
        self.loss_curve_ = np.array([epoch["train_loss"] for epoch in epochs])
        stopped_early = False
        if self.early_stopping:
            self.validation_scores_ = np.array([epoch["valid_score"] for epoch in epochs])
            stopped_early = dict(net.callbacks_)["EarlyStopping"].misses_ >= self.n_iter_no_change
        if self.n_iter_ < self.max_iter and not stopped_early:
            warnings.warn(
                f"{type(self).__name__} was interrupted in epoch {self.n_iter_ + 1} of "
                f"{self.max_iter}. It is fitted, with the best weights so far.",
                UserWarning,
                stacklevel=level_of_call(),
            )

    def _whole_epochs(self, net) -> list[dict]:
        """Records of the epochs; one that was interrupted lacks the last of what is recorded."""
        last = "valid_score" if self.early_stopping else "train_loss"
        return [epoch for epoch in net.history if last in epoch]

    def transform(self, X: ArrayLike) -> NDArray:
        """Map samples so that Euclid's distance of the images is the learned distance.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Memory-mapped arrays are read in batches; of a Dask array nothing is computed
            yet.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The images: computed in float32 for samples in float32, else in float64. A Dask array
            if X is one.
        """
        check_is_fitted(self)
        images = partial(
            _images,
            module=self.module_,
            offset=self.offset_,
            scale=self.scale_,
            n_components=self._n_features_out,
            device=self._device(),
        )
        if is_dask_array(X):
            validate_data(self, X, reset=False, skip_check_array=True)
            return map_rows(images, X, self._n_features_out)
        return images(self._validate_samples(X, reset=False))

    def _differences(self, left, right):
        return self.transform(left) - self.transform(right)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device={self.device!r} cannot be used: {error}. Use 'auto' or 'cpu'."
            ) from error
        return device

    def _loss(self) -> DeepLoss | nn.Module:
        loss = LOSSES[self.loss]() if isinstance(self.loss, str) else deepcopy(self.loss)
        if isinstance(loss, DeepLoss):
            loss._validate_params()
        return loss

    def _start(self, X, y, targets, rows, scale):
        """A linear metric learned from the samples to train on, and the layer that starts there."""
        refined = self._with_relation(self.refine)
        is_precomputed = isinstance(self.relation, str) and self.relation == "precomputed"
        y = targets if is_precomputed else check_targets(y)
        y = select_targets(y, rows, is_precomputed=is_precomputed)
        X = X[rows]
        variance = refined.fit(X, y).transform(X).var(axis=0).sum()
        matrix = _WEIGHT_OF_EUCLID * np.eye(X.shape[1])
        if variance > 0:
            matrix += refined.get_mahalanobis_matrix() * (len(matrix) * scale**2 / variance)
        # The symmetric root, the only one that does not turn with rounding.
        eigenvalues, eigenvectors = np.linalg.eigh(matrix)
        return refined, (eigenvectors * np.sqrt(eigenvalues)) @ eigenvectors.T

    def _network(self, n_features, start) -> nn.Module:
        if self.module is not None:
            module = deepcopy(self.module)
        else:
            sizes = (n_features, *self.hidden_layer_sizes, self.n_components)
            if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
                raise ValueError(
                    "hidden_layer_sizes must be positive integers, the number of units of each "
                    f"hidden layer; got {self.hidden_layer_sizes!r}."
                )
            module = MultilayerPerceptron(sizes, self.activation)
        if start is not None:
            first = nn.Linear(n_features, n_features, bias=False)
            first.weight.data = torch.from_numpy(start.astype(np.float32))
            module = nn.Sequential(first, module)
        return EmbeddingNetwork(module, self.normalize)

    def _validate_samples(self, X, reset=True, **options):
        if is_dask_array(X):
            # An array of its shape stands for X; the entries are checked as they are computed.
            options |= {"dtype": None, "ensure_all_finite": False}
            validate_data(self, stand_in(X), reset=reset, **options)
            return _on_disk(X, self)
        if not (isinstance(X, np.memmap) or hasattr(type(X), "chunks")):
            return validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                **options,
            )
        # The checks of scikit-learn batch by batch, since the whole may not fit into memory.
        for rows in gen_batches(X.shape[0], _ROWS_AT_A_TIME):
            check_array(read_batch(X, rows), input_name="X", copy=False, estimator=self)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    def _split(self, n_samples, random_state):
        """Samples to train on, and those to validate on."""
        order = random_state.permutation(n_samples)
        if not self.early_stopping:
            return order, order[:0]
        n_validation = max(2, int(np.ceil(self.validation_fraction * n_samples)))
        if n_samples - n_validation < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of n_samples={n_samples} leaves "
                "fewer than 2 samples to train on. Decrease it, or set early_stopping=False."
            )
        return order[n_validation:], order[:n_validation]

    def _batches(self, data, loss):
        """What makes the batches of an epoch."""
        is_stored = data.relation.kind == "precomputed" and sparse.issparse(data.targets)
        needs_all_pairs = getattr(loss, "needs_all_pairs", False)
        pairs = self.pairs
        if isinstance(pairs, str) and pairs == "auto":
            if is_stored:
                pairs = data.relation.stored_pairs(data.targets)
            elif data.relation.is_of_classes and not needs_all_pairs:
                pairs = "strength"
            else:
                pairs = "batch"
        if needs_all_pairs and not (isinstance(pairs, str) and pairs == "batch"):
            raise ValueError(
                f"loss={self.loss!r} compares all samples of a batch with each other, which needs "
                "pairs='batch' and the relation of every pair."
            )
        if isinstance(pairs, str):
            if is_stored:
                raise ValueError(
                    f"pairs={pairs!r} needs the relation of every pair, but the sparse y has only "
                    "those that it stores. Use pairs='auto'."
                )
            return {"batch": AllPairsOfBatch, "strength": StrongPairs}[pairs]
        pairs = check_pairs(pairs, data.X.shape[0])
        pairs = pairs[np.isin(pairs, data.rows).all(axis=1)]
        if len(pairs) == 0:
            raise ValueError(
                "No pair has both samples in the part of the data to train on. Decrease "
                "validation_fraction, or set early_stopping=False."
            )
        batches = (pairs[rows] for rows in gen_batches(len(pairs), _ROWS_AT_A_TIME))
        if not any(
            np.any(read_batch(data.X, batch[:, 0]) != read_batch(data.X, batch[:, 1]))
            for batch in batches
        ):
            raise ValueError(
                "pairs: both samples of every pair have the same features, so no distance can be "
                "learned. Give pairs of samples that differ."
            )
        return partial(GivenPairs, pairs=pairs)


class _WholeEpoch(Callback):
    """Pass on an interrupt of the first epoch, which skorch takes for the end of training."""

    def __init__(self, whole_epochs):
        self.whole_epochs = whole_epochs

    def on_train_end(self, net, **kwargs):
        if not self.whole_epochs(net):
            raise KeyboardInterrupt


class _FiniteLoss(Callback):
    """Stop with an error when training diverges."""

    def on_epoch_end(self, net, **kwargs):
        if not np.isfinite(net.history[-1, "train_loss"]):
            raise ValueError(
                f"The loss is {net.history[-1, 'train_loss']} after {len(net.history)} epochs. "
                "Decrease learning_rate, or scale X."
            )


class _ValidationScore(Callback):
    """Record how well the embedding orders pairs that it was not trained on."""

    def __init__(self, data, pairs):
        self.data = data
        self.pairs = pairs

    def initialize(self):
        self.samples_, self.positions_ = np.unique(self.pairs, return_inverse=True)
        self.relations_ = self.data.relations(self.pairs).round(12)
        return self

    def on_epoch_end(self, net, **kwargs):
        batches = gen_batches(len(self.samples_), _ROWS_AT_A_TIME)
        net.module_.eval()
        with torch.no_grad():
            images = torch.cat(
                [net.infer(self.data.samples(self.samples_[rows]))[-1] for rows in batches]
            )
        left, right = images[self.positions_.reshape(-1, 2)].unbind(1)
        distances = (left - right).norm(dim=1).cpu().numpy()
        score = _concordance(distances, self.relations_, np.ones(len(distances)))
        net.history.record("valid_score", score)


def _pairs_among(rows, relation: TargetRelation, targets, n_pairs) -> NDArray:
    """At most so many random pairs of the given samples whose relation is known."""
    if isinstance(relation, PrecomputedRelation):
        pairs = relation.stored_pairs(targets)
        pairs = pairs[np.isin(pairs, rows).all(axis=1)]
        if len(pairs) == 0:
            raise ValueError(
                "y stores no relation of two samples of the same part of the data. Set "
                "early_stopping=False, or change validation_fraction."
            )
        return np.random.RandomState(0).permutation(pairs)[:n_pairs]
    positions = np.arange(len(rows), dtype=np.float64)[:, None]
    return rows[RandomPairs(n_pairs).select(positions, random_state=0).indices]


def _range(relation: TargetRelation, targets, rows) -> tuple[float, float]:
    """Relation of targets that are the same, and of those that differ most."""
    pairs = _pairs_among(rows, relation, targets, _N_PAIRS_OF_RANGE)
    relations = relation(targets, pairs)
    smallest, largest = relations.min(), relations.max()
    if relation.kind != "precomputed":
        smallest = min(smallest, relation(targets, np.stack([rows, rows], axis=1)).min())
    if smallest == largest:
        raise ValueError(
            f"y is constant in the part of the data to train on: all relations are {largest:g}. "
            "Use more samples, or set early_stopping=False."
        )
    return float(smallest), float(largest)


def _on_disk(X, estimator) -> np.memmap:
    """A Dask array as a temporary file: a batch of random rows would compute all its chunks."""
    with TemporaryFile() as file:
        for start, end in pairwise(np.cumsum([0, *X.chunks[0]])):
            rows = read_batch(X, slice(start, end))
            check_array(rows, input_name="X", ensure_min_samples=0, estimator=estimator)
            rows.tofile(file)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        return np.memmap(file, dtype, "r", shape=X.shape)


def _images(X, module, offset, scale, n_components, device) -> NDArray:
    """What the network makes of samples."""
    dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
    module = deepcopy(module).to(device, getattr(torch, dtype.name))
    images = np.empty((X.shape[0], n_components), dtype)
    with torch.no_grad():
        for start in range(0, X.shape[0], _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            batch = (read_batch(X, rows) - offset) / scale
            batch = torch.from_numpy(batch.astype(dtype, copy=False)).to(device)
            images[rows] = module(batch)[-1].cpu().numpy()
    return images


def _location_and_scale(X) -> tuple[NDArray, float]:
    """Mean of the samples, and root of the mean variance of the features."""
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in gen_batches(X.shape[0], _ROWS_AT_A_TIME):
            scaler.partial_fit(read_batch(X, rows))
    scale = float(np.sqrt(scaler.var_.mean()))
    if not 0 < scale < np.inf:
        raise ValueError(
            "All samples are identical in X, so no distance can be learned from them."
            if scale == 0
            else "X has entries so large that their squares overflow. Scale X."
        )
    return scaler.mean_, scale


@contextmanager
def _seeded(random_state, device) -> Iterator[None]:
    """Seed the generators of torch from ours, and leave them as they were."""
    with _GENERATOR_LOCK, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(random_state.randint(2**31 - 1))
        yield
