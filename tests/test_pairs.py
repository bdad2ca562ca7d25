import os
import tracemalloc
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors

from metricalign._memory import machine_memory
from metricalign.neighbors import FaissTransformer
from metricalign.pairs import (
    AllPairs,
    NearestClassPairs,
    NearestPairs,
    PairSelection,
    RandomPairs,
    UnionPairs,
    check_pairs,
    drawn,
    identical,
    resolve_pairs,
)
from metricalign.pairs.identical import merge_identical_samples

CLASSES = 3
STRATEGIES = [
    NearestPairs(n_neighbors=3),
    NearestClassPairs(n_same=2, n_other=3),
    RandomPairs(n_pairs=30),
    AllPairs(),
    UnionPairs([NearestPairs(n_neighbors=2), RandomPairs(n_pairs=15)]),
]


class GraphTransformer(BaseEstimator):
    """A neighbour transformer written apart from scikit-learn's, with its own habits."""

    def __init__(self, n_neighbors=5, include_self=True, share=1.0, random_state=0):
        self.n_neighbors = n_neighbors
        self.include_self = include_self
        self.share = share
        self.random_state = random_state

    def fit(self, X):
        self.samples_ = X
        return self

    def transform(self, X):
        """Give exactly n_neighbors for each sample, unsorted, some left out if inexact."""
        random_state = np.random.RandomState(self.random_state)
        distances = np.linalg.norm(X[:, None] - self.samples_, axis=2)
        if not self.include_self:
            distances[distances == 0] = np.inf
        distances[random_state.uniform(size=distances.shape) >= self.share] = np.inf
        nearest = np.argsort(distances, axis=1)[:, : self.n_neighbors][:, ::-1]
        row = np.repeat(np.arange(len(X)), nearest.shape[1])
        entries = distances[row, nearest.ravel()], (row, nearest.ravel())
        graph = sparse.coo_array(entries, shape=distances.shape).tocsr()
        keep = np.isfinite(graph.data)
        counts = np.add.reduceat(np.r_[keep, False].astype(int), graph.indptr[:-1])
        counts[np.diff(graph.indptr) == 0] = 0
        indptr = np.r_[0, np.cumsum(counts)]
        return sparse.csr_array((graph.data[keep], graph.indices[keep], indptr), graph.shape)


def make_data(n_samples=40, n_features=4, seed=0):
    random_state = np.random.RandomState(seed)
    y = random_state.randint(CLASSES, size=n_samples)
    return random_state.normal(size=(n_samples, n_features)) + y[:, None], y


