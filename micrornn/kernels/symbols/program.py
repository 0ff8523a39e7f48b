"""What one unit of a cell computes in a time step, forward and backward, and what is kept between the two.

    Program            formulas, and all that a sequence kernel must know of a cell
    program(...)       made of what the tape wrote down

Leaves of the formulas, k the number of a gate, s of a state, n of a vector (a parameter of one number per unit):

    ("a", k)      pre-activation: x_t's and h_prev's parts and both biases, where no formula tells the two sides apart
    ("x", k)      the part of x_t and its bias, where they are told apart
    ("h", k)      the part of h_prev and its bias
    ("prev", s)   the state before, ("cur", s) the state after
    ("vector", n)
    ("slot", k), ("hidden", k)    what the way forward kept in the place of the pre-activation
    ("dcur", s)   cotangent of a state after, as it arrives

What is kept. States are kept anyway, before and after. Each pre-activation has its place in the array of gates, and
what stands there is overwritten: with the gate's value, which is the function that the pre-activation goes through
first, if there is one only. All else that the way back needs is computed again from what is kept. Where that cannot
be, as the pre-activation itself is needed, it keeps its place. For the LSTM that gives i, f, g, o and c; tanh(c) is
computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from micrornn.kernels.symbols.symbol import FUNCTIONS, Symbol, leaf, leaves_below, rewrite, walk


@dataclass(frozen=True, eq=False)
class Program:
    """The kernel of a cell as data.

    gates, states, vectors    names
    recurrent                 whether h_prev goes through weights; else x_t alone does
    sided                     whether the formulas tell the side of x_t from that of h_prev, as the GRU's do
    slots                     what is written to the place of each gate
    hidden                    with `sided`: what is written to the place of the side of h_prev; None: nothing is
    new                       the states after
    dx, dh                    cotangents of the pre-activations on the sides of x_t and h_prev; the same if not `sided`
    dprev                     what goes straight to each state before, not through weights
    total                     the whole cotangent of each state after, None where it is what arrived
    dvector                   cotangents of the vectors
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    vectors: tuple[str, ...]
    recurrent: bool
    sided: bool
    slots: tuple[Symbol, ...]
    hidden: tuple[Symbol | None, ...]
    new: tuple[Symbol, ...]
    dx: tuple[Symbol, ...]
    dh: tuple[Symbol, ...]
    dprev: tuple[Symbol, ...]
    total: tuple[Symbol | None, ...]
    dvector: tuple[Symbol, ...]

    @property
    def forward(self) -> tuple[Symbol, ...]:
        """All that the way forward writes."""
        return (*self.slots, *(h for h in self.hidden if h is not None), *self.new)

    @property
    def backward(self) -> tuple[Symbol, ...]:
        """All that the way back writes."""
        totals = (t for t in self.total if t is not None)
        return (*totals, *self.dx, *(self.dh if self.sided else ()), *self.dprev, *self.dvector)

    @cached_property
    def operations(self) -> frozenset[str]:
        """What is computed in either direction."""
        return frozenset(s.op for s in walk((*self.forward, *self.backward)))

    @cached_property
    def reads(self) -> frozenset[tuple[str, int]]:
        """The leaves that the way back reads."""
        return leaves_below(self.backward)

    @cached_property
    def reads_states(self) -> tuple[int, ...]:
        """The numbers of the states that the way back reads, before or after the step."""
        return tuple(s for s in range(len(self.states)) if {("prev", s), ("cur", s)} & self.reads)

    @cached_property
    def reads_hidden(self) -> bool:
        """Whether the way back reads what was kept of the side of h_prev."""
        return any(kind == "hidden" for kind, _ in self.reads)

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """The function that made what is kept of each gate: sigmoid, tanh, ...; "" for a pre-activation."""
        return tuple(slot.op if slot.op in FUNCTIONS else "" for slot in self.slots)


