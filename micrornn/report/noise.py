"""How the measure `noise` is drawn."""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.words import number, percent
from micrornn.report.panels import Curve, Lines, Mark, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """What each batch_size costs in updates and in tokens, as curves and as a table; nothing if a gradient was not
    finite, or no signal was found."""
    if not measure.arrays:
        return []
    sizes = np.array(measure.axes["batch_size"].places)
    updates, tokens, share = (measure[name] for name in ("updates", "tokens", "share"))
    items = f"{measure.subject.get('item', 'token')}s"
    scale, trained = measure.numbers["scale"].value, int(measure.numbers["batch_size"].value)
    if not math.isfinite(scale):
        return []
    here = int(np.flatnonzero(sizes == trained)[0])
    marks = [Mark(trained, f"batch_size {trained:,}")]
    if sizes[0] <= scale <= sizes[-1]:
        marks.append(Mark(scale, f"noise scale {number(scale)}"))
    return [
        Lines(
            f"Updates and {items} to reach a loss", "batch_size in lanes", "times the fewest",
            [Curve("updates", sizes, updates), Curve(items, sizes, tokens)], log_x=True, log_y=True, marks=marks,
            note="Each against the fewest that any batch_size needs. They cross at the noise scale, where both are 2.",
        ),
        Rows(
            "What a batch_size costs", ["batch_size", "updates", items, "noise in a gradient"],
            [
                [f"{size:,}", f"x {number(u / updates[here])}", f"x {number(t / tokens[here])}", percent(noise)]
                for size, u, t, noise in zip(sizes.tolist(), updates, tokens, share)
            ],
            note=f"To reach the same loss, against batch_size {trained:,}; noise as a share of the squared norm.",
        ),
    ]  # fmt: skip
