"""The texts of the command line: results, verdict, notes and progress, in 80 columns."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from metricalign.command_line.evaluation import Note, Result
from metricalign.command_line.methods import TREES
from metricalign.command_line.reading import shorten
from metricalign.command_line.tasks import Measure, Task, largest_share

__all__ = [
    "LEGEND",
    "WIDTH",
    "Progress",
    "columns_of",
    "duration",
    "measures_of",
    "notes_of",
    "quoted",
    "verdict",
    "wrap",
]

# Columns of a terminal.
WIDTH = 80
# It stands for a blank at which no line is broken, and occurs in no text.
UNBROKEN = "\x1f"
LEGEND = (
    "gain: how much better than Euclid on the same folds; above 0 is better, for losses too. "
    "better in: the folds in which it is. fit: mean time to learn from a fold, its choices of "
    "neighbours included. *: what --save keeps and --report shows."
)
# With so many folds or more, a clear gain may be missing in one fold. With fewer, in none.
MANY_FOLDS = 5


def wrap(text: str, indent: str = "", first: str | None = None) -> str:
    """Break a text into lines that fit, but not inside quotes, which people copy."""
    copied = r"""\"[^"\n]*\"|\('[^'\n]*'\)"""
    return textwrap.fill(
        re.sub(copied, lambda match: match[0].replace(" ", UNBROKEN), text),
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(UNBROKEN, " ")


def quoted(text: str) -> str:
    """A text as one word of a command line of any system, in double quotes if necessary."""
    return text if re.fullmatch(r"[\w.:/\\+-]+", text) else f'"{text}"'


def duration(seconds: float) -> str:
    """A duration in words, rounded."""
    if seconds < 1.5:
        return "a second"
    if seconds < 90:
        step = 1 if seconds < 10 else 5
        return f"{step * round(seconds / step)} seconds"
    return f"{round(seconds / 60)} minutes"


# Results


def measures_of(task: Task, results: list[Result], chosen: str) -> str:
    """Lay out all measures of a task, with a row for each method, in as few blocks as fit."""
    names, *columns = columns_of(task, results, chosen)
    blocks = []
    while columns:
        block = [names]
        while columns and (len(block) == 1 or sum(map(_width, [*block, columns[0]])) - 2 <= WIDTH):
            block.append(columns.pop(0))
        blocks.append(layout(list(zip(*block, strict=True)), n_headings=2))
    return "\n\n".join(blocks)


def columns_of(task: Task, results: list[Result], chosen: str) -> list[list[str]]:
    """Columns of the results, each with two headings. The chosen method has an asterisk."""
    main, *others = task.measures
    return [
        ["method", "", *(each.label + "*" * (each.label == chosen) for each in results)],
        _headed(main, means(main, results)),
        ["gain on Euclid", "above 0: better", *_gains(main, results)],
        ["better in", "folds", *_wins(main, results)],
        ["fit", "", *(f"{result.seconds.mean():.2f} s" for result in results)],
        *(_headed(measure, means(measure, results)) for measure in others),
    ]


def _headed(measure, cells):
    return [measure.name, "lower is better" if measure.is_loss else "higher is better", *cells]


def means(measure: Measure, results: list[Result]) -> list[str]:
    """Mean and deviation of a measure for each method, with the same number of decimals."""
    values = [result.values[measure.name] for result in results]
    return [_mean_and_deviation(each, decimals_of(values)) for each in values]


def gains_of(measure: Measure, results: list[Result], result: Result) -> NDArray:
    """Gain over the first result in each fold. It is positive if the result is better."""
    return measure.sign * (result.values[measure.name] - results[0].values[measure.name])


def _gains(measure, results):
    decimals = decimals_of([result.values[measure.name] for result in results])
    return [
        "",
        *(
            _mean_and_deviation(gains_of(measure, results, each), decimals, "+")
            for each in results[1:]
        ),
    ]


def _wins(measure, results):
    gains = [gains_of(measure, results, each) for each in results[1:]]
    return ["", *(f"{(each > 0).sum()} of {len(each)}" for each in gains)]


def decimals_of(values: Sequence[NDArray]) -> int:
    """Number of decimals that show three or four digits of the largest mean."""
    largest = max((abs(_mean(each)) for each in values if not np.isnan(each).all()), default=0)
    exponent = math.floor(math.log10(largest)) if largest else 0
    return 2 - exponent if exponent < 0 else max(0, 3 - exponent)


def _mean(values):
    """Mean over the folds that have a value."""
    present = values[~np.isnan(values)]
    return present.mean() if len(present) else np.nan


def _mean_and_deviation(values, decimals, sign=""):
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return "failed"
    deviation = present.std(ddof=1) if len(present) > 1 else 0.0
    return f"{present.mean():{sign}.{decimals}f} +- {deviation:.{decimals}f}"


def _width(column):
    return max(map(len, column)) + 2


def layout(rows: list[tuple[str, ...]], n_headings: int = 1) -> str:
    """Lay out rows of texts in columns, with a line below the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(n_headings, "-" * max(map(len, lines)))
    return "\n".join(lines)


# The verdict


def best_of(task: Task, results: list[Result]) -> Result:
    """The best learned distance. Euclid's result if no learned distance was tried."""
    measure = task.measures[0]
    candidates = [result for result in results[1:] if result.label != TREES] or results[:1]
    scores = [measure.sign * _mean(each.values[measure.name]) for each in candidates]
    return candidates[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))]


def recommended(task: Task, results: list[Result]) -> Result:
    """The best learned distance if its gain is clear. Euclid's distance otherwise."""
    best = best_of(task, results)
    return best if is_clear(gains_of(task.measures[0], results, best)) else results[0]


