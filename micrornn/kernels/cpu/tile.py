"""The micro-kernel: one tile of a matrix product, held in vector registers.

    C[0:m, 0:n] (+)= A[0:m, 0:count] P[0:count, 0:n]

P is a packed panel: rows of `width` numbers lie one behind the other, so the loop over k reads memory in one
straight line. The m x `width` sums stay in registers for the whole loop: each number of A is read once per
`width` products, each of P once per m.

Numba cannot be asked for "these 24 vectors in registers" in Python, so `tile` writes the LLVM code itself.
`plain_tile` is the same in Python; it is what runs under NUMBA_DISABLE_JIT=1, and what the other is held
against.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from micrornn.kernels.cpu.jit import TILE_BYTES, TILE_ROWS

UNROLL = 4  # steps of k in one turn of the loop over a packed A: no instruction but loads and products is left in it


def plain_tile(m, c, c_at, c_row, n, a, a_at, a_row, p, p_at, count, add):
    """The micro-kernel, plainly. Arrays are flat, `*_at` is an offset, `*_row` the stride from row to row."""
    width = TILE_BYTES // c.itemsize
    for i in range(m):
        for j in range(n):
            total = c[c_at + i * c_row + j] if add else c.dtype.type(0)
            for k in range(count):
                total += a[a_at + i * a_row + k] * p[p_at + k * width + j]
            c[c_at + i * c_row + j] = total


def plain_packed_tile(m, c, c_at, c_row, n, a, a_at, p, p_at, count, add):
    """The same for an A that is packed too: the m numbers of one k side by side (product.pack_rows)."""
    width = TILE_BYTES // c.itemsize
    for i in range(m):
        for j in range(n):
            total = c[c_at + i * c_row + j] if add else c.dtype.type(0)
            for k in range(count):
                total += a[a_at + k * m + i] * p[p_at + k * width + j]
            c[c_at + i * c_row + j] = total


class _Writer:
    """Writes the LLVM code of one tile of `m` rows behind `builder`."""

    def __init__(self, builder: ir.IRBuilder, number: Any, scalar: ir.Type, values: dict[str, ir.Value]):
        self.builder, self.values, self.scalar = builder, values, scalar
        self.packed = "a_row" not in values
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
        self.align = int32(self.bytes)

    def splat(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """The same value in every place of a vector."""
        nothing = ir.Constant(ir.VectorType(kind, self.width), ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.IntType(32)(0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, nothing, places)

    def at(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset], source_etype=self.scalar)

    def loop(self, start: ir.Value, sums: list[ir.Value], m: int, chains: int, unroll: int) -> tuple[ir.Value, list]:
        """for k in start, start + unroll, ... while it fits: sums[k % chains][i] += A[i, k] P[k], for `unroll` k's."""
        b, index = self.builder, ir.IntType(64)
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
        panel = self.at(self.values["p"], b.mul(k, index(self.width)))
        if self.packed:
            tile = self.at(self.values["a"], b.mul(k, index(m)))
        else:
            rows = [self.at(self.values["a"], b.add(b.mul(index(i), self.values["a_row"]), k)) for i in range(m)]
        totals = list(phis)
        for step in range(unroll):
            row = b.load(self.at(panel, index(step * self.width)), typ=self.vector)
            row.align = self.bytes
            for i in range(m):
                place = self.at(tile, index(step * m + i)) if self.packed else self.at(rows[i], index(step))
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
        unroll = UNROLL if self.packed else chains
        zero = ir.Constant(self.vector, [0.0] * self.width)
        places = ir.Constant(ir.VectorType(index, self.width), list(range(self.width)))
        inside = b.icmp_signed("<", places, self.splat(values["n"], index))  # the last panel may be narrower
        add = self.splat(b.icmp_signed("!=", values["add"], index(0)), ir.IntType(1))
        rows = [self.at(values["c"], b.mul(index(i), values["c_row"])) for i in range(m)]
        sums = [b.call(self.load, [row, self.align, b.and_(inside, add), zero]) for row in rows]
        k, sums = self.loop(index(0), sums + [zero] * (m * (chains - 1)), m, chains, unroll)
        if unroll > 1:
            _, sums = self.loop(k, sums, m, chains, 1)  # what is left of k when count is no multiple of it
        for chain in range(1, chains):
            sums[:m] = [b.fadd(sums[i], sums[chain * m + i]) for i in range(m)]
        for i in range(m):
            b.call(self.store, [sums[i], rows[i], self.align, inside])


def _generator(names: tuple[str, ...], number: Any, arrays: dict[str, Any]) -> Any:
    """The code of the micro-kernel for 1 <= m <= TILE_ROWS, as a switch over m."""

    def generate(context, builder, signature, args):
        values, scalar = dict(zip(names, args)), context.get_value_type(number)
        for name, kind in arrays.items():
            data = context.make_array(kind)(context, builder, values[name]).data
            values[name] = builder.gep(data, [values[name + "_at"]], source_etype=scalar)
        end = builder.append_basic_block()
        switch = builder.switch(values["m"], end)
        for m in range(1, TILE_ROWS + 1):
            block = builder.append_basic_block()
            switch.add_case(ir.IntType(64)(m), block)
            builder.position_at_end(block)
            _Writer(builder, number, scalar, values).tile(m)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return generate


@intrinsic
def vector_tile(typing, m, c, c_at, c_row, n, a, a_at, a_row, p, p_at, count, add):
    """`plain_tile` in vector registers."""
    names = ("m", "c", "c_at", "c_row", "n", "a", "a_at", "a_row", "p", "p_at", "count", "add")
    i8 = types.intp
    generate = _generator(names, c.dtype, {"c": c, "a": a, "p": p})
    return types.none(i8, c, i8, i8, i8, a, i8, i8, p, i8, i8, i8), generate


@intrinsic
def vector_packed_tile(typing, m, c, c_at, c_row, n, a, a_at, p, p_at, count, add):
    """`plain_packed_tile` in vector registers."""
    names = ("m", "c", "c_at", "c_row", "n", "a", "a_at", "p", "p_at", "count", "add")
    i8 = types.intp
    generate = _generator(names, c.dtype, {"c": c, "a": a, "p": p})
    return types.none(i8, c, i8, i8, i8, a, i8, p, i8, i8, i8), generate


tile = plain_tile if config.DISABLE_JIT else vector_tile
packed_tile = plain_packed_tile if config.DISABLE_JIT else vector_packed_tile
