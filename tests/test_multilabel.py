import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_wine, make_multilabel_classification
from sklearn.metrics import label_ranking_loss, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from metricalign import RAMLSVR, MetricNeighborsClassifier, multilabel
from metricalign.metrics import SCORERS
from metricalign.multilabel import MLkNN


@pytest.fixture(scope="module")
def data():
    X, y = make_multilabel_classification(n_samples=80, n_features=5, n_classes=4, random_state=0)
    # No ties of distances, whose order would be the search's.
    return X + 0.01 * np.random.default_rng(0).normal(size=X.shape), y


def ml_knn(X, Y, X_test, k, s, distances=cdist):
    """The formulas of the paper, one sample and label at a time (its equations 1 to 7)."""
    m, q = Y.shape
    among, to_test = distances(X, X), distances(X_test, X)
    probabilities = np.empty((len(X_test), q))
    for label in range(q):
        prior = (s + Y[:, label].sum()) / (s * 2 + m)
        c, c_without = [0] * (k + 1), [0] * (k + 1)
        for i in range(m):
            order = [int(a) for a in np.argsort(among[i]) if a != i]
            delta = sum(int(Y[a, label]) for a in order[:k])
            if Y[i, label]:
                c[delta] += 1
            else:
                c_without[delta] += 1
        for t in range(len(X_test)):
            j = sum(int(Y[a, label]) for a in np.argsort(to_test[t])[:k])
            having = prior * (s + c[j]) / (s * (k + 1) + sum(c))
            without = (1 - prior) * (s + c_without[j]) / (s * (k + 1) + sum(c_without))
            probabilities[t, label] = having / (having + without)
    return probabilities


@pytest.mark.filterwarnings(
    "ignore:n_neighbors=",  # its data are tiny
)
@parametrize_with_checks(
    [MLkNN(), MLkNN(metric="precomputed"), MLkNN(n_neighbors=3, smoothing=0.5, metric="manhattan")]
)
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("s", [1.0, 0.1])
def test_formulas_of_the_paper(data, k, s):
    X, y = data
    model = MLkNN(n_neighbors=k, smoothing=s).fit(X[:60], y[:60])
    expected = ml_knn(X[:60], y[:60], X[60:], k, s)
    np.testing.assert_allclose(model.predict_proba(X[60:]), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X[60:]), expected > 0.5)
    np.testing.assert_allclose(model.likelihood_.sum(axis=2), 1)


def test_four_samples_by_hand():
    X, y = [[0.0], [1.0], [10.0], [11.0]], [[1, 0], [1, 0], [0, 0], [0, 0]]
    model = MLkNN(n_neighbors=1).fit(X, y)
    np.testing.assert_allclose(model.prior_, [3 / 6, 1 / 6])
    # Both with the label have a neighbour with it, both without it have none.
    np.testing.assert_allclose(model.likelihood_[:, 0], [[3 / 4, 1 / 4], [1 / 4, 3 / 4]])
    np.testing.assert_allclose(model.likelihood_[:, 1], [[5 / 6, 1 / 6], [1 / 2, 1 / 2]])
    probabilities = model.predict_proba([[0.4], [12.0]])
    never = (1 / 6 * 1 / 2) / (1 / 6 * 1 / 2 + 5 / 6 * 5 / 6)
    np.testing.assert_allclose(probabilities, [[3 / 4, never], [1 / 4, never]])
    np.testing.assert_array_equal(model.predict([[0.4], [12.0]]), [[1, 0], [0, 0]])


@pytest.mark.parametrize("metric", ["manhattan", "cosine", lambda a, b: abs(a - b).max()])
def test_any_metric(data, metric):
    X, y = data
    name = metric if isinstance(metric, str) else "chebyshev"
    name = {"manhattan": "cityblock"}.get(name, name)
    model = MLkNN(n_neighbors=4, metric=metric).fit(X[:60], y[:60])
    expected = ml_knn(X[:60], y[:60], X[60:], 4, 1.0, lambda a, b: cdist(a, b, name))
    np.testing.assert_allclose(model.predict_proba(X[60:]), expected)


