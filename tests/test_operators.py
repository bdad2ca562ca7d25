import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from metricalign.operators import PairOperator
from metricalign.operators.kernels import plain

each_format = pytest.mark.parametrize(
    "to_format", [np.asarray, sparse.csr_array], ids=["dense", "csr"]
)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# With few pairs the differences are formed, with many the graph Laplacian.
each_size = pytest.mark.parametrize("n_pairs", [1, 7, 120])


def random_setting(n_pairs, n_samples=20, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) * (rng.random((n_samples, n_features)) < 0.6)
    pairs = rng.integers(n_samples, size=(n_pairs, 2))
    if n_pairs > 6:
        pairs[1] = pairs[0]  # twice
        pairs[2] = pairs[0, ::-1]  # and in the other order
        pairs[3] = [4, 4]  # no difference at all
    M = rng.normal(size=(n_features, n_features))
    return X, pairs, M + M.T, rng.normal(size=n_pairs)


def explicit_distances(X, pairs, M):
    return np.array([(X[i] - X[j]) @ M @ (X[i] - X[j]) for i, j in pairs])


def explicit_adjoint(X, pairs, beta):
    total = np.zeros((X.shape[1], X.shape[1]))
    for (i, j), b in zip(pairs, beta, strict=True):
        total += b * np.outer(X[i] - X[j], X[i] - X[j])
    return total


@each_format
@each_dtype
@each_size
def test_operators_are_the_explicit_sums(to_format, dtype, n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    operator = PairOperator(to_format(X.astype(dtype)), pairs)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    distances = operator.distances(M.astype(dtype))
    adjoint = operator.adjoint(beta.astype(dtype))
    assert distances.dtype == adjoint.dtype == operator.dtype == dtype
    assert_allclose(distances, explicit_distances(X, pairs, M), atol=tolerance)
    assert_allclose(adjoint, explicit_adjoint(X, pairs, beta), atol=tolerance)
    assert_allclose(
        operator.squared_lengths, explicit_distances(X, pairs, np.eye(5)), atol=tolerance
    )
    assert_allclose(operator.differences(), X[pairs[:, 0]] - X[pairs[:, 1]], atol=tolerance)
    assert_array_equal(adjoint, adjoint.T)
    assert (operator.n_pairs, operator.n_features) == (n_pairs, 5)


@settings(max_examples=80)
@given(data=st.data())
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "csr"])
@each_dtype
def test_adjoint_is_the_adjoint(is_sparse, dtype, data):
    """<adjoint(beta), M> = beta . distances(M), whatever the samples and the pairs."""
    n_samples, n_features = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 4))
    numbers = st.integers(-8, 8).map(float)
    X = data.draw(arrays(dtype, (n_samples, n_features), elements=numbers))
    M = data.draw(arrays(dtype, (n_features, n_features), elements=numbers))
    n_pairs = data.draw(st.integers(1, 12))
    pairs = data.draw(arrays(np.intp, (n_pairs, 2), elements=st.integers(0, n_samples - 1)))
    beta = data.draw(arrays(dtype, n_pairs, elements=numbers))
    M = M + M.T
    operator = PairOperator(sparse.csr_array(X) if is_sparse else X, pairs)
    adjoint = operator.adjoint(beta).astype(np.float64)
    distances = operator.distances(M).astype(np.float64)
    left, right = np.vdot(adjoint, M), beta @ distances
    size = np.abs(beta) @ explicit_distances(X, pairs, np.eye(n_features)) * np.abs(M).sum()
    # The samples are centred in their own precision first.
    size += np.abs(beta).sum() * np.abs(X).max() ** 2 * np.abs(M).sum()
    assert abs(left - right) <= 16 * np.finfo(dtype).eps * size
    assert_allclose(distances, explicit_distances(X, pairs, M), atol=1e-4 * (1 + np.abs(M).sum()))


