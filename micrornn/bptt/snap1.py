"""SnAp-1: real-time recurrent learning that keeps of the influence what acts within one time step.

    J_t = M o (D J_{t-1} + I),    M: where I may differ from 0

A weight acts within a time step on the unit that it feeds (that of an output gate on its h, not on its c), and on
all layers above; an embedding acts on all units. What reaches a unit through another one's state is left out. Here all
of J is held, with zeros in it: it shows what SnAp-1 learns, and costs what `rtrl` costs. J moves on at each time step,
whatever num_steps is.

Menick, Elsen, Evci, Osindero, Simonyan, Graves, A Practical Sparse Approximation for Real Time Recurrent Learning,
2020, arXiv:2006.07232.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.bptt.rtrl import RTRL
from micrornn.cells import Cell, Weights, take_step
from micrornn.tape import Tape, Tensor
from micrornn.tasks.task import State

LANES = 32


class SnAp1(RTRL):
    steps_at_once = 1

    def prepare(self) -> None:
        super().prepare()
        self.pattern = pattern(self.model)[:, self.of]

    def advanced(self, inputs: Any, state: State | None, kept: dict[str, np.ndarray],
                 key: Sequence[int]) -> dict[str, np.ndarray]:  # fmt: skip
        found = super().advanced(inputs, state, kept, key)
        found["influence"] *= self.pattern
        return found


def pattern(model: Any) -> np.ndarray:
    """(S, len(flat)) bool: on which numbers of the state a parameter may act within a time step."""
    rnn, flat = model.rnn, model.flat
    found = np.ones(
        (len(rnn.cell.states), rnn.num_layers, rnn.hidden_size, len(flat)), bool
    )  # an embedding acts on all
    places = {id(parameter): flat.places[name] for name, parameter in flat.parameters.items()}
    for at in range(rnn.num_layers):
        weights = [rnn.weights[f"{name}_l{at}"] for name in rnn.cell.parameters]
        for weight, acts in zip(weights, _of_layer(rnn.cell, [weight.shape for weight in weights], rnn.hidden_size)):
            place = places[id(weight)]
            found[:, :at, :, place] = False
            found[:, at, :, place] = acts
    return found.reshape(-1, len(flat))


def _of_layer(cell: Cell, shapes: Sequence[tuple[int, ...]], size: int) -> list[np.ndarray]:
    """For each parameter (states, H, numbers of it) bool. Seen at some lanes of random numbers: where one has a slope
    of 0, others have not."""
    rng = np.random.default_rng(0)
    weights = [Tensor(rng.uniform(-1, 1, shape), requires_grad=True) for shape in shapes]
    x, *state = (Tensor(rng.normal(size=(LANES, width))) for width in (shapes[0][1], *[size] * len(cell.states)))
    for name, part in zip(cell.states, state):
        if name in cell.positive:
            part.data[...] = np.abs(part.data) + 1
    with Tape(guard=False) as tape:
        new = take_step(cell, x, tuple(state), Weights(cell.parameters, weights))
    found = [np.zeros((len(new), size, weight.data.size), bool) for weight in weights]
    for kind, part in enumerate(new):
        for unit in range(size if part.requires_grad else 0):
            seed = np.zeros_like(part.data)
            seed[:, unit] = 1
            for acts, one in zip(found, tape.cotangents(weights, [part], [seed], copy=False)):
                if one is not None:
                    acts[kind, unit] = one.reshape(-1) != 0
    return found
