import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss, ndcg_score
from sklearn.neighbors import KNeighborsRegressor

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from metricalign.deep.losses import (  # noqa: E402
    LOSSES,
    AlignmentLoss,
    ApproxNDCGLoss,
    DeepLoss,
    LayeredLoss,
    PairwiseCrossEntropyLoss,
    RankNContrastLoss,
    SmoothAPLoss,
    SoftNeighborsLoss,
    squared_distances,
)
from metricalign.deep.networks import EmbeddingNetwork, MultilayerPerceptron  # noqa: E402
from metricalign.relations import resolve_relation  # noqa: E402
from metricalign.testing import check_deep_loss  # noqa: E402


def random_batch(n_samples=7, n_components=3, seed=0):
    """Images, and relations that are those of numbers."""
    rng = np.random.default_rng(seed)
    images = torch.tensor(rng.normal(size=(n_samples, n_components)))
    y = rng.random(n_samples)
    return images, torch.tensor(np.abs(y[:, None] - y))


@given(seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 100.0]))
@settings(max_examples=20)
def test_squared_distances_are_those_of_differences(seed, offset):
    images, _ = random_batch(8, seed=seed)
    expected = ((images[:, None] - images) ** 2).sum(axis=2)
    torch.testing.assert_close(squared_distances(images + offset), expected)
    torch.testing.assert_close(squared_distances(images + offset, n_rows=3), expected[:3])
    paired = squared_distances(images + offset, is_paired=True)
    torch.testing.assert_close(paired, expected[torch.arange(4), torch.arange(4, 8)])


def test_alignment_loss_is_the_formula():
    images, relations = random_batch()
    total, n_pairs = 0.0, 0
    for i in range(7):
        for j in range(i):
            distance = float(((images[i] - images[j]) ** 2).sum())
            total += (distance - 3.0 * float(relations[i, j])) ** 2 / 4
            n_pairs += 1
    loss = AlignmentLoss(largest_distance=3.0)
    assert float(loss(squared_distances(images), relations)) == pytest.approx(total / n_pairs)
    # a list of all the pairs has the same loss
    i, j = np.triu_indices(7, 1)
    paired = squared_distances(torch.cat([images[i], images[j]]), is_paired=True)
    assert float(loss(paired, relations[i, j])) == pytest.approx(total / n_pairs)


def ndcg_loss(images, relations, grade):
    """One minus the mean NDCG, by scikit-learn."""
    losses = []
    for i in range(len(images)):
        others = np.arange(len(images)) != i
        gains = 2 ** (grade * (1 - relations[i, others])) - 1
        similarity = -((images[i] - images[others]) ** 2).sum(axis=1)
        losses.append(1 - ndcg_score(gains[None], similarity[None]))
    return np.mean(losses)


