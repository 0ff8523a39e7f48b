"""Checkpoints and run folders: written atomically, resumable to the bit, no pickle.

save, load                     one checkpoint file: named arrays and a JSON-able `meta`
RunFolder, default_run_path    the folder of one training run, and a fresh path for it
Rows                           a file of JSON lines that survives a kill
write_atomically, toml_dumps   what these stand on: a whole file or none; a flat table as TOML

A checkpoint file is a line `micrornn checkpoint 1` with the format version; a line with the sha256, in hex,
of all that follows; and an uncompressed npz. In that, arr_0 is JSON (utf-8 as uint8) {"meta": ..., "names":
[...]}, and arr_1, arr_2, ... are the arrays, in the order of `names`. The names do not stand in the npz
itself, so that any string is a name: an npz mistakes `a.npy` for `a`.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import io
import json
import math
import os
import re
import shlex
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from micrornn.errors import CheckpointError

StrPath = str | os.PathLike[str]

FORMAT_VERSION = 1
_MAGIC = b"micrornn checkpoint "
_VERSION_LINE = re.compile(re.escape(_MAGIC) + rb"([1-9][0-9]{0,8})\n")

_ADVICE = {
    errno.ENOSPC: "Free some space on that disk",
    errno.EFBIG: "Raise the limit on file size (ulimit -f)",
    errno.EROFS: "Choose a folder that can be written to",
    errno.EACCES: "Choose a folder that you may write to",
    errno.ENOENT: "Make the folder first",
}


def save(path: StrPath, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write `arrays` (any names, shapes and dtypes but object) and `meta` (JSON-able) to `path`, atomically.

    Floats in `meta` come back to the bit, NaN and infinities too; tuples come back as lists, NumPy scalars
    as Python's. Needs memory for one more copy of the arrays. Raises CheckpointError where the file cannot be
    written; what was at `path` is then still whole.
    """
    write_atomically(path, _encode(arrays, meta))


def load(path: StrPath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote: (arrays, meta). Each array is C-contiguous and writable.

    Raises CheckpointError for a file that is missing, something else, newer, truncated, or one byte off.
    """
    try:
        with np.load(io.BytesIO(_checked_payload(path, _read(path))), allow_pickle=False) as npz:
            header = json.loads(npz["arr_0"].tobytes())
            return {name: npz[f"arr_{i}"] for i, name in enumerate(header["names"], 1)}, header["meta"]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = f"its checksum fits, but it was not written by micrornn: {error}"
        raise CheckpointError(f"{path}: {reason}.\nUse another checkpoint.") from error


def _read(path: StrPath) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = f"could not be read: {error.strerror or error}"
        raise CheckpointError(f"{path}: {reason}. Check the path and its permissions.") from error


def _encode(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> list[bytes | memoryview]:
    """The bytes of a checkpoint, in parts."""
    header = json.dumps({"meta": dict(meta), "names": list(arrays)}, default=_plain).encode()
    # order="C" and not np.ascontiguousarray, which makes a 0-d array 1-d.
    ordered = [np.asarray(array, order="C") for array in arrays.values()]
    if any(array.dtype.hasobject for array in ordered):  # savez would pickle it
        raise TypeError("a checkpoint holds no arrays of Python objects")
    buffer = io.BytesIO()
    np.savez(buffer, np.frombuffer(header, np.uint8), *ordered)
    payload = buffer.getbuffer()
    return [_MAGIC + b"%d\n" % FORMAT_VERSION, _digest_line(payload), payload]


def _digest_line(payload: memoryview) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n"


def _checked_payload(path: StrPath, data: bytes) -> memoryview:
    """The npz inside `data`, the bytes of the file at `path`, once every byte of it is known to be right."""
    if not data.startswith(_MAGIC) and not _MAGIC.startswith(data):
        raise CheckpointError(f"{path}: not a micrornn checkpoint. Check the path.")
    if version_line := _VERSION_LINE.match(data):
        if (found := int(version_line[1])) > FORMAT_VERSION:
            reason = f"of checkpoint format {found}; this micrornn reads up to {FORMAT_VERSION}"
            raise CheckpointError(f"{path}: {reason}.\nUpgrade: pip install --upgrade micrornn")
        start = version_line.end() + 65  # 64 hex digits and the newline
        payload = memoryview(data)[start:]
        if data[version_line.end() : start] == _digest_line(payload):
            return payload
    whole = data[-22:-18] == b"PK\x05\x06"  # so a zip file's last record begins
    what = "its bytes do not match its checksum" if whole else "truncated, its end is missing"
    raise CheckpointError(f"{path}: damaged: {what}.\nUse another checkpoint, or train again.")


def _plain(value: object) -> object:
    if isinstance(value, np.generic):  # a scalar, which json does not know
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_atomically(path: StrPath, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, one after the other, as the file `path`: a reader sees the old file or the new, whole.

    The temporary file is `.NAME.tmp` beside it, always the same name: what a killed process left is removed
    by the next save, with no guess at whose it was or how old. The price is one writer per path at a time.
    Raises CheckpointError with the reason; the temporary file is then gone and the old file whole.
    """
    target = Path(os.path.realpath(path))  # a link stays a link, as with a plain write
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        if target.exists() and not target.is_file():  # os.replace would put a file in the place of /dev/null
            raise CheckpointError(f"{path}: not a regular file. Choose another name.")
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
            raise _not_written(path, error) from error
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
            raise CheckpointError(f"{path}: not a regular file. Choose another name.")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: StrPath, error: OSError) -> CheckpointError:
    advice = _ADVICE.get(error.errno or 0, "Check the disk, or choose another path")
    old = "What was there before is untouched. " if os.path.isfile(path) else ""
    return CheckpointError(f"{path}: could not be written: {error.strerror or error}.\n{old}{advice}.")


