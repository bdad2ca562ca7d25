"""The piecewise linear encoder: against its formula, against scikit-learn, and by invariances."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from metricalign import (
    PSDSVR,
    DiscriminantAlignment,
    MetricEnsemble,
    MetricNeighborsClassifier,
)
from metricalign.features import PiecewiseLinearEncoder


def samples(n_samples=200, seed=0, missing=0.1):
    """Columns that are even, skewed, of few values, mostly zero, and far from the origin."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.uniform(size=n_samples),
            rng.exponential(size=n_samples) ** 2,
            rng.integers(0, 3, n_samples),
            np.maximum(rng.normal(size=n_samples) - 1, 0),
            1e9 + rng.normal(size=n_samples),
        ]
    )
    X[rng.random(X.shape) < missing] = np.nan
    X.flags.writeable = False
    return X


def frame(n_samples=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, n_samples),
            "job": rng.choice(["clerk", "cook", "pilot"], n_samples),
            "floor": pd.Categorical(rng.choice([1, 2, 3], n_samples)),
            "owner": rng.random(n_samples) < 0.3,
            "children": pd.array(rng.choice([0, 1, 2, None], n_samples), dtype="Int64"),
            "pet": rng.choice(np.array(["cat", "dog", None], dtype=object), n_samples),
        }
    )


def blocks_of(encoder, encoding):
    return [np.asarray(encoding)[:, block] for block in encoder.blocks_]


def squared_distances(Z):
    return ((Z[:, None] - Z[None]) ** 2).sum(axis=-1)


@pytest.mark.parametrize("n_bins", [1, 3, 8, "auto"])
def test_pieces_are_those_of_the_formula(n_bins):
    X = samples(missing=0)
    encoder = PiecewiseLinearEncoder(n_bins=n_bins).fit(X)
    beyond = np.vstack([X, X.max(axis=0) + 3, X.min(axis=0) - 3])
    encoding = encoder.transform(beyond)
    for column, edges, block in zip(beyond.T, encoder.edges_, encoder.blocks_, strict=True):
        assert len(edges) - 1 == block.stop - block.start
        for b in range(1, len(edges)):
            z = (column - edges[b - 1]) / (edges[b] - edges[b - 1])
            if b > 1:
                z = np.where(z < 0, 0, z)
            if b < len(edges) - 1:
                z = np.where(z > 1, 1, z)
            number = block.start + b - 1
            expected = (z - encoder.mean_[number]) * encoder.scale_[number]
            assert_allclose(encoding[:, number], expected, atol=1e-12)


def test_edges_are_quantiles():
    X = np.random.default_rng(0).permutation(np.arange(801.0))[:, None]
    edges = PiecewiseLinearEncoder(n_bins=8).fit(X).edges_[0]
    assert_array_equal(edges, [0, *range(100, 800, 100), 800])


def test_few_values_are_all_edges():
    X = np.repeat([0.0, 1.0, 5.0, 9.0], [900, 50, 40, 10])[:, None]
    encoder = PiecewiseLinearEncoder(n_bins=3).fit(X)
    assert_array_equal(encoder.edges_[0], [0, 1, 5, 9])


def test_a_frequent_value_takes_one_bin():
    rng = np.random.default_rng(0)
    X = np.concatenate([np.zeros(900), rng.uniform(1, 2, 100)])[:, None]
    edges = PiecewiseLinearEncoder(n_bins=8).fit(X).edges_[0]
    assert len(edges) == 8
    assert edges[0] == 0
    # Seven bins of the eight are left for the others.
    assert set(np.histogram(X[900:], edges)[0]) <= {14, 15}


@pytest.mark.parametrize("missing", [0, 0.1, 0.9])
@pytest.mark.parametrize("n_bins", [1, 8])
def test_blocks_are_centred_and_of_total_variance_one(n_bins, missing):
    X = samples(missing=missing)
    encoder = PiecewiseLinearEncoder(n_bins=n_bins)
    for block in blocks_of(encoder, encoder.fit_transform(X)):
        assert_allclose(block.mean(axis=0), 0, atol=1e-9)
        assert block.var(axis=0).sum() == pytest.approx(1)


def test_one_bin_standardises():
    X = samples(missing=0)
    encoding = PiecewiseLinearEncoder(n_bins=1).fit_transform(X)
    assert_allclose(encoding, StandardScaler().fit_transform(X), atol=1e-6)


