"""Newton steps where C is large, over the cones: multiples of C="scale".

Standardised features and the default pairs, to the default tolerance, where the share of the metric
itself in the objective has to be told as well. Steps, operator passes and CPU seconds of a fit; the
last column is the largest relative gap of its row.

    python benchmarks/speed/large_weights.py [--data wine digits] [--methods PSDSVR]

Data: half of scikit-learn's wine (13 features), breast_cancer (30), digits (64 pixels), and 2,000
generated samples of 30 features in 4 classes.
"""

import argparse
import warnings

from scaling import print_row, timed
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import NCML, PCML, PSDSVR, RAMLNCSVR

METHODS = {method.__name__: method for method in (PSDSVR, PCML, RAMLNCSVR, NCML)}


def half_of_wine():
    """So few pairs that a metric can fit all of them."""
    X, y = load_wine(return_X_y=True)
    return X[::2], y[::2]


DATA = {
    "wine": half_of_wine,
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "generated": lambda: make_classification(
        2000, n_features=30, n_informative=8, n_classes=4, random_state=0
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = ["wine", "breast_cancer", "generated"]
    parser.add_argument("--data", nargs="+", choices=DATA, default=data)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--ratios", type=float, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--max-iter", type=int, default=500)
    options = parser.parse_args()
    print_row(["data", "method", *(f"{ratio:,g}" for ratio in options.ratios), "gap"])
    print_row(["---"] * (3 + len(options.ratios)))
    for name in options.data:
        X, y = DATA[name]()
        X = StandardScaler().fit_transform(X)
        for method in options.methods:
            scale = METHODS[method]().fit(X, y).C_
            cells, gaps = [], []
            for ratio in options.ratios:
                learner = METHODS[method](C=ratio * scale, max_iter=options.max_iter)
                _, seconds = timed(learner.fit, X, y)
                steps = learner.n_iter_ if learner.converged_ else f"over {learner.n_iter_}"
                cells.append(f"{steps} / {learner.n_passes_ / 2:.0f} / {seconds:.1f} s")
                gaps.append(learner.dual_gap_)
            print_row([name, method, *cells, f"{max(gaps):.0e}"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        main()
