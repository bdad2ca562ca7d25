"""What evaluate says and saves, and what predict makes of it."""

import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from metricalign import DiscriminantAlignment, GradientAlignment  # noqa: E402
from metricalign.__main__ import main  # noqa: E402
from metricalign.command_line import evaluation, messages  # noqa: E402
from metricalign.command_line.doubts import warnings_of  # noqa: E402
from metricalign.command_line.evaluation import Note, Result, compare, estimated_seconds  # noqa: E402
from metricalign.command_line.formats import Text  # noqa: E402
from metricalign.command_line.models import load_model, save_model  # noqa: E402
from metricalign.command_line.reading import InputError  # noqa: E402
from metricalign.command_line.report import Report, _embedding, _explanations, _page  # noqa: E402
from metricalign.command_line.table_columns import TableColumns  # noqa: E402
from metricalign.command_line.tasks import Task, check_folds, sample, splits  # noqa: E402

FAST = ["--folds", "3", "--methods", "DiscriminantAlignment"]


@pytest.fixture
def cars():
    """A table with a number that depends on numbers and a category."""
    return table_of_cars()


def table_of_cars():
    rng = np.random.default_rng(0)
    power, weight = rng.uniform(40, 200, 90), rng.uniform(700, 2400, 90)
    make = rng.choice(["audi", "fiat", "volvo"], 90)
    price = np.round(90 * power + 3000 * (make == "audi") + 100 * rng.normal(size=90))
    frame = pd.DataFrame({"power": power.round(1), "weight": weight.round(1), "make": make})
    return frame.assign(price=price + 0.5)


def run(capsys, *arguments, status=0):
    assert main([str(argument) for argument in arguments]) == status
    output = capsys.readouterr()
    return " ".join(output.out.split()), " ".join(output.err.split())


def write(frame, tmp_path, **options):
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False, **options)
    return path


# The verdict


def result_of(label, values, measure="accuracy"):
    return Result(label, {measure: np.array(values, dtype=float)}, np.ones(len(values)))


def task_of(n_rows=400, kind="class"):
    return Task("table", np.zeros((n_rows, 2)), np.arange(n_rows) % 2, kind)


EUCLID = [0.80, 0.81, 0.79, 0.82, 0.80]


@pytest.mark.parametrize(
    ("best", "trees", "sentence"),
    [
        (
            [0.90, 0.91, 0.89, 0.92, 0.91],
            [0.85, 0.86, 0.84, 0.87, 0.85],
            "Use PSDSVR: accuracy 0.906 where Euclid 0.804, 0.102 more, better in 5 of 5 folds. "
            "Boosted trees have 0.854, worse in 5 of 5 folds.",
        ),
        (
            [0.90, 0.91, 0.89, 0.92, 0.91],
            [0.95, 0.96, 0.94, 0.97, 0.95],
            "Boosted trees predict better, 0.954, but have no distance and no neighbours.",
        ),
        (
            [0.81, 0.80, 0.80, 0.82, 0.80],
            EUCLID,
            "No learned distance is clearly better than Euclid here: PSDSVR gains 0.002 (better in "
            "2 of 5 folds), which may be chance. Euclid is simpler. More rows would tell.",
        ),
        (
            [0.70] * 5,
            EUCLID,
            "No learned distance is better than Euclid here: Euclid 0.804, the next best is",
        ),
    ],
)
def test_verdict(best, trees, sentence):
    results = [
        result_of("Euclid", EUCLID),
        result_of("PSDSVR", best),
        result_of("BoostedTrees", trees),
    ]
    assert sentence in messages.verdict(task_of(), results)


@pytest.mark.parametrize(
    ("learned", "label"), [([0.9] * 5, "PSDSVR"), ([0.81] * 5, "Euclid"), ([0.7] * 5, "Euclid")]
)
def test_what_has_no_clear_gain_is_not_recommended_as_the_verdict_says(learned, label):
    results = [result_of("Euclid", EUCLID), result_of("PSDSVR", learned)]
    results.append(result_of("BoostedTrees", [0.99] * 5))
    assert messages.recommended(task_of(), results).label == label
    assert messages.verdict(task_of(), results).startswith("Use ") == (label != "Euclid")


@pytest.mark.parametrize("length", range(60, 80))
@pytest.mark.parametrize("copied", ['"Patient ID"', "get_dummies('; ')"])
def test_lines_are_not_broken_in_what_is_to_be_copied(copied, length):
    text = f"{'x ' * (length // 2)}{copied} and more"
    lines = messages.wrap(text).split("\n")
    assert " ".join(lines) == text
    assert any(copied in line for line in lines)
    assert max(map(len, lines)) <= messages.WIDTH


