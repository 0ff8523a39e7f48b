"""How `micrornn eval` draws what a trained network was judged by: a forecast beside what came, and classes.

measured    both as a measure with its panels, for a figure
"""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Curve, Heat, Lines, Panel
from micrornn.tasks.task import Confusion, Forecast


def measured(task: str, confusion: Confusion | None, forecast: Forecast | None) -> tuple[Measure, list[Panel]] | None:
    """None where there is neither."""
    panels: list[Panel] = []
    if forecast is not None:
        curves = [("what came", forecast.truth), ("forecast", forecast.forecast), ("baseline", forecast.baseline)]
        panels.append(
            Lines(
                forecast.title, "time step of what is held out", "value",
                [Curve(name, np.arange(len(y)), np.asarray(y, float)) for name, y in curves if y is not None],
            )
        )  # fmt: skip
    if confusion is not None:
        labels, counts = list(confusion.labels), np.asarray(confusion.counts, float)
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        panels.append(
            Heat("Which class is taken for which", "taken for", "is", "share of the row", labels, labels, shares,
                 limits=(0.0, 1.0))
        )  # fmt: skip
    return (Measure(task, {}, {}, {}), panels) if panels else None
