"""How far back a gradient goes: windows of num_steps time steps, and the state handed from one to the next.

Backpropagation through time would unroll the whole text. Truncated, it unrolls one window of `num_steps`: the
state's value crosses the border to the next window, the gradient does not (Williams and Peng 1990).
"""

from __future__ import annotations

import numpy as np

from micrornn.data import Lanes
from micrornn.tape import Tensor


class Windows:
    """Walks lanes window by window, again and again, and keeps the state between them.

    epoch, window      the place: the window that comes next, and how often the text was read before
    state              the arrays (h,) or (h, c), each (layers * directions, batch_size, hidden_size), or None:
                       the initial state. Always None where `carried` is False
    """

    def __init__(self, lanes: Lanes, carried: bool = True):
        self.lanes, self.carried = lanes, carried
        self.epoch, self.window = 0, 0
        self.state: tuple[np.ndarray, ...] | None = None
        shape = (lanes.num_steps, lanes.batch_size)
        self.inputs, self.targets = np.empty(shape, np.int32), np.empty(shape, np.int32)

    @property
    def num_windows(self) -> int:
        """Windows of an epoch."""
        return self.lanes.num_windows

    def next(self) -> tuple[np.ndarray, np.ndarray, tuple[Tensor, ...] | None]:
        """(inputs, targets, the state to start from, None for the initial one); inputs and targets are filled anew
        each time."""
        if self.window == self.lanes.num_windows:
            self.epoch, self.window, self.state = self.epoch + 1, 0, None  # the lanes start over
        self.lanes.fill(self.window, self.inputs, self.targets)
        self.window += 1
        if self.state is None:  # left to the model, on the tape: an initial state may be learned
            return self.inputs, self.targets, None
        return self.inputs, self.targets, tuple(Tensor(array) for array in self.state)

    def carry(self, state: tuple[Tensor, ...]) -> None:
        """Hand the last state of this window to the next one: its value, not its history."""
        if self.carried:
            self.state = tuple(tensor.data for tensor in state)
