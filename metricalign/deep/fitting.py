"""A fit of HRAML: from its parameters and the data to trained networks."""

from __future__ import annotations

import warnings
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import cycle
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from torch import nn

from metricalign._arrays import in_memory
from metricalign._estimator import level_of_call
from metricalign.deep.augmentations import Augmentation, check_augmentations
from metricalign.deep.batches import JointBatches, choose_batches
from metricalign.deep.blueprint import N_BLOCKS, Blueprint, architectures
from metricalign.deep.combination import weights_of_kinds
from metricalign.deep.data import AlignmentData, SampleData, ViewData
from metricalign.deep.device import computing_device, seeded
from metricalign.deep.embeddings import EMBEDDINGS, column_pieces
from metricalign.deep.losses import LOSSES, DeepLoss, SoftNeighborsLoss
from metricalign.deep.networks import EmbeddingNetwork, NetworkEnsemble
from metricalign.deep.objectives import TargetObjective, ViewObjective
from metricalign.deep.refinement import refined_start
from metricalign.deep.samples import (
    columns_of,
    encoder_of,
    location_and_scales,
    number_columns,
    validate_samples,
)
from metricalign.deep.selection import Split, Trained, split_samples, train_all
from metricalign.deep.targets import known_targets
from metricalign.deep.training import Training, TrainingRecord
from metricalign.deep.units import share_a_unit
from metricalign.deep.validation import pairs_among
from metricalign.learners.base import require_chosen_pairs, with_relation
from metricalign.relations import TargetRelation, resolve_relation

__all__ = ["NetworkFitting", "n_components"]

# Number of pairs from which the range of the relations is estimated.
_N_PAIRS_OF_RANGE = 100_000

# Number of samples from which the pieces of the columns are learned.
_N_ROWS_OF_PIECES = 20_000

# Number of samples from which the variance of images is estimated.
_N_ROWS_OF_VARIANCE = 2000

# learning_rate="auto", with targets and without. With views alone, a larger rate lets a network
# forget what neighbours need.
_LEARNING_RATE, _LEARNING_RATE_OF_VIEWS = 0.01, 0.001

# Up to so many samples, networks of all kinds are kept, and a linear map is one of the kinds. With
# 300 samples the errors of 16 development sets are 4 % smaller than with the best kind alone.
_FEW = 1000

# With "auto": about so many steps, between these numbers of epochs, in batches between these sizes.
_N_STEPS, _EPOCHS, _BATCH_SIZES = 600, (20, 100), (32, 256)


