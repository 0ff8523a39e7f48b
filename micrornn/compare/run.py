"""Trains what a comparison has left to train.

go(comparison, ...)     every run to its end; of a search, rung by rung, the worse half of each bracket dropped
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator

import numpy as np

from micrornn.compare.folder import Comparison, Outcome
from micrornn.compare.plan import require_same_texts
from micrornn.compare.pool import outcomes
from micrornn.compare.results import Run, read
from micrornn.compare.search import survivors
from micrornn.compare.worker import Job

Ended = tuple[int, int, Outcome]  # variant, seed, how


def go(comparison: Comparison, backend: str = "loky", workers: int = 1,
       stopped: Callable[[], bool] = lambda: False) -> Generator[Ended | None, None, None]:  # fmt: skip
    """(variant, seed, outcome) of each run as it ends; None now and then while nothing does. `stopped` asks all to end
    after the update at hand: each is then where it can be gone on with.

    A run that failed in a way that another try might mend (its process died, no memory) is tried again by whoever goes
    on with the comparison; one that diverged would diverge again.
    """
    with comparison.working():
        if not comparison.plan.rungs:
            yield from _train(comparison, comparison.runs(), 0.0, backend, workers, stopped)
            return
        plan = comparison.plan
        alive: dict[int, list[int]] = {}  # of each bracket
        for n in range(len(plan.variants)):
            alive.setdefault(plan.bracket(n), []).append(n)
        for rung, share in enumerate(plan.rungs):
            there = {n for bracket, left in alive.items() if bracket <= rung for n in left}
            runs = [(n, seed) for n, seed in comparison.runs() if n in there]
            yield from _train(comparison, runs, share, backend, workers, stopped)
            if stopped():
                return
            if share < 1:
                losses = [_loss(comparison, n, row, share) for n, row in enumerate(read(comparison))]
                for bracket in range(rung + 1):
                    alive[bracket] = _halved(comparison, alive.get(bracket, []), losses)
                comparison.write()


def _halved(comparison: Comparison, alive: list[int], losses: list[float]) -> list[int]:
    """Those of a bracket that go on; the others are noted as dropped."""
    kept = survivors(alive, losses)
    for n in set(alive) - set(kept):
        for seed in comparison.plan.seeds:
            if comparison.outcome(n, seed).state == "stopped":
                comparison.outcomes[comparison.run(n, seed)] = Outcome("dropped")
    return kept


def _loss(comparison: Comparison, number: int, runs: list[Run], share: float) -> float:
    """The mean over seeds of the lowest loss by this rung."""
    variant = comparison.plan.variants[number]
    until = _until(variant.num_updates, share)
    return float(np.mean([run.best(run.tokens[run.updates <= until].max(initial=0.0)) for run in runs]))


def _until(num_updates: int, share: float) -> int:
    return math.ceil(num_updates * share - 1e-6)


def _train(comparison: Comparison, runs: list[tuple[int, int]], share: float, backend: str, workers: int,
           stopped: Callable[[], bool]) -> Iterator[Ended | None]:  # fmt: skip
    plan, jobs, measured = comparison.plan, {}, read(comparison)
    for n, seed in runs:
        variant, outcome, path = plan.variants[n], comparison.outcome(n, seed), comparison.folder(n, seed)
        until = _until(variant.num_updates, share) if 0 < share < 1 else 0
        over = outcome.state == "done" or (until and measured[n][plan.seeds.index(seed)].last_update >= until)
        if over or (outcome.state == "failed" and (path / "diverged.txt").exists()):
            continue
        jobs[str(path)] = n, seed, Job(
            str(path), plan.task, plan.files, plan.config(variant, seed).to_dict(), plan.scheduled, until,
            str(comparison.stop_file), os.getcwd(),
        )  # fmt: skip
    if not jobs or stopped():
        return
    require_same_texts(plan)
    for ended in outcomes([job for _, _, job in jobs.values()], backend, workers, comparison.stop):
        if stopped():
            comparison.stop()
        if ended is None:
            yield None
            continue
        n, seed, _ = jobs[ended[0].path]
        outcome = ended[1]
        if outcome.state == "failed" or (outcome.state == "done" and not 0 < share < 1):
            comparison.set(n, seed, outcome)
        yield n, seed, outcome
