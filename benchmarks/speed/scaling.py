"""How the time of a fit grows with samples, pairs and features.

CPU seconds of PSDSVR over given pairs, in one thread, and the exponent that fits them best:
generated classes, half of the pairs within a class. One size grows at a time. Peak memory is of the
process, the data included.

    python benchmarks/speed/scaling.py [--largest 1000000] [--figure scaling.png]
    METRICALIGN_DATA=folder python benchmarks/speed/scaling.py --data shuttle protein

With --data, parts of a data set from 2,000 samples to all instead, with five pairs of a sample, of
the nearest of its class and others, or of all where there are no classes. Beside the fit then stand
the choice of these pairs, scikit-learn's exact search of five neighbours of every sample, and the
first two over the third.
"""

import argparse
import resource
import time
import warnings

import numpy as np
from processes import in_own_process
from sklearn.neighbors import KNeighborsTransformer
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign import PSDSVR
from metricalign.datasets import fetch_dataset
from metricalign.pairs import NearestClassPairs, NearestPairs


def generated(n_samples, n_features, n_pairs_of_sample):
    """Ten classes in noise, and pairs of which half are of one class."""
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=n_samples)
    X = rng.standard_normal((n_samples, n_features))
    X[np.arange(n_samples), y] += 3.0
    order = np.argsort(y, kind="stable")
    anchors = np.arange(n_samples)
    blocks = []
    for number in range(n_pairs_of_sample):
        hits = np.column_stack([order, np.roll(order, number // 2 + 1)])
        misses = np.column_stack([anchors, rng.permutation(n_samples)])
        blocks.append(misses if number % 2 else hits)
    pairs = np.concatenate(blocks)
    return X, y, pairs[pairs[:, 0] != pairs[:, 1]], []


def part(name, n_samples):
    """So many samples of a data set, their nearest pairs, and CPU seconds of two searches."""
    dataset = fetch_dataset(name)
    rows = np.random.default_rng(0).permutation(len(dataset.data))[:n_samples]
    X, y = StandardScaler().fit_transform(dataset.data[rows]), dataset.target[rows]
    is_class = dataset.task == "single_label"
    strategy = NearestClassPairs() if is_class else NearestPairs()
    selection, choice = timed(strategy.select, X, y)
    _, search = timed(KNeighborsTransformer(n_neighbors=5).fit_transform, X)
    pairs = np.random.default_rng(0).permutation(selection.indices)[: 5 * n_samples]
    return X, y, pairs, [choice, search]


def timed(function, *arguments):
    """What a function returns, and its CPU seconds."""
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start


def measure(make, *arguments):
    """In a process of its own: pairs, CPU seconds, operator passes and peak memory in GB."""
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        X, y, pairs, searches = make(*arguments)
        rows = np.arange(20)
        # Imports and compilation are not part of a fit.
        PSDSVR(pairs=[[0, 1], [2, 3]]).fit(X[rows], np.arange(20.0))
        learner, seconds = timed(PSDSVR(pairs=pairs, tol=1e-3).fit, X, y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if searches:
        choice, search = searches
        searches = [choice, search, (choice + seconds) / search]
    return X.shape, len(pairs), seconds, searches, learner.n_passes_, learner.dual_gap_, peak


def series(title, sizes, settings, curves):
    """Print a row for each setting, and the exponent of the time in the sizes."""
    seconds = []
    for setting in settings:
        shape, n_pairs, taken, searches, *rest = in_own_process(measure, *setting)
        passes, gap, peak = rest
        seconds.append(taken)
        cells = [title, f"{shape[0]} x {shape[1]}", n_pairs, f"{taken:.2f}", f"{passes:.0f}"]
        cells += [f"{gap:.0e}", f"{peak:.1f}", *(f"{value:.2f}" for value in searches)]
        print_row(cells)
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    print_row([title, f"exponent {exponent:.2f}", *[""] * (len(cells) - 2)])
    curves.append((f"{title} (exponent {exponent:.2f})", sizes, seconds))


def print_row(cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def draw(curves, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, sizes, seconds in curves:
        axes.loglog(np.array(sizes) / sizes[0], seconds, "o-", label=label)
    axes.set(xlabel="size / smallest size", ylabel="CPU seconds of a fit")
    axes.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--data", nargs="+", default=[])
    parser.add_argument("--figure")
    options = parser.parse_args()
    titles = ["grows", "samples x features", "pairs", "CPU seconds", "passes", "gap", "peak, GB"]
    if options.data:
        titles += ["choice of pairs", "exact search", "choice and fit over search"]
    print_row(titles)
    print_row(["---"] * len(titles))
    curves = []
    for name in options.data:
        sizes = np.geomspace(2000, len(fetch_dataset(name).data), 5).round().astype(int)
        series(name, sizes, [(part, name, size) for size in sizes], curves)
    if not options.data:
        sizes = [n for n in (2000, 10_000, 50_000, 200_000, 1_000_000) if n <= options.largest]
        series("samples", sizes, [(generated, size, 50, 5) for size in sizes], curves)
        sizes = [2, 4, 8, 16, 32]
        series("pairs", sizes, [(generated, 10_000, 50, size) for size in sizes], curves)
        sizes = [20, 50, 100, 200, 400]
        series("features", sizes, [(generated, 10_000, size, 5) for size in sizes], curves)
    if options.figure:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
