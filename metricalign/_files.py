"""Reading and writing files: no file is lost or written in part, and no pipe is waited for."""

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
    """Whether two paths lead to the same file, which need not exist."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)


def _refusal(number, reason, path) -> OSError:
    """An error like those of the system. Its number decides its class."""
    return OSError(number, reason, str(path))


def read_regular(path: Path) -> bytes:
    """Read a file. Pipes and devices are refused, as reading them may never end.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    content : bytes
        The whole file.

    Raises
    ------
    OSError
        If it is not a regular file, or cannot be read.
    """
    if path.is_dir():
        raise _refusal(errno.EISDIR, "this is a folder; expected a file", path)
    if path.exists() and not path.is_file():
        raise _refusal(errno.EINVAL, _DEVICE, path)
    return path.read_bytes()


def check_destination(path: Path) -> Path:
    """Check that a file can be written, before the work starts.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    path : Path
        The file that will be replaced or made. If the path is a link, the target of the link.

    Raises
    ------
    OSError
        If the path is a folder, a device, a pipe or a file without permission to write, or if its
        folder does not exist or cannot be written to.
    """
    # These ask for the path as it was given. The path of a pipe, such as /dev/stdout, has no
    # target.
    if path.is_dir():
        raise _refusal(errno.EISDIR, "this is a folder; expected the name of a file", path)
    if path.exists() and not path.is_file():
        # A file that is renamed to this path would replace the device.
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
    """Write a file so that, at any moment, either the old or the whole new file is there.

    The new file is written in the same folder under a random name. It is renamed when it is
    complete and on the disk. It gets the mode of the file that it replaces.

    Parameters
    ----------
    path : Path
        The file. If it is a link, the target of the link is replaced.
    write : callable
        Called with a binary file to write to.

    Raises
    ------
    OSError
        If it cannot be written. Then, and after an interrupt, the old file is as it was, and no
        other file is left.
    """
    path = check_destination(path)
    temporary = path.with_name(f".{secrets.token_hex(16)}.part")
    try:
        # The mode "x" only makes a new file. It opens no existing file and follows no link.
        with open(temporary, "xb") as file:
            if path.exists():
                shutil.copymode(path, temporary)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except FileExistsError:
        raise  # The file belongs to someone else, so it stays.
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
