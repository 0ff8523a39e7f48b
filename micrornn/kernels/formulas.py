"""Elementwise kernels, each told once, as a function of single numbers. lift.py makes the loops of it for each device.

    def name(numbers of arrays, *, options): one expression

Every parameter stands for one number of an array; behind the star are options, which are the same for all numbers.
`m` is the arithmetic of the device at hand, kernels/maths.py for NumPy: exp, log, ..., and where(condition, a, b), a
choice. Constants are ZERO and ONE: a bare 1.0 is a float64, and would pull a float32 up with it. A choice is made so
that NaN passes through, to be seen: x <= 0 is false for it.

*_vjp: the cotangent of an input, from the cotangent `dy` of the output and what was saved.
"""

from __future__ import annotations

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


def clip(x, *, limit):
    return m.where(x > limit, limit, m.where(x < -limit, -limit, x))


def exp(x):
    return m.exp(x)


def log(x):
    return m.log(x)


def sqrt(x):
    return m.sqrt(x)


def sigmoid(x):
    return m.sigmoid(x)


def sigmoid_vjp(dy, y):
    return dy * y * (m.ONE - y)


def log_sigmoid(x):
    """No exp of a positive number: it cannot overflow, and is no log of 0."""
    return m.where(x < m.ZERO, x, m.ZERO) - m.log(m.ONE + m.exp(m.where(x < m.ZERO, x, -x)))


def log_sigmoid_vjp(dy, x):
    return dy * m.sigmoid(-x)


def tanh(x):
    return m.tanh(x)


def tanh_vjp(dy, y):
    return dy * (m.ONE - y * y)


def relu(x):
    return m.where(x <= m.ZERO, m.ZERO, x)


def relu_vjp(dy, y):
    return m.where(y > m.ZERO, dy, m.ZERO)


def abs(x):
    return m.where(x > m.ZERO, x, m.ZERO - x)


def abs_vjp(dy, x):
    """The slope at 0 is 0."""
    return m.where(x > m.ZERO, dy, m.where(x < m.ZERO, -dy, dy * x))


def pow(a, b):
    """NaN where a is negative and b no whole number."""
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
