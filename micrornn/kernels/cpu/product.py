"""Matrix products: packing, the loop over tiles, and `matmul` on top of them.

The order of loops is Goto's (K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008):
a block of B is packed into panels that stay in the second-level cache, a panel in the first, a tile of C in
registers (tile.py).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from micrornn.kernels.cpu.jit import TILE_BYTES, TILE_ROWS, kernel, parallel
from micrornn.kernels.cpu.threads import bound, split, workspace
from micrornn.kernels.cpu.tile import packed_tile, tile

DEPTH = 256  # rows of a packed block: a panel of DEPTH rows fits the first-level cache
BREADTH = 1024  # its columns: the block fits the second-level cache
STRIP = 8 * TILE_ROWS  # rows of C that are done with all panels before the next are begun: they stay near too


def panel_width(dtype: np.dtype) -> int:
    """Columns of a packed panel."""
    return TILE_BYTES // np.dtype(dtype).itemsize


def packed_size(rows: int, columns: int, dtype: np.dtype) -> int:
    """Numbers in a packed matrix: the last panel is filled up to the full width."""
    width = panel_width(dtype)
    return rows * ((columns + width - 1) // width) * width


@kernel
def pack(p, p_at, b, trans_b, k0, k1, n0, n1):
    """Rows k0:k1 and columns n0:n1 of b (of its transpose if trans_b) into panels at p[p_at:]."""
    width, count = TILE_BYTES // b.itemsize, k1 - k0
    if not trans_b:
        for k in range(count):  # along the rows of b: it is read in one straight line
            for left in range(n0, n1, width):
                at = p_at + (left - n0) * count + k * width
                if left + width <= n1:  # of fixed length: no loop is left of it
                    for n in range(width):
                        p[at + n] = b[k0 + k, left + n]
                else:
                    for n in range(width):
                        p[at + n] = b[k0 + k, left + n] if left + n < n1 else b.dtype.type(0)
        return
    for left in range(n0, n1, width):
        for k in range(k0, k1):
            for n in range(left, left + width):
                p[p_at + n - left] = b[n, k] if n < n1 else b.dtype.type(0)
            p_at += width


@kernel
def pack_rows(q, q_at, a, k0, k1, low, high):
    """The transpose of a[k0:k1, low:high], tile after tile, each with its m numbers of one k side by side.

    Read in place, every k of a transposed matrix would be another cache line, all of them in few cache sets.
    """
    rows, count = high - low, k1 - k0
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for k in range(count):  # along the rows of a: it is read in one straight line
        for t in range(tiles):
            first = t * rows // tiles
            m = (t + 1) * rows // tiles - first
            at = q_at + first * count + k * m
            if m == TILE_ROWS:  # of fixed length: no loop is left of it
                for i in range(TILE_ROWS):
                    q[at + i] = a[k0 + k, low + first + i]
            else:
                for i in range(m):
                    q[at + i] = a[k0 + k, low + first + i]


@kernel
def multiply(c, c_at, c_row, rows, columns, a, a_at, a_row, p, p_at, count, add):
    """C (+)= A P for packed panels P. Flat arrays; `*_at` is an offset, `*_row` the stride from row to row."""
    width = TILE_BYTES // c.itemsize
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for left in range(0, columns, width):
        n = min(width, columns - left)
        for t in range(tiles):
            # tiles of 10 and 10 rows rather than 12 and 8: a low tile does not hide the latency of its sums
            low = t * rows // tiles
            m = (t + 1) * rows // tiles - low
            at = c_at + low * c_row + left
            tile(m, c, at, c_row, n, a, a_at + low * a_row, a_row, p, p_at + left * count, count, add)


@kernel
def multiply_packed(c, c_at, c_row, rows, columns, a, a_at, p, p_at, count, add):
    """The same for an A that `pack_rows` has packed."""
    width = TILE_BYTES // c.itemsize
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for left in range(0, columns, width):
        n = min(width, columns - left)
        for t in range(tiles):
            low = t * rows // tiles
            m = (t + 1) * rows // tiles - low
            at = c_at + low * c_row + left
            packed_tile(m, c, at, c_row, n, a, a_at + low * count, p, p_at + left * count, count, add)


@kernel
def _matmul_rows(out, a, b, trans_a, trans_b, accumulate, low, high, p, p_at, q, q_at):
    """Rows low:high of the product; p[p_at:] has room for a packed block of b, q[q_at:] for one of a."""
    rows, columns, depth = high - low, out.shape[1], a.shape[0] if trans_a else a.shape[1]
    c, x = out.reshape(-1), a.reshape(-1)
    if depth == 0 and not accumulate:
        out[low:high] = 0
    for n0 in range(0, columns, BREADTH):
        n1 = min(n0 + BREADTH, columns)
        for k0 in range(0, depth, DEPTH):
            k1 = min(k0 + DEPTH, depth)
            pack(p, p_at, b, trans_b, k0, k1, n0, n1)
            at, add = low * columns + n0, 1 if accumulate or k0 > 0 else 0
            for first in range(0, rows, STRIP):
                n = min(STRIP, rows - first)
                here = at + first * columns
                if trans_a:
                    pack_rows(q, q_at, a, k0, k1, low + first, low + first + n)
                    multiply_packed(c, here, columns, n, n1 - n0, q, q_at, p, p_at, k1 - k0, add)
                else:
                    x_at = (low + first) * depth + k0
                    multiply(c, here, columns, n, n1 - n0, x, x_at, depth, p, p_at, k1 - k0, add)


@parallel
def _matmul_parallel(out, a, b, trans_a, trans_b, accumulate, parts, p, block, q):
    for part in prange(parts):
        low, high = bound(part, parts, out.shape[0]), bound(part + 1, parts, out.shape[0])
        _matmul_rows(out, a, b, trans_a, trans_b, accumulate, low, high, p, part * block, q, part * STRIP * DEPTH)


def matmul(out, a, b, trans_a=False, trans_b=False, accumulate=False):
    """out (M, N) (+)= op(a) op(b), where op transposes if asked. The sum over k runs in the same order
    whatever the number of threads, but for tiles of fewer than four rows."""
    rows, columns = out.shape
    if trans_a and not trans_b and not accumulate and rows > columns:
        # Packing a costs more than packing b, number for number. A weight gradient is tall: its transpose is wide.
        wide = workspace((columns, rows), out.dtype, "transpose")
        matmul(wide, b, a, trans_a=True)
        out[...] = wide.T
        return
    depth = a.shape[0] if trans_a else a.shape[1]
    parts = split((rows + TILE_ROWS - 1) // TILE_ROWS, rows * columns * depth)
    block = packed_size(min(depth, DEPTH), min(columns, BREADTH), out.dtype)
    p, q = workspace(parts * block, out.dtype), workspace(parts * STRIP * DEPTH if trans_a else 1, out.dtype, "rows")
    if parts == 1:
        _matmul_rows(out, a, b, trans_a, trans_b, accumulate, 0, rows, p, 0, q, 0)
    else:
        _matmul_parallel(out, a, b, trans_a, trans_b, accumulate, parts, p, block, q)


@kernel
def add_bias(out, bias):
    for r in range(out.shape[0]):
        row = out[r]
        for j in range(row.size):
            row[j] += bias[j]
