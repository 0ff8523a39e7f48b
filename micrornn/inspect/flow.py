"""Where the gradient goes: how large it is at every time step, layer and gate, and how far back it reaches.

    flow           the measure
    norms_of       those of one layer, out of what a backward pass has left

A loss at every time step feeds the gradient at every time step, so the sum of all losses hardly ever vanishes on
its way back, however little of it comes from far. So everything is measured for all losses together, and the way
back in time once more for the loss of the last time step alone (`..._last`): that one says how far back a time step
can be blamed for what comes later. In a layer that reads backward, the last time step is the first of the text.

L is what one lane loses, in nats or what else the loss is in, summed over the time steps of the window (for `..._last`:
at the last one). Where a whole sequence has one loss, or the layers are an encoder's, `..._last` is of that loss, or of
the decoder's last one, and lags count from the end of the sequence. What is padding takes no part in any mean.

Norms are over the units of a layer and then averaged over lanes and windows. dL/dh_t and dL/dc_t are total derivatives,
through all later time steps and all layers above; dL/dc_t also through h_t = o tanh(c_t).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micrornn import kernels
from micrornn.errors import counted
from micrornn.inspect import carried as carrying
from micrornn.inspect import flow_verdicts
from micrornn.inspect.fading import LEFT, fitted, half_life, reach
from micrornn.inspect.measure import Array, Axis, Measure
from micrornn.inspect.panels import Heat, Lines, Mark, Panel, Rows, Slides, curves, positive
from micrornn.inspect.recorded import (
    Layer,
    Recording,
    by_gate,
    from_last,
    gate_names,
    mean_of,
    norms,
    over_lanes,
    record,
    states,
)
from micrornn.inspect.register import Measuring
from micrornn.inspect.saturated import KEEPS, forgets, shares_of
from micrornn.inspect.window import Window, one_by_one
from micrornn.inspect.words import of_gradient, percent
from micrornn.runs import Progress

if TYPE_CHECKING:
    from micrornn.inspect.subject import Subject

# A unit is dead if its value changes by no more than this part of itself over all that was read.
STILL = 1e-3

MOST_UNITS = 128  # units of a layer in the heat map: the first, which are as good as any others


def flow(model: Any, windows: Sequence[Window], progress: Progress | None = None, part: str = "",
         **about: Any) -> Measure:  # fmt: skip
    """The gradient at every time step of the windows, all of one shape, averaged over them.

    Parameters are those of every measure (`Measuring`). ConfigError if nothing in the model is recurrent, or there is
    no window.
    """
    found, recorded, padded = [], list[list[Layer]](), False
    for window in one_by_one("flow", windows, progress):
        recording = record(model, window, part)
        padded = padded or recording.padded
        found.append(_look(recording))
        if not about.get("carried") and len(recorded) < carrying.WINDOWS:
            recorded.append(recording.layers)
    layers, gates = [layer.name for layer in recording.layers], gate_names(recording.layers[0])
    mean = {name: mean_of([one[name] for one in found], padded and name != "forgets") for name in found[0]}
    seq_len, units = mean["dh"].shape[1], mean["units"].shape[2]
    for kind in ("h", "gates"):  # the extremes over all windows, not their mean
        low, high = np.min([one[kind + "_low"] for one in found], 0), np.max([one[kind + "_high"] for one in found], 0)
        mean["dead_" + kind] = _dead(low, high)
    profiles = mean.get("dc_last", mean["dh_last"])  # all that an LSTM remembers passes through c
    left = np.array([_left(profile) for profile in profiles])
    factors = np.array([fitted(profile)[0] for profile in left])
    able = carrying.told(about, recorded, model)
    far = np.array([_reach(profile) for profile in left], float)
    memory, unit = "c" if "dc_last" in mean else "h", of_gradient(about)
    alone = f"L is {recording.last_loss}"

    axes = {
        "layer": Axis.of(layers), "t": Axis.of(range(seq_len), "time step"), "gate": Axis.of(gates),
        "lag": Axis.of(range(seq_len), "time steps back"), "unit": Axis.of(range(units)),
    }  # fmt: skip
    time, lag, gate = ("layer", "t"), ("layer", "lag"), ("layer", "gate")
    arrays = {
        "dh": Array(mean["dh"], time, unit, "norm of dL/dh_t, L of all time steps"),
        "dgates": Array(mean["dgates"], (*gate, "t"), unit, "norm of dL/da_t, a_t what goes into the gate"),
        "dx": Array(mean["dx"], time, unit, "norm of dL/dx_t, x_t what the layer reads"),
        "units": Array(mean["units"], ("layer", "t", "unit"), unit, "|dL/dh_t| of a unit, mean over lanes"),
        "dh_last": Array(mean["dh_last"], lag, unit, f"norm of dL/dh_t, {alone}"),
        "left": Array(left, lag, "", f"norm of dL/d{memory}_t relative to lag 0, {alone}"),
        "low": Array(mean["low"], (*gate, "t"), "", "share of values saturated at the lower end"),
        "high": Array(mean["high"], (*gate, "t"), "", "share of values saturated at the upper end"),
        "forgets": Array(mean["forgets"], ("layer",), "per time step", "1 - f (1 - z), mean; NaN: no such gate"),
        "dead_gates": Array(mean["dead_gates"], gate, "", "share of units whose gate never moves"),
        "dead": Array(mean["dead_h"], ("layer",), "", "share of units whose h never moves"),
        "decay": Array(factors, ("layer",), "per time step", "what remains of the last time step's gradient"),
        "half_life": Array(
            half_life(factors), ("layer",), "time steps", "of a line through its logarithm; inf: it does not fade"
        ),
        "reach": Array(far, ("layer",), "time steps", f"after which less than {percent(LEFT)} of it is left"),
    }
    if memory == "c":
        arrays["dc"] = Array(mean["dc"], time, unit, "norm of dL/dc_t, L of all time steps")
        arrays["dc_last"] = Array(mean["dc_last"], lag, unit, f"norm of dL/dc_t, {alone}")
    hidden_size = states(recording.layers[0], "h").shape[2]
    told = about | {
        "windows": len(found), "seq_len": seq_len, "batch_size": recording.shape[1],
        "hidden_size": hidden_size, "whole": recording.whole, "last_loss": recording.last_loss,
    } | ({"part": part} if part else {})  # fmt: skip
    measure = Measure("flow", told, axes, arrays)
    return measure.judged(*flow_verdicts.of_flow(measure, able))


def _look(recording: Recording) -> dict[str, np.ndarray]:
    """What one window shows; the first axis of each array is the layer."""
    layers, dread = recording.layers, recording.dread()
    rows = [
        norms_of(layer) | shares_of(layer) | {"forgets": np.array(forgets(layer))}
        | {"units": over_lanes(np.abs(states(layer, "dh")[:, :, :MOST_UNITS]), layer.mask)}
        | _extremes(layer)
        for layer in layers
    ]  # fmt: skip
    for row, profiles in zip(rows, from_last(recording, dread)):
        row |= {f"{name}_last": profile for name, profile in profiles.items()}
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def norms_of(layer: Layer) -> dict[str, np.ndarray]:
    """dh, dx (T,), dgates (gates, T) and, of an LSTM, dc (T,): the norms that the last backward pass has left."""
    saved, (weight_ih, _) = layer.saved, layer.saved["weights"]
    k, width = kernels.of(weight_ih), saved["dgates"].shape[2]
    dx = k.empty(saved["x"].shape, weight_ih.dtype)
    k.matmul(dx.reshape(-1, dx.shape[2]), saved["dgates"].reshape(-1, width), weight_ih)
    mask = layer.mask
    found = {"dh": norms(states(layer, "dh"), mask), "dgates": norms(by_gate(layer, "dgates"), mask).T,
             "dx": norms(dx, mask)}  # fmt: skip
    return found | ({"dc": norms(states(layer, "dc"), mask)} if "dc" in saved else {})


def _extremes(layer: Layer) -> dict[str, np.ndarray]:
    """The smallest and the largest value of each unit of h, and of each gate, over time steps and lanes."""
    h, gates, mask = states(layer, "h"), by_gate(layer), layer.mask
    h, gates = (x.reshape(-1, *x.shape[2:]) if mask is None else x[mask] for x in (h, gates))
    return {
        "h_low": h.min(axis=0), "h_high": h.max(axis=0),
        "gates_low": gates.min(axis=0), "gates_high": gates.max(axis=0),
    }  # fmt: skip


def _dead(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The share of units that do not move, (..., H) -> (...)."""
    still: np.ndarray = (high - low <= STILL * np.maximum(np.abs(low), np.abs(high))).mean(axis=-1)
    return still


