"""Are networks the best where rows are many? HRAML at its defaults, and the best trees.

For each data set one split, by groups where there are any: at most 8,000 samples, and 70 % of all,
to train on and 10,000 to test; 80 % of all where --n-samples is more than that. With --few 300 and
2,000, and three splits of sets with fewer than 250 rows. Every method sees the table as it is, and
whatever it stops or chooses by is a part of its training data.
The error is the share of wrong classes, or the root mean squared error over the standard deviation
of the training targets; of label sets 1 - average precision, of distributions Chebyshev's distance.
Methods:

HRAML                 at its defaults; the vote of all training samples with weights
                      exp(-distance), which is what the network is trained for
HRAML, alignment      the network and the loss of the paper, 5 nearest neighbours
HRAML, front door     MetricNeighborsClassifier or MetricNeighborsRegressor with that metric
MetricNeighbors       the same at its defaults, with the metric of MetricEnsemble
HistGradientBoosting, ExtraTrees
                      scikit-learn's, 500 extremely randomised trees
MetricEnsemble        the linear ensemble, 5 nearest neighbours with weights 1 / distance
RealMLP               a network, RealMLP-TD of pytabkit at its defaults
TabR                  retrieval by a network, TabR-S-D of pytabkit at its defaults

    METRICALIGN_DATA=folder python benchmarks/quality/deep.py [--sets letter kin8nm]
        [--methods HRAML ExtraTrees] [--n-samples 8000] [--finished]
    METRICALIGN_DATA=folder python benchmarks/quality/deep.py --few [--kinds continuous]

The second is of all development sets, HRAML and the linear ensemble, with 300 samples to train on.

RealMLP and TabR need an environment of their own, and hours. A fifth of their training samples is
for validation, and missing values are imputed:

    python -m venv peers
    peers/bin/pip install ".[deep]" "pytabkit[models]" faiss-cpu
    METRICALIGN_DATA=folder peers/bin/python benchmarks/quality/deep.py --methods RealMLP TabR

Finished cells are kept in benchmarks/results/deep.json and not computed again. With --finished no
other cell is computed, and the ratio is over the best of what there is of each set.
"""

import argparse
import json
import os
import sys
import warnings
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from compare import FLOOR, KINDS
from neighbors import sets_of
from scipy import stats
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, gen_batches

from metricalign.datasets import fetch_dataset
from metricalign.deep import HRAML
from metricalign.learners import MetricEnsemble
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

RESULTS = Path(__file__).parents[1] / "results" / "deep.json"
CLASSES = ("letter", "satimage", "pendigits", "shuttle", "fashion_mnist_20k")
NUMBERS = (
    "california_housing",
    "kin8nm",
    "power_plant",
    "protein",
    "abalone",
    "wine_quality_white",
    "parkinsons_total_updrs",
)
PEERS = {"RealMLP": "RealMLP_TD", "TabR": "TabR_S_D"}
METHODS = (
    "HRAML",
    "HRAML, alignment",
    "HRAML, front door",
    "MetricNeighbors",
    "HistGradientBoosting",
    "ExtraTrees",
    "MetricEnsemble",
    *PEERS,
)
# What HRAML is compared with: no learner of metrics, but the linear ensemble.
OTHERS = METHODS[4:]
RELATIONS = {"single_label": "class", "continuous": "absolute_difference"}
DEFAULT_METHODS = ("HRAML", "HistGradientBoosting", "ExtraTrees")
FEW_METHODS = ("HRAML", "MetricEnsemble")
# Samples to train on and to test; with few of them, and how often sets of few rows are split then.
N_TRAIN, N_TEST = 8000, 10_000
N_FEW, N_FEW_TEST, N_DRAWS, FEWEST_ROWS = 300, 2000, 3, 250


def split_of(data, n_train, n_test, draw):
    """Rows to train on and to test."""
    n_rows = len(data.data)
    groups = data.get("groups")
    if groups is not None:
        splitter = GroupShuffleSplit(1, test_size=0.3, random_state=draw)
        train, test = next(splitter.split(data.data, groups=groups))
        if len(train) > n_train:
            train = np.random.RandomState(draw).permutation(train)[:n_train]
        return train, test[:n_test]
    n_train = min(n_train, int((0.7 if n_train <= N_TRAIN else 0.8) * n_rows))
    n_test = min(n_test, n_rows - n_train)
    splitter = ShuffleSplit(1, train_size=n_train, test_size=n_test, random_state=draw)
    return next(splitter.split(data.data))


def soft_vote(images, targets, new):
    """Mean target of all samples, with weights exp(-distance)."""
    images, targets = torch.from_numpy(images).float(), torch.from_numpy(targets).float()
    new = torch.from_numpy(new).float()
    parts = [
        torch.cdist(new[rows], images).neg().softmax(dim=1) @ targets
        for rows in gen_batches(len(new), 512)
    ]
    return torch.cat(parts).numpy()


def predictions(method, X, y, X_test, kind):
    """Predicted targets, votes for each class or label, and the seconds of the fit."""
    is_class = kind == "single_label"
    start = perf_counter()
    if method == "HRAML":
        learner = HRAML(relation=RELATIONS.get(kind, "auto"), random_state=0).fit(X, y)
        seconds = perf_counter() - start
        classes, codes = np.unique(y, return_inverse=True) if is_class else (None, None)
        targets = np.eye(len(classes))[codes] if is_class else y.reshape(len(y), -1)
        votes = soft_vote(learner.transform(X), targets, learner.transform(X_test))
        return classes[votes.argmax(axis=1)] if is_class else votes, seconds
    model = model_of(method, kind).fit(X, y)
    return model.predict(X_test), perf_counter() - start


