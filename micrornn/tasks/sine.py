"""Sine waves: from a frequency alone, the wave. The frequency is read once, and nothing after it.

    input     f  0  0  0  0 ...
    target    the wave: sin(2 pi f t / num_steps) for t = 1, 2, ..., of f periods in num_steps time steps

One to many, on data made on the fly. A network that always says the mean of all waves has a loss of about 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.config import Config, setting
from micrornn.errors import ConfigError, DataError, counted, quoted
from micrornn.ops import mean_squared_error
from micrornn.tasks.made import Made
from micrornn.tasks.parts import Features, defaults, number
from micrornn.tasks.task import Metric


@dataclass(frozen=True)
@defaults(num_steps=32, hidden_size=48, lr=0.005)
class SineSettings(Config):
    """num_steps is the length of a wave."""

    low: float = setting(1.0, "Least number of periods in num_steps time steps.", above=0, high=1e6)
    high: float = setting(3.0, "Greatest number of periods in num_steps time steps.", above=0, high=1e6)


class Sine(Made):
    name, about = "sine", "one to many: a sine wave from its frequency, made on the fly"
    Settings = SineSettings
    config: SineSettings
    takes = "a number of periods, such as 1.5"
    metrics = (Metric("loss", "squared error"),)

    def __init__(self, config: SineSettings, data: None = None):
        if not config.low < config.high:
            raise ConfigError(f"`low` is {config.low:g}, and `high` is {config.high:g}; it must be higher")
        if config.high * 2 > config.num_steps:
            raise ConfigError(
                f"`high={config.high:g}` is more periods than {counted(config.num_steps, 'time step')} can show, at "
                f"most {config.num_steps / 2:g}"
            )
        super().__init__(config)
        waves = np.concatenate([targets for _, targets in self.held_out()], axis=1)
        self.baseline = ("by always saying the mean wave", float(waves.var(axis=1).mean()))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets (seq_len, batch_size, 1)."""
        frequencies = rng.uniform(self.config.low, self.config.high, self.config.batch_size)
        t = np.arange(1, self.config.num_steps + 1)[:, None]
        waves = np.sin(2 * np.pi * frequencies * t / self.config.num_steps)
        return self._read(frequencies), waves[:, :, None].astype(self.config.dtype)

    def _read(self, frequencies: np.ndarray) -> np.ndarray:
        """The frequencies, from -1 to 1, at the first time step."""
        low, high = self.config.low, self.config.high
        inputs = np.zeros((self.config.num_steps, len(frequencies), 1), self.config.dtype)
        inputs[0, :, 0] = 2 * (frequencies - low) / (high - low) - 1
        return inputs

    def network(self) -> Features:
        return Features(self.config, 1, 1, mean_squared_error)

    def parse(self, line: str) -> float:
        value = number(line.strip())
        if not self.config.low <= value <= self.config.high:
            raise DataError(f"{quoted(line)}: wanted a number of periods in {self.config.low:g}..{self.config.high:g}")
        return value

    def encode(self, example: float) -> np.ndarray:
        return self._read(np.array([example]))

    def answer(self, outputs: np.ndarray, example: float, proba: bool) -> dict[str, Any]:
        wave = outputs[:, 0].tolist()
        return {"answer": " ".join(f"{value:.4f}" for value in wave), "wave": wave}

    def drawing(self) -> str:
        inputs, waves = self.draw(np.random.default_rng(0))
        numbers = [f"{value:7.2f}" for value in waves[:6, 0, 0]]
        lanes, low, high = self.config.batch_size, self.config.low, self.config.high
        periods = low + (inputs[0, 0, 0] + 1) / 2 * (high - low)
        return "\n".join([
            f"{f'target ({lanes}, 1) at each t':<28}{''.join(numbers)}  ...",
            f"{'':<28}" + "      ^" * len(numbers),
            f"{f'{self.config.cell_title} {self.config.hidden_size}':<28}      o" + "  --> o" * (len(numbers) - 1),
            f"{'':<28}      ^",
            f"{f'input ({lanes}, 1) at t = 1':<28}{inputs[0, 0, 0]:7.2f}  {periods:.2f} periods in "
            f"{counted(self.config.num_steps, 'step')}; then 0",
        ])  # fmt: skip
