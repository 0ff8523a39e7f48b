"""One time step of one lane, as sampling needs it. The equations are in reference.py."""

from __future__ import annotations

from micrornn.kernels.cuda.elementwise import flat
from micrornn.kernels.cuda.jit import cuda, kernel, stream
from micrornn.kernels.cuda.maths import MOST, ZERO, row_sum, rows_and_lanes, sigmoid, tanh


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


@flat
def rnn_step(h, gates, hidden, relu):
    for j in range(cuda.grid(1), h.size, cuda.gridsize(1)):
        a = gates[j] + hidden[j]
        if relu:
            h[j] = ZERO if a <= ZERO else a
        else:
            h[j] = tanh(a)


@flat
def lstm_step(h, c, gates, hidden):
    size = h.size
    for j in range(cuda.grid(1), size, cuda.gridsize(1)):
        i = sigmoid(gates[j] + hidden[j])
        f = sigmoid(gates[size + j] + hidden[size + j])
        g = tanh(gates[2 * size + j] + hidden[2 * size + j])
        o = sigmoid(gates[3 * size + j] + hidden[3 * size + j])
        c_t = f * c[j] + i * g
        c[j] = c_t
        h[j] = o * tanh(c_t)


@flat
def gru_step(h, gates, hidden):
    size = h.size
    for j in range(cuda.grid(1), size, cuda.gridsize(1)):
        r = sigmoid(gates[j] + hidden[j])
        z = sigmoid(gates[size + j] + hidden[size + j])
        n = tanh(gates[2 * size + j] + r * hidden[2 * size + j])
        h[j] = n + z * (h[j] - n)
