"""Parity: of bits that come one by one, whether the number of ones is odd. In step, after each bit:

    input     1 0 1 1 0
    target    1 1 0 1 1

or at the end alone, of sequences of any length up to num_steps, which is harder: no bit may be forgotten, and nothing
tells whether the first ones were understood. The short ones among them are where learning begins.

Data is made on the fly. A network that knows nothing has a loss of ln 2.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, section 4, on why it is a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.config import Config, setting
from micrornn.data.sequences import Padded, on_side
from micrornn.ops import binary_cross_entropy
from micrornn.tasks.classes import Classifying
from micrornn.tasks.made import Bits, Made
from micrornn.tasks.parts import Features, defaults, pad_side
from micrornn.tasks.task import Metric


@dataclass(frozen=True)
@defaults(num_steps=20, hidden_size=32, lr=0.01)
class ParitySettings(Config):
    """num_steps is the greatest length of a sequence."""

    at: str = setting(
        "every", "When to answer: after every bit, or at the end of sequences of 1 to num_steps bits.",
        choices=("every", "end"),
    )  # fmt: skip
    pad: str = pad_side()


class Parity(Made, Bits):
    name, about = "parity", "in step, or at the end: whether the number of ones so far is odd, made on the fly"
    Settings = ParitySettings
    config: ParitySettings
    metrics = (Metric("loss", "nats per answer"), *Bits.metrics[1:])
    between = ""

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        return self.config.at == "every"

    @property
    def labels(self) -> Sequence[str]:  # type: ignore[override]
        return Bits.labels if self.per_step else ("even", "odd")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray | Padded, np.ndarray]:
        """Bits (seq_len, batch_size, 1), and targets of the same shape, or (batch_size, 1)."""
        length, lanes = self.config.num_steps, self.config.batch_size
        bits = rng.integers(0, 2, (length, lanes, 1)).astype(self.config.dtype)
        if self.per_step:
            return bits, (bits.cumsum(axis=0) % 2).astype(self.config.dtype)
        mask = np.arange(length)[:, None] < rng.integers(1, length + 1, lanes)
        bits *= mask[:, :, None]
        return on_side(self.config.pad, bits, mask), (bits.sum(axis=0) % 2).astype(self.config.dtype)

    def network(self) -> Features:
        return Features(self.config, 1, 1, binary_cross_entropy, read="every" if self.per_step else "last")

    def answer(self, outputs: np.ndarray, example: np.ndarray, proba: bool) -> dict[str, Any]:
        """In step a bit for each bit; else odd or even."""
        return (Bits if self.per_step else Classifying).answer(self, outputs, example, proba)

    def drawing(self) -> str:
        inputs, targets = self.draw(np.random.default_rng(0))
        lanes, shown = min(3, self.config.batch_size), min(24, self.config.num_steps)
        if not isinstance(inputs, Padded):
            rows = {"input": inputs, "target": targets}
            return "\n".join(
                f"{name:<8}" + " ".join(f"{int(bit)}" for bit in row[:shown, 0, 0]) for name, row in rows.items()
            )
        lines = []
        for n in range(lanes):
            bits = [
                str(int(bit)) if there else "." for bit, there in zip(inputs.values[:shown, n, 0], inputs.mask[:, n])
            ]
            lines.append(f"lane {n}   {' '.join(bits)}   -> {'odd' if targets[n, 0] else 'even'}")
        return "\n".join([*lines, ". padding, which is stepped over"])
