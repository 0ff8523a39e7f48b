"""Page 5: vanishing and exploding."""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import counted, quoted
from micrornn.learn.exercise import Page, Wrong, compare, several, slopes

PAGE = Page(
    5, "5-vanishing", "Vanishing and exploding",
    "tell from a Jacobian, a gate or the first weights how far a gradient will reach, and mend what explodes",
)  # fmt: skip


@PAGE.exercise
def jacobian(answer: Any) -> str:
    """jacobian(h, u): dh/dh_prev, (H, H), of h = tanh(u h_prev + x); row i is output i."""
    rng = np.random.default_rng(5)
    for size in (1, 2, 4):
        u, h_prev, x = rng.normal(size=(size, size)), rng.normal(size=size), rng.normal(size=size)
        rows = [slopes(lambda before, i=i, u=u, x=x: np.tanh(u @ before + x)[i], [h_prev])[0] for i in range(size)]
        h = np.tanh(u @ h_prev + x)
        mistakes = {"1 - h[j]**2 multiplies column j of u; 1 - h[i]**2 belongs to row i": (1 - h**2) * u}
        compare(f"jacobian for {counted(size, 'unit')}", answer(h, u), np.array(rows), mistakes=mistakes)
    return "1, 2 and 4 units agree with finite differences"


@PAGE.variable
def bias(answer: Any) -> str:
    """bias: of a forget gate, so that a tenth of what a cell holds is still there after 100 time steps."""
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"bias: got {quoted(answer)}, expected a number") from None
    left = (1 / (1 + np.exp(-value))) ** 100
    compare(f"what is left after 100 time steps with bias = {value:.6g}", left, 0.1, 1e-3)
    return f"sigmoid({value:.4g}) to the power of 100 is {left:.4f}"


@PAGE.exercise
def clip(answer: Any) -> str:
    """clip(grads, limit): the arrays, scaled by one number so that the norm of all together is at most `limit`."""
    rng = np.random.default_rng(6)
    for scale, limit in ((10.0, 1.0), (0.01, 1.0), (3.0, 2.5), (0.0, 1.0)):
        grads = [scale * rng.normal(size=shape) for shape in ((3, 2), (4,))]
        norm = float(np.sqrt(sum(np.sum(g**2) for g in grads)))
        what = f"clip of gradients with norm {norm:.4g}, limit {limit:g}"
        got = several(what, answer(grads, limit), 2)
        for n, (one, grad) in enumerate(zip(got, grads)):
            mistakes = {
                "each number was clipped by itself, which turns the gradient": np.clip(grad, -limit, limit),
                "it was scaled by its own norm, not by that of all arrays together": grad
                * (limit / (float(np.linalg.norm(grad)) or 1.0)),
            }
            right = grad * min(1.0, limit / norm if norm else 1.0)
            compare(f"array {n} of {what}", one, right, mistakes=mistakes)
    return "large ones are scaled together, small ones are left alone, zeros stay zeros"
