"""The GRU over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import sigmoid, tanh
from micrornn.kernels.cpu.recurrent import clip_message, hold_back, pack_part, plan, times
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _forward(h, gates, hidden, bias_ih, bias_hh, mask, reverse, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(hidden, t, 3 * size, h, prev, p, low, high, 0)
        for b in range(low, high):
            row, from_h = gates[t, b], hidden[t, b]
            for j in range(3 * size):
                from_h[j] += bias_hh[j]
            for j in range(3 * size):
                row[j] += bias_ih[j]
            for j in range(2 * size):
                row[j] = sigmoid(row[j] + from_h[j])
            r, z, n, hn = row[:size], row[size : 2 * size], row[2 * size :], from_h[2 * size :]
            for j in range(size):
                n[j] = tanh(n[j] + r[j] * hn[j])
            h_prev, h_cur = h[prev, b], h[cur, b]
            if mask.size and not mask[t, b]:
                for j in range(size):
                    h_cur[j] = h_prev[j]
            else:
                for j in range(size):
                    h_cur[j] = n[j] + z[j] * (h_prev[j] - n[j])


@kernel
def _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, low, high, p, held):
    seq_len, size = gates.shape[0], dh.shape[2]
    for step in range(seq_len):
        t = step if reverse else seq_len - 1 - step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        for b in range(low, high):
            row, drow, dfrom_h, hn = gates[t, b], dgates[t, b], dhidden[t, b], hidden[t, b, 2 * size :]
            r, z, n = row[:size], row[size : 2 * size], row[2 * size :]
            dr, dz, dn = drow[:size], drow[size : 2 * size], drow[2 * size :]
            h_prev, dh_cur, dh_prev = h[prev, b], dh[cur, b], dh[prev, b]
            if mask.size and not mask[t, b]:
                for j in range(3 * size):
                    drow[j] = 0
                for j in range(3 * size):
                    dfrom_h[j] = 0
                for j in range(size):
                    dh_prev[j] += dh_cur[j]
                continue
            for j in range(size):
                dn[j] = dh_cur[j] * (1 - z[j]) * (1 - n[j] * n[j])
            for j in range(size):
                dz[j] = dh_cur[j] * (h_prev[j] - n[j]) * z[j] * (1 - z[j])
            for j in range(size):
                dr[j] = dn[j] * hn[j] * r[j] * (1 - r[j])
            for j in range(size):
                dh_prev[j] += dh_cur[j] * z[j]
            for j in range(2 * size):
                dfrom_h[j] = drow[j]
            for j in range(size):
                dfrom_h[2 * size + j] = dn[j] * r[j]
        times(dh, prev, size, dhidden, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, held, clip)


@kernel
def _forward_alone(h, gates, hidden, weight_hh, bias_ih, bias_hh, mask, reverse, p):
    pack_part(p, weight_hh, True, 0, 1)
    _forward(h, gates, hidden, bias_ih, bias_hh, mask, reverse, 0, h.shape[1], p)


@parallel
def _forward_parallel(h, gates, hidden, weight_hh, bias_ih, bias_hh, mask, reverse, p, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, True, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, gates, hidden, bias_ih, bias_hh, mask, reverse, low, high, p)


@kernel
def _backward_alone(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip, p, held):
    pack_part(p, weight_hh, False, 0, 1)
    _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, 0, dh.shape[1], p, held)


@parallel
def _backward_parallel(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip, p, held, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, False, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, dh.shape[1]), bound(part + 1, parts, dh.shape[1])
        _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, low, high, p, held)


def gru_sequence(h, gates, hidden, weight_hh, bias_ih, bias_hh, mask, reverse):
    parts, p = plan(h, gates, weight_hh)
    if parts == 1:
        _forward_alone(h, gates, hidden, weight_hh, bias_ih, bias_hh, mask, reverse, p)
    else:
        _forward_parallel(h, gates, hidden, weight_hh, bias_ih, bias_hh, mask, reverse, p, parts)


def gru_sequence_vjp(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip):
    parts, p = plan(dh, gates, weight_hh)
    held, clip = workspace(dh[0].shape, dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward_alone(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip, p, held)
    else:
        _backward_parallel(
            dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip, p, held, parts
        )
