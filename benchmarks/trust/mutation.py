"""Mutation score of the mathematics: how many small changes of the code the tests notice.

mutmut changes one operator, constant, argument or assignment of a function at a time and runs
the tests that reach it. A mutant that makes a test fail, or run several times as long, is
killed. Left out are the texts of errors, arguments such as check_finite and what mutmut cannot
change: decorated functions (properties) and module-level statements. Everything happens in a
temporary copy, in one process: 150 mutants take about ten minutes.

    pip install "mutmut>=3.8" && python benchmarks/trust/mutation.py --module losses cones
"""

import argparse
import ast
import contextlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def solver_tests(expression):
    return ["tests/test_solvers.py", "-k", expression]


# Small real problems with known optima, which every part of the default solver has a share in.
OPTIMA = (
    "units or not quasi and not projected and (wine and (optimum or one_iteration or float32) or "
)
# Files to change, and the tests that have to notice: chosen to take seconds.
MODULES = {
    "losses": (["losses.py"], ["tests/test_losses.py"]),
    "cones": (["cones/*.py"], ["tests/test_cones.py"]),
    "operators": (
        ["operators.py", "kernels/*.py"],
        ["tests/test_operators.py", "tests/test_kernels.py"],
    ),
    "problem": (
        ["solvers/problem.py"],
        solver_tests(
            OPTIMA + "balance or feasible_coefficients or keeps or reweighted or certificate_of or"
            " dual_value_above or both_kinds or one_sided_loss or callback_stops or basis)"
        ),
    ),
    "newton": (
        ["solvers/semismooth_newton.py"],
        solver_tests(
            OPTIMA + "newton_system or factor_ or newton_objective or along_a_line or few_passes or"
            " ends_where or squared_loss or one_feature)"
        ),
    ),
    "projected_gradient": (
        ["solvers/accelerated_gradient.py"],
        solver_tests("gradient_method or projected and (wine or squared or callback or steps)"),
    ),
    "quasi_newton": (
        ["solvers/quasi_newton.py"],
        solver_tests("quasi and (wine or squared or callback or steps or stall)"),
    ),
    "nu": (["solvers/nu.py"], solver_tests("nu_")),
    "ridge": (["solvers/ridge.py"], solver_tests("ridge")),
}
# Arguments that choose checks and algorithms, not results.
WAYS = re.compile(r",\s*(check_finite|copy|driver|optimize)=[^,()]*|,\s*(?=\))")
KILLED = {"killed", "timeout", "segfault", "suspicious"}
# Examples of hypothesis: always the same, and a failing one is not made small first. Numba is
# imported once and not by every worker.
CONFTEST = """
from contextlib import suppress

from hypothesis import Phase, settings

with suppress(ImportError):
    import numba

settings.register_profile(
    "mutation", derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate)
)
"""


def configuration(paths, tests):
    """Section of pyproject.toml; a worker starts from imported, not from used test modules."""
    settings = {
        "source_paths": ["metricalign"],
        "only_mutate": [str(path) for path in paths],
        "also_copy": ["conftest.py"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--hypothesis-profile=mutation"],
        "pytest_add_cli_args_test_selection": tests,
        "process_isolation": "forkserver",
        "timeout_constant": 5.0,
        "timeout_multiplier": 4.0,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n[tool.mutmut]\n" + "\n".join(lines) + "\n"


def protect_errors(path):
    """Mark the lines of raise statements as not to be changed."""
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Raise):
            for number in range(node.lineno - 1, node.end_lineno):
                lines[number] += "  # pragma: no mutate"
    path.write_text("\n".join(lines) + "\n")


def generate(paths):
    """Names of all mutants that could matter; the working directory is the copy."""
    from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants

    with contextlib.redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(1)
    return [mutant for path in paths for mutant in exit_codes(path) if matters(mutant)]


def exit_codes(path):
    """What mutmut knows of the mutants of a file."""
    return json.loads(Path("mutants", f"{path}.meta").read_text())["exit_code_by_key"]


def changed_lines(mutant):
    """Lines that a mutant takes away, and those that it adds."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    text = get_diff_for_mutant(mutant).replace("  # pragma: no mutate", "")
    lines = [line for line in text.splitlines() if line[:3] not in ("+++", "---")]
    return tuple([line for line in lines if line.startswith(sign)] for sign in "-+")


def matters(mutant):
    """Whether more than the way to the same result is changed."""
    before, after = ([WAYS.sub("", line[1:]) for line in lines] for lines in changed_lines(mutant))
    return before != after


def copy_tree(folder, patterns, tests):
    """What the tests need, ready for mutmut; the files to change."""
    for part in ("metricalign", "tests"):
        shutil.copytree(
            REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    for part in ("conftest.py", "setup.cfg", "pyproject.toml"):
        shutil.copy(REPOSITORY / part, folder)
    found = (path for each in patterns for path in folder.glob(f"metricalign/{each}"))
    paths = sorted(path.relative_to(folder) for path in found)
    for path in paths:
        protect_errors(folder / path)
    for name, text in [
        ("pyproject.toml", configuration(paths, tests)),
        ("conftest.py", CONFTEST),
    ]:
        with open(folder / name, "a") as file:
            file.write(text)
    return paths


def run(mutants):
    """Run mutmut in the working directory."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *mutants]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mutmut failed:\n{done.stdout[-3000:]}{done.stderr}")


def run_module(name, folder, sample, seed):
    """What became of each chosen mutant of a module, and the number of all its mutants."""
    from mutmut.configuration import reset_config
    from mutmut.stats import status_by_exit_code

    paths = copy_tree(folder, *MODULES[name])
    with contextlib.chdir(folder):
        reset_config()
        mutants = generate(paths)
        n_mutants = len(mutants)
        if 0 < sample < n_mutants:
            mutants = random.Random(seed).sample(mutants, sample)
        run(mutants)
        codes = {mutant: code for path in paths for mutant, code in exit_codes(path).items()}
    return {mutant: status_by_exit_code[codes[mutant]] for mutant in mutants}, n_mutants


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--sample", type=int, default=150, help="mutants a module; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| module | mutants | tried | killed | of these by time-out | survived | score |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    survivors = []
    for name in options.module:
        with tempfile.TemporaryDirectory() as folder:
            fates, n_all = run_module(name, Path(folder), options.sample, options.seed)
            alive = [mutant for mutant, fate in fates.items() if fate not in KILLED]
            with contextlib.chdir(folder):
                for mutant in alive:
                    before, after = changed_lines(mutant)
                    survivors.append("\n".join([mutant, *before, *after, ""]))
        n_tried, n_late = len(fates), list(fates.values()).count("timeout")
        killed = n_tried - len(alive)
        row = [name, n_all, n_tried, killed, n_late, len(alive), f"{killed / n_tried:.1%}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print("\nSurvivors:\n")
    for text in survivors:
        print(text)


if __name__ == "__main__":
    main()
