"""Arithmetic for kernels, of one number and of one from each lane: float32 stays float32, float64 stays float64.

    ZERO, ONE, HALF             beside a float64 they are widened, and lose nothing
    exp, log, sqrt, tanh, sigmoid   of the number's own precision
    clipped(x, limit)           x between -limit and limit
    bits(key, place)            a random 64-bit number
    row_sum, row_max            of one number from each lane, where a row of lanes works on a row of an array
    rows_and_lanes              the grid and the block of a kernel that works like that

A bare literal is a float64 and would pull the whole expression up with it, and a card has 2 (data centre) to 64 times
fewer units for float64. NaN stays NaN everywhere: the built-in `max` and `min` become instructions that drop it, so
bounds are comparisons here.

float32 errors: exp and tanh as CUDA's own library gives them, 2 units in the last place; sigmoid |error| < 2e-7.
"""

from __future__ import annotations

import importlib
import math

import numpy as np
from numba import float32

from micrornn.kernels import maths
from micrornn.kernels.cuda.jit import SIM, cuda, device

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
LOWEST = np.float32(-np.inf)


if SIM:  # Python's own functions raise an error where a card's give inf or NaN
    quiet = importlib.import_module("micrornn.kernels.cuda.simulator").quiet
    exp, log, sqrt, tanh, bits = (quiet(f) for f in (np.exp, np.log, np.sqrt, np.tanh, maths.bits))
else:  # of a float32 these are the float32 functions
    exp, log, sqrt, tanh, bits = math.exp, math.log, math.sqrt, math.tanh, device(maths.bits)


@device
def clipped(x, limit):
    return limit if x > limit else (-limit if x < -limit else x)


def quotient(a, b):
    """a / b for b between 1 and 2, where the quick division is right to 2 units in the last place."""
    return a / b


if not SIM:

    @cuda.extending.overload(quotient)
    def _quotient(a, b):
        if a == float32 and b == float32:
            return lambda a, b: cuda.libdevice.fast_fdividef(a, b)
        return lambda a, b: a / b


@device
def sigmoid(x):
    """1 / (1 + exp(-x)). Never exp of a positive number, so it cannot overflow."""
    e = exp(-abs(x))
    return quotient(ONE if x >= ZERO else e, ONE + e)


@device
def power(x, y):
    return x**y


@device
def sign_of(x):
    return ONE if x > ZERO else (-ONE if x < ZERO else x)  # 0 at 0, and NaN stays NaN


# --- a row of lanes ------------------------------------------------------------------------------------------------

MOST = 16 if SIM else 256  # threads of a block
WARP = 8 if SIM else 32  # fewest lanes of a row; the simulator knows no warps, and is quicker with few threads
PER_LANE = 4  # numbers of a row for each lane, before more lanes are worth their adding up
ALL = 0xFFFFFFFF  # lanes of a warp


def rows_and_lanes(rows: int, width: int) -> tuple[int, tuple[int, int]]:
    """(blocks, (lanes, rows of a block)): as many lanes side by side as a row of this width feeds, a power of two."""
    lanes = WARP
    while lanes < MOST and lanes * PER_LANE < width:
        lanes *= 2
    return -(-rows // (MOST // lanes)), (lanes, MOST // lanes)


@device
def row_sum(buffer, value):
    """The sum of `value` over the lanes of this row, given to each of them. All threads of the block must call it."""
    return _over_lanes(buffer, value, False)


@device
def row_max(buffer, value):
    """As row_sum, the largest. NaN may be lost."""
    return _over_lanes(buffer, value, True)


@device
def _joined(a, b, largest):
    return (b if b > a else a) if largest else a + b


@device
def _over_lanes(buffer, value, largest):
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    start = cuda.threadIdx.y * lanes
    if SIM:
        cuda.syncthreads()  # the buffer may still be read from the time before
        buffer[start + lane] = value
        cuda.syncthreads()
        value = buffer[start]
        for k in range(1, lanes):
            value = _joined(value, buffer[start + k], largest)
    else:
        offset = 16
        while offset > 0:
            value = _joined(value, cuda.shfl_xor_sync(ALL, value, offset), largest)
            offset >>= 1
        if lanes > 32:
            cuda.syncthreads()
            if lane % 32 == 0:
                buffer[(start + lane) // 32] = value
            cuda.syncthreads()
            value = buffer[start // 32]
            for k in range(1, lanes // 32):
                value = _joined(value, buffer[start // 32 + k], largest)
    return value
