"""Public tables as they come: `evaluate` at its defaults on files that Python packages bring along.

The packages are ISLP, statsmodels, lifelines, causaldata, vega_datasets and palmerpenguins; five
files of the UCI repository are sought in a folder that is named besides. What is read of them is
compared with what pandas reads: the same rows, and the same numbers.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from typed_tables import read_table

from metricalign.command_line.reading import InputError

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
    ("statsmodels/datasets/star98/star98.csv", "PR50M", []),
    ("lifelines/datasets/ACTG175.csv", "cens", []),
    ("lifelines/datasets/canadian_senators.csv", "Political Affiliation at Appointment", []),
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
    ("abalone.csv", "9", []),
    ("adult-train.csv", "15", []),
    ("auto_imports.csv", "26", []),
    ("breast-cancer.csv", "10", []),
    ("pollution.csv", "pm2.5", ["--time", "No"]),
]
# What pandas has to be told of a file.
FORMATS: dict[str, dict[str, Any]] = {
    # The reader in Python has no quotes beside such a delimiter.
    "Auto.data": {"sep": r"\s+", "engine": "c"},
    "modechoice.csv": {"sep": ";"},
    "divorce.dat": {"sep": r"\s{2,}"},
    "abalone.csv": {"header": None},
    "adult-train.csv": {"header": None, "na_values": "?"},
    "auto_imports.csv": {"header": None, "na_values": "?"},
    "breast-cancer.csv": {"header": None, "na_values": "?", "quotechar": "'"},
}
HEAD = (
    "| table | rows, columns | read | measure | Euclid | best learned | boosted trees | verdict | "
    "CPU seconds |"
)


def main() -> None:
    """Evaluate all tables that are installed, and write the result into the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    installed = Path(sysconfig.get_path("purelib"))
    parser.add_argument("folders", nargs="*", type=Path, help="where files are besides")
    parser.add_argument("--only", default="", help="files whose name has this")
    parser.add_argument("--new", action="store_true", help="files that the page does not have yet")
    parser.add_argument("--verbose", action="store_true", help="print what evaluate prints")
    parser.add_argument("--write", action="store_true", help="write each line into docs/trust.md")
    options = parser.parse_args()
    known = _lines_of_the_page()
    for file, target, given in TABLES:
        paths = [folder / file for folder in [installed, *options.folders]]
        path = next((path for path in paths if path.is_file()), None)
        name = f"{Path(file).name}, {target}"
        if options.only in file and path is not None and not (options.new and name in known):
            known[name] = _line(name, path, target, given, options.verbose)
            print(known[name], flush=True)
            if options.write:
                _write(known)


def _lines_of_the_page() -> dict[str, str]:
    """Lines of the table in the page by the file and its target."""
    text = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    return {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()[2:]}


def _write(known) -> None:
    names = [f"{Path(file).name}, {target}" for file, target, _ in TABLES]
    lines = [HEAD, "| " + "--- | " * (HEAD.count("|") - 1)]
    lines += [known[name] for name in names if name in known]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    text = "\n".join(line.rstrip() for line in lines)
    PAGE.write_text(f"{before}{START}{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _line(name, path, target, given, is_verbose) -> str:
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
    method = max(learned, key=lambda each: float(learned[each]))
    cells += [measure, scores["Euclid"], f"{learned[method]} ({method})"]
    cells += [scores.get("BoostedTrees", ""), _verdict(run.stdout), f"{seconds:.0f}"]
    return "| " + " | ".join(cells) + " |"


BASELINES = ("Euclid", "BoostedTrees")


def _read(path) -> tuple[tuple[int, int] | None, str]:
    """Shape of the table, and whether it is what pandas reads; or why it was refused."""
    try:
        ours = read_table(path)
    except InputError as error:
        return None, f"refused: {' '.join(str(error).split())}".replace("|", "/")
    form = FORMATS.get(path.name, {})
    theirs = pd.read_csv(
        path, **{"engine": "python", "skipinitialspace": True, "encoding": "utf-8-sig", **form}
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
        scores[method.rstrip("*")] = score.split(" +- ")[0]
    return measure, scores


def _verdict(text) -> str:
    """What the last sentence of `evaluate` says, in short."""
    sentence = re.search(r"^(Use .*|No learned .*|Euclid: )", text, re.MULTILINE)[1]
    if sentence.startswith("Use "):
        return "use " + sentence[4:].split(":")[0]
    return "no clear gain" if "clearly" in sentence else "Euclid"


if __name__ == "__main__":
    main()
