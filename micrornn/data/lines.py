"""A text whose lines are sequences of their own, laid into lanes and windows.

LineLanes            as Lanes, but each line starts from the initial state
layout               a part to learn from: as Lanes, or with a newline as LineLanes
validation_layout    the same of a part that is read only to measure

A lane is a piece of the text, cut at the ends of lines. Within a lane a line begins at the left edge of a window; one
that is longer than num_steps goes on in the next window, and what is left of its last window is padding:

    lane 0   A n n a / . | B e r t / . | M a r g a r | e t e / . .      / the newline, . padding
    lane 1   E m i l / . | F r a n z / | I d a / . . | . . . . . .
"""

from __future__ import annotations

import numpy as np

from micrornn.data.text import Ids, Lanes, line_starts
from micrornn.errors import ConfigError, DataError, counted

PADDING = -1  # the target where a line has ended


class LineLanes:
    """Lines in `batch_size` lanes, cut into windows of `num_steps` time steps.

    The first input of a line is the newline, as if a line had ended before it; its last target is its own newline.
    Padding reads a newline, and its target is PADDING.

    num_windows    windows of the lane that has most; where another has no line any more, all is padding
    num_tokens     of the text: each of them is a target once in an epoch
    """

    def __init__(self, tokens: Ids, batch_size: int, num_steps: int, newline: int, part: str = "training") -> None:
        for name, number in (("batch_size", batch_size), ("num_steps", num_steps)):
            if number < 1:
                raise ConfigError(f"{name} is {number}, expected at least 1")
        self.tokens, self.batch_size, self.num_steps, self.newline = tokens, batch_size, num_steps, newline
        self.num_tokens = len(tokens)
        self.line_starts = line_starts(tokens, newline)
        self.num_lines = len(self.line_starts) - 1
        if self.num_lines < batch_size:
            raise DataError(
                f"the {part} part has {counted(self.num_lines, 'line')}, fewer than batch_size {batch_size:,}\n"
                "  give more text, or change `val_fraction` or `batch_size`"
            )
        windows = -(-np.diff(self.line_starts) // num_steps)  # of each line
        self._at = np.concatenate([[0], np.cumsum(windows)])  # the window a line begins in, were all in one lane
        borders = np.arange(batch_size + 1) * self._at[-1] // batch_size
        self._first = np.searchsorted(self._at, borders)  # the first line of each lane
        self._first[-1] = self.num_lines
        self.num_windows = int(np.diff(self._at[self._first]).max())
        # Targets of each window: its lines' whole windows, then less where they end.
        change = np.zeros(self.num_windows + 1, np.int64)
        begins = self._at[:-1] - np.repeat(self._at[self._first[:-1]], np.diff(self._first))
        last = np.diff(self.line_starts) - (windows - 1) * num_steps
        np.add.at(change, begins, num_steps)
        np.add.at(change, begins + windows - 1, last - num_steps)
        np.add.at(change, begins + windows, -last)
        self.window_tokens = np.cumsum(change)[:-1]  # (num_windows,) how many targets are no padding

    @classmethod
    def validation(cls, tokens: Ids, batch_size: int, num_steps: int, newline: int) -> LineLanes:
        """Lay out a part that is read only to measure: with fewer lanes if it has few lines."""
        count = len(line_starts(tokens, newline)) - 1
        if not len(tokens):
            raise DataError("the validation part has no line; raise `val_fraction` or give more text")
        return cls(tokens, min(batch_size, count), num_steps, newline, "validation")

    def span(self, b: int, w: int) -> tuple[int, int, bool]:
        """(start, stop, begins): the tokens that lane b predicts in window w, and whether a line begins there."""
        at = self._at[self._first[b]] + w
        if at >= self._at[self._first[b + 1]]:
            return 0, 0, True
        line = int(np.searchsorted(self._at, at, side="right")) - 1
        start = int(self.line_starts[line] + (at - self._at[line]) * self.num_steps)
        return start, min(start + self.num_steps, int(self.line_starts[line + 1])), bool(at == self._at[line])

    def starts(self, w: int) -> np.ndarray:
        """(batch_size,) bool: which lanes begin a line, or have none any more, in window `w`."""
        return np.array([self.span(b, w)[2] for b in range(self.batch_size)])

    def fill(self, w: int, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Write window `w` into two integer arrays `(num_steps, batch_size)`."""
        if not 0 <= w < self.num_windows:
            raise IndexError(f"window {w} of {self.num_windows}")
        inputs[...], targets[...] = self.newline, PADDING
        for b in range(self.batch_size):
            start, stop, _ = self.span(b, w)
            if stop > start:
                part = self.tokens[max(0, start - 1) : stop]
                if start == 0:  # the first line of all has no line before it, whose newline it could read
                    part = np.concatenate([np.array([self.newline], part.dtype), part])
                inputs[: stop - start, b], targets[: stop - start, b] = part[:-1], part[1:]

    def window(self, w: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of window `w`, each int32 `(num_steps, batch_size)`."""
        inputs, targets = (np.empty((self.num_steps, self.batch_size), np.int32) for _ in range(2))
        self.fill(w, inputs, targets)
        return inputs, targets


def layout(tokens: Ids, batch_size: int, num_steps: int, newline: int | None = None) -> Lanes | LineLanes:
    """A part to learn from, in lanes; with a newline line by line."""
    if newline is None:
        return Lanes(tokens, batch_size, num_steps)
    return LineLanes(tokens, batch_size, num_steps, newline)


def validation_layout(tokens: Ids, batch_size: int, num_steps: int, newline: int | None = None) -> Lanes | LineLanes:
    """A part that is read only to measure, in fewer lanes if it is short; with a newline line by line."""
    if newline is None:
        return Lanes.validation(tokens, batch_size, num_steps)
    return LineLanes.validation(tokens, batch_size, num_steps, newline)
