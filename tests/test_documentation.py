"""What the documentation says is what the code does."""

import ast
import importlib
import importlib.util
import inspect
import re
import sqlite3
import subprocess
import sys
import tomllib
from abc import ABC, update_abstractmethods
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import metricalign
from metricalign import (
    NCML,
    PCML,
    PSDSVR,
    RAMLKRR,
    RAMLNCSVR,
    RAMLPCSVR,
    RAMLSVR,
    DoubletSVM,
    MetricEnsemble,
    MetricNeighborsRegressor,
    NeighborhoodAlignment,
    RelationAlignment,
    RelationAlignmentCV,
)
from metricalign.learners import ensemble
from metricalign.learners.alignment.base import _FEATURES_OF_ONE_THREAD
from metricalign.learners.neighborhood import search
from metricalign.learners.neighborhood.candidates import Neighborhoods
from metricalign.losses import LOSSES
from metricalign.predictors.trees import MANY_SAMPLES
from metricalign.regularizers import REGULARIZERS
from metricalign.relations import resolve_relation
from metricalign.solvers import SOLVERS
from metricalign.solvers.newton_system import LARGEST_SYSTEM

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *GUIDE]
PUBLIC = [getattr(metricalign, name) for name in metricalign.__all__]
ESTIMATORS = [item for item in PUBLIC if isinstance(item, type) and hasattr(item, "fit")]


def blocks(language, text=README):
    """Code blocks of a page, README.md if not another one, by the line they start in."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {text[: match.start()].count("\n") + 1: match[1] for match in found}


def is_present(name):
    """Whether a package that code of the guide needs is installed."""
    packages = ("torch", "skorch") if name == "metricalign.deep" else (name,)
    if name == "sqlite_vec" and not hasattr(sqlite3.Connection, "enable_load_extension"):
        return False
    return all(find_spec(package) for package in packages)


def sections(item):
    """Sections of a numpydoc docstring by title."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.getdoc(item), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names(section):
    """Names that a section of a docstring describes."""
    lines = re.findall(r"^(\w[\w, ]*?)(?: ?:.*)?$", section, re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


# Code of README.md


@pytest.mark.parametrize("line", blocks("python"))
def test_code_of_the_readme_runs(line, capsys):
    exec(compile(blocks("python")[line], f"README.md, line {line}", "exec"), {})
    printed = capsys.readouterr().out
    assert bool(printed) == ("print(" in blocks("python")[line])


def test_readme_begins_with_what_it_prints(capsys):
    code, printed = (next(iter(blocks(language).values())) for language in ("python", "text"))
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


# .ci/run, which builds the pages, runs all of them; the one that other tests use is quick to break.
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page.stem == "extending" else [pytest.mark.slow])
        for page in GUIDE
    ],
    ids=lambda page: page.stem,
)
def test_code_of_the_guide_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # pgserver warns where there is none
    for line, code in blocks("python", page.read_text(encoding="utf-8")).items():
        extras = ("metricalign.deep", "skl2onnx", "onnxruntime", "ray", "pyspark", "sqlite_vec")
        extras = (*extras, "qdrant_client", "pgserver", "umap")
        needed = [name for name in extras if re.search(rf"\b{name}\b", code)]
        if not all(map(is_present, needed)):
            continue  # conftest.py says what an extra that is missing leaves out
        exec(compile(code, f"{page.name}, line {line}", "exec"), {})
        assert capsys.readouterr().out


def test_guide_names_every_estimator():
    text = (ROOT / "docs" / "guide" / "estimators.md").read_text(encoding="utf-8")
    assert {item.__name__ for item in ESTIMATORS} <= set(re.findall(r"\w+", text))


EXTENDING = (ROOT / "docs" / "guide" / "extending.md").read_text(encoding="utf-8")


def parts_of_the_guide():
    """The class of each code block of the page of parts of one's own, its lines, and the block."""
    for code in blocks("python", EXTENDING).values():
        (part,) = (node for node in ast.parse(code).body if isinstance(node, ast.ClassDef))
        yield part.name, part.end_lineno - part.lineno + 1, code


def part_of_the_guide(name):
    """A class of that page."""
    names = {}
    tree = ast.parse({name: code for name, _, code in parts_of_the_guide()}[name])
    kept = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef)
    ]
    exec(compile(ast.Module(kept, []), "extending.md", "exec"), names)
    return names[name]


