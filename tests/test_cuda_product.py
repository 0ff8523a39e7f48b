"""Matrix products on the card, in Numba's simulator: every kernel and transpose, splits, the layout of tensor cores.

On a card, test_cuda_kernels.py and test_benchmarks_card.py multiply."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from micrornn.kernels.cuda import product, tile
from micrornn.kernels.cuda.array import asarray
from micrornn.kernels.cuda.jit import SIM

simulated = pytest.mark.skipif(not SIM, reason="where the threads of a card are Python's")

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def check(m: int, n: int, k: int, dtype: type, trans_a: bool, trans_b: bool, add: bool) -> np.ndarray:
    rng = np.random.default_rng(m + n + k)
    a, b = rng.normal(size=(k, m) if trans_a else (m, k)), rng.normal(size=(n, k) if trans_b else (k, n))
    out = rng.normal(size=(m, n))
    there = asarray(out.astype(dtype))
    product.matmul(there, asarray(a.astype(dtype)), asarray(b.astype(dtype)), trans_a, trans_b, add)
    wanted = (a.T if trans_a else a) @ (b.T if trans_b else b) + (out if add else 0)
    got = there.get()
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE[dtype] * k, err_msg=f"{m, n, k, dtype, trans_a, trans_b}")
    return got


@simulated
def test_products() -> None:
    """Plans of all kinds; the flags in all ways, in turn."""
    ways = itertools.cycle(itertools.product((False, True), repeat=3))
    kinds = set()
    for m, n, k in ((1, 1, 1), (5, 3, 0), (0, 3, 2), (17, 33, 19), (16, 16, 40), (33, 5, 70), (33, 40, 9), (33, 17, 8)):
        for dtype in TOLERANCE:
            tile, parts = product.plan(m, n, k, np.dtype(dtype))
            kinds.add((tile, parts > 1))
            for trans_a, trans_b, add in [next(ways) for _ in range(3)]:
                first = check(m, n, k, dtype, trans_a, trans_b, add)
                if parts > 1:
                    assert np.array_equal(first, check(m, n, k, dtype, trans_a, trans_b, add))
    assert kinds == {(None, False), (product.SMALL, False), (product.SMALL, True), (product.LARGE, False)}, kinds


@simulated
def test_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel on tensor cores, with mma.sync emulated as the PTX ISA describes it: each thread brings the numbers
    that its fragments hold, in the order of the ISA's formulas, and takes its part of C."""
    warps: dict[int, dict[int, tuple[float, ...]]] = {}

    def mma(*fragments: float) -> tuple[float, ...]:
        t = tile.cuda.threadIdx.x
        lane, warp = t % 32, t // 32
        warps.setdefault(warp, {})[lane] = fragments
        tile.cuda.syncthreads()
        a, b, c = np.full((16, 8), np.nan), np.full((8, 8), np.nan), np.full((16, 8), np.nan)
        for other, held in warps[warp].items():
            group, member = other >> 2, other % 4
            for i in range(4):  # row = group for c0, c1, else group + 8; column = 2 member + (i & 1)
                c[group if i < 2 else group + 8, 2 * member + (i & 1)] = held[i]
            for i in range(4):  # row = group for a0, a2, else group + 8; column = member for a0, a1, else member + 4
                a[group if i in (0, 2) else group + 8, member if i < 2 else member + 4] = held[4 + i]
            for i in range(2):  # row = member for b0, else member + 4; column = group
                b[member if i == 0 else member + 4, group] = held[8 + i]
        whole = c + a @ b
        tile.cuda.syncthreads()
        group, member = lane >> 2, lane % 4
        return tuple(whole[group if i < 2 else group + 8, 2 * member + (i & 1)] for i in range(4))

    monkeypatch.setattr(tile, "mma", mma)
    for kind, size in ((product.SMALL_TENSOR, (18, 17, 13)), (product.LARGE_TENSOR, (33, 20, 11))):
        monkeypatch.setattr(product, "plan", lambda *_, kind=kind: (kind, 1))
        for trans_a, trans_b in itertools.product((False, True), repeat=2):
            check(*size, np.float32, trans_a, trans_b, trans_a)