def test_a_gain_in_most_folds_only_is_not_clear():
    assert messages.is_clear(np.array([0.1, 0.1, 0.2, 0.1, -0.01]))
    assert not messages.is_clear(np.array([0.1, 0.1, 0.2, -0.01, -0.01]))
    assert not messages.is_clear(np.array([0.1, 0.1, -0.01]))
    assert not messages.is_clear(np.array([1.0, 0.0001, 0.0001, 0.0001, 0.0001]))


def test_notes_are_counted_in_words_of_a_person():
    notes = [
        *(Note("PSDSVR", f"PSDSVR learned the zero metric, since {i}", 15) for i in range(7)),
        *(
            Note("PSDSVR", f"PSDSVR cannot tell the learned metric from none: {i}", 15)
            for i in "ab"
        ),
        Note("RAMLSVR", "error: The two samples of every pair are identical in X.", 5),
        Note("Euclid", "The least populated class in y has only 1 member", 15),
    ]
    assert messages.notes_of(notes) == [
        "PSDSVR: nothing was learned in 9 of 15 fits",
        "RAMLSVR: it failed (The two samples of every pair are identical in X) in 1 of 5 fits",
    ]


@pytest.mark.parametrize("euclidean", [0.0, 0.2])
@pytest.mark.parametrize("learner", [DiscriminantAlignment, GradientAlignment])
def test_a_metric_without_the_targets_is_noted_as_nothing_learned(learner, euclidean):
    X = np.random.default_rng(0).normal(size=(40, 3))
    similarities = -(np.subtract.outer(X[:, 0], X[:, 0]) ** 2)
    with pytest.warns(UserWarning, match="learned (only|the zero metric)") as caught:
        learner(relation="precomputed", euclidean=euclidean).fit(X, similarities)
    notes = [Note("It", str(each.message), 1) for each in caught]
    assert messages.notes_of(notes) == ["It: nothing was learned in 1 of 1 fits"]


# Folds that do not leak


def test_groups_stay_together_and_time_goes_on():
    rng = np.random.default_rng(0)
    task = task_of(60)
    task.groups = rng.integers(12, size=60)
    for train, test in splits(task, 3, 0):
        assert not set(task.groups[train]) & set(task.groups[test])
        assert len(train) + len(test) == 60
    task.groups, task.time = None, rng.permutation(60)
    for train, test in splits(task, 3, 0):
        assert task.time[train].max() < task.time[test].min()
    # Rows of one time are on one side, and all rows but the earliest are predicted.
    task.time = np.repeat(rng.permutation(10), 6)
    folds = list(splits(task, 3, 0))
    for train, test in folds:
        assert task.time[train].max() < task.time[test].min()
        assert len(train) % 6 == len(test) % 6 == 0
    assert len(folds) == 3
    predicted = np.concatenate([test for _, test in folds])
    assert len(np.unique(predicted)) == len(predicted) == np.sum(task.time >= 2)
    check_folds(task, 3)
    for time in (np.zeros(60), np.repeat([0, 1], 30)):
        task.time = time
        with pytest.raises(InputError, match="too many rows have the same time for 3 folds"):
            check_folds(task, 3)
    # Inner folds cannot ask for another column. They still go on in time.
    task.time = np.repeat([2, 1], [10, 50])
    for train, test in splits(task, 3, 0):
        assert task.time[train].max() <= task.time[test].min()


