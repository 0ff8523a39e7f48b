"""A new run that starts from the weights of an old one of the same task: on other data, with another learning rate or
other symbols.

shape_of        the settings of the old run that the new one must share, so that the weights fit
start_from      copies the weights; rows of an embedding and of an output layer are matched by symbol
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.checkpoint import StrPath
from micrornn.config import Config
from micrornn.errors import ConfigError, named
from micrornn.finite import require_finite_parameters
from micrornn.runs import load_run, task_from
from micrornn.tasks import Task


@dataclass(frozen=True)
class Matched:
    """matched: how many of the `size` symbols of the new run the old one has, too; what: what these symbols are; new:
    some that the old run lacks."""

    what: str
    matched: int
    size: int
    new: tuple[str, ...]


@dataclass(frozen=True)
class Started:
    """What a run started from: the checkpoint, its updates, and how its symbols were matched."""

    path: str
    updates: int
    symbols: tuple[Matched, ...]


def shape_of(path: StrPath, kind: type[Task]) -> dict[str, Any]:
    """The settings of a run, by name, that a new run of this task must share to start from it. ConfigError if the run
    is of another task."""
    model, _, meta = load_run(path, any_task=True)
    _require_task(path, meta, kind)
    return _shape(model, kind)


def require_shape(path: StrPath, shape: dict[str, Any], config: Config) -> None:
    """ConfigError where a setting does not fit the weights to start from."""
    for name, wanted in shape.items():
        if getattr(config, name) != wanted:
            raise ConfigError(
                f"`init_from`: `{name}` is {getattr(config, name)}, but the weights of {named(path)} are of "
                f"`{name}={wanted}`; leave `{name}` out"
            )


def start_from(model: Any, task: Task, path: StrPath) -> Started:
    """Copy the weights of the run or checkpoint at `path` into the model of a task. The weights of symbols that the old
    run lacks stay as they are.

    ConfigError if the task, its sizes or its inputs differ, or if the two have no symbol in common; DivergedError if a
    weight is not finite.
    """
    old, _, meta = load_run(path, any_task=True)
    _require_task(path, meta, type(task))
    require_finite_parameters(old, f"`init_from`: {named(path)}: ")
    require_shape(path, _shape(old, type(task)), model.config)
    weights = {name: device.host(p.data) for name, p in old.flat.parameters.items()}
    found: list[Matched] = []
    for here, there in zip(task.by_symbol(), task_from(meta).by_symbol(), strict=True):
        places = {token: n for n, token in enumerate(there.tokens)}
        common = [(n, places[token]) for n, token in enumerate(here.tokens) if token in places]
        new = tuple(token for token in here.tokens if token not in places)
        found.append(Matched(here.what, len(common), len(here.tokens), new[:5]))
        mine, theirs = np.array(common, np.intp).reshape(-1, 2).T
        for name, axis in here.parameters.items():
            rows = np.moveaxis(device.host(model.flat.parameters[name].data).copy(), axis, 0)
            rows[mine] = np.moveaxis(weights[name], axis, 0)[theirs]
            weights[name] = np.moveaxis(rows, 0, axis)
    if found and not any(one.matched for one in found):
        raise ConfigError(f"`init_from`: the data has no symbol in common with that of {named(path)}")
    for name, parameter in model.flat.parameters.items():
        if weights[name].shape != parameter.shape:
            raise ConfigError(
                f"`init_from`: {name} is {parameter.shape} here and {weights[name].shape} in {named(path)}, which has "
                "other inputs or outputs"
            )
    for name, parameter in model.flat.parameters.items():
        parameter.data[...] = weights[name].astype(parameter.dtype)
    return Started(meta["path"], meta["updates"], tuple(found))


def _shape(model: Any, kind: type[Task]) -> dict[str, Any]:
    return {name: getattr(model.config, name) for name in kind.shape if hasattr(model.config, name)}


def _require_task(path: StrPath, meta: dict[str, Any], kind: type[Task]) -> None:
    if meta["task"] != kind.name:
        raise ConfigError(f"`init_from`: {named(path)} is of the task {meta['task']}, not of {kind.name}")
