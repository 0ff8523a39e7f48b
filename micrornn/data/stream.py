"""Text from standard input or another stream, copied to a file: a text is read twice, and again when a run goes on.

is_stream(name)    whether a name that was typed means a stream: "-", /dev/stdin, what <(...) becomes
copied(name)       a file with all that the stream has, which is removed when the process ends
is_copy(path)      whether a file is one of those
kept(path, where)  move it where it stays
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from micrornn.errors import DataError
from micrornn.folders import PART, cache_home, hold, sweep

_STREAM = re.compile(r"-|/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")


def is_stream(name: str) -> bool:
    """Whether it can be read but once, or not under this name by another process. A file named - is ./-"""
    return _STREAM.fullmatch(name) is not None


def copied(name: str) -> Path:
    """The file that holds what the stream had. DataError where there is none, it is a terminal, or no room for it."""
    shown = "standard input" if name in ("-", "/dev/stdin") else name
    try:
        with _opened(name) as stream:
            if stat.S_ISDIR(os.fstat(stream.fileno()).st_mode):
                raise DataError(f"{shown} is a folder; name it, or give a text")
            if stream.isatty():
                raise DataError(f"{shown} is a terminal; give a text, as in: cat book.txt | micrornn train -")
            folder = cache_home("streams")
            sweep(folder)
            handle, path = tempfile.mkstemp(dir=folder, prefix=shown.strip("/").translate(_NAME) + "-", suffix=PART)
            atexit.register(_remove, path, os.getpid())
            copy = open(handle, "wb")  # noqa: SIM115
            hold(copy)  # for as long as it is open: until it is moved, or the process ends
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.flush()
            _open[path] = copy
    except OSError as error:
        raise DataError(f"{shown} cannot be copied to a file: {error.strerror or error}") from None
    return Path(path)


_NAME = str.maketrans({" ": "-", "/": "-"})
_open: dict[str, BinaryIO] = {}  # the copies of this process


def _opened(name: str) -> BinaryIO:
    if name not in ("-", "/dev/stdin"):
        return open(name, "rb")
    if sys.stdin is None or sys.stdin.closed:
        raise DataError("standard input is closed; give a text, as in: cat book.txt | micrornn train -")
    return open(os.dup(sys.stdin.fileno()), "rb")


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:
        with suppress(OSError):
            os.unlink(path)


def is_copy(path: str) -> bool:
    """Whether this file is the copy of a stream."""
    return path in _open


def kept(path: str, where: Path) -> Path:
    """Move the copy of a stream to `where`, to stay."""
    shutil.move(path, where)
    _open.pop(path).close()
    return where.absolute()
