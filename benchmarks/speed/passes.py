"""Operator passes that each solver needs to a relative duality gap of 1e-3 and 1e-6.

A pass is one application of each of the two operators to all pairs; one over a part of the pairs
counts as that part. Problem: classes with relations +1/-1, standardised features divided by the
root of their number, the 3 nearest hits and misses of each sample, epsilon-insensitive loss with
epsilon 0.1, an intercept.

    python benchmarks/speed/passes.py

Data: scikit-learn's bundled wine (13 features), breast_cancer (30) and digits (64 pixels).
"""

import argparse

import numpy as np
from quasi_newton import quasi_newton
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler

from metricalign.cones import PositiveSemidefinite, Symmetric
from metricalign.losses import EpsilonInsensitive
from metricalign.operators import PairOperator
from metricalign.pairs import NearestClassPairs
from metricalign.solvers import AlignmentProblem, newton, projected_gradient

TOLERANCES = (1e-3, 1e-6)


def passes(solver, problem, max_iter):
    """Passes to each tolerance, "over" where the iterations ran out."""
    result = solver(problem, tol=min(TOLERANCES), max_iter=max_iter)
    reached = []
    for tolerance in TOLERANCES:
        needed = [n for n, primal, dual in result.history if primal - dual <= tolerance * primal]
        reached.append(f"{needed[0] / 2:.0f}" if needed else f"over {result.n_passes / 2:.0f}")
    return " / ".join(reached)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-iter", type=int, default=2000)
    options = parser.parse_args()
    solvers = [newton, quasi_newton, projected_gradient]
    print("| data | cone | C | " + " | ".join(solver.__name__ for solver in solvers) + " |")
    print("| --- | --- | --- | " + " | ".join("---" for _ in solvers) + " |")
    data = {"wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
    for name, load in data.items():
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
        pairs, weights = NearestClassPairs(3, 3).select(X, y)
        relations = np.where(y[pairs[:, 0]] == y[pairs[:, 1]], -1.0, 1.0)
        for cone in (Symmetric(), PositiveSemidefinite()):
            for C in (0.01, 0.1, 1.0, 10.0) if name != "digits" else (0.01, 0.1, 1.0):
                cells = []
                for solver in solvers:
                    problem = AlignmentProblem(
                        PairOperator(X, pairs),
                        relations,
                        C * weights,
                        EpsilonInsensitive(0.1),
                        cone,
                        fit_intercept=True,
                    )
                    cells.append(passes(solver, problem, options.max_iter))
                row = [name, type(cone).__name__, f"{C:g}", *cells]
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
