"""The kernels behind matrix products: a tile of the product per block of threads.

plain                       kernel 1: a thread per number of the product; nothing is kept near
tiled(BM, BN, TM, TN)       kernel 2: the block keeps slices of A and B in shared memory, and each of its threads
                            TM x TN numbers of the product in registers (4 x 4 or 8 x 8)
tensor(BM, BN, WM, WN)      kernel 3: the same on tensor cores; each warp holds WM x WN numbers, and multiplies in tf32
add_parts                   the sum of the parts of a product whose long sum was split

All four transposes are one kernel: only the way in which slices are fetched differs. Memory is read along the rows of
the array as it lies, 8 numbers (the 32 bytes that memory gives at once) or more side by side. In shared memory a slice
lies as `slice[k][m]` with 4 (8) numbers between the rows, so that neither the threads of a warp that store (8 k's of
4 m's, or 32 m's) nor those that read (4 numbers each, or a fragment) meet in a bank, of which there are 32.

While a slice is multiplied, the next one is on its way from memory into registers. Indices are made unsigned: of
signed ones Numba asks whether they are negative, each time.
"""

from __future__ import annotations

from typing import Any

from numpy import uint64

from micrornn.kernels.cuda.jit import SIM, cuda, device, kernel
from micrornn.kernels.cuda.tensor import (
    a_column,
    a_row,
    b_column,
    b_row,
    c_column,
    c_row,
    load4,
    mma,
    round_tf32,
)

DEPTH = 8 if SIM else 16  # k's of a slice, if nothing else is said


def _at_once(blocks: int) -> dict[str, Any]:
    """Registers for so many blocks of 256 threads on a multiprocessor: while one waits, another computes. With 64 sums
    in each thread, two blocks would spill where nothing is told (sm_80); where they fit, ptxas finds it by itself."""
    return {} if SIM else {"launch_bounds": (256, blocks)}


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


def _slices(width: int, threads: int, gap: int, deep: int = DEPTH) -> tuple[Any, Any, int]:
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


