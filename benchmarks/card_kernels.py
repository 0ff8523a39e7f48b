"""The kernels of the table one by one, with the fewest bytes each must move and the operations of its products.

    calls(tiny)       every kernel at one size or more, as plain data; `tiny` for the simulator
    prepared(call)    a function that launches it QUEUED times

Counted are: each number that is read or written, once for each; multiplications and additions of matrix products.
Activations and whatever else happens between a load and a store count as nothing. So what a share of the limit lacks is
more than it must do, or time in which nothing goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.cells import find_cell
from micrornn.config import TIMED_CELLS as CELLS

QUEUED = 20  # launches between two marks: the card does not wait for the host, unless a kernel is shorter than a launch


@dataclass(frozen=True)
class Numbers:
    """An array of random numbers.

    times    how often each of them goes over the bus: 2 if it is read and written
    below    ids: whole numbers from 0 to below it
    """

    shape: tuple[int, ...]
    times: int = 1
    dtype: type = np.float32
    low: float = 0.1
    high: float = 0.9
    below: int = 0

    @property
    def moved(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize * self.times

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.below:
            return rng.integers(0, self.below, self.shape).astype(self.dtype)
        if self.dtype is np.bool_:
            return rng.random(self.shape) < 0.5
        few = rng.uniform(self.low, self.high, min(math.prod(self.shape), 1 << 20)).astype(self.dtype)
        return np.resize(few, self.shape)


@dataclass(frozen=True)
class Call:
    """A kernel with its arguments; those that are no Numbers are given as they are."""

    kernel: str
    arguments: tuple[Any, ...]
    operations: float = 0.0
    size: str = ""
    moved: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "moved", float(sum(a.moved for a in _numbers(self.arguments))))

    @property
    def name(self) -> str:
        return f"{self.kernel} {self.size}".strip()


UNREAD = Numbers((1,))  # in the place of an array that is not read


def _numbers(arguments: Any) -> list[Numbers]:
    """Also those in lists."""
    lists = (_numbers(a) if isinstance(a, list) else [a] for a in arguments)
    return [a for some in lists for a in some if isinstance(a, Numbers)]


def ids(count: int, below: int) -> Numbers:
    return Numbers((count,), dtype=np.int32, below=below)


def calls(tiny: bool = False) -> list[Call]:
    """Large arrays, larger than a card's cache, for what memory limits; shapes from practice for the rest."""
    n = 60 if tiny else 2**27
    return _elementwise(n) + _optimizers(n) + _reductions(n, tiny) + _rows(tiny) + _products(tiny) + _sequences(tiny)


def _elementwise(n: int) -> list[Call]:
    x, again, one = Numbers((n,)), Numbers((n,), times=2), Numbers((1,))
    arguments: dict[str, tuple[Any, ...]] = {
        "fill": (x, 0.5),
        "add": (x, x, x), "sub": (x, x, x), "mul": (x, x, x), "div": (x, x, x),
        "neg": (x, x), "scale": (x, x, 0.3), "scale_by": (x, x, one),
        "accumulate": (again, x), "clip": (x, x, 0.5),
        "exp": (x, x), "log": (x, x), "sqrt": (x, x),
        "abs": (x, x), "abs_vjp": (x, x, x),
        "pow": (x, x, x), "pow_vjp": (x, x, x, x), "pow_vjp_exponent": (x, x, x, x, x),
        "sigmoid": (x, x), "sigmoid_vjp": (x, x, x), "log_sigmoid": (x, x), "log_sigmoid_vjp": (x, x, x),
        "tanh": (x, x), "tanh_vjp": (x, x, x),
        "relu": (x, x), "relu_vjp": (x, x, x),
        "where": (x, Numbers((n,), dtype=np.bool_), x, x),
        "dropout": (x, x, 0.3, np.uint64(7)),
        "binary_cross_entropy": (x, x, x), "binary_cross_entropy_vjp": (x, x, x, x),
    }  # fmt: skip
    steps, units = [], n // 4
    for cell in CELLS:
        program = find_cell(cell).program
        both, wide = Numbers((2, units)), Numbers((len(program.gates) * units,))
        steps.append(Call("cell_step", (program, [both for _ in program.states], 0, wide, wide, []), size=cell))
    return [*(Call(name, given) for name, given in arguments.items()), *steps]


def _optimizers(n: int) -> list[Call]:
    """Parameters and their averages are read and written."""
    p, g = Numbers((n,), times=2), Numbers((n,))
    clipped = (1.0, math.inf)  # scale, limit
    return [
        Call("sgd", (p, g, 1e-3, *clipped)),
        Call("momentum", (p, g, p, 1e-3, 0.9, *clipped)),
        Call("adagrad", (p, g, p, 1e-3, 1e-10, *clipped)),
        Call("rmsprop", (p, g, p, 1e-3, 0.95, 1e-8, *clipped)),
        Call("adam", (p, g, p, p, 1e-3, 0.9, 0.999, 1e-8, 1.0, 10, *clipped)),
    ]


