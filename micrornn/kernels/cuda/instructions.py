"""Instructions of the card that Numba has no word for, each as a function that kernels call.

load4(x, i)               x[i], x[i + 1], x[i + 2], x[i + 3] in one instruction; i a multiple of 4
store4(x, i, four)        the same way back
round_tf32(x)             a float32 with the 10 bits behind the point that a tensor core sees
mma(c, a, b)              C + A B of 16 x 8 x 8 numbers by a whole warp, on tensor cores; each lane holds a fragment
this_thread()             cuda.threadIdx.x, asked anew each time
exchange(x, apart, box)   x of another thread of the warp
together()                all blocks of the grid are on the card at once: a cooperative launch
arrive(counters, i)       counters[i] += 1, and whoever sees it sees all that this thread has seen
arrived(counters, i)      counters[i], and what is read after is no older

Which numbers of A (16 x 8), B (8 x 8) and C (16 x 8) a lane's fragments hold is told by the PTX ISA, "Matrix Fragments
for mma.m16n8k8" with .tf32: with group = lane / 4 and member = lane % 4,

    a0 (group, member)   a1 (group + 8, member)   a2 (group, member + 4)   a3 (group + 8, member + 4)
    b0 (member, group)   b1 (member + 4, group)
    c0 (group, 2 member)   c1 (group, 2 member + 1)   c2 (group + 8, 2 member)   c3 (group + 8, 2 member + 1)

The simulator has no warps, and no block waits for another: there load4 is plain Python, rounding is left out, an
exchange goes through shared memory, and what is missing does not exist. The test that runs the kernel on tensor cores
there puts an emulation of mma in its place (tests/test_cuda_product.py).
"""

from __future__ import annotations

from typing import Any

from numba import float32

from micrornn.kernels.cuda.jit import SIM, cuda, device, intrinsic, ir, types

load4: Any
store4: Any
round_tf32: Any
mma: Any = None
this_thread: Any
exchange: Any
together: Any = None
arrive: Any = None
arrived: Any = None

if SIM:

    def load4(x, i):
        return x[i], x[i + 1], x[i + 2], x[i + 3]

    def store4(x, i, four):
        x[i], x[i + 1], x[i + 2], x[i + 3] = four

    def round_tf32(x):
        return x

    def this_thread():
        return cuda.threadIdx.x

    @device
    def exchange(x, apart, box):
        """One exchange later the same box may be used again."""
        boxes = cuda.shared.array(32 * 1024, float32)
        boxes[box * 1024 + cuda.threadIdx.x] = x
        cuda.syncthreads()
        return boxes[box * 1024 + (cuda.threadIdx.x ^ apart)]

else:

    def _asm(builder, result, code, constraints, arguments, moves=False):
        """An instruction; unless it `moves`, the compiler leaves it where it is, for others take part in it."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(ir.InlineAsm(kind, code, constraints, side_effect=not moves), arguments)

    def _at(context, builder, x, arguments):
        """A pointer to x[i]."""
        return builder.gep(context.make_array(x)(context, builder, arguments[0]).data, [arguments[1]])

    def _four(context, builder, x, arguments):
        """A pointer to the four numbers from x[i] on."""
        at = _at(context, builder, x, arguments)
        return builder.bitcast(at, ir.VectorType(context.get_data_type(x.dtype), 4).as_pointer(at.type.addrspace))

    @intrinsic
    def load4(typing, x, i):
        def codegen(context, builder, signature, arguments):
            loaded = builder.load(_four(context, builder, x, arguments))
            loaded.align = 16  # of doubles, two such instructions
            found = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), n)) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(x.dtype, 4)(x, types.intp), codegen

    @intrinsic
    def store4(typing, x, i, four):
        def codegen(context, builder, signature, arguments):
            vector = ir.Constant(ir.VectorType(context.get_data_type(x.dtype), 4), ir.Undefined)
            for n in range(4):
                number = builder.extract_value(arguments[2], n)
                vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), n))
            builder.store(vector, _four(context, builder, x, arguments)).align = 16
            return context.get_dummy_value()

        return types.void(x, types.intp, four), codegen

    @intrinsic
    def round_tf32(typing, x):
        def codegen(context, builder, signature, arguments):
            bits = _asm(builder, ir.IntType(32), "cvt.rna.tf32.f32 $0, $1;", "=r,f", arguments, moves=True)
            return builder.bitcast(bits, ir.FloatType())

        return types.float32(types.float32), codegen

    @intrinsic
    def mma(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
        def codegen(context, builder, signature, arguments):
            code = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            code += "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
            given = [*(builder.bitcast(x, ir.IntType(32)) for x in arguments[4:]), *arguments[:4]]
            four = ir.LiteralStructType([ir.FloatType()] * 4)
            done = _asm(builder, four, code, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", given)
            found = [builder.extract_value(done, n) for n in range(4)]
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(types.float32, 4)(*[types.float32] * 10), codegen

    @intrinsic
    def this_thread(typing):
        """cuda.threadIdx.x, asked anew each time: else the compiler works out all that follows from it before the loop
        over time, and keeps it in registers that the weights need."""

        def codegen(context, builder, signature, arguments):
            return builder.zext(_asm(builder, ir.IntType(32), "mov.u32 $0, %tid.x;", "=r", []), ir.IntType(64))

        return types.int64(), codegen

    @device
    def exchange(x, apart, box):
        """x of the thread that is so far apart, a power of two. Another `box` than the exchange before."""
        return cuda.shfl_xor_sync(0xFFFFFFFF, x, apart)

    @intrinsic
    def together(typing):
        """All blocks of the grid must be resident at once: a cooperative launch. `cuda.cg.this_grid().sync()` does so
        on the side, but the call itself would cost time, and registers for a function of unknown needs."""

        def codegen(context, builder, signature, arguments):
            context.active_code_library.use_cooperative = True
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def arrive(typing, counters, i):
        def codegen(context, builder, signature, arguments):
            at = _at(context, builder, counters, arguments)
            code = "fence.acq_rel.gpu; red.relaxed.gpu.global.add.s32 [$0], 1;"
            _asm(builder, ir.VoidType(), code, "l,~{memory}", [at])
            return context.get_dummy_value()

        return types.void(counters, types.int64), codegen

    @intrinsic
    def arrived(typing, counters, i):
        def codegen(context, builder, signature, arguments):
            at = _at(context, builder, counters, arguments)
            return _asm(builder, ir.IntType(32), "ld.acquire.gpu.global.s32 $0, [$1];", "=r,l,~{memory}", [at])

        return types.int32(counters, types.int64), codegen
