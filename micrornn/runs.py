"""Load trained models, and the data they learned from, by the path of a run.

load(path)             a trained model, from a run folder or a checkpoint
load_run(path)         the same for models of text alone
load_model(...)        the same from the contents of a checkpoint
own_task(meta)         the task of a run, with its data
task_from(meta)        the task of a trained model, without the data that it learned from
own_files(folder)      the files that a run learns from
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from micrornn import tasks
from micrornn.calls import checked
from micrornn.cells import fingerprint
from micrornn.checkpoint import RunFolder, StrPath
from micrornn.checkpoint import load as load_checkpoint
from micrornn.config import Config
from micrornn.data import Vocab, find
from micrornn.errors import CheckpointError, ConfigError, DataError, named, quoted
from micrornn.snapshot import check_meta, fit, settings_of, task_of

Progress = Callable[[int, int], None]


def load_parameters(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy a checkpoint's parameters into a model. CheckpointError names the first that does not fit."""
    parameters = {f"parameter/{name}": p for name, p in model.flat.parameters.items()}
    fit(arrays, {name: (p.shape, p.dtype) for name, p in parameters.items()}, "parameter/")
    for name, parameter in parameters.items():
        parameter.data[...] = arrays[name]


def load_model(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], device: str = "cpu",
               where: str = "the checkpoint") -> tuple[Any, Any]:  # fmt: skip
    """The network and the vocabulary in a checkpoint; None for the vocabulary if its task has none. The network is put
    on `device`, wherever it was trained."""
    config, task = dataclasses.replace(settings_of(meta, where), device=device), task_of(meta, where)
    there = sum(array.size for name, array in arrays.items() if name.startswith("parameter/"))
    try:
        model = task.network_from(config, meta, there)
    except ConfigError as error:  # such as: the file of its cell is not to be found
        raise CheckpointError(f"{where}: {error}") from None
    except CheckpointError as error:
        raise CheckpointError(f"{where} is of another model: {error}") from None
    load_parameters(model, arrays)
    warn_of_other_cell(model, meta, where)
    return model, Vocab.from_dict(meta["vocab"]) if task.writes else None


def warn_of_other_cell(model: Any, meta: Mapping[str, Any], where: str) -> None:
    """Warn if the file of a user's own cell has changed since the checkpoint was written: the weights may not fit
    it."""
    cell = None if model.rnn is None else model.rnn.cell
    if cell is not None and cell.file and fingerprint(cell) != meta.get("cell_file"):
        warnings.warn(f"{cell.file} has changed since {where} was written: the cell may be another", stacklevel=2)


class Run(NamedTuple):
    """A trained network, its vocabulary (None if its task has none), and the rest of its checkpoint."""

    model: Any
    vocab: Vocab | None
    meta: dict[str, Any]


@checked
def load(path: StrPath, which: str = "best") -> Run:
    """A trained network, of any task, from a run folder or a checkpoint file: model, vocabulary, meta.

    model    called as model(inputs, state) -> (outputs, last states), arrays time-major (seq_len, batch_size, ...)
    which    which checkpoint of a folder: "best", the one with the lowest validation loss, if there is one; or "last"

    CheckpointError where there is no checkpoint, or where it is damaged.

    >>> import tempfile, micrornn as mr
    >>> from micrornn.checkpoint import RunFolder
    >>> from micrornn.train import run
    >>> task = mr.tasks.find("adding")
    >>> settings = task.Settings(hidden_size=4, batch_size=2, num_steps=5, num_updates=1)
    >>> folder = RunFolder.create(tempfile.mkdtemp() + "/run", {"task": "adding", **settings.to_dict()})
    >>> reports = list(run(mr.Training(settings, task.prepare(settings)), folder))
    >>> model, vocab, meta = mr.load(folder.path)
    >>> meta["updates"], model.rnn.hidden_size
    (1, 4)
    """
    return Run(*load_run(path, which, any_task=True))


