"""What `metricalign.deep.InformationExplainer` finds, where the truth is known, and what it costs.

    METRICALIGN_DATA=folder python benchmarks/quality/information.py [--parts estimators known ...]

estimators: bias, spread and side of each estimator of information on closed forms.
given_density: the upper bound with the true density.
known: images with planted patches and tables with planted columns, by trained networks.
transformer: planted patches by a transformer, and agreement of two seeds on fashion.
samples: what fewer samples find.
attribution: deletion and insertion on fashion images, beside gradients, Grad-CAM and integrated
gradients of the same network by Captum (pip install captum).
sanity: random weights from the top down, permuted labels, two seeds.
cost: seconds over those of an epoch and of a forward pass of the network, and the samples that
the network has seen.
"""

import argparse
import os
from pathlib import Path
from time import process_time

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from metricalign.deep import InformationExplainer
from metricalign.deep.information import BOUNDS, MutualInformation

PARTS = ("total", "decision", "redundant")
N_FASHION, N_EXPLAINED = 6000, 500


# Estimators


def normals(rng, n_samples, correlations):
    """Independent pairs of correlated normal columns."""
    correlations = np.asarray(correlations)
    x = rng.normal(size=(n_samples, len(correlations)))
    y = correlations * x + np.sqrt(1 - correlations**2) * rng.normal(size=x.shape)
    return x, y, -np.log(1 - correlations**2).sum() / 2


def bent(pair, of_x, of_y):
    """Bijections of both sides, which leave the information."""
    x, y, truth = pair
    return of_x(x), of_y(y), truth


def rotated(pair, rng):
    """Mix the columns of both sides: the pairs are sparse no more."""
    x, y, truth = pair
    turns = [np.linalg.qr(rng.normal(size=(data.shape[1],) * 2))[0] for data in (x, y)]
    return x @ turns[0], y @ turns[1], truth


def uniform_noise(rng, n_samples, width):
    """y = x + noise, x uniform in [0, 1] and noise in [-width, width]."""
    x = rng.uniform(size=(n_samples, 1))
    truth = width - np.log(2 * width) if width <= 0.5 else 1 / (4 * width)
    return x, x + rng.uniform(-width, width, size=x.shape), truth


