"""The LSTM over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

import numpy as np
from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import ONE, sigmoid, tanh
from micrornn.kernels.cpu.recurrent import (
    add_held,
    both,
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
def _step(gates, row, bias, c, h, prev, cur, size):
    """One lane, one time step: from pre-activations to gates, c_t and h_t. Flat arrays, and where to begin in them."""
    two, three = size + size, size + size + size
    for j in range(size):
        i = sigmoid(gates[row + j] + bias[j])
        f = sigmoid(gates[row + size + j] + bias[size + j])
        g = tanh(gates[row + two + j] + bias[two + j])
        o = sigmoid(gates[row + three + j] + bias[three + j])
        gates[row + j], gates[row + size + j], gates[row + two + j], gates[row + three + j] = i, f, g, o
        c_t = f * c[prev + j] + i * g
        c[cur + j], h[cur + j] = c_t, o * tanh(c_t)


@kernel
def _step_back(dgates, gates, row, c, dh, dc, prev, cur, size):
    """One lane, one time step: from dh_t and dc_t to the gates' cotangents and dc_prev."""
    two, three = size + size, size + size + size
    for j in range(size):
        i, f, g, o = gates[row + j], gates[row + size + j], gates[row + two + j], gates[row + three + j]
        dh_t, tanh_c = dh[cur + j], tanh(c[cur + j])
        dc_t = dc[cur + j] + dh_t * o * (ONE - tanh_c * tanh_c)
        dgates[row + j] = dc_t * g * i * (ONE - i)
        dgates[row + size + j] = dc_t * c[prev + j] * f * (ONE - f)
        dgates[row + two + j] = dc_t * i * (ONE - g * g)
        dgates[row + three + j] = dh_t * tanh_c * o * (ONE - o)
        dc[prev + j] = dc_t * f
        dc[cur + j] = dc_t


@kernel
def _gate(h, c, gates, bias, mask, t, prev, cur, low, high):
    """Time step t of lanes low:high, from its pre-activations on."""
    size = np.uint64(h.shape[2])
    flat_gates, flat_c, flat_h = gates.reshape(-1), c.reshape(-1), h.reshape(-1)
    for b in range(low, high):
        at_prev, at_cur = place(h, prev, b), place(h, cur, b)
        _step(flat_gates, place(gates, t, b), bias, flat_c, flat_h, at_prev, at_cur, size)
        if mask.size and not mask[t, b]:
            copy(c[cur, b], c[prev, b])
            copy(h[cur, b], h[prev, b])


@kernel
def _gate_back(dgates, dh, dc, gates, c, mask, t, prev, cur, low, high):
    """Time step t of lanes low:high, back to its pre-activations."""
    size = np.uint64(dh.shape[2])
    flat_dgates, flat_gates, flat_c = dgates.reshape(-1), gates.reshape(-1), c.reshape(-1)
    flat_dh, flat_dc = dh.reshape(-1), dc.reshape(-1)
    for b in range(low, high):
        if mask.size and not mask[t, b]:
            carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
            copy(dc[prev, b], dc[cur, b])
        else:
            row, at_prev, at_cur = place(gates, t, b), place(dh, prev, b), place(dh, cur, b)
            _step_back(flat_dgates, flat_gates, row, flat_c, flat_dh, flat_dc, at_prev, at_cur, size)


@kernel
def _forward(h, c, gates, x, bias, mask, reverse, low, high, p_ih, p_hh):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        if x.size:
            times(gates, t, x, t, p_ih, low, high, 0)
        times(gates, t, h, prev, p_hh, low, high, 1)
        _gate(h, c, gates, bias, mask, t, prev, cur, low, high)


@kernel
def _backward(dgates, dh, dc, gates, c, mask, reverse, clip, low, high, p, held):
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        _gate_back(dgates, dh, dc, gates, c, mask, t, prev, cur, low, high)
        times(dh, prev, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, clip)
            add_held(dh, prev, low, high, held)
            clip_message(dc, prev, low, high, clip)


@parallel
def _forward_parallel(h, c, gates, x, bias, mask, reverse, p_ih, p_hh, parts):
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, c, gates, x, bias, mask, reverse, low, high, p_ih, p_hh)


@parallel
def _backward_parallel(dgates, dh, dc, gates, c, mask, reverse, clip, p, held, parts):
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dh, dc, gates, c, mask, reverse, clip, low, high, p, held)


@parallel
def _forward_wide(h, c, gates, bias, mask, reverse, p, parts):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        for part in prange(parts):
            times_part(gates, t, h, prev, p, part, parts, 1)
        for part in prange(parts):
            low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
            _gate(h, c, gates, bias, mask, t, prev, cur, low, high)


@parallel
def _backward_wide(dgates, dh, dc, gates, c, mask, reverse, clip, p, held, parts):
    batch_size = dh.shape[1]
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, 0, batch_size, held)
        for part in prange(parts):
            low, high = bound(part, parts, batch_size), bound(part + 1, parts, batch_size)
            _gate_back(dgates, dh, dc, gates, c, mask, t, prev, cur, low, high)
        for part in prange(parts):
            times_part(dh, prev, dgates, t, p, part, parts, 1)
        if clip > 0:
            clip_message(dh, prev, 0, batch_size, clip)
            add_held(dh, prev, 0, batch_size, held)
            clip_message(dc, prev, 0, batch_size, clip)


def lstm_sequence(h, c, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    (parts, wide, p_hh), bias = plan(gates, weight_hh, True), both(bias_ih, bias_hh)
    x, p_ih = inputs(gates, x, weight_ih, weight_hh, parts, wide)
    if parts == 1:
        _forward(h, c, gates, x, bias, mask, reverse, 0, h.shape[1], p_ih, p_hh)
    elif wide:
        _forward_wide(h, c, gates, bias, mask, reverse, p_hh, parts)
    else:
        _forward_parallel(h, c, gates, x, bias, mask, reverse, p_ih, p_hh, parts)


def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    parts, wide, p = plan(gates, weight_hh, False)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward(dgates, dh, dc, gates, c, mask, reverse, clip, 0, dh.shape[1], p, held)
    elif wide:
        _backward_wide(dgates, dh, dc, gates, c, mask, reverse, clip, p, held, parts)
    else:
        _backward_parallel(dgates, dh, dc, gates, c, mask, reverse, clip, p, held, parts)
