"""What users have around metricalign: frames, files, neighbour searches, other packages."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import extmath
from skmultilearn.model_selection import IterativeStratification
from skmultilearn.problem_transform import BinaryRelevance, ClassifierChain, LabelPowerset

from metricalign import (
    PCML,
    PSDSVR,
    RAMLSVR,
    IteratedMetricLearner,
    MetricEnsemble,
    MetricNeighborsClassifier,
    PiecewiseLinearEncoder,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.multilabel import MLkNN
from metricalign.pair_classification import PairClassifier
from metricalign.pairs import NearestClassPairs

NOTES = Path(__file__).parents[1] / "docs" / "multilabel.md"


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def learner(wine):
    return PSDSVR().fit(*wine)


@pytest.fixture(scope="module")
def judged(wine):
    X, y = wine
    indices = np.random.default_rng(0).choice(len(X), (200, 2))
    return X[indices], np.where(np.equal(*y[indices].T), 1, -1)


@pytest.fixture(scope="module")
def labelled():
    """Samples under a metric learned from their label sets, and the label sets."""
    X, y = make_multilabel_classification(n_samples=240, n_classes=4, random_state=0)
    return make_pipeline(StandardScaler(), PSDSVR()).fit(X, y).transform(X), y


# Frames


@pytest.mark.parametrize("frame", [pd.DataFrame, lambda X, columns: pl.DataFrame(X, columns)])
@pytest.mark.parametrize("column", [pd.Series, lambda y: pl.Series(values=y), list])
@pytest.mark.parametrize("regularizer", ["positive_semidefinite", "diagonal"])
def test_frames_in_and_out(wine, frame, column, regularizer):
    X, y = wine
    names = [f"measurement {i}" for i in range(X.shape[1])]
    learner = RelationAlignment(cone=regularizer).set_output(transform="pandas")
    X_frame = frame(X, columns=names) if frame is pd.DataFrame else frame(X, names)
    images = learner.fit(X_frame, column(y)).transform(X_frame)
    expected = RelationAlignment(cone=regularizer).fit(X, y)
    assert isinstance(images, pd.DataFrame)
    np.testing.assert_array_equal(images, expected.transform(X))
    assert list(images.columns) == list(expected.get_feature_names_out())
    assert learner.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names"):
        learner.transform(X_frame[names[::-1]])
    polars_images = learner.set_output(transform="polars").transform(X_frame)
    assert isinstance(polars_images, pl.DataFrame)
    np.testing.assert_array_equal(polars_images.to_numpy(), images)


def test_frames_of_targets():
    X, y = make_multilabel_classification(n_samples=60, random_state=0)
    expected = PSDSVR().fit(X, y)
    relations = np.abs(y[:, None] - y).sum(axis=2)
    for frame in (pd.DataFrame, pl.DataFrame):
        learner = PSDSVR().fit(frame(X), frame(y))
        assert learner.relation_.kind == "multilabel"
        np.testing.assert_array_equal(learner.matrix_, expected.matrix_)
        rated = PSDSVR(relation="precomputed", pairs=expected.pairs_).fit(X, frame(relations))
        np.testing.assert_array_equal(rated.relations_, expected.relations_)


def test_index_of_a_frame_is_kept(wine):
    X = pd.DataFrame(wine[0], index=[f"bottle {i}" for i in range(len(wine[0]))])
    images = PSDSVR().set_output(transform="pandas").fit(X, wine[1]).transform(X[5:])
    assert list(images.index) == list(X.index[5:])


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    "estimator",
    [
        MetricEnsemble(random_state=0),
        MetricEnsemble(encoder=PiecewiseLinearEncoder().set_output(transform="pandas")),
        MetricEnsemble(max_samples=60, random_state=0),
        MetricNeighborsClassifier(trees=False, random_state=0),
        MetricNeighborsClassifier(make_pipeline(StandardScaler(), PSDSVR()), trees=False),
        RelationAlignment(pairs=NearestClassPairs(neighbors=KNeighborsTransformer())),
        IteratedMetricLearner(PSDSVR(), n_rounds=2),
        RelationAlignmentCV(Cs=2, cv=2),
    ],
    ids=repr,
)
def test_output_that_is_configured_for_all_transformers_changes_no_fit(estimator, library, wine):
    X, y = pd.DataFrame(wine[0]).add_prefix("x"), wine[1]
    method = "transform" if hasattr(estimator, "transform") else "predict_proba"
    expected = np.asarray(getattr(clone(estimator).fit(X, y), method)(X))
    with config_context(transform_output=library):
        found = getattr(clone(estimator).fit(X, y), method)(X)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9)


# Files


SAVED = {
    "PSDSVR": PSDSVR(),
    "PCML": PCML(),
    "RAMLSVR": RAMLSVR(),
    "RelationAlignment": RelationAlignment(prior="identity"),
    "RelationAlignmentCV": RelationAlignmentCV(Cs=2),
    "pipeline": make_pipeline(StandardScaler(), PSDSVR()),
    "diagonal": RelationAlignment(cone="diagonal"),
}


@pytest.mark.parametrize("name", SAVED)
def test_skops_files(wine, tmp_path, name):
    X, y = wine
    learner, path = SAVED[name].fit(X, y), tmp_path / "model.skops"
    skops.io.dump(learner, path)
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="metricalign"):
        skops.io.load(path)
    # All that a user has to trust is this package, and SciPy's sparse arrays.
    types = skops.io.get_untrusted_types(file=path)
    others = {name for name in types if not name.startswith("metricalign.")}
    assert others == ({"scipy.sparse._csr.csr_array"} if name == "diagonal" else set())
    loaded = skops.io.load(path, trusted=types)
    assert type(loaded) is type(learner)
    np.testing.assert_array_equal(loaded.transform(X), learner.transform(X))
    assert loaded.score(X, y) == learner.score(X, y)


@pytest.mark.parametrize("kind", ["numbers", "grades", "pairs", "label sets"])
def test_skops_files_of_other_targets(judged, kind):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60], y[:60]
    model = {
        "numbers": lambda: PSDSVR().fit(X, y),
        "grades": lambda: PSDSVR(relation="precomputed").fit(X, np.abs(y[:, None] - y)),
        "pairs": lambda: PairClassifier().fit(*judged),
        "label sets": lambda: make_pipeline(PSDSVR(), MLkNN(5)).fit(X, np.c_[y > 100, y > 200]),
    }[kind]()
    file = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=file)
    others = {name for name in types if not name.startswith("metricalign.")}
    # scikit-learn's own neighbour search is not trusted either.
    trees = {
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
    }
    assert others == (trees if kind == "label sets" else set())
    loaded = skops.io.loads(file, trusted=types)
    method, samples = ("predict", X) if kind == "label sets" else ("transform", X)
    if kind == "pairs":
        method, samples = "predict", judged[0]
        assert loaded.threshold_ == model.threshold_
    expected = getattr(model, method)(samples)
    np.testing.assert_array_equal(getattr(loaded, method)(samples), expected)


# Neighbour searches


def test_graph_of_neighbours(wine, learner):
    X, y = wine
    graph = KNeighborsTransformer(n_neighbors=6, mode="distance").fit_transform(
        learner.transform(X)
    )
    rows, columns = graph.nonzero()
    # The graph has each sample as its own neighbour, too.
    is_pair = rows != columns
    pairs = X[np.column_stack([rows, columns])[is_pair]]
    assert is_pair.sum() == 6 * len(X)
    distances = np.asarray(graph[rows[is_pair], columns[is_pair]]).ravel()
    np.testing.assert_allclose(distances, learner.pair_distance(pairs), atol=1e-7)
    steps = (
        PSDSVR(),
        KNeighborsTransformer(n_neighbors=5),
        KNeighborsClassifier(metric="precomputed"),
    )
    by_graph = make_pipeline(*steps).fit(X[::2], y[::2])
    direct = make_pipeline(PSDSVR(), KNeighborsClassifier()).fit(X[::2], y[::2])
    np.testing.assert_array_equal(by_graph.predict(X[1::2]), direct.predict(X[1::2]))


def test_faiss_finds_the_neighbours_of_the_learned_distance(wine, learner):
    import faiss

    X, _ = wine
    images = np.ascontiguousarray(learner.transform(X), dtype=np.float32)
    index = faiss.IndexFlatL2(images.shape[1])
    index.add(images[::2])
    squared, neighbors = index.search(images[1::2], 5)
    search = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(learner.transform(X[::2]))
    distances, expected = search.kneighbors(learner.transform(X[1::2]))
    np.testing.assert_array_equal(neighbors, expected)
    np.testing.assert_allclose(np.sqrt(squared), distances, rtol=1e-3, atol=1e-3)
    pairs = np.stack([np.repeat(X[1::2], 5, axis=0), X[::2][neighbors.ravel()]], axis=1)
    np.testing.assert_allclose(
        np.sqrt(squared).ravel(), learner.pair_distance(pairs), rtol=1e-3, atol=1e-3
    )


# Code written for metric-learn


# Methods of metric-learn 0.7.0 and their arguments.
OF_DISTANCES = {
    "transform": ["X"],
    "pair_distance": ["pairs"],
    "pair_score": ["pairs"],
    "get_metric": [],
    "get_mahalanobis_matrix": [],
}
OF_PAIRS = {
    "predict": ["pairs"],
    "decision_function": ["pairs"],
    "score": ["pairs", "y"],
    "set_threshold": ["threshold"],
    "calibrate_threshold": ["pairs_valid", "y_valid", "strategy", "min_rate", "beta"],
}


def arguments(method):
    return [name for name in inspect.signature(method).parameters if name != "self"]


@pytest.mark.parametrize(
    ("ours", "surface"),
    [
        (PSDSVR, OF_DISTANCES),
        (RelationAlignment, OF_DISTANCES),
        (PairClassifier, OF_DISTANCES | OF_PAIRS),
    ],
)
def test_surface_for_code_of_metric_learn(ours, surface):
    for name, expected in surface.items():
        # Ours may have more at the end.
        assert arguments(getattr(ours(), name))[: len(expected)] == expected
    if ours is PairClassifier:
        assert arguments(ours.fit)[:2] == ["pairs", "y"]


@pytest.fixture
def metric_learn(monkeypatch):
    """metric-learn 0.7.0, made to run where its estimators cannot fit any more."""
    if not hasattr(extmath, "stable_cumsum"):
        pytest.skip("metric-learn 0.7.0 imports what scikit-learn 1.10 removes")
    import metric_learn

    # It calls these by a name of an argument that went with scikit-learn 1.8.
    def renamed(check):
        return lambda *args, force_all_finite=True, **options: check(
            *args, ensure_all_finite=force_all_finite, **options
        )

    for name in ("check_array", "check_X_y"):
        monkeypatch.setattr(metric_learn._util, name, renamed(getattr(metric_learn._util, name)))
    return metric_learn


def with_components(estimator, components):
    """An estimator of metric-learn as if it had learned this map: it need not fit."""
    estimator.components_, estimator.preprocessor_ = components, None
    return estimator


def test_surface_is_that_of_metric_learn(metric_learn):
    for name, expected in (OF_DISTANCES | OF_PAIRS).items():
        assert arguments(getattr(metric_learn.ITML, name)) == expected


def test_code_for_a_learned_distance(wine, learner, metric_learn):
    X, y = wine
    pairs = X[:40].reshape(20, 2, -1)

    def code(learner):
        distance, M = learner.get_metric(), learner.get_mahalanobis_matrix()
        neighbors = KNeighborsClassifier(metric=distance).fit(X[::4], y[::4])
        return (
            learner.transform(X),
            learner.pair_distance(pairs),
            learner.pair_score(pairs),
            M,
            [distance(u, v) for u, v in pairs],
            [distance(u, v, squared=True) for u, v in pairs],
            distance(list(X[0]), list(X[1])),
            neighbors.predict(X[1:9]),
        )

    theirs = with_components(metric_learn.Covariance(), learner.components_)
    for result, expected in zip(code(learner), code(theirs), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings(
    "ignore:.*stable_cumsum:FutureWarning",  # metric-learn calls it
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "f_beta", "beta": 2},
        {"strategy": "max_tpr", "min_rate": 0.8},
        {"strategy": "max_tnr", "min_rate": 0.8},
    ],
)
def test_code_for_pairs(judged, options, metric_learn):
    pairs, y = judged[0][:100], judged[1][:100]
    pairs_valid, y_valid = judged[0][100:], judged[1][100:]

    def code(classifier):
        classifier.calibrate_threshold(pairs_valid, y_valid, **options)
        predicted = classifier.predict(pairs_valid)
        at_a_threshold = classifier.set_threshold(1.0).predict(pairs_valid)
        return (
            classifier.decision_function(pairs_valid),
            classifier.score(pairs_valid, y_valid),
            at_a_threshold,
            accuracy_score(y_valid, predicted),
            f1_score(y_valid, predicted),
            predicted,
        )

    ours = PairClassifier().fit(pairs, y)
    theirs = with_components(metric_learn.ITML(), ours.metric_.components_)
    for result, expected in zip(code(ours), code(theirs), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10)


# Label sets: scikit-multilearn and iterative-stratification


def test_binary_relevance(labelled):
    Z, y = labelled
    predicted = BinaryRelevance(KNeighborsClassifier(5), require_dense=[True, True])
    predicted = predicted.fit(Z[:160], y[:160]).predict(Z[160:]).toarray()
    nearest = NearestNeighbors(n_neighbors=5).fit(Z[:160]).kneighbors(Z[160:])[1]
    np.testing.assert_array_equal(predicted, y[:160][nearest].mean(axis=1) > 0.5)


def test_classifier_chain(labelled):
    Z, y = labelled
    chain = ClassifierChain(KNeighborsClassifier(5), require_dense=[True, True])
    predicted = chain.fit(Z[:160], y[:160]).predict(Z[160:]).toarray()
    train, test = Z[:160], Z[160:]
    for label in y.T:
        nearest = NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[1]
        answer = label[:160][nearest].mean(axis=1) > 0.5
        train, test = np.c_[train, label[:160]], np.c_[test, answer]
    np.testing.assert_array_equal(predicted, test[:, Z.shape[1] :])


def test_label_powerset(labelled):
    Z, y = labelled
    powerset = LabelPowerset(KNeighborsClassifier(5), require_dense=[True, True])
    predicted = powerset.fit(Z[:160], y[:160]).predict(Z[160:]).toarray()
    sets = list(dict.fromkeys(map(tuple, y[:160].tolist())))  # in the order they appear
    classes = np.array([sets.index(tuple(labels)) for labels in y[:160].tolist()])
    nearest = NearestNeighbors(n_neighbors=5).fit(Z[:160]).kneighbors(Z[160:])[1]
    votes = [np.bincount(classes[row], minlength=len(sets)) for row in nearest]
    np.testing.assert_array_equal(predicted, np.array(sets)[np.argmax(votes, axis=1)])


@pytest.mark.parametrize("problem", [BinaryRelevance, ClassifierChain, LabelPowerset])
def test_problems_in_a_search(problem):
    X, y = make_multilabel_classification(n_samples=90, n_classes=3, random_state=0)
    labels = problem(KNeighborsClassifier(), require_dense=[True, True])
    model = Pipeline([("scale", StandardScaler()), ("metric", RAMLSVR()), ("labels", labels)])
    grid = {"labels__classifier__n_neighbors": [5, 45]}
    search = GridSearchCV(model, grid, cv=3, scoring="accuracy", error_score="raise").fit(X, y)
    assert search.best_params_ == {"labels__classifier__n_neighbors": 5}
    by_hand = make_pipeline(StandardScaler(), RAMLSVR(), problem(KNeighborsClassifier(5)))
    np.testing.assert_array_equal(
        search.predict(X).toarray(), by_hand.fit(X, y).predict(X).toarray()
    )


def shares(y, folds):
    """Share of the samples of each fold that have each label."""
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(y)))
    return np.array([y[test].mean(axis=0) for _, test in folds])


@pytest.mark.parametrize(
    "splitter",
    [
        MultilabelStratifiedKFold(n_splits=4, shuffle=True, random_state=0),
        IterativeStratification(n_splits=4, order=1),
        IterativeStratification(n_splits=4, order=2),
    ],
)
def test_stratified_folds(labelled, splitter):
    Z, y = labelled
    order = np.lexsort(y.T)  # so that plain folds are as bad as can be
    Z, y = Z[order], y[order]
    stratified = np.abs(shares(y, list(splitter.split(Z, y))) - y.mean(axis=0))
    plain = np.abs(shares(y, list(KFold(4).split(Z, y))) - y.mean(axis=0))
    assert stratified.max() < 0.1 < 0.3 < plain.max()


def test_rare_labels_are_in_every_stratified_fold():
    X, y = make_multilabel_classification(n_samples=90, n_classes=3, random_state=0)
    rare = np.arange(90) < 3
    y = np.c_[y, rare]
    folds = MultilabelStratifiedKFold(n_splits=3, shuffle=True, random_state=0)
    assert [y[test][:, 3].sum() for _, test in folds.split(X, y)] == [1, 1, 1]
    model = make_pipeline(StandardScaler(), PSDSVR(), MLkNN(5))
    # Without the label in a fold, its score there would be undefined, which warns.
    scores = cross_val_score(model, X, y, cv=folds, scoring="average_precision")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["predictors", "folds"])
def test_code_of_the_notes_runs(name, capsys):
    text = NOTES.read_text(encoding="utf-8")
    code = re.search(rf"^<!-- {name} -->\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]
    names = {}
    exec(compile(code, f"multilabel.md, {name}", "exec"), names)
    assert capsys.readouterr().out
    if name == "predictors":
        losses = names["losses"]
        assert list(losses) == re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
        assert losses["BinaryRelevance"] == losses["KNeighborsClassifier"]
        constant = np.minimum(names["y"].mean(axis=0), 1 - names["y"].mean(axis=0)).mean()
        assert max(losses.values()) < constant
    else:
        assert names["search"].n_splits_ == 3
