"""Networks of tables: embeddings, categories and missing values, files without pickle."""

import pickle
from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")
pd = pytest.importorskip("pandas")

from torch import nn  # noqa: E402

from metricalign.deep import HRAML, fitting  # noqa: E402
from metricalign.deep.combination import weights_of_kinds  # noqa: E402
from metricalign.deep.data import AlignmentData, SampleData  # noqa: E402
from metricalign.deep.embeddings import (  # noqa: E402
    EMBEDDINGS,
    NormalScores,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    column_pieces,
)
from metricalign.deep.losses import SoftNeighborsLoss  # noqa: E402
from metricalign.deep.networks import NetworkEnsemble, ResidualBlock  # noqa: E402
from metricalign.deep.selection import split_samples  # noqa: E402
from metricalign.features import PiecewiseLinearEncoder  # noqa: E402
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor  # noqa: E402
from metricalign.relations import resolve_relation  # noqa: E402

SMALL = {"n_components": 4, "n_ensemble": 1, "max_iter": 5, "random_state": 0}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    for array in (X, y):
        array.flags.writeable = False
    return X, y


@pytest.fixture(scope="module")
def table(classes):
    """A number with missing values, a category with missing ones, a number, a class of it."""
    X, y = classes
    frame = pd.DataFrame(
        {
            "color": X[:, 0],
            "sort": np.where(X[:, 6] > 0, "red", "white"),
            "hue": 1e6 * X[:, 9],
            "many": pd.Categorical(np.round(X[:, 5]).astype(int)),
        }
    )
    frame.loc[::9, "color"] = np.nan
    frame.loc[::11, "sort"] = None
    return frame, y


# Embeddings


def test_normal_scores_are_those_of_ranks():
    """With as many edges as values they are those of scikit-learn's quantile transformer."""
    rng = np.random.default_rng(0)
    columns = np.column_stack(
        [rng.lognormal(size=80), rng.integers(0, 4, 80), rng.uniform(size=80)]
    )
    X = torch.tensor(columns)
    scores = NormalScores(*column_pieces(columns, 1000)).double()(X).numpy()
    # Scikit-learn gives the ends of the ranks to 0 and 1, we to half a sample less.
    transformer = QuantileTransformer(n_quantiles=80, output_distribution="normal")
    expected = transformer.fit_transform(columns)
    is_inner = np.abs(expected) < 1
    np.testing.assert_allclose(scores[is_inner], expected[is_inner], atol=0.06)
    for column, score in zip(columns.T, scores.T, strict=True):
        order = np.argsort(column)
        assert (np.diff(score[order]) >= 0).all()
        assert abs(score.mean()) < 0.02
    assert scores[:, 0].std() == pytest.approx(1, abs=0.05)


def test_normal_scores_are_linear_beyond_the_ends():
    columns = np.array([[0.0], [1.0], [3.0], [4.0]])
    scores = NormalScores(*column_pieces(columns, 10)).double()
    x = torch.tensor([[4.0], [5.0], [6.0], [-1.0], [0.0], [1.0]], dtype=torch.float64)
    y = scores(x).ravel()
    torch.testing.assert_close(y[2] - y[1], y[1] - y[0])
    torch.testing.assert_close(y[4] - y[3], y[5] - y[4])
    assert torch.autograd.gradcheck(scores, torch.tensor([[0.5], [9.0]]).double().requires_grad_())


def test_columns_that_are_no_numbers_stay():
    columns = np.random.default_rng(0).normal(size=(20, 2))
    edges, shares = column_pieces(columns, 4)
    X = torch.tensor(np.insert(columns, 1, np.arange(20) % 2, axis=1)).float()
    with_other = ([edges[0], None, edges[1]], [shares[0], None, shares[1]])
    scores = NormalScores(*with_other)
    torch.testing.assert_close(scores(X)[:, 1], X[:, 1])
    torch.testing.assert_close(scores(X)[:, [0, 2]], NormalScores(edges, shares)(X[:, [0, 2]]))
    pieces = PiecewiseLinearEmbedding(with_other[0])(X)
    torch.testing.assert_close(pieces[:, 4], X[:, 1])
    waves = PeriodicEmbedding(3, [0, 2], n_frequencies=2, n_units=5)
    assert waves(X).shape == (20, waves.n_outputs) == (20, 11)
    torch.testing.assert_close(waves(X)[:, -1], X[:, 1])
    # Nothing to embed leaves all as it is.
    nothing = [None, None, None]
    torch.testing.assert_close(NormalScores(nothing, nothing)(X), X)


