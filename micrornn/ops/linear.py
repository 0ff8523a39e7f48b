"""Matrix products."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from micrornn.errors import ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.axes import sum_axis
from micrornn.tape import Op, Tensor, op


def _product(k: Kernels, out: np.ndarray, a: np.ndarray, b: np.ndarray, **turned: bool) -> None:
    """out = a b. Nothing is summed where an inner size is 0: that gives zeros."""
    if a.size and b.size:
        k.matmul(out, a, b, **turned)
    else:
        out[...] = 0


@op
def matmul(k, a, b):
    """y = a b;  da = dy b^T, db = a^T dy. a (..., M, K) with b (K, N), or with b (..., K, N) of the same batch."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2] or (b.ndim > 2 and a.shape[:-2] != b.shape[:-2]):
        raise ShapeError(
            f"matmul: a {a.shape} and b {b.shape}; wanted (..., M, K) and (K, N), or the same batch in both"
        )
    y = k.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    for one_y, one_a, one_b in zip(*_pages(b.ndim > 2, y, a, b)):
        _product(k, one_y, one_a, one_b)
    return y, (a, b)


def _pages(batched: bool, *arrays: np.ndarray) -> list[np.ndarray]:
    """Each array as a stack of matrices: one tall one if b is shared, else one for each of the batch."""
    return [
        x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
        if batched
        else x.reshape(1, math.prod(x.shape[:-1]), x.shape[-1])
        for x in arrays
    ]


@matmul.vjp
def matmul_vjp(k, saved, dy, needs):
    a, b = saved
    da = k.empty(a.shape, a.dtype) if needs[0] else None
    db = k.empty(b.shape, b.dtype) if needs[1] else None
    pages_y, pages_a, pages_b = _pages(b.ndim > 2, dy, a, b)
    for i in range(len(pages_y)):
        if da is not None:
            _product(k, _pages(b.ndim > 2, da)[0][i], pages_y[i], pages_b[i], trans_b=True)
        if db is not None:
            _product(k, _pages(b.ndim > 2, db)[0][i], pages_a[i], pages_y[i], trans_a=True)
    return da, db


class Instead(NamedTuple):
    """In the place of a weight of `linear`: it reads x, whatever it is given. So dropout comes between a state and the
    weights that it goes through, where a cell's step has only the two of them (recurrent.py)."""

    x: Tensor
    weight: Tensor


class LinearOp(Op):
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) > 1 and isinstance(inputs[1], Instead):
            inputs = (*inputs[1], *inputs[2:])
        return super().__call__(*inputs, **options)


@LinearOp
def linear(k, x, weight, bias):
    """y = x W^T + b;  dx = dy W, dW = dy^T x, db = the sum of dy's rows. x (..., D), weight (N, D), bias (N,)."""
    if not x.ndim or weight.shape[1:] != x.shape[-1:] or bias.shape != weight.shape[:1]:
        shapes = f"x {x.shape}, weight {weight.shape}, bias {bias.shape}"
        raise ShapeError(f"linear: {shapes}; wanted (..., D), (N, D) and (N,), here D = {weight.shape[-1]}")
    y = k.empty((*x.shape[:-1], len(weight)), x.dtype)
    count = math.prod(x.shape[:-1])
    rows = y.reshape(count, len(weight))
    _product(k, rows, x.reshape(count, x.shape[-1]), weight, trans_b=True)
    k.add_bias(rows, bias)
    return y, (x, weight)


@linear.vjp
def linear_vjp(k, saved, dy, needs):
    x, weight = saved
    count, dx = math.prod(x.shape[:-1]), None
    rows = dy.reshape(count, dy.shape[-1])
    if needs[0]:
        dx = k.empty(x.shape, x.dtype)
        _product(k, dx.reshape(count, x.shape[-1]), rows, weight)
    dweight = k.empty(weight.shape, weight.dtype)
    _product(k, dweight, rows, x.reshape(count, x.shape[-1]), trans_a=True)
    return dx, dweight, sum_axis(k, rows, 0)