def quiet_select(strategy, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return strategy.select(*args, **kwargs)


def as_dict(selection):
    return dict(zip(map(tuple, selection.indices.tolist()), selection.weights, strict=True))


def assert_well_formed(selection, n_samples):
    indices, weights = selection
    assert isinstance(selection, PairSelection)
    assert indices.dtype == np.intp
    assert weights.dtype == np.float64
    assert weights.shape == (len(indices),)
    assert (indices[:, 0] < indices[:, 1]).all()
    assert indices.min() >= 0
    assert indices.max() < n_samples
    as_tuples = list(map(tuple, indices.tolist()))
    assert as_tuples == sorted(set(as_tuples))


def directed_neighbors(strategy, X, y):
    """Return the neighbours of each sample: the weights 2^i say whose neighbour is whose."""
    n_samples = X.shape[0]
    selection = quiet_select(strategy, X, y, sample_weight=2.0 ** np.arange(n_samples))
    assert_well_formed(selection, n_samples)
    neighbors = [set() for _ in range(n_samples)]
    for (i, j), weight in as_dict(selection).items():
        bits = int(weight)
        assert bits in {2**i, 2**j, 2**i + 2**j}
        if bits & 2**i:
            neighbors[i].add(j)
        if bits & 2**j:
            neighbors[j].add(i)
    return neighbors


def reference_distances(X, anchor, allowed, n_neighbors):
    """Return the distances to the nearest allowed samples that differ, by plain loops."""
    distances = []
    for other in range(len(X)):
        if allowed(other) and any(X[anchor, f] != X[other, f] for f in range(X.shape[1])):
            distances.append(sum((X[anchor] - X[other]) ** 2) ** 0.5)
    return sorted(distances)[:n_neighbors]


def assert_nearest(X, anchor, chosen, allowed, n_neighbors):
    assert all(allowed(other) for other in chosen)
    assert all((X[anchor] != X[other]).any() for other in chosen)
    distances = sorted(np.linalg.norm(X[anchor] - X[other]) for other in chosen)
    expected = reference_distances(X, anchor, allowed, n_neighbors)
    assert_allclose(distances, expected, rtol=1e-7, atol=1e-7)


@st.composite
def data_with_duplicates(draw):
    """Few distinct rows, many copies, and (on the grid) many equal distances."""
    random_state = np.random.RandomState(draw(st.integers(0, 10_000)))
    n_samples = draw(st.integers(2, 24))
    n_distinct = draw(st.integers(2, n_samples))
    n_features = draw(st.integers(1, 4))
    X = random_state.normal(size=(n_distinct, n_features))
    if draw(st.booleans()):
        X = np.round(2 * X)
    X = X[np.r_[0, 1, random_state.randint(n_distinct, size=n_samples - 2)]]
    X[0] = X[1] + 1.0
    n_classes = draw(st.integers(1, 5))
    return X, random_state.randint(n_classes, size=n_samples)


searches = st.sampled_from(
    [
        None,
        KNeighborsTransformer(mode="distance"),
        KNeighborsTransformer(mode="distance", algorithm="brute"),
        GraphTransformer(include_self=True),
        GraphTransformer(include_self=False),
        FaissTransformer(),  # exact among so few samples
    ]
)


# Nearest pairs against plain loops


@settings(max_examples=150)
@given(data=data_with_duplicates(), n_neighbors=st.integers(1, 8), neighbors=searches)
def test_nearest_pairs_equal_plain_loops(data, n_neighbors, neighbors):
    X, y = data
    strategy = NearestPairs(n_neighbors=n_neighbors, neighbors=neighbors)
    for anchor, chosen in enumerate(directed_neighbors(strategy, X, y)):
        assert_nearest(X, anchor, chosen, lambda other: True, n_neighbors)


@settings(max_examples=150)
@given(data=data_with_duplicates(), n=st.integers(1, 6), neighbors=searches)
@pytest.mark.parametrize("same", [True, False])
def test_class_pairs_equal_plain_loops(same, data, n, neighbors):
    X, y = data
    strategy = NearestClassPairs(n if same else 0, 0 if same else n, neighbors)
    exists = any(
        (y[i] == y[j]) == same and (X[i] != X[j]).any() for i in range(len(X)) for j in range(i)
    )
    if not exists:
        with pytest.raises(ValueError, match="No pairs can be formed"):
            strategy.select(X, y)
        return
    for anchor, chosen in enumerate(directed_neighbors(strategy, X, y)):
        assert_nearest(X, anchor, chosen, lambda j, i=anchor: (y[j] == y[i]) == same, n)


@pytest.mark.parametrize("n_classes", [2, 12, 60, 250])
def test_class_pairs_equal_plain_loops_for_small_and_large_classes(n_classes):
    # Separated classes: a search among all samples meets the own class first.
    random_state = np.random.RandomState(0)
    y = np.sort(random_state.randint(n_classes, size=250))
    X = random_state.normal(size=(250, 3)) + 50 * random_state.normal(size=(n_classes, 3))[y]
    expected = Counter()
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    for i in range(250):
        order = [j for j in np.argsort(distances[i]) if j != i]
        same = [j for j in order if y[j] == y[i]][:2]
        other = [j for j in order if y[j] != y[i]][:3]
        expected.update((min(i, j), max(i, j)) for j in same + other)
    selection = quiet_select(NearestClassPairs(n_same=2, n_other=3), X, y)
    assert as_dict(selection) == expected


def test_classes_next_to_large_and_small_ones():
    # One class far larger than the square root of n_samples, and many far smaller.
    random_state = np.random.RandomState(1)
    y = np.r_[np.zeros(120, dtype=int), 1 + np.arange(60) // 3]
    X = random_state.normal(size=(180, 2)) + 20 * random_state.normal(size=(21, 2))[y]
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    distances[y[:, None] == y] = np.inf
    expected = Counter((min(i, j), max(i, j)) for i, j in enumerate(distances.argmin(axis=1)))
    selection = NearestClassPairs(n_same=0, n_other=1).select(X, y)
    assert as_dict(selection) == expected


def test_both_kinds_of_neighbors_add_up():
    X, y = make_data()
    both = as_dict(NearestClassPairs(n_same=2, n_other=3).select(X, y))
    same = as_dict(NearestClassPairs(n_same=2, n_other=0).select(X, y))
    other = as_dict(NearestClassPairs(n_same=0, n_other=3).select(X, y))
    assert both == same | other
    assert not same.keys() & other.keys()


def test_class_pairs_accept_any_labels():
    X, y = make_data()
    expected = NearestClassPairs().select(X, y)
    for labels in (np.array(["b", "a", "c"])[y], y.astype(float) * 10 - 3, y - 7):
        assert as_dict(NearestClassPairs().select(X, labels)) == as_dict(expected)


# Identical samples


def test_identical_samples_do_not_use_up_places():
    X = np.r_[np.zeros((30, 2)), [[1.0, 0.0], [0.0, 3.0], [9.0, 9.0]]]
    neighbors = directed_neighbors(NearestPairs(n_neighbors=2), X, None)
    assert all(neighbors[i] == {30, 31} for i in range(30))
    assert all(len(neighbors[i]) == 2 for i in range(33))


@pytest.mark.parametrize("algorithm", ["brute", "auto"])
def test_identical_rows_far_from_the_origin(algorithm):
    # Here the distances of identical rows come out as 1e-8 or more, not as 0.
    random_state = np.random.RandomState(0)
    distinct = random_state.normal(size=(60, 30)) + 1000
    X = np.r_[distinct, distinct]
    search = KNeighborsTransformer(algorithm=algorithm, mode="distance")
    indices, _ = NearestPairs(n_neighbors=3, neighbors=search).select(X)
    assert (indices[:, 0] % 60 != indices[:, 1] % 60).all()
    assert (np.bincount(indices.ravel()) >= 3).all()


def test_neighbors_closer_than_rounding_are_found():
    # 1e-9 apart is not identical, though the computed distance may be 0.
    X = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9], [2.0, 1.0], [2.0, 1.0 + 1e-9]])
    assert_array_equal(NearestPairs(n_neighbors=1).select(X).indices, [[0, 1], [2, 3]])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_identical_samples_are_never_a_pair(strategy):
    X, y = make_data(n_samples=30)
    X = np.r_[X, X, -0.0 * X[:2], 0.0 * X[:2]]
    y = np.r_[y, (y + 1) % CLASSES, 0, 1, 0, 1]
    indices, _ = strategy.select(X, y, random_state=0)
    assert (X[indices[:, 0]] != X[indices[:, 1]]).any(axis=1).all()


