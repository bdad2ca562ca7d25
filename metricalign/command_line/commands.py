"""What the command line does: the tour, the evaluation of a person's own table, predictions."""

from __future__ import annotations

import importlib.util
import os
import warnings
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np

from metricalign._files import check_destination, is_same_file, write_whole
from metricalign.command_line.columns import TableColumns
from metricalign.command_line.evaluation import (
    Note,
    Result,
    compare,
    estimated_seconds,
    one_thread_if_small,
)
from metricalign.command_line.figures import NEEDS, PICTURES, draw
from metricalign.command_line.formats import Column, Reading
from metricalign.command_line.messages import (
    GAIN,
    TREES,
    Progress,
    best_of,
    duration,
    measures_of,
    never_predicted,
    notes_of,
    recommended,
    verdict,
    wrap,
)
from metricalign.command_line.methods import DEFAULT_METHODS, LEARNERS, check_methods
from metricalign.command_line.models import TableModel, learn, save_model
from metricalign.command_line.reading import (
    Contents,
    InputError,
    Layout,
    counted,
    read_contents,
    shorten,
)
from metricalign.command_line.report import Report, write_report
from metricalign.command_line.tables import (
    Features,
    match_columns,
    sort_features,
    typed,
)
from metricalign.command_line.targets import Target, read_target
from metricalign.command_line.tasks import Task, check_folds, check_rows, sample
from metricalign.features.identifiers import GROUPS, identifier_of
from metricalign.plotting.drawing import check_matplotlib

__all__ = ["evaluate"]

# Files, where the output of the program is redirected to them.
STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))
# Rows that are compared by default: on two cores 30 columns then take under a minute.
MOST_ROWS, MOST_ROWS_FAST = 3000, 1000
FAST_METHODS = ("MetricNeighbors-no-trees", "DiscriminantAlignment", "PSDSVR", "BoostedTrees")
FOLDS, FOLDS_FAST = 5, 3
# A comparison that takes longer is announced.
WORTH_SAYING = 2.0


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
    methods = options.methods or (FAST_METHODS if options.fast else DEFAULT_METHODS)
    n_folds = options.folds or (FOLDS_FAST if options.fast else FOLDS)
    with Progress(options.verbose) as progress:
        read = _read_task(options, n_folds)
        task = read.task
        check_methods(task, methods)
        check_folds(task, n_folds)
        everything = task
        n_rows = options.rows or (MOST_ROWS_FAST if options.fast else MOST_ROWS)
        task = sample(task, n_rows, options.seed)
        if len(task.y) < len(everything.y):
            _say(
                f"{len(task.y):,} of the {len(everything.y):,} rows are compared, drawn at random "
                "(--rows N for more)",
                "Sample: ",
            )
        check_folds(task, n_folds)
        seconds = estimated_seconds(task, ["Euclid", *methods], n_folds)
        if seconds > WORTH_SAYING:
            n_cores = min(joblib.cpu_count(), n_folds)
            advice = "" if options.fast else "; --fast is shorter"
            _say(f"about {duration(seconds / n_cores)}{advice}", "Time: ")
        with _errors_of_the_library(), one_thread_if_small(task):
            results, notes = compare(task, methods, n_folds, options.seed, progress)
            progress.clear()
            print(f"\n{wrap(_how(task, n_folds))}\n\n{measures_of(task, results)}\n\n{wrap(GAIN)}")
            if TREES in methods:
                print(wrap("BoostedTrees: scikit-learn's HistGradientBoosting."))
            print()
            warned = [f"Warning: {line}." for line in _warnings_of(everything, task, results)]
            warned += [f"Note: {line}" for line in notes_of(notes)]
            for line in warned:
                print(wrap(line, "  ", ""))
            print(wrap(verdict(task, results)))
            method = _recommended(options, task, results)
            if options.save or options.report:
                learned = everything if options.save else task
                progress(f"learning {method}")
                with _noted(method):
                    model = learn(learned, method, options.seed, read.contents, read.target.columns)
                progress.clear()
                if options.save:
                    _save(options, model)
                if options.report:
                    made = list(_report(options, read))
                    shown = model if model.has_neighbors else None
                    report = Report(task, results, shown, learned, made, warned)
                    write_file(options.report, partial(write_report, report))
                    print(f"\nReport: {options.report}")
            if options.plot:
                _draw(options, task, results, method, progress)
            if not options.save:
                print(wrap(f"--save model.joblib keeps {method} for metricalign predict."))


