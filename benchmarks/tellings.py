"""One LSTM layer told in many ways, from the reference to the fast kernel; changed.py tells what was changed in that.

    walk()      from NumPy to the kernel, each with one thing changed against the one before

Most are made by `told_with`: code of the library with something else behind one of its names. docs/faster.md tells of
them, steps.py beside this measures them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from benchmarks import plain
from micrornn.cells import CELLS
from micrornn.kernels import cpu, reference
from micrornn.kernels.cpu import multiply, product, recurrent, sequence
from micrornn.kernels.cpu.jit import TILE_BYTES, kernel
from micrornn.kernels.cpu.maths import ONE, sigmoid, tanh

for number in (np.float32, np.float64):  # tellings call what multiplies by ways of their own
    multiply.ready(np.dtype(number))


def told_with(function: Any, **names: Any) -> Any:
    """The same code with other things behind some of its names. Not kept on disk: Numba would mix the variants up."""
    plainly = inspect.unwrap(getattr(function, "py_func", function))
    assert set(names) <= set(plainly.__code__.co_names), f"{plainly.__name__} does not use all of {', '.join(names)}"
    again = FunctionType(plainly.__code__, plainly.__globals__ | names, plainly.__name__, plainly.__defaults__)
    return again if plainly is function else kernel(again, cache=False)


LSTM = CELLS["lstm"].program
lstm = sequence.made(LSTM)  # the kernels that are written from it


def whole(function: Callable[..., None]) -> Callable[..., None]:
    """`cell_sequence` with the parameters of the plain telling."""

    def forward(h, c, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):  # type: ignore[no-untyped-def]
        function(LSTM, [h, c], gates, None, x, [weight_ih, weight_hh, bias_ih, bias_hh], [], mask, reverse)

    return forward


def whole_vjp(function: Callable[..., None]) -> Callable[..., None]:
    """`cell_sequence_vjp` with the parameters of the plain telling."""

    def backward(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):  # type: ignore[no-untyped-def]
        function(LSTM, dgates, dgates, [dh, dc], [], [c, c], gates, None, weight_hh, [], mask, reverse, clip)

    return backward


class Telling(NamedTuple):
    """One way to compute a layer."""

    words: str
    forward: Callable[..., None] = whole(cpu.cell_sequence)
    backward: Callable[..., None] = whole_vjp(cpu.cell_sequence_vjp)
    matmul: Callable[..., None] = cpu.matmul
    sum: Callable[..., None] = cpu.sum


# --- the loops, as they were on the way ---------------------------------------------------------------------------


@kernel(cache=False)
def laid_for_dots(weight, transposed):
    return weight if transposed else weight.T.copy()


@kernel(cache=False)
def add_dots(out, a, b):
    """out (M, N) += a (M, K) b^T for b (N, K): the sum innermost, as the equation has it."""
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            for k in range(a.shape[1]):
                out[i, j] += a[i, k] * b[j, k]


@kernel(cache=False)
def laid_in_panels(weight, transposed):
    depth, columns = weight.shape[::-1] if transposed else weight.shape
    width = TILE_BYTES // weight.itemsize
    p = np.empty(depth * ((columns + width - 1) // width) * width, weight.dtype)
    product.pack(p, 0, weight, transposed, 0, depth, 0, columns)
    return p


@kernel(cache=False)
def add_tiles(out, a, p):
    recurrent.times(out.reshape(1, *out.shape), 0, a.reshape(1, *a.shape), 0, p, 0, len(out), 0, out.shape[1], 1)


@kernel(cache=False)
def step_in_slices(row, bias, c_prev, c_cur, h_cur):
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


@kernel(cache=False)
def activate_in_slices(h, c, gates, bias, mask, t, prev, cur):
    for b in range(h.shape[1]):
        step_in_slices(gates[t, b], bias, c[prev, b], c[cur, b], h[cur, b])


@kernel(cache=False)
def step_back_in_slices(drow, row, c_prev, c_cur, dh_cur, dc_cur, dc_prev):
    size = dh_cur.size
    i, f, g, o = row[:size], row[size : 2 * size], row[2 * size : 3 * size], row[3 * size :]
    di, df, dg, do = drow[:size], drow[size : 2 * size], drow[2 * size : 3 * size], drow[3 * size :]
    for j in range(size):
        tanh_c = tanh(c_cur[j])
        dc = dc_cur[j] + dh_cur[j] * o[j] * (ONE - tanh_c * tanh_c)
        di[j] = dc * g[j] * i[j] * (ONE - i[j])
        df[j] = dc * c_prev[j] * f[j] * (ONE - f[j])
        dg[j] = dc * i[j] * (ONE - g[j] * g[j])
        do[j] = dh_cur[j] * tanh_c * o[j] * (ONE - o[j])
        dc_prev[j] = dc * f[j]
        dc_cur[j] = dc


@kernel(cache=False)
def activate_back_in_slices(dgates, dh, dc, gates, c, mask, t, prev, cur):
    for b in range(dh.shape[1]):
        step_back_in_slices(dgates[t, b], gates[t, b], c[prev, b], c[cur, b], dh[cur, b], dc[cur, b], dc[prev, b])


@kernel(cache=False)
def activate_flat(h, c, gates, bias, mask, t, prev, cur):
    lanes, units = h.shape[1], h.shape[2]
    flat_h, flat_c, flat_gates = h.reshape(-1), c.reshape(-1), gates.reshape(-1)
    lstm.gate(flat_h, flat_c, flat_gates, bias, mask, t, prev, cur, 0, lanes, lanes, units)


@kernel(cache=False)
def activate_back_flat(dgates, dh, dc, gates, c, mask, t, prev, cur):
    lanes, units = dh.shape[1], dh.shape[2]
    flat_dh, flat_dc, flat_c = dh.reshape(-1), dc.reshape(-1), c.reshape(-1)
    flat = dgates.reshape(-1), flat_dh, flat_dc, gates.reshape(-1), flat_c
    lstm.gate_back(*flat, mask, t, prev, cur, 0, lanes, lanes, units)


# --- the walk -----------------------------------------------------------------------------------------------------


def _plain(words: str, matmul: Callable[..., None], both: Any, forward: Any, backward: Any) -> Telling:
    """The plain telling with some of its functions replaced."""
    loops = told_with(plain.lstm_sequence, **both, **forward), told_with(plain.lstm_sequence_vjp, **both, **backward)
    return Telling(words, *loops, matmul)


@cache
def walk() -> dict[str, Telling]:
    """From the reference to the kernel, each with one thing changed against the one before."""
    dots, tiles = {"laid": laid_for_dots, "add_product": add_dots}, {"laid": laid_in_panels, "add_product": add_tiles}
    scalar = [{"activate": told_with(plain.activate, sigmoid=sigmoid, tanh=tanh)},
              {"activate_back": told_with(plain.activate_back, tanh=tanh)}]  # fmt: skip
    slices = [{"activate": activate_in_slices}, {"activate_back": activate_back_in_slices}]
    flat = [{"activate": activate_flat}, {"activate_back": activate_back_flat}]
    packed = told_with(product.matmul, _matmul_rows=told_with(product._matmul_rows, PAGE=0))
    steps = {
        "reference": Telling("NumPy, formula by formula", whole(reference.cell_sequence),
                             whole_vjp(reference.cell_sequence_vjp), reference.matmul, reference.sum),
        "dots": _plain("Numba, the sum innermost", plain.matmul, dots, {}, {}),
        "plain": Telling("Numba, loops in the order i-k-j", plain.lstm_sequence, plain.lstm_sequence_vjp, plain.matmul),
        "maths": _plain("tanh and sigmoid without the library", plain.matmul, {}, *scalar),
        "tiles": _plain("products in panels and register tiles", packed, tiles, *scalar),
        "lanes": _plain("activations in a function of one lane", packed, tiles, *slices),
        "flat": _plain("activations by flat, unsigned indices", packed, tiles, *flat),
    }  # fmt: skip
    steps["in_place"] = steps["flat"]._replace(words="weight gradients read in place", matmul=cpu.matmul)
    return steps | {"kernel": Telling("the kernel itself")}
