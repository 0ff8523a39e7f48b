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

import numpy as np

from micrornn import device
from micrornn.config import Config, setting
from micrornn.errors import ConfigError
from micrornn.ops import cross_entropy
from micrornn.tape import no_tape
from micrornn.tasks.parts import Features, usual
from micrornn.tasks.task import VALIDATION, Drawn, Metric, Task

HELD_OUT = 5  # batches


@dataclass(frozen=True)
class CopySettings(Config):
    """num_steps is the length of a sequence, twice the symbols and the wait between."""

    num_steps: int = usual("num_steps", 40)
    hidden_size: int = usual("hidden_size", 64)
    lr: float = usual("lr", 0.003)
    symbols: int = setting(10, "How many symbols are to be remembered.", low=1, high=10**6)
    alphabet: int = setting(8, "How many different symbols there are.", low=2, high=1000)


class Copy(Task):
    name, about = "copy", "in step: say some symbols again after a wait, made on the fly"
    Settings = CopySettings
    unused = (
        "embedding_size", "tied", "level", "encoding", "vocab_size", "bidirectional", "state", "memory_budget",
        "val_fraction", "init_from",
    )  # fmt: skip
    metrics = (Metric("loss", "nats per time step"), Metric("recalled", "", "higher"))
    config: CopySettings
    batches: Drawn

    def __init__(self, config: CopySettings, data: None = None):
        super().__init__(config)
        if config.num_steps < 2 * config.symbols + 1:
            raise ConfigError(
                f"--num-steps is {config.num_steps:,}; to say {config.symbols:,} symbols again after a sign takes "
                f"{2 * config.symbols + 1:,}"
            )
        self.batches = Drawn(self.draw, 100, config.seed)
        self.fingerprint = "copy, made by version 1"
        self.baseline = ("by guessing at the sign", config.symbols * math.log(config.alphabet) / config.num_steps)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (seq_len, batch_size, alphabet + 2), one 1 in each row: a symbol, nothing, or the sign; and targets
        (seq_len, batch_size), where the number `alphabet` stands for nothing."""
        config = self.config
        n, nothing, sign = config.symbols, config.alphabet, config.alphabet + 1
        heard = np.full((config.num_steps, config.batch_size), nothing, np.int32)
        said = heard.copy()
        heard[:n] = said[-n:] = rng.integers(0, config.alphabet, (n, config.batch_size))
        heard[-n - 1] = sign
        return np.eye(sign + 1, dtype=config.dtype)[heard], said

    def validation(self) -> Drawn:
        return Drawn(self.draw, HELD_OUT, self.config.seed, epoch=VALIDATION)

    def network(self) -> Features:
        return Features(self.config, self.config.alphabet + 2, self.config.alphabet + 1, cross_entropy)

    def evaluate(self, model: Features) -> dict[str, float]:
        """Also the share of the symbols that are said rightly: 1 / alphabet by guessing."""
        found, batches, right = super().evaluate(model), self.validation(), []
        for _ in range(batches.num_windows):
            inputs, targets, _ = batches.next()
            with no_tape():
                logits, _ = model(inputs)
            right.append(device.host(logits.data)[-self.config.symbols :].argmax(2) == targets[-self.config.symbols :])
        return found | {"recalled": float(np.mean(right))}

    def drawing(self) -> str:
        inputs, targets = self.draw(np.random.default_rng(0))
        names = [chr(ord("a") + n) if n < 26 else "#" for n in range(self.config.alphabet)] + [".", "!"]
        rows = {"input": inputs[:, 0].argmax(axis=1), "target": targets[:, 0]}
        lines = [f"{name:<8}" + "".join(names[n] for n in row) for name, row in rows.items()]
        return "\n".join(line if len(line) <= 76 else f"{line[:40]} ... {line[-31:]}" for line in lines)
