"""Time of the default fit of every learner on Dask workers, over that in memory.

The samples of benchmarks/speed/defaults.py, float32, made where they are used. Wall seconds, one
thread for each worker and one in memory, after a small fit of each kind has loaded the code. The
ratio of CPU seconds is of all processes, and hardly depends on other work of the machine. Memory is
what a worker grew by at most during the fit, in MB, beside its chunks. The last column is the
largest difference of the two metrics, as a share of the largest entry; of a predictor that of the
probabilities of a hundred samples.

    python benchmarks/speed/workers_defaults.py [--samples 1000000] [--features 50] [--workers 2]
        [--learners GradientAlignment MetricEnsemble]

Needs `pip install "metricalign[dask]"` and Linux, which says what a process grew by.
"""

import argparse
import time
import warnings
from itertools import pairwise
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from defaults import LEARNERS, generated
from distributed import Client, LocalCluster, wait
from scaling import print_row
from sklearn.base import clone
from threadpoolctl import threadpool_limits


def rows_of(start, stop, n_samples, n_features):
    """Some of the samples; each chunk makes all and keeps its own."""
    return generated(n_samples, n_features)[0][start:stop].copy()


def start_of_memory():
    """Resident set of this process in kB, from which the largest one counts anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_of("VmRSS:")


def memory_of(name):
    """A line of what the system knows of this process, in kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def clocks(client):
    """Wall seconds, and CPU seconds of this process and all workers."""
    cpu = time.process_time() + sum(client.run(time.process_time).values())
    return np.array([time.perf_counter(), cpu])


def fit(client, learner, X, y, few):
    """The metric, or predictions of a few samples, and the wall and CPU seconds of the fit."""
    warnings.simplefilter("ignore")
    start = clocks(client)
    fitted = clone(learner).fit(X, y)
    seconds = clocks(client) - start
    if hasattr(fitted, "predict_proba"):
        return fitted.predict_proba(few), seconds
    return fitted.get_mahalanobis_matrix(), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunks", type=int, default=8)
    learners = ["PSDSVR", "DiscriminantAlignment", "GradientAlignment", "NeighborhoodAlignment"]
    learners += ["MetricEnsemble", "RAMLNCSVR", "RAMLKRR"]
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=learners)
    options = parser.parse_args()
    shape = options.samples, options.features
    ends = np.linspace(0, options.samples, options.chunks + 1).astype(int).tolist()
    X, y = generated(*shape)
    titles = ["samples x features", "learner", "in memory, s", "Dask, s", "ratio", "ratio of CPU"]
    titles += ["memory of a worker, MB", "difference"]
    print_row(titles)
    print_row(["---"] * len(titles))
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
        threadpool_limits(1),
    ):
        make = dask.delayed(rows_of)
        chunks = [
            da.from_delayed(
                make(start, stop, *shape), shape=(stop - start, shape[1]), dtype=np.float32
            )
            for start, stop in pairwise(ends)
        ]
        distributed = da.concatenate(chunks).persist()
        wait(distributed)
        few = distributed[:2000].persist()
        for name in options.learners:
            fit(client, LEARNERS[name], X[:2000], y[:2000], X[:100])
            fit(client, LEARNERS[name], few, y[:2000], X[:100])
            expected, seconds = fit(client, LEARNERS[name], X, y, X[:100])
            before = client.run(start_of_memory)
            found, other = fit(client, LEARNERS[name], distributed, y, X[:100])
            after = client.run(memory_of, "VmHWM:")
            grown = max(after[worker] - before[worker] for worker in before)
            difference = np.abs(found - expected).max() / np.abs(expected).max()
            samples = f"{shape[0]:,} x {shape[1]}"
            times = f"{seconds[0]:.1f}", f"{other[0]:.1f}", *(f"{r:.2f}" for r in other / seconds)
            print_row([samples, name, *times, f"{grown / 1000:.0f}", f"{difference:.0e}"])


if __name__ == "__main__":
    main()