class NetworkFitting:
    """One fit of `HRAML`: it resolves parameters that are "auto", and trains the networks.

    Parameters
    ----------
    learner : HRAML
        The estimator, whose parameters are used. With `warm_start`, the fit goes on from its fitted
        attributes. Only the number and the names of its features are set here.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like or None
        Targets.

    Attributes
    ----------
    table : PiecewiseLinearEncoder or None
        Encoder of a table with categories or missing values.
    n_inputs : int
        Number of columns of the input of a network.
    targets : KnownTargets
        The targets.
    relation_range : tuple of float
        Relation of equal targets, and of the most different ones.
    offset, scale : ndarray of shape (n_inputs,) or float
        The input of the networks is (X - offset) / scale.
    network : EmbeddingNetwork or NetworkEnsemble
        The trained network, or networks, on the CPU.
    blueprints : list of Blueprint or None
        Blueprint of each network. [None] if the user gave a module.
    refined : estimator or None
        The fitted learner that the last network started from.

    Raises
    ------
    ValueError
        If the data are not valid, or the parameters do not fit them.
    """

    network: nn.Module

    def __init__(self, learner: Any, X: Any, y: Any):
        self.learner = learner
        if y is None:
            self._check_learns_without_targets()
        augmentations = [] if learner.augment is None else check_augmentations(learner.augment)
        self.starts_warm = learner.warm_start and hasattr(learner, "module_")
        self.device = computing_device(learner.device)
        self.table = learner.table_ if self.starts_warm else encoder_of(X)
        self.X = X = validate_samples(
            learner, X, self.table, reset=not self.starts_warm, ensure_min_samples=2
        )
        n_samples, self.n_inputs = X.shape
        self.targets = known_targets(
            learner.relation, in_memory(y), n_samples, len(augmentations) > 0
        )
        self.random_state = check_random_state(learner.random_state)
        self.splits = self._splits(self.random_state.permutation(n_samples))
        self.numbers = number_columns(self.n_inputs, self.table)
        kinds = self._architectures()
        self.offset: Any = 0.0
        self.scale: Any = 1.0
        if self.starts_warm:
            self.offset, self.scale = learner.offset_, learner.scale_
        elif learner.module is None and self.table is None:
            self.offset, self.scale = self._location_and_scale(kinds[0][0] is not None)
        self.keeps_samples, self.has_head = False, True
        if 2 * self.targets.is_known.sum() < n_samples and learner.n_blocks == "auto":
            # There are too few targets to compare networks. A linear map had better neighbours,
            # except with views that are near neighbours.
            keeps_samples = any(getattr(views, "keeps_samples", False) for views in augmentations)
            n_blocks = N_BLOCKS if keeps_samples else 0
            kinds = [(None if learner.embedding == "auto" else kinds[0][0], n_blocks)]
            self.has_head = not keeps_samples
            self.keeps_samples = keeps_samples and learner.module is None and not self.starts_warm
        self.data = SampleData(X, self.offset, self.scale, self.device)
        self.objectives: list[Any] = []
        self.relation_range = (0.0, 1.0)
        if self.targets.relation is not None:
            objective = self._target_objective()
            self.objectives.append(objective)
            self.relation_range = (objective.data.smallest, objective.data.largest)
        if augmentations:
            self.objectives.append(self._view_objective(augmentations))
        self.blueprints: list[Blueprint | None] = [None]
        if learner.module is None and not self.starts_warm:
            self.blueprints = [self._blueprint(kind) for kind in kinds]
        self.training = self._training()
        self.refined = learner.refined_ if self.starts_warm else None

    def run(self) -> list[TrainingRecord]:
        """Train the networks.

        Returns
        -------
        records : list of TrainingRecord
            One for each network. If the user stopped the training, there may be fewer, and a
            warning says so.
        """
        with seeded(self.random_state, self.device):
            trained = self._train_on() if self.starts_warm else self._train_anew()
        n_of_each = [len(records) for records in trained.records]
        weights = np.repeat(trained.weights / n_of_each, n_of_each)
        self.blueprints = np.repeat(np.array(trained.blueprints, dtype=object), n_of_each).tolist()
        records = [record for records in trained.records for record in records]
        networks = [record.network for record in records]
        if self.keeps_samples:
            first: Any = self.blueprints[0]
            self.blueprints.append(replace(first, n_components=None))
            networks.append(self._network(self.blueprints[-1]))
            weights = np.append(weights, self._weight_of_last(networks, weights))
        network = networks[0] if len(networks) == 1 else NetworkEnsemble(networks, weights)
        # The network is moved to the CPU, so that a pickle can be opened on every machine.
        self.network = network.to("cpu").eval()
        if trained.interrupted is not None:
            warnings.warn(
                f"{type(self.learner).__name__} was interrupted in epoch {trained.interrupted} of "
                "a network. It is fitted, with the best weights so far.",
                UserWarning,
                stacklevel=level_of_call(),
            )
        return records

    def _train_anew(self) -> Trained:
        # If there are few samples, a single validation part would decide by chance.
        n_compared = len(self.splits) if self._is_few else 1
        weigh = None
        if self._is_few and isinstance(self.objectives[0].loss, SoftNeighborsLoss):
            weigh = partial(
                weights_of_kinds,
                splits=self.splits,
                data=self.objectives[0].data,
                loss=self.objectives[0].loss,
            )
        return train_all(
            self._train, self.blueprints, self.splits, self.learner.refit, n_compared, weigh
        )

    def _train_on(self) -> Trained:
        """Go on training the networks of the last fit. Their weights in the ensemble stay."""
        last: Any = deepcopy(self.learner.module_)
        networks = list(getattr(last, "networks", [last]))
        weights = np.ones(1)
        if isinstance(last, NetworkEnsemble):
            weights = np.square(last.scales.numpy())
        records: list[list[TrainingRecord]] = []
        interrupted = None
        for network, split in zip(networks, cycle(self.splits), strict=False):
            if interrupted is not None:
                records.append([TrainingRecord(network, [], [], 0, False)])
                continue
            record = self._train(None, split, network=network)
            records.append([record])
            if record.is_interrupted:
                interrupted = len(record.losses) + 1
        blueprints = self.learner.blueprints_ or [None] * len(networks)
        return Trained(blueprints, records, weights, interrupted)

    @torch.no_grad()
    def _weight_of_last(self, networks, weights) -> float:
        """Return the weight with which the last network has the total variance of the others."""
        split = self.splits[0]
        rows = np.concatenate([split.training, split.unlabelled])[-_N_ROWS_OF_VARIANCE:]
        samples = self.data.samples(np.sort(rows))
        *of_others, of_last = [
            float(network.to(self.device).eval()(samples)[-1].var(dim=0).sum())
            for network in networks
        ]
        return float(weights @ of_others / of_last)

    def _train(self, blueprint, split, n_epochs=None, network: Any = None) -> TrainingRecord:
        """Train a new network, or go on with a given one, unless that has no weights."""
        if network is not None and not list(network.parameters()):
            return TrainingRecord(network, [], [], 0, False)
        if network is None:
            network = self._network(blueprint)
            if self.learner.refine is not None:
                self._refine(network, np.sort(split.training))
        n_outputs = n_components(network, self.n_inputs)
        weights = self.learner.layer_weights
        return self.training.run(
            network,
            nn.ModuleList(objective.criterion(weights, n_outputs) for objective in self.objectives),
            JointBatches(
                [objective.batches(split, self.random_state) for objective in self.objectives]
            ),
            self.objectives[0].error(split) if len(split.validation) else None,
            n_epochs,
            self._report if self.learner.verbose else None,
        )

    def _report(self, line):
        print(f"[{type(self.learner).__name__}] {line}", flush=True)

    def _check_learns_without_targets(self):
        learner = self.learner
        if learner.augment is None:
            raise ValueError(
                f"This {type(learner).__name__} estimator requires y to be passed, but the target "
                "y is None. To learn without targets, give augment, such as augment=SwapNoise()."
            )
        if learner.refine is not None:
            raise ValueError("refine learns a metric from targets, but y is None. Use refine=None.")
        if not isinstance(learner.pairs, str) or learner.pairs == "strength":
            raise ValueError(
                f"pairs={learner.pairs!r} are of samples with targets, but y is None. Use "
                "pairs='auto'."
            )

    def _splits(self, order) -> list[Split]:
        """Split the samples, for each network, into those to train on and to validate on."""
        learner = self.learner
        if self.targets.relation is None:
            return split_samples(order, None, learner.n_ensemble, order[:0])
        is_known = self.targets.is_known[order]
        fraction = learner.validation_fraction if learner.early_stopping else None
        return split_samples(order[is_known], fraction, learner.n_ensemble, order[~is_known])

    def _location_and_scale(self, is_embedded: bool) -> tuple[NDArray, NDArray | float]:
        """Return the means of the columns and their scales, or one scale if they share a unit."""
        learner, targets = self.learner, self.targets
        offset, scales, scale = location_and_scales(self.X)
        is_free = learner.embedding == "auto" and learner.refine is None
        if not is_free or sparse.issparse(self.X) or targets.relation is None:
            return offset, scales if is_embedded else scale
        if sparse.issparse(targets.encoded) and targets.relation.kind == "precomputed":
            return offset, scales
        rows = self.splits[0].training
        share = share_a_unit(self.X, scales, targets.relation, targets.encoded, rows)
        return offset, scale if share else scales

    def _target_objective(self) -> TargetObjective:
        relation: Any = self.targets.relation
        encoded = self.targets.encoded
        loss = self._loss(relation, encoded)
        rows = self.splits[0].training
        range_ = _range(relation, encoded, rows)
        data = AlignmentData(self.data, relation, encoded, *range_, loss, self.targets.is_known)
        batches = choose_batches(
            data,
            loss,
            self.learner.pairs,
            self._batch_size(len(rows)),
            self.learner.n_candidates,
            [split.training for split in self.splits],
        )
        return TargetObjective(data, loss, batches)

    def _view_objective(self, augmentations) -> ViewObjective:
        # The class of a view is the sample of which it is a view.
        loss = self._loss(resolve_relation("class", [0, 1]), None)
        if getattr(loss, "needs_targets", False):
            raise ValueError(
                f"loss={self.learner.loss!r} averages targets, which views of samples do not have. "
                "Use loss='auto'."
            )
        if self.table is not None:
            columns = torch.from_numpy(columns_of(self.table)).to(self.device)
            augmentations = [
                augmentation.for_columns(columns)
                if isinstance(augmentation, Augmentation)
                else augmentation
                for augmentation in augmentations
            ]
        takes_candidates = getattr(loss, "takes_candidates", False)
        return ViewObjective(
            ViewData(self.data, augmentations),
            loss,
            self._batch_size(self._n_rows),
            self.learner.n_candidates if takes_candidates else 0,
            self.has_head,
        )

    def _loss(self, relation, targets) -> DeepLoss | nn.Module:
        loss: Any = self.learner.loss
        if isinstance(loss, str) and loss == "auto":
            pairs = self.learner.pairs
            is_stored = sparse.issparse(targets) and relation.kind == "precomputed"
            names_pairs = not isinstance(pairs, str) or pairs == "strength"
            loss = "alignment" if is_stored or names_pairs else "soft_neighbors"
        loss = LOSSES[loss]() if isinstance(loss, str) else deepcopy(loss)
        if isinstance(loss, DeepLoss):
            loss._validate_params()
            loss = loss.for_relation(relation)
        return loss

    @property
    def _is_few(self) -> bool:
        """Whether there are so few samples that networks of all kinds are kept."""
        return bool(self.X.shape[0] <= _FEW)

    @property
    def _n_rows(self) -> int:
        """Number of samples that a network is trained on."""
        return len(self.splits[0].training) + len(self.splits[0].unlabelled)

    def _batch_size(self, n_rows) -> int:
        if isinstance(self.learner.batch_size, str):
            return int(np.clip(n_rows // 16, *_BATCH_SIZES))
        return self.learner.batch_size

    def _training(self) -> Training:
        learner = self.learner
        learning_rate, n_epochs = learner.learning_rate, learner.max_iter
        if isinstance(learning_rate, str):
            has_targets = self.targets.relation is not None
            learning_rate = _LEARNING_RATE if has_targets else _LEARNING_RATE_OF_VIEWS
        if isinstance(n_epochs, str):
            n_batches = int(np.ceil(self._n_rows / self._batch_size(self._n_rows)))
            n_epochs = int(np.clip(np.ceil(_N_STEPS / n_batches), *_EPOCHS))
        return Training(
            learner.optimizer,
            learning_rate,
            learner.momentum,
            learner.weight_decay,
            learner.schedule,
            learner.averaging,
            n_epochs,
            learner.n_iter_no_change,
            self.device,
            learner.mixed_precision,
        )

    def _architectures(self) -> list[tuple[str | None, int]]:
        """Return embeddings and numbers of blocks to choose from, see `architectures`."""
        learner = self.learner
        if learner.module is not None:
            return [(None, 0)]
        can_embed = learner.refine is None and not sparse.issparse(self.X)
        return architectures(
            learner.embedding, learner.n_blocks, len(self.numbers), can_embed, self._is_few
        )

    def _blueprint(self, architecture) -> Blueprint:
        learner, n_inputs = self.learner, self.n_inputs
        embedding, n_blocks = architecture
        edges: list[NDArray | None] = []
        shares: list[NDArray | None] = []
        if embedding is not None:
            rows = np.sort(self.random_state.permutation(self.X.shape[0])[:_N_ROWS_OF_PIECES])
            columns = self.data.samples(rows).cpu().numpy()[:, self.numbers].astype(np.float64)
            edges, shares = [None] * n_inputs, [None] * n_inputs
            pieces = column_pieces(columns, EMBEDDINGS[embedding].n_bins)
            for number, ends, share in zip(self.numbers, *pieces, strict=True):
                edges[number], shares[number] = ends, share
        sizes = tuple(learner.hidden_layer_sizes)
        if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
            raise ValueError(
                "hidden_layer_sizes must be positive integers, the number of units of each hidden "
                f"layer; got {learner.hidden_layer_sizes!r}."
            )
        return Blueprint(
            n_inputs,
            embedding,
            edges,
            shares,
            sizes,
            learner.n_components,
            learner.activation,
            n_blocks,
            learner.dropout,
            learner.normalize,
            learner.refine is not None,
        )

    def _network(self, blueprint) -> EmbeddingNetwork:
        learner, n_inputs = self.learner, self.n_inputs
        if blueprint is not None:
            return blueprint.build()
        module: Any = deepcopy(learner.module).float()
        if learner.refine is not None:
            module = nn.Sequential(nn.Linear(n_inputs, n_inputs, bias=False), module)
        return EmbeddingNetwork(module, learner.normalize)

    def _refine(self, network, rows):
        """Set the first layer of a network to a linear metric, learned from these samples."""
        require_chosen_pairs(self.learner.refine, type(self.learner).__name__)
        learner = with_relation(self.learner.refine, self.learner.relation)
        targets: Any = self.targets
        is_known, is_precomputed = targets.is_known, targets.relation.kind == "precomputed"
        y = targets.encoded if is_precomputed else targets.given
        X = self.X if is_known.all() else self.X[is_known]
        rows = (np.cumsum(is_known) - 1)[rows]
        weights = refined_start(learner, X, y, rows, is_precomputed, self.scale)
        network.get_submodule("module.0").load_state_dict({"weight": weights})
        self.refined = learner


@torch.no_grad()
def n_components(network: nn.Module, n_inputs: int) -> int:
    """Return the number of components of the images of a network that is on the CPU.

    Parameters
    ----------
    network : torch.nn.Module
        Returns a list of the outputs of layers, the images last.
    n_inputs : int
        Number of columns of its input.

    Returns
    -------
    n_components : int
    """
    return network.eval()(torch.zeros(1, n_inputs, dtype=torch.float32))[-1].shape[1]


def _range(relation: TargetRelation, targets, rows) -> tuple[float, float]:
    """Return the relation of equal targets, and of the most different ones."""
    pairs = pairs_among(rows, relation, targets, _N_PAIRS_OF_RANGE)
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
