"""What a way to propagate back is: the interface that the training loop knows.

Way       reads batches, makes a Step of them, and keeps what it needs from update to update
Step      the text of one update: its loss, its gradient, the state it ends in
join      several batches as one
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from micrornn.backprop import Typed
from micrornn.config import MOST, Config
from micrornn.errors import CheckpointError, ConfigError
from micrornn.inspect.nonfinite import Blown
from micrornn.recompute import Segment, Segments
from micrornn.tasks.task import Batches, State


class Step(Protocol):
    """What an update reads. recompute.Segments is one.

    dloss    cotangent of the mean loss
    After `backward`: last, the state at the end; whole, all on one tape, if it is
    """

    dloss: float
    last: State
    whole: Segment | None

    def backward(self) -> float:
        """Put the gradient in the place of what is in `grad` of every parameter; the mean loss."""
        ...

    def blown(self, limit: float | None = None) -> Blown | None:
        """What blew up first, or is larger than the limit."""
        ...


class Way:
    """How gradients go back. A subclass says what is marked with *, and may say the rest.

    needs_carried    it goes on where the batch before ended: the state must be carried
    whole_windows    all of an update is one window on a tape, or in segments: it may be watched, and memory saved
    refused          settings that do not go with it: name -> why

    next(update)     * reads the batches of an update -> Step; from the same batches, a second time, the same
    commit(step)     the update is made: hand on the state
    batches_read     batches of the last `next`
    per_epoch        updates of an epoch; None where that is not known beforehand
    snapshot()       (arrays, meta) that a run needs to go on to the bit, besides the batches' state
    restore          the other way round
    """

    needs_carried: ClassVar[bool] = True
    whole_windows: ClassVar[bool] = False
    refused: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Config, model: Any, batches: Batches, segment_steps: int):
        self.config, self.model, self.batches, self.segment_steps = config, model, batches, segment_steps
        self.batches_read = 1
        self._require()
        self.prepare()

    def prepare(self) -> None:
        """Whatever is to be done once, before the first update."""

    def next(self, update: int) -> Step:
        raise NotImplementedError

    def commit(self, step: Any) -> None:
        self.batches.carry(step.last)

    @property
    def per_epoch(self) -> int | None:
        return self.batches.num_windows

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """CheckpointError where it is not what `snapshot` gives."""
        if arrays or meta:
            raise CheckpointError(f"the checkpoint holds more than `backprop={self.config.backprop}` keeps")

    # What subclasses use.

    @property
    def typed(self) -> Typed:
        return self.config.way

    def segments(self, inputs: Any, targets: Any, state: State | None, update: int, length: int = MOST) -> Segments:
        """A window as a Step, in segments of at most `length` time steps."""
        # the loss is the mean over time and lanes; the sum over time is that, times so many time steps
        dloss = len(inputs) if self.config.loss == "sum" else 1.0
        return Segments(self.model, inputs, targets, state, length=length, dloss=dloss, update=update)

    def _require(self) -> None:
        """ConfigError where data or settings do not go with this way."""
        way, config = f"`backprop={self.config.backprop}`", self.config
        if not getattr(self.batches, "cut", False):
            if self.config.way.name != "full" and self.config.backprop != "window":
                raise ConfigError(
                    f"{way} goes along a long sequence window by window, and here each batch is a whole sequence; "
                    "there is `backprop=full`"
                )
            return
        if self.needs_carried and not self.batches.carried:
            raise ConfigError(f"{way} goes on where the last batch ended; leave `state=fresh` out")
        if not self.whole_windows:
            if config.lines:
                raise ConfigError(f"{way}: with `lines` each line is a sequence of its own; leave one of the two out")
            if config.watch_gradients:
                raise ConfigError(f"`watch_gradients` needs `backprop=window`, not {config.backprop}")
            if config.memory_budget:
                raise ConfigError(f"`memory_budget` needs `backprop=window` or full, not {config.backprop}")
        for name, why in self.refused.items():
            if getattr(config, name) != Config.__dataclass_fields__[name].default:
                raise ConfigError(f"{way} does not go with `{name}`: {why}")


def left_of_epoch(batches: Batches) -> int:
    """Batches until the sequence ends, 1 or more."""
    return batches.num_windows - batches.window or batches.num_windows


def join(batches: Batches, count: int) -> tuple[Any, Any, State | None]:
    """The next `count` batches of an epoch one behind the other, and the state that the first starts from."""
    parts = []
    for _ in range(count):
        inputs, targets, state = batches.next()
        parts.append((np.array(inputs), np.array(targets), state))  # batches may fill the same arrays again
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), parts[0][2]
