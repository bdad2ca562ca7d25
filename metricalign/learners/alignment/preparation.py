"""The parts of a problem from samples and targets: pairs, relations, units, and the scale of C.

samples, targets, parameters  ->  Preparation  ->  AlignmentProblem  ->  SolverResult
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.utils import check_array, check_random_state

from metricalign._arrays import as_dense
from metricalign._estimator import refuse_masked
from metricalign._memory import machine_memory
from metricalign.learners.alignment.solved_matrix import (
    DiagonalMatrix,
    FullMatrix,
    MatrixInSpan,
    SolvedMatrix,
)
from metricalign.losses import Loss
from metricalign.operators import DistributedPairOperator, PairOperator
from metricalign.pairs import check_pairs, resolve_pairs
from metricalign.pairs.distinct import distinct_samples, warn_of_single_samples
from metricalign.pairs.distributed import DistributedSamples
from metricalign.pairs.identical import first_identical
from metricalign.regularizers import Regularizer
from metricalign.relations import PrecomputedRelation, TargetRelation
from metricalign.solvers import AlignmentProblem

__all__ = ["Preparation", "prepare"]

# The sum of C over the pairs, if the mean squared difference of the pairs is 1.
# benchmarks/quality/defaults.py compares other values.
_TOTAL_WEIGHT_OF_NUMBERS, _TOTAL_WEIGHT = 3.0, 300.0

# The size of the prior "auto" over that of "identity", for classes and for numbers. For classes the
# sum of C over the pairs is at most this weight for each feature: the pairs share their weight
# among the directions, and in each direction it is then of the size of the prior. docs/defaults.md
# has the measurements.
_PRIOR_OF_CLASSES, _PRIOR_OF_NUMBERS = 0.3, 0.03
# The prior of classes has its full size up to so many samples. More of them say more, so it gets
# smaller as their number grows.
_SAMPLES_OF_PRIOR = 1000
_WEIGHT_OF_CLASSES_BY_FEATURE = 1.5

# The samples of the pairs leave the workers if they have at most so many entries. The samples of
# the default pairs, of 10,000 anchors, do so up to 500 features. PSDSVR on two workers, at 200,000
# x 50, then takes 1.4 times the CPU seconds of a fit in memory, and 1.6 times otherwise.
_ENTRIES_IN_MEMORY = 2**26

# Numbers of matrices that are in memory at once, measured by tracemalloc: those of a solver, those
# for the components, and, in place of the latter, those of a problem with a prior.
_MATRICES_OF_A_SOLVE, _MATRICES_OF_A_METRIC, _MATRICES_OF_A_PRIOR = 8, 2, 6
# In the span of the samples: numbers of arrays of the size of X, and of matrices of the features
# with a prior.
_ARRAYS_OF_A_SPAN, _MATRICES_BESIDE_A_SPAN = 5, 4


@dataclass(frozen=True, eq=False)
class Preparation:
    """All parts of a problem but C, the weight of a pair.

    Attributes
    ----------
    operator : PairOperator
        The samples and their pairs. If there is a `basis`, the samples are in its coordinates.
    relation : TargetRelation
        Relation of the targets.
    pairs : ndarray of shape (n_pairs, 2)
        Pairs as rows of the X that was given.
    strategy : object or None
        The strategy that chose the pairs. None if they were given.
    weights : ndarray of shape (n_pairs,)
        Positive weights of the pairs, without C.
    relations : ndarray of shape (n_pairs,)
        Relations t_p.
    loss : Loss
        Loss, all its parameters numbers.
    regularizer : Regularizer
        Which M are allowed, and at what price.
    prior : ndarray or None
        M0, in the form of the operator's matrices.
    basis : ndarray of shape (n_features, n_dimensions) or None
        Orthonormal columns that span the differences of the samples.
    outside : float
        Eigenvalue of M0, and so of M, for all directions that are orthogonal to the basis.
    scale : float
        The C of ``C="scale"``.
    """

    operator: Any
    relation: TargetRelation
    pairs: NDArray
    strategy: Any
    weights: NDArray
    relations: NDArray
    loss: Loss
    regularizer: Regularizer
    prior: NDArray | None
    basis: NDArray | None
    outside: float
    scale: float

    def solved(self, matrix: NDArray) -> SolvedMatrix:
        """The matrix of a solution, which can be written in the features."""
        if self.regularizer.is_diagonal:
            return DiagonalMatrix(matrix)
        if self.basis is None:
            return FullMatrix(matrix)
        return MatrixInSpan(matrix, self.basis, self.outside)

    @property
    def total_weight(self) -> float:
        """The c of ``C="scale"``: the sum of C over the pairs, free of units."""
        return _total_weight(self.relation)

    def problem(
        self,
        C: float,
        fit_intercept: bool,
        problem_class: type[AlignmentProblem] = AlignmentProblem,
        /,
        **parameters: Any,
    ) -> AlignmentProblem:
        """The problem for one C.

        Parameters
        ----------
        C : float
            Weight of one pair.
        fit_intercept : bool
            Whether b is free.
        problem_class : type, default=AlignmentProblem
            Class of the problem.
        **parameters
            Further arguments of this class.

        Returns
        -------
        problem : AlignmentProblem

        Raises
        ------
        ValueError
            If the weights leave the range of float64.
        """
        if not 1e-200 < C * self.weights.sum() < 1e200:
            raise ValueError(
                f"C={C:.1e} and weights of the pairs with sum {self.weights.sum():.1e} lead to "
                "numbers beyond the range of float64. Scale X, for example with StandardScaler, "
                "the relations, or sample_weight."
            )
        return problem_class(
            operator=self.operator,
            relations=self.relations,
            weights=C * self.weights,
            loss=self.loss,
            regularizer=self.regularizer,
            fit_intercept=fit_intercept,
            prior=self.prior,
            basis=self.basis,
            **parameters,
        )


def prepare(
    X: Any,
    y: Any,
    relation: TargetRelation,
    targets: Any,
    sample_weight: NDArray | None,
    *,
    given_relation: Any,
    pairs: Any,
    loss: Loss,
    regularizer: Regularizer,
    prior: Any,
    random_state: Any,
    verbose: bool,
) -> Preparation:
    """Choose the pairs, and make all parts of the problem that do not depend on C.

    Parameters
    ----------
    X : {ndarray, csr_array, DistributedSamples} of shape (n_samples, n_features)
        Samples.
    y : array-like
        Their targets as they were given.
    relation : TargetRelation
        The relation of the targets.
    targets : array-like
        The targets as the relation encodes them.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.
    given_relation, pairs
        Parameters of the estimator; see `RelationAlignment`.
    loss : Loss
        Loss, as it was given.
    regularizer : Regularizer
        Which M are allowed, and at what price.
    prior, random_state, verbose
        Parameters of the estimator; see `RelationAlignment`.

    Returns
    -------
    preparation : Preparation

    Raises
    ------
    ValueError
        If no pair is left, the samples of all pairs are identical, or numbers leave their range.
    MemoryError
        If the matrices do not fit into the memory.

    Warns
    -----
    UserWarning
        If each sample is the only one of its class.
    """
    n_features = X.shape[1]
    is_diagonal = regularizer.is_diagonal
    may_use_span = _keeps_span(regularizer, prior)
    is_auto = isinstance(prior, str) and prior == "auto"
    if not is_diagonal:
        is_in_span = may_use_span and X.shape[0] < n_features
        is_in_span &= not isinstance(X, DistributedSamples)
        _check_memory(X, is_in_span, has_prior=prior is not None and not (is_in_span and is_auto))
    prior_matrix = _check_prior(prior, n_features, is_diagonal)
    if (indices := _given_pairs(pairs, relation, targets, X.shape[0])) is not None:
        chosen = _weigh_given(indices, relation, targets, sample_weight, X.shape[0])
    else:
        samples = distinct_samples(X, y, relation, targets, sample_weight, given_relation)
        chosen = _choose_pairs(X, samples, pairs, random_state, verbose)
    relation = chosen.relation
    rows, indices, weights, relations = _used(chosen)
    X = sparse.csr_array(X[rows]) if sparse.issparse(X) else X[rows]
    is_distributed = isinstance(X, DistributedSamples)
    if is_distributed and math.prod(X.shape) <= _ENTRIES_IN_MEMORY:
        X, is_distributed = X.compute(), False
    operator_class: Any = DistributedPairOperator if is_distributed else PairOperator
    operator = in_features = operator_class(X, indices, is_diagonal=is_diagonal)
    mean_squared_length = float(np.average(operator.squared_lengths, weights=weights))
    if mean_squared_length == 0:
        raise ValueError(
            "The two samples of every pair are identical in X, or so near that their squared "
            f"difference is zero in {X.dtype}, so no distance can be learned from them. Check "
            "X and pairs, or scale X."
        )
    spread = _spread(relations, weights)
    _check_scale(mean_squared_length, spread, X.dtype)
    loss = loss.resolved(spread)
    scale = _total_weight(relation) / (weights.sum() * mean_squared_length**2)
    scale *= max(spread, np.finfo(float).tiny) ** (2 - loss.degree)
    if is_auto and relation.is_of_classes:
        scale *= min(1.0, _WEIGHT_OF_CLASSES_BY_FEATURE * n_features / _TOTAL_WEIGHT)
    basis, outside = None, 0.0
    if may_use_span and len(rows) < n_features and not is_distributed:
        coordinates, basis = _in_span(X)
        operator = PairOperator(coordinates, indices, dtype=X.dtype)
    if isinstance(prior, str):
        # The lengths of the samples as they were given, in double precision.
        lengths = in_features.astype(np.float64).squared_lengths
        size = spread / float(np.average(lengths, weights=weights))
        if is_auto:
            share = _PRIOR_OF_CLASSES * min(1.0, _SAMPLES_OF_PRIOR / len(rows))
            size *= share if relation.is_of_classes else _PRIOR_OF_NUMBERS
        if is_auto and basis is not None:
            # Few samples keep few components: the prior is in the span of their differences.
            prior_matrix = size * _projection_on_span(coordinates)
        else:
            outside = size
            diagonal = np.full(operator.n_features, size)
            prior_matrix = diagonal if is_diagonal else np.diag(diagonal)
    return Preparation(
        operator=operator,
        relation=relation,
        pairs=rows[indices],
        strategy=chosen.strategy,
        weights=weights,
        relations=relations,
        loss=loss,
        regularizer=regularizer,
        prior=prior_matrix,
        basis=basis,
        outside=outside,
        scale=float(scale),
    )


class _ChosenPairs(NamedTuple):
    """Pairs before those of weight 0 are left out."""

    rows: NDArray  # rows of X
    indices: NDArray  # two places in `rows` for each pair
    weights: NDArray
    relations: NDArray
    relation: TargetRelation
    strategy: Any


def _weigh_given(indices, relation, targets, sample_weight, n_samples) -> _ChosenPairs:
    """Pairs that were given, with the products of the weights of their samples."""
    weights = np.ones(len(indices))
    if sample_weight is not None:
        weights = sample_weight[indices].prod(axis=1)
    rows, relations = np.arange(n_samples), relation(targets, indices)
    return _ChosenPairs(rows, indices, weights, relations, relation, None)


def _choose_pairs(X, samples, pairs, random_state, verbose) -> _ChosenPairs:
    """Pairs among distinct samples, chosen by a strategy."""
    rows, weight, relation, targets = samples
    warn_of_single_samples(relation, targets)
    targets_of_pairs = None if relation.kind == "precomputed" else targets
    given = X[rows], targets_of_pairs, weight
    strategy = resolve_pairs(pairs, relation.kind, verbose=verbose)
    indices, weights = strategy.select(*given, check_random_state(random_state))
    relations = relation(targets, indices)
    if isinstance(pairs, str) and pairs == "auto" and not relations.any():
        # In repeated measurements, nearest samples are of the same thing and have its target.
        strategy = resolve_pairs("random", relation.kind)
        indices, weights = strategy.select(*given, check_random_state(random_state))
        relations = relation(targets, indices)
    return _ChosenPairs(rows, indices, weights, relations, relation, strategy)


def _used(chosen: _ChosenPairs) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Leave out the pairs of weight 0, and the samples that are in no pair."""
    if not chosen.relations.any():
        raise ValueError(
            "The samples of every pair have the same target, as in repeated measurements, so all "
            "relations are 0, and no distance can be learned from them. Check y, or give pairs "
            "that are farther apart, such as pairs='random'."
        )
    is_kept = chosen.weights > 0
    if not is_kept.any():
        raise ValueError(
            "No pair is left: every pair has a sample of weight 0. Give pairs of samples with a "
            "positive sample_weight."
        )
    indices, weights, relations = (
        values[is_kept] for values in (chosen.indices, chosen.weights, chosen.relations)
    )
    is_used = np.zeros(len(chosen.rows), dtype=bool)
    is_used[indices] = True
    return chosen.rows[is_used], (np.cumsum(is_used) - 1)[indices], weights, relations


