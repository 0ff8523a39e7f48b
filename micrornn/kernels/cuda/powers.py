"""Magnitudes and powers. A file of its own, because these names are Python's own, which the other kernels call."""

from __future__ import annotations

from micrornn.kernels.cuda import maths
from micrornn.kernels.cuda.elementwise import flat
from micrornn.kernels.cuda.jit import cuda
from micrornn.kernels.cuda.maths import ONE, ZERO


@flat
def abs(out, x):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = x[i] if x[i] > ZERO else ZERO - x[i]


@flat
def abs_vjp(dx, dy, x):
    for i in range(cuda.grid(1), dx.size, cuda.gridsize(1)):
        dx[i] = dy[i] if x[i] > ZERO else -dy[i] if x[i] < ZERO else dy[i] * x[i]  # 0 at 0, and NaN stays NaN


@flat
def pow(out, a, b):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = a[i] ** b[i]


@flat
def pow_vjp(da, dy, a, b):
    for i in range(cuda.grid(1), da.size, cuda.gridsize(1)):
        da[i] = dy[i] * b[i] * a[i] ** (b[i] - ONE) if b[i] != ZERO else dy[i] * b[i]


@flat
def pow_vjp_exponent(db, dy, a, b, y):
    for i in range(cuda.grid(1), db.size, cuda.gridsize(1)):
        db[i] = dy[i] * b[i] * a[i] if a[i] == ZERO and b[i] >= ZERO else dy[i] * y[i] * maths.log(a[i])
