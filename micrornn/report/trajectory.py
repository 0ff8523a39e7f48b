"""How the ways over a loss surface are drawn: over its contours, and their loss over the examples they have read."""

from __future__ import annotations

import numpy as np

from micrornn.compare.trajectory import BATCHES, EPOCHS, EXAMPLES, contour, levels, name
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Curve, Lines, Panel, Rows
from micrornn.inspect.words import number, percent


def panels(measure: Measure) -> list[Panel]:
    """Ways over contours, losses, and a table."""
    w, u = (np.array(measure.axes[axis].places, float) for axis in "wu")
    ways = [Curve(name(batch), measure[f"w_{batch}"], measure[f"u_{batch}"]) for batch in BATCHES]
    low = measure.numbers["lowest"].value
    rings = []
    for level in levels(measure["loss"], low):
        gap = np.full((1, 2), np.nan)
        line = np.concatenate([part for piece in contour(measure["loss"], w, u, level) for part in (piece, gap)])
        rings.append(Curve(f"loss {number(level)}", line[:, 0], line[:, 1], faint=True))
    losses = [
        Curve(name(batch), np.linspace(0, EPOCHS * EXAMPLES, len(measure[f"loss_{batch}"])), measure[f"loss_{batch}"])
        for batch in BATCHES
    ]
    at = ", ".join(number(measure.numbers[f"lowest_{which}"].value) for which in "wu")
    return [
        Lines(
            "Ways over the loss surface", "w, of the state before", "u, of the input", [*ways, *rings],
            limits=(float(u[0]), float(u[-1])),
            note=f"h_t = tanh(w h_(t-1) + u x_t). Thin lines: places of equal loss. Lowest at (w, u) = ({at}).",
        ),
        Lines("Loss of all examples", "examples read", "loss", losses, log_y=True,
              note=f"Each of the {EXAMPLES} examples is read {EPOCHS} times, at the same learning rate."),
        Rows(
            "What an update averages over", ["examples", "updates", "loss", "chance in the gradient", "moves about"],
            [
                [
                    name(batch), f"{len(measure[f'loss_{batch}']) - 1:,}", number(float(measure[f"loss_{batch}"][-1])),
                    percent(measure.numbers[f"noise_{batch}"].value), number(measure.numbers[f"wander_{batch}"].value),
                ]
                for batch in BATCHES
            ],
        ),
    ]  # fmt: skip
