"""What tasks share whose data is made on the fly.

Made    batches drawn from a seed, and held-out ones
Bits    a task that reads bits and answers with bits
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from micrornn.errors import DataError, quoted
from micrornn.tasks.classes import Classifying, shares
from micrornn.tasks.task import VALIDATION, Drawn, Task


class Made(Task):
    """A task whose batches are drawn: a subclass says `draw(rng) -> (inputs, targets)`, what its network is, and for
    `predict` what a line of input holds."""

    num_batches: int = 100  # of an epoch
    num_held_out: ClassVar[int] = 10  # batches
    version: ClassVar[int] = 1  # of what is drawn: a run goes on only where it is the same
    batches: Drawn

    def __init__(self, config: Any, data: None = None):
        super().__init__(config)
        self.batches = Drawn(self.draw, self.num_batches, config.seed)
        self.fingerprint = f"{self.name}, made by version {self.version}"

    def draw(self, rng: np.random.Generator) -> tuple[Any, Any]:
        raise NotImplementedError

    def validation(self) -> Drawn:
        return Drawn(self.draw, self.num_held_out, self.config.seed, epoch=VALIDATION)

    def held_out(self) -> list[tuple[Any, Any]]:
        """(inputs, targets) of all that is held out."""
        batches = self.validation()
        return [batches.next()[:2] for _ in range(batches.num_windows)]


class Bits(Classifying):
    """A sequence of bits is read, a bit at each time step; `between` stands between those of an answer."""

    labels = ("0", "1")
    takes = "bits, such as 1 0 1 or 101"
    between: ClassVar[str] = " "

    def parse(self, line: str) -> np.ndarray:
        bits = "".join(line.replace(",", " ").split())
        if not bits or set(bits) - set(Bits.labels):
            raise DataError(f"{quoted(line)}: wanted {self.takes}")
        return np.array([int(bit) for bit in bits], self.config.dtype)

    def encode(self, example: np.ndarray) -> np.ndarray:
        return example[:, None, None]

    def answer(self, outputs: np.ndarray, example: np.ndarray, proba: bool) -> dict[str, Any]:
        """A bit for each bit; as probabilities, those of a 1."""
        ones = shares(outputs)[..., 1]
        told = {"answer": self.between.join(self.labels[int(share > 0.5)] for share in ones)}
        return told | ({"probabilities": ones.tolist()} if proba else {})
