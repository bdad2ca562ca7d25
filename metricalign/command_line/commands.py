"""The command evaluate: methods compared on a table of the user."""

from __future__ import annotations

import warnings
from argparse import Namespace
from contextlib import contextmanager
from functools import partial

from metricalign.command_line.doubts import warnings_of
from metricalign.command_line.evaluation import (
    Note,
    compare,
    expected_duration,
    one_thread_if_small,
)
from metricalign.command_line.figures import NEEDS, draw
from metricalign.command_line.messages import (
    LEGEND,
    Progress,
    best_of,
    duration,
    measures_of,
    notes_of,
    quoted,
    recommended,
    verdict,
    wrap,
)
from metricalign.command_line.methods import DEFAULT_METHODS, LEARNERS, TREES, check_methods
from metricalign.command_line.models import TableModel, learn, save_model
from metricalign.command_line.outputs import check_outputs, write_file, write_pictures
from metricalign.command_line.reading import InputError
from metricalign.command_line.report import Report, write_report
from metricalign.command_line.task_reading import read_task
from metricalign.command_line.tasks import check_folds, sample

__all__ = ["evaluate"]

# Number of rows that are compared by default. On two cores 30 columns then take under a minute.
MOST_ROWS, MOST_ROWS_FAST = 3000, 1000
FAST_METHODS = ("MetricNeighbors-no-trees", "DiscriminantAlignment", "PSDSVR", TREES)
FOLDS, FOLDS_FAST = 5, 3
# A comparison of more seconds is announced.
WORTH_SAYING = 2.0


def evaluate(options: Namespace) -> None:
    """Compare Euclid's and learned distances on a table, and save what the options ask for."""
    check_outputs(options)
    methods = options.methods or (FAST_METHODS if options.fast else DEFAULT_METHODS)
    n_folds = options.folds or (FOLDS_FAST if options.fast else FOLDS)
    with Progress(options.verbose) as progress:
        everything, made = read_task(options, n_folds)
        print(*made, sep="\n")
        check_methods(everything, methods)
        task = _sampled(options, everything, n_folds)
        seconds = expected_duration(task, ["Euclid", *methods], n_folds)
        if seconds > WORTH_SAYING:
            advice = "" if options.fast else "; --fast is shorter"
            _say(f"about {duration(seconds)}{advice}", "Time: ")
        with _errors_of_the_library(), one_thread_if_small(task):
            results, notes = compare(task, methods, n_folds, options.seed, progress)
            progress.clear()
            method = _recommended(options, task, results)
            warned = [f"Warning: {line}." for line in warnings_of(everything, task, results)]
            warned += [f"Note: {line}" for line in notes_of(notes)]
            _say_results(task, results, method, n_folds, warned)
            if options.save or options.report:
                learned = everything if options.save else task
                progress(f"learning {method}")
                with _noted(method):
                    model = learn(learned, method, options.seed)
                progress.clear()
                if options.save:
                    _save(options.save, model)
                if options.report:
                    page = Report(
                        task=task,
                        targets=list(everything.columns.targets) if everything.columns else [],
                        results=results,
                        chosen=method,
                        model=model if model.has_neighbors else None,
                        learned=learned,
                        made=made,
                        warnings=warned,
                        seed=options.seed,
                    )
                    progress(f"explaining {method}")
                    write_file(options.report, partial(write_report, page))
                    progress.clear()
                    print(f"\nReport: {options.report}")
            if options.plot:
                _draw(options, task, results, method, progress)
            if not options.save:
                print(wrap(f"--save model.joblib keeps {method} for metricalign predict."))


def _sampled(options, everything, n_folds):
    """The rows that are compared. There must be enough for all folds."""
    check_folds(everything, n_folds)
    n_rows = options.rows or (MOST_ROWS_FAST if options.fast else MOST_ROWS)
    task = sample(everything, n_rows, options.seed)
    if len(task.y) < len(everything.y):
        _say(
            f"{len(task.y):,} of the {len(everything.y):,} rows are compared, drawn at random "
            "(--rows N for more)",
            "Sample: ",
        )
        check_folds(task, n_folds)
    return task


def _say_results(task, results, method, n_folds, warned):
    print(f"\n{wrap(_how(task, n_folds))}\n\n{measures_of(task, results, method)}\n")
    print(wrap(LEGEND))
    if TREES in (result.label for result in results):
        print(wrap("BoostedTrees: scikit-learn's HistGradientBoosting."))
    print()
    for line in warned:
        _say(line)
    print(wrap(verdict(task, results)))


def _how(task, n_folds):
    how = f"Mean +- standard deviation over {n_folds} folds"
    if task.time is not None:
        how += ", each predicted from rows of earlier times"
    if task.groups is not None:
        how += "; no group is in both parts of a fold"
    if task.is_imbalanced:
        how += ". Nearly all rows are of one class, so balanced accuracy comes first"
    return f"{how}. All is learned from the training rows of a fold."


def _say(text, first=""):
    print(wrap(text, "  ", first))


def _recommended(options, task, results):
    """The only method that was asked for, or the one that the verdict recommends."""
    (only,) = options.methods if options.methods and len(options.methods) == 1 else (None,)
    return only or recommended(task, results).label


def _draw(options, task, results, method, progress):
    if method in ("Euclid", TREES):
        # These learn no distance, so the best method that does is drawn.
        best = best_of(task, results).label
        method = "MetricNeighbors-no-trees" if best == "Euclid" else best
    print()
    progress(f"drawing {method}")
    try:
        with _noted(method):
            pictures = draw(task, method, options.seed)
            names = write_pictures(options.plot, method, pictures, progress)
    except InputError:
        raise
    except ValueError as error:
        # Half of the rows may be too few to learn from.
        progress.clear()
        print(wrap(f"No pictures: {method} cannot be learned from half of the rows: {error}"))
        return
    for name, need in NEEDS.items():
        if name not in names and method in LEARNERS:
            print(f"  no {name}.png: {method} has no {need}")


@contextmanager
def _noted(method):
    """Print the warnings of a fit to all rows after the fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = {str(each.message) for each in caught if issubclass(each.category, UserWarning)}
    for line in notes_of([Note(method, text, 1) for text in sorted(texts)]):
        print(wrap(f"Note: {line.removesuffix(' in 1 of 1 fits')}", "  ", ""))


@contextmanager
def _errors_of_the_library():
    """Turn errors of the library into an `InputError`: it cannot learn from this table."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, MemoryError) as error:
        raise InputError(f"no metric can be learned from this table: {error}") from error


def _save(path, model: TableModel):
    is_skops = path.suffix == ".skops"
    write_file(path, lambda file: save_model(model, file, is_skops))
    print(f"\n{model.method}, learned from all {len(model.y):,} rows: {path}\n")
    why = " --neighbors 3 --explain" if model.has_neighbors else ""
    print(f"    metricalign predict {quoted(str(path))} TABLE.csv{why}\n")
    print("or, for a DataFrame of pandas or polars:\n")
    print("    from metricalign.command_line.models import load_model\n")
    print(f"    load_model({str(path)!r}).predict(table)")
