"""Saved models: what a loader has to trust, and which releases load them."""

import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import skops.io
from public_estimators import EVERY, data_of, output
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from skops.io.exceptions import UntrustedTypesFoundException
from typed_tables import read_table

from metricalign import PSDSVR, RelationAlignment
from metricalign.command_line.reading import InputError
from metricalign.datasets import fetch_dataset
from metricalign.datasets.sources import read_mat, read_mulan
from metricalign.multilabel import MLkNN
from metricalign.pair_classification import PairClassifier

PAIRS = np.random.default_rng(0).normal(size=(60, 2, 3))
JUDGMENTS = np.where(np.abs(PAIRS[:, 0] - PAIRS[:, 1])[:, 0] < 1, 1, -1)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def is_public(name):
    """Whether a type of this package may be named to a user: no part of it is private."""
    return name.startswith("metricalign.") and not any(
        part.startswith("_") for part in name.split(".")
    )


def saved(model, file_format):
    """A file of a model, and the function that reads it."""
    if file_format == "pickle":
        return pickle.dumps(model), pickle.loads
    file = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=file)
    return file, lambda file: skops.io.loads(file, trusted=types)


# scikit-learn's own neighbour search, which MLkNN is made of, is not trusted either.
SEARCH = {
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
}
# Nor are SciPy's sparse arrays, one of which the encoder has.
ENCODER = "scipy.sparse._csr.csr_array"
# Which parts of scikit-learn's trees are trusted changes with the releases.
TREES = ("sklearn.tree.", "sklearn.ensemble.", "sklearn._loss.")
PARTS = {
    "MLkNN": SEARCH,
    "MetricEnsemble": {ENCODER},
    "MetricNeighborsClassifier": {ENCODER},
    "MetricNeighborsRegressor": {ENCODER},
}
every_saved = pytest.mark.parametrize("estimator", EVERY, ids=lambda item: type(item).__name__)


@every_saved
def test_skops_files_need_public_types_only(estimator):
    X, y = data_of(estimator)
    learner = clone(estimator).fit(X, y)
    file = skops.io.dumps(learner)
    types = skops.io.get_untrusted_types(data=file)
    expected = PARTS.get(type(estimator).__name__, set())
    foreign = {name for name in types if not is_public(name)}
    assert {name for name in foreign if not name.startswith(TREES)} == expected
    with pytest.raises(UntrustedTypesFoundException, match=type(estimator).__name__):
        skops.io.loads(file)
    loaded = skops.io.loads(file, trusted=types)
    np.testing.assert_array_equal(output(loaded, X), output(learner, X))
    assert loaded.score(X, y) == learner.score(X, y)


@pytest.mark.parametrize("file_format", ["pickle", "skops"])
@every_saved
def test_every_estimator_of_an_incompatible_release_is_refused(estimator, file_format, monkeypatch):
    learner = clone(estimator).fit(*data_of(estimator))
    monkeypatch.setattr("metricalign._estimator.__version__", "0.1.3")
    file, load = saved(learner, file_format)
    monkeypatch.setattr("metricalign._estimator.__version__", "0.1.0")
    assert vars(load(file)).keys() == vars(learner).keys()
    monkeypatch.setattr("metricalign._estimator.__version__", "0.2.0")
    with pytest.raises(ValueError, match=r"saved by metricalign 0\.1\.3, and metricalign 0\.2\.0"):
        load(file)


class Opens:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pkl", ".csv", ".parquet", ".mat", ".arff"])
def test_no_code_of_a_file_of_data_is_executed(suffix, tmp_path, monkeypatch):
    made, path = tmp_path / "made", tmp_path / f"table{suffix}"
    content = pickle.dumps({"X": Opens(made), "Y": Opens(made)})
    path.write_bytes(content)
    monkeypatch.setenv("METRICALIGN_DATA", str(tmp_path))
    readers = {
        ".npz": lambda: fetch_dataset("table"),
        ".mat": lambda: read_mat([path]),
        ".arff": lambda: read_mulan([path]),
    }
    with pytest.raises((ValueError, InputError)):
        readers.get(suffix, lambda: read_table(path))()
    assert not made.exists()
    pickle.loads(content)
    assert made.exists()


def test_no_code_of_the_cache_is_executed(tmp_path, monkeypatch):
    monkeypatch.delenv("METRICALIGN_DATA", raising=False)
    made, cache = tmp_path / "made", tmp_path / "metricalign"
    cache.mkdir()
    objects = np.array([Opens(made)], dtype=object)
    np.savez(cache / "emotions.npz", X=objects, Y=objects)
    content = (cache / "emotions.npz").read_bytes()
    # Who can write the file can write its checksum.
    (cache / "emotions.sha256").write_text(sha256(content).hexdigest())
    with pytest.raises(ValueError, match=r"emotions\.npz is not a file of plain arrays"):
        fetch_dataset("emotions", data_home=tmp_path, download_if_missing=False)
    assert not made.exists()


