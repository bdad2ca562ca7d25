import csv
import datetime
import errno
import importlib
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from threading import Thread

import joblib
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from typed_tables import read_table

import metricalign
import metricalign.__main__ as main_module
from metricalign import PSDSVR
from metricalign.__main__ import main
from metricalign.command_line import commands, evaluation, figures, messages, outputs
from metricalign.command_line import methods as methods_module
from metricalign.command_line import tour as tour_module
from metricalign.command_line.evaluation import Result, compare
from metricalign.command_line.methods import LEARNERS, LEARNERS_OF_CLASSES, fit_method, learner_of
from metricalign.command_line.models import TableModel, load_model
from metricalign.command_line.reading import (
    InputError,
    Layout,
    _count_padded_titles,
    read_contents,
)
from metricalign.command_line.task_reading import match_columns
from metricalign.command_line.tasks import RULES, Task, sample
from metricalign.learners.base import EmbeddingLearner

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    """Numbers, a category and targets of every kind that depend on them."""
    rng = np.random.default_rng(0)
    length, width, noise = rng.normal(size=(3, 60))
    shares = np.exp(np.column_stack([length, width, 0 * length]))
    shares = np.round(shares / shares.sum(axis=1, keepdims=True), 6)
    return pd.DataFrame(
        {
            "length": length,
            "width": width,
            "noise": noise,
            "town": np.where(width > 0, "Ulm", "Bonn"),
            "species": np.digitize(length, [-0.5, 0.5]),
            "weight": length + 0.1 * noise,
            "height": 100 * width,
            "is_long": (length > 0).astype(int),
            "is_wide": (width > 0).astype(int),
            "share_a": shares[:, 0],
            "share_b": shares[:, 1],
            "share_c": shares[:, 2],
        }
    )


FEATURES = ["--features", "length", "width", "noise", "town"]
TARGETS = {
    "class": ["species"],
    "number": ["weight"],
    "labels": ["is_*"],
    "distribution": ["share_?"],
    "numbers": ["weight", "height"],
}


@pytest.fixture
def table(frame, tmp_path):
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    return str(path)


def targets_of(kind, frame):
    y = frame[match_columns(TARGETS[kind], list(frame), "--target")].to_numpy()
    return y.ravel() if kind in ("class", "number") else y


def write(tmp_path, text, **options):
    path = tmp_path / "given.csv"
    path.write_text(text, **options)
    return str(path)


