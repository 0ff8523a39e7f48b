"""The kernels behind matrix products: a tile of the product per block of threads.

plain                       kernel 1: a thread per number of the product; nothing is kept near
tiled(width, TM, TN)        kernel 2: the block keeps slices of A and B in shared memory, and each of its threads
                            TM x TN numbers of the product in registers (4 x 4 or 8 x 8); with `cores`
                            kernel 3: on tensor cores, each warp holds TM x TN numbers, and multiplies in tf32
add_parts                   the sum of the parts of a product whose long sum was split

All four transposes are one kernel: only the way in which slices are fetched differs. Memory is read along the rows of
the array as it lies, 8 numbers (the 32 bytes that memory gives at once) or more side by side. In shared memory a slice
lies as `slice[k][m]` with 4 (8) numbers between the rows, so that neither the threads of a warp that store (8 k's of
4 m's, or 32 m's) nor those that read (4 numbers each, or a fragment) meet in a bank, of which there are 32.

While a slice is multiplied, the next one is on its way from memory into registers. Indices are made unsigned: of
signed ones Numba asks whether they are negative, each time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy import uint64

from micrornn.kernels.cuda.instructions import load4, mma, round_tf32
from micrornn.kernels.cuda.jit import SIM, cuda, device, kernel

DEPTH = 8 if SIM else 16  # k's of a slice, if nothing else is said


@kernel
def plain(out, a, b, rows, columns, depth, trans_a, trans_b, add):
    """out (rows, columns) (+)= op(a) op(b)."""
    for i in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
        m, n = i // columns, i % columns
        total = out.dtype.type(0)
        for k in range(depth):
            x = a[k * rows + m] if trans_a else a[m * depth + k]
            y = b[n * depth + k] if trans_b else b[k * columns + n]
            total += x * y
        out[i] = out[i] + total if add else total


@kernel
def add_parts(out, parts, count, add):
    """out (+)= parts[0] + parts[1] + ..., in this order: the same bits every time."""
    size = out.size
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        total = parts[i]
        for part in range(1, count):
            total += parts[part * size + i]
        out[i] = out[i] + total if add else total


def _slices(width: int, threads: int, gap: int, deep: int) -> tuple[Any, Any, int]:
    """(fetch, store, numbers per thread) for slices of deep x width numbers by so many threads."""
    count = width * deep // threads
    row = width + gap
    down = threads // width  # k's that the threads fetch at once where numbers of one k lie side by side
    across = threads // 8  # m's where numbers of one m do: 8 of them are fetched side by side
    turns = width // across

    @device
    def fetch(into, x, along, first, most, k, end, length, t):
        """The thread's numbers of rows first.. and columns k.. of x, whose rows lie `length` apart; of its transpose
        if `along`. Beyond `most` and `end` there are zeros."""
        if along:
            m = first + t % width
            for i in range(count):
                at = k + t // width + i * down
                into[i] = x[uint64(at * length + m)] if m < most and at < end else x.dtype.type(0)
        else:
            for i in range(count):
                m = first + t // 8 + i % turns * across
                at = k + t % 8 + i // turns * 8
                into[i] = x[uint64(m * length + at)] if m < most and at < end else x.dtype.type(0)

    @device
    def store(near, numbers, along, t):
        """The same numbers into shared memory."""
        if along:
            for i in range(count):
                near[uint64((t // width + i * down) * row + t % width)] = numbers[i]
        else:
            for i in range(count):
                near[uint64((t % 8 + i // turns * 8) * row + t // 8 + i % turns * across)] = numbers[i]

    return fetch, store, count


@device
def multiply(sums, x, y, near_a, near_b, row, m, n, apart_m, apart_n, deep):
    """sums (x.size, y.size) += the thread's numbers of A, from m on, times those of B, from n on: 4 side by side, then
    4 further on, ..."""
    for d in range(deep):
        for i in range(0, x.size, 4):
            x[i], x[i + 1], x[i + 2], x[i + 3] = load4(near_a, d * row + m + i // 4 * apart_m)
        for j in range(0, y.size, 4):
            y[j], y[j + 1], y[j + 2], y[j + 3] = load4(near_b, d * row + n + j // 4 * apart_n)
        for i in range(x.size):
            for j in range(y.size):
                sums[i * y.size + j] += x[i] * y[j]


@device
def multiply_tf32(sums, x, y, near_a, near_b, row, m, n, lane, deep):
    """The same by a warp: sums (x.size / 4, y.size / 2, 4) are fragments of C, of 16 x 8 numbers."""
    low, group, member = y.size // 2, lane // 4, lane % 4
    for d in range(0, deep, 8):
        for f in range(x.size):
            x[f] = near_a[(d + member + 4 * (f % 4 // 2)) * row + m + f // 4 * 16 + group + 8 * (f % 2)]
        for f in range(y.size):
            y[f] = near_b[(d + member + 4 * (f % 2)) * row + n + f // 2 * 8 + group]
        for f in range(0, sums.size, 4):
            i, j = f // 4 // low * 4, f // 4 % low * 2
            sums[f], sums[f + 1], sums[f + 2], sums[f + 3] = mma(
                sums[f], sums[f + 1], sums[f + 2], sums[f + 3], x[i], x[i + 1], x[i + 2], x[i + 3], y[j], y[j + 1]
            )


@device
def rounded(numbers):
    for i in range(numbers.size):
        numbers[i] = round_tf32(numbers[i])


class Tile(NamedTuple):
    """A kernel for square tiles of the product."""

    kernel: Any
    width: int
    threads: int


def tiled(width: int, TM: int, TN: int, deep: int = DEPTH, cores: bool = False) -> Tile:
    """Tiles of width x width numbers, TM x TN (multiples of 4) per thread. With `cores`, on tensor cores and for
    float32 only: TM x TN (multiples of 16 and 8) per warp.

    Slices are `deep`. Block z adds k from z * each to (z + 1) * each, a multiple of that, into part z of out.
    """
    wide, lanes, gap = width // TN, 32 if cores else 1, 8 if cores else 4
    threads, numbers = width // TM * wide * lanes, TM * TN // lanes
    fetch, store, count = _slices(width, threads, gap, deep)
    row, apart_m, apart_n = width + gap, width * 4 // TM, width * 4 // TN
    quarter, room, (count_x, count_y) = numbers // 4, deep * row, (TM // 4, TN // 4) if cores else (TM, TN)

    @device
    def put(out, sums, begin, m, n, lane, part, rows, columns, add):
        """A quarter of a thread's numbers, the first of which (of its warp's) stands at (m, n)."""
        for f in range(begin, begin + quarter):
            if cores:
                i, j = f // (TN // 2), f // 4 % (TN // 8)
                r, c = m + i * 16 + lane // 4 + 8 * (f % 4 // 2), n + j * 8 + 2 * (lane % 4) + f % 2
            else:
                i, j = f // TN, f % TN
                r, c = m + i // 4 * apart_m + i % 4, n + j // 4 * apart_n + j % 4
            if r < rows and c < columns:
                at = uint64(part + r * columns + c)
                out[at] = out[at] + sums[f] if add else sums[f]

    # Registers for two blocks on a multiprocessor: while one waits, the other computes. With 64 sums in each thread
    # they would spill where nothing is told (sm_80); where they fit, ptxas finds it by itself.
    @kernel(launch_bounds=(256, 2 if numbers < 64 else 1))
    def product(out, a, b, rows, columns, depth, trans_a, trans_b, add, each):
        near_a = cuda.shared.array(room, out.dtype, alignment=16)
        near_b = cuda.shared.array(room, out.dtype, alignment=16)
        next_a = cuda.local.array(count, out.dtype)
        next_b = cuda.local.array(count, out.dtype)
        x = cuda.local.array(count_x, out.dtype)
        y = cuda.local.array(count_y, out.dtype)
        sums = cuda.local.array(numbers, out.dtype)
        for f in range(numbers):
            sums[f] = 0
        t = cuda.threadIdx.x
        m0, n0 = cuda.blockIdx.x * width, cuda.blockIdx.y * width
        if cores:
            m, n = t // 32 // wide * TM, t // 32 % wide * TN
        else:
            m, n = t // wide * 4, t % wide * 4
        begin = cuda.blockIdx.z * each
        end = min(depth, begin + each)
        length_a, length_b = rows if trans_a else depth, depth if trans_b else columns
        fetch(next_a, a, trans_a, m0, rows, begin, end, length_a, t)
        fetch(next_b, b, not trans_b, n0, columns, begin, end, length_b, t)
        for k in range(begin, end, deep):
            if cores:
                rounded(next_a)
                rounded(next_b)
            store(near_a, next_a, trans_a, t)
            store(near_b, next_b, not trans_b, t)
            cuda.syncthreads()
            if k + deep < end:
                fetch(next_a, a, trans_a, m0, rows, k + deep, end, length_a, t)
                fetch(next_b, b, not trans_b, n0, columns, k + deep, end, length_b, t)
            if cores:
                multiply_tf32(sums, x, y, near_a, near_b, row, m, n, t % 32, deep)
            else:
                multiply(sums, x, y, near_a, near_b, row, m, n, apart_m, apart_n, deep)
            cuda.syncthreads()
        part = cuda.blockIdx.z * rows * columns
        # In four parts: a loop that the compiler does not unroll would put the sums into memory.
        put(out, sums, 0, m0 + m, n0 + n, t % 32, part, rows, columns, add)
        put(out, sums, quarter, m0 + m, n0 + n, t % 32, part, rows, columns, add)
        put(out, sums, 2 * quarter, m0 + m, n0 + n, t % 32, part, rows, columns, add)
        put(out, sums, 3 * quarter, m0 + m, n0 + n, t % 32, part, rows, columns, add)

    return Tile(product, width, threads)
