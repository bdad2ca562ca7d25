"""The search by products, and anchors: both against plain loops."""

import pickle
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.neighbors import KNeighborsTransformer

from metricalign import PSDSVR, GradientAlignment, MetricEnsemble
from metricalign.pairs import EuclideanSearch, NearestClassPairs, NearestPairs, products, search
from metricalign.pairs.anchors import choose_anchors
from metricalign.pairs.identical import (
    canonical,
    first_identical,
    order_keys,
    order_of_values,
)
from metricalign.pairs.products import SampleBlocks, _Boxes
from metricalign.predictors.search import NeighborSearch


def true_distances(queries, samples):
    """Distances of all, in long doubles."""
    differences = queries[:, None].astype(np.longdouble) - samples.astype(np.longdouble)
    return np.sqrt(np.sum(differences**2, axis=2)).astype(float)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that a few hundred samples are many of them."""
    for name, size in {
        "_QUERIES_OF_BLOCK": 28,
        "_SAMPLES_OF_BLOCK": 16,
        "_QUERIES_AT_A_TIME": 40,
        "_FEWEST_PROBES": 60,
        "_PROBES_OF_GROUP": 4,
        "_VALUES_AT_A_TIME": 300,
        "_DIFFERENCES_AT_A_TIME": 600,
        "_QUERIES_WORTH_BOXES": 60,
    }.items():
        monkeypatch.setattr(products, name, size)
    monkeypatch.setattr(search, "_SMALL_SEARCH", 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_samples", [1, 5, 64, 300])
@pytest.mark.parametrize("n_features", [1, 8])
@pytest.mark.parametrize("unit", [1e-30, 1e15])
def test_products_find_the_nearest(dtype, n_samples, n_features, unit, small_blocks):
    rng = np.random.default_rng(n_samples + n_features)
    samples = (unit * rng.standard_normal((n_samples, n_features))).astype(dtype)
    queries = (unit * rng.standard_normal((90, n_features))).astype(dtype)
    n_neighbors = min(6, n_samples)
    distances, indices, is_proven = SampleBlocks(samples, n_queries=len(queries)).nearest(
        queries, n_neighbors
    )
    expected = true_distances(queries, samples)
    assert_allclose(distances, np.take_along_axis(expected, indices, axis=1), rtol=1e-12)
    assert_allclose(
        distances[is_proven], np.sort(expected, axis=1)[is_proven, :n_neighbors], rtol=1e-12
    )
    # On a line with hundreds of samples the next ones are too near to be told apart. Elsewhere the
    # sums of a machine may leave a query in doubt.
    assert n_features == 1 or is_proven.mean() > 0.95


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    offset=st.sampled_from([0.0, 3.0, 1e3, 1e6]),
    step=st.sampled_from([0.0, 0.5, 1e-3]),
    outlier=st.sampled_from([1.0, 1e4, 1e30]),
)
def test_what_is_proven_is_true(seed, offset, step, outlier):
    # Far origins, ties of a grid, and samples far out, where float32 has few digits or none.
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((200, 3))
    if step:
        samples = step * np.round(samples / step)
    samples[:100] += offset
    samples[0] *= outlier
    distances, _, is_proven = SampleBlocks(samples, n_queries=len(samples)).nearest(samples, 5)
    expected = np.sort(true_distances(samples, samples), axis=1)[:, :5]
    assert_allclose(distances[is_proven], expected[is_proven], rtol=1e-9, atol=1e-12 * outlier)
    found = EuclideanSearch(n_neighbors=4).fit(samples).transform(samples).toarray()
    assert_allclose(np.sort(found, axis=1)[:, -5:], expected, rtol=1e-3, atol=1e-5 * outlier)


@pytest.mark.parametrize("n_features", [2, 6, 7, 20])
def test_search_finds_the_nearest_by_a_tree_and_by_products(n_features, small_blocks):
    X = np.random.default_rng(0).standard_normal((200, n_features))
    graph = EuclideanSearch(n_neighbors=4).fit(X).transform(X[:50])
    assert graph.shape == (50, 200)
    found = np.sort(graph.data.reshape(50, 5), axis=1)
    assert_allclose(found, np.sort(true_distances(X[:50], X), axis=1)[:, :5], atol=1e-12)


def test_search_falls_back_on_differences_of_two_far_groups(small_blocks):
    rng = np.random.default_rng(0)
    X = 1e-3 * rng.standard_normal((200, 8))
    X[:100] += 1e7
    assert not SampleBlocks(X, n_queries=len(X)).nearest(X, 4)[2][:100].any()
    graph = EuclideanSearch(n_neighbors=3).fit(X).transform(X)
    found = np.sort(graph.data.reshape(200, 4), axis=1)
    assert_allclose(found, np.sort(true_distances(X, X), axis=1)[:, :4], rtol=1e-9)


@pytest.mark.parametrize("is_misled", [False, True])
@pytest.mark.parametrize("n_neighbors", [1, 6, 40])
def test_probes_only_save_time(n_neighbors, is_misled, small_blocks, monkeypatch):
    rng = np.random.default_rng(n_neighbors)
    samples, queries = rng.standard_normal((3000, 8)), rng.standard_normal((30, 8))
    true_bounds = SampleBlocks._bounds
    n_bounded = []

    def bounds(self, *arguments, is_certain):
        found = true_bounds(self, *arguments, is_certain=is_certain)
        n_bounded.append(np.isfinite(found).sum())
        # The nearest sample of every other query is missed.
        is_missed = np.arange(len(found)) % 2 < (is_misled and not is_certain)
        return np.where(is_missed, found - 100, found).astype(np.float32)

    monkeypatch.setattr(SampleBlocks, "_bounds", bounds)
    distances, indices, is_proven = SampleBlocks(samples, n_queries=len(queries)).nearest(
        queries, n_neighbors
    )
    assert n_bounded == ([30, 15] if is_misled else [30])
    assert is_proven.all()
    expected = true_distances(queries, samples)
    order = np.argsort(expected, axis=1)[:, :n_neighbors]
    assert_array_equal(indices, order)
    assert_allclose(distances, np.take_along_axis(expected, order, axis=1), rtol=1e-12)


def curved(n_samples, rng):
    """Samples near a curved surface of three dimensions, in twelve."""
    along = rng.standard_normal((n_samples, 3))
    X = np.hstack([along, 0.3 * along**2, 0.02 * rng.standard_normal((n_samples, 6))])
    return 3 + X.astype(np.float32)


@pytest.mark.parametrize("n_neighbors", [1, 20, 700])
@pytest.mark.parametrize("n_samples", [801, 3000])
def test_boxes_skip_blocks_without_neighbors_only(
    n_neighbors, n_samples, small_blocks, monkeypatch
):
    rng = np.random.default_rng(0)
    samples, queries = curved(n_samples, rng), curved(50, rng)
    # Far from all samples, and one of them.
    queries[0] += 40
    queries[1] = samples[5]
    are_near, shares = _Boxes.are_near, []

    def counted(self, *arguments):
        is_near = are_near(self, *arguments)
        shares.append(is_near.mean())
        return is_near

    monkeypatch.setattr(_Boxes, "are_near", counted)
    blocks = SampleBlocks(samples)
    distances, indices, is_proven = blocks.nearest(queries, n_neighbors)
    assert n_neighbors > 100 or 0 < np.mean(shares) < 0.5
    assert is_proven.mean() > 0.9
    expected = true_distances(queries, samples)
    order = np.argsort(expected, axis=1, kind="stable")[:, :n_neighbors]
    assert_array_equal(indices[is_proven], order[is_proven])
    assert_allclose(distances, np.take_along_axis(expected, indices, axis=1), rtol=1e-12)
    # One query alone, and samples in another order.
    assert_array_equal(blocks.nearest(queries[3:4], n_neighbors)[1], indices[3:4])
    moved = rng.permutation(n_samples)
    found = SampleBlocks(samples[moved]).nearest(queries, n_neighbors)
    assert_array_equal(moved[found[1]][found[2]], indices[found[2]])


def test_boxes_need_axes_that_tell_samples_apart(small_blocks):
    rng = np.random.default_rng(0)
    assert SampleBlocks(rng.standard_normal((300, 20)))._boxes is None
    assert SampleBlocks(rng.standard_normal((300, 4)))._boxes is not None
    assert SampleBlocks(np.ones((300, 4)))._boxes is None


@pytest.mark.parametrize("n_neighbors", [290, 295, 300])
def test_a_query_that_overflows_gets_all_samples_once(n_neighbors):
    rng = np.random.default_rng(0)
    samples, queries = rng.normal(size=(300, 8)), rng.normal(size=(500, 8))
    queries[3] = 1e60 * np.array([1, -1] * 4)
    with np.errstate(over="ignore", invalid="ignore"):
        distances, indices = NeighborSearch(samples).nearest(queries, n_neighbors)
    exact = true_distances(queries, samples)
    assert_allclose(distances, np.sort(exact, axis=1)[:, :n_neighbors], rtol=1e-9)
    assert_allclose(np.take_along_axis(exact, indices, axis=1), distances, rtol=1e-9)
    assert all(len(np.unique(row)) == n_neighbors for row in indices)


def test_products_that_underflow_prove_nothing():
    # Half the squared lengths are all the smallest number of single precision, but for one sample.
    samples = np.full((64, 1), np.sqrt(2.2e-45))
    samples[0], samples[50] = 1.0, np.sqrt(1.6e-45)
    distances, indices = NeighborSearch(samples).nearest(np.zeros((2000, 1)), 1)
    assert_array_equal(indices, 50)
    assert_allclose(distances, samples[50, 0])


@pytest.mark.parametrize("seed", [7, 10, 16, 17])
def test_all_samples_are_found_however_products_are_rounded(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    samples, queries = rng.normal(size=(300, 20)), rng.normal(size=(257, 20))
    n_passes = []
    below = SampleBlocks._below

    def counted(*arguments):
        n_passes.append(1)
        return below(*arguments)

    monkeypatch.setattr(SampleBlocks, "_below", counted)
    # The last query is alone in its block, where products may be summed in another order.
    assert SampleBlocks(samples).nearest(queries, 300)[2].all()
    assert len(n_passes) == 1


def test_memory_does_not_grow_with_samples_at_the_same_place():
    samples = np.tile(np.float32([[1, 2, 3], [4, 5, 6]]), (20_000, 1))
    queries = samples[:1000] + np.float32(0.1)
    tracemalloc.start()
    distances, indices, _ = SampleBlocks(samples, n_queries=len(queries)).nearest(queries, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 20,000,000 distances are equally small.
    assert peak < 20e6
    assert_allclose(distances, np.sqrt(3) * 0.1, rtol=1e-5)
    assert_array_equal(indices % 2, np.tile([[0], [1]], (500, 20)))


@pytest.mark.parametrize("n_samples", [30, 5000])
def test_file_of_a_search_has_the_samples_only(n_samples):
    samples = curved(n_samples, np.random.default_rng(0))
    search_of_samples = NeighborSearch(samples)
    file = pickle.dumps(search_of_samples)
    assert len(file) < samples.nbytes + 500
    for found, expected in zip(
        pickle.loads(file).nearest(samples[:100], 7),
        search_of_samples.nearest(samples[:100], 7),
        strict=True,
    ):
        assert_array_equal(found, expected)


@pytest.mark.parametrize("n_values", [1, 2, 6])
@pytest.mark.parametrize("n_samples", [300, 3000])
def test_of_samples_that_are_equally_near_the_first_are_found(
    n_samples, n_values, small_blocks, monkeypatch
):
    monkeypatch.setattr("metricalign.predictors.search._FEW_DISTANCES", 1000 * n_samples // 300)
    rng = np.random.default_rng(0)
    samples = rng.integers(0, n_values, size=(n_samples, 4)).astype(np.float32)
    queries = rng.integers(0, n_values, size=(20, 4)).astype(np.float32)
    for some in (queries[:3], queries):  # by differences, and by products
        expected = true_distances(some, samples)
        order = np.argsort(expected, axis=1, kind="stable")[:, :25]
        distances, indices = NeighborSearch(samples, n_queries=len(some)).nearest(some, 25)
        assert_array_equal(indices, order)
        assert_allclose(distances, np.take_along_axis(expected, order, axis=1), rtol=1e-12)


# Anchors


def data(n_samples=400, n_features=3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    return X, np.digitize(X[:, 0] ** 2 + 0.3 * X[:, 1], [0.3, 1.5])


@pytest.mark.parametrize("strategy", [NearestPairs(4), NearestClassPairs(2, 3)], ids=str)
def test_anchors_have_the_neighbors_that_they_have_among_all(strategy):
    X, y = data()
    some = strategy.set_params(max_anchors=50).select(X, y)
    everyone = strategy.set_params(max_anchors=None).select(X, y)
    anchors, weight = choose_anchors(
        X, np.ones(len(X)), 50, y if isinstance(strategy, NearestClassPairs) else None
    )
    assert len(anchors) == 50
    assert_allclose(weight, len(X) / 50)
    assert {*map(tuple, some.indices)} <= {*map(tuple, everyone.indices)}
    assert np.isin(some.indices, anchors).any(axis=1).all()
    # Each passes its weight to each of its neighbours: nothing is lost.
    assert_allclose(some.weights.sum(), everyone.weights.sum())


@pytest.mark.parametrize("strategy", [NearestPairs, NearestClassPairs])
def test_candidates_stand_for_all(strategy):
    """They are a data set of their own, whose samples have the weight of all."""
    X, y = data()
    weight = np.random.default_rng(1).integers(1, 4, size=len(X)).astype(float)
    kept, shares = choose_anchors(X, weight, 100, y if strategy is NearestClassPairs else None)
    expected = strategy(max_anchors=30).select(X[kept], y[kept], shares)
    found = strategy(max_anchors=30, max_candidates=100).select(X, y, weight)
    assert_array_equal(found.indices, kept[expected.indices])
    assert_allclose(found.weights, expected.weights)


def test_candidates_of_classes_that_are_not_among_them():
    X, y = data()
    y[:3] = [7, 8, 9]
    indices, _ = NearestClassPairs(2, 2, max_candidates=60).select(X, y)
    assert not np.isin(y[indices], [7, 8, 9]).all()
    assert (y[indices[:, 0]] == y[indices[:, 1]]).any()
    assert (y[indices[:, 0]] != y[indices[:, 1]]).any()


@pytest.mark.parametrize("max_anchors", [400, 10_000])
def test_as_many_anchors_as_samples_change_nothing(max_anchors):
    X, y = data(400)
    for strategy in (NearestPairs(4), NearestClassPairs(2, 3)):
        expected = strategy.set_params(max_anchors=None).select(X, y)
        found = strategy.set_params(max_anchors=max_anchors, max_candidates=400).select(X, y)
        assert_array_equal(found.indices, expected.indices)
        assert_array_equal(found.weights, expected.weights)


def test_classes_have_their_share_of_anchors():
    X, y = data()
    anchors, _ = choose_anchors(X, np.ones(len(X)), 60, y)
    shares = np.bincount(y, minlength=3) * Fraction(60, len(X))
    assert all(abs(n - share) < 1 for n, share in zip(np.bincount(y[anchors]), shares, strict=True))
    renamed, _ = choose_anchors(X, np.ones(len(X)), 60, np.array([7, 0, 3])[y])
    assert_array_equal(renamed, anchors)


@pytest.mark.parametrize("sizes", [(390, 10), (397, 3), (399, 1), (360, 20, 15, 5)])
def test_rare_classes_are_kept_where_that_is_asked_for(sizes):
    X, y = np.random.default_rng(0).normal(size=(400, 3)), np.repeat(range(len(sizes)), sizes)
    weight = np.random.default_rng(1).integers(1, 3, size=400).astype(float)
    anchors, shares = choose_anchors(X, weight, 60, y, keeps_rare=True)
    assert len(np.unique(anchors)) == len(anchors) <= 60
    assert (np.bincount(y[anchors])[1:] >= np.minimum(sizes[1:], 10) - 1).all()
    assert shares.sum() == pytest.approx(weight.sum())
    unit = weight.sum() / 60
    mass, kept = np.bincount(y, weight), np.bincount(y[anchors], shares)
    assert (np.abs(mass - kept) < 2 * unit).all()
    order = np.random.default_rng(2).permutation(400)
    moved, _ = choose_anchors(X[order], weight[order], 60, y[order], keeps_rare=True)
    assert_array_equal(np.sort(order[moved]), anchors)


def test_too_many_rare_classes_get_their_shares():
    X, y = np.random.default_rng(0).normal(size=(400, 3)), np.arange(400) // 4
    expected = choose_anchors(X, np.ones(400), 60, y)
    assert_array_equal(choose_anchors(X, np.ones(400), 60, y, keeps_rare=True), expected)


@pytest.mark.parametrize("has_classes", [False, True])
def test_anchors_are_the_same_in_any_order(has_classes):
    X, y = data()
    weight = np.random.default_rng(1).integers(1, 4, size=len(X)).astype(float)
    order = np.random.default_rng(2).permutation(len(X))
    classes = y if has_classes else None
    anchors, shares = choose_anchors(X, weight, 50, classes)
    moved, moved_shares = choose_anchors(
        X[order], weight[order], 50, y[order] if has_classes else None
    )
    back = np.argsort(order[moved])
    assert_array_equal(order[moved][back], anchors)
    assert_allclose(moved_shares[back], shares)


def test_first_of_many_identical_samples_have_values_of_all_sizes():
    X = np.repeat([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [200, 2, 1], axis=0)
    y = np.random.default_rng(0).permutation(203).astype(float)
    order = order_of_values(X, y)
    groups = X[order] @ [1, 2]
    assert (np.diff(groups) != 0).sum() == 2
    many, two = y[order][groups == 1], y[order][groups == 0]
    ranks = np.searchsorted(np.sort(many), many)
    assert ranks[0] == 99
    for n_first in (20, 50, 100):
        gaps = np.diff(np.sort(ranks[:n_first]), prepend=-1, append=200)
        assert gaps.max() <= 2 * 200 / n_first + 1
    assert two[0] < two[1]
    assert_array_equal(y[::-1][order_of_values(X[::-1], y[::-1])], y[order])


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_different_samples_of_one_key_are_in_one_order(make):
    # The weights of columns 0 and 6 are the roots of 2 and 8.
    X = np.zeros((30, 7))
    X[:, 3], X[:15, 0], X[15:, 6] = np.tile(np.arange(5), 6), 2, 1
    assert len(np.unique(order_keys(make(X)))) == 5
    expected = X[order_of_values(make(X), np.arange(30))]
    moved = np.random.default_rng(0).permutation(30)
    assert_array_equal(X[moved][order_of_values(make(X[moved]), moved)], expected)


@pytest.mark.parametrize(
    "learner",
    [
        PSDSVR(pairs=NearestPairs(max_anchors=30), tol=1e-8),
        GradientAlignment(max_samples=30, n_rounds=1, random_state=0),
    ],
    ids=["pairs", "gradient"],
)
def test_order_of_identical_samples_of_different_targets_does_not_matter(learner):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(120, 3)).astype(float)
    y = X[:, 0] + 0.1 * rng.standard_normal(120)
    expected = learner.fit(X, y).get_mahalanobis_matrix()
    order = rng.permutation(120)
    moved = learner.fit(X[order], y[order]).get_mahalanobis_matrix()
    assert_allclose(moved, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


def test_a_heavy_sample_is_an_anchor_as_often_as_it_counts():
    X = np.arange(10.0)[:, None]
    weight = np.r_[np.ones(9), 11.0]
    anchors, shares = choose_anchors(X, weight, 4)
    # Steps of 5 units of weight, from 2.5 on.
    assert_array_equal(anchors, [2, 7, 9])
    assert_array_equal(shares, [5.0, 5.0, 10.0])


@pytest.mark.parametrize("max_candidates", [None, 100])
@pytest.mark.parametrize("strategy", [NearestPairs, NearestClassPairs])
def test_fit_with_anchors_keeps_its_invariances(strategy, max_candidates):
    X, y = data(200)
    y = y if strategy is NearestClassPairs else X[:, 0]
    learner = PSDSVR(pairs=strategy(max_anchors=40, max_candidates=max_candidates), tol=1e-8)
    expected = learner.fit(X, y).get_mahalanobis_matrix()
    assert len(np.unique(learner.pairs_)) < len(X)
    order = np.random.default_rng(0).permutation(len(X))
    moved = learner.fit(X[order], y[order]).get_mahalanobis_matrix()
    assert_allclose(moved, expected, rtol=1e-6, atol=1e-9)
    counts = np.random.default_rng(1).integers(0, 3, size=len(X))
    rows = np.repeat(np.arange(len(X)), counts)
    repeated = learner.fit(X[rows], y[rows]).get_mahalanobis_matrix()
    weighted = learner.fit(X, y, sample_weight=counts).get_mahalanobis_matrix()
    assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("strategy", [NearestPairs, NearestClassPairs])
@pytest.mark.parametrize("value", [0, -1, 1.5, "all"])
@pytest.mark.parametrize("name", ["max_anchors", "max_candidates"])
def test_bad_number_of_anchors_is_named(strategy, name, value):
    X, y = data(20)
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        strategy(**{name: value}).select(X, y)


@pytest.mark.parametrize(
    "learner",
    [
        GradientAlignment(max_samples=80, n_rounds=1, random_state=0),
        MetricEnsemble([GradientAlignment(n_rounds=1)], max_samples=80, random_state=0),
    ],
    ids=["gradient", "ensemble"],
)
@pytest.mark.parametrize("is_class", [False, True])
def test_some_samples_stand_for_all(learner, is_class):
    X, y = data(240)
    y = y if is_class else X[:, 0] ** 2
    weight = np.random.default_rng(3).integers(0, 3, size=len(y))
    expected = learner.fit(X, y, sample_weight=weight).get_mahalanobis_matrix()
    order = np.random.default_rng(2).permutation(len(y))
    moved = learner.fit(X[order], y[order], sample_weight=weight[order]).get_mahalanobis_matrix()
    assert_allclose(moved, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    rows = np.repeat(np.arange(len(y)), weight)
    repeated = learner.fit(X[rows], y[rows]).get_mahalanobis_matrix()
    assert_allclose(repeated, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    # Of others it is another metric, but not a very different one.
    everyone = clone(learner).set_params(max_samples=None).fit(X, y, sample_weight=weight)
    everyone = everyone.get_mahalanobis_matrix()
    if everyone.shape == expected.shape:
        cosine = np.sum(everyone * expected) / np.linalg.norm(everyone) / np.linalg.norm(expected)
        assert 0.7 < cosine < 1 - 1e-6


def test_some_samples_of_a_frame_stand_for_all():
    pd = pytest.importorskip("pandas")
    X, y = data(200)
    colour = np.array(["red", "green", "blue"])[y]
    frame = pd.DataFrame({"a": X[:, 0], "colour": colour, "b": X[:, 1]})
    frame.loc[3, "a"] = np.nan
    learner = MetricEnsemble([GradientAlignment(n_rounds=1)], max_samples=70, random_state=0)
    learner.fit(frame, y)
    assert list(learner.feature_names_in_) == ["a", "colour", "b"]
    images = learner.transform(frame)
    distances = np.linalg.norm(images[:, None] - images, axis=2)
    # The colour is the class.
    assert distances[y[:, None] != y].mean() > 2 * distances[y[:, None] == y].mean()


def test_relations_of_some_samples_stand_for_all():
    X, _ = data(150)
    relations = np.abs(X[:, :1] - X[:, 0])
    learner = GradientAlignment(relation="precomputed", max_samples=60, random_state=0)
    matrix = learner.fit(X, relations).get_mahalanobis_matrix()
    assert matrix[0, 0] > 0.9 * np.trace(matrix)


# What verbose says


def printed(capsys, strategy, X, y=None):
    strategy.select(X, y)
    return capsys.readouterr().out


@pytest.mark.parametrize("n_features", [3, 8])
def test_search_says_how_it_went(n_features, capsys, small_blocks):
    X, y = data(300, n_features)
    way = "a tree" if n_features == 3 else "products in float32"
    for strategy in (NearestPairs(max_anchors=40), NearestClassPairs(max_anchors=40)):
        assert printed(capsys, strategy, X, y) == ""
        strategy.set_params(verbose=True)
        text = printed(capsys, strategy, X, y)
        assert f"[{type(strategy).__name__}] neighbours of 40 of 300 samples: exact" in text
        assert f" by {way}" in text
    # Two searches of all anchors: in their class and in the others.
    assert "exact, 80 by" in text
    strategy.set_params(max_candidates=200)
    text = printed(capsys, strategy, X, y)
    assert "neighbours of 40 of 200 samples, which stand for 300: exact" in text
    # So does a learner, which leaves the strategy as it is.
    strategy.set_params(verbose=False, max_candidates=None)
    PSDSVR(pairs=strategy, verbose=1).fit(X, y)
    assert "neighbours of 40 of 300 samples: exact" in capsys.readouterr().out
    assert not strategy.verbose


def test_searches_that_float32_cannot_decide_are_counted(capsys, small_blocks):
    X = np.random.default_rng(0).standard_normal((200, 8))
    X[0] = 1e9
    strategy = NearestPairs(verbose=True)
    assert "1 by products in float64" in printed(capsys, strategy, X)


class EverySecondMissing(KNeighborsTransformer):
    """A search that does not see samples of odd number."""

    def transform(self, X):
        graph = super().transform(X).tolil()
        graph[:, 1::2] = 0
        return graph.tocsr()


def test_recall_of_an_approximate_search_is_said(capsys):
    X = np.random.default_rng(0).standard_normal((300, 4))
    strategy = NearestPairs(neighbors=EverySecondMissing(mode="distance"), verbose=True)
    text = printed(capsys, strategy, X)
    # Of every second sample: the share of the five nearest that the search can see.
    nearest = np.argsort(true_distances(X[::2], X), axis=1)[:, 1:6]
    assert f"which found {np.mean(nearest % 2 == 0):.1%} of those of 150 samples" in text


# Identical samples


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("largest", [0.0, 1.0, 1e30, 1.7e308])
def test_first_identical_row_is_that_of_a_loop(largest, dtype):
    """Also where one column is so large that the keys of different rows are the same."""
    X = np.random.default_rng(0).integers(-2, 3, (60, 3)).astype(dtype)
    X[:, 0] = min(largest, float(np.finfo(dtype).max)) * np.sign(X[:, 0])
    X[::7] = np.where(X[::7] == 0, -0.0, X[::7])
    expected = [next(k for k in range(60) if (X[k] == row).all()) for row in X]
    assert 5 < len(set(expected)) < 60
    assert_array_equal(first_identical(X), expected)
    assert_array_equal(first_identical(canonical(sparse.csr_array(X))), expected)


def test_weights_are_repetitions_where_anchors_are_chosen_among_candidates():
    """Steps end where candidates do: rounding must not decide."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        X, weight = rng.normal(size=(60, 2)), rng.integers(1, 4, size=60)
        total = []
        for rows, of_rows in (
            (np.arange(60), weight.astype(float)),
            (np.repeat(np.arange(60), weight), np.ones(weight.sum())),
        ):
            for n_most in (40, 20):
                chosen, of_rows = choose_anchors(X[rows], of_rows, n_most)
                rows = rows[chosen]
            total.append(np.bincount(rows, of_rows, minlength=60))
        np.testing.assert_allclose(*total)
