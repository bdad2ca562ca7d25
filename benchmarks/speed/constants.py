"""What the constants of the Newton solver are worth: passes and time with other values.

Operator passes to relative duality gaps of 1e-3 and 1e-6 and CPU time, over those of the value that
is used: geometric means over thirteen problems, and for those of a large C over eight of these.
"Stopped" counts those that did not reach 1e-6.

    python benchmarks/speed/constants.py [--only _WIDTH _WIDE]
"""

import argparse
import time

import numpy as np
from passes import DATA, problem_of
from threadpoolctl import threadpool_limits

from metricalign.solvers import newton, semismooth_newton

CASES = [
    *(
        (data, method, C)
        for data in ("wine", "breast_cancer")
        for method in ("RAMLSVR", "PSDSVR", "PCML")
        for C in (0.01, 1.0)
    ),
    ("wine", "NCML", 0.1),
]
LARGE_CASES = [
    (data, method, C)
    for data, C in (("wine", 100.0), ("breast_cancer", 1000.0))
    for method in ("PSDSVR", "PCML", "RAMLNCSVR", "NCML")
]
OTHERS_OF_LARGE = {
    "_LIGHT_WEIGHT": (50.0, 1000.0),
    "_WIDE": (0.3, 3.0),
    "_FEW_STEPS": (1, 3),
    "_MANY_STEPS": (3, 10),
    "_PULL_GROWTH": (2.0, 9.0),
    "_STIFFNESS_FACTOR": (4.0,),
}
OTHERS = {
    "_WIDTH": (0.1, 1.0),
    "_N_WIDE": (50, 800),
    "_SMALLEST_PULL": (1e-10, 1e-14),
    "_PULL_FACTOR": (1.5, 4.0),
    "_PULL_SHARE": (0.2, 1.0),
    "_N_GRADIENT_STEPS": (0, 6),
    "_FIRST_STEP_SIZE": (0.05, 1.0),
    "_STEP_GROWTH": (1, 4),
    "_SMALLEST_STEP_SIZE": (1e-9, 1e-3),
    "_NEWTON_TRIALS": ((3, 0.5), (14, 0.5), (4, 0.25)),
    "_GRADIENT_TRIALS": ((10, 0.25), (60, 0.5)),
    "_LINE_GROWTH": (2, 16),
    "_LINE_ACCURACY": (1e-3, 1e-9),
    "_MOST_LINE_STEPS": (15, 200),
    "_IMBALANCE": (1e-6, 0.1),
}


def costs(cases):
    """Passes to 1e-3 and to 1e-6 and CPU seconds of each case; infinite if it stopped before."""
    found = []
    for data, method, C in cases:
        problem = problem_of(*DATA[data](return_X_y=True), method, C)
        start = time.process_time()
        result = newton(problem, tol=1e-6, max_iter=2000)
        seconds = time.process_time() - start
        needed = [
            min(
                (n for n, primal, dual in result.history if primal - dual <= gap * primal),
                default=np.inf,
            )
            for gap in (1e-3, 1e-6)
        ]
        found.append([*needed, seconds])
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*OTHERS, *OTHERS_OF_LARGE]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    print("| constant | is | tried | passes to 1e-3 | passes to 1e-6 | CPU time | stopped |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for cases, others in ((CASES, OTHERS), (LARGE_CASES, OTHERS_OF_LARGE)):
        tried = {name: values for name, values in others.items() if name in options.only}
        if tried:
            compare(cases, tried)


def compare(cases, others):
    """Print a row for each other value."""
    costs(cases)  # what is compiled and imported at the first use
    usual = costs(cases)
    for name, values in others.items():
        used = getattr(semismooth_newton, name)
        for value in values:
            setattr(semismooth_newton, name, value)
            ratios = costs(cases) / usual
            setattr(semismooth_newton, name, used)
            reached = np.isfinite(ratios[:, 1])
            means = [f"{mean:.2f}" for mean in np.exp(np.log(ratios[reached]).mean(axis=0))]
            cells = [name, used, value, *means, np.sum(~reached)]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