def test_precomputed_distances(data):
    X, y = data
    model = MLkNN(metric="precomputed").fit(cdist(X[:60], X[:60]), y[:60])
    expected = MLkNN().fit(X[:60], y[:60]).predict_proba(X[60:])
    np.testing.assert_array_equal(model.predict_proba(cdist(X[60:], X[:60])), expected)
    search = GridSearchCV(MLkNN(metric="precomputed"), {"n_neighbors": [3]}, error_score="raise")
    search.fit(cdist(X, X), y)  # which cuts rows and columns


def test_missing_values_where_the_metric_has_them(data):
    X, y = data
    X = X.copy()
    X[::7, 0] = np.nan
    assert MLkNN(metric="nan_euclidean").fit(X, y).predict(X).shape == y.shape
    with pytest.raises(ValueError, match="NaN"):
        MLkNN().fit(X, y)


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.coo_array, sparse.lil_array])
def test_sparse_labels(data, container):
    X, y = data
    expected = MLkNN().fit(X, y)
    model = MLkNN().fit(sparse.csr_array(X), container(y))
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    labels = model.predict(X)
    assert sparse.issparse(labels)
    np.testing.assert_array_equal(labels.toarray(), expected.predict(X))
    assert model.score(X, container(y)) == expected.score(X, y)


@pytest.mark.parametrize("dtype", [bool, float, np.uint8])
def test_types_of_labels(data, dtype):
    X, y = data
    expected = MLkNN().fit(X, y).predict(X)
    np.testing.assert_array_equal(MLkNN().fit(X, y.astype(dtype)).predict(X), expected)


def test_constant_labels(data):
    X, y = data
    y = np.column_stack([y, np.zeros(len(y), dtype=int), np.ones(len(y), dtype=int)])
    predicted = MLkNN().fit(X, y).predict(X)
    assert not predicted[:, -2].any()
    assert predicted[:, -1].all()


def test_classes_are_labels():
    X, y = load_wine(return_X_y=True)
    model = MLkNN().fit(X, y)
    indicators = np.eye(3, dtype=int)[y]
    probabilities = MLkNN().fit(X, indicators).predict_proba(X)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(model.predict_proba(X), probabilities)
    np.testing.assert_array_equal(model.predict(X), probabilities.argmax(axis=1))
    # Two classes are complements before they are scaled.
    two = MLkNN().fit(X, y > 0)
    label = MLkNN().fit(X, np.column_stack([y > 0, y > 0])).predict_proba(X)[:, 0]
    np.testing.assert_allclose(two.predict_proba(X)[:, 1], label)


def test_two_labels_and_scikit_learns_scorer(data):
    # With other classes_, scikit-learn takes two labels for the classes of one.
    X, y = data[0], data[1][:, :2]
    model = MLkNN().fit(X, y)
    scorer = make_scorer(label_ranking_loss, response_method="predict_proba")
    assert scorer(model, X, y) == -SCORERS["ranking"](model, X, y)


@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("estimator", [MLkNN(), MetricNeighborsClassifier(trees=False)])
def test_probabilities_of_label_sets_are_cross_predicted(data, estimator, n_labels):
    X, y = data[0], data[1][:, :n_labels]
    found = cross_val_predict(estimator, X, y, method="predict_proba", cv=KFold(2))
    expected = np.empty((len(X), n_labels))
    for train, test in KFold(2).split(X):
        expected[test] = clone(estimator).fit(X[train], y[train]).predict_proba(X[test])
    np.testing.assert_allclose(found, expected)


def test_search_on_a_learned_metric(data):
    X, y = data
    steps = [("scale", StandardScaler()), ("metric", RAMLSVR()), ("labels", MLkNN())]
    grid = {"labels__n_neighbors": [3, 5], "labels__smoothing": [0.5, 1.0]}
    search = GridSearchCV(
        Pipeline(steps), grid, cv=3, scoring=SCORERS["average_precision"], error_score="raise"
    ).fit(X, y)
    assert 0.5 < search.best_score_ <= 1


