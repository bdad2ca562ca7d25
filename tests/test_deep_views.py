"""Learning from views of samples: without targets, and with few."""

import pickle

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.datasets import load_digits, load_wine
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

from metricalign import PSDSVR  # noqa: E402
from metricalign.deep import (  # noqa: E402
    HRAML,
    Augmentation,
    FeatureMasking,
    GaussianNoise,
    NearNeighbor,
    PixelNoise,
    RandomCrop,
    RandomShift,
    SoftNeighborsLoss,
    SwapNoise,
)
from metricalign.deep.augmentations import view_of  # noqa: E402
from metricalign.deep.batches import AllPairsOfBatch, JointBatches  # noqa: E402
from metricalign.deep.data import SampleData, ViewData  # noqa: E402
from metricalign.deep.losses import LayeredLoss, ProjectedLoss  # noqa: E402
from metricalign.deep.samples import columns_of, encoder_of  # noqa: E402

SMALL = {"n_components": 4, "n_ensemble": 1, "max_iter": 3, "random_state": 0}

# Enough of many columns of nuisance to be forgotten.
LONGER = {"n_ensemble": 1, "learning_rate": 0.01, "max_iter": 15, "random_state": 0}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def classes():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    for array in (X, y):
        array.flags.writeable = False
    return X, y


# Augmentations


def test_noise_has_the_size_that_is_asked_for():
    samples = torch.randn(20_000, 2) * torch.tensor([1.0, 3.0]) + 7
    noise = GaussianNoise(0.5)(samples) - samples
    torch.testing.assert_close(noise.mean(dim=0), torch.zeros(2), atol=0.05, rtol=0)
    torch.testing.assert_close(noise.std(dim=0), torch.tensor([0.5, 1.5]), rtol=0.03, atol=0)
    noise = PixelNoise(0.5)(samples) - samples
    # The root of the mean of the variances 1 and 9.
    torch.testing.assert_close(noise.std(dim=0), torch.full((2,), 0.5 * 5**0.5), rtol=0.03, atol=0)


def test_masked_columns_are_means():
    samples = torch.randn(10_000, 3)
    views = FeatureMasking(0.2)(samples)
    is_masked = views == samples.mean(dim=0)
    assert torch.equal(views[~is_masked], samples[~is_masked])
    torch.testing.assert_close(
        is_masked.float().mean(dim=0), torch.full((3,), 0.2), atol=0.02, rtol=0
    )


def test_swapped_columns_are_those_of_others():
    samples = torch.arange(30_000.0).reshape(3, 10_000).T
    views = SwapNoise(0.2)(samples)
    assert all(
        set(new.tolist()) <= set(old.tolist()) for new, old in zip(views.T, samples.T, strict=True)
    )
    is_swapped = views != samples
    torch.testing.assert_close(
        is_swapped.float().mean(dim=0), torch.full((3,), 0.2), atol=0.02, rtol=0
    )
    # Columns are swapped with different samples, and independently of each other.
    both = is_swapped[:, 0] & is_swapped[:, 1]
    assert both.float().mean() == pytest.approx(0.04, abs=0.01)
    rows = views.remainder(10_000)[both]
    assert (rows[:, 0] == rows[:, 1]).float().mean() < 0.05


def test_neighbors_are_the_nearest_of_the_batch():
    """Against scikit-learn's, where each sample is twice in the batch, as in training."""
    samples = torch.randn(60, 3).repeat(2, 1)
    scale = torch.tensor([1.0, 0.1, 5.0])
    scaled = (samples[:60] / scale).numpy()
    nearest = NearestNeighbors(n_neighbors=2).fit(scaled).kneighbors(return_distance=False)
    drawn = set()
    for _ in range(20):
        views = NearNeighbor(4, share=0.7).for_scale(scale)(samples)
        row = torch.cdist(views, samples[:60]).argmin(dim=1).numpy()
        torch.testing.assert_close(views, samples[row])
        drawn |= set(zip(np.arange(120) % 60, row, strict=True))
    # Both copies of each of two neighbours, and the sample itself.
    expected = {(i, j) for i in range(60) for j in (i, *nearest[i])}
    assert drawn == expected


def test_share_of_neighbors():
    samples = torch.randn(2000, 2)
    views = NearNeighbor(1, share=0.3)(samples)
    assert (views != samples).any(dim=1).float().mean() == pytest.approx(0.3, abs=0.04)
    same = torch.ones(5, 2)
    torch.testing.assert_close(NearNeighbor(3, share=1.0)(same), same)


