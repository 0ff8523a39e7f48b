"""The source of a cell's kernels for the card: what a thread does for a unit of a lane, from the cell's formulas, and
the two ways through a sequence (recurrent.py) around it.

    source(program)    Python text, for sequence.py to import

As on the processor (cpu/write.py), the ways are the same for all cells, and are written out for each. Their arrays are
flat. In the way forward a thread is given what comes from the state; the sum over the lanes that the gradients of
vectors need is left to the host.
"""

from __future__ import annotations

from micrornn.kernels.cuda.template import HEAD, SEQUENCE
from micrornn.kernels.symbols.names import Names
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.source import Formulas
from micrornn.kernels.symbols.symbol import ZERO


class Writer:
    """Puts the pieces of one cell together. The order of the arrays is that of `forward_arrays`, `backward_arrays`."""

    def __init__(self, program: Program):
        self.p, self.names = program, Names(program)
        self.states = [f"{state}_rows" for state in program.states]
        self.read = [self.states[s] for s in program.reads_states]
        self.both = ["gates", "hidden"] if program.sided else ["gates"]
        self.vectors = [f"all_{name}" for name in self.names.vectors]
        self.straight = program.dprev[0] is not ZERO

    def source(self) -> str:
        p, count, h = self.p, len(self.p.gates), self.states[0]
        arrays = [*self.states, *self.both, *self.vectors]
        back = [*(f"d{a}" for a in self.both), *(f"d{rows}" for rows in self.states),
                *(["dvectors"] if p.vectors else []), *(["straight"] if self.straight else []), "gates",
                *(["hidden"] if p.reads_hidden else []), *self.read, *self.vectors]  # fmt: skip
        pre = [self.names.pre("h" if p.sided else "a", k) for k in range(count)]
        biases = [f"b_{gate}" for gate in p.gates] if p.sided else []
        one = count == 1
        gates = range(count)
        pieces = {
            "name": p.name, "count": count, "h": h, "arrays": ", ".join(arrays), "back_arrays": ", ".join(back),
            "pre": ", ".join(pre + biases), "given": ", ".join(pre + biases), "into": self.both[-1],
            "dinto": f"d{self.both[-1]}",
            "forward": _indent(self.forward(), 1), "back": _indent(self.back(), 3), "sums": _indent(self.sums(), 2),
            "message": _indent(self.message(), 2), "masked": _indent(self.masked(), 3),
            "sums_back": _indent(self.sums_back(), 2),
            "set": "four units" if one else f"a unit, its rows are the {count} gates",
            "threads": "units // 4 * slices" if one else "units * slices", "rows_of_unit": 1 if one else 4,
            "units_of_set": " * 4" if one else "", "held_rows": 4 if one else max(count, 3),
            "hold": "unit * size, size, 1, size - unit" if one else f"unit * size, size * size, 1, {count}",
            "less": count - 1, "total": " + ".join(f"sums[n + {g} * units]" if g else "sums[n]" for g in gates),
        }  # fmt: skip
        held = ["some", "more"] if p.sided else ["some"]
        pieces["shared"] = _indent([f"{name} = cuda.shared.array(room_biases, float32)" for name in held], 2)
        pieces["fill"] = _indent(
            ["some[n], more[n] = biases[i], others[i]"] if p.sided else ["some[n] = biases[i] + others[i]"], 3
        )
        sums = "sums[thread]" if one else "load4(sums, 4 * thread)"
        names = pre if one else pre + ["_"] * (4 - count)
        take = [f"{', '.join(names)} = {sums}"]
        side = "more" if p.sided else "some"
        take += [f"{name} += {side}[{self._times(k, 'units')}u]" for k, name in enumerate(pre)]
        take += [f"{name} = some[{self._times(k, 'units')}u]" for k, name in enumerate(biases)]
        pieces["take"] = _indent(take, 5)
        return HEAD.substitute(pieces) + (SEQUENCE.substitute(pieces) if p.recurrent and count <= 4 else "")

    # --- a unit --------------------------------------------------------------------------------------------------

    def forward(self) -> list[str]:
        p, names, formulas = self.p, self.names, self._formulas()
        lines = [f"{v} = {array}[j]" for v, array in zip(names.vectors, self.vectors)]
        lines += [f"{names.prev(s)} = {rows}[at_prev]" for s, rows in enumerate(self.states)]
        for k, gate in enumerate(p.gates):
            if p.sided:
                lines.append(f"{names.pre('x', k)} = {self._place('gates', k)} + b_{gate}")
            else:
                lines.append(f"{names.pre('a', k)} = {self._place('gates', k)} + {names.pre('a', k)}")
        values = [(names.kept(k), slot) for k, slot in enumerate(p.slots) if slot.op != "leaf"]
        lines += formulas.lines(values)
        lines += [f"{self._place('gates', k)} = {names.kept(k)}" for k in range(len(p.gates))]
        lines += [f"{self._place('hidden', k)} = {names.pre('h', k)}" for k, h in enumerate(p.hidden) if h is not None]
        lines += formulas.lines([(names.now(s), new) for s, new in enumerate(p.new)])
        return lines + [
            f"{rows}[at] = {names.now(s)} if counted else {names.prev(s)}" for s, rows in enumerate(self.states)
        ]

    def message(self) -> list[str]:
        """What comes to this state's unit from the step after, beside what went through weights."""
        n = "at % (lanes * size)"
        if self.straight:
            return [f"total += straight[{n}]"]
        return ["if not counts(mask, place + turn * lanes):", f"    total += d{self.states[0]}[at + after]"]

    def back(self) -> list[str]:
        p, names, reads = self.p, self.names, self.p.reads
        lines = [f"{names.kept(k)} = {self._place('gates', k)}" for k in range(len(p.gates)) if ("slot", k) in reads]
        lines += [
            f"{names.pre('h', k)} = {self._place('hidden', k)}" for k in range(len(p.gates)) if ("hidden", k) in reads
        ]
        for s, rows in enumerate(self.states):
            lines += [f"{names.prev(s)} = {rows}[at - after]"] if ("prev", s) in reads else []
            lines += [f"{names.now(s)} = {rows}[at]"] if ("cur", s) in reads else []
            if ("dcur", s) in reads:
                lines.append(f"d{names.now(s)} = {f'd{rows}[at]' if s else 'dh'}")
        lines += [
            f"{v} = {a}[j]" for n, (v, a) in enumerate(zip(names.vectors, self.vectors)) if ("vector", n) in reads
        ]
        wanted = [(f"d{name}_all", total) for name, total in zip(p.states, p.total) if total is not None]
        wanted += [(f"da_{gate}", dx) for gate, dx in zip(p.gates, p.dx)]
        wanted += [(f"dh_{gate}", dh) for gate, dh in zip(p.gates, p.dh)] if p.sided else []
        wanted += [(f"d{names.prev(s)}", d) for s, d in enumerate(p.dprev) if s or self.straight]
        wanted += [(f"d_{vector}", d) for vector, d in zip(p.vectors, p.dvector)]
        lines += self._formulas().lines(wanted)
        lines += [f"{self._place('dgates', k)} = da_{gate}" for k, gate in enumerate(p.gates)]
        lines += [f"{self._place('dhidden', k)} = dh_{gate}" for k, gate in enumerate(p.gates)] if p.sided else []
        for s, rows in enumerate(self.states):
            if p.total[s] is not None:
                lines.append(f"d{rows}[at] = d{p.states[s]}_all")
            if s:
                lines.append(f"d{rows}[at - after] = message(d{names.prev(s)}, clip)")
        if self.straight:
            lines.append(f"straight[at % (lanes * size)] = d{names.prev(0)}")
        for n, vector in enumerate(p.vectors):
            lines.append(f"dvectors[{n} * lanes * size + at % (lanes * size)] += d_{vector}")
        return lines

    def masked(self) -> list[str]:
        lines = [f"{self._place('dgates', k)} = ZERO" for k in range(len(self.p.gates))]
        lines += [f"{self._place('dhidden', k)} = ZERO" for k in range(len(self.p.gates))] if self.p.sided else []
        lines += [f"d{rows}[at - after] = message(d{rows}[at], clip)" for rows in self.states[1:]]
        return lines + (["straight[at % (lanes * size)] = dh"] if self.straight else [])

    # --- a launch per time step ----------------------------------------------------------------------------------

    def sums(self) -> list[str]:
        p, count = self.p, len(self.p.gates)
        pre = [self.names.pre("h" if p.sided else "a", k) for k in range(count)]
        places = [f"{self._times(k)}j" for k in range(count)]
        if not p.recurrent:
            return [f"{name} = biases[{place}]" for name, place in zip(pre, places)]
        if not p.sided:  # what comes from the state is in `gates`, with what comes from x
            return [f"{name} = biases[{place}] + others[{place}]" for name, place in zip(pre, places)]
        lines = [f"row = place * {count} * size + j"]
        lines += [
            f"{name} = others[{at}] + {self._place('hidden', k)}" for k, (name, at) in enumerate(zip(pre, places))
        ]
        return lines + [f"b_{gate} = biases[{place}]" for gate, place in zip(p.gates, places)]

    def sums_back(self) -> list[str]:
        return ["if step > 0:", "    total = totals[n]"] if self.p.recurrent else []

    def _formulas(self) -> Formulas:
        return Formulas(self.names.leaves(), _number)

    def _times(self, k: int, unit: str = "size") -> str:
        return "" if not k else f"{unit} + " if k == 1 else f"{k} * {unit} + "

    def _place(self, array: str, k: int) -> str:
        return f"{array}[row" + (f" + {self._times(k)[:-3]}]" if k else "]")


def _number(value: float) -> str:
    return {0.0: "ZERO", 1.0: "ONE"}.get(value) or f"gates.dtype.type({value!r})"


def _indent(lines: list[str], levels: int) -> str:
    return "\n".join("    " * levels + line for line in lines)


def forward_arrays(p: Program, states: list, gates: object, hidden: object, vectors: list) -> list:
    return [*states, gates, *([hidden] if p.sided else []), *vectors]


def backward_arrays(p: Program, dgates: object, dhidden: object, dstates: list, dvectors: object, straight: object,
                    gates: object, hidden: object, states: list, vectors: list) -> list:  # fmt: skip
    read = [states[s] for s in p.reads_states]
    return [
        dgates, *([dhidden] if p.sided else []), *dstates, *([dvectors] if p.vectors else []),
        *([straight] if p.dprev[0] is not ZERO else []), gates,
        *([hidden] if p.reads_hidden else []), *read, *vectors,
    ]  # fmt: skip


def source(program: Program) -> str:
    """The text of the module."""
    return Writer(program).source()
