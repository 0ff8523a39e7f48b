"""A cell told as data: from its step to its derivative. `micrornn cell` prints it.

explain(cell)    -> Explanation
"""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.cells.cell import Cell
from micrornn.cells.derive import Reader, trace
from micrornn.kernels.symbols.names import Names
from micrornn.kernels.symbols.program import Program, merged
from micrornn.kernels.symbols.source import Formulas
from micrornn.kernels.symbols.symbol import FUNCTIONS, ZERO, Symbol, apply, leaf, walk

SIZE = 4  # bytes of a float32


@dataclass(frozen=True)
class Explanation:
    """A cell from the step to the kernels.

    about, step         its docstring; the source of its step, and where that stands
    declared            {"gates": ..., "states": ..., a parameter: its shape}
    pre                 what the products compute for all units at once
    forward, backward   (name, formula) of one unit, as the kernels have them
    rules               (forward, what goes back), op by op, from the last to the first
    onward              how these go on to the input, the step before and the weights: products for all units at once
    kept                {name: what it is}: what the way forward leaves for the way back
    again               what the way back computes again
    counts              operations and bytes of one unit in one time step
    """

    about: str
    step: str
    where: str
    declared: dict[str, str]
    pre: tuple[str, ...]
    forward: tuple[tuple[str, str], ...]
    rules: tuple[tuple[str, str], ...]
    backward: tuple[tuple[str, str], ...]
    onward: tuple[str, ...]
    kept: dict[str, str]
    again: tuple[str, ...]
    counts: dict[str, int]


def number(value: float) -> str:
    return f"{value:g}"


def explain(cell: Cell) -> Explanation:
    """CellError where no kernels can be derived."""
    p, names = cell.program, Names(cell.program)
    code = type(cell).step.__code__
    source = textwrap.dedent(inspect.getsource(type(cell).step)) if Path(code.co_filename).exists() else ""
    count = len(p.gates)
    shapes = {"weight_ih": f"({count}H, D)", "weight_hh": f"({count}H, H)", "bias_ih": f"({count}H,)"}
    shapes["bias_hh"] = shapes["bias_ih"]
    declared = {"gates": " ".join(p.gates), "states": " ".join(p.states)}
    declared |= {name: shapes.get(name, "(H,)") for name in cell.parameters}
    back, forward = formulas(names), formulas(names).lines([*names.slots, *names.after])
    lines = back.lines(names.back, own=lambda symbol: _named(symbol, back))
    again = tuple(back.names[s] for s in walk(p.backward) if s.op in FUNCTIONS and s in back.names)
    return Explanation(
        inspect.getdoc(type(cell)) or "", source.rstrip(), f"{Path(code.co_filename).name}:{code.co_firstlineno}",
        declared, _pre(p, names), _pairs(forward), _rules(cell), _pairs(lines), _onward(p, names),
        _kept(p, names), again, _counts(p),
    )  # fmt: skip


def formulas(names: Names) -> Formulas:
    return Formulas(names.leaves, number, plain=True)


def _pairs(lines: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, formula) for name, _, formula in (line.partition(" = ") for line in lines))


def _pre(p: Program, names: Names) -> tuple[str, ...]:
    def all_of(side: str) -> str:
        return ", ".join(names.pre(side, k) for k in range(len(p.gates)))

    from_x, from_h = "W_ih x_t + b_ih", f"W_hh {p.states[0]}_prev + b_hh"
    if p.sided:
        return f"{all_of('x')} = {from_x}", f"{all_of('h')} = {from_h}"
    return (f"{all_of('a')} = {from_x}" + (f" + {from_h}" if p.recurrent else ""),)


def _onward(p: Program, names: Names) -> tuple[str, ...]:
    def all_of(side: str) -> str:
        parts = ", ".join(f"d{names.pre(side, k)}" for k in range(len(p.gates)))
        return f"({parts})" if len(p.gates) > 1 else parts

    straight = [s for s, part in enumerate(p.dprev) if part is not ZERO]  # it has come without weights
    from_x, from_h, prev = all_of("x" if p.sided else "a"), all_of("h" if p.sided else "a"), names.prev(0)
    lines = [("dx_t", f"= W_ih^T {from_x}")]
    if p.recurrent:
        lines.append((f"d{prev}", f"{'+=' if 0 in straight else '='} W_hh^T {from_h}"))
    lines.append(("dW_ih", f"= sum of {from_x} x_t^T"))
    if p.recurrent:
        lines.append(("dW_hh", f"= sum of {from_h} {prev}^T"))
    lines.append(("db_ih", f"= {'db_hh = ' if p.recurrent and not p.sided else ''}sum of {from_x}"))
    if p.sided:
        lines.append(("db_hh", f"= sum of {from_h}"))
    wide = max(len(left) for left, _ in lines)
    told = [f"{left:<{wide}} {right}" for left, right in lines]
    if names.vectors:
        told.append(", ".join(f"d{vector}" for vector in names.vectors) + ": summed as well")
    passed = sorted({*straight, *([0] if p.recurrent else [])})
    if passed:  # h is read by others as well; whatever else there is, by its own layer alone
        back = ", ".join(f"d{names.now(s)} {'=' if s else '+='} d{names.prev(s)}" for s in passed)
        told.append(f"one step back: {back}")
    return tuple(told)


