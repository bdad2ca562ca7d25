"""Time of `evaluate` at its defaults on a table of 50,000 rows and 30 columns.

CPU seconds of all processes, and seconds that passed, which mean little where others work too.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd
from sklearn.datasets import make_classification


def main() -> None:
    """Write the table, evaluate it, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=30)
    options = parser.parse_args()
    X, y = make_classification(
        options.rows, options.columns, n_informative=10, n_classes=3, random_state=0
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        names = [f"column {number}" for number in range(options.columns)]
        pd.DataFrame(X.round(4), columns=names).assign(y=y).to_csv(path, index=False)
        command = [sys.executable, "-m", "metricalign", "evaluate", path, "--target", "y"]
        start = perf_counter()
        subprocess.run(command, check=True)
        passed = perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = usage.ru_utime + usage.ru_stime
    print(f"{used:.0f} CPU seconds, {passed:.0f} seconds passed")


if __name__ == "__main__":
    main()
