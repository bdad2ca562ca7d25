"""What the command line does: the tour, and the evaluation of a person's own table."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.preprocessing import StandardScaler

from metricalign._files import check_destination, is_same_file, write_whole
from metricalign.command_line.evaluation import (
    METHODS,
    Result,
    Task,
    check_folds,
    check_kind,
    check_methods,
    check_rows,
    compare,
    kind_of,
    one_thread_if_small,
    refit,
)
from metricalign.command_line.figures import NEEDS, PICTURES, draw, draw_embeddings
from metricalign.command_line.tables import (
    Features,
    InputError,
    check_decimal,
    counted,
    match_columns,
    preparation_of,
    read_table,
    shorten,
    sort_features,
    target_values,
)
from metricalign.plotting.drawing import check_matplotlib

__all__ = ["evaluate", "tour"]

TOUR_PICTURE = "metricalign-tour"
TOUR_METHODS = ("RAMLSVR", "PSDSVR")
WIDTH = 90
TOUR = """\
Nearest neighbours under Euclid's distance of the standardised features, and under distances
that are learned from the target:

  wine         13 measures of a wine; the target is a class: which of three growers made it
  diabetes     10 measures of a patient; the target is a number: the disease a year later
  cell nuclei  20 measures of an image; the targets are 10 numbers: the worst of its nuclei

