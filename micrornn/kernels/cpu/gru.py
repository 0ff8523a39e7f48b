"""The GRU over a whole sequence, forward and backward. The equations are in reference.py."""

from __future__ import annotations

from numba import prange

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import sigmoid, tanh
from micrornn.kernels.cpu.recurrent import carry_back, clip_message, copy, hold_back, pack_part, plan, times
from micrornn.kernels.cpu.threads import bound, workspace


@kernel
def _step(row, from_h, bias_ih, bias_hh, h_prev, h_cur):
    """One lane, one time step: from both sides' pre-activations to gates and h_t."""
    size = h_cur.size
    for j in range(3 * size):
        from_h[j] += bias_hh[j]
    r, z, n = row[:size], row[size : 2 * size], row[2 * size :]
    hr, hz, hn = from_h[:size], from_h[size : 2 * size], from_h[2 * size :]
    b_r, b_z, b_n = bias_ih[:size], bias_ih[size : 2 * size], bias_ih[2 * size :]
    for j in range(size):
        r[j] = sigmoid(r[j] + b_r[j] + hr[j])
        z[j] = sigmoid(z[j] + b_z[j] + hz[j])
        n[j] = tanh(n[j] + b_n[j] + r[j] * hn[j])
        h_cur[j] = n[j] + z[j] * (h_prev[j] - n[j])


@kernel
def _step_back(drow, dfrom_h, row, hn, h_prev, dh_cur, dh_prev):
    """One lane, one time step: from dh_t to both sides' cotangents, and what z passes straight to dh_prev."""
    size = dh_cur.size
    r, z, n = row[:size], row[size : 2 * size], row[2 * size :]
    dr, dz, dn = drow[:size], drow[size : 2 * size], drow[2 * size :]
    hr, hz, dhn = dfrom_h[:size], dfrom_h[size : 2 * size], dfrom_h[2 * size :]
    for j in range(size):
        dn[j] = dh_cur[j] * (1 - z[j]) * (1 - n[j] * n[j])
        dz[j] = dh_cur[j] * (h_prev[j] - n[j]) * z[j] * (1 - z[j])
        dr[j] = dn[j] * hn[j] * r[j] * (1 - r[j])
        dh_prev[j] += dh_cur[j] * z[j]
    for j in range(size):  # a loop of its own: with these too, the one above is no vector code any more
        hr[j] = dr[j]
        hz[j] = dz[j]
        dhn[j] = dn[j] * r[j]


@kernel
def _forward(h, gates, hidden, bias_ih, bias_hh, mask, reverse, low, high, p):
    seq_len, size = gates.shape[0], h.shape[2]
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        times(hidden, t, 3 * size, h, prev, p, low, high, 0)
        for b in range(low, high):
            _step(gates[t, b], hidden[t, b], bias_ih, bias_hh, h[prev, b], h[cur, b])
            if mask.size and not mask[t, b]:
                copy(h[cur, b], h[prev, b])


@kernel
def _backward(dgates, dhidden, dh, gates, hidden, h, mask, reverse, clip, low, high, p, held):
    seq_len, size = gates.shape[0], dh.shape[2]
    for step in range(seq_len):
        t = step if reverse else seq_len - 1 - step
        prev, cur = (t + 1, t) if reverse else (t, t + 1)
        if clip > 0:
            hold_back(dh, prev, low, high, held)
        for b in range(low, high):
            if mask.size and not mask[t, b]:
                dhidden[t, b, :] = 0
                carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
            else:
                _step_back(
                    dgates[t, b], dhidden[t, b], gates[t, b], hidden[t, b, 2 * size :],
                    h[prev, b], dh[cur, b], dh[prev, b],
                )  # fmt: skip
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
        _backward_parallel(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip, p, held, parts)
