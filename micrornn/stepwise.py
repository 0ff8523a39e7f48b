"""A recurrent layer over a list of time steps, as TensorFlow's `static_rnn` has it, or over one time step at a time.

unroll(cell, xs)    outputs and state, for a list of inputs or for one array
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.arguments import short
from micrornn.cells import State
from micrornn.errors import ConfigError, ShapeError
from micrornn.ops import stack, where
from micrornn.recurrent import Recurrent, take_lengths
from micrornn.tape import Tensor


def unroll(cell: Recurrent, xs: Any, initial_state: Sequence[Tensor] | None = None,
           lengths: Sequence[int] | None = None) -> tuple[Any, State]:  # fmt: skip
    """(outputs, state) of a recurrent layer over time.

    cell             a Recurrent: `Recurrent("lstm", input_size, hidden_size)`
    xs               a list of time steps, each (batch_size, input_size), of tensors or arrays; or all of them as one
                     (seq_len, batch_size, input_size)
    initial_state    what `cell.zero_state(batch_size)` or an earlier call gave; None: the initial state
    lengths          the number of time steps of each lane. After them the output is zero, and the state stays
    outputs          a list of (batch_size, directions * hidden_size) for a list, one tensor with a time axis for an
                     array
    state            (h,), or (h, c), ...: each (layers * directions, batch_size, hidden_size)

    >>> cell = Recurrent("lstm", 2, 4)
    >>> outputs, (h, c) = unroll(cell, [np.ones((3, 2))] * 5, cell.zero_state(3))
    >>> len(outputs), outputs[0].shape, c.shape
    (5, (3, 4), (1, 3, 4))

    Where the next input depends on an output, call it with one time step at a time. If all calls are on one tape, the
    gradient goes back through all of them. It stops at a state that was computed on another tape.
    """
    if not isinstance(cell, Recurrent):
        raise ConfigError(f"unroll: the cell is a layer such as Recurrent('lstm', 8, 16), not {short(cell)}")
    listed = isinstance(xs, (list, tuple))
    x = cell.tensor(xs) if not listed else _stacked(cell, xs)
    y, state = cell(x, initial_state, lengths=lengths)
    if lengths is not None:
        counted = take_lengths("unroll", lengths, x.shape[1], 0, x.shape[0])
        y = where(y, 0.0, mask=(np.arange(x.shape[0])[:, None] < counted)[:, :, None])
    return (list(y) if listed else y), state


def _stacked(cell: Recurrent, xs: Sequence[Any]) -> Tensor:
    if not xs:
        raise ShapeError("unroll: the list of time steps is empty")
    steps = [cell.tensor(x) for x in xs]
    for t, step in enumerate(steps):
        if step.ndim != 2 or step.shape != steps[0].shape:
            raise ShapeError(
                f"unroll: time step {t} has shape {step.shape}, wanted (batch_size, {cell.input_size}) as at all others"
            )
    return stack(*steps)
