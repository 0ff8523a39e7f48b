"""Rows of a table, fetched by their number, and added to in the order in which the numbers come."""

from __future__ import annotations

import numpy as np

from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.jit import SIM, cuda, kernel
from micrornn.kernels.cuda.maths import rows_and_lanes
from micrornn.kernels.cuda.rows import over_rows, row_of

SLAB = 16 if SIM else 8192  # ids that scatter_add puts in order at a time
RANKED, SHARED_BY = (4, 2) if SIM else (32, 8)  # ids that a block of it finds the places of, threads for each


@over_rows
def gather(out, table, ids, rows, width):
    row, start, end = row_of(rows, width)
    if row < rows:
        there = ids[row] * width - row * width
        for i in range(start, end, cuda.blockDim.x):
            out[i] = table[there + i]


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
    eight = cuda.local.array(8, table.dtype)
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
                for k in range(8):
                    eight[k] = rows[at + order[p + k] * width]
                for k in range(8):
                    total += eight[k]
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
    for first in range(0, count, SLAB):
        here = min(SLAB, count - first)
        order = empty((here,), np.int32)
        _rank[-(-here // RANKED), (RANKED, SHARED_BY)](order.flat, ids.flat, first, here)
        blocks, block = rows_and_lanes(here, width)
        _add_runs[(blocks, -(-width // block[0])), block](
            table.flat, ids.flat, rows.flat, order.flat, first, here, width
        )
