"""Many numbers in, one out: sums, maxima, softmax and cross-entropy over rows, gather and scatter, norms.

Every sum is taken in an order that depends on the shape alone: the same bits every time, on every card.
"""

from __future__ import annotations

import numpy as np

from micrornn.kernels.cuda import maths
from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.jit import SIM, cuda, device, kernel, stream
from micrornn.kernels.cuda.maths import LOWEST, MOST, ONE, PER_LANE, WARP, ZERO, row_max, row_sum, rows_and_lanes

ENOUGH = 4 if SIM else 512  # blocks that keep the largest card busy
SLAB = 16 if SIM else 8192  # ids that scatter_add puts in order at a time
RANKED, SHARED_BY = (4, 2) if SIM else (32, 8)  # ids that a block of it finds the places of, threads for each


# --- along any axis ----------------------------------------------------------------------------------------------
#
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
        _sum[grid, block, stream()](out.flat, x.flat, n, inner, columns, share, inner > 1, bool(accumulate))
        return
    found = empty((parts, columns), x.dtype)
    _sum[(grid, parts), block, stream()](found.flat, x.flat, n, inner, columns, share, inner > 1, False)
    grid, block, _ = _shape(columns, parts, columns)
    _sum[grid, block, stream()](out.flat, found.flat, parts, columns, columns, parts, columns > 1, bool(accumulate))


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
        _max[grid, block, stream()](out.flat, where.flat, x.flat, n, inner, out.size, inner > 1)


@kernel
def _max_vjp(dx, dy, where, n, inner, columns, across):
    c, lane, lanes, _ = _column(across)
    if c < columns:
        start = c // inner * n * inner + c % inner
        for k in range(lane, n, lanes):
            dx[start + k * inner] = dy[c] if where[c] == k else ZERO


def max_vjp(dx, dy, where):
    if dx.size:
        _, n, inner = dx.shape
        grid, block, _ = _shape(dy.size, n, inner)
        _max_vjp[grid, block, stream()](dx.flat, dy.flat, where.flat, n, inner, dy.size, inner > 1)


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
        _squares[1, MOST, stream()](out.flat, x.flat)
        return
    found = empty((1, count, 1), np.float64)
    _squares[count, MOST, stream()](found.flat, x.flat)
    grid, block, _ = _shape(1, count, 1)
    _sum[grid, block, stream()](out.flat, found.flat, count, 1, 1, count, False, False)


# --- rows --------------------------------------------------------------------------------------------------------
#
# x is (R, V). A row of lanes works on each row; a row that is not there has no numbers, but its threads stay, for
# all of a block meet in row_sum. exp is computed again rather than written and read back: memory is what is slow.


@device
def _row(rows, width):
    """(this thread's row, its first number in it, where the row ends)."""
    row = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    start = row * width
    return row, start + cuda.threadIdx.x, start + width if row < rows else 0


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


@kernel
def _softmax(out, x, rows, width):
    buffer = cuda.shared.array(MOST, x.dtype)
    row, start, end = _row(rows, width)
    most = _largest(buffer, x, start, end)
    total = _sum_of_exp(buffer, x, start, end, most)
    if row < rows:
        share = ONE / total
        for i in range(start, end, cuda.blockDim.x):
            out[i] = maths.exp(x[i] - most) * share


@kernel
def _softmax_vjp(dx, dy, y, rows, width):
    buffer = cuda.shared.array(MOST, y.dtype)
    _, start, end = _row(rows, width)
    dot = ZERO
    for i in range(start, end, cuda.blockDim.x):
        dot += dy[i] * y[i]
    dot = row_sum(buffer, dot)
    for i in range(start, end, cuda.blockDim.x):
        dx[i] = y[i] * (dy[i] - dot)


@kernel
def _log_softmax(out, x, rows, width):
    buffer = cuda.shared.array(MOST, x.dtype)
    _, start, end = _row(rows, width)
    most = _largest(buffer, x, start, end)
    shift = maths.log(_sum_of_exp(buffer, x, start, end, most))
    for i in range(start, end, cuda.blockDim.x):
        out[i] = (x[i] - most) - shift  # not x - (most + shift): that rounds at the size of most


@kernel
def _log_softmax_vjp(dx, dy, y, rows, width):
    buffer = cuda.shared.array(MOST, y.dtype)
    _, start, end = _row(rows, width)
    total = ZERO
    for i in range(start, end, cuda.blockDim.x):
        total += dy[i]
    total = row_sum(buffer, total)
    for i in range(start, end, cuda.blockDim.x):
        dx[i] = dy[i] - maths.exp(y[i]) * total


@kernel
def _cross_entropy(loss, probabilities, logits, targets, rows, width):
    buffer = cuda.shared.array(MOST, logits.dtype)
    row, start, end = _row(rows, width)
    most = _largest(buffer, logits, start, end)
    total = _sum_of_exp(buffer, logits, start, end, most)
    if cuda.threadIdx.x == 0 and row < rows:  # log first: see log_softmax
        loss[row] = maths.log(total) - (logits[row * width + targets[row]] - most)
    cuda.syncthreads()  # the logits may be written over from here on
    if row < rows:
        share = ONE / total
        for i in range(start, end, cuda.blockDim.x):
            probabilities[i] = maths.exp(logits[i] - most) * share