def test_pieces_are_those_of_the_encoder():
    rng = np.random.default_rng(0)
    columns = np.column_stack([rng.lognormal(size=50), rng.integers(0, 3, 50)])
    encoder = PiecewiseLinearEncoder(n_bins=5).fit(columns[:40])
    embedding = PiecewiseLinearEmbedding(column_pieces(columns[:40], 5)[0]).double()
    X = np.vstack([columns, [[-9.0, 7.0], [99.0, -1.0]]])
    pieces = embedding(torch.tensor(X)).numpy()
    np.testing.assert_allclose(
        (pieces - encoder.mean_) * encoder.scale_, encoder.transform(X), atol=1e-4
    )


@pytest.mark.parametrize("is_shared", [True, False])
def test_waves_are_the_formula(is_shared):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedding = PeriodicEmbedding(2, [0, 1], n_frequencies=3, n_units=4, is_shared=is_shared)
        X = torch.randn(5, 2)
    frequencies, weight, bias = (
        p.detach().numpy() for p in (embedding.frequencies, embedding.weight, embedding.bias)
    )
    expected = np.empty((5, 2, 4))
    for i, x in enumerate(X.numpy()):
        for j in range(2):
            angles = 2 * np.pi * frequencies[j] * x[j]
            layer = 0 if is_shared else j
            units = np.hstack([np.cos(angles), np.sin(angles)]) @ weight[layer] + bias[layer, 0]
            expected[i, j] = np.maximum(units, 0)
    found = embedding(X).detach().numpy()
    np.testing.assert_allclose(found, expected.reshape(5, 8), atol=1e-5)


def test_block_adds_to_what_it_gets():
    block = ResidualBlock(3, 8, dropout=0.5).eval()
    X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(block.layers[-1].weight)
    nn.init.constant_(block.layers[-1].bias, 2.0)
    torch.testing.assert_close(block(X), X + 2)


