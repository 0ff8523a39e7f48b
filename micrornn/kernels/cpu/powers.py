"""Magnitudes and powers. A file of its own, because these names are Python's own, which the other kernels call."""

from __future__ import annotations

import math

import numpy as np

from micrornn.kernels.cpu.elementwise import flat
from micrornn.kernels.cpu.maths import ONE


@flat
def abs(out, x):
    for i in range(out.size):
        out[i] = math.fabs(x[i])


@flat
def abs_vjp(dx, dy, x):
    for i in range(dx.size):
        dx[i] = dy[i] if x[i] > 0 else -dy[i] if x[i] < 0 else dy[i] * x[i]  # 0 at 0, and NaN stays NaN


@flat
def pow(out, a, b):
    for i in range(out.size):
        out[i] = a[i] ** b[i]


@flat
def pow_vjp(da, dy, a, b):
    for i in range(da.size):
        da[i] = dy[i] * b[i] * a[i] ** (b[i] - ONE) if b[i] != 0 else dy[i] * b[i]


@flat
def pow_vjp_exponent(db, dy, a, b, y):
    for i in range(db.size):
        db[i] = dy[i] * b[i] * a[i] if a[i] == 0 and b[i] >= 0 else dy[i] * y[i] * np.log(a[i])
