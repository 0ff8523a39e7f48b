"""The echo: of random bits, say at each time step the one that came some steps before.

    input     1 0 0 1 1 0 1
    target    . . . 1 0 0 1      (an echo of 3)

In step, on one long sequence in lanes; the state is carried, or what lies before a window could not be known. The
first targets of all, which echo nothing, are 0. A network that knows nothing has a loss of ln 2.

After Hallstrom, How to build a Recurrent Neural Network in TensorFlow, 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from micrornn import device
from micrornn.config import MOST, Config, setting
from micrornn.errors import ConfigError
from micrornn.ops import binary_cross_entropy
from micrornn.tape import no_tape
from micrornn.tasks.parts import Features, usual
from micrornn.tasks.task import VALIDATION, Metric, Slices, Task


@dataclass(frozen=True)
class EchoSettings(Config):
    """Of Config: windows of num_steps in batch_size lanes."""

    cell: str = usual("cell", "rnn")
    batch_size: int = usual("batch_size", 5)
    num_steps: int = usual("num_steps", 15)
    hidden_size: int = usual("hidden_size", 16)
    echo: int = setting(3, "How many time steps the echo comes later.", low=0, high=MOST)
    length: int = setting(50_000, "Bits that are made to learn from, in all lanes together.", low=1, high=MOST)


class Echo(Task):
    name, about = "echo", "in step: the bit that came some time steps before, made on the fly"
    Settings = EchoSettings
    config: EchoSettings
    batches: Slices
    unused = (
        "lines",
        "embedding_size", "tied", "level", "encoding", "vocab_size", "bidirectional", "memory_budget", "val_fraction",
        "init_from",
    )  # fmt: skip
    metrics = (Metric("loss", "nats per bit"), Metric("accuracy", "", "higher"))

    def __init__(self, config: EchoSettings, data: None = None):
        super().__init__(config)
        if config.length // config.batch_size < config.num_steps:
            raise ConfigError(
                f"--set length={config.length} is too short for {config.batch_size:,} lanes of {config.num_steps:,} "
                "time steps"
            )
        self.batches = self._slices(config.length // config.batch_size, 0)
        self.fingerprint = "echo, made by version 1"
        self.baseline = ("by guessing", math.log(2))

    def _slices(self, steps: int, epoch: int) -> Slices:
        config = self.config
        bits = np.random.default_rng([config.seed, epoch]).integers(0, 2, (steps, config.batch_size, 1))
        bits, echo = bits.astype(config.dtype), np.zeros_like(bits, config.dtype)
        echo[config.echo :] = bits[: max(0, steps - config.echo)]
        return Slices(bits, echo, config.num_steps, carried=config.state == "carried")

    def validation(self) -> Slices:
        steps = self.config.length // self.config.batch_size // 10
        return self._slices(max(steps, self.config.num_steps), VALIDATION)

    def network(self) -> Features:
        return Features(self.config, 1, 1, binary_cross_entropy)

    def evaluate(self, model: Features) -> dict[str, float]:
        batches, right = self.validation(), []
        found = super().evaluate(model)
        for _ in range(batches.num_windows):
            inputs, targets, state = batches.next()
            with no_tape():
                logits, last = model(inputs, state)
            batches.carry(last)
            right.append(float(((device.host(logits.data) > 0) == (targets > 0.5)).mean()))
        return found | {"accuracy": float(np.mean(right))}

    def drawing(self) -> str:
        rows = {"input": self.batches.inputs, "target": self.batches.targets}
        lines = [
            f"{name:<8}" + " ".join(str(int(bit)) for bit in row[:30, 0, 0]) + " ..." for name, row in rows.items()
        ]
        return "\n".join(lines) + f"\nan echo of {self.config.echo} time steps; lane 1"
