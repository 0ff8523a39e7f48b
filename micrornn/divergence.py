"""When a training is given up: at numbers that are not finite, and at losses from which no run recovers.

Divergence          checks each update of a model
in_validation       what blows up first when the held-out part is read
advice, safe_lr     what to do about a run that diverged, and a learning rate to do it with
largest             the largest absolute value of an array
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn import device
from micrornn.bptt import Step
from micrornn.config import Config
from micrornn.errors import counted
from micrornn.inspect.nonfinite import LOST, Blown, blown
from micrornn.inspect.words import number
from micrornn.tape import Tape
from micrornn.tasks import Batches

# A run is given up after LOST_UPDATES updates in a row with a loss above LOST, if a weight is above LARGE_WEIGHT then.
# With smaller weights it may still recover: an rnn_relu that starts from the identity can lose 60 updates and then
# learn.
LOST_UPDATES, LARGE_WEIGHT = 10, 100.0
SAFE_LR = 0.01  # the largest rate that is advised to a run that diverged


class Divergence:
    """Checks each update of a model before the weights change."""

    def __init__(self, model: Any):
        self.model = model
        self.lost, self.lost_first = 0, ""  # updates in a row with a loss above LOST; what blew up at the first

    def found(self, window: Step, value: float, norm: float, update: int) -> str:
        """What is wrong with this update, and in a second line what blew up first; empty if nothing is wrong."""
        if not (math.isfinite(value) and math.isfinite(norm)):
            what = f"loss is {value}" if not math.isfinite(value) else f"gradient's norm is {norm}"
            found, limit = window.blown(), None
            if found is None:  # every number is finite, but the square of one is not
                limit = math.sqrt(np.finfo(self.model.flat.data.dtype).max)
            found = found or window.blown(limit)
            if found is None and self.model.config.device != "cpu":
                return f"the {what}\nthe processor, which computed this window again, finds nothing that blows up"
            return f"the {what}\n{_first(found, limit)}"
        self.lost = self.lost + 1 if value > LOST else 0
        if self.lost == 1:
            self.lost_first = _first(window.blown(LOST), LOST, f", at update {update}")
        if self.lost < LOST_UPDATES:
            return ""
        sizes = {name: largest(p.data) for name, p in self.model.flat.parameters.items()}
        name = max(sizes, key=lambda name: sizes[name])
        if sizes[name] < LARGE_WEIGHT:
            return ""
        return (
            f"the loss is {number(value)} nats, for {counted(self.lost, 'update')} it was above {LOST:.0f}, and {name} "
            f"has values of {number(sizes[name])}\n"
            f"{self.lost_first}"
        )


def _first(found: Blown | None, limit: float | None = None, when: str = "") -> str:
    """The second line of an error: what blew up first."""
    what = "blow up" if limit is None else f"be larger than {limit:.3g}"
    return f"first to {what}{when}: {found.words() if found else 'unknown'}"


def in_validation(model: Any, batches: Batches) -> str:
    """A second line for an error: what blows up first when the held-out part is read."""
    model = model if model.config.device == "cpu" else model.copy(device="cpu")
    for _ in range(batches.num_windows):
        inputs, targets, state = batches.next()
        with Tape() as tape:
            loss, last = model.loss(inputs, targets, state)
        batches.carry(last)
        found = blown(tape, loss)
        if found is not None:
            return "\n" + _first(found)
    return ""


def largest(array: Any) -> float:
    """The largest absolute value; NaN if a number is NaN."""
    return float(np.abs(device.host(array)).max())


def advice(config: Config) -> str:
    """What to do about a run that diverged."""
    return "Lower `lr`" + ("" if config.clip_norm else ", or limit the gradient with `clip_norm`")


def safe_lr(config: Config) -> float:
    """A learning rate to go on with where a run diverged."""
    return min(config.lr / 10, SAFE_LR)
