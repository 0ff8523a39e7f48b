"""Sums, means and maxima along axes; softmax and its logarithm."""

from __future__ import annotations

import math

import numpy as np

from micrornn.arguments import flag
from micrornn.errors import ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.axes import around, normal_axes, normal_axis, sum_axis
from micrornn.tape import op


def _sum(k: Kernels, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    y = x
    for axis in reversed(axes):
        y = sum_axis(k, y, axis, keepdims)
    return y


def _unsum(k: Kernels, dy: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """Repeat dy along the axes that were summed."""
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    return k.spread(dy.reshape(kept), shape)


@op
def sum(k, x, *, axis=None, keepdims=False):
    """y = sum of x along axis (an integer, several, or None for all);  dx = dy repeated."""
    axes, keepdims = normal_axes("sum", axis, x.ndim), flag("sum: keepdims", keepdims)
    return _sum(k, x, axes, keepdims), (x.shape, axes)


@sum.vjp
def sum_vjp(k, saved, dy, needs):
    return (_unsum(k, dy, *saved),)


@op
def mean(k, x, *, axis=None, keepdims=False):
    """y = sum of x / n along axis;  dx = dy / n repeated."""
    axes, keepdims = normal_axes("mean", axis, x.ndim), flag("mean: keepdims", keepdims)
    n = math.prod(x.shape[axis] for axis in axes)
    if not n:
        raise ShapeError(f"mean: nothing to average along {axes} of {x.shape}")
    total, y = _sum(k, x, axes, keepdims), None
    y = k.empty(total.shape, total.dtype)
    k.scale(y, total, 1 / n)
    return y, (x.shape, axes, n)


@mean.vjp
def mean_vjp(k, saved, dy, needs):
    shape, axes, n = saved
    share = k.empty(dy.shape, dy.dtype)
    k.scale(share, dy, 1 / n)
    return (_unsum(k, share, shape, axes),)


@op
def max(k, x, *, axis=None, keepdims=False):
    """y = the largest along axis (an integer, or None for all);  dx = dy where it stood (the first, if several)."""
    axis = None if axis is None else normal_axis("max", axis, x.ndim)
    sizes = (1, x.size, 1) if axis is None else around(x.shape, axis)
    if not sizes[1]:
        raise ShapeError(f"max: an axis of length 0 has no largest number: {x.shape}")
    y, place = k.empty((sizes[0], sizes[2]), x.dtype), k.empty((sizes[0], sizes[2]), np.int32)
    k.max(y, place, x.reshape(sizes))
    kept = (1,) if flag("max: keepdims", keepdims) else ()
    shape = kept * x.ndim if axis is None else (*x.shape[:axis], *kept, *x.shape[axis + 1 :])
    return y.reshape(shape), (place, sizes, x.shape)


@max.vjp
def max_vjp(k, saved, dy, needs):
    place, sizes, shape = saved
    dx = k.empty(sizes, dy.dtype)
    k.max_vjp(dx, dy.reshape(place.shape), place)
    return (dx.reshape(shape),)


def _require_numbers(name: str, x: np.ndarray) -> None:
    if not x.ndim or not x.shape[-1]:
        raise ShapeError(f"{name}: x has shape {x.shape}; its last axis must hold at least one number")


@op
def softmax(k, x):
    """y_i = e^x_i / sum_j e^x_j along the last axis;  dx = y (dy - sum_j dy_j y_j)."""
    _require_numbers("softmax", x)
    y = k.empty(x.shape, x.dtype)
    k.softmax(y.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1]))
    return y, y


@softmax.vjp
def softmax_vjp(k, y, dy, needs):
    dx = k.empty(y.shape, y.dtype)
    k.softmax_vjp(*(array.reshape(-1, y.shape[-1]) for array in (dx, dy, y)))
    return (dx,)


@op
def log_softmax(k, x):
    """y_i = x_i - ln sum_j e^x_j along the last axis;  dx = dy - e^y sum_j dy_j."""
    _require_numbers("log_softmax", x)
    y = k.empty(x.shape, x.dtype)
    k.log_softmax(y.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1]))
    return y, y


@log_softmax.vjp
def log_softmax_vjp(k, y, dy, needs):
    dx = k.empty(y.shape, y.dtype)
    k.log_softmax_vjp(*(array.reshape(-1, y.shape[-1]) for array in (dx, dy, y)))
    return (dx,)
