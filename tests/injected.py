"""Faults that are injected from outside: interrupts, memory, workers, disks, damaged files."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from hostile import PUBLIC
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted
from typed_tables import read_table

from metricalign import PSDSVR, RAMLSVR, MetricEnsemble, RelationAlignmentCV
from metricalign.command_line.reading import InputError
from metricalign.datasets import loading
from metricalign.learners.alignment.base import LinearMetricLearner
from metricalign.learners.base import MetricLearner
from metricalign.pairs import AllPairs, RandomPairs


def _require(condition, what):
    if not condition:
        raise AssertionError(what)


# Interrupts


def _interrupted_fit(learner, X, y, delay):
    """Fit, and press Ctrl-C after some seconds; False if the fit was faster."""
    pressed = []

    def interrupt(*arguments):
        pressed.append(True)
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGPROF, interrupt)
    try:
        # Of processor time, which does not depend on who else is at work.
        signal.setitimer(signal.ITIMER_PROF, delay)
        learner.fit(X, y)
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    return bool(pressed)


def interrupt_fits(estimator: BaseEstimator) -> int:
    """Interrupt fits at many moments: what is left is unfitted or whole, and fits again."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:150], (y[:150] > 150).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clone(estimator).fit(X, y)  # once, for what only the first fit does
        start = time.process_time()
        expected = clone(estimator).fit(X, y).transform(X)
        seconds = time.process_time() - start
        n_faults = 0
        for delay in np.linspace(0.02, 0.98, 12 if seconds < 2 else 4) * seconds:
            fresh, refitted = clone(estimator), clone(estimator).fit(X[:60, :4], y[:60])
            n_faults += _interrupted_fit(fresh, X, y, delay)
            _check_left(fresh, X)
            n_faults += _interrupted_fit(refitted, X, y, delay)
            _check_left(refitted, X if refitted.n_features_in_ == X.shape[1] else X[:, :4])
            for learner in (fresh, refitted):
                _require(np.array_equal(learner.fit(X, y).transform(X), expected), "another fit")
    return n_faults


def _check_left(learner, X):
    """What an interrupt leaves: nothing, or a metric with all that belongs to it."""
    try:
        check_is_fitted(learner)
    except NotFittedError:
        return
    _require(np.isfinite(learner.transform(X)).all(), "images are not finite")
    if isinstance(learner, LinearMetricLearner):
        n_pairs = len(learner.pairs_)
        _require(n_pairs == len(learner.relations_) == len(learner.dual_coef_), "half a fit")
        _require(learner.matrix_.shape[0] == X.shape[1], "a fit of two halves")
        _require(learner.converged_ == (learner.dual_gap_ <= learner.tol), "half a fit")


# Memory


def refuse_memory() -> int:
    """Ask for more pairs, or larger matrices, than there is room for."""
    X = np.arange(4e6).reshape(-1, 1)
    many_features = sparse.eye_array(100_000, format="csr")
    cases: list[Callable] = [
        lambda: AllPairs().select(X),
        lambda: RandomPairs(n_pairs=10**12).select(X),
        lambda: PSDSVR().fit(many_features, np.arange(100_000)),
        lambda: RAMLSVR().fit(many_features[:5], np.arange(5.0)),
    ]
    for case in cases:
        start = time.monotonic()
        try:
            case()
        except MemoryError as error:
            _require(re.search("[GT]iB", str(error)), f"no numbers: {error}")
            _require(time.monotonic() - start < 20, "not refused at once")
        else:
            raise AssertionError("not refused")
    return len(cases)


# Workers


class Dying(MetricLearner):
    """A metric learner whose fit kills the worker that it is in, but not this process."""

    def __init__(self, parent: int = 0, relation: str = "auto", C: float = 1.0):
        self.parent = parent
        self.relation = relation
        self.C = C

    def fit(self, X, y, sample_weight=None):
        """Die in a worker."""
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        self.components_ = np.eye(X.shape[1])
        return self


def die(learner, X, y):
    """Scorer that kills its worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_workers() -> int:
    """Kill the workers of parallel searches: a clear error, soon, and the next fit works."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60], y[:60]
    dying = Dying(parent=os.getpid())
    cases = [
        (GridSearchCV(dying, {"C": [1.0, 2.0]}, cv=2, n_jobs=2), {"estimator": PSDSVR()}),
        (MetricEnsemble([PSDSVR(), dying], n_jobs=2), {"learners": [PSDSVR()]}),
        (RelationAlignmentCV(Cs=2, cv=2, n_jobs=2, scoring=die), {"scoring": None}),
    ]
    for search, repair in cases:
        try:
            search.fit(X, y)
        except Exception as error:
            _require("worker process" in str(error) and "terminated" in str(error), repr(error))
        else:
            raise AssertionError("a dead worker in silence")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.set_params(**repair).fit(X, y)
        check_is_fitted(search)
    return len(cases)


# Disks


