"""A corpus laid into lanes side by side and cut into windows of time steps.

split      the corpus in two: training, and pieces spread over it for validation
Pieces     parts of a corpus, read as if they were one row
contains   whether a row of tokens stands in a corpus as it is
Lanes      batch_size lanes, windows of num_steps time steps

    lane 0   t h e _ c a | t _ s a t _ | o n
    lane 1   _ t h e _ m | a t . _ A n | d _      batch_size = 3 lanes, lane_len = 14
    lane 2   s o _ i t _ | w a s . T h | e _      num_steps = 6, num_windows = 2
              window 0      window 1     left over
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from micrornn.errors import ConfigError, DataError, counted

# Of each lane so many windows are read at once that together they take about this much memory.
BLOCK_BYTES = 4 << 20

AT_ONCE = 1 << 20  # tokens that are searched for newlines at a time
FEW = 64  # tokens by which a row that is searched for is told from most others
LEAST_PIECE, MOST_PIECES = 1000, 50  # held-out pieces: so many tokens at least, so many pieces at most


class Ids(Protocol):
    """A long row of token ids: `Tokens` or a NumPy array."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> np.ndarray: ...


class Pieces:
    """Some pieces of a row of token ids, end to end, to be read as if they were one row."""

    def __init__(self, tokens: Ids, spans: list[slice]) -> None:
        self.tokens, self.spans = tokens, spans
        self._starts = np.cumsum([0] + [span.stop - span.start for span in spans])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, span: slice, /) -> np.ndarray:
        start, stop, _ = span.indices(len(self))
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts: list[np.ndarray] = []
        for n in range(first, len(self.spans)):
            low, high = max(start, self._starts[n]), min(stop, self._starts[n + 1])
            if low < high or not parts:
                shift = self.spans[n].start - self._starts[n]
                parts.append(self.tokens[int(low + shift) : int(max(low, high) + shift)])
            if self._starts[n + 1] >= stop:
                break
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [self.tokens[0:0]])