@pytest.mark.parametrize("augmentation", [FeatureMasking(0.5), SwapNoise(0.5)])
def test_indicators_of_a_category_change_together(augmentation):
    sort = np.resize(["red", "white", "rose", "green"], 200)
    frame = pd.DataFrame({"number": np.arange(200.0), "sort": sort})
    encoder = encoder_of(frame)
    columns = columns_of(encoder)
    encoded = encoder.transform(frame)
    assert columns.tolist() == [0] * (encoded.shape[1] - 4) + [1] * 4
    samples = torch.from_numpy(encoded)
    views = augmentation.for_columns(torch.from_numpy(columns))(samples)
    allowed = {tuple(row) for row in encoded[:, columns == 1]}
    if isinstance(augmentation, FeatureMasking):
        allowed.add(tuple(samples.mean(dim=0).numpy()[columns == 1]))
    assert {tuple(row) for row in views.numpy()[:, columns == 1]} <= allowed
    assert not torch.equal(views, samples)


@pytest.mark.parametrize("n_channels", [None, 2])
def test_shifts_are_those_of_padded_images(n_channels):
    shape = (4, 5) if n_channels is None else (n_channels, 4, 5)
    images = torch.randn(50, *shape)
    views = RandomShift(shape, n_pixels=1)(images.flatten(start_dim=1)).reshape(images.shape)
    found = set()
    for image, view in zip(images.numpy(), views.numpy(), strict=True):
        padding = [(0, 0)] * (image.ndim - 2) + [(1, 1), (1, 1)]
        padded = np.pad(image, padding, mode="edge")
        windows = {(i, j): padded[..., i : i + 4, j : j + 5] for i in range(3) for j in range(3)}
        found |= {at for at, window in windows.items() if np.array_equal(window, view)}
        assert any(np.array_equal(window, view) for window in windows.values())
    assert len(found) == 9


def test_crops_enlarge_a_part():
    ramp = torch.arange(16.0).repeat(16, 1)
    views = RandomCrop((16, 16), smallest=0.5)(ramp.flatten().repeat(200, 1)).reshape(200, 16, 16)
    # A ramp becomes a ramp of half to all of its slope, within the image.
    assert torch.equal(views[:, :1].expand(-1, 16, -1), views) or torch.allclose(
        views[:, :1].expand(-1, 16, -1), views, atol=1e-4
    )
    slopes = views[:, 0, 8] - views[:, 0, 7]
    assert 0.5 - 1e-4 <= slopes.min() < 0.55
    assert 0.95 < slopes.max() <= 1 + 1e-4
    assert views.min() >= 0
    assert views.max() <= 15


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ([], "augment is empty"),
        (SwapNoise, "such as SwapNoise"),
        ([SwapNoise(), 3], "sequence of them; got 3"),
        (SwapNoise(0.0), "'share' parameter of SwapNoise"),
        (GaussianNoise(-1.0), "'scale' parameter of GaussianNoise"),
        (RandomShift((2, 7)), "as many pixels as a sample has features, 13"),
        (RandomCrop((13,)), "must be \\(height, width\\)"),
        (RandomShift((-1, -13)), "must be \\(height, width\\)"),
        (lambda samples: samples[:, :2], "must return a tensor of the shape"),
        (lambda samples: samples.double(), "got .* of torch.float64"),
        (lambda samples: samples.numpy(), "got ndarray"),
    ],
)
def test_bad_augmentation_is_told(augment, message, classes):
    with pytest.raises(ValueError, match=message):
        HRAML(augment=augment, **SMALL).fit(classes[0])


# Views and their loss


class Doubled(Augmentation):
    """Views that say what they are given."""

    def __call__(self, samples):
        return 2 * samples


def test_augmentations_get_samples_in_their_units():
    X = np.random.default_rng(0).normal(size=(6, 3))
    data = ViewData(SampleData(X, X.mean(axis=0), 5.0), [Doubled()])
    rows = np.array([0, 4, 0, 4, 2])
    batch = data.batch(rows, 4)
    np.testing.assert_allclose(batch.samples, (2 * X[rows] - X.mean(axis=0)) / 5, rtol=1e-5)
    expected = [[float(rows[i] != rows[j]) for j in range(5)] for i in range(4)]
    np.testing.assert_array_equal(batch.relations, expected)


