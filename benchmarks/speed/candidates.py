"""What it costs the neighbours that those of the anchors are sought among some samples only.

PSDSVR on the samples of benchmarks/speed/defaults.py: CPU seconds of the fit in one thread, and the
error of the five nearest neighbours on 20,000 further samples, where two parts of the first samples
give the neighbours in turn. The last column is the change of the error against all candidates, and
its standard error over the further samples.

    python benchmarks/speed/candidates.py [--samples 1000000] [--candidates 200000 400000]
"""

import argparse
import warnings

import numpy as np
from defaults import generated
from scaling import print_row, timed
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from metricalign import PSDSVR
from metricalign.pairs import NearestClassPairs

N_TESTED, N_NEIGHBORS_OF = 20_000, 40_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--candidates", type=int, nargs="+", default=[200_000, 400_000])
    options = parser.parse_args()
    X, y = generated(options.samples + N_TESTED, options.features)
    tested, expected = X[options.samples :], y[options.samples :]
    X, y = X[: options.samples], y[: options.samples]
    PSDSVR().fit(X[:1000], y[:1000])
    print_row(["candidates", "CPU seconds", "error", "change"])
    print_row(["---"] * 4)
    of_all = None
    for max_candidates in (None, *options.candidates):
        learner = PSDSVR(pairs=NearestClassPairs(max_candidates=max_candidates))
        _, seconds = timed(learner.fit, X, y)
        images, wrong = learner.transform(tested), 0.0
        for part in (slice(N_NEIGHBORS_OF), slice(N_NEIGHBORS_OF, 2 * N_NEIGHBORS_OF)):
            neighbors = KNeighborsClassifier().fit(learner.transform(X[part]), y[part])
            wrong = wrong + 0.5 * (neighbors.predict(images) != expected)
        of_all = wrong if of_all is None else of_all
        change = wrong - of_all
        error = change.std() / np.sqrt(N_TESTED)
        cells = f"{seconds:.1f}", f"{wrong.mean():.4f}", f"{change.mean():.4f} +- {error:.4f}"
        print_row([f"{max_candidates or options.samples:,}", *cells])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        main()