def _reach(left: np.ndarray) -> float:
    """Where 1 % is left: infinite where more is left at the end, 0 where nothing arrives at all."""
    far = reach(left)
    return 0 if np.isnan(left[0]) else np.inf if far is None else far


def _left(profile: np.ndarray) -> np.ndarray:
    """A profile over lags relative to its first number; NaN where that is 0 or not finite."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.where(profile[0] > 0, profile / profile[0], np.nan)


TIME = "time step (0: the start)"  # beside an axis that counts from the end
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
    more = " Above 1 it has grown on its way back." if (measure["left"] > 1.005).any() else ""
    if any(layer.endswith("_reverse") for layer in layers):
        more += " A layer that reads backward ends at the first time step."
    yield Lines(
        "How far back the last loss reaches", "time steps back (0: the end)", f"norm of dL/d{memory}_t, 1 at the end",
        curves(layers, lags, positive(measure["left"])), log_y=True,
        marks=[Mark(float(far), "1 % left")] if np.isfinite(far) else [],
        note=f"Gradient of {last} alone: what a time step is told of what comes later.{more}",
    )  # fmt: skip
    note = "All losses together. Each time step has a loss of its own, so this does not vanish."
    if measure.subject.get("whole"):
        note = "All losses together; none of them is at a time step of its own here."
    yield _by_layer("Gradient at every time step", f"norm of dL/d{memory}_t", layers, measure[f"d{memory}"], note)
    single = len(gates) == 1  # then it is no gate, but what all of the cell goes through
    for layer, rows in zip(layers, measure["dgates"]):
        into = "pre-activation" if single else "gates"
        yield _by_layer(f"Gradient into the {into} of {layer}", "norm of dL/da_t", gates, rows)
    yield _by_layer("Gradient passed down", "norm of dL/dx_t", layers, measure["dx"])
    shown, there = measure["units"].shape[2], measure.subject.get("hidden_size", measure["units"].shape[2])
    which = "every unit" if shown == there else f"the first {shown} of {counted(there, 'unit')}"
    for layer, values in zip(layers, measure["units"]):
        yield Heat(
            f"Gradient of {which} of {layer}", TIME, "unit", "|dL/dh_t|", measure.axes["t"].places,
            measure.axes["unit"].places, positive(values.T), log=True, note="Mean over lanes and windows.",
        )  # fmt: skip
    low, high = measure["low"].mean(axis=2), measure["high"].mean(axis=2)
    yield Rows(
        "Saturated and dead",
        ("layer", "value" if single else "gate", "low end", "high end", "never moves"),
        [
            (layer, gate, *(percent(share[n, m]) for share in (low, high, measure["dead_gates"])))
            for n, layer in enumerate(layers)
            for m, gate in enumerate(gates)
        ]
        + [(layer, "h", "", "", percent(share)) for layer, share in zip(layers, measure["dead"])],
        note="Ends: a sigmoid below 0.1 and above 0.9, tanh below -0.95 and above 0.95; share of all values. "
        + (f"{gates[0]}: what the activation makes of a_t. " if single else "")
        + ("A forget gate at its high end keeps what it has, which is no fault. " if KEEPS & set(gates) else "")
        + f"Never moves: share of units whose values differ by {percent(STILL)} at most over all that was read.",
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
            f"Gradient in {layer} over training", "update", TIME, f"norm of dL/d{memory}_t", updates,
            measure.axes["t"].places, positive(values[:, n].T), log=True,
        )  # fmt: skip
    for n, layer in enumerate(layers):
        yield Lines(
            f"Saturated values in {layer}", "update", "share of values",
            curves(gates, updates, (measure["low"] + measure["high"])[:, n].T),
            limits=(0.0, 1.0),
        )  # fmt: skip


def _by_layer(title: str, y_label: str, names: tuple[str, ...], rows: np.ndarray, note: str = "",
              wide: bool | None = None) -> Lines:  # fmt: skip
    """rows (names, T): a curve each over time."""
    wide = _wide(rows) if wide is None else wide
    drawn = curves(names, np.arange(rows.shape[1]), positive(rows) if wide else rows)
    return Lines(title, TIME, y_label, drawn, log_y=wide, note=note)


def _wide(values: np.ndarray) -> bool:
    known = values[np.isfinite(values) & (values > 0)]
    return bool(known.size and known.max() > WIDE * known.min())


class Flow(Measuring):
    """How large the gradient is at every time step, layer and gate; which gates are stuck.

    Norms of dL/dh_t, dL/dc_t, dL/dx_t and of each gate's gradient; how far back the gradient of the last time
    step goes; the share of saturated gates and dead units. A run that was trained with `watch_gradients` shows
    how that changed while it trained.
    """

    name = "flow"
    order = 1
    asks = "does the gradient arrive, or is a gate stuck?"
    title = "Flow: how large the gradient is at every time step"
    example = "`seq_len=200`"
    quick = True
    by_part = True
    judges = ("exploding", "chaotic", "vanishing", "saturated", "dead")
    measure = staticmethod(flow)
    panels = staticmethod(panels)

    def besides(self, subject: Subject) -> Iterator[Measure]:
        """What was watched while the run trained."""
        from micrornn.inspect.watched import flow_over_training, was_watched

        folder = Path(subject.meta["path"]).parent
        if was_watched(folder):
            yield flow_over_training(folder, learned=subject.about()["learned"], unit=subject.material.unit)
