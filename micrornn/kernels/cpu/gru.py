"""The GRU over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

import numpy as np
from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import ONE, sigmoid, tanh
from micrornn.kernels.cpu.recurrent import (
    add_held,
    carry_back,
    clip_message,
    copy,
    hold_back,
    inputs,
    place,
    plan,
    rows,
    times,
    times_part,
)
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _step(gates, hidden, row, bias_ih, bias_hh, h, prev, cur, size):
    """One lane, one time step: from both sides' pre-activations to gates and h_t. Flat arrays, and where to begin."""
    two = size + size
    for j in range(size):
        hr, hz, hn = hidden[row + j], hidden[row + size + j], hidden[row + two + j]
        hr, hz, hn = hr + bias_hh[j], hz + bias_hh[size + j], hn + bias_hh[two + j]
        r = sigmoid(gates[row + j] + bias_ih[j] + hr)
        z = sigmoid(gates[row + size + j] + bias_ih[size + j] + hz)
        n = tanh(gates[row + two + j] + bias_ih[two + j] + r * hn)
        hidden[row + j], hidden[row + size + j], hidden[row + two + j] = hr, hz, hn
        gates[row + j], gates[row + size + j], gates[row + two + j] = r, z, n
        h[cur + j] = n + z * (h[prev + j] - n)


@kernel
def _step_back(dgates, dhidden, gates, hidden, row, h, dh, prev, cur, size):
    """One lane, one time step: from dh_t to both sides' cotangents, and what z passes straight to dh_prev."""
    two = size + size
    for j in range(size):
        r, z, n, dh_t = gates[row + j], gates[row + size + j], gates[row + two + j], dh[cur + j]
        dn = dh_t * (ONE - z) * (ONE - n * n)
        dz = dh_t * (h[prev + j] - n) * z * (ONE - z)
        dr = dn * hidden[row + two + j] * r * (ONE - r)
        dgates[row + j], dgates[row + size + j], dgates[row + two + j] = dr, dz, dn
        dhidden[row + j], dhidden[row + size + j], dhidden[row + two + j] = dr, dz, dn * r
        dh[prev + j] += dh_t * z


@kernel
def _gate(h, gates, hidden, bias_ih, bias_hh, mask, t, prev, cur, low, high):
    """Time step t of lanes low:high, from its pre-activations on."""
    size = np.uint64(h.shape[2])
    flat_gates, flat_hidden, flat_h = gates.reshape(-1), hidden.reshape(-1), h.reshape(-1)
    for b in range(low, high):
        row, at_prev, at_cur = place(gates, t, b), place(h, prev, b), place(h, cur, b)
        _step(flat_gates, flat_hidden, row, bias_ih, bias_hh, flat_h, at_prev, at_cur, size)
        if mask.size and not mask[t, b]:
            copy(h[cur, b], h[prev, b])


@kernel
def _gate_back(dgates, dhidden, dh, gates, hidden, h, mask, t, prev, cur, low, high):
    """Time step t of lanes low:high, back to its pre-activations."""
    size = np.uint64(dh.shape[2])
    flat_dgates, flat_dhidden, flat_gates = dgates.reshape(-1), dhidden.reshape(-1), gates.reshape(-1)
    flat_hidden, flat_h, flat_dh = hidden.reshape(-1), h.reshape(-1), dh.reshape(-1)
    for b in range(low, high):
        if mask.size and not mask[t, b]:
            dhidden[t, b, :] = 0
            carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
        else:
            row, at_prev, at_cur = place(gates, t, b), place(h, prev, b), place(h, cur, b)
            _step_back(flat_dgates, flat_dhidden, flat_gates, flat_hidden, row, flat_h, flat_dh, at_prev, at_cur, size)


@kernel
def _forward(h, gates, x, hidden, bias_ih, bias_hh, mask, reverse, low, high, p_ih, p_hh):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        if x.size:
            times(gates, t, x, t, p_ih, low, high, 0)
        times(hidden, t, h, prev, p_hh, low, high, 0)
        _gate(h, gates, hidden, bias_ih, bias_hh, mask, t, prev, cur, low, high)


@kernel
def _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, low, high, p, held):
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        _gate_back(dgates, dhidden, dh, gates, hidden, h, mask, t, prev, cur, low, high)
        times(dh, prev, dhidden, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, clip)
            add_held(dh, prev, low, high, held)


@parallel
def _forward_parallel(h, gates, x, hidden, bias_ih, bias_hh, mask, reverse, p_ih, p_hh, parts):
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, gates, x, hidden, bias_ih, bias_hh, mask, reverse, low, high, p_ih, p_hh)


@parallel
def _backward_parallel(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, p, held, parts):
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, low, high, p, held)


@parallel
def _forward_wide(h, gates, hidden, bias_ih, bias_hh, mask, reverse, p, parts):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        for part in prange(parts):
            times_part(hidden, t, h, prev, p, part, parts, 0)
        for part in prange(parts):
            low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
            _gate(h, gates, hidden, bias_ih, bias_hh, mask, t, prev, cur, low, high)


@parallel
def _backward_wide(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, p, held, parts):
    batch_size = dh.shape[1]
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, 0, batch_size, held)
        for part in prange(parts):
            low, high = bound(part, parts, batch_size), bound(part + 1, parts, batch_size)
            _gate_back(dgates, dhidden, dh, gates, hidden, h, mask, t, prev, cur, low, high)
        for part in prange(parts):
            times_part(dh, prev, dhidden, t, p, part, parts, 1)
        if clip > 0:
            clip_message(dh, prev, 0, batch_size, clip)
            add_held(dh, prev, 0, batch_size, held)


def gru_sequence(h, gates, hidden, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    parts, wide, p_hh = plan(gates, weight_hh, True)
    x, p_ih = inputs(gates, x, weight_ih, weight_hh, parts, wide)
    if parts == 1:
        _forward(h, gates, x, hidden, bias_ih, bias_hh, mask, reverse, 0, h.shape[1], p_ih, p_hh)
    elif wide:
        _forward_wide(h, gates, hidden, bias_ih, bias_hh, mask, reverse, p_hh, parts)
    else:
        _forward_parallel(h, gates, x, hidden, bias_ih, bias_hh, mask, reverse, p_ih, p_hh, parts)


def gru_sequence_vjp(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip):
    parts, wide, p = plan(gates, weight_hh, False)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, 0, dh.shape[1], p, held)
    elif wide:
        _backward_wide(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, p, held, parts)
    else:
        _backward_parallel(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, p, held, parts)
