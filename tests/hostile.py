"""Hostile numbers: inputs that break numerical code, and a judge that trusts no fit."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.utils import check_random_state

import metricalign
from metricalign import (
    RAMLKRR,
    RAMLSVR,
    IteratedMetricLearner,
    NeighborhoodAlignment,
    RelationAlignment,
)
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import EmbeddingLearner
from metricalign.losses import LOSSES
from metricalign.pairs import resolve_pairs
from metricalign.pairs.distinct import distinct_samples
from metricalign.regularizers import REGULARIZERS

# Fewer fits where one estimator fits many times.
OPTIONS = {"RelationAlignmentCV": {"Cs": 3, "cv": 3}}
LEARNERS = [
    name for name in metricalign.__all__ if issubclass(getattr(metricalign, name), EmbeddingLearner)
]
PUBLIC = [getattr(metricalign, name)(**OPTIONS.get(name, {})) for name in LEARNERS]
VARIANTS = [
    RAMLSVR(nu=0.5),
    RAMLKRR(penalty="coefficients"),
    RelationAlignment(cone="above_prior", prior="identity"),
    *(
        RelationAlignment(cone=regularizer)
        for regularizer in REGULARIZERS
        if regularizer not in ("symmetric", "above_prior")
    ),
    *(
        RelationAlignment(loss=loss, fit_intercept=loss != "one_sided")
        for loss in LOSSES
        if loss != "epsilon_insensitive"
    ),
    NeighborhoodAlignment(loss="kernel_regression", shrinkage=0.5, random_state=0),
]
if find_spec("torch") and find_spec("skorch"):
    from metricalign.deep import HRAML

    PUBLIC.append(HRAML(n_ensemble=1, max_iter=5, random_state=0))
ESTIMATORS = {" ".join(str(estimator).split()): estimator for estimator in [*PUBLIC, *VARIANTS]}
LARGE_ESTIMATORS = list(ESTIMATORS)[: len(PUBLIC)]


# Inputs


class Input(NamedTuple):
    """Arguments of a fit, and the parameter `relation` if it is given."""

    X: Any
    y: Any
    sample_weight: Any = None
    relation: str = "auto"


def _samples(n_samples=60, n_features=5):
    return np.random.default_rng(0).standard_normal((n_samples, n_features))


def _numbers(X):
    return X[:, 0] ** 2 + X[:, -1]


def _classes(X):
    return (X[:, 0] > 0).astype(int) + (X[:, -1] > 1)


def _with_columns(*columns):
    return np.column_stack([_samples(), *(np.broadcast_to(column, 60) for column in columns)])


def _duplicated(X):
    return X[np.arange(len(X)) // 3]


def _one_entry(X, value):
    X = X.copy()
    X[0, 0] = value
    return X


def _scaled_column(factor):
    return _samples() * [factor, 1, 1, 1, 1]


#: Samples; each is tried with numbers and with classes as targets.
SAMPLES: dict[str, Callable[[], Any]] = {
    "columns of zeros": lambda: _with_columns(0.0, 0.0),
    "constant columns": lambda: _with_columns(1e8, -3.7),
    "nearly constant column": lambda: _with_columns(1e8 + 1e-7 * _samples()[:, 0]),
    "the same column twice": lambda: _with_columns(_samples()[:, 0], -_samples()[:, 1]),
    "rank one": lambda: _samples(60, 1) * np.arange(1.0, 6.0),
    "each sample three times": lambda: _duplicated(_samples()),
    "two distinct samples": lambda: np.repeat(_samples(2), 30, axis=0),
    "all samples equal": lambda: np.ones((60, 5)),
    "all zero": lambda: np.zeros((60, 5)),
    "times 1e-300": lambda: 1e-300 * _samples(),
    "times 1e-160": lambda: 1e-160 * _samples(),
    "times 1e-30": lambda: 1e-30 * _samples(),
    "times 1e30": lambda: 1e30 * _samples(),
    "times 1e75": lambda: 1e75 * _samples(),
    "times 1e300": lambda: 1e300 * _samples(),
    "one column times 1e-300": lambda: _scaled_column(1e-300),
    "one column times 1e-8": lambda: _scaled_column(1e-8),
    "one column times 1e8": lambda: _scaled_column(1e8),
    "one column times 1e300": lambda: _scaled_column(1e300),
    "columns from 1e-20 to 1e20": lambda: _samples() * np.logspace(-20, 20, 5),
    "one entry 1e6": lambda: _one_entry(_samples(), 1e6),
    "one entry 1e300": lambda: _one_entry(_samples(), 1e300),
    "one entry of the largest number": lambda: _one_entry(_samples(), np.finfo(float).max),
    "subnormal numbers": lambda: np.round(10 * _samples()) * 5e-324,
    "1e8 from the origin": lambda: _samples() + 1e8,
    "1e15 from the origin": lambda: _samples() + 1e15,
    "float32": lambda: _samples().astype(np.float32),
    "float32 times 1e-18": lambda: (1e-18 * _samples()).astype(np.float32),
    "float32 times 1e-30": lambda: (1e-30 * _samples()).astype(np.float32),
    "float32 times 1e8": lambda: (1e8 * _samples()).astype(np.float32),
    "float32 times 1e30": lambda: (1e30 * _samples()).astype(np.float32),
    "float32, 1e4 from the origin": lambda: (_samples() + 1e4).astype(np.float32),
    "int8": lambda: np.clip(60 * _samples(), -128, 127).astype(np.int8),
    "uint64 up to its largest": lambda: (2.0**64 * 0.1 * np.abs(_samples()).clip(0, 9.99)).astype(
        np.uint64
    ),
    "true or false": lambda: _samples() > 0,
    "sparse": lambda: sparse.csr_array(_samples() * (_samples() > 0.5)),
    "sparse without an entry": lambda: sparse.csr_array((60, 5)),
    "sparse with stored zeros": lambda: _stored_zeros(),
    "one feature": lambda: _samples(60, 1),
    "one feature of two values": lambda: (_samples(60, 1) > 0).astype(float),
    "two samples": lambda: _samples(2),
    "two samples, one feature": lambda: np.array([[1.0], [2.0]]),
    "three samples": lambda: _samples(3),
    "10 samples, 50 features": lambda: _samples(10, 50),
    "5 samples, 1,000 features": lambda: _samples(5, 1000),
}


def _stored_zeros():
    X = sparse.csr_array(_samples())
    X.data[::2] = 0
    return X


def _labels(n_labels=5):
    return (_samples(60, n_labels) > 0).astype(int)


def _only_one_label():
    y = np.zeros((60, 1000), dtype=int)
    y[0, 7] = 1
    return y


def _ratings(X):
    return np.abs(_numbers(X)[:, None] - _numbers(X))


def _with_outliers(size):
    ratings = _ratings(_samples())
    ratings[0, 1:4] = ratings[1:4, 0] = size
    return ratings


def _precomputed(y):
    return Input(_samples(), y, relation="precomputed")


def _weighted(weight):
    return Input(_samples(), _numbers(_samples()), weight)


def _with_numbers(change):
    return Input(_samples(), change(_numbers(_samples())))


#: Targets, relations and weights.
TARGETS: dict[str, Callable[[], Input]] = {
    "all numbers equal": lambda: Input(_samples(), np.full(60, 0.1)),
    "all classes equal": lambda: Input(_samples(), np.full(60, "a")),
    "all label sets equal": lambda: Input(_samples(), np.tile([1, 0, 1], (60, 1))),
    "all distributions equal": lambda: Input(_samples(), np.tile([0.2, 0.3, 0.5], (60, 1))),
    "numbers equal but for rounding": lambda: _with_numbers(lambda y: 1 + 1e-16 * np.round(y)),
    "numbers times 1e-300": lambda: _with_numbers(lambda y: 1e-300 * y),
    "numbers times 1e300": lambda: _with_numbers(lambda y: 1e300 * y),
    "numbers over all of float64": lambda: _with_numbers(
        lambda y: np.finfo(float).max * np.clip(y, -1, 1)
    ),
    "subnormal numbers": lambda: _with_numbers(lambda y: 5e-324 * np.round(9 * y)),
    "one number 1e15": lambda: _with_numbers(lambda y: np.where(y == y[0], 1e15, y)),
    "one number differs": lambda: _with_numbers(lambda y: (y == y[0]) + 0.5),
    "numbers and one constant column": lambda: Input(
        _samples(), np.column_stack([_numbers(_samples()), np.full(60, 2.5), _samples()[:, 1]])
    ),
    "one sample of a class": lambda: Input(_samples(), np.arange(60) > 0),
    "one sample per class": lambda: Input(_samples(), np.array([f"{i:02}" for i in range(60)])),
    "two classes of two samples": lambda: Input(_samples(4), [0, 0, 1, 1]),
    "equal samples of different classes": lambda: Input(_duplicated(_samples()), np.arange(60) % 3),
    "pairs of equal samples, different numbers": lambda: Input(
        np.repeat(_samples(30), 2, axis=0), _numbers(_samples())
    ),
    "two equal samples, two classes": lambda: Input(np.ones((2, 5)), [0, 1]),
    "1,000 labels, none set": lambda: Input(_samples(), np.zeros((60, 1000), dtype=int)),
    "1,000 labels, one set once": lambda: Input(_samples(), _only_one_label()),
    "1,000 labels, sparse, one set once": lambda: Input(
        _samples(), sparse.csr_array(_only_one_label())
    ),
    "label sets and empty ones": lambda: Input(
        _samples(), _labels() * (np.arange(60) < 30)[:, None]
    ),
    "distributions of one label each": lambda: Input(
        _samples(), np.eye(5)[np.arange(60) % 5] * 0.998 + 0.0004
    ),
    "relation with outliers of 1e6": lambda: _precomputed(_with_outliers(1e6)),
    "relation with outliers of 1e100": lambda: _precomputed(_with_outliers(1e100)),
    "relation with outliers of 1e300": lambda: _precomputed(_with_outliers(1e300)),
    "relation times 1e-300": lambda: _precomputed(1e-300 * _ratings(_samples())),
    "relation of negative numbers": lambda: _precomputed(-_ratings(_samples())),
    "relation of -1 and 1": lambda: _precomputed(
        np.where(_ratings(_samples()) > 1, 1.0, -1.0) + np.diag(np.full(60, 7.0))
    ),
    "relation of two pairs, sparse": lambda: _precomputed(
        sparse.coo_array(([1.0, -1.0], ([0, 5], [1, 9])), shape=(60, 60))
    ),
    "relation all equal": lambda: _precomputed(np.ones((60, 60))),
    "weights of 1e-300": lambda: _weighted(np.full(60, 1e-300)),
    "weights of 1e300": lambda: _weighted(np.full(60, 1e300)),
    "weights from 1e-12 to 1e12": lambda: _weighted(np.logspace(-12, 12, 60)),
    "weights of zero but two": lambda: _weighted(np.where(np.arange(60) < 2, 1.0, 0.0)),
    "weights of zero but one": lambda: _weighted(np.where(np.arange(60) < 1, 1.0, 0.0)),
}


def _many_classes():
    X = _samples(20_000)
    return Input(X, np.arange(20_000) % 10_000)


#: Those that take long.
LARGE: dict[str, Callable[[], Input]] = {
    "5,000 features": lambda: Input(_samples(40, 5000), _numbers(_samples(40, 5000))),
    "5,000 features, classes": lambda: Input(_samples(40, 5000), np.arange(40) % 3),
    "10,000 classes of two samples": _many_classes,
    "3,000 samples, each a class": lambda: Input(
        _samples(3000), np.array([f"{i:04}" for i in range(3000)])
    ),
}


def _of_samples(make, targets):
    def input_():
        X = make()
        values = X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=float)
        # Targets as they are before the scale has spoilt them.
        plain = _samples(*values.shape)
        return Input(
            X,
            targets(plain)
            if len(plain) > 3
            else np.arange(len(plain)) + 0.5 * (targets is _numbers),
        )

    return input_


KINDS = {"numbers": _numbers, "classes": _classes}
OF_SAMPLES: dict[str, Callable[[], Input]] = {
    f"X {name}, y {kind}": _of_samples(make, targets)
    for name, make in SAMPLES.items()
    for kind, targets in KINDS.items()
}
INPUTS = {**OF_SAMPLES, **TARGETS, **LARGE}


# The judge


class WrongAnswerError(Exception):
    """A fit that ended, and is not right."""


class CrashError(Exception):
    """An exception that is not a clear error."""


def judge(estimator: BaseEstimator, given: Input) -> str:
    """Fit, and check the answer.

    Returns
    -------
    verdict : str
        "right" or the message of a clear error.

    Raises
    ------
    WrongAnswerError, CrashError
        If it is neither.
    """
    learner = clone(estimator)
    if given.relation != "auto":
        learner.set_params(relation=given.relation)
    weighted = {} if given.sample_weight is None else {"sample_weight": given.sample_weight}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            learner.fit(given.X, given.y, **weighted)
        except Exception as error:
            _check_error(error, learner)
            verdict = f"{type(error).__name__}: {error}"
        else:
            verdict = "right"
            check_fit(learner, given, [entry.message for entry in caught])
    for entry in caught:
        is_clear = issubclass(entry.category, FitFailedWarning)
        if issubclass(entry.category, RuntimeWarning) and not is_clear:
            raise WrongAnswerError(f"{entry.filename}:{entry.lineno}: {entry.message}")
    return verdict


# Of a fit, and in the words of scikit-learn's own errors.
ARGUMENTS = ("X", "y", "features?", "samples?", "[Ss]ample[ _]weights?", "n_splits")


def _check_error(error, learner):
    """Accept an error that the code has raised on purpose, and that names an argument."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = re.search(r"/(metricalign|sklearn)/", frame.filename)
    names = "|".join([*ARGUMENTS, *map(re.escape, learner.get_params())])
    is_clear = isinstance(error, ValueError | TypeError | MemoryError)
    if not (is_clear and is_ours and re.search(rf"\b({names})\b", str(error))):
        raise CrashError(f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {error}")


def check_fit(learner: BaseEstimator, given: Input, messages: list[Warning]) -> None:
    """Raise `WrongAnswerError` unless the fit is right, or warns of what it lacks."""
    _check_finite(learner)
    _check_distance(learner, given.X, messages)
    if isinstance(learner, IteratedMetricLearner):
        learner = learner.learner_
    if isinstance(learner, LinearMetricLearner):
        _check_certificate(learner, given, messages)
    elif isinstance(learner, NeighborhoodAlignment):
        _check_neighborhood(learner, messages)


def _require(condition, what):
    if not condition:
        raise WrongAnswerError(what)


def _numbers_of(value) -> Iterator[np.ndarray]:
    """All numbers in a fitted attribute."""
    if sparse.issparse(value):
        yield value.tocoo().data
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers_of(item)
    elif isinstance(value, (np.ndarray, np.generic, float, int)):
        array = np.asarray(value)
        if array.dtype.kind in "fiu":
            yield array
    elif hasattr(value, "state_dict"):
        for tensor in value.state_dict().values():
            yield tensor.numpy()


def _check_finite(learner):
    for name, value in vars(learner).items():
        if name.endswith("_"):
            for array in _numbers_of(value):
                _require(np.isfinite(array).all(), f"{name} is not finite")


def _dense(array):
    return array.toarray() if sparse.issparse(array) else np.asarray(array)


def _check_distance(learner, X, messages):
    """It is a distance, the same by every way to it, and not zero unless that is said."""
    few = np.linspace(0, X.shape[0] - 1, min(X.shape[0], 12)).astype(int)
    X = sparse.csr_array(X)[few].toarray() if sparse.issparse(X) else np.asarray(X)[few]
    images = learner.transform(X)
    _require(np.isfinite(images).all(), "images are not finite")
    indices = np.indices((len(X), len(X))).reshape(2, -1).T
    distances = learner.pair_distance(X[indices]).reshape(len(X), -1)
    _require(np.isfinite(distances).all(), "distances are not finite")
    _require(distances.min() >= 0, "a distance below zero")
    _require(np.diag(distances).max() == 0, "a distance from a sample to itself")
    # Distances are good to the rounding of the terms that cancel in them.
    size = np.abs(images).max() + distances.max()
    components = _dense(getattr(learner, "components_", np.empty((0, X.shape[1]))))
    if components.size:
        # Those of an ensemble are over the encoding.
        terms = learner.encoder_.transform(X) if hasattr(learner, "encoder_") else X
        size += np.linalg.norm(components.astype(float)) * np.abs(terms).max()
    eps = 10 * X.shape[1] * np.finfo(images.dtype).eps
    rounding = max(eps, 1e-5 if not components.size else 0) * size
    _require((np.abs(distances - distances.T) <= rounding).all(), "distance is not symmetric")
    through = (distances[:, :, None] + distances[None]).min(axis=1)
    _require((distances <= through + rounding).all(), "triangle inequality is violated")
    by_images = np.linalg.norm(images[:, None] - images, axis=2)
    _require((np.abs(by_images - distances) <= rounding).all(), "transform is not pair_distance")
    if (
        distances.max() <= rounding
        and np.ptp(X.astype(float), axis=0).max() > 1e-12 * np.abs(X).max()
    ):
        said = re.compile("zero metric|cannot tell the learned metric from none")
        _require(any(said.search(str(message)) for message in messages), "zero metric in silence")
    if 0 < components.shape[1] <= 200 and len(components):
        matrix = learner.get_mahalanobis_matrix().astype(float)
        size = np.abs(matrix).max()
        _require(np.abs(matrix - matrix.T).max() <= 1e-6 * size, "matrix is not symmetric")
        _require(np.linalg.eigvalsh(matrix).min() >= -1e-6 * size, "matrix has eigenvalues below 0")


# The certificate: objective and bound anew, from what the fit has stored


def _check_certificate(learner, given, messages):
    warned = any(isinstance(message, ConvergenceWarning) for message in messages)
    _require(
        learner.converged_ == (learner.dual_gap_ <= learner.tol), "converged_ is not the gap's"
    )
    _require(learner.converged_ or warned, "not converged, in silence")
    _require(learner.dual_gap_ >= 0, "gap below zero")
    X = _dense(given.X).astype(float)
    left, right = learner.pairs_.T
    differences = X[left] - X[right]
    weights = _pair_weights(learner, given)
    _require(
        np.allclose(learner.pair_weights_, weights, 1e-6),
        "pair_weights_ are not those of the pairs",
    )
    weights = learner.C_ * weights
    matrix = _dense(learner.matrix_).astype(float)
    distances = np.einsum("pi,pi->p", differences @ matrix, differences)
    errors = distances + learner.intercept_, learner.relations_
    if getattr(learner, "penalty", None) == "coefficients":
        penalty = 0.5 * np.sum(learner.dual_coef_**2 / (weights / learner.C_))
    else:
        penalty = 0.5 * np.sum((matrix - _prior(learner, differences, weights, X)) ** 2)
    objective = penalty + weights @ _loss(learner.loss_, *errors)
    if getattr(learner, "nu", None) is not None:
        objective += learner.nu * weights.sum() * learner.epsilon_
    # Distances are differences of large terms where samples are far apart.
    is_single = matrix.dtype == np.float32 or _dense(learner.components_).dtype == np.float32
    at_zero = weights @ _loss(learner.loss_, 0 * distances, learner.relations_)
    scale = abs(objective) + 1e-10 * at_zero
    _require(
        abs(objective - learner.objective_) <= (1e-3 if is_single else 1e-6) * scale,
        f"objective_ {learner.objective_:.12g}, recomputed {objective:.12g}",
    )
    dual = _dual(learner, differences, weights)
    if dual is not None:
        gap = (objective - dual) / scale
        _require(
            gap <= learner.dual_gap_ * 1.01 + (1e-3 if is_single else 1e-6),
            f"dual_gap_ {learner.dual_gap_:.3g}, recomputed {gap:.3g}",
        )


def _pair_weights(learner, given):
    """Weights of the pairs, by choosing them again."""
    relation, X = learner.relation_, given.X
    n_samples = X.shape[0]
    sample_weight = given.sample_weight
    if relation.kind == "precomputed" and learner.pairs == "auto":
        weight = np.ones(n_samples) if sample_weight is None else sample_weight
        return weight[learner.pairs_].prod(axis=1)
    X = sparse.csr_array(X) if sparse.issparse(X) else np.asarray(X)
    X = X if X.dtype in (np.float32, np.float64) else X.astype(float)
    targets = relation.encode(given.y)
    samples = distinct_samples(X, given.y, relation, targets, sample_weight, learner.relation)
    strategy = resolve_pairs(learner.pairs, relation.kind)
    selection = strategy.select(
        X[samples.rows], samples.targets, samples.weight, check_random_state(learner.random_state)
    )
    kept = selection.weights > 0
    _require(
        np.array_equal(samples.rows[selection.indices[kept]], learner.pairs_),
        "pairs_ are others when chosen again",
    )
    return selection.weights[kept]


def _prior(learner, differences, weights, X):
    prior = getattr(learner, "prior", None)
    if isinstance(prior, np.ndarray):
        return prior
    return _prior_size(learner, differences, weights) * _prior_directions(learner, X)


def _prior_size(learner, differences, weights):
    """The eigenvalue of a prior by name, 0 without one."""
    prior = getattr(learner, "prior", None)
    is_of_the_paper = prior == "auto" and (
        learner.C != "scale"
        or getattr(learner, "nu", None) is not None
        or learner.relation_.name not in ("class", "absolute_difference")
    )
    if prior is None or is_of_the_paper:
        return 0.0
    relations = learner.relations_
    mean = np.average(relations, weights=weights)
    spread = np.sqrt(np.average((relations - mean) ** 2, weights=weights))
    spread = spread or np.abs(relations).max()  # all are equal
    share = 1.0
    if prior == "auto":
        share = 0.03
        if learner.relation_.is_of_classes:
            share = 0.3 * min(1, 1000 / len(np.unique(learner.pairs_)))
    return share * spread / np.average(np.sum(differences**2, axis=1), weights=weights)


def _prior_directions(learner, X):
    """The identity; of fewer samples than features, "auto" only in their span."""
    X = X[np.unique(learner.pairs_)]
    if getattr(learner, "prior", None) != "auto" or len(X) >= X.shape[1]:
        return np.eye(X.shape[1])
    _, sizes, rows = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    rows = rows[sizes > 1e-14 * len(X) * sizes[0]]
    return rows.T @ rows


def _loss(loss, prediction, target):
    """The losses once more, by their formulas."""
    name = type(loss).__name__
    if name == "Squared":
        return (prediction - target) ** 2 / 2
    if name == "Hinge":
        return np.maximum(1 - target * prediction, 0)
    if name == "OneSided":
        return np.maximum(target - loss.epsilon - prediction, 0)
    error = np.maximum(np.abs(prediction - target) - loss.epsilon, 0)
    return error**2 / 2 if name == "SquaredEpsilonInsensitive" else error


def _dual(learner, differences, weights):
    """Dual value of `dual_coef_`, which must be feasible; None where it takes more than a line."""
    regularizer = type(learner._regularizer()).__name__
    name, beta, relations = type(learner.loss_).__name__, learner.dual_coef_, learner.relations_
    epsilon = getattr(learner.loss_, "epsilon", 0.0)
    is_special = (
        getattr(learner, "nu", None) is not None
        or getattr(learner, "penalty", "metric") != "metric"
    )
    is_special |= isinstance(getattr(learner, "prior", None), np.ndarray)
    if is_special or regularizer not in ("Symmetric", "PositiveSemidefinite", "Diagonal"):
        return None
    prior = _prior_size(learner, differences, weights)
    if differences.shape[1] > len(differences) and regularizer != "Diagonal":
        differences = differences @ np.linalg.qr(differences.T)[0]
    # What is orthogonal to the differences keeps the prior, which adds nothing.
    matrix = (differences.T * beta) @ differences + prior * np.eye(differences.shape[1])
    if regularizer == "Diagonal":
        squared = np.sum(np.maximum(beta @ differences**2 + prior, 0) ** 2)
    elif regularizer == "PositiveSemidefinite":
        squared = np.sum(np.maximum(np.linalg.eigvalsh(matrix), 0) ** 2)
    else:
        squared = np.sum(matrix**2)
    squared -= differences.shape[1] * prior**2
    slack = 1e-9 * weights
    if getattr(learner, "fit_intercept", False):
        _require(abs(beta.sum()) <= 1e-9 * np.abs(beta).sum(), "dual_coef_ do not sum to zero")
    value = beta @ relations - epsilon * np.abs(beta).sum() - squared / 2
    if name in ("EpsilonInsensitive", "OneSided", "Hinge"):
        lower = {
            "EpsilonInsensitive": -weights,
            "OneSided": 0 * weights,
            "Hinge": np.minimum(weights * relations, 0),
        }[name]
        upper = np.maximum(weights * relations, 0) if name == "Hinge" else weights
        _require(
            (beta >= lower - slack).all() and (beta <= upper + slack).all(),
            "dual_coef_ outside of the box",
        )
    else:
        value -= np.sum(beta**2 / weights) / 2
    return value


def _check_neighborhood(learner, messages):
    """Neighbourhood alignment stops by itself, or says that it did not."""
    warned = any(isinstance(message, ConvergenceWarning) for message in messages)
    _require(learner.converged_ or warned, "not converged, in silence")