def test_distances_of_several_networks_are_averaged():
    networks = [nn.Linear(4, 3), nn.Linear(4, 3)]
    X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))

    class Layers(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, X):
            return [X, self.network(X)]

    images = NetworkEnsemble([Layers(network) for network in networks])(X)[-1]
    squares = [torch.cdist(n(X), n(X)) ** 2 for n in networks]
    torch.testing.assert_close(
        torch.cdist(images, images) ** 2, sum(squares) / 2, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("n_blocks", [0, 1])
def test_every_embedding_learns(embedding, n_blocks, classes):
    X, y = classes
    options = SMALL | {"max_iter": 15, "n_components": 16}
    learner = HRAML(**options, embedding=embedding, n_blocks=n_blocks).fit(X[::2], y[::2])
    knn = KNeighborsClassifier().fit(learner.transform(X[::2]), y[::2])
    assert knn.score(learner.transform(X[1::2]), y[1::2]) > 0.9
    assert learner.blueprints_[0].embedding == embedding
    assert learner.blueprints_[0].n_blocks == n_blocks


@pytest.mark.parametrize("embedding", ["plr_lite", "piecewise_linear"])
def test_network_without_blocks_adds_up_curves(embedding, classes):
    """f(x) + f(x') is the same if the two exchange columns."""
    X, y = classes
    transform = HRAML(**SMALL, embedding=embedding, n_blocks=0).fit(X, y).transform
    left, right = X[:10].copy(), X[50:60].copy()
    expected = transform(left) + transform(right)
    left[:, :5], right[:, :5] = X[50:60, :5], X[:10, :5]
    np.testing.assert_allclose(transform(left) + transform(right), expected, atol=1e-5)


def test_units_of_embedded_columns_do_not_matter(classes):
    X, y = classes
    units = 2.0 ** np.arange(13)
    learner = HRAML(**SMALL)
    expected = clone(learner).fit(X, y).transform(X)
    np.testing.assert_allclose(learner.fit(X * units, y).transform(X * units), expected, atol=1e-4)


@pytest.mark.parametrize("is_of_classes", [True, False])
def test_columns_are_standardised_unless_they_share_a_unit(is_of_classes):
    """Two columns that matter vary most, as pixels in the middle of an image do."""
    rng = np.random.default_rng(0)
    deviations = np.repeat([3.0, 0.5], [2, 30])
    X = rng.normal(size=(200, 32)) * deviations
    y = X[:, 0] + X[:, 1]
    y = y > 0 if is_of_classes else y
    units = np.exp(rng.normal(size=32, scale=4))
    learner = HRAML(**SMALL | {"max_iter": 1})
    assert learner.fit(X, y).scale_ == pytest.approx(np.sqrt(X.var(axis=0).mean()))
    assert np.ndim(learner.fit(X + 1e9, y).scale_) == 0
    # In units of their own, nothing can be told from how much they vary.
    np.testing.assert_allclose(learner.fit(X * units, y).scale_, (X * units).std(axis=0))
    # Neither where all vary alike.
    standardised = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(learner.fit(standardised, y).scale_, np.ones(32))
    # What is asked for is not chosen.
    assert np.ndim(learner.set_params(embedding=None).fit(X * units, y).scale_) == 0
    assert np.ndim(learner.set_params(embedding="plr").fit(X, y).scale_) == 1


def test_relations_of_some_pairs_do_not_tell_units():
    X = np.random.default_rng(0).normal(size=(30, 3))
    stored = sparse.coo_array(np.triu(pairwise_distances(X), 1) * (np.arange(30) % 2))
    learner = HRAML(**SMALL | {"max_iter": 1}, relation="precomputed").fit(X, stored)
    np.testing.assert_allclose(learner.scale_, X.std(axis=0))


# What is chosen

KINDS = [("plr_lite", 0), (None, 2), (None, 0)]


def curves(n_samples):
    X = np.random.default_rng(0).uniform(-3, 3, size=(n_samples, 4))
    return X, np.sin(9 * X[:, 0]) + np.sin(9 * X[:, 1])


@pytest.mark.parametrize(("few", "n_compared"), [(1000, 2), (100, 1)])
def test_network_with_the_smallest_validation_error_is_taken(few, n_compared, capsys, monkeypatch):
    monkeypatch.setattr(fitting, "_FEW", few)
    X, y = curves(300)
    loss = "soft_neighbors" if n_compared == 1 else "rank_n_contrast"
    learner = HRAML(n_ensemble=2, max_iter=5, loss=loss, random_state=0, verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    errors = np.array([float(line.split()[-1]) for line in lines]).reshape(-1, 5).min(axis=1)
    # Few samples: both networks of three kinds. Many: the first of two kinds, then the second.
    kinds = KINDS[: 3 if n_compared == 2 else 2]
    assert len(errors) == (6 if n_compared == 2 else 3)
    means = errors[: len(kinds) * n_compared].reshape(len(kinds), n_compared).mean(axis=1)
    blueprint, same = learner.blueprints_
    assert blueprint is same
    assert (blueprint.embedding, blueprint.n_blocks) == kinds[means.argmin()]
    first = errors[means.argmin() * n_compared]
    assert learner.validation_errors_.min() == pytest.approx(first, rel=1e-4)
    assert learner.transform(X).shape == (300, 128)


@pytest.mark.parametrize("refit", [False, True])
def test_networks_of_all_kinds_are_kept_of_few_samples(refit):
    X, y = curves(100)
    options = SMALL | {"max_iter": 2, "n_ensemble": 2}
    learner = HRAML(**options, refit=refit).fit(X, y)
    blueprints = [(b.embedding, b.n_blocks) for b in learner.blueprints_]
    assert blueprints[::2] == blueprints[1::2] == KINDS
    networks, scales = learner.module_.networks, learner.module_.scales
    assert len(networks) == 6
    np.testing.assert_array_equal(scales[::2], scales[1::2])
    assert len(np.unique(scales)) == 3
    images = learner.transform(X)
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(X), images)
    copy.set_params(warm_start=True, max_iter=1).fit(X, y)
    np.testing.assert_allclose(copy.module_.scales, scales, rtol=1e-6)
    assert copy.transform(X).shape == images.shape
    assert np.abs(copy.transform(X) - images).min(axis=0).max() > 0


def test_interrupt_leaves_the_networks_of_a_kind(monkeypatch):
    X, y = curves(60)
    run, calls = fitting.Training.run, []

    def interrupted(*arguments):
        calls.append(1)
        record = run(*arguments)
        return record._replace(is_interrupted=len(calls) == 4)

    monkeypatch.setattr(fitting.Training, "run", interrupted)
    with pytest.warns(UserWarning, match="HRAML was interrupted in epoch 3"):
        learner = HRAML(**SMALL | {"max_iter": 2, "n_ensemble": 2}).fit(X, y)
    # The second network of the second kind was not whole.
    assert len(learner.blueprints_) == len(learner.module_.networks) == 2
    assert {b.embedding for b in learner.blueprints_} == {"plr_lite"}


@pytest.mark.parametrize(("n_finished", "n_kept"), [(1, 1), (2, 2), (3, 2), (7, 6)])
def test_interrupt_in_a_first_epoch_leaves_the_networks_before(n_finished, n_kept, monkeypatch):
    """Two networks of each of three kinds, and then all again."""
    X, y = curves(60)
    run, calls = fitting.Training.run, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > n_finished:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(fitting.Training, "run", interrupted)
    learner = HRAML(**SMALL | {"max_iter": 2, "n_ensemble": 2}, refit=True)
    with pytest.warns(UserWarning, match="HRAML was interrupted in epoch 1 of a network"):
        learner.fit(X, y)
    assert len(calls) == n_finished + 1
    assert len(learner.blueprints_) == n_kept
    assert learner.transform(X).shape == (60, 4 * n_kept)


def test_interrupt_of_a_warm_start_trains_no_more_networks(monkeypatch):
    X, y = curves(60)
    learner = HRAML(**SMALL | {"max_iter": 2, "n_ensemble": 2}, n_blocks=0, warm_start=True)
    before = learner.fit(X, y).transform(X)
    run = fitting.Training.run
    monkeypatch.setattr(fitting.Training, "run", lambda *a: run(*a)._replace(is_interrupted=True))
    with pytest.warns(UserWarning, match="HRAML was interrupted in epoch 3 of a network"):
        after = learner.fit(X, y).transform(X)
    assert np.abs(after[:, :4] - before[:, :4]).max() > 0
    np.testing.assert_array_equal(after[:, 4:], before[:, 4:])


@pytest.mark.parametrize("error", ["log", "squared", "relation"])
def test_weights_of_kinds_are_those_of_the_least_held_out_loss(error, classes):
    """Against a grid of both weights."""
    X, y = classes
    X = X.astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    splits = split_samples(order, 0.2, 2, order[:0])
    loss = SoftNeighborsLoss(error=error)
    data = AlignmentData(SampleData(X, 0.0, 1.0), resolve_relation("class", y), y, 0, 1, loss)
    kinds = [[Column(0)] * 2, [Column(6)] * 2]
    weights = weights_of_kinds(kinds, splits, data, loss)
    penalized = partial(_held_out_loss, X=X, y=y, splits=splits, error=error)
    logarithms = np.log(2 * weights)
    least = penalized(logarithms)
    for step in ([0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1], [0.1, 0.1], [-0.1, -0.1]):
        assert penalized(logarithms + step) > least
    grid = [penalized(np.array(place)) for place in product(np.linspace(-4, 8, 7), repeat=2)]
    assert least <= min(grid)


class Column(nn.Module):
    """A network that keeps one column."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, X):
        return [X[:, [self.number]]]


def _held_out_loss(logarithms, X, y, splits, error):
    weights = np.exp(logarithms) / 2
    losses = []
    for split in splits:
        others = np.concatenate([split.validation, split.training])
        for row in split.validation:
            rest = others[others != row]
            squares = (X[rest][:, [0, 6]].astype(float) - X[row, [0, 6]]) ** 2
            votes = softmax(-np.sqrt(squares @ weights))
            right = votes[y[rest] == y[row]].sum()
            if error == "squared":
                indicators = np.eye(3)
                difference = votes @ indicators[y[rest]] - indicators[y[row]]
                spread = np.mean(np.sum((indicators[y] - indicators[y].mean(axis=0)) ** 2, axis=1))
                losses.append(difference @ difference / spread)
            else:
                losses.append(-np.log(right + 1e-7) if error == "log" else 1 - right)
    return np.mean(losses) + 1e-3 * np.mean(logarithms**2)


def test_linear_map_starts_from_euclid(classes):
    X, y = classes
    options = SMALL | {"n_components": 16, "max_iter": 1, "learning_rate": 1e-9}
    learner = HRAML(**options, embedding=None, n_blocks=0).fit(X, y)
    expected = pairwise_distances(X) / learner.scale_
    np.testing.assert_allclose(pairwise_distances(learner.transform(X)), expected, atol=1e-4)


def test_without_validation_the_first_one_is_taken(classes):
    learner = HRAML(**SMALL, early_stopping=False).fit(*classes)
    assert (learner.blueprints_[0].embedding, learner.blueprints_[0].n_blocks) == ("plr_lite", 0)


@pytest.mark.parametrize("options", [{"refine": "PSDSVR"}, {"sparse": True}])
def test_what_cannot_be_embedded_is_told(options, classes):
    from scipy import sparse

    from metricalign import PSDSVR

    X, y = classes
    learner = HRAML(**SMALL)
    if "refine" in options:
        learner.set_params(refine=PSDSVR())
    else:
        X = sparse.csr_array(X)
    assert clone(learner).fit(X, y).blueprints_[0].embedding is None
    with pytest.raises(ValueError, match="embedding='plr' needs dense samples with columns of num"):
        learner.set_params(embedding="plr").fit(X, y)


def test_networks_are_validated_on_different_samples(classes):
    X, y = classes
    seen = []

    class Watching(nn.Module):
        """Remembers what it is trained on."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(13, 3)

        def forward(self, X):
            if self.training:
                seen.append(X.clone())
            return self.layer(X)

    HRAML(module=Watching(), n_ensemble=3, max_iter=1, random_state=0).fit(X, y)
    n_batches = len(seen) // 3
    trained = [
        np.unique(torch.cat(seen[k * n_batches : (k + 1) * n_batches]).numpy(), axis=0)
        for k in range(3)
    ]
    left_out = [
        {tuple(x) for x in X.astype(np.float32)} - {tuple(x) for x in rows} for rows in trained
    ]
    assert [len(rows) for rows in left_out] == [18, 18, 18]
    assert not left_out[0] & left_out[1]
    assert not left_out[1] & left_out[2]


def test_refit_trains_on_all_samples_for_the_best_number_of_epochs(classes):
    X, y = classes
    options = SMALL | {"max_iter": 8, "embedding": None, "n_blocks": 0}
    first = HRAML(**options).fit(X, y)
    learner = HRAML(**options, refit=True).fit(X, y)
    assert learner.n_iter_ == first.validation_errors_.argmin() + 1
    # What the first one was validated on counts now.
    changed = y.copy()
    validation = np.random.RandomState(0).permutation(len(y))[:18]
    changed[validation] = changed[validation][::-1]
    other = HRAML(**options, refit=True).fit(X, changed)
    assert not np.array_equal(other.loss_curve_, learner.loss_curve_)
    # The errors say how many epochs those are.
    np.testing.assert_array_equal(learner.validation_errors_, first.validation_errors_)
    learner.set_params(early_stopping=False, warm_start=True).fit(X, y)
    assert not hasattr(learner, "validation_errors_")


def test_training_where_gradients_are_off(classes):
    X, y = classes
    options = SMALL | {"max_iter": 2, "embedding": None, "n_blocks": 0}
    expected = HRAML(**options).fit(X, y).transform(X)
    with torch.no_grad():
        np.testing.assert_array_equal(HRAML(**options).fit(X, y).transform(X), expected)
        assert not torch.is_grad_enabled()


def test_averaged_weights_change_less(classes):
    X, y = classes
    options = SMALL | {"embedding": None, "n_blocks": 0, "early_stopping": False}

    def weight(**changed):
        learner = HRAML(**options | changed, schedule=None).fit(X, y)
        return learner.module_.module.perceptron.layers[0].weight.detach().numpy()

    path = [weight(max_iter=k, averaging=0.0, batch_size=256) for k in range(1, 4)]
    # The first mean is the first weights.
    mean = path[0]
    for step in path[1:]:
        mean = 0.7 * mean + 0.3 * step
    np.testing.assert_allclose(weight(max_iter=3, averaging=0.7, batch_size=256), mean, atol=1e-6)


def test_mixed_precision_is_nearly_the_same(classes):
    X, y = classes
    exact = HRAML(**SMALL, embedding=None, n_blocks=0).fit(X, y)
    mixed = clone(exact).set_params(mixed_precision=True).fit(X, y)
    assert not np.array_equal(mixed.loss_curve_, exact.loss_curve_)
    np.testing.assert_allclose(mixed.loss_curve_, exact.loss_curve_, rtol=0.05)


# Tables as they are


def test_categories_and_missing_values(table):
    frame, y = table
    learner = HRAML(**SMALL | {"max_iter": 30}).fit(frame[::2], y[::2])
    knn = KNeighborsClassifier().fit(learner.transform(frame[::2]), y[::2])
    assert knn.score(learner.transform(frame[1::2]), y[1::2]) > 0.8
    assert list(learner.feature_names_in_) == list(frame.columns)
    assert learner.n_features_in_ == 4
    assert 0.5 < learner.score(frame, y) <= 1
    # Numbers are waves, indicators are as they are.
    n_embedded = sum(edges is not None for edges in learner.blueprints_[0].edges)
    assert n_embedded in (0, 2)
    # What was not seen is rare or missing, no error.
    new = frame.iloc[:3].copy()
    new["sort"] = ["green", *frame["sort"].iloc[1:3]]
    assert np.isfinite(learner.transform(new)).all()
    with pytest.raises(ValueError, match="feature names"):
        learner.transform(frame[frame.columns[::-1]])


def test_missing_numbers_of_an_array(classes):
    X, y = classes
    X = X.copy()
    X[::5, 2] = np.nan
    learner = HRAML(**SMALL).fit(X, y)
    images = learner.transform(X)
    assert np.isfinite(images).all()
    # Where the others are known it is the missing one that counts.
    assert np.ptp(images[::5], axis=0).max() > 0


def test_frame_of_numbers_is_an_array(classes):
    X, y = classes
    learner = HRAML(**SMALL)
    expected = clone(learner).fit(X, y).transform(X)
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(13)])
    assert learner.fit(frame, y).table_ is None
    # Columns of a frame lie elsewhere in memory.
    np.testing.assert_allclose(learner.transform(frame), expected, atol=1e-5)


