"""Is there a graphics card? Asked before Numba is imported, so without it."""

from __future__ import annotations

import ctypes


def has_card() -> bool:
    """Whether the driver of an NVIDIA card is there and finds one."""
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False