def test_pickle_and_frames(data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=list("abcde"))
    model = MLkNN().fit(frame, pandas.DataFrame(y))
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(frame), MLkNN().fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))
    with config_context(enable_metadata_routing=True):
        assert clone(model).get_params() == MLkNN().get_params()


def test_few_samples(data):
    X, y = data[0][:6], data[1][:6]
    with pytest.warns(UserWarning, match="n_neighbors=10 is too many for 6 samples; 5 are used"):
        model = MLkNN().fit(X, y)
    expected = MLkNN(n_neighbors=5).fit(X, y).predict_proba(data[0])
    np.testing.assert_array_equal(model.predict_proba(data[0]), expected)


@pytest.mark.parametrize(
    ("options", "labels", "match"),
    [
        ({"n_neighbors": 0}, None, "n_neighbors"),
        ({"smoothing": 0.0}, None, "smoothing"),
        ({"metric": "euclidian"}, None, "metric|euclidian"),
        ({}, lambda y: y + 1, "0 or 1"),
        ({}, lambda y: y / 3, "0 or 1"),
        ({}, lambda y: [np.flatnonzero(row) for row in y], "different lengths, as label sets"),
        ({}, lambda y: [set(np.flatnonzero(row)) for row in y], "MultiLabelBinarizer"),
        ({}, lambda y: y[1:], "inconsistent numbers of samples"),
        ({}, lambda y: np.where(y, np.nan, 0.0), "NaN"),
        ({}, lambda y: y[:, 0] + 0.5, "Unknown label type"),
        ({}, lambda y: np.ma.masked_equal(y, 1), "y is a masked array"),
    ],
)
def test_errors(data, options, labels, match):
    X, y = data
    with pytest.raises(ValueError, match=match):
        MLkNN(**options).fit(X, y if labels is None else labels(y))


@pytest.mark.parametrize("metric", ["minkowski", "manhattan"])
def test_origin_and_type_of_the_samples_do_not_matter(metric):
    rng = np.random.default_rng(0)
    near = (1e-3 * rng.normal(size=(80, 20)) + 1e6) - 1e6
    y = (near[:, :3] > 0).astype(int)
    expected = MLkNN(metric=metric).fit(near, y).predict_proba(near)
    far = near + 1e6
    np.testing.assert_array_equal(MLkNN(metric=metric).fit(far, y).predict_proba(far), expected)
    whole = rng.integers(0, 256, (80, 20))
    expected = MLkNN(metric=metric).fit(whole.astype(float), y).predict_proba(whole.astype(float))
    unsigned = whole.astype(np.uint8)
    found = MLkNN(metric=metric).fit(unsigned, y.astype(bool)).predict_proba(unsigned)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["minkowski", "manhattan"])
@pytest.mark.parametrize(
    ("unit", "dtype"), [(1e-300, "f8"), (1e160, "f8"), (1e306, "f8"), (1e-30, "f4"), (1e30, "f4")]
)
def test_unit_of_the_samples_does_not_matter(data, metric, unit, dtype):
    X, y = data
    X = (X * unit).astype(dtype)
    exact = X.astype(float) / unit
    names = {"minkowski": "euclidean", "manhattan": "cityblock"}
    expected = ml_knn(exact, y, exact, 10, 1.0, partial(cdist, metric=names[metric]))
    np.testing.assert_allclose(MLkNN(metric=metric).fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1.0, 1e200, 1e300])
def test_sparse_and_dense_samples_have_the_same_neighbors(data, unit):
    X, y = data
    X = X + 3.0
    expected = ml_knn(X[:60], y[:60], X[60:], 10, 1.0)
    train, test = unit * X[:60], unit * X[60:]
    for fitted in (train, sparse.csr_array(train)):
        model = MLkNN().fit(fitted, y[:60])
        for asked in (test, sparse.csr_array(test)):
            np.testing.assert_allclose(model.predict_proba(asked), expected)


