"""A comparison as a Measure: what terminal, figure, page and JSON show.

measured(comparison)    reads what its runs have measured by now
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micrornn import tasks
from micrornn.cells import trust
from micrornn.compare.folder import Comparison
from micrornn.compare.reach import furthest, reach
from micrornn.compare.results import Run, mean_curve, read
from micrornn.compare.summary import Summary, one, summarize
from micrornn.compare.verdict import verdicts
from micrornn.errors import MicrornnError
from micrornn.inspect.measure import Array, Axis, Measure, Number
from micrornn.runs import load_run

AXES = ("updates", "tokens", "seconds")


def measured(comparison: Comparison, target: float | None = None) -> tuple[Summary, Measure]:
    """The summary, and the measure made of it: also how far back each trained network looks, where some learn and some
    do not. target: as in summarize."""
    runs = read(comparison)
    summary = summarize(comparison.plan, runs, target)
    shares = {summary.learned(row) for row in summary.rows}
    if 0 in shares and shares - {0, None}:
        summary = summarize(comparison.plan, runs, target, _changes(comparison, summary))
    return summary, measure(summary, runs, comparison.path.name)


def _changes(comparison: Comparison, summary: Summary) -> list[np.ndarray | None]:
    """How far back the best network of each setting looks."""
    plan, kind = comparison.plan, comparison.plan.kind()
    found: list[np.ndarray | None] = [None] * len(plan.variants)
    for row in summary.rows:
        if not row.known.size or row.failed:
            continue
        seed = plan.seeds[int(np.nanargmin(row.losses))]
        try:
            tasks.trust(plan.task)
            config = plan.config(plan.variants[row.number], seed)
            trust(config.cell)
            task = kind.prepare(config, kind.files_of(plan.files))
            model = load_run(comparison.folder(row.number, seed), any_task=True)[0]
            found[row.number] = reach(task, model)
        except MicrornnError:  # it is beside the point; the losses are there
            continue
    return found


def measure(summary: Summary, runs: Sequence[Sequence[Run]], name: str) -> Measure:
    """Losses of each setting and seed, curves over AXES, costs, and the verdicts."""
    plan, rows = summary.plan, summary.rows
    axes = {"setting": Axis.of([row.name for row in rows]), "seed": Axis.of(plan.seeds)}
    unit, token = plan.loss, one(plan.unit)
    kind = "validation" if summary.held_out else "training"
    arrays = {
        "loss": Array(np.array([row.losses for row in rows]), ("setting", "seed"), unit, f"lowest {kind} loss"),
        "equal": Array(np.array([row.equal for row in rows]), ("setting", "seed"), unit,
                       f"the same at as many {token}s as all runs have read"),
        "seconds_to_target": Array(np.array([row.reached for row in rows]), ("setting", "seed"), "s",
                                   "of training, until the loss target was reached"),
        "token_seconds": Array(np.array([row.token_seconds for row in rows]), ("setting",), "s", f"of one {token}"),
    }  # fmt: skip
    if plan.rungs:
        shares = [row.updates / max(1, plan.variants[row.number].num_updates) for row in rows]
        numbers_of = [plan.bracket(row.number) + 1.0 for row in rows]
        arrays["bracket"] = Array(np.array(numbers_of), ("setting",), "", "number of the bracket it was drawn for")
        arrays["trained"] = Array(np.array(shares, float), ("setting",), "", "share of the whole training")
    best = summary.best
    pairs = [None if best is None or row is best else summary.pair(row, best) for row in rows]
    for part, about in (
        ("mean", "mean difference to the best over seeds"), ("low", "its bootstrap interval, lower end"),
        ("high", "its bootstrap interval, upper end"), ("p", "two-sided p of Student's t of it"),
    ):  # fmt: skip
        parts = np.array([np.nan if found is None else getattr(found, part) for found in pairs], float)
        arrays[f"difference_{part}"] = Array(parts, ("setting",), "" if part == "p" else unit, about)
    for n, row in enumerate(rows):
        for axis in AXES:
            x, mean, low, high = mean_curve(runs[row.number], axis)
            if not x.size:
                continue
            axes[f"{axis}_{n}"] = Axis.of(x.tolist())
            over = f"{token}s" if axis == "tokens" else axis
            for part, values in (("mean", mean), ("low", low), ("high", high)):
                arrays[f"curve_{axis}_{part}_{n}"] = Array(
                    values, (f"{axis}_{n}",), unit, f"{part} loss of {row.name} over {over}"
                )
        if row.changes is not None:
            axes[f"back_{n}"] = Axis.of(range(len(row.changes)), "time steps")
            arrays[f"back_{n}"] = Array(
                row.changes, (f"back_{n}",), "", f"change of the outputs of {row.name} with an input"
            )
    numbers = {"target": Number(summary.target, unit, "loss whose time is told"),
               "tokens": Number(summary.shared, plan.unit, "that all runs have read")}  # fmt: skip
    if plan.baseline is not None:
        numbers["baseline"] = Number(plan.baseline[1], unit, plan.baseline[0])
    for n, row in enumerate(rows):
        if row.changes is not None and (back := furthest(row.changes)) is not None:
            numbers[f"back_{n}"] = Number(back, "time steps", f"how far back {row.name} looks")
    text = plan.task if plan.task != tasks.DEFAULT else "the text of all runs"
    subject = {"run": name, "text": text, "settings": len(rows), "seeds": len(plan.seeds)}
    return Measure("search" if plan.rungs else "compare", subject, axes, arrays, numbers, verdicts(summary))