def load_run(path: StrPath, which: str = "best", any_task: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """(model, vocabulary, the checkpoint's meta) of a run folder or of a checkpoint file.

    Of a folder it is best.ckpt if there is one, else last.ckpt; with which="last" it is always last.ckpt.
    meta["path"] is the file that was read. ConfigError if the model is not one of text, unless any_task is True; then
    the vocabulary may be None.
    """
    if which not in ("best", "last"):
        raise ConfigError(f"which checkpoint: best or last, not {quoted(which)}")
    file = Path(path)
    if str(path) in tasks.names() and not os.path.lexists(path):
        raise CheckpointError(f"there is no run {path}; it is a task, and `micrornn train {path}` makes a run of it")
    if os.path.isdir(file):
        folder = RunFolder.open(file)
        file = folder.best if which == "best" and folder.best.is_file() else folder.last
        if not file.is_file():
            raise CheckpointError(f"{path}: this run has no checkpoint yet. Train it first.")
    arrays, meta = load_checkpoint(file)
    meta = check_meta(meta, named(file))
    model, vocab = load_model(arrays, meta, where=named(file))
    if vocab is None and not any_task:
        raise ConfigError(f"{named(file)} is of the task {meta['task']}; this is for models of text")
    return model, vocab, meta | {"path": str(file)}


def own_files(folder: Path) -> list[Path]:
    """The files that the run in a folder learns from, which its config.toml lists. CheckpointError if there is none,
    DataError if a file is no longer there; both name config.toml."""
    try:
        found = RunFolder.open(folder)
        patterns = found.files
    except CheckpointError:
        if os.path.lexists(folder / "config.toml"):
            raise
        patterns = None
    if patterns is None:
        raise CheckpointError(f"{named(folder)}: there is no config.toml in it that says what text it learned from")
    try:
        if patterns:
            return find(patterns)
        return tasks.find(found.config.get("task", tasks.DEFAULT), named(folder / "config.toml")).usual_files()
    except DataError as error:
        raise DataError(f"{named(folder / 'config.toml')}: {error}") from None


def own_task(meta: Mapping[str, Any], progress: Progress | None = None, **settings: Any) -> Any:
    """The task of a run with its data, found by its config.toml. DataError if the data has changed.

    meta        as `load_run` gives it
    settings    settings that are to differ from those of the run
    """
    config = _changed(settings_of(meta), meta, settings)
    task = task_of(meta).prepare(config, own_files(Path(meta["path"]).parent), progress)
    if task.fingerprint != meta.get("text"):
        raise DataError(why_other(task.vocab, meta))
    return task


def task_from(meta: Mapping[str, Any], **settings: Any) -> Any:
    """The task of a trained model, for using it: without the data that it learned from.

    meta        as `load_run` gives it
    settings    settings that are to differ from those of the run
    """
    where = named(meta["path"])
    config = _changed(settings_of(meta, where), meta, {"device": "cpu"} | settings)
    return task_of(meta, where).from_meta(config, meta)


def _changed(config: Config, meta: Mapping[str, Any], settings: Mapping[str, Any]) -> Config:
    """The settings, with some of them changed. ConfigError where the task has no setting of that name."""
    for name in settings:
        if not hasattr(config, name):
            raise ConfigError(f"`{name}` is no setting of the task {meta['task']}; leave it out")
    # windows of another size are windows, whatever way to propagate back the run goes
    way = {"backprop": "window"} if "num_steps" in settings else {}
    return dataclasses.replace(config, **(way | dict(settings)))


def why_other(vocab: Vocab | None, meta: Mapping[str, Any]) -> str:
    """Why the text of a run, read with this vocabulary, is not the one that the run learned from."""
    if vocab is None:
        return "the data of this run has changed since"
    if vocab.spacing is not None and Vocab.from_dict(meta["vocab"]).spacing is None:
        return "this run's words were split at whitespace alone, as micrornn did before; its text is now read otherwise"
    return "the text of this run has changed since"