@each_format
@each_dtype
@each_size
def test_diagonal_operators_are_those_of_the_diagonal_matrices(to_format, dtype, n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    m = np.diag(M)
    operator = PairOperator(to_format(X.astype(dtype)), pairs, is_diagonal=True)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    subset = np.arange(n_pairs)[::-2]
    part = operator.restricted(subset)
    for each, chosen, b in [(operator, pairs, beta), (part, pairs[subset], beta[subset])]:
        distances, adjoint = each.distances(m.astype(dtype)), each.adjoint(b.astype(dtype))
        assert distances.dtype == adjoint.dtype == each.dtype == dtype
        assert adjoint.shape == each.matrix_shape == (5,)
        assert distances.shape == (len(chosen),)
        assert_allclose(distances, explicit_distances(X, chosen, np.diag(m)), atol=tolerance)
        assert_allclose(adjoint, np.diag(explicit_adjoint(X, chosen, b)), atol=tolerance)
        assert b @ distances == pytest.approx(float(m @ adjoint), abs=100 * tolerance)
        assert_allclose(
            each.squared_lengths, explicit_distances(X, chosen, np.eye(5)), atol=tolerance
        )
        differences = each.differences()
        assert sparse.issparse(differences) == (to_format is sparse.csr_array)
        differences = differences.toarray() if sparse.issparse(differences) else differences
        assert_allclose(differences, X[chosen[:, 0]] - X[chosen[:, 1]], atol=tolerance)
    assert operator.n_passes == pytest.approx(2 + 2 * len(subset) / n_pairs)


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_matrix_shape(is_diagonal):
    X, pairs, *_ = random_setting(7)
    operator = PairOperator(X, pairs, is_diagonal=is_diagonal)
    assert operator.matrix_shape == ((5,) if is_diagonal else (5, 5))
    assert operator.adjoint(np.ones(7)).shape == operator.matrix_shape


@settings(max_examples=80)
@given(data=st.data())
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "csr"])
def test_diagonal_adjoint_is_the_adjoint(is_sparse, data):
    """In whole numbers, and many pairs over few samples: exact up to the centering."""
    n_samples, n_features = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 4))
    numbers = st.integers(-8, 8).map(float)
    X = data.draw(arrays(np.float64, (n_samples, n_features), elements=numbers))
    m = data.draw(arrays(np.float64, n_features, elements=numbers))
    n_pairs = data.draw(st.integers(1, 12))
    pairs = data.draw(arrays(np.intp, (n_pairs, 2), elements=st.integers(0, n_samples - 1)))
    beta = data.draw(arrays(np.float64, n_pairs, elements=numbers))
    operator = PairOperator(sparse.csr_array(X) if is_sparse else X, pairs, is_diagonal=True)
    adjoint, distances = operator.adjoint(beta), operator.distances(m)
    assert_allclose(adjoint, np.diag(explicit_adjoint(X, pairs, beta)), atol=1e-9)
    assert_allclose(distances, explicit_distances(X, pairs, np.diag(m)), atol=1e-9)
    assert m @ adjoint == pytest.approx(beta @ distances, abs=1e-8)


@pytest.mark.parametrize("n_pairs", [100, 4000], ids=["differences", "laplacian"])
def test_diagonal_operators_need_no_square_of_the_features(n_pairs):
    rng = np.random.default_rng(0)
    X = sparse.random_array((300, 3000), density=0.01, format="csr", rng=rng)
    operator = PairOperator(X, rng.integers(300, size=(n_pairs, 2)), is_diagonal=True)
    square = 3000 * 3000 * 8
    assert peak_of(operator.adjoint, rng.normal(size=n_pairs)) < square / 10
    assert peak_of(operator.distances, np.ones(3000)) < square / 10


@each_format
def test_laplacian_and_differences_agree(to_format):
    """A subset with fewer pairs than samples forms the differences; the whole does not."""
    X, pairs, M, beta = random_setting(120)
    operator = PairOperator(to_format(X), pairs)
    parts = [operator.restricted(part) for part in np.split(np.arange(120), 12)]
    assert_allclose(
        np.concatenate([part.distances(M) for part in parts]), operator.distances(M), atol=1e-12
    )
    adjoint = sum(part.adjoint(b) for part, b in zip(parts, np.split(beta, 12), strict=True))
    assert_allclose(adjoint, operator.adjoint(beta), atol=1e-12)


