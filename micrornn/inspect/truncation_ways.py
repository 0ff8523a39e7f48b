"""How ways to propagate back are drawn, in the measure `truncation`: what each makes of the gradient."""

from __future__ import annotations

import math

import numpy as np

from micrornn.backprop import WAYS, parse
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Panel, Rows
from micrornn.inspect.words import percent


def panels(measure: Measure) -> list[Panel]:
    """One table; nothing where they were not measured, or there was no gradient to compare with."""
    if "backprop" not in measure.axes or not np.isfinite(measure["way_bias"]).any():
        return []
    names = measure.axes["backprop"].places
    return [
        Rows(
            "Ways to propagate back", ("backprop", "bias", "low .. high", "spread", "cosine", "what it does"),
            [_row(measure, at, name) for at, name in enumerate(names)],
            note="Of the mean gradient, beside that which goes all the way back. Spread: what a way adds to the noise "
                 "of a piece of the data; of random and uoro it is the price for no bias. Low, high: two standard "
                 "errors. none: the network is too large for it. docs/backprop.md.",
        ),
    ]  # fmt: skip


def _row(measure: Measure, at: int, name: str) -> tuple[str, ...]:
    about, bias = WAYS[parse(name).name].about, float(measure["way_bias"][at])
    if not math.isfinite(bias):
        return name, "none", "", "", "", about
    low, high, spread = (percent(float(measure[f"way_{column}"][at])) for column in ("low", "high", "spread"))
    return name, percent(bias), f"{low} .. {high}", spread, f"{measure['way_cosine'][at]:.4f}", about