def _table(folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a", "b", "c"])
    table["y"] = np.where(table["a"] > 0, "high", "low")
    path = Path(folder) / "table.csv"
    table.to_csv(path, index=False)
    return path


def _save(path, model, limit=None):
    """Run the command line with a model to save, in a process whose files have a limit."""

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "metricalign",
            "evaluate",
            path,
            "--target",
            "y",
            "--folds",
            "2",
            "--methods",
            "PSDSVR",
            "--save",
            model,
        ],
        capture_output=True,
        text=True,
        preexec_fn=None if limit is None else limit_files,
        check=False,
    )
    # Long lines are broken.
    result.stderr = " ".join(result.stderr.split())
    return result


def fill_disks() -> int:
    """Let the disk end while a model is saved: the old file stays whole, no other is left."""
    limits = (0, 100, 5000)
    with TemporaryDirectory() as folder:
        table = _table(folder)
        for suffix in ("joblib", "skops"):
            model = Path(folder) / f"model.{suffix}"
            _require(_save(table, model).returncode == 0, "cannot save at all")
            old = model.read_bytes()
            for limit in limits:
                result = _save(table, model, limit)
                _require(result.returncode == 2, f"status {result.returncode}")
                _require("could not be written: File too large" in result.stderr, result.stderr)
                _require("Traceback" not in result.stderr, result.stderr)
                _require(model.read_bytes() == old, "the old file is damaged")
                left = {path.name for path in Path(folder).iterdir()}
                _require(not any(name.endswith(".part") for name in left), f"left: {left}")
        device = Path(folder) / "device"
        os.mkfifo(device)
        result = _save(table, device)
        _require(result.returncode == 2 and device.is_fifo(), "a device is replaced by a file")
    return 2 * len(limits) + 1


# Damaged data sets


def damage_cache() -> int:
    """Truncate the file of a data set at many places, flip its bits: refused each time."""
    rng = np.random.default_rng(0)
    n_faults = 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.npz"
        np.savez_compressed(path, X=rng.normal(size=(20, 3)), Y=np.arange(20) % 2)
        whole = path.read_bytes()
        checksum = hashlib.sha256(whole).hexdigest()
        damaged = [whole[:size] for size in range(0, len(whole), 7)]
        for place in range(0, len(whole), 3):
            damaged.append(
                whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
            )
        for content in damaged:
            path.write_bytes(content)
            for known in (checksum, None):
                n_faults += 1
                try:
                    arrays = loading._read_npz(path, known)
                except ValueError as error:
                    _require(str(path) in str(error), str(error))
                else:
                    # Without a checksum only what zip's own notices.
                    _require(known is None, "damage in silence")
                    _require(arrays["X"].shape == (20, 3), "another shape")
        path.write_bytes(whole)
        loading._read_npz(path, checksum)
    return n_faults


# Damaged tables

BROKEN_TABLES = {
    "short row": b"a,b,y\n1,2,3\n4,5\n",
    "long row": b"a,b,y\n1,2,3\n4,5,6,7\n",
    "row of another delimiter": b"a,b,y\n1,2,3\n4;5;6\n",
    "open quote": b'a,b,y\n1,"2,3\n4,5,6\n',
    "two encodings": "a,b,y\n1,2,\u00e9\n".encode() + "4,5,\u00e9\n".encode("latin-1"),
    "half a character": "a,b,y\n1,2,\u00e9".encode()[:-1],
    "zero bytes": b"a,b,y\n1,\0,3\n",
    "zero bytes at the end": b"a,b,y\n" + 5000 * b"1,2,3\n" + b"\0" * 100,
    "UTF-16 cut off": "a,b,y\n1,2,3\n".encode("utf-16")[:-1],
    "names twice": b"a,a,y\n1,2,3\n",
    "nothing": b"",
    "white space": b" \n\t\n",
    "names only": b"a,b,y\n",
    "Parquet cut off": b"PAR1" + bytes(range(200)),
    "a compressed file": b"PK\x03\x04" + bytes(range(256)),
}


def break_tables() -> int:
    """Read broken tables: each is refused, with the file and most often the line."""
    with TemporaryDirectory() as folder:
        for name, content in BROKEN_TABLES.items():
            path = Path(folder) / "table.csv"
            path.write_bytes(content)
            try:
                table = read_table(path)
            except InputError as error:
                _require("table.csv" in str(error), f"{name}: {error}")
            else:
                raise AssertionError(f"{name} was read as {table}")
        _check_targets(folder)
    return len(BROKEN_TABLES) + 2


def _check_targets(folder):
    path = _table(folder)
    result = _save(path, Path(folder) / "model.joblib")
    _require(result.returncode == 0, result.stderr)
    lines = path.read_text().splitlines()
    without = [lines[0], *(line.rpartition(",")[0] + "," for line in lines[1:])]
    path.write_text("\n".join(without))
    result = _save(path, Path(folder) / "model.joblib")
    _require(result.returncode == 2 and "no row has a value" in result.stderr, result.stderr)
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    result = _save(path, Path(folder) / "model.joblib")
    _require(result.returncode == 2 and "no column 'y'" in result.stderr, result.stderr)


FAULTS: dict[str, Callable[[], int]] = {
    **{
        f"interrupts of {type(estimator).__name__}": lambda estimator=estimator: interrupt_fits(
            estimator
        )
        for estimator in PUBLIC
    },
    "no memory": refuse_memory,
    "dead workers": kill_workers,
    "full disks": fill_disks,
    "damaged data sets": damage_cache,
    "broken tables": break_tables,
}
