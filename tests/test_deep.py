import builtins
import importlib
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from torch import nn  # noqa: E402

from metricalign import PSDSVR, RelationAlignment  # noqa: E402
from metricalign.deep import HRAML  # noqa: E402
from metricalign.deep.batches import AllPairsOfBatch, GivenPairs, StrongPairs  # noqa: E402
from metricalign.deep.data import AlignmentData, SampleData  # noqa: E402
from metricalign.deep.losses import (  # noqa: E402
    AlignmentLoss,
    ApproxNDCGLoss,
    DeepLoss,
    SoftNeighborsLoss,
)
from metricalign.relations import resolve_relation  # noqa: E402

SMALL = {
    "hidden_layer_sizes": (16,),
    "n_components": 4,
    "embedding": None,
    "n_blocks": 0,
    "n_ensemble": 1,
    "max_iter": 5,
    "random_state": 0,
}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def read_only(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    return read_only(StandardScaler().fit_transform(X[::4]), y[::4])


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    return read_only(StandardScaler().fit_transform(X), y)


@pytest.fixture(scope="module")
def learner(classes):
    return HRAML(**SMALL).fit(*classes)


# scikit-learn's conventions


@parametrize_with_checks([HRAML(n_ensemble=2, max_iter=3, embedding=None, n_blocks=0)])
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


@pytest.mark.slow  # three kinds of network are compared
@parametrize_with_checks([HRAML(n_ensemble=2, max_iter=3)])
def test_scikit_learn_conventions_of_the_default_network(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PSDSVR")  # to which random targets are a puzzle
@pytest.mark.filterwarnings("ignore:No two different samples")  # in the part that it is fitted to
@parametrize_with_checks([HRAML(n_ensemble=1, max_iter=3, loss="approx_ndcg", refine=PSDSVR())])
def test_scikit_learn_conventions_of_another_loss(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


def test_pickle_and_clone(learner, classes):
    X, y = classes
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(X), learner.transform(X))
    assert copy.score(X, y) == learner.score(X, y)
    # so that it opens on machines that have another device, or none
    assert {p.device.type for p in learner.module_.parameters()} == {"cpu"}
    with pytest.raises(NotFittedError):
        clone(learner).transform(X)
    with pytest.raises(NotFittedError):
        clone(learner).get_metric()


def test_search_over_a_pipeline(classes):
    X, y = classes
    steps = [
        ("scale", StandardScaler()),
        ("metric", HRAML(**SMALL)),
        ("knn", KNeighborsClassifier()),
    ]
    grid = [
        {"metric__loss": ["alignment", "approx_ndcg"]},
        {"metric__loss": [AlignmentLoss()], "metric__loss__largest_distance": [0.01, 2.0]},
    ]
    search = GridSearchCV(Pipeline(steps), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    scores = search.cv_results_["mean_test_score"]
    assert scores[2] != scores[3]


class Contrastive(DeepLoss):
    """A loss as a person would write one."""

    def __init__(self, margin=2.0):
        self.margin = margin

    def __call__(self, squared_distances, relations):
        apart = (self.margin - squared_distances).clamp_min(0)
        return ((1 - relations) * squared_distances + relations * apart).mean()


class TrainedScale(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, squared_distances, relations):
        return (self.scale * squared_distances - 4 * relations).square().mean()


@pytest.mark.parametrize("loss", [Contrastive(1.0), TrainedScale()], ids=lambda loss: repr(loss))
@pytest.mark.parametrize("pairs", ["batch", "strength"])
def test_loss_of_ones_own_is_learned_from(loss, pairs, classes):
    X, y = classes
    learner = clone(HRAML(**SMALL | {"max_iter": 60}, loss=loss, pairs=pairs)).fit(X, y)
    assert learner.score(X, y) > 0.95
    assert pickle.loads(pickle.dumps(learner)).score(X, y) == learner.score(X, y)


def test_parameters_of_a_loss_are_those_of_the_estimator():
    learner = HRAML(loss=Contrastive())
    assert learner.get_params()["loss__margin"] == 2.0
    assert clone(learner).set_params(loss__margin=0.5).loss.margin == 0.5
    assert learner.loss.margin == 2.0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_names_the_components(library, classes):
    pytest.importorskip(library)
    frame = HRAML(**SMALL).set_output(transform=library).fit_transform(*classes)
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == ["hraml0", "hraml1", "hraml2", "hraml3"]


def test_distances_agree_with_each_other(learner, classes):
    X, y = classes
    pairs = np.stack([X[:20], X[20:40]], axis=1)
    images = learner.transform(X)
    expected = np.linalg.norm(images[:20] - images[20:40], axis=1)
    np.testing.assert_allclose(learner.pair_distance(pairs), expected)
    np.testing.assert_array_equal(learner.pair_score(pairs), -learner.pair_distance(pairs))
    distance = learner.get_metric()
    np.testing.assert_allclose([distance(u, v) for u, v in pairs], expected)
    np.testing.assert_allclose([distance(u, v, squared=True) for u, v in pairs], expected**2)
    i, j = np.triu_indices(len(X), 1)
    distances = np.linalg.norm(images[i] - images[j], axis=1)
    assert learner.score(X, y) == pytest.approx(roc_auc_score(y[i] != y[j], distances))
    with pytest.raises(ValueError, match=r"pairs must have shape \(n_pairs, 2, 13\)"):
        learner.pair_distance(X)


def test_metric_does_not_change_with_the_estimator(classes):
    X, y = classes
    learner = HRAML(**SMALL).fit(X, y)
    distance = learner.get_metric()
    before = distance(X[0], X[1])
    learner.set_params(random_state=1).fit(X, y)
    assert distance(X[0], X[1]) == before != learner.get_metric()(X[0], X[1])


def test_precision_of_the_images_is_that_of_the_samples(learner, classes):
    X, _ = classes
    double, single = learner.transform(X), learner.transform(X.astype(np.float32))
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single, double, atol=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_unit_and_origin_of_the_features_do_not_matter(normalize, classes):
    X, y = classes
    learner = HRAML(**SMALL, normalize=normalize)
    expected = clone(learner).fit(X, y).transform(X)
    np.testing.assert_allclose(learner.fit(1024 * X, y).transform(1024 * X), expected, atol=1e-5)
    np.testing.assert_allclose(learner.fit(X + 64, y).transform(X + 64), expected, atol=1e-3)


@pytest.mark.parametrize("format", [sparse.csr_matrix, sparse.coo_array])
def test_sparse_samples(format, learner, classes):
    X, y = classes
    sparse_learner = clone(learner).fit(format(X), y)
    np.testing.assert_allclose(sparse_learner.transform(format(X)), learner.transform(X), atol=1e-5)


# Every kind of target


@pytest.mark.parametrize("loss", ["alignment", "approx_ndcg"])
@pytest.mark.parametrize("kind", ["strings", "numbers", "label sets", "distributions", "columns"])
def test_every_kind_of_target_is_learned(kind, loss, numbers):
    X, _ = numbers
    hidden = X[:, :3] @ np.array([[1.0, 0.5, -1.0], [0.5, -1.0, 0.0], [0.0, 1.0, 1.0]])
    shares = np.exp(hidden)
    y = {
        "strings": np.array(["a", "b", "c"])[hidden.argmax(axis=1)],
        "numbers": hidden[:, 0],
        "label sets": (hidden > 0).astype(int),
        "distributions": shares / shares.sum(axis=1, keepdims=True),
        "columns": hidden,
    }[kind]
    learner = HRAML(**SMALL | {"max_iter": 30}, loss=loss, batch_size=32, learning_rate=0.01)
    euclid = RelationAlignment().fit(X, y)
    euclid.components_ = np.eye(X.shape[1])
    gain = (learner.fit(X, y).score(X, y) - euclid.score(X, y)) / (1 - euclid.score(X, y))
    assert gain > 0.3


def test_relations_of_opposite_sign_are_scaled(classes):
    X, y = classes
    by_sign = HRAML(**SMALL, relation="class").fit(X, y)
    by_zero = HRAML(**SMALL, relation="zero_one").fit(X, y)
    assert by_sign.relation_range_ == (-1.0, 1.0)
    assert by_zero.relation_range_ == (0.0, 1.0)
    np.testing.assert_array_equal(by_sign.transform(X), by_zero.transform(X))


def test_precomputed_relations(numbers):
    X, y = numbers
    matrix = np.abs(y[:, None] - y)
    loss = AlignmentLoss()
    expected = HRAML(**SMALL, loss=loss).fit(X, y)
    # The range is learned from the training part either way.
    dense = HRAML(**SMALL, loss=loss, relation="precomputed").fit(X, matrix)
    np.testing.assert_allclose(dense.transform(X), expected.transform(X), atol=0.05)
    stored = sparse.coo_array(np.triu(matrix) * (np.arange(len(y)) % 2))
    learner = HRAML(**SMALL, relation="precomputed").fit(X, stored)
    assert 0.5 < learner.score(X, stored) <= 1
    with pytest.raises(ValueError, match="pairs='batch' needs the relation of every pair"):
        HRAML(**SMALL, relation="precomputed", pairs="batch").fit(X, stored)


# Mathematics


def test_linear_network_reaches_the_convex_optimum():
    """The least squares problem over the PSD cone, by cvxpy, by our solver, by a network."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    pairs = np.column_stack(np.triu_indices(len(X), 1))
    # The cone is active: the last feature is to make samples similar.
    relations = (X[:, None] - X) ** 2 @ np.array([2.0, 1.0, -1.0])
    relations = (relations - relations.min()) / np.ptp(relations)
    network = HRAML(
        hidden_layer_sizes=(),
        n_components=3,
        embedding=None,
        n_blocks=0,
        n_ensemble=1,
        loss="alignment",
        relation="precomputed",
        pairs=pairs,
        batch_size=len(pairs),
        optimizer="adam",
        learning_rate=0.1,
        weight_decay=0.0,
        schedule="cosine",
        max_iter=600,
        early_stopping=False,
        random_state=0,
    ).fit(X, 7 * relations - 3)
    smallest, largest = np.array(network.relation_range_) / 7 + 3 / 7
    targets = 4 * (relations[tuple(pairs.T)] - smallest) / (largest - smallest)
    differences = X[pairs[:, 0]] - X[pairs[:, 1]]
    M = cp.Variable((3, 3), PSD=True)
    residuals = cp.sum(cp.multiply(differences @ M, differences), axis=1) - targets
    problem = cp.Problem(cp.Minimize(cp.sum_squares(residuals) / (4 * len(pairs))))
    problem.solve(solver="CLARABEL")
    assert abs(np.linalg.eigvalsh(M.value)[0]) < 1e-6
    assert network.loss_curve_[-1] == pytest.approx(problem.value, rel=1e-3)
    linear = RelationAlignment(
        loss="squared",
        cone="positive_semidefinite",
        fit_intercept=False,
        C=1e3,
        relation="precomputed",
        pairs=pairs,
        tol=1e-4,
        max_iter=5000,
    ).fit(X, 4 * (relations - smallest) / (largest - smallest))
    loss = np.mean((linear.pair_distance(X[pairs]) ** 2 - targets) ** 2) / 4
    assert loss == pytest.approx(problem.value, rel=1e-3)


def test_network_learns_what_no_linear_map_can():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    network = HRAML(n_blocks=1, n_ensemble=1, random_state=0, max_iter=30).fit(X[:400], y[:400])
    linear = RelationAlignment().fit(X[:400], y[:400])
    error = {}
    for metric in (network, linear):
        knn = KNeighborsClassifier().fit(metric.transform(X[:400]), y[:400])
        error[metric] = 1 - knn.score(metric.transform(X[400:]), y[400:])
    assert error[network] < 0.07 < 0.09 < error[linear]


# The start from a linear metric


def first_layer(learner):
    """Gram matrix of the first layer."""
    weight = learner.module_.module[0].weight.detach().numpy().astype(np.float64)
    return weight.T @ weight


@pytest.mark.parametrize("unit", [1.0, 1024.0])
def test_network_starts_from_the_linear_metric(unit, classes):
    X, y = unit * classes[0], classes[1]
    untrained = HRAML(
        **SMALL | {"max_iter": 1}, refine=PSDSVR(), learning_rate=1e-9, early_stopping=False
    ).fit(X, y)
    linear = PSDSVR().fit(X, y)
    learned = first_layer(untrained) - 0.1 * np.eye(13)
    matrix = linear.get_mahalanobis_matrix()
    np.testing.assert_allclose(learned / learned[0, 0], matrix / matrix[0, 0], atol=1e-4)
    # The images vary as much as what the network gets.
    samples = (X - untrained.offset_) / untrained.scale_
    covariance = np.cov(samples.T, bias=True)
    assert np.trace(covariance) == pytest.approx(13)
    assert np.trace(learned @ covariance) == pytest.approx(13, rel=1e-4)
    trained = HRAML(**SMALL, refine=PSDSVR(), early_stopping=False).fit(X, y)
    assert np.abs(first_layer(trained) - first_layer(untrained)).max() > 0.01


def test_linear_metric_does_not_see_the_validation_samples(numbers):
    X, y = numbers
    learner = HRAML(**SMALL, refine=PSDSVR(), validation_fraction=0.3).fit(X, y)
    n_validation = int(np.ceil(0.3 * len(y)))
    training = np.sort(np.random.RandomState(0).permutation(len(y))[n_validation:])
    expected = PSDSVR().fit(X[training], y[training]).get_mahalanobis_matrix()
    np.testing.assert_array_equal(learner.refined_.get_mahalanobis_matrix(), expected)


def test_linear_metric_of_pairs_by_rows_is_refused(classes):
    """It is learned from the rows to train on, among which they are others."""
    refine = PSDSVR(pairs=[(0, 1), (2, 100)])
    with pytest.raises(ValueError, match="pairs is an array of rows of X, and HRAML"):
        HRAML(**SMALL, refine=refine).fit(*classes)


def test_linear_metric_gets_the_relation(classes):
    X, y = classes
    assert HRAML(**SMALL).fit(X, y).refined_ is None
    for own, expected in [("auto", "zero_one"), ("class", "class")]:
        refine = PSDSVR(relation=own)
        learner = HRAML(**SMALL, relation="zero_one", refine=refine).fit(X, y)
        assert learner.refined_.relation_.name == expected
        assert refine.relation == own
        assert not hasattr(refine, "components_")


@pytest.mark.parametrize("format", [np.asarray, sparse.coo_array])
def test_linear_metric_of_precomputed_relations(format, numbers):
    X, y = numbers
    matrix = np.abs(y[:, None] - y) / np.ptp(y)
    learner = HRAML(**SMALL, refine=PSDSVR(), relation="precomputed").fit(X, format(matrix))
    training = np.sort(np.random.RandomState(0).permutation(len(y))[int(np.ceil(len(y) / 10)) :])
    kept = matrix[np.ix_(training, training)]
    expected = PSDSVR(relation="precomputed").fit(X[training], format(kept))
    np.testing.assert_allclose(
        learner.refined_.get_mahalanobis_matrix(), expected.get_mahalanobis_matrix(), atol=1e-12
    )


@pytest.mark.parametrize("format", [sparse.csr_array, sparse.coo_array, np.ndarray.tolist])
def test_linear_metric_of_label_sets(format, classes):
    X, y = classes
    labels = (y[:, None] == np.arange(3)).astype(int)
    expected = HRAML(**SMALL, refine=PSDSVR()).fit(X, labels).transform(X)
    found = HRAML(**SMALL, refine=PSDSVR()).fit(X, format(labels)).transform(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("format", [sparse.csr_array, list])
def test_linear_metric_of_other_formats(format, classes):
    X, y = classes
    learner = HRAML(**SMALL, refine=PSDSVR())
    expected = clone(learner).fit(X, y).transform(X)
    samples = format(X) if format is sparse.csr_array else X.tolist()
    images = learner.fit(samples, [f"wine {label}" for label in y]).transform(X)
    np.testing.assert_allclose(images, expected, atol=1e-3)


class Nothing(BaseEstimator):
    """A learner under which all samples are the same."""

    def fit(self, X, y):
        self.n_features_ = X.shape[1]
        return self

    def get_mahalanobis_matrix(self):
        return np.zeros((self.n_features_, self.n_features_))

    def transform(self, X):
        return np.zeros((len(X), 1))


def test_linear_metric_that_is_zero_leaves_euclid(classes):
    learner = HRAML(**SMALL | {"max_iter": 1}, refine=Nothing(), learning_rate=1e-9)
    np.testing.assert_allclose(first_layer(learner.fit(*classes)), 0.1 * np.eye(13), atol=1e-5)


def test_warm_start_keeps_the_linear_metric(classes):
    X, y = classes
    learner = HRAML(**SMALL, refine=PSDSVR(), warm_start=True, early_stopping=False).fit(X, y)
    refined, last = learner.refined_, learner.loss_curve_[-1]
    assert learner.fit(X, y).refined_ is refined
    assert learner.loss_curve_[0] < 1.05 * last


def test_linear_metric_helps_to_find_the_plane():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(700, 10))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    alone, started = (
        HRAML(
            (100, 100),
            n_blocks=0,
            n_ensemble=1,
            refine=refine,
            loss="alignment",
            learning_rate=1e-3,
            batch_size=64,
            max_iter=30,
            random_state=0,
        )
        .fit(X[:400], y[:400])
        .score(X[400:], y[400:])
        for refine in (None, PSDSVR(prior=None))
    )
    assert started > 0.8 > 0.7 > alone


# Batches


def make_data(X, y, relation="auto", loss=None):
    relation = resolve_relation(relation, y)
    targets = relation.encode(y)
    pairs = np.argwhere(np.ones((len(X), len(X))))
    relations = relation(targets, pairs)
    loss = loss and loss.for_relation(relation)
    data = SampleData(X, 0.0, 1.0)
    return AlignmentData(data, relation, targets, relations.min(), relations.max(), loss)


def test_all_pairs_of_batches(numbers):
    y = numbers[1]
    rows = np.arange(5, 105)
    data = make_data(np.arange(len(y), dtype=float)[:, None], y)
    batches = list(AllPairsOfBatch(data, rows, 16, np.random.RandomState(0)))
    seen = np.concatenate([batch.samples.numpy().ravel() for batch in batches]).astype(int)
    np.testing.assert_array_equal(np.sort(seen), rows)
    assert all(len(batch.samples) >= 2 for batch in batches)
    for samples, relations, _ in batches:
        targets = y[samples.numpy().ravel().astype(int)]
        expected = np.abs(targets[:, None] - targets) / np.ptp(y)
        np.testing.assert_allclose(relations, expected, atol=1e-6)


def test_partners_are_drawn_by_strength():
    y = np.array([0.0, 0.1, 0.4, 1.0])
    data = make_data(np.arange(4.0)[:, None], y)
    counts = np.zeros((2, 4, 4))
    batches = StrongPairs(data, np.arange(4), 8, np.random.RandomState(0))
    n_epochs = 500
    for _ in range(n_epochs):
        for samples, relations, _ in batches:
            left, right = samples.numpy().ravel().astype(int).reshape(2, -1)
            np.testing.assert_allclose(relations, np.abs(y[left] - y[right]), atol=1e-6)
            # similar partners first
            np.add.at(counts, (np.repeat([0, 1], len(left) // 2), left, right), 1)
    relation = np.abs(y[:, None] - y)
    for count, strength in zip(counts, (1 - relation, relation), strict=True):
        strength = strength * (1 - np.eye(4))
        expected = strength / strength.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(count / n_epochs, expected, atol=0.08)


def test_no_partner_of_the_same_class():
    y = np.array(["a", "b", "b", "b"])
    data = make_data(np.arange(4.0)[:, None], y)
    (samples, relations, _), *_ = StrongPairs(data, np.arange(4), 8, np.random.RandomState(0))
    left, right = samples.numpy().ravel().astype(int).reshape(2, -1)
    # The only one of its class has no similar partner.
    assert np.sum(left == 0) == 1
    np.testing.assert_array_equal(relations, y[left] != y[right])


def test_given_pairs_are_used_once_an_epoch():
    pairs = np.array([[0, 1], [2, 3], [1, 3], [0, 1], [1, 4]])
    data = make_data(np.arange(5.0)[:, None], np.array([0.0, 0.1, 0.4, 1.0, 0.5]))
    batches = list(GivenPairs(data, np.arange(4), 3, np.random.RandomState(0), pairs))
    assert [len(batch.relations) for batch in batches] == [3, 1]
    seen = np.concatenate([batch.samples.numpy().reshape(2, -1).T for batch in batches])
    np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(pairs[:4], axis=0))


def test_candidates_are_other_samples(numbers):
    y = numbers[1]
    rows = np.arange(5, 105)
    data = make_data(np.arange(len(y), dtype=float)[:, None], y)
    batches = AllPairsOfBatch(data, rows, 16, np.random.RandomState(0), n_candidates=40)
    counts, n_epochs = np.zeros((len(y), len(y))), 60
    for _ in range(n_epochs):
        for samples, relations, _ in batches:
            numbers_of = samples.numpy().ravel().astype(int)
            n_rows = len(relations)
            assert relations.shape == (n_rows, len(samples)) == (n_rows, n_rows + 40)
            assert len(set(numbers_of)) == len(numbers_of)
            expected = np.abs(y[numbers_of[:n_rows], None] - y[numbers_of]) / np.ptp(y)
            np.testing.assert_allclose(relations, expected, atol=1e-6)
            counts[np.ix_(numbers_of[:n_rows], numbers_of)] += 1
    # Each is in one batch an epoch, and there with 15 or so and 40 others of 99.
    seen = counts[np.ix_(rows, rows)]
    np.testing.assert_array_equal(np.diag(seen), n_epochs)
    others = seen[~np.eye(100, dtype=bool)] / n_epochs
    assert others.mean() == pytest.approx(54.6 / 99, abs=0.01)
    assert others.min() > 0.25
    assert counts.sum() == seen.sum()


def test_candidates_are_at_most_all_others(numbers):
    data = make_data(*numbers)
    rows = np.arange(50)
    for batch in AllPairsOfBatch(data, rows, 16, np.random.RandomState(0), n_candidates=1000):
        assert len(batch.samples) == 50
    (batch,) = AllPairsOfBatch(data, rows, 64, np.random.RandomState(0), n_candidates=1000)
    assert batch.relations.shape == (50, 50)


TARGETS = {
    "class": ["a", "b", "c"] * 4,
    "zero_one": [0, 1, 2] * 4,
    "absolute_difference": np.linspace(0, 3, 12) ** 2,
    "manhattan": np.eye(3, dtype=int)[[0, 1, 2] * 4],
    "euclidean": np.random.default_rng(0).normal(size=(12, 2)),
    "chebyshev": np.random.default_rng(0).dirichlet(np.ones(3), 12),
    "jaccard": np.random.default_rng(0).integers(0, 2, (12, 4)),
    "precomputed": np.abs(np.arange(12.0)[:, None] - np.arange(12.0)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_relations_on_the_device_are_those_of_pairs(name):
    y = TARGETS[name]
    data = make_data(np.arange(12.0)[:, None], y, relation=name)
    assert data.is_slow == (name == "jaccard")
    rows = np.array([3, 1, 8, 2, 5])
    batch = data.batch(rows, 3)
    np.testing.assert_array_equal(batch.samples.numpy().ravel(), rows)
    pairs = np.array([[(i, j) for j in rows] for i in rows[:3]])
    expected = data.pair_relations(pairs)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(batch.relations, expected, atol=1e-6)


@pytest.mark.parametrize(("unit", "offset"), [(1.0, 1e9), (1e50, 0.0), (1e-50, 0.0)])
def test_precomputed_relations_keep_their_digits_on_the_device(unit, offset):
    """In float32 a billion and one is a billion, and 1e50 infinite."""
    y = unit * TARGETS["precomputed"] + offset
    relation = resolve_relation("precomputed", y)
    samples = SampleData(np.arange(12.0)[:, None], 0.0, 1.0)
    range_ = offset, offset + 11 * unit
    batch = AlignmentData(samples, relation, relation.encode(y), *range_).batch(np.arange(12), 12)
    np.testing.assert_allclose(batch.relations, TARGETS["precomputed"] / 11, atol=1e-6)


def test_targets_that_are_averaged_vary_by_one():
    y = TARGETS["euclidean"] * [1.0, 100.0] + 7
    data = make_data(np.arange(12.0)[:, None], y, loss=SoftNeighborsLoss())
    of_rows, of_samples = data.batch(np.arange(12), 5).targets
    torch.testing.assert_close(of_rows, of_samples[:5])
    np.testing.assert_allclose(of_samples.mean(axis=0), 0, atol=1e-6)
    assert float(of_samples.square().sum(axis=1).mean()) == pytest.approx(1)


class Chunked:
    """An array on disk, as Dask and others show it: it is only read in parts."""

    chunks = None

    def __init__(self, array, largest):
        self.array = array
        self.largest = largest
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        part = self.array[rows]
        assert len(part) <= self.largest
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the array was read as a whole")


@pytest.fixture
def small_reads(monkeypatch):
    monkeypatch.setattr("metricalign.deep.samples._ROWS_AT_A_TIME", 32)
    monkeypatch.setattr("metricalign.deep.data._ROWS_AT_A_TIME", 32)


@pytest.mark.usefixtures("small_reads")
@pytest.mark.parametrize("pairs", ["batch", "strength"])
def test_arrays_are_read_in_batches(pairs, classes, tmp_path):
    X, y = classes
    learner = HRAML(**SMALL, batch_size=16, pairs=pairs)
    expected = clone(learner).fit(X, y).transform(X)
    chunked = Chunked(X, 32)
    np.testing.assert_array_equal(learner.fit(chunked, y).transform(chunked), expected)
    on_disk = np.memmap(tmp_path / "X", X.dtype, "w+", shape=X.shape)
    on_disk[:] = X
    np.testing.assert_array_equal(learner.fit(on_disk, y).transform(on_disk), expected)
    assert learner.score(on_disk, y) == learner.score(X, y)
    with pytest.raises(ValueError, match="expecting 13 features"):
        learner.transform(Chunked(X[:, :5], 32))


class Counted:
    """A source of Dask arrays that counts the entries that are read."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.n_read = 0

    def __getitem__(self, place):
        part = self.array[place]
        self.n_read += part.size
        return part


@pytest.mark.parametrize(
    ("pairs", "dtype"), [("batch", np.float64), ("strength", np.float32), ("strength", np.uint8)]
)
def test_dask_arrays_are_computed_once_chunk_by_chunk(pairs, dtype, classes):
    dask = pytest.importorskip("dask")
    da = pytest.importorskip("dask.array")
    X, y = classes
    X = np.round(20 * X + 100).astype(dtype)
    learner = HRAML(**SMALL, batch_size=16, pairs=pairs)
    expected = clone(learner).fit(X, y)
    images, score = expected.transform(X), expected.score(X, y)
    source = Counted(X)
    samples = da.from_array(source, chunks=((100, 0, 50, 28), (6, 7)))
    targets = da.from_array(y, chunks=60)
    n_read = set()
    remember = dask.callbacks.Callback(finish=lambda *state: n_read.add(source.n_read))
    with dask.config.set(scheduler="synchronous"), remember:
        learner.fit(samples, targets)
    # after each chunk of rows
    assert n_read == {13 * 100, 13 * 150, 13 * 178}
    np.testing.assert_array_equal(learner.transform(X), images)
    lazy = learner.transform(samples)
    assert source.n_read == 13 * 178
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((100, 0, 50, 28), (4,))
    computed = lazy.compute()
    assert lazy.dtype == computed.dtype == images.dtype
    # Products of fewer rows are added in another order.
    np.testing.assert_allclose(computed, images, atol=1e-5 if dtype == np.float32 else 1e-12)
    assert learner.score(samples, targets) == pytest.approx(score, abs=1e-4)


def test_bad_dask_arrays_are_named(learner, classes):
    da = pytest.importorskip("dask.array")
    X, y = classes
    samples = da.from_array(X, chunks=50)
    with pytest.raises(ValueError, match="expecting 13 features"):
        learner.transform(samples[:, :5])
    with pytest.raises(ValueError, match=r"compute_chunk_sizes"):
        HRAML(**SMALL).fit(samples[samples[:, 0] > 0], y)
    with pytest.raises(ValueError, match="Expected 2D array"):
        HRAML(**SMALL).fit(samples[:, 0], y)
    spoiled = da.where(samples == X[100, 3], np.nan, samples)
    with pytest.raises(ValueError, match=r"\bX\b contains NaN"):
        HRAML(**SMALL).fit(spoiled, y)
    with pytest.raises(ValueError, match=r"\bX\b contains NaN"):
        learner.transform(spoiled).compute()


@pytest.mark.usefixtures("small_reads")
def test_integers_on_disk_are_read_in_batches(classes, tmp_path):
    X, y = classes
    integers = np.memmap(tmp_path / "X", np.uint8, "w+", shape=X.shape)
    integers[:] = np.round(20 * X + 100)
    learner = HRAML(**SMALL).fit(integers, y)
    expected = HRAML(**SMALL).fit(np.asarray(integers, dtype=float), y)
    np.testing.assert_array_equal(learner.transform(integers), expected.transform(integers))


@pytest.mark.usefixtures("small_reads")
def test_complex_samples_on_disk_are_refused(learner, classes):
    X, y = classes
    for call in (lambda X: HRAML(**SMALL).fit(X, y), learner.transform):
        with pytest.raises(ValueError, match="X has complex numbers, of type complex128"):
            call(Chunked(X + 1j, 32))


@pytest.mark.usefixtures("small_reads")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_samples_on_disk_are_named(value, learner, classes):
    X, y = classes
    X = X.copy()
    X[100, 3] = value
    with pytest.raises(ValueError, match=r"\bX\b contains"):
        HRAML(**SMALL).fit(Chunked(X, 32), y)
    with pytest.raises(ValueError, match=r"\bX\b contains"):
        learner.transform(Chunked(X, 32))


# Training


def test_random_state_decides_and_leaves_the_global_ones(classes):
    X, y = classes
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    learner = HRAML(**SMALL).fit(X, y)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    np.testing.assert_array_equal(clone(learner).fit(X, y).transform(X), learner.transform(X))
    other = clone(learner).set_params(random_state=1).fit(X, y)
    assert np.abs(other.transform(X) - learner.transform(X)).max() > 0.01


class SlowDropout(nn.Module):
    """Waits before it draws, so that another thread would draw in between."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(13, 4)

    def forward(self, X):
        time.sleep(0.01)
        return self.layer(nn.functional.dropout(X, training=self.training))


def test_threads_that_train_at_once_do_not_share_random_numbers(classes):
    X, y = classes
    learner = HRAML(**SMALL | {"max_iter": 2}, module=SlowDropout())
    expected = clone(learner).fit(X, y).transform(X)
    with ThreadPoolExecutor(2) as threads:
        fits = [threads.submit(clone(learner).fit, X, y) for _ in range(4)]
    for fit in fits:
        np.testing.assert_array_equal(fit.result().transform(X), expected)


def test_best_weights_come_back(numbers):
    X, y = numbers
    learner = HRAML(
        **SMALL | {"max_iter": 200}, n_iter_no_change=5, learning_rate=0.01, schedule=None
    )
    learner.fit(X, y)
    best = int(learner.validation_errors_.argmin())
    assert learner.n_iter_ == len(learner.loss_curve_) == len(learner.validation_errors_)
    assert best + 6 == learner.n_iter_ < 200
    shorter = clone(learner).set_params(max_iter=best + 1).fit(X, y)
    np.testing.assert_array_equal(shorter.transform(X), learner.transform(X))


def test_validation_samples_do_not_train(numbers):
    X, y = numbers
    learner = HRAML(**SMALL, validation_fraction=0.3).fit(X, y)
    order = np.random.RandomState(0).permutation(len(y))
    validation = order[: int(np.ceil(0.3 * len(y)))]
    changed = y.copy()
    changed[validation] = changed[validation][::-1]
    other = HRAML(**SMALL, validation_fraction=0.3).fit(X, changed)
    np.testing.assert_array_equal(other.loss_curve_, learner.loss_curve_)
    assert not np.array_equal(other.validation_errors_, learner.validation_errors_)


def test_validation_error_of_classes_is_the_share_of_wrong_neighbors(classes):
    X, y = classes
    learner = HRAML(**SMALL).fit(X, y)
    validation = np.random.RandomState(0).permutation(len(y))[:18]
    images = learner.transform(X)
    wrong = []
    for i in validation:
        weights = np.exp(-np.linalg.norm(images - images[i], axis=1))
        weights[i] = 0
        wrong.append(weights[y != y[i]].sum() / weights.sum())
    assert min(learner.validation_errors_) == pytest.approx(np.mean(wrong), rel=1e-3)


@pytest.mark.parametrize("loss", ["soft_neighbors", "alignment"])
def test_validation_error_is_that_of_neighbors(loss, numbers):
    X, y = numbers
    learner = HRAML(**SMALL, loss=loss, validation_fraction=0.3).fit(X, y)
    validation = np.random.RandomState(0).permutation(len(y))[: int(np.ceil(0.3 * len(y)))]
    images = learner.transform(X)
    errors = []
    for i in validation:
        distances = np.linalg.norm(images - images[i], axis=1)
        distances[i] = np.inf
        if loss == "alignment":
            nearest = np.argsort(distances)[:5]
            training = np.delete(np.arange(len(y)), validation)
            smallest, largest = learner.relation_range_
            assert (smallest, largest) == (0.0, np.ptp(y[training]) / np.ptp(y))
            relations = np.abs(y[nearest] - y[i]) / np.ptp(y) / largest
            errors.append(np.clip(relations, 0, 1).mean())
        else:
            weights = np.exp(-distances) / np.exp(-distances).sum()
            errors.append((weights @ y - y[i]) ** 2 / y.var())
    assert min(learner.validation_errors_) == pytest.approx(np.mean(errors), rel=1e-4)


def test_without_early_stopping_every_epoch_counts(numbers):
    learner = HRAML(**SMALL, early_stopping=False).fit(*numbers)
    assert learner.n_iter_ == 5
    assert not hasattr(learner, "validation_errors_")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", [None, "cosine", "plateau"])
def test_optimizers_and_schedules_lower_the_loss(optimizer, schedule, classes):
    rate = 0.002 if optimizer == "sgd" else 0.01
    learner = HRAML(
        **SMALL | {"max_iter": 10}, optimizer=optimizer, schedule=schedule, learning_rate=rate
    )
    losses = learner.fit(*classes).loss_curve_
    assert losses[-1] < 0.9 * losses[0]


def test_weight_decay_shrinks_the_weights(classes):
    sizes = [
        sum(
            float(p.detach().square().sum())
            for p in HRAML(**SMALL, weight_decay=decay).fit(*classes).module_.parameters()
        )
        for decay in (0.0, 0.1, 10.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_warm_start_goes_on(classes):
    X, y = classes
    learner = HRAML(**SMALL, warm_start=True, early_stopping=False).fit(X, y)
    cold = learner.loss_curve_
    warm = learner.fit(X, y).loss_curve_
    assert warm[0] < 1.05 * cold[-1] < cold[0]
    # the scale of the samples too
    np.testing.assert_allclose(learner.fit(X[:90], y[:90]).offset_, X.mean(axis=0), atol=1e-12)
    with pytest.raises(ValueError, match="expecting 13 features"):
        learner.fit(X[:, :5], y)


def test_warm_start_goes_on_with_several_modules_of_ones_own(classes):
    X, y = classes
    options = SMALL | {"n_ensemble": 2}
    learner = HRAML(**options, module=torch.nn.Linear(13, 3), warm_start=True).fit(X, y)
    cold = learner.transform(X)
    # Steps of no length leave the weights.
    assert learner.set_params(learning_rate=1e-12).fit(X, y).blueprints_ is None
    warm = learner.transform(X)
    assert warm.shape == cold.shape == (len(X), 6)
    # Each goes on from its own weights.
    for own, other in ((slice(0, 3), slice(3, 6)), (slice(3, 6), slice(0, 3))):
        np.testing.assert_allclose(warm[:, own], cold[:, own], atol=1e-5)
        assert np.abs(cold[:, own] - cold[:, other]).mean() > 1e-3


def test_several_layers_are_aligned(classes):
    X, y = classes
    options = SMALL | {"hidden_layer_sizes": (16, 8), "loss": "alignment", "max_iter": 30}
    only_last = HRAML(**options, layer_weights=(0, 0, 1)).fit(X, y)
    expected = HRAML(**options).fit(X, y)
    np.testing.assert_array_equal(only_last.transform(X), expected.transform(X))

    def misfit_of_the_first_layer(learner):
        with torch.no_grad():
            samples = torch.tensor((X - learner.offset_) / learner.scale_, dtype=torch.float32)
            layer = learner.module_(samples)[0].numpy()
        distances = ((layer[:, None] - layer) ** 2).sum(axis=2)
        return np.mean((distances - 4 * (y[:, None] != y)) ** 2)

    hierarchical = HRAML(**options, layer_weights=(1, 0, 1)).fit(X, y)
    assert misfit_of_the_first_layer(hierarchical) < 0.5 * misfit_of_the_first_layer(expected)


@pytest.mark.parametrize("normalize", [True, False])
def test_module_of_the_user(normalize, classes):
    X, y = classes
    module = nn.Sequential(nn.Linear(13, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3))
    before = [parameter.clone() for parameter in module.parameters()]
    learner = HRAML(**SMALL, module=module, normalize=normalize).fit(X, y)
    assert all(map(torch.equal, before, module.parameters()))
    images = learner.transform(X)
    with torch.no_grad():
        expected = learner.module_.module(torch.tensor(X, dtype=torch.float32)).numpy()
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    assert list(learner.get_feature_names_out()) == ["hraml0", "hraml1", "hraml2"]
    np.testing.assert_array_equal(clone(learner).fit(X, y).transform(X), images)


def test_verbose_shows_loss_and_validation_error(classes, capsys):
    learner = HRAML(**SMALL, verbose=1).fit(*classes)
    lines = capsys.readouterr().out.splitlines()
    loss, error = learner.loss_curve_[4], learner.validation_errors_[4]
    assert lines[4:] == [f"[HRAML] epoch 5: loss {loss:.6g}, validation error {error:.6g}"]
    HRAML(**SMALL).fit(*classes)
    assert capsys.readouterr().out == ""


class Failing(AlignmentLoss):
    """Raises, or returns NaN, when it is called for the nth time."""

    def __init__(self, n_calls, error):
        super().__init__()
        self.n_calls = n_calls
        self.error = error

    def __call__(self, squared_distances, relations):
        self.n_calls -= 1
        if self.n_calls == 0 and self.error:
            raise self.error
        return super().__call__(squared_distances, relations) / (self.n_calls > 0 or np.nan)


def test_interrupt_leaves_the_epochs_that_are_whole(classes):
    X, y = classes
    learner = HRAML(**SMALL, batch_size=64, pairs="batch", loss=Failing(7, KeyboardInterrupt()))
    with pytest.warns(UserWarning, match="HRAML was interrupted in epoch 3"):
        learner.fit(X, y)
    assert learner.n_iter_ == len(learner.validation_errors_) == 2
    assert np.isfinite(learner.transform(X)).all()
    assert np.isfinite(learner.score(X, y))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupt_of_the_first_epoch_leaves_the_last_fit(early_stopping, classes):
    X, y = classes
    options = SMALL | {"batch_size": 64, "pairs": "batch", "early_stopping": early_stopping}
    learner = HRAML(**options, loss=Failing(1, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        learner.fit(X, y)
    with pytest.raises(NotFittedError):
        learner.transform(X)
    learner.set_params(loss="alignment").fit(X, y)
    images = learner.transform(X)
    with pytest.raises(KeyboardInterrupt):
        learner.set_params(loss=Failing(1, KeyboardInterrupt())).fit(X[:, 1:], y)
    np.testing.assert_array_equal(learner.transform(X), images)


def test_divergence_is_an_error(classes):
    with pytest.raises(ValueError, match="The loss is nan after 2 epochs"):
        HRAML(**SMALL, loss=Failing(4, None), batch_size=64, pairs="batch").fit(*classes)


# Bad input


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("hidden_layer_sizes", (0,)),
        ("hidden_layer_sizes", (2.5,)),
        ("hidden_layer_sizes", 3),
        ("n_components", 0),
        ("activation", "step"),
        ("normalize", "yes"),
        ("module", nn.Linear),
        ("refine", "PSDSVR"),
        ("refine", StandardScaler()),
        ("loss", "hinge"),
        ("loss", AlignmentLoss),
        ("loss", lambda squared_distances, relations: squared_distances.mean()),
        ("layer_weights", (1.0,)),
        ("relation", "unrelated"),
        ("pairs", "couples"),
        ("pairs", [[0, 10_000]]),
        ("optimizer", "newton"),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("schedule", "linear"),
        ("batch_size", 1),
        ("max_iter", 0),
        ("validation_fraction", 1.0),
        ("validation_fraction", 0.999),
        ("n_iter_no_change", 0),
        ("device", "abacus"),
        ("random_state", "seed"),
    ],
)
def test_bad_parameter_is_named(parameter, value, numbers):
    with pytest.raises((ValueError, TypeError), match=rf"\b{parameter}\b"):
        HRAML(**SMALL | {parameter: value}).fit(*numbers)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_missing_device_is_named(numbers):
    with pytest.raises(ValueError, match=r"device='cuda' cannot be used"):
        HRAML(**SMALL, device="cuda").fit(*numbers)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (AlignmentLoss(0.0), "largest_distance"),
        (ApproxNDCGLoss(temperature=-1.0), "temperature"),
        (ApproxNDCGLoss(grade=0.0), "grade"),
        (nn.PairwiseDistance(), r"PairwiseDistance.* must return one number, .* got shape \(\d+,"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_bad_loss_is_told(loss, message, numbers):
    with pytest.raises(ValueError, match=message):
        HRAML(**SMALL, loss=loss).fit(*numbers)


def test_loss_says_what_it_lacks():
    class Empty(DeepLoss):
        pass

    with pytest.raises(TypeError, match=r"Empty.*__call__"):
        Empty()


def test_ranking_needs_all_pairs_of_a_batch(numbers):
    with pytest.raises(ValueError, match="pairs='batch'"):
        HRAML(**SMALL, loss="approx_ndcg", pairs="strength").fit(*numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, None), r"\by\b"),
        (lambda X, y: (X, y[:-1]), r"\bX\b.*\by\b"),
        (lambda X, y: (X, np.ones(len(y))), r"\by\b.*constant"),
        (lambda X, y: (np.ones_like(X), y), r"\bX\b"),
        (lambda X, y: (1e200 * X, y), r"\bX\b"),
        (lambda X, y: (X[:3], y[:3]), "validation_fraction"),
    ],
)
def test_bad_data_are_named(change, message, numbers):
    with pytest.raises(ValueError, match=message):
        HRAML(**SMALL).fit(*change(*numbers))


# The extra


@pytest.mark.parametrize("missing", ["torch", "skorch"])
def test_missing_library_says_what_to_install(missing, monkeypatch):
    importing = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ImportError(f"No module named {name!r}")
        return importing(name, *args, **kwargs)

    import metricalign.deep as package

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "metricalign\[deep\]"'):
        importlib.reload(package)


def test_parts_of_the_data_without_pairs_are_refused(numbers):
    X, _ = numbers
    X = X[:20]
    # Both pairs have one sample to validate on.
    validation, training = np.split(np.random.RandomState(0).permutation(20), [2])
    across = sparse.coo_array(([0.0, 1.0], (validation, training[:2])), shape=(20, 20))
    learner = HRAML(relation="precomputed", early_stopping=True, validation_fraction=0.1, **SMALL)
    with pytest.raises(ValueError, match="y stores no relation of two samples of the same part"):
        learner.fit(X, across)


def test_given_pairs_outside_of_the_part_to_train_on_are_refused(numbers):
    X, y = numbers
    X, y = X[:20], y[:20]
    order = np.random.RandomState(0).permutation(20)
    learner = HRAML(early_stopping=True, validation_fraction=0.1, pairs=[order[:2]], **SMALL)
    with pytest.raises(ValueError, match="No pair has both samples in the part"):
        learner.fit(X, y)


def test_given_pairs_of_every_network_are_checked(numbers):
    X, y = numbers
    order = np.random.RandomState(0).permutation(len(y))
    # The second network is validated on the second tenth, where one sample of the pair is.
    pairs = [(order[12], order[40])]
    options = SMALL | {"pairs": pairs, "loss": "alignment", "validation_fraction": 0.1}
    assert HRAML(**options).fit(X, y).n_iter_ > 0
    with pytest.raises(ValueError, match="No pair has both samples"):
        HRAML(**options | {"n_ensemble": 2}).fit(X, y)


def test_constant_targets_of_the_part_to_train_on_are_refused(numbers):
    X, _ = numbers
    order = np.random.RandomState(0).permutation(20)
    y = np.zeros(20)
    y[order[0]] = 1.0
    learner = HRAML(
        relation="absolute_difference", early_stopping=True, validation_fraction=0.1, **SMALL
    )
    with pytest.raises(ValueError, match="y is constant in the part of the data to train on"):
        learner.fit(X[:20], y)


def test_pairs_of_identical_samples_only_are_refused():
    X = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 2, axis=0)
    y = np.tile([0, 1], 10)
    pairs = np.arange(20).reshape(10, 2)
    with pytest.raises(ValueError, match="both samples of every pair have the same features"):
        HRAML(early_stopping=False, pairs=pairs, **SMALL).fit(X, y)
    HRAML(early_stopping=False, pairs=[*pairs, [0, 2]], **SMALL).fit(X, y)


@pytest.mark.parametrize("is_inference", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_the_caller_has_set_in_torch_does_not_matter(is_inference, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    learner = HRAML(n_ensemble=1, max_iter=3, random_state=0)
    expected = clone(learner).fit(X, y).transform(X)
    torch.set_default_dtype(dtype)
    try:
        with torch.inference_mode(is_inference):
            fitted = clone(learner).fit(X, y)
            found, loaded = fitted.transform(X), pickle.loads(pickle.dumps(fitted)).transform(X)
            assert torch.get_default_dtype() == dtype
            assert torch.is_inference_mode_enabled() == is_inference
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(loaded, expected)


def test_a_module_in_double_precision_is_trained_in_single():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    modules = nn.Linear(4, 3), nn.Linear(4, 3).double()
    modules[1].load_state_dict(modules[0].state_dict())
    expected, found = (
        HRAML(module=module, n_ensemble=1, max_iter=3, random_state=0).fit(X, y).transform(X)
        for module in modules
    )
    np.testing.assert_array_equal(found, expected)
    assert modules[1].weight.dtype == torch.float64