@pytest.mark.parametrize("grade", [1.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_approximate_ndcg_tends_to_ndcg(grade, seed):
    images, relations = random_batch(12, seed=seed)
    expected = ndcg_loss(images.numpy(), relations.numpy(), grade)
    errors = [
        abs(float(ApproxNDCGLoss(t, grade)(squared_distances(images), relations)) - expected)
        for t in (1.0, 1e-2, 1e-5)
    ]
    assert errors[2] < 1e-9
    assert errors[2] < errors[1] < errors[0]


def test_approximate_ndcg_is_the_formula():
    images, relations = random_batch(6)
    tau, distances = 0.7, squared_distances(images).numpy()
    losses = []
    for i in range(6):
        dcg, gains = 0.0, []
        for j in range(6):
            if j == i:
                continue
            position = 1 + sum(
                1 / (1 + np.exp((distances[i, k] - distances[i, j]) / tau))
                for k in range(6)
                if k not in (i, j)
            )
            gains.append(2 ** (4 * (1 - relations[i, j].item())) - 1)
            dcg += gains[-1] / np.log2(1 + position)
        ideal = sum(g / np.log2(r) for r, g in enumerate(sorted(gains, reverse=True), start=2))
        losses.append(float(1 - dcg / ideal))
    assert ApproxNDCGLoss(tau)(torch.tensor(distances), relations).item() == pytest.approx(
        np.mean(losses)
    )


def class_batch(n_samples=12, seed=0):
    """Images, classes, and relations that are those of classes."""
    images, _ = random_batch(n_samples, seed=seed)
    y = np.random.default_rng(seed).integers(0, 3, n_samples)
    return images, y, torch.tensor((y[:, None] != y).astype(float))


@pytest.mark.parametrize("is_of_classes", [True, False])
@pytest.mark.parametrize("temperature", [2.0, 0.3])
def test_rank_n_contrast_is_the_formula(temperature, is_of_classes):
    images, relations = random_batch(9)
    if is_of_classes:  # many ties
        relations = class_batch(9)[2]
    g, losses = relations.numpy(), []
    s = -np.linalg.norm(images[:, None] - images, axis=2) / temperature
    for i in range(9):
        for j in range(9):
            beyond = [k for k in range(9) if k != i and g[i, k] >= g[i, j]]
            if j != i:
                losses.append(np.log(np.exp(s[i, beyond]).sum()) - s[i, j])
    loss = RankNContrastLoss(temperature)(squared_distances(images), relations)
    assert loss.item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_rank_n_contrast_vanishes_where_the_order_is_right():
    """In the limit, and only there: by distances that are the relations, or are not."""
    rng = np.random.default_rng(0)
    images, y = torch.tensor(rng.normal(size=(10, 1))), rng.normal(size=10)
    ordered = torch.cdist(images, images)
    other = torch.tensor(np.abs(y[:, None] - y))
    loss = RankNContrastLoss(1e-3)
    assert loss(ordered**2, ordered).item() < 1e-3
    assert loss(ordered**2, other).item() > 100


@pytest.mark.parametrize("seed", range(3))
def test_smooth_average_precision_tends_to_average_precision(seed):
    images, y, relations = class_batch(14, seed=seed)
    distances = squared_distances(images)
    losses = []
    for i in range(14):
        others = np.arange(14) != i
        if (y[others] == y[i]).any():
            score = average_precision_score(y[others] == y[i], -distances[i, others])
            losses.append(1 - score)
        else:
            losses.append(0.0)
    found = [SmoothAPLoss(tau)(distances, relations).item() for tau in (1.0, 1e-6)]
    assert found[1] == pytest.approx(np.mean(losses), abs=1e-6)
    assert abs(found[0] - np.mean(losses)) > 0.01


def test_smooth_average_precision_is_the_formula():
    images, relations = random_batch(6)
    tau, distances, w = 0.7, squared_distances(images).numpy(), 1 - relations.numpy()
    losses = []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        total = 0.0
        for j in others:
            before = {
                k: 1 / (1 + np.exp((distances[i, k] - distances[i, j]) / tau))
                for k in others
                if k != j
            }
            relevant = w[i, j] + sum(w[i, k] * share for k, share in before.items())
            total += w[i, j] * relevant / (1 + sum(before.values()))
        losses.append(1 - total / w[i, others].sum())
    loss = SmoothAPLoss(tau)(torch.tensor(distances), relations)
    assert loss.item() == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_pairwise_cross_entropy_is_that_of_a_linear_classifier(penalty):
    """Of the classifier of class sums, by scikit-learn; and no less than that of the best one."""
    images, y, relations = class_batch(15)
    z = images.numpy() - images.numpy().mean(axis=0)
    weights = np.array([z[y == k].sum(axis=0) for k in range(3)]) / (penalty * len(y))
    expected = log_loss(y, softmax(z @ weights.T, axis=1))
    found = PairwiseCrossEntropyLoss(penalty)(squared_distances(images), relations).item()
    assert found == pytest.approx(expected)
    best = LogisticRegression(C=1e6, fit_intercept=False, max_iter=1000).fit(z, y)
    assert log_loss(y, best.predict_proba(z)) < found
    # Any cross-entropy is at least the least first part plus its own second part.
    theta = np.random.default_rng(0).normal(size=(3, z.shape[1]))
    square = penalty / 2 * np.sum(theta**2)
    second = np.mean(logsumexp(z @ theta.T, axis=1)) - square
    same = y[:, None] == y
    first = -np.sum((z @ z.T)[same]) / (2 * penalty * len(y) ** 2)
    assert log_loss(y, softmax(z @ theta.T, axis=1)) >= first + second


def test_pairwise_cross_entropy_needs_classes():
    with pytest.raises(ValueError, match=r"needs targets that are classes.*SoftNeighborsLoss"):
        PairwiseCrossEntropyLoss().for_relation(resolve_relation("auto", [0.5, 1.5, 2.0]))


def test_query_without_gain_has_no_loss():
    images, _ = random_batch(4)
    images.requires_grad_()
    # Sample 0 is as different from all others as can be, which are the same.
    relations = torch.zeros(4, 4, dtype=torch.float64)
    relations[0, 1:] = relations[1:, 0] = 1
    loss = ApproxNDCGLoss()(squared_distances(images), relations)
    loss.backward()
    assert torch.isfinite(images.grad).all()
    only_different = ApproxNDCGLoss()(squared_distances(images), 1 - torch.eye(4).double())
    assert only_different.item() == 0


def soft_neighbors_by_loop(images, y, error, temperature, n_rows):
    """The formulas, sample by sample, of one column of targets."""
    losses = []
    for i in range(n_rows):
        weights = np.exp(-np.linalg.norm(images - images[i], axis=1) / temperature)
        weights[i] = 0
        p = weights / weights.sum()
        relation = abs(y - y[i]) / np.ptp(y)
        losses.append(
            {
                "log": -np.log(p[y == y[i]].sum() + 1e-7),
                "squared": (p @ y - y[i]) ** 2,
                "relation": p @ relation,
            }[error]
        )
    return np.mean(losses)


@pytest.mark.parametrize("n_rows", [9, 4])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("error", ["log", "squared", "relation"])
def test_soft_neighbors_are_the_formula(error, temperature, n_rows):
    images, _ = random_batch(9)
    y = np.random.default_rng(0).integers(0, 3, 9).astype(float)
    y[[0, 1]] = y[5]  # a row whose class is among the candidates only
    relations = torch.tensor(abs(y[:, None] - y) / np.ptp(y))
    if error == "log":
        relations = (relations > 0).double()
    targets = torch.tensor(y)[:, None]
    loss = SoftNeighborsLoss(temperature, error)(
        squared_distances(images, n_rows=n_rows), relations[:n_rows], (targets[:n_rows], targets)
    )
    expected = soft_neighbors_by_loop(images.numpy(), y, error, temperature, n_rows)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("error", ["log", "squared", "relation"])
def test_gradient_of_soft_neighbors_is_that_of_finite_differences(error):
    images, relations = random_batch(8)
    images[1] = images[0]  # where the root has no derivative
    images.requires_grad_()
    targets = torch.tensor(np.random.default_rng(1).normal(size=(8, 2)))

    def loss(images):
        distances = squared_distances(images, n_rows=5)
        return SoftNeighborsLoss(0.5, error)(distances, relations[:5], (targets[:5], targets))

    value = loss(images)
    (gradient,) = torch.autograd.grad(value, images)
    assert torch.isfinite(gradient).all()
    images = images.detach()[1:].requires_grad_()
    relations, targets = relations[1:, 1:], targets[1:]
    assert torch.autograd.gradcheck(loss, images)


def test_soft_neighbors_tend_to_the_nearest_one():
    """At low temperatures they vote as scikit-learn's nearest neighbour, left out itself."""
    images, relations = random_batch(30)
    y = np.random.default_rng(1).normal(size=30)
    others = np.array([np.delete(np.arange(30), i) for i in range(30)])
    nearest = [
        KNeighborsRegressor(1).fit(images.numpy()[o], y[o]).predict(images.numpy()[[i]])[0]
        for i, o in enumerate(others)
    ]
    targets = torch.tensor(y)[:, None]
    distances = squared_distances(images)
    squared = [
        SoftNeighborsLoss(tau, "squared")(distances, None, (targets, targets)).item()
        for tau in (1.0, 1e-6)
    ]
    expected = np.mean((nearest - y) ** 2)
    assert squared[1] == pytest.approx(expected, rel=1e-6)
    assert abs(squared[0] - expected) > 0.01
    # All are neighbours alike at high ones.
    everyone = SoftNeighborsLoss(1e6, "relation")(distances, relations).item()
    assert everyone == pytest.approx(relations.sum().item() / (30 * 29), rel=1e-4)


@pytest.mark.parametrize(
    ("relation", "y", "error"),
    [
        ("auto", ["a", "b", "c"], "log"),
        ("zero_one", [0, 1, 2], "log"),
        ("auto", [0.5, 1.5, 2.5], "squared"),
        ("auto", [[0.5, 1.0], [1.5, 4.0], [2.5, 3.0]], "squared"),
        ("auto", [[0, 1], [1, 1], [1, 0]], "squared"),
        ("auto", [[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], "squared"),
        ("jaccard", [[0, 1], [1, 1], [1, 0]], "relation"),
        ("precomputed", [[0, 1, 2], [1, 0, 3], [2, 3, 0]], "relation"),
        (lambda u, v: abs(u - v), [0.5, 1.5, 2.5], "relation"),
    ],
)
def test_error_of_soft_neighbors_is_that_of_the_targets(relation, y, error):
    loss = SoftNeighborsLoss()
    resolved = loss.for_relation(resolve_relation(relation, y))
    assert (resolved.error, loss.error) == (error, "auto")
    assert resolved.needs_targets == (error == "squared")


def test_relations_alone_cannot_be_averaged():
    relation = resolve_relation("precomputed", [[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    with pytest.raises(ValueError, match=r"error='squared' .* relation='precomputed' has none"):
        SoftNeighborsLoss(error="squared").for_relation(relation)


@pytest.mark.parametrize("loss", [*(loss() for loss in LOSSES.values()), ApproxNDCGLoss(0.5, 1.0)])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradient_is_that_of_finite_differences(loss, normalize):
    X, relations = random_batch(5, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EmbeddingNetwork(MultilayerPerceptron((4, 3, 2), "tanh"), normalize).double()
    names, parameters = zip(*network.named_parameters(), strict=True)
    criterion = LayeredLoss(loss, (0.3, 1.0))

    def value(*parameters):
        layers = torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), X)
        return criterion(layers, relations)

    assert torch.autograd.gradcheck(value, parameters)


def test_layers_are_weighted():
    layers = [random_batch(seed=seed)[0] for seed in range(3)]
    relations = random_batch()[1]
    losses = [AlignmentLoss()(squared_distances(layer), relations) for layer in layers]
    weighted = LayeredLoss(AlignmentLoss(), (0.5, 0.0, 2.0))(layers, relations)
    torch.testing.assert_close(weighted, 0.5 * losses[0] + 2 * losses[2])
    torch.testing.assert_close(LayeredLoss(AlignmentLoss())(layers, relations), losses[2])
    with pytest.raises(ValueError, match="layer_weights must have one weight for each of the 3"):
        LayeredLoss(AlignmentLoss(), (1.0,))(layers, relations)


def test_images_of_normalised_layers_have_length_one():
    network = EmbeddingNetwork(MultilayerPerceptron((4, 3, 2), "relu"), normalize=True)
    hidden, embedding = network(torch.eye(4))
    assert hidden.shape == (4, 3)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("loss", [loss() for loss in LOSSES.values()], ids=repr)
def test_losses_pass_their_check(loss):
    check_deep_loss(loss)


class Wrong(DeepLoss):
    """A loss with one fault."""

    def __init__(self, fault):
        self.fault = fault

    def __call__(self, distances, relations):
        residuals = distances - relations
        loss = residuals.square().mean()
        match self.fault:
            case "shape":
                return residuals.square()
            case "type":
                return float(loss.detach())
            case "infinite":
                return loss / 0
            case "changes":
                return relations.mul_(2).mean() * loss
            case "order":
                return residuals[0].square().sum()
            case "derivative":
                return loss.detach() + distances.mean()
            case "root":
                return (distances.sqrt().sum() - relations.sum()) ** 2


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("shape", r"one number, a tensor of shape \(\); got \(8, 8\)"),
        ("type", "one number, .* got float"),
        ("infinite", "of all pairs it returns inf"),
        ("changes", "changes the relations"),
        ("order", "depends on the order of the samples"),
        ("derivative", "the derivative is not what finite differences are"),
        ("root", "the derivative is not finite where distances are zero"),
    ],
)
def test_wrong_loss_is_named(fault, sentence):
    with pytest.raises(AssertionError, match=rf"Wrong\(fault='{fault}'\): .*{sentence}"):
        check_deep_loss(Wrong(fault))
