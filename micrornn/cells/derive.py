"""The kernels of a cell, out of its step: the step runs over symbols, and the tape walks back over what it recorded.

Nothing is differentiated here, and no op is known by name but `linear`: an op and its VJP are written in calls to
kernels, and the kernels of the table "symbols" write down what they are asked for. So the tape's own rules give the way
back, as they give it for numbers.

A kernel of a cell computes one unit. That each unit does the same, by itself, is looked at, not taken for granted: the
step runs with two units and with three, and all five formulas must be one.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from micrornn.cells.cell import Cell, Weights, take_step, where
from micrornn.errors import CellError
from micrornn.kernels.symbols.program import Program, program
from micrornn.kernels.symbols.symbol import ZERO, Symbol, apply, leaf, rewrite
from micrornn.kernels.symbols.table import INSTEAD, leaves
from micrornn.ops.elementwise import mul
from micrornn.tape import Tape, Tensor, Watch

Found = tuple[list[Symbol], dict[tuple[str, int], Symbol], list[Symbol]]


class Traced(Tape):
    """A tape that knows at which line of the step each record was made."""

    def __init__(self, filename: str) -> None:
        super().__init__(guard=False)  # nobody writes to a symbol
        self.filename = filename
        self.lines: dict[int, int] = {}  # by the id of a record

    def _record(self, *record: Any) -> None:
        super()._record(*record)
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_filename != self.filename:
            frame = frame.f_back
        self.lines[id(self.records[-1])] = frame.f_lineno if frame is not None else 0

    def line_of(self, error: BaseException) -> int:
        """The line of the record whose way back failed; 0 if there is none."""
        trace = error.__traceback__
        while trace is not None:
            line = self.lines.get(id(trace.tb_frame.f_locals.get("record")), 0)
            if line:
                return line
            trace = trace.tb_next
        return 0


def derive(cell: Cell) -> Program:
    """The program of a cell; CellError with the line of the step that cannot become a kernel."""
    found = [unit for size in (2, 3) for unit in trace(cell, size)]
    if any(other != found[0] for other in found[1:]):
        raise CellError(
            f"{where(cell)}: units do not all compute the same, or the number of units is part of it; {INSTEAD}"
        )
    return program(cell.name, cell.gates, cell.states, cell.vectors, cell.recurrent, *found[0])


def trace(cell: Cell, size: int, watch: Watch | None = None) -> list[Found]:
    """The formulas of each of `size` units: the states after, the cotangents of all leaves and of the states after."""
    shapes = cell.shapes(size + 1, size)
    vectors = {name: symbols(f"vector {name}", 1, size) for name in cell.vectors}  # spread over the lanes already
    weights = {name: symbols(name, *shapes[name]) for name in cell.weights}
    x, states = symbols("x", 1, size + 1), [symbols(name, 1, size) for name in prev_names(cell)]
    tape = Traced(type(cell).step.__code__.co_filename)
    with tape:
        new = take_step(cell, x, tuple(states), Weights(cell.parameters, [*weights.values(), *vectors.values()]))
        if any(getattr(tensor.data, "device", "") != "symbols" for tensor in new):
            raise CellError(f"{where(cell)}: step returns numbers that do not come from its tensors")
        made = {id(output) for record in tape.records for output in record.outputs}
        new = tuple(tensor if id(tensor) in made else mul(tensor, 1.0) for tensor in new)  # a state that is handed on
    products = [record for record in tape.records if record.op.name == "linear"]
    tape.records = [record for record in tape.records if record not in products]
    pre = [record.outputs[0] for record in products]
    seeds = [leaves(f"d {name}", 1, size) for name in cell.states]
    try:
        grads = tape.cotangents([*pre, *states, *vectors.values(), *new], new, seeds, watch)
    except CellError as error:
        raise CellError(f"{where(cell, line=tape.line_of(error))}: {error}") from error
    units = []
    for unit in range(size):
        reader = Reader(cell, size, unit)
        others = iter([reader.one(grad) for grad in grads[len(pre) :]])
        found = {("prev", s): next(others) for s in range(len(states))}
        found |= {("vector", n): next(others) for n in range(len(vectors))}
        found |= {(side, k): ZERO for side in "xh" for k in range(len(cell.gates))}
        for tensor, grad in zip(pre, grads):
            for k in range(len(cell.gates)):
                at = unit + k * size
                place = reader.read(tensor.data[0, at]).args
                found[place] = apply("add", found[place], ZERO if grad is None else reader.read(grad[0, at]))
        after = [reader.read(tensor.data[0, unit]) for tensor in new]
        units.append((after, found, list(others)))
    return units


def symbols(name: str, *shape: int) -> Tensor:
    """A tensor of leaves."""
    return Tensor(leaves(name, *shape), requires_grad=True)


def prev_names(cell: Cell) -> list[str]:
    return [f"{name}_prev" for name in cell.states]


class Reader:
    """Takes the formula of one unit out of those of all: what is left has no number of a unit in it."""

    def __init__(self, cell: Cell, size: int, unit: int):
        self.cell, self.size, self.unit = cell, size, unit
        self.done: dict[Symbol, Symbol] = {}

    def one(self, grad: np.ndarray | None) -> Symbol:
        return ZERO if grad is None else self.read(grad[0, self.unit])

    def read(self, symbol: Symbol) -> Symbol:
        return rewrite(symbol, self._leaf, self.done)

    def _leaf(self, symbol: Symbol) -> Symbol | None:
        if symbol.op != "leaf":
            return None
        name, *rest, place = symbol.args
        if name == "product":
            side = {"x": "x", f"{self.cell.states[0]}_prev": "h"}.get(rest[0])
            wanted = {"x": ["weight_ih", "bias_ih"], "h": ["weight_hh", "bias_hh"]}.get(side or "")
            if rest[1:] != wanted:
                self._refuse(
                    f"{rest[0]} goes through {rest[1]}; the kernel of a cell has linear(x, weight_ih, bias_ih) "
                    f"and linear({self.cell.states[0]}_prev, weight_hh, bias_hh)"
                )
            kind, number = side, place // self.size
            place %= self.size
        elif name in prev_names(self.cell):
            kind, number = "prev", prev_names(self.cell).index(name)
        elif name.startswith("vector "):
            kind, number = "vector", self.cell.vectors.index(name[7:])
        elif name.startswith("d "):
            kind, number = "dcur", self.cell.states.index(name[2:])
        else:
            self._refuse(f"{name} is used other than in linear(...)")
        if place != self.unit:
            self._refuse("a unit looks at another one other than through weights")
        return leaf(kind, number)

    def _refuse(self, reason: str) -> None:
        raise CellError(f"{where(self.cell)}: {reason}; {INSTEAD}")
