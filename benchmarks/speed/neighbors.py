"""Time and recall of searches of nearest neighbours, exact and approximate.

CPU seconds in one thread for the five neighbours of every sample: those of the set-up, and those of
the search, which is made for some of the samples and scaled up to all. Recall is the share of the
neighbours of scikit-learn's exact search that are found, the sample itself left out. "ours" is the
search of the pairs, and the last column says of how many samples neighbours must be sought until
another one takes less time.

    METRICALIGN_DATA=folder python benchmarks/speed/neighbors.py [--data fashion_mnist_20k]
        [--samples 100000 1000000] [--queries 2000]

Data: standardised data sets, and generated samples of 50 features in ten classes. Needs
`pip install "metricalign[ann]"`.
"""

import argparse

import numpy as np
from processes import in_own_process
from scaling import generated, print_row, timed
from sklearn.neighbors import KNeighborsTransformer
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign.datasets import fetch_dataset
from metricalign.neighbors import FaissTransformer
from metricalign.pairs import EuclideanSearch

SEARCHES = {
    "scikit-learn, exact": KNeighborsTransformer(),
    "ours, exact": EuclideanSearch(),
    "faiss, Flat (exact)": FaissTransformer(index="Flat"),
    "faiss, HNSW32": FaissTransformer(),
    "faiss, HNSW32, efSearch=64": FaissTransformer(index_parameters="efSearch=64"),
}


def samples(data):
    """A data set by its name, or so many generated samples."""
    if isinstance(data, str):
        return StandardScaler().fit_transform(fetch_dataset(data).data)
    return generated(data, 50, 1)[0]


def measure(data, n_queries, name):
    """In a process of its own: shape, CPU seconds of set-up and search, keys of the neighbours."""
    with threadpool_limits(1):
        X = samples(data)
        queries = np.random.default_rng(0).permutation(len(X))[:n_queries]
        SEARCHES[name].fit(X[:300]).transform(X[:300])  # imports are not part of it
        search, setup = timed(SEARCHES[name].fit, X)
        graph, seconds = timed(search.transform, X[queries])
    graph = graph.tocoo()
    row, column = queries[graph.row], graph.col.astype(np.int64)
    keys = (row * len(X) + column)[row != column]
    return X.shape, setup, seconds * len(X) / len(queries), keys


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=["fashion_mnist_20k"])
    parser.add_argument("--samples", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=2000)
    options = parser.parse_args()
    titles = ["data", "samples x features", "search", "set-up", "search of all"]
    print_row([*titles, "exact over both", "recall", "wins from"])
    print_row(["---"] * 8)
    for data in [*options.data, *options.samples]:
        for name in SEARCHES:
            shape, setup, seconds, keys = in_own_process(measure, data, options.queries, name)
            if name == "scikit-learn, exact":
                exact, total = keys, setup + seconds
            if name == "ours, exact":
                of_pairs = seconds
            title = data if isinstance(data, str) else "generated"
            cells = [title, f"{shape[0]} x {shape[1]}", name, f"{setup:.1f} s", f"{seconds:.1f} s"]
            recall = np.isin(exact, keys).mean()
            border = "-"
            if "faiss" in name and seconds < of_pairs:
                border = f"{setup / (of_pairs - seconds) * shape[0]:,.0f}"
            print_row([*cells, f"{total / (setup + seconds):.1f}", f"{recall:.3f}", border])


if __name__ == "__main__":
    main()