def table(rng, n_samples):
    """Two variables of three values, one-hot."""
    p = np.array([[0.3, 0.05, 0.05], [0.05, 0.2, 0.05], [0.02, 0.08, 0.2]])
    drawn = rng.choice(9, size=n_samples, p=p.ravel())
    truth = (p * np.log(p / np.outer(p.sum(axis=1), p.sum(axis=0)))).sum()
    return np.eye(3)[drawn // 3], np.eye(3)[drawn % 3], truth


TASKS = {
    "1 normal, .5": lambda rng, n: normals(rng, n, [0.5]),
    "1 normal, .9": lambda rng, n: normals(rng, n, [0.9]),
    "5 normals, .5": lambda rng, n: normals(rng, n, [0.5] * 5),
    "5 normals, .8": lambda rng, n: normals(rng, n, [0.8] * 5),
    "2 of 5 normals, .8": lambda rng, n: normals(rng, n, [0.8, 0.8, 0, 0, 0]),
    "the same, turned": lambda rng, n: rotated(normals(rng, n, [0.8, 0.8, 0, 0, 0]), rng),
    "1 normal, .75, arcsinh and cube": lambda rng, n: bent(
        normals(rng, n, [0.75]), np.arcsinh, lambda y: y * np.abs(y) ** 0.5
    ),
    "uniform noise, .1": lambda rng, n: uniform_noise(rng, n, 0.1),
    "uniform noise, .75": lambda rng, n: uniform_noise(rng, n, 0.75),
    "table": table,
}


class NormalDensity(nn.Module):
    """The true log density of y given x, of normal columns of one correlation."""

    def __init__(self, correlation):
        super().__init__()
        self.correlation = correlation

    def forward(self, X, Y):
        rest = 1 - self.correlation**2
        return -(Y[:, None] - self.correlation * X).square().sum(dim=2) / (2 * rest)


def given_density(seeds):
    """The upper bound where the density is given, as it is where one adds the noise oneself."""
    for n_columns, correlation in ((1, 0.5), (1, 0.9), (5, 0.5), (5, 0.8), (10, 0.9)):
        learner = MutualInformation("upper", critic=NormalDensity(correlation))
        errors, errors_of_bound = [], []
        for seed in seeds:
            x, y, truth = normals(np.random.default_rng(seed), 2000, [correlation] * n_columns)
            found = learner.fit(x, y).estimate(x, y)
            errors.append(found.value - truth)
            errors_of_bound.append(errors[-1] + 1.645 * found.standard_error)
        print(
            f"density given, {n_columns} normals, {correlation}: truth {truth:.3f}, "
            f"{np.mean(errors):+.3f} ({np.std(errors):.3f}), above it in "
            f"{np.mean(np.array(errors) >= 0):.0%} of {len(seeds)} runs, "
            "within the one-sided 95 % in "
            f"{np.mean(np.array(errors_of_bound) >= 0):.0%}",
            flush=True,
        )


def estimators(seeds):
    print("\n| task | truth | " + " | ".join(BOUNDS) + " |\n| --- " + "| --- " * 5 + "|")
    sides = {name: [] for name in BOUNDS}
    for task, draw in TASKS.items():
        cells = []
        for name, bound in BOUNDS.items():
            if name == "upper" and task == "table":
                cells.append("no density")
                continue
            errors = []
            for seed in seeds:
                x, y, truth = draw(np.random.default_rng(seed), 6000)
                learner = MutualInformation(name, random_state=seed).fit(x[:4000], y[:4000])
                found = learner.estimate(x[4000:], y[4000:])
                errors.append(found.value - truth)
                # One-sided 95 % of the standard error of the samples.
                excess = errors[-1] if bound.side == "lower" else -errors[-1]
                sides[name].append((excess <= 0, excess <= 1.645 * found.standard_error))
            cells.append(f"{np.mean(errors):+.3f} ({np.std(errors):.3f})")
        print(f"| {task} | {truth:.3f} | {' | '.join(cells)} |", flush=True)
    for name, bound in BOUNDS.items():
        if bound.side != "neither" and bound.holds_for_any_critic:
            shares = np.mean(sides[name], axis=0)
            print(
                f"{name}: on its side in {shares[0]:.0%} of {len(sides[name])} runs, within the "
                f"one-sided 95 % of its standard error in {shares[1]:.0%}"
            )


# Networks


def train(model, X, losses, n_epochs, batch_size=64, learning_rate=3e-3):
    """Train by Adam, and return the seconds of an epoch."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    start = process_time()
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X)).split(batch_size):
            loss = losses(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    return (process_time() - start) / n_epochs


def patches(rng, n_samples):
    """Images of 12 x 12, a patch of one of two kinds, and one of two others, at random places."""
    kinds = np.zeros((4, 4, 4), dtype=np.float32)
    kinds[0, ::2], kinds[1, :, ::2] = 1, 1
    kinds[2, :2, :2] = kinds[2, 2:, 2:] = 1
    kinds[3] = 1 - kinds[2]
    X = 0.3 * rng.normal(size=(n_samples, 3, 4, 3, 4)).astype(np.float32)
    y, other = rng.integers(2, size=(2, n_samples))
    places = np.array([rng.permutation(9)[:2] for _ in range(n_samples)])
    for kind, place in ((y, places[:, 0]), (2 + other, places[:, 1])):
        X[np.arange(n_samples), place // 3, :, place % 3] += 2 * kinds[kind] - 1
    return X.reshape(n_samples, 1, 12, 12), y, other, places


class PatchNetwork(nn.Module):
    """A class, and an embedding that is trained to know the other patch too."""

    def __init__(self):
        super().__init__()
        self.local = nn.Sequential(nn.Conv2d(1, 16, 4, stride=4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.embedding = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU())
        self.decision, self.other = nn.Linear(16, 2), nn.Linear(16, 2)

    def embed(self, X):
        return self.embedding(self.body(self.local(X)))

    def forward(self, X):
        return self.decision(self.embed(X))


class Tokens(nn.Module):
    """Patches of 4 x 4 pixels of a square image, as tokens that know their places."""

    def __init__(self, size, n_channels):
        super().__init__()
        self.patches = nn.Conv2d(1, n_channels, 4, stride=4)
        self.places = nn.Parameter(torch.randn((size // 4) ** 2, n_channels) / 4)

    def forward(self, X):
        return self.patches(X).flatten(2).transpose(1, 2) + self.places


class PatchTransformer(nn.Module):
    """The same of a small transformer."""

    def __init__(self, size=12, n_classes=2):
        super().__init__()
        self.local = Tokens(size, 32)
        self.body = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.embedding = nn.Sequential(nn.Linear(32, 16), nn.ReLU())
        self.decision, self.other = nn.Linear(16, n_classes), nn.Linear(16, 2)

    def embed(self, X):
        return self.embedding(self.body(self.local(X)).mean(dim=1))

    def forward(self, X):
        return self.decision(self.embed(X))


class TableNetwork(nn.Module):
    """Ten columns: two decide, two are to be known besides."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
        self.decision, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def embed(self, X):
        return self.embedding(X)

    def forward(self, X):
        return self.decision(self.embed(X))


def two_tasks(model, X, y, other, n_epochs):
    """Train the decision, and what is to be known besides."""
    X, y, other = map(torch.as_tensor, (X, y, other))

    def losses(rows):
        Z = model.embed(X[rows])
        return cross_entropy(model.decision(Z), y[rows]) + cross_entropy(
            model.other(Z), other[rows]
        )

    return train(model, X, losses, n_epochs)


def point(network, seeds, n_epochs, sizes=(2000,)):
    """Pointing game on planted patches, explained from so many samples."""
    print(
        "\npointing game (deciding patch, other patch, either), nats at the patches and elsewhere; "
        f"truth: log 2 = {np.log(2):.3f} of either patch"
    )
    for seed in seeds:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        X, y, other, _ = patches(rng, 2000)
        model = network()
        two_tasks(model, X, y, other, n_epochs)
        X_test, _, _, places = patches(rng, 1000)
        rows = np.arange(len(X_test))
        for n_samples in sizes:
            maps = (
                InformationExplainer(
                    model, layer="local", representation="embedding", random_state=seed
                )
                .fit(X[:n_samples])
                .explain(X_test)
            )
            for part in PARTS:
                values = getattr(maps, part).reshape(len(X_test), 9)
                highest = values.argmax(axis=1)
                hits = [np.mean(highest == place) for place in places.T]
                at = [values[rows, place].mean() for place in places.T]
                rest = (values.sum(axis=1) - values[rows[:, None], places].sum(axis=1)).mean() / 7
                print(
                    f"seed {seed}, {n_samples} samples, {part:10} {hits[0]:.3f} {hits[1]:.3f} "
                    f"{sum(hits):.3f}   {at[0]:.3f} {at[1]:.3f} {rest:.4f}",
                    flush=True,
                )


def known(seeds):
    point(PatchNetwork, seeds, 15)
    print("\narea under the ROC curve, columns")
    for seed in seeds:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        order = rng.permutation(10)
        X = rng.normal(size=(5000, 10)).astype(np.float32)
        y = (X[:, order[0]] + X[:, order[1]] > 0).astype(int)
        other = (X[:, order[2]] - X[:, order[3]] > 0).astype(int)
        model = TableNetwork()
        two_tasks(model, X[:4000], y[:4000], other[:4000], 20)
        maps = InformationExplainer(model, representation="embedding", random_state=seed)
        maps = maps.fit(X[:4000]).explain(X[4000:])
        areas = []
        for part, columns in zip(PARTS, (order[:4], order[:2], order[2:4]), strict=True):
            planted = np.isin(np.arange(10), columns)
            areas.append(roc_auc_score(planted, getattr(maps, part).mean(axis=0)))
        print(
            f"seed {seed} total {areas[0]:.3f} decision {areas[1]:.3f} redundant {areas[2]:.3f}",
            flush=True,
        )


class Block(nn.Module):
    """Residual block."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        is_same = n_in == n_out and stride == 1
        self.skip = nn.Identity() if is_same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, X):
        return torch.relu(self.body(X) + self.skip(X))


def residual_network(width=16):
    """A small residual network of images of 28 x 28."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        Block(width, width),
        Block(width, 2 * width, 2),
        Block(2 * width, 2 * width),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(2 * width, 10),
    )