def _given_pairs(pairs, relation, targets, n_samples):
    """Pairs of the array that was given, or of stored relations. None if a strategy chooses."""
    if not isinstance(pairs, str) and not hasattr(pairs, "select"):
        return check_pairs(pairs, n_samples)
    if isinstance(relation, PrecomputedRelation) and isinstance(pairs, str) and pairs == "auto":
        return relation.stored_pairs(targets)
    return None


def _total_weight(relation) -> float:
    is_number = relation.kind in ("continuous", "multioutput")
    return _TOTAL_WEIGHT_OF_NUMBERS if is_number else _TOTAL_WEIGHT


def _keeps_span(regularizer, prior) -> bool:
    """Whether the optimum is in the span of the samples, but for a multiple of the identity."""
    if prior is None:
        return regularizer.keeps_span
    return isinstance(prior, str) and regularizer.keeps_span_of_identity


def _check_prior(prior, n_features, is_diagonal):
    """The matrix that was given as prior, or None."""
    if prior is None or isinstance(prior, str):
        return None
    if np.shape(prior) != (n_features, n_features):
        raise ValueError(
            f"prior must be a symmetric matrix of shape ({n_features}, {n_features}), where it is "
            f"not None or a name; got shape {np.shape(prior)}."
        )
    refuse_masked(prior, "prior")
    prior = check_array(prior, dtype=np.float64, input_name="prior")
    if np.abs(prior - prior.T).max() > 1e-6 * np.abs(prior).max():
        raise ValueError("prior must be symmetric, but it differs from its transpose.")
    if not is_diagonal:
        return (prior + prior.T) / 2
    if np.any(prior != np.diag(np.diag(prior))):
        raise ValueError("prior must be diagonal, as the metric is; it has other entries.")
    return np.diag(prior).copy()


