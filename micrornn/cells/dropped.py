"""Recurrent dropout: h_prev goes through its weights with some numbers dropped, the same ones at all time steps.

    Dropped(cell)    what its op asks of a cell (ops/recurrent.py): a cell whose kernels drop

    d_t = keep h_t;  the cell's step, with W_hh d_prev in the place of W_hh h_prev

keep (B, H) is 0 or 1 / (1 - rate). What a cell carries over in another way than through weights is not dropped: the
z h_prev of a GRU, the c of an LSTM.

Gal, Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, 2016; `recurrent_dropout`
of Keras.
"""

from __future__ import annotations

import dataclasses

from micrornn.cells.cell import Cell
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.symbol import ZERO, Symbol, apply, leaf, rewrite
from micrornn.ops.recurrent import DroppedOp


class Dropped:
    """A cell that carries two more states: d, which goes through the weights, before its own, and keep behind them."""

    def __init__(self, cell: Cell):
        h = cell.states[0]
        self.name, self.gates, self.weights, self.vectors = cell.name, cell.gates, cell.weights, cell.vectors
        self.states = (f"{h}_dropped", *cell.states, f"{h}_keep")
        self.parameters, self.shapes, self.recurrent = cell.parameters, cell.shapes, True
        self.program = dropped(cell.program, self.states)
        self.op = DroppedOp(self)


def dropped(p: Program, states: tuple[str, ...]) -> Program:
    """The program of a cell, for these states: its formulas, with d = keep h beside them.

    A layer's output is h, and the kernels add what comes back to an output to the first state, which is d. So on the
    way back there stands in the rows of d, which no formula reads, what comes back to h from outside.
    """
    keep = leaf("prev", len(states) - 1)
    moved = {leaf(kind, s): leaf(kind, s + 1) for kind in ("prev", "cur", "dcur") for s in range(len(p.states))}
    dh = apply("add", apply("add", leaf("dcur", 1), apply("mul", keep, leaf("dcur", 0))), leaf("cur", 0))
    moved[leaf("dcur", 0)] = dh
    done: dict[Symbol, Symbol] = {}

    def move(*formulas: Symbol | None) -> tuple[Symbol, ...]:
        return tuple(rewrite(one, moved.get, done) for one in formulas if one is not None)

    new = move(*p.new)
    total = [dh if not s and one is None else None if one is None else move(one)[0] for s, one in enumerate(p.total)]
    hidden = tuple(None if one is None else move(one)[0] for one in p.hidden)
    return dataclasses.replace(
        p, states=states, slots=move(*p.slots), hidden=hidden, new=(apply("mul", keep, new[0]), *new, keep),
        dx=move(*p.dx), dh=move(*p.dh), dprev=(ZERO, *move(*p.dprev), ZERO), total=(None, *total, None),
        dvector=move(*p.dvector),
    )  # fmt: skip