def _named(symbol: Symbol, text: Formulas) -> str:
    """A function of something with a name is called after both: tanh_c."""
    if symbol.op in FUNCTIONS and symbol.args[0] in text.names:
        return f"{symbol.op}_{text.names[symbol.args[0]].removesuffix('_t')}"
    return ""


def _kept(p: Program, names: Names) -> dict[str, str]:
    found = {}
    for k, kind in enumerate(p.activations):
        found[names.kept(k)] = f"after {kind}" if kind else "the pre-activation: the way back needs it"
    found |= {names.pre("h", k): "the side of h_prev" for k, kept in enumerate(p.hidden) if kept is not None}
    return found | dict.fromkeys(p.states, "of every time step")


def _counts(p: Program) -> dict[str, int]:
    def count(roots: tuple[Symbol, ...], functions: bool) -> int:
        inner = [symbol for symbol in walk(roots) if symbol.inputs]
        return sum((symbol.op in FUNCTIONS) == functions for symbol in inner)

    gates, states = len(p.gates), len(p.states)
    sides = (2 if p.sided else 1) * gates
    kept_hidden = sum(kept is not None for kept in p.hidden)
    read = {leaf[:2] for leaf in p.reads}
    totals = sum(total is not None for total in p.total)
    return {
        "arithmetic forward": count(p.forward, False), "functions forward": count(p.forward, True),
        "arithmetic backward": count(p.backward, False), "functions backward": count(p.backward, True),
        "bytes kept": SIZE * (sides + states),
        "bytes forward": SIZE * (sides + gates + kept_hidden + 2 * states),
        "bytes backward": SIZE * (len(read) + sides + states + totals),
    }  # fmt: skip


def _rules(cell: Cell) -> tuple[tuple[str, str], ...]:
    """The tape's walk back over the step, record by record: what was computed, and what its rule makes of the
    cotangent of that."""
    p, names, size = cell.program, Names(cell.program), 2
    reader, text = Reader(cell, size, 0), formulas(names)
    text.names |= {slot: names.kept(k) for k, slot in enumerate(p.slots) if slot.inputs}
    text.names |= {new: names.now(s) for s, new in enumerate(p.new) if new.inputs}
    found: dict[int, tuple[Any, list[tuple[Any, Any]]]] = {}
    trace(cell, size, lambda record, tensor, d: found.setdefault(id(record), (record, []))[1].append((tensor, d)))

    def read(array: Any) -> Symbol:
        return merged(p, reader.read(array.reshape(-1)[0]))

    def name_of(symbol: Symbol) -> str:
        if symbol not in text.names:
            text.names[symbol] = _named(symbol, text) or f"v{len(text.names)}"
        return text.names[symbol]

    rows, given, count = [], {new: leaf("dcur", s) for s, new in enumerate(p.new)}, 0
    elementwise = [(r, parts) for r, parts in found.values() if r.op.name not in ("split", "linear", "reshape")]
    fresh = [read(r.outputs[0].data) for r, _ in elementwise]
    for symbol in reversed(fresh):  # names in the order of the computation
        if symbol.inputs and symbol not in text.names:
            count += not _named(symbol, text)
            text.names[symbol] = _named(symbol, text) or f"v{count}"
    for (_, parts), symbol in zip(elementwise, fresh):
        if not symbol.inputs:  # the sum of both sides of a pre-activation
            continue
        name = text.names.pop(symbol)
        forward = f"{name} = {text.text(symbol)}"
        text.names[symbol] = name
        lines = []
        for tensor, d in parts:
            to, more = read(tensor.data), read(d)
            before = given.get(to)
            given[to] = more if before is None else apply("add", before, more)
            shown = text.text(given[to]) if before is not None else text.text(more)
            lines.append(f"d{name_of(to)} = {shown}")
        for tensor, _ in parts:  # what has arrived now has a name
            to = read(tensor.data)
            if given[to].inputs and given[to] not in text.names:
                text.names[given[to]] = f"d{text.names[to]}"
        rows.append((forward, ", ".join(dict.fromkeys(lines))))
    return tuple(rows)
