"""The GRU over a whole sequence, forward and backward. Equations: reference.py; the ways: recurrent.py."""

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
def _gate(h, gates, hidden, hr, hz, hn, br, bz, bn, mask, at, at_prev, place, size, j):
    """Unit j of a lane: from what comes from the state (h*) and in `gates` from x, where biases (b*) are still to be
    added, to gates and h_t.

    at, at_prev: the unit's place in h, of the row to write and of the one before; place: the lane's in the mask.
    """
    row, h_prev = place * 3 * size + j, h[at_prev]
    r = sigmoid(gates[row] + br + hr)
    z = sigmoid(gates[row + size] + bz + hz)
    n = tanh(gates[row + 2 * size] + bn + r * hn)
    hidden[row], hidden[row + size], hidden[row + 2 * size] = hr, hz, hn
    gates[row], gates[row + size], gates[row + 2 * size] = r, z, n
    h[at] = n + z * (h_prev - n) if counts(mask, place) else h_prev


@device
def _gate_back(
    dgates, dhidden, dh, gates, hidden, h, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip
):  # fmt: skip
    """Unit j of a lane: first the message from the step after, of whose dhidden @ weights is `total`, then back
    through this one. The first has no step after it; after the last there is but a message.

    at: the unit's place in dh, of the row whose cotangent is now complete; place: the lane's in the mask; lanes: the
    batch size.
    """
    after = turn * lanes * size  # how far away its state is
    dh_t = dh[at]
    if step > 0:
        straight, place_after = dh[at + after], place + turn * lanes
        if counts(mask, place_after):
            straight *= gates[place_after * 3 * size + size + j]
        dh_t += message(total + straight, clip)
        dh[at] = dh_t
    if step < seq_len:
        row, dr, dz, dn, dhn = place * 3 * size + j, ZERO, ZERO, ZERO, ZERO
        if counts(mask, place):
            r, z, n = gates[row], gates[row + size], gates[row + 2 * size]
            dn = dh_t * (ONE - z) * (ONE - n * n)
            dz = dh_t * (h[at - after] - n) * z * (ONE - z)
            dr = dn * hidden[row + 2 * size] * r * (ONE - r)
            dhn = dn * r
        dgates[row], dgates[row + size], dgates[row + 2 * size] = dr, dz, dn
        dhidden[row], dhidden[row + size], dhidden[row + 2 * size] = dr, dz, dhn


# --- kernel 1 and 2: a launch per time step ------------------------------------------------------------------------


@kernel
def _step(h, gates, hidden, weight, bias_ih, bias_hh, mask, turn, seq_len, lanes, size, step, apart):
    """`apart`: the product is in `hidden` already."""
    t, prev, cur = rows(step, seq_len, turn)
    for i in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = i // size, i % size
        r, z, n = bias_hh[j], bias_hh[size + j], bias_hh[2 * size + j]
        place = t * lanes + b
        if apart:
            row = place * 3 * size + j
            r, z, n = r + hidden[row], z + hidden[row + size], n + hidden[row + 2 * size]
        else:
            at, w, gate = (prev * lanes + b) * size, j * size, size * size
            for k in range(size):
                x = h[at + k]
                r += weight[w + k] * x
                z += weight[w + gate + k] * x
                n += weight[w + 2 * gate + k] * x
        br, bz, bn = bias_ih[j], bias_ih[size + j], bias_ih[2 * size + j]
        at, at_prev = cur * lanes * size + i, prev * lanes * size + i
        _gate(h, gates, hidden, r, z, n, br, bz, bn, mask, at, at_prev, place, size, j)


@kernel
def _step_back(
    dgates, dhidden, dh, gates, hidden, h, weight, totals, mask, turn, clip, seq_len, lanes, size, step, apart
):  # fmt: skip
    """`apart`: the product is in totals (lanes, size)."""
    t, cur = rows_back(step, seq_len, turn)
    for n in range(cuda.grid(1), lanes * size, cuda.gridsize(1)):
        b, j = n // size, n % size
        total = dh.dtype.type(0)
        if step > 0:
            if apart:
                total = totals[n]
            else:
                row = ((t + turn) * lanes + b) * 3 * size
                for k in range(3 * size):
                    total += dhidden[row + k] * weight[k * size + j]
        at, place = cur * lanes * size + n, t * lanes + b
        _gate_back(
            dgates, dhidden, dh, gates, hidden, h, total, mask, at, place, turn, step, seq_len, lanes, size, j, clip
        )  # fmt: skip


# --- kernel 3: all time steps in one launch ------------------------------------------------------------------------


