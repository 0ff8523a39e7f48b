"""How work is split over the cores, and the scratch memory that kernels share.

set_threads(n)   how many threads kernels may use from now on
split(n, cost)   into how many parts n rows that cost so many multiplications are worth splitting
in_parts(...)    call a kernel for all rows, or its parallel form
bound(p, ...)    the first row of part p: parts as even as can be
workspace(...)   a flat scratch array that is made once and grows, one per Python thread
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numba
import numpy as np
from numba.np.ufunc import parallel

from micrornn import device
from micrornn.errors import ConfigError
from micrornn.kernels.cpu.jit import kernel

try:
    parallel._launch_threads()
except ValueError as error:
    words = " ".join(str(error).split())
    raise ConfigError(f"Numba starts no threads: {words} (variables NUMBA_THREADING_LAYER...)") from None
_threads = device.default_threads()


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.views: dict[tuple[Any, ...], np.ndarray] = {}  # by name, precision, and shape unless it is the whole


_scratch = _Scratch()

LINE = 64  # bytes of a cache line

# Below this many multiplications a part is done before another core has woken up (a parallel region: 2-5 us).
WORTH_A_THREAD = 400_000


def set_threads(n: int) -> None:
    """Let kernels use n threads. With 1, no parallel region is ever entered."""
    global _threads
    _threads = max(1, min(n, numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(_threads)


def split(rows: int, cost: int) -> int:
    """How many parts to cut `rows` rows into, that together cost `cost` multiplications."""
    return 1 if _threads == 1 or cost < 2 * WORTH_A_THREAD else max(1, min(_threads, rows, cost // WORTH_A_THREAD))


def in_parts(alone, together, arrays, rows: int, cost: int) -> None:
    """alone(*arrays, 0, rows), or together(*arrays, parts) where that is worth it."""
    parts = split(rows, cost)
    if parts == 1:
        alone(*arrays, 0, rows)
    else:
        together(*arrays, parts)


@kernel(inline="always")
def bound(part, parts, rows):
    """The first of `rows` rows that belongs to `part`; `bound(parts, ...)` is `rows`."""
    return part * rows // parts


def workspace(shape: int | tuple[int, ...], dtype: np.dtype, name: str = "panels") -> np.ndarray:
    """A scratch array of this shape, cut from one that is made once and grows; what it holds is undefined.

    It begins on a cache line: a vector that lies across two of them takes two loads.
    """
    views = _scratch.views
    found: np.ndarray | None = views.get((name, dtype, shape))
    if found is None:
        size = shape if isinstance(shape, int) else math.prod(shape)
        whole = views.get((name, dtype))
        if whole is None or whole.size < size:
            new = np.empty(size + LINE // dtype.itemsize, dtype)
            start = -new.ctypes.data % LINE // new.itemsize
            for key in [key for key in views if key[:2] == (name, dtype)]:
                del views[key]  # they look at the smaller one
            whole = views[name, dtype] = new[start : start + size]
        found = views[name, dtype, shape] = whole[:size].reshape(shape)
    return found
