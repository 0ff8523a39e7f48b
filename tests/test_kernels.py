"""Each CPU kernel against the plain NumPy page, by the rows of kernel_rows.py; then what no row can say."""

from __future__ import annotations

import inspect
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_rows import PLAIN, ROWS, SIZES, TOLERANCE, UNLIKE, Draw, arrays_of, compare, copied, sweep

from micrornn.kernels import NAMES, cpu, reference
from micrornn.kernels.cpu import maths, product, recurrent, threads, tile
from micrornn.kernels.cpu.jit import TILE_ROWS, kernel

PARALLEL = ("matmul", "matvec", "cross_entropy", "cross_entropy_vjp", *(name for name in NAMES if "_sequence" in name))


def test_every_kernel_has_a_row() -> None:
    assert set(ROWS) == set(NAMES), "a kernel without a row in kernel_rows.ROWS, or a row without a kernel"


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_reference(name: str) -> None:
    ours, plain = getattr(cpu, name), getattr(reference, name)
    assert str(inspect.signature(getattr(ours, "py_func", ours))) == str(inspect.signature(plain))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_kernel_is_the_reference(name: str, dtype: type) -> None:
    cpu.set_threads(1)
    sweep(name, dtype, SIZES)


@pytest.mark.parametrize("name", PARALLEL)
def test_kernel_on_two_threads(name: str, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, name, PLAIN.get(name, ROWS[name]))
    set_threads(2)
    assert threads.split(33, 1000) == 2
    sweep(name, np.float32, SIZES)


@pytest.mark.parametrize("name", [name for name in PARALLEL if "_sequence" in name])
def test_kernel_on_two_threads_that_share_the_weights(
    name: str, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "NEAR", 0)  # as with weights that fit no core's cache
    monkeypatch.setitem(ROWS, name, UNLIKE[name])
    set_threads(2)
    sweep(name, np.float32, SIZES)


@pytest.mark.parametrize("name", ROWS)
def test_nan_is_not_lost(name: str) -> None:
    """One NaN in one input at a time. A kernel that swallows it hides where training broke."""
    cpu.set_threads(1)
    d = Draw(np.float32, 13)
    for arguments in ROWS[name](d):
        for place, array in enumerate(arrays_of(arguments)):
            if array.dtype.kind == "f" and np.isfinite(array).any():
                poisoned = copied(arguments, lambda a: a.copy())
                known = np.flatnonzero(np.isfinite(array))
                arrays_of(poisoned)[place].reshape(-1)[d.rng.choice(known)] = np.nan
                compare(name, poisoned, 1e-5)


# --- what the table cannot say ------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
LIMITS = {
    "exp": {-800: 0, 800: INF, -INF: 0, INF: INF, NAN: NAN, 0: 1},
    "tanh": {-INF: -1, INF: 1, -800: -1, 800: 1, NAN: NAN, 0: 0},
    "sigmoid": {-INF: 0, INF: 1, -800: 0, 800: 1, NAN: NAN, 0: 0.5},
    "relu": {-INF: 0, INF: INF, NAN: NAN, -0.0: 0},
    "log": {0: -INF, INF: INF, NAN: NAN, 1: 0},
    "log_sigmoid": {-INF: -INF, INF: 0, NAN: NAN, -800: -800, 800: 0},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", LIMITS)
def test_activations_at_their_limits(name: str, dtype: type) -> None:
    x = np.array([*LIMITS[name]] * 9, dtype)  # nine times: in the vector loop and in what is left over
    y = np.empty_like(x)
    getattr(cpu, name)(y, x)
    np.testing.assert_allclose(y, [*LIMITS[name].values()] * 9, rtol=0, atol=3e-7)


def test_exp_of_float32_leaves_its_range() -> None:
    y = np.empty(2, np.float32)
    cpu.exp(y, np.array([-200, 200], np.float32))
    assert y.tolist() == [0, INF]


def test_the_logarithm_of_cells() -> None:
    x = np.exp(np.linspace(-87, 88, 501), dtype=np.float32)
    x = np.append(x, [1, np.nextafter(np.float32(1), np.float32(0)), 3e38]).astype(np.float32)
    y, wanted = np.array([maths.log32(number) for number in x]), np.log(x.astype(np.float64))
    np.testing.assert_allclose(y, wanted, rtol=3e-7)
    assert [maths.log32(np.float32(number)) for number in (0, INF)] == [-INF, INF]
    assert all(np.isnan(maths.log32(np.float32(number))) for number in (-1, -INF, NAN))


@pytest.mark.parametrize("name, error", [("exp", 3e-7), ("tanh", 4e-7), ("sigmoid", 2e-7)])
def test_float32_activations_keep_their_promise(name: str, error: float) -> None:
    x = np.linspace(-20, 20, 100_001).astype(np.float32)
    y, plain = np.empty_like(x), np.empty(x.shape)
    getattr(cpu, name)(y, x)
    getattr(reference, name)(plain, x.astype(np.float64))
    assert np.abs((y - plain) / (plain if name == "exp" else 1)).max() < error


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(0, 40)] * 3), flags=st.tuples(*[st.booleans()] * 3),
    dtype=st.sampled_from([*TOLERANCE]), seed=st.integers(0, 99),
)  # fmt: skip
def test_matmul_of_any_size(sizes: tuple[int, int, int], flags: tuple[bool, ...], dtype: type, seed: int) -> None:
    m, k, n = sizes
    d = Draw(dtype, seed)
    a, b = d.normal(*((k, m) if flags[0] else (m, k))), d.normal(*((n, k) if flags[1] else (k, n)))
    compare("matmul", [d.normal(m, n) if flags[2] else d.out(m, n), a, b, *flags], TOLERANCE[dtype])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("flags", [*itertools.product((False, True), repeat=3)])
