"""Sequences of unequal length as batches: cut, padded, and put together by length.

Padded      values and the mask that tells what of them is no padding
pad         sequences side by side in one time-major array
on_side     what is padded on the right, padded on the other side
cut         the first, or the last, so many time steps of a sequence
hold_out    which sequences are learned from, and which are held out
ByLength    batches of sequences of similar length, with an exact position to go on from

    pad([[1, 2, 3], [4]])                 1 4   the lanes are columns; mask   1 1
                                          2 .                                 1 0
                                          3 .                                 1 0
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from micrornn.errors import ConfigError, DataError, instead

SPREAD = 0.1  # lengths that differ by less than this share may change places in the order of an epoch


class Padded(NamedTuple):
    """Sequences of unequal lengths in one array.

    values    (seq_len, batch_size, ...): time-major; what stands where the mask is False is never looked at
    mask      (seq_len, batch_size) bool: True where it is no padding
    """

    values: np.ndarray
    mask: np.ndarray


def cut(sequence: Any, max_len: int | None = None, keep: str = "first") -> Any:
    """The first, or the last, `max_len` time steps of a sequence; all of a shorter one. None or 0: no limit."""
    if not max_len or len(sequence) <= max_len:
        return sequence
    return sequence[:max_len] if keep == "first" else sequence[len(sequence) - max_len :]


def pad(sequences: Sequence[Any], side: str = "right", max_len: int | None = None, keep: str = "first") -> Padded:
    """Sequences (length, ...) as one batch, as long as the longest; `side` is where the padding stands. A longer one
    than `max_len` is cut. At least one time step is there, even if all sequences are empty."""
    for name, value, choices in (("side", side, ("left", "right")), ("keep", keep, ("first", "last"))):
        if value not in choices:
            raise ConfigError(f"pad: {name} is {value!r}{instead(value, choices)}")
    if not len(sequences):
        raise DataError("pad: there is no sequence; give at least one")
    rows = [np.asarray(sequence) for sequence in sequences]
    for n, row in enumerate(rows, 1):
        if not row.ndim:
            raise DataError(f"pad: sequence {n:,} is no sequence but {row}")
    rows = [cut(row, max_len, keep) for row in rows]
    shapes = {row.shape[1:] for row in rows if len(row)} or {rows[0].shape[1:]}
    if len(shapes) > 1:
        raise DataError(f"pad: sequences of {' and '.join(map(str, sorted(shapes)))} numbers a time step; wanted equal")
    seq_len, count = max(1, *map(len, rows)), len(rows)
    dtype = np.result_type(*[row.dtype for row in rows if len(row)] or [rows[0].dtype])
    values, mask = np.zeros((seq_len, count, *shapes.pop()), dtype), np.zeros((seq_len, count), bool)
    for lane, row in enumerate(rows):
        start = seq_len - len(row) if side == "left" else 0
        if len(row):
            values[start : start + len(row), lane], mask[start : start + len(row), lane] = row, True
    return Padded(values, mask)


def on_side(side: str, values: np.ndarray, mask: np.ndarray) -> Padded:
    """Sequences (seq_len, batch_size, ...) with their padding behind them, padded on this side."""
    if side == "right":
        return Padded(values, mask)
    places = (np.arange(len(mask))[:, None] + mask.sum(axis=0)) % len(mask)
    wide = places.reshape(places.shape + (1,) * (values.ndim - 2))
    return Padded(np.take_along_axis(values, wide, axis=0), np.take_along_axis(mask, places, axis=0))


def hold_out(count: int, fraction: float, seed: int,
             kinds: Sequence[Iterable[Hashable]] | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(indices to learn from, indices held out), each in ascending order: drawn at random, the same for a seed. At
    least one on either side; none is held out if the fraction is 0.

    kinds    of each sequence, such as the labels in it: of each kind the same share is held out, as near as may be, and
             where it comes in two sequences, one at least; what comes in one alone is learned from
    """
    held_out = min(max(1, round(count * fraction)), count - 1) if fraction else 0
    if fraction and not held_out:
        raise DataError(
            f"there is {count:,} sequence, and nothing can be held out of it; give more, or `val_fraction=0`"
        )
    order = np.random.default_rng([seed, count]).permutation(count)
    chosen = order[:held_out]
    if kinds is not None and fraction:
        chosen = _of_each_kind(order, kinds, fraction)
        if not len(chosen):
            raise DataError(
                "nothing can be held out where each label comes in one sequence alone; give more, or `val_fraction=0`"
            )
    return np.setdiff1d(order, chosen), np.sort(chosen)