@pytest.mark.parametrize("units", [(1e150, 1e-20), (1e250, 1e-20)])
def test_small_differences_count_where_large_ones_are_equal(units):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 2, 60), 1e-3 * rng.normal(size=60)])
    y = (X[:, 1:] > [0, 1e-3]).astype(int)
    expected = ml_knn(X, y, X, 5, 1.0)
    np.testing.assert_allclose(MLkNN(5).fit(X * units, y).predict_proba(X * units), expected)


def test_differences_beyond_the_range_of_floats():
    X = np.resize([-1.7e308, 1.7e308, 1.7e308], (60, 1))
    y = np.tile([0, 1, 1], 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(MLkNN(3).fit(X, y).predict(X), y)


def test_a_graph_of_neighbors_is_taken_without_a_warning(data):
    X, y = data
    graph = KNeighborsTransformer(n_neighbors=12).fit(X).transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = MLkNN(metric="precomputed").fit(graph, y).predict_proba(graph)
    np.testing.assert_allclose(found, ml_knn(X, y, X, 10, 1.0))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("estimator", [MLkNN(3), MetricNeighborsClassifier(trees=False)])
def test_labels_keep_their_names(library, estimator):
    frames = pytest.importorskip(library)
    X, y = make_multilabel_classification(60, n_classes=3, random_state=0)
    names = ["war", "love", "crime"]
    model = clone(estimator).fit(X, frames.DataFrame(dict(zip(names, y.T, strict=True))))
    assert list(model.labels_) == names
    np.testing.assert_array_equal(model.predict(X), clone(estimator).fit(X, y).predict(X))
    assert clone(estimator).fit(X, y).labels_ is None


def test_few_of_many_samples_are_counted(monkeypatch):
    """They tell nearly the same, and all of a rare label are counted."""
    X, y = make_multilabel_classification(3000, n_classes=3, random_state=0)
    rng = np.random.default_rng(0)
    X = X + rng.normal(scale=0.1, size=X.shape)
    rare = (rng.random(3000) < 0.02) & (X[:, 0] > X[:, 0].mean())
    y = np.column_stack([y, rare])
    assert 5 < rare.sum() < 60
    of_all = MLkNN().fit(X, y)
    monkeypatch.setattr(multilabel, "_MOST_COUNTED", 200)
    some = MLkNN().fit(X, y)
    assert_array_equal(some.prior_, of_all.prior_)
    assert_array_equal(some.likelihood_[1, 3], of_all.likelihood_[1, 3])
    assert not np.array_equal(some.likelihood_[0], of_all.likelihood_[0])
    # A share p of 200 samples has a standard deviation of the root of p (1 - p) / 200.
    assert np.abs(some.likelihood_ - of_all.likelihood_).max() < 4 * np.sqrt(0.25 / 200)
    order = rng.permutation(3000)
    assert_array_equal(MLkNN().fit(X[order], y[order]).likelihood_, some.likelihood_)
    order, first = order[:500], np.sort(order[:500])
    likelihoods = [
        MLkNN(metric="precomputed").fit(cdist(X[rows], X[rows]), y[rows]).likelihood_
        for rows in (order, first)
    ]
    assert_array_equal(*likelihoods)


@pytest.mark.parametrize("metric", ["minkowski", "precomputed"])
def test_some_samples_have_the_neighbours_that_they_have_among_all(monkeypatch, metric):
    X, y = make_multilabel_classification(400, n_features=5, n_classes=1, random_state=0)
    X = X + np.random.default_rng(0).normal(scale=0.1, size=X.shape)
    X, distances = (X, cdist(X, X)) if metric == "minkowski" else (cdist(X, X),) * 2
    # Of a label of one sample in four all are counted, of its absence as many.
    y = (np.arange(400) % 4 == 0).astype(int)
    y = np.column_stack([y, 1 - y])
    monkeypatch.setattr(multilabel, "_MOST_COUNTED", 100)
    found = MLkNN(n_neighbors=4, metric=metric).fit(X, y).likelihood_[1, 0]
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1)[:, :4]
    votes = y[near[y[:, 0] == 1], 0].sum(axis=1)
    assert_allclose(found, (1 + np.bincount(votes, minlength=5)) / (5 + 100))