def test_several_augmentations_follow_each_other():
    views = view_of(torch.ones(2, 3), [Doubled(), lambda samples: samples + 1])
    torch.testing.assert_close(views, torch.full((2, 3), 3.0))


def test_two_views_of_each_sample_and_candidates(classes):
    rows = np.arange(20)
    data = ViewData(SampleData(classes[0], 0.0, 1.0), [Doubled()])
    batches = list(AllPairsOfBatch(data, rows, 8, np.random.RandomState(0), 5, n_views=2))
    assert [len(batch.relations) for batch in batches] == [16, 16, 8]
    for batch in batches:
        n_rows = len(batch.relations)
        assert batch.relations.shape[1] == n_rows + 5
        # Each row has one other view of its sample, and candidates are other samples.
        assert (batch.relations == 0).sum(dim=1).tolist() == [2] * n_rows
        assert batch.relations[:, n_rows:].min() == 1


def test_loss_of_views_is_that_of_telling_them_apart():
    X = np.random.default_rng(0).normal(size=(4, 2))
    rows = np.tile(np.arange(4), 2)
    batch = ViewData(SampleData(X, 0.0, 1.0), [GaussianNoise(0.5)]).batch(rows, 8)
    loss = SoftNeighborsLoss(error="log")
    criterion = ProjectedLoss(LayeredLoss(loss), n_components=2)
    images = criterion.head(batch.samples).detach().double().numpy()
    terms = []
    for i in range(8):
        logits = [-np.linalg.norm(images[i] - images[j]) for j in range(8) if j != i]
        own = -np.linalg.norm(images[i] - images[(i + 4) % 8])
        terms.append(logsumexp(logits) - own)
    value = criterion([batch.samples], batch.relations, None)
    assert value.item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_kinds_of_batches_come_beside_each_other():
    joint = JointBatches([["a", "b"], [1, 2, 3]])
    assert list(joint) == [("a", 1), ("b", 2), ("a", 3)]
    # Each epoch begins again.
    assert list(joint) == [("a", 1), ("b", 2), ("a", 3)]
    assert list(JointBatches([[1, 2]])) == [(1,), (2,)]


# Learning without targets


@parametrize_with_checks(
    [HRAML(augment=GaussianNoise(), n_ensemble=1, max_iter=3, embedding=None, n_blocks=0)]
)
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


class OtherNuisance:
    """Views that share the first two columns, and nothing else."""

    def __call__(self, samples):
        return torch.cat([samples[:, :2], torch.randn_like(samples[:, 2:])], dim=1)


@pytest.fixture(scope="module")
def nuisance():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 12))
    return X, (X[:, 0] > 0).astype(int) + 2 * (X[:, 1] > 0)


def errors(X, y, images):
    raw, learned = (
        1 - KNeighborsClassifier(5).fit(Z[:200], y[:200]).score(Z[200:], y[200:])
        for Z in (X, images)
    )
    return raw, learned


def test_what_views_do_not_share_is_forgotten(nuisance):
    X, y = nuisance
    learner = HRAML(augment=OtherNuisance(), **LONGER).fit(X)
    raw, learned = errors(X, y, learner.transform(X))
    assert raw > 0.35
    assert learned < 0.15
    assert learner.relation_ is None
    assert not hasattr(learner, "validation_errors_")
    assert (learner.blueprints_[0].embedding, learner.blueprints_[0].n_blocks) == (None, 0)
    # Of targets of any kind, given later.
    assert learner.score(X, y) > learner.score(X, y[::-1])


def test_near_neighbors_draw_groups_together():
    X, y = load_digits(return_X_y=True)
    X, y = X[:400], y[:400]
    learner = HRAML(augment=NearNeighbor(), embedding=None, **LONGER | {"learning_rate": "auto"})
    images = learner.fit(X).transform(X)

    def error(Z):
        """Mean error of the neighbours of 20 samples that have a label."""
        knn = KNeighborsClassifier(1)
        return np.mean([1 - knn.fit(Z[k::20], y[k::20]).score(Z, y) for k in range(20)])

    assert error(images) < error(X) - 0.02
    first, last = learner.blueprints_
    assert (first.embedding, first.n_blocks, last.n_components) == (None, 2, None)
    # The samples are beside the network, with the same total variance.
    network, samples = images[:, :-64], images[:, -64:]
    assert samples.var(axis=0).sum() == pytest.approx(network.var(axis=0).sum(), rel=1e-3)
    ratio = (samples.var(axis=0).sum() / X.var(axis=0).sum()) ** 0.5
    np.testing.assert_allclose(samples, ratio * (X - X.mean(axis=0)), atol=1e-9)
    copy = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(copy.transform(X), images)
    copy.set_params(warm_start=True, max_iter=1).fit(X)
    again = copy.transform(X)
    np.testing.assert_allclose(again[:, -64:], samples, rtol=1e-5)
    assert np.abs(again - images)[:, :-64].max() > 0


