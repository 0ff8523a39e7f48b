"""How numbers stand in words, in tables and along axes: short, and all alike.

number     three digits: 0.0123, 1.5e-7, 12,345
percent    a share: 0.45 %, 5.6 %, 71 %, 99.2 %
of_gradient     the unit of a gradient, as a measure's subject has that of the loss
steps      1.3 time steps, 1 time step, 1,100 time steps
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: float) -> str:
    """Three digits, and no more letters than needed."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 999.5 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    head, sign, power = f"{value:.3g}".partition("e")
    return f"{head}e{int(power)}" if sign else head


def percent(share: float) -> str:
    """A share in percent, with two digits; with three where it is nearly all, 0.00 where it is nearly nothing."""
    value = 100 * share
    if 99 <= value < 99.95 or 0.95 <= value < 9.95:
        return f"{value:.1f} %"
    return f"{value:.2f} %" if 0 < value < 0.95 else f"{value:,.0f} %"


def steps(count: float) -> str:
    """So many time steps: with two digits below ten, whole ones above."""
    told = f"{count:.2g}" if count < 9.95 else f"{count:,.0f}"
    return f"{told} time step" + ("" if told == "1" else "s")


def of_gradient(about: Mapping[str, Any]) -> str:
    """`nats per token` is a mean: what lanes lose in sum, and its gradient, is in nats."""
    return str(about.get("unit") or "nats").partition(" per ")[0]
