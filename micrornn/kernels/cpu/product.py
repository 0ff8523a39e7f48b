"""Matrix products: packing, the loop over tiles, and `matmul` on top of them; a product with one vector, as sampling
needs it.

The order of loops is Goto's (K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008):
a block of B is packed into panels that stay in the second-level cache, a panel in the first, a tile of C in
registers (tile.py).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import prange

from micrornn.kernels.cpu.jit import REORDER, TILE_BYTES, TILE_ROWS, kernel, parallel
from micrornn.kernels.cpu.multiply import multiply, ready
from micrornn.kernels.cpu.threads import bound, in_parts, split, workspace

DEPTH = 256  # rows of a packed block: a panel of DEPTH rows fits the first-level cache
BREADTH = 1024  # its columns: the block fits the second-level cache
PAGE = 4096  # bytes from row to row, from which on a transposed product copies what it reads
BLOCK = 4  # rows of the weights that go through x side by side: one sum would wait for its own last addition
STRIP = 8 * TILE_ROWS  # rows of C that are done with all panels before the next are begun: they stay near too


def panel_width(dtype: np.dtype) -> int:
    """Columns of a packed panel."""
    return TILE_BYTES // np.dtype(dtype).itemsize


@cache
def packed_size(rows: int, columns: int, dtype: np.dtype) -> int:
    """Numbers in a packed matrix: the last panel is filled up to the full width."""
    width = panel_width(dtype)
    return rows * ((columns + width - 1) // width) * width


@kernel
def _row(p, to, x, at, n, width):
    """n numbers into a row of a panel. Unsigned: an index that may count from the end is never made vector code."""
    to, at = np.uint64(to), np.uint64(at)
    if n == width:  # of fixed length: no loop is left of it
        for j in range(width):
            p[to + np.uint64(j)] = x[at + np.uint64(j)]
    else:
        for j in range(n):
            p[to + np.uint64(j)] = x[at + np.uint64(j)]
        for j in range(n, width):
            p[to + np.uint64(j)] = x.dtype.type(0)


@kernel
def _columns(p, to, x, at, row, n, width, count):
    """n columns of x^T into a panel. A line of the cache at a time: 16 numbers that lie side by side in x go to 16 rows
    of the panel, which all stay near."""
    line, step = np.uint64(16), np.uint64(width)
    for k in range(0, count, 16):
        first, rows = np.uint64(to + k * width), min(16, count - k)
        for j in range(n):
            source, place = np.uint64(at + j * row + k), first + np.uint64(j)
            if rows == 16:
                for i in range(line):
                    p[place + np.uint64(i) * step] = x[source + np.uint64(i)]
            else:
                for i in range(rows):
                    p[place + np.uint64(i) * step] = x[source + np.uint64(i)]
        for j in range(n, width):
            for i in range(rows):
                p[first + np.uint64(j) + np.uint64(i) * step] = x.dtype.type(0)


@kernel
def pack(p, p_at, b, trans_b, k0, k1, n0, n1):
    """Rows k0:k1 and columns n0:n1 of b (of its transpose if trans_b) into panels at p[p_at:]."""
    width, count, row, x = TILE_BYTES // b.itemsize, k1 - k0, b.shape[1], b.reshape(-1)
    if trans_b:
        for left in range(n0, n1, width):
            n = min(width, n1 - left)
            _columns(p, p_at + (left - n0) * count, x, left * row + k0, row, n, width, count)
    else:
        for k in range(count):  # along the rows of b: it is read in one straight line
            for left in range(n0, n1, width):
                to = p_at + (left - n0) * count + k * width
                _row(p, to, x, (k0 + k) * row + left, min(width, n1 - left), width)


@kernel(inline="always")
def copy_strip(q, q_at, a, k0, k1, low, high):
    """a[k0:k1, low:high] row after row: read in place, each row of a large matrix would be on another page."""
    x, n = a.reshape(-1), high - low
    for k in range(k0, k1):
        _row(q, q_at + (k - k0) * n, x, k * a.shape[1] + low, n, n)


@kernel
def _matmul_rows(out, a, b, trans_a, trans_b, accumulate, low, high, p, p_at, q, q_at):
    """Rows low:high of the product; p[p_at:] has room for a packed block of b, q[q_at:] for a strip of a^T."""
    columns, depth = out.shape[1], a.shape[0] if trans_a else a.shape[1]
    width, a_row = TILE_BYTES // out.itemsize, a.shape[1]
    c, x, y = out.reshape(-1), a.reshape(-1), b.reshape(-1)
    # The product of a weight gradient, long and narrow: to pack A or B would cost more than it saves.
    near = trans_a and not trans_b and max(a_row, columns) * out.itemsize < PAGE
    if depth == 0 and not accumulate:
        out[low:high] = 0
    for n0 in range(0, columns, BREADTH):
        n1 = min(n0 + BREADTH, columns)
        whole = n0 + (n1 - n0) // width * width if near else n0  # from here on b is packed
        for k0 in range(0, depth, DEPTH):
            k1 = min(k0 + DEPTH, depth)
            pack(p, p_at, b, trans_b, k0, k1, whole, n1)
            add = 1 if accumulate or k0 > 0 else 0
            for first in range(low, high, STRIP):
                n, at = min(STRIP, high - first), first * columns
                z, z_at, z_row = x, k0 * a_row + first if trans_a else first * a_row + k0, a_row
                if trans_a and not near:
                    copy_strip(q, q_at, a, k0, k1, first, first + n)
                    z, z_at, z_row = q, q_at, n
                if n0 < whole:
                    multiply(c, at + n0, columns, n, whole - n0, z, z_at, z_row,
                             y, k0 * columns + n0, columns, 1, width, k1 - k0, add, 1)  # fmt: skip
                multiply(c, at + whole, columns, n, n1 - whole, z, z_at, z_row,
                         p, p_at, width, k1 - k0, width, k1 - k0, add, 1 if trans_a else 0)  # fmt: skip


@parallel
def _matmul_parallel(out, a, b, trans_a, trans_b, accumulate, parts, p, block, q):
    for part in prange(parts):
        low, high = bound(part, parts, out.shape[0]), bound(part + 1, parts, out.shape[0])
        _matmul_rows(out, a, b, trans_a, trans_b, accumulate, low, high, p, part * block, q, part * STRIP * DEPTH)


def matmul(out, a, b, trans_a=False, trans_b=False, accumulate=False):
    """out (M, N) (+)= op(a) op(b), where op transposes if asked. The sum over k runs in the same order
    whatever the number of threads, but for tiles of fewer than four rows."""
    ready(out.dtype)
    rows, columns = out.shape
    depth = a.shape[0] if trans_a else a.shape[1]
    parts = split((rows + TILE_ROWS - 1) // TILE_ROWS, rows * columns * depth)
    block = packed_size(min(depth, DEPTH), min(columns, BREADTH), out.dtype)
    p = workspace(parts * block, out.dtype)
    q = workspace(parts * STRIP * DEPTH, out.dtype, "strip") if trans_a else p  # else it is not touched
    if parts == 1:
        _matmul_rows(out, a, b, trans_a, trans_b, accumulate, 0, rows, p, 0, q, 0)
    else:
        _matmul_parallel(out, a, b, trans_a, trans_b, accumulate, parts, p, block, q)


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
    """Each weight is read once: packing gains nothing, and the speed of the memory is all that counts."""
    in_parts(_matvec_rows, _matvec_parallel, (out, weight, x, bias), len(out), weight.size)


@kernel
def add_bias(out, bias):
    for r in range(out.shape[0]):
        row = out[r]
        for j in range(row.size):
            row[j] += bias[j]
