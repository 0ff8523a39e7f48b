"""A matrix times a vector, as sampling needs it: one lane, one time step.

A product with a single row has each weight read once: nothing is gained by packing them, and nothing but the speed of
the memory counts. So the weights are read where they lie.
"""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import REORDER, kernel, parallel
from micrornn.kernels.cpu.threads import bound, split

BLOCK = 4  # rows of the weights that go through x side by side: one sum would wait for its own last addition


@kernel(fastmath=REORDER)
def _matvec_rows(out, weight, x, bias, low, high):
    whole = low + (high - low) // BLOCK * BLOCK
    for n in range(low, whole, BLOCK):
        row_0, row_1, row_2, row_3 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3]
        sum_0, sum_1, sum_2, sum_3 = bias[n], bias[n + 1], bias[n + 2], bias[n + 3]
        for k in range(x.size):
            sum_0 += row_0[k] * x[k]
            sum_1 += row_1[k] * x[k]
            sum_2 += row_2[k] * x[k]
            sum_3 += row_3[k] * x[k]
        out[n], out[n + 1], out[n + 2], out[n + 3] = sum_0, sum_1, sum_2, sum_3
    for n in range(whole, high):
        row, total = weight[n], bias[n]
        for k in range(x.size):
            total += row[k] * x[k]
        out[n] = total


@parallel
def _matvec_parallel(out, weight, x, bias, parts):
    for part in prange(parts):
        _matvec_rows(out, weight, x, bias, bound(part, parts, len(out)), bound(part + 1, parts, len(out)))


def matvec(out, weight, x, bias):
    parts = split(len(out), weight.size)
    if parts == 1:
        _matvec_rows(out, weight, x, bias, 0, len(out))
    else:
        _matvec_parallel(out, weight, x, bias, parts)
