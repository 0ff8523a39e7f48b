"""What tasks share whose data is made on the fly.

Made       batches drawn from a seed, held-out ones, and a baseline over them
shares     logits to probabilities
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from micrornn.tasks.task import VALIDATION, Drawn, Task


class Made(Task):
    """A task whose batches are drawn: a subclass says `draw(rng) -> (inputs, targets)`, what its network is, and for
    `predict` what a line of input holds."""

    uses: ClassVar[Sequence[str]] = ("num_steps",)
    num_batches: ClassVar[int] = 100  # of an epoch
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


def shares(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    found = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))
