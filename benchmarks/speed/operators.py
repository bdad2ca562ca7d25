"""Time of the two operators over that of the two matrix products which they cannot do without.

One `distances` and one `adjoint` against X @ M and X.T @ Y of the same X and a Y of its shape, one
after the other in each repeat; medians of CPU times in one thread and of their ratios. Y is another
array, since BLAS makes X.T @ X, which is symmetric, by half the multiplications; the last column
has the compiled operators over products with that. The neighbours of a sample are random: the worst
for memory. "Gathers" has the products and, for each pair and each of the two operators, one row
that is read and summed: less no operator can do that keeps no differences.

    python benchmarks/speed/operators.py [--repeats 15] [--sizes 10000x100]
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from metricalign.operators import PairOperator
from metricalign.operators.kernels import fastest_kernels, plain
from metricalign.operators.kernels.compiled import _compile

# Neighbours of each sample.
SIZES = {"10000x100": 10, "50000x784": 5}


@_compile
def sums_of_gathered(first, second, rows, sums):
    """Sum, for each sample, the rows of its neighbours."""
    for i in range(len(sums)):
        total = rows.dtype.type(0)
        for position in range(first[i], first[i + 1]):
            j = second[position]
            for feature in range(rows.shape[1]):
                total += rows[j, feature]
        sums[i] = total


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    titles = ["samples", "features", "pairs", "type", "products", "gathers", "plain", "compiled"]
    print(f"| {' | '.join(titles)} | with X.T @ X |")
    print(f"|{' --- |' * (len(titles) + 1)}")
    for size in options.sizes:
        n_samples, n_features = (int(number) for number in size.split("x"))
        n_neighbors = SIZES[size]
        for dtype in (np.float64, np.float32):
            rng = np.random.default_rng(0)
            X = rng.standard_normal((n_samples, n_features), dtype=dtype)
            neighbors = rng.integers(n_samples, size=n_samples * n_neighbors)
            pairs = np.column_stack([np.repeat(np.arange(n_samples), n_neighbors), neighbors])
            matrix = np.eye(n_features, dtype=dtype)
            dual_coef = rng.standard_normal(len(pairs), dtype=dtype)
            operators = [PairOperator(X, pairs), PairOperator(X, pairs)]
            operators[0]._kernels, operators[1]._kernels = plain, fastest_kernels()

            Y = rng.standard_normal(X.shape, dtype=dtype)

            def products(X=X, matrix=matrix, Y=Y):
                return X @ matrix, X.T @ Y

            def symmetric_products(X=X, matrix=matrix):
                return X @ matrix, X.T @ X

            sums = np.empty(n_samples, dtype=dtype)

            def gathers(X=X, graph=operators[1]._graph, sums=sums):
                for _ in range(2):
                    sums_of_gathered(graph.first, graph.second, X, sums)

            def both(operator, matrix=matrix, dual_coef=dual_coef):
                return operator.distances(matrix), operator.adjoint(dual_coef)

            rows = []
            for _ in range(1 + options.repeats):
                base, symmetric = seconds(products), seconds(symmetric_products)
                plain_time, compiled_time = (seconds(lambda o=o: both(o)) for o in operators)
                ratios = (
                    1 + seconds(gathers) / base,
                    plain_time / base,
                    compiled_time / base,
                    compiled_time / symmetric,
                )
                rows.append([base, *ratios])
            # The first of all compiles.
            base, *ratios = np.median(rows[1:], axis=0)
            cells = [n_samples, n_features, len(pairs), np.dtype(dtype), f"{1e3 * base:.1f} ms"]
            print(f"| {' | '.join(map(str, cells))} | ", end="")
            print(" | ".join(f"{ratio:.2f}" for ratio in ratios), "|", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
