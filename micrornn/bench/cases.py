"""What is timed: shapes of single layers, and whole models in training. Plain data: whoever runs another framework in
another process reads this file too, so no kernel is imported with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from micrornn.config import TIMED_CELLS

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
# A first look: small, the usual size, odd, large.
USUAL = [(8, 50, 64, 64), (32, 50, 128, 128), (13, 37, 77, 77), (20, 35, 650, 650)]


LR = 1e-3  # of Adam, in all models
LENGTH = 100  # characters that are drawn at a time


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
        rows = gates_of(self.cell) * self.hidden
        return 3 * 2.0 * self.steps * self.batch * rows * (self.input + self.hidden)


def gates_of(cell: str) -> int:
    """How many gates a cell has."""
    from micrornn.cells import find_cell

    return len(find_cell(cell).gates)


@dataclass(frozen=True)
class Model:
    """Whole updates of a language model of LSTM layers: embedding, layers, softmax, clipping, Adam.

    level    char or word: which text it reads
    vocab    how many different tokens that has, at most
    """

    name: str
    level: str
    vocab: int
    embedding: int
    layers: int
    hidden: int
    batch: int
    steps: int

    @property
    def tokens(self) -> int:
        """Per update."""
        return self.batch * self.steps

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products of an update: layers and the projection to logits."""
        inputs = self.embedding + (self.layers - 1) * self.hidden
        weights = (
            gates_of(TIMED_CELLS[-1]) * self.hidden * (inputs + self.layers * self.hidden) + self.hidden * self.vocab
        )
        return 3 * 2.0 * self.tokens * weights


LAYERS = [Layer(cell, *shape) for shape in GRID + AGAINST for cell in TIMED_CELLS]
MODELS = [
    Model("char LSTM 2 x 128", "char", 65, 64, 2, 128, 50, 50),
    Model("char LSTM 2 x 512", "char", 65, 64, 2, 512, 50, 50),
    Model("word LSTM 2 x 200", "word", 10_000, 200, 2, 200, 20, 20),
]
# Sixteen times as many time steps, sixteen times as many lanes: does an update take sixteen times as long?
GROWTH = {
    "time steps": [Model(f"{steps} time steps", "char", 65, 64, 1, 128, 32, steps) for steps in (16, 32, 64, 128, 256)],
    "lanes": [Model(f"{lanes} lanes", "char", 65, 64, 1, 128, lanes, 32) for lanes in (16, 32, 64, 128, 256)],
}


def to_message(case: Layer | Model) -> dict[str, Any]:
    return {"kind": type(case).__name__, **asdict(case)}


def from_message(message: dict[str, Any]) -> Layer | Model:
    kinds: dict[str, Any] = {"Layer": Layer, "Model": Model}
    case: Layer | Model = kinds[message["kind"]](**{name: v for name, v in message.items() if name != "kind"})
    return case
