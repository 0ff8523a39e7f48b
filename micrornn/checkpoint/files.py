"""Whole files: read if they are files and not too large, written all or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from micrornn.errors import CheckpointError, counted, named

StrPath = str | os.PathLike[str]

_ADVICE = {
    errno.ENOSPC: "Free some space on that disk",
    errno.EFBIG: "Raise the limit on file size (ulimit -f)",
    errno.EROFS: "Choose a folder that can be written to",
    errno.EACCES: "Choose a folder that you may write to",
    errno.ENOENT: "Make the folder first",
}


def read_file(path: StrPath, most: int | None = None) -> bytes:
    """The bytes of a regular file. CheckpointError where there is none, where it cannot be read, and where it has more
    than `most` bytes. What has no end (/dev/zero) or may never begin (a FIFO) is not opened."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            what = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
            raise CheckpointError(f"{named(path)}: could not be read: it is {what}. Check the path.")
        if most is not None and about.st_size > most:
            size = f"{counted(about.st_size, 'byte')}, and at most {most:,} are expected"
            raise CheckpointError(f"{named(path)}: could not be read: it has {size}. Check the path.")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CheckpointError(
            f"{named(path)}: could not be read: {reason(error)}. Check the path and its permissions."
        ) from error


def reason(error: OSError | ValueError) -> str:
    """What went wrong with a file, in the system's words."""
    return getattr(error, "strerror", None) or str(error)


def write_atomically(path: StrPath, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, one after the other, as the file `path`: a reader sees the old file or the new, whole.

    The temporary file is `.NAME.tmp` beside it, always the same name: what a killed process left is removed
    by the next save, with no guess at whose it was or how old. The price is one writer per path at a time.
    Raises CheckpointError with the reason; the temporary file is then gone and the old file whole.
    """
    target = Path(os.path.realpath(path))  # a link stays a link, as with a plain write
    temporary = target.parent / f".{target.name}.tmp"
    try:
        if target.exists() and not target.is_file():  # os.replace would put a file in the place of /dev/null
            raise CheckpointError(f"{named(path)}: not a regular file. Choose another name.")
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:  # the mode of any new file, which mkstemp does not give
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:  # Ctrl-C too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise not_written(path, error) from error
        raise
    # The new name is on disk only when the folder is. Some systems cannot; then the name follows later.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def require_writable(path: StrPath) -> None:
    """CheckpointError now where `write_atomically` would fail later: before work that takes its time."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise CheckpointError(f"{named(path)}: not a regular file. Choose another name.")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: StrPath, error: OSError | ValueError) -> CheckpointError:
    """The CheckpointError for a file that could not be written: why, and what to do about it."""
    advice = _ADVICE.get(getattr(error, "errno", None) or 0, "Check the disk, or choose another path")
    old = "What was there before is untouched. " if os.path.isfile(path) else ""
    return CheckpointError(f"{named(path)}: could not be written: {reason(error)}.\n{old}{advice}.")
