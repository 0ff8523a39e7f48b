"""The arithmetic: loops over arrays, and nothing else. A kernel never allocates, checks or raises.

    for_device(name)    the table of kernels of a device: "cpu", "cuda", "reference" (plain NumPy), or "symbols"
    of(array)           the table for the device that holds the array
    set_threads(n)      how many cores the kernels may use
    set_matmul_precision(device, precision)    how exact products are
    release()           give memory that is idle back to the system
    require_numba()     import Numba, or say why that cannot be
    use(name)           a block in which another table does the work
    NAMES               what every table holds

The same names with the same parameters exist once per device; formulas.py and reference.py say what each of them means.
A table also makes arrays (host.py, cuda/array.py), so that an op is written once for every device.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from micrornn import device
from micrornn.errors import ConfigError
from micrornn.kernels import host, lift, reference

# What a kernel is: a formula, or a public function of the reference page.
NAMES = lift.NAMES + tuple(
    name
    for name, value in vars(reference).items()
    if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == reference.__name__
)
MAKERS = ("empty", "full", "zeros", "asarray", "contiguous", "spread")  # of arrays


class Kernels:
    """The kernels of one device as attributes, and what makes the arrays they work on."""

    def __init__(self, name: str, module: ModuleType, arrays: ModuleType):
        self.device = name
        for names, place in ((NAMES, module), (MAKERS, arrays)):
            for one in names:
                function = getattr(place, one, None)
                if function is None:
                    raise NotImplementedError(f"kernel {one} is missing on device {name}")
                setattr(self, one, function)
        known = {formula.function: getattr(self, one) for one, formula in lift.FORMULAS.items()}
        # of a formula: kernel(out, arrays...), made when it is first asked for
        self.lift = cache(lambda function: known.get(function) or module.lifted(lift.own(function)))

    def __getattr__(self, name: str) -> Any:  # tells a type checker that kernels are found here
        raise AttributeError(name)


@cache
def for_device(name: str) -> Kernels:
    """The table of kernels of a device. Numba is imported here, at the first call, and not before."""
    if name == "reference":
        return Kernels(name, reference, host)
    if name == "symbols":
        from micrornn.kernels.symbols import table

        return Kernels(name, table, table)
    device.require(name)
    require_numba()
    if name == "cuda":
        from micrornn.kernels import cuda
        from micrornn.kernels.cuda import array

        return Kernels(name, cuda, array)
    from micrornn.kernels import cpu

    return Kernels(name, cpu, host)


def require_numba() -> None:
    """Import Numba; ConfigError where one of its own variables keeps it from that."""
    try:
        importlib.import_module("numba")
    except ValueError as error:
        raise ConfigError(f"Numba does not start: {error} Look at the variables NUMBA_...") from None


def set_threads(n: int) -> None:
    """How many processor cores the kernels may use."""
    from micrornn.kernels import cpu

    cpu.set_threads(n)


def set_matmul_precision(name: str, precision: str) -> None:
    """Of the products on a device from now on: "float32", or on a graphics card "tf32". ConfigError for another."""
    if name == "cuda":
        from micrornn.kernels.cuda import product

        product.set_precision(precision)
    elif precision != "float32":
        raise ConfigError(f"`matmul_precision={precision}` is for `device=cuda`; the processor's is float32")


def release() -> None:
    """Give the memory that lies ready for later arrays back to the system. Nothing that is in use is touched."""
    host.pool.idle.release()
    array = sys.modules.get("micrornn.kernels.cuda.array")
    if array is not None:
        array.pool.idle.release()


_instead: str | None = None


def of(array: Any) -> Kernels:
    """The table for the device that holds the array."""
    name = array.device
    return for_device(name if name == "symbols" else _instead or name)  # nothing else can read symbols


@contextmanager
def use(name: str) -> Iterator[None]:
    """Let another table do the work, e.g. `use("reference")`: the same tape on the plain NumPy kernels."""
    global _instead
    before, _instead = _instead, name
    try:
        yield
    finally:
        _instead = before