@pytest.mark.parametrize("missing", [0, 0.1])
def test_every_column_is_a_linear_function_of_its_encoding(missing):
    X, new = samples(missing=missing), 2 * samples(seed=1, missing=missing)
    encoder = PiecewiseLinearEncoder(n_bins=8).fit(X)
    standardized = PiecewiseLinearEncoder(n_bins=1).fit(X)
    for data in (X, new):
        recovered = encoder.transform(data) @ encoder.linear_map_.T
        assert_allclose(recovered, standardized.transform(data), rtol=1e-9, atol=1e-9)
    assert_allclose(standardized.linear_map_.toarray(), np.eye(5 + (missing > 0) * 5), atol=1e-12)


def test_metrics_over_raw_and_encoded_columns_add_up_to_one_matrix():
    X = samples()
    y = np.random.default_rng(0).normal(size=len(X)) + np.nan_to_num(X[:, 1])
    encoder, standardized = PiecewiseLinearEncoder(n_bins=8), PiecewiseLinearEncoder(n_bins=1)
    E, R = encoder.fit_transform(X), standardized.fit_transform(X)
    over_raw, over_encoded = DiscriminantAlignment().fit(R, y), DiscriminantAlignment().fit(E, y)
    components = np.vstack([over_raw.components_ @ encoder.linear_map_, over_encoded.components_])
    expected = squared_distances(over_raw.transform(R))
    expected += squared_distances(over_encoded.transform(E))
    assert_allclose(squared_distances(E @ components.T), expected, rtol=1e-6, atol=1e-9)


def test_a_missing_value_is_as_far_from_others_as_they_from_each_other():
    X = samples(missing=0.3)[:, :1]
    distances = squared_distances(PiecewiseLinearEncoder(n_bins=8).fit_transform(X))
    is_missing = np.isnan(X[:, 0])
    among_others = distances[~is_missing][:, ~is_missing].mean()
    assert distances[~is_missing][:, is_missing].mean() == pytest.approx(among_others)
    assert_allclose(distances[is_missing][:, is_missing], 0)


def test_missing_values_that_fit_did_not_see_are_the_mean():
    X = samples(missing=0)
    encoder = PiecewiseLinearEncoder().fit(X)
    assert not encoder.has_missing_.any()
    assert not encoder.transform(np.full((1, 5), np.nan)).any()


def test_categories_are_centred_indicators():
    X = frame()[["job"]]
    encoder = PiecewiseLinearEncoder()
    encoding = encoder.fit_transform(X)
    indicators = OneHotEncoder(sparse_output=False).fit_transform(X)
    indicators = indicators - indicators.mean(axis=0)
    expected = indicators / np.sqrt(indicators.var(axis=0).sum())
    assert_allclose(encoding, expected, atol=1e-12)
    assert list(encoder.get_feature_names_out()) == ["job: clerk", "job: cook", "job: pilot"]
    assert list(encoder.categories_[0]) == ["clerk", "cook", "pilot"]
    new = X.iloc[:2].assign(job=["nurse", "clerk"])
    assert not encoder.transform(new)[0].any()
    assert encoder.transform(new)[1].any()


@pytest.mark.parametrize(
    ("known", "new", "message"),
    [
        (["1011", "1012"], [1011, 1012], "had strings for categories.*'1011', and has numbers"),
        (pd.Categorical([11, 12]), ["11", "12"], "had numbers for categories.* 11, and has str"),
        ([1.5, 2.5], ["1.5", "2.5"], "had numbers in fit, and has strings now"),
    ],
    ids=["numbers for strings", "strings for numbers", "strings in a column of numbers"],
)
def test_columns_of_another_type_than_in_fit_are_refused(known, new, message):
    encoder = PiecewiseLinearEncoder().fit(pd.DataFrame({"place": known}))
    with pytest.raises(ValueError, match=message):
        encoder.transform(pd.DataFrame({"place": new}))


def test_the_example_of_a_category_is_a_word():
    X = pd.DataFrame({"place": ["-", "?", "north", "south"] * 10})
    encoder = PiecewiseLinearEncoder().fit(X)
    with pytest.warns(UserWarning, match="such as 'nord', none such as 'north'"):
        encoder.transform(pd.DataFrame({"place": ["nord", "!"]}))


