"""What a recipe expects, compared with what its runs came to.

look(job, folder, paths)    a Row for each expectation of a run that was trained
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.checkpoint import RunFolder, load
from micrornn.data import find
from micrornn.recipes import Expectation, Job
from micrornn.runs import load_run, own_task, task_from

SMOOTH = 0.999  # of Karpathy's min-char-rnn: smoothed = 0.999 smoothed + 0.001 loss


@dataclass(frozen=True)
class Row:
    """An expectation of one run, the number that was seen (None: the run has none there), and whether it holds."""

    job: Job
    expected: Expectation
    seen: float | None

    @property
    def holds(self) -> bool:
        return self.expected.holds(self.seen)

    def to_dict(self) -> dict[str, Any]:
        e = self.expected
        return {
            "run": self.job.name, "variant": self.job.variant, "seed": self.job.seed, "what": e.title, "low": e.low,
            "high": e.high, "band": e.band, "from": e.origin, "why": e.why, "seen": self.seen, "holds": self.holds,
        }  # fmt: skip


def look(job: Job, path: Path, paths: Sequence[str]) -> list[Row]:
    """What a run in a folder came to, beside each thing that the recipe expects of it."""
    rows = RunFolder.open(path).metrics()
    meta = load(path / "last.ckpt")[1]
    scores: dict[tuple[str, str, int, int], Mapping[str, float]] = {}

    def measured(e: Expectation) -> float | None:
        key = "best" if e.at == "best" else "last", job.recipe.roles(paths).get(e.data, ""), e.batch_size, e.num_steps
        if key not in scores:
            scores[key] = measure(path, *key)
        return scores[key].get(e.what)

    return [
        Row(job, expected, _seen(expected, rows, meta, measured))
        for expected in job.recipe.expect if job.variant in expected.variants
    ]  # fmt: skip


def measure(path: Path, which: str, file: str = "", batch_size: int = 0, num_steps: int = 0) -> Mapping[str, float]:
    """All metrics of the "best" or the "last" checkpoint of a run, over what it holds out, or over another file.

    batch_size, num_steps    of a text: how it is read, if not as in training
    """
    model, _, meta = load_run(path, which, any_task=True)
    sizes = {"batch_size": batch_size or None, "num_steps": num_steps or None}
    judged = task_from(meta).judge(model, find([file]), **sizes) if file else own_task(meta).judge(model, **sizes)
    scores: Mapping[str, float] = judged.scores
    return scores


def _seen(expected: Expectation, rows: list[dict[str, Any]], meta: dict[str, Any],
          measured: Callable[[Expectation], float | None]) -> float | None:  # fmt: skip
    """The number, in the unit that is wanted."""
    value = measured(expected) if expected.measured else _in_rows(expected, rows, _epoch(meta))
    if value is None:
        return None
    value *= expected.times
    if expected.unit == "perplexity":
        return math.exp(value) if value < 700 else math.inf
    return value / math.log(2) if expected.unit == "bits" else value


def _epoch(meta: dict[str, Any]) -> int | None:
    """Updates of an epoch, from where a checkpoint stands; None before the first has ended."""
    return (meta["updates"] - meta["window"]) // meta["epoch"] if meta["epoch"] else None


def _in_rows(expected: Expectation, rows: list[dict[str, Any]], epoch: int | None) -> float | None:
    """A loss at its place among the rows of metrics.jsonl."""
    kind, _, number = expected.at.partition(" ")
    over = expected.over
    if kind == "best":
        name = "val_loss" if expected.what == "val_loss" else "loss"
        return min((row[name] for row in rows if row[name] is not None), default=None)
    last = rows[-1]["update"] if rows else 0
    if kind == "epoch":
        if epoch is None and int(number) > 1:
            return None
        over = epoch or last
        last = int(number) * over
    elif kind == "update":
        last = int(number)
    here = [row for row in rows if row["update"] <= last]
    if not here or here[-1]["update"] != last:
        return None
    if expected.what == "val_loss":
        found: float | None = here[-1]["val_loss"]
        return found
    if expected.what == "loss":
        part = [row["loss"] for row in here[-over:]]
        return sum(part) / len(part)
    smoothed = here[0]["loss"]
    for row in here[1:]:
        smoothed = SMOOTH * smoothed + (1 - SMOOTH) * row["loss"]
    return float(smoothed)