def test_hash_collisions_change_nothing(monkeypatch):
    X = np.random.RandomState(0).randint(3, size=(60, 2)).astype(float)
    expected = merge_identical_samples(X, None)
    monkeypatch.setattr(identical, "_hash_rows", lambda X: np.arange(X.shape[0]) * 0)
    for actual, wanted in zip(merge_identical_samples(X, None), expected, strict=True):
        assert_array_equal(actual, wanted)


# Weights


def test_mutual_neighbors_get_the_sum_of_both_weights():
    X = np.array([[0.0], [1.0], [3.0]])
    selection = NearestPairs(n_neighbors=1).select(X, sample_weight=[0.5, 2.0, 7.0])
    assert as_dict(selection) == {(0, 1): 2.5, (1, 2): 7.0}


@pytest.mark.parametrize("strategy", [AllPairs(), RandomPairs(n_pairs=25)], ids=str)
def test_other_pairs_get_the_product_of_weights(strategy):
    X, _ = make_data(n_samples=10)
    weight = np.random.RandomState(0).uniform(1, 2, size=10)
    indices, weights = strategy.select(X, sample_weight=weight, random_state=0)
    assert_array_equal(weights, weight[indices[:, 0]] * weight[indices[:, 1]])


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_no_weights_are_weights_of_one(strategy):
    X, y = make_data()
    plain = strategy.select(X, y, random_state=0)
    ones = strategy.select(X, y, sample_weight=np.ones(len(X)), random_state=0)
    assert as_dict(plain) == as_dict(ones)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_wrong_number_of_weights(strategy):
    X, y = make_data()
    with pytest.raises(ValueError, match=r"shape \(40,\), one weight per sample.*\(39,\)"):
        strategy.select(X, y, sample_weight=np.ones(39))


# Properties of every strategy


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_selection_is_well_formed(strategy):
    X, y = make_data()
    assert_well_formed(strategy.select(X, y, random_state=0), len(X))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_sparse_equals_dense(strategy):
    X, y = make_data()
    X[np.random.RandomState(0).uniform(size=X.shape) < 0.4] = 0
    X[5] = X[6]
    expected = as_dict(quiet_select(strategy, X, y, random_state=0))
    explicit_zeros = sparse.csr_array(X)
    explicit_zeros.data[:3] = 0
    for format_ in (sparse.csr_array, sparse.csr_matrix):
        assert as_dict(quiet_select(strategy, format_(X), y, random_state=0)) == expected
    changed = quiet_select(strategy, explicit_zeros, y, random_state=0)
    dense = quiet_select(strategy, explicit_zeros.toarray(), y, random_state=0)
    assert as_dict(changed) == as_dict(dense)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_inputs_are_not_changed(strategy, form):
    X, y = make_data()
    X, weight = form(X), np.ones(len(X))
    arrays = [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]
    before = [array.copy() for array in arrays]
    for array in [*arrays, y, weight]:
        array.flags.writeable = False
    assert_well_formed(strategy.select(X, y, sample_weight=weight, random_state=0), 40)
    for array, copy in zip(arrays, before, strict=True):
        assert_array_equal(array, copy)


