"""What the definitions of all ways to propagate back are made of: small networks, and a sequence on one tape with
parameters of its own at each time step.

    config_of, model_of, data    the same small network and data for each test
    Unrolled                     the tape, and derivatives with respect to the parameters of one time step
    way_of, gradients            a way under test, and what each of its updates has for a gradient
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from operator import itemgetter
from typing import Any

import numpy as np

from micrornn import bptt
from micrornn.config import Config
from micrornn.dropmask import part_of
from micrornn.ops import binary_cross_entropy
from micrornn.tape import Tape
from micrornn.tasks.parts import Features
from micrornn.tasks.task import Slices

SEQ_LEN, FEW, LANES = 6, 4, 2
Weights = Callable[[int, int, int], float]  # (loss s, time step t, update) -> how much of dL_s / dtheta_t is in it


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
