"""The loop over the tiles of a matrix product, compiled once for all kernels that multiply.

    multiply(c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add, turned)
                      C (+)= A B; if `turned`, A^T B
    ready(dtype)      to be called before any kernel that calls it

Flat arrays; `*_at` is an offset, `*_row` the stride from row to row, `width` the columns of a panel of B. Of a packed
B, `b_row` is `width` too and `apart` the number of a panel's rows; of a B read where it lies, `apart` is 1, and all
panels are whole.

The twelve forms of a micro-kernel take half a second to compile, and Numba would compile them anew for each kernel
that calls one. So the loop around them is compiled as a C function, and kernels find it in a table whose address they
know by name.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from micrornn.kernels.cpu.jit import TILE_ROWS, callback
from micrornn.kernels.cpu.tile import pointer_to, tile


def loop(c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add, turned):
    """Panel by panel of B, tile by tile of C."""
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    for left in range(0, columns, width):
        n, panel = min(width, columns - left), b_at + left * apart
        for t in range(tiles):
            # tiles of 10 and 10 rows rather than 12 and 8: a low tile does not hide the latency of its sums
            low = t * rows // tiles
            m = (t + 1) * rows // tiles - low
            at = c_at + low * c_row + left
            first = a_at + (low if turned else low * a_row)
            tile(m, c, at, c_row, n, a, first, a_row, b, panel, b_row, count, add, turned)


_NUMBERS = (types.float32, types.float64)
_NAME = f"{__name__}.table"
_table = (ctypes.c_void_p * len(_NUMBERS))()
llvm.add_symbol(_NAME, ctypes.addressof(_table))
_kept: list[Any] = []  # what the table points to
_there: set[np.dtype] = set()


def ready(dtype: np.dtype) -> None:
    """Put the loop for numbers of this type into the table, unless it is there."""
    if dtype in _there or config.DISABLE_JIT:
        return
    for place, number in enumerate(_NUMBERS):
        if number.name == dtype.name:
            i8, pointer = types.intp, types.CPointer(number)
            signature = types.void(pointer, i8, i8, i8, i8, pointer, i8, i8, pointer, i8, i8, i8, i8, i8, i8, i8)
            _kept.append(callback(signature, loop))
            _table[place] = _kept[-1].address
    _there.add(dtype)


@intrinsic
def _through_table(typing, c, c_at, c_row, rows, columns, a, a_at, a_row, b, b_at, b_row, apart, width, count, add,
                   turned):  # fmt: skip
    """A call of the loop in the table, for use in kernels."""
    i8 = types.intp
    signature = types.none(c, i8, i8, i8, i8, a, i8, i8, b, i8, i8, i8, i8, i8, i8, i8)

    def generate(context, builder, signature, args):
        place = _NUMBERS.index(signature.args[0].dtype)
        table = builder.module.globals.get(_NAME)
        if table is None:
            table = ir.GlobalVariable(builder.module, ir.ArrayType(ir.PointerType(), len(_NUMBERS)), _NAME)
        given = [pointer_to(context, builder, kind, arg) for kind, arg in zip(signature.args, args)]
        kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in given])
        at = builder.gep(table, [ir.IntType(64)(0), ir.IntType(64)(place)], source_etype=table.value_type)
        builder.call(builder.load(at, typ=kind.as_pointer()), given)
        return context.get_dummy_value()

    return signature, generate


multiply = loop if config.DISABLE_JIT else _through_table
