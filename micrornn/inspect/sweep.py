"""All losses of a sequence go back in one sweep, each by itself.

    levels_of    layers from bottom to top, each with its directions
    apart        of a recording: its levels, and what each loss gives the top one
    Diagonal     the gradients of all losses by the states that lie `lag` time steps before them
    sweep        all diagonals

An ordinary backward pass adds up what comes from all losses. Here each pair (s, t) has rows of its own: loss L_s
against state h_t. T passes, one loss after the other, would be slow. But all pairs of one lag s - t can go back one
time step at once: the gates that they need are those of t = 0 .. T - 1 - lag, which lie side by side. So there is
one large product for each lag and layer, (T - lag) B rows tall, and all of it is the arithmetic of T / 2 backward
passes.

L_s is the sum over lanes of the losses at time step s. A lane never looks at another, so row b of a gradient is
that of lane b's loss alone. Losses must reach the recurrent layers through the top layer's output at their own time
step, and each layer must read the outputs of the one below and nothing else: no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.errors import ConfigError
from micrornn.inspect.recorded import Layer, Recording
from micrornn.kernels import Kernels
from micrornn.ops.recurrent import NO_MASK
from micrornn.parameters import Parameter


def levels_of(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Recurrent layers from bottom to top, each with its one or two directions.

    ConfigError where messages are clipped: the gradient of a sum of losses is not the sum of their gradients then, and
    what each loss gave is no question.
    """
    levels: list[list[Layer]] = []
    for layer in layers:
        if layer.saved["clip"]:
            raise ConfigError(
                f"{layer.name}: messages between time steps are clipped to {layer.saved['clip']:g}, so the "
                "gradients of single losses do not add up; look at a copy with clip_message=0"
            )
        if layer.reverse:
            levels[-1].append(layer)
        else:
            levels.append([layer])
    return levels


def apart(recording: Recording, dloss: float,
          above: Sequence[Parameter] = ()) -> tuple[list[list[Layer]], np.ndarray, list[Any]]:  # fmt: skip
    """(the levels of a recording, dL_s / dy_s (T, B, H), the gradients of the parameters `above`), of the loss times
    `dloss`."""
    levels = levels_of(recording.layers)
    y = levels[-1][0].record.outputs[0]
    if len(levels[-1]) > 1:  # both directions side by side
        y = next(row.outputs[0] for row in recording.tape.records if any(x is y for x in row.inputs))
    dy, *gradients = recording.tape.cotangents([y, *above], [recording.loss], [dloss])
    return levels, np.asarray(dy), gradients


@dataclass(frozen=True)
class Diagonal:
    """What all losses L_s with s = t + lag leave at n time steps t = start, start + 1, ...

    dstates       total derivatives by h_t, and by each further state such as c_t, (n, B, H): through later time steps
                  and through layers above
    dgates        by the pre-activations, on the side of x, (n, B, G H)
    dhidden       the same on the side of h_prev; it is dgates unless the cell tells the two sides apart
    dx            by the layer's input, (n, B, D)
    dvectors      by each vector of the cell, such as a peephole, (H,): summed over these time steps and lanes

    The arrays are written over two diagonals of the same layer later, some at the next one: take what is wanted.
    """

    layer: Layer
    lag: int
    start: int
    dstates: tuple[np.ndarray, ...]
    dgates: np.ndarray
    dhidden: np.ndarray
    dx: np.ndarray
    dvectors: list[np.ndarray]

    @property
    def steps(self) -> slice:
        """The time steps t."""
        return slice(self.start, self.start + len(self.dx))

    @property
    def losses(self) -> slice:
        """The time steps s."""
        return slice(self.start + self.lag, self.start + self.lag + len(self.dx))


def sweep(levels: Sequence[Sequence[Layer]], dy: np.ndarray) -> Iterator[Diagonal]:
    """The diagonals of every layer and direction.

    levels     as `levels_of` gives them
    dy         dL_s / dy_s (T, B, directions * H): the gradient by the top layer's output at the loss's own time step

    With one direction: lag after lag from 0 to T - 1, within a lag from the top layer down; no more than one
    diagonal for each layer is held. With two: layer after layer from the top, each direction in its own order; what
    comes down to the next layer is held for all pairs (s, t), T^2 B D numbers.
    """
    k = kernels.of(dy)
    if all(len(level) == 1 for level in levels):
        walkers = [_Walker(k, level[0]) for level in reversed(levels)]
        for lag in range(len(dy)):
            dout = None if lag else dy
            for walker in walkers:
                diagonal = walker.step(lag, dout)
                yield diagonal
                dout = diagonal.dx
        return
    douts, furthest = {0: dy}, len(dy) - 1
    for level in reversed(levels):
        below: dict[int, np.ndarray] = {}
        for n, layer in enumerate(level):
            walker, size = _Walker(k, layer), layer.saved["h"].shape[2]
            back = range(max(douts), -furthest - 1, -1) if layer.reverse else range(min(douts), furthest + 1)
            for lag in back:
                dout = douts[lag][:, :, n * size : (n + 1) * size] if lag in douts else None
                diagonal = walker.step(lag, dout)
                yield diagonal
                below[lag] = below[lag] + diagonal.dx if lag in below else diagonal.dx.copy()
        douts = below


