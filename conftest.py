"""Runs the suite on all cores, and leaves out the tests of extras that are not installed."""

import os
from importlib.util import find_spec

import pytest

HAS_DEEP = find_spec("torch") is not None and find_spec("skorch") is not None

collect_ignore_glob = [] if HAS_DEEP else ["metricalign/deep/*", "tests/test_deep*"]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in as many processes as there are cores, each in one thread.

    Some of the tests, named on the command line, run in one process: its workers take seconds to
    start.
    """
    option = config.option
    if hasattr(config, "workerinput"):  # in one of these processes
        return
    is_whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    is_watched = option.usepdb or option.collectonly
    if is_whole and not is_watched and getattr(option, "numprocesses", 0) is None:
        option.numprocesses = "auto"
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_report_header():
    """Say what is left out."""
    if not HAS_DEEP:
        return 'metricalign.deep is not tested: pip install "metricalign[deep]" (PyTorch, skorch)'
    return None