def test_samples_are_kept_beside_networks_of_hidden_layers(nuisance):
    X, _ = nuisance
    options = SMALL | {"hidden_layer_sizes": (8,), "n_blocks": "auto"}
    learner = HRAML(augment=NearNeighbor(), **options).fit(X)
    samples = learner.transform(X)[:, -X.shape[1] :]
    np.testing.assert_allclose(np.corrcoef(samples.T, X.T).diagonal(X.shape[1]), 1)


@pytest.mark.parametrize("loss", ["rank_n_contrast", "smooth_ap", "approx_ndcg"])
def test_views_are_ranked_by_every_loss(loss, nuisance):
    X, y = nuisance
    learner = HRAML(loss=loss, augment=OtherNuisance(), **LONGER)
    raw, learned = errors(X, y, learner.fit(X).transform(X))
    assert learned < 0.75 * raw


def test_views_of_a_table(table_of_wines):
    frame, _ = table_of_wines
    learner = HRAML(augment=[SwapNoise(), FeatureMasking()], **SMALL).fit(frame)
    assert learner.transform(frame).shape == (len(frame), 4)
    assert np.ptp(learner.transform(frame), axis=0).min() > 0


@pytest.fixture(scope="module")
def table_of_wines(classes):
    X, y = classes
    frame = pd.DataFrame({"color": X[:, 0], "sort": np.where(X[:, 6] > 0, "red", "white")})
    frame.loc[::9, "color"] = np.nan
    return frame, y


def test_views_of_samples_on_disk(classes, tmp_path):
    X, _ = classes
    X.tofile(tmp_path / "samples")
    mapped = np.memmap(tmp_path / "samples", np.float64, "r", shape=X.shape)
    learner = HRAML(augment=GaussianNoise(), **SMALL)
    images = learner.fit(X).transform(X)
    np.testing.assert_allclose(learner.fit(mapped).transform(X), images, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": None}, "requires y to be passed.*give augment"),
        ({"refine": PSDSVR()}, "refine learns a metric from targets"),
        ({"pairs": "strength"}, "pairs='strength' are of samples with targets"),
        ({"loss": SoftNeighborsLoss(error="squared")}, "averages targets"),
    ],
)
def test_what_needs_targets_is_told(options, message, classes):
    with pytest.raises(ValueError, match=message):
        HRAML(**{"augment": GaussianNoise(), **SMALL, **options}).fit(classes[0])


# Learning with few targets


def test_pairs_whose_relation_is_not_known_are_told(classes):
    X, y = classes
    some = np.where(np.arange(len(y)) < 3, -1, y)
    learner = HRAML(augment=GaussianNoise(), pairs=[[0, 9], [9, 100], [2, 7]], **SMALL)
    with pytest.raises(ValueError, match=r"2 of the 3 pairs .* is missing, such as \[0, 9\]"):
        learner.fit(X, some)


def test_samples_with_a_target_are_counted_where_they_are_too_few(classes):
    X, y = classes
    few = np.where(np.isin(np.arange(len(y)), [0, 80, 150]), y, -1)
    with pytest.raises(ValueError, match="of 3 samples with a target leaves fewer than 2"):
        HRAML(augment=GaussianNoise(), **SMALL).fit(X, few)


