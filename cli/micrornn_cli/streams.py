"""stdin, stdout and stderr, in whatever state the command finds them.

open_closed()      give a stream that was closed before the start a place: nowhere
unread(error)      whether an error of a write says that nobody reads any more
silence_unread()   let what nobody reads any more go nowhere, so that writing there is no error
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys

NAMES = ("stdin", "stdout", "stderr")


def open_closed() -> None:
    """A daemon, or `>&-`, starts a command without some of them: Python has None there, and the next file that is
    opened would be taken for it."""
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
    """Point stdout and stderr nowhere if their reader is gone, and drop what waits to be written there."""
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
