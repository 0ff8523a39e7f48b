"""What a trained network is looked at with: the data of its task, in batches of other sizes than it is trained with.

Material    of any task
Sizes       of what is read

What measures ask of a task (inspect/subject.py) stands here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from micrornn.errors import ConfigError
from micrornn.tape import no_tape
from micrornn.tasks.task import Batches, Task

READ = 9  # batches that a loss is measured on


class Sizes(NamedTuple):
    """So many windows of seq_len time steps in batch_size lanes; None: not said."""

    windows: int | None = None
    seq_len: int | None = None
    batch_size: int | None = None


class Beside(NamedTuple):
    """A loss that takes no learning: its name among numbers, how it comes about ("by always saying the mean")."""

    name: str
    words: str
    value: float


class Material:
    """The data that a task learns from.

    task      bound to it
    remade    remade(**settings): the same task with other settings

    words     how it is told: the data it learns from
    item      what a time step holds: token, time step
    unit      of the loss: nats per token, squared error
    cut       whether batches are windows cut out of longer sequences, so that a border cuts a gradient off
    tokens, vocab    of a text: what measures of texts alone read
    """

    words, item = "the data it learns from", "time step"
    tokens: Any = None
    vocab: Any = None

    def __init__(self, task: Task, remade: Callable[..., Task]):
        self.task, self.remade = task, remade
        self.unit = task.metrics[0].unit or "loss"
        self._made: tuple[dict[str, int], Task] = {}, task  # the one that was asked for last: it may be read from files
        self.cut = bool(getattr(task.batches, "cut", task.batches.carried))

    @property
    def room(self) -> int:
        """How many time steps there are, in all lanes together."""
        return self.task.batches.num_windows * int(self.task.config.num_steps * self.task.config.batch_size)

    @property
    def sequences(self) -> int:
        """How many there are, about, where batches are made of whole ones."""
        return self.task.batches.num_windows * int(self.task.config.batch_size)

    def fitted(self, usual: Sizes, given: Sizes) -> Sizes:
        """What is asked for as it is, else what is usual for a measure, else as in training. Where windows are cut out
        of longer sequences, what was not asked for shrinks until these are long enough: lanes first, then windows, then
        time steps. ConfigError for a size that the task has no use for."""
        config = self.task.config
        if not self.cut:
            if given.seq_len and "num_steps" in self.task.unused:
                raise ConfigError(f"`seq_len`: the task {self.task.name} reads sequences as long as they are")
            sizes = Sizes(given.windows or usual.windows, given.seq_len or config.num_steps,
                          given.batch_size or usual.batch_size or config.batch_size)  # fmt: skip
            return sizes._replace(windows=min(sizes.windows or 1, self.batches(sizes).num_windows))
        return shrunk(usual, given, config, self.room)

    def batches(self, sizes: Sizes = Sizes()) -> Batches:  # noqa: B008
        """From the first on."""
        config, asked = self.task.config, {}
        if sizes.seq_len and sizes.seq_len != config.num_steps:
            asked["num_steps"] = sizes.seq_len
        if sizes.batch_size and sizes.batch_size != config.batch_size:
            asked["batch_size"] = sizes.batch_size
        if asked and asked != self._made[0]:
            self._made = asked, self.remade(**asked)
        batches = (self._made[1] if asked else self.task).batches
        batches.epoch, batches.window, batches.state = 0, 0, None
        return batches

    def carrying(self) -> Batches:
        """As in training: on these it is judged how far a gradient gets."""
        return self.batches()

    def loss(self, model: Any) -> float:
        """The mean loss of a network in evaluation mode over some batches; the first one is left out if there are more
        and it starts from the initial state, which most of the data does not."""
        batches, found = self.batches(), []
        for _ in range(min(READ, batches.num_windows)):
            with no_tape():
                inputs, targets, state = batches.next()
                loss, last = model.loss(inputs, targets, state)
                batches.carry(last)
            found.append((loss.item(), getattr(batches, "weight", 1.0)))
        losses, weights = np.array(found[1:] if batches.carried and len(found) > 1 else found).T
        return float((losses * weights).sum() / weights.sum())

    def beside(self) -> list[Beside]:
        """What takes no learning, the better one first."""
        known = self.task.baselines.get(self.task.metrics[0].name)
        return [Beside("baseline", *known)] if known else []

    def memory(self, config: Any) -> int:
        """Bytes of a training update, roughly; 0 where that is not known."""
        return 0

    def require_memory(self, model: Any, sizes: Sizes) -> None:
        """ConfigError where windows of these sizes ask for more memory than there is."""


def shrunk(usual: Sizes, given: Sizes, config: Any, room: int) -> Sizes:
    """Sizes for which so many time steps, of all lanes together, are enough."""
    windows = given.windows or usual.windows or 1
    seq_len = int(given.seq_len or usual.seq_len or config.num_steps)
    batch_size = int(given.batch_size or usual.batch_size or config.batch_size)
    if given.batch_size is None:
        batch_size = max(1, min(batch_size, room // (windows * seq_len)))
    if given.windows is None:
        windows = max(1, min(windows, room // (batch_size * seq_len)))
    if given.seq_len is None:
        seq_len = max(2, min(seq_len, room // (batch_size * windows)))
    return Sizes(windows, seq_len, batch_size)
