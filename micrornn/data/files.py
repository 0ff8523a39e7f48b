"""Finds text files.

located          the same pattern, for any working folder
find             files, folders and globs, as a user types them, to a list of files
find_validation  those of the setting of this name
stdlib_sources   Python's own source code: a text that every machine already has
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import sysconfig
from collections.abc import Collection, Sequence
from pathlib import Path

from micrornn.config import Config
from micrornn.errors import ConfigError, DataError
from micrornn.folders import expand
from micrornn.printable import shell_word

# What lies in the standard library's folder and is no typical code: tests, manual pages, tables of code points,
# names and build settings, what was installed beside it; and packages that many systems leave out, so that the
# text is much the same on every machine.
_LEFT_OUT = {"test", "tests", "idle_test", "pydoc_data", "encodings", "site-packages", "dist-packages", "__pycache__"}
_LEFT_OUT |= {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo"}
_TABLES = ("_sysconfigdata", "locale.py", "entities.py", "cp65001.py", "turtle.py")


def find(patterns: Sequence[str | Path]) -> list[Path]:
    """Return the files that `patterns` name, in the order given, each file once.

    A pattern is a file, a folder (all regular files below it, sorted; hidden ones are skipped) or a glob
    such as `texts/**/*.txt`. Raises DataError where one names nothing or something that cannot be read.
    """
    if not patterns:
        raise DataError("no text was given; name a file, a folder or a glob such as 'texts/**/*.txt'")
    # A file read twice would stand in the training part and again in the validation part.
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _expand(str(pattern)):
            found.setdefault(os.path.realpath(path), path)
    for path in found.values():
        try:
            open(path, "rb").close()
        except OSError as error:
            raise unreadable(path, error) from None
    return list(found.values())


def find_validation(config: Config) -> list[Path]:
    """The files that the setting `validation` names. DataError, as of `find`, that says which setting it is."""
    try:
        return find([config.validation])
    except DataError as error:
        raise DataError(f"`validation`: {error}") from None


def located(pattern: str) -> str:
    """A pattern that names the same from any working folder. DataError where `pattern` names nothing in this one."""
    _expand(pattern)  # as it was typed: whatever is done to it before would change what it means
    path = _home(pattern)
    if not os.path.exists(path):
        path = _glob(pattern)
    here = os.getcwd()
    return os.path.join(here if os.path.exists(path) else glob.escape(here), path)


def _home(pattern: str) -> str:
    try:
        return expand(pattern)
    except ConfigError as error:
        raise DataError(str(error)) from None


def _glob(pattern: str) -> str:
    """The pattern with ~ replaced, of which only what was typed is a pattern."""
    user, _, rest = pattern.partition(os.sep)
    return os.path.join(glob.escape(_home(user)), rest) if user.startswith("~") and _home(user) != user else pattern


def _expand(pattern: str) -> list[Path]:
    path = Path(_home(pattern))
    # Path("") is the working folder, which nobody means by an empty shell variable.
    mode = _mode(path) if pattern else None
    if mode is not None and stat.S_ISREG(mode):
        return [path]
    if mode is not None and stat.S_ISDIR(mode):
        files = _files_below(path)
        if not files:
            raise DataError(f"folder {shown(path)} has no files in it (hidden ones are skipped)")
        return files
    if mode is not None:
        raise DataError(
            f"{shown(path)} is neither a file nor a folder; text is read twice, so save it to a file first,\n"
            f"  or give it as standard input: micrornn train - < {shell_word(os.fspath(path))}"
        )
    if glob.has_magic(pattern):
        files = sorted(Path(name) for name in glob.glob(_glob(pattern), recursive=True) if os.path.isfile(name))
        if not files:
            raise DataError(f"no file matches {pattern!r} in {shown(Path.cwd())}; '**' goes into folders")
        return files
    raise DataError(f"no such file or folder: {pattern!r} (looked in {shown(Path.cwd())})")


def _mode(path: Path) -> int | None:
    """Return the mode bits of what is at `path`, None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from None


def _files_below(folder: Path, left_out: Collection[str] = ()) -> list[Path]:
    """Return all regular files below `folder`, sorted, without hidden ones and the folders `left_out`."""

    def fail(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), error)

    files = []
    for here, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in left_out]
        paths = (Path(here, name) for name in names if not name.startswith("."))
        files += [path for path in paths if path.is_file()]
    return sorted(files)


def stdlib_sources() -> list[Path]:
    """Return the standard library's own .py files on this machine, in a fixed shuffled order.

    Tests, tables and installed packages are left out, and so is the odd file that is not plain ASCII: the
    vocabulary stays at a hundred characters.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    sources = [
        path
        for path in _files_below(folder, _LEFT_OUT)
        if path.suffix == ".py" and not path.name.startswith(_TABLES) and _is_plain_ascii(path)
    ]
    if not sources:
        raise DataError(f"no Python sources in {shown(folder)}; name a text file of your own")

    # In alphabetical order a lane would read one package after the other: a dozen files of `asyncio`, then of
    # `concurrent`. In the order of a hash every stretch of the corpus is code of all kinds, and, unlike with a
    # seeded generator, a file added or taken away leaves the others where they were.
    def shuffled(path: Path) -> bytes:
        return hashlib.sha256(os.fsencode(path.relative_to(folder).as_posix())).digest()

    return sorted(sources, key=shuffled)


def _is_plain_ascii(path: Path) -> bool:
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return data.isascii() and b"\0" not in data


def shown(path: Path) -> str:
    """Return `path` as printable text: a file name may hold bytes that no terminal can show."""
    return os.fsencode(path).decode("utf-8", "replace")


def unreadable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or type(error).__name__
    return DataError(f"cannot read {shown(path)}: {reason}; check its name and permissions (ls -l)")
