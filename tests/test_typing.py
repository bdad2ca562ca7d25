"""The public surface has types, and type checkers of a user's code see them."""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import sysconfig
from functools import cached_property
from pathlib import Path

import pytest

import metricalign

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(metricalign.__path__, "metricalign.")
    if not any(part.startswith("_") for part in name.split("."))
]


def public_functions(module):
    """Functions of the public names of a module, with those of its classes, by name."""
    for name in module.__all__:
        item = getattr(module, name)
        if inspect.isfunction(item):
            yield name, item
        elif inspect.isclass(item) and item.__module__.startswith("metricalign"):
            for method, value in vars(item).items():
                if isinstance(value, property):
                    value = value.fget
                elif isinstance(value, cached_property):
                    value = value.func
                elif isinstance(value, classmethod | staticmethod):
                    value = value.__func__
                elif hasattr(value, "fn"):  # of available_if
                    value = value.fn
                if inspect.isfunction(value) and (method == "__init__" or method[0] != "_"):
                    yield f"{name}.{method}", value


@pytest.mark.parametrize("name", ["metricalign", *MODULES])
def test_public_functions_are_annotated(name):
    if name.startswith("metricalign.deep"):
        pytest.importorskip("skorch")
    module = importlib.import_module(name)
    if not hasattr(module, "__all__"):
        pytest.skip("has no public names")
    lacking = []
    for function, item in public_functions(module):
        signature = inspect.signature(inspect.unwrap(item))
        lacking += [
            f"{function}({parameter.name})"
            for parameter in signature.parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        if signature.return_annotation is signature.empty and not function.endswith("__init__"):
            lacking.append(f"{function} -> ?")
    assert lacking == []


USER = """
from sklearn.datasets import load_wine
from metricalign import PSDSVR, MetricEnsemble, RelationAlignment
from metricalign.losses import EpsilonInsensitive
from metricalign.metrics import chebyshev_loss
from metricalign.multilabel import MLkNN
from metricalign.pair_classification import PairClassifier
from metricalign.relations import resolve_relation

X, y = load_wine(return_X_y=True)
reveal_type(PSDSVR().fit(X, y))
reveal_type(MetricEnsemble().fit(X, y))
reveal_type(RelationAlignment(loss=EpsilonInsensitive(epsilon=0.1)).fit_path(X, y, [1.0]))
reveal_type(PSDSVR().fit(X, y).transform(X))
reveal_type(PSDSVR().fit(X, y).score(X, y))
reveal_type(PSDSVR().fit(X, y).get_metric())
reveal_type(PSDSVR().fit(X, y).get_metric()(X[0], X[1]))
reveal_type(PairClassifier().fit([[[0.0], [1.0]]], [1]).predict([[[0.0], [1.0]]]))
reveal_type(MLkNN(5).fit(X, y))
reveal_type(resolve_relation("class", y))
reveal_type(chebyshev_loss([[0.5, 0.5]], [[0.2, 0.8]]))
"""
REVEALED = [
    "metricalign.learners.alignment.regression.PSDSVR",
    "metricalign.learners.ensemble.MetricEnsemble",
    "list[metricalign.learners.alignment.general.RelationAlignment]",
    "numpy.ndarray",
    "float",
    "metricalign.learners.base.MahalanobisDistance",
    "float",
    "numpy.ndarray",
    "metricalign.multilabel.MLkNN",
    "metricalign.relations.target.TargetRelation",
    "float",
]

MISTAKEN = """
from metricalign import PSDSVR

PSDSVR(epsilon="a tenth")
PSDSVR(tolerance=1e-3)
PSDSVR().fit([[0.0]])
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of two scripts of a user, in its strict mode."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("user")
    (folder / "user.py").write_text(USER, encoding="utf-8")
    (folder / "mistaken.py").write_text(MISTAKEN, encoding="utf-8")
    (folder / "mypy.ini").write_text(
        "[mypy]\n"
        "strict = true\n"
        "[mypy-sklearn.*]\n"
        "ignore_missing_imports = true\n"
        "[mypy-metricalign.*]\n"
        "follow_imports = silent\n"
    )
    package = Path(metricalign.__file__).parent
    is_installed = package.parent == Path(sysconfig.get_path("purelib"))
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "user.py", "mistaken.py"],
        cwd=folder,
        # Where Python finds the source tree, mypy does not look.
        env=os.environ | ({} if is_installed else {"MYPYPATH": str(package.parent)}),
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()


@pytest.mark.slow
def test_types_that_a_user_sees(said):
    assert [line for line in said if line.startswith("user.py") and ": error: " in line] == []
    revealed = [line.split('"')[1] for line in said if "Revealed type" in line]
    assert [found.replace("builtins.", "").split("[tuple")[0] for found in revealed] == REVEALED


def test_mistakes_that_a_user_is_told(said):
    errors = [line.split(":")[:2] for line in said if ": error: " in line]
    assert errors == [["mistaken.py", "4"], ["mistaken.py", "5"], ["mistaken.py", "6"]]


def test_package_says_that_it_has_types():
    assert Path(metricalign.__file__).with_name("py.typed").exists()