def test_groups_and_time_of_a_table(cars, tmp_path, capsys):
    cars["day"] = pd.date_range("2020-01-01", periods=90).strftime("%d.%m.%Y")
    path = write(cars.assign(plant=np.arange(90) // 6), tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "price", *FAST, "--time", "day")
    assert "each predicted from rows of earlier times" in output
    output, _ = run(capsys, "evaluate", path, "--target", "price", *FAST, "--groups", "plant")
    assert "no group is in both parts of a fold" in output
    some = write(cars.assign(plant=np.where(np.arange(90) < 3, "", "p1")), tmp_path)
    _, error = run(
        capsys, "evaluate", some, "--target", "price", *FAST, "--groups", "plant", status=2
    )
    assert "--groups plant: 3 rows have no group; give each of them one of its own" in error
    both = ["--groups", "plant", "--time", "day"]
    _, error = run(capsys, "evaluate", path, "--target", "price", *both, status=2)
    assert "--groups and --time cannot be had together" in error


def test_groups_are_warned_of(tmp_path, capsys):
    rng = np.random.default_rng(0)
    plant = np.repeat(np.arange(15), 8)
    y = rng.normal(size=15)[plant] + 0.01 * rng.normal(size=120)
    table = pd.DataFrame({"x": rng.normal(size=120), "patient_id": 1000 + 7 * plant, "y": y})
    for name in ("patient_id", "cell", "Patient ID"):
        path = write(table.rename(columns={"patient_id": name}), tmp_path)
        output, _ = run(capsys, "evaluate", path, "--target", "y", *FAST)
        assert f"'{name}' looks like the identifier of groups of about 8 rows" in output
        word = f'"{name}"' if " " in name else name
        assert f"--groups {word} keeps them together" in " ".join(output.split())
        assert f"{word} " in output
    # Groups of one row, too, as long as most rows are not alone.
    visits = table.drop(index=[i for i in range(120) if i // 8 < 12 and i % 8 > 0])
    visits = visits[["x", "y"]].assign(visit_id=[*range(12), *np.arange(24) // 3 + 12])
    output, _ = run(capsys, "evaluate", write(visits, tmp_path), "--target", "y", *FAST)
    assert "'visit_id' looks like the identifier of groups of about 3 rows" in output
    path = write(
        table.assign(patient_id=rng.permutation(table["patient_id"])).rename(
            columns={"patient_id": "cell"}
        ),
        tmp_path,
    )
    output, _ = run(capsys, "evaluate", path, "--target", "y", *FAST)
    assert "looks like the identifier" not in output


def test_a_column_that_tells_the_target_is_named(cars, tmp_path, capsys):
    dear = np.where(cars["power"] > 120, "yes", "no")
    path = write(cars.assign(dear=dear, code=np.where(dear == "yes", "A7", "B9")), tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "dear", *FAST)
    assert "'power', 'code' each tell the target alone." in output
    path = write(cars.assign(dear=dear), tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "dear", *FAST)
    assert "'power' tells the target alone." in output


def test_scores_that_are_too_good_to_be_true_are_doubted():
    task = Task("", pd.DataFrame({"a": np.arange(60.0)}), np.arange(60) % 2, "class")
    perfect = [result_of("Euclid", [1.0, 0.9999]), result_of("PSDSVR", [1.0, 1.0])]
    doubt = next(warnings_of(task, task, perfect))
    assert doubt.startswith("accuracy 1.000 is too good to be true")


def test_copied_rows_are_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(60, 3)).round(3), columns=[*"abc"])
    noise = noise.assign(y=rng.choice(["p", "q"], 60), sample=np.arange(60) // 2)
    copied = pd.concat([noise, noise.iloc[:40]])
    path = write(copied, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "y", "--drop", "sample", *FAST)
    assert "Warning: 40 of 100 rows repeat another row, with its target." in output
    # Most values of a column have one target only because its rows are copied.
    assert "the target alone" not in output
    output, _ = run(capsys, "evaluate", path, "--target", "y", "--groups", "sample", *FAST)
    assert "repeat another row" not in output
    output, _ = run(capsys, "evaluate", write(noise, tmp_path), "--target", "y", *FAST)
    assert "repeat another row" not in output
    # Samples of few categories are often the same by chance.
    few = pd.DataFrame(rng.choice([*"xyz"], (100, 3)), columns=[*"abc"]).assign(y=[*"pq"] * 50)
    assert few.duplicated().sum() > 40
    output, _ = run(capsys, "evaluate", write(few, tmp_path), "--target", "y", *FAST)
    assert "repeat another row" not in output


def test_copied_rows_are_found_among_missing_values(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    x[rng.random(x.shape) < 0.4] = np.nan  # about 13 rows have no value
    frame = pd.DataFrame(x, columns=[*"abc"]).assign(y=rng.choice(["yes", "no"], 200))
    assert frame.duplicated().sum() >= 5
    path = write(frame, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "y", *FAST)
    assert "repeat another row" not in output
    complete = frame.dropna().iloc[:20]
    path = write(pd.concat([frame, complete]), tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "y", *FAST)
    assert "Warning: 20 of 220 rows repeat another row, with its target." in output


def test_words_for_missing_values_are_named_with_their_columns(cars, tmp_path, capsys):
    cars["power"] = cars["power"].astype(str)
    cars.loc[[1, 2], "power"] = ["-", "k.A."]
    cars.loc[[3, 4, 5], "make"] = ["-", "k.A.", "-"]  # among texts a dash is a category
    path = write(cars, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "price", *FAST)
    assert "read: '-' as missing values, in 'power' read:" in output
    assert "read: 'k.A.' as missing values, in 'power', 'make'" in output


def test_names_that_differ_in_case_only_are_asked_about(cars, tmp_path, capsys):
    cars["sold"] = np.where(cars.pop("price") > 9000, "yes", "no")
    path = write(cars, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "sold", *FAST)
    assert "upper or lower case?" not in output
    cars.loc[cars.index[::6], "make"] = cars["make"].str.upper()
    cars.loc[cars.index[::7], "sold"] = cars["sold"].str.capitalize()
    path = write(cars, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "sold", *FAST)
    makes = "'make' has 'AUDI', 'audi', 'FIAT', 'fiat', 'VOLVO', 'volvo', a category each."
    assert f"upper or lower case? {makes} If they mean the same, write them alike" in output
    assert "upper or lower case? 'No', 'no', 'Yes', 'yes' are a class each. If" in output
    # The answer, if it is followed, ends the question.
    cars[["make", "sold"]] = cars[["make", "sold"]].apply(lambda column: column.str.lower())
    output, _ = run(capsys, "evaluate", write(cars, tmp_path), "--target", "sold", *FAST)
    assert "upper or lower case?" not in output
    cars["labels"] = np.resize(["dear, fast", "fast", "Fast, dear", "dear"], len(cars))
    path = write(cars, tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "labels", "--kind", "labels", *FAST)
    assert "upper or lower case? 'Fast', 'fast' are a label each." in output


def test_of_a_rare_class_balanced_accuracy_comes_first(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2))
    rare = np.zeros(150, dtype=int)
    rare[:8] = 1
    path = write(
        pd.DataFrame(x, columns=["a", "b"]).assign(ill=np.where(rare, "yes", "no")), tmp_path
    )
    output, _ = run(capsys, "evaluate", path, "--target", "ill", *FAST)
    assert re.search(r"method +balanced accuracy", output)
    assert "Nearly all rows are of one class" in output


def test_classes_that_are_never_predicted_are_named():
    result = result_of("PSDSVR", EUCLID)
    result.predicted = {0}
    assert messages.never_predicted(task_of(), result) == "PSDSVR never predicts '1'"
    result.predicted = {0, 1}
    assert messages.never_predicted(task_of(), result) is None


# Time


def test_many_rows_are_sampled_and_said(cars, tmp_path, capsys):
    path = write(pd.concat([cars] * 2).reset_index(drop=True), tmp_path)
    output, _ = run(capsys, "evaluate", path, "--target", "price", *FAST, "--rows", "60")
    assert "Sample: 60 of the 180 rows are compared" in output


def test_samples_keep_their_rows():
    task = task_of(100)
    task.rows, task.X = np.arange(100), np.arange(200).reshape(100, 2)
    part = sample(task, 30, 0)
    np.testing.assert_array_equal(part.X[:, 0], 2 * part.rows)
    np.testing.assert_array_equal(part.y, part.rows % 2)
    assert sample(task, 100, 0) is task


def test_longer_comparisons_are_estimated_longer():
    few, many = task_of(500), task_of(5000)
    assert estimated_seconds(few, ["Euclid"], 5) < estimated_seconds(many, ["Euclid"], 5)
    assert estimated_seconds(few, ["Euclid"], 5) < estimated_seconds(few, ["MetricNeighbors"], 5)


def test_boosting_of_many_rows_takes_longer_for_two_classes_than_for_three():
    for n_rows, more in ((1000, 0), (3000, 5 * evaluation.BOOSTING_SECONDS)):
        two, three = (
            Task("", pd.DataFrame(np.zeros((n_rows, 3))), np.arange(n_rows) % n_classes, "class")
            for n_classes in (2, 3)
        )
        methods = ["MetricNeighbors"]
        longer = estimated_seconds(two, methods, 5) - estimated_seconds(three, methods, 5)
        assert longer == pytest.approx(more)


def test_of_many_labels_the_trees_of_one_are_measured(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(90, 3))), rng.integers(0, 2, (90, 30))
    clock = itertools.count(step=0.5)
    monkeypatch.setattr(evaluation, "process_time", lambda: next(clock))
    fitted = []
    monkeypatch.setattr(evaluation, "fit_method", lambda task, *_: fitted.append(task))
    few, many = (Task("", X, y[:, :n], "labels") for n in (20, 30))
    assert estimated_seconds(few, ["BoostedTrees"], 3) < 3 * 20 * 0.2
    assert not fitted
    # Of each of three folds 30 labels, and 60 rows to learn from.
    assert estimated_seconds(many, ["BoostedTrees"], 3) == 3 * 30 * 0.5
    assert fitted[-1].y.shape == (60, 1)
    assert fitted[-1].X.shape == (60, 3)


def test_what_is_said_is_the_time_that_passes(monkeypatch):
    monkeypatch.setattr(evaluation.joblib, "cpu_count", lambda: 2)
    few, many = task_of(60), task_of(30_000)
    # In one process if that is short, on all cores otherwise.
    for task, methods in ((few, ["Euclid"]), (many, ["MetricNeighbors"])):
        alone = estimated_seconds(task, methods, 5)
        is_short = alone < evaluation.WORTH_PROCESSES
        assert is_short == (task is few)
        expected = alone if is_short else alone / 2 + evaluation.PROCESS_SECONDS
        assert evaluation.expected_duration(task, methods, 5) == expected
    # skrub takes its time for free texts: .09 s for each of 2 encodings in each fold.
    columns = TableColumns({"remark": Text()})
    columns.fit(pd.DataFrame({"remark": [f"text {number}" for number in range(60)]}))
    texts = Task("", few.X, few.y, "class", columns=columns)
    more = estimated_seconds(texts, ["Euclid"], 5) - estimated_seconds(few, ["Euclid"], 5)
    assert 0.8 < more < 1.2


@pytest.mark.slow
def test_processes_give_what_one_process_gives(cars, monkeypatch):
    task = Task("cars", cars[["power", "weight", "make"]], cars["price"].to_numpy(), "number")
    here, _ = compare(task, ["DiscriminantAlignment"], 2)
    monkeypatch.setattr(evaluation, "WORTH_PROCESSES", 0.0)
    monkeypatch.setattr(evaluation.joblib, "cpu_count", lambda: 2)
    there, _ = compare(task, ["DiscriminantAlignment"], 2)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.values["R2"], other.values["R2"], rtol=1e-9)


# The page


class Page(HTMLParser):
    """Tags that are open, addresses that are named, and circles that are drawn."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.n_circles = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        self.n_circles += tag == "circle"
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_of_everything(cars, tmp_path, capsys):
    cars["<b>"] = cars["power"] ** 2
    path = write(cars.assign(make=cars["make"].replace("fiat", "<i>")), tmp_path)
    page = tmp_path / "page.html"
    options = ["--folds", "2", "--methods", "MetricNeighbors-no-trees", "--report", page]
    output, _ = run(capsys, "evaluate", path, "--target", "make", *options)
    text = page.read_text()
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    # Nothing is fetched: pictures are within, and names of columns are no tags.
    assert all(address.startswith("data:image/png;base64,") for address in parsed.addresses)
    assert "http" not in text
    assert "<b>" not in text
    assert parsed.n_circles == 90
    for part in ("MetricNeighbors-no-trees", "Columns that make the distance", "Prediction:"):
        assert part in text
    # Rows that are explained were held out: none is its own neighbour.
    explained = re.findall(r"<p>Row (\d+), .*?<pre>(.*?)</pre>", text, re.DOTALL)
    assert [row for row, _ in explained] == ["1", "45", "90"]
    for _, explanation in explained:
        neighbors = re.findall(r"^ +(\d+) +[\d.]+ +\d+%  ", explanation, re.MULTILINE)
        assert len(neighbors) == 4
        assert {"1", "45", "90"}.isdisjoint(neighbors)
    assert "held out" in text
    assert "what to predict make by" in text
    assert f"Report: {page}" in output
    _, error = run(capsys, "evaluate", path, "--target", "make", "--report", path, status=2)
    assert "this would replace" in error


def test_no_class_is_held_out_as_a_whole():
    # The first, the middle and the last row are all of a class.
    X = pd.DataFrame({"size": np.random.default_rng(0).normal(size=11)})
    task = Task("table", X, np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), "class")
    page = "".join(_explanations(task, "MetricNeighbors-no-trees", 0))
    assert page.count("Prediction: ") == 3


def test_targets_of_a_page_are_written_as_in_its_predictions():
    x = np.arange(30.0)
    task = Task("table", pd.DataFrame({"size": x}), 13000 + x, "number")
    page = "".join(_explanations(task, "MetricNeighbors-no-trees", 0))
    assert "<p>Row 1, target 13000:</p>" in page


@pytest.mark.parametrize("n_classes", [3, 10, 12])
def test_every_colour_of_the_page_is_explained(n_classes):
    y = np.concatenate([np.arange(n_classes), np.arange(n_classes)[-10:]])
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(len(y), 3)))
    model = SimpleNamespace(images_of=lambda rows: rows)
    page = "".join(_embedding(model, Task("table", X, y, "class")))
    of_points = set(re.findall(r'fill="(#\w+)"', page))
    legend = dict(re.findall(r'style="color:(#\w+)">&#9679;</span>&nbsp;(\w+)', page))
    assert set(legend) == of_points
    # Of twelve classes the ten that are frequent have a colour.
    shown = [str(label) for label in range(n_classes)[-10:]]
    assert list(legend.values()) == shown + ["others"] * (n_classes > 10)


@pytest.mark.parametrize(
    ("kind", "y", "legend"),
    [
        ("number", [3.0, 1.5, 2.0], "target: 1.5 <span"),
        ("labels", [[1, 1], [0, 0], [0, 1]], "number of labels: 0 <span"),
        ("numbers", [[3.0, 9.0], [1.0, 8.0], [2.0, 7.0]], "width: 1 <span"),
        ("distribution", [[0.2, 0.8], [0.1, 0.9], [0.5, 0.5]], "width: 0.1 <span"),
    ],
)
def test_shades_of_the_page_are_explained(kind, y, legend):
    task = Task("table", pd.DataFrame(np.eye(3)), np.array(y), kind, ["width", "height"])
    model = SimpleNamespace(images_of=lambda rows: rows)
    page = "".join(_embedding(model, task))
    assert legend in page
    values = np.array(y).reshape(3, -1)
    values = values.sum(axis=1) if kind == "labels" else values[:, 0]
    lightness = [int(text) for text in re.findall(r"hsl\(212, 60%, (\d+)%\)", page)]
    assert lightness[np.argmin(values)] == 88
    assert lightness[np.argmax(values)] == 26


def test_the_same_row_is_marked_in_the_terminal_and_on_the_page():
    # Trees have the best mean, and no distance.
    values = {"Euclid": EUCLID, "PSDSVR": [0.9] * 5, "RAMLSVR": [0.85] * 5}
    results = [result_of(label, of_folds) for label, of_folds in values.items()]
    results.append(result_of("BoostedTrees", [0.99] * 5))
    for result in results:
        result.values |= dict.fromkeys(("balanced accuracy", "macro F1"), np.ones(5))
    task = task_of()
    chosen = messages.recommended(task, results).label
    lines = messages.measures_of(task, results, chosen).splitlines()
    assert {line.split()[0] for line in lines if "*" in line} == {"PSDSVR*"}
    page = "".join(_page(Report(task, ["y"], results, chosen, None, task, [], [], 0)))
    assert re.findall(r'<tr class="chosen"><td>(.*?)</td>', page) == ["PSDSVR*"]
    assert "Use PSDSVR:" in page


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1600, 800, 500])
def test_only_a_table_that_is_wider_than_the_window_scrolls(width, tmp_path):
    # On a phone (500 is the least that Chromium takes) methods stand one below the other.
    task = Task("table", np.zeros((20, 2)), np.eye(20, 2), "distribution")
    values = {measure.name: np.full(2, 0.5) for measure in task.measures}
    results = [Result(label, values, np.ones(2)) for label in ("Euclid", "PSDSVR")]
    page = "".join(_page(Report(task, ["y"], results, "PSDSVR", None, task, [], [], 0)))
    script = """<script>const wide = document.querySelector(".wide"); document.title = [innerWidth,
        document.documentElement.scrollWidth, wide.scrollWidth, wide.clientWidth]</script></body>"""
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", script))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    browser = subprocess.run(
        [*command, f"--window-size={width},900", path.as_uri()], capture_output=True, text=True
    )
    found = re.search("<title>([0-9,]+)</title>", browser.stdout)
    window, content, table, shown = map(int, found[1].split(","))
    assert content <= window == width
    assert (table <= shown) == (width != 800)


def test_a_page_without_a_distance(cars, tmp_path, capsys):
    page = tmp_path / "page.html"
    options = ["--folds", "2", "--methods", "BoostedTrees", "--report", page]
    run(capsys, "evaluate", write(cars, tmp_path), "--target", "price", *options)
    assert "BoostedTrees" in page.read_text()
    assert "Columns that make the distance" not in page.read_text()


# Predictions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a table in German marks."""
    folder = tmp_path_factory.mktemp("model")
    path = write(table_of_cars(), folder, sep=";", decimal=",")
    saved = folder / "cars.joblib"
    options = ["--folds", "2", "--methods", "MetricNeighbors-no-trees", "--save", str(saved)]
    assert main(["evaluate", str(path), "--target", "price", *options]) == 0
    return saved


def test_predictions_of_a_table_that_is_written_otherwise(model, cars, tmp_path, capsys):
    new = cars.drop(columns="price")[["make", "power", "weight"]].assign(colour="red")
    new.loc[:1, "make"] = ["opel", None]
    path = tmp_path / "new.csv"
    new.to_csv(path, index=False)
    out = tmp_path / "out.csv"
    _, notes = run(capsys, "predict", model, path, "--neighbors", "2", "--out", out)
    assert "the delimiter is ','; it was ';' in the training table" in notes
    assert "'power' is read as plain numbers" in notes
    assert "it was decimal mark ','" in notes
    assert "'colour': not in the training table, not used" in notes
    assert "'make' has 'opel', not in the training table." in notes
    result = pd.read_csv(out)
    assert list(result) == [
        *("row", "prediction", "neighbor 1", "distance 1", "target 1"),
        *("neighbor 2", "distance 2", "target 2"),
    ]
    # The nearest training row of a training row is itself.
    same = result[2:]
    np.testing.assert_array_equal(same["neighbor 1"], same["row"])
    np.testing.assert_allclose(same["distance 1"], 0, atol=1e-3)
    np.testing.assert_allclose(same["target 1"], cars["price"][2:])
    np.testing.assert_allclose(result["prediction"], load_model(model).predict(new))


def test_numbers_of_another_unit_are_said_once(model, cars, tmp_path, capsys):
    new = cars.drop(columns="price").assign(weight=1000 * cars["weight"])
    path = write(new, tmp_path, sep=";", decimal=",")
    for options in ([], ["--explain"]):
        _, notes = run(capsys, "predict", model, path, *options)
        lowest, highest = cars["weight"].agg(["min", "max"])
        assert " ".join(notes.split()) == (
            f"Note: Most numbers of column 'weight' are outside {lowest:g} to {highest:g}, the "
            "range that was learned from. Is the unit the same?"
        )


def test_a_model_takes_frames_of_pandas_and_polars(model, cars):
    polars = pytest.importorskip("polars")
    frame = cars.convert_dtypes()
    frame.loc[3, "power"], frame.loc[4, "make"] = pd.NA, pd.NA
    loaded = load_model(model)
    predicted = loaded.predict(frame)
    assert np.isfinite(predicted).all()
    lists = {name: [None if pd.isna(v) else v for v in frame[name]] for name in frame}
    other = polars.DataFrame(lists).select("make", "weight", "power")
    np.testing.assert_allclose(loaded.predict(other), predicted)


def saved_model(frame, tmp_path, *options, **written):
    """Learn the make from a file, and return the model's file."""
    path = write(frame, tmp_path, **written)
    saved = tmp_path / "model.joblib"
    arguments = ["--folds", "2", "--methods", "Euclid", "--save", str(saved), *options]
    assert main(["evaluate", str(path), *arguments]) == 0
    return saved


def test_the_model_knows_encoding_and_missing_texts(cars, tmp_path, capsys):
    cars["make"] = cars["make"].replace("audi", "Škoda")
    cars.loc[::9, "power"] = -9
    options = ["--target", "price", "--encoding", "cp1250", "--missing", "-9"]
    saved = saved_model(cars, tmp_path, *options, encoding="cp1250")
    assert "missing: 10 values" in capsys.readouterr().out
    assert load_model(saved).columns.transform(cars)["power"].isna().sum() == 10
    predictions = []
    for encoding in ("cp1250", "utf-8", "utf-16"):
        path = write(cars.drop(columns="price"), tmp_path, encoding=encoding)
        predictions.append(run(capsys, "predict", saved, path))
        assert predictions[-1][1] == ""  # no new category: Škoda is read as it was
    assert predictions[0] == predictions[1] == predictions[2]


def test_the_model_knows_whether_files_have_names(cars, tmp_path, capsys):
    saved = saved_model(cars, tmp_path, "--target", "4", header=False)
    for rows in (cars[:1], cars[3:7]):
        path = write(rows.drop(columns="price"), tmp_path, header=False)
        capsys.readouterr()
        output, notes = run(capsys, "predict", saved, path)
        assert notes == ""
        assert len(output.split()) == 1 + len(rows)
    texts = cars[["make"]].assign(fuel=np.resize(["gas", "diesel"], 90), price=cars["price"])
    saved = saved_model(texts, tmp_path, "--target", "3", header=False)
    # Only texts: nothing in the file tells names from values.
    capsys.readouterr()
    path = write(texts[["make", "fuel"]][:4], tmp_path, header=False)
    output, notes = run(capsys, "predict", saved, path)
    assert (len(output.split()), notes) == (5, "")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("id", np.arange(90) * 7, "It looks like an identifier, another value in each row"),
        ("customer_id", [f"c{n // 3}" for n in range(90)], "It looks like an identifier, by"),
        ("price", np.arange(90) * 7, None),
        ("customer_id", [f"c{n // 30}" for n in range(90)], None),
    ],
)
def test_a_target_that_looks_like_an_identifier_is_doubted(
    name, values, message, cars, tmp_path, capsys
):
    path = write(cars.drop(columns="price").assign(**{name: values}), tmp_path)
    options = ["--target", name, "--methods", "Euclid", "--folds", "2"]
    output, _ = run(capsys, "evaluate", path, *options)
    assert ("is it what you mean? " in output) == (message is not None)
    assert (message or "") in output


def test_a_model_of_free_texts_is_saved_by_skops(cars, tmp_path, capsys):
    pytest.importorskip("skops")
    pytest.importorskip("skrub")
    cars["remark"] = [f"{make} car with {n} doors, number {n}" for n, make in enumerate(cars.make)]
    path, new = write(cars, tmp_path), cars[:5].drop(columns="price")
    options = ["--target", "price", "--folds", "2", "--methods", "DiscriminantAlignment"]
    kept, safe = tmp_path / "model.joblib", tmp_path / "model.skops"
    output, _ = run(capsys, "evaluate", path, *options, "--save", kept)
    assert "3 features" not in output  # the remark is one
    model = load_model(kept)
    with safe.open("wb") as file:
        save_model(model, file, is_skops=True)
    np.testing.assert_array_equal(load_model(safe).predict(new), model.predict(new))


def test_explanations_name_rows_and_columns(model, cars, tmp_path, capsys):
    path = tmp_path / "new.csv"
    cars[7:9].drop(columns="price").to_csv(path, index=False, sep=";", decimal=",")
    output, notes = run(capsys, "predict", model, path, "--explain", "--neighbors", "2")
    assert notes == ""
    # The eighth row of the training table is the nearest of itself.
    assert re.search(r"Row 1 Prediction: .* 8 0 ", output)
    assert "power" in output


def test_explanations_do_not_command_the_terminal(cars, tmp_path, capsys):
    cars["\x1b[31mcolour"] = np.where(np.arange(len(cars)) % 2, "\x1b[2J", "red")
    cars["price"] += 20_000.0 * (np.arange(len(cars)) % 2)
    path, saved = write(cars, tmp_path), tmp_path / "cars.joblib"
    options = ["--folds", "2", "--methods", "DiscriminantAlignment", "--save", saved]
    run(capsys, "evaluate", path, "--target", "price", *options)
    output, _ = run(capsys, "predict", saved, path, "--explain")
    assert "\\x1b[31mcolour" in output
    assert "\x1b" not in output


def test_explanations_call_labels_by_their_names(cars, tmp_path, capsys):
    cars["tags"] = np.where(cars["power"] > 120, "fast, dear", "slow")
    cars.loc[cars["make"] == "audi", "tags"] += ", quiet"
    options = ["--folds", "2", "--methods", "MetricNeighbors-no-trees"]
    path, saved = write(cars, tmp_path), tmp_path / "tags.joblib"
    run(capsys, "evaluate", path, "--target", "tags", *options, "--save", saved)
    path = write(cars.nlargest(1, "power"), tmp_path)
    output, _ = run(capsys, "predict", saved, path, "--explain")
    assert "Prediction: {dear, fast" in output
    assert "fast: probability" in output
    assert "[0, " not in output
    assert "[1, " not in output
    assert output.count("{dear, fast") >= 4  # the prediction and the targets of three neighbours
    assert "The prediction would be {" in output


def test_probabilities_of_classes_and_labels(cars, tmp_path, capsys):
    cars["tags"] = np.where(
        cars["power"] > 150, "fast, dear", np.where(cars["power"] > 100, "fast", "cheap, fast")
    )
    for target, names in (("make", ["audi", "fiat", "volvo"]), ("tags", ["cheap", "dear", "fast"])):
        path = write(cars, tmp_path)
        saved = tmp_path / "model.joblib"
        run(capsys, "evaluate", path, "--target", target, *FAST, "--save", saved)
        out = tmp_path / "out.csv"
        run(capsys, "predict", saved, path, "--out", out, "--neighbors", "1")
        result = pd.read_csv(out)
        columns = [f"probability {name}" for name in names]
        assert list(result)[2:5] == columns
        assert result[columns].to_numpy().min() >= 0
    assert set(result["prediction"]) <= {"cheap, fast", "fast", "dear, fast"}
    assert (result["target 1"] == result["prediction"]).mean() > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.drop(columns="power"),
            "the table has no column 'power', which the model needs",
        ),
        (
            lambda f: f.assign(power="strong"),
            "'power' has numbers in the table that was learned from; now it has 'strong'. Correct",
        ),
        (
            lambda f: f.assign(power=[1.5, np.inf, *f["power"][2:]]),
            "'power' has 1 infinite value, the first in row 2. Replace them, or leave them empty.",
        ),
    ],
)
def test_tables_that_the_model_cannot_use(change, message, model, cars, tmp_path, capsys):
    path = tmp_path / "new.csv"
    change(cars.drop(columns="price")).to_csv(path, index=False)
    _, error = run(capsys, "predict", model, path, status=2)
    assert message in error


