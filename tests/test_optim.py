"""Optimizers and schedules: what they compute beyond the golden trajectories, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrornn import kernels, ops
from micrornn.errors import ConfigError
from micrornn.layers import Linear
from micrornn.optim import OPTIMIZERS, Optimizer, Schedule, clip_scale, global_norm, parse_optimizer
from micrornn.parameters import Flat, Module, Parameter
from micrornn.tape import Tape, Tensor


def flat_of(numbers: Any, gradient: Any, dtype: type = np.float64) -> Flat:
    """A buffer of two parameters."""
    numbers = np.asarray(numbers, dtype)
    flat = Flat({"a": Parameter(numbers[:1], dtype), "b": Parameter(numbers[1:], dtype)})
    flat.grad[...] = gradient
    return flat


# --- the flat buffer ----------------------------------------------------------------------------------------


def test_parameters_and_gradients_are_views_of_one_buffer() -> None:
    model = Linear(3, 2, seed=1)
    before = [p.data.copy() for p in model.parameters().values()]
    flat = Flat(model.parameters())
    assert len(flat) == 8 and list(flat.slices) == ["weight", "bias"]
    assert (flat.data == np.concatenate([b.reshape(-1) for b in before])).all()
    with Tape() as tape:
        loss = ops.sum(model(Tensor(np.ones((1, 3), np.float32))))
    for count in (1, 2):
        tape.backward(loss)  # into the same memory: the parameters' grad arrays are never replaced
        assert flat.grad.tolist() == [count] * 8
    flat.data[flat.slices["bias"]] = 7
    assert model.bias.data.tolist() == [7, 7]
    flat.zero_grad()
    assert model.weight.grad is not None and not model.weight.grad.any()


def test_a_flat_buffer_needs_parameters_of_one_precision() -> None:
    class Mixed(Module):
        def __init__(self) -> None:
            self.a, self.b = Linear(2, 2, dtype=np.float32), Linear(2, 2, dtype=np.float64)

    with pytest.raises(ConfigError, match=r"float32.*float64|float64.*float32"):
        Flat(Mixed().parameters())
    with pytest.raises(ConfigError, match="without parameters"):
        Flat({})


# --- one update ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [*OPTIMIZERS, "momentum:mu=0.5", "adamw:weight_decay=0.3,beta1=0.8", "adagrad:start=0.1"]
)
def test_both_tables_do_the_same(text: str) -> None:
    results = []
    for device in ("cpu", "reference"):
        with kernels.use(device):
            rng = np.random.default_rng(0)
            flat = flat_of(rng.normal(size=33), 0)
            optimizer = Optimizer(flat, text)
            for _ in range(5):
                flat.grad[...] = rng.normal(size=33)
                optimizer.update(0.1, scale=0.7, limit=0.9)
            results.append(np.concatenate([flat.data, *optimizer.state.values()]))
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-14)
    assert set(optimizer.state) == set(OPTIMIZERS[optimizer.name][1]) and optimizer.updates == 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_is_an_update_with_the_clipped_gradient(name: str) -> None:
    gradient = np.array([3.0, -0.1, -4.0, 0.5])
    clipped = flat_of([1, 2, 3, 4], gradient)
    Optimizer(clipped, name).update(0.1, scale=0.5, limit=1.0)
    plain = flat_of([1, 2, 3, 4], np.clip(gradient * 0.5, -1, 1))
    Optimizer(plain, name).update(0.1)
    assert (clipped.data == plain.data).all() and (clipped.grad == gradient).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_stays_near_float64(name: str) -> None:
    results = []
    for dtype in (np.float32, np.float64):
        flat = flat_of(np.linspace(-1, 1, 50), 0, dtype)
        optimizer = Optimizer(flat, name)
        for n in range(100):
            flat.grad[...] = np.cos(np.arange(50) + n)
            optimizer.update(0.01)
        assert flat.data.dtype == dtype and all(s.dtype == dtype for s in optimizer.state.values())
        results.append(flat.data)
    np.testing.assert_allclose(*results, rtol=0, atol=5e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.floats(1e-3, 1e3))
def test_clip_by_norm_limits_the_norm_and_keeps_the_direction(gradient: list[float], limit: float) -> None:
    flat = flat_of(gradient, gradient)
    norm = global_norm(flat)
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    scale = clip_scale(norm, limit)
    assert 0 < scale <= 1 and norm * scale <= limit * (1 + 1e-12)
    assert scale == 1 or norm * scale > limit * 0.999 - 1e-6
    assert clip_scale(norm, 0) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_shows_what_is_not_finite(bad: float) -> None:
    assert not math.isfinite(global_norm(flat_of([0, 0, 0], [1, bad, 2])))


def test_a_norm_in_float32_is_summed_in_float64() -> None:
    flat = flat_of(np.zeros(1_000_001), 0.1, np.float32)
    assert global_norm(flat) == pytest.approx(np.float32(0.1) * math.sqrt(1_000_001), rel=1e-6)


# --- schedules ----------------------------------------------------------------------------------------------

SCHEDULES: list[tuple[str, Callable[[int], float]]] = [
    ("constant", lambda n: 1),
    ("step:10", lambda n: 0.5 ** (n // 10)),
    ("step:7:0.1", lambda n: 0.1 ** (n // 7)),
    ("exponential:10:0.3", lambda n: 0.3 ** (n / 10)),
    ("cosine", lambda n: (1 + math.cos(math.pi * min(1, n / 40))) / 2),
    ("cosine:0.2", lambda n: 0.2 + 0.4 * (1 + math.cos(math.pi * min(1, n / 40)))),
    ("decay:2:0.9", lambda n: 0.9 ** max(0, n // 8 - 1)),  # 8 updates an epoch: first 0.9 in the third one
    ("decay:0", lambda n: 0.5 ** (n // 8 + 1)),
    ("warmup:5", lambda n: min(1, (n + 1) / 5)),
    ("warmup:5+step:10", lambda n: min(1, (n + 1) / 5) * 0.5 ** (n // 10)),
    (
        "warmup:5+constant+cosine",
        lambda n: min(1, (n + 1) / 5) * (1 + math.cos(math.pi * min(1, n / 40))) / 2,
    ),
]


@pytest.mark.parametrize("text, closed", SCHEDULES, ids=[text for text, _ in SCHEDULES])
def test_schedules_in_closed_form(text: str, closed: Callable[[int], float]) -> None:
    schedule = Schedule(text, 40, 8)
    assert [schedule(n) for n in range(60)] == pytest.approx([closed(n) for n in range(60)], rel=1e-12, abs=1e-15)


MISTAKES: list[tuple[Callable[[], Any], str, list[str]]] = [  # what is called, with what, what is named
    (parse_optimizer, "adm", ["'adm'", "sgd, momentum, adagrad, rmsprop, adam, adamw"]),
    (parse_optimizer, "adam:beta3=1", ["adam", "'beta3'", "beta1, beta2, eps"]),
    (parse_optimizer, "sgd:mu=1", ["sgd", "'mu'", "none"]),
    (parse_optimizer, "adagrad:start=-1", ["adagrad: start", "0 or more"]),
    (parse_optimizer, "rmsprop:decay", ["rmsprop: decay", "number", "''"]),
    (parse_optimizer, "rmsprop:decay=nan", ["rmsprop: decay", "'nan'"]),
    (Schedule, "linear", ["'linear'", "constant, step, exponential, cosine, decay, warmup"]),
    (Schedule, "step", ["'step'", "step:EVERY:FACTOR"]),
    (Schedule, "step:1:2:3", ["'step:1:2:3'", "step:EVERY:FACTOR"]),
    (Schedule, "warmup", ["'warmup'", "warmup:UPDATES"]),
    (Schedule, "warmup:0", ["'warmup:0'", "above 0"]),
    (Schedule, "exponential:-3", ["'exponential:-3'", "above 0"]),
    (Schedule, "decay:1:2", ["'decay:1:2'", "at most 1"]),
    (Schedule, "warmup:few", ["warmup", "'few'"]),
    (Schedule, "warmup:3+", ["''", "warmup"]),
]


@pytest.mark.parametrize("call, text, named", MISTAKES, ids=[text for _, text, _ in MISTAKES])
def test_mistakes_are_named(call: Callable[[str], Any], text: str, named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        call(text)
    message = str(caught.value)
    assert all(word in message for word in named) and len(message.splitlines()) == 1, message


def test_options_are_filled_with_their_defaults() -> None:
    assert parse_optimizer("adam:beta2=0.99") == ("adam", {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8})
    assert parse_optimizer("sgd") == ("sgd", {}) and OPTIMIZERS["adam"][2]["beta2"] == 0.999


def test_where_the_sum_of_squares_of_adagrad_starts() -> None:
    flat = flat_of([0.0, 0.0], [3.0, -0.5])
    Optimizer(flat, "adagrad:start=0.1").update(0.2)
    np.testing.assert_allclose(flat.data, [-0.2 * 3 / math.sqrt(9.1), 0.2 * 0.5 / math.sqrt(0.35)], rtol=1e-9)
    assert Schedule("decay:1", 40)(39) == 1  # updates of an epoch unknown
