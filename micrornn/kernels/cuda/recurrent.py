"""What the recurrent kernels share on the card.

Two ways through a sequence, told apart by who does the product of a time step:

    kernel 1, "steps"     product.matmul, and a launch for the cell, at each time step: for any size and precision
    kernel 2, "sequence"  one launch for all time steps; the recurrent weights stay in registers

Kernel 2. The hidden units are split over the `parts` of a group of blocks, the lanes over groups. A thread holds 4
rows of weights (a set: out of it come 4 sums) for 16 of the k's summed over (its slice); the 4 to 32 slices of a set
are neighbours in a warp. A time step is then

    stage       copy the lanes' vectors, h_prev or the dgates of the step after, from memory to shared memory
    products    each thread its part of 4 sums, lane after lane; the slices' parts are added by warp shuffles
    the cell    a thread per (lane, unit) makes of the sums what the cell says, and writes it to memory
    meet        the blocks of the group wait for each other; those of other groups go on as they like

A set is one gate of 4 units, so that a number fetched from shared memory serves 4 products. On the way back the sum
over the gates, of which each has threads of its own, is left to the cell.

At most 512 threads with at most 128 registers, and less than 48 kB of shared memory: so every card has room for one
block on each multiprocessor, and a grid of no more blocks than that is resident at once, as `meet` needs it.

    plan, Plan                          which way a sequence goes, and with what grid
    launch                              kernel 2 of a plan
    rows, counts, message               time steps, masks, clipping: for the cells
    hold, stage, products, meet         device functions of kernel 2
    variant, set_of                     its sizes; which weights a thread holds
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import float32

from micrornn.kernels.cuda import card
from micrornn.kernels.cuda.array import empty, zeros
from micrornn.kernels.cuda.instructions import arrive, arrived, exchange, load4, store4, this_thread
from micrornn.kernels.cuda.jit import SIM, cuda, device
from micrornn.kernels.cuda.maths import ZERO, clipped

HELD = 16  # k's for which a thread holds weights, of 4 rows
WEIGHTS = 4 * HELD  # in registers
THREADS = 512  # of a block at most, as ptxas is told: each may then have 128 registers
MOST_GATES = 8  # of kernel 2: then 64 units are one block, and do not wait for others
LARGEST = 32 * HELD  # hidden size of kernel 2: the slices of a set share a warp
AT_ONCE = 4  # loads that a thread has on their way at the same time
ON_THE_WAY = 4 * AT_ONCE  # numbers
APART_BY = 32  # counters lie in different lines of the cache


class Plan(NamedTuple):
    """slices, units and threads (of a block) name a variant of kernel 2, the others its grid. No slices: kernel 1."""

    slices: int = 0
    units: int = 0
    threads: int = 0
    parts: int = 0  # blocks of a group
    groups: int = 0
    lanes: int = 0  # of a group
    steps: int = 0  # of a launch, 0: all. The end of a launch is a barrier too, and the only one that the simulator has


def plan(batch_size: int, hidden_size: int, dtype: Any, gates: int) -> Plan:
    if dtype != np.float32 or hidden_size > LARGEST or gates > MOST_GATES:
        return Plan()
    slices = 4
    while slices * HELD < hidden_size:
        slices *= 2
    if SIM:  # few threads, and blocks that do not wait for each other
        units, groups = -(-hidden_size // 4) * 4, 2
    else:
        units, groups = slices * HELD, batch_size
        while gates * units // 4 * slices > THREADS:
            units //= 2
    parts = -(-hidden_size // units)
    if parts > 1:  # they wait for each other, so all must be there at once; a single one may come when there is room
        groups = card.multiprocessors() // parts
    if not groups:
        return Plan()
    lanes = -(-batch_size // groups)
    return Plan(slices, units, gates * units // 4 * slices, parts, -(-batch_size // lanes), lanes)


def launch(kernel: Any, p: Plan, steps: int, *arguments: Any) -> None:
    """kernel(*arguments, counters, lanes, begin, end) for all steps."""
    each = p.steps or steps
    for begin in range(0, steps, each):
        counters = zeros((p.groups * APART_BY,), np.int32) if p.parts > 1 else empty((1,), np.int32)
        end = min(begin + each, steps)
        kernel[(p.groups, p.parts), p.threads](*arguments, counters.flat, p.lanes, begin, end)


def variant(slices: int, units: int, threads: int, vectors: int) -> tuple[int, int, bool]:
    """(numbers of a staged vector: the hidden size, filled up with zeros; lanes of so many vectors each that are staged
    at once: at most 32 kB of shared memory, and a thread per lane and unit; whether blocks wait for each other)."""
    depth = slices * HELD
    return depth, min(8192 // (vectors * depth), 8, threads // units), not SIM and units < depth


# --- for the cells ---------------------------------------------------------------------------------------------


@device
def rows(step, seq_len, turn):
    """(t, prev, cur) of the step-th time step in the order of the forward pass. The way back begins at the last of them
    and ends at step -1, of which there is but a message; t + turn is the step that came before it there."""
    t = step if turn > 0 else seq_len - 1 - step
    return t, t if turn > 0 else t + 1, t + 1 if turn > 0 else t


rows_of = rows.py_func  # the same for the host


@device
def counts(mask, place):
    """Whether the step of the lane counts; place = t * batch_size + lane. An empty mask: all do."""
    return mask.size == 0 or mask[place]


@device
def message(total, clip):
    """What is passed back to the step before, within its limit."""
    return clipped(total, clip) if clip > ZERO else total


# --- kernel 2 --------------------------------------------------------------------------------------------------


@device
def set_of(number, units, first_unit, size):
    """(gate, first unit) of a set, by its number in the block; of sets without a unit, the last one's."""
    return number // (units // 4), min(first_unit + number % (units // 4) * 4, size - 1)


