"""Leaves out the tests of extras that are too large for every test run, and says so."""

from importlib.util import find_spec

HAS_DEEP = find_spec("torch") is not None and find_spec("skorch") is not None

collect_ignore_glob = [] if HAS_DEEP else ["metricalign/deep/*", "tests/test_deep*"]


def pytest_report_header():
    """Say what is left out."""
    if not HAS_DEEP:
        return 'metricalign.deep is not tested: pip install "metricalign[deep]" (PyTorch, skorch)'
    return None
