"""Are networks the best where rows are many? HRAML at its defaults, and the best trees.

For each data set one split: at most 8,000 samples to train on and 10,000 to test, by groups where
there are any. Every method sees the table as it is, and whatever it stops or chooses by is a part
of its training data. The error is the share of wrong classes, or the root mean squared error over
the standard deviation of the training targets. Methods:

HRAML                 at its defaults; the vote of all training samples with weights
                      exp(-distance), which is what the network is trained for
HRAML, alignment      the network and the loss of the paper, 5 nearest neighbours
HRAML, front door     MetricNeighborsClassifier or MetricNeighborsRegressor with that metric
HistGradientBoosting, ExtraTrees
                      scikit-learn's, 500 extremely randomised trees

    METRICALIGN_DATA=folder python benchmarks/quality/deep.py [--sets letter kin8nm]
        [--methods HRAML ExtraTrees] [--n-samples 8000]

Finished cells are kept in benchmarks/results/deep.json and not computed again.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from scipy import stats
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from metricalign.datasets import fetch_dataset
from metricalign.deep import HRAML
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
METHODS = ("HRAML", "HRAML, alignment", "HRAML, front door", "HistGradientBoosting", "ExtraTrees")
DEFAULT_METHODS = ("HRAML", "HistGradientBoosting", "ExtraTrees")
N_TEST = 10_000


def split_of(data, n_samples):
    """Rows to train on and to test."""
    n_rows = len(data.data)
    n_train = min(n_samples, int(0.7 * n_rows))
    groups = data.get("groups")
    if groups is not None:
        splitter = GroupShuffleSplit(1, test_size=0.3, random_state=0)
        return next(splitter.split(data.data, groups=groups))
    n_test = min(N_TEST, n_rows - n_train)
    splitter = ShuffleSplit(1, train_size=n_train, test_size=n_test, random_state=0)
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


def predictions(method, X, y, X_test, is_class):
    """Predicted targets and the seconds of the fit."""
    start = perf_counter()
    if method == "HRAML":
        relation = "class" if is_class else "absolute_difference"
        learner = HRAML(relation=relation, random_state=0).fit(X, y)
        seconds = perf_counter() - start
        classes, codes = np.unique(y, return_inverse=True)
        targets = np.eye(len(classes))[codes] if is_class else y[:, None]
        votes = soft_vote(learner.transform(X), targets, learner.transform(X_test))
        return classes[votes.argmax(axis=1)] if is_class else votes[:, 0], seconds
    model = model_of(method, is_class).fit(X, y)
    return model.predict(X_test), perf_counter() - start


def model_of(method, is_class):
    if method == "HRAML, alignment":
        relation = "class" if is_class else "absolute_difference"
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
    if method == "HRAML, front door":
        if is_class:
            return MetricNeighborsClassifier(HRAML(random_state=0))
        return MetricNeighborsRegressor(HRAML(random_state=0))
    if method == "HistGradientBoosting":
        if is_class:
            return HistGradientBoostingClassifier(random_state=0)
        return HistGradientBoostingRegressor(random_state=0)
    trees = ExtraTreesClassifier if is_class else ExtraTreesRegressor
    return make_pipeline(SimpleImputer(), trees(500, random_state=0))


def cell(name, method, n_samples):
    """Error and seconds."""
    data = fetch_dataset(name)
    train, test = split_of(data, n_samples)
    is_class = name in CLASSES
    X, y = np.asarray(data.data, dtype=float), data.target
    predicted, seconds = predictions(method, X[train], y[train], X[test], is_class)
    if is_class:
        return float(np.mean(predicted != y[test])), seconds
    error = np.sqrt(np.mean((predicted - y[test]) ** 2)) / y[train].std()
    return float(error), seconds


def print_table(cells, names, methods):
    print(f"| set | {' | '.join(methods)} | fit, seconds |")
    print("| --- " * (len(methods) + 2) + "|")
    ratios = []
    for name in names:
        row = [cells[name, method] for method in methods]
        best = min(error for error, _ in row)
        texts = [f"**{e:.3f}**" if e <= best else f"{e:.3f}" for e, _ in row]
        print(f"| {name} | {' | '.join(texts)} | {', '.join(f'{s:.0f}' for _, s in row)} |")
        trees = [cells[name, m][0] for m in methods if m in METHODS[3:]]
        if "HRAML" in methods and trees:
            ratios.append(cells[name, "HRAML"][0] / min(trees))
    if ratios:
        print(f"\nHRAML over the best trees, geometric mean: {stats.gmean(ratios):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*CLASSES, *NUMBERS]
    parser.add_argument("--sets", nargs="+", default=names, choices=names, metavar="SET")
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT_METHODS), choices=METHODS)
    parser.add_argument("--n-samples", type=int, default=8000)
    arguments = parser.parse_args()
    if "METRICALIGN_DATA" not in os.environ:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    warnings.simplefilter("ignore", UserWarning)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    cells = {}
    for name in arguments.sets:
        for method in arguments.methods:
            key = f"{name}, {arguments.n_samples} samples: {method}"
            if key not in results:
                results[key] = cell(name, method, arguments.n_samples)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(key, *results[key], file=sys.stderr, flush=True)
            cells[name, method] = results[key]
    print_table(cells, arguments.sets, arguments.methods)


if __name__ == "__main__":
    main()
