"""One number in, one number out: the loops that are made of formulas.py (LIFTED), and those that are no formula.

`flat` makes a kernel over flat arrays callable with arrays of any number of axes; steps and optimizers use it too.
All of these are bound by memory: neighbouring threads touch neighbouring numbers, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels import lift
from micrornn.kernels.cuda import maths
from micrornn.kernels.cuda.array import Array
from micrornn.kernels.cuda.jit import THREADS, blocks, cache_dir, cuda, kernel, stream
from micrornn.kernels.cuda.maths import ZERO


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A kernel over the numbers of its first array, to be called with arrays of any number of axes.

    Python's floats are handed over in that array's precision, so that no float64 gets into a float32 kernel; what
    has a type already (np.uint64, bool) keeps it. The compiled form is the attribute `kernel`.
    """
    compiled = kernel(function)

    @wraps(function)
    def call(first: Array, *rest: Any) -> None:
        if first.size:
            kind = first.dtype.type
            given = [a.flat if isinstance(a, Array) else a if _typed(a) else kind(a) for a in rest]
            compiled[blocks(first.size), THREADS, stream()](first.flat, *given)

    call.kernel = compiled  # type: ignore[attr-defined]
    return call


def _typed(number: Any) -> bool:
    return isinstance(number, bool | np.bool_ | np.uint64)


@flat
def scale_by(out, x, factor):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * factor[0]


@flat
def accumulate(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] += x[i]


@flat
def _dropout(out, x, keep, key, least):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * keep if (maths.bits(key, i) >> np.uint64(32)) >= least else ZERO


def dropout(out, x, rate, key):
    least = np.uint64(rate * 4294967296.0)  # of 2^32: a number is kept when its upper half is no less
    _dropout(out, x, 1 / (1 - rate), np.uint64(key), least)


LIFTED = lift.kernels("cuda", cache_dir())
