"""The finished kernel of an LSTM layer with one thing taken back, or changed without a gain.

    without()   the kernel with one thing taken back
    tried()     the kernel with what was tried and did not help
    meeting()   on several cores that meet at each time step
    LARGEST     the maximum of a row of a softmax, before and after

docs/faster.md tells of them, steps.py beside this measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.tellings import LSTM, Telling, lstm, told_with, whole, whole_vjp
from micrornn.kernels import cpu
from micrornn.kernels.cpu import maths, multiply, product, recurrent, reduce, tile
from micrornn.kernels.cpu.jit import REORDER, TILE_ROWS, kernel
from micrornn.kernels.cpu.maths import ONE, sigmoid, tanh
from micrornn.kernels.cpu.write import source


@kernel(cache=False)
def forward_in_groups(h, c, gates, bias, x, mask, reverse, low, high, p_ih, p_hh):
    lanes, units = h.shape[1], h.shape[2]
    flat_h, flat_c, flat_gates = h.reshape(-1), c.reshape(-1), gates.reshape(-1)
    for step in range(len(gates)):
        t, prev, cur = recurrent.rows(step, len(gates), reverse)
        for first in range(low, high, TILE_ROWS):
            last = min(first + TILE_ROWS, high)
            if x.size:
                recurrent.times(gates, t, x, t, p_ih, first, last, 0, gates.shape[2], 0)
            recurrent.times(gates, t, h, prev, p_hh, first, last, 0, gates.shape[2], 1)
            lstm.gate(flat_h, flat_c, flat_gates, bias, mask, t, prev, cur, first, last, lanes, units)


@kernel(cache=False)
def step_by_axes(gates, t, b, bias, c, h, prev, cur, size):
    two, three = size + size, size + size + size
    for j in range(size):
        i = sigmoid(gates[t, b, j] + bias[j])
        f = sigmoid(gates[t, b, size + j] + bias[size + j])
        g = tanh(gates[t, b, two + j] + bias[two + j])
        o = sigmoid(gates[t, b, three + j] + bias[three + j])
        gates[t, b, j], gates[t, b, size + j], gates[t, b, two + j], gates[t, b, three + j] = i, f, g, o
        c_t = f * c[prev, b, j] + i * g
        c[cur, b, j], h[cur, b, j] = c_t, o * tanh(c_t)


@kernel(cache=False)
def step_back_by_axes(dgates, gates, t, b, c, dh, dc, prev, cur, size):
    two, three = size + size, size + size + size
    for j in range(size):
        i, f, g, o = gates[t, b, j], gates[t, b, size + j], gates[t, b, two + j], gates[t, b, three + j]
        dh_t, tanh_c = dh[cur, b, j], tanh(c[cur, b, j])
        dc_t = dc[cur, b, j] + dh_t * o * (ONE - tanh_c * tanh_c)
        dgates[t, b, j] = dc_t * g * i * (ONE - i)
        dgates[t, b, size + j] = dc_t * c[prev, b, j] * f * (ONE - f)
        dgates[t, b, two + j] = dc_t * i * (ONE - g * g)
        dgates[t, b, three + j] = dh_t * tanh_c * o * (ONE - o)
        dc[prev, b, j], dc[cur, b, j] = dc_t * f, dc_t


@kernel(cache=False)
def gate_by_axes(flat_h, flat_c, flat_gates, bias, mask, t, prev, cur, low, high, lanes, units):
    h, c = flat_h.reshape(-1, lanes, units), flat_c.reshape(-1, lanes, units)
    gates = flat_gates.reshape(-1, lanes, 4 * units)
    for b in range(low, high):
        step_by_axes(gates, t, b, bias, c, h, prev, cur, units)


@kernel(cache=False)
def gate_back_by_axes(
    flat_dgates, flat_dh, flat_dc, flat_gates, flat_c, mask, t, prev, cur, low, high, lanes, units
):  # fmt: skip
    dh, dc, c = flat_dh.reshape(-1, lanes, units), flat_dc.reshape(-1, lanes, units), flat_c.reshape(-1, lanes, units)
    gates, dgates = flat_gates.reshape(-1, lanes, 4 * units), flat_dgates.reshape(-1, lanes, 4 * units)
    for b in range(low, high):
        step_back_by_axes(dgates, gates, t, b, c, dh, dc, prev, cur, units)


@kernel(cache=False)
def divided(x):
    return maths.f(1) / x


def _kernel(words: str, forward: Any = None, backward: Any = None, rows: Any = None) -> Telling:
    """The finished kernel on one thread, with another loop over time, or another product of the gradients."""
    told = Telling(words)
    kernels = SimpleNamespace(forward=forward, backward=backward)
    if forward:
        told = told._replace(forward=whole(told_with(cpu.cell_sequence, made=lambda program: kernels)))
    if backward:
        told = told._replace(backward=whole_vjp(told_with(cpu.cell_sequence_vjp, made=lambda program: kernels)))
    if rows:
        told = told._replace(matmul=told_with(product.matmul, _matmul_rows=rows))
    return told


def _products(words: str, multiply: Any = multiply.multiply, **names: Any) -> Telling:
    """The finished kernel with other products."""
    times = told_with(recurrent.times, multiply=multiply, **names)
    rows = told_with(product._matmul_rows, multiply=multiply, **names)
    return _kernel(words, told_with(lstm.forward, times=times), told_with(lstm.backward, times=times), rows)


def tiled(old: str, new: str) -> dict[str, Any]:
    """Products on a micro-kernel in whose source `old` is `new`."""
    text, changed = Path(str(tile.__file__)).read_text("utf-8"), ModuleType("changed")
    assert old in text, f"tile.py does not hold {old!r}"
    exec(text.replace(old, new), changed.__dict__)
    return {"multiply": kernel(told_with(multiply.loop, tile=changed.tile), cache=False)}


def written(old: str, new: str) -> ModuleType:
    """The kernels of the LSTM, in whose source `old` is `new`."""
    text, changed = source(LSTM), ModuleType("changed")
    assert old in text, f"the source does not hold {old!r}"
    exec(text.replace(old, new).replace("@kernel", "@kernel(cache=False)"), changed.__dict__)
    return changed


def _gates(step: Any = lstm.step, step_back: Any = lstm.step_back, **names: Any) -> dict[str, Any]:
    """The loops over time with other activations."""
    gate = told_with(lstm.gate, step=step, **names)
    gate_back = told_with(lstm.gate_back, step_back=step_back, **names)
    return {
        "forward": told_with(lstm.forward, gate=gate),
        "backward": told_with(lstm.backward, gate_back=gate_back),
    }


@cache
def without() -> dict[str, Telling]:
    """The kernel with one thing taken back."""
    tanh32 = told_with(maths.tanh32, reciprocal32=divided)
    step = told_with(lstm.step, tanh=tanh32, sigmoid=told_with(maths.sigmoid32, tanh32=tanh32))
    doubles = written("ONE - ", "1 - ").step_back
    signed = written("np.uint64(", "np.int64(")
    ahead = told_with(cpu.cell_sequence, inputs=told_with(recurrent.inputs, LANES=1 << 30))
    return {
        "signed": _kernel("flat indices that are signed", signed.forward, signed.backward),
        "literals": _kernel("`1 - i` on the way back, in float64", **_gates(step_back=doubles)),
        "newton": _kernel("a division in tanh", **_gates(step, told_with(lstm.step_back, tanh=tanh32))),
        "fetch": _products("C not asked for ahead", **tiled("self.fetch(row)", "pass")),
        "ahead": Telling("the inputs of all time steps projected beforehand", whole(ahead)),
    }  # fmt: skip


@cache
def tried() -> dict[str, Telling]:
    """The kernel with what did not help."""
    loop = "unroll = UNROLL if self.transposed else chains"
    return {
        "axes": _kernel("`gates[t, b, j]` in the place of flat indices", told_with(lstm.forward, gate=gate_by_axes),
                        told_with(lstm.backward, gate_back=gate_back_by_axes)),
        "groups": _kernel("product and activations by groups of lanes, as many as a tile has rows", forward_in_groups),
        "blocks": _products("k in blocks of 128, not 256", DEPTH=128),
        "unrolled": _products("four k's in a turn of the tile's loop, not one", **tiled(loop, "unroll = UNROLL")),
    }  # fmt: skip


def meeting(function: Callable[..., None]) -> Callable[..., None]:
    """The same with the weights split over the cores, which then wait for one another at each time step."""

    def call(*arguments: Any) -> None:
        near, recurrent.NEAR = recurrent.NEAR, 0
        try:
            function(*arguments)
        finally:
            recurrent.NEAR = near

    return call


@kernel(cache=False)
def largest_of_rows(most, x):
    for r in range(len(x)):
        most[r] = _largest(x[r])


@kernel(cache=False, fastmath=REORDER)
def _largest(row):
    """With a comparison and a choice, which never become vector code."""
    most = row[0]
    for j in range(1, row.size):
        most = row[j] if row[j] > most else most
    return most


LARGEST = {"compared": largest_of_rows, "largest": told_with(largest_of_rows, _largest=reduce._largest)}
