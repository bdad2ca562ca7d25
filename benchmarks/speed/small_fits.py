"""Time of a fit of the predictors to few rows, over that of HistGradientBoosting.

CPU seconds in one thread. In each repetition the predictor without trees, the predictor with trees
and scikit-learn's boosting take turns in one process, so that other work on the machine slows all
of them; a cell is a median, and a ratio the median of those of the repetitions.

    METRICALIGN_DATA=folder python benchmarks/speed/small_fits.py [--kind continuous] [--rows 300]
        [--repeats 5] [--sets concrete yacht]
"""

import argparse
import warnings

import numpy as np
from scaling import print_row, timed
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from metricalign.datasets import fetch_dataset, list_datasets
from metricalign.predictors import MetricNeighborsClassifier, MetricNeighborsRegressor

CLASSES = {
    "single_label": (HistGradientBoostingClassifier, MetricNeighborsClassifier),
    "continuous": (HistGradientBoostingRegressor, MetricNeighborsRegressor),
}


def seconds_of(kind, name, n_rows, n_repeats):
    """CPU seconds of boosting and of both predictors, of shape (n_repeats, 3)."""
    dataset = fetch_dataset(name)
    rows = np.random.default_rng(0).permutation(len(dataset.data))[:n_rows]
    X, y = dataset.data[rows], dataset.target[rows]
    boosting, neighbors = CLASSES[kind]
    models = [
        boosting(random_state=0),
        neighbors(trees=False, random_state=0),
        neighbors(random_state=0),
    ]
    # The first of all fits loads code, and is not counted.
    fits = [[timed(model.fit, X, y)[1] for model in models] for _ in range(n_repeats + 1)]
    return np.array(fits[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=CLASSES, default="continuous")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    titles = ["set", "rows x columns", "boosting, s", "without trees, s", "with trees, s"]
    print_row([*titles, "without / boosting", "with / boosting"])
    print_row(["---"] * 7)
    ratios = []
    for name in options.sets or list_datasets(options.kind):
        with threadpool_limits(1):
            seconds = seconds_of(options.kind, name, options.rows, options.repeats)
        ratios.append(np.median(seconds[:, 1:] / seconds[:, :1], axis=0))
        n_rows, n_columns = fetch_dataset(name).data.shape
        cells = [f"{number:.3f}" for number in np.median(seconds, axis=0)]
        shape = f"{min(n_rows, options.rows)} x {n_columns}"
        print_row([name, shape, *cells, *(f"{ratio:.2f}" for ratio in ratios[-1])])
    means = np.exp(np.log(ratios).mean(axis=0))
    print_row(["geometric mean", *[""] * 4, *(f"{mean:.2f}" for mean in means)])


if __name__ == "__main__":
    main()
