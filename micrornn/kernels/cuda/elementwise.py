"""One number in, one number out: arithmetic, activations, dropout, and the rules that go back through them.

`flat` makes a kernel over flat arrays callable with arrays of any number of axes; steps and optimizers use it too.
All of these are bound by memory: neighbouring threads touch neighbouring numbers, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels.cuda import maths
from micrornn.kernels.cuda.array import Array
from micrornn.kernels.cuda.jit import THREADS, blocks, cuda, kernel, stream
from micrornn.kernels.cuda.maths import ONE, ZERO


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A kernel over the numbers of its first array, to be called with arrays of any number of axes.

    Python's floats are handed over in that array's precision, so that no float64 gets into a float32 kernel; what
    has a type already (np.uint64, bool) keeps it. The compiled form is the attribute `kernel`.
    """
    compiled = kernel(function)

    @wraps(function)
    def call(first: Array, *rest: Any) -> None:
        if first.size:
            kind = first.dtype.type
            given = [a.flat if isinstance(a, Array) else a if _typed(a) else kind(a) for a in rest]
            compiled[blocks(first.size), THREADS, stream()](first.flat, *given)

    call.kernel = compiled  # type: ignore[attr-defined]
    return call


def _typed(number: Any) -> bool:
    return isinstance(number, bool | np.bool_ | np.uint64)


@flat
def fill(out, value):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = value


@flat
def add(out, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] + b[i]


@flat
def sub(out, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] - b[i]


@flat
def mul(out, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] * b[i]


@flat
def div(out, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] / b[i]


@flat
def neg(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = -x[i]


@flat
def scale(out, x, factor):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * factor


@flat
def scale_by(out, x, factor):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * factor[0]


@flat
def accumulate(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] += x[i]


@flat
def clip(out, x, limit):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.clipped(x[i], limit)


@flat
def exp(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.exp(x[i])


@flat
def log(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.log(x[i])


@flat
def sqrt(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.sqrt(x[i])


@flat
def sigmoid(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.sigmoid(x[i])


@flat
def sigmoid_vjp(dx, dy, y):
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        dx[i] = dy[i] * y[i] * (ONE - y[i])


@flat
def tanh(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = maths.tanh(x[i])


@flat
def tanh_vjp(dx, dy, y):
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        dx[i] = dy[i] * (ONE - y[i] * y[i])


@flat
def relu(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = ZERO if x[i] <= ZERO else x[i]  # NaN passes through, to be seen


@flat
def relu_vjp(dx, dy, y):
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        dx[i] = dy[i] if y[i] > ZERO else ZERO


@flat
def where(out, mask, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] if mask[i] else b[i]


@flat
def _dropout(out, x, keep, key, least):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] * keep if (maths.bits(key, i) >> np.uint64(32)) >= least else ZERO


def dropout(out, x, rate, key):
    least = np.uint64(rate * 4294967296.0)  # of 2^32: a number is kept when its upper half is no less
    _dropout(out, x, 1 / (1 - rate), np.uint64(key), least)


@flat
def binary_cross_entropy(loss, logits, targets):
    for i in range(cuda.grid(1), loss.size, cuda.gridsize(1)):
        x = logits[i]
        loss[i] = (x if x > ZERO else ZERO) - x * targets[i] + maths.log1p(maths.exp(-abs(x)))


@flat
def binary_cross_entropy_vjp(dlogits, dloss, logits, targets):
    for i in range(cuda.grid(1), dlogits.size, cuda.gridsize(1)):
        dlogits[i] = dloss[i] * (maths.sigmoid(logits[i]) - targets[i])
