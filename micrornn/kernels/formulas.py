"""Elementwise kernels, each written once, as a function of single numbers; lift.py makes the loops for each device.

    def name(numbers of arrays, *, options): return one expression, which goes to an array `out`
    ...                                      return names of its parameters: these arrays are written over

Every parameter stands for one number of an array, `place` for its index; behind the star are options, which are the
same for all numbers. What is computed of options alone is computed once, in float64, and has the arrays' precision
then; what is annotated keeps its type. `m` is the arithmetic of the device at hand, kernels/maths.py for NumPy: exp,
log, ..., and where(condition, a, b), a choice. Constants are ZERO and ONE: a bare 1.0 is a float64, and would pull a
float32 up with it. A choice is made so that NaN passes through, to be seen: x <= 0 is false for it.

*_vjp: the cotangent of an input, from the cotangent `dy` of the output and what was saved.
"""

from __future__ import annotations

import math

import numpy as np

from micrornn.kernels import maths as m


def fill(*, value):
    return value


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def div(a, b):
    return a / b


def neg(x):
    return -x


def scale(x, *, factor):
    return x * factor


def scale_by(x, *, factor: np.ndarray):
    """factor (1,): a number that may be on a graphics card, and stays there."""
    return x * factor[0]


def accumulate(out, x):
    out = out + x
    return out


def clip(x, *, limit):
    return m.clipped(x, limit)


def exp(x):
    return m.exp(x)


def log(x):
    return m.log(x)


def sqrt(x):
    return m.sqrt(x)


def sigmoid(x):
    """y = 1 / (1 + e^-x);  dx = dy y (1 - y)."""
    return m.sigmoid(x)


def sigmoid_vjp(dy, y):
    return dy * y * (m.ONE - y)


def log_sigmoid(x):
    """y = ln(1 / (1 + e^-x));  dx = dy / (1 + e^x). Finite where sigmoid(x) itself is rounded to 0."""
    # no exp of a positive number: it cannot overflow, and is no log of 0
    return m.where(x < m.ZERO, x, m.ZERO) - m.log(m.ONE + m.exp(m.where(x < m.ZERO, x, -x)))


def log_sigmoid_vjp(dy, x):
    return dy * m.sigmoid(-x)


def tanh(x):
    """y = tanh x;  dx = dy (1 - y^2)."""
    return m.tanh(x)


def tanh_vjp(dy, y):
    return dy * (m.ONE - y * y)


def relu(x):
    """y = max(x, 0);  dx = dy where y > 0."""
    return m.where(x <= m.ZERO, m.ZERO, x)


def relu_vjp(dy, y):
    return m.where(y > m.ZERO, dy, m.ZERO)


def abs(x):
    """y = |x|;  dx = dy sign(x), 0 where x is 0."""
    return m.where(x > m.ZERO, x, m.ZERO - x)


def abs_vjp(dy, x):
    """The slope at 0 is 0."""
    return m.where(x > m.ZERO, dy, m.where(x < m.ZERO, -dy, dy * x))


def pow(a, b):
    """y = a^b;  da = dy b a^(b-1), db = dy y ln a. A negative a wants a whole b, and a gradient of b a positive a:
    else they are NaN. 0^0 is 1, and has no slope."""
    return a**b


def pow_vjp(dy, a, b):
    """dy b a^(b-1). The slope of a^0 is 0, also where a is 0."""
    return m.where(b != m.ZERO, dy * b * a ** (b - m.ONE), dy * b)


def pow_vjp_exponent(dy, a, b, y):
    """dy y ln a. The slope of 0^b is 0 for b >= 0."""
    return m.where((a == m.ZERO) & (b >= m.ZERO), dy * b * a, dy * y * m.log(a))


def where(mask, a, b):
    return m.where(mask, a, b)


def binary_cross_entropy(logits, targets):
    """-y log s(x) - (1 - y) log(1 - s(x)), in the form that cannot overflow. A loss below the array's precision is 0:
    log(1 + e) is vector code, which log1p is not."""
    return (
        m.where(logits > m.ZERO, logits, m.ZERO)
        - logits * targets
        + m.log(m.ONE + m.exp(m.where(logits > m.ZERO, -logits, logits)))
    )


def binary_cross_entropy_vjp(dloss, logits, targets):
    return dloss * (m.sigmoid(logits) - targets)


def dropout(x, place, *, rate, key: np.uint64):
    """Keep x / (1 - rate) with probability 1 - rate, else 0. Its own VJP, with the same key. The mask is a function of
    key and place (`bits`): no state, so every device and every thread draws the same one."""
    keep = 1 / (1 - rate)
    least: np.uint64 = np.uint64(rate * 4294967296.0)  # of 2^32: a number is kept when its upper half is no less
    return m.where(m.bits(key, place) >> np.uint64(32) >= least, x * keep, m.ZERO)


# --- optimizers, of a parameter p and its gradient -----------------------------------------------------------------
#
# Each sees the gradient as g = clip(grad * scale, +-limit): `scale` carries clipping by global norm, `limit` by value.


def sgd(p, grad, *, lr, scale, limit):
    p = p - lr * m.clipped(grad * scale, limit)
    return p


def momentum(p, grad, v, *, lr, mu, scale, limit):
    """Polyak 1964."""
    v = mu * v + m.clipped(grad * scale, limit)
    p = p - lr * v
    return p, v


def adagrad(p, grad, s, *, lr, eps, scale, limit):
    """Duchi, Hazan, Singer 2011."""
    g = m.clipped(grad * scale, limit)
    s = s + g * g
    p = p - lr * g / (m.sqrt(s) + eps)
    return p, s


def rmsprop(p, grad, s, *, lr, decay, eps, scale, limit):
    """Tieleman and Hinton 2012."""
    rest = 1 - decay
    g = m.clipped(grad * scale, limit)
    s = decay * s + rest * g * g
    p = p - lr * g / (m.sqrt(s) + eps)
    return p, s


def adam(p, grad, mean, square, *, lr, beta1, beta2, eps, shrink, step, scale, limit):
    """Kingma and Ba 2015. `first` and `second` make up for averages that started from 0. shrink = 1 - lr * weight_decay
    makes it AdamW (Loshchilov and Hutter 2019)."""
    first = 1 / (1 - beta1**step)
    second = 1 / math.sqrt(1 - beta2**step)
    rest1 = 1 - beta1
    rest2 = 1 - beta2
    g = m.clipped(grad * scale, limit)
    mean = beta1 * mean + rest1 * g
    square = beta2 * square + rest2 * g * g
    p = shrink * p - lr * first * mean / (m.sqrt(square) * second + eps)
    return p, mean, square
