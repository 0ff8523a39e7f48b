"""SnAp-1: real-time recurrent learning that keeps of the influence what a weight does to the unit that it feeds.

    J_t = M o (D J_{t-1} + I),    M: where I may differ from 0, of a layer's own weights on its own states

A weight of row i of a gate acts within a time step on unit i alone (that of an output gate on its h, not on its c). So
for each weight one number for each kind of state is kept, not S, and of D what ties a unit to itself:

    J_k[g, i, j] <- sum over l of D_kl[i] J_l[g, i, j]  +  A_k[g, i] x_t[j]          x_t; h_{t-1}; 1, for a bias

    A_k[g, i]     d s_k[i] / d (pre-activation g of unit i): one way back of the cell's kernel from ones in all of s_k,
                  for units meet in the product with the recurrent weights alone, and that is left out
    D_kl[i]       what goes straight from s_l[i] to s_k[i]; to l = h also  sum over g of A_k[g, i] W_hh[g, i, i]

What reaches a unit through another one's state is left out; so is what a layer does, at later time steps, through the
layers above, and all that an embedding does at later ones. J moves on at each time step, whatever num_steps is. All
time steps of a batch are gone over at once but for J, as so many lanes. It costs K passes over n numbers for each time
step and lane, and keeps K n numbers a lane, K the kinds of state.

Where units read one another within a time step (gru_before), no kernel can be derived, or a sequence is no single op, J
is held with its zeros and costs what `rtrl` costs. With recurrent dropout W_hh reads keep h_{t-1}, not h_{t-1}.

Menick, Elsen, Evci, Osindero, Simonyan, Graves, A Practical Sparse Approximation for Real Time Recurrent Learning,
2020, arXiv:2006.07232.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from micrornn import device
from micrornn.bptt.forward import ForwardStep, back_from_loss, leaves, state_of
from micrornn.bptt.rtrl import RTRL
from micrornn.cells import Cell, Weights, take_step
from micrornn.dropmask import part_of
from micrornn.kernels.symbols.numbers import computed, kept, leaves_of
from micrornn.ops.recurrent import SequenceOp
from micrornn.recompute import read
from micrornn.tape import Record, Tape, Tensor
from micrornn.tasks.task import State

LANES = 32
TOGETHER = 1 << 15  # numbers of J, of one kind of state


class SnAp1(RTRL):
    steps_at_once = 1

    def prepare(self) -> None:
        rnn = self.model.rnn
        self.compact = rnn.cell.derivable and rnn.granularity == "sequence" and len(rnn.directions) == 1
        super().prepare()
        if not self.compact:
            self.pattern = pattern(self.model)[:, self.of]

    def _reached(self) -> np.ndarray:
        """The places of the recurrent layers' weights, each layer by itself."""
        named = {id(parameter): self.model.flat.slices[name] for name, parameter in self.model.flat.parameters.items()}
        places = [named[id(weight)] for weight in self.model.rnn.weights.values()]
        return np.concatenate([np.arange(place.start, place.stop) for place in places])

    def shapes_of(self, lanes: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"influence": (lanes, len(self.model.rnn.cell.states) if self.compact else self.states, size)}

    def next(self, update: int) -> ForwardStep:
        step = super().next(update)
        return AtOnce(self, step.inputs, step.targets, step.state, update) if self.compact else step

    def advanced(self, inputs: Any, state: State | None, kept: dict[str, np.ndarray],
                 key: Sequence[int]) -> dict[str, np.ndarray]:  # fmt: skip
        found = super().advanced(inputs, state, kept, key)
        found["influence"] *= self.pattern
        return found


