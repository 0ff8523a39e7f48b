"""One number in, one number out: arithmetic, activations, dropout, and the rules that go back through them.

Arrays are seen as flat here (`flat`), so that one compiled form serves every number of axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels.cpu import maths
from micrornn.kernels.cpu.jit import kernel


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A compiled kernel over flat arrays, to be called with arrays of any number of axes."""
    compiled = kernel(function)

    @wraps(function)
    def call(*arguments: Any) -> None:
        compiled(*[a.reshape(-1) if isinstance(a, np.ndarray) else a for a in arguments])

    return call


@flat
def fill(out, value):
    for i in range(out.size):
        out[i] = value


@flat
def add(out, a, b):
    for i in range(out.size):
        out[i] = a[i] + b[i]


@flat
def sub(out, a, b):
    for i in range(out.size):
        out[i] = a[i] - b[i]


@flat
def mul(out, a, b):
    for i in range(out.size):
        out[i] = a[i] * b[i]


@flat
def div(out, a, b):
    for i in range(out.size):
        out[i] = a[i] / b[i]


@flat
def neg(out, x):
    for i in range(out.size):
        out[i] = -x[i]


@flat
def scale(out, x, factor):
    for i in range(out.size):
        out[i] = x[i] * out.dtype.type(factor)


@flat
def scale_by(out, x, factor):
    for i in range(out.size):
        out[i] = x[i] * factor[0]


@kernel
def _accumulate(out, x):
    for i in range(out.size):
        out[i] += x[i]


def accumulate(out, x):
    _accumulate(out.reshape(-1), x.reshape(-1))  # as `flat`, but sooner there: small gradients are many


@flat
def clip(out, x, limit):
    for i in range(out.size):
        out[i] = min(max(x[i], out.dtype.type(-limit)), out.dtype.type(limit))


@flat
def exp(out, x):
    for i in range(out.size):
        out[i] = maths.exp(x[i])


@flat
def log(out, x):
    for i in range(out.size):
        out[i] = math.log(x[i])


@flat
def sqrt(out, x):
    for i in range(out.size):
        out[i] = math.sqrt(x[i])


@flat
def sigmoid(out, x):
    for i in range(out.size):
        out[i] = maths.sigmoid(x[i])


@flat
def sigmoid_vjp(dx, dy, y):
    for i in range(dx.size):
        dx[i] = dy[i] * y[i] * (maths.ONE - y[i])


@flat
def tanh(out, x):
    for i in range(out.size):
        out[i] = maths.tanh(x[i])


@flat
def tanh_vjp(dx, dy, y):
    for i in range(dx.size):
        dx[i] = dy[i] * (maths.ONE - y[i] * y[i])


@flat
def relu(out, x):
    for i in range(out.size):
        out[i] = x[i] if x[i] > 0 or x[i] != x[i] else 0  # NaN passes through, to be seen


@flat
def relu_vjp(dx, dy, y):
    for i in range(dx.size):
        dx[i] = dy[i] if y[i] > 0 else 0


@flat
def where(out, mask, a, b):
    for i in range(out.size):
        out[i] = a[i] if mask[i] else b[i]


@kernel
def bits(key, i):
    """The i-th 64-bit number of the stream `key`: splitmix64 (Steele, Lea, Flood 2014), which needs no state."""
    z = np.uint64(key) + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@flat
def dropout(out, x, rate, key):
    least = np.uint64(rate * 4294967296.0)  # of 2^32: a number is kept when its upper half is no less
    keep = out.dtype.type(1 / (1 - rate))
    for i in range(out.size):
        out[i] = x[i] * keep if (bits(key, i) >> np.uint64(32)) >= least else 0


@flat
def binary_cross_entropy(loss, logits, targets):
    for i in range(loss.size):
        x = logits[i]
        loss[i] = max(x, loss.dtype.type(0)) - x * targets[i] + math.log1p(math.exp(-abs(x)))


@flat
def binary_cross_entropy_vjp(dlogits, dloss, logits, targets):
    for i in range(dlogits.size):
        dlogits[i] = dloss[i] * (maths.sigmoid(logits[i]) - targets[i])