def _how(task, n_folds):
    how = f"Mean +- standard deviation over {n_folds} folds"
    if task.time is not None:
        how += ", each predicted from the rows before it"
    if task.groups is not None:
        how += "; no group is in both parts of a fold"
    if task.is_imbalanced:
        how += ". Nearly all rows are of one class, so balanced accuracy comes first"
    return f"{how}. All is learned from the training rows of a fold."


def _say(text, first=""):
    print(wrap(text, "  ", first))


def _check_outputs(options):
    """Fail before the work and not after it."""
    if options.plot:
        check_plot(options.plot, PICTURES, [Path(options.table), options.save])
    if options.report:
        check_output(
            options.report, f"--report {options.report}", [Path(options.table), options.save]
        )
    if options.save:
        check_output(options.save, f"--save {options.save}", [Path(options.table)])
        if options.methods and len(options.methods) > 1:
            raise InputError("--save keeps one model; give one of --methods, or none.")
        if options.save.suffix == ".skops" and importlib.util.find_spec("skops") is None:
            raise InputError(
                '--save FILE.skops needs skops: pip install "metricalign[save]"; .joblib does not.'
            )


# The table


def layout_of(options: Namespace) -> Layout:
    """What was said of how a table is written."""
    return Layout(options.delimiter, options.encoding, options.header)


def reading_of(options: Namespace) -> Reading:
    """What was said of the values of a table."""
    return Reading(
        _marks(options.decimal, "--decimal"),
        _marks(options.thousands, "--thousands"),
        options.dates,
        frozenset(options.missing),
    )


def _marks(given, option):
    """Marks by column, of "" for all others."""
    marks = {}
    for text in given:
        name, equals, mark = text.rpartition("=")
        mark = {"space": " ", "none": ""}.get(mark, mark)
        if len(mark) > 1 or (mark and mark not in ".,' "):
            raise InputError(f"{option} {text}: expected one of . , ' space or COLUMN=MARK.")
        marks[name if equals else ""] = mark
    return marks


class ReadTask(NamedTuple):
    """A table that was read, its features and target, and the task that they make."""

    contents: Contents
    features: Features
    target: Target
    task: Task


def _read_task(options, n_folds) -> ReadTask:
    """Read the table, and say what is made of it."""
    contents = read_contents(options.table, layout_of(options), options.target)
    table, reading = contents.table, reading_of(options)
    columns = list(table.columns)
    targets = _match_targets(options, contents)
    dropped = match_columns(options.drop, columns, "--drop")
    asked = match_columns(options.features, columns, "--features")
    roles = {}
    for option in ("groups", "time"):
        name = getattr(options, option)
        if name is not None:
            (roles[option],) = match_columns([name], columns, f"--{option}")
    if len(roles) == 2:
        raise InputError("--groups and --time cannot be had together; choose one.")
    unused = {*targets, *dropped, *roles.values()}
    names = [name for name in asked or columns if name not in unused]
    target = read_target(table, targets, options.kind, options.separator, reading)
    check_rows(len(target.y), n_folds)
    # An identifier is told by all rows.
    features = sort_features(typed(table, names, reading), bool(asked))
    for column in features.columns.values():
        column.values = column.values[target.is_present]
    table = table[target.is_present]
    transformer = TableColumns(features.formats, sorted(reading.missing))
    frame = _frame(features)
    X = transformer.fit(frame).transform(frame)
    of_role = {option: _role(table, name, option, reading) for option, name in roles.items()}
    candidates = {} if roles or asked else _candidates(table, features, target, reading)
    task = Task(
        Path(options.table).stem,
        X,
        target.y,
        target.kind,
        target.names,
        rows=np.flatnonzero(target.is_present) + 1,
        columns=transformer,
        candidates=candidates,
        **of_role,
    )
    read = ReadTask(contents, features, target, task)
    for line in _report(options, read):
        print(line)
    return read


