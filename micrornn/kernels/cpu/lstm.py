"""The LSTM over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import sigmoid, tanh
from micrornn.kernels.cpu.recurrent import clip_message, hold_back, pack_part, plan, times
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _forward(h, c, gates, bias_ih, bias_hh, mask, reverse, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(gates, t, 4 * size, h, prev, p, low, high, 1)
        for b in range(low, high):
            # short loops over few arrays: each of them becomes vector code, one long one would not
            row = gates[t, b]
            for j in range(4 * size):
                row[j] += bias_ih[j] + bias_hh[j]
            for j in range(2 * size):
                row[j] = sigmoid(row[j])
            for j in range(2 * size, 3 * size):
                row[j] = tanh(row[j])
            for j in range(3 * size, 4 * size):
                row[j] = sigmoid(row[j])
            i, f, g, o = row[:size], row[size : 2 * size], row[2 * size : 3 * size], row[3 * size :]
            c_prev, c_cur, h_cur = c[prev, b], c[cur, b], h[cur, b]
            if mask.size and not mask[t, b]:
                for j in range(size):
                    c_cur[j] = c_prev[j]
                    h_cur[j] = h[prev, b, j]
            else:
                for j in range(size):
                    c_cur[j] = f[j] * c_prev[j] + i[j] * g[j]
                for j in range(size):
                    h_cur[j] = o[j] * tanh(c_cur[j])


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
            row, drow = gates[t, b], dgates[t, b]
            i, f, g, o = row[:size], row[size : 2 * size], row[2 * size : 3 * size], row[3 * size :]
            di, df, dg, do = drow[:size], drow[size : 2 * size], drow[2 * size : 3 * size], drow[3 * size :]
            c_prev, c_cur, dh_cur, dc_cur = c[prev, b], c[cur, b], dh[cur, b], dc[cur, b]
            dh_prev, dc_prev = dh[prev, b], dc[prev, b]
            if mask.size and not mask[t, b]:
                for j in range(4 * size):
                    drow[j] = 0
                for j in range(size):
                    dh_prev[j] += dh_cur[j]
                    dc_prev[j] += dc_cur[j]
                continue
            for j in range(size):
                do[j] = tanh(c_cur[j])  # do holds tanh(c_t) until it is needed no more
            for j in range(size):
                dc_cur[j] += dh_cur[j] * o[j] * (1 - do[j] * do[j])
            for j in range(size):
                do[j] = dh_cur[j] * do[j] * o[j] * (1 - o[j])
            for j in range(size):
                di[j] = dc_cur[j] * g[j] * i[j] * (1 - i[j])
            for j in range(size):
                df[j] = dc_cur[j] * c_prev[j] * f[j] * (1 - f[j])
            for j in range(size):
                dg[j] = dc_cur[j] * i[j] * (1 - g[j] * g[j])
            for j in range(size):
                dc_prev[j] += dc_cur[j] * f[j]
        times(dh, prev, size, dgates, t, p, low, high, 1)
        if clip > 0:
            clip_message(dh, prev, low, high, held_h, clip)
            clip_message(dc, prev, low, high, held_c, clip)


@kernel
def _forward_alone(h, c, gates, weight_hh, bias_ih, bias_hh, mask, reverse, p):
    pack_part(p, weight_hh, True, 0, 1)
    _forward(h, c, gates, bias_ih, bias_hh, mask, reverse, 0, h.shape[1], p)


@parallel
def _forward_parallel(h, c, gates, weight_hh, bias_ih, bias_hh, mask, reverse, p, parts):
    for part in prange(parts):
        pack_part(p, weight_hh, True, part, parts)
    for part in prange(parts):
        low, high = bound(part, parts, h.shape[1]), bound(part + 1, parts, h.shape[1])
        _forward(h, c, gates, bias_ih, bias_hh, mask, reverse, low, high, p)


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
    parts, p = plan(h, gates, weight_hh)
    if parts == 1:
        _forward_alone(h, c, gates, weight_hh, bias_ih, bias_hh, mask, reverse, p)
    else:
        _forward_parallel(h, c, gates, weight_hh, bias_ih, bias_hh, mask, reverse, p, parts)


def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    parts, p = plan(dh, gates, weight_hh)
    held, clip = workspace((2, *dh[0].shape), dh.dtype, "held"), dh.dtype.type(clip)
    if parts == 1:
        _backward_alone(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held[0], held[1])
    else:
        _backward_parallel(
            dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip, p, held[0], held[1], parts
        )