def fashion():
    folder = Path(os.environ.get("METRICALIGN_DATA", "data"))
    archive = np.load(folder / "fashion_mnist_20k.npz")
    rows = np.random.default_rng(0).permutation(len(archive["X"]))
    X = archive["X"][rows].reshape(-1, 1, 28, 28).astype(np.float32) / 255
    y = archive["Y"][rows].ravel().astype(int)
    test = slice(N_FASHION, N_FASHION + N_EXPLAINED)
    return X[:N_FASHION], y[:N_FASHION], X[test]


def trained_network(X, y, n_epochs=6, width=16, seed=0):
    torch.manual_seed(seed)
    model = residual_network(width)
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    seconds = train(model, X, lambda rows: cross_entropy(model(X[rows]), y[rows]), n_epochs)
    return model, seconds


# Attribution


def on_grid(values):
    """Maps on the 7 x 7 grid of the layer."""
    values = torch.as_tensor(values, dtype=torch.float32).detach()
    values = values[:, None] if values.ndim == 3 else values
    factor = values.shape[2] // 7
    return nn.functional.avg_pool2d(values, factor).flatten(1)


def curves(model, X, classes, values, background):
    """Area under the probability of the class as cells are deleted, and as they are inserted."""
    ranks = torch.from_numpy(rankdata(-values.numpy(), method="ordinal", axis=1))
    rows = torch.arange(len(X))
    areas = {"deletion": [], "insertion": []}
    with torch.no_grad():
        for n_cells in range(0, 50, 7):
            is_first = (ranks <= n_cells).float().reshape(-1, 1, 7, 7)
            first = interpolate(is_first, scale_factor=4)
            for name, kept in (("deletion", 1 - first), ("insertion", first)):
                mixed = kept * X + (1 - kept) * background
                areas[name].append(model(mixed).softmax(dim=1)[rows, classes].mean().item())
    return {name: np.trapezoid(points, dx=1 / 7) for name, points in areas.items()}


