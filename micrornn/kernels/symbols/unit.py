"""A cell's program as the lines of a kernel, for one unit in one time step: what the devices write alike.

Unit         where the numbers of a unit lie is told by each device in a subclass, cpu/write.py and cuda/write.py
indent       lines of a block
"""

from __future__ import annotations

from micrornn.kernels.symbols.names import Names
from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.source import Formulas
from micrornn.kernels.symbols.symbol import ZERO, leaf, leaves_below


class Unit:
    """Arrays that a kernel takes, in this order, and its lines.

    forward_arrays    states, gates, hidden, vectors
    back_arrays       dgates, dhidden, dstates, dvectors, gates, hidden, those states that are read, vectors
    """

    prev, cur = "prev", "cur"  # where a unit lies in the states before and after

    def __init__(self, program: Program):
        p = self.p = program
        self.names = Names(p)
        self.states = [f"{state}_rows" for state in p.states]
        self.both = ["gates", "hidden"] if p.sided else ["gates"]
        self.vectors = self.names.arrays
        self.straight = p.dprev[0] is not ZERO  # something comes to h_prev in another way than through weights
        self.forward_arrays = [*self.states, *self.both, *self.vectors]
        self.back_arrays = [
            *(f"d{array}" for array in (*self.both, *self.states)), *(["dvectors"] if p.vectors else []), "gates",
            *(["hidden"] if p.reads_hidden else []), *(self.states[s] for s in p.reads_states), *self.vectors,
        ]  # fmt: skip

    # --- what each device says ------------------------------------------------------------------------------------

    def place(self, array: str, k: int) -> str:
        """Gate k's number in gates, hidden, or their cotangents."""
        raise NotImplementedError

    def before(self, needed: frozenset[tuple[str, int]]) -> dict[str, str]:
        """{name: where it lies} of the states before that are `needed` by formulas."""
        raise NotImplementedError

    def pre_activations(self) -> dict[str, str]:
        """{name: sum} of the pre-activations."""
        raise NotImplementedError

    def store(self, s: int) -> str:
        """State s after the step."""
        raise NotImplementedError

    def arrived(self, s: int) -> str:
        """Where the cotangent of state s after the step is found."""
        raise NotImplementedError

    def send(self, s: int, message: str) -> str:
        """What goes back to state s before the step, not through weights."""
        raise NotImplementedError

    def vector_total(self, n: int) -> str:
        """Where the cotangent of vector n is added up."""
        raise NotImplementedError

    # --- lines ----------------------------------------------------------------------------------------------------

    def forward(self) -> list[str]:
        """From what comes from the states and from x to what is kept and the states after."""
        p, names, formulas = self.p, self.names, self._formulas()
        lines = [f"{v} = {array}[j]" for v, array in zip(names.vectors, self.vectors)]
        early = self.before(leaves_below(p.slots))
        late = {name: place for name, place in self.before(leaves_below(p.new)).items() if name not in early}
        lines += assigned(early | self.pre_activations()) + formulas.lines(names.slots)
        lines += [f"{self.place('gates', k)} = {names.kept(k)}" for k in range(len(p.gates))]
        lines += [f"{self.place('hidden', k)} = {names.pre('h', k)}" for k, h in enumerate(p.hidden) if h is not None]
        lines += assigned(late) + formulas.lines(names.after)
        return lines + [self.store(s) for s in range(len(p.states))]

    def back(self) -> list[str]:
        """From the cotangents of the states after to those of all that they came from."""
        p, names, gates = self.p, self.names, range(len(self.p.gates))
        places = {leaf("slot", k): self.place("gates", k) for k in gates}
        places |= {leaf("hidden", k): self.place("hidden", k) for k in gates}
        for s, rows in enumerate(self.states):
            places |= {leaf("prev", s): f"{rows}[{self.prev}]", leaf("cur", s): f"{rows}[{self.cur}]"}
            places[leaf("dcur", s)] = self.arrived(s)
        places |= {leaf("vector", n): f"{array}[j]" for n, array in enumerate(self.vectors)}
        lines = [f"{names.leaves[one]} = {place}" for one, place in places.items() if one.args in p.reads]
        lines += self._formulas().lines(names.back)
        totals = iter(name for name, _ in names.back)
        for s, rows in enumerate(self.states):
            if p.total[s] is not None:
                lines.append(f"d{rows}[{self.cur}] = {next(totals)}")
        for array in self.both:
            lines += [f"{self.place(f'd{array}', k)} = {next(totals)}" for k in gates]
        for s, straight in enumerate(p.dprev):
            if s or straight is not ZERO:
                lines.append(self.send(s, "ZERO" if straight is ZERO else next(totals)))
        return lines + [f"{self.vector_total(n)} += {name}" for n, name in enumerate(totals)]

    def _formulas(self) -> Formulas:
        return Formulas(self.names.leaves, self.number)

    def number(self, value: float) -> str:
        """A constant of the arrays' precision: a bare literal is a float64, and would pull a float32 up with it."""
        return {0.0: "ZERO", 1.0: "ONE"}.get(value) or f"gates.dtype.type({value!r})"


def assigned(values: dict[str, str]) -> list[str]:
    return [f"{name} = {value}" for name, value in values.items()]


def indent(lines: list[str], levels: int) -> str:
    return "\n".join("    " * levels + line for line in lines)