def split(tokens: Ids, val_fraction: float, newline: int | None = None) -> tuple[Pieces, Pieces]:
    """A corpus in two: what is learned from, and what is held out for validation.

    The held-out part is the last bit of each of up to 50 equal stretches of the corpus. Its very end alone would
    be another chapter, another author, or modules whose names begin with z. Where the pieces lie depends on the
    corpus only, so that runs with different batch_size or num_steps are measured on the same text.

    newline    the id that ends a line: each border is moved back to the start of its line
    """
    if not 0 <= val_fraction < 1:
        raise ConfigError(f"`val_fraction` is {val_fraction}, expected at least 0 and less than 1")
    n = len(tokens)
    held_out = int(n * val_fraction)
    count = min(max(held_out // LEAST_PIECE, 1), MOST_PIECES)
    training, validation = [], []
    for k in range(count):
        start, stop = k * n // count, (k + 1) * n // count
        cut = max(start, stop - ((k + 1) * held_out // count - k * held_out // count))
        training.append(slice(start, cut))
        validation.append(slice(cut, stop))
    if newline is not None:
        starts = line_starts(tokens, newline)
        training, validation = ([_whole_lines(span, starts) for span in part] for part in (training, validation))
    return Pieces(tokens, training), Pieces(tokens, validation)


def line_starts(tokens: Ids, newline: int) -> np.ndarray:
    """(num_lines + 1,) where each line begins, and the end of the last one, which may lack its newline."""
    ends = [
        np.flatnonzero(tokens[at : min(at + AT_ONCE, len(tokens))] == newline) + at + 1
        for at in range(0, len(tokens), AT_ONCE)
    ]
    starts = np.concatenate([np.zeros(1, np.int64), *ends])
    return starts if starts[-1] == len(tokens) else np.append(starts, len(tokens))


def contains(tokens: Ids, row: np.ndarray) -> bool:
    """Whether `row`, of one token or more, stands somewhere in the corpus."""
    places = len(tokens) - len(row) + 1
    for start in range(0, max(places, 0), AT_ONCE):
        found = start + np.flatnonzero(tokens[start : min(start + AT_ONCE, places)] == row[0])
        stretch = tokens[start : start + AT_ONCE + len(row)]
        for n in range(1, min(len(row), FEW)):  # one token after the other, before whole rows are compared
            found = found[stretch[found - start + n] == row[n]]
        if any(np.array_equal(stretch[at - start : at - start + len(row)], row) for at in found.tolist()):
            return True
    return False


def _whole_lines(span: slice, starts: np.ndarray) -> slice:
    """Both ends moved back to the start of the line that they lie in."""
    first, last = (starts[np.searchsorted(starts, at, side="right") - 1] for at in (span.start, span.stop))
    return slice(int(first), int(last))


class Lanes:
    """Tokens as `batch_size` lanes, cut into windows of `num_steps` time steps.

    With n tokens, lane b is the piece of `lane_len = (n - 1) // batch_size` tokens that begins at token
    `b * lane_len`. Window w is time steps `[w * num_steps, (w + 1) * num_steps)` of every lane, so window
    w + 1 goes on, lane by lane, where window w ended: the state can be carried over. The target at each
    time step is the next token of the corpus, which at the end of a lane is the first of the next lane.

    num_windows         `lane_len // num_steps`, at least 1
    tokens_per_update   `batch_size * num_steps`
    left_over           tokens that no window reads as input; one of them at least is a target
    """

    def __init__(self, tokens: Ids, batch_size: int, num_steps: int, part: str = "training") -> None:
        for name, number in (("batch_size", batch_size), ("num_steps", num_steps)):
            if number < 1:
                raise ConfigError(f"{name} is {number}, expected at least 1")
        num_tokens = len(tokens)
        needed = batch_size * num_steps + 1
        if num_tokens < needed:
            raise DataError(
                f"the {part} part has {counted(num_tokens, 'token')}, but batch_size {batch_size:,} x num_steps "
                f"{num_steps:,} + 1 = {needed:,} are needed\n"
                f"  give more text, or change `val_fraction`, `batch_size` or `num_steps`"
            )
        self.tokens = tokens
        self.num_tokens = num_tokens
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.lane_len = (num_tokens - 1) // batch_size
        self.num_windows = self.lane_len // num_steps
        self.tokens_per_update = batch_size * num_steps
        self.left_over = num_tokens - self.num_windows * self.tokens_per_update
        # A window touches as many far places of the corpus as there are lanes, which is slow one by one. So a
        # block of windows is read lane by lane, and a window is one strided copy out of the block.
        dtype = tokens[0:1].dtype
        windows = BLOCK_BYTES // (self.tokens_per_update * dtype.itemsize)
        self._block_windows = min(max(windows, 1), self.num_windows)
        self._block = np.empty((batch_size, self._block_windows * num_steps + 1), dtype)
        self._loaded = range(0)  # the windows in the block

    @classmethod
    def validation(cls, tokens: Ids, batch_size: int, num_steps: int) -> Lanes:
        """Lay out a part that is read only to measure: with fewer lanes, then fewer steps, if it is short."""
        num_inputs = len(tokens) - 1
        if num_inputs < 1:
            raise DataError(
                f"the validation part has {counted(len(tokens), 'token')}, at least 2 are needed; "
                "raise `val_fraction` or give more text"
            )
        num_steps = min(num_steps, num_inputs)
        batch_size = min(batch_size, num_inputs // max(num_steps, 1))
        return cls(tokens, batch_size, num_steps, "validation")

    def fill(self, w: int, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Write window `w` into two integer arrays `(num_steps, batch_size)`. Quick if they come in order."""
        if not 0 <= w < self.num_windows:
            raise IndexError(f"window {w} of {self.num_windows}")
        if w not in self._loaded:
            self._read_block(w)
        t = (w - self._loaded.start) * self.num_steps
        inputs[...] = self._block[:, t : t + self.num_steps].T
        targets[...] = self._block[:, t + 1 : t + self.num_steps + 1].T

    def _read_block(self, w: int) -> None:
        """Read window `w` and those after it, with the one token more that the last targets need."""
        loaded = range(w, min(w + self._block_windows, self.num_windows))
        length = len(loaded) * self.num_steps + 1
        self._loaded = range(0)  # until all of it is here: an interrupt may come in between
        for b in range(self.batch_size):
            start = b * self.lane_len + w * self.num_steps
            self._block[b, :length] = self.tokens[start : start + length]
        self._loaded = loaded

    def window(self, w: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of window `w`, each int32 `(num_steps, batch_size)`, C-contiguous."""
        inputs = np.empty((self.num_steps, self.batch_size), np.int32)
        targets = np.empty_like(inputs)
        self.fill(w, inputs, targets)
        return inputs, targets
