"""How the measure `advise` is drawn."""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.advised import lanes_of
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Curve, Lines, Mark, Panel, Rows, positive
from micrornn.inspect.words import percent


def panels(measure: Measure) -> list[Panel]:
    """Two tables, num_steps and batch_size, each with the advised one and its neighbours; and the same as curves."""
    return [_steps(measure), _sizes(measure), _steps_curves(measure), _sizes_curves(measure)]


def _stages(measure: Measure) -> list[int]:
    """Those at which anything was told."""
    return [n for n, row in enumerate(measure["bias"]) if np.isfinite(row).any()]


def _steps(measure: Measure) -> Rows:
    steps, K = list(measure.axes["K"].places), int(measure.numbers["num_steps"].value)
    stages, cost = _stages(measure), measure["time_of_steps"]
    shown = [k for k in (K // 4, K // 2, K, 2 * K) if k in steps]
    return Rows(
        "num_steps: what truncation costs",
        ["num_steps", *(f"bias {measure.axes['stage'].places[n]}" for n in stages), "kept", "time to a loss", ""],
        [
            [f"{k}", *(_bias(measure, n, at) for n in stages), percent(measure["kept"][at]) if stages else "?",
             f"x {cost[at]:.2f}", _here(k == K)]
            for k in shown for at in [steps.index(k)]
        ],
        note="bias: ||E g_K - E g|| / ||E g||, < where it cannot be told from 0; kept: cosine of the two",
    )  # fmt: skip


def _bias(measure: Measure, stage: int, at: int) -> str:
    value, low, high = (measure[name][stage, at] for name in ("bias", "low", "high"))
    return percent(value) if low > 0 else f"< {percent(high)}"


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
        ["batch_size", f"{_item(measure)}s/s", "per update", "updates", "time to a loss", ""],
        rows,
        note=_scales(measure),
    )


def _item(measure: Measure) -> str:
    """What a time step holds."""
    return str(measure.subject.get("item", "token"))


def _here(it: bool) -> str:
    return "← this" if it else ""


def _scales(measure: Measure) -> str:
    each = [
        f"{lanes_of(found)} lanes ({lanes_of(low)} to {lanes_of(high)}) at {point}"
        for point, (found, low, high) in zip(measure.axes["point"].places, measure["scale"])
    ]
    return "noise scale: " + ", ".join(each)


def _steps_curves(measure: Measure) -> Lines:
    steps = np.array(measure.axes["K"].places)
    curves = [
        Curve(measure.axes["stage"].places[n], steps, *(positive(measure[name][n]) for name in ("bias", "low", "high")))
        for n in _stages(measure)
    ]
    tolerance = measure.numbers["tolerance"].value
    curves.append(Curve("tolerated", steps, np.full(len(steps), tolerance)))
    K = int(measure.numbers["num_steps"].value)
    return Lines(
        "What truncation costs", "num_steps", "bias: ||E g_K - E g|| / ||E g||", curves, log_x=True, log_y=True,
        marks=[Mark(K, f"num_steps {K}")], note="Of the mean gradient, mean over the seeds; band: two standard errors.",
    )  # fmt: skip


def _sizes_curves(measure: Measure) -> Lines:
    sizes, N = np.array(measure.axes["batch_size"].places), int(measure.numbers["batch_size"].value)
    scale, speed = measure.numbers["scale"].value, measure["speed"]
    curves = [
        Curve("time to a loss", sizes, measure["time"]),
        Curve(f"time per {_item(measure)}", sizes, speed.max() / speed),
    ]
    if math.isfinite(scale):
        curves.append(Curve(f"{_item(measure)}s to a loss", sizes, (sizes + scale) / (sizes[0] + scale)))
    return Lines(
        "Time to reach a loss", "batch_size in lanes", "times the least", curves, log_x=True, log_y=True,
        marks=[Mark(N, f"batch_size {N}")],
        note=f"Time is time per {_item(measure)} times {_item(measure)}s: (1 + B / N) t(N), with B the noise scale.",
    )  # fmt: skip
