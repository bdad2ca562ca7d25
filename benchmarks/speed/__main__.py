"""All measurements of speed, one after another, each written as a page that the docs include.

    METRICALIGN_DATA=folder python benchmarks/speed [--only scaling peers] [--quick]

Every page of benchmarks/results/speed has the command, the machine and its table. With --quick the
sizes are the least that show that everything runs, and nothing is written.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
RESULTS = Path("benchmarks/results/speed")
# The script and options of each page, and the options of a trial.
PAGES = {
    "libsvm": ("libsvm.py --pairs 2000 10000", "--pairs 300 --repeats 1"),
    "operators": ("operators.py", "--repeats 1"),
    "scaling": (f"scaling.py --figure {RESULTS / 'scaling.png'}", "--largest 10000"),
    "defaults": ("defaults.py --limit 900", "--sizes 2000x20"),
    "predictions": ("predictions.py", "--sizes 2000x20 --predicted 200"),
    "small_fits": ("small_fits.py", "--sets yacht --rows 60 --repeats 1"),
    "scaling_data": ("scaling.py --data shuttle protein fashion_mnist_20k", "--data letter"),
    "neighbors": ("neighbors.py", "--data --samples 3000"),
    "peers": (
        "peers.py --max-samples 4000 --limit 30",
        "--data digits --methods Euclid --repeats 1",
    ),
    "conic": (
        "conic.py --data breast_cancer digits generated sonar",
        "--data breast_cancer --C 0.1 --accuracy 0.1",
    ),
    "conic_large": ("conic.py --large --C 0.01 0.1", "--large --C 0.01 --accuracy 1e-3"),
    "passes": ("passes.py", "--methods RAMLSVR --C 0.1"),
    "passes_data": (
        "passes.py --data breast_cancer digits --methods RAMLSVR PSDSVR --C 0.1 1",
        "--data breast_cancer --methods PSDSVR --C 0.1",
    ),
    "large_weights": ("large_weights.py", "--data generated --ratios 1 1000"),
    "cones": ("cones.py", "--data wine --repeats 1"),
    "path": ("path.py", "--data wine --numbers 3"),
    "workers": ("workers.py --chunk 500000", "--samples 10000 --chunk 5000"),
    "workers_defaults": (
        "workers_defaults.py",
        "--samples 5000 --learners DiscriminantAlignment",
    ),
}


def machine():
    """The machine in one sentence."""
    cpuinfo = Path("/proc/cpuinfo")
    models = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(": ")[1] for line in models if line.startswith("model name")]
    versions = {package.name: package.version for package in distributions()}
    packages = ("numpy", "scipy", "scikit-learn", "numba", "metricalign")
    blas = np.show_config("dicts")["Build Dependencies"]["blas"]
    parts = [
        f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        *(f"{name} {versions[name]}" for name in packages if name in versions),
        f"{blas['name']} {blas['version']}",
        f"load {os.getloadavg()[0]:.1f} at the start",
    ]
    return f"{time.strftime('%Y-%m-%d')}, {'; '.join(parts)}."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument("--quick", action="store_true", help="a trial of the least sizes")
    options = parser.parse_args()
    (ROOT / RESULTS).mkdir(parents=True, exist_ok=True)
    for page in options.only:
        command, trial = PAGES[page]
        command = f"{command.split()[0]} {trial}" if options.quick else command
        command = f"benchmarks/speed/{command}"
        heading = f"`python {command}`, {machine()}"
        print(f"\n{heading}\n", flush=True)
        lines = []
        arguments = [sys.executable, *command.split()]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        if process.returncode:
            raise SystemExit(f"{command} failed with exit status {process.returncode}")
        if not options.quick:
            text = f"{heading}\n\n{''.join(lines)}"
            (ROOT / RESULTS / f"{page}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
