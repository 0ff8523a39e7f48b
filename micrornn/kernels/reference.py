"""The kernels in plain NumPy: what each one means.

cpu/ and cuda/ hold the same names with the same parameters, made fast; tests hold them against this page. Those that
are one formula for each number are in formulas.py.
Conventions, the same everywhere:

    out first     results are written into arrays that the caller made; nothing is allocated for the caller
    no checks     shapes, types and order (C-contiguous) are the caller's duty
    accumulate    add to `out` instead of overwriting it
    *_vjp         the cotangent d<x> of an input, from the cotangent d<y> of the output and what was saved

Shapes: rows (R, V), a reduction (outer, n, inner), time-major sequences (seq_len T, batch_size B, hidden_size H).
"""

from __future__ import annotations

import numpy as np

from micrornn.kernels import lift
from micrornn.kernels.symbols.numbers import computed, kept, leaves_of, pre_activations

# --- elementwise -----------------------------------------------------------------------------------------------

lifted = lift.over_arrays
globals().update({name: lifted(formula) for name, formula in lift.FORMULAS.items()})  # add, exp, ..., adam

# --- products --------------------------------------------------------------------------------------------------


def matmul(out, a, b, trans_a=False, trans_b=False, accumulate=False):
    """out (M, N) (+)= op(a) (M, K) @ op(b) (K, N), where op transposes if asked."""
    product = (a.T if trans_a else a) @ (b.T if trans_b else b)
    out[...] = out + product if accumulate else product


def add_bias(out, bias):
    """out (R, N) += bias (N,), row by row."""
    out += bias


# --- reductions ------------------------------------------------------------------------------------------------


def sum(out, x, accumulate):
    """x (outer, n, inner) -> out (outer, inner)."""
    out[...] = out + x.sum(axis=1) if accumulate else x.sum(axis=1)


def max(out, where, x):
    """x (outer, n, inner) -> the largest along n and its first place, (outer, inner) each."""
    where[...] = x.argmax(axis=1)
    out[...] = x.max(axis=1)


def max_vjp(dx, dy, where):
    dx[...] = 0
    np.put_along_axis(dx, where[:, None, :].astype(np.intp), dy[:, None, :], axis=1)


def sum_of_squares(out, x):
    """out (1,) float64: the squared Euclidean norm."""
    out[0] = np.square(x, dtype=np.float64).sum()


def softmax(out, x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    out[...] = e / e.sum(axis=1, keepdims=True)


def softmax_vjp(dx, dy, y):
    dx[...] = y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax(out, x):
    z = x - x.max(axis=1, keepdims=True)
    out[...] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def log_softmax_vjp(dx, dy, y):
    dx[...] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def cross_entropy(loss, probabilities, logits, targets):
    """loss (R,) = -log softmax(logits)[r, targets[r]]; probabilities (R, V) are kept for the way back, and may be
    written over the logits."""
    z = logits - logits.max(axis=1, keepdims=True)
    loss[...] = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets]
    softmax(probabilities, logits)


def cross_entropy_vjp(dlogits, dloss, probabilities, targets):
    """dlogits may be written over the probabilities."""
    dlogits[...] = probabilities * dloss[:, None]
    dlogits[np.arange(len(targets)), targets] -= dloss


def gather(out, table, ids):
    """out (R, D) = the rows of table (V, D) named by ids (R,)."""
    out[...] = table[ids]


def scatter_add(table, ids, rows):
    """table[ids[r]] += rows[r], in the order of r: the same bits every time."""
    np.add.at(table, ids, rows)


# --- recurrent cells over a sequence -----------------------------------------------------------------------------
#
# program    what one unit of the cell computes, forward and backward (kernels/symbols/program.py). Here NumPy computes
#            its formulas one by one; the other devices make kernels out of them
# states     one array (T + 1, B, H) for each state. Forward in time, step t reads row t ("prev") and writes row t + 1
#            ("cur"); in reverse it reads row t + 1 and writes row t. The caller puts the initial state into the first
#            row read
# gates      (T, B, G H) receives what is kept of each gate; x is (T, B, D), `weights` weight_ih (G H, D),
#            weight_hh (G H, H), bias_ih and bias_hh (G H,); no weight_hh and bias_hh where h_prev goes through none
# hidden     (T, B, G H), for cells that tell the side of h_prev from that of x; else None
# vectors    (H,) each
# `mask` (T, B) is True where the step counts; elsewhere the states are carried over unchanged and every gradient of
# the step is exactly zero. An empty mask means that all steps count.
#
# On the way back, dstates[0] holds the cotangent of every row from its own use, and the message that comes from the
# step after it is added: when done, its rows are the whole of dL/dh. Other states are used by nobody but their own
# layer, so of them only the last row is given, and the others are written. `clip` > 0 limits each number of a message
# (not of the rest) to +-clip. dgates are the cotangents of the pre-activations on the side of x, dhidden on that of
# h_prev; the same array where the cell does not tell them apart.


