"""Page 4: batch and windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.learn.exercise import Page, Wrong, agree, compare, compare_each, hinting, several, slopes

PAGE = Page(
    4, "4-windows", "Batch and windows",
    "cut a sequence into lanes and windows, carry the state, and measure what truncation costs",
)  # fmt: skip


@PAGE.exercise
def lanes(answer: Any) -> str:
    """lanes(ids, batch_size): (length, batch_size), lane b in column b; what is left over is dropped."""
    for count, batch_size in ((12, 3), (11, 2), (5, 1), (23, 5)):
        ids = np.arange(100, 100 + count)
        length = count // batch_size
        right = np.empty((length, batch_size))
        for b in range(batch_size):
            for t in range(length):
                right[t, b] = ids[b * length + t]
        mistakes = {
            "these are neighbours side by side; a lane is one piece of the text": ids[: right.size].reshape(
                right.shape
            ),
            "the rest was dropped at the front; it is dropped at the end": ids[-right.size :].reshape(right.T.shape).T,
        }
        what = f"lanes({count} ids from 100 on, batch_size={batch_size})"
        lanes, rest = counted(batch_size, "lane"), count - right.size
        whole = f"{count} ids are {lanes} of {length}, and a rest of {rest} to be dropped first"
        with hinting({"cannot reshape": whole}):
            got = answer(ids, batch_size)
        compare(what, got, right, mistakes=mistakes)
    return "four texts, with and without a rest"


@PAGE.exercise
def windows(answer: Any) -> str:
    """windows(array, num_steps): [(inputs, targets), ...], targets one time step later; whole windows only."""
    for length, num_steps in ((13, 4), (12, 4), (7, 1), (4, 5)):
        array = np.arange(2 * length).reshape(length, 2)
        right = []
        for start in range(0, length, num_steps):
            if start + num_steps + 1 <= length:
                right.append((array[start : start + num_steps], array[start + 1 : start + num_steps + 1]))
        what = f"windows(array of shape {array.shape}, num_steps={num_steps})"
        found = several(what, answer(array, num_steps))
        with hinting({"": _looks(found, array, num_steps, len(right))}):
            if len(found) != len(right):
                raise Wrong(f"{what}: got {counted(len(found), 'window')}, expected {len(right)}")
            for n, (one, both) in enumerate(zip(found, right)):
                compare_each(f"window {n} of {what}", ("inputs", "targets"), one, both)
    return "four lengths; targets are one time step ahead, and nothing is used twice"


def _looks(found: list[Any], array: np.ndarray, num_steps: int, count: int) -> str:
    """What windows that are not right look like, of which there should be `count`; or nothing."""
    try:
        pairs = [(one, other, len(one), len(other)) for one, other in found]
    except (TypeError, ValueError):  # no pairs of arrays
        return ""
    if num_steps > 1 and len(pairs) > 1 and agree(pairs[1][0], array[1 : num_steps + 1]):
        return f"they overlap: window 1 begins at time step 1, not where window 0 ended, at {num_steps}"
    if pairs and num_steps > 1 and agree(pairs[0][1], array[num_steps : 2 * num_steps]):
        return (
            f"the targets are {counted(num_steps, 'time step')} later than the inputs, a whole window; they are 1 later"
        )
    for n, (_, _, inputs, targets) in enumerate(pairs):
        if (inputs, targets) != (num_steps, num_steps):
            return (
                f"window {n} has {counted(inputs, 'input')} and {counted(targets, 'target')}, not {num_steps} of each"
            )
    if len(pairs) < count:
        last = count * num_steps
        return f"{count} fit: the last one has its inputs up to time step {last - 1}, its targets up to {last}"
    return ""


@PAGE.exercise
def truncated(answer: Any) -> str:
    """truncated(xs, u, num_steps): dL/du of h_t = tanh(u h_prev + x_t), L = h_1 + ... + h_T, h_0 = 0, cut behind every
    num_steps time steps."""
    xs, u = [0.5, -0.3, 0.8, 0.1, -0.6, 0.4, 0.9], 0.8
    for num_steps in (7, 3, 2, 1, 10):
        right = _cut(xs, u, num_steps)
        mistakes = {
            "this is the gradient of the whole sequence: nothing was cut": _cut(xs, u, len(xs)),
            "this comes of windows that each start from a state of 0; the state goes on": _cut(xs, u, num_steps, 0.0),
            "L is the sum of all states, not their mean": right / len(xs),
            "L is the sum of all states; this comes of the last state of each window alone": _cut(
                xs, u, num_steps, loss=lambda states: states[-1]
            ),
        }
        what = f"truncated({xs}, {u}, num_steps={num_steps})"
        compare(what, answer(xs, u, num_steps), right, mistakes=mistakes)
    return "whole, and cut into windows of 3, 2 and 1: as finite differences with the carried state held"


def _cut(xs: list[float], u: float, num_steps: int, carried: float = 1.0, loss: Callable[..., float] = sum) -> float:
    """dL/du, window by window, of L = loss(its states); each starts from `carried` times the state that the one before
    it ended with."""
    total, h = 0.0, 0.0
    for start in range(0, len(xs), num_steps):
        window = xs[start : start + num_steps]
        total += float(slopes(lambda v, window=window, h=h: loss(_run(window, v, h)), [u])[0])
        h = carried * _run(window, u, h)[-1]
    return total


def _run(xs: list[float], u: Any, h: float) -> list[float]:
    states = []
    for x in xs:
        h = float(np.tanh(u * h + x))
        states.append(h)
    return states
