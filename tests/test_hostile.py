"""Hostile numbers: a right answer with its certificate, or a clear error.

The inputs and the judge are those of benchmarks/trust, which has more of both.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from metricalign import (
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLSVR,
    MetricLearnerCV,
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.base import components_of
from metricalign.cones import AbovePrior, PairMatrices, PositiveSemidefinite, Symmetric
from metricalign.relations import resolve_relation

sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "trust"))
hostile = importlib.import_module("hostile")

# What test_common.py has no like of, and each once found something.
CORE = [
    *(f"X {name}, y {kind}" for name in ("rank one", "two samples") for kind in hostile.KINDS),
    "X columns of zeros, y classes",
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
    "one sample per class",
    "one number 1e15",
    "numbers over all of float64",
    "equal samples of different classes",
    "1,000 labels, none set",
    "1,000 labels, one set once",
    "relation with outliers of 1e6",
    "relation with outliers of 1e300",
    "weights of 1e-300",
    "weights of 1e300",
    "weights from 1e-12 to 1e12",
]
OPTIONS = {
    RelationAlignmentCV: {"Cs": 2, "cv": 2},
    MetricLearnerCV: {"candidates": ["passthrough", PSDSVR(), NeighborhoodAlignment()], "cv": 2},
}
ESTIMATORS = [
    clone(estimator).set_params(**OPTIONS.get(type(estimator), {})) for estimator in hostile.PUBLIC
]


@pytest.mark.parametrize("given", CORE)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_right_answer_or_clear_error(estimator, given):
    hostile.judge(estimator, hostile.INPUTS[given]())


def test_the_judge_is_not_fooled(monkeypatch):
    given = hostile.Input(np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) / 7)

    def changed(**attributes):
        learner = PSDSVR().fit(given.X, given.y)
        vars(learner).update({name: change(learner) for name, change in attributes.items()})
        return learner

    hostile.check_fit(changed(), given, [])
    for attributes in (
        {"objective_": lambda learner: 0.999 * learner.objective_},
        {"intercept_": lambda learner: learner.intercept_ + 1},
        {"dual_coef_": lambda learner: 0.5 * learner.dual_coef_},
        {"dual_coef_": lambda learner: 1 + learner.dual_coef_},
        {"matrix_": lambda learner: learner.matrix_ + 1e-3 * np.abs(learner.matrix_).max()},
        {"components_": lambda learner: 0 * learner.components_},
        {"components_": lambda learner: np.nan * learner.components_},
        {"converged_": lambda learner: False},
        {"dual_gap_": lambda learner: 1.0, "converged_": lambda learner: False},
    ):
        with pytest.raises(hostile.WrongAnswerError):
            hostile.check_fit(changed(**attributes), given, [])


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
            RelationAlignment(cone=cone, prior="identity")
            for cone in ("symmetric", "positive_semidefinite", "above_prior", "pair_matrices")
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
    for cone in (Symmetric, PositiveSemidefinite, AbovePrior, PairMatrices):
        monkeypatch.setattr(cone, "keeps_span", False)
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
    learner = NeighborhoodAlignment().fit(X, y, sample_weight=factor * weight)
    expected = NeighborhoodAlignment().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(learner.components_, expected.components_, rtol=1e-6)
    score = expected.score(X, y, sample_weight=weight)
    assert expected.score(X, y, sample_weight=factor * weight) == pytest.approx(score)


def test_matrices_that_do_not_fit_are_refused_before_they_are_made():
    X = sparse.eye_array(1_000_000, format="csr")
    for samples in (X, X[:5]):
        with pytest.raises(MemoryError, match=r"1,000,000 features.*GiB.*cone='diagonal'"):
            PSDSVR().fit(samples, np.arange(samples.shape[0]) / 7)
    assert RelationAlignment(cone="diagonal").fit(X[:30], np.arange(30.0)).converged_


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
