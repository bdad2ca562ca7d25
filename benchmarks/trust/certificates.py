"""Random problems against an oracle: is what every fit certifies true?

Each problem of `tests/drawn.py` is fitted by the public estimators. `tests/judge.py` says what
counts as a violation, and checks what they report against the values, bounds and optima of
`tests/oracle.py`, in long double.

    python benchmarks/trust/certificates.py [--problems 5000] [--seed 0] [--seconds 900] [--jobs 2]
    python benchmarks/trust/certificates.py --only 17       # one problem, with its numbers
    python benchmarks/trust/certificates.py --write         # the table of docs/trust.md
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from drawn import KINDS, draw
from judge import VIOLATIONS, Judge

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
# The table stands between these lines of the page.
START, END = "<!-- certificates.py -->\n", "<!-- end of certificates.py -->\n"


def table(judged: list[Judge]) -> str:
    """Markdown: how many of which problems, and what was wrong with them."""
    groups: dict[str, list[Judge]] = {"all": judged}
    for field in ("kind", "loss", "regularizer", "prior_name", "shape", "solver"):
        for name in sorted({getattr(judge.drawn, field) for judge in judged}):
            heading = f"prior: {name}" if field == "prior_name" else name
            groups[heading] = [judge for judge in judged if getattr(judge.drawn, field) == name]
    for dtype in ("float32", "float64"):
        groups[dtype] = [judge for judge in judged if judge.drawn.X.dtype == dtype]
    groups["sparse"] = [judge for judge in judged if sparse.issparse(judge.drawn.X)]
    groups["intercept"] = [judge for judge in judged if judge.drawn.fit_intercept]
    groups["weights"] = [judge for judge in judged if judge.drawn.sample_weight is not None]
    heads = ("problems", "tried", "refused", "fits", "optimum known", *VIOLATIONS)
    rows = [heads, ("---",) * len(heads)]
    for name, some in groups.items():
        resolved = [known for judge in some for known in judge.are_resolved]
        found = [{kind for kind, _ in judge.violations} for judge in some]
        rows.append(
            (
                name,
                len(some),
                sum(judge.is_refused for judge in some),
                len(resolved),
                f"{100 * np.mean(resolved):.1f} %" if resolved else "",
                *(sum(kind in kinds for kinds in found) for kind in VIOLATIONS),
            )
        )
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def write(text: str) -> None:
    """Put the table in its place on the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + text + END + after, encoding="utf-8")


def _judged(seed: int, kind: str | None) -> Judge:
    return Judge(draw(seed, kind))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after this time")
    parser.add_argument("--jobs", type=int, default=1, help="problems that are tried at once")
    parser.add_argument("--kind", choices=KINDS, help="only problems of this kind")
    parser.add_argument("--only", type=int, metavar="SEED", help="one problem, with its numbers")
    parser.add_argument("--write", action="store_true", help="the table into docs/trust.md")
    arguments = parser.parse_args()
    if arguments.only is not None:
        return int(bool(Judge(draw(arguments.only, arguments.kind), talks=True).violations))
    judged: list[Judge] = []
    start = time.monotonic()
    tasks = (
        delayed(_judged)(seed, arguments.kind)
        for seed in range(arguments.seed, arguments.seed + arguments.problems)
        if time.monotonic() - start < arguments.seconds
    )
    try:
        for judge in Parallel(arguments.jobs, return_as="generator", batch_size=1)(tasks):
            judged.append(judge)
            for kind, words in judge.violations:
                print(f"{judge.drawn.seed}: {kind}: {words}", file=sys.stderr, flush=True)
            if len(judged) % 100 == 0:
                print(f"{len(judged)} problems", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"stopped after {len(judged)} problems", file=sys.stderr)
    text = table(judged)
    print(text)
    print(f"{len(judged)} problems in {time.monotonic() - start:.0f} s")
    if arguments.write:
        write(text)
    return int(any(judge.violations for judge in judged))


if __name__ == "__main__":
    sys.exit(main())
