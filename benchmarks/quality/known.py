"""Accuracy and time of learned metrics on two known problems.

3 nearest neighbours after StandardScaler, 5 folds in several shuffles, everything at its defaults:
digits, and the generated synth5000, whose classes hide in 20 of 100 features.

    python benchmarks/quality/known.py [--problems digits] [--methods PSDSVR NCA] [--repeats 4]
"""

import argparse
import warnings
from time import process_time

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import (
    PSDSVR,
    RAMLSVR,
    DiscriminantAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    NeighborhoodAlignment,
)

METHODS = {
    "Euclid": FunctionTransformer(),
    "NCA": NeighborhoodComponentsAnalysis(random_state=0),
    "RAMLSVR": RAMLSVR(),
    "PSDSVR": PSDSVR(),
    "PSDSVR(prior=None)": PSDSVR(prior=None),
    "IteratedMetricLearner": IteratedMetricLearner(),
    "DiscriminantAlignment": DiscriminantAlignment(),
    "NeighborhoodAlignment": NeighborhoodAlignment(random_state=0),
    "MetricEnsemble": MetricEnsemble(random_state=0),
}


def digits():
    """Images of handwritten digits."""
    return load_digits(return_X_y=True)


def synth5000():
    """10 classes that hide in 20 of 100 features."""
    options = {"n_informative": 20, "n_redundant": 20, "n_classes": 10, "class_sep": 1.5}
    return make_classification(5000, 100, **options, random_state=0)


PROBLEMS = {"digits": digits, "synth5000": synth5000}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print("| problem | method | accuracy | CPU seconds of a fit |")
    print("| --- | --- | --- | --- |")
    for name in arguments.problems:
        X, y = PROBLEMS[name]()
        folds = [
            fold
            for seed in range(arguments.repeats)
            for fold in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y)
        ]
        for method in arguments.methods:
            accuracies, seconds = [], []
            for train, test in folds:
                scaler = StandardScaler().fit(X[train])
                near, far = scaler.transform(X[train]), scaler.transform(X[test])
                start = process_time()
                with threadpool_limits(1):
                    transformer = METHODS[method].fit(near, y[train])
                seconds.append(process_time() - start)
                neighbors = KNeighborsClassifier(3).fit(transformer.transform(near), y[train])
                accuracies.append(neighbors.score(transformer.transform(far), y[test]))
            print(
                f"| {name} | {method} | {np.mean(accuracies):.3f} | {np.mean(seconds):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
