"""Ways to propagate back: each equals its definition, whatever the cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from unrolled import FEW, LANES, SEQ_LEN, Unrolled, Weights, config_of, data, gradients, model_of, way_of

from micrornn import bptt, kernels
from micrornn.config import CELL_NAMES, Config
from micrornn.tape import Tape
from micrornn.tasks.parts import Features


@pytest.fixture(autouse=True)
def plain_kernels() -> Iterator[None]:
    """Nothing is compiled for so few numbers."""
    with kernels.use("reference"):
        yield


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
@pytest.mark.parametrize(
    "backprop, cell",
    [("rtrl", "lstm"), ("snap1", "lstm_peephole"), ("snap1", "gru"), ("uoro", "lstm"), ("2,4", "lstm")],
)
def test_the_masks_of_dropout_are_data(backprop: str, cell: str, masks: str) -> None:
    """The same derivative with the same numbers dropped: lane by lane, time steps as lanes, and in pieces."""
    steps = 1 if backprop == "uoro" else 2
    config = config_of(backprop, cell, num_layers=2, num_steps=steps, hidden_size=4, **MASKED[masks])
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
