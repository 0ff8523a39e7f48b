"""Page 1: a number that remembers how it was made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn.learn.exercise import Page, Wrong, agree, compare, compare_each, slopes

PAGE = Page(
    1, "1-scalars", "A number that remembers how it was made",
    "say where a gradient comes from, read a tape, and go backward over one by hand",
)  # fmt: skip


@PAGE.exercise
def slope(answer: Any) -> str:
    """slope(f, x): the slope of f at x, by a central difference."""
    functions = {
        "sin": (math.sin, math.cos),
        "exp": (math.exp, math.exp),
        "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
        "x**3": (lambda x: x**3, lambda x: 3 * x**2),
    }
    for name, (f, truth) in functions.items():
        for x in (-1.3, 0.2, 2.0):
            got, right = answer(f, x), truth(x)
            mistakes = {"from x - step to x + step it is two steps": 2 * right}
            if agree(got, right, 0.01):
                mistakes["close, but not to 5 decimals: is it a central difference, with a step of about 1e-5?"] = got
            compare(f"slope of {name} at {x:g}", got, right, mistakes=mistakes)
    return "the slopes of four functions at three places, to 5 decimals"


@PAGE.exercise
def gradients(answer: Any) -> str:
    """gradients(w, x, b): (dy/dw, dy/dx, dy/db) of y = tanh(w x + b), without a tape."""
    for place in ((0.5, 1.0, 0.3), (-1.2, 0.7, 0.1), (2.0, -0.4, 1.5)):
        truth = slopes(lambda w, x, b: math.tanh(float(w * x + b)), place)
        what = "w={}, x={}, b={}".format(*place)
        compare_each(f"gradients at {what}", ("dy/dw", "dy/dx", "dy/db"), answer(*place), [float(d) for d in truth])
    return "nine gradients agree with finite differences"


@PAGE.exercise
def backward(answer: Any) -> str:
    """backward(rows, last): name -> d last / d name, where a row is (output, [(input, slope), ...])."""
    rng = np.random.default_rng(1)
    for round_ in range(6):
        rows, names = [], ["a", "b"]
        for n in range(2 + round_):
            chosen = [names[i] for i in rng.integers(len(names), size=2)]  # the same one twice is allowed
            rows.append((f"v{n}", [(name, float(rng.integers(1, 5)) / 2) for name in chosen]))
            names.append(f"v{n}")
        got = answer(rows, names[-1])
        if not isinstance(got, dict):
            raise Wrong(f"backward({rows}, {names[-1]!r}): got {type(got).__name__}, expected a dict")
        for name in names:
            right = _forward(rows, name).get(names[-1], 0.0)
            if right or name in got:
                compare(f"d {names[-1]} / d {name} on the tape {rows}", got.get(name, 0.0), right)
    return "six tapes, with numbers that are used twice and numbers that are not used"


def _forward(rows: list[tuple[str, list[tuple[str, float]]]], source: str) -> dict[str, float]:
    """How much each number changes with `source`: the same slopes, from the first row to the last."""
    change = {source: 1.0}
    for output, inputs in rows:
        if output != source:
            change[output] = sum(slope * change.get(name, 0.0) for name, slope in inputs)
    return change
