"""Time of the two operators over that of the two matrix products which they cannot do without.

One `distances` and one `adjoint` against X @ M and X.T @ X of the same X, one after the other in
each repeat; the median of the ratios. The neighbours of a sample are random: the worst for memory.

    python benchmarks/speed/operators.py [--repeats 15]
"""

import argparse
import time

import numpy as np

from metricalign.operators import PairOperator
from metricalign.operators.kernels import fastest_kernels, plain

SIZES = [(10_000, 100, 10), (50_000, 784, 5)]


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print("| samples | features | pairs | type | products | plain | compiled |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for n_samples, n_features, n_neighbors in SIZES:
        for dtype in (np.float64, np.float32):
            rng = np.random.default_rng(0)
            X = rng.standard_normal((n_samples, n_features), dtype=dtype)
            neighbors = rng.integers(n_samples, size=n_samples * n_neighbors)
            pairs = np.column_stack([np.repeat(np.arange(n_samples), n_neighbors), neighbors])
            matrix = np.eye(n_features, dtype=dtype)
            dual_coef = rng.standard_normal(len(pairs), dtype=dtype)
            operators = [PairOperator(X, pairs), PairOperator(X, pairs)]
            operators[0]._kernels, operators[1]._kernels = plain, fastest_kernels()

            def products(X=X, matrix=matrix):
                return X @ matrix, X.T @ X

            def both(operator, matrix=matrix, dual_coef=dual_coef):
                return operator.distances(matrix), operator.adjoint(dual_coef)

            rows = []
            for _ in range(1 + repeats):
                base = seconds(products)
                rows.append([base, *(seconds(lambda o=o: both(o)) / base for o in operators)])
            # The first of all compiles.
            base, *ratios = np.median(rows[1:], axis=0)
            print(
                f"| {n_samples} | {n_features} | {len(pairs)} | {np.dtype(dtype)} | "
                f"{1e3 * base:.1f} ms | {ratios[0]:.2f} | {ratios[1]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
