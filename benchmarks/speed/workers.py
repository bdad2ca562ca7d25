"""Time and memory of a fit on Dask workers, against the same fit in memory.

The samples are random, made where they are used: standard normal features, and as targets a
number that a hidden metric explains, with noise. The fits have the same random pairs, five for
each sample, and the same tolerance, and run in processes of their own. Before the clock starts the
samples are in the memory of that process, or of the workers, and a small fit has loaded the code.

    python benchmarks/speed/workers.py
    python benchmarks/speed/workers.py --samples 100000

Needs `pip install "metricalign[dask]"`. A worker has one thread. Memory is the largest resident set
of a process; before the fit it is mostly the code and the samples.
"""

import argparse
import multiprocessing
import resource
import time
from itertools import pairwise

import numpy as np

from metricalign import RAMLSVR
from metricalign.pairs import RandomPairs

PAIRS_PER_SAMPLE = 5


def samples_of(start, stop, n_features):
    """Rows of X, the same in all chunks of whole thousands."""
    blocks = [
        np.random.default_rng(first).normal(size=(min(1000, stop - first), n_features))
        for first in range(start, stop, 1000)
    ]
    return np.concatenate(blocks) / np.sqrt(n_features)


def targets_of(n_samples, n_features):
    """A number for each sample, by a hidden direction, with noise."""
    direction = np.random.default_rng(0).normal(size=n_features)
    values = [
        samples_of(start, min(start + 1000, n_samples), n_features) @ direction
        for start in range(0, n_samples, 1000)
    ]
    return np.concatenate(values) + 0.1 * np.random.default_rng(1).normal(size=n_samples)


def learner(options):
    pairs = RandomPairs(PAIRS_PER_SAMPLE * options.samples)
    return RAMLSVR(pairs=pairs, tol=options.tol, random_state=0, C=options.C)


def load_code():
    """Fit a little, so that all is imported and compiled."""
    RAMLSVR(pairs="random").fit(samples_of(0, 1000, 10), targets_of(1000, 10))


def peak_memory():
    """Largest memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fit_in_memory(options):
    X = samples_of(0, options.samples, options.features)
    y = targets_of(options.samples, options.features)
    load_code()
    before = peak_memory()
    start = time.perf_counter()
    fitted = learner(options).fit(X, y)
    seconds = time.perf_counter() - start
    return fitted.matrix_, fitted.n_passes_, seconds, [(before, peak_memory())]


def fit_on_workers(options):
    import dask
    import dask.array as da
    from distributed import Client, LocalCluster, wait

    ends = [*range(0, options.samples, options.chunk), options.samples]
    chunks = [
        da.from_delayed(
            dask.delayed(samples_of)(start, stop, options.features),
            shape=(stop - start, options.features),
            dtype=np.float64,
        )
        for start, stop in pairwise(ends)
    ]
    X = da.concatenate(chunks)
    y = targets_of(options.samples, options.features)
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        X = X.persist()
        wait(X)
        client.run(load_code)
        before = client.run(peak_memory)
        start = time.perf_counter()
        fitted = learner(options).fit(X, y)
        seconds = time.perf_counter() - start
        after = client.run(peak_memory)
    memory = [(before[worker], after[worker]) for worker in before]
    return fitted.matrix_, fitted.n_passes_, seconds, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--chunk", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--C", default="scale")
    options = parser.parse_args()
    if options.chunk % 1000:
        parser.error("--chunk must be a multiple of 1000")
    if options.C != "scale":
        options.C = float(options.C)
    context = multiprocessing.get_context("spawn")
    results = []
    for fit in (fit_in_memory, fit_on_workers):
        # A process of its own each, not a daemon: the workers are its children.
        with context.Manager() as manager:
            answer = manager.list()
            process = context.Process(target=call, args=(fit, options, answer))
            process.start()
            process.join()
            results.append(answer[0])
    (matrix, passes, seconds, memory), (other, _, other_seconds, other_memory) = results
    mebibytes = [[f"{value / 2**20:.0f}" for value in pair] for pair in memory + other_memory]
    difference = np.linalg.norm(matrix - other) / np.linalg.norm(matrix)
    print(
        "| samples | features | pairs | workers | passes | in memory, s | Dask, s | ratio "
        "| relative difference of M | peak MiB in memory, before and after the fit "
        "| peak MiB of each worker, before and after |"
    )
    print("|" + " --- |" * 11)
    row = [
        f"{options.samples:,}",
        options.features,
        f"{PAIRS_PER_SAMPLE * options.samples:,}",
        options.workers,
        f"{passes:.0f}",
        f"{seconds:.1f}",
        f"{other_seconds:.1f}",
        f"{other_seconds / seconds:.2f}",
        f"{difference:.0e}",
        ", ".join(mebibytes[0]),
        "; ".join(", ".join(pair) for pair in mebibytes[1:]),
    ]
    print("| " + " | ".join(map(str, row)) + " |")


def call(fit, options, answer):
    answer.append(fit(options))


if __name__ == "__main__":
    main()
