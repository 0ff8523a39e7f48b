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

    def source(self) -> str:
        p, count, h = self.p, len(self.p.gates), self.states[0]
        arrays = self.forward_arrays
        back = [*(["straight"] if self.straight else []), *self.back_arrays]
        pre = [self.names.pre("h" if p.sided else "a", k) for k in range(count)]
        biases = [f"b_{gate}" for gate in p.gates] if p.sided else []
        sums = [f"sums[n + {k} * units]" if k else "sums[n]" for k in range(count)]
        pieces = {
            "name": p.name, "count": count, "h": h, "arrays": ", ".join(arrays), "back_arrays": ", ".join(back),
            "pre": ", ".join(pre + biases), "into": self.both[-1],
            "dinto": f"d{self.both[-1]}",
            "forward": indent(self.forward(), 1), "back": indent(self.back(), 3), "sums": indent(self.sums(), 2),
            "message": indent(self.message(), 2), "masked": indent(self.masked(), 3),
            "sums_back": indent(self.sums_back(), 2),
            "less": count - 1, "total": " + ".join(sums),
        }  # fmt: skip
        held = ["some", "more"] if p.sided else ["some"]
        pieces["shared"] = indent([f"{name} = cuda.shared.array(room_biases, float32)" for name in held], 2)
        pieces["fill"] = indent(
            ["some[n], more[n] = biases[i], others[i]"] if p.sided else ["some[n] = biases[i] + others[i]"], 3
        )
        side = "more" if p.sided else "some"
        take = [f"{name} = {sums[k]} + {side}[{self._times(k, 'units')}u]" for k, name in enumerate(pre)]
        take += [f"{name} = some[{self._times(k, 'units')}u]" for k, name in enumerate(biases)]
        pieces["take"] = indent(take, 5)
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
        return f"d{self.states[s]}[at]" if s else "dh"

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
        lines += [f"{name} = others[{at}] + {self.place('hidden', k)}" for k, (name, at) in enumerate(zip(pre, places))]
        return lines + [f"b_{gate} = biases[{place}]" for gate, place in zip(p.gates, places)]

    def sums_back(self) -> list[str]:
        return ["if step > 0:", "    total = totals[n]"] if self.p.recurrent else []

    def _times(self, k: int, unit: str = "size") -> str:
        return "" if not k else f"{unit} + " if k == 1 else f"{k} * {unit} + "


def source(program: Program) -> str:
    """The text of the module."""
    return Writer(program).source()
