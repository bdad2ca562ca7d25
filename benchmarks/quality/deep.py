"""When does a network beat a linear metric?

Error of 5 nearest neighbours by cross-validation, on standardised features: as they are (Euclid),
mapped by linear metrics, and by networks, which stop early on a part of the training data. Four
sets are generated so that a linear map cannot separate the classes: they hide two or three features
among others, which are noise, and mix all by a rotation.

    METRICALIGN_DATA=folder python benchmarks/quality/deep.py [--sets moons letter] [--folds 2]
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from defaults import error_of
from scipy.stats import ortho_group
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, RAMLSVR, NeighborhoodAlignment
from metricalign.deep import HRAML

SETS = {
    "moons": "single label",
    "xor": "single label",
    "parity": "single label",
    "checkerboard": "single label",
    "letter": "single label",
    "satimage": "single label",
    "pendigits": "single label",
    "concrete": "continuous",
    "energy_heating": "continuous",
    "natural_scene": "label distribution",
    "emotions": "multi-label",
}
RELATIONS = {"single label": "class", "continuous": "absolute_difference"}
N_SAMPLES = 2000
N_FEATURES = 10


def learners(relation):
    return {
        "PSDSVR": PSDSVR(relation=relation),
        "RAMLSVR": RAMLSVR(relation=relation),
        "NeighborhoodAlignment": NeighborhoodAlignment(relation=relation, random_state=0),
        "HRAML": HRAML(relation=relation, random_state=0),
        "HRAML, refine=PSDSVR()": HRAML(relation=relation, refine=PSDSVR(), random_state=0),
        "HRAML, approx_ndcg": HRAML(relation=relation, loss="approx_ndcg", random_state=0),
    }


def hidden(features, rng):
    """Put features among standard normal ones, and rotate."""
    noise = rng.normal(size=(len(features), N_FEATURES - features.shape[1]))
    rotation = ortho_group.rvs(N_FEATURES, random_state=0)
    return np.hstack([StandardScaler().fit_transform(features), noise]) @ rotation


def load(folder, name):
    rng = np.random.default_rng(0)
    if name == "moons":
        plane, y = make_moons(N_SAMPLES, noise=0.1, random_state=0)
        return hidden(plane, rng), y
    if name in ("xor", "parity"):
        features = rng.uniform(-1, 1, size=(N_SAMPLES, 2 if name == "xor" else 3))
        return hidden(features, rng), (features.prod(axis=1) > 0).astype(int)
    if name == "checkerboard":
        plane = rng.uniform(0, 4, size=(N_SAMPLES, 2))
        return hidden(plane, rng), np.floor(plane).sum(axis=1).astype(int) % 2
    archive = np.load(folder / f"{name}.npz")
    rows = rng.permutation(len(archive["X"]))[:N_SAMPLES]
    return archive["X"][rows].astype(float), archive["Y"][rows]


def errors_and_seconds(folder, name, n_folds):
    """Mean over the folds, by method."""
    kind = SETS[name]
    X, y = load(folder, name)
    results = {}
    for train, test in KFold(n_folds, shuffle=True, random_state=0).split(X):
        scaler = make_pipeline(SimpleImputer(), StandardScaler()).fit(X[train])
        X_train, X_test = scaler.transform(X[train]), scaler.transform(X[test])
        euclid = error_of(kind, X_train, y[train], X_test, y[test])
        results.setdefault("Euclid", []).append((euclid, 0.0))
        for method, learner in learners(RELATIONS.get(kind, "auto")).items():
            start = time.process_time()
            learner.fit(X_train, y[train])
            seconds = time.process_time() - start
            images = learner.transform(X_train), learner.transform(X_test)
            error = error_of(kind, images[0], y[train], images[1], y[test])
            results.setdefault(method, []).append((error, seconds))
    return {method: np.mean(pairs, axis=0) for method, pairs in results.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--folds", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path(os.environ.get("METRICALIGN_DATA", "data"))
    if not folder.is_dir():
        parser.error(f"set METRICALIGN_DATA to the folder of the data sets; {folder} is none")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for position, name in enumerate(arguments.sets):
        results = errors_and_seconds(folder, name, arguments.folds)
        if position == 0:
            print(f"| set | {' | '.join(results)} | fit, seconds |")
            print("| --- " * (len(results) + 2) + "|")
        best = min(error for error, _ in results.values())
        cells = [f"**{e:.3f}**" if e <= best else f"{e:.3f}" for e, _ in results.values()]
        seconds = ", ".join(f"{s:.1f}" for _, s in list(results.values())[1:])
        print(f"| {name} | {' | '.join(cells)} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
