"""What can be told apart, from a few seeds.

Pair              the difference of two settings over the seeds that both have
p_of_pair         that chance alone
pair(a, b)        its mean, a bootstrap interval of it (Efron 1979), and how likely chance alone is (Student 1908)
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

from micrornn.student import p_of_t, t_of_p

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
