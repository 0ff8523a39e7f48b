"""The arithmetic: loops over arrays, and nothing else. A kernel never allocates, checks or raises.

    for_device(name)    the table of kernels of a device: "cpu", "cuda", or "reference" (plain NumPy)
    of(array)           the table for the device that holds the array
    set_threads(n)      how many cores the kernels may use
    use(name)           a block in which another table does the work
    NAMES               what every table holds

The same names with the same parameters exist once per device; reference.py says what each of them means. A table
also makes arrays (`empty`, `zeros`, `asarray`), so that an op is written once for every device.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from micrornn import device
from micrornn.kernels import reference

# What a kernel is: a public function of the reference page.
NAMES = tuple(
    name
    for name, value in vars(reference).items()
    if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == reference.__name__
)


class Kernels:
    """The kernels of one device as attributes, and the arrays they work on."""

    pool = device.Pool()

    def __init__(self, name: str, module: ModuleType):
        self.device = name
        for kernel in NAMES:
            function = getattr(module, kernel, None)
            if function is None:
                raise NotImplementedError(f"kernel {kernel} is missing on device {name}")
            setattr(self, kernel, function)

    def __getattr__(self, name: str) -> Any:  # tells a type checker that kernels are found here
        raise AttributeError(name)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of undefined numbers."""
        return self.pool.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of zeros."""
        out = self.pool.empty(shape, dtype)
        out[...] = 0
        return out

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> np.ndarray:
        """An array of the same number."""
        out = self.pool.empty(shape, dtype)
        out[...] = value
        return out

    def contiguous(self, view: np.ndarray) -> np.ndarray:
        """The array itself if its numbers lie in order, else a copy in which they do."""
        if view.flags.c_contiguous:
            return view
        out = self.pool.empty(view.shape, view.dtype)
        out[...] = view
        return out


@cache
def for_device(name: str) -> Kernels:
    """The table of kernels of a device. Numba is imported here, at the first call, and not before."""
    if name == "reference":
        return Kernels(name, reference)
    device.require(name)
    from micrornn.kernels import cpu

    return Kernels(name, cpu)


def set_threads(n: int) -> None:
    """How many processor cores the kernels may use."""
    from micrornn.kernels import cpu

    cpu.set_threads(n)


_instead: str | None = None


def of(array: np.ndarray) -> Kernels:
    """The table for the device that holds the array."""
    return for_device(_instead or device.of(array))


@contextmanager
def use(name: str) -> Iterator[None]:
    """Let another table do the work, e.g. `use("reference")`: the same tape on the plain NumPy kernels."""
    global _instead
    before, _instead = _instead, name
    try:
        yield
    finally:
        _instead = before
