"""Mutation score of the mathematics: how many small changes of the code the tests notice.

mutmut changes one operator, constant, argument or assignment of a function at a time; here the
tests that reach it are run on each of these mutants. A mutant that makes a test fail, or that
takes several times the time, is killed. Left out are the texts of errors, arguments such as
check_finite and what mutmut cannot change: properties and other decorated functions (but the
solvers are decorated in another place for it) and module-level statements. Everything happens in
a temporary copy, on one core: a mutant takes about a second.

    pip install "mutmut>=3.8" && python benchmarks/trust/mutation.py --module losses regularizers
"""

import argparse
import ast
import contextlib
import gc
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
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
    "losses": (["losses/*.py"], ["tests/test_losses.py"]),
    "regularizers": (["regularizers/*.py"], ["tests/test_regularizers.py"]),
    "operators": (
        ["operators/dense.py", "operators/kernels/*.py"],
        ["tests/test_operators.py", "tests/test_kernels.py"],
    ),
    "problem": (
        ["solvers/problem.py", "solvers/result.py"],
        solver_tests(
            OPTIMA + "balance or feasible_coefficients or keeps or reweighted or certificate_of or"
            " dual_value_above or both_kinds or one_sided_loss or callback_stops or basis or"
            " lacks_a_method or prior_point or near_the_prior or gives_way or goes_on or"
            " leaves_too or rounding_of)"
        ),
    ),
    "newton": (
        ["solvers/semismooth_newton.py", "solvers/newton_system.py"],
        solver_tests(
            OPTIMA + "newton_system or factor_ or newton_objective or along_a_line or few_passes or"
            " ends_where or squared_loss or one_feature or callback_stops or with_a_price or pull_"
            " or newton_stops or only_rises or proximal_step or large_weight or wine and immediate)"
        ),
    ),
    "projected_gradient": (
        ["solvers/accelerated_gradient.py"],
        solver_tests("gradient_method or projected and (wine or squared or callback or steps)"),
    ),
    "quasi_newton": (
        ["solvers/quasi_newton.py"],
        solver_tests(
            "quasi and (wine or squared or callback or steps or stall or units or without_length)"
        ),
    ),
    "nu": (["solvers/nu.py"], solver_tests("nu_")),
    "ridge": (["solvers/ridge.py"], solver_tests("ridge")),
    "reference": (["solvers/reference.py"], solver_tests("reference or conic")),
}
# Arguments that choose checks and algorithms, not results.
WAYS = re.compile(r",\s*(check_finite|copy|driver|optimize)=[^,()]*|,\s*(?=\))")
# By the exit status of the tests; too much computing ends with a signal, and so do crashes.
FATES = {0: "survived", -signal.SIGXCPU: "late"}
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