def toml_dumps(table: Mapping[str, Any]) -> str:
    """A flat table of str, int, float, bool and lists of those as TOML; a None is left out."""
    return "".join(
        f"{key if re.fullmatch('[A-Za-z0-9_-]+', key) else _toml(key)} = {_toml(value)}\n"
        for key, value in table.items()
        if value is not None
    )


def _toml(value: object) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, dict):
        raise TypeError(f"{value!r} has no place in a flat TOML table")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # All the rest is spelled as in JSON, but that TOML wants DEL escaped, and nothing beyond U+FFFF.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def default_run_path(name: str, root: StrPath = "runs", now: datetime.datetime | None = None) -> Path:
    """A path that is not there yet: `ROOT/2026-11-20-143005-NAME` (local time), else with -2, -3, ..."""
    stamp = (now or datetime.datetime.now()).strftime("%Y-%m-%d-%H%M%S")
    path, i = Path(root, f"{stamp}-{name}"), 1
    while os.path.lexists(path):
        i += 1
        path = Path(root, f"{stamp}-{name}-{i}")
    return path


class RunFolder:
    """The folder of one training run; made by `create` or `open`. Killed at any moment, it can be resumed.

    `config` is config.toml as read back (a None is not there); `last` and `best` are the paths of last.ckpt
    and best.ckpt; `gradients` is gradients.jsonl, what was watched while it trained. Every method raises
    CheckpointError where a file cannot be read or written.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.last = path / "last.ckpt"
        self.best = path / "best.ckpt"
        self.metrics_path = path / "metrics.jsonl"
        self._metrics = Rows(self.metrics_path)
        self.gradients = Rows(path / "gradients.jsonl")

    @classmethod
    def create(cls, path: StrPath, config: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run. `config` is flat (see `toml_dumps`), and is the first file in it."""
        path = Path(path)
        # First, so that a bad config leaves no folder. Surrogates: a file name that is not Unicode.
        text = toml_dumps(config).encode(errors="surrogateescape")
        try:
            path.mkdir(parents=True, exist_ok=True)
            # A run killed while it wrote its config is no run yet: its path may be used again.
            empty = {entry.name for entry in path.iterdir()} <= {".config.toml.tmp"}
        except OSError as error:
            raise _not_written(path, error) from error
        if not empty:
            advice = f"Use --resume {shlex.quote(str(path))} to go on with the run in it, or another --out."
            raise CheckpointError(f"{path}: exists and is not empty.\n{advice}")
        write_atomically(path / "config.toml", [text])
        return cls.open(path)

    @classmethod
    def open(cls, path: StrPath) -> RunFolder:
        """The folder of a run that exists, to resume it or to read from it."""
        path = Path(path)
        file = path / "config.toml"
        if not os.path.isfile(file):
            reason = "not a run folder, no config.toml in it" if os.path.exists(path) else "no such folder"
            raise CheckpointError(f"{path}: {reason}.\nGive the folder that a run was written to.")
        try:
            config = tomllib.loads(_read(file).decode(errors="surrogateescape"))
        except tomllib.TOMLDecodeError as error:
            raise CheckpointError(f"{file}: not valid TOML: {error}.\nMend that file.") from error
        return cls(path, config)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.toml anew: a resumed run may have other limits."""
        write_atomically(self.path / "config.toml", [toml_dumps(config).encode(errors="surrogateescape")])

    @property
    def has_checkpoint(self) -> bool:
        return os.path.isfile(self.last)

    def load_last(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """(arrays, meta) of last.ckpt; None where the run saved nothing yet, and starts at update 0."""
        return load(self.last) if self.has_checkpoint else None

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], best: bool) -> None:
        """Write last.ckpt and, where `best`, the same as best.ckpt.

        best.ckpt comes first. Killed between the two, last.ckpt knows nothing of the new best, so a resumed
        run comes to the same update and writes it again. The other way round last.ckpt would speak of a best
        that no file holds, and no later update might beat it.
        """
        parts = _encode(arrays, meta)
        for path in [self.best, self.last] if best else [self.last]:
            write_atomically(path, parts)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one row to metrics.jsonl, out of our hands when this returns. NaN is written as NaN."""
        self._metrics.append(row)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; without the last one if a kill tore it."""
        return self._metrics.read()

    def truncate_metrics(self, update: int) -> None:
        """Drop the rows of metrics.jsonl and gradients.jsonl whose "update" is greater than `update`: a resumed run
        will write them again."""
        self._metrics.truncate(update)
        self.gradients.truncate(update)

    def close(self) -> None:
        """Close metrics.jsonl and gradients.jsonl; the next row opens them again."""
        self._metrics.close()
        self.gradients.close()


class Rows:
    """A file of rows, one JSON object a line, each out of our hands once it is added. Read, truncated or added to
    after a kill, it is whole again but for the row that the kill tore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row. NaN is written as NaN."""
        line = json.dumps(dict(row), default=_plain) + "\n"
        try:
            if self._file is None:
                if self.path.is_file() and not self.path.read_bytes().endswith(b"\n"):
                    self._write(self.read())  # else the new row would be glued to a torn one
                self._file = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            self._file.write(line)
        except OSError as error:
            with contextlib.suppress(OSError):  # closed, so that the next row mends what this one tore
                self.close()
            raise _not_written(self.path, error) from error

    def read(self) -> list[dict[str, Any]]:
        """All rows, without the last one if a kill tore it; no row if there is no file."""
        if not os.path.exists(self.path):
            return []
        lines = _read(self.path).split(b"\n")
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                if number < len(lines):  # the last one has no newline: empty, or torn
                    raise CheckpointError(f"{self.path}:{number}: not JSON. Remove it.") from error
        return rows

    def truncate(self, update: int) -> None:
        """Drop the rows whose "update" is greater than `update`."""
        self.close()
        if self.path.is_file():
            self._write([row for row in self.read() if row.get("update", update) <= update])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        write_atomically(self.path, [(json.dumps(row) + "\n").encode() for row in rows])

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
