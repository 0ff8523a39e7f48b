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
from micrornn.kernels.cuda.recurrent import Plan, launch, plan, rows_back_of, rows_of, sizes, turn_of
from micrornn.kernels.cuda.reduce import sum as sum_of
from micrornn.kernels.cuda.write import backward_arrays, forward_arrays, source
from micrornn.kernels.module import module_of
from micrornn.kernels.symbols.program import Program


@cache
def made(program: Program) -> ModuleType:
    """The kernels of a cell: step, step_back, and what makes kernel 2: forward, backward."""
    return module_of(program.name, source(program), cache_dir() / "cells")


def cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse):
    if not gates.size:
        return
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    (seq_len, batch_size, size), turn = sizes(states[0]), turn_of(reverse)
    matmul(gates.reshape(-1, gates.shape[2]), x.reshape(-1, x.shape[2]), weight_ih, trans_b=True)
    flat = [array.flat for array in forward_arrays(program, states, gates, hidden, vectors)]
    rest = [bias_ih.flat, (bias_hh if program.recurrent else bias_ih).flat, mask.flat]
    numbers, kernels = (turn, seq_len, batch_size, size), made(program)
    p = plan(batch_size, size, gates.dtype, len(program.gates)) if program.recurrent else Plan()
    if p.slices:
        launch(kernels.forward(*p[:3]), p, seq_len, *flat, weight_hh.flat, *rest, *numbers)
        return
    for step in range(seq_len):
        t, prev, _ = rows_of(step, seq_len, turn)
        if program.recurrent:
            into = hidden if program.sided else gates
            matmul(into[t], states[0][prev], weight_hh, trans_b=True, accumulate=not program.sided)
        kernels.step[over(batch_size * size)](*flat, *rest, *numbers, step)


def cell_sequence_vjp(
    program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask, reverse, clip
):  # fmt: skip
    if not gates.size:
        return
    (seq_len, batch_size, size), turn, dtype = sizes(dstates[0]), turn_of(reverse), gates.dtype
    by_lane = zeros((len(vectors), batch_size, size), dtype) if vectors else empty((1,), dtype)
    straight = empty((batch_size, size), dtype)
    arrays = backward_arrays(program, dgates, dhidden, dstates, by_lane, straight, gates, hidden, states, vectors)
    flat = [array.flat for array in arrays]
    numbers, kernels = (turn, dtype.type(clip), seq_len, batch_size, size), made(program)
    p = plan(batch_size, size, dtype, len(program.gates)) if program.recurrent else Plan()
    if p.slices:
        launch(kernels.backward(*p[:3]), p, seq_len + 1, *flat, weight_hh.flat, mask.flat, *numbers)
    else:
        totals = empty((batch_size, size), dtype)
        for step in range(seq_len + 1):
            if program.recurrent and step > 0:
                matmul(totals, dhidden[rows_back_of(step, seq_len, turn)[0] + turn], weight_hh)
            kernels.step_back[over(totals.size)](*flat, totals.flat, mask.flat, *numbers, step)
    for n, dvector in enumerate(dvectors):
        sum_of(dvector.reshape(1, size), by_lane[n].reshape(1, batch_size, size), False)


def cell_step(program, states, turn, gates, hidden, vectors):
    """A sequence of one time step of one lane, of which the products are done: `hidden` stands in the place of the
    biases."""
    size, none, kernels = states[0].shape[1], zeros(gates.shape, gates.dtype), made(program)
    both = [hidden] if program.sided else []
    arrays = [*(rows.flat for rows in states), gates.flat, *(array.flat for array in both), *(v.flat for v in vectors)]
    others = hidden if program.recurrent and not program.sided else none
    every = empty((0,), bool)
    kernels.step[over(size)](*arrays, none.flat, others.flat, every.flat, 1 if turn == 0 else -1, 1, 1, size, 0)
