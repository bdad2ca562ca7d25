"""Faults from outside: what was finished stays, what is damaged is refused."""

import os
import resource
import stat
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import injected
import numpy as np
import pytest
from public_estimators import EVERY, SEARCHES, data_of, is_special_case, output
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer
from typed_tables import read_table

import metricalign
from metricalign import RelationAlignmentCV
from metricalign.__main__ import main
from metricalign._files import write_whole
from metricalign.command_line.columns import read_columns, sort_features
from metricalign.command_line.formats import Reading
from metricalign.command_line.reading import InputError, read_contents
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import EmbeddingLearner
from metricalign.pair_classification import PairClassifier

OPTIONS = {
    "NeighborhoodAlignment": {"random_state": 0},
    "RelationAlignmentCV": {"Cs": 2, "cv": 2},
}
# Each of the some forty fits of these is many.
MANY = ("n_folds", "learners", "n_ensemble", "n_rounds", "cv")
LEARNERS = [
    name for name in metricalign.__all__ if issubclass(getattr(metricalign, name), EmbeddingLearner)
]


def interrupt(*targets):
    raise KeyboardInterrupt


def interrupted(line, function, *arguments):
    """Call, with Ctrl-C at this line of the package that is run; return how many were run."""
    package, n_lines = str(Path(metricalign.__file__).parent), 0

    def trace(frame, event, argument):
        nonlocal n_lines
        if not frame.f_code.co_filename.startswith(package):
            return None
        if event == "line":
            n_lines += 1
            if n_lines == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return n_lines


def takes_long(estimator):
    return is_special_case(estimator) or any(map(partial(hasattr, estimator), MANY))


# The nets of HRAML keep the epochs that are whole, and say so.
@pytest.mark.filterwarnings("ignore:HRAML was interrupted")
# What few epochs, rounds and samples lead to.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:n_same=")
@pytest.mark.parametrize("is_refit", [False, True], ids=["first fit", "second fit"])
@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(
            estimator,
            marks=[pytest.mark.slow] if takes_long(estimator) else [],
            id=type(estimator).__name__,
        )
        for estimator in [*EVERY, *SEARCHES]
    ],
)
def test_an_interrupt_at_any_line_leaves_the_last_fit_or_the_new_one(estimator, is_refit):
    X, y = data_of(estimator)
    whole = clone(estimator).fit(X, y)  # once, for what only the first fit does
    n_lines = interrupted(None, (whole if is_refit else clone(estimator)).fit, X, y)
    first = clone(estimator).fit(X[..., :3], y) if is_refit else clone(estimator)
    lines = {*range(1, 16), *np.linspace(16, n_lines - 16, 16, dtype=int), *range(-16, 1)}
    for line in sorted(line if line > 0 else n_lines + line for line in lines):
        learner, before = clone(estimator), dict(vars(first))
        vars(learner).update(before)
        assert interrupted(line, learner.fit, X, y) >= line
        left = vars(learner)
        if left.keys() == before.keys() and all(left[name] is before[name] for name in left):
            if is_refit:
                assert np.isfinite(values(output(learner, X[..., :3]))).all()
            else:
                with pytest.raises(NotFittedError):
                    output(learner, X)
        else:
            assert left.keys() == vars(whole).keys()
            assert learner.n_features_in_ == X.shape[-1]
            assert np.isfinite(values(output(learner, X))).all()
            if isinstance(learner, LinearMetricLearner):
                assert learner.matrix_.shape[0] == X.shape[1]
                assert len(learner.pairs_) == len(learner.relations_) == len(learner.dual_coef_)


def values(result):
    return result.data if sparse.issparse(result) else result


@pytest.mark.parametrize("name", LEARNERS)
def test_an_interrupt_before_the_first_step_leaves_the_last_fit(name):
    X = np.random.default_rng(0).normal(size=(40, 4))
    y = (X[:, 0] > 0).astype(int)
    learner = getattr(metricalign, name)(**OPTIONS.get(name, {})).fit(X, y)
    before, images = dict(vars(learner)), learner.transform(X)
    with pytest.raises(KeyboardInterrupt):
        learner.set_params(relation=interrupt).fit(X[:, :3], y)
    assert vars(learner) | {"relation": "auto"} == before
    np.testing.assert_array_equal(learner.transform(X), images)
    fresh = clone(learner)
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X, y)
    assert vars(fresh).keys() == vars(clone(fresh)).keys()
    with pytest.raises(NotFittedError):
        fresh.transform(X)
    np.testing.assert_array_equal(
        learner.set_params(relation="auto").fit(X, y).transform(X), images
    )


