"""The adding problem: of two rows of numbers, one random and one that marks two of them, say the sum of these two.

    values     0.3  0.9  0.2  0.7  0.5  0.1
    markers     0    1    0    0    1    0      -> 1.4

Many to one, on data made on the fly. A network that always says the mean has a squared error of 1/6.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997, section 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.config import MOST, Config, setting
from micrornn.data.sequences import Padded, on_side
from micrornn.errors import ConfigError, DataError, quoted
from micrornn.ops import mean_squared_error, tanh
from micrornn.tasks.made import Made
from micrornn.tasks.parts import Features, defaults, number, pad_side
from micrornn.tasks.task import Metric

CLOSE = 0.04  # a sum counts as solved where the error is less, as in the paper


@dataclass(frozen=True)
@defaults(num_steps=50, hidden_size=32, lr=0.003)
class AddingSettings(Config):
    """num_steps is the length of a sequence, or of the longest."""

    markers: str = setting(
        "halves", "Where the two marked numbers lie: one in each half of the sequence (halves), or one in the first "
        "tenth and one in the second half (ends), which is further apart.",
        choices=("halves", "ends"),
    )  # fmt: skip
    shortest: int = setting(
        0,
        "Time steps of the shortest sequences; the longest have `num_steps`. 0: all have `num_steps`.",
        low=0,
        cap=MOST,
    )
    pad: str = pad_side()
    centred: bool = setting(False, "Subtract from both inputs and from the sums their mean over the batch.")
    output: str = setting(
        "linear", "The output as it is, or through tanh, which suits centred sums.", choices=("linear", "tanh")
    )
    num_batches: int = setting(100, "Batches of an epoch.", low=1, cap=MOST)


class Adding(Made):
    name, about = "adding", "many to one: the sum of two marked numbers among random ones, made on the fly"
    Settings = AddingSettings
    config: AddingSettings
    uses = ("num_steps", "bidirectional")
    per_step = False
    takes = "numbers, two of them marked by a *, such as 0.3 0.9* 0.2 0.5*"
    metrics = (Metric("loss", "squared error"), Metric("solved", f"of the sums to within {CLOSE}", "higher"))

    def __init__(self, config: AddingSettings, data: None = None):
        for name, steps in (("`num_steps`", config.num_steps), ("`shortest`", config.shortest)):
            if steps == 1:
                raise ConfigError(f"{name} is 1; the task adding marks two numbers of each sequence")
        if config.shortest > config.num_steps:
            raise ConfigError(
                f"`shortest={config.shortest:,}`: no sequence is longer than `num_steps={config.num_steps:,}`"
            )
        self.num_batches = config.num_batches
        super().__init__(config)
        sums = np.concatenate([targets for _, targets in self.held_out()])
        words, mean = "by always saying the mean", sums.mean()
        self.baseline = (words, float(sums.var()))
        self._solved = words, float((np.abs(sums - mean) < CLOSE).mean())

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray | Padded, np.ndarray]:
        """Inputs (seq_len, batch_size, 2), padded if lengths differ, and sums (batch_size, 1)."""
        inputs, sums, mask = self._sequences(rng)
        if self.config.centred:
            inputs -= inputs[mask].mean(axis=0)
            sums = sums - sums.mean()
        targets = sums[:, None].astype(self.config.dtype)
        return (Padded(inputs, mask) if self.config.shortest else inputs), targets

    def _sequences(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Values and marks (seq_len, batch_size, 2), the sums (batch_size,), and what is no padding."""
        longest, lanes, shortest = self.config.num_steps, self.config.batch_size, self.config.shortest
        every = np.arange(lanes)
        length = rng.integers(shortest, longest + 1, lanes) if shortest else np.full(lanes, longest)
        values, marks = rng.random((longest, lanes)), np.zeros((longest, lanes))
        half = length // 2
        first = half if self.config.markers == "halves" else np.maximum(1, length // 10)
        places = rng.integers(0, first), rng.integers(half, length)
        for place in places:
            marks[place, every] = 1
        mask = np.arange(longest)[:, None] < length
        inputs, mask = on_side(self.config.pad, np.stack([values, marks], axis=2), mask)
        return inputs, (values * marks).sum(axis=0), mask

    def network(self) -> Features:
        activation = tanh if self.config.output == "tanh" else None
        return Features(self.config, 2, 1, mean_squared_error, read="last", activation=activation)

    def scores(self, model: Features, inputs: Any, targets: Any, state: Any) -> dict[str, tuple[float, float]]:
        near = np.abs(device.host(model(inputs, state)[0].data) - targets) < CLOSE
        return {"solved": (near.sum(), near.size)}

    @property
    def baselines(self) -> dict[str, tuple[str, float]]:
        return dict(super().baselines) | {"solved": self._solved}

    def parse(self, line: str) -> np.ndarray:
        """Numbers, of which two are marked by a *, such as 0.3 0.9* 0.2 0.5*."""
        words = line.replace(",", " ").split()
        if sum(word.endswith("*") for word in words) != 2:
            raise DataError(f"{quoted(line)}: wanted {self.takes}")
        values = [number(word.removesuffix("*")) for word in words]
        return np.array([values, [word.endswith("*") for word in words]], self.config.dtype).T

    def encode(self, example: np.ndarray) -> np.ndarray:
        """Of centred batches the means are those that numbers and markers have in all of them."""
        means = (0.5, 2 / len(example)) if self.config.centred else (0, 0)
        return (example - np.array(means, example.dtype))[:, None]

    def answer(self, outputs: np.ndarray, example: np.ndarray, proba: bool) -> dict[str, Any]:
        return {"answer": round(float(outputs[0]) + self.config.centred, 6)}

    def drawing(self) -> str:
        """The shortest sequence of a batch: how it begins, and, where it is padded, how it ends."""
        inputs, sums, mask = self._sequences(np.random.default_rng(0))
        values, marks = inputs[..., 0], inputs[..., 1]
        b, steps = int(mask.sum(axis=0).argmin()), len(values)
        padding = steps - int(mask[:, b].sum())
        shown = [*range(min(6, steps)), *range(max(6, steps - 6), steps)] if padding else [*range(min(12, steps))]
        rows = ["value  ", "marker ", "valid  "][: 3 if padding else 2]
        for before, t in zip([-1, *shown], shown):
            texts = (f"{values[t, b]:4.2f}", f"{marks[t, b]:4.0f}", f"{mask[t, b]:4.0f}")
            rows = [row + (" ..." if t > before + 1 else "") + " " + text for row, text in zip(rows, texts)]
        if shown[-1] + 1 < steps:
            rows = [row + " ..." for row in rows]
        where = " and ".join(f"{t + 1:,}" for t in np.flatnonzero(marks[:, b]))
        centred = ", all less their mean over the batch" if self.config.centred else ""
        return "\n".join([*rows, f"marked: time steps {where}; target: {sums[b]:.2f}{centred}"])
