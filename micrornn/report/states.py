"""How the measure `states` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.saturated import KEEPS
from micrornn.inspect.states import best_of
from micrornn.inspect.words import percent
from micrornn.report.panels import Coloured, Heat, Panel, Rows, Slides

MOST_TEXTS, MOST_UNITS = 3, 48
OBVIOUS = {"whitespace"}  # the token itself says it: a unit that follows it remembers nothing


def panels(measure: Measure) -> list[Panel]:
    """Which unit follows what, the text in the colours of those that follow best, the states of each layer as heat
    maps, how its gates are spread; nothing if a state was not finite."""
    if not measure.arrays:
        return []
    names, layers, kinds = (measure.axes[axis].places for axis in ("property", "layer", "state"))
    correlations, luck = measure["correlation"], measure["luck"]
    found = [(name, best_of(correlations[n]), n) for n, name in enumerate(names)]
    found.sort(key=lambda row: -abs(float(correlations[row[2]][row[1]])))
    rows: list[list[str]] = []
    texts: list[Panel] = []
    for name, (layer, kind, unit), n in found:
        r = float(correlations[n][layer, kind, unit])
        above = "" if abs(r) > luck[n] else "no more than luck"
        rows.append([name, f"{kinds[kind]} of unit {unit} in {layers[layer]}", f"{r:+.2f}", f"{luck[n]:.2f}", above])
        if not above and name not in OBVIOUS and len(texts) < MOST_TEXTS:
            texts.append(_text(measure, name, kinds[kind], f"unit {unit} of {layers[layer]}", r))
    table = Rows(
        "Units that follow something", ["property", "best unit", "r", "by luck", ""], rows,
        note="r: Pearson's correlation over the text. By luck: what the best of all units reaches with the property "
        "shifted along the text.",
    )  # fmt: skip
    return [table, *texts, *_heats(measure), _gates(measure)]


def _text(measure: Measure, name: str, kind: str, unit: str, r: float) -> Coloured:
    values = measure[f"follows {name}"]
    scale = max(1.0, float(np.abs(values).max()))  # c and a relu go beyond 1
    return Coloured(
        f"{name}: {unit}", measure.axes[f"text for {name}"].places, np.round(values / scale, 3),
        kind if scale == 1 else f"{kind} / {scale:.3g}",
        note=f"Where the property varies most; r = {r:+.2f} over the whole text.",
    )  # fmt: skip


def _heats(measure: Measure) -> list[Panel]:
    """Of each layer h, c and the gates over the first tokens: the units whose state moves most, that one on top."""
    layers, tokens = measure.axes["layer"].places, measure.axes["token"].places
    drawn: list[Panel] = []
    for n, layer in enumerate(layers):
        for kind in measure.axes["state"].places:
            values = measure[kind][n].T
            values = np.tanh(values) if kind == "c" else values
            liveliest = np.argsort(-values.std(axis=1), kind="stable")[:MOST_UNITS]
            there = len(measure.axes["unit"].places)
            among = f"the first {len(values)} of {there}" if len(values) < there else f"{there}"
            note = f"The {len(liveliest)} units that move most of {among}." if len(liveliest) < there else ""
            drawn.append(
                Heat(
                    f"{layer}: {kind}_t over the text", "token", "unit", "tanh(c)" if kind == "c" else kind,
                    tokens, liveliest.tolist(), np.round(values[liveliest], 3), centred=True, note=note,
                )
            )  # fmt: skip
        names = measure.axes["gate"].places
        order = sorted(range(len(names)), key=lambda m: names[m] in KEEPS)  # a page opens with the last
        gates = [
            Heat(
                "", "token", "unit", f"gate {names[m]}", tokens, liveliest.tolist(),
                np.round(measure["gates"][n, m].T[liveliest], 3), centred=bool(measure["gates"][n, m].min() < 0),
                limits=(-1, 1) if measure["gates"][n, m].min() < 0 else (0, 1),
            )
            for m in order
        ]  # fmt: skip
        if len(gates) > 1:  # the one of an RNN is h
            places = [names[m] for m in order]
            drawn.append(Slides(f"{layer}: gates over the text", "gate", places, gates, note=note))
    return drawn


def _gates(measure: Measure) -> Rows:
    low, high, rows = measure["low"], measure["high"], []
    for n, layer in enumerate(measure.axes["layer"].places):
        for m, gate in enumerate(measure.axes["gate"].places):
            ends = [percent(low[n, m].mean()), percent(high[n, m].mean())]
            always = [f"{(x[n, m] > 0.9).sum()} of {low.shape[2]}" for x in (low, high)]
            rows.append([layer, gate, *ends, *always])
    return Rows(
        "How often gates are at their ends", ["layer", "gate", "low", "high", "units mostly low", "units mostly high"],
        rows, note="A sigmoid is low (closed) below 0.1, high (open) above 0.9; tanh beyond 0.95; relu is low at 0. "
        "Mostly: at more than 9 of 10 tokens.",
    )  # fmt: skip
