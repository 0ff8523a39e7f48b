"""Page 6: fast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn.errors import counted, quoted
from micrornn.learn.exercise import Page, Wrong, compare

PAGE = Page(
    6, "6-fast", "Fast: from loops to kernels",
    "say why a kernel is faster, take work out of the loop over time, and tell rounding from a mistake",
)  # fmt: skip


class _Counted(np.ndarray):
    """An array that counts the matrix products that it, and views of it, take part in."""

    products = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is np.matmul:  # of two stacks of matrices it is as many products
            _Counted.products += min(math.prod(np.shape(one)[:-2]) for one in inputs)
        return getattr(ufunc, method)(*map(_plain, inputs), **{k: _plain(v) for k, v in options.items()})

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        _Counted.products += function in (np.dot, np.tensordot, np.einsum, np.inner, np.outer)
        return function(*map(_plain, arguments), **options)

    def dot(self, *arguments: Any) -> Any:
        return np.dot(self, *arguments)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, _Counted) else value


def _counted(array: np.ndarray) -> Any:
    _Counted.products = 0
    return array.view(_Counted)


@PAGE.exercise
def rnn(answer: Any) -> str:
    """rnn(x, w, u, b): h_t = tanh(x_t w^T + h_prev u^T + b) for all t, (T, B, H), with one product for all x_t."""
    rng = np.random.default_rng(7)
    for T, B, D, H in ((5, 2, 3, 4), (1, 1, 2, 2), (8, 3, 1, 2)):
        x, w, u, b = (rng.normal(size=shape) for shape in ((T, B, D), (H, D), (H, H), (H,)))
        h, right = np.zeros((B, H)), []
        for t in range(T):
            h = np.tanh(x[t] @ w.T + h @ u.T + b)
            right.append(h)
        what = f"rnn(x {x.shape}, w {w.shape}, u {u.shape}, b {b.shape})"
        compare(what, answer(_counted(x), _counted(w), u, b), np.array(right))
        if _Counted.products > 1:
            raise Wrong(f"{what}: got {_Counted.products} products with w, expected 1 for all {T} time steps")
    return "three sizes as by the plain loop, with one product for all inputs"


@PAGE.exercise
def weight_gradient(answer: Any) -> str:
    """weight_gradient(da, h_prev): the sum over t of da_t^T h_prev_t, both (T, B, H), as one product."""
    rng = np.random.default_rng(8)
    for T, B, H in ((5, 2, 4), (1, 3, 2), (9, 1, 3)):
        da, h_prev = rng.normal(size=(T, B, H)), rng.normal(size=(T, B, H))
        right = np.zeros((H, H))
        for t in range(T):
            for b in range(B):
                right += np.outer(da[t, b], h_prev[t, b])
        what = f"weight_gradient(da {da.shape}, h_prev {h_prev.shape})"
        compare(what, answer(_counted(da), h_prev), right)
        if _Counted.products > 1:
            raise Wrong(f"{what}: got {_Counted.products} products, expected 1 for all {T} time steps")
    return "three sizes as by two loops, with one product"


@PAGE.exercise
def pairwise(answer: Any) -> str:
    """pairwise(numbers, add): their sum by halves, with add(a, b), which rounds to float32, and nothing else."""
    for count in (1, 2, 7, 3000):
        numbers, calls = [float(x) for x in np.full(count, 0.1, np.float32)], 0

        def add(a: Any, b: Any) -> float:
            nonlocal calls
            calls += 1
            return float(np.float32(a) + np.float32(b))

        got, right, what = answer(numbers, add), math.fsum(numbers), f"pairwise of {counted(count, 'number')}"
        if not isinstance(got, int | float | np.number):
            raise Wrong(f"{what}: got {quoted(got)}, expected a number")
        error = abs(float(got) - right) / right
        if not error < 1e-6:
            raise Wrong(f"{what}: got {got:.9g}, which is off by {error:.1e} of it; expected less than 1e-06")
        if calls != count - 1:
            raise Wrong(f"{what}: got {counted(calls, 'call')} of add, expected {count - 1}")
    return "right to one part in a million, where one addition after the other is not"
