"""The echo: of random bits, say at each time step the one that came some steps before.

    input     1 0 0 1 1 0 1
    target    . . . 1 0 0 1      (an echo of 3)

In step, on long sequences in lanes; the state is carried, or what lies before a window could not be known. The first
targets of a lane, which echo nothing, are 0. A network that knows nothing has a loss of ln 2.

After Hallstrom, How to build a Recurrent Neural Network in TensorFlow, 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.config import MOST, Config, setting
from micrornn.errors import ConfigError, counted
from micrornn.ops import binary_cross_entropy, cross_entropy
from micrornn.tasks.made import Bits
from micrornn.tasks.parts import Features, defaults
from micrornn.tasks.task import VALIDATION, Metric, Slices, State


@dataclass(frozen=True)
@defaults(cell="rnn", batch_size=5, num_steps=15, hidden_size=16)
class EchoSettings(Config):
    """Of Config: windows of num_steps in batch_size lanes."""

    echo: int = setting(3, "How many time steps the echo comes later.", low=0, cap=MOST)
    length: int = setting(50_000, "Bits that are made to learn from, in all lanes together.", low=1, cap=MOST)
    joined: bool = setting(
        False, "The lanes are pieces of one sequence: a lane begins with echoes of what the lane before ended with, "
        "which cannot be known.",
    )  # fmt: skip
    renewed: bool = setting(False, "Make other bits for each epoch.")
    output: str = setting(
        "sigmoid", "One number, through a sigmoid, or one for each of the two bits, through softmax.",
        choices=("sigmoid", "softmax"),
    )  # fmt: skip


class Renewed(Slices):
    """Slices of other arrays in each epoch: make(epoch) -> (inputs, targets), always the same for an epoch."""

    def __init__(self, make: Callable[[int], tuple[np.ndarray, np.ndarray]], num_steps: int, carried: bool):
        super().__init__(*make(0), num_steps, carried)
        self.make, self.made = make, 0

    def next(self) -> tuple[Any, Any, State | None]:
        epoch = self.epoch + (self.window == self.num_windows)
        if epoch != self.made:
            self.inputs, self.targets = self.make(epoch)
            self.made = epoch
        return super().next()


class Echo(Bits):
    name, about = "echo", "in step: the bit that came some time steps before, made on the fly"
    Settings = EchoSettings
    config: EchoSettings
    batches: Slices
    uses = ("num_steps", "loss", "state")
    shape = (*Bits.shape, "output")
    metrics = (Metric("loss", "nats per bit"), *Bits.metrics[1:])

    def __init__(self, config: EchoSettings, data: None = None):
        super().__init__(config)
        if config.length // config.batch_size < config.num_steps:
            raise ConfigError(
                f"`length={config.length}` is too short for {counted(config.batch_size, 'lane')} of "
                f"{counted(config.num_steps, 'time step')}"
            )
        steps, carried = config.length // config.batch_size, config.state == "carried"
        self.batches = (
            Renewed(lambda epoch: self._bits(steps, epoch), config.num_steps, carried)
            if config.renewed
            else Slices(*self._bits(steps, 0), config.num_steps, carried)
        )
        self.fingerprint = "echo, made by version 1"

    def _bits(self, steps: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (steps, batch_size, 1); targets of the same shape, for softmax whole numbers (steps, batch_size)."""
        config = self.config
        bits = np.random.default_rng([config.seed, epoch]).integers(0, 2, (steps, config.batch_size, 1))
        bits, echo = bits.astype(config.dtype), np.zeros_like(bits, config.dtype)
        echo[config.echo :] = bits[: max(0, steps - config.echo)]
        if config.joined and 0 < config.echo <= steps:
            echo[: config.echo, 1:] = bits[steps - config.echo :, :-1]
        return bits, echo if config.output == "sigmoid" else echo[..., 0].astype(np.int32)

    def validation(self) -> Slices:
        steps = self.config.length // self.config.batch_size // 10
        bits = self._bits(max(steps, self.config.num_steps), VALIDATION)
        return Slices(*bits, self.config.num_steps, carried=self.config.state == "carried")

    def network(self) -> Features:
        if self.config.output == "softmax":
            return Features(self.config, 1, 2, cross_entropy)
        return Features(self.config, 1, 1, binary_cross_entropy)

    def drawing(self) -> str:
        rows = {"input": self.batches.inputs, "target": self.batches.targets}
        lines = [
            f"{name:<8}" + " ".join(str(int(bit)) for bit in row[:30, 0].ravel()) + " ..." for name, row in rows.items()
        ]
        return "\n".join(lines) + f"\nan echo of {counted(self.config.echo, 'time step')}; lane 1"
