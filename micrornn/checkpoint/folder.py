"""The folder of one training run."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.checkpoint.archive import encode, load
from micrornn.checkpoint.files import StrPath, not_written, read_file, write_atomically
from micrornn.checkpoint.lock import NAME as LOCK_NAME
from micrornn.checkpoint.lock import Lock
from micrornn.checkpoint.rows import JsonLines
from micrornn.checkpoint.toml import MOST_BYTES, toml_dumps, toml_loads
from micrornn.errors import CheckpointError, named
from micrornn.printable import shell_word
from micrornn.schema import Rule, check_table


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

    `config` is config.toml as read back (a None is not there), or, where that is gone, the settings in a checkpoint;
    `last` and `best` are the paths of last.ckpt and best.ckpt; `gradients` is gradients.jsonl, what was watched while
    it trained. Every method raises CheckpointError where a file cannot be read or written.

    Whoever writes takes the lock first: `create` does, and after `open` it is asked for by name.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.last = path / "last.ckpt"
        self.best = path / "best.ckpt"
        self.metrics_path = path / "metrics.jsonl"
        self._metrics = JsonLines(self.metrics_path)
        self.gradients = JsonLines(path / "gradients.jsonl")
        self._diverged = path / "diverged.txt"
        self._lock: Lock | None = None

    @classmethod
    def create(cls, path: StrPath, config: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run. `config` is flat (see `toml_dumps`), and is the first file in it."""
        path = Path(path)
        # First, so that a bad config leaves no folder. Surrogates: a file name that is not Unicode.
        text = toml_dumps(config).encode(errors="surrogateescape")
        try:
            path.mkdir(parents=True, exist_ok=True)
            _require_empty(path)
            lock = Lock(path)  # once it is known that what lies there is nobody else's
            _require_empty(path)  # another process was quicker
        except (OSError, ValueError) as error:
            raise not_written(path, error) from error
        write_atomically(path / "config.toml", [text])
        folder = cls.open(path)
        folder._lock = lock
        return folder

    @classmethod
    def open(cls, path: StrPath) -> RunFolder:
        """The folder of a run that exists, to resume it or to read from it."""
        path = Path(path)
        file = path / "config.toml"
        try:
            os.stat(file)
        except (FileNotFoundError, NotADirectoryError):
            for checkpoint in (path / "last.ckpt", path / "best.ckpt"):
                if os.path.isfile(checkpoint):
                    meta = check_table(load(checkpoint)[1], {"config": Rule(dict)}, named(checkpoint), CheckpointError)
                    return cls(path, meta["config"])
            what = "not a run folder, no config.toml in it" if os.path.lexists(path) else "no such folder"
            advice = "Give the folder that a run was written to"
            if os.path.isfile(path):
                what, advice = "a file, not a run folder", f"Give the folder it lies in: {shell_word(str(path.parent))}"
            raise CheckpointError(f"{named(path)}: {what}.\n{advice}.") from None
        except (OSError, ValueError):
            pass  # read_file says why
        try:
            return cls(path, toml_loads(read_file(file, MOST_BYTES)))
        except ValueError as error:
            raise CheckpointError(f"{named(file)}: not valid TOML: {error}.\nMend that file.") from error

    def lock(self) -> None:
        """From now on no other process may train in this folder. CheckpointError with its number, if one does."""
        self._lock = self._lock or Lock(self.path)

    @property
    def files(self) -> list[str] | None:
        """The text that it learns from, as it was found: files, folders, globs; none: the standard library. None where
        config.toml is gone, which alone says it."""
        rules = {"files": Rule(list, items=Rule(str), optional=True)}
        where = named(self.path / "config.toml")
        return check_table(self.config, rules, where, CheckpointError).get("files")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.toml anew: a resumed run may have other limits."""
        write_atomically(self.path / "config.toml", [toml_dumps(config).encode(errors="surrogateescape")])

    @property
    def has_checkpoint(self) -> bool:
        return os.path.lexists(self.last) or os.path.lexists(self.best)  # whatever it is: it was not new

    def load_last(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """(arrays, meta) of last.ckpt, or, if it is gone, of best.ckpt; None where the run saved nothing yet, and
        starts at update 0."""
        if not self.has_checkpoint:
            return None
        return load(self.last if os.path.lexists(self.last) else self.best)

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], best: bool,
             keep: bool = False) -> None:  # fmt: skip
        """Write last.ckpt and, where `best`, the same as best.ckpt; with `keep` also as update-N.ckpt, which stays.

        best.ckpt comes first. Killed between the two, last.ckpt knows nothing of the new best, so a resumed
        run comes to the same update and writes it again. The other way round last.ckpt would speak of a best
        that no file holds, and no later update might beat it.
        """
        parts = encode(arrays, meta)
        kept = [self.path / f"update-{meta['updates']}.ckpt"] if keep else []
        for path in [*kept, *([self.best] if best else []), self.last]:
            write_atomically(path, parts)

    @property
    def has_diverged(self) -> bool:
        """Whether the run ended because its numbers became NaN or infinite. It may then go on with other settings."""
        return os.path.lexists(self._diverged)

    def set_diverged(self, words: str | None) -> None:
        """Say so in diverged.txt, with what happened; None: it goes on."""
        if words is not None:
            write_atomically(self._diverged, [words.encode(errors="surrogateescape") + b"\n"])
        else:
            self._diverged.unlink(missing_ok=True)

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
        """Close metrics.jsonl and gradients.jsonl, which the next row opens again, and give the lock back."""
        self._metrics.close()
        self.gradients.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _require_empty(path: Path) -> None:
    """CheckpointError where something lies in a folder. A run that was killed while it wrote its config is no run yet:
    its path may be used again."""
    if not {entry.name for entry in path.iterdir()} <= {".config.toml.tmp", LOCK_NAME}:
        advice = f"Use `resume={shell_word(str(path))}` to go on with the run in it, or another `out`."
        raise CheckpointError(f"{named(path)}: exists and is not empty.\n{advice}")
