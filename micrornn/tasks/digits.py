"""Digits: small pictures of the digits 0 to 9, read one row, or one pixel, a time step; at the end, which digit it was.

    t = 1   . . # # # . . .
    t = 2   . . . . # . . .     -> 7
    ...

Many to one, on pictures that the program draws: a font of 3 x 5 pixels, somewhere in a larger picture, with noise.

The task of reading pictures pixel by pixel is that of Le, Jaitly, Hinton, A Simple Way to Initialize Recurrent Networks
of Rectified Linear Units, 2015, arXiv:1504.00941, section 4.2, who take handwritten digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micrornn.config import Config, setting
from micrornn.errors import DataError, counted, quoted
from micrornn.ops import cross_entropy
from micrornn.tasks.classes import Classifying
from micrornn.tasks.made import Made
from micrornn.tasks.parts import Features, defaults, numbers
from micrornn.tasks.task import Metric

FONT = (
    "### ..# ### ### #.# ### ### ### ### ###",
    "#.# ..# ..# ..# #.# #.. #.. ..# #.# #.#",
    "#.# ..# ### .## ### ### ### ..# ### ###",
    "#.# ..# #.. ..# ..# ..# #.# ..# #.# ..#",
    "### ..# ### ### ..# ### ### ..# ### ###",
)
GLYPHS = np.array([[[c == "#" for c in row.split()[n]] for row in FONT] for n in range(10)], float)  # (10, 5, 3)


@dataclass(frozen=True)
@defaults(hidden_size=48, lr=0.005)
class DigitsSettings(Config):
    """num_steps is not asked for: it follows from the size of a picture."""

    step: str = setting("row", "What a time step reads: a row of the picture, or a pixel.", choices=("row", "pixel"))
    size: int = setting(8, "Rows and columns of a picture.", low=5, high=1000)
    noise: float = setting(
        0.2, "Deviation of the noise that is added to each pixel; ink is 1, paper 0.", low=0, high=1e6
    )


class Digits(Made, Classifying):
    name, about = "digits", "many to one: which digit a small picture shows, read by rows or pixels, made on the fly"
    Settings = DigitsSettings
    config: DigitsSettings
    uses = ("bidirectional",)
    shape = (*Made.shape, "step")
    metrics = (Metric("loss", "nats per picture"), *Classifying.metrics[1:])
    labels = tuple("0123456789")
    per_step = False

    def __init__(self, config: DigitsSettings, data: None = None):
        super().__init__(config)
        self.takes = f"the {config.size**2} pixels of a picture row by row: numbers, or # for ink and . for paper"  # type: ignore[misc]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (seq_len, batch_size, features), and which digit each shows (batch_size,)."""
        lanes, size = self.config.batch_size, self.config.size
        digits = rng.integers(0, 10, lanes).astype(np.int32)
        pictures = rng.normal(0, self.config.noise, (lanes, size, size))
        for picture, digit, row, column in zip(pictures, digits, *self._places(rng, lanes)):
            picture[row : row + 5, column : column + 3] += GLYPHS[digit]
        return self._read(pictures), digits

    def _places(self, rng: np.random.Generator, lanes: int) -> tuple[np.ndarray, np.ndarray]:
        """The upper left corner of each digit: rows and columns."""
        return rng.integers(0, self.config.size - 4, lanes), rng.integers(0, self.config.size - 2, lanes)

    def _read(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (batch_size, rows, columns) as time steps."""
        if self.config.step == "pixel":
            pictures = pictures.reshape(len(pictures), -1, 1)
        return np.ascontiguousarray(pictures.swapaxes(0, 1), self.config.dtype)

    def network(self) -> Features:
        return Features(
            self.config, self.config.size if self.config.step == "row" else 1, 10, cross_entropy, read="last"
        )

    @property
    def seq_len(self) -> int:
        return self.config.size ** (1 if self.config.step == "row" else 2)

    def parse(self, line: str) -> np.ndarray:
        values = numbers(line.replace("/", " ").replace("#", " 1 ").replace(".", " 0 ") if "#" in line else line)
        if len(values) != self.config.size**2:
            raise DataError(f"{quoted(line)}: {counted(len(values), 'pixel')}, wanted {self.takes}")
        return np.array(values)

    def encode(self, example: np.ndarray) -> np.ndarray:
        return self._read(example.reshape(1, self.config.size, self.config.size))

    def drawing(self) -> str:
        rng, size = np.random.default_rng(0), min(self.config.size, 16)
        inputs, digits = self.draw(rng)
        side = self.config.size
        rows = inputs[:, 0].reshape(side, side)[:size, :size]
        lines = [" ".join("#" if value > 0.5 else "." for value in row) for row in rows]
        first = "1 row" if self.config.step == "row" else "1 pixel"
        told = [
            f"a time step reads {first}: ({len(inputs)}, {self.config.batch_size}, {inputs.shape[2]})",
            "",
            f"-> {digits[0]}",
        ]
        return "\n".join(f"{line}   {word}" for line, word in zip(lines, told + [""] * size))