@cache
def _forward(slices: int, units: int) -> Any:
    """A set is a unit, its rows are the three gates."""
    depth, threads = depth_of(slices), units * slices
    chunk, several = chunk_of(depth, units, threads), not SIM and units < depth
    room, room_sums, room_biases = chunk * depth, chunk * units * 4, 3 * units

    @kernel(**LIMITS)
    def sequence(
        h, gates, hidden, weight, bias_ih, bias_hh, mask, turn, seq_len, batch_size, size, counters, lanes, begin, end
    ):  # fmt: skip
        if SIM:  # which knows no alignment, as load4 needs it
            vectors = cuda.shared.array(room, float32)
            sums = cuda.shared.array(room_sums, float32)
        else:
            vectors = cuda.shared.array(room, float32, alignment=16)
            sums = cuda.shared.array(room_sums, float32, alignment=16)
        biases_ih = cuda.shared.array(room_biases, float32)
        biases_hh = cuda.shared.array(room_biases, float32)
        held = cuda.local.array(WEIGHTS, float32)
        thread, first_unit = this_thread(), cuda.blockIdx.y * units
        low, high = cuda.blockIdx.x * lanes, min((cuda.blockIdx.x + 1) * lanes, batch_size)
        if several:
            together()
        for i in range(thread, 3 * units, threads):
            j = i // units * size + min(first_unit + i % units, size - 1)
            biases_ih[i], biases_hh[i] = bias_ih[j], bias_hh[j]
        unit = min(first_unit + thread // slices, size - 1)
        hold(held, weight, unit * size, size * size, 1, 3, slices, size)
        for step in range(begin, end):
            t, prev, cur = rows(step, seq_len, turn)
            for first in range(low, high, chunk):
                count = min(chunk, high - first)
                stage(vectors, h, (prev * batch_size + first) * size, count, size, depth, threads)
                cuda.syncthreads()
                products(sums, vectors, held, 0, depth, count, threads, slices, 3)
                cuda.syncthreads()
                thread = this_thread()
                b, u = first + thread // units, thread % units
                j = first_unit + u
                if b < first + count and j < size:
                    r, z, n, _ = load4(sums, 4 * thread)
                    r, z, n = r + biases_hh[u], z + biases_hh[units + u], n + biases_hh[2 * units + u]
                    br, bz, bn = biases_ih[u], biases_ih[units + u], biases_ih[2 * units + u]
                    at, at_prev = (cur * batch_size + b) * size + j, (prev * batch_size + b) * size + j
                    _gate(h, gates, hidden, r, z, n, br, bz, bn, mask, at, at_prev, t * batch_size + b, size, j)
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


@cache
def _backward(slices: int, units: int) -> Any:
    """A set is a gate of four units."""
    depth, threads = depth_of(slices), 3 * units // 4 * slices
    chunk, several = chunk_of(3 * depth, units, threads), not SIM and units < depth
    room, room_sums = chunk * 3 * depth, chunk * 3 * units

    @kernel(**LIMITS)
    def sequence(
        dgates, dhidden, dh, gates, hidden, h, weight, mask, turn, clip, seq_len, batch_size, size,
        counters, lanes, begin, end,
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
                    row = ((t + turn) * batch_size + first) * 3 * size
                    stage(vectors, dhidden, row, 3 * count, size, depth, threads)
                    cuda.syncthreads()
                    gate = this_thread() // slices // (units // 4)
                    products(sums, vectors, held, gate * depth, 3 * depth, count, threads, slices, 4)
                    cuda.syncthreads()
                thread = this_thread()
                b, j = thread // units, first_unit + thread % units
                if b < count and j < size:
                    total = ZERO
                    if step > 0:
                        n = b * 2 * units + thread
                        total = sums[n] + sums[n + units] + sums[n + 2 * units]
                    at, place = (cur * batch_size + first + b) * size + j, t * batch_size + first + b
                    _gate_back(
                        dgates, dhidden, dh, gates, hidden, h, total, mask, at, place, turn, step, seq_len, batch_size,
                        size, j, clip,
                    )  # fmt: skip
            if step + 1 < end:
                meet(counters, (step + 1 - begin) * cuda.gridDim.y if several else 0)

    return sequence


# --- the host's side -----------------------------------------------------------------------------------------------


def gru_sequence(h, gates, hidden, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(h), turn_of(reverse)
    matmul(gates.reshape(-1, 3 * size), x.reshape(-1, x.shape[2]), weight_ih, trans_b=True)
    flat = h.flat, gates.flat, hidden.flat, weight_hh.flat, bias_ih.flat, bias_hh.flat, mask.flat
    numbers = turn, seq_len, batch_size, size
    p = plan(batch_size, size, h.dtype, 4)
    if p.slices:
        launch(_forward(p.slices, p.units), p, seq_len, *flat, *numbers)
        return
    apart = p.way == "apart"
    for step in range(seq_len):
        t, prev, _ = rows_of(step, seq_len, turn)
        if apart:
            matmul(hidden[t], h[prev], weight_hh, trans_b=True)
        _step[blocks(batch_size * size), THREADS, stream()](*flat, *numbers, step, apart)


def gru_sequence_vjp(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip):
    if not gates.size:
        return
    (seq_len, batch_size, size), turn = sizes(dh), turn_of(reverse)
    flat = dgates.flat, dhidden.flat, dh.flat, gates.flat, hidden.flat, h.flat, weight_hh.flat
    numbers = turn, dh.dtype.type(clip), seq_len, batch_size, size
    p = plan(batch_size, size, dh.dtype, 3)
    if p.slices:
        launch(_backward(p.slices, p.units), p, seq_len + 1, *flat, mask.flat, *numbers)
        return
    apart, totals = p.way == "apart", empty((batch_size, size), dh.dtype)
    for step in range(seq_len + 1):
        if apart and step > 0:
            matmul(totals, dhidden[rows_back_of(step, seq_len, turn)[0] + turn], weight_hh)
        _step_back[blocks(totals.size), THREADS, stream()](*flat, totals.flat, mask.flat, *numbers, step, apart)
