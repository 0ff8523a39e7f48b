"""Search by random draws and successive halving (Jamieson and Talwalkar 2016).

    40 settings train for 1/32 of the way; the better 20 go on to 1/16, the better 10 to 1/8, 5 to 1/4, 3 to 1/2,
    2 to the end

draws(axes, n, seed)    n different settings at random
rungs(n)                the shares of the whole training after which half is dropped
brackets(n, ...)        how many settings each of several such searches draws, of which each begins to drop a rung later
survivors(...)          who goes on

Random rather than on a grid: where only some settings matter, a grid tries few values of those (Bergstra, Bengio
2012). The survivors go on from their checkpoints, so that no update is made twice: of 40 settings all rungs together
cost some 4 whole trainings in place of 40. What is slow to start may be dropped too early. Hyperband hedges against
that with several searches, each of settings of its own: the first of many that are dropped early, the last of few that
are trained to the end. All cost about as much.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar, Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization,
2018, JMLR 18(185).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.compare.vary import Axis, Range
from micrornn.errors import ConfigError, counted

SMALLEST = 1 / 64  # of a whole training: less says nothing


def draws(axes: Sequence[Axis], count: int, seed: int) -> list[dict[str, Any]]:
    """So many different settings, always the same of a seed; fewer where there are no more. ConfigError where nothing
    is varied."""
    if not axes:
        raise ConfigError("`search` draws from what `vary` names, as in `vary=lr:1e-4..1e-1:log,hidden-size:32..256`")
    rng, found = np.random.default_rng(seed), []
    possible = math.prod(math.inf if isinstance(axis.values, Range) and not axis.values.whole else _count(axis)
                         for axis in axes)  # fmt: skip
    for _ in range(50 * count):
        row = {axis.name: axis.draw(rng) for axis in axes}
        if row not in found:
            found.append(row)
        if len(found) >= min(count, possible):
            break
    return found


def _count(axis: Axis) -> float:
    return axis.values.high - axis.values.low + 1 if isinstance(axis.values, Range) else len(axis.values)


def rungs(count: int, first: float = 0.0) -> tuple[float, ...]:
    """1/32, 1/16, ... 1: as many halvings as leave one or two of so many, but none before `first` (0: SMALLEST)."""
    halvings = max(0, math.ceil(math.log2(max(1, count))) - 1)
    halvings = min(halvings, int(math.log2(1 / (first or SMALLEST)) + 1e-9))
    return tuple(2.0**-k for k in range(halvings, -1, -1))


def brackets(count: int, number: int, first: float = 0.0) -> tuple[int, ...]:
    """How many settings each of `number` brackets draws, the first `count`: so many that all of them cost about as
    much. ConfigError where there are not so many rungs at which one could begin."""
    most = len(rungs(count, first))
    if number > most:
        raise ConfigError(
            f"`brackets={number}`: a search of {counted(count, 'setting')} has {counted(most, 'rung')}, and each "
            f"bracket begins at another; give at most {most}, or draw more settings"
        )
    # a bracket that drops at the last k of the rungs costs k trainings of 2^-(k - 1) of its settings
    return tuple(math.ceil(count * most / (most - n) / 2**n) for n in range(number))


def survivors(alive: Sequence[int], losses: Sequence[float]) -> list[int]:
    """The better half of those that are alive, in order of their number; of an odd count the larger half. Who has no
    loss, or failed, is behind all others."""
    ranked = sorted(
        alive, key=lambda n: (not math.isfinite(losses[n]), losses[n] if math.isfinite(losses[n]) else 0, n)
    )
    fine = [n for n in ranked if math.isfinite(losses[n])]
    return sorted(fine[: math.ceil(len(alive) / 2)])