def test_the_remedies_of_tables_that_the_model_cannot_use_work(model, cars, tmp_path, capsys):
    cars = cars.drop(columns="price")
    path = tmp_path / "new.csv"
    cars.assign(power="").to_csv(path, index=False)
    expected, _ = run(capsys, "predict", model, path)
    assert expected.count(" ") == len(cars)
    cars.drop(columns="power").to_csv(path, index=False)
    _, error = run(capsys, "predict", model, path, status=2)
    assert error.endswith("Values that are not known may be an empty column of this name.")
    cars.assign(power="strong").to_csv(path, index=False)
    _, error = run(capsys, "predict", model, path, status=2)
    assert error.endswith("--missing 'strong' takes it for missing.")
    assert run(capsys, "predict", model, path, "--missing", "strong")[0] == expected


def test_predictions_replace_nothing_and_need_a_model(model, cars, tmp_path, capsys):
    path = write(cars, tmp_path)
    for target in (path, model):
        _, error = run(capsys, "predict", model, path, "--out", target, status=2)
        assert "this would replace" in error
    _, error = run(capsys, "predict", tmp_path / "none", path, status=2)
    assert "there is no model" in error
    _, error = run(capsys, "predict", path, path, status=2)
    assert "is no model that evaluate --save has written (" in error


def test_a_model_is_shown_in_a_few_lines(model):
    text = repr(load_model(model))
    assert "names=['price']" in text
    assert "array" not in text
