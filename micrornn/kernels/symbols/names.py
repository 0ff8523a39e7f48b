"""What the numbers of a program are called: in generated kernels, and on the screen of `micrornn cell`."""

from __future__ import annotations

import keyword

from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.symbol import ZERO, Symbol, leaf

# Names that generated kernels use for themselves; a gate or a state of such a name gets an underscore behind it.
TAKEN = frozenset(
    (
        "np", "cuda", "kernel", "parallel", "prange", "exp", "log", "sqrt", "tanh", "sigmoid", "power", "sign_of",
        "min", "max", "abs", "size", "row", "j", "b", "t", "x", "at", "prev", "cur", "place", "mask", "gates", "hidden",
        "dgates", "dhidden", "bias", "bias_ih", "bias_hh", "low", "high", "part", "parts", "ONE", "ZERO", "two",
        "three", "rows", "after", "total", "lanes", "turn", "step", "seq_len", "clip",
        "counts", "counted", "at_prev", "message", "unit", "dvectors", "straight", "arriving", "range",
    )
)  # fmt: skip


class Names:
    """A name for each number of a program, and no two alike whatever the cell calls its gates, states and vectors.

    arrays               of each vector, all of it
    leaves               of each leaf
    slots, after, back   (name, formula) of what is kept of the pre-activations; of the states after; of the cotangents:
                         those of states after, pre-activations, states before if they are not 0, and vectors
    """

    def __init__(self, p: Program):
        gates, states = range(len(p.gates)), range(len(p.states))
        most = max(len(p.gates), len(p.vectors))
        self.used = {*TAKEN, *(f"b_{gate}" for gate in p.gates), *(f"times_{k}" for k in range(most))}
        self.used |= {f"{d}{state}_rows" for state in p.states for d in ("", "d")}
        self.arrays = [self._own(f"all_{vector}") for vector in p.vectors]
        self.leaves: dict[Symbol, str] = {}
        for s, state in enumerate(p.states):
            self.leaves |= {leaf("prev", s): self._own(f"{state}_prev"), leaf("cur", s): self._own(f"{state}_t")}
            self.leaves[leaf("dcur", s)] = self._own(f"d{self.now(s)}")
        for side in "xh" if p.sided else "a":
            self.leaves |= {leaf(side, k): self._own(f"{side}_{gate}") for k, gate in enumerate(p.gates)}
        for k, gate in enumerate(p.gates):  # a gate's value stands in the place of its pre-activation, or that itself
            called = f"{gate}_gate" if gate in p.states else gate
            self.leaves[leaf("slot", k)] = self._own(called) if p.activations[k] else self.pre("xa"[not p.sided], k)
        self.vectors = [self._own(vector) for vector in p.vectors]
        self.leaves |= {leaf("vector", n): name for n, name in enumerate(self.vectors)}
        self.leaves |= {leaf("hidden", k): self.pre("h", k) for k in gates if p.sided}
        self.slots = [(self.kept(k), slot) for k, slot in enumerate(p.slots) if slot.op != "leaf"]
        self.after = [(self.now(s), new) for s, new in enumerate(p.new)]
        back = [(state, total) for state, total in zip(p.states, p.total) if total is not None]
        for side, parts in (("x", p.dx), ("h", p.dh)) if p.sided else (("a", p.dx),):
            back += [(self.pre(side, k), parts[k]) for k in gates]
        back += [(self.prev(s), p.dprev[s]) for s in states if p.dprev[s] is not ZERO]
        back += zip(self.vectors, p.dvector)
        self.back = [(self._own(f"d{name}"), formula) for name, formula in back]

    def _own(self, wanted: str) -> str:
        while wanted in self.used or keyword.iskeyword(wanted):
            wanted += "_"
        self.used.add(wanted)
        return wanted

    def pre(self, side: str, k: int) -> str:
        return self.leaves[leaf(side, k)]

    def prev(self, s: int) -> str:
        return self.leaves[leaf("prev", s)]

    def now(self, s: int) -> str:
        return self.leaves[leaf("cur", s)]

    def kept(self, k: int) -> str:
        """What stands in the place of a gate: its value, or the pre-activation."""
        return self.leaves[leaf("slot", k)]