class AtOnce(ForwardStep):
    """The Step: the states of all time steps, then each time step as a lane of its own, then J along time."""

    def backward(self) -> float:
        model, rnn = self.way.model, self.way.model.rnn
        steps, lanes = self.inputs.shape[:2]
        model.flat.join()
        model.draw_dropout(self.update)
        with Tape(guard=False) as tape:
            last = read(model, self.inputs, leaves(self.state or rnn.zero_state(lanes)))
        self.last = tuple(Tensor(part.data) for part in last)
        rows = [record.saved for record in tape.records if isinstance(record.op, SequenceOp)]
        states = [[device.host(saved[name])[:-1] for saved in rows] for name in rnn.cell.states]
        before = np.concatenate([layer.reshape(steps * lanes, -1) for kind in states for layer in kind], axis=1)

        def at_once(part: np.ndarray) -> np.ndarray:
            return part.reshape(1, steps * lanes, *part.shape[2:])

        first = tuple(map(Tensor, state_of(before, last)))
        with part_of(steps, lanes, at_once):
            loss, gradient, dbefore, _, tape = back_from_loss(
                model, at_once(self.inputs), at_once(self.targets), first, self.dloss
            )
        assert dbefore is not None
        records = [record for record in tape.records if isinstance(record.op, SequenceOp)]
        shape = self.way.shapes_of(lanes, len(self.way.of))["influence"]
        going_on = self.state is not None and self.way.kept
        influence = self.way.kept["influence"].copy() if going_on else np.zeros(shape, gradient.dtype)
        arrived = np.zeros(len(self.way.of), gradient.dtype)
        places, start = {}, 0
        for name, weight in rnn.weights.items():
            places[name], start = slice(start, start + weight.data.size), start + weight.data.size
        dkinds = dbefore.reshape(steps, lanes, len(states), len(rows), -1)
        for layer, record in enumerate(records):
            dlosses = np.ascontiguousarray(dkinds[:, :, :, layer].transpose(2, 0, 1, 3))
            for group in _groups(rnn.cell, record, steps):
                found = [(places[f"{name}_l{layer}"], columns) for name, columns in group.columns.items()]
                for some in group.together(lanes):
                    group.along(influence[some], found, dlosses[:, :, some], some, arrived)
        gradient[self.way.of] += arrived
        model.flat.grad[...] = gradient
        self.kept = {"influence": influence}
        return loss