def program(name: str, gates: Sequence[str], states: Sequence[str], vectors: Sequence[str], recurrent: bool,
            new: Sequence[Symbol], found: dict[tuple[str, int], Symbol], totals: Sequence[Symbol]
            ) -> Program:  # fmt: skip
    """The program of a cell.

    new       the states after, made of the leaves x, h, prev and vector
    found     the cotangents of these leaves, ZERO where nothing flows back
    totals    the cotangents of the states after
    """
    count, merge = len(gates), _merger(len(gates), recurrent)
    one = [merge(root) for root in new]
    sided = any(kind in "xh" for kind, _ in leaves_below(tuple(one)))
    if not sided:
        new, found, totals = one, {key: merge(s) for key, s in found.items()}, [merge(s) for s in totals]
    pre = [leaf("x" if sided else "a", k) for k in range(count)]
    slots = [_activation(p, new) for p in pre]
    dx = [found["x", k] for k in range(count)]
    dh = [found["h", k] for k in range(count)] if recurrent else dx
    dprev = [found["prev", s] for s in range(len(states))]
    dvector = [found["vector", n] for n in range(len(vectors))]
    wanted = [*totals, *dx, *dh, *dprev, *dvector]
    hidden: list[Symbol | None] = []
    while True:  # until all that the way back reads is kept
        kept = {symbol: leaf("cur", s) for s, symbol in enumerate(new) if symbol.inputs}
        kept |= {symbol: leaf("slot", k) for k, symbol in enumerate(slots)}
        again: dict[Symbol, Symbol] = {leaf("h", k): leaf("hidden", k) for k in range(count)}
        back = [rewrite(s, kept.get, again) for s in wanted]
        reads = leaves_below(tuple(back))
        lost = [k for k, p in enumerate(pre) if p.args in reads]
        if not lost:
            hidden = [leaf("h", k) if ("hidden", k) in reads else None for k in range(count)] if sided else []
            break
        for k in lost:
            slots[k] = pre[k]
    parts = iter(back)
    total = [next(parts) for _ in states]
    return Program(
        name, tuple(gates), tuple(states), tuple(vectors), recurrent, sided, tuple(slots), tuple(hidden), tuple(new),
        dx=tuple(next(parts) for _ in dx), dh=tuple(next(parts) for _ in dh), dprev=tuple(next(parts) for _ in states),
        total=tuple(None if t is leaf("dcur", s) else t for s, t in enumerate(total)),
        dvector=tuple(next(parts) for _ in vectors),
    )  # fmt: skip


def merged(p: Program, root: Symbol) -> Symbol:
    """A formula made of the leaves x and h as the program has it: with `a` where it does not tell the sides apart."""
    return root if p.sided else _merger(len(p.gates), p.recurrent)(root)


def _merger(count: int, recurrent: bool) -> Callable[[Symbol], Symbol]:
    """Makes one leaf `a` of both sides of a pre-activation, wherever they are added up; of x alone, if h_prev goes
    through no weights."""
    alone = {leaf("x", k): leaf("a", k) for k in range(count)}
    sums = {leaf("x", k): leaf("h", k) for k in range(count)}
    done: dict[Symbol, Symbol] = {}

    def both(symbol: Symbol) -> Symbol | None:
        if symbol.op == "add":
            for one, other in (symbol.args, symbol.args[::-1]):
                if sums.get(one) is other:
                    return alone[one]
        return None

    return lambda root: rewrite(root, both if recurrent else alone.get, done)


def _activation(pre: Symbol, new: Sequence[Symbol]) -> Symbol:
    """The one function that a pre-activation goes through first; itself if there are more, or none."""
    reached, found = {pre}, set()
    for symbol in walk(tuple(new)):
        if any(one in reached for one in symbol.inputs):
            if symbol.op in FUNCTIONS:
                found.add(symbol)
            else:
                reached.add(symbol)
    return found.pop() if len(found) == 1 and not reached & set(new) else pre
