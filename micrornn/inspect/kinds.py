"""What a verdict may say, once for all that shows one: `fail_on`, a terminal, a page, the diagnosis.

KINDS       of a measure on a model, the gravest first: what is broken, then what keeps a model from learning, then what
            makes learning slow
COMPARED    of a comparison of settings
grave       the place of a kind among all of them
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """words: what it means. level: how bad it is: bad, mild, open (too little was measured), good, plain. well: what is
    well where no measure that judges it says so."""

    words: str
    level: str = "bad"
    well: str = ""


_GROWTH, _STUCK = "the gradient does not explode", "no gate is stuck and no unit is dead"
KINDS = {
    "nonfinite": Kind("a value or a gradient is NaN or infinite", well="all values and gradients are finite"),
    "exploding": Kind("the gradient grows on its way back", well=_GROWTH),
    "chaotic": Kind("states that start close drift apart", well=_GROWTH),
    "unlearned": Kind("the model does no better than what takes no learning, such as token frequencies", "mild"),
    "saturated": Kind("gates are stuck at 0 or 1, tanh at -1 or 1", well=_STUCK),
    "dead": Kind("units that never move", well=_STUCK),
    "vanishing": Kind("the gradient dies before it has gone far back", well="a gradient gets through half a window"),
    "biased": Kind("truncation bends the mean gradient too much", "mild", "windows bend the gradient little"),
    "uneven": Kind("a few time steps give most of a weight's gradient", "mild", "the time steps give about alike"),
    "noisy": Kind("the gradient of one batch is mostly noise", "mild"),
    "unsure": Kind("too little was measured to say", "open"),
    "healthy": Kind("nothing stands out", "good"),
}
COMPARED = {
    "failed": Kind("a setting could not be trained"),
    "apart": Kind("settings can be told apart", "good"),
    "alike": Kind("settings give the same numbers", "open"),
    "cost": Kind("what settings cost, in time and in tokens", "plain"),
}
ALL = KINDS | COMPARED


def grave(kind: str) -> int:
    """Its place among all kinds, the gravest first."""
    return list(ALL).index(kind)
