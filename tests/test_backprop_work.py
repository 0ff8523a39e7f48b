"""Ways to propagate back: a closed form, means over many draws, and how much work and memory each takes; and what
`inspect truncation` says of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from unrolled import LANES, Unrolled, config_of, gradients, model_of, way_of

from micrornn import bptt, kernels
from micrornn.bptt.measured import with_ways
from micrornn.bptt.uoro import rank_one
from micrornn.cells import find_cell
from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn.inspect.measure import Measure
from micrornn.inspect.truncation import of_ways as panels
from micrornn.inspect.window import Window
from micrornn.ops import mean, stack
from micrornn.ops.recurrent import SequenceOp
from micrornn.parameters import Flat, Module, Parameter
from micrornn.tape import Tensor
from micrornn.tasks.language import LanguageModel
from micrornn.tasks.task import Slices


@pytest.fixture(autouse=True)
def plain_kernels() -> Iterator[None]:
    """Nothing is compiled for so few numbers."""
    with kernels.use("reference"):
        yield


class Product(Module):
    """x_t = w x_{t-1}, the loss is x_t: what a network looks like to a way, and nothing else."""

    def __init__(self, config: Config):
        self.config, self.w = config, Parameter(np.array([0.2]), np.float64)
        self.flat, self.steps = Flat(self.parameters()), 0

    def draw_dropout(self, update: int, start: int = 0) -> None:
        pass

    def loss(self, inputs: np.ndarray, targets: np.ndarray, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, xs = state[0] if state else Tensor(np.array([0.9])), []
        for _ in inputs:
            x, self.steps = x * self.w, self.steps + 1
            xs.append(x)
        return mean(stack(*xs)), (x,)


@pytest.mark.parametrize("k2", [1, 2, 3])
def test_the_closed_form(k2: int) -> None:
    w, x0 = 0.2, 0.9
    config = Config(backprop=f"1,{k2}", dtype="float64")
    way = bptt.find(config, Product(config), Slices(np.zeros((3, 1)), np.zeros((3, 1)), 1), 1)
    found = gradients(way, 3)
    for t, gradient in enumerate(found, 1):  # each of the last k2 factors w is one way to differ: w^(t - 1) x_0
        assert gradient == pytest.approx(min(t, k2) * w ** (t - 1) * x0, rel=1e-12)
    assert found[2] == pytest.approx({1: 0.036, 2: 0.072, 3: 0.108}[k2], rel=1e-12)


def test_copies_that_take_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("1,4", "rnn")
    way_of(config, model_of(config))
    monkeypatch.setattr("micrornn.device.memory", lambda: 300)
    with pytest.raises(ConfigError, match=r"`backprop=1,4` keeps the parameters of 3 updates: .* take a larger K1"):
        way_of(config, model_of(config))


@pytest.mark.parametrize("k1, k2", [(1, 5), (2, 6), (3, 7), (4, 4)])
def test_each_time_step_is_computed_forward_once(k1: int, k2: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"forward": 0, "back": 0}
    for name, way in (("_forward", "forward"), ("cell_back", "back")):
        original = getattr(SequenceOp, name)

        def counted(self: Any, k: Any, first: Any, *rest: Any, original: Any = original, way: str = way,
                    **options: Any) -> Any:  # fmt: skip
            rows = first if way == "forward" else first["gates"]
            steps[way] += len(rows)
            return original(self, k, first, *rest, **options)

        monkeypatch.setattr(SequenceOp, name, counted)
    config = config_of(f"{k1},{k2}", "mgu")
    cell = find_cell("mgu")
    monkeypatch.setitem(cell.__dict__, "op", SequenceOp(cell))
    way = way_of(config, model_of(config), k1 * 12)
    for update in range(12):
        steps.update(forward=0, back=0)
        step = way.next(update)
        step.backward()
        way.commit(step)
        assert steps == {"forward": k1, "back": min((update + 1) * k1, k2)}
        assert len(way.past) <= k2 - k1  # what lies further back is released


@pytest.mark.parametrize("more", [{"num_layers": 2, "dropout": 0.3, "input_dropout": 0.2}, {"tied": True}, {}])
def test_one_way_back_over_the_past_is_that_over_each_tape(more: dict[str, Any]) -> None:
    """With ids that are looked up, dropout between the layers, and products shared by all pieces; once over the edge
    of a sequence."""
    config = config_of("2,7", "lstm_peephole", hidden_size=4, embedding_size=4, input_dropout=0.0)
    config = dataclasses.replace(config, **more)
    rng, found = np.random.default_rng(4), []
    inputs, targets = rng.integers(0, 5, (2, 16, LANES)).astype(np.int32)
    moves = [rng.normal(size=len(LanguageModel(config, 5).flat)) * 0.3 for _ in range(10)]
    for pieces in ([], None):
        model = LanguageModel(config, 5)
        way = bptt.find(config, model, Slices(inputs, targets, 2), 2)
        way.past.pieces = pieces
        found.append(gradients(way, len(moves), np.repeat(moves, 2, 0)))
        assert (way.past.pieces is None) == (pieces is None)
    for update, (at_once, by_tape) in enumerate(zip(*found)):
        np.testing.assert_allclose(at_once, by_tape, rtol=1e-10, atol=1e-12, err_msg=f"update {update}")
        assert np.linalg.norm(by_tape) > 0.01


def three_errors(draws: np.ndarray, wanted: np.ndarray) -> None:
    """Each number of the mean of draws (N, n) lies within three standard errors of what is wanted."""
    z = (draws.mean(axis=0) - wanted) / np.maximum(draws.std(axis=0) / np.sqrt(len(draws)), 1e-12)
    moved = draws.std(axis=0) > 1e-12
    np.testing.assert_allclose(draws.mean(axis=0)[~moved], wanted[~moved], atol=1e-12)
    assert moved.any() and np.abs(z[moved]).max() < 3


DRAWS = 20_000


def test_the_mean_of_random_cuts_is_the_full_gradient() -> None:
    config = config_of("random:0.4", "gru")
    model = model_of(config)
    way, wanted = way_of(config, model, 8), Unrolled(model, 8).parts().sum(axis=(0, 1)) / 8
    known: dict[tuple[int, int], np.ndarray] = {}
    draws, start = np.zeros((DRAWS, len(wanted))), 0
    states: dict[int, Any] = {}
    for update in itertools.count():
        epoch, start = way.batches.epoch, way.batches.window % 4
        epoch += way.batches.window == 4
        if epoch == DRAWS:
            break
        step = way.next(update)
        key = (start, way.batches_read)
        if key not in known:  # what an update has depends on where it starts and ends
            step.backward()
            known[key] = model.flat.grad.copy()
            states[start + way.batches_read] = step.last
        way.batches.carry(states[start + way.batches_read])
        draws[epoch] += known[key]
    three_errors(draws / (0.4 * 4), wanted)


def test_the_mean_of_uoro_is_the_full_gradient() -> None:
    """Lane by lane, all draws at once: the equations that the way itself uses (rank_one)."""
    model = model_of(config_of("uoro", "lstm"))
    rng, draws, wanted = np.random.default_rng(5), 0.0, Unrolled(model, 5).parts().sum(axis=(0, 1))
    for b in range(LANES):
        lane = Unrolled(model, 5, slice(b, b + 1))
        D, I, dloss = lane.jacobians()
        s, theta = np.zeros((DRAWS, D.shape[1])), np.zeros((DRAWS, I.shape[2]))
        own = lane.parts()
        for t in range(5):
            draws = draws + (own[t, t] + (s @ dloss[t])[:, None] * theta) / LANES
            signs = rng.integers(0, 2, s.shape) * 2.0 - 1
            s, theta = rank_one(s @ D[t].T, theta, signs, signs @ I[t])
    three_errors(np.asarray(draws), wanted)


def test_the_measure_of_ways() -> None:
    """On a network with a long memory, the exact ways have no bias, and the random ones none that could be told."""
    config = config_of("window", "gru", hidden_size=3, num_steps=4)
    model = model_of(config)
    model.flat.data[...] *= 1.5
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(16, 24, 2)) + 1
    targets = (inputs.sum(axis=2, keepdims=True) > 2).astype(np.float64)
    blank = Measure("truncation", {}, {}, {})
    found = with_ways(blank, model, [Window(inputs, targets, None)])
    names = found.axes["backprop"].places
    row = {name: {kind[4:]: float(found[kind][at]) for kind in found.arrays} for at, name in enumerate(names)}
    assert set(row) == {"window:4", "online", "stateless", "4,8", "random:0.5", "rtrl", "snap1", "uoro"}
    assert row["rtrl"]["bias"] < 1e-8 and row["rtrl"]["spread"] < 1e-8
    assert row["4,8"]["bias"] < row["window:4"]["bias"] < row["online"]["bias"] < row["stateless"]["high"]
    for name in ("random:0.5", "uoro"):
        assert row[name]["low"] < 0.2 and row[name]["spread"] > row["window:4"]["spread"]
    (table,) = panels(found)
    assert [line[0] for line in table.rows] == list(names) and not panels(blank)
    wide = model_of(config_of("window", "lstm", hidden_size=20, num_steps=4))
    biases = with_ways(blank, wide, [Window(inputs, targets, None)])["way_bias"]
    told = {name: np.isfinite(bias) for name, bias in zip(names, biases)}
    assert told == {name: name not in ("rtrl", "uoro") for name in names}  # too many states for those
