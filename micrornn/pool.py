"""Memory that is kept for the next use instead of being given back to the system.

Idle    the blocks that nobody uses now; how many are kept depends on how much was in use lately
Pool    arrays whose memory returns to it when they are garbage collected
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class Idle:
    """Blocks of memory that nobody uses now, by their size and kind.

    A network of one size asks for the same blocks at every update and finds each of them here. Sequences of always new
    lengths leave blocks that nobody asks for again. So there is a limit: TIMES the most bytes that were in use at once
    during the last two periods of SECONDS, but at least FEW. The size that was asked for longest ago is dropped first.
    """

    TIMES = 2  # room for the blocks of training, and for those of validation and sampling in between
    SECONDS = 60.0
    FEW = 64 << 20

    def __init__(self, most: float = math.inf, free: Callable[[Any], None] | None = None) -> None:
        self.most = most  # bytes to keep, whatever was in use
        self._free = free  # called with a block that is dropped, if forgetting it is not enough
        self.bytes = 0  # of the blocks here
        self.used = 0  # bytes in use
        self._peaks = [0, 0]  # bytes in use at most, in this period and in the last one
        self._next = 0.0  # when the next period begins
        self._blocks: OrderedDict[tuple[int, Hashable], list[Any]] = OrderedDict()

    # A garbage collection may come between any two lines and call `put`. So each line below leaves numbers and lists in
    # a right state, and does not rely on what an earlier line has read.

    def take(self, size: int, kind: Hashable = None) -> Any:
        """An idle block of `size` bytes and of this kind, or None, so that the caller makes one. It counts as in
        use."""
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
        """Keep a block that is no longer in use; above the limit, drop those that were asked for longest ago."""
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
        """Drop a block of the size that was asked for longest ago."""
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
    """Bytes lent by a pool. They return to it when the last array that uses them is garbage collected."""

    pool: Pool
    memory: np.ndarray

    def __del__(self) -> None:
        pool = getattr(self, "pool", None)
        if pool is not None:
            pool.idle.put(self.memory, self.memory.nbytes)


class Pool:
    """Arrays whose memory returns to the pool when they are garbage collected.

    The operating system maps a new array of more than 128 kB page by page, and unmaps it when it is freed. An unrolled
    network asks for arrays of the same sizes at every update, and finds them in the pool.
    """

    SMALL = 65536  # below so many bytes the allocator maps no pages, and is quicker than the pool
    FEW = SMALL // 8  # so many numbers take no more bytes than that, in any precision

    def __init__(self) -> None:
        self.idle = Idle()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array whose numbers are undefined."""
        count = math.prod(shape)
        if count < self.FEW:
            return np.empty(shape, dtype)
        dtype = np.dtype(dtype)
        size = count * dtype.itemsize
        if size < self.SMALL:
            return np.empty(shape, dtype)
        memory = self.idle.take(size)
        if memory is None:
            # The base of a view is the array that owns the memory, not the _Block in between, unless the owner is of
            # the same type as the view. So the owner is a _Block, too, one without a pool.
            memory = np.empty(size, np.uint8).view(_Block)
        block = memory.view(_Block)
        block.pool, block.memory = self, memory
        return np.ndarray(shape, dtype, buffer=block)
