"""Student's t-distribution: how likely a mean this far from 0 is by chance, if its error is estimated from few numbers.

p_of_t    the two-sided probability of a t as large
t_of_p    the t that is exceeded with a given probability
"""

from __future__ import annotations

import math

import numpy as np


def p_of_t(t: float, freedom: int) -> float:
    """The probability that |T| is |t| or more, where T has Student's t-distribution with a whole number of degrees of
    freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        terms, term = 0.0, cosine
        for k in range(3, freedom + 1, 2):
            terms += term
            term *= cosine**2 * (k - 1) / k
        inside = 2 / math.pi * (angle + sine * terms)
    else:
        terms, term = 0.0, 1.0
        for k in range(2, freedom + 1, 2):
            terms += term
            term *= cosine**2 * (k - 1) / k
        inside = sine * terms
    if inside > 0.999:  # 1 - inside would lose its digits; the integral of the density beyond t keeps them
        return _tail(abs(t), freedom)
    return 1.0 - inside


def _tail(t: float, freedom: int) -> float:
    """The same for a large t: the density, integrated numerically over logarithmic steps."""
    if not math.isfinite(t):
        return 0.0
    x = t * np.exp(np.linspace(0, 40 / freedom + 3, 4001))
    log_density = (
        math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
        - (freedom + 1) / 2 * np.log1p(x**2 / freedom)
    )  # fmt: skip
    return float(2 * np.trapezoid(np.exp(log_density), x))


def t_of_p(p: float, freedom: int) -> float:
    """The t that |T| exceeds with this probability."""
    low, high = 0.0, 1.0
    while p_of_t(high, freedom) > p:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if p_of_t(middle, freedom) > p else (low, middle)
    return high
