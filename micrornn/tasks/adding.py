"""The adding problem: of two rows of numbers, one random and one that marks two of them, say the sum of these two.

    values     0.3  0.9  0.2  0.7  0.5  0.1
    markers     0    1    0    0    1    0      -> 1.4

Many to one, on data made on the fly. A network that always says the mean has a squared error of 1/6.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, section 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micrornn.config import MOST, Config, setting
from micrornn.errors import ConfigError
from micrornn.ops import mean_squared_error
from micrornn.tasks.parts import Features, usual
from micrornn.tasks.task import VALIDATION, Drawn, Metric, Task

HELD_OUT = 10  # batches


@dataclass(frozen=True)
class AddingSettings(Config):
    """num_steps is the length of a sequence."""

    num_steps: int = usual("num_steps", 50)
    hidden_size: int = usual("hidden_size", 32)
    lr: float = usual("lr", 0.003)
    markers: str = setting(
        "halves", "Where the two marked numbers lie: one in each half of the sequence (halves), or one in the first "
        "tenth and one in the second half (ends), which is further apart.",
        choices=("halves", "ends"),
    )  # fmt: skip
    num_batches: int = setting(100, "Batches of an epoch.", low=1, high=MOST)


class Adding(Task):
    name, about = "adding", "many to one: the sum of two marked numbers among random ones, made on the fly"
    Settings = AddingSettings
    config: AddingSettings
    batches: Drawn
    unused = (
        "lines",
        "embedding_size", "tied", "level", "encoding", "vocab_size", "state", "memory_budget", "val_fraction",
        "init_from", "loss",
    )  # fmt: skip
    metrics = (Metric("loss", "squared error"),)

    def __init__(self, config: AddingSettings, data: None = None):
        super().__init__(config)
        if config.num_steps < 2:
            raise ConfigError("--num-steps is 1; the task adding marks two numbers of each sequence")
        self.batches = Drawn(self.draw, config.num_batches, config.seed)
        self.fingerprint = "adding, made by version 1"
        held_out = self.validation()
        sums = np.concatenate([held_out.next()[1] for _ in range(HELD_OUT)])
        self.baseline = ("by always saying the mean", float(sums.var()))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (seq_len, batch_size, 2) and sums (batch_size, 1)."""
        length, lanes = self.config.num_steps, self.config.batch_size
        half, every = length // 2, np.arange(lanes)
        values, marks = rng.random((length, lanes)), np.zeros((length, lanes))
        first = half if self.config.markers == "halves" else max(1, length // 10)
        places = rng.integers(0, first, lanes), rng.integers(half, length, lanes)
        for place in places:
            marks[place, every] = 1
        sums = values[places[0], every] + values[places[1], every]
        return np.stack([values, marks], axis=2), sums[:, None].astype(self.config.dtype)

    def validation(self) -> Drawn:
        return Drawn(self.draw, HELD_OUT, self.config.seed, epoch=VALIDATION)

    def network(self) -> Features:
        return Features(self.config, 2, 1, mean_squared_error, read="last")

    @property
    def num_losses(self) -> int:
        return self.config.batch_size

    def drawing(self) -> str:
        inputs, sums = self.draw(np.random.default_rng(0))
        t = np.flatnonzero(inputs[:, 0, 1])
        rows = [f"{name:<8}" + " ".join(cells) for name, cells in (
            ("value", [f"{v:4.2f}" for v in inputs[:12, 0, 0]]),
            ("marker", [f"{int(m):>4}" for m in inputs[:12, 0, 1]]),
        )]  # fmt: skip
        more = " ..." if len(inputs) > 12 else ""
        where = " and ".join(f"{n + 1:,}" for n in t)
        return "\n".join(row + more for row in rows) + f"\nmarked: time steps {where}; target: {sums[0, 0]:.2f}"