def _of_each_kind(order: np.ndarray, kinds: Sequence[Iterable[Hashable]], fraction: float) -> np.ndarray:
    """Which to hold out. The rarest kinds choose first, as they have the fewest to choose from (Sechidis, Tsoumakas,
    Vlahavas, On the Stratification of Multi-Label Data, 2011)."""
    members: dict[Hashable, list[int]] = {}
    for n in order.tolist():
        for kind in dict.fromkeys(kinds[n]):
            members.setdefault(kind, []).append(n)
    held_out: dict[int, bool] = {}
    for those in sorted(members.values(), key=len):
        wanted = min(max(1, round(len(those) * fraction)), len(those) - 1)
        wanted -= sum(held_out.get(n, False) for n in those)
        for n in those:
            if n not in held_out:
                held_out[n], wanted = wanted > 0, wanted - 1
    for those in members.values():  # rarer kinds may have taken all of them
        if all(held_out[n] for n in those):
            held_out[those[0]] = False
    return np.array([n for n in order.tolist() if held_out.get(n)], np.intp)


class ByLength:
    """Batches of sequences of similar length, each sequence once an epoch.

    A seed always gives the same batch at a position: a run that is resumed needs no more than `epoch` and `window`.

    lengths      of each sequence, as it is read: after it was cut
    make         make(indices) -> (inputs, targets) of these sequences, such as by `pad`
    batch_size   sequences of a batch; what is left over is a smaller one
    shuffle      False: sorted by length, the shortest batch first
    epoch        a fixed one: the same batches again and again, as for validation
    counts       how much the loss of each sequence counts in a mean over all; by default as its length, so that each
                 time step counts the same
    chosen       which sequences the batch at hand holds
    weight       what the mean loss of the batch at hand counts in a mean over batches, so that this is the mean over
                 all sequences of an epoch
    """

    carried = False

    def __init__(self, lengths: Sequence[int] | np.ndarray, make: Callable[[np.ndarray], tuple[Any, Any]],
                 batch_size: int, seed: int, shuffle: bool = True, epoch: int | None = None,
                 counts: Sequence[float] | np.ndarray | None = None):  # fmt: skip
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
        if not len(lengths):
            raise DataError("there is no sequence to make batches of")
        self.lengths = np.asarray(lengths, np.int64)
        self.counts = np.asarray(self.lengths if counts is None else counts, np.float64)
        self.make, self.batch_size, self.seed, self.shuffle, self.fixed = make, batch_size, seed, shuffle, epoch
        self.num_windows = -(-len(self.lengths) // batch_size)
        self.epoch, self.window, self.weight = 0, 0, 1.0
        self.state: tuple[np.ndarray, ...] | None = None
        self.chosen = np.arange(0)
        self._order: tuple[int, list[np.ndarray]] = -1, []

    def indices(self, epoch: int) -> list[np.ndarray]:
        """Which sequences each batch of an epoch holds."""
        epoch = epoch if self.fixed is None else self.fixed
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            # Sorting alone would put the same sequences together in each epoch.
            keys = self.lengths * (1 + SPREAD * rng.random(len(self.lengths))) if self.shuffle else self.lengths
            ties = rng.permutation(len(keys)) if self.shuffle else np.arange(len(keys))
            order = np.lexsort((ties, keys))
            batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
            places = rng.permutation(len(batches)) if self.shuffle else np.arange(len(batches))
            self._order = epoch, [batches[place] for place in places]
        return self._order[1]

    def next(self) -> tuple[Any, Any, None]:
        """(inputs, targets, None: each sequence begins with the initial state)."""
        if self.window == self.num_windows:
            self.epoch, self.window = self.epoch + 1, 0
        self.chosen = self.indices(self.epoch)[self.window]
        self.weight = float(self.counts[self.chosen].sum() * self.num_windows / (self.counts.sum() or 1))
        inputs, targets = self.make(self.chosen)
        self.window += 1
        return inputs, targets, None

    def carry(self, state: Any) -> None:
        """Nothing: a sequence knows nothing of the one before it."""
