"""The LSTM over a sequence in plain Numba: the equations of reference.py as loops, and nothing done for speed.

It stands between reference.py and the kernels of the processor, to be read: docs/faster.md walks from the one to the
other. The parameters of the two sequence kernels are those of reference.py.
"""

from __future__ import annotations

import numpy as np
from numpy import exp, tanh

from micrornn.kernels.cpu.jit import kernel
from micrornn.kernels.cpu.recurrent import add_held, clip_message, hold_back, rows


@kernel
def sigmoid(x):
    return 1 / (1 + exp(-x))


@kernel
def add_product(out, a, b):
    """out (M, N) += a (M, K) b (K, N)."""
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                out[i, j] += a[i, k] * b[k, j]


@kernel
def add_product_t(out, a, b):
    """out (M, N) += a^T b, for a (K, M) and b (K, N)."""
    for k in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(b.shape[1]):
                out[i, j] += a[k, i] * b[k, j]


@kernel
def matmul(out, a, b, trans_a=False):
    """out = a b, or a^T b: the gradients of the inputs and of the weights, over all time steps and lanes."""
    out[...] = 0
    if trans_a:
        add_product_t(out, a, b)
    else:
        add_product(out, a, b)


@kernel
def laid(weight, transposed):
    """The weights, or their transpose, as `add_product` walks over them: row after row."""
    return weight.T.copy() if transposed else weight


@kernel
def copy(out, row):
    """A masked step hands the state over as it is."""
    for j in range(row.size):
        out[j] = row[j]


@kernel
def carry_back(drow, dprev, dcur):
    """The way back through a masked step: nothing for the gates, everything for the step before."""
    for j in range(drow.size):
        drow[j] = 0
    for j in range(dcur.size):
        dprev[j] += dcur[j]


@kernel
def activate(h, c, gates, bias, mask, t, prev, cur):
    """Time step t of all lanes, from its pre-activations on."""
    size = h.shape[2]
    for b in range(h.shape[1]):
        for j in range(size):
            i = sigmoid(gates[t, b, j] + bias[j])
            f = sigmoid(gates[t, b, size + j] + bias[size + j])
            g = tanh(gates[t, b, 2 * size + j] + bias[2 * size + j])
            o = sigmoid(gates[t, b, 3 * size + j] + bias[3 * size + j])
            gates[t, b, j], gates[t, b, size + j], gates[t, b, 2 * size + j], gates[t, b, 3 * size + j] = i, f, g, o
            c[cur, b, j] = f * c[prev, b, j] + i * g
            h[cur, b, j] = o * tanh(c[cur, b, j])
        if mask.size and not mask[t, b]:
            copy(c[cur, b], c[prev, b])
            copy(h[cur, b], h[prev, b])


@kernel
def activate_back(dgates, dh, dc, gates, c, mask, t, prev, cur):
    """Time step t of all lanes, back to its pre-activations."""
    size = dh.shape[2]
    for b in range(dh.shape[1]):
        if mask.size and not mask[t, b]:
            carry_back(dgates[t, b], dh[prev, b], dh[cur, b])
            copy(dc[prev, b], dc[cur, b])
            continue
        for j in range(size):
            i, f = gates[t, b, j], gates[t, b, size + j]
            g, o = gates[t, b, 2 * size + j], gates[t, b, 3 * size + j]
            dh_t, tanh_c = dh[cur, b, j], tanh(c[cur, b, j])
            dc_t = dc[cur, b, j] + dh_t * o * (1 - tanh_c**2)
            dgates[t, b, j] = dc_t * g * i * (1 - i)
            dgates[t, b, size + j] = dc_t * c[prev, b, j] * f * (1 - f)
            dgates[t, b, 2 * size + j] = dc_t * i * (1 - g**2)
            dgates[t, b, 3 * size + j] = dh_t * tanh_c * o * (1 - o)
            dc[prev, b, j] = dc_t * f
            dc[cur, b, j] = dc_t


@kernel
def lstm_sequence(h, c, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    across_ih, across_hh, bias = laid(weight_ih, True), laid(weight_hh, True), bias_ih + bias_hh
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        gates[t] = 0
        add_product(gates[t], x[t], across_ih)
        add_product(gates[t], h[prev], across_hh)
        activate(h, c, gates, bias, mask, t, prev, cur)


@kernel
def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    along_hh, lanes, own = laid(weight_hh, False), dh.shape[1], np.empty_like(dh[0])
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(dh, prev, 0, lanes, own)  # only the message from this step is limited, not what is there
        activate_back(dgates, dh, dc, gates, c, mask, t, prev, cur)
        add_product(dh[prev], dgates[t], along_hh)
        if clip > 0:
            clip_message(dh, prev, 0, lanes, clip)
            add_held(dh, prev, 0, lanes, own)
            clip_message(dc, prev, 0, lanes, clip)