def test_an_interrupt_of_a_calibration_leaves_the_last_one_or_the_new_one():
    pairs = np.random.default_rng(0).normal(size=(30, 2, 1))
    judgments = np.tile([-1, 1], 15)
    calibrated = PairClassifier(FunctionTransformer()).fit(pairs, judgments)
    first = deepcopy(calibrated)
    n_lines = interrupted(None, calibrated.calibrate_threshold, pairs[:9], judgments[:9])
    assert calibrated.threshold_ != first.threshold_
    for line in range(1, n_lines + 1):
        classifier = deepcopy(first)
        interrupted(line, classifier.calibrate_threshold, pairs[:9], judgments[:9])
        left = classifier.threshold_, classifier.calibration_
        assert left in [
            (first.threshold_, first.calibration_),
            (calibrated.threshold_, calibrated.calibration_),
        ]


@pytest.mark.slow
def test_a_dead_worker_is_an_error_and_the_next_fit_works():
    X = np.random.default_rng(0).normal(size=(40, 2))
    search = RelationAlignmentCV(Cs=2, cv=2, n_jobs=2, scoring=injected.die)
    with pytest.raises(RuntimeError, match=r"worker process.* terminated"):
        search.fit(X, X[:, 0] ** 2)
    assert search.set_params(scoring=None).fit(X, X[:, 0] ** 2).converged_


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_disk_that_ends_leaves_the_old_file(tmp_path, limit):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, lambda file: file.write(bytes(100_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_an_interrupted_write_leaves_what_was_there(step, is_old, tmp_path, monkeypatch):
    path = tmp_path / "model"
    if is_old:
        path.write_bytes(b"old")
    if step != "write":
        monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupt if step == "write" else lambda file: file.write(b"new"))
    assert os.listdir(tmp_path) == ["model"] * is_old
    assert not is_old or path.read_bytes() == b"old"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"old")
    path.chmod(mode)
    seen = []
    # Nobody reads a private file while it is written, either.
    write_whole(path, lambda file: seen.append(os.fstat(file.fileno()).st_mode))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(seen[0]) == mode


def test_a_new_file_has_the_usual_mode(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "model", lambda file: file.write(b"new"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


def test_a_link_that_lies_in_wait_is_not_followed(tmp_path, monkeypatch):
    victim, trap = tmp_path / "victim", tmp_path / ".guessed.part"
    victim.write_bytes(b"precious")
    trap.symlink_to(victim)
    monkeypatch.setattr("secrets.token_hex", lambda n_bytes: "guessed")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "model", lambda file: file.write(b"new"))
    assert victim.read_bytes() == b"precious"
    assert trap.is_symlink()
    assert not (tmp_path / "model").exists()


def test_names_while_writing_cannot_be_guessed(tmp_path):
    names = set()
    for _ in range(3):
        write_whole(tmp_path / "model", lambda file: names.update(os.listdir(tmp_path)))
    assert len(names - {"model"}) == 3


def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, is_old in (("old", True), ("new", False)):
        target, link = tmp_path / "folder" / name, tmp_path / name
        if is_old:
            target.write_bytes(b"old")
        link.symlink_to(target)
        write_whole(link, lambda file: file.write(b"new"))
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path / "folder")) == ["new", "old"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "this is a folder"),
        (os.mkfifo, "a device or a pipe"),
        (lambda path: os.symlink(path, path), "a link that leads to itself"),
        (lambda path: os.symlink("/dev/null", path), "a device or a pipe"),
        (lambda path: os.symlink("no/model", path), "there is no folder"),
    ],
)
def test_what_is_no_place_for_a_file(make, message, tmp_path):
    path = tmp_path / "model"
    make(path)
    before = path.lstat()
    with pytest.raises(OSError, match=message):
        write_whole(path, lambda file: file.write(b"new"))
    assert path.lstat().st_ino == before.st_ino
    assert os.listdir(tmp_path) == ["model"]


def test_a_device_is_not_replaced_by_a_file(tmp_path, capsys):
    pytest.importorskip("pandas")
    os.mkfifo(tmp_path / "pipe")
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    arguments = ["evaluate", str(table), "--target", "b", "--save", str(tmp_path / "pipe")]
    assert main(arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "a device or a pipe; expected a file" in error
    assert (tmp_path / "pipe").is_fifo()


# What fuzzing found, besides
BROKEN_TABLES = injected.BROKEN_TABLES | {
    "a byte order mark only": b"\xfe\xff",
    "two byte order marks": b"\xfe\xff\xfe\xff",
    "a byte order mark and lines": b"\xef\xbb\xbf\n\n",
    "an empty field": b'""\n',
}


@pytest.mark.parametrize("content", BROKEN_TABLES.values(), ids=BROKEN_TABLES)
def test_broken_tables_are_refused(content, tmp_path):
    pytest.importorskip("pandas")
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.csv"):
        read_table(path)


def test_numbers_that_are_none_to_pandas_are_text(tmp_path):
    pytest.importorskip("pandas")
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"{i},1_{i:03}\n" for i in (1, 5, 2, 7, 3)))
    features = sort_features(read_columns(read_contents(path).table, ["a", "b"], Reading()))
    assert list(features.columns) == ["a"]
    assert list(features.left_out) == ["like an identifier, text with another value in most rows"]
