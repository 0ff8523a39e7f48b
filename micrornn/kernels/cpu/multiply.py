"""The loop over the tiles of a matrix product, compiled once for all kernels that multiply.

    C (+)= A B        multiply(c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add)
    C (+)= A^T B      multiply_t(the same)
    ready(dtype)      to be called before any kernel that calls one of them

Flat arrays; `*_at` is an offset, `*_row` the stride from row to row, `width` the columns of a panel of B. Of a packed
B, `b_row` is `width` too and `apart` the number of a panel's rows; of a B read where it lies, `apart` is 1, and all
panels are whole.

The twelve forms of a micro-kernel take half a second to compile, and Numba would compile them anew for each kernel
that calls one. So the loop around them is compiled as a C function, and kernels find it in a table whose address they
know by name.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from micrornn.kernels.cpu.jit import TILE_ROWS, callback
from micrornn.kernels.cpu.tile import pointer_to, tile, tile_t


def loop(c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add):
    """Panel by panel of B, tile by tile of C."""
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for left in range(0, columns, width):
        n, panel = min(width, columns - left), b_at + left * apart
        for t in range(tiles):
            # tiles of 10 and 10 rows rather than 12 and 8: a low tile does not hide the latency of its sums
            low = t * rows // tiles
            m = (t + 1) * rows // tiles - low
            at = c_at + low * c_row + left
            tile(m, c, at, c_row, n, a, a_at + low * a_row, a_row, b, panel, b_row, count, add)


def loop_t(c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add):
    """The same for an A that lies transposed."""
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for left in range(0, columns, width):
        n, panel = min(width, columns - left), b_at + left * apart
        for t in range(tiles):
            low = t * rows // tiles
            m = (t + 1) * rows // tiles - low
            at = c_at + low * c_row + left
            tile_t(m, c, at, c_row, n, a, a_at + low, a_row, b, panel, b_row, count, add)


_LOOPS = [(number, function) for number in (types.float32, types.float64) for function in (loop, loop_t)]
_NAME = f"{__name__}.table"
_table = (ctypes.c_void_p * len(_LOOPS))()
llvm.add_symbol(_NAME, ctypes.addressof(_table))
_kept: list[Any] = []  # what the table points to
_there: set[np.dtype] = set()


def ready(dtype: np.dtype) -> None:
    """Put the loops for numbers of this type into the table, unless they are there."""
    if dtype in _there or config.DISABLE_JIT:
        return
    for place, (number, function) in enumerate(_LOOPS):
        if number.name == dtype.name:
            i8, pointer = types.intp, types.CPointer(number)
            signature = types.void(pointer, i8, i8, i8, i8, pointer, i8, i8, pointer, i8, i8, i8, i8, i8, i8)
            _kept.append(callback(signature, function))
            _table[place] = _kept[-1].address
    _there.add(dtype)


def _through_table(function: Callable[..., None]) -> Any:
    """A call of the loop in the table, for use in kernels."""

    @intrinsic
    def multiply(typing, c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add):
        i8 = types.intp
        signature = types.none(c, i8, i8, i8, i8, a, i8, i8, b, i8, i8, i8, i8, i8, i8)

        def generate(context, builder, signature, args):
            place = _LOOPS.index((signature.args[0].dtype, function))
            table = builder.module.globals.get(_NAME)
            if table is None:
                table = ir.GlobalVariable(builder.module, ir.ArrayType(ir.PointerType(), len(_LOOPS)), _NAME)
            given = [pointer_to(context, builder, kind, arg) for kind, arg in zip(signature.args, args)]
            kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in given])
            at = builder.gep(table, [ir.IntType(64)(0), ir.IntType(64)(place)], source_etype=table.value_type)
            builder.call(builder.load(at, typ=kind.as_pointer()), given)
            return context.get_dummy_value()

        return signature, generate

    return multiply


multiply = loop if config.DISABLE_JIT else _through_table(loop)
multiply_t = loop_t if config.DISABLE_JIT else _through_table(loop_t)