def _match_targets(options, contents):
    columns = list(contents.table.columns)
    try:
        return match_columns(options.target, columns, "--target")
    except InputError as error:
        if contents.layout.has_names:
            raise
        first = [str(value) for value in contents.table.iloc[0]]
        raise InputError(
            f"{options.table} has no line of names (it starts with {', '.join(first[:4])}, ...); "
            f"its columns are called 1 to {len(columns)}. The last one is --target {columns[-1]} "
            f"(it starts with {first[-1]!r}). {error}"
        ) from None


def _frame(features: Features) -> Any:
    import pandas as pd

    return pd.DataFrame({name: column.values for name, column in features.columns.items()})


def _role(table, name, option, reading):
    """Values of a column by which folds are made."""
    column = typed(table, [name], reading)[name]
    values = column.values
    if option == "groups":
        return np.array([str(value) for value in values])
    if column.format.kind not in ("number", "date"):
        raise InputError(
            f"--time {name}: expected numbers or dates in order of time; it has {column.example!r}."
        )
    missing = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values)
    if missing.any():
        raise InputError(f"--time {name}: {counted(int(missing.sum()), 'row')} have no time.")
    return values.astype(np.float64) if values.dtype.kind == "f" else values.astype(np.int64)


KIND_NAMES = {
    "number": "of numbers",
    "text": "of categories",
    "date": "of dates",
    "time": "of times",
}


def _report(options, read: ReadTask) -> Iterator[str]:
    """Lines that say how the table was understood."""
    contents, features, target, task = read
    kinds = [form.kind for form in features.formats.values()]
    types = [f"{kinds.count(kind)} {name}" for kind, name in KIND_NAMES.items() if kind in kinds]
    n_features = counted(len(kinds), "feature")
    name = Path(options.table).name
    yield wrap(f"{name}: {counted(len(task.y), 'row')}, {n_features}: {', '.join(types)}", "  ", "")
    for note in contents.notes:
        yield wrap(note, "    ", "  read: ")
    for text, names in read_as(features.columns).items():
        yield wrap(f"{shorten(names)} {text}", "    ", "  read: ")
    for reason, names in features.left_out.items():
        yield wrap(f"{shorten(names)} ({reason})", "    ", "  left out: ")
    if features.left_out:
        yield "    --features COLUMN ... chooses the features yourself"
    n_dropped = len(target.is_present) - len(task.y)
    if n_dropped:
        yield f"  dropped: {counted(n_dropped, 'row')} without a target"
    if features.n_missing:
        yield f"  missing: {counted(features.n_missing, 'value')}, a kind of value of their own"
    yield wrap(f"Target: {shorten(target.columns)}, {describe_target(task)}", "  ", "")
    if reason := _identifies(target):
        yield wrap(f"is it what you mean? It looks {reason}", "    ", "  ")
    if not options.kind:
        doubt = f"; {target.doubt}" if target.doubt else ""
        yield wrap(f"found out: the same as --kind {task.kind}{doubt}", "    ", "  ")


def _identifies(target: Target) -> str | None:
    """Why a target seems to name rows, if it does."""
    if target.y.ndim > 1:
        return None
    values = target.y if target.y.dtype.kind in "iuf" else target.y.astype(object)
    return identifier_of(values, target.names[0])


def read_as(columns: dict[str, Column]) -> dict[str, list[str]]:
    """Names of columns by what is unusual about how they were read."""
    found: dict[str, list[str]] = {}
    for name, column in columns.items():
        text = column.format.describe()
        if text:
            found.setdefault(f"as {text}, such as {column.example!r}", []).append(name)
    return found


