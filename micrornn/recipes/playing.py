"""Playing a recipe: its runs are trained, each in a folder of its own.

play(job, paths, folder)             trains until its end, update by update; prints nothing
require_same(folder, job, paths)     an error where another run lies in a folder
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from micrornn import data, device, kernels
from micrornn.checkpoint import RunFolder
from micrornn.config import changeable
from micrornn.errors import CheckpointError, named
from micrornn.recipes import Job, require_metrics
from micrornn.resume import fit_warmup, resume
from micrornn.train import Training, run

FREE = ("threads", *changeable("where"))


def play(job: Job, paths: Sequence[str], path: Path, stopped: Callable[[], bool] = lambda: False,
         progress: Callable[[int, int], None] | None = None, **settings: Any) -> Iterator[tuple[int, int]]:  # fmt: skip
    """(update, the last one) after each: train a run of a recipe in the folder `path`, as `micrornn train` does with
    `job.arguments`; where one was begun, go on with it. CheckpointError where another run lies there.

    paths       of the data
    settings    such as device="cuda"
    progress    is told how far the data is read
    """
    given, config, files = _asked(job, paths, **settings)
    config = dataclasses.replace(config, threads=config.threads or device.default_threads())
    device.require(config.device)
    kernels.set_threads(config.threads)
    task = job.recipe.kind.prepare(config, job.recipe.kind.files_of(files), progress)
    require_metrics(job.recipe, task)
    about = {"task": task.name, "files": files}
    folder = RunFolder.open(path) if os.path.lexists(path / "config.toml") else None
    try:
        if folder is not None:
            folder.lock()
            config = dataclasses.replace(config, threads=folder.config.get("threads") or config.threads)
            kernels.set_threads(config.threads)
            if "schedule" not in given:  # its warm-up may have been shortened
                config = dataclasses.replace(config, schedule=folder.config.get("schedule", config.schedule))
            require_same(folder, job, paths)
        training = Training(config, task)  # before a folder is made: what is wrong leaves none behind
        if folder is not None and folder.has_checkpoint:
            resume(training, folder)
        else:
            fit_warmup(training, "schedule" in given)
            whole = training.config.to_dict() | about
            folder = folder or RunFolder.create(path, whole)
            folder.write_config(whole)
        for report in run(training, folder, stopped):
            yield report.update, training.num_updates or report.update
    finally:
        if folder is not None:
            folder.close()


def _asked(job: Job, paths: Sequence[str], **settings: Any) -> tuple[dict[str, Any], Any, list[str]]:
    """(the settings that the recipe names, all of them, the files that are learned from), for any working folder."""
    located = [data.located(name) for name in paths]
    roles = job.recipe.roles(located)
    return job.settings(roles), job.config(roles, **settings), job.recipe.learned(located)


def require_same(folder: RunFolder, job: Job, paths: Sequence[str]) -> None:
    """CheckpointError where the run in a folder is not this one."""
    given, config, files = _asked(job, paths)
    wanted = config.to_dict() | {"task": job.recipe.kind.name, "files": files}
    if "schedule" not in given:  # its warm-up may have been shortened
        del wanted["schedule"]
    for name, value in wanted.items():
        if name not in FREE and folder.config.get(name, value) != value:
            raise CheckpointError(
                f"{named(folder.path)}: another run lies there: its {name} is {folder.config[name]!r}, not {value!r}; "
                "give another `out`"
            )
