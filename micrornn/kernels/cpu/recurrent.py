"""What the three recurrent kernels share: who walks which lanes, and the message passed back in time.

A lane never looks at another lane. So the lanes are split over the threads, and each thread walks all time
steps of its own lanes alone: no core ever waits for another at a time step.

Index of the states: h has seq_len + 1 rows. Forward in time, step t reads h[t] and writes h[t + 1]; in reverse
it reads h[t + 1] and writes h[t]. `prev` and `cur` below are these two rows.
"""

from __future__ import annotations

import numpy as np

from micrornn.kernels.cpu.jit import TILE_BYTES, kernel
from micrornn.kernels.cpu.product import multiply, pack, packed_size
from micrornn.kernels.cpu.threads import bound, split, workspace


def plan(states, gates, weight_hh):
    """(parts, panels): into how many parts the lanes are split, and room for the packed recurrent weights."""
    seq_len, batch_size = gates.shape[:2]
    parts = split(batch_size, seq_len * batch_size * weight_hh.size)
    # either orientation of the weights must fit
    size = max(packed_size(*weight_hh.shape, states.dtype), packed_size(*weight_hh.shape[::-1], states.dtype))
    return parts, workspace(size, states.dtype)


def both(bias_ih, bias_hh):
    """The sum of both biases, which is all that RNN and LSTM need of them."""
    return np.add(bias_ih, bias_hh, out=workspace(bias_ih.shape, bias_ih.dtype, "bias"))


@kernel
def pack_part(p, weight, transposed, part, parts):
    """Pack this part's share of the panels of the recurrent weights."""
    depth, columns = weight.shape[::-1] if transposed else weight.shape
    width = TILE_BYTES // weight.itemsize
    panels = (columns + width - 1) // width
    n0, n1 = bound(part, parts, panels) * width, min(bound(part + 1, parts, panels) * width, columns)
    pack(p, n0 * depth, weight, transposed, 0, depth, n0, n1)


@kernel
def times(c, t_c, columns, a, t_a, p, low, high, add):
    """c[t_c, low:high] (+)= a[t_a, low:high] P for the packed weights P; a and c are time-major."""
    depth = a.shape[2]
    multiply(
        c.reshape(-1), (t_c * c.shape[1] + low) * c.shape[2], c.shape[2], high - low, columns,
        a.reshape(-1), (t_a * a.shape[1] + low) * depth, depth, p, 0, depth, add,
    )  # fmt: skip


@kernel
def copy(out, row):
    """A masked step hands the state over as it is."""
    for j in range(row.size):
        out[j] = row[j]


@kernel
def carry_back(drow, dprev, dcur):
    """The way back through a masked step: nothing for the gates, everything for the step before."""
    for j in range(drow.size):
        drow[j] = 0
    for j in range(dcur.size):
        dprev[j] += dcur[j]


@kernel
def hold_back(grad, prev, low, high, held):
    """Set aside the cotangent that h[prev] has from its own output, to be added after clipping."""
    for b in range(low, high):
        for j in range(grad.shape[2]):
            held[b, j] = grad[prev, b, j]
            grad[prev, b, j] = 0


@kernel
def clip_message(grad, prev, low, high, held, clip):
    """Clip the message passed back from `cur` to `prev` to +-clip and add what was held back."""
    for b in range(low, high):
        for j in range(grad.shape[2]):
            grad[prev, b, j] = min(max(grad[prev, b, j], -clip), clip) + held[b, j]
