"""Rows of the ops: the shapes, options and inputs with which each is called, and what its numbers should be.

ROWS, calls(name)        what test_ops.py goes through, on the processor, and test_cuda_ops.py, on a card
MASKED_LOSSES, MASKED    losses of which some targets are masked
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from micrornn.tape import Tensor

Shape = tuple[int, ...]


class Row(NamedTuple):
    """Cases of one op: the shapes of its inputs, one tuple for each case, and all its options in each.

    draw    how the inputs are drawn
    plain   the same in plain NumPy, where that is obvious
    """

    shapes: Sequence[tuple[Shape, ...]]
    options: Sequence[dict[str, Any]] = ({},)
    draw: Callable[[np.random.Generator, Shape], np.ndarray] = lambda rng, shape: rng.normal(size=shape)
    plain: Callable[..., Any] | None = None


def positive(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.uniform(0.5, 2, shape)


def apart(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """No two numbers, and none and zero, closer than a difference quotient reaches."""
    numbers = np.arange(1, np.prod(shape, dtype=int) + 1) * 0.1 * rng.choice([-1, 1], np.prod(shape, dtype=int))
    return rng.permutation(numbers).reshape(shape)


ONE = [((),), ((1,),), ((3, 13),), ((2, 1, 7),)]
TWO = [
    ((), ()), ((3, 13), (3, 13)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)),
    ((2, 3), ()), ((1,), (2, 3)), ((1, 3, 1), (2, 1, 1)),
]  # fmt: skip
LAST = [((7,),), ((3, 13),), ((2, 3, 1),), ((2, 3, 5),)]
REDUCED = [{"axis": axis, "keepdims": keep} for axis in (None, 0, -1) for keep in (False, True)]
TARGETS = np.arange(12).reshape(3, 4)
EMPTY = np.zeros(0, int)
MASK = np.array([[True, False, True, True], [False, False, True, True], [True, True, False, True]])
ROWS: dict[str, list[Row]] = {
    "add": [Row(TWO, plain=np.add)],
    "sub": [Row(TWO, plain=np.subtract)],
    "mul": [Row(TWO, plain=np.multiply)],
    "div": [Row(TWO, draw=positive, plain=np.divide)],
    "pow": [Row(TWO, draw=positive, plain=np.power)],
    "neg": [Row(ONE, plain=np.negative)],
    "abs": [Row(ONE, draw=apart, plain=np.abs)],
    "exp": [Row(ONE, plain=np.exp)],
    "log": [Row(ONE, draw=positive, plain=np.log)],
    "sqrt": [Row(ONE, draw=positive, plain=np.sqrt)],
    "tanh": [Row(ONE, plain=np.tanh)],
    "sigmoid": [Row(ONE, plain=lambda x: 1 / (1 + np.exp(-x)))],
    "log_sigmoid": [Row(ONE, plain=lambda x: -np.log1p(np.exp(-x)))],
    "relu": [Row(ONE, draw=apart, plain=lambda x: np.maximum(x, 0))],
    "where": [
        Row([((3, 4), (3, 4)), ((4,), (3, 1)), ((), (3, 4)), ((2, 3, 4), (4,))], [{"mask": MASK}],
            plain=lambda a, b, mask: np.where(mask, a, b)),
        Row([((3, 4), (3, 4)), ((4,), (3, 1))], [{"mask": MASK[:, :1]}, {"mask": True}, {"mask": MASK[0]}],
            plain=lambda a, b, mask: np.where(mask, a, b) + 0 * (a + b)),
    ],
    "dropout": [Row(ONE, [{"rate": 0.4, "key": 5}]),
                Row(ONE, [{"rate": 0, "key": 5}], plain=lambda x, rate, key: x)],
    "clip_message": [Row(ONE, [{"limit": 9.0}], plain=lambda x, limit: x)],  # clipping: a test of its own
    "mask_message": [Row([((3, 4),), ((3, 4, 2),)], [{"mask": MASK}], plain=lambda x, mask: x)],
    "matmul": [Row([((1, 1), (1, 1)), ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
                    ((2, 1, 3, 4), (2, 1, 4, 2)), ((13, 7), (7, 1))], plain=np.matmul)],
    "linear": [Row([((4,), (5, 4), (5,)), ((3, 4), (5, 4), (5,)), ((2, 3, 4), (1, 4), (1,))],
                   plain=lambda x, w, b: x @ w.T + b)],
    "reshape": [Row([((3, 4),), ((12,),)], [{"shape": (2, 6)}, {"shape": (2, -1, 3)}], plain=np.reshape),
                Row([((),)], [{"shape": (1, 1)}], plain=np.reshape)],
    "transpose": [Row(ONE, plain=lambda x, axes=None: np.transpose(x, axes)),
                  Row([((2, 3, 4),)], [{"axes": (1, 2, 0)}, {"axes": (0, 2, 1)}], plain=np.transpose)],
    "concatenate": [
        Row([((3, 4),), ((3, 4), (2, 4)), ((1, 2), (1, 2), (5, 2))], [{"axis": 0}, {"axis": -2}],
            plain=lambda *x, axis: np.concatenate(x, axis)),
        Row([((3, 2), (3, 1)), ((2, 3, 2), (2, 3, 5))], [{"axis": -1}],
            plain=lambda *x, axis: np.concatenate(x, axis)),
    ],
    "split": [Row([((6, 2),)], [{"sizes": [1, 2, 3]}, {"sizes": [6]}, {"sizes": [5, 0, 1], "axis": -2}],
                  plain=lambda x, sizes, axis=0: np.split(x, np.cumsum(sizes)[:-1], axis)),
              Row([((2, 5),)], [{"sizes": (4, 1), "axis": 1}, {"sizes": (2, 3), "axis": -1}],
                  plain=lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis))],
    "stack": [Row([((3, 2),), ((),) * 3, ((3, 2),) * 4], plain=lambda *x: np.stack(x))],
    "unstack": [Row([((1, 3),), ((4,),), ((3, 2, 2),)], plain=list)],
    "getitem": [
        Row([((5, 3),)], [{"index": i} for i in (2, -1, slice(1, 4), np.s_[::-2], (2, 1), (..., 0), None)],
            plain=lambda x, index: x[index]),
        Row([((5, 3),), ((5,),)], [{"index": i} for i in ([0, 0, -1], np.array([[1, 1], [4, -5]]), EMPTY)],
            plain=lambda x, index: x[index]),
    ],
    "sum": [Row([((3, 13),), ((2, 1, 5),)], REDUCED, plain=np.sum), Row([((),)], plain=np.sum),
            Row([((2, 3, 4),)], [{"axis": (0, -1)}, {"axis": (1, 2), "keepdims": True}], plain=np.sum)],
    "mean": [Row([((3, 13),), ((2, 1, 5),)], REDUCED, plain=np.mean), Row([((),)], plain=np.mean),
             Row([((2, 3, 4),)], [{"axis": (0, -1)}, {"axis": (1, 2), "keepdims": True}], plain=np.mean)],
    "max": [Row([((3, 13),), ((2, 1, 5),)], REDUCED, apart, np.max)],
    "softmax": [Row(LAST, plain=lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True))],
    "log_softmax": [Row(LAST, plain=lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)))],
    "cross_entropy": [Row([((3, 4, 7),)], [{"targets": TARGETS % 7, "mask": m} for m in (None, MASK)]),
                      Row([((3, 4, 7),)], [{"targets": TARGETS % 7, "mask": m, "weights": 1.0 + TARGETS % 3}
                                           for m in (None, MASK)]),
                      Row([((5,),)], [{"targets": 2}])],
    "linear_cross_entropy": [Row([((3, 4, 5), (7, 5), (7,))],
                                 [{"targets": TARGETS % 7, "mask": m, "gradient": g}
                                  for m in (None, MASK) for g in (True, False)])],
    "binary_cross_entropy": [Row([((3, 4),)], [{"targets": TARGETS / 11, "mask": m} for m in (None, MASK)]),
                             Row([((),)], [{"targets": 1}])],
    "mean_squared_error": [
        Row([((3, 4),)], [{"targets": TARGETS}], plain=lambda x, targets: np.mean((x - targets) ** 2)),
        Row([((3, 4),)], [{"targets": TARGETS, "mask": MASK}],
            plain=lambda x, targets, mask: np.mean((x - targets)[mask] ** 2)),
        Row([((),)], [{"targets": 2.0}], plain=lambda x, targets: (x - targets) ** 2),
    ],
    "embedding": [Row([((5, 3),)], [{"ids": i} for i in (2, [0, 4, 0], [[1, 1], [1, 2]])],
                      plain=lambda table, ids: table[np.array(ids)])],
}  # fmt: skip


def calls(name: str) -> list[tuple[list[Tensor], dict[str, Any], Row]]:
    rng = np.random.default_rng(len(name))
    return [
        ([Tensor(row.draw(rng, s), True, f"input {i}") for i, s in enumerate(shapes)], options, row)
        for row in ROWS[name]
        for shapes in row.shapes
        for options in row.options
    ]


MASKED = np.array([[True, False, True], [False, True, True]])
# loss -> (shapes of its inputs, for targets that fit, what stands for a target under the mask)
MASKED_LOSSES: dict[str, tuple[list[Shape], np.ndarray, Sequence[Any]]] = {
    "cross_entropy": ([(2, 3, 5)], np.array([[4, 0, 1], [2, 2, 3]]), (-100, -1, 2**40)),
    "linear_cross_entropy": ([(2, 3, 4), (5, 4), (5,)], np.array([[4, 0, 1], [2, 2, 3]]), (-1, 5, -(2**62))),
    "binary_cross_entropy": ([(2, 3)], np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]]), (np.nan, np.inf, 1e300)),
    "mean_squared_error": ([(2, 3)], np.array([[1.0, 0.0, 7.0], [-3.0, 1.0, 2.0]]), (np.nan, -np.inf, 1e300)),
}