class _Walker:
    """Takes one layer and direction from diagonal to diagonal: one time step back for all losses at once."""

    def __init__(self, k: Kernels, layer: Layer):
        self.k, self.layer, self.scratch = k, layer, Scratch(layer.saved["gates"].dtype)
        self.messages: list[np.ndarray] = []  # what the last diagonal hands on to the states before it: (n, B, H)
        self.start, self.turn = 0, 0

    def step(self, lag: int, dy: np.ndarray | None) -> Diagonal:
        """The next diagonal: one lag more than the last, in reverse one less. dy (n, B, H) comes from above."""
        k, saved, room = self.k, self.layer.saved, self.scratch.room
        seq_len, batch_size, width = saved["gates"].shape
        start, n, size = max(0, -lag), seq_len - abs(lag), saved["h"].shape[2]
        rows, steps, self.turn = n * batch_size, slice(start, start + n), 1 - self.turn

        def part(name: str) -> np.ndarray:
            return saved[name][steps].reshape(1, rows, *saved[name].shape[2:])

        grads = []  # of h, and of c: row 1 the state after the time step, row 0 the one before it
        for at, name in enumerate(self.layer.states):
            grad = room(f"d{name}{self.turn}", 2, rows, size)
            grad[...] = 0
            if self.messages:
                self._arrive(grad[1].reshape(n, batch_size, size), self.messages[at], start)
            grads.append(grad)
        if dy is not None:
            grads[0][1] += dy.reshape(rows, size)
        dgates = room("dgates", 1, rows, width)
        dhidden = room("dhidden", 1, rows, width) if self.layer.program.sided else dgates
        dvectors = vjp(
            k, self.layer, grads, dgates, dhidden, part("gates"),
            states={name: self._both(name, steps, rows) for name in needed(self.layer)},
            hidden=part("hidden") if self.layer.program.sided else None,
            mask=part("mask") if saved["mask"].size else NO_MASK,
        )  # fmt: skip
        weight_ih = saved["weights"][0]
        dx = room("dx", rows, weight_ih.shape[1])
        k.matmul(dx, dgates[0], weight_ih)

        shape = (n, batch_size, -1)
        self.messages, self.start = [grad[0].reshape(shape) for grad in grads], start
        return Diagonal(
            self.layer, lag, start, tuple(grad[1].reshape(shape) for grad in grads), dgates.reshape(shape),
            dhidden.reshape(shape), dx.reshape(shape), dvectors,
        )  # fmt: skip

    def _arrive(self, grad: np.ndarray, message: np.ndarray, start: int) -> None:
        """Put the messages of the last diagonal to the time steps before (in reverse, behind) their own. One that
        falls off the end is for the initial state."""
        shift = self.start + (1 if self.layer.reverse else -1) - start  # the place in grad of the first message
        first, end = max(0, shift), min(len(grad), shift + len(message))
        grad[first:end] = message[first - shift : end - shift]

    def _both(self, name: str, steps: slice, rows: int) -> np.ndarray:
        """A state before and after these time steps, one above the other."""
        states = self.layer.saved[name]
        both = self.scratch.room(name, 2, rows, states.shape[2])
        low, high = states[steps], states[steps.start + 1 : steps.stop + 1]
        for out, state in zip(both, (high, low) if self.layer.reverse else (low, high)):
            out[...] = state.reshape(out.shape)
        return both


def needed(layer: Layer) -> list[str]:
    """The states that the way back through a time step reads, before or after it."""
    return [layer.states[s] for s in layer.program.reads_states]


def vjp(k: Kernels, layer: Layer, grads: list[np.ndarray], dgates: np.ndarray, dhidden: np.ndarray, gates: np.ndarray,
        states: dict[str, np.ndarray], hidden: np.ndarray | None, mask: np.ndarray) -> list[np.ndarray]:  # fmt: skip
    """The way back through `n` time steps of a layer's cell, for any rows of its lanes and time steps. What it gives
    back are the gradients of the cell's vectors.

    grads     of each state: (n + 1, rows, H), see kernels/reference.py; in the order of the walk, also in reverse
    states    those that are `needed`, in the same order; hidden where the cell tells the sides of x and h_prev apart
    """
    saved = layer.saved
    rows = [states.get(name, grad) for name, grad in zip(layer.states, grads)]  # what is not needed may be anything
    dvectors = [np.empty_like(vector) for vector in saved["vectors"]]
    k.cell_sequence_vjp(
        layer.program, dgates, dhidden, grads, dvectors, rows, gates, hidden, saved["weights"][1], saved["vectors"],
        mask, False, 0.0,
    )  # fmt: skip
    return dvectors


class Scratch:
    """Arrays by name that are made once and grow. A pool would keep one for each of the many sizes asked for."""

    def __init__(self, dtype: Any):
        self.dtype = dtype
        self.arrays: dict[str, np.ndarray] = {}

    def room(self, name: str, *shape: int) -> np.ndarray:
        """An array of undefined numbers; what was given out under this name before is written over."""
        size = math.prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            self.arrays[name] = np.empty(size, self.dtype)
        return self.arrays[name][:size].reshape(shape)