def test_categories_of_which_none_is_known_are_warned_of():
    known = pd.DataFrame({"place": ["NY"] * 60 + ["LA"] * 60 + ["SF"]})
    encoder = PiecewiseLinearEncoder().fit(known)
    assert list(encoder.rare_categories_[0]) == ["SF"]
    with pytest.warns(UserWarning, match="'place' of X has only categories.*'New York'.*'LA'"):
        encoder.transform(pd.DataFrame({"place": ["New York", None]}))
    for place in ("SF", None, "LA"):  # a rare one, a missing one, and one among new ones
        encoder.transform(pd.DataFrame({"place": [place, "New York" if place == "LA" else None]}))


def test_names_that_are_all_rare_are_expected_to_be_new():
    known = pd.DataFrame({"name": [f"name {number}" for number in range(110)], "age": range(110)})
    encoder = PiecewiseLinearEncoder().fit(known)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform(pd.DataFrame({"name": ["somebody else"], "age": [30]}))


def test_rare_categories_share_a_column():
    X = np.array(["a"] * 60 + ["b"] * 37 + ["c", "d", "e"], dtype=object)[:, None]
    encoder = PiecewiseLinearEncoder(min_frequency=0.02).fit(X)
    names = ["job: a", "job: b", "job is rare"]
    assert list(encoder.get_feature_names_out(["job"])) == names
    new = np.array([["c"], ["e"], ["never seen"]], dtype=object)
    assert np.ptp(encoder.transform(new), axis=0).max() == 0
    assert encoder.transform(new)[0].argmax() == 2
    identifiers = np.array([f"customer {number}" for number in range(200)], dtype=object)
    both = np.column_stack([identifiers, np.resize(X[:, 0], 200)])
    blocks = PiecewiseLinearEncoder().fit(both).blocks_
    assert blocks[0] == slice(0, 0)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    pandas_frame = frame()
    encoder = PiecewiseLinearEncoder(n_bins=2).fit(pandas_frame)
    names = list(encoder.get_feature_names_out())
    assert names[2:] == [
        *("job: clerk", "job: cook", "job: pilot", "floor: 1", "floor: 2", "floor: 3", "owner"),
        *("children: 0 to 1", "children: 1 to 2", "children is missing"),
        *("pet: cat", "pet: dog", "pet is missing"),
    ]
    assert names[0].startswith("age: ")
    expected = encoder.transform(pandas_frame)
    X = pandas_frame
    if library == "polars":
        polars = pytest.importorskip("polars")
        values = {name: [None if v is None else v for v in X[name].tolist()] for name in X}
        values["children"] = [None if v != v else int(v) for v in X["children"].astype(float)]
        values["pet"] = [v if isinstance(v, str) else None for v in X["pet"]]
        X = polars.DataFrame(values).with_columns(
            polars.col("floor").cast(polars.String).cast(polars.Categorical)
        )
        assert_allclose(clone(encoder).fit_transform(X), expected, atol=1e-12)
    encoded = clone(encoder).set_output(transform=library).fit_transform(X)
    assert type(encoded).__module__.startswith(library)
    assert list(encoded.columns) == names
    for block in blocks_of(encoder, expected):
        assert block.var(axis=0).sum() == pytest.approx(1)


def test_lists_and_arrays_of_objects():
    X = frame().astype(object)
    expected = PiecewiseLinearEncoder(n_bins=2).fit_transform(X)
    for values in (X.to_numpy(), X.to_numpy().tolist()):
        assert_array_equal(PiecewiseLinearEncoder(n_bins=2).fit_transform(values), expected)


def test_columns_without_information_have_no_encoding():
    X = samples()
    X = np.column_stack([np.full(200, 7.0), X[:, 0], np.full(200, np.nan), np.full(200, 0.1)])
    X[::2, 3] = 0.3 - 0.2  # differs from 0.1 by rounding
    encoder = PiecewiseLinearEncoder(n_bins=4).fit(X)
    assert encoder.blocks_ == [slice(0, 0), slice(0, 5), slice(5, 5), slice(5, 5)]
    assert encoder.transform(X).shape == (200, 5)
    X[0, 0] = np.nan  # now only that varies
    encoder.fit(X)
    assert encoder.get_feature_names_out()[0] == "x0 is missing"
    assert encoder.linear_map_.shape == (3, 6)
    with pytest.raises(ValueError, match="No column of X varies"):
        encoder.fit(np.ones((5, 2)))