Mean +- standard deviation over 5 folds. All is learned from the training rows of a fold, the
number of neighbours k too; fit is the time to learn the distance.
"""
GAIN = """\
gain: how much better than Euclid on the same folds; above 0 is better, for losses too. A gain
within its +- may be chance; below 0 Euclid is the better choice.\
"""
OTHER_METHODS = "Others: --method NAME ...; MetricEnsemble often has better neighbours."
# Files, where the output of the program is redirected to them.
STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))
READ_TABLE = "from metricalign.command_line.tables import read_table"


# The tour


def tour(options: Namespace) -> None:
    """Compare Euclid with learned distances on data that scikit-learn brings along.

    Parameters
    ----------
    options : Namespace
        `plot` and `verbose`.
    """
    if options.plot:
        _check_plot(options.plot, [TOUR_PICTURE])
    print(TOUR)
    tasks = _tour_tasks()
    with _notes(), Progress(options.verbose) as progress, one_thread_if_small(tasks[0]):
        results = [compare(task, TOUR_METHODS, progress=progress) for task in tasks]
        progress.clear()
        print(_table_of(tasks, results))
        print(f"\n{GAIN}\n\nThe same for a table of your own, and a picture of the tour:\n")
        print("    python -m metricalign evaluate TABLE.csv --target COLUMN")
        print("    python -m metricalign --plot FOLDER\n")
        if options.plot:
            progress("drawing")
            figure = draw_embeddings(tasks, TOUR_METHODS[0])
            _write_pictures(options.plot, TOUR_METHODS[0], [(TOUR_PICTURE, figure)], progress)


def _tour_tasks():
    wine, diabetes, nuclei = load_wine(), load_diabetes(), load_breast_cancer()
    # Ten measures of cell nuclei, of each the mean, its standard error and the worst.
    mean_and_error, worst = nuclei.data[:, :20], nuclei.data[:, 20:]
    return [
        Task("wine", wine.data, wine.target, "class", StandardScaler()),
        Task("diabetes", diabetes.data, diabetes.target, "number", StandardScaler()),
        Task("cell nuclei", mean_and_error, worst, "numbers", StandardScaler()),
    ]


# A person's own table


def evaluate(options: Namespace) -> None:
    """Compare Euclid with learned distances on a table, and keep a model if asked to.

    Parameters
    ----------
    options : Namespace
        The options of ``python -m metricalign evaluate``.

    Raises
    ------
    InputError
        If the table or an option cannot be used.
    """
    _check_outputs(options)
    method = options.method[0]
    with _notes(), Progress(options.verbose) as progress:
        task = _read_task(options)
        check_methods(task, options.method)
        check_folds(task, options.folds)
        with _errors_of_the_library(), one_thread_if_small(task):
            results = compare(task, options.method, options.folds, options.seed, progress)
            progress.clear()
            print(
                f"\nNearest neighbours: mean +- standard deviation over {options.folds} folds. All "
                "is learned from\nthe training rows of a fold, the number of neighbours k too.\n"
            )
            print(_measures_of(task, results))
            print(f"\n{GAIN}")
            if "MetricEnsemble" not in options.method:
                print(OTHER_METHODS)
            if options.save:
                progress(f"learning {method} from all rows")
                model, _ = refit(task, METHODS[method], options.seed)
                progress.clear()
                _save(options, model)
            if options.plot:
                print()
                progress(f"drawing {method}")
                pictures = draw(task, method, options.seed)
                names = _write_pictures(options.plot, method, pictures, progress)
                for name, need in NEEDS.items():
                    if name not in names:
                        print(f"  no {name}.png: {method} has no {need}")


def _check_outputs(options):
    """Fail before the work and not after it."""
    if options.plot:
        _check_plot(options.plot, PICTURES, [Path(options.table), options.save])
    if options.save:
        _check_output(options.save, f"--save {options.save}", [Path(options.table)])
        if len(options.method) > 1:
            raise InputError("--save keeps one model; give one --method.")
        if options.save.suffix == ".skops" and importlib.util.find_spec("skops") is None:
            raise InputError(
                '--save FILE.skops needs skops: pip install "metricalign[save]"; .joblib does not.'
            )


def _read_task(options) -> Task:
    """Read the table, and say what is made of it."""
    table = read_table(
        options.table, options.delimiter, options.encoding, options.decimal, options.missing
    )
    columns = list(table.columns)
    targets = match_columns(options.target, columns, "--target")
    dropped = match_columns(options.drop, columns, "--drop")
    asked = match_columns(options.features, columns, "--features")
    names = [name for name in asked or columns if name not in {*targets, *dropped}]
    check_decimal(table[[*targets, *names]], options.decimal)
    has_target = table[targets].notna().all(axis=1)
    if not has_target.any():
        raise InputError(
            f"no row has a value in all columns of --target ({shorten(targets)}); choose others."
        )
    check_rows(int(has_target.sum()), options.folds)
    features = sort_features(table[names], bool(asked), options.decimal)
    table = table[has_target]
    y = target_values(table, targets)
    kind = options.kind or kind_of(y)
    y = check_kind(kind, y, targets)
    task = Task(Path(options.table).stem, table[features.names], y, kind, preparation_of(features))
    for line in _report(options, features, int((~has_target).sum()), task, targets):
        print(line)
    return task


def _report(options, features: Features, n_dropped, task: Task, targets) -> Iterator[str]:
    types = [
        f"{len(names)} of {what}"
        for what, names in [
            ("numbers", features.numbers),
            ("categories", features.categories),
            ("true or false", features.flags),
        ]
        if names
    ]
    n_features = counted(len(features.names), "feature")
    yield f"{options.table}: {len(task.y)} rows, {n_features}: {', '.join(types)}"
    for reason, names in features.left_out.items():
        yield f"  left out: {shorten(names)} ({reason})"
    if features.left_out:
        yield "            --features COLUMN ... chooses the features yourself"
    if n_dropped:
        yield f"  dropped: {counted(n_dropped, 'row')} without a target"
    if features.n_missing:
        yield (
            f"  imputed: {counted(features.n_missing, 'missing value')}, with the median or the "
            "most frequent category of the training rows"
        )
    yield f"Target: {shorten(targets)}, {_describe_target(task)}"
    if not options.kind:
        yield f"  found out from the values: the same as --kind {task.kind}{_other_kind(task)}"


def _describe_target(task):
    if task.kind != "class":
        return _short_target(task)
    counts = np.unique(task.y, return_counts=True)[1]
    smallest = f", the smallest has {counted(counts.min(), 'row')}" if counts.min() < 10 else ""
    return f"{len(counts)} classes, the largest has {counts.max() / len(task.y):.0%}{smallest}"


def _other_kind(task):
    if task.kind == "class" and task.y.dtype.kind in "iu":
        return "; for a number give --kind number"
    if task.kind == "number" and len(np.unique(task.y)) <= len(task.y) / 2:
        return "; for classes give --kind class"
    if task.kind in ("labels", "distribution"):
        return "; for plain numbers give --kind numbers"
    return ""


# Output


def _short_target(task: Task) -> str:
    if task.kind == "number":
        return "a number"
    if task.kind == "class":
        return f"{len(np.unique(task.y))} classes"
    noun = {"labels": "labels", "distribution": "shares", "numbers": "numbers"}[task.kind]
    return f"{task.y.shape[1]} {noun}"


def _table_of(tasks: list[Task], results: list[list[Result]]) -> str:
    """Lay out the main measure of several tasks."""
    rows: list[tuple[str, ...]] = [
        ("data", "target", "distance", "measure", "gain on Euclid", "k", "fit")
    ]
    for task, of_task in zip(tasks, results, strict=True):
        head = (task.name, f"{_short_target(task)}: {task.rules.measures[0].name}")
        for row in zip(*_main_columns(task, of_task), strict=True):
            rows.append((*head, *row))
            head = ("", "")
    return _layout(rows)


def _measures_of(task: Task, results: list[Result]) -> str:
    """Lay out all measures of a task, a row for each distance, side by side as far as they fit."""
    main, *others = task.rules.measures
    names, means, gains, neighbors, seconds = _main_columns(task, results)
    columns = [
        _headed(main, means),
        ["gain on Euclid", "above 0 is better", *gains],
        ["k", "", *neighbors],
        ["fit", "", *seconds],
        *(_headed(measure, _means(measure, results)) for measure in others),
    ]
    blocks = []
    names = ["distance", "", *names]
    while columns:
        block = [names]
        while columns and (len(block) == 1 or sum(map(_width, [*block, columns[0]])) - 2 <= WIDTH):
            block.append(columns.pop(0))
        blocks.append(_layout(list(zip(*block, strict=True)), n_headings=2))
    return "\n\n".join(blocks)


def _headed(measure, cells):
    return [measure.name, "lower is better" if measure.is_loss else "higher is better", *cells]


def _main_columns(task, results):
    """Names of the distances, the main measure, its gain on Euclid, neighbours and seconds."""
    measure, *_ = task.rules.measures
    values = [result.values[measure.name] for result in results]
    decimals = _decimals(values)
    gains = [measure.sign * (each - values[0]) for each in values[1:]]
    return (
        [result.label for result in results],
        _means(measure, results),
        ["", *(_mean_and_deviation(gain, decimals, "+") for gain in gains)],
        [_span(result.n_neighbors) for result in results],
        [f"{result.seconds.mean():.2f} s" for result in results],
    )


def _means(measure, results):
    values = [result.values[measure.name] for result in results]
    return [_mean_and_deviation(each, _decimals(values)) for each in values]


def _decimals(values: list[NDArray]) -> int:
    """Decimals that show three or four digits of the largest mean."""
    largest = max(abs(each.mean()) for each in values)
    exponent = math.floor(math.log10(largest)) if largest else 0
    return 2 - exponent if exponent < 0 else max(0, 3 - exponent)


def _mean_and_deviation(values: NDArray, decimals: int, sign: str = "") -> str:
    return f"{values.mean():{sign}.{decimals}f} +- {values.std(ddof=1):.{decimals}f}"


def _width(column):
    return max(map(len, column)) + 2


def _layout(rows: list[tuple[str, ...]], n_headings: int = 1) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(n_headings, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _span(numbers):
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)}-{max(numbers)}"


class Progress:
    """A line on a terminal that is overwritten, or lines of a log if they are asked for."""

    def __init__(self, verbose: bool = False):
        self._stream = sys.stderr
        self._overwrites = self._stream.isatty() and not verbose
        self._logs = verbose
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def __call__(self, text: str) -> None:
        """Say what is going on."""
        if self._logs:
            print(text, file=self._stream, flush=True)
        elif self._overwrites:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + text.ljust(self._length))
            self._stream.flush()
            self._length = len(text)

    def clear(self) -> None:
        """Empty the line, before anything else is printed."""
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()
            self._length = 0


@contextmanager
def _notes():
    """Show each warning once, in one line, at the end."""
    notes: dict[str, list[str]] = {}

    def collect(message, *args, **kwargs):
        text = " ".join(str(message).split())
        # The same warning of another fold differs in its numbers only.
        notes.setdefault(re.sub(r"[\d.]+", "#", text), []).append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # Said already, by the size of the smallest class.
        warnings.filterwarnings("ignore", message="The least populated class")
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.showwarning = collect
        try:
            yield
        finally:
            for texts in notes.values():
                times = f" ({len(texts)} times)" if len(texts) > 1 else ""
                print(f"note: {texts[0]}{times}", file=sys.stderr)


@contextmanager
def _errors_of_the_library():
    """What the library cannot learn from is a matter of the input, not a bug."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, MemoryError) as error:
        raise InputError(f"no metric can be learned from this table: {error}") from error


