"""What the runs of a comparison have measured so far, read from their folders.

Run        the validations of one run: loss over updates, tokens, seconds
read(...)  of each variant and seed
mean_curve of several runs: mean and spread where all of them were validated
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from micrornn.checkpoint import RunFolder
from micrornn.compare.folder import Comparison, Outcome
from micrornn.errors import CheckpointError, named
from micrornn.schema import check_table
from micrornn.snapshot import REPORT

QUICK = 0.1  # the quantile of the times of updates
TRAINING = 32  # points of the training loss, where nothing is held out


@dataclass(frozen=True)
class Run:
    """updates, tokens, seconds, losses (N,): at each validation; where nothing is held out, of the training loss,
    averaged. Seconds of updates alone: no validation, no checkpoint, no compiling. token_seconds: of one token, in the
    quickest tenth of the updates, so that what else the machine does hardly counts; NaN where there is none yet."""

    outcome: Outcome
    updates: np.ndarray = field(default_factory=lambda: np.empty(0))
    tokens: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: np.ndarray = field(default_factory=lambda: np.empty(0))
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    token_seconds: float = math.nan
    last_update: int = 0
    held_out: bool = True

    def best(self, tokens: float = math.inf) -> float:
        """The lowest loss by so many tokens; NaN where there is none. Of a run that failed: infinite."""
        known = self.losses[self.tokens <= tokens * (1 + 1e-9)]
        if self.outcome.state == "failed":
            return math.inf
        return float(known.min()) if known.size else math.nan

    def reached(self, loss: float, axis: np.ndarray) -> float:
        """Where on an axis, such as `seconds`, this loss was first had, between two validations by a straight line;
        NaN: never."""
        at = np.flatnonzero(self.losses <= loss)
        if not at.size:
            return math.nan
        n = int(at[0])
        if n == 0:
            return float(axis[0])
        above, below = self.losses[n - 1], self.losses[n]
        part = (above - loss) / (above - below)
        return float(axis[n - 1] + part * (axis[n] - axis[n - 1]))


def read(comparison: Comparison) -> list[list[Run]]:
    """[variant][seed]; a run that has not begun has no numbers, and where others were validated, one that was not yet
    has no loss. CheckpointError where a run's rows are damaged."""
    plan = comparison.plan
    runs = [[_run(comparison, n, seed) for seed in plan.seeds] for n in range(len(plan.variants))]
    if not any(run.held_out and run.losses.size for row in runs for run in row):
        return runs
    return [[run if run.held_out else Run(run.outcome, last_update=run.last_update) for run in row] for row in runs]


def _run(comparison: Comparison, variant: int, seed: int) -> Run:
    outcome, path = comparison.outcome(variant, seed), comparison.folder(variant, seed)
    try:
        folder = RunFolder.open(path)
    except CheckpointError:
        return Run(outcome)
    where = named(folder.metrics_path)
    rows = [check_table(row, REPORT, f"{where}:{n}", CheckpointError) for n, row in enumerate(folder.metrics(), 1)]
    return of_rows(rows, outcome)


def of_rows(rows: Sequence[dict[str, Any]], outcome: Outcome) -> Run:
    """From the rows of a metrics.jsonl."""
    if not rows:
        return Run(outcome)
    columns = {name: np.array([math.nan if row[name] is None else row[name] for row in rows], float)
               for name in ("update", "tokens", "seconds", "loss", "val_loss", "tokens_per_second")}  # fmt: skip
    sizes = np.diff(columns["tokens"], prepend=0.0)
    took = sizes / columns["tokens_per_second"]
    # The first update of a process compiles, which is no time of its run; then its seconds stand still.
    took = np.minimum(took, np.maximum(np.diff(columns["seconds"], prepend=0.0), 0.0))
    spent = took[took > 0]
    seconds, token = np.cumsum(took), float(np.quantile(spent / sizes[took > 0], QUICK)) if spent.size else math.nan
    at, losses = np.flatnonzero(np.isfinite(columns["val_loss"])), columns["val_loss"]
    held_out = bool(at.size)
    if not held_out:
        at, losses = _training(columns["loss"])
    last = int(columns["update"][-1])
    return Run(
        outcome, columns["update"][at], columns["tokens"][at], seconds[at], losses[at], token, last, held_out
    )  # fmt: skip


def _training(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(where, the loss there): of the training loss, the mean over each of TRAINING parts of a run."""
    edges = np.unique(np.linspace(0, len(losses), TRAINING + 1).astype(int))
    smooth = np.full(len(losses), math.nan)
    for start, stop in pairwise(edges.tolist()):
        smooth[stop - 1] = losses[start:stop].mean()
    return edges[1:] - 1, smooth


def mean_curve(runs: Sequence[Run], axis: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x, mean, low, high) of the loss, low..high from the least to the greatest. Over `seconds` x is the mean, too;
    over `updates` and `tokens` all runs have the same places. What one run lacks, all lack."""
    runs = [run for run in runs if run.losses.size]
    if not runs:
        return (np.empty(0),) * 4
    count = min(len(run.losses) for run in runs)
    x = np.mean([getattr(run, axis)[:count] for run in runs], axis=0)
    y = np.array([run.losses[:count] for run in runs])
    return x, y.mean(axis=0), y.min(axis=0), y.max(axis=0)
