"""Matrix products on the card: which kernel of tile.py does them, and with what grid.

matmul, add_bias            as in reference.py
set_precision(name)         "float32", or "tf32": float32 products on tensor cores, with 10 bits behind the point in
                            what is multiplied (sums stay float32). Five decimal places become three.
"""

from __future__ import annotations

import numpy as np

from micrornn.errors import ConfigError, DeviceError, instead
from micrornn.kernels.cuda import card
from micrornn.kernels.cuda.array import empty
from micrornn.kernels.cuda.elementwise import flat
from micrornn.kernels.cuda.jit import SIM, cuda, over
from micrornn.kernels.cuda.tile import DEPTH, Tile, add_parts, plain, tiled

PRECISIONS = ("float32", "tf32")
TF32 = (8, 0)  # the first compute capability whose tensor cores know it


# In the simulator a thread of the card is one of Python's: tiles are as small as the kernels allow.
if SIM:
    SMALL, LARGE = tiled(16, 4, 4), tiled(32, 8, 4)
    SMALL_TENSOR, LARGE_TENSOR = tiled(16, 16, 8, cores=True), tiled(32, 32, 16, cores=True)
else:
    SMALL, LARGE = tiled(64, 4, 4), tiled(128, 8, 8, deep=8)
    SMALL_TENSOR, LARGE_TENSOR = tiled(64, 32, 16, cores=True), tiled(128, 64, 32, cores=True)

PLAIN = 2**8 if SIM else 2**18  # multiplications up to which a thread per number is as good: it costs but the launch
LONGEST = 256  # k's that a single thread adds up; the gradient of few weights is a sum over all time steps and lanes
ENOUGH = 4 if SIM else 256  # blocks that keep every multiprocessor of the largest cards busy. A constant, not the
# card's own number: how a sum is split, and so its last bits, is then the same on every card
SHORTEST = 2 * DEPTH if SIM else 4 * DEPTH  # k's of a part: below, to add the parts would cost more than it brings

_precision = "float32"


def set_precision(name: str) -> None:
    """How float32 products are computed from now on."""
    global _precision
    if name not in PRECISIONS:
        raise ConfigError(f"there is no precision {name!r} of products{instead(name, PRECISIONS)}")
    if name == "tf32" and not SIM and card.compute_capability() < TF32:
        raise DeviceError(f"{card.name()} does not know tf32, which came with compute capability 8.0; use float32")
    _precision = name


def plan(rows: int, columns: int, depth: int, dtype: np.dtype) -> tuple[Tile | None, int]:
    """(tile, parts into which the sum over k is split); no tile: a thread per number.

    Large tiles fetch each number half as often, but only where there are enough of them for all multiprocessors; nor
    does a large tile of float64 fit. Weight gradients are few tiles with a long sum: there the sum is split.
    """
    if rows * columns * depth <= PLAIN and depth <= LONGEST:
        return None, 1
    # The simulator has no tensor cores: it computes in float32 whatever was asked for.
    tf32 = _precision == "tf32" and dtype == np.float32 and not SIM
    if dtype == np.float32 and _tiles(rows, columns, LARGE.width) >= ENOUGH:
        return LARGE_TENSOR if tf32 else LARGE, 1
    parts = min(ENOUGH // _tiles(rows, columns, SMALL.width), depth // SHORTEST)
    return SMALL_TENSOR if tf32 else SMALL, max(parts, 1)


def _tiles(rows: int, columns: int, width: int) -> int:
    return -(-rows // width) * -(-columns // width)


def matmul(out, a, b, trans_a=False, trans_b=False, accumulate=False):
    """out (M, N) (+)= op(a) op(b), where op transposes if asked."""
    (rows, columns), depth = out.shape, a.shape[0] if trans_a else a.shape[1]
    if not rows * columns:
        return
    tile, parts = plan(rows, columns, depth, out.dtype)
    sizes = rows, columns, depth, bool(trans_a), bool(trans_b)
    if tile is None:
        plain[over(rows * columns)](out.flat, a.flat, b.flat, *sizes, bool(accumulate))
        return
    each = -(-depth // (parts * DEPTH)) * DEPTH
    parts = -(-depth // each)
    grid = -(-rows // tile.width), -(-columns // tile.width), parts
    launch = tile.kernel[grid, tile.threads]
    if parts == 1:
        launch(out.flat, a.flat, b.flat, *sizes, bool(accumulate), each)
        return
    whole = empty((parts, rows, columns), out.dtype)
    launch(whole.flat, a.flat, b.flat, *sizes, False, each)
    add_parts[over(out.size)](out.flat, whole.flat, parts, bool(accumulate))


@flat
def add_bias(out, bias):
    """out (R, N) += bias (N,), row by row."""
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] += bias[i % bias.size]
