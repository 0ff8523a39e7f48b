"""The simple (Elman) RNN over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import tanh
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
            drow[j] = dh_cur[j] * (1 - row[j] * row[j])


@kernel
def _forward(h, gates, bias, mask, reverse, relu, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(gates, t, size, h, prev, p, low, high, 1)
        for b in range(low, high):
            _step(gates[t, b], bias, h[cur, b], relu)
            if mask.size and not mask[t, b]:
                copy(h[cur, b], h[prev, b])


@kernel
def _backward(dgates, dh, gates, mask, reverse, clip, relu, low, high, p, held):
    seq_len, size = gates.shape[0], dh.shape[2]
    for step in range(seq_len):
        t = step if reverse else seq_len - 1 - step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        for b in range(low, high):
            if mask.size and not mask[t, b]:
                carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
            else:
                _step_back(dgates[t, b], gates[t, b], dh[cur, b], relu)
        times(dh, prev, size, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, held, clip)


@kernel
def _forward_alone(h, gates, weight_hh, bias, mask, reverse, relu, p):
    pack_part(p, weight_hh, True, 0, 1)
    _forward(h, gates, bias, mask, reverse, relu, 0, h.shape[1], p)


@parallel
def _forward_parallel(h, gates, weight_hh, bias, mask, reverse, relu, p, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, True, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, gates, bias, mask, reverse, relu, low, high, p)


@kernel
def _backward_alone(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held):
    pack_part(p, weight_hh, False, 0, 1)
    _backward(dgates, dh, gates, mask, reverse, clip, relu, 0, dh.shape[1], p, held)


@parallel
def _backward_parallel(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, False, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dh, gates, mask, reverse, clip, relu, low, high, p, held)


def rnn_sequence(h, gates, weight_hh, bias_ih, bias_hh, mask, reverse, relu):
    (parts, p), bias = plan(h, gates, weight_hh), both(bias_ih, bias_hh)
    if parts == 1:
        _forward_alone(h, gates, weight_hh, bias, mask, reverse, relu, p)
    else:
        _forward_parallel(h, gates, weight_hh, bias, mask, reverse, relu, p, parts)


def rnn_sequence_vjp(dgates, dh, gates, weight_hh, mask, reverse, clip, relu):
    parts, p = plan(dh, gates, weight_hh)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward_alone(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held)
    else:
        _backward_parallel(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held, parts)
