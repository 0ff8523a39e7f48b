"""One process trains in a run folder at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from pathlib import Path

from micrornn.errors import CheckpointError, named

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".training.lock"


class Lock:
    """The right to write in a run folder: a lock (flock) on a hidden file in it, which holds the process's number.

    The system gives the lock back when the process ends, however it ends: a file that a killed process left is no
    lock. Where a file system knows no flock (some NFS), where the system has none (Windows) and where nothing can be
    written to the folder, it is as if the lock were had: two processes must then not resume one run at once.
    """

    _file = _owner = -1  # also of a lock that a signal kept from being made

    def __init__(self, folder: Path) -> None:
        """Take the lock. CheckpointError with the number of the process that has it, if one has."""
        self.path = folder / NAME
        self._file, self._owner = -1, os.getpid()
        if fcntl is None:
            return
        while self._file < 0:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError:  # whoever writes there is told why that cannot be
                return
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A process that ends removes the file: what was locked may be no longer the one in the folder.
                if os.path.samestat(os.fstat(file), os.stat(self.path)):
                    self._file = file
                    os.ftruncate(file, 0)
                    os.write(file, f"{os.getpid()} {platform.node()}\n".encode())
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    told = f"{named(folder)}: this run is being trained by {_owner(file)}"
                    raise CheckpointError(f"{told}.\nWait until it ends, or stop it.") from None
                return
            finally:
                if self._file != file:
                    os.close(file)

    def release(self) -> None:
        """Give the lock back."""
        file, self._file = self._file, -1
        if file >= 0:
            if os.getpid() == self._owner:  # not in a forked child, which has a copy of all this
                with contextlib.suppress(OSError):
                    self.path.unlink()
            os.close(file)

    def __del__(self) -> None:
        self.release()


def _owner(file: int) -> str:
    """Who has the lock, as its file says: in words."""
    number, _, host = os.pread(file, 200, 0).decode(errors="replace").strip().partition(" ")
    if not number.isdigit():  # it has just been taken
        return "another process"
    return f"process {number}" + (f" on {host}" if host != platform.node() else "")