def attribution(seeds):
    from captum.attr import IntegratedGradients, LayerGradCam, Saliency

    X, y, X_test = fashion()
    tensor = torch.as_tensor(X_test)
    background = torch.as_tensor(X).mean(dim=0)
    print("\n| method | deletion (low is good) | insertion (high is good) |\n| --- | --- | --- |")
    found = {}
    for seed in seeds:
        model, _ = trained_network(X, y, seed=seed)
        with torch.no_grad():
            classes = model(tensor).argmax(dim=1)
        of_first, maps = (
            InformationExplainer(model, layer=layer, representation="4", random_state=seed)
            .fit(X)
            .explain(X_test)
            for layer in ("0", "2")
        )
        integrated = IntegratedGradients(model).attribute(
            tensor, background.expand_as(tensor), target=classes, method="riemann_middle"
        )
        rng = np.random.default_rng(seed)
        methods = {
            "random": rng.uniform(size=(len(X_test), 7, 7)),
            "gradient": Saliency(model).attribute(tensor, target=classes),
            "integrated gradients": integrated,
            "their sizes": on_grid(integrated).abs().reshape(-1, 7, 7),
            "Grad-CAM": LayerGradCam(model, model[2]).attribute(
                tensor, target=classes, relu_attributions=True
            ),
            "total": maps.total,
            "redundant": maps.redundant,
            "decision": maps.decision,
            "passed": maps.passed,
            "decision, first layer": of_first.decision,
            "passed, first layer": of_first.passed,
        }
        for name, values in methods.items():
            areas = curves(model, tensor, classes, on_grid(values), background)
            found.setdefault(name, []).append(list(areas.values()))
    for name, areas in found.items():
        mean, spread = np.mean(areas, axis=0), np.std(areas, axis=0)
        print(f"| {name} | {mean[0]:.3f} ({spread[0]:.3f}) | {mean[1]:.3f} ({spread[1]:.3f}) |")


# Sanity


def agreement(first, second):
    """Mean over images of the rank correlation of two maps that are not constant."""
    pairs = zip(first, second, strict=True)
    found = [spearmanr(a.ravel(), b.ravel())[0] for a, b in pairs if np.ptp(a) and np.ptp(b)]
    return np.mean(found) if found else np.nan


def agreements(first, second):
    """Agreement of each map, and that of what is left without the mean map of all images.

    That mean is much the same for all networks: garments stand in the middle.
    """
    cells = []
    for part in (*PARTS, "passed"):
        maps = [getattr(one, part) for one in (first, second)]
        centred = [one - one.mean(axis=0) for one in maps]
        cells.append(f"{part} {agreement(*maps):.2f} ({agreement(*centred):.2f})")
    return ", ".join(cells)