@pytest.mark.parametrize("missing", [0, 0.2])
def test_weights_count_as_repetitions(missing):
    X = samples(missing=missing)
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = PiecewiseLinearEncoder(n_bins=5).fit(X, sample_weight=weight / 7)
    repeated = PiecewiseLinearEncoder(n_bins=5).fit(np.repeat(X, weight, axis=0))
    assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-9)


def test_weights_of_categories_count_as_repetitions():
    X = frame()
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = PiecewiseLinearEncoder(n_bins=5).fit(X, sample_weight=weight)
    repeated = PiecewiseLinearEncoder(n_bins=5).fit(X.iloc[np.repeat(np.arange(len(X)), weight)])
    assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-9)


def test_what_has_no_weight_is_absent():
    X = frame()
    other = X.copy()
    other.loc[:9, "job"] = "astronaut"
    other.loc[:9, "age"] = 1e6
    weight = np.arange(len(X)) > 9
    expected = PiecewiseLinearEncoder().fit(X.iloc[10:])
    encoder = PiecewiseLinearEncoder().fit(other, sample_weight=weight)
    assert list(encoder.get_feature_names_out()) == list(expected.get_feature_names_out())
    assert_array_equal(encoder.transform(X), expected.transform(X))


@pytest.mark.parametrize(("factor", "offset"), [(1000, 0), (1e-6, 3), (1e150, 0)])
def test_units_of_the_columns_do_not_matter(factor, offset):
    X = samples()[:, :4]
    expected = PiecewiseLinearEncoder(n_bins=5).fit_transform(X)
    assert_allclose(
        PiecewiseLinearEncoder(n_bins=5).fit_transform(factor * X + offset), expected, atol=1e-6
    )


def test_float32():
    X = samples()[:, :4].astype(np.float32)
    X[:, 3] = 1e6 + np.arange(200)  # exact in float32, while sums of it are not
    encoding = PiecewiseLinearEncoder(n_bins=5).fit_transform(X)
    assert encoding.dtype == np.float32
    expected = PiecewiseLinearEncoder(n_bins=5).fit_transform(X.astype(np.float64))
    assert expected.dtype == np.float64
    assert_allclose(encoding, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [int, bool, np.uint8, np.float16])
def test_other_types_of_numbers(dtype):
    X = np.random.default_rng(0).integers(0, 2, (50, 3)).astype(dtype)
    expected = PiecewiseLinearEncoder().fit_transform(X.astype(np.float64))
    assert_array_equal(PiecewiseLinearEncoder().fit_transform(X), expected)


@pytest.mark.parametrize("missing", [False, True])
def test_sparse_samples_have_the_same_distances(missing):
    X = sparse.random_array((300, 6), density=0.2, rng=0, format="csr")
    X.data -= 0.3
    if missing:
        X.data[::10] = np.nan
    encoder = PiecewiseLinearEncoder(n_bins=5).fit(X)
    encoding = encoder.transform(X)
    dense = PiecewiseLinearEncoder(n_bins=5).fit_transform(X.toarray())
    assert sparse.issparse(encoding)
    assert encoding.nnz <= 5 * X.nnz
    assert not encoder.transform(sparse.csr_array((1, 6))).nnz
    difference = dense - encoding.toarray()
    assert_allclose(difference, np.broadcast_to(difference[0], difference.shape), atol=1e-12)
    assert_allclose(encoder.transform(X.toarray()), dense, atol=1e-12)
    weight = np.arange(300) % 3
    weighted = PiecewiseLinearEncoder(n_bins=5).fit(X, sample_weight=weight)
    expected = PiecewiseLinearEncoder(n_bins=5).fit(X.toarray(), sample_weight=weight)
    assert_allclose(weighted.transform(X.toarray()), expected.transform(X.toarray()), atol=1e-12)


def test_dask_arrays():
    dask_array = pytest.importorskip("dask.array")
    X = samples()
    weight = np.arange(len(X)) % 3
    chunked = dask_array.from_array(X, chunks=(70, 2))
    expected = PiecewiseLinearEncoder(n_bins=5).fit(X, sample_weight=weight)
    encoder = PiecewiseLinearEncoder(n_bins=5).fit(chunked, sample_weight=weight)
    encoding = encoder.transform(chunked)
    assert isinstance(encoding, dask_array.Array)
    assert encoding.shape == (200, encoder._n_features_out)
    assert_allclose(encoding.compute(), expected.transform(X), rtol=1e-9, atol=1e-9)


