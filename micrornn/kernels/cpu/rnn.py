"""The simple (Elman) RNN over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import tanh
from micrornn.kernels.cpu.recurrent import clip_message, hold_back, pack_part, plan, times
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _forward(h, gates, bias_ih, bias_hh, mask, reverse, relu, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(gates, t, size, h, prev, p, low, high, 1)
        for b in range(low, high):
            row, h_cur = gates[t, b], h[cur, b]
            for j in range(size):
                row[j] += bias_ih[j] + bias_hh[j]
            if relu:
                for j in range(size):
                    row[j] = max(row[j], row.dtype.type(0))
            else:
                for j in range(size):
                    row[j] = tanh(row[j])
            if mask.size and not mask[t, b]:
                row = h[prev, b]
            for j in range(size):
                h_cur[j] = row[j]


@kernel
def _backward(dgates, dh, gates, mask, reverse, clip, relu, low, high, p, held):
    seq_len, size = gates.shape[0], dh.shape[2]
    for step in range(seq_len):
        t = step if reverse else seq_len - 1 - step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        for b in range(low, high):
            row, drow, dh_cur, dh_prev = gates[t, b], dgates[t, b], dh[cur, b], dh[prev, b]
            if mask.size and not mask[t, b]:
                for j in range(size):
                    drow[j] = 0
                for j in range(size):
                    dh_prev[j] += dh_cur[j]
            elif relu:
                for j in range(size):
                    drow[j] = dh_cur[j] if row[j] > 0 else 0
            else:
                for j in range(size):
                    drow[j] = dh_cur[j] * (1 - row[j] * row[j])
        times(dh, prev, size, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, held, clip)


@kernel
def _forward_alone(h, gates, weight_hh, bias_ih, bias_hh, mask, reverse, relu, p):
    pack_part(p, weight_hh, True, 0, 1)
    _forward(h, gates, bias_ih, bias_hh, mask, reverse, relu, 0, h.shape[1], p)


@parallel
def _forward_parallel(h, gates, weight_hh, bias_ih, bias_hh, mask, reverse, relu, p, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, True, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, gates, bias_ih, bias_hh, mask, reverse, relu, low, high, p)


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
    parts, p = plan(h, gates, weight_hh)
    if parts == 1:
        _forward_alone(h, gates, weight_hh, bias_ih, bias_hh, mask, reverse, relu, p)
    else:
        _forward_parallel(h, gates, weight_hh, bias_ih, bias_hh, mask, reverse, relu, p, parts)


def rnn_sequence_vjp(dgates, dh, gates, weight_hh, mask, reverse, clip, relu):
    parts, p = plan(dh, gates, weight_hh)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward_alone(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held)
    else:
        _backward_parallel(dgates, dh, gates, weight_hh, mask, reverse, clip, relu, p, held, parts)
