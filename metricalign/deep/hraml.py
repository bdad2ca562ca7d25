"""HRAML: networks that learn a distance, as one estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from metricalign._arrays import in_memory, is_dask_array, map_rows
from metricalign._decorators import _fit_context
from metricalign._estimator import keeps_last_fit, validate_data
from metricalign.deep.blueprint import Blueprint, load_networks
from metricalign.deep.device import computing_device
from metricalign.deep.embeddings import EMBEDDINGS
from metricalign.deep.fitting import NetworkFitting, n_components
from metricalign.deep.losses import LOSSES, DeepLoss
from metricalign.deep.networks import ACTIVATIONS
from metricalign.deep.samples import images_of, missing_values_explained, validate_samples
from metricalign.deep.training import OPTIMIZERS
from metricalign.features import PiecewiseLinearEncoder
from metricalign.learners.base import EmbeddingLearner
from metricalign.relations import Relation, resolve_relation

__all__ = ["HRAML"]


class HRAML(EmbeddingLearner):
    """Hierarchical relationship alignment metric learning: a network in place of a linear map.

    It trains a network so that the neighbours of its images have similar targets. The loss depends
    on the distances of the images and the relations of the targets. By default it is that of soft
    neighbours, see `metricalign.deep.SoftNeighborsLoss`. The loss of the paper is
    `metricalign.deep.AlignmentLoss`, and its network is
    ``HRAML((100, 100), loss="alignment", embedding=None, n_blocks=0)``. The loss gets the relation
    t as (t - smallest) / (largest - smallest), where `smallest` is the relation of equal targets,
    and `largest` the largest relation of 100,000 pairs of training targets.

    It has the interface of the linear metrics, so that it can replace them in a pipeline. It trains
    in float32. Tables need no preparation: they may have categories, missing values and columns of
    any unit. By default columns are standardised, unless neighbours have nearer targets without
    that, as with pixels. With ``embedding=None`` or `refine`, columns are only centred and divided
    by one number, the root of their mean variance. Scale them before if their units differ.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=()
        Number of units of each hidden layer. (): a linear map. The paper has two layers of 100.
    n_components : int, default=64
        Number of components of the images of a network.
    embedding : {"auto", "plr", "plr_lite", "piecewise_linear", "normal_scores"} or None, \
