"""What pictures in a terminal share: scales, ticks, labels along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.text import Text

from micrornn.inspect.panels import positive
from micrornn.printable import cells, pad, visible

DECADES = 12  # of a logarithmic scale at most, from its top
ALIKE = 1e-12  # numbers that differ by less than this share of them are one number, apart from rounding
LARGEST, SMALLEST = float(np.finfo(float).max), 1e-300  # a smaller number counts as 0, for it cannot be halved


@dataclass(frozen=True)
class Scale:
    """From numbers to 0 .. 1, by themselves or by their logarithm."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: np.ndarray, log: bool = False) -> Scale:
        """A scale that contains all values. It starts at 0 if the values are small and above 0; around a single number
            it is
        made wider."""
        values = values[np.isfinite(values)]
        values = values[values > SMALLEST] if log else np.where(np.abs(values) < SMALLEST, 0, values)
        if not values.size:
            return cls(1.0, 10.0, True) if log else cls(0.0, 1.0)
        low, high = float(values.min()), float(values.max())
        alike = high / 2 - low / 2 <= ALIKE * (max(abs(low), abs(high)) / 2)  # halves: a difference may overflow
        if log:
            low = max(low, high * 10.0**-DECADES)
            if high > low and not alike:
                return cls(low, high, True)
            return cls(low / 2, min(high, LARGEST / 2) * 2, True)
        if not alike:
            return cls(0.0 if 0 < low < 0.4 * high else low, high)
        low, high = (low - abs(low) / 2 - (low == 0), high / 2 + abs(high) / 4 + (high == 0) / 2)
        return cls(max(low, -LARGEST), min(high, LARGEST / 2) * 2)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """NaN where there is nothing to show: beyond the ends, or no logarithm."""
        values = np.asarray(values, float)
        ends = np.array([self.low, self.high])
        if self.log:
            values, ends = np.log(positive(values)), np.log(ends)
        at = (values / 2 - ends[0] / 2) / (ends[1] / 2 - ends[0] / 2)
        return np.where((at > -1e-9) & (at < 1 + 1e-9), np.clip(at, 0, 1), np.nan)

    def ticks(self, most: int) -> list[float]:
        """At most so many round numbers, none of them beyond the ends."""
        found = self._marks(max(2, most))
        return sorted({min(max(value, self.low), self.high) for value in found})

    def _marks(self, most: int) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            for mantissas in ((1, 2, 5), (1,)):
                fine = [m * 10.0**e for e in range(first - 1, last + 1) for m in mantissas]
                fine = [v for v in fine if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
                if len(fine) <= most and (len(fine) > 1 or mantissas == (1,)):
                    return fine if len(fine) > 1 else [self.low, self.high]
            stride = math.ceil(len(fine) / most)
            return fine[(len(fine) - 1) % stride :: stride]
        return round_numbers(self.low, self.high, most)


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers; the lower one where they are too close for
    any."""
    rough = high / most - low / most
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 0.0
    if not power > max(abs(low), abs(high)) * 1e-15:
        return [low]
    for m in (1, 2, 5, 10, 20):
        if math.isfinite(m * power) and len(found := _multiples(low, high, m * power)) <= most:
            return found or [low]
    return [low]


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def flags(marks: Iterable[tuple[int, str]], width: int) -> list[str]:
    """As few lines as possible with `▼ name` over the column of each mark."""
    lines: list[str] = []
    for column, name in sorted(marks):
        name = visible(name)
        text = f"▼ {name}"
        start = column
        if column + cells(text) > width and column >= cells(name) + 1:
            text, start = f"{name} ▼", column - cells(name) - 1
        text = fit(text, width - start)
        for n, line in enumerate(lines):
            if cells(line) + 1 < start + (start == 0):
                lines[n] = pad(line, start) + text
                break
        else:
            lines.append(" " * start + text)
    return lines[::-1]  # the leftmost right over the picture


def labels(places: Sequence[tuple[int, str]], width: int, indent: int) -> str:
    """One line of labels, each centred under its column. A label that would touch the one before it is left out. They
    may reach `indent` columns to the left of column 0."""
    line, used = "", 0
    for column, text in places:
        size = cells(text)
        start = min(max(0, column + indent - size // 2), width + indent - size)
        if start < used + bool(line) or size > width:
            continue
        line += " " * (start - used) + text
        used = start + size
    return line


def fit(text: str, width: int) -> str:
    """The text; if it is too long, it is cut and ends in an ellipsis."""
    text = visible(text)
    return text if cells(text) <= width else pad(text, max(0, width - 1)) + "…" if width > 0 else ""


def heading(title: str, below: str, width: int) -> Text:
    """The title of a picture, and under it what its values are."""
    text = Text().append(fit(title, width) + "\n", "bold")
    return text.append(fit(below, width) + "\n", "dim") if below else text
