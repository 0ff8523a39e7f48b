"""Each CUDA kernel against the plain NumPy page, by the rows of kernel_rows.py; then arrays on the card.

Without a card all of it runs in Numba's simulator, a Python thread for each of the card's: so sizes are tiny.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from kernel_rows import ROWS, TOLERANCE, Draw, arrays_of, compare, copied, on_cuda, sweep

from micrornn.kernels import NAMES, cpu, reference
from micrornn.kernels import cuda as kernels
from micrornn.kernels.cuda import array, elementwise, maths, reduce, rows, tables
from micrornn.kernels.cuda.array import asarray, contiguous, empty, full, pool, spread, zeros
from micrornn.kernels.cuda.jit import SIM, cuda

pytestmark = pytest.mark.skipif(
    not SIM and not cuda.is_available(),
    reason="no graphics card; set NUMBA_ENABLE_CUDASIM=1 before Numba is imported to run it in the simulator",
)

SIZES = (1, 13, 33)
SEQUENCES = tuple(name for name in NAMES if "_sequence" in name)
# In the simulator these take seconds a call: so many of the calls of their rows are made at each of SIZES, in float32
# and in float64.
FEW = {"matmul": ((3, 3, 3), (3, 3, 3)), **dict.fromkeys(SEQUENCES, ((3, 1, 1), (3, 1, 0)))} if SIM else {}


# --- the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_reference(name: str) -> None:
    ours, plain = getattr(kernels, name), getattr(reference, name)
    assert str(inspect.signature(ours)) == str(inspect.signature(plain))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_kernel_is_the_reference(name: str, dtype: type) -> None:
    if name not in FEW:
        sweep(name, dtype, SIZES, on_cuda)
        return
    double = dtype is np.float64
    place = 5 * double
    for n, count in zip(SIZES, FEW[name][double]):
        calls = ROWS[name](Draw(dtype, n))
        for _ in range(count):
            compare(name, calls[place % len(calls)], TOLERANCE[dtype], on_cuda)
            place += 3  # options come in twos: so each call differs from the one before in several of them


@pytest.mark.parametrize("name", ROWS)
def test_nan_is_not_lost(name: str) -> None:
    """One NaN in one input at a time. A kernel that swallows it hides where training broke."""
    d = Draw(np.float32, 1 if SIM and name in SEQUENCES else 3)
    for arguments in ROWS[name](d)[: 1 if SIM else None]:
        for place, values in enumerate(arrays_of(arguments)):
            if values.dtype.kind == "f" and np.isfinite(values).any():
                poisoned = copied(arguments, lambda a: a.copy())
                known = np.flatnonzero(np.isfinite(values))
                arrays_of(poisoned)[place].reshape(-1)[d.rng.choice(known)] = np.nan
                compare(name, poisoned, 1e-5, on_cuda)


@pytest.mark.parametrize("name", [*elementwise.LIFTED, "sum", "sum_of_squares", "gather", "scatter_add", "matvec"])
def test_nothing_to_do(name: str) -> None:
    """Arrays without a number: a grid cannot be empty."""
    sweep(name, np.float32, (0,), on_cuda)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_no_rows(name: str) -> None:
    compare(name, [np.empty((0, 5), np.float32)] * 2, 1e-5, on_cuda)


# --- what the table cannot say -----------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
LIMITS = {
    "exp": {-800: 0, 800: INF, -INF: 0, INF: INF, NAN: NAN, 0: 1},
    "tanh": {-INF: -1, INF: 1, -800: -1, 800: 1, NAN: NAN, 0: 0},
    "sigmoid": {-INF: 0, INF: 1, -800: 0, 800: 1, NAN: NAN, 0: 0.5},
    "relu": {-INF: 0, INF: INF, NAN: NAN, -0.0: 0},
    "log": {0: -INF, INF: INF, NAN: NAN, 1: 0},
    "sqrt": {0: 0, INF: INF, NAN: NAN, 4: 2},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", LIMITS)
def test_activations_at_their_limits(name: str, dtype: type) -> None:
    x = asarray(np.array([*LIMITS[name]], dtype))
    y = empty(x.shape, dtype)
    getattr(kernels, name)(y, x)
    np.testing.assert_allclose(y.get(), [*LIMITS[name].values()], rtol=0, atol=3e-7)


@pytest.mark.parametrize("name, error", [("exp", 3e-7), ("tanh", 4e-7), ("sigmoid", 2e-7)])
def test_float32_activations_keep_their_promise(name: str, error: float) -> None:
    x = np.linspace(-20, 20, 2_001 if SIM else 100_001).astype(np.float32)
    y, plain = empty(x.shape, np.float32), np.empty(x.shape)
    getattr(kernels, name)(y, asarray(x))
    getattr(reference, name)(plain, x.astype(np.float64))
    assert np.abs((y.get() - plain) / (plain if name == "exp" else 1)).max() < error


def test_clip_keeps_nan_and_takes_no_limit() -> None:
    x = asarray(np.array([-3, NAN, 3, INF], np.float32))
    y = empty(x.shape, np.float32)
    kernels.clip(y, x, 1)
    np.testing.assert_array_equal(y.get(), [-1, NAN, 1, 1])
    kernels.clip(y, x, INF)
    np.testing.assert_array_equal(y.get(), [-3, NAN, 3, INF])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_draws_the_processors_masks(rate: float, dtype: type) -> None:
    x = Draw(dtype, 2).normal(17, 31)
    for key in (0, 3, 2**63 + 7, 2**64 - 1):
        y, plain = empty(x.shape, dtype), np.empty_like(x)
        kernels.dropout(y, asarray(x), rate, np.uint64(key))
        cpu.dropout(plain, x, rate, np.uint64(key))
        assert (y.get() == plain).all()  # to the bit


@pytest.mark.parametrize("rows", [1, 5, 70])
def test_scatter_add_keeps_the_order(rows: int) -> None:
    """To the bit what the processor adds up one after the other: with one id in half of the places, with ids in one
    place, and over several slabs."""
    d = Draw(np.float32, rows)
    assert rows < 70 or not SIM or rows > 2 * tables.SLAB
    ids = np.where(d.some(rows), 2, d.ids(rows, 9)).astype(np.int32)
    table, added = d.normal(9, 19), d.normal(rows, 19, std=1000)
    there = asarray(table.copy())
    kernels.scatter_add(there, asarray(ids), asarray(added))
    cpu.scatter_add(table, ids, added)
    assert (there.get() == table).all()


@pytest.mark.parametrize("shape", [(1, 200, 3), (1, 200, 1), (1, 77, 40), (2, 90, 1), (3, 1, 5), (5, 0, 2)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_sum_in_several_blocks_gives_the_same_bits_again(shape: tuple[int, int, int], accumulate: bool) -> None:
    d = Draw(np.float32, 4)
    x, out, results = d.normal(*shape), d.normal(shape[0], shape[2]), []
    for _ in range(2):
        there = asarray(out)
        kernels.sum(there, asarray(x), accumulate)
        results.append(there.get())
    assert (results[0] == results[1]).all()
    compare("sum", [out, x, accumulate], 1e-5, on_cuda)


def test_few_tall_columns_are_dealt_out_to_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    monkeypatch.setattr(reduce, "empty", lambda shape, dtype: made.append(shape) or empty(shape, dtype))
    kernels.sum(empty((1, 3), np.float32), asarray(counted((1, 200, 3))), False)
    assert made and made[0][0] > 1, "no second stage"


def test_sum_of_squares_is_exact_where_float32_is_not() -> None:
    x = np.full(3001, 0.1, np.float32)
    out = empty((1,), np.float64)
    kernels.sum_of_squares(out, asarray(x))
    assert out.item() == pytest.approx(3001 * float(x[0]) ** 2, rel=1e-14)


@pytest.mark.parametrize("inner", [1, 3])
def test_max_takes_the_first_of_equals_and_nan_before_all(inner: int) -> None:
    x = np.array([[1, 7, 7, 2], [NAN, 9, NAN, 1], [-INF, -INF, -INF, -INF]], np.float32)
    x = np.repeat(x[:, :, None], inner, axis=2)
    out, place = empty((3, inner), np.float32), empty((3, inner), np.int32)
    kernels.max(out, place, asarray(x))
    np.testing.assert_array_equal(out.get(), [[7] * inner, [NAN] * inner, [-INF] * inner])
    np.testing.assert_array_equal(place.get(), [[1] * inner, [0] * inner, [0] * inner])


def test_cross_entropy_may_write_over_what_it_reads() -> None:
    d = Draw(np.float32, 9)
    logits, targets, dloss = d.normal(7, 33), d.ids(7, 33), d.normal(7)
    there, loss = asarray(logits), empty((7,), np.float32)
    kernels.cross_entropy(loss, there, there, asarray(targets))
    plain, plain_loss = np.empty((7, 33)), np.empty(7)
    reference.cross_entropy(plain_loss, plain, logits.astype(np.float64), targets)
    np.testing.assert_allclose(loss.get(), plain_loss, rtol=1e-5)
    np.testing.assert_allclose(there.get(), plain, rtol=1e-5, atol=1e-7)
    kernels.cross_entropy_vjp(there, asarray(dloss), there, asarray(targets))
    reference.cross_entropy_vjp(plain, dloss.astype(np.float64), plain, targets)
    np.testing.assert_allclose(there.get(), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not SIM, reason="on a card, every other test takes this way")
@pytest.mark.parametrize("width", [33, 300])  # a warp for each row; two warps
def test_lanes_add_up_by_shuffles_as_on_a_card(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator knows no shuffles, so its kernels have another way. Here is one, for the way that cards take."""
    found: dict[int, Any] = {}
    shuffled: list[int] = []

    def shuffle(module: Any, mask: int, value: Any, offset: int) -> Any:
        assert mask == 0xFFFFFFFF and offset in (1, 2, 4, 8, 16)
        me = threading.current_thread().thread_id  # type: ignore[attr-defined]
        found[me] = value
        module.syncthreads()
        other = found[me // 32 * 32 + (me % 32 ^ offset)]
        module.syncthreads()
        shuffled.append(offset)
        return other

    simulator = importlib.import_module("numba.cuda.simulator.kernelapi")
    monkeypatch.setattr(simulator.FakeCUDAModule, "shfl_xor_sync", shuffle, raising=False)
    monkeypatch.setattr(maths, "SIM", False)
    for module in (maths, reduce, rows):
        monkeypatch.setattr(module, "MOST", 64)
    monkeypatch.setattr(maths, "WARP", 32)
    d = Draw(np.float32, width)
    x = d.normal(3, width, std=5)
    for name, arguments in {
        "softmax_vjp": [d.out(3, width), d.normal(3, width), x],
        "cross_entropy": [d.out(3), d.out(3, width), x, d.ids(3, width)],
        "matvec": [d.out(3), x, d.normal(width), d.normal(3)],
        "sum_of_squares": [d.out(1, dtype=np.float64), x],
    }.items():
        shuffled.clear()
        compare(name, arguments, 1e-5, on_cuda)
        assert shuffled, name


# --- arrays ------------------------------------------------------------------------------------------------------

few = settings(max_examples=25 if SIM else 150, deadline=None)
shapes = of_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def view_of(data: Any, x: np.ndarray) -> tuple[list[int], Any]:
    """Some order of the axes, and an index into what that gives."""
    axes = data.draw(st.permutations(range(x.ndim)))
    return axes, data.draw(of_numpy.basic_indices(x.transpose(axes).shape, allow_ellipsis=True))


@few
@given(shape=shapes, dtype=st.sampled_from([np.float32, np.float64, np.int32, np.bool_]))
def test_there_and_back(shape: tuple[int, ...], dtype: type) -> None:
    x = counted(shape).astype(dtype)
    there = asarray(x)
    assert (there.shape, there.dtype, there.size, there.ndim) == (x.shape, x.dtype, x.size, x.ndim)
    np.testing.assert_array_equal(there.get(), x)
    np.testing.assert_array_equal(there.copy().get(), x)


@few
@given(data=st.data(), shape=shapes)
def test_views_are_those_of_numpy(data: Any, shape: tuple[int, ...]) -> None:
    x = counted(shape)
    axes, index = view_of(data, x)
    ours, plain = asarray(x).transpose(axes)[index], x.transpose(axes)[index]
    assert ours.shape == np.shape(plain)
    np.testing.assert_array_equal(ours.get(), plain)
    np.testing.assert_array_equal(contiguous(ours).get(), plain)
    np.testing.assert_array_equal(ours.reshape(-1).get(), np.reshape(plain, -1))


@few
@given(data=st.data(), shape=shapes, from_array=st.booleans())
def test_writing_into_a_view_writes_into_the_array(data: Any, shape: tuple[int, ...], from_array: bool) -> None:
    x = counted(shape)
    axes, index = view_of(data, x)
    there = asarray(x)
    part = np.shape(x.transpose(axes)[index])
    value: Any = -1.5
    if from_array:  # of fewer axes, so that it is spread
        value = -1 - counted(part[data.draw(st.integers(0, len(part))) :])
    there.transpose(axes)[index] = asarray(value) if from_array else value
    x.transpose(axes)[index] = value
    np.testing.assert_array_equal(there.get(), x)


@few
@given(shape=of_numpy.mutually_broadcastable_shapes(num_shapes=1, base_shape=(2, 3, 4), max_dims=3))
def test_spread_is_broadcasting(shape: Any) -> None:
    x = counted(shape.input_shapes[0])
    np.testing.assert_array_equal(spread(asarray(x), shape.result_shape).get(), np.broadcast_to(x, shape.result_shape))


def test_arrays_of_one_number() -> None:
    np.testing.assert_array_equal(full((2, 3), 0.5, np.float64).get(), np.full((2, 3), 0.5))
    np.testing.assert_array_equal(zeros((4,), np.int32).get(), np.zeros(4, np.int32))
    assert float(full((), 3, np.float32)) == 3.0
    x = asarray(counted((2, 2)))
    assert asarray(x) is x and spread(x, (2, 2)) is x and contiguous(x) is x  # no copy without need


def test_what_arrays_refuse() -> None:
    x = asarray(counted((2, 3)))
    with pytest.raises(ValueError, match="order"):
        _ = x.transpose().flat
    with pytest.raises(TypeError, match="float64"):
        x[...] = zeros((2, 3), np.float64)
    with pytest.raises(TypeError, match="graphics card"):
        np.asarray(x)
    with pytest.raises(ValueError, match="6 axes"):
        asarray(counted((2,) * 6)).transpose().copy()


def test_memory_that_is_dropped_is_handed_out_again() -> None:
    pool.idle.release()
    x = empty((3, 5), np.float32)
    numbers = x.memory.numbers
    view = x[1:]
    del x
    other = empty((15,), np.float32)
    assert other.memory.numbers is not numbers  # a view still looks at it
    del view
    again = empty((5, 3), np.float32)
    assert again.memory.numbers is numbers
    assert empty((15,), np.float64).memory.numbers is not numbers
    del again
    pool.idle.release()
    assert empty((15,), np.float32).memory.numbers is not numbers
    assert array.pool is pool


def test_kernels_give_their_scratch_memory_back() -> None:
    x, out = asarray(counted((1, 200, 3))), empty((1, 3), np.float32)
    kernels.sum(out, x, False)
    idle = pool.idle.count()
    for _ in range(3):
        kernels.sum(out, x, False)
    assert pool.idle.count() == idle
