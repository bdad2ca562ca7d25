"""Files that the command line writes. They are checked before the work, and written as a whole."""

from __future__ import annotations

import importlib.util
import os
from argparse import Namespace
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metricalign._files import check_destination, is_same_file, write_whole
from metricalign.command_line.figures import PICTURES
from metricalign.command_line.messages import Progress, wrap
from metricalign.command_line.reading import InputError
from metricalign.plotting.drawing import check_matplotlib

__all__ = ["check_output", "check_outputs", "check_plot", "write_file", "write_pictures"]

# These lead to files if the output of the program is redirected.
STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))


def check_outputs(options: Namespace) -> None:
    """Check all outputs before the work, so that the program does not fail after it."""
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


def check_output(path: Path, option: str, others: Sequence[Any] = ()) -> None:
    """Check that a file can be written, and that it replaces none of the others."""
    for other in (*others, *STREAMS):
        if other is not None and is_same_file(path, other):
            raise InputError(f"{option}: this would replace {other}; choose another name.")
    try:
        check_destination(path)
    except OSError as error:
        raise InputError(f"{option}: {error.strerror}.") from error


def check_plot(folder: Path, pictures: Sequence[str], others: Sequence[Any] = ()) -> None:
    """Check that pictures can be drawn and written into a folder."""
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


def write_file(path: Path, write: Any) -> None:
    """Write a file as a whole."""
    try:
        write_whole(path, write)
    except OSError as error:
        old = " The old file is as it was." if path.exists() else ""
        raise InputError(f"{path} could not be written: {error.strerror or error}.{old}") from error


def write_pictures(
    folder: Path, method: str, pictures: Iterable[tuple[str, Any]], progress: Progress
) -> list[str]:
    """Write pictures of a method into a folder, which is made if needed. Return their names."""
    names = []
    for name, figure in pictures:
        progress(f"writing {name}.png")
        names.append(name)
        try:
            # If the folder is a link to nothing, its target is made.
            Path(os.path.realpath(folder)).mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"--plot {folder}: {error.strerror}.") from error
        write_file(folder / f"{name}.png", partial(figure.savefig, dpi=120))
    progress.clear()
    print(f"Pictures of {method} in {folder}:")
    print(wrap("  ".join(f"{name}.png" for name in names), "  "))
    return names
