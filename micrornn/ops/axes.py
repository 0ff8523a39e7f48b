"""Which axis is which: broadcasting and its opposite, and axes brought into the order that a kernel wants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn.arguments import whole, wholes
from micrornn.errors import ShapeError, counted
from micrornn.kernels import Kernels


def spread(k: Kernels, name: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays in their common shape, by NumPy's rules of broadcasting."""
    if a.shape == b.shape:
        return a, b
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return k.spread(a, shape), k.spread(b, shape)


def fold(k: Kernels, dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The opposite of `spread`: sum a cotangent over the axes along which the input was repeated."""
    for _ in range(dy.ndim - len(shape)):
        dy = sum_axis(k, dy, 0)
    for axis, size in enumerate(shape):
        if size == 1 and dy.shape[axis] != 1:
            dy = sum_axis(k, dy, axis, keepdims=True)
    return dy


def sum_axis(k: Kernels, x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    """The sum along one axis."""
    before, n, after = around(x.shape, axis)
    out = k.empty(x.shape[:axis] + ((1,) if keepdims else ()) + x.shape[axis + 1 :], x.dtype)
    k.sum(out.reshape(before, after), x.reshape(before, n, after), False)
    return out


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(outer, n, inner): the sizes before, of and behind an axis, as reductions see an array."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def normal_axis(name: str, axis: Any, ndim: int) -> int:
    """A negative axis counts from the end."""
    axis = whole(f"{name}: axis", axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} of an array with {counted(ndim, 'axis', 'axes')}")
    return axis % ndim


def normal_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes meant by axis=None (all), a number, or several different ones, in rising order."""
    if axis is None:
        return tuple(range(ndim))
    axes = sorted(normal_axis(name, a, ndim) for a in wholes(f"{name}: axis", axis))
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{name}: axis {axis} names one axis of {ndim} twice")
    return tuple(axes)
