"""Operator passes that each solver needs to a relative duality gap of 1e-3 and 1e-6.

A pass is one application of each of the two operators to all pairs; one over a part of the pairs
counts as that part, and the passes inside a projection count too. Problem: classes with relations
+1/-1, standardised features divided by the root of their number, the 3 nearest hits and misses of
each sample, epsilon 0.1, an intercept where the method has one.

    python benchmarks/speed/passes.py
    python benchmarks/speed/passes.py --data breast_cancer digits --methods RAMLSVR PSDSVR

Data: scikit-learn's bundled wine (13 features), breast_cancer (30) and digits (64 pixels).
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign.losses import EpsilonInsensitive, Hinge, OneSided
from metricalign.operators import PairOperator
from metricalign.pairs import NearestClassPairs
from metricalign.regularizers import PairMatrices, PositiveSemidefinite, Symmetric
from metricalign.solvers import AlignmentProblem, newton, projected_gradient, quasi_newton

TOLERANCES = (1e-3, 1e-6)
SOLVERS = [newton, quasi_newton, projected_gradient]
DATA = {"wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
# Loss, cone, intercept.
METHODS = {
    "RAMLSVR": (EpsilonInsensitive(0.1), Symmetric, True),
    "RAMLPCSVR": (OneSided(0.1), Symmetric, False),
    "RAMLNCSVR": (EpsilonInsensitive(0.1), PairMatrices, True),
    "PSDSVR": (EpsilonInsensitive(0.1), PositiveSemidefinite, True),
    "DoubletSVM": (Hinge(), Symmetric, True),
    "PCML": (Hinge(), PositiveSemidefinite, True),
    "NCML": (Hinge(), PairMatrices, True),
}


def passes(solver, problem, max_passes):
    """Passes to each tolerance, "over" where they ran out."""

    def stops(result):
        return result.n_passes > 2 * max_passes

    result = solver(problem, tol=min(TOLERANCES), max_iter=10**6, callback=stops)
    reached = []
    for tolerance in TOLERANCES:
        needed = [n for n, primal, dual in result.history if primal - dual <= tolerance * primal]
        reached.append(f"{needed[0] / 2:.0f}" if needed else f"over {result.n_passes / 2:.0f}")
    return " / ".join(reached)


def problem_of(X, y, method, C, order=None):
    """The problem of a method, which counts its own passes; its pairs in an order of this seed."""
    X = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
    pairs, weights = NearestClassPairs(3, 3).select(X, y)
    if order is not None:
        shuffled = np.random.default_rng(order).permutation(len(pairs))
        pairs, weights = pairs[shuffled], weights[shuffled]
    relations = np.where(y[pairs[:, 0]] == y[pairs[:, 1]], -1.0, 1.0)
    loss, regularizer, fit_intercept = METHODS[method]
    operator = PairOperator(X, pairs)
    return AlignmentProblem(operator, relations, C * weights, loss, regularizer(), fit_intercept)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=["wine"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--C", type=float, nargs="+", default=[0.01, 0.1, 1.0, 10.0])
    parser.add_argument("--max-passes", type=int, default=2000)
    parser.add_argument("--order", type=int, help="seed of the order of the pairs: other rounding")
    options = parser.parse_args()
    print("| data | method | C | " + " | ".join(solver.__name__ for solver in SOLVERS) + " |")
    print("| --- | --- | --- | " + " | ".join("---" for _ in SOLVERS) + " |")
    for name in options.data:
        X, y = DATA[name](return_X_y=True)
        for method in options.methods:
            for C in options.C:
                problems = [problem_of(X, y, method, C, options.order) for _ in SOLVERS]
                cells = [
                    passes(solver, problem, options.max_passes)
                    for solver, problem in zip(SOLVERS, problems, strict=True)
                ]
                print("| " + " | ".join([name, method, f"{C:g}", *cells]) + " |", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
