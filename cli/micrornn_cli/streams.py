"""stdin, stdout and stderr, which may be closed, or lose their reader.

open_closed()      connects streams that were closed before the start to /dev/null
unread(error)      whether an error of a write means that nobody reads any more
silence_unread()   connects streams that nobody reads any more to /dev/null, so that writing is no error
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys

NAMES = ("stdin", "stdout", "stderr")


def open_closed() -> None:
    """A daemon, or `>&-`, starts a command without some of the streams. Python sets them to None, and the next file
    that is opened would get the number of the stream."""
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def unread(error: BaseException) -> bool:
    """Whether the reader of a pipe is gone, or the terminal."""
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO, errno.ESHUTDOWN)


def silence_unread() -> None:
    """Connect stdout and stderr to /dev/null if their reader is gone; what waits to be written is dropped."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = stream.fileno()
            if _is_unread(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


def _is_unread(number: int) -> bool:
    if not hasattr(select, "poll"):
        return False
    watch = select.poll()
    watch.register(number, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in watch.poll(0))
