import os
import pickle
import signal
import time
from uuid import uuid4

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import metricalign
from metricalign import (
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLSVR,
    DiscriminantAlignment,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    MetricNeighborsClassifier,
    MetricNeighborsRegressor,
    NeighborhoodAlignment,
    PiecewiseLinearEncoder,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.operators import DistributedPairOperator
from metricalign.operators.distributed import _block
from metricalign.pairs import (
    AllPairs,
    NearestClassPairs,
    NearestPairs,
    RandomPairs,
    TransformedPairs,
    UnionPairs,
)
from metricalign.pairs.distinct import distinct_samples
from metricalign.pairs.distributed import DistributedSamples, _joined
from metricalign.pairs.identical import first_identical
from metricalign.solvers import newton

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")

CHUNKS = {
    "one": -1,
    "rows": 40,
    "one_row": ((1, 59, 1, 59), (3, 2)),
    "columns": (30, 2),
}
IN_MEMORY = "metricalign.learners.alignment.preparation._ENTRIES_IN_MEMORY"
each_chunking = pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)


@pytest.fixture(autouse=True)
def as_if_they_were_many(monkeypatch):
    """As if there were as many threads as chunks, and samples too many for one process."""
    monkeypatch.setattr("metricalign.pairs.distributed._n_threads", lambda: 1000)
    monkeypatch.setattr(IN_MEMORY, 0)
    monkeypatch.setattr("metricalign.pairs.distributed._ENTRIES_OF_QUERIES", 250)


def samples(n_samples=120, n_features=5, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).normal(size=(n_samples, n_features)).astype(dtype)
    X[[7, 59]] = X[[3, 50]]
    return X / np.sqrt(n_features).astype(dtype)


def targets(X, kind):
    rng = np.random.default_rng(1)
    images = X @ rng.normal(size=(X.shape[1], 3))
    if kind == "classes":
        return np.array(["a", "b", "c"])[images.argmax(axis=1)]
    if kind == "label_sets":
        return (images > 0).astype(int)
    return images[:, 0] + 0.1 * rng.normal(size=len(X))


def dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def assert_same_fit(first, second):
    """The pairs are the same, and both metrics are as near to the optimum as they say."""
    assert_array_equal(first.pairs_, second.pairs_)
    assert_allclose(first.relations_, second.relations_)
    assert_allclose(first.C_, second.C_, rtol=1e-5)
    assert first.converged_
    assert second.converged_
    M = dense(first.matrix_).astype(np.float64)
    rounding = 1e-5 * np.linalg.norm(M) if first.matrix_.dtype == np.float32 else 1e-10
    bound = first.metric_error_bound_ + second.metric_error_bound_ + rounding
    assert np.linalg.norm(M - dense(second.matrix_)) <= bound
    assert first.objective_ == pytest.approx(second.objective_, rel=2 * first.tol)
    assert first.matrix_.dtype == second.matrix_.dtype
    assert first.components_.dtype == second.components_.dtype
    assert first.n_features_in_ == second.n_features_in_


# Fit


