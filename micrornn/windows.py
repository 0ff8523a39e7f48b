"""How far back a gradient goes: windows of num_steps time steps, and the state handed from one to the next.

Full backpropagation through time would unroll the whole text. Truncated, it unrolls one window of `num_steps` time
steps. The value of the state crosses the border to the next window; the gradient does not (Williams and Peng 1990).
"""

from __future__ import annotations

import numpy as np

from micrornn import kernels
from micrornn.data import Lanes, LineLanes
from micrornn.ops.masks import keep
from micrornn.tape import Tensor


class Windows:
    """Goes through the lanes window by window, epoch after epoch, and keeps the state between windows.

    epoch, window      the position: the window that comes next, and how often the text was read before
    state              the arrays (h,) or (h, c), each (layers * directions, batch_size, hidden_size), or None:
                       the initial state. Always None where `carried` is False
    weight             the weight of the last window's mean loss in a mean over windows: 1, but with padded lines it is
                       above 1 for a window that has more tokens than the average
    """

    cut = True  # a window begins where the one before it ends

    def __init__(self, lanes: Lanes | LineLanes, carried: bool = True):
        self.lanes, self.carried = lanes, carried
        self.epoch, self.window, self.weight = 0, 0, 1.0
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
        if isinstance(self.lanes, LineLanes):
            self._start_lines(self.lanes)
        self.window += 1
        if self.state is None:  # the model makes it, on the tape: an initial state may be learned
            return self.inputs, self.targets, None
        return self.inputs, self.targets, tuple(Tensor(array) for array in self.state)

    def _start_lines(self, lanes: LineLanes) -> None:
        """A line that begins in this window must not see the line before it in its lane. So the state of that lane is
        set to zeros, the initial state of a language model."""
        self.weight = float(lanes.window_tokens[self.window] * lanes.num_windows / lanes.num_tokens)
        if self.state is not None:
            goes_on = ~lanes.starts(self.window)
            mask = np.repeat(goes_on[None], len(self.state[0]), axis=0)
            self.state = tuple(keep(kernels.of(array), array, mask) for array in self.state)

    def carry(self, state: tuple[Tensor, ...]) -> None:
        """Hand the last state of this window to the next one: its value, not its history."""
        if self.carried:
            self.state = tuple(tensor.data for tensor in state)
