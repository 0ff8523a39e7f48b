"""How the measure `weights` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.words import percent
from micrornn.report.panels import Curve, Heat, Lines, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """Norms over time for each kind of weight, the cosines as a heat map, and a table of totals."""
    names, times, norms = measure.axes["weight"].places, measure.axes["t"].places, measure["norm"]
    found: list[Panel] = []
    for kind in ("weight_hh", "weight_ih"):
        curves = [Curve(name, np.array(times), row) for name, row in zip(names, norms) if name.startswith(kind)]
        found.append(
            Lines(
                f"What each time step gives to {kind}", "time step", "norm of its contribution", curves,
                note="Through all later losses. The last time steps have few of them.",
            )
        )  # fmt: skip
    found.append(
        Heat(
            "Does it point along the gradient?", "time step", "weight", "cosine with the gradient", times, names,
            measure["cosine"], centred=True, note="1: straight along it. Below 0: against it.",
        )
    )  # fmt: skip
    rows = [
        (name, f"{total:.3g}", percent(share))
        for name, total, share in zip(names, measure["total"], measure["coherence"])
    ]
    chance = percent(1 / np.sqrt(len(times)))
    note = (
        "Not cancelled: the gradient's norm as a share of the sum of its time steps' norms. If they pointed in random "
        f"directions it would be {chance}; 100 % if all pointed the same way."
    )
    found.append(Rows("Gradients", ("weight", "norm", "not cancelled"), rows, note=note))
    return found