@dataclass
class Group:
    """Parameters of a layer with the same A, side by side: G gates, H units, D numbers of each.

    columns    of each parameter by name, which of the D are its own; biases of both sides are the same numbers
    acts       (K, G) bool: M
    within     (K, G, T, B, H): A
    read       (T, B, D): what the numbers are multiplied with
    tied       (K, K, T, B, H): D_kl
    """

    columns: dict[str, slice]
    acts: np.ndarray
    within: np.ndarray
    read: np.ndarray
    tied: np.ndarray

    def together(self, lanes: int) -> list[slice]:
        """So many lanes at a time that what is worked on stays in the second-level cache."""
        gates, units = self.within.shape[1], self.within.shape[4]
        most = max(1, TOGETHER // (gates * units * self.read.shape[2]))
        return [slice(first, min(first + most, lanes)) for first in range(0, lanes, most)]

    def along(self, influence: np.ndarray, places: Sequence[tuple[slice, slice]], dlosses: np.ndarray, some: slice,
              arrived: np.ndarray) -> None:  # fmt: skip
        """Move the influence (lanes, K, n) of some lanes on, over all time steps; what it brings to the gradient is
        added to `arrived` (n,).

        places     of each parameter, its place in n and its columns
        dlosses    (K, T, lanes, H): of the losses by the states before
        """
        kinds, count, gates, units = range(len(self.acts)), len(influence), self.within.shape[1], self.within.shape[4]
        read, shape = self.read[:, some], (count, gates, units, self.read.shape[2])
        J, brought = np.empty((len(kinds), *shape), read.dtype), np.zeros(shape, read.dtype)
        for place, columns in places:
            rows = influence[:, :, place].reshape(count, len(kinds), gates, units, -1)
            J[..., columns] = rows.swapaxes(0, 1)
        new, part = np.empty_like(J), np.empty_like(brought)
        ties = np.any(self.tied != 0, axis=(2, 3, 4))
        within, tied = self.within[:, :, :, some, :, None].swapaxes(1, 3), self.tied[:, :, :, some, None, :, None]
        dlosses, read = dlosses[:, :, :, None, :, None], read[:, :, None, None]
        for t in range(len(read)):
            for k in kinds:
                brought += np.multiply(dlosses[k, t], J[k], out=part)
            for k in kinds:
                np.multiply(within[k, :, t], read[t], out=new[k])
                for l in kinds:
                    if ties[k, l]:
                        new[k] += np.multiply(tied[k, l, t], J[l], out=part)
                if not self.acts[k].all():
                    new[k][:, ~self.acts[k]] = 0
            J, new = new, J
        total = brought.sum(axis=0)
        for place, columns in places:
            influence[:, :, place] = J[..., columns].swapaxes(0, 1).reshape(count, len(kinds), -1)
            arrived[place] += total[..., columns].reshape(-1)


def _groups(cell: Cell, record: Record, steps: int) -> list[Group]:
    """Of all parameters of a layer, from the record of one time step of T B lanes."""
    keep = f"{cell.states[0]}_keep"  # of recurrent dropout
    names = ("x", "gates", "hidden", *cell.states, keep)
    saved, program = {name: device.host(record.saved[name]) for name in names if name in record.saved}, cell.program
    before, after = ([saved[name][at] for name in cell.states] for at in (0, 1))
    hidden = saved["hidden"][0] if "hidden" in saved else None
    vectors = [device.host(vector) for vector in record.saved["vectors"]]
    known = kept(program, saved["gates"][0], hidden, before, after, vectors)
    found = []
    for k in range(len(after)):
        ones = [np.full_like(part, n == k) for n, part in enumerate(after)]
        with np.errstate(all="ignore"):
            values = computed(program.backward, known | leaves_of("dcur", ones), after[0])
        parts = (program.dx, program.dh, program.dprev, program.dvector)
        found.append([np.array([np.broadcast_to(values[a], after[0].shape) for a in part]) for part in parts])
    from_x, from_h, tied, from_vector = (np.array([row[part] for row in found]) for part in range(4))
    if cell.recurrent:
        units = np.arange(after[0].shape[1])
        own = device.host(record.saved["weights"][1]).reshape(len(cell.gates), len(units), len(units))[:, units, units]
        tied[:, 0] += (from_h * own[:, None]).sum(axis=1) * saved.get(keep, [1])[0]
    x, h, one = saved["x"][0], before[0] * saved.get(keep, [1])[0], np.ones((len(after[0]), 1), after[0].dtype)
    d, size, acts = x.shape[1], h.shape[1], acting(cell)
    by_x = {"weight_ih": slice(0, d), "bias_ih": slice(-1, None)}
    by_h = {"weight_hh": slice(0, size), "bias_hh": slice(-1, None)}
    if not cell.recurrent:
        rows = [(by_x, "weight_ih", from_x, [x, one])]
    elif program.sided:
        rows = [(by_x, "weight_ih", from_x, [x, one]), (by_h, "weight_hh", from_h, [h, one])]
    else:
        both = by_x | by_h | {"weight_hh": slice(d, d + size)}
        rows = [(both, "weight_ih", from_x, [x, h, one])]
    rows += [({name: slice(0, 1)}, name, from_vector[:, n : n + 1], [one]) for n, name in enumerate(cell.vectors)]

    def in_time(array: np.ndarray, axis: int) -> np.ndarray:
        return array.reshape(*array.shape[:axis], steps, -1, array.shape[-1])

    return [
        Group(columns, acts[name], in_time(within, 2), in_time(np.concatenate(read, axis=1), 0), in_time(tied, 2))
        for columns, name, within, read in rows
    ]


@cache
def acting(cell: Cell) -> dict[str, np.ndarray]:
    """Of each parameter (K, G) bool: on which kinds of the state of its own unit the numbers of a gate may act."""
    shapes = cell.shapes(2, 2)
    found = _of_layer(cell, list(shapes.values()), 2)
    return {
        name: np.any(acts.reshape(len(acts), 2, -1, 2, math.prod(shape[1:])), axis=(1, 3, 4))
        for (name, shape), acts in zip(shapes.items(), found)
    }


def pattern(model: Any) -> np.ndarray:
    """(S, len(flat)) bool: on which numbers of the state of its own layer a parameter may act within a time step."""
    rnn, flat = model.rnn, model.flat
    found = np.zeros((len(rnn.cell.states), rnn.num_layers, rnn.hidden_size, len(flat)), bool)
    places = {id(parameter): flat.slices[name] for name, parameter in flat.parameters.items()}
    for at in range(rnn.num_layers):
        weights = [rnn.weights[f"{name}_l{at}"] for name in rnn.cell.parameters]
        for weight, acts in zip(weights, _of_layer(rnn.cell, [weight.shape for weight in weights], rnn.hidden_size)):
            found[:, at, :, places[id(weight)]] = acts
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
            dpart = np.zeros_like(part.data)
            dpart[:, unit] = 1
            for acts, one in zip(found, tape.cotangents(weights, [part], [dpart], copy=False)):
                if one is not None:
                    acts[kind, unit] = one.reshape(-1) != 0
    return found
