"""What do networks learn without labels, or with few? Neighbours of their frozen images.

For each data set one split: at most 2,000 samples to train on and 2,000 to test. A share of the
training samples, at least 20, keeps its labels, drawn three times. Their neighbours (5, or 1 where
1 % is labelled) predict the test samples, in one of these spaces:

raw             the features: pixels as they are, columns of tables standardised
PCA             their principal components with 95 % of the variance
views           HRAML(augment=...) of all samples, without labels
labels          HRAML of the labelled samples
views, labels   HRAML(augment=...) of all samples, those without a label as well

The error is the share of wrong classes, or the root mean squared error over the standard deviation
of the test targets. HRAML is at its defaults, but for one network in place of four, and pixels that
are not embedded. Views are of near neighbours, NearNeighbor(); those of images are shifted by a
pixel (of 28 x 28 by two) and have PixelNoise() too.

    METRICALIGN_DATA=folder python benchmarks/quality/views.py [--sets digits letter]
        [--methods views labels] [--shares 0.01]

Finished cells are kept in benchmarks/results/views.json and not computed again.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metricalign.datasets import fetch_dataset
from metricalign.deep import HRAML, NearNeighbor, PixelNoise, RandomShift

RESULTS = Path(__file__).parents[1] / "results" / "views.json"
IMAGES = {"digits": 8, "optdigits": 8, "mnist_t10k": 28, "fashion_mnist_20k": 28}
NUMBERS = ("concrete", "california_housing")
SETS = (*IMAGES, "satimage", "letter", "pendigits", "vowel", *NUMBERS)
METHODS = ("raw", "PCA", "views", "labels", "views, labels")
SHARES = (0.01, 0.1, 1.0)
N_SAMPLES = 2000
# So that most classes have one.
FEWEST_LABELS = 20
N_DRAWS = 3


def split_of(name):
    """Samples and targets to train on and to test."""
    data = fetch_dataset(name)
    X, y = np.asarray(data.data, dtype=float), data.target
    n_train = min(N_SAMPLES, len(X) // 2)
    stratify = None if name in NUMBERS else y
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=n_train, random_state=0, stratify=stratify
    )
    return X, y, X_test[:N_SAMPLES], y_test[:N_SAMPLES]


def labelled(n_samples, share, draw):
    """Which samples keep their labels: those of a smaller share among those of a larger one."""
    n_labels = max(FEWEST_LABELS, round(share * n_samples))
    return np.random.RandomState(draw).permutation(n_samples).argsort() < n_labels


def images_of(name, method, X, y, has_label):
    """What maps samples to where their neighbours are searched."""
    if method in ("raw", "PCA"):
        scaler = FunctionTransformer() if name in IMAGES else StandardScaler()
        steps = [scaler, PCA(0.95)] if method == "PCA" else [scaler]
        return make_pipeline(*steps).fit(X)
    relation = "absolute_difference" if name in NUMBERS else "class"
    learner = HRAML(relation=relation, n_ensemble=1, random_state=0)
    if name in IMAGES:
        learner.set_params(embedding=None)
    if method == "labels":
        return learner.fit(X[has_label], y[has_label])
    if name in IMAGES:
        size = IMAGES[name]
        shift = RandomShift((size, size), size // 10 or 1)
        learner.set_params(augment=[NearNeighbor(), shift, PixelNoise()])
    else:
        learner.set_params(augment=NearNeighbor())
    if method == "views":
        return learner.fit(X)
    if name in NUMBERS:
        return learner.fit(X, np.where(has_label, y, np.nan))
    codes = np.unique(y, return_inverse=True)[1]
    return learner.fit(X, np.where(has_label, codes, -1))


def cell(name, method, shares):
    """Mean error for each share."""
    X, y, X_test, y_test = split_of(name)
    means, space = {}, None
    for share in shares:
        errors = []
        for draw in range(N_DRAWS if share < 1 else 1):
            has_label = labelled(len(X), share, draw)
            if space is None or "labels" in method:
                space = images_of(name, method, X, y, has_label)
            images, images_test = space.transform(X[has_label]), space.transform(X_test)
            predictor = KNeighborsRegressor if name in NUMBERS else KNeighborsClassifier
            neighbors = predictor(1 if share < 0.05 else 5).fit(images, y[has_label])
            errors.append(error_of(name, neighbors.predict(images_test), y_test))
        means[str(share)] = float(np.mean(errors))
    return means


def error_of(name, predicted, y):
    """Share of wrong classes, or root mean squared error over the standard deviation."""
    if name in NUMBERS:
        return np.sqrt(np.mean((predicted - y) ** 2)) / y.std()
    return np.mean(predicted != y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES), choices=SHARES)
    arguments = parser.parse_args()
    if "METRICALIGN_DATA" not in os.environ:
        parser.error("set METRICALIGN_DATA to the folder of the data sets")
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    print(f"| set | labels | {' | '.join(arguments.methods)} |")
    print("| --- " * (len(arguments.methods) + 2) + "|")
    for name in arguments.sets:
        for method in arguments.methods:
            found = results.setdefault(f"{name}: {method}", {})
            missing = [share for share in arguments.shares if str(share) not in found]
            if missing:
                found.update(cell(name, method, missing))
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
                print(name, method, found, file=sys.stderr, flush=True)
        for share in arguments.shares:
            errors = [results[f"{name}: {method}"][str(share)] for method in arguments.methods]
            texts = [f"**{e:.3f}**" if e <= min(errors) else f"{e:.3f}" for e in errors]
            print(f"| {name} | {share:.0%} | {' | '.join(texts)} |")


if __name__ == "__main__":
    main()
