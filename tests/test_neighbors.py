import builtins
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from metricalign.neighbors import FaissTransformer
from metricalign.pairs import NearestClassPairs, NearestPairs


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 8))
    X.flags.writeable = False
    return X


def directed(graph):
    graph = graph.tocoo()
    return set(zip(graph.row.tolist(), graph.col.tolist(), strict=True))


@parametrize_with_checks([FaissTransformer(), FaissTransformer(index="IVF2,Flat")])
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


@pytest.mark.parametrize("index", ["Flat", "IVF10,Flat"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_graph_of_a_complete_search_is_scikit_learns(samples, index, dtype):
    X = samples.astype(dtype)
    parameters = "nprobe=10" if index.startswith("IVF") else None
    search = FaissTransformer(7, index, parameters).fit(X[:400])
    expected = KNeighborsTransformer(n_neighbors=7).fit(X[:400])
    for rows in (X[:400], X[400:]):
        graph = search.transform(rows)
        assert sparse.issparse(graph)
        assert graph.dtype == dtype
        assert directed(graph) == directed(expected.transform(rows))
        # In float32 a sample is not quite at distance 0 from itself.
        assert_allclose(graph.toarray(), expected.transform(rows).toarray(), rtol=1e-4, atol=1e-2)
        assert (np.diff(graph.data.reshape(len(rows), 8)) >= 0).all()


@pytest.mark.parametrize("index", ["HNSW32", "HNSW8", "IVF10,Flat"])
def test_distances_of_an_approximate_search_are_true(samples, index):
    graph = FaissTransformer(index=index).fit_transform(samples).tocoo()
    distances = np.linalg.norm(samples[graph.row] - samples[graph.col], axis=1)
    assert_allclose(graph.data, distances, rtol=1e-5, atol=1e-6)


def test_larger_parameters_miss_less(samples):
    exact = directed(KNeighborsTransformer().fit_transform(samples))

    def recall(index, parameters):
        search = FaissTransformer(index=index, index_parameters=parameters)
        return len(directed(search.fit_transform(samples)) & exact) / len(exact)

    assert recall("IVF20,Flat", "nprobe=1") < recall("IVF20,Flat", "nprobe=4") < 1
    assert recall("IVF20,Flat", "nprobe=20") == 1
    assert recall("HNSW4", "efSearch=8") < recall("HNSW4", "efSearch=200")
    assert recall("HNSW32", None) > 0.95


@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1.0, 1e30, 1e200])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_offsets_and_units_do_not_matter(samples, factor, offset):
    expected = FaissTransformer().fit_transform(samples)
    graph = FaissTransformer().fit_transform(factor * (samples + offset))
    shared = directed(graph) & directed(expected)
    assert len(shared) > 0.99 * expected.nnz
    found = graph.tocoo()
    distances = np.linalg.norm(samples[found.row] - samples[found.col], axis=1)
    assert_allclose(found.data / factor, distances, rtol=1e-4, atol=1e-5)


def test_a_sample_that_is_far_out_costs_the_others_no_digits(samples):
    far = samples.copy()
    far[0] = 1e9
    others = directed(KNeighborsTransformer().fit_transform(samples[1:]))
    graph = FaissTransformer(index="Flat").fit(far).transform(far[1:])
    assert directed(graph[:, 1:]) == others


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 3e38), (np.float64, 1e308)])
def test_differences_beyond_the_range_of_numbers_are_refused(dtype, largest):
    X = np.array([[largest], [-largest], [0.0], [0.0], [0.0]], dtype=dtype)
    with pytest.raises(ValueError, match=r"X has entries so large .* range of float.*Scale X"):
        FaissTransformer().fit(X)


@pytest.mark.parametrize("unit", [1e19, 1e30, 1e300])
def test_samples_too_far_for_single_precision_are_refused(samples, unit):
    transformer = FaissTransformer(index="Flat").fit(samples)
    with pytest.raises(ValueError, match=r"times as far .* Check the units of X"):
        transformer.transform(unit * samples)
    with pytest.raises(ValueError, match=r"times as far .* Check the units of X"):
        transformer.partial_fit(unit * samples)
    far = 1e15 * samples[:2]
    nearest = transformer.transform(far)
    expected = np.sort(np.linalg.norm(far[:, None] - samples, axis=2), axis=1)[:, :6]
    np.testing.assert_allclose(nearest.data.reshape(2, 6), expected, rtol=1e-6)


def test_constant_samples_are_at_distance_zero():
    graph = FaissTransformer(2).fit_transform(np.full((20, 3), 7.0))
    assert graph.nnz == 60
    assert not graph.data.any()


def test_threads_do_not_change_the_graph(samples):
    graphs = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            graphs.append(FaissTransformer().fit_transform(samples))
    assert_array_equal(graphs[0].toarray(), graphs[1].toarray())


def test_pickled_and_cloned(samples):
    search = FaissTransformer(3, index_parameters="efSearch=40").fit(samples)
    expected = search.transform(samples).toarray()
    assert_array_equal(pickle.loads(pickle.dumps(search)).transform(samples).toarray(), expected)
    assert_array_equal(clone(search).fit_transform(samples).toarray(), expected)


def test_neighbors_of_a_pipeline():
    X, y = load_digits(return_X_y=True)
    train, test = X[:1200], X[1200:]
    model = make_pipeline(FaissTransformer(6), KNeighborsClassifier(5, metric="precomputed"))
    exact = KNeighborsClassifier(5).fit(train, y[:1200])
    agreement = np.mean(model.fit(train, y[:1200]).predict(test) == exact.predict(test))
    assert agreement > 0.98


@pytest.mark.parametrize("strategy", [NearestPairs(), NearestClassPairs()], ids=str)
def test_pairs_are_nearly_those_of_the_exact_search(strategy, samples):
    y = np.arange(len(samples)) % 3
    exact = set(map(tuple, strategy.select(samples, y).indices))
    search = clone(strategy).set_params(neighbors=FaissTransformer())
    found = set(map(tuple, search.select(samples, y).indices))
    assert len(found & exact) > 0.97 * len(exact)


# Bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"index": "nonsense"}, "cannot make index='nonsense'"),
        ({"index_parameters": "nprobe=3"}, "index_parameters='nprobe=3'"),
        ({"index_parameters": "efSearch=many"}, "index_parameters='efSearch=many'"),
        ({"index": "IVF900,Flat"}, "n_samples=500 and n_features=8: .* number of clusters"),
        ({"index": 32}, "'index' parameter of FaissTransformer"),
        ({"n_neighbors": 0}, "'n_neighbors' parameter of FaissTransformer"),
    ],
)
def test_wrong_parameters(parameters, message, samples):
    with pytest.raises(ValueError, match=message):
        FaissTransformer(**parameters).fit(samples)


def test_more_neighbors_than_samples(samples):
    search = FaissTransformer(10).fit(samples[:11])
    assert search.transform(samples).nnz == 11 * len(samples)
    with pytest.raises(ValueError, match=r"n_neighbors=10 must be less than .* the fit, 10"):
        FaissTransformer(10).fit_transform(samples[:10])


def test_sparse_samples_are_refused(samples):
    with pytest.raises(TypeError, match="Sparse data was passed"):
        FaissTransformer().fit(sparse.csr_array(samples))


def test_faiss_is_asked_for(samples, monkeypatch):
    original = builtins.__import__

    def without_faiss(name, *arguments):
        if name == "faiss":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(ImportError, match=r'pip install "metricalign\[ann\]"'):
        FaissTransformer().fit(samples)
