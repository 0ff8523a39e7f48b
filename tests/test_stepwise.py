"""A layer over a list of time steps, and step by step against an environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from micrornn.errors import ConfigError, ShapeError
from micrornn.ops import stack
from micrornn.recurrent import Recurrent
from micrornn.stepwise import unroll
from micrornn.tape import Tape, Tensor

X = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_list_an_array_and_one_step_at_a_time_are_the_same(cell: str, options: dict[str, Any]) -> None:
    layer = Recurrent(cell, 2, 4, seed=1, **options)
    state = layer.zero_state(3)
    assert len(state) == len(layer.cell.states) and not any(part.data.any() for part in state)
    wanted, last = layer(Tensor(X))
    outputs, end = unroll(layer, list(X), state)
    assert isinstance(outputs, list) and [y.shape for y in outputs] == [wanted.shape[1:]] * 5
    whole, _ = unroll(layer, X)
    for found in (np.array([y.data for y in outputs]), whole.data):
        np.testing.assert_allclose(found, wanted.data, rtol=1e-6, atol=1e-7)
    for one, two in zip(end, last):
        np.testing.assert_allclose(one.data, two.data, rtol=1e-6, atol=1e-7)
    if options:
        return
    weight, grads = layer.weights["weight_hh_l0"], []
    for stepwise in (False, True):
        with Tape() as tape:
            ys, state = [], layer.zero_state(3)
            for x in X if stepwise else [X]:
                y, state = unroll(layer, [x] if stepwise else list(x), state)
                ys += y
            loss = (stack(*ys) ** 2).sum()
        grads += tape.cotangents([weight], [loss])
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-4, atol=1e-5)


def test_behind_its_length_a_lane_puts_out_zero_and_keeps_its_state() -> None:
    layer, lengths = Recurrent("lstm", 2, 4, seed=1), [2, 5, 0]
    outputs, (h, c) = unroll(layer, list(X), lengths=lengths)
    for lane, length in enumerate(lengths):
        assert all(outputs[t].data[lane].any() == (t < length) for t in range(5))
        alone, (h_alone, c_alone) = unroll(layer, list(X[:length, lane : lane + 1])) if length else ([], (h * 0, c * 0))
        assert len(alone) == length
        np.testing.assert_allclose(h.data[0, lane], h_alone.data[0, 0], rtol=1e-6)
        np.testing.assert_allclose(c.data[0, lane], c_alone.data[0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda layer: unroll("lstm", list(X)), r"the cell is a layer such as Recurrent\('lstm', 8, 16\), not 'lstm'"),
        (lambda layer: unroll(layer, []), "the list of time steps is empty"),
        (lambda layer: unroll(layer, [X[0], X[1, :2]]), r"time step 1 has shape \(2, 2\), wanted \(batch_size, 2\)"),
        (lambda layer: unroll(layer, [X]), r"time step 0 has shape \(5, 3, 2\)"),
        (lambda layer: unroll(layer, X[0]), r"x has shape \(3, 2\), wanted \(seq_len, batch_size, 2\)"),
        (lambda layer: unroll(layer, X, layer.zero_state(2)), r"\(1, 2, 4\).*wanted one of \(1, 3, 4\)"),
        (lambda layer: unroll(layer, X, lengths=[1, 2, 9]), r"wanted 3 numbers in 0\.\.5"),
        (lambda layer: layer.zero_state(0), "batch_size"),
    ],
)  # fmt: skip
def test_what_does_not_fit(call: Any, words: str) -> None:
    with pytest.raises((ConfigError, ShapeError), match=words):
        call(Recurrent("lstm", 2, 4))


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_policy_learns_to_remember_the_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("tmaze").train(length=2, updates=120, batch_size=64, lr=0.02, seed=0) > 0.95
    assert "update  100" in capsys.readouterr().out
