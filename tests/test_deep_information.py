"""Estimators of mutual information, against closed forms, tables and written-out sums."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from torch import nn  # noqa: E402

from metricalign.deep.information import (  # noqa: E402
    BOUNDS,
    NWJ,
    SMILE,
    InfoNCE,
    InformationEstimate,
    MutualInformation,
    VariationalUpperBound,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def gaussians(n_samples, n_columns, correlation, seed=0):
    """Pairs of correlated columns, and their information: -1/2 log det(I - R R^T)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_samples, n_columns))
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=x.shape)
    return x, y, -n_columns / 2 * np.log(1 - correlation**2)


def estimate(bound, x, y, **options):
    """Trained on two thirds, estimated on the rest."""
    n = 2 * len(x) // 3
    learner = MutualInformation(bound, random_state=0, **options).fit(x[:n], y[:n])
    return learner.estimate(x[n:], y[n:])


@parametrize_with_checks([MutualInformation(max_iter=2), MutualInformation("upper", max_iter=2)])
def test_scikit_learn_conventions(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or a check is skipped
    check(estimator)


# Formulas


def written_out(name, scores, clip=1.0):
    n = len(scores)
    others = [[scores[i, j] for j in range(n) if j != i] for i in range(n)]
    own = np.diag(scores)
    if name == "infonce":
        return np.mean(own - np.log(np.mean(np.exp(scores), axis=1)))
    if name == "nwj":
        return np.mean(own) - np.mean(np.exp(np.array(others) - 1))
    if name == "smile":
        return np.mean(own) - np.log(np.mean(np.exp(np.clip(others, -clip, clip))))
    return np.mean(own - np.log(np.mean(np.exp(others), axis=1)))


@pytest.mark.parametrize("name", BOUNDS)
def test_formulas(name):
    scores = np.random.default_rng(0).normal(size=(3, 6, 6))
    bound = SMILE(clip=1.0) if name == "smile" else BOUNDS[name]()
    contributions = bound.contributions(torch.from_numpy(scores))
    assert contributions.shape == (3, 6)
    expected = [written_out(name, part) for part in scores]
    np.testing.assert_allclose(contributions.mean(dim=1), expected, rtol=1e-12)


def test_smile_trains_by_the_jensen_shannon_divergence():
    scores = np.random.default_rng(0).normal(size=(6, 6))
    is_own = np.eye(6, dtype=bool)
    expected = np.log1p(np.exp(-scores[is_own])).mean() + np.log1p(np.exp(scores[~is_own])).mean()
    assert SMILE().loss(torch.from_numpy(scores)).item() == pytest.approx(expected)


class TrueRatio(nn.Module):
    """log p(y | x) / p(y) of correlated columns, plus a constant."""

    def __init__(self, correlation, constant=0.0):
        super().__init__()
        self.correlation, self.constant = correlation, constant

    def forward(self, X, Y):
        rest = 1 - self.correlation**2
        X = X[None]
        Y = Y[:, None]
        ratio = -((Y - self.correlation * X) ** 2) / (2 * rest) + Y**2 / 2 - np.log(rest) / 2
        return ratio.sum(dim=2) + self.constant


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize(("n_columns", "correlation"), [(1, 0.5), (2, 0.8)])
def test_true_scores_give_the_information(name, n_columns, correlation):
    x, y, truth = gaussians(4096, n_columns, correlation)
    critic = TrueRatio(correlation, constant=float(name == "nwj"))
    found = MutualInformation(name, critic=critic).fit(x, y).estimate(x, y)
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    assert found.side == {"upper": "upper", "smile": "neither"}.get(name, "lower")


def test_lower_and_upper_bound_hold_for_any_scores():
    """Few pairs at a time: InfoNCE is too low, the upper bound too high, and both by much."""
    correlation = 0.95
    x, y, truth = gaussians(4096, 2, correlation)
    scores = TrueRatio(correlation)(torch.from_numpy(x), torch.from_numpy(y))
    blocks = torch.stack([scores[i : i + 4, i : i + 4] for i in range(0, 4096, 4)])
    lower, upper = InfoNCE().contributions(blocks), VariationalUpperBound().contributions(blocks)
    assert lower.mean() < np.log(4) < truth < upper.mean()
    for scale in (0.3, 2.0):
        wrong = scale * scores
        assert InfoNCE().contributions(wrong).mean() < truth
        assert NWJ().contributions(wrong + 1).mean() < truth


def test_standard_error_is_the_spread_over_samples():
    critic = TrueRatio(0.5)
    found = []
    for seed in range(60):
        x, y, _ = gaussians(300, 1, 0.5, seed)
        found.append(MutualInformation("smile", critic=critic).fit(x, y).estimate(x, y))
    spread = np.std([one.value for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.3)


# Trained critics


@pytest.mark.parametrize("name", BOUNDS)
def test_gaussians(name):
    x, y, truth = gaussians(4500, 3, 0.7)
    found = estimate(name, x, y)
    error = 2 * found.standard_error
    assert found.value == pytest.approx(truth, abs=0.15)
    assert found.side == ("lower" if name in ("infonce", "nwj") else "neither")
    if found.side == "lower":
        assert found.value < truth + error


def test_bijections_leave_the_information():
    x, y, truth = gaussians(4500, 1, 0.8)
    bent = estimate("infonce", np.sinh(x), np.sign(y) * np.sqrt(np.abs(y)))
    assert bent.value == pytest.approx(truth, abs=0.1)


@pytest.mark.parametrize("name", ["infonce", "nwj", "smile"])
def test_table_of_probabilities(name):
    table = np.array([[0.3, 0.05, 0.05], [0.05, 0.2, 0.05], [0.0, 0.1, 0.2]])
    truth = np.nansum(
        table * np.log(np.maximum(table, 1e-300) / np.outer(table.sum(axis=1), table.sum(axis=0)))
    )
    drawn = np.random.default_rng(0).choice(9, size=4500, p=table.ravel())
    found = estimate(name, np.eye(3)[drawn // 3], np.eye(3)[drawn % 3])
    assert found.value == pytest.approx(truth, abs=3 * found.standard_error)


@pytest.mark.parametrize("name", BOUNDS)
def test_independent_variables(name):
    x, y, _ = gaussians(3000, 2, 0.0)
    assert estimate(name, x, y).value == pytest.approx(0, abs=0.05)


def test_ceiling_is_told(monkeypatch):
    monkeypatch.setattr("metricalign.deep.information.estimator._PAIRS_AT_A_TIME", 16)
    x, _, _ = gaussians(3000, 3, 0.0)
    found = estimate("infonce", x, x)
    assert found.ceiling == pytest.approx(np.log(16), abs=0.1)
    assert found.value <= found.ceiling + 1e-9
    assert found.is_at_ceiling
    assert not InformationEstimate(5.0, 0.1, "lower", np.inf).is_at_ceiling


# Interface


def test_random_state_decides_and_torch_is_left_alone():
    x, y, _ = gaussians(300, 1, 0.5)
    state = torch.random.get_rng_state()
    first, second, other = (
        MutualInformation(max_iter=3, random_state=seed).fit(x, y).score(x, y) for seed in (0, 0, 1)
    )
    assert first == second != other
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bad_arguments_are_named():
    x, y, _ = gaussians(50, 1, 0.5)
    with pytest.raises(ValueError, match="leaves too few samples"):
        MutualInformation().fit(x[:3], y[:3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MutualInformation().fit(x, y[:-1])
    with pytest.raises(ValueError, match="cannot be used"):
        MutualInformation(device="abacus").fit(x, y)


def test_an_interrupted_fit_leaves_the_last_one(monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    X = np.random.default_rng(0).normal(size=(60, 2))
    estimator = MutualInformation(max_iter=2, random_state=0).fit(X, X)
    before = dict(vars(estimator))
    monkeypatch.setattr("skorch.NeuralNet.fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X[:, :1], X)
    assert vars(estimator) == before