@each_chunking
@pytest.mark.parametrize("kind", ["classes", "numbers", "label_sets"])
def test_fit_is_that_in_memory_for_every_chunking(chunks, kind):
    X = samples()
    y = targets(X, kind)
    assert_same_fit(PSDSVR().fit(X, y), PSDSVR().fit(da.from_array(X, chunks), y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "learner",
    [
        RAMLSVR(),
        RAMLSVR(nu=0.3),
        RAMLSVR(solver="quasi_newton", tol=1e-2, fit_intercept=False),
        RAMLSVR(solver="projected_gradient", tol=1e-2),
        PSDSVR(loss="squared_epsilon_insensitive", prior="identity"),
        RAMLKRR(),
        RAMLKRR(penalty="coefficients"),
        RAMLNCSVR(tol=1e-2, pairs="random"),
        RelationAlignment(cone="diagonal"),
    ],
    ids=repr,
)
def test_every_learner_fits_as_in_memory(learner, dtype):
    X = samples(dtype=dtype)
    y = targets(X, "numbers")
    learner = clone(learner).set_params(random_state=0)
    assert_same_fit(clone(learner).fit(X, y), clone(learner).fit(da.from_array(X, 40), y))


@pytest.mark.parametrize(
    "pairs",
    [
        "nearest",
        "nearest_class",
        "random",
        "all",
        NearestPairs(3, neighbors=KNeighborsTransformer(mode="distance", algorithm="ball_tree")),
        NearestPairs(3, max_anchors=20, max_candidates=70),
        NearestClassPairs(2, 1, max_anchors=20, max_candidates=70),
        UnionPairs([NearestClassPairs(2, 1), RandomPairs(50)]),
        [[0, 119], [119, 0], [5, 60], [60, 61], [7, 8]],
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_pairs_are_those_in_memory(pairs, is_weighted):
    X = samples()
    y = targets(X, "classes")
    weight = np.random.default_rng(2).integers(0, 3, len(X)) + (np.arange(len(X)) % 7 == 0)
    weight = weight.astype(float) if is_weighted else None
    learner = RAMLKRR(C=1.0, relation="zero_one", pairs=pairs, random_state=3)
    near = clone(learner).fit(X, y, weight)
    far = clone(learner).fit(da.from_array(X, 50), y, weight)
    assert_same_fit(near, far)


def test_precomputed_relations():
    X = samples()
    y = targets(X, "numbers")
    relations = np.abs(y[:, None] - y)
    for pairs in ("auto", "nearest"):
        learner = RAMLSVR(relation="precomputed", pairs=pairs, C=1e-3)
        far = clone(learner).fit(da.from_array(X, 50), da.from_array(relations, 50))
        assert_same_fit(clone(learner).fit(X, relations), far)


def test_path_is_that_in_memory():
    X = samples()
    y = targets(X, "numbers")
    for near, far in zip(
        PSDSVR().fit_path(X, y, [0.01, 0.1]),
        PSDSVR().fit_path(da.from_array(X, 50), y, [0.01, 0.1]),
        strict=True,
    ):
        assert_same_fit(near, far)


def test_targets_and_weights_may_be_of_dask():
    dataframe = pytest.importorskip("dask.dataframe")
    X = samples()
    y, weight = targets(X, "classes"), np.arange(len(X)) % 3 + 1.0
    expected = RAMLSVR().fit(X, y, weight)
    far = da.from_array(X, 50)
    for form in (
        da.from_array(y, 30),
        dataframe.from_pandas(pd.Series(y), npartitions=3),
        pd.Series(y),
        y.tolist(),
    ):
        assert_same_fit(expected, RAMLSVR().fit(far, form, da.from_array(weight, 60)))


def test_integers_are_fitted_as_float64():
    X = np.random.default_rng(0).integers(0, 1000, (60, 3))
    y = targets(X, "numbers")
    near, far = RAMLSVR().fit(X, y), RAMLSVR().fit(da.from_array(X, 20), y)
    assert far.matrix_.dtype == np.float64
    assert_same_fit(near, far)


# Of all samples these compute only some, which is as exact, or sums.
FEW_OF_ALL = [
    DiscriminantAlignment(),
    DiscriminantAlignment(n_landmarks=20, shrinkage=1.0, random_state=0),
    GradientAlignment(max_samples=50, n_landmarks=30, random_state=0),
    NeighborhoodAlignment(max_samples=50, max_iter=3, n_starts=1),
    MetricEnsemble([DiscriminantAlignment()], max_samples=50),
]


def assert_same_map(first, second, rtol=1e-9):
    assert first.components_.dtype == second.components_.dtype
    expected, matrix = first.get_mahalanobis_matrix(), second.get_mahalanobis_matrix()
    assert np.linalg.norm(expected) > 0
    assert_allclose(matrix, expected, atol=rtol * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("learner", FEW_OF_ALL, ids=repr)
@pytest.mark.parametrize("kind", ["classes", "numbers", "label_sets"])
def test_learners_of_some_samples_or_of_sums_fit_as_in_memory(learner, kind):
    X = samples()
    y, weight = targets(X, kind), np.arange(len(X)) % 3 + 1.0
    near = clone(learner).fit(X, y, weight)
    for chunks in (40, ((1, 59, 1, 59), (3, 2))):
        far = clone(learner).fit(da.from_array(X, chunks), da.from_array(y, 30), weight)
        assert_same_map(near, far)
        assert far.relation_.name == near.relation_.name
        images = far.transform(da.from_array(X, chunks))
        assert isinstance(images, da.Array)
        assert_allclose(images.compute(), far.transform(X), atol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("learner", FEW_OF_ALL, ids=repr)
def test_float32_and_relations_of_ones_own_fit_as_in_memory(learner):
    X = samples(dtype=np.float32)
    y = targets(X, "numbers")
    near, far = clone(learner).fit(X, y), clone(learner).fit(da.from_array(X, 40), y)
    assert far.components_.dtype == np.float32
    assert_same_map(near, far, rtol=1e-4)
    relations = np.abs(y[:, None] - y)
    learner = clone(learner).set_params(relation="precomputed")
    near = clone(learner).fit(X, relations)
    far = clone(learner).fit(da.from_array(X, 40), da.from_array(relations, 50))
    assert_same_map(near, far, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ensemble_chooses_the_same_of_more_values_than_a_chunk_describes(dtype):
    X = samples(6000, 3, dtype)
    X, y = np.exp(X), targets(X, "classes")
    learner = MetricEnsemble([DiscriminantAlignment()], max_samples=400)
    near, far = clone(learner).fit(X, y), clone(learner).fit(da.from_array(X, 3000), y)
    assert_same_map(near, far, rtol=1e-6)


def test_standardised_columns_of_chunks_are_those_in_memory():
    X = np.exp(3 * samples(6000, 3)) + 1e4
    weight = np.arange(len(X)) % 3 + 1.0
    encoder = PiecewiseLinearEncoder(n_bins=1)
    near = clone(encoder).fit(X, sample_weight=weight)
    far = clone(encoder).fit(da.from_array(X, 2000), sample_weight=weight)
    assert_allclose(far.scale_, near.scale_, rtol=1e-12)
    assert_allclose(far.mean_, near.mean_, rtol=1e-12)
    assert_array_equal(far.edges_, near.edges_)


def test_fewer_samples_than_features():
    X = samples(60, 80)
    y = targets(X, "classes")
    near, far = (
        DiscriminantAlignment().fit(X, y),
        DiscriminantAlignment().fit(da.from_array(X, 9), y),
    )
    assert_same_map(near, far, rtol=1e-7)


def test_refinement_starts_from_all_samples():
    X = samples()
    y = targets(X, "classes")
    learner = NeighborhoodAlignment(refine=PSDSVR(), max_samples=50)
    near, far = clone(learner).fit(X, y), clone(learner).fit(da.from_array(X, 40), y)
    assert_same_fit(near.refined_, far.refined_)
    assert far.refined_.pairs_.max() > 100


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("learner", FEW_OF_ALL, ids=repr)
def test_no_worker_has_more_than_its_blocks_and_what_comes_back_does_not_grow(learner, monkeypatch):
    n_samples, chunk = 1500, 100
    X = samples(n_samples)
    returned, made = [], []
    compute = dask.compute

    def remember(*tasks, **options):
        results = compute(*tasks, **options)
        for result in results:
            parts = result if isinstance(result, tuple) else (result,)
            returned.extend(part.nbytes for part in parts if getattr(part, "ndim", 0) == 2)
        return results

    def look(key, result, *others):
        if getattr(result, "ndim", 0) == 2:
            made.append(result.shape)

    monkeypatch.setattr(dask, "compute", remember)
    with dask.callbacks.Callback(posttask=look):
        clone(learner).fit(da.from_array(X, (chunk, 5)), targets(X, "numbers"))
    # Hashes of 16 bytes for each sample, and some samples, or sums with landmarks for each block.
    assert max(rows for rows, _ in made) <= chunk
    n_blocks = n_samples // chunk
    assert sum(returned) <= 16 * n_samples + 8 * 5 * (50 + 55 * n_blocks)


@pytest.mark.parametrize(
    "learner", [IteratedMetricLearner(RAMLSVR(), n_rounds=2), RelationAlignmentCV(Cs=2, cv=2)]
)
def test_learners_that_fit_several_times_take_the_samples_into_memory(learner):
    X = samples(60)
    y = targets(X, "numbers")
    near = clone(learner).fit(X, y)
    far = clone(learner).fit(da.from_array(X, 20), da.from_array(y, 20))
    assert_array_equal(near.components_, far.components_)
    assert_allclose(far.transform(da.from_array(X, 20)).compute(), near.transform(X))


# DataFrames


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("learner", [PSDSVR(), PiecewiseLinearEncoder(), *FEW_OF_ALL], ids=repr)
def test_frames_of_numbers(learner):
    dataframe = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(samples(), columns=list("abcde"))
    y = pd.Series(targets(table.to_numpy(), "classes"))
    frame = dataframe.from_pandas(table, npartitions=3)
    near = clone(learner).fit(table, y)
    far = clone(learner).fit(frame, dataframe.from_pandas(y, npartitions=2))
    assert_array_equal(far.feature_names_in_, list("abcde"))
    images = far.transform(frame)
    assert isinstance(images, da.Array)
    assert_allclose(images.compute(), near.transform(table), rtol=1e-5, atol=1e-5)
    assert_allclose(images.compute(), far.transform(table), atol=1e-12)
    with pytest.raises(ValueError, match="feature names should match"):
        far.transform(frame.rename(columns={"a": "other"}))


def test_frames_with_categories():
    dataframe = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(samples(), columns=list("abcde"))
    y = targets(table.to_numpy(), "classes")
    table["kind"] = np.where(table["a"] > 0, "u", "v")
    frame = dataframe.from_pandas(table, npartitions=3)
    for learner in (PSDSVR(), PiecewiseLinearEncoder()):
        with pytest.raises(TypeError, match=r"columns that are not numbers: kind\."):
            learner.fit(frame, y)
    learner = MetricEnsemble([DiscriminantAlignment()], max_samples=50)
    near, far = clone(learner).fit(table, y), clone(learner).fit(frame, y)
    assert_same_map(near, far)
    assert_allclose(far.transform(frame).compute(), near.transform(table))


# Predictors


@pytest.mark.parametrize("kind", ["classes", "numbers", "label_sets", "named_label_sets"])
def test_predictors_predict_as_in_memory_and_lazily(kind):
    X = samples()
    y = targets(X, kind.removeprefix("named_"))
    if kind == "named_label_sets":
        y = [tuple(np.array(["a", "b", "c"])[row > 0]) for row in y]
    predictor = (MetricNeighborsRegressor if kind == "numbers" else MetricNeighborsClassifier)(
        DiscriminantAlignment(), trees=False
    )
    near = clone(predictor).fit(X, y)
    far_y = y if isinstance(y, list) else da.from_array(y, 30)
    far = clone(predictor).fit(da.from_array(X, 50), far_y)
    methods = ["predict"] if kind == "numbers" else ["predict", "predict_proba"]
    for method in methods:
        expected = getattr(near, method)(X)
        with dask.config.set(scheduler=refuse):
            predicted = getattr(far, method)(da.from_array(X, (50, 2)))
        assert isinstance(predicted, da.Array)
        assert predicted.chunks[0] == (50, 50, 20)
        computed = predicted.compute()
        assert computed.dtype == predicted.dtype
        if isinstance(expected, list):
            assert computed.tolist() == expected
        elif computed.dtype.kind == "f":
            assert_allclose(computed, expected, atol=1e-6)
        else:
            assert_array_equal(computed, expected)
    assert far.score(da.from_array(X, 50), far_y) == pytest.approx(near.score(X, y))
    assert_array_equal(far.kneighbors(da.from_array(X, 50))[1], near.kneighbors(X)[1])


def test_predictors_take_frames():
    dataframe = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(samples(), columns=list("abcde"))
    y = pd.Series(targets(table.to_numpy(), "classes"))
    table["kind"] = np.where(table["a"] > 0, "u", "v")
    predictor = MetricNeighborsClassifier("euclidean", trees=False)
    near = clone(predictor).fit(table, y)
    frame = dataframe.from_pandas(table, npartitions=3)
    far = clone(predictor).fit(frame, dataframe.from_pandas(y, npartitions=2))
    assert_array_equal(far.feature_names_in_, near.feature_names_in_)
    assert_array_equal(far.predict(frame).compute(), near.predict(table))
    assert_allclose(far.predict_proba(frame).compute(), near.predict_proba(table), atol=1e-6)
    with pytest.raises(ValueError, match="feature names"):
        far.predict(frame[list("abcde")])


# What a person sees during a fit


def test_progress_and_warning_are_those_in_memory(capsys):
    X = samples()
    y = targets(X, "numbers")
    shown = []
    for given_X in (X, da.from_array(X, 50)):
        with pytest.warns(ConvergenceWarning, match="used max_iter=3 iterations"):
            RAMLSVR(max_iter=3, tol=1e-8, verbose=1).fit(given_X, y)
        search, *iterations = capsys.readouterr().out.splitlines()
        assert search.startswith("[NearestPairs] neighbours of 120 of 120 samples")
        shown.append(iterations)
    assert len(shown[0]) == 3
    assert shown[0] == shown[1]


def test_interrupted_fit_keeps_the_best_metric():
    def interrupted(problem, *, callback, **options):
        def stop(result):
            callback(result)
            if result.n_iter == 3:
                raise KeyboardInterrupt
            return False

        return newton(problem, callback=stop, **options)

    X = samples()
    learner = RAMLSVR(solver=interrupted, prior=None)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(da.from_array(X, 50), targets(X, "classes"))
    assert learner.n_iter_ == 3
    assert not learner.converged_
    assert np.isfinite(learner.dual_gap_)
    assert len(learner.transform(X)) == len(X)


# Bad input


def test_bad_samples_are_named():
    X = samples()
    y = targets(X, "classes")
    for wrong, match in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains inf")):
        bad = X.copy()
        bad[77, 2] = wrong
        with pytest.raises(ValueError, match=match):
            RAMLSVR().fit(da.from_array(bad, 50), y)
    with pytest.raises(ValueError, match=r"X has entries as large as 1\.0e\+100"):
        RAMLSVR().fit(da.from_array(np.where(X > 0, 1e100, X), 50), y)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        RAMLSVR().fit(da.from_array(X[:, 0], 50), y)
    with pytest.raises(ValueError, match="minimum of 2 is required by RAMLSVR"):
        RAMLSVR().fit(da.from_array(X[:1], 50), y[:1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        RAMLSVR().fit(da.from_array(X, 50), None)
    with pytest.raises(ValueError, match=r"as many samples; got 120 and 119"):
        RAMLSVR().fit(da.from_array(X, 50), y[1:])


def test_chunks_of_unknown_sizes():
    X = samples()
    y = targets(X, "classes")
    far = da.from_array(X, 50)
    far = far[far[:, 0] > -10]
    with pytest.raises(ValueError, match=r"Call X\.compute_chunk_sizes\(\) first"):
        RAMLSVR().fit(far, y)
    assert_same_fit(RAMLSVR().fit(X, y), RAMLSVR().fit(far.compute_chunk_sizes(), y))


def test_strategy_that_needs_the_samples_says_so():
    class Mine(BaseEstimator):
        def select(self, X, y=None, sample_weight=None, random_state=None):
            return NearestPairs().select(np.asarray(X))

    X = samples()
    for pairs in (Mine(), TransformedPairs(NearestPairs(), StandardScaler().fit(X))):
        with pytest.raises(TypeError, match="not in memory, but spread over workers"):
            RAMLSVR(pairs=pairs).fit(da.from_array(X, 50), targets(X, "classes"))


# Transform and score


def refuse(*arguments, **options):
    raise AssertionError("computed")


@each_chunking
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("regularizer", ["symmetric", "diagonal"])
def test_transform_is_lazy_and_that_in_memory(chunks, dtype, regularizer):
    X = (100 * samples()).astype(dtype)
    learner = RelationAlignment(cone=regularizer, n_components=2).fit(
        samples(), targets(X, "classes")
    )
    far = da.from_array(X, chunks)
    with dask.config.set(scheduler=refuse):
        images = learner.transform(far)
    expected = learner.transform(X)
    assert isinstance(images, da.Array)
    assert images.dtype == expected.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert images.chunks == (far.chunks[0], (2,))
    assert isinstance(images._meta, np.ndarray)
    computed = images.compute()
    assert computed.dtype == expected.dtype
    assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)


def test_transform_checks_as_in_memory():
    X = samples()
    learner = RAMLSVR().fit(X, targets(X, "classes"))
    with pytest.raises(ValueError, match="X has 4 features, but RAMLSVR is expecting 5"):
        learner.transform(da.from_array(X[:, 1:], 50))
    bad = X.copy()
    bad[77, 2] = np.nan
    images = learner.transform(da.from_array(bad, 50))
    assert np.isfinite(images[:50].compute()).all()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        images.compute()
    far = da.from_array(X, 50)
    unknown = far[far[:, 0] > 0]
    assert_allclose(learner.transform(unknown).compute(), learner.transform(X[X[:, 0] > 0]))


def test_fit_transform_is_lazy_in_the_transform():
    X = samples()
    y = targets(X, "classes")
    images = RAMLSVR().fit_transform(da.from_array(X, 50), y)
    assert isinstance(images, da.Array)
    assert_allclose(images.compute(), RAMLSVR().fit_transform(X, y), rtol=1e-8)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_score_is_that_in_memory(kind):
    X = samples()
    y, weight = targets(X, kind), np.arange(len(X)) % 3 + 1.0
    learner = RAMLSVR().fit(X, y)
    far = da.from_array(X, (50, 2))
    assert learner.score(far, da.from_array(y, 30)) == pytest.approx(learner.score(X, y))
    assert learner.score(far, y, weight) == pytest.approx(learner.score(X, y, weight))


# Samples and pairs


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0]), min_size=2, max_size=2), min_size=1),
    st.integers(1, 5),
)
def test_identical_samples_are_those_in_memory(rows, chunk):
    X = np.array(rows)
    far = DistributedSamples(da.from_array(X, chunk))
    assert_array_equal(far.first_identical(), first_identical(X))
    subset = np.arange(len(X))[::-2]
    assert_array_equal(far[subset].first_identical(), first_identical(X[subset]))


@settings(max_examples=15)
@given(st.data())
def test_nearest_pairs_are_those_of_all_distances(data):
    n_samples = data.draw(st.integers(3, 25))
    n_neighbors = data.draw(st.integers(1, 4))
    chunk = data.draw(st.integers(1, 8))
    X = np.random.default_rng(n_samples).normal(size=(n_samples, 2))
    far = DistributedSamples(da.from_array(X, chunk))
    selection = NearestPairs(min(n_neighbors, n_samples - 1)).select(far)
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, : min(n_neighbors, n_samples - 1)]
    count = np.zeros((n_samples, n_samples))
    np.put_along_axis(count, nearest, 1.0, axis=1)
    count = np.triu(count + count.T)
    assert_array_equal(selection.indices, np.argwhere(count))
    assert_array_equal(selection.weights, count[tuple(selection.indices.T)])


@pytest.mark.parametrize("strategy", [NearestClassPairs(2, 3), AllPairs(), RandomPairs(100)])
def test_small_classes_and_copies(strategy):
    X = samples()
    X[10:20] = X[9]
    y = np.arange(len(X)) % 23
    far = DistributedSamples(da.from_array(X, 17))
    near = strategy.select(X, y, random_state=0)
    assert_array_equal(strategy.select(far, y, random_state=0).indices, near.indices)


@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunks", [1, 7, -1])
def test_operators_are_the_explicit_sums(chunks, dtype, is_diagonal):
    rng = np.random.default_rng(0)
    X, beta = rng.normal(size=(20, 4)).astype(dtype), rng.normal(size=90)
    pairs = rng.integers(20, size=(90, 2))
    M = rng.normal(size=(4, 4)).astype(dtype)
    M = M + M.T
    if is_diagonal:
        M = np.diag(M)
    operator = DistributedPairOperator(
        DistributedSamples(da.from_array(X, chunks)), pairs, is_diagonal=is_diagonal
    )
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"atol": 1e-11}
    Z = (X[pairs[:, 0]] - X[pairs[:, 1]]).astype(float)
    full = np.diag(M) if is_diagonal else M

    def check(operator, subset):
        distances, adjoint = operator.distances(M), operator.adjoint(beta[subset])
        assert distances.dtype == adjoint.dtype == operator.dtype
        z = Z[subset]
        assert operator.n_pairs == len(z)
        assert operator.matrix_shape == adjoint.shape == M.shape
        assert_allclose(distances, np.einsum("pi,ij,pj->p", z, full, z), **tolerance)
        expected = np.einsum("p,pi,pj->ij", beta[subset], z, z)
        assert_allclose(adjoint, np.diag(expected) if is_diagonal else expected, **tolerance)
        assert_allclose(operator.squared_lengths, np.sum(z**2, axis=1), **tolerance)
        assert_allclose(operator.differences(), z, **tolerance)

    everything = np.arange(90)
    check(operator, everything)
    assert operator.n_passes == 2
    subset = np.array([3, 80, 4, 51, 50, 0])
    check(operator.restricted(subset), subset)
    assert operator.n_passes == pytest.approx(2 + 2 * 6 / 90)
    few = operator.restricted(subset).restricted(np.array([5, 1]))
    check(few, subset[[5, 1]])
    check(operator.restricted(np.array([], dtype=int)), np.array([], dtype=int))
    double = operator.astype(np.float64)
    assert double.dtype == np.float64
    check(double, everything)
    assert operator.n_passes == pytest.approx(4 + 2 * 8 / 90)


