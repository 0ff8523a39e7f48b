"""Instructions of the card that Numba has no word for, each as a function that kernels call.

load4(x, i)          x[i], x[i + 1], x[i + 2], x[i + 3] in one instruction; i a multiple of 4
store4(x, i, four)   the same way back
round_tf32(x)        a float32 with the 10 bits behind the point that a tensor core sees
mma(c, a, b)         C + A B of 16 x 8 x 8 numbers by a whole warp, on tensor cores; each lane holds a fragment

a_row, a_column, b_row, b_column, c_row, c_column tell which numbers of A (16 x 8), B (8 x 8) and C (16 x 8) a
lane's fragments hold. The layout is that of the PTX ISA, "Matrix Fragments for mma.m16n8k8" with .tf32: with
group = lane / 4 and member = lane % 4,

    a0 (group, member)   a1 (group + 8, member)   a2 (group, member + 4)   a3 (group + 8, member + 4)
    b0 (member, group)   b1 (member + 4, group)
    c0 (group, 2 member)   c1 (group, 2 member + 1)   c2 (group + 8, 2 member)   c3 (group + 8, 2 member + 1)

The simulator has no warps: there load4 is plain Python, rounding is left out and mma does not exist; the test that
runs the kernel on tensor cores there puts an emulation of it in its place (tests/test_cuda_product.py).
"""

from __future__ import annotations

from typing import Any

from micrornn.kernels.cuda.jit import SIM, device, intrinsic, ir, types


@device
def a_row(lane, i):
    return (lane >> 2) + 8 * (i & 1)


@device
def a_column(lane, i):
    return (lane & 3) + 4 * (i >> 1)


@device
def b_row(lane, i):
    return (lane & 3) + 4 * i


@device
def b_column(lane, i):
    return lane >> 2


@device
def c_row(lane, i):
    return (lane >> 2) + 8 * (i >> 1)


@device
def c_column(lane, i):
    return 2 * (lane & 3) + (i & 1)


load4: Any
store4: Any
round_tf32: Any
mma: Any

if SIM:

    def load4(x, i):
        return x[i], x[i + 1], x[i + 2], x[i + 3]

    def store4(x, i, four):
        x[i], x[i + 1], x[i + 2], x[i + 3] = four

    def round_tf32(x):
        return x

    def mma(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
        raise NotImplementedError("the simulator has no tensor cores")

else:

    def _four(context, builder, x, arguments):
        """A pointer to the four numbers from x[i] on."""
        at = builder.gep(context.make_array(x)(context, builder, arguments[0]).data, [arguments[1]])
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
            kind = ir.FunctionType(ir.IntType(32), [ir.FloatType()])
            bits = builder.call(ir.InlineAsm(kind, "cvt.rna.tf32.f32 $0, $1;", "=r,f"), arguments)
            return builder.bitcast(bits, ir.FloatType())

        return types.float32(types.float32), codegen

    @intrinsic
    def mma(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
        def codegen(context, builder, signature, arguments):
            f, i = ir.FloatType(), ir.IntType(32)
            c, ab = arguments[:4], [builder.bitcast(x, i) for x in arguments[4:]]
            asm = ir.InlineAsm(
                ir.FunctionType(ir.LiteralStructType([f] * 4), [i] * 6 + [f] * 4),
                "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
                "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
                side_effect=True,  # all lanes of the warp take part: it must stay where it is
            )
            done = builder.call(asm, [*ab, *c])
            return context.make_tuple(
                builder, signature.return_type, [builder.extract_value(done, n) for n in range(4)]
            )

        return types.UniTuple(types.float32, 4)(*[types.float32] * 10), codegen
