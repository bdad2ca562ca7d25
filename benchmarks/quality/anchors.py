"""What it costs the neighbours that pairs are made for some of the samples only.

PSDSVR at its defaults, on nine tenths of a large data set, with pairs of so many anchors or of all
samples, or with anchors and neighbours from so many candidates only: error of the five nearest
neighbours on the rest (share of wrong classes, or root mean squared error over the standard
deviation), and CPU seconds of the fit, in one thread.

    METRICALIGN_DATA=folder python benchmarks/quality/anchors.py [--sets letter protein]
        [--anchors 2500 5000 10000 20000 | --candidates 5000 10000 20000]
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import PSDSVR
from metricalign.datasets import fetch_dataset
from metricalign.pairs import NearestClassPairs, NearestPairs

SETS = ("letter", "shuttle", "pendigits", "fashion_mnist_20k", "protein", "california_housing")


def measure(name, limits, n_splits):
    """Error on held-out samples, its standard deviation over splits, and CPU seconds of a fit."""
    warnings.simplefilter("ignore")
    dataset = fetch_dataset(name)
    X, y = dataset.data, dataset.target
    is_class = dataset.task == "single_label"
    splitter = (StratifiedShuffleSplit if is_class else ShuffleSplit)(
        n_splits, test_size=0.1, random_state=0
    )
    neighbors = KNeighborsClassifier() if is_class else KNeighborsRegressor()
    strategy = NearestClassPairs if is_class else NearestPairs
    errors, seconds = [], []
    for train, test in splitter.split(X, y):
        scaler = StandardScaler().fit(X[train])
        start = time.process_time()
        # With the numbers of neighbours that "auto" has.
        learner = PSDSVR(pairs=strategy(**limits))
        learner.fit(scaler.transform(X[train]), y[train])
        seconds.append(time.process_time() - start)
        images = (learner.transform(scaler.transform(X[part])) for part in (train, test))
        predicted = neighbors.fit(next(images), y[train]).predict(next(images))
        if is_class:
            errors.append(np.mean(predicted != y[test]))
        else:
            errors.append(np.sqrt(np.mean((predicted - y[test]) ** 2)) / y[train].std())
    return np.mean(errors), np.mean(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--anchors", nargs="+", type=int, default=[2500, 5000, 10_000, 20_000])
    parser.add_argument("--candidates", nargs="+", type=int, help="in place of the anchors")
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args()
    limit = "max_candidates" if options.candidates else "max_anchors"
    numbers = options.candidates or options.anchors
    print("| data | " + " | ".join(map(str, numbers)) + " | all |")
    print("| --- " * (len(numbers) + 2) + "|")
    with threadpool_limits(1):
        for name in options.sets:
            cells = [measure(name, {limit: n}, options.splits) for n in (*numbers, None)]
            row = (f"{error:.4f} ({seconds:.1f} s)" for error, seconds in cells)
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