@pytest.mark.parametrize("strategy", STRATEGIES[:2] + STRATEGIES[3:4], ids=str)
def test_permuted_samples_give_permuted_pairs(strategy):
    X, y = make_data()
    weight = np.random.RandomState(1).randint(1, 5, size=len(X)).astype(float)
    order = np.random.RandomState(2).permutation(len(X))
    permuted = strategy.select(X[order], y[order], sample_weight=weight[order])
    back = {
        tuple(sorted((int(order[i]), int(order[j])))): w for (i, j), w in as_dict(permuted).items()
    }
    assert back == as_dict(strategy.select(X, y, sample_weight=weight))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_repeated_samples_equal_weighted_samples(strategy):
    X, y = make_data()
    counts = np.random.RandomState(3).randint(0, 4, size=len(X))
    kept = np.flatnonzero(counts)
    repeated = np.repeat(np.arange(len(X)), counts)

    first, weight = merge_identical_samples(X[repeated], y[repeated])
    weighted, weight_too = merge_identical_samples(X, y, counts)
    assert_array_equal(repeated[first], kept)
    assert_array_equal(weighted, kept)
    assert_array_equal(weight, weight_too)

    first = repeated[first]
    one = strategy.select(X[first], y[first], weight, random_state=0)
    other = strategy.select(X[weighted], y[weighted], weight_too, random_state=0)
    assert as_dict(one) == as_dict(other)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_clone_and_nested_parameters(strategy):
    X, y = make_data()
    assert clone(strategy).get_params().keys() == strategy.get_params().keys()
    assert as_dict(clone(strategy).select(X, y, random_state=0)) == as_dict(
        strategy.select(X, y, random_state=0)
    )

    class Learner(BaseEstimator):
        def __init__(self, pairs=None):
            self.pairs = pairs

    learner = Learner(NearestPairs(neighbors=KNeighborsTransformer()))
    learner.set_params(pairs__n_neighbors=2, pairs__neighbors__metric="manhattan")
    assert clone(learner).pairs.n_neighbors == 2
    assert clone(learner).pairs.neighbors.metric == "manhattan"


# Randomness


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_same_random_state_same_pairs(strategy):
    X, y = make_data()
    first = strategy.select(X, y, random_state=7)
    assert as_dict(first) == as_dict(strategy.select(X, y, random_state=7))
    assert as_dict(first) == as_dict(strategy.select(X, y, np.ones(40), np.random.RandomState(7)))


def test_random_states_differ_and_the_global_one_is_left_alone():
    X, _ = make_data()
    strategy = RandomPairs(n_pairs=30)
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert as_dict(strategy.select(X, random_state=0)) != as_dict(
        strategy.select(X, random_state=1)
    )
    assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_random_search_is_seeded_unless_it_has_a_seed():
    X, _ = make_data()
    search = GraphTransformer(share=0.5, random_state=None)
    strategy = NearestPairs(n_neighbors=3, neighbors=search)
    first = as_dict(quiet_select(strategy, X, random_state=0))
    assert first == as_dict(quiet_select(strategy, X, random_state=0))
    assert first != as_dict(quiet_select(strategy, X, random_state=1))
    assert search.random_state is None
    strategy.set_params(neighbors__random_state=3)
    assert as_dict(quiet_select(strategy, X, random_state=0)) == as_dict(
        quiet_select(strategy, X, random_state=1)
    )


@pytest.mark.parametrize("n_pairs", [1, 14, 15, 20, 27, 28, 29, 1000])
def test_random_pairs_have_the_number_asked_for(n_pairs):
    X = np.arange(8.0)[:, None]
    indices, _ = RandomPairs(n_pairs=n_pairs).select(X, random_state=0)
    assert len(indices) == min(n_pairs, 28)
    assert_well_formed(RandomPairs(n_pairs=n_pairs).select(X, random_state=0), 8)


@pytest.mark.parametrize("n_pairs", [3, 9])
def test_random_pairs_are_equally_likely(n_pairs):
    X = np.array([0.0, 1.0, 2.0, 2.0, 3.0, 4.0])[:, None]  # 14 pairs: samples 2 and 3 are alike
    counts = Counter()
    random_state = np.random.RandomState(0)
    for _ in range(2000):
        counts.update(as_dict(RandomPairs(n_pairs).select(X, random_state=random_state)).keys())
    expected = 2000 * n_pairs / 14
    assert len(counts) == 14
    assert (2, 3) not in counts
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in counts.values())


