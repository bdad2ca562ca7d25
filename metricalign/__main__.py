"""The command line: ``python -m metricalign``."""

from __future__ import annotations

import os
import sys
import textwrap
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from metricalign import __version__
from metricalign.command_line.commands import evaluate
from metricalign.command_line.methods import DEFAULT_METHODS, LEARNERS_OF_CLASSES, METHODS
from metricalign.command_line.predicting import predict
from metricalign.command_line.reading import InputError
from metricalign.command_line.targets import KINDS
from metricalign.command_line.tour import tour

__all__ = ["main"]

DESCRIPTION = """\
Learn a distance from any kind of target, and see what it is worth.

  python -m metricalign                              a tour on real data
  python -m metricalign evaluate TABLE --target ...  the same for your own table
  python -m metricalign predict MODEL TABLE          with a model that it has kept
"""

EVALUATE = """\
Cross-validate nearest neighbours on a table: under Euclid's distance of the
standardised columns, and under distances that are learned from the target.
Boosted trees are compared too. The last sentence says what to use.

The delimiter, the names, the marks of numbers, dates and the kind of the target
are found out. Columns that cannot help (constant, empty, like an identifier,
repeated) are left out. The output says how the table was read. If a number has
two readings, the program stops and asks which one you mean.
"""

EXAMPLES = """\
kinds of target, and their measures, the main one first:
  class         classes                accuracy, balanced accuracy, macro F1
  number        one number             R2, RMSE, mean absolute error
  labels        label sets: "a, b" in  average precision, ranking loss, one-error,
                a column, or columns   coverage, Hamming loss
                of 0 and 1
  distribution  columns of shares      Chebyshev, Clark, Canberra, Kullback-
                with row sums of 1     Leibler, cosine, intersection
  numbers       several numbers        mean R2, mean of RMSE / deviation

examples:
  metricalign evaluate wine.csv --target quality --kind number --report wine.html
  metricalign evaluate scenes.csv --target "label_*" --methods RAMLSVR RAMLKRR
  metricalign evaluate prices.csv --target price --drop id --save prices.joblib

what to install:
  pip install "metricalign[table]"    to read tables
  pip install "metricalign[plot]"     for --plot
  pip install "metricalign[save]"     for --save FILE.skops
"""

PREDICT = """\
Predict with a model that `evaluate --save` has written. The table needs the
columns of the training table, in any order. The output says how it differs. The
predictions are printed as CSV, or written with --out. A .joblib file can run
code when it is read, so use only your own.
"""
_NO_LIMIT = float("inf")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        Arguments. None takes those of the process.

    Returns
    -------
    status : int
        0 on success, 1 if the reader of the output has closed it, 2 if the input cannot be used or
        the output cannot be written, and 130 after an interrupt.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        # If the output is not UTF-8, the name of a column must not end the program.
        sys.stdout.reconfigure(errors="backslashreplace")
    # A stream is None if the process was started without it.
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    try:
        status = _status_of(arguments)
        for stream in streams:
            stream.flush()
    except BrokenPipeError:
        status = 1  # The reader of the output has seen enough.
    except OSError as error:
        status = 2
        with suppress(OSError):
            _complain(f"error: {error.filename or 'the output'}: {error.strerror or error}.")
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            # Python flushes at exit again, and must not fail then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def _status_of(arguments):
    try:
        options = _parse(arguments)
        options.run(options)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    except InputError as error:
        _complain(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    return 0


def _complain(text):
    lines = textwrap.fill(
        f"metricalign: {text}", 80, break_long_words=False, break_on_hyphens=False
    )
    print(lines, file=sys.stderr, flush=True)


def _parse(arguments: list[str]) -> Namespace:
    parser = _parser()
    tops = ("-h", "--help", "--version")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in tops):
        arguments = ["tour", *arguments]
    if arguments[0] not in ("tour", "evaluate", "predict") and os.path.isfile(arguments[0]):
        raise InputError(
            f"{arguments[0]!r} is not a command; did you mean: evaluate {arguments[0]} --target ..."
        )
    return parser.parse_args(arguments)


class Parser(ArgumentParser):
    """A parser that raises an error if its help or its errors cannot be written."""

    def _print_message(self, message, file=None):
        print(message, end="", file=sys.stderr if file is None else file)


