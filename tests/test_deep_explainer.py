"""Maps of what a representation knows, of networks whose knowledge is known by construction."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from torch import nn  # noqa: E402
from torch.distributions import Normal, kl_divergence  # noqa: E402

from metricalign.deep import HRAML, InformationExplainer  # noqa: E402
from metricalign.deep.averaging import Averaged  # noqa: E402
from metricalign.deep.critic import N_BLOCKS, _best_factors  # noqa: E402
from metricalign.deep.information import InfoNCE  # noqa: E402
from metricalign.deep.information.training import Batches  # noqa: E402
from metricalign.deep.local_networks import LocalNetworks  # noqa: E402
from metricalign.plotting import InformationDisplay  # noqa: E402

PARTS = ("total", "decision", "redundant")
QUICK = {"max_iter": 2, "batch_size": 32, "random_state": 0}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(autouse=True)
def one_pass_in_an_epoch(monkeypatch):
    """However few the samples, for the sake of time."""
    monkeypatch.setattr("metricalign.deep.explainer._N_STEPS_OF_EPOCH", 1)


# A table. Z is two sums; the first decides:
#   z_0 = 3 x_0 + (x_1 + x_2) / 2,  z_1 = x_3 + x_4,  x_5 is in neither.
# x_0 is -1 or 1, the others are N(0, 1).


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.sums = nn.Linear(6, 2, bias=False)
        weight = [[3.0, 0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]]
        self.sums.weight.data = torch.tensor(weight)

    def forward(self, X):
        return 10 * self.sums(X)[:, :1]


def table(n_samples, seed=0):
    X = np.random.default_rng(seed).normal(size=(n_samples, 6))
    X[:, 0] = np.sign(X[:, 0])
    X = X.astype(np.float32)
    X.flags.writeable = False
    return X


@pytest.fixture(scope="module")
def of_table():
    explainer = InformationExplainer(Sums(), representation="sums", random_state=0)
    return explainer.fit(table(4000))


@pytest.fixture(scope="module")
def maps_of_table(of_table):
    return of_table.explain(table(1000, seed=1))


def test_parts_of_a_table_are_the_known_ones(maps_of_table):
    total, decision, redundant = (getattr(maps_of_table, part).mean(axis=0) for part in PARTS)
    # x_0 decides, and almost alone: what Z knows of it, log 2, is needed.
    assert total[0] == pytest.approx(np.log(2), abs=0.05)
    assert decision[0] == pytest.approx(np.log(2), abs=0.15)
    # z_1 knows half of the variance of x_3 and of x_4, which decide nothing.
    np.testing.assert_allclose(total[3:5], np.log(2) / 2, atol=0.1)
    assert decision[3:5].max() < 0.05
    assert redundant[3:5].min() > 0.2
    # of x_5 nothing is known
    assert total[5] < 0.02


def test_bounds_of_a_table_are_on_their_sides(maps_of_table):
    truth = np.log(2) * np.array([1, 0, 0, 0.5, 0.5, 0])
    known = [0, 3, 4, 5]
    lower = maps_of_table.lower_bound - 3 * maps_of_table.lower_bound_error
    assert np.all(lower[known] <= truth[known])
    # What passes is at least what is known of it.
    assert np.all(maps_of_table.upper_bound >= maps_of_table.decision.mean(axis=0) - 0.02)
    assert maps_of_table.decision_kept > 0.9
    # A sample four deviations out tells more than four nats.
    assert maps_of_table.is_at_ceiling.mean() < 0.01


def test_parts_make_up_the_total(maps_of_table):
    np.testing.assert_allclose(
        maps_of_table.decision + maps_of_table.redundant, maps_of_table.total, atol=1e-6
    )
    for part in PARTS:
        values, errors = getattr(maps_of_table, part), getattr(maps_of_table, f"{part}_error")
        assert values.shape == errors.shape == (1000, 6)
        assert values.min() >= 0
        assert errors.min() >= 0
    assert maps_of_table.total.max() <= maps_of_table.ceiling == pytest.approx(np.log(129))


# Images in which one patch makes the class and another is in the representation only. Both are at
# places that change from image to image.

_PATCHES = np.array(
    [
        [[1, 1, 1], [-1, -1, -1], [1, 1, 1]],
        [[1, -1, 1], [1, -1, 1], [1, -1, 1]],
        [[1, 1, -1], [1, -1, -1], [-1, -1, 1]],
        [[-1, 1, 1], [-1, -1, 1], [1, -1, -1]],
    ],
    dtype=np.float32,
)


class PatchNetwork(nn.Module):
    """Finds the four patches; Z tells which are there, and the first two decide."""

    def __init__(self):
        super().__init__()
        # Either there or not, so that what is known is a bit.
        self.found = nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), nn.Hardtanh(0.0, 1.0))
        self.found[0].weight.data = torch.from_numpy(_PATCHES[:, None])
        self.found[0].bias.data.fill_(-4.0)
        self.sums = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, X):
        return 60 * self.sums(self.found(X))[:, :2]


def images(n_samples, seed):
    """Images of 4 x 4 places, and the place of the deciding patch and of the other."""
    rng = np.random.default_rng(seed)
    X = 0.3 * rng.normal(size=(n_samples, 4, 3, 4, 3)).astype(np.float32)
    y, other = rng.integers(2, size=(2, n_samples))
    places = np.array([rng.permutation(16)[:2] for _ in range(n_samples)])
    for patch, place in ((y, places[:, 0]), (2 + other, places[:, 1])):
        X[np.arange(n_samples), place // 4, :, place % 4] += _PATCHES[patch]
    X = X.reshape(n_samples, 1, 12, 12)
    X.flags.writeable = False
    return X, y, places


@pytest.fixture(scope="module")
def of_patches():
    explainer = InformationExplainer(
        PatchNetwork(), layer="found", representation="sums", random_state=0
    )
    return explainer.fit(images(2500, 0)[0])


def test_maps_point_at_the_planted_patches(of_patches):
    X, _, places = images(500, 1)
    maps = of_patches.explain(X)
    assert maps.total.shape == (500, 4, 4)
    total, decision, redundant = (getattr(maps, part).reshape(500, 16) for part in PARTS)
    both = np.sort(np.argsort(-total, axis=1)[:, :2], axis=1)
    assert np.mean(both == np.sort(places, axis=1)) >= 0.95
    assert np.mean(decision.argmax(axis=1) == places[:, 0]) >= 0.95
    assert np.mean(redundant.argmax(axis=1) == places[:, 1]) >= 0.95
    # One of two patches: log 2, for both.
    rows = np.arange(500)
    for place in places.T:
        assert total[rows, place].mean() == pytest.approx(np.log(2), abs=0.1)
    # That is a sixteenth of it for either patch in the mean of the images, and for InfoNCE.
    np.testing.assert_allclose(maps.total.mean(axis=0), maps.lower_bound, atol=0.04)
    assert maps.lower_bound.mean() == pytest.approx(np.log(2) / 8, abs=0.02)


def test_planted_columns_are_found(maps_of_table):
    for part, columns in (("total", [0, 3, 4]), ("decision", [0]), ("redundant", [3, 4])):
        values = getattr(maps_of_table, part).mean(axis=0)
        # x_1 and x_2 are known a little, and decide a little.
        kept = [0, 3, 4, 5]
        assert roc_auc_score(np.isin(kept, columns), values[kept]) >= 0.95


def test_classes_that_the_network_does_not_know_empty_the_decision():
    X, y, _ = images(1000, 0)
    own = InformationExplainer(PatchNetwork(), layer="found", representation="sums", **QUICK)
    shuffled = clone(own).fit(X, np.random.default_rng(0).permutation(y))
    assert shuffled.price_ == np.inf
    empty, full = shuffled.explain(X[:200]), own.fit(X, y).explain(X[:200])
    assert empty.passed.max() == 0
    assert empty.decision.max() == 0 < full.decision.max()
    assert full.decision_kept > 0.8


@pytest.mark.slow
def test_few_samples_are_passed_more_often(monkeypatch):
    monkeypatch.undo()
    explainer = InformationExplainer(
        PatchNetwork(), layer="found", representation="sums", random_state=0
    ).fit(images(500, 0)[0])
    X, _, places = images(300, 1)
    total = explainer.explain(X).total.reshape(300, 16)
    for place in places.T:
        assert total[np.arange(300), place].mean() == pytest.approx(np.log(2), abs=0.15)


def test_a_pass_has_each_sample_once():
    samples = np.arange(10)
    found = np.concatenate([rows for rows, _ in Batches(samples, 4, True, n_passes=3)])
    np.testing.assert_array_equal(np.sort(found.reshape(3, 10)), [samples] * 3)


# The network is left as it is


def test_network_is_left_bit_for_bit():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(400, 3)
    ).train()
    model[0].eval()
    before = deepcopy(model.state_dict())
    X = images(120, 0)[0]
    explainer = InformationExplainer(model, layer="1", **QUICK).fit(X)
    explainer.explain(X)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [False, True, True, True, True]
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    # Its copy is frozen, and neither normalises by the batch nor drops.
    copy = explainer.model_
    assert all(torch.equal(value, before[name]) for name, value in copy.state_dict().items())
    assert not any(module.training for module in copy.modules())
    assert not any(module._forward_hooks for module in copy.modules())
    trained = {id(p) for p in explainer.critic_.parameters()}
    assert trained.isdisjoint(id(p) for p in copy.parameters())


# Networks, layers and heads


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, X):
        return self.head(self.encoder(self.embedding(X)).mean(dim=1))


@pytest.mark.parametrize("layer", ["embedding", lambda model: model.encoder])
def test_tokens(layer):
    X = np.random.default_rng(0).integers(7, size=(120, 5))
    maps = InformationExplainer(Transformer(), layer=layer, **QUICK).fit(X).explain(X[:7])
    assert maps.redundant.shape == (7, 5)
    assert maps.lower_bound.shape == (5,)


class InPlace(nn.Module):
    """Operations in place before, after the layer and after the representation; two names of it."""

    def __init__(self, in_place):
        super().__init__()
        self.scaled = nn.Linear(6, 6)
        self.alias = self.scaled
        self.sums = nn.Linear(6, 3)
        self.classes = nn.Linear(3, 2)
        self.in_place = in_place

    def forward(self, X):
        X = nn.functional.relu(X, inplace=self.in_place)
        X = nn.functional.relu(self.alias(X), inplace=self.in_place)
        return self.classes(nn.functional.relu(self.sums(X), inplace=self.in_place))


@pytest.mark.parametrize("layer", [None, "scaled", "alias", "sums"])
def test_operations_in_place_change_nothing(layer):
    found = []
    for in_place in (False, True):
        torch.manual_seed(0)
        model = InPlace(in_place)
        explainer = InformationExplainer(model, layer=layer, representation="sums", **QUICK)
        found.append(explainer.fit(table(80)).explain(table(40, seed=1)))
    for part in (*PARTS, "passed"):
        np.testing.assert_array_equal(*(getattr(maps, part) for maps in found))
    assert found[0].decision_kept == found[1].decision_kept


def test_model_of_double_precision():
    X, model = table(80), Sums().double()
    maps = InformationExplainer(model, **QUICK).fit(X).explain(X)
    np.testing.assert_array_equal(
        maps.total, InformationExplainer(Sums(), **QUICK).fit(X).explain(X).total
    )
    assert model.sums.weight.dtype == torch.float64


@pytest.mark.parametrize("shape", [(1,), (4, 1, 1), (1, 5)])
def test_one_location(shape):
    """A column, a place of a map, and a token."""
    X = np.random.default_rng(0).normal(size=(80, *shape)).astype(np.float32)
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))
    maps = InformationExplainer(model, layer="0", **QUICK).fit(X).explain(X[:9])
    assert maps.total.size == maps.decision.size == 9


def test_binary_logit_without_an_axis():
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 1), nn.Flatten(0))
    X, signs = table(80), torch.tensor([-4.0, 4.0])
    explainer = InformationExplainer(model, head=lambda Z, output: Z * signs, **QUICK)
    assert explainer.fit(X).explain(X).total.shape == (80, 6)


def test_layer_inside_a_layer_of_a_transformer():
    X = np.random.default_rng(0).integers(7, size=(120, 5))
    explainer = InformationExplainer(Transformer(), layer="encoder.linear1", **QUICK)
    assert explainer.fit(X).explain(X[:7]).total.shape == (7, 5)


def test_layer_by_function_or_name_is_the_same():
    X = images(120, 0)[0]
    options = QUICK | {"representation": "sums"}
    model = PatchNetwork()
    found = [
        InformationExplainer(model, layer=layer, **options).fit(X).explain(X).total
        for layer in ("found.0", lambda model: model.found[0])
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_relation_of_hraml():
    """The first two of five columns make the class: neighbours depend on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    y = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
    learner = HRAML(
        hidden_layer_sizes=(32,), n_components=2, batch_size=64, max_iter=4, random_state=0
    ).fit(X, y)
    images_before = learner.transform(X)
    maps = InformationExplainer(learner, random_state=0).fit(X).explain(X)
    np.testing.assert_array_equal(learner.transform(X), images_before)
    for part in ("total", "decision"):
        values = getattr(maps, part).mean(axis=0)
        assert roc_auc_score([1, 1, 0, 0, 0], values) == 1
        assert values[:2].min() > 2 * values[2:].max()


