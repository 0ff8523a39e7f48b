"""The source of a cell's kernels for the card: what a thread does for a unit of a lane, from the cell's formulas, and
the two ways through a sequence (recurrent.py) around it.

    source(program)    Python text, for sequence.py to import

As on the processor (cpu/write.py), the ways are the same for all cells, and are written out for each. Their arrays are
flat. In the way forward a thread is given what comes from the state; the sum over the lanes that the gradients of
vectors need is left to the host.
"""

from __future__ import annotations

from micrornn.kernels.cuda.template import HEAD, SEQUENCE
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.unit import Unit, indent


class Writer(Unit):
    """Puts the pieces of one cell together. In front of the arrays of the way back stands `straight`, if it is read."""

    prev, cur = "at - after", "at"

    def __init__(self, program: Program):
        super().__init__(program)
        self.from_h = [self.names.pre("h" if program.sided else "a", k) for k in range(len(program.gates))]

    def source(self) -> str:
        p, count, h = self.p, len(self.p.gates), self.states[0]
        arrays = self.forward_arrays
        back = [*(["straight"] if self.straight else []), *self.back_arrays]
        biases = [f"b_{gate}" for gate in p.gates] if p.sided else []
        sums = [f"sums[n + {k} * units]" if k else "sums[n]" for k in range(count)]
        sums_step = [self.place("hidden", k) for k in range(count)] if p.sided else []  # else they are in `gates`
        sums_back = ["if step > 0:", "    total = totals[n]"] if p.recurrent else []
        pieces = {
            "name": p.name, "count": count, "h": h, "arrays": ", ".join(arrays), "back_arrays": ", ".join(back),
            "pre": ", ".join(self.from_h + biases), "into": self.both[-1], "dinto": f"d{self.both[-1]}",
            "forward": indent(self.forward(), 1), "back": indent(self.back(), 3),
            "message": indent(self.message(), 2), "masked": indent(self.masked(), 3),
            "sums_step": indent(self.take("biases", "others", sums_step, "size", "j"), 2),
            "sums_back": indent(sums_back, 2), "sums": indent(self.take("some", "more", sums, "units", "u"), 5),
            "less": count - 1, "total": " + ".join(sums),
        }  # fmt: skip
        return HEAD.substitute(pieces) + (SEQUENCE.substitute(pieces) if p.recurrent else "")

    # --- a unit --------------------------------------------------------------------------------------------------

    def place(self, array: str, k: int) -> str:
        return f"{array}[row" + (f" + {self._times(k)[:-3]}]" if k else "]")

    def before(self, needed: object) -> dict[str, str]:
        return {self.names.prev(s): f"{rows}[at_prev]" for s, rows in enumerate(self.states)}  # a mask wants them all

    def pre_activations(self) -> dict[str, str]:
        pre = [self.names.pre("x" if self.p.sided else "a", k) for k in range(len(self.p.gates))]
        more = [f"b_{gate}" for gate in self.p.gates] if self.p.sided else pre
        return {name: f"{self.place('gates', k)} + {b}" for k, (name, b) in enumerate(zip(pre, more))}

    def store(self, s: int) -> str:
        return f"{self.states[s]}[at] = {self.names.now(s)} if counted else {self.names.prev(s)}"

    def arrived(self, s: int) -> str:
        return f"d{self.states[s]}[at]" if s else "arriving"

    def send(self, s: int, message: str) -> str:
        if s:
            return f"d{self.states[s]}[at - after] = message({message}, clip)"
        return f"straight[at % (lanes * size)] = {message}"

    def vector_total(self, n: int) -> str:
        return f"dvectors[{n} * lanes * size + at % (lanes * size)]"

    def message(self) -> list[str]:
        """What comes to this state's unit from the step after, beside what went through weights."""
        n = "at % (lanes * size)"
        if self.straight:
            return [f"total += straight[{n}]"]
        return ["if not counts(mask, place + turn * lanes):", f"    total += d{self.states[0]}[at + after]"]

    def masked(self) -> list[str]:
        lines = [f"{self.place('dgates', k)} = ZERO" for k in range(len(self.p.gates))]
        lines += [f"{self.place('dhidden', k)} = ZERO" for k in range(len(self.p.gates))] if self.p.sided else []
        lines += [f"d{rows}[at - after] = message(d{rows}[at], clip)" for rows in self.states[1:]]
        return lines + (["straight[at % (lanes * size)] = arriving"] if self.straight else [])

    def take(self, biases: str, others: str, sums: list[str], size: str, j: str) -> list[str]:
        """What comes from the state: the sums over its units, with their bias. The biases on the side of x."""
        places = [f"[{self._times(k, size)}{j}]" for k in range(len(self.p.gates))]
        if self.p.sided:
            lines = [f"{name} = {total} + {others}{at}" for name, total, at in zip(self.from_h, sums, places)]
            return lines + [f"b_{gate} = {biases}{at}" for gate, at in zip(self.p.gates, places)]
        found = [f"{biases}{at} + {others}{at}" if self.p.recurrent else f"{biases}{at}" for at in places]
        found = [f"{total} + ({bias})" for total, bias in zip(sums, found)] or found
        return [f"{name} = {one}" for name, one in zip(self.from_h, found)]

    def _times(self, k: int, unit: str = "size") -> str:
        return "" if not k else f"{unit} + " if k == 1 else f"{k} * {unit} + "


def source(program: Program) -> str:
    """The text of the module."""
    return Writer(program).source()
