"""How the threads of a whole-sequence kernel meet: in a warp, and from block to block. The instructions for it.

    exchange(x, apart, box)     x of another thread of the warp
    together()                  all blocks of the grid are on the card at once: a cooperative launch
    meet(counters, arrivals)    wait for the other blocks of the group
    this_thread()               cuda.threadIdx.x, asked anew each time

Most of them are instructions that Numba has no word for. In the simulator there are no warps, and no block waits for
another: there an exchange goes through shared memory, and a group is one block.
"""

from __future__ import annotations

from typing import Any

from numba import float32

from micrornn.kernels.cuda.jit import SIM, cuda, device, intrinsic, ir, types

APART_BY = 32  # counters lie in different lines of the cache
ALL = 0xFFFFFFFF  # lanes of a warp

this_thread: Any
exchange: Any
together: Any
arrive: Any
arrived: Any

if SIM:

    @device
    def this_thread():
        return cuda.threadIdx.x

    @device
    def exchange(x, apart, box):
        """Through shared memory: the simulator has no warps. One exchange later the same box may be used again."""
        boxes = cuda.shared.array(32 * 1024, float32)
        boxes[box * 1024 + cuda.threadIdx.x] = x
        cuda.syncthreads()
        return boxes[box * 1024 + (cuda.threadIdx.x ^ apart)]

    @device
    def together():
        pass

    @device
    def arrive(counters, i):
        raise NotImplementedError("the simulator runs one block after the other")

    arrived = arrive

else:

    @intrinsic
    def this_thread(typing):
        """cuda.threadIdx.x, asked anew each time: else the compiler works out all that follows from it before the loop
        over time, and keeps it in registers that the weights need."""

        def codegen(context, builder, signature, arguments):
            asm = ir.InlineAsm(ir.FunctionType(ir.IntType(32), []), "mov.u32 $0, %tid.x;", "=r", side_effect=True)
            return builder.zext(builder.call(asm, []), ir.IntType(64))

        return types.int64(), codegen

    @device
    def exchange(x, apart, box):
        """x of the thread that is so far apart, a power of two. Another `box` than the exchange before."""
        return cuda.shfl_xor_sync(ALL, x, apart)

    @intrinsic
    def together(typing):
        """All blocks of the grid must be resident at once: a cooperative launch. `cuda.cg.this_grid().sync()` does so
        on the side, but the call itself would cost time, and registers for a function of unknown needs."""

        def codegen(context, builder, signature, arguments):
            context.active_code_library.use_cooperative = True
            return context.get_dummy_value()

        return types.void(), codegen

    def _at(context, builder, array, arguments):
        return builder.gep(context.make_array(array)(context, builder, arguments[0]).data, [arguments[1]])

    @intrinsic
    def arrive(typing, counters, i):
        """counters[i] += 1, and whoever sees it sees all that this thread has seen."""

        def codegen(context, builder, signature, arguments):
            at = _at(context, builder, counters, arguments)
            kind = ir.FunctionType(ir.VoidType(), [at.type])
            code = "fence.acq_rel.gpu; red.relaxed.gpu.global.add.s32 [$0], 1;"
            builder.call(ir.InlineAsm(kind, code, "l,~{memory}", side_effect=True), [at])
            return context.get_dummy_value()

        return types.void(counters, types.int64), codegen

    @intrinsic
    def arrived(typing, counters, i):
        """counters[i], and what is read after is no older."""

        def codegen(context, builder, signature, arguments):
            at = _at(context, builder, counters, arguments)
            kind = ir.FunctionType(ir.IntType(32), [at.type])
            code = "ld.acquire.gpu.global.s32 $0, [$1];"
            return builder.call(ir.InlineAsm(kind, code, "=r,l,~{memory}", side_effect=True), [at])

        return types.int32(counters, types.int64), codegen


@device
def meet(counters, arrivals):
    """Wait until this barrier was reached by all threads of the group's blocks: `arrivals` blocks since the launch.

    What the threads of a block wrote before comes before its thread 0's fence (syncthreads), that before the count (a
    fence orders all that a thread has seen, not its own writes alone), the count before whoever reads it with
    `acquire`, and that before what the threads of its block read after (syncthreads). To acquire also empties the
    multiprocessor's first-level cache, which knows nothing of what others write.
    """
    cuda.syncthreads()
    if arrivals:
        if cuda.threadIdx.x == 0:
            arrive(counters, cuda.blockIdx.x * APART_BY)
            while arrived(counters, cuda.blockIdx.x * APART_BY) < arrivals:
                pass
        cuda.syncthreads()
