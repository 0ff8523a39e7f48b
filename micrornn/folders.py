"""Folders on this machine: where compiled kernels and tokenized texts are kept, and what ~ stands for.

expand(path)     the path with ~ and ~user replaced; ConfigError where there is no such user
cache_home()     the folder of the cache, which nobody else can write to
cache_trouble()  None, or why the folder that was chosen for the cache is not used
unusable(path)   None, or why others than this user may write to this folder, or nobody
replacing(path)  a file that takes the place of another once it is complete
hold(file)       lock an open file for this process
sweep(folder)    remove what processes that were killed left behind
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from micrornn.errors import ConfigError, quoted

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART = ".part"  # the end of the name of a file that is not complete yet
ABANDONED = 600.0  # seconds after which such a file is removed if nobody has locked it

_private: dict[str, Path] = {}  # folders for this process alone, by the folder that they lie in


def expand(path: str) -> str:
    """The path with a leading ~ or ~user replaced by that home folder.

    A name that begins with ~ and exists is taken as it is. ConfigError where there is no such user, or where this user
    has no home folder: nobody wants a folder that is named ~.
    """
    if "\0" in path:
        raise ConfigError(f"{quoted(path)}: no path has a NUL character in it")
    user = path.partition(os.sep)[0]
    if not user.startswith("~") or (user != "~" and os.path.lexists(path)):
        return path
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        why = "this user has no home folder (set HOME)" if user == "~" else f"there is no user {user[1:]!r}"
        raise ConfigError(f"{quoted(path)}: {why}; write {os.path.join('.', '~')}... for a name that begins with ~")
    return expanded


def cache_home(*below: str) -> Path:
    """Where compiled kernels and read texts are kept: $MICRORNN_CACHE, $XDG_CACHE_HOME/micrornn, ~/.cache/micrornn;
    and the folders `below` it.

    Files from the cache are executed. So the folder is used only if nobody else can have written to it; one that is
    made here can be written by this user alone. Otherwise the cache is the folder micrornn-UID among the temporary
    files, if it is this user's own, or else a new folder that is removed when the process ends. If that cannot be made
    either, the folder that is returned cannot be written.
    """
    home = folder = _cache()[0]
    for name in below:
        folder = folder / name
        if unusable(folder):
            with suppress(OSError):
                return _own(Path(tempfile.gettempdir()))
            break
    return home.joinpath(*below)


def cache_trouble() -> str | None:
    """None if the chosen folder is used, else a line that says why not, and what is used instead."""
    folder, why = _cache()
    if why is None:
        return None
    use = f"{folder} is used instead" if os.access(folder, os.W_OK) else "nothing is kept"
    return f"the cache {why}; {use}"


def _cache() -> tuple[Path, str | None]:
    chosen = None
    try:
        wanted = _chosen()
        if wanted is None:
            why: str | None = "has no place: this user has no home folder (set HOME or MICRORNN_CACHE)"
        else:
            chosen = Path(os.path.abspath(wanted))
            why = unusable(chosen)
            if why is None:
                return chosen, None
    except ConfigError as error:
        why = f"cannot be where it was wanted: {error}"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    try:
        shared = Path(tempfile.gettempdir(), f"micrornn-{user}")
        if unusable(shared, among_others=True) is None:
            return shared, why
        return _own(shared.parent), why
    except OSError:  # there is no folder for temporary files either
        return chosen or Path("micrornn-cache"), why


def _chosen() -> str | None:
    own, users = os.environ.get("MICRORNN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own or users:
        return expand(own) if own else os.path.join(expand(users or ""), "micrornn")
    home = os.path.expanduser("~")
    return None if home == "~" else os.path.join(home, ".cache", "micrornn")


def _own(parent: Path) -> Path:
    """A folder of this process, below `parent`."""
    folder = _private.get(str(parent))
    if folder is None or not folder.is_dir():
        folder = _private[str(parent)] = Path(tempfile.mkdtemp(prefix="micrornn-", dir=parent))
        atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a child that was forked
        shutil.rmtree(folder, ignore_errors=True)


def unusable(folder: Path, among_others: bool = False) -> str | None:
    """None if this user can write to the folder and nobody else can, else the reason. The folder is made if
    necessary."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        why = _untrusted(folder, among_others)
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror})"
    if why is None and not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written"
    return f"{folder} {why}" if why else None


def _untrusted(folder: Path, among_others: bool = False) -> str | None:
    """None if only this user and root can have written into the folder, else the reason why not.

    among_others    anybody may make a folder of this name where it lies. So it must belong to this user, and must not
                    be a link
    """
    if not hasattr(os, "geteuid"):  # on Windows a user's folders are the user's, and modes say nothing
        return None
    about = os.lstat(folder) if among_others else os.stat(folder)
    if stat.S_ISLNK(about.st_mode):
        return "is a link"
    if not stat.S_ISDIR(about.st_mode):
        return "is not a folder"
    if about.st_uid != os.geteuid() and (among_others or about.st_uid != 0):
        return f"belongs to another user (uid {about.st_uid})"
    if about.st_mode & 0o022:
        return f"can be written by others (mode {stat.S_IMODE(about.st_mode):o}; if you trust them, chmod go-w it)"
    for above in Path(os.path.realpath(folder)).parents:
        mode = os.stat(above).st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            return f"lies in {above}, where everybody may replace it (mode {stat.S_IMODE(mode):o})"
    return None


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when all of it is there, and otherwise vanishes. OSError as usual.

    sync    wait until it is on the disk, so that a power cut leaves no torn file
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=PART)
    try:
        with open(handle, "wb") as file:
            hold(file)  # sweep() leaves it alone for as long as this process lives
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def sweep(folder: Path) -> None:
    """Remove the parts that killed processes left in the folder: old, and held by nobody."""
    for part in folder.glob("*" + PART):
        with suppress(OSError), open(part, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > ABANDONED and hold(file):
                os.unlink(part)


def hold(file: IO[bytes]) -> bool:
    """Lock the file for this process, until it is closed; False if another one has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
