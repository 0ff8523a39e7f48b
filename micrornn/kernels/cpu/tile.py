"""The micro-kernel: one tile of a matrix product, held in vector registers.

    C[0:m, 0:n] (+)= A[0:m, 0:count] B[0:count, 0:n]

Rows of B lie `b_row` numbers apart: in a packed panel `width` numbers, so that the loop over k reads memory in one
straight line. The m x `width` sums stay in registers for the whole loop: each number of A is read once per `width`
products, each of B once per m.

A lies by rows, A[i, k] at a + i a_row + k; if `turned`, by columns, as a transposed matrix does, at a + k a_row + i.

Numba cannot be asked for "these 24 vectors in registers" in Python, so `vector_tile` writes the LLVM code itself.
`plain_tile` is the same in Python; it is what runs under NUMBA_DISABLE_JIT=1, and what the other is compared
against.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from micrornn.kernels.cpu.jit import TILE_BYTES, TILE_ROWS

UNROLL = 4  # steps of k in one turn of the loop: no instruction but loads and products is left in it


def plain_tile(m, c, c_at, c_row, n, a, a_at, a_row, b, b_at, b_row, count, add, turned):
    """The micro-kernel, plainly. Arrays are flat, `*_at` is an offset, `*_row` the stride from row to row."""
    for i in range(m):
        for j in range(n):
            total = c[c_at + i * c_row + j] if add else c.dtype.type(0)
            for k in range(count):
                at = k * a_row + i if turned else i * a_row + k
                total += a[a_at + at] * b[b_at + k * b_row + j]
            c[c_at + i * c_row + j] = total


class _Writer:
    """Writes the LLVM code of one tile of `m` rows behind `builder`."""

    def __init__(self, builder: ir.IRBuilder, number: Any, scalar: ir.Type, values: dict[str, ir.Value],
                 transposed: bool):  # fmt: skip
        self.builder, self.values, self.scalar, self.transposed = builder, values, scalar, transposed
        self.width = TILE_BYTES * 8 // number.bitwidth
        self.bytes = number.bitwidth // 8
        self.vector = ir.VectorType(scalar, self.width)
        mask, pointer, int32 = ir.VectorType(ir.IntType(1), self.width), ir.PointerType(), ir.IntType(32)
        name = f"v{self.width}f{number.bitwidth}"

        def function(name: str, result: ir.Type, *parameters: ir.Type) -> ir.Function:
            return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, parameters), name)

        self.fma = function(f"llvm.fma.{name}", self.vector, self.vector, self.vector, self.vector)
        self.load = function(f"llvm.masked.load.{name}.p0", self.vector, pointer, int32, mask, self.vector)
        self.store = function(f"llvm.masked.store.{name}.p0", ir.VoidType(), self.vector, pointer, int32, mask)
        self.prefetch = function("llvm.prefetch.p0", ir.VoidType(), pointer, int32, int32, int32)
        self.align = int32(self.bytes)

    def splat(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """The same value in every place of a vector."""
        nothing = ir.Constant(ir.VectorType(kind, self.width), ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.IntType(32)(0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, nothing, places)

    def at(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset], source_etype=self.scalar)

    def fetch(self, row: ir.Value) -> None:
        """Ask for the cache lines of a row of C, without waiting for them."""
        int32 = ir.IntType(32)
        for line in range(0, TILE_BYTES, 64):
            place = self.at(row, ir.IntType(64)(line // self.bytes))
            self.builder.call(self.prefetch, [place, int32(0), int32(3), int32(1)])

    def places(self, k: ir.Value, m: int, unroll: int) -> list[list[ir.Value]]:
        """Where A[i, k + step] lies: a row for each step, a place for each i."""
        b, index, a, a_row = self.builder, ir.IntType(64), self.values["a"], self.values["a_row"]
        if self.transposed:
            steps = [self.at(a, b.mul(b.add(k, index(step)), a_row)) for step in range(unroll)]
            return [[self.at(step, index(i)) for i in range(m)] for step in steps]
        # A base and 0, 1 or 2 strides: twelve pointers, one for each row, would not fit the registers.
        bases = [self.at(a, b.add(b.mul(index(i), a_row), k)) for i in range(0, m, 3)]
        rows = [self.at(bases[i // 3], b.mul(index(i % 3), a_row)) for i in range(m)]
        return [[self.at(row, index(step)) for row in rows] for step in range(unroll)]

    def loop(self, start: ir.Value, sums: list[ir.Value], m: int, chains: int, unroll: int) -> tuple[ir.Value, list]:
        """for k in start, start + unroll, ... while it fits: sums[k % chains][i] += A[i, k] B[k], for `unroll` k's."""
        b, index, b_row = self.builder, ir.IntType(64), self.values["b_row"]
        before = b.block
        head, body, after = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        k = b.phi(index)
        k.add_incoming(start, before)
        phis = [b.phi(self.vector) for _ in sums]
        for phi, first in zip(phis, sums):
            phi.add_incoming(first, before)
        end = b.add(k, index(unroll))
        b.cbranch(b.icmp_signed("<=", end, self.values["count"]), body, after)
        b.position_at_end(body)
        totals = list(phis)
        for step, places in enumerate(self.places(k, m, unroll)):
            row = b.load(self.at(self.values["b"], b.mul(b.add(k, index(step)), b_row)), typ=self.vector)
            row.align = self.bytes
            for i, place in enumerate(places):
                number = self.splat(b.load(place, typ=self.scalar), self.scalar)
                at = step % chains * m + i
                totals[at] = b.call(self.fma, [number, row, totals[at]])
        for phi, total in zip(phis, totals):
            phi.add_incoming(total, body)
        k.add_incoming(end, body)
        b.branch(head)
        b.position_at_end(after)
        return k, list(phis)

    def tile(self, m: int) -> None:
        """An FMA takes four cycles and two start per cycle: with fewer than eight sums under way the core idles.
        So where m is small, k is split over several chains of sums that are added at the end."""
        b, index, values = self.builder, ir.IntType(64), self.values
        chains = max(1, 4 // m)
        # With rows far apart, LLVM would load ahead for all unrolled steps and run out of registers.
        unroll = UNROLL if self.transposed else chains
        zero = ir.Constant(self.vector, [0.0] * self.width)
        places = ir.Constant(ir.VectorType(index, self.width), list(range(self.width)))
        inside = b.icmp_signed("<", places, self.splat(values["n"], index))  # the last panel may be narrower
        add = self.splat(b.icmp_signed("!=", values["add"], index(0)), ir.IntType(1))
        rows = [self.at(values["c"], b.mul(index(i), values["c_row"])) for i in range(m)]
        # C may be far away, in the third-level cache: it is asked for now, and added when the sums are there.
        for row in rows:
            self.fetch(row)
        k, sums = self.loop(index(0), [zero] * (m * chains), m, chains, unroll)
        if unroll > 1:
            _, sums = self.loop(k, sums, m, chains, 1)  # what is left of k when count is no multiple of it
        for chain in range(1, chains):
            sums[:m] = [b.fadd(sums[i], sums[chain * m + i]) for i in range(m)]
        before = [b.call(self.load, [row, self.align, b.and_(inside, add), zero]) for row in rows]
        for row, total, old in zip(rows, sums, before):
            b.call(self.store, [b.fadd(total, old), row, self.align, inside])


@intrinsic
def vector_tile(typing, m, c, c_at, c_row, n, a, a_at, a_row, b, b_at, b_row, count, add, turned):
    """The micro-kernel for 1 <= m <= TILE_ROWS, as a switch over m and `turned`. Of flat arrays or bare pointers."""
    i8 = types.intp
    signature = types.none(i8, c, i8, i8, i8, a, i8, i8, b, i8, i8, i8, i8, i8)
    names = ("m", "c", "c_at", "c_row", "n", "a", "a_at", "a_row", "b", "b_at", "b_row", "count", "add", "turned")

    def generate(context, builder, signature, args):
        number = signature.args[1].dtype
        values, scalar = dict(zip(names, args)), context.get_value_type(number)
        for name, kind in {"c": signature.args[1], "a": signature.args[5], "b": signature.args[8]}.items():
            data = pointer_to(context, builder, kind, values[name])
            values[name] = builder.gep(data, [values[name + "_at"]], source_etype=scalar)
        end, most = builder.append_basic_block(), ir.IntType(64)(TILE_ROWS)
        switch = builder.switch(builder.add(values["m"], builder.mul(values["turned"], most)), end)
        for case in range(2 * TILE_ROWS):
            block = builder.append_basic_block()
            switch.add_case(ir.IntType(64)(case + 1), block)
            builder.position_at_end(block)
            _Writer(builder, number, scalar, values, transposed=case >= TILE_ROWS).tile(case % TILE_ROWS + 1)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, generate


def pointer_to(context: Any, builder: ir.IRBuilder, kind: Any, value: ir.Value) -> ir.Value:
    """Where the numbers of an array lie; a pointer, or a number, as it is."""
    return context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value


tile = plain_tile if config.DISABLE_JIT else vector_tile
