"""Softmax, its logarithm, cross-entropy, and a matrix times a vector, row by row.

Every sum is taken in an order that depends on the shape alone: the same bits every time, on every card.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature, signature

from micrornn.kernels.cuda import maths
from micrornn.kernels.cuda.array import Array
from micrornn.kernels.cuda.jit import cuda, device, kernel
from micrornn.kernels.cuda.maths import LOWEST, MOST, ONE, ZERO, row_max, row_sum, rows_and_lanes

# x is (R, V). A row of lanes works on each row; a row that is not there has no numbers, but its threads stay, for
# all of a block meet in row_sum. exp is computed again rather than written and read back: memory is what is slow.


@device
def row_of(rows, width):
    """(this thread's row, its first number in it, where the row ends)."""
    row = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    start = row * width
    return row, start + cuda.threadIdx.x, start + width if row < rows else 0


def over_rows(function: Callable[..., None]) -> Callable[..., None]:
    """A kernel over the rows of a matrix, the first one among its arrays; it is called without their number and width,
    its last parameters."""
    compiled = kernel(function)

    def call(*arrays: Array) -> None:
        rows, width = next(array.shape for array in arrays if array.ndim == 2)
        if rows:
            grid, block = rows_and_lanes(rows, width)
            compiled[grid, block](*[array.flat for array in arrays], rows, width)

    parameters = list(signature(function).parameters.values())[:-2]
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return call


@device
def _largest(buffer, x, start, end):
    most = LOWEST
    for i in range(start, end, cuda.blockDim.x):
        most = x[i] if x[i] > most else most
    return row_max(buffer, most)  # without NaN, which comes back with the exp of it


@device
def _sum_of_exp(buffer, x, start, end, most):
    total = ZERO
    for i in range(start, end, cuda.blockDim.x):
        total += maths.exp(x[i] - most)
    return row_sum(buffer, total)


@over_rows
def softmax(out, x, rows, width):
    buffer = cuda.shared.array(MOST, x.dtype)
    row, start, end = row_of(rows, width)
    most = _largest(buffer, x, start, end)
    total = _sum_of_exp(buffer, x, start, end, most)
    if row < rows:
        share = ONE / total
        for i in range(start, end, cuda.blockDim.x):
            out[i] = maths.exp(x[i] - most) * share


@over_rows
def softmax_vjp(dx, dy, y, rows, width):
    buffer = cuda.shared.array(MOST, y.dtype)
    _, start, end = row_of(rows, width)
    dot = ZERO
    for i in range(start, end, cuda.blockDim.x):
        dot += dy[i] * y[i]
    dot = row_sum(buffer, dot)
    for i in range(start, end, cuda.blockDim.x):
        dx[i] = y[i] * (dy[i] - dot)


@over_rows
def log_softmax(out, x, rows, width):
    buffer = cuda.shared.array(MOST, x.dtype)
    _, start, end = row_of(rows, width)
    most = _largest(buffer, x, start, end)
    shift = maths.log(_sum_of_exp(buffer, x, start, end, most))
    for i in range(start, end, cuda.blockDim.x):
        out[i] = (x[i] - most) - shift  # not x - (most + shift): that rounds at the size of most


@over_rows
def log_softmax_vjp(dx, dy, y, rows, width):
    buffer = cuda.shared.array(MOST, y.dtype)
    _, start, end = row_of(rows, width)
    total = ZERO
    for i in range(start, end, cuda.blockDim.x):
        total += dy[i]
    total = row_sum(buffer, total)
    for i in range(start, end, cuda.blockDim.x):
        dx[i] = dy[i] - maths.exp(y[i]) * total


@over_rows
def cross_entropy(loss, probabilities, logits, targets, rows, width):
    buffer = cuda.shared.array(MOST, logits.dtype)
    row, start, end = row_of(rows, width)
    most = _largest(buffer, logits, start, end)
    total = _sum_of_exp(buffer, logits, start, end, most)
    if cuda.threadIdx.x == 0 and row < rows:  # log first: see log_softmax
        loss[row] = maths.log(total) - (logits[row * width + targets[row]] - most)
    cuda.syncthreads()  # the logits may be written over from here on
    if row < rows:
        share = ONE / total
        for i in range(start, end, cuda.blockDim.x):
            probabilities[i] = maths.exp(logits[i] - most) * share


@over_rows
def cross_entropy_vjp(dlogits, dloss, probabilities, targets, rows, width):
    row, start, end = row_of(rows, width)
    if row < rows:
        weight, target = dloss[row], row * width + targets[row]
        for i in range(start, end, cuda.blockDim.x):
            dlogits[i] = weight * probabilities[i] - (weight if i == target else ZERO)


@over_rows
def matvec(out, weight, x, bias, rows, width):
    """Each row of the weights is read once, by lanes side by side: the speed of the memory is all that counts."""
    buffer = cuda.shared.array(MOST, x.dtype)
    row, start, end = row_of(rows, width)
    total = ZERO
    for i in range(start, end, cuda.blockDim.x):
        total += weight[i] * x[i - row * width]
    total = row_sum(buffer, total)
    if row < rows and cuda.threadIdx.x == 0:
        out[row] = total + bias[row]