def test_default_number_of_random_pairs_goes_with_the_samples():
    X, _ = make_data(n_samples=50)
    assert len(RandomPairs().select(X, random_state=0).indices) == 250


def test_random_pairs_need_no_memory_for_all_pairs():
    X = np.arange(100_000.0)[:, None]  # 5e9 pairs
    tracemalloc.start()
    indices, _ = RandomPairs(n_pairs=1000).select(X, random_state=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(indices) == 1000
    assert peak < 30e6


# All pairs and unions


def test_all_pairs_are_all_pairs():
    X = np.array([[0.0], [1.0], [0.0], [2.0]])
    assert_array_equal(AllPairs().select(X).indices, [[0, 1], [0, 3], [1, 2], [1, 3], [2, 3]])


def test_all_pairs_refuse_what_does_not_fit(monkeypatch):
    monkeypatch.setattr(drawn, "machine_memory", lambda: 2.0**20)
    X = np.arange(1000.0)[:, None]
    with pytest.raises(MemoryError, match=r"499,500 pairs of n_samples=1000.*GiB.*RandomPairs"):
        AllPairs().select(X)
    assert len(AllPairs().select(X[:100]).indices) == 4950
    with pytest.raises(MemoryError, match=r"499,500 pairs of n_samples=1000"):
        RandomPairs(n_pairs=10**12).select(X)
    assert len(RandomPairs().select(X).indices) == 5000


def test_estimated_memory_is_about_what_is_used():
    X = np.arange(1000.0)[:, None]
    tracemalloc.start()
    indices, _ = AllPairs().select(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(len(indices) * drawn._BYTES_PER_PAIR, rel=0.3)


def test_memory_of_an_unknown_system_is_not_limited(monkeypatch):
    assert machine_memory() > 2**24
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert machine_memory() == np.inf


def test_union_adds_weights():
    X, y = make_data()
    weight = np.random.RandomState(0).randint(1, 9, size=len(X)).astype(float)
    strategies = [NearestPairs(n_neighbors=2), NearestClassPairs(n_same=1, n_other=2), AllPairs()]
    expected = Counter()
    for strategy in strategies:
        expected.update(as_dict(strategy.select(X, y, weight)))
    assert as_dict(UnionPairs(strategies).select(X, y, weight)) == expected


def test_random_strategies_of_a_union_differ():
    X, _ = make_data()
    union = UnionPairs([RandomPairs(n_pairs=20), RandomPairs(n_pairs=20)])
    assert len(union.select(X, random_state=0).indices) > 20


# Searches passed in


@pytest.mark.parametrize("strategy", STRATEGIES[:2], ids=str)
@pytest.mark.parametrize("include_self", [True, False])
def test_custom_search_equals_the_default(strategy, include_self):
    X, y = make_data()
    X[10:13] = X[0]
    search = GraphTransformer(include_self=include_self)
    custom = clone(strategy).set_params(neighbors=search)
    expected = directed_neighbors(strategy, X, y)
    chosen = directed_neighbors(custom, X, y)
    for i in range(len(X)):
        assert_allclose(
            sorted(np.linalg.norm(X[i] - X[list(chosen[i])], axis=1)),
            sorted(np.linalg.norm(X[i] - X[list(expected[i])], axis=1)),
        )
    assert search.n_neighbors == 5
    assert not hasattr(search, "samples_")


def test_another_metric_is_used():
    X, _ = make_data()
    search = KNeighborsTransformer(mode="distance", metric="chebyshev")
    expected = Counter()
    nearest = NearestNeighbors(n_neighbors=2, metric="chebyshev").fit(X).kneighbors()[1]
    for i, others in enumerate(nearest.tolist()):
        expected.update((min(i, j), max(i, j)) for j in others)
    assert as_dict(NearestPairs(n_neighbors=2, neighbors=search).select(X)) == expected


def test_inexact_search_is_searched_further():
    # A search that loses half of the samples finds 4 neighbours when it is asked for more.
    X, y = make_data()
    search = GraphTransformer(share=0.5)
    strategy = NearestPairs(n_neighbors=4, neighbors=search)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strategy.select(X)
    assert all(len(chosen) == 4 for chosen in directed_neighbors(strategy, X, y))


def test_inexact_search_that_finds_too_few_warns():
    X, _ = make_data()
    strategy = NearestPairs(n_neighbors=10, neighbors=GraphTransformer(share=0.1))
    with pytest.warns(UserWarning, match=r"n_neighbors=10 but only .* approximate search") as log:
        selection = strategy.select(X)
    assert len(log) == 1
    assert_well_formed(selection, len(X))


def test_search_without_distances_is_refused():
    X, y = make_data()
    search = KNeighborsTransformer(mode="connectivity")
    for strategy in (NearestPairs(neighbors=search), NearestClassPairs(neighbors=search)):
        with pytest.raises(ValueError, match=r"'neighbors'.*set mode='distance'"):
            strategy.select(X, y)


def test_transformers_that_are_no_search_are_refused():
    class Scaler(BaseEstimator):
        def fit(self, X):
            return self

        def transform(self, X):
            return X

    class DenseSearch(Scaler):
        def __init__(self, n_neighbors=5):
            self.n_neighbors = n_neighbors

    X, _ = make_data()
    with pytest.raises(ValueError, match=r"'neighbors'.*parameter n_neighbors.*Scaler has none"):
        NearestPairs(neighbors=Scaler()).select(X)
    with pytest.raises(ValueError, match=r"'neighbors'.*\(40, 40\).*DenseSearch.*\(40, 4\)"):
        NearestPairs(neighbors=DenseSearch()).select(X)
    with pytest.raises(ValueError, match="'neighbors' parameter of NearestPairs"):
        NearestPairs(neighbors="brute").select(X)


# Fewer samples than asked for


def test_too_few_samples_use_what_exists_and_warn_once():
    X = np.arange(4.0)[:, None]
    with pytest.warns(UserWarning, match="n_neighbors=5") as log:
        selection = NearestPairs(n_neighbors=5).select(X)
    assert len(log) == 1
    assert "n_neighbors=5 but only 3 other distinct samples for 4 of 4 samples" in str(
        log[0].message
    )
    assert "Ask for fewer" in str(log[0].message)
    assert log[0].filename == __file__
    assert as_dict(selection) == dict.fromkeys(as_dict(AllPairs().select(X)), 2.0)


def test_classes_of_one_sample_warn_once_and_work():
    X = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    y = np.array([0, 0, 0, 1, 2])
    with pytest.warns(UserWarning, match="n_same=2") as log:
        selection = NearestClassPairs(n_same=2, n_other=3).select(X, y)
    assert len(log) == 1
    message = str(log[0].message)
    assert (
        "n_same=2 but only 0 other distinct samples of the same class for 2 of 5 samples" in message
    )
    assert "n_other=3 but only 2 distinct samples of other classes for 3 of 5 samples" in message
    mutual = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)}
    assert as_dict(selection) == dict.fromkeys(mutual, 2.0) | {(0, 3): 1.0, (0, 4): 1.0}


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_enough_samples_do_not_warn(strategy):
    X, y = make_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(strategy.select(X, y, random_state=0).indices) > 0


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("n_samples", [1, 12])
def test_no_pairs_at_all_is_an_error(strategy, n_samples):
    with pytest.raises(ValueError, match=rf"No pairs.*n_samples={n_samples}.*different features"):
        strategy.select(np.ones((n_samples, 2)), np.arange(n_samples) % 2)