@pytest.mark.parametrize(
    ("relation", "y"),
    [
        ("auto", "numbers"),
        ("auto", "several numbers"),
        ("auto", "distributions"),
        ("jaccard", "label sets"),
        ("precomputed", "relations"),
    ],
)
def test_skops_files_of_other_relations(relation, y):
    X, number = load_diabetes(return_X_y=True)
    X, number = X[:40], number[:40]
    share = number / 400
    targets = {
        "numbers": number,
        "several numbers": np.c_[number, X[:, 0]],
        "distributions": np.c_[share, 1 - share],
        "label sets": np.c_[number > 100, number > 200].astype(int),
        "relations": np.abs(number[:, None] - number),
    }[y]
    learner = PSDSVR(relation=relation).fit(X, targets)
    file = skops.io.dumps(learner)
    types = skops.io.get_untrusted_types(data=file)
    assert all(map(is_public, types))
    loaded = skops.io.loads(file, trusted=types)
    assert repr(loaded.relation_) == repr(learner.relation_)
    pairs = [[0, 1], [5, 7]]
    np.testing.assert_array_equal(
        loaded.relation_(loaded.relation_.encode(targets), pairs),
        learner.relation_(learner.relation_.encode(targets), pairs),
    )


def squared_difference(left, right):
    return float((left - right) ** 2)


def test_skops_asks_for_trust_in_the_relation_of_a_user(wine):
    learner = PSDSVR(relation=squared_difference).fit(wine[0], wine[1].astype(float))
    types = skops.io.get_untrusted_types(data=skops.io.dumps(learner))
    assert [name for name in types if not is_public(name) or name.endswith("_difference")] == [
        f"{__name__}.squared_difference"
    ]


MODELS = {
    "learner": lambda X, y: PSDSVR().fit(X, y),
    "not fitted": lambda X, y: RelationAlignment(),
    "pipeline": lambda X, y: make_pipeline(PSDSVR(), NearestNeighbors()).fit(X, y),
    "MLkNN": lambda X, y: MLkNN(5).fit(X, y),
    "PairClassifier": lambda X, y: PairClassifier().fit(PAIRS, JUDGMENTS),
}


@pytest.mark.parametrize("file_format", ["pickle", "skops"])
@pytest.mark.parametrize(
    ("release", "later"),
    [("0.1.0", "0.2.0"), ("0.2.1", "0.1.9"), ("0.9.0", "1.0.0"), ("1.4.2", "2.0.0rc1")],
)
@pytest.mark.parametrize("name", MODELS)
def test_models_of_incompatible_releases_are_refused(
    name, release, later, file_format, wine, monkeypatch
):
    monkeypatch.setattr("metricalign._estimator.__version__", release)
    file, load = saved(MODELS[name](*wine), file_format)
    monkeypatch.setattr("metricalign._estimator.__version__", later)
    said = f"saved by metricalign {release}, and metricalign {later} does not load it"
    with pytest.raises(ValueError, match=said):
        load(file)


@pytest.mark.parametrize("file_format", ["pickle", "skops"])
@pytest.mark.parametrize(
    ("release", "later"),
    [("0.1.0.dev0", "0.1.0"), ("0.1.0", "0.1.7"), ("1.0.0", "1.12.0"), ("1.12.0", "1.3.1")],
)
def test_models_of_compatible_releases_load(release, later, file_format, wine, monkeypatch):
    X, y = wine
    monkeypatch.setattr("metricalign._estimator.__version__", release)
    learner = PSDSVR().fit(X, y)
    file, load = saved(learner, file_format)
    monkeypatch.setattr("metricalign._estimator.__version__", later)
    loaded = load(file)
    np.testing.assert_array_equal(loaded.transform(X), learner.transform(X))
    assert vars(loaded).keys() == vars(learner).keys()


def test_models_saved_without_a_version_are_refused(wine):
    state = vars(PSDSVR().fit(*wine))
    with pytest.raises(ValueError, match="without the number of a release"):
        PSDSVR().__setstate__(state)


def test_loading_leaves_the_state_of_a_file_alone():
    learner = PSDSVR(C=2.0)
    state = learner.__getstate__()
    for _ in range(2):
        loaded = PSDSVR()
        loaded.__setstate__(state)
        assert loaded.get_params() == learner.get_params()
    assert "_metricalign_version" in state
    assert not hasattr(loaded, "_metricalign_version")
