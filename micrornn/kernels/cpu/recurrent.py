"""What the kernels of all cells share: who walks which lanes, and the message passed back in time.

A lane never looks at another lane. So the lanes are split over the threads, and each thread walks all time
steps of its own lanes alone: no core ever waits for another at a time step.

Very large recurrent weights (NEAR) are split instead: each core fetches its own columns of them at every time step,
not all, and multiplies all lanes by them ("wide"). The price is that the cores meet at each time step, which is dear
on a machine that has other work.

Index of the states: h has seq_len + 1 rows. Forward in time, step t reads h[t] and writes h[t + 1]; in reverse
it reads h[t + 1] and writes h[t]. `prev` and `cur` below are these two rows.
"""

from __future__ import annotations

import numpy as np

from micrornn.kernels.cpu.jit import TILE_BYTES, TILE_ROWS, kernel
from micrornn.kernels.cpu.multiply import multiply, ready
from micrornn.kernels.cpu.product import DEPTH, matmul, pack, packed_size
from micrornn.kernels.cpu.threads import bound, split, workspace

NEAR = 8 << 20  # bytes of recurrent weights, above which they are split over the cores rather than the lanes
ALONE = 2 << 20  # the same for a single lane, which cannot be split
AT_HAND = 3 << 19  # bytes of weights that a core keeps in its second-level cache from one time step to the next
UNIT = 16  # what the elementwise work of a pre-activation takes, in multiplications of a product
LANES = TILE_ROWS - 4  # of a part, from which on a single time step is worth a product of its own


def packed(weight, transposed, name):
    """The weights, or their transpose, packed for `times`."""
    depth, columns = weight.shape[::-1] if transposed else weight.shape
    p = workspace(packed_size(depth, columns, weight.dtype), weight.dtype, name)
    pack(p, 0, weight, transposed, 0, depth, 0, columns)
    return p


def plan(gates, weight_hh, transposed):
    """(parts, wide, p): into how many parts the lanes, or if `wide` the weights, are split, and the recurrent weights
    packed: transposed as the way forward wants them, or as the way back does."""
    ready(gates.dtype)
    seq_len, batch_size, columns = gates.shape
    if weight_hh is None:  # time steps are tied by what each unit keeps, and by nothing else
        return split(batch_size, seq_len * batch_size * columns * UNIT), False, workspace(1, gates.dtype, "weight_hh")
    wide = weight_hh.nbytes > (NEAR if batch_size > 1 else min(NEAR, ALONE))
    parts = split(columns if wide else batch_size, seq_len * batch_size * weight_hh.size)
    return parts, wide, packed(weight_hh, transposed, "weight_hh")


def inputs(gates, x, weight_ih, weight_hh, parts, wide):
    """(x, packed weights) for a loop over time that projects its inputs as it goes: gates then never leave the caches.

    Few lanes make low tiles, and large weights push each other out of the cache: then all steps are projected here
    at once, and x comes back empty.
    """
    columns, size = weight_ih.shape
    nbytes = weight_ih.nbytes + (0 if weight_hh is None else weight_hh.nbytes)
    if wide or nbytes > AT_HAND or gates.shape[1] < LANES * parts:
        matmul(gates.reshape(-1, columns), x.reshape(-1, size), weight_ih, trans_b=True)
        return x[:0], workspace(1, x.dtype, "weight_ih")
    return x, packed(weight_ih, True, "weight_ih")


def both(bias_ih, bias_hh):
    """The sum of both biases, which is all that a cell needs of them that does not tell the two sides apart."""
    if bias_hh is None:
        return bias_ih
    return np.add(bias_ih, bias_hh, workspace(bias_ih.size, bias_ih.dtype, "bias"))


@kernel(inline="always")
def rows(step, seq_len, reverse):
    """(t, prev, cur) of the step-th time step in the order of the forward pass."""
    t = seq_len - 1 - step if reverse else step
    return (t, t + 1, t) if reverse else (t, t, t + 1)


@kernel(inline="always")
def times(c, t_c, a, t_a, p, low, high, left, right, add):
    """c[t_c, low:high, left:right] (+)= a[t_a, low:high] P for the packed weights P; a and c are time-major. `left` is
    the first column of a panel."""
    depth, width = a.shape[2], TILE_BYTES // c.itemsize
    c_at, a_at = (t_c * c.shape[1] + low) * c.shape[2] + left, (t_a * a.shape[1] + low) * depth
    for k in range(0, depth, DEPTH):  # so much of a panel as stays in the first-level cache
        multiply(
            c.reshape(-1), c_at, c.shape[2], high - low, right - left, a.reshape(-1), a_at + k, depth,
            p, left * depth + k * width, width, depth, width, min(DEPTH, depth - k), 1 if k else add, 0,
        )  # fmt: skip


@kernel
def times_part(c, t_c, a, t_a, p, part, parts, add):
    """The same for all lanes, and this part's columns of c."""
    width = TILE_BYTES // c.itemsize
    panels = (c.shape[2] + width - 1) // width
    left, right = bound(part, parts, panels) * width, min(bound(part + 1, parts, panels) * width, c.shape[2])
    times(c, t_c, a, t_a, p, 0, c.shape[1], left, right, add)


@kernel
def copy_row(flat, to, at, size):
    """A masked step hands the state over as it is. Flat arrays, here and below."""
    for j in range(size):
        flat[to + j] = flat[at + j]


@kernel
def add_row(flat, to, at, size):
    """The way back through a masked step: everything for the step before."""
    for j in range(size):
        flat[to + j] += flat[at + j]


@kernel
def clear_row(flat, at, width):
    """And nothing for the gates."""
    for j in range(np.uint64(width)):
        flat[at + j] = 0


@kernel(inline="always")
def hold_back(grad, prev, low, high, held):
    """Set aside the cotangent that h[prev] has from its own output, to be added after clipping."""
    for b in range(low, high):
        for j in range(grad.shape[2]):
            held[b, j] = grad[prev, b, j]
            grad[prev, b, j] = 0


@kernel(inline="always")
def clip_message(grad, prev, low, high, clip):
    """Clip the message passed back from `cur` to `prev` to +-clip."""
    for b in range(low, high):
        for j in range(grad.shape[2]):
            grad[prev, b, j] = min(max(grad[prev, b, j], -clip), clip)


@kernel(inline="always")
def add_held(grad, prev, low, high, held):
    """Add what was held back."""
    for b in range(low, high):
        for j in range(grad.shape[2]):
            grad[prev, b, j] += held[b, j]
