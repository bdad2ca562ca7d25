"""Messy tables: how many are read right, refused with a reason, or read wrong."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from messy_tables import TABLES, drawn, outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
MARK = "tables.py"
OUTCOMES = ("right", "refused", "wrong")


def main() -> int:
    """Read all tables, and write the result into the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=2000, help="tables drawn at random")
    parser.add_argument("--verbose", action="store_true", help="say why tables are refused")
    parser.add_argument("--write", action="store_true", help="write the table of docs/trust.md")
    options = parser.parse_args()
    counts = {"made by hand": Counter[str](), "drawn at random": Counter[str]()}
    with TemporaryDirectory() as folder:
        for name, make in TABLES.items():
            _count(counts["made by hand"], name, outcome(make(), Path(folder)), options.verbose)
        for seed in range(options.drawn):
            result = outcome(drawn(seed), Path(folder))
            _count(counts["drawn at random"], f"seed {seed}", result, options.verbose)
    rows = ["| messy tables | tried | read right | refused with a reason | read wrong |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, outcomes in counts.items():
        cells = " | ".join(str(outcomes[kind]) for kind in OUTCOMES)
        rows.append(f"| {name} | {outcomes.total()} | {cells} |")
    text = "\n".join(rows)
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition(f"<!-- {MARK} -->\n")
        _, _, after = rest.partition(f"<!-- end of {MARK} -->")
        PAGE.write_text(f"{before}<!-- {MARK} -->\n{text}\n<!-- end of {MARK} -->{after}")
    return int(any(outcomes["wrong"] for outcomes in counts.values()))


def _count(counts, name, result, is_verbose):
    kind, reason = result
    counts[kind] += 1
    if kind == "wrong" or (is_verbose and kind == "refused"):
        print(f"{name}: {kind}, {reason}")


if __name__ == "__main__":
    sys.exit(main())