def _reductions(n: int, tiny: bool) -> list[Call]:
    found = [Call("sum_of_squares", (Numbers((1,), dtype=np.float64), Numbers((n,))))]
    long, inner = (5, 3) if tiny else (64, 1024)
    for outer, length, width, size in ((1, n // inner, inner, "down columns"), (n // long, long, 1, "along rows")):
        small, large = Numbers((outer, width)), Numbers((outer, length, width))
        places = Numbers((outer, width), dtype=np.int32, below=length)
        found += [
            Call("sum", (small, large, False), size=size),
            Call("max", (small, places, large), size=size),
            Call("max_vjp", (large, small, places), size=size),
        ]
    return found


def _rows(tiny: bool) -> list[Call]:
    """Rows as wide as a vocabulary: of characters, in one update of a small model and in many; of words."""
    found = []
    for count, width in ((3, 5),) if tiny else ((2500, 65), (400_000, 65), (3200, 10_000)):
        size, x, each = f"{count},{width}", Numbers((count, width)), Numbers((count,))
        found += [
            Call("softmax", (x, x), size=size),
            Call("softmax_vjp", (x, x, x), size=size),
            Call("log_softmax", (x, x), size=size),
            Call("log_softmax_vjp", (x, x, x), size=size),
            Call("cross_entropy", (each, x, x, ids(count, width)), size=size),
            Call("cross_entropy_vjp", (x, each, x, ids(count, width)), size=size),
        ]
    for count, vocab, width in ((6, 3, 4),) if tiny else ((200_000, 65, 128), (200_000, 10_000, 128)):
        table, rows, size = (vocab, width), Numbers((count, width)), f"{count} of {vocab},{width}"
        found.append(Call("gather", (rows, Numbers(table), ids(count, vocab)), size=size))
        found.append(Call("scatter_add", (Numbers(table, times=2), ids(count, vocab), rows), size=size))
    return found


def _products(tiny: bool) -> list[Call]:
    """Squares; then as an LSTM (32,50,128,128) has them: the gradients of its input and of its weights; and the logits
    of 10,000 words."""
    shapes = ((5, 4, 3, False, False),) if tiny else (
        (1024, 1024, 1024, False, False), (4096, 4096, 4096, False, False),
        (1600, 128, 512, False, False), (512, 128, 1600, True, False), (400, 10_000, 200, False, True),
    )  # fmt: skip
    found = []
    for m, n, k, trans_a, trans_b in shapes:
        a, b = Numbers((k, m) if trans_a else (m, k)), Numbers((n, k) if trans_b else (k, n))
        size = f"{m},{n},{k}" + " a turned" * trans_a + " b turned" * trans_b
        found.append(Call("matmul", (Numbers((m, n)), a, b, trans_a, trans_b, False), 2.0 * m * n * k, size))
    side = 5 if tiny else 8192
    x = Numbers((side,))
    found.append(Call("matvec", (x, Numbers((side, side)), x, x), 2.0 * side * side))
    return [*found, Call("add_bias", (Numbers((side, side), times=2), x))]


def _sequences(tiny: bool) -> list[Call]:
    """The recurrences of a layer (batch, time steps, input, hidden), forward with the product of the inputs, and the
    way back, which has one product."""
    found = []
    for B, T, D, H in ((1, 2, 2, 3),) if tiny else ((1, 50, 128, 128), (32, 50, 128, 128), (128, 50, 512, 512)):
        mask = Numbers((0, 0), dtype=np.bool_)
        for cell in CELLS:
            program, h, again = find_cell(cell).program, Numbers((T + 1, B, H)), Numbers((T + 1, B, H), times=2)
            count = len(program.gates)
            gates, states = Numbers((T, B, count * H)), [h for _ in program.states]
            hidden = Numbers((T, B, count * H)) if program.sided else None
            w_ih, w_hh = (Numbers((count * H, size), low=-0.05, high=0.05) for size in (D, H))
            bias, x, dstates = Numbers((count * H,)), Numbers((T, B, D)), [again, *states[1:]]
            read = [h if {("prev", s), ("cur", s)} & program.reads else UNREAD for s, h in enumerate(states)]
            once = 2.0 * T * B * count * H
            size = f"{cell} {B},{T},{D},{H}"
            forward = program, states, gates, hidden, x, [w_ih, w_hh, bias, bias], [], mask, False
            backward = program, gates, hidden, dstates, [], read, gates, hidden, w_hh, [], mask, False, 0.0
            found.append(Call("cell_sequence", forward, once * (D + H), size))
            found.append(Call("cell_sequence_vjp", backward, once * H, size))
    return found


def prepared(call: Call) -> Callable[[], None]:
    """Its arrays are put on the card; the function launches it QUEUED times and does not wait."""
    table, rng = kernels.for_device("cuda"), np.random.default_rng(0)

    def there(a: Any) -> Any:
        if isinstance(a, list):
            return [there(one) for one in a]
        return table.asarray(a.draw(rng)) if isinstance(a, Numbers) else a

    given = [there(a) for a in call.arguments]
    launch = getattr(table, call.kernel)

    def run() -> None:
        for _ in range(QUEUED):
            launch(*given)

    return run