def tiled(BM: int, BN: int, TM: int, TN: int, deep: int = DEPTH) -> Any:
    """The kernel for tiles of BM x BN numbers, TM x TN (multiples of 4) per thread: (BM / TM) (BN / TN) threads.

    Slices are `deep`. Block z adds k from z * each to (z + 1) * each, a multiple of that, into part z of out.
    """
    wide, threads = BN // TN, BM // TM * (BN // TN)
    fetch_a, store_a, count_a = _slices(BM, threads, 4, deep)
    fetch_b, store_b, count_b = _slices(BN, threads, 4, deep)
    row_a, row_b, numbers = BM + 4, BN + 4, TM * TN
    room_a, room_b = deep * row_a, deep * row_b
    apart_m, apart_n = BM * 4 // TM, BN * 4 // TN  # a thread's numbers are 4 side by side, then 4 further on, ...

    @kernel(**_at_once(2 if numbers < 64 else 1))
    def product(out, a, b, rows, columns, depth, trans_a, trans_b, add, each):
        near_a = cuda.shared.array(room_a, out.dtype, alignment=16)
        near_b = cuda.shared.array(room_b, out.dtype, alignment=16)
        next_a = cuda.local.array(count_a, out.dtype)
        next_b = cuda.local.array(count_b, out.dtype)
        x = cuda.local.array(TM, out.dtype)
        y = cuda.local.array(TN, out.dtype)
        sums = cuda.local.array(numbers, out.dtype)
        for i in range(numbers):
            sums[i] = 0
        t = cuda.threadIdx.x
        m0, n0 = cuda.blockIdx.x * BM, cuda.blockIdx.y * BN
        m, n = t // wide * 4, t % wide * 4
        begin = cuda.blockIdx.z * each
        end = min(depth, begin + each)
        length_a, length_b = rows if trans_a else depth, depth if trans_b else columns
        fetch_a(next_a, a, trans_a, m0, rows, begin, end, length_a, t)
        fetch_b(next_b, b, not trans_b, n0, columns, begin, end, length_b, t)
        for k in range(begin, end, deep):
            store_a(near_a, next_a, trans_a, t)
            store_b(near_b, next_b, not trans_b, t)
            cuda.syncthreads()
            if k + deep < end:
                fetch_a(next_a, a, trans_a, m0, rows, k + deep, end, length_a, t)
                fetch_b(next_b, b, not trans_b, n0, columns, k + deep, end, length_b, t)
            for d in range(deep):
                for i in range(0, TM, 4):
                    x[i], x[i + 1], x[i + 2], x[i + 3] = load4(near_a, d * row_a + m + i // 4 * apart_m)
                for j in range(0, TN, 4):
                    y[j], y[j + 1], y[j + 2], y[j + 3] = load4(near_b, d * row_b + n + j // 4 * apart_n)
                for i in range(TM):
                    for j in range(TN):
                        sums[i * TN + j] += x[i] * y[j]
            cuda.syncthreads()
        part = cuda.blockIdx.z * rows * columns
        for i in range(TM):
            r = m0 + m + i // 4 * apart_m + i % 4
            for j in range(TN):
                c = n0 + n + j // 4 * apart_n + j % 4
                if r < rows and c < columns:
                    at = uint64(part + r * columns + c)
                    out[at] = out[at] + sums[i * TN + j] if add else sums[i * TN + j]

    return product


@device
def rounded(numbers, count):
    """Outside of `tensor`, for what is made inside names the kernel in the cache, and an intrinsic's name is new in
    each process."""
    for i in range(count):
        numbers[i] = round_tf32(numbers[i])


def tensor(BM: int, BN: int, WM: int, WN: int) -> Any:
    """The kernel for tiles of BM x BN numbers, WM x WN (multiples of 16 and 8) per warp. float32 only."""
    wide, threads = BN // WN, BM // WM * (BN // WN) * 32
    fetch_a, store_a, count_a = _slices(BM, threads, 8)
    fetch_b, store_b, count_b = _slices(BN, threads, 8)
    row_a, row_b, high, low = BM + 8, BN + 8, WM // 16, WN // 8
    room_a, room_b = DEPTH * row_a, DEPTH * row_b
    count_x, count_y, numbers, half = high * 4, low * 2, high * low * 4, (high + 1) // 2

    @device
    def put(out, c, begin, end, m, n, lane, part, rows, columns, add):
        for i in range(begin, end):
            for j in range(low):
                for e in range(4):
                    r, s = m + i * 16 + c_row(lane, e), n + j * 8 + c_column(lane, e)
                    if r < rows and s < columns:
                        at, total = uint64(part + r * columns + s), c[(i * low + j) * 4 + e]
                        out[at] = out[at] + total if add else total

    @kernel(**_at_once(2 if numbers < 64 else 1))
    def product(out, a, b, rows, columns, depth, trans_a, trans_b, add, each):
        near_a = cuda.shared.array(room_a, out.dtype)
        near_b = cuda.shared.array(room_b, out.dtype)
        next_a = cuda.local.array(count_a, out.dtype)
        next_b = cuda.local.array(count_b, out.dtype)
        x = cuda.local.array(count_x, out.dtype)
        y = cuda.local.array(count_y, out.dtype)
        c = cuda.local.array(numbers, out.dtype)
        for i in range(numbers):
            c[i] = 0
        t = cuda.threadIdx.x
        lane = t % 32
        m0, n0 = cuda.blockIdx.x * BM, cuda.blockIdx.y * BN
        m, n = t // 32 // wide * WM, t // 32 % wide * WN
        begin = cuda.blockIdx.z * each
        end = min(depth, begin + each)
        length_a, length_b = rows if trans_a else depth, depth if trans_b else columns
        fetch_a(next_a, a, trans_a, m0, rows, begin, end, length_a, t)
        fetch_b(next_b, b, not trans_b, n0, columns, begin, end, length_b, t)
        for k in range(begin, end, DEPTH):
            rounded(next_a, count_a)
            rounded(next_b, count_b)
            store_a(near_a, next_a, trans_a, t)
            store_b(near_b, next_b, not trans_b, t)
            cuda.syncthreads()
            if k + DEPTH < end:
                fetch_a(next_a, a, trans_a, m0, rows, k + DEPTH, end, length_a, t)
                fetch_b(next_b, b, not trans_b, n0, columns, k + DEPTH, end, length_b, t)
            for d in range(0, DEPTH, 8):
                for f in range(count_x):
                    e, i = f % 4, f // 4
                    x[f] = near_a[(d + a_column(lane, e)) * row_a + m + i * 16 + a_row(lane, e)]
                for f in range(count_y):
                    e, j = f % 2, f // 2
                    y[f] = near_b[(d + b_row(lane, e)) * row_b + n + j * 8 + b_column(lane, e)]
                for f in range(0, numbers, 4):
                    i, j = f // 4 // low * 4, f // 4 % low * 2
                    c[f], c[f + 1], c[f + 2], c[f + 3] = mma(
                        c[f], c[f + 1], c[f + 2], c[f + 3], x[i], x[i + 1], x[i + 2], x[i + 3], y[j], y[j + 1]
                    )
            cuda.syncthreads()
        part = cuda.blockIdx.z * rows * columns
        # In two halves: a loop that the compiler does not unroll would put c into memory.
        put(out, c, 0, half, m0 + m, n0 + n, lane, part, rows, columns, add)
        put(out, c, half, high, m0 + m, n0 + n, lane, part, rows, columns, add)

    return product