@kernel
def _cross_entropy_vjp(dlogits, dloss, probabilities, targets, rows, width):
    row, start, end = _row(rows, width)
    if row < rows:
        weight, target = dloss[row], row * width + targets[row]
        for i in range(start, end, cuda.blockDim.x):
            dlogits[i] = weight * probabilities[i] - (weight if i == target else ZERO)


def _over_rows(compiled, *arrays):
    """Launch for the rows of the second array, which is one of (R, V)."""
    rows, width = arrays[1].shape
    if rows and width:
        grid, block = rows_and_lanes(rows, width)
        compiled[grid, block, stream()](*[array.flat for array in arrays], rows, width)


def softmax(out, x):
    _over_rows(_softmax, out, x)


def softmax_vjp(dx, dy, y):
    _over_rows(_softmax_vjp, dx, dy, y)


def log_softmax(out, x):
    _over_rows(_log_softmax, out, x)


def log_softmax_vjp(dx, dy, y):
    _over_rows(_log_softmax_vjp, dx, dy, y)


def cross_entropy(loss, probabilities, logits, targets):
    _over_rows(_cross_entropy, loss, probabilities, logits, targets)


def cross_entropy_vjp(dlogits, dloss, probabilities, targets):
    rows, width = dlogits.shape
    if rows and width:
        grid, block = rows_and_lanes(rows, width)
        given = dlogits.flat, dloss.flat, probabilities.flat, targets.flat
        _cross_entropy_vjp[grid, block, stream()](*given, rows, width)


# --- tables ------------------------------------------------------------------------------------------------------


@kernel
def _gather(out, table, ids, rows, width):
    row, start, end = _row(rows, width)
    if row < rows:
        there = ids[row] * width - row * width
        for i in range(start, end, cuda.blockDim.x):
            out[i] = table[there + i]


def gather(out, table, ids):
    rows, width = out.shape
    if rows and width:
        grid, block = rows_and_lanes(rows, width)
        _gather[grid, block, stream()](out.flat, table.flat, ids.flat, rows, width)


@kernel
def _rank(order, ids, first, count):
    """order[p] = the place r, from `first` on, of the p-th id when they are sorted, equal ones in the order of r.

    p is the number of ids that come before, which several threads count, each its share.
    """
    before = cuda.shared.array((SHARED_BY, RANKED), np.int32)
    lane, part = cuda.threadIdx.x, cuda.threadIdx.y
    r = cuda.blockIdx.x * cuda.blockDim.x + lane
    found = 0
    if r < count:
        mine = ids[first + r]
        for q in range(part, count, SHARED_BY):
            other = ids[first + q]
            if other < mine or (other == mine and q < r):
                found += 1
    before[part, lane] = found
    cuda.syncthreads()
    if part == 0 and r < count:
        for k in range(1, SHARED_BY):
            found += before[k, lane]
        order[found] = r


@kernel
def _add_runs(table, ids, rows, order, first, count, width):
    """The ids are sorted by `order`. At the start of a run of equal ids, one thread for each column adds up the
    run's rows, one after the other."""
    p = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    if p < count and j < width:
        mine = ids[first + order[p]]
        if p == 0 or ids[first + order[p - 1]] != mine:
            total = table[mine * width + j]
            at = first * width + j
            # Eight rows are asked for before the first is added, so that their ways from memory overlap. The
            # additions stay in order.
            while p + 8 <= count and ids[first + order[p + 7]] == mine:
                row_0 = rows[at + order[p] * width]
                row_1 = rows[at + order[p + 1] * width]
                row_2 = rows[at + order[p + 2] * width]
                row_3 = rows[at + order[p + 3] * width]
                row_4 = rows[at + order[p + 4] * width]
                row_5 = rows[at + order[p + 5] * width]
                row_6 = rows[at + order[p + 6] * width]
                row_7 = rows[at + order[p + 7] * width]
                total = total + row_0 + row_1 + row_2 + row_3 + row_4 + row_5 + row_6 + row_7
                p += 8
            while p < count and ids[first + order[p]] == mine:
                total += rows[at + order[p] * width]
                p += 1
            table[mine * width + j] = total


def scatter_add(table, ids, rows):
    """Sort the ids, then let each run of equal ones be added up by itself: no atomics, and the order of r is kept.

    What it costs does not depend on the size of the table. The sort compares each id with each: R^2 comparisons,
    67 million (by the count of instructions some 10 us of an H200) for a slab of 8192, and so for more ids there are
    more slabs, one behind the other. Adding reads each of the rows once; its longest run cannot be shared out, for
    its order is given: a word that is every tenth of 8192 waits for memory 100 times. Not measured on a card yet.
    """
    count, width = rows.shape
    if not width:
        return
    lanes = WARP
    while lanes < MOST and lanes < width:
        lanes *= 2
    for first in range(0, count, SLAB):
        here = min(SLAB, count - first)
        order = empty((here,), np.int32)
        _rank[-(-here // RANKED), (RANKED, SHARED_BY), stream()](order.flat, ids.flat, first, here)
        grid, block = (-(-here // (MOST // lanes)), -(-width // lanes)), (lanes, MOST // lanes)
        _add_runs[grid, block, stream()](table.flat, ids.flat, rows.flat, order.flat, first, here, width)
