"""Fit time, memory and accuracy of metric learners for classes, all in one run.

Every fit has a process of its own, one thread, and a limit of time; the methods take turns, and the
ratio of a method is the median over the repeats of its CPU time over that of PSDSVR, the default of
the command line. Accuracy is of 3 nearest neighbours on the half that was not fitted, the mean over
the repeats.

    python benchmarks/speed/peers.py [--data digits synth5000] [--methods PSDSVR NCA LMNN]
        [--max-samples 2000] [--repeats 3] [--limit 600]

digits comes with scikit-learn and synth5000 is generated; letter, satimage and mnist_t10k (reduced
to its 100 leading components) are downloaded, or read from the folder METRICALIGN_DATA.
"""

import argparse
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import (
    PSDSVR,
    DiscriminantAlignment,
    IteratedMetricLearner,
    NeighborhoodAlignment,
)
from metricalign.datasets import fetch_dataset

sys.path.append(str(Path(__file__).parents[1] / "quality"))
from compare import metric_learn
from known import PROBLEMS
from processes import in_own_process

DATA = ("digits", "synth5000", "letter", "satimage", "mnist_t10k")
METHODS = {
    "Euclid": FunctionTransformer,
    "PSDSVR": PSDSVR,
    "IteratedMetricLearner": IteratedMetricLearner,
    "DiscriminantAlignment": DiscriminantAlignment,
    "NeighborhoodAlignment": NeighborhoodAlignment,
    "NCA": NeighborhoodComponentsAnalysis,
    "metric-learn LMNN": lambda: metric_learn().LMNN(),
    "metric-learn NCA": lambda: metric_learn().NCA(),
    "metric-learn ITML": lambda: metric_learn().ITML_Supervised(),
}


def samples(name, max_samples):
    """Standardised halves of a data set, of at most so many samples together."""
    if name in PROBLEMS:
        X, y = PROBLEMS[name]()
    else:
        dataset = fetch_dataset(name)
        X, y = dataset.data, dataset.target
    if len(X) > max_samples:
        X, _, y, _ = train_test_split(X, y, train_size=max_samples, stratify=y, random_state=0)
    halves = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    scaling = [StandardScaler()]
    if X.shape[1] > 150:
        scaling.append(PCA(100, random_state=0))
    scaling = make_pipeline(*scaling).fit(halves[0])
    return scaling.transform(halves[0]), scaling.transform(halves[1]), *halves[2:]


def measure(method, X, X_test, y, y_test):
    """In a process of its own: CPU seconds of a fit, MB that it adds, accuracy, passes."""
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        # Imports and compilation are not part of a fit; PSDSVR's uses every kernel.
        for warm_up in ("PSDSVR", method):
            METHODS[warm_up]().fit(*make_classification(60, random_state=0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        learner = METHODS[method]().fit(X, y)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        neighbors = KNeighborsClassifier(3).fit(learner.transform(X), y)
        accuracy = neighbors.score(learner.transform(X_test), y_test)
    return seconds, (peak - before) / 1024, accuracy, getattr(learner, "n_passes_", None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--max-samples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="seconds for one fit")
    options = parser.parse_args()
    methods = ["PSDSVR", *(method for method in options.methods if method != "PSDSVR")]
    print("| data | samples | method | CPU seconds | over PSDSVR | accuracy | MB | passes |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.data:
        data = samples(name, options.max_samples)
        results = {method: [] for method in methods}
        for _ in range(options.repeats):
            for method in methods:
                # What ran out of time once is not tried again.
                if None not in results[method]:
                    results[method].append(
                        in_own_process(measure, method, *data, limit=options.limit)
                    )
        ours = [result[0] for result in results["PSDSVR"]]
        for method in methods:
            place = f"| {name} | {len(data[0])} x {data[0].shape[1]} | {method} "
            if None in results[method]:
                ratio = options.limit / np.median(ours)
                print(f"{place}| over {options.limit:.0f} | over {ratio:.0f} | | | |", flush=True)
                continue
            _, memory, _, passes = results[method][0]
            seconds = np.median([result[0] for result in results[method]])
            accuracy = np.mean([result[2] for result in results[method]])
            pairs = zip(results[method], ours, strict=True)
            ratio = np.median([result[0] / our for result, our in pairs])
            counted = "" if passes is None else f"{passes:.0f}"
            cells = [f"{seconds:.2g}", f"{ratio:.3g}", f"{accuracy:.3f}", f"{memory:.0f}", counted]
            print(f"{place}| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