def test_dask_arrays_with_many_values_in_a_chunk():
    dask_array = pytest.importorskip("dask.array")
    X = samples(20_000)
    chunked = dask_array.from_array(X, chunks=(7000, 5))
    expected = PiecewiseLinearEncoder(n_bins=8).fit(X).transform(X)
    encoding = PiecewiseLinearEncoder(n_bins=8).fit(chunked).transform(X)
    assert_allclose(encoding, expected, atol=0.05)
    assert np.abs(encoding - expected).max() > 0  # each chunk was described by few numbers
    assert_allclose(encoding.mean(axis=0), 0, atol=1e-3)


def test_column_of_dask_that_varies_by_rounding_only():
    """A column of numbers that are next to each other in float32 has no values, only noise."""
    dask_array = pytest.importorskip("dask.array")
    X = samples(6000)[:, :2].astype(np.float32)
    X[:, 1] = 1000 + np.spacing(np.float32(1000)) * (np.arange(6000) % 4)
    expected = PiecewiseLinearEncoder(n_bins=8).fit(X)
    encoder = PiecewiseLinearEncoder(n_bins=8).fit(dask_array.from_array(X, chunks=(2000, 2)))
    assert encoder._n_features_out == expected._n_features_out
    assert encoder.fit(X.astype(np.float64))._n_features_out > expected._n_features_out


def test_what_cannot_be_encoded_is_refused():
    X = np.array(samples())
    X[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        PiecewiseLinearEncoder().fit(X)
    table = frame()
    table.loc[3, "age"] = np.inf
    with pytest.raises(ValueError, match="infinity in column 'age'"):
        PiecewiseLinearEncoder().fit(table)
    encoder = PiecewiseLinearEncoder().fit(frame())
    with pytest.raises(ValueError, match="'age' of X had numbers in fit"):
        encoder.transform(frame().assign(age="old"))
    with pytest.raises(TypeError, match=r"'age' of X .* kinds, such as '\?' and 0: .*to_numeric"):
        PiecewiseLinearEncoder().fit(frame().assign(age=["?", *range(199)]))
    with pytest.raises(TypeError, match="'age' of X has the type datetime64"):
        PiecewiseLinearEncoder().fit(frame().assign(age=np.datetime64("2020-01-01")))
    with pytest.raises(ValueError, match="leave the range of numbers"):
        PiecewiseLinearEncoder().fit([[1.7e308], [-1.7e308]])
    with pytest.raises(ValueError, match=r"[Ss]ample[_ ]weight"):
        PiecewiseLinearEncoder().fit(frame(), sample_weight=np.zeros(200))
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(frame().rename(columns={"age": "years"}))


def test_names_tell_apart_what_differs():
    X = np.arange(1e6, 1e6 + 3)[:, None]
    names = list(PiecewiseLinearEncoder().fit(X).get_feature_names_out())
    assert names == ["x0: 1000000 to 1000001", "x0: 1000001 to 1000002"]
    mixed = pd.DataFrame({"a": pd.Categorical([1, "1", 1, "1"])})
    assert list(PiecewiseLinearEncoder().fit(mixed).get_feature_names_out()) == ["a: 1", "a: '1'"]


def test_as_many_bins_as_fit_in_all():
    rng = np.random.default_rng(0)
    for n_features, n_bins in [(2, 16), (20, 8), (100, 1), (200, 1)]:
        X = rng.normal(size=(100, n_features))
        assert PiecewiseLinearEncoder().fit(X).transform(X).shape[1] == n_bins * n_features


def test_pickle_and_a_metric_behind_it():
    X = samples()
    y = X[:, 0] > 0.5
    encoder = PiecewiseLinearEncoder().fit(X)
    copy = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(copy.transform(X), encoder.transform(X))
    assert PSDSVR().fit(encoder.transform(X), y).converged_


@parametrize_with_checks([PiecewiseLinearEncoder(), PiecewiseLinearEncoder(n_bins=1)])
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


def test_a_column_of_texts_is_named_and_the_advice_works():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = X.assign(colour=np.where(y == 0, "blue", "red"))
    with pytest.raises(ValueError, match="Column 'colour' of X has texts, such as 'blue', and PSD"):
        PSDSVR().fit(X, y)
    make_pipeline(PiecewiseLinearEncoder(), PSDSVR()).fit(X, y).transform(X)
    MetricEnsemble().fit(X, y).transform(X)
    MetricNeighborsClassifier().fit(X, y).predict(X)
