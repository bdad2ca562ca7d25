"""Time of a fit of the predictors and of their predictions, by samples and features.

The samples of benchmarks/speed/defaults.py, float32. CPU seconds in one thread and what the largest
resident set is above that before the fit; each row is a process of its own. "discriminant" is
`MetricNeighborsClassifier(DiscriminantAlignment(), trees=False)`, where the search of neighbours is
nearly all there is; "default" is `MetricNeighborsClassifier()`.

    python benchmarks/speed/predictions.py [--sizes 100000x20 1000000x50] [--predicted 10000]
        [--models discriminant default]
"""

import argparse
import warnings

from defaults import generated, resident
from processes import in_own_process
from scaling import print_row, timed
from threadpoolctl import threadpool_limits

from metricalign import DiscriminantAlignment, MetricNeighborsClassifier

MODELS = {
    "discriminant": MetricNeighborsClassifier(
        DiscriminantAlignment(random_state=0), trees=False, random_state=0
    ),
    "default": MetricNeighborsClassifier(random_state=0),
}


def measure(name, n_samples, n_features, n_predicted):
    """In a process of its own: seconds of fit and predictions, accuracy and GB."""
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        X, y = generated(n_samples + n_predicted, n_features)
        model = MODELS[name]
        model.fit(X[:1000], y[:1000]).predict(X[:10])
        before = resident()
        _, fit = timed(model.fit, X[:n_samples], y[:n_samples])
        predicted, seconds = timed(model.predict, X[n_samples:])
    return fit, seconds, (predicted == y[n_samples:]).mean(), resident() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["100000x20", "1000000x50"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--predicted", type=int, default=10_000)
    options = parser.parse_args()
    print_row(["samples x features", "model", "fit, s", "predictions a second", "right", "GB"])
    print_row(["---"] * 6)
    for size in options.sizes:
        shape = [int(number) for number in size.split("x")]
        for name in options.models:
            row = in_own_process(measure, name, *shape, options.predicted)
            fit, seconds, right, memory = row
            speed = f"{options.predicted / seconds:,.0f}"
            samples = f"{shape[0]:,} x {shape[1]}"
            print_row([samples, name, f"{fit:.1f}", speed, f"{right:.3f}", f"{memory:.2f}"])


if __name__ == "__main__":
    main()