# Files, and predictors


@pytest.mark.parametrize(
    "options",
    [
        {"n_ensemble": 2},
        {"embedding": None, "hidden_layer_sizes": (8,)},
        {"embedding": "plr"},
        {"embedding": "piecewise_linear", "normalize": True},
        {"table": True},
    ],
    ids=str,
)
def test_files_need_no_pickle(options, classes, table):
    skops = pytest.importorskip("skops.io")
    X, y = table if options.pop("table", False) else classes
    learner = HRAML(**SMALL | {"max_iter": 2} | options).fit(X, y)
    file = skops.dumps(learner)
    types = skops.get_untrusted_types(data=file)
    assert all(name.startswith("metricalign.") or "csr_array" in name for name in types)
    before = torch.get_rng_state()
    loaded = skops.loads(file, trusted=types)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(loaded.transform(X), learner.transform(X))
    # Its parameters may change after the fit.
    learner.set_params(n_components=9, embedding=None)
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(X), loaded.transform(X))


def test_networks_of_the_user_are_pickled(classes):
    X, y = classes
    learner = HRAML(**SMALL, module=nn.Linear(13, 3)).fit(X, y)
    assert learner.blueprints_ is None
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(X), learner.transform(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_that_is_configured_for_all_transformers_changes_no_fit(table, library):
    expected = HRAML(**SMALL).fit(*table).transform(table[0])
    with config_context(transform_output=library):
        found = HRAML(**SMALL).fit(*table).transform(table[0])
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_metric_of_a_predictor(table):
    frame, y = table
    metric = HRAML(**SMALL | {"max_iter": 20}, relation="class")
    model = MetricNeighborsClassifier(metric, trees=False, n_folds=2, random_state=0)
    model.fit(frame[::2], y[::2])
    assert model.score(frame[1::2], y[1::2]) > 0.85
    assert isinstance(model.metric_, HRAML)
    assert not hasattr(metric, "module_")


def test_many_integer_classes_of_a_predictor_are_no_numbers():
    X = np.random.default_rng(0).normal(size=(90, 4))
    y = np.arange(90) // 3  # which "auto" takes for numbers
    assert HRAML(**SMALL).fit(X, y).relation_.name == "absolute_difference"
    metric = make_pipeline(StandardScaler(), HRAML(**SMALL))
    model = MetricNeighborsClassifier(metric, trees=False, n_folds=2, random_state=0).fit(X, y)
    assert model.metric_[-1].relation_.name == "class"
    assert metric[-1].relation == "auto"


def test_integer_numbers_of_a_predictor_are_no_classes(classes):
    X, _ = classes
    y = np.round(3 * X[:, 0]).astype(int)  # which "auto" takes for classes
    assert HRAML(**SMALL).fit(X[:, 1:], y).relation_.name == "class"
    metric = HRAML(**SMALL | {"max_iter": 20})
    model = MetricNeighborsRegressor(metric, trees=False, n_folds=2, random_state=0)
    model.fit(X[::2, 1:], y[::2])
    assert model.metric_.relation_.name == "absolute_difference"
    assert model.score(X[1::2, 1:], y[1::2]) > 0.5
