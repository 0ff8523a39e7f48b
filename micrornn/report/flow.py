"""How the measures `flow` and `flow_over_training` are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.words import percent
from micrornn.report.panels import Curve, Heat, Lines, Mark, Panel, Rows, Slides

WIDE = 30.0  # numbers that differ by more than this factor are drawn on a logarithmic axis


def panels(measure: Measure) -> list[Panel]:
    """Of `flow`: how far back, then every time step, gate and unit. Of `flow_over_training`: the same, update by
    update."""
    return list(_over_training(measure) if measure.what == "flow_over_training" else _flow(measure))


def _flow(measure: Measure) -> Iterator[Panel]:
    layers, gates = measure.axes["layer"].places, measure.axes["gate"].places
    lags, memory = np.arange(measure["left"].shape[1]), "c" if "dc" in measure.arrays else "h"
    far = measure["reach"].max()
    last = measure.subject.get("last_loss", "the last time step's loss")
    yield Lines(
        "How far back the last loss reaches", "time steps back", f"share left of dL/d{memory}_t",
        [Curve(layer, lags, _drawable(row)) for layer, row in zip(layers, measure["left"])], log_y=True,
        marks=[Mark(float(far), "1 % left")] if np.isfinite(far) else [],
        note=f"Gradient of {last} alone: what a time step is told of what comes later.",
    )  # fmt: skip
    note = "All losses together. Each time step has a loss of its own, so this does not vanish."
    if measure.subject.get("whole"):
        note = "All losses together; none of them is at a time step of its own here."
    yield _by_layer("Gradient at every time step", f"norm of dL/d{memory}_t", layers, measure[f"d{memory}"], note)
    for layer, rows in zip(layers, measure["dgates"]):
        yield _by_layer(f"Gradient into the gates of {layer}", "norm of dL/da_t", gates, rows)
    yield _by_layer("Gradient passed down", "norm of dL/dx_t", layers, measure["dx"])
    shown, there = measure["units"].shape[2], measure.subject.get("hidden_size", measure["units"].shape[2])
    which = "every unit" if shown == there else f"the first {shown} of {there} units"
    for layer, values in zip(layers, measure["units"]):
        yield Heat(
            f"Gradient of {which} of {layer}", "time step", "unit", "|dL/dh_t|", measure.axes["t"].places,
            measure.axes["unit"].places, _drawable(values.T), log=True, note="Mean over lanes and windows.",
        )  # fmt: skip
    low, high = measure["low"].mean(axis=2), measure["high"].mean(axis=2)
    yield Rows(
        "Saturated and dead",
        ("layer", "gate", "low end", "high end", "never moves"),
        [
            (layer, gate, *(percent(share[n, m]) for share in (low, high, measure["dead_gates"])))
            for n, layer in enumerate(layers)
            for m, gate in enumerate(gates)
        ]
        + [(layer, "h", "", "", percent(share)) for layer, share in zip(layers, measure["dead"])],
        note="Ends: a sigmoid below 0.1 and above 0.9, tanh below -0.95 and above 0.95; share of all values. "
        "A forget gate at its high end keeps what it has, which is no fault.",
    )


def _over_training(measure: Measure) -> Iterator[Panel]:
    layers, gates, updates = (measure.axes[name].places for name in ("layer", "gate", "update"))
    memory = "c" if "dc" in measure.arrays else "h"
    values = measure[f"d{memory}"]
    yield Slides(
        "Gradient at every time step", "update", updates,
        [_by_layer("", f"norm of dL/d{memory}_t", layers, rows, wide=_wide(values)) for rows in values],
        note="All losses of the window together.",
    )  # fmt: skip
    for n, layer in enumerate(layers):
        yield Heat(
            f"Gradient in {layer} over training", "update", "time step", f"norm of dL/d{memory}_t", updates,
            measure.axes["t"].places, _drawable(values[:, n].T), log=True,
        )  # fmt: skip
    for n, layer in enumerate(layers):
        yield Lines(
            f"Saturated values in {layer}", "update", "share of values",
            [Curve(gate, np.array(updates), (measure["low"] + measure["high"])[:, n, m])
             for m, gate in enumerate(gates)],
            limits=(0.0, 1.0),
        )  # fmt: skip


def _by_layer(title: str, y_label: str, names: tuple[str, ...], rows: np.ndarray, note: str = "",
              wide: bool | None = None) -> Lines:  # fmt: skip
    """rows (names, T): a curve each over time."""
    wide = _wide(rows) if wide is None else wide
    times = np.arange(rows.shape[1])
    curves = [Curve(name, times, _drawable(row) if wide else row) for name, row in zip(names, rows)]
    return Lines(title, "time step", y_label, curves, log_y=wide, note=note)


def _wide(values: np.ndarray) -> bool:
    known = values[np.isfinite(values) & (values > 0)]
    return bool(known.size and known.max() > WIDE * known.min())


def _drawable(values: np.ndarray) -> np.ndarray:
    """NaN for what has no logarithm."""
    return np.where(values > 0, values, np.nan)
