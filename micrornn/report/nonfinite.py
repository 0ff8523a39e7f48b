"""How the measure `nonfinite` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.report.panels import Curve, Lines, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """The largest values and gradients over time, a table of the records, and what went into the one that blew up."""
    names, times = measure.axes["record"].places, np.array(measure.axes["t"].places)
    found: list[Panel] = []
    for kind, title in (("value", "Largest values"), ("gradient", "Largest gradients")):
        curves = [
            Curve(name, times, np.where(np.isfinite(row) & (row > 0), row, np.nan))
            for name, row in zip(names, measure[kind])
            if not np.isnan(row).all()
        ]
        note = "One curve for each record that has a time axis; it ends where nothing is finite any more."
        found.append(Lines(title, "time step", f"largest {kind}", curves, log_y=True, note=note))
    sizes = measure["largest_value"], measure["largest_gradient"]
    rows = [(name, *("" if np.isnan(size[n]) else f"{size[n]:.4g}" for size in sizes)) for n, name in enumerate(names)]
    found.append(Rows("Records", ("record", "largest value", "largest gradient"), rows))
    inputs = [
        (one["name"], "x".join(map(str, one["shape"])) or "scalar", "yes" if one["finite"] else "NO", *_ends(one))
        for one in measure.subject["inputs"]
    ]
    if inputs:
        found.append(Rows("What went in", ("input", "shape", "finite", "lowest", "highest"), inputs))
    return found


def _ends(one: dict[str, float | None]) -> tuple[str, str]:
    low, high = ("-" if one[end] is None else f"{one[end]:.4g}" for end in ("low", "high"))
    return low, high
