"""Page 3: time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from micrornn.learn.exercise import Page, compare_each, slopes

PAGE = Page(
    3, "3-time", "Time: one cell, again and again",
    "unroll a cell, and tell what each time step gave to the gradient of a weight they all share",
)  # fmt: skip

CASES: tuple[tuple[Any, ...], ...] = (  # xs, w, u, b, h_init
    ([1.0, -0.5, 0.8], 0.7, 0.9, 0.1, 0.3),
    ([0.2, 0.4, -1.0, 0.6, 0.3], -0.4, 1.3, 0.0, -0.2),
    ([0.5], 1.0, 0.5, -0.3, 0.9),
)


def run(xs: Sequence[float], w: float, us: Any, b: float, h: float, pushes: Any = 0.0) -> list[float]:
    """h_t = tanh(w x_t + u_t h_prev + b) for each time step. us: one for all, or one each; pushes: added to h_t."""
    us, pushes = np.broadcast_to(us, len(xs)), np.broadcast_to(pushes, len(xs))
    states = []
    for x, u, push in zip(xs, us, pushes):
        h = float(np.tanh(w * x + u * h + b) + push)
        states.append(h)
    return states


def _sum(case: tuple[Any, ...], pushes: np.ndarray) -> float:
    xs, w, u, b, h_init = case
    return sum(run(xs, w, u, b, h_init, pushes))


def _told(case: tuple[Any, ...]) -> str:
    return "xs={}, w={}, u={}, b={}, h_init={}".format(*case)


def _each(name: str, what: str, got: Any, right: Any) -> None:
    compare_each(what, [name.format(t) for t in range(len(right))], got, right)


@PAGE.exercise
def states(answer: Any) -> str:
    """states(xs, w, u, b, h_init): the state at each time step."""
    for case in CASES:
        _each("h_{}", f"states({_told(case)})", answer(*case), run(*case))
    return "three sequences, state by state"


@PAGE.exercise
def parts(answer: Any) -> str:
    """parts(xs, w, u, b, h_init): what each time step gives to d h_last / du."""
    for case in CASES:
        xs, u = case[0], case[2]
        (right,) = slopes(lambda us, case=case: run(case[0], case[1], us, *case[3:])[-1], [np.full(len(xs), u)])
        _each("part of time step {}", f"parts({_told(case)})", answer(*case), right)
    return "each part is what moves if u is changed at that time step alone"


@PAGE.exercise
def state_gradients(answer: Any) -> str:
    """state_gradients(xs, w, u, b, h_init): dL/dh_t at each time step, of L, the sum of all states."""
    for case in CASES:
        (right,) = slopes(partial(_sum, case), [np.zeros(len(case[0]))])
        _each("dL/dh_{}", f"state_gradients({_told(case)})", answer(*case), right)
    return "each agrees with a push to that state alone"
