"""Hostile numbers: a right answer with its certificate, or a clear error.

The inputs and the judge are those of benchmarks/trust/faults.py, which runs all of them.
"""

import pickle
import tracemalloc

import hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from public_estimators import EVERY, is_special_case
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from metricalign import (
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLSVR,
    NeighborhoodAlignment,
    RelationAlignment,
)
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.alignment.solved_matrix import FullMatrix, MatrixInSpan
from metricalign.learners.base import EmbeddingLearner
from metricalign.learners.components import components_of
from metricalign.regularizers import AbovePrior, PairMatrices, PositiveSemidefinite, Symmetric
from metricalign.relations import resolve_relation

# What test_common.py has no like of, and each once found something.
CORE = [
    *(f"X {name}, y {kind}" for name in ("rank one", "two samples") for kind in hostile.KINDS),
    "X columns of zeros, y classes",
    "X constant columns, y numbers",
    "X each sample three times, y numbers",
    "X all samples equal, y classes",
    "X times 1e-300, y numbers",
    "X times 1e300, y classes",
    "X nearly constant column, y numbers",
    "X two distinct samples, y classes",
    "X times 1e-160, y numbers",
    "X times 1e-30, y classes",
    "X times 1e30, y numbers",
    "X one column times 1e8, y numbers",
    "X columns from 1e-20 to 1e20, y classes",
    "X one entry 1e300, y numbers",
    "X 1e15 from the origin, y numbers",
    "X float32 times 1e-30, y classes",
    "X sparse with stored zeros, y numbers",
    "X one feature of two values, y classes",
    "X 10 samples, 50 features, y numbers",
    "all numbers equal",
    "all classes equal",
    "all label sets equal",
    "one sample per class",
    "one number 1e15",
    "numbers over all of float64",
    "equal samples of different classes",
    "pairs of equal samples, different numbers",
    "1,000 labels, none set",
    "1,000 labels, one set once",
    "relation with outliers of 1e6",
    "relation with outliers of 1e300",
    "weights of 1e-300",
    "weights of 1e300",
    "weights from 1e-12 to 1e12",
]


def each(is_slow):
    """Parametrise a test by the learners, some of them marked as slow."""
    learners = [item for item in EVERY if isinstance(item, EmbeddingLearner)]
    cases = [
        pytest.param(item, marks=[pytest.mark.slow] if is_slow(item) else []) for item in learners
    ]
    return pytest.mark.parametrize("estimator", cases, ids=lambda item: type(item).__name__)


every_estimator = each(is_special_case)


@pytest.mark.parametrize("name", CORE)
@every_estimator
def test_right_answer_or_clear_error(estimator, name):
    hostile.judge(estimator, hostile.INPUTS[name]())


@every_estimator
@settings(max_examples=4)
@given(data=st.data())
def test_right_answer_or_clear_error_whatever_the_numbers(estimator, data):
    n_samples, n_features = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    # So that samples, features and distances are equal.
    values = st.sampled_from([0.0, -1.0, 1.0, 2.0, 1e-8, 1e4])
    X = data.draw(arrays(float, (n_samples, n_features), elements=values))
    y = data.draw(arrays(int, n_samples, elements=st.integers(0, 2)))
    is_number = data.draw(st.booleans())
    weight = data.draw(
        st.none() | arrays(float, n_samples, elements=st.sampled_from([0.0, 1.0, 3.0]))
    )
    if not has_fit_parameter(estimator, "sample_weight"):
        weight = None
    hostile.judge(estimator, hostile.Input(X, y / 3 if is_number else y, weight))


