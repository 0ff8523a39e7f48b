"""Copy memory: read some symbols, wait, and say them again at a sign.

    input     c a b . . . . ! . . .
    target    . . . . . . . . c a b

In step, on data made on the fly. Who says nothing until the sign and then guesses has a loss of n ln a / T, of n
symbols out of an alphabet of a, in sequences of T time steps.

Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997; with these sizes in Arjovsky, Shah,
Bengio, Unitary Evolution Recurrent Neural Networks, 2016, arXiv:1511.06464, section 5.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.config import Config, setting
from micrornn.errors import ConfigError, DataError, counted, quoted
from micrornn.ops import cross_entropy
from micrornn.tasks.classes import shares
from micrornn.tasks.made import Made
from micrornn.tasks.parts import Features, defaults
from micrornn.tasks.task import Metric


@dataclass(frozen=True)
@defaults(cell="gru", num_steps=20, hidden_size=64, lr=0.01)
class CopySettings(Config):
    """num_steps is the length of a sequence, twice the symbols and the wait between."""

    symbols: int = setting(5, "How many symbols are to be remembered.", low=1, high=10**6)
    alphabet: int = setting(8, "How many different symbols there are.", low=2, high=1000)


class Copy(Made):
    name, about = "copy", "in step: say some symbols again after a wait, made on the fly"
    Settings = CopySettings
    uses = ("num_steps", "loss")
    shape = (*Made.shape, "alphabet")
    takes = "symbols by their numbers from 0 on, such as 3 1 0"
    metrics = (Metric("loss", "nats per time step"), Metric("recalled", "", "higher"))
    config: CopySettings
    num_held_out = 5

    def __init__(self, config: CopySettings, data: None = None):
        super().__init__(config)
        if config.num_steps < 2 * config.symbols + 1:
            raise ConfigError(
                f"`num_steps` is {config.num_steps:,}; to say {counted(config.symbols, 'symbol')} again after a sign "
                f"takes {2 * config.symbols + 1:,}"
            )
        self.baseline = ("by guessing at the sign", config.symbols * math.log(config.alphabet) / config.num_steps)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (seq_len, batch_size, alphabet + 2), one 1 in each row: a symbol, nothing, or the sign; and targets
        (seq_len, batch_size), where the number `alphabet` stands for nothing."""
        config = self.config
        symbols = rng.integers(0, config.alphabet, (config.symbols, config.batch_size))
        said = np.full((config.num_steps, config.batch_size), config.alphabet, np.int32)
        said[-config.symbols :] = symbols
        return self._heard(symbols), said

    def _heard(self, symbols: np.ndarray) -> np.ndarray:
        """The inputs for the symbols (n, batch_size)."""
        nothing, sign = self.config.alphabet, self.config.alphabet + 1
        heard = np.full((self.config.num_steps, symbols.shape[1]), nothing, np.int32)
        heard[: len(symbols)], heard[-len(symbols) - 1] = symbols, sign
        return np.eye(sign + 1, dtype=self.config.dtype)[heard]

    def network(self) -> Features:
        return Features(self.config, self.config.alphabet + 2, self.config.alphabet + 1, cross_entropy)

    def scores(self, model: Features, inputs: Any, targets: Any, state: Any) -> dict[str, tuple[float, float]]:
        """The share of the symbols that are said rightly."""
        n = self.config.symbols
        right = device.host(model(inputs, state)[0].data)[-n:].argmax(2) == targets[-n:]
        return {"recalled": (right.sum(), right.size)}

    @property
    def baselines(self) -> dict[str, tuple[str, float]]:
        assert self.baseline is not None
        return {"loss": self.baseline, "recalled": ("by guessing", 1 / self.config.alphabet)}

    def parse(self, line: str) -> np.ndarray:
        """Symbols by their numbers, from 0 on, such as 3 1 0."""
        symbols, size = line.replace(",", " ").split(), self.config.alphabet
        wanted = [str(n) for n in range(size)]
        usual = " ".join(str(n % size) for n in range(min(self.config.symbols, 10)))
        if len(symbols) != self.config.symbols or set(symbols) - set(wanted):
            count = counted(self.config.symbols, "number")
            raise DataError(f"{quoted(line)}: wanted {count} in 0..{size - 1}, such as {usual}")
        return np.array([int(n) for n in symbols])

    def encode(self, example: np.ndarray) -> np.ndarray:
        return self._heard(example[:, None])

    def answer(self, outputs: np.ndarray, example: np.ndarray, proba: bool) -> dict[str, Any]:
        """What is said behind the sign, of the symbols that there are; as probabilities, of what was said."""
        each = shares(outputs[-self.config.symbols :, : self.config.alphabet])
        found: dict[str, Any] = {"answer": " ".join(map(str, each.argmax(axis=1)))}
        return found | ({"probabilities": each.max(axis=1).tolist()} if proba else {})

    def drawing(self) -> str:
        inputs, targets = self.draw(np.random.default_rng(0))
        names = [chr(ord("a") + n) if n < 26 else "#" for n in range(self.config.alphabet)] + [".", "!"]
        rows = {"input": inputs[:, 0].argmax(axis=1), "target": targets[:, 0]}
        lines = [f"{name:<8}" + "".join(names[n] for n in row) for name, row in rows.items()]
        return "\n".join(line if len(line) <= 76 else f"{line[:40]} ... {line[-31:]}" for line in lines)
