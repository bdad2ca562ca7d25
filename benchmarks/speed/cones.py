"""Time of the cone of pair matrices over that of the semidefinite one: default fits by turns.

Medians of the CPU seconds of `RAMLNCSVR` and `NCML` and of their ratios to `PSDSVR(prior=None)`,
whose problem has the same pairs and no prior either. Standardised features, at most 2,000 samples.

    METRICALIGN_DATA=folder python benchmarks/speed/cones.py [--data wine letter] [--repeats 3]
"""

import argparse
import warnings

import numpy as np
from scaling import print_row, timed
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import NCML, PSDSVR, RAMLNCSVR
from metricalign.datasets import fetch_dataset

MOST_SAMPLES = 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = ["wine", "sonar", "satimage", "letter", "vowel", "digits"]
    parser.add_argument("--data", nargs="+", default=data)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print_row(["data", "samples x features", "method", "CPU seconds", "ratio", "steps", "passes"])
    print_row(["---"] * 7)
    for name in options.data:
        dataset = fetch_dataset(name)
        rows = np.random.default_rng(0).permutation(len(dataset.data))[:MOST_SAMPLES]
        X = StandardScaler().fit_transform(dataset.data[rows].astype(np.float64))
        y = dataset.target[rows]
        usual = PSDSVR(prior=None)
        usual.fit(X, y)  # imports and compilation
        for learner in (RAMLNCSVR(), NCML()):
            seconds = [
                [timed(clone(method).fit, X, y)[1] for method in (learner, usual)]
                for _ in range(options.repeats)
            ]
            taken, others = np.array(seconds).T
            fitted = clone(learner).fit(X, y)
            row = [name, f"{X.shape[0]:,} x {X.shape[1]}", type(learner).__name__]
            row += [f"{np.median(taken):.2f}", f"{np.median(taken / others):.2f}"]
            print_row([*row, fitted.n_iter_, f"{fitted.n_passes_ / 2:.0f}"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        main()