def _rows(seq_len, reverse):
    """(t, prev, cur) in the order of the forward pass."""
    return [(t, t + 1, t) for t in range(seq_len)][::-1] if reverse else [(t, t, t + 1) for t in range(seq_len)]


def _counts(mask, t, like):
    """(B, 1) bool: which lanes' step t counts."""
    return mask[t][:, None] if mask.size else np.ones((len(like), 1), bool)


def _clip(message, clip):
    return np.clip(message, -clip, clip) if clip > 0 else message


def cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse):
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    for t, prev, cur in _rows(len(gates), reverse):
        before = [rows[prev] for rows in states]
        from_h = None if weight_hh is None else before[0] @ weight_hh.T + bias_hh
        leaves = pre_activations(program, x[t] @ weight_ih.T + bias_ih, from_h)
        leaves |= leaves_of("prev", before) | leaves_of("vector", vectors)
        with np.errstate(all="ignore"):  # where the step does not count, nobody looks at what comes out
            values = computed(program.forward, leaves, before[0])
        gates[t] = np.concatenate([values[slot] for slot in program.slots], axis=-1)
        if program.sided:
            hidden[t] = from_h
        for rows, old, new in zip(states, before, program.new):
            rows[cur] = np.where(_counts(mask, t, old), values[new], old)


def cell_sequence_vjp(
    program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask, reverse, clip
):  # fmt: skip
    for dvector in dvectors:
        dvector[...] = 0
    for t, prev, cur in _rows(len(gates), reverse)[::-1]:
        arrived, counts = [drows[cur].copy() for drows in dstates], _counts(mask, t, gates[t])
        before, after = ([rows[at] for rows in states] for at in (prev, cur))
        leaves = kept(program, gates[t], None if hidden is None else hidden[t], before, after, vectors)
        with np.errstate(all="ignore"):
            values = computed(program.backward, leaves | leaves_of("dcur", arrived), arrived[0])
        for out, parts in ((dgates, program.dx), (dhidden, program.dh)):
            out[t] = np.where(counts, np.concatenate([values[part] for part in parts], axis=-1), 0)
        for drows, total in zip(dstates, program.total):
            if total is not None:
                drows[cur] = np.where(counts, values[total], drows[cur])
        through = 0 if weight_hh is None else dhidden[t] @ weight_hh
        messages = [np.where(counts, values[straight], old) for straight, old in zip(program.dprev, arrived)]
        dstates[0][prev] += _clip(through + messages[0], clip)
        for drows, message in zip(dstates[1:], messages[1:]):
            drows[prev] = _clip(message, clip)
        for dvector, symbol in zip(dvectors, program.dvector):
            dvector += np.where(counts, values[symbol], 0).sum(axis=0)


# --- one time step of one lane ---------------------------------------------------------------------------------
#
# As sampling needs it: no time axis, no lanes. states (2, H) each: row `turn` is read, the other one written.
# `gates` is what comes from the input, W_ih x + b_ih, and `hidden` what comes from the state, W_hh h + b_hh; both are
# written over.


def matvec(out, weight, x, bias):
    """out (N,) = weight (N, K) @ x (K,) + bias (N,)."""
    out[...] = weight @ x + bias


def cell_step(program, states, turn, gates, hidden, vectors):
    before = [rows[turn] for rows in states]
    leaves = pre_activations(program, gates, hidden if program.recurrent else None)
    leaves |= leaves_of("prev", before) | leaves_of("vector", vectors)
    values = computed(program.forward, leaves, before[0])
    for rows, new in zip(states, program.new):
        rows[1 - turn] = values[new]