def test_prototypes_of_new_classes():
    """Z is four columns as they are, of which the first tells the classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "up", "down")
    X[:, 0] += np.where(X[:, 0] > 0, 2, -2)
    explainer = InformationExplainer(nn.Identity(), head="prototype", random_state=0).fit(X, y)
    maps = explainer.explain(X)
    assert maps.decision.mean(axis=0).argmax() == 0
    assert maps.decision[:, 1:].mean() < 0.2 * maps.decision[:, 0].mean()
    # Z has all columns and knows all of each; half a nat is found at least.
    assert maps.total.mean(axis=0).min() > 0.5


def test_decision_of_a_function():
    X = table(1500)
    explainer = InformationExplainer(
        nn.Identity(), head=lambda Z, output: 5 * Z[:, [2, 4]], random_state=0
    )
    decision = explainer.fit(X).explain(X).decision.mean(axis=0)
    assert set(np.argsort(-decision)[:2]) == {2, 4}


# Mathematics


def test_factor_maximises_infonce_and_the_mean_information_is_the_bound():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 60, 60)) * 3
    scores[:2] += np.array([1.0, 5.0])[:, None, None] * np.eye(60)
    scores = torch.from_numpy(scores)
    own_first = torch.stack([scores[:, i].roll(-i, dims=1) for i in range(60)])
    factors = _best_factors(own_first.permute(2, 0, 1))
    grid = torch.linspace(0, 2, 401, dtype=torch.float64)
    bounds = torch.stack([InfoNCE().contributions(factor * scores).mean(dim=1) for factor in grid])
    np.testing.assert_allclose(factors, grid[bounds.argmax(dim=0)], atol=0.01)
    assert factors[2] < 0.2
    scaled = factors[:, None, None] * scores
    likely = scaled.softmax(dim=2)
    information = (likely * (60 * likely).log()).sum(dim=2).mean(dim=1)
    bound = InfoNCE().contributions(scaled).mean(dim=1)
    np.testing.assert_allclose(information, bound, atol=0.02)


def test_networks_beside_each_other_compute_as_each_alone():
    torch.manual_seed(0)
    networks = LocalNetworks(3, 5, [4, 6, 3, 2])
    features, places = torch.randn(4, 7, 2), [3, 1]
    found = networks(features, torch.tensor(places))
    assert found.shape == (3, 2, 7, 2)
    second, _, third = networks.rest
    for k in range(3):
        own = slice(6 * k, 6 * k + 6)
        for i in range(7):
            for j, place in enumerate(places):
                hidden = networks.first[own] @ features[:, i, j] + networks.place[own, 0, place]
                hidden = (second.weight[k] @ hidden.relu() + second.bias[k][:, 0]).relu()
                expected = third.weight[k] @ hidden + third.bias[k][:, 0]
                torch.testing.assert_close(found[k, :, i, j], expected)


def test_held_out_loss_is_of_the_same_places_in_each_epoch(of_patches, monkeypatch):
    critic = deepcopy(of_patches.critic_)
    seen = []

    def both(features, places):
        seen.append(places.tolist())
        return features, features

    monkeypatch.setattr(critic, "both", both)
    X = torch.tensor(images(8, 0)[0])
    batch = [X, *critic.network(X)]
    for is_training in (False, False, True, True):
        critic.train(is_training)(batch)
    assert seen[0] == seen[1] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert seen[2] != seen[3]


def test_what_passes_is_the_divergence_from_noise(of_table):
    bottleneck = of_table.bottleneck_
    features = torch.randn(1, 20, 6)
    with torch.no_grad():
        share = bottleneck.share(features)
        passed = bottleneck.passed(share * features, share)
    expected = kl_divergence(Normal(share * features, 1 - share), Normal(0.0, 1.0)).sum(dim=0)
    np.testing.assert_allclose(passed, expected, rtol=1e-3, atol=1e-5)
    # A share is made of its own location alone, or noised features could tell more than these.
    changed = features.clone()
    changed[..., 1:] += 1
    with torch.no_grad():
        np.testing.assert_array_equal(bottleneck.share(changed)[..., 0], share[..., 0])


def test_information_and_its_error_are_those_of_written_out_sums(of_table):
    critic = of_table.critic_
    X = torch.tensor(table(5, seed=2))
    with torch.no_grad():
        local, Z, _ = critic.network(X)
        features, own = critic.bottleneck.standardized(local), critic.images(Z)
        options = {"factor": critic.factors[0], "references": critic.references}
        found, contribution = critic.information(features, own, **options)
        # The mean of three networks, whose images stand one after the other.
        of_local = (
            (critic.factors[0] * critic.of_local(features) / 3).flatten(0, 1).double().numpy()
        )
        own = own.flatten(0, 1).double().numpy()
    references = critic.references.double().numpy()
    kept = [np.arange(len(references))]
    kept += [
        np.setdiff1d(kept[0], np.flatnonzero(kept[0] * N_BLOCKS // len(references) == block))
        for block in range(N_BLOCKS)
    ]
    for i in range(5):
        for column in range(6):
            for k, rows in enumerate(kept):
                compared = np.vstack([own[:, i], references[rows]])
                scores = compared @ of_local[:, i, column]
                likely = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
                expected = np.sum(likely * np.log(np.maximum(likely * len(likely), 1e-300)))
                assert found[k, i, column].item() == pytest.approx(expected, abs=1e-4)
                if k == 0:
                    expected = np.log(likely[0] * len(likely))
                    assert contribution[i, column].item() == pytest.approx(expected, abs=1e-3)


def test_error_is_that_of_other_references(of_table):
    """The spread over other samples to compare with, beside the error that is told."""
    critic = deepcopy(of_table.critic_)
    X, found = torch.tensor(table(100, seed=2)), []
    known = [0, 3, 4]
    with torch.no_grad():
        error = critic.explain(X)["total_error"][:, known].median(dim=0).values
        for seed in range(40):
            critic.remember(critic.network(torch.tensor(table(128, seed=100 + seed)))[1])
            found.append(critic.explain(X)["total"][:, known])
    spread = torch.stack(found).std(dim=0).median(dim=0).values
    np.testing.assert_allclose(error, spread, rtol=0.3)


def test_decision_is_the_mean_over_many_noises(of_patches):
    """What the line foretells, beside what it is to foretell."""
    X, _, places = images(100, 4)
    maps = of_patches.explain(X)
    critic = of_patches.critic_
    with torch.no_grad():
        local, Z, _ = critic.network(torch.tensor(X))
        features, own = critic.bottleneck.standardized(local), critic.images(Z)
        share = critic.bottleneck.share(features)
        draws = [critic.bottleneck.noised(features, share) for _ in range(60)]
        options = {"factor": critic.factors[1], "references": critic.references}
        found = [critic.information(draw, own, **options)[0][0] for draw in draws]
    expected = torch.stack(found).mean(dim=0).numpy()
    decision, total = (values.reshape(100, 16) for values in (maps.decision, maps.total))
    expected = np.minimum(expected, total)
    rows = np.arange(100)
    at = [(decision[rows, place], expected[rows, place]) for place in places.T]
    assert at[0][1].mean() > 0.4
    for values, truth in at:
        assert values.mean() == pytest.approx(truth.mean(), abs=0.03)
    assert np.corrcoef(decision.ravel(), expected.ravel())[0, 1] > 0.95
    # The error covers what a sample is off by.
    error = maps.decision_error.reshape(100, 16) + 0.01
    assert np.mean(np.abs(decision - expected) <= 3 * error) > 0.95


def test_scores_far_apart_leave_the_numbers_finite(of_table):
    critic = deepcopy(of_table.critic_)
    critic.factors *= 1000
    with torch.no_grad():
        maps = critic.explain(torch.tensor(table(50, seed=2)))
    for name, values in maps.items():
        assert torch.isfinite(values).all(), name
    assert maps["total"].max() <= np.log(129) + 1e-5


def test_fewer_samples_than_blocks_of_references():
    maps = InformationExplainer(Sums(), **QUICK).fit(table(5)).explain(table(5))
    assert maps.ceiling == pytest.approx(np.log(6))
    assert np.isfinite(maps.total_error).all()


def test_averaged_weights_are_used_where_nothing_is_trained():
    module = nn.Linear(1, 1, bias=False)
    averaged = Averaged(module)
    weights = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0])
    batch = torch.ones(1, 1)
    for weight in weights:
        module.weight.data.fill_(weight)
        assert averaged.train()(batch).item() == weight
    # Step t weighs as (t + 1)(t + 2)(t + 3), the polynomial of the third degree.
    t = torch.arange(5)
    weighing = (t + 1) * (t + 2) * (t + 3)
    expected = (weighing * weights).sum() / weighing.sum()
    assert averaged.eval()(batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert module.weight.item() == 5
    averaged.average()
    assert module.weight.item() == pytest.approx(expected.item(), rel=1e-5)


def test_more_that_is_kept_is_more_that_passes():
    X = table(1500)
    passed = []
    for keep in (0.5, 0.95):
        explainer = InformationExplainer(
            Sums(), representation="sums", keep=keep, max_iter=1, random_state=0
        )
        maps = explainer.fit(X).explain(X)
        passed.append((maps.passed.sum(), maps.decision_kept))
    assert passed[0][0] < passed[1][0]
    assert passed[0][1] < passed[1][1]


def test_ceiling_is_told():
    X = np.random.default_rng(0).normal(size=(1500, 2)).astype(np.float32)
    explainer = InformationExplainer(
        nn.Identity(), head="relation", batch_size=8, max_iter=2, random_state=0
    )
    maps = explainer.fit(X).explain(X[:100])
    assert maps.ceiling == pytest.approx(np.log(9))
    assert maps.is_at_ceiling.mean() > 0.1


# Interface


@parametrize_with_checks(
    [InformationExplainer(nn.Identity(), head="relation", max_iter=1, batch_size=8)]
)
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setattr(
        "metricalign.deep.explainer._N_STEPS", 5
    )  # of the bottleneck, however few samples
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


def test_same_seed_same_maps(of_table):
    X = table(50, seed=3)
    maps = of_table.explain(X)
    again = of_table.explain(X)
    copy = pickle.loads(pickle.dumps(of_table)).explain(X)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(maps, part), getattr(again, part))
        np.testing.assert_array_equal(getattr(maps, part), getattr(copy, part))
    with pytest.raises(NotFittedError):
        clone(of_table).explain(X)


def test_global_generator_is_left_alone():
    X, model = table(100), Sums()
    state = torch.random.get_rng_state()
    InformationExplainer(model, **QUICK).fit(X).explain(X)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_features_that_are_too_many_to_keep_are_computed_again(monkeypatch):
    X = images(200, 0)[0]
    explainer = InformationExplainer(PatchNetwork(), layer="found", representation="sums", **QUICK)
    expected = explainer.fit(X).explain(X)
    monkeypatch.setattr("metricalign.deep.explainer._N_KEPT_NUMBERS", 0)
    np.testing.assert_allclose(explainer.fit(X).explain(X).total, expected.total, atol=1e-4)


def test_samples_are_explained_in_parts(of_table, monkeypatch):
    X = table(600, seed=4)
    whole = of_table.explain(X)
    monkeypatch.setattr("metricalign.deep.critic._N_SCORES", 1)
    single = of_table.explain(X)
    for part in PARTS:
        np.testing.assert_allclose(getattr(single, part), getattr(whole, part), atol=1e-4)
    assert single.decision_kept == whole.decision_kept


def test_one_sample_has_no_error_of_the_bound(of_table):
    maps = of_table.explain(table(1))
    assert np.isnan(maps.lower_bound_error).all()
    assert np.isfinite(maps.total_error).all()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.activation = nn.ReLU()
        self.both = nn.LSTM(6, 3, batch_first=True)

    def forward(self, X):
        return self.activation(self.activation(self.both(X[:, None])[0][:, 0]))


def test_bad_arguments_are_named(monkeypatch):
    X = table(60)
    for options, message in [
        (
            {"layer": "nowhere"},
            r"layer='nowhere' is no module of the model, which has 'activation'",
        ),
        ({"layer": "activation"}, "runs 2 times"),
        ({"layer": "both"}, "returns <class 'tuple'>"),
        ({"representation": "nowhere"}, "representation='nowhere' is no module"),
        ({"layer": lambda model: nn.ReLU()}, "layer must be a module of the model"),
        ({"head": "prototype"}, "head='prototype' needs y"),
        ({"keep": 1.0}, "The 'keep' parameter"),
    ]:
        with pytest.raises(ValueError, match=message):
            InformationExplainer(Twice(), **QUICK, **options).fit(X)
    with pytest.raises(ValueError, match=r"must return one array; this one returns .*tuple"):
        InformationExplainer(nn.LSTM(6, 3), **QUICK).fit(X)
    for head in (lambda Z, output: Z[:, 0], lambda Z, output: Z[:1], lambda Z, output: None):
        with pytest.raises(ValueError, match="head must return logits of shape"):
            InformationExplainer(Sums(), head=head, **QUICK).fit(X)
    explainer = InformationExplainer(Sums(), **QUICK)
    with pytest.raises(ValueError, match="numbers of the 2 logits, 0 to 1; got 0 to 2"):
        explainer.fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match="a class for each of the 60 samples"):
        explainer.fit(X, np.zeros(59, dtype=int))
    with pytest.raises(ValueError, match="which are integers"):
        explainer.fit(X, np.zeros(60))
    with pytest.raises(ValueError, match="leaves too few samples"):
        explainer.fit(X[:2])
    monkeypatch.setattr("metricalign.deep.explainer._N_OF_STATISTICS", 8)
    with pytest.raises(ValueError, match="of which a class has none"):
        InformationExplainer(Sums(), head="prototype", **QUICK).fit(X, np.arange(60) // 3)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="layer must return an array of shape"):
        InformationExplainer(nn.Identity(), **QUICK).fit(np.zeros((60, 1, 1, 2, 2)))
    with pytest.raises(ValueError, match="needs a model that returns logits"):
        InformationExplainer(nn.Conv2d(1, 2, 3), layer=None, **QUICK).fit(images(60, 0)[0])
    with pytest.raises(ValueError, match=r"shape \(n_samples, 1, 12, 12\), as in fit"):
        InformationExplainer(PatchNetwork(), layer="found", **QUICK).fit(images(60, 0)[0]).explain(
            np.zeros((2, 1, 9, 9))
        )
    with pytest.raises(NotFittedError):
        InformationExplainer(HRAML()).fit(X)


# The picture


@pytest.mark.usefixtures("agg", "closed_figures")
def test_maps_are_drawn_over_the_picture(of_patches):
    X, _, _ = images(1, 5)
    display = InformationDisplay.from_estimator(of_patches, X, name="an image")
    maps = of_patches.explain(X)
    assert len(display.images_) == len(display.axes_) == 3
    for image, part in zip(display.images_, PARTS, strict=True):
        np.testing.assert_array_equal(image.get_array(), getattr(maps, part)[0])
        # The same colours, and the extent of the picture of 12 x 12 pixels.
        assert image.get_clim() == (0, maps.total.max())
        assert list(image.get_extent()) == [-0.5, 11.5, 11.5, -0.5]
    assert display.picture.shape == (12, 12)
    # The outline of the picture.
    assert all(axis.collections for axis in display.axes_)
    assert "an image" in display.axes_[0].get_title()
    assert display.axes_[1].get_title() == "known and decides"
    axes = display.figure_.subplots(1, 3)
    assert display.plot(ax=axes).axes_[0] is axes[0]
    with pytest.raises(ValueError, match="ax must be 3 axes"):
        display.plot(ax=axes[0])


@pytest.mark.usefixtures("agg", "closed_figures")
@pytest.mark.filterwarnings("error")
def test_picture_of_one_shade_has_no_outline():
    maps = dict.fromkeys(("total", "decision", "redundant", "total_error"), np.ones((2, 2)))
    display = InformationDisplay(**maps, picture=np.ones((4, 4, 3))).plot()
    assert not any(axis.collections for axis in display.axes_)


@pytest.mark.usefixtures("agg", "closed_figures")
def test_columns_are_bars(of_table):
    X = table(50)
    names = [f"column {i}" for i in range(6)]
    display = InformationDisplay.from_estimator(of_table, X, feature_names=names, max_features=4)
    maps = of_table.explain(X)
    assert len(display.features_) == 4
    assert {0, 3, 4} < set(display.features_)
    decision, redundant = display.bars_
    means = maps.decision.mean(axis=0)[display.features_]
    np.testing.assert_allclose([bar.get_width() for bar in decision], means)
    ends = [bar.get_x() + bar.get_width() for bar in redundant]
    np.testing.assert_allclose(ends, maps.total.mean(axis=0)[display.features_])
    labels = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert labels == [names[i] for i in display.features_]
    assert "4 of 6" in display.axes_[0].get_title()
    # The legend covers no bar.
    display.figure_.draw_without_rendering()
    legend = display.axes_[0].get_legend().get_window_extent()
    assert legend.y0 >= display.axes_[0].get_window_extent().y1 - 1
    with pytest.raises(ValueError, match="feature_names must be 6 names"):
        InformationDisplay.from_estimator(of_table, X, feature_names=names[:2])
    with pytest.raises(TypeError, match="must be an InformationExplainer"):
        InformationDisplay.from_estimator(Sums(), X)


@pytest.mark.usefixtures("agg", "closed_figures")
def test_columns_are_called_as_in_the_table():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table(100), columns=list("abcdef"))
    explainer = InformationExplainer(Sums(), **QUICK).fit(frame)
    display = InformationDisplay.from_estimator(explainer, frame)
    labels = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert labels == list("abcdef")


def test_an_interrupted_fit_leaves_the_last_one():
    def interrupt(Z, output):
        raise KeyboardInterrupt

    X = table(60)
    explainer = InformationExplainer(nn.Identity(), head="relation", **QUICK).fit(X)
    before = dict(vars(explainer))
    with pytest.raises(KeyboardInterrupt):
        explainer.set_params(head=interrupt).fit(X[:, :4])
    assert vars(explainer) | {"head": "relation"} == before
