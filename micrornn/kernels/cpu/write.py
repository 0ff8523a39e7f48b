"""The source of a cell's kernels: the loops over units from its formulas, and the walk over time around them.

What the walk does is the same for all cells: lanes, time steps, masks, both directions, the limit of the message. It
is written out for each of them, as its arrays have to be told one by one: Numba keeps no compiled kernel that takes
another function as an argument, and to put arrays into tuples costs their unpacking at each call.

    source(program)    Python text, for sequence.py to import

The innermost loops are over the units of one lane, by flat, unsigned indices, and nothing else is in their functions:
docs/faster.md says why.
"""

from __future__ import annotations

from string import Template

from micrornn.kernels.symbols.names import Names
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.source import Formulas
from micrornn.kernels.symbols.symbol import ZERO, Symbol, walk

HEAD = Template('''\
"""The kernels of the cell `$name`, derived from its step by micrornn; `micrornn cell` explains them.

Changes here are lost: the file is named by its contents.
"""

import numpy as np
from numba import prange
from numpy import power, sqrt
from numpy import sign as sign_of

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import exp, sigmoid, tanh
from micrornn.kernels.cpu.maths import quick_log as log
from micrornn.kernels.cpu.recurrent import (
    add_held, add_row, clear_row, clip_message, copy_row, hold_back, rows, times, times_part,
)
from micrornn.kernels.cpu.threads import bound


@kernel
def step($step_arguments):
    """One lane, one time step: from pre-activations to what is kept and the states after."""
$step_body


@kernel
def step_back($back_arguments):
    """One lane, one time step: from the cotangents of the states to those of all that they came from."""
$back_body


@kernel
def gate($forward_flat, mask, t, prev, cur, low, high, lanes, units):
    """Time step t of lanes low:high, from its pre-activations on. Flat arrays."""
    size = np.uint64(units)
    for b in range(low, high):
        row = np.uint64((t * lanes + b) * $count * units)
        at_prev, at_cur = np.uint64((prev * lanes + b) * units), np.uint64((cur * lanes + b) * units)
        step($gate_call)
        if mask.size and not mask[t, b]:
$gate_copies


@kernel
def gate_back($backward_flat, mask, t, prev, cur, low, high, lanes, units$at):
    """Time step t of lanes low:high, back to its pre-activations. Flat arrays."""
    size = np.uint64(units)
    for b in range(low, high):
        row = np.uint64((t * lanes + b) * $count * units)
        at_prev, at_cur = np.uint64((prev * lanes + b) * units), np.uint64((cur * lanes + b) * units)
        if mask.size and not mask[t, b]:
$back_copies
        else:
            step_back($back_call)


@kernel
def forward($forward_arrays, x, mask, reverse, low, high, p_ih, p_hh):
    lanes, units = $h.shape[1], $h.shape[2]
$forward_flatten
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        if x.size:
            times(gates, t, x, t, p_ih, low, high, 0, gates.shape[2], 0)
$forward_product
        gate($forward_flat, mask, t, prev, cur, low, high, lanes, units)


@kernel
def backward($backward_arrays, mask, reverse, clip, low, high, p, held$at):
    lanes, units = d$h.shape[1], d$h.shape[2]
$backward_flatten
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(d$h, prev, low, high, held)
        gate_back($backward_flat, mask, t, prev, cur, low, high, lanes, units$at)
$backward_product
        if clip > 0:
            clip_message(d$h, prev, low, high, clip)
            add_held(d$h, prev, low, high, held)
$clips


@parallel
def forward_parallel($forward_arrays, x, mask, reverse, p_ih, p_hh, parts):
    for part in prange(parts):
        low, high = bound(part, parts, $h.shape[1]), bound(part + 1, parts, $h.shape[1])
        forward($forward_arrays, x, mask, reverse, low, high, p_ih, p_hh)


@parallel
def backward_parallel($backward_arrays, mask, reverse, clip, p, held, parts):
    for part in prange(parts):
        low, high = bound(part, parts, d$h.shape[1]), bound(part + 1, parts, d$h.shape[1])
        backward($backward_arrays, mask, reverse, clip, low, high, p, held$part_at)
''')

WIDE = Template("""

@parallel
def forward_wide($forward_arrays, mask, reverse, p, parts):
    lanes, units = $h.shape[1], $h.shape[2]
$forward_flatten
    for step in range(len(gates)):
        t, prev, cur = rows(step, len(gates), reverse)
        for part in prange(parts):
            times_part($into, t, $h, prev, p, part, parts, $add)
        for part in prange(parts):
            low, high = bound(part, parts, lanes), bound(part + 1, parts, lanes)
            gate($forward_flat, mask, t, prev, cur, low, high, lanes, units)


@parallel
def backward_wide($backward_arrays, mask, reverse, clip, p, held, parts):
    lanes, units = d$h.shape[1], d$h.shape[2]
$backward_flatten
    for step in range(len(gates)):
        t, prev, cur = rows(len(gates) - 1 - step, len(gates), reverse)
        if clip > 0:
            hold_back(d$h, prev, 0, lanes, held)
        for part in prange(parts):
            low, high = bound(part, parts, lanes), bound(part + 1, parts, lanes)
            gate_back($backward_flat, mask, t, prev, cur, low, high, lanes, units$part_at)
        for part in prange(parts):
            times_part(d$h, prev, $dinto, t, p, part, parts, 1)
        if clip > 0:
            clip_message(d$h, prev, 0, lanes, clip)
            add_held(d$h, prev, 0, lanes, held)
$wide_clips
""")


