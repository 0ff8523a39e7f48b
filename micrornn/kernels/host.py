"""Arrays in the machine's own memory: NumPy's. What the tables "cpu" and "reference" make arrays with.

kernels/cuda/array.py offers the same names for the memory of a graphics card, so that an op is written once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn.pool import Pool

pool = Pool()


empty = pool.empty  # (shape, dtype): an array of undefined numbers


def full(shape: tuple[int, ...], value: float, dtype: Any) -> np.ndarray:
    """An array of the same number."""
    out = pool.empty(shape, dtype)
    out[...] = value
    return out


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros."""
    return np.zeros(shape, dtype) if math.prod(shape) < pool.FEW else full(shape, 0, dtype)


def asarray(array: Any, dtype: Any = None) -> np.ndarray:
    """The numbers of a NumPy array, in the memory of this device, C-contiguous."""
    return np.asarray(array, dtype, order="C")


def contiguous(view: np.ndarray) -> np.ndarray:
    """The array itself if its numbers lie in order, else a copy in which they do."""
    view = np.asarray(view)  # NumPy gives a single number as no array
    if view.flags.c_contiguous:
        return view
    out = pool.empty(view.shape, view.dtype)
    out[...] = view
    return out


def spread(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array repeated to this shape by the rules of broadcasting; itself if it has it already."""
    return array if array.shape == shape else contiguous(np.broadcast_to(array, shape))
