"""Ways to propagate back: each equals its definition, whatever the cell."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from operator import itemgetter
from typing import Any

import numpy as np
import pytest

from micrornn import bptt, kernels
from micrornn.bptt.measured import with_ways
from micrornn.bptt.uoro import rank_one
from micrornn.cells import find_cell
from micrornn.config import CELL_NAMES, Config
from micrornn.dropmask import part_of
from micrornn.errors import ConfigError
from micrornn.inspect.measure import Measure
from micrornn.inspect.truncation_ways import panels
from micrornn.inspect.window import Window
from micrornn.ops import binary_cross_entropy, mean, stack
from micrornn.ops.recurrent import SequenceOp
from micrornn.parameters import Flat, Module, Parameter
from micrornn.tape import Tape, Tensor
from micrornn.tasks.language import LanguageModel
from micrornn.tasks.parts import Features
from micrornn.tasks.task import Slices

SEQ_LEN, FEW, LANES = 6, 4, 2
Weights = Callable[[int, int, int], float]  # (loss s, time step t, update) -> how much of dL_s / dtheta_t is in it


@pytest.fixture(autouse=True)
def plain_kernels() -> Iterator[None]:
    """Nothing is compiled for so few numbers."""
    with kernels.use("reference"):
        yield


def config_of(backprop: str, cell: str = "lstm", **more: Any) -> Config:
    given = {"cell": cell, "hidden_size": 2, "batch_size": LANES, "num_steps": 2, "dtype": "float64", "seed": 3}
    if cell == "gru_before":
        given["granularity"] = "primitive"
    if config_steps := Config(backprop=backprop).way.num_steps:
        given["num_steps"] = config_steps
    return Config(**(given | {"backprop": backprop} | more))


def model_of(config: Config) -> Features:
    model = Features(config, 2, 1, binary_cross_entropy)
    model.flat.data[...] *= 2  # far from linear
    return model


def data(seq_len: int = SEQ_LEN) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(48, LANES, 2))
    return inputs[:seq_len], (inputs[:seq_len, :, :1] > 0).astype(np.float64)


class Unrolled:
    """A sequence on one tape, with parameters of its own at each time step: what all definitions are made of."""

    def __init__(self, model: Features, seq_len: int = SEQ_LEN, lanes: slice = slice(None), moves: Any = None):
        lane = part_of(1, LANES, itemgetter((slice(None), lanes))) if lanes.stop else nullcontext()
        num_steps = model.config.num_steps  # of an update, which has masks of its own
        inputs, targets = (rows[:, lanes] for rows in data(seq_len))
        self.models = [model.copy(granularity="primitive", backprop="window") for _ in inputs]
        self.states, self.losses = [], []
        state = None
        with lane, Tape() as self.tape:
            for t, step in enumerate(self.models):
                step.draw_dropout(t // num_steps, t % num_steps)
                if moves is not None:
                    step.flat.data[...] = moves[t]
                loss, state = step.loss(inputs[t : t + 1], targets[t : t + 1], state)
                self.losses.append(loss)
                self.states.append(state)

    def by(self, t: int, outputs: Any, seeds: Any) -> np.ndarray:
        """What the outputs give the parameters of time step t, (n,)."""
        flat = self.models[t].flat
        found = self.tape.cotangents(list(flat.parameters.values()), outputs, seeds)
        shapes = [parameter.shape for parameter in flat.parameters.values()]
        return np.concatenate([(np.zeros(s) if g is None else g).reshape(-1) for g, s in zip(found, shapes)])

    def parts(self) -> np.ndarray:
        """(loss s, time step t, n): dL_s / dtheta_t."""
        steps = range(len(self.losses))
        return np.array([[self.by(t, [self.losses[s]], [None]) for t in steps] for s in steps])

    def jacobians(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a single lane: D (T, S, S), I (T, S, n), dL_t / ds_{t-1} (T, S)."""
        sizes, shape = [part.data.size for part in self.states[0]], self.states[0][0].shape
        seeds = [[row.reshape(shape) for row in np.split(unit, np.cumsum(sizes)[:-1])] for unit in np.eye(sum(sizes))]
        steps = range(len(self.losses))
        I = np.array([[self.by(t, self.states[t], seed) for seed in seeds] for t in steps])
        D, dloss = np.zeros((len(steps), sum(sizes), sum(sizes))), np.zeros((len(steps), sum(sizes)))
        for t in steps[1:]:
            before = list(self.states[t - 1])
            for i, seed in enumerate(seeds):
                D[t, i] = self._rows(self.tape.cotangents(before, self.states[t], seed), sizes)
            dloss[t] = self._rows(self.tape.cotangents(before, [self.losses[t]]), sizes)
        return D, I, dloss

    @staticmethod
    def _rows(found: list[Any], sizes: list[int]) -> np.ndarray:
        return np.concatenate([np.zeros(n) if g is None else g.reshape(-1) for g, n in zip(found, sizes)])