class Writer:
    """Puts the pieces of one cell together."""

    def __init__(self, program: Program):
        self.p, self.names = program, Names(program)
        self.states = [f"{state}_rows" for state in program.states]
        self.dstates = [f"d{rows}" for rows in self.states]
        self.both = ["gates", "hidden"] if program.sided else ["gates"]
        self.dboth = [f"d{array}" for array in self.both]
        self.biases = ["bias_ih", "bias_hh"] if program.sided else ["bias"]
        self.read = [self.states[s] for s in program.reads_states]
        self.read_gates = [a for a, kind in zip(self.both, ("slot", "hidden")) if self._reads(kind) or a == "gates"]
        self.vectors = [f"all_{name}" for name in self.names.vectors]
        self.dvectors = ["dvectors"] if program.vectors else []
        self.constants: dict[float, str] = {}

    def _reads(self, kind: str) -> bool:
        return any(leaf[0] == kind for leaf in self.p.reads)

    def source(self) -> str:
        p, h = self.p, self.states[0]
        arrays = [*self.states, *self.both, *self.biases, *self.vectors]
        back = [*self.dboth, *self.dstates, *self.dvectors, *self.read_gates, *self.read, *self.vectors]
        lane = [*self.both, "row", *self.biases, *self.vectors, *self.states, "prev", "cur", "size"]
        lane_back = [*self.dboth, *self.read_gates, "row", *self.vectors, *self.read, *self.dstates, *self.dvectors,
                     *(["at"] if p.vectors else []), "prev", "cur", "size"]  # fmt: skip
        into, flat = self.both[-1], {*self.states, *self.both, *self.dstates, *self.dboth, *self.read}
        at = {"prev": "at_prev", "cur": "at_cur"}

        def call(names: list[str]) -> str:
            return ", ".join(at.get(name, f"flat_{name}" if name in flat else name) for name in names)

        def over(names: list[str]) -> str:
            return ", ".join(f"flat_{name}" if name in flat else name for name in names)

        copies = [f"copy_row(flat_{rows}, at_cur, at_prev, size)" for rows in reversed(self.states)]
        back_copies = [f"clear_row(flat_{array}, row, {len(p.gates)} * units)" for array in self.dboth]
        back_copies += [f"add_row(flat_{self.dstates[0]}, at_prev, at_cur, size)"]
        back_copies += [f"copy_row(flat_{d}, at_prev, at_cur, size)" for d in self.dstates[1:]]
        pieces = {
            "name": p.name, "h": h, "at": ", at" if p.vectors else "",
            "part_at": f", np.uint64(part * {len(p.vectors)} * d{h}.shape[2])" if p.vectors else "",
            "into": into, "add": "0" if p.sided else "1", "dinto": self.dboth[-1],
            "forward_arrays": ", ".join(arrays), "backward_arrays": ", ".join(back),
            "step_arguments": ", ".join(lane), "step_body": self.step(),
            "back_arguments": ", ".join(lane_back), "back_body": self.step_back(),
            "count": len(p.gates), "forward_flat": over(arrays), "backward_flat": over(back),
            "forward_flatten": _flat([a for a in arrays if a in flat]),
            "backward_flatten": _flat([a for a in back if a in flat]), "gate_call": call(lane),
            "gate_copies": _indent(copies, 3),
            "back_call": call(lane_back),
            "back_copies": _indent(back_copies, 3),
            "forward_product": "", "backward_product": "",
            "clips": _indent([f"clip_message({d}, prev, low, high, clip)" for d in self.dstates[1:]], 3),
            "wide_clips": _indent([f"clip_message({d}, prev, 0, lanes, clip)" for d in self.dstates[1:]], 3),
        }  # fmt: skip
        if p.recurrent:
            pieces["forward_product"] = (
                f"        times({into}, t, {h}, prev, p_hh, low, high, 0, gates.shape[2], {pieces['add']})"
            )
            pieces["backward_product"] = f"        times(d{h}, prev, {self.dboth[-1]}, t, p, low, high, 0, units, 1)"
        return HEAD.substitute(pieces) + (WIDE.substitute(pieces) if p.recurrent else "")

    # --- one lane, one time step -----------------------------------------------------------------------------------

    def step(self) -> str:
        p, names, formulas = self.p, self.names, self._formulas()
        lines = [f"{v} = {array}[j]" for v, array in zip(names.vectors, self.vectors)]
        early = self._prev(p.slots)
        lines += early
        for k in range(len(p.gates)):
            if p.sided:
                lines.append(f"{names.pre('h', k)} = {self._place('hidden', k)} + {self._bias('bias_hh', k)}")
                lines.append(f"{names.pre('x', k)} = {self._place('gates', k)} + {self._bias('bias_ih', k)}")
            else:
                lines.append(f"{names.pre('a', k)} = {self._place('gates', k)} + {self._bias('bias', k)}")
        values = [(names.kept(k), slot) for k, slot in enumerate(p.slots) if slot.op != "leaf"]
        lines += formulas.lines(values)
        lines += [f"{self._place('gates', k)} = {names.kept(k)}" for k in range(len(p.gates))]
        lines += [f"{self._place('hidden', k)} = {names.pre('h', k)}" for k, h in enumerate(p.hidden) if h is not None]
        lines += [line for line in self._prev(p.new) if line not in early]
        lines += formulas.lines([(names.now(s), new) for s, new in enumerate(p.new)])
        lines += [f"{rows}[cur + j] = {names.now(s)}" for s, rows in enumerate(self.states)]
        return self._loop("gates", lines)

    def _prev(self, symbols: tuple[Symbol, ...]) -> list[str]:
        """Loads of the states before that these formulas need."""
        needed = {symbol.args for symbol in walk(symbols) if symbol.op == "leaf"}
        rows = enumerate(self.states)
        return [f"{self.names.prev(s)} = {array}[prev + j]" for s, array in rows if ("prev", s) in needed]

    def step_back(self) -> str:
        p, names = self.p, self.names
        reads = p.reads
        loads = [f"{names.kept(k)} = {self._place('gates', k)}" for k in range(len(p.gates)) if ("slot", k) in reads]
        loads += [
            f"{names.pre('h', k)} = {self._place('hidden', k)}" for k in range(len(p.gates)) if ("hidden", k) in reads
        ]
        for s, rows in enumerate(self.states):
            loads += [f"{names.prev(s)} = {rows}[prev + j]"] if ("prev", s) in reads else []
            loads += [f"{names.now(s)} = {rows}[cur + j]"] if ("cur", s) in reads else []
            loads += [f"d{names.now(s)} = d{rows}[cur + j]"] if ("dcur", s) in reads else []
        loads += [
            f"{v} = {a}[j]" for n, (v, a) in enumerate(zip(names.vectors, self.vectors)) if ("vector", n) in reads
        ]
        totals = [(f"d{name}", total) for name, total in zip(p.states, p.total) if total is not None]
        wanted = list(totals)
        wanted += [(f"da_{gate}", dx) for gate, dx in zip(p.gates, p.dx)]
        if p.sided:
            wanted += [(f"dh_{gate}", dh) for gate, dh in zip(p.gates, p.dh)]
        wanted += [(f"d{names.prev(s)}", d) for s, d in enumerate(p.dprev) if s or d is not ZERO]
        wanted += [(f"d_{vector}", d) for vector, d in zip(p.vectors, p.dvector)]
        body = self._formulas().lines(wanted)
        stores = [f"{self._place('dgates', k)} = da_{gate}" for k, gate in enumerate(p.gates)]
        if p.sided:
            stores += [f"{self._place('dhidden', k)} = dh_{gate}" for k, gate in enumerate(p.gates)]
        for s, rows in enumerate(self.dstates):
            if s or p.dprev[s] is not ZERO:
                stores.append(f"{rows}[prev + j] {'=' if s else '+='} d{names.prev(s)}")
            if p.total[s] is not None:
                stores.append(f"{rows}[cur + j] = d{p.states[s]}")
        for n, vector in enumerate(p.vectors):
            stores.append(f"dvectors[at + {self._times(n)}j] += d_{vector}")
        return self._loop("dgates", loads + body + stores)

    def _formulas(self) -> Formulas:
        self.constants = {}
        return Formulas(self.names.leaves(), self._number)

    def _number(self, value: float) -> str:
        word = {0.0: "zero", 1.0: "one"}.get(value) or f"number_{len(self.constants)}"
        return self.constants.setdefault(value, word)

    def _loop(self, array: str, body: list[str]) -> str:
        lines = [f"{name} = {array}.dtype.type({value!r})" for value, name in self.constants.items()]
        places = [f"{_TIMES[k]} = {' + '.join(['size'] * k)}" for k in range(2, self._most() + 1)]
        return _indent([*lines, *places, "for j in range(size):", *("    " + line for line in body)], 1)

    def _most(self) -> int:
        return max(len(self.p.gates), len(self.p.vectors)) - 1

    def _times(self, k: int) -> str:
        return f"{_TIMES[k]} + " if k else ""

    def _place(self, array: str, k: int) -> str:
        return f"{array}[row + {self._times(k)}j]"

    def _bias(self, array: str, k: int) -> str:
        return f"{array}[{self._times(k)}j]"


_TIMES = ("", "size", "two", "three", *(f"times_{k}" for k in range(4, 64)))  # names of multiples of size


def _indent(lines: list[str], levels: int) -> str:
    return "\n".join("    " * levels + line for line in lines)


def _flat(arrays: list[str]) -> str:
    return _indent([f"flat_{array} = {array}.reshape(-1)" for array in dict.fromkeys(arrays)], 1)


def source(program: Program) -> str:
    """The text of the module."""
    return Writer(program).source()