def describe_target(task: Task) -> str:
    """The target in a few words."""
    if task.kind == "number":
        return "a number"
    if task.kind == "class":
        counts = np.unique(task.y, return_counts=True)[1]
        smallest = f", the smallest has {counted(counts.min(), 'row')}" if counts.min() < 10 else ""
        return f"{len(counts)} classes, the largest has {counts.max() / len(task.y):.0%}{smallest}"
    noun = {"labels": "labels", "distribution": "shares", "numbers": "numbers"}[task.kind]
    text = f"{task.y.shape[1]} {noun}"
    if task.kind == "labels":
        n_empty = int((task.y.sum(axis=1) == 0).sum())
        text += f", {task.y.sum(axis=1).mean():.1f} in a row"
        text += f", none in {counted(n_empty, 'row')}" if n_empty else ""
    return text


# Warnings

# Scores that are too good to be true.
PERFECT = 0.9995
# Words of a measure whose largest value is 1.
BOUNDED = ("accuracy", "balanced accuracy", "R2", "mean R2", "average precision")


def _warnings_of(everything: Task, task: Task, results: list[Result]) -> Iterator[str]:
    measure, *_ = task.measures
    best = best_of(task, results)
    value = np.nanmean(best.values[measure.name])
    if measure.name in BOUNDED and value > PERFECT:
        telling = _telling_columns(task)
        yield (
            f"a {measure.name} of {value:.3f} is too good to be true. Does a column tell the "
            "target? "
            + (f"{shorten(telling)} does alone; try --drop" if telling else "See what was used")
        )
    if task.groups is None and task.time is None:
        yield from _groups_of(everything)
    if never := never_predicted(task, best):
        yield never


def _telling_columns(task):
    """Columns of which each value goes with one target."""
    y = task.y
    if y.ndim == 2:
        # In a column of its own in NumPy 2.0.
        y = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
    telling = []
    for name in task.X.columns:
        values = task.X[name].astype(object).where(task.X[name].notna(), None)
        pairs = set(zip(values.tolist(), y.tolist(), strict=True))
        n_values = len({value for value, _ in pairs})
        if len(pairs) == n_values < len(y) / 2:
            telling.append(name)
    return telling


# Groups are many, of about the same size, and of a like target.
FEWEST_GROUPS, MOST_UNEQUAL, MOST_UNLIKE = 10, 0.5, 0.3


def _candidates(table, features: Features, target: Target, reading) -> dict[str, Any]:
    """Columns that may identify groups of rows, by their name or by their values."""
    named = [name for name in features.left_out.get(GROUPS, []) if name in table.columns]
    found = {name: column.values for name, column in typed(table, named, reading).items()}
    for name, column in features.columns.items():
        if column.format.kind in ("text", "number") and _are_groups(column.values, target):
            found[name] = column.values
    return {name: np.array([str(value) for value in values]) for name, values in found.items()}


def _are_groups(values, target):
    import pandas as pd

    codes, unique = pd.factorize(values)
    counts = np.bincount(codes[codes >= 0])
    n_rows = len(codes)
    if not FEWEST_GROUPS <= len(unique) <= n_rows / 3 or (codes < 0).any():
        return False
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return False
    if counts.std() > MOST_UNEQUAL * counts.mean():
        return False
    y = target.y if target.kind != "class" else np.unique(target.y, return_inverse=True)[1]
    y = y.reshape(n_rows, -1).astype(np.float64)
    if target.kind == "class":
        y = np.eye(int(y.max()) + 1)[y[:, 0].astype(int)]
    means = np.array([np.bincount(codes, column) for column in y.T]).T / counts[:, None]
    # Of groups of unrelated targets, a share of one over their size of the variance is between.
    within = ((y - means[codes]) ** 2).sum() / (1 - len(unique) / n_rows)
    return within < MOST_UNLIKE * ((y - y.mean(axis=0)) ** 2).sum()


