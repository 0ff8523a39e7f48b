"""A matrix times a vector, as sampling needs it: one lane, one time step."""

from __future__ import annotations

from micrornn.kernels.cuda.jit import cuda, kernel, stream
from micrornn.kernels.cuda.maths import MOST, ZERO, row_sum, rows_and_lanes


@kernel
def _matvec(out, weight, x, bias):
    """Each row of the weights is read once, by lanes side by side: the speed of the memory is all that counts."""
    buffer = cuda.shared.array(MOST, x.dtype)
    row, total = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, ZERO
    if row < out.size:
        for k in range(cuda.threadIdx.x, x.size, cuda.blockDim.x):
            total += weight[row * x.size + k] * x[k]
    total = row_sum(buffer, total)
    if row < out.size and cuda.threadIdx.x == 0:
        out[row] = total + bias[row]


def matvec(out, weight, x, bias):
    if out.size:
        grid, block = rows_and_lanes(out.size, x.size)
        _matvec[grid, block, stream()](out.flat, weight.flat, x.flat, bias.flat)
