"""The flow of the gradient while a model trains, as gradients.jsonl holds it.

    was_watched          whether a run has any
    flow_row             what one update shows, out of what its own backward pass has left on the tape
    flow_over_training   the measure: all rows of a run

With `watch_gradients=N` training writes a row at the first update and at every N-th. Nothing is computed a second
time but dL/dx_t, and a few products of Jacobians that say what the layers could carry, so a row costs about an update
or two; and nothing that training uses is touched.

Norms are those of the measure `flow`, for all losses of the window together: L is what one lane loses, in nats,
summed over the window, whatever the training minimised (its mean, its sum).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn.checkpoint import RunFolder, StrPath
from micrornn.config import MOST
from micrornn.errors import CheckpointError, ConfigError, named
from micrornn.inspect import flow_verdicts
from micrornn.inspect.carried import carried
from micrornn.inspect.flow import norms_of
from micrornn.inspect.measure import Array, Axis, Measure
from micrornn.inspect.recorded import Layer, gate_names, layers_on
from micrornn.inspect.saturated import shares_of
from micrornn.inspect.words import of_gradient
from micrornn.schema import Rule, check_table
from micrornn.tape import Tape


def flow_row(tape: Tape, scale: float) -> dict[str, Any]:
    """{"gates": names, "layers": {name: {"dh": [...], "dgates": [[...], ...], ...}}}: one row of gradients.jsonl.

    tape     of a window, after backward
    scale    makes the gradient that went back one of the loss summed over time and lanes

    ConfigError if no recurrent layer went over a whole sequence at once.
    """
    layers: list[Layer] = []
    for layer in layers_on(tape):  # of a network with several recurrent parts, such as a decoder, those of the last
        part = layer.name.rpartition(".")[0]
        again = any(one.name == layer.name or one.name.rpartition(".")[0] != part for one in layers)
        layers = [layer] if again else [*layers, layer]
    if not layers:
        raise ConfigError("gradients can be watched with `granularity=sequence` only: it saves what is to be seen")
    found, able = dict[str, dict[str, Any]](), carried([layers], most=WATCHED)
    for layer in layers:
        norms = {name: values * scale for name, values in norms_of(layer).items()}
        shares = {name: values.mean(axis=1) for name, values in shares_of(layer).items()}
        found[layer.name] = {name: _short(values) for name, values in (norms | shares).items()}
        share = able.share[layer.name]
        found[layer.name]["carried"] = float(f"{share:.4g}") if math.isfinite(share) else None
    return {"gates": list(gate_names(layers[0])), "layers": found}


def _short(values: np.ndarray) -> list[Any]:
    """With four digits: a row is for the eye, and there may be many."""
    if values.ndim > 1:
        return [_short(row) for row in values]
    return [float(f"{value:.4g}") for value in values]


def _even(rows: list[Any]) -> np.ndarray:
    """Nested lists as one array; where their last ones differ in length, because sequences do, with NaN behind them."""

    def longest(part: Any) -> int:
        return max(map(longest, part)) if isinstance(part[0], list) else len(part)

    def filled(part: Any) -> Any:
        return [filled(one) for one in part] if isinstance(part[0], list) else part + [math.nan] * (most - len(part))

    most = longest(rows)
    return np.array(filled(rows), np.float64)


def was_watched(folder: StrPath) -> bool:
    """Whether anything was watched while the run in this folder trained. CheckpointError if that cannot be read."""
    try:
        run = RunFolder.open(folder)
    except CheckpointError:  # a checkpoint that lies alone
        return False
    return bool(run.gradients.read())


def flow_over_training(folder: StrPath, **about: Any) -> Measure:
    """What was watched while the run in this folder trained. `about`: what else the measure says of its subject.

    CheckpointError if the folder is no run, if nothing was watched, or if gradients.jsonl is not what it should be.
    """
    run = RunFolder.open(folder)
    rows = run.gradients.read()
    if not rows:
        raise CheckpointError(
            f"{folder}: no gradients were watched while it trained.\n"
            "Train with `watch_gradients=50`; with `resume` it is watched from there on."
        )
    for number, row in enumerate(rows, 1):
        check_table(row, ROW, f"{named(run.gradients.path)}:{number}", CheckpointError)
    try:
        layers = tuple(rows[0]["layers"])
        first: dict[str, Any] = next(iter(rows[0]["layers"].values()), {})
        values = {
            name: _even([[row["layers"][layer][name] for layer in layers] for row in rows])
            for name in first
            if name != "carried"
        }
        # a run that was watched before this was recorded has none
        able = [[row["layers"][layer].get("carried") for layer in layers] for row in rows]
        values["carried"] = np.array(able, np.float64)
        axes = {
            "update": Axis.of([row["update"] for row in rows], "update"),
            "layer": Axis.of(layers),
            "t": Axis.of(range(values["dh"].shape[2]), "time step"),
            "gate": Axis.of(rows[0]["gates"]),
        }
        arrays = {
            name: Array(values[name], shape, of_gradient(about) if summed else "", words)
            for name, (shape, summed, words) in SHOWN.items()
            if name in values
        }
        lengths = [len(row["layers"][layers[0]]["dh"]) for row in rows]
        loss = np.array([row["loss"] for row in rows], np.float64)
        arrays["loss"] = Array(loss, ("update",), str(about.get("unit", "nats per token")), "loss of that update")
        told = about | {"run": run.path.name, "updates": rows[-1]["update"], "seq_len": values["dh"].shape[2]}
        measure = Measure("flow_over_training", told, axes, arrays)
        return measure.judged(*flow_verdicts.of_training(measure, lengths))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{named(run.gradients.path)}: not what `watch_gradients` writes ({str(error)[:200]}). Remove that file."
        ) from None


ROW = {
    "update": Rule(int, low=1, high=MOST), "every": Rule(int, low=1, high=MOST), "loss": Rule(float),
    "gates": Rule(list, items=Rule(str)), "layers": Rule(dict, items=Rule(dict)),
}  # fmt: skip
WATCHED = 4  # products that a row looks at: an update is short

_TIME, _GATE = ("update", "layer", "t"), ("update", "layer", "gate")
SHOWN = {  # axes, whether it is in the unit of a gradient, what it is
    "dh": (_TIME, True, "norm of dL/dh_t, L of all time steps"),
    "dc": (_TIME, True, "norm of dL/dc_t, L of all time steps"),
    "dx": (_TIME, True, "norm of dL/dx_t, x_t what the layer reads"),
    "dgates": ((*_GATE, "t"), True, "norm of dL/da_t, a_t what goes into the gate"),
    "low": (_GATE, False, "share of values saturated at the lower end"),
    "high": (_GATE, False, "share of values saturated at the upper end"),
    "carried": (("update", "layer"), False, "share of a gradient that is left at most over half a window"),
}
