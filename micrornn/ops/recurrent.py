"""One recurrent layer in one direction over a whole sequence, as a single op: RNN, LSTM, GRU.

A single time step is a sequence of one. The equations are on the reference page (kernels/reference.py).

    x (T, B, D), h_0 (B, H), weight_ih (G H, D), weight_hh (G H, H), bias_ih, bias_hh (G H,)
    mask (T, B) bool or None: what stands in x at a masked step is never looked at
    reverse: from the last step to the first; clip: limit of the message passed back
    -> y (T, B, H), h_n (B, H), and c_n for the LSTM

The kernels project the inputs, step by step or all at once; all weight gradients are one product behind the loop.

What is saved stays readable: h, c, gates for every time step and, once a backward pass has gone through, their
cotangents dh, dc, dgates. That is what inspection reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.axes import sum_axis
from micrornn.ops.masks import drop_nonfinite, keep, take_mask
from micrornn.tape import op

NO_MASK = np.ones((0, 0), bool)


def _prepare(k: Kernels, name: str, gates: int, x: np.ndarray, states: list[np.ndarray], weight_ih: np.ndarray,
             weight_hh: np.ndarray, biases: tuple[np.ndarray, ...], mask: Any,
             reverse: bool) -> tuple[np.ndarray, list[np.ndarray], dict[str, Any]]:  # fmt: skip
    """(room for the gates, states with the initial ones in place, what to save)."""
    size = weight_hh.shape[-1] if weight_hh.ndim else 0
    if (
        x.ndim != 3
        or 0 in x.shape
        or not size
        or weight_ih.shape != (gates * size, x.shape[2])
        or weight_hh.shape != (gates * size, size)
    ):
        raise ShapeError(
            f"{name}: x {x.shape}, weight_ih {weight_ih.shape}, weight_hh {weight_hh.shape}; "
            f"wanted (T, B, D), ({gates}H, D), ({gates}H, H), none of them 0"
        )
    seq_len, batch_size, _ = x.shape
    for state in states:
        if state.shape != (batch_size, size):
            raise ShapeError(f"{name}: initial state {state.shape}, wanted (B, H) = ({batch_size}, {size})")
    for bias in biases:
        if bias.shape != (gates * size,):
            raise ShapeError(f"{name}: bias {bias.shape}, wanted ({gates}H,) = ({gates * size},)")
    mask = NO_MASK if mask is None else take_mask(name, mask)
    if mask is not NO_MASK and mask.shape != (seq_len, batch_size):
        raise ShapeError(f"{name}: mask {mask.shape}, wanted (T, B) = ({seq_len}, {batch_size})")
    if mask.size:
        x = keep(k, x, mask)
    rows = []
    for state in states:
        row = k.empty((seq_len + 1, batch_size, size), x.dtype)
        row[seq_len if reverse else 0] = state
        rows.append(row)
    mask = k.asarray(mask)
    return (
        k.empty((seq_len, batch_size, gates * size), x.dtype),
        rows,
        {"x": x, "weights": (weight_ih, weight_hh), "mask": mask, "reverse": reverse},
    )


def _ends(rows: np.ndarray, reverse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outputs of every step, the states every step started from, the last state) as views."""
    return (rows[:-1], rows[1:], rows[0]) if reverse else (rows[1:], rows[:-1], rows[-1])


def _seeded(k: Kernels, rows: np.ndarray, saved: dict[str, Any], dy: Any, dlast: Any) -> np.ndarray:
    """Cotangents of all states, holding so far what comes from outside the layer."""
    drows, reverse, mask = k.empty(rows.shape, rows.dtype), saved["reverse"], saved["mask"]
    outputs, _, last = _ends(drows, reverse)
    drows[-1 if reverse else 0] = 0
    if dy is not None and mask.size:
        dy = drop_nonfinite(k, dy, mask)
    outputs[...] = 0 if dy is None else dy
    if dlast is not None:
        k.accumulate(last, dlast)
    return drows


def _weight_gradients(k: Kernels, saved: dict[str, Any], dgates: np.ndarray, dhidden: np.ndarray,
                      needs_x: bool) -> tuple[Any, ...]:  # fmt: skip
    """(dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh), each as one product over all time steps and lanes."""
    x, (weight_ih, weight_hh), width = saved["x"], saved["weights"], dgates.shape[2]
    _, before, _ = _ends(saved["h"], saved["reverse"])
    if saved["mask"].size:  # a lane that is masked throughout may have started from NaN
        before = keep(k, before, saved["mask"])
    rows, hidden_rows, dx = dgates.reshape(-1, width), dhidden.reshape(-1, width), None
    if needs_x:
        dx = k.empty(x.shape, x.dtype)
        k.matmul(dx.reshape(-1, x.shape[2]), rows, weight_ih)
    dweight_ih, dweight_hh = k.empty(weight_ih.shape, x.dtype), k.empty(weight_hh.shape, x.dtype)
    k.matmul(dweight_ih, rows, x.reshape(-1, x.shape[2]), trans_a=True)
    k.matmul(dweight_hh, hidden_rows, before.reshape(-1, before.shape[2]), trans_a=True)
    dbias_ih = sum_axis(k, rows, 0)
    dbias_hh = dbias_ih if dhidden is dgates else sum_axis(k, hidden_rows, 0)
    return dx, dweight_ih, dweight_hh, dbias_ih, dbias_hh


