"""Predictors whose neighbours are searched by a transformer: against the exact search."""

import builtins
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.preprocessing import FunctionTransformer

from metricalign import DiscriminantAlignment
from metricalign.neighbors import FaissTransformer
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor
from metricalign.predictors.search import ApproximateSearch, NeighborSearch

faiss = pytest.importorskip("faiss")

COMPLETE = [KNeighborsTransformer(), FaissTransformer(index="Flat")]


@pytest.fixture(scope="module")
def samples():
    X = np.random.default_rng(0).normal(size=(900, 4)).astype(np.float32)
    X[800:850] = X[:50]  # copies, whose targets differ
    y = X[:, 0] ** 2 + X[:, 1]
    y[800:850] += 0.3
    for array in (X, y):
        array.flags.writeable = False
    return X, y


def regressor(**options):
    options = {"metric": "euclidean", "n_neighbors": 20} | options
    return MetricNeighborsRegressor(trees=False, random_state=0, **options)


def cells(n_probed, n_cells=30):
    return FaissTransformer(index=f"IVF{n_cells},Flat", index_parameters=f"nprobe={n_probed}")


@pytest.mark.parametrize("neighbors", COMPLETE, ids=lambda neighbors: type(neighbors).__name__)
def test_a_complete_search_is_the_exact_one(neighbors, samples):
    X, y = samples
    exact = regressor().fit(X[:700], y[:700])
    model = regressor(neighbors=neighbors).fit(X[:700], y[:700])
    assert exact.search_recall_ == model.search_recall_ == 1
    assert model.votes_ == exact.votes_
    queries = X[600:]
    for found, expected in zip(
        model.kneighbors(queries, 30), exact.kneighbors(queries, 30), strict=True
    ):
        assert_allclose(found, expected, rtol=1e-12)
    assert_allclose(model.predict(queries), exact.predict(queries), rtol=1e-12)
    assert_array_equal(model.explain(queries[:1]).rows, exact.explain(queries[:1]).rows)


def test_copies_have_their_share(samples):
    X, y = samples
    exact = regressor().fit(X, y)
    model = regressor(neighbors=FaissTransformer()).fit(X, y)
    assert model.share_of_copies_ == exact.share_of_copies_ > 0
    assert_allclose(model.predict(X[:50]), exact.predict(X[:50]), rtol=1e-2)
    distances, rows = model.kneighbors(X[:50], 2)
    assert_array_equal(distances, 0)
    assert_array_equal(np.sort(rows), np.column_stack([np.arange(50), np.arange(800, 850)]))


@pytest.mark.parametrize("n_probed", [1, 3, 30])
def test_recall_is_the_share_of_the_true_neighbors_that_are_found(n_probed, samples):
    X = samples[0][:600]
    search = ApproximateSearch(X, clone(cells(n_probed)).fit(X))
    asked = np.arange(0, 600, 3)
    distances = np.linalg.norm(X[asked, None].astype(float) - X, axis=2)
    true = np.argsort(distances, axis=1)[:, 1:11]
    found = search.nearest(X[asked], 11)[1][:, 1:]
    share = np.mean([np.isin(*rows).mean() for rows in zip(true, found, strict=True)])
    assert search.recall(10) == pytest.approx(share)
    assert (search.recall(10) == 1) == (n_probed == 30)


def test_samples_with_too_few_neighbors_are_searched_exactly(samples):
    """A cell has some twenty samples, of which few have 60 neighbours in one cell."""
    X = samples[0][:700]
    search = ApproximateSearch(X, clone(cells(1)).fit(X))
    distances, rows = search.nearest(X, 60)
    expected = NeighborSearch(X).nearest(X, 60)
    assert_allclose(distances, expected[0])
    assert all(len(set(row)) == 60 for row in rows)
    # All are there, where more are asked for.
    assert search.nearest(X[:5], 900)[1].shape == (5, 700)


@pytest.mark.parametrize("factor", [1e8, 1e20, 1e30])
def test_samples_far_from_all_others_have_their_exact_neighbors(factor, samples):
    X = samples[0][:700].astype(float)
    queries = X[:4].copy()
    queries[1, 2] = factor
    for search in (
        ApproximateSearch(X, FaissTransformer().fit(X)),
        ApproximateSearch(X[:600], FaissTransformer().fit(X[:600])).added(X[600:]),
    ):
        for asked in (queries, queries[1:2]):
            distances, rows = search.nearest(asked, 9)
            assert_allclose(distances[asked[:, 2] == factor], factor, rtol=1e-6)
            assert_allclose(distances, np.linalg.norm(asked[:, None] - X[rows], axis=2))
            expected = NeighborSearch(X).nearest(asked, 9)
            assert_allclose(distances, expected[0])
    # Far samples may be added as well.
    search = ApproximateSearch(X, FaissTransformer().fit(X)).added(queries[1:2])
    assert_array_equal(search.nearest(queries[:2], 2)[1][:, 0], [0, 700])


