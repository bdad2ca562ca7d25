"""Time of a fit of the predictors and of their predictions, by samples and features.

The samples of benchmarks/speed/defaults.py, float32. CPU seconds in one thread and what the largest
resident set is above that before the fit; each row is a process of its own. "discriminant" is
`MetricNeighborsClassifier(DiscriminantAlignment(), trees=False)`, where the search of neighbours is
nearly all there is; "ensemble" is `MetricNeighborsClassifier(trees=False)`, "default" has trees.
With --searches faiss the neighbours are searched approximately (`pip install "metricalign[ann]"`),
and the recall is that which fit has measured.

    python benchmarks/speed/predictions.py [--sizes 100000x20 1000000x50] [--predicted 10000]
        [--models discriminant default] [--searches exact faiss]
"""

import argparse
import warnings
from itertools import product

from defaults import generated, resident
from processes import in_own_process
from scaling import print_row, timed
from threadpoolctl import threadpool_limits

from metricalign import DiscriminantAlignment, MetricNeighborsClassifier
from metricalign.neighbors import FaissTransformer

MODELS = {
    "discriminant": MetricNeighborsClassifier(
        DiscriminantAlignment(random_state=0), trees=False, random_state=0
    ),
    "ensemble": MetricNeighborsClassifier(trees=False, random_state=0),
    "default": MetricNeighborsClassifier(random_state=0),
}
# Cells in the 16 leading axes, of which 24 are searched by codes of 4 bits for each axis. Of the
# 800 nearest by these, the images decide.
SEARCHES = {
    "exact": None,
    "faiss": FaissTransformer(
        index="PCA16,IVF1024,PQ16x4fs,RFlat", index_parameters="nprobe=24,k_factor_rf=8"
    ),
}


def measure(name, search, n_samples, n_features, n_predicted):
    """In a process of its own: seconds of fit and predictions, recall, accuracy and GB."""
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        X, y = generated(n_samples + n_predicted, n_features)
        model = MODELS[name]
        model.fit(X[:1000], y[:1000]).predict(X[:10])
        model.set_params(neighbors=SEARCHES[search])
        before = resident()
        _, fit = timed(model.fit, X[:n_samples], y[:n_samples])
        predicted, seconds = timed(model.predict, X[n_samples:])
    right = (predicted == y[n_samples:]).mean()
    return fit, seconds, model.search_recall_, right, resident() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["100000x20", "1000000x50"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["discriminant", "default"])
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=["exact"])
    parser.add_argument("--predicted", type=int, default=10_000)
    options = parser.parse_args()
    titles = ["samples x features", "model", "search", "fit, s", "predictions a second", "recall"]
    print_row([*titles, "right", "GB"])
    print_row(["---"] * 8)
    for size in options.sizes:
        shape = [int(number) for number in size.split("x")]
        for name, search in product(options.models, options.searches):
            row = in_own_process(measure, name, search, *shape, options.predicted)
            fit, seconds, recall, right, memory = row
            speed = f"{options.predicted / seconds:,.0f}"
            samples = f"{shape[0]:,} x {shape[1]}"
            cells = [f"{fit:.1f}", speed, f"{recall:.3f}", f"{right:.3f}", f"{memory:.2f}"]
            print_row([samples, name, search, *cells])


if __name__ == "__main__":
    main()