# Files


def _write(path, write):
    """Write a file as a whole."""
    try:
        write_whole(path, write)
    except OSError as error:
        old = " The old file is as it was." if path.exists() else ""
        raise InputError(f"{path} could not be written: {error.strerror or error}.{old}") from error


def _check_output(path, option, others=()):
    """Check that a file can be written, and would not take the place of others."""
    for other in (*others, *STREAMS):
        if other is not None and is_same_file(path, other):
            raise InputError(f"{option}: this would replace {other}; choose another name.")
    try:
        check_destination(path)
    except OSError as error:
        raise InputError(f"{option}: {error.strerror}.") from error


def _check_plot(folder, pictures, others=()):
    option = f"--plot {folder}"
    if folder.is_dir():
        if not os.access(folder, os.W_OK):
            raise InputError(f"{option}: no permission to write in this folder.")
        for name in pictures:
            path = folder / f"{name}.png"
            _check_output(path, f"--plot {path}", others)
    elif folder.exists():
        raise InputError(f"{option}: this is a file; expected a folder.")
    else:
        _check_output(folder, option, others)
    try:
        check_matplotlib("--plot")
    except ImportError as error:
        raise InputError(f"{error}.") from error


def _write_pictures(folder, method, pictures, progress):
    """Write pictures of a method into a folder, made if there is none, and return their names."""
    names = []
    for name, figure in pictures:
        progress(f"writing {name}.png")
        names.append(name)
        try:
            # Of a link that leads nowhere, what it leads to.
            Path(os.path.realpath(folder)).mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"--plot {folder}: {error.strerror}.") from error
        _write(folder / f"{name}.png", partial(figure.savefig, dpi=120))
    progress.clear()
    print(f"Pictures of {method} in {folder}:\n  {'  '.join(f'{name}.png' for name in names)}")
    return names