@each_format
@each_size
def test_restricted_is_the_part(to_format, n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    subset = np.flatnonzero(np.random.default_rng(1).random(n_pairs) < 0.7)[::-1]
    subset = subset if len(subset) else np.array([0])
    part = PairOperator(to_format(X), pairs).restricted(subset)
    chosen = pairs[subset]
    assert part.n_pairs == len(subset)
    assert_allclose(part.distances(M), explicit_distances(X, chosen, M), atol=1e-12)
    assert_allclose(
        part.adjoint(beta[subset]), explicit_adjoint(X, chosen, beta[subset]), atol=1e-12
    )
    assert_allclose(part.squared_lengths, explicit_distances(X, chosen, np.eye(5)), atol=1e-12)
    assert_allclose(part.differences(), X[chosen[:, 0]] - X[chosen[:, 1]], atol=1e-14)


def test_passes_are_counted_in_shares_of_the_whole():
    X, pairs, M, beta = random_setting(120)
    operator = PairOperator(X, pairs)
    assert operator.n_passes == 0
    operator.distances(M)
    operator.adjoint(beta)
    assert operator.n_passes == 2
    part = operator.restricted(np.arange(30))
    assert operator.n_passes == 2
    part.distances(M)
    assert operator.n_passes == pytest.approx(2.25)
    part.restricted(np.arange(15)).adjoint(beta[:15])
    assert operator.n_passes == pytest.approx(2.375)


@each_size
@each_format
def test_order_within_a_pair_does_not_matter(to_format, n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    operator, reverse = (PairOperator(to_format(X), p) for p in (pairs, pairs[:, ::-1]))
    assert_allclose(operator.distances(M), reverse.distances(M), atol=1e-12)
    assert_allclose(operator.adjoint(beta), reverse.adjoint(beta), atol=1e-12)


@each_size
@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_common_offset_costs_no_more_than_the_data_lost(offset, n_pairs):
    """The stored samples, offset included, are the truth: their differences are exact."""
    X, pairs, M, beta = random_setting(n_pairs)
    X = X + offset
    operator = PairOperator(X, pairs)
    assert_allclose(
        operator.distances(M), explicit_distances(X, pairs, M), atol=40 * np.spacing(offset)
    )
    assert_allclose(
        operator.adjoint(beta), explicit_adjoint(X, pairs, beta), atol=1e3 * np.spacing(offset)
    )


@each_size
@pytest.mark.parametrize(
    "share_across", [0.0, 0.3, 0.7], ids=["inside", "some_across", "most_across"]
)
def test_far_clusters_keep_their_small_distances(n_pairs, share_across):
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1], 15)
    X = rng.normal(size=(30, 4)) + 1e8 * cluster[:, None]
    pairs = rng.integers(15, size=(n_pairs, 2)) + 15 * rng.integers(2, size=(n_pairs, 1))
    across = rng.random(n_pairs) < share_across
    pairs[across] = pairs[across] % 15 + [0, 15]
    M = np.diag([1.0, 2.0, 0.5, 1.0])
    expected = explicit_distances(X, pairs, M)
    distances = PairOperator(X, pairs).distances(M)
    assert_allclose(distances[~across], expected[~across], atol=1e-6)
    assert_allclose(distances[across], expected[across], rtol=1e-12)


