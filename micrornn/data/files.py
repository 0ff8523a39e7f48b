"""Finds text files and reads them piece by piece.

find             files, folders and globs, as a user types them, to a list of files
read_chunks      the text of many files as a stream of str, in constant memory
stdlib_sources   Python's own source code: a text that every machine already has
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import stat
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from micrornn.errors import DataError
from micrornn.printable import shell_word

CHUNK_BYTES = 8 << 20

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
            raise _unreadable(path, error) from None
    return list(found.values())


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser() if pattern.startswith("~") else Path(pattern)
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
        raise DataError(f"{shown(path)} is neither a file nor a folder; text is read twice, so save it to a file first")
    if glob.has_magic(pattern):
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name))
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
        raise _unreadable(path, error) from None


def _files_below(folder: Path, left_out: Collection[str] = ()) -> list[Path]:
    """Return all regular files below `folder`, sorted, without hidden ones and the folders `left_out`."""

    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename or folder), error)

    files = []
    for here, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in left_out]
        paths = (Path(here, name) for name in names if not name.startswith("."))
        files += [path for path in paths if path.is_file()]
    return sorted(files)


def read_chunks(
    paths: Iterable[Path],
    chunk_bytes: int = CHUNK_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """Yield the text of `paths`, one after the other as `cat` would, in pieces of up to about `chunk_bytes`.

    No piece is empty and no character is cut. A byte order mark at the start of a file is dropped.
    `on_read(num_bytes)` is called after each read. Raises DataError at the first byte that is no UTF-8 text,
    and at the end if there was no text at all.
    """
    empty = True
    paths = list(paths)
    for path in paths:
        for text in _read_file(path, chunk_bytes, on_read):
            empty = False
            yield text
    if empty:
        names = shown(paths[0]) if len(paths) == 1 else f"all {len(paths)} files"
        raise DataError(f"the text is empty ({names}); give a file with text in it")


def _read_file(path: Path, chunk_bytes: int, on_read: Callable[[int], None] | None) -> Iterator[str]:
    offset = 0  # in the file, of the first byte of `data`
    held = b""  # the first bytes of a character that the last read cut
    at_start = True
    try:
        with open(path, "rb", buffering=0) as file:
            while True:
                block = file.read(chunk_bytes)
                data = held + block
                if offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise _undecodable(path, 0, data[0], "UTF-16")
                if (nul := data.find(0)) >= 0:
                    raise DataError(
                        f"{shown(path)} looks binary: a NUL byte at offset {offset + nul:,}; "
                        "leave it out, for instance with a glob such as 'texts/**/*.txt'"
                    )
                try:
                    text, used = codecs.utf_8_decode(data, "strict", not block)
                except UnicodeDecodeError as error:
                    raise _undecodable(path, offset + error.start, data[error.start], "LATIN1") from None
                held, offset = data[used:], offset + used
                if text and at_start:
                    text, at_start = text.removeprefix("\ufeff"), False
                if on_read is not None:
                    on_read(len(block))
                if text:
                    yield text
                if not block:
                    return
    except OSError as error:
        raise _unreadable(path, error) from None


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


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or type(error).__name__
    return DataError(f"cannot read {shown(path)}: {reason}; check its name and permissions (ls -l)")


def _undecodable(path: Path, offset: int, byte: int, likely: str) -> DataError:
    return DataError(
        f"{shown(path)} is not UTF-8: byte 0x{byte:02x} at offset {offset:,}; re-encode it, for instance\n"
        f"  iconv -f {likely} -t UTF-8 {shell_word(os.fspath(path))} > utf8.txt"
    )
