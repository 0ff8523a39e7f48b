"""One number in, one number out: the loops that are made of formulas.py (LIFTED), and those that are no formula.

Arrays are seen as flat here (`flat`), so that one compiled form serves every number of axes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels import lift
from micrornn.kernels.cpu.jit import cache_dir, kernel


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A compiled kernel over flat arrays, to be called with arrays of any number of axes."""
    compiled = kernel(function)

    @wraps(function)
    def call(*arguments: Any) -> None:
        compiled(*[a.reshape(-1) if isinstance(a, np.ndarray) else a for a in arguments])

    return call


@flat
def scale_by(out, x, factor):
    for i in range(out.size):
        out[i] = x[i] * factor[0]


@kernel
def _accumulate(out, x):
    for i in range(out.size):
        out[i] += x[i]


def accumulate(out, x):
    _accumulate(out.reshape(-1), x.reshape(-1))  # as `flat`, but sooner there: small gradients are many


@kernel
def bits(key, i):
    """The i-th 64-bit number of the stream `key`: splitmix64 (Steele, Lea, Flood 2014), which needs no state."""
    z = np.uint64(key) + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@flat
def dropout(out, x, rate, key):
    least = np.uint64(rate * 4294967296.0)  # of 2^32: a number is kept when its upper half is no less
    keep = out.dtype.type(1 / (1 - rate))
    for i in range(out.size):
        out[i] = x[i] * keep if (bits(key, i) >> np.uint64(32)) >= least else 0


LIFTED = lift.kernels("cpu", cache_dir())
