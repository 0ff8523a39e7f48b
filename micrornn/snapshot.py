"""Checks of the contents of a training checkpoint, before they are used. Its hash does not say who wrote it.

META, REPORT           the rules for the meta of a checkpoint, and for a report
check_meta             checks the meta of a checkpoint by them
settings_of            the settings in it
fit                    checks arrays against the names, shapes and dtypes that are expected
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn.cells import require_trusted
from micrornn.config import MOST, Config
from micrornn.errors import CheckpointError, ConfigError, DataError, quoted, told_at
from micrornn.schema import Rule, check_table
from micrornn.tasks import Task, find

_COUNT, _SECONDS, _LOSS = Rule(int, low=0, high=MOST), Rule(float, low=0, finite=True), Rule(float, finite=True)
REPORT = {
    "update": Rule(int, low=1, high=MOST), "tokens": Rule(int, low=0), "seconds": _SECONDS, "loss": _LOSS,
    "val_loss": Rule(float, finite=True, none=True), "lr": _SECONDS, "grad_norm": _SECONDS,
    "tokens_per_second": _SECONDS, "score": Rule(float, none=True, optional=True),
}  # fmt: skip
META = {
    "task": Rule(str, most=4096), "config": Rule(dict), "text": Rule(str, most=200),
    "updates": _COUNT, "seconds": _SECONDS, "epoch": _COUNT, "window": _COUNT,
    "best_val_loss": Rule(float, finite=True, none=True),
    "history": Rule(list, items=Rule(dict)), "pending": Rule(dict, none=True, optional=True),
    "cell_file": Rule(str, optional=True), "tokens": Rule(int, low=0, optional=True),
    "backprop": Rule(dict, optional=True),
}  # fmt: skip
_PENDING = {"report": Rule(dict), "gradients": Rule(dict, none=True)}


def check_meta(meta: Mapping[str, Any], where: str = "the checkpoint") -> dict[str, Any]:
    """The checked meta of a run's checkpoint. Settings that an old checkpoint lacks are added to `config`, and
    `pending` is None if it has none. CheckpointError names what is missing or wrong."""
    found = check_table(meta, META, where, CheckpointError)
    found["config"] = settings_of(found, where).to_dict()
    validated = REPORT | {"val_loss": _LOSS}
    found["history"] = [
        check_table(row, validated, f"{where}: history[{n}]", CheckpointError) for n, row in enumerate(found["history"])
    ]
    pending = found.setdefault("pending", None)
    if pending is not None:
        pending = check_table(pending, _PENDING, f"{where}: pending", CheckpointError)
        report = check_table(pending["report"], REPORT, f"{where}: pending: report", CheckpointError)
        if set(report) | {"score"} != set(REPORT) or report["update"] != found["updates"]:
            raise CheckpointError(f"{where}: pending: it is no report of update {found['updates']}")
        found["pending"] = pending | {"report": report}
    return found


def task_of(meta: Mapping[str, Any], where: str = "the checkpoint") -> type[Task]:
    """The class of the task in a checkpoint. CheckpointError if there is none of that name."""
    name = check_table(meta, {"task": META["task"]}, where, CheckpointError)["task"]
    try:
        return find(name, where)
    except ConfigError as error:
        told = str(error)
        raise CheckpointError(told if told.startswith(where) else f"{where}: task: {told}") from None


def settings_of(meta: Mapping[str, Any], where: str = "the checkpoint") -> Config:
    """The settings in a checkpoint. What else its task needs is checked, too. CheckpointError if something is missing
    or wrong."""
    task = task_of(meta, where)
    found = check_table(meta, {"config": META["config"], **task.RULES}, where, CheckpointError)
    try:
        task.check_meta(found)
        config = task.Settings.from_dict(found["config"], where)
        require_trusted(config.cell, where)
        return config
    except (ConfigError, DataError) as error:
        raise CheckpointError(told_at(where, error)) from None


def fit(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
        prefix: str) -> None:  # fmt: skip
    """CheckpointError if the arrays whose names begin with the prefix are not exactly the wanted ones, in name, shape
    and dtype. It names the first that differs."""
    given = {name for name in arrays if name.startswith(prefix)}
    for name in sorted(wanted.keys() ^ given):
        where = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(f"the checkpoint is of another model: it {where} {quoted(name)[1:-1]}")
    for name, (shape, dtype) in wanted.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise CheckpointError(
                f"the checkpoint is of another model: {name} is {quoted(array.shape)} {str(array.dtype)[:40]}, "
                f"wanted {shape} {dtype}"
            )


def require_finite_arrays(arrays: Mapping[str, np.ndarray], prefixes: tuple[str, ...]) -> None:
    """CheckpointError where NaN or infinity is in an array whose name begins with one of these."""
    for name, array in arrays.items():
        if name.startswith(prefixes) and not np.isfinite(array).all():
            raise CheckpointError(f"the checkpoint cannot be resumed: {name} holds NaN or infinity")
