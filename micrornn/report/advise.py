"""How the measure `advise` is drawn."""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.advice import lanes_of, percent
from micrornn.inspect.measure import Measure
from micrornn.report.panels import Curve, Lines, Mark, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """Two tables, num_steps and batch_size, each with the advised one and its neighbours; and the same as curves."""
    return [_steps(measure), _sizes(measure), _steps_curves(measure), _sizes_curves(measure)]


def _steps(measure: Measure) -> Rows:
    steps, K = list(measure.axes["K"].places), int(measure.numbers["num_steps"].value)
    updates, bias = measure.axes["updates"].places, np.nanmean(measure["bias"], axis=2)
    kept, cost = np.nanmean(measure["cosine"], axis=2).min(axis=0), measure["time_of_steps"]
    shown = [k for k in (K // 4, K // 2, K, 2 * K) if k in steps]
    return Rows(
        "num_steps: what truncation costs",
        ["num_steps", *(f"bias after {n:,}" for n in updates), "kept", "time to a loss", ""],
        [
            [f"{k}", *(percent(values[at]) for values in bias), percent(kept[at]), f"x {cost[at]:.2f}", _here(k == K)]
            for k in shown for at in [steps.index(k)]
        ],
        note="bias: ||g_K - g|| / ||g||; kept: cosine of g_K and g",
    )  # fmt: skip


def _sizes(measure: Measure) -> Rows:
    N, scale = int(measure.numbers["batch_size"].value), measure.numbers["scale"].value
    rows = []
    for at, size in enumerate(measure.axes["batch_size"].places):
        updates = f"x {1 + scale / size:.3g}" if math.isfinite(scale) else "?"
        rows.append([
            f"{size}", f"{measure['speed'][at]:,.0f}", f"{1e3 * measure['seconds'][at, 0]:.3g} ms", updates,
            f"x {measure['time'][at]:.2f}", _here(size == N),
        ])  # fmt: skip
    return Rows(
        "batch_size: what lanes cost",
        ["batch_size", "tokens/s", "per update", "updates", "time to a loss", ""],
        rows,
        note=_scales(measure),
    )


def _here(it: bool) -> str:
    return "← this" if it else ""


def _scales(measure: Measure) -> str:
    each = [
        f"{lanes_of(found)} lanes ({lanes_of(low)} to {lanes_of(high)}) after {n:,} updates"
        for n, (found, low, high) in zip(measure.axes["updates"].places, measure["scale"])
    ]
    return "noise scale: " + ", ".join(each)


def _steps_curves(measure: Measure) -> Lines:
    steps, bias = np.array(measure.axes["K"].places), measure["bias"]
    curves = [
        Curve(f"after {n:,} updates", steps, np.nanmean(rows, axis=1), np.nanmin(rows, axis=1), np.nanmax(rows, axis=1))
        for n, rows in zip(measure.axes["updates"].places, bias)
    ]
    tolerance = measure.numbers["tolerance"].value
    curves.append(Curve("to be borne", steps, np.full(len(steps), tolerance)))
    K = int(measure.numbers["num_steps"].value)
    return Lines(
        "What truncation costs", "num_steps", "bias: ||g_K - g|| / ||g||", curves, log_x=True, log_y=True,
        marks=[Mark(K, f"num_steps {K}")], note="Mean over windows of text; band: lowest and highest of them.",
    )  # fmt: skip


def _sizes_curves(measure: Measure) -> Lines:
    sizes, N = np.array(measure.axes["batch_size"].places), int(measure.numbers["batch_size"].value)
    scale, speed = measure.numbers["scale"].value, measure["speed"]
    curves = [Curve("time to a loss", sizes, measure["time"]), Curve("time per token", sizes, speed.max() / speed)]
    if math.isfinite(scale):
        curves.append(Curve("tokens to a loss", sizes, (sizes + scale) / (sizes[0] + scale)))
    return Lines(
        "Time to reach a loss", "batch_size in lanes", "times the least", curves, log_x=True, log_y=True,
        marks=[Mark(N, f"batch_size {N}")],
        note="Time is time per token times tokens: (1 + B / N) t(N), with B the noise scale.",
    )  # fmt: skip