def gradients(way: bptt.way.Way, updates: int, moves: Any = None) -> list[np.ndarray]:
    """What each update has for a gradient. moves: (T, n) the parameters at each time step."""
    found, t = [], 0
    for update in range(updates):
        if moves is not None:
            way.model.flat.data[...] = moves[t]
        step = way.next(update)
        step.backward()
        found.append(way.model.flat.grad.copy())
        way.commit(step)
        t += way.batches_read * way.config.num_steps
    return found


def way_of(config: Config, model: Features, seq_len: int = SEQ_LEN) -> bptt.way.Way:
    batches = Slices(*data(seq_len), config.num_steps, carried=config.state == "carried")
    return bptt.find(config, model, batches, config.num_steps)


def same_window(size: int) -> Weights:
    return lambda s, t, update: (s // size == update) * (t // size == update) / size


def k1k2(k1: int, k2: int) -> Weights:
    return lambda s, t, update: (s // k1 == update) * (t >= (update + 1) * k1 - k2) / k1


# way -> (updates of the sequence, its weights)
LINEAR: dict[str, tuple[int, Weights]] = {
    "full": (1, lambda s, t, update: 1 / SEQ_LEN),
    "window": (3, same_window(2)),
    "window:3": (2, same_window(3)),
    "online": (6, same_window(1)),
    "1,4": (6, k1k2(1, 4)),
    "2,3": (3, k1k2(2, 3)),
    "2,6": (3, k1k2(2, 6)),
    "3,3": (2, k1k2(3, 3)),
    "grow:2-6:every=1": (2, lambda s, t, update: ((s < 2) * (t < 2) / 2, (s >= 2) * (t >= 2) / 4)[update]),
    "rtrl": (3, lambda s, t, update: (s // 2 == update) / 2),
}


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_way_equals_its_definition(cell: str) -> None:
    parts = Unrolled(model_of(config_of("window", cell, num_layers=2))).parts()
    for backprop, (updates, weights) in LINEAR.items():
        config = config_of(backprop, cell, num_layers=2)
        for update, found in enumerate(gradients(way_of(config, model_of(config)), updates)):
            wanted = sum(
                weights(s, t, update) * parts[s, t] for s in range(SEQ_LEN) for t in range(s + 1)
            )  # fmt: skip
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12, err_msg=f"{backprop}, update {update}")


@pytest.mark.parametrize("backprop", ["1,4", "2,3", "2,6", "rtrl"])
def test_what_was_computed_before_an_update_keeps_its_parameters(backprop: str) -> None:
    config = config_of(backprop, "gru")
    model, rng = model_of(config), np.random.default_rng(0)
    moves = np.repeat([model.flat.data * rng.uniform(0.5, 1.5, len(model.flat)) for _ in range(6)], config.num_steps, 0)
    parts, (updates, weights) = Unrolled(model, moves=moves[:SEQ_LEN]).parts(), LINEAR[backprop]
    for update, found in enumerate(gradients(way_of(config, model), updates, moves)):
        wanted = sum(weights(s, t, update) * parts[s, t] for s in range(SEQ_LEN) for t in range(s + 1))
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_the_approximate_ways_equal_their_definition(cell: str) -> None:
    for backprop, layers in (("snap1", 2), ("uoro", 2), ("random:0.4", 1), ("stateless", 1)):
        config = config_of(backprop, cell, num_layers=layers, num_steps=1 if backprop == "uoro" else 2)
        model = model_of(config)
        way = way_of(config, model, FEW if backprop in ("snap1", "uoro") else SEQ_LEN)
        if backprop == "stateless":
            found, wanted = gradients(way, 3)[1], _fresh(model)
        elif backprop.startswith("random"):
            found, wanted = _random(way, model)
        else:
            found = np.array(gradients(way, FEW // config.num_steps))
            wanted = _forward(config, model)
        rtol = 1e-12 if backprop == "snap1" else 1e-9
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-12, err_msg=f"{backprop}, {layers} layers")


MASKED = {
    "layers": {"dropout": 0.4, "input_dropout": 0.3},
    "the state, and once a window": {"recurrent_dropout": 0.4, "dropout": 0.4, "dropout_mask": "sequence"},
}


@pytest.mark.parametrize("masks", MASKED)
@pytest.mark.parametrize("backprop", ["rtrl", "snap1", "uoro", "2,4"])
def test_the_masks_of_dropout_are_data(backprop: str, masks: str) -> None:
    """The same derivative with the same numbers dropped: lane by lane, time steps as lanes, and in pieces."""
    steps = 1 if backprop == "uoro" else 2
    config = config_of(backprop, "lstm", num_layers=2, num_steps=steps, hidden_size=4, **MASKED[masks])
    model = model_of(config)
    found = np.array(gradients(way_of(config, model, FEW), FEW // steps))
    if backprop in ("rtrl", "2,4"):
        parts, weights = Unrolled(model, FEW).parts(), LINEAR["rtrl"][1] if backprop == "rtrl" else k1k2(2, 4)
        pairs = [(s, t) for s in range(FEW) for t in range(s + 1)]
        wanted = np.array([sum(weights(s, t, n) * parts[s, t] for s, t in pairs) for n in range(len(found))])
    else:
        wanted = _forward(config, model)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert (found == 0).any() or "state" in masks  # of weights that read what was dropped


def _forward(config: Config, model: Features) -> np.ndarray:
    """The gradients of the updates of a sequence of FEW time steps, by the definition of snap1 or uoro."""
    lanes = [Unrolled(model, FEW, slice(b, b + 1)).jacobians() for b in range(LANES)]
    local, mask = Unrolled(model, FEW), _own(model)
    if config.backprop == "snap1":
        mask &= np.any([np.any(I != 0, axis=0) for _, I, _ in [*lanes, *_elsewhere(model)]], axis=0)
    every, influence = [], [np.zeros_like(lanes[0][1][0]) for _ in lanes]
    for t in range(FEW):
        far = sum(lanes[b][2][t] @ influence[b] / LANES for b in range(LANES))
        every.append(local.by(t, [local.losses[t]], [None]) + far)
        for b, (D, I, _) in enumerate(lanes):
            if config.backprop == "snap1":
                influence[b] = mask * (D[t] @ influence[b] + I[t])
        if config.backprop == "uoro":
            influence = _rank_one(lanes, t, config)
    return np.array(every).reshape(-1, config.num_steps, len(model.flat)).mean(axis=1)


def _elsewhere(model: Features) -> Iterator[Any]:
    """The derivatives with other parameters: where a slope jumps, it may be 0 by chance."""
    rng, other = np.random.default_rng(8), model.copy()
    for _ in range(6 if model.rnn.cell.kinks else 0):
        other.flat.data[...] = rng.normal(size=len(other.flat))
        yield Unrolled(other, 2, slice(0, 1)).jacobians()


def _own(model: Features) -> np.ndarray:
    """(S, n) bool: the states of a layer, and the parameters of the same layer."""
    rnn, flat = model.rnn, model.flat
    layer = np.tile(np.repeat(np.arange(rnn.num_layers), rnn.hidden_size), len(rnn.cell.states))
    found = np.zeros((len(layer), len(flat)), bool)
    for name, place in flat.slices.items():
        if "_l" in name:
            found[:, place] = (layer == int(name.rpartition("_l")[2]))[:, None]
    return found


@pytest.mark.parametrize("backprop", ["snap1", "2,5"])
def test_the_short_way_of_sequences_is_the_long_way_of_steps(backprop: str) -> None:
    found = []
    for granularity in ("sequence", "cell", "primitive"):
        config = config_of(backprop, "gru", num_layers=2, granularity=granularity)
        found.append(gradients(way_of(config, model_of(config), 12), 6))
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-10, atol=1e-12)


_pair: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _rank_one(lanes: Any, t: int, config: Config) -> list[np.ndarray]:
    """The equations of UORO, lane by lane."""
    size, count = lanes[0][1].shape[1:]
    signs = np.random.default_rng([config.seed, 17, t, 0]).integers(0, 2, (LANES, size)) * 2.0 - 1
    found = []
    for b, (D, I, _) in enumerate(lanes):
        s, theta = _pair[b] if t else (np.zeros(size), np.zeros(count))
        s, new = D[t] @ s, signs[b] @ I[t]
        norm = np.linalg.norm
        rho0 = np.sqrt((norm(theta) + 1e-7) / (norm(s) + 1e-7))
        rho1 = np.sqrt((norm(new) + 1e-7) / (norm(signs[b]) + 1e-7))
        _pair[b] = rho0 * s + rho1 * signs[b], theta / rho0 + new / rho1
        found.append(np.outer(*_pair[b]))
    return found


def _fresh(model: Features) -> np.ndarray:
    inputs, targets = (rows[2:4] for rows in data())
    other = model.copy(granularity="primitive")
    with Tape() as tape:
        loss, _ = other.loss(inputs, targets)
    other.flat.zero_grad()
    tape.backward(loss)
    return other.flat.grad.copy()


def _random(way: bptt.way.Way, model: Features) -> tuple[np.ndarray, np.ndarray]:
    parts, found, wanted, t0 = Unrolled(model).parts(), [], [], 0
    for update in itertools.count():
        step = way.next(update)
        step.backward()
        found.append(model.flat.grad.copy())
        way.commit(step)
        piece = range(t0, t0 + 2 * way.batches_read)
        pairs = [(s, t) for s in piece for t in range(t0, s + 1)]
        wanted.append(sum(0.4 / 2 * (1 / 0.6) ** (s // 2 - t // 2) * parts[s, t] for s, t in pairs))
        t0 = piece.stop
        if t0 == SEQ_LEN:
            return np.array(found), np.array(wanted)
    raise AssertionError


# --- the closed form, the expectation, the work ---------------------------------------------------------------------


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


# --- what `inspect truncation` says of them ------------------------------------------------------------------------


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