def test_no_pairs_says_which_neighbors_are_missing():
    X = np.arange(5.0)[:, None]
    with pytest.raises(ValueError, match=r"n_same=2 and n_other=0.*of one class.*n_classes=5"):
        NearestClassPairs(n_same=2, n_other=0).select(X, np.arange(5))
    with pytest.raises(ValueError, match=r"of different classes among n_classes=1"):
        NearestClassPairs(n_same=0, n_other=2).select(X, np.zeros(5))


# Parameters and targets that are not valid


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        (NearestPairs(n_neighbors=0), "n_neighbors"),
        (NearestPairs(n_neighbors=2.5), "n_neighbors"),
        (NearestClassPairs(n_same=-1), "n_same"),
        (NearestClassPairs(n_other="3"), "n_other"),
        (NearestClassPairs(n_same=0, n_other=0), "n_same"),
        (NearestClassPairs(neighbors=3), "neighbors"),
        (RandomPairs(n_pairs=0), "n_pairs"),
        (UnionPairs(pairs="nearest"), "pairs"),
        (UnionPairs(pairs=[]), "pairs"),
        (UnionPairs(pairs=[NearestPairs(), "random"]), "pairs"),
    ],
    ids=str,
)
def test_errors_name_the_parameter(strategy, name):
    X, y = make_data()
    with pytest.raises(
        ValueError, match=f"The '{name}'.* parameters? of {type(strategy).__name__}"
    ):
        strategy.select(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is None"),
        (np.ones((40, 1)), r"y has shape \(40, 1\)"),
        (np.ones((40, 3)), r"y has shape \(40, 3\)"),
        (sparse.csr_array(np.ones((40, 3))), r"y has shape \(40, 3\)"),
        (np.linspace(0, 1, 40), "y is continuous"),
    ],
)
def test_class_pairs_refuse_other_targets(y, message):
    X, _ = make_data()
    with pytest.raises(ValueError, match=rf"{message}.*pairs='nearest'"):
        NearestClassPairs().select(X, y)