def error_of(capsys, *arguments):
    """Run what must fail, and return its message."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert (
        max(map(len, error.splitlines())) <= 80
        or "usage" in error
        or max(map(len, error.split())) > 60
    )
    return one_line(error)


def one_line(text):
    """A text without the breaks that make it fit."""
    return " ".join(text.split())


@pytest.fixture
def reads_only(monkeypatch):
    """Leave out the cross-validation, where only the reading of the table is of interest."""

    def compare(task, *arguments, **options):
        values = {measure.name: np.ones(2) for measure in task.rules.measures}
        return [Result("Euclid", values, np.ones(2))], []

    monkeypatch.setattr(commands, "compare", compare)


# What works


@pytest.mark.parametrize("kind", TARGETS)
def test_evaluate_finds_out_the_kind(kind, table, monkeypatch, capsys):
    monkeypatch.setattr(methods_module, "INNER_FOLDS", 2)
    methods = ["PSDSVR", "BoostedTrees"]
    arguments = ["--target", *TARGETS[kind], *FEATURES, "--folds", "2", "--methods", *methods]
    assert main(["evaluate", table, *arguments]) == 0
    output = capsys.readouterr()
    assert f"--kind {kind}" in output.out
    assert all(re.search(rf"\n{name}[* ]", output.out) for name in ("Euclid", *methods))
    assert all(measure.name in output.out for measure in RULES[kind].measures)
    _, _, tables = output.out.partition("Mean +-")
    assert max(map(len, tables.splitlines())) <= 80
    assert output.err == ""


@pytest.mark.parametrize("kind", TARGETS)
def test_measures_are_those_of_cross_validation(kind, frame):
    y = targets_of(kind, frame)
    X = frame[["length", "width", "noise"]].to_numpy()
    # A single number of neighbours is left to choose from.
    task = Task("table", X[:40], y[:40], kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods_module, "NEIGHBORS", (3,))
        (result,), _ = compare(task, [], n_folds=4, seed=1)
    splitter = (StratifiedKFold if kind == "class" else KFold)(4, shuffle=True, random_state=1)
    for fold, (train, test) in enumerate(splitter.split(task.X, task.y if y.ndim == 1 else None)):
        scaler = StandardScaler().fit(task.X[train])
        near = cdist(*map(scaler.transform, (task.X[test], task.X[train]))).argsort(axis=1)[:, :3]
        voted, true = task.y[train][near], task.y[test]
        for name, expected in expected_measures(kind, voted, true).items():
            assert result.values[name][fold] == pytest.approx(expected, rel=1e-9), name


def expected_measures(kind, voted, true):
    """Measures by their formulas, of the targets of the neighbours and of the rows."""
    if kind == "class":
        predicted = np.array([np.bincount(votes).argmax() for votes in voted])
        recalls = [np.mean(predicted[true == label] == label) for label in np.unique(true)]
        return {"accuracy": np.mean(predicted == true), "balanced accuracy": np.mean(recalls)}
    mean = voted.mean(axis=1)
    if kind == "labels":
        # With two labels, the best is among them or not.
        wrong = true.any(axis=1) & ~true[np.arange(len(true)), mean.argmax(axis=1)].astype(bool)
        tied = (mean[:, 0] == mean[:, 1]) & true.any(axis=1)
        one_error = np.where(tied, 1 - true.mean(axis=1), wrong)
        return {"Hamming loss": np.mean((mean > 0.5) != true), "one-error": one_error.mean()}
    error = mean - true
    if kind == "distribution":
        return {
            "Chebyshev": abs(error).max(axis=1).mean(),
            "Canberra": (abs(error) / (mean + true)).sum(axis=1).mean(),
            "intersection": np.minimum(mean, true).sum(axis=1).mean(),
            "Kullback-Leibler": (true * np.log(true / mean)).sum(axis=1).mean(),
        }
    unexplained = (error**2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    if kind == "numbers":
        return {
            "mean R2": 1 - unexplained.mean(),
            "RMSE / deviation": np.mean(np.sqrt((error**2).mean(axis=0)) / true.std(axis=0)),
        }
    return {
        "R2": 1 - unexplained,
        "RMSE": np.sqrt((error**2).mean()),
        "mean absolute error": abs(error).mean(),
    }


def test_table_of_measures():
    task = Task("table", np.zeros((4, 2)), np.eye(4, 2), "distribution")
    names = [measure.name for measure in task.rules.measures]
    results = [
        Result(label, {name: np.array(values) for name in names}, np.ones(2))
        for label, values in (("Euclid", [0.5, 0.7]), ("PSDSVR", [0.3, 0.4]))
    ]
    table = messages.measures_of(task, results, "PSDSVR")
    first, *others = table.split("\n\n")
    assert others
    assert max(map(len, table.splitlines())) <= 80
    # A loss went down by 0.25, with deviation 0.05 * sqrt(2).
    assert re.search(r"PSDSVR\* +0\.350 \+- 0\.071 +\+0\.250 \+- 0\.071 +2 of 2", first)
    assert re.search(r"Euclid +0\.600 \+- 0\.141 ", first)
    for block in (first, *others):
        names, better, *_ = block.splitlines()
        for measure in task.rules.measures:
            if (place := names.find(measure.name)) >= 0:
                assert better[place:].startswith("lower" if measure.is_loss else "higher")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.95, 0.97], "0.960 +- 0.014"),
        ([1.0, 1.0], "1.000 +- 0.000"),
        ([1.5, 2.5], "2.000 +- 0.707"),
        ([15000.0, 15002.0], "15001 +- 1"),
        ([-2e-5, -4e-5], "-0.0000300 +- 0.0000141"),
        ([0.0, 0.0], "0.000 +- 0.000"),
    ],
)
def test_decimals(values, text):
    values = np.array(values)
    assert messages._mean_and_deviation(values, messages.decimals_of([values])) == text


@pytest.mark.parametrize("kind", ["number", "numbers"])
def test_evaluate_takes_the_kind_that_is_given(kind, table, reads_only, capsys):
    target = {"number": ["species"], "numbers": ["is_long", "is_wide"]}[kind]
    assert main(["evaluate", table, "--target", *target, "--kind", kind, *FEATURES]) == 0
    output = capsys.readouterr().out
    assert "R2" in output
    assert "found out" not in output


def test_evaluate_compares_several_methods_on_parquet(frame, tmp_path, capsys):
    frame["town"] = frame["town"].astype("category")
    frame["flag"] = pd.array([True, False, None] * 20, dtype="boolean")
    frame["count"] = pd.array([1, 2, None, 4] * 15, dtype="Int64")
    frame["day"] = pd.Timestamp("2024-01-01")
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    methods = ["RAMLSVR", "NeighborhoodAlignment"]
    arguments = ["--target", "weight", "--drop", "share_*", "--folds", "2", "--methods", *methods]
    assert main(["evaluate", str(path), *arguments]) == 0
    output = capsys.readouterr().out
    assert all(re.search(rf"\n{name}[* ]", output) for name in methods)
    assert "'day' (constant)" in output
    assert "missing: 35 values" in output


def test_methods_are_the_public_metric_learners():
    learners = [getattr(metricalign, name) for name in metricalign.__all__]
    assert list(LEARNERS) == [
        item.__name__
        for item in learners
        if isinstance(item, type) and issubclass(item, EmbeddingLearner)
    ]


@pytest.mark.parametrize("name", LEARNERS)
def test_methods_of_classes_are_those_that_cannot_learn_from_numbers(name, frame):
    X = frame[["length", "width", "noise"]].to_numpy()
    task = Task("table", X, frame["weight"].to_numpy(), "number")
    learner = learner_of(task, LEARNERS[name], 0)
    if "metric__cv" in learner.get_params():
        learner.set_params(metric__cv=2)
    if name in LEARNERS_OF_CLASSES:
        with pytest.raises(ValueError, match="relations"):
            learner.fit(task.X, task.y)
    else:
        learner.fit(task.X, task.y)


def test_names_of_methods_ignore_case():
    arguments = ["evaluate", "table.csv", "--target", "weight"]
    for name in ("psdsvr", "PSDSVR", "PsdSvr"):
        assert main_module._parse([*arguments, "--methods", name]).methods == ["PSDSVR"]


def test_methods_of_classes_are_for_classes(table, reads_only, capsys):
    arguments = ["evaluate", table, *FEATURES, "--methods", "ncml", "doubletsvm", "ramlsvr"]
    assert main([*arguments, "--target", "species"]) == 0
    capsys.readouterr()
    error = error_of(capsys, *arguments, "--target", "weight")
    assert "--methods NCML DoubletSVM: learns from classes only" in error
    assert "--kind number" in error
    advised = error[error.index("The methods for it are") :]
    assert "RAMLSVR" in advised
    assert not any(name in advised for name in LEARNERS_OF_CLASSES)


def test_rare_classes(frame, tmp_path, capsys):
    frame.loc[[7, 23], "species"] = 5, 6
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    arguments = ["--target", "species", *FEATURES, "--folds", "2", "--methods", "PSDSVR"]
    assert main(["evaluate", str(path), *arguments]) == 0
    output = capsys.readouterr()
    assert "5 classes, the largest has" in output.out
    assert "PSDSVR never predicts '5', '6'." in output.out


@pytest.mark.filterwarnings("ignore:n_same=")
def test_pictures_of_rare_classes(frame):
    pytest.importorskip("matplotlib")
    frame.loc[[7, 23], "species"] = 5, 6
    X, y = frame[["length", "width", "noise"]], frame["species"].to_numpy()
    task = Task("table", X, y, "class")
    assert len(dict(figures.draw(task, "PSDSVR"))) == len(OF_CONVEX)


def test_evaluate_says_what_it_makes_of_a_messy_table(frame, tmp_path, capsys):
    frame.insert(0, "customer_id", np.random.default_rng(0).permutation(60) * 7)
    frame["row"] = np.arange(60)
    frame["empty"] = np.nan
    frame["constant"] = "x"
    frame["name"] = [f"person {i}" for i in range(60)]
    frame["almost"] = [*map(str, range(59)), "many"]
    frame["asked"] = frame["length"] > 0
    frame.loc[3:9, "town"] = "?"
    frame.loc[5:6, "noise"] = np.nan
    frame.loc[[1, 2], "species"] = np.nan
    # A category that the training rows of some fold do not have.
    frame.loc[20, "town"] = "Rom"
    path = tmp_path / "messy.csv"
    frame.to_csv(path, index=False, sep=";", encoding="utf-8-sig")
    arguments = ["--target", "species", "--drop", "is_*", "--folds", "3", "--methods", "PSDSVR"]
    assert main(["evaluate", str(path), *arguments]) == 0
    output = one_line(capsys.readouterr().out)
    assert "'customer_id', 'row' (like an identifier" in output
    assert "'empty' (no values)" in output
    assert "'constant' (constant)" in output
    assert "'name' (like an identifier" in output
    assert "--missing 'many'" in output
    assert "dropped: 2 rows" in output
    assert "missing: 9 values" in output


def test_above_the_table_and_in_place_of_numbers(frame, tmp_path, reads_only, capsys):
    frame["length"] = frame["length"].astype(object)
    frame.loc[::7, "length"] = -999
    frame["width"] = frame["width"].astype(object)
    frame.loc[::9, "width"] = "---"
    texts = frame[["length", "width", "noise", "species"]].to_csv(index=False, sep=";")
    for above in ("Logger 3, hall A\n", "sep=;\n", "a\nb\n\n"):
        path = write(tmp_path, above + texts)
        assert main(["evaluate", path, "--target", "species", "--drop", "noise"]) == 0
        output = one_line(capsys.readouterr().out)
        assert "60 rows, 2 features: 2 of numbers" in output
        assert "is it a number? 'length' has -999 far from its other values" in output
        assert ("above the table left out: " in output) == ("sep" not in above)
        assert "missing: 7 values" in output


def test_titles_with_the_delimiters_of_a_spreadsheet(frame, tmp_path, reads_only, capsys):
    frame["length"] = frame["length"].map("{:.2f} cm".format)
    frame["width"] = frame["width"].astype(object)
    frame.loc[::9, "width"] = "-"
    names, *rows = frame[["length", "width", "species"]].to_csv(index=False, sep=";").splitlines()
    lines = ["Clinic at the lake;;", ";;", "on 3 November;;", names, "cm;mm;", *rows]
    path = write(tmp_path, "\n".join(lines))
    assert main(["evaluate", path, "--target", "species"]) == 0
    output = one_line(capsys.readouterr().out)
    assert "3 lines above the table left out: 'Clinic at the lake', 'on 3 November'" in output
    assert "line 5 left out, since it has units: 'cm', 'mm'" in output
    assert "60 rows, 2 features: 2 of numbers" in output


@pytest.mark.parametrize(
    ("lines", "wanted", "n_titles"),
    [
        (["Clinic;;", ";;", "a;b;c", "1;2;3"], set(), 2),
        (["Clinic;;", "a;2;c", "1;2;3"], set(), 0),
        (["Clinic;;", "a;;c", "1;2;3"], set(), 0),
        (["Clinic;1;", "a;b;c", "1;2;3"], set(), 0),
        ([";;", "a;b;c", "1;2;3"], set(), 0),
        (["id;;", "a;b;c", "d;e;f"], {"id"}, 0),
        (["Clinic;;"] * 11 + ["a;b;c"], set(), 0),
    ],
)
def test_rows_with_gaps_are_titles_only_above_full_names(lines, wanted, n_titles):
    assert _count_padded_titles([line.split(";") for line in lines], wanted) == n_titles


def test_without_names_no_row_with_gaps_is_a_title(tmp_path):
    path = write(tmp_path, "Ulm;;\nUlm;a;b\nBonn;c;d\n")
    layout = Layout(delimiter=";", has_names=False)
    assert len(read_contents(path, layout).table) == 3


def test_marks_of_other_columns_are_pointed_to(tmp_path, reads_only, capsys):
    rows = "".join(
        f"5.{7 * n % 30:03d};1.{11 * n % 30:03d};{n // 10},{n % 10};{n % 20 + 11}.12.2024\n"
        for n in range(10, 40)
    )
    path = write(tmp_path, "leukocytes;price;size;day\n" + rows)
    error = error_of(capsys, "evaluate", path, "--target", "size")
    assert "'5.010' can be 5.01 or 5010. Say which: " in error
    assert "So it is with 'price'. Elsewhere it is --decimal , as in '1,0' in 'size'." in error
    # What is advised works: a date is none of the numbers that must have these marks.
    assert main(["evaluate", path, "--target", "size", "--decimal", ","]) == 0
    output = one_line(capsys.readouterr().out)
    assert "'leukocytes', 'price' as decimal mark ',', thousands mark '.'" in output
    assert "'day' as dates day.month.year" in output


def test_missing_decimal_and_encoding(tmp_path, reads_only, capsys):
    rng = np.random.default_rng(0)
    lines = [f"{x:.3f};{y:.3f};{x + y:.3f}".replace(".", ",") for x, y in rng.normal(size=(40, 2))]
    lines[7] = "verloren" + lines[7][lines[7].index(";") :]
    text = "\n".join(["Größe;Breite;Ziel", *lines])
    path = write(tmp_path, text, encoding="cp1252")
    wanted = ["evaluate", path, "--target", "Ziel"]
    assert main(wanted) == 0
    assert "read: not UTF-8, so read as cp1252" in one_line(capsys.readouterr().out)
    wanted += ["--encoding", "cp1252"]
    assert main(wanted) == 0
    output = one_line(capsys.readouterr().out)
    assert "--missing 'verloren'" in output
    assert main([*wanted, "--missing", "verloren"]) == 0
    assert "2 features: 2 of numbers" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_scores(frame):
    X = frame[["length", "width", "noise"]].to_numpy()
    task = Task("table", X, frame["weight"].to_numpy(), "number")

    def scores(seed):
        results, _ = compare(task, ["RAMLSVR"], 2, seed)
        return [result.values["R2"].tolist() for result in results]

    assert scores(1) == scores(1)
    assert scores(1) != scores(2)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", ["model.joblib", "model.skops"])
def test_the_saved_model_predicts_as_it_did(
    kind, name, table, tmp_path, reads_only, monkeypatch, capsys
):
    if name == "model.skops":
        pytest.importorskip("skops")
    kept = []
    learn = commands.learn

    def keep(*arguments):
        kept.append(learn(*arguments))
        return kept[0]

    monkeypatch.setattr(commands, "learn", keep)
    path = tmp_path / name
    arguments = ["--target", *TARGETS[kind], *FEATURES, "--save", str(path)]
    assert main(["evaluate", table, *arguments, "--methods", "PSDSVR"]) == 0
    # What is printed is how to load it.
    _, _, printed = capsys.readouterr().out.partition("or, for a DataFrame")
    imported, last = [line.strip() for line in printed.splitlines()[1:] if line.strip()]
    space = {"table": pd.read_csv(table)}
    exec(imported, space)
    predicted = eval(last, space)
    np.testing.assert_array_equal(predicted, kept[0].predict(read_table(table)))
    assert os.listdir(tmp_path).count(name) == 1
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("kind", ["class", pytest.param("labels", marks=pytest.mark.slow)])
def test_saved_trees_predict_as_they_did(kind, table, tmp_path):
    pytest.importorskip("skops")
    predicted = []
    for name in ("model.joblib", "model.skops"):
        arguments = ["--target", *TARGETS[kind], *FEATURES, "--save", str(tmp_path / name)]
        assert main(["evaluate", table, *arguments, "--methods", "BoostedTrees"]) == 0
        predicted.append(load_model(tmp_path / name).predict_proba(read_table(table)))
    np.testing.assert_array_equal(*predicted)


@pytest.mark.parametrize("function", [eval, exec, np.load, load_model], ids=lambda f: f.__name__)
def test_a_saved_model_with_a_function_that_runs_code_is_refused(function, tmp_path):
    skops_io = pytest.importorskip("skops.io")
    path = tmp_path / "model.skops"
    skops_io.dump(FunctionTransformer(function), path)
    with pytest.raises(InputError, match="not trusted: .*" + function.__name__):
        load_model(path)


@pytest.mark.parametrize("method", ["Euclid", "MetricNeighbors-no-trees", "BoostedTrees"])
def test_a_label_that_no_row_has_has_no_probability(method):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = np.column_stack([X[:, :2] > 0, np.zeros(40), np.ones(40)]).astype(int)
    predictor = fit_method(Task("", X, y, "labels", list("abcd")), method, 0)
    model = TableModel(None, predictor, method, "labels", list("abcd"), y, np.arange(40))
    probabilities = model.probabilities_of(X)
    np.testing.assert_allclose(probabilities[:, 2:], np.tile([0, 1], (40, 1)), atol=1e-6)


def test_a_saved_model_takes_new_rows(frame, table, tmp_path, reads_only):
    path = tmp_path / "model.joblib"
    assert (
        main(
            [
                "evaluate",
                table,
                "--target",
                "species",
                *FEATURES,
                "--save",
                str(path),
                "--methods",
                "PSDSVR",
            ]
        )
        == 0
    )
    new = frame.loc[:2, ["noise", "town", "width", "length"]]
    new.loc[0, "town"], new.loc[1, "town"], new.loc[2, "noise"] = "Rom", None, np.nan
    assert joblib.load(path).predict(new).shape == (3,)


OF_ALL = {
    "embedding.png",
    "distance_relation.png",
    "curves.png",
    "explanation.png",
    "decomposition.png",
    "heatmap.png",
    "spectrum.png",
}
OF_CONVEX = OF_ALL | {"convergence.png"}


def test_names_of_pictures():
    names = {f"{name}.png" for name in figures.PICTURES}
    assert names == OF_CONVEX


def test_pictures_are_of_the_method_that_is_recommended(table, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    drawn = []

    def draw(task, method, seed):
        drawn.append(method)
        return iter(())

    monkeypatch.setattr(commands, "draw", draw)
    arguments = ["evaluate", table, "--target", "weight", *FEATURES, "--folds", "2", "--plot"]
    arguments += [str(tmp_path / "pictures"), "--methods", "MetricNeighbors-no-trees"]
    for others in ([], ["PSDSVR"], ["BoostedTrees"]):
        assert main([*arguments, *others]) == 0
        keeps = re.search(r"--save model.joblib keeps (\S+)", capsys.readouterr().out)[1]
        assert drawn.pop() == keeps
    assert not drawn


def test_a_method_that_cannot_be_drawn_does_not_end_the_evaluation(
    table, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("matplotlib")

    def draw(task, method, seed):
        raise ValueError("All targets are the same.")
        yield

    monkeypatch.setattr(commands, "draw", draw)
    arguments = ["evaluate", table, "--target", "weight", *FEATURES, "--folds", "2", "--plot"]
    assert main([*arguments, str(tmp_path / "pictures"), "--methods", "PSDSVR"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "No pictures: PSDSVR cannot be learned from half of the rows: All targets" in said
    assert "--save model.joblib keeps PSDSVR" in said


def test_pictures_of_neighbours_number_the_rows_of_the_table(frame):
    pytest.importorskip("matplotlib")
    rows = np.arange(60) * 10 + 3
    X = frame[["length", "width", "town"]]
    task = Task("table", X, frame["weight"].to_numpy(), "number", ["weight"], rows=rows)
    pictures = dict(figures.draw(task, "MetricNeighbors-no-trees"))
    assert set(pictures) == {"embedding", "distance_relation", "curves", "explanation"}
    assert [axis.get_title() for axis in pictures["embedding"].axes[:2]] == [
        "Euclid",
        "MetricNeighbors-no-trees",
    ]
    train, held_out = figures._halves(task, 0)
    figure = pictures["explanation"]
    assert f"Row {rows[held_out[0]]}, " in figure.get_suptitle()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    nearest = [int(re.match(r"row (\d+)", label)[1]) for label in labels]
    assert set(nearest) <= {*rows[train]}
    # Their targets are those of these rows.
    for label, number in zip(labels, nearest, strict=True):
        shown = float(label.split(": ")[1])
        assert shown == pytest.approx(task.y[np.flatnonzero(rows == number)[0]], rel=5e-3)


@pytest.mark.parametrize(
    ("method", "names"), [("PSDSVR", OF_CONVEX), ("NeighborhoodAlignment", OF_ALL)]
)
def test_plot(method, names, table, tmp_path, reads_only, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "pictures"
    arguments = ["--target", "species", *FEATURES, "--methods", method, "--plot", str(folder)]
    assert main(["evaluate", table, *arguments]) == 0
    assert {path.name for path in folder.iterdir()} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    output = capsys.readouterr().out
    assert f"Pictures of {method} in {folder}" in output
    assert all(name in output for name in names)
    assert ("no convergence.png" in output) == ("convergence.png" not in names)


@pytest.mark.parametrize("kind", TARGETS)
def test_pictures_of_every_kind(kind, frame):
    pytest.importorskip("matplotlib")
    y = targets_of(kind, frame)
    task = Task("table", frame[["length", "width", "noise"]], y, kind)
    assert {f"{name}.png" for name, _ in figures.draw(task, "PSDSVR")} == OF_CONVEX


def test_pictures_show_rows_that_were_not_learned_from(frame, monkeypatch):
    pytest.importorskip("matplotlib")
    seen = {}

    def fit(pipeline, X, y):
        seen["fitted"] = set(X.index)
        return original_fit(pipeline, X, y)

    def draw(estimator, X, y, **options):
        seen["drawn"] = set(X.index)
        np.testing.assert_array_equal(y, frame["weight"].loc[X.index])
        return original_draw(estimator, X, y, **options)

    original_fit, original_draw = Pipeline.fit_transform, figures.EmbeddingDisplay.from_estimator
    monkeypatch.setattr(Pipeline, "fit_transform", fit)
    monkeypatch.setattr(figures.EmbeddingDisplay, "from_estimator", draw)
    X = frame[["length", "width", "noise"]]
    task = Task("table", X, frame["weight"].to_numpy(), "number")
    next(figures.draw(task, "PSDSVR"))
    assert len(seen["fitted"]) == len(seen["drawn"]) == 30
    assert seen["fitted"].isdisjoint(seen["drawn"])


def test_pictures_name_features_and_the_nearest_neighbour(frame):
    pytest.importorskip("matplotlib")
    X = frame[["length", "width", "town"]].assign(is__odd=frame["noise"])
    task = Task("table", X, frame["weight"].to_numpy(), "number")
    pictures = dict(figures.draw(task, "PSDSVR"))
    left, _ = pictures["heatmap"].axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["length", "width", "town: Bonn", "town: Ulm", "is__odd"]
    title = pictures["decomposition"].axes[0].get_title()
    row, nearest, distance = re.match(
        r"row (\d+) and its nearest, (\d+): squared distance (.*)", title
    ).groups()
    train, held_out = figures._halves(task, 0)
    assert int(row) - 1 == held_out[0]
    learner = learner_of(task, LEARNERS["PSDSVR"], 0).fit(X.iloc[train], task.y[train])
    squared = cdist(
        learner.transform(X.iloc[held_out[:1]]), learner.transform(X.iloc[train]), "sqeuclidean"
    )[0]
    assert int(nearest) - 1 == train[squared.argmin()]
    assert float(distance) == pytest.approx(squared.min(), rel=5e-3)


@pytest.mark.parametrize("exists", [True, False])
def test_a_picture_that_fails_leaves_the_old_one(
    exists, table, tmp_path, reads_only, monkeypatch, capsys
):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    def savefig(figure, file, **options):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", savefig)
    folder = tmp_path / "pictures"
    path = folder / "embedding.png"
    if exists:
        folder.mkdir()
        path.write_bytes(b"the old one")
    arguments = ["--target", "weight", *FEATURES, "--plot", folder]
    assert "No space left on device" in error_of(capsys, "evaluate", table, *arguments)
    assert [each.name for each in folder.iterdir()] == ["embedding.png"] * exists
    assert not exists or path.read_bytes() == b"the old one"


@pytest.fixture
def quick_tour(monkeypatch, tmp_path):
    """The tour on a few rows of its data, with a method that is fast."""
    tasks = [sample(task, 40, 0) for task in tour_module.tour_tasks()]
    monkeypatch.setattr(tour_module, "tour_tasks", lambda: tasks)
    monkeypatch.setattr(methods_module, "INNER_FOLDS", 2)
    monkeypatch.setattr(tour_module, "METHOD", "PSDSVR")
    monkeypatch.setattr(evaluation, "WORTH_PROCESSES", np.inf)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_tour(quick_tour, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["--plot", "pictures"]) == 0
    output = capsys.readouterr()
    for word in ("digits", "diabetes", "clock", "nuclei", "PSDSVR", "evaluate"):
        assert word in output.out
    assert max(map(len, output.out.splitlines())) <= 80
    assert "Pictures of DiscriminantAlignment in pictures:\n  metricalign-tour.png" in output.out
    picture = tmp_path / "pictures" / "metricalign-tour.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "\r" not in output.out + output.err


@pytest.mark.slow
def test_tour_without_matplotlib(quick_tour, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["evaluate", "none.csv", "--target", "x"]])
def test_plot_without_matplotlib(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = error_of(capsys, *arguments, "--plot", "pictures")
    assert '--plot needs matplotlib: pip install "metricalign[plot]"' in error
    assert not list(tmp_path.iterdir())


def test_progress_is_for_terminals_and_logs(table, monkeypatch, capsys):
    arguments = ["evaluate", table, "--target", "weight", *FEATURES, "--folds", "2"]
    arguments += ["--methods", "PSDSVR"]
    assert main([*arguments, "--verbose"]) == 0
    output = capsys.readouterr()
    assert "table: fold 2 of 2, PSDSVR\n" in output.err
    assert "\r" not in output.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert "\rtable: fold 2 of 2, PSDSVR" in output.err
    assert output.err.endswith(" \r")
    assert "\r" not in output.out


def test_warnings_become_notes(table, monkeypatch, capsys):
    monkeypatch.setitem(LEARNERS, "PSDSVR", PSDSVR(max_iter=3, tol=1e-9))
    arguments = ["evaluate", table, "--target", "weight", *FEATURES, "--folds", "2"]
    assert main([*arguments, "--methods", "PSDSVR"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    notes = [line for line in output.out.splitlines() if line.startswith("Note")]
    assert notes == ["Note: PSDSVR: it was stopped before it was finished in 8 of 8 fits"]


def run_python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_module_runs_as_a_program(table):
    arguments = ["evaluate", table, "--target", "species", *FEATURES, "--folds", "2"]
    result = run_python("-m", "metricalign", *arguments, "--methods", "PSDSVR")
    assert result.returncode == 0
    assert result.stderr == ""
    assert result.stdout.isascii()
    assert "PSDSVR" in result.stdout


@pytest.mark.slow
def test_import_is_light():
    # pandas is not in the list: scikit-learn imports it where it is installed.
    modules = (
        "matplotlib",
        "metricalign.command_line.commands",
        "metricalign.command_line.targets",
    )
    result = run_python("-c", f"import metricalign, sys; print({{*{modules}}} & {{*sys.modules}})")
    assert result.stdout.strip() == "set()"


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "evaluate" in capsys.readouterr().out
    assert main(["evaluate", "--help"]) == 0
    assert "--target" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("metricalign ")


# What cannot work


def test_file_is_missing(table, tmp_path, capsys):
    error = error_of(capsys, "evaluate", tmp_path / "tabel.csv", "--target", "x")
    assert "there is no file" in error
    assert "Did you mean 'table.csv'?" in error
    assert "is a folder" in error_of(capsys, "evaluate", tmp_path, "--target", "x")
    error = error_of(capsys, "evaluate", tmp_path / "no" / "a.csv", "--target", "x")
    assert "there is no file" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("1,2\n3,4\n", "its columns are called 1 to 2. The last one is --target 2"),
        ("a,b,a\n1,2,3\n", "several columns of the name 'a'"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields"),
        ("a,b\n1,2\n\n1\n", "line 4: 1 field,"),
        ('a,b\n1,"2\n3,4\n', "never closed"),
        ("PK\0\0\1\2", "not a text file"),
    ],
)
def test_not_a_table(text, message, tmp_path, capsys):
    assert message in error_of(capsys, "evaluate", write(tmp_path, text), "--target", "b")


def test_not_parquet(tmp_path, capsys):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert "not a Parquet file" in error_of(capsys, "evaluate", path, "--target", "b")


def test_unknown_encoding(table, capsys):
    error = error_of(capsys, "evaluate", table, "--target", "weight", "--encoding", "utf-7000")
    assert "is not known" in error


def test_pandas_is_missing(table, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    error = error_of(capsys, "evaluate", table, "--target", "weight")
    assert 'pip install "metricalign[table]"' in error


def test_unknown_columns(table, capsys):
    error = error_of(capsys, "evaluate", table, "--target", "Wieght")
    assert "no column 'Wieght'. Did you mean 'weight'" in error
    error = error_of(capsys, "evaluate", table, "--target", "xyz*")
    assert "The columns are 'length'" in error
    assert "--drop" in error_of(capsys, "evaluate", table, "--target", "weight", "--drop", "xyz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "weight", "--features", "weight"], "no usable feature"),
        (["--target", "town", "--kind", "number"], "is not numeric"),
        (["--target", "length", "--kind", "class"], "too many to be classes"),
        (["--target", "town", "weight"], "'town' is not numeric"),
        (["--target", "weight", "--kind", "labels"], "two or more columns in --target"),
        (["--target", "weight", "height", "--kind", "number"], "needs one column in --target"),
        (["--target", "weight", "height", "--kind", "labels"], "must be 0 or 1"),
        (["--target", "share_a", "share_b", "--kind", "distribution"], "sum to 1"),
        (["--target", "weight", "--folds", "-3"], "'-3': expected an integer"),
        (["--target", "weight", "--folds", "two"], "'two': expected an integer"),
        (["--target", "weight", "--folds", "31"], "too few rows with a target for 31 folds: 60,"),
        (["--target", "weight", "--seed", "-1"], "'-1': expected an integer"),
        (["--target", "weight", "--methods", "ramlsv"], "'ramlsv' is not one of MetricNeighbors,"),
        (["--target", "weight", "--delimiter", "::"], "expected one character"),
        (["--target", "weight", "--separator", ""], "--separator: expected a text; it is empty"),
        (["--target", "weight", "--save", "none/model"], "there is no folder none"),
        (["--target", "weight", "--save", "."], "this is a folder"),
        (["--target", "weight", "--plot", "table.csv"], "this is a file"),
        (["--target", "weight", "--plot", "none/pictures"], "there is no folder none"),
        (["--target", "weight", "--save", "m", "--methods", "ramlsvr", "ramlkrr"], "give one of"),
        ([], "--target"),
    ],
)
def test_wrong_arguments(arguments, message, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, "evaluate", table, *arguments)


def test_unknown_command(capsys):
    assert "evalute" in error_of(capsys, "evalute", "table.csv")


def test_a_table_without_a_command(table, capsys):
    assert f"did you mean: evaluate {table} --target ..." in error_of(capsys, table)


def test_decimal_commas_are_read_and_said(frame, tmp_path, reads_only, capsys):
    frame["code"] = np.where(frame["length"] > 0, "1,2 m", "3 x")
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",")
    assert main(["evaluate", str(path), "--target", "species", "--drop", "is_*"]) == 0
    output = one_line(capsys.readouterr().out)
    assert "10 features: 8 of numbers, 2 of categories" in output
    assert "as decimal mark ','" in output


def test_a_column_without_a_name_gets_one_that_no_other_has(tmp_path):
    """Two columns of one name ended with a traceback."""
    path = tmp_path / "table.csv"
    path.write_text("column 3,b,\n" + "".join(f"{row},{row}.5,x{row}\n" for row in range(12)))
    assert [*read_contents(path).table] == ["column 3", "b", "column 3 without a name"]


def test_one_is_not_plural(frame, tmp_path, reads_only, capsys):
    path = tmp_path / "table.csv"
    frame.loc[3, "weight"], frame.loc[4, "length"] = np.nan, np.nan
    frame.to_csv(path, index=False)
    assert main(["evaluate", str(path), "--target", "weight", "--features", "length"]) == 0
    output = one_line(capsys.readouterr().out)
    assert "59 rows, 1 feature:" in output
    assert "dropped: 1 row without" in output
    assert "missing: 1 value," in output


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        (lambda f: f[["weight"]], "weight", "the table has no other column"),
        (lambda f: f.assign(species="a"), "species", "the same value in all 60 rows ('a')"),
        (lambda f: f.assign(species=["a", *["b"] * 59]), "species", "fewer than 2 classes"),
        (lambda f: f.assign(species=np.nan), "species", "no row has a value"),
        (lambda f: f[:9], "species", "Give more rows"),
        (
            lambda f: f[["length", "weight"]][:2],
            "weight",
            "too few rows with a target for 5 folds: 2",
        ),
        (lambda f: f.assign(species=np.arange(60) // 3), "species", "fewer --folds"),
        (lambda f: f.assign(width=[np.inf, *[1.0] * 59]), "species", "'width' has 1 infinite"),
        (lambda f: f.assign(weight=[np.inf, *f["weight"][1:]]), "weight", "infinite values"),
        (
            lambda f: f[["weight"]].assign(id=np.arange(60), c=1),
            "weight",
            "no usable feature is left besides the target ('id': like an identifier",
        ),
    ],
)
def test_unusable_tables(change, target, message, frame, tmp_path, capsys):
    path = tmp_path / "table.csv"
    change(frame).to_csv(path, index=False)
    arguments = ["--folds", "5", "--target", target]
    if target == "species" and "folds" in message:
        arguments += ["--kind", "class"]
    assert message in error_of(capsys, "evaluate", path, *arguments)


def test_a_constant_column_among_several_targets(frame, tmp_path, capsys):
    path = tmp_path / "table.csv"
    frame.assign(height=1.5).to_csv(path, index=False)
    error = error_of(capsys, "evaluate", path, "--target", "weight", "height")
    assert "'height' is constant" in error


def test_the_library_cannot_learn(table, monkeypatch, capsys):
    def fail(*arguments):
        raise ValueError("The two samples of every pair are identical in X.")

    monkeypatch.setattr(commands, "compare", fail)
    error = error_of(capsys, "evaluate", table, "--target", "weight")
    assert "no metric can be learned from this table: The two samples" in error


def test_folder_is_not_writable(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    path = tmp_path / "model.joblib"
    error = error_of(capsys, "evaluate", table, "--target", "weight", "--save", path)
    assert "no permission" in error


def test_skops_is_missing(table, monkeypatch, capsys):
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: None)
    error = error_of(capsys, "evaluate", table, "--target", "weight", "--save", "a.skops")
    assert 'pip install "metricalign[save]"' in error


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(("module", "suffix"), [("joblib", "joblib"), ("skops.io", "skops")])
def test_a_full_disk_leaves_the_old_file(
    exists, module, suffix, table, tmp_path, reads_only, monkeypatch, capsys
):
    def dump(model, file):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pytest.importorskip(module), "dump", dump)
    path = tmp_path / f"model.{suffix}"
    if exists:
        path.write_bytes(b"the old one")
    error = error_of(capsys, "evaluate", table, "--target", "weight", *FEATURES, "--save", path)
    assert "No space left on device" in error
    assert ("The old file is as it was." in error) == exists
    assert path.exists() == exists
    assert not exists or path.read_bytes() == b"the old one"
    assert not list(tmp_path.glob(".*"))


def test_an_interrupt_is_one_line(table, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "compare", interrupt)
    assert main(["evaluate", table, "--target", "weight"]) == 130
    assert capsys.readouterr().err == "metricalign: interrupted\n"


def run_module(*arguments, buffers=True, **streams):
    command = [sys.executable, *([] if buffers else ["-u"]), "-m", "metricalign", *arguments]
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, check=False, text=True, env=environment, **streams)


@pytest.mark.parametrize("buffers", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_closed_pipe_is_no_error(buffers):
    reading, writing = os.pipe()
    os.close(reading)
    result = run_module("--help", buffers=buffers, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.slow
@pytest.mark.parametrize("buffers", [True, False])
def test_a_full_disk_behind_the_output(buffers, table):
    evaluate = ["evaluate", table, "--target", "species", "--folds", "2", "--method", "RAMLKRR"]
    with open("/dev/full", "w") as full:
        for arguments in (["--version"], evaluate):
            result = run_module(*arguments, buffers=buffers, stdout=full, stderr=subprocess.PIPE)
            assert result.returncode == 2
            assert result.stderr == "metricalign: error: the output: No space left on device.\n"
        assert run_module("--nonsense", buffers=buffers, stdout=full, stderr=full).returncode == 2


# Nothing is lost


@pytest.fixture
def names_of_the_table(table, tmp_path, monkeypatch):
    """Other names of the file of the table."""
    monkeypatch.chdir(tmp_path)
    os.link("table.csv", "hard.csv")
    os.symlink("table.csv", "soft.csv")
    os.symlink("soft.csv", "softer.csv")
    return [
        "table.csv",
        "./table.csv",
        f"../{tmp_path.name}/table.csv",
        table,
        "hard.csv",
        "soft.csv",
        "softer.csv",
    ]


def test_the_model_does_not_replace_the_table(names_of_the_table, tmp_path, capsys):
    before = (tmp_path / "table.csv").read_bytes(), sorted(os.listdir(tmp_path))
    for name in names_of_the_table:
        for read, saved in ((name, "table.csv"), ("table.csv", name)):
            error = error_of(capsys, "evaluate", read, "--target", "weight", "--save", saved)
            assert f"--save {Path(saved)}: this would replace {Path(read)};" in error
    assert ((tmp_path / "table.csv").read_bytes(), sorted(os.listdir(tmp_path))) == before


def test_pictures_do_not_replace_the_table(names_of_the_table, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "convergence.png"
    for make in (os.link, lambda target, link: os.symlink(f"../{target}", link)):
        make("table.csv", picture)
        for name in names_of_the_table:
            arguments = ["evaluate", name, "--target", "weight", "--plot", "pictures"]
            error = error_of(capsys, *arguments)
            assert f"--plot pictures/convergence.png: this would replace {Path(name)};" in error
        picture.unlink()


def test_pictures_do_not_replace_the_model(table, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", table, "--target", "weight", "--plot", "new", "--save"]
    assert "--plot new: this would replace new" in error_of(capsys, *arguments, "new")
    os.mkdir("new")
    error = error_of(capsys, *arguments, "new/heatmap.png")
    assert "--plot new/heatmap.png: this would replace new/heatmap.png" in error


def test_the_model_does_not_replace_the_output(table, tmp_path):
    path = tmp_path / "output"
    with open(path, "w") as file:
        arguments = ["evaluate", table, "--target", "weight", "--save", "/dev/stdout"]
        result = run_module(*arguments, stdout=file, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert "--save /dev/stdout: this would replace /dev/stdout" in result.stderr
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("make", "message"), [(os.mkdir, "this is a folder"), (os.mkfifo, "a device or a pipe")]
)
@pytest.mark.parametrize("name", ["heatmap", "metricalign-tour"])
def test_pictures_have_a_place(make, message, name, table, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "pictures").mkdir()
    make(tmp_path / "pictures" / f"{name}.png")
    command = ["tour"] if name == "metricalign-tour" else ["evaluate", table, "--target", "weight"]
    error = error_of(capsys, *command, "--plot", tmp_path / "pictures")
    assert f"{name}.png: " in error
    assert message in error


@pytest.mark.parametrize("name", ["model.joblib", "model.skops"])
def test_an_interrupt_while_saving_leaves_the_old_model(
    name, table, tmp_path, reads_only, monkeypatch, capsys
):
    if name == "model.skops":
        pytest.importorskip("skops")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    path = tmp_path / name
    path.write_bytes(b"the old one")
    monkeypatch.setattr(os, "fsync", interrupt)
    arguments = ["evaluate", table, "--target", "weight", *FEATURES, "--save", str(path)]
    assert main(arguments) == 130
    assert path.read_bytes() == b"the old one"
    assert sorted(os.listdir(tmp_path)) == sorted([name, "table.csv"])


def test_an_interrupt_while_drawing_leaves_no_folder(
    table, tmp_path, reads_only, monkeypatch, capsys
):
    pytest.importorskip("matplotlib")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "_halves", interrupt)
    folder = tmp_path / "pictures"
    assert main(["evaluate", table, "--target", "weight", *FEATURES, "--plot", str(folder)]) == 130
    assert not folder.exists()


# What no table has in it


def test_a_table_from_a_pipe(table, tmp_path, reads_only, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = ["evaluate", str(pipe), "--target", "weight"]
    assert "a pipe that nobody writes to" in error_of(capsys, *arguments)
    content = Path(table).read_bytes()
    writing = Thread(target=pipe.write_bytes, args=(content,))
    writing.start()
    # Opened by the writer, who waits for a reader.
    time.sleep(0.1)
    assert main(arguments) == 0
    writing.join()
    assert "pipe: 60 rows" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_table(name, capsys):
    error = error_of(capsys, "evaluate", name, "--target", "y")
    assert f"{name} cannot be read: this is a device or a pipe" in error


def test_names_that_the_system_refuses(table, capsys):
    long = "x" * 5000
    for arguments in ([long], [table, "--save", long], [table, "--plot", long]):
        assert "name too long" in error_of(capsys, "evaluate", *arguments, "--target", "weight")
    assert "invalid choice" in error_of(capsys, long)


def test_a_table_that_may_not_be_read(table, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    error = error_of(capsys, "evaluate", table, "--target", "weight")
    assert f"{table} cannot be read: Permission denied." in error


def test_a_table_larger_than_the_memory(table, monkeypatch, capsys):
    def fail(path):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", fail)
    error = error_of(capsys, "evaluate", table, "--target", "weight")
    assert f"{table} cannot be read: it is larger than the memory." in error


def test_a_field_that_is_too_long(tmp_path, capsys):
    # Python's own limit, which other libraries raise for the whole process.
    csv.field_size_limit(2**17)
    for field in ("4" * 131_073, '"' + 40_000 * "1,2\n"):
        path = write(tmp_path, f"a,b\n1,2\n3,{field}\n")
        error = error_of(capsys, "evaluate", path, "--target", "b")
        assert f"{path}, after line 2: a field of more than 131,072 characters" in error


DAY = datetime.date(2020, 1, 1)
CELLS = {
    "bytes": [b"\xff0", b"\xff1"],
    "bytes of text": [b"one", b"two"],
    "list": [[1.0], [2.0, 3.0]],
    "structure": [{"a": 1}, {"a": 2}],
    "time": [datetime.time(1), datetime.time(2)],
}


@pytest.fixture
def parquet(frame, tmp_path):
    """Write the table with a column of these values, over and over, the first missing."""
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / "table.parquet"

    def write(values):
        values = [None, *(values * 60)[1:60]]
        table = arrow.Table.from_pandas(frame).append_column("odd", arrow.array(values))
        importlib.import_module("pyarrow.parquet").write_table(table, path)
        return str(path)

    return write


@pytest.mark.parametrize("values", CELLS.values(), ids=CELLS)
def test_columns_that_are_neither_numbers_nor_text(values, parquet, reads_only, capsys):
    path = parquet(values)
    assert main(["evaluate", path, "--target", "weight"]) == 0
    assert "left out: 'odd' (neither numbers, dates nor text" in capsys.readouterr().out
    for targets in (["odd"], ["odd", "weight"]):
        if isinstance(values[0], list) and len(targets) == 1:
            continue  # lists are label sets
        error = error_of(capsys, "evaluate", path, "--target", *targets)
        assert re.search("target column 'odd' (has neither numbers nor text|is not numeric)", error)


def test_an_error_shows_the_beginning_of_a_cell(parquet, capsys):
    error = error_of(capsys, "evaluate", parquet([b"x" * 10_000]), "--target", "odd")
    assert "it has b'xxxx" in error
    assert len(error) < 300


def test_decimals_are_numbers(parquet, reads_only, capsys):
    path = parquet([Decimal("1.25"), Decimal("2.50")])
    assert main(["evaluate", path, "--target", "weight", "--features", "odd"]) == 0
    assert "1 feature: 1 of numbers" in capsys.readouterr().out
    table = read_table(path)["odd"]
    np.testing.assert_array_equal(table[:4], [np.nan, 2.5, 1.25, 2.5])
    assert main(["evaluate", path, "--target", "odd", "--kind", "number"]) == 0


def test_durations_are_seconds_and_that_is_said(parquet, reads_only, capsys):
    path = parquet([datetime.timedelta(hours=1), datetime.timedelta(milliseconds=1500)])
    assert main(["evaluate", path, "--target", "weight", "--features", "odd"]) == 0
    said = capsys.readouterr().out
    assert "1 feature: 1 of numbers" in said
    assert "read: 'odd' as durations in seconds" in said
    np.testing.assert_array_equal(read_table(path)["odd"][:4], [np.nan, 1.5, 3600, 1.5])
    assert main(["evaluate", path, "--target", "odd", "--kind", "number"]) == 0
    assert "read: 'odd' as durations in seconds" in capsys.readouterr().out


def test_the_order_of_categories_is_said(frame, tmp_path, reads_only, capsys):
    frame["town"] = pd.Categorical(frame["town"], ["Ulm", "Bonn", "Trier"], ordered=True)
    path = str(tmp_path / "table.parquet")
    frame.to_parquet(path)
    assert main(["evaluate", path, "--target", "weight", "--features", "town"]) == 0
    said = one_line(capsys.readouterr().out)
    assert "1 feature: 1 of ordered categories" in said
    assert "read: 'town' as ranks from 0: Ulm < Bonn < Trier" in said


def test_parquet_with_a_name_twice(frame, tmp_path, capsys):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table([frame["length"], frame["width"]], names=["a", "a"])
    path = tmp_path / "table.parquet"
    importlib.import_module("pyarrow.parquet").write_table(table, path)
    error = error_of(capsys, "evaluate", path, "--target", "a")
    assert f"{path} has several columns of the name 'a'" in error


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("method", ["Euclid", "DiscriminantAlignment"])
def test_single_distances_vote_as_plain_neighbours_do_and_explain_by_column(kind, method, frame):
    y = targets_of(kind, frame)
    task = Task("table", frame[["length", "width", "noise", "town"]], y, kind)
    train, new = task.part(np.arange(40)), task.X[40:]
    predictor = fit_method(train, method, 0)
    images, far = map(predictor.pipeline_.transform, (train.X, new))
    plain = task.rules.neighbors(predictor.n_neighbors).fit(images, train.y)
    np.testing.assert_allclose(predictor.predict(new), plain.predict(far), rtol=1e-12)
    if kind == "class":
        np.testing.assert_array_equal(predictor.predict_proba(new), plain.predict_proba(far))
    distances, rows = predictor.kneighbors(new, 3)
    np.testing.assert_allclose(distances, plain.kneighbors(far, 3)[0])
    explanation = predictor.explain(new[:1], 3)
    assert list(explanation.columns) == ["length", "width", "noise", "town"]
    assert list(explanation.rows) == list(rows[0])
    np.testing.assert_allclose(explanation.contributions.sum(axis=1), distances[0] ** 2)
    assert "by correction" not in str(explanation)
    np.testing.assert_allclose(predictor.feature_importances_.sum(), 1)


def test_the_rows_that_vote_are_those_that_are_shown():
    # Among samples that are equally near, two searches may find different ones.
    X = pd.DataFrame(np.random.default_rng(0).integers(0, 3, (200, 3)).astype(float))
    task = Task("table", X, np.arange(200) % 2, "class")
    predictor = fit_method(task, "Euclid", 0)
    rows = predictor.kneighbors(X, predictor.n_neighbors, return_distance=False)
    np.testing.assert_array_equal(predictor.neighborhood(X).indices, rows)
    votes = task.y[rows].mean(axis=1)
    np.testing.assert_allclose(predictor.predict_proba(X)[:, 1], votes)
    explanation = predictor.explain(X[:1], 3)
    assert explanation.n_others == predictor.n_neighbors - 3
    np.testing.assert_array_equal(explanation.rows, rows[0, :3])