@each_size
def test_far_clusters_are_told_in_any_units(n_pairs):
    """Powers of two leave all digits as they are, whether distances are large or small."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4)) + 1e8 * np.repeat([0, 1], 15)[:, None]
    pairs = rng.integers(15, size=(n_pairs, 2)) + 15 * rng.integers(2, size=(n_pairs, 1))
    distances = PairOperator(X, pairs).distances(np.eye(4))
    for unit in (2.0**-20, 2.0**20):
        in_units = PairOperator(unit * X, pairs).distances(np.eye(4))
        assert_array_equal(in_units / unit**2, distances)


@each_size
def test_far_clusters_keep_their_small_adjoint(n_pairs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4)) + 1e8 * np.repeat([0, 1], 15)[:, None]
    pairs = rng.integers(15, size=(n_pairs, 2)) + 15 * rng.integers(2, size=(n_pairs, 1))
    beta = rng.normal(size=n_pairs)
    adjoint = PairOperator(X, pairs).adjoint(beta)
    assert_allclose(adjoint, explicit_adjoint(X, pairs, beta), atol=1e-6 * max(1, n_pairs))


@each_format
@each_size
def test_inputs_are_read_only(to_format, n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    stored = to_format(X)
    arrays_of = [pairs, M, beta]
    arrays_of += (
        [stored.data, stored.indices, stored.indptr] if sparse.issparse(stored) else [stored]
    )
    before = [array.copy() for array in arrays_of]
    for array in arrays_of:
        array.flags.writeable = False
    operator = PairOperator(stored, pairs)
    assert_allclose(operator.distances(M), explicit_distances(X, pairs, M), atol=1e-12)
    assert_allclose(operator.adjoint(beta), explicit_adjoint(X, pairs, beta), atol=1e-12)
    for array, original in zip(arrays_of, before, strict=True):
        assert_array_equal(array, original)


def test_samples_in_no_pair_do_not_matter():
    X, pairs, M, beta = random_setting(60)
    pairs = pairs % 10
    wild = X.copy()
    wild[10:] = 1e200
    operator, undisturbed = PairOperator(wild, pairs), PairOperator(X, pairs)
    assert_array_equal(operator.distances(M), undisturbed.distances(M))
    assert_array_equal(operator.adjoint(beta), undisturbed.adjoint(beta))


def test_only_zero_differences():
    X, _, M, _ = random_setting(5)
    operator = PairOperator(X, np.array([[0, 0], [3, 3]]))
    assert_array_equal(operator.distances(M), [0, 0])
    assert_array_equal(operator.adjoint(np.array([1.0, -2.0])), np.zeros((5, 5)))


def peak_of(function, *arguments):
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("offset", [0.0, 1e8], ids=["laplacian", "differences"])
def test_memory_is_linear_in_samples_plus_pairs(offset):
    rng = np.random.default_rng(0)
    n_samples, n_features, n_pairs = 2000, 50, 40000
    X = rng.normal(size=(n_samples, n_features))
    X[0] += offset  # one far sample: the others' differences would drown in the Laplacian
    pairs = rng.integers(1, n_samples, size=(n_pairs, 2))
    pairs[0] = [0, 1]
    operator = PairOperator(X, pairs)
    all_differences = n_pairs * n_features * 8
    beta = rng.normal(size=n_pairs)
    assert peak_of(operator.distances, np.eye(n_features)) < all_differences / 2
    assert peak_of(operator.adjoint, beta) < all_differences / 2
    assert peak_of(PairOperator, X, pairs) < all_differences / 2


@pytest.mark.parametrize("n_pairs", [1000, 20000], ids=["differences", "laplacian"])
def test_sparse_samples_are_never_densified(monkeypatch, n_pairs):
    rng = np.random.default_rng(0)
    X = sparse.random_array((5000, 200), density=0.01, format="csr", rng=rng)
    pairs = rng.integers(5000, size=(n_pairs, 2))
    densify = sparse.csr_array.toarray

    def guarded(matrix, *args, **kwargs):
        assert matrix.shape == (200, 200), f"{matrix.shape} made dense"
        return densify(matrix, *args, **kwargs)

    for kind in (sparse.csr_array, sparse.csc_array, sparse.coo_array):
        monkeypatch.setattr(kind, "toarray", guarded)
        monkeypatch.setattr(kind, "todense", guarded)
    operator = PairOperator(X, pairs)
    beta = rng.normal(size=n_pairs)
    adjoint, distances = operator.adjoint(beta), operator.distances(np.eye(200))
    assert np.trace(adjoint) == pytest.approx(beta @ distances)
    monkeypatch.undo()
    dense = 5000 * 200 * 8
    assert peak_of(operator.adjoint, beta) < dense / 2
    assert peak_of(PairOperator, X, pairs) < dense / 2


@each_format
@each_size
def test_pairs_in_many_batches(monkeypatch, to_format, n_pairs):
    monkeypatch.setattr(plain, "_BATCH_BYTES", 200)
    X, pairs, M, beta = random_setting(n_pairs)
    operator = PairOperator(to_format(X), pairs)
    far = X.copy()
    far[pairs[0, 0]] += 1e5  # the Laplacian would lose the others: from differences instead
    for samples, tolerance in [(X, 1e-11), (far, 1e-3)]:
        operator = PairOperator(to_format(samples), pairs)
        expected = explicit_distances(samples, pairs, np.eye(5))
        assert_allclose(operator.squared_lengths, expected, rtol=1e-9, atol=1e-11)
        expected = explicit_distances(samples, pairs, M)
        assert_allclose(operator.distances(M), expected, rtol=1e-7, atol=tolerance)
        expected = explicit_adjoint(samples, pairs, beta)
        assert_allclose(operator.adjoint(beta), expected, rtol=1e-7, atol=tolerance)


@each_size
def test_offset_of_each_feature_costs_no_more_than_the_data_lost(n_pairs):
    X, pairs, M, beta = random_setting(n_pairs)
    offset = 1e8 * np.arange(5) * [1, -1, 1, -1, 1]
    X = X + offset
    operator = PairOperator(X, pairs)
    lost = np.spacing(np.abs(offset).max())
    assert_allclose(operator.distances(M), explicit_distances(X, pairs, M), atol=40 * lost)
    assert_allclose(operator.adjoint(beta), explicit_adjoint(X, pairs, beta), atol=1e3 * lost)


@each_format
@each_size
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_operator_in_another_precision(to_format, n_pairs, is_diagonal):
    X, pairs, M, beta = random_setting(n_pairs)
    M = np.diag(np.diag(M)) if is_diagonal else M
    given = np.diag(M).copy() if is_diagonal else M
    double = PairOperator(to_format(X), pairs, is_diagonal=is_diagonal)
    for operator, dtype, tolerance in [
        (double.astype(np.float32), np.float32, 1e-4),
        (double.astype(np.float32).astype(np.float64), np.float64, 1e-4),
        (double.astype(np.float64), np.float64, 1e-11),
    ]:
        before = double.n_passes
        distances = operator.distances(given.astype(dtype))
        adjoint = operator.adjoint(beta.astype(dtype))
        assert double.n_passes == operator.n_passes == before + 2
        assert operator.dtype == distances.dtype == adjoint.dtype == dtype
        assert operator.squared_lengths.dtype == operator.differences().dtype == dtype
        assert_allclose(distances, explicit_distances(X, pairs, M), atol=tolerance)
        expected = explicit_adjoint(X, pairs, beta)
        expected = np.diag(expected) if is_diagonal else expected
        assert_allclose(adjoint, expected, atol=tolerance)
        lengths = explicit_distances(X, pairs, np.eye(5))
        assert_allclose(operator.squared_lengths, lengths, atol=tolerance)
    # What it came from stays as it was.
    assert double.dtype == double.distances(given).dtype == np.float64


@each_format
def test_pickled_operator_maps_as_before(to_format):
    """Problems go to the workers of joblib with their operators."""
    X, pairs, M, beta = random_setting(120)
    operator = PairOperator(to_format(X), pairs).restricted(np.arange(50))
    copied = pickle.loads(pickle.dumps(operator))
    assert_array_equal(copied.distances(M), operator.distances(M))
    assert_array_equal(copied.adjoint(beta[:50]), operator.adjoint(beta[:50]))
