"""Memory that is used again instead of being given back to the system.

Idle    what lies ready for another use, by size: no more than what was in use not long ago
Pool    arrays whose memory comes back by itself when they are dropped
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class Idle:
    """Blocks of memory that nobody uses now, by a key that says what they fit.

    A network of one size asks for the same blocks at every update and finds each of them here. Sequences of ever new
    lengths leave blocks that nothing asks for again: so at most TIMES as many bytes are kept as were in use at once
    during the last two periods of SECONDS, and FEW in any case. What has not been asked for the longest goes first.
    """

    TIMES = 2  # the blocks of training, and of the validation and sampling between its updates
    SECONDS = 60.0
    FEW = 64 << 20

    def __init__(self, most: float = math.inf, free: Callable[[Any], None] | None = None) -> None:
        self.most = most  # bytes to keep, whatever was in use
        self._free = free  # gives a block back that is to be dropped, if to drop it is not enough
        self.bytes = 0  # that are idle
        self.used = 0  # bytes in use
        self._peaks = [0, 0]  # bytes in use at most, in this period and in the last one
        self._next = 0.0  # when the next period begins
        self._blocks: OrderedDict[tuple[int, Hashable], list[Any]] = OrderedDict()

    # A garbage collection may drop an array, and with it call `put`, between any two lines: each line below leaves
    # numbers and lists right, and takes into account that the one before it may be outdated.

    def take(self, size: int, kind: Hashable = None) -> Any:
        """An idle block of `size` bytes and of this kind, or None: then the caller makes one. It is in use now."""
        self.used += size
        now = time.monotonic()
        if now > self._next:
            self._peaks, self._next = [self.used, self._peaks[0]], now + self.SECONDS
        elif self.used > self._peaks[0]:
            self._peaks[0] = self.used
        try:
            block = self._blocks[size, kind].pop()
            self.bytes -= size
            self._blocks.move_to_end((size, kind))
        except (KeyError, IndexError):
            return None
        return block

    def put(self, block: Any, size: int, kind: Hashable = None) -> None:
        """The block is no longer in use: keep it, and drop what was not asked for the longest."""
        self.used -= size
        blocks = self._blocks.get((size, kind))
        if blocks is None:
            blocks = self._blocks[size, kind] = []
        blocks.append(block)
        self.bytes += size
        while self.bytes > self.bound() and self._blocks:
            self._drop()

    def bound(self) -> float:
        """How many bytes may be idle."""
        return min(self.most, max(self.FEW, self.TIMES * max(self._peaks)))

    def count(self) -> dict[Hashable, int]:
        """How many blocks there are of each size and kind."""
        return {key: len(blocks) for key, blocks in self._blocks.items() if blocks}

    def release(self) -> None:
        """Drop all."""
        while self._blocks:
            self._drop()

    def _drop(self) -> None:
        """Drop a block of the size that was not asked for the longest."""
        try:
            key = next(iter(self._blocks))
            blocks = self._blocks[key]
            if blocks:
                block = blocks.pop()
                self.bytes -= key[0]
                if self._free:
                    self._free(block)
            else:
                del self._blocks[key]
        except (StopIteration, KeyError, IndexError, RuntimeError):  # dropped by somebody else meanwhile
            pass


class _Block(np.ndarray):
    """Bytes on loan from a pool: when the last array that looks at them is gone, they go back."""

    pool: Pool
    memory: np.ndarray

    def __del__(self) -> None:
        pool = getattr(self, "pool", None)
        if pool is not None:
            pool.idle.put(self.memory, self.memory.nbytes)


class Pool:
    """Hands out arrays whose memory comes back by itself when they are dropped.

    A fresh array of more than 128 kB is mapped by the operating system, page by page, at every update, and
    unmapped again. An unrolled network asks for the same sizes at every update, so a pool finds each of them.
    """

    SMALL = 65536  # below this many bytes the allocator is quicker than a pool: it maps no page

    def __init__(self) -> None:
        self.idle = Idle()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array whose numbers are undefined."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < self.SMALL:
            return np.empty(shape, dtype)
        memory = self.idle.take(size)
        if memory is None:
            # NumPy lets a view point past its block to the memory itself, unless that is of another type than the
            # view: so the memory is a _Block too, one that belongs to no pool.
            memory = np.empty(size, np.uint8).view(_Block)
        block = memory.view(_Block)
        block.pool, block.memory = self, memory
        return np.ndarray(shape, dtype, buffer=block)