def configuration(paths):
    """Section of pyproject.toml: what mutmut changes."""
    settings = {
        "source_paths": ["metricalign"],
        "only_mutate": [str(path) for path in paths],
        "also_copy": ["conftest.py"],
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


def decorate_below(path):
    """Decorate the solvers at the end of their module, since mutmut leaves decorated ones out."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        for decorator in getattr(node, "decorator_list", []):
            source = ast.get_source_segment(text, decorator)
            if source.startswith("needs("):
                for number in range(decorator.lineno - 1, decorator.end_lineno):
                    lines[number] = ""
                lines.append(f"{node.name} = {source}({node.name})")
    path.write_text("\n".join(lines) + "\n")


def generate(paths):
    """Names of all mutants that could matter; the working directory is the copy."""
    from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants

    with contextlib.redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(1)
    texts = [Path("mutants", f"{path}.meta").read_text() for path in paths]
    names = [name for text in texts for name in json.loads(text)["exit_code_by_key"]]
    return [mutant for mutant in names if matters(mutant)]


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


def copy_tree(folder, patterns):
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
        decorate_below(folder / path)
    for name, text in [
        ("pyproject.toml", configuration(paths)),
        ("conftest.py", CONFTEST),
    ]:
        with open(folder / name, "a") as file:
            file.write(text)
    return paths


class Trials:
    """Plugin of pytest that runs the collected tests on each mutant, in a fork of its own.

    Attributes
    ----------
    fates : dict of str to str
        What became of each mutant: "killed", "late" (it took too long) or "survived".
    """

    def __init__(self, mutants):
        self.mutants = mutants
        self.fates = {}
        self._has_failed = False

    def pytest_runtest_logreport(self, report):
        self._has_failed |= report.failed

    def pytest_runtestloop(self, session):
        from mutmut.utils.format_utils import mangled_name_from_mutant_name

        # What was made by now is not copied by the collector of every fork.
        gc.freeze()
        if forked(lambda: self._measure(session.items)):
            return True
        measured = json.loads(Path("measured.json").read_text())
        for mutant in self.mutants:
            function = mangled_name_from_mutant_name(mutant)
            items = [item for item in session.items if function in measured[item.nodeid][1]]
            seconds = {item: measured[item.nodeid][0] for item in items}
            status = forked(
                lambda mutant=mutant, seconds=seconds: self._try(mutant, seconds),
                limit=5 + 5 * sum(seconds.values()),
            )
            self.fates[mutant] = FATES.get(status, "killed")
            print(len(self.fates), mutant, self.fates[mutant], file=sys.stderr, flush=True)
        return True

    def _measure(self, items):
        """Seconds of each test, and the functions that it reaches."""
        from mutmut.mutation import trampoline

        reached, measured = set(), {}
        trampoline.record_trampoline_hit = lambda name, caller: reached.add(name)
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        for item in items:
            reached.clear()
            start = time.process_time()
            self._run(item)
            measured[item.nodeid] = (time.process_time() - start, sorted(reached))
        Path("measured.json").write_text(json.dumps(measured))
        return int(self._has_failed)

    def _try(self, mutant, seconds):
        """Whether a test fails; the fast ones first."""
        os.environ["MUTANT_UNDER_TEST"] = mutant
        for item in sorted(seconds, key=seconds.get):
            self._run(item)
            if self._has_failed:
                break
        return int(self._has_failed)

    def _run(self, item):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def forked(function, limit=None):
    """Exit status of a function in a fork that is silent and has so many seconds of computing."""
    process = os.fork()
    if not process:
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(mutants, folder, tests):
    """What becomes of each mutant, in a process without the package."""
    import pytest

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    trials = Trials(mutants)
    options = ["--rootdir=.", "-q", "-s", "--tb=native", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main([*options, "--hypothesis-profile=mutation", *tests], plugins=[trials])
    if len(trials.fates) < len(mutants):
        raise RuntimeError(f"The tests fail without any change: {tests}")
    return trials.fates


def run_module(name, folder, sample, seed):
    """What became of each chosen mutant of a module, and the number of all its mutants."""
    from mutmut.configuration import reset_config

    patterns, tests = MODULES[name]
    paths = copy_tree(folder, patterns)
    with contextlib.chdir(folder):
        reset_config()
        mutants = generate(paths)
    n_mutants = len(mutants)
    if 0 < sample < n_mutants:
        mutants = random.Random(seed).sample(mutants, sample)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as processes:
        fates = processes.submit(run, mutants, folder / "mutants", tests).result()
    return fates, n_mutants


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--sample", type=int, default=150, help="mutants a module; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    print("| module | mutants | tried | killed | of these by time-out | survived | score |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    survivors = []
    for name in options.module:
        with tempfile.TemporaryDirectory() as folder:
            fates, n_all = run_module(name, Path(folder), options.sample, options.seed)
            alive = [mutant for mutant, fate in fates.items() if fate == "survived"]
            with contextlib.chdir(folder):
                for mutant in alive:
                    before, after = changed_lines(mutant)
                    survivors.append("\n".join([mutant, *before, *after, ""]))
        n_tried, n_late = len(fates), list(fates.values()).count("late")
        killed = n_tried - len(alive)
        row = [name, n_all, n_tried, killed, n_late, len(alive), f"{killed / n_tried:.1%}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print("\nSurvivors:\n")
    for text in survivors:
        print(text)


if __name__ == "__main__":
    main()
