"""The LSTM over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import sigmoid, tanh
from micrornn.kernels.cpu.recurrent import (
    both,
    carry_back,
    clip_message,
    copy,
    hold_back,
    pack_part,
    plan,
    times,
)
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _step(row, bias, c_prev, c_cur, h_cur):
    """One lane, one time step: from pre-activations to gates, c_t and h_t."""
    size = h_cur.size
    i, f, g, o = row[:size], row[size : 2 * size], row[2 * size : 3 * size], row[3 * size :]
    b_i, b_f, b_g, b_o = bias[:size], bias[size : 2 * size], bias[2 * size : 3 * size], bias[3 * size :]
    for j in range(size):
        i[j] = sigmoid(i[j] + b_i[j])
        f[j] = sigmoid(f[j] + b_f[j])
        g[j] = tanh(g[j] + b_g[j])
        o[j] = sigmoid(o[j] + b_o[j])
        c_cur[j] = f[j] * c_prev[j] + i[j] * g[j]
        h_cur[j] = o[j] * tanh(c_cur[j])


@kernel
def _step_back(drow, row, c_prev, c_cur, dh_cur, dc_cur, dc_prev):
    """One lane, one time step: from dh_t and dc_t to the gates' cotangents and dc_prev."""
    size = dh_cur.size
    i, f, g, o = row[:size], row[size : 2 * size], row[2 * size : 3 * size], row[3 * size :]
    di, df, dg, do = drow[:size], drow[size : 2 * size], drow[2 * size : 3 * size], drow[3 * size :]
    for j in range(size):
        tanh_c = tanh(c_cur[j])
        dc = dc_cur[j] + dh_cur[j] * o[j] * (1 - tanh_c * tanh_c)
        do[j] = dh_cur[j] * tanh_c * o[j] * (1 - o[j])
        di[j] = dc * g[j] * i[j] * (1 - i[j])
        df[j] = dc * c_prev[j] * f[j] * (1 - f[j])
        dg[j] = dc * i[j] * (1 - g[j] * g[j])
        dc_prev[j] += dc * f[j]
        dc_cur[j] = dc


@kernel
def _forward(h, c, gates, bias, mask, reverse, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(gates, t, 4 * size, h, prev, p, low, high, 1)
        for b in range(low, high):
            _step(gates[t, b], bias, c[prev, b], c[cur, b], h[cur, b])
            if mask.size and not mask[t, b]:
                copy(c[cur, b], c[prev, b])
                copy(h[cur, b], h[prev, b])


@kernel
def _backward(dgates, dh, dc, gates, c, mask, reverse, clip, low, high, p, held_h, held_c):
    seq_len, size = gates.shape[0], dh.shape[2]
    for step in range(seq_len):
        t = step if reverse else seq_len - 1 - step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        if clip > 0:
            hold_back(dh, prev, low, high, held_h)
            hold_back(dc, prev, low, high, held_c)
        for b in range(low, high):
            if mask.size and not mask[t, b]:
                carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
                carry_back(dgates[t, b], dc[prev, b], dc[cur, b])
            else:
                _step_back(dgates[t, b], gates[t, b], c[prev, b], c[cur, b], dh[cur, b], dc[cur, b], dc[prev, b])
        times(dh, prev, size, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, held_h, clip)
            clip_message(dc, prev, low, high, held_c, clip)


@kernel
def _forward_alone(h, c, gates, weight_hh, bias, mask, reverse, p):
    pack_part(p, weight_hh, True, 0, 1)
    _forward(h, c, gates, bias, mask, reverse, 0, h.shape[1], p)


@parallel
def _forward_parallel(h, c, gates, weight_hh, bias, mask, reverse, p, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, True, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, c, gates, bias, mask, reverse, low, high, p)


@kernel
def _backward_alone(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held_h, held_c):
    pack_part(p, weight_hh, False, 0, 1)
    _backward(dgates, dh, dc, gates, c, mask, reverse, clip, 0, dh.shape[1], p, held_h, held_c)


@parallel
def _backward_parallel(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held_h, held_c, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, False, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dh, dc, gates, c, mask, reverse, clip, low, high, p, held_h, held_c)


def lstm_sequence(h, c, gates, weight_hh, bias_ih, bias_hh, mask, reverse):
    (parts, p), bias = plan(h, gates, weight_hh), both(bias_ih, bias_hh)
    if parts == 1:
        _forward_alone(h, c, gates, weight_hh, bias, mask, reverse, p)
    else:
        _forward_parallel(h, c, gates, weight_hh, bias, mask, reverse, p, parts)


def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    parts, p = plan(dh, gates, weight_hh)
    held, clip = workspace((2, *dh[0].shape), dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward_alone(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held[0], held[1])
    else:
        _backward_parallel(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held[0], held[1], parts)