@op
def rnn(k, x, h_0, weight_ih, weight_hh, bias_ih, bias_hh, *, mask=None, reverse=False, clip=0.0, relu=False):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh), or relu. G = 1."""
    gates, (h,), saved = _prepare(k, "rnn", 1, x, [h_0], weight_ih, weight_hh, (bias_ih, bias_hh), mask, reverse)
    k.rnn_sequence(h, gates, saved["x"], weight_ih, weight_hh, bias_ih, bias_hh, saved["mask"], reverse, relu)
    outputs, _, last = _ends(h, reverse)
    return (outputs, last), saved | {"h": h, "gates": gates, "clip": clip, "relu": relu}


@rnn.vjp
def _(k, saved, dys, needs):
    gates, reverse = saved["gates"], saved["reverse"]
    dh, dgates = _seeded(k, saved["h"], saved, *dys), k.empty(gates.shape, gates.dtype)
    k.rnn_sequence_vjp(dgates, dh, gates, saved["weights"][1], saved["mask"], reverse, saved["clip"], saved["relu"])
    saved.update(dh=dh, dgates=dgates)
    dx, *dweights = _weight_gradients(k, saved, dgates, dgates, needs[0])
    return dx, dh[-1 if reverse else 0], *dweights


@op
def lstm(k, x, h_0, c_0, weight_ih, weight_hh, bias_ih, bias_hh, *, mask=None, reverse=False, clip=0.0):
    """c_t = f c_prev + i g,  h_t = o tanh(c_t). G = 4, in the order i f g o."""
    gates, (h, c), saved = _prepare(
        k, "lstm", 4, x, [h_0, c_0], weight_ih, weight_hh, (bias_ih, bias_hh), mask, reverse
    )
    k.lstm_sequence(h, c, gates, saved["x"], weight_ih, weight_hh, bias_ih, bias_hh, saved["mask"], reverse)
    outputs, _, last = _ends(h, reverse)
    return (outputs, last, _ends(c, reverse)[2]), saved | {"h": h, "c": c, "gates": gates, "clip": clip}


@lstm.vjp
def _(k, saved, dys, needs):
    gates, c, reverse, (dy, dh_n, dc_n) = saved["gates"], saved["c"], saved["reverse"], dys
    dh, dc = _seeded(k, saved["h"], saved, dy, dh_n), k.empty(c.shape, c.dtype)
    _ends(dc, reverse)[2][...] = 0 if dc_n is None else dc_n
    dgates = k.empty(gates.shape, gates.dtype)
    k.lstm_sequence_vjp(dgates, dh, dc, gates, c, saved["weights"][1], saved["mask"], reverse, saved["clip"])
    saved.update(dh=dh, dc=dc, dgates=dgates)
    first = -1 if reverse else 0
    dx, *dweights = _weight_gradients(k, saved, dgates, dgates, needs[0])
    return dx, dh[first], dc[first], *dweights


@op
def gru(k, x, h_0, weight_ih, weight_hh, bias_ih, bias_hh, *, mask=None, reverse=False, clip=0.0):
    """n = tanh(W_in x + b_in + r (W_hn h_prev + b_hn)),  h_t = (1 - z) n + z h_prev. G = 3, in the order r z n."""
    gates, (h,), saved = _prepare(k, "gru", 3, x, [h_0], weight_ih, weight_hh, (bias_ih, bias_hh), mask, reverse)
    hidden = k.empty(gates.shape, gates.dtype)
    k.gru_sequence(h, gates, hidden, saved["x"], weight_ih, weight_hh, bias_ih, bias_hh, saved["mask"], reverse)
    outputs, _, last = _ends(h, reverse)
    return (outputs, last), saved | {"h": h, "gates": gates, "hidden": hidden, "clip": clip}


@gru.vjp
def _(k, saved, dys, needs):
    gates, h, reverse = saved["gates"], saved["h"], saved["reverse"]
    dh = _seeded(k, h, saved, *dys)
    dgates, dhidden = k.empty(gates.shape, gates.dtype), k.empty(gates.shape, gates.dtype)
    k.gru_sequence_vjp(
        dgates,
        dhidden,
        dh,
        gates,
        saved["hidden"],
        h,
        saved["weights"][1],
        saved["mask"],
        reverse,
        saved["clip"],
    )
    saved.update(dh=dh, dgates=dgates, dhidden=dhidden)
    dx, *dweights = _weight_gradients(k, saved, dgates, dhidden, needs[0])
    return dx, dh[-1 if reverse else 0], *dweights
