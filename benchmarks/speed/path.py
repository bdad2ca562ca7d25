"""Operator passes along a regularisation path, against a fit of its own for each C.

Every C is solved to the same relative duality gap. Problem: see `passes.py`.

    python benchmarks/speed/path.py

Data: scikit-learn's bundled wine (13 features), breast_cancer (30) and digits (64 pixels).
"""

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler

from metricalign import PSDSVR, RAMLNCSVR, RAMLSVR
from metricalign.pairs import NearestClassPairs

DATA = {"wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=["wine", "breast_cancer"])
    parser.add_argument("--numbers", type=int, nargs="+", default=[9, 33, 129])
    parser.add_argument("--range", type=float, nargs=2, default=[1e-3, 1.0])
    parser.add_argument("--tol", type=float, default=1e-4)
    options = parser.parse_args()
    print("| data | method | number of C | separate fits | increasing | decreasing | share |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.data:
        X, y = DATA[name](return_X_y=True)
        X = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
        for method in (RAMLSVR, PSDSVR, RAMLNCSVR):
            learner = method(epsilon=0.1, pairs=NearestClassPairs(3, 3), tol=options.tol)
            for number in options.numbers:
                Cs = np.geomspace(*options.range, number)
                separate = sum(learner.set_params(C=C).fit(X, y).n_passes_ / 2 for C in Cs)
                up, down = (
                    sum(step.n_passes_ / 2 for step in learner.fit_path(X, y, path))
                    for path in (Cs, Cs[::-1])
                )
                row = [name, method.__name__, str(number)]
                row += [f"{value:.0f}" for value in (separate, up, down)]
                row.append(f"{min(up, down) / separate:.2f}")
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
