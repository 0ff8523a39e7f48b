"""One run of a comparison, from wherever it stands to its end: in this process, in another, on another machine.

Job      all that a process needs to know
train    do it; however it ends, that is what is returned
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from micrornn import kernels, tasks
from micrornn.cells import trust
from micrornn.checkpoint import RunFolder
from micrornn.compare.folder import Outcome
from micrornn.errors import CheckpointError, DivergedError, MicrornnError
from micrornn.resume import fit_warmup, resume
from micrornn.startfrom import start_from
from micrornn.train import Training, run

PATIENCE = 20.0  # seconds to wait for a process that was told to end and still has the run
LOOK = 0.05  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Job:
    """A run: its folder, what it learns from, its settings; until: the update after which
    it pauses, 0: none; stop: a file that says, by being there, that it is to end; where: the folder in which these
    paths are meant, for a process that trained for another comparison before may be in another."""

    path: str
    task: str
    files: tuple[str, ...]
    settings: dict[str, Any]
    scheduled: bool
    until: int
    stop: str
    where: str


def train(job: Job, detached: bool = False) -> Outcome:
    """done, failed (with the reason), or stopped; a run that pauses at `until` is done with that. Everything is on
    disk then.

    detached    this process was started for it: a Ctrl-C, which reaches all processes of a terminal, is for the one
                that started it; that one will say when to stop
    """
    if detached:
        with contextlib.suppress(ValueError):  # not the main thread of a worker
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with_parent()
        with contextlib.suppress(OSError):  # another machine may not have it, and the paths say then what is missing
            os.chdir(job.where)
    try:
        with _at_work:
            return _train(job)
    except MicrornnError as error:
        return Outcome("failed", str(error))
    except MemoryError:
        return Outcome("failed", "not enough memory for these sizes")
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {error}"[:500])


_at_work = threading.Lock()


@cache
def _end_with_parent() -> None:
    """From now on, end this process when the one that started it is gone, as after a kill -9: nobody would ever give it
    work again. What it trains is left at a checkpoint first."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        with _at_work:
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _train(job: Job) -> Outcome:
    tasks.trust(job.task)  # both were typed, or lie in a comparison that somebody typed the name of
    kind = tasks.find(job.task)
    trust(job.settings["cell"])
    config = kind.Settings.from_dict(job.settings, "the settings")
    kernels.set_threads(config.threads or 1)
    task = kind.prepare(config, kind.files_of(job.files))
    training = Training(config, task)
    fit_warmup(training, job.scheduled)
    settings = training.config.to_dict() | {"task": kind.name, "files": list(job.files)}
    folder = _folder(Path(job.path), settings)
    try:
        if folder.has_diverged:
            return Outcome("failed", (folder.path / "diverged.txt").read_text("utf-8", "replace").strip())
        if folder.has_checkpoint:
            resume(training, folder)
        elif config.init_from:
            start_from(training.model, task, config.init_from)
        paused = _paused(training, job)
        for _ in run(training, folder, paused):
            pass
    except DivergedError as error:
        return Outcome("failed", str(error))
    finally:
        folder.close()
    arrived = training.done() or 0 < job.until <= training.updates
    return Outcome("done" if arrived and training.pending is None else "stopped")


def _folder(path: Path, settings: dict[str, Any]) -> RunFolder:
    """The folder of the run, locked: made, or opened if it was begun. A process that was killed together with the one
    that started it may need a moment to end."""
    start = time.monotonic()
    while True:
        try:
            if not os.path.lexists(path / "config.toml"):
                return RunFolder.create(path, settings)
            folder = RunFolder.open(path)
            folder.lock()
            return folder
        except CheckpointError as error:
            if "is being trained by" not in str(error) or time.monotonic() - start > PATIENCE:
                raise
            time.sleep(0.2)


def _paused(training: Training, job: Job) -> Callable[[], bool]:
    """Whether to end after the update at hand: it is where it shall pause, somebody said so, or whoever started this
    process is gone."""
    parent, looked, asked = os.getppid(), 0.0, False

    def paused() -> bool:
        nonlocal looked, asked
        if 0 < job.until <= training.updates and training.pending is None:  # not before it was validated
            return True
        now = time.monotonic()
        if not asked and now - looked >= LOOK:
            looked, asked = now, os.path.exists(job.stop) or os.getppid() != parent
        return asked

    return paused
