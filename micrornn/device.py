"""Where arrays live and how many threads work on them.

    available(device)       None if a device can be used, else the reason why not
    require(device)         raises DeviceError with that reason
    of(array)               the device of an array
    host(array)             the same numbers as a NumPy array, in this machine's memory
    card()                  facts about the graphics card
    default_threads()       the cores that this process may use
    memory()                bytes of memory in this machine

A device is named "cpu" or "cuda". "reference" names the plain NumPy kernels: the same memory as "cpu".
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from micrornn.errors import DeviceError, instead

DEVICES = ("cpu", "cuda")


def available(device: str) -> str | None:
    """None if the device can be used on this machine, else one line that says why not."""
    if device in ("cpu", "reference"):
        return None
    if device == "cuda":
        try:
            return _cuda("card").why_not()
        except ImportError as error:
            return f"Numba's part for it is missing ({error}); `pip install 'micrornn[cuda]'`, or use `device=cpu`"
    return f"there is no device {device!r}{instead(device, DEVICES)}"


def _cuda(module: str) -> Any:
    """A module of the CUDA kernels. It is imported by name and only when a card is asked for: it depends on this
    module, and whoever does not use a card should not wait for Numba."""
    return importlib.import_module(f"micrornn.kernels.cuda.{module}")


def card() -> dict[str, Any]:
    """Facts about the graphics card, ready for JSON. To be called only if available("cuda") is None."""
    return _cuda("card").about()


def require(device: str) -> str:
    """The device's name, or DeviceError with the reason why it cannot be used."""
    reason = available(device)
    if reason:
        raise DeviceError(f"device {device}: {reason}")
    return device


def of(array: Any) -> str:
    """The device whose memory holds the array; "symbols" for an array of symbols, not numbers (kernels/symbols)."""
    place = getattr(array, "device", "cpu")
    return place if place in ("cuda", "symbols") else "cpu"


def host(array: Any) -> np.ndarray:
    """The numbers as a NumPy array. From a graphics card they are copied, after all work queued there is done."""
    return array if isinstance(array, np.ndarray) else array.get()


def default_threads() -> int:
    """The number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory in this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