def _save(options, model):
    path = options.save
    if path.suffix == ".skops":
        import skops.io

        _write(path, lambda file: skops.io.dump(model, file))
        lines = [
            "import skops.io",
            READ_TABLE,
            "",
            f"types = skops.io.get_untrusted_types(file={str(path)!r})",
            'known = ("metricalign.", "sklearn.", "scipy.sparse.", "numpy.dtype")',
            "assert all(name.startswith(known) for name in types), types",
            f"model = skops.io.load({str(path)!r}, trusted=types)",
        ]
    else:
        _write(path, lambda file: joblib.dump(model, file))
        lines = ["import joblib", READ_TABLE, "", f"model = joblib.load({str(path)!r})"]
    lines.append(f"model.predict(read_table({_reading_arguments(options)}))")
    print(f"\nModel, learned from all rows: {path}\n")
    print("\n".join(f"    {line}".rstrip() for line in lines))


def _reading_arguments(options):
    """Write down how the table was read, so that others can be read alike."""
    given = {name: getattr(options, name) for name in ("delimiter", "encoding", "missing")}
    given["decimal"] = options.decimal if options.decimal != "." else None
    keywords = [f"{name}={value!r}" for name, value in given.items() if value]
    return ", ".join([repr(str(options.table)), *keywords])
