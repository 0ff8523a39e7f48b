"""Which numbers dropout drops: a function of keys, so that the same ones are dropped wherever and whenever it is asked.

drop         dropout of what has a time axis, other numbers at each time step or the same ones at all
drop_mask    the mask by itself
part_of      a block in which a part of a window is read: a lane of it has the numbers that it has in the window
mix_key, key_at    keys
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from micrornn import device, kernels
from micrornn.ops import dropout
from micrornn.tape import Tensor

MASKS = ("step", "sequence")  # drawn at each time step, or once for all of a window


def drop(x: Tensor, rate: float, key: int, start: int = 0, mask: str = "step") -> Tensor:
    """Dropout of x (seq_len, batch_size, ...), which begins `start` time steps into its window. mask: one of
    MASKS."""
    if mask == "sequence" and x.ndim > 2:
        return x * drop_mask(x, x.shape[1:], rate, key)
    if _part is None:
        return dropout(x, rate=rate, key=key_at(key, start * math.prod(x.shape[1:])))
    shape = *_part[0], *x.shape[2:]
    return x * _taken(_drawn(x, shape, rate, key_at(key, start * math.prod(shape[1:]))))


def drop_mask(like: Tensor, shape: tuple[int, ...], rate: float, key: int) -> Tensor:
    """What dropout multiplies by (batch_size, ...): 0 with probability `rate`, else 1 / (1 - rate)."""
    if _part is None:
        return _drawn(like, shape, rate, key)
    (seq_len, lanes), _ = _part
    mask = _drawn(like, (lanes, *shape[1:]), rate, key)
    return Tensor(_taken(Tensor(kernels.of(mask.data).spread(mask.data, (seq_len, *mask.shape)))).data[0])


Take = Callable[[np.ndarray], np.ndarray]
_part: tuple[tuple[int, int], Take] | None = None


@contextmanager
def part_of(seq_len: int, batch_size: int, take: Take) -> Iterator[None]:
    """What is read here is a part of a window: masks are drawn for all of it, and `take` says which of their numbers
    (seq_len, batch_size, ...) the part has, (its seq_len, its batch_size, ...)."""
    global _part
    before, _part = _part, ((seq_len, batch_size), take)
    try:
        yield
    finally:
        _part = before


def _taken(mask: Tensor) -> Tensor:
    assert _part is not None
    return Tensor(kernels.of(mask.data).asarray(np.ascontiguousarray(_part[1](device.host(mask.data)))))


def _drawn(like: Tensor, shape: tuple[int, ...], rate: float, key: int) -> Tensor:
    return dropout(Tensor(kernels.of(like.data).full(shape, 1, like.dtype)), rate=rate, key=key)


def mix_key(*numbers: int) -> int:
    """One 64-bit key of several integers; any change in them gives an unrelated key."""
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0])


def key_at(key: int, place: int) -> int:
    """The key whose mask is that of `key` from this number on: so a segment of a window gets its part of the mask.

    Dropout draws from splitmix64, which adds this constant to the key for each number (kernels/maths.py).
    """
    return (key + place * 0x9E3779B97F4A7C15) % 2**64
