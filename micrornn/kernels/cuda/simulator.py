"""Numba's CUDA simulator, with its faults mended. Only imported where it runs (NUMBA_ENABLE_CUDASIM=1).

    cuda            Numba's `cuda` for the code of kernels
    quiet(f)        f, dividing by zero in silence, as a card does

Each thread of a card is one of Python's here. What goes wrong with that:
- Numba puts another object in the place of a kernel's global `cuda` while it runs, and takes it back when the first of
  several threads is done. So our `cuda` looks up by itself which kernel is running.
- A thread looks whether a shared array is there, and then makes it, without a lock: now and then two threads get one
  each, and a kernel that is right gives wrong numbers. Ours has a lock; and what is read before it is written is NaN.
- Threads wait for each other all the time: with Python's own turns of 5 ms, for twice as long.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype


class _Cuda:
    """What `cuda` is in a kernel: of the kernel that is running, else Numba's module."""

    def __init__(self, plain: Any):
        self._plain, self._kernel = plain, importlib.import_module("numba.cuda.simulator.kernel")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel._get_kernel_context() or self._plain, name)


class quiet:
    """The same function; 1 / 0 is inf and inf - inf NaN, without a word."""

    def __init__(self, function: Callable[..., Any]):
        update_wrapper(self, function)
        self.function, self.__globals__ = function, getattr(function, "__globals__", {})

    def __call__(self, *arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return self.function(*arguments)


_lock = threading.Lock()
_shared = importlib.import_module("numba.cuda.simulator.kernelapi").FakeCUDAShared


def _array(self: Any, shape: Any, dtype: Any, alignment: Any = None) -> np.ndarray:
    caller = sys._getframe(1)
    place = caller.f_code.co_filename, caller.f_lineno
    with _lock:
        if place not in self._allocations:
            kind = as_dtype(dtype) if isinstance(dtype, types.Type) else np.dtype(dtype)
            self._allocations[place] = np.full(shape, np.nan if kind.kind == "f" else 77, kind)
        made: np.ndarray = self._allocations[place]
        return made


_shared.array = _array
sys.setswitchinterval(1e-4)
cuda: Any = _Cuda(importlib.import_module("numba.cuda"))
