"""What this graphics card could do at most, as the ceilings that its kernels are measured against.

    limits(clock)    bytes per second of memory (read and written), GFLOP/s of float32 fused multiply-adds

Bandwidth is the better of a kernel that copies and of the driver's own copy, both of arrays many times as large as any
cache. Arithmetic goes from register to register and touches no memory, so no real kernel reaches it. Tensor cores
(tf32) are other units, and are not meant here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.clock import Clock
from micrornn.kernels.cuda import array, card
from micrornn.kernels.cuda.jit import SIM, THREADS, cuda, kernel

BLOCKS_EACH = 1 if SIM else 8  # blocks for each multiprocessor: 2048 threads, as many as one can hold
AHEAD = 4  # loads that are under way at once in each thread
COPIED = 512 if SIM else 2**27  # numbers; half a gigabyte
CHAINS, UNROLLED = 8, 1 if SIM else 16  # sums that do not wait for one another; FMAs of each in a turn of the loop
ROUNDS = 1 if SIM else 2000
QUEUED, TRIES = 10, 5  # launches between two marks: the card never waits for the host; the best of some tries counts


@kernel
def copy(out, x):
    """out.size must be a multiple of AHEAD times the threads. Loads come first: after a store, the compiler must think
    that x has changed."""
    step = cuda.gridsize(1)
    for i in range(cuda.grid(1), out.size, 4 * step):
        a, b, c, d = x[i], x[i + step], x[i + 2 * step], x[i + 3 * step]
        out[i], out[i + step], out[i + 2 * step], out[i + 3 * step] = a, b, c, d


@kernel
def spin(out, rounds, factor):
    """`rounds` times, UNROLLED times: each of CHAINS numbers times a factor plus a factor."""
    a = cuda.fma(factor, factor, out[cuda.grid(1)])
    b = cuda.fma(a, factor, factor)
    c = cuda.fma(b, factor, factor)
    d = cuda.fma(c, factor, factor)
    e = cuda.fma(d, factor, factor)
    f = cuda.fma(e, factor, factor)
    g = cuda.fma(f, factor, factor)
    h = cuda.fma(g, factor, factor)
    for _ in range(rounds):
        for _ in range(UNROLLED):
            a = cuda.fma(a, factor, factor)
            b = cuda.fma(b, factor, factor)
            c = cuda.fma(c, factor, factor)
            d = cuda.fma(d, factor, factor)
            e = cuda.fma(e, factor, factor)
            f = cuda.fma(f, factor, factor)
            g = cuda.fma(g, factor, factor)
            h = cuda.fma(h, factor, factor)
    out[cuda.grid(1)] = (a + b + c + d + e + f + g + h) * np.float32(1 / CHAINS)


def limits(clock: Clock) -> dict[str, float]:
    """{"bytes_per_second", "gflops"} of this card."""
    blocks = BLOCKS_EACH * card.multiprocessors()
    threads = blocks * THREADS
    size = max(1, COPIED // (AHEAD * threads)) * AHEAD * threads
    # An Array that is dropped gives its memory back, whoever may still look at its numbers.
    held = [array.full((n,), 1.5, np.float32) for n in (size, size, threads)]
    x, out, sums = (one.flat for one in held)
    times = {
        "copy": _best(clock, lambda: copy[blocks, THREADS](out, x)),
        "driver": _best(clock, lambda: out.copy_to_device(x)),
        "spin": _best(clock, lambda: spin[blocks, THREADS](sums, np.int32(ROUNDS), np.float32(0.999))),
    }
    moved, done = 2.0 * x.nbytes, 2.0 * CHAINS * UNROLLED * ROUNDS * threads
    return {"bytes_per_second": moved / min(times["copy"], times["driver"]), "gflops": done / times["spin"] / 1e9}


def _best(clock: Clock, launch: Callable[[], Any]) -> float:
    """Seconds of one launch."""
    launch()  # compiles it

    def several() -> None:
        for _ in range(QUEUED):
            launch()

    return min(clock(several)[1][0] for _ in range(TRIES)) / QUEUED
