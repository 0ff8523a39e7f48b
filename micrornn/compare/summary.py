"""A comparison in numbers: a row for each setting, and which of them can be told apart.

Row              a setting: its loss over the seeds, what it cost, what went wrong
Summary          all rows, the best first, and the pairs
summarize(...)   from what the runs have measured
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from micrornn.compare.plan import Plan
from micrornn.compare.results import Run
from micrornn.compare.statistics import LEVEL, Pair, p_of_pair, pair

EVEN = 1.02  # so many times as many tokens are as many: the last update goes beyond where it shall end
LEARNED = 0.02  # of the baseline's loss: what must be won for something to have been learned


@dataclass(frozen=True)
class Row:
    """A setting.

    number          of the variant
    first           the mean over seeds of the loss at the first validation
    losses          the lowest validation loss of each seed; NaN where it is not known, infinite where the run failed
    equal           the same at as many tokens as all runs have read
    tokens          that it has read, the mean over seeds; 0 where it has none
    times           seconds of one token, of each seed; NaN where there is none yet
    reached         seconds to the target, of each seed; NaN where it was not reached
    changes         how far back its network looks (reach.py); None where that was not measured
    """

    number: int
    name: str
    losses: np.ndarray
    first: float
    equal: np.ndarray
    tokens: float
    times: np.ndarray
    updates: float
    reached: np.ndarray
    failed: tuple[str, ...] = ()
    changes: np.ndarray | None = None

    @property
    def token_seconds(self) -> float:
        """Of one token, in the quickest run: what else the machine does only adds to it."""
        return float(min(_finite(self.times), default=math.nan))

    @property
    def known(self) -> np.ndarray:
        """The losses of the runs that ended well, or are under way."""
        return self.losses[np.isfinite(self.losses)]

    @property
    def mean(self) -> float:
        """Infinite where a run failed, NaN where none has a loss yet."""
        if self.failed:
            return math.inf
        return float(self.known.mean()) if self.known.size else math.nan


@dataclass(frozen=True)
class Summary:
    """rows: the best first, those that failed last, those without a loss behind them; of a search, those first that
    trained longest, for only losses of the same rung can be compared. target: the loss whose time is told. shared: the
    tokens that all runs have read. over: how many of the `runs` are at their end. held_out: whether losses are of data
    that nothing learned from."""

    plan: Plan
    rows: tuple[Row, ...]
    target: float
    shared: float
    over: int
    runs: int
    held_out: bool

    def pair(self, one: Row, two: Row) -> Pair | None:
        """Of the seeds that both have; None where there is none."""
        both = _both(one, two)
        return pair(*both, self.level) if both[0].size else None

    def equal_pair(self, one: Row, two: Row) -> Pair:
        """The same of their losses at as many tokens as all runs have read; all of them must have one."""
        return pair(*_both(one, two, "equal"), self.equal_level)

    @cached_property
    def level(self) -> float:
        """At which a pair is told apart, so that all pairs together err in 5 %: whichever is looked at, and the best is
        looked at because it is best."""
        return _level(self.rows, "losses")

    @cached_property
    def equal_level(self) -> float:
        return _level(self.rows, "equal")

    @property
    def best(self) -> Row | None:
        return next((row for row in self.rows if math.isfinite(row.mean)), None)

    def learned(self, row: Row) -> float | None:
        """The share of the seeds with which it is better than what takes no network; None where nothing is known of
        that."""
        if self.plan.baseline is None or not row.known.size:
            return None
        return float(_learned(row.known, self.plan.baseline[1]).mean())


def _learned(losses: Any, baseline: float) -> Any:
    return losses < baseline - LEARNED * abs(baseline)


def _both(one: Row, two: Row, which: str = "losses") -> tuple[Any, Any]:
    """The losses of the seeds that both have."""
    first, second = getattr(one, which), getattr(two, which)
    both = np.isfinite(first) & np.isfinite(second)
    return first[both], second[both]


def _level(rows: Sequence[Row], which: str) -> float:
    """By Holm (1979): pairs that are surely apart need no part of the 5 % any more."""
    pairs = [_both(one, two, which) for n, one in enumerate(rows) for two in rows[:n]]
    found = [p_of_pair(*both) for both in pairs if both[0].size]
    for n, p in enumerate(sorted(found)):
        if p > LEVEL / (len(found) - n):
            return LEVEL / (len(found) - n)
    return LEVEL


def summarize(plan: Plan, runs: Sequence[Sequence[Run]], target: float | None = None,
              changes: Sequence[np.ndarray | None] = ()) -> Summary:  # fmt: skip
    """runs: [variant][seed]. target: the loss to be reached; None: the highest mean loss of those that learned
    anything, so that each of these reaches it, though not with every seed. changes: of each variant (reach.py)."""
    ends = [float(run.tokens[-1]) for row in runs for run in row if run.tokens.size and run.outcome.state != "failed"]
    shared = min(ends, default=0.0)
    means = [float(np.mean(best)) for row in runs if (best := _finite([run.best() for run in row])).size]
    if plan.baseline is not None:
        means = [mean for mean in means if _learned(mean, plan.baseline[1])] or means
    target = max(means, default=math.nan) if target is None else target
    rows = [
        _row(n, plan.variants[n].name, row, shared, target, changes[n] if changes else None)
        for n, row in enumerate(runs)
    ]
    done = [round(row.updates / max(1, plan.variants[row.number].num_updates), 3) if plan.rungs else 0 for row in rows]
    rows.sort(key=lambda row: (math.isnan(row.mean), math.isinf(row.mean), -done[row.number], row.mean, row.number))
    states = [run.outcome.state for row in runs for run in row]
    over = sum(state in ("done", "failed", "dropped") for state in states)
    held_out = all(run.held_out for row in runs for run in row if run.losses.size)
    return Summary(plan, tuple(rows), target, shared, over, len(states), held_out)


def _finite(values: Any) -> np.ndarray:
    array = np.array(values, float)
    return array[np.isfinite(array)]


def _row(number: int, name: str, runs: Sequence[Run], shared: float, target: float, changes: np.ndarray | None) -> Row:
    last = [run.updates[-1] for run in runs if run.updates.size]
    return Row(
        number, name,
        np.array([run.best() for run in runs], float),
        float(np.mean([run.losses[0] for run in runs if run.losses.size] or [math.nan])),
        np.array([run.best(EVEN * shared) for run in runs], float),
        float(np.mean([run.tokens[-1] for run in runs if run.tokens.size] or [0.0])),
        np.array([run.token_seconds for run in runs], float),
        float(np.mean(last or [0.0])),
        np.array([run.reached(target, run.seconds) for run in runs], float),
        tuple((run.outcome.why or "unknown why").splitlines()[0] for run in runs if run.outcome.state == "failed"),
        changes,
    )  # fmt: skip


def one(unit: str) -> str:
    """What one of a unit is called: a task may count steps."""
    return unit.removesuffix("s")
