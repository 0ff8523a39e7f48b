"""The engine: what is recorded, what flows back, and that nothing of it stays behind."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest

from micrornn import ops
from micrornn.errors import ShapeError
from micrornn.pool import Pool
from micrornn.recurrent import Recurrent
from micrornn.tape import Record, Tape, Tensor, no_tape, stamp


def leaf(value: object) -> Tensor:
    return Tensor(value, requires_grad=True, dtype=np.float64)


def gradients(function: Callable[..., Tensor], *values: object) -> list[float | list[float]]:
    """The gradient of the sum of function(...) at these values."""
    leaves = [leaf(value) for value in values]
    with Tape() as tape:
        y = function(*leaves)
    tape.backward(y, np.ones(y.shape))
    return [x.grad.tolist() for x in leaves]


# --- gradients in closed form -------------------------------------------------------------------------------


def test_gradients_worked_out_by_hand() -> None:
    """e = (a b + c)^2 / d + tanh(c), at a = 2, b = -3, c = 10, d = 4: a b + c = 4."""
    da, db, dc, dd = gradients(lambda a, b, c, d: (a * b + c) * (a * b + c) / d + ops.tanh(c), 2.0, -3.0, 10.0, 4.0)
    assert da == 2 * 4 * -3 / 4 and db == 2 * 4 * 2 / 4 and dd == -(4**2) / 4**2
    assert dc == pytest.approx(2 * 4 / 4 + 1 - np.tanh(10) ** 2, abs=1e-15)


@pytest.mark.parametrize(
    "function, slope",
    [
        (lambda x: x * x, 6), (lambda x: x + x, 2), (lambda x: x - x, 0), (lambda x: x / x, 0),
        (lambda x: x + x + x, 3), (lambda x: (x + x) * (x + x), 24), (lambda x: x * x * x, 27),
        (lambda x: ops.reshape(x, shape=(1,)) + x + ops.reshape(x, shape=(1,)), 3),
        (lambda x: ops.sum(ops.stack(x, x, x, x * x)), 9),
        (lambda x: ops.concatenate(*[ops.reshape(x, shape=(1,))] * 3), 3),
        (lambda x: ops.clip_message(x, limit=9) + x, 2),
    ],
)  # fmt: skip
def test_a_tensor_used_more_than_once(function: Callable[[Tensor], Tensor], slope: float) -> None:
    """VJPs hand the same array, or a view of it, to several inputs: adding up must not write into it."""
    assert gradients(function, 3.0) == [pytest.approx(slope, abs=1e-12)]


def test_shared_cotangents_are_never_written_to() -> None:
    """a, b, c and d all get the very array of the seed, some of them through a view, and a gets it thrice."""
    a, b, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([[5.0, 6.0]])
    with Tape() as tape:
        d = a + b
        y = ops.reshape(d, shape=(1, 2)) + c + ops.reshape(a, shape=(1, 2)) + ops.reshape(a, shape=(1, 2))
    seed = np.array([[10.0, 20.0]])
    da, db, dc, dd = tape.cotangents([a, b, c, d], [y], [seed])
    assert (da.tolist(), db.tolist(), dc.tolist(), dd.tolist()) == ([30, 60], [10, 20], [[10, 20]], [10, 20])
    assert seed.tolist() == [[10, 20]]


def test_gradients_are_arrays_of_their_own() -> None:
    """Backward adds into grad: two leaves with the same cotangent must not share it."""
    a, b, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones(2)
    with Tape() as tape:
        y = a + b
        z = y * y
    for count in (1, 2):
        tape.backward(y, seed)
        assert a.grad.tolist() == b.grad.tolist() == [count, count]
    assert seed.tolist() == [1, 1]
    tape.backward(z, seed)
    assert y.grad is None and z.grad is None, "grad is for leaves"


# --- the tape -----------------------------------------------------------------------------------------------


def small_network() -> tuple[Tape, list[Tensor], dict[str, Tensor]]:
    """Two layers on three time steps, every row on the tape."""
    rng = np.random.default_rng(0)
    model = Recurrent("lstm", 2, 3, 2, granularity="primitive", dtype=np.float64, seed=0)
    x = leaf(rng.normal(size=(3, 2, 2)))
    with Tape() as tape:
        y, (h, c) = model(x)
        loss = ops.sum(y * y) + ops.sum(h * c)
    return tape, [x, *model.weights.values()], {"y": y, "h": h, "loss": loss}


def test_backward_many_times_with_different_seeds() -> None:
    tape, leaves, out = small_network()
    for seed in (None, 0.5, -2.0):
        again = tape.cotangents(leaves, [out["loss"]], [seed])
        fresh_tape, fresh, fresh_out = small_network()
        fresh_tape.backward(fresh_out["loss"], seed)
        for one, other in zip(again, fresh, strict=True):
            assert (one == other.grad).all()
    assert all(x.grad is None for x in leaves), "cotangents must leave grad alone"
    tape.backward(out["loss"])
    once = [x.grad.copy() for x in leaves]
    tape.backward(out["loss"])
    assert all((x.grad == 2 * first).all() for x, first in zip(leaves, once)), "backward adds to grad"


def test_cotangents_of_interior_tensors() -> None:
    x = leaf([1.0, -2.0])
    with Tape() as tape:
        a = ops.tanh(x)
        b = a * a
        y = ops.sum(b) + ops.sum(a)
        aside = ops.exp(x)
    da, db, dx, daside, dy = tape.cotangents([a, b, x, aside, y], [y], [2.0])
    assert db.tolist() == [2, 2] and dy == 2 and daside is None
    np.testing.assert_allclose(da, 4 * a.data + 2, rtol=1e-15)
    np.testing.assert_allclose(dx, (4 * a.data + 2) * (1 - a.data**2), rtol=1e-14)


def test_several_outputs_at_once() -> None:
    x = leaf([1.0, 2.0, 3.0])
    with Tape() as tape:
        a, b, c = x
        y = a * b
    assert tape.cotangents([x], [y, c, y], [None, 5.0, None])[0].tolist() == [4, 2, 5]
    assert tape.cotangents([x], [a])[0].tolist() == [1, 0, 0]


def test_watched_contributions_sum_to_the_gradient() -> None:
    tape, leaves, out = small_network()
    sums = {id(x): np.zeros(x.shape) for x in leaves}
    steps = []

    def watch(record: Record, tensor: Tensor, contribution: np.ndarray) -> None:
        assert tensor.requires_grad
        if id(tensor) in sums:
            sums[id(tensor)] += contribution
            if tensor is leaves[2]:
                steps.append((record.t, record.scope))

    wanted = tape.cotangents(leaves, [out["loss"]], watch=watch)
    for x, gradient in zip(leaves, wanted):
        np.testing.assert_allclose(sums[id(x)], gradient, rtol=0, atol=1e-14)
    assert steps == [(2, "lstm_l0"), (1, "lstm_l0"), (0, "lstm_l0")], "weight_hh_l0 was used once a time step"


def test_constants_get_nothing() -> None:
    x, constant, watched = leaf([1.0, 2.0]), Tensor(np.ones(2)), []
    with Tape() as tape:
        y = constant - x  # the VJP of sub works out both
    found = tape.cotangents([constant, x], [y], [[1, 1]], watch=lambda _, tensor, __: watched.append(tensor))
    assert found[0] is None and found[1].tolist() == [-1, -1] and watched == [x]
    tape.backward(y, [1, 1])
    assert constant.grad is None


def test_records_carry_time_step_scope_and_a_name() -> None:
    tape, _, _ = small_network()
    stamped = [record for record in tape.records if record.t is not None]
    assert [(r.scope, r.t) for r in stamped if r.op.name == "split"] == [
        (f"lstm_l{layer}", t) for layer in range(2) for t in range(3)
    ]
    assert tape.t is None and tape.scope == ""
    with Tape() as tape, stamp(t=4, scope="here"):
        ops.exp(leaf([[1.0, 2.0]]))
        with stamp(t=5):
            ops.exp(leaf(1.0))
        ops.exp(leaf(1.0))
    assert [str(r) for r in tape.records] == [
        "<here t=4: exp(1x2)>", "<here t=5: exp(scalar)>", "<here t=4: exp(scalar)>"
    ]  # fmt: skip


def test_only_what_needs_a_gradient_is_recorded_and_on_the_innermost_tape() -> None:
    x, constant = leaf(1.0), Tensor(np.ones(()))
    y = x * 2  # no tape at all: fine
    with Tape() as outer:
        ops.exp(constant)
        ops.exp(x)
        with Tape() as inner:
            ops.exp(y)
            with no_tape():
                ops.exp(x)
        ops.exp(x)
    ops.exp(x)
    assert (len(outer), len(inner)) == (2, 1)


def test_an_error_leaves_no_tape_behind() -> None:
    with pytest.raises(ZeroDivisionError), Tape(), stamp(t=1):
        raise ZeroDivisionError
    with Tape() as tape:
        ops.exp(leaf(1.0))
    assert len(tape) == 1 and tape.records[0].t is None


def test_seeds_of_a_wrong_shape_are_refused() -> None:
    x = leaf([1.0, 2.0])
    with Tape() as tape:
        y = x + x
    with pytest.raises(ShapeError, match=r"needs a dloss.*\(2,\)"):
        tape.backward(y)
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        tape.backward(y, [1, 1, 1])
    assert x.grad is None


# --- large, and gone again ----------------------------------------------------------------------------------


def test_ten_thousand_time_steps_back() -> None:
    """No recursion, no sorting: 40,000 records, and dh_T / dh_0 is the product of all slopes."""
    steps = 10_000
    model = Recurrent("rnn", 1, 1, granularity="primitive", dtype=np.float64)
    for weight in model.weights.values():
        weight.data[...] = 0
    model.weights["weight_hh_l0"].data[...] = 1.0
    h_0 = leaf(np.full((1, 1, 1), 1e-3))
    start = time.perf_counter()
    with Tape() as tape:
        _, (h,) = model(Tensor(np.zeros((steps, 1, 1))), [h_0])
    tape.backward(h, np.ones(h.shape))
    assert time.perf_counter() - start < 20
    assert len(tape) > 4 * steps
    slope, value = 1.0, 1e-3
    for _ in range(steps):
        value = np.tanh(value)
        slope *= 1 - value**2
    assert h.item() == pytest.approx(value, rel=1e-9) and h_0.grad.item() == pytest.approx(slope, rel=1e-9)


def living() -> int:
    """How many tensors and records there are. They have slots only, but the collector still lists them; `type` and
    not isinstance, which would ask dead weak proxies of other libraries for their class."""
    return sum(issubclass(type(x), (Tensor, Record, Tape)) for x in gc.get_objects())


@pytest.mark.parametrize("granularity", ["primitive", "cell", "sequence"])
def test_dropping_the_tape_frees_all_of_it_without_the_collector(granularity: str) -> None:
    model = Recurrent("lstm", 2, 3, 2, True, 0.3, granularity=granularity, clip_message=1.0, learn_initial=True, seed=0)
    x = Tensor(np.ones((5, 2, 2), np.float32), True)

    def update() -> int:
        with Tape() as tape:
            y, (h, c) = model(x, lengths=[5, 3])
            loss = ops.sum(y) + ops.sum(h * c)
        tape.backward(loss)
        tape.cotangents([y, h], [loss])
        return living()

    update()  # compiles, which leaves much for the collector
    gc.collect()
    gc.disable()
    try:
        before = living()
        during = update()
        assert during > before + 10, "the count counts"
        assert living() == before
    finally:
        gc.enable()


def test_pool_hands_memory_out_again_but_never_what_is_in_use() -> None:
    pool, shape = Pool(), (640, 33)
    first, second = pool.empty(shape, np.float64), pool.empty(shape, np.float64)
    first[...], second[...] = 1, 2
    view = first.reshape(-1)[5:9].reshape(2, 2)  # a view of a view keeps the memory
    where = first.ctypes.data
    del first
    third = pool.empty(shape, np.float64)
    third[...] = 3
    assert (view == 1).all() and (second == 2).all()
    del view
    again = pool.empty(shape, np.float64)
    assert again.ctypes.data == where
    again[...] = 4
    assert (second == 2).all() and (third == 3).all()
    assert pool.empty((640, 33), np.float32).ctypes.data != where, "another size"
    del again
    pool.idle.most = 0  # nothing more is kept for later
    del second, third
    assert pool.idle.bytes == 0
    assert pool.empty((2, 3), np.float32).base is None, "small arrays are not worth it"


def test_pool_under_a_storm() -> None:
    """Arrays and views come and go at random; each keeps the number that was written into it."""
    pool, rng, held = Pool(), np.random.default_rng(0), []
    for number in range(3000):
        array = pool.empty(((400, 40), (16000, 1), (500, 64))[rng.integers(3)], np.float64)
        array[...] = number
        held.append((number, array if rng.random() < 0.5 else array[rng.integers(40) :, None].T))
        del array
        if len(held) > 20:
            number, array = held.pop(rng.integers(len(held)))
            assert (array == number).all()
            del array
    blocks = sum(pool.idle.count().values())
    assert 0 < blocks < 60, "memory was used again and again"
