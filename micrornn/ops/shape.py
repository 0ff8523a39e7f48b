"""Numbers moved, not changed: reshape, transpose, concatenate, split, stack, unstack, getitem."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from micrornn.arguments import wholes
from micrornn.errors import ShapeError, counted
from micrornn.kernels import Kernels
from micrornn.ops.axes import normal_axis
from micrornn.tape import op


@op
def reshape(k, x, *, shape):
    """y = x in another shape with the same number of numbers;  dx = dy in the shape of x."""
    shape = wholes("reshape: shape", shape)
    try:
        return x.reshape(shape), x.shape
    except ValueError:
        raise ShapeError(f"reshape: {x.shape} holds {counted(x.size, 'number')}, which do not fill {shape}") from None


@reshape.vjp
def reshape_vjp(k, shape, dy, needs):
    return (dy.reshape(shape),)


@op
def transpose(k, x, *, axes=None):
    """y = x with its axes in another order (reversed if None);  dx = dy with them put back."""
    axes = tuple(range(x.ndim))[::-1] if axes is None else wholes("transpose: axes", axes)
    axes = tuple(axis + x.ndim if axis < 0 else axis for axis in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"transpose: axes {axes} do not name each axis of {x.shape} once")
    return k.contiguous(x.transpose(axes)), axes


@transpose.vjp
def transpose_vjp(k, axes, dy, needs):
    return (k.contiguous(dy.transpose(tuple(np.argsort(axes)))),)


def _cut(k: Kernels, x: np.ndarray, sizes: list[int], axis: int) -> list[np.ndarray]:
    """Pieces of x along an axis."""
    starts = np.cumsum([0, *sizes])
    whole = (slice(None),) * axis
    return [k.contiguous(x[(*whole, slice(a, b))]) for a, b in pairwise(starts)]


def _join(k: Kernels, pieces: list[np.ndarray], axis: int) -> np.ndarray:
    """The opposite of `_cut`."""
    sizes = [piece.shape[axis] for piece in pieces]
    first = pieces[0]
    y = k.empty((*first.shape[:axis], sum(sizes), *first.shape[axis + 1 :]), first.dtype)
    starts = np.cumsum([0, *sizes])
    for piece, a, b in zip(pieces, starts, starts[1:]):
        y[(*(slice(None),) * axis, slice(a, b))] = piece
    return y


@op
def concatenate(k, *pieces, axis=0):
    """y = the pieces end to end along an axis;  each piece's cotangent is its part of dy."""
    axis = normal_axis("concatenate", axis, pieces[0].ndim)
    shapes = {(piece.ndim, piece.shape[:axis] + piece.shape[axis + 1 :]) for piece in pieces}
    if len(shapes) > 1:
        raise ShapeError(f"concatenate: shapes {[p.shape for p in pieces]} differ off axis {axis}")
    return _join(k, list(pieces), axis), ([piece.shape[axis] for piece in pieces], axis)


@concatenate.vjp
def concatenate_vjp(k, saved, dy, needs):
    return _cut(k, dy, *saved)


@op
def split(k, x, *, sizes, axis=0):
    """y_1, y_2, ... = pieces of these sizes along an axis;  dx = their cotangents end to end."""
    axis, sizes = normal_axis("split", axis, x.ndim), wholes("split: sizes", sizes, least=0)
    if sum(sizes) != x.shape[axis]:
        raise ShapeError(f"split: sizes {list(sizes)} add up to {sum(sizes)}, axis {axis} of {x.shape} does not")
    pieces = tuple(_cut(k, x, list(sizes), axis))
    return pieces, ([piece.shape for piece in pieces], x.dtype, axis)


@split.vjp
def split_vjp(k, saved, dys, needs):
    shapes, dtype, axis = saved
    dys = dys if isinstance(dys, tuple) else (dys,)
    return (_join(k, [k.zeros(s, dtype) if dy is None else dy for dy, s in zip(dys, shapes)], axis),)


@op
def stack(k, *pieces):
    """y = the pieces side by side along a new first axis;  each piece's cotangent is its row of dy."""
    if len(pieces) != 1 and len({piece.shape for piece in pieces}) != 1:
        raise ShapeError(f"stack: shapes {sorted({p.shape for p in pieces})} must all be equal")
    y = k.empty((len(pieces), *pieces[0].shape), pieces[0].dtype)
    for i, piece in enumerate(pieces):
        y[i, ...] = piece
    return y, None


@stack.vjp
def stack_vjp(k, saved, dy, needs):
    return tuple(dy[i, ...] for i in range(len(dy)))


@op
def unstack(k, x):
    """y_0, y_1, ... = x[0], x[1], ...;  dx = their cotangents stacked. One record for a whole sequence: T slices
    would each send back an array as large as x."""
    if not x.ndim:
        raise ShapeError("unstack: a single number has no rows")
    return tuple(x[i, ...] for i in range(len(x))), (x.shape, x.dtype)


@unstack.vjp
def unstack_vjp(k, saved, dys, needs):
    shape, dtype = saved
    dx = k.zeros(shape, dtype)
    for i, dy in enumerate(dys if isinstance(dys, tuple) else (dys,)):
        if dy is not None:
            dx[i, ...] = dy
    return (dx,)


@op
def getitem(k, x, *, index):
    """y = x[index];  dx = zeros with dy added at the index. index: integers, slices, `...`, or one integer array
    for the first axis, in which an index may stand more than once."""
    if isinstance(index, (list, np.ndarray)):
        ids, shape = _rows(x.shape, index)
        flat = k.asarray(ids)
        y = k.empty((flat.size, math.prod(x.shape[1:])), x.dtype)
        k.gather(y, x.reshape(len(x), y.shape[1]), flat)
        return y.reshape((*shape, *x.shape[1:])), (None, flat, x.shape)
    for part in index if isinstance(index, tuple) else (index,):
        plain = part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice))
        if not plain or isinstance(part, bool):
            raise ShapeError(f"getitem: cannot index by {part!r:.60}; use integers, slices, or one integer array alone")
    try:
        return k.contiguous(x[index]), (index, None, x.shape)
    except (IndexError, TypeError, ValueError) as error:  # too many, beyond the end, or a slice that is none
        raise ShapeError(f"getitem: shape {x.shape}: {error}") from None


def _rows(shape: tuple[int, ...], index: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """(rows counted from the start, int32 and flat; the shape of the index)."""
    if not shape:
        raise ShapeError("getitem: a single number cannot be indexed")
    try:
        index = np.asarray(index)
    except ValueError:
        raise ShapeError("getitem: the index has rows of different lengths") from None
    if not index.size:
        index = index.astype(np.int32)
    if index.dtype.kind not in "iu":
        raise ShapeError(f"getitem: an index array must hold integers, not {index.dtype}; for a mask use where")
    if index.size and not (-shape[0] <= index.min() and index.max() < shape[0]):
        raise ShapeError(f"getitem: index {index.min()}..{index.max()} of an axis of {shape[0]}")
    return np.ascontiguousarray(index.reshape(-1) % max(1, shape[0]), np.int32), index.shape


@getitem.vjp
def getitem_vjp(k, saved, dy, needs):
    index, ids, shape = saved
    dx = k.zeros(shape, dy.dtype)
    if ids is not None:
        size = math.prod(shape[1:])
        k.scatter_add(dx.reshape(shape[0], size), ids, dy.reshape(ids.size, size))
    else:
        dx[index] = dy
    return (dx,)