def _parser() -> ArgumentParser:
    parser = Parser(
        "metricalign", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"metricalign {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_tour(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    return parser


def _add_tour(commands):
    parser = commands.add_parser("tour", help="compare distances on data of scikit-learn (default)")
    parser.set_defaults(run=tour)
    _add_plot(parser, "draw held-out rows before and after")
    _add_verbose(parser)


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        usage="metricalign evaluate TABLE --target COLUMN [COLUMN ...] [options]",
        help="compare distances on your own table",
        description=EVALUATE,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=evaluate)
    parser.add_argument("table", metavar="TABLE", help="CSV or Parquet file")
    add = parser.add_argument
    names = {"metavar": "COLUMN", "nargs": "+", "action": "extend"}
    add("--target", required=True, help='what to predict; "label_*" matches several', **names)
    add("--kind", choices=KINDS, help="kind of the target (default: found out from its values)")
    add(
        "--separator",
        type=_separator,
        metavar="TEXT",
        help="between the labels of a set (default: found out)",
    )
    add(
        "--methods",
        nargs="+",
        type=_method,
        help=f"what to compare with Euclid (default: {' '.join(DEFAULT_METHODS)}); "
        f"{' '.join(each for each in METHODS if each not in DEFAULT_METHODS)}; "
        f"{' '.join(LEARNERS_OF_CLASSES)} learn from classes only",
        metavar="NAME",
    )
    add("--fast", action="store_true", help="fewer rows, folds and methods")
    rows = "compare so many rows (default: 3000, 1000 with --fast)"
    add("--rows", type=_integer(20), metavar="N", help=rows)
    add("--folds", type=_integer(2), metavar="N", help="folds (default: 5, 3 with --fast)")
    add("--groups", metavar="COLUMN", help="keep rows with the same value in one part of a fold")
    add("--time", metavar="COLUMN", help="predict later rows from earlier ones")
    add("--seed", type=_integer(0, 2**32 - 1), default=0, metavar="N", help="seed (default: 0)")

    columns = parser.add_argument_group("features")
    add = columns.add_argument
    add("--features", default=[], help="use these columns only, whatever they look like", **names)
    add("--drop", default=[], help="leave these columns out", **names)
    _add_reading(parser)

    output = parser.add_argument_group("output")
    output.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="learn the recommended method, or the one of --methods, from all rows and keep the "
        "model, with joblib, or with skops in a .skops file",
    )
    output.add_argument(
        "--report", type=Path, metavar="FILE.html", help="write everything into one page"
    )
    _add_plot(
        output,
        "draw the recommended method, or the one of --methods, learned from half of the rows: "
        "held-out rows before and after, and what the distance is made of",
    )
    _add_verbose(output)


def _add_predict(commands):
    parser = commands.add_parser(
        "predict",
        usage="metricalign predict MODEL TABLE [options]",
        help="predict with a model that evaluate --save has written",
        description=PREDICT,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=predict)
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="file that evaluate --save has written")
    add("table", metavar="TABLE", help="CSV or Parquet file with the columns of the training table")
    add("--out", type=Path, metavar="FILE", help="write the predictions into this CSV file")
    add(
        "--neighbors",
        type=_integer(1),
        metavar="K",
        help="the K nearest training rows of each row, with their distances and targets",
    )
    add(
        "--explain",
        action="store_true",
        help="print for the first rows why their nearest rows are near, by column",
    )
    _add_reading(parser)


def _add_reading(parser):
    reading = parser.add_argument_group("reading the table")
    add = reading.add_argument
    add("--delimiter", type=_character, metavar="CHAR", help="between fields (default: found out)")
    add(
        "--header",
        action=BooleanOptionalAction,
        help="whether the first line has names (default: found out)",
    )
    for name, what in (("decimal", "decimal mark"), ("thousands", "thousands mark")):
        add(
            f"--{name}",
            nargs="+",
            action="extend",
            default=[],
            metavar="MARK",
            help=f"{what} of numbers, or COLUMN=MARK for one column (default: found out)",
        )
    add(
        "--dates",
        choices=("day-first", "month-first"),
        help="what 01/02/2024 is (default: found out)",
    )
    add("--encoding", metavar="NAME", help="such as cp1252 or latin-1 (default: utf-8)")
    add(
        "--missing",
        nargs="+",
        action="extend",
        default=[],
        metavar="TEXT",
        help="more texts for a missing value, besides empty fields, NA, NaN, null and ?",
    )


def _add_plot(parser, text):
    parser.add_argument(
        "--plot", type=Path, metavar="FOLDER", help=f"{text}, as .png files in this folder"
    )


def _add_verbose(parser):
    parser.add_argument(
        "--verbose", action="store_true", help="log each fit, where the output is no terminal too"
    )


def _integer(lowest, highest=_NO_LIMIT):
    span = f"of at least {lowest}" if highest == _NO_LIMIT else f"from {lowest} to {highest}"

    def integer(text):
        try:
            number = int(text)
        except ValueError:
            number = -1
        if not lowest <= number <= highest:
            raise ArgumentTypeError(f"{text!r}: expected an integer {span}")
        return number

    return integer


def _method(text):
    names = {name.lower(): name for name in METHODS}
    if text.lower() not in names:
        raise ArgumentTypeError(f"{text!r} is not one of {', '.join(METHODS)}")
    return names[text.lower()]


def _separator(text):
    if text == "":
        raise ArgumentTypeError("expected a text; it is empty")
    return text


def _character(text):
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1:
        raise ArgumentTypeError(f"{text!r}: expected one character, or tab")
    return character


if __name__ == "__main__":
    sys.exit(main())
