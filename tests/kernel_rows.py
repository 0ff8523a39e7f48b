"""One row per kernel: random arguments for it, at sizes that fit no vector, no tile and no block.

    ROWS                            what test_kernels.py goes through
    compare(name, arguments, tol)   a kernel against the plain NumPy page: `on_cpu`, or `on_cuda`

`python tests/kernel_rows.py plain` is a sweep in a process of its own whose environment has switched the
compiler off (NUMBA_DISABLE_JIT); with `checked` instead of `plain`, bounds checks on (NUMBA_BOUNDSCHECK).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.cells import CELLS
from micrornn.kernels import NAMES, cpu, reference
from micrornn.kernels.cpu import multiply, product, recurrent, tile
from micrornn.kernels.cpu.jit import kernel

SIZES = (1, 13, 33, 77)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


class Draw:
    """Random arguments for one kernel, in one precision and around one size n; `shapes` (seq_len, batch_size,
    hidden_size) of sequences."""

    def __init__(self, dtype: type, n: int, shapes: tuple[tuple[int, int, int], ...] = ()):
        self.rng, self.dtype, self.n = np.random.default_rng(n), dtype, n
        self.shapes = shapes or ((3, 5, n), (2, n, 7))

    def normal(self, *shape: int, std: float = 1) -> np.ndarray:
        return self.rng.normal(0, std, shape).astype(self.dtype)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.rng.uniform(low, high, shape).astype(self.dtype)

    def out(self, *shape: int, dtype: Any = None) -> np.ndarray:
        """For results: a number that the kernel does not write stays NaN (or -1), and shows."""
        dtype = np.dtype(dtype or self.dtype)
        return np.full(shape, np.nan if dtype.kind == "f" else -1, dtype)

    def ids(self, count: int, below: int) -> np.ndarray:
        return self.rng.integers(0, below, count).astype(np.int32)

    def some(self, *shape: int) -> np.ndarray:
        return self.rng.random(shape) < 0.7


Row = Callable[[Draw], list[list[Any]]]  # -> the arguments of some calls


def flat(inputs: int, *rest: Any, low: float = -3.0, high: float = 3.0) -> Row:
    """A kernel of so many inputs of one shape, each number for itself."""
    return lambda d: [[d.out(3, d.n)] + [d.between(low, high, 3, d.n) for _ in range(inputs)] + list(rest)]


def corners(d: Draw) -> list[np.ndarray]:
    """Bases and exponents where a power is special: 0 ^ 0, 0 ^ 2, -1.5 ^ 2, 2 ^ 0."""
    return [np.array([0, 0, -1.5, 2], d.dtype), np.array([0, 2, 2, 0], d.dtype)]


def products(d: Draw) -> list[list[Any]]:
    m, k, n = d.n, 7, 13
    return [
        [d.normal(m, n), d.normal(*((k, m) if ta else (m, k))), d.normal(*((n, k) if tb else (k, n))),
         ta, tb, add]
        for ta, tb, add in itertools.product((False, True), repeat=3)
    ]  # fmt: skip


def shapes_and_masks(d: Draw) -> list[tuple[int, int, int, np.ndarray, bool]]:
    """(seq_len, batch_size, hidden_size, mask, reverse) in all ways: many units, many lanes."""
    return [
        (*shape, d.some(*shape[:2]) if masked else np.ones((0, 0), bool), reverse)
        for shape in d.shapes
        for masked, reverse in itertools.product((True, False), repeat=2)
    ]


def drawn_state(d: Draw, name: str, *shape: int) -> np.ndarray:
    """A state n is one that others are divided by."""
    return d.between(0.5, 2, *shape) if name == "n" else d.normal(*shape)


def cell_forward(cell: str) -> Row:
    """States are unknown but for the row that the first time step reads."""
    program, count = CELLS[cell].program, len(CELLS[cell].gates)

    def row(d: Draw) -> list[list[Any]]:
        calls = []
        for T, B, H, mask, reverse in shapes_and_masks(d):
            states = [d.out(T + 1, B, H) for _ in program.states]
            for name, state in zip(program.states, states):
                state[-1 if reverse else 0] = drawn_state(d, name, B, H)
            gates, hidden = d.out(T, B, count * H), d.out(T, B, count * H) if program.sided else None
            weights = [d.normal(count * H, size, std=min(0.5, H**-0.5)) for size in (4, H)] + [
                d.normal(count * H) for _ in "ih"
            ]
            if not program.recurrent:
                weights[1] = weights[3] = None
            vectors = [d.normal(H) for _ in program.vectors]
            calls.append([program, states, gates, hidden, d.normal(T, B, 4), weights, vectors, mask, reverse])
        return calls

    return row


def cell_backward(cell: str) -> Row:
    """The limit of the message is off and on."""
    program, count = CELLS[cell].program, len(CELLS[cell].gates)

    def row(d: Draw) -> list[list[Any]]:
        calls = []
        for (T, B, H, mask, reverse), clip in itertools.product(shapes_and_masks(d), (0.0, 0.1)):
            dgates = d.out(T, B, count * H)
            dhidden = d.out(T, B, count * H) if program.sided else dgates
            dstates = [d.normal(T + 1, B, H) for _ in program.states]
            states = [drawn_state(d, name, T + 1, B, H) for name in program.states]
            dvectors, vectors = [d.out(H) for _ in program.vectors], [d.normal(H) for _ in program.vectors]
            # sigmoids lie above 0, and some programs divide by what is above 0
            gates, hidden = d.between(0.1, 1, T, B, count * H), d.normal(T, B, count * H) if program.sided else None
            weight_hh = d.normal(count * H, H, std=min(0.5, H**-0.5)) if program.recurrent else None
            calls.append([program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask,
                          reverse, clip])  # fmt: skip
        return calls

    return row


def cell_step(cell: str) -> Row:
    program, count = CELLS[cell].program, len(CELLS[cell].gates)
    return lambda d: [
        [program, [drawn_state(d, name, 2, d.n) for name in program.states], turn, d.normal(count * d.n),
         d.normal(count * d.n),
         [d.normal(d.n) for _ in program.vectors]]
        for turn in (0, 1)
    ]  # fmt: skip


BASIC = ("rnn", "rnn_relu", "lstm", "gru")  # of the other cells there are fewer calls, in test_cells.py
VARIED = (*BASIC, "lstm_peephole", "minlstm")  # and with vectors; and without a product of the state


def of_cells(row: Callable[[str], Row], cells: tuple[str, ...] = BASIC) -> Row:
    return lambda d: [call for cell in cells for call in row(cell)(d)]


def optimizer(states: int, *options: float) -> Row:
    return lambda d: [
        [d.normal(d.n), d.normal(d.n), *(d.between(0, 1, d.n) for _ in range(states)), 0.05, *options,
         *clipping]
        for clipping in ((1.0, np.inf), (0.7, 0.4))  # scale, limit
    ]  # fmt: skip


def both(first: Row, second: Row) -> Row:
    return lambda d: first(d) + second(d)


ROWS: dict[str, Row] = {
    "fill": lambda d: [[d.out(3, d.n), 0.7]],
    "add": flat(2),
    "sub": flat(2),
    "mul": flat(2),
    "div": flat(2, low=0.5),
    "neg": flat(1),
    "scale": flat(1, 0.3),
    "accumulate": lambda d: [[d.normal(3, d.n), d.normal(3, d.n)]],
    "clip": flat(1, 0.5),
    "exp": both(flat(1), flat(1, low=-80, high=-60)),
    "log": flat(1, low=0.01),
    "sqrt": flat(1, low=0.01),
    "sigmoid": both(flat(1), flat(1, low=-50, high=50)),
    "sigmoid_vjp": flat(2),
    "log_sigmoid": both(flat(1), flat(1, low=-150, high=150)),
    "log_sigmoid_vjp": both(flat(2), flat(2, low=-150, high=150)),
    "tanh": both(flat(1), flat(1, low=-20, high=20)),
    "tanh_vjp": flat(2),
    "abs": flat(1),
    "abs_vjp": lambda d: [*flat(2)(d), [d.out(3), d.normal(3), np.array([0, -0.0, 2], d.dtype)]],
    "pow": lambda d: [*flat(2, low=0.1)(d), [d.out(4), *corners(d)]],
    "pow_vjp": lambda d: [*flat(3, low=0.1)(d), [d.out(4), d.normal(4), *corners(d)]],
    "pow_vjp_exponent": lambda d: [*flat(4, low=0.1)(d), [d.out(4), d.normal(4), *corners(d), d.normal(4)]],
    "relu": flat(1),
    "relu_vjp": flat(2),
    "scale_by": lambda d: [[d.out(3, d.n), d.normal(3, d.n), d.normal(1)]],
    "where": lambda d: [[d.out(3, d.n), d.some(3, d.n), d.normal(3, d.n), d.normal(3, d.n)]],
    "dropout": flat(1, 0.3, np.uint64(2**63 + 7)),
    "binary_cross_entropy": flat(2, low=-40, high=40),
    "binary_cross_entropy_vjp": flat(3),
    "matmul": products,
    "add_bias": lambda d: [[d.normal(5, d.n), d.normal(d.n)]],
    "sum": lambda d: [
        [d.normal(3, inner), d.normal(3, n, inner), add]
        for n, inner in ((d.n, 1), (d.n, 5), (5, d.n), (300, 1))
        for add in (False, True)
    ],
    "max": lambda d: [[d.out(3, 5), d.out(3, 5, dtype=np.int32), d.normal(3, d.n, 5)]],
    "max_vjp": lambda d: [[d.out(3, d.n, 5), d.normal(3, 5), d.ids(15, d.n).reshape(3, 5)]],
    "sum_of_squares": lambda d: [[d.out(1, dtype=np.float64), d.normal(d.n, d.n)]],
    "softmax": flat(1, low=-80, high=80),
    "softmax_vjp": flat(2),
    "log_softmax": both(flat(1, low=-80, high=80), flat(1, low=4999, high=5001)),
    "log_softmax_vjp": flat(2, low=-3, high=0),
    "cross_entropy": lambda d: [
        [d.out(7), d.out(7, d.n), logits, d.ids(7, d.n)]
        for logits in (d.normal(7, d.n, std=30), d.normal(7, d.n) + d.dtype(5000))
    ],
    "cross_entropy_vjp": lambda d: [[d.out(7, d.n), d.normal(7), d.normal(7, d.n), d.ids(7, d.n)]],
    "gather": lambda d: [[d.out(d.n, 7), d.normal(5, 7), d.ids(d.n, 5)]],
    "scatter_add": lambda d: [[d.normal(5, 7), d.ids(d.n, 5), d.normal(d.n, 7)]],
    "cell_sequence": of_cells(cell_forward),
    "cell_sequence_vjp": of_cells(cell_backward),
    "cell_step": of_cells(cell_step),
    "matvec": lambda d: [[d.out(rows), d.normal(rows, d.n), d.normal(d.n), d.normal(rows)] for rows in (d.n, 5)],
    "sgd": optimizer(0),
    "momentum": optimizer(1, 0.9),
    "adagrad": optimizer(1, 1e-10),
    "rmsprop": optimizer(1, 0.95, 1e-8),
    "adam": both(optimizer(2, 0.9, 0.999, 1e-8, 1.0, 1), optimizer(2, 0.9, 0.99, 1e-8, 0.99, 20)),
}  # fmt: skip


def of_kernels(*cells: str) -> dict[str, Row]:
    """The rows of the kernels that are written for a cell, of some cells alone: where compiling is dear."""
    of = {"cell_sequence": cell_forward, "cell_sequence_vjp": cell_backward, "cell_step": cell_step}
    return {kernel: of_cells(row, cells) for kernel, row in of.items()}


UNLIKE = of_kernels("gru", "lstm_peephole")  # one that tells the sides apart, one with vectors
PLAIN = of_kernels("lstm", "gru")


def each(change: Callable[[Any], Any], value: Any) -> Any:
    """The same with each array changed, also those in lists."""
    if isinstance(value, list):
        return [each(change, one) for one in value]
    return change(value) if isinstance(value, np.ndarray) else value


def arrays_of(value: Any) -> list[np.ndarray]:
    """All arrays, also those in lists."""
    if isinstance(value, list):
        return [array for one in value for array in arrays_of(one)]
    return [value] if isinstance(value, np.ndarray) else []


def on_cpu(name: str, arguments: list[Any]) -> None:
    """Call a kernel of the processor with NumPy arrays."""
    getattr(cpu, name)(*arguments)


def on_cuda(name: str, arguments: list[Any]) -> None:
    """Call a CUDA kernel with NumPy arrays: they go to the card, and what it made of them comes back."""
    from micrornn.kernels import cuda
    from micrornn.kernels.cuda.array import asarray

    there: dict[int, Any] = {}

    def sent(array: np.ndarray) -> Any:
        return there.setdefault(id(array), asarray(array)) if array.ndim else array

    getattr(cuda, name)(*each(sent, arguments))
    for array in arrays_of(arguments):
        if array.ndim:
            array[...] = there[id(array)].get()


Call = Callable[[str, list[Any]], None]


def copied(arguments: list[Any], change: Callable[[np.ndarray], np.ndarray]) -> list[Any]:
    """Copies of all arrays; one that stands in two places is one again."""
    done: dict[int, np.ndarray] = {}
    return each(lambda array: done.setdefault(id(array), change(array)), arguments)


def compare(name: str, arguments: list[Any], tolerance: float, call: Call = on_cpu) -> None:
    """The kernel on a copy of the arguments, the plain telling on a copy in float64: then all arrays must be
    equal, inputs as well, and NaN stand in the same places."""
    got = copied(arguments, lambda a: a.copy())
    wanted = copied(arguments, lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a.copy())
    call(name, got)
    with np.errstate(all="ignore"):
        getattr(reference, name)(*wanted)
    rest = "hidden" if name == "cell_sequence" else ""  # of `hidden` only what the way back reads must be written
    for place, (ours, plain) in enumerate(zip(arrays_of(got), arrays_of(wanted))):
        if rest and got[3] is ours:
            size, kept = got[1][0].shape[2], got[0].hidden
            blocks = [slice(k * size, (k + 1) * size) for k, symbol in enumerate(kept) if symbol is not None]
            ours, plain = (np.concatenate([a[..., block] for block in blocks], -1) for a in (ours, plain))
        if name == "cell_step" and any(array is ours for array in got[3:5]):
            continue  # written over
        scale = max(1.0, float(np.abs(plain[np.isfinite(plain)]).max(initial=0)))
        np.testing.assert_allclose(
            ours, plain, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name}, array {place}"
        )


def sweep(name: str, dtype: type, sizes: tuple[int, ...], call: Call = on_cpu) -> None:
    for n in sizes:
        for arguments in ROWS[name](Draw(dtype, n)):
            compare(name, arguments, TOLERANCE[dtype], call)


# The kernels that compute an index: products with their packing, sequences, reductions, gather and scatter.
INDEXED = (
    "matmul", "cell_sequence", "cell_sequence_vjp", "sum", "max", "cross_entropy", "cross_entropy_vjp", "gather",
    "scatter_add", "matvec", "cell_step",
)  # fmt: skip


def main(mode: str) -> None:
    cpu.set_threads(1)
    product.DEPTH, product.BREADTH, product.PAGE = 5, 8, 64  # so that small products have several blocks
    if mode == "plain":
        assert not hasattr(product.pack, "py_func"), "the compiler is on"
        for name in NAMES:
            sweep(name, np.float64, (2, 3))
    else:
        # The others read and write through bare pointers.
        multiply.tile = kernel(tile.plain_tile)
        product.multiply = recurrent.multiply = kernel(multiply.loop)
        product.ready = recurrent.ready = lambda dtype: None
        ROWS.update(UNLIKE)
        try:
            cpu.gather(np.zeros((1, 2)), np.zeros((3, 2)), np.array([3], np.int32))
        except IndexError:
            for name in INDEXED:
                sweep(name, np.float64, (1, 13, 33))
        else:
            raise AssertionError("the checks are off")
    print("all well")


if __name__ == "__main__":
    main(sys.argv[1])
