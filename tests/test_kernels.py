import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from metricalign.operators import PairOperator
from metricalign.operators.kernels import PairGraph, fastest_kernels, plain

MODULES = [pytest.param(plain, id="plain")]
try:
    from metricalign.operators.kernels import compiled
except ImportError:
    compiled = None
else:
    MODULES.append(pytest.param(compiled, id="compiled"))
each_module = pytest.mark.parametrize("kernels", MODULES)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
needs_numba = pytest.mark.skipif(compiled is None, reason="numba is not installed")


@st.composite
def settings_of_pairs(draw):
    """Samples, symmetric matrix, pairs that may repeat and weights, of small integers."""
    n_samples, n_features = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    numbers = st.integers(-4, 4).map(float)
    X = draw(arrays(np.float64, (n_samples, n_features), elements=numbers))
    M = draw(arrays(np.float64, (n_features, n_features), elements=numbers))
    n_pairs = draw(st.integers(0, 12))
    pairs = draw(arrays(np.intp, (n_pairs, 2), elements=st.integers(0, n_samples - 1)))
    return X, M + M.T, pairs, draw(arrays(np.float64, n_pairs, elements=numbers))


@each_module
@each_dtype
@settings(max_examples=60)
@given(setting=settings_of_pairs())
def test_kernels_are_the_sums_over_pairs(kernels, dtype, setting):
    """Small integers are exact in either precision, in whatever order they are added."""
    X, M, pairs, weights = setting
    graph = PairGraph(pairs, len(X))
    given_X = X.astype(dtype)
    distances = kernels.squared_distances(given_X, (X @ M).astype(dtype), graph)
    lengths = kernels.squared_lengths(given_X, graph)
    degrees = np.arange(len(X), dtype=dtype)
    scratch = np.full_like(given_X, np.nan)
    rows = kernels.weighted_rows(given_X, degrees, weights.astype(dtype), graph, scratch)
    assert distances.dtype == lengths.dtype == rows.dtype == dtype
    assert_array_equal(distances, [(X[i] - X[j]) @ M @ (X[i] - X[j]) for i, j in pairs])
    assert_array_equal(lengths, [(X[i] - X[j]) @ (X[i] - X[j]) for i, j in pairs])
    expected = degrees[:, None] * X
    for (i, j), weight in zip(pairs, weights, strict=True):
        expected[i] -= weight * X[j]
    assert_array_equal(rows, expected)
    expected = np.zeros(len(X))
    for (i, j), weight in zip(pairs, weights, strict=True):
        expected[i] += weight
        expected[j] += weight
    assert_array_equal(graph.degrees(weights), expected)


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2, 5])
@each_dtype
def test_threads_change_nothing(monkeypatch, n_threads, dtype):
    """However the rows are shared out, each pair is computed once and in the same way."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(23, 4)).astype(dtype)
    # All pairs begin at few samples, so that some threads have rows without any.
    pairs = np.column_stack([rng.choice([3, 4, 20], size=200), rng.integers(23, size=200)])
    graph, weights = PairGraph(pairs, 23), rng.normal(size=200).astype(dtype)
    degrees = np.ones(23, dtype)
    alone = compiled.weighted_rows(X, degrees, weights, graph, np.empty_like(X))
    distances = compiled.squared_distances(X, X, graph)
    monkeypatch.setattr(compiled, "_WORK_OF_A_THREAD", 1)
    monkeypatch.setattr(compiled, "_openmp_effective_n_threads", lambda: n_threads)
    scratch = np.full_like(X, np.nan)
    assert_array_equal(compiled.weighted_rows(X, degrees, weights, graph, scratch), alone)
    assert_array_equal(compiled.squared_distances(X, X, graph), distances)


@needs_numba
def test_threads_are_those_that_openmp_may_take(monkeypatch):
    started = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, n_threads):
            started.append(n_threads)
            super().__init__(n_threads)

    monkeypatch.setattr(compiled, "ThreadPoolExecutor", Counted)
    monkeypatch.setattr(compiled, "_WORK_OF_A_THREAD", 1)
    # Without it scikit-learn takes no more threads than there are cores, however many may be taken.
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    X, pairs = np.ones((50, 3)), np.column_stack([np.arange(49), np.arange(1, 50)])
    with threadpool_limits(1):
        compiled.squared_lengths(X, PairGraph(pairs, 50))
    assert started == []
    with threadpool_limits(3):
        compiled.squared_lengths(X, PairGraph(pairs, 50))
    assert started == [3]


@needs_numba
def test_threads_have_equal_shares_of_the_rows(monkeypatch):
    monkeypatch.setattr(compiled, "_WORK_OF_A_THREAD", 1)
    monkeypatch.setattr(compiled, "_openmp_effective_n_threads", lambda: 4)
    graph = PairGraph(np.column_stack([np.arange(40), (np.arange(40) + 1) % 40]), 40)
    shares = []
    compiled._over_rows(
        lambda start, stop, *arrays: shares.append((start, stop)), graph, np.ones((40, 3))
    )
    assert sorted(shares) == [(0, 10), (10, 20), (20, 30), (30, 40)]


@each_module
def test_pairs_of_identical_samples_have_distance_zero(kernels):
    X = np.random.default_rng(0).normal(size=(4, 37))
    X = np.vstack([X, X])
    graph = PairGraph(np.array([[0, 4], [5, 1], [2, 2]]), 8)
    assert_array_equal(kernels.squared_distances(X, X, graph), np.zeros(3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_module
def test_what_is_not_finite_is_not_hidden(kernels, value):
    X = np.ones((3, 2))
    X[1, 0] = value
    graph = PairGraph(np.array([[0, 1], [0, 2]]), 3)
    lengths = kernels.squared_lengths(X, graph)
    assert not np.isfinite(lengths[0])
    assert lengths[1] == 0


@needs_numba
@each_dtype
def test_operators_agree_with_and_without_numba(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    X, M = rng.normal(size=(60, 9)).astype(dtype), rng.normal(size=(9, 9)).astype(dtype)
    pairs, weights = rng.integers(60, size=(300, 2)), rng.normal(size=300)
    results = []
    for kernels in (plain, compiled):
        monkeypatch.setattr(
            "metricalign.operators.dense.fastest_kernels", lambda kernels=kernels: kernels
        )
        operator = PairOperator(X, pairs)
        assert operator._kernels is kernels
        results.append((operator.distances(M + M.T), operator.adjoint(weights)))
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype == dtype
        assert_allclose(one, other, atol=200 * np.finfo(dtype).eps * np.abs(one).max())


@needs_numba
def test_threads_of_others_start_none(monkeypatch):
    """Dask's or joblib's have shared the cores out already."""
    monkeypatch.setattr(compiled, "_WORK_OF_A_THREAD", 1)
    monkeypatch.setattr(compiled, "_openmp_effective_n_threads", lambda: 4)
    X, graph = np.ones((50, 3)), PairGraph(np.array([[0, 1]]), 50)

    def fail(n_threads):
        raise AssertionError

    with ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(compiled, "ThreadPoolExecutor", fail)
        other.submit(compiled.squared_lengths, X, graph).result()
        with pytest.raises(AssertionError):
            compiled.squared_lengths(X, graph)


@needs_numba
def test_numba_that_cannot_be_imported_is_told(monkeypatch):
    import metricalign.operators.kernels

    monkeypatch.delattr(metricalign.operators.kernels, "compiled")
    monkeypatch.setitem(sys.modules, "metricalign.operators.kernels.compiled", None)
    with pytest.warns(UserWarning, match="numba is installed but cannot be imported"):
        assert fastest_kernels.__wrapped__() is plain


@needs_numba
def test_without_a_folder_to_write_to_nothing_is_cached(monkeypatch):
    def refuse(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "_jit", refuse)
    assert compiled._compile(len) is len


def test_numba_is_used_where_it_is_installed():
    assert fastest_kernels() is (plain if compiled is None else compiled)


@pytest.mark.slow
def test_without_numba_metrics_are_learned_all_the_same():
    program = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "numba" else real(name, *rest)
from sklearn.datasets import load_iris
from metricalign import PSDSVR
learner = PSDSVR().fit(*load_iris(return_X_y=True))
assert learner.converged_
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_numba_is_imported_by_a_fit_alone():
    program = "import sys, metricalign; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