def sanity(seeds):
    print("\nagreement of maps, and without the mean map of all images in brackets")
    X, y, X_test = fashion()
    model, _ = trained_network(X, y)
    for layer in ("0", "2"):
        options = {"layer": layer, "representation": "4"}
        maps = [
            InformationExplainer(model, **options, random_state=seed).fit(X).explain(X_test)
            for seed in range(2)
        ]
        print(
            f"layer {layer}: two seeds: {agreements(*maps)}; decision kept "
            f"{maps[0].decision_kept:.2f}, at the ceiling {maps[0].is_at_ceiling.mean():.1%}",
            flush=True,
        )
    brightness = on_grid(np.abs(X_test - X.mean(axis=0))).numpy().reshape(-1, 7, 7)
    centred = [values - values.mean(axis=0) for values in (maps[0].decision, brightness)]
    print(
        "decision and how far pixels are from the mean image: "
        f"{agreement(maps[0].decision, brightness):.2f} ({agreement(*centred):.2f})"
    )
    # From the top down: the classifier, then the blocks.
    torch.manual_seed(1)
    for name in ("5", "3", "2", "1", "0"):
        for module in model.get_submodule(name).modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        random = InformationExplainer(model, **options, random_state=0).fit(X).explain(X_test)
        print(f"random weights down to {name}: {agreements(maps[0], random)}", flush=True)
    permuted = np.random.default_rng(0).permutation(y)
    model, _ = trained_network(X, permuted)
    explainer = InformationExplainer(model, **options, random_state=0).fit(X[:3000], y[:3000])
    of_permuted = explainer.explain(X_test)
    print(
        f"permuted labels: decision {of_permuted.decision.mean():.4f} nats a location, "
        f"of the true labels {maps[0].decision.mean():.4f}; total {of_permuted.total.mean():.3f} "
        f"and {maps[0].total.mean():.3f}"
    )


def transformer(seeds):
    point(PatchTransformer, seeds, 30)
    X, y, X_test = fashion()
    torch.manual_seed(0)
    model = PatchTransformer(28, 10)
    samples, classes = torch.as_tensor(X), torch.as_tensor(y)
    train(model, X, lambda rows: cross_entropy(model(samples[rows]), classes[rows]), 6)
    options = {"layer": "local", "representation": "embedding"}
    maps = [
        InformationExplainer(model, **options, random_state=seed).fit(X).explain(X_test)
        for seed in range(2)
    ]
    print(f"fashion, two seeds: {agreements(*maps)}", flush=True)


def samples(seeds):
    point(PatchNetwork, seeds, 15, (250, 500, 1000))
    X, y, X_test = fashion()
    model, _ = trained_network(X, y)
    print("\nfashion, layer 2, agreement with another seed that is given all")
    everything = None
    for seed, n_samples in ((0, len(X)), (1, len(X)), (1, 1500), (1, 500)):
        explainer = InformationExplainer(model, layer="2", representation="4", random_state=seed)
        maps = explainer.fit(X[:n_samples]).explain(X_test)
        everything = everything or maps
        print(
            f"{n_samples} samples: total {maps.total.mean():.2f}, decision "
            f"{maps.decision.mean():.2f}, bound {maps.lower_bound.mean():.2f}; "
            f"{agreements(everything, maps)}",
            flush=True,
        )


# Cost


class Counted(nn.Module):
    """Counts the samples that pass, in all its copies."""

    n_samples = 0

    def forward(self, X):
        Counted.n_samples += len(X)
        return X


def timed(function, *arguments):
    """Seconds of the processor, and samples that the network has seen."""
    before, start = Counted.n_samples, process_time()
    function(*arguments)
    return process_time() - start, Counted.n_samples - before


def cost(seeds):
    """Seconds of the explainer over those of the network, one beside the other."""
    X, y, X_test = fashion()
    tensor = torch.as_tensor(X_test)

    @torch.no_grad()
    def forward(model):
        for rows in tensor.split(128):
            model(rows)

    for width in (16, 32, 64):
        fits, explanations = [], []
        for seed in seeds:
            network, epoch = trained_network(X, y, n_epochs=1, width=width, seed=seed)
            model = nn.Sequential(Counted(), network)
            explainer = InformationExplainer(
                model, layer="1.2", representation="1.4", random_state=seed
            )
            seconds, n_seen = timed(explainer.fit, X)
            fits.append((seconds / epoch, n_seen / len(X)))
            forward(model)
            for _ in range(5):
                seconds, n_seen = timed(explainer.explain, X_test)
                explanations.append((seconds / timed(forward, model)[0], n_seen / len(X_test)))
        fit, explain = np.median(fits, axis=0), np.median(explanations, axis=0)
        print(
            f"width {width}: fit {fit[0]:.1f} epochs of the network, {fit[1]:.2f} passes of the "
            f"images; explain {explain[0]:.1f} forward passes, {explain[1]:.2f} of the images",
            flush=True,
        )


def main():
    parts = (estimators, given_density, known, transformer, samples, attribution, sanity, cost)
    names = [part.__name__ for part in parts]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    for part in parts:
        if part.__name__ in arguments.parts:
            part(seeds)


if __name__ == "__main__":
    main()