default="auto"
        How columns of numbers are mapped before the first layer:

        - ``"plr"``, ``"plr_lite"``: to normal scores (the quantiles of a normal distribution that
          have the ranks of the numbers), then waves of trained frequencies, a linear layer and
          ReLU. With ``"plr_lite"`` all columns share the layer.
        - ``"piecewise_linear"``: to the pieces of their range, as by
          `metricalign.PiecewiseLinearEncoder`.
        - ``"normal_scores"``: to normal scores only.
        - None: they are not mapped.
        - ``"auto"``: see `n_blocks`. It is None for sparse samples, more than 100 columns,
          `refine` and `module`.
    n_blocks : int or "auto", default="auto"
        Number of residual blocks after the linear map. Each has batch normalisation, 256 hidden
        units and ReLU. Without hidden layers and blocks, a network with an embedding is a sum of
        one curve for each column. With them columns act together. ``"auto"`` trains a network with
        ``"plr_lite"`` and no block, and one with two blocks and no embedding, and goes on with the
        kind of the smaller validation error. Up to 1,000 samples it trains `n_ensemble` networks of
        both kinds and of linear maps. If the loss is one of soft neighbours, it keeps all of them,
        with weights that are best for held-out samples. Else it keeps the kind of the smallest mean
        error. Without `early_stopping` it takes the first kind. If most targets are missing it is
        0, and ``embedding="auto"`` is None. With `NearNeighbor` views it is 2 then, and the samples
        themselves are kept beside the images, with the same total variance.
    dropout : float, default=0.0
        Share of the hidden units of the blocks that are dropped in each step of training.
    activation : {"elu", "gelu", "identity", "logistic", "relu", "silu", "tanh"}, default="relu"
        Activation of the hidden layers. The paper has tanh.
    normalize : bool, default=False
        Whether images, and the outputs of hidden layers with a loss, are scaled to norm 1.
    module : torch.nn.Module or None, default=None
        A network of your own, in place of the parameters above. It gets unscaled samples in
        float32, and returns their images, or a list of the outputs of several layers with the
        images last. A copy of it is trained, starting from its weights.
    n_ensemble : int, default=4
        Number of networks of a kind. They differ in their initial weights and their validation
        samples. Their squared distances are averaged, and their images are concatenated.
    refine : metric learner or None, default=None
        Linear metric learner, such as ``PSDSVR()``, from which the network starts. It is fitted to
        the samples to train on, which must fit into memory. If its relation is "auto", it gets the
        relation of this estimator. The network, or `module`, then has one more layer at its
        beginning, which is linear and is trained with the others. It starts from the symmetric root
        of c M + I / 10, where M is the learned matrix, and c is such that the total variance of the
        images of M is the number of features. With `warm_start` it is only fitted the first time.
    loss : {"auto", "alignment", "approx_ndcg", "pairwise_cross_entropy", "rank_n_contrast", \
"smooth_ap", "soft_neighbors"}, DeepLoss or torch.nn.Module, default="auto"
        Name or instance of a loss, such as ``SoftNeighborsLoss(temperature=0.5)``, or a loss of
        your own, see ``metricalign.deep.DeepLoss``. It may be a module that is called in the same
        way, whose weights are trained with those of the network. ``"auto"`` is ``"alignment"`` if
        `pairs` are given or ``"strength"``, or y is a sparse matrix of relations. Else it is
        ``"soft_neighbors"``.
    layer_weights : sequence of float or None, default=None
        Weights of the loss of each layer, with the embedding last. None: only the embedding has a
        loss. It is best used with `normalize`, since outputs of wide hidden layers start far apart.
    augment : callable, sequence of callable or None, default=None
        Functions that make random views of samples, such as ``SwapNoise()``, see
        `metricalign.deep.Augmentation`. Several are applied one after the other. With views, a
        second loss is added. It is the same function, of relations that are 0 for two views of one
        sample and 1 for all others. So ``fit(X)`` learns without targets, and ``fit(X, y)`` also
        from samples whose target is missing. The loss of views is that of the outputs of a small
        network after the images, which is dropped after training, but that of the images with
        `NearNeighbor` and ``n_blocks="auto"``.
    relation : str or callable, default="auto"
        Relation of two targets, see `metricalign.relations`.
    pairs : {"auto", "batch", "strength"} or array-like of shape (n_pairs, 2), default="auto"
        - ``"batch"``: all pairs of a batch, and those with candidates if the loss takes them.
        - ``"strength"``: each sample with a similar and a different partner. They are drawn in each
          epoch with probabilities in proportion to 1 - g and to g, where g is the relation. The
          paper samples by the strength of the relation too. This is our reading of it.
        - an array: those of these pairs whose samples are both in the training part.
        - ``"auto"``: ``"batch"`` for losses that compare all pairs, and for targets that are not
          classes. ``"strength"`` for classes, since few pairs of many classes are of the same one.
          The stored pairs for a sparse matrix of relations.
    n_candidates : int, default=2048
        Number of other samples that a loss of soft neighbours compares with each batch. They are
        drawn anew for each batch.
    optimizer : {"adam", "adamw", "sgd"}, default="adamw"
        Optimizer.
    learning_rate : float or "auto", default="auto"
        Initial learning rate. ``"auto"`` is .01, and .001 without targets.
    momentum : float, default=0.9
        Momentum of ``"sgd"``.
    weight_decay : float, default=2e-4
        Weight decay of the optimizer.
    schedule : {"cosine", "plateau"} or None, default="cosine"
        ``"cosine"`` lowers the learning rate along a cosine that is zero after `max_iter` epochs.
        ``"plateau"`` lowers it to a tenth when the training loss has not improved for
        `n_iter_no_change` // 4 epochs. None keeps it.
    averaging : float, default=0.0
        If positive, a running mean of the weights takes their place, with this decay in each step.
        A value such as 0.99 is useful without a schedule.
    batch_size : int or "auto", default="auto"
        Number of samples, or of pairs, in a batch. ``"auto"`` is a sixteenth of the number of
        samples to train on, from 32 to 256.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. ``"auto"`` is the number that makes 600 steps, from 20 to 100.
    early_stopping : bool, default=True
        Whether to set a part of the samples with targets aside for each network, to stop when the
        error of that part no longer falls, and to restore the best weights.
    validation_fraction : float, default=0.1
        Share of the samples in that part, at least 2 samples.
    n_iter_no_change : int, default=20
        Number of epochs without improvement after which training stops.
    refit : bool, default=False
        Whether to train all networks again, on all samples, for the best number of epochs.
        Otherwise each network does not learn from its validation part.
    mixed_precision : bool, default=False
        Whether to train in bfloat16, in the operations in which that is safe. This is for GPUs.
    device : str or torch.device, default="auto"
        The device on which to compute. ``"auto"`` is a GPU if there is one. The fitted network is
        kept on the CPU, so that a pickle can be opened on every machine.
    warm_start : bool, default=False
        Whether `fit` goes on from the networks of the last fit. Their architecture and their
        weights in the ensemble stay.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches and the validation part. The global generators of PyTorch
        are restored.
    verbose : int, default=0
        Whether to print the loss and the validation error of each epoch.

    Attributes
    ----------
    module_ : EmbeddingNetwork or NetworkEnsemble
        The network, or the ensemble of networks, on the CPU.
    blueprints_ : list of Blueprint or None
        Architecture of each network, such as the ``embedding`` and ``n_blocks`` that were chosen.
        None with `module`.
    table_ : PiecewiseLinearEncoder or None
        Encoder of a table with categories or missing values.
    offset_, scale_ : ndarray of shape (n_features,), float
        The input of the network is ``(X - offset_) / scale_``.
    refined_ : estimator or None
        The fitted learner from which the network, or the last of several, started.
    relation_ : TargetRelation or None
        Relation of the targets. None after ``fit(X)``.
    relation_range_ : tuple of float
        `smallest` and `largest` above.
    loss_curve_ : ndarray of shape (n_iter,)
        Mean loss of the first network in each epoch.
    validation_errors_ : ndarray of shape (n_iter,)
        Error of the first network on the validation part after each epoch. If the loss is one of
        soft neighbours, it is the loss, with the share of wrong neighbours in place of the log
        loss. Else it is the mean relation to the 5 nearest samples, or, if only some pairs have a
        relation, the share of pairs of them in the wrong order. Only with `early_stopping` and
        targets.
    n_iter_ : int
        Number of epochs of the first network.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    References
    ----------
    L. Gu. "Hierarchical Relationship Alignment Metric Learning". arXiv 2103.15107, 2021.

    L. Gu. "Representation Learning by Ranking across multiple tasks". arXiv 2103.15093, 2021.

    H.-J. Ye, H.-H. Yin, D.-C. Zhan, W.-L. Chao. "Revisiting Nearest Neighbor for Tabular Data: A
    Deep Tabular Baseline Two Decades Later". ICLR 2025, for soft neighbours.

    Y. Gorishniy, I. Rubachev, A. Babenko. "On Embeddings for Numerical Features in Tabular Deep
    Learning". NeurIPS 2022, for embeddings.

    Examples
    --------
    No linear map separates these two classes:

    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from metricalign.deep import HRAML
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(500, 4))
    >>> y = X[:, 0] * X[:, 1] > 0
    >>> learner = HRAML(n_blocks=1, n_ensemble=1, max_iter=20, random_state=0)
    >>> model = make_pipeline(learner, KNeighborsClassifier()).fit(X[:400], y[:400])
    >>> bool(model.score(X[400:], y[400:]) > 0.85)
    True
    >>> learner.transform(X).shape
    (500, 64)
    """

    blueprints_: list[Blueprint] | None
    module_: nn.Module
    offset_: NDArray | float
    refined_: Any
    scale_: NDArray | float
    table_: PiecewiseLinearEncoder | None

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "embedding": [None, StrOptions({"auto", *EMBEDDINGS})],
        "n_blocks": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "normalize": ["boolean"],
        "module": [None, nn.Module],
        "n_ensemble": [Interval(Integral, 1, None, closed="left")],
        "refine": [None, HasMethods(["fit", "get_mahalanobis_matrix"])],
        "loss": [StrOptions({"auto", *LOSSES}), DeepLoss, nn.Module],
        "layer_weights": [None, "array-like"],
        "augment": [None, callable, "array-like"],
        "relation": [str, callable],
        "pairs": [StrOptions({"auto", "batch", "strength"}), "array-like"],
        "n_candidates": [Interval(Integral, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [None, StrOptions({"cosine", "plateau"})],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "refit": ["boolean"],
        "mixed_precision": ["boolean"],
        "device": [str, torch.device],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (),
        n_components: int = 64,
        *,
        embedding: str | None = "auto",
        n_blocks: int | str = "auto",
        dropout: float = 0.0,
        activation: str = "relu",
        normalize: bool = False,
        module: nn.Module | None = None,
        n_ensemble: int = 4,
        refine: Any = None,
        loss: str | DeepLoss | nn.Module = "auto",
        layer_weights: Sequence[float] | None = None,
        augment: Callable[[Tensor], Tensor] | Sequence[Callable[[Tensor], Tensor]] | None = None,
        relation: str | Relation | Callable[[Any, Any], float] = "auto",
        pairs: str | ArrayLike = "auto",
        n_candidates: int = 2048,
        optimizer: str = "adamw",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        weight_decay: float = 2e-4,
        schedule: str | None = "cosine",
        averaging: float = 0.0,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        refit: bool = False,
        mixed_precision: bool = False,
        device: str | torch.device = "auto",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_components = n_components
        self.embedding = embedding
        self.n_blocks = n_blocks
        self.dropout = dropout
        self.activation = activation
        self.normalize = normalize
        self.module = module
        self.n_ensemble = n_ensemble
        self.refine = refine
        self.loss = loss
        self.layer_weights = layer_weights
        self.augment = augment
        self.relation = relation
        self.pairs = pairs
        self.n_candidates = n_candidates
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.averaging = averaging
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.refit = refit
        self.mixed_precision = mixed_precision
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.target_tags.required = self.augment is None
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    @keeps_last_fit
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. They must be in memory if they have categories or missing values. Memory-mapped
            arrays are read in batches. A Dask array is computed once, chunk by chunk, into a
            temporary file that is read in batches.
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_samples), \
or None, default=None
            Their targets: classes, label sets, distributions or numbers. The matrix of relations if
            ``relation="precomputed"``. With `augment`, some may be missing (NaN, None, or -1 in
            place of integer classes), or all (None).

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
        fitting = NetworkFitting(self, X, y)
        records = fitting.run()
        self.module_ = fitting.network
        is_own = self.module is not None
        self.blueprints_ = None if is_own else cast("list[Blueprint]", fitting.blueprints)
        self.table_, self.refined_ = fitting.table, fitting.refined
        self.offset_, self.scale_ = fitting.offset, fitting.scale
        self.relation_, self.relation_range_ = fitting.targets.relation, fitting.relation_range
        self._n_features_out = n_components(self.module_, fitting.n_inputs)
        self.n_iter_ = len(records[0].losses)
        self.loss_curve_ = np.array(records[0].losses)
        self.__dict__.pop("validation_errors_", None)  # of a warm start
        if records[0].errors:
            self.validation_errors_ = np.array(records[0].errors)
        return self

    def __getstate__(self):
        """Return a state with networks as arrays, for skops, unless the user gave the networks."""
        state = super().__getstate__()
        if getattr(self, "blueprints_", None) is not None:
            arrays = self.module_.state_dict()
            state["module_"] = {name: array.numpy() for name, array in arrays.items()}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        blueprints: list[Blueprint] | None = getattr(self, "blueprints_", None)
        if blueprints is not None:
            self.module_ = load_networks(blueprints, state["module_"])

    def transform(self, X: ArrayLike) -> NDArray:
        """Map samples so that Euclid's distance of the images is the learned distance.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples. Memory-mapped arrays are read in batches. A Dask array is not computed yet.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components * n_networks)
            The images, computed in float32 for samples in float32 and else in float64. A Dask array
            if X is one. There may be n_features more columns with `NearNeighbor` views, see
            `n_blocks`.
        """
        check_is_fitted(self)
        if is_dask_array(X):
            validate_data(self, X, reset=False, skip_check_array=True)
            return map_rows(self._map(), X, self._n_features_out)
        return self._map()(validate_samples(self, X, self.table_, reset=False))

    def _map(self) -> Callable[[Any], NDArray]:
        """Return a function that maps samples, or encoded samples of a table."""
        return partial(
            images_of,
            module=self.module_,
            offset=self.offset_,
            scale=self.scale_,
            n_components=self._n_features_out,
            device=computing_device(self.device),
        )

    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return how well the learned distances order pairs of samples by their relation.

        See `EmbeddingLearner.score`.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like
            Their targets, of the same kind as in `fit`. After ``fit(X)`` they may be of any kind.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            The weight of a pair is the product of the weights of its samples.

        Returns
        -------
        score : float
            Between 0 and 1. It is 0.5 for distances that do not depend on the relation.
        """
        check_is_fitted(self)
        if self.table_ is not None:
            X = validate_samples(self, X, self.table_, reset=False)
        if self.relation_ is None:
            scored = copy(self)
            scored.relation_ = resolve_relation(self.relation, in_memory(y))
            return scored.score(X, y, sample_weight)
        with missing_values_explained(self, is_fit=False):
            return super().score(X, y, sample_weight)

    def _images_to_compare(self, X):
        return super()._images_to_compare(X) if self.table_ is None else self._map()(X)

    def _differences(self, left, right):
        return self.transform(left) - self.transform(right)
