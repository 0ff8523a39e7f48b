"""One pass over the flat parameter buffer: scale and clip the gradient, then update. Equations in reference.py.

What depends on the options alone is computed once, on the processor, in float64, and handed over as one number.
"""

from __future__ import annotations

import math

from micrornn.kernels.cuda.elementwise import flat
from micrornn.kernels.cuda.jit import cuda
from micrornn.kernels.cuda.maths import clipped, sqrt


@flat
def sgd(p, grad, lr, scale, limit):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        p[i] -= lr * clipped(grad[i] * scale, limit)


@flat
def momentum(p, grad, v, lr, mu, scale, limit):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        v_i = mu * v[i] + clipped(grad[i] * scale, limit)
        v[i] = v_i
        p[i] -= lr * v_i


@flat
def adagrad(p, grad, s, lr, eps, scale, limit):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        g = clipped(grad[i] * scale, limit)
        s_i = s[i] + g * g
        s[i] = s_i
        p[i] -= lr * g / (sqrt(s_i) + eps)


@flat
def _rmsprop(p, grad, s, lr, decay, rest, eps, scale, limit):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        g = clipped(grad[i] * scale, limit)
        s_i = decay * s[i] + rest * g * g
        s[i] = s_i
        p[i] -= lr * g / (sqrt(s_i) + eps)


def rmsprop(p, grad, s, lr, decay, eps, scale, limit):
    _rmsprop(p, grad, s, lr, decay, 1 - decay, eps, scale, limit)


@flat
def _adam(p, grad, m, v, lr, beta1, rest1, beta2, rest2, second, eps, shrink, scale, limit):
    for i in range(cuda.grid(1), p.size, cuda.gridsize(1)):
        g = clipped(grad[i] * scale, limit)
        m_i = beta1 * m[i] + rest1 * g
        v_i = beta2 * v[i] + rest2 * g * g
        m[i] = m_i
        v[i] = v_i
        p[i] = shrink * p[i] - lr * m_i / (sqrt(v_i) * second + eps)


def adam(p, grad, m, v, lr, beta1, beta2, eps, shrink, step, scale, limit):
    first, second = 1 / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)  # what the averages lack after few steps
    _adam(p, grad, m, v, lr * first, beta1, 1 - beta1, beta2, 1 - beta2, second, eps, shrink, scale, limit)