def test_class_pairs_refuse_another_number_of_labels():
    X, y = make_data()
    with pytest.raises(ValueError, match="one class label for each of 40 samples; got 39"):
        NearestClassPairs().select(X, y[:-1])


# Merging identical samples


@settings(max_examples=150)
@given(data=data_with_duplicates(), seed=st.integers(0, 1000), form=st.sampled_from("123s"))
def test_merge_equals_plain_loops(data, seed, form):
    X, y = data
    random_state = np.random.RandomState(seed)
    weight = random_state.randint(0, 4, size=len(X)).astype(float)
    weight[-1] = 1
    expected = {}
    for i in range(len(X)):
        if weight[i]:
            expected.setdefault((tuple(X[i] + 0.0), y[i]), [i, 0.0])[1] += weight[i]
    X = np.where((X == 0) & (random_state.uniform(size=X.shape) < 0.5), -0.0, X)
    targets = {
        "1": y,
        "2": np.c_[y, y * 0.5],
        "3": np.array(list("abcdef"))[y],
        "s": sparse.csr_array(np.c_[y == 0, y == 1, y == 2, y == 3].astype(float)),
    }[form]
    for features in (X, sparse.csr_array(X), np.asfortranarray(X)):
        representatives, merged = merge_identical_samples(features, targets, weight)
        assert_array_equal(representatives, [first for first, _ in expected.values()])
        assert_array_equal(merged, [total for _, total in expected.values()])
        assert representatives.dtype == np.intp
        assert merged.dtype == np.float64


def test_merge_needs_identical_features_and_targets():
    X = np.array([[1.0], [1.0], [2.0], [1.0 + 1e-15]])
    assert_array_equal(merge_identical_samples(X, [0, 1, 0, 0])[0], [0, 1, 2, 3])
    assert_array_equal(merge_identical_samples(X, None)[0], [0, 2, 3])
    assert_array_equal(merge_identical_samples(X, None)[1], [2, 1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_merge_of_any_type(dtype):
    X = np.array([[3, 1], [0, 2], [3, 1]], dtype=dtype)
    assert_array_equal(merge_identical_samples(X, None)[0], [0, 1])


def test_merge_sees_sparse_matrices_as_their_values():
    # Row 0 and 1 both are (0, 5): once with a stored zero, once as 2 + 3.
    data, indices, indptr = [0.0, 5.0, 2.0, 3.0, 5.0], [0, 1, 1, 1, 0], [0, 2, 4, 5]
    X = sparse.csr_array((data, indices, indptr), shape=(3, 2))
    assert_array_equal(merge_identical_samples(X, None)[0], [0, 2])
    assert_array_equal(X.data, data)


def test_merge_refuses_bad_weights():
    X, y = make_data(n_samples=3)
    for bad in ([1, -1, 1], [1, np.nan, 1], [1, np.inf, 1]):
        with pytest.raises(ValueError, match="finite and not negative"):
            merge_identical_samples(X, y, bad)
    with pytest.raises(ValueError, match="No sample has a positive sample_weight"):
        merge_identical_samples(X, y, np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3,\).*\(2,\)"):
        merge_identical_samples(X, y, np.ones(2))


# The parameter `pairs` of the estimators


@pytest.mark.parametrize(
    ("pairs", "kind", "expected"),
    [
        ("auto", "binary", NearestClassPairs),
        ("auto", "multiclass", NearestClassPairs),
        ("auto", "class", NearestClassPairs),
        ("auto", "zero_one", NearestClassPairs),
        ("auto", "continuous", NearestPairs),
        ("auto", "multilabel", NearestPairs),
        ("nearest", "multiclass", NearestPairs),
        ("nearest_class", "continuous", NearestClassPairs),
        ("random", "binary", RandomPairs),
        ("all", "binary", AllPairs),
    ],
)
def test_resolve_names(pairs, kind, expected):
    assert type(resolve_pairs(pairs, kind)) is expected


def test_resolve_returns_an_object_itself():
    strategy = NearestPairs(n_neighbors=2)
    assert resolve_pairs(strategy, "binary") is strategy


@pytest.mark.parametrize("pairs", ["closest", None, 3, NearestPairs, ["nearest"]])
def test_resolve_refuses_the_rest(pairs):
    with pytest.raises(ValueError, match=r"'pairs' parameter must be 'auto'.*nearest_class.*Got"):
        resolve_pairs(pairs, "binary")


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int64, None])
def test_check_keeps_pairs_as_they_are(dtype):
    given_pairs = [[3, 1], [0, 2], [3, 1], [1, 3]]
    pairs = given_pairs if dtype is None else np.array(given_pairs, dtype=dtype)
    checked = check_pairs(pairs, n_samples=4)
    assert checked.dtype == np.intp
    assert_array_equal(checked, given_pairs)


