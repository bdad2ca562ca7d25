"""Reading and writing files, so that nothing is lost and nothing hangs."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["check_destination", "is_same_file", "read_regular", "write_whole"]


_DEVICE = "this is a device or a pipe; expected a file"


def is_same_file(path: str | Path, other: str | Path) -> bool:
    """Whether two paths name the same file, by links or spellings too; it need not exist."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _refusal(number, reason, path) -> OSError:
    """An error as those of the system are: of the class that its number stands for."""
    return OSError(number, reason, str(path))


def read_regular(path: Path) -> bytes:
    """Read a file, but no pipe or device, which could keep us waiting for ever.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : bytes
        All of it.

    Raises
    ------
    OSError
        If it is no regular file, or cannot be read.
    """
    if path.is_dir():
        raise _refusal(errno.EISDIR, "this is a folder; expected a file", path)
    if path.exists() and not path.is_file():
        raise _refusal(errno.EINVAL, _DEVICE, path)
    return path.read_bytes()


def check_destination(path: Path) -> Path:
    """Check, before the work, that a file can be written.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    path : Path
        The file that is replaced or made: at the end of a link, what it leads to.

    Raises
    ------
    OSError
        If a folder, a device, a pipe or a file without permission to write is in the place, or
        its folder does not exist or cannot be written to.
    """
    # Asked of the path as given: that of a pipe, such as /dev/stdout, cannot be resolved.
    if path.is_dir():
        raise _refusal(errno.EISDIR, "this is a folder; expected the name of a file", path)
    if path.exists() and not path.is_file():
        # A file that is moved there would take the place of the device.
        raise _refusal(errno.EINVAL, _DEVICE, path)
    if path.exists() and not os.access(path, os.W_OK):
        raise _refusal(errno.EACCES, "no permission to write this file", path)
    folder = path.parent
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        raise _refusal(errno.ELOOP, "this is a link that leads to itself", path)
    if not path.parent.is_dir():
        missing = path.parent if folder.is_dir() else folder
        raise _refusal(errno.ENOENT, f"there is no folder {missing}; make it first", path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refusal(errno.EACCES, f"no permission to write in the folder {folder}", path)
    return path


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file so that at any moment the old or the new one is there, never a part.

    It is written beside its place, under a name that nobody can guess, and renamed when it is
    whole and on the disk. It has the mode of the file that it replaces.

    Parameters
    ----------
    path : Path
        The file. Where it is a link, what the link leads to is replaced.
    write : callable
        Called with a binary file to write to.

    Raises
    ------
    OSError
        If it cannot be written. Nothing is left behind then, nor after an interrupt; an old file
        is as it was.
    """
    path = check_destination(path)
    temporary = path.with_name(f".{secrets.token_hex(16)}.part")
    try:
        # "x" makes the file, and never opens a file or follows a link that is there already.
        with open(temporary, "xb") as file:
            if path.exists():
                shutil.copymode(path, temporary)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except FileExistsError:
        raise  # What is there is not ours.
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
