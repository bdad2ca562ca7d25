"""Time of a fit of the predictors and of their predictions, by samples and features.

The samples of benchmarks/speed/defaults.py, float32. CPU seconds in one thread and what the largest
resident set is above that before the fit; each model has a process of its own. "discriminant" is
`MetricNeighborsClassifier(DiscriminantAlignment(), trees=False)`, where the search of neighbours is
nearly all there is; "ensemble" is `MetricNeighborsClassifier(trees=False)`, "default" has trees.
With --searches faiss the neighbours are searched approximately (`pip install "metricalign[ann]"`),
and the recall is measured as in fit.

    python benchmarks/speed/predictions.py [--sizes 100000x20 1000000x50] [--predicted 10000]
        [--models discriminant default] [--searches exact faiss]
"""

import argparse
import warnings

from defaults import generated, resident
from processes import in_own_process
from scaling import print_row, timed
from threadpoolctl import threadpool_limits

from metricalign import DiscriminantAlignment, MetricNeighborsClassifier
from metricalign.neighbors import FaissTransformer
from metricalign.predictors.search import search_among

MODELS = {
    "discriminant": MetricNeighborsClassifier(
        DiscriminantAlignment(random_state=0), trees=False, random_state=0
    ),
    "ensemble": MetricNeighborsClassifier(trees=False, random_state=0),
    "default": MetricNeighborsClassifier(random_state=0),
}
SEARCHES = {
    "exact": None,
    "faiss": FaissTransformer(index="IVF1024,Flat", index_parameters="nprobe=16"),
}


def measure(name, searches, n_samples, n_features, n_predicted):
    """In a process of its own: for each search seconds of fit and predictions, recall, right, GB.

    The fit is made once. An index of faiss is set up after it, and its time added.
    """
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        X, y = generated(n_samples + n_predicted, n_features)
        model = MODELS[name]
        model.fit(X[:1000], y[:1000]).predict(X[:10])
        before, rows = resident(), []
        _, fit = timed(model.fit, X[:n_samples], y[:n_samples])
        for search in searches:
            arguments = model._search.samples, SEARCHES[search], model.n_neighbors, None
            found, setup = timed(search_among, *arguments)
            model._search, recall = found
            predicted, seconds = timed(model.predict, X[n_samples:])
            right = (predicted == y[n_samples:]).mean()
            setup = 0.0 if search == "exact" else setup  # the fit has set it up
            rows.append((fit + setup, seconds, recall, right, resident() - before))
    return rows


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
        for name in options.models:
            rows = in_own_process(measure, name, options.searches, *shape, options.predicted)
            for search, row in zip(options.searches, rows, strict=True):
                fit, seconds, recall, right, memory = row
                speed = f"{options.predicted / seconds:,.0f}"
                samples = f"{shape[0]:,} x {shape[1]}"
                cells = [f"{fit:.1f}", speed, f"{recall:.3f}", f"{right:.3f}", f"{memory:.2f}"]
                print_row([samples, name, search, *cells])


if __name__ == "__main__":
    main()
