"""One to one: from two numbers, which of two classes; no time, and no recurrent layer. The network is feed-forward, on
the same tape, with the same optimizers, checkpoints and checks as all others.

    x1, x2 -> linear, tanh -> linear, tanh -> linear -> class

xor       the class is 1 where the signs of both numbers differ: no straight line parts the classes
spirals   two spirals, one inside of the other
rings     a disc and the ring around it

Data is made on the fly. A network that knows nothing has a loss of ln 2.

Spirals: Lang, Witbrock, Learning to tell two spirals apart, Connectionist Models Summer School, 1988.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.config import Config, setting
from micrornn.errors import DataError, quoted
from micrornn.layers import Dropout, Linear
from micrornn.ops import binary_cross_entropy, relu, tanh
from micrornn.tape import Tensor
from micrornn.tasks.classes import Classifying
from micrornn.tasks.made import Made
from micrornn.tasks.parts import Network, defaults, numbers
from micrornn.tasks.task import Metric


@dataclass(frozen=True)
@defaults(num_layers=2, hidden_size=32, batch_size=64, lr=0.01)
class OneToOneSettings(Config):
    """num_layers hidden layers of hidden_size units."""

    data: str = setting("spirals", "Which points to tell apart.", choices=("xor", "spirals", "rings"))
    activation: str = setting("tanh", "What each hidden unit applies.", choices=("tanh", "relu"))
    noise: float = setting(0.02, "Deviation of the noise that is added to each point.", low=0, high=1e6)


class FeedForward(Network):
    """x (batch_size, input_size) -> num_layers times linear and activation -> linear: (batch_size, output_size)."""

    rnn = None  # no recurrent layers

    def __init__(self, config: OneToOneSettings, input_size: int, output_size: int):
        seeds = self.begin(FeedForward, config, input_size, output_size, seeds=config.num_layers + 2)
        dtype = np.dtype(config.dtype).type
        widths = [input_size] + [config.hidden_size] * config.num_layers
        self.hidden = [Linear(a, b, seed=s, dtype=dtype) for a, b, s in zip(widths, widths[1:], seeds)]
        self.dropout = Dropout(config.dropout, seed=seeds[-2])
        self.output = Linear(widths[-1], output_size, seed=seeds[-1], dtype=dtype)
        self.activation = {"tanh": tanh, "relu": relu}[config.activation]
        self.end()

    def __call__(self, inputs: np.ndarray, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        data = self.flat.data
        y = Tensor(kernels.of(data).asarray(np.asarray(inputs, data.dtype)))
        for layer in self.hidden:
            y = self.activation(layer(y))
        return self.output(self.dropout(y)), ()

    def loss(self, inputs: np.ndarray, targets: np.ndarray, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The mean loss, and no state."""
        return binary_cross_entropy(self(inputs)[0], targets=targets), ()


class OneToOne(Made, Classifying):
    name, about = "onetoone", "one to one: which of two classes a point belongs to, without time, made on the fly"
    Settings = OneToOneSettings
    config: OneToOneSettings
    uses = ()
    unused = (
        *Made.unused, "num_steps", "cell", "forget_bias", "granularity", "clip_message", "watch_gradients",
        "init_recurrent", "backprop",
    )  # fmt: skip
    takes = "two numbers, such as 0.3 -0.5"
    unit = "points"
    metrics = (Metric("loss", "nats per point"), *Classifying.metrics[1:])
    labels = ("0", "1")
    seq_len = 1

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Points (batch_size, 2), from -1 to 1 but for the noise, and their classes (batch_size, 1): 0 or 1."""
        count, dtype = self.config.batch_size, self.config.dtype
        if self.config.data == "xor":
            points = rng.uniform(-1, 1, (count, 2))
            classes = points[:, 0] * points[:, 1] < 0
        else:
            classes = rng.integers(0, 2, count) == 1
            share = rng.random(count)
            if self.config.data == "spirals":  # one turn and three quarters, as in the paper
                angle, radius = 3.5 * np.pi * share + np.pi * classes, 0.1 + 0.9 * share
            else:
                angle, radius = 2 * np.pi * rng.random(count), np.where(classes, 0.7 + 0.3 * share, 0.5 * share)
            points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points = points + rng.normal(0, self.config.noise, points.shape)
        return points.astype(dtype), classes[:, None].astype(dtype)

    def network(self) -> FeedForward:
        return FeedForward(self.config, 2, 1)

    def parse(self, line: str) -> np.ndarray:
        values = numbers(line)
        if len(values) != 2:
            raise DataError(f"{quoted(line)}: wanted {self.takes}")
        return np.array(values)

    def encode(self, example: np.ndarray) -> np.ndarray:
        return example[None]

    def told(self, model: FeedForward) -> dict[str, str]:
        b, h, n = self.config.batch_size, self.config.hidden_size, self.config.num_layers
        layers = f"{n} x (linear, {self.config.activation})"
        return super().told(model) | {"shapes": f"({b}, 2) -> {layers} -> ({b}, {h}) -> linear -> ({b}, 1)"}

    def drawing(self) -> str:
        """The points of a few batches on a small map: o of one class, x of the other."""
        wide, high = 41, 17
        cells = [[" "] * wide for _ in range(high)]
        for n in range(6):
            for (x, y), (kind,) in zip(*self.draw(np.random.default_rng(n))):
                column, row = round((x + 1.1) / 2.2 * (wide - 1)), round((1.1 - y) / 2.2 * (high - 1))
                if 0 <= column < wide and 0 <= row < high:
                    cells[row][column] = "x" if kind else "o"
        return "\n".join("".join(row).rstrip() for row in cells)