@pytest.mark.parametrize(
    "mark",
    [
        lambda y, missing: np.where(missing, -1, y),
        lambda y, missing: np.where(missing, -1.0, y)[:, None],
        lambda y, missing: np.where(missing, np.nan, y),
        lambda y, missing: np.where(missing, None, y),
        lambda y, missing: [pd.NA if m else "abc"[v] for v, m in zip(y, missing, strict=True)],
        lambda y, missing: pd.Series(y).mask(missing).astype("Int64"),
        lambda y, missing: pl.Series(
            [None if m else int(v) for v, m in zip(y, missing, strict=True)]
        ),
        lambda y, missing: [None if m else "abc"[v] for v, m in zip(y, missing, strict=True)],
        lambda y, missing: [np.nan if m else "abc"[v] for v, m in zip(y, missing, strict=True)],
        lambda y, missing: pd.Series(pd.Categorical(np.array(list("abc"))[y])).mask(missing),
    ],
)
def test_missing_classes_may_be_marked_in_any_way(mark, classes):
    X, y = classes
    missing = np.arange(len(y)) % 3 > 0
    learner = HRAML(augment=GaussianNoise(), **SMALL)
    images = learner.fit(X, np.where(missing, -1, y)).transform(X)
    np.testing.assert_array_equal(learner.fit(X, mark(y, missing)).transform(X), images)
    assert learner.relation_.name == "class"
    assert learner.score(X, y) > 0.5


@pytest.mark.parametrize("kind", ["numbers", "label sets", "distributions", "columns"])
def test_missing_targets_of_every_kind(kind, classes):
    X, _ = classes
    y = {
        "numbers": X[:, 0],
        "label sets": (X[:, :4] > 0).astype(float),
        "distributions": softmax(X[:, :3], axis=1),
        "columns": X[:, :2],
    }[kind].copy()
    y[::3] = np.nan
    is_known = np.arange(len(y)) % 3 > 0
    learner = HRAML(augment=GaussianNoise(), **SMALL).fit(X, y)
    # Missing ones change neither the scale of the relation nor the targets that are averaged.
    alone = HRAML(**SMALL).fit(X[is_known], y[is_known])
    for name in ("name", "kind", "offset", "scale"):
        np.testing.assert_equal(
            getattr(learner.relation_, name), getattr(alone.relation_, name), err_msg=name
        )
    assert learner.score(X[is_known], y[is_known]) > 0.5


def test_minus_one_is_a_number_among_numbers(classes):
    X, y = classes
    y = X[:, 0].round(1)
    y[:5] = -1.0
    learner = HRAML(augment=GaussianNoise(), **SMALL)
    images = learner.fit(X, y).transform(X)
    y[:5] = np.nan
    assert not np.allclose(learner.fit(X, y).transform(X), images)


def test_minus_one_and_one_are_no_classes_beside_missing_ones(classes):
    X, y = classes
    with pytest.raises(ValueError, match="give it another name"):
        HRAML(augment=GaussianNoise(), **SMALL).fit(X, np.where(y > 0, 1, -1))


def test_targets_are_not_missing_without_views(classes):
    X, y = classes
    with pytest.raises(ValueError, match="NaN"):
        HRAML(**SMALL).fit(X, np.where(y > 0, y, np.nan))


@pytest.mark.parametrize("n_known", [0, 1])
def test_a_pair_of_targets_must_be_known(n_known, classes):
    X, y = classes
    with pytest.raises(ValueError, match=f"{n_known} known targets.*give y=None"):
        HRAML(augment=GaussianNoise(), **SMALL).fit(
            X, np.where(np.arange(len(y)) < n_known, y, np.nan)
        )


def test_number_of_targets_is_that_of_samples(classes):
    X, y = classes
    with pytest.raises(ValueError, match="as many samples; got 178 and 177"):
        HRAML(augment=GaussianNoise(), **SMALL).fit(X, y[1:])


def test_samples_without_targets_help_few_with_them(nuisance):
    X, y = nuisance
    few = np.where(np.arange(len(y)) < 20, y, -1)
    joint = HRAML(augment=OtherNuisance(), **LONGER).fit(X, few)
    alone = HRAML(**LONGER).fit(X[:20], y[:20])
    assert errors(X, y, joint.transform(X))[1] < errors(X, y, alone.transform(X))[1] - 0.05


def test_linear_metric_starts_from_the_known_targets(classes):
    X, y = classes
    few = np.where(np.arange(len(y)) % 3 > 0, -1, y)
    options = SMALL | {"early_stopping": False}
    learner = HRAML(refine=PSDSVR(), augment=GaussianNoise(), **options).fit(X, few)
    expected = PSDSVR().fit(X[::3], y[::3])
    np.testing.assert_allclose(
        learner.refined_.get_mahalanobis_matrix(), expected.get_mahalanobis_matrix(), atol=1e-8
    )
