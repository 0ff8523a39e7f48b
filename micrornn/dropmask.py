"""Which numbers dropout drops. The mask is a function of a key, so that it is the same on every device and every time.

drop         dropout of a tensor with a time axis: another mask at each time step, or one mask for all of them
drop_mask    the mask by itself
part_of      a block that reads a part of a window, with the masks that the part has in the whole window
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

MASKS = ("step", "sequence")  # a mask is drawn for each time step, or once for a whole window


def drop(x: Tensor, rate: float, key: int, start: int = 0, mask: str = "step") -> Tensor:
    """Dropout of x (seq_len, batch_size, ...), which begins `start` time steps after its window does. mask: one of
    MASKS."""
    if mask == "sequence" and x.ndim > 2:
        return x * drop_mask(x, x.shape[1:], rate, key)
    if _part is None:
        return dropout(x, rate=rate, key=key_at(key, start * math.prod(x.shape[1:])))
    shape = *_part[0], *x.shape[2:]
    return x * _taken(_drawn(x, shape, rate, key_at(key, start * math.prod(shape[1:]))))


def drop_mask(like: Tensor, shape: tuple[int, ...], rate: float, key: int) -> Tensor:
    """The factors of dropout, (batch_size, ...): 0 with probability `rate`, else 1 / (1 - rate)."""
    if _part is None:
        return _drawn(like, shape, rate, key)
    (seq_len, lanes), _ = _part
    mask = _drawn(like, (lanes, *shape[1:]), rate, key)
    return Tensor(_taken(Tensor(kernels.of(mask.data).spread(mask.data, (seq_len, *mask.shape)))).data[0])


Take = Callable[[np.ndarray], np.ndarray]
_part: tuple[tuple[int, int], Take] | None = None


@contextmanager
def part_of(seq_len: int, batch_size: int, take: Take) -> Iterator[None]:
    """In this block, a part of a window is read. Masks are drawn for the whole window, (seq_len, batch_size, ...), and
    `take(mask)` picks those of the part, (its seq_len, its batch_size, ...)."""
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
    """One 64-bit key made from several integers. If one of them changes, the key is an unrelated one."""
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0])


def key_at(key: int, place: int) -> int:
    """The key whose mask begins with number `place` of the mask of `key`. With it a segment of a window gets its part
    of the mask.

    Dropout draws from splitmix64, which adds this constant to the key for each number (kernels/maths.py).
    """
    return (key + place * 0x9E3779B97F4A7C15) % 2**64
