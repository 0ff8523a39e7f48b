"""What the kernels of all cells for the card have in common: the text that write.py puts a cell's formulas into."""

from __future__ import annotations

from string import Template

HEAD = Template('''\
"""The kernels of the cell `$name` for the card, derived from its step by micrornn; `micrornn cell` explains them.

Changes here are lost: the file is named by its contents.
"""

from functools import cache

from numba import float32

from micrornn.kernels.cuda.instructions import this_thread, together
from micrornn.kernels.cuda.jit import cuda, device, kernel
from micrornn.kernels.cuda.maths import ONE, ZERO, exp, log, power, sigmoid, sign_of, sqrt, tanh
from micrornn.kernels.cuda.recurrent import (
    THREADS, WEIGHTS, counts, hold, meet, message, products, rows, set_of, stage, variant,
)


@device
def unit_forward($arrays, $pre, mask, at, at_prev, place, size, j):
    """Unit j of a lane: from what comes from the state and the biases, and in `gates` from x, to what is kept and the
    states after. at, at_prev: its place in the states to write and in those before; place: the lane's in the mask."""
    row = place * $count * size + j
    counted = counts(mask, place)
$forward


@device
def unit_back($back_arrays, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip):
    """Unit j of a lane: first the message from the step after, of whose cotangents @ weights is `total`, then back
    through this one. The first has no step after it; after the last there is but a message.

    at: the unit's place in the cotangents that are now complete; place: the lane's in the mask; lanes: the batch size.
    """
    after = turn * lanes * size  # how far away its state is
    arriving = d$h[at]
    if step > 0:
$message
        arriving += message(total, clip)
        d$h[at] = arriving
    if step < seq_len:
        row = place * $count * size + j
        if counts(mask, place):
$back
        else:
$masked


@kernel
def step($arrays, biases, others, mask, turn, seq_len, lanes, size, step):
    """Kernel 1, a launch per time step. The product with weights is in `$into` already."""
    t, prev, cur = rows(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        place = t * lanes + b
        at, at_prev, row = (cur * lanes + b) * size + j, (prev * lanes + b) * size + j, place * $count * size + j
$sums_step
        unit_forward($arrays, $pre, mask, at, at_prev, place, size, j)


@kernel
def step_back($back_arrays, totals, mask, turn, clip, seq_len, lanes, size, step):
    """The product with weights is in totals (lanes, size)."""
    t, _, cur = rows(seq_len - 1 - step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        total = d$h.dtype.type(0)
$sums_back
        at, place = (cur * lanes + b) * size + j, t * lanes + b
        unit_back($back_arrays, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip)
''')

SEQUENCE = Template('''

@cache
def forward(slices, units, threads):
    """Kernel 2: all time steps in one launch."""
    depth, chunk, several = variant(slices, units, threads, 1)
    room, room_sums, room_biases = chunk * depth, chunk * $count * units, $count * units

    @kernel(launch_bounds=THREADS)
    def sequence(
        $arrays, weight, biases, others, mask, turn, seq_len, batch_size, size, counters, lanes, begin, end
    ):
        vectors = cuda.shared.array(room, float32, alignment=16)  # as load4 needs it
        sums = cuda.shared.array(room_sums, float32)
        some = cuda.shared.array(room_biases, float32)
        more = cuda.shared.array(room_biases, float32)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        for n in range(thread, $count * units, threads):
            i = n // units * size + min(first_unit + n % units, size - 1)
            some[n], more[n] = biases[i], others[i]
        gate, unit = set_of(thread // slices, units, first_unit, size)
        hold(held, weight, (gate * size + unit) * size, size, 1, size - unit, slices, size)
        for step in range(begin, end):
            t, prev, cur = rows(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                stage(vectors, $h, (prev * batch_size + first) * size, count, size, depth, threads)
                cuda.syncthreads()
                products(sums, vectors, held, 0, depth, count, threads, slices)
                cuda.syncthreads()
                thread = this_thread()
                b, u = thread // units, thread % units
                j = first_unit + u
                if b < count and j < size:
                    n = b * $less * units + thread
$sums
                    lane = first + b
                    at, at_prev = (cur * batch_size + lane) * size + j, (prev * batch_size + lane) * size + j
                    unit_forward($arrays, $pre, mask, at, at_prev, t * batch_size + lane, size, j)
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


@cache
def backward(slices, units, threads):
    depth, chunk, several = variant(slices, units, threads, $count)
    room, room_sums = chunk * $count * depth, chunk * $count * units

    @kernel(launch_bounds=THREADS)
    def sequence(
        $back_arrays, weight, mask, turn, clip, seq_len, batch_size, size, counters, lanes, begin, end
    ):
        vectors = cuda.shared.array(room, float32, alignment=16)
        sums = cuda.shared.array(room_sums, float32)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        gate, unit = set_of(thread // slices, units, first_unit, size)
        hold(held, weight, gate * size * size + unit, 1, size, size - unit, slices, size)
        for step in range(begin, end):
            t, _, cur = rows(seq_len - 1 - step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                if step > 0:
                    row = ((t + turn) * batch_size + first) * $count * size
                    stage(vectors, $dinto, row, $count * count, size, depth, threads)
                    cuda.syncthreads()
                    gate = this_thread() // slices // (units // 4)
                    products(sums, vectors, held, gate * depth, $count * depth, count, threads, slices)
                    cuda.syncthreads()
                thread = this_thread()
                b, j = thread // units, first_unit + thread % units
                if b < count and j < size:
                    total = ZERO
                    if step > 0:
                        n = b * $less * units + thread
                        total = $total
                    at, place = (cur * batch_size + first + b) * size + j, t * batch_size + first + b
                    unit_back(
                        $back_arrays, total, mask, at, place, turn, step, seq_len, batch_size, size, j, clip
                    )
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence
''')
