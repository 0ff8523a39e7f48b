"""Batches to build a task of.

Batches       what a task learns from, one batch an update, with a position to go on from
Drawn         batches that a function draws from random numbers
Slices        batches cut out of arrays along time, the state carried from one to the next
VALIDATION    the epoch that held-out batches are drawn for
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from micrornn.errors import DataError, counted
from micrornn.tape import Tensor

State = tuple[Tensor, ...]
VALIDATION = 2**32 - 1  # no training ever gets there


class Batches(Protocol):
    """What a task learns from, batch after batch, again and again.

    epoch, window    the position: the batch that comes next, and how often all were read before. Set both, and `state`,
                     and the batches go on from there to the bit
    state            the arrays that the batch before has left, or None: the initial state
    carried          whether the state is handed from batch to batch
    num_windows      batches of an epoch
    """

    epoch: int
    window: int
    state: tuple[np.ndarray, ...] | None
    carried: bool

    @property
    def num_windows(self) -> int: ...

    def next(self) -> tuple[Any, Any, State | None]:
        """(inputs, targets, the state to start from; None for the initial one)."""
        ...

    def carry(self, state: State) -> None:
        """Hand the last state of this batch to the next one: its value, not its history."""
        ...


class Drawn:
    """`num_windows` batches an epoch, each drawn by `draw(rng) -> (inputs, targets)`: for a seed, the one at a
    position is always the same. With a fixed `epoch` each epoch has the same ones, as for validation. No state is
    carried."""

    carried = False

    def __init__(self, draw: Callable[[np.random.Generator], tuple[Any, Any]], num_windows: int, seed: int,
                 epoch: int | None = None):  # fmt: skip
        self.draw, self.num_windows, self.seed, self.fixed = draw, num_windows, seed, epoch
        self.epoch, self.window = 0, 0
        self.state: tuple[np.ndarray, ...] | None = None

    def next(self) -> tuple[Any, Any, State | None]:
        if self.window == self.num_windows:
            self.epoch, self.window = self.epoch + 1, 0
        epoch = self.epoch if self.fixed is None else self.fixed
        inputs, targets = self.draw(np.random.default_rng([self.seed, epoch, self.window]))
        self.window += 1
        return inputs, targets, None

    def carry(self, state: State) -> None:
        pass


class Slices:
    """inputs and targets (T, batch_size, ...) in windows of `num_steps` time steps, one after the other; the state is
    carried from one to the next if `carried`, and each epoch begins with the initial one. A rest is left over."""

    cut = True  # a window goes on where the one before ends

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, num_steps: int, carried: bool = True):
        self.inputs, self.targets, self.num_steps, self.carried = inputs, targets, num_steps, carried
        self.num_windows = len(inputs) // num_steps
        if not self.num_windows:
            raise DataError(f"there are {counted(len(inputs), 'time step')}, fewer than `num_steps={num_steps:,}`")
        self.epoch, self.window = 0, 0
        self.state: tuple[np.ndarray, ...] | None = None

    def next(self) -> tuple[Any, Any, State | None]:
        if self.window == self.num_windows:
            self.epoch, self.window, self.state = self.epoch + 1, 0, None
        part = slice(self.window * self.num_steps, (self.window + 1) * self.num_steps)
        self.window += 1
        state = None if self.state is None else tuple(Tensor(array) for array in self.state)
        return np.ascontiguousarray(self.inputs[part]), np.ascontiguousarray(self.targets[part]), state

    def carry(self, state: State) -> None:
        if self.carried:
            self.state = tuple(tensor.data for tensor in state)