def test_samples_of_few_pairs_leave_the_workers(monkeypatch):
    X = samples()
    y = targets(X, "classes")
    learner = PSDSVR(pairs=NearestClassPairs(max_anchors=10))
    near = clone(learner).fit(X, y)
    n_entries = len(np.unique(near.pairs_)) * X.shape[1]
    monkeypatch.setattr(IN_MEMORY, n_entries)
    made = []
    with dask.callbacks.Callback(posttask=lambda key, *others: made.append(key)):
        far = clone(learner).fit(da.from_array(X, 50), y)
    assert not any(key.startswith("_block-") for key in made)
    assert_array_equal(near.matrix_, far.matrix_)
    monkeypatch.setattr(IN_MEMORY, n_entries - 1)
    made.clear()
    with dask.callbacks.Callback(posttask=lambda key, *others: made.append(key)):
        assert_same_fit(near, clone(learner).fit(da.from_array(X, 50), y))
    assert any(key.startswith("_block-") for key in made)


def test_fewer_samples_than_features_of_pairs_that_leave_the_workers(monkeypatch):
    monkeypatch.setattr(IN_MEMORY, 2**26)
    X = samples(60, 80)
    y = targets(X, "classes")
    near, far = PSDSVR().fit(X, y), PSDSVR().fit(da.from_array(X, 9), y)
    assert_array_equal(near.components_, far.components_)


