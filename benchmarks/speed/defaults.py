"""Time and memory of the default fit of every learner and predictor, by samples and features.

Two classes with a curved border in noise, float32; as one label or none for `MLkNN`, and every two
samples as one judged pair for `PairClassifier`. CPU seconds in one thread, over those of
scikit-learn's HistGradientBoostingClassifier on the same samples, and what the largest resident set
of a process is above that before the fit, which has the samples. Every fit is in a process
of its own, after a small one that has loaded and compiled the code.

    python benchmarks/speed/defaults.py [--sizes 20000x20 1000000x50]
        [--learners PSDSVR MetricEnsemble] [--limit 600]
"""

import argparse
import resource
import warnings

import numpy as np
from processes import in_own_process
from scaling import print_row, timed
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from metricalign import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DiscriminantAlignment,
    DoubletSVM,
    GradientAlignment,
    IteratedMetricLearner,
    MetricEnsemble,
    MetricNeighborsClassifier,
    MetricNeighborsRegressor,
    NeighborhoodAlignment,
    PiecewiseLinearEncoder,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.multilabel import MLkNN
from metricalign.pair_classification import PairClassifier

LEARNERS = {
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    "PSDSVR": PSDSVR(),
    "DiscriminantAlignment": DiscriminantAlignment(random_state=0),
    "GradientAlignment": GradientAlignment(random_state=0),
    "NeighborhoodAlignment": NeighborhoodAlignment(random_state=0),
    "MetricEnsemble": MetricEnsemble(random_state=0),
    "MetricNeighborsClassifier": MetricNeighborsClassifier(random_state=0),
    "MetricNeighborsRegressor": MetricNeighborsRegressor(random_state=0),
    **{
        type(learner).__name__: learner
        for learner in (
            RAMLSVR(),
            RAMLKRR(),
            RAMLPCSVR(),
            RAMLNCSVR(),
            DoubletSVM(),
            PCML(),
            NCML(),
            RelationAlignment(),
            RelationAlignmentCV(random_state=0),
            IteratedMetricLearner(),
            PiecewiseLinearEncoder(),
            MLkNN(),
            PairClassifier(),
        )
    },
}


def generated(n_samples, n_features):
    """Two classes that a quadratic form tells apart, but for noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features), dtype=np.float32)
    signal = X[:, 0] ** 2 + X[:, 1] * X[:, 2] + 0.3 * rng.standard_normal(n_samples)
    return X, (signal > 0.8).astype(int)


def given_to(name, X, y):
    """Samples and targets as an estimator takes them."""
    if name == "MLkNN":
        return X, np.column_stack([y, 1 - y])
    if name == "PairClassifier":
        return X.reshape(-1, 2, X.shape[1]), y[::2] == y[1::2]
    return X, y


def resident():
    """Largest resident set so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name, n_samples, n_features):
    """In a process of its own: CPU seconds of a fit, and GB beside the samples."""
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        X, y = generated(n_samples, n_features)
        LEARNERS[name].fit(*given_to(name, X[:1000], y[:1000]))
        X, y = given_to(name, X, y)
        before = resident()
        _, seconds = timed(LEARNERS[name].fit, X, y)
    return seconds, resident() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = ["2000x20", "20000x20", "200000x20", "20000x50", "1000000x50"]
    parser.add_argument("--sizes", nargs="+", default=sizes)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS)[1:])
    parser.add_argument("--limit", type=float, help="wall seconds that a fit may take")
    options = parser.parse_args()
    print_row(["samples x features", "learner", "CPU seconds", "over boosting's", "memory, GB"])
    print_row(["---"] * 5)
    for size in options.sizes:
        shape = [int(number) for number in size.split("x")]
        boosting = 0.0
        for name in ["HistGradientBoosting", *options.learners]:
            samples = f"{shape[0]:,} x {shape[1]}"
            measured = in_own_process(measure, name, *shape, limit=options.limit)
            if measured is None:
                print_row([samples, name, f"over {options.limit:g}", "", ""])
                continue
            seconds, memory = measured
            boosting = boosting or seconds
            ratio = f"{seconds / boosting:.2f}"
            print_row([samples, name, f"{seconds:.1f}", ratio, f"{memory:.2f}"])


if __name__ == "__main__":
    main()
