"""The LSTM over a whole sequence, forward and backward. The equations are in reference.py, the ways in recurrent.py."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import float32

from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.barrier import meet, this_thread, together
from micrornn.kernels.cuda.jit import SIM, THREADS, blocks, cuda, device, kernel, stream
from micrornn.kernels.cuda.maths import ONE, ZERO, sigmoid, tanh
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
from micrornn.kernels.cuda.tensor import load4


@device
def _gate(h, c, gates, i, f, g, o, mask, at, at_prev, place, size, j):
    """Unit j of a lane: from what comes from the state and the biases, and in `gates` from x, to gates, c_t and h_t.

    at, at_prev: the unit's place in h and c, of the row to write and of the one before; place: the lane's in the mask.
    """
    row = place * 4 * size + j
    c_prev, h_prev = c[at_prev], h[at_prev]
    i = sigmoid(gates[row] + i)
    f = sigmoid(gates[row + size] + f)
    g = tanh(gates[row + 2 * size] + g)
    o = sigmoid(gates[row + 3 * size] + o)
    gates[row], gates[row + size], gates[row + 2 * size], gates[row + 3 * size] = i, f, g, o
    c_t = f * c_prev + i * g
    h_t = o * tanh(c_t)
    counted = counts(mask, place)
    c[at] = c_t if counted else c_prev
    h[at] = h_t if counted else h_prev


@device
def _gate_back(dgates, dh, dc, gates, c, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip):
    """Unit j of a lane: first the message from the step after, of whose dgates @ weights is `total`, then back
    through this one. The first has no step after it; after the last there is but a message.

    at: the unit's place in dh, of the row whose cotangent is now complete; place: the lane's in the mask; lanes: the
    batch size.
    """
    after = turn * lanes * size  # how far away its state is
    dh_t = dh[at]
    if step > 0:
        if not counts(mask, place + turn * lanes):
            total += dh[at + after]
        dh_t += message(total, clip)
        dh[at] = dh_t
    if step < seq_len:
        row, dc_t = place * 4 * size + j, dc[at]
        if counts(mask, place):
            i, f, g, o = gates[row], gates[row + size], gates[row + 2 * size], gates[row + 3 * size]
            tanh_c = tanh(c[at])
            dc_t += dh_t * o * (ONE - tanh_c * tanh_c)
            dgates[row] = dc_t * g * i * (ONE - i)
            dgates[row + size] = dc_t * c[at - after] * f * (ONE - f)
            dgates[row + 2 * size] = dc_t * i * (ONE - g * g)
            dgates[row + 3 * size] = dh_t * tanh_c * o * (ONE - o)
            dc[at] = dc_t
            dc_t *= f
        else:
            for gate in range(4):
                dgates[row + gate * size] = ZERO
        dc[at - after] = message(dc_t, clip)


# --- kernel 1 and 2: a launch per time step ------------------------------------------------------------------------


@kernel
def _step(h, c, gates, weight, bias_ih, bias_hh, mask, turn, seq_len, lanes, size, step, apart):
    """`apart`: the product is in the gates already."""
    t, prev, cur = rows(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        i, f = bias_ih[j] + bias_hh[j], bias_ih[size + j] + bias_hh[size + j]
        g, o = bias_ih[2 * size + j] + bias_hh[2 * size + j], bias_ih[3 * size + j] + bias_hh[3 * size + j]
        if not apart:
            at, w, gate = (prev * lanes + b) * size, j * size, size * size
            for k in range(size):
                x = h[at + k]
                i += weight[w + k] * x
                f += weight[w + gate + k] * x
                g += weight[w + 2 * gate + k] * x
                o += weight[w + 3 * gate + k] * x
        _gate(h, c, gates, i, f, g, o, mask, cur * lanes * size + n, prev * lanes * size + n, t * lanes + b, size, j)


@kernel
def _step_back(dgates, dh, dc, gates, c, weight, totals, mask, turn, clip, seq_len, lanes, size, step, apart):
    """`apart`: the product is in totals (lanes, size)."""
    t, cur = rows_back(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        total = dh.dtype.type(0)
        if step > 0:
            if apart:
                total = totals[n]
            else:
                row = ((t + turn) * lanes + b) * 4 * size
                for k in range(4 * size):
                    total += dgates[row + k] * weight[k * size + j]
        at, place = cur * lanes * size + n, t * lanes + b
        _gate_back(dgates, dh, dc, gates, c, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip)


# --- kernel 3: all time steps in one launch ------------------------------------------------------------------------


@cache
def _forward(slices: int, units: int) -> Any:
    """A set is a unit, its rows are the four gates."""
    depth, threads = depth_of(slices), units * slices
    chunk, several = chunk_of(depth, units, threads), not SIM and units < depth
    room, room_sums, room_biases = chunk * depth, chunk * units * 4, 4 * units

    @kernel(**LIMITS)
    def sequence(
        h, c, gates, weight, bias_ih, bias_hh, mask, turn, seq_len, batch_size, size, counters, lanes, begin, end
    ):  # fmt: skip
        if SIM:  # which knows no alignment, as load4 needs it
            vectors = cuda.shared.array(room, float32)
            sums = cuda.shared.array(room_sums, float32)
        else:
            vectors = cuda.shared.array(room, float32, alignment=16)
            sums = cuda.shared.array(room_sums, float32, alignment=16)
        biases = cuda.shared.array(room_biases, float32)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        for n in range(thread, 4 * units, threads):
            i = n // units * size + min(first_unit + n % units, size - 1)
            biases[n] = bias_ih[i] + bias_hh[i]
        unit = min(first_unit + thread // slices, size - 1)
        hold(held, weight, unit * size, size * size, 1, 4, slices, size)
        for step in range(begin, end):
            t, prev, cur = rows(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                stage(vectors, h, (prev * batch_size + first) * size, count, size, depth, threads)
                cuda.syncthreads()
                products(sums, vectors, held, 0, depth, count, threads, slices, 4)
                cuda.syncthreads()
                thread = this_thread()
                b, u = first + thread // units, thread % units
                j = first_unit + u
                if b < first + count and j < size:
                    i, f, g, o = load4(sums, 4 * thread)
                    i, f = i + biases[u], f + biases[units + u]
                    g, o = g + biases[2 * units + u], o + biases[3 * units + u]
                    at, at_prev = (cur * batch_size + b) * size + j, (prev * batch_size + b) * size + j
                    _gate(h, c, gates, i, f, g, o, mask, at, at_prev, t * batch_size + b, size, j)
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


@cache
def _backward(slices: int, units: int) -> Any:
    """A set is a gate of four units."""
    depth, threads = depth_of(slices), units * slices
    chunk, several = chunk_of(4 * depth, units, threads), not SIM and units < depth
    room, room_sums = chunk * 4 * depth, chunk * 4 * units

    @kernel(**LIMITS)
    def sequence(
        dgates, dh, dc, gates, c, weight, mask, turn, clip, seq_len, batch_size, size, counters, lanes, begin, end
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
        gate, unit = thread // slices // (units // 4), min(first_unit + thread // slices % (units // 4) * 4, size - 1)
        hold(held, weight, gate * size * size + unit, 1, size, size - unit, slices, size)
        for step in range(begin, end):
            t, cur = rows_back(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                if step > 0:
                    row = ((t + turn) * batch_size + first) * 4 * size
                    stage(vectors, dgates, row, 4 * count, size, depth, threads)
                    cuda.syncthreads()
                    gate = this_thread() // slices // (units // 4)
                    products(sums, vectors, held, gate * depth, 4 * depth, count, threads, slices, 4)
                    cuda.syncthreads()
                thread = this_thread()
                b, j = thread // units, first_unit + thread % units
                if b < count and j < size:
                    total = ZERO
                    if step > 0:
                        n = b * 3 * units + thread
                        total = sums[n] + sums[n + units] + sums[n + 2 * units] + sums[n + 3 * units]
                    at, place = (cur * batch_size + first + b) * size + j, t * batch_size + first + b
                    _gate_back(
                        dgates, dh, dc, gates, c, total, mask, at, place, turn, step, seq_len, batch_size, size, j, clip
                    )  # fmt: skip
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


# --- the host's side -----------------------------------------------------------------------------------------------


def lstm_sequence(h, c, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(h), turn_of(reverse)
    matmul(gates.reshape(-1, 4 * size), x.reshape(-1, x.shape[2]), weight_ih, trans_b=True)
    flat = h.flat, c.flat, gates.flat, weight_hh.flat, bias_ih.flat, bias_hh.flat, mask.flat
    numbers = turn, seq_len, batch_size, size
    p = plan(batch_size, size, h.dtype, 4)
    if p.slices:
        launch(_forward(p.slices, p.units), p, seq_len, *flat, *numbers)
        return
    apart = p.way == "apart"
    for step in range(seq_len):
        t, prev, _ = rows_of(step, seq_len, turn)
        if apart:
            matmul(gates[t], h[prev], weight_hh, trans_b=True, accumulate=True)
        _step[blocks(batch_size * size), THREADS, stream()](*flat, *numbers, step, apart)


def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(dh), turn_of(reverse)
    flat = dgates.flat, dh.flat, dc.flat, gates.flat, c.flat, weight_hh.flat
    numbers = turn, dh.dtype.type(clip), seq_len, batch_size, size
    p = plan(batch_size, size, dh.dtype, 4)
    if p.slices:
        launch(_backward(p.slices, p.units), p, seq_len + 1, *flat, mask.flat, *numbers)
        return
    apart, totals = p.way == "apart", empty((batch_size, size), dh.dtype)
    for step in range(seq_len + 1):
        if apart and step > 0:
            matmul(totals, dgates[rows_back_of(step, seq_len, turn)[0] + turn], weight_hh)
        _step_back[blocks(totals.size), THREADS, stream()](*flat, totals.flat, mask.flat, *numbers, step, apart)
