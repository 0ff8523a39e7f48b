"""What this processor could do at most: fused multiply-adds from register to register, and nothing else.

    fma_limit(threads)    GFLOP/s of float32, one FMA counted as two operations

It is the ceiling that benchmarks measure a kernel against. No memory is touched, so no real kernel reaches it.
"""

from __future__ import annotations

import time

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from micrornn.kernels.cpu.jit import VECTOR, kernel, parallel

CHAINS = 24  # independent sums: more than latency x ports of any processor so far, fewer than its registers
WIDTH = VECTOR // 4


@intrinsic
def _spin(typing, out, at, rounds):
    """`rounds` times: each of CHAINS vectors times a constant plus a constant; their sum goes to out[at]."""

    def generate(context, builder, signature, args):
        number = ir.FloatType()
        vector = ir.VectorType(number, WIDTH)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{WIDTH}f32"
        )
        data = context.make_array(out)(context, builder, args[0]).data
        place = builder.gep(data, [args[1]], source_etype=number)
        first = builder.load(place, typ=number)
        none, int32 = ir.Constant(vector, ir.Undefined), ir.IntType(32)
        starts = [builder.insert_element(none, first, int32(i % WIDTH)) for i in range(CHAINS)]
        factor = ir.Constant(vector, [0.999] * WIDTH)
        sums = [cgutils.alloca_once_value(builder, start) for start in starts]  # LLVM keeps them in registers
        with cgutils.for_range(builder, args[2]):
            for at in sums:
                builder.store(builder.call(fma, [builder.load(at), factor, factor]), at)
        total = builder.load(sums[0])
        for at in sums[1:]:
            total = builder.fadd(total, builder.load(at))
        builder.store(builder.extract_element(total, int32(0)), place)
        return context.get_dummy_value()

    return types.none(out, types.intp, types.intp), generate


@kernel
def _alone(out, rounds):
    _spin(out, 0, rounds)


@parallel
def _together(out, rounds):
    for part in prange(out.size // 16):
        _alone(out[part * 16 :], rounds)  # compiled, where a forked process walks over the parts in Python


def fma_limit(threads: int = 1, seconds: float = 0.2) -> float:
    """GFLOP/s of float32 on so many threads: the best of some tries, as the ceiling is what we are after."""
    out, rounds, best = np.zeros(16 * threads, np.float32), 2_000_000, 0.0
    run = _alone if threads == 1 else _together
    run(out, 10)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        run(out, rounds)
        best = max(best, 2 * CHAINS * WIDTH * rounds * threads / (time.perf_counter() - start) / 1e9)
    return best
