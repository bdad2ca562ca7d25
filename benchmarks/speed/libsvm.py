"""Fit time of RAML-SVR against the libsvm route, as a ratio in one run.

The libsvm route is what one does without this package: the kernel matrix of the pairs,
K_pq = (z_p^T z_q)^2, and scikit-learn's SVR on it. Both solve the same problem; each is run at the
loosest tolerance (of powers of ten) at which its objective is within 1e-3 of the optimum. They take
turns in one thread, and the medians over the repeats of the CPU seconds and of their ratios count.
Memory is the peak that the process allocates during the fit.

    python benchmarks/speed/libsvm.py
    python benchmarks/speed/libsvm.py --pairs 2000 10000 --repeats 5

Data: scikit-learn's bundled wine (13 features), breast_cancer (30) and digits (64 pixels).
"""

import argparse
import tracemalloc
import warnings

import numpy as np
from scaling import timed
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from metricalign import RAMLSVR
from metricalign.losses import EpsilonInsensitive
from metricalign.operators import PairOperator
from metricalign.pairs import NearestClassPairs
from metricalign.regularizers import Symmetric
from metricalign.solvers import AlignmentProblem, newton

DATA = [("wine", load_wine), ("breast_cancer", load_breast_cancer), ("digits", load_digits)]
ACCURACY = 1e-3
EPSILON = 0.1


def make_pairs(load, n_pairs):
    """Standardised samples, and a number of their nearest hits and misses."""
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
    n_neighbors = max(1, n_pairs // (2 * len(X)))
    while True:
        pairs = NearestClassPairs(n_neighbors, n_neighbors).select(X, y).indices
        if len(pairs) >= n_pairs or n_neighbors >= len(X):
            break
        n_neighbors += 1
    pairs = np.random.default_rng(0).permutation(pairs)[:n_pairs]
    return X, pairs, np.where(y[pairs[:, 0]] == y[pairs[:, 1]], -1.0, 1.0)


def make_problem(X, pairs, relations, C):
    """The problem that both routes solve."""
    weights = np.full(len(pairs), C)
    return AlignmentProblem(
        PairOperator(X, pairs), relations, weights, EpsilonInsensitive(EPSILON), Symmetric(), True
    )


def libsvm(X, pairs, relations, C, tol):
    """Metric and intercept by way of the kernel matrix."""
    difference = X[pairs[:, 0]] - X[pairs[:, 1]]
    kernel = difference @ difference.T
    kernel *= kernel
    model = SVR(kernel="precomputed", C=C, epsilon=EPSILON, tol=tol, cache_size=2000)
    model.fit(kernel, relations)
    support = difference[model.support_]
    return (support * model.dual_coef_[0][:, None]).T @ support, float(model.intercept_[0])


def ramlsvr(X, pairs, relations, C, tol):
    """Metric and intercept by this package, as a user gets them."""
    matrix = sparse.coo_array((relations, tuple(pairs.T)), shape=(len(X), len(X)))
    learner = RAMLSVR(C=C, epsilon=EPSILON, relation="precomputed", pairs=pairs, tol=tol)
    learner.fit(X, matrix)
    return learner.matrix_, learner.intercept_


def objective(X, pairs, relations, C, matrix, intercept):
    """Value of the problem for a metric."""
    problem = make_problem(X, pairs, relations, C)
    return problem.primal(matrix, problem.operator.distances(matrix), intercept)


def loosest_tolerance(route, arguments, optimum):
    """The loosest tolerance that is accurate, the objective there, and the peak memory of a fit."""
    for tol in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
        excess = objective(*arguments, *route(*arguments, tol)) / optimum - 1
        if excess <= ACCURACY:
            break
    tracemalloc.start()
    route(*arguments, tol)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return tol, excess, peak / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[2000, 10000, 20000])
    parser.add_argument("--C", type=float, nargs="+", default=[0.01, 0.1])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    # At the loosest tolerances a fit says that its certificate tells little, as it should.
    warnings.simplefilter("ignore", UserWarning)
    threadpool_limits(1)
    print("| data | pairs | C | libsvm | metricalign | ratio | memory, MB | above the optimum |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, load in DATA:
        for n_pairs in options.pairs:
            data = make_pairs(load, n_pairs)
            if len(data[1]) < n_pairs:
                continue
            for C in options.C:
                optimum = newton(make_problem(*data, C), tol=1e-6, max_iter=2000).dual
                arguments = (*data, C)
                found = [
                    loosest_tolerance(route, arguments, optimum) for route in (libsvm, ramlsvr)
                ]
                tols, excesses, peaks = zip(*found, strict=True)
                times = [
                    [timed(libsvm, *arguments, tols[0])[1], timed(ramlsvr, *arguments, tols[1])[1]]
                    for _ in range(options.repeats)
                ]
                theirs, ours = np.median(times, axis=0)
                ratio = np.median([their / our for their, our in times])
                print(
                    f"| {name} | {n_pairs} | {C:g} | {theirs:.2f} s | {ours:.3f} s | {ratio:.1f} | "
                    f"{peaks[0]:.0f} / {peaks[1]:.0f} | {excesses[0]:.0e} / {excesses[1]:.0e} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
