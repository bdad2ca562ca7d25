"""The tour: learned distances on data sets of scikit-learn."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from metricalign.command_line.evaluation import Result, compare_tasks
from metricalign.command_line.figures import draw_embeddings
from metricalign.command_line.messages import (
    Progress,
    gains_of,
    is_clear,
    layout,
    means,
    notes_of,
    wrap,
)
from metricalign.command_line.methods import TREES
from metricalign.command_line.outputs import check_plot, write_pictures
from metricalign.command_line.tasks import Task, sample

__all__ = ["tour"]

METHOD = "MetricNeighbors"
# Few enough that the tour takes seconds.
N_FOLDS, N_ROWS = 3, 200
PICTURE, DRAWN = "metricalign-tour", "DiscriminantAlignment"
# The seven bars of a clock's display, 1 if lit, for the digits from 0 to 9.
SEGMENTS = (
    *("1110111", "0010010", "1011101", "1011011", "0111010"),
    *("1101011", "1101111", "1010010", "1111111", "1111011"),
)
INTRODUCTION = """\
What a distance that is learned from the target is worth, for four kinds of it:

  digits    the 64 points of a picture; the target is a class: which digit
  diabetes  10 measures of a patient; a number: the disease a year later
  clock     the upper half of such a picture; a label set: which bars of a
            clock's display the digit lights
  nuclei    20 measures of cells; three numbers: the largest of the cells

Compared are Euclid's neighbours of the standardised columns, scikit-learn's
boosted trees, and the neighbours of this library, on the same folds: 200 rows,
all learned from two thirds and measured on the other third, three times.
"""
NEXT = """\
Next, the same for a table of your own, a CSV or Parquet file:

    python -m metricalign evaluate TABLE.csv --target COLUMN
"""


def tour(options: Namespace) -> None:
    """Compare Euclid, boosted trees and learned distances on four kinds of target."""
    if options.plot:
        check_plot(options.plot, [PICTURE])
    print(INTRODUCTION)
    tasks = tour_tasks()
    with Progress(options.verbose) as progress:
        outcomes = compare_tasks(tasks, [TREES, METHOD], N_FOLDS, progress=progress)
        progress.clear()
        results = [result for result, _ in outcomes]
        print(_table_of(tasks, results))
        print()
        for task, (_, notes) in zip(tasks, outcomes, strict=True):
            for line in notes_of(notes):
                print(wrap(f"Note: {task.name}, {line}", "  ", ""))
        print(wrap(_sentence(tasks, results)))
        print()
        print(NEXT)
        if options.plot:
            progress("drawing")
            figure = draw_embeddings(tasks, DRAWN)
            write_pictures(options.plot, DRAWN, [(PICTURE, figure)], progress)
        else:
            print("    python -m metricalign --plot FOLDER      a picture of this tour")


def tour_tasks() -> list[Task]:
    """Four tasks, one for each kind of target in scikit-learn's data sets."""
    digits, nuclei, diabetes = load_digits(), load_breast_cancer(), load_diabetes()
    segments = np.array([[int(lit) for lit in text] for text in SEGMENTS])
    # Each of ten measures of cell nuclei has its mean, its standard error and its worst value.
    radius, concavity, points = 20, 26, 27
    tasks = [
        Task("digits", _varying(digits.data), digits.target, "class"),
        Task("diabetes", diabetes.data, diabetes.target, "number"),
        Task("clock", _varying(digits.data[:, :32]), segments[digits.target], "labels"),
        Task("nuclei", nuclei.data[:, :20], nuclei.data[:, [radius, concavity, points]], "numbers"),
    ]
    return [sample(task, N_ROWS, 0) for task in tasks]


def _varying(X):
    return X[:, np.ptp(X, axis=0) > 0]


def _table_of(tasks: list[Task], results: list[list[Result]]) -> str:
    rows: list[tuple[str, ...]] = [("data", "measure", "Euclid", "trees", METHOD, "gain", "folds")]
    for task, of_task in zip(tasks, results, strict=True):
        measure, *_ = task.measures
        scores = [text.split(" +-")[0] for text in means(measure, of_task)]
        gains = gains_of(measure, of_task, of_task[-1])
        wins = f"{(gains > 0).sum()} of {len(gains)}"
        rows.append((task.name, measure.name, *scores, f"{gains.mean():+.3f}", wins))
    return layout(rows)


def _sentence(tasks, results):
    """A sentence that says where the neighbours gain, and where they do not."""
    measures = [task.measures[0] for task in tasks]
    clear = [
        task.name
        for task, measure, of_task in zip(tasks, measures, results, strict=True)
        if is_clear(gains_of(measure, of_task, of_task[-1]))
    ]
    beside = sum(
        of_task[-1].values[measure.name].mean() >= of_task[1].values[measure.name].mean()
        for measure, of_task in zip(measures, results, strict=True)
    )
    trees = f"They are at least as good as boosted trees on {beside} of {len(tasks)}"
    if not clear:
        return f"Learned distances gain nothing that is clear here. {trees}."
    where = "all four" if len(clear) == len(tasks) else ", ".join(clear)
    return (
        f"The neighbours of {METHOD} predict better than Euclid's on {where}, in every fold. "
        f"{trees}, and each prediction can be shown as the rows that it comes from."
    )