def test_search_sends_few_samples_to_the_blocks_at_a_time():
    sent = []

    def look(key, result, *others):
        if str(key).startswith("concatenate-"):
            sent.append(result.shape)

    far = DistributedSamples(da.from_array(samples(300), 100))
    with dask.callbacks.Callback(posttask=look):
        NearestPairs().select(far)
    # 250 entries of 5 features at a time.
    assert sorted(sent) == [(50, 5)] * 6


def test_chunks_are_joined_to_one_block_for_each_thread(monkeypatch):
    monkeypatch.setattr("metricalign.pairs.distributed._n_threads", lambda: 3)
    X = da.zeros((100, 4), chunks=((1, 1, 0, 50, 1, 20, 27), (2, 2)))
    joined = _joined(X)
    assert joined.chunks == ((52, 21, 27), (4,))
    whole = da.zeros((100, 4), chunks=(100, 4))
    assert _joined(whole).chunks == whole.chunks


def test_an_iteration_moves_no_samples():
    X = samples(400, 5)
    pairs = np.random.default_rng(0).integers(400, size=(1000, 2))
    operator = DistributedPairOperator(DistributedSamples(da.from_array(X, 50)), pairs)
    results = []

    def remember(key, result, dsk, state, worker_id):
        if isinstance(result, np.ndarray):
            results.append(result.shape)

    with dask.callbacks.Callback(posttask=remember):
        operator.adjoint(np.ones(1000))
        assert set(results) == {(5, 5)}
        results.clear()
        operator.distances(np.eye(5))
    scalars = [shape[0] for shape in results if len(shape) == 1]
    assert sum(scalars) == 1000
    assert len(scalars) == 8
    assert max(scalars) < 200
    assert {shape for shape in results if len(shape) == 2} <= {(5, 5)}


