"""One pass over the flat parameter buffer: scale and clip the gradient, then update. Equations in reference.py."""

from __future__ import annotations

import math

from micrornn.kernels.cpu.elementwise import flat
from micrornn.kernels.cpu.jit import kernel


@kernel
def _clipped(grad, scale, limit):
    return min(max(grad * scale, -limit), limit)


@flat
def sgd(p, grad, lr, scale, limit):
    kind = p.dtype.type
    lr, scale, limit = kind(lr), kind(scale), kind(limit)
    for i in range(p.size):
        p[i] -= lr * _clipped(grad[i], scale, limit)


@flat
def momentum(p, grad, v, lr, mu, scale, limit):
    kind = p.dtype.type
    lr, mu, scale, limit = kind(lr), kind(mu), kind(scale), kind(limit)
    for i in range(p.size):
        v[i] = mu * v[i] + _clipped(grad[i], scale, limit)
        p[i] -= lr * v[i]


@flat
def adagrad(p, grad, s, lr, eps, scale, limit):
    kind = p.dtype.type
    lr, eps, scale, limit = kind(lr), kind(eps), kind(scale), kind(limit)
    for i in range(p.size):
        g = _clipped(grad[i], scale, limit)
        s[i] += g * g
        p[i] -= lr * g / (math.sqrt(s[i]) + eps)


@flat
def rmsprop(p, grad, s, lr, decay, eps, scale, limit):
    kind = p.dtype.type
    lr, decay, rest, eps, scale, limit = (
        kind(lr),
        kind(decay),
        kind(1 - decay),
        kind(eps),
        kind(scale),
        kind(limit),
    )
    for i in range(p.size):
        g = _clipped(grad[i], scale, limit)
        s[i] = decay * s[i] + rest * g * g
        p[i] -= lr * g / (math.sqrt(s[i]) + eps)


@flat
def adam(p, grad, m, v, lr, beta1, beta2, eps, shrink, step, scale, limit):
    kind = p.dtype.type
    first, second = kind(1 / (1 - beta1**step)), kind(1 / math.sqrt(1 - beta2**step))
    rest1, rest2 = kind(1 - beta1), kind(1 - beta2)
    lr, beta1, beta2, eps = kind(lr), kind(beta1), kind(beta2), kind(eps)
    shrink, scale, limit = kind(shrink), kind(scale), kind(limit)
    for i in range(p.size):
        g = _clipped(grad[i], scale, limit)
        m[i] = beta1 * m[i] + rest1 * g
        v[i] = beta2 * v[i] + rest2 * g * g
        p[i] = shrink * p[i] - lr * first * m[i] / (math.sqrt(v[i]) * second + eps)