# Cross-validation takes no array of pairs.
@pytest.mark.parametrize(
    "estimator",
    [
        estimator
        for estimator in EVERY
        if isinstance(estimator, LinearMetricLearner) and not hasattr(estimator, "cv")
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_pairs_of_equal_samples(estimator):
    X = np.random.default_rng(0).normal(size=(20, 3))[np.arange(40) // 2]
    y = (X[:, 0] > 0).astype(int)
    equal = np.arange(40).reshape(-1, 2)
    with pytest.raises(ValueError, match=r"\bpairs\b"):
        clone(estimator).set_params(pairs=equal).fit(X, y)
    other = np.random.default_rng(0).permutation(equal.ravel()).reshape(-1, 2)
    learner = clone(estimator).set_params(pairs=np.concatenate([equal, other])).fit(X, y)
    assert np.isfinite(learner.transform(X)).all()
    np.testing.assert_array_equal(learner.pair_distance(X[equal]), 0)


@every_estimator
@pytest.mark.filterwarnings("ignore:.* keeps Euclid's distance")
def test_5000_features(estimator):
    X = np.random.default_rng(0).normal(size=(8, 5000)).astype(np.float32)
    learner = clone(estimator)
    images = learner.fit(X, np.arange(8) % 2).transform(X)
    assert np.isfinite(images).all()
    assert images.any()


# What trains, and several metrics, take seconds.
@each(
    lambda one: (
        is_special_case(one) or {"batch_size", "learners", "n_starts"} & one.get_params().keys()
    )
)
@pytest.mark.filterwarnings(
    "ignore:The least populated class",
    # A part of the samples has one of each.
    "ignore:No two different samples",
    "ignore:n_same=",
    # Nearly all pairs are of different classes.
    "ignore:.* learned the zero metric",
    "ignore:.* cannot tell the learned metric",
    "ignore:.* keeps Euclid's distance",
)
def test_10_000_classes(estimator):
    X = np.random.default_rng(0).normal(size=(10_010, 2)).astype(np.float32)
    y = np.arange(10_010) % 10_000
    learner = clone(estimator)
    if "batch_size" in learner.get_params():
        learner.set_params(batch_size=2000)
    learner.fit(X, [f"class {number}" for number in y])
    assert np.isfinite(learner.transform(X)).all()
    assert learner.relation_.kind == "multiclass"


def test_the_judge_is_not_fooled():
    samples = hostile.Input(np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) / 7)

    def changed(**attributes):
        learner = PSDSVR().fit(samples.X, samples.y)
        vars(learner).update({name: change(learner) for name, change in attributes.items()})
        return learner

    hostile.check_fit(changed(), samples, [])
    for attributes in (
        {"objective_": lambda learner: 0.999 * learner.objective_},
        {"intercept_": lambda learner: learner.intercept_ + 1},
        {"dual_coef_": lambda learner: 0.5 * learner.dual_coef_},
        {"dual_coef_": lambda learner: 1 + learner.dual_coef_},
        {"_solved": lambda learner: FullMatrix(1.001 * learner.matrix_ + 1e-3)},
        {"components_": lambda learner: 0 * learner.components_},
        {"components_": lambda learner: np.nan * learner.components_},
        {"converged_": lambda learner: False},
        {"dual_gap_": lambda learner: 1.0, "converged_": lambda learner: False},
    ):
        with pytest.raises(hostile.WrongAnswerError):
            hostile.check_fit(changed(**attributes), samples, [])


# What was mended


@pytest.mark.parametrize(
    "estimator",
    [
        PSDSVR(),
        RAMLSVR(),
        RAMLSVR(nu=0.5),
        RAMLKRR(),
        RAMLKRR(penalty="coefficients"),
        RAMLNCSVR(),
        RelationAlignment(cone="above_prior"),
        *(
            RelationAlignment(cone=regularizer, prior="identity")
            for regularizer in (
                "symmetric",
                "positive_semidefinite",
                "above_prior",
                "pair_matrices",
            )
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("stored", [np.asarray, sparse.csr_array])
def test_fewer_samples_than_features_are_solved_in_their_span(estimator, stored, monkeypatch):
    X = np.random.default_rng(0).normal(size=(12, 30))
    y = X[:, 0] ** 2 + X[:, 1]
    estimator.set_params(tol=1e-9)
    learner = clone(estimator).fit(stored(X), y)
    for regularizer in (Symmetric, PositiveSemidefinite, AbovePrior, PairMatrices):
        monkeypatch.setattr(regularizer, "keeps_span", False)
    expected = clone(estimator).fit(X, y)
    size = np.linalg.norm(expected.matrix_)
    assert np.linalg.norm(learner.matrix_ - expected.matrix_) <= 1e-5 * size
    np.testing.assert_array_equal(learner.matrix_, learner.matrix_.T)
    np.testing.assert_allclose(learner.objective_, expected.objective_, rtol=1e-7)
    np.testing.assert_allclose(
        learner.components_.T @ learner.components_,
        expected.components_.T @ expected.components_,
        atol=1e-5 * size,
    )


def test_matrix_of_few_samples_stays_in_factors():
    X = np.random.default_rng(0).normal(size=(20, 3000))
    tracemalloc.start()
    learner = PSDSVR().fit(X, X[:, 0])
    learner.transform(X), learner.score(X, X[:, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * 8 * 3000**2
    assert len(pickle.dumps(learner)) < 0.2 * 8 * 3000**2
    np.testing.assert_allclose(learner.matrix_, learner.get_mahalanobis_matrix(), atol=1e-12)


@pytest.mark.parametrize("n_components", [None, 3, 20, 0.5])
def test_components_of_a_span_and_a_multiple_of_the_identity(n_components):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(30, 6)))[0]
    inside = np.diag([5.0, 3.0, 1.5, 0.5, 0.0, -2.0])
    matrix = basis @ (inside - np.eye(6)) @ basis.T + np.eye(30)
    found = MatrixInSpan(inside, basis, 1.0).components(n_components, np.float64)
    expected = components_of((matrix + matrix.T) / 2, n_components)
    assert found.shape == expected.shape
    if n_components in (None, 3):  # which ones of equal eigenvalues is not determined
        np.testing.assert_allclose(found.T @ found, expected.T @ expected, atol=1e-12)
    np.testing.assert_allclose((found**2).sum(axis=1), (expected**2).sum(axis=1))
    np.testing.assert_allclose(found @ found.T, np.diag((found**2).sum(axis=1)), atol=1e-12)


def test_eigenvalues_of_rounding_are_no_components():
    assert np.array_equal(components_of(np.diag([-1.0, 1e-16, -3e-17])), np.zeros((1, 3)))
    assert components_of(np.diag([1.0, 1e-16, 0.5])).shape == (2, 3)


def test_a_metric_of_two_samples_is_refused():
    X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), [1.5, 2.5, 2.5]
    for loss in ("expected_relation", "kernel_regression"):
        with pytest.raises(ValueError, match=r"differ in X or y.*2\. At least 3"):
            NeighborhoodAlignment(loss).fit(X, y)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_unit_of_the_weights_does_not_matter(factor):
    X = np.random.default_rng(0).normal(size=(30, 3))
    y, weight = X[:, 0] ** 2, np.arange(30) + 1.0
    learner = NeighborhoodAlignment(random_state=0).fit(X, y, sample_weight=factor * weight)
    expected = NeighborhoodAlignment(random_state=0).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(learner.components_, expected.components_, rtol=1e-6)
    score = expected.score(X, y, sample_weight=weight)
    assert expected.score(X, y, sample_weight=factor * weight) == pytest.approx(score)


def test_matrices_that_do_not_fit_are_refused_before_they_are_made():
    X = sparse.eye_array(1_000_000, format="csr")
    for samples, prior in ((X, None), (X[:5], "identity")):
        with pytest.raises(MemoryError, match=r"1,000,000 features.*GiB.*cone='diagonal'"):
            PSDSVR(prior=prior).fit(samples, np.arange(samples.shape[0]) / 7)
    advised = RelationAlignment(cone="diagonal", prior="identity")
    assert advised.fit(X[:30], np.arange(30.0)).converged_
    # The metric of few samples has few factors.
    assert PSDSVR().fit(X[:5], np.arange(5) / 7).components_.shape[0] <= 5


def test_a_constant_target_of_many_labels_is_named_in_few_words():
    with pytest.raises(ValueError, match=r"one target only, \[0 0 0 \.\.\.\]: every") as error:
        resolve_relation("auto", np.zeros((9, 1000), dtype=int))
    assert len(str(error.value)) < 200


def test_relations_of_the_largest_numbers_are_refused_without_an_overflow():
    X, largest = np.random.default_rng(0).normal(size=(3, 2)), np.finfo(float).max
    y = largest * np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]])
    with pytest.raises(ValueError, match="the spread of the relations"):
        PSDSVR(relation="precomputed").fit(X, y)
    y[0, 1] *= -1
    with pytest.raises(ValueError, match="y must be symmetric"):
        PSDSVR(relation="precomputed").fit(X, y)