def public_names():
    """Public classes and functions of the rooms by name, those of `deep` where PyTorch is."""
    rooms = "features losses metrics multilabel neighbors pair_classification pairs plotting"
    rooms = [*rooms.split(), "predictors", "regularizers", "relations", "solvers", "testing"]
    rooms += ["deep"] if is_present("metricalign.deep") else []
    modules = [metricalign, *(importlib.import_module(f"metricalign.{room}") for room in rooms)]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    written = re.findall(r"`[^`]*?\b([A-Z]\w+)\(([^()]*)\)[^`]*`", text)
    # `RelationAlignment` with `cone="diagonal"`
    written += re.findall(r"`([A-Z]\w+)`[^`.|]{0,25}`(\w+=)", text)
    public = public_names()
    for name, options in written:
        if name in public:
            known = inspect.signature(public[name]).parameters
            found = re.findall(r"(\w+)=", options)
            # A part's own parameters are reached by two underscores.
            assert {option.split("__")[0] for option in found} <= set(known), (name, options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_in_the_text_have_the_options(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, options in re.findall(r"python ((?:benchmarks|docs)/[\w/.]+)([^`\n]*)", text):
        path = ROOT / name
        assert path.exists(), name
        # Programs of one folder share some options.
        folder = path if path.is_dir() else path.parent
        source = "".join(each.read_text(encoding="utf-8") for each in folder.glob("*.py"))
        for option in re.findall(r"(?<!\S)--[\w-]+", options):
            assert f'"{option}"' in source, (name, option)


def test_constants_in_the_text_are_those_of_the_code():
    choosing = (ROOT / "docs" / "guide" / "choosing.md").read_text(encoding="utf-8")
    mathematics = (ROOT / "docs" / "guide" / "mathematics.md").read_text(encoding="utf-8")
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    samples = search._SAMPLES_OF_STEP * search._STEPS_OF_ITERATION
    candidates = f"{search._LARGEST_NUMBER_OF_CANDIDATES:,}"
    features = next(d for d in range(100) if d * (d + 1) // 2 > LARGEST_SYSTEM) - 1
    for text, words in (
        (choosing, f"the {ensemble._N_COMPONENTS} leading components"),
        (mathematics, f"fitted to their {ensemble._N_COMPONENTS} leading principal components"),
        (mathematics, f"half of the other samples, at most {candidates}."),
        (MetricEnsemble.__doc__, f"more than {ensemble._N_COMPONENTS} encoded columns"),
        (NeighborhoodAlignment.__doc__, f"or over {samples:,} of them"),
        (NeighborhoodAlignment.__doc__, f"random half of the samples, at most {candidates}."),
        (NeighborhoodAlignment.__doc__, f"this share of {search._SMALLEST_LOSS} if"),
        (RAMLKRR.__doc__, f"up to {LARGEST_SYSTEM} pairs or {features} features"),
        (MetricNeighborsRegressor.__doc__, f"More than {MANY_SAMPLES:,} samples have two folds"),
        (speed, f"up to {_FEATURES_OF_ONE_THREAD} features a fit has one"),
    ):
        assert words in " ".join(text.split()), words


def test_default_learners_of_the_ensemble_are_documented():
    X, y = load_wine(return_X_y=True)
    for _, learner in MetricEnsemble().fit(X, y).learners_:
        given = repr(clone(learner).set_params(relation="auto"))
        assert given in " ".join(MetricEnsemble.__doc__.split()), given


def test_parts_of_the_guide_are_one_short_class_each():
    lengths = {name: length for name, length, _ in parts_of_the_guide()}
    assert len(lengths) == 7
    assert max(lengths.values()) <= 40
    for name, _, code in parts_of_the_guide():
        assert re.search(rf"^check_\w+\({name}\(", code, re.MULTILINE), name


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("Huber", "value"),
        ("Huber", "conjugate"),
        ("TraceNorm", "shrink"),
        ("AroundTheClock", "__call__"),
        ("FocalLoss", "for_samples"),
    ],
)
def test_parts_that_lack_a_method_say_so(name, method):
    X, y = load_diabetes(return_X_y=True)
    part = part_of_the_guide(name)
    delattr(part, method)
    if issubclass(part, ABC):
        update_abstractmethods(part)
    argument = {"TraceNorm": "cone", "AroundTheClock": "relation"}.get(name, "loss")
    with pytest.raises((NotImplementedError, TypeError), match=f"{name}.* method '?{method}"):
        RelationAlignment(**{argument: part()}).fit(X[::9], y[::9])


def test_quantile_loss_of_the_guide_finds_the_quantile():
    X, y = load_diabetes(return_X_y=True)
    learner = RelationAlignment(part_of_the_guide("Quantile")(0.9)).fit(X, y)
    assert learner.converged_
    left, right = learner.pairs_.T
    Z = X[left] - X[right]
    errors = np.einsum("pi,ij,pj->p", Z, learner.matrix_, Z) + learner.intercept_
    # With an intercept the share of the pairs, by weight, that are below is the quantile.
    assert np.mean(errors >= learner.relations_ - 1e-6) == pytest.approx(0.9, abs=0.03)


REFERENCES = {}


@pytest.mark.parametrize("solver", ["newton", "quasi_newton", "projected_gradient"])
@pytest.mark.parametrize(
    ("loss", "regularizer"),
    [
        (("Huber", 0.1), "symmetric"),
        (("Quantile", 0.7), "positive_semidefinite"),
        ("squared", ("TraceNorm", 0.02)),
        ("epsilon_insensitive", ("TraceNorm", 0.02)),
        ("squared", ("BoundedTrace", 0.05)),
        (("Huber", 0.1), ("BoundedTrace", 0.05)),
    ],
    ids=str,
)
def test_parts_of_the_guide_are_solved_by_every_solver(loss, regularizer, solver):
    X, y = load_wine(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[::4], y[::4]
    loss, regularizer = (
        part if isinstance(part, str) else part_of_the_guide(part[0])(part[1])
        for part in (loss, regularizer)
    )
    learner = RelationAlignment(loss, cone=regularizer, solver=solver, tol=1e-5)
    found = learner.set_params(max_iter=5000).fit(X, y)
    assert found.converged_
    parts = str(loss), str(regularizer)
    if parts not in REFERENCES:
        reference = RelationAlignment(loss, cone=regularizer, solver="cvxpy", tol=1e-6)
        REFERENCES[parts] = reference.fit(X, y)
    expected = REFERENCES[parts]
    assert found.objective_ == pytest.approx(expected.objective_, rel=2e-5)
    assert np.linalg.norm(found.matrix_ - expected.matrix_) <= (
        found.metric_error_bound_ + expected.metric_error_bound_
    )


def test_parameters_of_the_parts_of_the_guide_are_searched():
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[::4], y[::4]
    parts = {
        "loss": part_of_the_guide("Huber")(),
        "cone": part_of_the_guide("TraceNorm")(0.0),
        "relation": part_of_the_guide("AroundTheClock")(1000),
    }
    grid = {"loss__delta": [20, 50], "cone__weight": [0.0, 0.1], "relation__period": [700]}
    for learner in (
        RelationAlignment(**parts),
        RelationAlignmentCV(**parts, Cs=[3e-4, 1e-3], cv=2),
    ):
        search = GridSearchCV(learner, grid, cv=2, error_score="raise").fit(X, y)
        assert len(set(search.cv_results_["mean_test_score"])) == 4
        assert search.best_estimator_.relation_.function.period == 700
        assert learner.relation.period == 1000


def test_focal_loss_of_the_guide_has_its_derivative():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 8)
    relation = resolve_relation("class", y)
    loss = part_of_the_guide("FocalLoss")()
    made = loss.for_samples(relation, relation.encode(y), np.ones(8))
    probabilities = rng.dirichlet(np.ones(8), 8)
    everyone = Neighborhoods(np.arange(8), np.arange(8))
    value, derivative = made.value_and_derivative(probabilities, everyone)
    right = np.array([sum(probabilities[i][y == y[i]]) for i in range(8)])
    expected = -((1 - right) ** 2) * np.log(right + 1e-7)
    np.testing.assert_allclose(value, expected)
    step = 1e-6 * rng.normal(size=(8, 8))
    above, below = (
        made.value_and_derivative(probabilities + sign * step, everyone)[0] for sign in (1, -1)
    )
    np.testing.assert_allclose(np.sum(derivative * step, axis=1), (above - below) / 2, rtol=1e-6)


def test_guide_says_what_solvers_need():
    rows = re.findall(r'^\| `"(\w+)"` \| (`.*`) \| (.*) \|$', EXTENDING, re.MULTILINE)
    said = {name: [re.findall(r"`(\w+)`", cell) for cell in cells] for name, *cells in rows}
    assert said == {
        name: [solver.needs["conjugate"], list(solver.needs["projection"])]
        for name, solver in SOLVERS.items()
        if hasattr(solver, "needs") and name != "auto"
    }


def test_notes_name_every_loss_and_cone():
    text = (ROOT / "docs" / "problem.md").read_text(encoding="utf-8")
    assert re.findall(r'^\| `"(\w+)"`', text, re.MULTILINE) == [*LOSSES, *REGULARIZERS]


def test_readme_names_every_estimator():
    table = re.search(r"^## Estimators\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [
        name for name in re.findall(r"\b\w+\b", table) if name in metricalign.__all__
    ]
    assert {item.__name__ for item in ESTIMATORS} == set(
        re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    )


def test_links_of_the_readme_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


# The commands of README.md are what .ci/run runs.


@pytest.mark.parametrize("name", ["tour", "tests"])
def test_continuous_integration_runs_the_readme(name):
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"\nrun_readme {name}\n" in script
    function = re.search(r"^readme_command\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)[0]
    command = subprocess.run(
        ["bash", "-c", f"{function}\nreadme_command {name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert command in blocks("bash").values()
    assert command.startswith("pip install ")
    assert {"tour": "python -m metricalign", "tests": "python -m pytest"}[name] in command


def test_continuous_integration_can_be_executed():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_continuous_integration_tests_the_oldest_releases():
    printed = subprocess.run(
        [sys.executable, ROOT / ".ci" / "floors"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len({line.split("==")[0] for line in printed}) == len(printed)
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in metadata["dependencies"]:
        assert requirement.replace(">=", "==") in printed


# Docstrings


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda item: item.__name__)
def test_parameters_are_documented(estimator):
    parameters = inspect.signature(estimator).parameters
    documented = sections(estimator)["Parameters"]
    assert names(documented) == list(parameters)
    grouped = {
        name for line in re.findall(r"^\w+, .*", documented, re.MULTILINE) for name in names(line)
    }
    for name, parameter in parameters.items():
        if name in grouped:
            assert name in inspect.signature(RelationAlignment).parameters
            continue
        line = re.search(rf"^{name} : (.*(?:\n(?!    ).*)*)$", documented, re.MULTILINE)[1]
        default = re.search(r"default=(.*)$", line)[1]
        assert ast.literal_eval(default) == parameter.default, name


@pytest.mark.parametrize(
    "method",
    [NCML, PCML, PSDSVR, RAMLKRR, RAMLNCSVR, RAMLPCSVR, RAMLSVR, DoubletSVM],
    ids=lambda item: item.__name__,
)
def test_help_of_a_method_is_complete(method):
    assert "ee `RelationAlignment`" not in inspect.getdoc(method)
    for section in ("Parameters", "Attributes"):
        assert not re.search(r"^\w+(, \w+)*$", sections(method)[section], re.MULTILINE)


# A method that overrides another has its docstring in help() and in the reference.
@pytest.mark.parametrize(
    "room",
    [
        *("datasets", "features", "learners", "learners.neighborhood", "losses", "metrics"),
        *("multilabel", "pair_classification", "plotting", "predictors", "regularizers"),
    ],
)
def test_every_method_documents_its_parameters(room):
    module = importlib.import_module(f"metricalign.{room}")
    for item in (getattr(module, name) for name in module.__all__):
        methods = [item]
        if isinstance(item, type):
            named = {name for kind in item.__mro__ for name in vars(kind) if name[0] != "_"}
            methods = [getattr(item, name) for name in named]
        for method in methods:
            is_function = inspect.isfunction(method) or inspect.ismethod(method)
            if not is_function or not method.__module__.startswith("metricalign."):
                continue  # attributes, and methods of scikit-learn
            parameters = {*inspect.signature(method).parameters} - {"self"}
            documented = names(sections(method).get("Parameters", "").replace("**", ""))
            assert parameters <= set(documented), method


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda item: item.__name__)
def test_attributes_are_documented(estimator):
    is_of_classes = estimator in (DoubletSVM, PCML, NCML)
    X, y = (load_wine if is_of_classes else load_diabetes)(return_X_y=True, as_frame=True)
    learner = estimator().fit(X, y)
    computed = dict(inspect.getmembers(estimator, lambda member: isinstance(member, property)))
    fitted = {
        name
        for name in {*vars(learner), *computed}
        if re.fullmatch(r"[a-z]\w*_|n_features_in_", name, re.I)
    }
    documented = set(names(sections(estimator)["Attributes"]))
    if hasattr(learner, "cone"):  # which decides on coef_
        documented.discard("coef_")
    assert documented == fitted


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__name__)
def test_public_names_have_examples(item):
    assert ">>>" in sections(item)["Examples"]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda item: item.__name__)
def test_methods_document_their_arguments(estimator):
    for name, method in inspect.getmembers(estimator, inspect.isfunction):
        if name.startswith("_") or not method.__module__.startswith("metricalign"):
            continue
        arguments = [a for a in inspect.signature(method).parameters if a != "self"]
        documented = sections(method)
        assert names(documented.get("Parameters", "")) == arguments, name
        assert "Returns" in documented, name


def test_import_and_fit_are_light():
    # scikit-learn itself imports pandas and rich where they are installed
    code = (
        "import sklearn, sklearn.utils.fixes, sys\n"
        "try:\n    import sklearn.callback\nexcept ImportError:\n    pass\n"
        "before = set(sys.modules)\n"
        "import metricalign, numpy\n"
        "X = numpy.random.rand(20, 2)\n"
        "metricalign.RAMLSVR().fit(X, X[:, 0]).transform(X)\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    modules = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "metricalign" in modules
    heavy = {"cvxpy", "dask", "distributed", "matplotlib", "pandas", "rich", "skorch", "torch"}
    assert not heavy & set(modules)


# The rooms of the package


def test_long_modules_say_why():
    """A module of over 500 lines says in its first sentence that it is long, since ..."""
    package = ROOT / "metricalign"
    for path in package.rglob("*.py"):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(package).as_posix()
        first_sentence = ast.get_docstring(ast.parse(text)).split("\n\n")[0].split(". ")[0]
        is_long = len(text.splitlines()) > 500
        assert is_long == (" long since " in first_sentence.replace("\n", " ")), name


def test_private_names_stay_in_their_module():
    for path in (ROOT / "metricalign").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        taken = {
            alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("metricalign")
            for alias in node.names
            if re.match("_[^_]", alias.name)
        }
        assert taken <= {"_fit_context"}, path  # the name that scikit-learn gives it


@pytest.fixture(scope="module")
def import_graph():
    path = ROOT / "docs" / "import_graph.py"
    spec = importlib.util.spec_from_file_location("import_graph", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rooms_import_only_what_comes_before_them(import_graph):
    graph = import_graph.imports()
    assert import_graph.backward(graph) == []


def test_page_of_the_rooms_is_of_today(import_graph):
    graph = import_graph.imports()
    advice = "run python docs/import_graph.py"
    assert import_graph.page(graph) == import_graph.PAGE.read_text(encoding="utf-8"), advice
    assert import_graph.picture(graph) == import_graph.PICTURE.read_text(encoding="utf-8"), advice


def test_import_against_the_order_is_found(import_graph, tmp_path, monkeypatch):
    files = {
        "__init__.py": "from metricalign.learners.alignment import PSDSVR",
        "_files.py": "from metricalign import PSDSVR",
        "relations.py": "def f():\n    from metricalign.solvers.problem import solve",
        "solvers/problem.py": "import numpy\nimport metricalign.relations\nfrom os import path",
        "learners/alignment.py": "from metricalign import losses",
        "attic.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(import_graph, "PACKAGE", tmp_path)
    graph = import_graph.imports()
    assert graph == {
        "foundation": {"learners"},
        "relations": {"solvers"},
        "solvers": {"relations"},
        "learners": {"losses"},
        "attic": set(),
    }
    assert sorted(import_graph.backward(graph)) == [
        "attic is not among ROOMS of docs/import_graph.py",
        "foundation imports learners, which comes after it",
        "relations imports solvers, which comes after it",
    ]


def test_names_of_the_package_exist():
    assert sorted(set(metricalign.__all__)) == sorted(metricalign.__all__)
    assert all(item.__module__.startswith("metricalign") for item in PUBLIC)