def test_block_can_be_moved_and_says_its_size():
    serialize = pytest.importorskip("distributed.protocol")
    X, pairs = samples(2000, 20), np.random.default_rng(0).integers(2000, size=(3000, 2))
    block = _block([X[:1000], X[1000:]], pairs, False)
    assert dask.sizeof.sizeof(block) > X.nbytes
    copy = serialize.deserialize(*serialize.serialize(block, on_error="raise"))
    assert_array_equal(copy.distances(np.eye(20)), block.distances(np.eye(20)))


# A cluster of several processes


@pytest.fixture(scope="module")
def client():
    import dask
    from distributed import Client, LocalCluster

    with (
        # So long after the death of a worker its place is closed for good, if the next worker there
        # has died, too, and starts at that moment: tests here kill several.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_workers_hold_nothing_after_the_fit(client):
    X = samples(300)
    learner = PSDSVR().fit(da.from_array(X, 100), targets(X, "classes"))
    images = learner.transform(da.from_array(X, 100))
    assert_allclose(images.compute(), learner.transform(X))
    deadline = time.monotonic() + 10
    while tasks := client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)):
        assert time.monotonic() < deadline, tasks
        time.sleep(0.05)


def test_grid_search_runs_on_the_workers(client):
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), PSDSVR(tol=1e-3), KNeighborsClassifier())
    search = GridSearchCV(model, {"psdsvr__C": [1e-4, 1e-2]}, cv=3)
    expected = clone(search).fit(X, y)
    with joblib.parallel_config(backend="dask"):
        search.fit(X, y)
    assert_allclose(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert search.best_params_ == expected.best_params_


@pytest.mark.slow
def test_fit_survives_the_death_of_a_worker(client):
    X = samples(500)
    y = targets(X, "classes")
    workers = client.run(os.getpid)
    killed = []

    def hindered(problem, *, callback, **options):
        def kill(result):
            if result.n_iter == 2 and not killed:
                killed.append(next(iter(workers.values())))
                os.kill(killed[0], signal.SIGKILL)
            return callback(result)

        return newton(problem, callback=kill, **options)

    far = RAMLSVR(solver=hindered, prior=None).fit(da.from_array(X, 250), y)
    assert killed
    assert far.n_iter_ > 3
    assert_same_fit(RAMLSVR(prior=None).fit(X, y), far)
    client.wait_for_workers(2, timeout=30)
    assert killed[0] not in client.run(os.getpid).values()


@pytest.mark.slow
def test_sums_survive_the_death_of_a_worker(client, monkeypatch):
    X = samples(500)
    y = targets(X, "classes")
    killed = []

    def hindered(*arguments):
        found = distinct_samples(*arguments)
        killed.append(next(iter(client.run(os.getpid).values())))
        os.kill(killed[0], signal.SIGKILL)
        return found

    near = DiscriminantAlignment().fit(X, y)
    monkeypatch.setattr("metricalign.learners.base.distinct_samples", hindered)
    far = DiscriminantAlignment().fit(da.from_array(X, 250), y)
    assert killed
    assert_same_map(near, far)
    client.wait_for_workers(2, timeout=30)


def dying(function, folder, call):
    """The same function, but the worker of so many calls dies in the next one."""
    main = os.getpid()

    def hindered(*arguments, **options):
        (folder / uuid4().hex).touch()
        if len(list(folder.iterdir())) > call and os.getpid() != main:
            try:
                (folder / "died").touch(exist_ok=False)
            except FileExistsError:
                pass  # It dies once.
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return hindered


def dying_samples(X, folder, call):
    """A Dask array in two chunks; a worker dies when so many have been computed."""
    meta = np.empty((0, X.shape[1]))
    return da.from_array(X, 250).map_blocks(dying(np.copy, folder, call), meta=meta)


def assert_died(client, folder):
    assert (folder / "died").exists()
    client.wait_for_workers(2, timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [NearestClassPairs(), NearestPairs(max_anchors=100)], ids=repr)
def test_search_of_pairs_survives_the_death_of_a_worker(client, pairs, monkeypatch, tmp_path):
    X = samples(500)
    y = targets(X, "classes")
    nearest = metricalign.pairs.distributed._nearest
    # In the middle: of four searches of a block among another two are done.
    monkeypatch.setattr("metricalign.pairs.distributed._nearest", dying(nearest, tmp_path, 2))
    far = PSDSVR(pairs=pairs).fit(da.from_array(X, 250), y)
    assert_died(client, tmp_path)
    assert_same_fit(PSDSVR(pairs=pairs).fit(X, y), far)


# The chunks are computed to find quantiles, to choose samples, and to bring these into memory.
@pytest.mark.slow
@pytest.mark.parametrize("call", [0, 2, 4])
def test_ensemble_survives_the_death_of_a_worker(client, call, tmp_path):
    X = samples(500)
    y = targets(X, "classes")
    learner = MetricEnsemble([DiscriminantAlignment()], max_samples=50)
    far = clone(learner).fit(dying_samples(X, tmp_path, call), y)
    assert_died(client, tmp_path)
    assert_same_map(clone(learner).fit(X, y), far)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_predictors_survive_the_death_of_a_worker(client, kind, monkeypatch, tmp_path):
    X = samples(500)
    y = targets(X, kind)
    predictor = (MetricNeighborsRegressor if kind == "numbers" else MetricNeighborsClassifier)(
        DiscriminantAlignment(), trees=False
    )
    folders = tmp_path / "fit", tmp_path / "predict"
    for folder in folders:
        folder.mkdir()
    near = clone(predictor).fit(X, y)
    far = clone(predictor).fit(dying_samples(X, folders[0], 1), y)
    assert_died(client, folders[0])
    predict = metricalign._arrays._of_rows
    monkeypatch.setattr("metricalign._arrays._of_rows", dying(predict, folders[1], 3))
    # A worker dies that has predicted some chunks, and has the model.
    predicted = far.predict(da.from_array(X, 50)).compute()
    equal = assert_allclose if kind == "numbers" else assert_array_equal
    equal(predicted, near.predict(X))
    assert_died(client, folders[1])


def test_the_model_of_a_prediction_is_sent_once(client):
    X = samples(600)
    predictor = MetricNeighborsClassifier("euclidean", trees=False).fit(X, targets(X, "classes"))
    predicted = predictor.predict(da.from_array(X, 10))
    graph = dict(predicted.__dask_graph__())
    assert sum(len(pickle.dumps(task)) for task in graph.values()) < 20 * X.nbytes
    assert_array_equal(predicted.compute(), predictor.predict(X))
