"""Any cell over a sequence, on the card. Its kernels are written from its program (write.py); the ways through a
sequence are told in recurrent.py.

A cell whose state goes through no weights, or one with more than eight gates, has a launch for each time step.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from micrornn.kernels.cuda.array import empty, zeros
from micrornn.kernels.cuda.jit import cache_dir, over
from micrornn.kernels.cuda.product import matmul
from micrornn.kernels.cuda.recurrent import Plan, launch, plan, rows_of
from micrornn.kernels.cuda.reduce import sum as sum_of
from micrornn.kernels.cuda.write import source
from micrornn.kernels.module import module_of
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.symbol import ZERO


@cache
def made(program: Program) -> ModuleType:
    """The kernels of a cell: step, step_back, and what makes kernel 2: forward, backward."""
    return module_of(program.name, source(program), cache_dir() / "cells")


def _plan(program, gates, size):
    return plan(gates.shape[1], size, gates.dtype, len(program.gates)) if program.recurrent else Plan()


def cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse):
    if not gates.size:
        return
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    (seq_len, batch_size, width), size, turn = gates.shape, states[0].shape[2], -1 if reverse else 1
    matmul(gates.reshape(-1, width), x.reshape(-1, x.shape[2]), weight_ih, trans_b=True)
    both = [gates, hidden] if program.sided else [gates]
    arrays = [array.flat for array in (*states, *both, *vectors)]
    rest = bias_ih.flat, (bias_hh if program.recurrent else bias_ih).flat, mask.flat, turn, seq_len, batch_size, size
    p, kernels = _plan(program, gates, size), made(program)
    if p.slices:
        launch(kernels.forward(*p[:3]), p, seq_len, *arrays, weight_hh.flat, *rest)
        return
    for step in range(seq_len):
        t, prev, _ = rows_of(step, seq_len, turn)
        if program.recurrent:
            matmul(both[-1][t], states[0][prev], weight_hh, trans_b=True, accumulate=not program.sided)
        kernels.step[over(batch_size * size)](*arrays, *rest, step)


def cell_sequence_vjp(
    program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask, reverse, clip
):  # fmt: skip
    if not gates.size:
        return
    (seq_len, batch_size, _), size, turn, dtype = gates.shape, dstates[0].shape[2], -1 if reverse else 1, gates.dtype
    by_lane = [zeros((len(vectors), batch_size, size), dtype)] if vectors else []
    straight = [empty((batch_size, size), dtype)] if program.dprev[0] is not ZERO else []
    cotangents = [dgates, dhidden] if program.sided else [dgates]
    read = [*([hidden] if program.reads_hidden else []), *(states[s] for s in program.reads_states)]
    arrays = [a.flat for a in (*straight, *cotangents, *dstates, *by_lane, gates, *read, *vectors)]
    rest = mask.flat, turn, dtype.type(clip), seq_len, batch_size, size
    p, kernels = _plan(program, gates, size), made(program)
    if p.slices:
        launch(kernels.backward(*p[:3]), p, seq_len + 1, *arrays, weight_hh.flat, *rest)
    else:
        totals = empty((batch_size, size), dtype)
        for step in range(seq_len + 1):
            if program.recurrent and step > 0:
                matmul(totals, cotangents[-1][rows_of(seq_len - step, seq_len, turn)[0]], weight_hh)
            kernels.step_back[over(totals.size)](*arrays, totals.flat, *rest, step)
    for n, dvector in enumerate(dvectors):
        sum_of(dvector.reshape(1, size), by_lane[0][n].reshape(1, batch_size, size), False)


def cell_step(program, states, turn, gates, hidden, vectors):
    """A sequence of one time step of one lane, of which the products are done: `hidden` stands in the place of the
    biases."""
    size, none, every = states[0].shape[1], zeros(gates.shape, gates.dtype), empty((0,), bool)
    others = hidden if program.recurrent and not program.sided else none
    both = [gates, hidden] if program.sided else [gates]
    arrays = [array.flat for array in (*states, *both, *vectors, none, others, every)]
    made(program).step[over(size)](*arrays, 1 if turn == 0 else -1, 1, 1, size, 0)
