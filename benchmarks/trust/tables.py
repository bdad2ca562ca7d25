"""Messy tables: how many are read right, refused with a reason, or read wrong.

With skrub installed, the same is counted of pandas, which finds out the delimiter, and skrub, which
finds out numbers and dates, but for codes with leading zeros, which they make numbers of. Any
error of theirs counts as refused.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import pandas as pd
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
    made = {name: make() for name, make in TABLES.items()}
    at_random = {f"seed {seed}": drawn(seed) for seed in range(options.drawn)}
    counts = {}
    with TemporaryDirectory() as folder:
        for title, tables in (("made by hand", made), ("drawn at random", at_random)):
            counts[title] = Counter[str]()
            for name, messy in tables.items():
                result = outcome(messy, Path(folder))
                _count(counts[title], name, result, options.verbose)
        n_wrong = sum(outcomes["wrong"] for outcomes in counts.values())
        if find_spec("skrub"):
            for title, tables in (("made by hand", made), ("drawn at random", at_random)):
                results = [
                    outcome(_without_codes(messy), Path(folder), _by_pandas_and_skrub, Exception)[0]
                    for messy in tables.values()
                ]
                counts[f"{title}, by pandas and skrub"] = Counter(results)
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
    return int(n_wrong > 0)


def _by_pandas_and_skrub(path, messy):
    from skrub import Cleaner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep=None, engine="python")
        return Cleaner(drop_null_fraction=None).fit_transform(table)


def _without_codes(messy):
    # They make numbers of all codes with leading zeros, which every table has.
    return replace(messy, truth=messy.truth.drop(columns="code", errors="ignore"))


def _count(counts, name, result, is_verbose):
    kind, reason = result
    counts[kind] += 1
    if kind == "wrong" or (is_verbose and kind == "refused"):
        print(f"{name}: {kind}, {reason}")


if __name__ == "__main__":
    sys.exit(main())
