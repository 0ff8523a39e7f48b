"""Page 2: arrays, shapes, broadcasting and its way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.learn.exercise import Page, compare, compare_each, hinting, slopes

PAGE = Page(
    2, "2-arrays", "Arrays, and the way back through their shapes",
    "write the way back of an op on arrays, find it by its shapes, and check it",
)  # fmt: skip


@PAGE.exercise
def fold(answer: Any) -> str:
    """fold(dy, shape): the cotangent of what had this shape before it was broadcast."""
    rng, cases = np.random.default_rng(2), (((4, 3), (3,)), ((4, 3), (4, 1)), ((4, 3), (4, 3)), ((2, 4, 3), (1, 3)))
    for wide, shape in (*cases, ((4, 3), ())):
        dy = rng.normal(size=wide)
        (right,) = slopes(lambda b, dy=dy: np.sum(dy * b), [rng.normal(size=shape)])
        compare(f"fold(dy of shape {wide}, {shape})", answer(dy, shape), right)
    return "five pairs of shapes agree with finite differences"


@PAGE.exercise
def linear_back(answer: Any) -> str:
    """linear_back(x, w, dy): (dx, dw) of y = x w^T."""
    rng = np.random.default_rng(3)
    for batch, size, out in ((4, 3, 2), (1, 2, 5), (6, 1, 1)):
        x, w, dy = rng.normal(size=(batch, size)), rng.normal(size=(out, size)), rng.normal(size=(batch, out))
        truth = slopes(lambda x, w, dy=dy: np.sum(dy * (x @ w.T)), [x, w])
        what = f"x {x.shape}, w {w.shape}, dy {dy.shape}"
        turned = f"a has {counted(out, 'column')} and b has {counted(size, 'row')}"
        unfit = {  # of a product with what is turned over and need not be, or the other way round
            turned: f"dx is {x.shape}: {dy.shape} times ({out}, {size}) gives it",
            "in a @ b": f"dx is {x.shape}, dw is {w.shape}: a product of which shapes gives that?",
        }
        with hinting(unfit):
            got = answer(x, w, dy)
        compare_each(f"linear_back of {what}", ("dx", "dw"), got, truth)
    return "dx and dw agree with finite differences for three sizes"


@PAGE.exercise
def center_back(answer: Any) -> str:
    """center_back(dy): dx of y = x - (the mean of each column of x)."""
    rng = np.random.default_rng(4)
    for shape in ((4, 3), (7, 1), (1, 2)):
        dy = rng.normal(size=shape)
        (right,) = slopes(lambda x, dy=dy: np.sum(dy * (x - x.mean(axis=0))), [rng.normal(size=shape)])
        mistakes = {
            "the direct way is right, the one through the mean is missing": dy,
            "y is x less the mean, so the way through the mean has a minus": dy + dy.mean(axis=0),
            "each column has a mean of its own": dy - dy.mean(),
            "in the mean, each x counts as one part of n": dy - dy.sum(axis=0),
            "through the mean, an x moves every y of its column, not its own alone": dy - dy / len(dy),
        }
        compare(f"center_back of dy {shape}", answer(dy), right, mistakes=mistakes)
    return "three shapes agree with finite differences"
