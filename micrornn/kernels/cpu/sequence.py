"""Any cell over a sequence. Its kernels are written from its program (write.py), kept as a file, and imported.

The file lies in the folder of compiled kernels, named by its contents: so Numba keeps what it compiles of it, and a
debugger can step through it. `made(program)` gives the module.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np

from micrornn.kernels.cpu.jit import cache_dir
from micrornn.kernels.cpu.recurrent import both, inputs, plan
from micrornn.kernels.cpu.threads import workspace
from micrornn.kernels.cpu.write import source
from micrornn.kernels.module import module_of
from micrornn.kernels.symbols.program import Program

ZERO = np.uint64(0)  # indices are unsigned, see recurrent.place


@cache
def made(program: Program) -> ModuleType:
    """The kernels of a cell: step, step_back, forward, backward and their parallel forms."""
    return module_of(program.name, source(program), cache_dir() / "cells")


def cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse):
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    parts, wide, p_hh = plan(gates, weight_hh, True)
    x, p_ih = inputs(gates, x, weight_ih, weight_hh, parts, wide)
    both_sides = (gates, hidden, bias_ih, bias_hh) if program.sided else (gates, both(bias_ih, bias_hh))
    arrays, kernels = (*states, *both_sides, *vectors), made(program)
    if parts == 1:
        kernels.forward(*arrays, x, mask, reverse, 0, gates.shape[1], p_ih, p_hh)
    elif wide:
        kernels.forward_wide(*arrays, mask, reverse, p_hh, parts)
    else:
        kernels.forward_parallel(*arrays, x, mask, reverse, p_ih, p_hh, parts)


def cell_sequence_vjp(
    program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask, reverse, clip
):  # fmt: skip
    parts, wide, p = plan(gates, weight_hh, False)
    held = workspace(dstates[0].shape[1:], gates.dtype, "held") if clip else dgates[0]  # without a limit not looked at
    clip = gates.dtype.type(clip)
    arrays = (dgates, dhidden, *dstates) if program.sided else (dgates, *dstates)
    if vectors:
        totals = workspace((parts, len(vectors), dstates[0].shape[2]), gates.dtype, "vectors")
        totals[...] = 0
        arrays = (*arrays, totals.reshape(-1))
    sides = (gates, hidden) if program.reads_hidden else (gates,)
    arrays = (*arrays, *sides, *[states[s] for s in program.reads_states], *vectors)
    kernels = made(program)
    if parts == 1:
        kernels.backward(*arrays, mask, reverse, clip, 0, gates.shape[1], p, held, *([ZERO] if vectors else []))
    elif wide:
        kernels.backward_wide(*arrays, mask, reverse, clip, p, held, parts)
    else:
        kernels.backward_parallel(*arrays, mask, reverse, clip, p, held, parts)
    for n, dvector in enumerate(dvectors):
        totals[:, n].sum(axis=0, out=dvector)


@cache
def _no_bias(size: int, dtype: np.dtype) -> np.ndarray:
    return np.zeros(size, dtype)


def cell_step(program, states, turn, gates, hidden, vectors):
    size, nothing = states[0].shape[1], _no_bias(gates.size, gates.dtype)
    sides = (gates, hidden, nothing, nothing) if program.sided else (gates, hidden if program.recurrent else nothing)
    prev, cur = np.uint64(turn * size), np.uint64(size - turn * size)
    made(program).step(*(rows.reshape(-1) for rows in states), *sides, *vectors, ZERO, prev, cur, np.uint64(size))