def _groups_of(task: Task) -> Iterator[str]:
    """Say which columns seem to identify groups, whose rows should be kept together."""
    for name, values in task.candidates.items():
        n_groups = len(np.unique(values))
        if n_groups <= len(values) / 2:
            yield (
                f"{name!r} looks like the identifier of groups of about "
                f"{len(values) / n_groups:.0f} rows. Rows of one group are in both parts of a "
                f"fold, so the scores may be too good: --groups {name} keeps them together"
            )


# Output


def _recommended(options, task, results):
    """The only method that was asked for, or what the verdict says."""
    (only,) = options.methods if options.methods and len(options.methods) == 1 else (None,)
    return only or recommended(task, results).label


def _draw(options, task, results, method, progress):
    if method in ("Euclid", TREES):
        # These learn no distance that could be drawn: the next best, if any was tried.
        best = best_of(task, results).label
        method = "MetricNeighbors-no-trees" if best == "Euclid" else best
    print()
    progress(f"drawing {method}")
    with _noted(method):
        pictures = draw(task, method, options.seed)
        names = write_pictures(options.plot, method, pictures, progress)
    for name, need in NEEDS.items():
        if name not in names and method in LEARNERS:
            print(f"  no {name}.png: {method} has no {need}")


@contextmanager
def _noted(method):
    """Say at the end what a fit to all rows has warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = {str(each.message) for each in caught if issubclass(each.category, UserWarning)}
    for line in notes_of([Note(method, text, 1) for text in sorted(texts)]):
        print(wrap(f"Note: {line.removesuffix(' in 1 of 1 fits')}", "  ", ""))


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


def write_file(path: Path, write: Any) -> None:
    """Write a file as a whole."""
    try:
        write_whole(path, write)
    except OSError as error:
        old = " The old file is as it was." if path.exists() else ""
        raise InputError(f"{path} could not be written: {error.strerror or error}.{old}") from error


def check_output(path: Path, option: str, others: Sequence[Any] = ()) -> None:
    """Check that a file can be written, and would not take the place of others."""
    for other in (*others, *STREAMS):
        if other is not None and is_same_file(path, other):
            raise InputError(f"{option}: this would replace {other}; choose another name.")
    try:
        check_destination(path)
    except OSError as error:
        raise InputError(f"{option}: {error.strerror}.") from error


def check_plot(folder: Path, pictures: Sequence[str], others: Sequence[Any] = ()) -> None:
    """Check that pictures can be drawn, and written into a folder."""
    option = f"--plot {folder}"
    if folder.is_dir():
        if not os.access(folder, os.W_OK):
            raise InputError(f"{option}: no permission to write in this folder.")
        for name in pictures:
            path = folder / f"{name}.png"
            check_output(path, f"--plot {path}", others)
    elif folder.exists():
        raise InputError(f"{option}: this is a file; expected a folder.")
    else:
        check_output(folder, option, others)
    try:
        check_matplotlib("--plot")
    except ImportError as error:
        raise InputError(f"{error}.") from error


def write_pictures(
    folder: Path, method: str, pictures: Iterable[tuple[str, Any]], progress: Progress
) -> list[str]:
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
        write_file(folder / f"{name}.png", partial(figure.savefig, dpi=120))
    progress.clear()
    print(f"Pictures of {method} in {folder}:")
    print(wrap("  ".join(f"{name}.png" for name in names), "  "))
    return names


def _save(options, model: TableModel):
    path = options.save
    is_skops = path.suffix == ".skops"
    write_file(path, lambda file: save_model(model, file, is_skops))
    text = str(path)
    quoted = f'"{text}"' if " " in text else text
    print(f"\n{model.method}, learned from all {len(model.y):,} rows: {path}\n")
    print(f"    metricalign predict {quoted} TABLE.csv --neighbors 3\n")
    print("or, for a DataFrame of pandas or polars:\n")
    print("    from metricalign.command_line.models import load_model\n")
    print(f"    load_model({text!r}).predict(table)")
