"""The plain RNN over a whole sequence, forward and backward. Equations: reference.py; the ways: recurrent.py."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import float32

from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.barrier import meet, this_thread, together
from micrornn.kernels.cuda.jit import SIM, THREADS, blocks, cuda, device, kernel, stream
from micrornn.kernels.cuda.maths import ONE, ZERO, tanh
from micrornn.kernels.cuda.product import matmul
from micrornn.kernels.cuda.recurrent import (
    LIMITS,
    WEIGHTS,
    chunk_of,
    counts,
    depth_of,
    hold,
    launch,
    message,
    plan,
    products,
    rows,
    rows_back,
    rows_back_of,
    rows_of,
    sizes,
    stage,
    turn_of,
)


@device
def _gate(h, gates, a, mask, at, at_prev, row, place, relu):
    """A unit of a lane: from what comes from the state and the biases, and in `gates` from x, to its gate and h_t.

    at, at_prev: the unit's place in h, of the row to write and of the one before; row: its place in the gates; place:
    the lane's in the mask.
    """
    a += gates[row]
    h_t = (ZERO if a <= ZERO else a) if relu else tanh(a)
    gates[row] = h_t
    h[at] = h_t if counts(mask, place) else h[at_prev]


@device
def _gate_back(dgates, dh, gates, total, mask, at, row, place, turn, step, seq_len, lanes, size, clip, relu):
    """A unit of a lane: first the message from the step after, of whose dgates @ weights is `total`, then back
    through this one. The first has no step after it; after the last there is but a message.

    at: the unit's place in dh, of the row whose cotangent is now complete; row: its place in the gates; place: the
    lane's in the mask; lanes: the batch size.
    """
    dh_t = dh[at]
    if step > 0:
        if not counts(mask, place + turn * lanes):
            total += dh[at + turn * lanes * size]
        dh_t += message(total, clip)
        dh[at] = dh_t
    if step < seq_len:
        y = gates[row]
        da = (dh_t if y > ZERO else ZERO) if relu else dh_t * (ONE - y * y)
        dgates[row] = da if counts(mask, place) else ZERO


# --- kernel 1 and 2: a launch per time step ------------------------------------------------------------------------


@kernel
def _step(h, gates, weight, bias_ih, bias_hh, mask, turn, seq_len, lanes, size, relu, step, apart):
    """`apart`: the product is in the gates already."""
    t, prev, cur = rows(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        a = bias_ih[j] + bias_hh[j]
        if not apart:
            at = (prev * lanes + b) * size
            for k in range(size):
                a += weight[j * size + k] * h[at + k]
        at, at_prev, row = cur * lanes * size + n, prev * lanes * size + n, t * lanes * size + n
        _gate(h, gates, a, mask, at, at_prev, row, t * lanes + b, relu)


@kernel
def _step_back(dgates, dh, gates, weight, totals, mask, turn, clip, seq_len, lanes, size, relu, step, apart):
    """`apart`: the product is in totals (lanes, size)."""
    t, cur = rows_back(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        total = dh.dtype.type(0)
        if step > 0:
            if apart:
                total = totals[n]
            else:
                row = ((t + turn) * lanes + b) * size
                for k in range(size):
                    total += dgates[row + k] * weight[k * size + j]
        at, row, place = cur * lanes * size + n, t * lanes * size + n, t * lanes + b
        _gate_back(dgates, dh, gates, total, mask, at, row, place, turn, step, seq_len, lanes, size, clip, relu)


# --- kernel 3: all time steps in one launch ------------------------------------------------------------------------


@cache
def _forward(slices: int, units: int) -> Any:
    """A set is four units."""
    depth, threads = depth_of(slices), units // 4 * slices
    chunk, several = chunk_of(depth, units, threads), not SIM and units < depth
    room, room_sums = chunk * depth, chunk * units

    @kernel(**LIMITS)
    def sequence(
        h, gates, weight, bias_ih, bias_hh, mask, turn, seq_len, batch_size, size, relu, counters, lanes, begin, end
    ):  # fmt: skip
        if SIM:  # which knows no alignment, as load4 needs it
            vectors = cuda.shared.array(room, float32)
            sums = cuda.shared.array(room_sums, float32)
        else:
            vectors = cuda.shared.array(room, float32, alignment=16)
            sums = cuda.shared.array(room_sums, float32, alignment=16)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        unit, j = min(first_unit + thread // slices * 4, size - 1), min(first_unit + thread % units, size - 1)
        bias = bias_ih[j] + bias_hh[j]
        hold(held, weight, unit * size, size, 1, size - unit, slices, size)
        for step in range(begin, end):
            t, prev, cur = rows(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                stage(vectors, h, (prev * batch_size + first) * size, count, size, depth, threads)
                cuda.syncthreads()
                products(sums, vectors, held, 0, depth, count, threads, slices, 4)
                cuda.syncthreads()
                thread = this_thread()
                b, j = first + thread // units, first_unit + thread % units
                if b < first + count and j < size:
                    at, at_prev = (cur * batch_size + b) * size + j, (prev * batch_size + b) * size + j
                    row, place = (t * batch_size + b) * size + j, t * batch_size + b
                    _gate(h, gates, sums[thread] + bias, mask, at, at_prev, row, place, relu)
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


@cache
def _backward(slices: int, units: int) -> Any:
    """A set is four units."""
    depth, threads = depth_of(slices), units // 4 * slices
    chunk, several = chunk_of(depth, units, threads), not SIM and units < depth
    room, room_sums = chunk * depth, chunk * units

    @kernel(**LIMITS)
    def sequence(
        dgates, dh, gates, weight, mask, turn, clip, seq_len, batch_size, size, relu, counters, lanes, begin, end
    ):  # fmt: skip
        if SIM:  # which knows no alignment, as load4 needs it
            vectors = cuda.shared.array(room, float32)
            sums = cuda.shared.array(room_sums, float32)
        else:
            vectors = cuda.shared.array(room, float32, alignment=16)
            sums = cuda.shared.array(room_sums, float32, alignment=16)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        unit = min(first_unit + thread // slices * 4, size - 1)
        hold(held, weight, unit, 1, size, size - unit, slices, size)
        for step in range(begin, end):
            t, cur = rows_back(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                if step > 0:
                    row = ((t + turn) * batch_size + first) * size
                    stage(vectors, dgates, row, count, size, depth, threads)
                    cuda.syncthreads()
                    products(sums, vectors, held, 0, depth, count, threads, slices, 4)
                    cuda.syncthreads()
                thread = this_thread()
                b, j = first + thread // units, first_unit + thread % units
                if b < first + count and j < size:
                    total = sums[thread] if step > 0 else ZERO
                    at, place = (cur * batch_size + b) * size + j, t * batch_size + b
                    _gate_back(
                        dgates, dh, gates, total, mask, at, place * size + j, place, turn, step, seq_len, batch_size,
                        size, clip, relu,
                    )  # fmt: skip
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


# --- the host's side -----------------------------------------------------------------------------------------------


def rnn_sequence(h, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse, relu):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(h), turn_of(reverse)
    matmul(gates.reshape(-1, size), x.reshape(-1, x.shape[2]), weight_ih, trans_b=True)
    flat = h.flat, gates.flat, weight_hh.flat, bias_ih.flat, bias_hh.flat, mask.flat
    numbers = turn, seq_len, batch_size, size, bool(relu)
    p = plan(batch_size, size, h.dtype, 1)
    if p.slices:
        launch(_forward(p.slices, p.units), p, seq_len, *flat, *numbers)
        return
    apart = p.way == "apart"
    for step in range(seq_len):
        t, prev, _ = rows_of(step, seq_len, turn)
        if apart:
            matmul(gates[t], h[prev], weight_hh, trans_b=True, accumulate=True)
        _step[blocks(batch_size * size), THREADS, stream()](*flat, *numbers, step, apart)


def rnn_sequence_vjp(dgates, dh, gates, weight_hh, mask, reverse, clip, relu):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(dh), turn_of(reverse)
    flat = dgates.flat, dh.flat, gates.flat, weight_hh.flat
    numbers = turn, dh.dtype.type(clip), seq_len, batch_size, size, bool(relu)
    p = plan(batch_size, size, dh.dtype, 1)
    if p.slices:
        launch(_backward(p.slices, p.units), p, seq_len + 1, *flat, mask.flat, *numbers)
        return
    apart, totals = p.way == "apart", empty((batch_size, size), dh.dtype)
    for step in range(seq_len + 1):
        if apart and step > 0:
            matmul(totals, dgates[rows_back_of(step, seq_len, turn)[0] + turn], weight_hh)
        _step_back[blocks(totals.size), THREADS, stream()](*flat, totals.flat, mask.flat, *numbers, step, apart)
