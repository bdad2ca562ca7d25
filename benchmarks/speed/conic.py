"""Fit time over the positive semidefinite cone against cvxpy with Clarabel and SCS, in one run.

All solve the same problem: classes with relations +1/-1, standardised features divided by the root
of their number, epsilon-insensitive loss with epsilon 0.1, an intercept. Each is run at the
loosest tolerance (1e-4, 1e-5, ...) at which its objective is within the accuracy of the optimum.
Clarabel and SCS solve it as one writes it down in cvxpy; solver="cvxpy" is this package's
reference, Clarabel on a formulation that suits it better. CPU seconds, the set-up in cvxpy
included; memory is the peak of the process above what it held before.

    python benchmarks/speed/conic.py
    python benchmarks/speed/conic.py --data sonar
    python benchmarks/speed/conic.py --large

Data: 960 pairs of scikit-learn's breast_cancer (30 features), of its digits (the 60 pixels that
vary most, many of them mostly zero) and of generated samples with 60 features; --large: 100,000
pairs of 10,000 generated samples with 100 features, which only this package can do; sonar (60
features) from the folder METRICALIGN_DATA.
"""

import argparse
import functools
import multiprocessing
import os
import resource
import time
from pathlib import Path

import cvxpy
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from metricalign.losses import EpsilonInsensitive
from metricalign.operators import PairOperator
from metricalign.pairs import NearestClassPairs
from metricalign.regularizers import PositiveSemidefinite
from metricalign.solvers import AlignmentProblem, SolverResult, cvxpy_reference, newton


def as_written(problem, *, tol, max_iter, conic_solver):
    """The problem as one writes it down in cvxpy."""
    n_features, C = problem.operator.n_features, problem.weights[0]
    differences = problem.operator.differences()
    products = np.einsum("pi,pj->pij", differences, differences).reshape(len(differences), -1)
    matrix = cvxpy.Variable((n_features, n_features), PSD=True)
    intercept = cvxpy.Variable()
    errors = cvxpy.abs(products @ cvxpy.vec(matrix, order="C") + intercept - problem.relations)
    losses = cvxpy.sum(cvxpy.pos(errors - problem.loss.epsilon))
    task = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(matrix) / 2 + C * losses))
    if conic_solver == "SCS":
        options = {"eps_abs": tol, "eps_rel": tol, "max_iters": 100 * max_iter}
    else:
        options = {"tol_gap_rel": tol, "tol_gap_abs": tol, "tol_feas": tol, "max_iter": max_iter}
    task.solve(solver=conic_solver, **options)
    projection = problem.regularizer.project(matrix.value)
    distances, shift = problem.distances(projection.matrix), float(intercept.value) - problem.offset
    return SolverResult(problem.primal_point(projection, distances, shift))


SOLVERS = {
    "newton": newton,
    "Clarabel": functools.partial(as_written, conic_solver="CLARABEL"),
    "SCS": functools.partial(as_written, conic_solver="SCS"),
    'solver="cvxpy"': cvxpy_reference,
}


def make_problem(X, y, n_neighbors, n_pairs, C):
    """Relations of the nearest hits and misses, n_pairs of them at random."""
    X = StandardScaler().fit_transform(X) / np.sqrt(X.shape[1])
    pairs = NearestClassPairs(n_neighbors, n_neighbors).select(X, y).indices
    pairs = np.random.default_rng(0).permutation(pairs)[:n_pairs]
    return AlignmentProblem(
        PairOperator(X, pairs),
        np.where(y[pairs[:, 0]] == y[pairs[:, 1]], -1.0, 1.0),
        np.full(len(pairs), C),
        EpsilonInsensitive(0.1),
        PositiveSemidefinite(),
        fit_intercept=True,
    )


def small_problem(name, C):
    """960 pairs with 30 or 60 features."""
    if name == "sonar":
        data = np.load(Path(os.environ["METRICALIGN_DATA"]) / "sonar.npz")
        return make_problem(data["X"].astype(float), data["Y"], 3, 960, C)
    if name == "breast_cancer":
        return make_problem(*load_breast_cancer(return_X_y=True), 3, 960, C)
    if name == "generated":
        return make_problem(*generated(1000, 60), 3, 960, C)
    X, y = load_digits(return_X_y=True)
    kept = np.sort(np.argsort(X.var(axis=0))[-60:])
    return make_problem(X[:, kept], y, 3, 960, C)


def generated(n_samples, n_features):
    """Five classes of two clusters each."""
    return make_classification(
        n_samples, n_features, n_informative=30, n_classes=5, class_sep=2.0, random_state=0
    )


def _measure(connection, make, solver, tol):
    # One thread each: what is compared is work.
    with threadpool_limits(1):
        make()  # the choice of the pairs takes memory too
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = []
        # Short runs again, as the first one of a process loads libraries.
        while not seconds or (sum(seconds) < 1 and len(seconds) < 5):
            problem = make()
            start = time.process_time()
            result = SOLVERS[solver](problem, tol=tol, max_iter=1000)
            seconds.append(time.process_time() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    answer = (np.median(seconds), memory, result.primal, result.relative_gap)
    connection.send((*answer, result.n_passes / 2))


def measure(make, solver, tol):
    """CPU seconds, megabytes, objective, gap and passes, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_measure, args=(theirs, make, solver, tol))
    process.start()
    while not ours.poll(1):
        if not process.is_alive():
            raise RuntimeError(f"{solver} died, exit code {process.exitcode}")
    answer = ours.recv()
    process.join()
    return answer


def compare(names, accuracy, weights):
    """One row for each data set and C."""
    print(f"| data | features | C | {' | '.join(SOLVERS)} | ratios | memory, MB |")
    print("| --- " * (5 + len(SOLVERS)) + "|")
    for name in names:
        for C in weights:
            make = functools.partial(small_problem, name, C)
            problem = make()
            optimum = newton(problem, tol=1e-9, max_iter=2000).primal
            cells = {}
            for solver in SOLVERS:
                for tol in (1e-4, 1e-5, 1e-6, 1e-7):
                    cells[solver] = measure(make, solver, tol)
                    if cells[solver][2] / optimum - 1 <= accuracy:
                        break
            seconds = [cells[solver][0] for solver in SOLVERS]
            row = [name, str(problem.operator.n_features), f"{C:g}"]
            row += [f"{value:.2f} s" for value in seconds]
            row.append(" / ".join(f"{value / seconds[0]:.0f}" for value in seconds[1:]))
            row.append(" / ".join(f"{cells[solver][1]:.0f}" for solver in SOLVERS))
            print("| " + " | ".join(row) + " |", flush=True)


def large_problem(C):
    """100,000 pairs with 100 features."""
    return make_problem(*generated(10_000, 100), 5, 100_000, C)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["breast_cancer", "digits", "generated"])
    parser.add_argument("--accuracy", type=float, default=1e-6)
    parser.add_argument("--C", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--large", action="store_true", help="100,000 pairs with 100 features")
    options = parser.parse_args()
    if not options.large:
        compare(options.data, options.accuracy, options.C)
        return
    print("| C | CPU seconds | memory, MB | relative gap | passes |")
    print("| --- | --- | --- | --- | --- |")
    for C in options.C:
        for tol in (1e-3, options.accuracy):
            make = functools.partial(large_problem, C)
            seconds, memory, _, gap, passes = measure(make, "newton", tol)
            print(
                f"| {C:g} | {seconds:.1f} | {memory:.0f} | {gap:.0e} | {passes:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
