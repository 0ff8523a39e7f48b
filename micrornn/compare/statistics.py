"""What can be told apart, from a few seeds.

Pair              the difference of two settings over the seeds that both have
p_of_pair         that chance alone
pair(a, b)        its mean, a bootstrap interval of it (Efron 1979), and how likely chance alone is (Student 1908)
p_of_t            two-sided, of Student's t
smallest          the smallest difference that would have been told

Both settings were trained with the same seeds, so the differences are taken seed by seed: what a seed brings to both
(the order of the data, made-up data) is in none of them. A bootstrap over 3 or 5 seeds gives intervals that are too
narrow: with 3, all differences have one sign in a quarter of the cases where there is no difference at all. So the
interval alone decides nothing; Student's t, which knows how few there are, must say so, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS, LEVEL = 10_000, 0.05


@dataclass(frozen=True)
class Pair:
    """mean: of the differences, one for each of `seeds` seeds; low..high: their bootstrap interval (95 %); p: the
    chance of differences as large where there is none; smallest: the mean difference that these seeds would tell at
    `level`. With one seed low..high is all numbers and p is 1."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int
    smallest: float
    level: float

    @property
    def same(self) -> bool:
        """Equal to the bit."""
        return self.mean == self.low == self.high == 0

    @property
    def apart(self) -> bool:
        return self.p <= self.level and not self.low <= 0 <= self.high


def pair(one: Sequence[float], two: Sequence[float], level: float = LEVEL) -> Pair:
    """`one` less `two`, seed by seed; both as many finite numbers."""
    differences = np.asarray(one, float) - np.asarray(two, float)
    count, mean = len(differences), float(np.mean(differences)) if len(differences) else math.nan
    if not differences.any() and count:
        return Pair(0.0, 0.0, 0.0, 1.0, count, 0.0, level)
    if count < 2:
        return Pair(mean, -math.inf, math.inf, 1.0, count, math.inf, level)
    rng = np.random.default_rng(0)
    means = differences[rng.integers(0, count, (DRAWS, count))].mean(axis=1)
    low, high = (float(end) for end in np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2]))
    smallest = _error(one, two) * t_of_p(level, count - 1)
    return Pair(mean, low, high, p_of_pair(one, two), count, smallest, level)


def p_of_pair(one: Sequence[float], two: Sequence[float]) -> float:
    """The chance of differences as large where there is none, by Student's t; 1 of fewer than two seeds."""
    count, mean = len(one), float(np.mean(np.asarray(one, float) - np.asarray(two, float)))
    return 1.0 if count < 2 or mean == 0 else p_of_t(mean / _error(one, two), count - 1)


def _error(one: Sequence[float], two: Sequence[float]) -> float:
    """The standard error of the mean difference. Losses have some seven digits: what differs by less is one and the
    same number, rounded otherwise."""
    scale = max(float(np.abs(np.concatenate([one, two])).max()), 1e-30)
    spread = float((np.asarray(one, float) - np.asarray(two, float)).std(ddof=1))
    return max(spread, 1e-6 * scale) / math.sqrt(len(one))


def p_of_t(t: float, freedom: int) -> float:
    """The chance that |T| is |t| or more, T having Student's distribution with a whole number of degrees of freedom
    (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
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
    if inside > 0.999:  # 1 - inside would lose its digits; the density's tail beyond t has them
        return _tail(abs(t), freedom)
    return 1.0 - inside


def _tail(t: float, freedom: int) -> float:
    """The same far out: the density, put together over log steps."""
    if not math.isfinite(t):
        return 0.0
    x = t * np.exp(np.linspace(0, 40 / freedom + 3, 4001))
    log_density = (
        math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
        - (freedom + 1) / 2 * np.log1p(x**2 / freedom)
    )  # fmt: skip
    return float(2 * np.trapezoid(np.exp(log_density), x))


def t_of_p(p: float, freedom: int) -> float:
    """The t that |T| exceeds with this chance."""
    low, high = 0.0, 1.0
    while p_of_t(high, freedom) > p:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if p_of_t(middle, freedom) > p else (low, middle)
    return high
