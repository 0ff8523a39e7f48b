"""What is measured: shapes of single layers, and whole models in training.

A case is plain data, so that it can be sent to a process that knows nothing but one framework.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

CELLS = ("rnn", "gru", "lstm")

# (batch, time steps, input, hidden)
GRID = [
    (1, 50, 32, 32),
    (8, 50, 64, 64),
    (32, 50, 128, 128),
    (32, 100, 128, 128),
    (50, 50, 128, 128),
    (20, 20, 200, 200),
    (100, 55, 2, 100),
    (20, 35, 650, 650),
    (128, 50, 512, 512),
]
# Chosen against ourselves: nothing is a multiple of a vector or a tile; and one lane with weights of 16 MB.
AGAINST = [(13, 37, 77, 77), (1, 50, 1024, 1024)]


@dataclass(frozen=True)
class Layer:
    """Forward and backward of one recurrent layer, all gradients included."""

    cell: str
    batch: int
    steps: int
    input: int
    hidden: int

    @property
    def name(self) -> str:
        return f"{self.cell} {self.batch},{self.steps},{self.input},{self.hidden}"

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products: two each way of the forward's, three times in all."""
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[self.cell]
        return 3 * 2.0 * self.steps * self.batch * gates * self.hidden * (self.input + self.hidden)


@dataclass(frozen=True)
class Model:
    """Whole updates of a language model: embedding, layers, softmax, clipping, optimizer."""

    name: str
    vocab: int
    embedding: int
    layers: int
    hidden: int
    batch: int
    steps: int


LAYERS = [Layer(cell, *shape) for shape in GRID + AGAINST for cell in CELLS]
MODELS = [
    Model("char LSTM 2 x 128", 65, 64, 2, 128, 50, 50),
    Model("char LSTM 2 x 512", 65, 64, 2, 512, 50, 50),
    Model("word LSTM 2 x 200", 10_000, 200, 2, 200, 20, 20),
]


def to_message(case: Layer | Model) -> dict[str, Any]:
    return {"kind": type(case).__name__, **asdict(case)}


def from_message(message: dict[str, Any]) -> Layer | Model:
    kinds = {"Layer": Layer, "Model": Model}
    return kinds[message["kind"]](**{key: value for key, value in message.items() if key != "kind"})
