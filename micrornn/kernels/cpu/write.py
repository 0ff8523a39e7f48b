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

from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.unit import Unit, indent

HEAD = Template('''\
"""The kernels of the cell `$name`, derived from its step by micrornn; `micrornn cell` explains them.

Changes here are lost: the file is named by its contents.
"""

import numpy as np
from numba import prange
from numpy import power, sqrt
from numpy import sign as sign_of

from micrornn.kernels.cpu.jit import kernel, parallel
from micrornn.kernels.cpu.maths import ONE, ZERO, exp, sigmoid, tanh
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
        step($forward_flat, row, at_prev, at_cur, size)
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
            step_back($backward_flat, row$at, at_prev, at_cur, size)


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


class Writer(Unit):
    """Puts the pieces of one cell together."""

    prev, cur = "prev + j", "cur + j"

    def source(self) -> str:
        p, h, both, dboth = self.p, self.states[0], self.both, [f"d{array}" for array in self.both]
        biases = ["bias_ih", "bias_hh"] if p.sided else ["bias"]
        arrays = [*self.states, *both, *biases, *self.vectors]
        flat = {*self.states, *both} | {f"d{array}" for array in (*self.states, *both)}  # what is seen as flat

        def over(names: list[str]) -> str:
            return ", ".join(f"flat_{name}" if name in flat else name for name in names)

        def flatten(names: list[str]) -> str:
            return indent([f"flat_{name} = {name}.reshape(-1)" for name in names if name in flat], 1)

        at = ["at"] if p.vectors else []
        copies = [f"copy_row(flat_{rows}, at_cur, at_prev, size)" for rows in reversed(self.states)]
        back_copies = [f"clear_row(flat_{array}, row, {len(p.gates)} * units)" for array in dboth]
        back_copies += [f"add_row(flat_d{h}, at_prev, at_cur, size)"]
        back_copies += [f"copy_row(flat_d{rows}, at_prev, at_cur, size)" for rows in self.states[1:]]
        clips = "clip_message(d{}, prev, {}, {}, clip)"
        pieces = {
            "name": p.name, "h": h, "at": ", at" if p.vectors else "", "count": len(p.gates),
            "part_at": f", np.uint64(part * {len(p.vectors)} * d{h}.shape[2])" if p.vectors else "",
            "into": both[-1], "add": "0" if p.sided else "1", "dinto": dboth[-1],
            "forward_arrays": ", ".join(arrays), "backward_arrays": ", ".join(self.back_arrays),
            "step_arguments": ", ".join([*arrays, "row", "prev", "cur", "size"]),
            "step_body": self._loop(self.forward()),
            "back_arguments": ", ".join([*self.back_arrays, "row", *at, "prev", "cur", "size"]),
            "back_body": self._loop(self.back()),
            "forward_flat": over(arrays), "backward_flat": over(self.back_arrays),
            "forward_flatten": flatten(arrays), "backward_flatten": flatten(self.back_arrays),
            "gate_copies": indent(copies, 3), "back_copies": indent(back_copies, 3),
            "forward_product": "", "backward_product": "",
            "clips": indent([clips.format(rows, "low", "high") for rows in self.states[1:]], 3),
            "wide_clips": indent([clips.format(rows, "0", "lanes") for rows in self.states[1:]], 3),
        }  # fmt: skip
        if not p.recurrent:
            return HEAD.substitute(pieces)
        pieces["forward_product"] = (
            f"        times({both[-1]}, t, {h}, prev, p_hh, low, high, 0, gates.shape[2], {pieces['add']})"
        )
        pieces["backward_product"] = f"        times(d{h}, prev, {dboth[-1]}, t, p, low, high, 0, units, 1)"
        return HEAD.substitute(pieces) + WIDE.substitute(pieces)

    def _loop(self, body: list[str]) -> str:
        """Over the units. Unsigned indices: 2 * size would be a signed number times an unsigned one, a float64."""
        most = max(len(self.p.gates), len(self.p.vectors))
        places = [f"{_TIMES[k]} = {' + '.join(['size'] * k)}" for k in range(2, most)]
        return indent([*places, "for j in range(size):", *("    " + line for line in body)], 1)

    # --- where the numbers of a unit lie -----------------------------------------------------------------------------

    def place(self, array: str, k: int) -> str:
        return f"{array}[row + {_at(k)}]"

    def before(self, needed: frozenset[tuple[str, int]]) -> dict[str, str]:
        rows = enumerate(self.states)
        return {self.names.prev(s): f"{array}[prev + j]" for s, array in rows if ("prev", s) in needed}

    def pre_activations(self) -> dict[str, str]:
        sides = [("h", "hidden", "bias_hh"), ("x", "gates", "bias_ih")] if self.p.sided else [("a", "gates", "bias")]
        return {
            self.names.pre(side, k): f"{self.place(array, k)} + {bias}[{_at(k)}]"
            for k in range(len(self.p.gates)) for side, array, bias in sides
        }  # fmt: skip

    def store(self, s: int) -> str:
        return f"{self.states[s]}[cur + j] = {self.names.now(s)}"

    def arrived(self, s: int) -> str:
        return f"d{self.states[s]}[cur + j]"

    def send(self, s: int, message: str) -> str:
        return f"d{self.states[s]}[prev + j] {'=' if s else '+='} {message}"

    def vector_total(self, n: int) -> str:
        return f"dvectors[at + {_at(n)}]"


_TIMES = ("", "size", "two", "three", *(f"times_{k}" for k in range(4, 100)))  # names of multiples of size


def _at(k: int) -> str:
    return f"{_TIMES[k]} + j" if k else "j"


def source(program: Program) -> str:
    """The text of the module."""
    return Writer(program).source()
