"""The average of metrics: against the sum of the distances, and what it does with tables."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import (
    PSDSVR,
    DiscriminantAlignment,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    NeighborhoodAlignment,
)
from metricalign.features import PiecewiseLinearEncoder
from metricalign.learners.base import MetricLearner
from metricalign.metrics import pairwise_relations
from metricalign.pairs import NearestPairs

QUICK = [DiscriminantAlignment(), GradientAlignment(n_rounds=1)]


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return X[:120, :5], y[:120]


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    return X[::2, :5], y[::2]


def squared_distances(images):
    return pairwise_distances(images) ** 2


@pytest.mark.parametrize("data", ["numbers", "classes"])
def test_distance_is_the_sum_of_those_of_the_learners(data, request):
    X, y = request.getfixturevalue(data)
    encoder = PiecewiseLinearEncoder(n_bins=4)
    ensemble = MetricEnsemble(encoder=encoder, n_components=None, random_state=0).fit(X, y)
    views = {
        "columns": StandardScaler().fit_transform(X),
        "encoding": encoder.fit_transform(X),
    }
    expected = 0
    for view, learner in ensemble.learners_:
        of_learner = squared_distances(learner.transform(views[view]))
        expected = expected + 2 * of_learner / of_learner.mean()
    np.testing.assert_allclose(squared_distances(ensemble.transform(X)), expected, atol=1e-8)
    assert [view for view, _ in ensemble.learners_] == ["encoding"] * 3 + ["columns"] * 3


def test_matrix_is_that_of_the_distance(numbers):
    X, y = numbers
    ensemble = MetricEnsemble(QUICK).fit(X, y)
    difference = np.subtract(*ensemble.encoder_.transform(X[:2]))
    squared = difference @ ensemble.get_mahalanobis_matrix() @ difference
    assert ensemble.pair_distance(X[None, :2])[0] == pytest.approx(np.sqrt(squared))


def test_leading_part_has_the_share_of_the_mean_squared_distance(numbers):
    X, y = numbers
    whole = MetricEnsemble(QUICK, n_components=None).fit(X, y).transform(X).var(axis=0).sum()
    part = MetricEnsemble(QUICK, n_components=0.8).fit(X, y)
    variances = part.transform(X).var(axis=0)
    assert variances.sum() >= 0.8 * whole
    assert variances[:-1].sum() < 0.8 * whole
    assert MetricEnsemble(QUICK, n_components=2).fit(X, y).transform(X).shape == (120, 2)


def test_units_and_names_of_categories_do_not_matter(numbers):
    X, y = numbers
    frame = pd.DataFrame(X.copy(), columns=list("abcde"))
    frame["kind"] = np.where(frame["a"] > 0, "high", "low")
    frame.loc[::7, "b"] = np.nan
    other = frame.assign(b=frame["b"] * 1000 + 5, kind=frame["kind"].map({"high": "x", "low": "y"}))
    images = [
        MetricEnsemble(QUICK, n_components=None).fit(table, y).transform(table)
        for table in (frame, other)
    ]
    np.testing.assert_allclose(*map(squared_distances, images), atol=1e-6)


def test_weight_two_is_the_sample_twice(classes):
    X, y = classes
    weight = np.arange(len(X)) % 3
    weighted = MetricEnsemble(random_state=0).fit(X, y, sample_weight=weight)
    repeated = MetricEnsemble(random_state=0).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-8)


def test_precomputed_relations_are_those_of_the_name(classes):
    X, y = classes
    learners = [PSDSVR(prior=None, pairs="all", tol=1e-8)]
    named = MetricEnsemble(learners, relation="class").fit(X, y)
    relations = pairwise_relations(y, "class")
    precomputed = MetricEnsemble(learners, relation="precomputed").fit(X, relations)
    matrix = named.get_mahalanobis_matrix()
    error = np.linalg.norm(precomputed.get_mahalanobis_matrix() - matrix)
    assert error < 1e-3 * np.linalg.norm(matrix)


class Failing(MetricLearner):
    """A learner that cannot be fitted."""

    def __init__(self, relation="auto"):
        self.relation = relation

    def fit(self, X, y, sample_weight=None):
        raise ValueError("no luck")


def test_failing_learner_is_left_out(numbers):
    X, y = numbers
    with pytest.warns(FitFailedWarning, match="Failing.* is left out: no luck"):
        ensemble = MetricEnsemble([*QUICK, Failing()]).fit(X, y)
    np.testing.assert_array_equal(
        ensemble.transform(X), MetricEnsemble(QUICK).fit(X, y).transform(X)
    )


def test_learners_without_parameters_to_check_are_fitted(numbers):
    assert not hasattr(Failing, "_parameter_constraints")
    with pytest.warns(FitFailedWarning, match="no luck"):
        MetricEnsemble([*QUICK, Failing()]).fit(*numbers)


def test_default_learner_that_fails_is_told_of(numbers, monkeypatch):
    def fail(self, X, y, sample_weight=None):
        raise ValueError("no luck")

    monkeypatch.setattr(DiscriminantAlignment, "fit", fail)
    with pytest.warns(FitFailedWarning, match=r"(?s)DiscriminantAlignment.* is left out: no luck"):
        ensemble = MetricEnsemble(random_state=0).fit(*numbers)
    assert len(ensemble.learners_) == 4


def test_score_of_a_table_with_names_is_the_area_under_the_curve_of_its_pairs():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"color": rng.choice(["red", "green", "blue"], 60), "size": rng.random(60)}
    )
    y = np.where(table["color"] == "red", table["size"] > 0.5, table["size"] > 0.2)
    ensemble = MetricEnsemble(QUICK).fit(table, y)
    left, right = np.triu_indices(60, k=1)
    images = ensemble.transform(table)
    distances = np.linalg.norm(images[left] - images[right], axis=1)
    assert ensemble.score(table, y) == pytest.approx(roc_auc_score(y[left] != y[right], distances))


@pytest.mark.filterwarnings("ignore:.*is left out")
def test_euclid_is_kept_where_nothing_can_be_learned(numbers):
    X, y = numbers
    with pytest.warns(UserWarning, match="keeps Euclid's distance"):
        ensemble = MetricEnsemble([Failing()], n_components=None).fit(X, y)
    expected = squared_distances(StandardScaler().fit_transform(X))
    np.testing.assert_allclose(squared_distances(ensemble.transform(X)), expected, atol=1e-8)


def test_many_columns_are_learned_in_their_principal_components():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 250))
    X[:, 0] *= 3
    y = X[:, 0] + 0.1 * rng.normal(size=150)
    ensemble = MetricEnsemble(QUICK, n_components=None).fit(X, y)
    _, _, axes = np.linalg.svd(ensemble.encoder_.transform(X), full_matrices=False)
    outside = ensemble.components_ - ensemble.components_ @ axes[:64].T @ axes[:64]
    # The randomised search of the axes is not exact.
    assert np.linalg.norm(outside) < 0.2 * np.linalg.norm(ensemble.components_)
    assert np.linalg.matrix_rank(ensemble.get_mahalanobis_matrix(), tol=1e-8) <= 64


def test_neighbors_are_better_where_targets_bend():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 6))
    y = np.cos(4 * X[:, 0]) + X[:, 1] ** 2
    scores = [
        cross_val_score(make_pipeline(step, KNeighborsRegressor()), X, y, cv=3).mean()
        for step in (StandardScaler(), MetricEnsemble(random_state=0))
    ]
    assert 1 - scores[1] < 0.3 * (1 - scores[0])


def test_several_jobs_give_the_same(numbers):
    X, y = numbers
    # To rounding: BLAS adds in another order where it has other threads.
    np.testing.assert_allclose(
        MetricEnsemble(QUICK).fit(X, y).transform(X),
        MetricEnsemble(QUICK, n_jobs=2).fit(X, y).transform(X),
        rtol=1e-6,
        atol=1e-9,
    )


def test_sparse_is_as_dense(classes):
    from scipy import sparse

    X, y = classes
    X = np.where(np.median(X, axis=0) < X, X, 0)
    ensemble = MetricEnsemble(QUICK, n_components=None)
    distances = [
        squared_distances(clone(ensemble).fit(samples, y).transform(samples))
        for samples in (X, sparse.csr_array(X))
    ]
    np.testing.assert_allclose(*distances, atol=1e-8)


@pytest.mark.parametrize(
    ("learners", "message"),
    [
        ([], "learners is empty"),
        ([StandardScaler()], "linear metric learners of this package"),
        ([*QUICK, GradientAlignment(alpha=-1.0)], "'alpha' parameter of GradientAlignment"),
        ([PSDSVR(pairs=NearestPairs(0))], "'n_neighbors' parameter of NearestPairs"),
        ([IteratedMetricLearner(PSDSVR(C=-1.0))], "'C' parameter of PSDSVR"),
        # They were taken for places among sorted rows.
        ([PSDSVR(pairs=[(0, 1), (2, 3)])], "pairs is an array of rows of X, and MetricEnsemble"),
    ],
)
def test_wrong_learners_are_refused(learners, message, numbers):
    with pytest.raises(ValueError, match=message):
        MetricEnsemble(learners).fit(*numbers)


@pytest.mark.parametrize(
    "learner",
    [
        MetricEnsemble(max_samples=50, random_state=0),
        GradientAlignment(max_samples=50, random_state=0),
        NeighborhoodAlignment(max_samples=50, random_state=0),
    ],
)
def test_a_class_of_few_samples_is_among_those_that_stand_for_all(learner):
    """It was not, and y was called constant."""
    X, y = np.random.default_rng(0).normal(size=(2000, 3)), np.arange(2000) < 5
    X[y, 2] += 6
    components = learner.fit(X, y).transform(np.eye(3)) - learner.transform(np.zeros((1, 3)))
    lengths = np.linalg.norm(components, axis=1)
    # The steps of neighbourhood alignment do not improve on Euclid's distance here.
    assert lengths[2] > (1 - 1e-6) * lengths.max()


def test_very_many_columns_make_no_matrix_over_them():
    X = np.random.default_rng(0).normal(size=(30, 2000))
    model = MetricEnsemble(learners=[DiscriminantAlignment()])
    tracemalloc.start()
    model.fit(X, np.arange(30) % 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_columns = model.components_.shape[1]
    assert n_columns >= 2000
    assert peak < 8 * n_columns**2 / 2


def test_score_of_a_table_is_the_area_under_the_roc_curve_of_its_pairs(classes):
    X, y = classes
    table = pd.DataFrame(X, columns=list("abcde")).assign(grade=np.where(X[:, 0] > 13, "x", "y"))
    ensemble = MetricEnsemble(QUICK, random_state=0).fit(table, y)
    left, right = np.triu_indices(len(y), 1)
    images = ensemble.transform(table)
    distances = np.linalg.norm(images[left] - images[right], axis=1)
    expected = roc_auc_score(y[left] != y[right], distances)
    assert ensemble.score(table, y) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("library", ["pandas", "polars", "list"])
def test_samples_are_mapped_in_batches_of_rows_from_everywhere(library, monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=90), "b": np.repeat(["u", "v", "new"], 30)})
    y = X["a"].to_numpy() + (X["b"] == "u")
    metric = MetricEnsemble([DiscriminantAlignment()]).fit(X[:60], y[:60])
    expected = metric.transform(X)
    if library == "list":
        X = X.to_numpy().tolist()
        metric = MetricEnsemble([DiscriminantAlignment()]).fit(X[:60], y[:60])
    elif library == "polars":
        X = pytest.importorskip("polars").from_pandas(X)
    monkeypatch.setattr("metricalign.learners.ensemble.ENTRIES_OF_BATCH", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as one batch would have new categories only
        np.testing.assert_allclose(metric.transform(X), expected, atol=1e-12)