def model_of(method, kind):
    is_class, relation = kind == "single_label", RELATIONS.get(kind, "auto")
    if method == "HRAML, alignment":
        paper = HRAML(
            (100, 100),
            32,
            embedding=None,
            n_blocks=0,
            n_ensemble=1,
            loss="alignment",
            relation=relation,
            learning_rate=1e-3,
            batch_size=64,
            max_iter=200,
            random_state=0,
        )
        neighbors = KNeighborsClassifier() if is_class else KNeighborsRegressor()
        return make_pipeline(SimpleImputer(), StandardScaler(), paper, neighbors)
    if method in ("HRAML, front door", "MetricNeighbors"):
        metric = HRAML(random_state=0) if "HRAML" in method else "ensemble"
        predictor = MetricNeighborsClassifier if is_class else MetricNeighborsRegressor
        return predictor(metric, random_state=0)
    if method in PEERS:
        import pytabkit

        peer = getattr(pytabkit, f"{PEERS[method]}_{'Classifier' if is_class else 'Regressor'}")
        return make_pipeline(SimpleImputer(), peer(device="cpu", n_threads=1, random_state=0))
    if method == "HistGradientBoosting":
        if is_class:
            return HistGradientBoostingClassifier(random_state=0)
        return HistGradientBoostingRegressor(random_state=0)
    if method == "MetricEnsemble":
        neighbors = KNeighborsClassifier if is_class else KNeighborsRegressor
        ensemble = MetricEnsemble(relation=relation, random_state=0)
        return make_pipeline(SimpleImputer(), ensemble, neighbors(weights="distance"))
    trees = ExtraTreesClassifier if is_class else ExtraTreesRegressor
    return make_pipeline(SimpleImputer(), trees(500, random_state=0))


def error_of(kind, predicted, y, y_train):
    """Error of the predicted targets."""
    if kind == "single_label":
        return np.mean(predicted != y)
    if kind == "multi_label":
        return 1 - label_ranking_average_precision_score(y, predicted)
    predicted, y = predicted.reshape(len(y), -1), y.reshape(len(y), -1)
    if kind == "label_distribution":
        return np.abs(predicted - y).max(axis=1).mean()
    variances = y_train.reshape(len(y_train), -1).var(axis=0)
    return np.sqrt(np.mean((predicted - y) ** 2 / variances))


def cell(name, method, n_train, n_test, n_draws):
    """Mean error and seconds."""
    data = fetch_dataset(name)
    kind = data.task
    if kind == "multi_label":
        # Without a label there is no precision.
        rows = data.target.any(axis=1)
        data = Bunch(data=data.data[rows], target=data.target[rows])
    X, y = np.asarray(data.data, dtype=float), data.target
    found = []
    for draw in range(n_draws if len(X) < FEWEST_ROWS else 1):
        train, test = split_of(data, n_train, n_test, draw)
        predicted, seconds = predictions(method, X[train], y[train], X[test], kind)
        found.append((float(error_of(kind, predicted, y[test], y[train])), seconds))
    return np.mean(found, axis=0).tolist()


def print_table(cells, names, methods):
    """Print the errors; return those of HRAML over the least of the methods of others.

    Cells that are not there are left blank.
    """
    print(f"\n| set | {' | '.join(methods)} | fit, seconds |")
    print("| --- " * (len(methods) + 2) + "|")
    ratios = []
    for name in names:
        row = {method: cells[name, method] for method in methods if (name, method) in cells}
        best = min(error for error, _ in row.values())
        texts = {m: f"**{e:.3f}**" if e <= best else f"{e:.3f}" for m, (e, _) in row.items()}
        seconds = {m: f"{s:.0f}" for m, (_, s) in row.items()}
        errors = " | ".join(texts.get(method, "") for method in methods)
        print(f"| {name} | {errors} | {', '.join(seconds.get(m, '-') for m in methods)} |")
        others = [error for method, (error, _) in row.items() if method in OTHERS]
        if "HRAML" in row and others:
            ratios.append((row["HRAML"][0] + FLOOR) / (min(others) + FLOOR))
    if ratios:
        print(f"\nHRAML over the best of the others, geometric mean: {stats.gmean(ratios):.3f}")
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*CLASSES, *NUMBERS]
    parser.add_argument("--sets", nargs="+", metavar="SET")
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--n-samples", type=int)
    parser.add_argument("--finished", action="store_true", help="compute nothing")
    parser.add_argument("--few", action="store_true", help="all sets, 300 samples to train on")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of --few")
    arguments = parser.parse_args()
    folder = os.environ.get("METRICALIGN_DATA")
    if not folder:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    groups = {"": names}
    size = (arguments.n_samples or N_TRAIN, N_TEST, 1)
    methods = arguments.methods or DEFAULT_METHODS
    if arguments.few:
        groups = {kind: sets_of(kind, folder) for kind in arguments.kinds}
        size = (arguments.n_samples or N_FEW, N_FEW_TEST, N_DRAWS)
        methods = arguments.methods or FEW_METHODS
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    cells, ratios = {}, []
    for kind, group in groups.items():
        chosen = [name for name in group if arguments.sets is None or name in arguments.sets]
        for name, method in product(chosen, methods):
            key = f"{name}, {size[0]} samples: {method}"
            if key not in results:
                if arguments.finished:
                    continue
                results[key] = cell(name, method, *size)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(key, *results[key], file=sys.stderr, flush=True)
            cells[name, method] = results[key]
        chosen = [name for name in chosen if any((name, method) in cells for method in methods)]
        if chosen:
            print(kind)
            ratios += print_table(cells, chosen, methods)
    if len(groups) > 1 and ratios:
        print(f"\n{len(ratios)} sets, geometric mean: {stats.gmean(ratios):.3f}")


if __name__ == "__main__":
    main()