def _in_span(X) -> tuple[NDArray, NDArray]:
    """Coordinates of the samples in the span of their differences, and the basis of this span.

    There must be fewer samples than features. The coordinates are in double precision, so that the
    certificate holds for the samples as they were given.
    """
    X = as_dense(X).astype(np.float64, copy=False)
    basis, coordinates = linalg.qr((X - X.mean(axis=0)).T, mode="economic", check_finite=False)
    # Identical samples stay identical, whatever the rounding.
    return np.ascontiguousarray(coordinates.T[first_identical(X)]), basis


def _projection_on_span(X) -> NDArray:
    """Orthogonal projection on the span of the differences of the samples."""
    _, sizes, rows = linalg.svd(X - X.mean(axis=0), full_matrices=False, check_finite=False)
    rows = rows[sizes > len(X) * np.finfo(np.float64).eps * sizes[0]]
    return rows.T @ rows


def _check_memory(X, is_in_span, *, has_prior) -> None:
    """Refuse a problem whose arrays do not fit into the memory, before any is made."""
    n_samples, n_features = X.shape
    if is_in_span:
        n_entries = _MATRICES_OF_A_SOLVE * n_samples**2
        n_entries += _ARRAYS_OF_A_SPAN * n_samples * n_features
        n_entries += _MATRICES_BESIDE_A_SPAN * n_features**2 if has_prior else 0
    else:
        n_matrices = _MATRICES_OF_A_PRIOR if has_prior else _MATRICES_OF_A_METRIC
        n_entries = (_MATRICES_OF_A_SOLVE + n_matrices) * n_features**2
    needed = n_entries * X.dtype.itemsize
    available = machine_memory()
    if needed > available:
        raise MemoryError(
            f"X has {n_samples:,} samples of {n_features:,} features, and the matrices of a fit "
            f"need about {needed / 2**30:,.1f} GiB; this machine has {available / 2**30:,.1f} GiB. "
            "Reduce the features first, with TruncatedSVD, which takes sparse X, or PCA; or learn "
            "a weight for each, with RelationAlignment(cone='diagonal', prior='identity')."
        )


def _check_scale(mean_squared_length, spread, dtype) -> None:
    """Refuse units in which the squares of M or of C leave the range of numbers."""
    limit = min(float(np.finfo(dtype).max) ** 0.4, 1e70)
    sizes = (mean_squared_length, spread / mean_squared_length if spread else 1.0)
    if not all(1 / limit < size < limit for size in sizes):
        raise ValueError(
            f"The mean squared difference of the samples of a pair, {mean_squared_length:.1e}, and "
            f"the spread of the relations, {spread:.1e}, lead to numbers beyond the range of "
            f"{dtype}. Scale X, for example with StandardScaler, and the relations."
        )


def _spread(relations, weights) -> float:
    """Weighted standard deviation of the relations, or their size where they are all equal."""
    size = float(np.abs(relations).max())
    # The relations are moved to [0, 1], so that squares stay in range and an offset costs no
    # digits.
    smallest = relations.min()
    width = float(relations.max() - smallest)
    if width <= 1e-14 * size:
        return size
    relations = (relations - smallest) / width
    mean = np.average(relations, weights=weights)
    return float(width * np.sqrt(np.average((relations - mean) ** 2, weights=weights)))