def is_clear(gains: NDArray) -> bool:
    """Whether a gain is in nearly every fold, and above twice its standard error."""
    gains = gains[~np.isnan(gains)]
    if len(gains) < 2 or gains.mean() <= 0:
        return False
    n_wins = (gains > 0).sum()
    needed = len(gains) - (len(gains) >= MANY_FOLDS)
    return bool(n_wins >= needed and gains.mean() > 2 * gains.std(ddof=1) / math.sqrt(len(gains)))


def verdict(task: Task, results: list[Result]) -> str:
    """One or two plain sentences that say what to use."""
    measure = task.measures[0]
    if len(results) == 1:
        return "Only Euclid's distance was tried; --methods names others."
    best = best_of(task, results)
    euclid, gains = results[0].values[measure.name], gains_of(measure, results, best)
    decimals = decimals_of([result.values[measure.name] for result in results])
    wins = f"better in {(gains > 0).sum()} of {len(gains)} folds"
    trees = next((result for result in results if result.label == TREES), None)
    score = f"{measure.name} {_mean(best.values[measure.name]):.{decimals}f}"
    was = f"Euclid {_mean(euclid):.{decimals}f}"
    if best is results[0]:
        return _beside_trees(measure, best, trees, decimals) or f"Euclid: {score}."
    if is_clear(gains):
        change = "less" if measure.is_loss else "more"
        text = (
            f"Use {best.label}: {score} where {was}, {abs(_mean(gains)):.{decimals}f} {change}, "
            f"{wins}."
        )
        return f"{text} {_beside_trees(measure, best, trees, decimals)}".rstrip()
    if _mean(gains) > 0:
        text = (
            f"No learned distance is clearly better than Euclid here: {best.label} gains "
            f"{_mean(gains):.{decimals}f} ({wins}), which may be chance. Euclid is simpler."
        )
    else:
        text = (
            f"No learned distance is better than Euclid here: {was}, the next best is "
            f"{best.label}, {score}."
        )
    why = "More rows would tell." if _mean(gains) > 0 else _why(task, measure, results, trees)
    return f"{text} {why} {_beside_trees(measure, results[0], trees, decimals)}".rstrip()


def _beside_trees(measure, best, trees, decimals):
    """A sentence that compares the best distance with boosted trees."""
    if trees is None or np.isnan(trees.values[measure.name]).all():
        return ""
    gains = measure.sign * (best.values[measure.name] - trees.values[measure.name])
    score = f"{_mean(trees.values[measure.name]):.{decimals}f}"
    n_better = f"{(gains > 0).sum()} of {len(gains)} folds"
    if is_clear(gains):
        return f"Boosted trees have {score}, worse in {n_better}."
    if is_clear(-gains):
        return f"Boosted trees predict better, {score}, but have no distance and no neighbours."
    return f"Boosted trees have {score}, about the same."


def _why(task, measure, results, trees):
    """A sentence that says why no distance may be better than Euclid's."""
    euclid = _mean(results[0].values[measure.name])
    if measure.name in ("accuracy", "balanced accuracy", "R2", "mean R2") and euclid > 0.98:
        return "Euclid leaves little to gain."
    said_nothing = (
        "The columns that are used say little about the target, so no distance can say much."
    )
    if measure.name in ("R2", "mean R2") and euclid < 0.05:
        return said_nothing
    if measure.name == "accuracy" and euclid <= largest_share(task.y) + 0.01:
        return said_nothing
    if len(task.y) < 200:
        return f"With {len(task.y)} rows, folds differ more than methods do."
    if trees is not None and not is_clear(gains_of(measure, results, trees)):
        return "The columns may not hold more."
    return "The columns may all matter alike, near by as well as far away."


# Notes

# Plain words for the warnings of the library. None for those that are told elsewhere.
MEANINGS = (
    (r"The least populated class|y_pred contains classes not in y_true", None),
    (r"Number of classes in training fold|Only one class is present", None),
    (r"learned the zero metric|cannot tell the learned metric|learned only |"
     r"keeps Euclid's distance", "nothing was learned"),
    (r"relative duality gap|stopped after \d+ iterations", "it was stopped before it was finished"),
    (r"is left out:", "a part of it could not be learned and was left out"),
    (r"but only .* for .* samples", "classes have fewer rows than pairs were asked for"),
    (r"^error: .*one class only", "the rows to learn from had one class only"),
    (r"^error: (.*?)\.?$", r"it failed (\1)"),
    (r"found unknown categories|^Column .* of X is |^Most numbers of column ", None),
    (r"^The rows of y are nonnegative and sum to", None),
)  # fmt: skip


def notes_of(notes: list[Note]) -> list[str]:
    """Say each kind of note once for each method, with the number of its fits."""
    found: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        meaning = _meaning(note.text)
        if meaning is not None:
            found.setdefault((note.method, meaning), []).append(note)
    # Two warnings of one fit may have the same meaning.
    return [
        f"{method}: {meaning} in {min(len(alike), alike[0].n_fits)} of {alike[0].n_fits} fits"
        for (method, meaning), alike in found.items()
    ]


def _meaning(text):
    for pattern, meaning in MEANINGS:
        match = re.search(pattern, text)
        if match is not None:
            return None if meaning is None else match.expand(meaning)
    return re.sub(r"\d+\.\d+", "#", text)


def never_predicted(task: Task, result: Result) -> str | None:
    """A sentence that names the classes that a method never predicted. None if there are none."""
    if task.kind != "class":
        return None
    left = [str(label) for label in np.unique(task.y).tolist() if label not in result.predicted]
    return f"{result.label} never predicts {shorten(left, 5)}" if left else None


# Progress


class Progress:
    """A line on the terminal that is overwritten, or lines of a log if `verbose`."""

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
        """Show a line of text."""
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