class Unsorted(TransformerMixin, BaseEstimator):
    """As many neighbours as asked for and no more, in the order of the samples."""

    def __init__(self, n_neighbors=5):
        self.n_neighbors = n_neighbors

    def fit(self, X, y=None):
        self.search_ = KNeighborsTransformer(n_neighbors=self.n_neighbors - 1).fit(X)
        return self

    def transform(self, X):
        self.search_.set_params(n_neighbors=self.n_neighbors - 1)
        graph = self.search_.transform(X)
        graph.sort_indices()
        return graph


def test_transformers_need_not_sort_nor_return_one_more(samples):
    X, y = samples
    model = regressor(neighbors=Unsorted()).fit(X, y)
    exact = regressor().fit(X, y)
    assert_allclose(model.predict(X), exact.predict(X), rtol=1e-12)


@pytest.mark.parametrize("neighbors", COMPLETE, ids=lambda neighbors: type(neighbors).__name__)
def test_further_samples_are_found_at_once(neighbors, samples):
    X, y = samples
    exact, model = (
        regressor(neighbors=one).fit(X[:500], y[:500]).partial_fit(X[500:700], y[500:700])
        for one in (None, neighbors)
    )
    assert_allclose(model.predict(X[650:]), exact.predict(X[650:]), rtol=1e-12)
    assert_array_equal(model.kneighbors(X[500:700], 1)[1][:, 0], np.arange(500, 700))


def test_an_interrupted_addition_changes_nothing(samples, monkeypatch):
    X, y = samples
    model = regressor(neighbors=FaissTransformer()).fit(X[:500], y[:500])
    expected = model.predict(X)
    original = np.concatenate

    def interrupted(arrays, *args, **kwargs):
        if len(arrays[0]) == 500 and arrays[0].ndim == 1:  # after the index has been changed
            raise KeyboardInterrupt
        return original(arrays, *args, **kwargs)

    monkeypatch.setattr(np, "concatenate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[500:600], y[500:600])
    monkeypatch.undo()
    assert_array_equal(model.predict(X), expected)
    model.partial_fit(X[500:600], y[500:600])
    assert_array_equal(model.kneighbors(X[500:600], 1)[1][:, 0], np.arange(500, 600))


def test_classes_with_an_approximate_search(samples):
    X, y = samples
    labels = np.where(y > 1, "high", "low")
    model = MetricNeighborsClassifier(
        DiscriminantAlignment(), neighbors=FaissTransformer(), trees=False, random_state=0
    ).fit(X[:700], labels[:700])
    exact = clone(model).set_params(neighbors=None).fit(X[:700], labels[:700])
    assert model.search_recall_ > 0.95
    assert np.mean(model.predict(X[700:]) == exact.predict(X[700:])) > 0.98


def test_pickled_cloned_and_searched_over(samples):
    X, y = samples[0][:300], samples[1][:300]
    given = FaissTransformer()
    model = regressor(neighbors=given).fit(X, y)
    assert not hasattr(given, "index_")
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert_array_equal(clone(model).fit(X, y).predict(X), model.predict(X))
    grid = {"neighbors__index_parameters": ["efSearch=4", "efSearch=40"]}
    assert GridSearchCV(model, grid, cv=2).fit(X, y).best_score_ > 0.8


def test_the_search_is_printed(samples, capsys):
    X, y = samples[0][:300], samples[1][:300]
    regressor(verbose=True).fit(X, y)
    assert capsys.readouterr().out == (
        "[MetricNeighborsRegressor] neighbours among 300 samples: exactly\n"
    )
    model = regressor(neighbors=cells(1, 9), verbose=True).fit(X, y)
    assert capsys.readouterr().out == (
        "[MetricNeighborsRegressor] neighbours among 300 samples: by "
        f"{cells(1, 9)!r}, which finds {model.search_recall_:.1%} of them\n"
    )
    assert 0.3 < model.search_recall_ < 1


# Bad input


def never(X):
    raise AssertionError("It must not be fitted.")


@pytest.mark.parametrize(
    ("neighbors", "message"),
    [
        (KNeighborsTransformer(mode="connectivity"), "must give distances: set mode='distance'"),
        (FunctionTransformer(), "with a parameter n_neighbors"),
        ("faiss", "'neighbors' parameter of MetricNeighborsRegressor"),
    ],
)
def test_wrong_searches_are_refused_at_once(neighbors, message, samples):
    model = regressor(metric=FunctionTransformer(never), neighbors=neighbors)
    with pytest.raises(ValueError, match=message):
        model.fit(*samples)


def test_faiss_is_asked_for_before_the_fit(samples, monkeypatch):
    original = builtins.__import__

    def without_faiss(name, *arguments):
        if name == "faiss":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_faiss)
    model = regressor(metric=FunctionTransformer(never), neighbors=FaissTransformer())
    with pytest.raises(ImportError, match=r'pip install "metricalign\[ann\]"'):
        model.fit(*samples)
