"""The simple (Elman) RNN over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import ONE, tanh
from micrornn.kernels.cpu.recurrent import (
    add_held,
    both,
    carry_back,
    clip_message,
    copy,
    hold_back,
    inputs,
    plan,
    rows,
    times,
    times_part,
)
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _step(row, bias, h_cur, relu):
    """One lane, one time step: from pre-activations to h_t, which `row` keeps."""
    if relu:
        for j in range(h_cur.size):
            a = row[j] + bias[j]
            row[j] = row.dtype.type(0) if a <= 0 else a  # in this order NaN passes through, to be seen
            h_cur[j] = row[j]
    else:
        for j in range(h_cur.size):
            row[j] = tanh(row[j] + bias[j])
            h_cur[j] = row[j]


@kernel
def _step_back(drow, row, dh_cur, relu):
    """One lane, one time step: from dh_t to the cotangent of the pre-activation."""
    if relu:
        for j in range(dh_cur.size):
            drow[j] = dh_cur[j] if row[j] > 0 else drow.dtype.type(0)
    else:
        for j in range(dh_cur.size):
            drow[j] = dh_cur[j] * (ONE - row[j] * row[j])


@kernel
def _gate(h, gates, bias, mask, relu, t, prev, cur, low, high):
    """Time step t of lanes low:high, from its pre-activations on."""
    for b in range(low, high):
        _step(gates[t, b], bias, h[cur, b], relu)
        if mask.size and not mask[t, b]:
            copy(h[cur, b], h[prev, b])


@kernel
def _gate_back(dgates, dh, gates, mask, relu, t, prev, cur, low, high):
    """Time step t of lanes low:high, back to its pre-activations."""
    for b in range(low, high):
        if mask.size and not mask[t, b]:
            carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
        else:
            _step_back(dgates[t, b], gates[t, b], dh[cur, b], relu)


@kernel
def _forward(h, gates, x, bias, mask, reverse, relu, low, high, p_ih, p_hh):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        if x.size:
            times(gates, t, x, t, p_ih, low, high, 0)
        times(gates, t, h, prev, p_hh, low, high, 1)
        _gate(h, gates, bias, mask, relu, t, prev, cur, low, high)


@kernel
def _backward(dgates, dh, gates, mask, reverse, clip, relu, low, high, p, held):
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        _gate_back(dgates, dh, gates, mask, relu, t, prev, cur, low, high)
        times(dh, prev, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, clip)
            add_held(dh, prev, low, high, held)


@parallel
def _forward_parallel(h, gates, x, bias, mask, reverse, relu, p_ih, p_hh, parts):
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, gates, x, bias, mask, reverse, relu, low, high, p_ih, p_hh)


@parallel
def _backward_parallel(dgates, dh, gates, mask, reverse, clip, relu, p, held, parts):
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dh, gates, mask, reverse, clip, relu, low, high, p, held)


@parallel
def _forward_wide(h, gates, bias, mask, reverse, relu, p, parts):
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        for part in prange(parts):
            times_part(gates, t, h, prev, p, part, parts, 1)
        for part in prange(parts):
            low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
            _gate(h, gates, bias, mask, relu, t, prev, cur, low, high)


@parallel
def _backward_wide(dgates, dh, gates, mask, reverse, clip, relu, p, held, parts):
    batch_size = dh.shape[1]
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, 0, batch_size, held)
        for part in prange(parts):
            low, high = bound(part, parts, batch_size), bound(part + 1, parts, batch_size)
            _gate_back(dgates, dh, gates, mask, relu, t, prev, cur, low, high)
        for part in prange(parts):
            times_part(dh, prev, dgates, t, p, part, parts, 1)
        if clip > 0:
            clip_message(dh, prev, 0, batch_size, clip)
            add_held(dh, prev, 0, batch_size, held)


def rnn_sequence(h, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse, relu):
    (parts, wide, p_hh), bias = plan(gates, weight_hh, True), both(bias_ih, bias_hh)
    x, p_ih = inputs(gates, x, weight_ih, weight_hh, parts, wide)
    if parts == 1:
        _forward(h, gates, x, bias, mask, reverse, relu, 0, h.shape[1], p_ih, p_hh)
    elif wide:
        _forward_wide(h, gates, bias, mask, reverse, relu, p_hh, parts)
    else:
        _forward_parallel(h, gates, x, bias, mask, reverse, relu, p_ih, p_hh, parts)


def rnn_sequence_vjp(dgates, dh, gates, weight_hh, mask, reverse, clip, relu):
    parts, wide, p = plan(gates, weight_hh, False)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward(dgates, dh, gates, mask, reverse, clip, relu, 0, dh.shape[1], p, held)
    elif wide:
        _backward_wide(dgates, dh, gates, mask, reverse, clip, relu, p, held, parts)
    else:
        _backward_parallel(dgates, dh, gates, mask, reverse, clip, relu, p, held, parts)