def test_matmul_over_several_blocks(flags: tuple[bool, ...], count: int, set_threads: Callable) -> None:
    """Sizes at which b is packed in several blocks, and rows are done in several strips."""
    set_threads(count)
    d = Draw(np.float32, 1)
    for m, k, n in (
        (29, 2 * product.DEPTH + 9, product.BREADTH + 37),
        (2 * product.STRIP + 5, product.DEPTH + 3, 41),
    ):
        a, b = d.normal(*((k, m) if flags[0] else (m, k))), d.normal(*((n, k) if flags[1] else (k, n)))
        compare("matmul", [d.normal(m, n) if flags[2] else d.out(m, n), a, b, *flags], 1e-5)


def test_matmul_gives_the_same_bits_on_any_number_of_threads(set_threads: Callable[[int], None]) -> None:
    d = Draw(np.float32, 5)
    a, b, results = d.normal(60, 300), d.normal(300, 50), []
    for count in (1, 2):
        set_threads(count)
        results.append(d.out(60, 50))
        cpu.matmul(results[-1], a, b)
    assert (results[0] == results[1]).all()


def test_work_is_split_into_parts_that_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_threads", 7)
    assert threads.split(5, 10**9) == 5  # no more parts than rows
    assert threads.split(10**6, threads.WORTH_A_THREAD - 1) == 1  # no thread for next to nothing
    for parts, rows in itertools.product(range(1, 8), range(40)):
        edges = [threads.bound(part, parts, rows) for part in range(parts + 1)]
        assert edges[0] == 0 and edges[-1] == rows and max(np.diff(edges)) - min(np.diff(edges)) <= 1


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_mask_and_mean(rate: float, set_threads: Callable[[int], None]) -> None:
    x, masks = np.ones((200, 101), np.float32), []
    for count, key in ((1, 3), (2, 3), (1, 4)):
        set_threads(count)
        y, plain = np.empty_like(x), np.empty_like(x)
        cpu.dropout(y, x, rate, np.uint64(key))
        reference.dropout(plain, x, rate, np.uint64(key))
        assert (y == plain).all()
        assert set(np.unique(y)) <= {0, np.float32(1 / (1 - rate))}
        assert abs(y.mean(dtype=float) - 1) < 5 * np.sqrt(rate / (1 - rate) / x.size) + 1e-6
        masks.append(y)
    assert (masks[0] == masks[1]).all()
    assert rate == 0 or (masks[0] != masks[2]).mean() > rate * (1 - rate)  # another key, another mask


@kernel
def one_tile(m, c, c_at, c_row, n, a, a_at, a_row, b, b_at, b_row, count, add, turned):
    tile.vector_tile(m, c, c_at, c_row, n, a, a_at, a_row, b, b_at, b_row, count, add, turned)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("turned", [0, 1], ids=["rows", "columns"])
def test_vector_tile_is_the_plain_tile(turned: int, dtype: type) -> None:
    """All heights, the narrow last panel, rows near and far; nothing beside the tile is touched."""
    d, width = Draw(dtype, 3), product.panel_width(dtype)
    for m, n, count in itertools.product(range(1, TILE_ROWS + 1), (1, width - 1, width), (0, 1, 4, 9)):
        a_row, b_row = (m, width) if count == 4 else (m + count + 2, width + 7)
        a, b = d.normal(3 + (m + count) * a_row), d.normal(5 + (count + 1) * b_row)
        for add in (0, 1):
            c = d.normal(4 + m * (width + 3))
            expected = c.copy()
            rest = (n, a, 3, a_row, b, 5, b_row, count, add, turned)
            one_tile(m, c, 4, width + 3, *rest)
            tile.plain_tile(m, expected, 4, width + 3, *rest)
            np.testing.assert_allclose(c, expected, rtol=0, atol=TOLERANCE[dtype])


# --- in a process of its own --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, switch",
    [
        # What a debugger steps through and a coverage tool sees is the same arithmetic: all kernels.
        ("plain", {"NUMBA_DISABLE_JIT": "1"}),
        # No kernel that computes an index leaves its arrays. Unoptimised: that halves the time to compile.
        ("checked", {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0"}),
    ],
)
def test_kernels_under_another_numba(mode: str, switch: dict[str, str], tmp_path: Path) -> None:
    here = Path(__file__).parent
    # Numba's cache does not know these switches: so it gets a new folder.
    environment = os.environ | {"PYTHONPATH": str(here.parent), "NUMBA_CACHE_DIR": str(tmp_path)} | switch
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", here / "kernel_rows.py", mode],
        capture_output=True, text=True, timeout=100, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "all well"


def test_the_number_of_threads_is_kept_when_the_kernels_are_first_used() -> None:
    code = (
        "from micrornn import kernels; kernels.set_threads(1); kernels.for_device('cpu')\n"
        "from micrornn.kernels.cpu import threads; print(threads.split(100, 10**12))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"
