"""What is looked at: a trained model, and data in windows.

open_subject(run, text)     the model of a run, and the data that it learns from or a text for it
Subject.windows(...)        windows of that data, each with the state that what comes before it leaves
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.errors import CheckpointError, ConfigError, DataError
from micrornn.inspect.carried import WINDOWS, Carried, carried_by
from micrornn.inspect.measure import Learned
from micrornn.inspect.window import Window, length_of, of_one_length
from micrornn.optim import Schedule
from micrornn.runs import Progress, load_run, own_task
from micrornn.snapshot import settings_of, task_of
from micrornn.tape import Tensor, no_tape
from micrornn.tasks import Batches
from micrornn.tasks.material import Material, Sizes


@dataclass(frozen=True)
class Subject:
    """model, in evaluation mode (no dropout), meta of the checkpoint, what it is looked at with, and `run` as it is
    told to people."""

    model: Any
    meta: Mapping[str, Any]
    material: Material
    run: str = ""

    @property
    def text(self) -> str:
        """What is read, as it is told to people."""
        return self.material.words

    def windows(self, seq_len: int, num_windows: int, batch_size: int) -> list[Window]:
        """`num_windows` windows of `seq_len` time steps in `batch_size` lanes, spread evenly over the data.

        Where the data is longer sequences cut into windows, each comes with the state that reading as many time steps
        before it leaves, as in training; a window at the very beginning has none. A single window of sequences with
        padding is that of several which holds the longest one. DataError if there is too little for them.
        """
        batches = self.material.batches(Sizes(num_windows, seq_len, batch_size))
        first = 1 if batches.carried else 0
        last, found = batches.num_windows - 1, []
        looked_at = num_windows if first or num_windows > 1 else WINDOWS
        for place in np.unique(np.linspace(min(first, last), last, looked_at).astype(int)).tolist():
            batches.window, batches.state = max(0, place - first), None
            if place and first:
                _carry(self.model, batches, _next(batches))
            found.append(_next(batches))
        if num_windows == 1:
            found = [max(found, key=length_of)]
        return of_one_length(found)

    @cached_property
    def learned(self) -> Learned | None:
        """Its loss on this data beside those that take no learning; None where it is not finite."""
        loss = self.material.loss(self.model)
        return Learned(loss, self.material.unit, self.material.beside()) if math.isfinite(loss) else None

    def carried(self, part: str = "") -> Carried | None:
        """How much of a gradient its layers (of one part, where there are several) can carry over half a window; None
        where there is too little data to see."""
        return carried_by(self.model, self.read, self.material.cut, part) if self.read else None

    @cached_property
    def read(self) -> list[Window]:
        """The windows on which that is judged, from the first on; that one is left out if it starts from a state that
        the others do not."""
        try:
            batches = self.material.carrying()
        except DataError:
            return []
        found = []
        for _ in range(min(WINDOWS, batches.num_windows)):
            found.append(_next(batches))
            _carry(self.model, batches, found[-1])
        return of_one_length(found[1:] if batches.carried and len(found) > 1 else found)

    def about(self, part: str = "", **more: Any) -> dict[str, Any]:
        """What a Measure says of its subject; of one part, where it is looked at part by part."""
        config, material = self.model.config, self.material
        data = {"text": self.text, "unit": material.unit, "item": material.item, "cut": material.cut}
        if not self.meta:  # of no run
            return data | more
        names, able = ("cell", "num_layers", "hidden_size", "batch_size", "num_steps"), self.carried(part)
        return {
            "run": self.run, "checkpoint": self.meta["path"], "updates": self.meta["updates"],
            "task": self.meta["task"], **data,
            "trained": {name: getattr(config, name) for name in names}, "lr_left": lr_left(self.meta),
            "learned": None if self.learned is None else dataclasses.asdict(self.learned),
            "carried": None if able is None else dataclasses.asdict(able),
        } | more  # fmt: skip


def _next(batches: Batches) -> Window:
    """The batch that comes next, in arrays of its own."""
    inputs, targets, state = batches.next()
    return Window(copy.deepcopy(inputs), copy.deepcopy(targets), state)


def _carry(model: Any, batches: Batches, window: Window) -> None:
    """Hand the last state of a window on."""
    with no_tape():
        _, last = model.loss(window.inputs, window.targets, window.state)
    batches.carry(tuple(Tensor(tensor.data.copy()) for tensor in last))


def lr_left(meta: Mapping[str, Any]) -> float:
    """How much of the learning rate its schedule had left at a checkpoint, from its meta: 1 until it falls. That a
    warm-up was still raising it is no fall."""
    config, history, updates = meta["config"], meta.get("history") or (), max(1, meta["updates"])
    schedule = Schedule(config["schedule"], config["num_updates"] or None)
    left = schedule(updates - 1)
    if history:  # what it really was at the last validation, also where epochs or a resumed run set its end
        updates, left = max(1, history[-1]["update"]), history[-1]["lr"] / config["lr"]
    warm = schedule.warmup
    return float(min(1.0, left / min(1.0, updates / warm) if warm else left))


def open_subject(run: str, text: Sequence[str] = (), which: str = "best", progress: Progress | None = None, *,
                 unseen: str = "", encoding: str = "") -> Subject:  # fmt: skip
    """The model of a run folder or checkpoint, and what it is looked at with: the files named, else what the run learns
    from.

    unseen, encoding    of the files named, see `data.encode_files`

    CheckpointError, DataError: what cannot be read, or a text with symbols that the vocabulary lacks. ConfigError:
    files for a task that looks at none but its own.
    """
    model, vocab, meta = load_run(run, which, any_task=True)
    if text:
        material = task_of(meta).material_of(text, settings_of(meta), meta, unseen, encoding)
    else:
        try:
            task = own_task(meta, progress, device="cpu")
        except (DataError, ConfigError, CheckpointError) as error:
            if vocab is None:
                raise
            raise type(error)(f"{error}.\nName a text with `text=FILE`.") from None
        material = task.material(lambda **settings: own_task(meta, device="cpu", **settings))
    model.train(False)
    return Subject(model, meta, material, Path(run).name or run)