def test_check_accepts_a_read_only_array():
    pairs = np.array([[0, 1]])
    pairs.flags.writeable = False
    assert_array_equal(check_pairs(pairs, n_samples=2), [[0, 1]])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], r"at least one pair.*Got shape \(0,\)"),
        (np.empty((0, 2), dtype=int), r"at least one pair.*Got shape \(0, 2\)"),
        ([0, 1], r"shape \(n_pairs, 2\).*Got shape \(2,\)"),
        ([[0, 1, 2]], r"shape \(n_pairs, 2\).*Got shape \(1, 3\)"),
        ([[0.0, 1.0]], "must hold integers.*Got dtype float64"),
        ([[True, False]], "must hold integers.*Got dtype bool"),
        ([["a", "b"]], "must hold integers.*Got dtype <U1"),
        ([[0, 1], [2, 5]], r"from 0 to 4 \(n_samples=5\). Got \(2, 5\) in row 1 \(1 such rows\)"),
        ([[0, 1], [-1, 2]], r"from 0 to 4.*Got \(-1, 2\) in row 1"),
        (np.array([[0, 2**63]], dtype=np.uint64), "from 0 to 4"),
        (np.ma.masked_equal([[0, 1], [2, 3]], 2), "pairs is a masked array with 1 masked entries"),
        ([[0, 1], [3, 3], [2, 2]], r"two different samples.*Got \(3, 3\) in row 1 \(2 such rows\)"),
    ],
)
def test_check_refuses_what_is_not_valid(pairs, message):
    with pytest.raises(ValueError, match=message):
        check_pairs(pairs, n_samples=5)


# Far from the origin


def nearest_by_differences(X, n_neighbors):
    """Nearest neighbours of each sample, by a loop over differences in long double."""
    X = X.astype(np.longdouble)
    pairs = set()
    for i, sample in enumerate(X):
        distances = np.sum((X - sample) ** 2, axis=1)
        distances[i] = np.inf
        nearest = np.argsort(distances, kind="stable")[:n_neighbors]
        pairs |= {(min(i, j), max(i, j)) for j in nearest.tolist()}
    return pairs


@pytest.mark.parametrize("n_samples", [100, 600])
@pytest.mark.parametrize("n_features", [2, 20])
@pytest.mark.parametrize(
    ("origins", "dtype"), [([1.7e9], np.float64), ([0.0, 1e9], np.float64), ([-1e6], np.float32)]
)
def test_nearest_pairs_far_from_the_origin(n_samples, n_features, origins, dtype):
    rng = np.random.default_rng(0)
    scale = 1 if dtype == np.float64 else 1e4  # float32 has whole numbers only so far out
    X = np.round(scale * rng.normal(size=(n_samples, n_features)), 4 if scale == 1 else 0)
    X = (X + rng.choice(origins, (n_samples, 1))).astype(dtype)
    expected = nearest_by_differences(X, 3)
    assert set(map(tuple, NearestPairs(3).select(X).indices.tolist())) == expected
    y = rng.integers(0, 2, n_samples)
    found = NearestClassPairs(3, 0).select(X, y).indices
    by_class = [np.flatnonzero(y == label) for label in (0, 1)]
    expected = {
        (rows[i], rows[j]) for rows in by_class for i, j in nearest_by_differences(X[rows], 3)
    }
    assert set(map(tuple, found.tolist())) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_approximate_search_far_from_the_origin(dtype):
    pytest.importorskip("faiss")
    X = np.round(1e4 * np.random.default_rng(0).normal(size=(300, 5))).astype(dtype) + dtype(1e6)
    found = NearestPairs(3, FaissTransformer(index="Flat")).select(X).indices
    assert set(map(tuple, found.tolist())) == nearest_by_differences(X, 3)


def test_a_search_by_another_metric_is_not_moved():
    X = np.random.default_rng(0).normal(size=(40, 3)) + 5
    search = KNeighborsTransformer(mode="distance", metric="cosine")
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    found = set(map(tuple, NearestPairs(3, search).select(X).indices.tolist()))
    assert found == nearest_by_differences(unit, 3)
