"""What the numbers of a program are called: in generated kernels, and on the screen of `micrornn cell`."""

from __future__ import annotations

import keyword

from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.symbol import Symbol, leaf

# Names that generated kernels use for themselves; a gate or a state of such a name gets an underscore behind it.
TAKEN = frozenset(
    (
        "np", "cuda", "kernel", "parallel", "prange", "exp", "log", "sqrt", "tanh", "sigmoid", "power", "sign_of",
        "min", "max", "abs", "size", "row", "j", "b", "t", "x", "at", "prev", "cur", "place", "mask", "gates", "hidden",
        "dgates", "dhidden", "bias", "bias_ih", "bias_hh", "low", "high", "part", "parts", "one", "zero", "two",
        "three", "rows", "copy", "bound", "times", "after", "total", "lanes", "turn", "step", "seq_len", "clip",
        "counts", "message", "unit",
    )
)  # fmt: skip


def tidy(name: str) -> str:
    return f"{name}_" if name in TAKEN or keyword.iskeyword(name) else name


class Names:
    """gate(k), pre(side, k), prev(s), now(s), dnow(s), vector(n): what each is called."""

    def __init__(self, p: Program):
        self.program = p
        self.gates = [tidy(gate) for gate in p.gates]
        states = {tidy(state) for state in p.states}
        self.gates = [f"{gate}_gate" if gate in states else gate for gate in self.gates]
        self.vectors = [tidy(vector) for vector in p.vectors]

    def pre(self, side: str, k: int) -> str:
        return f"{side}_{self.program.gates[k]}"

    def prev(self, s: int) -> str:
        return f"{self.program.states[s]}_prev"

    def now(self, s: int) -> str:
        return f"{self.program.states[s]}_t"

    def kept(self, k: int) -> str:
        """What stands in the place of a gate: its value, or the pre-activation."""
        return self.gates[k] if self.program.activations[k] else self.pre("x" if self.program.sided else "a", k)

    def leaves(self) -> dict[Symbol, str]:
        """A name for each leaf."""
        p = self.program
        found: dict[Symbol, str] = {}
        for k in range(len(p.gates)):
            found |= {leaf(side, k): self.pre(side, k) for side in "axh"}
            found |= {leaf("slot", k): self.kept(k), leaf("hidden", k): self.pre("h", k)}
        for s in range(len(p.states)):
            found |= {leaf("prev", s): self.prev(s), leaf("cur", s): self.now(s), leaf("dcur", s): f"d{self.now(s)}"}
        return found | {leaf("vector", n): name for n, name in enumerate(self.vectors)}
