"""Public tables as they come: `evaluate` at its defaults on files that Python packages bring along.

The packages are ISLP, statsmodels, lifelines, causaldata, vega_datasets and palmerpenguins. What is
read of their files is compared with what pandas reads: the same rows, and the same numbers.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metricalign.command_line.reading import InputError
from metricalign.command_line.tables import read_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trust.md"
START, END = "<!-- public_tables.py -->\n", "<!-- end of public_tables.py -->"
# File, target, and options that a person would give.
TABLES: list[tuple[str, str, list[str]]] = [
    ("ISLP/data/Auto.data", "mpg", []),
    ("ISLP/data/BrainCancer.csv", "status", []),
    ("ISLP/data/Carseats.csv", "Sales", []),
    ("ISLP/data/College.csv", "Grad.Rate", []),
    ("ISLP/data/Credit.csv", "Balance", []),
    ("ISLP/data/Default.csv", "default", []),
    ("ISLP/data/Hitters.csv", "Salary", []),
    ("ISLP/data/OJ.csv", "Purchase", []),
    ("ISLP/data/Smarket.csv", "Direction", []),
    ("ISLP/data/Wage.csv", "wage", ["--drop", "logwage"]),
    ("statsmodels/datasets/anes96/anes96.csv", "vote", []),
    ("statsmodels/datasets/fair/fair.csv", "rate_marriage", []),
    ("statsmodels/datasets/macrodata/macrodata.csv", "infl", []),
    ("statsmodels/datasets/modechoice/modechoice.csv", "choice", ["--groups", "individual"]),
    ("statsmodels/datasets/randhie/src/randhie.csv", "mdvis", []),
    ("statsmodels/datasets/star98/star98.csv", "NABOVE", []),
    ("lifelines/datasets/ACTG175.csv", "cens", []),
    ("lifelines/datasets/canadian_senators.csv", "political_affiliation_at_appointment", []),
    ("lifelines/datasets/divorce.dat", "years", []),
    ("lifelines/datasets/gbsg2.csv", "time", []),
    ("lifelines/datasets/lung.csv", "status", []),
    ("lifelines/datasets/rossi.csv", "arrest", []),
    ("causaldata/gapminder/gapminder.csv", "lifeExp", ["--groups", "country"]),
    ("causaldata/restaurant_inspections/restaurant_data.csv", "inspection_score", []),
    ("palmerpenguins/data/penguins-raw.csv", "Species", []),
    ("vega_datasets/_data/airports.csv", "state", []),
    ("vega_datasets/_data/seattle-weather.csv", "weather", []),
    ("vega_datasets/_data/us-employment.csv", "nonfarm_change", ["--time", "month"]),
]
HEAD = (
    "| table | rows, columns | read | measure | Euclid | best learned | boosted trees | verdict | "
    "CPU seconds |"
)


def main() -> None:
    """Evaluate all tables that are installed, and write the result into the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=sysconfig.get_path("purelib"), type=Path)
    parser.add_argument("--only", default="", help="files whose name has this")
    parser.add_argument("--verbose", action="store_true", help="print what evaluate prints")
    parser.add_argument("--write", action="store_true", help="write the table of docs/trust.md")
    options = parser.parse_args()
    lines = [HEAD, "| " + "--- | " * (HEAD.count("|") - 1)]
    for file, target, given in TABLES:
        if options.only not in file:
            continue
        lines.append(_line(options.folder / file, target, given, options.verbose))
        print(lines[-1], flush=True)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        text = "\n".join(line.rstrip() for line in lines)
        PAGE.write_text(f"{before}{START}{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _line(path, target, given, is_verbose) -> str:
    name = f"{path.name}, {target}"
    if not path.is_file():
        return f"| {name} | not installed |" + " |" * 7
    shape, read = _read(path)
    if shape is None:
        return f"| {name} | | {read} |" + " |" * 6
    before = _cpu_seconds()
    command = [sys.executable, "-m", "metricalign", "evaluate", path, "--target", target, *given]
    # One core, so that seconds are those of one process.
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": "1"},
    )
    seconds = _cpu_seconds() - before
    if is_verbose:
        print(run.stdout, run.stderr)
    cells = [name, f"{shape[0]}, {shape[1]}", read]
    if run.returncode:
        return "| " + " | ".join([*cells, " ".join(run.stderr.split())]) + " |" + " |" * 5
    measure, scores = _scores(run.stdout)
    learned = {method: score for method, score in scores.items() if method not in BASELINES}
    sentence = _verdict(run.stdout)
    method = max(learned, key=lambda each: float(learned[each]))
    cells += [measure, scores["Euclid"], f"{learned[method]} ({method})"]
    cells += [scores.get("BoostedTrees", ""), _in_short(sentence), f"{seconds:.0f}"]
    return "| " + " | ".join(cells) + " |"


BASELINES = ("Euclid", "BoostedTrees")


def _read(path) -> tuple[tuple[int, int] | None, str]:
    """Shape of the table, and whether it is what pandas reads; or why it was refused."""
    try:
        ours = read_table(path)
    except InputError as error:
        return None, f"refused: {' '.join(str(error).split())}".replace("|", "/")
    # What pandas has to be told.
    separator = {"Auto.data": r"\s+", "divorce.dat": r"\s{2,}"}.get(path.name)
    engine: Any = "c" if separator == r"\s+" else "python"
    theirs = pd.read_csv(
        path, sep=separator, engine=engine, skipinitialspace=True, encoding="utf-8-sig"
    )
    if ours.shape != theirs.shape:
        return ours.shape, f"wrong: pandas has {theirs.shape}"
    for one, other in zip(ours, theirs, strict=True):
        if pd.api.types.is_numeric_dtype(theirs[other]) and theirs[other].dtype != bool:
            is_same = ours[one].dtype.kind == "f" and np.array_equal(
                ours[one], theirs[other], equal_nan=True
            )
            if not is_same:
                return ours.shape, f"wrong: column {one!r}"
    return ours.shape, "right"


def _cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _scores(text) -> tuple[str, dict[str, str]]:
    """The main measure, and the mean of each method."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("method "))
    measure = re.split(r"\s{2,}", lines[start])[1]
    scores = {}
    for line in lines[start + 3 :]:
        if not line.strip():
            break
        method, score = re.split(r"\s{2,}", line)[:2]
        scores[method] = score.split(" +- ")[0]
    return measure, scores


def _verdict(text) -> str:
    paragraph = text.split("\n\n")[-1].split("--save model.joblib")[0]
    return " ".join(line for line in paragraph.split("\n") if not line.startswith(("Note", "Warn")))


def _in_short(sentence) -> str:
    if sentence.startswith("Use "):
        return "use " + sentence[4:].split(":")[0]
    return "no clear gain" if "clearly" in sentence else "Euclid"


if __name__ == "__main__":
    main()
