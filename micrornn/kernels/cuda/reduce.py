"""Many numbers in, one out, along any axis: sums, maxima, norms.

Every sum is taken in an order that depends on the shape alone: the same bits every time, on every card.
"""

from __future__ import annotations

import numpy as np

from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.jit import SIM, cuda, device, kernel, over
from micrornn.kernels.cuda.maths import LOWEST, MOST, PER_LANE, WARP, ZERO, row_sum, rows_and_lanes

ENOUGH = 4 if SIM else 512  # blocks that keep the largest card busy


# x is (outer, n, inner); a column is one (o, j), all of whose n numbers become one. With inner = 1 the lanes of a
# column stand side by side in x; else columns do, and a column's lanes are the threads above each other (`across`).
# Either way neighbouring threads read neighbouring numbers.


@device
def _column(across):
    """This thread's column, its lane among those of the column and their number, how far apart lanes are as threads."""
    if across:
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        return column, cuda.threadIdx.y, cuda.blockDim.y, cuda.blockDim.x
    column = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    return column, cuda.threadIdx.x, cuda.blockDim.x, 1


@kernel
def _sum(out, x, n, inner, columns, share, across, accumulate):
    """Block (i, part): some columns, summed over `share` of their numbers, into out (parts, columns)."""
    buffer = cuda.shared.array(MOST, x.dtype)
    c, lane, lanes, stride = _column(across)
    at = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    first = cuda.blockIdx.y * share
    total = ZERO
    if c < columns:
        start = c // inner * n * inner + c % inner
        for k in range(first + lane, min(first + share, n), lanes):
            total += x[start + k * inner]
    buffer[at] = total
    cuda.syncthreads()
    half = lanes // 2
    while half > 0:
        if lane < half:
            buffer[at] += buffer[at + half * stride]
        cuda.syncthreads()
        half //= 2
    if lane == 0 and c < columns:
        to = cuda.blockIdx.y * columns + c
        out[to] = out[to] + buffer[at] if accumulate else buffer[at]


def _shape(columns: int, n: int, inner: int) -> tuple[int, tuple[int, int], int]:
    """(blocks, block, lanes of a column)."""
    if inner == 1:
        grid, block = rows_and_lanes(columns, n)
        return grid, block, block[0]
    return -(-columns // WARP), (WARP, MOST // WARP), MOST // WARP


def sum(out, x, accumulate):
    """Where there are too few columns to keep the card busy (the gradient of a bias: tall and narrow), their numbers
    are dealt out to several blocks, and a second launch adds up what they found."""
    _, n, inner = x.shape
    columns = out.size
    if not columns:
        return
    grid, block, lanes = _shape(columns, n, inner)
    parts = min(-(-ENOUGH // grid), -(-n // (lanes * PER_LANE))) or 1
    share = -(-n // parts)
    if parts == 1:
        _sum[grid, block](out.flat, x.flat, n, inner, columns, share, inner > 1, bool(accumulate))
        return
    found = empty((parts, columns), x.dtype)
    _sum[(grid, parts), block](found.flat, x.flat, n, inner, columns, share, inner > 1, False)
    grid, block, _ = _shape(columns, parts, columns)
    _sum[grid, block](out.flat, found.flat, parts, columns, columns, parts, columns > 1, bool(accumulate))


@device
def _beats(a, a_at, b, b_at):
    """Whether a is the maximum rather than b: NaN is the largest, and of equals the first counts."""
    if a != a:
        return b == b or a_at < b_at
    return b == b and (a > b or (a == b and a_at < b_at))


@kernel
def _max(out, where, x, n, inner, columns, across):
    buffer = cuda.shared.array(MOST, x.dtype)
    places = cuda.shared.array(MOST, np.int32)
    c, lane, lanes, stride = _column(across)
    at = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    best, place = LOWEST, n  # no place: whatever is there beats it
    if c < columns:
        start = c // inner * n * inner + c % inner
        for k in range(lane, n, lanes):
            if _beats(x[start + k * inner], k, best, place):
                best, place = x[start + k * inner], k
    buffer[at] = best
    places[at] = place
    cuda.syncthreads()
    half = lanes // 2
    while half > 0:
        if lane < half:
            other = at + half * stride
            if _beats(buffer[other], places[other], buffer[at], places[at]):
                buffer[at] = buffer[other]
                places[at] = places[other]
        cuda.syncthreads()
        half //= 2
    if lane == 0 and c < columns:
        out[c] = buffer[at]
        where[c] = places[at]


def max(out, where, x):
    if out.size:
        _, n, inner = x.shape
        grid, block, _ = _shape(out.size, n, inner)
        _max[grid, block](out.flat, where.flat, x.flat, n, inner, out.size, inner > 1)


@kernel
def _max_vjp(dx, dy, where, n, inner):
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        c, k = i // (n * inner) * inner + i % inner, i // inner % n
        dx[i] = dy[c] if where[c] == k else ZERO


def max_vjp(dx, dy, where):
    if dx.size:
        _max_vjp[over(dx.size)](dx.flat, dy.flat, where.flat, *dx.shape[1:])


@kernel
def _squares(out, x):
    """out[block] = the sum of the squares that this block's threads came across, in float64: the one kernel that
    computes in it, because a norm over millions of numbers is what clipping and stopping are decided by."""
    buffer = cuda.shared.array(MOST, np.float64)
    total = np.float64(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        total += np.float64(x[i]) * np.float64(x[i])
    total = row_sum(buffer, total)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = total


def sum_of_squares(out, x):
    count = min(ENOUGH, -(-x.size // (MOST * PER_LANE))) or 1
    if count == 1:
        _squares[1, MOST](out.flat, x.flat)
        return
    found = empty((1, count, 1), np.float64)
    _squares[count, MOST](found.flat, x.flat)
    sum(out, found, False)
