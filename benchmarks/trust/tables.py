"""Messy tables: how many are read right, refused with a reason, or read wrong.

If skrub is installed, pandas and skrub read the same tables: pandas finds out the delimiter, and
skrub finds out numbers and dates. They make numbers of codes with leading zeros, so that column is
left out for them. Any error of theirs counts as refused.
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
    sources = {
        "made by hand": {name: make() for name, make in TABLES.items()},
        "drawn at random": {f"seed {seed}": drawn(seed) for seed in range(options.drawn)},
    }
    readers = {"": outcome}
    if find_spec("skrub"):
        readers[", by pandas and skrub"] = _outcome_by_pandas_and_skrub
    counts = {}
    with TemporaryDirectory() as folder:
        for reader, outcome_of in readers.items():
            for source, tables in sources.items():
                counts[source + reader] = Counter[str]()
                for name, messy in tables.items():
                    kind, reason = outcome_of(messy, Path(folder))
                    counts[source + reader][kind] += 1
                    is_odd = kind == "wrong" or (options.verbose and kind == "refused")
                    if is_odd and not reader:
                        print(f"{name}: {kind}, {reason}")
    n_wrong = sum(counts[source]["wrong"] for source in sources)
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


def _outcome_by_pandas_and_skrub(messy, folder):
    # Both make numbers of all codes with leading zeros, which every table has.
    messy = replace(messy, truth=messy.truth.drop(columns="code", errors="ignore"))
    return outcome(messy, folder, _read_by_pandas_and_skrub, Exception)


def _read_by_pandas_and_skrub(path, messy):
    from skrub import Cleaner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep=None, engine="python")
        return Cleaner(drop_null_fraction=None).fit_transform(table)


if __name__ == "__main__":
    sys.exit(main())
