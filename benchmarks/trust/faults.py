"""Hostile numbers, injected faults and fuzzing: nothing may be wrong, crash or hang.

Cells run in other processes, each within a time limit. The table is that of docs/trust.md.

    python benchmarks/trust/faults.py [--seconds 60] [--jobs 2] [--parts samples ...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_limits

# The inputs and the judge are shared with the tests.
TESTS = str(Path(__file__).parents[2] / "tests")
sys.path.append(TESTS)

from fuzzing import FUZZED, fuzz  # noqa: E402
from hostile import (  # noqa: E402
    ESTIMATORS,
    INPUTS,
    LARGE,
    LARGE_ESTIMATORS,
    OF_SAMPLES,
    TARGETS,
    WrongAnswerError,
    judge,
)
from injected import FAULTS  # noqa: E402

PARTS = ["samples", "targets", "large", "faults", "fuzzing"]
# Seconds for one cell; every moment at which a fit can be interrupted is in one.
LIMIT = 300
BAD = ("wrong answer", "crash", "hang")


class Outcome(NamedTuple):
    """What became of a cell, and how many things it tried."""

    name: str
    verdict: str
    n_tried: int = 1


def hostile_cell(estimator: str, given: str) -> Outcome:
    verdict = judge(ESTIMATORS[estimator], INPUTS[given]())
    return Outcome("right answer" if verdict == "right" else "clear error", verdict)


def fault_cell(name: str) -> Outcome:
    return Outcome("handled", name, FAULTS[name]())


def fuzzing_cell(name: str, seconds: float) -> Outcome:
    return Outcome("handled", name, fuzz(name, seconds))


def _answer(connection, cells):
    for cell in cells:
        try:
            with threadpool_limits(1):
                outcome = cell()
        except (WrongAnswerError, AssertionError) as error:
            outcome = Outcome("wrong answer", str(error))
        except BaseException as error:
            outcome = Outcome("crash", f"{type(error).__name__}: {error}")
        connection.send(outcome)


def run(cells: list[partial], limit: float) -> Iterator[Outcome]:
    """Run cells in a process beside this one; another one goes on if a cell ends or holds it."""
    cells = list(cells)
    while cells:
        receiver, sender = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_answer, args=(sender, cells))
        process.start()
        sender.close()
        try:
            while cells:
                if not receiver.poll(limit):
                    raise TimeoutError
                outcome = receiver.recv()
                cells.pop(0)
                yield outcome
        except TimeoutError:
            cells.pop(0)
            yield Outcome("hang", f"no answer within {limit:g} s")
        except EOFError:
            process.join()
            cells.pop(0)
            yield Outcome("crash", f"the process ended with {process.exitcode}")
        finally:
            process.kill()
            process.join()


# The server that forks imports everything once; it does not inherit sys.path.
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), TESTS])
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["hostile", "injected", "fuzzing"])


def parts(seconds: float) -> dict[str, dict[str, partial]]:
    """The cells of each part, by their name."""
    hostile = {"samples": OF_SAMPLES, "targets": TARGETS, "large": LARGE}
    return {
        **{
            part: {
                f"{estimator}, {given}": partial(hostile_cell, estimator, given)
                for given in inputs
                for estimator in (LARGE_ESTIMATORS if part == "large" else ESTIMATORS)
            }
            for part, inputs in hostile.items()
        },
        "faults": {name: partial(fault_cell, name) for name in FAULTS},
        "fuzzing": {name: partial(fuzzing_cell, name, seconds / 2) for name in FUZZED},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="time for fuzzing")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--match", default="", help="only cells whose name has this in it")
    arguments = parser.parse_args()
    columns = ["right answer", "clear error", "handled", "wrong answer", "crash", "hang"]
    n_bad = 0
    rows = []
    for part, cells in parts(arguments.seconds).items():
        if part not in arguments.parts:
            continue
        start, counts, n_tried = time.monotonic(), Counter(), 0
        cells = {name: cell for name, cell in cells.items() if arguments.match in name}
        limit = LIMIT + arguments.seconds
        names = list(cells)

        def work(first, names=names, cells=cells, limit=limit):
            mine = names[first :: arguments.jobs]
            return list(zip(mine, run([cells[name] for name in mine], limit), strict=True))

        with ThreadPoolExecutor(arguments.jobs) as pool:
            outcomes = [
                outcome for found in pool.map(work, range(arguments.jobs)) for outcome in found
            ]
        for name, outcome in outcomes:
            counts[outcome.name] += outcome.n_tried
            n_tried += outcome.n_tried
            if outcome.name in BAD:
                print(f"{outcome.name}: {name}: {outcome.verdict}", file=sys.stderr)
        n_bad += sum(counts[name] for name in BAD)
        seconds = time.monotonic() - start
        rows.append((part, n_tried, *(counts[column] for column in columns), f"{seconds:.0f} s"))
    heads = (
        "part",
        "tried",
        "right answers",
        "clear errors",
        "handled",
        "wrong answers",
        "crashes",
        "hangs",
        "time",
    )
    for row in (heads, ("---",) * len(heads), *rows):
        print("| " + " | ".join(map(str, row)) + " |")
    return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