@device
def hold(held, weight, first, row_stride, k_stride, there, slices, size):
    """The thread's weights into registers: 4 rows of the k's of its slice. Only `there` rows (at least one) are there:
    in the place of others comes the last; their sums are nobody's.

    The k's of a slice are not side by side, but 4 and 4 and 4 and 4 of them: then neighbours in a warp read
    neighbouring 16 bytes of shared memory, which is the fastest that it can be read.
    """
    for n in range(WEIGHTS):
        held[n] = ZERO
    for j in range((size + 4 * slices - 1) // (4 * slices)):
        for i in range(4):
            k = 4 * (j * slices + cuda.threadIdx.x % slices) + i
            at = first + min(k, size - 1) * k_stride
            for r in range(4):
                x = weight[at + min(r, there - 1) * row_stride]
                if k < size:
                    for n in range(HELD // 4):  # registers have no index: so to the one that it is, told by name
                        held[r * HELD + 4 * n + i] = x if n == j else held[r * HELD + 4 * n + i]


@device
def stage(vectors, source, at, count, size, depth, threads):
    """vectors (count, depth) = source[at:] (count, size), filled up with zeros.

    Shared memory and `source` could be the same for all that the compiler knows, so it would wait for each load before
    the next: hence some at once into registers, and never out of bounds, which needs no branch. What is on its way at
    the same time decides how long it takes: so four numbers by each load, where vectors begin at multiples of four.
    """
    thread, wide = this_thread(), 4 if size % 4 == 0 else 1
    width = depth // wide
    held = cuda.local.array(ON_THE_WAY, float32)
    lines = max(threads // width, 1)  # of vectors that the threads copy side by side
    for column in range(thread % width if threads >= width else thread, width, threads):
        k = column * wide
        for first in range(thread // width, count, lines * AT_ONCE):
            for n in range(AT_ONCE):
                line = first + n * lines
                there = line < count and k < size
                place = at + (line * size + k if there else 0)
                if wide == 4:
                    x0, x1, x2, x3 = load4(source, place)
                    held[4 * n + 1], held[4 * n + 2] = x1 if there else ZERO, x2 if there else ZERO
                    held[4 * n + 3] = x3 if there else ZERO
                else:
                    x0 = source[place]
                held[4 * n] = x0 if there else ZERO
            for n in range(AT_ONCE):
                line = first + n * lines
                if line < count:
                    place = line * depth + k
                    if wide == 4:
                        store4(vectors, place, (held[4 * n], held[4 * n + 1], held[4 * n + 2], held[4 * n + 3]))
                    else:
                        vectors[place] = held[4 * n]


@device
def products(sums, vectors, held, at, width, count, threads, slices):
    """sums (count, sets, 4): for each lane and each set the sums over k of held * vectors[lane, at + k].

    The slices' parts of the 4 sums are added up in the way that needs the fewest exchanges: first each thread gives a
    neighbour two of its sums and takes that one's part of the two it keeps, then so with one of the two. What is left
    is one sum per thread, to be added up over the threads that are 4, 8 and 16 apart.
    """
    thread = this_thread()
    first, into, per_lane = at + 4 * (thread % slices), thread // slices * 4 + thread % slices, threads // slices * 4
    a = cuda.local.array(4, float32)
    for lane in range(count):
        for r in range(4):
            a[r] = ZERO
        for j in range(HELD // 4):
            x0, x1, x2, x3 = load4(vectors, lane * width + first + 4 * j * slices)
            for r in range(4):
                n = r * HELD + 4 * j
                a[r] = a[r] + held[n] * x0 + held[n + 1] * x1 + held[n + 2] * x2 + held[n + 3] * x3
        upper, odd = thread & 2 != 0, thread & 1 != 0
        b0 = (a[2] if upper else a[0]) + exchange(a[0] if upper else a[2], 2, 2)
        b1 = (a[3] if upper else a[1]) + exchange(a[1] if upper else a[3], 2, 3)
        total = (b1 if odd else b0) + exchange(b0 if odd else b1, 1, 1)
        apart = 4
        while apart < slices:
            total += exchange(total, apart, apart)
            apart *= 2
        if thread % slices < 4:
            sums[lane * per_lane + into] = total


@device
def meet(counters, arrivals):
    """Wait until this barrier was reached by all threads of the group's blocks: `arrivals` blocks since the launch.

    What the threads of a block wrote before comes before its thread 0's fence (syncthreads), that before the count (a
    fence orders all that a thread has seen, not its own writes alone), the count before whoever reads it with
    `acquire`, and that before what the threads of its block read after (syncthreads). To acquire also empties the
    multiprocessor's first-level cache, which knows nothing of what others write.
    """
    cuda.syncthreads()
    if arrivals:
        if cuda.threadIdx.x == 0:
            arrive(counters, cuda.blockIdx.x * APART_BY)
            while arrived(counters, cuda.blockIdx.x * APART_BY) < arrivals:
                pass
        cuda.syncthreads()
